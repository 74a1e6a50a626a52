/* AVX-512 F, DQ, BW and VL */
#define LG_ISA avx512
#define VBYTES 64
#include "level.h"
