"""What one thread adds to an evaluation, apart from what others add, to be merged in the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad._core import arguments as check
from lossgrad._core.backend import kernels
from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.problems import DtypeError, InputError, LabelError
from lossgrad.evaluation.results import Task, WorstRow
from lossgrad.evaluation.scale import bands, is_ordinary
from lossgrad.evaluation.seen import Block, Rows
from lossgrad.evaluation.statistics import native
from lossgrad.evaluation.totals import SQUARES, UNDEFINED, Totals

if TYPE_CHECKING:
    from lossgrad.evaluation.state import Evaluation

_STEP = 4 << 20  # bytes of logits between two looks at whether to stop
_ROOM = 1 << 30  # terms that totals can take


class Stopped(Exception):
    """Nobody waits for what is added."""


class Share:
    """A share of an evaluation: an empty one of the same options, and totals to come into it.

    Parameters
    ----------
    of : Evaluation
    stopped : callable
        Whether to give up; it is asked every few milliseconds.
    """

    def __init__(self, of: "Evaluation", stopped: Callable[[], bool] = bool) -> None:
        self._state, self._stopped = of.empty(), stopped
        self._totals: Any = None
        self._terms = 0  # that the totals have taken
        self._settled = False  # whether the state has any
        self._worst: list[Any] = []  # of the rows that are being added

    def state(self) -> "Evaluation":
        """All that was added. Nothing can be added any more."""
        self._settle()
        return self._state

    def add(
        self,
        block: Block,
        *,
        strict: bool = False,
        source: str = "",
        number: Callable[[int], int] = int,
    ) -> None:
        """Add the rows of a block. After an error the share is of no use.

        Parameters
        ----------
        block : dict
            Arrays by what they are for, as `Shard` has them, the class axis last.
        strict : bool
            A row whose loss is nan is an error.
        source : str
            Where the rows are from, for the worst.
        number : callable
            What a row of the block is called there.
        """
        x, t = (native(np.asarray(block[use])) for use in ("logits", "targets"))
        self._state._check_shapes(x.shape, t.shape)
        if x.size == 0:
            return
        classes, s = x.shape[-1], block.get("sample_weight")
        if s is not None:
            each = self._state.task == "binary" and np.shape(s) == x.shape  # one a logit
            s = finite_weights(s, "sample_weight", x.shape if each else x.shape[:-1]).reshape(-1)
        _check_targets(t, self._state.task)
        try:
            matrix = check.floating(x, "logits").reshape(-1, classes)
        except TypeError as error:
            raise DtypeError("logits", str(error)) from None
        self._state._open(classes)
        rows = Rows(
            self._state.task,
            matrix,
            t.reshape(-1),
            s,
            _class_weight(self._state, matrix),
            columns_of(block, self._state._parts, x.shape[:-1]),
        )
        with arithmetic():
            self._add_rows(rows, x, t, strict)
        self._state._counts["rows"] += len(matrix)
        if self._state.worst:
            self._list_worst()
            found = [WorstRow(loss, source, number(row), *of) for loss, row, *of in self._worst]
            self._state._keep_worst(found)
            self._worst.clear()

    def _add_rows(self, rows: Rows, x: NDArray[Any], t: NDArray[Any], strict: bool) -> None:
        weights = dict(bands(rows.weight))
        if self._state.figures and set(weights) - {0}:
            raise far_weight(rows.weight, self._state.figures)
        ordinary = weights.pop(0, None if rows.weight is None else np.zeros_like(rows.weight))
        self._add(rows._replace(weight=ordinary), x, t, strict)
        for shift, scaled in weights.items():
            self._add_shifted(shift, rows._replace(weight=scaled), x, t, strict)

    def _add(self, rows: Rows, x: NDArray[Any], t: NDArray[Any], strict: bool) -> None:
        for begin, end in self._steps(x, t):
            if self._totals is None or self._terms + end - begin > _ROOM:
                self._settle()
                self._totals = _totals(self._state)
            if begin == 0 or not self._terms:
                add = self._totals.adder(rows, strict)
            self._terms += end - begin
            kind, at = add(begin, end)
            if kind:
                raise _problem(self._state, kind, at, x, t)
            for part in self._state._parts.values():
                part.add(self._totals.seen())

    def _add_shifted(
        self, shift: int, rows: Rows, x: NDArray[Any], t: NDArray[Any], strict: bool
    ) -> None:
        """Add to the sums alone what counts 2**(32 shift) times: the rows are counted already."""
        totals = _totals(self._state)
        add = totals.adder(rows, strict)
        for begin, end in self._steps(x, t):
            add(begin, end)
        self._settle()
        for name, sums in totals.sums().items():
            twice = SQUARES if name == "scalars" else ()
            self._state._tallies[name].merge(sums, shift, twice)

    def _steps(self, x: NDArray[Any], t: NDArray[Any]) -> Iterator[tuple[int, int]]:
        """Ranges of the targets, between which it may be told to stop."""
        each = x.shape[-1] if self._state.task == "binary" else 1  # terms of a row
        step = each * max(1, _STEP // (x.shape[-1] * x.itemsize))
        for begin in range(0, t.size, step):
            if self._stopped():
                raise Stopped
            yield begin, min(begin + step, t.size)

    def _settle(self) -> None:
        """Bring the totals into the state."""
        if self._totals is None:
            return
        self._list_worst()
        for name, number in self._totals.counts().items():
            self._state._counts[name] += number
        if self._settled:
            for name, sums in self._totals.sums().items():
                self._state._tallies[name].merge(sums)
        else:
            self._state._tallies = self._totals.sums()
        self._totals, self._terms, self._settled = None, 0, True

    def _list_worst(self) -> None:
        if self._totals is None:  # settled, with the list
            return
        kept = self._state._worst
        least = kept[-1].loss if 0 < self._state.worst == len(kept) else 0.0
        self._worst += self._totals.worst(least)


def _totals(state: "Evaluation") -> Any:
    """Empty totals, of the backend."""
    if kernels is not None:
        return Totals(state)
    from lossgrad.evaluation.reference import totals  # not needed beside the kernels

    return totals.Totals(state)


def _class_weight(state: "Evaluation", x: NDArray[Any]) -> NDArray[np.float64] | None:
    """The class weights as the loss takes them."""
    if state.weight is None:
        return None
    return state.weight.astype(check.computed(x.dtype)).astype(np.float64)


def columns_of(
    block: Block, parts: Mapping[str, Any], rows: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """The columns that figures need, flat; each is checked for being there and for its shape."""
    needed = {name: figure for figure, part in parts.items() for name in part.needs}
    for name in block.keys() - {"logits", "other", "targets", "sample_weight"} - needed.keys():
        raise InputError(name, "no figure that was asked for takes them")
    for name, figure in needed.items():
        if block.get(name) is None:
            raise InputError("logits", f"{figure} needs {name}, too")
    found = {name: np.asarray(block[name]) for name in needed}
    for name, column in found.items():
        if column.shape != rows:
            raise InputError(name, f"shape {column.shape} where {rows} is needed")
    return {name: column.reshape(-1) for name, column in found.items()}


# ---- what can be wrong ----


def finite_weights(
    values: ArrayLike, name: str, shape: tuple[int, ...] | None
) -> NDArray[np.float64]:
    """Finite weights >= 0; without a shape, one for each class."""
    array = check.as_array(values, name)
    if array.dtype.kind not in "biuf":
        raise DtypeError("sample_weight", f"{name} has dtype {array.dtype}, not numbers")
    array = array.astype(np.float64)
    if shape is None and array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; one number for each class is needed")
    if shape is not None and array.shape != shape:
        raise InputError("sample_weight", f"shape {array.shape} where {shape} is needed")
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        place = _first(~good)
        problem = f"weight {array[place]} is not a finite number >= 0"
        if shape is None:
            raise ValueError(f"{name}: {problem}")
        raise InputError("sample_weight", problem, place)
    return array


def far_weight(weights: NDArray[np.float64] | None, figures: Sequence[str]) -> InputError:
    """The first of weights whose products with figures might leave the range of float64."""
    assert weights is not None
    far = (weights > 0) & ~is_ordinary(weights)
    at = _first(far)
    return InputError(
        "sample_weight",
        f"weight {weights[at]}: {' and '.join(figures)} take weights from 2**-256 to 2**256; "
        "scale them",
        at,
    )


def _check_targets(targets: NDArray[Any], task: Task) -> None:
    dtype = targets.dtype
    if task == "multiclass" and dtype.kind not in "iu":
        raise DtypeError("targets", f"dtype {dtype} where integer labels are needed")
    if task == "binary" and (dtype.kind not in "biuf" or dtype.itemsize > 8):
        raise DtypeError("targets", f"dtype {dtype} where ordinary numbers are needed")


def _problem(
    state: "Evaluation", kind: int, at: int, x: NDArray[Any], t: NDArray[Any]
) -> InputError:
    """What is wrong with the target or logits at a flat index of the targets."""
    place = tuple(int(i) for i in np.unravel_index(at, t.shape))
    binary = state.task == "binary"
    label = f"label {place[-1]}: " if binary and t.shape[-1] > 1 else ""
    if kind == UNDEFINED and binary:
        return InputError("logits", f"{label}logit is {x[place]}", place[:-1])
    if kind == UNDEFINED:
        return explain_nan(x[place], place)
    if binary:
        problem = f"{label}target {t[place]} is outside [0, 1]"
        return LabelError("targets", problem, place[:-1])
    return LabelError(
        "targets",
        f"label {t[place]} is outside [0, {x.shape[-1]}) "
        f"and is not ignore_index ({state.ignore_index})",
        place,
    )


def explain_nan(values: NDArray[Any], place: tuple[Any, ...], source: str = "logits") -> InputError:
    """Why a row of logits has no loss."""
    if np.isnan(values).any():
        problem = f"the logit of class {np.flatnonzero(np.isnan(values))[0]} is nan"
    elif np.count_nonzero(values == np.inf) > 1:
        first, second = np.flatnonzero(values == np.inf)[:2]
        problem = f"the logits of classes {first} and {second} are both inf, the loss is undefined"
    elif np.all(values == -np.inf):
        problem = "every logit is -inf, the loss is undefined"
    elif (values == np.inf).any():
        first = np.flatnonzero(values == np.inf)[0]
        problem = f"the logit of class {first} is inf, the divergence is undefined"
    else:
        problem = "the loss is nan"
    return InputError(source, problem, place)


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first true element."""
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
