"""What is gained by leaving the least sure terms out: risk and coverage, by confidence."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.histogram import PROBABILITIES, Bounded, Histogram
from lossgrad.evaluation.possible import Known
from lossgrad.evaluation.ranking import Curve, Ranked
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen


@dataclass(frozen=True, eq=False)
class Selection:
    """How well confidence tells what is right from what is wrong.

    Confidence is the probability of what was predicted.

    Attributes
    ----------
    aurc : Bounded
        Area under the curve of risk over coverage: the mean over all terms of the part that is
        wrong among those of the same or higher confidence. Less is better.
    auroc, fpr95 : Bounded
        Of confidence as a score of being right.
    risk_coverage : Curve
        Points of that curve: coverage and risk.
    """

    aurc: Bounded
    auroc: Bounded
    fpr95: Bounded
    risk_coverage: Curve

    @classmethod
    def of(cls, ranked: Ranked) -> "Selection":
        """All of it, of confidence as a score of being right."""
        return cls(
            aurc=ranked.aurc().item(),
            auroc=ranked.auroc().item(),
            fpr95=ranked.fpr_at(0.95).item(),
            risk_coverage=ranked.risk_coverage(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        figures = {name: getattr(self, name)._asdict() for name in ("aurc", "auroc", "fpr95")}
        return {**figures, "risk_coverage": self.risk_coverage.to_dict()}

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        return [
            ("AURC", self.aurc.text()),
            ("AUROC sure", f"{self.auroc.text()} of confidence for what is right"),
        ]


class SelectionPart:
    """A histogram of confidence, of terms that are right and wrong."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task) -> None:
        self._spread = Histogram(PROBABILITIES, 2)

    def add(self, seen: Seen) -> None:
        """Add terms."""
        self._spread.add(sureness(seen), seen.correct.astype(np.int64), seen.weight)

    def merge(self, other: "SelectionPart") -> None:
        """Add what another has."""
        self._spread.merge(other._spread)

    def to_bytes(self) -> bytes:
        """All of it."""
        return self._spread.to_bytes()

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        self._spread, data = Histogram.from_bytes(PROBABILITIES, 2, data)
        return data

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        every = self._spread.totals()
        known.check(weight=every.summed(0, 1), correct=every.chosen([1]))

    def result(self) -> Selection:
        """The figures so far."""
        wrong, right = self._spread.weights()
        ranked = Ranked.of(PROBABILITIES, right[np.newaxis], wrong[np.newaxis])
        return Selection.of(ranked)


def sureness(seen: Seen) -> NDArray[np.float64]:
    """The probability of what was predicted for each term."""
    sure = seen.confidence
    return (
        sure if seen.rows.task == "multiclass" else np.where(seen.predicted > 0, sure, 1.0 - sure)
    )
