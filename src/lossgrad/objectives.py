"""Objectives for gradient boosting: gradient and Hessian as XGBoost and LightGBM ask for them.

An objective is called by the booster, with predictions and a data set or, from its scikit-learn
classes, with labels and predictions; weights of samples are taken from where each has them. It
answers in the shape that predictions come in: (rows, classes) in current versions, flat in older
ones, which are row by row in XGBoost and class by class in LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from . import _functions as functions

__all__ = ["Objective", "lightgbm", "xgboost"]

Array = NDArray[Any]

# name: the loss, and whether it is of classes
LOSSES: Final[Mapping[str, tuple[str, bool]]] = {
    "binary:logistic": ("binary_cross_entropy_with_logits", False),
    "binary:focal": ("sigmoid_focal_loss", False),
    "multi:softprob": ("cross_entropy", True),
    "reg:squarederror": ("mse_loss", False),
    "reg:absoluteerror": ("l1_loss", False),
    "reg:quantileerror": ("pinball_loss", False),
    "reg:huber": ("huber_loss", False),
    "count:poisson": ("poisson_nll_loss", False),
    "reg:gamma": ("half_gamma_loss", False),
    "reg:tweedie": ("half_tweedie_loss", False),
}
LIGHTGBM: Final = {  # what LightGBM calls them
    "binary": "binary:logistic",
    "multiclass": "multi:softprob",
    "regression": "reg:squarederror",
    "regression_l1": "reg:absoluteerror",
    "quantile": "reg:quantileerror",
    "huber": "reg:huber",
    "poisson": "count:poisson",
    "gamma": "reg:gamma",
    "tweedie": "reg:tweedie",
}
HALF: Final = ("mse_loss",)  # the boosters' is half of it


@dataclass(frozen=True)
class Objective:
    """
    A loss as a booster's objective; made by `xgboost` and `lightgbm`.

    Parameters
    ----------
    loss : str
        A loss of this package that has a Hessian.
    order : {"C", "F"}
        How flat predictions of several classes lie: row by row, or class by class.
    of_classes : bool
        Whether a row has a prediction for each class.
    hessian_scale : float, optional
        What multiplies the Hessian; None for C / (C - 1) with C classes.
    least_hessian : float
        What the Hessian is at least.
    parameters : dict
        Of the loss, such as gamma.

    Raises
    ------
    ValueError
        When it is called with labels that do not fit the predictions.

    Examples
    --------
    >>> import numpy as np, lossgrad.objectives
    >>> logistic = lossgrad.objectives.xgboost("binary:logistic")
    >>> logistic(np.array([0, 1]), np.array([0.0, 0.0]))
    (array([ 0.5, -0.5]), array([0.25, 0.25]))
    """

    loss: str
    order: Literal["C", "F"]
    of_classes: bool = False
    hessian_scale: float | None = 1.0
    least_hessian: float = 1e-16
    parameters: dict[str, Any] = field(default_factory=dict)

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Gradient and Hessian of (predictions, data set) or (labels, predictions, weights)."""
        labels, predictions = first, second
        if hasattr(second, "get_label"):
            labels, predictions = second.get_label(), first
            sample_weight = second.get_weight()
        if sample_weight is not None and not np.size(sample_weight):  # XGBoost's for none
            sample_weight = None
        scores, labels = np.asarray(predictions), np.asarray(labels)
        shape = scores.shape
        if self.of_classes:
            scores = self._rows(scores, len(labels))
            labels = labels.astype(np.int64)
        else:
            labels = labels.reshape(shape)
            if sample_weight is not None:
                sample_weight = np.reshape(sample_weight, shape)
        gradient, hessian = getattr(functions, f"{self.loss}_grad_and_hess")(
            scores, labels, reduction="sum", sample_weight=sample_weight, **self.parameters
        )
        scale = self.hessian_scale
        if scale is None:
            scale = scores.shape[1] / (scores.shape[1] - 1)
        if self.loss in HALF:
            gradient *= 0.5
            scale *= 0.5
        hessian *= scale
        np.maximum(hessian, self.least_hessian, out=hessian)
        return self._back(gradient, shape), self._back(hessian, shape)

    def _rows(self, scores: Array, rows: int) -> Array:
        """A row for each label."""
        if scores.ndim == 2:
            return scores
        if rows == 0 or scores.size % rows:
            raise ValueError(f"{scores.size} predictions are not some classes of {rows} rows each")
        return scores.reshape((rows, -1), order=self.order)

    def _back(self, a: Array, shape: tuple[int, ...]) -> Array:
        return a if a.shape == shape else a.reshape(shape, order=self.order)


