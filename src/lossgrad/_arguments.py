"""Every check of an argument and every error message, once, for kernels and reference alike.

Nothing numeric happens here: arrays come back in a form that can be computed with, or an error says
what was wrong and what to do. Helpers try the usual case first, because a small call has to be over
in about a microsecond; the most usual calls do not come here (``plain_`` in ``_kernels.pyx``).
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, overload

import numpy as np
from numpy.exceptions import AxisError
from numpy.typing import ArrayLike, NDArray

from ._backend import kernels
from ._environment import arithmetic

Array = NDArray[Any]
Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None
# Of elements, (w, shift): w * 2**shift in the computed type; None is 1, and no shift.
Weights = tuple[Array | None, Array | None]

# What may be given and comes back. bfloat16 (of ml_dtypes) is known by its name alone.
SUPPORTED: Final = ("float16", "bfloat16", "float32", "float64")
FLOAT32: Final = np.dtype(np.float32)
FLOAT64: Final = np.dtype(np.float64)
NATIVE: Final = (FLOAT32, FLOAT64, np.dtype(np.float16))
REDUCTIONS: Final = ("none", "mean", "sum")
IGNORE_INDEX: Final = -100
_PIECE: Final = 1 << 22  # elements that NumPy copies at a time


# ---- arrays ----------------------------------------------------------------------------------


def floating(x: ArrayLike, name: str = "x") -> Array:
    """x as an aligned array of a supported dtype; integers and bools become float64."""
    a = x if type(x) is np.ndarray else _array(x, name)
    if a.dtype in NATIVE and a.flags.aligned:
        return a
    if a.dtype.kind in "biu":
        return cast(a, FLOAT64)
    if a.dtype.name not in SUPPORTED:
        _unsupported(name, a.dtype)
    return _plain(a)


def converted(x: ArrayLike, dtype: np.dtype[Any], name: str) -> Array:
    """x, of any real type, as an aligned array of the given dtype."""
    a = x if type(x) is np.ndarray else _array(x, name)
    if a.dtype == dtype and a.flags.aligned:
        return a
    if a.dtype.kind not in "biu" and a.dtype.name not in SUPPORTED:
        _unsupported(name, a.dtype)
    if a.dtype == dtype:
        return _plain(a)
    with arithmetic():  # float64 values that float32 cannot hold become inf or 0
        return cast(a, dtype)


@arithmetic()
def promoted(x: ArrayLike, other: Any, name: str, other_name: str) -> tuple[Array, Any]:
    """x and another operand of the same rank, in the dtype that NumPy promotes both to.

    A Python number takes on the dtype of x, lists are arrays. What says how to weigh or to combine
    (weights, targets of classification, gradients) is no such operand: it is ``converted``.
    """
    a = floating(x, name)
    if isinstance(other, bool | int | float) and not isinstance(other, np.generic):
        return a, other
    b = _array(other, other_name)
    if b.dtype == a.dtype:
        return a, floating(b, other_name)
    if b.dtype.kind not in "biu" and b.dtype.name not in SUPPORTED:
        _unsupported(other_name, b.dtype)
    dtype = np.result_type(a.dtype, b.dtype)
    return converted(a, dtype, name), converted(b, dtype, other_name)


def _array(x: Any, name: str) -> Array:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost: pass {name}.filled(value) instead"
        )
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    return np.asarray(x)


def cast(a: Array, dtype: np.dtype[Any]) -> Array:
    """A copy in another type, made in pieces: Python answers signals between them."""
    to = np.empty_like(a, dtype, subok=False)
    _copy(a, to)
    return to


def _copy(a: Array, to: Array) -> None:
    if a.size <= _PIECE:
        to[...] = a
        return
    step = max(1, _PIECE * len(a) // a.size)
    for k in range(0, len(a), step):
        _copy(a[k : k + step] if len(a) > 1 else a[0], to[k : k + step] if len(a) > 1 else to[0])


def _plain(a: Array) -> Array:
    """In native byte order and aligned, copied only if it has to be."""
    a = a.astype(a.dtype.newbyteorder("="), copy=False)
    return a if a.flags.aligned else a.copy()


def _unsupported(name: str, dtype: np.dtype[Any]) -> NoReturn:
    raise TypeError(
        f"{name} has dtype {dtype}, which is not supported: "
        f"use {', '.join(SUPPORTED)}, or integers or bools, which are converted"
    )


def computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What elements of a dtype are computed in: float32 for halves, else the dtype itself."""
    return FLOAT32 if dtype.itemsize == 2 else dtype


