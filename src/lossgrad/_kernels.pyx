# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_arguments.py``); here the shapes are compared once
more, since C trusts them. Arrays are walked as grids: (outer, middle, inner), the class axis in the
middle. Each call describes a job to C and is back when it is done, without the GIL from the first
part to the last, however many threads share it (``csrc/pool.c``): a call holds its arrays for as long
as it lasts. The time of a small call is that of its checks: ``plain_`` functions know the usual
arguments at a glance, and leave all others, and every error, to Python.
"""

import os

from cpython.exc cimport PyErr_Occurred
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_AsLongLongAndOverflow
from libc.math cimport NAN, fabs, frexp, isfinite
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

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
    enum: LG_COLUMNS, LG_ONES
    enum: LG_PER_ROW
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
        lg_view weight, shift
        double up
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
        const double *sample_weight
        double smoothing, scale
        lg_sum *sum
        lg_statistics statistics
        int *strange
        void *scratch
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
    ctypedef struct lg_norm_job:
        lg_view x, out
        Py_ssize_t n, inner
        const double *grad
        double up
        double *value
    ctypedef int (*lg_look)() noexcept nogil
    ctypedef struct lg_way:
        const lg_level *level
        int computed, threads
        lg_look look
    ctypedef struct lg_label_check:
        lg_sum weights
        Py_ssize_t kept, bad
    int lg_map(const lg_way *, const lg_map_job *) nogil
    int lg_line_sums(const lg_way *, const lg_map_job *, double *) nogil
    int lg_column_sums(const lg_way *, const lg_map_job *, Py_ssize_t, lg_sum *) nogil
    int lg_within(const lg_way *, const char *, int, Py_ssize_t, double, int *) nogil
    int lg_check_labels(const lg_way *, const lg_rows_job *, lg_label_check *) nogil
    int lg_rows(const lg_way *, const lg_rows_job *) nogil
    size_t lg_rows_scratch(const lg_rows_job *, Py_ssize_t, size_t) nogil
    int lg_label_statistics(const lg_way *, const lg_label_job *, Py_ssize_t) nogil
    int lg_norms(const lg_way *, const lg_norm_job *, Py_ssize_t) nogil
    double lg_quotient(double, double) nogil
    float lg_narrow(double) nogil

cdef extern from "pool.h":
    enum: LG_DONE, LG_NO_MEMORY
    ctypedef struct lg_sharing:
        double worth, shortest
    lg_sharing lg_set_sharing(lg_sharing)
    ctypedef struct lg_pool_state:
        int threads, shared
    lg_pool_state lg_pool_now()

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # what it raises is left for the call to raise

cdef extern from "environment.h":
    ctypedef struct lg_environment:
        pass
    lg_environment lg_enter() nogil
    void lg_leave(lg_environment) nogil

cdef enum:
    QUICK = 1024     # float32 elements that are over before another thread could use the GIL
    SHORT = 65536    # and so many before a helper could: nobody asks for how many threads there are
    THREADS = 1024   # more than are of use

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

    cpdef add(self, const double[:] values):
        """Add every element."""
        cdef Py_ssize_t k
        with nogil:
            for k in range(values.shape[0]):
                lg_sum_add(&self.state, values[k])

    def merge(self, Sum other not None):
        """Add what the other has summed."""
        lg_sum_merge(&self.state, &other.state)

    cpdef double value(self):
        """The sum, correctly rounded."""
        return lg_sum_value(&self.state)


cpdef double exact_sum(const double[::1] values):
    """The sum of all elements, rounded once."""
    cdef Sum all_of = Sum()
    all_of.add(values)
    return all_of.value()


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


# ---- jobs ----


cdef int look() noexcept with gil:
    """What the calling thread does between parts: the handlers of signals, which may raise."""
    return PyErr_CheckSignals()


cdef int begin(lg_way *way, int storage, double work, object num_threads) except -1:
    """How to do a job that takes as long as so many float32 elements."""
    way.level, way.computed, way.threads, way.look = active, lg_computed(storage), 1, NULL
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        num_threads = _threads.checked(num_threads)
    if work > SHORT:
        way.threads = min(THREADS, _threads.get_num_threads() if num_threads is None else num_threads)
        if _threads.handles_signals():
            way.look = look
    return 0


cdef int ended(int status) except -1:
    """Raise what kept a job from being done."""
    if status == LG_DONE:
        return 0
    if PyErr_Occurred() != NULL:
        return -1
    if status == LG_NO_MEMORY:
        raise MemoryError()
    raise RuntimeError(
        "a signal handler forked this process while threads shared a call, which is not finished in the child: "
        "call again there"
    )


def set_sharing(double worth, double shortest):
    """From which rest of a job on, in seconds, and in which parts at least, it is shared: those before. For tests."""
    cdef lg_sharing before = lg_set_sharing(lg_sharing(worth, shortest))
    return before.worth, before.shortest


def pool():
    """(threads that help callers, jobs that have been shared so far)."""
    cdef lg_pool_state now = lg_pool_now()
    return now.threads, now.shared


# ---- what a call reads, which decides where it may write ----


cdef enum:
    MOST = 8  # arrays that a call reads


cdef struct Reads:
    # Borrowed: who crosses holds its arguments for as long as the call lasts.
    int number
    void *array[MOST]
    bint in_step[MOST]


cdef int reads_too(Reads *reads, object a, bint in_step) except -1:
    """Note an array that the call reads; in step if it is done with an element when the result there is written."""
    if reads.number == MOST:
        raise RuntimeError("more operands than were thought of")
    reads.array[reads.number], reads.in_step[reads.number] = <void *> a, in_step
    reads.number += 1
    return 0


cdef bint is_same(ndarray a, ndarray b) noexcept:
    """Whether elements of one index have one place, and are of one type."""
    cdef int k
    if PyArray_BYTES(a) != PyArray_BYTES(b) or PyArray_TYPE(a) != PyArray_TYPE(b) or not PyArray_SAMESHAPE(a, b):
        return False
    for k in range(PyArray_NDIM(a)):
        if PyArray_STRIDE(a, k) != PyArray_STRIDE(b, k):
            return False
    return True


cdef void extent(ndarray a, char **low, char **high) noexcept:
    """The memory from an array's first byte to past its last."""
    cdef int k
    cdef npy_intp reach
    low[0] = high[0] = PyArray_BYTES(a)
    if PyArray_IS_C_CONTIGUOUS(a):
        high[0] += PyArray_NBYTES(a)
    elif PyArray_SIZE(a):
        high[0] += PyArray_ITEMSIZE(a)
        for k in range(PyArray_NDIM(a)):
            reach = (PyArray_DIM(a, k) - 1) * PyArray_STRIDE(a, k)
            if reach < 0:
                low[0] += reach
            else:
                high[0] += reach


