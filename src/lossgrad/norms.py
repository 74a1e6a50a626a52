"""The L2 norm and its gradient, without overflow or underflow on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arguments as check
from ._backend import kernels
from ._environment import arithmetic
from .activations import OPS

__all__ = ["l2_norm", "l2_norm_backward", "l2_norm_value_and_grad"]

Array = NDArray[Any]


def _measure(x: Array, axis: int | None, num_threads: int | None) -> tuple[Array, Array]:
    """(root, scale) of each vector, the axis kept: its norm is root / scale. The scale is a power
    of two that brings the largest element near 1, so that its square is an ordinary number."""
    dtype = check.computed(x.dtype)
    high = np.max(x, axis, keepdims=True, initial=0)
    low = np.min(x, axis, keepdims=True, initial=0)
    peak = np.maximum(high, -low).astype(np.float64)
    usual = np.isfinite(peak) & (peak > 0)
    limit = np.finfo(dtype).maxexp - 2
    exponent = np.where(usual, np.clip(-np.frexp(peak)[1], -limit, limit), 0)
    scale = np.ldexp(np.ones((), dtype), exponent.astype(np.intc))
    box = x.ravel(order="K").reshape(1, -1, 1) if axis is None else check.grid(x, axis)
    factor = np.broadcast_to(scale.reshape(box.shape[0], 1, box.shape[2]), box.shape)
    sums = np.empty((box.shape[0], box.shape[2]))
    ops = (OPS["square"][0], OPS["square_low"][0])
    kernels.row_sums(box, factor, sums, ops, (), num_threads)
    return np.sqrt(sums).reshape(peak.shape), scale


@arithmetic()
def _norm(
    upstream: ArrayLike | None,
    x: ArrayLike,
    axis: int | None,
    keepdims: bool,
    out: Array | None,
    value: bool,
    num_threads: int | None,
) -> tuple[Any, Any]:
    x = check.floating(x)
    if axis is not None:
        axis = check.axis_index(axis, x.ndim)
    if axis is None:
        shape: tuple[int, ...] = (1,) * x.ndim if keepdims else ()
    else:
        shape = check.rows_shape(x.shape, axis, keepdims)
    number = axis is None and not keepdims
    loss: Any = None
    gradient: Array | None = None
    g: Any = 1.0
    if upstream is not None:
        if not value:
            g = check.converted(upstream, check.FLOAT64, "grad")
            g = check.same_shape(g, shape, "grad", "the norm")
        gradient = check.output(out, x.shape, x.dtype, x)
    elif number and out is not None:
        raise ValueError("out needs an axis: the norm of all elements is a Python float")
    root, scale = _measure(x, axis, num_threads)
    if value and number:
        loss = float(root.reshape(())) / float(scale.reshape(()))
    elif value:
        losses = check.output(None if upstream is not None else out, shape, x.dtype, x)
        losses[...] = (root / scale).reshape(shape)
        loss = check.finished(losses, None if upstream is not None else out)
    if gradient is not None:
        slope: Any = np.reshape(g, root.shape) if np.ndim(g) else g
        factor = np.where(root == 0, 0.0, slope / root).astype(scale.dtype)
        if x.dtype == scale.dtype:
            np.multiply(np.multiply(x, scale, out=gradient), factor, out=gradient)
        else:
            gradient[...] = x.astype(scale.dtype) * scale * factor
        gradient = check.finished(gradient, out)
    return loss, gradient


def l2_norm(
    x: ArrayLike,
    axis: int | None = None,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Any:
    r"""
    Euclidean norm of all elements or of the vectors along an axis.

    .. math:: \|x\|_2 = \sqrt{\sum_i x_i^2}

    Parameters
    ----------
    x : array_like
        Real numbers of any shape.
    axis : int, optional
        The axis of a vector's elements; all elements are one vector if it is None.
    keepdims : bool, default False
        Keep reduced axes with length 1.
    out : ndarray, optional
        With `axis`, array of the result's shape and dtype to write to.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        A Python float if `axis` is None, else an array of the dtype of `x`. Squares are summed
        exactly and neither overflow nor underflow: within 1 ULP.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If the axis is out of bounds, or `out` does not fit.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.l2_norm([3.0, 4.0])
    5.0
    """
    return _norm(None, x, axis, keepdims, out, True, num_threads)[0]


def l2_norm_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: int | None = None,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `l2_norm`: :math:`g\, x / \|x\|`, 0 for the zero vector.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the norm, of its shape.
    x, axis, keepdims
        As in `l2_norm`.
    out : ndarray, optional
        Array of the shape and dtype of `x` to write to; may be `x` itself.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x`, each entry within 2 ULP.

    Raises
    ------
    TypeError, ValueError
        As `l2_norm`, and if `grad` has another shape.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.l2_norm_backward(1.0, [3.0, 4.0])
    array([0.6, 0.8])
    """
    gradient: Array = _norm(grad, x, axis, keepdims, out, False, num_threads)[1]
    return gradient


def l2_norm_value_and_grad(
    x: ArrayLike,
    axis: int | None = None,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> tuple[Any, Array]:
    r"""
    `l2_norm` and its gradient.

    Parameters
    ----------
    x, axis, keepdims
        As in `l2_norm`.
    out : ndarray, optional
        Array for the gradient; may be `x` itself.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    norm : float or ndarray
        As `l2_norm`.
    grad : ndarray
        As ``l2_norm_backward(1, ...)``.

    Raises
    ------
    TypeError, ValueError
        As `l2_norm`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.l2_norm_value_and_grad([3.0, 4.0])
    (5.0, array([0.6, 0.8]))
    """
    return _norm(1.0, x, axis, keepdims, out, True, num_threads)
