"""Losses of elements: each forward, backward, and fused (value and gradient in one pass)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.backend import kernels
from ._core.directions import (
    BACKWARD,
    FORWARD,
    GRAD_AND_HESS,
    VALUE_AND_GRAD,
    VALUE_GRAD_AND_HESS,
    gives_value,
    slopes,
)
from ._core.environment import arithmetic
from ._families import Example, made

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_value_and_grad",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_grad_and_hess",
    "binary_cross_entropy_with_logits_value_and_grad",
    "binary_cross_entropy_with_logits_value_grad_and_hess",
    "kl_div",
    "kl_div_backward",
    "kl_div_value_and_grad",
    "mse_loss",
    "mse_loss_backward",
    "mse_loss_grad_and_hess",
    "mse_loss_value_and_grad",
    "mse_loss_value_grad_and_hess",
]

Array = NDArray[Any]
Loss = Any  # a float; an array with reduction="none"
OPS = kernels.OPS if kernels else {}


def exact_sum(a: Array) -> float:
    """The sum of all elements, rounded once."""
    identity = OPS["leaky_relu"], FORWARD, a  # of slope 1
    total: float = kernels.elementwise(*identity, parameters=(1.0,))
    return total


def _loss(
    op: str,
    direction: int,
    upstream: Any,
    x: Array,
    targets: Array,
    weights: check.Weights,
    extra: Array | None,
    reduction: str,
    divisor: float,
    out: check.Outs,
    num_threads: int | None,
    parameters: tuple[float, ...] = (),
    left_out: Array | None = None,
) -> tuple[Any, ...]:
    """What the direction asks for; the sum is over divisor.

    Elements that are left out have a weight of 0; no gradient of theirs is read.
    """
    dtype, shape = x.dtype, x.shape
    reduced = reduction != "none"
    g: Any = 1.0
    if direction == BACKWARD:
        g = check.upstream(upstream, reduction, shape, dtype)
    elif direction == FORWARD:
        check.loss_out(out, reduction)
    places = check.places(out, direction, shape, dtype, not reduced)
    slope = g if type(g) is np.ndarray else None
    loss: Any = kernels.elementwise(
        OPS[op],
        direction,
        x,
        targets,
        extra,
        grad=slope,
        weight=weights[0],
        shift=weights[1],
        out=places[0],
        out_grad=places[1],
        out_hess=places[2],
        up=1.0 if slope is not None else g,
        divisor=divisor if reduced else 1.0,
        parameters=parameters,
        num_threads=num_threads,
    )
    for place in places:
        if place is not None and left_out is not None:
            np.copyto(place, 0, where=left_out)
    total = () if loss is None else (kernels.quotient(loss, divisor),)
    return (*total, *check.all_finished(places, out, direction))


def row_sums(
    op: str,
    x: Array,
    other: Array | None,
    classes: check.Classes,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> Array:
    """The sums of an op over the classes, each exact before it is rounded to float64."""
    box, second = check.grid(classes.merged(x), classes.axis), None
    if other is not None:
        second = check.grid(classes.merged(other), classes.axis)
    sums = np.empty((box.shape[0], box.shape[2]))
    kernels.row_sums(OPS[op], box, second, sums, parameters, num_threads)
    return sums.reshape(classes.rows_shape())


def _loss_of_rows(
    op: str,
    direction: int,
    upstream: Any,
    x: Array,
    targets: Array,
    samples: check.Samples,
    classes: check.Classes,
    *,
    terms: int,
    out: check.Outs,
    num_threads: int | None,
    parameters: tuple[float, ...] = (),
) -> tuple[Any, ...]:
    """The same with one loss a row: the sum over its classes, divided by `terms`."""
    found: tuple[Any, ...] = ()
    if gives_value(direction):
        own = check.outs(out, direction)[0]
        losses = check.row_output(own, classes.rows_shape(), x.dtype)
        sums = row_sums(op, x, targets, classes, parameters, num_threads)
        with arithmetic():
            losses[...] = sums / terms * samples.of_rows(sums.shape)
        found = (check.finished(losses, own),)
    if direction == FORWARD:
        return found
    if direction == BACKWARD:
        g = check.upstream(upstream, "none", classes.rows_shape(), x.dtype)
        g = np.reshape(g, classes.rows_shape(keepdims=True))
    else:
        g = np.ones((), x.dtype)
    wide, share = np.broadcast_to(g, x.shape), check.element_weight(1 / terms, x.shape, x.dtype)
    weights = samples.times(share, x.dtype)
    only = GRAD_AND_HESS if slopes(direction) > 1 else BACKWARD
    return found + _loss(
        *(op, only, wide, x, targets, weights, None, "none", 1.0, out, num_threads, parameters),
        left_out=samples.left_out,
    )


def _with_logits(
    direction: int,
    grad: Any,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: check.Outs = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    name = "binary_cross_entropy_with_logits"
    if weight is None and pos_weight is None and sample_weight is None:
        plain: tuple[Any, ...] | None = kernels.plain_loss(
            OPS[name], direction, grad, logits, targets, reduction, out, (), num_threads
        )
        if plain is not None:
            return plain
    x = check.floating(logits, "logits")
    t = check.binary_targets(targets, x)
    reduction = check.reduction_name(reduction)
    samples = check.Samples(sample_weight, x.shape, reduction, num_threads)
    x, t = samples.read(x), samples.read(t)
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    p = check.element_weight(pos_weight, x.shape, x.dtype, "pos_weight")
    p = None if p is None else samples.read(p)
    divisor = samples.total(x.size, exact_sum) if reduction == "mean" else 1.0
    return _loss(
        *(name, direction, grad, x, t, w, p, reduction, divisor, out, num_threads),
        left_out=samples.left_out,
    )


def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
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
        The mean is over all elements; with sample weights it is sum(s l) / sum(s).
    out : ndarray, optional
        With ``reduction="none"``, the array for the losses; may be the logits themselves.
    sample_weight : array_like, optional
        Finite weights s of at least 0: of the shape of `logits`, or of its leading axes, one a row.
        What has weight 0 is not read.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the losses in the logits' dtype.

    Raises
    ------
    TypeError
        If an operand is not real.
    ValueError
        If the shapes of logits and targets differ, a weight does not broadcast, a sample weight
        is negative or not finite (names the first), or an option is
        unknown.

    Notes
    -----
    Within 2 ULP from -inf to inf at t = 0 and 1, within 3 for any t in between. A term whose
    coefficient is 0 counts 0 even at an infinite logit.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy_with_logits([0.0, 20.0], [0, 1], reduction="none")
    array([6.93147181e-01, 2.06115362e-09])
    """
    return _with_logits(
        FORWARD,
        None,
        logits,
        targets,
        weight,
        pos_weight=pos_weight,
        reduction=reduction,
        out=out,
        sample_weight=sample_weight,
        num_threads=num_threads,
    )[0]


