"""What is known of each row of logits and its label, or of each logit and its target.

`statistics` has it measured in C, its NumPy twin in `reference/statistics.py`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

NOTHING = -1  # the predicted class and the rank of a row that has none


@dataclass(frozen=True)
class RowStatistics:
    """One value a row, all of length n: the losses in the dtype that the logits are computed in.

    A row that is ignored or undefined (its loss is nan) has `predicted` and `rank` -1; an ignored
    row has zeros in the rest.

    Attributes
    ----------
    loss : ndarray of float32 or float64
        As ``cross_entropy(..., reduction="none")``, in nats; not rounded to half types.
    lse : ndarray of float64
        Log-sum-exp of the row.
    predicted : ndarray of int64
        The first of the largest logits.
    confidence : ndarray of float64
        The probability of `predicted`.
    rank : ndarray of int64
        How many classes come before the label: larger logits, and equal ones of lower index.
        0 is right; the label is among the top k where it is below k.
    entropy : ndarray of float64
        Of the row's probabilities, in nats.
    squares : ndarray of float64
        The sum of the squared probabilities.
    brier : ndarray of float64
        The sum of (p - 1)**2 for the label and p**2 for every other class.

    Notes
    -----
    Relative errors for float64 and, in brackets, float32 and half logits: confidence 2**-50
    (2**-21), entropy, squares and brier 2**-49 (2**-20), for rows of one sure class too. What has
    less than 2**-1533 (2**-190) of the largest probability counts as 0.
    """

    loss: NDArray[Any]
    lse: Doubles
    predicted: NDArray[np.int64]
    confidence: Doubles
    rank: NDArray[np.int64]
    entropy: Doubles
    squares: Doubles
    brier: Doubles

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether `predicted` is the label."""
        return self.rank == 0


@dataclass(frozen=True)
class LabelStatistics:
    """One value for each logit of a binary or multi-label task, in the logits' shape.

    Attributes
    ----------
    loss : ndarray of float32 or float64
        As ``binary_cross_entropy_with_logits(..., reduction="none")``, not rounded to half types;
        nan where it is undefined, and then the rest means nothing.
    probability : ndarray of float64
        Of a positive: sigmoid of the logit.
    entropy : ndarray of float64
        Of that probability and its complement, in nats.
    brier : ndarray of float64
        (probability - target)**2.
    positive, predicted : ndarray of bool
        Whether the target is above 1/2, and the probability above the threshold.
    """

    loss: NDArray[Any]
    probability: Doubles
    entropy: Doubles
    brier: Doubles
    positive: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
