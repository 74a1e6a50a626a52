/* The Euclidean norm of rows of any layout, and its gradient. A row's norm is root / scale: the scale is a power of
 * 2 that brings the largest element near 1. The sum under the root is correctly rounded, so that no order matters:
 * from blocks of sums that are exact or nearly so (squares.h) if what they may lack cannot change it, else from
 * exact sums of all squares. */
#include "lossgrad.h"
#include "environment.h"
#include <math.h>
#include <string.h>

/* Squares of float64 are ordinary numbers below it and above its inverse. */
#define FAR 0x1p400

static const void *block_of(const lg_kernels *kernels, const lg_view *x, const char *at, ptrdiff_t n, int computed,
                            void *buffer) {
    if (x->storage == computed && x->stride[1] == lg_size(computed)) return at;
    kernels->load(at, x->stride[1], n, x->storage, buffer);
    return buffer;
}

static lg_squares measure(const lg_kernels *kernels, const lg_norm_job *job, const char *at, int computed, double unit,
                          ptrdiff_t begin, ptrdiff_t end, lg_sum *sum) {
    _Alignas(64) char buffer[LG_BLOCK * 8];
    lg_squares all = {0, 0, 0, 0};
    for (ptrdiff_t i = begin; i < end; i += LG_BLOCK) {
        const ptrdiff_t n = end - i < LG_BLOCK ? end - i : LG_BLOCK;
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

double lg_norm_unit(double max, int computed) {
    uint64_t bits;
    double unit;
    if (!(max > 0 && max < INFINITY)) return 1;
    memcpy(&bits, &max, sizeof bits);
    const int least = computed == LG_F64 ? 1 : 1023 - 126, exponent = 2045 - (int)(bits >> 52);
    bits = (uint64_t)(exponent < least ? least : exponent > 2046 - least ? 2046 - least : exponent) << 52;
    memcpy(&unit, &bits, sizeof unit);
    return unit;
}

int lg_norm_is_far(double max, int computed) {
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

static double exact_sum(const lg_kernels *kernels, const lg_norm_job *job, const char *at, int computed, double unit) {
    lg_sum sum;
    lg_sum_clear(&sum);
    for (ptrdiff_t i = 0; i < job->n; i++) {
        double wide;
        float narrow;
        kernels->load(at + i * job->x.stride[1], 0, 1, job->x.storage, computed == LG_F64 ? (void *)&wide : &narrow);
        const double v = (computed == LG_F64 ? wide : (double)narrow) * unit, square = v * v;
        lg_sum_add(&sum, square);
        if (square < INFINITY) lg_sum_add(&sum, square_rest(v, square));
    }
    return lg_sum_value(&sum);
}

static void finish(const lg_kernels *kernels, const lg_norm_job *job, const char *at, int computed, double unit,
                   const lg_squares *found, const lg_sum *sum, lg_norm *norm) {
    double square;
    norm->scale = lg_norm_unit(found->max, computed);
    const double step = norm->scale / unit;
    if (is_sure(found, sum, &square)) square = square * step * step;
    else square = exact_sum(kernels, job, at, computed, norm->scale);
    norm->root = sqrt(square);
}

static void slopes(const lg_kernels *kernels, const lg_norm_job *job, const char *at, char *out, int computed,
                   const lg_norm *norm, double grad, ptrdiff_t begin, ptrdiff_t end) {
    _Alignas(64) char buffer[LG_BLOCK * 8], result[LG_BLOCK * 8];
    const double factor = norm->root == 0 ? 0 : grad / norm->root;
    const int direct = job->out.storage == computed && job->out.stride[1] == lg_size(computed);
    for (ptrdiff_t i = begin; i < end; i += LG_BLOCK) {
        const ptrdiff_t n = end - i < LG_BLOCK ? end - i : LG_BLOCK;
        const void *x = block_of(kernels, &job->x, at + i * job->x.stride[1], n, computed, buffer);
        char *to = out + i * job->out.stride[1];
        kernels->scale(x, n, norm->scale, factor, direct ? to : result);
        if (!direct) kernels->store(to, job->out.stride[1], n, job->out.storage, result);
    }
}

void lg_norm_rows(const lg_level *level, int computed, const lg_norm_job *job, ptrdiff_t begin, ptrdiff_t end) {
    const lg_environment found = lg_enter();
    const lg_kernels *kernels = level->kernels[computed];
    lg_sum exact, *sum = job->n > LG_BLOCK ? &exact : NULL;
    for (ptrdiff_t row = begin; row < end; row++) {
        const ptrdiff_t outer = job->inner == 1 ? row : row / job->inner, inner = row - outer * job->inner;
        const char *at = job->x.at + outer * job->x.stride[0] + inner * job->x.stride[2];
        double unit = 1;
        lg_norm norm;
        if (sum) lg_sum_clear(sum);
        lg_squares all = measure(kernels, job, at, computed, unit, 0, job->n, sum);
        if (lg_norm_is_far(all.max, computed)) {
            unit = lg_norm_unit(all.max, computed);
            if (sum) lg_sum_clear(sum);
            all = measure(kernels, job, at, computed, unit, 0, job->n, sum);
        }
        finish(kernels, job, at, computed, unit, &all, sum, &norm);
        if (job->value) job->value[row] = norm.root / norm.scale;
        if (!job->out.at) continue;
        slopes(kernels, job, at, job->out.at + outer * job->out.stride[0] + inner * job->out.stride[2], computed, &norm,
               job->grad ? job->grad[row] : job->up, 0, job->n);
    }
    lg_leave(found);
}

lg_squares lg_norm_measure(const lg_level *level, int computed, const lg_norm_job *job, double unit, ptrdiff_t begin,
                           ptrdiff_t end, lg_sum *sum) {
    const lg_environment found = lg_enter();
    const lg_squares all = measure(level->kernels[computed], job, job->x.at, computed, unit, begin, end, sum);
    lg_leave(found);
    return all;
}
lg_norm lg_norm_finish(const lg_level *level, int computed, const lg_norm_job *job, double unit,
                       const lg_squares *all, const lg_sum *sum) {
    const lg_environment found = lg_enter();
    lg_norm norm;
    finish(level->kernels[computed], job, job->x.at, computed, unit, all, sum, &norm);
    if (job->value) *job->value = norm.root / norm.scale;
    lg_leave(found);
    return norm;
}
void lg_norm_slopes(const lg_level *level, int computed, const lg_norm_job *job, const lg_norm *norm, ptrdiff_t begin,
                    ptrdiff_t end) {
    const lg_environment found = lg_enter();
    slopes(level->kernels[computed], job, job->x.at, job->out.at, computed, norm, job->grad ? *job->grad : job->up,
           begin, end);
    lg_leave(found);
}
