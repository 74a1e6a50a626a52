# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Typed-memoryview crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_arguments.py``); here the shapes are compared once
more, since C trusts them. Arrays come as grids: (outer, middle, inner), the class axis in the middle.
"""

import os

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint16_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from "lossgrad.h":
    enum: LG_F32, LG_F64, LG_F16, LG_BF16, LG_STORAGES
    int lg_computed(int) nogil
    Py_ssize_t lg_size(int) nogil
    enum: LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
    enum: LG_I8, LG_I16, LG_I32, LG_I64, LG_U8, LG_U16, LG_U32, LG_U64
    enum: LG_LOGSUMEXP, LG_SOFTMAX, LG_LOG_SOFTMAX, LG_CROSS_ENTROPY, LG_NLL_LOSS, LG_SOFTMAX_JACOBIAN
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
        int storage
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
        lg_view x, grad, row_grad, factor, out, value, label, soft
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
    ctypedef struct lg_row_op:
        const char *name
        double bound, derivative_bound
    const lg_row_op *lg_row_ops
    int lg_row_op_count
    const lg_level *lg_levels
    int lg_level_count
    void lg_map(const lg_level *, int, const lg_map_job *) nogil
    void lg_rows(const lg_level *, int, const lg_rows_job *, Py_ssize_t, Py_ssize_t) nogil
    double lg_quotient(double, double) nogil
    float lg_narrow(double) nogil

cdef extern from "environment.h":
    ctypedef struct lg_environment:
        pass
    lg_environment lg_enter() nogil
    void lg_leave(lg_environment) nogil

# What arrays hold (halves as their bits), and what is computed with.
ctypedef fused stored:
    float
    double
    uint16_t
ctypedef fused real:
    float
    double

# by storage: the character of the buffer protocol
cdef char[4] formats = [b"f", b"d", b"H", b"H"]

FORWARD, BACKWARD, VALUE_AND_GRAD = LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
LOGSUMEXP, SOFTMAX, LOG_SOFTMAX = LG_LOGSUMEXP, LG_SOFTMAX, LG_LOG_SOFTMAX
SOFTMAX_JACOBIAN = LG_SOFTMAX_JACOBIAN
CROSS_ENTROPY, NLL_LOSS = LG_CROSS_ENTROPY, LG_NLL_LOSS
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
        if (name is None or lg_levels[k].name.decode() == name) and lg_levels[k].available():
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


def bounds():
    """name -> (bound, derivative_bound) in ULP, of both C tables: elements and rows."""
    stated = {
        lg_row_ops[k].name.decode(): (lg_row_ops[k].bound, lg_row_ops[k].derivative_bound)
        for k in range(lg_row_op_count)
    }
    return stated | {name: row[4:] for name, row in ops().items()}


cdef class Environment:
    """A context in which the caller's floating-point environment is put aside."""

    cdef lg_environment found

    def __enter__(self):
        self.found = lg_enter()

    def __exit__(self, *unused):
        lg_leave(self.found)


def quotient(double a, double b):
    """a / b, or NaN if b is 0."""
    return lg_quotient(a, b) if b else NAN


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

    def mean(self, double count):
        """The sum over a count, NaN for a count of 0."""
        return lg_quotient(lg_sum_value(&self.state), count) if count else NAN


# ---- arrays of any rank and dtype as the views that C walks ----


cdef class Held:
    """Buffers of the arrays of one call, held until it ends."""

    cdef Py_buffer buffer[16]
    cdef int count

    def __dealloc__(self):
        cdef int k
        for k in range(self.count):
            PyBuffer_Release(&self.buffer[k])

    cdef Py_buffer *take(self, object a, bint writes) except NULL:
        if self.count == 16:
            raise RuntimeError("too many operands")
        cdef Py_buffer *buffer = &self.buffer[self.count]
        PyObject_GetBuffer(a, buffer, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writes else 0))
        self.count += 1
        return buffer


cdef char kind(const Py_buffer *b):
    """The type of the elements; the mark of a byte order is left out, which is known to be native."""
    return b.format[1] if b.format[0] in b"<>=@" else b.format[0]


