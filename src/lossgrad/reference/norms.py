"""The L2 norm. Vectors are scaled by a power of two, so that squares are ordinary numbers."""

import math
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.documentation import hints
from ._apply import times
from ._double import Wide, sum_first, two_product
from .softmax_family import doubles, store

__all__ = ["l2_norm", "l2_norm_backward", "l2_norm_value_and_grad"]

Array = NDArray[Any]
Doubles = NDArray[np.float64]


def _measure(x: Doubles) -> Wide:
    """The norm of each column."""
    size = abs(x).max(axis=0, initial=0)
    n = np.where(np.isfinite(size), np.frexp(size)[1], 0).astype(np.intc)
    square = np.concatenate(two_product(*(np.ldexp(x, -n),) * 2))
    root = np.sqrt(sum_first(square) if len(square) else np.zeros_like(size))
    return Wide(np.where(size == np.inf, size, root), 0.0, n)


def _slopes(grad: Any, x: Doubles, norm: Wide) -> Doubles:
    """grad * x / norm: 0 for the vector 0, and beside an infinite element, which has no limit.

    NaN where there is NaN.
    """
    result = times(grad, x / norm)
    result = np.where(norm.rounded() == 0, np.where(np.isnan(grad), grad, 0.0), result)
    infinite = np.isinf(x).any(axis=0)
    result = np.where(infinite, np.where(np.isfinite(x), 0.0 * grad, np.nan), result)
    return np.where(np.isnan(x).any(axis=0), np.nan, result)


def _norm(
    upstream: ArrayLike | None,
    x: ArrayLike,
    axis: int | None,
    keepdims: bool,
    out: Array | None,
    value: bool,
) -> tuple[Any, Any]:
    """(the norm if value is asked for, the gradient unless upstream is None)."""
    x = check.floating(x)
    if axis is None:
        shape: tuple[int, ...] = (1,) * x.ndim if keepdims else ()
        rows = x.reshape(1, -1)
    else:
        axis = check.axis_index(axis, x.ndim)
        shape, rows = check.rows_shape(x.shape, axis, keepdims), _vectors(x, axis)
    number = axis is None and not keepdims
    loss: Any = None
    gradient: Any = None
    with np.errstate(all="ignore"):
        columns = doubles(rows)
        norm = _measure(columns)
        if upstream is not None:
            g = np.ones(shape)
            if not value:
                g = check.converted(upstream, check.FLOAT64, "grad")
                g = check.same_shape(g, shape, "grad", "the norm")
            result = check.output(out, x.shape, x.dtype)
            slopes = _slopes(g.reshape(-1), columns, norm).T.astype(x.dtype)
            if axis is None:
                result[...] = slopes.reshape(x.shape)
            else:
                store(slopes, result, axis)
            gradient, out = check.finished(result, out), None
        if value and number:
            check.norm_out(out)
            loss = float(norm.rounded()[0])
        elif value:
            result = check.row_output(out, shape, x.dtype)
            result[...] = norm.rounded().reshape(shape)
            loss = check.finished(result, out)
    return loss, gradient


def _vectors(x: Array, axis: int) -> Array:
    vectors = np.moveaxis(x, axis, -1)
    return vectors.reshape(math.prod(vectors.shape[:-1]), x.shape[axis])


@hints
def l2_norm(
    x: ArrayLike,
    axis: int | None = None,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Any:
    """sqrt(sum(x**2)) of all elements, or along axis."""
    if unknown:
        check.unknown_keyword("l2_norm", unknown)
    return _norm(None, x, axis, keepdims, out, True)[0]


def l2_norm_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: int | None = None,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad * x / l2_norm(x), 0 for the vector 0."""
    gradient: Array = _norm(grad, x, axis, keepdims, out, False)[1]
    return gradient


def l2_norm_value_and_grad(
    x: ArrayLike,
    axis: int | None = None,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> tuple[Any, Array]:
    """``l2_norm`` and its gradient."""
    return _norm(1.0, x, axis, keepdims, out, True)
