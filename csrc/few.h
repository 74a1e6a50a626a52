/* Rows of few classes: VL of them at a time, each in a lane of its own, so that no vector is left half empty and
 * no row waits for another. Terms, sums and results are those of a row by itself, in the same order. */

#define FEW ((AVX512 ? 5 : GROUP) * LANES) /* as measured: from there on a row by itself is as fast */
#define FEWEST (2 * LANES)                 /* for which that is so even if most lanes are idle */

/* By class. */
typedef struct {
    V *logit, *term, max, top; /* the largest of either */
} abreast;

/* ---- to and from columns ---- */

/* Rows `apart` bytes from each other, each a run: VL or CHUNK classes at a time, of which the last are handled
 * twice where n is no multiple. Few rows or very few classes go through copies of full length. */
static NOINLINE void read_lines(const char *at, ptrdiff_t apart, ptrdiff_t many, ptrdiff_t n, V *column) {
    S line[VL * FEW];
    if (many < VL || n < CHUNK) {
        for (ptrdiff_t r = 0; r < VL; r++)
            for (ptrdiff_t c = 0; c < n; c += VL)
                st(line + r * FEW + c,
                   r < many ? ld_n((const S *)(at + r * apart) + c, n - c < VL ? n - c : VL, 0) : set1(0));
        at = (const char *)line;
        apart = FEW * (ptrdiff_t)sizeof(S);
    }
    ptrdiff_t c = 0;
    for (; c + VL <= n; c += VL) {
        for (int r = 0; r < VL; r++) column[c + r] = ld((const S *)(at + r * apart) + c);
        transpose_(column + c, VL);
    }
    for (; c < n; c += CHUNK) {
        const ptrdiff_t first = c + CHUNK <= n || n < CHUNK ? c : n - CHUNK;
        const char *p = at + first * (ptrdiff_t)sizeof(S);
        V v[CHUNK];
        for (int i = 0; i < CHUNK; i++) v[i] = ld_chunks(p + i * apart, CHUNK * apart);
        transpose_(v, CHUNK);
        for (int i = 0; i < CHUNK; i++) column[first + i] = v[i];
    }
}
INLINE void write_lines(char *to, ptrdiff_t apart, ptrdiff_t many, ptrdiff_t n, const V *column) {
    S line[VL * FEW];
    const int copied = many < VL || n < CHUNK;
    char *at = copied ? (char *)line : to;
    const ptrdiff_t step = copied ? FEW * (ptrdiff_t)sizeof(S) : apart;
    ptrdiff_t c = 0;
    for (; c + VL <= n; c += VL) {
        V v[VL];
        for (int r = 0; r < VL; r++) v[r] = column[c + r];
        transpose_(v, VL);
        for (int r = 0; r < VL; r++) st((S *)(at + r * step) + c, v[r]);
    }
    for (; c < n; c += CHUNK) {
        const ptrdiff_t first = c + CHUNK <= n || n < CHUNK ? c : n - CHUNK;
        V v[CHUNK];
        for (int i = 0; i < CHUNK; i++) v[i] = column[first + i];
        transpose_(v, CHUNK);
        for (int i = 0; i < CHUNK; i++) st_chunks(at + first * (ptrdiff_t)sizeof(S) + i * step, CHUNK * step, v[i]);
    }
    for (ptrdiff_t r = 0; copied && r < many; r++)
        for (ptrdiff_t k = 0; k < n; k += VL)
            st_n((S *)(to + r * apart) + k, ld(line + r * FEW + k), n - k < VL ? n - k : VL);
}

