"""Activations. How they are called is in ``_elementwise``; the mathematics is in csrc/ and, in
plain NumPy, in ``reference``."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.backend import kernels
from ._core.directions import GRAD_AND_HESS, VALUE_GRAD_AND_HESS
from ._core.environment import arithmetic
from ._elementwise import OPS, backward, by_ufunc, cross, documented, forward, fused, mapped
from ._families import Example, made
from .registry import elementwise

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


@elementwise(
    "1 / (1 + exp(-x))",
    "g sigmoid(x) sigmoid(-x)",
    peers="torch.sigmoid jax.nn.sigmoid scipy.special.expit",
)
@documented
def sigmoid(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Logistic sigmoid.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.sigmoid([-1000.0, 0.0, 2.0])
    array([0.        , 0.5       , 0.88079708])
    """
    return forward("sigmoid", x, out, num_threads)


@documented
def sigmoid_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `sigmoid`: ``grad * sigmoid(x) * sigmoid(-x)``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.sigmoid_backward([1.0, 2.0], [0.0, 0.0])
    array([0.25, 0.5 ])
    """
    return backward("sigmoid", grad, x, out, num_threads)


@elementwise(
    "-log(1 + exp(-x))",
    "g sigmoid(-x)",
    peers="torch.nn.functional.logsigmoid jax.nn.log_sigmoid scipy.special.log_expit",
)
@documented
def log_sigmoid(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Logarithm of the logistic sigmoid.

    .. math:: \log \sigma(x) = \min(x, 0) - \log(1 + e^{-|x|})

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.log_sigmoid([-1000.0, 0.0, 20.0])
    array([-1.00000000e+03, -6.93147181e-01, -2.06115362e-09])
    """
    return forward("log_sigmoid", x, out, num_threads)


@documented
def log_sigmoid_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `log_sigmoid`: ``grad * sigmoid(-x)``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.log_sigmoid_backward([1.0, 1.0], [0.0, -1000.0])
    array([0.5, 1. ])
    """
    return backward("log_sigmoid", grad, x, out, num_threads)


@elementwise(
    "(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
    "g (1 - tanh(x)^2)",
    peers="torch.tanh jax.nn.tanh numpy.tanh",
)
@documented
def tanh(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Hyperbolic tangent.

    .. math:: \tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.tanh([-1000.0, 0.0, 1.0])
    array([-1.        ,  0.        ,  0.76159416])
    """
    return forward("tanh", x, out, num_threads)


@documented
def tanh_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `tanh`: ``grad * (1 - tanh(x)**2)``, without the cancellation.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.tanh_backward([1.0, 1.0], [0.0, 20.0])
    array([1.0000000e+00, 1.6993417e-17])
    """
    return backward("tanh", grad, x, out, num_threads)


@elementwise(
    "max(x, 0)",
    "g where x > 0, else 0",
    peers="torch.nn.functional.relu jax.nn.relu",
)
@documented
def relu(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Rectified linear unit.

    .. math:: \max(x, 0)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    return forward("relu", x, out, num_threads)


@documented
def relu_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `relu`: ``grad`` where x > 0, else 0.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.relu_backward([3.0, 3.0], [-1.0, 2.0])
    array([0., 3.])
    """
    return backward("relu", grad, x, out, num_threads)


