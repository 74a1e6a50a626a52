"""The pure-NumPy twin: the same functions, semantics and errors as the compiled ones.

It is the fallback where there is no compiled extension, and the oracle of the tests, so accuracy
comes before speed. Everything is computed in float64 and rounded once; what float64 alone would
lose (differences of logits, sums, small quotients) is carried in a second term. Rows are taken in
blocks, laid out with the classes along the first axis.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arguments as check

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_value_and_grad",
    "cross_entropy",
    "cross_entropy_backward",
    "cross_entropy_value_and_grad",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]

_BLOCK = 1 << 15  # elements of a block, so that its temporaries stay in the cache
_LN2, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")


# ---- float64 with a second term ------------------------------------------------------------------


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b rounded, and what rounding took off (Knuth); 0 where that is not finite."""
    s = a + b
    z = s - a
    error = (a - (s - z)) + (b - z)
    return s, np.where(np.isfinite(error), error, 0.0)


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b rounded, and what rounding took off (Dekker), without overflow or underflow."""
    p = a * b
    c, d = a * 134217729.0, b * 134217729.0  # 2**27 + 1
    a1, b1 = c - (c - a), d - (d - b)
    a2, b2 = a - a1, b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def _sum(terms: Doubles) -> Doubles:
    """The sum along the first axis, in twice the working precision.

    The upper half is folded onto the lower one, at powers of two: zeros at the end change nothing.
    """
    total, error = terms.copy(), np.zeros_like(terms)
    while (n := len(total)) > 1:
        half = 1 << ((n - 1).bit_length() - 1)
        total[: n - half], lost = _two_sum(total[: n - half], total[half:])
        error[: n - half] += error[half:] + lost
        total, error = total[:half], error[:half]
    result: Doubles = total[0] + np.where(np.isfinite(error[0]), error[0], 0.0)
    return result


def _exp(x: Doubles, low: Any = 0.0) -> tuple[Doubles, Doubles, NDArray[np.intc]]:
    """(power, rest, n): exp(x + low) = (power + rest) 2**n for x <= 0 and low much smaller.

    The result may lie far below the smallest float64, so that it can be summed or multiplied
    before it is rounded. power is exp(x + low) 2**-n rounded; with rest it is within 0.2 ULP.
    """
    x = np.maximum(x, -3000.0)  # 0 to every purpose, but for NaN, which stays
    n = np.rint(x / math.log(2))
    r, low = _two_sum(x - n * _LN2, low - n * _LN2_LOW)
    series = np.full_like(r, 1 / math.factorial(14))
    for k in range(13, 1, -1):
        series = series * r + 1 / math.factorial(k)
    high, error = _two_sum(1.0, r)
    power, rest = _two_sum(high, error + (low + low * r + series * r * r))
    nothing = x == -3000.0
    exponent = np.where(np.isnan(n), 0.0, n).astype(np.intc)
    return np.where(nothing, 0.0, power), np.where(nothing, 0.0, rest), exponent


def _exact_sum(values: Array) -> float:
    """The sum of all values, correctly rounded."""
    special = values[~np.isfinite(values)]
    numbers = (special if special.size else values.reshape(-1)).tolist()
    try:
        return math.fsum(numbers)
    except OverflowError:  # on the way, perhaps not in the end
        exact = sum(map(Fraction, numbers))
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf
    except ValueError:  # inf - inf
        return math.nan


def _ratio(a: float, b: float) -> float:
    """a / b as IEEE 754 has it, but NaN for the mean over no weight."""
    return float(np.float64(a) / np.float64(b)) if b else math.nan


def _loss_beside(loss: Any) -> Any:
    """A loss that is handed back with a gradient, which has `out`."""
    return loss if isinstance(loss, float) else check.finished(loss, None)


def _times(weight: Any, loss: Doubles) -> Any:
    """weight * loss, where no weight is no loss, even if that is infinite; NaN stays."""
    return np.where((weight == 0) & ~np.isnan(loss), 0.0, weight * loss)


# ---- elementwise ---------------------------------------------------------------------------------


def _each(result: Array, function: Callable[..., Any], *arrays: Array | None) -> None:
    """Write function(*arrays) to result, in float64 and block by block; None becomes 1."""
    flat = [None if a is None else a.reshape(-1) for a in arrays]
    values = np.empty(result.size, result.dtype)
    for start in range(0, result.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        values[part] = function(*(1.0 if a is None else a[part].astype(np.float64) for a in flat))
    result[...] = values.reshape(result.shape)


def _logistic(x: Doubles) -> tuple[Doubles, NDArray[np.intc], Doubles]:
    """(small, n, large): sigmoid(-|x|) is small * 2**n, sigmoid(|x|) is large."""
    power, rest, n = _exp(-np.abs(x))
    total, low = _two_sum(1.0, np.ldexp(power, n))
    low = low + np.ldexp(rest, n)

    def over_total(a: Any, a_low: Any) -> Doubles:
        q = a / total
        p, error = _two_product(q, total)
        result: Doubles = q + ((((a - p) - error) + a_low) - q * low) / total
        return result

    return over_total(power, rest), n, over_total(1.0, 0.0)


def _sigmoid(x: Doubles) -> Doubles:
    small, n, large = _logistic(x)
    result: Doubles = np.where(x < 0, np.ldexp(small, n), large)
    return result


def _sigmoid_slope(grad: Doubles, x: Doubles) -> Doubles:
    small, n, large = _logistic(x)
    result: Doubles = np.ldexp(grad * (large * small), n)
    return result


@np.errstate(all="ignore")
def sigmoid(x: ArrayLike, *, out: Array | None = None) -> Array:
    """1 / (1 + exp(-x))."""
    x = check.floating(x)
    result = check.output(out, x.shape, x.dtype, x)
    _each(result, _sigmoid, x)
    return check.finished(result, out)


@np.errstate(all="ignore")
def sigmoid_backward(grad: ArrayLike, x: ArrayLike, *, out: Array | None = None) -> Array:
    """grad * sigmoid(x) * sigmoid(-x)."""
    x = check.floating(x)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), x.shape, "grad", "x")
    result = check.output(out, x.shape, x.dtype, grad, x)
    _each(result, _sigmoid_slope, grad, x)
    return check.finished(result, out)


# ---- rows ----------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """A block of rows, classes first, as exp(x - pivot)."""

    x: Doubles
    pivot: Doubles  # each row's maximum, or its log-sum-exp where that was given
    far: Doubles  # x - pivot, 0 at the maximum, and
    far_low: Doubles  # what rounding took off
    power: Doubles  # exp(x - pivot) is power * 2**n
    n: NDArray[np.intc]
    total: Doubles
    log: Doubles  # log(total)

    @property
    def lse(self) -> Doubles:
        result: Doubles = np.where(self.pivot == -np.inf, self.pivot, self.pivot + self.log)
        return result

    def probabilities(self, factor: Any = 1.0) -> Doubles:
        """factor * softmax(x)."""
        result: Doubles = np.ldexp(self.power / self.total * factor, self.n)
        return result

    def others(self, at: tuple[Any, Any], factor: Any = 1.0) -> Doubles:
        """factor * (1 - softmax(x)) of the class `at`, without cancellation."""
        power = self.power.copy()
        power[at] = 0
        mass, n = _mass(power, self.n)
        result: Doubles = np.ldexp(mass / self.total * factor, n)
        return result


def _mass(power: Doubles, n: NDArray[np.intc]) -> tuple[Doubles, NDArray[np.intc]]:
    """The sum of power * 2**n, likewise."""
    most = np.where(power == 0, -5000, n).max(axis=0).astype(np.intc)
    return _sum(np.ldexp(power, n - most)), most


def _measure(x: Doubles, lse: Doubles | None = None) -> _Rows:
    pivot = x.max(axis=0)
    top = x == pivot
    if lse is not None:
        known = np.isfinite(lse)
        pivot = np.where(known, lse, pivot)
        top &= ~known
    far, far_low = _two_sum(x, -pivot)
    far = np.where(top, 0.0, far)
    power, _, n = _exp(far, far_low)
    # The maximum is counted apart: log(count + rest) is log1p(rest) when it is alone.
    count = top.sum(axis=0, dtype=np.float64)
    rest = np.ldexp(*_mass(np.where(top, 0.0, power), n))
    # The limit is one-hot if one logit alone is +inf; otherwise infinite maxima have none.
    rest[~np.isfinite(pivot) & ((pivot != np.inf) | (count > 1))] = np.nan
    total, log = count + rest, np.log1p((count - 1) + rest)
    if lse is not None:
        total, log = np.where(known, 1.0, total), np.where(known, 0.0, log)
    return _Rows(x, pivot, far, far_low, power, n, total, log)


def _flat(x: Array, axis: int) -> Array:
    """The rows of x, one below the other."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def _doubles(rows: Array) -> Doubles:
    """Rows in float64, classes first."""
    return rows.T.astype(np.float64, order="C")


