"""Activations and the softmax family. Each function checks, makes room for the result, and crosses
to C once; the mathematics is in csrc/ and, in plain NumPy, in ``reference.py``."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from . import _arguments as check
from ._backend import kernels

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
]

Array = NDArray[Any]
OPS = kernels.ops() if kernels else {}


def _forward(name: str, x: ArrayLike, out: Array | None) -> Array:
    """An op of one input and no parameters."""
    x = check.floating(x)
    result = check.output(out, x.shape, x.dtype, x)
    if x.flags.c_contiguous and result.flags.c_contiguous:
        if x.ndim == 1:
            kernels.UNARY[x.dtype.char](x, result, OPS[name][0])
        else:
            kernels.UNARY[x.dtype.char](x.reshape(-1), result.reshape(-1), OPS[name][0])
    else:
        _elementwise(name, kernels.FORWARD, None, x, result, None)
    return check.finished(result, out)


def _backward(name: str, grad: ArrayLike, x: ArrayLike, out: Array | None) -> Array:
    x = check.floating(x)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), x.shape, "grad", "x")
    result = check.output(out, x.shape, x.dtype, x, grad)
    _elementwise(name, kernels.BACKWARD, grad, x, None, result)
    return check.finished(result, out)


def _elementwise(
    name: str, direction: int, grad: Any, x: Array, value: Array | None, result: Array | None
) -> None:
    grad, box, value, result = check.boxes(grad, x, value, result)
    kernels.ELEMENTWISE[x.dtype.char](
        grad, box, None, None, None, value, result, OPS[name][0], direction, 1.0, (), None
    )


def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    r"""
    Logistic sigmoid of every element.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}

    Parameters
    ----------
    x : array_like
        Real numbers of any shape.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; may be `x` itself.

    Returns
    -------
    ndarray
        Of the shape and dtype of `x` (float64 for integers and bools), in [0, 1].

    Raises
    ------
    TypeError
        If `x` is not real (complex, object, longdouble, ...).

    Notes
    -----
    At most 1 ULP from the exact value for every input, subnormal results included: for x < 0 it is
    exp(x) / (1 + exp(x)) with the quotient corrected by its residual.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.sigmoid([-1000.0, 0.0, 2.0])
    array([0.        , 0.5       , 0.88079708])
    """
    return _forward("sigmoid", x, out)


def sigmoid_backward(grad: ArrayLike, x: ArrayLike, *, out: Array | None = None) -> Array:
    r"""
    Gradient through `sigmoid`: ``grad * sigmoid(x) * sigmoid(-x)``.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x : array_like
        The input of the forward pass.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.

    Returns
    -------
    ndarray
        Gradient with respect to `x`; the derivative is within 2 ULP.

    Raises
    ------
    TypeError, ValueError
        If an operand is not real, or the shapes differ.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.sigmoid_backward([1.0, 2.0], [0.0, 0.0])
    array([0.25, 0.5 ])
    """
    return _backward("sigmoid", grad, x, out)


def _softmax_like(what: int, x: ArrayLike, axis: int, out: Array | None) -> Array:
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    result = check.output(out, x.shape, x.dtype, x, axis=axis)
    kernels.softmax_like(x, axis, None, None, result, None, kernels.DTYPE[x.dtype.char], what)
    return check.finished(result, out)


def _softmax_like_backward(
    what: int, grad: ArrayLike, x: ArrayLike, axis: int, out: Array | None
) -> Array:
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), x.shape, "grad", "x")
    result = check.output(out, x.shape, x.dtype, x, grad, axis=axis)
    kernels.softmax_like(x, axis, grad, None, result, None, kernels.DTYPE[x.dtype.char], what)
    return check.finished(result, out)


def softmax(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    r"""
    Softmax along an axis.

    .. math:: a_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, default -1
        The class axis.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; may be `x` itself.

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
    """
    return _softmax_like(kernels.SOFTMAX, x, axis, out)


def softmax_backward(
    grad: ArrayLike, x: ArrayLike, axis: int = -1, *, out: Array | None = None
) -> Array:
    r"""
    Gradient through `softmax`: :math:`a_i (g_i - \sum_j g_j a_j)` with :math:`a` = softmax(x).

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x : array_like
        The logits of the forward pass.
    axis : int, default -1
        The class axis.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.

    Returns
    -------
    ndarray
        Gradient with respect to `x`.

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
    return _softmax_like_backward(kernels.SOFTMAX_BACKWARD, grad, x, axis, out)


def log_softmax(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    r"""
    Logarithm of the softmax along an axis, in nats.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, default -1
        The class axis.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to; may be `x` itself.

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
    return _softmax_like(kernels.LOG_SOFTMAX, x, axis, out)


def log_softmax_backward(
    grad: ArrayLike, x: ArrayLike, axis: int = -1, *, out: Array | None = None
) -> Array:
    r"""
    Gradient through `log_softmax`: :math:`g_i - a_i \sum_j g_j` with :math:`a` = softmax(x).

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x : array_like
        The logits of the forward pass.
    axis : int, default -1
        The class axis.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.

    Returns
    -------
    ndarray
        Gradient with respect to `x`.

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
    return _softmax_like_backward(kernels.LOG_SOFTMAX_BACKWARD, grad, x, axis, out)


def logsumexp(
    x: ArrayLike, axis: int = -1, *, keepdims: bool = False, out: Array | None = None
) -> Array:
    r"""
    Logarithm of the sum of exponentials along an axis, in nats.

    .. math:: \log \sum_j e^{x_j}

    Parameters
    ----------
    x : array_like
        Logits.
    axis : int, default -1
        The axis that is summed over.
    keepdims : bool, default False
        Keep the axis with length 1.
    out : ndarray, optional
        Array of the shape and dtype of the result to write to.

    Returns
    -------
    ndarray
        Of the dtype of `x`, without the axis; within 4 ULP of the larger of the result and the
        largest logit. -inf throughout gives -inf.

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
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    shape = check.rows_shape(x.shape, axis, keepdims)
    result = check.output(out, shape, x.dtype, x, rows=True)
    kernels.softmax_like(
        x, axis, None, None, None, result, kernels.DTYPE[x.dtype.char], kernels.LOGSUMEXP
    )
    return check.finished(result, out)


def logsumexp_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: int = -1,
    *,
    keepdims: bool = False,
    out: Array | None = None,
) -> Array:
    r"""
    Gradient through `logsumexp`: ``grad * softmax(x)``.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of ``logsumexp(x, axis, keepdims=...)``.
    x : array_like
        The logits of the forward pass.
    axis : int, default -1
        The axis that was summed over.
    keepdims : bool, default False
        As in the forward pass.
    out : ndarray, optional
        Array to write to; may be `x`.

    Returns
    -------
    ndarray
        Gradient with respect to `x`, of its shape and dtype.

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
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    shape = check.rows_shape(x.shape, axis, keepdims)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), shape, "grad", "logsumexp(x)")
    result = check.output(out, x.shape, x.dtype, x, grad, axis=axis)
    what = kernels.LOGSUMEXP_BACKWARD
    kernels.softmax_like(x, axis, None, grad, result, None, kernels.DTYPE[x.dtype.char], what)
    return check.finished(result, out)
