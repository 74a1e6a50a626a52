"""How many threads share a long call. What they do is in ``csrc/pool.c``; parts of a job are
independent of each other and their sums exact, so the number changes no result."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_chosen: int | None = None
_asked: ContextVar[int | None] = ContextVar("num_threads", default=None)


def set_num_threads(num_threads: int | None) -> None:
    """
    Set how many threads share a long call, the calling one included.

    It is the number for calls without ``num_threads=``. Results do not depend on it: they are the
    same bits. Short calls, of less than about a tenth of a millisecond, are never shared.

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
    return _asked.get() or _chosen or _environment or _cpus()


@contextmanager
def using(num_threads: int | None) -> Iterator[None]:
    """A context with a number for calls that have no argument for it."""
    before = _asked.set(None if num_threads is None else checked(num_threads))
    try:
        yield
    finally:
        _asked.reset(before)


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


def handles_signals() -> bool:
    """Whether this is the thread in which Python runs the handlers of signals."""
    return threading.get_ident() == threading.main_thread().ident
