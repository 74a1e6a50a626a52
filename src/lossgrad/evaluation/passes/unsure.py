"""The cells of scores on which a figure still depends (see `cells`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lossgrad.evaluation.calibration import mass
from lossgrad.evaluation.histogram import Distribution
from lossgrad.evaluation.passes.cells import Mask, Parts


def of_ranking(parts: Parts) -> Mask:
    """Where positives are in one cell with others: their order is that of precision, too."""
    return (parts.positive > 0) & (parts.rows > 1)


def of_risk(parts: Parts) -> Mask:
    """Where rows share a cell, from the first that is wrong (negative) on: before, risk is 0."""
    wrong = np.cumsum(parts.negative[::-1])[::-1]
    return (parts.rows > 1) & (wrong > 0)


def of_equal_mass(bins: int, parts: Parts) -> Mask:
    """Where one of so many bins of equal weight may end within a cell."""
    if not parts.keys.size:
        return np.zeros(0, bool)
    first, end = mass(parts.weight, bins)
    return (parts.rows > 1) & (np.floor(first) + 1.0 < end)


@dataclass(frozen=True)
class OfQuantiles:
    """The cells that some quantiles are in."""

    at: Sequence[float]

    def __call__(self, parts: Parts) -> Mask:
        mask = np.zeros(len(parts.keys), bool)
        if mask.size:
            spread = parts.distribution()
            mask[[spread.place(q) for q in self.at]] = True
        return mask

    def known(self, spread: Distribution, parts: Parts) -> Distribution:
        """A histogram's distribution, with these quantiles as they are."""
        found = parts.distribution()
        known = {q: found.quantile(q).value for q in self.at} if found.weight.size else {}
        return replace(spread, known=known)