cdef bint is_free(ndarray out, ndarray a, bint in_step) noexcept:
    """Whether out may be written to while a is read: it is elsewhere, or the same array and read in step."""
    cdef char *p
    cdef char *p_end
    cdef char *q
    cdef char *q_end
    extent(out, &p, &p_end)
    extent(a, &q, &q_end)
    return p_end <= q or q_end <= p or in_step and is_same(out, a)


cdef object place_for(object out, Reads *reads):
    """Where to write what is for out: there, or to a new array if that would change what is still to be read."""
    cdef ndarray a = out
    cdef int k
    for k in range(reads.number):
        if not is_free(a, <ndarray> reads.array[k], reads.in_step[k]):
            return PyArray_EMPTY(PyArray_NDIM(a), PyArray_DIMS(a), PyArray_TYPE(a), 0)
    return out


cdef int deliver(object out, object place) except -1:
    """What was written to its place is in out."""
    if out is not place:
        out[...] = place
    return 0


# ---- arrays of any rank and dtype as the views that C walks ----


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


cdef ndarray operand(object given, bint writes, int storage, Reads *reads, bint in_step):
    """An array that is stored so, noted if it is read."""
    cdef ndarray a = given
    if storage_of(a) != storage:
        raise ValueError("operands have different dtypes")
    if not writes:
        reads_too(reads, given, in_step)
    elif not PyArray_ISWRITEABLE(a):
        raise ValueError("an operand is read-only")
    return a


