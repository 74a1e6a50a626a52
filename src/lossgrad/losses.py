"""Losses, each forward, backward, and fused (value and gradient in one pass over the logits)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arguments as check
from ._backend import kernels

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_value_and_grad",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_value_and_grad",
]

Array = NDArray[Any]
Loss = Any  # a float; an array with reduction="none"
OPS = kernels.ops() if kernels else {}
NAN = float("nan")
PLAIN = (-1, check.IGNORE_INDEX, 0.0, "mean")  # axis, ignore_index, label_smoothing, reduction


def _cross_entropy(
    upstream: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    axis: int,
    out: Array | None,
    lse: Array | None,
    value: bool,
) -> tuple[Any, Any]:
    """(loss if value is asked for, gradient unless upstream is None)."""
    if (
        type(logits) is np.ndarray
        and type(targets) is np.ndarray
        and value
        and weight is None
        and out is None
        and lse is None
        and (axis, ignore_index, label_smoothing, reduction) == PLAIN
    ):
        # the usual call, in a fraction of the time; None if something has to be converted or said
        plain = None if upstream is None else np.empty(logits.shape, logits.dtype)
        loss: Any = kernels.plain_cross_entropy(logits, targets, plain, check.IGNORE_INDEX)
        if loss is not None:
            return loss, plain
    x = check.floating(logits, "logits")
    axis = check.class_axis(x, axis, "logits")
    dtype, shape = x.dtype, x.shape
    rows_shape = check.rows_shape(shape, axis)
    ignore_index = check.ignored_label(ignore_index)
    t = check.class_targets(targets, x, axis, ignore_index)
    reduced = check.reduction_name(reduction) != "none"
    smoothing = check.smoothing(label_smoothing)
    weights = check.class_weight(weight, shape[axis], dtype)
    g: Any = 1.0
    row_grad, losses_out, gradient, losses = None, None, None, None
    lse_result: Any = None
    saved: Any = None
    if lse is not None:
        if value:
            lse_result = check.lse_output(lse, rows_shape, dtype, x, t)
            saved = np.empty(lse_result.size)
        else:
            saved = np.ascontiguousarray(check.lse_input(lse, rows_shape, dtype), np.float64)
            saved = saved.reshape(-1)
    if upstream is not None:
        if not value:
            g = check.upstream(upstream, reduction, rows_shape, dtype)
        row_grad = g if type(g) is np.ndarray else None
        inputs = (x, t, weights, row_grad, saved)
        gradient = check.output(out, shape, dtype, *inputs, axis=axis)
    else:
        check.loss_out(out, reduction)
        losses_out = out
    if value and not reduced:
        losses = check.output(losses_out, rows_shape, dtype, x, t, weights, rows=True)

    labelled = t.dtype.kind in "iu"
    total = kernels.Sum() if value and reduced else None
    bad, divisor = kernels.cross_entropy(
        x,
        axis,
        t if labelled else None,
        None if labelled else check.class_runs(t, axis),
        weights,
        ignore_index,
        smoothing,
        row_grad,
        1.0 if row_grad is not None else g,
        reduction == "mean",
        gradient,
        losses,
        saved,
        saved is not None and not value,
        total,
        kernels.DTYPE[dtype.char],
    )
    if bad >= 0:
        raise check.bad_label(t, bad, shape[axis], ignore_index)
    loss = None
    if saved is not None and value:
        lse_result[...] = saved.reshape(rows_shape)
        check.finished(lse_result, lse)
    if total is not None:
        loss = total.value()
        if reduction == "mean":
            loss = loss / divisor if divisor else NAN
    elif losses is not None:
        loss = check.finished(losses, losses_out)
    return loss, None if gradient is None else check.finished(gradient, out)


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    out: Array | None = None,
    lse: Array | None = None,
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
        A weight for each class, of shape (C,).
    ignore_index : int, default -100
        Rows with this label count nothing and are never read.
    reduction : {"mean", "sum", "none"}
        With labels the mean is over the kept rows, weighted: sum(w_y l) / sum(w_y). With
        probabilities it is over all rows.
    label_smoothing : float, default 0
        In [0, 1].
    axis : int, default -1
        The class axis; 1 for logits of shape (N, C, d1, ...).
    out : ndarray, optional
        With ``reduction="none"``, the array for the row losses.
    lse : ndarray, optional
        Array of one value a row, float64 or of the logits' dtype, that is filled with the rows'
        log-sum-exp; `cross_entropy_backward` takes it to save a pass.

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
        If shapes do not match, C is 0, or an option is unknown.

    Notes
    -----
    A row's loss is within 4 ULP at any gap between logits: it is
    :math:`(m - x_y) + \log(1 + \sum_{c \ne m} e^{x_c - m})` with the maximum :math:`m` left out of
    the sum, so that confident rows keep their relative accuracy. Sums over rows are exact before
    they are rounded once.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> lossgrad.cross_entropy([[0.0, -20.0]], [0])
    2.061153620314381e-09
    >>> lossgrad.cross_entropy(np.zeros((2, 4)), [3, -100])
    1.3862943611198906
    """
    loss, _ = _cross_entropy(
        None,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        axis,
        out,
        lse,
        True,
    )
    return loss


