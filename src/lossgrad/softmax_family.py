"""The softmax family, along any axis or several."""

from __future__ import annotations

import math
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.backend import kernels
from ._core.documentation import hints
from ._core.environment import arithmetic

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "softmax",
    "softmax_backward",
    "softmax_jacobian",
    "softmin",
    "softmin_backward",
]

Array = NDArray[Any]
Axis = check.Axis


OPS = kernels.ROW_OPS if kernels else {}


def _softmax_like(
    name: str,
    grad: ArrayLike | None,
    x: ArrayLike,
    axis: Axis,
    where: ArrayLike | None,
    out: Array | None,
    num_threads: int | None,
) -> Array:
    """Forward, or backward if grad is given."""
    if where is None:
        plain = kernels.plain_softmax(OPS[name], grad, x, axis, out, num_threads)
        if plain is not None:
            return plain
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    direction = kernels.FORWARD
    if grad is not None:
        grad, direction = classes.read(check.gradient(grad, x), 0), kernels.BACKWARD
    x = classes.read(x, -math.inf)
    result = classes.output(out, x.dtype)
    kernels.softmax_like(
        OPS[name], direction, x, classes.axis, grad=grad, out=result, num_threads=num_threads
    )
    if grad is not None:
        classes.clear(result)
    return classes.finished(result, out)


@hints
def softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    r"""
    Softmax along an axis.

    .. math:: a_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, tuple of int or None, default -1
        The axis of the classes, or several; None for all. A number is one class.
    where : array_like of bool, optional
        Which entries are read; broadcasts to the shape of `x`. The others are as if -inf: their
        probability is 0. A row of none that are read is NaN.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; may be `x` itself.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x`; every entry within 4 ULP. One +inf in a row makes it one-hot;
        NaN, +inf twice or -inf throughout make the row NaN.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If the axis is out of bounds or has no classes.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmax([0.0, 0.0, -float("inf")])
    array([0.5, 0.5, 0. ])
    >>> lossgrad.softmax([0.0, 0.0, float("nan")], where=[True, True, False])
    array([0.5, 0.5, 0. ])
    >>> lossgrad.softmax([[0.0, 0.0], [0.0, 0.0]], axis=None)
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    if unknown:
        check.unknown_keyword("softmax", unknown)
    return _softmax_like("softmax", None, x, axis, where, out, num_threads)


def softmax_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `softmax`: :math:`a_i (g_i - \sum_j g_j a_j)` with :math:`a` = softmax(x).

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x : array_like
        The logits of the forward pass.
    axis : int, tuple of int or None, default -1
        The axis of the classes, or several; None for all. A number is one class.
    where : array_like of bool, optional
        As in the forward pass. What is not read there is not read in `grad`, and its gradient is 0.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Gradient with respect to `x`; every entry within 8 ULP of the larger of its two terms.

    Raises
    ------
    TypeError, ValueError
        As `softmax`, and if the shapes differ.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmax_backward([1.0, 0.0], [0.0, 0.0])
    array([ 0.25, -0.25])
    """
    return _softmax_like("softmax", grad, x, axis, where, out, num_threads)


@hints
def log_softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    r"""
    Logarithm of the softmax along an axis, in nats.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, tuple of int or None, default -1
        The axis of the classes, or several; None for all. A number is one class.
    where : array_like of bool, optional
        Which entries are read; broadcasts to the shape of `x`. The others are as if -inf, and so
        is the result. A row of none that are read is NaN.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; may be `x` itself.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x`; every entry within 4 ULP, also where one class takes all.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If the axis is out of bounds or has no classes.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.log_softmax([0.0, -20.0])
    array([-2.06115362e-09, -2.00000000e+01])
    """
    if unknown:
        check.unknown_keyword("log_softmax", unknown)
    return _softmax_like("log_softmax", None, x, axis, where, out, num_threads)


