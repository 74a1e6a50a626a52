# Arrays of any rank and dtype as the views that C walks.

cdef int bfloat16 = -1  # the number of a type that is not NumPy's own, once it has been seen


cdef int storage_of_number(int number) noexcept nogil:
    """How elements of a type's number are stored; of one that is not NumPy's own it is bfloat16's that is asked for."""
    return LG_F32 if number == NPY_FLOAT else LG_F64 if number == NPY_DOUBLE else LG_F16 if number == NPY_FLOAT16 else LG_BF16


cdef int storage_of(ndarray a) except -1:
    """How elements are stored."""
    global bfloat16
    cdef int number = PyArray_TYPE(a), storage = storage_of_number(number)
    if storage == LG_BF16 and number != bfloat16:
        if a.dtype.name != "bfloat16":
            raise TypeError(f"no kernels for {a.dtype}")
        bfloat16 = number
    return storage


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