/* Whether `many` rows from `row` on are evenly apart. */
INLINE int even(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t many) {
    return j->inner == 1 || row % j->inner + many <= j->inner;
}
/* Rows that are neighbours, class by class. */
INLINE void read_columns(const char *at, ptrdiff_t step, ptrdiff_t many, ptrdiff_t n, V *column, int storage) {
    for (ptrdiff_t c = 0; c < n; c++, at += step) column[c] = get(at, 0, many, storage);
}
INLINE void write_columns(char *at, ptrdiff_t step, ptrdiff_t many, ptrdiff_t n, const V *column, int storage) {
    for (ptrdiff_t c = 0; c < n; c++, at += step) put(at, 0, column[c], many, storage);
}
/* Whether rows, which are runs, follow each other: they are one run then. */
INLINE int follow(const lg_view *view, ptrdiff_t n, ptrdiff_t apart) {
    return is_run(view, n) && apart == n * lg_size(view->storage);
}
static void read_abreast(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t many, V *column) {
    const ptrdiff_t n = j->classes, apart = lg_row_stride(view, j->inner), size = lg_size(view->storage);
    const char *at = at_row(view, row, j->inner);
    const int evenly = even(j, row, many);
    if (evenly && apart == size) BY_STORAGE(view->storage, read_columns, at, view->stride[1], many, n, column);
    else if (evenly && runs(view, n)) read_lines(at, apart, many, n, column);
    else {
        S tile[VL * FEW];
        const int together = evenly && follow(view, n, apart);
        const ptrdiff_t pitch = together ? n : FEW;
        if (together) load_run(at, size, many * n, view->storage, tile);
        else gather(view, j, row, many, 0, n, tile, pitch);
        read_lines((const char *)tile, pitch * (ptrdiff_t)sizeof(S), many, n, column);
    }
}
static void write_abreast(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t many, const V *column) {
    const ptrdiff_t n = j->classes, apart = lg_row_stride(view, j->inner), size = lg_size(view->storage);
    char *at = at_row(view, row, j->inner);
    const int evenly = even(j, row, many);
    if (evenly && apart == size) BY_STORAGE(view->storage, write_columns, at, view->stride[1], many, n, column);
    else if (evenly && runs(view, n)) write_lines(at, apart, many, n, column);
    else {
        S tile[VL * 2 * FEW]; /* as scatter wants it: see lg_pitch */
        const int together = evenly && follow(view, n, apart);
        const ptrdiff_t pitch = together ? n : PITCH(n);
        write_lines((char *)tile, pitch * (ptrdiff_t)sizeof(S), many, n, column);
        if (together) store_run(at, size, many * n, view->storage, tile);
        else scatter(view, j, row, many, tile, NULL);
    }
}

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
    widen_(max, b->max + at);
    widen_(top, b->unit + at);
    widen_(count, b->count + at);
    w_round(w_add(fold_abreast(sum), select_(eq_(nan, nan), zero, nan)), b->rest + at);
    for (int r = 0; r < VL; r++) b->known[at + r] = 0;
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

/* Sums of e g, or of g where e is NULL. */
INLINE W dot_lane(const V *e, const V *g, ptrdiff_t n, int lane) {
    W w = w_of((e ? g[lane] * e[lane] : g[lane]) + set1(0)); /* no -0 */
    for (ptrdiff_t c = lane + LANES; c < n; c += LANES) w = w_add(w, e ? g[c] * e[c] : g[c]);
    return w;
}
INLINE W dot_abreast(const V *e, const V *g, ptrdiff_t n) {
    W w[LANES / 2];
    UNROLL(8)
    for (int l = 0; l < LANES / 2; l++) {
        w[l] = l < n ? dot_lane(e, g, n, l) : w_zero();
        if (l + LANES / 2 < n) w[l] = w_join(w[l], dot_lane(e, g, n, l + LANES / 2));
    }
    return fold_abreast(w);
}

