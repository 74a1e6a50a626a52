/* Rows of many classes that lie beside each other: up to LG_ROWS of them, VL to a vector (abreast.h), read and written
 * class by class, as they lie in memory. What is read goes to columns, a group of VL rows after another, that stay in
 * the cache between the passes: terms take the logits' place, and results theirs. */

#define CLASSES_BEFORE 48 /* they are used, lines are fetched */
#define WRITTEN 32        /* classes that are made into results before they are written */
#define FEWER 32          /* rows at a time where nothing is kept: their block stays in the first level of the cache */

/* VL rows' sums under way, as those of a row (sums.h); the bar is what no logit may exceed: NaN for a row that has to
 * be summed by itself. */
typedef struct {
    V magic, bar, max, seen, top[LANES];
    W sum[LANES];
} columns_sum;

INLINE int lies_beside(const lg_view *view, const lg_rows_job *j) {
    return lg_by_class(view, j->inner) && lg_row_stride(view, j->inner) == lg_size(view->storage);
}
INLINE int rows_beside(const lg_rows_job *j, const result *r) {
    const int reads = lies_beside(&j->x, j) && (!j->grad.at || lies_beside(&j->grad, j));
    if (!r->abreast || !reads || j->lse_given || (j->out.at && !lies_beside(&j->out, j))) return 0;
    if (j->hess.at && !lies_beside(&j->hess, j)) return 0;
    return (j->inner == 1 ? j->outer : j->inner) >= VL;
}

/* ---- to and from columns ---- */

/* The lines of so many bytes, which may begin within one. */
INLINE void fetch_lines(const char *at, ptrdiff_t bytes) {
    for (ptrdiff_t i = -(ptrdiff_t)((uintptr_t)at % 64); i < bytes; i += 64)
        prefetch_later((const void *)((uintptr_t)at + (uintptr_t)i));
}
/* n classes of `many` rows from `at` on */
INLINE void read_columns(const char *at, ptrdiff_t step, ptrdiff_t many, ptrdiff_t n, V *column, ptrdiff_t pitch,
                         int storage) {
    const ptrdiff_t size = lg_size(storage);
    for (ptrdiff_t c = 0; c < n; c++, at += step, column++) {
        fetch_lines(at + CLASSES_BEFORE * step, many * size);
        V *to = column;
        ptrdiff_t r = 0;
        for (; r + VL <= many; r += VL, to += pitch) *to = get(at, r, VL, storage);
        if (r < many) *to = get(at, r, many - r, storage);
    }
}
INLINE void write_columns(char *at, ptrdiff_t step, ptrdiff_t many, ptrdiff_t n, int stream, const V *column,
                          ptrdiff_t pitch, int storage) {
    const ptrdiff_t size = lg_size(storage);
    for (ptrdiff_t c = 0; c < n; c++, at += step, column++) {
        for (ptrdiff_t i = 0; !stream && i < many * size; i += 64) prefetch_to(at + CLASSES_BEFORE * step + i);
        const V *from = column;
        ptrdiff_t r = 0;
        const int past = stream && (uintptr_t)at % (uintptr_t)(VL * size) == 0;
        for (; r + VL <= many; r += VL, from += pitch)
            if (past) put_past(at, r, *from, storage);
            else put(at, r, *from, VL, storage);
        if (r < many) put(at, r, *from, many - r, storage);
    }
}
static void read_beside(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t many, ptrdiff_t class,
                        ptrdiff_t n, V *column, ptrdiff_t pitch) {
    const char *at = at_row(view, row, j->inner) + class * view->stride[1];
    BY_STORAGE(view->storage, read_columns, at, view->stride[1], many, n, column, pitch);
}
static void write_beside(const lg_view *view, const lg_rows_job *j, ptrdiff_t row, ptrdiff_t many, ptrdiff_t class,
                         ptrdiff_t n, int stream, const V *column, ptrdiff_t pitch) {
    char *at = at_row(view, row, j->inner) + class * view->stride[1];
    BY_STORAGE(view->storage, write_columns, at, view->stride[1], many, n, stream, column, pitch);
}

/* ---- sums ---- */

