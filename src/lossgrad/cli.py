"""The `lossgrad` command.

Exit status: 0 done; 2 wrong use or wrong data, with one line on stderr that names file, row and
value; 130 interrupted. Results go to stdout; the progress bar goes to stderr, and only to a
terminal.
"""

import argparse
import contextlib
import importlib
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

import lossgrad
from lossgrad import evaluation, readers, sample

_EXAMPLES = """\
examples:
  lossgrad evaluate --sample digits
  lossgrad evaluate --sample digits --save /tmp/digits
  lossgrad evaluate logits.npy targets.npy
  lossgrad evaluate --task binary --json logits.npy targets.npy
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()  # here, where a failure can still be reported
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone: nothing to say, nobody to tell
        _drop_output()
        return 141
    except readers.FileError as error:
        return _fail(str(error))
    except MemoryError as error:
        return _fail(f"out of memory: {error}")
    except OSError as error:
        _drop_output()
        return _fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
    return 0


def _drop_output() -> None:
    """What could not be written is still in the buffer, and would fail again at exit, with 120."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int = 2) -> int:
    with contextlib.suppress(OSError):
        print(f"lossgrad: error: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossgrad",
        description="Losses of saved logits, computed fast and exactly.",
    )
    parser.add_argument("--version", action="version", version=f"lossgrad {lossgrad.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    evaluate = commands.add_parser(
        "evaluate",
        help="mean loss and accuracy of saved logits",
        description="Mean loss and accuracy of the logits in one .npy file against the targets\n"
        "in another. Both are memory-mapped and read once, in blocks.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.set_defaults(run=lambda arguments: _evaluate(evaluate, arguments))
    add = evaluate.add_argument
    add("logits", nargs="?", metavar="LOGITS.npy", help="logits: (rows, classes)")
    add("targets", nargs="?", metavar="TARGETS.npy", help="integer labels: (rows,)")
    add("--sample", choices=["digits"], help="fit and evaluate a model of the embedded data")
    add("--save", metavar="DIR", help="with --sample: write its logits.npy and targets.npy")
    add(
        "--task",
        choices=["multiclass", "binary"],
        default="multiclass",
        help="binary: sigmoid and targets in [0, 1] of the logits' shape, multi-label too "
        "(default: multiclass)",
    )
    add("--axis", type=int, default=-1, help="axis of the classes (default: -1, the last)")
    add("--ignore-index", type=int, metavar="N", help="label of rows to skip (default: -100)")
    add("--json", action="store_true", help="print one JSON object")

    info = commands.add_parser("info", help="versions, backend and instruction set in use")
    info.set_defaults(run=lambda arguments: lossgrad.show_config())
    return parser


@dataclass(frozen=True)
class _Job:
    """Two arrays, what to call them in errors, and what to say about them."""

    logits: NDArray[Any]
    targets: NDArray[Any]
    names: dict[str, str]
    about: dict[str, object]
    headline: str = ""
    footer: str = ""


def _evaluate(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    _check_usage(parser, arguments)
    job = _sample_job(arguments.save) if arguments.sample else _file_job(arguments)
    start = time.perf_counter()
    try:
        with _progress_bar() as progress:
            result = evaluation.evaluate(
                job.logits,
                job.targets,
                task=arguments.task,
                axis=arguments.axis,
                ignore_index=-100 if arguments.ignore_index is None else arguments.ignore_index,
                progress=progress,
            )
    except evaluation.InputError as error:
        raise readers.FileError(job.names[error.source], error.detail) from None
    seconds = time.perf_counter() - start
    if result.terms == 0:
        raise readers.FileError(job.names["targets"], "every label is ignored, no row is left")
    figures = _figures(result, seconds, job.logits.nbytes + job.targets.nbytes)
    if arguments.json:
        _say(json.dumps({**job.about, **figures}, allow_nan=False))
    else:
        _say("\n".join(filter(None, [job.headline, _table(result, figures), job.footer])))


def _check_usage(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.sample:
        if arguments.logits is not None:
            parser.error("--sample takes no files")
        if arguments.task != "multiclass" or arguments.axis != -1:
            parser.error("--sample digits is multiclass, its classes on the last axis")
    elif arguments.save is not None:
        parser.error("--save goes with --sample")
    elif arguments.logits is None:
        parser.error("give LOGITS.npy and TARGETS.npy, or try --sample digits")
    elif arguments.targets is None:
        parser.error("TARGETS.npy is missing")
    if arguments.task == "binary" and arguments.ignore_index is not None:
        parser.error("--ignore-index is for the multiclass task")


def _file_job(arguments: argparse.Namespace) -> _Job:
    names = {"logits": arguments.logits, "targets": arguments.targets}
    logits, targets = (readers.open_npy(name) for name in names.values())
    return _Job(logits, targets, names, dict(names))


def _sample_job(directory: str | None) -> _Job:
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
    names = {"logits": "digits logits", "targets": "digits targets"}
    return _Job(found.logits, found.targets, names, about, headline, footer)


def _figures(result: evaluation.Result, seconds: float, size: int) -> dict[str, object]:
    """The JSON fields. JSON has no nan and no inf: null stands for both."""
    figures: dict[str, object] = {
        "task": result.task,
        "rows": result.rows,
        "ignored": result.ignored,
        "classes": result.classes,
        "loss": result.loss,
        "loss_bits": result.loss_bits,
        "perplexity": result.perplexity if result.task == "multiclass" else None,
        "accuracy": result.accuracy,
        "correct": result.correct,
        "terms": result.terms,
        "infinite": result.infinite,
        "seconds": seconds,
        "rows_per_second": result.rows / seconds,
        "gigabytes_per_second": size / seconds / 1e9,
    }
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _table(result: evaluation.Result, figures: dict[str, Any]) -> str:
    multiclass = result.task == "multiclass"
    lines = [
        ("rows", f"{result.rows}" + (f"  ({result.ignored} ignored)" if result.ignored else "")),
        ("classes" if multiclass else "labels", f"{result.classes}"),
        ("loss", f"{result.loss:.6g} nats  ({result.loss_bits:.6g} bits)"),
    ]
    if multiclass:
        lines.append(("perplexity", f"{result.perplexity:.6g}"))
    lines.append(
        ("accuracy", f"{100 * result.accuracy:.2f} %  ({result.correct} of {result.terms})")
    )
    if result.infinite:
        lines.append(("infinite", f"{result.infinite} of {result.terms} losses"))
    rate = f"{_si(figures['rows_per_second'])} rows/s"
    lines.append(("speed", f"{rate}  ({figures['gigabytes_per_second']:.3g} GB/s)"))
    return "\n".join(f"{name:<12}{text}" for name, text in lines)


def _si(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _say(text: str) -> None:
    """Print; what the terminal's encoding lacks (in a file's name) is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
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

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
