"""A booster that minimises a loss of lossgrad, and what its predictions are worth.

python examples/booster.py

LightGBM asks an objective for the gradient and the diagonal of the Hessian of every prediction. The
same trees are grown by its own objective, to compare with; the focal loss is one it does not have.
"""

import lightgbm
import numpy as np
from sklearn.datasets import load_breast_cancer

import lossgrad
from lossgrad import objectives


def scores(objective, X, y, X_new):
    """Raw scores of what was not fitted to."""
    model = lightgbm.LGBMClassifier(objective=objective, n_estimators=40, verbose=-1)
    return model.fit(X, y).predict(X_new, raw_score=True)


def main():
    X, y = load_breast_cancer(return_X_y=True)
    kinds = {
        "LightGBM's own": "binary",
        "lossgrad's": objectives.lightgbm("binary"),
        "focal": objectives.lightgbm("binary:focal", gamma=1.0),
    }
    found = {}
    for name, objective in kinds.items():
        logits = np.asarray(scores(objective, X[::2], y[::2], X[1::2]), np.float64)
        found[name] = result = lossgrad.evaluate(logits, y[1::2], task="binary")
        print(f"{name}: accuracy {result.accuracy:.3f}, loss {result.loss:.3f}, ", end="")
        print(f"calibration error {result.ece:.3f}")
    assert min(result.accuracy for result in found.values()) > 0.93


if __name__ == "__main__":
    main()
