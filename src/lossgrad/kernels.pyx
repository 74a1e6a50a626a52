# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: freethreading_compatible=True
"""The kernels over typed memoryviews, for Cython: ``from lossgrad.kernels cimport cross_entropy``.

The same functions can be called from Python, on float32 or float64 arrays in C order, and labels that are
int64; they raise what they return in Cython (see ``kernels.pxd``). Results go to arrays of the caller's.

Examples
--------
>>> import numpy as np
>>> from lossgrad import kernels
>>> x = np.array([[0.0, 0.0], [3.0, 0.0]])
>>> losses, grad = np.empty(2), np.empty((2, 2))
>>> kernels.cross_entropy_value_and_grad(x, np.array([0, 1]), losses, grad, 1 / 2)
>>> losses
array([0.69314718, 3.04858735])
>>> kernels.map(kernels.OPS["relu"], np.array([-1.0, 2.0]), losses)
>>> losses
array([0., 2.])
"""

from cpython.pycapsule cimport PyCapsule_GetPointer

from ._kernels.crossing import _C_API

cdef extern from "lossgrad.h":
    enum: LG_ABI, LG_F32, LG_F64, LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
    enum: LG_OUT_OF_MEMORY, LG_REFUSED, LG_CHANGED
    enum: LG_ROWS_LOGSUMEXP, LG_ROWS_SOFTMAX, LG_ROWS_CROSS_ENTROPY
    ctypedef struct lg_op:
        const char *name
        int inputs, parameters
    ctypedef struct lg_api:
        int abi, ops
        const lg_op *table
        int (*op)(const char *) noexcept nogil
        Py_ssize_t (*run)(int, int, int, Py_ssize_t, const void *, const void *, const void *, void *, void *,
                          const double *, int) noexcept nogil
        Py_ssize_t (*run_rows)(int, int, int, Py_ssize_t, Py_ssize_t, const void *, const void *, const int64_t *,
                               int64_t, double, void *, void *, int) noexcept nogil

cdef const lg_api *api = <const lg_api *> PyCapsule_GetPointer(_C_API, "lossgrad.kernels._C_API")

OPS = {api.table[k].name.decode(): k for k in range(api.ops)}  # the number of each elementwise op

cdef int SIGMOID = OPS["sigmoid"], BCE_WITH_LOGITS = OPS["binary_cross_entropy_with_logits"]


cdef int raise_for(Py_ssize_t status, const int64_t[::1] labels=None, Py_ssize_t classes=0) except -1 with gil:
    """Raise what kept a call from being done."""
    if status == 0:
        return 0
    if status == LG_OUT_OF_MEMORY:
        raise MemoryError()
    if status == LG_CHANGED:
        raise IndexError("targets were changed during the call; what was written is of no use")
    if status == LG_REFUSED:
        raise ValueError("operands have different shapes, there are rows but no classes, or there is no such op")
    if labels is None:
        raise IndexError(f"the label in row {status - 1} is no class")
    raise IndexError(f"label {labels[status - 1]} in row {status - 1} is outside [0, {classes})")


# ---- elements ----

cdef int op(const char *name) noexcept nogil:
    return api.op(name)


cdef inline const floating *at(const floating[::1] a) noexcept nogil:
    if a is None:
        return NULL
    return &a[0]


cdef inline bint fits(const floating[::1] a, Py_ssize_t n) noexcept nogil:
    return a is None or a.shape[0] == n


cdef inline Py_ssize_t run(int op, int direction, const floating[::1] x, const floating *grad, const floating *second,
                           floating *value, floating *slope, const double *parameters, int num_threads) noexcept nogil:
    cdef int storage = LG_F64 if floating is double else LG_F32
    return api.run(op, direction, storage, x.shape[0], grad, &x[0], second, value, slope, parameters, num_threads)


cdef Py_ssize_t map(int op, const floating[::1] x, floating[::1] out, const floating[::1] second=None,
                    const double *parameters=NULL, int num_threads=1) noexcept nogil:
    cdef Py_ssize_t n = x.shape[0]
    if not (fits(second, n) and out.shape[0] == n):
        return LG_REFUSED
    return run[floating](op, LG_FORWARD, x, NULL, at(second), &out[0], NULL, parameters, num_threads)


cdef Py_ssize_t map_backward(int op, const floating[::1] grad, const floating[::1] x, floating[::1] out,
                             const floating[::1] second=None, const double *parameters=NULL,
                             int num_threads=1) noexcept nogil:
    cdef Py_ssize_t n = x.shape[0]
    if not (fits(grad, n) and fits(second, n) and out.shape[0] == n):
        return LG_REFUSED
    return run[floating](op, LG_BACKWARD, x, at(grad), at(second), NULL, &out[0], parameters, num_threads)


