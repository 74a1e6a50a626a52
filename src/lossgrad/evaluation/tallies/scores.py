"""Means over all terms of what is said of their probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossgrad.evaluation.tallies.found import Found
from lossgrad.evaluation.totals import BRIER, ENTROPY

if TYPE_CHECKING:
    from lossgrad.evaluation.results import Result
    from lossgrad.evaluation.state import Evaluation


class Scores:
    """The Brier score and the entropy, whose sums are beside those of the losses."""

    def sizes(self, of: "Evaluation", classes: int) -> dict[str, int]:
        """How many sums there are of each name."""
        return {}

    def fields(self, found: Found) -> dict[str, Any]:
        """Those of `Result` that come out of them."""
        scalars = found.near("scalars")
        return {
            "brier": float(scalars[BRIER]) / found.over,
            "entropy": float(scalars[ENTROPY]) / found.over,
        }

    def lines(self, result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
        """Names and texts."""
        return [("Brier", f"{result.brier:.6g}"), ("entropy", f"{result.entropy:.6g} nats")]
