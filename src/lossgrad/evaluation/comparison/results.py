"""What a comparison of two models found."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.histogram import Bounded, Distribution
from lossgrad.evaluation.results import plain, same

Doubles = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean and its standard error, for independent rows."""

    value: float
    error: float


class Pair(NamedTuple):
    """A row of large divergence: where it is, and what each model says of it."""

    kl: float
    source: str
    row: int
    label: int
    base_predicted: int
    other_predicted: int
    base_loss: float
    other_loss: float


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """What a comparison found. Figures about labels are nan, and counts 0, without targets.

    With sample weights all but the counts count a row as often as its weight says.

    Attributes
    ----------
    rows, ignored, undefined : int
        Rows seen; those whose label is `ignore_index`; and those left out since one of the models
        does not predict anything (a logit is nan, or the largest is infinite).
    classes : int
    terms : int
        The rows that are left.
    weight : float
        The sum of their weights: `terms` without weights.
    kl, kl_reverse, js : Estimate
        Mean of KL(base || other), KL(other || base) and of the Jensen-Shannon divergence, in nats.
    agreement : Estimate
        The part of the rows whose first choice is the same.
    overlap : Estimate
        Mean part of the base's `top_k` first choices that are among the other's.
    top_k : int
    base_loss, other_loss, loss_difference : Estimate
        Mean losses in nats, and mean of the other's loss less the base's: paired, so that its
        error is not that of two independent means.
    perplexity_ratio : Estimate
        exp(loss_difference); its error is the ratio times that of the difference.
    correlation : float
        Pearson's, of the two losses of a row.
    base_accuracy, other_accuracy, accuracy_difference : Estimate
        The parts of the rows that are right, and their paired difference.
    both_right, base_right, other_right, none_right : int
        Rows that both, only the base, only the other and none of them predicts right.
    mcnemar : float
        Exact two-sided p-value of McNemar's test: of the rows that only one predicts right, as
        uneven a split if each were as likely to be either's.
    wins, ties, losses : int
        Rows where the other's loss is smaller, equal and larger.
    distributions : dict
        How "kl" and "loss_difference" are spread (if asked for also "kl_reverse", "js",
        "base_loss" and "other_loss"): see `quantile`.
    worst : tuple of Pair
        The rows of largest KL(base || other), largest first.
    figures : dict
        The further figures that were asked for, by name.
    groups : dict
        The result of each group of rows, by its key, where `groups` were given.
    """

    rows: int
    ignored: int
    undefined: int
    classes: int
    terms: int
    weight: float
    kl: Estimate
    kl_reverse: Estimate
    js: Estimate
    agreement: Estimate
    overlap: Estimate
    top_k: int
    labelled: bool
    base_loss: Estimate
    other_loss: Estimate
    loss_difference: Estimate
    correlation: float
    base_accuracy: Estimate
    other_accuracy: Estimate
    accuracy_difference: Estimate
    both_right: int
    base_right: int
    other_right: int
    none_right: int
    wins: int
    ties: int
    losses: int
    distributions: dict[str, Distribution]
    worst: tuple[Pair, ...]
    figures: dict[str, Any] = field(default_factory=dict)
    groups: dict[int | str, "ComparisonResult"] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ComparisonResult):
            return NotImplemented
        return same(self.to_dict(), other.to_dict())

    __hash__ = None  # type: ignore[assignment]

    @property
    def perplexity_ratio(self) -> Estimate:
        """exp(loss_difference), with its error by the delta method."""
        value = _exp(self.loss_difference.value)
        return Estimate(value, value * self.loss_difference.error)

    @property
    def base_perplexity(self) -> float:
        """exp(base_loss)."""
        return _exp(self.base_loss.value)

    @property
    def other_perplexity(self) -> float:
        """exp(other_loss)."""
        return _exp(self.other_loss.value)

    @property
    def mcnemar(self) -> float:
        """The exact p-value of McNemar's test."""
        return sign_test(self.base_right, self.other_right) if self.labelled else math.nan

    def quantile(self, name: str, q: float) -> Bounded:
        """A quantile over the rows of one of the `distributions`, with its bounds."""
        return self.distributions[name].quantile(q)

    def to_dict(self, **_: object) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts, for JSON; None for what is infinite."""
        left_out = "distributions", "worst", "figures", "groups"
        found: dict[str, Any] = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.name not in left_out
        }
        found |= {
            "perplexity_ratio": self.perplexity_ratio,
            "base_perplexity": self.base_perplexity,
            "other_perplexity": self.other_perplexity,
            "mcnemar": self.mcnemar,
            "quantiles": {
                name: {f"{q:g}": spread.quantile(q)._asdict() for q in QUANTILES}
                for name, spread in self.distributions.items()
            },
            "worst": [row._asdict() for row in self.worst],
            **{name: one.to_dict() for name, one in self.figures.items()},
            "groups": {key: one.to_dict() for key, one in self.groups.items()},
        }
        for name, value in found.items():
            if isinstance(value, Estimate):
                found[name] = value._asdict()
        result: dict[str, Any] = plain(found)
        return result


QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def sign_test(a: int, b: int) -> float:
    """min(1, 2 P(X <= min(a, b))), X binomial of a + b trials of 1/2: exact, nan without trials.

    The probability of the bound itself comes from `lgamma`, those below it from its quotients.
    """
    n, k = a + b, min(a, b)
    if n == 0:
        return math.nan
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2.0)
    total, term = 0.0, 1.0
    while k >= 0 and term > 1e-18 * total:
        total += term
        term *= k / (n - k + 1)
        k -= 1
    return min(1.0, 2.0 * math.exp(log_term + math.log(total)))
