"""What every evaluation counts, in parts that each own a figure.

A part says what exact sums it needs, which are added up beside the kernels (`totals`), what comes
out of them, and how that is shown.

Further figures, which are counted where they are asked for, are those of `evaluation.parts`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lossgrad.evaluation.tallies.by_class import ByClass
from lossgrad.evaluation.tallies.calibration import Calibration
from lossgrad.evaluation.tallies.found import Found
from lossgrad.evaluation.tallies.losses import Losses
from lossgrad.evaluation.tallies.ranks import Ranks
from lossgrad.evaluation.tallies.scores import Scores

if TYPE_CHECKING:
    from lossgrad.evaluation.results import Result
    from lossgrad.evaluation.state import Evaluation


class Tally(Protocol):
    """Exact sums by name, and what is made of them."""

    def sizes(self, of: "Evaluation", classes: int) -> dict[str, int]:
        """How many sums there are of each name."""

    def fields(self, found: Found) -> dict[str, Any]:
        """Those of `Result` that come out of them."""

    def lines(self, result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
        """Names and texts, for the terminal and the report."""


TALLIES: tuple[Tally, ...] = (Losses(), ByClass(), Ranks(), Scores(), Calibration())


def sizes(of: "Evaluation", classes: int) -> dict[str, int]:
    """How many sums there are of each name."""
    return {name: size for one in TALLIES for name, size in one.sizes(of, classes).items()}


def fields(of: "Evaluation") -> dict[str, Any]:
    """All fields of `Result` that come out of the sums."""
    found = Found(of, sizes(of, of.classes or 0))
    return {name: value for one in TALLIES for name, value in one.fields(found).items()}


def lines(result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
    """Names and texts of all figures."""
    return [line for one in TALLIES for line in one.lines(result, top_k)]
