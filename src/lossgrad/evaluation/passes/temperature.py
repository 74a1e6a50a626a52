"""Temperature scaling: the T for which logits / T have the least mean loss.

In b = 1 / T the loss is convex. With p the probabilities of b x, a row's loss has the derivatives
sum(p (x - x_y)) and sum(p (x - sum(p x))**2), of the binary task x (sigmoid(b x) - t) and
x**2 p (1 - p). Their sums over rows are exact, so that each step of the search, and what it comes
to, has the same bits however the rows are cut.

At b = 0 and as b grows without end the derivative has limits that say whether there is a least
loss between them: sum(mean(x) - x_y) < 0 < sum(max(x) - x_y), or sums of x (1/2 - t) and of
x ([x > 0] - t).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from lossgrad._functions import softmax
from lossgrad.evaluation.exact import UNITS, ExactSums
from lossgrad.evaluation.feed import HowPair, pair
from lossgrad.evaluation.passes.probe import Passing, Probe
from lossgrad.evaluation.results import Result, Task, plain
from lossgrad.evaluation.seen import Block, Seen
from lossgrad.evaluation.share import Share
from lossgrad.evaluation.state import Evaluation

Doubles = NDArray[np.float64]
_RISE, _FALL, _CURVE, _FAR = range(4)  # groups of sums, for each b
_CLOSE = 1e-13
_DOUBT = 44  # a row's derivative has a relative error below 2**-_DOUBT
_STRIDE = 4.0  # from a bracket's end that is 0 or infinite


@dataclass(frozen=True)
class Temperature:
    """What `fit_temperature` found.

    Attributes
    ----------
    temperature : float
        Logits divided by it have the least mean loss. 0 and inf are limits, nan is of no rows.
    before, after : Result
        The evaluation of the logits as they are, and divided by the temperature.
    passes : int
        How often the rows were read.
    """

    temperature: float
    before: Result
    after: Result
    passes: int

    @property
    def reason(self) -> str:
        """Why there is no temperature of least loss, or only a limit; empty if there is one."""
        if 0 < self.temperature < math.inf:
            return ""
        if math.isnan(self.temperature):
            return "no row has a finite loss that depends on the temperature"
        if self.temperature == 0:
            return "every label has the largest logit: the loss falls for as long as T does"
        return "the logits say less of the labels than equal ones: the loss falls as T grows"

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON; None for what is not finite."""
        pairs = {"before": self.before, "after": self.after}
        figures = {
            f"{name}_{when}": getattr(result, name)
            for name in ("loss", "ece", "brier")
            for when, result in pairs.items()
        }
        found = {"temperature": self.temperature, **figures}
        all_of_it: dict[str, Any] = plain(
            {**found, "reason": self.reason or None, "passes": self.passes}
        )
        return all_of_it


def fit_temperature(
    logits: Any,
    targets: Any = None,
    *,
    task: Task = "multiclass",
    ignore_index: int = -100,
    sample_weight: Any = None,
    bins: int = 15,
    **how: Unpack[HowPair],
) -> Temperature:
    """Find the temperature of least mean loss (Guo et al., 2017), in a few passes over the rows.

    It is found to a relative 1e-12 or as close as float64 losses allow, and has the same bits
    for any number of threads and any cut of the rows into blocks and files.

    Parameters
    ----------
    logits, targets, task, ignore_index, sample_weight, bins
        As in `evaluate`. What can be read only once (a generator) is an error.
    **how
        `axis`, `strict`, `input`, `class_names`, `logits_key`, `targets_key`, `num_threads`,
        `block_bytes`, `progress` (of each pass anew) and `dask`, as in `evaluate`.

    Returns
    -------
    Temperature
        With the evaluations before and after. Where the labels always have the largest logit the
        temperature is 0, where logits are worse than none it is inf: `reason` says so.

    Examples
    --------
    >>> import lossgrad
    >>> logits = [[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]]
    >>> found = lossgrad.fit_temperature(logits, [0, 0, 0, 1])
    >>> round(found.temperature, 4), round(found.before.loss, 4), round(found.after.loss, 4)
    (3.641, 1.0181, 0.5623)
    """
    rows = pair(logits, targets, task, sample_weight=sample_weight, **how)
    options: dict[str, Any] = {"task": task, "ignore_index": ignore_index}
    passes = 0

    def read(state: Any) -> Any:
        nonlocal passes
        passes += 1
        return rows.add_to(state)

    def slope(beta: float) -> tuple[float, float]:
        cheap = {"bins": 1, "confusion_limit": 0}
        return read(Probe(partial(Slopes, [beta]), **options, **cheap)).part.result()[0]

    first = read(Probe(partial(Slopes, [0.0, 1.0]), **options, bins=bins))
    beta = _least(first.part, slope)
    after = read(Scaled(beta, **options, bins=bins)).result()
    temperature = math.inf if beta == 0 else 1.0 / beta
    return Temperature(temperature, first.result(), after, passes)


