"""The `lossgrad` command: its arguments and its exit status.

Exit status: 0 done; 2 wrong use or wrong data, with one line on stderr that names file, row and
value; 130 interrupted. Results go to stdout; the progress bar goes to stderr, and only to a
terminal.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import lossgrad
from lossgrad.cli import evaluate as command
from lossgrad.evaluation.formats import holds_both
from lossgrad.evaluation.problems import FileError, InputError, visible

_EXAMPLES = """\
examples:
  lossgrad evaluate --sample digits
  lossgrad evaluate --sample digits --save /tmp/digits
  lossgrad evaluate logits.npy targets.npy
  lossgrad evaluate --task binary --json logits.npy targets.npy
  lossgrad evaluate 'logits-*.npy' 'targets-*.npy' --state all.state
  lossgrad evaluate predictions.safetensors --report report.html
  lossgrad merge one.state two.state --report report.html
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        arguments, rest = _parser().parse_known_args(argv)
        arguments.run(arguments, rest)
        sys.stdout.flush()  # here, where a failure can still be reported
    except KeyboardInterrupt as stop:
        return _fail(" ".join(["interrupted", *map(str, stop.args)]), 130)
    except BrokenPipeError:  # the reader of our output has gone: nothing to say, nobody to tell
        _drop_output()
        return 141
    except (FileError, InputError, ImportError) as error:
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
        print(f"lossgrad: error: {visible(message)}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lossgrad",
        description="Losses of saved logits, computed fast and exactly.",
    )
    parser.add_argument("--version", action="version", version=f"lossgrad {lossgrad.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_evaluate(commands)
    _add_merge(commands)
    info = commands.add_parser("info", help="versions, backend and instruction set in use")

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        if rest:
            info.error(f"unrecognized arguments: {' '.join(rest)}")
        lossgrad.show_config()

    info.set_defaults(run=run)
    return parser


def _more_files(parser: argparse.ArgumentParser, rest: list[str]) -> list[str]:
    """What argparse left over: it takes files for unknown that options part from the first."""
    if any(text.startswith("-") for text in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return rest


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="everything about saved predictions in one read",
        description="Loss, accuracy, calibration and more of the logits in one file against the\n"
        "targets in another, or in the same. Files are .npy, .npz, .safetensors, .zarr,\n"
        ".h5, .parquet or .arrow, of any size: they are read once, in blocks. Quoted\n"
        "patterns ('logits-*.npy') name shards, which are matched in sorted order.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        files = [arguments.logits, arguments.targets]
        files = [*filter(None, files), *_more_files(evaluate, rest)]
        if len(files) > 2:
            more = " ".join(files[2:])
            evaluate.error(f"too many files: {more}; put patterns in quotes, as 'logits-*.npy'")
        arguments.logits, arguments.targets = (*files, None, None)[:2]
        _check_usage(evaluate, arguments)
        command.evaluate(arguments)

    evaluate.set_defaults(run=run)
    add = evaluate.add_argument
    add("logits", nargs="?", metavar="LOGITS", help="logits: (rows, classes)")
    add("targets", nargs="?", metavar="TARGETS", help="integer labels: (rows,)")
    add("--logits-key", metavar="NAME", help="array or column in LOGITS (default: logits)")
    add("--targets-key", metavar="NAME", help="array or column in TARGETS (default: targets)")
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
    add("--bins", type=_positive, default=15, metavar="N", help="reliability bins (default: 15)")
    add(
        "--threshold",
        type=_probability,
        default=0.5,
        metavar="P",
        help="binary: probability above which a label is predicted (default: 0.5)",
    )
    add("--strict", action="store_true", help="a row whose loss is nan is an error")
    add(
        "--threads",
        type=_positive,
        metavar="N",
        help="threads (default: one a processor, or LOSSGRAD_NUM_THREADS)",
    )
    add("--dask", metavar="ADDRESS", help="run on the cluster of this dask scheduler")
    _add_outputs(
        add, "write the state here, for merge; an interrupted run goes on from it", "top 5"
    )


def _add_merge(commands: Any) -> None:
    merge = commands.add_parser(
        "merge",
        help="combine the states of several evaluations",
        description="The figures of several evaluations together: exactly those of one run over "
        "all their rows, whatever the order.",
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        arguments.states += _more_files(merge, rest)
        command.merge(arguments)

    merge.set_defaults(run=run)
    add = merge.add_argument
    add("states", nargs="+", metavar="STATE", help="files that evaluate --state wrote")
    _add_outputs(add, "write the combined state here", "top 5")


def _add_outputs(add: Any, state: str, top_k: str) -> None:
    add("--state", metavar="FILE", help=state)
    add(
        "--top-k",
        type=_positive,
        action="append",
        metavar="K",
        help=f"accuracy of the K largest logits; may be repeated (default: {top_k})",
    )
    add("--class-names", metavar="FILE", help="names of the classes, one a line")
    add("--report", metavar="FILE.html", help="write a report, one self-contained HTML file")
    add("--json", action="store_true", help="print one JSON object")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _probability(text: str) -> float:
    number = float(text)
    if not 0.0 < number < 1.0:
        raise ValueError
    return number


_positive.__name__, _probability.__name__ = "positive number", "probability"  # argparse says these


def _check_usage(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.sample:
        if arguments.logits is not None:
            parser.error("--sample takes no files")
        if arguments.task != "multiclass" or arguments.axis != -1:
            parser.error("--sample digits is multiclass, its classes on the last axis")
        if arguments.dask is not None:
            parser.error("--sample digits needs no cluster")
    elif arguments.save is not None:
        parser.error("--save goes with --sample")
    elif arguments.logits is None:
        parser.error("give LOGITS and TARGETS, or try --sample digits")
    elif arguments.targets is None and not holds_both(arguments.logits):
        parser.error("TARGETS is missing")
    if arguments.task == "binary" and arguments.ignore_index is not None:
        parser.error("--ignore-index is for the multiclass task")
