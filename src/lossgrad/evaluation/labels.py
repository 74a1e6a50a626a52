"""Labels as people store them, as integers: names, whole floats, one column, one-hot rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.problems import DtypeError, InputError, LabelError

_NAMES = "SUTO"  # kinds of types that may hold names


def integer_labels(
    targets: NDArray[Any], shape: tuple[int, ...], names: Sequence[str] | None
) -> NDArray[Any]:
    """One label a row, of integers, whole floats or names, or of one-hot rows.

    Parameters
    ----------
    targets : ndarray
        Of the rows' shape; or with one axis more, the last: of length 1, or of the logits' shape.
    shape : tuple of int
        The logits', the class axis last.
    names : sequence of str, optional
        Of the classes, in their order.

    Raises
    ------
    InputError
        With the first bad row and its value.
    """
    if targets.shape == (*shape[:-1], 1):
        targets = targets[..., 0]
    elif targets.shape == shape:
        return _of_one_hot(targets)
    if targets.dtype.kind == "f":
        return _of_floats(targets)
    if targets.dtype.kind in _NAMES:
        return _of_objects(targets, shape[-1], names)
    return targets


def _of_one_hot(targets: NDArray[Any]) -> NDArray[np.int64]:
    good = ((targets == 0) | (targets == 1)).all(-1) & (np.count_nonzero(targets, axis=-1) == 1)
    if not good.all():
        row = _first(~good)
        values = np.array2string(targets[row], threshold=6, edgeitems=2, separator=", ")
        raise LabelError(
            "targets",
            f"{values} is not one-hot: targets of the logits' own shape have a single 1 in each "
            "row, but in the binary task",
            row,
        )
    labels: NDArray[np.int64] = targets.argmax(-1)
    return labels


def _of_floats(targets: NDArray[Any]) -> NDArray[np.int64]:
    with arithmetic():  # a signalling NaN, say
        numbers = targets.astype(np.float64)
    whole = (np.floor(numbers) == numbers) & (abs(numbers) < 2.0**63)  # NaN is not
    _refuse(~whole, targets, "is not a whole number")
    return numbers.astype(np.int64)


def _of_objects(
    targets: NDArray[Any], classes: int, names: Sequence[str] | None
) -> NDArray[np.int64]:
    flat = targets.reshape(-1).tolist()
    if all(isinstance(one, int | float) for one in flat):
        return _of_floats(np.array(flat, np.float64).reshape(targets.shape))
    if names is None:
        raise DtypeError(
            "targets",
            f"dtype {targets.dtype}, such as {flat[0]!r}: labels that are names need class_names, "
            "the name of each class (--class-names)",
        )
    number = _numbers(names, classes)
    labels = np.array([number.get(_text(one), -1) for one in flat], np.int64)
    labels = labels.reshape(targets.shape)
    _refuse(labels < 0, targets, "is none of the class names")
    return labels


def _numbers(names: Sequence[str], classes: int) -> dict[str, int]:
    """The number of each class by its name."""
    if len(names) != classes:
        raise InputError("logits", f"{classes} classes for {len(names)} class names")
    number = {name: k for k, name in enumerate(names)}
    if len(number) < classes:
        twice = next(name for k, name in enumerate(names) if number[name] != k)
        raise InputError("targets", f"two classes have the name {twice!r}")
    return number


def _text(name: Any) -> Any:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _refuse(bad: NDArray[np.bool_], targets: NDArray[Any], why: str) -> None:
    if bad.any():
        row = _first(bad)
        value = targets[row].tolist() if targets.dtype.kind in "SUf" else targets[row]
        raise LabelError("targets", f"label {_text(value)!r} {why}", row)


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
