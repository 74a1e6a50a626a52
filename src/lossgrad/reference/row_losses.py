"""Losses of rows: of logits with labels or target distributions, of log-probabilities."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.directions import (
    BACKWARD,
    FORWARD,
    VALUE_AND_GRAD,
    function_of,
    gives_value,
    slopes,
)
from .._kernels.defaults import LAST_AXIS
from . import activations
from ._apply import parameters_of, ratio, weighted
from ._double import Wide, exact_sum, select
from .softmax_family import (
    Rows,
    blocks,
    doubles,
    finite,
    flatten,
    measure,
    multiplied,
    store,
    sum_of,
    top_class,
    total_of,
    with_limits,
)

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
Doubles = NDArray[np.float64]


class _Targets(NamedTuple):
    """What the rows of a cross-entropy should be, for some of them or all."""

    labels: Array | None  # of each row, or
    probabilities: Array | None  # of each row and class
    weight: Array | None
    smoothing: float

    def block(self, part: Array, rows: Rows) -> tuple[Wide, tuple[Any, Any]]:
        """(q, at): the weighted target distribution, and the class whose p may be close to 1."""
        weight = np.ones(1) if self.weight is None else self.weight.astype(np.float64)
        level = self.smoothing / len(rows.x)
        if self.labels is None:
            assert self.probabilities is not None
            q = (1 - self.smoothing) * doubles(self.probabilities[part]) + level
            return q * Wide(weight[:, None]), top_class(rows)
        at = self.labels[part].astype(np.intp), np.arange(len(part))
        q = np.full(rows.x.shape, level)
        q[at] += 1 - self.smoothing
        # the weight of another class is not read
        used = (q != 0) | (np.arange(len(q))[:, None] == at[0])
        return q * Wide(np.where(used, weight[:, None], 0.0)), at

    def mean_divisor(self, kept: Array, samples: Array) -> float:
        if self.labels is None or self.weight is None:
            return exact_sum(samples[kept])
        weights = self.weight[self.labels[kept].astype(np.intp)].astype(np.float64)
        return exact_sum(weights * samples[kept])


def _ones(samples: Array | None, rows: tuple[int, ...]) -> Array:
    """One weight a row, 1 if none are given."""
    return np.ones(math.prod(rows)) if samples is None else samples


def _upstream(factor: Any, samples: Array, divisor: float) -> Wide:
    """What multiplies the rows' gradients; over an infinite weight nothing, over none NaN."""
    numbers = np.asarray(factor, np.float64).reshape(-1)
    if np.isinf(divisor):
        return Wide(0.0 * numbers) * samples
    return Wide(numbers) * samples / (divisor or math.nan)


def _held(losses: Doubles, dtype: np.dtype[Any]) -> Doubles:
    """Losses as the computed type has them; themselves where it has no such normal number."""
    info = np.finfo(check.computed(dtype))
    normal = (abs(losses) >= info.tiny) & (abs(losses) <= info.max)
    return np.where(normal, losses.astype(info.dtype), losses)


def _mean(losses: Array, divisor: float) -> float:
    """Their exact sum, even beyond the range, over the divisor."""
    total, unit = exact_sum(losses), 1.0
    if np.isinf(total) and np.isfinite(losses).all():
        unit = 2.0**64
        total = exact_sum(losses.astype(np.float64) / unit)
    return ratio(total, divisor) * unit


class Cap:
    """Logits k tanh(x / k), of which -inf stays as it is; as they are if k is 0."""

    def __init__(self, cap: float, dtype: np.dtype[Any]) -> None:
        (self.cap,) = parameters_of(dtype, cap)

    def __call__(self, x: Doubles) -> Doubles:
        if not self.cap:
            return x
        capped = (activations._tanh(x / self.cap) * self.cap).rounded()
        return np.where(x == -np.inf, x, capped)

    def slopes(self, slope: Wide, x: Doubles) -> Wide:
        """A gradient for capped logits, times 1 - tanh(x / k)^2."""
        return slope * activations._tanh_slope(x / self.cap) if self.cap else slope

    def hessians(self, hessian: Wide, slope: Wide, x: Doubles) -> Wide:
        """The same of the Hessian's diagonal beside it."""
        if not self.cap:
            return hessian
        first = activations._tanh_slope(x / self.cap)
        second = -2 / self.cap * (activations._tanh(x / self.cap) * first)
        bent, tilted = hessian * first * first, slope * second
        at_odds = bent.infinite & tilted.infinite & (bent.high * tilted.high < 0)
        return select(at_odds, np.nan, bent + tilted)


