/* AArch64 */
#define LG_ISA neon
#define VBYTES 16
#include "level.h"
