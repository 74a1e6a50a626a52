"""Totals that no rows lead to, in a state that came from elsewhere: each a ValueError."""

from typing import Any

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.results import WorstRow

# Tallies that count every term with its weight, each in groups of its own
_ALIKE = {
    False: ("support", "predicted", "ranks", "confusion", "bin_weight", "loss_histogram"),
    True: ("seen", "bin_weight", "loss_histogram"),
}


def check_totals(
    classes: int | None, counts: dict[str, int], tallies: dict[str, ExactSums], binary: bool
) -> None:
    """Counts of rows and terms against each other, and the sums of weights."""
    for name, count in counts.items():
        check_range(name, count, 0)
    each = classes or 0 if binary else 1  # rows are ignored, or labels of the binary task
    left = counts["rows"] * each - counts["ignored"] - counts["undefined"]
    most = max(counts["correct"], counts["infinite"])
    if left != counts["terms"] or most > left:
        raise ValueError(f"counts that no rows have: {counts}")
    if classes is None and counts["rows"]:
        raise ValueError(f"counts of rows that such an evaluation never saw: {counts}")
    if len({tallies[name].units() for name in _ALIKE[binary] if name in tallies}) > 1:
        raise ValueError("sums of the same weights that differ")


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
