/* What does not depend on the instruction set: labels, and the walk of an elementwise job over
 * strided operands in blocks that stay in L1; the floating-point environment around it all. */
#include "lossgrad.h"
#include "environment.h"
#include <stdlib.h>
#include <string.h>

int lg_by_class(const lg_view *view, ptrdiff_t inner) {
    const int together = view->stride[1] == lg_size(view->storage);
    return view->at && !together && llabs(lg_row_stride(view, inner)) < llabs(view->stride[1]);
}

ptrdiff_t lg_rows_batch(const lg_rows_job *job) {
    ptrdiff_t batch = 8192 / (job->classes > 0 ? job->classes : 1);
    const lg_view *views[] = {&job->x, &job->grad, &job->out};
    int wide = 0;
    for (int v = 0; v < 3; v++) wide |= lg_by_class(views[v], job->inner);
    if (wide) batch *= 64; /* many rows of a class beside each other */
    const ptrdiff_t least = wide ? 16 : 1;
    return batch < least ? least : batch > LG_ROWS ? LG_ROWS : batch;
}

size_t lg_rows_scratch(const lg_rows_job *job, ptrdiff_t rows, size_t itemsize) {
    if (job->what == LG_NLL_LOSS) return 0;
    const ptrdiff_t most = lg_rows_batch(job), batch = rows < most ? rows : most;
    const ptrdiff_t least = job->classes * (ptrdiff_t)itemsize <= 512 ? 16 : 1; /* few.h: a whole vector of them */
    return 3 * (size_t)(batch < least ? least : batch) * (size_t)lg_pitch(job->classes, itemsize) * itemsize;
}

