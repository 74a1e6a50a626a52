/* The table of ops, the levels compiled in (slowest first), and which of them this machine can run. */
#include "kernels.h"
#define LG_TABLE_ONLY
#include "ops.h"

#define ROW(name, inputs, parameters, is_loss, is_cheap, loops, bound, derivative_bound, hessian_bound)                \
    {#name, inputs, parameters, is_loss, bound, derivative_bound, hessian_bound},
const lg_op lg_ops[] = {LG_OPS(ROW)};
const int lg_op_count = (int)(sizeof lg_ops / sizeof *lg_ops);

#define ROW_OP(name, forward, backward, bound, derivative_bound, hessian_bound)                                        \
    {#name, forward, backward, bound, derivative_bound, hessian_bound},
const lg_row_op lg_row_ops[] = {LG_ROW_OPS(ROW_OP)};
const int lg_row_op_count = (int)(sizeof lg_row_ops / sizeof *lg_row_ops);

#if defined(__GNUC__)
#define LG_PERHAPS __attribute__((unused)) /* by the levels that are built */
#else
#define LG_PERHAPS
#endif

static LG_PERHAPS int always(void) { return 1; }

#if defined(__x86_64__) || defined(_M_X64)
#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned r[4]) { __cpuidex((int *)r, (int)leaf, 0); }
static uint64_t xcr0(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned r[4]) {
    if (!__get_cpuid_count(leaf, 0, r, r + 1, r + 2, r + 3)) r[0] = r[1] = r[2] = r[3] = 0;
}
static uint64_t xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif
#define BIT(word, n) ((word) >> (n) & 1u)

/* The registers are usable only if the system saves them (OSXSAVE, then XCR0). */
static int saves(uint64_t state) {
    unsigned r[4];
    cpuid(1, r);
    return BIT(r[2], 27) && (xcr0() & state) == state;
}
static LG_PERHAPS int has_fma(void) {
    unsigned r[4];
    cpuid(1, r);
    return BIT(r[2], 12) && BIT(r[2], 28) && BIT(r[2], 29) && saves(0x06); /* FMA, AVX, F16C */
}
static LG_PERHAPS int has_avx2(void) {
    unsigned r[4];
    cpuid(7, r);
    return has_fma() && BIT(r[1], 5);
}
static LG_PERHAPS int has_avx512(void) {
    unsigned r[4];
    cpuid(7, r);
    return has_avx2() && saves(0xe6) && BIT(r[1], 16) && BIT(r[1], 17) && BIT(r[1], 30) && BIT(r[1], 31);
}
#elif defined(__aarch64__) || defined(_M_ARM64)
#define has_fma always
#endif

/* Of each level: what it needs of the machine. LG_LEVELS(X) names those that were built (setup.py). */
#define NEEDED_BY_portable always
#define NEEDED_BY_portable_fma has_fma
#define NEEDED_BY_sse2 always
#define NEEDED_BY_avx2 has_avx2
#define NEEDED_BY_avx512 has_avx512
#define NEEDED_BY_neon always

#define DECLARE(name) extern const lg_kernels lg_kernels_f32_##name, lg_kernels_f64_##name;
LG_LEVELS(DECLARE)
#define LEVEL(name) {#name, NEEDED_BY_##name, {&lg_kernels_f32_##name, &lg_kernels_f64_##name}},
const lg_level lg_levels[] = {LG_LEVELS(LEVEL)};
const int lg_level_count = (int)(sizeof lg_levels / sizeof *lg_levels);
