"""Losses that bend the cross-entropy of a label: focal loss and poly-1."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._kernels.defaults import LAST_AXIS
from ._row_losses import OPS, plain, row_loss_of
from .registry import row_loss

__all__ = [
    "poly_loss_cross_entropy",
    "poly_loss_cross_entropy_backward",
    "poly_loss_cross_entropy_value_and_grad",
    "softmax_focal_loss",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_value_and_grad",
]

Array = NDArray[Any]
Loss = Any  # a float; an array with reduction="none"


def _bent(
    name: str,
    bend: float,
    value: bool,
    upstream: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    axis: int,
    out: Array | None,
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
    num_threads: int | None,
) -> tuple[Any, Any]:
    """(loss if value is asked for, gradient unless upstream is None)"""
    if weight is sample_weight is where is None:
        found = plain(
            OPS[name if bend else "cross_entropy"],
            upstream,
            logits,
            targets,
            ignore_index,
            reduction,
            bend,
            axis,
            out,
            value,
            num_threads,
        )
        if found is not None:
            return found
    return row_loss_of(
        name,
        logits,
        targets,
        value=value,
        upstream=upstream,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        bend=bend,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )


@row_loss(
    "w_y (1 - p_y)^gamma (logsumexp(x) - x_y), p = softmax(x)",
    "g w_y (1 - p_y)^gamma (1 - gamma p_y log(p_y) / (1 - p_y)) (p - onehot(y))",
    {"gamma": 0.0},
    {"gamma": 0.5},
    {"gamma": 5.0},
    peers="",
)
def softmax_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Focal loss of logits with class labels, in nats: of rows that are right already, little is left.

    With :math:`p` = softmax(x)

    .. math:: \ell = -w_y (1 - p_y)^\gamma \log p_y

    Parameters
    ----------
    logits : array_like
        Unnormalised log-probabilities; the classes lie along `axis`.
    targets : array_like
        Labels of any integer dtype in [0, C), of the shape of `logits` without `axis`.
    weight : array_like, optional
        A weight :math:`w` for each class, of shape (C,).
    gamma : float, default 2
        How much rows count less that are right, 0 or more; with 0 it is `cross_entropy`, to the
        bit.
    ignore_index, reduction, axis, out, sample_weight, where, num_threads
        As in `cross_entropy`.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the row losses in the logits' dtype.

    Raises
    ------
    IndexError
        If a label is outside [0, C) and is not `ignore_index`: names the first such row and label.
    TypeError
        If the logits are not real, or labels are not integers.
    ValueError
        If shapes do not match, C is 0, a sample weight is negative or not finite (names the first),
        or an option is out of its range.

    Notes
    -----
    A row's loss is within 8 ULP for a `gamma` up to 2, and 4 more for each further one: everything
    is made of the cross-entropy :math:`c` of the label, with :math:`1 - p_y = 1 - e^{-c}`, which
    keeps its relative accuracy where :math:`p_y` is close to 1.

    References
    ----------
    .. [1] T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmax_focal_loss([[0.0, 0.0], [4.0, 0.0]], [0, 0], reduction="none")
    array([1.73286795e-01, 5.87202674e-06])
    >>> lossgrad.softmax_focal_loss([[1.0, 0.0]], [1], gamma=0.0)
    1.3132616875182228
    """
    return _bent(
        "softmax_focal_loss",
        check.penalty(gamma, "gamma"),
        True,
        None,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        axis,
        out,
        sample_weight,
        where,
        num_threads,
    )[0]


def softmax_focal_loss_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `softmax_focal_loss` with respect to the logits, times `grad`.

    It is that of `cross_entropy` times
    :math:`(1 - p_y)^\gamma (1 - \gamma p_y \log p_y / (1 - p_y))`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the row losses' shape with
        ``reduction="none"``.
    logits, targets, weight, gamma, ignore_index, reduction, axis
        As in `softmax_focal_loss`.
    out : ndarray, optional
        Array of the shape and dtype of the logits to write to; may be the logits themselves.
    sample_weight, where, num_threads
        As in `softmax_focal_loss`.

    Returns
    -------
    ndarray
        Of the shape and dtype of the logits; rows that are ignored have gradient 0. Within 8 ULP
        for a `gamma` up to 2, and 4 more for each further one.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `softmax_focal_loss`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmax_focal_loss_backward(1.0, [[0.0, 0.0]], [0]).round(6)
    array([[-0.298287,  0.298287]])
    """
    gradient: Array = _bent(
        "softmax_focal_loss",
        check.penalty(gamma, "gamma"),
        False,
        grad,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        axis,
        out,
        sample_weight,
        where,
        num_threads,
    )[1]
    return gradient


def softmax_focal_loss_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `softmax_focal_loss` and its gradient, reading the logits once and writing the gradient once.

    Parameters
    ----------
    logits, targets, weight, gamma, ignore_index, reduction, axis
        As in `softmax_focal_loss`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.
    sample_weight, where, num_threads
        As in `softmax_focal_loss`.

    Returns
    -------
    loss : float or ndarray
        As `softmax_focal_loss`.
    grad : ndarray
        As ``softmax_focal_loss_backward(1, ...)``; with ``reduction="none"`` each row's own
        gradient.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `softmax_focal_loss`.

    Examples
    --------
    >>> import lossgrad
    >>> loss, grad = lossgrad.softmax_focal_loss_value_and_grad([[0.0, 0.0]], [0])
    >>> round(loss, 6), grad.round(6)
    (0.173287, array([[-0.298287,  0.298287]]))
    """
    return _bent(
        "softmax_focal_loss",
        check.penalty(gamma, "gamma"),
        True,
        1.0,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        axis,
        out,
        sample_weight,
        where,
        num_threads,
    )


