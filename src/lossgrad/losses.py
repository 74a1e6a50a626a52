"""Losses, each forward, backward, and fused (value and gradient in one pass over the logits)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arguments as arguments
from . import _kernels as kernels

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_value_and_grad",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_value_and_grad",
]

Array = NDArray[Any]
Loss = float | Array
OPS = kernels.ops()
NAN = float("nan")


class _CrossEntropy:
    """The checked arguments of a cross-entropy call; nothing has been written when it exists."""

    __slots__ = ("axis", "ignore", "label", "lse", "mean_of", "reduction", "smoothing", "soft", "weight", "x")

    def __init__(
        self,
        logits: ArrayLike,
        targets: ArrayLike,
        weight: ArrayLike | None,
        ignore_index: int,
        reduction: str,
        label_smoothing: float,
        axis: int,
        lse: Array | None,
        fills_lse: bool,
    ) -> None:
        x = self.x = arguments.floating(logits, "logits")
        self.axis = axis = arguments.axis_index(axis, x.ndim)
        classes = arguments.classes_at(x, axis, "logits")
        self.reduction = arguments.reduction_of(reduction)
        self.smoothing = arguments.smoothing_of(label_smoothing)
        self.weight = arguments.class_weight(weight, classes, x.dtype)
        self.ignore = arguments.int64_of(ignore_index)
        labels, soft = arguments.targets_of(targets, x, axis)
        self.lse = arguments.saved_lse(lse, arguments.without(x.shape, axis), x.dtype, fills_lse)
        self.label = None
        self.soft = None if soft is None else arguments.grid(soft, axis)
        self.mean_of: float = x.size // classes  # rows, or the kept rows' total weight
        if labels is None:
            if self.soft is not None and x.size and self.soft.strides[1] != x.itemsize:
                self.soft = np.ascontiguousarray(self.soft.swapaxes(1, 2)).swapaxes(1, 2)
        else:
            rows = arguments.rows_of(labels, x.shape, axis)
            self.label = kernels.LABELS[labels.dtype.str[1:]](rows)
            total = weights = None
            if self.weight is not None:
                total, weights = kernels.Sum(), self.weight.astype(np.float64, copy=False)
            bad, kept = self.label.check(classes, self.ignore, weights, total)
            if bad >= 0:
                raise arguments.bad_label(labels, bad, classes, self.ignore)
            self.mean_of = kept if total is None else total.value()

    def run(
        self, value: Array | None, grad: Array | None, row_grad: Array | None, up: float, total: Any
    ) -> None:
        """One pass: row losses to value or total, up * row_grad * d loss to grad."""
        x, axis, lse = self.x, self.axis, self.lse
        given = lse is not None and value is None and total is None
        saved = None
        if lse is not None:
            saved = lse.astype(np.float64).reshape(-1) if given else np.empty(lse.size)
        kernels.ROWS[x.dtype.char](
            arguments.grid(x, axis),
            None,
            None if row_grad is None else arguments.rows_of(row_grad, x.shape, axis),
            None if grad is None else arguments.grid(grad, axis),
            None if value is None else arguments.rows_of(value, x.shape, axis),
            saved,
            given,
            self.label,
            self.ignore,
            self.soft,
            self.weight,
            self.smoothing,
            up,
            total,
            kernels.CROSS_ENTROPY,
        )
        if lse is not None and saved is not None and not given:
            lse[...] = saved.reshape(lse.shape)

    def scale(self) -> float:
        """What the reduction multiplies each row's gradient by."""
        if self.reduction != "mean":
            return 1.0
        return 1.0 / self.mean_of if self.mean_of else (0.0 if self.weight is None else NAN)

    def reduced(self, total: Any) -> float:
        """The sum or mean of the row losses."""
        value: float = total.value()
        if self.reduction == "mean":
            return value / self.mean_of if self.mean_of else NAN
        return value


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
    call = _CrossEntropy(
        logits, targets, weight, ignore_index, reduction, label_smoothing, axis, lse, True
    )
    if reduction != "none":
        arguments.no_output(out, reduction)
        total = kernels.Sum()
        call.run(None, None, None, 1.0, total)
        return call.reduced(total)
    shape = arguments.without(call.x.shape, call.axis)
    place = arguments.output(out, shape, call.x.dtype, call.x, dims=0)
    call.run(place.array, None, None, 1.0, None)
    return place.done()


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

    For a row with label :math:`y` it is :math:`w_y (p_c - [c = y])` with :math:`p` = softmax(x), and
    in general :math:`p_c \sum_k q_k - q_c`.

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
        p - 1. Where it is a difference by nature (smoothing, probability targets) the ULP is that of
        the larger term.

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
    call = _CrossEntropy(
        logits, targets, weight, ignore_index, reduction, label_smoothing, axis, lse, False
    )
    x = call.x
    g = arguments.row_gradient(grad, arguments.without(x.shape, call.axis), reduction, x.dtype)
    row_grad, up = (None, g) if isinstance(g, float) else (g, 1.0)
    place = arguments.output(out, x.shape, x.dtype, x, call.soft, row_grad, dims=2)
    call.run(None, place.array, row_grad, up * call.scale(), None)
    return place.done()


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
    `cross_entropy` and its gradient in one pass: the logits are read once, the gradient written once.

    Parameters
    ----------
    logits, targets, weight, ignore_index, reduction, label_smoothing, axis, lse
        As in `cross_entropy`.
    out : ndarray, optional
        Array for the gradient; may be the logits themselves.

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
    call = _CrossEntropy(
        logits, targets, weight, ignore_index, reduction, label_smoothing, axis, lse, True
    )
    x = call.x
    place = arguments.output(out, x.shape, x.dtype, x, call.soft, dims=2)
    if reduction == "none":
        losses = np.empty(arguments.without(x.shape, call.axis), x.dtype)
        call.run(losses, place.array, None, 1.0, None)
        return losses, place.done()
    total = kernels.Sum()
    call.run(None, place.array, None, call.scale(), total)
    return call.reduced(total), place.done()