cdef Py_ssize_t map_value_and_grad(int op, const floating[::1] x, floating[::1] values, floating[::1] grad,
                                   const floating[::1] second=None, const double *parameters=NULL,
                                   int num_threads=1) noexcept nogil:
    cdef Py_ssize_t n = x.shape[0]
    if not (fits(second, n) and values.shape[0] == n and grad.shape[0] == n):
        return LG_REFUSED
    return run[floating](
        op, LG_VALUE_AND_GRAD, x, NULL, at(second), &values[0], &grad[0], parameters, num_threads)


cdef Py_ssize_t sigmoid(const floating[::1] x, floating[::1] out, int num_threads=1) noexcept nogil:
    if not fits(out, x.shape[0]):
        return LG_REFUSED
    return run[floating](SIGMOID, LG_FORWARD, x, NULL, NULL, &out[0], NULL, NULL, num_threads)


cdef Py_ssize_t sigmoid_backward(const floating[::1] grad, const floating[::1] x, floating[::1] out,
                                 int num_threads=1) noexcept nogil:
    if not (fits(grad, x.shape[0]) and fits(out, x.shape[0])):
        return LG_REFUSED
    return run[floating](SIGMOID, LG_BACKWARD, x, at(grad), NULL, NULL, &out[0], NULL, num_threads)


cdef Py_ssize_t bce_with_logits(const floating[::1] logits, const floating[::1] targets, floating[::1] losses,
                                int num_threads=1) noexcept nogil:
    return map(BCE_WITH_LOGITS, logits, losses, targets, NULL, num_threads)


cdef Py_ssize_t bce_with_logits_backward(const floating[::1] grad, const floating[::1] logits,
                                         const floating[::1] targets, floating[::1] out,
                                         int num_threads=1) noexcept nogil:
    return map_backward(BCE_WITH_LOGITS, grad, logits, out, targets, NULL, num_threads)


cdef Py_ssize_t bce_with_logits_value_and_grad(const floating[::1] logits, const floating[::1] targets,
                                               floating[::1] losses, floating[::1] grad,
                                               int num_threads=1) noexcept nogil:
    return map_value_and_grad(BCE_WITH_LOGITS, logits, losses, grad, targets, NULL, num_threads)


# ---- rows ----

cdef inline Py_ssize_t run_rows(int what, int direction, const floating[:, ::1] x, const floating *grad,
                                const int64_t *label, int64_t ignore_index, double scale, floating *value,
                                floating *out, int num_threads) noexcept nogil:
    cdef int storage = LG_F64 if floating is double else LG_F32
    return api.run_rows(what, direction, storage, x.shape[0], x.shape[1], grad, &x[0, 0], label, ignore_index, scale,
                        value, out, num_threads)


cdef inline bint alike(const floating[:, ::1] a, const floating[:, ::1] b) noexcept nogil:
    return a.shape[0] == b.shape[0] and a.shape[1] == b.shape[1]


cdef Py_ssize_t softmax(const floating[:, ::1] logits, floating[:, ::1] out, int num_threads=1) noexcept nogil:
    if not alike(logits, out):
        return LG_REFUSED
    return run_rows[floating](LG_ROWS_SOFTMAX, LG_FORWARD, logits, NULL, NULL, 0, 1, NULL, &out[0, 0], num_threads)


cdef Py_ssize_t softmax_backward(const floating[:, ::1] grad, const floating[:, ::1] logits, floating[:, ::1] out,
                                 int num_threads=1) noexcept nogil:
    if not alike(logits, out) or not alike(logits, grad):
        return LG_REFUSED
    return run_rows[floating](LG_ROWS_SOFTMAX, LG_BACKWARD, logits, &grad[0, 0], NULL, 0, 1, NULL, &out[0, 0], num_threads)


cdef Py_ssize_t logsumexp(const floating[:, ::1] logits, floating[::1] out, int num_threads=1) noexcept nogil:
    if not fits(out, logits.shape[0]):
        return LG_REFUSED
    return run_rows[floating](LG_ROWS_LOGSUMEXP, LG_FORWARD, logits, NULL, NULL, 0, 1, &out[0], NULL, num_threads)


cdef Py_ssize_t logsumexp_backward(const floating[::1] grad, const floating[:, ::1] logits, floating[:, ::1] out,
                                   int num_threads=1) noexcept nogil:
    if not alike(logits, out) or not fits(grad, logits.shape[0]):
        return LG_REFUSED
    return run_rows[floating](LG_ROWS_LOGSUMEXP, LG_BACKWARD, logits, at(grad), NULL, 0, 1, NULL, &out[0, 0], num_threads)


