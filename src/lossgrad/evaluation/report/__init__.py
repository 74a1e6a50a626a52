"""A result as one HTML file that needs nothing else: figures, plots, worst rows and classes.

The plots are drawn by matplotlib (the extra `report`) as SVG and sit in the page as data.
"""

import base64
import io
import os
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

import lossgrad
from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.figures import figures, worst_classes
from lossgrad.evaluation.formats import need
from lossgrad.evaluation.problems import visible
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.save import write_whole

_BLUE, _GREY, _RED = "#2f6db3", "#8a8f98", "#c0392b"
_CLASSES, _PAIRS, _NAMED = 20, 15, 30
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # the page needs no more
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2026; background: #fff;
       max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p.about { color: #5b626d; margin-top: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .18rem .9rem .18rem 0; text-align: right; border-bottom: 1px solid #e6e8eb; }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; }
th { font-weight: 600; color: #5b626d; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots img { max-width: 100%; }
"""


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
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Evaluation of {result.rows} rows</title><style>{_STYLE}</style></head><body>",
        f"<h1>Evaluation of {result.rows} rows</h1>",
        f'<p class="about">{_safe(said)}</p>',
        _table([], figures(result, None, top_k)),
        '<h2>Calibration</h2><div class="plots">',
        _plot(_reliability, result, "reliability diagram"),
        _plot(_confidences, result, "histogram of confidence"),
        '</div><h2>Losses</h2><div class="plots">',
        _plot(_losses, result, "histogram of losses"),
        "</div>",
    ]
    if result.confusion is not None and result.classes > 1:
        parts += [
            '<h2>Confusion</h2><div class="plots">',
            _plot(
                lambda axes, found: _confusion(axes, found, names), result, "confusion matrix", 6
            ),
            "</div>",
            _pairs(result, names),
        ]
    parts += ["<h2>Classes of lowest F1</h2>", _classes(result, names)]
    if result.worst:
        parts += ["<h2>Rows of largest loss</h2>", _rows(result, names)]
    parts.append(f'<p class="about">lossgrad {escape(lossgrad.__version__)}</p></body></html>\n')
    return "\n".join(parts)


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


def _rows(result: Result, names: Sequence[str]) -> str:
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
    return _table(["row", "loss", "label", "predicted", "confidence"], rows)


# ---- plots ----


def _plot(
    draw: Callable[[Any, Result], None], result: Result, title: str, size: float = 4.4
) -> str:
    figure_module = need("matplotlib.figure", "report", "a report")
    matplotlib = need("matplotlib", "report", "a report")
    style = {"svg.hashsalt": title, "font.size": 9, "text.parse_math": False}  # a name with two $
    style |= {"axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = figure_module.Figure(figsize=(size, 0.8 * size), layout="constrained")
        draw(figure.add_subplot(), result)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'


def _reliability(axes: Any, result: Result) -> None:
    width = 1.0 / len(result.bin_weight)
    some = result.bin_weight > 0
    axes.bar(
        result.bin_edges[:-1][some],
        result.bin_accuracy[some],
        width,
        align="edge",
        color=_BLUE,
        alpha=0.75,
        edgecolor="white",
    )
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, zorder=3)
    axes.plot(result.bin_confidence[some], result.bin_accuracy[some], ".", color=_RED)
    multiclass = result.task == "multiclass"
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="confidence" if multiclass else "probability of a positive",
        ylabel="accuracy" if multiclass else "positives",
        title=f"Reliability: expected calibration error {result.ece:.4f}",
    )


def _confidences(axes: Any, result: Result) -> None:
    width = 1.0 / len(result.bin_weight)
    axes.bar(
        result.bin_edges[:-1],
        result.bin_weight,
        width,
        align="edge",
        color=_BLUE,
        edgecolor="white",
    )
    axes.axvline(result.confidence, color=_RED, linewidth=1, label="mean confidence")
    if result.task == "multiclass":
        axes.axvline(result.accuracy, color=_GREY, linestyle="--", linewidth=1, label="accuracy")
    axes.legend(frameon=False)
    axes.set(xlim=(0, 1), xlabel="confidence", ylabel="rows", title="Confidence")


def _losses(axes: Any, result: Result) -> None:
    filled = np.flatnonzero(result.loss_histogram)
    first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, 0)  # no row has weight
    powers = np.arange(first, last + 1) - 41
    axes.bar(powers, result.loss_histogram[first : last + 1], 1.0, align="edge", color=_BLUE)
    ticks = np.unique(np.linspace(powers[0], powers[-1] + 1, 6).astype(int))
    ends = {-41: "0", len(result.loss_histogram) - 41: "\N{INFINITY}"}  # the outer bins are open
    axes.set_xticks(ticks, [ends.get(int(k), f"{2.0**k:.2g}") for k in ticks])
    axes.set(xlabel="loss of a row, nats (each bar doubles it)", ylabel="rows", title="Loss")


def _confusion(axes: Any, result: Result, names: Sequence[str]) -> None:
    assert result.confusion is not None
    rows = result.confusion.sum(axis=1, keepdims=True)
    part = np.divide(result.confusion, rows, out=np.zeros_like(result.confusion), where=rows > 0)
    image = axes.imshow(part, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set(
        xlabel="predicted", ylabel="label", title="Rows by label and prediction, part of label"
    )
    if result.classes <= _NAMED:
        ticks = np.arange(result.classes)
        short = [
            name if len(name) <= 12 else f"{name[:11]}\N{HORIZONTAL ELLIPSIS}" for name in names
        ]
        axes.set_xticks(ticks, short, rotation=90 if max(map(len, short)) > 2 else 0)
        axes.set_yticks(ticks, short)
    if result.classes <= 12:
        for (label, predicted), count in np.ndenumerate(result.confusion):
            if count:
                color = "white" if part[label, predicted] > 0.6 else "#1c2026"
                axes.text(
                    predicted, label, f"{count:.4g}", ha="center", va="center", color=color, size=7
                )
