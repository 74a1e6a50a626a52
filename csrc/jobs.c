/* Elementwise jobs, whatever the instruction set: the walk over strided operands in blocks that stay in L1, sums of
 * an op's values along lines and columns, and the floating-point environment around it all. */
#include "environment.h"
#include "kernels.h"
#include "pool.h"
#include <string.h>

enum {
    PIECE = 1 << 16 /* elements between two looks at whether to stop */
};

/* Whether a view's elements along the inner axis are a run. */
static int is_run(const lg_view *v) { return v->stride[2] == lg_size(v->storage); }

/* One block's operand: where it lies if it is a run, else a copy in buffer (a stride of 0 is copied once). */
static lg_run fetch(const lg_kernels *kernels, const lg_view *v, char *at, ptrdiff_t n, int computed, char *buffer,
                    int *filled) {
    if (is_run(v) || n == 1) return (lg_run){at, v->storage};
    if (v->stride[2] != 0 || !*filled) kernels->load(at, v->stride[2], n, v->storage, buffer);
    *filled = 1;
    return (lg_run){buffer, computed};
}

/* ---- maps ---- */

typedef struct {
    const lg_way *way;
    const lg_map_job *job;
} map_call;

/* One thread's walk over its part of a job. */
typedef struct {
    const lg_kernels *kernels;
    const lg_map_job *job;
    int computed, stream;
    lg_sum *sum;
    int filled[LG_MAX_INPUTS + 3]; /* which buffers hold a number that stands for a whole line */
    _Alignas(64) char in_buffer[LG_MAX_INPUTS + 1][LG_BLOCK * 8];
    _Alignas(64) char weight_buffer[2][LG_BLOCK * 8];
    _Alignas(64) char out_buffer[LG_MAX_OUTPUTS][LG_BLOCK * 8];
} map_walk;

/* n elements from the i-th of the line (a, b) on. */
static void map_block(map_walk *w, ptrdiff_t a, ptrdiff_t b, ptrdiff_t i, ptrdiff_t n) {
    const lg_map_job *job = w->job;
    lg_run in[LG_MAX_INPUTS + 1], out[LG_MAX_OUTPUTS];
    lg_weights weights = {NULL, NULL, job->up};
    int *filled = w->filled + LG_MAX_INPUTS + 1;
#define AT(view) ((view).at + a * (view).stride[0] + b * (view).stride[1] + i * (view).stride[2])
    for (int v = 0; v < job->inputs; v++)
        in[v] = fetch(w->kernels, &job->in[v], AT(job->in[v]), n, w->computed, w->in_buffer[v], &w->filled[v]);
    if (job->weight.at)
        weights.weight =
            fetch(w->kernels, &job->weight, AT(job->weight), n, w->computed, w->weight_buffer[0], filled).at;
    if (job->shift.at)
        weights.shift =
            fetch(w->kernels, &job->shift, AT(job->shift), n, w->computed, w->weight_buffer[1], filled + 1).at;
    for (int v = 0; v < job->outputs; v++) {
        const int direct = is_run(&job->out[v]) && !(v == 0 && job->sum);
        out[v] = direct ? (lg_run){AT(job->out[v]), job->out[v].storage} : (lg_run){w->out_buffer[v], w->computed};
    }
    w->kernels->map(job->op, job->direction, in, out, n, job->param, w->stream, weights.weight ? &weights : NULL);
    if (job->sum) w->kernels->sum(out[0].at, n, w->sum);
    for (int v = 0; v < job->outputs; v++)
        if (out[v].at == w->out_buffer[v] && !(v == 0 && job->sum))
            w->kernels->store(AT(job->out[v]), job->out[v].stride[2], n, job->out[v].storage, out[v].at);
#undef AT
}

static void map_lines(const lg_way *way, const lg_map_job *job, lg_sum *sum, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t n = job->shape[2];
    map_walk w;
    w.kernels = way->level->kernels[way->computed];
    w.job = job;
    w.computed = way->computed;
    w.sum = sum;
    int all_runs = !job->weight.at && !job->sum;
    for (int k = 0; k < job->inputs; k++) all_runs &= is_run(&job->in[k]);
    for (int k = 0; k < job->outputs; k++) all_runs &= is_run(&job->out[k]);
    const ptrdiff_t block = all_runs ? PIECE : LG_BLOCK;
    w.stream = all_runs && n * lg_size(job->out[job->outputs - 1].storage) >= STREAM_BYTES; /* whatever the part */
    ptrdiff_t look = begin + PIECE;
    for (ptrdiff_t at = begin; at < end;) {
        const ptrdiff_t line = at / n, i = at - line * n, left = end < line * n + n ? end - at : n - i;
        const ptrdiff_t k = left < block ? left : block;
        if (at == begin || i == 0) memset(w.filled, 0, sizeof w.filled);
        if (at >= look) {
            if (lg_stopped()) return;
            look = at + PIECE;
        }
        map_block(&w, line / job->shape[1], line % job->shape[1], i, k);
        at += k;
    }
}

