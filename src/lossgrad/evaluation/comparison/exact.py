"""Quantiles of a comparison without bounds, from further passes over its rows."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison.results import QUANTILES, ComparisonResult
from lossgrad.evaluation.comparison.state import SPREAD, Comparison
from lossgrad.evaluation.feed import Source
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import OfQuantiles, Parts, Scored
from lossgrad.evaluation.passes.probe import Look, Passing

Doubles = NDArray[np.float64]


class PairProbe(Passing, Comparison):
    """A comparison that looks at its rows, and counts nothing else."""

    def __init__(self, needs: tuple[str, ...], new: cells.New, **options: Any) -> None:
        super().__init__(**options)
        self._new, self._options = (needs, new), options
        self.part = Look(_scored, needs, new)
        self._parts: Any = {"probe": self.part}

    def empty(self) -> "PairProbe":
        """Another of the same options, without any rows."""
        return PairProbe(*self._new, **self._options)

    def add(
        self, found: PairStatistics, weight: Doubles | None, columns: dict[str, NDArray[Any]]
    ) -> None:
        """Add rows that are defined."""
        self.part.add(found, weight, bool(self.labelled))


def _scored(found: PairStatistics, weight: Doubles | None, labelled: bool) -> Scored:
    """What the distributions are of, each in a group of its own."""
    values = [getattr(found, name) for name in SPREAD[: 1 + labelled]]
    group = np.repeat(np.arange(len(values)), len(found.kl))
    repeated = None if weight is None else np.tile(weight, len(values))
    return Scored(np.concatenate(values), group, None, repeated)


def exactly(result: ComparisonResult, of: Any, source: Source) -> ComparisonResult:
    """The result of a state of a source's rows; quantiles that are written out are exact."""
    options = {**of.options(), "figures": (), "worst": 0}
    needs = tuple(name for part in of._parts.values() for name in part.needs)

    def read(new: cells.New) -> list[Parts]:
        return source.add_to(PairProbe(needs, new, **options)).part.result()

    if not result.terms:
        return result
    quantiles = OfQuantiles(QUANTILES)
    found = cells.resolve(read, [quantiles] * len(SPREAD))
    spreads = {
        name: quantiles.known(result.distributions[name], parts)
        for name, parts in zip(SPREAD, found, strict=True)
    }
    return dataclasses.replace(result, distributions=spreads)