cdef int match(Py_ssize_t outer, Py_ssize_t middle, Py_ssize_t inner, Py_ssize_t *shape) except -1:
    """Set the shape if it is not known (then its first entry is -1), else compare."""
    if shape[0] < 0:
        shape[0], shape[1], shape[2] = outer, middle, inner
    if shape[0] != outer or shape[1] != middle or shape[2] != inner:
        raise ValueError("operands have different shapes")
    return 0


cdef ndarray grid(object given, int axis, bint writes, lg_view *view, Py_ssize_t *shape, int storage, Reads *reads):
    """View an array as (outer, classes, inner) with axis in the middle; what is returned holds the memory."""
    cdef ndarray a = operand(given, writes, storage, reads, True)
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


cdef ndarray row_grid(object given, bint writes, lg_view *view, Py_ssize_t *shape, int storage, Reads *reads):
    """The same of an array that is stored so."""
    view.storage = storage
    return row_values(operand(given, writes, storage, reads, False), view, shape)


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


cdef struct Elements:
    # An elementwise op over boxes of three axes, or over runs.
    lg_map_job job
    int computed
    bint runs
    double param[4]
    double up64, one64  # what stands for an incoming gradient and for an input that are not given
    float up32, one32
    lg_sum sum
    Reads reads


cdef int start_elements(Elements *e, int op, int direction, int storage, tuple parameters) except -1:
    cdef int k
    memset(e, 0, sizeof(lg_map_job))
    e.computed = lg_computed(storage)
    e.runs, e.reads.number = False, 0
    e.job.op, e.job.direction, e.job.inputs = op, direction, lg_ops[op].inputs
    e.job.outputs = 2 if direction == LG_VALUE_AND_GRAD else 1
    e.job.shape[0] = -1
    for k in range(min(4, len(parameters))):
        e.param[k] = parameters[k]
    e.job.param = e.param
    return 0


cdef ndarray box(Elements *e, object given, bint writes, lg_view *view, int storage):
    """View an array of the shape of the others; what is returned holds the memory."""
    cdef ndarray a = operand(given, writes, storage, &e.reads, True)
    cdef Py_ssize_t shape[3]
    cdef int k, lead = 3 - PyArray_NDIM(a)
    shape, view.stride = [1, 1, 1], [0, 0, 0]
    if e.runs:
        if not is_run(a):
            a = a.reshape(-1)
        shape[2] = PyArray_SIZE(a)
        view.stride[2] = lg_size(storage) if PyArray_IS_C_CONTIGUOUS(a) else PyArray_STRIDE(a, PyArray_NDIM(a) - 1)
    else:
        for k in range(lead, 3):
            shape[k], view.stride[k] = PyArray_DIM(a, k - lead), PyArray_STRIDE(a, k - lead)
    match(shape[0], shape[1], shape[2], e.job.shape)
    view.at, view.storage = PyArray_BYTES(a), storage
    return a


cdef ndarray beside(Elements *e, object given, lg_view *view):
    """View an input beside another: stored as that, or in the type that it is computed in."""
    cdef int storage = storage_of(given)
    if lg_computed(storage) != e.computed:
        raise ValueError("operands have different dtypes")
    return box(e, given, False, view, storage)


cdef object box_or(Elements *e, object given, double *value64, float *value32, lg_view *view):
    """The same of one that is stored in any way that is computed so, a number throughout if it is None."""
    if given is not None:
        return beside(e, given, view)
    view.at = <char *> value64 if e.computed == LG_F64 else <char *> value32
    view.stride, view.storage = [0, 0, 0], e.computed


cdef int sum_values(Elements *e) except -1:
    """Sum the values; they are not stored."""
    lg_sum_clear(&e.sum)
    e.job.sum = &e.sum
    e.job.out[0].storage = e.computed
    return 0


cdef int run_elements(Elements *e, object num_threads) except -1:
    cdef lg_way way
    cdef int status
    cdef Py_ssize_t n = e.job.shape[0] * e.job.shape[1] * e.job.shape[2]
    begin(&way, e.computed, n, num_threads)
    if n <= QUICK:
        status = lg_map(&way, &e.job)
    else:
        with nogil:
            status = lg_map(&way, &e.job)
    return ended(status)


