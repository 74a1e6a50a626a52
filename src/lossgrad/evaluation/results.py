"""The figures of an evaluation, computed from its exact totals."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.environment import arithmetic_within
from lossgrad.evaluation import agreement

Task = Literal["multiclass", "binary"]
Doubles = NDArray[np.float64]


class WorstRow(NamedTuple):
    """A row of large loss: where it is, and what was predicted instead of its label."""

    loss: float
    source: str
    row: int
    label: int
    predicted: int
    confidence: float


class Average(NamedTuple):
    """Precision, recall and F1 averaged over classes."""

    precision: float
    recall: float
    f1: float


@arithmetic_within
@dataclass(frozen=True, eq=False)
class Result:
    """What an evaluation found.

    Counts in `rows` to `infinite` are of rows; with sample weights, all other figures count a row
    as often as its weight says. Figures of nothing are nan.

    Attributes
    ----------
    task : {"multiclass", "binary"}
    rows, ignored : int
        Rows seen, and those among them whose label is `ignore_index`.
    undefined : int
        Terms left out because their loss is nan: a logit is nan, or the limit does not exist.
    classes : int
        Classes, or labels of a row in the binary task.
    terms : int
        Losses that the mean is over: the kept rows, or rows times labels in the binary task.
    correct, infinite : int
        Terms predicted right, and terms whose loss is infinite.
    loss : float
        Mean loss in nats; nan when there was nothing to average.
    total, divisor : float
        The correctly rounded sums of the losses, in nats, and of their weights.
    weight : float
        The sum of the sample weights: `terms` without them.
    loss_error : float
        Standard error of the mean loss, for independent terms: sqrt(n / (n - 1) sum e**2) /
        divisor with the weighted residuals e, which is the usual s / sqrt(n) without weights.
    accuracy : float
        The part of the terms that was predicted right.
    entropy, confidence : float
        Means of the entropy of the predicted probabilities, in nats, and of the probability of
        the predicted class (the binary task: of a positive).
    brier : float
        Mean over terms of sum_c (p_c - [c = label])**2, from 0 to 2; in the binary task of
        (p - target)**2.
    ece, mce : float
        Expected and maximum calibration error: the mean, weighted by the bins' rows, and the
        largest of ``|confidence - accuracy|`` over the reliability bins.
    bin_edges, bin_weight, bin_confidence, bin_accuracy : ndarray
        The reliability bins (edges[k], edges[k+1]]: rows, mean confidence, and the part that was
        right (binary task: mean probability of a positive, and mean target).
    support, predicted, hits : ndarray of shape (classes,)
        Rows of each class, rows predicted as it, and rows that are both.
    class_loss : ndarray of shape (classes,)
        Mean loss of the rows of each class (binary task: of all rows, for each label).
    ranks : ndarray of shape (classes,) or None
        Rows whose label comes at each rank (`top_k` adds them up).
    confusion : ndarray of shape (classes, classes) or None
        Rows by label (first axis) and prediction, up to `confusion_limit` classes.
    loss_histogram : ndarray of shape (64,)
        Rows by loss: bin k has losses from 2**(k-41) to 2**(k-40); the first and the last bin
        have the smaller and the larger ones too.
    worst : tuple of WorstRow
        The rows of largest loss, largest first.
    figures : dict
        The further figures that were asked for, by name.
    groups : dict
        The result of each group of rows, by its key, where `groups` were given.
    """

    task: Task
    rows: int
    ignored: int
    undefined: int
    classes: int
    terms: int
    correct: int
    infinite: int
    loss: float
    total: float
    divisor: float
    weight: float
    loss_error: float
    accuracy: float
    entropy: float
    confidence: float
    brier: float
    ece: float
    mce: float
    bin_edges: Doubles
    bin_weight: Doubles
    bin_confidence: Doubles
    bin_accuracy: Doubles
    support: Doubles
    predicted: Doubles
    hits: Doubles
    class_loss: Doubles
    ranks: Doubles | None
    confusion: Doubles | None
    loss_histogram: Doubles
    worst: tuple[WorstRow, ...]
    figures: dict[str, Any] = field(default_factory=dict)
    groups: dict[int | str, "Result"] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return same(vars(self), vars(other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def n(self) -> int:
        """Short for `terms`."""
        return self.terms

    @property
    def loss_bits(self) -> float:
        """Mean loss in bits."""
        return self.loss / math.log(2.0)

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    def top_k(self, k: int) -> float:
        """The part of the rows whose label is among the k largest logits (multiclass).

        Equal logits count in the order of their classes.
        """
        if self.ranks is None:
            raise ValueError("top-k accuracy is for the multiclass task")
        if k < 1:
            raise ValueError(f"k is {k}, not 1 or more")
        return ratio(float(self.ranks[:k].sum()), self.weight)

    @property
    def precision(self) -> Doubles:
        """hits / predicted for each class; 0 where nothing was predicted."""
        return _quotients(self.hits, self.predicted)

    @property
    def recall(self) -> Doubles:
        """hits / support for each class; 0 where there are no rows."""
        return _quotients(self.hits, self.support)

    @property
    def f1(self) -> Doubles:
        """2 hits / (support + predicted) for each class; 0 where there is neither."""
        return _quotients(2.0 * self.hits, self.support + self.predicted)

    @property
    def matthews_corrcoef(self) -> float:
        """Matthews' correlation of labels and predictions: 1 in agreement, 0 by chance.

        This, kappa and balanced accuracy are of two classes in the binary task, over all labels.
        """
        return agreement.matthews_corrcoef(*self._parts())

    @property
    def cohen_kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance, over its largest value."""
        return agreement.cohen_kappa(*self._parts())

    @property
    def balanced_accuracy(self) -> float:
        """The plain mean of the recall of the classes that have rows."""
        label, _, both = self._parts()
        return agreement.balanced_accuracy(label, both)

    def _parts(self) -> tuple[Doubles, Doubles, Doubles]:
        """The parts of all rows with each class as label, as prediction and as both."""
        label, predicted, both = (
            _quotients(one, np.full(one.shape, self.weight), math.nan)
            for one in (self.support, self.predicted, self.hits)
        )
        if self.task == "multiclass":
            return label, predicted, both
        t, p, h = (float(one.sum()) for one in (label, predicted, both))
        return np.array([1 - t, t]), np.array([1 - p, p]), np.array([1 - t - p + h, h])

    @property
    def macro(self) -> Average:
        """The plain mean over the classes that occur as label or as prediction.

        Over all labels in the binary task.
        """
        counted = np.ones(self.classes)
        if self.task == "multiclass":
            counted[self.support + self.predicted == 0] = 0.0
        return self._average(counted)

    @property
    def weighted(self) -> Average:
        """The mean over classes, weighted by their rows."""
        return self._average(self.support)

    def _average(self, weights: Doubles) -> Average:
        total = float(weights.sum())
        means = (self.precision, self.recall, self.f1)
        return Average(*(ratio(float(weights @ values), total) for values in means))

    def to_dict(
        self, *, top_k: Sequence[int] = (), class_names: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts, for JSON; None for what is not finite.

        Parameters
        ----------
        top_k : sequence of int
            The k whose top-k accuracy is wanted.
        class_names : sequence of str, optional
            A name for each class.
        """
        multiclass = self.task == "multiclass"
        figures: dict[str, Any] = {
            "task": self.task,
            "rows": self.rows,
            "ignored": self.ignored,
            "undefined": self.undefined,
            "classes": self.classes,
            "loss": self.loss,
            "loss_error": self.loss_error,
            "loss_bits": self.loss_bits,
            "perplexity": self.perplexity if multiclass else None,
            "accuracy": self.accuracy,
            "correct": self.correct,
            "terms": self.terms,
            "infinite": self.infinite,
            "weight": self.weight,
            "entropy": self.entropy,
            "confidence": self.confidence,
            "brier": self.brier,
            "ece": self.ece,
            "mce": self.mce,
            "top_k": {str(k): self.top_k(k) for k in top_k} if multiclass else None,
            "matthews_corrcoef": self.matthews_corrcoef,
            "cohen_kappa": self.cohen_kappa,
            "balanced_accuracy": self.balanced_accuracy,
            "macro": self.macro._asdict(),
            "weighted": self.weighted._asdict(),
            "bins": {
                "edges": self.bin_edges,
                "weight": self.bin_weight,
                "confidence": self.bin_confidence,
                "accuracy": self.bin_accuracy,
            },
            "per_class": {
                "name": None if class_names is None else list(class_names),
                "support": self.support,
                "predicted": self.predicted,
                "hits": self.hits,
                "loss": self.class_loss,
                "precision": self.precision,
                "recall": self.recall,
                "f1": self.f1,
            },
            "confusion": self.confusion,
            "loss_histogram": self.loss_histogram,
            "worst": [row._asdict() for row in self.worst],
            **{name: found.to_dict() for name, found in self.figures.items()},
            "groups": {key: found.to_dict(top_k=top_k) for key, found in self.groups.items()},
        }
        found: dict[str, Any] = plain(figures)
        return found


def standard_error(squares: Sequence[int], total: int, divisor: int, units: int, n: int) -> float:
    """The ratio estimator's, from sums of (s l)**2, (s l)(s w) and (s w)**2, all times `units`.

    With m = total / divisor: sqrt(n / (n - 1) (ll - 2 m lw + m**2 ww)) / divisor, in whole numbers
    up to the root.
    """
    if n < 2 or not divisor:
        return math.nan
    ll, lw, ww = squares
    residual = ll * divisor**2 - 2 * total * divisor * lw + total**2 * ww
    try:
        return math.sqrt(max(residual, 0) * n * units / ((n - 1) * divisor**4))
    except OverflowError:
        return math.inf


def error_of(error: float) -> str:
    """The text of a standard error, if there is one."""
    return "" if math.isnan(error) else f"\N{PLUS-MINUS SIGN} {error:.2g}"


def ratio(a: float, b: float) -> float:
    """a / b; nan where there is nothing to divide by."""
    return a / b if b else math.nan


def _quotients(a: Doubles, b: Doubles, nothing: float = 0.0) -> Doubles:
    return np.divide(a, b, out=np.full(a.shape, nothing), where=b > 0)


def means(sums: Doubles, weights: Doubles) -> Doubles:
    """sums / weights; nan where there is nothing."""
    return _quotients(sums, weights, math.nan)


def same(a: Any, b: Any) -> bool:
    """Whether two figures are equal; nan is nan."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        return both and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return same(vars(a), vars(b))
    return bool(a == b) or (a != a and b != b)


def plain(value: Any) -> Any:
    """JSON has no nan and no inf: None stands for both."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite else None
