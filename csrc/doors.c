/* What lossgrad.h offers to others: their calls are checked, for C trusts jobs, and made jobs. */
#include "environment.h"
#include "kernels.h"
#include "pool.h"
#include <string.h>
#define LG_TABLE_ONLY
#include "ops.h"

#define ONE(...) +1
enum { OPS = 0 LG_OPS(ONE) };

const lg_level *lg_active;

static const char *level(void) { return lg_active->name; }

static int op_of(const char *name) {
    for (int k = 0; k < OPS; k++)
        if (!strcmp(lg_ops[k].name, name)) return k;
    return -1;
}

/* Without a look at signals, which only Python's own thread may take, a job is done or has not begun. */
static lg_way way_of(int storage, int threads) {
    return (lg_way){lg_active, lg_computed(storage), threads > 1 ? threads : 1, NULL};
}

static ptrdiff_t answer(int status) { return status == LG_DONE ? 0 : LG_OUT_OF_MEMORY; }

static int is_storage(int storage) { return 0 <= storage && storage < LG_STORAGES; }
static int is_direction(int direction) { return 0 <= direction && direction < LG_DIRECTIONS; }

/* An operand that is given, and stored so. */
static int is_stored(const lg_view *view, int storage) { return view->at && view->storage == storage; }
static int fits(const lg_view *view, int storage) { return !view->at || view->storage == storage; }

static int is_shape(const ptrdiff_t *shape) { return shape[0] >= 0 && shape[1] >= 0 && shape[2] >= 0; }
static int is_empty(const ptrdiff_t *shape) { return !shape[0] || !shape[1] || !shape[2]; }

/* ---- elements ---- */

enum { PARAMETERS = 4 }; /* that a kernel reads, whatever its op has */

static const double *take_parameters(int op, const double *from, double *to) {
    for (int k = 0; k < PARAMETERS; k++) to[k] = k < lg_ops[op].parameters ? from[k] : 0;
    return to;
}

/* One number for all that is not given. */
static lg_view or_one(lg_view view, int computed) {
    static const float one32 = 1;
    static const double one64 = 1;
    if (view.at) return view;
    return (lg_view){(char *)(computed == LG_F64 ? (const void *)&one64 : &one32), {0, 0, 0}, computed};
}

static int takes_elements(const lg_elements *call) {
    if (call->op < 0 || call->op >= OPS || !is_direction(call->direction) || !is_shape(call->shape)) return 0;
    const lg_op *op = &lg_ops[call->op];
    const int storage = call->in[0].storage;
    int good = is_storage(storage) && (call->param || !op->parameters) && fits(&call->grad, storage);
    good &= op->is_loss || call->direction != LG_VALUE_AND_GRAD;
    good &= op->hessian_bound > 0 || lg_slopes(call->direction) < 2;
    for (int k = 1; k < op->inputs; k++) good &= fits(&call->in[k], storage);
    if (is_empty(call->shape)) return good;
    good &= call->in[0].at != NULL;
    if (lg_gives_value(call->direction)) good &= is_stored(&call->value, storage);
    if (lg_slopes(call->direction) > 0) good &= is_stored(&call->slope, storage);
    if (lg_slopes(call->direction) > 1) good &= is_stored(&call->hessian, storage);
    return good;
}

static ptrdiff_t elements(const lg_elements *call) {
    if (!takes_elements(call)) return LG_REFUSED;
    const int storage = call->in[0].storage, inputs = lg_ops[call->op].inputs;
    const lg_way way = way_of(storage, call->threads);
    lg_map_job job;
    memset(&job, 0, sizeof job);
    double param[PARAMETERS];
    job.op = call->op, job.direction = call->direction, job.param = take_parameters(call->op, call->param, param);
    memcpy(job.shape, call->shape, sizeof job.shape);
    if (call->direction != LG_FORWARD) job.in[job.inputs++] = or_one(call->grad, way.computed);
    for (int k = 0; k < inputs; k++) job.in[job.inputs++] = or_one(call->in[k], way.computed);
    if (lg_gives_value(call->direction)) job.out[job.outputs++] = call->value;
    if (lg_slopes(call->direction) > 0) job.out[job.outputs++] = call->slope;
    if (lg_slopes(call->direction) > 1) job.out[job.outputs++] = call->hessian;
    return answer(lg_map(&way, &job));
}

