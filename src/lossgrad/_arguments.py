"""Checks of what callers pass, and the shape work: one place and one wording for every error.

The functions here take what a user gave and return plain native arrays, or raise; none computes
losses. Each starts with the common case, because a whole call on a small array lasts a microsecond.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

F32 = np.dtype(np.float32)
F64 = np.dtype(np.float64)
DTYPES = (F32, F64)
REDUCTIONS = ("mean", "sum", "none")


def floating(x: ArrayLike, name: str = "x") -> Array:
    """The floating-point array that is computed with; integers and bools become float64."""
    if type(x) is np.ndarray:
        dtype = x.dtype
        if (dtype is F32 or dtype is F64) and x.flags.aligned:
            return x
    return _floating_slow(x, name)


def _floating_slow(x: ArrayLike, name: str) -> Array:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array and its mask would be lost; pass {name}.filled(value) instead"
        )
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise TypeError(f"{name} cannot be made an array: {error}") from None
    dtype = array.dtype
    if dtype.kind in "biu":
        dtype = F64
    if dtype.newbyteorder("=") not in DTYPES:
        supported = ", ".join(d.name for d in DTYPES)
        raise TypeError(
            f"{name} has dtype {array.dtype}; supported are {supported}, and integers and bools, "
            f"which become float64"
        )
    return np.require(array, dtype.newbyteorder("="), "A").view(np.ndarray)


def same_dtype(x: ArrayLike, dtype: np.dtype[Any], name: str) -> Array:
    """An operand that is converted to the dtype of the main one."""
    if type(x) is np.ndarray and x.dtype is dtype and x.flags.aligned:
        return x
    array = _floating_slow(x, name)
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(dtype)


def axis_index(axis: int, ndim: int) -> int:
    """The axis counted from the front."""
    try:
        k = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis must be an integer, not {axis!r}") from None
    if not -ndim <= k < ndim:
        raise ValueError(f"axis={k} is out of bounds for an array of {ndim} dimensions")
    return k % ndim


def classes_at(x: Array, axis: int, name: str = "x") -> int:
    """Length of the class axis (already counted from the front), which may not be 0."""
    if x.ndim == 0:
        raise ValueError(f"{name} is a scalar; it needs a class axis")
    if not x.shape[axis]:
        raise ValueError(f"{name} of shape {x.shape} has no classes along axis={axis}")
    return x.shape[axis]


def grid(x: Array, axis: int) -> Array:
    """x as (outer, classes, inner) with the axis in the middle: a view wherever there is one."""
    shape = x.shape
    if x.ndim == 2:
        return x[:, :, None] if axis == 1 else x[None]
    outer = inner = 1
    for n in shape[:axis]:
        outer *= n
    for n in shape[axis + 1 :]:
        inner *= n
    return x.reshape(outer, shape[axis], inner)


def rows_of(values: Array, shape: tuple[int, ...], axis: int) -> Array:
    """One value for each row of logits of this shape, as (outer, inner)."""
    outer = 1
    for n in shape[:axis]:
        outer *= n
    inner = 1
    for n in shape[axis + 1 :]:
        inner *= n
    return values.reshape(outer, inner)


def alike(*operands: Array | None) -> list[Array | None]:
    """Elementwise operands of one shape as grids walked in one order, by views where there are any."""
    arrays = [a for a in operands if a is not None]
    ndim = arrays[0].ndim
    if all(a.flags.c_contiguous for a in arrays):
        return [None if a is None else a.reshape(1, 1, -1) for a in operands]
    if all(a.flags.f_contiguous for a in arrays):
        return [None if a is None else a.T.reshape(1, 1, -1) for a in operands]
    if ndim <= 3:
        lead = (1,) * (3 - ndim)
        return [None if a is None else a.reshape(lead + a.shape) for a in operands]
    return [None if a is None else a.reshape(-1, 1, a.shape[-1]) for a in operands]


def row_shape(shape: tuple[int, ...], axis: int, keepdims: bool) -> tuple[int, ...]:
    """The shape of one value a row, with the axis kept as 1 or dropped."""
    return shape[:axis] + (1,) * keepdims + shape[axis + 1 :]


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape of one value a row."""
    return shape[:axis] + shape[axis + 1 :]


