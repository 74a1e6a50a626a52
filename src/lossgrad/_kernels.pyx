# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_arguments.py``); here the shapes are compared once
more, since C trusts them. Arrays are walked as grids: (outer, middle, inner), the class axis in the
middle. Each call makes a Job, which ``Job.run`` walks at once if it is short, else in parts
(``_threads.py``). The time of a small call is that of its checks: ``plain_`` functions know the usual
arguments at a glance, and leave all others, and every error, to Python.
"""

import os
from time import perf_counter

cimport cython
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_AsLongLongAndOverflow
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from numpy cimport (
    NPY_DOUBLE, NPY_FLOAT, NPY_FLOAT16, NPY_INT64, PyArray_BYTES, PyArray_CheckExact, PyArray_DIM, PyArray_DIMS,
    PyArray_EMPTY, PyArray_IS_C_CONTIGUOUS, PyArray_ISBEHAVED_RO, PyArray_ISCARRAY, PyArray_ISCARRAY_RO,
    PyArray_ISINTEGER, PyArray_ISNOTSWAPPED, PyArray_ISUNSIGNED, PyArray_ISWRITEABLE,
    PyArray_ITEMSIZE, PyArray_NBYTES, PyArray_NDIM, PyArray_SAMESHAPE, PyArray_SIZE,
    PyArray_STRIDE, PyArray_TYPE, import_array, ndarray, npy_intp,
)

from . import _threads

import_array()

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
    enum: LG_COLUMNS, LG_ONES, LG_BLOCK
    Py_ssize_t lg_columns_add(int64_t **, Py_ssize_t, Py_ssize_t, const double *, const int64_t *, Py_ssize_t, int *) nogil
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
    size_t lg_rows_scratch(const lg_rows_job *, Py_ssize_t, size_t) nogil
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
    void lg_column_sums(const lg_level *, int, const lg_map_job *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                        Py_ssize_t, lg_sum *) nogil
    void lg_line_sums(const lg_level *, int, const lg_map_job *, Py_ssize_t, Py_ssize_t, double *) nogil
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
    ctypedef struct lg_squares:
        double max, slack
    ctypedef struct lg_norm:
        double root, scale
    ctypedef struct lg_norm_job:
        lg_view x, out
        Py_ssize_t n, inner
        const double *grad
        double up
        double *value
    void lg_norm_rows(const lg_level *, int, const lg_norm_job *, Py_ssize_t, Py_ssize_t) nogil
    lg_squares lg_norm_measure(const lg_level *, int, const lg_norm_job *, double, Py_ssize_t, Py_ssize_t, lg_sum *) nogil
    bint lg_norm_is_far(double, int) nogil
    double lg_norm_unit(double, int) nogil
    lg_norm lg_norm_finish(const lg_level *, int, const lg_norm_job *, double, const lg_squares *, const lg_sum *) nogil
    void lg_norm_slopes(const lg_level *, int, const lg_norm_job *, const lg_norm *, Py_ssize_t, Py_ssize_t) nogil
    double lg_quotient(double, double) nogil
    float lg_narrow(double) nogil
    bint lg_within(const lg_level *, int, const void *, Py_ssize_t, double) nogil

cdef extern from "environment.h":
    ctypedef struct lg_environment:
        pass
    lg_environment lg_enter() nogil
    void lg_leave(lg_environment) nogil

cdef enum:
    QUICK = 1024   # float32 elements that are over before another thread could use the GIL
    SHORT = 65536  # float32 elements that are computed without a look at the clock
    FEW = 128      # elements of rows that are summed side by side
    PER_ROW = 32   # what a row costs besides its elements, in elements

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


cpdef double quotient(double a, double b) noexcept:
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


def add_to_columns(dict columns, Py_ssize_t size, const double[::1] values, const int64_t[::1] groups):
    """Add each value to its group's column: (how many were added, the column that is missing for the next or -1).

    values that are None are ones; groups that are None, the first; columns are those of lg_columns_add.
    """
    cdef int64_t *at[LG_COLUMNS]
    cdef Py_ssize_t done, n = groups.shape[0] if values is None else values.shape[0]
    cdef const double *value = NULL
    cdef const int64_t *group = NULL
    cdef int k, missing = -1
    cdef ndarray column
    if n == 0:
        return 0, -1
    if values is not None:
        value = &values[0]
    if groups is not None:
        if groups.shape[0] != n:
            raise ValueError("operands have different shapes")
        group = &groups[0]
    for k in range(LG_COLUMNS):
        at[k] = NULL
    for k, column in columns.items():
        if not 0 <= k < LG_COLUMNS or PyArray_TYPE(column) != NPY_INT64 or not PyArray_ISCARRAY(column) or PyArray_SIZE(column) != size:
            raise ValueError("not such a column")
        at[k] = <int64_t *> PyArray_BYTES(column)
    with nogil:
        done = lg_columns_add(at, 0, size, value, group, n, &missing)
    return done, missing


# ---- jobs, and arrays of any rank and dtype as the views that C walks ----


cdef class Job:
    """What C is to do. Whoever runs it holds the arrays that it walks."""

    cdef int computed
    cdef bint quick  # over before others could have used the GIL
    cdef lg_sum sum  # of all parts

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
        self.quick = count <= QUICK // width
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


cdef int bfloat16 = -1  # the number of a type that is not NumPy's own, once it has been seen


cdef int storage_of(ndarray a) except -1:
    """How elements are stored."""
    global bfloat16
    cdef int number = PyArray_TYPE(a)
    if number == NPY_FLOAT:
        return LG_F32
    if number == NPY_DOUBLE:
        return LG_F64
    if number == NPY_FLOAT16:
        return LG_F16
    if number != bfloat16:
        if a.dtype.name != "bfloat16":
            raise TypeError(f"no kernels for {a.dtype}")
        bfloat16 = number
    return LG_BF16


cdef ndarray operand(object given, bint writes, int storage):
    """An array that is stored so."""
    cdef ndarray a = given
    if storage_of(a) != storage:
        raise ValueError("operands have different dtypes")
    if writes and not PyArray_ISWRITEABLE(a):
        raise ValueError("an operand is read-only")
    return a


cdef int match(Py_ssize_t outer, Py_ssize_t middle, Py_ssize_t inner, Py_ssize_t *shape) except -1:
    """Set the shape if it is not known (then its first entry is -1), else compare."""
    if shape[0] < 0:
        shape[0], shape[1], shape[2] = outer, middle, inner
    if shape[0] != outer or shape[1] != middle or shape[2] != inner:
        raise ValueError("operands have different shapes")
    return 0


cdef ndarray grid(object given, int axis, bint writes, lg_view *view, Py_ssize_t *shape, int storage):
    """View an array as (outer, classes, inner) with axis in the middle; what is returned holds the memory."""
    cdef ndarray a = operand(given, writes, storage)
    cdef Py_ssize_t outer = 1, inner = 1, classes = PyArray_DIM(a, axis), size = lg_size(storage)
    cdef int k, ndim = PyArray_NDIM(a)
    for k in range(axis):
        outer *= PyArray_DIM(a, k)
    for k in range(axis + 1, ndim):
        inner *= PyArray_DIM(a, k)
    match(outer, classes, inner, shape)
    if PyArray_IS_C_CONTIGUOUS(a):
        view.stride = [classes * inner * size, inner * size, size]
    else:
        if axis > 1 or ndim - axis > 2:
            a, axis, ndim = a.reshape(outer, classes, inner), 1, 3
        view.stride = [PyArray_STRIDE(a, 0) if axis else 0, PyArray_STRIDE(a, axis),
                       PyArray_STRIDE(a, axis + 1) if axis + 1 < ndim else 0]
    view.at, view.storage = PyArray_BYTES(a), storage
    return a


cdef ndarray row_values(ndarray a, lg_view *view, Py_ssize_t *shape):
    """View one value a row, in row order, as (outer, inner); what is returned holds the memory."""
    cdef Py_ssize_t outer = shape[0], inner = shape[2], size = PyArray_ITEMSIZE(a)
    if PyArray_SIZE(a) != outer * inner:
        raise ValueError("operands have different shapes")
    if PyArray_IS_C_CONTIGUOUS(a):
        view.stride = [inner * size, 0, size]
    elif inner == 1 and PyArray_NDIM(a) == 1:
        view.stride = [PyArray_STRIDE(a, 0), 0, 0]
    else:
        a = a.reshape(outer, inner)
        view.stride = [PyArray_STRIDE(a, 0), 0, PyArray_STRIDE(a, 1)]
    view.at = PyArray_BYTES(a)
    return a


cdef ndarray row_grid(object given, bint writes, lg_view *view, Py_ssize_t *shape, int storage):
    """The same of an array that is stored so."""
    view.storage = storage
    return row_values(operand(given, writes, storage), view, shape)


cdef int label_type(ndarray a) except -1:
    """The integer type of labels."""
    cdef int size = PyArray_ITEMSIZE(a)
    if not PyArray_ISINTEGER(a) or not PyArray_ISNOTSWAPPED(a):
        raise TypeError("labels are not native integers")
    if PyArray_ISUNSIGNED(a):
        return LG_U8 if size == 1 else LG_U16 if size == 2 else LG_U32 if size == 4 else LG_U64
    return LG_I8 if size == 1 else LG_I16 if size == 2 else LG_I32 if size == 4 else LG_I64


# ---- elementwise ----


cdef bint is_run(object given) except -1:
    """Whether elements are next to each other, or all one number, in C order; so is what is not given."""
    cdef ndarray a
    if given is None:
        return True
    a = given
    return PyArray_IS_C_CONTIGUOUS(a) or is_one_number(a)


cdef bint is_one_number(ndarray a) noexcept:
    """Whether all elements have one place."""
    cdef int k
    for k in range(PyArray_NDIM(a)):
        if PyArray_STRIDE(a, k):
            return False
    return True


cdef class Map(Job):
    """An elementwise op over boxes of three axes, or over runs."""

    cdef lg_map_job job
    cdef bint runs
    cdef double param[4]
    cdef double up64, one64  # what stands for an incoming gradient and for an input that are not given
    cdef float up32, one32

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        cdef lg_map_job own
        cdef lg_map_job *job = &self.job
        if sum != &self.sum:  # beside other parts
            own, job = self.job, &own
            own.sum = sum if own.sum != NULL else NULL
        if self.quick:
            lg_map(active, self.computed, job, begin, end)
            return 0
        with nogil:
            lg_map(active, self.computed, job, begin, end)
        return 0

    cdef int start(self, int op, int direction, int storage, tuple parameters) except -1:
        cdef int k
        self.job.op, self.job.direction, self.job.inputs = op, direction, lg_ops[op].inputs
        self.job.outputs = 2 if direction == LG_VALUE_AND_GRAD else 1
        self.job.shape[0] = -1
        self.computed = lg_computed(storage)
        for k in range(min(4, len(parameters))):
            self.param[k] = parameters[k]
        self.job.param = self.param
        return 0

    cdef ndarray box(self, object given, bint writes, lg_view *view, int storage):
        """View an array of the shape of the others; what is returned holds the memory."""
        cdef ndarray a = operand(given, writes, storage)
        cdef Py_ssize_t shape[3]
        cdef int k, lead = 3 - PyArray_NDIM(a)
        shape, view.stride = [1, 1, 1], [0, 0, 0]
        if self.runs:
            if not is_run(a):
                a = a.reshape(-1)
            shape[2] = PyArray_SIZE(a)
            view.stride[2] = lg_size(storage) if PyArray_IS_C_CONTIGUOUS(a) else PyArray_STRIDE(a, PyArray_NDIM(a) - 1)
        else:
            for k in range(lead, 3):
                shape[k], view.stride[k] = PyArray_DIM(a, k - lead), PyArray_STRIDE(a, k - lead)
        match(shape[0], shape[1], shape[2], self.job.shape)
        view.at, view.storage = PyArray_BYTES(a), storage
        return a

    cdef object box_or(self, object given, double *value64, float *value32, lg_view *view, int storage):
        """The same, a number throughout if it is None."""
        if given is not None:
            return self.box(given, False, view, storage)
        view.at = <char *> value64 if self.computed == LG_F64 else <char *> value32
        view.stride, view.storage = [0, 0, 0], self.computed

    cdef int sum_values(self) except -1:
        """Sum the values; they are not stored."""
        self.job.sum = &self.sum
        self.job.out[0].at, self.job.out[0].stride, self.job.out[0].storage = NULL, [0, 0, 0], self.computed
        return 0

    cdef int run_all(self, object num_threads) except -1:
        return self.run(self.job.shape[0] * self.job.shape[1] * self.job.shape[2], 1, num_threads)


cpdef elementwise(grad, a, b, c, weight, out, out_grad, int op, int direction, double up,
                  tuple parameters, num_threads):
    """Any op of a, b, c: the values to out, gradients to out_grad; the values' sum if out is None.

    An input that is None is 1 throughout, an incoming gradient that is None is up. Outputs of more
    than three axes are in C order.
    """
    cdef Map map = Map.__new__(Map)
    cdef lg_map_job *job = &map.job
    cdef int k = 0, storage = storage_of(a), computed = lg_computed(storage)
    map.start(op, direction, storage, parameters)
    # One number for all elements suits any order.
    map.runs = PyArray_NDIM(a) > 3 or (
        is_run(a) and is_run(grad) and is_run(b) and is_run(c) and is_run(weight) and is_run(out) and is_run(out_grad))
    if direction != LG_FORWARD:
        k = 1
        job.inputs += 1
        map.up64, map.up32 = up, lg_narrow(up)
    map.one64 = map.one32 = 1
    a = map.box(a, False, &job.inp[k], storage)
    if k:
        grad = map.box_or(grad, &map.up64, &map.up32, &job.inp[0], storage)
    if lg_ops[op].inputs > 1:
        b = map.box_or(b, &map.one64, &map.one32, &job.inp[k + 1], computed)
    if lg_ops[op].inputs > 2:
        c = map.box_or(c, &map.one64, &map.one32, &job.inp[k + 2], computed)
    if weight is not None:
        weight = map.box(weight, False, &job.weight, computed)
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


cdef class RowSums(Map):
    """The exact sum of an op along each row: the job is that of one row, whose place is found in time."""

    cdef lg_view first[2]  # the inputs' first rows
    cdef Py_ssize_t inner, line
    cdef double *out

    cdef void add_row(self, lg_map_job *job, Py_ssize_t row, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
        cdef int k
        cdef lg_view *v
        for k in range(job.inputs):
            v = &self.first[k]
            job.inp[k].at = v.at + row // self.inner * v.stride[0] + row % self.inner * v.stride[2]
        lg_map(active, self.computed, job, begin, end)

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        cdef lg_map_job job = self.job
        cdef lg_sum total
        cdef lg_view *v
        cdef Py_ssize_t row
        cdef int k
        if self.line >= 0:  # a long row, in parts
            job.sum = sum
            with nogil:
                self.add_row(&job, self.line, begin, end)
            return 0
        if job.shape[2] <= FEW:
            job.shape[1] = end if self.inner == 1 else self.inner
            for k in range(job.inputs):
                v = &self.first[k]
                job.inp[k] = v[0]
                job.inp[k].stride = [v.stride[0], v.stride[0] if self.inner == 1 else v.stride[2], v.stride[1]]
            with nogil:
                lg_line_sums(active, self.computed, &job, begin, end, self.out)
            return 0
        job.sum = &total
        with nogil:
            for row in range(begin, end):
                lg_sum_clear(&total)
                self.add_row(&job, row, 0, job.shape[2])
                self.out[row] = lg_sum_value(&total)
        return 0


def row_sums(a, b, double[:, ::1] out, int op, tuple parameters, num_threads):
    """The exact sum of an op over the middle axis, rounded once, for each row."""
    cdef RowSums sums = RowSums.__new__(RowSums)
    cdef lg_map_job *job = &sums.job
    cdef Py_ssize_t k, rows, n
    cdef int storage = storage_of(a)
    sums.start(op, LG_FORWARD, storage, parameters)
    a = sums.box(a, False, &sums.first[0], storage)
    if job.inputs > 1:
        b = sums.box(b, False, &sums.first[1], sums.computed)
    if out.shape[0] != job.shape[0] or out.shape[1] != job.shape[2]:
        raise ValueError("operands have different shapes")
    rows, n, sums.inner = job.shape[0] * job.shape[2], job.shape[1], job.shape[2]
    if rows == 0 or n == 0:
        out[:, :] = 0
        return
    sums.out = &out[0, 0]
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


cdef class ColumnSums(Map):
    """The exact sums of an op over the rows of a matrix: one sum for so many columns.

    Parts are rows, whose sums are merged, or of a wide matrix columns, so many sums to one.
    """

    cdef lg_sum *sums
    cdef Py_ssize_t number, width, together

    def __dealloc__(self):
        free(self.sums)

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *unused) except -1:
        cdef Py_ssize_t k, columns = self.number * self.width, step = self.together * self.width
        if self.together:
            with nogil:
                lg_column_sums(active, self.computed, &self.job, self.width, 0, self.job.shape[1], begin * step,
                               min(end * step, columns), self.sums)
            return 0
        cdef lg_sum *own = <lg_sum *> calloc(self.number, sizeof(lg_sum))
        if own == NULL:
            raise MemoryError()
        with nogil:
            lg_column_sums(active, self.computed, &self.job, self.width, begin, end, 0, columns, own)
        with cython.critical_section(self):
            for k in range(self.number):
                lg_sum_merge(&self.sums[k], &own[k])
        free(own)
        return 0


def column_sums(a, b, Py_ssize_t width, int op, num_threads):
    """The exact sums of an op of two matrices over their rows and over `width` neighbouring columns."""
    cdef ColumnSums sums = ColumnSums.__new__(ColumnSums)
    cdef Py_ssize_t k
    cdef int storage = storage_of(a)
    sums.start(op, LG_FORWARD, storage, ())
    a = sums.box(a, False, &sums.job.inp[0], storage)
    b = sums.box(b, False, &sums.job.inp[1], storage)
    if lg_ops[op].inputs != 2 or sums.job.shape[0] != 1 or width < 1 or sums.job.shape[2] % width:
        raise ValueError("operands have different shapes")
    sums.width, sums.number = width, sums.job.shape[2] // width
    sums.sums = <lg_sum *> calloc(sums.number, sizeof(lg_sum))
    if sums.sums == NULL:
        raise MemoryError()
    cdef Py_ssize_t rows = sums.job.shape[1], columns = sums.job.shape[2]
    if columns >= 2 * LG_BLOCK and rows <= 16 * LG_BLOCK:
        sums.together = max(1, LG_BLOCK // width)
        sums.run((sums.number + sums.together - 1) // sums.together, rows * sums.together * width, num_threads)
    else:
        sums.run(rows, columns + PER_ROW, num_threads)
    return [lg_sum_value(&sums.sums[k]) for k in range(sums.number)]


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
        size = lg_rows_scratch(job, end - begin, lg_size(self.computed)) + 64
        if size <= sizeof(small):
            job.scratch = small
        else:
            memory = job.scratch = malloc(size)
            if memory == NULL:
                raise MemoryError()
        job.scratch = <void *> ((<uintptr_t> job.scratch + 63) & ~<uintptr_t> 63)
        if self.quick:
            lg_rows(active, self.computed, job, begin, end)
        else:
            with nogil:
                lg_rows(active, self.computed, job, begin, end)
        free(memory)
        return 0

    cdef int check(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *weights) except -1:
        cdef lg_label_check found
        if self.quick:
            found = lg_check_labels(&self.job, self.computed, weights, begin, end)
        else:
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
        cdef ndarray a = operand(weight, False, self.computed)
        if PyArray_NDIM(a) != 1 or PyArray_DIM(a, 0) != self.job.classes or not PyArray_IS_C_CONTIGUOUS(a):
            raise ValueError("weight is not a contiguous vector of the classes")
        self.job.weight = PyArray_BYTES(a)
        return 0

    cdef int run_all(self, object num_threads) except -1:
        cdef Py_ssize_t n = self.job.classes
        if self.job.what == LG_SOFTMAX_JACOBIAN:
            n *= n
        return self.run(self.job.outer * self.job.inner, n + PER_ROW, num_threads)


cpdef softmax_like(x, int axis, grad, row_grad, factor, out, value, int what, num_threads):
    """The softmax family along axis; what is one of LOGSUMEXP, SOFTMAX, ... ; factor is logsumexp's b."""
    cdef Rows rows = Rows.__new__(Rows)
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t shape[3]
    cdef int storage = storage_of(x)
    shape[0] = -1
    x = grid(x, axis, False, &job.x, shape, storage)
    rows.start(what, shape, storage)
    if grad is not None:
        grad = grid(grad, axis, False, &job.grad, shape, storage)
    if row_grad is not None:
        row_grad = row_grid(row_grad, False, &job.row_grad, shape, storage)
    if factor is not None:
        factor = grid(factor, axis, False, &job.factor, shape, rows.computed)
    if out is not None:
        out = grid(out, axis, True, &job.out, shape, storage)
    if value is not None:
        value = row_grid(value, True, &job.value, shape, storage)
    rows.run_all(num_threads)


