"""Evaluating logits against targets, block by block, in one pass and in constant memory.

`Evaluation` is the state: counts are integers and the loss is summed exactly, so the result has
the same bits whatever the blocks, their order or the way states are merged. `evaluate` walks over
two arrays of any size (memory maps, usually) and feeds it. Problems in the data are reported with
the row's number in the whole array, not in its block.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

import lossgrad  # names are looked up at call time: the package imports this module

Task = Literal["multiclass", "binary"]
Source = Literal["logits", "targets"]
Index = tuple[int | slice, ...]

# Small enough for a second look at the block (the arg max) to come from the cache.
BLOCK_BYTES = 1 << 20


class InputError(ValueError):
    """Logits or targets that cannot be evaluated.

    Attributes
    ----------
    source : {"logits", "targets"}
        The array at fault.
    problem : str
        What is wrong with it, without the row.
    row : tuple of int or None
        The row at fault: one index for each axis that is not the class axis.
    """

    def __init__(self, source: Source, problem: str, row: tuple[int, ...] | None = None) -> None:
        self.source, self.problem, self.row = source, problem, row
        super().__init__(source, problem, row)

    def __str__(self) -> str:
        return f"{self.source}: {self.detail}"

    @property
    def detail(self) -> str:
        """The row and the problem, without the name of the array."""
        if not self.row:
            return self.problem
        row = self.row[0] if len(self.row) == 1 else self.row
        return f"row {row}: {self.problem}"


class LabelError(InputError, IndexError):
    """A label outside the classes."""


class DtypeError(InputError, TypeError):
    """An array of a type that is not supported."""


class ExactSum:
    """The sum of float64 values with no rounding until it is read.

    The state is one integer, in units of the smallest subnormal 2**-1074: adding and merging are
    then exact, commutative and associative. A block is cut into high and low parts as in
    Rump, Ogita and Oishi (2008), "Accurate floating-point summation, part I": with
    sigma = 2**k > n * max|v|, the high parts (sigma + v) - sigma are multiples of
    2**-53 * sigma whose sum is at most sigma, so that summing them in float64 is exact in any
    order. Usual losses take two or three rounds.
    """

    _UNIT = 1074
    _CHUNK = 1 << 14  # temporaries stay in the L2 cache

    def __init__(self) -> None:
        self._units = 0
        self._special = 0.0  # the sum of infinities and NaNs: 0, inf, -inf or nan

    def add(self, values: NDArray[Any]) -> None:
        """Add every element of a real array."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, self._CHUNK):
            self._add_chunk(flat[start : start + self._CHUNK].astype(np.float64))

    def _add_chunk(self, rest: NDArray[np.float64]) -> None:
        if not math.isfinite(top := _largest(rest)):
            finite = np.isfinite(rest)
            with np.errstate(invalid="ignore"):  # inf - inf
                self._special += float(rest[~finite].sum())
            rest = np.where(finite, rest, 0.0)
            top = _largest(rest)
        while top:
            exponent = math.frexp(top)[1] + rest.size.bit_length()
            if exponent > 1023:  # sigma would overflow; such losses are not worth speed
                self._units += sum(map(self._as_units, rest.tolist()))
                return
            sigma = math.ldexp(1.0, exponent)
            high = (rest + sigma) - sigma
            self._units += self._as_units(float(high.sum()))
            rest -= high
            top = _largest(rest)

    def _as_units(self, value: float) -> int:
        numerator, denominator = value.as_integer_ratio()  # the denominator is a power of two
        return numerator << (self._UNIT - denominator.bit_length() + 1)

    def merge(self, other: "ExactSum") -> None:
        """Add the values of another sum."""
        self._units += other._units
        self._special += other._special

    def value(self) -> float:
        """The float64 nearest to the sum."""
        if self._special != 0.0:
            return self._special
        try:
            return self._units / (1 << self._UNIT)  # integer division rounds correctly
        except OverflowError:
            return math.inf if self._units > 0 else -math.inf


