"""The ruler: distance between a result and the exact value in units in the last place (ULP).

The unit is the gap between neighbours of the result's dtype at the exact value, 2**-149 or
2**-1074 where that is subnormal. Exact values come from ``oracle.py`` in a wider type, or as
mpmath numbers in an object array.
"""

import functools

import mpmath
import numpy as np


def info(dtype):
    """The limits of a floating-point type; NumPy does not know those of bfloat16."""
    dtype = np.dtype(dtype)
    if dtype.name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo(dtype)
    return np.finfo(dtype)


def unit(exact, dtype):
    """The gap between neighbours of the dtype at a value of a wider type, in that type."""
    limits = info(dtype)
    lowest = limits.minexp - limits.nmant
    if exact.dtype == object:
        return np.frompyfunc(lambda v: _mp_unit(v, limits.nmant, lowest), 1, 1)(exact)
    exponent = np.frexp(exact)[1].astype(np.int64) - 1 - limits.nmant
    exponent = np.where(exact == 0, lowest, np.maximum(exponent, lowest))
    return np.ldexp(np.ones((), exact.dtype), exponent)


def _mp_unit(value, nmant, lowest):
    if value == 0 or not mpmath.isfinite(value):
        return mpmath.ldexp(1, lowest)
    return mpmath.ldexp(1, max(mpmath.frexp(value)[1] - 1 - nmant, lowest))


def distance(result, exact, larger=None):
    """ULP between a result and the exact values; NaN for NaN and inf for inf are 0 apart.

    Where `larger` is given the unit is that of `larger`, the larger of two terms that cancel.
    A result of inf is right where the exact value rounds to it.
    """
    result = np.asarray(result)
    assert result.shape == exact.shape, (result.shape, exact.shape)
    dtype = result.dtype
    scale = unit(exact if larger is None else np.maximum(abs(exact), abs(larger)), dtype)
    limits = info(dtype)
    if exact.dtype == object:
        limit = mpmath.ldexp(2 - mpmath.mpf(float(limits.eps)) / 2, limits.maxexp - 1)
        measure = np.frompyfunc(functools.partial(_mp_distance, limit=limit), 3, 1)
        with np.errstate(all="ignore"):
            return measure(result.astype(object), exact, scale).astype(np.float64)
    with np.errstate(all="ignore"):
        gap = abs(result.astype(exact.dtype) - exact) / scale
        limit = np.ldexp(np.asarray(2 - float(limits.eps) / 2, exact.dtype), limits.maxexp - 1)
        overflow = (abs(exact) >= limit) & (result == np.sign(exact) * np.inf)
        same = (result == exact) | (np.isnan(result) & np.isnan(exact)) | overflow
    gap = np.where(same, 0, gap)
    return np.where(np.isnan(gap), np.inf, gap).astype(np.float64)


def _mp_distance(result, exact, scale, limit=mpmath.inf):
    result = mpmath.mpf(float(result))
    if mpmath.isinf(result) and abs(exact) >= limit and (result > 0) == (exact > 0):
        return 0.0
    if result == exact or (mpmath.isnan(result) and mpmath.isnan(exact)):
        return 0.0
    gap = abs(result - exact) / scale
    return float("inf") if mpmath.isnan(gap) else float(gap)


def _surely_within(bound, result, exact, larger):
    """What need not be measured: a unit is more than eps / 2 times the exact value."""
    if exact.dtype == object:
        return np.zeros(exact.shape, bool)
    with np.errstate(all="ignore"):
        size = abs(exact) if larger is None else np.maximum(abs(exact), abs(larger))
        room = bound * (float(info(result.dtype).eps) / 2)
        return np.asarray(abs(result.astype(exact.dtype) - exact) <= room * size)


def assert_within(bound, result, exact, larger=None, inputs=None, what=""):
    """Fail, naming the worst place, if any result is further than `bound` ULP from exact."""
    result = np.asarray(result)
    assert result.shape == exact.shape, (result.shape, exact.shape)
    apart, rest = np.zeros(exact.shape), ~_surely_within(bound, result, exact, larger)
    size = None if larger is None else np.broadcast_to(larger, exact.shape)[rest]
    apart[rest] = distance(result[rest], exact[rest], size)
    if apart.size == 0 or apart.max() <= bound:
        return
    at = np.unravel_index(apart.argmax(), apart.shape)
    message = f"{what} at {tuple(map(int, at))}: {apart[at]:.3f} ULP, bound {bound}; "
    message += f"got {result[at]!r}, exact {exact[at]!r}"
    if inputs is not None:
        message += f", input {inputs[at]!r} ({float(inputs[at]).hex()})"
    raise AssertionError(f"{message}; {int((apart > bound).sum())} of {apart.size} beyond")