def softmax_jacobian(x, int axis, out, num_threads):
    """A matrix of classes for each row."""
    cdef Rows rows = Rows.__new__(Rows)
    cdef Py_ssize_t shape[3]
    cdef Py_ssize_t matrices[3]
    cdef int storage = storage_of(x)
    shape[0] = -1
    x = grid(x, axis, False, &rows.job.x, shape, storage)
    rows.start(LG_SOFTMAX_JACOBIAN, shape, storage)
    matrices = [shape[0] * shape[2], shape[1], shape[1]]
    out = grid(out, 1, True, &rows.job.out, matrices, storage)
    rows.run_all(num_threads)


cpdef tuple row_loss(x, int axis, labels, soft, weight, int64_t ignore_index, double smoothing, row_grad, double up,
             bint mean, out, value, double[::1] lse, bint lse_given, bint summed, int what,
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
    cdef int storage = storage_of(x)
    shape[0] = -1
    x = grid(x, axis, False, &job.x, shape, storage)
    rows.start(what, shape, storage)
    job.ignore_index, job.smoothing = ignore_index, smoothing
    if weight is not None:
        rows.take_weight(weight)
    n = shape[0] * shape[2]
    divisor = n
    if soft is not None:
        soft = grid(soft, axis, False, &job.soft, shape, rows.computed)
    else:
        job.label_type = label_type(labels)
        labels = row_values(labels, &job.label, shape)
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
        job.lse = &lse[0] if n else NULL
        job.lse_given = lse_given
    if row_grad is not None:
        row_grad = row_grid(row_grad, False, &job.row_grad, shape, storage)
    if out is not None:
        out = grid(out, axis, True, &job.out, shape, storage)
    if value is not None:
        value = row_grid(value, True, &job.value, shape, storage)
    if summed:
        job.sum = &rows.sum
    rows.run_all(num_threads)
    return -1, divisor, lg_sum_value(&rows.sum) if summed else 0.0


def row_statistics(x, labels, weight, int64_t ignore_index, double smoothing, loss, double[::1] lse,
                   int64_t[::1] predicted, int64_t[::1] rank, double[:, ::1] figures, num_threads):
    """Figures of each row of a matrix against its label, to the arrays after smoothing: the first bad row or -1.

    Nothing is written if there is a bad row. The losses are of the computed type; figures are the
    confidences, entropies, sums of squares and Brier scores.
    """
    cdef Rows rows = Rows.__new__(Rows)
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t n
    cdef Py_ssize_t shape[3]
    cdef int storage = storage_of(x)
    shape[0] = -1
    x = grid(x, 1, False, &job.x, shape, storage)
    n = shape[0]
    rows.start(LG_STATISTICS, shape, storage)
    job.ignore_index, job.smoothing = ignore_index, smoothing
    job.label_type = label_type(labels)
    labels = row_values(labels, &job.label, shape)
    rows.check_labels(num_threads)
    if rows.found.bad >= 0 or n == 0:
        return rows.found.bad
    if weight is not None:
        rows.take_weight(weight)
    loss = row_grid(loss, True, &job.value, shape, rows.computed)
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


def label_statistics(x, const double[::1] targets, double limit, loss, double[:, ::1] figures, uint8_t[::1] outcome,
                     num_threads):
    """Figures of runs of logits against targets in [0, 1], to the arrays after limit: probabilities, entropies and
    Brier scores; the losses are of the computed type.
    """
    cdef Labels labels = Labels.__new__(Labels)
    cdef lg_label_job *job = &labels.job
    cdef Py_ssize_t n = targets.shape[0]
    cdef int storage = storage_of(x)
    labels.computed = lg_computed(storage)
    cdef ndarray logits = operand(x, False, storage), to = operand(loss, True, labels.computed)
    if not PyArray_IS_C_CONTIGUOUS(logits) or not PyArray_IS_C_CONTIGUOUS(to):
        raise ValueError("operands are no runs")
    if (PyArray_SIZE(logits) != n or PyArray_SIZE(to) != n or figures.shape[0] != 3 or figures.shape[1] != n
            or outcome.shape[0] != n):
        raise ValueError("operands have different shapes")
    if n == 0:
        return
    job.x, job.storage, job.loss, job.limit = PyArray_BYTES(logits), storage, PyArray_BYTES(to), limit
    job.target, job.outcome = &targets[0], &outcome[0]
    job.probability, job.entropy, job.brier = &figures[0, 0], &figures[1, 0], &figures[2, 0]
    labels.run(n, 8, num_threads)


# ---- norms ----


cdef enum:
    WHOLE_ROWS, SQUARES, SLOPES


cdef class Norms(Job):
    """Norms of rows and their gradients; of a row that is long first its squares, then its slopes, in parts."""

    cdef lg_norm_job job
    cdef int phase
    cdef double unit
    cdef lg_squares found
    cdef lg_norm norm

    cdef int part(self, Py_ssize_t begin, Py_ssize_t end, lg_sum *sum) except -1:
        cdef lg_squares found
        if self.phase == SQUARES:
            with nogil:
                found = lg_norm_measure(active, self.computed, &self.job, self.unit, begin, end, sum)
            with cython.critical_section(self):
                self.found.slack += found.slack
                self.found.max = max(self.found.max, found.max)
        elif self.phase == SLOPES:
            with nogil:
                lg_norm_slopes(active, self.computed, &self.job, &self.norm, begin, end)
        elif self.quick:
            lg_norm_rows(active, self.computed, &self.job, begin, end)
        else:
            with nogil:
                lg_norm_rows(active, self.computed, &self.job, begin, end)
        return 0

    cdef int measure(self, double unit, object num_threads) except -1:
        self.phase, self.unit, self.found.max, self.found.slack = SQUARES, unit, 0, 0
        lg_sum_clear(&self.sum)
        return self.run(self.job.n, 1, num_threads)

    cdef int long_row(self, object num_threads) except -1:
        self.measure(1, num_threads)
        if lg_norm_is_far(self.found.max, self.computed):
            self.measure(lg_norm_unit(self.found.max, self.computed), num_threads)
        with nogil:
            self.norm = lg_norm_finish(active, self.computed, &self.job, self.unit, &self.found, &self.sum)
        if self.job.out.at != NULL:
            self.phase = SLOPES
            self.run(self.job.n, 1, num_threads)
        return 0

    cdef int run_rows(self, Py_ssize_t rows, object num_threads) except -1:
        cdef Py_ssize_t row, outer, inner
        cdef lg_norm_job job = self.job
        if job.n <= SHORT:
            return self.run(rows, job.n + PER_ROW, num_threads)
        for row in range(rows):
            outer, inner = row // job.inner, row % job.inner
            self.job.x.at = job.x.at + outer * job.x.stride[0] + inner * job.x.stride[2]
            if job.out.at != NULL:
                self.job.out.at = job.out.at + outer * job.out.stride[0] + inner * job.out.stride[2]
            self.job.value = job.value + row if job.value != NULL else NULL
            self.job.grad = job.grad + row if job.grad != NULL else NULL
            self.long_row(num_threads)
        return 0


def norms(x, int axis, const double[::1] grad, double up, out, double[::1] value, num_threads):
    """The norms along axis to value, and their gradients to out, times grad or up; either may be None."""
    cdef Norms job = Norms.__new__(Norms)
    cdef Py_ssize_t rows
    cdef Py_ssize_t shape[3]
    cdef int storage = storage_of(x)
    shape[0] = -1
    x = grid(x, axis, False, &job.job.x, shape, storage)
    if out is not None:
        out = grid(out, axis, True, &job.job.out, shape, storage)
    rows = shape[0] * shape[2]
    if value is not None and value.shape[0] != rows or grad is not None and grad.shape[0] != rows:
        raise ValueError("operands have different shapes")
    if rows == 0:
        return
    job.computed, job.job.n, job.job.inner, job.job.up = lg_computed(storage), shape[1], shape[2], up
    if value is not None:
        job.job.value = &value[0]
    if grad is not None:
        job.job.grad = &grad[0]
    job.run_rows(rows, num_threads)


# ---- totals: what an evaluation adds up ----


cdef extern from "totals.h":
    enum: LG_SCALARS, LG_TALLIES
    enum: LG_FINE, LG_NO_SUM, LG_NO_MEMORY
    enum: LG_EXPONENTS, LG_FEW_GROUPS
    ctypedef struct lg_cell:
        pass
    ctypedef struct lg_worst_row:
        double loss, confidence
        int64_t row, label, predicted
    ctypedef struct lg_totals:
        Py_ssize_t classes, groups
        Py_ssize_t *start
        Py_ssize_t *size
        int64_t *column[LG_COLUMNS]
        int64_t *(*zeros)(Py_ssize_t) noexcept nogil
        Py_ssize_t few
        Py_ssize_t *cell_start
        lg_cell *cell
        int64_t ignored, undefined, terms, correct, infinite
        lg_worst_row *worst
        Py_ssize_t listed, most
        double least
    ctypedef struct lg_terms:
        lg_rows_job rows
        lg_label_job logits
        int target_storage
        const double *weight
        bint strict
    ctypedef struct lg_problem:
        int kind
        Py_ssize_t at
    lg_problem lg_add_rows(lg_totals *, const lg_level *, int, const lg_terms *, Py_ssize_t, Py_ssize_t) nogil
    lg_problem lg_add_logits(lg_totals *, const lg_level *, int, const lg_terms *, Py_ssize_t, Py_ssize_t) nogil
    int lg_totals_settle(lg_totals *) nogil
    bint lg_tally_has(const lg_totals *, int, int) nogil

# as the C enum numbers them
TALLIES = ("support", "predicted", "hits", "loss", "ranks", "seen", "confusion", "bin_weight", "bin_confidence",
           "bin_right", "loss_histogram", "scalars")


cdef int64_t *zeros(Py_ssize_t groups) noexcept nogil:
    return <int64_t *> calloc(groups, sizeof(int64_t))


cdef class Totals:
    """What one thread adds up: counts and exact sums, by the names and sizes that it is given."""

    cdef lg_totals totals

    def __cinit__(self, Py_ssize_t classes, dict sizes, Py_ssize_t worst):
        cdef int k
        self.totals.classes, self.totals.most, self.totals.zeros = classes, worst, zeros
        for k, name in enumerate(TALLIES):
            self.totals.start[k], self.totals.size[k] = self.totals.groups, sizes.get(name, 0)
            self.totals.groups += self.totals.size[k]
            if self.totals.size[k] <= LG_FEW_GROUPS:
                self.totals.cell_start[k] = self.totals.few
                self.totals.few += self.totals.size[k]
        self.totals.column[LG_ONES] = zeros(self.totals.groups)
        self.totals.worst = <lg_worst_row *> calloc(max(1, worst), sizeof(lg_worst_row))
        self.totals.cell = <lg_cell *> calloc(LG_EXPONENTS * self.totals.few, sizeof(lg_cell))
        if self.totals.cell == NULL or self.totals.column[LG_ONES] == NULL or self.totals.worst == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef int k
        for k in range(LG_COLUMNS):
            free(self.totals.column[k])
        free(self.totals.cell)
        free(self.totals.worst)

    cdef tuple found(self, lg_problem problem):
        """(kind of the problem, 0 if there is none; its row or logit)."""
        if problem.kind & LG_NO_MEMORY:
            raise MemoryError()
        if problem.kind & LG_NO_SUM:
            raise ValueError("only numbers from 0 to infinity can be summed")
        return problem.kind, problem.at

    cdef int take_targets(self, ndarray targets, lg_terms *terms, Py_ssize_t n) except -1:
        if PyArray_NDIM(targets) != 1 or PyArray_DIM(targets, 0) != n:
            raise ValueError("operands have different shapes")
        terms.rows.label.at, terms.rows.label.stride = PyArray_BYTES(targets), [PyArray_STRIDE(targets, 0), 0, 0]
        return 0

    cdef int take_weight(self, const double[::1] weight, lg_terms *terms, Py_ssize_t rows) except -1:
        if weight is not None:
            if weight.shape[0] != rows:
                raise ValueError("operands have different shapes")
            terms.weight = &weight[0]
        return 0

    def add_rows(self, x, labels, class_weight, const double[::1] weight, int64_t ignore_index, double smoothing,
                 bint strict, Py_ssize_t begin, Py_ssize_t end):
        """Add rows of a matrix, with integer labels: the first problem."""
        cdef lg_terms terms
        cdef Rows rows = Rows.__new__(Rows)
        cdef Py_ssize_t shape[3]
        cdef int storage = storage_of(x)
        cdef lg_problem problem
        shape[0] = -1
        x = grid(x, 1, False, &rows.job.x, shape, storage)
        rows.start(LG_STATISTICS, shape, storage)
        if shape[1] != self.totals.classes or shape[2] != 1 or not 0 <= begin <= end <= shape[0]:
            raise ValueError("operands have different shapes")
        if begin == end:
            return LG_FINE, 0
        if class_weight is not None:
            rows.take_weight(class_weight)
        rows.job.ignore_index, rows.job.smoothing = ignore_index, smoothing
        rows.job.label_type = label_type(labels)
        terms.rows, terms.weight, terms.strict, terms.target_storage = rows.job, NULL, strict, -1
        self.take_targets(labels, &terms, shape[0])
        self.take_weight(weight, &terms, shape[0])
        cdef char *memory = <char *> malloc(lg_rows_scratch(&rows.job, end - begin, lg_size(rows.computed)) + 64)
        if memory == NULL:
            raise MemoryError()
        terms.rows.scratch = <void *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
        with nogil:
            problem = lg_add_rows(&self.totals, active, rows.computed, &terms, begin, end)
        free(memory)
        return self.found(problem)

    def add_logits(self, x, targets, const double[::1] weight, double limit, bint strict, Py_ssize_t begin, Py_ssize_t end):
        """Add logits of the binary task, a run, with their targets: the first problem."""
        cdef lg_terms terms
        cdef ndarray logits = x
        cdef Py_ssize_t n = PyArray_SIZE(logits)
        cdef int storage = storage_of(x)
        cdef lg_problem problem
        if not PyArray_IS_C_CONTIGUOUS(logits) or n % self.totals.classes or not 0 <= begin <= end <= n:
            raise ValueError("operands have different shapes")
        if begin == end:
            return LG_FINE, 0
        terms.logits.x, terms.logits.storage, terms.logits.limit = PyArray_BYTES(logits), storage, limit
        terms.weight, terms.strict, terms.target_storage = NULL, strict, -1
        if PyArray_ISINTEGER(targets) or targets.dtype == bool:
            terms.rows.label_type = LG_U8 if targets.dtype == bool else label_type(targets)
        else:
            terms.target_storage = storage_of(targets)
        self.take_targets(targets, &terms, n)
        self.take_weight(weight, &terms, n // self.totals.classes)
        with nogil:
            problem = lg_add_logits(&self.totals, active, lg_computed(storage), &terms, begin, end)
        return self.found(problem)

    def counts(self):
        """The numbers of terms that are ignored, undefined, ..."""
        return {"ignored": self.totals.ignored, "undefined": self.totals.undefined, "terms": self.totals.terms,
                "correct": self.totals.correct, "infinite": self.totals.infinite}

    def columns(self):
        """The columns of each tally that hold anything: {name: {index: numbers}}."""
        cdef int k, tally
        cdef npy_intp size[1]
        cdef ndarray column
        if lg_totals_settle(&self.totals) != LG_FINE:
            raise MemoryError()
        found = {}
        for tally, name in enumerate(TALLIES):
            size[0] = self.totals.size[tally]
            own = {}
            for k in range(LG_COLUMNS):
                if lg_tally_has(&self.totals, tally, k):
                    own[k] = column = PyArray_EMPTY(1, size, NPY_INT64, 0)
                    memcpy(PyArray_BYTES(column), self.totals.column[k] + self.totals.start[tally], size[0] * sizeof(int64_t))
            found[name] = own
        return found

    def worst(self, double least):
        """(loss, row, label, predicted, confidence) of the listed rows, which leave the list; next, those of `least`."""
        cdef Py_ssize_t k
        rows = [(self.totals.worst[k].loss, self.totals.worst[k].row, self.totals.worst[k].label,
                 self.totals.worst[k].predicted, self.totals.worst[k].confidence) for k in range(self.totals.listed)]
        self.totals.listed, self.totals.least = 0, least
        return rows


# ---- the usual call: everything checked, and room made for the result, in a fraction of the time ----


cdef bint is_plain(object a) noexcept:
    """Whether it is exactly an array of float32 or float64, in C order and aligned."""
    return PyArray_CheckExact(a) and PyArray_ISCARRAY_RO(a) and PyArray_TYPE(a) in (NPY_FLOAT, NPY_DOUBLE)


cdef bint is_alike(object a, ndarray x) noexcept:
    """Whether it is as plain as x, of its dtype and shape."""
    return PyArray_CheckExact(a) and PyArray_ISCARRAY_RO(a) and PyArray_TYPE(a) == PyArray_TYPE(x) and PyArray_SAMESHAPE(a, x)


cdef bint is_free(ndarray out, ndarray a) noexcept:
    """Whether out, which is plain, may be written to while a is read: it is the same array, or elsewhere."""
    cdef char *p = PyArray_BYTES(out)
    cdef char *q = PyArray_BYTES(a)
    if p == q and is_alike(a, out):
        return True
    return PyArray_IS_C_CONTIGUOUS(a) and (p + PyArray_NBYTES(out) <= q or q + PyArray_NBYTES(a) <= p)


def plain_within(x, double most):
    """Whether x is plain and all its elements are from 0 to most."""
    if not is_plain(x):
        return False
    cdef ndarray a = x
    cdef int computed = lg_computed(storage_of(a))
    cdef bint good
    with nogil:
        good = lg_within(active, computed, PyArray_BYTES(a), PyArray_SIZE(a), most)
    return good


cdef object result_like(ndarray x, object out, object other):
    """An array for a result of x's dtype and shape: out, a new one if that is None; None if it does not fit."""
    if out is None:
        return PyArray_EMPTY(PyArray_NDIM(x), PyArray_DIMS(x), PyArray_TYPE(x), 0)
    if not is_alike(out, x) or not PyArray_ISWRITEABLE(out) or not is_free(out, x):
        return None
    return out if other is None or is_free(out, other) else None


cdef object result_of_rows(ndarray x, int axis):
    """A new array for one value a row; None if that is a number."""
    cdef npy_intp shape[64]
    cdef int k, ndim = PyArray_NDIM(x) - 1
    for k in range(ndim):
        shape[k] = PyArray_DIM(x, k if k < axis else k + 1)
    return PyArray_EMPTY(ndim, shape, PyArray_TYPE(x), 0) if ndim else None


cdef int plain_axis(object axis, ndarray x) except -2:
    """The axis counted from the front; -1 if it is not an ordinary one with classes along it."""
    cdef int overflow = 0
    if type(axis) is not int:
        return -1
    cdef Py_ssize_t k = PyLong_AsLongAndOverflow(axis, &overflow)
    if k < 0:
        k += PyArray_NDIM(x)
    return k if 0 <= k < PyArray_NDIM(x) and PyArray_DIM(x, k) and not overflow else -1


def plain_elementwise(int op, int direction, grad, x, out, tuple parameters, num_threads):
    """The result of an op of one input, forward or backward (out if given); None if it is for others to say."""
    if not is_plain(x) or PyArray_NDIM(x) == 0 or not (grad is None or is_alike(grad, x)):
        return None
    result = result_like(x, out, grad)
    if result is None:
        return None
    if direction == LG_FORWARD:
        elementwise(None, x, None, None, None, result, None, op, direction, 1.0, parameters, num_threads)
    else:
        elementwise(grad, x, None, None, None, None, result, op, direction, 1.0, parameters, num_threads)
    return result


def plain_softmax(int what, grad, x, axis, out, num_threads):
    """The result of one of the softmax family, or its gradient (out if given); None if it is for others to say."""
    if not is_plain(x) or not (grad is None or is_alike(grad, x)):
        return None
    cdef int along = plain_axis(axis, x)
    if along < 0:
        return None
    result = result_like(x, out, grad)
    if result is not None:
        softmax_like(x, along, grad, None, None, result, None, what, num_threads)
    return result


def plain_logsumexp(x, axis, num_threads):
    """A new array of each row's log-sum-exp; None if it is for others to say."""
    cdef int along = plain_axis(axis, x) if is_plain(x) else -1
    result = result_of_rows(x, along) if along >= 0 else None
    if result is not None:
        softmax_like(x, along, None, None, None, None, result, LG_LOGSUMEXP, num_threads)
    return result


def plain_row_loss(int what, upstream, x, labels, ignore_index, reduction, smoothing, axis, out, bint value, num_threads):
    """(loss if value is asked for, gradient unless upstream is None) for labels; None if it is for others to say.

    Nothing has been written then.
    """
    cdef int overflow = 0, k
    cdef bint mean = reduction == "mean", each = reduction == "none"
    if not is_plain(x) or not PyArray_CheckExact(labels):
        return None
    cdef ndarray t = labels
    cdef int along = plain_axis(axis, x)
    if along < 0 or PyArray_NDIM(t) != PyArray_NDIM(x) - 1 or not PyArray_ISINTEGER(t) or not PyArray_ISBEHAVED_RO(t):
        return None
    for k in range(PyArray_NDIM(t)):
        if PyArray_DIM(t, k) != PyArray_DIM(x, k if k < along else k + 1):
            return None
    if type(ignore_index) is not int or type(smoothing) is not float or not 0 <= <double> smoothing <= 1:
        return None
    cdef int64_t ignored = PyLong_AsLongLongAndOverflow(ignore_index, &overflow)
    if overflow or not (mean or each or reduction == "sum"):
        return None
    gradient = result_like(x, out, t) if type(upstream) is float else None
    losses = result_of_rows(x, along) if each and value else None
    if gradient is None and (upstream is not None or out is not None) or each and losses is None:
        return None
    bad, divisor, total = row_loss(
        x, along, t, None, None, ignored, smoothing, None, 1.0 if upstream is None else upstream,
        mean, gradient, losses, None, False, value and not each, what, num_threads)
    if bad >= 0:
        return None
    if value and not each:
        losses = quotient(total, divisor) if mean else total
    return losses, gradient


def plain_loss(int op, upstream, x, targets, reduction, out, bint value, tuple parameters, num_threads):
    """(loss if value is asked for, gradient unless upstream is None) of elements; None if it is for others to say."""
    cdef bint mean = reduction == "mean"
    if not is_plain(x) or PyArray_NDIM(x) == 0 or not is_alike(targets, x) or not (mean or reduction == "sum"):
        return None
    gradient = result_like(x, out, targets) if type(upstream) is float else None
    if gradient is None and (upstream is not None or out is not None):
        return None
    cdef double n = PyArray_SIZE(x), up = 1.0 if upstream is None else upstream
    loss = elementwise(
        None, x, targets, None, None, None, gradient, op,
        LG_FORWARD if gradient is None else LG_VALUE_AND_GRAD if value else LG_BACKWARD,
        quotient(up, n) if mean else up, parameters, num_threads)
    return quotient(loss, n) if value and mean else loss, gradient


def plain_norm(upstream, x, axis, keepdims, out, bint value, num_threads):
    """(norm of all elements if value is asked for, gradient unless upstream is None); None if it is for others to say."""
    if axis is not None or keepdims or not is_plain(x):
        return None
    gradient = result_like(x, out, None) if type(upstream) is float else None
    if gradient is None and (upstream is not None or out is not None):
        return None
    cdef Norms job = Norms.__new__(Norms)
    cdef double norm
    cdef int storage = storage_of(x)
    job.computed, job.job.n, job.job.inner = lg_computed(storage), PyArray_SIZE(x), 1
    job.job.x.at, job.job.x.stride, job.job.x.storage = PyArray_BYTES(x), [0, lg_size(storage), 0], storage
    job.job.value = &norm
    if gradient is not None:
        job.job.out, job.job.up = job.job.x, upstream
        job.job.out.at = PyArray_BYTES(gradient)
    job.run_rows(1, num_threads)
    return norm if value else None, gradient


set_level(os.environ.get("LOSSGRAD_ISA") or None)
