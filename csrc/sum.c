/* Exact sums of doubles: a fixed-point accumulator of 32-bit limbs in 64-bit words, so that any
 * order, grouping or merge of the same values gives the same number, rounded once at the end.
 * (The "small superaccumulator" of R. M. Neal, Fast exact summation using small and large
 * superaccumulators, 2015.) */
#include "environment.h"
#include "kernels.h"
#include <math.h>
#include <string.h>

#define LOW32 UINT64_C(0xffffffff)

void lg_sum_clear(lg_sum *sum) { memset(sum, 0, sizeof *sum); }

/* Leaves every limb but the last in [0, 2^32); the last keeps the sign. */
static void carry(lg_sum *sum) {
    int64_t up = 0;
    for (int i = 0; i < LG_SUM_LIMBS - 1; i++) {
        if (!(sum->limb[i] | up)) continue; /* most limbs: a chain of carries through them takes longer */
        int64_t v = sum->limb[i] + up;
        up = v >> 32;
        sum->limb[i] = (int64_t)((uint64_t)v & LOW32);
    }
    sum->limb[LG_SUM_LIMBS - 1] += up;
    sum->adds = 0;
}

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Cuts the magnitude of a finite number into limbs, the lowest of all of which is worth 2^(-1074 - below):
 * the index of the first of the three. */
static int cut(uint64_t bits, int below, int64_t part[3]) {
    int exponent = (int)(bits >> 52) & 0x7ff;
    uint64_t m = bits & ((UINT64_C(1) << 52) - 1);
    if (exponent) m |= UINT64_C(1) << 52;
    else exponent = 1;
    int place = exponent - 1 + below, shift = place & 31;
    uint64_t upper = m >> (32 - shift);
    part[0] = (int64_t)((m << shift) & LOW32);
    part[1] = (int64_t)(upper & LOW32);
    part[2] = (int64_t)(upper >> 32);
    return place >> 5;
}

void lg_sum_add(lg_sum *sum, double value) {
    uint64_t bits = bits_of(value);
    int negative = (int)(bits >> 63);
    if ((bits >> 52 & 0x7ff) == 0x7ff) {
        if (bits << 12) sum->nan = 1;
        else if (negative) sum->minus = 1;
        else sum->plus = 1;
        return;
    }
    int64_t part[3];
    int i = cut(bits, 0, part);
    for (int k = 0; k < 3; k++) sum->limb[i + k] += negative ? -part[k] : part[k];
    if (++sum->adds == 1 << 29) carry(sum);
}

/* The same where every value is 1. */
static ptrdiff_t count(int64_t *column, ptrdiff_t size, const int64_t *group, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        if ((uint64_t)group[i] >= (uint64_t)size) return i;
        column[group[i]]++;
    }
    return n;
}

ptrdiff_t lg_columns_add(int64_t *const *column, ptrdiff_t first, ptrdiff_t size, const double *value,
                         const int64_t *group, ptrdiff_t n, int *missing) {
    *missing = -1;
    if (!value) {
        if (column[LG_ONES]) return count(column[LG_ONES] + first, size, group, n);
        *missing = LG_ONES;
        return 0;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const int64_t to = group ? group[i] : 0;
        const uint64_t bits = bits_of(value[i]);
        int64_t part[3] = {1, 0, 0}, *at[3], zero = 0;
        int low = LG_INFINITIES;
        if ((uint64_t)to >= (uint64_t)size) return i;
        if (bits >> 52 < 0x7ff) low = cut(bits, LG_COLUMNS_BELOW, part);
        else if (!(bits << 1)) continue;
        else if (bits << 12 || bits >> 63) return i;
        for (int k = 0; k < 3; k++) { /* without a branch: which limbs a value has is hard to predict */
            int64_t *limb = column[low + k];
            if (part[k] && !limb) *missing = low + k;
            at[k] = limb ? limb + first + to : &zero;
        }
        if (*missing >= 0) return i;
        for (int k = 0; k < 3; k++) *at[k] += part[k];
    }
    return n;
}