/* p (g - sum p g), in place of the terms; b has the rows from `at` on. Returns which rows are to be done otherwise. */
INLINE M softmax_gradient_abreast(V *e, const V *g, ptrdiff_t n, const lg_batch *b, ptrdiff_t at) {
    double dot[VL];
    S scale[VL], d[VL];
    V most = set1(0);
    for (ptrdiff_t c = 0; c < n; c++) most = max_(abs_(g[c]), most);
    w_values(dot_abreast(e, g, n), dot);
    for (int r = 0; r < VL; r++) {
        scale[r] = (S)(LIFT / b->total[at + r]);
        d[r] = (S)(dot[r] / b->total[at + r]);
    }
    for (ptrdiff_t c = 0; c < n; c++) e[c] = (e[c] * ld(scale)) * (g[c] - ld(d)) * set1(1 / LIFT);
    return lt_(set1(MOST_GRAD), most);
}

/* g - p sum g; of a class that has more than half, from what the others have of either. Returns as the other. */
INLINE M log_softmax_gradient_abreast(V *e, const V *g, ptrdiff_t n, const lg_batch *b, ptrdiff_t at) {
    double sum[VL], error[VL] = {0}, value[VL], minus[VL], quotient[VL], own[VL];
    S first[VL], second[VL], top[VL], entry[VL];
    V of_top = set1(0), most = of_top;
    const W dot = dot_abreast(NULL, g, n);
    w_store(dot, sum, error); /* in float32 it has no error */
    w_values(dot, value);
    for (int r = 0; r < VL; r++) {
        const ptrdiff_t k = at + r;
        minus[r] = -value[r];
        quotient[r] = minus[r] / b->total[k];
        top[r] = (S)(b->count[k] == 1 && b->rest[k] < b->unit[k] ? b->unit[k] : -1); /* which no term is */
    }
    for (ptrdiff_t c = 0; c < n; c++) of_top = select_(eq_(e[c], ld(top)), g[c], of_top);
    for (ptrdiff_t c = 0; c < n; c++) most = max_(abs_(g[c]), most);
    widen_(of_top, own);
    UNROLL(1) /* left to be vectorised */
    for (int r = 0; r < VL; r++)
        entry[r] = (S)(b->rest[at + r] / b->total[at + r] * value[r] - without((wide){sum[r], error[r]}, own[r]));
    const int extreme = factors(minus, b->total + at, quotient, VL, first, second);
    const V one = set1(1), f = ld(first);
    for (ptrdiff_t c = 0; c < n; c++) {
        const V plus = g[c] + set1(0); /* no -0 */
        V v = fma_(e[c], f, plus);
        if (extreme) v = select_(eq_(ld(second), one), v, fma_(e[c] * f, ld(second), plus));
        e[c] = select_(eq_(e[c], ld(top)), ld(entry), v);
    }
    return far_sums(w_narrow(dot), most);
}

/* ---- the walk ---- */

/* Whether a job is done here: one in which a row's result depends on its logits and label, or gradient, alone. A
 * few rows of many classes would leave too many lanes idle. */
INLINE int few_classes(const lg_rows_job *j, const result *r) {
    if (!r->abreast || j->classes > FEW || j->lse_given) return 0;
    return j->classes <= FEWEST || j->outer * j->inner >= VL;
}

#define BATCH_BYTES (12 << 10) /* of what is kept between the passes, in the first level of the cache */

/* The rows of a batch; group g of those that are abreast has rows from start[g] to start[g + 1]. */
typedef struct {
    lg_batch b;
    ptrdiff_t row, start[LG_ROWS + 1];
    int groups, skips, skip[LG_ROWS], any_far, is_far[LG_ROWS];
    S label[LG_ROWS];
} few_batch;

INLINE void begin_batch(few_batch *f, const lg_rows_job *j, const result *r, ptrdiff_t row, ptrdiff_t end) {
    int64_t label[LG_ROWS];
    const ptrdiff_t most = BATCH_BYTES / (j->classes * VBYTES); /* groups */
    f->row = row;
    f->groups = f->skips = 0;
    f->start[0] = 0;
    while (f->groups < LG_ROWS / VL && (f->groups == 0 || f->groups < most) && row < end) {
        const ptrdiff_t left = end - row, many = j->inner < VL ? left < VL ? left : VL : side_by_side(j, row, left);
        row += many;
        f->start[++f->groups] = row - f->row;
    }
    const ptrdiff_t many = row - f->row;
    if (r->labelled) lg_labels(j, f->row, many, label);
    for (ptrdiff_t k = 0; r->labelled && k < many; k++) {
        f->label[k] = (S)label[k];
        f->skip[k] = label[k] == j->ignore_index;
        f->skips |= f->skip[k];
    }
}

