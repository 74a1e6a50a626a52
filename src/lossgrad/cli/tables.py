"""What the command prints of a result."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from lossgrad.evaluation.figures import Speed, group_table, worst_classes
from lossgrad.evaluation.problems import FileError, visible
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.save import read_whole

_ROWS = 20


def json_text(found: dict[str, Any], about: dict[str, object], speed: Speed | None) -> str:
    """One JSON object. JSON has no nan and no inf: null stands for both."""
    found = {**about, **found}
    if speed is not None:
        found |= {
            "seconds": speed.seconds,
            "rows_per_second": speed.rows_per_second,
            "gigabytes_per_second": speed.gigabytes_per_second,
        }
    return json.dumps(found, allow_nan=False)


def table(lines: Sequence[tuple[str, str]]) -> str:
    """The figures, one a line."""
    width = max(12, *(1 + len(name) for name, _ in lines))
    return "\n".join(f"{name:<{width}}{text}" for name, text in lines)


def grouped(result: Any) -> str:
    """The groups, the worst first, in columns."""
    head, rows = group_table(result)
    rows, rest = rows[:_ROWS], len(rows) - _ROWS
    cells = [head, *([visible(row[0])[:30], *row[1:]] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"{row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in cells
    ]
    return "\n".join([*lines, *([f"and {rest} more, which are better"] if rest > 0 else [])])


def class_table(result: Result, names: Sequence[str]) -> str:
    """The classes of least F1, by name."""
    order = worst_classes(result)[:_ROWS]
    shown = {c: visible(names[c]) for c in order}
    width = min(30, max([5, *map(len, shown.values())]))
    lines = [f"{'class':<{width}}{'rows':>11}{'loss':>10}{'precision':>11}{'recall':>9}{'F1':>9}"]
    precision, recall, f1 = result.precision, result.recall, result.f1
    for c in order:
        lines.append(
            f"{shown[c][:width]:<{width}}{result.support[c]:>11.6g}{result.class_loss[c]:>10.4g}"
            f"{precision[c]:>11.4f}{recall[c]:>9.4f}{f1[c]:>9.4f}"
        )
    if (rest := int(np.count_nonzero(result.support)) - len(order)) > 0:
        lines.append(f"and {rest} more, of higher F1")
    return "\n".join(lines)


def say(text: str) -> None:
    """Print; what the terminal's encoding lacks, or should not be sent (in a name), is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(visible(text, but="\n").encode(encoding, "backslashreplace").decode(encoding))


def read_names(path: str, classes: int) -> list[str]:
    """Class names, one a line."""
    try:
        names = read_whole(path).decode("utf-8").splitlines()
    except ValueError as error:
        raise FileError(path, f"cannot be read: {error}") from None
    if len(names) != classes:
        raise FileError(path, f"has {len(names)} names (lines) for {classes} classes")
    return names
