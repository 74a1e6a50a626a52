"""Information measures of distributions along an axis, in nats or any other unit (``base=``)."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.environment import arithmetic
from ._elementwise import by_ufunc, documented, mapped
from .losses import row_sums
from .registry import elementwise

__all__ = [
    "cross_entropy_of_distributions",
    "cross_entropy_of_distributions_backward",
    "entropy",
    "entropy_backward",
    "information_content",
    "information_content_backward",
    "relative_entropy",
    "relative_entropy_backward",
]

Array = NDArray[Any]


@arithmetic()
def _per_log(base: float | None, dtype: np.dtype[Any]) -> tuple[float, float]:
    """1 / log(base) as two numbers of the computed type."""
    if base is None:
        return 1.0, 0.0
    with localcontext(prec=50):
        value = 1 / Decimal(check.logarithm_base(base)).ln()
        high = check.computed(dtype).type(float(value))
        return float(high), float(value - Decimal(float(high)))


@elementwise(
    "-log(p) / log(base)",
    "-g / (p log(base))",
    {"base": 2},
    {"base": 10},
    peers="numpy.log",
    inputs=("probabilities",),
)
@documented
def information_content(
    p: ArrayLike,
    base: float | None = None,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Information content (surprisal) of events of probability p.

    .. math:: -\log_b p

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.information_content([1.0, 0.5, 0.125], base=2)
    array([0., 1., 3.])
    """
    if check.is_container(p):
        return by_ufunc("information_content", (p,), out, num_threads, base)
    x = check.probabilities(check.floating(p, "p"), "p", num_threads)
    per_log = _per_log(base, x.dtype)
    return mapped("information_content", None, x, None, out, per_log, num_threads)


