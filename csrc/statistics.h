/* What a row of logits says about its label, in the read that its loss takes.
 *
 * The first pass is that of the losses (sum_row), with the terms e = exp(x) in the row's unit kept; a sweep
 * over them and the logits, both still in the cache, gives the rest. With m the maximum, one term of it left
 * out, and total the sum of all:
 *   entropy = log_rest + sum e (m - x) / total,   sum of squares = (exp(m)^2 + sum e^2) / total^2:
 * sums of what is not negative, so that figures of a row whose one class takes nearly all keep their relative
 * accuracy. Errors, relative: confidence 2^-21, entropy, squares and Brier score 2^-20 (float64: 2^-50,
 * 2^-49): the terms' own, that of a chain of GROUP, and for what is a square twice that. Terms below 2^-190
 * (float64: 2^-1533) of the largest are taken as 0.
 * Order of the sums: the lanes of rows.h; GROUP of a lane are added one after another, those sums in W. */

/* What the sweep finds: both sums, the largest term and the label's, and the label's rank. */
typedef struct {
    double gaps, squares, most, own;
    ptrdiff_t predicted, rank;
} found;

/* Index of the first element that equals value, which occurs. */
INLINE ptrdiff_t first_of(const S *x, ptrdiff_t n, S value) {
    const V wanted = set1(value);
    ptrdiff_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        if (count_(eq_(ld(x + i), wanted) | eq_(ld(x + i + VL), wanted) | eq_(ld(x + i + 2 * VL), wanted) |
                   eq_(ld(x + i + 3 * VL), wanted)))
            break;
    while (i + 1 < n && x[i] != value) i++;
    return i;
}

/* Sums over a vector of a lane's chains, and whether its logits come before the label's. */
INLINE void sweep_step(V x, V e, V max, V inverse, V own, int earlier, V *gaps, V *squares, N *before) {
    const V far = set1(C_(0x1p120f, 0x1p1000)); /* times a term of 0 it is 0 */
    *gaps = fma_(e, min_(max - x, far), *gaps);
    *squares = fma_(e * inverse, e, *squares);
    *before = n_add(*before, earlier ? nlt_(x, own) : lt_(own, x));
}

/* x and e of a row whose loss is defined; leaves 0 in place of one of its largest terms. */
INLINE found sweep_row(const S *x, S *e, ptrdiff_t n, S max, ptrdiff_t label) {
    enum { STEP = GROUP * LANES };
    const S own = x[label], none = -(S)INFINITY;
    const ptrdiff_t top = own == max ? label : first_of(x, n, max);
    const ptrdiff_t turn = label - label % STEP; /* up to here equal logits come before the label's */
    const S most = e[top];
    found f = {.most = (double)most, .own = (double)e[label]};
    e[top] = 0;
    const V m = set1(max), inverse = set1(1 / most), y = set1(own);
    W gaps[VPER], squares[VPER];
    N before = n_zero();
    for (int h = 0; h < VPER; h++) gaps[h] = squares[h] = w_zero();
    ptrdiff_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (int h = 0; h < VPER; h++) {
            V g = set1(0), q = set1(0);
            UNROLL(8)
            for (int k = 0; k < GROUP; k++) {
                const ptrdiff_t at = i + k * LANES + h * VL;
                sweep_step(ld(x + at), ld(e + at), m, inverse, y, i < turn, &g, &q, &before);
            }
            gaps[h] = w_add(gaps[h], g);
            squares[h] = w_add(squares[h], q);
        }
    for (int h = 0; i + h * VL < n && h < VPER; h++) {
        V g = set1(0), q = set1(0);
        for (ptrdiff_t at = i + h * VL; at < n; at += LANES) {
            const ptrdiff_t k = n - at < VL ? n - at : VL;
            const V v = k == VL ? ld(x + at) : ld_n(x + at, k, none), t = k == VL ? ld(e + at) : ld_n(e + at, k, 0);
            sweep_step(v, t, m, inverse, y, 0, &g, &q, &before);
        }
        gaps[h] = w_add(gaps[h], g);
        squares[h] = w_add(squares[h], q);
    }
    for (i = turn; i < label; i += VL)
        before = n_add(before, eq_(label - i < VL ? ld_n(x + i, label - i, (S)NAN) : ld(x + i), y));
    f.gaps = value_of(fold_(gaps));
    f.squares = value_of(fold_(squares));
    f.rank = n_total(before);
    f.predicted = f.rank == 0 ? label : top == label ? first_of(x, n, max) : top;
    return f;
}

/* The figures of row r, which is defined. */
INLINE void put_figures(const lg_statistics *to, ptrdiff_t r, const lg_row *w, const found *f) {
    const double p = w->unit / w->total, others = f->squares / w->total * (f->most / w->total);
    to->predicted[r] = f->predicted;
    to->rank[r] = f->rank;
    to->confidence[r] = p;
    to->entropy[r] = w->log_rest + f->gaps / w->total;
    to->squares[r] = p * p + others;
    if (w->target == w->max) {
        const double rest = (w->rest + (w->count - 1) * w->unit) / w->total;
        to->brier[r] = others + rest * rest;
    } else {
        const double own = f->own / w->total, rest = (w->total - f->own) / w->total;
        to->brier[r] = ((p * p - own * own) + others) + rest * rest;
    }
}

static void statistics(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    const lg_statistics *to = &j->statistics;
    const ptrdiff_t n = j->classes, most = lg_rows_batch(n), batch = end - begin < most ? end - begin : most;
    S *terms = j->scratch, *tile = terms + batch * n;
    const int x_runs = runs(&j->x, n), few = n <= 2 * LANES;
    for (ptrdiff_t r0 = begin; r0 < end; r0 += batch) {
        const ptrdiff_t many = end - r0 < batch ? end - r0 : batch;
        const S *x[LG_ROWS];
        lg_batch b;
        found f[LG_ROWS];
        int64_t label[LG_ROWS];
        S loss[LG_ROWS];
        if (!x_runs) gather(&j->x, r0, many, j, tile);
        lg_labels(&j->label, j->label_type, j->inner, r0, many, label);
        ptrdiff_t kept = many; /* the first row that is not ignored */
        for (ptrdiff_t k = many; k-- > 0;) {
            x[k] = x_runs ? (const S *)at_row(&j->x, r0 + k, j->inner) : tile + k * n;
            if (label[k] != j->ignore_index) kept = k;
        }
        if (few && kept < many)
            for (ptrdiff_t k = 0; k < many; k += VL) {
                const S *side[VL];
                for (int r = 0; r < VL; r++) {
                    const ptrdiff_t at = k + r;
                    side[r] = x[at < many && label[at] != j->ignore_index ? at : kept];
                }
                sum_abreast(side, n, terms + k * n, &b, k, (int)(many - k < VL ? many - k : VL));
            }
        for (ptrdiff_t k = 0; k < many; k++) {
            if (label[k] == j->ignore_index) continue;
            S *e = few ? terms + k * n : terms;
            if (!few) put_row(&b, k, sum_row(x[k], n, e, NULL));
            b.target[k] = (double)x[k][label[k]];
            const lg_row w = get_row(&b, k);
            if (w.rest == w.rest) f[k] = sweep_row(x[k], e, n, (S)w.max, (ptrdiff_t)label[k]);
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
