"""Labels, and targets of an array's shape."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..environment import arithmetic
from .containers import Array, as_array
from .dtypes import SUPPORTED, computed, computed_alike, converted, plain, promoted
from .options import IGNORE_INDEX
from .shapes import Shape, rows_shape, same_shape


def class_targets(
    targets: ArrayLike, logits: Array, axis: int, ignore_index: int = IGNORE_INDEX
) -> Array:
    """Labels as an integer array, or probabilities of the logits' dtype and shape.

    `axis` is counted from the front. Labels' values are not looked at: see ``check_labels``.
    """
    shape = logits.shape
    rows = rows_shape(shape, axis)
    if type(targets) is np.ndarray:
        dtype = targets.dtype
        usual = dtype.kind in "iu" and dtype.isnative and targets.shape == rows
        if usual and targets.flags.aligned:
            return targets
    a = as_array(targets, "targets")
    if a.dtype.kind in "iu":
        if a.shape != rows:
            _misfit(a.shape, shape, axis)
        return plain(a)
    if a.dtype.name not in SUPPORTED:
        raise TypeError(
            f"targets have dtype {a.dtype}: use integer labels, "
            f"or floats of the logits' shape for probabilities"
        )
    if a.shape != shape:
        if a.shape == rows:
            raise TypeError(
                f"targets have dtype {a.dtype} and the shape of labels, {a.shape}: "
                f"use integers (targets.astype(np.int64))"
            )
        raise ValueError(
            f"targets of dtype {a.dtype} are probabilities and need the logits' shape, {shape}, "
            f"got {a.shape}"
        )
    if ignore_index >= 0:
        raise ValueError(
            f"ignore_index ({ignore_index}) is for labels, but targets are probabilities"
        )
    return converted(a, computed(logits.dtype), "targets")


def labels_only(targets: Array) -> None:
    """Refuse probability targets."""
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"targets have dtype {targets.dtype}: integer labels are needed here "
            f"(for probabilities, use cross_entropy or kl_div)"
        )


def _misfit(targets: Shape, logits: Shape, axis: int) -> NoReturn:
    message = (
        f"targets have shape {targets}, but logits of shape {logits} with classes along "
        f"axis={axis} need {rows_shape(logits, axis)}"
    )
    if targets == logits:
        raise ValueError(
            f"{message}; for probabilities of the logits' shape, use floats "
            f"(targets.astype(logits.dtype))"
        )
    fits = [k for k in range(len(logits)) if rows_shape(logits, k) == targets]
    if fits:
        names = " or ".join(f"axis={k}" for k in fits)
        message = f"{message}; targets of shape {targets} fit {names}"
    raise ValueError(message)


def check_labels(
    labels: Array, classes: int, ignore_index: int, sample_weight: Array | None = None
) -> NDArray[np.bool_]:
    """Which rows are kept; a kept label that is neither a class nor ignored is an IndexError."""
    kept: NDArray[np.bool_] = labels != ignore_index
    if sample_weight is not None:
        kept &= sample_weight.reshape(labels.shape) != 0
    bad = kept & ((labels < 0) | (labels >= classes))
    if bad.any():
        raise bad_label(labels, int(bad.argmax()), classes, ignore_index)
    return kept


def bad_label(labels: Array, flat_index: int, classes: int, ignore_index: int) -> IndexError:
    """The error for the bad label at an index into the flattened labels."""
    index = tuple(map(int, np.unravel_index(flat_index, labels.shape)))
    row = f" in row {index[0] if len(index) == 1 else index}" if index else ""
    return IndexError(
        f"label {labels[index]}{row} is outside [0, {classes}) "
        f"and is not ignore_index ({ignore_index})"
    )


def input_and_target(input: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
    """Two arrays of one shape that are compared, in the dtype that NumPy promotes both to."""
    x, t = promoted(input, target, "input", "target")
    return x, same_shape(computed_alike(t, x.dtype, "target"), x.shape, "target", "input")


@arithmetic()
def binary_labels(targets: Array, name: str, left_out: Array | None = None) -> None:
    """Refuse targets of which any, but for those that are left out, is neither 0 nor 1."""
    bad = (targets != 0) & (targets != 1)
    if left_out is not None:
        bad &= ~left_out
    if bad.any():
        first = np.unravel_index(int(bad.argmax()), bad.shape)
        place = "".join(f"[{k}]" for k in map(int, first))
        raise ValueError(f"{name}{place} is {targets[first]}: labels are 0 and 1")


def binary_targets(targets: ArrayLike, logits: Array, name: str = "logits") -> Array:
    """Targets of a binary loss: labels or probabilities of the logits' shape."""
    a = computed_alike(targets, logits.dtype, "targets")
    return same_shape(a, logits.shape, "targets", name)
