"""The mean loss, its standard error, and how losses are spread."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossgrad.evaluation.exact import UNITS
from lossgrad.evaluation.results import error_of, means, ratio, standard_error
from lossgrad.evaluation.tallies.found import Found
from lossgrad.evaluation.totals import DIVISOR, SCALARS, SQUARES

if TYPE_CHECKING:
    from lossgrad.evaluation.results import Result
    from lossgrad.evaluation.state import Evaluation

_BINS = 64


class Losses:
    """Losses by class and by size, and what their mean and its error are made of."""

    def sizes(self, of: "Evaluation", classes: int) -> dict[str, int]:
        """How many sums there are of each name."""
        return {"loss": classes, "loss_histogram": _BINS, "scalars": len(SCALARS)}

    def fields(self, found: Found) -> dict[str, Any]:
        """Those of `Result` that come out of them."""
        binary = found.of.task == "binary"
        return {
            "loss": ratio(found.total("loss"), float(found.near("scalars")[DIVISOR])),
            "total": found.sums("loss").total(),
            "divisor": float(found.values("scalars")[DIVISOR]),
            "loss_error": _error(found),
            "class_loss": means(found.near("loss"), found.near("seen" if binary else "support")),
            "loss_histogram": found.values("loss_histogram"),
        }

    def lines(self, result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
        """Names and texts."""
        error = f" {error_of(result.loss_error)}".rstrip()
        lines = [("loss", f"{result.loss:.6g}{error} nats  ({result.loss_bits:.6g} bits)")]
        if result.task == "multiclass":
            lines.append(("perplexity", f"{result.perplexity:.6g}"))
        return lines


def _error(found: Found) -> float:
    scalars, losses = found.sums("scalars"), found.sums("loss")
    if scalars.infinite:
        return math.nan
    squares = [scalars.units(group) for group in SQUARES]
    terms = found.of._counts["terms"]
    return standard_error(squares, losses.units(), scalars.units(DIVISOR), UNITS, terms)
