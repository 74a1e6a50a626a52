# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_arguments.py``); here the shapes are compared once
more, since C trusts them. Arrays come as grids: (outer, middle, inner), the class axis in the middle.
Each call makes a Job, which ``Job.run`` walks at once if it is short, else in parts (``_threads.py``).
"""

import os
from time import perf_counter

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t, uint16_t, uintptr_t
from libc.stdlib cimport free, malloc

from numpy import empty as np_empty

from . import _threads

cdef extern from "lossgrad.h":
    enum: LG_F32, LG_F64, LG_F16, LG_BF16, LG_STORAGES
    int lg_computed(int) nogil
    Py_ssize_t lg_size(int) nogil
    enum: LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
    enum: LG_I8, LG_I16, LG_I32, LG_I64, LG_U8, LG_U16, LG_U32, LG_U64
    enum: LG_LOGSUMEXP, LG_SOFTMAX, LG_LOG_SOFTMAX, LG_CROSS_ENTROPY, LG_NLL_LOSS, LG_SOFTMAX_JACOBIAN
    enum: LG_LOGSUMEXP_BACKWARD, LG_SOFTMAX_BACKWARD, LG_LOG_SOFTMAX_BACKWARD, LG_STATISTICS
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
    ctypedef struct lg_statistics:
        int64_t *predicted
        int64_t *rank
        double *confidence
        double *entropy
        double *squares
        double *brier
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
        lg_statistics statistics
        void *scratch
    ctypedef struct lg_label_check:
        Py_ssize_t bad
        Py_ssize_t kept
    lg_label_check lg_check_labels(const lg_rows_job *, int, lg_sum *, Py_ssize_t, Py_ssize_t) nogil
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
    void lg_map(const lg_level *, int, const lg_map_job *, Py_ssize_t, Py_ssize_t) nogil
    void lg_rows(const lg_level *, int, const lg_rows_job *, Py_ssize_t, Py_ssize_t) nogil
    ctypedef struct lg_label_job:
        const char *x
        int storage
        const double *target
        double limit
        void *loss
        double *probability
        double *entropy
        double *brier
        uint8_t *outcome
    void lg_label_statistics(const lg_level *, int, const lg_label_job *, Py_ssize_t, Py_ssize_t) nogil
    double lg_quotient(double, double) nogil
    float lg_narrow(double) nogil

cdef extern from "environment.h":
    ctypedef struct lg_environment:
        pass
    lg_environment lg_enter() nogil
    void lg_leave(lg_environment) nogil

cdef enum:
    SHORT = 65536  # float32 elements that are computed without a look at the clock
    PER_ROW = 32   # what a row costs besides its elements, in elements

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


# ---- jobs, and arrays of any rank and dtype as the views that C walks ----


cdef class Job:
    """What C is to do, and the buffers that it walks, held until the last part is done."""

    cdef Py_buffer buffer[16]
    cdef int count, computed
    cdef lg_sum sum  # of all parts

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

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        raise NotImplementedError

    def __call__(self, Py_ssize_t begin, Py_ssize_t end):
        """A part, from any thread."""
        cdef lg_sum sum
        lg_sum_clear(&sum)
        self.part(begin, end, &sum)
        with cython.critical_section(self):
            lg_sum_merge(&self.sum, &sum)

    cdef int run(self, Py_ssize_t count, Py_ssize_t width, object num_threads) except -1:
        """All of a job of so many elements or rows; width: what one costs, in float32 elements.

        How long the first ones take tells whether the rest is worth sharing.
        """
        cdef Py_ssize_t first = max(1, SHORT // (2 * width if self.computed == LG_F64 else width))
        if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
            num_threads = _threads.checked(num_threads)
        if count <= first:
            return self.part(0, count, &self.sum)
        cdef double start = perf_counter()
        self.part(0, first, &self.sum)
        cdef double pace = max(perf_counter() - start, 1e-7) / first
        if pace * (count - first) <= <double> _threads.WORTH:
            return self.part(first, count, &self.sum)
        _threads.run(self, first, count, pace, num_threads)
        return 0


cdef char kind(const Py_buffer *b):
    """The type of the elements; the mark of a byte order is left out, which is known to be native."""
    return b.format[1] if b.format[0] in b"<>=@" else b.format[0]


cdef int grid(Job job, object a, int axis, bint writes, lg_view *view, Py_ssize_t *shape, int storage) except -1:
    """a as (outer, classes, inner) with axis in the middle, of the given shape and storage."""
    cdef Py_ssize_t outer = 1, inner = 1
    cdef int k, ndim
    cdef Py_buffer *b = job.take(a, writes)
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
            b = job.take(a.reshape(outer, b.shape[axis], inner), writes)
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


cdef Py_buffer *row_grid(Job job, object a, bint writes, lg_view *view, Py_ssize_t *shape, int storage) except NULL:
    """One value a row, in row order, as (outer, inner)."""
    cdef Py_buffer *b = job.take(a, writes)
    if b.ndim == 1 and shape[2] == 1:
        view.stride = [b.strides[0], 0, 0]
        match(b.shape[0], shape[1], 1, shape)
    else:
        b = job.take(a.reshape(shape[0], shape[2]), writes)
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


cdef class Map(Job):
    """An elementwise op over boxes of three axes."""

    cdef lg_map_job job
    cdef double param[4]
    cdef double up64, one64  # what stands for an incoming gradient and for an input that are not given
    cdef float up32, one32

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        cdef lg_map_job job = self.job
        if job.sum != NULL:
            job.sum = sum
        with nogil:
            lg_map(active, self.computed, &job, begin, end)
        return 0

    cdef int start(self, int op, int direction, int storage, tuple parameters) except -1:
        cdef int k
        self.job.op, self.job.direction, self.job.inputs = op, direction, lg_ops[op].inputs
        self.job.outputs = 2 if direction == LG_VALUE_AND_GRAD else 1
        self.computed = lg_computed(storage)
        for k in range(min(4, len(parameters))):
            self.param[k] = parameters[k]
        self.job.param = self.param
        return 0

    cdef int box(self, object a, bint writes, lg_view *view, int storage) except -1:
        """a as a view, of the shape that the job has."""
        cdef Py_buffer *b = self.take(a, writes)
        if b.ndim != 3 or kind(b) != formats[storage]:
            raise ValueError("operands have different dtypes")
        match(b.shape[0], b.shape[1], b.shape[2], self.job.shape)
        view.at, view.storage = <char *> b.buf, storage
        view.stride = [b.strides[0], b.strides[1], b.strides[2]]
        return 0

    cdef int box_or(self, object a, double *value64, float *value32, lg_view *view, int storage) except -1:
        """a as a view, a number throughout if it is None."""
        if a is not None:
            return self.box(a, False, view, storage)
        view.at = <char *> value64 if self.computed == LG_F64 else <char *> value32
        view.stride, view.storage = [0, 0, 0], self.computed
        return 0

    cdef int sum_values(self) except -1:
        """Sum the values; they are not stored."""
        self.job.sum = &self.sum
        self.job.out[0].at, self.job.out[0].stride, self.job.out[0].storage = NULL, [0, 0, 0], self.computed
        return 0

    cdef int run_all(self, object num_threads) except -1:
        return self.run(self.job.shape[0] * self.job.shape[1] * self.job.shape[2], 1, num_threads)


def elementwise(grad, a, b, c, weight, out, out_grad, int storage, int op, int direction, double up,
                tuple parameters, num_threads):
    """Any op of boxes a, b, c: the values to out, gradients to out_grad; the values' sum if out is None.

    An input that is None is 1 throughout, an incoming gradient that is None is up.
    """
    cdef Map map = Map.__new__(Map)
    cdef lg_map_job *job = &map.job
    cdef int k = 0, computed = lg_computed(storage)
    map.start(op, direction, storage, parameters)
    map.up64, map.up32 = up, lg_narrow(up)
    map.one64 = map.one32 = 1
    job.shape[0] = -1
    if direction != LG_FORWARD:
        k = 1
        job.inputs += 1
    map.box(a, False, &job.inp[k], storage)
    if k:
        map.box_or(grad, &map.up64, &map.up32, &job.inp[0], storage)
    if lg_ops[op].inputs > 1:
        map.box_or(b, &map.one64, &map.one32, &job.inp[k + 1], computed)
    if lg_ops[op].inputs > 2:
        map.box_or(c, &map.one64, &map.one32, &job.inp[k + 2], computed)
    if weight is not None:
        map.box(weight, False, &job.weight, computed)
    if direction == LG_BACKWARD:
        map.box(out_grad, True, &job.out[0], storage)
    else:
        if out is None:
            map.sum_values()
        else:
            map.box(out, True, &job.out[0], storage)
        if direction == LG_VALUE_AND_GRAD:
            map.box(out_grad, True, &job.out[1], storage)
    map.run_all(num_threads)
    return lg_sum_value(&map.sum) if job.sum != NULL else None


def plain_unary(x, out, int op, num_threads):
    """An op of one input and no parameters, forward, over an array: the result, which is out unless that is None.

    None if the arguments are not of the common kind: nothing has been written.
    """
    cdef Map map = Map.__new__(Map)
    cdef lg_map_job *job = &map.job
    cdef Py_buffer *b
    cdef Py_buffer *to
    cdef int k, dtype
    try:
        b = map.take(x, False)
        if b.ndim == 0 or b.format[0] not in b"fd" or not is_run(b):
            return None
        if out is None:
            out = np_empty(x.shape, x.dtype)
        to = map.take(out, True)
    except ValueError:  # a dtype that buffers do not know, or an array that may not be written
        return None
    if to.ndim != b.ndim or to.format[0] != b.format[0] or not is_run(to) or to.len != b.len:
        return None
    for k in range(b.ndim):
        if to.shape[k] != b.shape[k]:
            return None
    if to.buf != b.buf and <char *> to.buf < <char *> b.buf + b.len and <char *> b.buf < <char *> to.buf + to.len:
        return None
    dtype = LG_F32 if b.format[0] == b"f" else LG_F64
    map.start(op, LG_FORWARD, dtype, ())
    job.shape = [1, 1, b.len // b.itemsize]
    job.inp[0].at, job.inp[0].stride, job.inp[0].storage = <char *> b.buf, [0, 0, b.itemsize], dtype
    job.out[0].at, job.out[0].stride, job.out[0].storage = <char *> to.buf, [0, 0, b.itemsize], dtype
    map.run_all(num_threads)
    return out


cdef bint is_run(const Py_buffer *b):
    """Whether elements are aligned and next to each other, in C order."""
    cdef Py_ssize_t size = b.itemsize
    cdef int k
    for k in range(b.ndim - 1, -1, -1):
        if b.shape[k] != 1 and b.strides[k] != size:
            return False
        size *= b.shape[k]
    return <uintptr_t> b.buf % b.itemsize == 0


cdef class RowSums(Map):
    """The exact sum of ops along each row: the job is that of one row, whose place is found in time."""

    cdef lg_view first[2]  # the inputs' first rows
    cdef Py_ssize_t inner, line
    cdef int[2] codes
    cdef int ops
    cdef double *out

    cdef void add_row(self, lg_map_job *job, Py_ssize_t row, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
        cdef int k
        cdef lg_view *v
        for k in range(job.inputs):
            v = &self.first[k]
            job.inp[k].at = v.at + row // self.inner * v.stride[0] + row % self.inner * v.stride[2]
        for k in range(self.ops):
            job.op = self.codes[k]
            lg_map(active, self.computed, job, begin, end)

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        cdef lg_map_job job = self.job
        cdef lg_sum total
        cdef Py_ssize_t row
        if self.line >= 0:  # a long row, in parts
            job.sum = sum
            with nogil:
                self.add_row(&job, self.line, begin, end)
            return 0
        job.sum = &total
        with nogil:
            for row in range(begin, end):
                lg_sum_clear(&total)
                self.add_row(&job, row, 0, job.shape[2])
                self.out[row] = lg_sum_value(&total)
        return 0


def row_sums(a, b, double[:, ::1] out, int storage, tuple ops_, tuple parameters, num_threads):
    """The exact sum of ops over the middle axis, rounded once, for each row."""
    cdef RowSums sums = RowSums.__new__(RowSums)
    cdef lg_map_job *job = &sums.job
    cdef Py_ssize_t k, rows, n
    if not 0 < len(ops_) <= 2:
        raise ValueError("one op or two")
    sums.ops, sums.codes = len(ops_), [ops_[0], ops_[len(ops_) - 1]]
    sums.start(ops_[0], LG_FORWARD, storage, parameters)
    job.shape[0] = -1
    sums.box(a, False, &sums.first[0], storage)
    if job.inputs > 1:
        sums.box(b, False, &sums.first[1], sums.computed)
    if out.shape[0] != job.shape[0] or out.shape[1] != job.shape[2]:
        raise ValueError("operands have different shapes")
    rows, n, sums.inner = job.shape[0] * job.shape[2], job.shape[1], job.shape[2]
    if rows == 0 or n == 0:
        out[:, :] = 0
        return
    sums.out = <double *> sums.take(out, True).buf
    sums.sum_values()
    job.shape = [1, 1, n]
    for k in range(job.inputs):
        job.inp[k].stride, job.inp[k].storage = [0, 0, sums.first[k].stride[1]], sums.first[k].storage
    sums.line = -1
    if n <= SHORT:
        sums.run(rows, n + PER_ROW, num_threads)
        return
    for k in range(rows):
        sums.line = k
        lg_sum_clear(&sums.sum)
        sums.run(n, 1, num_threads)
        sums.out[k] = lg_sum_value(&sums.sum)


# ---- rows ----


cdef class Rows(Job):
    """One of the softmax family. While `checks` is set, a look at the labels instead."""

    cdef lg_rows_job job
    cdef bint checks
    cdef lg_label_check found

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        if self.checks:
            self.check(begin, end, sum)
            return 0
        cdef char small[16384]
        cdef void *memory = NULL
        cdef size_t size
        cdef lg_rows_job own
        cdef lg_rows_job *job = &self.job
        if sum != &self.sum:  # beside other parts
            own, job = self.job, &own
            own.sum = sum if own.sum != NULL else NULL
        size = lg_rows_scratch(end - begin, job.classes, lg_size(self.computed)) + 64
        if size <= sizeof(small):
            job.scratch = small
        else:
            memory = job.scratch = malloc(size)
            if memory == NULL:
                raise MemoryError()
        job.scratch = <void *> ((<uintptr_t> job.scratch + 63) & ~<uintptr_t> 63)
        with nogil:
            lg_rows(active, self.computed, job, begin, end)
        free(memory)
        return 0

    cdef int check(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *weights) except -1:
        cdef lg_label_check found
        with nogil:
            found = lg_check_labels(&self.job, self.computed, weights, begin, end)
        with cython.critical_section(self):
            self.found.kept += found.kept
            if found.bad >= 0 and (self.found.bad < 0 or found.bad < self.found.bad):
                self.found.bad = found.bad
        return 0

    cdef int check_labels(self, object num_threads) except -1:
        """Sets what was found; the sum is then that of the kept rows' weights."""
        self.found.bad, self.found.kept, self.checks = -1, 0, True
        self.run(self.job.outer * self.job.inner, 4, num_threads)
        self.checks = False
        return 0

    cdef int start(self, int what, Py_ssize_t *shape, int storage) except -1:
        self.job.what, self.job.scale, self.computed = what, 1.0, lg_computed(storage)
        self.job.outer, self.job.classes, self.job.inner = shape[0], shape[1], shape[2]
        return 0

    cdef int take_weight(self, object weight) except -1:
        """A weight for each class."""
        cdef Py_buffer *b = self.take(weight, False)
        if (b.ndim != 1 or b.shape[0] != self.job.classes or b.strides[0] != lg_size(self.computed)
                or kind(b) != formats[self.computed]):
            raise ValueError("weight is not a contiguous vector of the classes")
        self.job.weight = b.buf
        return 0

    cdef int run_all(self, object num_threads) except -1:
        cdef Py_ssize_t n = self.job.classes
        if self.job.what == LG_SOFTMAX_JACOBIAN:
            n *= n
        return self.run(self.job.outer * self.job.inner, n + PER_ROW, num_threads)