def binary_cross_entropy_with_logits_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
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
    sample_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

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
    gradient: Array = _with_logits(
        BACKWARD,
        grad,
        logits,
        targets,
        weight,
        pos_weight=pos_weight,
        reduction=reduction,
        out=out,
        sample_weight=sample_weight,
        num_threads=num_threads,
    )[0]
    return gradient


def binary_cross_entropy_with_logits_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `binary_cross_entropy_with_logits` and its gradient in one pass.

    Parameters
    ----------
    logits, targets, weight, pos_weight, reduction
        As in `binary_cross_entropy_with_logits`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.
    sample_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

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
    return _with_logits(
        VALUE_AND_GRAD,
        None,
        logits,
        targets,
        weight,
        pos_weight=pos_weight,
        reduction=reduction,
        out=out,
        sample_weight=sample_weight,
        num_threads=num_threads,
    )


(
    binary_cross_entropy_with_logits_grad_and_hess,
    binary_cross_entropy_with_logits_value_grad_and_hess,
) = made(
    _with_logits,
    "binary_cross_entropy_with_logits",
    Example(
        "[0.0, 0.0], [0, 1]",
        "0.6931471805599453",
        "array([ 0.25, -0.25])",
        "array([0.125, 0.125])",
    ),
    GRAD_AND_HESS,
    VALUE_GRAD_AND_HESS,
)


