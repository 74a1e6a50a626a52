"""Losses of regression: each a formula, its slope and the slope of that, in ``Wide`` arithmetic."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import arguments as check
from .._core.directions import SUFFIXES, Compute, function_of
from ._apply import parameters_of
from ._double import Wide, constant, exp, expm1, log, select, wide
from .losses import Formulas, weighted_loss

__all__ = [
    "half_gamma_loss",
    "half_gamma_loss_backward",
    "half_gamma_loss_grad_and_hess",
    "half_gamma_loss_value_and_grad",
    "half_gamma_loss_value_grad_and_hess",
    "half_tweedie_loss",
    "half_tweedie_loss_backward",
    "half_tweedie_loss_grad_and_hess",
    "half_tweedie_loss_value_and_grad",
    "half_tweedie_loss_value_grad_and_hess",
    "huber_loss",
    "huber_loss_backward",
    "huber_loss_grad_and_hess",
    "huber_loss_value_and_grad",
    "huber_loss_value_grad_and_hess",
    "l1_loss",
    "l1_loss_backward",
    "l1_loss_grad_and_hess",
    "l1_loss_value_and_grad",
    "l1_loss_value_grad_and_hess",
    "pinball_loss",
    "pinball_loss_backward",
    "pinball_loss_grad_and_hess",
    "pinball_loss_value_and_grad",
    "pinball_loss_value_grad_and_hess",
    "poisson_nll_loss",
    "poisson_nll_loss_backward",
    "poisson_nll_loss_grad_and_hess",
    "poisson_nll_loss_value_and_grad",
    "poisson_nll_loss_value_grad_and_hess",
    "smooth_l1_loss",
    "smooth_l1_loss_backward",
    "smooth_l1_loss_grad_and_hess",
    "smooth_l1_loss_value_and_grad",
    "smooth_l1_loss_value_grad_and_hess",
]

Doubles = NDArray[np.float64]


def _functions(compute: Compute, name: str) -> tuple[Callable[..., Any], ...]:
    return tuple(
        function_of(compute, name, direction, weighted_loss) for direction in range(len(SUFFIXES))
    )


def _parameter(input: ArrayLike, target: ArrayLike, value: float) -> float:
    """In the precision that is computed in."""
    return parameters_of(check.input_and_target(input, target)[0].dtype, value)[0]


# ---- of the gap ----------------------------------------------------------------------------------


def _gap(x: Doubles, t: Doubles) -> Wide:
    """x - t, which is NaN for two equal infinities."""
    return select(np.isnan(x - t), np.nan, wide(x) - t)


def _sign(gap: Wide) -> Doubles:
    result: Doubles = np.sign(gap.high)
    return result


def _absolute(gap: Wide) -> Wide:
    return _sign(gap) * gap


def _flat(x: Doubles, t: Doubles) -> Wide:
    return wide(0.0 * _sign(_gap(x, t)))


def _l1(x: Doubles, t: Doubles) -> Wide:
    return _absolute(_gap(x, t))


def _l1_slope(x: Doubles, t: Doubles) -> Wide:
    return wide(_sign(_gap(x, t)))


def _pinball(q: float) -> Formulas:
    def factor(gap: Wide) -> Wide:
        return select(gap.high < 0, -q, 1.0 - wide(q))

    def loss(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        return factor(gap) * gap

    def slope(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        return select(gap.high == 0, 0.0, factor(gap) * abs(_sign(gap)))

    return loss, slope, _flat


def _beyond(gap: Wide, limit: float) -> Doubles:
    """How far a gap is past the limit, on the scale of it."""
    return (_absolute(gap) - limit).high


def _huber(delta: float) -> Formulas:
    def loss(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        far = delta * (_absolute(gap) - wide(delta) * 0.5)
        return select(_beyond(gap, delta) > 0, far, gap * gap * 0.5)

    def slope(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        return select(_beyond(gap, delta) > 0, delta * _sign(gap), gap)

    def hessian(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        inside = np.where(_beyond(gap, delta) > 0, 0.0, 1.0)
        return wide(np.where(np.isnan(gap.high), np.nan, inside))

    return loss, slope, hessian


def _smooth_l1(beta: float) -> Formulas:
    def loss(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        far = _absolute(gap) - wide(beta) * 0.5
        return select(_beyond(gap, beta) < 0, gap / beta * gap * 0.5, far)

    def slope(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        return select(_beyond(gap, beta) < 0, gap / beta, _sign(gap))

    def hessian(x: Doubles, t: Doubles) -> Wide:
        gap = _gap(x, t)
        far = np.where(np.isnan(gap.high), np.nan, 0.0)
        return select(_beyond(gap, beta) < 0, wide(1.0) / beta, far)

    return loss, slope, hessian


# ---- of the logarithm of what is expected --------------------------------------------------------


def _times(a: Any, b: Any) -> Wide:
    """A product that is 0 where the first factor is, also times an infinity."""
    a = wide(a)
    return select((a.high == 0) & ~np.isnan(wide(b).high), 0.0, a * b)


def _target(t: Doubles) -> Doubles:
    """NaN where it is infinite."""
    return np.where(np.isinf(t), np.nan, t)


def _poisson(x: Doubles, t: Doubles) -> Wide:
    t = _target(t)
    return select((x == np.inf) & ~np.isnan(t), np.inf, exp(x) - _times(t, x))


HALF_LOG_2PI = constant("0.918938533204672741780329736405617640")


def _poisson_full(x: Doubles, t: Doubles) -> Wide:
    t = _target(t)
    stirling = t * (log(t) - 1.0) + (0.5 * log(t) + HALF_LOG_2PI)
    return _poisson(x, t) + select(t > 1, stirling, 0.0)


def _poisson_slope(x: Doubles, t: Doubles) -> Wide:
    return exp(x) - _target(t)


def _poisson_hessian(x: Doubles, t: Doubles) -> Wide:
    return exp(x)


def _log_over(x: Doubles, t: Doubles) -> Wide:
    """log(t) - x; of no target -inf, whatever x."""
    return select(t == 0, np.where(np.isnan(x), np.nan, -np.inf), log(_target(t)) - x)


def _gamma(x: Doubles, t: Doubles) -> Wide:
    v = _log_over(x, t)
    return select(v.infinite, np.inf, expm1(v) - v)


def _gamma_slope(x: Doubles, t: Doubles) -> Wide:
    return -expm1(_log_over(x, t))


def _gamma_hessian(x: Doubles, t: Doubles) -> Wide:
    return exp(_log_over(x, t))


FAR = 1e5  # where exponentials leave every range


def _tweedie(power: float) -> Formulas:
    a, b = 2.0 - wide(power), 1.0 - wide(power)

    def terms(x: Doubles, t: Doubles) -> tuple[Wide, Wide]:
        """Of the gradient; of two that are beyond the range the smaller counts 0."""
        v, c, d = _log_over(x, t), a * x, b * x + log(_target(t))
        far = (abs(c.rounded()) > FAR) & (abs(d.rounded()) > FAR)
        first, second = (
            select(far & less, 0.0, exp(w)) for w, less in ((c, v.high > 0), (d, v.high < 0))
        )
        return first, select((t == 0) & ~np.isnan(x), 0.0, second)

    def bend(c: Wide, v: Wide) -> Wide:
        """(exp(-c v) - 1 + c v) / c, whose limit is 0."""
        return (expm1(-c * v) + c * v) / c if c.high else 0.0 * v

    def loss(x: Doubles, t: Doubles) -> Wide:
        if not a.high:
            return _gamma(x, t)
        first, second = terms(x, t)
        z = select(t == 0, 0.0 if power < 2 else np.inf, exp(a * log(_target(t))))
        v = _log_over(x, t)
        near = abs(v.rounded()) < 1
        close = z * (bend(a, v) - bend(b, v))
        if b.high:
            apart = first / a - second / b + z / (a * b)
        else:
            apart = select(x == np.inf, np.inf, first - t + _times(t, v))
        return select(near, close, apart)

    def slope(x: Doubles, t: Doubles) -> Wide:
        first, second = terms(x, t)
        return first - second

    def hessian(x: Doubles, t: Doubles) -> Wide:
        first, second = terms(x, t)
        return a * first - b * second

    return loss, slope, hessian


# ---- public functions ----------------------------------------------------------------------------


def _l1_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    formulas = _l1, _l1_slope, _flat
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    l1_loss,
    l1_loss_backward,
    l1_loss_value_and_grad,
    l1_loss_grad_and_hess,
    l1_loss_value_grad_and_hess,
) = _functions(_l1_loss_of, "l1_loss")


def _pinball_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    quantile: float = 0.5,
    **options: Any,
) -> tuple[Any, ...]:
    number = check.between(quantile, 0.0, 1.0, "quantile")
    formulas = _pinball(_parameter(input, target, number))
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    pinball_loss,
    pinball_loss_backward,
    pinball_loss_value_and_grad,
    pinball_loss_grad_and_hess,
    pinball_loss_value_grad_and_hess,
) = _functions(_pinball_loss_of, "pinball_loss")


def _huber_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    delta: float = 1.0,
    **options: Any,
) -> tuple[Any, ...]:
    formulas = _huber(_parameter(input, target, check.positive(delta, "delta", input)))
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    huber_loss,
    huber_loss_backward,
    huber_loss_value_and_grad,
    huber_loss_grad_and_hess,
    huber_loss_value_grad_and_hess,
) = _functions(_huber_loss_of, "huber_loss")


def _smooth_l1_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    beta: float = 1.0,
    **options: Any,
) -> tuple[Any, ...]:
    number = 0.0 if beta == 0 else check.positive(beta, "beta", input)
    formulas = _smooth_l1(_parameter(input, target, number))
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    smooth_l1_loss,
    smooth_l1_loss_backward,
    smooth_l1_loss_value_and_grad,
    smooth_l1_loss_grad_and_hess,
    smooth_l1_loss_value_grad_and_hess,
) = _functions(_smooth_l1_loss_of, "smooth_l1_loss")


def _poisson_nll_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    full: bool = False,
    **options: Any,
) -> tuple[Any, ...]:
    formulas = _poisson_full if full else _poisson, _poisson_slope, _poisson_hessian
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    poisson_nll_loss,
    poisson_nll_loss_backward,
    poisson_nll_loss_value_and_grad,
    poisson_nll_loss_grad_and_hess,
    poisson_nll_loss_value_grad_and_hess,
) = _functions(_poisson_nll_loss_of, "poisson_nll_loss")


def _half_gamma_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    formulas = _gamma, _gamma_slope, _gamma_hessian
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    half_gamma_loss,
    half_gamma_loss_backward,
    half_gamma_loss_value_and_grad,
    half_gamma_loss_grad_and_hess,
    half_gamma_loss_value_grad_and_hess,
) = _functions(_half_gamma_loss_of, "half_gamma_loss")


def _half_tweedie_loss_of(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    power: float = 1.5,
    **options: Any,
) -> tuple[Any, ...]:
    formulas = _tweedie(_parameter(input, target, check.finite(power, "power")))
    return weighted_loss(formulas, direction, grad, input, target, weight, **options)


(
    half_tweedie_loss,
    half_tweedie_loss_backward,
    half_tweedie_loss_value_and_grad,
    half_tweedie_loss_grad_and_hess,
    half_tweedie_loss_value_grad_and_hess,
) = _functions(_half_tweedie_loss_of, "half_tweedie_loss")