/* From the first FIRST classes. */
static void start_columns(columns_sum *a, const V *x, ptrdiff_t n) {
    V max = x[0], exponent;
    for (ptrdiff_t c = 1; c < n; c++) max = max_(x[c], max);
    max = select_(nlt_(set1(FAR), abs_(max)), max, set1((S)NAN));
    exp_reduce(max, &exponent);
    a->magic = set1(MAGIC + BIAS) - exponent;
    a->bar = max + set1(SLACK);
    a->max = set1(-(S)INFINITY);
    a->seen = set1(0);
    for (int l = 0; l < LANES; l++) {
        a->top[l] = set1(0);
        a->sum[l] = w_zero();
    }
}

/* A batch, its columns, and what else is needed to sum a row by itself. */
typedef struct {
    few_batch f;
    ptrdiff_t many, pitch;
    V *column, *grad;
    S *row;
    int keeps, terms, stream,
        hess; /* terms: they are what is kept; hess: Hessians take the place of incoming gradients */
    columns_sum sum[LG_ROWS / VL];
    slopes slope[LG_ROWS / VL];
} beside;

typedef void block_step(beside *w, ptrdiff_t c, ptrdiff_t n);

/* Reads FIRST classes after another, each before its step. */
static void go_through(beside *w, const lg_rows_job *j, const lg_view *view, V *to, block_step *step) {
    for (ptrdiff_t c = 0, n = j->classes; c < n; c += FIRST) {
        const ptrdiff_t k = n - c < FIRST ? n - c : FIRST;
        if (c && c * w->many % PIECE < FIRST * w->many && lg_stopped()) return;
        read_beside(view, j, w->f.row, w->many, c, k, w->keeps ? to + c : to, w->pitch);
        step(w, c, k);
    }
}

/* Terms of up to GROUP classes of a lane, in place of their logits if they are kept; and the tree of what they add. */
INLINE void sum_lane(columns_sum *a, V *x, int lane, ptrdiff_t many, int keep) {
    const unit u = {.magic = a->magic};
    const ptrdiff_t together = many == GROUP ? TOGETHER : 1;
    V t[GROUP], top = a->top[lane];
    for (int g = 0; g < GROUP; g++) t[g] = set1(0);
    UNROLL(8)
    for (ptrdiff_t g = 0; g < many; g += together) {
        V v[TOGETHER], e[TOGETHER];
        for (int k = 0; k < together; k++) v[k] = x[lane + (g + k) * LANES];
        terms_of(v, e, (int)together, &u, &a->seen);
        for (int k = 0; k < together; k++) {
            if (keep) x[lane + (g + k) * LANES] = e[k];
            t[g + k] = min_(top, e[k]);
            top = max_(top, e[k]);
            a->max = max_(v[k], a->max);
        }
    }
    a->top[lane] = top;
    a->sum[lane] = w_add(a->sum[lane], tree(t));
}
INLINE W end_lane(const columns_sum *a, int lane, V top, V *count) {
    const M live = ne_(a->top[lane], top);
    *count = *count + drop_(live, set1(1));
    return w_add(a->sum[lane], keep_(live, a->top[lane]));
}
static void end_columns(const columns_sum *a, lg_batch *b, ptrdiff_t at) {
    V top = a->top[0], count = set1(0);
    W sum[LANES / 2];
    for (int l = 1; l < LANES; l++) top = max_(a->top[l], top);
    for (int l = 0; l < LANES / 2; l++) {
        const W first = end_lane(a, l, top, &count);
        sum[l] = w_join(first, end_lane(a, l + LANES / 2, top, &count));
    }
    const V nan = select_(eq_(a->seen, a->seen), set1(0), a->seen);
    put_abreast(b, at, a->max, top, count, w_add(fold_abreast(sum), nan));
}

