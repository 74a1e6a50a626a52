/* AVX2 with FMA */
#define LG_ISA avx2
#define VBYTES 32
#include "level.h"
