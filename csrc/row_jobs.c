/* Jobs over rows, whatever the instruction set: labels, which are checked before anything is written and once more
 * where they are used, and the parts in which rows are done. */
#include "environment.h"
#include "kernels.h"
#include "pool.h"
#include <stdlib.h>
#include <string.h>

int lg_by_class(const lg_view *view, ptrdiff_t inner) {
    const int together = view->stride[1] == lg_size(view->storage);
    return view->at && !together && llabs(lg_row_stride(view, inner)) < llabs(view->stride[1]);
}

#define LINE 16 /* rows that parts and vectors are not to cut where they lie beside each other: 64 bytes of float32 */
static int are_beside(const lg_rows_job *job) {
    const ptrdiff_t inner = job->inner;
    return lg_by_class(&job->x, inner) || lg_by_class(&job->grad, inner) || lg_by_class(&job->out, inner);
}

ptrdiff_t lg_rows_batch(const lg_rows_job *job) {
    ptrdiff_t batch = 8192 / (job->classes > 0 ? job->classes : 1);
    const int wide = are_beside(job);
    if (wide) batch *= 64; /* many rows of a class beside each other */
    /* No terms are kept without results: as many rows as there may be. */
    const ptrdiff_t least = !wide ? 1 : job->out.at ? 2 * LINE : LG_ROWS;
    return batch < least ? least : batch > LG_ROWS ? LG_ROWS : batch;
}

size_t lg_rows_scratch(const lg_rows_job *job, ptrdiff_t rows, size_t itemsize) {
    if (job->what == LG_NLL_LOSS) return 0;
    const ptrdiff_t most = lg_rows_batch(job), batch = rows < most ? rows : most;
    const ptrdiff_t least = job->classes * (ptrdiff_t)itemsize <= 512 ? LINE : 1; /* few.h: a whole vector of them */
    const ptrdiff_t whole = most % LINE ? batch : (batch + LINE - 1) / LINE * LINE;
    const size_t tiles = job->what == LG_PAIRS || job->hess.at ? 4 : 3;
    return tiles * (size_t)(whole < least ? least : whole) * (size_t)lg_pitch(job->classes, itemsize) * itemsize;
}

void lg_read_labels(const lg_rows_job *job, ptrdiff_t row, ptrdiff_t rows, int64_t *to) {
    const lg_view *label = &job->label;
    const ptrdiff_t inner = job->inner;
    while (rows > 0) { /* a run of one outer row, or of all if each has one */
        const ptrdiff_t outer = inner == 1 ? row : row / inner, within = inner == 1 ? 0 : row % inner;
        const ptrdiff_t step = label->stride[inner == 1 ? 0 : 2], left = inner == 1 ? rows : inner - within;
        const ptrdiff_t n = left < rows ? left : rows;
        const char *p = label->at + outer * label->stride[0] + within * label->stride[2];
#define READ_RUN(T, step)                                                                                              \
    for (ptrdiff_t i = 0; i < n; i++) {                                                                                \
        T v;                                                                                                           \
        memcpy(&v, p + i * (step), sizeof v);                                                                          \
        to[i] = (int64_t)v;                                                                                            \
    }
#define READ(T)                                                                                                        \
    if (step == (ptrdiff_t)sizeof(T)) READ_RUN(T, (ptrdiff_t)sizeof(T))                                                \
    else READ_RUN(T, step)                                                                                             \
    break;
        switch (job->label_type) {
        case LG_I8: READ(int8_t)
        case LG_I16: READ(int16_t)
        case LG_I32: READ(int32_t)
        case LG_U8: READ(uint8_t)
        case LG_U16: READ(uint16_t)
        case LG_U32: READ(uint32_t)
        default: READ(int64_t) /* of unsigned ones what no int64 holds is negative */
        }
#undef READ
#undef READ_RUN
        to += n;
        row += n;
        rows -= n;
    }
}

