"""Probabilities and their logarithms, as logits that softmax (or sigmoid) makes them of.

Logits are computed in float64: one of float32 would be off by up to 4e-6 near -87, and a small loss
by as much of itself.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad._core.environment import arithmetic
from lossgrad._functions import elu, information_content, logsumexp
from lossgrad.evaluation.problems import DtypeError, InputError
from lossgrad.evaluation.results import Task

Input = Literal["logits", "log-probabilities", "probabilities"]
Doubles = NDArray[np.float64]
_PIECE = 1 << 16  # numbers that are converted at a time, whose temporaries stay in the cache
_ROWS, _FEW = 64, 32  # that are looked at; so many numbers are not all in [0, 1] by chance
# Rounding of types, relative and absolute; what is stored as float64 has often been float32.
_ROUNDING = {"float16": (2.0**-10, 2.0**-24), "bfloat16": (2.0**-7, 0.0)}
_SINGLE = 2.0**-23


@arithmetic()
def logits_of(given: NDArray[Any], read: NDArray[np.bool_], kind: Input, task: Task) -> Any:
    """The logits of what is given for them, its class axis the last.

    Parameters
    ----------
    given : ndarray
    read : ndarray of bool
        Which rows are read, or of the binary task which numbers; what is not may be anything.
    kind : {"log-probabilities", "probabilities"}
    task : {"multiclass", "binary"}

    Raises
    ------
    InputError
        A number is no probability, or those of a row do not sum to 1 within their rounding.
    """
    try:
        x = check.floating(given, "logits")
    except TypeError as error:
        raise DtypeError("logits", str(error)) from None
    rows = x.reshape(-1, x.shape[-1] if task == "multiclass" else 1)
    convert, result = _CONVERSIONS[task, kind], np.zeros(rows.shape)
    for part in _pieces(read.reshape(-1), rows.shape[1]):
        try:
            result[part] = convert(rows[part].astype(np.float64), x.dtype.name)
        except InputError as bad:
            (row,) = bad.row or (0,)
            raise _placed(bad.problem, int(part[row]), x.shape, task) from None
    if (task, kind) == ("multiclass", "log-probabilities"):
        return given  # they are logits themselves
    return result.reshape(x.shape)


def _pieces(read: NDArray[np.bool_], classes: int) -> Iterator[NDArray[np.intp]]:
    rows, step = np.flatnonzero(read), max(1, _PIECE // classes)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _placed(problem: str, at: int, shape: tuple[int, ...], task: Task) -> InputError:
    """The error about a row of all, or about a number of the binary task."""
    axes = shape[:-1] if task == "multiclass" else shape
    place = tuple(int(i) for i in np.unravel_index(at, axes))
    if task == "multiclass":
        return InputError("logits", problem, place)
    label = f"label {place[-1]}: " if shape[-1] > 1 else ""
    return InputError("logits", f"{label}{problem}", place[:-1])


# ---- of some rows, each to logits; a NaN stays one ----


def _of_rows(p: Doubles, dtype: str) -> Doubles:
    """log(p), which softmax normalises: the loss is that of p over its sum."""
    _check_range(p)
    relative, absolute = _ROUNDING.get(dtype, (_SINGLE, 0.0))
    _check_sums(p.sum(-1), relative + absolute * p.shape[-1], p.shape[-1])
    return -_information(p)


def _of_log_rows(x: Doubles, dtype: str) -> Doubles:
    """Themselves, if their exponentials sum to 1, off by the entropy times the rounding at most."""
    relative, _ = _ROUNDING.get(dtype, (_SINGLE, 0.0))
    total = np.exp(np.minimum(logsumexp(x, num_threads=1), 700.0))
    _check_sums(total, relative * (1 + math.log(x.shape[-1])), x.shape[-1])
    return x


def _of_labels(p: Doubles, dtype: str) -> Doubles:
    """log(p) - log(1 - p); 1 - p is exact from 1/2 on, and for all of float32 that matters."""
    _check_range(p)
    return _information(1 - p) - _information(p)


def _of_log_labels(x: Doubles, dtype: str) -> Doubles:
    """log(p) - log(1 - p) with 1 - p = -expm1(x), which is -elu(x)."""
    bad = x > 0
    if bad.any():
        row = int(bad.argmax())
        raise InputError("logits", f"log-probability {x[row, 0]} is above 0", (row,))
    return x + _information(-elu(x, num_threads=1))


_CONVERSIONS: dict[tuple[Task, Input], Callable[[Doubles, str], Doubles]] = {
    ("multiclass", "probabilities"): _of_rows,
    ("multiclass", "log-probabilities"): _of_log_rows,
    ("binary", "probabilities"): _of_labels,
    ("binary", "log-probabilities"): _of_log_labels,
}


def _information(p: Doubles) -> Doubles:
    """-log(p), the same on every machine."""
    unknown = np.isnan(p)
    if not unknown.any():
        return information_content(p, num_threads=1)
    return np.where(unknown, p, information_content(np.where(unknown, 1.0, p), num_threads=1))


def _check_range(p: Doubles) -> None:
    bad = (p < 0) | (p > 1)
    if bad.any():
        row, label = (int(i) for i in np.unravel_index(int(bad.argmax()), p.shape))
        of = f" of class {label}" if p.shape[1] > 1 else ""
        raise InputError("logits", f"probability {p[row, label]}{of} is outside [0, 1]", (row,))


def _check_sums(total: Doubles, rounding: float, classes: int) -> None:
    """Sums of rows must be 1, but for rounding: of what is stored, and of a softmax in float32."""
    far = abs(total - 1) > rounding + (4 + math.sqrt(classes)) * _SINGLE
    if far.any():
        row = int(far.argmax())
        problem = f"the probabilities sum to {total[row]:.9g}, not to 1: normalise them"
        raise InputError("logits", problem, (row,))


# ---- what logits seem to be ----


def look_like_probabilities(rows: NDArray[Any], task: Task) -> bool:
    """Whether some rows of logits, the class axis the last, are all in [0, 1], and sum to 1."""
    if rows.dtype.name not in check.SUPPORTED or not (rows[:1] >= 0).all():
        return False
    x = rows.astype(np.float64)
    if not ((x >= 0) & (x <= 1)).all() or ((x == 0) | (x == 1)).all():
        return False
    if task == "binary":
        return x.size >= _FEW
    return x.shape[-1] > 1 and bool((abs(x.sum(-1) - 1) < 1e-2).all())


def first_rows(shape: tuple[int, ...]) -> tuple[int | slice, ...]:
    """The index of the rows to look at."""
    few = max(1, min(_ROWS, _PIECE // max(1, shape[-1])))
    return (*(0,) * (len(shape) - 2), slice(0, few))
