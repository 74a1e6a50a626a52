"""The figures of a result as texts, for the terminal and for the report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossgrad.evaluation.results import Result


@dataclass(frozen=True)
class Speed:
    """Of the rows that this run has read."""

    seconds: float
    rows: int
    bytes: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def gigabytes_per_second(self) -> float:
        return self.bytes / self.seconds / 1e9


def figures(result: Result, speed: Speed | None, top_k: Sequence[int]) -> list[tuple[str, str]]:
    """Names and texts of the figures."""
    multiclass = result.task == "multiclass"
    error = "" if math.isnan(result.loss_error) else f" \N{PLUS-MINUS SIGN} {result.loss_error:.2g}"
    left_out = f"{result.ignored} ignored" if multiclass else f"{result.ignored} labels ignored"
    lines = [
        ("rows", f"{result.rows}" + (f"  ({left_out})" if result.ignored else "")),
        ("classes" if multiclass else "labels", f"{result.classes}"),
        ("loss", f"{result.loss:.6g}{error} nats  ({result.loss_bits:.6g} bits)"),
    ]
    if multiclass:
        lines.append(("perplexity", f"{result.perplexity:.6g}"))
    lines.append(
        ("accuracy", f"{100 * result.accuracy:.2f} %  ({result.correct} of {result.terms})")
    )
    if multiclass:
        lines += [(f"top {k}", f"{100 * result.top_k(k):.2f} %") for k in top_k]
    macro, weighted = result.macro.f1, result.weighted.f1
    lines += [
        ("F1", f"{macro:.4f} macro, {weighted:.4f} weighted"),
        ("Brier", f"{result.brier:.6g}"),
        ("calibration", f"{result.ece:.4f} expected, {result.mce:.4f} maximum error"),
        ("entropy", f"{result.entropy:.6g} nats"),
    ]
    lines += [line for found in result.figures.values() for line in found.lines()]
    if result.infinite:
        lines.append(("infinite", f"{result.infinite} of {result.terms} losses"))
    if result.undefined:
        lines.append(
            ("undefined", f"{result.undefined} losses are nan, left out (--strict names the first)")
        )
    if speed is not None:
        rate = f"{si(speed.rows_per_second)} rows/s"
        lines.append(("speed", f"{rate}  ({speed.gigabytes_per_second:.3g} GB/s)"))
    return lines


def worst_classes(result: Result) -> list[int]:
    """The classes that have rows, from the lowest F1 on."""
    order = np.lexsort((np.arange(result.classes), result.f1))
    return [int(c) for c in order if result.support[c] > 0]


def si(value: float) -> str:
    """Three digits with k, M or G."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