def reduction_of(reduction: str) -> str:
    """A known reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction={reduction!r} is unknown; choose one of {', '.join(REDUCTIONS)}")
    return reduction


def smoothing_of(label_smoothing: float) -> float:
    """label_smoothing within [0, 1]."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r} is outside [0, 1]")
    return float(label_smoothing)


def class_weight(weight: ArrayLike | None, classes: int, dtype: np.dtype[Any]) -> Array | None:
    """Class weights as a contiguous vector of the logits' dtype."""
    if weight is None:
        return None
    w = same_dtype(weight, dtype, "weight")
    if w.shape != (classes,):
        raise ValueError(f"weight has shape {w.shape}; it needs one value for each of {classes} classes")
    return np.ascontiguousarray(w)


def spread(
    weight: ArrayLike | None, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
) -> Array | None:
    """A weight broadcast to the logits' shape as NumPy does, as a view."""
    if weight is None:
        return None
    w = same_dtype(weight, dtype, name)
    try:
        return np.broadcast_to(w, shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {w.shape} does not broadcast to the logits' shape {shape}"
        ) from None


def same_shape(x: Array, shape: tuple[int, ...], name: str, other: str) -> Array:
    """x, if it has the shape of the other operand; nothing broadcasts silently."""
    if x.shape != shape:
        raise ValueError(f"{name} has shape {x.shape}, but {other} has shape {shape}; they must be equal")
    return x


def targets_of(
    targets: ArrayLike, logits: Array, axis: int
) -> tuple[Array | None, Array | None]:
    """(labels, None) or (None, probabilities) for cross-entropy, of a checked shape."""
    t = targets if type(targets) is np.ndarray else _plain(targets, "targets")
    kind = t.dtype.kind
    if kind in "iu":
        if t.shape != without(logits.shape, axis):
            raise ValueError(_label_shape(t.shape, logits.shape, axis))
        if not t.dtype.isnative or not t.flags.aligned:
            t = np.require(t, t.dtype.newbyteorder("="), "A")
        return t, None
    if kind == "b":
        raise TypeError(
            "targets are bool; class labels are integers (targets.astype(int)), and binary targets "
            "belong to binary_cross_entropy_with_logits"
        )
    if kind == "f" and t.shape != logits.shape and t.shape == without(logits.shape, axis):
        raise TypeError(
            f"targets of shape {t.shape} have dtype {t.dtype}; class labels are integers "
            f"(targets.astype(int)), and probability targets have the logits' shape {logits.shape}"
        )
    t = same_dtype(t, logits.dtype, "targets")
    if t.shape != logits.shape:
        raise ValueError(
            f"probability targets have shape {t.shape}, but logits have shape {logits.shape}; "
            f"they must be equal"
        )
    return None, t


def _plain(x: ArrayLike, name: str) -> Array:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array and its mask would be lost; fill it first")
    return np.asarray(x).view(np.ndarray)


def _label_shape(shape: tuple[int, ...], logits: tuple[int, ...], axis: int) -> str:
    text = f"targets have shape {shape}, but logits of shape {logits} with axis={axis} need {without(logits, axis)}"
    fitting = [k for k in range(len(logits)) if k != axis and without(logits, k) == shape]
    if fitting:
        text += f"; targets of shape {shape} fit axis={fitting[0]}"
    return text


def int64_of(ignore_index: int) -> int:
    """ignore_index as an integer that a label can be compared with."""
    try:
        k = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer, not {ignore_index!r}") from None
    if not -(2**63) <= k < 2**63:
        raise ValueError(f"ignore_index={k} does not fit 64 bits")
    return k


