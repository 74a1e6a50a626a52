"""Losses of rows: cross-entropy and negative log-likelihood. Each forward, backward, and fused:
value and gradient in one pass over the logits."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.directions import (
    BACKWARD,
    FORWARD,
    GRAD_AND_HESS,
    VALUE_AND_GRAD,
    VALUE_GRAD_AND_HESS,
)
from ._families import Example, made
from ._kernels.defaults import LAST_AXIS
from ._row_losses import OPS, plain, row_loss_of, usual
from .registry import row_loss

__all__ = [
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_grad_and_hess",
    "cross_entropy_value_and_grad",
    "cross_entropy_value_grad_and_hess",
    "nll_loss",
    "nll_loss_backward",
    "nll_loss_value_and_grad",
]

Array = NDArray[Any]
Loss = Any  # a float; an array with reduction="none"


@row_loss(
    "w_y (logsumexp(x) - x_y)",
    "g w_y (softmax(x) - onehot(y))",
    {"z_loss": 1e-3},
    {"softcap": 3.0},
    {"z_loss": 1e-2, "softcap": 20.0, "label_smoothing": 0.1},
    hessian="g w_y p (1 - p), p = softmax(x)",
    peers="torch.nn.functional.cross_entropy optax.softmax_cross_entropy_with_integer_labels "
    "sklearn._loss.HalfMultinomialLoss",
)
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    axis: int = LAST_AXIS,
    out: Array | None = None,
    lse: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Cross-entropy of logits with class labels or target distributions, in nats.

    For a row :math:`x` with label :math:`y`

    .. math:: \ell = w_y \Big(\log \sum_c e^{x_c} - x_y\Big)

    and for a target distribution :math:`t`, or with smoothing :math:`\epsilon` (then :math:`t` is
    one-hot), :math:`\ell = \sum_c q_c (\log \sum_k e^{x_k} - x_c)` with
    :math:`q_c = w_c ((1 - \epsilon) t_c + \epsilon / C)`.

    Parameters
    ----------
    logits : array_like
        Unnormalised log-probabilities; the classes lie along `axis`.
    targets : array_like
        Labels of any integer dtype in [0, C), of the shape of `logits` without `axis`; or
        floating-point probabilities of the shape of `logits`.
    weight : array_like, optional
        A weight :math:`w` for each class, of shape (C,).
    ignore_index : int, default -100
        Rows with this label count nothing and are never read.
    reduction : {"mean", "sum", "none"}
        With labels the mean is over the kept rows, weighted: sum(w_y l) / sum(w_y). With
        probabilities it is over all rows. With sample weights s it is sum(s w_y l) / sum(s w_y), or
        with probabilities sum(s l) / sum(s), and the sum is sum(s w_y l).
    label_smoothing : float, default 0
        In [0, 1].
    z_loss : float, default 0
        Weight :math:`\zeta` of :math:`\zeta (\log \sum_c e^{x_c})^2`, which every row that is
        kept has besides; class weights do not weigh it.
    softcap : float, optional
        Logits are taken as :math:`k \tanh(x / k)` with this :math:`k`, in the type that they are
        computed in. A logit of -inf stays: it masks a class. `lse` is of capped logits.
    axis : int, default -1
        The class axis; 1 for logits of shape (N, C, d1, ...). It has to be given where labels fit
        the last axis and the one before, beside those of the batch.
    out : ndarray, optional
        With ``reduction="none"``, the array for the row losses, of the logits' dtype; of half types
        also float32, as they are computed.
    lse : ndarray, optional
        Array of one value a row, float64 or of the logits' dtype, that is filled with the rows'
        log-sum-exp; `cross_entropy_backward` takes it to save a pass.
    sample_weight : array_like, optional
        A weight for each row, finite and at least 0, of the shape of `logits` without `axis`. A row
        with weight 0 is left out like an ignored one: neither its logits nor its target are read.
    where : array_like of bool, optional
        Of the shape of `logits` without `axis`: which rows are read; the others are left out, as
        with a sample weight of 0. Or of the shape of `logits`: which entries are read, targets that
        are probabilities included; the others are as if -inf, with gradient 0. (Smoothing gives
        every class a part, which makes the loss infinite then.)
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the row losses in the logits' dtype.

    Raises
    ------
    IndexError
        If a label is outside [0, C) and is not `ignore_index`: names the first such row and label.
    TypeError
        If the logits are not real, or labels are neither integers nor probabilities.
    ValueError
        If shapes do not match, C is 0, a sample weight is negative or not finite (names the first),
        or an option is unknown.

    Notes
    -----
    A row's loss is within 4 ULP at any gap between logits: it is
    :math:`(m - x_y) + \log(1 + \sum_{c \ne m} e^{x_c - m})` with the maximum :math:`m` left out of
    the sum, so that confident rows keep their relative accuracy. Sums over rows are exact before
    they are rounded once. With a `z_loss` it is 5 ULP, or of the larger of :math:`m` and the
    logarithm where they cancel; with a `softcap` that holds for the capped logits, which are
    within 4 ULP themselves.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> lossgrad.cross_entropy([[0.0, -20.0]], [0])
    2.061153620314381e-09
    >>> lossgrad.cross_entropy(np.zeros((2, 4)), [3, -100])
    1.3862943611198906

    As large language models are trained, capped at 30 and with their log-sum-exp drawn to 0:

    >>> lossgrad.cross_entropy([[90.0, -90.0]], [1], z_loss=1e-4, softcap=30.0)
    59.79239727785894

    Class weights say how much the rows of a class count, sample weights how much a row does:

    >>> x, y, s = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [0, 1, 0], [1, 3, 0]
    >>> losses = lossgrad.cross_entropy(x, y, reduction="none")
    >>> float(round((1 * losses[0] + 3 * losses[1]) / (1 + 3), 12))
    1.158233060779
    >>> round(lossgrad.cross_entropy(x, y, sample_weight=s), 12)
    1.158233060779
    >>> float(round((2 * 1 * losses[0] + 1 * 3 * losses[1]) / (2 * 1 + 1 * 3), 12))
    1.065215884735
    >>> round(lossgrad.cross_entropy(x, y, weight=[2, 1], sample_weight=s), 12)
    1.065215884735
    """
    if weight is lse is sample_weight is where is softcap is None and not z_loss:
        found = plain(
            OPS["cross_entropy"],
            None,
            logits,
            targets,
            ignore_index,
            reduction,
            label_smoothing,
            axis,
            out,
            True,
            num_threads,
        )
        if found is not None:
            return found[0]
    return row_loss_of(
        "cross_entropy",
        FORWARD,
        None,
        logits,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        axis=axis,
        out=out,
        lse=lse,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )[0]


