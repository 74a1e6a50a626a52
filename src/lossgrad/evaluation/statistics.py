"""What each row of logits says about its label, in one read of the row.

`row_statistics` (one label a row) and `label_statistics` (a target for each logit) are all that an
evaluation asks of logits; everything else adds these numbers up. The figures of a row depend on
its own values alone, not on its block.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad._core.backend import kernels
from lossgrad.evaluation.records import LabelStatistics, RowStatistics


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
        from lossgrad.evaluation.reference import statistics  # not needed beside the kernels

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
    targets = kernels.Targets(
        labels=y,
        weight=check.class_weight(weight, classes, x.dtype),
        ignore_index=ignore_index,
        param=check.smoothing(label_smoothing),
    )
    results = {"loss": loss, "lse": lse, "predicted": predicted, "rank": rank, "figures": figures}
    bad = kernels.row_statistics(x, targets, **results, num_threads=num_threads)
    if bad >= 0:
        raise check.bad_label(y, bad, classes, ignore_index)
    return RowStatistics(loss, lse, predicted, figures[0], rank, *figures[1:])


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
        from lossgrad.evaluation.reference import statistics  # not needed beside the kernels

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
