"""Figures that are exact after a few passes: those of peers, the same for any cut."""

import ml_dtypes
import numpy as np
import pytest

import lossgrad
from lossgrad import evaluate
from lossgrad.evaluation.comparison.results import QUANTILES
from lossgrad.evaluation.grouped import Grouped
from lossgrad.evaluation.pairs import pair_statistics
from lossgrad.evaluation.parts.quantiles import AT
from lossgrad.evaluation.passes import cells

metrics = pytest.importorskip("sklearn.metrics")
FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
FIGURES = ["ranking", "selection", "quantiles", "calibration"]


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


def exactly(x, t, **how):
    return evaluate(x, t, figures=FIGURES, exact=True, **how).figures


# How many rows are listed, and not split first, into how many bits of cells, and first of all: a
# pass takes time for each of these, so that splitting is asked with few; with as many as there are,
# further down.
AT_ONCE, SPLIT = (1 << 20, 20, 16), (40, 14, 10)


def list_up_to(limits, monkeypatch):
    for name, limit in zip(("_LISTED", "_CELLS", "_FIRST"), limits, strict=True):
        monkeypatch.setattr(cells, name, limit)


@pytest.fixture(params=[AT_ONCE, SPLIT])
def few_are_listed(request, monkeypatch):
    list_up_to(request.param, monkeypatch)


# The other two are asked of rankings and of groups.
weights_and_lists = pytest.mark.parametrize(
    ("weighted", "few_are_listed"),
    [(False, AT_ONCE), (True, SPLIT)],
    indirect=["few_are_listed"],
)


def of_peer(positive, scores, weight):
    fpr, tpr, _ = metrics.roc_curve(positive, scores, sample_weight=weight)
    return {
        "auroc": metrics.auc(fpr, tpr),
        "average_precision": metrics.average_precision_score(
            positive, scores, sample_weight=weight
        ),
        "fpr95": fpr[tpr >= 0.95].min(),
    }


def risk(confidence, right, weight):
    """The mean over rows of what is wrong among those of their confidence or more."""
    found = 0.0
    for own, w in zip(confidence, weight, strict=True):
        some = confidence >= own
        found += w * (weight * ~right)[some].sum() / weight[some].sum()
    return found / weight.sum()


# Of each kind all dtypes; with weights and without, each once at once and once split.
LISTED = [AT_ONCE, AT_ONCE, SPLIT, SPLIT]
WAYS = [*zip(FLOATS, [True, False] * 2, LISTED, strict=True)]


@pytest.mark.parametrize(("dtype", "weighted", "few_are_listed"), WAYS, indirect=["few_are_listed"])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "labels"])
@pytest.mark.usefixtures("few_are_listed")
def test_rankings(kind, dtype, weighted):
    x, t = data(kind, dtype)
    weight = np.random.default_rng(3).random(len(x)) if weighted else None
    found = exactly(x, t, task=task_of(kind), sample_weight=weight)["ranking"]
    wide = x.astype(np.float64)
    scores = lossgrad.softmax(wide) if kind == "multiclass" else wide
    positive = np.eye(4)[t] if kind == "multiclass" else t
    for k in range(scores.shape[1]):
        for name, expected in of_peer(positive[:, k], scores[:, k], weight).items():
            for bound in getattr(found.per_class, name):
                assert bound[k] == pytest.approx(expected, rel=1e-12)
    w = np.repeat(np.ones(len(x)) if weight is None else weight, scores.shape[1])
    for name, expected in of_peer(positive.ravel(), scores.ravel(), w).items():
        for bound in getattr(found.micro, name):
            assert bound == pytest.approx(expected, rel=1e-12)
    rough = evaluate(x, t, task=task_of(kind), sample_weight=weight, figures=FIGURES)
    for name in ("auroc", "average_precision", "fpr95"):
        figure = getattr(rough.figures["ranking"].macro, name)
        assert figure.lower - 1e-12 <= getattr(found.macro, name).value <= figure.upper + 1e-12
    fpr, tpr, thresholds = vars(found.roc).values()
    chosen = scores.ravel() >= np.asarray(thresholds)[:, np.newaxis]
    for rates, true in ((tpr, positive.ravel()), (fpr, 1 - positive.ravel())):
        np.testing.assert_allclose(rates, chosen @ (w * true) / (w * true).sum(), 1e-9)


