# The loop over rows whose squares are summed.

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
