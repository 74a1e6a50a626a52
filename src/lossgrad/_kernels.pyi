from typing import Any

import numpy as np
from numpy.typing import NDArray

FORWARD: int
BACKWARD: int
VALUE_AND_GRAD: int
LOGSUMEXP: int
SOFTMAX: int
LOG_SOFTMAX: int
LOGSUMEXP_BACKWARD: int
SOFTMAX_BACKWARD: int
LOG_SOFTMAX_BACKWARD: int

# One specialisation for each dtype, by dtype.char.
UNARY: dict[str, Any]
ELEMENTWISE: dict[str, Any]
# Number of each dtype, by dtype.char.
DTYPE: dict[str, int]

def softmax_like(*args: Any) -> None: ...
def cross_entropy(*args: Any) -> tuple[int, float]: ...

def compiled_levels() -> list[str]: ...
def available_levels() -> list[str]: ...
def level() -> str: ...
def set_level(name: str | None) -> None: ...
def ops() -> dict[str, tuple[int, int, int, bool, float, float]]: ...

class Sum:
    def add(self, values: NDArray[np.float64]) -> None: ...
    def merge(self, other: Sum) -> None: ...
    def value(self) -> float: ...
