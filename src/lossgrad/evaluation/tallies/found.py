"""The sums of an evaluation, rounded."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.scale import common_shift

if TYPE_CHECKING:
    from lossgrad.evaluation.state import Evaluation

Doubles = NDArray[np.float64]


class Found:
    """The sums of an evaluation as they are, and near 1 where quotients are made of them.

    Parameters
    ----------
    of : Evaluation
    sizes : dict
        How many sums there are of each name.

    Attributes
    ----------
    weight : float
        The sum of the sample weights.
    over : float
        The same as `near` has it: what means over all terms are divided by; nan for 0.
    """

    def __init__(self, of: "Evaluation", sizes: dict[str, int]) -> None:
        self.of = of
        self._sums = of._tallies or {name: ExactSums(size) for name, size in sizes.items()}
        self.weight = self.sums("bin_weight").total()
        self._by = common_shift(self.weight)  # sums may be near the ends of the range
        self.over = self.total("bin_weight") or math.nan

    def __contains__(self, name: str) -> bool:
        return name in self._sums

    def sums(self, name: str) -> ExactSums:
        """The sums themselves."""
        return self._sums[name]

    def values(self, name: str) -> Doubles:
        """The sums, rounded."""
        return self._sums[name].values()

    def near(self, name: str) -> Doubles:
        """The sums over a power of two that they all share."""
        return self._sums[name].values(self._by)

    def total(self, name: str) -> float:
        """The sum of all of a name, over the same power."""
        return self._sums[name].total(self._by)