void lg_labels(const lg_view *label, int type, ptrdiff_t inner, ptrdiff_t row, ptrdiff_t rows, int64_t *to) {
    while (rows > 0) { /* a run of one outer row, or of all if each has one */
        const ptrdiff_t outer = inner == 1 ? row : row / inner, within = inner == 1 ? 0 : row % inner;
        const ptrdiff_t step = label->stride[inner == 1 ? 0 : 2], left = inner == 1 ? rows : inner - within;
        const ptrdiff_t n = left < rows ? left : rows;
        const char *p = label->at + outer * label->stride[0] + within * label->stride[2];
#define READ_RUN(T, step) \
    for (ptrdiff_t i = 0; i < n; i++) { \
        T v; \
        memcpy(&v, p + i * (step), sizeof v); \
        to[i] = (int64_t)v; \
    }
#define READ(T) \
    if (step == (ptrdiff_t)sizeof(T)) READ_RUN(T, (ptrdiff_t)sizeof(T)) \
    else READ_RUN(T, step) \
    break;
        switch (type) {
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

/* The first label of a block that is neither a class nor ignored, or -1, and how many are kept: without a
 * branch a label. A label is a class if neither it nor its distance to the last one is negative. */
static ptrdiff_t first_bad(const int64_t *label, ptrdiff_t n, int64_t last, int64_t ignored, int none_ignored,
                           ptrdiff_t *kept) {
    const uint64_t always = none_ignored ? ~UINT64_C(0) : 0;
    uint64_t strange = 0, minus = 0;
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

lg_label_check lg_check_labels(const lg_rows_job *job, int computed, lg_sum *sum, ptrdiff_t begin, ptrdiff_t end) {
    lg_label_check check = {-1, 0};
    const float *f32 = job->weight;
    const double *f64 = job->weight;
    const int none_ignored = job->label_type == LG_U64 && job->ignore_index < 0;
    for (ptrdiff_t row = begin; row < end; row += LG_BLOCK) {
        int64_t label[LG_BLOCK];
        const ptrdiff_t n = end - row < LG_BLOCK ? end - row : LG_BLOCK;
        ptrdiff_t kept;
        lg_labels(&job->label, job->label_type, job->inner, row, n, label);
        const ptrdiff_t bad = first_bad(label, n, job->classes - 1, job->ignore_index, none_ignored, &kept);
        if (bad >= 0) {
            check.bad = row + bad;
            return check;
        }
        check.kept += kept;
        for (ptrdiff_t i = 0; job->weight && i < n; i++)
            if (label[i] != job->ignore_index || none_ignored)
                lg_sum_add(sum, computed == LG_F64 ? f64[label[i]] : (double)f32[label[i]]);
    }
    return check;
}

/* Whether a view's elements along the inner axis are a run of the computed type. */
static int is_run(const lg_view *v, int computed) {
    return v->storage == computed && v->stride[2] == lg_size(computed);
}

/* One block's operand: where it lies if it is a run, else a copy in buffer (a stride of 0 is copied once). */
static const void *fetch(const lg_kernels *kernels, const lg_view *v, const char *at, ptrdiff_t n, int computed,
                         char *buffer, int *filled) {
    if (is_run(v, computed) || (n == 1 && v->storage == computed)) return at;
    if (v->stride[2] == 0 && *filled) return buffer;
    kernels->load(at, v->stride[2], n, v->storage, buffer);
    *filled = 1;
    return buffer;
}

void lg_map(const lg_level *level, int computed, const lg_map_job *job, ptrdiff_t begin, ptrdiff_t end) {
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = level->kernels[computed];
    const lg_map_fn map = kernels->map[job->op][job->direction];
    const size_t size = (size_t)lg_size(computed);
    const int weighted = job->weight.at != NULL, blocks_only = weighted || job->sum != NULL;
    _Alignas(64) char in_buffer[LG_MAX_INPUTS + 1][LG_BLOCK * 8], weight_buffer[LG_BLOCK * 8];
    _Alignas(64) char out_buffer[LG_MAX_OUTPUTS][LG_BLOCK * 8], product_buffer[LG_BLOCK * 8];
    const ptrdiff_t n = job->shape[2];
    int all_runs = !blocks_only;
    for (int k = 0; k < job->inputs; k++) all_runs &= is_run(&job->in[k], computed);
    for (int k = 0; k < job->outputs; k++) all_runs &= is_run(&job->out[k], computed);
    const ptrdiff_t block = all_runs ? n : LG_BLOCK;
    const int stream = all_runs && (size_t)n * size >= STREAM_BYTES; /* whatever the part */
    for (ptrdiff_t at = begin; at < end;) {
        const ptrdiff_t line = at / n, a = line / job->shape[1], b = line % job->shape[1];
        const ptrdiff_t line_end = end - line * n < n ? end - line * n : n;
        int filled[LG_MAX_INPUTS + 2] = {0};
        for (ptrdiff_t i = at - line * n; i < line_end; i += block) {
            const ptrdiff_t k = line_end - i < block ? line_end - i : block;
            const void *in[LG_MAX_INPUTS + 1];
            void *out[LG_MAX_OUTPUTS];
#define AT(view) ((view).at + a * (view).stride[0] + b * (view).stride[1] + i * (view).stride[2])
            for (int v = 0; v < job->inputs; v++)
                in[v] = fetch(kernels, &job->in[v], AT(job->in[v]), k, computed, in_buffer[v], &filled[v]);
            const void *weight = NULL;
            if (weighted) { /* a copy, since an output may be the weight itself */
                weight = fetch(kernels, &job->weight, AT(job->weight), k, computed, weight_buffer, &filled[LG_MAX_INPUTS + 1]);
                if (weight != weight_buffer) weight = memcpy(weight_buffer, weight, (size_t)k * size);
            }
            if (weighted && job->direction != LG_FORWARD) { /* the incoming gradient, times the weight */
                const void *factors[2] = {in[0], weight};
                void *product[1] = {product_buffer};
                kernels->multiply(factors, product, k, NULL, 0);
                in[0] = product_buffer;
            }
            for (int v = 0; v < job->outputs; v++) {
                const int direct = is_run(&job->out[v], computed) && !(v == 0 && job->sum);
                out[v] = direct ? (void *)AT(job->out[v]) : out_buffer[v];
            }
            map(in, out, k, job->param, stream);
            if (weighted && job->direction != LG_BACKWARD) {
                const void *factors[2] = {out[0], weight};
                void *product[1] = {out[0]};
                kernels->multiply(factors, product, k, NULL, 0);
            }
            if (job->sum) kernels->sum(out[0], k, job->sum);
            for (int v = 0; v < job->outputs; v++)
                if (out[v] == out_buffer[v] && !(v == 0 && job->sum))
                    kernels->store(AT(job->out[v]), job->out[v].stride[2], k, job->out[v].storage, out[v]);
#undef AT
        }
        at = line * n + line_end;
    }
    lg_leave(found);
}

/* Values of n neighbours from element i of a line on, to out. */
static void line_values(const lg_kernels *kernels, const lg_map_job *job, int computed, ptrdiff_t line, ptrdiff_t i,
                        ptrdiff_t n, void *out) {
    _Alignas(64) char buffer[LG_MAX_INPUTS][LG_BLOCK * 8];
    const void *in[LG_MAX_INPUTS];
    const ptrdiff_t a = line / job->shape[1], b = line % job->shape[1];
    for (int k = 0; k < job->inputs; k++) {
        const lg_view *v = &job->in[k];
        int filled = 0;
        in[k] = fetch(kernels, v, v->at + a * v->stride[0] + b * v->stride[1] + i * v->stride[2], n, computed,
                      buffer[k], &filled);
    }
    kernels->map[job->op][LG_FORWARD](in, &out, n, job->param, 0);
}

void lg_column_sums(const lg_level *level, int computed, const lg_map_job *job, ptrdiff_t width, ptrdiff_t begin,
                    ptrdiff_t end, ptrdiff_t first, ptrdiff_t columns, lg_sum *sum) {
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = level->kernels[computed];
    _Alignas(64) double s[LG_BLOCK], e[LG_BLOCK], lost[LG_BLOCK], value[LG_BLOCK];
    for (ptrdiff_t c = first; c < columns; c += LG_BLOCK)
        for (ptrdiff_t r = begin; r < end; r += LG_BLOCK) {
            const ptrdiff_t n = columns - c < LG_BLOCK ? columns - c : LG_BLOCK;
            const ptrdiff_t last = end - r < LG_BLOCK ? end : r + LG_BLOCK;
            for (ptrdiff_t i = 0; i < n; i++) s[i] = e[i] = lost[i] = 0;
            for (ptrdiff_t k = r; k < last; k++) {
                line_values(kernels, job, computed, k, c, n, value);
                kernels->add_columns(value, n, s, e, lost);
            }
            for (ptrdiff_t i = 0; i < n; i++) {
                lg_sum *to = sum + (c + i) / width;
                if (lost[i] == 0) {
                    lg_sum_add(to, s[i]);
                    lg_sum_add(to, e[i]);
                } else
                    for (ptrdiff_t k = r; k < last; k++) {
                        line_values(kernels, job, computed, k, c + i, 1, value);
                        kernels->sum(value, 1, to);
                    }
            }
        }
    lg_leave(found);
}

void lg_line_sums(const lg_level *level, int computed, const lg_map_job *job, ptrdiff_t begin, ptrdiff_t end,
                  double *to) {
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = level->kernels[computed];
    const ptrdiff_t n = job->shape[2], most = LG_BLOCK / n;
    _Alignas(64) char value[LG_BLOCK * 8];
    for (ptrdiff_t line = begin; line < end;) {
        ptrdiff_t rows = end - line < most ? end - line : most;
        int together = 1; /* whether lines follow each other in memory */
        for (int k = 0; k < job->inputs; k++)
            together &= is_run(&job->in[k], computed) && job->in[k].stride[1] == n * lg_size(computed);
        const ptrdiff_t left = job->shape[1] - line % job->shape[1];
        rows = rows < left ? rows : left;
        if (together) line_values(kernels, job, computed, line, 0, rows * n, value);
        for (ptrdiff_t r = 0; !together && r < rows; r++)
            line_values(kernels, job, computed, line + r, 0, n, value + r * n * lg_size(computed));
        kernels->sum_rows(value, rows, n, to + line);
        line += rows;
    }
    lg_leave(found);
}

void lg_rows(const lg_level *level, int computed, const lg_rows_job *job, ptrdiff_t begin, ptrdiff_t end) {
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = level->kernels[computed];
    const int what = job->what;
    (what == LG_STATISTICS ? kernels->statistics : what == LG_NLL_LOSS ? kernels->nll : kernels->rows)(job, begin, end);
    lg_leave(found);
}

void lg_label_statistics(const lg_level *level, int computed, const lg_label_job *job, ptrdiff_t begin, ptrdiff_t end) {
    const lg_environment found = lg_enter();
    level->kernels[computed]->labels(job, begin, end);
    lg_leave(found);
}

/* volatile: not moved out of the environment */
double lg_quotient(double a, double b) {
    const lg_environment found = lg_enter();
    volatile double q = a;
    q = q / b;
    lg_leave(found);
    return q;
}
float lg_narrow(double a) {
    const lg_environment found = lg_enter();
    volatile float narrow = (float)a;
    lg_leave(found);
    return narrow;
}
int lg_within(const lg_level *level, int computed, const void *x, ptrdiff_t n, double most) {
    const lg_environment found = lg_enter();
    const int good = level->kernels[computed]->within(x, n, most);
    lg_leave(found);
    return good;
}
