"""Bits per byte of two models (see `parts.bits`)."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison.sums import Sums
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.parts.bits import lengths_of
from lossgrad.evaluation.problems import InputError
from lossgrad.evaluation.results import ratio

Doubles = NDArray[np.float64]
_LOSSES = ("base_loss", "other_loss")
_BYTES = 2


@dataclass(frozen=True)
class PairBits:
    """Bytes of the rows, and the bits that each model needs for one."""

    bytes: float
    base_bits_per_byte: float
    other_bits_per_byte: float

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        models = f"{self.base_bits_per_byte:.6g} base, {self.other_bits_per_byte:.6g} other"
        return [("bits a byte", f"{models}  ({self.bytes:.15g} bytes)")]


class PairBitsPerByte:
    """Sums of bytes and of both losses."""

    needs: ClassVar[tuple[str, ...]] = ("bytes",)

    def __init__(self) -> None:
        self._sums = ExactSums(3)

    def add(
        self, found: PairStatistics, weight: Doubles | None, columns: dict[str, NDArray[Any]]
    ) -> None:
        """Add rows."""
        if np.isnan(found.base_loss).any():
            raise InputError("targets", "bits a byte are of losses: give labels, too")
        values = [*(getattr(found, name) for name in _LOSSES), lengths_of(columns["bytes"])]
        for group, one in enumerate(values):
            self._sums.add(
                one if weight is None else np.where(weight == 0.0, 0.0, weight * one), group
            )

    def merge(self, other: "PairBitsPerByte") -> None:
        """Add what another has."""
        self._sums.merge(other._sums)

    def to_bytes(self) -> bytes:
        """All of it."""
        return self._sums.to_bytes()

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        self._sums, rest = ExactSums.from_bytes(3, data)
        return rest

    def check(self, both: Sums, of_labels: Sums) -> None:
        """Raise a ValueError unless the losses are those of all rows."""
        found = self._sums.numbers()
        if found[:_BYTES] != [of_labels.of(name).numbers()[0] for name in _LOSSES]:
            raise ValueError("sums of losses for bits a byte that are not those of all rows")
        if found[_BYTES][1]:
            raise ValueError("an infinite number of bytes")

    def result(self, labelled: bool) -> PairBits:
        """The figures so far."""
        *losses, lengths = map(float, self._sums.values())
        return PairBits(lengths, *(ratio(one, lengths) / math.log(2.0) for one in losses))
