"""Losses that are another function of the cross-entropy of a label: focal loss, and poly-1."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._kernels.defaults import LAST_AXIS
from ._double import Wide, exp, log, select
from .row_losses import Cap, CrossEntropy, loss_of_rows
from .softmax_family import Rows

__all__ = [
    "poly_loss_cross_entropy",
    "poly_loss_cross_entropy_backward",
    "poly_loss_cross_entropy_value_and_grad",
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

    def _bent(self, at: tuple[Any, Any], rows: Rows) -> tuple[Wide, Wide]:
        x = rows.x[at]
        gap = select(x == rows.pivot, 0.0, Wide(rows.pivot) - Wide(x))
        return self.bend(self.parameter, rows.log + gap, rows.shares()[at], rows.others(at))

    def losses(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Any:
        weight, (value, _) = q[at], self._bent(at, rows)
        return select(weight.high == 0, 0.0, weight * value).rounded() + 0 * rows.total

    def slopes(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Wide:
        return super().slopes(q, at, rows) * self._bent(at, rows)[1]


def _loss(
    bend: Bend,
    parameter: float,
    value: bool,
    grad: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    axis: int,
    out: Array | None,
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
) -> tuple[Any, Any]:
    """(the loss if value, the gradient unless grad is None)"""
    return loss_of_rows(
        lambda _: _Bent(bend, parameter),
        *(logits, targets, weight, ignore_index, reduction),
        *(axis, out, None, sample_weight, where),
        value=value,
        slope=grad is not None,
        grad=None if value else grad,
    )


def softmax_focal_loss(
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
) -> Any:
    """(1 - p)^gamma times the cross-entropy of a label."""
    return _loss(
        _focal,
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
    )[0]


def softmax_focal_loss_backward(
    grad: ArrayLike,
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
) -> Array:
    """grad times the gradient of ``softmax_focal_loss`` with respect to the logits."""
    gradient: Array = _loss(
        _focal,
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
    )[1]
    return gradient


def softmax_focal_loss_value_and_grad(
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
) -> tuple[Any, Array]:
    """``softmax_focal_loss`` and its gradient with respect to the logits."""
    return _loss(
        _focal,
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
    )


def poly_loss_cross_entropy(
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
) -> Any:
    """The cross-entropy of a label plus epsilon (1 - p)."""
    return _loss(
        _poly,
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
    )[0]


def poly_loss_cross_entropy_backward(
    grad: ArrayLike,
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
) -> Array:
    """grad times the gradient of ``poly_loss_cross_entropy`` with respect to the logits."""
    gradient: Array = _loss(
        _poly,
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
    )[1]
    return gradient


def poly_loss_cross_entropy_value_and_grad(
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
) -> tuple[Any, Array]:
    """``poly_loss_cross_entropy`` and its gradient with respect to the logits."""
    return _loss(
        _poly,
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
    )
