"""Arguments that several commands take."""

import argparse
from typing import Any, get_args

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.probabilities import Input

_COLUMNS = {  # each a file, or a name beside the targets, of one value a row
    "--sample-weight": "a weight for each row, or a mask",
    "--groups": "its group (a whole number or a text): figures for each, too",
    "--clusters": "its document, say: standard errors for rows that depend on each other",
    "--bytes": "the bytes of its text: bits per byte",
}


def add_columns(add: Any, *without: str) -> None:
    """What there may be of each row beside logits and targets."""
    for option, text in _COLUMNS.items():
        if option not in without:
            add(option, metavar="FILE|NAME", help=text)


def columns(arguments: argparse.Namespace) -> dict[str, str | None]:
    """The files and names that were given for them."""
    uses = [option.removeprefix("--").replace("-", "_") for option in _COLUMNS]
    return {use: getattr(arguments, use, None) for use in uses}


def add_reading(add: Any) -> None:
    """How rows are read."""
    add("--axis", type=int, default=LAST_AXIS, help="axis of the classes (default: -1, the last)")
    add(
        "--input",
        choices=get_args(Input),
        default="logits",
        help="what logits are given as (default: logits)",
    )
    add(
        "--ignore-index",
        type=int,
        default=-100,
        metavar="N",
        help="label of rows to skip; binary: target of labels to skip, as nan is (default: -100)",
    )
    add("--strict", action="store_true", help="a row whose loss is nan is an error")
    add(
        "--threads",
        type=positive,
        metavar="N",
        help="threads (default: one a processor, or LOSSGRAD_NUM_THREADS)",
    )
    add("--dask", metavar="ADDRESS", help="run on the cluster of this dask scheduler")


def add_outputs(add: Any, state: str) -> None:
    """Where the result goes; `state` says what the state is for."""
    add("--state", metavar="FILE", help=state)
    add(
        "--class-names",
        metavar="FILE",
        help="names of the classes, one a line; also those of labels",
    )
    add("--report", metavar="FILE.html", help="write a report, one self-contained HTML file")
    add("--json", action="store_true", help="print one JSON object")


def add_top_k(add: Any) -> None:
    """Of which accuracy is wanted."""
    add(
        "--top-k",
        type=positive,
        action="append",
        metavar="K",
        help="accuracy of the K largest logits; may be repeated (default: top 5)",
    )


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


def whole(text: str) -> int:
    """A number of things, of which there may be none."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


whole.__name__ = "whole number"
