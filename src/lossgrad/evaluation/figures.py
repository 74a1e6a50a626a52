"""The figures of a result as texts, for the terminal and for the report."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from lossgrad.evaluation import tallies
from lossgrad.evaluation.results import Result, error_of


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
    of = "" if result.task == "multiclass" else "labels "
    ignored = f"  ({result.ignored} {of}ignored)" if result.ignored else ""
    lines = [
        ("rows", f"{result.rows}{ignored}"),
        ("classes" if result.task == "multiclass" else "labels", f"{result.classes}"),
        *tallies.lines(result, top_k),
    ]
    lines += [line for found in result.figures.values() for line in found.lines()]
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
    terms = "rows" if result.task == "multiclass" else "labels"
    return ["group", terms, "loss", "", "accuracy", "macro F1", "calibration"], rows


def worst_first(groups: dict[Any, Any], figure: Callable[[Any], float]) -> list[tuple[Any, Any]]:
    """Groups with their results, those of the largest figure first; nan is the smallest."""

    def badness(group: tuple[Any, Any]) -> float:
        found = figure(group[1])
        return -math.inf if math.isnan(found) else found

    return sorted(groups.items(), key=badness, reverse=True)


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
