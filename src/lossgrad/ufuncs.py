"""NumPy ufuncs over the same kernels: they broadcast, take ``where=``, ``out=`` and ``dtype=``, and
pandas, xarray, dask and polars keep their own containers around them.

Parameters (a slope, alpha, beta, pos_weight) are operands like the others: with an array of slopes
`leaky_relu` is PReLU. The type of the result is that of the inputs, and a gradient takes it on.
Functions of classes are generalised ufuncs, with NumPy's ``axis=``, ``axes=`` and ``keepdims=``;
losses are those of ``reduction="none"``. Results are to the bit those of the functions of the name.

>>> import numpy as np
>>> from lossgrad import ufuncs
>>> ufuncs.leaky_relu([-1.0, -1.0, 2.0], [0.1, 0.2, 0.3])
array([-0.1, -0.2,  2. ])
>>> ufuncs.softmax(np.zeros((4, 2)), axis=0)[0]
array([0.25, 0.25])
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ufunc

from . import distributions, focal_losses, losses, softmax_family
from ._core.backend import kernels
from ._core.environment import arithmetic

if kernels is None:
    raise ImportError(
        "lossgrad.ufuncs needs the compiled kernels: "
        "install without LOSSGRAD_PURE=1, run without LOSSGRAD_BACKEND=numpy"
    )


def _doc(name: str) -> str:
    return f"As `lossgrad.{name}`, with operands that broadcast."


def _pair(name: str, leads: int = 1) -> tuple[ufunc, ufunc]:
    """An op of the table in C, forward and backward, of the type that `leads` inputs promote to."""
    back, of = f"{name}_backward", kernels.OPS[name]
    return (
        kernels.element_ufunc(name, _doc(name), of, kernels.FORWARD, leads),
        kernels.element_ufunc(back, _doc(back), of, kernels.BACKWARD, leads),
    )


def _rows(name: str, forward: str, backward: str) -> tuple[ufunc, ufunc]:
    """The same of an op of rows."""
    back, of = f"{name}_backward", kernels.ROW_OPS[name]
    return (
        kernels.row_ufunc(name, _doc(name), forward, of, kernels.FORWARD),
        kernels.row_ufunc(back, _doc(back), backward, of, kernels.BACKWARD),
    )


def _of(function: Callable[..., Any], signature: str, leads: int = 1, **options: Any) -> ufunc:
    """A function of values that it checks, or of classes along the last axis."""
    name = function.__name__
    nin, nout = (side.count("(") for side in signature.split("->"))

    def run(*operands: Any) -> None:
        found = function(*operands[:nin], **options)
        for to, result in zip(operands[nin:], found if nout > 1 else (found,), strict=True):
            to[...] = result

    classes, gradient = signature if "c" in signature else "", name.endswith("_backward")
    return kernels.function_ufunc(name, _doc(name), classes, nin, nout, leads, gradient, run)


@functools.cache
def in_base(name: str, base: float | None) -> ufunc:
    """A function of probabilities, in nats or other units: NaN where one is not in [0, 1].

    Where a container misses a value there may be any number, which is nobody's mistake.
    """
    function = getattr(distributions, name)

    @functools.wraps(function)
    @arithmetic()
    def run(*operands: Any) -> Any:
        *grad, p = operands
        good = (p >= 0) & (p <= 1)
        found = function(*grad, np.where(good, p, p.dtype.type(1)), base)
        return np.where(good, found, p.dtype.type(np.nan))

    return _of(run, "(),()->()" if name.endswith("_backward") else "()->()")


celu, celu_backward = _pair("celu")
elu, elu_backward = _pair("elu")
gelu, gelu_backward = _pair("gelu")
gelu_tanh, gelu_tanh_backward = _pair("gelu_tanh")
hardsigmoid, hardsigmoid_backward = _pair("hardsigmoid")
hardswish, hardswish_backward = _pair("hardswish")
leaky_relu, leaky_relu_backward = _pair("leaky_relu")
log_sigmoid, log_sigmoid_backward = _pair("log_sigmoid")
mish, mish_backward = _pair("mish")
prelu, prelu_backward = _pair("prelu")
relu, relu_backward = _pair("relu")
selu, selu_backward = _pair("selu")
sigmoid, sigmoid_backward = _pair("sigmoid")
silu, silu_backward = _pair("silu")
softplus, softplus_backward = _pair("softplus")
softsign, softsign_backward = _pair("softsign")
tanh, tanh_backward = _pair("tanh")

binary_cross_entropy_with_logits, binary_cross_entropy_with_logits_backward = _pair(
    "binary_cross_entropy_with_logits"
)
kl_div, kl_div_backward = _pair("kl_div", 2)
kl_div_log_target, kl_div_log_target_backward = _pair("kl_div_log_target", 2)
mse_loss, mse_loss_backward = _pair("mse_loss", 2)

half_gamma_loss, half_gamma_loss_backward = _pair("half_gamma_loss", 2)
half_tweedie_loss, half_tweedie_loss_backward = _pair("half_tweedie_loss", 2)
huber_loss, huber_loss_backward = _pair("huber_loss", 2)
l1_loss, l1_loss_backward = _pair("l1_loss", 2)
pinball_loss, pinball_loss_backward = _pair("pinball_loss", 2)
poisson_nll_loss, poisson_nll_loss_backward = _pair("poisson_nll_loss", 2)
poisson_nll_loss_full, poisson_nll_loss_full_backward = _pair("poisson_nll_loss_full", 2)
smooth_l1_loss, smooth_l1_loss_backward = _pair("smooth_l1_loss", 2)

binary_cross_entropy = _of(losses.binary_cross_entropy, "(),()->()", reduction="none")
binary_cross_entropy_backward = _of(
    losses.binary_cross_entropy_backward, "(),(),()->()", reduction="none"
)
sigmoid_focal_loss = _of(focal_losses.sigmoid_focal_loss, "(),()->()", reduction="none")
sigmoid_focal_loss_backward = _of(
    focal_losses.sigmoid_focal_loss_backward, "(),(),()->()", reduction="none"
)
information_content = in_base("information_content", None)
information_content_backward = in_base("information_content_backward", None)

log_softmax, log_softmax_backward = _rows("log_softmax", "(c)->(c)", "(c),(c)->(c)")
logsumexp, logsumexp_backward = _rows("logsumexp", "(c)->()", "(),(c)->(c)")
softmax, softmax_backward = _rows("softmax", "(c)->(c)", "(c),(c)->(c)")
softmin = _of(softmax_family.softmin, "(c)->(c)")
softmin_backward = _of(softmax_family.softmin_backward, "(c),(c)->(c)")

cross_entropy_of_distributions = _of(distributions.cross_entropy_of_distributions, "(c),(c)->()", 2)
cross_entropy_of_distributions_backward = _of(
    distributions.cross_entropy_of_distributions_backward, "(),(c),(c)->(c),(c)", 2
)
entropy = _of(distributions.entropy, "(c)->()")
entropy_backward = _of(distributions.entropy_backward, "(),(c)->(c)")
relative_entropy = _of(distributions.relative_entropy, "(c),(c)->()", 2)
relative_entropy_backward = _of(distributions.relative_entropy_backward, "(),(c),(c)->(c),(c)", 2)

__all__ = sorted(name for name, value in vars().items() if isinstance(value, ufunc))
for _name in __all__:
    with contextlib.suppress(AttributeError):  # without it pickle looks through all modules
        globals()[_name].__module__ = __name__
