"""Derive the polynomial coefficients of ``vmath.h`` and print them as hex floats.

Each polynomial is the Chebyshev interpolant of its function (within a small factor of minimax),
computed by mpmath at 200 bits and rounded to the working type; the error printed beside it is that
of the rounded polynomial, relative to the function the kernels build from it.

Run: ``python csrc/tools/coefficients.py`` (needs mpmath and NumPy).
"""

import struct

import mpmath as mp
import numpy as np

mp.mp.prec = 200
LN2 = mp.log(2)


def exp_tail(r):
    """q in exp(r) = 1 + r + r^2 q(r)."""
    if abs(r) < mp.mpf(2) ** -60:
        return mp.mpf(1) / 2 + r / 6
    return (mp.exp(r) - 1 - r) / r**2


def log_tail(w):
    """P in log((1 + s) / (1 - s)) = 2 s + s w P(w) with w = s^2."""
    if w < mp.mpf(2) ** -60:
        return mp.mpf(2) / 3 + mp.mpf(2) / 5 * w
    s = mp.sqrt(w)
    return (mp.log((1 + s) / (1 - s)) - 2 * s) / (s * w)


def rounded(value, dtype):
    return float(np.float32(value)) if dtype == "f32" else float(value)


def show(name, dtype, value):
    if dtype == "f32":
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        print(f"  {name:8s} {float(value).hex()}f   /* {value!r}, bits {bits:#010x} */")
    else:
        print(f"  {name:8s} {float(value).hex()}   /* {value!r} */")


def fit(name, function, interval, degree, dtype, relative):
    poly = mp.chebyfit(function, interval, degree + 1)[::-1]
    coefficients = [rounded(c, dtype) for c in poly]
    worst = max(
        abs(mp.polyval(coefficients[::-1], x) - function(x)) * relative(x)
        for x in mp.linspace(interval[0], interval[1], 801)
    )
    print(f"{name} {dtype}: degree {degree}, error 2^{float(mp.log(worst, 2)):.1f} of the result")
    for k, c in enumerate(coefficients):
        show(f"c{k}", dtype, c)


def split_ln2(dtype, bits):
    """ln 2 as high + low, the high part with so few bits that n * high is exact."""
    high = mp.mpf(int(mp.floor(LN2 * 2**bits))) / 2**bits
    print(f"ln 2 {dtype}: high part of {bits} bits")
    show("high", dtype, rounded(high, dtype))
    show("low", dtype, rounded(LN2 - high, dtype))


half = LN2 / 2 * mp.mpf("1.001")
for dtype, degree in (("f32", 4), ("f64", 9)):
    fit("exp", exp_tail, [-half, half], degree, dtype, lambda r: r**2 / mp.exp(r))
widest = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
for dtype, degree in (("f32", 3), ("f64", 6)):
    fit("log", log_tail, [0, widest**2 * mp.mpf("1.001")], degree, dtype, lambda w: w / 2)
split_ln2("f32", 14)
split_ln2("f64", 40)
for dtype in ("f32", "f64"):
    show("log2(e)", dtype, rounded(1 / LN2, dtype))
    show("ln 2", dtype, rounded(LN2, dtype))