@documented
def information_content_backward(
    grad: ArrayLike,
    p: ArrayLike,
    base: float | None = None,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """
    Gradient through `information_content`: ``-grad / (p * log(base))``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.information_content_backward([1.0], [0.5])
    array([-2.])
    """
    if check.is_container(grad) or check.is_container(p):
        check.known_shapes(grad, p)
        return by_ufunc("information_content_backward", (grad, p), out, num_threads, base)
    x = check.probabilities(check.floating(p, "p"), "p", num_threads)
    g, per_log = check.gradient(grad, x, "p"), _per_log(base, x.dtype)
    return mapped("information_content", g, x, None, out, per_log, num_threads)


def _distribution(p: ArrayLike, name: str, num_threads: int | None) -> Array:
    return check.masses(check.floating(p, name), name, num_threads)


def _pair(p: ArrayLike, q: ArrayLike, num_threads: int | None) -> tuple[Array, Array]:
    x, y = check.promoted(p, q, "p", "q")
    y = check.same_shape(check.converted(y, x.dtype, "q"), x.shape, "q", "p")
    return check.masses(x, "p", num_threads), check.masses(y, "q", num_threads)


def _measure(
    name: str,
    x: Array,
    other: Array | None,
    axis: check.Axis,
    base: float | None,
    out: Array | None,
    num_threads: int | None,
) -> Array:
    """The sum of an op along the axis, exact before it is rounded."""
    classes = check.Classes(x, axis, "p")
    shape = classes.rows_shape()
    result = check.row_output(out, shape, x.dtype)
    sums = row_sums(name, x, other, classes, _per_log(base, x.dtype), num_threads)
    with arithmetic():
        if other is not None and not np.isfinite(sums).all():
            sums = _mended(name, sums, x, other, classes, base, num_threads)
        result[...] = sums
    return check.finished(result, out)


def _mended(
    name: str,
    sums: Array,
    x: Array,
    other: Array,
    classes: check.Classes,
    base: float | None,
    num_threads: int | None,
) -> Array:
    """The sums, where terms beyond the range may have left it together: of smaller terms.

    Terms are proportional to p, if q is so too where it is p / q that counts.
    """
    lost, scale = ~np.isfinite(sums), 2.0**-16
    p, q = (np.moveaxis(classes.merged(a), classes.axis, -1)[lost] for a in (x, other))
    p, q = _smaller(p, scale), _smaller(q, scale if name == "relative_entropy" else 1.0)
    parameters = _per_log(base, check.FLOAT64)
    sums[lost] = row_sums(name, p, q, check.Classes(p, -1), parameters, num_threads) / scale
    return sums


def _smaller(mass: Array, scale: float) -> Array:
    """The masses times the scale in float64, no less than the least number where they are not 0."""
    least = np.where(mass > 0, np.finfo(np.float64).smallest_subnormal, 0.0)
    return np.maximum(mass.astype(np.float64) * scale, least)


def _measure_backward(
    name: str,
    grad: ArrayLike,
    x: Array,
    other: Array | None,
    axis: check.Axis,
    base: float | None,
    out: Array | None,
    num_threads: int | None,
) -> Array:
    classes = check.Classes(x, axis, "p")
    shape = classes.rows_shape()
    g = check.same_shape(check.converted(grad, x.dtype, "grad"), shape, "grad", "the result")
    wide = np.broadcast_to(g.reshape(classes.rows_shape(keepdims=True)), x.shape)
    return mapped(name, wide, x, other, out, _per_log(base, x.dtype), num_threads)


def entropy(
    p: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Entropy of distributions: the mean information content.

    .. math:: H(p) = -\sum_i p_i \log_b p_i

    Parameters
    ----------
    p : array_like
        Masses, not negative; they are used as they are, not normalised. 0 adds nothing.
    axis : int, tuple of int or None, default -1
        The axis of a distribution's masses, or several; None for all.
    base : float, optional
        Base of the logarithm: None for nats, 2 for bits.
    out : ndarray, optional
        Array of the result's shape and dtype to write to; of half types also of float32, as the
        result is computed.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the dtype of `p`, without the axes. Terms are within 2 ULP, their sum is exact before it
        is rounded.

    Raises
    ------
    TypeError
        If `p` is not real.
    ValueError
        If a mass is negative or NaN (names the first), the axis is empty, or the base is not a
        positive number other than 1.

    Examples
    --------
    >>> import lossgrad
    >>> float(lossgrad.entropy([0.5, 0.25, 0.25, 0.0], base=2))
    1.5
    """
    return _measure(
        "entropy", _distribution(p, "p", num_threads), None, axis, base, out, num_threads
    )


def entropy_backward(
    grad: ArrayLike,
    p: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `entropy`: :math:`-g (\log p_i + 1) / \log b`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of its shape.
    p, axis, base
        As in `entropy`.
    out : ndarray, optional
        Array of the shape and dtype of `p` to write to; may be `p`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `p`.

    Raises
    ------
    TypeError, ValueError
        As `entropy`, and if `grad` has another shape.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.entropy_backward(1.0, [1.0, 1.0])
    array([-1., -1.])
    """
    return _measure_backward(
        "entropy", grad, _distribution(p, "p", num_threads), None, axis, base, out, num_threads
    )


def cross_entropy_of_distributions(
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Cross-entropy of distributions: the mean information content under q of what follows p.

    .. math:: H(p, q) = -\sum_i p_i \log_b q_i = H(p) + D(p \| q)

    Parameters
    ----------
    p, q : array_like
        Masses of the same shape, not negative; they are used as they are, not normalised. Where p
        is 0 nothing is added, even where q is 0 as well.
    axis, base, out
        As in `entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        As `entropy`, terms within 2 ULP; inf where p has mass and q none.

    Raises
    ------
    TypeError, ValueError
        As `entropy`, and if the shapes differ.

    Examples
    --------
    >>> import lossgrad
    >>> float(lossgrad.cross_entropy_of_distributions([0.5, 0.5], [0.25, 0.75], base=2))
    1.207518749639422
    """
    x, y = _pair(p, q, num_threads)
    return _measure("cross_entropy_of_distributions", x, y, axis, base, out, num_threads)


def cross_entropy_of_distributions_backward(
    grad: ArrayLike,
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    r"""
    Gradients through `cross_entropy_of_distributions`, for p and for q.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of its shape.
    p, q, axis, base
        As in `cross_entropy_of_distributions`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    grad_p : ndarray
        :math:`-g \log_b q_i`.
    grad_q : ndarray
        :math:`-g\, p_i / (q_i \log b)`, 0 where p is 0.

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy_of_distributions`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.cross_entropy_of_distributions_backward(1.0, [0.5, 0.0], [1.0, 0.5])[1]
    array([-0.5,  0. ])
    """
    x, y = _pair(p, q, num_threads)
    name = "cross_entropy_of_distributions"
    return (
        _measure_backward(name, grad, x, y, axis, base, None, num_threads),
        _measure_backward(f"{name}_q", grad, y, x, axis, base, None, num_threads),
    )


def relative_entropy(
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Relative entropy (Kullback-Leibler divergence) of distributions.

    .. math:: D(p \| q) = \sum_i p_i \log_b \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : array_like
        Masses of the same shape, not negative; they are used as they are, not normalised. Where p
        is 0 nothing is added, even where q is 0 as well.
    axis, base, out
        As in `entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        As `entropy`, terms within 2 ULP; inf where p has mass and q none.

    Raises
    ------
    TypeError, ValueError
        As `entropy`, and if the shapes differ.

    Examples
    --------
    >>> import lossgrad
    >>> float(lossgrad.relative_entropy([1.0, 0.0], [0.25, 0.75], base=2))
    2.0
    """
    x, y = _pair(p, q, num_threads)
    return _measure("relative_entropy", x, y, axis, base, out, num_threads)


def relative_entropy_backward(
    grad: ArrayLike,
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    r"""
    Gradients through `relative_entropy`, for p and for q.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of its shape.
    p, q, axis, base
        As in `relative_entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    grad_p : ndarray
        :math:`g (\log (p_i / q_i) + 1) / \log b`.
    grad_q : ndarray
        :math:`-g\, p_i / (q_i \log b)`, 0 where p is 0.

    Raises
    ------
    TypeError, ValueError
        As `relative_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.relative_entropy_backward(1.0, [0.5, 0.5], [0.5, 0.5])
    (array([1., 1.]), array([-1., -1.]))
    """
    x, y = _pair(p, q, num_threads)
    return (
        _measure_backward("relative_entropy", grad, x, y, axis, base, None, num_threads),
        _measure_backward("relative_entropy_q", grad, y, x, axis, base, None, num_threads),
    )
