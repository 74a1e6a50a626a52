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
from .._core.directions import (
    BACKWARD,
    FORWARD,
    GRAD_AND_HESS,
    VALUE_AND_GRAD,
    VALUE_GRAD_AND_HESS,
    function_of,
    gives_value,
    slopes,
)
from ._apply import each, parameters_of, ratio, times
from ._double import Wide, exact_sum, exp, log, log1p, select, sum_first, wide
from .activations import _sigmoid
from .softmax_family import doubles, flatten

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
Doubles = NDArray[np.float64]
Formula = Callable[..., Wide]
Formulas = tuple[Formula, ...]  # of the value, the gradient and, if there is one, the Hessian


def _both(weights: check.Weights, x: Array) -> tuple[Array | None, Array]:
    """(w, shift), with a shift for each element."""
    w, shift = weights
    return w, np.broadcast_to(0.0, x.shape) if shift is None else shift


@np.errstate(all="ignore")
def _loss(
    formulas: Formulas,
    direction: int,
    upstream: Any,
    reduction: str,
    divisor: float,
    out: check.Outs,
    left_out: Array | None,
    weights: check.Weights,
    x: Array,
    *others: Array | None,
) -> tuple[Any, ...]:
    """What the direction asks for."""
    factor: Any = 1.0
    if direction == FORWARD:
        check.loss_out(out, reduction)
    elif direction == BACKWARD:
        factor = check.upstream(upstream, reduction, x.shape, x.dtype)
    reduced = reduction != "none"
    places = check.places(out, direction, x.shape, x.dtype, not reduced)
    given: tuple[Any, ...] = *_both(weights, x), x, *others
    none = False if left_out is None else left_out
    total, found = [], []
    if gives_value(direction):
        losses = np.where(none, 0, _values(formulas[0], *given))
        total = [ratio(exact_sum(losses), divisor)] if reduced else []
        found = [] if reduced else [losses.astype(x.dtype)]
    for slope in formulas[1 : 1 + slopes(direction)]:
        found.append(np.where(none, 0, _slopes(slope, factor, divisor, *given)))
    for place, result in zip([a for a in places if a is not None], found, strict=True):
        place[...] = result
    return (*total, *check.all_finished(places, out, direction))


def _values(
    formula: Formula,
    w: Array | None,
    shift: Array,
    x: Array,
    *others: Any,
    dtype: Any = None,
) -> Array:
    losses = np.empty(x.shape, dtype or check.computed(x.dtype))
    each(
        losses,
        lambda w, n, *a: (Wide(w, 0.0, n) * formula(*a)).rounded(),
        *(w, shift, x, *others),
    )
    return losses


def _slopes(
    slope: Formula,
    factor: Any,
    divisor: float,
    w: Array | None,
    shift: Array,
    x: Array,
    *others: Any,
) -> Array:
    share = wide(1.0)
    if divisor and math.isfinite(divisor):
        share = share / divisor
    else:  # over an infinite weight nothing, over none NaN
        factor = np.asarray(factor, x.dtype) * x.dtype.type(ratio(1.0, divisor))
    found = np.empty(x.shape, x.dtype)
    each(
        found,
        lambda g, w, n, *a: times(g, slope(*a), weight=Wide(w, 0.0, n) * share),
        *(np.broadcast_to(factor, x.shape), w, shift, x, *others),
    )
    return found


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


def _logits_hessian(x: Doubles, t: Doubles, pos_weight: Any) -> Wide:
    positive, negative = _coefficients(t, pos_weight)
    return (positive + negative) * _sigmoid(x) * _sigmoid(-x)


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
    formulas: Formulas,
    direction: int,
    upstream: Any,
    classes: check.Classes,
    out: check.Outs,
    left_out: Array | None,
    weights: check.Weights,
    x: Array,
    *others: Array | None,
) -> tuple[Any, ...]:
    """The same with one loss a row: the sum over its classes."""
    shape, g = classes.rows_shape(), np.ones((), x.dtype)
    found: tuple[Any, ...] = ()
    if gives_value(direction):
        own = check.outs(out, direction)[0]
        result = check.row_output(own, shape, x.dtype)
        with np.errstate(all="ignore"):
            losses = _values(formulas[0], *_both(weights, x), x, *others, dtype=np.float64)
            losses = np.where(False if left_out is None else left_out, 0, losses)
            sums = sum_first(doubles(flatten(classes.merged(losses), classes.axis)))
            result[...] = sums.reshape(shape)
        found = (check.finished(result, own),)
    if direction == FORWARD:
        return found
    if direction == BACKWARD:
        g = np.asarray(check.upstream(upstream, "none", shape, x.dtype))
        g = g.reshape(classes.rows_shape(keepdims=True))
    only = GRAD_AND_HESS if slopes(direction) > 1 else BACKWARD
    g = np.broadcast_to(g, x.shape)
    return found + _loss(formulas, only, g, "none", 1.0, out, left_out, weights, x, *others)


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
    x = check.floating(logits, "logits")
    t = check.binary_targets(targets, x)
    reduction = check.reduction_name(reduction)
    samples = check.Samples(sample_weight, x.shape, reduction)
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    p = check.element_weight(pos_weight, x.shape, x.dtype, "pos_weight")
    p = None if p is None else samples.read(p)
    x, t, left_out = samples.read(x), samples.read(t), samples.left_out
    formulas = _logits_loss, _logits_slope, _logits_hessian
    divisor = samples.total(x.size, exact_sum) if reduction == "mean" else 1.0
    return _loss(formulas, direction, grad, reduction, divisor, out, left_out, w, x, t, p)


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
) -> tuple[Any, ...]:
    x = check.floating(probs, "probs")
    t = check.binary_targets(targets, x, "probs")
    reduction = check.reduction_name(reduction)
    samples = check.Samples(sample_weight, x.shape, reduction)
    x = check.probabilities(samples.read(x), "probs")
    t = check.probabilities(samples.read(t), "targets")
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    formulas: Formulas = _binary_loss(-np.inf), _binary_slope
    if log_floor is not None:
        floor, least = parameters_of(x.dtype, log_floor, 1e-12)
        formulas = _binary_loss(floor), _floored_slope(least)
    divisor, left_out = (
        samples.total(x.size, exact_sum) if reduction == "mean" else 1.0,
        samples.left_out,
    )
    return _loss(formulas, direction, grad, reduction, divisor, out, left_out, w, x, t)


