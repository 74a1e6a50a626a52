"""Curves of an order of scores: ROC with its band, risk over coverage."""

from typing import Any

import numpy as np

from lossgrad.evaluation.parts.ranking import Ranking
from lossgrad.evaluation.parts.selection import Selection
from lossgrad.evaluation.passes.ood import OutOfDistribution
from lossgrad.evaluation.ranking import Curve
from lossgrad.evaluation.report.plots import BLUE, GREY


def ranking(axes: Any, found: Ranking) -> None:
    """ROC of all labels together."""
    _roc(axes, found.roc, f"ROC of all scores together\narea {found.micro.auroc.text()}")


def elsewhere(axes: Any, found: OutOfDistribution) -> None:
    """ROC of rows inside a distribution against those outside."""
    _roc(axes, found.roc, f"ROC of rows inside, by {found.score}\narea {found.ranks.auroc.text()}")


def _roc(axes: Any, curve: Curve, title: str) -> None:
    """The true over the false positive rate, in the rectangles that the curve stays in."""
    x, y = curve.x, curve.y
    axes.fill_between(x, y, np.append(y[1:], y[-1:]), step="post", color=BLUE, alpha=0.3, lw=0)
    axes.plot(x, y, color=BLUE, linewidth=1.2)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="false positive rate",
        ylabel="true positive rate",
        title=title,
    )


def risk_coverage(axes: Any, found: Selection) -> None:
    """The part that is wrong among the surest rows, over how many these are."""
    x, y = found.risk_coverage.x, found.risk_coverage.y
    axes.plot(x, y, color=BLUE, linewidth=1.2)
    if y.size:
        axes.axhline(y[-1], color=GREY, linestyle="--", linewidth=1, label="of all rows")
        axes.legend(frameon=False)
    axes.set(
        xlim=(0, 1),
        xlabel="coverage: part of the rows, the surest first",
        ylabel="risk: part that is wrong",
        title=f"Risk over coverage\narea {found.aurc.text()}",
    )
    axes.set_ylim(bottom=0)
