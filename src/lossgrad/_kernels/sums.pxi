# Exact sums.

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
