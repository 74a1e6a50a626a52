/* The doors of lossgrad.h as foreign functions of XLA, for lossgrad.jax: operands are buffers in C order. A leading
 * axis that vmap adds is one more axis of elements, or of rows. */
#include "xla.h"
#include "kernels.h"
#include <stdio.h>
#include <string.h>

/* ---- what a call holds ---- */

static xla_error *error(const xla_call *call, const char *message) {
    xla_error_arguments arguments = {sizeof arguments, NULL, message, XLA_INVALID_ARGUMENT};
    return call->api->create_error(&arguments);
}

/* XLA asks for the version once, and calls at several stages; whether this is the call itself. */
static int is_execution(const xla_call *call) {
    if (call->extension && call->extension->type == XLA_METADATA) {
        xla_metadata *metadata = ((xla_metadata_extension *)call->extension)->metadata;
        metadata->version.major = 0;
        metadata->version.minor = 1;
        metadata->traits = 0;
        return 0;
    }
    return call->stage == XLA_EXECUTE;
}

/* Attributes come in the order of their names. */
static int64_t whole(const xla_call *call, int k) {
    return *(const int64_t *)((xla_scalar *)call->attributes.at[k])->value;
}
static const double *numbers(const xla_call *call, int k) { return ((xla_array *)call->attributes.at[k])->data; }

static int storage_of(const xla_buffer *b) {
    switch (b->dtype) {
    case XLA_F32: return LG_F32;
    case XLA_F64: return LG_F64;
    case XLA_F16: return LG_F16;
    case XLA_BF16: return LG_BF16;
    default: return -1; /* which the doors refuse */
    }
}

static ptrdiff_t count(const xla_buffer *b) {
    ptrdiff_t n = 1;
    for (int64_t k = 0; k < b->rank; k++) n *= b->dims[k];
    return n;
}

/* ---- elements ---- */

static int view_elements(const xla_buffer *b, ptrdiff_t n, lg_view *view) {
    *view = (lg_view){b->data, {0, 0, lg_size(storage_of(b))}, storage_of(b)};
    return count(b) == n;
}

/* Attributes: direction, op, param, threads. Operands: backward the incoming gradient, then the op's inputs. */
xla_error *lg_xla_elements(xla_call *call) {
    if (!is_execution(call)) return NULL;
    lg_elements made;
    memset(&made, 0, sizeof made);
    made.direction = (int)whole(call, 0), made.op = (int)whole(call, 1);
    made.param = numbers(call, 2), made.threads = (int)whole(call, 3);
    const xla_operands *in = &call->arguments, *out = &call->results;
    const int backward = made.direction == LG_BACKWARD;
    const ptrdiff_t n = count(in->at[backward]);
    made.shape[0] = made.shape[1] = 1, made.shape[2] = n;
    int good = view_elements(out->at[0], n, backward ? &made.slope : &made.value);
    if (backward) good &= view_elements(in->at[0], n, &made.grad);
    for (int64_t k = backward; k < in->size; k++) good &= view_elements(in->at[k], n, &made.in[k - backward]);
    const ptrdiff_t status = good ? lg_doors.elements(&made) : LG_REFUSED;
    return status ? error(call, "lossgrad: operands of different shapes, or no memory") : NULL;
}

/* ---- rows ---- */

static int view_rows(const xla_buffer *b, ptrdiff_t rows, ptrdiff_t classes, lg_view *view) {
    const ptrdiff_t size = lg_size(storage_of(b));
    *view = (lg_view){b->data, {classes * size, size, 0}, storage_of(b)};
    return count(b) == rows * classes;
}

static int view_labels(const xla_buffer *b, ptrdiff_t rows, lg_view *view) {
    static const ptrdiff_t SIZES[] = {1, 2, 4, 8};
    const int type = b->dtype - XLA_S8;
    if (type < 0 || b->dtype > XLA_U64 || count(b) != rows) return 0;
    *view = (lg_view){b->data, {SIZES[type % 4], 0, 0}, type};
    return 1;
}

static int64_t label_at(const lg_view *label, ptrdiff_t row) {
    lg_rows_job job;
    int64_t value;
    memset(&job, 0, sizeof job);
    job.label = *label, job.label_type = label->storage, job.inner = 1;
    lg_read_labels(&job, row, 1, &value);
    return value;
}

static xla_error *rows_error(const xla_call *call, const lg_rows_of *made, ptrdiff_t status) {
    char message[160];
    if (status < 0) return error(call, "lossgrad: operands of different shapes, rows without classes, or no memory");
    snprintf(message, sizeof message, "label %lld in row %lld is outside [0, %lld)",
             (long long)label_at(&made->label, status - 1), (long long)(status - 1), (long long)made->shape[1]);
    return error(call, message);
}

/* Attributes: direction, ignore_index, threads, what. Operands: backward the incoming gradient, then the logits and, of a
 * loss, the labels. */
xla_error *lg_xla_rows(xla_call *call) {
    if (!is_execution(call)) return NULL;
    lg_rows_of made;
    memset(&made, 0, sizeof made);
    made.direction = (int)whole(call, 0), made.ignore_index = whole(call, 1);
    made.threads = (int)whole(call, 2), made.what = (int)whole(call, 3), made.scale = 1;
    const xla_operands *in = &call->arguments, *out = &call->results;
    const int backward = made.direction == LG_BACKWARD;
    const xla_buffer *x = in->at[backward];
    const ptrdiff_t classes = x->rank ? x->dims[x->rank - 1] : 0, rows = classes ? count(x) / classes : 0;
    const int entries = made.what == LG_ROWS_SOFTMAX || made.what == LG_ROWS_LOG_SOFTMAX;
    const ptrdiff_t width = entries ? classes : 1;
    made.shape[0] = rows, made.shape[1] = classes, made.shape[2] = 1;
    int good = view_rows(x, rows, classes, &made.x);
    if (backward) good &= view_rows(in->at[0], rows, width, &made.grad);
    if (in->size > backward + 1) good &= view_labels(in->at[backward + 1], rows, &made.label);
    const int to_entries = entries || backward;
    good &= view_rows(out->at[0], rows, to_entries ? classes : 1, to_entries ? &made.out : &made.value);
    const ptrdiff_t status = good ? lg_doors.rows(&made) : LG_REFUSED;
    return status ? rows_error(call, &made, status) : NULL;
}
