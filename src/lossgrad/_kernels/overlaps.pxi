# What a call reads, which decides where it may write.

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
