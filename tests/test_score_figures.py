"""Ranking, selection, quantiles and calibration of an evaluation, by their definitions: against
scikit-learn and float64, and the same bytes for any sharding."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from conftest import trials

import lossgrad
from lossgrad import Evaluation, InputError, evaluate
from lossgrad.evaluation.parts.calibration import BINS
from lossgrad.evaluation.parts.ranking import MOST

metrics = pytest.importorskip("sklearn.metrics")
FIGURES = ("calibration", "quantiles", "ranking", "selection")
TASKS = ("multiclass", "binary", "labels")
FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


def data(kind, dtype=np.float64, weighted=True, rows=400):
    """(task, logits, targets, weights), with rows that are left out and ties."""
    random = np.random.default_rng([TASKS.index(kind), rows])
    columns = 1 if kind == "binary" else 4
    targets = (random.random((rows, columns)) < 0.3).astype(int)
    if kind == "multiclass":
        labels = random.integers(0, columns, rows)
        targets = np.eye(columns, dtype=int)[labels]
    logits = (2.0 * random.standard_normal((rows, columns)) + targets).astype(dtype)
    logits[rows // 2 :: 7] = logits[: len(logits[rows // 2 :: 7])]  # ties
    weight = random.random(rows) * (random.random(rows) > 0.1) if weighted else None
    if kind == "multiclass":
        return "multiclass", logits, labels, weight
    return "binary", logits, targets, weight


def kept(task, logits, targets, weight):
    """Scores, positives and weights by label, and the probabilities, in float64."""
    x = logits.astype(np.float64)
    weight = np.ones(len(x)) if weight is None else weight
    if task == "multiclass":
        p = lossgrad.softmax(x)
        return p, np.eye(x.shape[1])[targets], weight, p
    return x, targets.astype(float), weight, lossgrad.sigmoid(x)


def between(found, expected, slack=1e-12):
    assert found.lower <= found.value <= found.upper
    assert found.lower - slack <= expected <= found.upper + slack


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", TASKS)
def test_ranking(kind, dtype, weighted):
    task, x, t, w = data(kind, dtype, weighted)
    found = evaluate(x, t, task=task, sample_weight=w, figures=["ranking"]).figures["ranking"]
    scores, positive, weight, _ = kept(task, x, t, w)
    flat = np.repeat(weight, scores.shape[1])
    for name, score in (
        ("auroc", metrics.roc_auc_score),
        ("average_precision", metrics.average_precision_score),
    ):
        by_class = [
            score(positive[:, k], scores[:, k], sample_weight=weight)
            for k in range(scores.shape[1])
        ]
        figure = getattr(found.per_class, name)
        for k, expected in enumerate(by_class):
            between(type(figure)(*(one[k] for one in figure)), expected)
        between(getattr(found.macro, name), np.mean(by_class))
        micro = score(positive.ravel(), scores.ravel(), sample_weight=flat)
        between(getattr(found.micro, name), micro)
        figure = getattr(found.macro, name)
        if task == "binary" and x.itemsize == 2:  # every number has its own bin
            assert getattr(found.micro, name).value == pytest.approx(micro, rel=1e-12)
            assert figure.value == figure.lower == figure.upper
        assert figure.upper - figure.lower < 0.02
    fpr, tpr, _ = metrics.roc_curve(positive.ravel(), scores.ravel(), sample_weight=flat)
    between(found.micro.fpr95, fpr[tpr >= 0.95].min())
    assert (np.diff(found.roc.x) >= 0).all()
    assert (np.diff(found.roc.y) >= 0).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", TASKS)
def test_selection(kind, weighted):
    task, x, t, w = data(kind, weighted=weighted)
    found = evaluate(x, t, task=task, sample_weight=w, figures=["selection"]).figures["selection"]
    _, positive, weight, p = kept(task, x, t, w)
    if task == "multiclass":
        sure, right = p.max(axis=1), p.argmax(axis=1) == t
    else:
        sure, right = np.maximum(p, 1 - p).ravel(), ((p > 0.5) == positive).ravel()
        weight = np.repeat(weight, p.shape[1])
    risks = [ratio((weight * ~right)[sure >= s].sum(), weight[sure >= s].sum()) for s in sure]
    between(found.aurc, np.average(risks, weights=weight), 1e-9)
    between(found.auroc, metrics.roc_auc_score(right, sure, sample_weight=weight), 1e-9)
    assert found.aurc.upper - found.aurc.lower < 0.01
    assert found.risk_coverage.x[-1] == pytest.approx(1)
    assert found.risk_coverage.y[-1] == pytest.approx(np.average(~right, weights=weight))


def ratio(a, b):
    return a / b if b else 0.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", TASKS)
def test_quantiles(kind, weighted):
    task, x, t, w = data(kind, weighted=weighted)
    found = evaluate(x, t, task=task, sample_weight=w, figures=["quantiles"]).figures["quantiles"]
    _, _, weight, p = kept(task, x, t, w)
    logs = np.log(p)
    if task == "multiclass":
        terms = {
            "loss": -logs[np.arange(len(x)), t],
            "confidence": p.max(axis=1),
            "entropy": -(p * logs).sum(axis=1),
        }
    else:
        weight = np.repeat(weight, p.shape[1])
        terms = {
            "loss": -np.log(np.where(t, p, 1 - p)).ravel(),
            "confidence": p.ravel(),
            "entropy": -(p * logs + (1 - p) * np.log1p(-p)).ravel(),
        }
    for name, values in terms.items():
        for q in (0.03, 0.5, 0.99):
            expected = np.quantile(values, q, weights=weight, method="inverted_cdf")
            between(getattr(found, name).quantile(q), expected, 1e-9)
            assert getattr(found, name).quantile(q).value == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", TASKS)
def test_calibration(kind, weighted):
    task, x, t, w = data(kind, weighted=weighted)
    result = evaluate(x, t, task=task, sample_weight=w, figures=["calibration"])
    found = result.figures["calibration"]
    _, true, weight, p = kept(task, x, t, w)
    at = np.clip(np.ceil(p * BINS).astype(int) - 1, 0, BINS - 1)
    expected = []
    for column in range(p.shape[1]):
        gaps = weight * (p[:, column] - true[:, column])
        by_bin = np.bincount(at[:, column], gaps, BINS)
        expected.append(np.abs(by_bin).sum() / weight.sum())
    np.testing.assert_allclose(found.classwise, expected, rtol=1e-9)
    assert found.classwise_mean == pytest.approx(np.mean(expected), rel=1e-9)
    terms = found.brier
    assert terms.reliability - terms.resolution + terms.uncertainty + terms.within == (
        pytest.approx(result.brier, rel=1e-12)
    )
    base = np.average(true, axis=0, weights=weight)
    uncertainty = (base * (1 - base)).sum() if task == "multiclass" else (base * (1 - base)).mean()
    assert terms.uncertainty == pytest.approx(uncertainty, rel=1e-9)
    assert 0 < found.equal_mass.lower <= found.equal_mass.value <= found.equal_mass.upper
    assert found.equal_mass.upper - found.equal_mass.lower < 2e-3
    assert found.equal_mass.value == pytest.approx(result.ece, abs=0.05)


# The scores of classes are probabilities, of narrow logits and of wide ones alike.
SHARDED = [
    (kind, dtype, dtype in FLOATS[::2])
    for kind in TASKS
    for dtype in (FLOATS[::3] if kind == "multiclass" else FLOATS)
]


@trials(1, 1000)
@pytest.mark.parametrize(("kind", "dtype", "weighted"), SHARDED)
def test_shardings_give_the_same_bytes(kind, dtype, weighted, trials):
    task, x, t, w = data(kind, dtype, weighted, rows=150)
    random = np.random.default_rng(9)
    whole = Evaluation(task, figures=FIGURES)
    whole.update(x, t, w)
    expected = whole.to_bytes()
    for _ in range(trials):
        merged = Evaluation(task, figures=FIGURES)
        for part in np.split(random.permutation(150), np.sort(random.integers(1, 150, 3))):
            shard = Evaluation(task, figures=FIGURES)
            shard.update(x[part], t[part], w[part] if weighted else None)
            shard.merge(merged)
            merged = Evaluation.from_bytes(shard.to_bytes())
        assert merged.to_bytes() == expected
    threads = Evaluation(task, figures=FIGURES)
    evaluate(x, t, sample_weight=w, state=threads, num_threads=3, block_bytes=900)
    assert threads.to_bytes() == expected
    result = whole.result()
    assert result == merged.result()
    plain = result.to_dict()
    json.dumps(plain, allow_nan=False)
    assert set(FIGURES) <= plain.keys()


@pytest.mark.parametrize("target", [0, 1])
def test_one_class_only(target):
    x = np.random.default_rng(3).standard_normal((30, 1))
    result = evaluate(x, np.full((30, 1), target), task="binary", figures=FIGURES)
    ranking = result.figures["ranking"]
    assert np.isnan(ranking.macro.auroc).all()
    assert np.isnan(ranking.micro.fpr95).all()
    assert result.figures["calibration"].brier.uncertainty == 0
    assert len(ranking.lines()) == 3
    found = evaluate(np.eye(3)[[0, 0, 0]], [0, 0, 0], figures=FIGURES).figures
    assert np.isnan(found["ranking"].macro.auroc).all()
    assert found["selection"].aurc == (0, 0, 0)
    assert np.isnan(found["selection"].auroc).all()


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_nothing(task):
    state = Evaluation(task, figures=FIGURES)
    assert Evaluation.from_bytes(state.to_bytes()) == state
    targets = np.full(3, -100) if task == "multiclass" else np.zeros((3, 2))
    state.update(np.full((3, 2), np.nan), targets)
    again = Evaluation.from_bytes(state.to_bytes())
    assert again.result() == state.result()
    figures = state.result().figures
    for figure in (figures["ranking"].micro.auroc, figures["selection"].aurc):
        assert np.isnan(figure).all()
    assert np.isnan(figures["calibration"].equal_mass).all()
    assert np.isnan(figures["quantiles"].loss.quantile(0.5)).all()
    for figure in figures.values():
        assert all(isinstance(text, str) for line in figure.lines() for text in line)


def test_kinds_of_scores_do_not_mix():
    state = Evaluation("binary", figures=["ranking"])
    state.update(np.ones((3, 2), np.float16), np.ones((3, 2)))
    with pytest.raises(InputError, match="wide scores do not rank with float16 ones before them"):
        state.update(np.ones((3, 2), np.float32), np.ones((3, 2)))
    other = Evaluation("binary", figures=["ranking"])
    other.update(np.ones((3, 2), ml_dtypes.bfloat16), np.ones((3, 2)))
    with pytest.raises(ValueError, match="bfloat16 scores do not rank with float16 ones"):
        state.merge(other)


@pytest.mark.parametrize("labels", [17, 100, MOST])
def test_of_more_labels_bins_are_wider(labels):
    random = np.random.default_rng(4)
    x = random.standard_normal((40, labels)).astype(np.float16)
    t = (random.random(x.shape) < 0.5).astype(int)
    state = Evaluation("binary", figures=["ranking"])
    state.update(x, t)
    assert len(state.to_bytes()) < 18 << 20
    found = state.result().figures["ranking"]
    between(found.micro.auroc, metrics.roc_auc_score(t.ravel(), x.astype(float).ravel()))
    assert found.micro.auroc.upper - found.micro.auroc.lower < 0.05
    if labels == MOST:
        with pytest.raises(
            InputError, match=f"ranking is for up to {MOST} classes, not {MOST + 1}"
        ):
            evaluate(np.ones((1, MOST + 1)), [0], figures=["ranking"])
        wide = evaluate(np.eye(MOST + 1)[:5], np.arange(5), figures=["calibration"])
        assert np.isnan(wide.figures["calibration"].classwise_mean)


@pytest.mark.parametrize("figure", FIGURES)
def test_damage_is_an_error_or_another_state(figure):
    state = Evaluation(figures=[figure])
    state.update(np.eye(3), [0, 1, 1])
    (part,) = state._parts.values()
    data = part.to_bytes()
    random = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(data)
        for place in random.choice([*range(40), *range(len(data) - 40, len(data))], 3):
            damaged[place] = random.integers(256)
        new = type(part)("multiclass")
        try:
            new.restore(memoryview(damaged))
        except (ValueError, LookupError, struct.error):
            continue
        new.result().to_dict()
    with pytest.raises((ValueError, LookupError)):
        type(part)("multiclass").restore(memoryview(data[: len(data) // 2]))


def test_agreement_beyond_chance():
    for kind in TASKS:
        task, x, t, w = data(kind)
        result = evaluate(x, t, task=task, sample_weight=w)
        _, positive, weight, p = kept(task, x, t, w)
        labels, predicted = t, p.argmax(axis=1)
        if task == "binary":
            labels, predicted = positive.ravel(), (p > 0.5).ravel()
            weight = np.repeat(weight, p.shape[1])
        for name, score in (
            ("matthews_corrcoef", metrics.matthews_corrcoef),
            ("cohen_kappa", metrics.cohen_kappa_score),
            ("balanced_accuracy", metrics.balanced_accuracy_score),
        ):
            expected = score(labels, predicted, sample_weight=weight)
            assert getattr(result, name) == pytest.approx(expected, rel=1e-12)
            assert result.to_dict()[name] == getattr(result, name)
    nothing = evaluate(np.ones((0, 3)), np.ones(0, int))
    assert np.isnan(
        [nothing.matthews_corrcoef, nothing.cohen_kappa, nothing.balanced_accuracy]
    ).all()
