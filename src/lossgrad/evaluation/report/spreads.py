"""How the rows of a comparison are spread: their divergence, and the difference of their losses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison import ComparisonResult
from lossgrad.evaluation.histogram import Distribution, middle
from lossgrad.evaluation.report.plots import BLUE, GREY, RED

_BARS = 60


def divergence(axes: Any, result: ComparisonResult) -> None:
    """Rows by KL: a bar for every half power of two; what has no place there is in the title."""
    spread = result.distributions["kl"]
    some = shown(spread)
    steps = np.floor(2.0 * np.log2(spread.lower[some]))
    first, last = (steps.min(), steps.max()) if steps.size else (0.0, 0.0)
    ends = np.arange(first, last + 2)
    rows, _ = np.histogram(steps, ends, weights=spread.weight[some])
    axes.stairs(rows, 2.0 ** (ends / 2.0), fill=True, color=BLUE)
    for q, style in ((0.5, "-"), (0.95, "--"), (0.99, ":")):
        bound = result.quantile("kl", q)
        if bound.lower > 0 and np.isfinite(bound.upper):
            name = f"{100 * q:g} %"
            axes.axvline(bound.value, color=RED, linewidth=1, linestyle=style, label=name)
    if axes.lines:
        axes.legend(frameon=False, title="at most")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:.0e}")  # formulas are not drawn
    axes.xaxis.set_minor_formatter("")
    axes.set(
        xlim=(2.0 ** (first / 2.0 - 2.0), 2.0 ** (last / 2.0 + 2.0)),
        xlabel="KL of a row, nats",
        ylabel="rows",
        title="\n".join(["Divergence", *_not_shown(spread)]),
    )


def shown(spread: Distribution) -> NDArray[np.bool_]:
    """The bins that have a place on a logarithmic axis."""
    return (spread.lower > 0) & np.isfinite(spread.upper)


def _not_shown(spread: Distribution) -> list[str]:
    rows = spread.weight[~shown(spread)].sum()
    return [f"without {rows:.6g} rows of 0 or infinity"] if rows else []


def difference(axes: Any, result: ComparisonResult) -> None:
    """Rows by the other's loss less the base's, without the far ends."""
    spread = result.distributions["loss_difference"]
    at = middle(spread.lower, spread.upper)
    low, high = (result.quantile("loss_difference", q).value for q in (0.01, 0.99))
    if not np.isfinite([low, high]).all():
        finite = at[np.isfinite(at)]
        low, high = finite.min(initial=0.0), finite.max(initial=0.0)
    rows, edges = np.histogram(at, _BARS, (low, high), weights=spread.weight)
    axes.stairs(rows, edges, fill=True, color=BLUE)
    axes.axvline(0.0, color=GREY, linewidth=1, linestyle="--")
    if np.isfinite(result.loss_difference.value):
        axes.axvline(result.loss_difference.value, color=RED, linewidth=1, label="mean")
        axes.legend(frameon=False)
    axes.set(
        xlabel="other's loss less the base's, nats",
        ylabel="rows",
        title="Loss difference, the middle 98 % of the rows",
    )
