"""Arguments that several commands take."""

import argparse
from typing import Any


def add_outputs(add: Any, state: str) -> None:
    """Where the result goes; `state` says what the state is for."""
    add("--state", metavar="FILE", help=state)
    add(
        "--top-k",
        type=positive,
        action="append",
        metavar="K",
        help="accuracy of the K largest logits; may be repeated (default: top 5)",
    )
    add(
        "--class-names",
        metavar="FILE",
        help="names of the classes, one a line, also those of labels",
    )
    add("--report", metavar="FILE.html", help="write a report, one self-contained HTML file")
    add("--json", action="store_true", help="print one JSON object")


def more_files(parser: argparse.ArgumentParser, rest: list[str]) -> list[str]:
    """What argparse left over: it takes files for unknown that options part from the first."""
    if any(text.startswith("-") for text in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return rest


def positive(text: str) -> int:
    """A number of things."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "positive number"  # argparse says it
