"""Parameters that are a number or a name, and the gradient that comes in."""

from __future__ import annotations

import math
import operator
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from ..environment import arithmetic
from .classes import Classes
from .containers import Array
from .dtypes import FLOAT64, computed, converted, floating
from .shapes import Shape, same_shape

REDUCTIONS: Final = ("none", "mean", "sum")
IGNORE_INDEX: Final = -100


def reduction_name(reduction: str) -> str:
    """The reduction, which must be one of REDUCTIONS."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be "none", "mean" or "sum", got {reduction!r}')
    return reduction


def batch_reduction_name(reduction: str) -> str:
    """The reduction of kl_div: one more."""
    if reduction != "batchmean" and reduction not in REDUCTIONS:
        raise ValueError(
            f'reduction must be "none", "mean", "batchmean" or "sum", got {reduction!r}'
        )
    return reduction


def batch_size(x: Array) -> int:
    """Entries of the first axis; a number is one."""
    return x.shape[0] if x.ndim else 1


def divergence_divisor(reduction: str, x: Array, classes: Classes | None) -> float:
    """What kl_div's sum is divided by: the mean is over elements, or rows if there are any."""
    if reduction == "batchmean":
        return batch_size(x)
    if reduction != "mean":
        return 1.0
    return x.size if classes is None else math.prod(classes.rows_shape())


def smoothing(label_smoothing: float) -> float:
    """The label smoothing, in [0, 1]."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}")
    return float(label_smoothing)


def penalty(weight: float, name: str) -> float:
    """The weight of a term that a loss has besides."""
    if not 0.0 <= weight < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {weight}")
    return float(weight)


def label_weights(alpha: float) -> tuple[float, float]:
    """The weights of the labels 1 and 0; a negative alpha gives them none."""
    if not alpha <= 1.0:
        raise ValueError(f"alpha must be in [0, 1], or negative for no weights, got {alpha}")
    return (float(alpha), 1.0 - alpha) if alpha >= 0 else (1.0, 1.0)


def soft_cap(cap: float | None, x: ArrayLike) -> float:
    """The number that logits are softly kept below; 0 for none."""
    return 0.0 if cap is None else positive(cap, "softcap", x)


def ignored_label(ignore_index: int) -> int:
    """The label of rows to leave out."""
    ignore_index = operator.index(ignore_index)
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index must fit in 64 bits, got {ignore_index}")
    return ignore_index


def upstream(grad: ArrayLike, reduction: str, shape: Shape, dtype: np.dtype[Any]) -> float | Array:
    """The gradient of the loss: a number, with reduction="none" an array of the losses' shape."""
    if reduction == "none":
        return same_shape(converted(grad, dtype, "grad"), shape, "grad", "the loss")
    if type(grad) is float:
        return grad
    a = converted(grad, FLOAT64, "grad")
    if a.ndim:
        raise ValueError(
            f'grad has shape {a.shape}, but with reduction="{reduction}" the loss is a number: '
            f"pass a number"
        )
    return float(a)


def gradient(grad: ArrayLike, x: Array, name: str = "x") -> Array:
    """The gradient of a result of the shape and dtype of x."""
    return same_shape(converted(grad, x.dtype, "grad"), x.shape, "grad", name)


def finite(value: float, name: str) -> float:
    """A parameter that must be a number."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)


def between(value: float, least: float, most: float, name: str) -> float:
    """A parameter that must lie between two numbers, neither of which it may be."""
    if not least < value < most:
        raise ValueError(f"{name} must be above {least:g} and below {most:g}, got {value}")
    return float(value)


def positive(value: float, name: str, x: ArrayLike) -> float:
    """A parameter that must be a positive number, also in the type that x is computed in."""
    number = float(value)
    if 1e-30 < number < 1e30:  # in any type
        return number
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    dtype = computed(floating(x).dtype)
    with arithmetic():
        rounded = dtype.type(number)
        if not 0 < rounded < math.inf:
            raise ValueError(
                f"{name} must be positive and finite, but {value} is {rounded} in {dtype}, "
                f"which x is computed in: use float64 (x.astype(np.float64))"
            )
    return number


def logarithm_base(base: float) -> float:
    """The base of a logarithm."""
    number = float(base)
    if not 0 < number < math.inf or number == 1:
        raise ValueError(f"base must be a positive number other than 1, or None, got {base}")
    return number


def gelu_form(approximate: str) -> str:
    """Which gelu."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f'approximate must be "none" or "tanh", got {approximate!r}')
    return approximate


def slope_range(lower: float, upper: float) -> tuple[float, float]:
    """The range of rrelu's slopes."""
    low, high = float(lower), float(upper)
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"lower must be at most upper and both finite, got {lower} and {upper}")
    return low, high


def unknown_keyword(function: str, unknown: dict[str, Any]) -> NoReturn:
    """Python's error for a keyword that there is not, and what PyTorch's names are called here."""
    name = next(iter(unknown))
    ours = {"dim": "axis", "keepdim": "keepdims"}.get(name)
    hint = f": it is {ours} here, as in NumPy" if ours else ""
    raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
