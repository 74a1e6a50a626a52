/* Rows of few classes: VL of them at a time, each in a lane of its own (abreast.h), so that no vector is left half
 * empty and no row waits for another. */

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
INLINE void read_classes(const char *at, ptrdiff_t step, ptrdiff_t many, ptrdiff_t n, V *column, int storage) {
    for (ptrdiff_t c = 0; c < n; c++, at += step) column[c] = get(at, 0, many, storage);
}
INLINE void write_classes(char *at, ptrdiff_t step, ptrdiff_t many, ptrdiff_t n, const V *column, int storage) {
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
    if (evenly && apart == size) BY_STORAGE(view->storage, read_classes, at, view->stride[1], many, n, column);
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
    if (evenly && apart == size) BY_STORAGE(view->storage, write_classes, at, view->stride[1], many, n, column);
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
    int64_t label[LG_ROWS];
    S class[LG_ROWS]; /* the label: made here, since to load what was just stored in parts stalls */
    S values[LG_ROWS], first[LG_ROWS], second[LG_ROWS]; /* the rows' values, and the factors of their terms */
    int extreme;                                        /* whether second is not 1 everywhere */
} few_batch;

/* Labels of the batch's rows, of which there are `many`. */
INLINE void label_batch(few_batch *f, const lg_rows_job *j, ptrdiff_t many) {
    f->skips = 0;
    lg_labels(j, f->row, many, f->label);
    for (ptrdiff_t k = 0; k < many; k++) f->skips |= f->skip[k] = f->label[k] == j->ignore_index;
    for (ptrdiff_t k = 0; k < many; k++) f->class[k] = (S)(int32_t)f->label[k]; /* which is skipped may have any */
}
INLINE void begin_batch(few_batch *f, const lg_rows_job *j, const result *r, ptrdiff_t row, ptrdiff_t end) {
    const ptrdiff_t most = BATCH_BYTES / (j->classes * VBYTES); /* groups */
    f->row = row;
    f->groups = 0;
    f->start[0] = 0;
    while (f->groups < LG_ROWS / VL && (f->groups == 0 || f->groups < most) && row < end) {
        const ptrdiff_t left = end - row, many = j->inner < VL ? left < VL ? left : VL : side_by_side(j, row, left);
        row += many;
        f->start[++f->groups] = row - f->row;
    }
    if (r->labelled) label_batch(f, j, row - f->row);
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
    const V label = ld(f->class + at);
    for (ptrdiff_t c = 0; c < n; c++) {
        const M here = eq_(label, class);
        target = select_(here, a.logit[c], target);
        own = select_(here, a.term[c], own);
        class = class + set1(1);
    }
    widen_(target, f->b.target + at);
    widen_(own, f->b.own + at);
}

/* 0 for the rows that are to be skipped */
INLINE void leave_out_abreast(V *e, ptrdiff_t n, const few_batch *f, ptrdiff_t at) {
    S live[VL];
    for (int r = 0; r < VL; r++) live[r] = (S)!f->skip[at + r];
    const M kept = ne_(ld(live), set1(0));
    for (ptrdiff_t c = 0; c < n; c++) e[c] = keep_(kept, e[c]);
}
static NOINLINE void hessians_abreast(const V *e, V *h, ptrdiff_t n, const few_batch *f, ptrdiff_t at) {
    curvature_abreast(e, h, n, &f->b, at, f->first + at, f->extreme ? f->second + at : NULL);
    if (f->skips) leave_out_abreast(h, n, f, at);
}
/* Terms times their row's factors; the label's is what was found for it, and of a row to be skipped all are 0. */
INLINE void shares_abreast(V *e, ptrdiff_t n, const few_batch *f, ptrdiff_t at) {
    const V first = ld(f->first + at), second = ld(f->second + at);
    for (ptrdiff_t c = 0; c < n; c++) e[c] = e[c] * first;
    for (ptrdiff_t c = 0; f->extreme && c < n; c++) e[c] = e[c] * second;
}
INLINE void label_shares_abreast(V *e, ptrdiff_t n, const few_batch *f, ptrdiff_t at) {
    const V label = ld(f->class + at), first = ld(f->first + at), second = ld(f->second + at);
    const V entry = narrow_(f->b.entry + at);
    V class = set1(0);
    for (ptrdiff_t c = 0; c < n; c++) {
        V v = e[c] * first;
        if (f->extreme) v = v * second;
        e[c] = select_(eq_(label, class), entry, v);
        class = class + set1(1);
    }
    if (f->skips) leave_out_abreast(e, n, f, at);
}

/* The gradients, in v, and Hessians, in h, of rows whose factors are extreme, in their lanes; by way of `out`, which a row
 * of both fits in. */
static NOINLINE void mend_gradients(const few_batch *f, const lg_rows_job *j, const result *of, ptrdiff_t at,
                                    ptrdiff_t many, M otherwise, V *v, V *h, S *out) {
    const int labelled = of->labelled;
    const lg_run hess = j->hess.at ? run_of(out + j->classes) : NO_RUN;
    S is_far[VL];
    st(is_far, keep_(otherwise, set1(1)));
    for (ptrdiff_t r = 0; r < many; r++) {
        const ptrdiff_t k = at + r;
        if (!(is_far[r] != 0 || f->is_far[k]) || f->b.total[k] != f->b.total[k] || (labelled && f->skip[k])) continue;
        far_gradient(j, f->row + k, labelled ? (ptrdiff_t)f->label[k] : -1, f->b.max[k], 0, besides_of(of, &f->b, k),
                     run_of(out), hess);
        for (ptrdiff_t c = 0; c < j->classes; c++) ((S *)(v + c))[r] = out[c];
        for (ptrdiff_t c = 0; hess.at && c < j->classes; c++) ((S *)(h + c))[r] = out[j->classes + c];
    }
}

