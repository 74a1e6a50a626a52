"""`lossgrad evaluate` and `lossgrad merge`: from arguments to a printed result."""

import argparse
import contextlib
import importlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lossgrad import _checkpoint, _tables, sample
from lossgrad._formats import need
from lossgrad._problems import FileError
from lossgrad._save import check_place, reason
from lossgrad._shard import Shard
from lossgrad._shards import FileShards, find_shards
from lossgrad._tables import Speed, say
from lossgrad._threads import get_num_threads
from lossgrad._walk import BLOCK_BYTES, BLOCK_FIGURES, MEMORY_BYTES, Interrupted, Position, walk
from lossgrad.evaluation import Evaluation, Result

WORST = 20  # rows that a state remembers: the same for all, so that all can be merged
_SAVE_SECONDS = 30.0
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Job:
    """What to evaluate, what to call it, and what to say about it."""

    shards: Iterable[Shard]
    rows: int
    classes: int
    bytes: float
    targets: str  # the name of the (first) targets
    about: dict[str, object]
    headline: str = ""
    footer: str = ""


def evaluate(arguments: argparse.Namespace) -> None:
    """Run `lossgrad evaluate`."""
    state = Evaluation(
        arguments.task,
        ignore_index=-100 if arguments.ignore_index is None else arguments.ignore_index,
        bins=arguments.bins,
        threshold=arguments.threshold,
        worst=WORST if arguments.task == "multiclass" else 0,
    )
    job = _sample_job(arguments.save) if arguments.sample else _file_job(arguments)
    names = _check_outputs(arguments, job.classes)
    start = time.perf_counter()
    state, before = _run(job, state, arguments)
    result = state.result()
    if result.terms == 0:
        why = "no row has a loss" if result.undefined else "every label is ignored, no row is left"
        raise FileError(job.targets, why)
    if arguments.state is not None:
        _checkpoint.save(arguments.state, state)
    done = job.rows - before
    speed = Speed(max(time.perf_counter() - start, 1e-9), done, job.bytes * done / max(job.rows, 1))
    _show(arguments, result, speed, names, job.about, job.headline, job.footer)


def merge(arguments: argparse.Namespace) -> None:
    """Run `lossgrad merge`."""
    first, *others = arguments.states
    for number, path in enumerate(others, 1):
        if os.path.realpath(path) in map(os.path.realpath, arguments.states[:number]):
            raise FileError(path, "is named twice: its rows would count twice")
    state = _checkpoint.load_finished(first)
    for path in others:
        try:
            state.merge(_checkpoint.load_finished(path))
        except ValueError as error:
            raise FileError(path, f"does not merge with {first}: {error}") from None
    result = state.result()
    names = _check_outputs(arguments, result.classes)
    if arguments.state is not None:
        _checkpoint.resume(arguments.state, state, "", ())  # no other state is replaced
        _checkpoint.save(arguments.state, state)
    _show(arguments, result, None, names, {"states": arguments.states})


def _check_outputs(arguments: argparse.Namespace, classes: int) -> list[str] | None:
    """Find what is wrong with them before the work, not after it. Also the classes' names."""
    if arguments.report is not None:
        need("matplotlib.figure", "report", "a report")
        check_place(arguments.report)
        if not _is_page(arguments.report):
            raise FileError(arguments.report, "holds something that is no HTML and is left alone")
    if arguments.state is not None:
        check_place(arguments.state)
        if os.path.lexists(arguments.state):
            _checkpoint.load(arguments.state)  # nothing but a state is ever overwritten
    if arguments.class_names is None:
        return None
    return _tables.read_names(arguments.class_names, classes)


def _is_page(path: str) -> bool:
    """Whether a report may be written there: nothing is lost but another page."""
    if not os.path.isfile(path):
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(100).lstrip().lower()
    except OSError as error:
        raise FileError(path, f"cannot be read: {reason(error)}") from None
    return not start or start.startswith((b"<!doctype html", b"<html"))


def _show(
    arguments: argparse.Namespace,
    result: Result,
    speed: Speed | None,
    names: list[str] | None,
    about: dict[str, object],
    headline: str = "",
    footer: str = "",
) -> None:
    ranked = result.task == "multiclass"
    top_k = sorted(set(arguments.top_k or ([5] if result.classes > 5 else []))) if ranked else []
    if arguments.report is not None:
        from lossgrad import report

        report.write(arguments.report, result, top_k=top_k, class_names=names, about=about)
    if arguments.json:
        say(_tables.json_text(result, about, speed, top_k, names))
        return
    parts = [headline, _tables.table(result, speed, top_k)]
    if names is not None:
        parts.append("\n" + _tables.class_table(result, names))
    say("\n".join(filter(None, [*parts, footer])))


# ---- jobs ----


def _file_job(arguments: argparse.Namespace) -> Job:
    shards = find_shards(
        arguments.logits, arguments.targets, arguments.logits_key, arguments.targets_key
    )
    rows = shards.check_shapes(arguments.task, arguments.axis)
    about: dict[str, object] = {
        "logits": arguments.logits,
        "targets": arguments.targets or arguments.logits,
    }
    if len(shards) > 1:
        about["shards"] = len(shards)
    return Job(shards, rows, shards.classes, shards.bytes, shards.pairs[0][1], about)


def _sample_job(directory: str | None) -> Job:
    start = time.perf_counter()
    found = sample.digits()
    seconds = time.perf_counter() - start
    about: dict[str, object] = {
        "sample": "digits",
        "training_rows": found.training_rows,
        "training_loss": found.training_loss,
        "training_calls": found.calls,
        "training_seconds": seconds,
    }
    headline = (
        f"Handwritten digits (UCI): softmax regression fitted on {found.training_rows} images\n"
        f"in {seconds:.2f} s ({found.calls} losses and gradients, training loss "
        f"{found.training_loss:.6f}),\n"
        f"evaluated on the {len(found.targets)} held out.\n"
    )
    footer = ""
    if directory is not None:
        paths = [str(path) for path in sample.save(found, directory)]
        about["saved"] = paths
        footer = f"\nSaved. The same from files:\n  lossgrad evaluate {shlex.join(paths)}"
    shard = Shard(found.logits, found.targets, source="digits", first_row=0)
    rows, classes = found.logits.shape
    size = found.logits.nbytes + found.targets.nbytes
    return Job([shard], rows, classes, size, "digits targets", about, headline, footer)


# ---- the run ----


def _run(job: Job, state: Evaluation, arguments: argparse.Namespace) -> tuple[Evaluation, int]:
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
        identity = _checkpoint.digest([named, state.options(), arguments.axis, *keys, blocks])
        state, start = _checkpoint.resume(path, state, identity, rows)
    before = state.rows
    if arguments.dask is not None:
        from lossgrad._dask import add_files

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

    def checkpoint(position: Position) -> None:
        nonlocal saved
        stop = asked.is_set()
        assert identity is not None  # else nothing is saved
        unfinished = _checkpoint.Unfinished(identity, position, job.rows)
        _checkpoint.save(path, state, unfinished)
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
                checkpoint=checkpoint,
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
