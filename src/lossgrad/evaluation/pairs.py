"""What two models' logits say of each other, row by row, in one read of both.

`pair_statistics` is all that a comparison asks of logits; everything else adds these numbers up.
The figures of a row depend on its own two rows of logits alone, not on their block.
"""

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad._core.backend import kernels

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


class PairStatistics(NamedTuple):
    """One value a row, all of length n; p is the base's softmax, q the other's.

    A row of logits is *undefined* with a nan, two or more of +inf, or nothing but -inf. The
    divergences and `loss_difference` are nan where either row is undefined or has a +inf.

    Attributes
    ----------
    kl : ndarray of float64
        KL(p || q) in nats: inf where a class has -inf in the other row alone.
    kl_reverse : ndarray of float64
        KL(q || p): inf where a class has -inf in the base's row alone.
    js : ndarray of float64
        Jensen-Shannon divergence in nats, at most log(2).
    base_loss, other_loss : ndarray of float64
        Minus the logarithm of the label's probability, as ``cross_entropy``, unrounded: nan where
        that row is undefined, without labels and where the label is ignored.
    loss_difference : ndarray of float64
        `other_loss` - `base_loss` without what the two have in common; nan where they are.
    base_rank, other_rank : ndarray of int64
        How many classes come before the label: larger logits, and equal ones of lower index. -1
        where that row is undefined, without labels and where the label is ignored.
    base_predicted, other_predicted : ndarray of int64
        The first of the largest logits; -1 where that row is undefined.
    overlap : ndarray of int64
        How many of the base's `top_k` first choices are among the other's; -1 where either row is
        undefined.

    Notes
    -----
    The divergences are sums of what is not negative, and exactly 0 where the logits are equal.
    Their relative errors are at most 2**-21 (8 ULP of float32; of float64 logits 2**-49) from
    1e-12 up, also where the logits of one model are those of the other plus a constant. What has
    less than 2**-190 (2**-1533) of the largest probability counts as 0 there.
    """

    kl: Doubles
    kl_reverse: Doubles
    js: Doubles
    base_loss: Doubles
    other_loss: Doubles
    loss_difference: Doubles
    base_rank: Integers
    other_rank: Integers
    base_predicted: Integers
    other_predicted: Integers
    overlap: Integers


def pair_statistics(
    base: NDArray[Any],
    other: NDArray[Any],
    labels: NDArray[Any] | None = None,
    *,
    top_k: int | None = None,
    ignore_index: int = -100,
    num_threads: int | None = None,
) -> PairStatistics:
    """Statistics of each row of two models' logits, and of both against its label.

    Parameters
    ----------
    base, other : ndarray of shape (n, C)
        Of any real dtypes: float16, bfloat16 and float32 are computed as float32, and both as
        float64 if one of them is that.
    labels : ndarray of shape (n,), optional
        Of any integer dtype, in [0, C) or `ignore_index`.
    top_k : int, optional
        How many first choices are compared, at most all C; 0 or None for no overlap.
    ignore_index : int
        The label of rows that have none. Their divergences are found all the same.
    num_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    PairStatistics

    Raises
    ------
    IndexError, TypeError, ValueError
        As `cross_entropy`; also if the shapes differ, or `top_k` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from lossgrad.evaluation.pairs import pair_statistics
    >>> base, other = np.array([[0.0, 2.0, 1.0]]), np.array([[0.0, 1.0, 1.5]])
    >>> found = pair_statistics(base, other, np.array([2]), top_k=2)
    >>> found.kl.round(3), found.loss_difference.round(3), found.base_rank, found.overlap
    (array([0.218]), array([-0.687]), array([1]), array([2]))
    """
    x, y = _two_logits(base, other)
    classes, ignore_index = x.shape[1], check.ignored_label(ignore_index)
    top = _first_choices(top_k, classes)
    targets = None if labels is None else check.class_targets(labels, x, 1, ignore_index)
    if targets is not None:
        check.labels_only(targets)
    if kernels is None:
        from lossgrad.evaluation.reference import pairs  # not needed beside the kernels

        return pairs.pair_statistics(x, y, targets, top, ignore_index)
    figures, choices = np.empty((6, len(x))), np.empty((5, len(x)), np.int64)
    of = None if targets is None else kernels.Targets(labels=targets, ignore_index=ignore_index)
    bad = kernels.pair_statistics(
        x, y, of, top=top, figures=figures, choices=choices, num_threads=num_threads
    )
    if targets is not None and bad >= 0:
        raise check.bad_label(targets, bad, classes, ignore_index)
    return PairStatistics(*figures, *choices)


def _two_logits(base: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both matrices, in types that are computed alike."""
    x, y = check.floating(base, "base"), check.floating(other, "other")
    if x.ndim != 2:
        raise ValueError(f"base has shape {x.shape}: logits of shape (n, classes) are needed here")
    check.class_axis(x, 1, "base")
    check.same_shape(y, x.shape, "other", "base")
    wide = np.result_type(check.computed(x.dtype), check.computed(y.dtype))
    return check.computed_alike(x, wide, "base"), check.computed_alike(y, wide, "other")


def _first_choices(top_k: int | None, classes: int) -> int:
    top = 0 if top_k is None else operator.index(top_k)
    if top < 0:
        raise ValueError(f"top_k ({top_k}) is negative: use 0 or None for no overlap")
    return min(top, classes)