@row_loss(
    "w_y (logsumexp(x) - x_y + epsilon (1 - p_y)), p = softmax(x)",
    "g w_y (1 + epsilon p_y) (p - onehot(y))",
    {"epsilon": 0.0},
    {"epsilon": -1.0},
    peers="optax.losses.poly_loss_cross_entropy",
)
def poly_loss_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    epsilon: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Poly-1 loss of logits with class labels, in nats: cross-entropy with another first coefficient.

    With :math:`p` = softmax(x)

    .. math:: \ell = w_y \big(-\log p_y + \epsilon (1 - p_y)\big)

    Parameters
    ----------
    logits : array_like
        Unnormalised log-probabilities; the classes lie along `axis`.
    targets : array_like
        Labels of any integer dtype in [0, C), of the shape of `logits` without `axis`.
    weight : array_like, optional
        A weight :math:`w` for each class, of shape (C,).
    epsilon : float, default 2
        The coefficient, finite; with 0 it is `cross_entropy`, to the bit.
    ignore_index, reduction, axis, out, sample_weight, where, num_threads
        As in `cross_entropy`.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the row losses in the logits' dtype.

    Raises
    ------
    IndexError
        If a label is outside [0, C) and is not `ignore_index`: names the first such row and label.
    TypeError
        If the logits are not real, or labels are not integers.
    ValueError
        If shapes do not match, C is 0, a sample weight is negative or not finite (names the first),
        or an option is out of its range.

    Notes
    -----
    A row's loss is within 4 ULP of the larger of its two terms, which are both accurate where
    :math:`p_y` is close to 1.

    References
    ----------
    .. [1] Z. Leng et al., "PolyLoss: a polynomial expansion perspective of classification loss
           functions", ICLR 2022.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.poly_loss_cross_entropy([[0.0, 0.0]], [0])
    1.6931471805599454
    >>> lossgrad.poly_loss_cross_entropy([[0.0, -20.0]], [0], epsilon=1.0)
    4.12230723850067e-09
    """
    return _bent(
        "poly_loss_cross_entropy",
        check.coefficient(epsilon, "epsilon"),
        True,
        None,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        axis,
        out,
        sample_weight,
        where,
        num_threads,
    )[0]


def poly_loss_cross_entropy_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    epsilon: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `poly_loss_cross_entropy` with respect to the logits, times `grad`.

    It is that of `cross_entropy` times :math:`1 + \epsilon p_y`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the row losses' shape with
        ``reduction="none"``.
    logits, targets, weight, epsilon, ignore_index, reduction, axis
        As in `poly_loss_cross_entropy`.
    out : ndarray, optional
        Array of the shape and dtype of the logits to write to; may be the logits themselves.
    sample_weight, where, num_threads
        As in `poly_loss_cross_entropy`.

    Returns
    -------
    ndarray
        Of the shape and dtype of the logits, within 5 ULP; rows that are ignored have gradient 0.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `poly_loss_cross_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.poly_loss_cross_entropy_backward(1.0, [[0.0, 0.0]], [0])
    array([[-1.,  1.]])
    """
    gradient: Array = _bent(
        "poly_loss_cross_entropy",
        check.coefficient(epsilon, "epsilon"),
        False,
        grad,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        axis,
        out,
        sample_weight,
        where,
        num_threads,
    )[1]
    return gradient


def poly_loss_cross_entropy_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    epsilon: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `poly_loss_cross_entropy` and its gradient, reading the logits once and writing it once.

    Parameters
    ----------
    logits, targets, weight, epsilon, ignore_index, reduction, axis
        As in `poly_loss_cross_entropy`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.
    sample_weight, where, num_threads
        As in `poly_loss_cross_entropy`.

    Returns
    -------
    loss : float or ndarray
        As `poly_loss_cross_entropy`.
    grad : ndarray
        As ``poly_loss_cross_entropy_backward(1, ...)``; with ``reduction="none"`` each row's own
        gradient.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `poly_loss_cross_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> loss, grad = lossgrad.poly_loss_cross_entropy_value_and_grad([[0.0, 0.0]], [0])
    >>> loss, grad
    (1.6931471805599454, array([[-1.,  1.]]))
    """
    return _bent(
        "poly_loss_cross_entropy",
        check.coefficient(epsilon, "epsilon"),
        True,
        1.0,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        axis,
        out,
        sample_weight,
        where,
        num_threads,
    )
