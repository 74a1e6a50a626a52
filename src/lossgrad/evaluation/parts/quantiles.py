"""Quantiles of the figures of single terms: loss, confidence, entropy."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from lossgrad.evaluation.histogram import LOSSES, PROBABILITIES, Distribution, Histogram
from lossgrad.evaluation.possible import Known
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen

_SCALES = {"loss": LOSSES, "confidence": PROBABILITIES, "entropy": LOSSES}
FIGURES = tuple(_SCALES)
AT = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)  # those that are written out


@dataclass(frozen=True, eq=False)
class Quantiles:
    """How figures of single terms are spread.

    Attributes
    ----------
    loss, confidence, entropy : Distribution
        `quantile(q)` is the smallest number that at least q of the weight is not above, with its
        bounds.
    """

    loss: Distribution
    confidence: Distribution
    entropy: Distribution

    def to_dict(self) -> dict[str, Any]:
        """Some quantiles of each, for JSON."""
        return {
            name: {f"{q:g}": getattr(self, name).quantile(q)._asdict() for q in AT}
            for name in _SCALES
        }

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        if math.isnan(self.loss.quantile(0.5).value):
            return []
        return [
            (
                f"{name} at",
                ", ".join(
                    f"{100 * q:g} %: {getattr(self, name).quantile(q).value:.4g}"
                    for q in (0.05, 0.5, 0.95, 0.99)
                ),
            )
            for name in _SCALES
        ]


class QuantilesPart:
    """A histogram of each figure."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task) -> None:
        self._spread = {name: Histogram(scale) for name, scale in _SCALES.items()}

    def add(self, seen: Seen) -> None:
        """Add terms."""
        for name, spread in self._spread.items():
            spread.add(getattr(seen, name), 0, seen.weight)

    def merge(self, other: "QuantilesPart") -> None:
        """Add what another has."""
        for name, spread in self._spread.items():
            spread.merge(other._spread[name])

    def to_bytes(self) -> bytes:
        """All of it."""
        return b"".join(spread.to_bytes() for spread in self._spread.values())

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        for name, scale in _SCALES.items():
            self._spread[name], data = Histogram.from_bytes(scale, 1, data)
        return data

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        for spread in self._spread.values():
            known.check(weight=spread.totals().summed(0, 1))

    def result(self) -> Quantiles:
        """The figures so far."""
        return Quantiles(**{name: one.distribution() for name, one in self._spread.items()})
