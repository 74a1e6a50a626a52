"""Calls whose exact result is known, and what each library makes of them in float32."""

from dataclasses import dataclass
from math import exp, inf, log1p
from typing import Any

import numpy as np

from lossgrad.registry import OPS

from . import peers
from .cases import Case


@dataclass(frozen=True)
class Probe(Case):
    """A case with inputs of its own; the first number of the value or gradient counts."""

    text: str = ""
    given: tuple[Any, ...] = ()
    exact: float = 0.0

    @property
    def inputs(self) -> list[np.ndarray]:
        arrays = [np.asarray(value) for value in self.given]
        return [a.astype("f4") if a.dtype.kind == "f" else a for a in arrays]

    def number(self, results: Any) -> float:
        result = results[1] if self.is_fused else results
        result = result.detach() if hasattr(result, "detach") else result
        return float(np.ravel(np.asarray(result))[0])


def probe(text: str, function: str, given: tuple[Any, ...], exact: float) -> Probe:
    op = next(op for op in OPS if function in op.functions)
    return Probe(op, function, "float32", np.shape(given[0]), text=text, given=given, exact=exact)


ROW = ([[0.0, -20.0]], [0])
BCE = "binary_cross_entropy_with_logits"
PROBES = (
    probe("sigmoid(-100)", "sigmoid", ([-100.0],), exp(-100)),
    probe("cross entropy of [0, -20], label 0", "cross_entropy", ROW, log1p(exp(-20))),
    probe("its gradient", "cross_entropy_value_and_grad", ROW, -exp(-20) / (1 + exp(-20))),
    probe("BCE with logit 20, target 1", BCE, ([20.0], [1.0]), log1p(exp(-20))),
    probe("its gradient", f"{BCE}_value_and_grad", ([20.0], [1.0]), -exp(-20) / (1 + exp(-20))),
    probe("BCE with logit inf, target 1", BCE, ([inf], [1.0]), 0.0),
)
LIBRARIES = ("torch", "jax", "scipy", "sklearn")


def ours(case: Probe) -> str:
    function, arguments = case.call()
    return f"{case.number(function(*arguments)):.3g}"


def record() -> list[dict[str, str]]:
    """What every installed peer answers, a row for each probe."""
    rows = []
    for case in PROBES:
        row = {}
        for library in LIBRARIES:
            peer = Probe(**{**vars(case), "library": library, "published": True})
            if library in peers.peers(case.op) and peers.provides(peer):
                row[library] = f"{case.number(peers.step(peer)()):.3g}"
        rows.append(row)
    return rows