static void map_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const map_call *c = call;
    const lg_environment found = lg_enter();
    (void)unused;
    map_lines(c->way, c->job, total, begin, end);
    lg_leave(found);
}

static void merge_sum(void *call, const void *total) { lg_sum_merge(((map_call *)call)->job->sum, total); }

/* ---- axes: elements may be taken in any order ---- */

enum { VIEWS = LG_MAX_INPUTS + 1 + LG_MAX_OUTPUTS + 2 };
static int views_of(lg_map_job *job, lg_view *views[VIEWS]) {
    int n = 0;
    for (int k = 0; k < job->inputs; k++) views[n++] = &job->in[k];
    for (int k = 0; k < job->outputs; k++) views[n++] = &job->out[k];
    views[n++] = &job->weight;
    views[n++] = &job->shift;
    return n;
}

/* Makes one of the axes a and a + 1, if their elements are evenly spaced in every view. */
static int join_axes(lg_map_job *job, int a) {
    lg_view *views[VIEWS];
    const int n = views_of(job, views);
    const ptrdiff_t outer = job->shape[a], inner = job->shape[a + 1];
    for (int k = 0; k < n && outer > 1 && inner > 1; k++)
        if (views[k]->stride[a] != views[k]->stride[a + 1] * inner) return 0;
    for (int k = 0; k < n; k++) {
        ptrdiff_t *s = views[k]->stride;
        if (inner == 1) s[a + 1] = s[a];
        if (a) s[1] = s[0];
        s[0] = 0;
    }
    job->shape[a + 1] = outer * inner;
    if (a) job->shape[1] = job->shape[0];
    job->shape[0] = 1;
    return 1;
}

/* Lines of few elements, columns of many: the job by columns, of CHUNK lines at a time, so that they stay in the
 * cache; the lines that are left over remain in the job. */
enum { CHUNK = 512, FEW_COLUMNS = 12 };
static lg_map_job by_columns(lg_map_job *job) {
    lg_view *views[VIEWS];
    lg_map_job turned = *job;
    const int n = views_of(&turned, views);
    const ptrdiff_t lines = job->shape[1], chunks = lines / CHUNK;
    for (int k = 0; k < n; k++) {
        const ptrdiff_t *s = views[k]->stride, line = s[1], column = s[2];
        const ptrdiff_t to[] = {CHUNK * line, column, line};
        memcpy(views[k]->stride, to, sizeof to);
    }
    turned.shape[0] = chunks;
    turned.shape[1] = job->shape[2];
    turned.shape[2] = CHUNK;
    const int left = views_of(job, views);
    for (int k = 0; k < left; k++)
        if (views[k]->at) views[k]->at += chunks * CHUNK * views[k]->stride[1];
    job->shape[1] = lines - chunks * CHUNK;
    return turned;
}

static int share_map(const lg_way *way, const lg_map_job *job) {
    map_call call = {way, job};
    const ptrdiff_t count = job->shape[0] * job->shape[1] * job->shape[2];
    const lg_work work = {map_part, merge_sum, &call, job->sum, sizeof *job->sum, 0, count, 1};
    return lg_share(&work, way->threads, way->look);
}

int lg_map(const lg_way *way, const lg_map_job *job) {
    if (job->shape[0] == 1 && job->shape[1] == 1) return share_map(way, job);
    lg_map_job joined = *job;
    if (join_axes(&joined, 1)) join_axes(&joined, 1);
    else join_axes(&joined, 0);
    const ptrdiff_t *shape = joined.shape;
    if (shape[0] != 1 || shape[1] < CHUNK || shape[2] > FEW_COLUMNS) return share_map(way, &joined);
    const lg_map_job turned = by_columns(&joined);
    const int status = share_map(way, &turned);
    return status == LG_DONE && shape[1] ? share_map(way, &joined) : status;
}

