"""Long jobs in parts: shared out over threads, and interruptible in between.

Parts are independent of each other and their sums exact, so neither their number nor who does them
changes a result. The caller takes parts too, and never waits for a helper that has not begun: with
every helper busy or gone (at exit, say) it does all of them itself.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Part = Callable[[int, int], object]

# Seconds. To call helpers and wait for the last takes some 0.1 ms.
WORTH = 4e-4  # of a job: a shorter one is not shared
LONGEST = 25e-3  # of a part: Ctrl-C is answered between two
SHORTEST = 1e-4  # of a part, beside which taking it costs nothing

_chosen: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_pool_lock = threading.Lock()


def set_num_threads(num_threads: int | None) -> None:
    """
    Set how many threads share a long call, the calling one included.

    It is the number for calls without ``num_threads=``. Results do not depend on it: they are the
    same bits. Short calls, of less than about half a millisecond, are never shared.

    Parameters
    ----------
    num_threads : int or None
        At least 1; None for what the environment says: LOSSGRAD_NUM_THREADS, else OMP_NUM_THREADS,
        else one for each CPU that the process may use.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is less than 1.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.set_num_threads(2)
    >>> lossgrad.get_num_threads()
    2
    >>> lossgrad.set_num_threads(None)
    """
    global _chosen
    _chosen = None if num_threads is None else checked(num_threads)


def get_num_threads() -> int:
    """
    How many threads share a long call, the calling one included.

    Returns
    -------
    int
        What `set_num_threads` set, else LOSSGRAD_NUM_THREADS, else OMP_NUM_THREADS, else the number
        of CPUs that the process may use.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.get_num_threads() >= 1
    True
    """
    return _chosen or _environment or _cpus()


def checked(num_threads: int) -> int:
    """A number of threads that was asked for."""
    try:
        number = operator.index(num_threads)
    except TypeError:
        kind = type(num_threads).__name__
        raise TypeError(f"num_threads must be an integer or None, got {kind}") from None
    if number < 1:
        raise ValueError(f"num_threads must be at least 1, got {number}")
    return number


def from_environment() -> int | None:
    """What the environment asks for; OMP_NUM_THREADS is not ours, so that a bad one is no error."""
    ours = os.environ.get("LOSSGRAD_NUM_THREADS")
    if ours:
        if not ours.isdecimal() or not int(ours):
            raise ImportError(f"LOSSGRAD_NUM_THREADS={ours!r} is not a positive integer")
        return int(ours)
    outermost = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(outermost) or None if outermost.isdecimal() else None


_environment = from_environment()


def _cpus() -> int:
    """CPUs that this process may use, at this moment."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return getattr(os, "process_cpu_count", os.cpu_count)() or 1


# ---- a long job ----


def run(part: Part, begin: int, end: int, pace: float, num_threads: int | None) -> None:
    """part(begin, end) for pieces of a range, each of which takes one core `pace` seconds."""
    threads = get_num_threads() if num_threads is None else num_threads
    least, most = max(1, int(SHORTEST / pace)), max(1, int(LONGEST / pace))
    if threads == 1:
        for start in range(begin, end, most):
            part(start, min(start + most, end))
    else:
        _share(part, _Rest(begin, end, threads, least, most))


class _Rest:
    """What is left of a range. Pieces get smaller towards its end, so that all finish together."""

    def __init__(self, begin: int, end: int, threads: int, least: int, most: int) -> None:
        self.begin, self.end = begin, end
        self.threads, self.least, self.most = threads, least, most
        self.lock = threading.Lock()

    def take(self) -> tuple[int, int]:
        """(begin, end) of a piece, empty if nothing is left."""
        with self.lock:
            begin = self.begin
            size = min(self.most, max(self.least, (self.end - begin) // (2 * self.threads)))
            self.begin = min(begin + size, self.end)
            return begin, self.begin

    def drop(self) -> None:
        """Leave the rest undone."""
        with self.lock:
            self.begin = self.end


def _share(part: Part, rest: _Rest) -> None:
    helpers = _call_helpers(
        min(rest.threads - 1, (rest.end - rest.begin) // rest.least), part, rest
    )
    try:
        _work(part, rest)
    finally:
        rest.drop()
        for helper in helpers:
            if not helper.cancel():
                helper.result()


def _work(part: Part, rest: _Rest) -> None:
    while True:
        begin, end = rest.take()
        if begin == end:
            return
        part(begin, end)


def _call_helpers(number: int, part: Part, rest: _Rest) -> list[Future[None]]:
    """As many as can be had: none at the interpreter's exit or where no thread can be started."""
    helpers: list[Future[None]] = []
    if not number:
        return helpers
    try:
        pool = _pool_of(number)
        for _ in range(number):
            helpers.append(pool.submit(_work, part, rest))
    except RuntimeError:
        pass
    return helpers


def _pool_of(size: int) -> ThreadPoolExecutor:
    """The pool, of this size or more. Calls at the same time share it."""
    global _pool, _pool_size
    with _pool_lock:
        if _pool is None or _pool_size < size:
            _pool, _pool_size = ThreadPoolExecutor(size, "lossgrad"), size
        return _pool


def _forget_pool() -> None:
    """In a forked child, which has none of its parent's threads."""
    global _pool, _pool_size, _pool_lock
    _pool, _pool_size, _pool_lock = None, 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
