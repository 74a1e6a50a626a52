"""The same evaluation on dask: each piece of the rows gives a state, and a tree merges the states.

States are exact, so the cluster's result has the bytes of a single process, also where a piece is
computed twice because its worker died.
"""

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import numpy as np

from lossgrad._core.extras import need
from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.given import as_arrays
from lossgrad.evaluation.problems import FileError, InputError
from lossgrad.evaluation.reading import Reading
from lossgrad.evaluation.shard import WIDE, Shard
from lossgrad.evaluation.shards import FileShards
from lossgrad.evaluation.states import State
from lossgrad.evaluation.walk import walk

_FAN_IN = 8
_PIECE_BYTES = 256 << 20  # of logits for one task


def add_arrays(
    state: State, given: dict[str, Any], reading: Reading, *, axis: int, strict: bool
) -> None:
    """Add dask arrays, on the scheduler that dask is set to (a distributed client, if one is)."""
    array, dask = need("dask.array", "dask", "a dask array"), need("dask", "dask", "a dask array")
    arrays = {
        use: one if isinstance(one, array.Array) else array.from_array(one, chunks=-1)
        for use, one in as_arrays(given, axis).items()
    }
    if any(math.isnan(size) for one in arrays.values() for size in one.shape):
        raise InputError("logits", "chunks of unknown size: call compute_chunk_sizes() first")
    shapes = {use: _Shape(one) for use, one in arrays.items()}
    Shard(shapes).oriented(state.task, axis)
    logits = arrays["logits"]
    for use, one in arrays.items():
        if one.ndim == logits.ndim > 1:
            arrays[use] = array.moveaxis(one, axis, -1)
        elif use in WIDE[state.task]:
            arrays[use] = one[..., None] if one.ndim < max(2, logits.ndim) else one
    logits = arrays["logits"].rechunk({-1: -1})
    batch = logits.chunks[:-1]
    blocks = {
        use: one.rechunk((*batch, *one.shape[len(batch) :])).to_delayed().ravel()
        for use, one in arrays.items()
    }
    one = dask.delayed(_state_of_block, pure=False)
    empty, shape = state.empty(), logits.shape[:-1]
    pieces = [
        one(empty, dict(zip(blocks, block, strict=True)), reading, start, shape, strict)
        for start, *block in zip(_starts(batch), *blocks.values(), strict=True)
    ]
    state.merge(_tree(dask.delayed(_merged), pieces, empty).compute())


class _Shape:
    """Stands in for a dask array where shapes are checked."""

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim


def _starts(chunks: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The index of the first row of each chunk, in C order."""
    edges = [np.concatenate([[0], np.cumsum(sizes)[:-1]]) for sizes in chunks]
    grid = np.meshgrid(*edges, indexing="ij")
    return [tuple(map(int, start)) for start in zip(*(one.ravel() for one in grid), strict=True)]


def _state_of_block(
    empty: State,
    block: dict[str, Any],
    reading: Reading,
    start: tuple[int, ...],
    shape: tuple[int, ...],
    strict: bool,
) -> State:
    state = empty.empty()
    shard = Shard(as_arrays(block, LAST_AXIS), first_row=0, reading=reading)
    try:
        walk(state, [shard], strict=strict)
    except InputError as error:
        row = error.row
        if row is not None:
            row = tuple(a + b for a, b in zip(row, start, strict=True))
        raise type(error)(error.source, error.problem, row) from None
    inside = shard.logits.shape[:-1]

    def number(row: int) -> int:
        place = np.add(np.unravel_index(row, inside), start)
        return int(np.ravel_multi_index(tuple(place), shape))

    state.renumber(number)
    return state


def add_files(
    state: State,
    shards: FileShards,
    address: str,
    *,
    axis: int,
    strict: bool,
    after_piece: Callable[[int], object],
) -> None:
    """Add files on the cluster of a scheduler; its workers open the files by the same names.

    `after_piece` is called with the rows of each piece that is done.

    Raises
    ------
    FileError
        As in one process; or the scheduler at `address` cannot be reached, or fails.
    """
    distributed = need("distributed", "dask", "--dask")
    dask = need("dask", "dask", "--dask")
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise FileError(address, f"no scheduler of dask answers: {error}") from None
    shards.open_from_here()
    with client:
        _check_workers(client, address)
        one = dask.delayed(_state_of_rows, pure=False)
        empty = state.empty()
        pieces, rows = [], []
        for number in range(len(shards)):
            for start, stop, inside in _pieces(shards, number, axis, state):
                pieces.append(one(empty, shards, number, start, stop, axis, strict))
                rows.append(inside)
        tree = _tree(dask.delayed(_merged), pieces, empty)
        total, *each = client.compute([tree, *pieces])
        rows_of = dict(zip((future.key for future in each), rows, strict=True))
        done = distributed.as_completed(each)
        del each  # what is merged takes no memory any more
        try:
            for future in done:
                if future.status != "finished":
                    break
                after_piece(rows_of[future.key])
            found = total.result()
        except (OSError, CancelledError, distributed.KilledWorker) as error:
            first_line, *_ = str(error).splitlines()
            raise FileError(address, f"the cluster gave up: {first_line}") from None
    state.merge(found)


def _check_workers(client: Any, address: str) -> None:
    """A worker that cannot import the package ends when a task comes, and all would wait for it."""
    found = client.run(importlib.import_module, __package__, on_error="return")
    for worker, answer in found.items():
        if isinstance(answer, ImportError):
            raise FileError(address, f"its worker {worker} cannot import lossgrad: {answer}")


def _pieces(
    shards: FileShards, number: int, axis: int, state: State
) -> Iterator[tuple[int, int, int]]:
    """Ranges along the first axis of the rows, and the rows of each."""
    logits = shards.open(number).oriented(state.task, axis).logits
    length, *batch, classes = logits.shape
    rows = math.prod(batch)  # of each index
    step = max(1, _PIECE_BYTES // (rows * classes * logits.dtype.itemsize))
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield start, stop, rows * (stop - start)


def _state_of_rows(
    empty: State, shards: FileShards, number: int, start: int, stop: int, axis: int, strict: bool
) -> State:
    state = empty.empty()
    walk(state, [shards.open(number)], axis=axis, strict=strict, rows=(start, stop))
    return state


# ---- states ----


def _merged(states: Sequence[State]) -> State:
    """A new one: should a worker die, those that were merged are merged again."""
    total = states[0].empty()
    for state in states:
        total.merge(state)
    return total


def _tree(merge: Any, pieces: list[Any], empty: State) -> Any:
    if not pieces:
        pieces = [empty]
    while True:
        groups = [pieces[k : k + _FAN_IN] for k in range(0, len(pieces), _FAN_IN)]
        pieces = [merge(group) for group in groups]
        if len(pieces) == 1:
            return pieces[0]
