"""A softmax regression fitted with scipy.optimize, its penalty chosen, its temperature found.

python examples/fit.py

The digits come with lossgrad. `softmax_regression_loss` gives the objective and its gradient in
one pass over X, as a Python float and an array: what an optimiser of SciPy takes.
"""

import numpy as np
from scipy.optimize import minimize

import lossgrad
from lossgrad.sample import load_digits

PENALTIES = (1e-5, 1e-4, 1e-3)


def data():
    """Images and labels to fit on, to choose by, and to judge by."""
    images, labels = load_digits()
    X = images / 16.0
    return [(X[part], labels[part]) for part in np.split(np.arange(len(X)), [1000, 1400])]


def fitted(X, y, penalty):
    """Weights and intercepts of least loss."""
    start = np.zeros(10 * X.shape[1] + 10)
    given = {"args": (X, y, penalty), "jac": True, "method": "L-BFGS-B"}
    found = minimize(lossgrad.softmax_regression_loss, start, options={"maxiter": 1000}, **given)
    assert found.success, found.message
    return found.x


def logits(theta, X):
    """Of the model whose parameters theta are."""
    weights, intercepts = np.split(theta, [10 * X.shape[1]])
    return X @ weights.reshape(10, -1).T + intercepts


def main():
    (X, y), (X_choose, y_choose), (X_judge, y_judge) = data()
    found = {}
    for penalty in PENALTIES:
        theta = fitted(X, y, penalty)
        loss, _ = lossgrad.softmax_regression_loss(theta, X_choose, y_choose)
        found[loss] = theta
        print(f"penalty {penalty:g}: loss {loss:.4f} on what it was not fitted to")
    theta = found[min(found)]

    temperature = lossgrad.fit_temperature(logits(theta, X_choose), y_choose).temperature
    result = lossgrad.evaluate(logits(theta, X_judge) / temperature, y_judge)
    print(f"temperature {temperature:.3f}, then on the last {result.rows} images: ", end="")
    print(f"accuracy {result.accuracy:.3f}, loss {result.loss:.4f} +- {result.loss_error:.4f}")
    assert result.accuracy > 0.85


if __name__ == "__main__":
    main()