def cross_entropy_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    out: Array | None = None,
    lse: Array | None = None,
) -> Array:
    r"""
    Gradient of `cross_entropy` with respect to the logits, times `grad`.

    For a row with label :math:`y` it is :math:`w_y (p_c - [c = y])`, :math:`p` = softmax(x), and in
    general :math:`p_c \sum_k q_k - q_c`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the row losses' shape with
        ``reduction="none"``.
    logits, targets, weight, ignore_index, reduction, label_smoothing, axis
        As in `cross_entropy`.
    out : ndarray, optional
        Array of the shape and dtype of the logits to write to; may be the logits themselves.
    lse : ndarray, optional
        The log-sum-exp that `cross_entropy` saved. Its rounding then limits the accuracy: a float64
        `lse` keeps the bounds of float32 logits.

    Returns
    -------
    ndarray
        Of the shape and dtype of the logits. Rows that are ignored have gradient 0. Entries are
        within 4 ULP, the label's own included: it is minus the sum of the other probabilities, not
        p - 1. Where it is a difference by nature (smoothing, probability targets) the ULP is that
        of the larger term.

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
    _, gradient = _cross_entropy(
        grad,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        axis,
        out,
        lse,
        False,
    )
    return gradient


def cross_entropy_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    out: Array | None = None,
    lse: Array | None = None,
) -> tuple[Loss, Array]:
    r"""
    `cross_entropy` and its gradient, reading the logits once and writing the gradient once.

    Parameters
    ----------
    logits, targets, weight, ignore_index, reduction, label_smoothing, axis
        As in `cross_entropy`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.
    lse : ndarray, optional
        As in `cross_entropy`.

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
    loss, gradient = _cross_entropy(
        1.0,
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        axis,
        out,
        lse,
        True,
    )
    return loss, gradient


def _elementwise(
    name: str,
    upstream: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    reduction: str,
    out: Array | None,
    value: bool,
    *extra: tuple[str, ArrayLike | None],
) -> tuple[Any, Any]:
    """(loss if value is asked for, gradient unless upstream is None); extra is 1 if None."""
    x = check.floating(logits, "logits")
    dtype, shape = x.dtype, x.shape
    reduced = check.reduction_name(reduction) != "none"
    t = check.binary_targets(targets, x)
    weights = check.element_weight(weight, shape, dtype)
    inputs: list[Array | None] = [x, t]
    for key, operand in extra:
        inputs.append(check.element_weight(operand, shape, dtype, key))
    direction, losses_out, gradient, losses = kernels.FORWARD, None, None, None
    g: Any = 1.0
    if upstream is not None:
        direction = kernels.VALUE_AND_GRAD if value else kernels.BACKWARD
        if not value:
            g = check.upstream(upstream, reduction, shape, dtype)
        if reduction == "mean" and x.size:
            g /= x.size
        gradient = check.output(
            out, shape, dtype, *inputs, weights, g if type(g) is np.ndarray else None
        )
    else:
        check.loss_out(out, reduction)
        losses_out = out
    if value and not reduced:
        losses = check.output(losses_out, shape, dtype, *inputs, weights)
    total = kernels.Sum() if value and reduced else None
    row_grad = g if type(g) is np.ndarray else None
    row_grad, weights, losses, result, *inputs = check.boxes(
        row_grad, weights, losses, gradient, *inputs
    )
    inputs += [None] * (3 - len(inputs))
    kernels.ELEMENTWISE[dtype.char](
        row_grad,
        *inputs,
        weights,
        losses,
        result,
        OPS[name][0],
        direction,
        1.0 if row_grad is not None else g,
        (),
        total,
    )
    loss: Any = None
    if total is not None:
        loss = total.value()
        if reduction == "mean":
            loss = loss / x.size if x.size else NAN
    elif losses is not None:
        loss = check.finished(losses.reshape(shape), losses_out)
    return loss, None if gradient is None else check.finished(gradient, out)


