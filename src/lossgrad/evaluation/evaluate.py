"""`lossgrad.evaluate`: one call for arrays, memory maps, pairs, files, shards and dask arrays."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad._kernels.threads import checked, get_num_threads
from lossgrad.evaluation.results import Result, Task
from lossgrad.evaluation.shard import Shard, rows_of
from lossgrad.evaluation.shards import find_shards
from lossgrad.evaluation.state import Evaluation
from lossgrad.evaluation.walk import walk

Progress = Callable[[int, int], object]


def evaluate(
    logits: Any,
    targets: Any = None,
    *,
    task: Task = "multiclass",
    axis: int = LAST_AXIS,
    ignore_index: int = -100,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    bins: int = 15,
    threshold: float = 0.5,
    confusion_limit: int = 256,
    worst: int = 0,
    strict: bool = False,
    logits_key: str | None = None,
    targets_key: str | None = None,
    num_threads: int | None = None,
    block_bytes: int | None = None,
    progress: Progress | None = None,
    state: Evaluation | None = None,
) -> Result:
    """Evaluate logits against targets in one pass over both.

    Parameters
    ----------
    logits : array_like, path, list of paths, dask array, or iterable of pairs
        Two dimensions or more, one of which is that of the classes; one dimension will do for
        the binary task. Memory maps, open HDF5 data sets and zarr arrays are read in blocks and
        never as a whole. A path may be a glob pattern, whose files are taken in the order of the
        numbers in their names.
        Without `targets`: a file that holds both, or an iterable of ``(logits, targets)`` or
        ``(logits, targets, sample_weight)`` blocks.
    targets : array_like, path, list of paths or dask array, optional
        "multiclass": integer labels, of the logits' shape without `axis`. "binary": numbers
        between 0 and 1, of the logits' shape.
    task, ignore_index, weight, label_smoothing, bins, threshold, confusion_limit, worst
        As in `Evaluation`.
    axis : int
        The axis of the classes, or of a row's labels.
    sample_weight : array_like, optional
        A finite weight >= 0 for each row, for arrays; of the binary task also for each logit.
    strict : bool
        A row whose loss is nan is an error, not counted as undefined and left out.
    logits_key, targets_key : str, optional
        The name in files that hold several arrays or columns; by default "logits" and "targets".
    num_threads : int, optional
        Blocks that are measured at the same time, by default `get_num_threads`. The result does
        not depend on it.
    block_bytes : int, optional
        Bytes of logits to read at a time, by default 8 MiB; of arrays in memory, to look at
        between two calls of `progress`, by default 32 MiB. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` after each block; of an iterable, `rows` are those
        that it has given so far.
    state : Evaluation, optional
        Totals to add to, in place; it brings its own options.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        Shapes, types or values that cannot be evaluated, with the first bad row.
    FileError
        The same about a file, and files that cannot be read.
    ImportError
        A format's library is missing; the message names the extra to install.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> result = lossgrad.evaluate(np.eye(3) * 5, [0, 1, 1])
    >>> result.accuracy, round(result.loss, 6), result.top_k(2)
    (0.6666666666666666, 1.680053, 0.6666666666666666)
    """
    if state is None:
        state = Evaluation(
            task,
            ignore_index=ignore_index,
            weight=weight,
            label_smoothing=label_smoothing,
            bins=bins,
            threshold=threshold,
            confusion_limit=confusion_limit,
            worst=worst,
        )
    threads = get_num_threads() if num_threads is None else checked(num_threads)
    if is_dask(logits) or is_dask(targets):
        from lossgrad.evaluation.dask import add_arrays

        add_arrays(state, logits, targets, sample_weight, axis=axis, strict=strict)
        return state.result()
    shards, rows = _shards(
        logits, targets, sample_weight, (logits_key, targets_key), state.task, axis
    )
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
    return state.result()


def _shards(
    logits: Any,
    targets: Any,
    sample_weight: Any,
    keys: tuple[str | None, str | None],
    task: Task,
    axis: int,
) -> tuple[Iterable[Shard], int | None]:
    """The shards, and the rows of all of them if that is known."""
    if _is_path(logits):
        if sample_weight is not None:
            raise ValueError("sample_weight is for arrays, not for files")
        if targets is not None and not _is_path(targets):
            raise TypeError(f"targets is a {type(targets).__name__} where logits is a path")
        found = find_shards(logits, targets, *keys)
        return found, found.check_shapes(task, axis)
    if targets is None:
        if sample_weight is not None:
            raise ValueError("put the sample weights into the pairs")
        if isinstance(logits, np.ndarray):
            raise TypeError("targets is missing")
        return _pairs(logits, task, axis), None
    shard = Shard.of(logits, targets, sample_weight, axis=axis)
    return [shard], rows_of(shard.oriented(task, axis))


def _pairs(pairs: Iterable[Any], task: Task, axis: int) -> Iterator[Shard]:
    row = 0
    for pair in pairs:
        if not 2 <= len(pair) <= 3:
            raise TypeError(f"an item of {len(pair)} where (logits, targets) was expected")
        shard = Shard.of(*pair, axis=axis, first_row=row)
        yield shard
        row += rows_of(shard.oriented(task, axis))


def is_dask(given: Any) -> bool:
    """Whether it is a dask array, without importing dask."""
    return type(given).__module__.startswith("dask.array")


def _is_path(given: Any) -> bool:
    if isinstance(given, (list, tuple)):
        return bool(given) and all(isinstance(one, (str, os.PathLike)) for one in given)
    return isinstance(given, (str, os.PathLike))
