# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Typed-memoryview crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_arguments.py``); here the shapes are compared once
more, since C trusts them. Arrays come as grids: (outer, middle, inner), the class axis in the middle.
"""

import os

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from "lossgrad.h":
    enum: LG_F32_TYPE, LG_F64_TYPE
    enum: LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
    enum: LG_I8, LG_I16, LG_I32, LG_I64, LG_U8, LG_U16, LG_U32, LG_U64
    enum: LG_LOGSUMEXP, LG_SOFTMAX, LG_LOG_SOFTMAX, LG_CROSS_ENTROPY
    enum: LG_LOGSUMEXP_BACKWARD, LG_SOFTMAX_BACKWARD, LG_LOG_SOFTMAX_BACKWARD
    ctypedef struct lg_sum:
        pass
    void lg_sum_clear(lg_sum *) nogil
    void lg_sum_add(lg_sum *, double) nogil
    void lg_sum_merge(lg_sum *, const lg_sum *) nogil
    double lg_sum_value(lg_sum *) nogil
    ctypedef struct lg_view:
        char *at
        Py_ssize_t stride[3]
    ctypedef struct lg_map_job:
        int op, direction, inputs, outputs
        Py_ssize_t shape[3]
        lg_view inp "in"[5]
        lg_view out[2]
        lg_view weight
        const double *param
        lg_sum *sum
    ctypedef struct lg_rows_job:
        int what
        Py_ssize_t outer, classes, inner
        lg_view x, grad, row_grad, out, value, label, soft
        double *lse
        int lse_given
        int label_type
        int64_t ignore_index
        const void *weight
        double smoothing, scale
        lg_sum *sum
        void *scratch
    ctypedef struct lg_label_check:
        Py_ssize_t bad
        Py_ssize_t kept
    lg_label_check lg_check_labels(const lg_rows_job *, int, lg_sum *) nogil
    size_t lg_rows_scratch(Py_ssize_t, Py_ssize_t, size_t) nogil
    ctypedef struct lg_op:
        const char *name
        int inputs, parameters, is_loss
        double bound, derivative_bound
    ctypedef int (*lg_available)() noexcept nogil
    ctypedef struct lg_level:
        const char *name
        lg_available available
        const void *kernels[2]
    const lg_op *lg_ops
    int lg_op_count
    const lg_level *lg_levels
    int lg_level_count
    void lg_map(const lg_level *, int, const lg_map_job *) nogil
    void lg_rows(const lg_level *, int, const lg_rows_job *, Py_ssize_t, Py_ssize_t) nogil

ctypedef fused real:
    float
    double

ctypedef fused anything:
    float
    double
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t

FORWARD, BACKWARD, VALUE_AND_GRAD = LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
LOGSUMEXP, SOFTMAX, LOG_SOFTMAX = LG_LOGSUMEXP, LG_SOFTMAX, LG_LOG_SOFTMAX
LOGSUMEXP_BACKWARD = LG_LOGSUMEXP_BACKWARD
SOFTMAX_BACKWARD, LOG_SOFTMAX_BACKWARD = LG_SOFTMAX_BACKWARD, LG_LOG_SOFTMAX_BACKWARD

cdef const lg_level *active = NULL


def compiled_levels():
    """Names of the levels compiled in, slowest first."""
    return [lg_levels[k].name.decode() for k in range(lg_level_count)]


def available_levels():
    """Names of the levels that this machine can run, slowest first."""
    return [lg_levels[k].name.decode() for k in range(lg_level_count) if lg_levels[k].available()]


def level():
    """Name of the level in use."""
    return active.name.decode()


def set_level(name):
    """Use the level ``name``, the fastest available one if it is None."""
    global active
    cdef int k
    for k in reversed(range(lg_level_count)):
        if lg_levels[k].available() and (name is None or lg_levels[k].name.decode() == name):
            active = &lg_levels[k]
            return
    raise ValueError(
        f"LOSSGRAD_ISA={name!r} is {'not supported by this CPU' if name in compiled_levels() else 'unknown'}; "
        f"choose one of {', '.join(available_levels())}"
    )


def ops():
    """name -> (index, inputs, parameters, is_loss, bound, derivative_bound) of the C table."""
    return {
        lg_ops[k].name.decode(): (k, lg_ops[k].inputs, lg_ops[k].parameters, bool(lg_ops[k].is_loss),
                                  lg_ops[k].bound, lg_ops[k].derivative_bound)
        for k in range(lg_op_count)
    }


cdef class Sum:
    """An exact sum of doubles: the same number for any order and grouping of what is added."""

    cdef lg_sum state

    def __cinit__(self):
        lg_sum_clear(&self.state)

    def add(self, const double[:] values):
        """Add every element."""
        cdef Py_ssize_t k
        with nogil:
            for k in range(values.shape[0]):
                lg_sum_add(&self.state, values[k])

    def merge(self, Sum other not None):
        """Add what the other has summed."""
        lg_sum_merge(&self.state, &other.state)

    def value(self):
        """The sum, correctly rounded."""
        return lg_sum_value(&self.state)


# ---- arrays as the views that C walks; each returns what has to stay alive meanwhile ----


cdef object grid(object a, int axis, real *kind, lg_view *view, Py_ssize_t *shape):
    """a as (outer, classes, inner) with axis in the middle; shape is set if its first entry is -1."""
    cdef const real[:, :] two
    cdef const real[:, :, :] three
    cdef Py_ssize_t found[3]
    cdef Py_ssize_t outer = 1, inner = 1
    cdef int k, ndim = a.ndim
    if ndim == 2:
        two = a
        view.at = <char *> &two[0, 0] if two.shape[0] and two.shape[1] else NULL
        if axis == 1:
            found = [two.shape[0], two.shape[1], 1]
            view.stride = [two.strides[0], two.strides[1], 0]
        else:
            found = [1, two.shape[0], two.shape[1]]
            view.stride = [0, two.strides[0], two.strides[1]]
    else:
        if ndim != 3 or axis != 1:
            dims = a.shape
            for k in range(axis):
                outer *= dims[k]
            for k in range(axis + 1, ndim):
                inner *= dims[k]
            a = a.reshape(outer, dims[axis], inner)
        three = a
        found = [three.shape[0], three.shape[1], three.shape[2]]
        view.at = <char *> &three[0, 0, 0] if found[0] and found[1] and found[2] else NULL
        view.stride = [three.strides[0], three.strides[1], three.strides[2]]
    match(found, shape)
    return a


cdef int match(Py_ssize_t *found, Py_ssize_t *shape) except -1:
    cdef int k
    if shape[0] < 0:
        for k in range(3):
            shape[k] = found[k]
    for k in range(3):
        if found[k] != shape[k]:
            raise ValueError("operands have different shapes")
    return 0


cdef object row_grid(object a, anything *kind, lg_view *view, Py_ssize_t *shape):
    """One value a row, in row order, as (outer, inner)."""
    cdef const anything[:] one
    cdef const anything[:, :] two
    if a.ndim == 1 and shape[2] == 1:
        one = a
        if one.shape[0] != shape[0]:
            raise ValueError("operands have different shapes")
        view.at = <char *> &one[0] if shape[0] else NULL
        view.stride = [one.strides[0], 0, 0]
    else:
        a = a.reshape(shape[0], shape[2])
        two = a
        view.at = <char *> &two[0, 0] if shape[0] and shape[2] else NULL
        view.stride = [two.strides[0], 0, two.strides[1]]
    return a


cdef object label_grid(object labels, lg_rows_job *job, Py_ssize_t *shape):
    """Integer labels of any width, not copied."""
    kind = labels.dtype.str[1:]
    if kind == "i8":
        job.label_type = LG_I64
        return row_grid(labels, <int64_t *> NULL, &job.label, shape)
    if kind == "i4":
        job.label_type = LG_I32
        return row_grid(labels, <int32_t *> NULL, &job.label, shape)
    if kind == "u1":
        job.label_type = LG_U8
        return row_grid(labels, <uint8_t *> NULL, &job.label, shape)
    if kind == "i2":
        job.label_type = LG_I16
        return row_grid(labels, <int16_t *> NULL, &job.label, shape)
    if kind == "i1":
        job.label_type = LG_I8
        return row_grid(labels, <int8_t *> NULL, &job.label, shape)
    if kind == "u2":
        job.label_type = LG_U16
        return row_grid(labels, <uint16_t *> NULL, &job.label, shape)
    if kind == "u4":
        job.label_type = LG_U32
        return row_grid(labels, <uint32_t *> NULL, &job.label, shape)
    if kind == "u8":
        job.label_type = LG_U64
        return row_grid(labels, <uint64_t *> NULL, &job.label, shape)
    raise TypeError("labels are not integers")


# ---- elementwise ----


def elementwise(const real[:, :, :] grad, const real[:, :, :] a, const real[:, :, :] b, const real[:, :, :] c,
                const real[:, :, :] weight, real[:, :, :] out, real[:, :, :] out_grad, int op, int direction,
                tuple parameters, Sum total):
    """Any op: inputs a, b, c (None beyond its number), the values to out or total, gradients to out_grad."""
    cdef lg_map_job job
    cdef double param[4]
    cdef int k = 0, dtype = LG_F32_TYPE if real is float else LG_F64_TYPE
    job.shape = [a.shape[0], a.shape[1], a.shape[2]]
    if job.shape[0] == 0 or job.shape[1] == 0 or job.shape[2] == 0:
        return
    job.op, job.direction, job.inputs = op, direction, lg_ops[op].inputs
    if direction != LG_FORWARD:
        box(grad, job.shape, &job.inp[0])
        job.inputs += 1
        k = 1
    box(a, job.shape, &job.inp[k])
    if lg_ops[op].inputs > 1:
        box(b, job.shape, &job.inp[k + 1])
    if lg_ops[op].inputs > 2:
        box(c, job.shape, &job.inp[k + 2])
    job.weight.at = NULL
    if weight is not None:
        box(weight, job.shape, &job.weight)
    job.outputs = 2 if direction == LG_VALUE_AND_GRAD else 1
    job.sum = NULL
    if direction == LG_BACKWARD:
        box(out_grad, job.shape, &job.out[0])
    else:
        if total is not None:
            job.sum = &total.state
            job.out[0].at, job.out[0].stride = NULL, [0, 0, sizeof(real)]
        else:
            box(out, job.shape, &job.out[0])
        if direction == LG_VALUE_AND_GRAD:
            box(out_grad, job.shape, &job.out[1])
    for k in range(min(4, len(parameters))):
        param[k] = parameters[k]
    job.param = param
    with nogil:
        lg_map(active, dtype, &job)


cdef int box(const real[:, :, :] a, Py_ssize_t *shape, lg_view *view) except -1:
    cdef Py_ssize_t found[3]
    if a is None:
        raise ValueError("an operand is missing")
    found = [a.shape[0], a.shape[1], a.shape[2]]
    match(found, shape)
    view.at = <char *> &a[0, 0, 0]
    view.stride = [a.strides[0], a.strides[1], a.strides[2]]
    return 0


def unary(const real[::1] x, real[::1] out, int op):
    """An op of one input and no parameters, forward, over a contiguous array."""
    cdef lg_map_job job
    if out.shape[0] != x.shape[0]:
        raise ValueError("operands have different shapes")
    if x.shape[0] == 0:
        return
    job.op, job.direction, job.inputs, job.outputs = op, LG_FORWARD, 1, 1
    job.shape = [1, 1, x.shape[0]]
    job.inp[0].at, job.out[0].at = <char *> &x[0], <char *> &out[0]
    job.inp[0].stride, job.out[0].stride = [0, 0, sizeof(real)], [0, 0, sizeof(real)]
    job.weight.at, job.param, job.sum = NULL, NULL, NULL
    with nogil:
        lg_map(active, LG_F32_TYPE if real is float else LG_F64_TYPE, &job)


# ---- rows ----


cdef int clear(lg_rows_job *job, int what) except -1:
    memset(job, 0, sizeof(lg_rows_job))
    job.what, job.scale = what, 1.0
    return 0


cdef int run_rows(lg_rows_job *job, Py_ssize_t *shape, int dtype) except -1:
    cdef char small[16384]
    cdef void *memory = NULL
    cdef size_t size
    job.outer, job.classes, job.inner = shape[0], shape[1], shape[2]
    if shape[0] == 0 or shape[2] == 0:
        return 0
    size = lg_rows_scratch(shape[0] * shape[2], shape[1], 4 if dtype == LG_F32_TYPE else 8) + 64
    if size <= sizeof(small):
        job.scratch = small
    else:
        memory = job.scratch = malloc(size)
        if memory == NULL:
            raise MemoryError()
    job.scratch = <void *> ((<uintptr_t> job.scratch + 63) & ~<uintptr_t> 63)
    with nogil:
        lg_rows(active, dtype, job, 0, shape[0] * shape[2])
    free(memory)
    return 0


def softmax_like(x, int axis, grad, row_grad, out, value, real kind, int what):
    """The softmax family along axis; what is one of LOGSUMEXP, SOFTMAX, ... ."""
    cdef lg_rows_job job
    cdef Py_ssize_t shape[3]
    shape[0] = -1
    clear(&job, what)
    x = grid(x, axis, <real *> NULL, &job.x, shape)
    if grad is not None:
        grad = grid(grad, axis, <real *> NULL, &job.grad, shape)
    if row_grad is not None:
        row_grad = row_grid(row_grad, <real *> NULL, &job.row_grad, shape)
    if out is not None:
        out = grid(out, axis, <real *> NULL, &job.out, shape)
    if value is not None:
        value = row_grid(value, <real *> NULL, &job.value, shape)
    run_rows(&job, shape, LG_F32_TYPE if real is float else LG_F64_TYPE)


def cross_entropy(x, int axis, labels, soft, const real[::1] weight, int64_t ignore_index, double smoothing, row_grad,
                  double up, bint mean, out, value, double[::1] lse, bint lse_given, Sum total, real kind):
    """(first bad row or -1, sum of the kept rows' weights).

    Nothing is written if there is a bad row. Row losses go to value, their sum to total, gradients
    (times up and row_grad, over the weights if mean) to out; each may be None.
    """
    cdef lg_rows_job job
    cdef lg_label_check found
    cdef lg_sum weights
    cdef Py_ssize_t shape[3], n
    cdef int dtype = LG_F32_TYPE if real is float else LG_F64_TYPE
    cdef double divisor
    shape[0] = -1
    clear(&job, LG_CROSS_ENTROPY)
    x = grid(x, axis, <real *> NULL, &job.x, shape)
    job.outer, job.classes, job.inner = shape[0], shape[1], shape[2]
    job.ignore_index, job.smoothing = ignore_index, smoothing
    if weight is not None:
        if weight.shape[0] != shape[1]:
            raise ValueError("weight has the wrong length")
        job.weight = &weight[0]
    n = shape[0] * shape[2]
    divisor = n
    if soft is not None:
        soft = grid(soft, axis, <real *> NULL, &job.soft, shape)
    else:
        labels = label_grid(labels, &job, shape)
        if weight is not None:
            lg_sum_clear(&weights)
        with nogil:
            found = lg_check_labels(&job, dtype, &weights)
        if found.bad >= 0:
            return found.bad, 0.0
        divisor = found.kept if weight is None else lg_sum_value(&weights)
    job.scale = up / divisor if mean else up
    if lse is not None:
        if lse.shape[0] != n:
            raise ValueError("lse has the wrong size")
        job.lse = &lse[0] if n else NULL
        job.lse_given = lse_given
    if row_grad is not None:
        row_grad = row_grid(row_grad, <real *> NULL, &job.row_grad, shape)
    if out is not None:
        out = grid(out, axis, <real *> NULL, &job.out, shape)
    if value is not None:
        value = row_grid(value, <real *> NULL, &job.value, shape)
    if total is not None:
        job.sum = &total.state
    run_rows(&job, shape, dtype)
    return -1, divisor


# One specialisation for each dtype, by the dtype's character: choosing it costs a dictionary look-up.
UNARY = {"f": unary["float"], "d": unary["double"]}
ELEMENTWISE = {"f": elementwise["float"], "d": elementwise["double"]}
SOFTMAX_LIKE = {"f": softmax_like["float"], "d": softmax_like["double"]}
CROSS_ENTROPY = {"f": cross_entropy["float"], "d": cross_entropy["double"]}

set_level(os.environ.get("LOSSGRAD_ISA") or None)
