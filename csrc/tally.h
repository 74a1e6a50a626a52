/* What adding up does to whole pieces (totals.c): numbers from 0 on are cut, 52 bits at a time, into whole
 * numbers, whose sums are exact; and are given their bins. */

#if LG_DOUBLE
/* The largest of n numbers, or -1 if some are not in [0, 2^1023), which cannot be cut. */
double LG_NAME(top)(const double *v, ptrdiff_t n) {
    const V zero = set1(0), far = set1(0x1p1023);
    V most = zero;
    M odd = lt_(zero, zero);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V a = n - i < VL ? ld_n(v + i, n - i, 0) : ld(v + i);
        odd = odd | nlt_(a, far) | lt_(a, zero);
        most = max_(most, a);
    }
    return count_(odd) ? -1 : fold_max(most);
}

/* The last bit of v + 2^52 u is worth u: the bits of that sum less those of 2^52 u count how often u goes into v. */
lg_cut LG_NAME(cut)(const double *v, ptrdiff_t n, double top, double *left, int64_t *whole) {
    uint64_t bits;
    memcpy(&bits, &top, sizeof bits);
    const int most = (int)(bits >> MANTISSA) - EXPONENT - 51,
              place = most < -1074 ? -1074 : most; /* < 2^(place + 52) */
    const V large = set1(power_of_2(place + 52)), unit = large * set1(0x1p-52);
    I total = iset1(0);
    V rest = set1(0);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V a = n - i < VL ? ld_n(v + i, n - i, 0) : ld(v + i);
        const V near = a + large, down = near - keep_(lt_(a, near - large), unit), b = a - (down - large);
        const I count = bits_(down) - bits_(large);
        st(left + i, b);
        memcpy(whole + i, &count, sizeof count);
        total = total + count;
        rest = max_(rest, b);
    }
    int64_t lane[VL];
    uint64_t sum = 0;
    memcpy(lane, &total, sizeof total);
    for (int l = 0; l < VL; l++) sum += (uint64_t)lane[l];
    return (lg_cut){place, sum, fold_max(rest)};
}

/* Writes whole numbers that are in [0, 2^52). */
INLINE void st_whole(int64_t *to, V v) {
    const V large = set1(0x1p52);
    const I i = bits_(v + large) - bits_(large);
    memcpy(to, &i, sizeof i);
}

/* The bin of each confidence, (k, k + 1] / bins, and of each loss, by its binary exponent; no loss is in bin 0.
 * NaN has some bin. */
void LG_NAME(bins)(const double *confidence, const double *loss, ptrdiff_t n, lg_bins of, int64_t *bin, int64_t *size) {
    const V one = set1(1), bins = set1((double)of.confidences), large = set1(0x1p52), zero = set1(0);
    const V least = set1(power_of_2(LG_LEAST_LOSS)), most = set1(power_of_2(LG_LEAST_LOSS + of.losses - 1));
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V scaled = max_(min_(ld(confidence + i) * bins, bins), zero);
        const V near = (scaled + large) - large, up = near + keep_(lt_(near, scaled), one); /* rounded up */
        st_whole(bin + i, max_(up - one, zero));
        const I exponent = (bits_(max_(min_(ld(loss + i), most), least)) >> 52) - iset1(EXPONENT + LG_LEAST_LOSS);
        memcpy(size + i, &exponent, sizeof exponent);
    }
}
#else
double LG_NAME(top)(const double *v, ptrdiff_t n);
lg_cut LG_NAME(cut)(const double *v, ptrdiff_t n, double top, double *left, int64_t *whole);
void LG_NAME(bins)(const double *confidence, const double *loss, ptrdiff_t n, lg_bins of, int64_t *bin, int64_t *size);
#endif