/* Fetches the lines of as many rows as are abreast, if they lie one after another, from `ahead` elements further. */
INLINE void fetch_abreast(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t ahead) {
    const ptrdiff_t n = j->classes;
    if (!view->at || j->inner != 1 || !follow(view, n, view->stride[0])) return;
    const lg_run at = {at_row(view, row, 1), view->storage};
    for (ptrdiff_t i = 0; i < n * VL; i += 64 / lg_size(view->storage)) prefetch_later(place(at, i + ahead));
}

/* First pass; keeps what the results are made of. */
INLINE void first_pass(few_batch *f, const lg_rows_job *j, const result *r, int group, V *keep) {
    const ptrdiff_t n = j->classes, at = f->start[group], many = f->start[group + 1] - at;
    V buffer[2][FEW], seen, target = set1(0), own = target;
    abreast a = {.logit = buffer[0], .term = buffer[1]};
    if (keep && r->terms) a.term = keep;
    else if (keep) a.logit = keep;
    fetch_abreast(&j->x, j, f->row + at, FURTHER);
    fetch_abreast(j->grad.at ? &j->grad : &j->out, j, f->row + at, 0);
    read_abreast(&j->x, j, f->row + at, many, a.logit);
    sum_abreast(&a, n, BIAS, &f->b, at, &seen);
    mend_abreast(&a, n, seen, &f->b, at, many, f->skips ? f->skip + at : NULL);
    if (!r->labelled) return;
    V class = target;
    for (ptrdiff_t c = 0; c < n; c++) {
        const M here = eq_(ld(f->label + at), class);
        target = select_(here, a.logit[c], target);
        own = select_(here, a.term[c], own);
        class = class + set1(1);
    }
    widen_(target, f->b.target + at);
    widen_(own, f->b.own + at);
}

/* Terms times their row's factors; the label's is what was found for it, and of a row to be skipped all are 0. */
INLINE void shares_abreast(V *e, ptrdiff_t n, const few_batch *f, ptrdiff_t at, int labelled, V first,
                           const S *second) {
    V entry = set1(0), class = entry, kept = entry, label = entry;
    if (labelled) {
        S s[VL];
        for (int r = 0; r < VL; r++) s[r] = (S)f->b.entry[at + r];
        entry = ld(s);
        for (int r = 0; r < VL; r++) s[r] = (S)!f->skip[at + r];
        kept = ld(s);
        label = ld(f->label + at);
    }
    for (ptrdiff_t c = 0; c < n; c++) {
        V v = e[c] * first;
        if (second) v = v * ld(second + at);
        if (labelled) v = select_(eq_(label, class), entry, v);
        if (labelled && f->skips) v = keep_(ne_(kept, set1(0)), v);
        class = class + set1(1);
        e[c] = v;
    }
}
INLINE void log_softmax_abreast(V *x, ptrdiff_t n, const lg_batch *b, ptrdiff_t at) {
    S s[VL];
    for (int r = 0; r < VL; r++) s[r] = (S)b->max[at + r];
    const V max = ld(s);
    for (int r = 0; r < VL; r++) s[r] = (S)b->log_rest[at + r];
    const V log_rest = ld(s);
    for (ptrdiff_t c = 0; c < n; c++) x[c] = select_(eq_(x[c], max), set1(0), x[c] - max) - log_rest;
}

