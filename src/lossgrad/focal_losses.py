"""Losses that bend the cross-entropy of a label: focal losses and poly-1."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.directions import BACKWARD, FORWARD, VALUE_AND_GRAD
from ._families import Example, family, made
from ._kernels.defaults import LAST_AXIS
from ._row_losses import row_loss_of, usual
from .losses import weighted_loss
from .registry import row_loss

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
Loss = Any  # a float; an array with reduction="none"


def _bent(
    name: str,
    bend: float,
    direction: int,
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
    num_threads: int | None,
) -> tuple[Any, ...]:
    """What the direction asks for; a loss that does not bend is the cross-entropy."""
    if weight is sample_weight is where is None:
        found = usual(
            name if bend else "cross_entropy",
            *(direction, grad, logits, targets, ignore_index, reduction, bend),
            *(axis, out, num_threads),
        )
        if found is not None:
            return found
    return row_loss_of(
        name,
        direction,
        grad,
        logits,
        targets,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        bend=bend,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )


def _softmax_focal_loss(
    direction: int,
    grad: ArrayLike | None,
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
) -> tuple[Any, ...]:
    return _bent(
        "softmax_focal_loss",
        check.penalty(gamma, "gamma"),
        *(direction, grad, logits, targets, weight, ignore_index, reduction),
        *(axis, out, sample_weight, where, num_threads),
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
    keeps its relative accuracy where :math:`p_y` is close to 1. (T.-Y. Lin et al., "Focal loss for
    dense object detection", 2017, where the weights are called alpha.)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softmax_focal_loss([[0.0, 0.0], [4.0, 0.0]], [0, 0], reduction="none")
    array([1.73286795e-01, 5.87156972e-06])
    >>> lossgrad.softmax_focal_loss([[1.0, 0.0]], [1], gamma=0.0)
    1.3132616875182228
    """
    return _softmax_focal_loss(
        FORWARD,
        None,
        logits,
        targets,
        weight,
        gamma=gamma,
        ignore_index=ignore_index,
        reduction=reduction,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )[0]


softmax_focal_loss_backward, softmax_focal_loss_value_and_grad = made(
    _softmax_focal_loss,
    "softmax_focal_loss",
    Example(
        "[[0.0, 0.0]], [0], gamma=1.0",
        "0.34657359027997264",
        "array([[-0.4232868,  0.4232868]])",
        "",
    ),
    BACKWARD,
    VALUE_AND_GRAD,
)


def _poly_loss_cross_entropy(
    direction: int,
    grad: ArrayLike | None,
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
) -> tuple[Any, ...]:
    return _bent(
        "poly_loss_cross_entropy",
        check.finite(epsilon, "epsilon"),
        *(direction, grad, logits, targets, weight, ignore_index, reduction),
        *(axis, out, sample_weight, where, num_threads),
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
    :math:`p_y` is close to 1. (Z. Leng et al., "PolyLoss: a polynomial expansion perspective of
    classification loss functions", 2022; optax takes distributions where labels are taken here.)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.poly_loss_cross_entropy([[0.0, 0.0]], [0])
    1.6931471805599454
    >>> lossgrad.poly_loss_cross_entropy([[0.0, -20.0]], [0], epsilon=1.0)
    4.122307238504585e-09
    """
    return _poly_loss_cross_entropy(
        FORWARD,
        None,
        logits,
        targets,
        weight,
        epsilon=epsilon,
        ignore_index=ignore_index,
        reduction=reduction,
        axis=axis,
        out=out,
        sample_weight=sample_weight,
        where=where,
        num_threads=num_threads,
    )[0]


poly_loss_cross_entropy_backward, poly_loss_cross_entropy_value_and_grad = made(
    _poly_loss_cross_entropy,
    "poly_loss_cross_entropy",
    Example("[[0.0, 0.0]], [0]", "1.6931471805599454", "array([[-1.,  1.]])", ""),
    BACKWARD,
    VALUE_AND_GRAD,
)


@family(
    weighted_loss,
    "w a m^gamma softplus(s), m = sigmoid(s), s = x or -x for the label 0 or 1",
    "g w a m^gamma (m + gamma (1 - m) softplus(s)), of the sign of s / x",
    "g w a m^gamma (1 - m) (m (1 + 2 gamma) + gamma softplus(s) (gamma (1 - m) - m))",
    Example(
        "[0.0, 0.0], [0, 1]",
        "0.08664339756999316",
        "array([ 0.11185755, -0.03728585])",
        "array([0.14967877, 0.04989292])",
    ),
    {"alpha": -1.0},
    {"gamma": 0.0},
    {"gamma": 0.5, "alpha": 0.75},
    {"gamma": 5.0},
    inputs=("logits", "binary labels"),
    alpha="Weight of the label 1, in [0, 1]; the label 0 has 1 - alpha. Negative for none.",
    gamma="How much elements count less that are right, 0 or more.",
)
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
    r"""
    Focal loss of logits with labels 0 and 1, in nats: of what is right already, little is left.

    With :math:`m = \sigma(x)` for the label 0 and :math:`\sigma(-x)` for 1

    .. math:: \ell = -w\, \alpha_t\, m^\gamma \log(1 - m)

    As torchvision's ``sigmoid_focal_loss``, whose reduction is "none" if not given, of labels
    alone. Its Hessian is negative where an element is far on the wrong side.
    """
    numbers = *check.label_weights(alpha), check.penalty(gamma, "gamma")
    read = {name: options[name] for name in options.keys() - {"out"}}
    check.labels_of_samples(input, target, **read)
    name = "sigmoid_focal_loss"
    return weighted_loss(name, numbers, direction, grad, input, target, weight, **options)


(
    sigmoid_focal_loss,
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_value_and_grad,
    sigmoid_focal_loss_grad_and_hess,
    sigmoid_focal_loss_value_grad_and_hess,
) = _sigmoid_focal_loss
