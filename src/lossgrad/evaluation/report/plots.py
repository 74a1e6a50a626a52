"""The plots of a report, drawn by matplotlib (the extra `report`)."""

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from lossgrad._core.extras import need
from lossgrad.evaluation.results import Result

BLUE, GREY, RED = "#2f6db3", "#8a8f98", "#c0392b"
_SIZE = 4.4  # inches, which a phone's screen has, too
_NAMED = 30  # classes, whose names are beside the matrix


def plot(draw: Callable[[Any, Any], None], result: Any, title: str, size: float = _SIZE) -> str:
    """An image of what is drawn, as SVG in the page itself.

    Its texts stay texts, which the reader's fonts show: they have more letters than matplotlib's,
    and browsers know in which direction they are written.
    """
    figure_module = need("matplotlib.figure", "report", "a report")
    matplotlib = need("matplotlib", "report", "a report")
    style = {"svg.hashsalt": title, "font.size": 9, "text.parse_math": False}  # a name with two $
    style |= {"axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # its font only measures, where it can
        figure = figure_module.Figure(figsize=(size, 0.8 * size), layout="constrained")
        draw(figure.add_subplot(), result)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    data = base64.b64encode(stream.getvalue()).decode()
    kind = ' class="wide"' if size > _SIZE else ""
    return f'<img{kind} alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'


def reliability(axes: Any, result: Result) -> None:
    """Accuracy by confidence."""
    width = 1.0 / len(result.bin_weight)
    some = result.bin_weight > 0
    axes.bar(
        result.bin_edges[:-1][some],
        result.bin_accuracy[some],
        width,
        align="edge",
        color=BLUE,
        alpha=0.75,
        edgecolor="white",
    )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, zorder=3)
    axes.plot(result.bin_confidence[some], result.bin_accuracy[some], ".", color=RED)
    multiclass = result.task == "multiclass"
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="confidence" if multiclass else "probability of a positive",
        ylabel="accuracy" if multiclass else "positives",
        title=f"Reliability: expected calibration error {result.ece:.4f}",
    )


def confidences(axes: Any, result: Result) -> None:
    """Rows by confidence."""
    width = 1.0 / len(result.bin_weight)
    axes.bar(
        result.bin_edges[:-1],
        result.bin_weight,
        width,
        align="edge",
        color=BLUE,
        edgecolor="white",
    )
    axes.axvline(result.confidence, color=RED, linewidth=1, label="mean confidence")
    if result.task == "multiclass":
        axes.axvline(result.accuracy, color=GREY, linestyle="--", linewidth=1, label="accuracy")
    legend_above(axes)
    axes.set(xlim=(0, 1), xlabel="confidence", ylabel="rows", title="Confidence")


def legend_above(axes: Any) -> None:
    """A legend that no bar reaches, however high the last ones are."""
    axes.margins(y=0.25)
    axes.legend(frameon=False, ncols=2)


def losses(axes: Any, result: Result) -> None:
    """Rows by loss."""
    filled = np.flatnonzero(result.loss_histogram)
    first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, 0)  # no row has weight
    powers = np.arange(first, last + 1) - 41
    axes.bar(powers, result.loss_histogram[first : last + 1], 1.0, align="edge", color=BLUE)
    ticks = np.unique(np.linspace(powers[0], powers[-1] + 1, 6).astype(int))
    ends = {-41: "0", len(result.loss_histogram) - 41: "\N{INFINITY}"}  # the outer bins are open
    axes.set_xticks(ticks, [ends.get(int(k), f"{2.0**k:.2g}") for k in ticks])
    axes.set(xlabel="loss of a row, nats (each bar doubles it)", ylabel="rows", title="Loss")


def confusion(axes: Any, result: Result, names: Sequence[str]) -> None:
    """Rows by label and prediction, as a matrix."""
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
