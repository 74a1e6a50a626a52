"""Passes that find the figures of each group of rows in the same reads as those of all rows."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.grouped import Grouped
from lossgrad.evaluation.keys import Key, Numbers, checked_keys, distinct
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import Parts, Scored, Unsure

R = TypeVar("R")
_COLUMN = "groups"


@dataclass(frozen=True)
class Groups:
    """The groups of rows that a result has figures of; of a result without groups there are none.

    A score counts among those of all rows, and once more among those of its group of rows: with
    n groups of scores, those of all rows are the first n, those of each group the n that follow.
    """

    keys: tuple[Key, ...]

    @classmethod
    def of(cls, result: Any) -> "Groups":
        """Those that have rows."""
        return cls(tuple(key for key, one in result.groups.items() if one.terms))

    def needs(self, like: Any) -> tuple[str, ...]:
        """Columns that the rows of states like this one have."""
        own = (name for part in like._parts.values() for name in part.needs)
        return (*own, *[_COLUMN] * bool(self.keys))

    def scored(self, scored: Scored, count: int, column: Callable[[str], NDArray[Any]]) -> Scored:
        """All of the scores, which are in `count` groups, twice; `column` has that of each term."""
        if not self.keys:
            return scored
        found, which = distinct(checked_keys(column(_COLUMN), _COLUMN))
        own = 1 + Numbers(self.keys).of(found, _COLUMN)[which]
        group = [scored.group, scored.group + count * np.resize(own, len(scored.group))]
        return scored._replace(
            scores=np.tile(scored.scores, 2),
            group=np.concatenate(group),
            positive=None if scored.positive is None else np.tile(scored.positive, 2),
            weight=None if scored.weight is None else np.tile(scored.weight, 2),
        )

    def resolve(
        self, read: Callable[[cells.New], list[Parts]], unsure: Sequence[Unsure]
    ) -> Iterator[list[Parts]]:
        """As `cells.resolve`: what is in the cells of all rows, then those of each group."""
        each = len(unsure)
        found = cells.resolve(read, [*unsure] * (1 + len(self.keys)))
        return (found[start : start + each] for start in range(0, len(found), each))

    def replaced(self, result: R, found: Iterator[Any], change: Callable[[R, Any], R]) -> R:
        """A result that is changed by what was found, and so is each of its groups."""
        of_all: Any = change(result, next(found))
        groups = {key: change(of_all.groups[key], next(found)) for key in self.keys}
        return dataclasses.replace(of_all, groups={**of_all.groups, **groups})


def like_of(state: Any) -> Any:
    """The state whose options all groups have."""
    return state.like if isinstance(state, Grouped) else state
