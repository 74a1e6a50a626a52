# The loop over rows of classes.

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
    rows.job.what, rows.job.scale, rows.job.over, rows.job.strange = what, 1.0, 1.0, &rows.strange
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
    """cross_entropy or nll_loss: (first bad row or -1, the losses' sum, or mean).

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
            return rows.found.bad - 1, 0.0
        divisor = lg_sum_value(&rows.found.weights)
        if weight is None and sample_weight is None:
            divisor = rows.found.kept
    job.scale, job.over = up, divisor if mean else 1.0
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
    if not summed:
        return -1, 0.0
    return -1, lg_sum_mean(&rows.sum, divisor) if mean else lg_sum_value(&rows.sum)


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
