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

FIGURES = {  # what an evaluation counts only if it is asked for
    "ranking": "AUROC, average precision and FPR at a TPR of 0.95, by label or class",
    "selection": "risk and coverage, and the AUROC of confidence",
    "quantiles": "quantiles of every figure of a row: loss, confidence, entropy, Brier, rank",
    "calibration": "calibration by equal mass and by class, and the Brier score's terms",
}


def add_pair(add: Any) -> None:
    """Logits and targets."""
    add("logits", nargs="?", metavar="LOGITS", help="logits: (rows, classes)")
    add(
        "targets",
        nargs="?",
        metavar="TARGETS",
        help="labels: whole numbers or names, (rows,) or (rows, 1), or one-hot",
    )
    add(
        "--logits-key",
        metavar="NAME",
        help="array or column in LOGITS, or columns: 'prob_*' (default: logits)",
    )
    add("--targets-key", metavar="NAME", help="array or column in TARGETS (default: targets)")


def take_pair(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, rest: list[str]
) -> None:
    """Both, wherever among the options they were given."""
    files = [arguments.logits, arguments.targets]
    files = [*filter(None, files), *more_files(parser, rest)]
    if len(files) > 2:
        more = " ".join(files[2:])
        parser.error(f"too many files: {more}; put patterns in quotes, as 'logits-*.npy'")
    arguments.logits, arguments.targets = (*files, None, None)[:2]


def add_task(add: Any) -> None:
    """What targets are."""
    add(
        "--task",
        choices=["multiclass", "binary"],
        default="multiclass",
        help="binary: sigmoid and targets in [0, 1] of the logits' shape, multi-label too "
        "(default: multiclass)",
    )


def add_columns(add: Any, *without: str) -> None:
    """What there may be of each row beside logits and targets."""
    for option, text in _COLUMNS.items():
        if option not in without:
            add(option, metavar="FILE|NAME", help=text)


def columns(arguments: argparse.Namespace) -> dict[str, str | None]:
    """The files and names that were given for them."""
    uses = [option.removeprefix("--").replace("-", "_") for option in _COLUMNS]
    return {use: getattr(arguments, use, None) for use in uses}


def add_figures(add: Any) -> None:
    """What is to be counted, too."""
    for name, text in FIGURES.items():
        add(f"--{name}", action="store_true", help=text)
    add_exact(add)


def add_exact(add: Any) -> None:
    """Whether figures may have bounds."""
    add(
        "--exact",
        action="store_true",
        help="read again, a few times, until no ranking, risk, quantile or calibration has bounds",
    )


def figures_of(arguments: argparse.Namespace) -> list[str]:
    """What an evaluation has to count for its options and columns."""
    return of_columns(arguments) + [name for name in FIGURES if getattr(arguments, name)]


def of_columns(arguments: argparse.Namespace) -> list[str]:
    """The figures that columns are given for."""
    needed = {"clusters": arguments.clusters, "bits_per_byte": arguments.bytes}
    return [name for name, column in needed.items() if column is not None]


def add_reading(add: Any) -> None:
    """How rows are read."""
    add("--axis", type=int, default=LAST_AXIS, help="axis of the classes (default: -1, the last)")
    add("--strict", action="store_true", help="a row whose loss is nan is an error")
    add(
        "--threads",
        type=positive,
        metavar="N",
        help="threads (default: one a processor, or LOSSGRAD_NUM_THREADS)",
    )


def add_input(add: Any) -> None:
    """What stands for logits."""
    add(
        "--input",
        choices=get_args(Input),
        default="logits",
        help="what logits are given as (default: logits)",
    )


def add_ignored(add: Any) -> None:
    """Which rows are left out."""
    add(
        "--ignore-index",
        type=int,
        default=-100,
        metavar="N",
        help="label of rows to skip; binary: target of labels to skip, as nan is (default: -100)",
    )


def add_dask(add: Any) -> None:
    """Where rows are read."""
    add("--dask", metavar="ADDRESS", help="run on the cluster of this dask scheduler")


def reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given for it, as `lossgrad.evaluate` takes it."""
    names = ["axis", "strict", "logits_key", "targets_key", "input", "dask"]
    names += ["ignore_index", "sample_weight"]
    found = {name: one for name, one in vars(arguments).items() if name in names}
    given = {name: one for name, one in found.items() if one is not None}
    return {**given, "num_threads": arguments.threads}


def add_outputs(add: Any, state: str) -> None:
    """Where the result goes; `state` says what the state is for."""
    add("--state", metavar="FILE", help=state)
    add_class_names(add)
    add_report(add)
    add_json(add)


def add_class_names(add: Any) -> None:
    """What the classes are called."""
    add(
        "--class-names",
        metavar="FILE",
        help="names of the classes, one a line; also those of labels",
    )


def add_report(add: Any) -> None:
    """Where it goes."""
    add("--report", metavar="FILE.html", help="write a report, one self-contained HTML file")


def add_json(add: Any) -> None:
    """How the result is printed."""
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


def probability(text: str) -> float:
    """A number between 0 and 1."""
    number = float(text)
    if not 0.0 < number < 1.0:
        raise ValueError
    return number


probability.__name__ = "probability"
