"""Statistics of rows, as `lossgrad._statistics` has them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _arguments as check
from .._statistics import NOTHING, RowStatistics
from .row_losses import cross_entropy

Doubles = NDArray[np.float64]

BLOCK = 1 << 16  # logits at a time, so that the temporaries stay in the cache


def row_statistics(
    logits: NDArray[Any],
    labels: NDArray[Any],
    weight: NDArray[Any] | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> RowStatistics:
    """Statistics of each row of logits against its label."""
    x = check.floating(logits, "logits")
    x = x.astype(check.computed(x.dtype), copy=False)
    n, lse = len(x), np.empty(len(x))
    loss = cross_entropy(
        x,
        labels,
        weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction="none",
        lse=lse,
    )
    kept = labels != ignore_index
    defined = kept & ~np.isnan(loss)
    predicted, rank = np.full((2, n), NOTHING, np.int64)
    figures = np.zeros((4, n))
    step = max(1, BLOCK // x.shape[1])
    for start in range(0, n, step):
        rows = np.flatnonzero(defined[start : start + step]) + start
        values, y = x[rows].astype(np.float64), labels[rows].astype(np.int64)
        predicted[rows] = values.argmax(axis=1)
        rank[rows] = _ranks(values, y)
        figures[:, rows] = _figures(values, y)
    loss, lse = np.where(kept, loss, 0), np.where(kept, lse, 0.0)
    return RowStatistics(loss, lse, predicted, figures[0], rank, *figures[1:])


def _ranks(x: Doubles, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    columns = labels[:, np.newaxis]
    own = np.take_along_axis(x, columns, axis=1)
    equal = (x == own) & (np.arange(x.shape[1]) < columns)
    return np.count_nonzero((x > own) | equal, axis=1)


def _figures(x: Doubles, labels: NDArray[np.int64]) -> tuple[Doubles, ...]:
    """Largest probability, entropy, sum of squares and Brier score of rows without a nan.

    The largest term is 1; it is left out of the sums, so that what it leaves is not lost in it.
    """
    rows = np.arange(len(x))
    top = x.max(axis=1, keepdims=True)
    first = np.where(x[rows, labels] == top[:, 0], labels, x.argmax(axis=1))
    with np.errstate(invalid="ignore", under="ignore"):
        gap = np.where(x == top, 0.0, top - x)  # of an infinite maximum too
        power = np.exp(-gap)
        own = power[rows, labels]
        power[rows, first] = 0.0
        rest = power.sum(axis=1)
        total = 1.0 + rest
        spread = (power * np.where(power == 0.0, 0.0, gap)).sum(axis=1)
        others = (power * power).sum(axis=1)  # without the label's square, too:
        others -= np.where(first == labels, 0.0, own * own)
        # that of the largest, if it is not the label
        others = np.maximum(others, 0.0) + (first != labels)
        missing = np.where(first == labels, rest, total - own)
        squares = (1.0 + (power * power).sum(axis=1)) / total**2
        brier = (others + missing**2) / total**2
    return 1.0 / total, np.log1p(rest) + spread / total, squares, brier
