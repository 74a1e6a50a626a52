/* Rows abreast: VL of them, each in a lane of its own. Terms, sums and results are those of a row by itself, in the
 * same order. Of few classes they are copied there (few.h); of many they lie beside each other (beside.h). */

#define FEW ((AVX512 ? 5 : GROUP) * LANES) /* as measured: from there on a row by itself is as fast */
#define FEWEST (2 * LANES)                 /* for which that is so even if most lanes are idle */

/* By class. */
typedef struct {
    V *logit, *term, max, top; /* the largest of either */
} abreast;

/* ---- first pass ---- */

/* The sum of lanes in the order of fold_, the first step of which made LANES / 2 of them. */
INLINE W fold_abreast(W *sum) {
    UNROLL(3)
    for (int h = LANES / 4; h; h /= 2) UNROLL(4)
    for (int l = 0; l < h; l++) sum[l] = w_join(sum[l], sum[l + h]);
    return sum[0];
}

/* A lane's largest term, and the others as they are added. */
INLINE V largest_of_lane(const V *e, ptrdiff_t n, int lane, V *rest) {
    V t[GROUP], best = e[lane];
    t[0] = set1(0);
    UNROLL(8)
    for (int g = 1; g < GROUP; g++) {
        const ptrdiff_t c = lane + g * LANES;
        t[g] = set1(0);
        if (g >= FEW / LANES || c >= n) continue;
        t[g] = min_(best, e[c]);
        best = max_(best, e[c]);
    }
    *rest = tree(t);
    return best;
}
/* A lane's sum without its largest term, which is counted if it is the row's, else added last. */
INLINE W lane_abreast(const V *e, ptrdiff_t n, int lane, int most, V top, V *count) {
    V best = e[lane], rest = set1(0);
    if (most > 2) best = largest_of_lane(e, n, lane, &rest);
    else if (lane + LANES < n) {
        rest = min_(best, e[lane + LANES]);
        best = max_(best, e[lane + LANES]);
    }
    const M live = ne_(best, top);
    *count = *count + drop_(live, set1(1));
    return lane + LANES < n ? w_add(w_of(rest), keep_(live, best)) : w_of(keep_(live, best));
}

INLINE void put_abreast(lg_batch *b, ptrdiff_t at, V max, V top, V count, W rest) {
    widen_(max, b->max + at);
    widen_(top, b->unit + at);
    widen_(count, b->count + at);
    w_round(rest, b->rest + at);
    for (int r = 0; r < VL; r++) b->known[at + r] = 0;
}
INLINE void sum_abreast(abreast *a, ptrdiff_t n, S bias, lg_batch *b, ptrdiff_t at, V *seen) {
    const V zero = set1(0), *x = a->logit;
    V *e = a->term, magic, max = x[0], second = x[n - 1], top = zero, count = zero, nan = zero;
    ptrdiff_t c = 1;
    for (; c + 2 < n; c += 2) {
        max = max_(x[c], max);
        second = max_(x[c + 1], second);
    }
    if (c + 1 < n) max = max_(x[c], max);
    max = max_(second, max);
    exp_reduce(max, &magic);
    const unit u = {.magic = set1(MAGIC + bias) - magic};
    for (c = 0; c + 4 <= n; c += 4) {
        V four[4];
        terms_of(x + c, four, 4, &u, &nan);
        for (int k = 0; k < 4; k++) e[c + k] = four[k];
        top = max_(max_(max_(four[0], four[1]), max_(four[2], four[3])), top);
    }
    for (; c < n; c++) {
        V one;
        terms_of(x + c, &one, 1, &u, &nan);
        e[c] = one;
        top = max_(one, top);
    }
    W sum[LANES / 2];
    if (n <= FEWEST) UNROLL(8)
    for (int l = 0; l < LANES / 2; l++) {
        sum[l] = l < n ? lane_abreast(e, n, l, 2, top, &count) : w_zero();
        if (l + LANES / 2 < n) sum[l] = w_join(sum[l], lane_abreast(e, n, l + LANES / 2, 2, top, &count));
    }
    else UNROLL(1) for (int l = 0; l < LANES / 2; l++) {
        const W first = lane_abreast(e, n, l, GROUP, top, &count);
        sum[l] = w_join(first, lane_abreast(e, n, l + LANES / 2, GROUP, top, &count));
    }
    a->max = max;
    a->top = top;
    *seen = nan;
    put_abreast(b, at, max, top, count, w_add(fold_abreast(sum), select_(eq_(nan, nan), zero, nan)));
}

/* Rows that are not finite or far from 0 are summed by themselves, unless they are to be skipped. */
INLINE void mend_abreast(abreast *a, ptrdiff_t n, V seen, lg_batch *b, ptrdiff_t at, ptrdiff_t many, const int *skip) {
    const M usual = and_(nlt_(set1(FAR), abs_(a->max)), eq_(seen, seen));
    if (count_(usual) == VL) return;
    S good[VL], x[FEW], e[FEW];
    st(good, keep_(usual, set1(1)));
    for (ptrdiff_t r = 0; r < many; r++) {
        if (good[r] != 0 || (skip && skip[r])) continue;
        for (ptrdiff_t c = 0; c < n; c++) x[c] = ((const S *)(a->logit + c))[r];
        put_row(b, at + r, sum_row(run_of(x), 0, n, e, NULL));
        for (ptrdiff_t c = 0; c < n; c++) ((S *)(a->term + c))[r] = e[c];
    }
}

/* ---- results ---- */

