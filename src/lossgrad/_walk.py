"""The walk over logits and targets of any size, block by block, in constant memory.

A `Shard` is two arrays, or what can be sliced like them (an open data set of HDF5, say). Blocks are
measured in up to `threads` threads and added in their order, so that the first problem of the data
is the one that is reported, and `Position` says where to go on after an interruption.
"""

import contextlib
import math
import mmap
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad._problems import FileError, InputError
from lossgrad.evaluation import Block, Evaluation, Task

Index = tuple[int | slice, ...]
Shape = tuple[int, ...]
Work = tuple[Index, "Future[Block | None]"]

BLOCK_BYTES = 8 << 20
BLOCK_FIGURES = 1 << 17  # rows of a block, or labels of the binary task: some 200 bytes for each
_CHUNKS_BYTES = 64 << 20  # whole chunks of a compressed data set are read up to this size
_PAGES_BYTES = 64 << 20  # of a memory map that are kept in memory behind the walk


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Shard:
    """Logits and targets that belong together, and what to call them in errors."""

    logits: Any
    targets: Any
    sample_weight: Any = None
    source: str = ""
    names: dict[str, str] | None = None
    first_row: int | None = None
    check: Callable[[], None] = _nothing  # called before each block is used

    def blame(self, error: InputError, index: Index | None = None) -> Exception:
        """The error as one about the whole shard, and about its file if it has one."""
        row = error.row
        if row is not None and index is not None:
            row = _shift(row, index)
        error = type(error)(error.source, error.problem, row)
        return error if self.names is None else FileError(self.names[error.source], error.detail)

    def oriented(self, task: Task, axis: int) -> "Shard":
        """Check the shapes against each other, and move the class axis to the end (views)."""
        try:
            logits, targets = class_axis_last(self.logits, self.targets, task, axis)
        except InputError as error:
            raise self.blame(error) from None
        weight = self.sample_weight
        if weight is not None and weight.shape != logits.shape[:-1]:
            raise self.blame(
                InputError("sample_weight", f"shape {weight.shape}: {logits.shape[:-1]} is needed")
            )
        return replace(self, logits=logits, targets=targets)


class Position(NamedTuple):
    """Shards done, and blocks done of the one after them."""

    shard: int = 0
    block: int = 0


START = Position()


class Interrupted(Exception):
    """The walk was asked to stop; the state holds all that comes before `position`."""

    def __init__(self, position: Position) -> None:
        super().__init__(position)
        self.position = position


def walk(
    state: Evaluation,
    shards: Iterable[Shard],
    *,
    axis: int = -1,
    strict: bool = False,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
    start: Position = START,
    rows: tuple[int, int] | None = None,
    after_block: Callable[[int, int, Position], object] | None = None,
) -> None:
    """Add all shards to the state, or a range along the first axis of their rows.

    `after_block` is called with the rows and bytes of logits that were added and the position
    after them; what it raises ends the walk.
    """
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(threads)) if threads > 1 else None
        for number, shard in enumerate(shards):
            if number < start.shard:
                continue
            shard = shard.oriented(state.task, axis)
            skip = start.block if number == start.shard else 0
            blocks = _measured(state, shard, strict, block_bytes, skip, rows, pool, threads)
            with contextlib.closing(blocks):
                for done, (index, block) in enumerate(blocks, skip + 1):
                    if block is None:
                        continue
                    state.absorb(block, source=shard.source, first_row=_row_number(shard, index))
                    if after_block is not None:
                        more = block.counts["rows"]
                        size = more * block.classes * shard.logits.dtype.itemsize
                        after_block(more, size, Position(number, done))


def _measured(
    state: Evaluation,
    shard: Shard,
    strict: bool,
    block_bytes: int,
    skip: int,
    rows: tuple[int, int] | None,
    pool: ThreadPoolExecutor | None,
    threads: int,
) -> Generator[tuple[Index, Block | None]]:
    """The shard's blocks in order, each measured."""
    pages = _Pages(shard.logits), _Pages(shard.targets)
    options: Any = {"strict": strict, "num_threads": 1}  # a block has one thread
    waiting: deque[Work] = deque()
    first, last = rows or (0, shard.logits.shape[0])
    shape = (last - first, *shard.logits.shape[1:-1])
    for number, index in enumerate(_blocks(shape, _rows(shard, state.task, block_bytes))):
        if number < skip:
            continue
        index = _moved_on(index, first)
        shard.check()
        try:
            arrays: Any = [None if a is None else a[index] for a in _arrays(shard)]
            for own, array in zip(pages, arrays, strict=False):
                own.read(array.nbytes)
            if pool is not None:
                waiting.append((index, pool.submit(state.measure, *arrays, **options)))
            else:
                yield index, state.measure(*arrays, **options)
        except InputError as error:
            raise shard.blame(error, index) from None
        if len(waiting) > threads:
            yield _finished(shard, waiting.popleft())
    while waiting:
        yield _finished(shard, waiting.popleft())


def _finished(shard: Shard, work: Work) -> tuple[Index, Block | None]:
    index, future = work
    try:
        return index, future.result()
    except InputError as error:
        raise shard.blame(error, index) from None


def _arrays(shard: Shard) -> tuple[Any, Any, Any]:
    return shard.logits, shard.targets, shard.sample_weight


