"""What one thread adds to a comparison, apart from what others add, to be merged in the end."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad._core import arguments as check
from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.comparison.results import Pair
from lossgrad.evaluation.pairs import PairStatistics, pair_statistics
from lossgrad.evaluation.problems import DtypeError, InputError, LabelError
from lossgrad.evaluation.scale import is_ordinary
from lossgrad.evaluation.seen import Block
from lossgrad.evaluation.share import Stopped, columns_of, explain_nan, far_weight, finite_weights
from lossgrad.evaluation.statistics import native

if TYPE_CHECKING:
    from lossgrad.evaluation.comparison.state import Comparison

_STEP = 4 << 20  # bytes of logits between two looks at whether to stop


class Rows(NamedTuple):
    """Rows of two models, flat, with what else there is of each."""

    base: NDArray[Any]
    other: NDArray[Any]
    labels: NDArray[Any] | None
    weight: NDArray[np.float64] | None
    columns: dict[str, NDArray[Any]]

    def part(self, which: Any) -> "Rows":
        """Some of them."""
        return Rows(
            self.base[which],
            self.other[which],
            None if self.labels is None else self.labels[which],
            None if self.weight is None else self.weight[which],
            {name: one[which] for name, one in self.columns.items()},
        )


class Share:
    """A share of a comparison: an empty one of the same options, which is added to.

    Parameters
    ----------
    of : Comparison
    stopped : callable
        Whether to give up; it is asked every few milliseconds.
    """

    def __init__(self, of: "Comparison", stopped: Callable[[], bool] = bool) -> None:
        self._state, self._stopped = of.empty(), stopped

    def state(self) -> "Comparison":
        """All that was added. Nothing can be added any more."""
        return self._state

    def add(
        self,
        block: Block,
        *,
        strict: bool = False,
        source: str = "",
        number: Callable[[int], int] = int,
    ) -> None:
        """Add the rows of a block, as `evaluation.share.Share.add`."""
        rows = self._rows(block)
        shape = np.asarray(block["logits"]).shape[:-1]
        count, classes = rows.base.shape
        self._state.open(classes, rows.labels is not None)
        step = max(1, _STEP // (classes * (rows.base.itemsize + rows.other.itemsize)))
        with arithmetic():
            for begin in range(0, count, step):
                if self._stopped():
                    raise Stopped
                try:
                    found = self._add(rows.part(slice(begin, begin + step)), strict)
                except InputError as error:
                    raise _moved(error, begin, shape) from None
                self._state.keep_worst(
                    [pair._replace(source=source, row=number(begin + pair.row)) for pair in found]
                )
        self._state.count(rows=count)

    def _rows(self, block: Block) -> Rows:
        """The checked rows of a block."""
        x, z = (native(np.asarray(block[name])) for name in ("logits", "other"))
        if not x.ndim or not x.shape[-1]:
            raise InputError("logits", f"shape {x.shape} has no classes")
        if z.shape != x.shape:
            raise InputError("other", f"shape {z.shape} differs from the base's {x.shape}")
        y, s, shape = block.get("targets"), block.get("sample_weight"), x.shape[:-1]
        if s is not None:
            s = finite_weights(s, "sample_weight", shape).reshape(-1)
            if not ((s == 0) | is_ordinary(s)).all():
                raise far_weight(s, ["comparisons"])
        return Rows(
            _matrix(x, "logits"),
            _matrix(z, "other"),
            None if y is None else _flat_labels(y, shape),
            s,
            columns_of(block, self._state._parts, shape),
        )

    def _add(self, rows: Rows, strict: bool) -> list[Pair]:
        """Add rows: those of largest divergence."""
        of, classes = self._state, rows.base.shape[1]
        if rows.labels is not None:
            rows = rows._replace(labels=_own_labels(rows.labels, classes, of.ignore_index))
        found = pair_statistics(
            *rows[:3],
            top_k=min(of.top_k, classes),
            ignore_index=of.ignore_index,
            num_threads=1,
        )
        ignored = np.zeros(len(found.kl), bool)
        undefined = np.isnan(found.kl)
        if rows.labels is not None:
            ignored = rows.labels == of.ignore_index
            undefined = (undefined | np.isnan(found.loss_difference)) & ~ignored
        if strict and undefined.any():
            raise _undefined(rows, int(undefined.argmax()))
        of.count(ignored=int(ignored.sum()), undefined=int(undefined.sum()))
        kept = np.flatnonzero(~ignored & ~undefined)
        found, rows = PairStatistics._make(field[kept] for field in found), rows.part(kept)
        of.add(found, rows.weight, rows.columns)
        return _largest(found, kept, rows.labels, of.worst) if of.worst else []


def _moved(error: InputError, rows: int, shape: tuple[int, ...]) -> InputError:
    """The error of a row that comes so many rows later in an array of rows of this shape."""
    if not error.row:
        return error
    place = np.unravel_index(rows + error.row[0], shape)
    return type(error)(error.source, error.problem, tuple(map(int, place)))


def _flat_labels(targets: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    y = native(np.asarray(targets))
    if y.dtype.kind not in "iu":
        raise DtypeError("targets", f"dtype {y.dtype} where integer labels are needed")
    if y.shape != shape:
        raise InputError("targets", f"shape {y.shape} where {shape} is needed")
    return y.reshape(-1)


def _matrix(array: NDArray[Any], name: str) -> NDArray[Any]:
    try:
        return check.floating(array, name).reshape(-1, array.shape[-1])
    except TypeError as error:
        raise DtypeError(name, str(error)) from None


def _own_labels(y: NDArray[Any], classes: int, ignore_index: int) -> NDArray[np.int64]:
    """A checked copy: another thread may write to what was given."""
    labels = y.astype(np.int64)
    bad = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    if bad.any():
        at = int(bad.argmax())
        problem = (
            f"label {y[at]} is outside [0, {classes}) and is not ignore_index ({ignore_index})"
        )
        raise LabelError("targets", problem, (at,))
    return labels


def _undefined(rows: Rows, row: int) -> InputError:
    for array, name in ((rows.base, "logits"), (rows.other, "other")):
        values = array[row]
        if np.isnan(values).any() or values.max() in (np.inf, -np.inf):
            return explain_nan(values, (row,), name)
    return InputError("targets", "the label's probability is 0 in both models", (row,))


def _largest(
    found: PairStatistics, rows: NDArray[np.int64], labels: NDArray[np.int64] | None, count: int
) -> list[Pair]:
    """The rows of largest divergence."""
    order = np.argsort(-found.kl, kind="stable")[:count]
    return [
        Pair(
            float(found.kl[k]),
            "",
            int(rows[k]),
            -1 if labels is None else int(labels[k]),
            int(found.base_predicted[k]),
            int(found.other_predicted[k]),
            float(found.base_loss[k]),
            float(found.other_loss[k]),
        )
        for k in order
    ]