def cross_entropy_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    axis: int = LAST_AXIS,
    out: Array | None = None,
    lse: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `cross_entropy` with respect to the logits, times `grad`.

    For a row with label :math:`y` it is :math:`w_y (p_c - [c = y])`, :math:`p` = softmax(x), and in
    general :math:`p_c \sum_k q_k - q_c`. A `z_loss` adds :math:`2 \zeta p_c \log \sum_k e^{x_k}`, a
    `softcap` multiplies by :math:`1 - \tanh^2(x_c / k)`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the row losses' shape with
        ``reduction="none"``.
    logits, targets, weight, ignore_index, reduction, label_smoothing, z_loss, softcap, axis
        As in `cross_entropy`.
    out : ndarray, optional
        Array of the shape and dtype of the logits to write to; may be the logits themselves.
    lse : ndarray, optional
        The log-sum-exp that `cross_entropy` saved. Its rounding then limits the accuracy: a float64
        `lse` keeps the bounds of float32 logits.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    where : array_like of bool, optional
        As in `cross_entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of the logits. Rows that are ignored have gradient 0. Entries are
        within 4 ULP, the label's own included: it is minus the sum of the other probabilities, not
        p - 1. Where it is a difference by nature (smoothing, probability targets) they are within
        5 ULP of the larger term; those of a `z_loss`, too. A `softcap` adds 3 ULP, and what capped
        logits are rounded by.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.cross_entropy_backward(1.0, [[0.0, 0.0]], [0])
    array([[-0.5,  0.5]])
    """
    if weight is lse is sample_weight is where is softcap is None and not z_loss:
        found = plain(
            OPS["cross_entropy"],
            grad,
            logits,
            targets,
            ignore_index,
            reduction,
            label_smoothing,
            axis,
            out,
            False,
            num_threads,
        )
        if found is not None:
            return found[1]
    gradient: Array = row_loss_of(
        "cross_entropy",
        BACKWARD,
        grad,
        logits,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        axis=axis,
        out=out,
        lse=lse,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )[0]
    return gradient


def cross_entropy_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    axis: int = LAST_AXIS,
    out: Array | None = None,
    lse: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `cross_entropy` and its gradient, reading the logits once and writing the gradient once.

    Parameters
    ----------
    logits, targets, weight, ignore_index, reduction, label_smoothing, z_loss, softcap, axis
        As in `cross_entropy`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.
    lse : ndarray, optional
        As in `cross_entropy`.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    where : array_like of bool, optional
        As in `cross_entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float or ndarray
        As `cross_entropy`.
    grad : ndarray
        As ``cross_entropy_backward(1, ...)``; with ``reduction="none"`` each row's own gradient.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> loss, grad = lossgrad.cross_entropy_value_and_grad([[0.0, -20.0]], [0])
    >>> loss, grad
    (2.061153620314381e-09, array([[-2.06115362e-09,  2.06115362e-09]]))
    """
    if weight is lse is sample_weight is where is softcap is None and not z_loss:
        found = plain(
            OPS["cross_entropy"],
            1.0,
            logits,
            targets,
            ignore_index,
            reduction,
            label_smoothing,
            axis,
            out,
            True,
            num_threads,
        )
        if found is not None:
            return found
    loss, gradient = row_loss_of(
        "cross_entropy",
        VALUE_AND_GRAD,
        None,
        logits,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        axis=axis,
        out=out,
        lse=lse,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )
    return loss, gradient


def _with_hessian(
    direction: int,
    grad: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    axis: int = LAST_AXIS,
    out: check.Outs = None,
    lse: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    return row_loss_of(
        "cross_entropy",
        direction,
        grad,
        logits,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        axis=axis,
        out=out,
        lse=lse,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )


cross_entropy_grad_and_hess, cross_entropy_value_grad_and_hess = made(
    _with_hessian,
    "cross_entropy",
    Example(
        "[[0.0, 0.0]], [0]",
        "0.6931471805599453",
        "array([[-0.5,  0.5]])",
        "array([[0.25, 0.25]])",
    ),
    GRAD_AND_HESS,
    VALUE_GRAD_AND_HESS,
)


def _nll_loss(
    direction: int,
    grad: ArrayLike | None,
    log_probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    axis: int,
    out: Array | None,
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
    num_threads: int | None,
) -> tuple[Any, ...]:
    if weight is sample_weight is where is None:
        found = usual(
            *("nll_loss", direction, grad, log_probs, targets, ignore_index, reduction, 0.0),
            *(axis, out, num_threads),
        )
        if found is not None:
            return found
    return row_loss_of(
        "nll_loss",
        direction,
        grad,
        log_probs,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )


@row_loss(
    "-w_y x_y",
    "-g w_y onehot(y)",
    inputs=("log-probabilities", "labels"),
    peers="torch.nn.functional.nll_loss",
)
def nll_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Negative log-likelihood of class labels, in nats: what `cross_entropy` is after `log_softmax`.

    .. math:: \ell = -w_y\, x_y

    Parameters
    ----------
    log_probs : array_like
        Log-probabilities; the classes lie along `axis`. Only those of the labels are read.
    targets : array_like
        Labels of any integer dtype in [0, C), of the shape of `log_probs` without `axis`.
    weight, ignore_index, reduction, axis
        As in `cross_entropy`.
    out : ndarray, optional
        With ``reduction="none"``, the array for the row losses, of the logits' dtype; of half types
        also float32, as they are computed.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    where : array_like of bool, optional
        As in `cross_entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the row losses in the dtype of `log_probs`,
        within 1 ULP.

    Raises
    ------
    IndexError
        If a label is outside [0, C) and is not `ignore_index`: names the first such row and label.
    TypeError
        If `log_probs` are not real, or labels are not integers.
    ValueError
        If shapes do not match, C is 0, a sample weight is negative or not finite (names the first),
        or an option is unknown.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.nll_loss([[-0.25, -1.5], [-2.0, -0.125]], [0, 1])
    0.1875
    """
    return _nll_loss(
        FORWARD,
        None,
        log_probs,
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


def nll_loss_backward(
    grad: ArrayLike,
    log_probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `nll_loss` with respect to the log-probabilities, times `grad`.

    It is :math:`-w_y` at the label and 0 elsewhere.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the row losses' shape with
        ``reduction="none"``.
    log_probs, targets, weight, ignore_index, reduction, axis
        As in `nll_loss`.
    out : ndarray, optional
        Array of the shape and dtype of `log_probs` to write to; may be `log_probs` itself.
    sample_weight : array_like, optional
        As in `nll_loss`.
    where : array_like of bool, optional
        As in `nll_loss`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `log_probs`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `nll_loss`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.nll_loss_backward(1.0, [[-0.25, -1.5], [-2.0, -0.125]], [0, 1])
    array([[-0.5,  0. ],
           [ 0. , -0.5]])
    """
    gradient: Array = _nll_loss(
        BACKWARD,
        grad,
        log_probs,
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
    return gradient


def nll_loss_value_and_grad(
    log_probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `nll_loss` and its gradient.

    Parameters
    ----------
    log_probs, targets, weight, ignore_index, reduction, axis
        As in `nll_loss`.
    out : ndarray, optional
        Array for the gradient; may be `log_probs` itself.
    sample_weight : array_like, optional
        As in `nll_loss`.
    where : array_like of bool, optional
        As in `nll_loss`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float or ndarray
        As `nll_loss`.
    grad : ndarray
        As ``nll_loss_backward(1, ...)``.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `nll_loss`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.nll_loss_value_and_grad([[-0.25, -1.5]], [0])
    (0.25, array([[-1.,  0.]]))
    """
    loss, gradient = _nll_loss(
        VALUE_AND_GRAD,
        None,
        log_probs,
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
    return loss, gradient
