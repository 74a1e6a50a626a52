"""The state of a comparison: everything about two models' logits of the same rows, mergeable."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad._core import arguments as check
from lossgrad._core.environment import arithmetic_within
from lossgrad.evaluation import frame
from lossgrad.evaluation.comparison.bits import PairBitsPerByte
from lossgrad.evaluation.comparison.clusters import PairClusters
from lossgrad.evaluation.comparison.results import ComparisonResult, Estimate, Pair
from lossgrad.evaluation.comparison.share import Share
from lossgrad.evaluation.comparison.sums import Sums, correlation
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.histogram import Histogram, Magnitudes, Scale, Signed
from lossgrad.evaluation.pairs import PairStatistics
from lossgrad.evaluation.possible import check_range
from lossgrad.evaluation.problems import InputError
from lossgrad.evaluation.reading import LOGITS, Reading
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.states import Saved, kind

MAGIC = b"lossgrad-comparison\n"
_COUNTS = (
    "rows",
    "ignored",
    "undefined",
    "terms",
    "both_right",
    "base_right",
    "other_right",
    "none_right",
    "wins",
    "ties",
    "losses",
)
_OF_BOTH = ("kl", "kl_reverse", "js", "agreement", "overlap")
_OF_LABELS = (
    "base_loss",
    "other_loss",
    "loss_difference",
    "base_accuracy",
    "other_accuracy",
    "accuracy_difference",
)
_MAGNITUDES = Magnitudes(-48, 16)  # of nats: below 2**-48 is what rounding leaves
_SCALES: dict[str, Scale] = {"kl": _MAGNITUDES, "loss_difference": Signed(_MAGNITUDES)}
_MORE_SCALES: dict[str, Scale] = dict.fromkeys(  # of what there are quantiles if asked for
    ("kl_reverse", "js", "base_loss", "other_loss"), _MAGNITUDES
)
_QUANTILES = "quantiles"
_PARTS: dict[str, Any] = {"bits_per_byte": PairBitsPerByte, "clusters": PairClusters}
_MOMENTS = 6  # sums of s, s a, s b, s a a, s b b and s a b of the losses a and b


@kind(MAGIC)
@arithmetic_within
class Comparison(Saved):
    """Running totals over blocks of two models' logits.

    Parameters
    ----------
    ignore_index : int
        The label of rows to leave out.
    top_k : int
        How many first choices are compared; at most the number of classes.
    worst : int
        Remember so many rows of largest KL(base || other).
    figures : sequence of {"bits_per_byte", "clusters", "quantiles"}
        What else is to be counted: quantiles of every figure of a row, not of KL(base || other)
        and the difference of the losses alone.

    Notes
    -----
    As for `Evaluation`, equal rows give equal `to_bytes`, however they were cut and merged.

    Examples
    --------
    >>> import lossgrad
    >>> first, second = lossgrad.Comparison(top_k=1), lossgrad.Comparison(top_k=1)
    >>> first.update([[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.5], [0.0, 1.0]], [0, 1])
    >>> second.update([[0.0, 3.0]], [[1.0, 0.0]], [0])
    >>> first.merge(second)
    >>> result = first.result()
    >>> round(result.kl.value, 6), result.agreement.value, result.other_right
    (0.363285, 0.6666666666666666, 1)
    """

    what = "a comparison"
    positional: ClassVar = "logits", "other", "targets", "sample_weight"
    task: Task = "multiclass"

    def __init__(
        self,
        *,
        ignore_index: int = -100,
        top_k: int = 5,
        worst: int = 0,
        figures: Sequence[str] = (),
    ) -> None:
        self.ignore_index = check.ignored_label(ignore_index)
        self.top_k, self.worst = operator.index(top_k), operator.index(worst)
        if self.top_k < 0 or self.worst < 0:
            raise ValueError(f"top_k is {top_k} and worst {worst}: 0 or more are possible")
        self.classes: int | None = None
        self.labelled: bool | None = None  # whether rows have targets
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._sums = {"both": Sums(_OF_BOTH), "labels": Sums(_OF_LABELS)}
        self._moments = ExactSums(_MOMENTS)
        for name in figures:
            if name not in (*_PARTS, _QUANTILES):
                raise ValueError(f"no figure {name!r}; there are {', '.join(_PARTS)}, {_QUANTILES}")
        self.figures = tuple(sorted(set(figures)))
        scales = _SCALES | (_MORE_SCALES if _QUANTILES in figures else {})
        self._spreads = {name: Histogram(scale) for name, scale in scales.items()}
        self._worst: list[Pair] = []
        self._parts = {name: _PARTS[name]() for name in self.figures if name in _PARTS}

    # ---- adding rows ----

    def update(
        self,
        base: ArrayLike,
        other: ArrayLike,
        targets: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        reading: Reading = LOGITS,
        strict: bool = False,
        source: str = "",
        first_row: int | None = None,
        **columns: ArrayLike,
    ) -> None:
        """Add rows. The last axis of `base` and `other` is that of the classes.

        Parameters
        ----------
        base, other, targets : array_like
            As in `compare`, the class axis last.
        sample_weight : array_like, optional
            A finite weight >= 0 for each row.
        reading : Reading
            What the arrays hold, if not logits and integer labels.
        strict : bool
            A row that is undefined is an error, not counted and left out.
        source, first_row : str, int
            What the worst rows are known by, as in `Evaluation.update`.
        **columns : array_like
            What the figures need of each row: `clusters`, say.

        Raises
        ------
        InputError
            Wrong data, with the row's index in this block; the totals are then unchanged.
        """
        arrays = (base, other, targets, sample_weight)
        given = {**dict(zip(self.positional, arrays, strict=True)), **columns}
        self._take(given, reading, first_row, strict=strict, source=source)

    def share(self, stopped: Callable[[], bool] = bool) -> Share:
        """What one thread adds to; `stopped` says when to give up."""
        return Share(self, stopped)

    def empty(self) -> "Comparison":
        """Another of the same options, without any rows."""
        return Comparison(**self.options())

    def open(self, classes: int, labelled: bool) -> None:
        """Take notice of the number of classes, and of whether there are targets."""
        if self.classes not in (None, classes):
            raise InputError("logits", f"{classes} classes after blocks of {self.classes}")
        if self.labelled not in (None, labelled):
            raise InputError("targets", "given for some blocks and not for others")
        self.classes, self.labelled = classes, labelled

    def count(self, **numbers: int) -> None:
        """Add to counts."""
        for name, number in numbers.items():
            self._counts[name] += number

    def add(
        self,
        found: PairStatistics,
        weight: NDArray[np.float64] | None,
        columns: dict[str, NDArray[Any]],
    ) -> None:
        """Add rows that are defined, with what the figures need of each."""
        k = min(self.top_k, self.classes or 0)
        agreement = (found.base_predicted == found.other_predicted).astype(np.float64)
        overlap = found.overlap / k if k else np.zeros(len(agreement))
        both = found.kl, found.kl_reverse, found.js, agreement, overlap
        self._sums["both"].add(dict(zip(_OF_BOTH, both, strict=True)), weight)
        for name in spread_of([*self._spreads], self.labelled):
            self._spreads[name].add(getattr(found, name), weight=weight)
        self.count(terms=len(agreement))
        for part in self._parts.values():
            part.add(found, weight, columns)
        if self.labelled:
            self._add_labels(found, weight)

    def _add_labels(self, found: PairStatistics, weight: NDArray[np.float64] | None) -> None:
        base, other = found.base_rank == 0, found.other_rank == 0
        right = base.astype(np.float64), other.astype(np.float64)
        losses = found.base_loss, found.other_loss
        of_labels = *losses, found.loss_difference, *right, right[1] - right[0]
        self._sums["labels"].add(dict(zip(_OF_LABELS, of_labels, strict=True)), weight)
        s = np.ones(len(base)) if weight is None else weight
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = [np.where(s == 0.0, 0.0, s * loss) for loss in losses]
            products = [
                np.where(s == 0.0, 0.0, one * loss)
                for one, loss in zip(weighted, losses, strict=True)
            ]
            cross = np.where(s == 0.0, 0.0, weighted[0] * losses[1])
        for group, values in enumerate((s, *weighted, *products, cross)):
            self._moments.add(values, group)
        self.count(
            both_right=int(np.count_nonzero(base & other)),
            base_right=int(np.count_nonzero(base & ~other)),
            other_right=int(np.count_nonzero(other & ~base)),
            none_right=int(np.count_nonzero(~base & ~other)),
            wins=int(np.count_nonzero(found.loss_difference < 0)),
            ties=int(np.count_nonzero(found.loss_difference == 0)),
            losses=int(np.count_nonzero(found.loss_difference > 0)),
        )

    def keep_worst(self, rows: list[Pair]) -> None:
        """Remember those of largest divergence."""
        self._worst = sorted([*self._worst, *rows], key=_divergence)[: self.worst]

    def renumber(self, number: Callable[[int], int]) -> None:
        """Give the worst rows other numbers, in the same order."""
        self._worst = [row._replace(row=number(row.row)) for row in self._worst]

    # ---- merging, saving ----

    def merge(self, other: "Comparison") -> None:
        """Add the totals of another comparison of the same options and classes."""
        mine, theirs = self.options(), other.options()
        if different := [name for name, value in mine.items() if theirs[name] != value]:
            raise ValueError(f"comparisons of different {' and '.join(different)} do not merge")
        if other.classes is None or other.labelled is None:
            return
        self.open(other.classes, other.labelled)
        self.count(**other._counts)
        for name, sums in self._sums.items():
            sums.merge(other._sums[name])
        self._moments.merge(other._moments)
        for name, spread in self._spreads.items():
            spread.merge(other._spreads[name])
        for name, part in self._parts.items():
            part.merge(other._parts[name])
        self.keep_worst(other._worst)

    def options(self) -> dict[str, Any]:
        """The arguments that make a comparison like this one: merging needs them to agree."""
        return {
            "ignore_index": self.ignore_index,
            "top_k": self.top_k,
            "worst": self.worst,
            "figures": list(self.figures),
        }

    def to_bytes(self) -> bytes:
        """The whole state. Equal totals give equal bytes, on any machine."""
        hexed = [
            [row.kl.hex(), *row[1:6], row.base_loss.hex(), row.other_loss.hex()]
            for row in self._worst
        ]
        header = {
            "options": self.options(),
            "classes": self.classes,
            "labelled": self.labelled,
            "counts": self._counts,
            "worst_rows": hexed,
        }
        data = [sums.to_bytes() for sums in self._sums.values()]
        data.append(self._moments.to_bytes())
        data += [spread.to_bytes() for spread in self._spreads.values()]
        data += [part.to_bytes() for part in self._parts.values()]
        return frame.pack(MAGIC, header, b"".join(data))

    @classmethod
    def _restored(cls, header: dict[str, Any], rest: memoryview) -> "Comparison":
        state = cls(**header["options"])
        state.classes, state.labelled = header["classes"], header["labelled"]
        state._counts = {name: header["counts"][name] for name in _COUNTS}
        for kl, source, row, label, base, other, *losses in header["worst_rows"]:
            first, second = map(float.fromhex, losses)
            place = (source, row, label, base, other)
            state._worst.append(Pair(float.fromhex(kl), *place, first, second))
        terms = state._counts["terms"]
        rest = state._sums["both"].restore(terms, rest)
        rest = state._sums["labels"].restore(terms if state.labelled else 0, rest)
        state._moments, rest = ExactSums.from_bytes(_MOMENTS, rest)
        for name, spread in state._spreads.items():
            state._spreads[name], rest = Histogram.from_bytes(spread.scale, 1, rest)
        for part in state._parts.values():
            rest = part.restore(rest)
        if rest:
            raise ValueError(f"{len(rest)} bytes too many")
        state._check()
        return state

    def _check(self) -> None:
        """Refuse totals that no rows lead to."""
        counts = self._counts
        for name, count in counts.items():
            check_range(name, count, 0)
        opened = self.classes is not None
        if opened:
            check_range("classes", self.classes, 1)
        if opened != (self.labelled in (True, False)) or (counts["rows"] and not opened):
            raise ValueError(f"counts of rows that such a comparison never saw: {counts}")
        terms = counts["rows"] - counts["ignored"] - counts["undefined"]
        of_labels = terms if self.labelled else 0
        rights = sum(counts[name] for name in _COUNTS[4:8])
        if terms != counts["terms"] or {rights, sum(counts[n] for n in _COUNTS[8:])} != {of_labels}:
            raise ValueError(f"counts that no rows have: {counts}")
        self._check_sums()
        if len(self._worst) > min(self.worst, terms) or self._worst != sorted(
            self._worst, key=_divergence
        ):
            raise ValueError("worst rows that are out of order, or too many")
        for row in self._worst:
            check_range("row", row.row, 0)
            if not isinstance(row.source, str) or not row.kl >= 0:
                raise ValueError(f"a worst row {row}")

    def _check_sums(self) -> None:
        """Every sum of weights is that of all rows, or of those with labels."""
        both, of_labels = self._sums["both"], self._sums["labels"]
        both.check(_OF_BOTH, _OF_BOTH[-2:])
        of_labels.check(
            [name for name in _OF_LABELS if "difference" not in name],
            [name for name in _OF_LABELS if name.endswith("accuracy")],
        )
        weight = both.of_weight() if self.labelled else ExactSums(1)
        pairs = [
            (one.totals(), weight if name in _OF_LABELS else both.of_weight())
            for name, one in self._spreads.items()
        ]
        pairs += [(of_labels.of_weight(), weight), (self._moments.chosen([0]), weight)]
        pairs += [
            (self._moments.chosen([k]), of_labels.of(name))
            for k, name in ((1, "base_loss"), (2, "other_loss"))
        ]
        if any(one.numbers() != other.numbers() for one, other in pairs):
            raise ValueError("sums of the same rows that differ")
        for part in self._parts.values():
            part.check(both, of_labels)

    # ---- reading ----

    @property
    def rows(self) -> int:
        """The rows seen so far."""
        return self._counts["rows"]

    def result(self) -> ComparisonResult:
        """The figures so far."""
        both, of_labels = self._sums["both"], self._sums["labels"]
        nothing = Estimate(float("nan"), float("nan"))
        figures: dict[str, Any] = {
            **self._counts,
            **{name: both.estimate(name) for name in _OF_BOTH},
            **{n: of_labels.estimate(n) if self.labelled else nothing for n in _OF_LABELS},
        }
        return ComparisonResult(
            **figures,
            classes=self.classes or 0,
            weight=both.weight,
            top_k=min(self.top_k, self.classes or self.top_k),
            labelled=bool(self.labelled),
            correlation=correlation(self._moments, range(_MOMENTS)),
            distributions={name: spread.distribution() for name, spread in self._spreads.items()},
            worst=tuple(self._worst),
            figures={n: part.result(bool(self.labelled)) for n, part in self._parts.items()},
        )


def spread_of(names: Sequence[str], labelled: bool | None) -> list[str]:
    """Of what there are quantiles, that rows with or without labels have."""
    return [name for name in names if labelled or name not in _OF_LABELS]


def _divergence(row: Pair) -> tuple[Any, ...]:
    """The key that sorts the row of largest divergence first; the rest makes the order complete."""
    return (-row.kl, *row[1:])
