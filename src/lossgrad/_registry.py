"""The one table of operations. Tests, benchmarks and the README iterate it.

It says what an operation is, not how accurate it is: error bounds stand in C beside the code and
are read from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["elementwise", "softmax", "loss_rows", "loss_elementwise"]

# What an input may hold, beyond arrays of a supported dtype.
DOMAINS: Mapping[str, str] = MappingProxyType(
    {
        "real": "any number",
        "logits": "any numbers, classes along one axis",
        "labels": "an integer in [0, C) for each row, or ignore_index",
        "binary targets": "any number, usually in [0, 1]",
    }
)


@dataclass(frozen=True)
class Op:
    """An operation: the functions that compute it, and what they compute."""

    name: str
    kind: Kind
    inputs: tuple[str, ...]  # keys of DOMAINS, in the order of the arguments
    formula: str
    gradient: str  # with respect to the first input, for an incoming gradient g
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the forward, with defaults
    peers: tuple[str, ...] = ()

    @property
    def is_loss(self) -> bool:
        return self.kind in ("loss_rows", "loss_elementwise")

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the public functions: forward, backward, and the fused one of a loss."""
        fused = (f"{self.name}_value_and_grad",) if self.is_loss else ()
        return (self.name, f"{self.name}_backward", *fused)


OPS: tuple[Op, ...] = (
    Op(
        name="sigmoid",
        kind="elementwise",
        inputs=("real",),
        formula="1 / (1 + exp(-x))",
        gradient="g sigmoid(x) sigmoid(-x)",
        parameters={"out": None},
        peers=("torch.sigmoid", "jax.nn.sigmoid", "scipy.special.expit"),
    ),
    Op(
        name="logsumexp",
        kind="softmax",
        inputs=("logits",),
        formula="log(sum_c exp(x_c))",
        gradient="g softmax(x)",
        parameters={"axis": -1, "keepdims": False, "out": None},
        peers=("torch.logsumexp", "jax.nn.logsumexp", "scipy.special.logsumexp"),
    ),
    Op(
        name="softmax",
        kind="softmax",
        inputs=("logits",),
        formula="p = exp(x - logsumexp(x))",
        gradient="p (g - sum_c p_c g_c)",
        parameters={"axis": -1, "out": None},
        peers=("torch.softmax", "jax.nn.softmax", "scipy.special.softmax"),
    ),
    Op(
        name="log_softmax",
        kind="softmax",
        inputs=("logits",),
        formula="x - logsumexp(x)",
        gradient="g - softmax(x) sum_c g_c",
        parameters={"axis": -1, "out": None},
        peers=("torch.log_softmax", "jax.nn.log_softmax", "scipy.special.log_softmax"),
    ),
    Op(
        name="cross_entropy",
        kind="loss_rows",
        inputs=("logits", "labels"),
        formula="w_y (logsumexp(x) - x_y)",
        gradient="g w_y (softmax(x) - onehot(y))",
        parameters={
            "weight": None,
            "ignore_index": -100,
            "reduction": "mean",
            "label_smoothing": 0.0,
            "axis": -1,
            "out": None,
            "lse": None,
        },
        peers=(
            "torch.nn.functional.cross_entropy",
            "optax.softmax_cross_entropy_with_integer_labels",
            "sklearn._loss.HalfMultinomialLoss",
        ),
    ),
    Op(
        name="binary_cross_entropy_with_logits",
        kind="loss_elementwise",
        inputs=("logits", "binary targets"),
        formula="w (pos_weight t softplus(-x) + (1 - t) softplus(x))",
        gradient="g w ((1 - t) sigmoid(x) - pos_weight t sigmoid(-x))",
        parameters={"weight": None, "pos_weight": None, "reduction": "mean", "out": None},
        peers=(
            "torch.nn.functional.binary_cross_entropy_with_logits",
            "optax.sigmoid_binary_cross_entropy",
            "sklearn._loss.HalfBinomialLoss",
        ),
    ),
)