cdef Py_ssize_t cross_entropy(const floating[:, ::1] logits, const int64_t[::1] labels, floating[::1] losses,
                              int64_t ignore_index=-100, int num_threads=1) noexcept nogil:
    cdef Py_ssize_t rows = logits.shape[0]
    if labels.shape[0] != rows or losses.shape[0] != rows:
        return LG_REFUSED
    return run_rows[floating](
        LG_ROWS_CROSS_ENTROPY, LG_FORWARD, logits, NULL, &labels[0], ignore_index, 1, &losses[0], NULL, num_threads)


cdef Py_ssize_t cross_entropy_backward(const floating[::1] grad, const floating[:, ::1] logits,
                                       const int64_t[::1] labels, floating[:, ::1] out, double scale=1,
                                       int64_t ignore_index=-100, int num_threads=1) noexcept nogil:
    cdef Py_ssize_t rows = logits.shape[0]
    if labels.shape[0] != rows or not fits(grad, rows) or not alike(logits, out):
        return LG_REFUSED
    return run_rows[floating](
        LG_ROWS_CROSS_ENTROPY, LG_BACKWARD, logits, at(grad), &labels[0],
        ignore_index, scale, NULL, &out[0, 0], num_threads)


cdef Py_ssize_t cross_entropy_value_and_grad(const floating[:, ::1] logits, const int64_t[::1] labels,
                                             floating[::1] losses, floating[:, ::1] grad, double scale=1,
                                             int64_t ignore_index=-100, int num_threads=1) noexcept nogil:
    cdef Py_ssize_t rows = logits.shape[0]
    if labels.shape[0] != rows or losses.shape[0] != rows or not alike(logits, grad):
        return LG_REFUSED
    return run_rows[floating](
        LG_ROWS_CROSS_ENTROPY, LG_VALUE_AND_GRAD, logits, NULL, &labels[0], ignore_index, scale, &losses[0], &grad[0, 0],
        num_threads)


# ---- the same from Python ----
# A name is one thing to Cython: these get theirs, which the functions above have, in the module's dictionary.

cdef class Parameters:
    """As many numbers as an op has parameters."""

    cdef double number[4]

    def __cinit__(self, int op, parameters):
        if not 0 <= op < api.ops:
            raise ValueError(f"there is no op {op}: kernels.OPS has their numbers")
        if len(parameters) != api.table[op].parameters:
            name = api.table[op].name.decode()
            raise ValueError(f"{name} takes {api.table[op].parameters} parameters, got {parameters}")
        for k, value in enumerate(parameters):
            self.number[k] = value


def _elements(int op, int direction, const floating[::1] x not None, const floating[::1] grad,
              const floating[::1] second, floating[::1] value, floating[::1] slope, tuple parameters, int num_threads):
    cdef Parameters p = Parameters(op, parameters)
    cdef Py_ssize_t status
    if direction != LG_BACKWARD and value is None or direction != LG_FORWARD and slope is None:
        raise TypeError("results need arrays to go to, got None")
    with nogil:
        if direction == LG_FORWARD:
            status = map(op, x, value, second, p.number, num_threads)
        elif direction == LG_BACKWARD:
            status = map_backward(op, grad, x, slope, second, p.number, num_threads)
        else:
            status = map_value_and_grad(op, x, value, slope, second, p.number, num_threads)
    raise_for(status)


def _map(int op, x, out, second=None, tuple parameters=(), int num_threads=1):
    """out[i] = op(x[i]), or of x[i] and second[i]."""
    _elements(op, LG_FORWARD, x, None, second, out, None, parameters, num_threads)


def _map_backward(int op, grad, x, out, second=None, tuple parameters=(), int num_threads=1):
    """out[i] = grad[i] times the derivative of an op at x[i]."""
    _elements(op, LG_BACKWARD, x, grad, second, None, out, parameters, num_threads)


def _map_value_and_grad(int op, x, values, grad, second=None, tuple parameters=(), int num_threads=1):
    """A loss of each element, to values, and its derivative, to grad."""
    _elements(op, LG_VALUE_AND_GRAD, x, None, second, values, grad, parameters, num_threads)


def _sigmoid(const floating[::1] x not None, floating[::1] out not None, int num_threads=1):
    """out[i] = 1 / (1 + exp(-x[i]))."""
    cdef Py_ssize_t status
    with nogil:
        status = sigmoid(x, out, num_threads)
    raise_for(status)


