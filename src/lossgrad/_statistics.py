"""What each row of logits says about its label, in one call over the row.

`row_statistics` (one label a row) and `label_statistics` (a target for each logit) are all that an
evaluation asks of logits; everything else adds these numbers up. The figures of a row depend on
its own values alone, not on its block: each row is summed along contiguous memory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossgrad  # names are looked up at call time: the package imports this module

Doubles = NDArray[np.float64]

NOTHING = -1  # the predicted class and the rank of a row that has none
_BLOCK = 1 << 16  # logits at a time, so that the temporaries stay in the cache


@dataclass(frozen=True)
class RowStatistics:
    """One value a row, all of length n.

    A row that is ignored or undefined (its loss is nan) has `predicted` and `rank` -1; an ignored
    row has zeros in the rest.

    Attributes
    ----------
    loss : ndarray of the logits' dtype
        As ``cross_entropy(..., reduction="none")``, in nats.
    lse : ndarray of float64
        Log-sum-exp of the row.
    predicted : ndarray of int64
        The first of the largest logits.
    confidence : ndarray of float64
        The probability of `predicted`.
    right : ndarray of bool
        Whether `predicted` is the label.
    rank : ndarray of int64
        How many classes come before the label: larger logits, and equal ones of lower index.
        0 is right; the label is among the top k where it is below k.
    entropy : ndarray of float64
        Of the row's probabilities, in nats.
    squares : ndarray of float64
        The sum of the squared probabilities.
    """

    loss: NDArray[Any]
    lse: Doubles
    predicted: NDArray[np.int64]
    confidence: Doubles
    right: NDArray[np.bool_]
    rank: NDArray[np.int64]
    entropy: Doubles
    squares: Doubles


def row_statistics(
    logits: NDArray[Any],
    labels: NDArray[Any],
    weight: NDArray[Any] | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> RowStatistics:
    """Statistics of each row of logits against its label.

    Parameters
    ----------
    logits : ndarray of shape (n, C)
        Of any real dtype; float16 and bfloat16 are computed as float32.
    labels : ndarray of shape (n,)
        Of any integer dtype, in [0, C) or `ignore_index`.
    weight, ignore_index, label_smoothing
        As in `cross_entropy`; the loss alone depends on `weight` and `label_smoothing`.

    Returns
    -------
    RowStatistics

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`.
    """
    x = widened(logits)
    lse = np.empty(len(x))
    loss = lossgrad.cross_entropy(
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
    predicted, rank = np.full((2, len(x)), NOTHING, np.int64)
    confidence, entropy, squares = np.zeros((3, len(x)))
    step = max(1, _BLOCK // x.shape[1])
    for start in range(0, len(x), step):
        rows = np.flatnonzero(defined[start : start + step]) + start
        whole = rows.size == len(x[start : start + step])
        block = x[start : start + step] if whole else x[rows]
        into: Any = slice(start, start + step) if whole else rows
        values = np.ascontiguousarray(block, np.float64)
        predicted[into] = values.argmax(axis=1)
        rank[into] = _ranks(values, labels[into].astype(np.int64))
        confidence[into], entropy[into], squares[into] = _probabilities(values)
    right = defined & (predicted == labels)
    loss, lse = np.where(kept, loss, 0), np.where(kept, lse, 0.0)
    return RowStatistics(loss, lse, predicted, confidence, right, rank, entropy, squares)


def _ranks(x: Doubles, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    columns = labels[:, np.newaxis]
    own = np.take_along_axis(x, columns, axis=1)
    equal = (x == own) & (np.arange(x.shape[1]) < columns)
    return np.count_nonzero((x > own) | equal, axis=1)


def _probabilities(x: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Largest probability, entropy and sum of squared probabilities of rows without a nan."""
    top = x.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        gap = np.where(x == top, 0.0, x - top)  # of an infinite maximum too
    power = np.exp(gap)
    total = power.sum(axis=1)
    # sum p log(1/p) with p = power/total; a class of no probability adds nothing
    spread = (power * np.where(power == 0.0, 0.0, gap)).sum(axis=1)
    entropy = np.log(total) - spread / total
    power *= power
    return 1.0 / total, entropy, power.sum(axis=1) / (total * total)


@dataclass(frozen=True)
class LabelStatistics:
    """One value for each logit of a binary or multi-label task, in the logits' shape.

    Attributes
    ----------
    loss : ndarray of the logits' dtype
        As ``binary_cross_entropy_with_logits(..., reduction="none")``; nan where it is undefined.
    probability : ndarray of float64
        Of a positive: sigmoid of the logit.
    entropy : ndarray of float64
        Of that probability and its complement, in nats.
    """

    loss: NDArray[Any]
    probability: Doubles
    entropy: Doubles


def label_statistics(logits: NDArray[Any], targets: NDArray[Any]) -> LabelStatistics:
    """Statistics of each logit against its target in [0, 1], both of one shape."""
    x = widened(logits)
    loss = np.asarray(lossgrad.binary_cross_entropy_with_logits(x, targets, reduction="none"))
    gap = np.abs(np.ascontiguousarray(x, np.float64))
    power = np.exp(-gap)
    larger = 1.0 / (1.0 + power)
    # log(1 + e**-gap) + gap (1 - larger); the second term vanishes at infinity
    entropy = np.log1p(power) + np.where(power == 0.0, 0.0, gap) * (power * larger)
    return LabelStatistics(loss, np.where(x < 0, power * larger, larger), entropy)


def widened(logits: NDArray[Any]) -> NDArray[Any]:
    """Half types, which are storage, as float32; others as they are."""
    half = logits.dtype.name in ("float16", "bfloat16")
    return logits.astype(np.float32) if half else logits


def native(array: NDArray[Any]) -> NDArray[Any]:
    """The array with its dtype in the usual spelling, where only that differs.

    "<f4" is "=f4" on most machines, but a buffer of it has another format.
    """
    same = array.dtype.isnative and array.dtype.byteorder in "<>"
    return array.view(array.dtype.newbyteorder("=")) if same else array
