"""The state of an evaluation: everything about predictions, exact and mergeable.

`Evaluation` adds up what `_statistics` says about each row. Counts are integers and sums are exact,
so equal rows give equal bytes, whatever the blocks, their order or the tree of merges. Problems in
the data are reported with the row's index in the block; the walk over whole arrays (`_walk`) makes
that the row of the whole.
"""

import math
import operator
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossgrad import _arguments as check
from lossgrad import _frame
from lossgrad._environment import arithmetic_within
from lossgrad._exact import UNITS, ExactSums
from lossgrad._possible import badness, check_range, check_totals, check_worst
from lossgrad._problems import DtypeError, FileError, InputError, LabelError
from lossgrad._results import Average, Result, Task, WorstRow, means, ratio, standard_error
from lossgrad._scale import bands, common_shift
from lossgrad._statistics import label_statistics, native, row_statistics

__all__ = [
    "Average",
    "DtypeError",
    "Evaluation",
    "FileError",
    "InputError",
    "LabelError",
    "Result",
    "Task",
    "WorstRow",
]

MAGIC = b"lossgrad-evaluation\n"
_BINS = 1 << 20
_LOSS_BINS = 64
# Groups of the tally "scalars": with s the sample weight, w the class weight, l the loss
_SCALARS = _ENTROPY, _BRIER, _DIVISOR, _LL, _LW, _WW = range(6)
_SQUARES = _LL, _LW, _WW  # where a sample weight counts twice
_COUNTERS = ("rows", "ignored", "undefined", "terms", "correct", "infinite")


@dataclass
class Block:
    """What one block adds: everything that can fail or take time is done when it is made."""

    classes: int
    counts: dict[str, int]
    # tally -> (values or None for ones, groups)
    adds: list[tuple[str, Any, Any]] = field(default_factory=list)
    # the same of rows whose weights are beyond the ordinary, and the limbs to shift their sums by
    others: list[tuple[int, list[tuple[str, Any, Any]]]] = field(default_factory=list)
    worst: list[WorstRow] = field(default_factory=list)


