"""Activations: each a formula and its slope in ``Wide`` arithmetic, and the two public functions.

A formula takes float64 values, and parameters in the precision that is computed in.
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.directions import GRAD_AND_HESS, VALUE_GRAD_AND_HESS, function_of
from ._apply import backward, each, forward, fused, times
from ._double import (
    Wide,
    constant,
    exact_sum,
    exp,
    expm1,
    log1p,
    select,
    wide,
)

__all__ = [
    "celu",
    "celu_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardswish",
    "hardswish_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "mish",
    "mish_backward",
    "prelu",
    "prelu_backward",
    "relu",
    "relu_backward",
    "rrelu",
    "rrelu_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "softplus_grad_and_hess",
    "softplus_value_grad_and_hess",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
]

Array = NDArray[Any]
Doubles = NDArray[np.float64]

ROOT_2PI = constant("2.50662827463100050241576528481104525301")
TWICE_ROOT_2_OVER_PI = constant("1.59576912160573071175978423973752747404")
GELU_CUBE = constant("0.044715")
SELU_SCALE = constant("1.0507009873554804934193349852946")
SELU_SCALE_ALPHA = SELU_SCALE * constant("1.6732632423543772848170429916717")


def _above(x: Doubles, above: Any, below: Any) -> Wide:
    """above for x > 0, below for x <= 0; NaN stays."""
    return select(np.isnan(x), x, select(x > 0, above, below))


# ---- sigmoid and its relatives -------------------------------------------------------------------


def _sigmoid(x: Doubles | Wide) -> Wide:
    high = x.high if isinstance(x, Wide) else x
    e = exp(select(high < 0, x, -wide(x)))
    return select(high < 0, e, 1.0) / (1.0 + e)


def _sigmoid_slope(x: Doubles | Wide) -> Wide:
    return _sigmoid(x) * _sigmoid(-x)


def _log_sigmoid(x: Doubles) -> Wide:
    return wide(np.minimum(x, 0)) - log1p(exp(-abs(x)))


def _softplus(x: Doubles, beta: float) -> Wide:
    return np.maximum(x, 0) + log1p(exp(-abs(x) * wide(beta))) / beta


def _softplus_slope(x: Doubles, beta: float) -> Wide:
    return _sigmoid(wide(x) * beta)


def _softplus_hessian(x: Doubles, beta: float) -> Wide:
    return beta * _sigmoid_slope(wide(x) * beta)


def _silu(x: Doubles) -> Wide:
    return x * _sigmoid(x)


def _silu_slope(x: Doubles) -> Wide:
    return _sigmoid(x) * (1.0 + x * _sigmoid(-x))


def _tanh(x: Doubles) -> Wide:
    m = expm1(-2 * wide(abs(x)))
    size = -m / (2.0 + m)
    return select(x == 0, x, select(x < 0, -size, size))


def _tanh_slope(x: Doubles) -> Wide:
    return 4.0 * _sigmoid_slope(2.0 * wide(x))


def _mish_parts(x: Doubles) -> tuple[Wide, Wide, Wide]:
    """(e, a, b): e = exp(-|x|), a / b = tanh(softplus(x))."""
    e = exp(-abs(x))
    below = x < 0
    top = select(below, e * (2.0 + e), 1.0 + 2 * e)
    return e, top, select(below, 2.0, 1.0) + 2 * e + select(below, e * e, 2 * e * e)


def _mish(x: Doubles) -> Wide:
    _, top, bottom = _mish_parts(x)
    return x * top / bottom


def _mish_slope(x: Doubles) -> Wide:
    e, top, bottom = _mish_parts(x)
    rest = select(x < 0, e, e * e) * (1.0 + e) / (bottom * bottom)
    return top / bottom + x * (4.0 * rest)


# ---- gelu ----------------------------------------------------------------------------------------


def _density(x: Doubles) -> Wide:
    """The normal distribution's density."""
    return exp(-0.5 * (wide(x) * x)) / ROOT_2PI


