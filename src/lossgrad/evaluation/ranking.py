"""What the order of a score says: how well it ranks positives above negatives, rows that are right
above rows that are wrong.

All comes from two histograms of the score. Within a bin the order is not known, and every figure
is bounded by the best and the worst order; its value is that of scores which tie.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.environment import arithmetic_within
from lossgrad.evaluation.histogram import Bounded, Scale

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a curve, from the highest score on; the curve is monotone between them in x.

    Attributes
    ----------
    x, y : ndarray
        ROC: the false and the true positive rate; risk and coverage: coverage and risk.
    threshold : ndarray
        The point is of the rows whose score is at least this.
    """

    x: Doubles
    y: Doubles
    threshold: Doubles

    def to_dict(self) -> dict[str, Doubles]:
        """Its arrays by name."""
        return {"x": self.x, "y": self.y, "threshold": self.threshold}


@arithmetic_within
@dataclass(frozen=True, eq=False)
class Ranked:
    """Weights of positives and negatives in bins of a score, from the highest bin down.

    Attributes
    ----------
    positive, negative : ndarray of shape (groups, bins)
    threshold : ndarray of shape (bins,)
        The least score of each bin.
    exact : bool
        Whether all scores of a bin are equal.
    """

    positive: Doubles
    negative: Doubles
    threshold: Doubles
    exact: bool

    @classmethod
    def of(cls, scale: Scale, positive: Doubles, negative: Doubles) -> "Ranked":
        """Of weights in the order of the scale; bins without any are left out."""
        some = np.flatnonzero((positive + negative).any(axis=0))[::-1]
        return cls(positive[:, some], negative[:, some], scale.bounds[0][some], scale.exact)

    @property
    def _before(self) -> tuple[Doubles, Doubles]:
        """Positives and negatives in the bins above each."""
        return _before(self.positive), _before(self.negative)

    def auroc(self) -> Bounded:
        """The probability that a positive has a higher score than a negative, ties a half.

        nan without any positive or any negative.
        """
        p, n = self.positive, self.negative
        above, _ = self._before
        pairs = p.sum(axis=1) * n.sum(axis=1)
        least = (n * above).sum(axis=1) / pairs
        tied = (n * (above + 0.5 * p)).sum(axis=1) / pairs
        most = (n * (above + p)).sum(axis=1) / pairs
        return self._bounded(tied, least, most)

    def average_precision(self) -> Bounded:
        """The mean over the positives of the precision at their score; nan without any.

        Precision at a score is that of all rows of this score or a higher one. In a bin with p
        positives and n negatives after P and N in the bins above, precision is at most
        (P + p) / (P + p + N), as where the positives tie above the negatives; it is least with the
        negatives first and no ties, a sum of (P + x) / (P + x + N + n) that its integral over x
        from 0 to p bounds: p - (N + n) log(1 + p / (P + N + n)).
        """
        p, n = self.positive, self.negative
        above, others = self._before
        every, bad = p.sum(axis=1), others + n
        tied = _ratio(p * (above + p), above + p + bad)
        most = _ratio(p * (above + p), above + p + others)
        least = p - bad * np.log1p(_ratio(p, above + bad))
        return self._bounded(*(one.sum(axis=1) / every for one in (tied, least, most)))

    def fpr_at(self, tpr: float = 0.95) -> Bounded:
        """The least false positive rate at which the true positive rate is at least `tpr`."""
        above, others = self._before
        positives, negatives = self.positive.sum(axis=1), self.negative.sum(axis=1)
        reached = (above + self.positive) / positives[:, np.newaxis] >= tpr
        least, most = (
            np.where(reached, one, np.inf).min(axis=1, initial=np.inf) / negatives
            for one in (others, others + self.negative)
        )
        least, most = (np.where(positives > 0, one, np.nan) for one in (least, most))
        return self._bounded(most, least, most)

    def aurc(self) -> Bounded:
        """The area under the curve of risk over coverage, of rows that are right (positive) or
        wrong: the mean over all rows of the part that is wrong among the rows of their score or a
        higher one.

        In a bin with g right and e wrong rows after W rows in the bins above, of which E are wrong,
        risk is largest with the wrong ones first: (E + e) / (W + e) for them, then falling as
        (E + e) / (W + x); least with the right ones first, E / (W + g), then rising as
        (E + x) / (W + g + x). Integrals over x bound the sums.
        """
        g, e = self.positive, self.negative
        right, wrong = self._before
        seen, every = right + wrong, (g + e).sum(axis=1)
        tied = _ratio((g + e) * (wrong + e), seen + g + e)
        most = _ratio(e * (wrong + e), seen + e)
        most += (wrong + e) * np.log1p(_ratio(g, seen + e))
        least = _ratio(g * wrong, seen + g) + e
        least -= (right + g) * np.log1p(_ratio(e, seen + g))
        return self._bounded(*(one.sum(axis=1) / every for one in (tied, least, most)))

    def roc(self, group: int = 0, points: int = 200) -> Curve:
        """Points of the ROC curve; between two it stays in their rectangle.

        Parameters
        ----------
        group : int
        points : int
            About so many, evenly along the curve, and its two ends.
        """
        p, n = self.positive[group], self.negative[group]
        x, y = np.cumsum(n) / n.sum(), np.cumsum(p) / p.sum()
        return _thinned(x, y, self.threshold, (x + y) / 2.0, points, 0.0)

    def risk_coverage(self, group: int = 0, points: int = 200) -> Curve:
        """Points of the curve of risk (the part that is wrong) over coverage."""
        e, every = self.negative[group], (self.positive + self.negative)[group]
        seen = np.cumsum(every)
        coverage = seen / every.sum()
        risk = _ratio(np.cumsum(e), seen)
        return _thinned(coverage, risk, self.threshold, coverage, points, None)

    def _bounded(self, tied: Doubles, least: Doubles, most: Doubles) -> Bounded:
        """Bounds, rounding aside, are about the value."""
        if self.exact:
            return Bounded(tied, tied, tied)
        return Bounded(tied, np.clip(least, 0.0, tied), np.maximum(most, tied))


def over_groups(figure: Bounded) -> Bounded:
    """The plain mean over the groups where it is defined; nan if it is nowhere."""
    return Bounded(*(mean(np.asarray(one)) for one in figure))


def mean(values: Doubles) -> float:
    """Of those that are not nan; nan if all are."""
    some = values[~np.isnan(values)]
    return float(some.mean()) if some.size else float("nan")


def _before(weights: Doubles) -> Doubles:
    """Sums of all that precede along the last axis; not sums less the own weight, which round."""
    sums = np.cumsum(weights, axis=-1)
    return np.concatenate([np.zeros_like(sums[..., :1]), sums[..., :-1]], axis=-1)


def _ratio(a: Doubles, b: Doubles) -> Doubles:
    """a / b, and 0 where both are 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)


def _thinned(
    x: Doubles, y: Doubles, threshold: Doubles, along: Doubles, points: int, start: float | None
) -> Curve:
    """About so many of the points, and the last; a start at (0, start) of no rows, if given."""
    if not x.size:
        return Curve(x, y, threshold)
    step = np.floor(along * points)
    kept = np.flatnonzero(np.diff(step, append=np.inf) > 0)
    x, y, threshold = x[kept], y[kept], threshold[kept]
    if start is not None:
        x, y = np.concatenate([[0.0], x]), np.concatenate([[start], y])
        threshold = np.concatenate([[np.inf], threshold])
    return Curve(x, y, threshold)
