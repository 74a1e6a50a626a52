"""The `lossgrad` command: its arguments and its exit status.

Exit status: 0 done; 2 wrong use or wrong data, with one line on stderr that names file, row and
value; 130 interrupted. Results go to stdout; the progress bar goes to stderr, and only to a
terminal.
"""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

import lossgrad
from lossgrad._core.config import in_use
from lossgrad.cli import calibrate, compare, completion, conformal, evaluate, merge, ood
from lossgrad.evaluation.problems import FileError, InputError, InputWarning, visible

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        arguments, rest = _parser().parse_known_args(argv)
        with _warnings_in_lines():
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


@contextlib.contextmanager
def _warnings_in_lines() -> Iterator[None]:
    """Warnings about the data are lines on stderr; others stay as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        show = warnings.showwarning
        said = set()  # what is read several times is warned of once

        def line(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, InputWarning):
                if str(message) not in said:
                    print(f"lossgrad: warning: {visible(str(message))}", file=sys.stderr)
                said.add(str(message))
            else:
                show(message, category, *where, **more)

        warnings.showwarning = line
        yield


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
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    evaluate.add_to(commands)
    compare.add_to(commands)
    merge.add_to(commands)
    calibrate.add_to(commands)
    conformal.add_to(commands)
    ood.add_to(commands)
    info = commands.add_parser("info", help="versions, backend and instruction set in use")

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        if rest:
            info.error(f"unrecognized arguments: {' '.join(rest)}")
        lossgrad.show_config()

    info.set_defaults(run=run)
    completion.add_to(commands, parser)
    return parser


def _version() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return f"lossgrad {lossgrad.__version__} ({in_use()}, NumPy {np.__version__}, Python {python})"
