"""Derive the polynomial coefficients of ``vmath.h`` and ``pairs.h`` and print them as hex floats.

Each polynomial is the minimax one (Remez exchange at 200 bits) after a first coefficient that is
Taylor's, all rounded to the working type; the error printed beside it is that
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


def log_share(w):
    """What an error of that P is in log((1 + s) / (1 - s))."""
    s = mp.sqrt(w)
    return s * w / mp.log((1 + s) / (1 - s)) if w else mp.mpf(0)


def log1p_share(f):
    """P in log(1 + f) = f P(f)."""
    return mp.log(1 + f) / f if abs(f) > mp.mpf(2) ** -60 else 1 - f / 2


def log1p_tail(z):
    """q in log(1 + z) = z + z^2 q(z)."""
    if abs(z) < mp.mpf(2) ** -60:
        return -mp.mpf(1) / 2 + z / 3
    return (mp.log(1 + z) - z) / z**2


def cosh_tail(w):
    """q in log(cosh(x / 2)) = w q(w) with w = x^2."""
    if w < mp.mpf(2) ** -60:
        return mp.mpf(1) / 8 - w / 192
    return mp.log(mp.cosh(mp.sqrt(w) / 2)) / w


def tanh_tail(w):
    """q in tanh(a) = a + a w q(w) with w = a^2."""
    if w < mp.mpf(2) ** -60:
        return -mp.mpf(1) / 3 + 2 * w / 15
    a = mp.sqrt(w)
    return (mp.tanh(a) - a) / (a * w)


def tanh_share(w):
    """a w / tanh(a) with w = a^2."""
    return w * mp.sqrt(w) / mp.tanh(mp.sqrt(w)) if w else mp.mpf(0)


def bend(a):
    """q in exp(-a) = 1 - a + a^2 q(a)."""
    return exp_tail(-a)


def reverse_share(u):
    """q in u exp(u) - exp(u) + 1 = u^2 q(u)."""
    if abs(u) < mp.mpf(2) ** -60:
        return mp.mpf(1) / 2 + u / 3
    return (u * mp.exp(u) - mp.expm1(u)) / u**2


def both_share(u):
    """q in (exp(u) (u - m) - m) / 2 = u^2 q(u), m = log((1 + exp(u)) / 2)."""
    if abs(u) < mp.mpf(2) ** -60:
        return mp.mpf(1) / 8 + u / 16
    m = mp.log((1 + mp.exp(u)) / 2)
    return (mp.exp(u) * (u - m) - m) / (2 * u**2)


def middle(w):
    """q in (a / 2) tanh(a / 2) - log(cosh(a / 2)) = w q(w) with w = a^2."""
    if w < mp.mpf(2) ** -60:
        return mp.mpf(1) / 8 - w / 64
    half = mp.sqrt(w) / 2
    return (half * mp.tanh(half) - mp.log(mp.cosh(half))) / w


def entropy_tail(z):
    """(1 + z) log(1 + z) / z - log(2)."""
    if z < mp.mpf(2) ** -60:
        return 1 + z / 2 - LN2
    return (1 + z) * mp.log(1 + z) / z - LN2


def rounded(value, dtype):
    return float(np.float32(value)) if dtype == "f32" else float(value)


def show(name, dtype, value):
    if dtype == "f32":
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        print(f"  {name:8s} {float(value).hex()}f   /* {value!r}, bits {bits:#010x} */")
    else:
        print(f"  {name:8s} {float(value).hex()}   /* {value!r} */")


def minimax(function, interval, degree, weight):
    """Remez exchange for the polynomial that minimises max |weight (p - function)|, c0 first."""
    n = degree + 2
    middle, radius = (interval[0] + interval[1]) / 2, (interval[1] - interval[0]) / 2
    points = [middle - radius * mp.cos(mp.pi * k / (n - 1)) for k in range(n)]
    grid = mp.linspace(interval[0], interval[1], 4001)
    values = [(function(x), weight(x)) for x in grid]
    for _ in range(12):
        rows = mp.matrix(n, n)
        right = mp.matrix(n, 1)
        for i, x in enumerate(points):
            for k in range(degree + 1):
                rows[i, k] = x**k
            rows[i, n - 1] = (-1) ** i / weight(x)
            right[i] = function(x)
        solution = mp.lu_solve(rows, right)
        coefficients = list(solution[: degree + 1])
        error = [
            (mp.polyval(coefficients[::-1], x) - f) * w
            for x, (f, w) in zip(grid, values, strict=True)
        ]
        # one extremum in each run of equal sign
        runs, start = [], 0
        for k in range(1, len(grid) + 1):
            if k == len(grid) or error[k] * error[start] < 0:
                runs.append(max(range(start, k), key=lambda i: abs(error[i])))
                start = k
        if len(runs) < n:
            break
        while len(runs) > n:
            runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
        points = [grid[k] for k in runs]
    return coefficients


def fit(name, function, interval, degree, dtype, relative):
    """Print the coefficients: the first is Taylor's, rounded, and the others make up for it."""
    first = rounded(function(mp.mpf(0)), dtype)
    tiny = mp.mpf(2) ** -30

    def rest(x):
        x = x if abs(x) > tiny else tiny
        return (function(x) - first) / x

    others = minimax(rest, interval, degree - 1, lambda x: relative(x) * abs(x) + mp.mpf(2) ** -80)
    coefficients = [first, *(rounded(c, dtype) for c in others)]
    worst = max(
        abs(mp.polyval(coefficients[::-1], x) - function(x)) * relative(x)
        for x in mp.linspace(interval[0], interval[1], 1601)
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


def tail(q, a):
    """(t + a) Phi(-t) exp(t^2 / 2) at t = a (1 + q) / (1 - q)."""
    t = a * (1 + q) / (1 - q)
    return (t + a) * mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2


def fit_tail(dtype, a, most, degree):
    """Print the coefficients for t in [0, most], lowest first."""
    interval = [mp.mpf(-1), mp.mpf(most - a) / (most + a)]
    exact = minimax(lambda q: tail(q, a), interval, degree, lambda q: 1 / tail(q, a))
    coefficients = [rounded(c, dtype) for c in exact]
    low = rounded(exact[0] - coefficients[0], dtype)  # of the constant, which dominates
    worst = max(
        abs((mp.polyval(coefficients[::-1], q) + low) / tail(q, a) - 1)
        for q in mp.linspace(interval[0], interval[1], 1601)
    )
    error = float(mp.log(worst, 2))
    print(f"normal tail {dtype}: degree {degree}, error 2^{error:.1f} of the result")
    show("c0 low", dtype, low)
    for k, c in enumerate(coefficients):
        show(f"c{k}", dtype, c)


def two_parts(name, value):
    """A constant as the sum of two float64."""
    high = float(value)
    print(f"{name}: {high!r}, {float(value - high)!r}")


half = LN2 / 2 * mp.mpf("1.001")
for dtype, degree in (("f32", 4), ("f64", 9)):
    fit("exp", exp_tail, [-half, half], degree, dtype, lambda r: r**2 / mp.exp(r))
widest = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
for dtype, degree in (("f32", 3), ("f64", 6)):
    fit("log", log_tail, [0, widest**2 * mp.mpf("1.001")], degree, dtype, lambda w: w / 2)
for dtype, degree in (("f32", 4), ("f64", 9)):
    fit("log1p", log_tail, [0, mp.mpf(1) / 9 * mp.mpf("1.001")], degree, dtype, log_share)
ends = [(mp.sqrt(x) - 1) * mp.mpf("1.000001") for x in (mp.mpf("0.5"), mp.mpf(2))]
fit("log1p", log1p_share, ends, 9, "f64", lambda f: 1 / log1p_share(f))
most = mp.exp(mp.mpf("-0.7")) * mp.mpf("1.0001")
for dtype, degree in (("f32", 7), ("f64", 16)):
    fit("log1p", log1p_tail, [0, most], degree, dtype, lambda z: z**2 / mp.log(1 + z) if z else 0)
for dtype, degree in (("f32", 3), ("f64", 7)):
    fit("cosh", cosh_tail, [0, mp.mpf("0.49")], degree, dtype, lambda w: w / mp.mpf("0.4"))
most = mp.mpf("0.2565") ** 2
for dtype, degree in (("f32", 2), ("f64", 6)):
    fit("tanh", tanh_tail, [0, most], degree, dtype, tanh_share)
for dtype, degree in (("f32", 7), ("f64", 13)):
    fit("bend", bend, [0, mp.mpf(2)], degree, dtype, lambda a: 1 / bend(a))
for dtype, degree in (("f32", 7), ("f64", 15)):
    fit("middle", middle, [0, mp.mpf(4)], degree, dtype, lambda w: 1 / middle(w))
small = [-mp.mpf(15) / 16, mp.mpf(15) / 16]
for dtype, degree in (("f32", 7), ("f64", 15)):
    for name, share in (("forward", exp_tail), ("reverse", reverse_share), ("both", both_share)):
        fit(name, share, small, degree, dtype, lambda u, share=share: 1 / share(u))
most = mp.exp(mp.mpf(-2)) * mp.mpf("1.0001")
for dtype, degree in (("f32", 4), ("f64", 9)):
    fit("entropy", entropy_tail, [0, most], degree, dtype, lambda z: z / mp.mpf("0.36"))
split_ln2("f32", 14)
split_ln2("f64", 40)
for dtype in ("f32", "f64"):
    show("log2(e)", dtype, rounded(1 / LN2, dtype))
    show("ln 2", dtype, rounded(LN2, dtype))
    show("its rest", dtype, rounded(LN2 - rounded(LN2, dtype), dtype))
fit_tail("f32", 3, 14.625, 10)
fit_tail("f64", 4, 39, 24)
slope = 2 * mp.sqrt(2 / mp.pi)
two_parts("2 sqrt(2 / pi)", slope)
two_parts("2 sqrt(2 / pi) 0.044715", slope * mp.mpf("0.044715"))
two_parts("1 / sqrt(2 pi)", 1 / mp.sqrt(2 * mp.pi))
scale = mp.mpf("1.0507009873554804934193349852946")
alpha = mp.mpf("1.6732632423543772848170429916717")
two_parts("ln 2", LN2)
two_parts("selu's scale", scale)
two_parts("selu's scale alpha", scale * alpha)
