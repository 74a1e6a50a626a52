/* The sum of a block's squares as two doubles, nearly always exactly.
 *
 * BIG is 2^11 to 2^13 times the largest square: adding and taking it off again leaves multiples of its ulp, of
 * which a block's sum is exact in any order, and a rest below half of it. In float32, where a square is a double,
 * so are the sums of the rests unless the least element is below 2^-18 of the largest: their bits lie between
 * 2^-43 and 2^-95 of BIG. Otherwise the rests' sum lacks at most `slack`: in each lane 2^-53 of its sums, which are
 * below LG_BLOCK / LANES 2^-53 BIG, for each of LG_BLOCK / LANES rests, and what rounds the rests themselves. */

#if LG_DOUBLE
INLINE void add_square(V v, V big, W *sum) { /* its error is the sum of the rests here */
    const V high = fma_(v, v, big) - big;
    sum->s = sum->s + high;
    sum->e = sum->e + residual_(v, v, high);
}
#elif VECTOR
INLINE void add_square(V v, double big, W *high, W *low) {
    const W w = w_of(v);
    const D a = w.lo * w.lo, b = w.hi * w.hi, c = (a + big) - big, d = (b + big) - big;
    *high = w_join(*high, (W){c, d});
    *low = w_join(*low, (W){a - c, b - d});
}
#else
INLINE void add_square(V v, double big, W *high, W *low) {
    const double square = (double)v * (double)v, above = (square + big) - big;
    *high = w_join(*high, (W){above});
    *low = w_join(*low, (W){square - above});
}
#endif

/* 2^n, or the nearest normal number */
INLINE double power_of_2(int64_t n) {
    const uint64_t bits = (uint64_t)(n < -1022 ? 1 : n > 1023 ? 2046 : n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

INLINE void find_extremes(const S *x, ptrdiff_t n, S *least, S *most) {
    const V zero = set1(0), none = set1((S)INFINITY);
    V low[4], high[4];
    for (int g = 0; g < 4; g++) low[g] = none, high[g] = zero;
    for (ptrdiff_t i = 0; i < n; i += 4 * VL) UNROLL(4)
    for (int g = 0; g < 4; g++) {
        const ptrdiff_t k = n - i - g * VL;
        if (k <= 0) break;
        const V v = abs_(k >= VL ? ld(x + i + g * VL) : ld_n(x + i + g * VL, k, 0));
        high[g] = max_(v, high[g]);
        if (!LG_DOUBLE) low[g] = min_(select_(eq_(v, zero), none, v), low[g]);
    }
    *most = fold_max(max_(max_(high[0], high[1]), max_(high[2], high[3])));
    *least = -fold_max(-min_(min_(low[0], low[1]), min_(low[2], low[3])));
}

/* Of n <= LG_BLOCK elements times unit, a power of 2 (1 in float32). NaN, or a largest whose square is no ordinary
 * number, makes the sums NaN or anything; the largest is always right, NaN left out. */
static lg_squares squares(const void *x_, ptrdiff_t n, double unit) {
    const S *x = x_;
    S least, most;
    find_extremes(x, n, &least, &most);
    const double peak = (double)most * unit;
    uint64_t exponent;
    memcpy(&exponent, &peak, sizeof exponent);
    const double big = power_of_2(2 * ((int64_t)(exponent >> 52) - 1022) + 11);
    const int exact = !LG_DOUBLE && least >= most * (S)0x1p-18;
    lg_squares found = {(double)most, 0, 0, exact ? 0 : big * 0x1p-86};
    W high[VPER], low[VPER];
    for (int h = 0; h < VPER; h++) high[h] = low[h] = w_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES)
        for (int h = 0; h < VPER; h++) {
            const ptrdiff_t k = n - i - h * VL;
            if (k <= 0) break;
            const V v = k >= VL ? ld(x + i + h * VL) : ld_n(x + i + h * VL, k, 0);
#if LG_DOUBLE
            add_square(v * set1(unit), set1(big), &high[h]);
#else
            add_square(v, big, &high[h], &low[h]);
#endif
        }
    const wide sum = fold_(high);
    found.high = sum.s;
    found.low = LG_DOUBLE ? sum.e : fold_(low).s;
    return found;
}

/* x a b */
static void scale_run(const void *x, ptrdiff_t n, double a, double b, const lg_run *out) {
    scale_terms(x, *out, n, (factor){(S)a, (S)b}, 0, -1, 0);
}