cdef double share(double up, double divisor, double *shift) noexcept:
    """up / divisor as what is returned times 2**shift: near 1, unless it is 0 or not finite."""
    cdef double q = quotient(up, divisor)
    cdef int a, b
    shift[0] = 0
    if 1e-27 < fabs(q) < 1e9 or up == 0 or divisor == 0 or not isfinite(up) or not isfinite(divisor):
        return q
    up, divisor = frexp(up, &a), frexp(divisor, &b)
    shift[0] = a - b
    return quotient(up, divisor)


cpdef elementwise(grad, a, b, c, weight, out, out_grad, int op, int direction, double up,
                  tuple parameters, num_threads, double divisor=1, shift=None):
    """Any op of a, b, c: the values to out, gradients to out_grad; the values' sum if out is None.

    An input that is None is 1 throughout, an incoming gradient that is None is up / divisor. Weights are
    those of a loss, times 2**shift if that is given. Outputs of more than three axes are in C order.
    """
    cdef Elements e
    cdef lg_map_job *job = &e.job
    cdef int k = 0, storage = storage_of(a)
    start_elements(&e, op, direction, storage, parameters)
    # One number for all elements suits any order.
    e.runs = PyArray_NDIM(a) > 3 or (
        is_run(a) and is_run(grad) and is_run(b) and is_run(c) and is_run(weight) and is_run(shift) and is_run(out)
        and is_run(out_grad))
    if direction != LG_FORWARD:
        k = 1
        job.inputs += 1
        if grad is None:
            up = share(up, divisor, &job.up)
        e.up64, e.up32 = up, lg_narrow(up)
    e.one64 = e.one32 = 1
    a = box(&e, a, False, &job.inp[k], storage)
    if k:
        grad = box_or(&e, grad, &e.up64, &e.up32, &job.inp[0])
    if lg_ops[op].inputs > 1:
        b = box_or(&e, b, &e.one64, &e.one32, &job.inp[k + 1])
    if lg_ops[op].inputs > 2:
        c = box_or(&e, c, &e.one64, &e.one32, &job.inp[k + 2])
    if weight is not None or job.up or c is not None:
        weight = box_or(&e, weight, &e.one64, &e.one32, &job.weight)
    if shift is not None:
        shift = beside(&e, shift, &job.shift)
    value = None if out is None else place_for(out, &e.reads)
    slope = None if out_grad is None else place_for(out_grad, &e.reads)
    if direction != LG_BACKWARD and value is None:
        sum_values(&e)
    values = None if value is None else box(&e, value, True, &job.out[0], storage)
    k = 0 if direction == LG_BACKWARD else 1
    slopes = None if slope is None else box(&e, slope, True, &job.out[k], storage)
    run_elements(&e, num_threads)
    deliver(out, value)
    deliver(out_grad, slope)
    return lg_sum_value(&e.sum) if job.sum != NULL else None


def row_sums(a, b, double[:, ::1] out, int op, tuple parameters, num_threads):
    """The exact sum of an op over the middle axis, rounded once, for each row."""
    cdef Elements e
    cdef lg_way way
    cdef int status, storage = storage_of(a)
    cdef Py_ssize_t rows, n
    start_elements(&e, op, LG_FORWARD, storage, parameters)
    a = box(&e, a, False, &e.job.inp[0], storage)
    if e.job.inputs > 1:
        b = beside(&e, b, &e.job.inp[1])
    if out.shape[0] != e.job.shape[0] or out.shape[1] != e.job.shape[2]:
        raise ValueError("operands have different shapes")
    rows, n = e.job.shape[0] * e.job.shape[2], e.job.shape[1]
    if rows == 0 or n == 0:
        out[:, :] = 0
        return
    sum_values(&e)
    begin(&way, storage, <double> rows * (n + LG_PER_ROW), num_threads)
    with nogil:
        status = lg_line_sums(&way, &e.job, &out[0, 0])
    ended(status)


