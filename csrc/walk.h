/* The walk of the softmax family over rows: a plan that is made once for a job, and four steps for each batch of
 * rows, whose logarithms are taken together. What each pass makes of them is in row_ops.h; rows of few classes are
 * walked in few.h, where their results are made of their terms alone. */

/* ---- read ---- */

/* What is not there is so for all batches. */
INLINE void start_batch(rows_batch *t) {
    memset(t->label, 0, sizeof t->label);
    memset(t->g, 0, sizeof t->g);
    memset(t->term, 0, sizeof t->term);
    memset(t->hess, 0, sizeof t->hess);
}
/* Rows that are left out, by their label or their weight. */
INLINE void find_skips(const lg_rows_job *j, rows_batch *t) {
    const ptrdiff_t many = t->many;
    const double *s = j->sample_weight ? j->sample_weight + t->row : NULL;
    int skips = 0;
    if (j->label.at) lg_labels(j, t->row, many, t->label);
    for (ptrdiff_t k = 0; k < many; k++) {
        t->skip[k] = j->label.at ? t->label[k] == j->ignore_index : s && s[k] == 0;
        skips |= t->skip[k];
    }
    t->skips = skips;
}
/* Factors of exponentials; a logit whose factor is 0 counts as -inf. */
static void read_factors(const plan *p, const rows_batch *t) {
    gather(&p->job->factor, p->job, t->row, t->many, 0, p->n, p->g_tile, p->pitch);
    for (ptrdiff_t k = 0; k < t->many; k++)
        for (ptrdiff_t i = k * p->pitch; i < k * p->pitch + p->n; i++)
            if (p->g_tile[i] == 0) p->x_tile[i] = -(S)INFINITY;
}
/* Where the batch's rows are: in their own place, or in a tile. */
INLINE void rows_there(const lg_view *view, const lg_rows_job *j, const rows_batch *t, lg_run *to) {
    const ptrdiff_t row = t->row, many = t->many, inner = j->inner;
    for (ptrdiff_t k = 0; k < many; k++) to[k] = (lg_run){at_row(view, row + k, inner), view->storage};
}
INLINE void rows_of(S *tile, ptrdiff_t pitch, const rows_batch *t, lg_run *to) {
    for (ptrdiff_t k = 0, many = t->many; k < many; k++) to[k] = run_of(tile + k * pitch);
}
INLINE void read_batch(const plan *p, rows_batch *t) {
    const lg_rows_job *j = p->job;
    if (p->whole) gather(&j->x, j, t->row, t->many, 0, p->n, p->x_tile, p->pitch);
    for (ptrdiff_t k = 0, at = 0; j->cap != 0 && k < t->many; k++, at += p->pitch)
        cap_run(p->x_tile + at, p->g_tile + at, p->n, (S)j->cap);
    if (j->grad.at && !p->g_runs) gather(&j->grad, j, t->row, t->many, 0, p->n, p->g_tile, p->pitch);
    if (j->factor.at) read_factors(p, t);
    find_skips(j, t);
    if (p->x_runs) rows_there(&j->x, j, t, t->x);
    else rows_of(p->x_tile, p->whole ? p->pitch : 0, t, t->x);
    if (p->g_runs) rows_there(&j->grad, j, t, t->g);
    else if (j->grad.at) rows_of(p->g_tile, p->pitch, t, t->g);
    for (ptrdiff_t k = 0, many = p->keeps || p->has_out ? t->many : 0; k < many; k++)
        t->term[k] = p->terms + k * p->pitch;
    if (p->out_runs) rows_there(&j->out, j, t, t->to);
    else rows_of(p->terms, p->pitch, t, t->to);
    if (p->hess_runs) rows_there(&j->hess, j, t, t->hess);
    else if (j->hess.at) rows_of(p->h_tile, p->pitch, t, t->hess);
}

/* ---- sum ---- */

