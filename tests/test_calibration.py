"""Figures of reliability bins and of agreement beyond chance, by their definitions."""

import numpy as np
import pytest

from lossgrad.evaluation.agreement import balanced_accuracy, cohen_kappa, matthews_corrcoef
from lossgrad.evaluation.calibration import brier_terms, calibration_error, equal_mass_error
from lossgrad.evaluation.histogram import PROBABILITIES, Halves, Histogram

metrics = pytest.importorskip("sklearn.metrics")


def parts_of(labels, predicted, classes, weight):
    """The parts of the rows with each class as label, as prediction and as both."""
    w = np.ones(len(labels)) if weight is None else weight
    counts = (
        np.bincount(values, w * chosen, classes) / w.sum()
        for values, chosen in ((labels, 1), (predicted, 1), (labels, labels == predicted))
    )
    return tuple(counts)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 40])
def test_agreement_is_that_of_scikit_learn(classes, noise, weighted):
    random = np.random.default_rng([classes, int(10 * noise)])
    labels = random.integers(0, classes - (classes > 2), 300)  # the last class has no label
    other = random.integers(0, classes, 300)
    predicted = np.where(random.random(300) < noise, other, labels)
    weight = random.random(300) if weighted else None
    label, prediction, both = parts_of(labels, predicted, classes, weight)
    options = {"sample_weight": weight}
    assert matthews_corrcoef(label, prediction, both) == pytest.approx(
        metrics.matthews_corrcoef(labels, predicted, **options), rel=1e-12, abs=1e-14
    )
    assert cohen_kappa(label, prediction, both) == pytest.approx(
        metrics.cohen_kappa_score(labels, predicted, **options), rel=1e-12, abs=1e-14
    )
    assert balanced_accuracy(label, both) == pytest.approx(
        metrics.balanced_accuracy_score(labels, predicted, **options), rel=1e-12
    )


@pytest.mark.parametrize(
    ("labels", "predicted", "expected"),
    [
        ([1, 1], [1, 1], (0.0, np.nan, 1.0)),
        ([1, 1], [0, 1], (0.0, 0.0, 0.5)),
        ([0, 1], [1, 1], (0.0, 0.0, 0.5)),
        ([0, 1], [1, 0], (-1.0, -1.0, 0.0)),
    ],
)
def test_agreement_of_one_class(labels, predicted, expected):
    label, prediction, both = parts_of(np.array(labels), np.array(predicted), 2, None)
    found = (
        matthews_corrcoef(label, prediction, both),
        cohen_kappa(label, prediction, both),
        balanced_accuracy(label, both),
    )
    assert found == pytest.approx(expected, nan_ok=True)


def test_agreement_of_nothing():
    nothing, undefined = np.zeros(3), np.full(3, np.nan)
    assert np.isnan(matthews_corrcoef(undefined, undefined, undefined))
    assert np.isnan(cohen_kappa(undefined, undefined, undefined))
    assert np.isnan(balanced_accuracy(nothing, nothing))


def sums_of_bins(p, t, w, bins):
    """Sums of 1, p and t of each column over bins of equal width."""
    at = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    found = np.zeros((3, p.shape[1], bins))
    for column in range(p.shape[1]):
        for k, values in enumerate((np.ones_like(p), p, t)):
            np.add.at(found[k, column], at[:, column], w * values[:, column])
    return found


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("bins", [1, 7, 100])
@pytest.mark.parametrize("columns", [1, 4])
def test_brier_terms(columns, bins, soft):
    random = np.random.default_rng([columns, bins])
    p, w = random.random((400, columns)), random.random(400)
    t = random.random((400, columns)) if soft else (random.random((400, columns)) < p).astype(float)
    weight, probability, observed = sums_of_bins(p, t, w, bins)
    brier = float((w @ (p - t) ** 2).sum() / w.sum())
    found = brier_terms(brier, w.sum(), weight, probability, observed)
    assert found.reliability - found.resolution + found.uncertainty + found.within == (
        pytest.approx(brier, rel=1e-13)
    )
    # Every term by its own definition, row by row.
    at = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    column = np.broadcast_to(np.arange(columns), p.shape)
    p_k, o_k = (one / np.maximum(weight, 1e-300) for one in (probability, observed))
    p_k, o_k, o = p_k[column, at], o_k[column, at], (w @ t) / w.sum()
    wanted = {
        "reliability": (p_k - o_k) ** 2,
        "resolution": (o_k - o) ** 2,
        "uncertainty": np.broadcast_to(o * (1 - o), p.shape),
        "within": (p - p_k) ** 2 - 2 * (p - p_k) * (t - o_k) - t * (1 - t),
    }
    for name, values in wanted.items():
        expected = (w @ values).sum() / w.sum()
        assert getattr(found, name) == pytest.approx(expected, rel=1e-10, abs=1e-13), name


def test_calibration_errors():
    random = np.random.default_rng(4)
    p, w = random.random((300, 3)), random.random(300)
    t = (random.random((300, 3)) < p**2).astype(float)
    found = calibration_error(*sums_of_bins(p, t, w, 10))
    for column in range(3):
        at, expected = np.clip(np.ceil(p[:, column] * 10).astype(int) - 1, 0, 9), 0.0
        for k in range(10):
            rows = at == k
            gap = np.average(p[rows, column], weights=w[rows])
            gap -= np.average(t[rows, column], weights=w[rows])
            expected += w[rows].sum() / w.sum() * abs(gap)
        assert found[column] == pytest.approx(expected, rel=1e-12)


def mass_error(tied, confidence, right, weight, bins):
    """By its definition; rows of one number in `tied` stay together."""
    _, at = np.unique(tied, return_inverse=True)
    mass = np.bincount(at, weight)
    before = np.concatenate([[0.0], np.cumsum(mass)[:-1]])
    which = np.floor(before / mass.sum() * bins)[at]
    gaps = [(weight * (confidence - right))[which == k].sum() for k in np.unique(which)]
    return np.abs(gaps).sum() / weight.sum()


@pytest.mark.parametrize("bins", [1, 4, 15])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("kind", ["even", "sure", "tied"])
def test_equal_mass(kind, exact, bins):
    random = np.random.default_rng(5)
    confidence = {
        "even": random.random(500),
        "sure": 1 - 10 ** -random.uniform(0, 9, 500),
        "tied": np.round(random.random(500), 1),
    }[kind].astype(np.float16 if exact else np.float64)
    right, weight = random.random(500) < confidence, random.random(500)
    scale = Halves("float16") if exact else PROBABILITIES
    spread = Histogram(scale, 2)
    spread.add(confidence, right.astype(int), weight)
    wrong_weights, right_weights = spread.weights()
    every = right_weights + wrong_weights
    lower, upper = (np.where(every > 0, bound, 0.0) for bound in scale.bounds)
    sums = [every * one for one in ((lower + upper) / 2, lower, upper)]
    found = equal_mass_error(right_weights, wrong_weights, sums, bins)
    tied, wide = scale.bins(confidence), confidence.astype(np.float64)
    expected = mass_error(tied, wide, right, weight, bins)
    assert found.lower - 1e-12 <= expected <= found.upper + 1e-12
    assert found.lower - 1e-12 <= found.value <= found.upper + 1e-12
    assert found.upper - found.lower < (1e-12 if exact else 2e-3)


def test_equal_mass_of_nothing():
    nothing = np.zeros(PROBABILITIES.size)
    assert np.isnan(equal_mass_error(nothing, nothing, 3 * [nothing], 5)).all()
