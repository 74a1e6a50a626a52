"""The page of conformal sets: how often they have the label, and how large they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lossgrad.evaluation.passes.conformal import ConformalSets
from lossgrad.evaluation.report.body import Body, body, names_of
from lossgrad.evaluation.report.elements import facts, images, note, section, table
from lossgrad.evaluation.report.plots import BLUE, RED, legend_above, plot

_LISTED = 100  # classes, or sizes


@body.register
def _(result: ConformalSets, top_k: Sequence[int], class_names: Sequence[str] | None) -> Body:
    names = names_of(len(result.class_rows), class_names)
    draws = (sizes, coverages) if result.rows else ()
    drawn = [plot(draw, result, f"plot of {draw.__name__}") for draw in draws]
    sections = [
        facts([*result.threshold.lines(), *result.lines()]),
        section("Sets", images(*drawn)),
        section("Sizes", _sizes(result)),
        section("Classes of lowest coverage", *_classes(result, names)),
    ]
    return Body(f"Conformal sets of {result.rows} rows", sections)


def sizes(axes: Any, result: ConformalSets) -> None:
    """Rows by the size of their set."""
    last = int(np.flatnonzero(result.sizes)[-1])
    axes.bar(np.arange(last + 1), result.sizes[: last + 1], 0.9, color=BLUE)
    axes.axvline(result.mean_size, color=RED, linewidth=1, label="mean")
    legend_above(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="classes in the set of a row", ylabel="rows", title="Sizes of sets")


def coverages(axes: Any, result: ConformalSets) -> None:
    """The coverage of each class that has rows, the lowest first."""
    each = np.sort(result.class_coverage[result.class_rows > 0])
    axes.plot(np.arange(1, len(each) + 1), each, ".", color=BLUE)
    axes.axhline(result.threshold.coverage, color=RED, linewidth=1, label="asked for, on average")
    axes.legend(frameon=False, loc="lower right")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(
        ylim=(-0.02, 1.02),
        xlabel="classes, those of least coverage first",
        ylabel="part of the rows whose set has the label",
        title="Coverage by class",
    )


def _sizes(result: ConformalSets) -> str:
    some = np.flatnonzero(result.sizes)
    upto = np.cumsum(result.sizes)
    rows = [
        [f"{k}", f"{result.sizes[k]}", *(f"{100 * n / result.rows:.2f} %" for n in both)]
        for k, both in ((k, (result.sizes[k], upto[k])) for k in some[:_LISTED])
    ]
    rest = len(some) - _LISTED
    more = note(f"and {rest} more, which are larger") if rest > 0 else ""
    return table(["classes", "rows", "of all", "up to here"], rows) + more


def _classes(result: ConformalSets, names: Sequence[str]) -> list[str]:
    """Coverage is asked for on average over all rows, and may be less of one class."""
    order = np.argsort(result.class_coverage, kind="stable")
    order = order[result.class_rows[order] > 0]
    rows = [
        [names[c], f"{result.class_rows[c]}", f"{100 * result.class_coverage[c]:.2f} %"]
        for c in order[:_LISTED]
    ]
    rest = len(order) - _LISTED
    more = note(f"and {rest} more, of higher coverage") if rest > 0 else ""
    return [table(["class", "rows", "coverage"], rows, (0,), sortable=True), more]
