/* What a row of logits says about its label, in the read that its loss takes (sum_row, with figures).
 *
 * With m the maximum, one term of it left out, and total the sum of all terms e = exp(x):
 *   entropy = log_rest + sum e (m - x) / total,   sum of squares = (exp(m)^2 + sum e^2) / total^2:
 * sums of what is not negative, so that figures of a row whose one class takes nearly all keep their relative
 * accuracy. The gaps m - x are first taken from the largest logit so far, and its rises added for all terms
 * before. Errors, relative: confidence 2^-21, entropy, squares and Brier score 2^-20 (float64: 2^-50, 2^-49):
 * the terms' own, those of a chain of GROUP and one of 4 groups, and for what is a square twice the first.
 * Terms below 2^-190 (float64: 2^-1533) of the largest are taken as 0.
 * Order of the sums: the lanes of sums.h; GROUP of a lane one after another, 4 of those sums, these in W; rows
 * of few classes, which are summed abreast, have the same. */

/* The unit in which squares neither overflow nor, while the rest is not below LEAST_REST, matter where they
 * underflow; and no term that is lost in it could change the rest's last bit. */
#define QUICK_BIAS C_(16, 64)
#define LEAST_REST C_(0x1p-50, 0x1p-450)

/* Index of the first element that equals value, which occurs; in a group without a branch, as it is anywhere. */
INLINE ptrdiff_t first_of_group(lg_run x, ptrdiff_t n, S value) {
    static const S lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const V wanted = set1(value), step = set1((S)VL);
    ptrdiff_t i = (n - 1) / VL * VL;
    V at = set1((S)i), first = set1((S)(GROUP * LANES));
    for (; i >= 0; i -= VL) {
        first = select_(eq_(get_or(x.at, i, n - i < VL ? n - i : VL, x.storage, (S)NAN), wanted), at, first);
        at = at - step;
    }
    return (ptrdiff_t)-fold_max(-(first + ld(lanes)));
}
INLINE int occurs(const S *x, V wanted) { /* in GROUP vectors */
    M found = eq_(ld(x), wanted);
    UNROLL(8)
    for (int g = 1; g < GROUP; g++) found = (M)(found | eq_(ld(x + g * VL), wanted));
    return any_(found);
}
INLINE ptrdiff_t first_of(lg_run x, ptrdiff_t n, S value) {
    const V wanted = set1(value);
    ptrdiff_t i = 0;
    while (x.storage == COMPUTED && n - i > GROUP * VL && !occurs((const S *)x.at + i, wanted)) i += GROUP * VL;
    while (n - i > VL && !any_(eq_(get(x.at, i, VL, x.storage), wanted))) i += VL;
    return i + first_of_group(from(x, i), n - i < VL ? n - i : VL, value);
}

/* The same, from `at`, where its group begins. */
INLINE double seek(const S *x, ptrdiff_t n, ptrdiff_t at, S value) {
    return (double)first_of_group(run_of(x + at), n - at < GROUP * LANES ? n - at : GROUP * LANES, value);
}

/* How many logits come before the label's: larger ones, and equal ones of classes before it. */
static ptrdiff_t rank_of(lg_run x, ptrdiff_t n, ptrdiff_t label) {
    const V own = set1(element(x, label));
    N before = n_zero();
    for (ptrdiff_t i = 0; i < n; i += VL)
        before = n_add(before, lt_(own, get_or(x.at, i, n - i < VL ? n - i : VL, x.storage, (S)NAN)));
    for (ptrdiff_t i = 0; i < label; i += VL)
        before = n_add(before, eq_(own, get_or(x.at, i, label - i < VL ? label - i : VL, x.storage, (S)NAN)));
    return n_total(before);
}