def softmax_like(x, int axis, grad, row_grad, factor, out, value, int storage, int what, num_threads):
    """The softmax family along axis; what is one of LOGSUMEXP, SOFTMAX, ... ; factor is logsumexp's b."""
    cdef Rows rows = Rows.__new__(Rows)
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t shape[3]
    shape[0] = -1
    grid(rows, x, axis, False, &job.x, shape, storage)
    rows.start(what, shape, storage)
    if grad is not None:
        grid(rows, grad, axis, False, &job.grad, shape, storage)
    if row_grad is not None:
        row_grid(rows, row_grad, False, &job.row_grad, shape, storage)
    if factor is not None:
        grid(rows, factor, axis, False, &job.factor, shape, rows.computed)
    if out is not None:
        grid(rows, out, axis, True, &job.out, shape, storage)
    if value is not None:
        row_grid(rows, value, True, &job.value, shape, storage)
    rows.run_all(num_threads)


def softmax_jacobian(x, int axis, out, int storage, num_threads):
    """A matrix of classes for each row."""
    cdef Rows rows = Rows.__new__(Rows)
    cdef Py_ssize_t shape[3]
    cdef Py_ssize_t matrices[3]
    shape[0] = -1
    grid(rows, x, axis, False, &rows.job.x, shape, storage)
    rows.start(LG_SOFTMAX_JACOBIAN, shape, storage)
    matrices = [shape[0] * shape[2], shape[1], shape[1]]
    grid(rows, out, 1, True, &rows.job.out, matrices, storage)
    rows.run_all(num_threads)