def log_softmax_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `log_softmax`: :math:`g_i - a_i \sum_j g_j` with :math:`a` = softmax(x).

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x : array_like
        The logits of the forward pass.
    axis : int, tuple of int or None, default -1
        The axis of the classes, or several; None for all. A number is one class.
    where : array_like of bool, optional
        As in the forward pass. What is not read there is not read in `grad`, and its gradient is 0.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Gradient with respect to `x`; every entry within 4 ULP of the larger of its two terms.

    Raises
    ------
    TypeError, ValueError
        As `log_softmax`, and if the shapes differ.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.log_softmax_backward([1.0, 0.0], [0.0, 0.0])
    array([ 0.5, -0.5])
    """
    return _softmax_like("log_softmax", grad, x, axis, where, out, num_threads)


@hints
def logsumexp(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    r"""
    Logarithm of the sum of exponentials along an axis, in nats.

    .. math:: \log \sum_j b_j e^{x_j}

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, tuple of int or None, default -1
        The axis that is summed over, or several; None for all.
    b : array_like, optional
        Factors of the exponentials, which broadcast to the shape of `x`; 1 if not given. They may
        be negative: the logarithm of a negative sum is NaN. Where one is 0, `x` is not looked at.
        `x` and `b` are computed in the dtype that NumPy promotes both to.
    keepdims : bool, default False
        Keep the axes with length 1.
    where : array_like of bool, optional
        Which entries are read; broadcasts to the shape of `x`. The others are as if -inf: a row
        of none that are read gives -inf.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; of half types also of float32, as
        the result is computed.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the dtype of `x` and `b`, without the axes; within 4 ULP of the larger of the result and
        the largest logit. -inf throughout gives -inf; one +inf or more, inf.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If the axis is out of bounds or has no elements.

    Examples
    --------
    >>> import lossgrad
    >>> float(lossgrad.logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    """
    if unknown:
        check.unknown_keyword("logsumexp", unknown)
    if b is None and where is None and out is None and not keepdims:
        plain = kernels.plain_logsumexp(x, axis, num_threads)
        if plain is not None:
            return plain
    if b is not None:
        x, b = check.promoted(x, b, "x", "b")
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    factor = check.element_weight(b, x.shape, x.dtype, "b")
    x = classes.read(x, -math.inf)
    factor = None if factor is None else classes.read(factor, 0)
    result = check.row_output(out, classes.rows_shape(keepdims), x.dtype)
    of = OPS["logsumexp"], kernels.FORWARD, x, classes.axis
    kernels.softmax_like(*of, factor=factor, value=result, num_threads=num_threads)
    return check.finished(result, out)


def logsumexp_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: Axis = -1,
    *,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `logsumexp`: ``grad * softmax(x)``, or with factors
    ``grad * b * exp(x - logsumexp(x, b=b))``.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of ``logsumexp(x, axis, keepdims=...)``.
    x : array_like
        The logits of the forward pass.
    axis : int, tuple of int or None, default -1
        The axis that was summed over, or several.
    b, keepdims, where
        As in the forward pass. The gradient is 0 for what is not read.
    out : ndarray, optional
        Array to write to; may be `x`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Gradient with respect to `x`, of its shape and the forward's dtype; every entry within
        4 ULP.

    Raises
    ------
    TypeError, ValueError
        As `logsumexp`, and if `grad` has another shape.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.logsumexp_backward(2.0, [0.0, 0.0])
    array([1., 1.])
    """
    if b is not None:
        x, b = check.promoted(x, b, "x", "b")
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    shape = classes.rows_shape(keepdims)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), shape, "grad", "logsumexp(x)")
    factor = check.element_weight(b, x.shape, x.dtype, "b")
    x = classes.read(x, -math.inf)
    factor = None if factor is None else classes.read(factor, 0)
    result = classes.output(out, x.dtype)
    of = OPS["logsumexp"], kernels.BACKWARD, x, classes.axis
    kernels.softmax_like(*of, row_grad=grad, factor=factor, out=result, num_threads=num_threads)
    classes.clear(result)
    return classes.finished(result, out)


@hints
def softmin(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    r"""
    Softmin along an axis: `softmax` of ``-x``.

    .. math:: a_i = \frac{e^{-x_i}}{\sum_j e^{-x_j}}

    Parameters
    ----------
    x : array_like
        Numbers, the smallest of which gets the largest share.
    axis : int, tuple of int or None, default -1
        The axis of the classes, or several; None for all. A number is one class.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; may be `x` itself.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x`; every entry within 4 ULP.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If the axis is out of bounds or has no classes.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmin([0.0, 0.0, float("inf")])
    array([0.5, 0.5, 0. ])
    """
    if unknown:
        check.unknown_keyword("softmin", unknown)
    x = check.floating(x)
    classes = check.Classes(x, axis)
    x = classes.merged(x)
    result = classes.output(out, x.dtype)
    with arithmetic():
        softmax(np.negative(x, out=result), classes.axis, out=result, num_threads=num_threads)
    return classes.finished(result, out)


def softmin_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: Axis = -1,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `softmin`: :math:`-a_i (g_i - \sum_j g_j a_j)` with :math:`a` = softmin(x).

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x : array_like
        The input of the forward pass.
    axis : int, tuple of int or None, default -1
        The axis of the classes, or several; None for all. A number is one class.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Gradient with respect to `x`; every entry within 8 ULP of the larger of its two terms.

    Raises
    ------
    TypeError, ValueError
        As `softmin`, and if the shapes differ.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmin_backward([1.0, 0.0], [0.0, 0.0])
    array([-0.25,  0.25])
    """
    x = check.floating(x)
    classes = check.Classes(x, axis)
    grad = check.gradient(grad, x)
    x, grad = classes.merged(x), classes.merged(grad)
    result = classes.output(out, x.dtype)
    shared = result is grad or np.may_share_memory(result, grad)
    with arithmetic():
        turned = np.negative(x, out=None if shared else result)
        softmax_backward(grad, turned, classes.axis, out=result, num_threads=num_threads)
        np.negative(result, out=result)
    return classes.finished(result, out)


def softmax_jacobian(
    x: ArrayLike, axis: int = -1, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    r"""
    Jacobian of the softmax of each row.

    .. math:: J_{ij} = \frac{\partial a_i}{\partial x_j} = a_i (\delta_{ij} - a_j)

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, default -1
        The class axis, of C classes.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the dtype of `x` and the shape of `x` without `axis`, then (C, C). On the diagonal
        :math:`1 - a_i` is the sum of the other probabilities, so nothing cancels: 4 ULP.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If the axis is out of bounds or has no classes.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmax_jacobian([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    shape, classes = check.rows_shape(x.shape, axis), x.shape[axis]
    result = check.output(out, (*shape, classes, classes), x.dtype, rows=True)
    matrices = result.reshape(math.prod(shape), classes, classes)
    kernels.softmax_jacobian(x, axis, matrices, num_threads)
    return check.finished(result, out)
