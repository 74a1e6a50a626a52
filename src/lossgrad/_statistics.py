"""What each row of logits says about its label, in one read of the row.

`row_statistics` (one label a row) and `label_statistics` (a target for each logit) are all that an
evaluation asks of logits; everything else adds these numbers up. The figures of a row depend on
its own values alone, not on its block.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossgrad  # names are looked up at call time: the package imports this module

from . import _arguments as check
from ._backend import kernels

Doubles = NDArray[np.float64]

NOTHING = -1  # the predicted class and the rank of a row that has none


@dataclass(frozen=True)
class RowStatistics:
    """One value a row, all of length n: the losses in the dtype that the logits are computed in.

    A row that is ignored or undefined (its loss is nan) has `predicted` and `rank` -1; an ignored
    row has zeros in the rest.

    Attributes
    ----------
    loss : ndarray of float32 or float64
        As ``cross_entropy(..., reduction="none")``, in nats; not rounded to half types.
    lse : ndarray of float64
        Log-sum-exp of the row.
    predicted : ndarray of int64
        The first of the largest logits.
    confidence : ndarray of float64
        The probability of `predicted`.
    rank : ndarray of int64
        How many classes come before the label: larger logits, and equal ones of lower index.
        0 is right; the label is among the top k where it is below k.
    entropy : ndarray of float64
        Of the row's probabilities, in nats.
    squares : ndarray of float64
        The sum of the squared probabilities.
    brier : ndarray of float64
        The sum of (p - 1)**2 for the label and p**2 for every other class.

    Notes
    -----
    Relative errors for float64 and, in brackets, float32 and half logits: confidence 2**-50
    (2**-21), entropy, squares and brier 2**-49 (2**-20), for rows of one sure class too. What has
    less than 2**-1533 (2**-190) of the largest probability counts as 0.
    """

    loss: NDArray[Any]
    lse: Doubles
    predicted: NDArray[np.int64]
    confidence: Doubles
    rank: NDArray[np.int64]
    entropy: Doubles
    squares: Doubles
    brier: Doubles

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether `predicted` is the label."""
        return self.rank == 0


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

    Examples
    --------
    >>> import numpy as np
    >>> from lossgrad._statistics import row_statistics
    >>> found = row_statistics(np.array([[0.0, 2.0, 1.0]]), np.array([2]))
    >>> found.predicted, found.rank, found.confidence.round(3), found.entropy.round(3)
    (array([1]), array([1]), array([0.665]), array([0.832]))
    """
    if kernels is None:
        from .reference import statistics  # which needs the class above

        return statistics.row_statistics(
            logits, labels, weight, ignore_index=ignore_index, label_smoothing=label_smoothing
        )
    x = check.floating(logits, "logits")
    classes = x.shape[check.class_axis(x, 1, "logits")]
    ignore_index = check.ignored_label(ignore_index)
    y = check.class_targets(labels, x, 1, ignore_index)
    check.labels_only(y)
    loss = np.empty(len(x), check.computed(x.dtype))
    predicted, rank = np.empty((2, len(x)), np.int64)
    lse, figures = np.empty(len(x)), np.empty((4, len(x)))
    bad = kernels.row_statistics(
        x,
        y,
        check.class_weight(weight, classes, x.dtype),
        ignore_index,
        check.smoothing(label_smoothing),
        loss,
        lse,
        predicted,
        rank,
        figures,
        None,
    )
    if bad >= 0:
        raise check.bad_label(y, bad, classes, ignore_index)
    return RowStatistics(loss, lse, predicted, figures[0], rank, *figures[1:])


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