/* A negative number is none of unsigned 64-bit labels, though it may look like the largest. */
static int ignores_none(const lg_rows_job *job) { return job->label_type == LG_U64 && job->ignore_index < 0; }

/* Negative if any label is no class: one is if neither it nor its distance to the last one is negative. */
static int64_t strange_among(const int64_t *label, ptrdiff_t n, uint64_t last) {
    uint64_t strange = 0;
    for (ptrdiff_t i = 0; i < n; i++) strange |= (uint64_t)label[i] | (last - (uint64_t)label[i]);
    return (int64_t)strange;
}

/* Without a branch a label. */
ptrdiff_t lg_first_bad(const lg_rows_job *job, const int64_t *label, ptrdiff_t n, ptrdiff_t *kept) {
    const int64_t last = job->classes - 1, ignored = job->ignore_index;
    const int none_ignored = ignores_none(job);
    const uint64_t always = none_ignored ? ~UINT64_C(0) : 0;
    uint64_t strange = 0, minus = 0;
    *kept = n; /* as is usual: all are classes, and what is ignored is none */
    if ((uint64_t)ignored > (uint64_t)last && strange_among(label, n, (uint64_t)last) >= 0) return -1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint64_t keep = -(uint64_t)(label[i] != ignored) | always;
        strange |= ((uint64_t)label[i] | ((uint64_t)last - (uint64_t)label[i])) & keep;
        minus += keep;
    }
    *kept = -(ptrdiff_t)minus;
    if (!(strange >> 63)) return -1;
    for (ptrdiff_t i = 0;; i++)
        if ((none_ignored || label[i] != ignored) && (uint64_t)label[i] > (uint64_t)last) return i;
}

void lg_labels(const lg_rows_job *job, ptrdiff_t row, ptrdiff_t rows, int64_t *to) {
    const uint64_t last = (uint64_t)job->classes - 1;
    lg_read_labels(job, row, rows, to);
    for (ptrdiff_t i = 0; job->sample_weight && i < rows; i++)
        if (job->sample_weight[row + i] == 0) to[i] = job->ignore_index;
    if (strange_among(to, rows, last) >= 0) return;
    for (ptrdiff_t i = 0; i < rows; i++) {
        if ((uint64_t)to[i] <= last || (to[i] == job->ignore_index && !ignores_none(job))) continue;
        if (job->sample_weight && job->sample_weight[row + i] == 0) continue;
        to[i] = job->ignore_index;
        *job->strange = 1;
    }
}

typedef struct {
    const lg_way *way;
    const lg_rows_job *job;
    lg_label_check *check;
} label_call;

static void check_labels(const label_call *c, lg_label_check *check, ptrdiff_t begin, ptrdiff_t end) {
    const lg_rows_job *job = c->job;
    const float *f32 = job->weight;
    const double *f64 = job->weight;
    for (ptrdiff_t row = begin; row < end; row += LG_BLOCK) {
        int64_t label[LG_BLOCK];
        const ptrdiff_t n = end - row < LG_BLOCK ? end - row : LG_BLOCK;
        ptrdiff_t kept;
        const double *s = job->sample_weight ? job->sample_weight + row : NULL;
        lg_read_labels(job, row, n, label);
        for (ptrdiff_t i = 0; s && i < n; i++)
            if (s[i] == 0) label[i] = 0; /* any class: a row that is left out may have any label */
        const ptrdiff_t bad = lg_first_bad(job, label, n, &kept);
        if (bad >= 0) {
            if (!check->bad || row + bad + 1 < check->bad) check->bad = row + bad + 1;
            return;
        }
        check->kept += kept;
        for (ptrdiff_t i = 0; (job->weight || s) && i < n; i++) {
            if (label[i] == job->ignore_index || (s && s[i] == 0)) continue;
            const double own = !job->weight ? 1 : c->way->computed == LG_F64 ? f64[label[i]] : (double)f32[label[i]];
            lg_sum_add(&check->weights, s ? s[i] * own : own);
        }
    }
}