def column_sums(a, b, Py_ssize_t width, int op, num_threads):
    """The exact sums of an op of two matrices over their rows and over `width` neighbouring columns."""
    cdef Elements e
    cdef lg_way way
    cdef int status, storage = storage_of(a)
    cdef Py_ssize_t k, number
    start_elements(&e, op, LG_FORWARD, storage, ())
    a = box(&e, a, False, &e.job.inp[0], storage)
    b = beside(&e, b, &e.job.inp[1])
    if lg_ops[op].inputs != 2 or e.job.shape[0] != 1 or width < 1 or e.job.shape[2] % width:
        raise ValueError("operands have different shapes")
    number = e.job.shape[2] // width
    begin(&way, storage, <double> e.job.shape[1] * (e.job.shape[2] + LG_PER_ROW), num_threads)
    cdef lg_sum *sums = <lg_sum *> calloc(number, sizeof(lg_sum))
    if sums == NULL:
        raise MemoryError()
    try:
        with nogil:
            status = lg_column_sums(&way, &e.job, width, sums)
        ended(status)
        return [lg_sum_value(&sums[k]) for k in range(number)]
    finally:
        free(sums)


# ---- rows ----


cdef struct Rows:
    # One of the softmax family.
    lg_rows_job job
    int storage
    lg_sum sum
    lg_label_check found
    int strange
    Reads reads


cdef int start_rows(Rows *rows, int what, object x, Py_ssize_t *shape) except -1:
    memset(&rows.job, 0, sizeof(lg_rows_job))
    rows.storage, rows.strange, rows.reads.number = storage_of(x), 0, 0
    rows.job.what, rows.job.scale, rows.job.strange = what, 1.0, &rows.strange
    shape[0] = -1
    return 0


cdef int set_shape(Rows *rows, Py_ssize_t *shape) except -1:
    rows.job.outer, rows.job.classes, rows.job.inner = shape[0], shape[1], shape[2]
    return 0


cdef int take_weight(Rows *rows, object weight) except -1:
    """A weight for each class."""
    cdef ndarray a = operand(weight, False, lg_computed(rows.storage), &rows.reads, False)
    if PyArray_NDIM(a) != 1 or PyArray_DIM(a, 0) != rows.job.classes or not PyArray_IS_C_CONTIGUOUS(a):
        raise ValueError("weight is not a contiguous vector of the classes")
    rows.job.weight = PyArray_BYTES(a)
    return 0


cdef int check_labels(Rows *rows, object num_threads) except -1:
    """Sets what is found; the weights' sum is that of the kept rows."""
    cdef lg_way way
    cdef int status
    cdef double work = 4.0 * rows.job.outer * rows.job.inner
    begin(&way, rows.storage, work, num_threads)
    if work <= QUICK:
        status = lg_check_labels(&way, &rows.job, &rows.found)
    else:
        with nogil:
            status = lg_check_labels(&way, &rows.job, &rows.found)
    return ended(status)


cdef int run_rows(Rows *rows, object num_threads) except -1:
    cdef lg_way way
    cdef int status
    cdef double n = rows.job.classes, work
    if rows.job.what == LG_SOFTMAX_JACOBIAN:
        n *= n
    work = (n + LG_PER_ROW) * rows.job.outer * rows.job.inner
    begin(&way, rows.storage, work, num_threads)
    if work <= QUICK:
        status = lg_rows(&way, &rows.job)
    else:
        with nogil:
            status = lg_rows(&way, &rows.job)
    ended(status)
    if rows.strange:
        raise IndexError(
            f"targets were changed during the call: a label that was a class is outside [0, {rows.job.classes}) now; "
            "what was written is of no use"
        )
    return 0


cpdef softmax_like(x, int axis, grad, row_grad, factor, out, value, int what, num_threads):
    """The softmax family along axis; what is one of LOGSUMEXP, SOFTMAX, ... ; factor is logsumexp's b."""
    cdef Rows rows
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t shape[3]
    start_rows(&rows, what, x, shape)
    x = grid(x, axis, False, &job.x, shape, rows.storage, &rows.reads)
    set_shape(&rows, shape)
    if grad is not None:
        grad = grid(grad, axis, False, &job.grad, shape, rows.storage, &rows.reads)
    if row_grad is not None:
        row_grad = row_grid(row_grad, False, &job.row_grad, shape, rows.storage, &rows.reads)
    if factor is not None:
        factor = grid(factor, axis, False, &job.factor, shape, lg_computed(rows.storage), &rows.reads)
    to = None if out is None else place_for(out, &rows.reads)
    to_value = None if value is None else place_for(value, &rows.reads)
    outs = None if to is None else grid(to, axis, True, &job.out, shape, rows.storage, &rows.reads)
    values = None if to_value is None else row_grid(to_value, True, &job.value, shape, rows.storage, &rows.reads)
    run_rows(&rows, num_threads)
    deliver(out, to)
    deliver(value, to_value)


