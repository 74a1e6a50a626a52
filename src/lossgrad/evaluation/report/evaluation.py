"""The page of an evaluation: figures, groups, calibration, losses, classes, worst rows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lossgrad.evaluation.figures import figures, worst_classes
from lossgrad.evaluation.report import curves, plots
from lossgrad.evaluation.report.body import Body, body, groups, names_of
from lossgrad.evaluation.report.elements import facts, images, note, section, table
from lossgrad.evaluation.results import Result

_CLASSES, _PAIRS = 100, 15  # as many are listed
_CURVES: dict[str, Callable[[Any, Any], None]] = {
    "ranking": curves.ranking,
    "selection": curves.risk_coverage,
}


@body.register
def _(result: Result, top_k: Sequence[int], class_names: Sequence[str] | None) -> Body:
    names = names_of(result.classes, class_names)
    sections = [
        facts(figures(result, top_k)),
        groups(result),
        section("Calibration", _plots(result, plots.reliability, plots.confidences)),
        section("Losses", _plots(result, plots.losses)),
        section("Ranking and selection", _curves(result)),
        _confusion(result, names),
        section("Classes of lowest F1", _classes(result, names)),
        section("Rows of largest loss", _worst(result, names)),
    ]
    return Body(f"Evaluation of {result.rows} rows", sections)


def _plots(result: Result, *drawn: Callable[[Any, Any], None]) -> str:
    return images(*(plots.plot(draw, result, f"plot of {draw.__name__}") for draw in drawn))


def _curves(result: Result) -> str:
    """Of the figures that were asked for."""
    found = result.figures
    return images(
        *(plots.plot(draw, found[name], name) for name, draw in _CURVES.items() if name in found)
    )


def _confusion(result: Result, names: Sequence[str]) -> str:
    """The matrix and the most frequent mistakes, where there is more than one class."""
    if result.confusion is None or result.classes < 2:
        return ""
    draw = partial(plots.confusion, names=names)
    matrix = images(plots.plot(draw, result, "confusion matrix", 6))
    return section("Confusion", matrix, _pairs(result, names))


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
    return table(["label", "taken for", "rows", "of the label"], rows, (0, 1), sortable=True)


def _classes(result: Result, names: Sequence[str]) -> str:
    columns = {
        "rows": [f"{one:.6g}" for one in result.support],
        "loss": [f"{one:.4g}" for one in result.class_loss],
        "precision": _four(result.precision),
        "recall": _four(result.recall),
        "F1": _four(result.f1),
    }
    if "ranking" in result.figures:
        columns["AUROC"] = _four(result.figures["ranking"].per_class.auroc.value)
    order = worst_classes(result)
    rows = [[names[c], *(column[c] for column in columns.values())] for c in order[:_CLASSES]]
    rest = len(order) - _CLASSES
    more = note(f"and {rest} more, of higher F1") if rest > 0 else ""
    return table(["class", *columns], rows, (0,), sortable=True) + more


def _four(values: Sequence[float] | np.ndarray) -> list[str]:
    return [f"{one:.4f}" for one in values]


def _worst(result: Result, names: Sequence[str]) -> str:
    """The rows of largest loss, if any were remembered."""
    rows = [
        (
            worst.source,
            str(worst.row),
            f"{worst.loss:.6g}",
            names[worst.label],
            names[worst.predicted],
            f"{worst.confidence:.4f}",
        )
        for worst in result.worst
    ]
    head = ["file", "row", "loss", "label", "predicted", "confidence"]
    return table(head, rows, (0, 3, 4), sortable=True)
