"""How well scores rank: positives above negatives by label, or each class above all others.

A label's score is its logit; a class's, its probability. Up to 16 labels of float16 or bfloat16
logits keep a bin for each number, so that the figures are exact; of more labels bins are wider, so
that a state stays below 16 MiB.
"""

import struct
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.histogram import (
    Bounded,
    Halves,
    Histogram,
    Magnitudes,
    Scale,
    Shares,
    Signed,
)
from lossgrad.evaluation.possible import Known
from lossgrad.evaluation.problems import InputError
from lossgrad.evaluation.ranking import Curve, Ranked, over_groups
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Seen

MOST = 1024  # classes or labels
_FINE = 16  # of as many bins as there are
_MANTISSA = 10
_HEAD = struct.Struct("<BI")  # kind of the scores, classes
_KINDS = ("", "float16", "bfloat16", "wide", "probabilities")


class Ranks(NamedTuple):
    """Figures of one ranking, or in arrays those of several."""

    auroc: Bounded
    average_precision: Bounded
    fpr95: Bounded

    @classmethod
    def of(cls, ranked: Ranked) -> "Ranks":
        """All of them."""
        return cls(ranked.auroc(), ranked.average_precision(), ranked.fpr_at(0.95))

    def to_dict(self) -> dict[str, Any]:
        """By name, each with its bounds."""
        return {name: figure._asdict() for name, figure in self._asdict().items()}

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts, of one ranking."""
        names = "AUROC", "precision", "FPR at 95"
        return [(name, figure.text()) for name, figure in zip(names, self, strict=True)]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What the order of the scores says.

    Attributes
    ----------
    per_class : Ranks
        Of each label, or of each class against all others, in arrays; nan where a label has no
        positives or no negatives.
    macro : Ranks
        The plain means over those that are not nan.
    micro : Ranks
        Of all scores together, whatever their label.
    roc : Curve
        Points of the ROC curve of all scores together.
    """

    per_class: Ranks
    macro: Ranks
    micro: Ranks
    roc: Curve

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        figures = {name: getattr(self, name).to_dict() for name in ("per_class", "macro", "micro")}
        return {**figures, "roc": self.roc.to_dict()}

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts."""
        together = self.micro.lines()
        if len(self.per_class.auroc.value) <= 1:
            return together
        return [
            (name, f"{macro} macro, {micro} micro")
            for (name, macro), (_, micro) in zip(self.macro.lines(), together, strict=True)
        ]


class RankingPart:
    """Histograms of the scores of each label, of positives and negatives apart."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task) -> None:
        self._kind, self._classes = "", 0
        self._scores: Histogram | None = None

    def _open(self, kind: str, classes: int) -> Histogram:
        if classes > MOST:
            raise InputError("logits", f"ranking is for up to {MOST} classes, not {classes}")
        if self._scores is None:
            self._kind, self._classes = kind, classes
            self._scores = Histogram(_scale(kind, classes), 2 * classes)
        if kind != self._kind:
            problem = f"{kind} scores do not rank with {self._kind} ones before them"
            raise InputError("logits", problem)
        return self._scores

    def add(self, seen: Seen) -> None:
        """Add terms."""
        x = seen.rows.logits
        classes = x.shape[1]
        if seen.rows.task == "binary":
            name = x.dtype.name
            scores = self._open(name if name in _KINDS else "wide", classes)
            positive = (seen.right > 0.5).astype(np.int64)
            scores.add(x.reshape(-1)[seen.term], 2 * seen.label + positive, seen.weight)
            return
        scores = self._open("probabilities", classes)
        groups = np.broadcast_to(2 * np.arange(classes), (len(seen.term), classes)).copy()
        groups[np.arange(len(groups)), seen.label] += 1
        s = None if seen.weight is None else np.repeat(seen.weight, classes)
        scores.add(seen.probabilities.reshape(-1), groups.reshape(-1), s)

    def merge(self, other: "RankingPart") -> None:
        """Add what another has."""
        if other._scores is not None:
            self._open(other._kind, other._classes).merge(other._scores)

    def to_bytes(self) -> bytes:
        """All of it."""
        head = _HEAD.pack(_KINDS.index(self._kind), self._classes)
        return head + (b"" if self._scores is None else self._scores.to_bytes())

    def restore(self, data: memoryview) -> memoryview:
        """Take over what `to_bytes` wrote: the bytes that follow."""
        (kind, classes), data = _HEAD.unpack(data[: _HEAD.size]), data[_HEAD.size :]
        if bool(kind) != bool(classes) or classes > MOST:
            raise ValueError(f"{classes} classes of kind {kind}")
        if kind:
            self._kind, self._classes = _KINDS[kind], classes
            scale = _scale(self._kind, classes)
            self._scores, data = Histogram.from_bytes(scale, 2 * classes, data)
        return data

    def check(self, known: Known) -> None:
        """Hold what was restored against what all terms are known to add up to."""
        if self._scores is None:
            known.check(weight=ExactSums(1))
            return
        if (self._kind == "probabilities") != (known.task == "multiclass"):
            raise ValueError(f"scores that are {self._kind} in the task {known.task}")
        every = self._scores.totals()
        label = np.arange(every.size)
        known.check(
            each=every.summed(label // 2, self._classes),
            support=every.chosen(label[1::2]),
        )

    def result(self) -> Ranking:
        """The figures so far."""
        scores = self._scores or Histogram(_scale("wide", 1), 2)
        weights = scores.weights()
        labels = Ranked.of(scores.scale, weights[1::2], weights[::2])
        together = Ranked.of(
            scores.scale,
            weights[1::2].sum(axis=0, keepdims=True),
            weights[::2].sum(axis=0, keepdims=True),
        )
        per_class, micro = Ranks.of(labels), Ranks.of(together)
        return Ranking(
            per_class=per_class,
            macro=Ranks(*map(over_groups, per_class)),
            micro=Ranks(*(figure.item() for figure in micro)),
            roc=together.roc(),
        )


def _scale(kind: str, classes: int) -> Scale:
    """The finest bins of so many classes."""
    wider = max(0, (classes - 1) // _FINE).bit_length()
    if kind in ("float16", "bfloat16") and not wider:
        return Halves(kind)
    if kind == "probabilities":
        return Shares(Magnitudes(-32, 0, _MANTISSA - wider))
    return Signed(Magnitudes(-15, 17, _MANTISSA - wider))
