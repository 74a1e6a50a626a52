"""Quantiles of a comparison without bounds, from further passes over its rows."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison.results import QUANTILES, ComparisonResult
from lossgrad.evaluation.comparison.state import SPREAD, Comparison
from lossgrad.evaluation.feed import Source
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import OfQuantiles, Parts, Scored
from lossgrad.evaluation.passes.groups import Groups, like_of
from lossgrad.evaluation.passes.probe import Look, Passing

Doubles = NDArray[np.float64]
_QUANTILES = OfQuantiles(QUANTILES)


class PairProbe(Passing, Comparison):
    """A comparison that looks at its rows, and counts nothing else."""

    def __init__(self, scored: Any, needs: tuple[str, ...], new: cells.New, **options: Any) -> None:
        super().__init__(**options)
        self._new, self._options = (scored, needs, new), options
        self.part = Look(*self._new)
        self._parts: Any = {"probe": self.part}

    def empty(self) -> "PairProbe":
        """Another of the same options, without any rows."""
        return PairProbe(*self._new, **self._options)

    def add(
        self, found: PairStatistics, weight: Doubles | None, columns: dict[str, NDArray[Any]]
    ) -> None:
        """Add rows that are defined."""
        self.part.add(found, weight, columns, SPREAD[: 1 + bool(self.labelled)])


def _scored(
    groups: Groups,
    found: PairStatistics,
    weight: Doubles | None,
    columns: dict[str, NDArray[Any]],
    names: Sequence[str],
) -> Scored:
    """What the distributions are of, each in a group of its own."""
    values = [getattr(found, name) for name in names]
    group = np.repeat(np.arange(len(values)), len(found.kl))
    repeated = None if weight is None else np.tile(weight, len(values))
    scored = Scored(np.concatenate(values), group, None, repeated)
    return groups.scored(scored, len(SPREAD), columns.__getitem__)


def exactly(result: ComparisonResult, of: Any, source: Source) -> ComparisonResult:
    """The result of a state of a source's rows; quantiles that are written out are exact."""
    if not result.terms:
        return result
    groups, like = Groups.of(result), like_of(of)
    options = {**like.options(), "figures": (), "worst": 0}
    scored, needs = partial(_scored, groups), groups.needs(like)

    def read(new: cells.New) -> list[Parts]:
        return source.add_to(PairProbe(scored, needs, new, **options)).part.result()

    found = groups.resolve(read, [_QUANTILES] * len(SPREAD))
    return groups.replaced(result, found, _known)


def _known(result: ComparisonResult, parts: list[Parts]) -> ComparisonResult:
    spreads = {
        name: _QUANTILES.known(result.distributions[name], one)
        for name, one in zip(SPREAD, parts, strict=True)
    }
    return dataclasses.replace(result, distributions=spreads)
