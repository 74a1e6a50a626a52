"""Totals that no rows lead to, in a state that came from elsewhere: each a ValueError."""

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.results import WorstRow
from lossgrad.evaluation.scale import common_shift
from lossgrad.evaluation.totals import BRIER, DIVISOR, ENTROPY, LL, LW, SCALARS, WW

if TYPE_CHECKING:
    from lossgrad.evaluation.state import Evaluation

_UNREAD = ("loss", "ranks", "confusion", "loss_histogram")  # whose totals are enough
Numbers = list[tuple[int, int]]  # as `ExactSums.numbers`

# Tallies that count every term with its weight, each in groups of its own
_ALIKE = {
    False: ("support", "predicted", "ranks", "confusion", "bin_weight", "loss_histogram"),
    True: ("seen", "bin_weight", "loss_histogram"),
}


def check_totals(of: "Evaluation") -> None:
    """Counts of rows and terms against each other, and sums against those of weights."""
    check_counts(of.classes, of._counts, of.task == "binary")
    if of.classes is None:
        return
    tallies = of._tallies
    if len({tallies[name].units() for name in _ALIKE[of.task == "binary"] if name in tallies}) > 1:
        raise ValueError("sums of the same weights that differ")
    if any(one.infinite for name, one in tallies.items() if name not in ("loss", "scalars")):
        raise ValueError("infinite sums of weights")
    if tallies["loss"].infinite and not of._counts["infinite"]:
        raise ValueError("infinite losses that were not counted")
    by = common_shift(tallies["bin_weight"].total())
    near = {name: one.values(by) for name, one in tallies.items() if name not in _UNREAD}
    edge = np.arange(of.bins) / of.bins
    weight, most = near["bin_weight"], near["bin_weight"].sum()
    check_between(
        "confidence", weight * edge, near["bin_confidence"], weight * (edge + 1 / of.bins)
    )
    check_between("right", 0.0, near["bin_right"], weight)
    check_between("Brier scores", 0.0, near["scalars"][BRIER], 2.0 * most)
    check_between("entropy", 0.0, near["scalars"][ENTROPY], math.log(max(of.classes, 2)) * most)
    _check_squares(of, by)
    if of.weight is None:
        check_between("weights", most, near["scalars"][DIVISOR], most)
    _check_classes(of, near)


def _check_squares(of: "Evaluation", by: int) -> None:
    """What the error of the loss is made of."""
    loss, scalars = of._tallies["loss"].total(by), of._tallies["scalars"]
    divisor, squares = scalars.values(by)[DIVISOR], scalars.values(2 * by)
    check_squares("losses", loss, squares[LL], of._counts["terms"])
    check_squares("weights", divisor, squares[WW], of._counts["terms"])
    check_between("products", 0.0, squares[LW], np.multiply(loss, divisor))


def _check_classes(of: "Evaluation", near: dict[str, NDArray[np.float64]]) -> None:
    """What is right is both label and prediction."""
    each = near["seen"] if of.task == "binary" else near["bin_weight"].sum()
    for name in ("support", "predicted"):
        check_between(name, 0.0, near[name], each)
        check_between("what is right", 0.0, near["hits"], near[name])
    if of.task == "binary":
        return
    known, tallies, classes = Known(of), of._tallies, np.arange(of.classes or 0)
    known.check(right=tallies["hits"].summed(0, 1))
    if "confusion" in tallies:
        label, predicted = (one.reshape(-1) for one in np.meshgrid(classes, classes, indexing="ij"))
        for name, at in (("support", label), ("predicted", predicted)):
            if tallies["confusion"].summed(at, len(classes)).numbers() != tallies[name].numbers():
                raise ValueError(f"a confusion matrix of another {name}")
        if tallies["confusion"].chosen(classes * (len(classes) + 1)).numbers() != (
            tallies["hits"].numbers()
        ):
            raise ValueError("a confusion matrix of other hits")


