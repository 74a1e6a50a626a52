# The loop over rows of classes.

cdef struct Rows:
    # One of the softmax family: what is put together by the steps below, then run.
    lg_rows_job job
    Py_ssize_t shape[3]  # outer, classes, inner
    int storage, axis
    lg_sum sum
    lg_label_check found
    int strange
    Reads reads


cdef ndarray start_rows(Rows *rows, int what, object x, int axis):
    """The logits, as a view; what this and the other steps return holds memory for as long as the call lasts."""
    memset(&rows.job, 0, sizeof(lg_rows_job))
    rows.storage, rows.axis, rows.strange, rows.reads.number = storage_of(x), axis, 0, 0
    rows.job.what, rows.job.scale, rows.job.over, rows.job.strange = what, 1.0, 1.0, &rows.strange
    rows.shape[0] = -1
    cdef ndarray held = grid(x, axis, False, &rows.job.x, rows.shape, rows.storage, &rows.reads)
    rows.job.outer, rows.job.classes, rows.job.inner = rows.shape[0], rows.shape[1], rows.shape[2]
    return held


cdef ndarray beside_logits(Rows *rows, object a, lg_view *view, int storage):
    """An input of the logits' shape."""
    return grid(a, rows.axis, False, view, rows.shape, storage, &rows.reads)


cdef ndarray take_labels(Rows *rows, ndarray labels, int64_t ignore_index):
    """A label for each row."""
    rows.job.ignore_index, rows.job.label_type = ignore_index, label_type(labels)
    reads_too(&rows.reads, labels, False)
    return row_values(labels, &rows.job.label, rows.shape)


cdef int take_weight(Rows *rows, object weight) except -1:
    """A weight for each class."""
    cdef ndarray a = operand(weight, False, lg_computed(rows.storage), &rows.reads, False)
    if PyArray_NDIM(a) != 1 or PyArray_DIM(a, 0) != rows.job.classes or not PyArray_IS_C_CONTIGUOUS(a):
        raise ValueError("weight is not a contiguous vector of the classes")
    rows.job.weight = PyArray_BYTES(a)
    return 0


cdef double *one_a_row(Rows *rows, object numbers) except? NULL:
    """A float64 for each row, in row order; NULL where there are no rows."""
    cdef const double[::1] a = numbers
    if a.shape[0] != rows.shape[0] * rows.shape[2]:
        raise ValueError("operands have different shapes")
    reads_too(&rows.reads, numbers, False)
    return <double *> &a[0] if a.shape[0] else NULL


cdef int row_storage(ndarray values, int storage) except -1:
    """How values of rows are stored: as the logits are, or as they are computed."""
    return lg_computed(storage) if storage_of(values) == lg_computed(storage) else storage


cdef int deliver_rows(Rows *rows, object out, object value, object num_threads, object hess=None) except -1:
    """Run, when all that is read is known: results of the logits' shape go to out, and hess, one a row to value; each may
    be None.
    """
    to = None if out is None else place_for(out, &rows.reads)
    to_hess = None if hess is None else place_for(hess, &rows.reads)
    to_value = None if value is None else place_for(value, &rows.reads)
    outs = None if to is None else grid(to, rows.axis, True, &rows.job.out, rows.shape, rows.storage, &rows.reads)
    hessians = None if hess is None else grid(
        to_hess, rows.axis, True, &rows.job.hess, rows.shape, rows.storage, &rows.reads)
    values = None if to_value is None else row_grid(
        to_value, True, &rows.job.value, rows.shape, row_storage(to_value, rows.storage), &rows.reads)
    run_rows(rows, num_threads)
    deliver(out, to)
    deliver(hess, to_hess)
    return deliver(value, to_value)


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