cdef int grid(Held held, object a, int axis, bint writes, lg_view *view, Py_ssize_t *shape, int storage) except -1:
    """a as (outer, classes, inner) with axis in the middle, of the given shape and storage."""
    cdef Py_ssize_t outer = 1, inner = 1
    cdef int k, ndim
    cdef Py_buffer *b = held.take(a, writes)
    ndim = b.ndim
    if ndim == 2 and axis == 1:
        view.stride = [b.strides[0], b.strides[1], 0]
        match(b.shape[0], b.shape[1], 1, shape)
    elif ndim == 2:
        view.stride = [0, b.strides[0], b.strides[1]]
        match(1, b.shape[0], b.shape[1], shape)
    else:
        if ndim != 3 or axis != 1:
            for k in range(axis):
                outer *= b.shape[k]
            for k in range(axis + 1, ndim):
                inner *= b.shape[k]
            b = held.take(a.reshape(outer, b.shape[axis], inner), writes)
        view.stride = [b.strides[0], b.strides[1], b.strides[2]]
        match(b.shape[0], b.shape[1], b.shape[2], shape)
    if kind(b) != formats[storage]:
        raise ValueError("operands have different dtypes")
    view.at, view.storage = <char *> b.buf, storage
    return 0


cdef int match(Py_ssize_t outer, Py_ssize_t middle, Py_ssize_t inner, Py_ssize_t *shape) except -1:
    """Set the shape if it is not known (then its first entry is -1), else compare."""
    if shape[0] < 0:
        shape[0], shape[1], shape[2] = outer, middle, inner
    if shape[0] != outer or shape[1] != middle or shape[2] != inner:
        raise ValueError("operands have different shapes")
    return 0


cdef Py_buffer *row_grid(Held held, object a, bint writes, lg_view *view, Py_ssize_t *shape, int storage) except NULL:
    """One value a row, in row order, as (outer, inner)."""
    cdef Py_buffer *b = held.take(a, writes)
    if b.ndim == 1 and shape[2] == 1:
        view.stride = [b.strides[0], 0, 0]
        match(b.shape[0], shape[1], 1, shape)
    else:
        b = held.take(a.reshape(shape[0], shape[2]), writes)
        view.stride = [b.strides[0], 0, b.strides[1]]
    view.at, view.storage = <char *> b.buf, storage
    return b


cdef int label_type(const Py_buffer *b) except -1:
    """The integer type of labels, by the character of their format."""
    cdef char code = kind(b)
    if code in b"bhilq":
        return LG_I8 if b.itemsize == 1 else LG_I16 if b.itemsize == 2 else LG_I32 if b.itemsize == 4 else LG_I64
    if code in b"BHILQ":
        return LG_U8 if b.itemsize == 1 else LG_U16 if b.itemsize == 2 else LG_U32 if b.itemsize == 4 else LG_U64
    raise TypeError("labels are not native integers")


# ---- elementwise ----


def elementwise(const stored[:, :, :] grad, const stored[:, :, :] a, const real[:, :, :] b, const real[:, :, :] c,
                const real[:, :, :] weight, stored[:, :, :] out, stored[:, :, :] out_grad, int storage, int op,
                int direction, double up, tuple parameters, Sum total):
    """Any op: inputs a, b, c, the values to out or total, gradients to out_grad.

    An input that is None is 1 throughout, an incoming gradient that is None is up.
    """
    cdef lg_map_job job
    cdef real one = 1, scale = <real> lg_narrow(up) if real is float else <real> up
    cdef double param[4]
    cdef int k = 0, computed = lg_computed(storage)
    if sizeof(stored) != lg_size(storage) or sizeof(real) != lg_size(computed):
        raise ValueError("operands have different dtypes")
    job.shape = [a.shape[0], a.shape[1], a.shape[2]]
    if job.shape[0] == 0 or job.shape[1] == 0 or job.shape[2] == 0:
        return
    job.op, job.direction, job.inputs = op, direction, lg_ops[op].inputs
    if direction != LG_FORWARD:
        if grad is None:
            constant(&job.inp[0], <char *> &scale, computed)
        else:
            box(grad, job.shape, &job.inp[0], storage)
        job.inputs += 1
        k = 1
    box(a, job.shape, &job.inp[k], storage)
    if lg_ops[op].inputs > 1:
        if b is None:
            constant(&job.inp[k + 1], <char *> &one, computed)
        else:
            box(b, job.shape, &job.inp[k + 1], computed)
    if lg_ops[op].inputs > 2:
        if c is None:
            constant(&job.inp[k + 2], <char *> &one, computed)
        else:
            box(c, job.shape, &job.inp[k + 2], computed)
    job.weight.at = NULL
    if weight is not None:
        box(weight, job.shape, &job.weight, computed)
    job.outputs = 2 if direction == LG_VALUE_AND_GRAD else 1
    job.sum = NULL
    if direction == LG_BACKWARD:
        box(out_grad, job.shape, &job.out[0], storage)
    else:
        if total is not None:
            job.sum = &total.state
            constant(&job.out[0], NULL, computed)
        else:
            box(out, job.shape, &job.out[0], storage)
        if direction == LG_VALUE_AND_GRAD:
            box(out_grad, job.shape, &job.out[1], storage)
    for k in range(min(4, len(parameters))):
        param[k] = parameters[k]
    job.param = param
    with nogil:
        lg_map(active, computed, &job)