@arithmetic_within
class Evaluation:
    """Running totals over blocks of logits and targets.

    Parameters
    ----------
    task : {"multiclass", "binary"}
        "multiclass": targets are integer labels, one a row; the prediction is the first largest
        logit. "binary" (and multi-label): targets between 0 and 1, of the logits' shape; the
        prediction is probability > `threshold`, right when it equals target > 0.5.
    ignore_index : int
        The label of rows to leave out ("multiclass").
    weight : array_like, optional
        A weight for each class, as in `cross_entropy` ("multiclass"). Only the loss knows it.
    label_smoothing : float
        As in `cross_entropy` ("multiclass").
    bins : int
        Reliability bins of equal width.
    threshold : float
        The probability above which a label is predicted ("binary").
    confusion_limit : int
        Keep the confusion matrix up to so many classes: it takes 8 bytes times classes**2.
    worst : int
        Remember so many rows of largest loss ("multiclass").

    Notes
    -----
    The state takes O(classes + bins) memory without the confusion matrix, whatever the number of
    rows. Two evaluations of the same rows have the same `to_bytes`, however the rows were cut into
    blocks and shards and in whatever order those were merged. (The worst rows are known by
    `source` and row number, so they, too, have to be the same: see `update`.)

    Examples
    --------
    >>> import lossgrad
    >>> first, second = lossgrad.Evaluation(), lossgrad.Evaluation()
    >>> first.update([[2.0, 0.0], [0.0, 1.0]], [0, 1])
    >>> second.update([[0.0, 3.0]], [0])
    >>> first.merge(second)
    >>> result = first.result()
    >>> result.correct, result.terms, round(result.loss, 6)
    (2, 3, 1.162926)
    """

    def __init__(
        self,
        task: Task = "multiclass",
        *,
        ignore_index: int = -100,
        weight: ArrayLike | None = None,
        label_smoothing: float = 0.0,
        bins: int = 15,
        threshold: float = 0.5,
        confusion_limit: int = 256,
        worst: int = 0,
    ) -> None:
        if task not in ("multiclass", "binary"):
            raise ValueError(f"task is {task!r}, not 'multiclass' or 'binary'")
        if not 1 <= bins <= _BINS or worst < 0:
            raise ValueError(
                f"bins is {bins} and worst {worst}: 1 to {_BINS} bins and 0 rows or more are needed"
            )
        if not 0.0 <= label_smoothing <= 1.0 or not 0.0 < threshold < 1.0:
            raise ValueError(
                f"label_smoothing is {label_smoothing} and threshold {threshold}: "
                "[0, 1] and (0, 1) are possible"
            )
        if task == "binary" and (weight is not None or label_smoothing):
            raise ValueError("weight and label_smoothing are for the multiclass task")
        self.task = task
        self.ignore_index = check.ignored_label(ignore_index)
        self.weight = None if weight is None else _weights(weight, "weight", None)
        self.label_smoothing = float(label_smoothing)
        self.bins = int(bins)
        self.threshold = float(threshold)
        self.confusion_limit = int(confusion_limit)
        self.worst = int(worst)
        self._classes: int | None = None
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._tallies: dict[str, ExactSums] = {}
        self._worst: list[WorstRow] = []

    # ---- adding rows ----

    def update(
        self,
        logits: ArrayLike,
        targets: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        strict: bool = False,
        source: str = "",
        first_row: int | None = None,
    ) -> None:
        """Add rows. The last axis of `logits` is that of the classes (or labels).

        Parameters
        ----------
        logits, targets : array_like
            As in `evaluate`, the class axis last.
        sample_weight : array_like, optional
            A finite weight >= 0 for each row.
        strict : bool
            A row whose loss is nan is an error, not counted as undefined and left out.
        source, first_row : str, int
            What the worst rows are known by: a name, and the number of the first of these rows
            (default: the rows seen so far).

        Raises
        ------
        InputError
            Wrong data, with the row's index in this block; the totals are then unchanged.
        """
        block = self.measure(logits, targets, sample_weight, strict=strict)
        if block is not None:
            self.absorb(block, source=source, first_row=first_row)

    def measure(
        self,
        logits: ArrayLike,
        targets: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        strict: bool = False,
        num_threads: int | None = None,
    ) -> Block | None:
        """What `update` would add, without adding it: this may run in several threads."""
        x, t = native(np.asarray(logits)), native(np.asarray(targets))
        self._check_shapes(x, t)
        if x.size == 0:
            return None
        s = None
        if sample_weight is not None:
            s = _weights(sample_weight, "sample_weight", x.shape[:-1])
        measure = self._measure_labels if self.task == "binary" else self._measure_rows
        try:
            (shift, part), *others = bands(s)
            block = measure(x, t, part, strict, num_threads)
            # What the rows of other bands count is counted already: here they add to sums alone.
            for more, part in others:
                again = measure(x, t, part, strict, num_threads)
                block.others.append((more, again.adds))
        except TypeError as error:
            if isinstance(error, DtypeError):
                raise
            raise DtypeError("logits", str(error)) from None
        if shift:
            block.others.append((shift, block.adds))
            block.adds = []
        return block

    def _check_shapes(self, logits: NDArray[Any], targets: NDArray[Any]) -> None:
        if logits.ndim == 0 or logits.shape[-1] == 0:
            raise InputError("logits", f"shape {logits.shape} has no classes")
        wanted = logits.shape if self.task == "binary" else logits.shape[:-1]
        if targets.shape != wanted:
            raise InputError("targets", f"shape {targets.shape} where {wanted} is needed")
        classes = logits.shape[-1]
        if self._classes not in (None, classes):
            raise InputError("logits", f"{classes} classes after blocks of {self._classes}")
        if self.weight is not None and len(self.weight) != classes:
            raise InputError("logits", f"{classes} classes for {len(self.weight)} class weights")

    def _measure_rows(
        self,
        x: NDArray[Any],
        labels: NDArray[Any],
        s: NDArray[Any] | None,
        strict: bool,
        num_threads: int | None,
    ) -> Block:
        classes, batch = x.shape[-1], x.shape[:-1]
        self._check_labels(labels, classes)
        x, y = x.reshape(-1, classes), labels.reshape(-1)
        found = row_statistics(
            x,
            y,
            self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            num_threads=num_threads,
        )
        undefined = np.isnan(found.loss)
        if strict and undefined.any():
            raise _explain_nan(x[i := int(undefined.argmax())], np.unravel_index(i, batch))
        kept = found.predicted >= 0
        ignored = len(y) - int(np.count_nonzero(kept | undefined))
        take: Any = slice(None) if kept.all() else kept
        loss, y = found.loss[take].astype(np.float64), y[take].astype(np.int64)
        predicted, right, rank = found.predicted[take], found.right[take], found.rank[take]
        confidence, entropy = found.confidence[take], found.entropy[take]
        brier = found.brier[take]
        s = None if s is None else s.reshape(-1)[take]
        rows = np.flatnonzero(kept)
        block = Block(
            classes,
            {
                "rows": len(found.loss),
                "ignored": ignored,
                "undefined": int(np.count_nonzero(undefined)),
                "terms": len(y),
                "correct": int(np.count_nonzero(right)),
                "infinite": int(np.count_nonzero(np.isinf(loss))),
            },
        )
        if not len(y):
            return block
        w = None if self.weight is None else self.weight.astype(found.loss.dtype)[y]
        add = block.adds.append
        add(("support", s, y))
        add(("predicted", s, predicted))
        add(("hits", *_only(right, s, y)))
        add(("ranks", s, rank))
        if classes <= self.confusion_limit:
            add(("confusion", s, y * classes + predicted))
        self._add_common(block, loss, s, w, y, confidence, right, entropy, brier)
        if self.worst:
            order = _largest(loss, self.worst)
            columns = (loss[order], rows[order], y[order], predicted[order], confidence[order])
            listed = (column.tolist() for column in columns)
            block.worst = [WorstRow(one, "", *rest) for one, *rest in zip(*listed, strict=True)]
        return block

    def _check_labels(self, labels: NDArray[Any], classes: int) -> None:
        if labels.dtype.kind not in "iu":
            raise DtypeError("targets", f"dtype {labels.dtype} where integer labels are needed")
        if labels.min() >= 0 and labels.max() < classes:
            return
        bad = (labels != self.ignore_index) & ((labels < 0) | (labels >= classes))
        if bad.any():
            row = _first(bad)
            raise LabelError(
                "targets",
                f"label {labels[row]} is outside [0, {classes}) "
                f"and is not ignore_index ({self.ignore_index})",
                row,
            )

    def _measure_labels(
        self,
        x: NDArray[Any],
        targets: NDArray[Any],
        s: NDArray[Any] | None,
        strict: bool,
        num_threads: int | None,
    ) -> Block:
        if targets.dtype.kind not in "biuf" or targets.dtype.itemsize > 8:
            raise DtypeError("targets", f"dtype {targets.dtype} where ordinary numbers are needed")
        if not (targets.min() >= 0 and targets.max() <= 1):  # a NaN is neither
            place = _first(~((targets >= 0) & (targets <= 1)))
            raise LabelError(
                "targets",
                f"{_label(place, targets)}target {targets[place]} is outside [0, 1]",
                place[:-1],
            )
        found = label_statistics(x, targets, self.threshold, num_threads=num_threads)
        undefined = np.isnan(found.loss)
        if strict and undefined.any():
            place = _first(undefined)
            raise InputError("logits", f"{_label(place, x)}logit is {x[place]}", place[:-1])
        kept = ~undefined
        take: Any = Ellipsis if kept.all() else kept
        loss = found.loss[take].astype(np.float64).reshape(-1)
        t = targets[take].astype(np.float64).reshape(-1)
        p, entropy = found.probability[take].reshape(-1), found.entropy[take].reshape(-1)
        brier = found.brier[take].reshape(-1)
        labels = np.broadcast_to(np.arange(x.shape[-1]), x.shape)[take].reshape(-1)
        if s is not None:
            s = np.broadcast_to(s[..., np.newaxis], x.shape)[take].reshape(-1)
        positive, predicted = found.positive[take].reshape(-1), found.predicted[take].reshape(-1)
        counts = {
            "rows": x.size // x.shape[-1],
            "ignored": 0,
            "undefined": int(np.count_nonzero(undefined)),
            "terms": len(loss),
            "correct": int(np.count_nonzero(positive == predicted)),
            "infinite": int(np.count_nonzero(np.isinf(loss))),
        }
        block = Block(x.shape[-1], counts)
        if not len(loss):
            return block
        block.adds.append(("seen", s, labels))
        for name, which in (
            ("support", positive),
            ("predicted", predicted),
            ("hits", positive & predicted),
        ):
            block.adds.append((name, *_only(which, s, labels)))
        self._add_common(block, loss, s, None, labels, p, t, entropy, brier)
        return block

    def _add_common(
        self,
        block: Block,
        loss: NDArray[np.float64],
        s: NDArray[np.float64] | None,
        w: NDArray[Any] | None,
        groups: NDArray[Any],
        confidence: NDArray[np.float64],
        right: NDArray[Any],
        entropy: NDArray[np.float64],
        brier: NDArray[np.float64],
    ) -> None:
        add = block.adds.append
        weighted = _times(s, loss)
        with np.errstate(over="ignore"):
            squared = weighted * weighted
        divided = s if w is None else _times(s, w.astype(np.float64))
        bins = np.clip(np.ceil(confidence * self.bins).astype(np.int64) - 1, 0, self.bins - 1)
        add(("loss", weighted, groups))
        add(("bin_weight", s, bins))
        add(("bin_confidence", _times(s, confidence), bins))
        if right.dtype == bool:
            add(("bin_right", *_only(right, s, bins)))
        else:
            add(("bin_right", _times(s, right), bins))
        size = np.clip(np.frexp(np.minimum(loss, 1e300))[1] + 40, 0, _LOSS_BINS - 1)
        add(("loss_histogram", s, np.where(loss == 0.0, 0, size)))
        for scalar, values in (
            (_ENTROPY, _times(s, entropy)),
            (_BRIER, _times(s, brier)),
            (_LL, squared),
            (_LW, _times(divided, weighted)),
        ):
            add(("scalars", values, scalar))
        if divided is None:
            add(("scalars", float(len(loss)), _DIVISOR))
            add(("scalars", float(len(loss)), _WW))
        else:
            add(("scalars", divided, _DIVISOR))
            add(("scalars", divided * divided, _WW))

    def absorb(self, block: Block, *, source: str = "", first_row: int | None = None) -> None:
        """Add what `measure` found."""
        start = self._counts["rows"] if first_row is None else operator.index(first_row)
        if start < 0:
            raise ValueError(f"first_row is {start}, not 0 or more")
        self._open(block.classes)
        for name, number in block.counts.items():
            self._counts[name] += number
        for tally, values, groups in block.adds:
            self._tallies[tally].add(values, groups)
        for shift, adds in block.others:
            apart = {name: ExactSums(tally.size) for name, tally in self._tallies.items()}
            for name, values, groups in adds:
                apart[name].add(values, groups)
            for name, sums in apart.items():
                twice = _SQUARES if name == "scalars" else ()
                self._tallies[name].merge(sums, shift, twice)
        if block.worst:
            rows = (w._replace(source=source, row=start + w.row) for w in block.worst)
            self._keep_worst([*rows])

    def _keep_worst(self, rows: list[WorstRow]) -> None:
        rows = [*self._worst, *rows]
        self._worst = sorted(rows, key=badness)[: self.worst]

    def renumber(self, number: Callable[[int], int]) -> None:
        """Give the worst rows other numbers, in the same order."""
        self._worst = [row._replace(row=number(row.row)) for row in self._worst]

    def _open(self, classes: int) -> None:
        """Make the tallies when the number of classes is known."""
        if self._classes is None:
            self._classes = classes
            self._tallies = {name: ExactSums(size) for name, size in self._sizes(classes).items()}

    def _sizes(self, classes: int) -> dict[str, int]:
        sizes = dict.fromkeys(("support", "predicted", "hits", "loss"), classes)
        if self.task == "binary":
            sizes["seen"] = classes
        else:
            sizes["ranks"] = classes
            if classes <= self.confusion_limit:
                sizes["confusion"] = classes * classes
        sizes |= dict.fromkeys(("bin_weight", "bin_confidence", "bin_right"), self.bins)
        return sizes | {"loss_histogram": _LOSS_BINS, "scalars": len(_SCALARS)}

    # ---- merging, saving ----

    def merge(self, other: "Evaluation") -> None:
        """Add the totals of another evaluation of the same task, options and classes."""
        mine, theirs = self.options(), other.options()
        different = [name for name, value in mine.items() if theirs[name] != value]
        if different:
            raise ValueError(f"evaluations of different {' and '.join(different)} do not merge")
        if other._classes is None:
            return
        if self._classes not in (None, other._classes):
            raise ValueError(f"{other._classes} classes do not merge with {self._classes}")
        self._open(other._classes)
        for name, number in other._counts.items():
            self._counts[name] += number
        for name, tally in self._tallies.items():
            tally.merge(other._tallies[name])
        self._keep_worst(other._worst)

    def options(self) -> dict[str, Any]:
        """The arguments that make an evaluation like this one: merging needs them to agree."""
        return {
            "task": self.task,
            "ignore_index": self.ignore_index,
            "weight": None if self.weight is None else self.weight.tolist(),
            "label_smoothing": self.label_smoothing,
            "bins": self.bins,
            "threshold": self.threshold,
            "confusion_limit": self.confusion_limit,
            "worst": self.worst,
        }

    def to_bytes(self) -> bytes:
        """The whole state. Equal totals give equal bytes, on any machine.

        A header in JSON follows the format's name and version; then the exact sums, then a
        checksum.
        """
        rows = [[w.loss.hex(), *w[1:5], w.confidence.hex()] for w in self._worst]
        header = {
            "options": _hexed(self.options()),
            "classes": self._classes,
            "counts": self._counts,
            "worst_rows": rows,
        }
        sums = (self._tallies[name].to_bytes() for name in sorted(self._tallies))
        return _frame.pack(MAGIC, header, b"".join(sums))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Evaluation":
        """The state that `to_bytes` wrote.

        Raises
        ------
        ValueError
            The bytes are not a state, are damaged, or of a version that is not known here.
        """
        header, sums = _frame.unpack(MAGIC, data, "evaluation")
        try:
            state = cls._restored(header, sums)
            binary = state.task == "binary"
            check_totals(state._classes, state._counts, state._tallies, binary)
            most = 0 if binary else min(state.worst, state._counts["terms"])
            check_worst(state._worst, state._classes or 0, most)
        except (struct.error, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"a damaged evaluation: {error}") from None
        if state.to_bytes() != data:  # a key too many, say, or a count of 1.0
            raise ValueError("a damaged evaluation: not as it is written")
        return state

    @classmethod
    def _restored(cls, header: dict[str, Any], rest: memoryview) -> "Evaluation":
        options = header["options"]
        for name in ("label_smoothing", "threshold"):
            options[name] = _number(options[name])
        if options["weight"] is not None:
            options["weight"] = [_number(text) for text in options["weight"]]
        state = cls(**options)
        state._counts = {name: header["counts"][name] for name in _COUNTERS}
        for loss, source, row, label, predicted, confidence in header["worst_rows"]:
            place = (source, row, label, predicted)
            state._worst.append(WorstRow(_number(loss), *place, _number(confidence)))
        if (classes := header["classes"]) is not None:
            check_range("classes", classes, 1)
            if state.weight is not None and len(state.weight) != classes:
                raise ValueError(f"{len(state.weight)} class weights for {classes} classes")
            state._open(classes)
            for name in sorted(state._tallies):
                size = state._tallies[name].size
                state._tallies[name], rest = ExactSums.from_bytes(size, rest)
        if rest:
            raise ValueError(f"{len(rest)} bytes too many")
        return state

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Evaluation):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    # ---- reading ----

    @property
    def rows(self) -> int:
        """The rows seen so far."""
        return self._counts["rows"]

    def result(self) -> Result:
        """The figures so far."""
        classes = self._classes or 0
        tallies = self._tallies or {k: ExactSums(n) for k, n in self._sizes(classes).items()}
        values = {name: tally.values() for name, tally in tallies.items()}
        weight = tallies["bin_weight"].total()
        by = common_shift(weight)  # quotients of sums that are near the ends of the range
        near = {name: tally.values(by) for name, tally in tallies.items()} if by else values
        summed = ("loss", "bin_weight", "bin_confidence", "support", "predicted", "hits")
        sums = {name: tallies[name].total(by) for name in summed}
        scalars, bins, over = near["scalars"], near["bin_weight"], sums["bin_weight"] or math.nan
        confidence = means(near["bin_confidence"], bins)
        accuracy = means(near["bin_right"], bins)
        gaps = np.abs(confidence - accuracy)[bins > 0]
        binary = self.task == "binary"
        right = sums["hits"]
        if binary:
            right = sums["bin_weight"] - sums["support"] - sums["predicted"] + 2.0 * right
        return Result(
            task=self.task,
            classes=classes,
            **self._counts,
            loss=ratio(sums["loss"], float(scalars[_DIVISOR])),
            total=tallies["loss"].total(),
            divisor=float(values["scalars"][_DIVISOR]),
            weight=weight,
            loss_error=self._loss_error(tallies["scalars"], tallies["loss"]),
            accuracy=right / over,
            entropy=float(scalars[_ENTROPY]) / over,
            confidence=sums["bin_confidence"] / over,
            brier=float(scalars[_BRIER]) / over,
            ece=float(gaps @ bins[bins > 0]) / over,
            mce=float(gaps.max()) if gaps.size else math.nan,
            bin_edges=np.linspace(0.0, 1.0, self.bins + 1),
            bin_weight=values["bin_weight"],
            bin_confidence=confidence,
            bin_accuracy=accuracy,
            support=values["support"],
            predicted=values["predicted"],
            hits=values["hits"],
            class_loss=means(near["loss"], near["seen" if binary else "support"]),
            ranks=values.get("ranks"),
            confusion=(
                values["confusion"].reshape(classes, classes) if "confusion" in values else None
            ),
            loss_histogram=values["loss_histogram"],
            worst=tuple(self._worst),
        )

    def _loss_error(self, scalars: ExactSums, losses: ExactSums) -> float:
        if scalars.infinite:
            return math.nan
        squares = [scalars.units(group) for group in _SQUARES]
        total, divisor = losses.units(), scalars.units(_DIVISOR)
        return standard_error(squares, total, divisor, UNITS, self._counts["terms"])


