"""What is known of the rows of a block once they are measured: what parts of a state add up."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossgrad._functions import softmax
from lossgrad.evaluation.results import Task

Block = dict[str, Any]  # arrays by what they are for, as a shard has them, the class axis last
Doubles = NDArray[np.float64]
Whole = NDArray[np.int64]


class Rows(NamedTuple):
    """The rows of a block, flat: a row has one target, or in the binary task one for each logit."""

    task: Task
    logits: NDArray[Any]  # (rows, classes)
    targets: NDArray[Any]
    weight: Doubles | None  # one a row, or a target
    class_weight: Doubles | None
    columns: dict[str, NDArray[Any]]  # what else there is of each row


@dataclass(frozen=True)
class Seen:
    """Those terms of a block that have a loss, field by field.

    A term is a row, or in the binary task a logit.

    Attributes
    ----------
    rows : Rows
        The whole block.
    term, row : ndarray of int64
        Index of the term among the block's targets, and of its row.
    label, predicted, rank : ndarray of int64
        The class of the target, the predicted class and the rank of the target; in the binary
        task the column of the logit, whether a positive is predicted, and 0.
    loss, confidence, entropy, brier : ndarray of float64
        As `row_statistics` and `label_statistics` have them.
    right : ndarray of float64
        1 where the prediction is right, else 0; in the binary task the target.
    """

    rows: Rows
    term: Whole
    label: Whole
    predicted: Whole
    rank: Whole
    loss: Doubles
    confidence: Doubles
    entropy: Doubles
    brier: Doubles
    right: Doubles

    @property
    def row(self) -> Whole:
        """The row of each term."""
        each = len(self.rows.targets) // max(1, len(self.rows.logits))
        return self.term if each == 1 else self.term // each

    @property
    def weight(self) -> Doubles | None:
        """The sample weight of each term, if there are any."""
        s = self.rows.weight
        if s is None:
            return None
        return s[self.term if len(s) == len(self.rows.targets) else self.row]

    @property
    def divisor(self) -> Doubles:
        """What each term counts in the mean loss: the product of its weights."""
        w = self.rows.class_weight
        return self.weighted(np.ones(len(self.term)) if w is None else w[self.label])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is right."""
        positive = self.right > 0.5
        return positive if self.rows.task == "multiclass" else positive == (self.predicted > 0)

    @cached_property
    def probabilities(self) -> Doubles:
        """Those of all classes for each term of the multiclass task."""
        return softmax(self.rows.logits[self.term].astype(np.float64), num_threads=1)

    def column(self, name: str) -> NDArray[Any]:
        """What a column has for each term."""
        found: NDArray[Any] = self.rows.columns[name][self.row]
        return found

    def weighted(self, values: Doubles) -> Doubles:
        """The values times the sample weights; no weight is nothing, even of what is infinite."""
        s = self.weight
        if s is None:
            return values
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(s == 0.0, 0.0, s * values)