def _normal(x: Doubles) -> Wide:
    """The normal distribution: (1 / 2 + a series of positive terms), or density times the tail's
    continued fraction 1 / (x + 1 / (x + 2 / (x + ...)))."""
    size = abs(x)
    small = size < 1.25
    near = wide(np.where(small, size, 0.0))
    square = near * near
    series = np.zeros_like(x)
    for k in range(20, 3, -1):
        series = (1 + series) * square.rounded() / (2 * k + 1)
    total = wide(series)
    for k in (3, 2, 1):
        total = (1.0 + total) * square / (2 * k + 1)
    half = _density(x) * near * (1.0 + total)
    # 300 terms are enough from 1.25 on, and 12 of them are where rounding could show
    far = np.clip(size, 1.25, 1e9)
    fraction = far + 17.0
    for k in range(300, 12, -1):
        fraction = far + k / fraction
    tail = wide(fraction)
    for k in range(12, 0, -1):
        tail = far + k / tail
    tail = _density(x) / tail
    return select(small, select(x < 0, 0.5 - half, 0.5 + half), select(x < 0, tail, 1.0 - tail))


def _gelu(x: Doubles) -> Wide:
    return x * _normal(x)


def _gelu_slope(x: Doubles) -> Wide:
    return _normal(x) + x * _density(x)


def _gelu_argument(x: Doubles) -> Wide:
    return TWICE_ROOT_2_OVER_PI * x * (1.0 + GELU_CUBE * x * x)


def _gelu_tanh(x: Doubles) -> Wide:
    return x * _sigmoid(_gelu_argument(x))


def _gelu_tanh_slope(x: Doubles) -> Wide:
    w = _gelu_argument(x)
    slope = TWICE_ROOT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBE * x * x)
    return _sigmoid(w) * (1.0 + x * slope * _sigmoid(-w))


# ---- the ReLU family -----------------------------------------------------------------------------


def _relu(x: Doubles) -> Wide:
    return select(x < 0, 0.0, x)


def _leaky_relu(x: Doubles, slope: Any) -> Wide:
    return _above(x, x, select(x == 0, x, wide(x) * slope))


def _step(x: Doubles, slope: Any = 0.0) -> Wide:
    return _above(x, 1.0, slope)


def _elu(x: Doubles, alpha: Any) -> Wide:
    return _above(x, x, select(x == 0, x, expm1(np.minimum(x, 0)) * alpha))


def _elu_slope(x: Doubles, alpha: Any) -> Wide:
    return _above(x, 1.0, exp(np.minimum(x, 0)) * alpha)


def _selu(x: Doubles) -> Wide:
    return _above(x, SELU_SCALE * x, _elu(x, SELU_SCALE_ALPHA))


def _selu_slope(x: Doubles) -> Wide:
    return _above(x, SELU_SCALE, _elu_slope(x, SELU_SCALE_ALPHA))


def _celu(x: Doubles, alpha: float) -> Wide:
    return _above(x, x, select(x == 0, x, expm1(np.minimum(x, 0) / wide(alpha)) * alpha))


def _celu_slope(x: Doubles, alpha: float) -> Wide:
    return _above(x, 1.0, exp(np.minimum(x, 0) / wide(alpha)))


# ---- piecewise rational --------------------------------------------------------------------------


def _inside(x: Doubles, below: Any, inside: Any, above: Any) -> Wide:
    """What holds for x <= -3, between, and for x >= 3; NaN stays."""
    return select(x <= -3, below, select(x >= 3, above, inside))


def _hardsigmoid(x: Doubles) -> Wide:
    return _inside(x, 0.0, (wide(x) + 3.0) / 6.0, 1.0)


def _hardsigmoid_slope(x: Doubles) -> Wide:
    return _inside(x, 0.0, (1.0 + 0 * x) / wide(6.0), 0.0)


def _hardswish(x: Doubles) -> Wide:
    return _inside(x, 0.0, x * (wide(x) + 3.0) / 6.0, x)


def _hardswish_slope(x: Doubles) -> Wide:
    return _inside(x, 0.0, (2.0 * wide(x) + 3.0) / 6.0, 1.0)


def _softsign(x: Doubles) -> Wide:
    return select(x == 0, x, wide(x) / (1.0 + wide(abs(x))))


