"""Linear models: value and gradient in their parameters, ready for an optimiser.

A call walks over the rows in blocks that stay in the cache: BLAS makes a block's logits, the fused
kernel turns them into their own gradient, BLAS takes that back to the parameters. X is read from
memory once, and no array of the size of all logits is ever made.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _functions as functions
from ._core import arguments as check
from ._core.environment import arithmetic

__all__ = ["logistic_regression_loss", "softmax_regression_loss"]

Array = NDArray[Any]
# (logits, targets, weights): the sum of the weighted losses; their gradient is left in the logits
Fused = Callable[[Array, Array, Array | None], float]

# Rows of X and their logits in a block stay in a second-level cache, and products of matrices so
# small that BLAS does not repack them, which gains a third; but a block is several times the
# parameters, which it reads and writes as well.
BLOCK_BYTES: Final = 1 << 20
BLOCK_PRODUCTS: Final = 1 << 19  # multiplications
BLOCK_PARAMETERS: Final = 8
FLOAT32_BLOCK_ROWS: Final = 4096  # BLAS adds up a block in float32, which drifts over more rows


def logistic_regression_loss(
    theta: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    l2: float = 0.0,
    *,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
) -> tuple[float, Array]:
    r"""
    Objective of logistic regression and its gradient in the parameters.

    With logits :math:`z_i = w \cdot x_i + b`, sample weights :math:`s_i` (1 if not given) and
    :math:`S = \sum_i s_i`

    .. math::

        f(w, b) = \frac1S \sum_i s_i \big(y_i \log(1 + e^{-z_i}) + (1 - y_i) \log(1 + e^{z_i})\big)
                  + \frac{\lambda}{2} \|w\|^2

        \nabla_w f = \frac1S \sum_i s_i (\sigma(z_i) - y_i)\, x_i + \lambda w, \qquad
        \partial_b f = \frac1S \sum_i s_i (\sigma(z_i) - y_i)

    Parameters
    ----------
    theta : array_like of shape (d + 1,)
        The d weights, then the intercept; (d,) without `fit_intercept`.
    X : array_like of shape (N, d)
        One row for each sample, in any memory order. float32 and float64 are used as they are;
        half types are converted to float32, integers and bools to float64, at every call.
    y : array_like of shape (N,)
        Labels 0 and 1 of any integer or bool dtype, or probabilities of the class 1.
    l2 : float, default 0
        The penalty :math:`\lambda`. The intercept is not penalised.
    fit_intercept : bool, default True
        Whether there is an intercept; else b = 0.
    sample_weight : array_like of shape (N,), optional
        A weight for each row, 0 or more. A weight of 2 counts the row twice; a row of weight 0
        counts nothing, whatever `X` holds there.

    Returns
    -------
    value : float
        The objective, in nats; nan if there are no rows of positive weight.
    gradient : ndarray
        Of the shape and dtype of `theta` (float64 for integers).

    Raises
    ------
    TypeError
        If an argument is not real.
    ValueError
        If shapes do not match, `y` is outside [0, 1], or a weight or `l2` is negative.

    See Also
    --------
    binary_cross_entropy_with_logits : The loss, with its accuracy.
    softmax_regression_loss : More than two classes.

    Notes
    -----
    Logits are computed in the dtype of `X`, sums over blocks of rows in float64. Beyond the
    arguments a call needs memory for O(d + N) numbers (N for checking and converting `y` and
    `sample_weight`) and for a block of at most 1 MiB. NaN in `X`, `theta` or `y` ends in the
    results.

    scikit-learn's ``LogisticRegression(C=C)`` minimises :math:`C S` times this objective at
    ``l2 = 1 / (C * S)``.

    References
    ----------
    .. [1] D. R. Cox, "The regression analysis of binary sequences", Journal of the Royal
           Statistical Society B 20 (1958), 215-242.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> theta = np.zeros(2)
    >>> lossgrad.logistic_regression_loss(theta, X, y)
    (0.6931471805599453, array([-0.5,  0. ]))

    Some steps down the gradient; ``scipy.optimize.minimize(lossgrad.logistic_regression_loss,
    theta, args=(X, y, 0.1), jac=True)`` takes fewer:

    >>> for _ in range(1000):
    ...     value, gradient = lossgrad.logistic_regression_loss(theta, X, y, l2=0.1)
    ...     theta -= 0.5 * gradient
    >>> print(round(value, 4), theta.round(3))
    0.356 [ 1.508 -2.262]
    """
    x = _samples(X)
    targets = check.converted(y, x.dtype, "y")
    _one_a_row(targets, "y", x)
    if (bad := (targets < 0) | (targets > 1)).any():
        row = int(bad.argmax())
        raise ValueError(
            f"y is {targets[row]} in row {row}: labels are 0 and 1, probabilities between them"
        )
    flat, _ = _parameters(theta, x, fit_intercept, 1)
    weights = _row_weights(sample_weight, x)
    return _objective(flat, x, targets[:, None], l2, weights, 1, _binary)


def softmax_regression_loss(
    theta: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    l2: float = 0.0,
    *,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    classes: int | None = None,
) -> tuple[float, Array]:
    r"""
    Objective of softmax (multinomial logistic) regression and its gradient in the parameters.

    With logits :math:`z_i = W x_i + b`, sample weights :math:`s_i` (1 if not given) and
    :math:`S = \sum_i s_i`

    .. math::

        f(W, b) = \frac1S \sum_i s_i \Big(\log \sum_c e^{z_{ic}} - z_{i y_i}\Big)
                  + \frac{\lambda}{2} \|W\|^2

        \nabla_W f = \frac1S \sum_i s_i\, (p_i - e_{y_i})\, x_i^T + \lambda W, \qquad
        \nabla_b f = \frac1S \sum_i s_i\, (p_i - e_{y_i}), \qquad p_i = \mathrm{softmax}(z_i)

    and for target distributions :math:`t_i` with :math:`t_i` in place of the unit vector
    :math:`e_{y_i}`.

    Parameters
    ----------
    theta : array_like of shape (C * d + C,)
        The weights, (C, d) row by row, then the C intercepts: ``W = theta[:C * d].reshape(C, d)``,
        ``b = theta[C * d:]``. Without `fit_intercept` the weights alone.
    X : array_like of shape (N, d)
        One row for each sample, in any memory order. float32 and float64 are used as they are;
        half types are converted to float32, integers and bools to float64, at every call.
    y : array_like
        Labels of any integer dtype in [0, C), of shape (N,); or floating-point probabilities of
        shape (N, C).
    l2 : float, default 0
        The penalty :math:`\lambda`. The intercepts are not penalised.
    fit_intercept : bool, default True
        Whether there are intercepts; else b = 0.
    sample_weight : array_like of shape (N,), optional
        A weight for each row, 0 or more. A weight of 2 counts the row twice; a row of weight 0
        counts nothing, whatever `X` holds there.
    classes : int, optional
        The number of classes C. It follows from the size of `theta`, which is checked against it.

    Returns
    -------
    value : float
        The objective, in nats; nan if there are no rows of positive weight.
    gradient : ndarray
        Of the shape and dtype of `theta` (float64 for integers).

    Raises
    ------
    IndexError
        If a label is outside [0, C): names the first such row and label.
    TypeError
        If an argument is not real, or `y` holds neither labels nor probabilities.
    ValueError
        If shapes do not match, or a weight or `l2` is negative.

    See Also
    --------
    cross_entropy : The loss, with its accuracy.
    logistic_regression_loss : Two classes with half the parameters.

    Notes
    -----
    Logits are computed in the dtype of `X`, sums over blocks of rows in float64. Beyond the
    arguments a call needs memory for O(C d + N) numbers (N for checking and converting
    `sample_weight`) and for a block of at most 1 MiB, or 8 times the weights if that is more: the
    logits of all rows never exist at once. NaN in `X` or `theta` ends in the results.

    scikit-learn's ``LogisticRegression(C=C)`` with three classes or more minimises :math:`C S`
    times this objective at ``l2 = 1 / (C * S)``; its parameters are
    ``np.concatenate([coef_.ravel(), intercept_])``.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning" (2006), section 4.3.4.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 2])
    >>> theta = np.zeros(6)
    >>> value, gradient = lossgrad.softmax_regression_loss(theta, X, y, l2=0.1)
    >>> print(round(value, 4), gradient.round(3) + 0.0)
    1.0986 [ 0.333  0.    -0.333  0.     0.     0.   ]

    Some steps down the gradient; ``scipy.optimize.minimize(lossgrad.softmax_regression_loss,
    theta, args=(X, y, 0.1), jac=True)`` takes fewer:

    >>> for _ in range(1000):
    ...     value, gradient = lossgrad.softmax_regression_loss(theta, X, y, l2=0.1)
    ...     theta -= 0.5 * gradient
    >>> W, b = theta[:3].reshape(3, 1), theta[3:]
    >>> print((X @ W.T + b).argmax(axis=1))
    [0 1 2]
    """
    x = _samples(X)
    flat, count = _parameters(theta, x, fit_intercept, classes)
    targets = _class_targets(y, x, count)
    return _objective(flat, x, targets, l2, _row_weights(sample_weight, x), count, _multiclass)


# ---- arguments -----------------------------------------------------------------------------------


def _samples(X: ArrayLike) -> Array:
    """X as a matrix in the type to compute in."""
    a = np.asanyarray(X)
    single = a.dtype.kind != "b" and a.dtype.name in ("float16", "bfloat16", "float32")
    x = check.converted(a, np.dtype(np.float32 if single else np.float64), "X")
    if x.ndim != 2:
        raise ValueError(f"X has shape {x.shape}, but must be a matrix of rows and features")
    return x


def _parameters(
    theta: ArrayLike, x: Array, fit_intercept: bool, classes: int | None
) -> tuple[Array, int]:
    """theta and the number of classes, which is that of its parts unless it is given."""
    flat = check.floating(theta, "theta")
    if flat.ndim != 1:
        raise ValueError(
            f"theta has shape {flat.shape}, but must be flat: the weights, then the intercepts"
        )
    part = x.shape[1] + bool(fit_intercept)
    count = flat.size // max(1, part) if classes is None else operator.index(classes)
    if count < 1 or flat.size != count * part:
        wanted = f"a multiple of {part}" if classes is None else f"{count} * {part}"
        intercept = "an intercept" if fit_intercept else "no intercept (fit_intercept=False)"
        raise ValueError(
            f"theta has {flat.size} numbers, but needs {wanted}: for each class, "
            f"{x.shape[1]} weights (X has shape {x.shape}) and {intercept}"
        )
    return flat, count


def _one_a_row(a: Array, name: str, x: Array) -> None:
    if a.shape != (len(x),):
        raise ValueError(f"{name} has shape {a.shape}, but X of shape {x.shape} needs ({len(x)},)")


def _row_weights(sample_weight: ArrayLike | None, x: Array) -> Array | None:
    if sample_weight is None:
        return None
    weights = check.converted(sample_weight, x.dtype, "sample_weight")
    _one_a_row(weights, "sample_weight", x)
    if (bad := weights < 0).any():
        row = int(bad.argmax())
        raise ValueError(f"sample_weight is {weights[row]} in row {row}: weights are 0 or more")
    return weights


def _class_targets(targets: ArrayLike, x: Array, classes: int) -> Array:
    """Labels, all of them good, or probabilities."""
    a = np.asanyarray(targets)
    y = check.converted(a, a.dtype, "y")
    rows = len(x)
    if y.dtype.kind in "iu":
        _one_a_row(y, "y", x)
        if rows and (y.min() < 0 or y.max() >= classes):
            row = int(((y < 0) | (y >= classes)).argmax())
            raise IndexError(f"label {y[row]} in row {row} is outside [0, {classes})")
    elif y.shape == (rows,):
        raise TypeError(
            f"y has dtype {y.dtype} and the shape of labels, {y.shape}: "
            f"use integers (y.astype(np.int64))"
        )
    elif y.shape != (rows, classes):
        raise ValueError(
            f"y has dtype {y.dtype} and shape {y.shape}: labels are integers of shape ({rows},), "
            f"probabilities need a shape of {(rows, classes)}"
        )
    return y


# ---- computation ---------------------------------------------------------------------------------


def _binary(logits: Array, targets: Array, weights: Array | None) -> float:
    column = None if weights is None else weights[:, None]
    total, _ = functions.binary_cross_entropy_with_logits_value_and_grad(
        logits, targets, column, reduction="sum", out=logits
    )
    return float(total)


def _multiclass(logits: Array, targets: Array, weights: Array | None) -> float:
    reduction = "sum" if weights is None else "none"
    loss, _ = functions.cross_entropy_value_and_grad(
        logits, targets, reduction=reduction, out=logits
    )
    if weights is None:
        return float(loss)
    logits *= weights[:, None]
    return float(np.dot(loss.astype(np.float64), weights.astype(np.float64)))


@arithmetic()
def _objective(
    theta: Array,
    x: Array,
    targets: Array,
    l2: float,
    weights: Array | None,
    classes: int,
    fused: Fused,
) -> tuple[float, Array]:
    """The mean of the losses plus the penalty, and the gradient of both."""
    if not 0.0 <= l2 < math.inf:
        raise ValueError(f"l2 must be a finite number of 0 or more, got {l2}")
    rows, features = x.shape
    split = classes * features
    parameters = theta.astype(np.float64)
    linear = parameters[:split].reshape(classes, features)
    w = linear.T.astype(x.dtype, order="C")  # BLAS is faster at a product without a transpose
    b = parameters[split:].astype(x.dtype, copy=False)  # empty without intercept

    gradient = np.zeros(theta.size)
    of_w, of_b = gradient[:split].reshape(classes, features), gradient[split:]
    width = features + classes
    block = min(BLOCK_BYTES // (width * x.itemsize), BLOCK_PRODUCTS // max(1, w.size))
    block = max(1, block, BLOCK_PARAMETERS * w.size // width)
    if x.dtype == np.float32:
        block = min(block, FLOAT32_BLOCK_ROWS)
    memory = np.empty((min(block, rows), classes), x.dtype)
    ones = np.ones(len(memory), x.dtype)
    totals = []
    for start in range(0, rows, block):
        part = slice(start, start + block)
        samples, y, s = x[part], targets[part], None if weights is None else weights[part]
        if s is not None and not s.all():
            kept = s != 0
            samples, y, s = samples[kept], y[kept], s[kept]
        logits = np.dot(samples, w, out=memory[: len(samples)])
        if b.size:
            logits += b
        totals.append(fused(logits, y, s))
        of_w += np.dot(logits.T, samples)
        if b.size:
            of_b += np.dot(ones[: len(logits)], logits)  # in a fifth of the time of sum(axis=0)

    count = float(rows if weights is None else weights.sum(dtype=np.float64))
    if count == 0.0:  # the mean over nothing has no value and no slope
        value = math.nan
    else:
        value = float(np.sum(totals)) / count
        gradient /= count
    if l2:
        value += 0.5 * l2 * float(np.vdot(linear, linear))
        of_w += l2 * linear
    return value, gradient.astype(theta.dtype, copy=False)