def same_shape(a: Array, shape: Shape, name: str, model: str) -> Array:
    """The array a, whose shape must be that of the argument called model."""
    if a.shape != shape:
        raise ValueError(
            f"{name} has shape {a.shape}, but {model} has shape {shape}: they must be the same"
        )
    return a


# ---- axes and layouts --------------------------------------------------------------------------


def axis_index(axis: int, ndim: int) -> int:
    """The axis counted from the front."""
    if type(axis) is not int:
        axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise AxisError(axis, ndim)
    return axis + ndim if axis < 0 else axis


def class_axis(x: Array, axis: int, name: str = "x") -> int:
    """The class axis counted from the front; there must be at least one class along it."""
    shape = x.shape
    axis = axis_index(axis, len(shape))
    if shape[axis] == 0:
        raise ValueError(f"{name} of shape {shape} has no classes along axis={axis}")
    return axis


def rows_shape(shape: Shape, axis: int, keepdims: bool = False) -> Shape:
    """The shape that is left when the class axis (counted from the front) is reduced."""
    if keepdims:
        return (*shape[:axis], 1, *shape[axis + 1 :])
    return shape[:axis] + shape[axis + 1 :] if axis < len(shape) - 1 else shape[:axis]


class Classes:
    """The class axis of arrays of one shape: one of their own axes, or what several are merged to.

    Several are a tuple of axes, in any order, or all (None). They are merged where the first of
    them is, which moves no memory if they are neighbours. A number is one class. Entries that are
    False in `where` are not read: see ``read``.
    """

    def __init__(
        self, x: Array, axis: Axis, name: str = "x", where: ArrayLike | None = None
    ) -> None:
        self._merge(x, axis, name)
        self._mask = None if where is None else self.merged(_broadcast_mask(where, x.shape))

    def _merge(self, x: Array, axis: Axis, name: str) -> None:
        shape, self.axes = x.shape, _several(axis, x.ndim)
        self._own = self._moved = self.shape = shape
        if self.axes is None:
            self.axis = class_axis(x, operator.index(axis), name)  # type: ignore[arg-type]
            return
        classes = math.prod(shape[k] for k in self.axes)
        if classes == 0:
            raise ValueError(f"{name} of shape {shape} has no classes along axis={axis}")
        rest = [k for k in range(x.ndim) if k not in self.axes]
        self.axis = min(self.axes, default=x.ndim)
        order = [*rest[: self.axis], *self.axes, *rest[self.axis :]]
        self._moved = tuple(shape[k] for k in order)
        left = tuple(shape[k] for k in rest)
        self.shape = (*left[: self.axis], classes, *left[self.axis :])

    @property
    def _places(self) -> range:
        """Where the merged axes are before they are one."""
        return range(self.axis, self.axis + len(self.axes or ()))

    def rows_shape(self, keepdims: bool = False) -> Shape:
        """The shape that is left when the classes are reduced."""
        if self.axes is None or not keepdims:
            return rows_shape(self.shape, self.axis, keepdims)
        return tuple(1 if k in self.axes else n for k, n in enumerate(self._own))

    @overload
    def merged(self, a: Array) -> Array: ...
    @overload
    def merged(self, a: Array | None) -> Array | None: ...
    def merged(self, a: Array | None) -> Array | None:
        """An array of the shape with its classes along one axis, `axis`; a view if there is one."""
        if self.axes is None or a is None:
            return a
        return np.moveaxis(a, self.axes, self._places).reshape(self.shape)

    def read(self, a: Array, fill: float) -> Array:
        """The same, with another number in place of what is not read."""
        return filled(self.merged(a), self._mask, fill)

    def clear(self, gradient: Array) -> None:
        """Write 0 to a merged gradient where nothing is read."""
        clear(gradient, self._mask)

    def output(self, out: Array | None, dtype: np.dtype[Any]) -> Array:
        """As the function ``output``, for a result of all classes."""
        if self.axes is not None and out is not None:
            out = self.merged(_fitting(out, self._own, dtype, "out"))
        return output(out, self.shape, dtype, axis=self.axis)

    def finished(self, result: Array, out: Array | None) -> Array:
        """Hand back a result written to what `output` gave."""
        if self.axes is None:
            return finished(result, out)
        result = np.moveaxis(result.reshape(self._moved), self._places, self.axes)
        if out is None:
            return finished(np.ascontiguousarray(result).reshape(result.shape), None)
        if not np.may_share_memory(result, out):
            np.copyto(out, result)
        return out


