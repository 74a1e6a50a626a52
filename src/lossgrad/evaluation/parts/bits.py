"""Bits per byte: the loss of a text in bits over its length, whatever its tokens."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.possible import Known
from lossgrad.evaluation.problems import DtypeError, InputError
from lossgrad.evaluation.results import Task, ratio
from lossgrad.evaluation.seen import Seen

_BYTES, _LOSS = range(2)


@dataclass(frozen=True)
class Bits:
    """Bytes of the rows that have a loss, and the bits that the model needs for each."""

    bytes: float
    bits_per_byte: float

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        return [("bits a byte", f"{self.bits_per_byte:.6g}  ({self.bytes:.15g} bytes)")]


class BitsPerByte:
    """Sums of bytes and of losses. The column "bytes" has the length of each row's text (token)."""

    needs: ClassVar[tuple[str, ...]] = ("bytes",)

    def __init__(self, task: Task) -> None:
        if task != "multiclass":
            raise ValueError("bits_per_byte is for the multiclass task")
        self._sums = ExactSums(2)

    def add(self, seen: Seen) -> None:
        """Add terms."""
        self._sums.add(seen.weighted(lengths_of(seen.column("bytes"), seen.row)), _BYTES)
        self._sums.add(seen.weighted(seen.loss), _LOSS)

    def merge(self, other: "BitsPerByte") -> None:
        """Add what another has."""
        self._sums.merge(other._sums)

    def to_bytes(self) -> bytes:
        """All of it."""
        return self._sums.to_bytes()

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        self._sums, rest = ExactSums.from_bytes(2, data)
        return rest

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        known.check(loss=self._sums.chosen([_LOSS]))
        if self._sums.numbers()[_BYTES][1]:
            raise ValueError("an infinite number of bytes")

    def result(self) -> Bits:
        """The figures so far."""
        lengths, loss = map(float, self._sums.values())
        return Bits(lengths, ratio(loss, lengths) / math.log(2.0))


def lengths_of(given: NDArray[Any], row: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Numbers of bytes, of rows that have these numbers in their block, if that is known.

    Raises
    ------
    InputError
        With the first that is none.
    """
    if given.dtype.kind not in "iuf":
        raise DtypeError("bytes", f"dtype {given.dtype} where numbers are needed")
    lengths: NDArray[np.float64] = given.astype(np.float64)
    bad = ~((lengths >= 0) & (lengths < math.inf))
    if bad.any():
        k = int(bad.argmax())
        place = None if row is None else (int(row[k]),)
        raise InputError("bytes", f"{given[k]} is not a finite number >= 0", place)
    return lengths
