"""The state of an evaluation: everything about predictions, exact and mergeable.

Counts are integers and sums are exact, so equal rows give equal bytes, whatever the blocks, their
order or the tree of merges. Rows are added to a `Share` of an evaluation, which is merged when all
is well: `update` makes one for its rows, the walk over whole arrays (`walk`) one for each thread.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from lossgrad._core import arguments as check
from lossgrad._core.environment import arithmetic_within
from lossgrad.evaluation import frame, tallies
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.parts import Part, new_parts
from lossgrad.evaluation.possible import Known, badness, check_range, check_totals, check_worst
from lossgrad.evaluation.problems import InputError
from lossgrad.evaluation.reading import LOGITS, Reading
from lossgrad.evaluation.results import Result, Task, WorstRow
from lossgrad.evaluation.share import Share, finite_weights
from lossgrad.evaluation.states import Saved, kind
from lossgrad.evaluation.totals import COUNTERS

MAGIC = b"lossgrad-evaluation\n"
_BINS = 1 << 20
_COUNTERS = ("rows", *COUNTERS)


@kind(MAGIC)
@arithmetic_within
class Evaluation(Saved):
    """Running totals over blocks of logits and targets.

    Parameters
    ----------
    task : {"multiclass", "binary"}
        "multiclass": targets are integer labels, one a row; the prediction is the first largest
        logit. "binary" (and multi-label): targets between 0 and 1, of the logits' shape; the
        prediction is probability > `threshold`, right when it equals target > 0.5.
    ignore_index : int
        The label of rows to leave out; of the binary task a target, as NaN is, of logits.
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
    figures : sequence of str
        What else is to be counted, at some cost in time and memory: "ranking" (AUROC, average
        precision), "selection" (risk and coverage), "quantiles", "calibration" (by equal mass and
        by class), and with columns of their own "bits_per_byte" and "clusters".

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

    what = "an evaluation"
    positional: ClassVar = "logits", "targets", "sample_weight"  # the arguments of `update`

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
        figures: Sequence[str] = (),
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
        if task == "binary" and (weight is not None or label_smoothing or worst):
            raise ValueError("weight, label_smoothing and worst are for the multiclass task")
        self.task = task
        self.ignore_index = check.ignored_label(ignore_index)
        self.weight = None if weight is None else finite_weights(weight, "weight", None)
        self.label_smoothing = float(label_smoothing)
        self.bins = int(bins)
        self.threshold = float(threshold)
        self.confusion_limit = int(confusion_limit)
        self.worst = int(worst)
        self._classes: int | None = None
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._tallies: dict[str, ExactSums] = {}
        self._worst: list[WorstRow] = []
        self._parts: dict[str, Part] = new_parts(figures, task)
        self.figures = tuple(self._parts)

    # ---- adding rows ----

    def update(
        self,
        logits: ArrayLike,
        targets: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        reading: Reading = LOGITS,
        strict: bool = False,
        source: str = "",
        first_row: int | None = None,
        **columns: ArrayLike,
    ) -> None:
        """Add rows. The last axis of `logits` is that of the classes (or labels).

        Parameters
        ----------
        logits, targets : array_like
            As in `evaluate`, the class axis last.
        sample_weight : array_like, optional
            A finite weight >= 0 for each row; or, of the binary task, for each logit.
        reading : Reading
            What the arrays hold, if not logits and integer labels.
        strict : bool
            A row whose loss is nan is an error, not counted as undefined and left out.
        source, first_row : str, int
            What the worst rows are known by: a name, and the number of the first of these rows
            (default: the rows seen so far).
        **columns : array_like
            What the figures need of each row: `clusters`, say.

        Raises
        ------
        InputError
            Wrong data, with the row's index in this block; the totals are then unchanged.
        """
        given = {"logits": logits, "targets": targets, "sample_weight": sample_weight, **columns}
        self._take(given, reading, first_row, strict=strict, source=source)

    def share(self, stopped: Callable[[], bool] = bool) -> Share:
        """What one thread adds to; `stopped` says when to give up."""
        return Share(self, stopped)

    def _check_shapes(self, logits: tuple[int, ...], targets: tuple[int, ...]) -> None:
        if not logits or logits[-1] == 0:
            raise InputError("logits", f"shape {logits} has no classes")
        wanted = logits if self.task == "binary" else logits[:-1]
        if targets != wanted:
            raise InputError("targets", f"shape {targets} where {wanted} is needed")
        self._check_classes(logits[-1])

    def _check_classes(self, classes: int) -> None:
        if self._classes not in (None, classes):
            raise InputError("logits", f"{classes} classes after blocks of {self._classes}")
        if self.weight is not None and len(self.weight) != classes:
            raise InputError("logits", f"{classes} classes for {len(self.weight)} class weights")

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

    def empty(self) -> "Evaluation":
        """Another of the same options and, if they are known, classes, without any rows."""
        empty = Evaluation(**self.options())
        if self._classes is not None:
            empty._open(self._classes)
        return empty

    def _known_classes(self) -> int:
        assert self._classes is not None
        return self._classes

    def _sizes(self, classes: int) -> dict[str, int]:
        """How many exact sums there are of each name."""
        return tallies.sizes(self, classes)

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
        for name, part in self._parts.items():
            part.merge(other._parts[name])
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
            "figures": list(self.figures),
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
        sums = [self._tallies[name].to_bytes() for name in sorted(self._tallies)]
        parts = [part.to_bytes() for part in self._parts.values()]
        return frame.pack(MAGIC, header, b"".join(sums + parts))

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
        for part in state._parts.values():
            rest = part.restore(rest)
        if rest:
            raise ValueError(f"{len(rest)} bytes too many")
        check_totals(state)
        most = 0 if state.task == "binary" else min(state.worst, state._counts["terms"])
        check_worst(state._worst, state._classes or 0, most)
        known = Known(state)
        for part in state._parts.values():
            part.check(known)
        return state

    # ---- reading ----

    @property
    def rows(self) -> int:
        """The rows seen so far."""
        return self._counts["rows"]

    @property
    def classes(self) -> int | None:
        """Classes, or labels of a row; not known before the first rows."""
        return self._classes

    def result(self) -> Result:
        """The figures so far."""
        return Result(
            task=self.task,
            classes=self._classes or 0,
            **self._counts,  # type: ignore[arg-type]
            **tallies.fields(self),
            worst=tuple(self._worst),
            figures={name: part.result() for name, part in self._parts.items()},
        )


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
