"""The embedded example: real handwritten digits, a model fitted with the package's own gradient.

`digits()` fits a softmax regression on the first 1200 images, in the order of the data set, and
gives its logits on the other 597. NumPy only and deterministic; the problem is convex and solved
to a gradient of 1e-9, so that the logits do not depend on the way there.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lossgrad  # names are looked up at call time, as in evaluation.py
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.save import read_whole, reason, write_whole

__all__ = ["Sample", "digits", "load_digits", "save"]

TRAINING_ROWS = 1200

Vector = NDArray[np.float64]
Objective = Callable[[Vector], tuple[float, Vector]]


@dataclass(frozen=True)
class Sample:
    """Held-out logits and labels, and how the model was fitted."""

    logits: NDArray[np.float64]
    targets: NDArray[np.int64]
    training_rows: int
    training_loss: float
    calls: int


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images, (1797, 64) with values 0 to 16, and labels; see data/digits.txt."""
    file = resources.files("lossgrad") / "data" / "digits.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


def digits() -> Sample:
    """Fit on the training part, predict the held-out part."""
    images, labels = load_digits()
    features = images / 16.0
    targets = labels.astype(np.int64)
    train, held_out = slice(None, TRAINING_ROWS), slice(TRAINING_ROWS, None)
    weights, intercepts, calls = fit_softmax_regression(
        features[train], targets[train], classes=10, l2=1.0 / TRAINING_ROWS
    )
    logits = features @ weights.T + intercepts
    loss = lossgrad.cross_entropy(logits[train], targets[train])
    return Sample(logits[held_out], targets[held_out], TRAINING_ROWS, loss, calls)


def fit_softmax_regression(
    features: NDArray[np.float64], targets: NDArray[np.int64], *, classes: int, l2: float
) -> tuple[NDArray[np.float64], Vector, int]:
    """Minimise mean cross-entropy + l2/2 * |weights|^2, see `lossgrad.softmax_regression_loss`.

    Returns
    -------
    weights : ndarray of shape (classes, features)
    intercepts : ndarray of shape (classes,)
    calls : int
        Evaluations of the objective and its gradient.
    """

    def objective(theta: Vector) -> tuple[float, Vector]:
        return lossgrad.softmax_regression_loss(theta, features, targets, l2)

    split = classes * features.shape[1]
    theta, calls = minimize(objective, np.zeros(split + classes))
    return theta[:split].reshape(classes, -1), theta[split:], calls


def minimize(
    objective: Objective, x: Vector, *, tolerance: float = 1e-9, memory: int = 10
) -> tuple[Vector, int]:
    """Minimise a smooth convex function by L-BFGS (Nocedal and Wright, algorithm 7.4).

    A step is accepted on its slope alone (the approximate Wolfe conditions of Hager and Zhang,
    2005): close to the minimum the differences of values are rounding noise, those of slopes
    are not. Stops when no entry of the gradient exceeds `tolerance`.
    """
    _, gradient = objective(x)
    calls = 1
    pairs: list[tuple[Vector, Vector]] = []
    while np.abs(gradient).max() > tolerance and calls < 2000:
        direction = _direction(gradient, pairs)
        slope = float(direction @ gradient)
        low, high = 0.0, np.inf
        step = 1.0 if pairs else 1.0 / float(np.linalg.norm(gradient))
        for _ in range(60):
            _, new_gradient = objective(x + step * direction)
            calls += 1
            new_slope = float(direction @ new_gradient)
            if new_slope < 0.9 * slope:
                low = step
            elif new_slope > -0.8 * slope:
                high = step
            else:
                break
            step = 2.0 * step if high == np.inf else 0.5 * (low + high)
        else:  # slopes are rounding noise: this is as close as float64 gets
            break
        change = step * direction
        pairs = [*pairs[1 - memory :], (change, new_gradient - gradient)]
        x, gradient = x + change, new_gradient
    return x, calls


def _direction(gradient: Vector, pairs: list[tuple[Vector, Vector]]) -> Vector:
    """Minus the inverse Hessian that the last steps suggest, times the gradient."""
    direction = -gradient
    factors = []
    for change, difference in reversed(pairs):
        factor = (change @ direction) / (change @ difference)
        direction = direction - factor * difference
        factors.append(factor)
    if pairs:
        change, difference = pairs[-1]
        direction = direction * ((change @ difference) / (difference @ difference))
    for (change, difference), factor in zip(pairs, reversed(factors), strict=True):
        back = (difference @ direction) / (change @ difference)
        direction = direction + (factor - back) * change
    return direction


def save(sample: Sample, directory: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write logits.npy and targets.npy; a different file of that name is never overwritten.

    Raises
    ------
    FileError
        The directory or a file cannot be written, or would be overwritten.
    """
    root = Path(directory)
    paths = (root / "logits.npy", root / "targets.npy")
    contents = (_npy_bytes(sample.logits), _npy_bytes(sample.targets))
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise FileError(root, f"cannot be made a directory: {reason(error)}") from None
    for path, content in zip(paths, contents, strict=True):
        if path.exists() and read_whole(path) != content:
            raise FileError(path, "exists with other contents and is left alone")
    for path, content in zip(paths, contents, strict=True):
        write_whole(path, content)
    return paths


def _npy_bytes(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