def _binary_cross_entropy(
    direction: int,
    grad: Any,
    probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    reduction: str,
    log_floor: float | None,
    out: Array | None,
    sample_weight: ArrayLike | None,
    num_threads: int | None,
) -> tuple[Any, ...]:
    x = check.floating(probs, "probs")
    t = check.binary_targets(targets, x, "probs")
    reduction = check.reduction_name(reduction)
    samples = check.Samples(sample_weight, x.shape, reduction, num_threads)
    x = check.probabilities(samples.read(x), "probs", num_threads)
    t = check.probabilities(samples.read(t), "targets", num_threads)
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    floors = (-math.inf, 0.0) if log_floor is None else (float(log_floor), 1e-12)
    name, divisor = (
        "binary_cross_entropy",
        samples.total(x.size, exact_sum) if reduction == "mean" else 1.0,
    )
    return _loss(
        *(name, direction, grad, x, t, w, None, reduction, divisor, out, num_threads, floors),
        left_out=samples.left_out,
    )


def binary_cross_entropy(
    probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    log_floor: float | None = -100.0,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Binary cross-entropy of probabilities, in nats. For logits,
    `binary_cross_entropy_with_logits` is more accurate.

    .. math:: \ell = -w \big(t \log x + (1 - t) \log(1 - x)\big)

    Parameters
    ----------
    probs : array_like
        Probabilities x in [0, 1], of any shape.
    targets : array_like
        Of the shape of `probs`: labels 0 and 1, or probabilities.
    weight : array_like, optional
        Weight of each element; broadcasts to the shape of `probs`.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements; with sample weights it is sum(s l) / sum(s).
    log_floor : float or None, default -100
        Least value of a logarithm, so that the loss is finite at 0 and 1; None for the exact value.
        Unless it is None the gradient's denominator is at least 1e-12.
    out : ndarray, optional
        With ``reduction="none"``, the array for the losses; may be one of the arguments.
    sample_weight : array_like, optional
        Finite weights s of at least 0: of the shape of `probs`, or of its leading axes, one a row.
        What has weight 0 is not read.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the losses in the dtype of `probs`, each within
        2 ULP of the exact value at targets 0 and 1, and 3 between them.

    Raises
    ------
    TypeError
        If an operand is not real.
    ValueError
        If a probability or target is outside [0, 1] or NaN: names the first such element; if the
        shapes differ, a weight does not broadcast, a sample weight
        is negative or not finite (names the first), or an option is unknown.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy([0.5, 1.0], [1, 0])
    50.346573590279974
    """
    return _binary_cross_entropy(
        FORWARD, None, probs, targets, weight, reduction, log_floor, out, sample_weight, num_threads
    )[0]


def binary_cross_entropy_backward(
    grad: ArrayLike,
    probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    log_floor: float | None = -100.0,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `binary_cross_entropy` with respect to `probs`, times `grad`.

    It is :math:`w (x - t) / (x (1 - x))`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the losses' shape with
        ``reduction="none"``.
    probs, targets, weight, reduction, log_floor
        As in `binary_cross_entropy`.
    out : ndarray, optional
        Array of the shape and dtype of `probs` to write to; may be one of the arguments.
    sample_weight : array_like, optional
        As in `binary_cross_entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `probs`.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy_backward(1.0, [0.5, 0.75], [1, 0])
    array([-1.,  2.])
    """
    gradient: Array = _binary_cross_entropy(
        BACKWARD,
        grad,
        probs,
        targets,
        weight,
        reduction,
        log_floor,
        out,
        sample_weight,
        num_threads,
    )[0]
    return gradient


def binary_cross_entropy_value_and_grad(
    probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    log_floor: float | None = -100.0,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `binary_cross_entropy` and its gradient with respect to `probs`, in one pass.

    Parameters
    ----------
    probs, targets, weight, reduction, log_floor
        As in `binary_cross_entropy`.
    out : ndarray, optional
        Array for the gradient; may be one of the arguments.
    sample_weight : array_like, optional
        As in `binary_cross_entropy`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float or ndarray
        As `binary_cross_entropy`.
    grad : ndarray
        As ``binary_cross_entropy_backward(1, ...)``.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.binary_cross_entropy_value_and_grad([0.5], [1])
    (0.6931471805599453, array([-2.]))
    """
    return _binary_cross_entropy(
        VALUE_AND_GRAD,
        None,
        probs,
        targets,
        weight,
        reduction,
        log_floor,
        out,
        sample_weight,
        num_threads,
    )


def weighted_loss(
    name: str,
    parameters: tuple[float, ...],
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    out: check.Outs = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """A loss of a prediction and what it should be, whose mean is over the sum of the weights."""
    if weight is None and sample_weight is None and axis is None:
        plain: tuple[Any, ...] | None = kernels.plain_loss(
            OPS[name], direction, grad, input, target, reduction, out, parameters, num_threads
        )
        if plain is not None:
            return plain
    x, t = check.input_and_target(input, target)
    reduction = check.reduction_name(reduction)
    classes = None if axis is None else check.Classes(x, axis, "input")
    samples = check.Samples(sample_weight, x.shape, reduction, num_threads, classes)
    x, t, terms = samples.read(x), samples.read(t), 1
    if classes is not None:
        check.no_weight(weight)
        terms = classes.shape[classes.axis]
        if reduction == "none":
            return _loss_of_rows(
                name,
                direction,
                grad,
                x,
                t,
                samples,
                classes,
                terms=terms,
                out=out,
                num_threads=num_threads,
                parameters=parameters,
            )
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    divisor: float = terms
    if reduction == "mean":
        w, divisor = check.mean_weights(w, x.size, exact_sum)
    return _loss(
        *(name, direction, grad, x, t, w, None, reduction, divisor, out, num_threads, parameters),
        left_out=samples.left_out,
    )


def _mse_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    return weighted_loss("mse_loss", (), direction, grad, input, target, weight, **options)


def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Squared error.

    .. math:: \ell = w (x - t)^2

    Parameters
    ----------
    input : array_like
        Predictions x of any shape.
    target : array_like
        What they should be, of the same shape: nothing broadcasts.
    weight : array_like, optional
        Weight of each element; broadcasts to the shape of `input`.
    reduction : {"mean", "sum", "none"}
        The mean is over all elements, divided by the sum of the weights if there are any: with
        sample weights sum(s l) / sum(s w).
    axis : int or tuple of int, optional
        One loss a row, as Keras has it: the mean along the axis, or axes. The reduction is of these
        then, and `sample_weight` has one weight for each; there is no `weight`.
    out : ndarray, optional
        With ``reduction="none"``, the array for the losses; may be one of the arguments.
    sample_weight : array_like, optional
        Finite weights s of at least 0: of the shape of `input`, or of its leading axes, one a row.
        What has weight 0 is not read.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the losses in the dtype of `input`, each within
        1 ULP of the exact value, or with weights 2.

    Raises
    ------
    TypeError
        If an operand is not real.
    ValueError
        If the shapes differ, a weight does not broadcast, a sample weight
        is negative or not finite (names the first), or an option is unknown.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.mse_loss([1.0, 2.0], [0.0, 4.0])
    2.5
    >>> lossgrad.mse_loss([[1.0, 2.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 1.0]], axis=1)
    1.5
    >>> lossgrad.mse_loss([[1.0, 2.0]], [[0.0, 4.0]], axis=1, reduction="none")
    array([2.5])
    >>> lossgrad.mse_loss([1.0, 2.0], [0.0, 4.0], sample_weight=[3, 1])
    1.75
    """
    return _mse_loss(
        FORWARD,
        None,
        input,
        target,
        weight,
        reduction=reduction,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        num_threads=num_threads,
    )[0]


def mse_loss_backward(
    grad: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `mse_loss` with respect to `input`, times `grad`.

    It is :math:`2 w (x - t)`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the losses' shape with
        ``reduction="none"``.
    input, target, weight, reduction, axis
        As in `mse_loss`.
    out : ndarray, optional
        Array of the shape and dtype of `input` to write to; may be one of the arguments.
    sample_weight : array_like, optional
        As in `mse_loss`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `input`.

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.mse_loss_backward(1.0, [1.0, 2.0], [0.0, 4.0])
    array([ 1., -2.])
    """
    gradient: Array = _mse_loss(
        BACKWARD,
        grad,
        input,
        target,
        weight,
        reduction=reduction,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        num_threads=num_threads,
    )[0]
    return gradient


def mse_loss_value_and_grad(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `mse_loss` and its gradient with respect to `input`, in one pass.

    Parameters
    ----------
    input, target, weight, reduction, axis
        As in `mse_loss`.
    out : ndarray, optional
        Array for the gradient; may be one of the arguments.
    sample_weight : array_like, optional
        As in `mse_loss`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float or ndarray
        As `mse_loss`.
    grad : ndarray
        As ``mse_loss_backward(1, ...)``.

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.mse_loss_value_and_grad([1.0, 2.0], [0.0, 4.0])
    (2.5, array([ 1., -2.]))
    """
    return _mse_loss(
        VALUE_AND_GRAD,
        None,
        input,
        target,
        weight,
        reduction=reduction,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        num_threads=num_threads,
    )


mse_loss_grad_and_hess, mse_loss_value_grad_and_hess = made(
    _mse_loss,
    "mse_loss",
    Example("[1.0, 2.0], [0.0, 4.0]", "2.5", "array([ 1., -2.])", "array([1., 1.])"),
    GRAD_AND_HESS,
    VALUE_GRAD_AND_HESS,
    rest=weighted_loss,
)


def _kl_div(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    reduction: str,
    axis: check.Axis,
    log_target: bool,
    out: Array | None,
    num_threads: int | None,
) -> tuple[Any, ...]:
    name = "kl_div_log_target" if log_target else "kl_div"
    if axis is None:
        plain: tuple[Any, ...] | None = kernels.plain_loss(
            OPS[name], direction, grad, input, target, reduction, out, (), num_threads
        )
        if plain is not None:
            return plain
    x, t = check.input_and_target(input, target)
    reduction = check.batch_reduction_name(reduction)
    classes = None if axis is None else check.Classes(x, axis, "input")
    if classes is not None and reduction == "none":
        samples = check.Samples(None, x.shape, reduction)
        return _loss_of_rows(
            name, direction, grad, x, t, samples, classes, terms=1, out=out, num_threads=num_threads
        )
    divisor = check.divergence_divisor(reduction, x, classes)
    return _loss(
        *(name, direction, grad, x, t, (None, None), None, reduction, divisor, out, num_threads)
    )


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    log_target: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Loss:
    r"""
    Kullback-Leibler divergence of log-probabilities from target probabilities, in nats.

    .. math:: \ell = t (\log t - x)

    Parameters
    ----------
    input : array_like
        Log-probabilities x of any shape.
    target : array_like
        Probabilities t, or with `log_target` their logarithms, of the same shape.
    reduction : {"mean", "sum", "none", "batchmean"}
        The mean is over all elements, with "batchmean" over the entries of the first axis.
    axis : int or tuple of int, optional
        One loss a row, as Keras has it: the sum along the axis, or axes. The mean is over rows
        then; "batchmean" stays the sum of all over the entries of the first axis.
    log_target : bool, default False
        Whether `target` holds log-probabilities.
    out : ndarray, optional
        With ``reduction="none"``, the array for the losses; may be one of the arguments.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    float or ndarray
        The reduced loss; with ``reduction="none"`` the losses in the dtype of `input`, each within
        2 ULP of the exact value.

    Raises
    ------
    TypeError
        If an operand is not real.
    ValueError
        If the shapes differ or an option is unknown.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.kl_div([-1.0, -float('inf')], [0.5, 0.0], reduction="sum")
    0.15342640972002736
    """
    return _kl_div(FORWARD, None, input, target, reduction, axis, log_target, out, num_threads)[0]


def kl_div_backward(
    grad: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    log_target: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient of `kl_div` with respect to `input`, times `grad`.

    It is :math:`-t`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the loss: a number, or an array of the losses' shape with
        ``reduction="none"``.
    input, target, reduction, axis, log_target
        As in `kl_div`.
    out : ndarray, optional
        Array of the shape and dtype of `input` to write to; may be one of the arguments.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of the shape and dtype of `input`.

    Raises
    ------
    TypeError, ValueError
        As `kl_div`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.kl_div_backward(1.0, [-1.0, -2.0], [0.5, 0.5], reduction="sum")
    array([-0.5, -0.5])
    """
    gradient: Array = _kl_div(
        BACKWARD, grad, input, target, reduction, axis, log_target, out, num_threads
    )[0]
    return gradient


def kl_div_value_and_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    log_target: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> tuple[Loss, Array]:
    r"""
    `kl_div` and its gradient with respect to `input`, in one pass.

    Parameters
    ----------
    input, target, reduction, axis, log_target
        As in `kl_div`.
    out : ndarray, optional
        Array for the gradient; may be one of the arguments.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float or ndarray
        As `kl_div`.
    grad : ndarray
        As ``kl_div_backward(1, ...)``.

    Raises
    ------
    TypeError, ValueError
        As `kl_div`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.kl_div_value_and_grad([-1.0], [1.0])
    (1.0, array([-1.]))
    """
    return _kl_div(
        VALUE_AND_GRAD, None, input, target, reduction, axis, log_target, out, num_threads
    )
