"""Information measures of distributions: sums along an axis of terms in ``Wide`` arithmetic."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from ._apply import backward, forward, times
from ._double import Wide, log, select, wide
from .softmax_family import blocks, doubles, flatten, store, total_of

__all__ = [
    "cross_entropy_of_distributions",
    "cross_entropy_of_distributions_backward",
    "entropy",
    "entropy_backward",
    "information_content",
    "information_content_backward",
    "relative_entropy",
    "relative_entropy_backward",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Term = Callable[..., Wide]


def information_content(
    p: ArrayLike,
    base: float | None = None,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """-log(p), to a base: what an outcome of probability p tells, in nats if base is None."""
    unit = _log_of_base(base)
    p = check.probabilities(check.floating(p, "p"), "p")
    return forward(lambda v: select(v == 1, 0.0, -log(v) / unit), p, out)


def information_content_backward(
    grad: ArrayLike,
    p: ArrayLike,
    base: float | None = None,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """-grad / (p log(base))."""
    unit = _log_of_base(base)
    p = check.probabilities(check.floating(p, "p"), "p")
    return backward(lambda v: -1.0 / (abs(v) * unit), grad, p, out)


def _log_of_base(base: float | None) -> Wide:
    """log(base), 1 for nats."""
    return wide(1.0) if base is None else log(np.float64(check.logarithm_base(base)))


# ---- along an axis: each term, and its slope for each of the distributions -----------------------


def _entropy(p: Doubles) -> Wide:
    return -(p * log(p))


def _entropy_slope(p: Doubles) -> Wide:
    return -(log(p) + 1.0)


def _cross(p: Doubles, q: Doubles) -> Wide:
    return select(np.isinf(p) & (q == 1), np.nan, -(p * log(q)))


def _cross_slope(p: Doubles, q: Doubles) -> Wide:
    return -log(q)


def _cross_slope_q(p: Doubles, q: Doubles) -> Wide:
    return select(p == 0, 0.0, -_ratio(p, q))


def _ratio(p: Doubles, q: Doubles) -> Wide:
    """p / q; infinite or 0 if one of them is infinite, and NaN if both are."""
    ratio = p / wide(abs(q))
    ratio = select(np.isinf(p), np.where(np.isinf(q), np.nan, np.inf), ratio)
    return select(np.isinf(q) & np.isfinite(p), 0.0, ratio)


def _log_ratio(p: Doubles, q: Doubles) -> Wide:
    return select(q == 0, np.where(p == 0, np.nan, np.inf), log(_ratio(p, q)))


def _relative(p: Doubles, q: Doubles) -> Wide:
    return select(p == 0, 0.0, p * _log_ratio(p, q))


def _relative_slope(p: Doubles, q: Doubles) -> Wide:
    return _log_ratio(p, q) + 1.0


def _distributions(p: ArrayLike, q: ArrayLike | None = None) -> tuple[Array, ...]:
    if q is None:
        return (check.masses(check.floating(p, "p"), "p"),)
    x, y = check.promoted(p, q, "p", "q")
    y = check.same_shape(check.converted(y, x.dtype, "q"), x.shape, "q", "p")
    return check.masses(x, "p"), check.masses(y, "q")


def _sums(
    term: Term, arrays: tuple[Array, ...], axis: check.Axis, base: float | None, out: Array | None
) -> Array:
    unit, x = _log_of_base(base), arrays[0]
    classes = check.Classes(x, axis, "p")
    result = check.row_output(out, classes.rows_shape(), x.dtype)
    rows = [flatten(classes.merged(a), classes.axis) for a in arrays]
    values = np.empty(len(rows[0]), result.dtype)
    with np.errstate(all="ignore"):
        for part in blocks(*rows[0].shape):
            values[part] = total_of(term(*(doubles(a[part]) for a in rows)), unit)
        result[...] = values.reshape(result.shape)
    return check.finished(result, out)


def _slopes(
    slope: Term,
    grad: ArrayLike,
    arrays: tuple[Array, ...],
    axis: check.Axis,
    base: float | None,
    out: Array | None = None,
) -> Array:
    unit, x = _log_of_base(base), arrays[0]
    classes = check.Classes(x, axis, "p")
    shape = classes.rows_shape()
    g = check.same_shape(check.converted(grad, x.dtype, "grad"), shape, "grad", "the result")
    arrays = tuple(classes.merged(a) for a in arrays)
    result = classes.output(out, x.dtype)
    rows, factors = [flatten(a, classes.axis) for a in arrays], g.reshape(-1)
    values = np.empty(rows[0].shape, x.dtype)
    with np.errstate(all="ignore"):
        for part in blocks(*rows[0].shape):
            each = slope(*(doubles(a[part]) for a in rows)) / unit
            values[part] = times(factors[part].astype(np.float64), each).T
        store(values, result, classes.axis)
    return classes.finished(result, out)


def entropy(
    p: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """-sum(p log(p)) along axis, where 0 log(0) is 0."""
    return _sums(_entropy, _distributions(p), axis, base, out)


def entropy_backward(
    grad: ArrayLike,
    p: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """-grad * (log(p) + 1)."""
    return _slopes(_entropy_slope, grad, _distributions(p), axis, base, out)


def cross_entropy_of_distributions(
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """-sum(p log(q)) along axis."""
    return _sums(_cross, _distributions(p, q), axis, base, out)


def cross_entropy_of_distributions_backward(
    grad: ArrayLike,
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    """(-grad * log(q), -grad * p / q)."""
    both = _distributions(p, q)
    return (
        _slopes(_cross_slope, grad, both, axis, base),
        _slopes(_cross_slope_q, grad, both, axis, base),
    )


def relative_entropy(
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """sum(p log(p / q)) along axis."""
    return _sums(_relative, _distributions(p, q), axis, base, out)


def relative_entropy_backward(
    grad: ArrayLike,
    p: ArrayLike,
    q: ArrayLike,
    axis: check.Axis = -1,
    *,
    base: float | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    """(grad * (log(p / q) + 1), -grad * p / q)."""
    both = _distributions(p, q)
    return (
        _slopes(_relative_slope, grad, both, axis, base),
        _slopes(_cross_slope_q, grad, both, axis, base),
    )