/* The logits of the labels, of rows that lie in their own place or in a tile. */
INLINE void read_targets(rows_batch *t) {
    EACH_ROW(k, t) t->of.target[k] = (double)element(t->x[k], (ptrdiff_t)t->label[k]);
}
INLINE void sum_one(const plan *p, rows_batch *t, ptrdiff_t k, int storage) {
    const lg_run x = {t->x[k].at, storage};
    char *next = t->g[k].at ? t->g[k].at : p->out_runs && !p->stream ? t->to[k].at : NULL;
    put_row(&t->of, k, sum_row(x, p->x_runs, p->n, p->keeps ? t->term[k] : NULL, next));
}
static NOINLINE void sum_half(const plan *p, rows_batch *t, ptrdiff_t k) { BY_HALF(t->x[k].storage, sum_one, p, t, k); }
/* Rows that are no runs and not copied yet are copied here, one after another. */
static void sum_each(const plan *p, rows_batch *t) {
    const lg_rows_job *j = p->job;
    const int alone = !p->x_runs && !p->whole;
    EACH_ROW(k, t) {
        if (alone) gather(&j->x, j, t->row + k, 1, 0, p->n, p->x_tile, p->pitch);
        if (alone && j->label.at) t->of.target[k] = (double)p->x_tile[t->label[k]];
        if (t->x[k].storage == COMPUTED) sum_one(p, t, k, COMPUTED);
        else sum_half(p, t, k);
    }
    if (j->label.at && !alone) read_targets(t);
}
static void sum_known(const plan *p, rows_batch *t) {
    const lg_rows_job *j = p->job;
    EACH_ROW(k, t) {
        const double lse = j->lse[t->row + k];
        const S *x = (const S *)t->x[k].at;
        put_row(&t->of, k,
                isfinite((S)lse) ? known_row(x, p->n, lse, (ptrdiff_t)t->label[k], t->term[k])
                                 : sum_row(run_of(x), p->x_runs, p->n, p->keeps ? t->term[k] : NULL, NULL));
    }
    if (j->label.at) read_targets(t);
}
/* Reads rows from k on abreast: how many. */
INLINE ptrdiff_t read_few(const plan *p, const rows_batch *t, ptrdiff_t k, V *logit) {
    const ptrdiff_t many = t->many - k < VL ? t->many - k : VL, apart = p->pitch * (ptrdiff_t)sizeof(S);
    if (p->x_runs) read_abreast(&p->job->x, p->job, t->row + k, many, logit);
    else read_lines(t->x[k].at, apart, many, p->n, logit);
    return many;
}
static void sum_few(const plan *p, rows_batch *t) {
    const lg_rows_job *j = p->job;
    const ptrdiff_t apart = p->pitch * (ptrdiff_t)sizeof(S);
    for (ptrdiff_t k = 0; k < t->many; k += VL) {
        V buffer[2][FEW], seen;
        abreast a = {.logit = buffer[0], .term = buffer[1]};
        const ptrdiff_t here = read_few(p, t, k, a.logit);
        sum_abreast(&a, p->n, BIAS, &t->of, k, &seen);
        mend_abreast(&a, p->n, seen, &t->of, k, here, t->skips ? t->skip + k : NULL);
        if (p->keeps) write_lines((char *)t->term[k], apart, here, p->n, a.term);
    }
    if (j->label.at) read_targets(t);
}
static void sum_in_blocks(const plan *p, rows_batch *t) {
    const ptrdiff_t side = p->by_class ? t->many : 1;
    for (ptrdiff_t k = 0; k < t->many; k += side)
        if (side > 1 || !t->skip[k])
            sum_blocks(p->job, t->row + k, side, p->keeps ? t->term[k] : NULL, p->x_tile, &t->of, k);
    if (p->job->label.at) EACH_ROW(k, t) {
            const char *at = at_row(&p->job->x, t->row + k, p->job->inner) + t->label[k] * p->job->x.stride[1];
            t->of.target[k] = load_double(at, p->job->x.storage);
        }
}

/* ---- finish ---- */

INLINE void leave_out(const plan *p, rows_batch *t) {
    for (ptrdiff_t k = 0; k < t->many; k++) {
        if (!t->skip[k]) continue;
        t->of.lse[k] = t->of.loss[k] = 0;
        t->scale[k] = (factor){1, 1};
        if (p->has_out) memset(t->to[k].at, 0, (size_t)(p->n * lg_size(t->to[k].storage)));
        if (t->hess[k].at) memset(t->hess[k].at, 0, (size_t)(p->n * lg_size(t->hess[k].storage)));
    }
}
INLINE void finish_batch(const plan *p, rows_batch *t) {
    const lg_rows_job *j = p->job;
    finish_sums(&t->of, t->many);
    const double *more = bend_losses(j, p->result, &t->of, t->row, t->many, t->label, t->skip);
    if (t->skips) leave_out(p, t);
    if (j->lse && !j->lse_given) memcpy(j->lse + t->row, t->of.lse, (size_t)t->many * sizeof *t->of.lse);
    memcpy(t->value, p->result->labelled ? t->of.loss : t->of.lse, (size_t)t->many * sizeof *t->value);
    row_factors(j, t->row, t->many, more, t->of.up, t->is_far);
    if (p->has_out || p->result->always) p->result->finish(p, t);
    weigh_values(j, t->row, t->many, t->value, t->rounded);
}