def _weights(values: ArrayLike, name: str, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    """Finite weights >= 0; without a shape, one for each class."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DtypeError("sample_weight", f"{name} has dtype {array.dtype}, not numbers")
    array = array.astype(np.float64)
    if shape is None and array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; one number for each class is needed")
    if shape is not None and array.shape != shape:
        raise InputError("sample_weight", f"shape {array.shape} where {shape} is needed")
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        place = _first(~good)
        problem = f"weight {array[place]} is not a finite number >= 0"
        if shape is None:
            raise ValueError(f"{name}: {problem}")
        raise InputError("sample_weight", problem, place)
    return array


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The indices of the largest, in descending order, equal ones in the order of their indices."""
    some = np.arange(len(values))
    if len(values) > count:
        some = np.flatnonzero(values >= np.partition(values, -count)[-count])
    order: NDArray[np.int64] = some[np.argsort(-values[some], kind="stable")[:count]]
    return order


def _times(s: NDArray[Any] | None, values: NDArray[Any]) -> NDArray[Any]:
    """s * values; no weight is nothing, even of an infinite loss."""
    if s is None:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(s == 0.0, 0.0, s * values)


def _only(
    which: NDArray[np.bool_], s: NDArray[Any] | None, groups: NDArray[Any]
) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    return None if s is None else s[which], groups[which]


def _explain_nan(values: NDArray[Any], place: tuple[Any, ...]) -> InputError:
    if np.isnan(values).any():
        problem = f"the logit of class {np.flatnonzero(np.isnan(values))[0]} is nan"
    elif np.count_nonzero(values == np.inf) > 1:
        first, second = np.flatnonzero(values == np.inf)[:2]
        problem = f"the logits of classes {first} and {second} are both inf, the loss is undefined"
    elif np.all(values == -np.inf):
        problem = "every logit is -inf, the loss is undefined"
    else:
        problem = "the loss is nan"
    return InputError("logits", problem, tuple(int(i) for i in place))


def _hexed(value: Any) -> Any:
    """Floats as texts that any JSON reader gives back unrounded."""
    if isinstance(value, dict):
        return {name: _hexed(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_hexed(one) for one in value]
    return value.hex() if isinstance(value, float) else value


def _number(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        raise ValueError(f"{text} is beyond every float64") from None


def _label(place: tuple[int, ...], array: NDArray[Any]) -> str:
    return f"label {place[-1]}: " if array.shape[-1] > 1 else ""


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first true element."""
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