static void check_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const lg_environment found = lg_enter();
    (void)unused;
    check_labels(call, total, begin, end);
    lg_leave(found);
}

static void merge_checks(void *call, const void *total) {
    const lg_label_check *more = total;
    lg_label_check *check = ((label_call *)call)->check;
    check->kept += more->kept;
    if (more->bad && (!check->bad || more->bad < check->bad)) check->bad = more->bad;
    lg_sum_merge(&check->weights, &more->weights);
}

int lg_check_labels(const lg_way *way, const lg_rows_job *job, lg_label_check *check) {
    label_call call = {way, job, check};
    const lg_work work = {check_part, merge_checks, &call, check, sizeof *check, 0, job->outer * job->inner, 4};
    memset(check, 0, sizeof *check);
    return lg_share(&work, way->threads, way->look);
}

/* ---- rows ---- */

typedef struct {
    const lg_way *way;
    const lg_rows_job *job;
    ptrdiff_t rows, together, lead; /* parts are of some times so many, as if there were `lead` rows before the first */
} rows_call;

/* How many rows there would have to be before the first, for a line of memory to begin with them. */
static ptrdiff_t lead_of(const lg_rows_job *job) {
    const lg_view *view = job->out.at ? &job->out : &job->x;
    return (ptrdiff_t)((uintptr_t)view->at % 64) / lg_size(view->storage) % LINE;
}

static void rows_part(void *call, void *total, void *scratch, ptrdiff_t begin, ptrdiff_t end) {
    const rows_call *c = call;
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = c->way->level->kernels[c->way->computed];
    lg_rows_job own = *c->job;
    own.sum = total;
    own.scratch = scratch;
    begin = begin ? begin * c->together - c->lead : 0;
    end = end * c->together - c->lead < c->rows ? end * c->together - c->lead : c->rows;
    (own.what == LG_STATISTICS ? kernels->statistics
     : own.what == LG_PAIRS    ? kernels->pairs
     : own.what == LG_NLL_LOSS ? kernels->nll
                               : kernels->rows)(&own, begin, end);
    lg_leave(found);
}

static void merge_rows(void *call, const void *total) { lg_sum_merge(((rows_call *)call)->job->sum, total); }

int lg_rows(const lg_way *way, const lg_rows_job *job) {
    const ptrdiff_t rows = job->outer * job->inner, n = job->classes, lines = job->what == LG_SOFTMAX_JACOBIAN ? n : 1;
    const ptrdiff_t together = are_beside(job) ? LINE : 1, lead = together > 1 ? lead_of(job) : 0;
    rows_call call = {way, job, rows, together, lead};
    const size_t scratch = lg_rows_scratch(job, rows, (size_t)lg_size(way->computed));
    const lg_work work = {rows_part,
                          merge_rows,
                          &call,
                          job->sum,
                          sizeof *job->sum,
                          scratch,
                          (lead + rows + together - 1) / together,
                          (n * lines + LG_PER_ROW) * together};
    return lg_share(&work, way->threads, way->look);
}

/* ---- binary targets ---- */

typedef struct {
    const lg_way *way;
    const lg_label_job *job;
} figures_call;

static void figures_part(void *call, void *total, void *scratch, ptrdiff_t begin, ptrdiff_t end) {
    const figures_call *c = call;
    const lg_environment found = lg_enter();
    (void)total, (void)scratch;
    c->way->level->kernels[c->way->computed]->labels(c->job, begin, end);
    lg_leave(found);
}

int lg_label_statistics(const lg_way *way, const lg_label_job *job, ptrdiff_t n) {
    figures_call call = {way, job};
    const lg_work work = {figures_part, NULL, &call, NULL, 0, 0, n, 8};
    return lg_share(&work, way->threads, way->look);
}
