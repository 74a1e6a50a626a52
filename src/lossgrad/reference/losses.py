"""Losses of every element by itself: each a formula and its slope in ``Wide`` arithmetic.

A coefficient of 0 makes a term 0 even where its logarithm is infinite, since ``Wide`` has no
infinities.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from ._apply import each, loss_beside, parameters_of, ratio, times
from ._double import Wide, exact_sum, exp, log, log1p, select, sum_first, wide
from .activations import _sigmoid
from .softmax_family import doubles, flatten

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_value_and_grad",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_value_and_grad",
    "kl_div",
    "kl_div_backward",
    "kl_div_value_and_grad",
    "mse_loss",
    "mse_loss_backward",
    "mse_loss_value_and_grad",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Formula = Callable[..., Wide]


def _both(weights: check.Weights, x: Array) -> tuple[Array | None, Array]:
    """(w, shift), with a shift for each element."""
    w, shift = weights
    return w, np.broadcast_to(0.0, x.shape) if shift is None else shift


@np.errstate(all="ignore")
def _loss(
    formula: Formula,
    slope: Formula,
    upstream: ArrayLike | None,
    reduction: str,
    divisor: float,
    out: Array | None,
    value: bool,
    left_out: Array | None,
    weights: check.Weights,
    x: Array,
    *others: Array | None,
) -> tuple[Any, Any]:
    """(the loss if value is asked for, the gradient for x unless upstream is None)."""
    factor: Any = 1.0
    if upstream is None:
        check.loss_out(out, reduction)
    elif not value:
        factor = check.upstream(upstream, reduction, x.shape, x.dtype)
    result = check.output(out, x.shape, x.dtype)
    reduced = reduction != "none"
    loss: Any = None
    none = False if left_out is None else left_out
    if value:
        losses = np.empty(x.shape, check.computed(x.dtype))
        each(
            losses,
            lambda w, n, *a: (Wide(w, 0.0, n) * formula(*a)).rounded(),
            *_both(weights, x),
            x,
            *others,
        )
        losses = np.where(none, 0, losses)
        loss = ratio(exact_sum(losses), divisor) if reduced else losses.astype(x.dtype)
    if upstream is not None:
        share = wide(1.0)
        if divisor and math.isfinite(divisor):
            share = share / divisor
        else:  # over an infinite weight nothing, over none NaN
            factor = np.asarray(factor, x.dtype) * x.dtype.type(ratio(1.0, divisor))
        slopes = np.empty(x.shape, x.dtype)
        given = np.broadcast_to(factor, x.shape), *_both(weights, x), x, *others
        each(
            slopes,
            lambda g, w, n, *a: times(g, slope(*a), weight=Wide(w, 0.0, n) * share),
            *given,
        )
        result[...] = np.where(none, 0, slopes)
        return loss_beside(loss), check.finished(result, out)
    if not reduced:
        result[...] = loss
        loss = check.finished(result, out)
    return loss, None


# ---- binary cross-entropy ------------------------------------------------------------------------


def _softplus(x: Doubles) -> Wide:
    return np.maximum(x, 0) + log1p(exp(-abs(x)))


def _coefficients(t: Doubles, pos_weight: Any) -> tuple[Wide, Wide]:
    """Of the two terms; NaN for an infinite target."""
    t = np.where(np.isinf(t), np.nan, t)
    return wide(t) * pos_weight, 1.0 - wide(t)


def _logits_loss(x: Doubles, t: Doubles, pos_weight: Any) -> Wide:
    positive, negative = _coefficients(t, pos_weight)
    return positive * _softplus(-x) + negative * _softplus(x)


def _logits_slope(x: Doubles, t: Doubles, pos_weight: Any) -> Wide:
    positive, negative = _coefficients(t, pos_weight)
    return negative * _sigmoid(x) - positive * _sigmoid(-x)


def _at_least(x: Wide, floor: float) -> Wide:
    return select(x.rounded() < floor, floor, x)


def _binary_loss(floor: float) -> Formula:
    def loss(p: Doubles, t: Doubles) -> Wide:
        rest = log1p(-wide(p))
        terms = t * _at_least(log(p), floor) + (1.0 - wide(t)) * _at_least(rest, floor)
        return -terms

    return loss


def _binary_slope(p: Doubles, t: Doubles) -> Wide:
    """-t / p + (1 - t) / (1 - p), where a coefficient of 0 leaves a term out."""
    p = abs(p)
    positive, negative = wide(t) / wide(p), (1.0 - wide(t)) / (1.0 - wide(p))
    inside = (wide(p) - t) / (wide(p) * (1.0 - wide(p)))
    return select(t == 0, negative, select(t == 1, -positive, inside))


def _floored_slope(floor: float) -> Formula:
    def slope(p: Doubles, t: Doubles) -> Wide:
        return (wide(p) - t) / _at_least(wide(p) * (1.0 - wide(p)), floor)

    return slope


def _loss_of_rows(
    formula: Formula,
    slope: Formula,
    upstream: ArrayLike | None,
    classes: check.Classes,
    out: Array | None,
    value: bool,
    left_out: Array | None,
    weights: check.Weights,
    x: Array,
    *others: Array | None,
) -> tuple[Any, Any]:
    """The same with one loss a row: the sum over its classes."""
    shape, loss, g = classes.rows_shape(), None, np.ones((), x.dtype)
    if value:
        losses = np.empty(x.shape)
        with np.errstate(all="ignore"):
            each(
                losses,
                lambda w, n, *a: (Wide(w, 0.0, n) * formula(*a)).rounded(),
                *_both(weights, x),
                x,
                *others,
            )
            losses = np.where(False if left_out is None else left_out, 0, losses)
            sums = sum_first(doubles(flatten(classes.merged(losses), classes.axis)))
            if upstream is None:
                result = check.row_output(out, shape, x.dtype)
                result[...] = sums.reshape(shape)
                return check.finished(result, out), None
            loss = sums.reshape(shape).astype(x.dtype)
    elif upstream is not None:
        g = np.asarray(check.upstream(upstream, "none", shape, x.dtype))
        g = g.reshape(classes.rows_shape(keepdims=True))
    g = np.broadcast_to(g, x.shape)
    slopes = _loss(formula, slope, g, "none", 1.0, out, False, left_out, weights, x, *others)[1]
    return loss_beside(loss), slopes


def _with_logits(
    upstream: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    reduction: str,
    out: Array | None,
    sample_weight: ArrayLike | None,
    value: bool,
) -> tuple[Any, Any]:
    x = check.floating(logits, "logits")
    t = check.binary_targets(targets, x)
    reduction = check.reduction_name(reduction)
    samples = check.Samples(sample_weight, x.shape, reduction)
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    p = check.element_weight(pos_weight, x.shape, x.dtype, "pos_weight")
    p = None if p is None else samples.read(p)
    x, t, left_out = samples.read(x), samples.read(t), samples.left_out
    formulas, divisor = (
        (_logits_loss, _logits_slope),
        samples.total(x.size, exact_sum) if reduction == "mean" else 1.0,
    )
    return _loss(*formulas, upstream, reduction, divisor, out, value, left_out, w, x, t, p)


def _binary_cross_entropy(
    upstream: ArrayLike | None,
    probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    reduction: str,
    log_floor: float | None,
    out: Array | None,
    sample_weight: ArrayLike | None,
    value: bool,
) -> tuple[Any, Any]:
    x = check.floating(probs, "probs")
    t = check.binary_targets(targets, x, "probs")
    reduction = check.reduction_name(reduction)
    samples = check.Samples(sample_weight, x.shape, reduction)
    x = check.probabilities(samples.read(x), "probs")
    t = check.probabilities(samples.read(t), "targets")
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    formulas: tuple[Formula, Formula] = _binary_loss(-np.inf), _binary_slope
    if log_floor is not None:
        floor, least = parameters_of(x.dtype, log_floor, 1e-12)
        formulas = _binary_loss(floor), _floored_slope(least)
    divisor, left_out = (
        samples.total(x.size, exact_sum) if reduction == "mean" else 1.0,
        samples.left_out,
    )
    return _loss(*formulas, upstream, reduction, divisor, out, value, left_out, w, x, t)


# ---- squared error, divergence -------------------------------------------------------------------


def _gap(x: Doubles, t: Doubles) -> Wide:
    """x - t, which is NaN for two equal infinities."""
    return select(np.isnan(x - t), np.nan, wide(x) - t)


def _mse(x: Doubles, t: Doubles) -> Wide:
    return _gap(x, t) * _gap(x, t)


def _mse_slope(x: Doubles, t: Doubles) -> Wide:
    return 2.0 * _gap(x, t)


def _kl(x: Doubles, t: Doubles) -> Wide:
    gap = select(np.isnan(log(t).rounded() - x), np.nan, log(t) - x)
    return select((t == 0) & ~np.isnan(x), 0.0, t * gap)


def _kl_slope(x: Doubles, t: Doubles) -> Wide:
    return select(np.isnan(x), x, -t)


def _kl_log(dtype: np.dtype[Any]) -> Formula:
    """exp(t) counts 0 against an infinity if it is 0 in what is computed in."""

    def loss(x: Doubles, t: Doubles) -> Wide:
        mass = exp(t)
        none = (mass.rounded().astype(dtype) == 0) & np.isinf(x) | (t == -np.inf)
        return select(none & ~np.isnan(x), 0.0, mass * _gap(t, x))

    return loss


def _kl_log_slope(x: Doubles, t: Doubles) -> Wide:
    return select(np.isnan(x), x, -exp(t))


def _mse_loss(
    upstream: ArrayLike | None,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    reduction: str,
    axis: check.Axis,
    out: Array | None,
    sample_weight: ArrayLike | None,
    value: bool,
) -> tuple[Any, Any]:
    x, t = check.input_and_target(input, target)
    reduction = check.reduction_name(reduction)
    classes = None if axis is None else check.Classes(x, axis, "input")
    samples = check.Samples(sample_weight, x.shape, reduction, classes=classes)
    x, t, left_out = samples.read(x), samples.read(t), samples.left_out
    terms: float = 1.0
    if classes is not None:
        check.no_weight(weight)
        terms = classes.shape[classes.axis]
        if reduction == "none":
            w = samples.times(check.element_weight(1 / terms, x.shape, x.dtype), x.dtype)
            return _loss_of_rows(_mse, _mse_slope, upstream, classes, out, value, left_out, w, x, t)
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    divisor = terms
    if reduction == "mean":
        w, divisor = check.mean_weights(w, x.size, exact_sum)
    return _loss(_mse, _mse_slope, upstream, reduction, divisor, out, value, left_out, w, x, t)


def _kl_div(
    upstream: ArrayLike | None,
    input: ArrayLike,
    target: ArrayLike,
    reduction: str,
    axis: check.Axis,
    log_target: bool,
    out: Array | None,
    value: bool,
) -> tuple[Any, Any]:
    x, t = check.input_and_target(input, target)
    reduction = check.batch_reduction_name(reduction)
    classes = None if axis is None else check.Classes(x, axis, "input")
    divisor = check.divergence_divisor(reduction, x, classes)
    formulas: tuple[Formula, Formula] = (_kl, _kl_slope)
    if log_target:
        formulas = _kl_log(check.computed(x.dtype)), _kl_log_slope
    if classes is not None and reduction == "none":
        return _loss_of_rows(*formulas, upstream, classes, out, value, None, (None, None), x, t)
    return _loss(*formulas, upstream, reduction, divisor, out, value, None, (None, None), x, t)


# ---- public functions ----------------------------------------------------------------------------


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
) -> Any:
    """Binary cross-entropy of sigmoid(logits) with targets."""
    return _with_logits(
        None, logits, targets, weight, pos_weight, reduction, out, sample_weight, True
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
    """grad times the gradient of ``binary_cross_entropy_with_logits`` for logits."""
    gradient: Array = _with_logits(
        grad, logits, targets, weight, pos_weight, reduction, out, sample_weight, False
    )[1]
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
) -> tuple[Any, Array]:
    """``binary_cross_entropy_with_logits`` and its gradient for logits."""
    return _with_logits(
        1.0, logits, targets, weight, pos_weight, reduction, out, sample_weight, True
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
) -> Any:
    """-(t log(p) + (1 - t) log(1 - p)), no logarithm less than log_floor."""
    return _binary_cross_entropy(
        None, probs, targets, weight, reduction, log_floor, out, sample_weight, True
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
    """grad times the gradient of ``binary_cross_entropy`` for probs."""
    gradient: Array = _binary_cross_entropy(
        grad, probs, targets, weight, reduction, log_floor, out, sample_weight, False
    )[1]
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
) -> tuple[Any, Array]:
    """``binary_cross_entropy`` and its gradient for probs."""
    return _binary_cross_entropy(
        1.0, probs, targets, weight, reduction, log_floor, out, sample_weight, True
    )


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
) -> Any:
    """(input - target)**2."""
    return _mse_loss(None, input, target, weight, reduction, axis, out, sample_weight, True)[0]


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
    """grad times the gradient of ``mse_loss`` for input."""
    gradient: Array = _mse_loss(
        grad, input, target, weight, reduction, axis, out, sample_weight, False
    )[1]
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
) -> tuple[Any, Array]:
    """``mse_loss`` and its gradient for input."""
    return _mse_loss(1.0, input, target, weight, reduction, axis, out, sample_weight, True)


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    axis: check.Axis = None,
    log_target: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Any:
    """target * (log(target) - input), input a log-probability."""
    return _kl_div(None, input, target, reduction, axis, log_target, out, True)[0]


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
    """grad times the gradient of ``kl_div`` for input."""
    gradient: Array = _kl_div(grad, input, target, reduction, axis, log_target, out, False)[1]
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
) -> tuple[Any, Array]:
    """``kl_div`` and its gradient for input."""
    return _kl_div(1.0, input, target, reduction, axis, log_target, out, True)
