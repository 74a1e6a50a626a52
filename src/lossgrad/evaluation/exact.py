"""Sums with no rounding until they are read, so that parts add up to the same bits in any order.

A sum is an integer cut into limbs of 32 bits; `ExactSums` holds many sums at once, limb by limb,
with only those limbs that some value has reached. A value is cut into limbs by float64 operations
that are exact, a count is a value in limb 0. Sums of values with a factor of 2**(32 k), beyond the
range of float64, are made apart and merged.
"""

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad._core.backend import kernels

_BITS = 32
_FIRST = -34  # the limb of 2**-1074, of which the compiled columns are counted
_SHIFT = 64  # limbs by which sums may be shifted
_LOWEST = _FIRST - _SHIFT
UNITS = 1 << (-_BITS * _LOWEST)
_LARGEST = 33 + _SHIFT  # of 2**62 values below 2**1024
_INFINITE = 1 << 20  # stands for the count of infinities
_INFINITE_COLUMN = 75  # LG_INFINITIES
_CHUNK = 1 << 15  # values at a time: temporaries stay in the cache, sums of limbs below 2**53
_CARRIED = 1  # every limb is below 2**32: as much as one value a group
_ROOM = 1 << 30  # values until a limb of 63 bits may be full
_MOST = 1 << 53  # infinities: as many values take years
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
        self._added = _CARRIED  # and values since

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
            near = range(_FIRST, _FIRST + _INFINITE_COLUMN)  # where a value may go
            columns = {k - _FIRST: column for k, column in self._limbs.items() if k in near}
            if self._infinities is not None:
                columns[_INFINITE_COLUMN] = self._infinities
            if one:
                columns = {k: column[one] for k, column in columns.items()}
            added, missing = kernels.add_to_columns(columns, sums, *rest)
            rest = [None if array is None else array[added:] for array in rest]
            if missing >= 0:
                self._column(_INFINITE if missing == _INFINITE_COLUMN else missing + _FIRST)
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
        sums._limbs = {k + _FIRST: c for k, c in columns.items() if k != _INFINITE_COLUMN}
        sums._infinities = columns.get(_INFINITE_COLUMN)
        sums._added = _ROOM
        return sums

    def _room_for(self, values: int) -> None:
        if self._added + values > _ROOM:
            self._carry()
        self._added += values

    def _carry(self) -> None:
        """Bring every limb below 2**32: the one form that equal sums have."""
        if self._added == _CARRIED:
            return
        limb = min(self._limbs, default=0)
        while limb <= max(self._limbs, default=-1):
            column = self._limbs.get(limb)
            # no limb is negative, and NumPy finds a maximum sooner than whether any is not 0
            if column is not None and column.max(initial=0) >> _BITS:
                self._limbs[limb] = column & ((1 << _BITS) - 1)
                self._limbs[limb + 1] = self._column(limb + 1) + (column >> _BITS)
            limb += 1
        self._limbs = {k: v for k, v in sorted(self._limbs.items()) if v.max(initial=0)}
        self._added = _CARRIED

    def merge(self, other: "ExactSums", shift: int = 0, twice: Sequence[int] = ()) -> None:
        """Add the sums of another object of the same size.

        Parameters
        ----------
        other : ExactSums
        shift : int
            The others count 2**(32 shift) times.
        twice : sequence of int
            And those of these groups 2**(64 shift) times: they are of squares.
        """
        if other.size != self.size:
            raise ValueError(f"{other.size} sums do not merge with {self.size}")
        other._carry()
        self._room_for(2)  # other's limbs are as small as one value's, and so are its squares'
        for limb, column in other._limbs.items():
            if shift and twice:
                squares = np.zeros_like(column)
                squares[list(twice)] = column[list(twice)]
                self._add_limb(limb + 2 * shift, squares)
                column = column - squares
            self._add_limb(limb + shift, column)
        if other._infinities is not None:
            mine = 0 if self._infinities is None else self._infinities
            self._infinities = other._infinities + mine

    def _add_limb(self, limb: int, column: NDArray[np.int64]) -> None:
        own = self._limbs.get(limb)
        self._limbs[limb] = column.copy() if own is None else own + column

    def grow(self, size: int) -> None:
        """Have more groups: the new ones after the others, of sum 0."""
        if more := size - self.size:
            self.size = size
            self._limbs = {k: np.pad(column, (0, more)) for k, column in self._limbs.items()}
            if self._infinities is not None:
                self._infinities = np.pad(self._infinities, (0, more))

    def placed(self, at: NDArray[np.int64], size: int) -> "ExactSums":
        """The same sums among `size` groups, each at another place, which no two share."""
        self._carry()
        sums = ExactSums(size)
        for limb, column in self._limbs.items():
            sums._column(limb)[at] = column
        if self._infinities is not None:
            sums._column(_INFINITE)[at] = self._infinities
        sums._added = self._added
        return sums

    def chosen(self, groups: ArrayLike) -> "ExactSums":
        """The sums of some groups."""
        self._carry()
        which = np.asarray(groups, np.int64)
        sums = ExactSums(which.size)
        sums._limbs = {limb: column[which] for limb, column in self._limbs.items()}
        if self._infinities is not None:
            sums._infinities = self._infinities[which]
        sums._added = _ROOM
        return sums

    @property
    def infinite(self) -> bool:
        """Whether any sum is."""
        return self._infinities is not None and bool(self._infinities.any())

    def values(self, shift: int = 0) -> NDArray[np.float64]:
        """The float64 nearest to each sum times 2**(32 shift)."""
        self._carry()
        result = np.zeros(self.size)
        low, high = self._limbs.get(0), self._limbs.get(1)
        if not shift and set(self._limbs) <= {0, 1} and (high is None or high.max() < 1 << 21):
            for limb, column in ((0, low), (1, high)):  # counts: whole numbers below 2**53
                if column is not None:
                    result += column * 2.0 ** (_BITS * limb)
        else:
            some = np.zeros(self.size, bool)
            for column in self._limbs.values():
                some |= column != 0
            for group in np.flatnonzero(some):
                units = {limb: int(column[group]) for limb, column in self._limbs.items()}
                result[group] = _rounded(units, shift)
        if self._infinities is not None:
            result[self._infinities > 0] = math.inf
        return result

    def total(self, shift: int = 0) -> float:
        """The float64 nearest to the sum of all groups, times 2**(32 shift)."""
        if self.infinite:
            return math.inf
        self._carry()
        return _rounded({limb: _whole(column) for limb, column in self._limbs.items()}, shift)

    def units(self, group: int | None = None) -> int:
        """The sum of one group, or of all, as it is, in multiples of 1 / UNITS; no infinities."""
        self._carry()
        return _units(
            {
                limb: _whole(column) if group is None else int(column[group])
                for limb, column in self._limbs.items()
            }
        )

    def numbers(self) -> list[tuple[int, int]]:
        """Of each group the sum as `units` has it, and how many infinities there are."""
        infinite = np.zeros(self.size, int) if self._infinities is None else self._infinities
        return [(self.units(group), int(infinite[group])) for group in range(self.size)]

    def summed(self, at: ArrayLike, size: int) -> "ExactSums":
        """The sums of the groups that come to each of `size` places."""
        self._carry()
        sums, places = ExactSums(size), np.broadcast_to(np.asarray(at, np.int64), self.size)
        for limb, column in self._limbs.items():
            np.add.at(sums._column(limb), places, column)
        if self._infinities is not None:
            np.add.at(sums._column(_INFINITE), places, self._infinities)
        sums._added = _ROOM
        return sums

    def fraction(self, group: int | None = None) -> Fraction:
        """The sum of one group, or of all, as it is. Infinities are left out."""
        return Fraction(self.units(group), UNITS)

    def to_bytes(self) -> bytes:
        """The sums, little-endian; equal sums give equal bytes.

        Limb 0 is always written, so that the size of the bytes vouches for that of the sums.
        """
        self._carry()
        limbs = {0: np.zeros(self.size, np.int64), **self._limbs}
        parts = [_COUNT.pack(len(limbs))]
        for limb, column in sorted(limbs.items()):
            parts += [_COLUMN.pack(limb), column.astype("<u4").tobytes()]
        parts.append(_COUNT.pack(int(self.infinite)))
        if self.infinite:
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
            if not max(sums._limbs, default=_LOWEST - 1) < limb <= _LARGEST:
                raise ValueError(f"a limb {limb} that no value has, or out of order")
            sums._limbs[limb], data = _read_column(data, "<u4", size)
        if 0 not in sums._limbs:
            raise ValueError("sums without limb 0")
        (some,), data = _COUNT.unpack(data[:4]), data[4:]
        if some:
            sums._infinities, data = _read_column(data, "<i8", size)
            if not 0 <= sums._infinities.min() <= sums._infinities.max() <= _MOST:
                raise ValueError("counts of infinities out of range")
        sums._added += 1  # limbs of zeros are yet to be dropped
        return sums, data


def _read_column(data: memoryview, dtype: str, size: int) -> tuple[NDArray[np.int64], memoryview]:
    end = size * np.dtype(dtype).itemsize
    if end > len(data):  # before memory is asked for
        raise ValueError(f"{end} bytes of sums announced, {len(data)} are there")
    return np.frombuffer(data[:end], dtype).astype(np.int64), data[end:]


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


def _rounded(limbs: dict[int, int], shift: int) -> float:
    up, down = _BITS * max(shift, 0), _BITS * max(-shift, 0)
    try:
        return (_units(limbs) << up) / (UNITS << down)  # division of integers rounds correctly
    except OverflowError:
        return math.inf
