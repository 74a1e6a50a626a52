"""The one table of operations. Tests, benchmarks and the README iterate it.

The rows of elementwise operations and of losses of rows stand with their functions, the others
below. It says what an operation is, not how accurate it is: error bounds stand in C beside the
code and are read from there.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from ._core.directions import SUFFIXES

__all__ = ["COMMON", "DOMAINS", "KINDS", "OPS", "Kind", "Op"]

Function = TypeVar("Function", bound=Callable[..., Any])

Kind = Literal[
    "elementwise", "sloped", "softmax", "loss_rows", "loss_elementwise", "distribution", "norm"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

# What every function takes besides its own parameters.
COMMON: Mapping[str, Any] = MappingProxyType({"num_threads": None})

# What an input may hold, beyond arrays of a supported dtype.
DOMAINS: Mapping[str, str] = MappingProxyType(
    {
        "real": "any number",
        "slopes": "one number, or one for each channel along axis",
        "probabilities": "numbers in [0, 1]",
        "logits": "any numbers, classes along one axis",
        "labels": "an integer in [0, C) for each row, or ignore_index",
        "binary targets": "any number, usually in [0, 1]",
        "binary labels": "0 or 1",
        "log-probabilities": "numbers, usually at most 0, classes along one axis",
        "distribution": "numbers that are at least 0, along one axis; they need not sum to 1",
        "log-means": "logarithms of what is expected",
        "amounts": "numbers above 0, of some functions 0 as well",
    }
)


@dataclass(frozen=True)
class Op:
    """An operation: the functions that compute it, and what they compute."""

    name: str
    kind: Kind
    inputs: tuple[str, ...]  # keys of DOMAINS, in the order of the arguments
    formula: str
    gradient: str  # with respect to the first input, for an incoming gradient g; "": no backward
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the forward, with defaults
    # of the backward, where they are others
    backward_parameters: Mapping[str, Any] | None = None
    # Values of parameters to test besides the defaults.
    variants: tuple[Mapping[str, Any], ...] = ()
    peers: tuple[str, ...] = ()
    hessian: str = ""  # its diagonal, for an incoming gradient g; "": there are no functions for it

    @property
    def is_loss(self) -> bool:
        return self.kind in ("loss_rows", "loss_elementwise", "norm")

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the public functions, by what they give: the fused ones are of losses, and of
        what has a Hessian."""
        given = (True, self.gradient, self.is_loss, self.hessian, self.hessian)
        return tuple(self.name + suffix for suffix, has in zip(SUFFIXES, given, strict=True) if has)


def _registered(
    function: Function,
    kind: Kind,
    inputs: tuple[str, ...],
    formula: str,
    gradient: str,
    variants: tuple[Mapping[str, Any], ...],
    peers: str,
    hessian: str = "",
) -> Function:
    """Make a function a row of the table, after those of its kind and of the kinds before it."""
    options = [*inspect.signature(function).parameters.values()][len(inputs) :]
    parameters = {p.name: p.default for p in options if p.name not in COMMON}
    row = Op(
        function.__name__,
        kind,
        inputs,
        formula,
        gradient,
        parameters,
        variants=variants,
        peers=tuple(peers.split()),
        hessian=hessian,
    )
    before = KINDS[: KINDS.index(kind) + 1]
    OPS.insert(max((k + 1 for k, op in enumerate(OPS) if op.kind in before), default=0), row)
    return function


def elementwise(
    formula: str,
    gradient: str,
    *variants: Mapping[str, Any],
    peers: str = "",
    inputs: tuple[str, ...] = ("real",),
    hessian: str = "",
) -> Callable[[Function], Function]:
    """A decorator that makes a function a row of the table: an op of one input.

    Its parameters are those of its signature; variants are what they may be besides the defaults.
    """

    def register(function: Function) -> Function:
        return _registered(
            function, "elementwise", inputs, formula, gradient, variants, peers, hessian
        )

    return register


def row_loss(
    formula: str,
    gradient: str,
    *variants: Mapping[str, Any],
    peers: str = "",
    inputs: tuple[str, ...] = ("logits", "labels"),
    hessian: str = "",
) -> Callable[[Function], Function]:
    """The same for a loss of rows."""

    def register(function: Function) -> Function:
        return _registered(
            function, "loss_rows", inputs, formula, gradient, variants, peers, hessian
        )

    return register


def element_loss(
    formula: str,
    gradient: str,
    hessian: str,
    *variants: Mapping[str, Any],
    peers: str = "",
    inputs: tuple[str, ...] = ("real", "real"),
) -> Callable[[Function], Function]:
    """The same for a loss of elements."""

    def register(function: Function) -> Function:
        kind: Kind = "loss_elementwise"
        return _registered(function, kind, inputs, formula, gradient, variants, peers, hessian)

    return register


def _distributions(name: str, formula: str, gradient: str, peers: str) -> Op:
    """A measure of one distribution or of two, along an axis."""
    single = "q" not in formula
    parameters = {"axis": -1, "base": None}
    return Op(
        name,
        "distribution",
        ("distribution",) * (1 if single else 2),
        f"({formula}) / log(base)",
        f"({gradient}) / log(base)",
        {**parameters, "out": None},
        backward_parameters={**parameters, "out": None} if single else parameters,
        variants=({"base": 2}, {"base": 10}),
        peers=tuple(peers.split()),
    )


