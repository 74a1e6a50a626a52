"""The softmax family. Rows are taken in blocks, laid out with the classes along the first axis."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Never

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.documentation import hints
from ._apply import BLOCK
from ._double import (
    Wide,
    exact_sum,
    log,
    log1p,
    scaled_exp,
    select,
    two_part_sum,
    two_sum,
)

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "softmax",
    "softmax_backward",
    "softmax_jacobian",
    "softmin",
    "softmin_backward",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Integers = NDArray[np.intc]


class Rows(NamedTuple):
    """A block of rows, classes first, as exp(x - pivot)."""

    x: Doubles
    pivot: Doubles  # each row's maximum, or its log-sum-exp where that was given
    far: Doubles  # x - pivot, 0 at the maximum, and
    far_low: Doubles  # what rounding took off
    power: Doubles  # exp(x - pivot) is power * 2**n
    n: Integers
    total: Doubles
    log: Wide  # of the total

    @property
    def lse(self) -> Doubles:
        result: Doubles = np.where(
            np.isinf(self.pivot), self.pivot, (self.pivot + self.log).rounded()
        )
        return result

    def probabilities(self) -> Doubles:
        """softmax(x)."""
        result: Doubles = np.ldexp(self.power / self.total, self.n)
        return result

    def shares(self) -> Wide:
        """softmax(x), however small."""
        return Wide(self.power, 0.0, self.n) / self.total

    def others(self, at: tuple[Any, Any]) -> Wide:
        """1 - softmax(x) of the class `at`, without cancellation."""
        power = self.power.copy()
        power[at] = 0
        return _mass(power, 0.0 * power, self.n) / self.total


def _mass(power: Doubles, rest: Doubles, n: Integers) -> Wide:
    """The sum of (power + rest) * 2**n."""
    most = np.where(power == 0, -(1 << 20), n).max(axis=0).astype(np.intc)  # below every exp
    terms = np.concatenate([np.ldexp(power, n - most), np.ldexp(rest, n - most)])
    return Wide(*two_part_sum(terms), most)


def _finite_gap(x: Doubles, pivot: Doubles, far: Doubles) -> Doubles:
    """x - pivot, within float64 where both are finite: only a mask has no power at all."""
    least = -np.finfo(np.float64).max
    return np.where((x > -np.inf) & (pivot < np.inf), np.maximum(far, least), far)


def measure(x: Doubles, lse: Doubles | None = None) -> Rows:
    pivot = x.max(axis=0)
    top = x == pivot
    if lse is not None:
        known = np.isfinite(lse)
        pivot = np.where(known, lse, pivot)
        top &= ~known
    far, far_low = two_sum(x, -pivot)
    far = np.where(top, 0.0, far)
    power, low, n = scaled_exp(_finite_gap(x, pivot, far), far_low)
    # The maximum is counted apart: log(count + rest) is log1p(rest) when it is alone.
    count = top.sum(axis=0, dtype=np.float64)
    rest = _mass(np.where(top, 0.0, power), np.where(top, 0.0, low), n)
    # The limit is one-hot if one logit alone is +inf; otherwise infinite maxima have none.
    rest = select(~np.isfinite(pivot) & ((pivot != np.inf) | (count > 1)), np.nan, rest)
    total, log_total = (count + rest).rounded(), log1p((count - 1) + rest)
    if lse is not None:
        total, log_total = np.where(known, 1.0, total), select(known, 0.0, log_total)
    return Rows(x, pivot, far, far_low, power, n, total, log_total)


def flatten(x: Array, axis: int) -> Array:
    """The rows of x, one below the other."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def doubles(rows: Array) -> Doubles:
    """Rows in float64, classes first."""
    return rows.T.astype(np.float64, order="C")


