"""One class axis or several, as one."""

from __future__ import annotations

import math
import operator
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from .containers import Array
from .masks import broadcast_mask, clear, filled
from .outputs import finished, fitting, output
from .shapes import Axis, Shape, axis_index, class_axis, rows_shape


class Classes:
    """The class axis of arrays of one shape: one of their own axes, or what several are merged to.

    Several are a tuple of axes, in any order, or all (None). They are merged where the first of
    them is, which moves no memory if they are neighbours. A number is one class. Entries that are
    False in `where` are not read: see ``read``.
    """

    def __init__(
        self, x: Array, axis: Axis, name: str = "x", where: ArrayLike | None = None
    ) -> None:
        self._merge(x, axis, name)
        self._mask = None if where is None else self.merged(broadcast_mask(where, x.shape))

    def _merge(self, x: Array, axis: Axis, name: str) -> None:
        shape, self.axes = x.shape, _several(axis, x.ndim)
        self._own = self._moved = self.shape = shape
        if self.axes is None:
            self.axis = class_axis(x, operator.index(axis), name)  # type: ignore[arg-type]
            return
        classes = math.prod(shape[k] for k in self.axes)
        if classes == 0:
            raise ValueError(f"{name} of shape {shape} has no classes along axis={axis}")
        rest = [k for k in range(x.ndim) if k not in self.axes]
        self.axis = min(self.axes, default=x.ndim)
        order = [*rest[: self.axis], *self.axes, *rest[self.axis :]]
        self._moved = tuple(shape[k] for k in order)
        left = tuple(shape[k] for k in rest)
        self.shape = (*left[: self.axis], classes, *left[self.axis :])

    @property
    def _places(self) -> range:
        """Where the merged axes are before they are one."""
        return range(self.axis, self.axis + len(self.axes or ()))

    def rows_shape(self, keepdims: bool = False) -> Shape:
        """The shape that is left when the classes are reduced."""
        if self.axes is None or not keepdims:
            return rows_shape(self.shape, self.axis, keepdims)
        return tuple(1 if k in self.axes else n for k, n in enumerate(self._own))

    @overload
    def merged(self, a: Array) -> Array: ...
    @overload
    def merged(self, a: Array | None) -> Array | None: ...
    def merged(self, a: Array | None) -> Array | None:
        """An array of the shape with its classes along one axis, `axis`; a view if there is one."""
        if self.axes is None or a is None:
            return a
        return np.moveaxis(a, self.axes, self._places).reshape(self.shape)

    def read(self, a: Array, fill: float) -> Array:
        """The same, with another number in place of what is not read."""
        return filled(self.merged(a), self._mask, fill)

    def clear(self, gradient: Array) -> None:
        """Write 0 to a merged gradient where nothing is read."""
        clear(gradient, self._mask)

    def output(self, out: Array | None, dtype: np.dtype[Any]) -> Array:
        """As the function ``output``, for a result of all classes."""
        if self.axes is not None and out is not None:
            out = self.merged(fitting(out, self._own, dtype, "out"))
        return output(out, self.shape, dtype, axis=self.axis)

    def finished(self, result: Array, out: Array | None) -> Array:
        """Hand back a result written to what `output` gave."""
        if self.axes is None:
            return finished(result, out)
        result = np.moveaxis(result.reshape(self._moved), self._places, self.axes)
        if out is None:
            return finished(np.ascontiguousarray(result).reshape(result.shape), None)
        if not np.may_share_memory(result, out):
            np.copyto(out, result)
        return out


def _several(axis: Axis, ndim: int) -> tuple[int, ...] | None:
    """The axes to merge, in order; None if it is an axis of its own."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, tuple):
        return () if ndim == 0 and axis_index(axis, 1) == 0 else None
    axes = sorted(axis_index(k, ndim) for k in axis)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis={axis} names an axis twice")
    return tuple(axes)
