"""Further figures of an evaluation, each in a file of its own: what it counts, how that merges, is
written to a state and read again, and what comes out of it.

To add one: a file with a class like `Part` and a frozen dataclass that it gives as its result, and
a line in `PARTS`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

from lossgrad.evaluation.parts.bits import BitsPerByte
from lossgrad.evaluation.parts.calibration import CalibrationPart
from lossgrad.evaluation.parts.clusters import Clusters
from lossgrad.evaluation.parts.quantiles import QuantilesPart
from lossgrad.evaluation.parts.ranking import RankingPart
from lossgrad.evaluation.parts.selection import SelectionPart
from lossgrad.evaluation.possible import Known
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen


class Figures(Protocol):
    """What a part has found: a frozen dataclass."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts, for the terminal and the report."""


class Part(Protocol):
    """What adds up one kind of figure, exactly, so that parts of equal rows have equal bytes."""

    needs: ClassVar[tuple[str, ...]]  # columns beside logits and targets

    def __init__(self, task: Task) -> None: ...

    def add(self, seen: Seen) -> None:
        """Add terms."""

    def merge(self, other: Self) -> None:
        """Add what another of the same task has."""

    def to_bytes(self) -> bytes:
        """All of it."""

    def restore(self, data: memoryview) -> memoryview:
        """Take over, when empty, what `to_bytes` wrote: the bytes that follow.

        Raises
        ------
        ValueError, LookupError, struct.error
            The bytes are not such a part.
        """

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to.

        Raises
        ------
        ValueError
            No rows lead to both.
        """

    def result(self) -> Figures:
        """The figures so far."""


PARTS: dict[str, type[Part]] = {
    "bits_per_byte": BitsPerByte,
    "calibration": CalibrationPart,
    "clusters": Clusters,
    "quantiles": QuantilesPart,
    "ranking": RankingPart,
    "selection": SelectionPart,
}


def new_parts(figures: Sequence[str], task: Task) -> dict[str, Part]:
    """Empty ones, in the order of their names."""
    if isinstance(figures, str):
        figures = [figures]
    for name in figures:
        if name not in PARTS:
            raise ValueError(f"no figure {name!r}; there are {', '.join(sorted(PARTS))}")
    return {name: PARTS[name](task) for name in sorted(set(figures))}
