"""Scores as they are, where a histogram's bins would leave a figure between bounds.

A score is taken for the whole number that its bits make in its order, and a cell is what begins
with some of those bits. The first pass counts what is in the cells of the first 16. Cells on which
a figure still depends are split by their next bits in further passes, or, once few rows are left in
them, listed score by score. The others stay what they are, so that memory is that of the cells that
matter and not that of the rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.histogram import Distribution
from lossgrad.evaluation.ranking import Ranked

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]
_SIGN = np.int64(-(1 << 63))
_BITS = 64  # of a key
_FIRST = 16  # bits of the first pass
_CELLS = 20  # bits of the number of cells that a pass splits others into, of all groups
_LISTED = 1 << 20  # rows that are listed in one pass


class Scored(NamedTuple):
    """Scores, none of them nan, each of a group; of a ranking, those of positives are marked.

    Where a term has several they are those of all terms in their order, and so on.
    """

    scores: Doubles
    group: Integers
    positive: Mask | None = None
    weight: Doubles | None = None
    summed: bool = False  # whether the sum of the scores, none of them negative, is wanted


class Parts(NamedTuple):
    """Cells of a group that have rows, by ascending keys, and what is in each.

    `left` is how many bits of the keys are not known: of 0 the cell is one number. `total` is the
    sum of the scores times their weights, where it is wanted.
    """

    keys: Keys
    left: Integers
    rows: Doubles
    positive: Doubles
    negative: Doubles
    total: Doubles

    @property
    def weight(self) -> Doubles:
        """That of all rows of a cell."""
        return self.positive + self.negative

    @property
    def lower(self) -> Doubles:
        """The least number of each cell."""
        return _number(self.keys, -np.inf)

    def ranked(self) -> Ranked:
        """The order of positives and negatives, from the highest cell on, taken as it is."""
        positive, negative = self.positive[np.newaxis, ::-1], self.negative[np.newaxis, ::-1]
        return Ranked(positive, negative, self.lower[::-1], exact=True)

    def distribution(self) -> Distribution:
        """How the scores are spread."""
        last = self.keys + ((np.uint64(1) << self.left.astype(np.uint64)) - np.uint64(1))
        return Distribution(self.weight, self.lower, _number(last, np.inf))


@dataclass(frozen=True)
class Level:
    """Cells that are looked into.

    Attributes
    ----------
    prefixes : tuple of ndarray of uint64
        For each group, in ascending order, what their keys begin with.
    left : int
        How many bits of the keys follow.
    more : int
        How many of those the cells are split by.
    """

    prefixes: tuple[Keys, ...]
    left: int
    more: int

    @property
    def starts(self) -> Integers:
        """The number of each group's first cell, and of all."""
        return np.concatenate([[0], np.cumsum([len(one) for one in self.prefixes])])

    def find(self, scored: Scored) -> tuple[Integers, Integers, Keys]:
        """The scores that are in the cells: which, in which cell, and their keys."""
        keys = _keys(scored.scores)
        cell, starts = np.full(len(keys), -1), self.starts
        for group, rows in _by_group(scored.group, len(self.prefixes)):
            if len(prefixes := self.prefixes[group]):
                prefix = keys[rows] >> np.uint64(self.left) if self.left < _BITS else 0 * keys[rows]
                at = np.minimum(np.searchsorted(prefixes, prefix), len(prefixes) - 1)
                cell[rows] = np.where(prefixes[at] == prefix, starts[group] + at, -1)
        counted = cell >= 0
        if scored.weight is not None:
            counted &= scored.weight > 0
        rows = np.flatnonzero(counted)
        return rows, cell[rows], keys[rows]


class Counter(Protocol):
    """What a pass finds in the cells of a level."""

    def add(self, scored: Scored) -> None:
        """Add scores."""

    def merge(self, other: Any) -> None:
        """Add what another of the same level has."""

    def result(self) -> list[Parts]:
        """For each group what is in its cells."""


class Split:
    """Rows and weights in the parts of cells."""

    def __init__(self, level: Level) -> None:
        self.level = level
        size = int(level.starts[-1]) << (level.more + 1)
        self._rows, self._weights = ExactSums(size), ExactSums(size)
        self._totals = ExactSums(size)

    def add(self, scored: Scored) -> None:
        """Add scores."""
        level = self.level
        rows, cell, keys = level.find(scored)
        part = (keys >> np.uint64(level.left - level.more)).astype(np.int64)
        part &= (1 << level.more) - 1
        at = ((cell << level.more) + part) << 1
        if scored.positive is not None:
            at += scored.positive[rows]
        self._rows.add(None, at)
        weight = None if scored.weight is None else scored.weight[rows]
        self._weights.add(weight, at)
        if scored.summed:
            total = scored.scores[rows] if weight is None else scored.scores[rows] * weight
            self._totals.add(total, at)

    def merge(self, other: "Split") -> None:
        """Add what another of the same level has."""
        self._rows.merge(other._rows)
        self._weights.merge(other._weights)
        self._totals.merge(other._totals)

    def result(self) -> list[Parts]:
        """For each group the parts that have rows."""
        level, shape = self.level, (-1, 1 << self.level.more, 2)
        sums = (self._rows, self._weights, self._totals)
        every, weights, totals = (one.values().reshape(shape) for one in sums)
        found = []
        for group, prefixes in enumerate(level.prefixes):
            own = slice(level.starts[group], level.starts[group + 1])
            cell, part = np.nonzero(every[own].any(axis=2))
            keys = (prefixes[cell] << np.uint64(level.more)) | part.astype(np.uint64)
            left = level.left - level.more
            negative, positive = weights[own][cell, part].T
            rows, total = (one[own][cell, part].sum(axis=1) for one in (every, totals))
            first, unknown = keys << np.uint64(left), np.full(len(keys), left)
            found.append(Parts(first, unknown, rows, positive, negative, total))
        return found