def row_loss(x, int axis, labels, soft, weight, int64_t ignore_index, double smoothing, row_grad, double up,
             bint mean, out, value, double[::1] lse, bint lse_given, bint summed, int storage, int what,
             num_threads):
    """cross_entropy or nll_loss: (first bad row or -1, sum of the kept rows' weights, sum of the losses).

    Nothing is written if there is a bad row. Row losses go to value, gradients (times up and row_grad,
    over the weights if mean) to out; each may be None.
    """
    cdef Rows rows = Rows.__new__(Rows)
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t n
    cdef Py_ssize_t shape[3]
    cdef double divisor
    cdef Py_buffer *b
    shape[0] = -1
    grid(rows, x, axis, False, &job.x, shape, storage)
    rows.start(what, shape, storage)
    job.ignore_index, job.smoothing = ignore_index, smoothing
    if weight is not None:
        rows.take_weight(weight)
    n = shape[0] * shape[2]
    divisor = n
    if soft is not None:
        grid(rows, soft, axis, False, &job.soft, shape, rows.computed)
    else:
        job.label_type = label_type(row_grid(rows, labels, False, &job.label, shape, 0))
        rows.check_labels(num_threads)
        if rows.found.bad >= 0:
            return rows.found.bad, 0.0, 0.0
        divisor = rows.found.kept
        if weight is not None:
            divisor = lg_sum_value(&rows.sum)
            lg_sum_clear(&rows.sum)
    job.scale = lg_quotient(up, divisor) if mean else up
    if lse is not None:
        if lse.shape[0] != n:
            raise ValueError("lse has the wrong size")
        job.lse = <double *> rows.take(lse, True).buf if n else NULL
        job.lse_given = lse_given
    if row_grad is not None:
        row_grid(rows, row_grad, False, &job.row_grad, shape, storage)
    if out is not None:
        grid(rows, out, axis, True, &job.out, shape, storage)
    if value is not None:
        row_grid(rows, value, True, &job.value, shape, storage)
    if summed:
        job.sum = &rows.sum
    rows.run_all(num_threads)
    return -1, divisor, lg_sum_value(&rows.sum) if summed else 0.0