def _several(axis: Axis, ndim: int) -> tuple[int, ...] | None:
    """The axes to merge, in order; None if it is an axis of its own."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, tuple):
        return () if ndim == 0 and axis_index(axis, 1) == 0 else None
    axes = sorted(axis_index(k, ndim) for k in axis)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis={axis} names an axis twice")
    return tuple(axes)


def _mask(where: ArrayLike) -> Array:
    a = np.asarray(where)
    if a.dtype != np.bool_:
        raise TypeError(f"where has dtype {a.dtype}: use bools, True for what is read")
    return a


def _broadcast_mask(where: ArrayLike, shape: Shape) -> Array:
    """Which entries are read; it may not enlarge them."""
    a = _mask(where)
    try:
        return np.broadcast_to(a, shape)
    except ValueError:
        raise ValueError(
            f"where of shape {a.shape} does not broadcast to the shape of x, {shape}"
        ) from None


def loss_mask(
    where: ArrayLike | None, shape: Shape, axis: int
) -> tuple[Array | None, Array | None]:
    """(which rows are read, which logits are read), as far as they are given."""
    if where is None:
        return None, None
    a, rows = _mask(where), rows_shape(shape, axis)
    if a.shape not in (shape, rows):
        raise ValueError(
            f"where has shape {a.shape}: it must be {rows}, for a mask of rows, "
            f"or {shape}, for one of their entries"
        )
    return (None, a) if a.shape == shape else (a, None)


def filled(a: Array, mask: Array | None, fill: float) -> Array:
    """The array with another number where the mask, if there is one, is False."""
    return a if mask is None else np.where(mask, a, a.dtype.type(fill))


def clear(gradient: Array, mask: Array | None) -> None:
    """Write 0 where the mask, if there is one, is False."""
    if mask is not None:
        np.copyto(gradient, 0, where=~mask)


def grid(x: Array, axis: int) -> Array:
    """x as (outer, classes, inner), axis counted from the front; a view unless none exists."""
    shape = x.shape
    return x.reshape(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def class_runs(x: Array, axis: int) -> Array:
    """x with each row's elements next to each other in memory: a copy, unless they are."""
    if x.strides[axis] == x.itemsize or x.shape[axis] == 1:
        return x
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, axis, -1)), -1, axis)


# ---- results -----------------------------------------------------------------------------------


def output(
    out: Array | None,
    shape: Shape,
    dtype: np.dtype[Any],
    *,
    axis: int | None = None,
    rows: bool = False,
    name: str = "out",
) -> Array:
    """The array to write a result to; ``finished`` turns it into what is handed back.

    That is `out` itself, unless it is not aligned, or has no view as a grid along `axis` (of its
    own axes if axis is None and those are at most three; as one run if it holds one value a row).
    It may overlap what is read: the kernels see to that where arrays cross into C, and the
    reference writes when all is computed.
    """
    if out is None:
        return np.empty(shape, dtype)
    plain = _fitting(out, shape, dtype, name)
    if not plain.flags.aligned or not (
        plain.flags.c_contiguous or (not rows and _has_view(plain, axis))
    ):
        return np.empty(shape, dtype)
    return plain


def _fitting(out: Array, shape: Shape, dtype: np.dtype[Any], name: str) -> Array:
    """`out` as a plain array, which must be able to hold the result."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, but the result has shape {shape}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, but the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return np.asarray(out)  # a memory map, say, as the base class


def finished(result: Array, out: Array | None) -> Array:
    """Hand back a result written to what ``output`` gave: in `out` if given, 0-d as a scalar."""
    if out is None:
        return result if result.ndim else result[()]
    if result is not out and result.base is not out:
        np.copyto(out, result)
    return out


def _has_view(out: Array, axis: int | None) -> bool:
    return out.ndim <= 3 if axis is None else np.may_share_memory(grid(out, axis), out)


def lse_output(lse: Array | None, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """The array to write each row's log-sum-exp to (see ``output``), None if not asked for."""
    if lse is None:
        return None
    return output(lse, shape, _lse_dtype(lse, dtype), name="lse")


