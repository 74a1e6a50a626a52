"""Exact weighted sums of figures that may be negative, and the estimates that they give."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.comparison.results import Estimate
from lossgrad.evaluation.exact import UNITS, ExactSums
from lossgrad.evaluation.possible import check_between, check_squares
from lossgrad.evaluation.results import ratio, standard_error

Doubles = NDArray[np.float64]
_PLUS, _MINUS, _SQUARE, _CROSS_PLUS, _CROSS_MINUS = range(5)
_EACH = 5
_WEIGHT, _WEIGHT_SQUARE = range(2)


class Sums:
    """For each named figure f and sample weights s the sums of s f, (s f)**2 and s f s.

    With those of s and s**2 they give the weighted mean and its standard error. What is not
    negative and what is not positive are added up apart, since `ExactSums` takes no signs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._at = {name: 2 + _EACH * k for k, name in enumerate(names)}
        self._sums = ExactSums(2 + _EACH * len(names))
        self._terms = 0

    def add(self, figures: dict[str, Doubles], weight: Doubles | None) -> None:
        """Add a value of every figure for each of some rows, without weight 1 for each."""
        count = len(next(iter(figures.values())))
        s = np.ones(count) if weight is None else weight
        self._terms += count
        self._sums.add(s, _WEIGHT)
        self._sums.add(s * s, _WEIGHT_SQUARE)
        with np.errstate(over="ignore", invalid="ignore"):
            for name, values in figures.items():
                weighted = np.where(s == 0.0, 0.0, s * values)
                cross = np.where(s == 0.0, 0.0, s * weighted)
                at = self._at[name]
                self._sums.add(weighted * weighted, at + _SQUARE)
                for sign, plus, product in ((1, _PLUS, _CROSS_PLUS), (-1, _MINUS, _CROSS_MINUS)):
                    self._sums.add(np.maximum(sign * weighted, 0.0), at + plus)
                    self._sums.add(np.maximum(sign * cross, 0.0), at + product)

    def merge(self, other: "Sums") -> None:
        """Add another's sums of the same figures."""
        self._sums.merge(other._sums)
        self._terms += other._terms

    def to_bytes(self) -> bytes:
        """The sums; equal ones give equal bytes."""
        return self._sums.to_bytes()

    def restore(self, terms: int, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote, of so many rows: the bytes that follow."""
        self._sums, rest = ExactSums.from_bytes(self._sums.size, data)
        self._terms = terms
        return rest

    def of_weight(self) -> ExactSums:
        """The sum of the weights."""
        return self._sums.chosen([_WEIGHT])

    def of(self, name: str, negative: bool = False) -> ExactSums:
        """The sum of what is not negative of a figure, or of what is."""
        return self._sums.chosen([self._at[name] + (_MINUS if negative else _PLUS)])

    def check(self, positive: Sequence[str], parts: Sequence[str]) -> None:
        """Raise a ValueError if figures that are never negative are, or parts are above 1."""
        if self.of_weight().infinite:
            raise ValueError("an infinite sum of weights")
        for name in positive:
            if self.of(name, negative=True).numbers() != [(0, 0)]:
                raise ValueError(f"negative sums of {name}")
        values = self._sums.values()
        check_squares("weights", values[_WEIGHT], values[_WEIGHT_SQUARE], self._terms)
        for name, at in self._at.items():
            plus, minus, square, *cross = values[at : at + _EACH]
            check_squares(name, plus + minus, square, self._terms)
            check_between(name, 0.0, cross, np.multiply([plus, minus], values[_WEIGHT]))
        for name in parts:
            check_between(name, 0.0, self.of(name).values(), self.weight)

    @property
    def weight(self) -> float:
        """The sum of the weights."""
        return self._value(_WEIGHT)

    def _value(self, group: int) -> float:
        return float(self._sums.chosen([group]).values()[0])

    def mean(self, name: str) -> float:
        """The weighted mean; nan of nothing, and of both infinities."""
        plus, minus = (self._value(self._at[name] + k) for k in (_PLUS, _MINUS))
        if plus == math.inf or minus == math.inf:
            return plus - minus
        return ratio(self._difference(name, _PLUS, _MINUS) / UNITS, self.weight)

    def _difference(self, name: str, plus: int, minus: int) -> int:
        at = self._at[name]
        return self._sums.units(at + plus) - self._sums.units(at + minus)

    def error(self, name: str) -> float:
        """The standard error of the mean, for independent rows."""
        if not math.isfinite(self.mean(name)):
            return math.nan
        squares = (
            self._sums.units(self._at[name] + _SQUARE),
            self._difference(name, _CROSS_PLUS, _CROSS_MINUS),
            self._sums.units(_WEIGHT_SQUARE),
        )
        total, divisor = self._difference(name, _PLUS, _MINUS), self._sums.units(_WEIGHT)
        return standard_error(squares, total, divisor, UNITS, self._terms)

    def estimate(self, name: str) -> Estimate:
        """The mean and its standard error."""
        return Estimate(self.mean(name), self.error(name))


def correlation(sums: ExactSums, groups: Sequence[int]) -> float:
    """Pearson's, from exact sums of s, s a, s b, s a a, s b b and s a b; nan where one is constant.

    In whole numbers up to the last division: nothing cancels.
    """
    if sums.infinite:
        return math.nan
    s, a, b, aa, bb, ab = (sums.units(group) for group in groups)
    covariance, first, second = s * ab - a * b, s * aa - a * a, s * bb - b * b
    if first <= 0 or second <= 0:
        return math.nan
    root = math.isqrt((first * second) << 128)  # 64 bits behind the point
    return min(1.0, max(-1.0, (covariance << 64) / root))