def _rows(shard: Shard, task: Task, block_bytes: int) -> int:
    """Rows of a block: whole chunks, where the data set has them."""
    *batch, classes = shard.logits.shape
    row_bytes = classes * shard.logits.dtype.itemsize
    figures = classes if task == "binary" else 1
    rows: int = max(1, min(block_bytes // row_bytes, BLOCK_FIGURES // figures))
    inner = math.prod(batch[1:])
    chunk = inner * getattr(shard.logits, "chunk_rows", 1)
    if rows < chunk and chunk * row_bytes <= _CHUNKS_BYTES:
        return chunk
    return rows - rows % chunk if rows > chunk > inner else rows


class _Pages:
    """Gives memory-mapped pages back behind the walk: they would count as the process's own."""

    def __init__(self, array: Any) -> None:
        while isinstance(array, np.ndarray) and array.base is not None:
            array = array.base
        self._map = array if isinstance(array, mmap.mmap) and hasattr(array, "madvise") else None
        self._bytes = 0

    def read(self, size: int) -> None:
        self._bytes += size
        if self._map is not None and self._bytes > _PAGES_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)  # the file keeps what they hold
            self._bytes = 0


def rows_of(shard: Shard) -> int:
    """Rows of an oriented shard."""
    return math.prod(shard.logits.shape[:-1])


def _row_number(shard: Shard, index: Index) -> int | None:
    """The number of the block's first row in the shard, in C order, from `first_row`."""
    if shard.first_row is None:
        return None
    batch = shard.logits.shape[:-1]
    first = [i if isinstance(i, int) else i.start for i in index]
    first += [0] * (len(batch) - len(first))
    return shard.first_row + int(np.ravel_multi_index(first, batch))


# ---- shapes ----


class Reordered:
    """A lazy array seen with its class axis last, or as one label a row."""

    def __init__(self, array: Any, axis: int | None) -> None:
        self._array, self._axis = array, axis
        shape: Shape = tuple(array.shape)
        if axis is None:
            self.shape: Shape = (*shape, 1)
        else:
            self.shape = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        self.dtype, self.ndim = array.dtype, len(self.shape)
        chunks = getattr(array, "chunks", None)
        self.chunk_rows = int(chunks[0]) if chunks and axis != 0 else 1

    def __getitem__(self, index: Index) -> NDArray[Any]:
        if self._axis is None:
            return np.asarray(self._array[index])[..., np.newaxis]
        batch = len(self.shape) - 1
        full = [*index, *[slice(None)] * (batch - len(index))]
        full.insert(self._axis, slice(None))
        block = np.asarray(self._array[tuple(full)])
        lost = sum(isinstance(i, int) for i in full[: self._axis])
        return np.moveaxis(block, self._axis - lost, -1)


def class_axis_last(logits: Any, targets: Any, task: Task, axis: int) -> tuple[Any, Any]:
    """Check the shapes against each other, and move the class axis to the end (views)."""
    shape, given = tuple(logits.shape), tuple(targets.shape)
    if task == "binary":
        if given != shape:
            raise InputError("targets", f"shape {given} differs from the logits' {shape}")
        if len(shape) == 1:  # one label a row
            return _moved(logits, None), _moved(targets, None)
    if len(shape) < 2:
        swapped = "; are the two swapped?" if len(given) > len(shape) else ""
        raise InputError("logits", f"shape {shape} is not (rows, classes){swapped}")
    if not -len(shape) <= axis < len(shape):
        raise InputError("logits", f"shape {shape} has no axis {axis}")
    if task == "multiclass" and given != _without(shape, axis):
        raise InputError("targets", _shape_problem(shape, given, axis))
    if shape[axis] == 0:
        raise InputError("logits", f"shape {shape} has no classes")
    axis %= len(shape)
    return _moved(logits, axis), _moved(targets, axis) if task == "binary" else targets


def _moved(array: Any, axis: int | None) -> Any:
    if not isinstance(array, np.ndarray):
        return Reordered(array, axis)
    return array[..., np.newaxis] if axis is None else np.moveaxis(array, axis, -1)


def _without(shape: Shape, axis: int) -> Shape:
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def _shape_problem(logits: Shape, targets: Shape, axis: int) -> str:
    problem = f"shape {targets} where logits of shape {logits} need {_without(logits, axis)}"
    fits = [i for i in range(len(logits)) if _without(logits, i) == targets]
    if fits:
        return f"{problem}; it fits axis {fits[0]}"
    if targets == logits:
        return f"{problem}; targets of the logits' own shape are for the binary task"
    return problem


def _blocks(shape: Shape, rows: int) -> Iterator[Index]:
    """Indices that cut `shape` into pieces of at most `rows` elements, in C order."""
    inner = math.prod(shape[1:])
    if inner > rows:
        for i in range(shape[0]):
            for rest in _blocks(shape[1:], rows):
                yield (i, *rest)
    elif inner:
        step = rows // inner
        for start in range(0, shape[0], step):
            yield (slice(start, min(start + step, shape[0])),)


def _moved_on(index: Index, rows: int) -> Index:
    """The index of a block that starts so many rows later along the first axis."""
    head, *rest = index
    if isinstance(head, int):
        return (head + rows, *rest)
    return (slice(head.start + rows, head.stop + rows), *rest)


def _shift(row: Shape, index: Index) -> Shape:
    """The index in the whole array of a row of the block at `index`."""
    *fixed, last = index
    assert isinstance(last, slice)
    return (*(i for i in fixed if isinstance(i, int)), last.start + row[0], *row[1:])
