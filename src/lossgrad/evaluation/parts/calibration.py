"""Calibration in more ways than one: by bins of equal weight, by class, and in the Brier score."""

import math
import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.calibration import (
    BrierTerms,
    brier_terms,
    calibration_error,
    equal_mass_error,
)
from lossgrad.evaluation.exact import UNITS, ExactSums
from lossgrad.evaluation.histogram import PROBABILITIES, Bounded, Histogram, middle
from lossgrad.evaluation.possible import Known, check_between
from lossgrad.evaluation.ranking import mean
from lossgrad.evaluation.results import Task, ratio
from lossgrad.evaluation.seen import Seen

Doubles = NDArray[np.float64]
BINS = 15
MOST = 1024  # classes, each with bins of its own
_UNKNOWN = BrierTerms(*4 * (math.nan,))
_SUMS = ("weight", "probability", "observed")
_COUNT = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration errors hide, and what they are of.

    Attributes
    ----------
    equal_mass : Bounded
        Expected calibration error over 15 bins of equal weight of the confidence (binary task: of
        the probability of a positive), made of whole bins of a histogram; exact figures are made
        of the scores themselves.
    classwise : ndarray of shape (classes,)
        Expected calibration error of the probability of each class or label, over 15 bins of equal
        width.
    classwise_mean : float
        Its plain mean over those that have rows (Kull et al., 2019).
    brier : BrierTerms
        The Brier score in its terms, over the same bins. Of more than 1024 classes there are no
        bins, and this is nan.
    """

    equal_mass: Bounded
    classwise: NDArray[np.float64]
    classwise_mean: float
    brier: BrierTerms

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "equal_mass": self.equal_mass._asdict(),
            "classwise": self.classwise,
            "classwise_mean": self.classwise_mean,
            "brier": self.brier._asdict(),
        }

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        reliability, resolution, uncertainty, _ = (f"{one:.4g}" for one in self.brier)
        return [
            ("equal mass", f"{self.equal_mass.text()} expected error"),
            ("class-wise", f"{self.classwise_mean:.4f} expected error"),
            (
                "Brier terms",
                f"{reliability} reliability - {resolution} resolution + {uncertainty} uncertainty",
            ),
        ]


class CalibrationPart:
    """A histogram of confidence, and sums over the bins of each class.

    In a binary task a term counts for its label alone, else a row does for every class.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task) -> None:
        self._classes = 0
        self._confidence = Histogram(PROBABILITIES, 2)
        self._bins = {name: ExactSums(0) for name in _SUMS}
        self._all = ExactSums(2)  # of the Brier score and of the weights

    def _open(self, classes: int) -> None:
        if not self._classes:
            self._classes = classes
            self._bins = {name: ExactSums(self._size) for name in _SUMS}

    @property
    def _size(self) -> int:
        return BINS * self._classes if self._classes <= MOST else 0

    def add(self, seen: Seen) -> None:
        """Add terms."""
        self._open(seen.rows.logits.shape[1])
        self._confidence.add(seen.confidence, 1, seen.weighted(seen.right))
        self._confidence.add(seen.confidence, 0, seen.weighted(1.0 - seen.right))
        self._all.add(seen.weighted(seen.brier), 0)
        s = seen.weighted(np.ones(len(seen.term)))
        self._all.add(s, 1)
        if not self._size:
            return
        if seen.rows.task == "binary":
            self._add(seen.label, seen.confidence, seen.right, s)
            return
        p = seen.probabilities
        true = np.zeros(p.shape)
        true[np.arange(len(p)), seen.label] = 1.0
        column = np.broadcast_to(np.arange(p.shape[1]), p.shape)
        weight = np.broadcast_to(s[:, np.newaxis], p.shape)
        self._add(column.reshape(-1), p.reshape(-1), true.reshape(-1), weight.reshape(-1))

    def _add(self, column: Any, p: Doubles, observed: Doubles, weight: Doubles) -> None:
        at = BINS * column + np.clip(np.ceil(p * BINS).astype(np.int64) - 1, 0, BINS - 1)
        for name, values in zip(_SUMS, (weight, weight * p, weight * observed), strict=True):
            self._bins[name].add(values, at)

    def merge(self, other: "CalibrationPart") -> None:
        """Add what another has."""
        if other._classes:
            self._open(other._classes)
            for name, sums in self._bins.items():
                sums.merge(other._bins[name])
        self._confidence.merge(other._confidence)
        self._all.merge(other._all)

    def to_bytes(self) -> bytes:
        """All of it."""
        sums = [self._all, *self._bins.values()]
        start = _COUNT.pack(self._classes) + self._confidence.to_bytes()
        return start + b"".join(one.to_bytes() for one in sums)

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        (self._classes,), data = _COUNT.unpack(data[: _COUNT.size]), data[_COUNT.size :]
        self._confidence, data = Histogram.from_bytes(PROBABILITIES, 2, data)
        self._all, data = ExactSums.from_bytes(2, data)
        for name in _SUMS:
            self._bins[name], data = ExactSums.from_bytes(self._size, data)
        return data

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        known.check(brier=self._all.chosen([0]), weight=self._all.chosen([1]))
        by_outcome = self._confidence.totals()
        known.check(right=by_outcome.chosen([1]))
        if self._confidence.totals().infinite:
            raise ValueError("infinite weights")
        wrong, right = by_outcome.values()
        check_between("confidence", wrong + right, known.weight[0][0] / UNITS, wrong + right)
        if not self._classes or not self._size:
            return
        of_class = np.repeat(np.arange(self._classes), BINS)
        known.check(each=self._bins["weight"].summed(of_class, self._classes))
        if known.task == "multiclass":
            known.check(support=self._bins["observed"].summed(of_class, self._classes))
        weight, probability, observed = (self._bins[name].values() for name in _SUMS)
        edge = np.tile(np.arange(BINS), self._classes) / BINS
        check_between("probability", weight * edge, probability, weight * (edge + 1 / BINS))
        check_between("observed", 0.0, observed, weight)

    def result(self) -> Calibration:
        """The figures so far."""
        wrong, right = self._confidence.weights()
        lower, upper = PROBABILITIES.bounds
        sums = [(right + wrong) * one for one in (middle(lower, upper), lower, upper)]
        shape = self._size // BINS, BINS
        bins = [self._bins[name].values().reshape(shape) for name in _SUMS]
        brier, rows = map(float, self._all.values())
        classwise = calibration_error(*bins)
        terms = brier_terms(ratio(brier, rows), rows, *bins) if self._size else _UNKNOWN
        return Calibration(
            equal_mass=equal_mass_error(right, wrong, sums, BINS),
            classwise=classwise,
            classwise_mean=mean(classwise),
            brier=terms,
        )