def row_sums(const stored[:, :, :] a, const real[:, :, :] b, double[:, :] out, int storage, tuple ops_, tuple parameters):
    """The exact sum of ops over the middle axis, rounded once, for each row."""
    cdef lg_map_job job
    cdef lg_sum total
    cdef double param[4]
    cdef Py_ssize_t i, k, o
    cdef int computed = lg_computed(storage), inputs = lg_ops[<int> ops_[0]].inputs
    cdef int[2] codes
    cdef lg_view first, second
    cdef Py_ssize_t count = len(ops_)
    if sizeof(stored) != lg_size(storage) or sizeof(real) != lg_size(computed) or not 0 < count <= 2:
        raise ValueError("operands have different dtypes")
    if out.shape[0] != a.shape[0] or out.shape[1] != a.shape[2]:
        raise ValueError("operands have different shapes")
    if a.shape[0] == 0 or a.shape[1] == 0 or a.shape[2] == 0:
        out[:, :] = 0
        return
    job.shape = [a.shape[0], a.shape[1], a.shape[2]]
    box(a, job.shape, &first, storage)
    if inputs > 1:
        box(b, job.shape, &second, computed)
    job.direction, job.inputs, job.outputs = LG_FORWARD, inputs, 1
    codes = [ops_[0], ops_[len(ops_) - 1]]
    job.weight.at, job.sum, job.shape = NULL, &total, [1, 1, a.shape[1]]
    job.inp[0].stride, job.inp[0].storage = [0, 0, first.stride[1]], storage
    job.inp[1].stride, job.inp[1].storage = [0, 0, second.stride[1]], computed
    constant(&job.out[0], NULL, computed)
    for k in range(min(4, len(parameters))):
        param[k] = parameters[k]
    job.param = param
    with nogil:
        for i in range(a.shape[0]):
            for k in range(a.shape[2]):
                job.inp[0].at = first.at + i * first.stride[0] + k * first.stride[2]
                job.inp[1].at = second.at + i * second.stride[0] + k * second.stride[2]
                lg_sum_clear(&total)
                for o in range(count):
                    job.op = codes[o]
                    lg_map(active, computed, &job)
                out[i, k] = lg_sum_value(&total)


cdef int constant(lg_view *view, char *at, int storage) except -1:
    view.at, view.stride, view.storage = at, [0, 0, 0], storage
    return 0


ctypedef fused held:
    float
    double
    uint16_t


cdef int box(const held[:, :, :] a, Py_ssize_t *shape, lg_view *view, int storage) except -1:
    """a as a view."""
    if a is None:
        raise ValueError("an operand is missing")
    match(a.shape[0], a.shape[1], a.shape[2], shape)
    view.at, view.storage = <char *> &a[0, 0, 0], storage
    view.stride = [a.strides[0], a.strides[1], a.strides[2]]
    return 0


def unary(const stored[::1] x, stored[::1] out, int storage, int op):
    """An op of one input and no parameters, forward, over a contiguous array."""
    cdef lg_map_job job
    if out.shape[0] != x.shape[0] or sizeof(stored) != lg_size(storage):
        raise ValueError("operands have different shapes")
    if x.shape[0] == 0:
        return
    job.op, job.direction, job.inputs, job.outputs = op, LG_FORWARD, 1, 1
    job.shape = [1, 1, x.shape[0]]
    job.inp[0].at, job.out[0].at = <char *> &x[0], <char *> &out[0]
    job.inp[0].stride, job.out[0].stride = [0, 0, sizeof(stored)], [0, 0, sizeof(stored)]
    job.inp[0].storage, job.out[0].storage = storage, storage
    job.weight.at, job.param, job.sum = NULL, NULL, NULL
    with nogil:
        lg_map(active, lg_computed(storage), &job)