/* ---- write ---- */

INLINE void write_batch(const plan *p, const rows_batch *t) {
    const lg_rows_job *j = p->job;
    for (ptrdiff_t k = 0, many = j->value.at ? t->many : 0; k < many; k++)
        store_run(at_row(&j->value, t->row + k, j->inner), 0, 1, j->value.storage, &t->rounded[k]);
    if (j->hess.at && !p->hess_runs) scatter(&j->hess, j, t->row, t->many, p->h_tile, NULL);
    if (!p->has_out || p->out_runs || p->result->writes) return;
    scatter(&j->out, j, t->row, t->many, p->terms, p->scales ? t->scale : NULL);
    if (p->scales && p->result->labelled) EACH_ROW(k, t) {
            const S entry = (S)t->of.entry[k];
            char *to = at_row(&j->out, t->row + k, j->inner) + t->label[k] * j->out.stride[1];
            store_run(to, 0, 1, j->out.storage, &entry);
        }
}

/* ---- the plan ---- */

static plan plan_of(const lg_rows_job *j, ptrdiff_t rows) {
    const ptrdiff_t n = j->classes, most = lg_rows_batch(j);
    const size_t bytes = (size_t)(j->outer * j->inner * n * lg_size(j->out.storage));
    plan p = {.job = j, .result = result_of(j), .n = n, .pitch = PITCH(n), .batch = rows < most ? rows : most};
    p.terms = j->scratch;
    p.x_tile = p.terms + p.batch * p.pitch;
    p.g_tile = p.x_tile + p.batch * p.pitch;
    p.h_tile = p.g_tile + p.batch * p.pitch;
    const int changed = j->factor.at || j->cap != 0; /* logits, in a tile */
    p.x_runs = is_run(&j->x, n) && (computed(&j->x) || (p.result->any && !j->lse_given)) && !changed;
    p.g_runs = j->grad.at && is_run(&j->grad, n) && (computed(&j->grad) || p.result->any);
    p.has_out = j->out.at != NULL;
    p.out_runs = p.has_out && !p.result->writes && is_run(&j->out, n) && j->cap == 0;
    p.keeps = p.result->terms && (p.has_out || j->factor.at || j->what == LG_PAIRS);
    const int few = n <= FEWEST && !j->lse_given;
    p.whole = !p.x_runs && (few || j->lse_given || !p.result->once);
    p.by_class = lg_by_class(&j->x, j->inner);
    p.hess_runs = j->hess.at && p.out_runs && runs(&j->hess, n);
    p.stream = p.out_runs && n >= ROW_BLOCK / 2 && bytes >= STREAM_BYTES;
    p.scales = p.result->shares && p.has_out && !p.out_runs && !j->hess.at && lg_by_class(&j->out, j->inner);
    p.sum = few ? sum_few : j->lse_given ? sum_known : sum_each;
    if (!p.x_runs && !p.whole && (p.by_class || n > LONG)) p.sum = sum_in_blocks;
    return p;
}

/* Reads the batch at t->row: whether there is one, and nobody asked to stop. */
INLINE int next_batch(const plan *p, rows_batch *t, ptrdiff_t *look, ptrdiff_t end) {
    if (t->row >= end || stops(look, t->row, p->n)) return 0;
    t->many = end - t->row < p->batch ? end - t->row : p->batch;
    read_batch(p, t);
    return 1;
}
static void rows(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    const result *result = result_of(j);
    if (few_classes(j, result)) {
        few_rows(j, result, begin, end);
        return;
    }
    if (rows_beside(j, result)) {
        walk_beside(j, result, begin, end);
        return;
    }
    const plan p = plan_of(j, end - begin);
    rows_batch t;
    start_batch(&t);
    ptrdiff_t look = begin;
    for (t.row = begin; next_batch(&p, &t, &look, end); t.row += p.batch) {
        p.sum(&p, &t);
        finish_batch(&p, &t);
        write_batch(&p, &t);
    }
    if (p.stream) fence_();
}
