"""`lossgrad merge`: the states of several evaluations as one."""

import argparse
import os
from typing import Any

from lossgrad.cli.options import add_outputs, add_top_k, more_files
from lossgrad.cli.outputs import check_outputs, show
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.problems import FileError


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    merge = commands.add_parser(
        "merge",
        help="combine the states of several evaluations",
        description="The figures of several evaluations together: exactly those of one run over "
        "all their rows, whatever the order.",
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        arguments.states += more_files(merge, rest)
        _merge(arguments)

    merge.set_defaults(run=run)
    add = merge.add_argument
    add("states", nargs="+", metavar="STATE", help="files that evaluate --state wrote")
    add_top_k(add)
    add_outputs(add, "write the combined state here")


def _merge(arguments: argparse.Namespace) -> None:
    """Run `lossgrad merge`."""
    first, *others = arguments.states
    for number, path in enumerate(others, 1):
        if os.path.realpath(path) in map(os.path.realpath, arguments.states[:number]):
            raise FileError(path, "is named twice: its rows would count twice")
    state = checkpoint.load_finished(first)
    for path in others:
        try:
            other = checkpoint.load_finished(path)
            if type(other) is not type(state):
                raise ValueError(f"one is {state.what}, the other {other.what}")
            state.merge(other)
        except ValueError as error:
            raise FileError(path, f"does not merge with {first}: {error}") from None
    result = state.result()
    names = check_outputs(arguments, result.classes)
    if arguments.state is not None:
        checkpoint.resume(arguments.state, state, "", ())  # no other state is replaced
        checkpoint.save(arguments.state, state)
    show(arguments, result, None, names, {"states": arguments.states})
