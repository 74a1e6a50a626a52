"""What each row of logits says about its label, in one read of the row.

`row_statistics` (one label a row) and `label_statistics` (a target for each logit) are all that an
evaluation asks of logits; everything else adds these numbers up. The figures of a row depend on
its own values alone, not on its block.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad._core.backend import kernels

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
    num_threads: int | None = None,
) -> RowStatistics:
    """Statistics of each row of logits against its label.

    Parameters
    ----------
    logits : ndarray of shape (n, C)
        Of any real dtype; float16 and bfloat16 are computed as float32.
    labels : ndarray of shape (n,)
        Of any integer dtype, in [0, C) or `ignore_index`.
    weight, ignore_index, label_smoothing, num_threads
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
    >>> from lossgrad.evaluation.statistics import row_statistics
    >>> found = row_statistics(np.array([[0.0, 2.0, 1.0]]), np.array([2]))
    >>> found.predicted, found.rank, found.confidence.round(3), found.entropy.round(3)
    (array([1]), array([1]), array([0.665]), array([0.832]))
    """
    if kernels is None:
        from lossgrad.evaluation.reference import statistics  # which needs the class above

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
        num_threads,
    )
    if bad >= 0:
        raise check.bad_label(y, bad, classes, ignore_index)
    return RowStatistics(loss, lse, predicted, figures[0], rank, *figures[1:])


@dataclass(frozen=True)
class LabelStatistics:
    """One value for each logit of a binary or multi-label task, in the logits' shape.

    Attributes
    ----------
    loss : ndarray of float32 or float64
        As ``binary_cross_entropy_with_logits(..., reduction="none")``, not rounded to half types;
        nan where it is undefined, and then the rest means nothing.
    probability : ndarray of float64
        Of a positive: sigmoid of the logit.
    entropy : ndarray of float64
        Of that probability and its complement, in nats.
    brier : ndarray of float64
        (probability - target)**2.
    positive, predicted : ndarray of bool
        Whether the target is above 1/2, and the probability above the threshold.
    """

    loss: NDArray[Any]
    probability: Doubles
    entropy: Doubles
    brier: Doubles
    positive: NDArray[np.bool_]
    predicted: NDArray[np.bool_]


def label_statistics(
    logits: NDArray[Any],
    targets: NDArray[Any],
    threshold: float = 0.5,
    *,
    num_threads: int | None = None,
) -> LabelStatistics:
    """Statistics of each logit against its target.

    Parameters
    ----------
    logits : ndarray
        Of any real dtype; float16 and bfloat16 are computed as float32.
    targets : ndarray
        Of any real dtype and the logits' shape, in [0, 1].
    threshold : float
        The probability above which a positive is predicted.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    LabelStatistics

    Examples
    --------
    >>> import numpy as np
    >>> from lossgrad.evaluation.statistics import label_statistics
    >>> found = label_statistics(np.array([0.0, 3.0]), np.array([0, 1]))
    >>> found.predicted, found.probability.round(3), found.brier.round(3)
    (array([False,  True]), array([0.5  , 0.953]), array([0.25 , 0.002]))
    """
    limit = math.log(threshold / (1.0 - threshold))
    x = check.floating(logits, "logits")
    t = np.ascontiguousarray(targets, np.float64)
    if kernels is None:
        from lossgrad.evaluation.reference import statistics  # which needs the class above

        return statistics.label_figures(x, t, limit)
    loss = np.empty(x.shape, check.computed(x.dtype))
    figures, outcome = np.empty((3, *x.shape)), np.empty(x.shape, np.uint8)
    probability, entropy, brier = figures
    kernels.label_statistics(
        np.ascontiguousarray(x).reshape(-1),
        t.reshape(-1),
        limit,
        loss.reshape(-1),
        figures.reshape(3, -1),
        outcome.reshape(-1),
        num_threads,
    )
    positive, predicted = outcome >= 2, (outcome & 1) == 1
    return LabelStatistics(loss, probability, entropy, brier, positive, predicted)


def native(array: NDArray[Any]) -> NDArray[Any]:
    """The array with its dtype in the usual spelling, where only that differs.

    "<f4" is "=f4" on most machines, but a buffer of it has another format.
    """
    same = array.dtype.isnative and array.dtype.byteorder in "<>"
    return array.view(array.dtype.newbyteorder("=")) if same else array