@dataclass
class CrossEntropy:
    """What a row's loss is, and its gradient, for a target distribution q."""

    smoothing: float
    z: float
    cap: Cap
    takes_distributions = True

    def losses(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Doubles:
        """sum_c q_c (lse - x_c) + z lse^2, where a class without mass adds nothing even if x_c is
        -inf."""
        gap = select(rows.x == rows.pivot, 0.0, Wide(rows.pivot) - Wide(rows.x))
        total = total_of(q * (rows.log + gap))
        if self.z:
            lse = rows.pivot + rows.log
            penalty = self.z * (lse * lse)
            finite_one = np.isfinite(total)
            total = np.where(finite_one, (penalty + total).rounded(), penalty.rounded() + total)
        return total + 0 * rows.total

    def slopes(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Wide:
        """(sum(q) + 2 z lse) p - q. At one class, where p may be close to 1, from the other
        classes: (the others' q + 2 z lse) p - q (the others' p)."""
        p, numbers = rows.shares(), finite(q)
        there = np.arange(len(rows.x))[:, None] == at[0]
        rest = sum_of(select(there, 0.0, numbers))
        own = sum_of(select(there, numbers, 0.0))
        if self.z:
            rest = rest + 2 * self.z * (rows.pivot + rows.log)
        slope = p * (rest + own) - numbers
        slope = select(there, p * rest - rows.others(at) * own, slope)
        return with_limits(slope, -q, p)

    def hessians(self, q: Wide, at: tuple[Any, Any], rows: Rows) -> Wide:
        """(sum(q) + 2 z lse) p (1 - p) + 2 z p^2, 1 - p of the largest class from the others."""
        p, top = rows.shares(), top_class(rows)
        rest = select(np.arange(len(rows.x))[:, None] == top[0], rows.others(top), 1.0 - p)
        signs = [(q.infinite & (sign * q.high > 0)).any(axis=0) for sign in (1, -1)]
        mass = select(signs[0] & signs[1], np.nan, sum_of(q))
        if not self.z:
            return mass * p * rest
        lse = rows.pivot + rows.log
        return (mass + 2 * self.z * lse) * p * rest + 2 * self.z * (p * p)


def _cross_entropy(
    direction: int,
    grad: ArrayLike | None,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    axis: int = LAST_AXIS,
    out: check.Outs = None,
    lse: Any = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    def form(x: Array) -> CrossEntropy:
        cap = Cap(check.soft_cap(softcap, x), x.dtype)
        return CrossEntropy(check.smoothing(label_smoothing), check.penalty(z_loss, "z_loss"), cap)

    return loss_of_rows(
        *(form, direction, grad, logits, targets, weight, ignore_index, reduction),
        *(axis, out, lse, sample_weight, where),
    )


@np.errstate(all="ignore")
def loss_of_rows(
    make: Callable[[Array], CrossEntropy],
    direction: int,
    grad: Any,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    axis: int,
    out: check.Outs,
    lse: Any,
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
) -> tuple[Any, ...]:
    """What the direction asks for."""
    x = check.floating(logits, "logits")
    axis = check.loss_axis(x, axis, targets, "logits")
    dtype, shape, classes = x.dtype, check.rows_shape(x.shape, axis), x.shape[axis]
    reduction = check.reduction_name(reduction)
    ignore_index = check.ignored_label(ignore_index)
    t = check.class_targets(targets, x, axis, ignore_index)
    form, value = make(x), gives_value(direction)
    if not form.takes_distributions:
        check.labels_only(t)
    weights = check.class_weight(weight, classes, dtype)
    factor: Any = 1.0
    if direction == BACKWARD:
        factor = check.upstream(grad, reduction, shape, dtype)
    places = check.row_places(out, direction, reduction, x, axis)
    saved = check.lse_output(lse, shape, dtype) if value else check.lse_input(lse, shape, dtype)

    mask, entries = check.loss_mask(where, x.shape, axis)
    given = check.sample_weight(sample_weight, mask, shape, reduction)
    if reduction == "mean" and t.dtype.kind in "iu":
        weights, given = check.weights_of_labels(
            weights, given, t, ignore_index, form.smoothing != 0
        )
    samples = _ones(given, shape)
    rows = flatten(check.filled(x, entries, -np.inf), axis)
    if t.dtype.kind in "iu":
        kept = np.flatnonzero(check.check_labels(t, classes, ignore_index, samples))
        target = _Targets(t.reshape(-1), None, weights, form.smoothing)
    else:
        kept = np.flatnonzero(samples)
        soft = flatten(check.filled(t, entries, 0), axis)
        target = _Targets(None, soft, weights, form.smoothing)
    divisor = target.mean_divisor(kept, samples) if reduction == "mean" else 1.0
    up = _upstream(factor, samples, divisor)

    losses, logs = np.zeros(len(rows)), np.zeros(len(rows))
    found = [np.zeros(rows.shape, dtype) for _ in range(slopes(direction))]
    for block in blocks(len(kept), classes):
        part = kept[block]
        known = None
        if saved is not None and not value:
            known = saved.reshape(-1)[part].astype(np.float64)
        logit = doubles(rows[part])
        measured = measure(form.cap(logit), known)
        q, at = target.block(part, measured)
        if value:
            losses[part], logs[part] = _held(form.losses(q, at, measured), dtype), measured.lse
        for result, slope in zip(found, _slopes(form, q, at, measured, logit), strict=False):
            result[part] = multiplied(slope, up[part]).T

    if saved is not None and value:
        saved[...] = logs.reshape(shape)
        check.finished(saved, lse)
    losses = (losses * samples).reshape(shape)
    return _delivered(losses, found, places, reduction, divisor, axis, entries, out, direction)


def _slopes(
    form: CrossEntropy, q: Wide, at: tuple[Any, Any], rows: Rows, x: Doubles
) -> Iterator[Wide]:
    """The gradient and, if it is asked for, the Hessian's diagonal."""
    slope = form.slopes(q, at, rows)
    yield form.cap.slopes(slope, x)
    yield form.cap.hessians(form.hessians(q, at, rows), slope, x)


def _delivered(
    losses: Array,
    found: list[Array],
    places: list[Array | None],
    reduction: str,
    divisor: float,
    axis: int,
    entries: Array | None,
    out: check.Outs,
    direction: int,
) -> tuple[Any, ...]:
    """The loss, and gradients that were found, where they are to be."""
    total: tuple[Any, ...] = ()
    if gives_value(direction) and places[0] is None:
        total = (_mean(losses, divisor),)
    if places[0] is not None:
        places[0][...] = losses
    for place, slope in zip(places[1:], found, strict=False):
        assert place is not None
        store(slope, place, axis)
        check.clear(place, entries)
    return (*total, *check.all_finished(places, out, direction))


(
    cross_entropy,
    cross_entropy_backward,
    cross_entropy_value_and_grad,
    cross_entropy_grad_and_hess,
    cross_entropy_value_grad_and_hess,
) = (function_of(_cross_entropy, "cross_entropy", direction) for direction in range(5))


# ---- negative log-likelihood ---------------------------------------------------------------------


@np.errstate(all="ignore")
def _nll_loss(
    direction: int,
    grad: Any,
    log_probs: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    axis: int = LAST_AXIS,
    out: Array | None = None,
    sample_weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    x = check.floating(log_probs, "log_probs")
    axis = check.loss_axis(x, axis, targets, "log_probs")
    dtype, shape, classes = x.dtype, check.rows_shape(x.shape, axis), x.shape[axis]
    ignore_index = check.ignored_label(ignore_index)
    labels = check.class_targets(targets, x, axis, ignore_index)
    check.labels_only(labels)
    reduction = check.reduction_name(reduction)
    weights = check.class_weight(weight, classes, dtype)
    factor: Any = 1.0
    if direction == BACKWARD:
        factor = check.upstream(grad, reduction, shape, dtype)
    places = check.row_places(out, direction, reduction, x, axis)
    mask, entries = check.loss_mask(where, x.shape, axis)
    given = check.sample_weight(sample_weight, mask, shape, reduction)
    if reduction == "mean":
        weights, given = check.weights_of_labels(weights, given, labels, ignore_index, False)
    samples = _ones(given, shape)
    x = check.filled(x, entries, -np.inf)
    kept = np.flatnonzero(check.check_labels(labels, classes, ignore_index, samples))
    at = kept, labels.reshape(-1)[kept].astype(np.intp)

    w = np.ones(len(kept)) if weights is None else weights.astype(np.float64)[at[1]]
    rows, losses = flatten(x, axis), np.zeros(math.prod(shape))
    losses[kept] = _held(weighted(w, -rows[at].astype(np.float64)), dtype)
    losses = (losses * samples).reshape(shape)
    divisor = exact_sum(w * samples[kept]) if reduction == "mean" else 1.0
    found = [np.zeros(rows.shape, dtype) for _ in range(slopes(direction))]
    for result in found:
        result[at] = (-w * _upstream(factor, samples, divisor)[kept]).rounded()
    return _delivered(losses, found, places, reduction, divisor, axis, entries, out, direction)


nll_loss, nll_loss_backward, nll_loss_value_and_grad = (
    function_of(_nll_loss, "nll_loss", direction)
    for direction in (FORWARD, BACKWARD, VALUE_AND_GRAD)
)
