"""Rankings that are exact after a few passes: scikit-learn's figures, the same for any cut."""

import ml_dtypes
import numpy as np
import pytest

import lossgrad
from lossgrad import evaluate, exact_ranking
from lossgrad.evaluation.passes import exact

metrics = pytest.importorskip("sklearn.metrics")
FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


def data(kind, dtype=np.float64, rows=500):
    """(logits, targets) of the task, with scores of both signs, of every size and equal ones."""
    random = np.random.default_rng(len(kind))
    if kind == "multiclass":
        x, t = 3 * random.standard_normal((rows, 4)), random.integers(0, 4, rows)
    else:
        x = random.standard_normal((rows, 1 if kind == "binary" else 3))
        x *= 10.0 ** random.integers(-3, 3, x.shape)
        t = (random.random(x.shape) < lossgrad.sigmoid(x)).astype(int)
    x[::5] = np.round(x[::5])
    x[1], x[2] = 0.0, -0.0
    return x.astype(dtype), t


def task_of(kind):
    return "multiclass" if kind == "multiclass" else "binary"


@pytest.mark.parametrize(("dtype", "weighted"), [*zip(FLOATS, [True, False] * 2, strict=True)])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "labels"])
def test_figures_are_exact(kind, dtype, weighted):
    x, t = data(kind, dtype)
    weight = np.random.default_rng(3).random(len(x)) if weighted else None
    found = exact_ranking(x, t, task=task_of(kind), sample_weight=weight)
    wide = x.astype(np.float64)
    scores = lossgrad.softmax(wide) if kind == "multiclass" else wide
    positive = np.eye(4)[t] if kind == "multiclass" else t
    w = np.ones(len(x)) if weight is None else weight
    for k in range(scores.shape[1]):
        expected = metrics.roc_auc_score(positive[:, k], scores[:, k], sample_weight=weight)
        for bound in found.per_class.auroc:
            assert bound[k] == pytest.approx(expected, rel=1e-12)
    flat = positive.ravel(), scores.ravel(), np.repeat(w, scores.shape[1])
    fpr, tpr, _ = metrics.roc_curve(*flat[:2], sample_weight=flat[2])
    assert found.micro.auroc.value == pytest.approx(metrics.auc(fpr, tpr), rel=1e-12)
    assert found.micro.fpr95.value == pytest.approx(fpr[tpr >= 0.95].min(), rel=1e-12)
    assert found.micro.fpr95.lower == found.micro.fpr95.upper
    precision = found.micro.average_precision
    expected = metrics.average_precision_score(*flat[:2], sample_weight=flat[2])
    assert precision.lower - 1e-12 <= expected <= precision.upper + 1e-12
    rough = evaluate(x, t, task=task_of(kind), sample_weight=weight, figures=["ranking"])
    for name in ("auroc", "fpr95"):
        figure = getattr(rough.figures["ranking"].macro, name)
        assert figure.lower - 1e-12 <= getattr(found.macro, name).value <= figure.upper + 1e-12
    for x, y, threshold in zip(*vars(found.roc).values(), strict=True):
        chosen = scores.ravel() >= threshold
        assert y == pytest.approx(np.average(chosen, weights=flat[2] * positive.ravel()))
        assert x == pytest.approx(np.average(chosen, weights=flat[2] * (1 - positive.ravel())))


@pytest.mark.parametrize("kind", ["multiclass", "labels"])
def test_the_same_for_any_cut(kind, tmp_path):
    x, t = data(kind, np.float32)
    task = task_of(kind)
    expected = exact_ranking(x, t, task=task).to_dict()
    order = np.random.default_rng(4).permutation(len(x))
    pairs = [(x[part], t[part]) for part in np.array_split(order, 4)]
    how = {"task": task, "num_threads": 3}
    found = (
        exact_ranking(pairs, **how),
        exact_ranking(x, t, block_bytes=700, **how),
    )
    for one in found:
        np.testing.assert_equal(one.to_dict(), expected)


def test_few_cells_are_kept(monkeypatch):
    """However few there is room for; and bits that no score has take no pass."""
    passes = []
    x, t = data("binary", np.float32)
    expected = exact_ranking(x, t, task="binary", progress=lambda *_: passes.append(0)).micro
    assert len(passes) < 9
    monkeypatch.setattr(exact, "_CELLS", 4)
    found = exact_ranking(x, t, task="binary").micro
    assert (found.auroc, found.fpr95) == (expected.auroc, expected.fpr95)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("rows", [0, 3])
def test_one_class_only(target, rows):
    found = exact_ranking(np.ones((rows, 2)), np.full((rows, 2), target), task="binary")
    assert np.isnan(found.macro.auroc).all()
    assert np.isnan(found.micro.fpr95).all()


def test_infinite_scores_and_what_can_be_read_once():
    x, t = np.array([np.inf, 1.0, -np.inf, np.nan]), np.array([1, 0, 0, 1])
    found = exact_ranking(x, t, task="binary")
    assert found.micro.auroc == (1, 1, 1)
    with pytest.raises(TypeError, match="read once only"):
        exact_ranking(iter([(x, t)]), task="binary")
