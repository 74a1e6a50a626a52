/* One element at a time: any C11 compiler, and an oracle for the other levels. On x86 setup.py
 * builds it a second time with fma allowed, as the level portable_fma, and on Arm, which always has
 * fma, as that alone. */
#ifndef LG_ISA
#define LG_ISA portable
#endif
#if LG_DOUBLE
#define VBYTES 8
#else
#define VBYTES 4
#endif
#include "level.h"
