"""How far labels and predictions agree beyond chance, from the rows of each class alone.

With t, p and h the parts of all rows that have a class as label, as prediction and as both, chance
agrees on sum(t p) of the rows, and predictions on sum(h).
"""

import math

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def matthews_corrcoef(label: Doubles, predicted: Doubles, both: Doubles) -> float:
    """(sum h - sum t p) / sqrt((1 - sum t**2) (1 - sum p**2)): the correlation of the two.

    0 where labels or predictions are of one class, nan without any rows; as scikit-learn's.
    """
    agreed, chance = _sums(label, predicted, both)
    spread = _spread(label) * _spread(predicted)
    if spread > 0:
        return (agreed - chance) / math.sqrt(spread)
    return 0.0 if label.sum() > 0 else math.nan


def cohen_kappa(label: Doubles, predicted: Doubles, both: Doubles) -> float:
    """(sum h - sum t p) / (1 - sum t p); nan where labels and predictions are of one class."""
    agreed, chance = _sums(label, predicted, both)
    room = float(label @ (1.0 - predicted))
    return (agreed - chance) / room if room > 0 else math.nan


def balanced_accuracy(label: Doubles, both: Doubles) -> float:
    """The mean over the classes that have rows of the part of them that is predicted right."""
    some = label > 0
    return float((both[some] / label[some]).mean()) if some.any() else math.nan


def _sums(label: Doubles, predicted: Doubles, both: Doubles) -> tuple[float, float]:
    return float(both.sum()), float(label @ predicted)


def _spread(parts: Doubles) -> float:
    """1 - sum(parts**2), without its cancellation."""
    return float(parts @ (1.0 - parts))
