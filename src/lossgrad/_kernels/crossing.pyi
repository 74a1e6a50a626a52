from typing import Any

import numpy as np
from numpy.typing import NDArray

FORWARD: int
BACKWARD: int
VALUE_AND_GRAD: int
LOGSUMEXP: int
SOFTMAX: int
LOG_SOFTMAX: int
SOFTMAX_JACOBIAN: int
LOGSUMEXP_BACKWARD: int
SOFTMAX_BACKWARD: int
LOG_SOFTMAX_BACKWARD: int
CROSS_ENTROPY: int
NLL_LOSS: int

def plain_elementwise(
    op: int,
    direction: int,
    grad: object,
    x: object,
    out: object,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> NDArray[Any] | None: ...
def plain_softmax(
    what: int, grad: object, x: object, axis: int, out: object, num_threads: int | None
) -> NDArray[Any] | None: ...
def plain_logsumexp(x: object, axis: int, num_threads: int | None) -> NDArray[Any] | None: ...
def plain_row_loss(
    what: int,
    upstream: object,
    x: object,
    labels: object,
    ignore_index: int,
    reduction: str,
    smoothing: float,
    axis: int,
    out: object,
    value: bool,
    num_threads: int | None,
) -> tuple[float | None, NDArray[Any] | None] | None: ...
def plain_loss(
    op: int,
    upstream: object,
    x: object,
    targets: object,
    reduction: str,
    out: object,
    value: bool,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> tuple[float | None, NDArray[Any] | None] | None: ...
def run_within(x: NDArray[Any], most: float, num_threads: int | None) -> bool: ...
def plain_norm(
    upstream: object,
    x: object,
    axis: object,
    keepdims: object,
    out: object,
    value: bool,
    num_threads: int | None,
) -> tuple[float | None, NDArray[Any] | None] | None: ...
def elementwise(*args: Any) -> float | None: ...
def row_sums(*args: Any) -> None: ...
def column_sums(*args: Any) -> list[float]: ...
def norms(*args: Any) -> None: ...
def softmax_like(*args: Any) -> None: ...
def softmax_jacobian(*args: Any) -> None: ...
def row_loss(*args: Any) -> tuple[int, float]: ...
def row_statistics(*args: Any) -> int: ...
def label_statistics(*args: Any) -> None: ...
def compiled_levels() -> list[str]: ...
def available_levels() -> list[str]: ...
def level() -> str: ...
def set_level(name: str | None) -> None: ...
def ops() -> dict[str, tuple[int, int, int, bool, float, float]]: ...
def bounds() -> dict[str, tuple[float, float]]: ...
def quotient(a: float, b: float) -> float: ...
def set_sharing(worth: float, shortest: float) -> tuple[float, float]: ...
def pool() -> tuple[int, int]: ...

class Environment:
    def __enter__(self) -> None: ...
    def __exit__(self, *unused: object) -> None: ...

def exact_sum(values: NDArray[np.float64]) -> float: ...
def add_to_columns(
    columns: dict[int, NDArray[np.int64]],
    size: int,
    values: NDArray[np.float64] | None,
    groups: NDArray[np.int64] | None,
) -> tuple[int, int]: ...

class Totals:
    def __init__(self, classes: int, sizes: dict[str, int], worst: int) -> None: ...
    def add_rows(
        self,
        x: NDArray[Any],
        labels: NDArray[Any],
        class_weight: NDArray[Any] | None,
        weight: NDArray[np.float64] | None,
        ignore_index: int,
        smoothing: float,
        strict: bool,
        begin: int,
        end: int,
    ) -> tuple[int, int]: ...
    def add_logits(
        self,
        x: NDArray[Any],
        targets: NDArray[Any],
        weight: NDArray[np.float64] | None,
        limit: float,
        strict: bool,
        begin: int,
        end: int,
    ) -> tuple[int, int]: ...
    def counts(self) -> dict[str, int]: ...
    def columns(self) -> dict[str, dict[int, NDArray[np.int64]]]: ...
    def worst(self, least: float) -> list[tuple[float, int, int, int, float]]: ...

class Sum:
    def add(self, values: NDArray[np.float64]) -> None: ...
    def merge(self, other: Sum) -> None: ...
    def value(self) -> float: ...