def bad_label(labels: Array, flat_index: int, classes: int, ignore_index: int) -> IndexError:
    """The error for the first bad label; flat_index counts rows in C order."""
    where = np.unravel_index(flat_index, labels.shape) if labels.ndim else ()
    value = int(labels[where])
    row = f"row {int(where[0])}" if len(where) == 1 else f"row {tuple(int(k) for k in where)}"
    return IndexError(
        f"label {value} in {row} is outside [0, {classes}) and is not ignore_index ({ignore_index})"
    )


def check_labels(labels: Array, classes: int, ignore_index: int) -> None:
    """Raise for the first label that is neither a class nor ignore_index."""
    bad = (labels >= classes) | (labels < 0)
    if -(2**63) <= ignore_index and labels.size:
        info = np.iinfo(labels.dtype)
        if info.min <= ignore_index <= info.max:
            bad &= labels != ignore_index
    if bad.any():
        raise bad_label(labels, int(np.argmax(bad.reshape(-1))), classes, ignore_index)


def row_gradient(
    grad: ArrayLike, shape: tuple[int, ...], reduction: str, dtype: np.dtype[Any]
) -> Array | float:
    """The gradient of a loss: a number where it was reduced, an array of its shape where not."""
    if reduction != "none":
        if type(grad) is float or type(grad) is int:
            return float(grad)
        g = _floating_slow(grad, "grad")
        if g.ndim:
            raise ValueError(
                f"grad has shape {g.shape}, but a loss with reduction={reduction!r} has a scalar gradient"
            )
        return float(g)
    g = same_dtype(grad, dtype, "grad")
    return same_shape(g, shape, "grad", "the loss")


class Output:
    """Where a result goes: a new array, the caller's, or a temporary when the two overlap in part."""

    __slots__ = ("array", "out")

    def __init__(self, array: Array, out: Array) -> None:
        self.array = array
        self.out = out

    def done(self) -> Array:
        """The caller's array, filled."""
        if self.array is not self.out:
            self.out[...] = self.array
        return self.out


def output(
    out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: Array | None, dims: int = 3
) -> Output:
    """Check out and make the place for a result; out may be an input itself.

    An out of more than dims dimensions that is not contiguous gets a temporary, since C could not
    see it as a grid.
    """
    if out is None:
        array = np.empty(shape, dtype)
        return Output(array, array)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if out.dtype != dtype or out.shape != shape:
        raise ValueError(
            f"out has dtype {out.dtype} and shape {out.shape}; the result has {dtype} and {shape}"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    plain = out if type(out) is np.ndarray else out.view(np.ndarray)
    direct = (
        plain.flags.aligned
        and plain.dtype.isnative
        and (plain.flags.c_contiguous or plain.ndim <= dims)
        and not any(x is not None and _overlap_in_part(x, plain) for x in inputs)
    )
    return Output(plain if direct else np.empty(shape, dtype), out)


def _overlap_in_part(x: Array, out: Array) -> bool:
    if x is out or not np.may_share_memory(x, out):
        return False
    return (
        x.__array_interface__["data"][0] != out.__array_interface__["data"][0]
        or x.strides != out.strides
        or x.shape != out.shape
        or x.dtype != out.dtype
    )


def no_output(out: Array | None, reduction: str) -> None:
    """A reduced loss is a float: there is nothing for out to hold."""
    if out is not None:
        raise ValueError(
            f"out is for the row losses of reduction='none'; with reduction={reduction!r} the loss is a float"
        )


def saved_lse(
    lse: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any], written: bool
) -> Array | None:
    """The rows' log-sum-exp that a forward pass fills and a backward pass reads."""
    if lse is None:
        return None
    if not isinstance(lse, np.ndarray):
        raise TypeError(f"lse must be a NumPy array, not {type(lse).__name__}")
    if lse.shape != shape or lse.dtype not in (dtype, F64):
        raise ValueError(
            f"lse has dtype {lse.dtype} and shape {lse.shape}; it needs float64 or {dtype} and {shape}"
        )
    if written and not lse.flags.writeable:
        raise ValueError("lse is read-only")
    return lse
