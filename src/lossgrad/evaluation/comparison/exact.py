"""Quantiles of a comparison without bounds, from further passes over its rows."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison.results import QUANTILES, ComparisonResult
from lossgrad.evaluation.comparison.state import Comparison, spread_of
from lossgrad.evaluation.feed import Source
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import Parts, Scored
from lossgrad.evaluation.passes.groups import Groups, like_of
from lossgrad.evaluation.passes.probe import Look, Passing
from lossgrad.evaluation.passes.unsure import OfQuantiles

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
        self.part.add(found, weight, columns, self.labelled)


def _scored(
    groups: Groups,
    names: Sequence[str],
    found: PairStatistics,
    weight: Doubles | None,
    columns: dict[str, NDArray[Any]],
    labelled: bool | None,
) -> Scored:
    """What the distributions of these names are of, each in a group of its own."""
    some = spread_of(names, labelled)
    group = np.repeat([names.index(name) for name in some], len(found.kl))
    repeated = None if weight is None else np.tile(weight, len(some))
    values = np.concatenate([getattr(found, name) for name in some])
    return groups.scored(Scored(values, group, None, repeated), len(names), columns.__getitem__)


def exactly(result: ComparisonResult, of: Any, source: Source) -> ComparisonResult:
    """The result of a state of a source's rows; quantiles that are written out are exact."""
    if not result.terms:
        return result
    groups, like = Groups.of(result), like_of(of)
    options = {**like.options(), "figures": (), "worst": 0}
    names = [*result.distributions]
    scored, needs = partial(_scored, groups, names), groups.needs(like)

    def read(new: cells.New) -> list[Parts]:
        return source.add_to(PairProbe(scored, needs, new, **options)).part.result()

    found = groups.resolve(read, [_QUANTILES] * len(names))
    return groups.replaced(result, found, _known)


def _known(result: ComparisonResult, parts: list[Parts]) -> ComparisonResult:
    pairs = zip(result.distributions.items(), parts, strict=True)
    spreads = {name: _QUANTILES.known(spread, one) for (name, spread), one in pairs}
    return dataclasses.replace(result, distributions=spreads)