/* Where the group begins that has the first class of the largest logit. */
INLINE ptrdiff_t first_group(const figures *f, const running *a, S max) {
    V leader = set1((S)INFINITY); /* as numbers their bits have the same order */
    for (int h = 0; h < VPER; h++) leader = min_(leader, select_(eq_(a->max[h], set1(max)), f->leader[h], leader));
    const S least = -fold_max(-leader);
    SI group;
    memcpy(&group, &least, sizeof group);
    return (ptrdiff_t)group * GROUP * LANES;
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
static lg_row careful_row(const S *x, ptrdiff_t n, ptrdiff_t label, lg_found *to, ptrdiff_t k) {
    lg_row row = sum_row(run_of(x), 1, n, NULL, NULL);
    const S max = (S)row.max, shift = shift_of(max);
    if (row.rest != row.rest) return row;
    to->rank[k] = (double)rank_of(run_of(x), n, label);
    to->predicted[k] = (double)(to->rank[k] != 0 ? first_of(run_of(x), n, max) : label);
    to->gaps[k] = to->others[k] = to->own[k] = 0;
    if (!isfinite(max)) return row;
    const unit u = unit_of(max - shift, BIAS);
    const double most = one_term(max - shift, &u), step = row.unit / most;
    const double others = row.rest / step + (row.count - 1) * most;
    const V scale = set1(others > 0 ? (S)(1 / others) : 1);
    W gaps[VPER], squares[VPER];
    V seen = set1(0), e;
    N equal = n_zero();
    for (int h = 0; h < VPER; h++) gaps[h] = squares[h] = w_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES)
        for (int h = 0; i + h * VL < n && h < VPER; h++) {
            const ptrdiff_t at = i + h * VL;
            const V v =
                max_(set1(FLOOR), (n - at < VL ? ld_n(x + at, n - at, -(S)INFINITY) : ld(x + at)) - set1(shift));
            const M is_top = eq_(v, set1(max - shift));
            terms_of(&v, &e, 1, &u, &seen);
            const V s = drop_(is_top, e) * scale;
            gaps[h] = w_add(gaps[h], e * (set1(max - shift) - v));
            squares[h] = w_add(squares[h], s * s);
            equal = n_add(equal, is_top);
        }
    const double unscale = 1 / ((double)first_(scale) * most);
    to->gaps[k] = value_of(fold_(gaps)) * step;
    to->others[k] = value_of(fold_(squares)) * unscale * unscale + (double)(n_total(equal) - 1);
    to->own[k] = one_term(x[label] - shift, &u) * step;
    return row;
}

/* The sum and figures of a row: 0 if they are undefined. */
INLINE int sum_figures(const S *x, ptrdiff_t n, ptrdiff_t label, const unit *u, running *a, figures *f, int floored) {
    *a = nothing();
    f->bar[0] = set1(x[label]);
    f->bar[1] = set1(next_of(x[label]));
    f->turn = label - label % (GROUP * LANES);
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
        sum_terms(run_of(floored ? buffer : x + i), !floored, k, u, NULL, NULL, a, f);
        const int look = i % (8 * FIGURES) == 0 || i + FIGURES >= n; /* seldom: it is felt */
        for (int h = 0; look && h < VPER; h++) {
            const V gaps = w_narrow(f->gaps[h]);
            if (count_(ne_(gaps, gaps))) return 0;
        }
    }
    return 1;
}

/* A row without extremes, in one reading: 0 if it turns out to be none. Of a predicted class
 * other than the label, in a row of several groups, only where its group begins: it is sought there (seek) for
 * all rows of a batch together, since each search waits long for what it needs. Not inlined: 5 % faster. */
static NOINLINE int quick_row(const S *x, ptrdiff_t n, ptrdiff_t label, lg_row *row, lg_found *to, ptrdiff_t k) {
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
    to->gaps[k] = value_of(fold_(f.gaps));
    to->others[k] = value_of(fold_(f.squares)) / (row->unit * row->unit) + (row->count - 1);
    to->own[k] = one_term(own, &u);
    ptrdiff_t rank;
    if (floored && own <= FLOOR) rank = rank_of(run_of(x), n, label);
    else {
        rank = n_total(f.before);
        for (ptrdiff_t i = f.turn; i < label; i += VL)
            rank += count_(eq_(label - i < VL ? ld_n(x + i, label - i, (S)NAN) : ld(x + i), set1(own)));
    }
    to->rank[k] = (double)rank;
    if (n <= GROUP * LANES) to->predicted[k] = (double)(rank ? first_of_group(run_of(x), n, max) : label);
    else to->predicted[k] = (double)(rank ? first_group(&f, &all, max) : label);
    return 1;
}

