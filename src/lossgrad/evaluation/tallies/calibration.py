"""Whether probabilities are what they say: the reliability bins."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lossgrad.evaluation.results import means
from lossgrad.evaluation.tallies.found import Found

if TYPE_CHECKING:
    from lossgrad.evaluation.results import Result
    from lossgrad.evaluation.state import Evaluation


class Calibration:
    """Weight, confidence and accuracy of bins of equal width."""

    def sizes(self, of: "Evaluation", classes: int) -> dict[str, int]:
        """How many sums there are of each name."""
        return dict.fromkeys(("bin_weight", "bin_confidence", "bin_right"), of.bins)

    def fields(self, found: Found) -> dict[str, Any]:
        """Those of `Result` that come out of them."""
        weight = found.near("bin_weight")
        confidence = means(found.near("bin_confidence"), weight)
        accuracy = means(found.near("bin_right"), weight)
        some = weight > 0
        gaps = np.abs(confidence - accuracy)[some]
        return {
            "weight": found.weight,
            "confidence": found.total("bin_confidence") / found.over,
            "ece": float(gaps @ weight[some]) / found.over,
            "mce": float(gaps.max()) if gaps.size else math.nan,
            "bin_edges": np.linspace(0.0, 1.0, found.of.bins + 1),
            "bin_weight": found.values("bin_weight"),
            "bin_confidence": confidence,
            "bin_accuracy": accuracy,
        }

    def lines(self, result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
        """Names and texts."""
        return [("calibration", f"{result.ece:.4f} expected, {result.mce:.4f} maximum error")]
