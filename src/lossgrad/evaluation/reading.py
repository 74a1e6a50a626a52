"""What is given for logits and targets, as logits (rows, classes) and integer labels.

One place for every entrance of an evaluation: blocks come here on the way from where they are
stored to where they are added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.given import as_arrays, class_names
from lossgrad.evaluation.labels import integer_labels
from lossgrad.evaluation.results import Task

Block = dict[str, NDArray[Any]]  # "logits", "targets", "sample_weight", ... of some rows


@dataclass(frozen=True)
class Reading:
    """How to read what is given.

    Attributes
    ----------
    class_names : sequence of str or None
        What the classes are called where labels are names.
    """

    class_names: Sequence[str] | None = None

    def of_table(self, names: Sequence[str] | None) -> "Reading":
        """The same, where classes that have no names are called as a table's columns."""
        return self if names is None or self.class_names else replace(self, class_names=names)

    def given(self, given: dict[str, Any], task: Task, ignore_index: int) -> Block:
        """What a caller gives as a block of arrays. As `block`."""
        reading = self.of_table(class_names(given["logits"]))
        return reading.block(as_arrays(given, LAST_AXIS), task, ignore_index)

    def block(self, block: Block, task: Task, ignore_index: int) -> Block:
        """A block, its class axis last, as the kernels read it.

        Raises
        ------
        InputError
            With the index of the first bad row in the block.
        """
        if task == "multiclass" and "targets" in block:
            shape, targets = block["logits"].shape, np.asarray(block["targets"])
            block = block | {"targets": integer_labels(targets, shape, self.class_names)}
        return block


LOGITS = Reading()
