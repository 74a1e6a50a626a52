"""How far probabilities can be taken at their word: figures of reliability bins."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.histogram import Bounded, middle

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
    right: Doubles, wrong: Doubles, bounds: tuple[Doubles, Doubles], bins: int
) -> Bounded:
    """Expected calibration error over bins of equal weight.

    A bin ends with the first bin of the histogram that brings the weight so far to k / `bins` of
    the whole: tied and nearly tied scores stay together. The mean confidence of a bin is known
    between the means of the bounds, and so is the error.

    Parameters
    ----------
    right, wrong : ndarray of shape (n,)
        The histogram of confidence, of rows that are right and wrong.
    bounds : tuple of two ndarrays
        The least and the largest confidence of each of its bins.
    bins : int
    """
    weight = right + wrong
    some = np.flatnonzero(weight)
    if not some.size:
        return Bounded(np.nan, np.nan, np.nan)
    right, weight = right[some], weight[some]
    lower, upper = bounds[0][some], bounds[1][some]
    total = weight.sum()
    # A histogram's bin belongs to the bin that the weight before it is in.
    before = np.concatenate([[0.0], np.cumsum(weight)[:-1]])
    starts = np.flatnonzero(np.diff(np.floor(before / total * bins), prepend=-1.0))
    hits = np.add.reduceat(right, starts)
    least, mean, most = (
        np.add.reduceat(weight * one, starts) - hits for one in (lower, middle(lower, upper), upper)
    )
    closest = np.maximum(np.maximum(least, -most), 0.0)
    furthest = np.maximum(np.abs(least), np.abs(most))
    return Bounded(*(float(one.sum() / total) for one in (np.abs(mean), closest, furthest)))


def _quotients(a: Doubles, b: Doubles) -> Doubles:
    return np.divide(a, b, out=np.zeros_like(b), where=b > 0)
