from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float32] | NDArray[np.float64]
Labels = NDArray[np.int64]

OPS: dict[str, int]
_C_API: Any

def map(
    op: int,
    x: Reals,
    out: Reals,
    second: Reals | None = None,
    parameters: tuple[float, ...] = (),
    num_threads: int = 1,
) -> None: ...
def map_backward(
    op: int,
    grad: Reals | None,
    x: Reals,
    out: Reals,
    second: Reals | None = None,
    parameters: tuple[float, ...] = (),
    num_threads: int = 1,
) -> None: ...
def map_value_and_grad(
    op: int,
    x: Reals,
    values: Reals,
    grad: Reals,
    second: Reals | None = None,
    parameters: tuple[float, ...] = (),
    num_threads: int = 1,
) -> None: ...
def sigmoid(x: Reals, out: Reals, num_threads: int = 1) -> None: ...
def sigmoid_backward(grad: Reals | None, x: Reals, out: Reals, num_threads: int = 1) -> None: ...
def bce_with_logits(logits: Reals, targets: Reals, losses: Reals, num_threads: int = 1) -> None: ...
def bce_with_logits_backward(
    grad: Reals | None, logits: Reals, targets: Reals, out: Reals, num_threads: int = 1
) -> None: ...
def bce_with_logits_value_and_grad(
    logits: Reals, targets: Reals, losses: Reals, grad: Reals, num_threads: int = 1
) -> None: ...
def softmax(logits: Reals, out: Reals, num_threads: int = 1) -> None: ...
def softmax_backward(grad: Reals, logits: Reals, out: Reals, num_threads: int = 1) -> None: ...
def logsumexp(logits: Reals, out: Reals, num_threads: int = 1) -> None: ...
def logsumexp_backward(
    grad: Reals | None, logits: Reals, out: Reals, num_threads: int = 1
) -> None: ...
def cross_entropy(
    logits: Reals, labels: Labels, losses: Reals, ignore_index: int = -100, num_threads: int = 1
) -> None: ...
def cross_entropy_backward(
    grad: Reals | None,
    logits: Reals,
    labels: Labels,
    out: Reals,
    scale: float = 1,
    ignore_index: int = -100,
    num_threads: int = 1,
) -> None: ...
def cross_entropy_value_and_grad(
    logits: Reals,
    labels: Labels,
    losses: Reals,
    grad: Reals,
    scale: float = 1,
    ignore_index: int = -100,
    num_threads: int = 1,
) -> None: ...
