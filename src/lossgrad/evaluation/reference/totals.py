"""What is added up of rows, as `evaluation.totals` has it: arrays of figures, tally by tally."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.seen import Rows, Seen
from lossgrad.evaluation.statistics import label_statistics, row_statistics
from lossgrad.evaluation.totals import (
    BAD_TARGET,
    BRIER,
    COUNTERS,
    DIVISOR,
    ENTROPY,
    LL,
    LW,
    UNDEFINED,
    WW,
    Adder,
    Problem,
    Worst,
)

if TYPE_CHECKING:
    from lossgrad.evaluation.state import Evaluation

Doubles = NDArray[np.float64]


class Totals:
    """Totals in NumPy."""

    def __init__(self, of: "Evaluation") -> None:
        self._of = of
        self._sums = {k: ExactSums(n) for k, n in of._sizes(of._known_classes()).items()}
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._worst: list[Worst] = []
        self._rows: Any = None
        self._seen: Any = None

    def adder(self, rows: Rows, strict: bool) -> Adder:
        """What adds a range of rows (of the binary task, of logits)."""
        self._rows = rows
        x, targets, s = rows.logits, rows.targets, rows.weight
        if self._of.task == "multiclass":
            return lambda begin, end: self._add_rows(
                x[begin:end], targets[begin:end], _part(s, begin, end), strict, begin
            )
        labels = np.broadcast_to(np.arange(x.shape[1]), x.shape).reshape(-1)
        if s is not None and s.size < x.size:  # one a row
            s = np.repeat(s, x.shape[1])
        x = x.reshape(-1)
        return lambda begin, end: self._add_logits(
            x[begin:end],
            targets[begin:end],
            labels[begin:end],
            _part(s, begin, end),
            strict,
            begin,
        )

    def seen(self) -> Seen:
        """The terms of the last range."""
        found: Seen = self._seen
        return found

    def counts(self) -> dict[str, int]:
        """How many terms there are of each kind of COUNTERS."""
        return self._counts

    def sums(self) -> dict[str, ExactSums]:
        """The tallies."""
        return self._sums

    def worst(self, least: float) -> list[Worst]:
        """The rows of largest loss since the last time."""
        rows, self._worst = self._worst, []
        return rows

    def _count(self, **numbers: Any) -> None:
        for name, number in numbers.items():
            self._counts[name] += int(number)

    def _add_rows(
        self, x: NDArray[Any], y: NDArray[Any], s: Any, strict: bool, begin: int
    ) -> Problem:
        own, classes = self._of, x.shape[1]
        bad = (y != own.ignore_index) & ((y < 0) | (y >= classes))
        good = int(bad.argmax()) if bad.any() else len(y)
        x, y = x[:good], y[:good]
        found = row_statistics(
            x,
            y,
            own.weight,
            ignore_index=own.ignore_index,
            label_smoothing=own.label_smoothing,
            num_threads=1,
        )
        undefined = np.isnan(found.loss)
        if strict and undefined.any():
            return UNDEFINED, begin + int(undefined.argmax())
        rows = np.flatnonzero(found.predicted >= 0)
        loss, y = found.loss[rows].astype(np.float64), y[rows].astype(np.int64)
        predicted, rank, right = found.predicted[rows], found.rank[rows], found.right[rows]
        s = None if s is None else s[:good][rows]
        w = None if own.weight is None else own.weight.astype(found.loss.dtype)[y]
        self._count(
            ignored=good - np.count_nonzero((found.predicted >= 0) | undefined),
            undefined=np.count_nonzero(undefined),
            correct=np.count_nonzero(right),
        )
        self._add("support", s, y)
        self._add("predicted", s, predicted)
        self._add("hits", *_only(right, s, y))
        self._add("ranks", s, rank)
        if "confusion" in self._sums:
            self._add("confusion", s, y * classes + predicted)
        confidence = found.confidence[rows]
        figures = confidence, right.astype(np.float64), found.entropy[rows], found.brier[rows]
        self._add_common(loss, s, w, y, *figures)
        said = confidence, *figures[2:], figures[1]
        self._seen = Seen(self._rows, begin + rows, y, predicted, rank, loss, *said)
        for k in _largest(loss, own.worst):
            place = begin + int(rows[k]), int(y[k]), int(predicted[k])
            self._worst.append((float(loss[k]), *place, float(confidence[k])))
        return (BAD_TARGET, begin + good) if good < len(bad) else (0, 0)

    def _add_logits(
        self,
        x: NDArray[Any],
        t: NDArray[Any],
        labels: NDArray[np.int64],
        s: Any,
        strict: bool,
        begin: int,
    ) -> Problem:
        left_out = np.isnan(t) | (t == self._of.ignore_index)
        t = np.where(left_out, 0, t)
        bad = ~((t >= 0) & (t <= 1))
        good = int(bad.argmax()) if bad.any() else len(t)
        left_out = left_out[:good]
        found = label_statistics(x[:good], t[:good], self._of.threshold, num_threads=1)
        undefined = np.isnan(found.loss) & ~left_out
        if strict and undefined.any():
            return UNDEFINED, begin + int(undefined.argmax())
        kept = np.flatnonzero(~undefined & ~left_out)
        labels, t = labels[kept], t[kept].astype(np.float64)
        s = None if s is None else s[kept]
        positive, predicted = found.positive[kept], found.predicted[kept]
        self._count(
            ignored=np.count_nonzero(left_out),
            undefined=np.count_nonzero(undefined),
            correct=np.count_nonzero(positive == predicted),
        )
        self._add("seen", s, labels)
        self._add("support", *_only(positive, s, labels))
        self._add("predicted", *_only(predicted, s, labels))
        self._add("hits", *_only(positive & predicted, s, labels))
        loss = found.loss[kept].astype(np.float64)
        figures = found.probability[kept], t, found.entropy[kept], found.brier[kept]
        self._add_common(loss, s, None, labels, *figures)
        whole = begin + kept, labels, predicted.astype(np.int64), np.zeros_like(kept)
        self._seen = Seen(self._rows, *whole, loss, figures[0], *figures[2:], t)
        return (BAD_TARGET, begin + good) if good < len(bad) else (0, 0)

    def _add_common(
        self,
        loss: Doubles,
        s: Doubles | None,
        w: NDArray[Any] | None,
        groups: NDArray[Any],
        confidence: Doubles,
        right: Doubles,
        entropy: Doubles,
        brier: Doubles,
    ) -> None:
        bins, sizes = self._sums["bin_weight"].size, self._sums["loss_histogram"].size
        self._count(terms=len(loss), infinite=np.count_nonzero(np.isinf(loss)))
        weighted = _times(s, loss)
        divided = s if w is None else _times(s, w.astype(np.float64))
        at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        self._add("loss", weighted, groups)
        self._add("bin_weight", s, at)
        self._add("bin_confidence", _times(s, confidence), at)
        self._add("bin_right", _times(s, right), at)
        size = np.clip(np.frexp(np.minimum(loss, 1e300))[1] + 40, 0, sizes - 1)
        self._add("loss_histogram", s, np.where(loss == 0.0, 0, size))
        with np.errstate(over="ignore"):
            squared = weighted * weighted
        one = np.ones(len(loss)) if divided is None else divided
        for scalar, values in (
            (ENTROPY, _times(s, entropy)),
            (BRIER, _times(s, brier)),
            (DIVISOR, one),
            (LL, squared),
            (LW, _times(divided, weighted)),
            (WW, one * one),
        ):
            self._add("scalars", values, scalar)

    def _add(self, tally: str, values: Doubles | None, groups: Any) -> None:
        self._sums[tally].add(values, groups)


def _largest(values: Doubles, count: int) -> NDArray[np.int64]:
    """The indices of the largest, in descending order, equal ones in the order of their indices."""
    some = np.arange(len(values))
    if 0 < count < len(values):
        some = np.flatnonzero(values >= np.partition(values, -count)[-count])
    order: NDArray[np.int64] = some[np.argsort(-values[some], kind="stable")[:count]]
    return order


def _times(s: Doubles | None, values: Doubles) -> Doubles:
    """s * values; no weight is nothing, even of an infinite loss."""
    if s is None:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(s == 0.0, 0.0, s * values)


def _part(s: Doubles | None, begin: int, end: int) -> Doubles | None:
    return None if s is None else s[begin:end]


def _only(
    which: NDArray[np.bool_], s: Doubles | None, groups: NDArray[Any]
) -> tuple[Doubles | None, NDArray[Any]]:
    return None if s is None else s[which], groups[which]