def blocks(rows: int, classes: int) -> Iterator[slice]:
    step = max(1, BLOCK // classes)
    return (slice(start, start + step) for start in range(0, rows, step))


def store(flat: Array, result: Array, axis: int) -> None:
    """Write rows that are one below the other to an array with the classes along axis."""
    target = np.moveaxis(result, axis, -1)
    target[...] = flat.reshape(target.shape)


def _softmax_like(
    function: Callable[[Rows], Doubles],
    x: ArrayLike,
    axis: check.Axis,
    where: ArrayLike | None,
    out: Array | None,
    sign: float = 1.0,
) -> Array:
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    x = classes.read(x, -sign * np.inf)
    result = classes.output(out, x.dtype)
    rows = flatten(x, classes.axis)
    values = np.empty(rows.shape, x.dtype)
    for part in blocks(*rows.shape):
        values[part] = function(measure(sign * doubles(rows[part]))).T
    store(values, result, classes.axis)
    return classes.finished(result, out)


def _softmax_like_backward(
    function: Callable[[Doubles, Rows], Doubles],
    grad: ArrayLike,
    x: ArrayLike,
    axis: check.Axis,
    where: ArrayLike | None,
    out: Array | None,
    sign: float = 1.0,
) -> Array:
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    grad = check.gradient(grad, x)
    x, grad = classes.read(x, -sign * np.inf), classes.read(grad, 0)
    result = classes.output(out, x.dtype)
    rows, slopes = flatten(x, classes.axis), flatten(grad, classes.axis)
    values = np.empty(rows.shape, x.dtype)
    for part in blocks(*rows.shape):
        values[part] = function(doubles(slopes[part]), measure(sign * doubles(rows[part]))).T
    store(values, result, classes.axis)
    classes.clear(result)
    return classes.finished(result, out)


def top_class(rows: Rows) -> tuple[Any, Any]:
    """Indices of each row's first maximum."""
    return rows.x.argmax(axis=0), np.arange(rows.x.shape[1])


def _log_probabilities(rows: Rows) -> Doubles:
    return rows.far + (rows.far_low - rows.log.rounded())


def multiplied(slope: Wide, factor: Wide) -> Doubles:
    """Their product, rounded once; infinite if either is and the other is not 0, however small."""
    product = slope * factor
    infinite = (slope.infinite | factor.infinite) & (abs(product.high) > 0)
    result: Doubles = np.where(infinite, np.copysign(np.inf, product.high), product.rounded())
    return result


def finite(a: Wide, counted: Any = True) -> Wide:
    """The terms with 0 in place of infinite ones, and of those that do not count."""
    return select(a.infinite | ~np.asarray(counted), 0.0, a)


def with_limits(slope: Wide, a: Wide, p: Wide, counted: Any = True) -> Wide:
    """The slope for finite terms of a; infinite ones decide, as far as they count.

    Each a of a class with others beside it has a positive factor for the class itself, and
    a negative one for every other class that has probability.
    """
    live = p.high != 0
    plus, minus = (a.infinite & counted & (sign * a.high > 0) for sign in (1, -1))
    beside = live.sum(axis=0) > live
    raised = (plus & beside) | (live & (minus.sum(axis=0) > minus))
    lowered = (minus & beside) | (live & (plus.sum(axis=0) > plus))
    limit = np.where(lowered, -np.inf, np.inf)
    slope = select(raised | lowered, np.where(raised & lowered, np.nan, limit), slope)
    lost = np.isnan(a.high) | np.isnan(p.high)
    return select(lost.any(axis=0), np.nan, slope)


def exact_total(a: Doubles) -> Wide:
    """The sum along the first axis: of what cancels to more than twice the precision, exactly."""
    total = sum_of(Wide(a))
    most = abs(a).max(axis=0)
    for k in np.flatnonzero(np.isfinite(most) & (abs(total.rounded()) < most * 2.0**-40)):
        total = select(np.arange(a.shape[1]) == k, exact_sum(a[:, k]), total)
    return total


def _softmax_slope(grad: Doubles, rows: Rows) -> Doubles:
    p, g = rows.shares(), Wide(grad)
    counted = p.high != 0
    a = finite(g, counted)
    # sum_c p_c = 1, so any number may be taken off grad. Where one class takes most, its grad is:
    # then nothing cancels there.
    top = top_class(rows)
    most = rows.power[top] > 0.5 * rows.total
    a = a - select(most, a[top], 0.0)
    slope = select(counted, p * (a - sum_of(p * a)), 0.0)
    return with_limits(slope, g, p, counted).rounded()


def _log_softmax_slope(grad: Doubles, rows: Rows) -> Doubles:
    p, g = rows.shares(), Wide(grad)
    numbers = np.where(np.isinf(grad), 0.0, grad)
    total = exact_total(numbers)
    slope = Wide(numbers) - p * total
    # Where one class takes most, g - p sum(g) is (1 - p) sum(g) - (the sum of the other g).
    top = top_class(rows)
    most = rows.power[top] > 0.5 * rows.total
    at_top = (np.arange(len(grad))[:, None] == top[0]) & most
    other_grads = numbers.copy()
    other_grads[top] = 0
    slope = select(at_top, rows.others(top) * total - exact_total(other_grads), slope)
    return with_limits(slope, g, p).rounded()


@np.errstate(all="ignore")
@hints
def softmax(
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    """exp(x) divided by its sum along axis."""
    if unknown:
        check.unknown_keyword("softmax", unknown)
    return _softmax_like(Rows.probabilities, x, axis, where, out)


@np.errstate(all="ignore")
def softmax_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """p * (grad - sum(p * grad)), where p is softmax(x)."""
    return _softmax_like_backward(_softmax_slope, grad, x, axis, where, out)


@np.errstate(all="ignore")
@hints
def log_softmax(
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    """x - logsumexp(x)."""
    if unknown:
        check.unknown_keyword("log_softmax", unknown)
    return _softmax_like(_log_probabilities, x, axis, where, out)


@np.errstate(all="ignore")
def log_softmax_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad - softmax(x) * sum(grad)."""
    return _softmax_like_backward(_log_softmax_slope, grad, x, axis, where, out)


@np.errstate(all="ignore")
@hints
def softmin(
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    """softmax(-x)."""
    if unknown:
        check.unknown_keyword("softmin", unknown)
    return _softmax_like(Rows.probabilities, x, axis, None, out, sign=-1.0)


@np.errstate(all="ignore")
def softmin_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """-softmax_backward(grad, -x)."""
    return _softmax_like_backward(
        lambda g, rows: -_softmax_slope(g, rows), grad, x, axis, None, out, sign=-1.0
    )


@np.errstate(all="ignore")
def softmax_jacobian(
    x: ArrayLike, axis: int = -1, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """a_i (delta_ij - a_j) for a = softmax(x), of shape (*rows, C, C)."""
    x = check.floating(x)
    axis = check.class_axis(x, axis)
    classes = x.shape[axis]
    shape = (*check.rows_shape(x.shape, axis), classes, classes)
    result = check.output(out, shape, x.dtype)
    rows = flatten(x, axis)
    values = np.empty((len(rows), classes, classes), x.dtype)
    for part in blocks(len(rows), classes * classes):
        block = measure(doubles(rows[part]))
        a, top = block.power / block.total, top_class(block)
        jacobian = np.ldexp(-a[:, None] * a[None], block.n[:, None] + block.n[None])
        rest = 1 - block.probabilities()
        rest[top] = block.others(top).rounded()
        diagonal = np.arange(classes)
        jacobian[diagonal, diagonal] = np.ldexp(a * rest, block.n)
        values[part] = np.moveaxis(jacobian, -1, 0)
    result[...] = values.reshape(shape)
    return check.finished(result, out)


class _Weighted(NamedTuple):
    """A block of rows as b exp(x - pivot)."""

    lse: Doubles
    terms: Wide
    total: Wide


def _measure_weighted(x: Doubles, b: Doubles) -> _Weighted:
    x = np.where(b == 0, -np.inf, x)  # what has no weight is not read
    pivot = x.max(axis=0)
    far, far_low = two_sum(x, -pivot)
    far = np.where(x == pivot, 0.0, far)
    terms = b * Wide(*scaled_exp(_finite_gap(x, pivot, far), far_low))
    total = sum_of(terms)
    lse = (pivot + log(total)).rounded()
    # The limit of infinite terms is infinite if all are positive, and one-hot if one is alone.
    infinite = (x == np.inf) | (np.isinf(b) & (x > -np.inf))
    count, positive = infinite.sum(axis=0), (infinite & (b > 0)).sum(axis=0)
    lse = np.where(count > 0, np.where(positive == count, np.inf, np.nan), lse)
    terms = select(count > 0, infinite.astype(np.float64), terms)
    total = select(count > 0, np.where(count > 1, np.nan, 1.0), total)
    lost = np.isnan(x).any(axis=0) | np.isnan(b).any(axis=0)
    total = select(lost | (pivot == -np.inf), np.nan, total)
    lse = np.where(lost, np.nan, np.where(pivot == -np.inf, pivot, lse))
    return _Weighted(lse, terms, total)


def sum_of(terms: Wide) -> Wide:
    """The sum along the first axis."""
    most = terms.n.max(axis=0)
    parts = [np.ldexp(part, terms.n - most) for part in (terms.high, terms.low)]
    return Wide(*two_part_sum(np.concatenate(parts)), most)


def total_of(terms: Wide, unit: Any = 1.0) -> Doubles:
    """Their sum over a unit, rounded once: infinite if terms are, NaN if they are so either way."""
    plus, minus = ((terms.infinite & (sign * terms.high > 0)).any(axis=0) for sign in (1, -1))
    return select(plus & minus, np.nan, sum_of(terms) / unit).rounded()


@np.errstate(all="ignore")
@hints
def logsumexp(
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
    **unknown: Never,
) -> Array:
    """log(sum(b exp(x))) along axis."""
    if unknown:
        check.unknown_keyword("logsumexp", unknown)
    if b is not None:
        x, b = check.promoted(x, b, "x", "b")
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    weights = check.element_weight(b, x.shape, x.dtype, "b")
    weights = None if weights is None else classes.read(weights, 0)
    result = check.row_output(out, classes.rows_shape(keepdims), x.dtype)
    rows = flatten(classes.read(x, -np.inf), classes.axis)
    values = np.empty(len(rows), result.dtype)
    for part in blocks(*rows.shape):
        block = doubles(rows[part])
        if weights is None:
            values[part] = measure(block).lse
        else:
            values[part] = _measure_weighted(
                block, doubles(flatten(weights, classes.axis)[part])
            ).lse
    result[...] = values.reshape(result.shape)
    return check.finished(result, out)


@np.errstate(all="ignore")
def logsumexp_backward(
    grad: ArrayLike,
    x: ArrayLike,
    axis: check.Axis = -1,
    *,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad * softmax(x); with b, grad * b exp(x) / sum(b exp(x))."""
    if b is not None:
        x, b = check.promoted(x, b, "x", "b")
    x = check.floating(x)
    classes = check.Classes(x, axis, where=where)
    weights = check.element_weight(b, x.shape, x.dtype, "b")
    weights = None if weights is None else classes.read(weights, 0)
    shape = classes.rows_shape(keepdims)
    grad = check.same_shape(check.converted(grad, x.dtype, "grad"), shape, "grad", "logsumexp(x)")
    x = classes.read(x, -np.inf)
    result = classes.output(out, x.dtype)
    rows, slopes = flatten(x, classes.axis), grad.reshape(-1)
    values = np.empty(rows.shape, x.dtype)
    for part in blocks(*rows.shape):
        slope, block = slopes[part].astype(np.float64), doubles(rows[part])
        if weights is None:
            values[part] = multiplied(measure(block).shares(), Wide(slope)).T
        else:
            w = _measure_weighted(block, doubles(flatten(weights, classes.axis)[part]))
            values[part] = multiplied(w.terms / w.total, Wide(slope)).T
    store(values, result, classes.axis)
    classes.clear(result)
    return classes.finished(result, out)
