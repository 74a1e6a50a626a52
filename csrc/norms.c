/* The Euclidean norm of rows of any layout, and its gradient. A row's norm is root / scale: the scale is a power of
 * 2 that brings the largest element near 1. The sum under the root is correctly rounded, so that no order matters:
 * from blocks of sums that are exact or nearly so (squares.h) if what they may lack cannot change it, else from
 * exact sums of all squares. */
#include "environment.h"
#include "kernels.h"
#include "pool.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* Squares of float64 are ordinary numbers below it and above its inverse. */
#define FAR 0x1p400

static int lies_there(const lg_view *x, int computed) {
    return x->storage == computed && x->stride[1] == lg_size(computed);
}
/* What is copied fits in a buffer, what is read where it lies, twice, in the first level of the cache. */
static ptrdiff_t block_size(const lg_view *x, int computed) {
    return lies_there(x, computed) ? LG_SQUARES * 4 / lg_size(computed) : LG_BLOCK;
}
static const void *block_of(const lg_kernels *kernels, const lg_view *x, const char *at, ptrdiff_t n, int computed,
                            void *buffer) {
    if (lies_there(x, computed)) return at;
    kernels->load(at, x->stride[1], n, x->storage, buffer);
    return buffer;
}

static lg_squares measure(const lg_kernels *kernels, const lg_norm_job *job, const char *at, int computed, double unit,
                          ptrdiff_t begin, ptrdiff_t end, lg_sum *sum) {
    _Alignas(64) char buffer[LG_BLOCK * 8];
    const ptrdiff_t block = block_size(&job->x, computed);
    lg_squares all = {0, 0, 0, 0};
    for (ptrdiff_t i = begin; i < end; i += block) {
        const ptrdiff_t n = end - i < block ? end - i : block;
        const char *from = at + i * job->x.stride[1];
        const lg_squares found = kernels->squares(block_of(kernels, &job->x, from, n, computed, buffer), n, unit);
        if (!sum) return found; /* one block alone */
        lg_sum_add(sum, found.high);
        lg_sum_add(sum, found.low);
        all.slack += found.slack;
        if (found.max > all.max) all.max = found.max;
    }
    return all;
}

static double unit_for(double max, int computed) {
    uint64_t bits;
    double unit;
    if (!(max > 0 && max < INFINITY)) return 1;
    memcpy(&bits, &max, sizeof bits);
    const int least = computed == LG_F64 ? 1 : 1023 - 126, exponent = 2045 - (int)(bits >> 52);
    bits = (uint64_t)(exponent < least ? least : exponent > 2046 - least ? 2046 - least : exponent) << 52;
    memcpy(&unit, &bits, sizeof unit);
    return unit;
}

static int is_far(double max, int computed) {
    return computed == LG_F64 && max > 0 && max < INFINITY && !(max <= FAR && max >= 1 / FAR);
}

/* Whether the sum, rounded, is the same whatever it may lack; never where it is NaN. */
static int is_sure(const lg_squares *found, const lg_sum *sum, double *rounded) {
    const double slack = 2 * found->slack; /* with the roundings here */
    if (!sum) {
        *rounded = found->high + found->low;
        return found->high + (found->low - slack) == found->high + (found->low + slack);
    }
    lg_sum less = *sum, more = *sum;
    lg_sum_add(&less, -slack);
    lg_sum_add(&more, slack);
    *rounded = lg_sum_value(&less);
    return slack == 0 ? *rounded == *rounded : *rounded == lg_sum_value(&more);
}

/* What rounding takes off v^2 (T. J. Dekker 1971). */
static double square_rest(double v, double square) {
    const double t = v * 134217729.0, high = t - (t - v), low = v - high;
    return ((high * high - square) + 2 * high * low) + low * low;
}

/* The exact squares of elements from begin to end, in the unit. */
static void add_squares(const lg_way *way, const lg_norm_job *job, const char *at, double unit, ptrdiff_t begin,
                        ptrdiff_t end, lg_sum *sum) {
    const lg_kernels *kernels = way->level->kernels[way->computed], *doubles = way->level->kernels[LG_F64];
    const int is_double = way->computed == LG_F64;
    for (ptrdiff_t i = begin; i < end; i += LG_BLOCK) {
        const ptrdiff_t n = end - i < LG_BLOCK ? end - i : LG_BLOCK;
        double wide[LG_BLOCK], square[LG_BLOCK], rest[LG_BLOCK];
        float narrow[LG_BLOCK];
        const char *from = at + i * job->x.stride[1];
        kernels->load(from, job->x.stride[1], n, job->x.storage, is_double ? (void *)wide : (void *)narrow);
        for (ptrdiff_t k = 0; !is_double && k < n; k++) wide[k] = (double)narrow[k];
        for (ptrdiff_t k = 0; k < n; k++) {
            const double v = wide[k] * unit;
            square[k] = v * v;
            rest[k] = square[k] < INFINITY ? square_rest(v, square[k]) : 0;
        }
        doubles->sum(square, n, sum);
        if (is_double) doubles->sum(rest, n, sum); /* those of float32 have none */
        if ((i - begin) / LG_BLOCK % 64 == 63 && lg_stopped()) return;
    }
}