def _largest(values: NDArray[np.float64]) -> float:
    """The largest magnitude; NaN if there is a NaN."""
    return max(float(values.max()), -float(values.min()))


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes
    ----------
    task : {"multiclass", "binary"}
    rows, ignored : int
        Rows seen, and those among them whose label is `ignore_index`.
    classes : int
        Classes, or labels of a row in the binary task.
    terms : int
        Losses that the mean is over: the kept rows, or rows times labels in the binary task.
    correct, infinite : int
        Terms predicted right, and terms whose loss is infinite.
    total : float
        The correctly rounded sum of the losses, in nats.
    """

    task: Task
    rows: int
    ignored: int
    classes: int
    terms: int
    correct: int
    infinite: int
    total: float

    @property
    def loss(self) -> float:
        """Mean loss in nats; nan when there was nothing to average."""
        return self.total / self.terms if self.terms else math.nan

    @property
    def loss_bits(self) -> float:
        """Mean loss in bits."""
        return self.loss / math.log(2.0)

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def accuracy(self) -> float:
        """The part of the terms that was predicted right."""
        return self.correct / self.terms if self.terms else math.nan


class Evaluation:
    """Running totals over blocks of logits and targets.

    Parameters
    ----------
    task : {"multiclass", "binary"}
        "multiclass": targets are integer labels, one a row; the prediction is the first largest
        logit. "binary" (and multi-label): targets between 0 and 1, of the logits' shape; the
        prediction is logit > 0, right when it equals target > 0.5.
    ignore_index : int
        The label of rows to leave out ("multiclass").
    """

    def __init__(self, task: Task = "multiclass", *, ignore_index: int = -100) -> None:
        if task not in ("multiclass", "binary"):
            raise ValueError(f"task is {task!r}, not 'multiclass' or 'binary'")
        self.task = task
        self.ignore_index = ignore_index
        self._sum = ExactSum()
        self._classes: int | None = None
        self._rows = self._ignored = self._terms = self._correct = self._infinite = 0

    def update(self, logits: ArrayLike, targets: ArrayLike) -> None:
        """Add rows. The last axis of `logits` is that of the classes (or labels).

        Raises
        ------
        InputError
            Wrong data, with the row's index in this block; the totals are then unchanged.
        """
        logits, targets = np.asarray(logits), np.asarray(targets)
        self._check_shapes(logits, targets)
        if logits.size == 0:
            return
        if self.task == "binary":
            losses, correct = _binary_terms(logits, targets)
            kept = losses.size
        else:
            keep = targets != self.ignore_index
            kept = int(np.count_nonzero(keep))
            losses, correct = _multiclass_terms(logits, targets, keep, self.ignore_index)
        largest = losses.max()  # a NaN wins
        if np.isnan(largest):
            raise _explain_nan(self.task, losses, logits)
        if np.isinf(largest):
            self._infinite += int(np.count_nonzero(np.isinf(losses)))
        rows = logits.size // logits.shape[-1]
        self._rows += rows
        self._ignored += 0 if self.task == "binary" else rows - kept
        self._terms += kept
        self._correct += correct
        self._classes = logits.shape[-1]
        self._sum.add(losses)

    def _check_shapes(self, logits: NDArray[Any], targets: NDArray[Any]) -> None:
        if logits.ndim == 0 or logits.shape[-1] == 0:
            raise InputError("logits", f"shape {logits.shape} has no classes")
        wanted = logits.shape if self.task == "binary" else logits.shape[:-1]
        if targets.shape != wanted:
            raise InputError("targets", f"shape {targets.shape} where {wanted} is needed")
        if self._classes not in (None, logits.shape[-1]):
            raise InputError(
                "logits", f"{logits.shape[-1]} classes after blocks of {self._classes}"
            )

    def merge(self, other: "Evaluation") -> None:
        """Add the totals of another evaluation of the same task and classes."""
        if (self.task, self.ignore_index) != (other.task, other.ignore_index):
            raise ValueError("evaluations of different task or ignore_index do not merge")
        if None not in (self._classes, other._classes) and self._classes != other._classes:
            raise ValueError(f"{other._classes} classes do not merge with {self._classes}")
        self._classes = other._classes if self._classes is None else self._classes
        self._rows += other._rows
        self._ignored += other._ignored
        self._terms += other._terms
        self._correct += other._correct
        self._infinite += other._infinite
        self._sum.merge(other._sum)

    def result(self) -> Result:
        """The figures so far."""
        return Result(
            task=self.task,
            rows=self._rows,
            ignored=self._ignored,
            classes=self._classes or 0,
            terms=self._terms,
            correct=self._correct,
            infinite=self._infinite,
            total=self._sum.value(),
        )


def _multiclass_terms(
    logits: NDArray[Any], labels: NDArray[Any], keep: NDArray[np.bool_], ignore_index: int
) -> tuple[NDArray[Any], int]:
    """Row losses, and how many of the kept rows are right."""
    if labels.dtype.kind not in "iu":
        raise DtypeError("targets", f"dtype {labels.dtype} where integer labels are needed")
    classes = logits.shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        bad = keep & ((labels < 0) | (labels >= classes))
        if bad.any():
            row = _first(bad)
            raise LabelError(
                "targets",
                f"label {labels[row]} is outside [0, {classes}) "
                f"and is not ignore_index ({ignore_index})",
                row,
            )
    try:
        losses = lossgrad.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none")
    except TypeError as error:
        raise DtypeError("logits", str(error)) from None
    right = (logits.argmax(axis=-1) == labels) & keep
    return np.asarray(losses), int(np.count_nonzero(right))


def _binary_terms(logits: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The loss of every element, and how many are right."""
    if targets.dtype.kind not in "biuf" or targets.dtype.itemsize > 8:
        raise DtypeError("targets", f"dtype {targets.dtype} where ordinary numbers are needed")
    if not (targets.min() >= 0 and targets.max() <= 1):  # a NaN is neither
        place = _first(~((targets >= 0) & (targets <= 1)))
        raise LabelError(
            "targets",
            f"{_label(place, targets)}target {targets[place]} is outside [0, 1]",
            place[:-1],
        )
    try:
        losses = lossgrad.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    except TypeError as error:
        raise DtypeError("logits", str(error)) from None
    right = (logits > 0) == (targets > 0.5)
    return np.asarray(losses), int(np.count_nonzero(right))


