"""What rows are grouped by: whole numbers or texts, numbered as they come, written in order."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.problems import DtypeError, InputError

Key = int | str
_LENGTH = struct.Struct("<I")


def checked_keys(given: Any, name: str) -> NDArray[Any]:
    """The column of keys as an array of whole numbers, or of str objects.

    Raises
    ------
    InputError
        They are neither, with the first that is not.
    """
    column = np.asarray(given)
    if column.dtype.kind in "biu":
        return column
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8").astype(object)
    if column.dtype.kind in "UT":
        return column.astype(object)
    if column.dtype.kind != "O":
        raise DtypeError(name, f"dtype {column.dtype} where whole numbers or texts are needed")
    for at, value in np.ndenumerate(column):
        if not isinstance(value, str):
            raise InputError(name, f"{value!r} where whole numbers or texts are needed", at)
    return column


def distinct(keys: NDArray[Any]) -> tuple[list[Key], NDArray[np.int64]]:
    """The keys that occur, and for each row which of them it has."""
    found, which = np.unique(keys, return_inverse=True)
    return found.tolist(), which.reshape(-1)


class Numbers:
    """A number for each key, in the order of their first coming."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._of = {key: number for number, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Any:
        return iter(self._of)

    def of(self, keys: Sequence[Key], name: str) -> NDArray[np.int64]:
        """The numbers of keys, new ones after all others.

        Raises
        ------
        InputError
            They are texts where others were whole numbers, or the other way round.
        """
        first = next(iter(self._of), None)
        if first is not None and keys and isinstance(first, str) != isinstance(keys[0], str):
            raise InputError(
                name, f"{keys[0]!r} after {first!r}: whole numbers, or texts, not both"
            )
        return np.array([self._of.setdefault(key, len(self._of)) for key in keys], np.int64)

    def order(self) -> NDArray[np.int64]:
        """Their numbers in the order of the keys."""
        return np.array([self._of[key] for key in sorted(self._of)], np.int64)

    def to_bytes(self) -> bytes:
        """The keys in their order."""
        text = json.dumps(sorted(self._of), separators=(",", ":")).encode()
        return _LENGTH.pack(len(text)) + text

    @classmethod
    def from_bytes(cls, data: memoryview) -> tuple["Numbers", memoryview]:
        """Read what `to_bytes` wrote; also gives the bytes that follow.

        Raises
        ------
        ValueError, struct.error
            The bytes are not such keys.
        """
        (length,), data = _LENGTH.unpack(data[: _LENGTH.size]), data[_LENGTH.size :]
        if length > len(data):
            raise ValueError(f"{length} bytes of keys announced, {len(data)} are there")
        text = bytes(data[:length])
        if text.count(b"[") != 1 and not text.startswith((b'["', b"[]")):
            raise ValueError("keys that are no list")
        keys = json.loads(text)
        kinds = {type(key) for key in keys} if isinstance(keys, list) else {list}
        if len(kinds) > 1 or not kinds <= {int, str} or keys != sorted(set(keys)):
            raise ValueError("keys that are neither whole numbers nor texts, or out of order")
        return cls(keys), data[length:]