def xgboost(name: str, *, hessian_scale: float | None = None, **parameters: Any) -> Objective:
    r"""
    An objective for XGBoost: ``xgboost.train(..., obj=)``, or its scikit-learn classes'
    ``objective=``.

    Parameters
    ----------
    name : str
        As XGBoost names its own: "binary:logistic", "multi:softprob", "reg:squarederror",
        "reg:absoluteerror", "reg:quantileerror", "count:poisson", "reg:gamma", "reg:tweedie";
        besides, "binary:focal" and "reg:huber".
    hessian_scale : float, optional
        What multiplies the diagonal of the Hessian. If not given it is 1, and 2 for
        "multi:softprob", where XGBoost's own takes :math:`2 p (1 - p)`.
    **parameters
        Of the loss: ``gamma=`` and ``alpha=`` of `sigmoid_focal_loss` ("binary:focal", whose alpha
        is none if it is not given), ``quantile=``, ``delta=``, ``power=``.

    Returns
    -------
    Objective
        Which is called by XGBoost.

    Raises
    ------
    ValueError
        If there is no such name.

    Notes
    -----
    XGBoost guesses where to begin for objectives of its own alone. To begin at margins of 0 give
    ``base_score=0``; where it takes that for a probability, in "binary:logistic" and in its
    classifiers of two classes, 0.5.

    Examples
    --------
    >>> import lossgrad.objectives
    >>> focal = lossgrad.objectives.xgboost("binary:focal", gamma=2)
    >>> focal.loss, focal.parameters
    ('sigmoid_focal_loss', {'alpha': -1.0, 'gamma': 2})
    """
    loss, of_classes = _known(name, LOSSES)
    scale = hessian_scale if hessian_scale is not None else 2.0 if of_classes else 1.0
    return Objective(loss, "C", of_classes, scale, parameters=_parameters(loss, parameters))


def lightgbm(name: str, *, hessian_scale: float | None = None, **parameters: Any) -> Objective:
    r"""
    An objective for LightGBM: ``lightgbm.train({"objective": ...})``, or its scikit-learn classes'
    ``objective=``.

    Parameters
    ----------
    name : str
        As LightGBM names its own: "binary", "multiclass", "regression", "regression_l1",
        "quantile", "huber", "poisson", "gamma", "tweedie"; besides, "binary:focal".
    hessian_scale : float, optional
        What multiplies the diagonal of the Hessian. If not given it is 1, and :math:`C / (C - 1)`
        for "multiclass" with C classes, as LightGBM's own has it.
    **parameters
        Of the loss: ``gamma=`` and ``alpha=`` of `sigmoid_focal_loss` ("binary:focal", whose alpha
        is none if it is not given), ``quantile=``, ``delta=``, ``power=``.

    Returns
    -------
    Objective
        Which is called by LightGBM.

    Raises
    ------
    ValueError
        If there is no such name.

    Notes
    -----
    LightGBM begins at 0 with an objective that is not its own; its own do so with
    ``boost_from_average=False``.

    Examples
    --------
    >>> import lossgrad.objectives
    >>> lossgrad.objectives.lightgbm("multiclass").order
    'F'
    """
    names = {own: LOSSES[theirs] for own, theirs in LIGHTGBM.items()}
    loss, of_classes = _known(name, {**names, "binary:focal": LOSSES["binary:focal"]})
    scale = hessian_scale if hessian_scale is not None or of_classes else 1.0
    return Objective(loss, "F", of_classes, scale, parameters=_parameters(loss, parameters))


def _known(name: str, losses: Mapping[str, tuple[str, bool]]) -> tuple[str, bool]:
    if name not in losses:
        raise ValueError(f"no objective is called {name!r}: there are {', '.join(losses)}")
    return losses[name]


def _parameters(loss: str, given: dict[str, Any]) -> dict[str, Any]:
    """Boosters have no weights of labels unless they are asked for."""
    return {"alpha": -1.0, **given} if loss == "sigmoid_focal_loss" else given