OPS: list[Op] = [
    Op(
        name="prelu",
        kind="sloped",
        inputs=("real", "slopes"),
        formula="x where x > 0, else w x",
        gradient="g where x > 0, else g w; for w: the sum of g x where x < 0",
        parameters={"axis": 1, "out": None},
        peers=("torch.nn.functional.prelu",),
    ),
    Op(
        name="rrelu",
        kind="sloped",
        inputs=("real",),
        formula="x where x > 0, else r x, r drawn from [lower, upper) in training, else their mean",
        gradient="g where x > 0, else g r",
        parameters={
            "lower": 1 / 8,
            "upper": 1 / 3,
            "training": False,
            "rng": None,
            "return_slopes": False,
            "out": None,
        },
        backward_parameters={
            "lower": 1 / 8,
            "upper": 1 / 3,
            "training": False,
            "slopes": None,
            "out": None,
        },
        peers=("torch.nn.functional.rrelu",),
    ),
    Op(
        name="logsumexp",
        kind="softmax",
        inputs=("logits",),
        formula="log(sum_c b_c exp(x_c))",
        gradient="g b exp(x - logsumexp(x))",
        parameters={"axis": -1, "b": None, "keepdims": False, "where": None, "out": None},
        peers=("torch.logsumexp", "jax.nn.logsumexp", "scipy.special.logsumexp"),
    ),
    Op(
        name="softmax",
        kind="softmax",
        inputs=("logits",),
        formula="p = exp(x - logsumexp(x))",
        gradient="p (g - sum_c p_c g_c)",
        parameters={"axis": -1, "where": None, "out": None},
        peers=("torch.softmax", "jax.nn.softmax", "scipy.special.softmax"),
    ),
    Op(
        name="log_softmax",
        kind="softmax",
        inputs=("logits",),
        formula="x - logsumexp(x)",
        gradient="g - softmax(x) sum_c g_c",
        parameters={"axis": -1, "where": None, "out": None},
        peers=("torch.log_softmax", "jax.nn.log_softmax", "scipy.special.log_softmax"),
    ),
    Op(
        name="softmin",
        kind="softmax",
        inputs=("logits",),
        formula="p = softmax(-x)",
        gradient="-p (g - sum_c p_c g_c)",
        parameters={"axis": -1, "out": None},
        peers=("torch.nn.functional.softmin",),
    ),
    Op(
        name="softmax_jacobian",
        kind="softmax",
        inputs=("logits",),
        formula="p_i (delta_ij - p_j), p = softmax(x)",
        gradient="",
        parameters={"axis": -1, "out": None},
        peers=("torch.func.jacrev", "jax.jacrev"),
    ),
    Op(
        name="binary_cross_entropy_with_logits",
        kind="loss_elementwise",
        inputs=("logits", "binary targets"),
        formula="w (pos_weight t softplus(-x) + (1 - t) softplus(x))",
        gradient="g w ((1 - t) sigmoid(x) - pos_weight t sigmoid(-x))",
        parameters={
            "weight": None,
            "pos_weight": None,
            "reduction": "mean",
            "out": None,
            "sample_weight": None,
        },
        peers=(
            "torch.nn.functional.binary_cross_entropy_with_logits",
            "optax.sigmoid_binary_cross_entropy",
            "sklearn._loss.HalfBinomialLoss",
        ),
        hessian="g w (1 - t + pos_weight t) sigmoid(x) sigmoid(-x)",
    ),
    Op(
        name="binary_cross_entropy",
        kind="loss_elementwise",
        inputs=("probabilities", "probabilities"),
        formula="-w (t max(log(p), log_floor) + (1 - t) max(log(1 - p), log_floor))",
        gradient="g w (p - t) / (p (1 - p))",
        parameters={
            "weight": None,
            "reduction": "mean",
            "log_floor": -100.0,
            "out": None,
            "sample_weight": None,
        },
        variants=({"log_floor": None}, {"log_floor": -3.0}),
        peers=("torch.nn.functional.binary_cross_entropy",),
    ),
    Op(
        name="mse_loss",
        kind="loss_elementwise",
        inputs=("real", "real"),
        formula="w (x - t)^2",
        gradient="2 g w (x - t)",
        parameters={
            "weight": None,
            "axis": None,
            "reduction": "mean",
            "out": None,
            "sample_weight": None,
        },
        peers=("torch.nn.functional.mse_loss", "optax.squared_error"),
        hessian="2 g w",
    ),
    Op(
        name="kl_div",
        kind="loss_elementwise",
        inputs=("log-probabilities", "probabilities"),
        formula="t (log(t) - x), or exp(t) (t - x) with log_target",
        gradient="-g t, or -g exp(t) with log_target",
        parameters={"axis": None, "reduction": "mean", "log_target": False, "out": None},
        variants=({"log_target": True},),
        peers=("torch.nn.functional.kl_div", "optax.kl_divergence"),
    ),
    Op(
        name="l2_norm",
        kind="norm",
        inputs=("real",),
        formula="sqrt(sum x^2)",
        gradient="g x / sqrt(sum x^2), 0 for the vector 0",
        parameters={"axis": None, "keepdims": False, "out": None},
        peers=("torch.linalg.vector_norm", "numpy.linalg.norm", "scipy.linalg.norm"),
    ),
    _distributions("entropy", "-sum p log(p)", "-g (log(p) + 1)", "scipy.stats.entropy"),
    _distributions(
        "cross_entropy_of_distributions", "-sum p log(q)", "-g log(q); for q: -g p / q", ""
    ),
    _distributions(
        "relative_entropy",
        "sum p log(p / q)",
        "g (log(p / q) + 1); for q: -g p / q",
        "scipy.stats.entropy",
    ),
]
