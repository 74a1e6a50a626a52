"""Losses of regression: each forward, backward, and fused, with the Hessian's diagonal.

Each is one function of a direction, from which its public functions are made (`_families`).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from ._core import arguments as check
from ._families import Example, family
from .losses import weighted_loss

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


@family(
    weighted_loss,
    "w |x - t|",
    "g w sign(x - t)",
    "0",
    Example("[1.0, 2.0], [0.0, 4.0]", "1.5", "array([ 0.5, -0.5])", "array([0., 0.])"),
    peers="torch.nn.functional.l1_loss",
)
def _l1_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Absolute error.

    .. math:: \ell = w |x - t|

    Its Hessian is 0; a booster that wants one above 0 is given ones.
    """
    return weighted_loss("l1_loss", (), direction, grad, input, target, weight, **options)


(
    l1_loss,
    l1_loss_backward,
    l1_loss_value_and_grad,
    l1_loss_grad_and_hess,
    l1_loss_value_grad_and_hess,
) = _l1_loss


@family(
    weighted_loss,
    "w max(q (t - x), (1 - q) (x - t))",
    "g w (1 - q) above t, -g w q below",
    "0",
    Example(
        "[1.0, 2.0], [0.0, 4.0], quantile=0.75",
        "0.875",
        "array([ 0.125, -0.375])",
        "array([0., 0.])",
    ),
    {"quantile": 0.05},
    {"quantile": 0.9},
    peers="sklearn._loss.PinballLoss",
    quantile="Which quantile, q, above 0 and below 1.",
)
def _pinball_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    quantile: float = 0.5,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Pinball loss, whose least mean is at a quantile of the targets.

    .. math:: \ell = w \max(q (t - x), (1 - q) (x - t))

    As scikit-learn's ``mean_pinball_loss``, whose ``alpha`` is `quantile`; at x = t the gradient
    is 0.
    """
    number = check.between(quantile, 0.0, 1.0, "quantile")
    name = "pinball_loss"
    return weighted_loss(name, (number,), direction, grad, input, target, weight, **options)


(
    pinball_loss,
    pinball_loss_backward,
    pinball_loss_value_and_grad,
    pinball_loss_grad_and_hess,
    pinball_loss_value_grad_and_hess,
) = _pinball_loss


@family(
    weighted_loss,
    "w (x - t)^2 / 2 where |x - t| <= delta, else w delta (|x - t| - delta / 2)",
    "g w (x - t), within [-delta, delta]",
    "g w where |x - t| <= delta, else 0",
    Example("[1.0, 2.0], [0.5, 4.0]", "0.8125", "array([ 0.25, -0.5 ])", "array([0.5, 0. ])"),
    {"delta": 0.3},
    {"delta": 7.0},
    peers="torch.nn.functional.huber_loss",
    delta="Where absolute error begins, positive.",
)
def _huber_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    delta: float = 1.0,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Squared error near the target, absolute error far from it.

    .. math::
        \ell = w \begin{cases} (x - t)^2 / 2 & |x - t| \le \delta \\
        \delta (|x - t| - \delta / 2) & \text{else} \end{cases}

    As PyTorch's ``huber_loss``.
    """
    number = check.positive(delta, "delta", input)
    return weighted_loss("huber_loss", (number,), direction, grad, input, target, weight, **options)


(
    huber_loss,
    huber_loss_backward,
    huber_loss_value_and_grad,
    huber_loss_grad_and_hess,
    huber_loss_value_grad_and_hess,
) = _huber_loss


@family(
    weighted_loss,
    "w (x - t)^2 / (2 beta) where |x - t| < beta, else w (|x - t| - beta / 2)",
    "g w (x - t) / beta, within [-g w, g w]",
    "g w / beta where |x - t| < beta, else 0",
    Example("[1.0, 2.0], [0.5, 4.0]", "0.8125", "array([ 0.25, -0.5 ])", "array([0.5, 0. ])"),
    {"beta": 0.3},
    {"beta": 7.0},
    peers="torch.nn.functional.smooth_l1_loss",
    beta="Where absolute error begins, not negative.",
)
def _smooth_l1_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    beta: float = 1.0,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Absolute error that is smooth at the target: `huber_loss` over `beta`.

    .. math::
        \ell = w \begin{cases} (x - t)^2 / (2 \beta) & |x - t| < \beta \\
        |x - t| - \beta / 2 & \text{else} \end{cases}

    As PyTorch's ``smooth_l1_loss``; with `beta` 0 it is `l1_loss`.
    """
    number = 0.0 if beta == 0 else check.positive(beta, "beta", input)
    name = "smooth_l1_loss"
    return weighted_loss(name, (number,), direction, grad, input, target, weight, **options)


(
    smooth_l1_loss,
    smooth_l1_loss_backward,
    smooth_l1_loss_value_and_grad,
    smooth_l1_loss_grad_and_hess,
    smooth_l1_loss_value_grad_and_hess,
) = _smooth_l1_loss


@family(
    weighted_loss,
    "w (exp(x) - t x)",
    "g w (exp(x) - t)",
    "g w exp(x)",
    Example("[0.0, 0.0], [1.0, 3.0]", "1.0", "array([ 0., -1.])", "array([0.5, 0.5])"),
    {"full": True},
    peers="torch.nn.functional.poisson_nll_loss sklearn._loss.HalfPoissonLoss",
    inputs=("log-means", "amounts"),
    near=", with `full` 2; in units of the larger term where terms cancel",
    full=(
        "Whether to add Stirling's approximation of log(t!) for t above 1,\n"
        "    t log(t) - t + log(2 pi t) / 2."
    ),
)
def _poisson_nll_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    full: bool = False,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Negative log-likelihood of counts under a Poisson distribution of mean exp(x).

    .. math:: \ell = w (e^x - t x)

    As PyTorch's ``poisson_nll_loss`` with its ``log_input=True``, and scikit-learn's
    ``HalfPoissonLoss``. `half_tweedie_loss` of power 1 is half the deviance, which is 0 at
    x = log(t).
    """
    name = "poisson_nll_loss_full" if full else "poisson_nll_loss"
    return weighted_loss(name, (), direction, grad, input, target, weight, **options)