static lg_view run_view(const void *at, int storage) {
    return (lg_view){(char *)at, {0, 0, lg_size(storage)}, storage};
}

/* A short run of which all is given needs no job. Whether it was one, and is done. */
static int short_run(int op, int direction, int storage, ptrdiff_t n, const void *const *given, void *to,
                     const double *param) {
    if (n < 0 || n > LG_BLOCK || !is_storage(storage) || op < 0 || op >= OPS) return 0;
    if ((direction != LG_FORWARD && direction != LG_BACKWARD) || !to || (lg_ops[op].parameters && !param)) return 0;
    const int backward = direction == LG_BACKWARD, inputs = lg_ops[op].inputs;
    if (inputs > 2) return 0;
    lg_run in[3];
    const lg_run out = {to, storage};
    for (int k = !backward; k <= inputs; k++) {
        if (!given[k]) return 0;
        in[k] = (lg_run){(char *)given[k], storage};
    }
    double own[PARAMETERS];
    const lg_kernels *kernels = lg_active->kernels[lg_computed(storage)];
    const lg_environment found = lg_enter();
    kernels->map(op, direction, in + !backward, &out, n, take_parameters(op, param, own), 0, NULL);
    lg_leave(found);
    return 1;
}

static ptrdiff_t run(int op, int direction, int storage, ptrdiff_t n, const void *grad, const void *x,
                     const void *second, void *value, void *slope, const double *param, int threads) {
    const void *in[] = {grad, x, second};
    if (short_run(op, direction, storage, n, in, direction == LG_BACKWARD ? slope : value, param)) return 0;
    lg_elements call;
    memset(&call, 0, sizeof call);
    call.op = op, call.direction = direction, call.threads = threads, call.param = param;
    call.shape[0] = call.shape[1] = 1, call.shape[2] = n;
    call.grad = run_view(grad, storage);
    call.in[0] = run_view(x, storage), call.in[1] = run_view(second, storage);
    call.in[2].storage = storage;
    call.value = run_view(value, storage), call.slope = run_view(slope, storage);
    return elements(&call);
}

/* ---- rows ---- */

/* Of each call: forward and backward, and whether it is the loss of a label. */
static const struct {
    int direction[2], is_loss;
} ROW_CALLS[LG_ROW_CALLS] = {
    [LG_ROWS_LOGSUMEXP] = {{LG_LOGSUMEXP, LG_LOGSUMEXP_BACKWARD}, 0},
    [LG_ROWS_SOFTMAX] = {{LG_SOFTMAX, LG_SOFTMAX_BACKWARD}, 0},
    [LG_ROWS_LOG_SOFTMAX] = {{LG_LOG_SOFTMAX, LG_LOG_SOFTMAX_BACKWARD}, 0},
    [LG_ROWS_CROSS_ENTROPY] = {{LG_CROSS_ENTROPY, LG_CROSS_ENTROPY}, 1},
    [LG_ROWS_NLL_LOSS] = {{LG_NLL_LOSS, LG_NLL_LOSS}, 1},
};
static int is_loss(const lg_rows_of *call) { return ROW_CALLS[call->what].is_loss; }
/* Whether values are one a row, and so is what comes in backward. */
static int by_row(const lg_rows_of *call) { return call->what == LG_ROWS_LOGSUMEXP || is_loss(call); }

