"""From what a caller has (arrays, files, pairs, dask arrays) to the rows that a state takes."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import numpy as np

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad._kernels.threads import checked, get_num_threads
from lossgrad.evaluation.given import as_arrays, class_names
from lossgrad.evaluation.probabilities import Input
from lossgrad.evaluation.reading import Reading
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.shard import Shard, rows_of
from lossgrad.evaluation.shards import FileShards, find_logits, find_shards
from lossgrad.evaluation.states import State
from lossgrad.evaluation.walk import walk

Progress = Callable[[int, int], object]
S = TypeVar("S", bound=State)
_PAIR = ("logits", "targets", "sample_weight")


class How(TypedDict, total=False):
    """How rows are read, as in `evaluate`: what all functions of rows take."""

    axis: int
    strict: bool
    input: Input
    class_names: Sequence[str] | None
    num_threads: int | None
    block_bytes: int | None
    progress: Progress | None
    dask: str | None


class HowPair(How, total=False):
    """The same of logits and targets."""

    logits_key: str | None
    targets_key: str | None


@dataclass(frozen=True)
class Source:
    """Rows that states are added up from, in as many passes as it takes.

    Attributes
    ----------
    shards : iterable of Shard
        Their shapes are checked, where they are known.
    rows : int, optional
        Those of all shards, if that is known.
    lazy : tuple of dict and Reading, optional
        Dask arrays, and what they hold: there are no shards then.
    axis, strict, num_threads, block_bytes, progress, dask
        As in `evaluate`.
    """

    shards: Iterable[Shard]
    rows: int | None = None
    lazy: tuple[dict[str, Any], Reading] | None = None
    axis: int = LAST_AXIS
    strict: bool = False
    num_threads: int | None = None
    block_bytes: int | None = None
    progress: Progress | None = None
    dask: str | None = None

    def __post_init__(self) -> None:
        if self.dask is not None and not isinstance(self.shards, FileShards):
            raise TypeError("dask is the address of a cluster that reads files; these are none")

    def add_to(self, state: S) -> S:
        """Add all rows to a state, in one pass: the state itself."""
        how: Any = {"axis": self.axis, "strict": self.strict}
        if self.lazy is not None:
            from lossgrad.evaluation.dask import add_arrays

            add_arrays(state, *self.lazy, **how)
        elif self.dask is not None:
            from lossgrad.evaluation.dask import add_files

            assert isinstance(self.shards, FileShards)
            add_files(state, self.shards, self.dask, after_piece=self._counted(), **how)
        else:
            given = self.num_threads
            walk(
                state,
                self.shards,
                threads=get_num_threads() if given is None else checked(given),
                block_bytes=self.block_bytes,
                after_block=self._counted(),
                **how,
            )
        return state

    def _counted(self) -> Callable[..., None]:
        done = 0

        def after_block(more: int, *_: object) -> None:
            nonlocal done
            done += more
            if self.progress is not None:
                self.progress(done, done if self.rows is None else self.rows)

        return after_block


def source(
    given: dict[str, Any],
    keys: dict[str, str | None],
    task: Task,
    *,
    input: Input = "logits",
    class_names: Sequence[str] | None = None,
    again: bool = False,
    axis: int = LAST_AXIS,
    **how: Any,
) -> Source:
    """What a caller gives, as rows.

    Parameters
    ----------
    given : dict
        By what they are for, as `Shard` has them: arrays, or names of files; or as "logits" alone
        an iterable of blocks, which are pairs, triples with sample weights, or dicts.
    keys : dict
        The names of arrays in files, by what they are for; where it has no "targets", rows have
        none.
    task, input, class_names, axis, **how
        As in `evaluate`.
    again : bool
        Whether they are read more than once: what cannot be is a TypeError.
    """
    given = {use: one for use, one in given.items() if one is not None}
    if again and hasattr(given["logits"], "__next__"):
        raise TypeError("logits can be read once only: give arrays, files or a list of pairs")
    reading = Reading(class_names, input)
    if any(type(one).__module__.startswith("dask.array") for one in given.values()):
        return Source((), lazy=(given, reading), axis=axis, **how)
    finder = _Finder(task, axis, reading)
    return Source(*finder.shards(given, keys), axis=axis, **how)


def pair(
    logits: Any,
    targets: Any,
    task: Task = "multiclass",
    *,
    sample_weight: Any = None,
    logits_key: str | None = None,
    targets_key: str | None = None,
    **how: Any,
) -> Source:
    """Logits and targets for several passes; `how` as `source` takes it."""
    given = {"logits": logits, "targets": targets, "sample_weight": sample_weight}
    return source(given, {"logits": logits_key, "targets": targets_key}, task, again=True, **how)


@dataclass(frozen=True)
class _Finder:
    """Finds the shards in what is given."""

    task: Task
    axis: int
    reading: Reading

    def shards(
        self, given: dict[str, Any], keys: dict[str, str | None]
    ) -> tuple[Iterable[Shard], int | None]:
        """The shards, and the rows of all of them if that is known."""
        logits = given["logits"]
        paths = {use: one for use, one in given.items() if is_path(one, is_path(logits))}
        if paths:
            beside = {use: one for use, one in given.items() if use not in paths}
            arrays = as_arrays(beside, self.axis)
            alone = "targets" not in keys
            found = find_logits(logits, keys) if alone else find_shards(paths, keys, arrays)
            found.reading = self.reading.of_table(class_names(logits))
            return found, found.check_shapes(self.task, self.axis)
        if "targets" in keys and not given.keys() & {"targets", "other"}:
            if len(given) > 1:
                raise ValueError(f"put {' and '.join(given.keys() - {'logits'})} into the pairs")
            if isinstance(logits, np.ndarray):
                raise TypeError("targets is missing")
            return _Blocks(logits, self), None
        shard = self.shard(given)
        return [shard], self.rows_of(shard, look=True)

    def shard(self, given: dict[str, Any], first_row: int = 0) -> Shard:
        """A shard of arrays."""
        reading = self.reading.of_table(class_names(given["logits"]))
        return Shard(as_arrays(given, self.axis), first_row=first_row, reading=reading)

    def rows_of(self, shard: Shard, look: bool) -> int:
        """Its rows; and whether they are logits, if that is to be looked at."""
        oriented = shard.oriented(self.task, self.axis)
        if look:
            oriented.look(self.task)
        return rows_of(oriented)


class _Blocks:
    """Shards of the blocks that a caller gives one after another, in each pass anew."""

    def __init__(self, blocks: Iterable[Any], finder: _Finder) -> None:
        self._blocks, self._finder = blocks, finder
        self._new = True  # whether nobody has looked at the first yet

    def __iter__(self) -> Iterator[Shard]:
        row = 0
        for block in self._blocks:
            if not isinstance(block, dict):
                if not 2 <= len(block) <= 3:
                    raise TypeError(f"an item of {len(block)} where (logits, targets) was expected")
                block = dict(zip(_PAIR, block, strict=False))
            shard = self._finder.shard(block, row)
            yield shard
            row += self._finder.rows_of(shard, self._new)
            self._new = False


def is_path(given: Any, texts: bool = True) -> bool:
    """Whether it names a file or files; a list of texts may also be one of labels or groups."""
    kinds = (str, os.PathLike)
    if isinstance(given, (list, tuple)):
        return bool(given) and all(isinstance(one, kinds[0 if texts else 1 :]) for one in given)
    return isinstance(given, kinds)