/* Adds a lane's sums of gaps and squares. */
INLINE void figures_abreast(const abreast *a, ptrdiff_t n, int lane, W *gaps, W *squares) {
    if (lane >= n) return;
    const V *x = a->logit + lane, *e = a->term + lane, floor = set1(FLOOR);
    V max = max_(floor, x[0]), top = e[0], sum = top;
    W gap = w_zero(), square = w_zero();
    if (lane + LANES < n) {
        const V low = min_(top, e[LANES]), next = max_(floor, x[LANES]), both = max_(max, next);
        gap = w_of(fma_(e[LANES], both - next, top * (both - max)));
        square = w_of(low * low);
        max = both;
        top = max_(top, e[LANES]);
        sum = low + top;
    }
    const V left = keep_(ne_(top, a->top), top);
    *gaps = w_join(*gaps, w_add(gap, (a->max - max) * sum));
    *squares = w_join(*squares, w_add(square, left * left));
}

/* The same of rows abreast, which quick_row would take: all figures by the sums it makes of them. */
static void see_abreast(const abreast *a, ptrdiff_t n, const S *label, lg_batch *b, lg_found *to, ptrdiff_t at) {
    const V zero = set1(0), one = set1(1), y = ld(label);
    V own = zero, own_term = zero, first = zero, rank = zero;
    for (ptrdiff_t c = n; c-- > 0;) {
        const V here = set1((S)c), x = a->logit[c];
        own = select_(eq_(here, y), x, own);
        own_term = select_(eq_(here, y), a->term[c], own_term);
        first = select_(eq_(x, a->max), here, first);
    }
    for (ptrdiff_t c = 0; c < n; c++) {
        const M equal = and_(eq_(a->logit[c], own), lt_(set1((S)c), y));
        rank = rank + keep_(lt_(own, a->logit[c]) | equal, one);
    }
    W gaps[LANES / 2], squares[LANES / 2];
    for (int l = 0; l < LANES / 2; l++) {
        gaps[l] = squares[l] = w_zero();
        figures_abreast(a, n, l, &gaps[l], &squares[l]);
        figures_abreast(a, n, l + LANES / 2, &gaps[l], &squares[l]);
    }
    widen_(own, b->target + at);
    widen_(own_term, to->own + at);
    widen_(rank, to->rank + at);
    widen_(select_(eq_(rank, zero), y, first), to->predicted + at);
    w_round(fold_abreast(gaps), to->gaps + at);
    w_round(fold_abreast(squares), to->others + at);
    for (ptrdiff_t k = at; k < at + VL; k++)
        to->others[k] = to->others[k] / (b->unit[k] * b->unit[k]) + (b->count[k] - 1);
}

/* The figures of finished rows. */
#if LG_DOUBLE
void LG_NAME(figures)(const lg_batch *b, lg_found *f, ptrdiff_t n) {
    const V one = set1(1);
    for (ptrdiff_t i = 0; i < n; i += VL) { /* past n, in what the arrays have in excess */
        const V unit = ld(b->unit + i), total = ld(b->total + i), term = ld(f->own + i);
        const V share = one / total, p = unit * share, others = ld(f->others + i) * p * p;
        const M right = eq_(ld(b->target + i), ld(b->max + i));
        const V own = term * share, beside = ld(b->rest + i) + (ld(b->count + i) - one) * unit;
        const V rest = select_(right, beside, total - term) * share;
        st(f->confidence + i, p);
        st(f->entropy + i, ld(b->log_rest + i) + ld(f->gaps + i) * share);
        st(f->squares + i, p * p + others);
        st(f->brier + i, select_(right, others, (p * p - own * own) + others) + rest * rest);
    }
}
#else
void LG_NAME(figures)(const lg_batch *b, lg_found *f, ptrdiff_t n);
#endif

/* ---- the walk: as that of walk.h, but for what is seen of a row ---- */