def _sigmoid_backward(const floating[::1] grad, const floating[::1] x not None, floating[::1] out not None,
                      int num_threads=1):
    """out[i] = grad[i] times the derivative of the sigmoid at x[i]."""
    cdef Py_ssize_t status
    with nogil:
        status = sigmoid_backward(grad, x, out, num_threads)
    raise_for(status)


def _bce_with_logits(const floating[::1] logits not None, const floating[::1] targets not None,
                     floating[::1] losses not None, int num_threads=1):
    """Binary cross-entropy of logits: a loss an element."""
    cdef Py_ssize_t status
    with nogil:
        status = bce_with_logits(logits, targets, losses, num_threads)
    raise_for(status)


def _bce_with_logits_backward(const floating[::1] grad, const floating[::1] logits not None,
                              const floating[::1] targets not None, floating[::1] out not None, int num_threads=1):
    """Its gradient with respect to the logits, times grad."""
    cdef Py_ssize_t status
    with nogil:
        status = bce_with_logits_backward(grad, logits, targets, out, num_threads)
    raise_for(status)


def _bce_with_logits_value_and_grad(const floating[::1] logits not None, const floating[::1] targets not None,
                                    floating[::1] losses not None, floating[::1] grad not None, int num_threads=1):
    """The losses and the gradient of their sum, in one pass."""
    cdef Py_ssize_t status
    with nogil:
        status = bce_with_logits_value_and_grad(logits, targets, losses, grad, num_threads)
    raise_for(status)


def _softmax(const floating[:, ::1] logits not None, floating[:, ::1] out not None, int num_threads=1):
    """The softmax of each row."""
    cdef Py_ssize_t status
    with nogil:
        status = softmax(logits, out, num_threads)
    raise_for(status)


def _softmax_backward(const floating[:, ::1] grad not None, const floating[:, ::1] logits not None,
                      floating[:, ::1] out not None, int num_threads=1):
    """The gradient with respect to the logits for that of the softmax."""
    cdef Py_ssize_t status
    with nogil:
        status = softmax_backward(grad, logits, out, num_threads)
    raise_for(status)


def _logsumexp(const floating[:, ::1] logits not None, floating[::1] out not None, int num_threads=1):
    """The logarithm of the sum of exponentials of each row."""
    cdef Py_ssize_t status
    with nogil:
        status = logsumexp(logits, out, num_threads)
    raise_for(status)


def _logsumexp_backward(const floating[::1] grad, const floating[:, ::1] logits not None,
                        floating[:, ::1] out not None, int num_threads=1):
    """The gradient with respect to the logits, times grad, one a row."""
    cdef Py_ssize_t status
    with nogil:
        status = logsumexp_backward(grad, logits, out, num_threads)
    raise_for(status)


def _cross_entropy(const floating[:, ::1] logits not None, const int64_t[::1] labels not None,
                   floating[::1] losses not None, int64_t ignore_index=-100, int num_threads=1):
    """Cross-entropy of logits with labels: a loss a row."""
    cdef Py_ssize_t status
    with nogil:
        status = cross_entropy(logits, labels, losses, ignore_index, num_threads)
    raise_for(status, labels, logits.shape[1])


def _cross_entropy_backward(const floating[::1] grad, const floating[:, ::1] logits not None,
                            const int64_t[::1] labels not None, floating[:, ::1] out not None, double scale=1,
                            int64_t ignore_index=-100, int num_threads=1):
    """Its gradient with respect to the logits, times grad, one a row, and scale."""
    cdef Py_ssize_t status
    with nogil:
        status = cross_entropy_backward(grad, logits, labels, out, scale, ignore_index, num_threads)
    raise_for(status, labels, logits.shape[1])


def _cross_entropy_value_and_grad(const floating[:, ::1] logits not None, const int64_t[::1] labels not None,
                                  floating[::1] losses not None, floating[:, ::1] grad not None, double scale=1,
                                  int64_t ignore_index=-100, int num_threads=1):
    """The losses, and the gradient of scale times their sum, in one pass."""
    cdef Py_ssize_t status
    with nogil:
        status = cross_entropy_value_and_grad(logits, labels, losses, grad, scale, ignore_index, num_threads)
    raise_for(status, labels, logits.shape[1])


__all__ = [
    "OPS",
    "bce_with_logits",
    "bce_with_logits_backward",
    "bce_with_logits_value_and_grad",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_value_and_grad",
    "logsumexp",
    "logsumexp_backward",
    "map",
    "map_backward",
    "map_value_and_grad",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
]
for name in __all__[1:]:
    globals()[name] = globals().pop(f"_{name}")
    globals()[name].__name__ = name
del name