# ---- squared error, divergence -------------------------------------------------------------------


def _gap(x: Doubles, t: Doubles) -> Wide:
    """x - t, which is NaN for two equal infinities."""
    return select(np.isnan(x - t), np.nan, wide(x) - t)


def _mse(x: Doubles, t: Doubles) -> Wide:
    return _gap(x, t) * _gap(x, t)


def _mse_slope(x: Doubles, t: Doubles) -> Wide:
    return 2.0 * _gap(x, t)


def _mse_hessian(x: Doubles, t: Doubles) -> Wide:
    return select(np.isnan(_gap(x, t).high), np.nan, 2.0)


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


def weighted_loss(
    formulas: Formulas,
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
            return _loss_of_rows(formulas, direction, grad, classes, out, left_out, w, x, t)
    w = samples.times(check.element_weight(weight, x.shape, x.dtype), x.dtype)
    divisor = terms
    if reduction == "mean":
        w, divisor = check.mean_weights(w, x.size, exact_sum)
    return _loss(formulas, direction, grad, reduction, divisor, out, left_out, w, x, t)


def _mse_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    formulas = _mse, _mse_slope, _mse_hessian
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


def _kl_div(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    reduction: str,
    axis: check.Axis,
    log_target: bool,
    out: Array | None,
) -> tuple[Any, ...]:
    x, t = check.input_and_target(input, target)
    reduction = check.batch_reduction_name(reduction)
    classes = None if axis is None else check.Classes(x, axis, "input")
    divisor = check.divergence_divisor(reduction, x, classes)
    formulas: Formulas = (_kl, _kl_slope)
    if log_target:
        formulas = _kl_log(check.computed(x.dtype)), _kl_log_slope
    if classes is not None and reduction == "none":
        return _loss_of_rows(formulas, direction, grad, classes, out, None, (None, None), x, t)
    return _loss(formulas, direction, grad, reduction, divisor, out, None, (None, None), x, t)


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
        FORWARD,
        None,
        logits,
        targets,
        weight,
        pos_weight=pos_weight,
        reduction=reduction,
        out=out,
        sample_weight=sample_weight,
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
        BACKWARD,
        grad,
        logits,
        targets,
        weight,
        pos_weight=pos_weight,
        reduction=reduction,
        out=out,
        sample_weight=sample_weight,
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
) -> tuple[Any, Array]:
    """``binary_cross_entropy_with_logits`` and its gradient for logits."""
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
        FORWARD, None, probs, targets, weight, reduction, log_floor, out, sample_weight
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
        BACKWARD, grad, probs, targets, weight, reduction, log_floor, out, sample_weight
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
) -> tuple[Any, Array]:
    """``binary_cross_entropy`` and its gradient for probs."""
    return _binary_cross_entropy(
        VALUE_AND_GRAD, None, probs, targets, weight, reduction, log_floor, out, sample_weight
    )


(
    binary_cross_entropy_with_logits_grad_and_hess,
    binary_cross_entropy_with_logits_value_grad_and_hess,
) = (
    function_of(_with_logits, "binary_cross_entropy_with_logits", direction)
    for direction in (GRAD_AND_HESS, VALUE_GRAD_AND_HESS)
)
mse_loss_grad_and_hess, mse_loss_value_grad_and_hess = (
    function_of(_mse_loss, "mse_loss", direction, weighted_loss)
    for direction in (GRAD_AND_HESS, VALUE_GRAD_AND_HESS)
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
    """grad times the gradient of ``mse_loss`` for input."""
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
) -> tuple[Any, Array]:
    """``mse_loss`` and its gradient for input."""
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
) -> Any:
    """target * (log(target) - input), input a log-probability."""
    return _kl_div(FORWARD, None, input, target, reduction, axis, log_target, out)[0]


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
    gradient: Array = _kl_div(BACKWARD, grad, input, target, reduction, axis, log_target, out)[0]
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
    return _kl_div(VALUE_AND_GRAD, None, input, target, reduction, axis, log_target, out)
