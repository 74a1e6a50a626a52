# Totals: what an evaluation adds up.

# as the C enum numbers them
TALLIES = ("support", "predicted", "hits", "loss", "ranks", "seen", "confusion", "bin_weight", "bin_confidence",
           "bin_right", "loss_histogram", "scalars")


cdef int64_t *zeros(Py_ssize_t groups) noexcept nogil:
    return <int64_t *> calloc(groups, sizeof(int64_t))


cdef class Totals:
    """What one thread adds up: counts and exact sums, by the names and sizes that it is given."""

    cdef lg_totals totals
    cdef bint recording
    cdef ndarray whole, real

    def __cinit__(self, Py_ssize_t classes, dict sizes, Py_ssize_t worst, bint recording):
        cdef int k
        self.recording = recording
        self.totals.classes, self.totals.most, self.totals.zeros = classes, worst, zeros
        for k, name in enumerate(TALLIES):
            self.totals.start[k], self.totals.size[k] = self.totals.groups, sizes.get(name, 0)
            self.totals.groups += self.totals.size[k]
        self.totals.column[LG_ONES] = zeros(self.totals.groups)
        self.totals.worst = <lg_worst_row *> calloc(max(1, worst), sizeof(lg_worst_row))
        if self.totals.column[LG_ONES] == NULL or self.totals.worst == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef int k
        for k in range(LG_COLUMNS):
            free(self.totals.column[k])
        free(self.totals.worst)

    cdef int make_room(self, Py_ssize_t terms) except -1:
        """For what the next terms say, if it is recorded."""
        cdef npy_intp whole[2]
        cdef npy_intp real[2]
        if self.recording:
            whole, real = [LG_WHOLE_FIELDS, terms], [LG_REAL_FIELDS, terms]
            self.whole, self.real = PyArray_EMPTY(2, whole, NPY_INT64, 0), PyArray_EMPTY(2, real, NPY_DOUBLE, 0)
            self.totals.record.whole = <int64_t *> PyArray_BYTES(self.whole)
            self.totals.record.real = <double *> PyArray_BYTES(self.real)
            self.totals.record.room, self.totals.record.n = terms, 0
        return 0

    def recorded(self):
        """(whole numbers, others) of the terms that were added last, as `lg_record` orders them."""
        n = self.totals.record.n
        return self.whole[:, :n], self.real[:, :n]

    cdef tuple found(self, lg_problem problem):
        """(kind of the problem, 0 if there is none; its row or logit)."""
        if problem.kind & LG_NO_ROOM:
            raise MemoryError()
        if problem.kind & LG_NO_SUM:
            raise ValueError("only numbers from 0 to infinity can be summed")
        return problem.kind, problem.at

    cdef int take_targets(self, ndarray targets, lg_terms *terms, Py_ssize_t n) except -1:
        if PyArray_NDIM(targets) != 1 or PyArray_DIM(targets, 0) != n:
            raise ValueError("operands have different shapes")
        terms.rows.label.at, terms.rows.label.stride = PyArray_BYTES(targets), [PyArray_STRIDE(targets, 0), 0, 0]
        return 0

    cdef int take_weight(self, const double[::1] weight, lg_terms *terms, Py_ssize_t rows) except -1:
        if weight is not None:
            if weight.shape[0] != rows:
                raise ValueError("operands have different shapes")
            terms.weight = &weight[0]
        return 0

    def add_rows(self, x, Targets targets, bint strict, Py_ssize_t begin, Py_ssize_t end):
        """Add rows of a matrix, with integer labels: the first problem."""
        cdef lg_terms terms
        cdef Rows rows
        cdef lg_problem problem
        held = [start_rows(&rows, LG_STATISTICS, x, 1), targets.join(&rows)]
        if rows.shape[1] != self.totals.classes or rows.shape[2] != 1 or not 0 <= begin <= end <= rows.shape[0]:
            raise ValueError("operands have different shapes")
        if begin == end:
            return LG_FINE, 0
        terms.weight, rows.job.sample_weight = rows.job.sample_weight, NULL  # the sums', not the figures'
        terms.rows, terms.strict, terms.target_storage = rows.job, strict, -1
        self.make_room(end - begin)
        cdef char *memory = <char *> malloc(lg_rows_scratch(&rows.job, end - begin, lg_size(lg_computed(rows.storage))) + 64)
        if memory == NULL:
            raise MemoryError()
        terms.rows.scratch = <void *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
        with nogil:
            problem = lg_add_rows(&self.totals, lg_active, lg_computed(rows.storage), &terms, begin, end)
        free(memory)
        return self.found(problem)

    def add_logits(self, x, targets, const double[::1] weight, double limit, int64_t ignore_index, bint strict,
                   Py_ssize_t begin, Py_ssize_t end):
        """Add logits of the binary task, a run, with their targets, and weights of rows or logits: the first problem."""
        cdef lg_terms terms
        cdef ndarray logits = x
        cdef Py_ssize_t n = PyArray_SIZE(logits)
        cdef int storage = storage_of(x)
        cdef lg_problem problem
        if not PyArray_IS_C_CONTIGUOUS(logits) or n % self.totals.classes or not 0 <= begin <= end <= n:
            raise ValueError("operands have different shapes")
        if begin == end:
            return LG_FINE, 0
        terms.logits.x, terms.logits.storage, terms.logits.limit = PyArray_BYTES(logits), storage, limit
        terms.rows.inner, terms.weight, terms.strict, terms.target_storage = 1, NULL, strict, -1
        terms.rows.ignore_index = ignore_index
        terms.each = 1 if weight is not None and weight.shape[0] == n else self.totals.classes
        if PyArray_ISINTEGER(targets) or targets.dtype == bool:
            terms.rows.label_type = LG_U8 if targets.dtype == bool else label_type(targets)
        else:
            terms.target_storage = storage_of(targets)
        self.take_targets(targets, &terms, n)
        self.take_weight(weight, &terms, n // terms.each)
        self.make_room(end - begin)
        with nogil:
            problem = lg_add_logits(&self.totals, lg_active, lg_computed(storage), &terms, begin, end)
        return self.found(problem)

    def counts(self):
        """The numbers of terms that are ignored, undefined, ..."""
        return {"ignored": self.totals.ignored, "undefined": self.totals.undefined, "terms": self.totals.terms,
                "correct": self.totals.correct, "infinite": self.totals.infinite}

    def columns(self):
        """The columns of each tally that hold anything: {name: {index: numbers}}."""
        cdef int k, tally
        cdef npy_intp size[1]
        cdef ndarray column
        found = {}
        for tally, name in enumerate(TALLIES):
            size[0] = self.totals.size[tally]
            own = {}
            for k in range(LG_COLUMNS):
                if lg_tally_has(&self.totals, tally, k):
                    own[k] = column = PyArray_EMPTY(1, size, NPY_INT64, 0)
                    memcpy(PyArray_BYTES(column), self.totals.column[k] + self.totals.start[tally], size[0] * sizeof(int64_t))
            found[name] = own
        return found

    def worst(self, double least):
        """(loss, row, label, predicted, confidence) of the listed rows, which leave the list; next, those of `least`."""
        cdef Py_ssize_t k
        rows = [(self.totals.worst[k].loss, self.totals.worst[k].row, self.totals.worst[k].label,
                 self.totals.worst[k].predicted, self.totals.worst[k].confidence) for k in range(self.totals.listed)]
        self.totals.listed, self.totals.least = 0, least
        return rows
