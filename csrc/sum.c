/* Exact sums of doubles: a fixed-point accumulator of 32-bit limbs in 64-bit words, so that any
 * order, grouping or merge of the same values gives the same number, rounded once at the end.
 * (The "small superaccumulator" of R. M. Neal, Fast exact summation using small and large
 * superaccumulators, 2015.) */
#include "lossgrad.h"
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

void lg_sum_add(lg_sum *sum, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    int exponent = (int)(bits >> 52) & 0x7ff;
    uint64_t m = bits & ((UINT64_C(1) << 52) - 1);
    int negative = (int)(bits >> 63);
    if (exponent == 0x7ff) {
        if (m) sum->nan = 1;
        else if (negative) sum->minus = 1;
        else sum->plus = 1;
        return;
    }
    if (exponent) m |= UINT64_C(1) << 52;
    else exponent = 1;
    int place = exponent - 1, i = place >> 5, shift = place & 31;
    uint64_t upper = m >> (32 - shift);
    int64_t part[3] = {(int64_t)((m << shift) & LOW32), (int64_t)(upper & LOW32), (int64_t)(upper >> 32)};
    for (int k = 0; k < 3; k++) sum->limb[i + k] += negative ? -part[k] : part[k];
    if (++sum->adds == 1 << 29) carry(sum);
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

double lg_sum_value(lg_sum *sum) {
    double result;
    uint64_t bits;
    if (sum->nan || (sum->plus && sum->minus)) bits = UINT64_C(0x7ff8) << 48;
    else if (sum->plus || sum->minus) bits = (sum->minus ? UINT64_C(0xfff) : UINT64_C(0x7ff)) << 52;
    else {
        carry(sum);
        lg_sum magnitude = *sum;
        int negative = sum->limb[LG_SUM_LIMBS - 1] < 0;
        if (negative) {
            for (int i = 0; i < LG_SUM_LIMBS; i++) magnitude.limb[i] = -magnitude.limb[i];
            carry(&magnitude);
        }
        int top = LG_SUM_LIMBS - 1;
        while (top > 0 && !magnitude.limb[top]) top--;
        /* bit 0 of the number is worth 2^-1074; gather 64 bits from its leading one down */
        uint64_t word = (uint64_t)magnitude.limb[top];
        int length = 0;
        while (length < 64 && word >> length) length++;
        int leading = top * 32 + length - 1;
        uint64_t window = 0, sticky = 0;
        for (int i = top, have = 0; i >= 0; i--) {
            int width = i == top ? length : 32;
            uint64_t limb = (uint64_t)magnitude.limb[i];
            if (have + width <= 64) {
                window = (width == 64 ? 0 : window << width) | limb;
                have += width;
            } else {
                int room = 64 - have;
                if (room) window = window << room | limb >> (width - room);
                sticky |= room ? limb & ((UINT64_C(1) << (width - room)) - 1) : limb;
                have = 64;
            }
            if (i == 0 && have < 64 && have > 53) { window <<= 64 - have; have = 64; }
        }
        if (leading <= 52) bits = window; /* exact: a subnormal or the lowest normals */
        else {
            uint64_t kept = window >> 11, rest = window & 0x7ff;
            if (rest > 0x400 || (rest == 0x400 && (sticky || kept & 1))) kept++;
            uint64_t exponent = (uint64_t)(leading - 51);
            if (kept >> 53) { kept >>= 1; exponent++; }
            bits = exponent >= 0x7ff ? UINT64_C(0x7ff) << 52
                                     : exponent << 52 | (kept & ((UINT64_C(1) << 52) - 1));
        }
        bits |= (uint64_t)negative << 63;
    }
    memcpy(&result, &bits, sizeof result);
    return result;
}