/* Values of n neighbours from element i of a line on, to out. */
static void line_values(const lg_kernels *kernels, const lg_map_job *job, int computed, ptrdiff_t line, ptrdiff_t i,
                        ptrdiff_t n, void *out) {
    _Alignas(64) char buffer[LG_MAX_INPUTS][LG_BLOCK * 8];
    lg_run in[LG_MAX_INPUTS];
    const lg_run to = {out, computed};
    const ptrdiff_t a = line / job->shape[1], b = line % job->shape[1];
    for (int k = 0; k < job->inputs; k++) {
        const lg_view *v = &job->in[k];
        int filled = 0;
        in[k] = fetch(kernels, v, v->at + a * v->stride[0] + b * v->stride[1] + i * v->stride[2], n, computed,
                      buffer[k], &filled);
    }
    kernels->map(job->op, LG_FORWARD, in, &to, n, job->param, 0, NULL);
}

/* ---- columns ---- */

typedef struct {
    const lg_way *way;
    const lg_map_job *job;
    ptrdiff_t width, number, step; /* columns of a sum, sums, sums of a part; step is 0 where parts are rows */
    lg_sum *sum;
} columns_call;

/* Values of lines in up to LG_BLOCK columns; each column has its sum in s + e where nothing was lost. */
typedef struct {
    const lg_kernels *kernels;
    const lg_map_job *job;
    int computed;
    _Alignas(64) double s[LG_BLOCK], e[LG_BLOCK], lost[LG_BLOCK], value[LG_BLOCK];
} columns_walk;
static void start_walk(columns_walk *w, const lg_way *way, const lg_map_job *job) {
    w->kernels = way->level->kernels[way->computed];
    w->job = job;
    w->computed = way->computed;
}

/* Lines from begin to end, of n columns. */
static void add_lines(columns_walk *w, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t column, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) w->s[i] = w->e[i] = w->lost[i] = 0;
    for (ptrdiff_t k = begin; k < end; k++) {
        if ((k - begin) % LG_BLOCK == LG_BLOCK - 1 && lg_stopped()) return;
        line_values(w->kernels, w->job, w->computed, k, column, n, w->value);
        w->kernels->add_columns(w->value, n, w->s, w->e, w->lost);
    }
}
/* The same lines of the columns among n from `first` on whose sums lost something: value by value, the i-th of them to
 * the sum of number (lead + i) / width. */
static void add_lost(columns_walk *w, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t column, ptrdiff_t first, ptrdiff_t n,
                     lg_sum *sum, ptrdiff_t lead, ptrdiff_t width) {
    const float *f32 = (const float *)w->value;
    for (ptrdiff_t k = begin; k < end; k++) {
        if ((k - begin) % LG_BLOCK == LG_BLOCK - 1 && lg_stopped()) return;
        line_values(w->kernels, w->job, w->computed, k, column + first, n, w->value);
        for (ptrdiff_t i = 0; i < n; i++)
            if (w->lost[first + i] != 0)
                lg_sum_add(sum + (lead + i) / width, w->computed == LG_F64 ? w->value[i] : (double)f32[i]);
    }
}
static int any_lost(const columns_walk *w, ptrdiff_t first, ptrdiff_t n) {
    int any = 0;
    for (ptrdiff_t i = first; i < first + n; i++) any |= w->lost[i] != 0;
    return any;
}

static void sum_block(const columns_call *c, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t column, ptrdiff_t n,
                      lg_sum *sum) {
    columns_walk w;
    start_walk(&w, c->way, c->job);
    add_lines(&w, begin, end, column, n);
    for (ptrdiff_t i = 0; i < n; i++) {
        if (w.lost[i] != 0) continue;
        lg_sum_add(sum + (column + i) / c->width, w.s[i]);
        lg_sum_add(sum + (column + i) / c->width, w.e[i]);
    }
    if (any_lost(&w, 0, n)) add_lost(&w, begin, end, column, 0, n, sum, column, c->width);
}

static void sum_columns(const columns_call *c, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t first, ptrdiff_t columns,
                        lg_sum *sum) {
    for (ptrdiff_t column = first; column < columns; column += LG_BLOCK)
        for (ptrdiff_t row = begin; row < end && !lg_stopped(); row += LG_BLOCK)
            sum_block(c, row, end - row < LG_BLOCK ? end : row + LG_BLOCK, column,
                      columns - column < LG_BLOCK ? columns - column : LG_BLOCK, sum);
}

