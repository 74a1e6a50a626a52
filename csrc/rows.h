/* Parts of which row_ops.h makes results: what becomes of a row's terms and sums (sums.h). */

/* q_c = w_c ((1 - smoothing) t_c + smoothing / C): the target distribution of a row, weighted. */
typedef struct {
    lg_run target;
    const S *weight;
    S slope, level;
} mixture;
INLINE V mixture_at(const mixture *q, ptrdiff_t i, ptrdiff_t k) {
    V v = set1(q->level);
    if (q->target.at) v = fma_(set1(q->slope), get(q->target.at, i, k, q->target.storage), v);
    if (q->weight) v = v * (k == VL ? ld(q->weight + i) : ld_n(q->weight + i, k, 0));
    return v;
}

/* Sums q_c (max - x_c), 0 where q_c is 0 at any x, and q_c. */
INLINE void sum_mixture(const S *x, ptrdiff_t n, const mixture *q, S max, double *gap, wide *mass) {
    W w[2][VPER];
    V top = set1(max), zero = set1(0);
    for (int h = 0; h < VPER; h++) w[0][h] = w[1][h] = w_zero();
    for (ptrdiff_t i = 0; i < n && !(i && i % PIECE == 0 && lg_stopped()); i += LANES)
        for (int h = 0; h < VPER; h++) {
            ptrdiff_t at = i + h * VL, k = n - at < VL ? n - at : VL;
            if (k <= 0) break;
            V v = k == VL ? ld(x + at) : ld_n(x + at, k, max), p = mixture_at(q, at, k);
            if (k != VL) { /* lanes past the end have no mass */
                S one[64 / sizeof(S)];
                for (int j = 0; j < VL; j++) one[j] = j < k;
                p = p * ld(one);
            }
            V distance = select_(eq_(v, top), zero, top - v);
            w[0][h] = w_add(w[0][h], drop_(eq_(p, zero), p * distance));
            w[1][h] = w_add(w[1][h], p);
        }
    *gap = value_of(fold_(w[0]));
    *mass = fold_(w[1]);
}

/* f * terms - g q */
typedef struct {
    const S *terms;
    const mixture *q;
    V first, second, minus;
    int one;
} difference;
INLINE V difference_at(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const difference *d = of;
    const V e = ld_k(d->terms + i, k), c = mixture_at(d->q, i, k) * d->minus;
    return d->one ? fma_(e, d->first, c) : fma_(e * d->first, d->second, c);
}
INLINE void mixture_gradient(const S *e, lg_run out, ptrdiff_t n, const mixture *q, factor f, S g, int stream,
                             ptrdiff_t at, S entry) {
    const difference d = {e, q, set1(f.first), set1(f.second), set1(-g), f.second == 1};
    write_result(difference_at, &d, out, n, stream, at, entry);
}

/* (x - max) - log_rest, at the maximum -log_rest */
typedef struct {
    lg_run x;
    V max, log_rest;
} logarithms;
INLINE V logarithm_at(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const logarithms *l = of;
    const V x = get(l->x.at, i, k, l->x.storage);
    return select_(eq_(x, l->max), set1(0), x - l->max) - l->log_rest;
}

/* Index of the class that has more than half of the probability, or -1. */
INLINE ptrdiff_t dominant(lg_run x, ptrdiff_t n, const lg_row *row) {
    if (row->known || row->count != 1 || !(row->rest < row->unit)) return -1;
    ptrdiff_t k = 0;
    while (k + VL <= n && !any_(eq_(get(x.at, k, VL, x.storage), set1((S)row->max)))) k += VL;
    while (k < n && element(x, k) != (S)row->max) k++;
    return k < n ? k : -1;
}

/* softmax backward: p (g - sum p g); log_softmax backward: g - p sum g. dot sums p g or g, and finds the largest g
 * unless that is NULL. */
INLINE wide row_dot(const S *e, lg_run g, ptrdiff_t n, int with_e, S *largest) {
    W w[VPER];
    V most = set1(0);
    for (int h = 0; h < VPER; h++) w[h] = w_zero();
    for (ptrdiff_t i = 0; i < n && !(i && i % PIECE == 0 && lg_stopped()); i += LANES)
        for (int h = 0; h < VPER; h++) {
            ptrdiff_t at = i + h * VL, k = n - at < VL ? n - at : VL;
            if (k <= 0) break;
            V v = get(g.at, at, k, g.storage);
            if (largest) most = max_(abs_(v), most);
            if (with_e) v = v * (k == VL ? ld(e + at) : ld_n(e + at, k, 0));
            w[h] = w_add(w[h], v);
        }
    if (largest) *largest = fold_max(most);
    return fold_(w);
}
/* Of terms that are infinite, and so 1 of one class. */
static void far_shares(const S *e, ptrdiff_t n, far up, lg_run out) {
    for (ptrdiff_t c = 0; c < n; c++) set_element(out, c, (S)LG_NAME(far_value)(far_share((far){(double)e[c], 0}, up)));
}