# ---- rows ----


cdef int clear(lg_rows_job *job, int what) except -1:
    memset(job, 0, sizeof(lg_rows_job))
    job.what, job.scale = what, 1.0
    return 0


cdef int run_rows(lg_rows_job *job, Py_ssize_t *shape, int storage) except -1:
    cdef char small[16384]
    cdef void *memory = NULL
    cdef size_t size
    cdef int computed = lg_computed(storage)
    job.outer, job.classes, job.inner = shape[0], shape[1], shape[2]
    if shape[0] == 0 or shape[2] == 0:
        return 0
    size = lg_rows_scratch(shape[0] * shape[2], shape[1], lg_size(computed)) + 64
    if size <= sizeof(small):
        job.scratch = small
    else:
        memory = job.scratch = malloc(size)
        if memory == NULL:
            raise MemoryError()
    job.scratch = <void *> ((<uintptr_t> job.scratch + 63) & ~<uintptr_t> 63)
    with nogil:
        lg_rows(active, computed, job, 0, shape[0] * shape[2])
    free(memory)
    return 0


def softmax_like(x, int axis, grad, row_grad, factor, out, value, int storage, int what):
    """The softmax family along axis; what is one of LOGSUMEXP, SOFTMAX, ... ; factor is logsumexp's b."""
    cdef lg_rows_job job
    cdef Py_ssize_t shape[3]
    cdef Held held = Held.__new__(Held)
    shape[0] = -1
    clear(&job, what)
    grid(held, x, axis, False, &job.x, shape, storage)
    if grad is not None:
        grid(held, grad, axis, False, &job.grad, shape, storage)
    if row_grad is not None:
        row_grid(held, row_grad, False, &job.row_grad, shape, storage)
    if factor is not None:
        grid(held, factor, axis, False, &job.factor, shape, lg_computed(storage))
    if out is not None:
        grid(held, out, axis, True, &job.out, shape, storage)
    if value is not None:
        row_grid(held, value, True, &job.value, shape, storage)
    run_rows(&job, shape, storage)


def softmax_jacobian(x, int axis, stored[:, :, ::1] out, int storage):
    """A matrix of classes for each row."""
    cdef lg_rows_job job
    cdef Py_ssize_t shape[3]
    cdef Held held = Held.__new__(Held)
    shape[0] = -1
    clear(&job, LG_SOFTMAX_JACOBIAN)
    grid(held, x, axis, False, &job.x, shape, storage)
    if out.shape[0] != shape[0] * shape[2] or out.shape[1] != shape[1] or out.shape[2] != shape[1]:
        raise ValueError("operands have different shapes")
    if out.shape[0]:
        job.out.at, job.out.storage = <char *> &out[0, 0, 0], storage
        run_rows(&job, shape, storage)


def row_loss(x, int axis, labels, soft, weight, int64_t ignore_index, double smoothing, row_grad, double up,
             bint mean, out, value, double[::1] lse, bint lse_given, Sum total, int storage, int what):
    """cross_entropy or nll_loss: (first bad row or -1, sum of the kept rows' weights).

    Nothing is written if there is a bad row. Row losses go to value, their sum to total, gradients
    (times up and row_grad, over the weights if mean) to out; each may be None.
    """
    cdef lg_rows_job job
    cdef lg_label_check found
    cdef lg_sum weights
    cdef Py_ssize_t n
    cdef Py_ssize_t shape[3]
    cdef double divisor
    cdef int computed = lg_computed(storage)
    cdef Held held = Held.__new__(Held)
    cdef Py_buffer *b
    shape[0] = -1
    clear(&job, what)
    grid(held, x, axis, False, &job.x, shape, storage)
    job.outer, job.classes, job.inner = shape[0], shape[1], shape[2]
    job.ignore_index, job.smoothing = ignore_index, smoothing
    if weight is not None:
        b = held.take(weight, False)
        if b.ndim != 1 or b.shape[0] != shape[1] or b.strides[0] != lg_size(computed) or kind(b) != formats[computed]:
            raise ValueError("weight is not a contiguous vector of the classes")
        job.weight = b.buf
    n = shape[0] * shape[2]
    divisor = n
    if soft is not None:
        grid(held, soft, axis, False, &job.soft, shape, computed)
    else:
        job.label_type = label_type(row_grid(held, labels, False, &job.label, shape, 0))
        if weight is not None:
            lg_sum_clear(&weights)
        with nogil:
            found = lg_check_labels(&job, computed, &weights)
        if found.bad >= 0:
            return found.bad, 0.0
        divisor = found.kept if weight is None else lg_sum_value(&weights)
    job.scale = lg_quotient(up, divisor) if mean else up
    if lse is not None:
        if lse.shape[0] != n:
            raise ValueError("lse has the wrong size")
        job.lse = &lse[0] if n else NULL
        job.lse_given = lse_given
    if row_grad is not None:
        row_grid(held, row_grad, False, &job.row_grad, shape, storage)
    if out is not None:
        grid(held, out, axis, True, &job.out, shape, storage)
    if value is not None:
        row_grid(held, value, True, &job.value, shape, storage)
    if total is not None:
        job.sum = &total.state
    run_rows(&job, shape, storage)
    return -1, divisor


