"""Numbers that must be in a range: probabilities, masses, weights."""

from __future__ import annotations

import math

import numpy as np

from ..backend import kernels
from ..environment import arithmetic
from .containers import Array


def probabilities(a: Array, name: str, num_threads: int | None = None) -> Array:
    """The array a, all of whose elements must be in [0, 1]."""
    return within(a, name, 1.0, "must be in [0, 1]", num_threads)


def masses(a: Array, name: str, num_threads: int | None = None) -> Array:
    """The array a, none of whose elements may be negative or NaN."""
    return within(a, name, math.inf, "must not be negative or NaN", num_threads)


def within(a: Array, name: str, most: float, rule: str, num_threads: int | None) -> Array:
    if kernels is None or not kernels.run_within(a, most, num_threads):
        _look_closer(a, name, most, rule)
    return a


@arithmetic()
def _look_closer(a: Array, name: str, most: float, rule: str) -> None:
    if a.size and not (a.min() >= 0 and a.max() <= most):  # a NaN is neither
        bad = ~((a >= 0) & (a <= most))
        index = tuple(map(int, np.unravel_index(int(bad.argmax()), a.shape)))
        place = f" at {index[0] if len(index) == 1 else index}" if index else ""
        raise ValueError(f"{name} {rule}, got {a[index]}{place}")