def row_statistics(x, labels, weight, int64_t ignore_index, double smoothing, loss, double[::1] lse,
                   int64_t[::1] predicted, int64_t[::1] rank, double[:, ::1] figures, int storage, num_threads):
    """Figures of each row of a matrix against its label, to the arrays after smoothing: the first bad row or -1.

    Nothing is written if there is a bad row. The losses are of the computed type; figures are the
    confidences, entropies, sums of squares and Brier scores.
    """
    cdef Rows rows = Rows.__new__(Rows)
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t n
    cdef Py_ssize_t shape[3]
    cdef Py_buffer *b
    shape[0] = -1
    grid(rows, x, 1, False, &job.x, shape, storage)
    n = shape[0]
    rows.start(LG_STATISTICS, shape, storage)
    job.ignore_index, job.smoothing = ignore_index, smoothing
    job.label_type = label_type(row_grid(rows, labels, False, &job.label, shape, 0))
    rows.check_labels(num_threads)
    if rows.found.bad >= 0 or n == 0:
        return rows.found.bad
    if weight is not None:
        rows.take_weight(weight)
    b = row_grid(rows, loss, True, &job.value, shape, rows.computed)
    if kind(b) != formats[rows.computed]:
        raise ValueError("operands have different dtypes")
    if lse.shape[0] != n or predicted.shape[0] != n or rank.shape[0] != n or figures.shape[0] != 4 or figures.shape[1] != n:
        raise ValueError("operands have different shapes")
    job.lse = &lse[0]
    job.statistics.predicted, job.statistics.rank = &predicted[0], &rank[0]
    job.statistics.confidence, job.statistics.entropy = &figures[0, 0], &figures[1, 0]
    job.statistics.squares, job.statistics.brier = &figures[2, 0], &figures[3, 0]
    rows.run_all(num_threads)
    return -1