/* Whether the row was seen abreast, where it is neither far from 0 nor nearly all of one class. */
INLINE int seen_abreast(const plan *p, const lg_batch *b, ptrdiff_t k) {
    return p->n <= FEWEST && fabs(b->max[k]) <= (double)FAR && b->rest[k] >= (double)LEAST_REST;
}
static void see_few(const plan *p, rows_batch *t, lg_found *f) {
    S label[LG_ROWS] = {0};
    for (ptrdiff_t k = 0, many = t->many; k < many; k++) label[k] = (S)(t->skip[k] ? 0 : t->label[k]);
    for (ptrdiff_t k = 0, many = t->many; k < many; k += VL) {
        V buffer[2][FEW], seen;
        abreast a = {.logit = buffer[0], .term = buffer[1]};
        read_few(p, t, k, a.logit);
        sum_abreast(&a, p->n, QUICK_BIAS, &t->of, k, &seen);
        see_abreast(&a, p->n, label + k, &t->of, f, k);
    }
}
static void see_each(const plan *p, rows_batch *t, lg_found *f) {
    int quick[LG_ROWS] = {0};
    EACH_ROW(k, t) {
        const ptrdiff_t label = (ptrdiff_t)t->label[k];
        const S *x = (const S *)t->x[k].at;
        t->of.target[k] = (double)x[label];
        if (seen_abreast(p, &t->of, k)) continue;
        lg_row row;
        quick[k] = p->n > FEWEST && quick_row(x, p->n, label, &row, f, k);
        if (!quick[k]) row = careful_row(x, p->n, label, f, k);
        put_row(&t->of, k, row);
    }
    if (p->n <= GROUP * LANES) return;
    EACH_ROW(k, t)
    if (quick[k] && f->rank[k] != 0)
        f->predicted[k] += seek((const S *)t->x[k].at, p->n, (ptrdiff_t)f->predicted[k], (S)t->of.max[k]);
}
static void finish_figures(const plan *p, rows_batch *t, lg_found *f) {
    const lg_rows_job *j = p->job;
    const int plain = !j->weight && j->param == 0;
    lg_batch *b = &t->of;
    finish_sums(b, t->many);
    LG_NAME(figures)(b, f, t->many);
    for (ptrdiff_t k = 0, many = t->many; k < many; k++) {
        const int skip = t->skip[k];
        if (skip) b->lse[k] = b->loss[k] = 0;
        t->rounded[k] = (S)b->loss[k];
        if (!skip && !plain) {
            const lg_row row = get_row(b, k);
            const ptrdiff_t label = (ptrdiff_t)t->label[k];
            row_targets q = targets_of(j, t->row + k, label);
            t->rounded[k] = (S)mixture_loss(j, &row, (const S *)t->x[k].at, t->row + k, label, &q);
        }
        if (!skip && t->rounded[k] == t->rounded[k] && b->rest[k] == b->rest[k]) continue;
        f->predicted[k] = f->rank[k] = -1;
        f->confidence[k] = f->entropy[k] = f->squares[k] = f->brier[k] = 0;
    }
}
static void write_figures(const plan *p, const rows_batch *t, const lg_found *f) {
    const lg_statistics *to = &p->job->statistics;
    const ptrdiff_t many = t->many;
    const size_t size = (size_t)many * sizeof(double);
    int64_t *predicted = to->predicted + t->row, *rank = to->rank + t->row;
    for (ptrdiff_t k = 0; k < many; k++) predicted[k] = (int64_t)f->predicted[k];
    for (ptrdiff_t k = 0; k < many; k++) rank[k] = (int64_t)f->rank[k];
    memcpy(p->job->lse + t->row, t->of.lse, size);
    memcpy(to->confidence + t->row, f->confidence, size);
    memcpy(to->entropy + t->row, f->entropy, size);
    memcpy(to->squares + t->row, f->squares, size);
    memcpy(to->brier + t->row, f->brier, size);
    write_batch(p, t);
}
static void statistics(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    const plan p = plan_of(j, end - begin);
    rows_batch t;
    lg_found found;
    start_batch(&t);
    ptrdiff_t look = begin;
    for (t.row = begin; next_batch(&p, &t, &look, end); t.row += p.batch) {
        if (p.n <= FEWEST) see_few(&p, &t, &found);
        see_each(&p, &t, &found);
        finish_figures(&p, &t, &found);
        write_figures(&p, &t, &found);
    }
}