def _softsign_slope(x: Doubles) -> Wide:
    total = 1.0 + wide(abs(x))
    return 1.0 / (total * total)


# ---- public functions ----------------------------------------------------------------------------


def sigmoid(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """1 / (1 + exp(-x))."""
    return forward(_sigmoid, x, out)


def sigmoid_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad * sigmoid(x) * sigmoid(-x)."""
    return backward(_sigmoid_slope, grad, x, out)


def log_sigmoid(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """log(sigmoid(x))."""
    return forward(_log_sigmoid, x, out)


def log_sigmoid_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad * sigmoid(-x)."""
    return backward(lambda v: _sigmoid(-v), grad, x, out)


def softplus(
    x: ArrayLike, beta: float = 1.0, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """log(1 + exp(beta x)) / beta."""
    return forward(_softplus, x, out, check.positive(beta, "beta", x))


def softplus_backward(
    grad: ArrayLike,
    x: ArrayLike,
    beta: float = 1.0,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad * sigmoid(beta x)."""
    return backward(_softplus_slope, grad, x, out, check.positive(beta, "beta", x))


def _softplus_fused(
    direction: int,
    grad: Any,
    x: ArrayLike,
    beta: float = 1.0,
    *,
    out: check.Outs = None,
    num_threads: int | None = None,
) -> tuple[Array, ...]:
    formulas = _softplus, _softplus_slope, _softplus_hessian
    return fused(formulas, direction, x, out, check.positive(beta, "beta", x))


softplus_grad_and_hess, softplus_value_grad_and_hess = (
    function_of(_softplus_fused, "softplus", direction)
    for direction in (GRAD_AND_HESS, VALUE_GRAD_AND_HESS)
)


def silu(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """x * sigmoid(x)."""
    return forward(_silu, x, out)


def silu_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad * sigmoid(x) * (1 + x * sigmoid(-x))."""
    return backward(_silu_slope, grad, x, out)


def tanh(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return forward(_tanh, x, out)


def tanh_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad * (1 - tanh(x)**2)."""
    return backward(_tanh_slope, grad, x, out)


def mish(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """x * tanh(softplus(x))."""
    return forward(_mish, x, out)


def mish_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad times the slope of mish."""
    return backward(_mish_slope, grad, x, out)


def relu(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """max(x, 0)."""
    return forward(_relu, x, out)


def relu_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad where x > 0, else 0."""
    return backward(_step, grad, x, out)


def leaky_relu(
    x: ArrayLike,
    negative_slope: float = 0.01,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """x, or negative_slope * x below 0."""
    return forward(_leaky_relu, x, out, negative_slope)


def leaky_relu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    negative_slope: float = 0.01,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad, times negative_slope for x <= 0."""
    return backward(_step, grad, x, out, negative_slope)


def elu(
    x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """x, or alpha * (exp(x) - 1) below 0."""
    return forward(_elu, x, out, alpha)


def elu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    alpha: float = 1.0,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad, times alpha * exp(x) for x <= 0."""
    return backward(_elu_slope, grad, x, out, alpha)


def selu(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """scale * elu(x, alpha) with the constants of self-normalising networks."""
    return forward(_selu, x, out)


def selu_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad times the slope of selu."""
    return backward(_selu_slope, grad, x, out)


def celu(
    x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """x, or alpha * (exp(x / alpha) - 1) below 0."""
    return forward(_celu, x, out, check.positive(alpha, "alpha", x))


def celu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    alpha: float = 1.0,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad, times exp(x / alpha) for x <= 0."""
    return backward(_celu_slope, grad, x, out, check.positive(alpha, "alpha", x))


def hardsigmoid(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """(x + 3) / 6 within [0, 1]."""
    return forward(_hardsigmoid, x, out)


def hardsigmoid_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad / 6 for -3 < x < 3, else 0."""
    return backward(_hardsigmoid_slope, grad, x, out)


def hardswish(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """x * hardsigmoid(x)."""
    return forward(_hardswish, x, out)


def hardswish_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad * (x / 3 + 1 / 2) for -3 < x < 3, else 0 or grad."""
    return backward(_hardswish_slope, grad, x, out)


def softsign(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    """x / (1 + |x|)."""
    return forward(_softsign, x, out)


def softsign_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """grad / (1 + |x|)**2."""
    return backward(_softsign_slope, grad, x, out)


def _by_tanh(approximate: str) -> bool:
    return check.gelu_form(approximate) == "tanh"


def gelu(
    x: ArrayLike,
    approximate: Literal["none", "tanh"] = "none",
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """x * Phi(x), Phi the normal distribution, or its approximation by tanh."""
    return forward(_gelu_tanh if _by_tanh(approximate) else _gelu, x, out)


def gelu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    approximate: Literal["none", "tanh"] = "none",
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad * (Phi(x) + x * phi(x)), phi the density of Phi; or the slope of the approximation."""
    slope = _gelu_tanh_slope if _by_tanh(approximate) else _gelu_slope
    return backward(slope, grad, x, out)


def _sloped(x: Array, slopes: Array, out: Array | None) -> Array:
    """x, or slopes * x below 0."""
    result = check.output(out, x.shape, x.dtype)
    with np.errstate(all="ignore"):
        each(result, lambda v, w: _leaky_relu(v, w).rounded(), x, slopes)
    return check.finished(result, out)


def _sloped_backward(grad: ArrayLike, x: Array, slopes: Array, out: Array | None) -> Array:
    grad = check.gradient(grad, x)
    result = check.output(out, x.shape, x.dtype)
    with np.errstate(all="ignore"):
        each(result, lambda g, v, w: times(g, _step(v, w)), grad, x, slopes)
    return check.finished(result, out)


def prelu(
    x: ArrayLike,
    weight: ArrayLike,
    *,
    axis: int = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """x, or weight * x below 0, with one weight or one for each channel along axis."""
    x = check.floating(x)
    return _sloped(x, check.channel_weight(weight, x, axis)[0], out)


def prelu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    axis: int = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    """(grad, times weight for x <= 0; the sum of grad * x over x < 0 for each weight)."""
    x = check.floating(x)
    grad = check.gradient(grad, x)
    slopes, axis = check.channel_weight(weight, x, axis)
    shape = np.shape(weight)
    with np.errstate(all="ignore"):
        terms = [grad, np.where(x > 0, np.zeros((), x.dtype), x)]
        channels = math.prod(shape)
        if channels > 1:  # channels first
            terms = [np.moveaxis(a, axis, 0) for a in terms]
        size = x.size // max(1, channels)
        columns = (a.reshape(channels, size).astype(np.float64) for a in terms)
        kind = check.computed(x.dtype)
        sums = [exact_sum((g * v)[v != 0].astype(kind)) for g, v in zip(*columns, strict=True)]
        weight_grad = np.array(sums).astype(x.dtype).reshape(shape)
    return _sloped_backward(grad, x, slopes, out), check.finished(weight_grad, None)


@np.errstate(all="ignore")
def rrelu(
    x: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    rng: Any = None,
    return_slopes: bool = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Any:
    """x, or below 0 x times a slope: drawn from [lower, upper) in training, else their mean."""
    x = check.floating(x)
    lower, upper = check.slope_range(lower, upper)
    if training:
        drawn = lower + (upper - lower) * np.random.default_rng(rng).random(x.shape)
        slopes = np.where(x > 0, 1.0, drawn).astype(x.dtype)
        y = _sloped(x, slopes, out)
    else:
        slopes = np.where(x > 0, 1.0, (lower + upper) / 2).astype(x.dtype)
        y = leaky_relu(x, (lower + upper) / 2, out=out)
    return (y, check.finished(slopes, None)) if return_slopes else y


@np.errstate(all="ignore")
def rrelu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    slopes: ArrayLike | None = None,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """grad, times the slope for x <= 0: that of the forward pass, or the mean in evaluation."""
    lower, upper = check.slope_range(lower, upper)
    if slopes is None and not training:
        return leaky_relu_backward(grad, x, (lower + upper) / 2, out=out)
    x = check.floating(x)
    return _sloped_backward(grad, x, check.drawn_slopes(slopes, x), out)