def softmax_jacobian(x, int axis, out, num_threads):
    """A matrix of classes for each row."""
    cdef Rows rows
    cdef Py_ssize_t shape[3]
    cdef Py_ssize_t matrices[3]
    start_rows(&rows, LG_SOFTMAX_JACOBIAN, x, shape)
    x = grid(x, axis, False, &rows.job.x, shape, rows.storage, &rows.reads)
    set_shape(&rows, shape)
    matrices = [shape[0] * shape[2], shape[1], shape[1]]
    to = place_for(out, &rows.reads)
    outs = grid(to, 1, True, &rows.job.out, matrices, rows.storage, &rows.reads)
    run_rows(&rows, num_threads)
    deliver(out, to)


cpdef tuple row_loss(x, int axis, labels, soft, weight, sample_weight, int64_t ignore_index,
                     double smoothing, row_grad, double up, bint mean, out, value, lse, bint lse_given,
                     bint summed, int what, num_threads):
    """cross_entropy or nll_loss: (first bad row or -1, sum of the kept rows' weights, sum of the losses).

    Nothing is written if there is a bad row. Row losses go to value, gradients (times up and row_grad,
    over the weights if mean) to out; each may be None. Sample weights are finite and not negative.
    """
    cdef Rows rows
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t n
    cdef Py_ssize_t shape[3]
    cdef double divisor
    start_rows(&rows, what, x, shape)
    x = grid(x, axis, False, &job.x, shape, rows.storage, &rows.reads)
    set_shape(&rows, shape)
    job.ignore_index, job.smoothing = ignore_index, smoothing
    if weight is not None:
        take_weight(&rows, weight)
    n = shape[0] * shape[2]
    divisor = n
    cdef const double[::1] samples = sample_weight
    if sample_weight is not None:
        if samples.shape[0] != n:
            raise ValueError("operands have different shapes")
        job.sample_weight = &samples[0] if n else NULL
        reads_too(&rows.reads, sample_weight, False)
    if soft is not None:
        soft = grid(soft, axis, False, &job.soft, shape, lg_computed(rows.storage), &rows.reads)
        if sample_weight is not None and mean:
            divisor = exact_sum(samples)
    else:
        job.label_type = label_type(labels)
        reads_too(&rows.reads, labels, False)
        labels = row_values(labels, &job.label, shape)
        check_labels(&rows, num_threads)
        if rows.found.bad:
            return rows.found.bad - 1, 0.0, 0.0
        divisor = lg_sum_value(&rows.found.weights)
        if weight is None and sample_weight is None:
            divisor = rows.found.kept
    job.scale = lg_quotient(up, divisor) if mean else up
    cdef double[::1] saved = lse
    if lse is not None:
        if saved.shape[0] != n:
            raise ValueError("lse has the wrong size")
        job.lse = &saved[0] if n else NULL
        job.lse_given = lse_given
        reads_too(&rows.reads, lse, False)
    if row_grad is not None:
        row_grad = row_grid(row_grad, False, &job.row_grad, shape, rows.storage, &rows.reads)
    to = None if out is None else place_for(out, &rows.reads)
    to_value = None if value is None else place_for(value, &rows.reads)
    outs = None if to is None else grid(to, axis, True, &job.out, shape, rows.storage, &rows.reads)
    values = None if to_value is None else row_grid(to_value, True, &job.value, shape, rows.storage, &rows.reads)
    if summed:
        lg_sum_clear(&rows.sum)
        job.sum = &rows.sum
    run_rows(&rows, num_threads)
    deliver(out, to)
    deliver(value, to_value)
    return -1, divisor, lg_sum_value(&rows.sum) if summed else 0.0