def _explain_nan(task: Task, losses: NDArray[Any], logits: NDArray[Any]) -> InputError:
    place = _first(np.isnan(losses))
    if task == "binary":
        return InputError("logits", f"{_label(place, logits)}logit is {logits[place]}", place[:-1])
    values = logits[place]
    if np.isnan(values).any():
        problem = f"the logit of class {np.flatnonzero(np.isnan(values))[0]} is nan"
    elif np.count_nonzero(values == np.inf) > 1:
        first, second = np.flatnonzero(values == np.inf)[:2]
        problem = f"the logits of classes {first} and {second} are both inf, the loss is undefined"
    elif np.all(values == -np.inf):
        problem = "every logit is -inf, the loss is undefined"
    else:
        problem = "the loss is nan"
    return InputError("logits", problem, place)


def _label(place: tuple[int, ...], array: NDArray[Any]) -> str:
    return f"label {place[-1]}: " if array.shape[-1] > 1 else ""


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first true element."""
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))


def evaluate(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    task: Task = "multiclass",
    axis: int = -1,
    ignore_index: int = -100,
    block_bytes: int = BLOCK_BYTES,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Evaluate logits against targets in one pass over both.

    Parameters
    ----------
    logits : array_like
        Two dimensions or more, one of which is that of the classes; one dimension will do for
        the binary task. A memory map is read in blocks and never as a whole.
    targets : array_like
        "multiclass": integer labels, of the logits' shape without `axis`. "binary": numbers
        between 0 and 1, of the logits' shape.
    task, ignore_index
        As in `Evaluation`.
    axis : int
        The axis of the classes, or of a row's labels.
    block_bytes : int
        Bytes of logits to read at a time. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` after each block.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        Shapes, types or values that cannot be evaluated, with the first bad row.
    """
    state = Evaluation(task, ignore_index=ignore_index)
    logits, targets = _class_axis_last(np.asarray(logits), np.asarray(targets), task, axis)
    batch = logits.shape[:-1]
    row_bytes = logits.shape[-1] * logits.itemsize
    done, rows = 0, math.prod(batch)
    for index in _blocks(batch, max(1, block_bytes // row_bytes)):
        block = logits[index]
        try:
            state.update(block, targets[index])
        except InputError as error:
            if error.row is None:
                raise
            raise type(error)(error.source, error.problem, _shift(error.row, index)) from None
        if progress is not None:
            done += block.size // block.shape[-1]
            progress(done, rows)
    return state.result()


def _class_axis_last(
    logits: NDArray[Any], targets: NDArray[Any], task: Task, axis: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check the shapes against each other, and move the class axis to the end (views)."""
    if task == "binary":
        if targets.shape != logits.shape:
            raise InputError(
                "targets", f"shape {targets.shape} differs from the logits' {logits.shape}"
            )
        if logits.ndim == 1:  # one label a row
            logits, targets = logits[:, np.newaxis], targets[:, np.newaxis]
    if logits.ndim < 2:
        swapped = "; are the two swapped?" if targets.ndim > logits.ndim else ""
        raise InputError("logits", f"shape {logits.shape} is not (rows, classes){swapped}")
    if not -logits.ndim <= axis < logits.ndim:
        raise InputError("logits", f"shape {logits.shape} has no axis {axis}")
    if task == "multiclass" and targets.shape != _without(logits.shape, axis):
        raise InputError("targets", _shape_problem(logits.shape, targets.shape, axis))
    if logits.shape[axis] == 0:
        raise InputError("logits", f"shape {logits.shape} has no classes")
    logits = np.moveaxis(logits, axis, -1)
    return logits, np.moveaxis(targets, axis, -1) if task == "binary" else targets


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def _shape_problem(logits: tuple[int, ...], targets: tuple[int, ...], axis: int) -> str:
    problem = f"shape {targets} where logits of shape {logits} need {_without(logits, axis)}"
    fits = [i for i in range(len(logits)) if _without(logits, i) == targets]
    if fits:
        return f"{problem}; it fits axis {fits[0]}"
    if targets == logits:
        return f"{problem}; targets of the logits' own shape are for the binary task"
    return problem


def _blocks(shape: tuple[int, ...], rows: int) -> Iterator[Index]:
    """Indices that cut `shape` into pieces of at most `rows` elements, in C order."""
    inner = math.prod(shape[1:])
    if inner > rows:
        for i in range(shape[0]):
            for rest in _blocks(shape[1:], rows):
                yield (i, *rest)
    elif inner:
        step = rows // inner
        for start in range(0, shape[0], step):
            yield (slice(start, start + step),)


def _shift(row: tuple[int, ...], index: Index) -> tuple[int, ...]:
    """The index in the whole array of a row of the block at `index`."""
    *fixed, last = index
    assert isinstance(last, slice)
    return (*(i for i in fixed if isinstance(i, int)), last.start + row[0], *row[1:])