(
    poisson_nll_loss,
    poisson_nll_loss_backward,
    poisson_nll_loss_value_and_grad,
    poisson_nll_loss_grad_and_hess,
    poisson_nll_loss_value_grad_and_hess,
) = _poisson_nll_loss


@family(
    weighted_loss,
    "w (t / m - 1 - log(t / m)), m = exp(x)",
    "g w (1 - t / m)",
    "g w t / m",
    Example(
        "[0.0, 0.0], [1.0, 4.0]", "0.8068528194400547", "array([ 0. , -1.5])", "array([0.5, 2. ])"
    ),
    inputs=("log-means", "amounts"),
    near=", near 0 in units of the gradient",
)
def _half_gamma_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Half the deviance of a gamma distribution of mean exp(x): 0 at x = log(t).

    .. math:: \ell = w (t e^{-x} - 1 - \log(t e^{-x}))

    The mean of twice that is scikit-learn's ``mean_gamma_deviance`` of t and exp(x). Its
    ``HalfGammaLoss`` leaves out what does not depend on x. Targets are above 0.
    """
    return weighted_loss("half_gamma_loss", (), direction, grad, input, target, weight, **options)


(
    half_gamma_loss,
    half_gamma_loss_backward,
    half_gamma_loss_value_and_grad,
    half_gamma_loss_grad_and_hess,
    half_gamma_loss_value_grad_and_hess,
) = _half_gamma_loss


@family(
    weighted_loss,
    "w (t^(2-p) / ((1-p) (2-p)) - t m^(1-p) / (1-p) + m^(2-p) / (2-p)), m = exp(x)",
    "g w (m^(2-p) - t m^(1-p))",
    "g w ((2-p) m^(2-p) - (1-p) t m^(1-p))",
    Example(
        "[0.0, 0.0], [1.0, 4.0], power=0",
        "2.25",
        "array([ 0. , -1.5])",
        "array([ 0.5, -1. ])",
    ),
    {"power": 1},
    {"power": 1.2},
    {"power": 2},
    {"power": 3},
    inputs=("log-means", "amounts"),
    near=(
        ", near 0 in units of the gradient; of powers below 1 and above 2 in\n"
        "    units of the larger term"
    ),
    power="The power p of the mean that the variance is proportional to.",
)
def _half_tweedie_loss(
    direction: int,
    grad: Any,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    power: float = 1.5,
    **options: Any,
) -> tuple[Any, ...]:
    r"""
    Half the deviance of a Tweedie distribution of mean exp(x): 0 at x = log(t).

    .. math::
        \ell = w \Big(\frac{t^{2-p}}{(1-p)(2-p)} - \frac{t e^{(1-p)x}}{1-p}
        + \frac{e^{(2-p)x}}{2-p}\Big)

    Power 0 is half the squared error, 1 the Poisson, 2 the gamma and 3 the inverse Gaussian
    deviance, and between them nothing jumps. The mean of twice that is scikit-learn's
    ``mean_tweedie_deviance`` of t and exp(x). Its ``HalfTweedieLoss`` leaves out what does not
    depend on x. Targets are at least 0, and above 0 from power 2 on.
    """
    number, name = check.finite(power, "power"), "half_tweedie_loss"
    return weighted_loss(name, (number,), direction, grad, input, target, weight, **options)


(
    half_tweedie_loss,
    half_tweedie_loss_backward,
    half_tweedie_loss_value_and_grad,
    half_tweedie_loss_grad_and_hess,
    half_tweedie_loss_value_grad_and_hess,
) = _half_tweedie_loss
