# The usual call: everything checked, and room made for the result, in a fraction of the time.

cdef bint is_plain(object a) noexcept:
    """Whether it is exactly an array of a type that has kernels, in C order and aligned."""
    if not PyArray_CheckExact(a) or not PyArray_ISCARRAY_RO(a):
        return False
    cdef int number = PyArray_TYPE(a)
    return number in (NPY_FLOAT, NPY_DOUBLE, NPY_FLOAT16) or number == bfloat16


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
        return PyArray_SimpleNew(PyArray_NDIM(x), PyArray_DIMS(x), PyArray_TYPE(x))
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
    if type(axis) is not int and axis is not LAST_AXIS:
        return -1
    cdef Py_ssize_t k = PyLong_AsLongAndOverflow(axis, &overflow)
    if k < 0:
        k += PyArray_NDIM(x)
    return k if 0 <= k < PyArray_NDIM(x) and PyArray_DIM(x, k) and not overflow else -1


def plain_elementwise(str op, grad, x, out, num_threads, tuple parameters):
    """The result of an op of one input, by its name, or its gradient (out if given); None if it is for others to say."""
    cdef bint first = grad is not None
    if not is_plain(x) or PyArray_NDIM(x) == 0 or first and not is_alike(grad, x):
        return None
    result = result_like(x, out)
    if result is None:
        return None
    cdef lg_map_job job
    cdef double p[4]
    cdef int storage = storage_of_number(PyArray_TYPE(x))
    cdef Py_ssize_t size = lg_size(storage)
    memset(&job, 0, sizeof(job))
    job.op, job.inputs, job.outputs = applied(elements[op], parameters, p), 1 + first, 1
    job.direction = LG_BACKWARD if first else LG_FORWARD
    job.shape, job.param = [1, 1, PyArray_SIZE(x)], p
    view_line(&job.inp[first], PyArray_BYTES(x), size, storage)
    view_line(&job.out[0], PyArray_BYTES(result), size, storage)
    if first:
        view_line(&job.inp[0], PyArray_BYTES(grad), size, storage)
    if out is not None and not is_in_step(&job):
        return None
    run_map(&job, storage, num_threads)
    return result


def plain_softmax(RowOp op, grad, x, axis, out, num_threads):
    """The result of one of the softmax family, or its gradient (out if given); None if it is for others to say."""
    if not is_plain(x) or not (grad is None or is_alike(grad, x)):
        return None
    cdef int along = plain_axis(axis, x)
    if along < 0:
        return None
    result = result_like(x, out)
    if result is None:
        return None
    cdef Rows rows
    held = start_rows(&rows, op.forward if grad is None else op.backward, x, along)
    held_too = None if grad is None else beside_logits(&rows, grad, &rows.job.grad, rows.storage)
    deliver_rows(&rows, result, None, num_threads)
    return result


def plain_logsumexp(x, axis, num_threads):
    """A new array of each row's log-sum-exp; None if it is for others to say."""
    cdef int along = plain_axis(axis, x) if is_plain(x) else -1
    result = result_of_rows(x, along) if along >= 0 else None
    if result is None:
        return None
    cdef Rows rows
    held = start_rows(&rows, LG_LOGSUMEXP, x, along)
    deliver_rows(&rows, None, result, num_threads)
    return result


def plain_row_loss(RowOp op, upstream, x, labels, ignore_index, reduction, param, axis, out, bint value, num_threads):
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
    if axis is LAST_AXIS and along > 1 and PyArray_DIM(x, along) == PyArray_DIM(x, along - 1):
        return None  # they fit another axis as well
    if type(ignore_index) is not int or type(param) is not float:
        return None
    if op.forward == LG_CROSS_ENTROPY and not 0 <= <double> param <= 1:
        return None
    cdef int64_t ignored = PyLong_AsLongLongAndOverflow(ignore_index, &overflow)
    if overflow or not (mean or each or reduction == "sum"):
        return None
    gradient = result_like(x, out) if type(upstream) is float else None
    losses = result_of_rows(x, along) if each and value else None
    if gradient is None and (upstream is not None or out is not None) or each and losses is None:
        return None
    cdef Rows rows
    held = start_rows(&rows, op.forward, x, along)
    held_too = take_labels(&rows, t, ignored)
    check_labels(&rows, num_threads)
    if rows.found.bad:
        return None
    rows.job.param = param
    if upstream is not None:
        rows.job.scale = upstream
    losses = losses_of(&rows, mean, rows.found.kept if mean else 1.0, value and not each, gradient, losses, num_threads)
    return losses, gradient


def plain_loss(Op op, int direction, upstream, x, targets, reduction, out, tuple parameters, num_threads):
    """What the direction asks of a loss of elements; None if it is for others to say."""
    cdef bint mean = reduction == "mean"
    cdef int slopes = lg_slopes(direction)
    if not is_plain(x) or PyArray_NDIM(x) == 0 or not is_alike(targets, x) or not (mean or reduction == "sum"):
        return None
    if out is not None and not slopes or direction == LG_BACKWARD and type(upstream) is not float:
        return None
    if slopes < 2:
        gradient, hessian = result_like(x, out) if slopes else None, None
    elif out is None:
        gradient, hessian = result_like(x, None), result_like(x, None)
    elif type(out) is tuple and len(out) == 2:
        gradient, hessian = result_like(x, out[0]), result_like(x, out[1])
    else:
        return None
    if slopes and gradient is None or slopes > 1 and (hessian is None or not is_free(gradient, hessian, False)):
        return None
    cdef double n = PyArray_SIZE(x)
    cdef Roles of
    memset(&of, 0, sizeof(Roles))
    of.a, of.b, of.out_grad, of.out_hess = <PyObject *> x, <PyObject *> targets, role(gradient), role(hessian)
    of.up, of.divisor = upstream if direction == LG_BACKWARD else 1.0, n if mean else 1.0
    loss = map_elements(op, direction, &of, parameters, num_threads)
    if direction == LG_BACKWARD:
        return gradient,
    if mean and loss is not None:
        loss = quotient(loss, n)
    if slopes < 2:
        return (loss, gradient) if slopes else (loss,)
    return (gradient, hessian) if loss is None else (loss, gradient, hessian)


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
