"""Quantiles of the figures of single terms: loss, confidence, entropy, Brier score, rank."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lossgrad.evaluation.histogram import (
    LOSSES,
    PROBABILITIES,
    RANKS,
    Distribution,
    Histogram,
    Scale,
)
from lossgrad.evaluation.possible import Known
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen

_SCALES: dict[str, Scale] = {
    "loss": LOSSES,
    "confidence": PROBABILITIES,
    "entropy": LOSSES,
    "brier": LOSSES,
    "rank": RANKS,
}
FIGURES = tuple(_SCALES)
_NOTHING = Distribution(*3 * (np.zeros(0),))
AT = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)  # those that are written out


@dataclass(frozen=True, eq=False)
class Quantiles:
    """How figures of single terms are spread.

    Attributes
    ----------
    loss, confidence, entropy, brier, rank : Distribution
        `quantile(q)` is the smallest number that at least q of the weight is not above, with its
        bounds. `rank` is of the label: how many classes come before it; in the
        binary task there is none.
    """

    loss: Distribution
    confidence: Distribution
    entropy: Distribution
    brier: Distribution
    rank: Distribution = _NOTHING

    def to_dict(self) -> dict[str, Any]:
        """Some quantiles of each, for JSON."""
        return {
            name: {f"{q:g}": getattr(self, name).quantile(q)._asdict() for q in AT}
            for name in _SCALES
        }

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        return [
            (
                f"{name} at",
                ", ".join(
                    f"{100 * q:g} %: {getattr(self, name).quantile(q).value:.4g}"
                    for q in (0.05, 0.5, 0.95, 0.99)
                ),
            )
            for name in _SCALES
            if getattr(self, name).weight.size
        ]


def of_terms(task: Task) -> tuple[str, ...]:
    """The figures that terms of a task have."""
    return FIGURES if task == "multiclass" else tuple(name for name in FIGURES if name != "rank")


class QuantilesPart:
    """A histogram of each figure."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task) -> None:
        self._spread = {name: Histogram(_SCALES[name]) for name in of_terms(task)}

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
        for name, spread in self._spread.items():
            self._spread[name], data = Histogram.from_bytes(spread.scale, 1, data)
        return data

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        for spread in self._spread.values():
            known.check(weight=spread.totals().summed(0, 1))

    def result(self) -> Quantiles:
        """The figures so far."""
        return Quantiles(**{name: one.distribution() for name, one in self._spread.items()})