def lse_input(lse: ArrayLike | None, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """Each row's log-sum-exp as it was saved."""
    if lse is None:
        return None
    a = _plain(_array(lse, "lse"))
    _lse_dtype(a, dtype)
    return same_shape(a, shape, "lse", "each row's log-sum-exp")


def _lse_dtype(lse: Any, dtype: np.dtype[Any]) -> np.dtype[Any]:
    given = getattr(lse, "dtype", None)
    if given == dtype:
        return dtype
    if given is not None and given != FLOAT64:
        raise TypeError(f"lse has dtype {given}: use float64 or the logits' dtype, {dtype}")
    return FLOAT64


# ---- options -----------------------------------------------------------------------------------


def reduction_name(reduction: str) -> str:
    """The reduction, which must be one of REDUCTIONS."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be "none", "mean" or "sum", got {reduction!r}')
    return reduction


def batch_reduction_name(reduction: str) -> str:
    """The reduction of kl_div: one more."""
    if reduction != "batchmean" and reduction not in REDUCTIONS:
        raise ValueError(
            f'reduction must be "none", "mean", "batchmean" or "sum", got {reduction!r}'
        )
    return reduction


def batch_size(x: Array) -> int:
    """Entries of the first axis; a number is one."""
    return x.shape[0] if x.ndim else 1


def divergence_divisor(reduction: str, x: Array, classes: Classes | None) -> float:
    """What kl_div's sum is divided by: the mean is over elements, or rows if there are any."""
    if reduction == "batchmean":
        return batch_size(x)
    if reduction != "mean":
        return 1.0
    return x.size if classes is None else math.prod(classes.rows_shape())


def loss_out(out: Array | None, reduction: str) -> None:
    """Refuse `out` for a loss that is a number."""
    if out is not None and reduction != "none":
        raise ValueError(
            f'out needs reduction="none": with reduction="{reduction}" the loss is a Python float'
        )


def smoothing(label_smoothing: float) -> float:
    """The label smoothing, in [0, 1]."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}")
    return float(label_smoothing)


def ignored_label(ignore_index: int) -> int:
    """The label of rows to leave out."""
    ignore_index = operator.index(ignore_index)
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index must fit in 64 bits, got {ignore_index}")
    return ignore_index


def upstream(grad: ArrayLike, reduction: str, shape: Shape, dtype: np.dtype[Any]) -> float | Array:
    """The gradient of the loss: a number, with reduction="none" an array of the losses' shape."""
    if reduction == "none":
        return same_shape(converted(grad, dtype, "grad"), shape, "grad", "the loss")
    if type(grad) is float:
        return grad
    a = converted(grad, FLOAT64, "grad")
    if a.ndim:
        raise ValueError(
            f'grad has shape {a.shape}, but with reduction="{reduction}" the loss is a number: '
            f"pass a number"
        )
    return float(a)


def positive(value: float, name: str, x: ArrayLike) -> float:
    """A parameter that must be a positive number, also in the type that x is computed in."""
    number = float(value)
    if 1e-30 < number < 1e30:  # in any type
        return number
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    dtype = computed(floating(x).dtype)
    with arithmetic():
        rounded = dtype.type(number)
        if not 0 < rounded < math.inf:
            raise ValueError(
                f"{name} must be positive and finite, but {value} is {rounded} in {dtype}, "
                f"which x is computed in: use float64 (x.astype(np.float64))"
            )
    return number


def logarithm_base(base: float) -> float:
    """The base of a logarithm."""
    number = float(base)
    if not 0 < number < math.inf or number == 1:
        raise ValueError(f"base must be a positive number other than 1, or None, got {base}")
    return number


def gelu_form(approximate: str) -> str:
    """Which gelu."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f'approximate must be "none" or "tanh", got {approximate!r}')
    return approximate


def norm_out(out: Array | None) -> None:
    """Refuse `out` for a norm that is a number."""
    if out is not None:
        raise ValueError("out needs an axis: the norm of all elements is a Python float")


def slope_range(lower: float, upper: float) -> tuple[float, float]:
    """The range of rrelu's slopes."""
    low, high = float(lower), float(upper)
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"lower must be at most upper and both finite, got {lower} and {upper}")
    return low, high