def row_statistics(x, labels, weight, int64_t ignore_index, double smoothing, loss, double[::1] lse,
                   int64_t[::1] predicted, int64_t[::1] rank, double[:, ::1] figures, num_threads):
    """Figures of each row of a matrix against its label, to the arrays after smoothing: the first bad row or -1.

    Nothing is written if there is a bad row. The losses are of the computed type; figures are the
    confidences, entropies, sums of squares and Brier scores.
    """
    cdef Rows rows
    cdef lg_rows_job *job = &rows.job
    cdef Py_ssize_t n
    cdef Py_ssize_t shape[3]
    start_rows(&rows, LG_STATISTICS, x, shape)
    x = grid(x, 1, False, &job.x, shape, rows.storage, &rows.reads)
    set_shape(&rows, shape)
    n = shape[0]
    job.ignore_index, job.smoothing = ignore_index, smoothing
    job.label_type = label_type(labels)
    labels = row_values(labels, &job.label, shape)
    check_labels(&rows, num_threads)
    if rows.found.bad or n == 0:
        return rows.found.bad - 1
    if weight is not None:
        take_weight(&rows, weight)
    loss = row_grid(loss, True, &job.value, shape, lg_computed(rows.storage), &rows.reads)
    if lse.shape[0] != n or predicted.shape[0] != n or rank.shape[0] != n or figures.shape[0] != 4 or figures.shape[1] != n:
        raise ValueError("operands have different shapes")
    job.lse = &lse[0]
    job.statistics.predicted, job.statistics.rank = &predicted[0], &rank[0]
    job.statistics.confidence, job.statistics.entropy = &figures[0, 0], &figures[1, 0]
    job.statistics.squares, job.statistics.brier = &figures[2, 0], &figures[3, 0]
    run_rows(&rows, num_threads)
    return -1


def label_statistics(x, const double[::1] targets, double limit, loss, double[:, ::1] figures, uint8_t[::1] outcome,
                     num_threads):
    """Figures of runs of logits against targets in [0, 1], to the arrays after limit: probabilities, entropies and
    Brier scores; the losses are of the computed type.
    """
    cdef lg_label_job job
    cdef lg_way way
    cdef Py_ssize_t n = targets.shape[0]
    cdef int status, storage = storage_of(x)
    cdef Reads reads
    reads.number = 0
    cdef ndarray logits = operand(x, False, storage, &reads, True)
    cdef ndarray to = operand(loss, True, lg_computed(storage), &reads, True)
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
    begin(&way, storage, 8.0 * n, num_threads)
    with nogil:
        status = lg_label_statistics(&way, &job, n)
    ended(status)


# ---- norms ----


cdef int run_norms(lg_norm_job *job, int storage, Py_ssize_t rows, object num_threads) except -1:
    cdef lg_way way
    cdef int status
    cdef double work = <double> rows * (job.n + LG_PER_ROW)
    begin(&way, storage, work, num_threads)
    if work <= QUICK:
        status = lg_norms(&way, job, rows)
    else:
        with nogil:
            status = lg_norms(&way, job, rows)
    return ended(status)


def norms(x, int axis, grad, double up, out, double[::1] value, num_threads):
    """The norms along axis to value, and their gradients to out, times grad or up; either may be None."""
    cdef lg_norm_job job
    cdef Py_ssize_t rows
    cdef Py_ssize_t shape[3]
    cdef int storage = storage_of(x)
    cdef const double[::1] factors = grad
    cdef Reads reads
    memset(&job, 0, sizeof(job))
    shape[0], reads.number = -1, 0
    x = grid(x, axis, False, &job.x, shape, storage, &reads)
    if grad is not None:
        reads_too(&reads, grad, False)
    to = None if out is None else place_for(out, &reads)
    outs = None if to is None else grid(to, axis, True, &job.out, shape, storage, &reads)
    rows = shape[0] * shape[2]
    if value is not None and value.shape[0] != rows or grad is not None and factors.shape[0] != rows:
        raise ValueError("operands have different shapes")
    if rows == 0:
        return
    job.n, job.inner, job.up = shape[1], shape[2], up
    if value is not None:
        job.value = &value[0]
    if grad is not None:
        job.grad = &factors[0]
    run_norms(&job, storage, rows, num_threads)
    deliver(out, to)


# ---- totals: what an evaluation adds up ----


