"""Standard errors of paired differences where rows belong together (see `parts.clusters`)."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison.sums import Sums
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.parts.clusters import ClusterSums, clustered_error

Doubles = NDArray[np.float64]
_SIGNED = ("loss_difference", "accuracy_difference")


@dataclass(frozen=True)
class PairClustered:
    """Clusters that have rows, and the standard errors of means over such clusters."""

    clusters: int
    kl_error: float
    loss_difference_error: float
    accuracy_difference_error: float

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        loss, accuracy = self.loss_difference_error, 100 * self.accuracy_difference_error
        differences = f", {loss:.2g} of loss, {accuracy:.2g} % of accuracy"
        text = f"standard errors {self.kl_error:.2g} of KL{differences if loss == loss else ''}"
        return [("clustered", f"{text}  ({self.clusters} clusters)")]


class PairClusters:
    """Sums for each cluster, those of differences apart by sign."""

    needs: ClassVar[tuple[str, ...]] = ("clusters",)

    def __init__(self) -> None:
        signed = [f"{sign} {name}" for name in _SIGNED for sign in "+-"]
        self._sums = ClusterSums(["kl", *signed, "weight"])

    def add(
        self, found: PairStatistics, weight: Doubles | None, columns: dict[str, NDArray[Any]]
    ) -> None:
        """Add rows."""
        s = np.ones(len(found.kl)) if weight is None else weight
        right = (found.other_rank == 0) * 1.0 - (found.base_rank == 0)
        difference = found.loss_difference
        values = dict(
            zip(_SIGNED, (np.where(np.isnan(difference), 0.0, difference), right), strict=True)
        )
        figures = {"kl": np.where(s == 0.0, 0.0, s * found.kl), "weight": s}
        for name, value in values.items():
            weighted = np.where(s == 0.0, 0.0, s * value)
            figures[f"+ {name}"] = np.maximum(weighted, 0.0)
            figures[f"- {name}"] = np.maximum(-weighted, 0.0)
        self._sums.add(columns["clusters"], figures)

    def merge(self, other: "PairClusters") -> None:
        """Add what another has."""
        self._sums.merge(other._sums)

    def to_bytes(self) -> bytes:
        """All of it."""
        return self._sums.to_bytes()

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        return self._sums.restore(data)

    def check(self, both: Sums, of_labels: Sums) -> None:
        """Raise a ValueError unless all clusters together have the sums of all rows."""
        wanted = {"kl": both.of("kl"), "weight": both.of_weight()}
        for name in _SIGNED:
            wanted |= {f"{sign} {name}": of_labels.of(name, sign == "-") for sign in "+-"}
        for name, sums in self._sums.totals().items():
            if sums.numbers() != wanted[name].numbers():
                raise ValueError(f"sums of {name} of clusters that are not those of all rows")

    def result(self, labelled: bool) -> PairClustered:
        """The figures so far; differences are of rows with labels."""
        found = self._sums.values()
        weight = found["weight"]
        errors = [
            clustered_error(found[f"+ {name}"] - found[f"- {name}"], weight) if labelled else np.nan
            for name in _SIGNED
        ]
        return PairClustered(len(weight), clustered_error(found["kl"], weight), *errors)
