"""From what a caller has (arrays, files, pairs, dask arrays) to the rows that a state takes."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad._kernels.threads import checked, get_num_threads
from lossgrad.evaluation.given import as_arrays, class_names
from lossgrad.evaluation.reading import LOGITS, Reading
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.shard import Shard, rows_of
from lossgrad.evaluation.shards import find_logits, find_shards
from lossgrad.evaluation.states import State
from lossgrad.evaluation.walk import walk

Progress = Callable[[int, int], object]
_PAIR = ("logits", "targets", "sample_weight")


def add_all(
    state: State,
    given: dict[str, Any],
    keys: dict[str, str | None],
    reading: Reading = LOGITS,
    *,
    axis: int = LAST_AXIS,
    strict: bool = False,
    num_threads: int | None = None,
    block_bytes: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Add all rows to a state.

    Parameters
    ----------
    state : State
    given : dict
        By what they are for, as `Shard` has them: arrays, or names of files; or as "logits" alone
        an iterable of blocks, which are pairs, triples with sample weights, or dicts.
    keys : dict
        The names of arrays in files, by what they are for; where it has no "targets", rows have
        none.
    reading : Reading
        What the arrays hold.
    axis, strict, num_threads, block_bytes, progress
        As in `evaluate`.
    """
    given = {use: one for use, one in given.items() if one is not None}
    threads = get_num_threads() if num_threads is None else checked(num_threads)
    if any(map(is_dask, given.values())):
        from lossgrad.evaluation.dask import add_arrays

        add_arrays(state, given, reading, axis=axis, strict=strict)
        return
    shards, rows = _shards(given, keys, state.task, axis, reading)
    done = 0

    def after_block(more: int, *_: object) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, done if rows is None else rows)

    walk(
        state,
        shards,
        axis=axis,
        strict=strict,
        threads=threads,
        block_bytes=block_bytes,
        after_block=after_block,
    )


def _shards(
    given: dict[str, Any], keys: dict[str, str | None], task: Task, axis: int, reading: Reading
) -> tuple[Iterable[Shard], int | None]:
    """The shards, and the rows of all of them if that is known."""
    logits = given["logits"]
    paths = {use: one for use, one in given.items() if is_path(one, is_path(logits))}
    if paths:
        arrays = as_arrays({use: one for use, one in given.items() if use not in paths}, axis)
        alone = "targets" not in keys
        found = find_logits(logits, keys) if alone else find_shards(paths, keys, arrays)
        found.reading = reading.of_table(class_names(logits))
        return found, found.check_shapes(task, axis)
    if "targets" in keys and not given.keys() & {"targets", "other"}:
        if len(given) > 1:
            raise ValueError(f"put {' and '.join(given.keys() - {'logits'})} into the pairs")
        if isinstance(logits, np.ndarray):
            raise TypeError("targets is missing")
        return _blocks(logits, task, axis, reading), None
    shard = _shard(given, axis, reading)
    oriented = shard.oriented(task, axis)
    oriented.look(task)
    return [shard], rows_of(oriented)


def _shard(given: dict[str, Any], axis: int, reading: Reading, first_row: int = 0) -> Shard:
    """A shard of arrays."""
    reading = reading.of_table(class_names(given["logits"]))
    return Shard(as_arrays(given, axis), first_row=first_row, reading=reading)


def _blocks(blocks: Iterable[Any], task: Task, axis: int, reading: Reading) -> Iterator[Shard]:
    row = 0
    for block in blocks:
        if not isinstance(block, dict):
            if not 2 <= len(block) <= 3:
                raise TypeError(f"an item of {len(block)} where (logits, targets) was expected")
            block = dict(zip(_PAIR, block, strict=False))
        shard = _shard(block, axis, reading, row)
        yield shard
        oriented = shard.oriented(task, axis)
        if row == 0:
            oriented.look(task)
        row += rows_of(oriented)


def is_dask(given: Any) -> bool:
    """Whether it is a dask array, without importing dask."""
    return type(given).__module__.startswith("dask.array")


def is_path(given: Any, texts: bool = True) -> bool:
    """Whether it names a file or files; a list of texts may also be one of labels or groups."""
    kinds = (str, os.PathLike)
    if isinstance(given, (list, tuple)):
        return bool(given) and all(isinstance(one, kinds[0 if texts else 1 :]) for one in given)
    return isinstance(given, kinds)