def drawn_slopes(slopes: ArrayLike | None, x: Array, training: bool) -> Array | None:
    """The slopes that rrelu drew, in the computed type; None where they are not needed."""
    if slopes is None:
        if training:
            raise ValueError(
                "slopes are needed with training=True: "
                "rrelu(..., return_slopes=True) returns what it drew"
            )
        return None
    return same_shape(converted(slopes, computed(x.dtype), "slopes"), x.shape, "slopes", "x")


def channel_weight(weight: ArrayLike, x: Array, axis: int) -> tuple[Array, int]:
    """prelu's weight as an array that broadcasts to x, in the computed type, and its axis."""
    w = converted(weight, computed(x.dtype), "weight")
    if w.size == 1 and w.ndim <= 1:
        return np.broadcast_to(w.reshape(()), x.shape), 0
    axis = axis_index(axis, x.ndim)
    if w.shape != (x.shape[axis],):
        raise ValueError(
            f"weight has shape {w.shape}, but x of shape {x.shape} has {x.shape[axis]} entries "
            f"along axis={axis}: it must be one number or ({x.shape[axis]},)"
        )
    return np.broadcast_to(w.reshape(-1, *(1,) * (x.ndim - axis - 1)), x.shape), axis


# ---- targets and weights -------------------------------------------------------------------------


def class_targets(
    targets: ArrayLike, logits: Array, axis: int, ignore_index: int = IGNORE_INDEX
) -> Array:
    """Labels as an integer array, or probabilities of the logits' dtype and shape.

    `axis` is counted from the front. Labels' values are not looked at: see ``check_labels``.
    """
    shape = logits.shape
    rows = rows_shape(shape, axis)
    if type(targets) is np.ndarray:
        dtype = targets.dtype
        usual = dtype.kind in "iu" and dtype.isnative and targets.shape == rows
        if usual and targets.flags.aligned:
            return targets
    a = _array(targets, "targets")
    if a.dtype.kind in "iu":
        if a.shape != rows:
            _misfit(a.shape, shape, axis)
        return _plain(a)
    if a.dtype.name not in SUPPORTED:
        raise TypeError(
            f"targets have dtype {a.dtype}: use integer labels, "
            f"or floats of the logits' shape for probabilities"
        )
    if a.shape != shape:
        if a.shape == rows:
            raise TypeError(
                f"targets have dtype {a.dtype} and the shape of labels, {a.shape}: "
                f"use integers (targets.astype(np.int64))"
            )
        raise ValueError(
            f"targets of dtype {a.dtype} are probabilities and need the logits' shape, {shape}, "
            f"got {a.shape}"
        )
    if ignore_index >= 0:
        raise ValueError(
            f"ignore_index ({ignore_index}) is for labels, but targets are probabilities"
        )
    return converted(a, computed(logits.dtype), "targets")


def labels_only(targets: Array) -> None:
    """Refuse probability targets."""
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"targets have dtype {targets.dtype}: integer labels are needed here "
            f"(for probabilities, use cross_entropy or kl_div)"
        )


def _misfit(targets: Shape, logits: Shape, axis: int) -> NoReturn:
    message = (
        f"targets have shape {targets}, but logits of shape {logits} with classes along "
        f"axis={axis} need {rows_shape(logits, axis)}"
    )
    if targets == logits:
        raise ValueError(
            f"{message}; for probabilities of the logits' shape, use floats "
            f"(targets.astype(logits.dtype))"
        )
    fits = [k for k in range(len(logits)) if rows_shape(logits, k) == targets]
    if fits:
        names = " or ".join(f"axis={k}" for k in fits)
        message = f"{message}; targets of shape {targets} fit {names}"
    raise ValueError(message)


def check_labels(
    labels: Array, classes: int, ignore_index: int, sample_weight: Array | None = None
) -> NDArray[np.bool_]:
    """Which rows are kept; a kept label that is neither a class nor ignored is an IndexError."""
    kept: NDArray[np.bool_] = labels != ignore_index
    if sample_weight is not None:
        kept &= sample_weight.reshape(labels.shape) != 0
    bad = kept & ((labels < 0) | (labels >= classes))
    if bad.any():
        raise bad_label(labels, int(bad.argmax()), classes, ignore_index)
    return kept


