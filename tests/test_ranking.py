"""Figures of a ranking against scikit-learn, and bounds that hold whatever the order in a bin."""

import ml_dtypes
import numpy as np
import pytest

from lossgrad.evaluation.histogram import LOGITS, Halves, Histogram, Magnitudes, Signed
from lossgrad.evaluation.ranking import Ranked, over_groups

metrics = pytest.importorskip("sklearn.metrics")
COARSE = Signed(Magnitudes(-2, 4, 1))


def ranked(scale, scores, positive, weight=None):
    """The two histograms, and what they rank."""
    found = Histogram(scale, 2)
    found.add(scores, positive.astype(int), weight)
    weights = found.weights()
    return Ranked.of(scale, weights[1:], weights[:1])


def fpr_at(positive, scores, weight, tpr=0.95):
    x, y, _ = metrics.roc_curve(positive, scores, sample_weight=weight, drop_intermediate=False)
    return x[y >= tpr].min()


def aurc(right, scores, weight):
    """By its definition, score by score."""
    w = np.ones(len(scores)) if weight is None else weight
    risks = [(w * ~right)[scores >= s].sum() / w[scores >= s].sum() for s in scores]
    return float(np.average(risks, weights=w))


DEFINITIONS = {
    "auroc": lambda y, x, w: metrics.roc_auc_score(y, x, sample_weight=w),
    "average_precision": lambda y, x, w: metrics.average_precision_score(y, x, sample_weight=w),
    "fpr_at": fpr_at,
    "aurc": aurc,
}


def data(kind, weighted, seed=0, size=700):
    """(scores, which are positive, weights)"""
    random = np.random.default_rng([seed, len(kind)])
    positive = random.random(size) < {"rare": 0.02, "common": 0.9}.get(kind, 0.4)
    scores = random.standard_normal(size) * 3 + 2 * positive
    if kind == "tied":
        scores = np.round(scores)
    if kind == "separable":
        scores = np.where(positive, np.abs(scores) + 1, -np.abs(scores))
    if kind == "far":
        scores *= 1e6
    return scores, positive, random.random(size) if weighted else None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["usual", "rare", "common", "tied", "separable", "far"])
@pytest.mark.parametrize("figure", DEFINITIONS)
@pytest.mark.parametrize("scale", ["float16", "bfloat16", "wide", "coarse"])
def test_bounds_hold_and_close_where_scores_are_exact(scale, figure, kind, weighted):
    scores, positive, weight = data(kind, weighted)
    dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}.get(scale, np.float32)
    most = 6e4 if scale == "float16" else 1e9
    scores = np.clip(scores, -most, most).astype(dtype)
    cut = {"wide": LOGITS, "coarse": COARSE}.get(scale) or Halves(scale)
    expected = DEFINITIONS[figure](positive, scores.astype(np.float64), weight)
    found = getattr(ranked(cut, scores, positive, weight), figure)()
    lower, value, upper = (float(one[0]) for one in (found.lower, found.value, found.upper))
    assert lower <= value <= upper
    assert lower - 1e-12 <= expected <= upper + 1e-12
    if cut.exact:
        assert lower == upper == pytest.approx(expected, rel=1e-12, abs=1e-15)
    elif scale == "wide" and kind not in ("far", "tied"):
        assert upper - lower < {"rare": 0.1, "separable": 0.02}.get(kind, 0.015)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("figure", DEFINITIONS)
def test_bounds_hold_in_the_worst_and_best_order(figure, seed):
    """All in few bins; positives first, last or at random within each, with and without ties."""
    random = np.random.default_rng(seed)
    size = int(random.integers(2, 40))
    positive = random.random(size) < random.random()
    positive[:2] = True, False
    bins = random.integers(1, 4, size).astype(np.float64)
    weight = random.random(size) if seed % 2 else None
    order = [positive, ~positive, random.random(size), np.round(random.random(size)), 0.0][seed % 5]
    scores = bins + 0.2 * order + (0.01 * random.random(size) if seed % 3 else 0.0)
    found = getattr(ranked(Signed(Magnitudes(0, 3, 1)), scores, positive, weight), figure)()
    expected = DEFINITIONS[figure](positive, scores, weight)
    assert found.lower[0] - 1e-12 <= expected <= found.upper[0] + 1e-12


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("positive", [True, False])
def test_one_class_only(size, positive):
    found = ranked(LOGITS, np.linspace(-1, 2, size), np.full(size, positive))
    assert np.isnan(found.auroc()).all()
    assert np.isnan(found.fpr_at()).all()
    wanted = {True: 1.0, False: np.nan}[positive and size > 0]
    np.testing.assert_array_equal(np.ravel(found.average_precision()), [wanted] * 3)
    risk = np.nan if size == 0 else 0.0 if positive else 1.0
    np.testing.assert_array_equal(np.ravel(found.aurc()), [risk] * 3)


def test_no_weight_is_no_row():
    scores, positive, _ = data("usual", False)
    weight = np.repeat([1.0, 0.0], 350)
    whole, half = (
        ranked(LOGITS, *rows)
        for rows in ((scores, positive, weight), (scores[:350], positive[:350]))
    )
    for figure in DEFINITIONS:
        assert getattr(whole, figure)() == getattr(half, figure)()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_points_of_the_roc_curve(dtype):
    scores, positive, weight = data("usual", True)
    scores = scores.astype(dtype)
    cut = Halves("float16") if dtype == np.float16 else LOGITS
    curve = ranked(cut, scores, positive, weight).roc(points=10**6)
    assert (curve.x[0], curve.y[0], curve.threshold[0]) == (0, 0, np.inf)
    assert (curve.x[-1], curve.y[-1]) == (pytest.approx(1), pytest.approx(1))
    for x, y, threshold in zip(curve.x, curve.y, curve.threshold, strict=True):
        chosen = scores >= threshold
        assert x == pytest.approx(weight[chosen & ~positive].sum() / weight[~positive].sum())
        assert y == pytest.approx(weight[chosen & positive].sum() / weight[positive].sum())
    few = ranked(cut, scores, positive, weight).roc(points=20)
    assert 15 <= len(few.x) <= 23
    assert set(few.threshold) <= set(curve.threshold)
    assert few.threshold[-1] == curve.threshold[-1]


def test_points_of_risk_and_coverage():
    scores, right, weight = data("common", True)
    curve = ranked(LOGITS, scores, right, weight).risk_coverage(points=50)
    assert 40 <= len(curve.x) <= 52
    assert curve.x[-1] == pytest.approx(1)
    for coverage, risk, threshold in zip(curve.x, curve.y, curve.threshold, strict=True):
        chosen = scores >= threshold
        assert coverage == pytest.approx(weight[chosen].sum() / weight.sum())
        assert risk == pytest.approx(weight[chosen & ~right].sum() / weight[chosen].sum())


def test_macro_is_over_labels_that_have_both():
    scores, positive, _ = data("usual", False)
    found = Histogram(LOGITS, 6)
    for label, chosen in enumerate([positive, ~positive, np.zeros(700, bool)]):
        found.add(scores, 2 * label + chosen)
    weights = found.weights()
    figure = Ranked.of(LOGITS, weights[1::2], weights[::2]).auroc()
    assert figure.value[0] + figure.value[1] == pytest.approx(1)
    assert over_groups(figure) == pytest.approx((0.5, 0.5, 0.5), abs=1e-3)
    assert np.isnan(over_groups(Ranked.of(LOGITS, weights[5:], weights[4:5]).auroc())).all()
