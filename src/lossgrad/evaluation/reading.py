"""What is given for logits and targets, as logits (rows, classes) and integer labels.

One place for every entrance of an evaluation: blocks come here on the way from where they are
stored to where they are added up.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.given import as_arrays, class_names
from lossgrad.evaluation.labels import integer_labels
from lossgrad.evaluation.probabilities import (
    Input,
    first_rows,
    logits_of,
    look_like_probabilities,
)
from lossgrad.evaluation.problems import InputWarning
from lossgrad.evaluation.results import Task

Block = dict[str, NDArray[Any]]  # "logits", "targets", "sample_weight", ... of some rows
LOGITS_LIKE = frozenset({"logits", "other"})


@dataclass(frozen=True)
class Reading:
    """How to read what is given.

    Attributes
    ----------
    class_names : sequence of str or None
        What the classes are called where labels are names.
    input : {"logits", "log-probabilities", "probabilities"}
        What is given for logits.
    """

    class_names: Sequence[str] | None = None
    input: Input = "logits"

    def __post_init__(self) -> None:
        if self.input not in get_args(Input):
            raise ValueError(f"input is {self.input!r}: use {' or '.join(get_args(Input))}")

    def of_table(self, names: Sequence[str] | None) -> "Reading":
        """The same, where classes that have no names are called as a table's columns."""
        return self if names is None or self.class_names else replace(self, class_names=names)

    def given(self, given: dict[str, Any], task: Task, ignore_index: int) -> Block:
        """What a caller gives as a block of arrays. As `block`."""
        reading = self.of_table(class_names(given["logits"]))
        block = {use: np.asarray(one) for use, one in as_arrays(given, LAST_AXIS).items()}
        reading.look(block["logits"], task)
        return reading.block(block, task, ignore_index)

    def block(self, block: Block, task: Task, ignore_index: int) -> Block:
        """A block, its class axis last, as the kernels read it.

        Raises
        ------
        InputError
            With the index of the first bad row in the block.
        """
        block, shape = dict(block), block["logits"].shape
        if task == "multiclass" and "targets" in block:
            block["targets"] = integer_labels(block["targets"], shape, self.class_names)
        if self.input != "logits" and shape[-1:] > (0,):
            read = _read(block.get("targets"), shape, task, ignore_index)
            for use in block.keys() & LOGITS_LIKE:
                block[use] = logits_of(block[use], read, self.input, task)
        return block

    def look(self, logits: Any, task: Task) -> None:
        """Warn if the first rows, read as logits, seem to be probabilities; the class axis is last.

        `logits` may be any array that is read in blocks.
        """
        if self.input != "logits" or len(logits.shape) < 2 or 0 in logits.shape:
            return
        if look_like_probabilities(np.asarray(logits[first_rows(logits.shape)]), task):
            sums = "" if task == "binary" else " and sum to 1"
            warnings.warn(
                f"the first rows of the logits are in [0, 1]{sums}, as probabilities are: if that "
                'is what they are, say input="probabilities" (--input probabilities)',
                InputWarning,
                stacklevel=4,
            )


LOGITS: Reading = Reading()


def _read(
    targets: NDArray[Any] | None, shape: tuple[int, ...], task: Task, ignore_index: int
) -> NDArray[np.bool_]:
    """Which rows, or numbers of the binary task, are not ignored."""
    rows = shape if task == "binary" else shape[:-1]
    if targets is None or targets.shape != rows or targets.dtype.kind not in "biuf":
        return np.ones(rows, bool)
    kept: NDArray[np.bool_] = targets != ignore_index
    return kept & ~np.isnan(targets) if task == "binary" else kept
