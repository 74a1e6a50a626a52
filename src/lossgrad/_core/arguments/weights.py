"""Weights of classes, elements, channels and samples, and slopes that were drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..environment import arithmetic
from .classes import Classes
from .containers import Array
from .dtypes import FLOAT32, FLOAT64, computed, computed_alike, converted
from .masks import filled
from .options import reduction_name
from .ranges import within
from .shapes import Axis, Shape, axis_index, same_shape
from .targets import binary_labels, input_and_target

# Of elements, (w, shift): w * 2**shift in the computed type; None is 1, and no shift.
Weights = tuple[Array | None, Array | None]


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


def no_weight(weight: ArrayLike | None) -> None:
    """Refuse weights of elements where a loss is that of a row."""
    if weight is not None:
        raise ValueError("weight is for elements, but with axis= a loss is a row's: sample_weight")


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


def drawn_slopes(slopes: ArrayLike | None, x: Array) -> Array:
    """The slopes that rrelu drew, in the computed type."""
    if slopes is None:
        raise ValueError(
            "slopes are needed with training=True: "
            "rrelu(..., return_slopes=True) returns what it drew"
        )
    return same_shape(computed_alike(slopes, x.dtype, "slopes"), x.shape, "slopes", "x")


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
    no product or sum leaves the range. One that would be 0 beside the largest is the least number.
    """
    a = np.ascontiguousarray(a).reshape(a.shape)
    rule = "must be finite and not negative"
    within(a, "sample_weight", np.finfo(FLOAT64).max, rule, num_threads)
    if reduction != "mean" or a.size == 0:
        return a
    with arithmetic():
        scaled = np.asarray(np.ldexp(a, -np.frexp(a.max())[1]))  # of a 0-d array it is a number
        return np.maximum(scaled, np.finfo(FLOAT64).smallest_subnormal, out=scaled, where=a > 0)


def weights_of_labels(
    weight: Array | None, samples: Array | None, labels: Array, ignore_index: int, every: bool
) -> tuple[Array | None, Array | None]:
    """Class and sample weights of a mean over labels, divided by powers of two if extreme.

    Those of the rows that are kept, or of every class, are then at most about 1: a row's weight
    times its loss stays within the range, and so does what is left where all weights are tiny.
    """
    if weight is None and samples is None:
        return None, None
    with arithmetic():
        if not (_is_extreme(weight) or _is_extreme(samples)):
            return weight, samples
        label = labels.reshape(-1)
        kept = label != ignore_index
        if samples is not None:
            samples = np.where(kept, _over_largest(samples, samples[kept]), 0.0)
            kept &= samples != 0
        if weight is not None:
            kept &= (label >= 0) & (label < weight.size)  # what is no label is refused elsewhere
            weight = _over_largest(weight, weight if every else weight[label[kept]])
    return weight, samples


def _is_extreme(weights: Array | None) -> bool:
    """Whether products of a number with losses could be lost."""
    if weights is None or weights.dtype != FLOAT64 or weights.size == 0:
        return False
    size = abs(weights)
    return bool(size.max() > 2.0**400 or size.min(where=size > 0, initial=1.0) < 2.0**-400)


def _over_largest(weights: Array, read: Array) -> Array:
    """Weights over the power of two of the largest number among those that are read."""
    size = abs(read[np.isfinite(read)])
    return np.ldexp(weights, -np.frexp(size.max(initial=0.0))[1])


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

    def times(self, weight: Array | None, dtype: np.dtype[Any]) -> Weights:
        """The sample weights times other weights, with a shift where the product needs one."""
        if self._weight is None:
            return weight, None
        factors = [self._weight] if weight is None else [self._weight, weight]
        with arithmetic():
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
    total, span = exact_sum(w), 2.0**60 if w.dtype == FLOAT32 else 2.0**500
    if shift is None and 1 / span < abs(total) < span:  # products with losses are ordinary
        return weights, total
    with arithmetic():
        w, shift = scaled = _product([w], w.dtype, shift, comparable=True)
        return scaled, exact_sum(np.ldexp(w.astype(FLOAT64), shift.astype(np.intc)))


def labels_of_samples(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    axis: Axis = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> None:
    """Refuse targets, of samples that have weight, of which any is neither 0 nor 1."""
    x, t = input_and_target(input, target)
    classes = None if axis is None else Classes(x, axis, "input")
    samples = Samples(sample_weight, x.shape, reduction_name(reduction), num_threads, classes)
    binary_labels(t, "target", samples.left_out)