/* ---- log-sum-exp with b: what follows leaves b exp(x) in place of a row's terms, and their sum in its total ---- */

#define FACTORS C_(0x1p20, 0x1p200) /* between its inverse and it, terms times b are ordinary numbers */

/* Where something is infinite: the limit is one-hot if one element alone is. */
static double weigh_infinite(lg_row *w, const S *x, S *e, const S *b, ptrdiff_t n) {
    ptrdiff_t count = 0, plus = 0;
    for (ptrdiff_t c = 0; c < n; c++) {
        const int infinite = b[c] != 0 && (x[c] == (S)INFINITY || (x[c] > -(S)INFINITY && isinf(b[c])));
        e[c] = (S)infinite;
        count += infinite;
        plus += infinite && b[c] > 0;
    }
    w->total = count == 1 ? 1 : (double)NAN;
    w->known = 1; /* the terms are shares */
    return plus == count ? (double)INFINITY : (double)NAN;
}

/* n ln 2 + x, x below it, as exp(x) b = m 2^n; and that over 2^unit, as far as it is a normal number. */
INLINE double weighted_exponent(double x, S b) {
    V k;
    mantissa_(set1(b), &k);
    return x * 0x1.71547652b82fep+0 + (double)first_(k);
}
INLINE S weighted_term(double x, S b, double unit) {
    V k;
    const double m = (double)first_(mantissa_(set1(b), &k));
    return weighted_exponent(x, b) - unit < -1000 ? 0 : (S)(m * LG_NAME(exp_of)(x, unit - (double)first_(k)));
}
/* For any finite b: in units of the largest product. */
static double weigh_any(lg_row *w, const S *x, S *e, const S *b, ptrdiff_t n) {
    const double shift = (double)shift_of((S)w->max);
    double most = -INFINITY, total = 0;
    for (ptrdiff_t c = 0; c < n; c++) {
        const double here = b[c] == 0 || x[c] == -(S)INFINITY ? most : weighted_exponent((double)x[c] - shift, b[c]);
        most = here > most ? here : most;
    }
    most = (double)(int64_t)most;
    for (ptrdiff_t c = 0; c < n; c++)
        e[c] = b[c] == 0 ? 0 : weighted_term((double)x[c] - shift, b[c], most - (double)BIAS);
    total = value_of(row_dot(NULL, run_of(e), n, 0, NULL));
    w->total = total;
    return shift + (most * 0x1.62e42fefa39efp-1 + LG_NAME(log_of)(total * C_(0x1p-64, 0x1p-512)));
}

/* Near 0: of the largest product b exp(x), x + log b + log(1 + the others over it), if that x is near 0 as well. */
static double weigh_near(const S *x, const S *e, const S *b, ptrdiff_t n, double usual) {
    ptrdiff_t top = 0;
    far_sum rest = FAR_NOTHING;
    for (ptrdiff_t c = 1; c < n; c++) top = e[c] > e[top] ? c : top;
    for (ptrdiff_t c = 0; c < n; c++)
        if (c != top) far_add(&rest, (far){(double)e[c], 0});
    const double ratio = LG_NAME(far_value)(far_total(rest)) / (double)e[top];
    if (!(b[top] > 0 && ratio > -0.5 && fabs((double)x[top]) < 0.5)) return usual;
    return (double)x[top] + (LG_NAME(log_of)((double)b[top]) + LG_NAME(log1p_of)(ratio));
}

static double weigh(lg_row *w, const S *x, S *e, const S *b, ptrdiff_t n) {
    int infinite = w->max == INFINITY, nan = w->max != w->max, extreme = 0;
    for (ptrdiff_t c = 0; c < n; c++) {
        const double size = fabs((double)b[c]);
        nan |= b[c] != b[c] || x[c] != x[c];
        infinite |= isinf(b[c]) && x[c] > -(S)INFINITY;
        extreme |= size != 0 && !(size >= 1 / FACTORS && size <= FACTORS);
    }
    w->total = (double)NAN;
    if (nan) return (double)NAN;
    if (w->max == -INFINITY) return w->max;
    if (infinite) return weigh_infinite(w, x, e, b, n);
    double value;
    if (extreme) value = weigh_any(w, x, e, b, n);
    else {
        w->total = value_of(row_dot(e, run_of(b), n, 1, NULL));
        for (ptrdiff_t c = 0; c < n; c++) e[c] = b[c] == 0 ? 0 : e[c] * b[c];
        value = w->max + LG_NAME(log_of)(w->total / w->unit);
    }
    return fabs(w->max) < 0.5 && fabs(value) < 1 ? weigh_near(x, e, b, n, value) : value;
}
