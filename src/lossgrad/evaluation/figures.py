"""The figures of a result as texts, for the terminal and for the report."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

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

    def lines(self) -> list[tuple[str, str]]:
        """Its name and text."""
        rate = f"{si(self.rows_per_second)} rows/s"
        return [("speed", f"{rate}  ({self.gigabytes_per_second:.3g} GB/s)")]


@singledispatch
def figures(result: Any, top_k: Sequence[int] = ()) -> list[tuple[str, str]]:
    """Names and texts of the figures of a result, of whatever kind."""
    raise TypeError(f"{type(result).__name__} is no result")


@singledispatch
def group_table(result: Any) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table of the result's groups, the worst first."""
    raise TypeError(f"{type(result).__name__} is no result")


@figures.register
def _(result: Result, top_k: Sequence[int] = ()) -> list[tuple[str, str]]:
    multiclass = result.task == "multiclass"
    error = f" {error_of(result.loss_error)}".rstrip()
    lines = [
        ("rows", f"{result.rows}" + (f"  ({result.ignored} ignored)" if result.ignored else "")),
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
    if result.confusion is not None:
        beyond = f"{result.matthews_corrcoef:.4f} Matthews, {result.cohen_kappa:.4f} kappa"
        lines.append(("agreement", f"{beyond}, {result.balanced_accuracy:.4f} balanced accuracy"))
    if result.infinite:
        lines.append(("infinite", f"{result.infinite} of {result.terms} losses"))
    if result.undefined:
        lines.append(
            ("undefined", f"{result.undefined} losses are nan, left out (--strict names the first)")
        )
    return lines


@group_table.register
def _(result: Result) -> tuple[list[str], list[list[str]]]:
    """By loss."""
    worst = worst_first(result.groups, lambda one: one.loss)
    rows = [
        [
            str(key),
            f"{one.terms}",
            f"{one.loss:.5g}",
            error_of(one.loss_error),
            f"{100 * one.accuracy:.2f} %",
            f"{one.macro.f1:.4f}",
            f"{one.ece:.4f}",
        ]
        for key, one in worst
    ]
    return ["group", "rows", "loss", "", "accuracy", "macro F1", "calibration"], rows


def worst_first(groups: dict[Any, Any], figure: Callable[[Any], float]) -> list[tuple[Any, Any]]:
    """Groups with their results, those of the largest figure first; nan is the smallest."""

    def badness(group: tuple[Any, Any]) -> float:
        found = figure(group[1])
        return -math.inf if math.isnan(found) else found

    return sorted(groups.items(), key=badness, reverse=True)


def error_of(error: float) -> str:
    """A standard error, if there is one."""
    return "" if math.isnan(error) else f"\N{PLUS-MINUS SIGN} {error:.2g}"


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
