"""Statistics of rows, as `lossgrad.evaluation.statistics` has them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad.evaluation.records import NOTHING, LabelStatistics, RowStatistics
from lossgrad.reference._double import exp, log1p, sum_first
from lossgrad.reference.losses import binary_cross_entropy_with_logits
from lossgrad.reference.row_losses import cross_entropy
from lossgrad.reference.softmax_family import blocks, doubles, measure

Doubles = NDArray[np.float64]


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
    check.labels_only(check.class_targets(labels, x, check.class_axis(x, 1, "logits")))
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
    for part in blocks(*x.shape):
        rows = np.flatnonzero(defined[part]) + part.start
        values, y = x[rows].astype(np.float64), labels[rows].astype(np.int64)
        predicted[rows] = values.argmax(axis=1)
        rank[rows] = ranks(values, y)
        figures[:, rows] = _figures(values, y)
    loss, lse = np.where(kept, loss, 0), np.where(kept, lse, 0.0)
    return RowStatistics(loss, lse, predicted, figures[0], rank, *figures[1:])


def ranks(x: Doubles, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes of each row come before its label."""
    columns = labels[:, np.newaxis]
    own = np.take_along_axis(x, columns, axis=1)
    equal = (x == own) & (np.arange(x.shape[1]) < columns)
    return np.count_nonzero((x > own) | equal, axis=1)


def _figures(x: Doubles, labels: NDArray[np.int64]) -> tuple[Doubles, ...]:
    """Largest probability, entropy, sum of squares and Brier score of rows without a nan.

    The largest term is 1; it is left out of the sums, so that what it leaves is not lost in it.
    """
    rows = np.arange(len(x))
    top = x.max(axis=1)
    first = np.where(x[rows, labels] == top, labels, x.argmax(axis=1))
    with np.errstate(all="ignore"):
        found = measure(doubles(x))
        power = np.ldexp(found.power, found.n)
        own = power[labels, rows]
        power[first, rows] = 0.0
        rest, squares = sum_first(power), sum_first(power * power)
        total = 1.0 + rest
        spread = sum_first(np.where(power == 0.0, 0.0, -power * found.far))
        right = first == labels
        others = np.where(right, squares, np.maximum(squares - own * own, 0.0) + 1.0)
        missing = np.where(right, rest, total - own)
        brier = (others + missing**2) / total**2
    return 1.0 / total, found.log.rounded() + spread / total, (1.0 + squares) / total**2, brier


def label_figures(x: NDArray[Any], targets: Doubles, limit: float) -> LabelStatistics:
    """Statistics of logits; a positive is predicted by a logit above the limit."""
    x = x.astype(check.computed(x.dtype), copy=False)
    loss = binary_cross_entropy_with_logits(x, targets, reduction="none")
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        gap = np.minimum(np.abs(wide), 800.0)  # exp(-800) is 0
        power = exp(-gap).rounded()
        large = 1.0 / (1.0 + power)
        small = power * large
        entropy = log1p(power).rounded() + gap * small
        off = np.where(wide < 0, small - targets, (1.0 - targets) - small)
        probability = np.where(wide < 0, small, large)
        return LabelStatistics(loss, probability, entropy, off * off, targets > 0.5, wide > limit)
