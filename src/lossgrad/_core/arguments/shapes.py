"""Shapes and axes: which axis is meant, and arrays seen along it."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.exceptions import AxisError
from numpy.typing import ArrayLike

from ..._kernels.defaults import LAST_AXIS
from .containers import Array

Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None


def same_shape(a: Array, shape: Shape, name: str, model: str) -> Array:
    """The array a, whose shape must be that of the argument called model."""
    if a.shape != shape:
        raise ValueError(
            f"{name} has shape {a.shape}, but {model} has shape {shape}: they must be the same"
        )
    return a


def known_shapes(grad: Any, x: Any) -> None:
    """The same of containers, as far as they have a shape before they are computed."""
    if hasattr(grad, "shape") and hasattr(x, "shape"):
        same_shape(grad, x.shape, "grad", "x")


def axis_index(axis: int, ndim: int) -> int:
    """The axis counted from the front."""
    if type(axis) is not int:
        axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise AxisError(axis, ndim)
    return axis + ndim if axis < 0 else axis


def class_axis(x: Array, axis: int, name: str = "x") -> int:
    """The class axis counted from the front; there must be at least one class along it."""
    shape = x.shape
    axis = axis_index(axis, len(shape))
    if shape[axis] == 0:
        raise ValueError(f"{name} of shape {shape} has no classes along axis={axis}")
    return axis


def loss_axis(x: Array, axis: int, targets: ArrayLike, name: str) -> int:
    """The same of a loss; if it was not given, labels may not fit another axis but the first.

    The first is that of the batch: of square logits of two dimensions, the last is meant.
    """
    shape = x.shape
    if axis is LAST_AXIS and len(shape) > 2 and is_ambiguous(shape, np.shape(targets)):
        raise ValueError(f"{name} of shape {shape} {which_axis(shape)}")
    return class_axis(x, axis, name)


def is_ambiguous(shape: Shape, labels: Shape) -> bool:
    """Whether labels of such a shape fit the last axis and the one before."""
    return len(shape) > 2 and shape[-1] == shape[-2] and labels == shape[:-1]


def which_axis(shape: Shape) -> str:
    """What an error says then."""
    last = len(shape) - 1
    return (
        f"with targets of shape {shape[:-1]} may have their classes along axis={last - 1} or "
        f"axis={last}: say which (torch means axis=1)"
    )


def rows_shape(shape: Shape, axis: int, keepdims: bool = False) -> Shape:
    """The shape that is left when the class axis (counted from the front) is reduced."""
    if keepdims:
        return (*shape[:axis], 1, *shape[axis + 1 :])
    return shape[:axis] + shape[axis + 1 :] if axis < len(shape) - 1 else shape[:axis]


def grid(x: Array, axis: int) -> Array:
    """x as (outer, classes, inner), axis counted from the front; a view unless none exists."""
    shape = x.shape
    return x.reshape(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def class_runs(x: Array, axis: int) -> Array:
    """x with each row's elements next to each other in memory: a copy, unless they are.

    And so when axes are joined to (outer, classes, inner): without a copy, which would not have it.
    """
    joined = axis > 1 or x.ndim - axis > 2
    if x.shape[axis] == 1 or (x.strides[axis] == x.itemsize and not joined):
        return x
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, axis, -1)), -1, axis)
