"""One pass over the rows that counts something beside an evaluation, for figures that need several.

An `Evaluation` checks the data, leaves out what has no loss and says what a row is; a `Probe` is
one that also keeps a part of its own, which no state is saved of.
"""

import copyreg
import dataclasses
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar

from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import Scored
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.seen import Seen
from lossgrad.evaluation.state import Evaluation


class Counter(Protocol):
    """What is counted: a part that needs no bytes."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns beside logits and targets."""

    def add(self, seen: Seen) -> None:
        """Add terms."""

    def merge(self, other: Self) -> None:
        """Add what another has."""

    def result(self) -> Any:
        """What came of it."""


P = TypeVar("P", bound=Counter)


class Look:
    """A counter of scores, as the part that a probe counts.

    Parameters
    ----------
    scored : callable
        The scores of what is added: `Seen`, or what a comparison has of its rows.
    needs : sequence of str
        Columns that the rows have, whether they are looked at or not.
    new : callable
        Makes the counter.
    """

    def __init__(
        self,
        scored: Callable[..., Scored],
        needs: tuple[str, ...],
        new: cells.New,
    ) -> None:
        self._scored, self.needs, self._counter = scored, needs, new()

    def add(self, *found: Any) -> None:
        """Add terms."""
        self._counter.add(self._scored(*found))

    def merge(self, other: "Look") -> None:
        """Add what another has."""
        self._counter.merge(other._counter)

    def result(self) -> list[cells.Parts]:
        """What came of it."""
        return self._counter.result()


class Passing:
    """A state for one pass, which is sent to others as it is and never saved."""

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self),), vars(self)  # type: ignore[attr-defined]


class Probe(Passing, Evaluation, Generic[P]):
    """An evaluation and a part.

    Parameters
    ----------
    new : callable
        Makes an empty part.
    **options
        Those of the evaluation.
    """

    def __init__(self, new: Callable[[], P], **options: Any) -> None:
        super().__init__(**options)
        self._new, self._options = new, options
        self.part = new()
        parts: dict[str, Any] = {"probe": self.part}
        self._parts, self.figures = parts, tuple(parts)

    def empty(self) -> "Probe[P]":
        """Another of the same options, without any rows."""
        return Probe(self._new, **self._options)

    def result(self) -> Result:
        """The figures of the evaluation alone."""
        return dataclasses.replace(super().result(), figures={})
