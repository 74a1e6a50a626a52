"""float64 with a second term, about 106 bits: what the reference computes in.

``Wide`` also has an exponent of its own, so that nothing overflows or underflows on the way. An
infinity is taken in as 2**(2**21), far beyond every float64 and every gap between exponentials, so
that limits at infinity come out of the formulas by themselves; rounding makes it infinite again.

Exponentials and logarithms are series of sums, products and quotients, which IEEE 754 defines:
NumPy's own differ from one processor to the next.
"""

import functools
import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Integers = NDArray[np.intc]

_INFINITE = 1 << 21
_BEYOND = 1 << 20  # exponents that no product of numbers has, and every one with an infinity
_FAR = 2.0**19  # exp(-_FAR) is 0 to every purpose but its sign
_ZERO = -(1 << 20)  # exponent of 0, so that it never decides how a sum is aligned
_LN2, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_PER_LN2 = float.fromhex("0x1.71547652b82fep+0")


def _sum_and_error(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b rounded, and what rounding took off (Knuth), or what is not finite."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b rounded, and what rounding took off; 0 where that is not finite."""
    s, error = _sum_and_error(a, b)
    return s, np.where(np.isfinite(error), error, 0.0)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b rounded, and what rounding took off (Dekker), without overflow or underflow."""
    p = a * b
    c, d = a * 134217729.0, b * 134217729.0  # 2**27 + 1
    a1, b1 = c - (c - a), d - (d - b)
    a2, b2 = a - a1, b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def two_part_sum(terms: Doubles) -> tuple[Doubles, Doubles]:
    """The sum along the first axis in two parts: in twice the working precision.

    The upper half is folded onto the lower one, at powers of two: zeros at the end change nothing.
    """
    total, error = terms.copy(), np.zeros_like(terms)
    while (n := len(total)) > 1:
        half = 1 << ((n - 1).bit_length() - 1)
        total[: n - half], lost = two_sum(total[: n - half], total[half:])
        error[: n - half] += error[half:] + lost
        total, error = total[:half], error[:half]
    return total[0], np.where(np.isfinite(error[0]), error[0], 0.0)


def sum_first(terms: Doubles) -> Doubles:
    """The sum along the first axis, rounded."""
    total, error = two_part_sum(terms)
    result: Doubles = total + error
    return result


def scaled_exp(x: Doubles, low: Any = 0.0) -> tuple[Doubles, Doubles, Integers]:
    """(power, rest, n): exp(x + low) = (power + rest) 2**n for low much smaller than x.

    power is exp(x + low) 2**-n rounded; with rest it is within 2**-59 of the exact value, relative.
    """
    nothing = x == -np.inf
    low = np.where(abs(x) < _FAR, low, 0.0)
    x = np.clip(x, -_FAR, _FAR)
    n = np.rint(x * _PER_LN2)
    r, low = two_sum(x - n * _LN2, low - n * _LN2_LOW)
    series = np.full_like(r, 1 / math.factorial(14))
    for k in range(13, 2, -1):
        series = series * r + 1 / math.factorial(k)
    square, square_low = two_product(r, r)
    high, error = two_sum(1.0, r)
    high, more = two_sum(high, 0.5 * square)
    tail = low + low * r + (0.5 * square_low + series * r * square)
    power, rest = two_sum(high, error + more + tail)
    exponent = np.where(np.isnan(n), 0.0, n).astype(np.intc)
    return np.where(nothing, 0.0, power), np.where(nothing, 0.0, rest), exponent


@np.errstate(all="ignore")
def exact_sum(values: Array) -> float:
    """The sum of all values, correctly rounded."""
    special = values[~np.isfinite(values)]
    numbers = (special if special.size else values.reshape(-1)).astype(np.float64).tolist()
    try:
        return math.fsum(numbers)
    except OverflowError:  # on the way, perhaps not in the end
        exact = sum(map(Fraction, numbers))
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf
    except ValueError:  # inf - inf
        return math.nan


class Wide:
    """Numbers (high + low) 2**n, with high in [1/2, 1) or 0 and low at most half its last place."""

    __slots__ = ("high", "low", "n")
    __array_ufunc__ = None  # array * Wide is for Wide

    def __init__(self, high: Any, low: Any = 0.0, n: Any = 0) -> None:
        total, rest = _sum_and_error(high, low)
        if np.isfinite(rest).all() and np.all(total):  # mostly: nothing infinite, NaN or 0
            self.high, more = np.frexp(total)
            self.low = np.ldexp(rest, -more)
            self.n: Any = (n + more).astype(np.intc, copy=False)
            return
        infinite = np.isinf(high)
        if infinite.any():
            high = np.where(infinite, np.copysign(1.0, high), high)
            low, n = np.where(infinite, 0.0, low), np.where(infinite, _INFINITE, n)
        total, rest = two_sum(high, low)
        self.high, more = np.frexp(np.where(total == 0, high, total))  # -0.0 stays
        self.low = np.ldexp(rest, -more)
        more = np.where(np.isnan(total), 0, n + more)
        self.n = np.where(self.high == 0, _ZERO, more).astype(np.intc)

    @classmethod
    def of_parts(cls, high: Any, low: Any, n: Any) -> "Wide":
        """Of parts that are as they have to be."""
        self = cls.__new__(cls)
        self.high, self.low, self.n = high, low, n
        return self

    def __getitem__(self, at: Any) -> "Wide":
        return Wide.of_parts(self.high[at], self.low[at], self.n[at])

    def __neg__(self) -> "Wide":
        return Wide.of_parts(-self.high, -self.low, self.n)

    def __add__(self, other: Any) -> "Wide":
        other = wide(other)
        n = np.maximum(self.n, other.n)
        down, other_down = self.n - n, other.n - n
        # no part is infinite, and where one is NaN the total is, too
        low, rest = _sum_and_error(np.ldexp(self.low, down), np.ldexp(other.low, other_down))
        total, error = _sum_and_error(np.ldexp(self.high, down), np.ldexp(other.high, other_down))
        total, low = _sum_and_error(total, low + error)
        return Wide(total, low + rest, n)

    def __sub__(self, other: Any) -> "Wide":
        return self + -wide(other)

    def __mul__(self, other: Any) -> "Wide":
        other = wide(other)
        product, error = two_product(self.high, other.high)
        return Wide(
            product, error + (self.high * other.low + self.low * other.high), self.n + other.n
        )

    def __truediv__(self, other: Any) -> "Wide":
        other = wide(other)
        q = self.high / other.high
        p, error = two_product(q, other.high)
        rest = (((self.high - p) - error) + self.low - q * other.low) / other.high
        return Wide(q, np.where(np.isfinite(rest), rest, 0.0), self.n - other.n)

    def __radd__(self, other: Any) -> "Wide":
        return self + other

    def __rsub__(self, other: Any) -> "Wide":
        return wide(other) - self

    def __rmul__(self, other: Any) -> "Wide":
        return self * other

    def __rtruediv__(self, other: Any) -> "Wide":
        return wide(other) / self

    @property
    def infinite(self) -> Any:
        """Where a factor of it was."""
        return self.n > _BEYOND

    def rounded(self) -> Doubles:
        """To the nearest float64."""
        result: Doubles = np.ldexp(self.high, self.n)
        return result


@functools.lru_cache(256)
def _number(x: float, sign: float) -> Wide:
    """x, of the sign that tells 0.0 from -0.0."""
    return Wide(x)


def wide(x: Any) -> Wide:
    if isinstance(x, Wide):
        return x
    return _number(x, math.copysign(1.0, x)) if type(x) is float else Wide(x)


def constant(digits: str) -> Wide:
    """A number given by all the digits that matter."""
    exact = Fraction(digits)
    return Wide(float(exact), float(exact - Fraction(float(exact))))


LN2 = constant("0.693147180559945309417232121458176568")
_PART = {k: wide(1.0) / k for k in (3, 5, 7)}


def select(mask: Any, a: Any, b: Any) -> Wide:
    """a where the mask holds, else b."""
    a, b = wide(a), wide(b)
    parts = ((a.high, b.high), (a.low, b.low), (a.n, b.n))
    return Wide.of_parts(*(np.where(mask, p, q) for p, q in parts))


def exp(x: Any) -> Wide:
    x = wide(x)
    high = x.rounded()  # a number beyond float64 is not yet an infinity
    high = np.where(np.isinf(high) & (x.n < _INFINITE - 1000), np.copysign(_FAR, high), high)
    return Wide(*scaled_exp(high, np.where(abs(high) < _FAR, np.ldexp(x.low, x.n), 0.0)))


def expm1(x: Any) -> Wide:
    """exp(x) - 1."""
    x = wide(x)
    value = x.rounded()
    small = abs(value) < 0.35
    r = np.where(small, value, 0.0)
    series = np.full_like(r, 1 / math.factorial(16))
    for k in range(15, 2, -1):
        series = series * r + 1 / math.factorial(k)
    return select(small, x + x * x * (x * series + 0.5), exp(x) - 1.0)


def _log1p_near(f: Wide) -> Wide:
    """log(1 + f) for f from sqrt(1/2) - 1 to sqrt(2) - 1, as 2 artanh(s) with s = f / (2 + f)."""
    s = f / (f + 2.0)
    square = s * s
    w = square.rounded()
    series = np.full_like(w, 1 / 25)  # w < 0.03
    for k in range(23, 7, -2):
        series = series * w + 1 / k
    total = wide(series)
    for k in (7, 5, 3):  # where rounding could show
        total = total * square + _PART[k]
    return 2.0 * (s + s * square * total)


def log1p(x: Any) -> Wide:
    """log(1 + x) for x > -1."""
    x = wide(x)
    near = abs(x.rounded()) < 0.29
    return select(near, _log1p_near(select(near, x, 0.0)), log(1.0 + x))


def log(x: Any) -> Wide:
    x = wide(x)
    shift = x.n - (x.high < math.sqrt(0.5))
    y = _log1p_near(Wide(x.high, x.low, x.n - shift) - 1.0) + LN2 * shift.astype(np.float64)
    y = select(x.high < 0, np.nan, y)
    return select(x.high == 0, -np.inf, select((x.high > 0) & (x.n == _INFINITE + 1), np.inf, y))
