"""Figures of an evaluation without bounds, from further passes over its rows (see `cells`)."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.calibration import equal_mass_error
from lossgrad.evaluation.feed import Source
from lossgrad.evaluation.histogram import Bounded
from lossgrad.evaluation.parts import Figures
from lossgrad.evaluation.parts.calibration import BINS, Calibration
from lossgrad.evaluation.parts.quantiles import AT, FIGURES, Quantiles, of_terms
from lossgrad.evaluation.parts.ranking import Ranking, Ranks
from lossgrad.evaluation.parts.selection import Selection, sureness
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import Parts, Scored, Unsure
from lossgrad.evaluation.passes.groups import Groups, like_of
from lossgrad.evaluation.passes.probe import Look, Probe
from lossgrad.evaluation.passes.unsure import OfQuantiles, of_equal_mass, of_ranking, of_risk
from lossgrad.evaluation.ranking import over_groups
from lossgrad.evaluation.results import Result
from lossgrad.evaluation.seen import Seen


class Exact(Protocol):
    """How a figure comes from scores."""

    def unsure(self, classes: int) -> list[Unsure]:
        """For each group of scores, the cells on which the figure still depends."""

    def scored(self, seen: Seen) -> Scored:
        """The scores of terms, in the same groups."""

    def figures(self, parts: list[Parts], rough: Any) -> Figures:
        """The figure, once no cell is unsure; `rough` is the one that has bounds."""


class ExactRanking:
    """Scores of each label or class, and of all of them together in the last group."""

    def unsure(self, classes: int) -> list[Unsure]:
        """For each group of scores, the cells on which the figure still depends."""
        return [of_ranking] * (classes + 1)

    def scored(self, seen: Seen) -> Scored:
        """The scores of terms, in the same groups."""
        classes = seen.rows.logits.shape[1]
        if seen.rows.task == "binary":
            scores = seen.rows.logits.reshape(-1)[seen.term].astype(np.float64)
            group, positive, weight = seen.label, seen.right > 0.5, seen.weight
        else:
            scores = seen.probabilities.T.reshape(-1)
            group = np.repeat(np.arange(classes), len(seen.term))
            positive = group == np.tile(seen.label, classes)
            weight = None if seen.weight is None else np.tile(seen.weight, classes)
        groups = np.concatenate([group, np.full(len(group), classes)])
        twice = None if weight is None else np.tile(weight, 2)
        return Scored(np.tile(scores, 2), groups, np.tile(positive, 2), twice)

    def figures(self, parts: list[Parts], rough: Ranking) -> Ranking:
        """The figure, once no cell is unsure."""
        *labels, together = (one.ranked() for one in parts)
        each = zip(*map(Ranks.of, labels), strict=True)
        per_class = Ranks(*(Bounded(*map(np.concatenate, zip(*one, strict=True))) for one in each))
        return Ranking(
            per_class=per_class,
            macro=Ranks(*map(over_groups, per_class)),
            micro=Ranks(*(figure.item() for figure in Ranks.of(together))),
            roc=together.roc(),
        )


class ExactSelection:
    """Confidence, of terms that are right (positive) or wrong."""

    def unsure(self, classes: int) -> list[Unsure]:
        """For each group of scores, the cells on which the figure still depends."""
        return [of_risk]

    def scored(self, seen: Seen) -> Scored:
        """The scores of terms, in the same groups."""
        return Scored(sureness(seen), np.zeros(len(seen.term), np.int64), seen.correct, seen.weight)

    def figures(self, parts: list[Parts], rough: Selection) -> Selection:
        """The figure, once no cell is unsure."""
        return Selection.of(parts[0].ranked())


class ExactQuantiles:
    """Each figure of a term, in a group of its own."""

    def unsure(self, classes: int) -> list[Unsure]:
        """For each group of scores, the cells on which the figure still depends."""
        return [OfQuantiles(AT)] * len(FIGURES)

    def scored(self, seen: Seen) -> Scored:
        """The scores of terms, in the same groups."""
        values = [getattr(seen, name) for name in of_terms(seen.rows.task)]
        group = np.repeat(np.arange(len(values)), len(seen.term))
        weight = None if seen.weight is None else np.tile(seen.weight, len(values))
        return Scored(np.concatenate(values), group, None, weight)

    def figures(self, parts: list[Parts], rough: Quantiles) -> Quantiles:
        """The figure, once no cell is unsure."""
        spreads = (getattr(rough, name) for name in FIGURES)
        return Quantiles(*map(OfQuantiles(AT).known, spreads, parts))


class ExactCalibration:
    """Confidence: as much of a term as came true is positive, the rest is not."""

    def unsure(self, classes: int) -> list[Unsure]:
        """For each group of scores, the cells on which the figure still depends."""
        return [partial(of_equal_mass, BINS)]

    def scored(self, seen: Seen) -> Scored:
        """The scores of terms, in the same groups."""
        terms = len(seen.term)
        weights = [seen.weighted(seen.right), seen.weighted(1.0 - seen.right)]
        return Scored(
            np.tile(seen.confidence, 2),
            np.zeros(2 * terms, np.int64),
            np.repeat([True, False], terms),
            np.concatenate(weights),
            summed=True,
        )

    def figures(self, parts: list[Parts], rough: Calibration) -> Calibration:
        """The figure, once no cell is unsure."""
        (one,) = parts
        error = equal_mass_error(one.positive, one.negative, 3 * [one.total], BINS)
        return dataclasses.replace(rough, equal_mass=error)


EXACT: dict[str, Exact] = {
    "ranking": ExactRanking(),
    "selection": ExactSelection(),
    "quantiles": ExactQuantiles(),
    "calibration": ExactCalibration(),
}


def check_exact(state: Any) -> None:
    """Raise a ValueError if the figures of a state cannot be exact."""
    if state.rows:
        raise ValueError("exact figures are of the rows that are given: the state has others")


@arithmetic()
def exactly(result: Result, of: Any, source: Source) -> Result:
    """The result of a state of a source's rows, with the figures that can be exact."""
    if not result.terms:
        return result
    groups, like = Groups.of(result), like_of(of)
    options = {**like.options(), "figures": (), "bins": 1, "confusion_limit": 0, "worst": 0}
    needs = groups.needs(like)
    for name in result.figures.keys() & EXACT.keys():
        exact = EXACT[name]
        unsure = exact.unsure(result.classes)
        look = partial(Look, partial(_scored, exact, groups, len(unsure)), needs)
        found = groups.resolve(partial(_read, source, look, options), unsure)
        result = groups.replaced(result, found, partial(_with, name))
    return result


def _scored(exact: Exact, groups: Groups, count: int, seen: Seen) -> Scored:
    return groups.scored(exact.scored(seen), count, seen.column)


def _read(
    source: Source, look: Callable[[cells.New], Look], options: dict[str, Any], new: cells.New
) -> list[Parts]:
    """What a counter finds in one pass."""
    return source.add_to(Probe(partial(look, new), **options)).part.result()


def _with(name: str, result: Result, parts: list[Parts]) -> Result:
    """A result with an exact figure."""
    figure = EXACT[name].figures(parts, result.figures[name])
    return dataclasses.replace(result, figures={**result.figures, name: figure})
