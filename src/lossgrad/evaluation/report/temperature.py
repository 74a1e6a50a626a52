"""The page of a temperature: what it changes, and the reliability before and after."""

from collections.abc import Callable, Sequence
from typing import Any

from lossgrad.evaluation.passes.temperature import Temperature
from lossgrad.evaluation.report.body import Body, body
from lossgrad.evaluation.report.elements import facts, images, section, table
from lossgrad.evaluation.report.plots import confidences, plot, reliability

_FIGURES = {
    "loss": "loss, nats",
    "ece": "expected calibration error",
    "mce": "maximum calibration error",
    "brier": "Brier",
    "accuracy": "accuracy",
    "confidence": "confidence",
    "entropy": "entropy, nats",
}


@body.register
def _(result: Temperature, top_k: Sequence[int], class_names: Sequence[str] | None) -> Body:
    rows = [
        (text, f"{getattr(result.before, name):.6g}", f"{getattr(result.after, name):.6g}")
        for name, text in _FIGURES.items()
    ]
    lines = [("temperature", f"{result.temperature:.6g}"), ("rows", f"{result.before.rows}")]
    if result.reason:
        lines.append(("limit", result.reason))
    sections = [
        facts(lines),
        table(["", "before", "after"], rows),
        section("Reliability before and after", _both(result, reliability)),
        section("Confidence before and after", _both(result, confidences)),
    ]
    return Body(f"Temperature of {result.before.rows} rows", sections)


def _both(result: Temperature, draw: Callable[[Any, Any], None]) -> str:
    results = {"before": result.before, "after": result.after}
    return images(*(plot(draw, of, f"{draw.__name__} {when}") for when, of in results.items()))
