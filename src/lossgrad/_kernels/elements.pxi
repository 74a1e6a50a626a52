# The loop over elements.

cdef bint is_one_number(ndarray a) noexcept:
    """Whether all elements have one place: that suits any order."""
    cdef int k
    for k in range(PyArray_NDIM(a)):
        if PyArray_STRIDE(a, k):
            return False
    return True


cdef int view_line(lg_view *view, char *at, Py_ssize_t stride, int storage) noexcept nogil:
    view.at, view.storage = at, storage
    view.stride = [0, 0, stride]
    return 0


cdef char *least(const lg_view *view, Py_ssize_t reach) noexcept nogil:
    return view.at + min(0, reach * view.stride[2])


cdef char *past(const lg_view *view, Py_ssize_t reach) noexcept nogil:
    return view.at + max(0, reach * view.stride[2]) + lg_size(view.storage)


cdef bint is_in_step(const lg_map_job *job) noexcept nogil:
    """Whether a line's results are written where nothing else is still to be read: a reduction reads what it writes."""
    cdef const lg_view *out = &job.out[0]
    cdef const lg_view *a
    cdef Py_ssize_t reach = job.shape[2] - 1
    cdef int k
    if reach and not out.stride[2]:
        return False
    for k in range(job.inputs):
        a = &job.inp[k]
        if (a.at != out.at or a.stride[2] != out.stride[2] or a.storage != out.storage) and (
                past(a, reach) > least(out, reach) and past(out, reach) > least(a, reach)):
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


cdef int applied(Op op, tuple parameters, double *param) except -1:
    """The number of the op that these are parameters of, once they are numbers."""
    cdef int k
    for k in range(min(4, len(parameters))):
        param[k] = parameters[k]
    return op.unit.index if op.unit is not None and param[0] == 1 else op.index


cdef int start_elements(Elements *e, Op op, int direction, int storage, tuple parameters) except -1:
    memset(e, 0, sizeof(lg_map_job))
    e.computed = lg_computed(storage)
    e.runs, e.reads.number = False, 0
    e.job.op, e.job.direction, e.job.inputs = applied(op, parameters, e.param), direction, op.inputs
    e.job.outputs = lg_gives_value(direction) + lg_slopes(direction)
    e.job.shape[0] = -1
    e.job.param = e.param
    return 0


cdef ndarray box(Elements *e, object given, bint writes, lg_view *view, int storage):
    """View an array of the shape of the others; what is returned holds the memory."""
    cdef ndarray a = operand(given, writes, storage, &e.reads, True)
    cdef Py_ssize_t shape[3]
    cdef int k, lead = 3 - PyArray_NDIM(a)
    shape, view.stride = [1, 1, 1], [0, 0, 0]
    if e.runs:
        if not PyArray_IS_C_CONTIGUOUS(a) and not is_one_number(a):
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


cdef int run_map(const lg_map_job *job, int storage, object num_threads) except -1:
    cdef lg_way way
    cdef int status
    cdef Py_ssize_t n = job.shape[0] * job.shape[1] * job.shape[2]
    begin(&way, storage, n, num_threads)
    if n <= QUICK:
        status = lg_map(&way, job)
    else:
        with nogil:
            status = lg_map(&way, job)
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


cdef struct Roles:
    # Who takes part in a call, borrowed from who calls; nobody is NULL.
    PyObject *a
    PyObject *b
    PyObject *c
    PyObject *grad
    PyObject *weight
    PyObject *shift
    PyObject *out
    PyObject *out_grad
    PyObject *out_hess
    double up, divisor


cdef inline object player(PyObject *role):
    return None if role == NULL else <object> role


cdef inline PyObject *role(object player) noexcept:
    return NULL if player is None else <PyObject *> player


cdef object map_elements(Op op, int direction, const Roles *of, tuple parameters, num_threads):
    """Any op: the values to out, gradients to out_grad, second derivatives to out_hess; the values' sum if there is no
    out."""
    cdef Elements e
    cdef lg_map_job *job = &e.job
    a, b, c, grad = player(of.a), player(of.b), player(of.c), player(of.grad)
    weight, shift = player(of.weight), player(of.shift)
    out, out_grad, out_hess = player(of.out), player(of.out_grad), player(of.out_hess)
    cdef double up = of.up
    cdef int k = 0, storage = storage_of(a)
    start_elements(&e, op, direction, storage, parameters)
    e.runs = PyArray_NDIM(a) > 3  # else C joins what is a run
    if direction != LG_FORWARD:
        k = 1
        job.inputs += 1
        if grad is None:
            up = share(up, of.divisor, &job.up)
        e.up64, e.up32 = up, lg_narrow(up)
    e.one64 = e.one32 = 1
    a = box(&e, a, False, &job.inp[k], storage)
    if k:
        grad = box_or(&e, grad, &e.up64, &e.up32, &job.inp[0])
    if op.inputs > 1:
        b = box_or(&e, b, &e.one64, &e.one32, &job.inp[k + 1])
    if op.inputs > 2:
        c = box_or(&e, c, &e.one64, &e.one32, &job.inp[k + 2])
    if weight is not None or job.up or c is not None:
        weight = box_or(&e, weight, &e.one64, &e.one32, &job.weight)
    if shift is not None:
        shift = beside(&e, shift, &job.shift)
    value = None if out is None else place_for(out, &e.reads)
    slope = None if out_grad is None else place_for(out_grad, &e.reads)
    second = None if out_hess is None else place_for(out_hess, &e.reads)
    if lg_gives_value(direction) and value is None:
        sum_values(&e)
    values = None if value is None else box(&e, value, True, &job.out[0], storage)
    k = lg_gives_value(direction)
    slopes = None if slope is None else box(&e, slope, True, &job.out[k], storage)
    seconds = None if second is None else box(&e, second, True, &job.out[k + 1], storage)
    run_map(&e.job, storage, num_threads)
    deliver(out, value)
    deliver(out_grad, slope)
    deliver(out_hess, second)
    return lg_sum_value(&e.sum) if job.sum != NULL else None


def elementwise(Op op, int direction, a, b=None, c=None, *, grad=None, weight=None, shift=None, out=None, out_grad=None,
                out_hess=None, double up=1.0, double divisor=1.0, tuple parameters=(), num_threads=None):
    """Any op of a, b, c: the values to out, gradients to out_grad, second derivatives to out_hess; the values' sum if
    out is None.

    An input that is None is 1 throughout, an incoming gradient that is None is up / divisor. Weights are
    those of a loss, times 2**shift if that is given. Outputs of more than three axes are in C order.
    """
    cdef Roles of
    of.a, of.b, of.c, of.grad = role(a), role(b), role(c), role(grad)
    of.weight, of.shift = role(weight), role(shift)
    of.out, of.out_grad, of.out_hess = role(out), role(out_grad), role(out_hess)
    of.up, of.divisor = up, divisor
    return map_elements(op, direction, &of, parameters, num_threads)


def row_sums(Op op, a, b, double[:, ::1] out, tuple parameters, num_threads):
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


def column_sums(Op op, a, b, Py_ssize_t width, num_threads):
    """The exact sums of an op of two matrices over their rows and over `width` neighbouring columns."""
    cdef Elements e
    cdef lg_way way
    cdef int status, storage = storage_of(a)
    cdef Py_ssize_t k, number
    start_elements(&e, op, LG_FORWARD, storage, ())
    a = box(&e, a, False, &e.job.inp[0], storage)
    b = beside(&e, b, &e.job.inp[1])
    if op.inputs != 2 or e.job.shape[0] != 1 or width < 1 or e.job.shape[2] % width:
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
