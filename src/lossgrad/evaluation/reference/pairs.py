"""Statistics of two models' rows, as `lossgrad.evaluation.pairs` has them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.records import NOTHING
from lossgrad.evaluation.reference.statistics import ranks
from lossgrad.reference._double import LN2, exp, expm1, log1p, select, sum_first, wide
from lossgrad.reference.softmax_family import Rows, blocks, doubles, measure

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
_TERMS = 25  # of a series in squares below 0.22


def pair_statistics(
    base: NDArray[Any],
    other: NDArray[Any],
    labels: NDArray[Any] | None,
    top: int,
    ignore_index: int,
) -> PairStatistics:
    """Statistics of two matrices of logits that are computed alike; labels are not checked yet."""
    n, classes = base.shape
    y = np.full(n, NOTHING)
    if labels is not None:
        kept = check.check_labels(labels, classes, ignore_index)
        y[kept] = labels[kept]
    found = PairStatistics(*np.full((6, n), np.nan), *np.full((5, n), NOTHING, np.int64))
    for part in blocks(n, classes):
        for whole, value in zip(found, _block(base[part], other[part], y[part], top), strict=True):
            whole[part] = value
    return found


@np.errstate(all="ignore")
def _block(base: NDArray[Any], other: NDArray[Any], y: Integers, top: int) -> PairStatistics:
    x, z = measure(doubles(base)), measure(doubles(other))
    base_found, other_found = _against(x, y), _against(z, y)
    both = (base_found[2] >= 0) & (other_found[2] >= 0)
    same = np.count_nonzero(_first(x.x, top) & _first(z.x, top), axis=0)
    ratio = _log_ratio(x, z)
    *found, lost = _divergences(x.probabilities(), z.probabilities(), ratio)
    gap = np.where(y >= 0, lost - ratio[y, np.arange(len(y))], np.nan)
    known = np.isfinite(x.pivot) & np.isfinite(z.pivot) & both
    figures = np.where(known, np.array([*found, gap]), np.nan)
    (loss, rank, first), (other_loss, other_rank, other_first) = base_found, other_found
    overlap = np.where(both, same, NOTHING)
    choices = rank, other_rank, first, other_first, overlap
    kl, kl_reverse, js, gap = figures
    return PairStatistics(kl, kl_reverse, js, loss, other_loss, gap, *choices)


def _against(of: Rows, y: Integers) -> tuple[Doubles, Integers, Integers]:
    """Loss, rank and first choice of rows, for labels where they are not negative."""
    x, defined, own = of.x.T, ~np.isnan(of.total), of.x[y, np.arange(len(y))]
    gap = select(own == of.pivot, 0.0, wide(of.pivot) - own)
    loss = np.where(defined & (y >= 0), (gap + of.log).rounded(), np.nan)
    rank = np.where(defined & (y >= 0), ranks(x, y), NOTHING)
    return loss, rank, np.where(defined, x.argmax(axis=1), NOTHING)


def _first(x: Doubles, top: int) -> NDArray[np.bool_]:
    """Whether a class is among the first choices, of equal ones the earlier."""
    chosen = np.zeros(x.shape, np.bool_)
    if top:
        order = np.argsort(-x, axis=0, kind="stable")[:top]
        np.put_along_axis(chosen, order, True, axis=0)
    return chosen


def _log_ratio(x: Rows, z: Rows) -> Doubles:
    """log(q / p): -inf, inf and nan where q, p or both are masked."""
    gone, other_gone = np.isneginf(x.x), np.isneginf(z.x)
    own = wide(np.where(gone, 0.0, x.x)) - x.pivot
    others = wide(np.where(other_gone, 0.0, z.x)) - z.pivot
    ratio = ((others - own) + (x.log - z.log)).rounded()
    both = np.where(gone & other_gone, np.nan, np.inf)
    return np.where(gone, both, np.where(other_gone, -np.inf, ratio))


def _divergences(p: Doubles, q: Doubles, ratio: Doubles) -> Iterator[Doubles]:
    """KL(p || q), KL(q || p), Jensen-Shannon and the ratios' common error, as in csrc/pairs.h."""
    less, more = ratio < 0, ratio > 0  # nothing of what is equal, or masked in both
    largest = np.where(less, p, np.where(more, q, 0.0))
    a = np.where(less | more, abs(ratio), 0.0)
    near, far, middle, gap = _bends(a)
    bounded = np.minimum(near, np.finfo(np.float64).max)
    masked = np.isinf(a)
    for side, opposite in ((less, more), (more, less)):
        terms = np.where(side, largest * bounded, np.where(opposite, largest * far, 0.0))
        yield np.where((side & masked).any(axis=0), np.inf, sum_first(terms))
    yield sum_first(largest * middle)
    yield sum_first(largest * np.where(less, -gap, gap))


def _bends(a: Doubles) -> tuple[Doubles, ...]:
    """near, far, middle and less of a not negative, as csrc/pairs.h has them."""
    size = np.minimum(a, 1e4)
    z = exp(-size).rounded()
    small = np.where(a < 1, a, 0.0)
    near = np.where(a < 1, (expm1(-small) + small).rounded(), (a - 1.0) + z)
    less = -expm1(-size).rounded()
    far = np.where(a < 1, (small * less) - near, less - size * z)
    tanh = less / (1.0 + z)
    series = np.zeros_like(a)
    for k in range(_TERMS, 0, -1):
        series = series * tanh**2 + 1 / (2 * k * (2 * k - 1))
    ends = LN2.rounded() - (log1p(z).rounded() + size * z / (1.0 + z))
    return near, far, 0.5 * (1.0 + z) * np.where(a < 1, series * tanh**2, ends), less