@pytest.mark.usefixtures("few_are_listed")
@weights_and_lists
@pytest.mark.parametrize("kind", ["multiclass", "labels"])
def test_selections_and_quantiles(kind, weighted):
    x, t = data(kind)
    weight = np.random.default_rng(3).integers(0, 4, len(x)) if weighted else np.ones(len(x), int)
    found = exactly(x, t, task=task_of(kind), sample_weight=weight)
    if kind == "multiclass":
        p = lossgrad.softmax(x)
        confidence, right = p.max(axis=1), x.argmax(axis=1) == t
        sure, losses = confidence, lossgrad.cross_entropy(x, t, reduction="none")
        entropy, brier = lossgrad.entropy(p), ((p - np.eye(4)[t]) ** 2).sum(axis=1)
        before = np.arange(4) < t[:, np.newaxis]
        own = x[np.arange(len(x)), t][:, np.newaxis]
        rank = ((x > own) | ((x == own) & before)).sum(axis=1)
    else:
        confidence, right = lossgrad.sigmoid(x).ravel(), ((x > 0) == (t > 0)).ravel()
        sure = np.maximum(confidence, 1 - confidence)
        losses = lossgrad.binary_cross_entropy_with_logits(x, t.astype(float), reduction="none")
        entropy = lossgrad.entropy(np.stack([confidence, 1 - confidence]), axis=0)
        brier, rank = (confidence - t.ravel()) ** 2, None
    w = np.repeat(weight, len(right) // len(x)).astype(float)
    expected = {"aurc": risk(sure, right, w)}
    fpr, tpr, _ = metrics.roc_curve(right, sure, sample_weight=w)
    expected |= {"auroc": metrics.auc(fpr, tpr), "fpr95": fpr[tpr >= 0.95].min()}
    for name, wanted in expected.items():
        for bound in getattr(found["selection"], name):
            assert bound == pytest.approx(wanted, rel=1e-12)
    repeated = {"loss": losses.ravel(), "confidence": confidence, "entropy": entropy}
    repeated |= {"brier": brier} | ({} if rank is None else {"rank": rank})
    assert bool(found["quantiles"].rank.weight.size) == (rank is not None)
    for name, values in repeated.items():
        for q in AT:
            wanted = np.quantile(np.repeat(values, w.astype(int)), q, method="inverted_cdf")
            bounds = getattr(found["quantiles"], name).quantile(q)
            assert bounds.lower == bounds.value == bounds.upper
            assert bounds.value == pytest.approx(wanted, rel=1e-12)
        between = getattr(found["quantiles"], name).quantile(0.37)
        wanted = np.quantile(np.repeat(values, w.astype(int)), 0.37, method="inverted_cdf")
        assert between.lower * (1 - 1e-12) <= wanted <= between.upper * (1 + 1e-12)


@pytest.mark.usefixtures("few_are_listed")
@pytest.mark.parametrize("labelled", [False, True])
def test_comparisons(labelled):
    random = np.random.default_rng(5)
    base = 2 * random.standard_normal((400, 6))
    other, weight = base + 0.1 * random.standard_normal(base.shape), random.integers(0, 3, 400)
    other[:40] = base[:40]
    targets = random.integers(0, 6, 400) if labelled else None
    how = {"sample_weight": weight, "clusters": np.arange(400) // 7, "figures": ["quantiles"]}
    found = lossgrad.compare(base, other, targets, exact=True, **how)
    rows = pair_statistics(base, other, targets, top_k=1, ignore_index=-100, num_threads=1)
    of_labels = ["loss_difference", "base_loss", "other_loss"] * labelled
    for name in ["kl", "kl_reverse", "js", *of_labels]:
        for q in QUANTILES:
            wanted = np.quantile(np.repeat(getattr(rows, name), weight), q, method="inverted_cdf")
            assert found.quantile(name, q) == (wanted, wanted, wanted)
    rough = lossgrad.compare(base, other, targets, **how).to_dict()
    same = found.to_dict()
    assert rough.pop("quantiles") != same.pop("quantiles")
    assert rough == same


def equal_mass(confidence, right, weight, bins=15):
    """The expected error over bins that end at scores, each of a part of the weight."""
    scores, at = np.unique(confidence, return_inverse=True)
    each = np.bincount(at, weight, len(scores))
    before = np.concatenate([[0.0], np.cumsum(each)[:-1]])
    which = np.floor(before * bins / each.sum())[at]
    gaps = [(weight * (confidence - right))[which == k].sum() for k in range(bins)]
    return np.abs(gaps).sum() / weight.sum()


@pytest.mark.usefixtures("few_are_listed")
@weights_and_lists
@pytest.mark.parametrize("kind", ["multiclass", "labels", "soft"])
def test_bins_of_equal_mass(kind, weighted):
    x, t = data("multiclass" if kind == "multiclass" else "labels", rows=2000)
    random = np.random.default_rng(9)
    weight = random.random(len(x)) if weighted else None
    if kind == "multiclass":
        confidence, right = lossgrad.softmax(x).max(axis=1), x.argmax(axis=1) == t
    else:
        t = random.random(t.shape) if kind == "soft" else t
        confidence, right = lossgrad.sigmoid(x).ravel(), t.ravel()
    w = np.ones(len(x)) if weight is None else weight
    expected = equal_mass(confidence, right, np.repeat(w, len(right) // len(x)))
    how = {"task": task_of(kind), "sample_weight": weight, "figures": ["calibration"]}
    found = evaluate(x, t, exact=True, **how).figures["calibration"]
    assert found.equal_mass == pytest.approx((expected,) * 3, rel=1e-11)
    rough = evaluate(x, t, **how).figures["calibration"]
    assert (found.brier, found.classwise_mean) == (rough.brier, rough.classwise_mean)


def numbers(figures):
    """All numbers of a figure, but for the points of its curves, and the names they have."""
    if not isinstance(figures, dict):
        return {"": np.asarray(figures, float)}
    curves = "roc", "risk_coverage"
    inside = {name: numbers(one) for name, one in figures.items() if name not in curves}
    return {f"{a} {b}": one for a, found in inside.items() for b, one in found.items()}


def keys_of(rows, text):
    """Groups of many rows, of few, and one of rows that have no loss."""
    keys = np.random.default_rng(8).choice(4, rows, p=[0.5, 0.4, 0.08, 0.02])
    return np.array(["north", "south", "east", "west"])[keys] if text else keys


@pytest.mark.parametrize(
    ("kind", "weighted", "listed"),
    [
        ("multiclass", False, AT_ONCE),
        ("multiclass", True, SPLIT),
        ("binary", False, SPLIT),
        ("binary", True, AT_ONCE),
        ("labels", False, AT_ONCE),
        ("labels", True, SPLIT),
    ],
)
def test_each_group_is_what_its_rows_are(kind, weighted, listed, monkeypatch):
    x, t = data(kind)
    keys = keys_of(len(x), text=weighted)
    x[keys == np.unique(keys)[-1]] = np.nan
    weight = np.random.default_rng(3).integers(0, 3, len(x)) if weighted else None
    how = {"task": task_of(kind), "figures": FIGURES}
    with monkeypatch.context() as patch:  # of the groups: what is compared with them is quick
        list_up_to((*listed[:2], SPLIT[2]), patch)
        found = evaluate(x, t, exact=True, groups=keys, sample_weight=weight, **how)
    assert len(found.groups) == 4
    monkeypatch.setattr(cells, "_FIRST", 8)
    for key, one in [(None, found), *found.groups.items()]:
        rows = slice(None) if key is None else keys == key
        s = None if weight is None else weight[rows]
        alone = evaluate(x[rows], t[rows], exact=True, sample_weight=s, **how)
        assert (one.terms, one.loss) == pytest.approx((alone.terms, alone.loss), nan_ok=True)
        for name in FIGURES:
            expected = numbers(alone.to_dict()[name])
            for path, values in numbers(one.to_dict()[name]).items():
                np.testing.assert_allclose(values, expected[path], rtol=1e-12, err_msg=path)


@pytest.mark.usefixtures("few_are_listed")
def test_groups_of_comparisons():
    random = np.random.default_rng(5)
    base = 2 * random.standard_normal((400, 6)).astype(np.float32)
    other, targets = base + random.standard_normal(base.shape), random.integers(0, 6, 400)
    keys = keys_of(400, text=True)
    targets[keys == "west"] = -100
    found = lossgrad.compare(base, other, targets, groups=keys, exact=True)
    how = {"groups": keys, "exact": True, "num_threads": 2, "block_bytes": 600}
    assert lossgrad.compare(base, other, targets, **how) == found
    for key, one in found.groups.items():
        rows = keys == key
        alone = lossgrad.compare(base[rows], other[rows], targets[rows], exact=True)
        assert one == alone


@pytest.mark.parametrize("score", ["energy", "logit", "probability", "entropy"])
def test_rows_from_elsewhere(score):
    random = np.random.default_rng(6)
    inside, outside = 3 * random.standard_normal((200, 5)), random.standard_normal((150, 5))
    found = lossgrad.out_of_distribution(inside, outside, score=score, exact=True)
    rough = lossgrad.out_of_distribution(inside, outside, score=score)
    assert (found.inside, found.outside, found.score) == (200, 150, score)
    x = np.concatenate([inside, outside])
    values = {
        "energy": lossgrad.logsumexp(x),
        "logit": x.max(axis=1),
        "probability": lossgrad.softmax(x).max(axis=1),
        "entropy": -lossgrad.entropy(lossgrad.softmax(x)),
    }[score]
    for name, wanted in of_peer(np.arange(350) < 200, values, None).items():
        figure, between = getattr(found.ranks, name), getattr(rough.ranks, name)
        assert figure.lower == figure.upper == pytest.approx(wanted, rel=1e-9)
        assert between.lower - 1e-9 <= figure.value <= between.upper + 1e-9


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "labels"])
def test_the_same_for_any_cut(kind, grouped, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_FIRST", 8)
    x, t = data(kind, np.float32)
    how = {"task": task_of(kind), "figures": FIGURES, "exact": True}
    keys = keys_of(len(x), text=True)
    expected = evaluate(x, t, **how, groups=keys if grouped else None)
    order = np.random.default_rng(4).permutation(len(x))
    parts = np.array_split(order, 4)
    arrays = {"logits": x, "targets": t, **({"groups": keys} if grouped else {})}
    blocks = [{use: array[part] for use, array in arrays.items()} for part in parts]
    for k, block in enumerate(blocks):
        np.savez(tmp_path / f"{k}.npz", **block)
    how["num_threads"] = 3
    assert evaluate(x, t, block_bytes=700, groups=arrays.get("groups"), **how) == expected
    state = lossgrad.Evaluation(how["task"], figures=FIGURES)
    state = Grouped(state) if grouped else state
    assert evaluate(blocks, exact=True, num_threads=3, state=state) == expected
    how["groups"] = "groups" if grouped else None
    assert evaluate(str(tmp_path / "*.npz"), **how) == expected


def test_few_passes_and_few_cells(monkeypatch):
    """Two passes where few rows share a cell; and however few cells there is room for."""
    passes = []
    x, t = data("binary", np.float32)
    how = {"task": "binary", "figures": ["ranking"], "exact": True}
    expected = evaluate(x, t, progress=lambda *_: passes.append(0), **how)
    assert len(passes) == 3
    first = cells._FIRST
    for limits in ((0, 4, first), (40, cells._CELLS, first)):
        list_up_to(limits, monkeypatch)
        found = evaluate(x, t, **how)
        assert found.figures["ranking"].micro == expected.figures["ranking"].micro


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("rows", [0, 3])
def test_one_class_only(target, rows):
    found = exactly(np.ones((rows, 2)), np.full((rows, 2), target), task="binary")
    assert np.isnan(found["ranking"].macro.auroc).all()
    assert np.isnan(found["ranking"].micro.fpr95).all()


def test_infinite_scores():
    x, t = np.array([np.inf, 1.0, -np.inf, np.nan]), np.array([1, 0, 0, 1])
    found = exactly(x, t, task="binary")
    assert found["ranking"].micro.auroc == (1, 1, 1)
    loss = exactly(np.array([[0.0, -np.inf], [0.0, 1.0]]), [1, 0])["quantiles"].loss
    assert loss.quantile(1.0) == (np.inf,) * 3


def test_what_cannot_be_exact():
    x, t = data("binary")
    with pytest.raises(TypeError, match="read once only"):
        evaluate(iter([(x, t)]), task="binary", exact=True)
    state = lossgrad.Evaluation("binary")
    state.update(x, t)
    with pytest.raises(ValueError, match="the state has others"):
        evaluate(x, t, exact=True, state=state)
