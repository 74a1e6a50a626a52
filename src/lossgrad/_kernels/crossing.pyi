from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORWARD: int
BACKWARD: int
VALUE_AND_GRAD: int
OPS: dict[str, Op]
ROW_OPS: dict[str, RowOp]
_C_API: Any
_XLA: dict[str, Any]

class Op:
    name: str
    inputs: int
    parameters: int
    is_loss: bool
    bound: float
    derivative_bound: float
    hessian_bound: float
    unit: Op | None

class RowOp:
    name: str
    bound: float
    derivative_bound: float
    hessian_bound: float

class Targets:
    def __init__(
        self,
        *,
        labels: NDArray[Any] | None = None,
        soft: NDArray[Any] | None = None,
        weight: NDArray[Any] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
        ignore_index: int = -100,
        param: float = 0.0,
        z: float = 0.0,
        cap: float = 0.0,
    ) -> None: ...

def element_ufunc(name: str, doc: str, op: Op, direction: int, leads: int = 1) -> np.ufunc: ...
def row_ufunc(name: str, doc: str, signature: str, op: RowOp, direction: int) -> np.ufunc: ...
def function_ufunc(
    name: str,
    doc: str,
    signature: str,
    nin: int,
    nout: int,
    leads: int,
    gradient: bool,
    function: Callable[..., None],
) -> np.ufunc: ...
def plain_elementwise(
    op: str,
    grad: object,
    x: object,
    out: object,
    num_threads: int | None,
    parameters: tuple[float, ...],
) -> NDArray[Any] | None: ...
def plain_softmax(
    op: RowOp, grad: object, x: object, axis: int, out: object, num_threads: int | None
) -> NDArray[Any] | None: ...
def plain_logsumexp(x: object, axis: int, num_threads: int | None) -> NDArray[Any] | None: ...
def plain_row_loss(
    op: RowOp,
    upstream: object,
    x: object,
    labels: object,
    ignore_index: int,
    reduction: str,
    param: float,
    axis: int,
    out: object,
    value: bool,
    num_threads: int | None,
) -> tuple[float | None, NDArray[Any] | None] | None: ...
def plain_loss(
    op: Op,
    direction: int,
    upstream: object,
    x: object,
    targets: object,
    reduction: str,
    out: object,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> tuple[Any, ...] | None: ...
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
def elementwise(
    op: Op,
    direction: int,
    a: NDArray[Any],
    b: NDArray[Any] | None = None,
    c: NDArray[Any] | None = None,
    *,
    grad: NDArray[Any] | None = None,
    weight: NDArray[Any] | None = None,
    shift: NDArray[Any] | None = None,
    out: NDArray[Any] | None = None,
    out_grad: NDArray[Any] | None = None,
    out_hess: NDArray[Any] | None = None,
    up: float = 1.0,
    divisor: float = 1.0,
    parameters: tuple[float, ...] = (),
    num_threads: int | None = None,
) -> Any: ...
def row_sums(
    op: Op,
    a: NDArray[Any],
    b: NDArray[Any] | None,
    out: NDArray[np.float64],
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> None: ...
def column_sums(
    op: Op, a: NDArray[Any], b: NDArray[Any], width: int, num_threads: int | None
) -> list[float]: ...
def norms(
    x: NDArray[Any],
    axis: int,
    grad: NDArray[np.float64] | None,
    up: float,
    out: NDArray[Any] | None,
    value: NDArray[np.float64] | None,
    num_threads: int | None,
) -> None: ...
def softmax_like(
    op: RowOp,
    direction: int,
    x: NDArray[Any],
    axis: int,
    *,
    grad: NDArray[Any] | None = None,
    row_grad: NDArray[Any] | None = None,
    factor: NDArray[Any] | None = None,
    out: NDArray[Any] | None = None,
    value: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> None: ...
def softmax_jacobian(
    x: NDArray[Any], axis: int, out: NDArray[Any], num_threads: int | None
) -> None: ...
def row_loss(
    op: RowOp,
    x: NDArray[Any],
    axis: int,
    targets: Targets,
    *,
    up: float = 1.0,
    row_grad: NDArray[Any] | None = None,
    mean: bool = False,
    reduced: bool = False,
    out: NDArray[Any] | None = None,
    hess: NDArray[Any] | None = None,
    value: NDArray[Any] | None = None,
    lse: NDArray[np.float64] | None = None,
    lse_given: bool = False,
    num_threads: int | None = None,
) -> tuple[int, Any]: ...
def row_statistics(
    x: NDArray[Any],
    targets: Targets,
    *,
    loss: NDArray[Any],
    lse: NDArray[np.float64],
    predicted: NDArray[np.int64],
    rank: NDArray[np.int64],
    figures: NDArray[np.float64],
    num_threads: int | None = None,
) -> int: ...
def pair_statistics(
    x: NDArray[Any],
    y: NDArray[Any],
    targets: Targets | None,
    *,
    top: int,
    figures: NDArray[np.float64],
    choices: NDArray[np.int64],
    num_threads: int | None = None,
) -> int: ...
def label_statistics(*args: Any) -> None: ...
def compiled_levels() -> list[str]: ...
def available_levels() -> list[str]: ...
def level() -> str: ...
def set_level(name: str | None) -> None: ...
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
        self, x: NDArray[Any], targets: Targets, strict: bool, begin: int, end: int
    ) -> tuple[int, int]: ...
    def add_logits(
        self,
        x: NDArray[Any],
        targets: NDArray[Any],
        weight: NDArray[np.float64] | None,
        limit: float,
        ignore_index: int,
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
