"""Standard errors that are right where rows belong together: tokens of one document, say.

Losses of one cluster depend on each other, so that the error of their mean is not that of as many
independent rows. With the sums L of the weighted losses and W of the weights of each of the G
clusters and m = sum L / sum W, it is sqrt(G / (G - 1) sum (L - m W)**2) / sum W: the ratio
estimator's (Cochran, Sampling Techniques, 3rd ed., 6.3 and 11.8; statsmodels' cov_type="cluster").
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.keys import Numbers, checked_keys, distinct
from lossgrad.evaluation.possible import Known, check_between
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Clustered:
    """Clusters that have rows with a loss, and the standard errors of means over such clusters."""

    clusters: int
    loss_error: float
    accuracy_error: float

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        errors = f"{self.loss_error:.2g} of the loss, {100 * self.accuracy_error:.2g} % of accuracy"
        return [("clustered", f"standard errors {errors}  ({self.clusters} clusters)")]


class ClusterSums:
    """Exact sums of named figures, none of them negative, for each cluster.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._keys = Numbers()
        self._sums = {name: ExactSums(0) for name in names}

    def add(self, clusters: NDArray[Any], figures: dict[str, Doubles]) -> None:
        """Add a value of every figure for each of some rows, whose clusters these are."""
        keys, which = distinct(checked_keys(clusters, "clusters"))
        at = self._keys.of(keys, "clusters")[which]
        for name, sums in self._sums.items():
            sums.grow(len(self._keys))
            sums.add(figures[name], at)

    def merge(self, other: "ClusterSums") -> None:
        """Add what another has."""
        at = self._keys.of(list(other._keys), "clusters")
        for name, sums in self._sums.items():
            sums.grow(len(self._keys))
            sums.merge(other._sums[name].placed(at, len(self._keys)))

    def to_bytes(self) -> bytes:
        """All of it, in the order of the keys."""
        order = np.argsort(self._keys.order())  # where each number goes
        sums = (one.placed(order, len(order)).to_bytes() for one in self._sums.values())
        return self._keys.to_bytes() + b"".join(sums)

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        self._keys, data = Numbers.from_bytes(data)
        for name in self._sums:
            self._sums[name], data = ExactSums.from_bytes(len(self._keys), data)
        return data

    def totals(self) -> dict[str, ExactSums]:
        """The sums over all clusters."""
        return {name: sums.summed(0, 1) for name, sums in self._sums.items()}

    def values(self) -> dict[str, Doubles]:
        """The sums of the clusters that have weight, in the order of the keys."""
        order = self._keys.order()  # the rounding of what is made of them depends on it
        values = {name: sums.values()[order] for name, sums in self._sums.items()}
        some = values["weight"] > 0
        return {name: value[some] for name, value in values.items()}


class Clusters:
    """Sums for each cluster. The column "clusters" has a whole number or a text for each row."""

    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    def __init__(self, task: Task) -> None:
        self._sums = ClusterSums(("loss", "divisor", "correct", "weight"))

    def add(self, seen: Seen) -> None:
        """Add terms."""
        figures = {
            "loss": seen.weighted(seen.loss),
            "divisor": seen.divisor,
            "correct": seen.weighted(seen.correct.astype(np.float64)),
            "weight": seen.weighted(np.ones(len(seen.term))),
        }
        self._sums.add(seen.column("clusters"), figures)

    def merge(self, other: "Clusters") -> None:
        """Add what another has."""
        self._sums.merge(other._sums)

    def to_bytes(self) -> bytes:
        """All of it."""
        return self._sums.to_bytes()

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        return self._sums.restore(data)

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        known.check(**self._sums.totals())
        found = self._sums.values()
        check_between("correct", 0.0, found["correct"], found["weight"])

    def result(self) -> Clustered:
        """The figures so far."""
        found = self._sums.values()
        return Clustered(
            clusters=len(found["weight"]),
            loss_error=clustered_error(found["loss"], found["divisor"]),
            accuracy_error=clustered_error(found["correct"], found["weight"]),
        )


def clustered_error(sums: Doubles, weights: Doubles) -> float:
    """The standard error of sum(sums) / sum(weights), of which each cluster has one."""
    n, total = len(sums), math.fsum(weights)
    if n < 2 or not total or not np.isfinite(sums).all():
        return math.nan
    residuals = sums - math.fsum(sums) / total * weights
    return math.sqrt(n / (n - 1) * math.fsum(residuals**2)) / total