/* Rows whose unit would not do are summed by themselves. */
static void mend_columns(beside *w, const lg_rows_job *j, const columns_sum *a, ptrdiff_t at) {
    const ptrdiff_t n = j->classes, many = w->many - at < VL ? w->many - at : VL;
    const M usual = and_(nlt_(a->bar, a->max), eq_(a->bar, a->bar));
    S good[VL], *x = w->row, *e = x + PITCH(n);
    if (count_(usual) == VL) return;
    st(good, keep_(usual, set1(1)));
    for (ptrdiff_t k = 0; k < many; k++) {
        if (good[k] != 0 || w->f.skip[at + k]) continue;
        gather(&j->x, j, w->f.row + at + k, 1, 0, n, x, 0);
        put_row(&w->f.b, at + k, sum_row(run_of(x), 0, n, e, NULL));
        for (ptrdiff_t c = 0; w->terms && c < n; c++) ((S *)(w->column + at / VL * w->pitch + c))[k] = e[c];
    }
}
static void sum_block(beside *w, ptrdiff_t c, ptrdiff_t n) {
    V *x = w->keeps ? w->column + c : w->column;
    columns_sum *a = w->sum;
    for (ptrdiff_t r = 0; r < w->many; r += VL, a++, x += w->pitch) {
        if (c == 0) start_columns(a, x, n);
        for (int l = 0; l < LANES && l < n; l++) {
            if (n == FIRST && w->terms) sum_lane(a, x, l, GROUP, 1);
            else if (n == FIRST) sum_lane(a, x, l, GROUP, 0);
            else sum_lane(a, x, l, (n - l + LANES - 1) / LANES, w->terms);
        }
    }
}
static void sum_beside(beside *w, const lg_rows_job *j, const result *r) {
    const ptrdiff_t many = w->many;
    go_through(w, j, &j->x, w->column, sum_block);
    for (ptrdiff_t g = 0; g * VL < many; g++) {
        end_columns(&w->sum[g], &w->f.b, g * VL);
        mend_columns(w, j, &w->sum[g], g * VL);
    }
    for (ptrdiff_t k = 0; r->labelled && k < many; k++) {
        if (w->f.skip[k]) continue;
        const ptrdiff_t label = (ptrdiff_t)w->f.label[k];
        w->f.b.target[k] = load_double(at_row(&j->x, w->f.row + k, j->inner) + label * j->x.stride[1], j->x.storage);
        if (w->keeps) w->f.b.own[k] = (double)((S *)(w->column + k / VL * w->pitch + label))[k % VL];
    }
}

/* ---- results ---- */

INLINE void see_gradients(beside *w, ptrdiff_t c, ptrdiff_t n, int of_softmax) {
    for (ptrdiff_t g = 0, at = c; g * VL < w->many; g++, at += w->pitch)
        for (int l = 0; l < LANES && l < n; l++)
            see_slopes(&w->slope[g], w->column + at, w->grad + at, n, l, of_softmax);
}
static void softmax_block(beside *w, ptrdiff_t c, ptrdiff_t n) { see_gradients(w, c, n, 1); }
static void log_softmax_block(beside *w, ptrdiff_t c, ptrdiff_t n) { see_gradients(w, c, n, 0); }