def _blocks(rows: int, classes: int) -> Iterator[slice]:
    step = max(1, _BLOCK // classes)
    return (slice(start, start + step) for start in range(0, rows, step))


def _store(flat: Array, result: Array, axis: int) -> None:
    """Write rows that are one below the other to an array with the classes along axis."""
    target = np.moveaxis(result, axis, -1)
    target[...] = flat.reshape(target.shape)


def _softmax_like(
    function: Callable[[_Rows], Doubles], x: ArrayLike, axis: int, out: Array | None
) -> Array:
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    result = check.output(out, x.shape, x.dtype, x, axis=axis)
    rows = _flat(x, axis)
    values = np.empty(rows.shape, x.dtype)
    for part in _blocks(*rows.shape):
        values[part] = function(_measure(_doubles(rows[part]))).T
    _store(values, result, axis)
    return check.finished(result, out)


def _softmax_like_backward(
    function: Callable[[Doubles, _Rows], Doubles],
    grad: ArrayLike,
    x: ArrayLike,
    axis: int,
    out: Array | None,
) -> Array:
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), x.shape, "grad", "x")
    result = check.output(out, x.shape, x.dtype, grad, x, axis=axis)
    rows, slopes = _flat(x, axis), _flat(grad, axis)
    values = np.empty(rows.shape, x.dtype)
    for part in _blocks(*rows.shape):
        values[part] = function(_doubles(slopes[part]), _measure(_doubles(rows[part]))).T
    _store(values, result, axis)
    return check.finished(result, out)


