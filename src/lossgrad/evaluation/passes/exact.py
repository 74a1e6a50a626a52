"""Figures of a ranking that are exact, from as many passes as it takes.

A score is taken for the whole number that its bits make in its order, and a cell is what begins
with some of those bits. The first pass counts positives and negatives in the cells of the first 16;
a cell that has both is split by its next bits in the next pass, the others are done, and so are
cells of one number. Few cells are left after 30 bits or so, unless scores are equal, so that memory
is that of the cells which had both and not that of the rows.

AUROC and false positive rates need no more than that. Precision is not the same for all positives
between two negatives, which are not told apart: its mean keeps bounds.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.environment import arithmetic
from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.feed import add_all
from lossgrad.evaluation.histogram import Bounded
from lossgrad.evaluation.parts.ranking import Ranking, RankingPart, Ranks
from lossgrad.evaluation.passes.probe import Probe
from lossgrad.evaluation.ranking import Ranked, over_groups
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen
from lossgrad.evaluation.state import Evaluation

Doubles = NDArray[np.float64]
Keys = NDArray[np.uint64]
_SIGN = np.int64(-(1 << 63))
_BITS = 64  # of a key
_FIRST = 16  # bits of the first pass
_CELLS = 20  # bits of the number of cells that a pass splits others into


class Part(NamedTuple):
    """Parts of cells that have rows: keys, and weights of positives and negatives."""

    keys: Keys
    positive: Doubles
    negative: Doubles


class Scored(NamedTuple):
    """Scores of terms, each of a group (a label, or the last for all of them)."""

    scores: NDArray[Any]
    positive: NDArray[np.bool_]
    group: NDArray[np.int64]
    weight: Doubles | None


@dataclass(frozen=True)
class Level:
    """Cells that are to be split.

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

    @classmethod
    def of(cls, prefixes: list[Keys], left: int) -> "Level":
        """With as many bits as there is room for."""
        cells = max(1, sum(map(len, prefixes)))
        more = min(left, max(1, _CELLS - (cells - 1).bit_length()))
        return cls(tuple(prefixes), left, more)

    @property
    def starts(self) -> NDArray[np.int64]:
        """The number of each group's first cell, and of all."""
        return np.concatenate([[0], np.cumsum([len(one) for one in self.prefixes])])


