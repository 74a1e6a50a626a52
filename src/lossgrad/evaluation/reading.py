"""What is given for logits and targets, as logits (rows, classes) and integer labels.

One place for every entrance of an evaluation: blocks come here on the way from where they are
stored to where they are added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

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

    def block(self, block: Block, task: Task) -> Block:
        """A block, its class axis last, as the kernels read it.

        Raises
        ------
        InputError
            With the index of the first bad row in the block.
        """
        if task == "multiclass":
            shape, targets = block["logits"].shape, block["targets"]
            return block | {"targets": integer_labels(targets, shape, self.class_names)}
        return block
