"""A result as one HTML file that needs nothing else: figures, plots, worst rows and classes.

The plots are drawn by matplotlib (the extra `report`) as SVG and sit in the page as data.
"""

import os
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np

import lossgrad
from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.figures import figures, worst_classes
from lossgrad.evaluation.problems import visible
from lossgrad.evaluation.report import plots
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.save import write_whole

_CLASSES, _PAIRS = 20, 15  # as many are listed


def write(
    path: str | os.PathLike[str],
    result: Result,
    *,
    top_k: Sequence[int] = (),
    class_names: Sequence[str] | None = None,
    about: dict[str, object] | None = None,
) -> None:
    """Write a result as an HTML report, whole or not at all.

    Parameters
    ----------
    path : str or path-like
    result : Result
    top_k : sequence of int
        The k whose top-k accuracy is shown.
    class_names : sequence of str, optional
        A name for each class.
    about : dict, optional
        What was evaluated: names and values for the top of the page.

    Raises
    ------
    FileError
        The file cannot be written.
    ImportError
        matplotlib is missing.
    """
    write_whole(path, html(result, top_k, class_names, about or {}).encode())


@arithmetic()  # matplotlib's, too: the caller may have asked NumPy to raise
def html(
    result: Result,
    top_k: Sequence[int],
    class_names: Sequence[str] | None,
    about: dict[str, object],
) -> str:
    """The page."""
    names = [*map(visible, class_names or map(str, range(result.classes)))]
    said = ", ".join(f"{key}: {_text(value)}" for key, value in about.items())
    folder = resources.files(__package__)
    return Template((folder / "page.html").read_text("utf-8")).substitute(
        rows=result.rows,
        style=(folder / "style.css").read_text("utf-8"),
        about=_safe(said),
        figures=_table([], figures(result, top_k)),
        reliability=plots.plot(plots.reliability, result, "reliability diagram"),
        confidences=plots.plot(plots.confidences, result, "histogram of confidence"),
        losses=plots.plot(plots.losses, result, "histogram of losses"),
        confusion=_confusion(result, names),
        classes=_classes(result, names),
        worst=_worst(result, names),
        version=escape(lossgrad.__version__),
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table>"]
    if head:
        lines.append(_row("th", head))
    return "\n".join([*lines, *(_row("td", row) for row in rows), "</table>"])


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_safe(cell)}</{tag}>" for cell in cells) + "</tr>"


def _safe(text: str) -> str:
    return escape(visible(text))


def _confusion(result: Result, names: Sequence[str]) -> str:
    """The matrix and the most frequent mistakes, where there is more than one class."""
    if result.confusion is None or result.classes < 2:
        return ""

    def draw(axes: Any, found: Result) -> None:
        plots.confusion(axes, found, names)

    image = plots.plot(draw, result, "confusion matrix", 6)
    return f'<h2>Confusion</h2><div class="plots">\n{image}\n</div>\n{_pairs(result, names)}\n'


def _pairs(result: Result, names: Sequence[str]) -> str:
    """The most frequent mistakes."""
    assert result.confusion is not None
    wrong = result.confusion.copy()
    np.fill_diagonal(wrong, 0.0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    rows = []
    for label, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if count := wrong[label, predicted]:
            part = 100 * count / result.support[label]
            rows.append((names[label], names[predicted], f"{count:.6g}", f"{part:.1f} %"))
    return _table(["label", "taken for", "rows", "of the label"], rows) if rows else ""


def _classes(result: Result, names: Sequence[str]) -> str:
    precision, recall, f1 = result.precision, result.recall, result.f1
    rows = [
        (
            names[c],
            f"{result.support[c]:.6g}",
            f"{result.class_loss[c]:.4g}",
            *(f"{values[c]:.4f}" for values in (precision, recall, f1)),
        )
        for c in worst_classes(result)[:_CLASSES]
    ]
    return _table(["class", "rows", "loss", "precision", "recall", "F1"], rows)


def _worst(result: Result, names: Sequence[str]) -> str:
    """The rows of largest loss, if any were remembered."""
    if not result.worst:
        return ""
    rows = [
        (
            f"{worst.source} {worst.row}".strip(),
            f"{worst.loss:.6g}",
            names[worst.label],
            names[worst.predicted],
            f"{worst.confidence:.4f}",
        )
        for worst in result.worst
    ]
    table = _table(["row", "loss", "label", "predicted", "confidence"], rows)
    return f"<h2>Rows of largest loss</h2>\n{table}\n"