class Listed:
    """All scores of cells."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self._found: list[tuple[NDArray[Any], ...]] = []  # group, key, positive, weight

    def add(self, scored: Scored) -> None:
        """Add scores."""
        rows, _, keys = self.level.find(scored)
        positive = np.zeros(len(rows), bool) if scored.positive is None else scored.positive[rows]
        weight = np.ones(len(rows)) if scored.weight is None else scored.weight[rows]
        self._found.append((scored.group[rows], keys, positive, weight))

    def merge(self, other: "Listed") -> None:
        """Add what another of the same level has."""
        self._found += other._found

    def result(self) -> list[Parts]:
        """For each group its scores, as cells of one number."""
        group, *columns = (np.concatenate(one) for one in zip(*self._found, strict=True))
        found = [_of_scores(*(column[:0] for column in columns))] * len(self.level.prefixes)
        for at, rows in _by_group(group, len(found)):
            found[at] = _of_scores(*(column[rows] for column in columns))
        return found


def _by_group(group: Integers, groups: int) -> Iterator[tuple[int, Integers]]:
    """Each group that occurs, of so many, with its places."""
    order = np.argsort(group.astype(np.min_scalar_type(groups)), kind="stable")
    ends = np.searchsorted(group[order], np.arange(groups + 1))
    for one in np.flatnonzero(np.diff(ends)):
        yield int(one), order[ends[one] : ends[one + 1]]


def _of_scores(keys: Keys, positive: Mask, weight: Doubles) -> Parts:
    found, at = np.unique(keys, return_inverse=True)
    sums = ExactSums(2 * len(found))
    sums.add(weight, 2 * at + positive)
    negatives, positives = sums.values().reshape(-1, 2).T
    rows = np.bincount(at, minlength=len(found)).astype(np.float64)
    total = _number(found, np.nan) * (positives + negatives)
    return Parts(found, np.zeros(len(found), np.int64), rows, positives, negatives, total)


Unsure = Callable[[Parts], Mask]  # the cells of a group on which its figures still depend
New = Callable[[], Counter]


@arithmetic()
def resolve(read: Callable[[New], list[Parts]], unsure: Sequence[Unsure]) -> list[Parts]:
    """What is in the cells of each group when nothing depends on those that are not one number.

    Parameters
    ----------
    read : callable
        What a counter that it makes finds in one pass over the scores of all groups.
    unsure : sequence of callable
        For each group, which of its cells have to be looked into.
    """
    every = [np.zeros(1, np.uint64)] * len(unsure)
    found = read(partial(Split, Level(tuple(every), _BITS, _splits(len(unsure), _FIRST))))
    while True:
        masks = [of(one) & (one.left > 0) for of, one in zip(unsure, found, strict=True)]
        pairs = [*zip(found, masks, strict=True)]
        left = max(int(one.left[mask].max(initial=0)) for one, mask in pairs)
        if not left:
            return found
        masks = [mask & (one.left == left) for one, mask in pairs]
        inside = read(_looking(found, masks, left))
        found = [_replaced(*those) for those in zip(found, masks, inside, strict=True)]


def _splits(cells: int, most: int) -> int:
    """By how many bits so many cells are split."""
    return min(most, max(1, _CELLS - (cells - 1).bit_length()))


def _looking(found: Sequence[Parts], masks: Sequence[Mask], left: int) -> New:
    """A counter for some of the cells, whose keys have so many bits that are not known."""
    pairs = [*zip(found, masks, strict=True)]
    prefixes = tuple(one.keys[mask] >> np.uint64(left) for one, mask in pairs)
    if sum(float(one.rows[mask].sum()) for one, mask in pairs) <= _LISTED:
        return partial(Listed, Level(prefixes, left, left))
    return partial(Split, Level(prefixes, left, _splits(sum(map(len, prefixes)), left)))


def _replaced(found: Parts, mask: Mask, inside: Parts) -> Parts:
    """Cells with some of them replaced by what is in them."""
    if not mask.any():
        return found
    columns = [np.concatenate([a[~mask], b]) for a, b in zip(found, inside, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Parts(*(column[order] for column in columns))


def _keys(scores: Doubles) -> Keys:
    """Whole numbers in the order of the scores; 0 and -0 are one."""
    bits = (scores + 0.0).view(np.int64)
    return np.where(bits < 0, ~bits, bits ^ _SIGN).view(np.uint64)


def _number(keys: Keys, nan: float) -> Doubles:
    """The scores that keys are of; beyond infinity there is another end."""
    bits = keys.view(np.int64)
    found = np.where(bits < 0, bits ^ _SIGN, ~bits).view(np.float64)
    return np.where(np.isnan(found), nan, found)