class Slopes:
    """Sums of the first and second derivatives of the losses, at each of some b."""

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, betas: Sequence[float]) -> None:
        self.betas = tuple(betas)
        self._sums = ExactSums(4 * len(self.betas))

    def add(self, seen: Seen) -> None:
        """Add the terms whose loss depends on b; with an infinite logit it is 0 or inf."""
        multiclass = seen.rows.task == "multiclass"
        x = seen.rows.logits[seen.term] if multiclass else seen.rows.logits.reshape(-1)[seen.term]
        x = x.astype(np.float64)
        use = np.isfinite(seen.loss) & np.isfinite(x.max(axis=1) if multiclass else x)
        targets = seen.label if multiclass else seen.right
        x, targets, s = x[use], targets[use], seen.divisor[use]
        for k, beta in enumerate(self.betas):
            slope, curve, far = (_of_rows if multiclass else _of_logits)(x, targets, beta)
            for group, values in (
                (_RISE, np.maximum(slope, 0.0)),
                (_FALL, np.maximum(-slope, 0.0)),
                (_CURVE, curve),
                (_FAR, far),
            ):
                self._sums.add(s * values, 4 * k + group)

    def merge(self, other: "Slopes") -> None:
        """Add what another of the same b has."""
        self._sums.merge(other._sums)

    def result(self) -> list[tuple[float, float]]:
        """The first and second derivative at each b, correctly rounded."""
        units = [self._sums.units(group) for group in range(4 * len(self.betas))]
        at = (units[4 * k : 4 * k + 4] for k in range(len(self.betas)))
        return [((one[_RISE] - one[_FALL]) / UNITS, one[_CURVE] / UNITS) for one in at]

    def falls(self) -> bool:
        """Whether the loss falls from the first b on, by more than what rounds in its terms."""
        rise, fall = self._sums.units(_RISE), self._sums.units(_FALL)
        return (fall - rise) << _DOUBT > fall + rise

    def rises(self) -> bool:
        """Whether the loss rises as b grows without end: the limit of its derivative is not 0."""
        return self._sums.units(_FAR) > 0


def _of_rows(
    x: Doubles, labels: NDArray[np.int64], beta: float
) -> tuple[Doubles, Doubles, Doubles]:
    """First and second derivative of each row's loss at b, and the limit of the first."""
    x = x - x.max(axis=1, keepdims=True)
    hidden = x == -np.inf
    p = softmax(np.where(hidden, x, beta * x), num_threads=1)
    x[hidden] = 0.0
    own = x[np.arange(len(x)), labels]
    mean = (p * x).sum(axis=1)
    x -= mean[:, np.newaxis]
    return mean - own, (p * x * x).sum(axis=1), -own


def _of_logits(x: Doubles, t: Doubles, beta: float) -> tuple[Doubles, Doubles, Doubles]:
    """The same of logits with a target each."""
    negative, positive = softmax(np.stack([np.zeros_like(x), beta * x]), 0, num_threads=1)
    slope = np.where(positive < 0.5, positive - t, (1.0 - t) - negative)
    return x * slope, x * x * positive * negative, np.where(x > 0, x * (1.0 - t), -x * t)


def _least(first: Slopes, slope: Callable[[float], tuple[float, float]]) -> float:
    """The b of least loss: 0, inf, nan if there is nothing to choose, or where the slope is 0."""
    if not first.falls():
        return 0.0 if first.rises() else math.nan
    if not first.rises():
        return math.inf
    return _root(slope, 1.0, first.result()[1])


def _root(
    slope: Callable[[float], tuple[float, float]], beta: float, value: tuple[float, float]
) -> float:
    """Where an increasing function from below 0 to above 0 is 0, by Newton's steps.

    A step that leaves the bracket, or is not half as long as the last, is one to the bracket's
    (geometric) middle instead, so that the search ends.
    """
    low, high, last = 0.0, math.inf, math.inf
    while value[0]:
        low, high = (beta, high) if value[0] < 0 else (low, beta)
        step = beta - value[0] / value[1] if value[1] else math.nan
        if not (low <= step <= high and abs(step - beta) <= 0.5 * last):
            step = _between(low, high)
        last = abs(step - beta)
        beta = step
        if last <= _CLOSE * beta:
            break
        value = slope(beta)
    return beta


def _between(low: float, high: float) -> float:
    if high == math.inf:
        return low * _STRIDE
    return math.sqrt(low) * math.sqrt(high) if low else high / _STRIDE


class Scaled(Passing, Evaluation):
    """An evaluation of logits times b, in float64."""

    def __init__(self, beta: float, **options: Any) -> None:
        super().__init__(**options)
        self.beta, self._options = beta, options

    def empty(self) -> "Scaled":
        """Another of the same options, without any rows."""
        return Scaled(self.beta, **self._options)

    def share(self, stopped: Callable[[], bool] = bool) -> Share:
        """What one thread adds to; `stopped` says when to give up."""
        return _ScaledShare(self, stopped)


class _ScaledShare(Share):
    """Scales before it adds."""

    def add(self, block: Block, **options: Any) -> None:
        """Add the rows of a block."""
        of: Any = self._state
        x = np.asarray(block["logits"]).astype(np.float64)
        super().add({**block, "logits": scaled(x, of.beta, of.task)}, **options)


def scaled(x: Doubles, beta: float, task: Task) -> Doubles:
    """Logits times b, and their limits for b = 0 and inf; nan leaves them as they are."""
    if 0 < beta < math.inf:
        return x * beta
    if math.isnan(beta):
        return x
    if beta == 0:
        return np.where(np.isfinite(x), 0.0, x)
    if task == "binary":
        return np.where(np.abs(x) > 0, np.copysign(np.inf, x), x)
    chosen = np.where(x == x.max(axis=-1, keepdims=True), 0.0, -np.inf)
    return np.where(np.isnan(x), x, chosen)
