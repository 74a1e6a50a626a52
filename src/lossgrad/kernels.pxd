# Kernels over typed memoryviews, without the GIL: `from lossgrad.kernels cimport cross_entropy_value_and_grad`.
#
# A function returns 0 when all is done. It returns the row, counted from 1, whose label is neither a class nor ignored,
# and a number below 0 for what else keeps it from writing anything: operands of different shapes, or an unknown op
# (REFUSED), or no memory (OUT_OF_MEMORY). CHANGED says that somebody changed labels under way. raise_for makes an
# exception of all of these. What is written may be an input of its shape. num_threads is at most how many share a call:
# leave it 1 in a prange.

from cython cimport floating
from libc.stdint cimport int64_t

cdef enum:
    OUT_OF_MEMORY = -2
    REFUSED = -3
    CHANGED = -4

cdef int raise_for(Py_ssize_t status, const int64_t[::1] labels=*, Py_ssize_t classes=*) except -1 with gil

# Any elementwise op, by its number: that of a name, or -1. Where the op has two inputs there is a second, where it has
# parameters as many numbers; a second, or an incoming gradient, that is None is 1 throughout.
cdef int op(const char *name) noexcept nogil
cdef Py_ssize_t map(int op, const floating[::1] x, floating[::1] out, const floating[::1] second=*,
                    const double *parameters=*, int num_threads=*) noexcept nogil
cdef Py_ssize_t map_backward(int op, const floating[::1] grad, const floating[::1] x, floating[::1] out,
                             const floating[::1] second=*, const double *parameters=*, int num_threads=*) noexcept nogil
cdef Py_ssize_t map_value_and_grad(int op, const floating[::1] x, floating[::1] values, floating[::1] grad,
                                   const floating[::1] second=*, const double *parameters=*,
                                   int num_threads=*) noexcept nogil

cdef Py_ssize_t sigmoid(const floating[::1] x, floating[::1] out, int num_threads=*) noexcept nogil
cdef Py_ssize_t sigmoid_backward(const floating[::1] grad, const floating[::1] x, floating[::1] out,
                                 int num_threads=*) noexcept nogil

# Binary cross-entropy of logits, a loss an element.
cdef Py_ssize_t bce_with_logits(const floating[::1] logits, const floating[::1] targets, floating[::1] losses,
                                int num_threads=*) noexcept nogil
cdef Py_ssize_t bce_with_logits_backward(const floating[::1] grad, const floating[::1] logits,
                                         const floating[::1] targets, floating[::1] out,
                                         int num_threads=*) noexcept nogil
cdef Py_ssize_t bce_with_logits_value_and_grad(const floating[::1] logits, const floating[::1] targets,
                                               floating[::1] losses, floating[::1] grad,
                                               int num_threads=*) noexcept nogil

cdef Py_ssize_t softmax(const floating[:, ::1] logits, floating[:, ::1] out, int num_threads=*) noexcept nogil
cdef Py_ssize_t softmax_backward(const floating[:, ::1] grad, const floating[:, ::1] logits, floating[:, ::1] out,
                                 int num_threads=*) noexcept nogil
cdef Py_ssize_t logsumexp(const floating[:, ::1] logits, floating[::1] out, int num_threads=*) noexcept nogil
cdef Py_ssize_t logsumexp_backward(const floating[::1] grad, const floating[:, ::1] logits, floating[:, ::1] out,
                                   int num_threads=*) noexcept nogil

# A loss a row. Gradients are multiplied by scale: 1 / rows for those of the mean.
cdef Py_ssize_t cross_entropy(const floating[:, ::1] logits, const int64_t[::1] labels, floating[::1] losses,
                              int64_t ignore_index=*, int num_threads=*) noexcept nogil
cdef Py_ssize_t cross_entropy_backward(const floating[::1] grad, const floating[:, ::1] logits,
                                       const int64_t[::1] labels, floating[:, ::1] out, double scale=*,
                                       int64_t ignore_index=*, int num_threads=*) noexcept nogil
cdef Py_ssize_t cross_entropy_value_and_grad(const floating[:, ::1] logits, const int64_t[::1] labels,
                                             floating[::1] losses, floating[:, ::1] grad, double scale=*,
                                             int64_t ignore_index=*, int num_threads=*) noexcept nogil