def _top(rows: _Rows) -> tuple[Any, Any]:
    """Indices of each row's first maximum."""
    return rows.x.argmax(axis=0), np.arange(rows.x.shape[1])


def _log_probabilities(rows: _Rows) -> Doubles:
    return rows.far + (rows.far_low - rows.log)


def _softmax_slope(grad: Doubles, rows: _Rows) -> Doubles:
    # sum_c p_c = 1, so any number may be taken off grad. Where one class takes most, its grad is:
    # then nothing cancels there.
    top = _top(rows)
    most = (rows.power[top] > 0.5 * rows.total) & np.isfinite(grad[top])
    grad = grad - np.where(most, grad[top], 0.0)
    result: Doubles = rows.probabilities(grad - _sum(rows.probabilities(grad)))
    return result


def _log_softmax_slope(grad: Doubles, rows: _Rows) -> Doubles:
    total = _sum(grad)
    result: Doubles = grad - rows.probabilities(total)
    # Where one class takes most, g - p sum(g) is (1 - p) sum(g) - (the sum of the other g).
    top = _top(rows)
    most = rows.power[top] > 0.5 * rows.total
    other_grads = grad.copy()
    other_grads[top] = 0
    result[top] = np.where(most, rows.others(top, total) - _sum(other_grads), result[top])
    return result


