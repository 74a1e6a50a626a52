"""What is right, by class: labels, predictions and what they have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lossgrad.evaluation.tallies.found import Found

if TYPE_CHECKING:
    from lossgrad.evaluation.results import Result
    from lossgrad.evaluation.state import Evaluation


class ByClass:
    """Counts of each class as label, as prediction and as both, and of each pair of few classes."""

    def sizes(self, of: "Evaluation", classes: int) -> dict[str, int]:
        """How many sums there are of each name."""
        sizes = dict.fromkeys(("support", "predicted", "hits"), classes)
        if of.task == "binary":
            sizes["seen"] = classes
        elif classes <= of.confusion_limit:
            sizes["confusion"] = classes * classes
        return sizes

    def fields(self, found: Found) -> dict[str, Any]:
        """Those of `Result` that come out of them."""
        right = found.total("hits")
        if found.of.task == "binary":
            both = found.total("support") + found.total("predicted")
            right = found.total("bin_weight") - both + 2.0 * right
        classes = found.of.classes or 0
        confusion = "confusion" in found
        return {
            "accuracy": right / found.over,
            "support": found.values("support"),
            "predicted": found.values("predicted"),
            "hits": found.values("hits"),
            "confusion": (
                found.values("confusion").reshape(classes, classes) if confusion else None
            ),
        }

    def lines(self, result: "Result", top_k: Sequence[int]) -> list[tuple[str, str]]:
        """Names and texts."""
        macro, weighted = result.macro.f1, result.weighted.f1
        lines = [
            ("accuracy", f"{100 * result.accuracy:.2f} %  ({result.correct} of {result.terms})"),
            ("F1", f"{macro:.4f} macro, {weighted:.4f} weighted"),
        ]
        if result.confusion is not None:
            beyond = f"{result.matthews_corrcoef:.4f} Matthews, {result.cohen_kappa:.4f} kappa"
            balanced = f"{result.balanced_accuracy:.4f} balanced accuracy"
            lines.append(("agreement", f"{beyond}, {balanced}"))
        return lines
