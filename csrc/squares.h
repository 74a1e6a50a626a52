/* The sum of a block's squares as two doubles, nearly always exactly.
 *
 * BIG is 2^11 to 2^13 times the largest square: a square added to it leaves a multiple of its ulp, which is counted by
 * adding up the bits of such sums as integers, and a rest below half of that ulp. In float32, where a square is a
 * double, so are the sums of the rests unless the least element is below 2^-17 of the largest: their bits lie between
 * 2^-41 and 2^-93 of BIG. Otherwise the rests' sum lacks at most `slack`: in each of 8 lanes or more 2^-53 of its
 * sums, which are below 512 2^-53 BIG, for each of 512 rests, and what rounds the rests themselves. */

#define CHAINS (VPER > 4 ? VPER : 4) /* vectors side by side, so that none waits for the one before */
#define STEP (CHAINS * VL)

/* 2^n, or the nearest normal number */
INLINE double power_of_2(int64_t n) {
    const uint64_t bits = (uint64_t)(n < -1022 ? 1 : n > 1023 ? 2046 : n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* The largest size, and in float32 about the least but 0: the number below each, of which 0 has none. */
INLINE void see_extremes(V v, V *least, V *most) {
    const V size = abs_(v);
    *most = max_(size, *most);
    if (!LG_DOUBLE) *least = min_(from_bits(bits_(size) - iset1(1)), *least);
}
INLINE void find_extremes(const S *x, ptrdiff_t n, int chains, S *least, S *most) {
    V low[CHAINS], high[CHAINS];
    ptrdiff_t i = 0;
    for (int g = 0; g < chains; g++) low[g] = set1((S)INFINITY), high[g] = set1(0);
    for (; chains > 1 && i + STEP <= n; i += STEP) UNROLL(16)
    for (int g = 0; g < CHAINS; g++) {
        prefetch_later((const void *)((uintptr_t)(x + i + g * VL) + LG_SQUARES * sizeof(S))); /* the next block */
        see_extremes(ld(x + i + g * VL), &low[g], &high[g]);
    }
    for (; i < n; i += VL) see_extremes(ld_k(x + i, n - i < VL ? n - i : VL), &low[0], &high[0]);
    for (int g = 1; g < chains; g++) low[0] = min_(low[g], low[0]), high[0] = max_(high[g], high[0]);
    *most = fold_max(high[0]);
    *least = -fold_max(-low[0]);
}

INLINE D rest_of(D v, D above) { /* v^2 - above */
#if LG_DOUBLE
    return residual_(v, v, above);
#else
    return square_plus(v, -above);
#endif
}
INLINE void add_square(V of, D big, L *high, D *low) {
    D v[HALVES];
    doubles_(of, v);
    for (int h = 0; h < HALVES; h++) {
        const D sum = square_plus(v[h], big);
        high[h] = high[h] + d_bits(sum);
        low[h] = low[h] + rest_of(v[h], sum - big);
    }
}
/* Returns how many were added, those past the end included, which are 0. */
INLINE ptrdiff_t add_squares(const S *x, ptrdiff_t n, int chains, S unit, D big, L *high, D *low) {
    const V by = set1(unit);
    ptrdiff_t i = 0;
    for (; chains > 1 && i + STEP <= n; i += STEP) UNROLL(16)
    for (int g = 0; g < CHAINS; g++) add_square(ld(x + i + g * VL) * by, big, high + g * HALVES, low + g * HALVES);
    for (; i < n; i += VL) add_square(ld_k(x + i, n - i < VL ? n - i : VL) * by, big, high, low);
    return i;
}

/* In so many chains; the others' sums would be 0. */
INLINE lg_squares squares_in(const S *x, ptrdiff_t n, double unit, const int chains) {
    S least, most;
    find_extremes(x, n, chains, &least, &most);
    const double peak = (double)most * unit;
    uint64_t exponent, bits;
    memcpy(&exponent, &peak, sizeof exponent);
    const double big = power_of_2(2 * ((int64_t)(exponent >> 52) - 1022) + 11);
    const int exact = most == 0 || (!LG_DOUBLE && least >= most * (S)0x1p-17);
    const D zero = (D){0}, above = zero + big;
    L high[CHAINS * HALVES];
    D low[CHAINS * HALVES];
    for (int g = 0; g < chains * HALVES; g++) low[g] = zero, high[g] = (L)zero;
    const ptrdiff_t count = unit == 1 ? add_squares(x, n, chains, 1, above, high, low)
                                      : add_squares(x, n, chains, (S)unit, above, high, low);
    for (int k = chains * HALVES / 2; k; k /= 2) UNROLL(16)
    for (int g = 0; g < k; g++) low[g] = low[g] + low[g + k], high[g] = high[g] + high[g + k];
    lg_squares found = {(double)most, 0, 0, exact ? 0 : big * 0x1p-83};
    uint64_t lane[sizeof(L) / 8];
    double rest[sizeof(D) / 8];
    memcpy(lane, high, sizeof lane);
    memcpy(rest, low, sizeof rest);
    memcpy(&bits, &big, sizeof bits);
    for (size_t k = sizeof(D) / 16; k; k /= 2)
        for (size_t l = 0; l < k; l++) rest[l] += rest[l + k], lane[l] += lane[l + k];
    found.low = rest[0];
    found.high = (double)(int64_t)(lane[0] - bits * (uint64_t)count) * (big * 0x1p-52);
    return found;
}

/* Of n <= LG_SQUARES elements times unit, a power of 2 (1 in float32). NaN, or a largest whose square is no ordinary
 * number, makes the sums NaN or anything; the largest is always right, NaN left out. */
static lg_squares squares(const void *x, ptrdiff_t n, double unit) {
    return n < 2 * STEP ? squares_in(x, n, unit, 1) : squares_in(x, n, unit, CHAINS);
}

/* x a b */
static void scale_run(const void *x, ptrdiff_t n, double a, double b, const lg_run *out) {
    scale_terms(x, *out, n, (factor){(S)a, (S)b}, 0, -1, 0);
}