/* The norm, if the sum that was found in a unit can be told from others. */
static int finish(const lg_squares *found, const lg_sum *sum, double unit, int computed, lg_norm *norm) {
    double square;
    norm->scale = unit_for(found->max, computed);
    const double step = norm->scale / unit;
    const int sure = is_sure(found, sum, &square);
    if (sure) norm->root = sqrt(square * step * step);
    return sure;
}

/* What an element is multiplied by, one after the other, to be x grad / norm: while it is small by a power of 2, if
 * that is not inexact, and by one that may take it out of the range last. */
typedef struct {
    double first, second, last;
} norm_factors;
static norm_factors factors_of(const lg_norm *norm, double grad, int computed) {
    const double least = computed == LG_F64 ? DBL_MIN : (double)FLT_MIN;
    const int large = fabs(grad) > 1, is_tiny = large && norm->root < 0.25; /* else that is at least 1/2 */
    const double half = large ? grad / 2 : grad, up = is_tiny ? 0x1p60 : 1;
    norm_factors f = {large ? 2 * norm->scale : norm->scale, half / (norm->root * up), up};
    if (norm->root == 0) f = (norm_factors){1, grad == grad ? 0 : grad, 1};
    else if (norm->root == INFINITY || isinf(f.second)) f.first = 1; /* an infinite gradient: no element becomes 0 */
    else if (f.first < 1 && fabs(f.first * f.second) >= least) f = (norm_factors){f.first * f.second, 1, up};
    return f;
}

static void slopes(const lg_kernels *kernels, const lg_norm_job *job, const char *at, char *out, int computed,
                   const lg_norm *norm, double grad, ptrdiff_t begin, ptrdiff_t end) {
    _Alignas(64) char buffer[LG_BLOCK * 8], result[LG_BLOCK * 8];
    const norm_factors f = factors_of(norm, grad, computed);
    const int direct = job->out.stride[1] == lg_size(job->out.storage);
    for (ptrdiff_t i = begin; i < end; i += LG_BLOCK) {
        const ptrdiff_t n = end - i < LG_BLOCK ? end - i : LG_BLOCK;
        const void *x = block_of(kernels, &job->x, at + i * job->x.stride[1], n, computed, buffer);
        const lg_run here = {result, computed};
        const lg_run to = direct ? (lg_run){out + i * job->out.stride[1], job->out.storage} : here;
        kernels->scale(x, n, f.first, f.second, f.last == 1 ? &to : &here);
        if (f.last != 1) kernels->scale(result, n, f.last, 1, &to);
        if (!direct) kernels->store(out + i * job->out.stride[1], job->out.stride[1], n, job->out.storage, result);
    }
}

/* ---- whole rows ---- */

typedef struct {
    const lg_way *way;
    lg_norm_job job;
    double unit;    /* of a long row: what its elements are measured in, */
    lg_squares all; /* what its blocks gave */
    lg_sum sum;
    lg_norm norm; /* and, then, its norm */
} norm_call;

static void one_row(const norm_call *c, const lg_kernels *kernels, ptrdiff_t row) {
    const lg_norm_job *job = &c->job;
    const int computed = c->way->computed;
    const ptrdiff_t outer = job->inner == 1 ? row : row / job->inner, inner = row - outer * job->inner;
    const char *at = job->x.at + outer * job->x.stride[0] + inner * job->x.stride[2];
    lg_sum exact, *sum = job->n > block_size(&job->x, computed) ? &exact : NULL;
    double unit = 1;
    lg_norm norm;
    if (sum) lg_sum_clear(sum);
    lg_squares all = measure(kernels, job, at, computed, unit, 0, job->n, sum);
    if (is_far(all.max, computed)) {
        unit = unit_for(all.max, computed);
        if (sum) lg_sum_clear(sum);
        all = measure(kernels, job, at, computed, unit, 0, job->n, sum);
    }
    if (!finish(&all, sum, unit, computed, &norm)) {
        lg_sum_clear(&exact);
        add_squares(c->way, job, at, norm.scale, 0, job->n, &exact);
        norm.root = sqrt(lg_sum_value(&exact));
    }
    if (job->value) job->value[row] = norm.root / norm.scale;
    if (job->out.at)
        slopes(kernels, job, at, job->out.at + outer * job->out.stride[0] + inner * job->out.stride[2], computed, &norm,
               job->grad ? job->grad[row] : job->up, 0, job->n);
}

