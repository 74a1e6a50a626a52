"""Where a result goes: to a state, a report and the terminal."""

import argparse
import os
from typing import Any

from lossgrad._core.extras import need
from lossgrad.cli import tables
from lossgrad.cli.tables import say
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.figures import Speed, figures
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.save import check_place, reason


def check_outputs(arguments: argparse.Namespace, classes: int) -> list[str] | None:
    """Find what is wrong with them before the work, not after it. Also the classes' names."""
    check_report(arguments)
    if arguments.state is not None:
        check_place(arguments.state)
        if os.path.lexists(arguments.state):
            checkpoint.load(arguments.state)  # nothing but a state is ever overwritten
    return class_names(arguments, classes)


def class_names(arguments: argparse.Namespace, classes: int) -> list[str] | None:
    """What the classes are called, if that was given."""
    if arguments.class_names is None:
        return None
    return tables.read_names(arguments.class_names, classes)


def check_report(arguments: argparse.Namespace) -> None:
    """Find whether one can be written, if it is wanted."""
    if arguments.report is not None:
        need("matplotlib.figure", "report", "a report")
        check_place(arguments.report)
        if not _is_page(arguments.report):
            raise FileError(arguments.report, "holds something that is no HTML and is left alone")


def write_report(
    arguments: argparse.Namespace, result: Any, about: dict[str, object], **shown: Any
) -> None:
    """Write one of a result of whatever kind, if it is wanted."""
    if arguments.report is not None:
        from lossgrad.evaluation import report

        report.write(arguments.report, result, about=about, **shown)


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


def show(
    arguments: argparse.Namespace,
    result: Any,
    speed: Speed | None,
    names: list[str] | None,
    about: dict[str, object],
    headline: str = "",
    footer: str = "",
) -> None:
    """Write and print a result, of whatever kind; `names` are those of the classes."""
    top_k = _top_k(arguments, result)
    write_report(arguments, result, about, top_k=top_k, class_names=names)
    if arguments.json:
        say(tables.json_text(result.to_dict(top_k=top_k, class_names=names), about, speed))
        return
    lines = [*figures(result, top_k), *(speed.lines() if speed is not None else [])]
    parts = [headline, tables.table(lines)]
    if result.groups:
        parts.append("\n" + tables.grouped(result))
    if names is not None and isinstance(result, Result):
        parts.append("\n" + tables.class_table(result, names))
    say("\n".join(filter(None, [*parts, footer])))


def _top_k(arguments: argparse.Namespace, result: Any) -> list[int]:
    """Those asked for, or of many classes the first 5; a comparison has its own."""
    if not isinstance(result, Result) or result.task != "multiclass":
        return []
    return sorted(set(arguments.top_k or ([5] if result.classes > 5 else [])))