cdef class Labels(Job):
    cdef lg_label_job job

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        with nogil:
            lg_label_statistics(active, self.computed, &self.job, begin, end)
        return 0


def label_statistics(x, double[::1] targets, double limit, loss, double[:, ::1] figures, uint8_t[::1] outcome,
                     int storage, num_threads):
    """Figures of runs of logits against targets in [0, 1], to the arrays after limit: probabilities, entropies and
    Brier scores; the losses are of the computed type.
    """
    cdef Labels labels = Labels.__new__(Labels)
    cdef lg_label_job *job = &labels.job
    cdef Py_buffer *b = labels.take(x, False)
    cdef Py_buffer *to = labels.take(loss, True)
    cdef Py_ssize_t n = targets.shape[0]
    labels.computed = lg_computed(storage)
    if kind(b) != formats[storage] or kind(to) != formats[labels.computed]:
        raise ValueError("operands have different dtypes")
    if b.ndim != 1 or not is_run(b) or to.ndim != 1 or not is_run(to):
        raise ValueError("operands are no runs")
    if (b.shape[0] != n or to.shape[0] != n or figures.shape[0] != 3 or figures.shape[1] != n
            or outcome.shape[0] != n):
        raise ValueError("operands have different shapes")
    if n == 0:
        return
    job.x, job.storage, job.loss, job.limit = <const char *> b.buf, storage, to.buf, limit
    job.target, job.outcome = &targets[0], &outcome[0]
    job.probability, job.entropy, job.brier = &figures[0, 0], &figures[1, 0], &figures[2, 0]
    labels.run(n, 8, num_threads)


