"""One pass over the rows that counts something beside an evaluation, for figures that need several.

An `Evaluation` checks the data, leaves out what has no loss and says what a row is; a `Probe` is
one that also keeps a part of its own, which no state is saved of.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from lossgrad.evaluation.parts import Part
from lossgrad.evaluation.state import Evaluation

P = TypeVar("P", bound=Part)


class Probe(Evaluation, Generic[P]):
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
        self._parts, self.figures = {"probe": self.part}, ("probe",)

    def empty(self) -> "Probe[P]":
        """Another of the same options, without any rows."""
        return Probe(self._new, **self._options)