void lg_sum_merge(lg_sum *sum, const lg_sum *other) {
    lg_sum add = *other;
    carry(sum);
    carry(&add);
    for (int i = 0; i < LG_SUM_LIMBS; i++) sum->limb[i] += add.limb[i];
    sum->nan |= add.nan;
    sum->plus |= add.plus;
    sum->minus |= add.minus;
    carry(sum);
}

/* A whole number in units of 2^-1074: its leading 64 bits or all, the place of the first of them, and what is left. */
typedef struct {
    uint64_t window, sticky;
    int leading;
} leading_bits;

static leading_bits lead(const lg_sum *magnitude) {
    leading_bits b = {0, 0, 0};
    int top = LG_SUM_LIMBS - 1, length = 0, have = 0;
    while (top > 0 && !magnitude->limb[top]) top--;
    while (length < 64 && (uint64_t)magnitude->limb[top] >> length) length++;
    b.leading = top * 32 + length - 1;
    for (int i = top; i >= 0; i--) {
        const int width = i == top ? length : 32, room = 64 - have;
        const uint64_t limb = (uint64_t)magnitude->limb[i];
        if (width <= room) {
            b.window = (width == 64 ? 0 : b.window << width) | limb;
            have += width;
            continue;
        }
        if (room) b.window = b.window << room | limb >> (width - room);
        b.sticky |= room ? limb & ((UINT64_C(1) << (width - room)) - 1) : limb;
        have = 64;
    }
    if (have < 64 && have > 53) b.window <<= 64 - have;
    return b;
}

/* To nearest, ties to even: the bits of a double. */
static uint64_t rounded(leading_bits b) {
    if (b.leading <= 52) return b.window; /* exact: a subnormal or the lowest normals */
    uint64_t kept = b.window >> 11, exponent = (uint64_t)(b.leading - 51);
    const uint64_t rest = b.window & 0x7ff;
    if (rest > 0x400 || (rest == 0x400 && (b.sticky || kept & 1))) kept++;
    if (kept >> 53) {
        kept >>= 1;
        exponent++;
    }
    return exponent >= 0x7ff ? UINT64_C(0x7ff) << 52 : exponent << 52 | (kept & ((UINT64_C(1) << 52) - 1));
}

static uint64_t bits_of_sum(lg_sum *sum) {
    if (sum->nan || (sum->plus && sum->minus)) return UINT64_C(0x7ff8) << 48;
    if (sum->plus || sum->minus) return (sum->minus ? UINT64_C(0xfff) : UINT64_C(0x7ff)) << 52;
    carry(sum);
    if (sum->limb[LG_SUM_LIMBS - 1] >= 0) return rounded(lead(sum));
    lg_sum magnitude = *sum;
    for (int i = 0; i < LG_SUM_LIMBS; i++) magnitude.limb[i] = -magnitude.limb[i];
    carry(&magnitude);
    return rounded(lead(&magnitude)) | UINT64_C(1) << 63;
}

double lg_sum_value(lg_sum *sum) {
    const uint64_t bits = bits_of_sum(sum);
    double result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

double lg_sum_scaled(const lg_sum *sum, int *exponent) {
    lg_sum copy = *sum;
    const double value = lg_sum_value(&copy);
    *exponent = 0;
    if (!isinf(value) || sum->plus || sum->minus) return value;
    for (int i = 0; i < LG_SUM_LIMBS; i++) copy.limb[i] = i + 2 < LG_SUM_LIMBS ? copy.limb[i + 2] : 0;
    *exponent = 64;
    return lg_sum_value(&copy);
}

double lg_sum_mean(const lg_sum *sum, double divisor) {
    int exponent;
    const lg_environment found = lg_enter();
    const double m = lg_sum_scaled(sum, &exponent),
                 mean = divisor == 0 ? (double)NAN : m / divisor * (exponent ? 0x1p64 : 1);
    lg_leave(found);
    return mean;
}
