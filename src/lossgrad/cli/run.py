"""A run over the rows of a job: its progress, and how it is stopped and goes on."""

import argparse
import contextlib
import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from lossgrad import get_num_threads
from lossgrad.cli.jobs import Job, source_of
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.shards import FileShards
from lossgrad.evaluation.states import State
from lossgrad.evaluation.walk import (
    BLOCK_BYTES,
    BLOCK_FIGURES,
    MEMORY_BYTES,
    Interrupted,
    Position,
    walk,
)

_SAVE_SECONDS = 30.0
Progress = Callable[..., None]  # of rows done, rows, and GB/s if that is known


def add_rows(job: Job, state: State, arguments: argparse.Namespace) -> tuple[State, int]:
    """Add the job's rows; with --state, go on from an interrupted run. Also the rows it had."""
    resumed, start, identity = state, Position(), None
    if arguments.state is not None:
        identity, rows = _identity(job, state, arguments)
        resumed, start = checkpoint.resume(arguments.state, state, identity, rows)
    if arguments.dask is not None:
        with progress_bar() as progress:
            source_of(job, arguments, progress).add_to(state)
        return state, 0  # all of it: a cluster takes the pieces in no order to go on in
    before = resumed.rows
    with _stop_signals(identity is not None) as asked, progress_bar() as progress:
        run = _Run(job.rows, resumed, arguments.state, identity, asked, progress)
        try:
            walk(
                resumed,
                job.shards,
                axis=arguments.axis,
                strict=arguments.strict,
                threads=arguments.threads or get_num_threads(),
                start=start,
                after_block=run.after_block,
                checkpoint=run.save,
            )
        except Interrupted:
            raise KeyboardInterrupt(
                f"after {run.done} of {job.rows} rows, saved in {arguments.state}; "
                "give the same command again to go on"
            ) from None
    return resumed, before


def _identity(job: Job, state: State, arguments: argparse.Namespace) -> tuple[str, list[int]]:
    """What tells a job from others, and the rows of each of its shards."""
    named: Any = job.targets
    rows = [job.rows]
    if isinstance(job.shards, FileShards):
        reading = job.shards.reading
        named = [job.shards.fingerprint(), reading.input, reading.class_names]
        rows = job.shards.rows
    blocks = BLOCK_BYTES, MEMORY_BYTES, BLOCK_FIGURES  # in which the position counts
    return checkpoint.digest([named, state.options(), arguments.axis, blocks]), rows


class _Run:
    """A walk under way: how far it is, shown and saved from time to time."""

    def __init__(
        self,
        rows: int,
        state: State,
        path: Any,
        identity: str | None,
        asked: threading.Event,
        progress: Progress | None,
    ) -> None:
        self._rows, self._state, self._path, self._identity = rows, state, path, identity
        self._asked, self._progress = asked, progress
        self.done, self._bytes = state.rows, 0
        self._began = self._saved = time.perf_counter()

    def after_block(self, rows: int, more: int) -> bool:
        """Count what was done: whether to save it."""
        self.done += rows
        self._bytes += more
        now = time.perf_counter()
        if self._progress is not None:
            rate = self._bytes / max(now - self._began, 1e-9) / 1e9
            self._progress(self.done, self._rows, rate)
        late = now - self._saved > _SAVE_SECONDS
        return self._identity is not None and (self._asked.is_set() or late)

    def save(self, position: Position) -> None:
        """Save the state, and stop there if that was asked for."""
        stop = self._asked.is_set()
        assert self._identity is not None  # else nothing is saved
        unfinished = checkpoint.Unfinished(self._identity, position, self._rows)
        checkpoint.save(self._path, self._state, unfinished)
        self._saved = time.perf_counter()
        if stop and self.done < self._rows:
            raise Interrupted(position)


@contextlib.contextmanager
def _stop_signals(wanted: bool) -> Iterator[threading.Event]:
    """Ctrl-C and a request to end set the event; a second Ctrl-C interrupts at once."""
    asked = threading.Event()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """A callback that draws a bar, or None without a terminal or without tqdm."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        tqdm: Any = importlib.import_module("tqdm").tqdm
    except ImportError:
        yield None
        return
    with tqdm(unit=" rows", unit_scale=True, leave=False, file=sys.stderr) as bar:
        if bar.ncols == -1:  # the terminal says it has 0 columns (a pipe to a container, say)
            bar.ncols = bar.nrows = None

        def show(done: int, total: int, rate: float | None = None) -> None:
            bar.total = total
            if rate is not None:
                bar.set_postfix_str(f"{rate:.2f} GB/s", refresh=False)
            bar.update(done - bar.n)

        yield show
