"""The L2 norm and its gradient, without overflow or underflow on the way."""

from __future__ import annotations

import math
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.backend import kernels
from ._core.documentation import hints
from ._core.environment import arithmetic

__all__ = ["l2_norm", "l2_norm_backward", "l2_norm_value_and_grad"]

Array = NDArray[Any]


def _norm(
    upstream: ArrayLike | None,
    x: ArrayLike,
    axis: int | None,
    keepdims: bool,
    out: Array | None,
    value: bool,
    num_threads: int | None,
) -> tuple[Any, Any]:
    """(the norm if value is asked for, the gradient unless upstream is None)."""
    plain = kernels.plain_norm(upstream, x, axis, keepdims, out, value, num_threads)
    if plain is not None:
        return plain
    x = check.floating(x)
    if axis is None:
        shape: tuple[int, ...] = (1,) * x.ndim if keepdims else ()
    else:
        axis = check.axis_index(axis, x.ndim)
        shape = check.rows_shape(x.shape, axis, keepdims)
    number = axis is None and not keepdims
    apart = False  # whether the gradient is computed elsewhere
    loss: Any = None
    gradient: Any = None
    given = None
    if upstream is not None:
        if not value:
            g = check.converted(upstream, check.FLOAT64, "grad")
            g = check.same_shape(g, shape, "grad", "the norm")
            given = np.ascontiguousarray(g).reshape(-1)
        gradient = check.output(out, x.shape, x.dtype, axis=axis)
    elif number:
        check.norm_out(out)
    rows, slopes = x, gradient
    if axis is None:  # all elements in C order
        rows = x.reshape(-1)  # a copy only if it has to be one
        if gradient is not None:
            apart = not gradient.flags.c_contiguous
            slopes = np.empty_like(rows) if apart else gradient.reshape(-1)
    norms = np.empty(math.prod(shape)) if value else None
    kernels.norms(rows, axis or 0, given, 1.0, slopes, norms, num_threads)
    if norms is not None and number:
        loss = float(norms[0])
    elif norms is not None:
        losses = check.row_output(None if upstream is not None else out, shape, x.dtype)
        with arithmetic():
            losses[...] = norms.reshape(shape)
        loss = check.finished(losses, None if upstream is not None else out)
    if gradient is not None:
        if apart:
            gradient[...] = slopes.reshape(x.shape)
        gradient = check.finished(gradient, out)
    return loss, gradient


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
        With `axis`, array of the result's shape and dtype to write to; of half types also of
        float32, as the norm is computed.
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
    if unknown:
        check.unknown_keyword("l2_norm", unknown)
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