static void rows_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const norm_call *c = call;
    const lg_environment found = lg_enter();
    (void)total, (void)unused;
    for (ptrdiff_t row = begin, between = 1 + LG_LONG_ROW / (c->job.n + 1); row < end; row++) {
        if ((row - begin) % between == between - 1 && lg_stopped()) break;
        one_row(c, c->way->level->kernels[c->way->computed], row);
    }
    lg_leave(found);
}

/* ---- a long row, in parts ---- */

typedef struct {
    lg_sum sum;
    double max, slack;
} measured;

static void measure_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const norm_call *c = call;
    measured *to = total;
    const lg_environment found = lg_enter();
    (void)unused;
    const lg_squares part = measure(c->way->level->kernels[c->way->computed], &c->job, c->job.x.at, c->way->computed,
                                    c->unit, begin, end, &to->sum);
    to->slack += part.slack;
    if (part.max > to->max) to->max = part.max;
    lg_leave(found);
}

static void merge_measured(void *call, const void *total) {
    norm_call *c = call;
    const measured *part = total;
    lg_sum_merge(&c->sum, &part->sum);
    c->all.slack += part->slack;
    if (part->max > c->all.max) c->all.max = part->max;
}

static void slopes_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const norm_call *c = call;
    const lg_norm_job *job = &c->job;
    const lg_environment found = lg_enter();
    (void)total, (void)unused;
    slopes(c->way->level->kernels[c->way->computed], job, job->x.at, job->out.at, c->way->computed, &c->norm,
           job->grad ? *job->grad : job->up, begin, end);
    lg_leave(found);
}

static int measure_row(norm_call *c, double unit) {
    measured own = {.max = 0};
    const lg_work work = {measure_part, merge_measured, c, &own, sizeof own, 0, c->job.n, 1};
    c->unit = unit;
    c->all = (lg_squares){0, 0, 0, 0};
    lg_sum_clear(&c->sum);
    const int status = lg_share(&work, c->way->threads, c->way->look);
    merge_measured(c, &own);
    return status;
}

static void squares_part(void *call, void *total, void *unused, ptrdiff_t begin, ptrdiff_t end) {
    const norm_call *c = call;
    const lg_environment found = lg_enter();
    (void)unused;
    add_squares(c->way, &c->job, c->job.x.at, c->norm.scale, begin, end, total);
    lg_leave(found);
}

static void merge_squares(void *call, const void *total) { lg_sum_merge(&((norm_call *)call)->sum, total); }

static int exact_row(norm_call *c) {
    lg_sum own;
    const lg_work work = {squares_part, merge_squares, c, &own, sizeof own, 0, c->job.n, 4};
    lg_sum_clear(&own);
    lg_sum_clear(&c->sum);
    const int status = lg_share(&work, c->way->threads, c->way->look);
    lg_sum_merge(&c->sum, &own);
    c->norm.root = sqrt(lg_sum_value(&c->sum));
    return status;
}

static int long_row(norm_call *c) {
    const lg_way *way = c->way;
    int status = measure_row(c, 1);
    if (status == LG_DONE && is_far(c->all.max, way->computed))
        status = measure_row(c, unit_for(c->all.max, way->computed));
    if (status != LG_DONE) return status;
    const lg_environment found = lg_enter();
    if (!finish(&c->all, &c->sum, c->unit, way->computed, &c->norm)) status = exact_row(c);
    if (c->job.value) *c->job.value = c->norm.root / c->norm.scale;
    lg_leave(found);
    if (!c->job.out.at || status != LG_DONE) return status;
    const lg_work work = {slopes_part, NULL, c, NULL, 0, 0, c->job.n, 1};
    return lg_share(&work, way->threads, way->look);
}

int lg_norms(const lg_way *way, const lg_norm_job *job, ptrdiff_t rows) {
    norm_call call = {.way = way, .job = *job};
    if (job->n <= LG_LONG_ROW) {
        const lg_work work = {rows_part, NULL, &call, NULL, 0, 0, rows, job->n + LG_PER_ROW};
        return lg_share(&work, way->threads, way->look);
    }
    for (ptrdiff_t row = 0; row < rows; row++) {
        const ptrdiff_t outer = row / job->inner, inner = row % job->inner;
        call.job.x.at = job->x.at + outer * job->x.stride[0] + inner * job->x.stride[2];
        if (job->out.at) call.job.out.at = job->out.at + outer * job->out.stride[0] + inner * job->out.stride[2];
        if (job->value) call.job.value = job->value + row;
        if (job->grad) call.job.grad = job->grad + row;
        const int status = long_row(&call);
        if (status != LG_DONE) return status;
    }
    return LG_DONE;
}
