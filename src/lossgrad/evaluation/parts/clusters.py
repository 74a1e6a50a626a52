"""Standard errors that are right where rows belong together: tokens of one document, say.

Losses of one cluster depend on each other, so that the error of their mean is not that of as many
independent rows. With the sums L of the weighted losses and W of the weights of each of the G
clusters and m = sum L / sum W, it is sqrt(G / (G - 1) sum (L - m W)**2) / sum W: the ratio
estimator's (Cochran, Sampling Techniques, 3rd ed., 6.3 and 11.8; statsmodels' cov_type="cluster").
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.keys import Numbers, checked_keys, distinct
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen

_SUMS = ("loss", "divisor", "correct", "weight")


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


class Clusters:
    """Sums for each cluster. The column "clusters" has a whole number or a text for each row."""

    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    def __init__(self, task: Task) -> None:
        self._keys = Numbers()
        self._sums = {name: ExactSums(0) for name in _SUMS}

    def add(self, seen: Seen) -> None:
        """Add terms."""
        keys, which = distinct(checked_keys(seen.column("clusters"), "clusters"))
        at = self._keys.of(keys, "clusters")[which]
        self._add("loss", seen.weighted(seen.loss), at)
        self._add("divisor", seen.divisor, at)
        self._add("correct", seen.weighted(seen.correct.astype(np.float64)), at)
        self._add("weight", seen.weighted(np.ones(len(at))), at)

    def _add(self, name: str, values: NDArray[np.float64], at: NDArray[np.int64]) -> None:
        self._sums[name].grow(len(self._keys))
        self._sums[name].add(values, at)

    def merge(self, other: "Clusters") -> None:
        """Add what another has."""
        at = self._keys.of(list(other._keys), "clusters")
        for name, sums in self._sums.items():
            sums.grow(len(self._keys))
            sums.merge(other._sums[name].placed(at, len(self._keys)))

    def to_bytes(self) -> bytes:
        """All of it, in the order of the keys."""
        order = np.argsort(self._keys.order())  # where each number goes
        sums = (self._sums[name].placed(order, len(order)).to_bytes() for name in _SUMS)
        return self._keys.to_bytes() + b"".join(sums)

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        self._keys, data = Numbers.from_bytes(data)
        for name in _SUMS:
            self._sums[name], data = ExactSums.from_bytes(len(self._keys), data)
        return data

    def result(self) -> Clustered:
        """The figures so far."""
        order = self._keys.order()  # a sum's rounding depends on it
        values = {name: sums.values()[order] for name, sums in self._sums.items()}
        some = values["weight"] > 0
        values = {name: value[some] for name, value in values.items()}
        return Clustered(
            clusters=int(some.sum()),
            loss_error=_error(values["loss"], values["divisor"]),
            accuracy_error=_error(values["correct"], values["weight"]),
        )


def _error(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The standard error of sum(sums) / sum(weights)."""
    n, total = len(sums), math.fsum(weights)
    if n < 2 or not total or not np.isfinite(sums).all():
        return math.nan
    residuals = sums - math.fsum(sums) / total * weights
    return math.sqrt(n / (n - 1) * math.fsum(residuals**2)) / total
