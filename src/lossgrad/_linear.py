"""How linear models are computed: rows in blocks that stay in the cache.

BLAS makes a block's logits, a fused kernel turns them into their own gradient, BLAS takes that back
to the parameters. X is read from memory once, and no array of the size of all logits is ever made.
A product with the Hessian goes the same way: as the parameters move along v the logits move by X v,
and their gradient by the derivative of sigmoid or softmax times that, for which there are kernels.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _functions as functions
from ._core import arguments as check
from ._core.environment import arithmetic

Array = NDArray[Any]
# (logits, targets, weights): the sum of the weighted losses; their gradient is left in the logits
Fused = Callable[[Array, Array, Array | None], float]
# (change of the logits, logits, targets): how the losses' gradients change is left in the logits
Slopes = Callable[[Array, Array, Array], None]

# Rows of X and their logits in a block stay in a second-level cache, and products of matrices so
# small that BLAS does not repack them, which gains a third; but a block is several times the
# parameters, which it reads and writes as well.
BLOCK_BYTES: Final = 1 << 20
BLOCK_PRODUCTS: Final = 1 << 19  # multiplications
BLOCK_PARAMETERS: Final = 8
FLOAT32_BLOCK_ROWS: Final = 4096  # BLAS adds up a block in float32, which drifts over more rows


# ---- arguments -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Parameters, and samples and targets that they are to fit, all of them checked."""

    theta: Array
    x: Array
    targets: Array
    weights: Array | None
    l2: float
    classes: int

    def count(self) -> float:
        """The rows, as they are weighted."""
        return float(len(self.x) if self.weights is None else self.weights.sum(dtype=np.float64))

    def block(self) -> int:
        """How many rows are done together."""
        features, size = self.x.shape[1], self.x.shape[1] * self.classes
        width = features + self.classes
        block = min(BLOCK_BYTES // (width * self.x.itemsize), BLOCK_PRODUCTS // max(1, size))
        block = max(1, block, BLOCK_PARAMETERS * size // width)
        if self.x.dtype == np.float32:
            block = min(block, FLOAT32_BLOCK_ROWS)
        return min(block, len(self.x))

    def parts(self) -> Iterator[tuple[Array, Array, Array | None]]:
        """Samples, targets and weights, a block at a time, of the rows that count."""
        block = self.block()
        for start in range(0, len(self.x), max(1, block)):
            part = slice(start, start + block)
            samples, y = self.x[part], self.targets[part]
            s = None if self.weights is None else self.weights[part]
            if s is not None and not s.all():
                kept = s != 0
                samples, y, s = samples[kept], y[kept], s[kept]
            yield samples, y, s


def logistic_problem(
    theta: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    l2: float,
    fit_intercept: bool,
    sample_weight: ArrayLike | None,
) -> Problem:
    x = _samples(X)
    targets = check.converted(y, x.dtype, "y")
    _one_a_row(targets, "y", x)
    if (bad := (targets < 0) | (targets > 1)).any():
        row = int(bad.argmax())
        raise ValueError(
            f"y is {targets[row]} in row {row}: labels are 0 and 1, probabilities between them"
        )
    flat, _ = _parameters(theta, x, fit_intercept, 1)
    return Problem(flat, x, targets[:, None], _row_weights(sample_weight, x), _penalty(l2), 1)


def softmax_problem(
    theta: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    l2: float,
    fit_intercept: bool,
    sample_weight: ArrayLike | None,
    classes: int | None,
) -> Problem:
    x = _samples(X)
    flat, count = _parameters(theta, x, fit_intercept, classes)
    targets = _class_targets(y, x, count)
    return Problem(flat, x, targets, _row_weights(sample_weight, x), _penalty(l2), count)


def _penalty(l2: float) -> float:
    if not 0.0 <= l2 < math.inf:
        raise ValueError(f"l2 must be a finite number of 0 or more, got {l2}")
    return l2


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


class _Parameters:
    """Weights and intercepts of flat parameters, also in the type of X."""

    def __init__(self, flat: Array, of: Problem) -> None:
        split = of.classes * of.x.shape[1]
        parameters = flat.astype(np.float64)
        self.linear = parameters[:split].reshape(of.classes, -1)
        # BLAS is faster at a product without a transpose
        self.w = self.linear.T.astype(of.x.dtype, order="C")
        self.b = parameters[split:].astype(of.x.dtype, copy=False)  # empty without intercept

    def logits(self, samples: Array, memory: Array) -> Array:
        logits = np.dot(samples, self.w, out=memory[: len(samples)])
        if self.b.size:
            logits += self.b
        return logits


class _Sum:
    """What the blocks add to each parameter."""

    def __init__(self, of: Problem) -> None:
        split = of.classes * of.x.shape[1]
        self.flat = np.zeros(of.theta.size)
        self.of_w, self.of_b = self.flat[:split].reshape(of.classes, -1), self.flat[split:]
        self.ones = np.ones(of.block(), of.x.dtype)

    def add(self, slopes: Array, samples: Array) -> None:
        """From slopes in the logits of some samples."""
        self.of_w += np.dot(slopes.T, samples)
        if self.of_b.size:
            # in a fifth of the time of sum(axis=0)
            self.of_b += np.dot(self.ones[: len(slopes)], slopes)

    def mean(self, of: Problem, along: _Parameters) -> Array:
        """Over the rows, if there are any, with what the penalty adds along the parameters."""
        count = of.count()
        if count != 0.0:  # the mean over nothing has no slope
            self.flat /= count
        if of.l2:
            self.of_w += of.l2 * along.linear
        return self.flat.astype(of.theta.dtype, copy=False)


def binary(logits: Array, targets: Array, weights: Array | None) -> float:
    column = None if weights is None else weights[:, None]
    total, _ = functions.binary_cross_entropy_with_logits_value_and_grad(
        logits, targets, column, reduction="sum", out=logits
    )
    return float(total)


def multiclass(logits: Array, targets: Array, weights: Array | None) -> float:
    reduction = "sum" if weights is None else "none"
    loss, _ = functions.cross_entropy_value_and_grad(
        logits, targets, reduction=reduction, out=logits
    )
    if weights is None:
        return float(loss)
    logits *= weights[:, None]
    return float(np.dot(loss.astype(np.float64), weights.astype(np.float64)))


def binary_slopes(change: Array, logits: Array, targets: Array) -> None:
    functions.sigmoid_backward(change, logits, out=logits)


def multiclass_slopes(change: Array, logits: Array, targets: Array) -> None:
    functions.softmax_backward(change, logits, out=logits)
    if targets.ndim == 2:  # distributions, whose mass may be other than 1
        logits *= targets.sum(axis=1, dtype=logits.dtype, keepdims=True)


@arithmetic()
def objective(of: Problem, fused: Fused) -> tuple[float, Array]:
    """The mean of the losses plus the penalty, and the gradient of both."""
    at, gradient = _Parameters(of.theta, of), _Sum(of)
    memory = np.empty((of.block(), of.classes), of.x.dtype)
    totals = []
    for samples, y, s in of.parts():
        logits = at.logits(samples, memory)
        totals.append(fused(logits, y, s))
        gradient.add(logits, samples)
    count = of.count()
    value = float(np.sum(totals)) / count if count != 0.0 else math.nan
    if of.l2:
        value += 0.5 * of.l2 * float(np.vdot(at.linear, at.linear))
    return value, gradient.mean(of, at)


@arithmetic()
def hessian_product(of: Problem, vector: ArrayLike, slopes: Slopes) -> Array:
    """How the gradient of the objective changes along the vector."""
    direction = check.floating(vector, "vector")
    if direction.shape != of.theta.shape:
        raise ValueError(
            f"vector has shape {direction.shape}, but theta, along which it lies, {of.theta.shape}"
        )
    at, along, product = _Parameters(of.theta, of), _Parameters(direction, of), _Sum(of)
    memory, other = np.empty((2, of.block(), of.classes), of.x.dtype)
    for samples, y, s in of.parts():
        logits, change = at.logits(samples, memory), along.logits(samples, other)
        slopes(change, logits, y)
        if s is not None:
            logits *= s[:, None]
        product.add(logits, samples)
    return product.mean(of, along)
