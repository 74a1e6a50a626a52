"""Telling data that a model knows from data that it does not, by what its logits say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.feed import How, source
from lossgrad.evaluation.histogram import PROBABILITIES, Histogram, Magnitudes, Scale, Signed
from lossgrad.evaluation.parts.ranking import Ranks
from lossgrad.evaluation.passes import cells
from lossgrad.evaluation.passes.cells import Scored
from lossgrad.evaluation.passes.unsure import of_ranking
from lossgrad.evaluation.problems import DtypeError, InputError
from lossgrad.evaluation.ranking import Curve, Ranked
from lossgrad.evaluation.results import Task, plain
from lossgrad.evaluation.seen import Block
from lossgrad.evaluation.statistics import native, row_statistics

Doubles = NDArray[np.float64]
Score = Literal["energy", "logit", "probability", "entropy"]
_LOGITS = Signed(Magnitudes(-15, 17, 12))  # one score a row has room for narrow bins
_SCALES: dict[Score, Scale] = {
    "energy": _LOGITS,
    "logit": _LOGITS,
    "probability": PROBABILITIES,
    "entropy": Signed(Magnitudes(-32, 8, 11)),
}


@dataclass(frozen=True, eq=False)
class OutOfDistribution:
    """What `out_of_distribution` found. Rows inside the distribution are the positives.

    Attributes
    ----------
    score : str
    inside, outside : int
        Rows of each that have a score.
    undefined : int
        Rows left out, because a logit is nan or two are inf.
    ranks : Ranks
        `auroc`, `average_precision`, and `fpr95`: the part of the rows outside that pass where 95
        of 100 inside do. Each with its bounds.
    roc : Curve
        Points of the ROC curve.
    """

    score: Score
    inside: int
    outside: int
    undefined: int
    ranks: Ranks
    roc: Curve

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; None for what is not finite."""
        figures = {**vars(self), **self.ranks.to_dict(), "roc": self.roc.to_dict()}
        del figures["ranks"]
        found: dict[str, Any] = plain(figures)
        return found

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        counts = f"{self.inside} inside, {self.outside} outside"
        left_out = f"  ({self.undefined} without a score)" if self.undefined else ""
        return [("rows", counts + left_out), ("score", self.score), *self.ranks.lines()]


def out_of_distribution(
    inside: Any,
    outside: Any,
    *,
    score: Score = "energy",
    exact: bool = False,
    logits_key: str | None = None,
    **how: Unpack[How],
) -> OutOfDistribution:
    """Say how well a score of their logits tells rows outside a distribution from those inside.

    Parameters
    ----------
    inside, outside : array_like, path, list of paths or dask array
        Logits of a multiclass model, as in `evaluate`.
    score : {"energy", "logit", "probability", "entropy"}
        What is larger inside: logsumexp of the row (minus the energy; Liu et al., 2020), the
        largest logit, the largest probability (Hendrycks & Gimpel, 2017), minus the entropy.
    exact : bool
        Read the rows again, a few times, until no figure has bounds.
    logits_key, **how
        `axis`, `strict`, `input`, `num_threads`, `block_bytes`, `progress` and `dask`, as in
        `evaluate`, for each of the two.

    Returns
    -------
    OutOfDistribution

    Examples
    --------
    >>> import lossgrad
    >>> found = lossgrad.out_of_distribution([[9.0, 0.0], [0.0, 8.0], [2.0, 1.0]], [[1.0, 1.0]])
    >>> found.ranks.auroc.value, found.ranks.fpr95.value
    (1.0, 0.0)
    """
    if score not in get_args(Score):
        raise ValueError(f"score is {score!r}, not one of {', '.join(get_args(Score))}")
    keys = {"logits": logits_key}
    pair = [
        source({"logits": logits}, keys, "multiclass", again=exact, **how)
        for logits in (inside, outside)
    ]

    def read(new: Callable[[], Any]) -> list[Scores]:
        """Both in one pass, the counts of the first with those of the second."""
        known, unknown = (
            rows.add_to(Scores(score, positive, new))
            for rows, positive in zip(pair, (True, False), strict=True)
        )
        known.counter.merge(unknown.counter)
        return [known, unknown]

    states = read(partial(Spread, _SCALES[score]))
    ranked = states[0].counter.ranked()
    if exact:
        (parts,) = cells.resolve(lambda new: read(new)[0].counter.result(), [of_ranking])
        ranked = parts.ranked()
    known, unknown = (state.rows - state.undefined for state in states)
    return OutOfDistribution(
        score,
        inside=known,
        outside=unknown,
        undefined=sum(state.undefined for state in states),
        ranks=Ranks(*(figure.item() for figure in Ranks.of(ranked))),
        roc=ranked.roc(),
    )