/* What is made of incoming gradients' sums; returns whether any row is to be done otherwise. */
static int slopes_beside(beside *w, const lg_rows_job *j, int of_softmax) {
    int otherwise = 0;
    for (ptrdiff_t g = 0; g * VL < w->many; g++) w->slope[g] = start_slopes(&w->f.b, g * VL);
    if (j->grad.at) go_through(w, j, &j->grad, w->grad, of_softmax ? softmax_block : log_softmax_block);
    for (ptrdiff_t g = 0; j->grad.at && g * VL < w->many; g++) {
        if (of_softmax) settle_softmax(&w->slope[g], &w->f.b, g * VL);
        else settle_log_softmax(&w->slope[g], &w->f.b, g * VL);
        otherwise |= any_(w->slope[g].otherwise);
    }
    return otherwise;
}
/* Entries of the labels among n classes from c on. */
static void put_entries(beside *w, ptrdiff_t c, ptrdiff_t n) {
    for (ptrdiff_t k = 0; k < w->many; k++) {
        const ptrdiff_t label = (ptrdiff_t)w->f.label[k];
        if (w->f.skip[k] || label < c || label >= c + n) continue;
        ((S *)(w->column + k / VL * w->pitch + label))[k % VL] = (S)w->f.b.entry[k];
    }
}
static void results_beside(beside *w, const result *r, ptrdiff_t c, ptrdiff_t n) {
    for (ptrdiff_t at = 0; at < w->many; at += VL) {
        const slopes *s = &w->slope[at / VL];
        V *v = w->column + at / VL * w->pitch + c, *g = w->grad + at / VL * w->pitch + c;
        if (w->hess) hessians_abreast(v, g, n, &w->f, at);
        switch (r->abreast) {
        case SOFTMAX_GRADIENTS: softmax_slopes(s, v, g, n); break;
        case LOG_SOFTMAX_GRADIENTS: log_softmax_slopes(s, v, g, n); break;
        case LOGARITHMS: log_softmax_abreast(v, n, &w->f.b, at); break;
        default: shares_abreast(v, n, &w->f, at);
        }
        if (w->f.skips) leave_out_abreast(v, n, &w->f, at);
    }
    if (r->labelled) put_entries(w, c, n);
}
/* Second pass: some classes after others, unless a row needs what another's results may be written to. */
static void finish_beside(beside *w, const lg_rows_job *j, const result *r) {
    const ptrdiff_t n = j->classes, many = w->many;
    const int otherwise = slopes_beside(w, j, r->abreast == SOFTMAX_GRADIENTS) | w->f.any_far;
    const ptrdiff_t piece = otherwise ? n : WRITTEN;
    for (ptrdiff_t c = 0; c < n; c += piece) {
        const ptrdiff_t k = n - c < piece ? n - c : piece;
        results_beside(w, r, c, k);
        for (ptrdiff_t at = 0; otherwise && at < many; at += VL)
            mend_gradients(&w->f, j, r, at, many - at < VL ? many - at : VL, w->slope[at / VL].otherwise,
                           w->column + at / VL * w->pitch, w->grad + at / VL * w->pitch, w->row);
        write_beside(&j->out, j, w->f.row, many, c, k, w->stream, w->column + c, w->pitch);
        if (w->hess) write_beside(&j->hess, j, w->f.row, many, c, k, w->stream, w->grad + c, w->pitch);
    }
}

/* How many rows from `row` on are done together: of one outer row, and so that the next begin a line of memory. */
INLINE ptrdiff_t many_beside(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t most) {
    const lg_view *view = j->out.at ? &j->out : &j->x;
    const ptrdiff_t left = j->inner == 1 ? rows : j->inner - row % j->inner;
    const ptrdiff_t head = (ptrdiff_t)(-(uintptr_t)at_row(view, row, j->inner) % 64) / lg_size(view->storage);
    if (left < most) most = left;
    if (rows < most) most = rows;
    return head && head < most ? head : most;
}
static void walk_beside(const lg_rows_job *j, const result *r, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t n = j->classes, up = (end - begin + VL - 1) / VL * VL;
    const ptrdiff_t most = j->out.at ? lg_rows_batch(j) : FEWER, batch = up < most ? up : most;
    beside w;
    memset(&w, 0, sizeof w); /* lanes without a row are computed as well */
    w.keeps = j->out.at != NULL;
    w.pitch = PITCH(w.keeps || n < FIRST ? n : FIRST);
    w.column = j->scratch;
    w.terms = w.keeps && r->terms;
    w.hess = j->hess.at != NULL;
    w.grad = w.column + batch / VL * PITCH(n);
    w.row = (S *)(w.grad + batch / VL * PITCH(n));
    w.stream = w.keeps && (size_t)(j->outer * j->inner * n * lg_size(j->out.storage)) >= STREAM_BYTES;
    for (ptrdiff_t row = begin, look = begin; row < end && !stops(&look, row, n); row += w.many) {
        w.f.row = row;
        w.many = many_beside(j, row, end - row, batch);
        if (r->labelled) label_batch(&w.f, j, w.many);
        sum_beside(&w, j, r);
        values_abreast(&w.f, j, r, w.many);
        if (!w.keeps) continue;
        factors_abreast(&w.f, j, r, w.many);
        finish_beside(&w, j, r);
    }
    if (w.stream) fence_();
}