static int takes_rows(const lg_rows_of *call) {
    if (call->what < 0 || call->what >= LG_ROW_CALLS || !is_direction(call->direction)) return 0;
    if (lg_slopes(call->direction) > 1) return 0;
    const int storage = call->x.storage, fused = call->direction == LG_VALUE_AND_GRAD;
    int good = is_shape(call->shape) && is_storage(storage) && fits(&call->grad, storage) && (!fused || is_loss(call));
    if (!call->shape[0] || !call->shape[2]) return good;
    const int values = call->direction != LG_BACKWARD && by_row(call);
    good &= call->shape[1] > 0 && call->x.at;
    if (values) good &= is_stored(&call->value, storage);
    if (call->direction != LG_FORWARD || !values) good &= is_stored(&call->out, storage);
    if (call->direction != LG_FORWARD) good &= by_row(call) || call->grad.at;
    if (is_loss(call)) good &= call->label.at && 0 <= call->label.storage && call->label.storage < LG_LABEL_TYPES;
    return good;
}

static lg_rows_job rows_job(const lg_rows_of *call, int *strange) {
    const int backward = call->direction != LG_FORWARD;
    lg_rows_job job;
    memset(&job, 0, sizeof job);
    job.what = ROW_CALLS[call->what].direction[backward];
    job.outer = call->shape[0], job.classes = call->shape[1], job.inner = call->shape[2];
    job.x = call->x;
    job.scale = is_loss(call) ? call->scale : 1, job.over = 1, job.strange = strange;
    if (backward && by_row(call)) job.row_grad = call->grad;
    if (backward && !by_row(call)) job.grad = call->grad;
    if (call->direction != LG_BACKWARD && by_row(call)) job.value = call->value;
    if (backward || !by_row(call)) job.out = call->out;
    if (is_loss(call))
        job.label = call->label, job.label_type = call->label.storage, job.ignore_index = call->ignore_index;
    return job;
}

static ptrdiff_t rows(const lg_rows_of *call) {
    if (!takes_rows(call)) return LG_REFUSED;
    if (!call->shape[0] || !call->shape[2]) return 0;
    int strange = 0;
    const lg_way way = way_of(call->x.storage, call->threads);
    const lg_rows_job job = rows_job(call, &strange);
    lg_label_check check;
    if (is_loss(call)) {
        if (lg_check_labels(&way, &job, &check) != LG_DONE) return LG_OUT_OF_MEMORY;
        if (check.bad) return check.bad;
    }
    const ptrdiff_t done = answer(lg_rows(&way, &job));
    return strange ? LG_CHANGED : done;
}

/* Rows in C order, and what has one element each. */
static lg_view row_view(const void *at, int storage, ptrdiff_t classes, ptrdiff_t size) {
    return (lg_view){(char *)at, {classes * size, size, size}, storage};
}
static lg_view one_a_row(const void *at, int storage, ptrdiff_t size) {
    return (lg_view){(char *)at, {size, 0, size}, storage};
}

static ptrdiff_t run_rows(int what, int direction, int storage, ptrdiff_t count, ptrdiff_t classes, const void *grad,
                          const void *x, const int64_t *label, int64_t ignore_index, double scale, void *value,
                          void *out, int threads) {
    const ptrdiff_t size = lg_size(storage);
    lg_rows_of call;
    memset(&call, 0, sizeof call);
    call.what = what, call.direction = direction, call.threads = threads;
    call.shape[0] = count, call.shape[1] = classes, call.shape[2] = 1;
    call.x = row_view(x, storage, classes, size), call.out = row_view(out, storage, classes, size);
    call.value = one_a_row(value, storage, size);
    const int entries = what == LG_ROWS_SOFTMAX || what == LG_ROWS_LOG_SOFTMAX;
    call.grad = entries ? row_view(grad, storage, classes, size) : one_a_row(grad, storage, size);
    call.label = one_a_row(label, LG_I64, sizeof *label);
    call.ignore_index = ignore_index, call.scale = scale;
    return rows(&call);
}

const lg_api lg_doors = {
    .abi = LG_ABI,
    .ops = OPS,
    .table = lg_ops,
    .op = op_of,
    .level = level,
    .elements = elements,
    .rows = rows,
    .run = run,
    .run_rows = run_rows,
};
