"""Linear models: value, gradient and Hessian products in the parameters, for an optimiser."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ._linear import (
    binary,
    binary_slopes,
    hessian_product,
    logistic_problem,
    multiclass,
    multiclass_slopes,
    objective,
    softmax_problem,
)

__all__ = [
    "logistic_regression_hessp",
    "logistic_regression_loss",
    "softmax_regression_hessp",
    "softmax_regression_loss",
]

Array = NDArray[Any]


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
    logistic_regression_hessp : Products with its Hessian.

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
    theta, args=(X, y, 0.1), jac=True, hessp=lossgrad.logistic_regression_hessp,
    method="trust-ncg")`` takes fewer:

    >>> for _ in range(1000):
    ...     value, gradient = lossgrad.logistic_regression_loss(theta, X, y, l2=0.1)
    ...     theta -= 0.5 * gradient
    >>> print(round(value, 4), theta.round(3))
    0.356 [ 1.508 -2.262]
    """
    problem = logistic_problem(theta, X, y, l2, fit_intercept, sample_weight)
    return objective(problem, binary)


def logistic_regression_hessp(
    theta: ArrayLike,
    vector: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    l2: float = 0.0,
    *,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
) -> Array:
    r"""
    Product of the Hessian of `logistic_regression_loss` with a vector.

    With logits :math:`z_i = w \cdot x_i + b` and a vector :math:`(v, c)` of the parameters' parts

    .. math::

        H_w = \frac1S \sum_i s_i\, \sigma(z_i)\, \sigma(-z_i)\, (v \cdot x_i + c)\, x_i
              + \lambda v, \qquad
        H_b = \frac1S \sum_i s_i\, \sigma(z_i)\, \sigma(-z_i)\, (v \cdot x_i + c)

    Parameters
    ----------
    theta : array_like of shape (d + 1,)
        Where the Hessian is taken.
    vector : array_like of shape (d + 1,)
        What it is multiplied by: like `theta`.
    X, y, l2, fit_intercept, sample_weight
        As in `logistic_regression_loss`.

    Returns
    -------
    ndarray
        Of the shape and dtype of `theta` (float64 for integers).

    Raises
    ------
    TypeError, ValueError
        As `logistic_regression_loss`, and if `vector` has another shape than `theta`.

    See Also
    --------
    logistic_regression_loss : Value and gradient, with what is said there of types and memory.

    Notes
    -----
    The product is exact, in one pass over X as the gradient is; rows that are far on either side
    keep the accuracy of :math:`\sigma(z)\,\sigma(-z)`.

    Examples
    --------
    What `scipy.optimize.minimize` takes as ``hessp`` beside ``jac=True`` and the same ``args``:

    >>> import numpy as np, lossgrad
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> lossgrad.logistic_regression_hessp(np.zeros(2), [0.0, 1.0], X, y)
    array([0.375, 0.25 ])
    """
    problem = logistic_problem(theta, X, y, l2, fit_intercept, sample_weight)
    return hessian_product(problem, vector, binary_slopes)


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
    softmax_regression_hessp : Products with its Hessian.

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
    theta, args=(X, y, 0.1), jac=True, hessp=lossgrad.softmax_regression_hessp,
    method="trust-ncg")`` takes fewer:

    >>> for _ in range(1000):
    ...     value, gradient = lossgrad.softmax_regression_loss(theta, X, y, l2=0.1)
    ...     theta -= 0.5 * gradient
    >>> W, b = theta[:3].reshape(3, 1), theta[3:]
    >>> print((X @ W.T + b).argmax(axis=1))
    [0 1 2]
    """
    problem = softmax_problem(theta, X, y, l2, fit_intercept, sample_weight, classes)
    return objective(problem, multiclass)


def softmax_regression_hessp(
    theta: ArrayLike,
    vector: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    l2: float = 0.0,
    *,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    classes: int | None = None,
) -> Array:
    r"""
    Product of the Hessian of `softmax_regression_loss` with a vector.

    With :math:`p_i = \mathrm{softmax}(W x_i + b)`, a vector :math:`(V, c)` of the parameters' parts
    and :math:`u_i = V x_i + c`

    .. math::

        H_W = \frac1S \sum_i s_i\, r_i x_i^T + \lambda V, \qquad
        H_b = \frac1S \sum_i s_i\, r_i, \qquad
        r_{ic} = p_{ic} \Big(u_{ic} - \sum_k p_{ik} u_{ik}\Big)

    and for target distributions :math:`t_i` with :math:`r_i` times :math:`\sum_c t_{ic}`.

    Parameters
    ----------
    theta : array_like of shape (C * d + C,)
        Where the Hessian is taken.
    vector : array_like of shape (C * d + C,)
        What it is multiplied by: like `theta`.
    X, y, l2, fit_intercept, sample_weight, classes
        As in `softmax_regression_loss`.

    Returns
    -------
    ndarray
        Of the shape and dtype of `theta` (float64 for integers).

    Raises
    ------
    IndexError, TypeError, ValueError
        As `softmax_regression_loss`, and if `vector` has another shape than `theta`.

    See Also
    --------
    softmax_regression_loss : Value and gradient, with what is said there of types and memory.

    Notes
    -----
    The product is exact, in one pass over X as the gradient is; no matrix of classes by classes is
    made, for no row. Without a penalty it is 0 along vectors that move all classes alike.

    Examples
    --------
    What `scipy.optimize.minimize` takes as ``hessp`` beside ``jac=True`` and the same ``args``:

    >>> import numpy as np, lossgrad
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 2])
    >>> vector = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    >>> lossgrad.softmax_regression_hessp(np.zeros(6), vector, X, y, l2=0.1).round(3)
    array([ 0.47 , -0.185, -0.185,  0.222, -0.111, -0.111])
    """
    problem = softmax_problem(theta, X, y, l2, fit_intercept, sample_weight, classes)
    return hessian_product(problem, vector, multiclass_slopes)