static void columns_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const columns_call *c = call;
    const lg_environment found = lg_enter();
    const ptrdiff_t columns = c->number * c->width, step = c->step * c->width;
    (void)unused;
    if (!step) sum_columns(c, begin, end, 0, columns, total);
    else sum_columns(c, 0, c->job->shape[1], begin * step, end * step < columns ? end * step : columns, c->sum);
    lg_leave(found);
}

static void merge_columns(void *call, const void *total) {
    const columns_call *c = call;
    for (ptrdiff_t k = 0; k < c->number; k++) lg_sum_merge(&c->sum[k], (const lg_sum *)total + k);
}

int lg_column_sums(const lg_way *way, const lg_map_job *job, ptrdiff_t width, lg_sum *sum) {
    const ptrdiff_t rows = job->shape[1], columns = job->shape[2];
    columns_call call = {way, job, width, columns / width, 0, sum};
    lg_work work = {columns_part, merge_columns,       &call, sum, sizeof *sum * (size_t)call.number, 0,
                    rows,         columns + LG_PER_ROW};
    if (columns >= 2 * LG_BLOCK && rows <= 16 * LG_BLOCK) { /* parts are columns: there is nothing to merge */
        call.step = LG_BLOCK / width > 1 ? LG_BLOCK / width : 1;
        work.count = (call.number + call.step - 1) / call.step;
        work.width = rows * call.step * width;
        work.total = NULL;
        work.total_size = 0;
    }
    return lg_share(&work, way->threads, way->look);
}

/* ---- lines: the middle axis ---- */

typedef struct {
    const lg_way *way;
    const lg_map_job *job;
    double *to;
} lines_call;

/* The job of one line of a job of many. */
static lg_map_job one_line(const lg_map_job *job, ptrdiff_t row) {
    lg_map_job line = *job;
    const ptrdiff_t outer = row / job->shape[2], inner = row % job->shape[2];
    line.shape[0] = line.shape[1] = 1;
    line.shape[2] = job->shape[1];
    for (int k = 0; k < job->inputs; k++) {
        const lg_view *v = &job->in[k];
        line.in[k].at = v->at + outer * v->stride[0] + inner * v->stride[2];
        line.in[k].stride[0] = line.in[k].stride[1] = 0;
        line.in[k].stride[2] = v->stride[1];
    }
    return line;
}

/* Short lines side by side: the job with the middle axis last. */
static lg_map_job line_last(const lg_map_job *job) {
    lg_map_job turned = *job;
    const int flat = job->shape[2] == 1; /* rows are then the outer axis, and may be taken together */
    turned.shape[0] = flat ? 1 : job->shape[0];
    turned.shape[1] = flat ? job->shape[0] : job->shape[2];
    turned.shape[2] = job->shape[1];
    for (int k = 0; k < job->inputs; k++) {
        const ptrdiff_t *s = job->in[k].stride;
        ptrdiff_t *to = turned.in[k].stride;
        const ptrdiff_t outer = s[0], middle = s[1], inner = flat ? s[0] : s[2];
        to[0] = outer;
        to[1] = inner;
        to[2] = middle;
    }
    return turned;
}

static void short_lines(const lg_way *way, const lg_map_job *job, ptrdiff_t begin, ptrdiff_t end, double *to) {
    const lg_kernels *kernels = way->level->kernels[way->computed];
    const ptrdiff_t n = job->shape[2], most = LG_BLOCK / n, size = lg_size(way->computed);
    _Alignas(64) char value[LG_BLOCK * 8];
    int together = 1; /* whether lines follow each other in memory */
    for (int k = 0; k < job->inputs; k++)
        together &= is_run(&job->in[k]) && job->in[k].stride[1] == n * lg_size(job->in[k].storage);
    for (ptrdiff_t line = begin, rows; line < end; line += rows) {
        const ptrdiff_t left = job->shape[1] - line % job->shape[1];
        rows = end - line < most ? end - line : most;
        rows = rows < left ? rows : left;
        if (together) line_values(kernels, job, way->computed, line, 0, rows * n, value);
        for (ptrdiff_t r = 0; !together && r < rows; r++)
            line_values(kernels, job, way->computed, line + r, 0, n, value + r * n * size);
        kernels->sum_rows(value, rows, n, to + line);
        if (lg_stopped()) return;
    }
}

/* Lines beside each other, line by line of memory: LINES at a time, whose exact sums are in scratch where they are
 * needed. */
