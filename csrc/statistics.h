/* What a row of logits says about its label, in the read that its loss takes (sum_row, with figures).
 *
 * With m the maximum, one term of it left out, and total the sum of all terms e = exp(x):
 *   entropy = log_rest + sum e (m - x) / total,   sum of squares = (exp(m)^2 + sum e^2) / total^2:
 * sums of what is not negative, so that figures of a row whose one class takes nearly all keep their relative
 * accuracy. The gaps m - x are first taken from the largest logit so far, and its rises added for all terms
 * before. Errors, relative: confidence 2^-21, entropy, squares and Brier score 2^-20 (float64: 2^-50, 2^-49):
 * the terms' own, those of a chain of GROUP and one of 4 groups, and for what is a square twice the first.
 * Terms below 2^-190 (float64: 2^-1533) of the largest are taken as 0.
 * Order of the sums: the lanes of rows.h; GROUP of a lane one after another, 4 of those sums, these in W. */

/* The unit in which squares neither overflow nor, while the rest is not below LEAST_REST, matter where they
 * underflow; and no term that is lost in it could change the rest's last bit. */
#define QUICK_BIAS C_(16, 64)
#define LEAST_REST C_(0x1p-50, 0x1p-450)

/* What is kept of a row until its total is known. */
typedef struct {
    double gaps, squares, own; /* squares of all terms but one of the largest, over its; own: the label's term */
    ptrdiff_t predicted, rank;
} found;

/* Index of the first element that equals value, which occurs. */
INLINE ptrdiff_t first_of(const S *x, ptrdiff_t n, S value) {
    const V wanted = set1(value);
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL)
        if (count_(eq_(ld(x + i), wanted))) break;
    while (i + 1 < n && x[i] != value) i++;
    return i;
}

/* How many logits come before the label's: larger ones, and equal ones of classes before it. */
static ptrdiff_t rank_of(const S *x, ptrdiff_t n, ptrdiff_t label) {
    ptrdiff_t rank = 0;
    for (ptrdiff_t i = 0; i < n; i++) rank += i < label ? x[i] >= x[label] : x[i] > x[label];
    return rank;
}

/* The first class of the largest logit. */
INLINE ptrdiff_t first_largest(const figures *f, const running *a, const S *x, ptrdiff_t n, S max) {
    if (n <= GROUP * LANES) return first_of(x, n, max);
    S maxima[LANES];
    SI leader[LANES], group = C_(INT32_MAX, INT64_MAX);
    for (int h = 0; h < VPER; h++) {
        const I bits = bits_(f->leader[h]);
        st(maxima + h * VL, a->max[h]);
        memcpy(leader + h * VL, &bits, sizeof bits);
    }
    for (int i = 0; i < LANES; i++) {
        const SI here = maxima[i] == max ? leader[i] : group;
        group = here < group ? here : group;
    }
    const ptrdiff_t at = (ptrdiff_t)group * GROUP * LANES;
    return at + first_of(x + at, n - at, max);
}

/* The number after a; after infinity NaN. */
INLINE S next_of(S a) {
    SI bits;
    a = a + 0; /* no -0 */
    memcpy(&bits, &a, sizeof bits);
    bits += a < 0 ? -1 : 1;
    memcpy(&a, &bits, sizeof a);
    return a;
}

/* Any row, in two readings: the sum, then the figures in units of it. */
static lg_row careful_row(const S *x, ptrdiff_t n, ptrdiff_t label, found *to) {
    lg_row row = sum_row(x, n, NULL, x);
    const S max = (S)row.max, shift = shift_of(max);
    if (row.rest != row.rest) return row;
    to->rank = rank_of(x, n, label);
    to->predicted = to->rank ? first_of(x, n, max) : label;
    to->gaps = to->squares = to->own = 0;
    if (!isfinite(max)) return row;
    const unit u = unit_of(max - shift, BIAS);
    const double most = one_term(max - shift, &u), step = row.unit / most, others = row.rest / step + (row.count - 1) * most;
    const V scale = set1(others > 0 ? (S)(1 / others) : 1);
    W gaps[VPER], squares[VPER];
    V seen = set1(0), e;
    N equal = n_zero();
    for (int h = 0; h < VPER; h++) gaps[h] = squares[h] = w_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES)
        for (int h = 0; i + h * VL < n && h < VPER; h++) {
            const ptrdiff_t at = i + h * VL;
            const V v = max_(set1(FLOOR), (n - at < VL ? ld_n(x + at, n - at, -(S)INFINITY) : ld(x + at)) - set1(shift));
            const M is_top = eq_(v, set1(max - shift));
            terms_of(&v, &e, 1, &u, &seen);
            const V s = drop_(is_top, e) * scale;
            gaps[h] = w_add(gaps[h], e * (set1(max - shift) - v));
            squares[h] = w_add(squares[h], s * s);
            equal = n_add(equal, is_top);
        }
    const double unscale = 1 / ((double)first_(scale) * most);
    to->gaps = value_of(fold_(gaps)) * step;
    to->squares = value_of(fold_(squares)) * unscale * unscale + (double)(n_total(equal) - 1);
    to->own = one_term(x[label] - shift, &u) * step;
    return row;
}

