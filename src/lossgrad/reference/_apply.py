"""How a formula is applied to arrays: in float64, block by block, rounded once at the end."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.directions import gives_value, slopes
from ._double import Wide, wide

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Formula = Callable[..., Wide]

BLOCK = 1 << 15  # elements of a block, so that its temporaries stay in the cache


def each(result: Array, function: Callable[..., Any], *arrays: Array | None) -> None:
    """Write function(*arrays) to result; None becomes 1."""
    flat = [None if a is None else a.reshape(-1) for a in arrays]
    values = np.empty(result.size, result.dtype)
    for start in range(0, result.size, BLOCK):
        part = slice(start, start + BLOCK)
        values[part] = function(*(1.0 if a is None else a[part].astype(np.float64) for a in flat))
    result[...] = values.reshape(result.shape)


def times(grad: Any, slope: Wide, x: Any = 0.0, weight: Any = 1.0) -> Doubles:
    """grad * weight * slope at x, rounded once; 0 for no grad, even where the slope is infinite.

    An infinite grad takes on the slope's sign, however small that is; where x is infinite, what the
    slope is rounded to. It is 0 as well where there is no weight.
    """
    limit = np.where(np.isinf(x), slope.rounded(), slope.high)
    weighted = wide(weight) * grad
    infinite = np.isinf(grad) & ~(weighted.high == 0)
    result: Doubles = np.where(
        infinite, weighted.high * np.inf * limit, (slope * weighted).rounded()
    )
    return result


def parameters_of(dtype: np.dtype[Any], *values: float) -> list[float]:
    """Parameters in the precision that arrays of the dtype are computed in."""
    with np.errstate(all="ignore"):
        return [float(check.computed(dtype).type(v)) for v in values]


def forward(formula: Formula, x: ArrayLike, out: Array | None, *parameters: float) -> Array:
    x = check.floating(x)
    given = parameters_of(x.dtype, *parameters)
    result = check.output(out, x.shape, x.dtype)
    with np.errstate(all="ignore"):
        each(result, lambda v: formula(v, *given).rounded(), x)
    return check.finished(result, out)


def backward(
    slope: Formula, grad: ArrayLike, x: ArrayLike, out: Array | None, *parameters: float
) -> Array:
    x = check.floating(x)
    given = parameters_of(x.dtype, *parameters)
    grad = check.gradient(grad, x)
    result = check.output(out, x.shape, x.dtype)
    with np.errstate(all="ignore"):
        each(result, lambda g, v: times(g, slope(v, *given), v), grad, x)
    return check.finished(result, out)


def fused(
    formulas: tuple[Formula, ...], direction: int, x: ArrayLike, out: check.Outs, *parameters: float
) -> tuple[Array, ...]:
    """Several results: of the value, the gradient for an incoming one of 1, and the Hessian."""
    x = check.floating(x)
    given = parameters_of(x.dtype, *parameters)
    places = check.places(out, direction, x.shape, x.dtype)
    asked = formulas[0 if gives_value(direction) else 1 : 1 + slopes(direction)]
    results = [np.empty(x.shape, x.dtype) for _ in asked]
    with np.errstate(all="ignore"):
        for formula, result in zip(asked, results, strict=True):
            each(result, lambda v: formula(v, *given).rounded(), x)  # noqa: B023
    for place, result in zip([a for a in places if a is not None], results, strict=True):
        place[...] = result
    return tuple(check.all_finished(places, out, direction))


def ratio(a: float, b: float) -> float:
    """a / b as IEEE 754 has it, but NaN for the mean over no weight."""
    return float(np.float64(a) / np.float64(b)) if b else math.nan


def loss_beside(loss: Any) -> Any:
    """A loss that is handed back with a gradient, which has `out`."""
    return check.finished(loss, None) if isinstance(loss, np.ndarray) else loss


def weighted(weight: Any, loss: Doubles) -> Any:
    """weight * loss, where no weight is no loss, even if that is infinite; NaN stays."""
    return np.where((weight == 0) & ~np.isnan(loss), 0.0, weight * loss)