def plain_cross_entropy(x, labels, out, int64_t ignore_index, num_threads):
    """Mean loss of labels over the last axis of a matrix, its gradient to out unless that is None.

    None if the arguments are not of the common kind or a label is bad: nothing has been written.
    """
    cdef Rows rows = Rows.__new__(Rows)
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t shape[3]
    cdef int dtype
    cdef Py_buffer *b
    cdef Py_buffer *t
    try:
        b, t = rows.take(x, False), rows.take(labels, False)
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
    rows.start(LG_CROSS_ENTROPY, shape, dtype)
    job.x.at, job.x.stride, job.x.storage = <char *> b.buf, [b.strides[0], b.strides[1], 0], dtype
    job.label.at, job.label.stride = <char *> t.buf, [t.strides[0], 0, 0]
    job.label_type, job.ignore_index = label_type(t), ignore_index
    rows.check_labels(num_threads)
    if rows.found.bad >= 0 or rows.found.kept == 0:
        return None
    job.scale = lg_quotient(1.0, rows.found.kept)
    if out is not None:
        grid(rows, out, 1, True, &job.out, shape, dtype)
    job.sum = &rows.sum
    rows.run_all(num_threads)
    return lg_quotient(lg_sum_value(&rows.sum), rows.found.kept)


class _Storage(dict):
    """How a dtype is stored. Its name says so, but takes microseconds to find: it is asked once."""

    _by_name = {"float32": LG_F32, "float64": LG_F64, "float16": LG_F16, "bfloat16": LG_BF16}

    def __missing__(self, dtype):
        return self.setdefault(dtype, self._by_name[dtype.name])


STORAGE = _Storage()

set_level(os.environ.get("LOSSGRAD_ISA") or None)
