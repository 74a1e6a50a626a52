"""How a score is spread, in memory that does not grow: exact sums over bins that keep its order.

A scale cuts the numbers into bins by their leading bits, so that a larger number is never in a
lower bin. Of float16 and bfloat16 every number has a bin of its own, and nothing is lost; of wider
numbers a bin is narrow relative to its numbers, and what is made of the bins comes with bounds.
The sums merge exactly, whatever the shards.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad.evaluation.exact import ExactSums

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
_MANTISSA = 52  # bits of float64, and the exponent of 1.0
_ONE = 1023
_SIGN = 1 << 15  # of 16 bits


class Bounded(NamedTuple):
    """A figure and what it lies between: the exact value is not outside `lower` and `upper`.

    Where every score has a bin of its own the three are equal.
    """

    value: Any
    lower: Any
    upper: Any

    def item(self) -> "Bounded":
        """Of arrays of one number, the numbers."""
        return Bounded(*(np.asarray(one).item() for one in self))

    def text(self) -> str:
        """The value to four digits, and its bounds where they differ from it there."""
        value, lower, upper = (f"{one:.4f}" for one in self)
        return value if lower == value == upper else f"{value} ({lower} to {upper})"


class Scale(Protocol):
    """A cut of the numbers into `size` bins that keeps their order."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def exact(self) -> bool:
        """Whether all numbers of a bin are equal."""

    def bins(self, values: NDArray[Any]) -> Integers:
        """The bin of each number; there is none for a NaN."""

    @property
    def bounds(self) -> tuple[Doubles, Doubles]:
        """The least and the largest float64 of each bin."""


@dataclass(frozen=True)
class Halves:
    """float16 or bfloat16: bin 2**15 + k has the number of bits k, bin 2**15 - k its negative."""

    name: str
    size = 1 << 16
    exact = True

    def bins(self, values: NDArray[Any]) -> Integers:
        bits = np.ascontiguousarray(values).view(np.uint16).astype(np.int64)
        return np.where(bits < _SIGN, _SIGN + bits, 2 * _SIGN - bits)  # -0.0 is 0.0

    @cached_property
    def bounds(self) -> tuple[Doubles, Doubles]:
        infinity = 0x7C00 if self.name == "float16" else 0x7F80
        bits = np.arange(infinity + 1, dtype=np.uint16)
        positive = np.full(_SIGN, np.nan)
        if self.name == "float16":
            positive[: len(bits)] = bits.view(np.float16)
        else:
            positive[: len(bits)] = (bits.astype(np.uint32) << 16).view(np.float32)
        every = np.concatenate([[np.nan], -positive[:0:-1], positive])
        return every, every


@dataclass(frozen=True)
class Magnitudes:
    """Numbers from 0 to inf by exponent and `mantissa` leading bits, 2**-mantissa wide.

    Bin 0 has what is below 2**least, the last bin what is from about 2**most on.
    """

    least: int = -64
    most: int = 64
    mantissa: int = 10
    exact = False

    @property
    def name(self) -> str:
        return f"magnitudes of {self.size} bins"

    @property
    def size(self) -> int:
        return (self.most - self.least) << self.mantissa

    @property
    def _first(self) -> int:
        """The leading bits of 2**least, less one for bin 0."""
        return ((_ONE + self.least) << self.mantissa) - 1

    def bins(self, values: NDArray[Any]) -> Integers:
        bits = np.ascontiguousarray(values, np.float64).view(np.int64)
        leading = bits >> (_MANTISSA - self.mantissa)
        return np.clip(leading - self._first, 0, self.size - 1)

    @cached_property
    def bounds(self) -> tuple[Doubles, Doubles]:
        leading = np.arange(1, self.size, dtype=np.int64) + self._first
        edges = (leading << (_MANTISSA - self.mantissa)).view(np.float64)
        lower = np.concatenate([[0.0], edges])
        return lower, np.concatenate([np.nextafter(edges, 0.0), [np.inf]])


@dataclass(frozen=True)
class Counts(Magnitudes):
    """Whole numbers from 0: those below 2**(mantissa + 1) have bins of their own."""

    least: int = 0
    most: int = 32

    @cached_property
    def bounds(self) -> tuple[Doubles, Doubles]:
        lower, upper = super().bounds
        lower, upper = np.ceil(lower), np.floor(upper)
        some = lower <= upper
        return np.where(some, lower, np.nan), np.where(some, upper, np.nan)


@dataclass(frozen=True)
class Signed:
    """Numbers of both signs by their magnitudes: bin n + k has those of k, n - k the negative."""

    magnitudes: Magnitudes
    exact = False

    @property
    def name(self) -> str:
        return f"signed {self.magnitudes.name}"

    @property
    def size(self) -> int:
        return 2 * self.magnitudes.size

    def bins(self, values: NDArray[Any]) -> Integers:
        wide = np.asarray(values, np.float64)
        found = self.magnitudes.bins(np.abs(wide))
        return self.magnitudes.size + np.where(wide < 0, -found, found)

    @cached_property
    def bounds(self) -> tuple[Doubles, Doubles]:
        lower, upper = self.magnitudes.bounds
        least = np.concatenate([[np.nan], -upper[:0:-1], -upper[:1], lower[1:]])
        most = np.concatenate([[np.nan], -lower[:0:-1], upper])
        return least, most