/* In place of terms or logits; which rows are to be done otherwise. Sums are made where they are needed alone: to begin
 * them takes as long as ten classes. */
static NOINLINE M softmax_gradients(V *v, const V *g, ptrdiff_t n, const lg_batch *b, ptrdiff_t at) {
    slopes s = start_slopes(b, at);
    for (int l = 0; l < LANES && l < n; l++) see_slopes(&s, v, g, n, l, 1);
    settle_softmax(&s, b, at);
    softmax_slopes(&s, v, g, n);
    return s.otherwise;
}
static NOINLINE M log_softmax_gradients(V *v, const V *g, ptrdiff_t n, const lg_batch *b, ptrdiff_t at) {
    slopes s = start_slopes(b, at);
    for (int l = 0; l < LANES && l < n; l++) see_slopes(&s, v, g, n, l, 0);
    settle_log_softmax(&s, b, at);
    log_softmax_slopes(&s, v, g, n);
    return s.otherwise;
}

/* Second pass, from and to what was kept. */
INLINE void second_pass(const few_batch *f, const lg_rows_job *j, const result *r, int group, V *v) {
    const ptrdiff_t n = j->classes, at = f->start[group], many = f->start[group + 1] - at;
    V g[FEW];
    S out[2 * FEW];
    M otherwise = lt_(set1(0), set1(0)); /* none */
    if (j->grad.at) read_abreast(&j->grad, j, f->row + at, many, g);
    if (j->hess.at) hessians_abreast(v, g, n, f, at);
    switch (r->abreast) {
    case SOFTMAX_GRADIENTS: otherwise = softmax_gradients(v, g, n, &f->b, at); break;
    case LOG_SOFTMAX_GRADIENTS: otherwise = log_softmax_gradients(v, g, n, &f->b, at); break;
    case LOGARITHMS: log_softmax_abreast(v, n, &f->b, at); break;
    case LABEL_SHARES: label_shares_abreast(v, n, f, at); break;
    default: shares_abreast(v, n, f, at);
    }
    if (f->any_far || count_(otherwise)) mend_gradients(f, j, r, at, many, otherwise, v, g, out);
    write_abreast(&j->out, j, f->row + at, many, v);
    if (j->hess.at) write_abreast(&j->hess, j, f->row + at, many, g);
}

/* The values of a batch, whose sums are done. */
static void values_abreast(few_batch *f, const lg_rows_job *j, const result *r, ptrdiff_t many) {
    lg_batch *b = &f->b;
    finish_sums(b, many);
    bend_losses(j, r, b, f->row, many, f->label, f->skip);
    for (ptrdiff_t k = 0; f->skips && k < many; k++)
        if (f->skip[k]) b->lse[k] = b->loss[k] = 0;
    if (j->lse) memcpy(j->lse + f->row, b->lse, (size_t)many * sizeof *b->lse);
    weigh_values(j, f->row, many, r->labelled ? b->loss : b->lse, f->values);
    for (ptrdiff_t k = 0, side; j->value.at && k < many; k += side) {
        side = side_by_side(j, f->row + k, many - k);
        store_run(at_row(&j->value, f->row + k, j->inner), lg_row_stride(&j->value, j->inner), side, j->value.storage,
                  f->values + k);
    }
}
/* And the factors of what goes to its output. */
static void factors_abreast(few_batch *f, const lg_rows_job *j, const result *r, ptrdiff_t many) {
    lg_batch *b = &f->b;
    f->any_far = row_factors(j, f->row, many, r->bend ? b->more : NULL, b->up, f->is_far);
    if (r->labelled) LG_NAME(label_shares)(b, many);
    else
        for (ptrdiff_t k = 0; k < many; k++) b->slope[k] = b->up[k] / b->total[k];
    for (ptrdiff_t k = 0; j->hess.at && k < many; k++) f->any_far |= f->is_far[k] |= b->total[k] > (double)MOST_TOTAL;
    f->extreme = factors(b->up, b->total, b->slope, many, f->first, f->second);
}

static void few_rows(const lg_rows_job *j, const result *r, ptrdiff_t begin, ptrdiff_t end) {
    V *kept = j->scratch;
    const ptrdiff_t n = j->classes;
    const int has_out = j->out.at != NULL;
    few_batch f;
    memset(&f, 0, sizeof f); /* lanes without a row are computed as well */
    for (ptrdiff_t row = begin, look = begin; row < end; row += f.start[f.groups]) {
        if (stops(&look, row, n)) break;
        begin_batch(&f, j, r, row, end);
        const ptrdiff_t many = f.start[f.groups];
        for (int g = 0; g < f.groups; g++) first_pass(&f, j, r, g, has_out ? kept + g * n : NULL);
        values_abreast(&f, j, r, many);
        if (has_out) factors_abreast(&f, j, r, many);
        for (int g = 0; has_out && g < f.groups; g++) second_pass(&f, j, r, g, kept + g * n);
    }
}