cdef extern from "totals.h":
    enum: LG_SCALARS, LG_TALLIES
    enum: LG_FINE, LG_NO_SUM, LG_NO_ROOM
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
        if problem.kind & LG_NO_ROOM:
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
        cdef Rows rows
        cdef Py_ssize_t shape[3]
        cdef lg_problem problem
        start_rows(&rows, LG_STATISTICS, x, shape)
        x = grid(x, 1, False, &rows.job.x, shape, rows.storage, &rows.reads)
        set_shape(&rows, shape)
        if shape[1] != self.totals.classes or shape[2] != 1 or not 0 <= begin <= end <= shape[0]:
            raise ValueError("operands have different shapes")
        if begin == end:
            return LG_FINE, 0
        if class_weight is not None:
            take_weight(&rows, class_weight)
        rows.job.ignore_index, rows.job.smoothing = ignore_index, smoothing
        rows.job.label_type = label_type(labels)
        terms.rows, terms.weight, terms.strict, terms.target_storage = rows.job, NULL, strict, -1
        self.take_targets(labels, &terms, shape[0])
        self.take_weight(weight, &terms, shape[0])
        cdef char *memory = <char *> malloc(lg_rows_scratch(&rows.job, end - begin, lg_size(lg_computed(rows.storage))) + 64)
        if memory == NULL:
            raise MemoryError()
        terms.rows.scratch = <void *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
        with nogil:
            problem = lg_add_rows(&self.totals, active, lg_computed(rows.storage), &terms, begin, end)
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
        terms.rows.inner, terms.weight, terms.strict, terms.target_storage = 1, NULL, strict, -1
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


def run_within(ndarray x, double most, num_threads):
    """Whether all elements are from 0 to most; False as well if they are not next to each other in memory."""
    cdef lg_way way
    cdef int status, good, storage = storage_of(x)
    if not PyArray_IS_C_CONTIGUOUS(x):
        return False
    begin(&way, storage, PyArray_SIZE(x), num_threads)
    with nogil:
        status = lg_within(&way, PyArray_BYTES(x), storage, PyArray_SIZE(x), most, &good)
    ended(status)
    return bool(good)


cdef object result_like(ndarray x, object out):
    """An array for a result of x's dtype and shape: out, a new one if that is None; None if it does not fit."""
    if out is None:
        return PyArray_EMPTY(PyArray_NDIM(x), PyArray_DIMS(x), PyArray_TYPE(x), 0)
    return out if is_alike(out, x) and PyArray_ISWRITEABLE(out) else None


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
    result = result_like(x, out)
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
    result = result_like(x, out)
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
    gradient = result_like(x, out) if type(upstream) is float else None
    losses = result_of_rows(x, along) if each and value else None
    if gradient is None and (upstream is not None or out is not None) or each and losses is None:
        return None
    bad, divisor, total = row_loss(
        x, along, t, None, None, None, ignored, smoothing, None, 1.0 if upstream is None else upstream,
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
    gradient = result_like(x, out) if type(upstream) is float else None
    if gradient is None and (upstream is not None or out is not None):
        return None
    cdef double n = PyArray_SIZE(x), up = 1.0 if upstream is None else upstream
    loss = elementwise(
        None, x, targets, None, None, None, gradient, op,
        LG_FORWARD if gradient is None else LG_VALUE_AND_GRAD if value else LG_BACKWARD,
        up, parameters, num_threads, n if mean else 1)
    return quotient(loss, n) if value and mean else loss, gradient


def plain_norm(upstream, x, axis, keepdims, out, bint value, num_threads):
    """(norm of all elements if value is asked for, gradient unless upstream is None); None if it is for others to say."""
    if axis is not None or keepdims or not is_plain(x):
        return None
    gradient = result_like(x, out) if type(upstream) is float else None
    if gradient is None and (upstream is not None or out is not None) or gradient is not None and not is_free(gradient, x, True):
        return None
    cdef lg_norm_job job
    cdef double norm
    cdef int storage = storage_of(x)
    memset(&job, 0, sizeof(job))
    job.n, job.inner, job.value = PyArray_SIZE(x), 1, &norm
    job.x.at, job.x.stride, job.x.storage = PyArray_BYTES(x), [0, lg_size(storage), 0], storage
    if gradient is not None:
        job.out, job.up = job.x, upstream
        job.out.at = PyArray_BYTES(gradient)
    run_norms(&job, storage, 1, num_threads)
    return norm if value else None, gradient


set_level(os.environ.get("LOSSGRAD_ISA") or None)