/* The gradients of rows whose factors are extreme, in their lanes. */
static NOINLINE void mend_gradients(const few_batch *f, const lg_rows_job *j, int labelled, ptrdiff_t at,
                                    ptrdiff_t many, M otherwise, V *v) {
    S out[FEW], is_far[VL];
    st(is_far, keep_(otherwise, set1(1)));
    for (ptrdiff_t r = 0; r < many; r++) {
        const ptrdiff_t k = at + r;
        if (!(is_far[r] != 0 || f->is_far[k]) || f->b.total[k] != f->b.total[k] || (labelled && f->skip[k])) continue;
        far_gradient(j, f->row + k, labelled ? (ptrdiff_t)f->label[k] : -1, f->b.max[k], 0, run_of(out));
        for (ptrdiff_t c = 0; c < j->classes; c++) ((S *)(v + c))[r] = out[c];
    }
}

/* Second pass, from and to what was kept. */
INLINE void second_pass(const few_batch *f, const lg_rows_job *j, const result *r, int group, V *v, const S *first,
                        const S *second) {
    const ptrdiff_t n = j->classes, at = f->start[group], many = f->start[group + 1] - at;
    V g[FEW];
    M otherwise = lt_(set1(0), set1(0)); /* none */
    if (j->grad.at) read_abreast(&j->grad, j, f->row + at, many, g);
    switch (r->abreast) {
    case SOFTMAX_GRADIENTS: otherwise = softmax_gradient_abreast(v, g, n, &f->b, at); break;
    case LOG_SOFTMAX_GRADIENTS: otherwise = log_softmax_gradient_abreast(v, g, n, &f->b, at); break;
    case LOGARITHMS: log_softmax_abreast(v, n, &f->b, at); break;
    case LABEL_SHARES: shares_abreast(v, n, f, at, 1, ld(first + at), second); break;
    default: shares_abreast(v, n, f, at, 0, ld(first + at), second);
    }
    if (f->any_far || count_(otherwise)) mend_gradients(f, j, r->labelled, at, many, otherwise, v);
    write_abreast(&j->out, j, f->row + at, many, v);
}

static void few_rows(const lg_rows_job *j, const result *r, ptrdiff_t begin, ptrdiff_t end) {
    V *kept = j->scratch;
    const ptrdiff_t n = j->classes;
    const int labelled = r->labelled, has_out = j->out.at != NULL;
    few_batch f;
    memset(&f, 0, sizeof f); /* lanes without a row are computed as well */
    for (ptrdiff_t row = begin, look = begin; row < end; row += f.start[f.groups]) {
        if (stops(&look, row, n)) break;
        begin_batch(&f, j, r, row, end);
        const ptrdiff_t many = f.start[f.groups];
        for (int g = 0; g < f.groups; g++) first_pass(&f, j, r, g, has_out ? kept + g * n : NULL);
        lg_batch *b = &f.b;
        LG_NAME(finish)(b, many);
        S values[LG_ROWS], first[LG_ROWS], second[LG_ROWS];
        for (ptrdiff_t k = 0; f.skips && k < many; k++)
            if (f.skip[k]) b->lse[k] = b->loss[k] = 0;
        if (j->lse) memcpy(j->lse + row, b->lse, (size_t)many * sizeof *b->lse);
        weigh_values(j, row, many, labelled ? b->loss : b->lse, values);
        for (ptrdiff_t k = 0, side; j->value.at && k < many; k += side) {
            side = side_by_side(j, row + k, many - k);
            store_run(at_row(&j->value, row + k, j->inner), lg_row_stride(&j->value, j->inner), side, j->value.storage,
                      values + k);
        }
        if (!has_out) continue;
        f.any_far = row_factors(j, row, many, b->up, f.is_far);
        if (labelled) LG_NAME(label_shares)(b, many);
        else
            for (ptrdiff_t k = 0; k < many; k++) b->slope[k] = b->up[k] / b->total[k];
        const int extreme = factors(b->up, b->total, b->slope, many, first, second);
        for (int g = 0; g < f.groups; g++) second_pass(&f, j, r, g, kept + g * n, first, extreme ? second : NULL);
    }
}
