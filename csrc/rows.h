/* The softmax family, row by row: what becomes of a row's terms and sums (sums.h). walk.h leads over the rows. */

/* q_c = w_c ((1 - smoothing) t_c + smoothing / C): the target distribution of a row, weighted. */
typedef struct {
    const S *target, *weight;
    S slope, level;
} mixture;
INLINE V mixture_at(const mixture *q, ptrdiff_t i, ptrdiff_t k) {
    V v = set1(q->level);
    if (q->target) v = fma_(set1(q->slope), k == VL ? ld(q->target + i) : ld_n(q->target + i, k, 0), v);
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
INLINE void mixture_gradient(const S *e, S *out, ptrdiff_t n, const mixture *q, factor f, S g, int stream, ptrdiff_t at,
                             S entry) {
    const difference d = {e, q, set1(f.first), set1(f.second), set1(-g), f.second == 1};
    write_result(difference_at, &d, out, n, stream, at, entry);
}

/* (x - max) - log_rest, at the maximum -log_rest */
typedef struct {
    const S *x;
    V max, log_rest;
} logarithms;
INLINE V logarithm_at(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const logarithms *l = of;
    const V x = ld_k(l->x + i, k);
    return select_(eq_(x, l->max), set1(0), x - l->max) - l->log_rest;
}

/* Index of the class that has more than half of the probability, or -1. */
INLINE ptrdiff_t dominant(const S *x, ptrdiff_t n, const lg_row *row) {
    if (row->known || row->count != 1 || !(row->rest < row->unit)) return -1;
    ptrdiff_t k = 0;
    while (k < n && x[k] != (S)row->max) k++;
    return k < n ? k : -1;
}

/* softmax backward: p (g - sum p g); log_softmax backward: g - p sum g. dot sums p g or g, and finds the largest g
 * unless that is NULL. */
INLINE wide row_dot(const S *e, const S *g, ptrdiff_t n, int with_e, S *largest) {
    W w[VPER];
    V most = set1(0);
    for (int h = 0; h < VPER; h++) w[h] = w_zero();
    for (ptrdiff_t i = 0; i < n && !(i && i % PIECE == 0 && lg_stopped()); i += LANES)
        for (int h = 0; h < VPER; h++) {
            ptrdiff_t at = i + h * VL, k = n - at < VL ? n - at : VL;
            if (k <= 0) break;
            V v = k == VL ? ld(g + at) : ld_n(g + at, k, 0);
            if (largest) most = max_(abs_(v), most);
            if (with_e) v = v * (k == VL ? ld(e + at) : ld_n(e + at, k, 0));
            w[h] = w_add(w[h], v);
        }
    if (largest) *largest = fold_max(most);
    return fold_(w);
}
typedef struct {
    const S *terms, *grad;
    V scale, dot;
} softmax_slope;
INLINE V softmax_slope_at(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const softmax_slope *s = of;
    return (ld_k(s->terms + i, k) * s->scale) * (ld_k(s->grad + i, k) - s->dot) * set1(1 / LIFT);
}
INLINE void softmax_gradient(const lg_rows_job *j, ptrdiff_t r, const lg_row *w, const S *e, const S *g, S *out,
                             int stream) {
    const ptrdiff_t n = j->classes;
    S most;
    const double dot = value_of(row_dot(e, g, n, 1, &most)) / w->total;
    if (most > MOST_GRAD && w->total == w->total) {
        far_gradient(j, r, -1, w->max, 0, out);
        return;
    }
    const softmax_slope s = {e, g, set1((S)(LIFT / w->total)), set1((S)dot)};
    write_result(softmax_slope_at, &s, out, n, stream, -1, 0);
}

/* Of a smaller sum of the terms beside the largest some may have been dropped. */
#define WHOLE_REST C_(0x1p-140, 0x1p-960)

/* The loss of a row and, to out unless that is NULL, its gradient times up, or as far.h has it. */
INLINE double cross_entropy_row(const lg_rows_job *j, const lg_row *w, const S *x, const S *e, S *out, ptrdiff_t r,
                                ptrdiff_t label, double up, int is_far, int stream) {
    const ptrdiff_t n = j->classes;
    const S *class_weight = j->weight;
    const int labelled = j->label.at != NULL, mixed = !labelled || j->smoothing != 0;
    const double smooth = mixed ? j->smoothing / (double)n : 0; /* a division a row is felt */
    const double label_weight = labelled && class_weight ? (double)class_weight[label] : 1;
    double own = 0, mass = 0, loss = 0; /* own: the label's part of the target mass */
    wide q_sum = {0, 0};
    mixture q = {.weight = class_weight, .slope = (S)(1 - j->smoothing), .level = (S)smooth};
    if (mixed) {
        if (j->soft.at) q.target = (const S *)at_row(&j->soft, r, j->inner);
        sum_mixture(x, n, &q, (S)w->max, &loss, &q_sum);
        mass = value_of(q_sum);
        loss += mass == 0 ? 0 * w->rest : mass * w->log_rest;
    }
    if (labelled) {
        const double gap = w->target == w->max ? 0 : w->max - w->target;
        own = (1 - j->smoothing) * label_weight;
        loss = own == 0 ? loss + 0 * w->rest : loss + own * (gap + w->log_rest);
    }
    const int dropped = w->log_rest < WHOLE_REST && fabs(loss) < 1 && fabs(own) + fabs(mass) > 1; /* what may count */
    if ((dropped || !isfinite(loss)) && w->total == w->total)
        loss = far_loss(j, r, labelled ? label : -1, w->max, w->log_rest);
    if (!out) return loss;
    const int faint = mixed && up != 0 && fabs(up) < C_(FLT_MIN, LEAST_UP); /* up goes into S here */
    if (w->total == w->total && (is_far || faint || !(fabs(up * (mass + own)) <= MOST_UP))) {
        far_gradient(j, r, labelled ? label : -1, w->max, w->known, out);
        return loss;
    }
    /* one entry is minus the sum of the other probabilities: the label's, or where there is none that of
     * the class that has most; it is found before out, which may be the targets, is written */
    S entry = 0;
    ptrdiff_t at = label;
    if (labelled) {
        double p = (double)e[label], others = w->total - p, rest = 0;
        if (w->known) others = w->others;
        else if (w->target == w->max) others = w->rest + (w->count - 1) * w->unit;
        if (mixed) rest = mass * p - smooth * label_weight * w->total;
        entry = share(rest - own * others, w->total, up);
    } else if ((at = dominant(x, n, w)) >= 0) { /* p sum q - q from what the other classes have of either */
        const mixture here = {q.target ? q.target + at : NULL, q.weight ? q.weight + at : NULL, q.slope, q.level};
        const double own_q = (double)first_(mixture_at(&here, 0, 1));
        entry = share(w->unit * without(q_sum, own_q) - own_q * w->rest, w->total, up);
    }
    if (!isfinite(entry) && w->total == w->total) { /* targets so large that a product leaves the range */
        far_gradient(j, r, labelled ? label : -1, w->max, w->known, out);
        return loss;
    }
    if (mixed) mixture_gradient(e, out, n, &q, factor_of(up * (mass + own), w->total), (S)up, stream, at, entry);
    else scale_terms(e, out, n, factor_of(up * own, w->total), stream, at, entry);
    return loss;
}

/* g - p sum g, as minus a mixture's gradient */
INLINE void log_softmax_gradient(const lg_rows_job *j, ptrdiff_t r, const lg_row *w, const S *x, const S *e, const S *g,
                                 S *out, int stream) {
    const ptrdiff_t n = j->classes;
    S most;
    const wide g_sum = row_dot(e, g, n, 0, &most);
    const double sum = value_of(g_sum);
    if (count_(far_sums(set1((S)sum), set1(most))) && w->total == w->total) {
        far_gradient(j, r, -1, w->max, 0, out);
        return;
    }
    const mixture q = {.target = g, .slope = 1};
    const ptrdiff_t top = dominant(x, n, w);
    S entry = 0; /* before out, which may be g, is written */
    if (top >= 0) entry = (S)(w->rest / w->total * sum - without(g_sum, (double)g[top]));
    mixture_gradient(e, out, n, &q, factor_of(-sum, w->total), -1, stream, top, entry);
}

/* Of terms that are infinite, and so 1 of one class. */
static void far_shares(const S *e, ptrdiff_t n, far up, S *out) {
    for (ptrdiff_t c = 0; c < n; c++) out[c] = (S)LG_NAME(far_value)(far_share((far){(double)e[c], 0}, up));
}

/* p_i (delta_ij - p_j), line by line */
INLINE void jacobian(const lg_row *w, const S *x, const S *e, S *line, ptrdiff_t n, char *to, int storage) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const double p = (double)e[i] / w->total;
        const double others = x[i] == (S)w->max ? w->rest + (w->count - 1) * w->unit : w->total - (double)e[i];
        scale_terms(e, line, n, factor_of(-p, w->total), 0, i, share(others, w->total, p));
        store_run(to + i * n * lg_size(storage), lg_size(storage), n, storage, line);
    }
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
    total = value_of(row_dot(NULL, e, n, 0, NULL));
    w->total = total;
    return shift + (most * 0x1.62e42fefa39efp-1 + LG_NAME(log_of)(total * C_(0x1p-64, 0x1p-512)));
}

/* Near 0: of the largest product b exp(x), x + log b + log(1 + the others over it). */
static double weigh_near(const S *x, const S *e, const S *b, ptrdiff_t n, double usual) {
    ptrdiff_t top = 0;
    far_sum rest = FAR_NOTHING;
    for (ptrdiff_t c = 1; c < n; c++) top = e[c] > e[top] ? c : top;
    for (ptrdiff_t c = 0; c < n; c++)
        if (c != top) far_add(&rest, (far){(double)e[c], 0});
    const double ratio = LG_NAME(far_value)(far_total(rest)) / (double)e[top];
    if (!(b[top] > 0 && ratio > -0.5)) return usual;
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
        w->total = value_of(row_dot(e, b, n, 1, NULL));
        for (ptrdiff_t c = 0; c < n; c++) e[c] = b[c] == 0 ? 0 : e[c] * b[c];
        value = w->max + LG_NAME(log_of)(w->total / w->unit);
    }
    return fabs(w->max) < 0.5 && fabs(value) < 1 ? weigh_near(x, e, b, n, value) : value;
}
