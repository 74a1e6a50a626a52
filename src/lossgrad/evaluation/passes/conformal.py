"""Conformal sets: of each row the classes that are as likely as its label was in other rows.

A score says how badly a class fits a row. If rows can be exchanged, the score of the next row's
label is at most the k-th smallest of n scores with a probability of at least k / (n + 1); so with
k = ceil((n + 1) coverage) the set of all classes up to this threshold has the label that often
(Vovk et al., 2005; Angelopoulos & Bates, 2021).

The k-th smallest is found in two passes or a few (see `cells`).

Scores are from 0 to 1, and many are so close to 1 that float64 does not tell them from it. What is
computed and compared is what a score lacks of 1: a probability, or the sum of the least ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad._core.environment import arithmetic
from lossgrad._functions import softmax
from lossgrad.evaluation.feed import HowPair, Source, pair
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import Parts, Scored
from lossgrad.evaluation.passes.probe import Look, Probe
from lossgrad.evaluation.probabilities import Input
from lossgrad.evaluation.reading import Reading
from lossgrad.evaluation.results import error_of, plain, ratio
from lossgrad.evaluation.seen import Seen

Doubles = NDArray[np.float64]
Method = Literal["lac", "aps"]


@dataclass(frozen=True)
class ConformalThreshold:
    """What `conformal_threshold` found.

    Attributes
    ----------
    rest : float
        A class is in a row's set if its score lacks at least this of 1; -inf where the rows are too
        few for the coverage, and every class is in every set.
    method : {"lac", "aps"}
    coverage : float
        How often a set is to have the label, at least.
    rows : int
        Rows that the threshold is from.
    """

    rest: float
    method: Method
    coverage: float
    rows: int

    @property
    def threshold(self) -> float:
        """The largest score of a set, 1 - `rest`."""
        return 1.0 - self.rest

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; None for an infinite threshold."""
        found: dict[str, Any] = plain({"threshold": self.threshold, **vars(self)})
        return found

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        near = 0 < self.rest < 1e-6  # its digits are those of what it lacks
        threshold = f"1 - {self.rest:.6g}" if near else f"{self.threshold:.12g}"
        return [
            ("threshold", f"{threshold}  ({self.method}, from {self.rows} rows)"),
            ("asked for", f"{100 * self.coverage:g} % coverage"),
        ]

    @arithmetic()
    def sets(self, logits: ArrayLike, *, input: Input = "logits") -> NDArray[np.bool_]:
        """Whether each class (last axis) is in its row's set. A row with a nan has none."""
        given = Reading(input=input).given({"logits": logits}, "multiclass", -100)
        x = given["logits"].astype(np.float64)
        return self.chosen(x.reshape(-1, x.shape[-1])).reshape(x.shape)

    def chosen(self, x: Doubles) -> NDArray[np.bool_]:
        """The same of a matrix of logits."""
        found: NDArray[np.bool_] = rests(x, self.method) >= self.rest
        return found


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
    class_rows : ndarray of shape (classes,)
        Rows by their label.
    class_coverage : ndarray of shape (classes,)
        Their coverage; nan without any.
    threshold : ConformalThreshold
        What the sets are made with.
    """

    rows: int
    coverage: float
    mean_size: float
    sizes: NDArray[np.int64]
    class_rows: NDArray[np.int64]
    class_coverage: Doubles
    threshold: ConformalThreshold

    @property
    def error(self) -> float:
        """The standard error of the coverage, for independent rows."""
        return math.sqrt(ratio(self.coverage * (1.0 - self.coverage), self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; None for nan."""
        found: dict[str, Any] = plain({**vars(self), "threshold": self.threshold.to_dict()})
        return found

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        common = np.argsort(-self.sizes, kind="stable")[:5]
        sizes = ", ".join(f"{self.sizes[k]} of {k}" for k in sorted(common) if self.sizes[k])
        each = self.class_coverage[self.class_rows > 0]
        worst = f", {100 * each.min():.2f} % of the class of least" if each.size else ""
        error = f" {error_of(100 * self.error)}".rstrip()
        return [
            ("coverage", f"{100 * self.coverage:.2f}{error} %{worst}  ({self.rows} rows)"),
            ("classes", f"{self.mean_size:.4g} a set: {sizes}"),
        ]


