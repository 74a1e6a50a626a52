"""Which types an argument may have, and what it is converted to."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from ..environment import arithmetic
from .containers import Array, as_array

# What may be given and comes back. bfloat16 (of ml_dtypes) is known by its name alone.
SUPPORTED: Final = ("float16", "bfloat16", "float32", "float64")
FLOAT32: Final = np.dtype(np.float32)
FLOAT64: Final = np.dtype(np.float64)
HALVES: Final = SUPPORTED[:2]
NATIVE: Final = (FLOAT32, FLOAT64, np.dtype(np.float16))
_PIECE: Final = 1 << 22  # elements that NumPy copies at a time


def floating(x: ArrayLike, name: str = "x") -> Array:
    """x as an aligned array of a supported dtype; integers and bools become float64."""
    a = as_array(x, name)
    if a.dtype in NATIVE and a.flags.aligned:
        return a
    if a.dtype.kind in "biu":
        return cast(a, FLOAT64)
    if a.dtype.name not in SUPPORTED:
        _unsupported(name, a.dtype)
    return plain(a)


def converted(x: ArrayLike, dtype: np.dtype[Any], name: str) -> Array:
    """x, of any real type, as an aligned array of the given dtype."""
    a = as_array(x, name)
    if a.dtype == dtype and a.flags.aligned:
        return a
    if a.dtype.kind not in "biu" and a.dtype.name not in SUPPORTED:
        _unsupported(name, a.dtype)
    if a.dtype == dtype:
        return plain(a)
    with arithmetic():  # float64 values that float32 cannot hold become inf or 0
        return cast(a, dtype)


def computed_alike(x: ArrayLike, dtype: np.dtype[Any], name: str) -> Array:
    """x, aligned and computed in what `dtype` is: float32 and half types as they are stored."""
    a = as_array(x, name)
    to = computed(dtype)
    keeps = to == FLOAT32 and a.dtype.name in HALVES
    return converted(a, a.dtype.newbyteorder("=") if keeps else to, name)


def promoted(x: ArrayLike, other: Any, name: str, other_name: str) -> tuple[Array, Any]:
    """x and another operand of the same rank, in the dtype that NumPy promotes both to.

    A Python number takes on the dtype of x, lists are arrays. What says how to weigh or to combine
    (weights, targets of classification, gradients) is no such operand: it is ``converted``.
    """
    a = floating(x, name)
    if isinstance(other, bool | int | float) and not isinstance(other, np.generic):
        return a, other
    b = as_array(other, other_name)
    return (a, floating(b, other_name)) if b.dtype == a.dtype else _promoted(a, b, name, other_name)


@arithmetic()
def _promoted(a: Array, b: Array, name: str, other_name: str) -> tuple[Array, Array]:
    if b.dtype.kind not in "biu" and b.dtype.name not in SUPPORTED:
        _unsupported(other_name, b.dtype)
    dtype = np.result_type(a.dtype, b.dtype)
    return converted(a, dtype, name), converted(b, dtype, other_name)


def cast(a: Array, dtype: np.dtype[Any]) -> Array:
    """A copy in another type, made in pieces: Python answers signals between them."""
    if a.size <= _PIECE:
        return a.astype(dtype, subok=False)
    to = np.empty_like(a, dtype, subok=False)
    _copy(a, to)
    return to


def _copy(a: Array, to: Array) -> None:
    if a.size <= _PIECE:
        to[...] = a
        return
    step = max(1, _PIECE * len(a) // a.size)
    for k in range(0, len(a), step):
        _copy(a[k : k + step] if len(a) > 1 else a[0], to[k : k + step] if len(a) > 1 else to[0])


def plain(a: Array) -> Array:
    """In native byte order and aligned, copied only if it has to be."""
    a = a.astype(a.dtype.newbyteorder("="), copy=False)
    return a if a.flags.aligned else a.copy()


def _unsupported(name: str, dtype: np.dtype[Any]) -> NoReturn:
    use = f"use {', '.join(SUPPORTED)}, or integers or bools, which are converted"
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2:
        use = f"if numpy.save wrote it of bfloat16, use {name}.view(ml_dtypes.bfloat16)"
    raise TypeError(f"{name} has dtype {dtype}, which is not supported: {use}")


def computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What elements of a dtype are computed in: float32 for halves, else the dtype itself."""
    return FLOAT32 if dtype.itemsize == 2 else dtype