@elementwise(
    "x where x > 0, else negative_slope x",
    "g where x > 0, else g negative_slope",
    {"negative_slope": 0.0},
    {"negative_slope": -0.3},
    {"negative_slope": 2.5},
    peers="torch.nn.functional.leaky_relu jax.nn.leaky_relu",
)
@documented
def leaky_relu(
    x: ArrayLike,
    negative_slope: float = 0.01,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Leaky rectified linear unit: x above 0, ``negative_slope * x`` below.

    .. math:: \max(x, 0) + s \min(x, 0)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.leaky_relu([-1.0, 0.0, 2.0], 0.1)
    array([-0.1,  0. ,  2. ])
    """
    return forward("leaky_relu", x, out, num_threads, float(negative_slope))


@documented
def leaky_relu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    negative_slope: float = 0.01,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """
    Gradient through `leaky_relu`: ``grad`` where x > 0, else ``negative_slope * grad``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.leaky_relu_backward([3.0, 3.0], [-1.0, 2.0], 0.1)
    array([0.3, 3. ])
    """
    return backward("leaky_relu", grad, x, out, num_threads, float(negative_slope))


@elementwise(
    "x where x > 0, else alpha (exp(x) - 1)",
    "g where x > 0, else g alpha exp(x)",
    {"alpha": 0.3},
    {"alpha": -1.7},
    peers="torch.nn.functional.elu jax.nn.elu",
)
@documented
def elu(
    x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    r"""
    Exponential linear unit: x above 0.

    .. math:: \max(x, 0) + \alpha (e^{\min(x, 0)} - 1)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.elu([-1000.0, 0.0, 2.0])
    array([-1.,  0.,  2.])
    """
    return forward("elu", x, out, num_threads, float(alpha))


@documented
def elu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    alpha: float = 1.0,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """
    Gradient through `elu`: ``grad`` where x > 0, else ``grad * alpha * exp(x)``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.elu_backward([1.0, 1.0], [0.0, 2.0], 0.5)
    array([0.5, 1. ])
    """
    return backward("elu", grad, x, out, num_threads, float(alpha))


@elementwise(
    "x where x > 0, else alpha (exp(x / alpha) - 1)",
    "g where x > 0, else g exp(x / alpha)",
    {"alpha": 0.3},
    {"alpha": 7.0},
    peers="torch.nn.functional.celu jax.nn.celu",
)
@documented
def celu(
    x: ArrayLike, alpha: float = 1.0, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    r"""
    Continuously differentiable exponential linear unit.

    .. math:: \max(x, 0) + \alpha (e^{\min(x, 0) / \alpha} - 1)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.celu([-1000.0, 0.0, 2.0], 0.5)
    array([-0.5,  0. ,  2. ])
    """
    return forward("celu", x, out, num_threads, check.positive(alpha, "alpha", x))


@documented
def celu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    alpha: float = 1.0,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """
    Gradient through `celu`: ``grad`` where x > 0, else ``grad * exp(x / alpha)``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.celu_backward([1.0, 1.0], [0.0, 2.0], 0.5)
    array([1., 1.])
    """
    return backward("celu", grad, x, out, num_threads, check.positive(alpha, "alpha", x))


@elementwise(
    "1.0507 x where x > 0, else 1.0507 1.6733 (exp(x) - 1)",
    "1.0507 g where x > 0, else 1.0507 1.6733 g exp(x)",
    peers="torch.nn.functional.selu jax.nn.selu",
)
@documented
def selu(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Scaled exponential linear unit, with the constants of Klambauer et al. (2017).

    .. math:: \lambda \big(\max(x, 0) + \alpha (e^{\min(x, 0)} - 1)\big)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.selu([-1000.0, 0.0, 1.0])
    array([-1.75809934,  0.        ,  1.05070099])
    """
    return forward("selu", x, out, num_threads)


@documented
def selu_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `selu`: ``grad * scale`` where x > 0, else ``grad * scale * alpha * exp(x)``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.selu_backward([1.0], [2.0])
    array([1.05070099])
    """
    return backward("selu", grad, x, out, num_threads)


@elementwise(
    "log(1 + exp(beta x)) / beta",
    "g sigmoid(beta x)",
    {"beta": 0.1},
    {"beta": 3.7},
    peers="torch.nn.functional.softplus jax.nn.softplus",
    hessian="g beta sigmoid(beta x) sigmoid(-beta x)",
)
@documented
def softplus(
    x: ArrayLike, beta: float = 1.0, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    r"""
    Softplus, exact for every beta: there is no threshold above which it is linear.

    .. math:: \frac{1}{\beta} \log(1 + e^{\beta x})

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softplus([-1000.0, 0.0, 30.0])
    array([ 0.        ,  0.69314718, 30.        ])
    """
    return forward("softplus", x, out, num_threads, check.positive(beta, "beta", x))


@documented
def softplus_backward(
    grad: ArrayLike,
    x: ArrayLike,
    beta: float = 1.0,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    """
    Gradient through `softplus`: ``grad * sigmoid(beta * x)``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softplus_backward([1.0], [0.0], 2.0)
    array([0.5])
    """
    return backward("softplus", grad, x, out, num_threads, check.positive(beta, "beta", x))


def _softplus(
    direction: int,
    grad: Any,
    x: ArrayLike,
    beta: float = 1.0,
    *,
    out: check.Outs = None,
    num_threads: int | None = None,
) -> tuple[Array, ...]:
    return fused("softplus", direction, x, out, (check.positive(beta, "beta", x),), num_threads)


softplus_grad_and_hess, softplus_value_grad_and_hess = made(
    _softplus,
    "softplus",
    Example("[0.0], 2.0", "array([0.34657359])", "array([0.5])", "array([0.5])"),
    GRAD_AND_HESS,
    VALUE_GRAD_AND_HESS,
)


@elementwise(
    "x tanh(log(1 + exp(x)))",
    "g (t + x (1 - t^2) sigmoid(x)), t = tanh(log(1 + exp(x)))",
    peers="torch.nn.functional.mish jax.nn.mish",
)
@documented
def mish(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Mish (Misra, 2019).

    .. math:: x \tanh(\log(1 + e^x))

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.mish([-1000.0, 0.0, 1.0])
    array([-0.        ,  0.        ,  0.86509839])
    """
    return forward("mish", x, out, num_threads)


@documented
def mish_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `mish`: grad times the derivative of `mish`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.mish_backward([1.0], [0.0])
    array([0.6])
    """
    return backward("mish", grad, x, out, num_threads)


@elementwise(
    "x sigmoid(x)",
    "g sigmoid(x) (1 + x sigmoid(-x))",
    peers="torch.nn.functional.silu jax.nn.silu",
)
@documented
def silu(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Sigmoid-weighted linear unit, also called swish.

    .. math:: x\, \sigma(x)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.silu([-1000.0, 0.0, 1.0])
    array([-0.        ,  0.        ,  0.73105858])
    """
    return forward("silu", x, out, num_threads)


@documented
def silu_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `silu`: ``grad * sigmoid(x) * (1 + x * sigmoid(-x))``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.silu_backward([1.0], [0.0])
    array([0.5])
    """
    return backward("silu", grad, x, out, num_threads)


@elementwise(
    "min(max(x + 3, 0), 6) / 6",
    "g / 6 where -3 < x < 3, else 0",
    peers="torch.nn.functional.hardsigmoid jax.nn.hard_sigmoid",
)
@documented
def hardsigmoid(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Piecewise linear sigmoid.

    .. math:: \min(\max(x + 3, 0), 6) / 6

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.hardsigmoid([-4.0, 0.0, 1.5])
    array([0.  , 0.5 , 0.75])
    """
    return forward("hardsigmoid", x, out, num_threads)


@documented
def hardsigmoid_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `hardsigmoid`: ``grad / 6`` where -3 < x < 3, else 0.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.hardsigmoid_backward([6.0, 6.0], [0.0, 3.0])
    array([1., 0.])
    """
    return backward("hardsigmoid", grad, x, out, num_threads)


@elementwise(
    "x min(max(x + 3, 0), 6) / 6",
    "g (x / 3 + 1 / 2) where -3 < x < 3, else 0 below and g above",
    peers="torch.nn.functional.hardswish jax.nn.hard_swish",
)
@documented
def hardswish(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    x times `hardsigmoid`.

    .. math:: x \min(\max(x + 3, 0), 6) / 6

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.hardswish([-4.0, 0.0, 4.0])
    array([0., 0., 4.])
    """
    return forward("hardswish", x, out, num_threads)


@documented
def hardswish_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `hardswish`: ``grad * (2 * x + 3) / 6`` where -3 < x < 3, 0 below
    and ``grad`` above.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.hardswish_backward([6.0, 6.0], [0.0, 3.0])
    array([3., 6.])
    """
    return backward("hardswish", grad, x, out, num_threads)


@elementwise(
    "x / (1 + |x|)",
    "g / (1 + |x|)^2",
    peers="torch.nn.functional.softsign jax.nn.soft_sign",
)
@documented
def softsign(x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None) -> Array:
    r"""
    Softsign.

    .. math:: \frac{x}{1 + |x|}

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softsign([-1.0, 0.0, 3.0])
    array([-0.5 ,  0.  ,  0.75])
    """
    return forward("softsign", x, out, num_threads)


@documented
def softsign_backward(
    grad: ArrayLike, x: ArrayLike, *, out: Array | None = None, num_threads: int | None = None
) -> Array:
    """
    Gradient through `softsign`: ``grad / (1 + abs(x))**2``.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.softsign_backward([1.0, 1.0], [0.0, 1.0])
    array([1.  , 0.25])
    """
    return backward("softsign", grad, x, out, num_threads)


def _gelu(approximate: str) -> str:
    return "gelu" if check.gelu_form(approximate) == "none" else "gelu_tanh"


@elementwise(
    "x Phi(x); with tanh: x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))",
    "g (Phi(x) + x phi(x)), or the slope of the approximation",
    {"approximate": "tanh"},
    peers="torch.nn.functional.gelu jax.nn.gelu",
)
@documented
def gelu(
    x: ArrayLike,
    approximate: Literal["none", "tanh"] = "none",
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gaussian error linear unit; with "tanh" the approximation
    :math:`x\, \sigma\big(2 \sqrt{2 / \pi} (x + 0.044715 x^3)\big)`.

    .. math:: x\, \Phi(x) = \frac{x}{2} \operatorname{erfc}(-x / \sqrt{2})

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.gelu([-1000.0, 0.0, 1.0])
    array([-0.        ,  0.        ,  0.84134475])
    """
    return forward(_gelu(approximate), x, out, num_threads)


@documented
def gelu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    approximate: Literal["none", "tanh"] = "none",
    *,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Gradient through `gelu`: grad times :math:`\Phi(x) + x \varphi(x)`.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.gelu_backward([1.0], [0.0])
    array([0.5])
    """
    return backward(_gelu(approximate), grad, x, out, num_threads)


@documented
def prelu(
    x: ArrayLike,
    weight: ArrayLike,
    *,
    axis: int = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array:
    r"""
    Parametric rectified linear unit: x above 0, ``weight * x`` below.

    .. math:: \max(x, 0) + w \min(x, 0)

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.prelu([[-1.0, -1.0], [2.0, 2.0]], [0.1, 0.2])
    array([[-0.1, -0.2],
           [ 2. ,  2. ]])
    """
    if check.is_container(x):
        slopes, _ = check.channel_weight(weight, np.broadcast_to(0.0, np.shape(x)), axis)
        return by_ufunc("prelu", (x, slopes), out, num_threads)
    x = check.floating(x)
    w, axis = check.channel_weight(weight, x, axis)
    result = check.output(out, x.shape, x.dtype)
    (rows, to), slopes = _matrices(axis, w, x, result)
    cross("prelu", None, rows, slopes, to, (), num_threads)
    return check.finished(result, out)


# Lines of fewer elements of one slope are not worth a start.
_LINE = 256


def _matrices(axis: int, w: Array, *arrays: Array) -> tuple[tuple[Array, ...], Array]:
    """The arrays, and their slopes w: where one slope is for few neighbours, as matrices with an
    outer index a row, whose columns have slopes."""
    inner = math.prod(w.shape[axis + 1 :])
    if not 1 < inner < _LINE or w.size == 0 or not all(a.flags.c_contiguous for a in arrays):
        return arrays, w
    line = np.ascontiguousarray(w[(0,) * axis]).reshape(-1)
    matrix = (w.size // line.size, line.size)
    return tuple(a.reshape(matrix) for a in arrays), np.broadcast_to(line, matrix)


def prelu_backward(
    grad: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    axis: int = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]:
    r"""
    Gradients through `prelu`, for `x` and for `weight`.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x, weight, axis
        As in `prelu`.
    out : ndarray, optional
        Array for the gradient with respect to `x`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    grad_x : ndarray
        ``grad`` where x > 0, else ``weight * grad``.
    grad_weight : ndarray
        Of the shape of `weight` and the dtype of `x`: the sum of ``grad * min(x, 0)`` over all that
        a weight applies to, exact before it is rounded once.

    Raises
    ------
    TypeError, ValueError
        If an operand is not real, or shapes do not match.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.prelu_backward([[1.0, 1.0]], [[-3.0, 2.0]], 0.5)
    (array([[0.5, 1. ]]), np.float64(-3.0))
    """
    x = check.floating(x)
    w, axis = check.channel_weight(weight, x, axis)
    g = check.gradient(grad, x)
    shape = np.shape(weight)
    with arithmetic():
        sums = _weight_sums(g, x, axis, math.prod(shape), num_threads)
        grad_weight = np.array(sums, x.dtype).reshape(shape)
    result = check.output(out, x.shape, x.dtype)
    (g, x, to), slopes = _matrices(axis, w, g, x, result)
    cross("prelu", g, x, slopes, to, (), num_threads)
    return check.finished(result, out), check.finished(grad_weight, None)


def _weight_sums(
    g: Array, x: Array, axis: int, channels: int, num_threads: int | None
) -> list[float]:
    """The exact sums of g min(x, 0) over what each channel's weight applies to."""
    op = OPS["prelu_weight"]
    inner = math.prod(x.shape[axis + 1 :])
    if channels > 1 and inner < _LINE <= 4 * channels * inner:
        matrix = (-1, channels * inner)
        return kernels.column_sums(op, x.reshape(matrix), g.reshape(matrix), inner, num_threads)
    wide = g.astype(check.computed(x.dtype), copy=False)
    parts: list[Any] = (
        [(slice(None),) * axis + (slice(k, k + 1),) for k in range(channels)]
        if channels != 1
        else [...]
    )
    return [
        kernels.elementwise(op, kernels.FORWARD, x[part], wide[part], num_threads=num_threads)
        for part in parts
    ]


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
    r"""
    Randomized leaky rectified linear unit: x above 0, ``slope * x`` below.

    In training each element's slope is drawn uniformly from [lower, upper); in evaluation it is
    ``(lower + upper) / 2``.

    .. math:: \max(x, 0) + s \min(x, 0)

    Parameters
    ----------
    x : array_like
        Real numbers of any shape.
    lower, upper : float
        Range of the slopes.
    training : bool, default False
        Whether to draw.
    rng : numpy.random.Generator or seed, optional
        Where the slopes are drawn from (``numpy.random.default_rng(rng)``).
    return_slopes : bool, default False
        Return the slopes as well; `rrelu_backward` takes them.
    out : ndarray, optional
        Array of the result's shape and dtype to write to; may be `x` itself.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    result : ndarray
        Of the shape and dtype of `x`, within 1 ULP of slope times x.
    slopes : ndarray
        Only with `return_slopes`: the factor that was applied to each element, 1 above 0.

    Raises
    ------
    TypeError
        If `x` is not real.
    ValueError
        If lower is larger than upper, or either is not finite.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.rrelu([-8.0, 1.0], 0.25, 0.5)
    array([-3.,  1.])
    >>> y, slopes = lossgrad.rrelu([-1.0, 1.0], training=True, rng=0, return_slopes=True)
    >>> bool(y[0] == -slopes[0]), float(slopes[1])
    (True, 1.0)
    """
    lower, upper = check.slope_range(lower, upper)
    if not (training or return_slopes):
        return forward("leaky_relu", x, out, num_threads, (lower + upper) / 2)
    x = check.floating(x)
    drawn = np.random.default_rng(rng).random(x.shape) if training else 0.5
    with arithmetic():
        slopes = np.where(x > 0, 1.0, lower + (upper - lower) * drawn).astype(x.dtype)
    if training:
        result = mapped("prelu", None, x, slopes, out, (), num_threads)
    else:
        result = forward("leaky_relu", x, out, num_threads, (lower + upper) / 2)
    return (result, slopes) if return_slopes else result


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
    r"""
    Gradient through `rrelu`: ``grad`` where x > 0, else ``slope * grad``.

    Parameters
    ----------
    grad : array_like
        Gradient with respect to the result, of the shape of `x`.
    x, lower, upper, training
        As in `rrelu`.
    slopes : array_like, optional
        What `rrelu` returned in training; required then.
    out : ndarray, optional
        Array to write to; may be `grad` or `x`.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Gradient with respect to `x`, of its shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If an operand is not real, shapes do not match, or `slopes` is missing in training.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.rrelu_backward([1.0, 1.0], [-8.0, 1.0], training=True, slopes=[0.25, 1.0])
    array([0.25, 1.  ])
    """
    lower, upper = check.slope_range(lower, upper)
    if slopes is None and not training:
        return backward("leaky_relu", grad, x, out, num_threads, (lower + upper) / 2)
    x = check.floating(x)
    drawn = check.drawn_slopes(slopes, x)
    return mapped("prelu", check.gradient(grad, x), x, drawn, out, (), num_threads)
