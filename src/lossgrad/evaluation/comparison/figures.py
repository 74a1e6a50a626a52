"""The figures of a comparison as texts."""

import math
from collections.abc import Sequence

from lossgrad.evaluation.comparison.results import ComparisonResult, Estimate
from lossgrad.evaluation.figures import figures, group_table
from lossgrad.evaluation.results import error_of


@figures.register
def _(result: ComparisonResult, top_k: Sequence[int] = ()) -> list[tuple[str, str]]:
    lines = [
        ("rows", f"{result.rows}" + (f"  ({result.ignored} ignored)" if result.ignored else "")),
        ("classes", f"{result.classes}"),
        ("KL", f"{_text(result.kl)} nats  (reverse {_text(result.kl_reverse)})"),
        ("JS", f"{_text(result.js)} nats"),
        ("KL by rows", _spread(result, "kl")),
        ("same choice", _percent(result.agreement)),
    ]
    if result.top_k > 1:
        lines.append((f"same top {result.top_k}", _percent(result.overlap)))
    if result.labelled:
        lines += _of_labels(result)
    lines += [line for found in result.figures.values() for line in found.lines()]
    if result.undefined:
        text = f"{result.undefined} rows without probabilities, left out (--strict names the first)"
        lines.append(("undefined", text))
    return lines


def _of_labels(result: ComparisonResult) -> list[tuple[str, str]]:
    ratio, p = result.perplexity_ratio, result.mcnemar
    one_right = f"{result.base_right} only base, {result.other_right} only other"
    return [
        ("loss", f"{_text(result.base_loss)} base, {_text(result.other_loss)} other, nats"),
        ("difference", f"{_text(result.loss_difference)} nats, paired"),
        (
            "perplexity",
            f"{result.base_perplexity:.6g} base, {result.other_perplexity:.6g} other, "
            f"ratio {_text(ratio)}",
        ),
        ("correlation", f"{result.correlation:.6f} of the losses"),
        ("by rows", f"{result.wins} better, {result.ties} equal, {result.losses} worse"),
        (
            "accuracy",
            f"{_percent(result.base_accuracy)} base, {_percent(result.other_accuracy)} other, "
            f"difference {_percent(result.accuracy_difference)}",
        ),
        ("right", f"{one_right}" + ("" if math.isnan(p) else f"  (McNemar p = {p:.3g})")),
    ]


@group_table.register
def _(result: ComparisonResult) -> tuple[list[str], list[list[str]]]:
    """By divergence."""
    worst = sorted(result.groups.items(), key=lambda group: -group[1].kl.value)
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


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.6g} {error_of(estimate.error)}".rstrip()


def _percent(estimate: Estimate) -> str:
    percent = Estimate(100 * estimate.value, 100 * estimate.error)
    return f"{percent.value:.2f} {error_of(percent.error)}".rstrip() + " %"


def _spread(result: ComparisonResult, name: str) -> str:
    quantiles = ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"), (1.0, "largest"))
    return ", ".join(f"{text} {result.quantile(name, q).value:.4g}" for q, text in quantiles)
