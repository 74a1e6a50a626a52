"""``out=`` and ``lse=``: where a result is written, and what is handed back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..directions import FORWARD, gives_value, slopes
from .containers import Array, as_array
from .dtypes import FLOAT64, computed, plain
from .shapes import Shape, grid, rows_shape, same_shape


def output(
    out: Array | None,
    shape: Shape,
    dtype: np.dtype[Any],
    *,
    axis: int | None = None,
    rows: bool = False,
    name: str = "out",
) -> Array:
    """The array to write a result to; ``finished`` turns it into what is handed back.

    That is `out` itself, unless it is not aligned, or has no view as a grid along `axis` (of its
    own axes if axis is None and those are at most three; as one run if it holds one value a row).
    It may overlap what is read: the kernels see to that where arrays cross into C, and the
    reference writes when all is computed.
    """
    if out is None:
        return np.empty(shape, dtype)
    plain = fitting(out, shape, dtype, name)
    if not plain.flags.aligned or not (
        plain.flags.c_contiguous or (not rows and _has_view(plain, axis))
    ):
        return np.empty(shape, dtype)
    return plain


def row_output(out: Array | None, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """The same for one value a row, which `out` may take as it is computed: half types as float32.

    Rounded to bfloat16, a loss has three digits, and those of many rows are compared and added up.
    """
    if out is not None and getattr(out, "dtype", None) == computed(dtype):
        dtype = computed(dtype)
    return output(out, shape, dtype, rows=True)


def fitting(out: Array, shape: Shape, dtype: np.dtype[Any], name: str) -> Array:
    """`out` as a plain array, which must be able to hold the result."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, but the result has shape {shape}")
    if out.dtype != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, but the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return np.asarray(out)  # a memory map, say, as the base class


# One array, or, where there are a gradient and a Hessian, one for each; None is a new one.
Outs = Any


def outs(out: Outs, direction: int) -> tuple[Array | None, Array | None, Array | None]:
    """What `out` has for losses, gradients and the Hessian."""
    if direction == FORWARD:
        return out, None, None
    if slopes(direction) == 1 or out is None:
        return None, out, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            "out must be a pair, (an array for the gradient, one for the Hessian), either of which "
            f"may be None, got {type(out).__name__}"
        )
    gradient, hessian = out
    if gradient is not None and hessian is not None and np.may_share_memory(gradient, hessian):
        raise ValueError("out has the same memory for the gradient and the Hessian")
    return None, gradient, hessian


def places(
    out: Outs, direction: int, shape: Shape, dtype: np.dtype[Any], each: bool = True
) -> list[Array | None]:
    """Where values (if there is one for each element), gradients and the Hessian are written to.

    What is not asked for is None; the values of a loss that is reduced are not, either.
    """
    asked = gives_value(direction) and each, slopes(direction) > 0, slopes(direction) > 1
    return [
        output(own, shape, dtype) if is_asked else None
        for own, is_asked in zip(outs(out, direction), asked, strict=True)
    ]


def row_places(
    out: Outs, direction: int, reduction: str, x: Array, axis: int
) -> list[Array | None]:
    """The same of a loss of rows: one value a row, unless they are reduced."""
    own = outs(out, direction)
    if direction == FORWARD:
        loss_out(out, reduction)
    found: list[Array | None] = [None, None, None]
    if gives_value(direction) and reduction == "none":
        found[0] = row_output(own[0], rows_shape(x.shape, axis), x.dtype)
    for k in range(1, 1 + slopes(direction)):
        found[k] = output(own[k], x.shape, x.dtype, axis=axis)
    return found


def all_finished(written: list[Array | None], out: Outs, direction: int) -> list[Array]:
    """``finished`` of what was written to ``places``."""
    own = outs(out, direction)
    return [finished(a, to) for a, to in zip(written, own, strict=True) if a is not None]


def finished(result: Array, out: Array | None) -> Array:
    """Hand back a result written to what ``output`` gave: in `out` if given, 0-d as a scalar."""
    if out is None:
        return result if result.ndim else result[()]
    if result is not out and result.base is not out:
        np.copyto(out, result)
    return out


def _has_view(out: Array, axis: int | None) -> bool:
    return out.ndim <= 3 if axis is None else np.may_share_memory(grid(out, axis), out)


def lse_output(lse: Array | None, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """The array to write each row's log-sum-exp to (see ``output``), None if not asked for."""
    if lse is None:
        return None
    return output(lse, shape, _lse_dtype(lse, dtype), name="lse")


def lse_input(lse: ArrayLike | None, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """Each row's log-sum-exp as it was saved."""
    if lse is None:
        return None
    a = plain(as_array(lse, "lse"))
    _lse_dtype(a, dtype)
    return same_shape(a, shape, "lse", "each row's log-sum-exp")


def _lse_dtype(lse: Any, dtype: np.dtype[Any]) -> np.dtype[Any]:
    given = getattr(lse, "dtype", None)
    if given == dtype:
        return dtype
    if given is not None and given != FLOAT64:
        raise TypeError(f"lse has dtype {given}: use float64 or the logits' dtype, {dtype}")
    return FLOAT64


def loss_out(out: Array | None, reduction: str) -> None:
    """Refuse `out` for a loss that is a number."""
    if out is not None and reduction != "none":
        raise ValueError(
            f'out needs reduction="none": with reduction="{reduction}" the loss is a Python float'
        )


def norm_out(out: Array | None) -> None:
    """Refuse `out` for a norm that is a number."""
    if out is not None:
        raise ValueError("out needs an axis: the norm of all elements is a Python float")
