"""What one thread adds up of rows, in C or in NumPy: counts, exact sums and the worst rows.

Both backends have a class of the same methods: `Totals` here, its twin in `reference/totals.py`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lossgrad._core import arguments as check
from lossgrad._core.backend import kernels
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.seen import Rows, Seen

if TYPE_CHECKING:
    from lossgrad.evaluation.state import Evaluation

# What is wrong with a row.
BAD_TARGET, UNDEFINED = 1, 2
# Groups of the tally "scalars": with s the sample weight, w the class weight, l the loss, the
# sums of s times the entropy and the Brier score, of s w, (s l)**2, s w s l and (s w)**2.
SCALARS = ENTROPY, BRIER, DIVISOR, LL, LW, WW = range(6)
SQUARES = LL, LW, WW  # in which a sample weight counts twice
COUNTERS = ("ignored", "undefined", "terms", "correct", "infinite")
Problem = tuple[int, int]  # its kind, 0 for none, and the row or, of the binary task, the logit
Adder = Callable[[int, int], Problem]  # of a range of rows or logits
Worst = tuple[float, int, int, int, float]  # loss, row, label, predicted, confidence


class Totals:
    """Totals in C, which need no memory beside them.

    Parameters
    ----------
    of : Evaluation
        An empty one, whose classes are known: it has the options.
    """

    def __init__(self, of: "Evaluation") -> None:
        self._of, self._sizes = of, of._sizes(of._known_classes())
        recording = bool(of.figures)
        self._totals = kernels.Totals(of._known_classes(), self._sizes, of.worst, recording)
        self._rows: Any = None  # that are being added

    def adder(self, rows: Rows, strict: bool) -> Adder:
        """What adds a range of rows (of the binary task, of logits).

        Parameters
        ----------
        rows : Rows
        strict : bool
            A loss that is nan is a problem.
        """
        of, self._rows = self._of, rows
        x, targets, s = rows.logits, rows.targets, rows.weight
        targets = np.require(targets, targets.dtype.newbyteorder("="), "A")
        if of.task == "binary":
            limit = math.log(of.threshold / (1.0 - of.threshold))
            options = (
                np.ascontiguousarray(x).reshape(-1),
                targets,
                s,
                limit,
                of.ignore_index,
                strict,
            )
            return partial(self._totals.add_logits, *options)
        of_rows = kernels.Targets(
            labels=targets,
            weight=check.class_weight(of.weight, x.shape[1], x.dtype),
            sample_weight=s,
            ignore_index=check.ignored_label(of.ignore_index),
            param=of.label_smoothing,
        )
        return partial(self._totals.add_rows, x, of_rows, strict)

    def seen(self) -> Seen:
        """The terms of the last range; known where the evaluation has further figures."""
        whole, real = self._totals.recorded()
        return Seen(self._rows, *whole, *real)

    def counts(self) -> dict[str, int]:
        """How many terms there are of each kind of COUNTERS."""
        return self._totals.counts()

    def sums(self) -> dict[str, ExactSums]:
        """The tallies."""
        columns = self._totals.columns()
        return {
            name: ExactSums.of_columns(size, columns[name]) for name, size in self._sizes.items()
        }

    def worst(self, least: float) -> list[Worst]:
        """The rows of largest loss since the last time; from now on, those of `least` or more."""
        return self._totals.worst(least)