class Cells:
    """Weights of negatives and positives in the parts of the cells of a level."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, level: Level) -> None:
        self.level = level
        self._sums = ExactSums(int(level.starts[-1]) << (level.more + 1))

    def add(self, seen: Seen) -> None:
        """Add terms."""
        scored = _scored(seen)
        keys, level = _keys(scored.scores), self.level
        prefix = keys >> np.uint64(level.left) if level.left < _BITS else np.zeros_like(keys)
        cell = np.full(len(keys), -1)
        for group, prefixes in enumerate(level.prefixes):
            rows = np.flatnonzero(scored.group == group)
            if len(prefixes) and len(rows):
                at = np.minimum(np.searchsorted(prefixes, prefix[rows]), len(prefixes) - 1)
                found = prefixes[at] == prefix[rows]
                cell[rows[found]] = level.starts[group] + at[found]
        rows = np.flatnonzero(cell >= 0)
        part = (keys[rows] >> np.uint64(level.left - level.more)).astype(np.int64)
        part &= (1 << level.more) - 1
        at = (((cell[rows] << level.more) + part) << 1) + scored.positive[rows]
        self._sums.add(None if scored.weight is None else scored.weight[rows], at)

    def merge(self, other: "Cells") -> None:
        """Add what another of the same level has."""
        self._sums.merge(other._sums)

    def result(self) -> list[Part]:
        """For each group the keys of parts that have rows, and their positives and negatives."""
        level = self.level
        weights = self._sums.values().reshape(-1, 1 << level.more, 2)
        found = []
        for group, prefixes in enumerate(level.prefixes):
            own = weights[level.starts[group] : level.starts[group + 1]]
            cell, part = np.nonzero(own.any(axis=2))
            keys = (prefixes[cell] << np.uint64(level.more)) | part.astype(np.uint64)
            negative, positive = own[cell, part].T
            found.append(Part(keys, positive, negative))
        return found


def exact_ranking(
    logits: Any, targets: Any = None, *, task: Task = "multiclass", **how: Any
) -> Ranking:
    """The figures of `figures=["ranking"]`, exact by reading the rows several times.

    Parameters
    ----------
    logits, targets, task
        As in `evaluate`.
    **how
        `axis`, `ignore_index`, `sample_weight`, `strict`, `logits_key`, `targets_key`,
        `num_threads`, `block_bytes` and `progress`, as in `evaluate`.

    Returns
    -------
    Ranking
        `auroc` and `fpr95` are exact: their bounds are equal. `average_precision` has bounds.

    Examples
    --------
    >>> import lossgrad
    >>> found = lossgrad.exact_ranking([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], task="binary")
    >>> found.micro.auroc
    Bounded(value=0.75, lower=0.75, upper=0.75)
    """
    if hasattr(logits, "__next__"):
        raise TypeError("logits can be read once only: give arrays, files or a list of pairs")
    given = {"logits": logits, "targets": targets, "sample_weight": how.pop("sample_weight", None)}
    keys = {name: how.pop(f"{name}_key", None) for name in ("logits", "targets")}
    options: dict[str, Any] = {"task": task, "ignore_index": how.pop("ignore_index", -100)}
    options |= {"bins": 1, "confusion_limit": 0}

    def read(state: Any) -> Any:
        add_all(state, given, keys, **{"axis": LAST_AXIS, **how})
        return state

    def split(level: Level) -> list[Part]:
        found: list[Part] = read(Probe(partial(Cells, level), **options)).part.result()
        return found

    classes = read(Evaluation(**options)).classes
    return RankingPart(task).result() if classes is None else _ranking(split, classes)


@arithmetic()
def _ranking(read: Callable[[Level], list[Part]], classes: int) -> Ranking:
    """Of the parts of cells that each pass finds."""
    groups = classes + 1  # the last is of all together
    level = Level((np.zeros(1, np.uint64),) * groups, _BITS, _FIRST)
    done: list[list[Part]] = [[] for _ in range(groups)]
    while any(map(len, level.prefixes)):
        left, following = level.left - level.more, []
        for group, part in enumerate(read(level)):
            mixed = (part.positive > 0) & (part.negative > 0) & (left > 0)
            following.append(part.keys[mixed])
            whole = part.keys[~mixed] << np.uint64(left)
            done[group].append(Part(whole, part.positive[~mixed], part.negative[~mixed]))
        level = Level.of(following, left)
    *labels, together = map(_ranked, done)
    per_class = Ranks(*map(_stacked, zip(*map(_ranks, labels), strict=True)))
    return Ranking(
        per_class=per_class,
        macro=Ranks(*map(over_groups, per_class)),
        micro=Ranks(*(figure.item() for figure in _ranks(together))),
        roc=together.roc(),
    )


def _ranked(parts: list[Part]) -> Ranked:
    """From the highest key on."""
    keys, positive, negative = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(keys)[::-1]
    rows = positive[np.newaxis, order], negative[np.newaxis, order]
    return Ranked(*rows, threshold=_number(keys[order]), exact=True)


def _ranks(ranked: Ranked) -> Ranks:
    """In a cell of positives alone, precision has bounds."""
    bounded = dataclasses.replace(ranked, exact=False)
    return Ranks.of(ranked)._replace(average_precision=bounded.average_precision())


def _stacked(figures: tuple[Bounded, ...]) -> Bounded:
    """Of several labels, each an array of one number."""
    return Bounded(*map(np.concatenate, zip(*figures, strict=True)))


def _scored(seen: Seen) -> Scored:
    """The score of each term and label, in the group of its label and in that of all."""
    classes = seen.rows.logits.shape[1]
    if seen.rows.task == "binary":
        scores = seen.rows.logits.reshape(-1)[seen.term].astype(np.float64)
        group, positive, weight = seen.label, seen.right > 0.5, seen.weight
    else:
        scores = seen.probabilities.reshape(-1)
        group = np.tile(np.arange(classes), len(seen.term))
        positive = group == np.repeat(seen.label, classes)
        weight = None if seen.weight is None else np.repeat(seen.weight, classes)
    twice = None if weight is None else np.tile(weight, 2)
    groups = np.concatenate([group, np.full(len(group), classes)])
    return Scored(np.tile(scores, 2), np.tile(positive, 2), groups, twice)


def _keys(scores: Doubles) -> Keys:
    """Whole numbers in the order of the scores; 0 and -0 are one."""
    bits = (scores + 0.0).view(np.int64)
    return np.where(bits < 0, ~bits, bits ^ _SIGN).view(np.uint64)


def _number(keys: Keys) -> Doubles:
    """The least score of a cell that begins with a key."""
    bits = keys.view(np.int64)
    found = np.where(bits < 0, bits ^ _SIGN, ~bits).view(np.float64)
    return np.where(np.isnan(found), -np.inf, found)
