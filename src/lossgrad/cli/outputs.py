"""Where a result goes: to a state, a report and the terminal."""

import argparse
import os

from lossgrad._core.extras import need
from lossgrad.cli import tables
from lossgrad.cli.tables import say
from lossgrad.evaluation import checkpoint
from lossgrad.evaluation.figures import Speed
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.save import check_place, reason


def check_outputs(arguments: argparse.Namespace, classes: int) -> list[str] | None:
    """Find what is wrong with them before the work, not after it. Also the classes' names."""
    if arguments.report is not None:
        need("matplotlib.figure", "report", "a report")
        check_place(arguments.report)
        if not _is_page(arguments.report):
            raise FileError(arguments.report, "holds something that is no HTML and is left alone")
    if arguments.state is not None:
        check_place(arguments.state)
        if os.path.lexists(arguments.state):
            checkpoint.load(arguments.state)  # nothing but a state is ever overwritten
    if arguments.class_names is None:
        return None
    return tables.read_names(arguments.class_names, classes)


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
        from lossgrad.evaluation import report

        report.write(arguments.report, result, top_k=top_k, class_names=names, about=about)
    if arguments.json:
        say(tables.json_text(result, about, speed, top_k, names))
        return
    parts = [headline, tables.table(result, speed, top_k)]
    if names is not None:
        parts.append("\n" + tables.class_table(result, names))
    say("\n".join(filter(None, [*parts, footer])))
