/* The x86-64 baseline */
#define LG_ISA sse2
#define VBYTES 16
#include "level.h"