def plain_cross_entropy(x, labels, out, int64_t ignore_index):
    """Mean loss of labels over the last axis of a matrix, its gradient to out unless that is None.

    None if the arguments are not of the common kind or a label is bad: nothing has been written.
    """
    cdef lg_rows_job job
    cdef lg_label_check found
    cdef lg_sum total
    cdef Py_ssize_t shape[3]
    cdef int dtype
    cdef Held held = Held.__new__(Held)
    cdef Py_buffer *b
    cdef Py_buffer *t
    try:
        b, t = held.take(x, False), held.take(labels, False)
    except ValueError:  # a dtype that buffers do not know
        return None
    if b.ndim != 2 or t.ndim != 1 or t.shape[0] != b.shape[0] or b.shape[0] == 0 or b.shape[1] == 0:
        return None
    if <uintptr_t> b.buf % b.itemsize or <uintptr_t> t.buf % t.itemsize:
        return None
    if b.format[0] not in b"fd":
        return None
    dtype = LG_F32 if b.format[0] == b"f" else LG_F64
    if t.format[0] not in b"bhilqBHILQ":
        return None
    shape[0], shape[1], shape[2] = b.shape[0], b.shape[1], 1
    clear(&job, LG_CROSS_ENTROPY)
    job.outer, job.classes, job.inner = shape[0], shape[1], 1
    job.x.at, job.x.stride, job.x.storage = <char *> b.buf, [b.strides[0], b.strides[1], 0], dtype
    job.label.at, job.label.stride = <char *> t.buf, [t.strides[0], 0, 0]
    job.label_type, job.ignore_index = label_type(t), ignore_index
    found = lg_check_labels(&job, dtype, NULL)
    if found.bad >= 0 or found.kept == 0:
        return None
    job.scale = lg_quotient(1.0, found.kept)
    if out is not None:
        grid(held, out, 1, True, &job.out, shape, dtype)
    lg_sum_clear(&total)
    job.sum = &total
    run_rows(&job, shape, dtype)
    return lg_quotient(lg_sum_value(&total), found.kept)


# By dtype: how it is stored, and the specialisations (choosing one costs a dictionary look-up).
STORAGE = {"float32": LG_F32, "float64": LG_F64, "float16": LG_F16, "bfloat16": LG_BF16}
UNARY = {LG_F32: unary["float"], LG_F64: unary["double"], LG_F16: unary["uint16_t"], LG_BF16: unary["uint16_t"]}
ELEMENTWISE = {
    LG_F32: elementwise["float", "float"], LG_F64: elementwise["double", "double"],
    LG_F16: elementwise["uint16_t", "float"], LG_BF16: elementwise["uint16_t", "float"],
}
ROW_SUMS = {
    LG_F32: row_sums["float", "float"], LG_F64: row_sums["double", "double"],
    LG_F16: row_sums["uint16_t", "float"], LG_BF16: row_sums["uint16_t", "float"],
}
JACOBIAN = {
    LG_F32: softmax_jacobian["float"], LG_F64: softmax_jacobian["double"],
    LG_F16: softmax_jacobian["uint16_t"], LG_BF16: softmax_jacobian["uint16_t"],
}

set_level(os.environ.get("LOSSGRAD_ISA") or None)
