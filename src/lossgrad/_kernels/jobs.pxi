# A call as a job: in how many threads it is run, how signals are looked for, and how it ends.

cdef enum:
    QUICK = 1024     # float32 elements that are over before another thread could use the GIL
    SHORT = 65536    # and so many before a helper could: nobody asks for how many threads there are
    THREADS = 1024   # more than are of use


cdef class Environment:
    """A context in which the caller's floating-point environment is put aside."""

    cdef lg_environment found

    def __enter__(self):
        self.found = lg_enter()

    def __exit__(self, *unused):
        lg_leave(self.found)


cdef int look() noexcept with gil:
    """What the calling thread does between parts: the handlers of signals, which may raise."""
    return PyErr_CheckSignals()


cdef void begin_short(lg_way *way, int storage) noexcept nogil:
    """How to do a job that is over before a helper could begin."""
    way.level, way.computed, way.threads, way.look = lg_active, lg_computed(storage), 1, NULL


cdef int begin(lg_way *way, int storage, double work, object num_threads) except -1:
    """How to do a job that takes as long as so many float32 elements."""
    begin_short(way, storage)
    if num_threads is not None and (type(num_threads) is not int or num_threads < 1):
        num_threads = threads.checked(num_threads)
    if work > SHORT:
        way.threads = min(THREADS, threads.get_num_threads() if num_threads is None else num_threads)
        if threads.handles_signals():
            way.look = look
    return 0


cdef int ended(int status) except -1:
    """Raise what kept a job from being done."""
    if status == LG_DONE:
        return 0
    if PyErr_Occurred() != NULL:
        return -1
    if status == LG_NO_MEMORY:
        raise MemoryError()
    raise RuntimeError(
        "a signal handler forked this process while threads shared a call, which is not finished in the child: "
        "call again there"
    )


def set_sharing(double worth, double shortest):
    """From which rest of a job on, in seconds, and in which parts at least, it is shared: those before. For tests."""
    cdef lg_sharing before = lg_set_sharing(lg_sharing(worth, shortest))
    return before.worth, before.shortest


def pool():
    """(threads that help callers, jobs that have been shared so far)."""
    cdef lg_pool_state now = lg_pool_now()
    return now.threads, now.shared
