"""``where=``: what is read of an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .containers import Array, as_array
from .shapes import Shape, rows_shape


def _mask(where: ArrayLike) -> Array:
    a = as_array(where, "where")
    if a.dtype != np.bool_:
        raise TypeError(f"where has dtype {a.dtype}: use bools, True for what is read")
    return a


def broadcast_mask(where: ArrayLike, shape: Shape) -> Array:
    """Which entries are read; it may not enlarge them."""
    a = _mask(where)
    try:
        return np.broadcast_to(a, shape)
    except ValueError:
        raise ValueError(
            f"where of shape {a.shape} does not broadcast to the shape of x, {shape}"
        ) from None


def loss_mask(
    where: ArrayLike | None, shape: Shape, axis: int
) -> tuple[Array | None, Array | None]:
    """(which rows are read, which logits are read), as far as they are given."""
    if where is None:
        return None, None
    a, rows = _mask(where), rows_shape(shape, axis)
    if a.shape not in (shape, rows):
        raise ValueError(
            f"where has shape {a.shape}: it must be {rows}, for a mask of rows, "
            f"or {shape}, for one of their entries"
        )
    return (None, a) if a.shape == shape else (a, None)


def filled(a: Array, mask: Array | None, fill: float) -> Array:
    """The array with another number where the mask, if there is one, is False."""
    return a if mask is None else np.where(mask, a, a.dtype.type(fill))


def clear(gradient: Array, mask: Array | None) -> None:
    """Write 0 where the mask, if there is one, is False."""
    if mask is not None:
        np.copyto(gradient, 0, where=~mask)
