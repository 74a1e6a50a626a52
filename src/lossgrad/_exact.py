"""Sums with no rounding until they are read, so that parts add up to the same bits in any order.

A sum is an integer in units of 2**-1088 cut into limbs of 32 bits; `ExactSums` holds many sums at
once, limb by limb, with only those limbs that some value has reached. A value is cut into limbs by
float64 operations that are exact, a count is a value in limb 0.
"""

import math
import struct
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad._backend import kernels

_BITS = 32
_LOWEST = -34  # the limb of 2**-1074
_UNIT = 1 << (-_BITS * _LOWEST)
_HIGHEST = 40  # 2**1024 is in limb 32; the rest is room for carries
_INFINITE = _HIGHEST + 1  # stands for the count of infinities
_CHUNK = 1 << 15  # values at a time: temporaries stay in the cache, sums of limbs below 2**53
_ROOM = 1 << 30  # values until a limb of 63 bits may be full
_COLUMN = struct.Struct("<i")
_COUNT = struct.Struct("<I")


class ExactSums:
    """Exact sums of non-negative numbers, one for each of `size` groups.

    Infinities are counted apart: a sum with one is infinite.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._limbs: dict[int, NDArray[np.int64]] = {}
        self._infinities: NDArray[np.int64] | None = None
        self._added = 0  # values since limbs were last carried

    def add(self, values: ArrayLike | None, groups: ArrayLike = 0) -> None:
        """Add each value to its group's sum; None stands for a one in each group named.

        Parameters
        ----------
        values : array_like or None
            Numbers from 0 to infinity.
        groups : int or array_like
            The group of each value, or one group for all of them.
        """
        every = np.asarray(groups, np.int64)
        every = every.reshape(-1) if every.ndim or values is None else every
        flat = None if values is None else np.asarray(values).reshape(-1)
        size = every.size if flat is None else flat.size
        step = _CHUNK if kernels is None else _ROOM
        for start in range(0, size, step):
            part = slice(start, start + step)
            self._room_for(min(step, size - start))
            group = every[part] if every.ndim else every
            if kernels is not None:
                self._add_compiled(None if flat is None else flat[part], group)
            elif flat is None:
                self._into(0, None, group)
            else:
                self._add_chunk(flat[part].astype(np.float64), group)

    def _add_compiled(self, values: NDArray[Any] | None, groups: NDArray[np.int64]) -> None:
        one = None if groups.ndim else slice(int(groups), int(groups) + 1)
        sums = 1 if one else self.size
        rest = [
            None if values is None else np.ascontiguousarray(values, np.float64),
            None if one else np.ascontiguousarray(groups),
        ]
        missing = 0
        while missing >= 0:
            columns = {limb - _LOWEST: column for limb, column in self._limbs.items()}
            if self._infinities is not None:
                columns[_INFINITE - _LOWEST] = self._infinities
            if one:
                columns = {k: column[one] for k, column in columns.items()}
            added, missing = kernels.add_to_columns(columns, sums, *rest)
            rest = [None if array is None else array[added:] for array in rest]
            if missing >= 0:
                self._column(missing + _LOWEST)
        if any(array is not None and array.size for array in rest):
            raise ValueError("only numbers from 0 to infinity can be summed")

    def _add_chunk(self, rest: NDArray[np.float64], groups: NDArray[Any]) -> None:
        if not rest.min() >= 0:
            raise ValueError("only numbers from 0 to infinity can be summed")
        top = float(rest.max())
        if top == math.inf:
            infinite = np.isinf(rest)
            self._into(_INFINITE, None, np.broadcast_to(groups, rest.shape)[infinite])
            rest = np.where(infinite, 0.0, rest)
            top = float(rest.max())
        while top:
            limb = (math.frexp(top)[1] - 1) // _BITS
            parts = np.floor(_scaled(rest, -limb))
            self._into(limb, parts, groups)
            rest -= _scaled(parts, limb)
            top = float(rest.max())
            if top and 4 * (left := np.flatnonzero(rest)).size < rest.size:
                rest = rest[left]
                groups = groups[left] if groups.ndim else groups

    def _into(self, limb: int, parts: NDArray[np.float64] | None, groups: NDArray[Any]) -> None:
        """Add whole numbers below 2**32, ones if None, to one limb of each group."""
        column = self._column(limb)
        if groups.ndim == 0:
            assert parts is not None
            column[int(groups)] += int(parts.sum())
        elif self.size <= 2 * groups.size:
            column += np.bincount(groups, parts, self.size).astype(np.int64)
        else:
            np.add.at(column, groups, 1 if parts is None else parts.astype(np.int64))

    def _column(self, limb: int) -> NDArray[np.int64]:
        if limb == _INFINITE:
            if self._infinities is None:
                self._infinities = np.zeros(self.size, np.int64)
            return self._infinities
        return self._limbs.setdefault(limb, np.zeros(self.size, np.int64))

    @classmethod
    def of_columns(cls, size: int, columns: dict[int, NDArray[np.int64]]) -> "ExactSums":
        """What C has added up, in columns as `lg_columns_add` has them."""
        sums = cls(size)
        sums._limbs = {k + _LOWEST: column for k, column in columns.items()}
        sums._infinities = sums._limbs.pop(_INFINITE, None)
        sums._added = _ROOM
        return sums

    def _room_for(self, values: int) -> None:
        if self._added + values > _ROOM:
            self._carry()
        self._added += values

    def _carry(self) -> None:
        """Bring every limb below 2**32: the one form that equal sums have."""
        limb = min(self._limbs, default=0)
        while limb <= max(self._limbs, default=-1):
            column = self._limbs.get(limb)
            if column is not None:
                over = column >> _BITS
                if over.any():
                    self._limbs[limb] = column & ((1 << _BITS) - 1)
                    self._limbs[limb + 1] = self._column(limb + 1) + over
            limb += 1
        self._limbs = {k: v for k, v in sorted(self._limbs.items()) if v.any()}
        self._added = 1  # as much as one value a group

    def merge(self, other: "ExactSums") -> None:
        """Add the sums of another object of the same size."""
        if other.size != self.size:
            raise ValueError(f"{other.size} sums do not merge with {self.size}")
        other._carry()
        self._room_for(1)  # other's limbs are as small as one value's
        for limb, column in other._limbs.items():
            own = self._limbs.get(limb)
            self._limbs[limb] = column.copy() if own is None else own + column
        if other._infinities is not None:
            mine = 0 if self._infinities is None else self._infinities
            self._infinities = other._infinities + mine

    def values(self) -> NDArray[np.float64]:
        """The float64 nearest to each sum."""
        self._carry()
        result = np.zeros(self.size)
        low, high = self._limbs.get(0), self._limbs.get(1)
        if set(self._limbs) <= {0, 1} and (high is None or high.max() < 1 << 21):
            for limb, column in ((0, low), (1, high)):  # counts: whole numbers below 2**53
                if column is not None:
                    result += column * 2.0 ** (_BITS * limb)
        else:
            for group in np.flatnonzero(np.any(list(self._limbs.values()), axis=0)):
                units = {limb: int(column[group]) for limb, column in self._limbs.items()}
                result[group] = _rounded(units)
        if self._infinities is not None:
            result[self._infinities > 0] = math.inf
        return result

    def total(self) -> float:
        """The float64 nearest to the sum of all groups."""
        if self._infinities is not None and self._infinities.any():
            return math.inf
        self._carry()
        return _rounded({limb: _whole(column) for limb, column in self._limbs.items()})

    def fraction(self, group: int | None = None) -> Fraction:
        """The sum of one group, or of all, as it is. Infinities are left out."""
        self._carry()
        limbs = {
            limb: _whole(column) if group is None else int(column[group])
            for limb, column in self._limbs.items()
        }
        return Fraction(_units(limbs), _UNIT)

    def to_bytes(self) -> bytes:
        """The sums, little-endian; equal sums give equal bytes."""
        self._carry()
        parts = [_COUNT.pack(len(self._limbs))]
        for limb, column in self._limbs.items():
            parts += [_COLUMN.pack(limb), column.astype("<u4").tobytes()]
        some = self._infinities is not None and self._infinities.any()
        parts.append(_COUNT.pack(int(some)))
        if some:
            assert self._infinities is not None
            parts.append(self._infinities.astype("<i8").tobytes())
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, size: int, data: memoryview) -> tuple["ExactSums", memoryview]:
        """Read what `to_bytes` wrote; also gives the bytes that follow.

        Raises
        ------
        ValueError, struct.error
            The bytes are not such sums.
        """
        sums = cls(size)
        (columns,), data = _COUNT.unpack(data[:4]), data[4:]
        for _ in range(columns):
            (limb,), data = _COLUMN.unpack(data[:4]), data[4:]
            if not _LOWEST <= limb <= _HIGHEST:
                raise ValueError(f"no value has a limb {limb}")
            sums._limbs[limb] = np.frombuffer(data[: 4 * size], "<u4", size).astype(np.int64)
            data = data[4 * size :]
        (some,), data = _COUNT.unpack(data[:4]), data[4:]
        if some:
            sums._infinities = np.frombuffer(data[: 8 * size], "<i8", size).astype(np.int64)
            data = data[8 * size :]
        sums._carry()
        return sums, data


def _scaled(values: NDArray[np.float64], limbs: int) -> NDArray[np.float64]:
    """values * 2**(32 limbs), exactly."""
    if -32 < limbs < 32:
        scaled: NDArray[np.float64] = values * 2.0 ** (_BITS * limbs)
        return scaled
    return np.ldexp(values, _BITS * limbs)


def _whole(column: NDArray[np.int64]) -> int:
    """The sum of a limb over all groups, in halves: up to 2**31 of those fit in 63 bits."""
    return (int((column >> 16).sum()) << 16) + int((column & 0xFFFF).sum())


def _units(limbs: dict[int, int]) -> int:
    return sum(value << (_BITS * (limb - _LOWEST)) for limb, value in limbs.items())


def _rounded(limbs: dict[int, int]) -> float:
    try:
        return _units(limbs) / _UNIT  # division of integers rounds correctly
    except OverflowError:
        return math.inf
