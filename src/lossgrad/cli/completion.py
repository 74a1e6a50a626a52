"""`lossgrad completion`: a script that makes a shell complete the command's words."""

import argparse
from collections.abc import Iterator
from typing import Any

from lossgrad._core.extras import need

_SHELLS = ("bash", "zsh", "fish")
_OTHERS = ("ADDRESS", "NAME")  # texts that name no file


def add_to(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command to the parser's."""
    completion = commands.add_parser(
        "completion",
        help="completion of this command's words, for a shell",
        description='Print a script for the shell: eval "$(lossgrad completion bash)".',
    )

    def run(arguments: argparse.Namespace, rest: list[str]) -> None:
        if rest:
            completion.error(f"unrecognized arguments: {' '.join(rest)}")
        shtab = need("shtab", "completion", "lossgrad completion")
        for action in _of_files(parser):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, arguments.shell))

    completion.set_defaults(run=run)
    completion.add_argument("shell", choices=_SHELLS, help="whose completion it is")


def _of_files(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments that are names of files, of the command and all below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _of_files(below)
        elif not (action.nargs == 0 or action.choices or action.type or action.metavar in _OTHERS):
            yield action