class Spread:
    """A histogram of scores."""

    def __init__(self, scale: Scale) -> None:
        self._histogram = Histogram(scale, 2)

    def add(self, scored: Scored) -> None:
        """Add scores."""
        positive = 0 if scored.positive is None else scored.positive
        self._histogram.add(scored.scores, positive, scored.weight)

    def merge(self, other: "Spread") -> None:
        """Add what another has."""
        self._histogram.merge(other._histogram)

    def ranked(self) -> Ranked:
        """The order of positives and negatives, between bounds."""
        negative, positive = self._histogram.weights()
        return Ranked.of(self._histogram.scale, positive[np.newaxis], negative[np.newaxis])


class Scores:
    """A state of rows without targets, and a share of one: it counts a score.

    Parameters
    ----------
    score : str
    positive : bool
        What the rows are.
    new : callable
        Makes the counter.
    """

    positional: ClassVar[tuple[str, ...]] = ("logits",)
    task: Task = "multiclass"
    ignore_index = -100  # a state has one; here are no labels

    def __init__(self, score: Score, positive: bool, new: Callable[[], Any]) -> None:
        self.score, self._positive, self._new = score, positive, new
        self.counter = new()
        self.rows = self.undefined = 0
        self.classes: int | None = None

    def empty(self) -> "Scores":
        """Another of the same options, without any rows."""
        return Scores(self.score, self._positive, self._new)

    def share(self, stopped: Callable[[], bool] = bool) -> "Scores":
        """What one thread adds to."""
        return self.empty()

    def state(self) -> "Scores":
        """All that was added."""
        return self

    @arithmetic()
    def add(self, block: Block, *, strict: bool, source: str, number: Callable[[int], int]) -> None:
        """Add the rows of a block."""
        x = native(np.asarray(block["logits"]))
        rows = x.shape[:-1]
        try:
            x = check.floating(x, "logits").reshape(-1, x.shape[-1])
        except TypeError as error:
            raise DtypeError("logits", str(error)) from None
        self.classes = x.shape[1]
        scores = _scores(x, self.score)
        undefined = np.isnan(scores)
        if strict and undefined.any():
            place = np.unravel_index(int(undefined.argmax()), rows)
            raise InputError("logits", "the score is nan", tuple(map(int, place)))
        some = scores[~undefined]
        positive = np.full(len(some), self._positive)
        self.counter.add(Scored(some, np.zeros(len(some), np.int64), positive))
        self.rows += len(x)
        self.undefined += int(np.count_nonzero(undefined))

    def merge(self, other: "Scores") -> None:
        """Add what another has."""
        self.counter.merge(other.counter)
        self.rows += other.rows
        self.undefined += other.undefined
        self.classes = other.classes or self.classes

    def renumber(self, number: Callable[[int], int]) -> None:
        """No row is remembered."""

    def options(self) -> dict[str, Any]:
        """What has to agree for states to merge."""
        return {"score": self.score}

    def to_bytes(self) -> bytes:
        """None: it is never saved."""
        raise NotImplementedError

    def result(self) -> Any:
        """What was counted."""
        return self.counter


def _scores(x: NDArray[Any], score: Score) -> Doubles:
    """What is larger inside; nan of a row that has none."""
    found = row_statistics(x, np.zeros(len(x), np.int64), num_threads=1)
    if score == "logit":
        of = x.max(axis=1).astype(np.float64)
    else:
        of = {"energy": found.lse, "probability": found.confidence, "entropy": -found.entropy}[
            score
        ]
    return np.where(found.predicted >= 0, of, np.nan)
