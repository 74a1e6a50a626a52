"""A state for each group of rows, and with that one for all: merging is exact.

It works with any kind of state, since it knows no more of one than `states.State` says.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad.evaluation import frame
from lossgrad.evaluation.keys import Key, checked_keys, distinct
from lossgrad.evaluation.problems import InputError
from lossgrad.evaluation.reading import LOGITS, Reading
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Block
from lossgrad.evaluation.states import Saved, kind, restore

MAGIC = b"lossgrad-grouped\n"
_MOST = 1 << 16


@kind(MAGIC)
class Grouped(Saved):
    """States of equal options, one for each group of rows.

    Parameters
    ----------
    like : Evaluation or Comparison
        An empty state of the options that all have.

    Examples
    --------
    >>> import lossgrad
    >>> from lossgrad.evaluation import Grouped
    >>> state = Grouped(lossgrad.Evaluation())
    >>> state.update([[2.0, 0.0], [0.0, 1.0]], [0, 0], groups=["north", "south"])
    >>> result = state.result()
    >>> result.accuracy, result.groups["north"].accuracy, result.groups["south"].accuracy
    (0.5, 1.0, 0.0)
    """

    what = "a grouped evaluation"

    def __init__(self, like: Any) -> None:
        self.like: Any = like.empty()  # its options are those of all
        self._of: dict[Key, Any] = {}

    @property
    def task(self) -> Task:
        """The task of all."""
        task: Task = self.like.task
        return task

    @property
    def ignore_index(self) -> int:
        """The label of what is left out."""
        label: int = self.like.ignore_index
        return label

    @property
    def classes(self) -> int | None:
        """Classes; not known before the first rows."""
        return next((state.classes for state in self._of.values()), None)

    @property
    def rows(self) -> int:
        """The rows seen so far."""
        return sum(state.rows for state in self._of.values())

    def options(self) -> dict[str, Any]:
        """Those of each state: merging needs them to agree."""
        return {"grouped": self.like.options()}

    def empty(self) -> "Grouped":
        """Another of the same options, without any rows."""
        return Grouped(self.like)

    def update(
        self,
        *arrays: ArrayLike | None,
        groups: ArrayLike,
        reading: Reading = LOGITS,
        strict: bool = False,
        source: str = "",
        first_row: int | None = None,
        **columns: ArrayLike,
    ) -> None:
        """Add rows, each to its group; `arrays` and the rest as `update` of the states has them."""
        given = {
            **dict(zip(self.like.positional, arrays, strict=False)),
            "groups": groups,
            **columns,
        }
        self._take(given, reading, first_row, strict=strict, source=source)

    def share(self, stopped: Callable[[], bool] = bool) -> "GroupedShare":
        """What one thread adds to; `stopped` says when to give up."""
        return GroupedShare(self, stopped)

    def merge(self, other: "Grouped") -> None:
        """Add the totals of another of the same options and classes."""
        if (mine := self.classes) is not None and other.classes not in (None, mine):
            raise ValueError(f"{other.classes} classes do not merge with {mine}")
        for key, state in other._of.items():
            self.state_of(key).merge(state)

    def state_of(self, key: Key) -> Any:
        """The state of a group, a new one if there is none."""
        if key not in self._of:
            first = next(iter(self._of), key)
            if isinstance(first, str) != isinstance(key, str):
                problem = f"{key!r} after {first!r}: whole numbers or texts are possible, not both"
                raise InputError("groups", problem)
            if len(self._of) == _MOST:
                problem = f"more than {_MOST} of them: for rows that belong together use clusters"
                raise InputError("groups", problem)
            self._of[key] = self.like.empty()
        return self._of[key]

    def renumber(self, number: Callable[[int], int]) -> None:
        """Give the worst rows other numbers, in the same order."""
        for state in self._of.values():
            state.renumber(number)

    def result(self) -> Any:
        """The figures of all rows; in `groups` those of each group."""
        total = self.like.empty()
        for key in sorted(self._of):
            total.merge(self._of[key])
        groups = {key: self._of[key].result() for key in sorted(self._of)}
        return dataclasses.replace(total.result(), groups=groups)

    def to_bytes(self) -> bytes:
        """The whole state: in a frame of its own those of the groups, in the order of the keys."""
        keys = sorted(self._of)
        states = [state.to_bytes() for state in (self.like, *map(self._of.__getitem__, keys))]
        header = {"groups": keys, "bytes": [len(state) for state in states]}
        return frame.pack(MAGIC, header, b"".join(states))

    @classmethod
    def _restored(cls, header: dict[str, Any], rest: memoryview) -> "Grouped":
        states = []
        for size in header["bytes"]:
            states.append(restore(bytes(rest[:size])))
            rest = rest[size:]
        grouped = cls(states[0])
        for key, state in zip(header["groups"], states[1:], strict=True):
            grouped.state_of(key).merge(state)
        return grouped


class GroupedShare:
    """A share of the state of each group."""

    def __init__(self, of: Grouped, stopped: Callable[[], bool]) -> None:
        self._state, self.like, self._stopped = of.empty(), of.like, stopped
        self._of: dict[Key, Any] = {}

    def add(
        self,
        block: Block,
        *,
        strict: bool = False,
        source: str = "",
        number: Callable[[int], int] = int,
    ) -> None:
        """Add the rows of a block, each to its group."""
        block = {use: array for use, array in block.items() if array is not None}
        if "groups" not in block:
            raise InputError("logits", "each row needs its group (groups)")
        groups = checked_keys(block.pop("groups"), "groups")
        arrays = {use: np.asarray(array) for use, array in block.items()}
        if groups.shape != (shape := arrays["logits"].shape[:-1]):
            raise InputError("groups", f"shape {groups.shape} where {shape} is needed")
        flat = {
            use: array.reshape(-1, *array.shape[groups.ndim :]) for use, array in arrays.items()
        }
        try:
            for key, rows in _rows_of_groups(groups.reshape(-1)):
                part = {use: array[rows] for use, array in flat.items()}
                called = _numbers(rows, number)
                self._share_of(key).add(part, strict=strict, source=source, number=called)
        except InputError:
            self.like.share().add(block, strict=strict, source=source)  # the first problem of all
            raise

    def _share_of(self, key: Key) -> Any:
        if key not in self._of:
            self._of[key] = self._state.state_of(key).share(self._stopped)
        return self._of[key]

    def state(self) -> Grouped:
        """All that was added. Nothing can be added any more."""
        for key, share in self._of.items():
            self._state.state_of(key).merge(share.state())
        return self._state


def _rows_of_groups(keys: NDArray[Any]) -> Iterator[tuple[Key, Any]]:
    """Each key with its rows: a slice where they are neighbours, else their indices."""
    found, which = distinct(keys)
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(found) + 1))
    for key, start, end in zip(found, ends[:-1], ends[1:], strict=True):
        rows = order[start:end]
        first, last = int(rows[0]), int(rows[-1])
        yield key, slice(first, last + 1) if last - first == end - start - 1 else rows


def _numbers(rows: Any, number: Callable[[int], int]) -> Callable[[int], int]:
    """What the rows of a part are called: as those of the block."""
    if isinstance(rows, slice):
        return lambda row: number(rows.start + row)
    return lambda row: number(int(rows[row]))