def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
) -> Loss:
    r"""
    Binary cross-entropy of logits, in nats.

    .. math:: \ell = w \big(p\, t \log(1 + e^{-x}) + (1 - t) \log(1 + e^{x})\big)

    Parameters
    ----------
    logits : array_like
        Log-odds, of any shape.
    targets : array_like
        Of the shape of `logits`: probabilities, or labels 0 and 1 of any integer or bool dtype.
    weight : array_like, optional
        Weight :math:`w` of each element; broadcasts to the shape of `logits`.
    pos_weight : array_like, optional
        Weight :math:`p` of the positive term; broadcasts to the shape of `logits`.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements.
    out : ndarray, optional
        With ``reduction="none"``, the array for the losses; may be the logits themselves.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the losses in the logits' dtype.

    Raises
    ------
    TypeError
        If an operand is not real.
    ValueError
        If the shapes of logits and targets differ, a weight does not broadcast, or an option is
        unknown.

    Notes
    -----
    Within 2 ULP from -inf to inf at t = 0 and 1, and for any t in between. A term whose coefficient
    is 0 counts 0 even at an infinite logit.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy_with_logits([0.0, 20.0], [0, 1], reduction="none")
    array([6.93147181e-01, 2.06115362e-09])
    """
    loss, _ = _elementwise(
        "binary_cross_entropy_with_logits",
        None,
        logits,
        targets,
        weight,
        reduction,
        out,
        True,
        ("pos_weight", pos_weight),
    )
    return loss


def binary_cross_entropy_with_logits_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
) -> Array:
    r"""
    Gradient of `binary_cross_entropy_with_logits` with respect to the logits, times `grad`.

    It is :math:`w ((1 - t) \sigma(x) - p\, t\, \sigma(-x))`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the losses' shape with
        ``reduction="none"``.
    logits, targets, weight, pos_weight, reduction
        As in `binary_cross_entropy_with_logits`.
    out : ndarray, optional
        Array of the shape and dtype of the logits to write to; may be the logits themselves.

    Returns
    -------
    ndarray
        Of the shape and dtype of the logits; no cancellation at t = 0 and 1.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy_with_logits_backward(1.0, [20.0], [1])
    array([-2.06115362e-09])
    """
    _, gradient = _elementwise(
        "binary_cross_entropy_with_logits",
        grad,
        logits,
        targets,
        weight,
        reduction,
        out,
        False,
        ("pos_weight", pos_weight),
    )
    return gradient


def binary_cross_entropy_with_logits_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
) -> tuple[Loss, Array]:
    r"""
    `binary_cross_entropy_with_logits` and its gradient in one pass.

    Parameters
    ----------
    logits, targets, weight, pos_weight, reduction
        As in `binary_cross_entropy_with_logits`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.

    Returns
    -------
    loss : float or ndarray
        As `binary_cross_entropy_with_logits`.
    grad : ndarray
        As ``binary_cross_entropy_with_logits_backward(1, ...)``; with ``reduction="none"`` each
        element's own gradient.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy_with_logits_value_and_grad([0.0, 0.0], [0, 1])
    (0.6931471805599453, array([ 0.25, -0.25]))
    """
    loss, gradient = _elementwise(
        "binary_cross_entropy_with_logits",
        1.0,
        logits,
        targets,
        weight,
        reduction,
        out,
        True,
        ("pos_weight", pos_weight),
    )
    return loss, gradient