@np.errstate(all="ignore")
def softmax(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    """exp(x) divided by its sum along axis."""
    return _softmax_like(_Rows.probabilities, x, axis, out)


@np.errstate(all="ignore")
def softmax_backward(
    grad: ArrayLike, x: ArrayLike, axis: int = -1, *, out: Array | None = None
) -> Array:
    """p * (grad - sum(p * grad)), where p is softmax(x)."""
    return _softmax_like_backward(_softmax_slope, grad, x, axis, out)


@np.errstate(all="ignore")
def log_softmax(x: ArrayLike, axis: int = -1, *, out: Array | None = None) -> Array:
    """x - logsumexp(x)."""
    return _softmax_like(_log_probabilities, x, axis, out)


@np.errstate(all="ignore")
def log_softmax_backward(
    grad: ArrayLike, x: ArrayLike, axis: int = -1, *, out: Array | None = None
) -> Array:
    """grad - softmax(x) * sum(grad)."""
    return _softmax_like_backward(_log_softmax_slope, grad, x, axis, out)


@np.errstate(all="ignore")
def logsumexp(
    x: ArrayLike, axis: int = -1, *, keepdims: bool = False, out: Array | None = None
) -> Array:
    """log(sum(exp(x))) along axis."""
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    result = check.output(out, check.rows_shape(x.shape, axis, keepdims), x.dtype, x)
    rows = _flat(x, axis)
    values = np.empty(len(rows), x.dtype)
    for part in _blocks(*rows.shape):
        values[part] = _measure(_doubles(rows[part])).lse
    result[...] = values.reshape(result.shape)
    return check.finished(result, out)


@np.errstate(all="ignore")
def logsumexp_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: int = -1,
    *,
    keepdims: bool = False,
    out: Array | None = None,
) -> Array:
    """grad * softmax(x)."""
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    shape = check.rows_shape(x.shape, axis, keepdims)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), shape, "grad", "logsumexp(x)")
    result = check.output(out, x.shape, x.dtype, grad, x, axis=axis)
    rows, slopes = _flat(x, axis), grad.reshape(-1)
    values = np.empty(rows.shape, x.dtype)
    for part in _blocks(*rows.shape):
        slope = slopes[part].astype(np.float64)
        values[part] = _measure(_doubles(rows[part])).probabilities(slope).T
    _store(values, result, axis)
    return check.finished(result, out)


# ---- cross-entropy -------------------------------------------------------------------------------


class _Targets(NamedTuple):
    """What the rows of a cross-entropy should be, for some of them or all."""

    labels: Array | None  # of each row, or
    probabilities: Array | None  # of each row and class
    weight: Array | None
    smoothing: float

    def block(self, part: Array, rows: _Rows) -> tuple[Doubles, tuple[Any, Any]]:
        """(q, at): the weighted target distribution, and the class whose p may be close to 1."""
        weight = np.ones(1) if self.weight is None else self.weight.astype(np.float64)
        level = self.smoothing / len(rows.x)
        if self.labels is None:
            assert self.probabilities is not None
            q = (1 - self.smoothing) * _doubles(self.probabilities[part]) + level
            return q * weight[:, None], _top(rows)
        at = self.labels[part].astype(np.intp), np.arange(len(part))
        q = np.full(rows.x.shape, level)
        q[at] += 1 - self.smoothing
        return q * weight[:, None], at

    def mean_divisor(self, kept: Array) -> float:
        if self.labels is None or self.weight is None:
            return len(kept)
        return _exact_sum(self.weight[self.labels[kept].astype(np.intp)])


def _row_losses(q: Doubles, rows: _Rows) -> Doubles:
    """sum_c q_c (lse - x_c), where a class without mass adds nothing even if x_c is -inf."""
    minus_log_p = rows.log - rows.far_low - rows.far
    return _sum(np.where(q == 0, 0.0, q * minus_log_p)) + 0 * rows.total


def _row_slopes(grad: Any, q: Doubles, at: tuple[Any, Any], rows: _Rows) -> Doubles:
    """grad * (sum(q) p - q). At one class, where p may be close to 1, from the other classes:
    (the others' q) p - q (the others' p)."""
    own = q[at]
    other_q = q.copy()
    other_q[at] = 0
    rest = _sum(other_q)
    result: Doubles = rows.probabilities(grad * (rest + own)) - grad * q
    result[at] = rows.probabilities(grad * rest)[at] - rows.others(at, grad * own)
    return result


