"""Shapes and axes: which axis is meant, and arrays seen along it."""

from __future__ import annotations

import math
import operator

import numpy as np
from numpy.exceptions import AxisError

from .dtypes import Array

Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None


def same_shape(a: Array, shape: Shape, name: str, model: str) -> Array:
    """The array a, whose shape must be that of the argument called model."""
    if a.shape != shape:
        raise ValueError(
            f"{name} has shape {a.shape}, but {model} has shape {shape}: they must be the same"
        )
    return a


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
    """x with each row's elements next to each other in memory: a copy, unless they are."""
    if x.strides[axis] == x.itemsize or x.shape[axis] == 1:
        return x
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, axis, -1)), -1, axis)
