/* The caller's floating-point environment, put aside while kernels run: they round to nearest, keep
 * subnormal numbers and trap nothing, whatever the caller has set, and leave no flag behind. Between
 * the two, lg_watch clears the flags and lg_inexact tells whether anything was rounded since. */
#ifndef LG_ENVIRONMENT_H
#define LG_ENVIRONMENT_H
#include <stdint.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned lg_environment; /* MXCSR: control and flags */
static inline lg_environment lg_enter(void) {
    const lg_environment found = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return found;
}
static inline void lg_leave(lg_environment found) { _mm_setcsr(found); }
static inline void lg_watch(void) { _mm_setcsr(0x1f80); }
static inline int lg_inexact(void) { return (_mm_getcsr() & 0x20) != 0; }
#elif defined(__aarch64__)
typedef struct {
    uint64_t control, flags;
} lg_environment;
static inline lg_environment lg_enter(void) {
    lg_environment found;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr\n\tmsr fpcr, xzr"
                     : "=r"(found.control), "=r"(found.flags)
                     :
                     : "memory");
    return found;
}
static inline void lg_leave(lg_environment found) {
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(found.control), "r"(found.flags) : "memory");
}
static inline void lg_watch(void) { __asm__ volatile("msr fpsr, xzr" : : : "memory"); }
static inline int lg_inexact(void) {
    uint64_t flags;
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags) : : "memory");
    return (flags & 0x10) != 0;
}
#else
#include <fenv.h>
typedef fenv_t lg_environment;
static inline lg_environment lg_enter(void) {
    lg_environment found;
    feholdexcept(&found);
    fesetround(FE_TONEAREST);
    return found;
}
static inline void lg_leave(lg_environment found) { fesetenv(&found); }
static inline void lg_watch(void) { feclearexcept(FE_ALL_EXCEPT); }
static inline int lg_inexact(void) { return fetestexcept(FE_INEXACT) != 0; }
#endif
#endif
