"""The figures of a comparison as texts."""

import math
from collections.abc import Sequence

from lossgrad.evaluation.comparison.results import ComparisonResult, Estimate
from lossgrad.evaluation.figures import figures, group_table, worst_first
from lossgrad.evaluation.results import error_of


@figures.register
def _(result: ComparisonResult, top_k: Sequence[int] = ()) -> list[tuple[str, str]]:
    return [*divergences(result), *_of_labels(result), *further(result)]


def divergences(result: ComparisonResult) -> list[tuple[str, str]]:
    """What needs no labels."""
    lines = [
        ("rows", f"{result.rows}" + (f"  ({result.ignored} ignored)" if result.ignored else "")),
        ("classes", f"{result.classes}"),
        ("KL", f"{estimate(result.kl)} nats  (reverse {estimate(result.kl_reverse)})"),
        ("JS", f"{estimate(result.js)} nats"),
        ("KL by rows", _spread(result, "kl")),
        ("same choice", percent(result.agreement)),
    ]
    if result.top_k > 1:
        lines.append((f"same top {result.top_k}", percent(result.overlap)))
    return lines


def further(result: ComparisonResult) -> list[tuple[str, str]]:
    """What was asked for, and what was left out."""
    lines = [line for found in result.figures.values() for line in found.lines()]
    if result.undefined:
        text = f"{result.undefined} rows without probabilities, left out (--strict names the first)"
        lines.append(("undefined", text))
    return lines


def _of_labels(result: ComparisonResult) -> list[tuple[str, str]]:
    if not result.labelled:
        return []
    ratio, p = result.perplexity_ratio, result.mcnemar
    one_right = f"{result.base_right} only base, {result.other_right} only other"
    return [
        ("loss", f"{estimate(result.base_loss)} base, {estimate(result.other_loss)} other, nats"),
        ("difference", f"{estimate(result.loss_difference)} nats, paired"),
        (
            "perplexity",
            f"{result.base_perplexity:.6g} base, {result.other_perplexity:.6g} other, "
            f"ratio {estimate(ratio)}",
        ),
        ("correlation", f"{result.correlation:.6f} of the losses"),
        ("by rows", f"{result.wins} better, {result.ties} equal, {result.losses} worse"),
        (
            "accuracy",
            f"{percent(result.base_accuracy)} base, {percent(result.other_accuracy)} other, "
            f"difference {percent(result.accuracy_difference)}",
        ),
        ("right", f"{one_right}" + ("" if math.isnan(p) else f"  (McNemar p = {p:.3g})")),
    ]


@group_table.register
def _(result: ComparisonResult) -> tuple[list[str], list[list[str]]]:
    """By divergence."""
    worst = worst_first(result.groups, lambda one: one.kl.value)
    rows = [
        [
            str(key),
            f"{one.terms}",
            f"{one.kl.value:.4g}",
            error_of(one.kl.error),
            f"{100 * one.agreement.value:.2f} %",
            *([f"{one.loss_difference.value:.4g}", error_of(one.loss_difference.error)]),
            f"{100 * one.accuracy_difference.value:.2f} %",
        ]
        for key, one in worst
    ]
    head = ["group", "rows", "KL", "", "same choice", "loss difference", "", "accuracy difference"]
    if result.labelled:
        return head, rows
    return head[:5], [row[:5] for row in rows]


def estimate(of: Estimate) -> str:
    """A mean and its standard error."""
    return f"{of.value:.6g} {error_of(of.error)}".rstrip()


def percent(of: Estimate) -> str:
    """The same of a part."""
    return f"{100 * of.value:.2f} {error_of(100 * of.error)}".rstrip() + " %"


def quantile(result: ComparisonResult, name: str, q: float) -> str:
    """Of a figure over the rows; of what cannot be told from 0, the bound."""
    found = result.quantile(name, q)
    return f"< {found.upper:.2g}" if found.lower == 0 < found.upper else f"{found.value:.4g}"


def _spread(result: ComparisonResult, name: str) -> str:
    quantiles = ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"), (1.0, "largest"))
    return ", ".join(f"{text} {quantile(result, name, q)}" for q, text in quantiles)