def softmax_like(RowOp op, int direction, x, int axis, *, grad=None, row_grad=None, factor=None, out=None, value=None,
                 num_threads=None):
    """The softmax family along axis; factor is logsumexp's b."""
    cdef Rows rows
    held = [start_rows(&rows, op.forward if direction == LG_FORWARD else op.backward, x, axis)]
    if grad is not None:
        held.append(beside_logits(&rows, grad, &rows.job.grad, rows.storage))
    if row_grad is not None:
        held.append(row_grid(row_grad, False, &rows.job.row_grad, rows.shape, rows.storage, &rows.reads))
    if factor is not None:
        held.append(beside_logits(&rows, factor, &rows.job.factor, lg_computed(rows.storage)))
    deliver_rows(&rows, out, value, num_threads)


def softmax_jacobian(x, int axis, out, num_threads):
    """A matrix of classes for each row."""
    cdef Rows rows
    cdef Py_ssize_t matrices[3]
    held = start_rows(&rows, LG_SOFTMAX_JACOBIAN, x, axis)
    matrices = [rows.shape[0] * rows.shape[2], rows.shape[1], rows.shape[1]]
    to = place_for(out, &rows.reads)
    outs = grid(to, 1, True, &rows.job.out, matrices, rows.storage, &rows.reads)
    run_rows(&rows, num_threads)
    deliver(out, to)


cdef class Targets:
    """What a row loss is of: labels, or distributions of the logits' shape (soft), and what they weigh.

    Class weights are of the computed type, sample weights finite, not negative and one a row. param is what the
    loss is given besides: label_smoothing of cross_entropy. z and cap are its z_loss and softcap, 0 for none.
    """

    cdef object labels, soft, weight, sample_weight
    cdef int64_t ignore_index
    cdef double param, z, cap

    def __init__(self, *, labels=None, soft=None, weight=None, sample_weight=None, int64_t ignore_index=-100,
                 double param=0.0, double z=0.0, double cap=0.0):
        self.labels, self.soft, self.weight, self.sample_weight = labels, soft, weight, sample_weight
        self.ignore_index, self.param, self.z, self.cap = ignore_index, param, z, cap

    cdef list join(self, Rows *rows):
        """Take part in a call: what holds the memory."""
        held = []
        if self.weight is not None:
            take_weight(rows, self.weight)
        if self.sample_weight is not None:
            rows.job.sample_weight = one_a_row(rows, self.sample_weight)
        if self.soft is not None:
            held.append(beside_logits(rows, self.soft, &rows.job.soft, lg_computed(rows.storage)))
        else:
            held.append(take_labels(rows, self.labels, self.ignore_index))
        rows.job.param, rows.job.z, rows.job.cap = self.param, self.z, self.cap
        return held

    cdef double divisor(self, Rows *rows) except? -1:
        """What a mean's sum is divided by: the rows that are kept, or their weights, after labels were checked."""
        if self.soft is not None:
            return rows.shape[0] * rows.shape[2] if self.sample_weight is None else exact_sum(self.sample_weight)
        if self.weight is None and self.sample_weight is None:
            return rows.found.kept
        return lg_sum_value(&rows.found.weights)


cdef object losses_of(Rows *rows, bint mean, double divisor, bint reduced, object out, object value, object num_threads,
                      object hess=None):
    """Run a row loss, with gradients over divisor to out, and Hessians to hess, unless that is None: value, to which each
    row's loss goes, or reduced their sum or mean.
    """
    rows.job.over = divisor
    if reduced:
        lg_sum_clear(&rows.sum)
        rows.job.sum = &rows.sum
    deliver_rows(rows, out, value, num_threads, hess)
    if not reduced:
        return value
    return lg_sum_mean(&rows.sum, divisor) if mean else lg_sum_value(&rows.sum)