@dataclass(frozen=True)
class Shares:
    """Numbers from 0 to 1, as fine near 1 as near 0: above a half by what they lack, 1 - p.

    1 - p is exact there, so that no two probabilities meet that are told apart near 0.
    """

    magnitudes: Magnitudes = Magnitudes(-32, 0)
    exact = False

    @property
    def name(self) -> str:
        return f"shares of {self.size} bins"

    @property
    def size(self) -> int:
        return 2 * self._middle + 1

    @property
    def _middle(self) -> int:
        """The bin of 1/2, which it has to itself."""
        return ((-1 - self.magnitudes.least) << self.magnitudes.mantissa) + 1

    def bins(self, values: NDArray[Any]) -> Integers:
        p = np.asarray(values, np.float64)
        found = self.magnitudes.bins(np.minimum(p, 1.0 - p))
        return np.where(p <= 0.5, found, self.size - 1 - found)

    @cached_property
    def bounds(self) -> tuple[Doubles, Doubles]:
        lower, upper = (bound[: self._middle] for bound in self.magnitudes.bounds)
        following = np.concatenate([lower[1:], [0.5]])
        above = np.nextafter(1.0 - following[::-1], 1.0), 1.0 - lower[::-1]
        return (
            np.concatenate([lower, [0.5], above[0]]),
            np.concatenate([upper, [0.5], above[1]]),
        )


LOSSES: Scale = Magnitudes()
RANKS: Scale = Counts()
LOGITS: Scale = Signed(Magnitudes(-15, 17))
PROBABILITIES: Scale = Shares()


class Histogram:
    """Exact counts, or sums of weights, over the bins of a scale, for each of some groups.

    Parameters
    ----------
    scale : Scale
    groups : int

    Examples
    --------
    >>> import numpy as np
    >>> from lossgrad.evaluation.histogram import LOSSES, Histogram
    >>> first, second = Histogram(LOSSES), Histogram(LOSSES)
    >>> first.add(np.array([0.5, 2.0]))
    >>> second.add(np.array([7.0]))
    >>> first.merge(second)
    >>> first.distribution().quantile(0.5).lower
    2.0
    """

    def __init__(self, scale: Scale, groups: int = 1) -> None:
        self.scale, self.groups = scale, groups
        self._sums = ExactSums(groups * scale.size)

    def add(
        self, values: NDArray[Any], groups: ArrayLike = 0, weight: Doubles | None = None
    ) -> None:
        """Add scores, none of them nan, each to its group."""
        at = self.scale.bins(values) + np.asarray(groups, np.int64) * self.scale.size
        self._sums.add(weight, at)

    def merge(self, other: "Histogram") -> None:
        """Add another's sums."""
        if other.scale != self.scale:
            raise ValueError(f"scores of {other.scale.name} do not merge with {self.scale.name}")
        self._sums.merge(other._sums)

    def to_bytes(self) -> bytes:
        """The sums; equal ones give equal bytes."""
        return self._sums.to_bytes()

    @classmethod
    def from_bytes(
        cls, scale: Scale, groups: int, data: memoryview
    ) -> tuple["Histogram", memoryview]:
        """Read what `to_bytes` wrote; also gives the bytes that follow."""
        found = cls.__new__(cls)
        found.scale, found.groups = scale, groups
        found._sums, rest = ExactSums.from_bytes(groups * scale.size, data)
        return found, rest

    def total(self) -> float:
        """The sum of all weights."""
        return self._sums.total()

    def totals(self) -> ExactSums:
        """The sum of all weights of each group."""
        groups = np.repeat(np.arange(self.groups), self.scale.size)
        return self._sums.summed(groups, self.groups)

    def weights(self) -> Doubles:
        """The weight in each bin of each group."""
        return self._sums.values().reshape(self.groups, self.scale.size)

    def distribution(self) -> "Distribution":
        """How the scores of all groups are spread."""
        weights = self.weights().sum(axis=0)
        some = np.flatnonzero(weights)
        lower, upper = (bound[some] for bound in self.scale.bounds)
        return Distribution(weights[some], lower, upper)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Weights of bins in ascending order, with the least and the largest score of each.

    Of some quantiles the scores themselves may be known.
    """

    weight: Doubles
    lower: Doubles
    upper: Doubles
    known: dict[float, float] = field(default_factory=dict)

    def quantile(self, q: float) -> Bounded:
        """The smallest score that at least q of the weight is not above; nan of nothing.

        As `numpy.quantile` with method "inverted_cdf"; the value is the middle of its bin.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q is {q}, not from 0 to 1")
        if not self.weight.size:
            return Bounded(math.nan, math.nan, math.nan)
        if q in self.known:
            return Bounded(*3 * (self.known[q],))
        at = self.place(q)
        lower, upper = float(self.lower[at]), float(self.upper[at])
        return Bounded(float(middle(lower, upper)), lower, upper)

    def place(self, q: float) -> int:
        """The bin that a quantile is in."""
        upto = np.cumsum(self.weight)
        return int(np.argmax(upto >= q * upto[-1]))


def middle(lower: Any, upper: Any) -> Any:
    """Halfway; bounds that are the same infinity stay it."""
    return np.where(lower == upper, lower, 0.5 * lower + 0.5 * upper)
