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
from lossgrad.cli.jobs import Job
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.shards import FileShards
from lossgrad.evaluation.state import Evaluation
from lossgrad.evaluation.walk import (
    BLOCK_BYTES,
    BLOCK_FIGURES,
    MEMORY_BYTES,
    Interrupted,
    Position,
    walk,
)

_SAVE_SECONDS = 30.0
Progress = Callable[[int, int, float], None]


def add_rows(job: Job, state: Evaluation, arguments: argparse.Namespace) -> tuple[Evaluation, int]:
    """Add the job's rows; with --state, go on from an interrupted run. Also the rows it had."""
    fresh, start, identity = state, Position(), None
    path, shards = arguments.state, job.shards
    if path is not None:
        named: Any = job.targets
        rows = [job.rows]
        if isinstance(shards, FileShards):
            named, rows = shards.fingerprint(), shards.rows
        keys = arguments.logits_key, arguments.targets_key
        blocks = BLOCK_BYTES, MEMORY_BYTES, BLOCK_FIGURES  # in which the position counts
        identity = checkpoint.digest([named, state.options(), arguments.axis, *keys, blocks])
        state, start = checkpoint.resume(path, state, identity, rows)
    before = state.rows
    if arguments.dask is not None:
        from lossgrad.evaluation.dask import add_files

        assert isinstance(shards, FileShards)
        add_files(fresh, shards, arguments.dask, axis=arguments.axis, strict=arguments.strict)
        return fresh, 0  # all of it: a cluster takes the pieces in no order to go on in
    done, size, began = before, 0, time.perf_counter()
    saved = began

    def after_block(rows: int, more: int) -> bool:
        nonlocal done, size
        done += rows
        size += more
        now = time.perf_counter()
        if progress is not None:
            progress(done, job.rows, size / max(now - began, 1e-9) / 1e9)
        return identity is not None and (asked.is_set() or now - saved > _SAVE_SECONDS)

    def save(position: Position) -> None:
        nonlocal saved
        stop = asked.is_set()
        assert identity is not None  # else nothing is saved
        unfinished = checkpoint.Unfinished(identity, position, job.rows)
        checkpoint.save(path, state, unfinished)
        saved = time.perf_counter()
        if stop and done < job.rows:
            raise Interrupted(position)

    with _stop_signals(identity is not None) as asked, _progress_bar() as progress:
        try:
            walk(
                state,
                shards,
                axis=arguments.axis,
                strict=arguments.strict,
                threads=arguments.threads or get_num_threads(),
                start=start,
                after_block=after_block,
                checkpoint=save,
            )
        except Interrupted:
            raise KeyboardInterrupt(
                f"after {done} of {job.rows} rows, saved in {path}; "
                "give the same command again to go on"
            ) from None
    return state, before


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
def _progress_bar() -> Iterator[Progress | None]:
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

        def show(done: int, total: int, rate: float) -> None:
            bar.total = total
            bar.set_postfix_str(f"{rate:.2f} GB/s", refresh=False)
            bar.update(done - bar.n)

        yield show