/* The sum and figures of a row: 0 if they are undefined. */
INLINE int sum_figures(const S *x, ptrdiff_t n, ptrdiff_t label, const unit *u, running *a, figures *f, int floored) {
    *a = nothing();
    f->bar[0] = x[label];
    f->bar[1] = next_of(x[label]);
    f->turn = label - label % VL;
    f->at = 0;
    f->before = n_zero();
    for (int h = 0; h < VPER; h++) {
        f->gaps[h] = f->squares[h] = w_zero();
        f->leader[h] = set1(0);
        a->max[h] = set1(FLOOR);
    }
    for (ptrdiff_t i = 0; i < n; i += FIGURES) {
        S buffer[FIGURES];
        const ptrdiff_t k = n - i < FIGURES ? n - i : FIGURES;
        for (ptrdiff_t c = 0; floored && c < k; c++) buffer[c] = x[i + c] < FLOOR ? FLOOR : x[i + c];
        sum_terms(floored ? buffer : x + i, k, u, NULL, x, a, f);
        for (int h = 0; h < VPER; h++) {
            const V gaps = w_narrow(f->gaps[h]);
            if (count_(ne_(gaps, gaps))) return 0;
        }
    }
    return 1;
}

/* A row without extremes, in one reading: 0 if it turns out to be none. */
INLINE int quick_row(const S *x, ptrdiff_t n, ptrdiff_t label, lg_row *row, found *to) {
    const S reference = row_max(x, n < FIRST ? n : FIRST), own = x[label];
    if (!(fabs((double)reference) <= (double)FAR)) return 0;
    const unit u = unit_of(reference, QUICK_BIAS);
    running a;
    figures f;
    int floored = 0; /* second time: -inf as FLOOR */
    while (!sum_figures(x, n, label, &u, &a, &f, floored))
        if (floored++) return 0;
    const S max = largest(&a);
    if (!(max <= reference + SLACK)) return 0;
    const running all = a;
    const wide rest = others(&a, &row->count, &row->unit);
    row->max = (double)max;
    row->rest = rest.s + rest.e;
    if (!(row->rest >= (double)LEAST_REST)) return 0;
    const V top = set1((S)row->unit);
    for (int h = 0; h < VPER; h++) {
        const V low = keep_(ne_(all.top[h], top), all.top[h]);
        f.gaps[h] = w_add(f.gaps[h], (set1(max) - all.max[h]) * (w_narrow(all.sum[h]) + all.top[h]));
        f.squares[h] = w_add(f.squares[h], low * low);
    }
    to->gaps = value_of(fold_(f.gaps));
    to->squares = value_of(fold_(f.squares)) / (row->unit * row->unit) + (row->count - 1);
    to->own = one_term(own, &u);
    if (floored && own <= FLOOR) to->rank = rank_of(x, n, label);
    else {
        to->rank = n_total(f.before);
        if (label > f.turn) to->rank += count_(eq_(ld_n(x + f.turn, label - f.turn, (S)NAN), set1(own)));
    }
    to->predicted = to->rank ? first_largest(&f, &all, x, n, max) : label;
    return 1;
}

/* The figures of row r, which is defined. */
INLINE void put_figures(const lg_statistics *to, ptrdiff_t r, const lg_row *w, const found *f) {
    const double share = 1 / w->total, p = w->unit * share;
    const double others = f->squares * p * p;
    to->predicted[r] = f->predicted;
    to->rank[r] = f->rank;
    to->confidence[r] = p;
    to->entropy[r] = w->log_rest + f->gaps * share;
    to->squares[r] = p * p + others;
    if (w->target == w->max) {
        const double rest = (w->rest + (w->count - 1) * w->unit) * share;
        to->brier[r] = others + rest * rest;
    } else {
        const double own = f->own * share, rest = (w->total - f->own) * share;
        to->brier[r] = ((p * p - own * own) + others) + rest * rest;
    }
}

static void statistics(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    const lg_statistics *to = &j->statistics;
    const ptrdiff_t n = j->classes, most = lg_rows_batch(n), batch = end - begin < most ? end - begin : most;
    S *tile = j->scratch;
    const int x_runs = runs(&j->x, n);
    for (ptrdiff_t r0 = begin; r0 < end; r0 += batch) {
        const ptrdiff_t many = end - r0 < batch ? end - r0 : batch;
        const S *x[LG_ROWS];
        lg_batch b;
        found f[LG_ROWS];
        int64_t label[LG_ROWS];
        S loss[LG_ROWS];
        if (!x_runs) gather(&j->x, r0, many, j, tile);
        lg_labels(&j->label, j->label_type, j->inner, r0, many, label);
        for (ptrdiff_t k = 0; k < many; k++) {
            if (label[k] == j->ignore_index) continue;
            x[k] = x_runs ? (const S *)at_row(&j->x, r0 + k, j->inner) : tile + k * n;
            lg_row row;
            if (!quick_row(x[k], n, (ptrdiff_t)label[k], &row, &f[k]))
                row = careful_row(x[k], n, (ptrdiff_t)label[k], &f[k]);
            put_row(&b, k, row);
            b.target[k] = (double)x[k][label[k]];
        }
        LG_NAME(finish)(&b, many);
        for (ptrdiff_t k = 0; k < many; k++) {
            const ptrdiff_t r = r0 + k;
            loss[k] = 0;
            j->lse[r] = 0;
            to->predicted[r] = to->rank[r] = -1;
            to->confidence[r] = to->entropy[r] = to->squares[r] = to->brier[r] = 0;
            if (label[k] == j->ignore_index) continue;
            const lg_row w = get_row(&b, k);
            j->lse[r] = w.max == -INFINITY ? w.max : w.max + w.log_rest;
            loss[k] = (S)cross_entropy_row(j, &w, x[k], NULL, NULL, r, (ptrdiff_t)label[k], 1, 0);
            if (loss[k] == loss[k] && w.rest == w.rest) put_figures(to, r, &w, &f[k]);
        }
        for (ptrdiff_t k = 0; k < many; k++)
            store_run(at_row(&j->value, r0 + k, j->inner), 0, 1, j->value.storage, &loss[k]);
    }
}
