"""A shard: logits and targets that belong together, with the class axis moved to the end."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.arguments import is_ambiguous, which_axis
from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.formats.file_array import Buffer, FileArray, Index, Shape
from lossgrad.evaluation.problems import FileError, InputError
from lossgrad.evaluation.reading import LOGITS, Reading
from lossgrad.evaluation.results import Task

WIDE: dict[Task, frozenset[str]] = {  # what has the class axis
    "multiclass": frozenset({"logits", "other"}),
    "binary": frozenset({"logits", "other", "targets"}),
}


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Shard:
    """Arrays that belong together, row by row, and what to call them in errors.

    They are known by what they are for: "logits" and "targets", and columns of one value a row
    ("sample_weight", "groups", ...). None is an array that is not there.
    """

    arrays: dict[str, Any]
    source: str = ""
    names: dict[str, str] | None = None
    first_row: int | None = None
    check: Callable[[], None] = _nothing  # called after each block has been read
    reading: Reading = LOGITS
    start: int = 0  # the first row in arrays that have no name, of which this is a part

    @property
    def logits(self) -> Any:
        """The logits, which say how many rows there are."""
        return self.arrays["logits"]

    def blame(self, error: InputError, index: Index | None = None) -> Exception:
        """The error as one about the whole shard, and about its file if it has one."""
        row = error.row
        if row is not None and index is not None:
            row = _shift(row, index)
        name = (self.names or {}).get(error.source)
        if name is None and row:
            row = (self.start + row[0], *row[1:])
        error = type(error)(error.source, error.problem, row)
        return error if name is None else FileError(name, error.detail)

    def oriented(self, task: Task, axis: int) -> "Shard":
        """Check the shapes against each other, and move the class axis to the end (views)."""
        arrays = {use: array for use, array in self.arrays.items() if array is not None}
        try:
            logits = arrays["logits"]
            where = class_axis(logits, arrays.get("targets"), task, axis)
            placed = {
                use: _placed(use, array, tuple(logits.shape), task, where)
                for use, array in arrays.items()
            }
        except InputError as error:
            raise self.blame(error) from None
        reading = self.reading.of_table(getattr(logits, "names", None))
        return replace(self, arrays=placed, reading=reading)

    def look(self, task: Task) -> None:
        """Warn if oriented logits seem to be something else: see `Reading.look`."""
        self.reading.look(self.logits, task)

    def row_number(self, index: Index) -> int | None:
        """The number of a block's first row in the shard, in C order, from `first_row`."""
        if self.first_row is None:
            return None
        batch = self.logits.shape[:-1]
        first = [i if isinstance(i, int) else i.start for i in index]
        first += [0] * (len(batch) - len(first))
        return self.first_row + int(np.ravel_multi_index(first, batch))


# ---- shapes ----


class Reordered:
    """An array that is read in pieces, with its class axis last, or as one label a row."""

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
        self.concurrent = is_concurrent(array)

    def __getitem__(self, index: Index) -> NDArray[Any]:
        return self.read(index, Buffer())

    def read(self, index: Index, buffer: Buffer) -> NDArray[Any]:
        """A block of rows."""
        block = read(self._array, self._full(index), buffer)
        if self._axis is None:
            return block[..., np.newaxis]
        lost = sum(isinstance(i, int) for i in index[: self._axis])
        return np.moveaxis(block, self._axis - lost, -1)

    def request(self, index: Index) -> None:
        """As `FileArray.request`."""
        request(self._array, self._full(index))

    def _full(self, index: Index) -> Index:
        """The index of the array itself."""
        if self._axis is None:
            return index
        full = [*index, *[slice(None)] * (len(self.shape) - 1 - len(index))]
        full.insert(self._axis, slice(None))
        return tuple(full)


def is_concurrent(array: Any) -> bool:
    """Whether several threads may read the array at a time."""
    return isinstance(array, np.ndarray) or getattr(array, "concurrent", False)


def read(array: Any, index: Index, buffer: Buffer) -> NDArray[Any]:
    """A block of any array: a view, or in the buffer if it comes from a file."""
    if isinstance(array, (FileArray, Reordered)):
        return array.read(index, buffer)
    return np.asarray(array[index])


def request(array: Any, index: Index) -> None:
    """Have a block of a file read ahead."""
    if isinstance(array, (FileArray, Reordered)):
        array.request(index)


def class_axis(logits: Any, targets: Any, task: Task, axis: int) -> int | None:
    """Check the shapes against each other: the class axis, None of one label a row."""
    shape = tuple(logits.shape)
    given = None if targets is None else tuple(targets.shape)
    if task == "binary" and len(shape) == 1:
        return None
    if len(shape) < 2:
        swapped = "; are the two swapped?" if given and len(given) > len(shape) else ""
        raise InputError("logits", f"shape {shape} is not (rows, classes){swapped}")
    if not -len(shape) <= axis < len(shape):
        raise InputError("logits", f"shape {shape} has no axis {axis}")
    if task == "multiclass" and given is not None:
        if axis is LAST_AXIS and is_ambiguous(shape, given):
            raise InputError("logits", f"shape {shape} {which_axis(shape)}")
        if given not in (_without(shape, axis), _column(shape, axis), shape):
            raise InputError("targets", _shape_problem(shape, given, axis))
    if shape[axis] == 0:
        raise InputError("logits", f"shape {shape} has no classes")
    return axis % len(shape)


def _placed(use: str, array: Any, logits: Shape, task: Task, where: int | None) -> Any:
    """An array as blocks have it: a value for each row, or with the class axis the last."""
    shape, column = tuple(array.shape), logits if where is None else _column(logits, where)
    rows = logits if where is None else _without(logits, where)
    if use in WIDE[task]:
        if shape == logits:
            return _moved(array, where)
        if use == "targets" and column == logits and shape == rows:
            return _moved(array, None)
        if use == "targets" and where is None and shape == (*logits, 1):
            return array
        raise InputError(use, f"shape {shape} differs from the logits' {logits}")
    if shape == rows:
        return array
    if use == "targets" or (task == "binary" and use == "sample_weight" and shape == logits):
        return _moved(array, where)
    raise InputError(use, f"shape {shape}: {rows} is needed")


def _moved(array: Any, axis: int | None) -> Any:
    if not isinstance(array, np.ndarray):
        return Reordered(array, axis)
    return array[..., np.newaxis] if axis is None else np.moveaxis(array, axis, -1)


def _without(shape: Shape, axis: int) -> Shape:
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def _column(shape: Shape, axis: int) -> Shape:
    axis %= len(shape)
    return (*shape[:axis], 1, *shape[axis + 1 :])


def _shape_problem(logits: Shape, targets: Shape, axis: int) -> str:
    problem = f"shape {targets} where logits of shape {logits} need {_without(logits, axis)}"
    fits = [i for i in range(len(logits)) if _without(logits, i) == targets]
    return f"{problem}; it fits axis {fits[0]}" if fits else problem


def rows_of(shard: Shard) -> int:
    """Rows of an oriented shard."""
    return math.prod(shard.logits.shape[:-1])


# ---- blocks ----


def blocks(shape: Shape, rows: int) -> Iterator[Index]:
    """Indices that cut `shape` into pieces of at most `rows` elements, in C order."""
    inner = math.prod(shape[1:])
    if inner > rows:
        for i in range(shape[0]):
            for rest in blocks(shape[1:], rows):
                yield (i, *rest)
    elif inner:
        step = rows // inner
        for start in range(0, shape[0], step):
            yield (slice(start, min(start + step, shape[0])),)


def moved_on(index: Index, rows: int) -> Index:
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
