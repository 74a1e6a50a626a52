"""At which place the label comes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossgrad.evaluation.tallies.found import Found

if TYPE_CHECKING:
    from lossgrad.evaluation.results import Result
    from lossgrad.evaluation.state import Evaluation


class Ranks:
    """Rows by the rank of their label, of the multiclass task."""

    def sizes(self, of: "Evaluation", classes: int) -> dict[str, int]:
        """How many sums there are of each name."""
        return {"ranks": classes} if of.task == "multiclass" else {}

    def fields(self, found: Found) -> dict[str, Any]:
        """Those of `Result` that come out of them."""
        return {"ranks": found.values("ranks") if "ranks" in found else None}

    def lines(self, result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
        """Names and texts."""
        if result.ranks is None:
            return []
        return [(f"top {k}", f"{100 * result.top_k(k):.2f} %") for k in top_k]