enum { LINES = 256, EXACT_LINES = 32, BESIDE = 16 };
static int are_beside(const lg_map_job *job) {
    int beside = job->shape[2] >= BESIDE;
    for (int k = 0; k < job->inputs; k++) beside &= is_run(&job->in[k]);
    return beside;
}
static void lines_beside(const lg_way *way, const lg_map_job *job, ptrdiff_t begin, ptrdiff_t end, double *to,
                         lg_sum *sum) {
    const ptrdiff_t n = job->shape[1], inner = job->shape[2];
    columns_walk w;
    for (ptrdiff_t row = begin, many; row < end && !lg_stopped(); row += many) {
        const ptrdiff_t outer = row / inner, column = row % inner, left = inner - column;
        lg_map_job one = *job;
        for (int k = 0; k < job->inputs; k++) one.in[k].at += outer * job->in[k].stride[0];
        start_walk(&w, way, &one);
        many = end - row < LINES ? end - row : LINES;
        many = many < left ? many : left;
        add_lines(&w, 0, n, column, many);
        for (ptrdiff_t i = 0; i < many; i++) to[row + i] = w.s[i] + w.e[i];
        for (ptrdiff_t first = 0, few; first < many; first += few) {
            few = many - first < EXACT_LINES ? many - first : EXACT_LINES;
            if (!any_lost(&w, first, few)) continue;
            for (ptrdiff_t i = 0; i < few; i++) lg_sum_clear(&sum[i]);
            add_lost(&w, 0, n, column, first, few, sum, 0, 1);
            for (ptrdiff_t i = 0; i < few; i++)
                if (w.lost[first + i] != 0) to[row + first + i] = lg_sum_value(&sum[i]);
        }
    }
}

static void lines_part(void *call, void *total, void *scratch, ptrdiff_t begin, ptrdiff_t end) {
    const lines_call *c = call;
    const lg_environment found = lg_enter();
    (void)total;
    if (are_beside(c->job)) lines_beside(c->way, c->job, begin, end, c->to, scratch);
    else if (c->job->shape[1] <= LG_BLOCK) {
        const lg_map_job turned = line_last(c->job);
        short_lines(c->way, &turned, begin, end, c->to);
    } else
        for (ptrdiff_t row = begin; row < end && !lg_stopped(); row++) {
            lg_sum sum;
            lg_map_job line = one_line(c->job, row);
            line.sum = &sum;
            lg_sum_clear(&sum);
            map_lines(c->way, &line, &sum, 0, line.shape[2]);
            c->to[row] = lg_sum_value(&sum);
        }
    lg_leave(found);
}

int lg_line_sums(const lg_way *way, const lg_map_job *job, double *to) {
    lines_call call = {way, job, to};
    const ptrdiff_t rows = job->shape[0] * job->shape[2], n = job->shape[1];
    const int beside = are_beside(job);
    const size_t scratch = beside ? EXACT_LINES * sizeof(lg_sum) : 0;
    const lg_work work = {lines_part, NULL, &call, NULL, 0, scratch, rows, n + LG_PER_ROW};
    if (n <= LG_LONG_ROW || beside) return lg_share(&work, way->threads, way->look);
    for (ptrdiff_t row = 0; row < rows; row++) { /* long ones, each in parts */
        lg_sum sum;
        lg_map_job line = one_line(job, row);
        line.sum = &sum;
        lg_sum_clear(&sum);
        const int status = lg_map(way, &line);
        if (status != LG_DONE) return status;
        to[row] = lg_sum_value(&sum);
    }
    return LG_DONE;
}

/* ---- ranges ---- */

typedef struct {
    const lg_way *way;
    lg_run x;
    double most;
    int *outside;
} range_call;

static void range_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const range_call *c = call;
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = c->way->level->kernels[c->way->computed];
    const ptrdiff_t size = lg_size(c->x.storage);
    int *outside = total;
    (void)unused;
    for (ptrdiff_t at = begin; at < end && !*outside && !lg_stopped(); at += PIECE) {
        const lg_run x = {c->x.at + at * size, c->x.storage};
        *outside = !kernels->within(&x, end - at < PIECE ? end - at : PIECE, c->most);
    }
    lg_leave(found);
}

static void merge_ranges(void *call, const void *total) { *((range_call *)call)->outside |= *(const int *)total; }

int lg_within(const lg_way *way, const char *x, int storage, ptrdiff_t n, double most, int *good) {
    int outside = 0;
    range_call call = {way, {(char *)x, storage}, most, &outside};
    const lg_work work = {range_part, merge_ranges, &call, &outside, sizeof outside, 0, n, 1};
    const int status = lg_share(&work, way->threads, way->look);
    *good = !outside;
    return status;
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
