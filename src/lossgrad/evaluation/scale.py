"""Sample weights at any scale: what is made of them must not leave the range of float64.

A weight s = a 2**(512 k) with a in [2**-256, 2**256) is measured as a, whose square and whose
products with losses are ordinary numbers; the sums then count what they get 2**(512 k) times.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_STEP = 512
_LIMBS = _STEP // 32
_ORDINARY = 2.0 ** (-_STEP // 2), 2.0 ** (_STEP // 2)


def bands(
    weights: NDArray[np.float64] | None,
) -> Iterator[tuple[int, NDArray[np.float64] | None]]:
    """(limbs, weights): the weights of each k scaled, the others 0; usually all at once, as are."""
    if weights is None:
        yield 0, None
        return
    if ((weights == 0) | is_ordinary(weights)).all():
        yield 0, weights
        return
    band = (np.frexp(weights)[1] + (_STEP // 2 - 1)) // _STEP
    for k in np.unique(band[weights > 0]).tolist():
        yield _LIMBS * k, np.where(band == k, np.ldexp(weights, -_STEP * k), 0.0)


def is_ordinary(weights: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each needs no scaling."""
    return (weights >= _ORDINARY[0]) & (weights < _ORDINARY[1])


def common_shift(sum_of_weights: float) -> int:
    """Limbs by which sums are to be shifted before their quotients are formed; usually 0."""
    if sum_of_weights == 0 or _ORDINARY[0] <= sum_of_weights < _ORDINARY[1]:
        return 0
    exponent = 1024 if sum_of_weights == math.inf else math.frexp(sum_of_weights)[1]
    return -exponent // 32
