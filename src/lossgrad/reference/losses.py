"""Losses of every element by itself."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _arguments as check
from ._apply import each, loss_beside, ratio, weighted
from ._double import exact_sum, scaled_exp, two_product, two_sum

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_value_and_grad",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]


def _logistic(x: Doubles) -> tuple[Doubles, NDArray[np.intc], Doubles]:
    """(small, n, large): sigmoid(-|x|) is small * 2**n, sigmoid(|x|) is large."""
    power, rest, n = scaled_exp(-np.abs(x))
    total, low = two_sum(1.0, np.ldexp(power, n))
    low = low + np.ldexp(rest, n)

    def over_total(a: Any, a_low: Any) -> Doubles:
        q = a / total
        p, error = two_product(q, total)
        result: Doubles = q + ((((a - p) - error) + a_low) - q * low) / total
        return result

    return over_total(power, rest), n, over_total(1.0, 0.0)


def _binary_losses(x: Doubles, t: Doubles, weight: Any, pos_weight: Any) -> Doubles:
    power, _, n = scaled_exp(-np.abs(x))
    log = np.log1p(np.ldexp(power, n))
    positive = weighted(pos_weight * t, log + np.maximum(-x, 0))
    negative = weighted(1 - t, log + np.maximum(x, 0))
    result: Doubles = weighted(weight, positive + negative)
    return result


def _binary_slopes(factor: Any, x: Doubles, t: Doubles, weight: Any, pos_weight: Any) -> Doubles:
    small, n, large = _logistic(x)
    factor, below = factor * weight, x < 0
    up = factor * (1 - t) * np.where(below, small, large)
    down = factor * (pos_weight * t) * np.where(below, large, small)
    result: Doubles = np.ldexp(up, np.where(below, n, 0)) - np.ldexp(down, np.where(below, 0, n))
    return result


@np.errstate(all="ignore")
def _binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    reduction: str,
    out: Array | None,
    *,
    value: bool,
    slope: bool,
    grad: ArrayLike | None = None,
) -> tuple[Any, Any]:
    """(the loss if value, the gradient if slope); grad is 1 if None."""
    x = check.floating(logits, "logits")
    t = check.binary_targets(targets, x)
    reduction = check.reduction_name(reduction)
    w = check.element_weight(weight, x.shape, x.dtype)
    pw = check.element_weight(pos_weight, x.shape, x.dtype, "pos_weight")
    factor = 1.0 if grad is None else check.upstream(grad, reduction, x.shape, x.dtype)
    if not slope:
        check.loss_out(out, reduction)
    result = check.output(out, x.shape, x.dtype)

    losses, slopes = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    divisor = x.size if reduction == "mean" else 1
    if value:
        each(losses, _binary_losses, x, t, w, pw)
    if slope:
        factors = np.broadcast_to(np.asarray(factor, np.float64) / divisor, x.shape)
        each(slopes, _binary_slopes, factors, x, t, w, pw)
    loss: Any = losses
    if value and reduction != "none":
        loss = ratio(exact_sum(losses), divisor)
    if slope:
        result[...] = slopes
        return loss_beside(loss), check.finished(result, out)
    if reduction == "none":
        result[...] = losses
        loss = check.finished(result, out)
    return loss, None


def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
) -> Any:
    """Binary cross-entropy of sigmoid(logits) with targets."""
    return _binary_cross_entropy(
        logits, targets, weight, pos_weight, reduction, out, value=True, slope=False
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
) -> Array:
    """grad times the gradient of ``binary_cross_entropy_with_logits`` for the logits."""
    gradient: Array = _binary_cross_entropy(
        logits, targets, weight, pos_weight, reduction, out, value=False, slope=True, grad=grad
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
) -> tuple[Any, Array]:
    """``binary_cross_entropy_with_logits`` and its gradient for the logits."""
    return _binary_cross_entropy(
        logits, targets, weight, pos_weight, reduction, out, value=True, slope=True
    )
