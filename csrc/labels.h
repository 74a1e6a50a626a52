/* What logits say about binary targets, each in one read.
 *
 * All but the loss is computed in float64 for every dtype, where a probability of exp(-745) is a number.
 * With z = exp(-|x|) and small = sigmoid(-|x|):
 *   entropy = log(1 + z) + |x| small;   p - t = small - t below 0, else (1 - t) - small:
 * no difference of what is close unless t is. Errors, relative: probability and entropy 2^-51; the score's
 * root 2^-51 of p or t; where small is subnormal, a unit of it too, times |x| in the entropy. What is beyond
 * +-800, where exp is 0, counts as that: inf times 0 is not asked for. */

#if LG_DOUBLE
void LG_NAME(label_figures)(const double *x, const double *t, ptrdiff_t n, double limit, double *p, double *entropy,
                            double *brier, uint8_t *outcome) {
    const V zero = set1(0), half = set1(0.5), far = set1(800), at = set1(limit);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const ptrdiff_t k = n - i < VL ? n - i : VL;
        const V v = k == VL ? ld(x + i) : ld_n(x + i, k, 0), target = k == VL ? ld(t + i) : ld_n(t + i, k, 0);
        const V gap = min_(abs_(v), far); /* far where NaN */
        const logistic s = logistic_(exact_(gap), 1);
        const V small = scale_(round_(s.small), s.n), large = round_(s.large);
        const M below = lt_(v, zero);
        const V off = select_(below, small - target, (set1(1) - target) - small);
        const V figures[3] = {select_(below, small, large), round_(log1p_unit(s.z)) + gap * small, off * off};
        double *const to[3] = {p + i, entropy + i, brier + i};
        for (int f = 0; f < 3; f++)
            if (k == VL) st(to[f], figures[f]);
            else st_n(to[f], figures[f], k);
        double found[VL];
        st(found, keep_(lt_(half, target), set1(2)) + keep_(lt_(at, v), set1(1)));
        for (ptrdiff_t l = 0; l < k; l++) outcome[i + l] = (uint8_t)found[l];
    }
}
#else
void LG_NAME(label_figures)(const double *x, const double *t, ptrdiff_t n, double limit, double *p, double *entropy,
                            double *brier, uint8_t *outcome);
#endif

static void labels(const lg_label_job *j, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i += LG_BLOCK) {
        const ptrdiff_t k = end - i < LG_BLOCK ? end - i : LG_BLOCK;
        S x[LG_BLOCK], t[LG_BLOCK], ones[LG_BLOCK];
        double wide[LG_BLOCK];
        load_run(j->x + i * lg_size(j->storage), lg_size(j->storage), k, j->storage, x);
        for (ptrdiff_t l = 0; l < k; l++) {
            t[l] = (S)j->target[i + l];
            ones[l] = 1;
            wide[l] = (double)x[l];
        }
        const lg_run in[3] = {{(char *)x, COMPUTED}, {(char *)t, COMPUTED}, {(char *)ones, COMPUTED}};
        const lg_run out = {(char *)((S *)j->loss + i), COMPUTED};
        map(OP_binary_cross_entropy_with_logits, LG_FORWARD, in, &out, k, NULL, 0, NULL);
        LG_NAME(label_figures)(wide, j->target + i, k, j->limit, j->probability + i, j->entropy + i, j->brier + i,
                               j->outcome + i);
    }
}