/* Quotients g / total as one factor a row or, where that is extreme for any, two. */
INLINE int factors(const double *g, const double *total, const double *quotient, ptrdiff_t n, S *first, S *second) {
    int extreme = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        first[k] = (S)quotient[k];
        extreme |= is_extreme(g[k], total[k]);
    }
    for (ptrdiff_t k = 0; extreme && k < n; k++) {
        const factor f = factor_by(g[k], total[k], quotient[k]);
        first[k] = f.first;
        second[k] = f.second;
    }
    return extreme;
}

/* What becomes of VL rows' terms where a gradient comes in: sums of it, and then what they make of each. */
typedef struct {
    W dot[LANES];                /* by lane of the sums (sums.h): of e g or, for log_softmax, of g */
    V most, of_top, top;         /* the largest |g|; of the class whose term is top, which has more than half: its g */
    V first, second, off, entry; /* second: 1 unless `extreme`; entry: of the class of top */
    int extreme;
    M otherwise; /* which rows are to be done otherwise: see far.h */
} slopes;

/* The term of the class that has more than half of its row, or -1, which no term is. */
INLINE V top_terms(const lg_batch *b, ptrdiff_t at) {
    double top[VL];
    for (int r = 0; r < VL; r++) {
        const ptrdiff_t k = at + r;
        top[r] = b->count[k] == 1 && b->rest[k] < b->unit[k] ? b->unit[k] : -1;
    }
    return narrow_(top);
}
INLINE slopes start_slopes(const lg_batch *b, ptrdiff_t at) {
    const V zero = set1(0);
    slopes s = {.most = zero, .of_top = zero, .first = zero, .second = zero, .off = zero, .entry = zero};
    for (int l = 0; l < LANES; l++) s.dot[l] = w_zero();
    s.top = top_terms(b, at);
    return s;
}
/* Adds a lane of up to GROUP * LANES classes. */
INLINE void see_slopes(slopes *s, const V *e, const V *g, ptrdiff_t n, int lane, int of_softmax) {
    W w = s->dot[lane];
    for (ptrdiff_t c = lane; c < n; c += LANES) {
        w = w_add(w, of_softmax ? g[c] * e[c] : g[c]);
        s->most = max_(abs_(g[c]), s->most);
        if (!of_softmax) s->of_top = select_(eq_(e[c], s->top), g[c], s->of_top);
    }
    s->dot[lane] = w;
}
INLINE W dot_abreast(const slopes *s) {
    W w[LANES / 2];
    UNROLL(8)
    for (int l = 0; l < LANES / 2; l++) w[l] = w_join(s->dot[l], s->dot[l + LANES / 2]);
    return fold_abreast(w);
}

/* p (g - sum p g), in place of the terms; b has the rows from `at` on. */
INLINE void settle_softmax(slopes *s, const lg_batch *b, ptrdiff_t at) {
    double dot[VL], scale[VL], d[VL];
    w_values(dot_abreast(s), dot);
    for (int r = 0; r < VL; r++) {
        scale[r] = LIFT / b->total[at + r];
        d[r] = dot[r] / b->total[at + r];
    }
    s->first = narrow_(scale);
    s->off = narrow_(d);
    s->otherwise = lt_(set1(MOST_GRAD), s->most);
}
INLINE void softmax_slopes(const slopes *s, V *e, const V *g, ptrdiff_t n) {
    for (ptrdiff_t c = 0; c < n; c++) e[c] = (e[c] * s->first) * (g[c] - s->off) * set1(1 / LIFT);
}

/* g - p sum g; of a class that has more than half, from what the others have of either. */
INLINE void settle_log_softmax(slopes *s, const lg_batch *b, ptrdiff_t at) {
    double sum[VL], error[VL] = {0}, value[VL], minus[VL], quotient[VL], own[VL], entry[VL];
    S first[VL], second[VL];
    const W dot = dot_abreast(s);
    w_store(dot, sum, error); /* in float32 it has no error */
    w_values(dot, value);
    for (int r = 0; r < VL; r++) {
        minus[r] = -value[r];
        quotient[r] = minus[r] / b->total[at + r];
        second[r] = 1;
    }
    widen_(s->of_top, own);
    UNROLL(1) /* left to be vectorised */
    for (int r = 0; r < VL; r++)
        entry[r] = b->rest[at + r] / b->total[at + r] * value[r] - without((wide){sum[r], error[r]}, own[r]);
    s->extreme = factors(minus, b->total + at, quotient, VL, first, second);
    s->first = ld(first);
    s->second = ld(second);
    s->entry = narrow_(entry);
    s->otherwise = far_sums(w_narrow(dot), s->most);
}
INLINE void log_softmax_slopes(const slopes *s, V *e, const V *g, ptrdiff_t n) {
    for (ptrdiff_t c = 0; c < n; c++) {
        const V plus = g[c] + set1(0); /* no -0 */
        V v = fma_(e[c], s->first, plus);
        if (s->extreme) v = select_(eq_(s->second, set1(1)), v, fma_(e[c] * s->first, s->second, plus));
        e[c] = select_(eq_(e[c], s->top), s->entry, v);
    }
}

INLINE void log_softmax_abreast(V *x, ptrdiff_t n, const lg_batch *b, ptrdiff_t at) {
    const V max = narrow_(b->max + at), log_rest = narrow_(b->log_rest + at);
    for (ptrdiff_t c = 0; c < n; c++) x[c] = select_(eq_(x[c], max), set1(0), x[c] - max) - log_rest;
}
