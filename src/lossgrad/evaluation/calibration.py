"""How far probabilities can be taken at their word: figures of reliability bins."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.histogram import Bounded

Doubles = NDArray[np.float64]


class BrierTerms(NamedTuple):
    """A Brier score as reliability - resolution + uncertainty + within.

    Attributes
    ----------
    reliability : float
        Mean of (p_k - o_k)**2, p_k the mean probability and o_k the part that came true in the bin
        of a row: 0 is calibrated.
    resolution : float
        Mean of (o_k - o)**2, o the part that came true of all.
    uncertainty : float
        o (1 - o).
    within : float
        What bins hide: the mean of (p - p_k)**2 less twice that of (p - p_k)(t - o_k), and, of
        targets t between 0 and 1, less the mean of t (1 - t). It goes to 0 with narrow bins.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_terms(
    brier: float, rows: float, weight: Doubles, probability: Doubles, observed: Doubles
) -> BrierTerms:
    """Decompose a Brier score; of several classes or labels each has its own o, and terms add up.

    Parameters
    ----------
    brier : float
        The score: a sum over all terms, divided by `rows`.
    rows : float
    weight, probability, observed : ndarray of shape (classes, bins)
        Sums over the rows of each bin: of 1, of the class's probability, of its target.
    """
    every = weight.sum(axis=1, keepdims=True)
    base = _quotients(observed.sum(axis=1, keepdims=True), every)
    p, o = _quotients(probability, weight), _quotients(observed, weight)
    reliability = float((weight * (p - o) ** 2).sum() / rows)
    resolution = float((weight * (o - base) ** 2).sum() / rows)
    uncertainty = float((every * base * (1.0 - base)).sum() / rows)
    within = brier - (reliability - resolution + uncertainty)
    return BrierTerms(reliability, resolution, uncertainty, within)


def calibration_error(weight: Doubles, probability: Doubles, observed: Doubles) -> Doubles:
    """Expected calibration error along the last axis: the mean over rows of |p_k - o_k|.

    The arguments are sums over the rows of each bin, as in `brier_terms`.
    """
    return np.abs(probability - observed).sum(axis=-1) / weight.sum(axis=-1)


def equal_mass_error(
    right: Doubles, wrong: Doubles, confidence: Sequence[Doubles], bins: int
) -> Bounded:
    """Expected calibration error over bins of equal weight.

    A bin ends with the first cell that brings the weight so far to k / `bins` of the whole: scores
    of one cell stay together. The mean confidence of a bin is known between the means of the
    bounds, and so is the error.

    Parameters
    ----------
    right, wrong : ndarray of shape (n,)
        Weights in the cells of the confidence, from the lowest on, of rows that are right or wrong.
    confidence : sequence of three ndarrays
        The sum of the confidences in each cell: the likely one, the least and the largest.
    bins : int
    """
    weight = right + wrong
    some = np.flatnonzero(weight)
    if not some.size:
        return Bounded(np.nan, np.nan, np.nan)
    # A cell belongs to the bin that the weight before it is in.
    first, _ = mass(weight[some], bins)
    starts = np.flatnonzero(np.diff(np.floor(first), prepend=-1.0))
    hits = np.add.reduceat(right[some], starts)
    mean, least, most = (np.add.reduceat(one[some], starts) - hits for one in confidence)
    total = weight.sum()
    closest = np.maximum(np.maximum(least, -most), 0.0)
    furthest = np.maximum(np.abs(least), np.abs(most))
    return Bounded(*(float(one.sum() / total) for one in (np.abs(mean), closest, furthest)))


def mass(weight: Doubles, bins: int) -> tuple[Doubles, Doubles]:
    """In which of so many bins of equal weight a cell begins and ends, with what part of it."""
    upto = np.cumsum(weight)
    ends = upto * bins / upto[-1]  # in this order: a whole number of rows has no rounding
    return np.concatenate([[0.0], ends[:-1]]), ends


def _quotients(a: Doubles, b: Doubles) -> Doubles:
    return np.divide(a, b, out=np.zeros_like(b), where=b > 0)
