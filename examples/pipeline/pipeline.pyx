# Mini-batch descent of a softmax regression without the GIL: other threads of the program run meanwhile.
from libc.stdint cimport int64_t

from lossgrad.kernels cimport cross_entropy_value_and_grad, raise_for


cdef void times(const double[:, ::1] X, const double[:, ::1] W, double[:, ::1] out) noexcept nogil:
    """out = X W."""
    cdef Py_ssize_t i, j, c
    out[:, :] = 0.0
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            for c in range(W.shape[1]):
                out[i, c] += X[i, j] * W[j, c]


cdef void step(const double[:, ::1] X, const double[:, ::1] grad, double rate, double[:, ::1] W) noexcept nogil:
    """W -= rate X^T grad."""
    cdef Py_ssize_t i, j, c
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            for c in range(W.shape[1]):
                W[j, c] -= rate * X[i, j] * grad[i, c]


def epoch(const double[:, ::1] X, const int64_t[::1] labels, double[:, ::1] W, double[:, ::1] logits,
          double[::1] losses, double rate):
    """Once through the rows, in batches of as many as `losses` has; the mean loss on the way."""
    cdef Py_ssize_t k, first = 0, last = 0, status = 0, size = losses.shape[0]
    cdef double total = 0.0
    with nogil:
        while last + size <= X.shape[0]:
            first, last = last, last + size
            times(X[first:last], W, logits)
            # the gradient of the batch's mean takes the logits' place
            status = cross_entropy_value_and_grad(logits, labels[first:last], losses, logits, 1.0 / size)
            if status:
                break
            step(X[first:last], logits, rate, W)
            for k in range(size):
                total += losses[k]
    raise_for(status, labels[first:last], W.shape[1])
    return total / last