@np.errstate(all="ignore")
def _cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    axis: int,
    out: Array | None,
    lse: Any,
    *,
    value: bool,
    slope: bool,
    grad: ArrayLike | None = None,
) -> tuple[Any, Any]:
    """(the loss if value, the gradient if slope); grad is 1 if None."""
    x = check.floating(logits, "logits")
    axis = check.class_axis(x, axis, "logits")
    dtype, shape, classes = x.dtype, check.rows_shape(x.shape, axis), x.shape[axis]
    reduction = check.reduction_name(reduction)
    ignore_index = check.ignored_label(ignore_index)
    t = check.class_targets(targets, x, axis, ignore_index)
    smoothing = check.smoothing(label_smoothing)
    weights = check.class_weight(weight, classes, dtype)
    factor = 1.0 if grad is None else check.upstream(grad, reduction, shape, dtype)
    if not slope:
        check.loss_out(out, reduction)
    result = check.output(out, x.shape if slope else shape, dtype)
    saved = check.lse_output(lse, shape, dtype) if value else check.lse_input(lse, shape, dtype)

    rows = _flat(x, axis)
    if t.dtype.kind in "iu":
        kept = np.flatnonzero(check.check_labels(t, classes, ignore_index))
        target = _Targets(t.reshape(-1), None, weights, smoothing)
    else:
        kept = np.arange(len(rows))
        target = _Targets(None, _flat(t, axis), weights, smoothing)
    divisor = target.mean_divisor(kept) if reduction == "mean" else 1.0
    factors = np.broadcast_to(np.asarray(factor, np.float64).reshape(-1) / divisor, len(rows))

    losses, logs = np.zeros(len(rows), dtype), np.zeros(len(rows))
    slopes = np.zeros(rows.shape if slope else (0, classes), dtype)
    for block in _blocks(len(kept), classes):
        part = kept[block]
        known = None
        if saved is not None and not value:
            known = saved.reshape(-1)[part].astype(np.float64)
        measured = _measure(_doubles(rows[part]), known)
        q, at = target.block(part, measured)
        if value:
            losses[part], logs[part] = _row_losses(q, measured), measured.lse
        if slope:
            slopes[part] = _row_slopes(factors[part], q, at, measured).T

    if saved is not None and value:
        saved[...] = logs.reshape(shape)
        check.finished(saved, lse)
    loss: Any = losses.reshape(shape)
    if reduction != "none":
        loss = _ratio(_exact_sum(losses[kept]), divisor)
    if slope:
        _store(slopes, result, axis)
        return _loss_beside(loss), check.finished(result, out)
    if reduction == "none":
        result[...] = loss
        loss = check.finished(result, out)
    return loss, None


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    out: Array | None = None,
    lse: Array | None = None,
) -> Any:
    """Cross-entropy of softmax(logits) with labels or probabilities."""
    return _cross_entropy(
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        axis,
        out,
        lse,
        value=True,
        slope=False,
    )[0]


def cross_entropy_backward(
    grad: ArrayLike,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    out: Array | None = None,
    lse: ArrayLike | None = None,
) -> Array:
    """grad times the gradient of ``cross_entropy`` with respect to the logits."""
    gradient: Array = _cross_entropy(
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        axis,
        out,
        lse,
        value=False,
        slope=True,
        grad=grad,
    )[1]
    return gradient


def cross_entropy_value_and_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = check.IGNORE_INDEX,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    out: Array | None = None,
    lse: Array | None = None,
) -> tuple[Any, Array]:
    """``cross_entropy`` and its gradient with respect to the logits."""
    return _cross_entropy(
        logits,
        targets,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        axis,
        out,
        lse,
        value=True,
        slope=True,
    )


# ---- binary cross-entropy ------------------------------------------------------------------------


def _binary_losses(x: Doubles, t: Doubles, weight: Any, pos_weight: Any) -> Doubles:
    power, _, n = _exp(-np.abs(x))
    log = np.log1p(np.ldexp(power, n))
    positive = _times(pos_weight * t, log + np.maximum(-x, 0))
    negative = _times(1 - t, log + np.maximum(x, 0))
    result: Doubles = _times(weight, positive + negative)
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
        _each(losses, _binary_losses, x, t, w, pw)
    if slope:
        factors = np.broadcast_to(np.asarray(factor, np.float64) / divisor, x.shape)
        _each(slopes, _binary_slopes, factors, x, t, w, pw)
    loss: Any = losses
    if value and reduction != "none":
        loss = _ratio(_exact_sum(losses), divisor)
    if slope:
        result[...] = slopes
        return _loss_beside(loss), check.finished(result, out)
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
