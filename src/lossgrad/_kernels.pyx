# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Typed-memoryview crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_arguments.py``); here the shapes are compared once
more, since C trusts them. Arrays come as grids: (outer, middle, inner), the class axis in the middle.
"""

import os

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc

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
        int64_t value
        Py_ssize_t kept
    lg_label_check lg_check_labels(const lg_rows_job *, Py_ssize_t, Py_ssize_t, const double *, lg_sum *) nogil
    size_t lg_rows_scratch(Py_ssize_t, size_t) nogil
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

ctypedef fused integral:
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
CROSS_ENTROPY = LG_CROSS_ENTROPY
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


cdef class Labels:
    """Integer labels of any width, as a grid of rows: where they lie and of which type they are."""

    cdef lg_view view
    cdef int type
    cdef Py_ssize_t outer, inner
    cdef object owner

    def check(self, Py_ssize_t classes, int64_t ignore_index, const double[::1] weight, Sum total):
        """(index of the first row with a bad label or -1, number of rows kept).

        With weight, the weights of the kept rows' labels are added to total.
        """
        cdef lg_rows_job job
        cdef lg_label_check found
        cdef lg_sum *sum = NULL
        cdef const double *w = NULL
        if weight is not None:
            if weight.shape[0] != classes:
                raise ValueError("weight has the wrong length")
            w = &weight[0]
            sum = &total.state
        job.label, job.label_type, job.ignore_index = self.view, self.type, ignore_index
        job.classes, job.outer, job.inner = classes, self.outer, self.inner
        with nogil:
            found = lg_check_labels(&job, 0, self.outer * self.inner, w, sum)
        return found.bad, found.kept


def labels(const integral[:, :] targets):
    """Labels over an (outer, inner) array, not copied."""
    cdef Labels result = Labels.__new__(Labels)
    result.owner = targets.base
    result.view.at = <char *> &targets[0, 0] if targets.shape[0] and targets.shape[1] else NULL
    result.view.stride = [targets.strides[0], 0, targets.strides[1]]
    result.outer, result.inner = targets.shape[0], targets.shape[1]
    if integral is int8_t:
        result.type = LG_I8
    elif integral is int16_t:
        result.type = LG_I16
    elif integral is int32_t:
        result.type = LG_I32
    elif integral is int64_t:
        result.type = LG_I64
    elif integral is uint8_t:
        result.type = LG_U8
    elif integral is uint16_t:
        result.type = LG_U16
    elif integral is uint32_t:
        result.type = LG_U32
    else:
        result.type = LG_U64
    return result


cdef inline int grid_view(const real[:, :, :] a, Py_ssize_t *shape, lg_view *view) except -1:
    """a as a view of the given shape; NULL if it is None."""
    if a is None:
        view.at = NULL
        return 0
    if a.shape[0] != shape[0] or a.shape[1] != shape[1] or a.shape[2] != shape[2]:
        raise ValueError("operands have different shapes")
    view.at = <char *> &a[0, 0, 0]
    view.stride = [a.strides[0], a.strides[1], a.strides[2]]
    return 0


cdef inline int row_view(const real[:, :] a, Py_ssize_t outer, Py_ssize_t inner, lg_view *view) except -1:
    if a is None:
        view.at = NULL
        return 0
    if a.shape[0] != outer or a.shape[1] != inner:
        raise ValueError("operands have different shapes")
    view.at = <char *> &a[0, 0]
    view.stride = [a.strides[0], 0, a.strides[1]]
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


def elementwise(const real[:, :, :] grad, const real[:, :, :] a, const real[:, :, :] b, const real[:, :, :] c,
                const real[:, :, :] weight, real[:, :, :] out, real[:, :, :] out_grad, int op, int direction,
                tuple parameters, Sum total):
    """Any op: inputs a, b, c (None beyond its number), the values to out or total, gradients to out_grad."""
    cdef lg_map_job job
    cdef double param[4]
    cdef int k = 0, dtype = LG_F32_TYPE if real is float else LG_F64_TYPE
    cdef lg_view unused
    job.shape = [a.shape[0], a.shape[1], a.shape[2]]
    if job.shape[0] == 0 or job.shape[1] == 0 or job.shape[2] == 0:
        return
    job.op, job.direction, job.inputs = op, direction, lg_ops[op].inputs
    if direction != LG_FORWARD:
        grid_view(grad, job.shape, &job.inp[0])
        job.inputs += 1
        k = 1
    grid_view(a, job.shape, &job.inp[k])
    if lg_ops[op].inputs > 1:
        grid_view(b, job.shape, &job.inp[k + 1])
    if lg_ops[op].inputs > 2:
        grid_view(c, job.shape, &job.inp[k + 2])
    grid_view(weight, job.shape, &job.weight)
    job.outputs = 2 if direction == LG_VALUE_AND_GRAD else 1
    job.sum = NULL
    if direction == LG_BACKWARD:
        grid_view(out_grad, job.shape, &job.out[0])
    else:
        if total is not None:
            job.sum = &total.state
            job.out[0].stride[2] = sizeof(real)
        else:
            grid_view(out, job.shape, &job.out[0])
        grid_view(out_grad, job.shape, &job.out[1])
    for k in range(min(4, len(parameters))):
        param[k] = parameters[k]
    job.param = param
    with nogil:
        lg_map(active, dtype, &job)


def rows(const real[:, :, :] x, const real[:, :, :] grad, const real[:, :] row_grad, real[:, :, :] out,
         real[:, :] value, double[::1] lse, bint lse_given, Labels label, int64_t ignore_index,
         const real[:, :, :] soft, const real[::1] weight, double smoothing, double scale, Sum total, int what):
    """The softmax family over the middle axis; what is one of LOGSUMEXP, SOFTMAX, ... ."""
    cdef lg_rows_job job
    cdef Py_ssize_t shape[3]
    cdef int dtype = LG_F32_TYPE if real is float else LG_F64_TYPE
    cdef void *memory
    shape[:] = [x.shape[0], x.shape[1], x.shape[2]]
    if shape[0] == 0 or shape[1] == 0 or shape[2] == 0:
        return
    job.what, job.outer, job.classes, job.inner = what, shape[0], shape[1], shape[2]
    grid_view(x, shape, &job.x)
    grid_view(grad, shape, &job.grad)
    grid_view(out, shape, &job.out)
    grid_view(soft, shape, &job.soft)
    row_view(row_grad, shape[0], shape[2], &job.row_grad)
    row_view(value, shape[0], shape[2], &job.value)
    job.lse, job.lse_given = NULL, lse_given and lse is not None
    if lse is not None:
        if lse.shape[0] != shape[0] * shape[2]:
            raise ValueError("lse has the wrong size")
        job.lse = &lse[0]
    job.label.at, job.ignore_index = NULL, ignore_index
    if label is not None:
        if label.outer != shape[0] or label.inner != shape[2]:
            raise ValueError("labels have the wrong shape")
        job.label, job.label_type = label.view, label.type
    job.weight = NULL
    if weight is not None:
        if weight.shape[0] != shape[1]:
            raise ValueError("weight has the wrong length")
        job.weight = &weight[0]
    job.smoothing, job.scale = smoothing, scale
    job.sum = NULL if total is None else &total.state
    memory = malloc(lg_rows_scratch(shape[1], sizeof(real)) + 64)
    if memory == NULL:
        raise MemoryError()
    job.scratch = <void *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
    with nogil:
        lg_rows(active, dtype, &job, 0, shape[0] * shape[2])
    free(memory)


# One specialisation for each dtype, by the dtype's character: choosing it costs a dictionary look-up.
UNARY = {"f": unary["float"], "d": unary["double"]}
ELEMENTWISE = {"f": elementwise["float"], "d": elementwise["double"]}
ROWS = {"f": rows["float"], "d": rows["double"]}
LABELS = {  # by dtype.str without the byte order
    "i1": labels["int8_t"], "i2": labels["int16_t"], "i4": labels["int32_t"], "i8": labels["int64_t"],
    "u1": labels["uint8_t"], "u2": labels["uint16_t"], "u4": labels["uint32_t"], "u8": labels["uint64_t"],
}

set_level(os.environ.get("LOSSGRAD_ISA") or None)
