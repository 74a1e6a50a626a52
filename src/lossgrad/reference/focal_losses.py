"""Losses that are another function of the cross-entropy of a label: focal loss, and poly-1."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.directions import BACKWARD, FORWARD, SUFFIXES, VALUE_AND_GRAD, function_of
from .._kernels.defaults import LAST_AXIS
from ._apply import parameters_of
from ._double import Wide, exp, log, log1p, select
from .activations import _sigmoid
from .losses import Formulas, weighted_loss
from .row_losses import Cap, CrossEntropy, loss_of_rows
from .softmax_family import Rows

__all__ = [
    "poly_loss_cross_entropy",
    "poly_loss_cross_entropy_backward",
    "poly_loss_cross_entropy_value_and_grad",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_grad_and_hess",
    "sigmoid_focal_loss_value_and_grad",
    "sigmoid_focal_loss_value_grad_and_hess",
    "softmax_focal_loss",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_value_and_grad",
]

Array = NDArray[Any]
# (a parameter, the label's loss, p, 1 - p): what it bends to, and minus its derivative by log p
Bend = Callable[[float, Wide, Wide, Wide], tuple[Wide, Wide]]


def _focal(gamma: float, loss: Wide, p: Wide, missing: Wide) -> tuple[Wide, Wide]:
    if gamma == 0:
        return loss, Wide(np.ones_like(loss.high))
    power = select(missing.high == 0, 0.0, exp(log(missing) * gamma))
    ratio = select(missing.high == 0, 1.0, loss / missing)
    return power * loss, power * (1.0 + gamma * (p * ratio))


def _poly(epsilon: float, loss: Wide, p: Wide, missing: Wide) -> tuple[Wide, Wide]:
    return loss + epsilon * missing, (Wide(1.0) + epsilon) - epsilon * missing


class _Bent(CrossEntropy):
    takes_distributions = False

    def __init__(self, bend: Bend, parameter: float) -> None:
        super().__init__(0.0, 0.0, Cap(0.0, np.dtype(np.float64)))
        self.bend, self.parameter = bend, parameter

    def for_all(self, x: Array) -> CrossEntropy:
        """The form for any logits."""
        return self

    def _bent(self, at: tuple[Any, Any], rows: Rows) -> tuple[Wide, Wide]:
        x = rows.x[at]
        gap = select(x == rows.pivot, 0.0, Wide(rows.pivot) - Wide(x))
        return self.bend(self.parameter, rows.log + gap, rows.shares()[at], rows.others(at))

    def losses(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Any:
        weight, (value, _) = q[at], self._bent(at, rows)
        return select(weight.high == 0, 0.0, weight * value).rounded() + 0 * rows.total

    def slopes(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Wide:
        return super().slopes(q, at, rows) * self._bent(at, rows)[1]


def _softmax_focal_loss(
    direction: int,
    grad: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    return loss_of_rows(
        _Bent(_focal, check.penalty(gamma, "gamma")).for_all,
        *(direction, grad, logits, targets, weight, ignore_index, reduction),
        *(axis, out, None, sample_weight, where),
    )


softmax_focal_loss, softmax_focal_loss_backward, softmax_focal_loss_value_and_grad = (
    function_of(_softmax_focal_loss, "softmax_focal_loss", direction)
    for direction in (FORWARD, BACKWARD, VALUE_AND_GRAD)
)


def _poly_loss_cross_entropy(
    direction: int,
    grad: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    epsilon: float = 2.0,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    return loss_of_rows(
        _Bent(_poly, check.finite(epsilon, "epsilon")).for_all,
        *(direction, grad, logits, targets, weight, ignore_index, reduction),
        *(axis, out, None, sample_weight, where),
    )


(
    poly_loss_cross_entropy,
    poly_loss_cross_entropy_backward,
    poly_loss_cross_entropy_value_and_grad,
) = (
    function_of(_poly_loss_cross_entropy, "poly_loss_cross_entropy", direction)
    for direction in (FORWARD, BACKWARD, VALUE_AND_GRAD)
)


def _softplus(s: Any) -> Wide:
    return np.maximum(s, 0.0) + log1p(exp(-abs(s)))


def _sigmoid_focal(positive: float, negative: float, gamma: float) -> Formulas:
    """By s, which is x for the label 0 and -x for 1: m is what is missing of the probability."""

    def parts(x: Any, t: Any) -> tuple[Any, Wide, Wide, Wide, Wide]:
        s = np.where(t > 0.5, -x, x)
        power = exp(-gamma * _softplus(-s)) * np.where(t > 0.5, positive, negative)
        return s, power, _sigmoid(s), _sigmoid(-s), _softplus(s)

    def loss(x: Any, t: Any) -> Wide:
        _, power, _, _, c = parts(x, t)
        return select(power.high == 0, 0.0, power * c)

    def slope(x: Any, t: Any) -> Wide:
        _, power, m, rest, c = parts(x, t)
        first = power * (m + gamma * select(rest.high == 0, 0.0, c * rest))
        return select(t > 0.5, -first, first)

    def hessian(x: Any, t: Any) -> Wide:
        _, power, m, rest, c = parts(x, t)
        inner = (1 + 2 * gamma) * m + gamma * (c * (gamma * rest - m))
        return select(rest.high == 0, 0.0, power * rest * inner)

    return loss, slope, hessian


def _sigmoid_focal_loss(
    direction: int,
    grad: ArrayLike | None,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    **options: Any,
) -> tuple[Any, ...]:
    numbers = *check.label_weights(alpha), check.penalty(gamma, "gamma")
    read = {name: options[name] for name in options.keys() - {"out"}}
    check.labels_of_samples(input, target, **read)
    formulas = _sigmoid_focal(*parameters_of(check.floating(input, "input").dtype, *numbers))
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    sigmoid_focal_loss,
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_value_and_grad,
    sigmoid_focal_loss_grad_and_hess,
    sigmoid_focal_loss_value_grad_and_hess,
) = (
    function_of(_sigmoid_focal_loss, "sigmoid_focal_loss", direction, weighted_loss)
    for direction in range(len(SUFFIXES))
)