class _Elementwise:
    """The checked arguments of an elementwise loss, as grids of one shape."""

    __slots__ = ("dtype", "inputs", "op", "reduction", "shape", "weight")

    def __init__(
        self,
        name: str,
        x: ArrayLike,
        targets: ArrayLike,
        weight: ArrayLike | None,
        reduction: str,
        *extra: tuple[str, ArrayLike | None],
    ) -> None:
        a = arguments.floating(x, "logits")
        b = arguments.same_dtype(targets, a.dtype, "targets")
        arguments.same_shape(b, a.shape, "targets", "logits")
        self.op = OPS[name][0]
        self.shape, self.dtype = a.shape, a.dtype
        self.reduction = arguments.reduction_of(reduction)
        self.weight = arguments.spread(weight, a.shape, a.dtype, "weight")
        # an operand left out is 1
        self.inputs = [a, b] + [
            arguments.spread(1.0 if value is None else value, a.shape, a.dtype, key)
            for key, value in extra
        ]

    def run(self, value: Array | None, grad: Array | None, row_grad: Any, total: Any) -> None:
        g = None
        if grad is not None:
            g = np.broadcast_to(np.asarray(row_grad, self.dtype), self.shape)
        operands = [g, *self.inputs, self.weight, value, grad]
        grids = arguments.alike(*operands)
        inputs = [*grids[1:-3], None, None][:3]
        kernels.ELEMENTWISE[self.dtype.char](
            grids[0],
            *inputs,
            *grids[-3:],
            self.op,
            kernels.FORWARD
            if grad is None
            else kernels.BACKWARD
            if value is None and total is None
            else kernels.VALUE_AND_GRAD,
            (),
            total,
        )

    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def scale(self) -> float:
        n = self.size()
        return 1.0 / n if self.reduction == "mean" and n else 1.0

    def reduced(self, total: Any) -> float:
        value: float = total.value()
        if self.reduction == "mean":
            n = self.size()
            return value / n if n else NAN
        return value

    def forward(self, out: Array | None) -> Loss:
        if self.reduction != "none":
            arguments.no_output(out, self.reduction)
            total = kernels.Sum()
            self.run(None, None, None, total)
            return self.reduced(total)
        place = arguments.output(out, self.shape, self.dtype, *self.inputs, self.weight)
        self.run(place.array, None, None, None)
        return place.done()

    def backward(self, grad: ArrayLike, out: Array | None) -> Array:
        g = arguments.row_gradient(grad, self.shape, self.reduction, self.dtype)
        row = g if isinstance(g, np.ndarray) else None
        place = arguments.output(out, self.shape, self.dtype, *self.inputs, self.weight, row)
        self.run(None, place.array, g * self.scale() if row is None else g, None)
        return place.done()

    def value_and_grad(self, out: Array | None) -> tuple[Loss, Array]:
        place = arguments.output(out, self.shape, self.dtype, *self.inputs, self.weight)
        if self.reduction == "none":
            losses = np.empty(self.shape, self.dtype)
            self.run(losses, place.array, 1.0, None)
            return losses, place.done()
        total = kernels.Sum()
        self.run(None, place.array, self.scale(), total)
        return self.reduced(total), place.done()


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
    return _Elementwise(
        "binary_cross_entropy_with_logits", logits, targets, weight, reduction, ("pos_weight", pos_weight)
    ).forward(out)


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
    return _Elementwise(
        "binary_cross_entropy_with_logits", logits, targets, weight, reduction, ("pos_weight", pos_weight)
    ).backward(grad, out)


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
    return _Elementwise(
        "binary_cross_entropy_with_logits", logits, targets, weight, reduction, ("pos_weight", pos_weight)
    ).value_and_grad(out)
