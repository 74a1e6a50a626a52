"""Conformal sets: of each row the classes that are as likely as its label was in other rows.

A score says how badly a class fits a row. If rows can be exchanged, the score of the next row's
label is at most the k-th smallest of n scores with a probability of at least k / (n + 1); so with
k = ceil((n + 1) coverage) the set of all classes up to this threshold has the label that often
(Vovk et al., 2005; Angelopoulos & Bates, 2021).

The k-th smallest is found in two passes: a histogram tells its bin, and the scores of that bin
alone are kept.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad._core.environment import arithmetic
from lossgrad._functions import softmax
from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.feed import add_all
from lossgrad.evaluation.histogram import PROBABILITIES, Histogram
from lossgrad.evaluation.passes.probe import Probe
from lossgrad.evaluation.results import plain, ratio
from lossgrad.evaluation.seen import Seen

Doubles = NDArray[np.float64]
Method = Literal["lac", "aps"]


@dataclass(frozen=True)
class ConformalThreshold:
    """What `conformal_threshold` found.

    Attributes
    ----------
    threshold : float
        A class is in a row's set if its score is at most this; inf where the rows are too few
        for the coverage, and every class is in every set.
    method : {"lac", "aps"}
    coverage : float
        How often a set is to have the label, at least.
    rows : int
        Rows that the threshold is from.
    """

    threshold: float
    method: Method
    coverage: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; None for an infinite threshold."""
        found: dict[str, Any] = plain(vars(self))
        return found

    @arithmetic()
    def sets(self, logits: ArrayLike) -> NDArray[np.bool_]:
        """Whether each class (last axis) is in its row's set. A row with a nan has none."""
        x = np.asarray(logits).astype(np.float64)
        flat = scores(x.reshape(-1, x.shape[-1]), self.method) <= self.threshold
        return flat.reshape(x.shape)