def bad_label(labels: Array, flat_index: int, classes: int, ignore_index: int) -> IndexError:
    """The error for the bad label at an index into the flattened labels."""
    index = tuple(map(int, np.unravel_index(flat_index, labels.shape)))
    row = f" in row {index[0] if len(index) == 1 else index}" if index else ""
    return IndexError(
        f"label {labels[index]}{row} is outside [0, {classes}) "
        f"and is not ignore_index ({ignore_index})"
    )


def class_weight(weight: ArrayLike | None, classes: int, dtype: np.dtype[Any]) -> Array | None:
    """One weight for each class, contiguous."""
    if weight is None:
        return None
    a = converted(weight, computed(dtype), "weight")
    if a.shape != (classes,):
        raise ValueError(
            f"weight has shape {a.shape}, but there are {classes} classes: it must be ({classes},)"
        )
    return np.ascontiguousarray(a)


def input_and_target(input: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    """Two arrays of one shape that are compared, in the dtype that NumPy promotes both to."""
    x, t = promoted(input, target, "input", "target")
    return x, same_shape(converted(t, computed(x.dtype), "target"), x.shape, "target", "input")


def sample_weight(
    weight: ArrayLike | None,
    mask: Array | None,
    rows: Shape,
    reduction: str,
    num_threads: int | None = None,
) -> Array | None:
    """One weight a row, contiguous and in row order (see ``_comparable``); 0 where it is masked."""
    if weight is None:
        return None if mask is None else mask.astype(FLOAT64).reshape(-1)
    a = same_shape(converted(weight, FLOAT64, "sample_weight"), rows, "sample_weight", "the rows")
    a = filled(a, mask, 0)
    return _comparable(a, reduction, num_threads).reshape(-1)


def _comparable(a: Array, reduction: str, num_threads: int | None) -> Array:
    """Sample weights, contiguous, which must be finite and not negative.

    Those of a mean are divided by a power of two, so that the largest is about 1: that cancels, and
    no product or sum leaves the range.
    """
    a = np.ascontiguousarray(a).reshape(a.shape)
    rule = "must be finite and not negative"
    _within(a, "sample_weight", np.finfo(FLOAT64).max, rule, num_threads)
    if reduction != "mean" or a.size == 0:
        return a
    with arithmetic():
        scaled = np.asarray(np.ldexp(a, -np.frexp(a.max())[1]))  # of a 0-d array it is a number
        return np.maximum(scaled, np.finfo(FLOAT64).smallest_subnormal, out=scaled, where=a > 0)


class Samples:
    """Sample weights of a loss of elements: one each, or one a row; or None.

    A row is an entry of the leading axes, or of what is left without `classes`.
    """

    @arithmetic()
    def __init__(
        self,
        weight: ArrayLike | None,
        shape: Shape,
        reduction: str,
        num_threads: int | None = None,
        classes: Classes | None = None,
    ) -> None:
        self._weight: Array | None = None
        self.left_out: Array | None = None
        if weight is None:
            return
        a = converted(weight, FLOAT64, "sample_weight")
        if classes is not None:
            a = same_shape(a, classes.rows_shape(), "sample_weight", "the rows")
            a = a.reshape(classes.rows_shape(keepdims=True))
        elif a.shape != shape[: a.ndim]:
            raise ValueError(
                f"sample_weight has shape {a.shape}, but the loss has shape {shape}: "
                f"it must be the same, or that of the leading axes, for one weight a row"
            )
        a = _comparable(a, reduction, num_threads)
        self._of_rows = a
        a = a.reshape(a.shape + (1,) * (len(shape) - a.ndim))
        self._weight = np.broadcast_to(a, shape)
        if not a.all():
            self.left_out = self._weight == 0

    def read(self, a: Array) -> Array:
        """An operand of the loss; what is left out becomes 1/2, of which every loss is finite."""
        return a if self.left_out is None else np.where(self.left_out, a.dtype.type(0.5), a)

    def of_rows(self, rows: Shape) -> Array | float:
        """The weights of rows, which have one a row."""
        if self._weight is None:
            return 1.0
        return self._of_rows.reshape(rows)

    def total(self, count: int, exact_sum: Callable[[Array], float]) -> float:
        """What a mean is divided by: the sum of the weights, or how many elements there are."""
        return count if self._weight is None else exact_sum(self._weight)

    @arithmetic()
    def times(self, weight: Array | None, dtype: np.dtype[Any]) -> Weights:
        """The sample weights times other weights, with a shift where the product needs one."""
        if self._weight is None:
            return weight, None
        factors = [self._weight] if weight is None else [self._weight, weight]
        product = self._weight if weight is None else self._weight * weight
        product = product.astype(computed(dtype))
        lost = ~np.isfinite(product) | (abs(product) < np.finfo(product.dtype).tiny)
        for f in factors:
            lost &= np.isfinite(f) & (f != 0)
        shift: Array | None = None
        if lost.any():
            product, shift = _product(factors, product.dtype)
        if self.left_out is not None:
            product[self.left_out] = 0
        return product, shift


def _product(
    factors: list[Array], dtype: np.dtype[Any], shift: Array | None = None, comparable: bool = False
) -> tuple[Array, Array]:
    """Weights that are a product; if comparable divided by a power of 2, to be at most 1."""
    w, n = np.ones((), FLOAT64), np.asarray(0 if shift is None else shift).astype(np.intc)
    for f in factors:
        mantissa, exponent = np.frexp(f.astype(FLOAT64))
        w, n = w * mantissa, n + exponent
    counts = np.isfinite(w) & (w != 0)
    n = np.where(counts, n - (n[counts].max() if comparable and counts.any() else 0), 0)
    whole = np.ldexp(w, n).astype(dtype)
    fits = np.isfinite(whole) & (abs(whole) >= np.finfo(dtype).tiny) | ~counts
    return np.where(fits, whole, w).astype(dtype), np.where(fits, 0, n).astype(dtype)


def mean_weights(
    weights: Weights, count: int, exact_sum: Callable[[Array], float]
) -> tuple[Weights, float]:
    """Weights of a mean, in which only their ratios count, and their sum."""
    w, shift = weights
    if w is None:
        return weights, count
    total = exact_sum(w)
    if shift is None and sys.float_info.min <= abs(total) < math.inf:
        return weights, total
    with arithmetic():
        w, shift = scaled = _product([w], w.dtype, shift, comparable=True)
        return scaled, exact_sum(np.ldexp(w.astype(FLOAT64), shift.astype(np.intc)))


def binary_targets(targets: ArrayLike, logits: Array, name: str = "logits") -> Array:
    """Targets of a binary loss: labels or probabilities of the logits' shape."""
    a = converted(targets, computed(logits.dtype), "targets")
    return same_shape(a, logits.shape, "targets", name)


def probabilities(a: Array, name: str, num_threads: int | None = None) -> Array:
    """The array a, all of whose elements must be in [0, 1]."""
    return _within(a, name, 1.0, "must be in [0, 1]", num_threads)


def masses(a: Array, name: str, num_threads: int | None = None) -> Array:
    """The array a, none of whose elements may be negative or NaN."""
    return _within(a, name, math.inf, "must not be negative or NaN", num_threads)


def _within(a: Array, name: str, most: float, rule: str, num_threads: int | None) -> Array:
    if kernels is None or not kernels.run_within(a, most, num_threads):
        _look_closer(a, name, most, rule)
    return a


@arithmetic()
def _look_closer(a: Array, name: str, most: float, rule: str) -> None:
    if a.size and not (a.min() >= 0 and a.max() <= most):  # a NaN is neither
        bad = ~((a >= 0) & (a <= most))
        index = tuple(map(int, np.unravel_index(int(bad.argmax()), a.shape)))
        place = f" at {index[0] if len(index) == 1 else index}" if index else ""
        raise ValueError(f"{name} {rule}, got {a[index]}{place}")


def no_weight(weight: ArrayLike | None) -> None:
    """Refuse weights of elements where a loss is that of a row."""
    if weight is not None:
        raise ValueError("weight is for elements, but with axis= a loss is a row's: sample_weight")


def element_weight(
    weight: ArrayLike | None, shape: Shape, dtype: np.dtype[Any], name: str = "weight"
) -> Array | None:
    """A weight for each logit, broadcast as NumPy does; it may not enlarge the logits."""
    if weight is None:
        return None
    a = converted(weight, computed(dtype), name)
    if a.shape == shape:
        return a
    try:
        return np.broadcast_to(a, shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {a.shape} does not broadcast to the logits' shape, {shape}"
        ) from None