def conformal_threshold(
    logits: Any,
    targets: Any = None,
    *,
    coverage: float = 0.9,
    method: Method = "lac",
    ignore_index: int = -100,
    **how: Unpack[HowPair],
) -> ConformalThreshold:
    """Find the threshold of conformal sets from rows that the model was not fitted on.

    Parameters
    ----------
    logits, targets
        As in `evaluate`, for the multiclass task. They are read twice or a few times.
    coverage : float
        How often a set is to have the label: the decimal number that is written, 0.9 is 9/10.
    method : {"lac", "aps"}
        The score of a class of probability p: "lac" (least ambiguous classifiers, Sadinle et al.,
        2019) 1 - p; "aps" (adaptive prediction sets, Romano et al., 2020, not randomised) the sum
        of p and of all probabilities before it in descending order, equal ones in the order of
        their classes.
    ignore_index
        As in `evaluate`.
    **how
        `axis`, `strict`, `input`, `class_names`, `logits_key`, `targets_key`, `num_threads`,
        `block_bytes`, `progress` and `dask`, as in `evaluate`.

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
    rows = pair(logits, targets, **how)

    def read(new: cells.New) -> list[Parts]:
        return _passed(rows, partial(Look, partial(_label_scores, method), (), new), ignore_index)

    (found,) = cells.resolve(read, [partial(_at_rank, coverage)])
    at = np.flatnonzero(_at_rank(coverage, found))
    rest = 0.0 - float(found.lower[at[0]]) if at.size else -math.inf
    return ConformalThreshold(rest, method, coverage, int(found.rows.sum()))


def _at_rank(coverage: float, parts: Parts) -> NDArray[np.bool_]:
    """The cell of the k-th smallest of n scores, k = ceil((n + 1) coverage); none if k > n."""
    k = math.ceil((int(parts.rows.sum()) + 1) * Fraction(repr(float(coverage))))
    upto = np.cumsum(parts.rows)
    return (upto >= k) & (upto - parts.rows < k)


def conformal_sets(
    logits: Any,
    targets: Any = None,
    *,
    threshold: ConformalThreshold,
    ignore_index: int = -100,
    **how: Unpack[HowPair],
) -> ConformalSets:
    """Evaluate the conformal sets of a threshold on other rows.

    Parameters
    ----------
    logits, targets
        As in `conformal_threshold`; they are read once.
    threshold : ConformalThreshold
    ignore_index, **how
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
    rows = pair(logits, targets, **how)
    found: ConformalSets = _passed(rows, partial(Sizes, threshold), ignore_index)
    return found


def _passed(rows: Source, new: Callable[[], Any], ignore_index: int) -> Any:
    """What one pass finds."""
    state: Probe[Any] = Probe(new, ignore_index=ignore_index, bins=1, confusion_limit=0)
    return rows.add_to(state).part.result()


def rests(x: Doubles, method: Method) -> Doubles:
    """What the score of each class of each row lacks of 1; nan in a row whose probabilities are."""
    p = softmax(x, num_threads=1)
    if method == "lac":
        return p
    order = np.argsort(-p, axis=1, kind="stable")[:, ::-1]  # the least probable first
    sums = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
    found = np.zeros_like(p)
    np.put_along_axis(found, order[:, 1:], sums[:, :-1], axis=1)
    return found


def _label_scores(method: Method, seen: Seen) -> Scored:
    x = seen.rows.logits[seen.term].astype(np.float64)
    own = rests(x, method)[np.arange(len(x)), seen.label]
    return Scored(-own, np.zeros(len(x), np.int64))


class Sizes:
    """Counts of rows by the size of their set, and of those whose set has the label."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, threshold: ConformalThreshold) -> None:
        self.threshold = threshold
        self._sizes = self._covered = self._rows = np.zeros(1, np.int64)

    def add(self, seen: Seen) -> None:
        """Add rows."""
        x = seen.rows.logits[seen.term].astype(np.float64)
        chosen = self.threshold.chosen(x)
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
            rows=rows,
            coverage=ratio(covered, rows),
            mean_size=ratio(total, rows),
            sizes=self._sizes.copy(),
            class_rows=self._rows.copy(),
            class_coverage=by_class,
            threshold=self.threshold,
        )