@dataclass(frozen=True, eq=False)
class ConformalSets:
    """What `conformal_sets` found.

    Attributes
    ----------
    rows : int
        Rows with a loss.
    coverage : float
        The part of them whose set has the label.
    mean_size : float
        Classes of a set, on average.
    sizes : ndarray of shape (classes + 1,)
        Rows by the size of their set.
    class_coverage : ndarray of shape (classes,)
        The coverage of the rows of each label; nan without any.
    """

    rows: int
    coverage: float
    mean_size: float
    sizes: NDArray[np.int64]
    class_coverage: Doubles

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; None for nan."""
        found: dict[str, Any] = plain(vars(self))
        return found


def conformal_threshold(
    logits: Any, targets: Any = None, *, coverage: float = 0.9, method: Method = "lac", **how: Any
) -> ConformalThreshold:
    """Find the threshold of conformal sets from rows that the model was not fitted on.

    Parameters
    ----------
    logits, targets
        As in `evaluate`, for the multiclass task. They are read twice.
    coverage : float
        How often a set is to have the label: the decimal number that is written, 0.9 is 9/10.
    method : {"lac", "aps"}
        The score of a class of probability p: "lac" (least ambiguous classifiers, Sadinle et al.,
        2019) 1 - p; "aps" (adaptive prediction sets, Romano et al., 2020, not randomised) the sum
        of p and of all probabilities before it in descending order, equal ones in the order of
        their classes.
    **how
        `axis`, `ignore_index`, `strict`, `logits_key`, `targets_key`, `num_threads`,
        `block_bytes` and `progress`, as in `evaluate`.

    Returns
    -------
    ConformalThreshold

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> x = np.log([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    >>> found = lossgrad.conformal_threshold(x, [0, 1, 0, 2], coverage=0.8)
    >>> round(found.threshold, 6), found.sets(np.log([0.45, 0.42, 0.13]))
    (0.6, array([ True,  True, False]))
    """
    if method not in ("lac", "aps"):
        raise ValueError(f"method is {method!r}, not 'lac' or 'aps'")
    if not 0.0 < coverage < 1.0:
        raise ValueError(f"coverage is {coverage}, not between 0 and 1")
    if hasattr(logits, "__next__"):
        raise TypeError("logits can be read once only: give arrays, files or a list of pairs")
    spread = _probe(partial(LabelScores, method), logits, targets, **how)
    rows = round(spread.total())
    k = math.ceil((rows + 1) * Fraction(repr(float(coverage))))
    if k > rows:
        return ConformalThreshold(math.inf, method, coverage, rows)
    upto = np.cumsum(spread.weights()[0])
    at = int(np.searchsorted(upto, k))
    before = round(upto[at - 1]) if at else 0
    kept = _probe(partial(ScoresOfBin, method, at), logits, targets, **how)
    return ConformalThreshold(float(kept[k - before - 1]), method, coverage, rows)


def conformal_sets(
    logits: Any, targets: Any = None, *, threshold: ConformalThreshold, **how: Any
) -> ConformalSets:
    """Evaluate the conformal sets of a threshold on other rows.

    Parameters
    ----------
    logits, targets
        As in `conformal_threshold`; they are read once.
    threshold : ConformalThreshold
    **how
        As in `conformal_threshold`.

    Returns
    -------
    ConformalSets

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> x = np.log([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    >>> found = lossgrad.conformal_threshold(x, [0, 1, 0, 2], coverage=0.8)
    >>> sets = lossgrad.conformal_sets(x, [0, 1, 1, 2], threshold=found)
    >>> sets.coverage, sets.mean_size, sets.sizes
    (0.75, 1.25, array([0, 3, 1, 0]))
    """
    return _probe(partial(Sizes, threshold), logits, targets, **how)


def _probe(
    new: Callable[[], Any], logits: Any, targets: Any, ignore_index: int = -100, **how: Any
) -> Any:
    """The result of one pass."""
    keys = {name: how.pop(f"{name}_key", None) for name in ("logits", "targets")}
    state: Probe[Any] = Probe(new, ignore_index=ignore_index, bins=1, confusion_limit=0)
    add_all(state, {"logits": logits, "targets": targets}, keys, **{"axis": LAST_AXIS, **how})
    return state.part.result()


def scores(x: Doubles, method: Method) -> Doubles:
    """The score of each class of each row; nan in a row whose probabilities are."""
    p = softmax(x, num_threads=1)
    if method == "lac":
        return 1.0 - p
    order = np.argsort(-p, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
    found = np.empty_like(p)
    np.put_along_axis(found, order, np.minimum(sums, 1.0), axis=1)
    return found


def _scores_of_labels(seen: Seen, method: Method) -> Doubles:
    x = seen.rows.logits[seen.term].astype(np.float64)
    return scores(x, method)[np.arange(len(x)), seen.label]


class LabelScores:
    """How the scores of the labels are spread."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, method: Method) -> None:
        self.method, self._scores = method, Histogram(PROBABILITIES)

    def add(self, seen: Seen) -> None:
        """Add rows."""
        self._scores.add(_scores_of_labels(seen, self.method))

    def merge(self, other: "LabelScores") -> None:
        """Add what another has."""
        self._scores.merge(other._scores)

    def result(self) -> Histogram:
        """What came of it."""
        return self._scores


class ScoresOfBin:
    """The scores of the labels in one bin of the histogram."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, method: Method, bin: int) -> None:
        self.method, self.bin = method, bin
        self._found: list[Doubles] = []

    def add(self, seen: Seen) -> None:
        """Add rows."""
        found = _scores_of_labels(seen, self.method)
        self._found.append(found[PROBABILITIES.bins(found) == self.bin])

    def merge(self, other: "ScoresOfBin") -> None:
        """Add what another has."""
        self._found += other._found

    def result(self) -> Doubles:
        """All of them, in ascending order."""
        return np.sort(np.concatenate(self._found))


class Sizes:
    """Counts of rows by the size of their set, and of those whose set has the label."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, threshold: ConformalThreshold) -> None:
        self.threshold = threshold
        self._sizes = self._covered = self._rows = np.zeros(1, np.int64)

    def add(self, seen: Seen) -> None:
        """Add rows."""
        x = seen.rows.logits[seen.term].astype(np.float64)
        chosen = scores(x, self.threshold.method) <= self.threshold.threshold
        classes = x.shape[1]
        has_it = chosen[np.arange(len(x)), seen.label]
        self._sizes = self._sizes + np.bincount(chosen.sum(axis=1), minlength=classes + 1)
        self._covered = self._covered + np.bincount(seen.label[has_it], minlength=classes)
        self._rows = self._rows + np.bincount(seen.label, minlength=classes)

    def merge(self, other: "Sizes") -> None:
        """Add what another has."""
        self._sizes = self._sizes + other._sizes
        self._covered = self._covered + other._covered
        self._rows = self._rows + other._rows

    def result(self) -> ConformalSets:
        """The figures so far."""
        rows = int(self._rows.sum())
        total = int(self._sizes @ np.arange(len(self._sizes)))
        by_class = np.divide(
            self._covered, self._rows, out=np.full(len(self._rows), np.nan), where=self._rows > 0
        )
        covered = int(self._covered.sum())
        return ConformalSets(
            rows, ratio(covered, rows), ratio(total, rows), self._sizes.copy(), by_class
        )