def check_counts(classes: int | None, counts: dict[str, int], binary: bool) -> None:
    """Counts of rows and terms against each other."""
    for name, count in counts.items():
        check_range(name, count, 0)
    each = classes or 0 if binary else 1  # rows are ignored, or labels of the binary task
    left = counts["rows"] * each - counts["ignored"] - counts["undefined"]
    most = max(counts["correct"], counts["infinite"])
    if left != counts["terms"] or most > left:
        raise ValueError(f"counts that no rows have: {counts}")
    if classes is None and counts["rows"]:
        raise ValueError(f"counts of rows that such an evaluation never saw: {counts}")


class Known:
    """What the tallies of an evaluation say of all its terms, for its parts to be held against.

    `right` is the sum of what `Seen.right` is, `each` the weights of the scores that each class or
    label has.
    """

    def __init__(self, of: "Evaluation") -> None:
        self.task, self.classes = of.task, of.classes or 0
        self._tallies = of._tallies

    def check(self, **found: ExactSums) -> None:
        """Raise a ValueError unless sums are those of the same name."""
        for name, sums in found.items():
            if sums.numbers() != getattr(self, name):
                raise ValueError(f"sums of {name} in a part that are not those of all terms")

    def _all(self, name: str) -> Numbers:
        found = self._tallies.get(name, ExactSums(0))
        return found.summed(0, 1).numbers()

    def _scalar(self, group: int) -> Numbers:
        found = self._tallies.get("scalars", ExactSums(len(SCALARS)))
        return found.numbers()[group : group + 1]

    @cached_property
    def weight(self) -> Numbers:
        return self._all("bin_weight")

    @cached_property
    def right(self) -> Numbers:
        return self._all("bin_right")

    @cached_property
    def correct(self) -> Numbers:
        if self.task == "multiclass":
            return self._all("hits")
        weight, label, predicted, both = (
            self._all(name)[0][0] for name in ("bin_weight", "support", "predicted", "hits")
        )
        return [(weight - label - predicted + 2 * both, 0)]

    @cached_property
    def loss(self) -> Numbers:
        return self._all("loss")

    @cached_property
    def divisor(self) -> Numbers:
        return self._scalar(DIVISOR)

    @cached_property
    def brier(self) -> Numbers:
        return self._scalar(BRIER)

    @cached_property
    def each(self) -> Numbers:
        if self.task == "multiclass":
            return self.weight * self.classes
        return self._tallies["seen"].numbers()

    @cached_property
    def support(self) -> Numbers:
        return self._tallies["support"].numbers()


def check_between(name: str, least: Any, found: Any, most: Any) -> None:
    """Sums of rounded numbers, each between those of two others; nan is not."""
    found, rounding = np.asarray(found), 1.0 + 1e-9
    if not ((least <= found * rounding) & (found <= np.multiply(most, rounding))).all():
        raise ValueError(f"sums of {name} in a part that no weights give")


def check_squares(name: str, total: Any, squares: Any, terms: int) -> None:
    """Sums of as many numbers that are not negative, and of their squares."""
    square = np.multiply(total, total)
    check_between(f"squares of {name}", square / max(terms, 1), squares, square)


def check_worst(worst: list[WorstRow], classes: int, most: int) -> None:
    """At most so many rows, the worst first, of classes that there are."""
    if len(worst) > most:
        raise ValueError(f"{len(worst)} worst rows where {most} are possible")
    for row in worst:
        if not isinstance(row.source, str):
            raise ValueError(f"a source {row.source!r} that is no text")
        check_range("row", row.row, 0)
        check_range("label", row.label, 0, classes)
        check_range("prediction", row.predicted, 0, classes)
        if not (row.loss >= 0.0 and 0.0 <= row.confidence <= 1.0):  # a NaN is neither
            raise ValueError(f"a row of loss {row.loss} and confidence {row.confidence}")
    if worst != sorted(worst, key=badness):
        raise ValueError("worst rows that are out of order")


def badness(row: WorstRow) -> tuple[Any, ...]:
    """The key that sorts the worst row first; what follows the loss makes the order complete."""
    return (-row.loss, *row[1:])


def check_range(name: str, value: Any, least: int, limit: int = 1 << 62) -> None:
    """A whole number, of no other type, from `least` to below `limit`."""
    if type(value) is not int or not least <= value < limit:
        raise ValueError(f"{name} is {value!r}, not a whole number from {least} to {limit - 1}")
