"""The page of a comparison: two models side by side."""

from collections.abc import Sequence

from lossgrad.evaluation.comparison import ComparisonResult, Pair
from lossgrad.evaluation.comparison.figures import (
    divergences,
    estimate,
    further,
    percent,
    quantile,
)
from lossgrad.evaluation.comparison.results import QUANTILES
from lossgrad.evaluation.comparison.state import spread_of
from lossgrad.evaluation.report import plots, spreads
from lossgrad.evaluation.report.body import Body, body, groups, names_of
from lossgrad.evaluation.report.elements import facts, images, note, section, table


@body.register
def _(result: ComparisonResult, top_k: Sequence[int], class_names: Sequence[str] | None) -> Body:
    names = names_of(result.classes, class_names)
    sections = [
        _models(result),
        section("Divergence", facts([*divergences(result), *further(result)])),
        groups(result),
        section("By rows", _spreads(result), _quantiles(result)),
        section("Who is right", *_right(result)),
        section("Rows of largest divergence", _worst(result, names)),
    ]
    return Body(f"Comparison of two models on {result.rows} rows", sections)


def _models(result: ComparisonResult) -> str:
    """What needs labels, side by side."""
    if not result.labelled:
        return note(
            "Without targets: what the models say of each other, not which of them is right."
        )
    rows = [
        (
            "loss, nats",
            estimate(result.base_loss),
            estimate(result.other_loss),
            estimate(result.loss_difference),
        ),
        (
            "perplexity",
            f"{result.base_perplexity:.6g}",
            f"{result.other_perplexity:.6g}",
            f"\N{MULTIPLICATION SIGN} {estimate(result.perplexity_ratio)}",
        ),
        (
            "accuracy",
            percent(result.base_accuracy),
            percent(result.other_accuracy),
            percent(result.accuracy_difference),
        ),
    ]
    said = "Differences are the other's less the base's, with standard errors of paired rows."
    return table(["", "base", "other", "difference"], rows) + note(said)


def _spreads(result: ComparisonResult) -> str:
    drawn = [spreads.divergence] if spreads.shown(result.distributions["kl"]).any() else []
    drawn += [spreads.difference] if result.labelled and result.weight else []
    return images(*(plots.plot(draw, result, f"rows by {draw.__name__}") for draw in drawn))


def _quantiles(result: ComparisonResult) -> str:
    if not result.weight:
        return ""
    columns = {
        "kl": "KL",
        "loss_difference": "loss difference",
        "kl_reverse": "reverse KL",
        "js": "JS",
        "base_loss": "base's loss",
        "other_loss": "other's loss",
    }
    shown = spread_of([*result.distributions], result.labelled)
    rows = [[f"{100 * q:g} %", *(quantile(result, name, q) for name in shown)] for q in QUANTILES]
    return table(["part of the rows", *(f"{columns[name]}, nats, at most" for name in shown)], rows)


def _right(result: ComparisonResult) -> list[str]:
    """McNemar's table and what it says, and where the other's loss is smaller."""
    if not result.labelled:
        return []
    cells = {
        "base right": (result.both_right, result.base_right),
        "base wrong": (result.other_right, result.none_right),
    }
    rows = [
        [name, *(f"{one}  ({100 * one / max(result.terms, 1):.2f} %)" for one in pair)]
        for name, pair in cells.items()
    ]
    p = f"p = {result.mcnemar:.3g}" if result.base_right + result.other_right else "no difference"
    by_rows = f"{result.wins} smaller, {result.ties} equal, {result.losses} larger"
    lines = [
        ("McNemar", p),
        ("other's loss", f"{by_rows} than the base's"),
        ("correlation", f"{result.correlation:.6f} of the losses"),
    ]
    return [table(["", "other right", "other wrong"], rows), facts(lines)]


def _worst(result: ComparisonResult, names: Sequence[str]) -> str:
    """The rows of largest divergence, if any were remembered."""

    def cells(row: Pair) -> list[str]:
        found = [row.source, str(row.row), f"{row.kl:.4g}", names[row.base_predicted]]
        found.append(names[row.other_predicted])
        if result.labelled:
            found += [names[row.label], f"{row.base_loss:.4g}", f"{row.other_loss:.4g}"]
        return found

    head = ["file", "row", "KL", "base's choice", "other's choice"]
    head += ["label", "base's loss", "other's loss"] if result.labelled else []
    return table(head, [*map(cells, result.worst)], (0, 3, 4, 5), sortable=True)