def row_loss(RowOp op, x, int axis, Targets targets, *, double up=1.0, row_grad=None, bint mean=False,
             bint reduced=False, out=None, hess=None, value=None, lse=None, bint lse_given=False, num_threads=None):
    """A row loss: (first row whose label is bad or -1, the losses: value, or their sum or mean if they are reduced).

    Nothing is written if there is a bad row. Losses of each row go to value, gradients (times up and
    row_grad, over the weights if mean) to out, Hessians beside them to hess, log-sum-exps to lse, from where they come
    if they are given.
    """
    cdef Rows rows
    held = [start_rows(&rows, op.forward, x, axis), targets.join(&rows)]
    if targets.soft is None:
        check_labels(&rows, num_threads)
        if rows.found.bad:
            return rows.found.bad - 1, None
    cdef double divisor = targets.divisor(&rows) if mean else 1.0
    rows.job.scale = up
    if lse is not None:
        rows.job.lse, rows.job.lse_given = one_a_row(&rows, lse), lse_given
    if row_grad is not None:
        held.append(row_grid(row_grad, False, &rows.job.row_grad, rows.shape, rows.storage, &rows.reads))
    return -1, losses_of(&rows, mean, divisor, reduced, out, value, num_threads, hess)


def row_statistics(x, Targets targets, *, loss, lse, int64_t[::1] predicted, int64_t[::1] rank, double[:, ::1] figures,
                   num_threads=None):
    """Figures of each row of a matrix against its label, to the arrays after targets: the first bad row or -1.

    Nothing is written if there is a bad row. The losses are of the computed type; figures are the
    confidences, entropies, sums of squares and Brier scores.
    """
    cdef Rows rows
    cdef lg_rows_job *job = &rows.job
    held = [start_rows(&rows, LG_STATISTICS, x, 1), targets.join(&rows)]
    cdef Py_ssize_t n = rows.shape[0]
    check_labels(&rows, num_threads)
    if rows.found.bad or n == 0:
        return rows.found.bad - 1
    held.append(row_grid(loss, True, &job.value, rows.shape, lg_computed(rows.storage), &rows.reads))
    if predicted.shape[0] != n or rank.shape[0] != n or figures.shape[0] != 4 or figures.shape[1] != n:
        raise ValueError("operands have different shapes")
    job.lse = one_a_row(&rows, lse)
    job.statistics.predicted, job.statistics.rank = &predicted[0], &rank[0]
    job.statistics.confidence, job.statistics.entropy = &figures[0, 0], &figures[1, 0]
    job.statistics.squares, job.statistics.brier = &figures[2, 0], &figures[3, 0]
    run_rows(&rows, num_threads)
    return -1


def pair_statistics(x, y, Targets targets, *, int64_t top, double[:, ::1] figures, int64_t[:, ::1] choices,
                    num_threads=None):
    """Figures of each row of two matrices, beside each other, against its label or none: the first bad row or -1.

    Nothing is written if there is a bad row. The figures are in the order of lg_pairs, and so are choices.
    """
    cdef Rows rows
    cdef lg_pairs *to = &rows.job.pairs
    held = [start_rows(&rows, LG_PAIRS, x, 1), beside_logits(&rows, y, &rows.job.grad, storage_of(y))]
    cdef Py_ssize_t n = rows.shape[0]
    if lg_computed(storage_of(x)) != lg_computed(storage_of(y)):
        raise ValueError("operands are not computed alike")
    if targets is not None:
        held.append(targets.join(&rows))
        check_labels(&rows, num_threads)
        if rows.found.bad:
            return rows.found.bad - 1
    if figures.shape[0] != 6 or figures.shape[1] != n or choices.shape[0] != 5 or choices.shape[1] != n:
        raise ValueError("operands have different shapes")
    if n == 0:
        return -1
    to.kl, to.kl_reverse, to.js = &figures[0, 0], &figures[1, 0], &figures[2, 0]
    to.base_loss, to.other_loss, to.loss_difference = &figures[3, 0], &figures[4, 0], &figures[5, 0]
    to.base_rank, to.other_rank = &choices[0, 0], &choices[1, 0]
    to.base_predicted, to.other_predicted, to.overlap = &choices[2, 0], &choices[3, 0], &choices[4, 0]
    to.top = top
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
