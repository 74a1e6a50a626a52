"""The figures of an evaluation against their definitions in float64, and on real predictions
against scikit-learn."""

import math

import numpy as np
import pytest

import lossgrad
from lossgrad import Evaluation, evaluate, sample
from lossgrad.evaluation.statistics import row_statistics

RELATIVE = 1e-12


def softmax(x):
    x = np.asarray(x, np.float64)
    power = np.exp(x - x.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def digits():
    found = sample.digits()
    return found.logits, found.targets


@pytest.fixture(params=["digits", "random", "few", "saturated"])
def data(request):
    """(logits, labels, sample weights)"""
    random = np.random.default_rng(5)
    if request.param == "digits":
        logits, labels = request.getfixturevalue("digits")
    elif request.param == "few":
        logits, labels = random.standard_normal((400, 2)), random.integers(0, 2, 400)
    else:
        scale = 3 if request.param == "random" else 200
        logits, labels = scale * random.standard_normal((500, 40)), random.integers(0, 30, 500)
    return logits, labels, random.random(len(labels)) * (random.random(len(labels)) > 0.1)


def test_statistics_of_rows(data):
    x, y, _ = data
    found = row_statistics(x, y)
    p = softmax(x)
    rows = np.arange(len(x))
    np.testing.assert_allclose(found.lse, x.max(1) + np.log(1 / p.max(1)), rtol=RELATIVE)
    np.testing.assert_array_equal(found.loss, lossgrad.cross_entropy(x, y, reduction="none"))
    np.testing.assert_array_equal(found.predicted, x.argmax(1))
    np.testing.assert_array_equal(found.right, x.argmax(1) == y)
    np.testing.assert_allclose(found.confidence, p.max(1), rtol=RELATIVE)
    order = np.argsort(-x, axis=1, kind="stable")
    np.testing.assert_array_equal(order[rows, found.rank], y)
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    np.testing.assert_allclose(found.entropy, -(p * logs).sum(1), rtol=RELATIVE, atol=1e-15)
    np.testing.assert_allclose(found.squares, (p * p).sum(1), rtol=RELATIVE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_at_the_edges(dtype):
    inf, nan = np.inf, np.nan
    x = np.array(
        [
            [0, 0, 0],
            [inf, 0, 0],
            [-inf, 1, -inf],
            [nan, 0, 0],
            [3, nan, 0],
            [inf, inf, 0],
            [1, 2, 3],
        ],
        dtype,
    )
    y = np.array([1, 1, 1, 0, 0, 0, 9])
    x.view(f"u{x.itemsize}")[4, 1] += (
        1  # a NaN whose bits, taken for an exponent, would make it a number
    )
    found = row_statistics(x, y, ignore_index=9)
    np.testing.assert_array_equal(found.predicted, [0, 0, 1, -1, -1, -1, -1])
    np.testing.assert_array_equal(found.rank, [1, 1, 0, -1, -1, -1, -1])
    np.testing.assert_array_max_ulp(found.loss[0], dtype(np.log(3)), 4)
    np.testing.assert_array_equal(found.loss[1:], [inf, 0, nan, nan, nan, 0])
    np.testing.assert_array_equal(found.confidence[1:3], [1, 1])
    np.testing.assert_array_equal(found.entropy[1:3], [0, 0])
    np.testing.assert_array_equal(found.squares[1:], [1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("weighted", [False, True])
def test_every_figure(data, weighted):
    x, y, s = data
    s = s if weighted else np.ones(len(y))
    state = Evaluation(bins=10)
    state.update(x, y, s if weighted else None)
    found = state.result()
    p, n, rows = softmax(x), len(y), np.arange(len(y))
    predicted, confidence = x.argmax(1), p.max(1)
    losses = lossgrad.cross_entropy(x, y, reduction="none")

    def mean(values, s=s):
        return float((s * values).sum() / s.sum())

    def same(a, b):
        np.testing.assert_allclose(a, b, rtol=RELATIVE, atol=1e-15)

    assert (found.rows, found.terms, found.n, found.undefined) == (n, n, n, 0)
    assert found.correct == np.count_nonzero(predicted == y)
    assert found.weight == math.fsum(s)
    same(found.loss, mean(losses))
    residual = s * (losses - mean(losses))
    error = math.sqrt((residual**2).sum() * n / (n - 1)) / s.sum()
    np.testing.assert_allclose(found.loss_error, error, rtol=1e-9)
    if not weighted:
        plain = losses.std(ddof=1) / math.sqrt(n)
        np.testing.assert_allclose(found.loss_error, plain, rtol=1e-9)
    same(found.accuracy, mean(predicted == y))
    same(found.confidence, mean(confidence))
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    same(found.entropy, mean(-(p * logs).sum(1)))
    one_hot = np.eye(p.shape[1])[y]
    same(found.brier, mean(((p - one_hot) ** 2).sum(1)))
    before = (np.argsort(-x, axis=1, kind="stable") == y[:, None]).argmax(1)
    for k in (1, 2, 5, p.shape[1]):
        same(found.top_k(k), mean(before < k))
    gaps = []
    for k in range(10):
        inside = (confidence > k / 10) & (confidence <= (k + 1) / 10)
        same(found.bin_weight[k], s[inside].sum())
        if s[inside].sum() > 0:
            same(found.bin_confidence[k], mean(confidence[inside], s[inside]))
            same(found.bin_accuracy[k], mean((predicted == y)[inside], s[inside]))
            gap = abs(found.bin_confidence[k] - found.bin_accuracy[k])
            gaps.append((gap, s[inside].sum()))
        else:
            assert np.isnan(found.bin_confidence[k])
    same(found.ece, sum(gap * size for gap, size in gaps) / s.sum())
    same(found.mce, max(gap for gap, _ in gaps))
    confusion = np.zeros((p.shape[1],) * 2)
    np.add.at(confusion, (y, predicted), s)
    same(found.confusion, confusion)
    same(found.support, confusion.sum(1))
    same(found.predicted, confusion.sum(0))
    same(found.hits, confusion.diagonal())
    for c in range(p.shape[1]):
        if s[y == c].sum():
            same(found.class_loss[c], mean(losses[y == c], s[y == c]))
        else:
            assert np.isnan(found.class_loss[c])
    same(found.loss_histogram.sum(), s.sum())
    assert rows[-1] + 1 == found.rows


def test_losses_fall_into_powers_of_two():
    losses = np.array([0.0, 2.0**-50, 0.25, 0.3, 1.5, 2.0, 1000.0, 1e9, math.inf])
    with np.errstate(divide="ignore"):
        logits = np.column_stack([np.zeros(9), np.log(np.expm1(np.minimum(losses, 700)))])
    logits[losses > 700, 1] = losses[losses > 700]
    logits[4, 1] *= 1.01  # off the edges between bins
    logits[[2, 5], 1] += 1e-9
    found = evaluate(logits, np.zeros(9, int)).loss_histogram
    expected = np.zeros(64)
    for bin_ in (0, 0, 39, 39, 41, 42, 50, 63, 63):
        expected[bin_] += 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_and_smoothing(data, dtype, weighted):
    """The loss is that of cross_entropy; nothing else changes."""
    x, y, s = data
    x, y = x.astype(dtype), np.where(np.arange(len(y)) % 7, y, -100)
    w = np.random.default_rng(6).random(x.shape[1])
    options = {"weight": w, "label_smoothing": 0.1}
    found = evaluate(x, y, sample_weight=s if weighted else None, **options)
    plain = evaluate(x, y, sample_weight=s if weighted else None)
    if weighted:
        kept = y >= 0
        losses = lossgrad.cross_entropy(x, y, reduction="none", **options)[kept]
        expected = (s[kept] * losses).sum() / (s[kept] * w.astype(dtype)[y[kept]]).sum()
    else:
        expected = lossgrad.cross_entropy(x, y, **options)
    assert found.loss == pytest.approx(expected, rel=1e-6 if dtype == np.float32 else 1e-12)
    assert (found.accuracy, found.brier, found.ece) == (plain.accuracy, plain.brier, plain.ece)
    assert found.loss != plain.loss


def test_sample_weights_repeat_rows(data):
    x, y, _ = data
    times = np.random.default_rng(7).integers(0, 4, len(y))
    weighted = evaluate(x, y, sample_weight=times)
    repeated = evaluate(np.repeat(x, times, axis=0), np.repeat(y, times))
    for name in ("loss", "accuracy", "entropy", "brier", "ece", "mce", "weight", "total"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), rel=RELATIVE)
    np.testing.assert_array_equal(weighted.confusion, repeated.confusion)
    np.testing.assert_array_equal(weighted.ranks, repeated.ranks)
    assert weighted.rows == len(y)


def test_a_row_of_no_weight_counts_nothing_even_if_its_loss_is_infinite():
    logits = np.array([[0.0, 1.0], [0.0, -np.inf]])
    found = evaluate(logits, [1, 1], sample_weight=[1.0, 0.0])
    assert math.isfinite(found.loss)
    assert (found.weight, found.infinite) == (1.0, 1)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_sample_weights(bad):
    with pytest.raises(lossgrad.InputError, match=r"sample_weight: row 1: weight .* finite"):
        evaluate(np.eye(3), [0, 1, 2], sample_weight=[1.0, bad, 1.0])
    with pytest.raises(lossgrad.InputError, match="sample_weight: shape"):
        evaluate(np.eye(3), [0, 1, 2], sample_weight=[1.0])
    with pytest.raises(ValueError, match="weight: weight"):
        Evaluation(weight=[1.0, bad])


def test_undefined_rows_are_counted_and_left_out():
    x, y = np.random.default_rng(8).standard_normal((50, 4)), np.arange(50) % 4
    expected = evaluate(np.delete(x, [3, 30], axis=0), np.delete(y, [3, 30]))
    x[3, 2], x[30] = np.nan, -np.inf
    found = evaluate(x, y)
    assert (found.undefined, found.rows, found.terms) == (2, 50, 48)
    assert (found.loss, found.brier, found.ece) == (expected.loss, expected.brier, expected.ece)
    x[:] = np.nan
    assert evaluate(x, y).terms == 0
    x[3, 1] = 0.0
    found = evaluate(x, x > 0, task="binary")
    assert (found.terms, found.undefined) == (1, 199)


def test_worst_rows_in_order():
    x, y = 5 * np.random.default_rng(9).standard_normal((300, 6)), np.arange(300) % 6
    x[17] = x[100] = 0
    x[17, y[17]] = x[100, y[100]] = -np.inf
    found = evaluate(x, y, worst=8, block_bytes=1000).worst
    losses = lossgrad.cross_entropy(x, y, reduction="none")
    order = np.lexsort((np.arange(300), -losses))[:8]
    assert [row.row for row in found] == order.tolist()
    assert [row.row for row in found[:2]] == [17, 100]
    assert found[0].loss == math.inf
    p = softmax(x[order])
    for row, i, confidence in zip(found, order, p.max(1), strict=True):
        assert (row.loss, row.label, row.predicted) == (losses[i], y[i], x[i].argmax())
        assert row.confidence == pytest.approx(confidence)


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_binary_figures(threshold):
    random = np.random.default_rng(10)
    x, y = 3 * random.standard_normal((300, 4)), random.integers(0, 2, (300, 4))
    s = random.random(300)
    found = evaluate(x, y, task="binary", threshold=threshold, sample_weight=s, bins=5)
    p, w = 1 / (1 + np.exp(-x)), np.broadcast_to(s[:, None], (300, 4))
    predicted = p > threshold

    def mean(values, w=w):
        return (w * values).sum() / w.sum()

    def same(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-10)

    same(found.loss, mean(np.logaddexp(0, np.where(y, -x, x))))
    same(found.class_loss, (w * np.logaddexp(0, np.where(y, -x, x))).sum(0) / w.sum(0))
    same(found.accuracy, mean(predicted == y))
    same(found.brier, mean((p - y) ** 2))
    same(found.confidence, mean(p))
    same(found.entropy, mean(-p * np.log(p) - (1 - p) * np.log(1 - p)))
    same(found.support, (w * y).sum(0))
    same(found.precision, (w * y * predicted).sum(0) / (w * predicted).sum(0))
    same(found.recall, (w * y * predicted).sum(0) / (w * y).sum(0))
    for k in range(5):
        inside = (p > k / 5) & (p <= (k + 1) / 5)
        same(found.bin_accuracy[k], mean(y[inside], w[inside]))
        same(found.bin_confidence[k], mean(p[inside], w[inside]))
    assert found.ranks is None
    with pytest.raises(ValueError, match="multiclass"):
        found.top_k(1)


def test_soft_binary_targets():
    x, t = np.array([[0.3, -2.0], [5.0, 0.1]]), np.array([[0.2, 0.9], [1.0, 0.5]])
    found = evaluate(x, t, task="binary", bins=1)
    p = 1 / (1 + np.exp(-x))
    assert found.brier == pytest.approx(((p - t) ** 2).mean(), rel=1e-14)
    assert found.bin_accuracy[0] == t.mean()
    np.testing.assert_array_equal(found.support, [1, 1])


def test_few_rows_have_no_standard_error():
    assert math.isnan(evaluate(np.eye(2)[:1], [0]).loss_error)
    assert evaluate(np.zeros((4, 3)), [0, 1, 2, 0]).loss_error == 0.0
    assert math.isnan(evaluate(np.array([[0, -np.inf]] * 3), [0, 1, 0]).loss_error)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types(dtype):
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    x, y = np.random.default_rng(11).standard_normal((60, 7)), np.arange(60) % 7
    assert evaluate(x.astype(dtype), y) == evaluate(x.astype(dtype).astype(np.float32), y)


def scores(name):
    """(logits, labels) of a real held-out set."""
    datasets = pytest.importorskip("sklearn.datasets")
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = x / x.max(axis=0, where=x.max(axis=0) > 0, initial=1e-9)
    model = linear.LogisticRegression(max_iter=2000).fit(x[::2], y[::2])
    logits = model.decision_function(x[1::2])
    if logits.ndim == 1:
        logits = np.column_stack([np.zeros_like(logits), logits])
    return logits, y[1::2]


@pytest.mark.peers
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_against_scikit_learn(name, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    x, y = scores(name)
    classes = x.shape[1]
    s = np.random.default_rng(12).random(len(y)) if weighted else None
    found = evaluate(x, y, sample_weight=s)
    p, predicted, labels = softmax(x), x.argmax(1), np.arange(classes)

    def same(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-10)

    same(found.loss, metrics.log_loss(y, p, sample_weight=s))
    same(found.accuracy, metrics.accuracy_score(y, predicted, sample_weight=s))
    if classes > 2:
        for k in (1, 2, 5):
            expected = metrics.top_k_accuracy_score(y, x, k=k, sample_weight=s)
            same(found.top_k(k), expected)
    one_hot = np.eye(classes)[y]
    expected = np.average(((p - one_hot) ** 2).sum(1), weights=s)
    same(found.brier, expected)
    if classes == 2:
        same(found.brier / 2, metrics.brier_score_loss(y, p[:, 1], sample_weight=s))
        own = evaluate(x[:, 1] - x[:, 0], y, task="binary", sample_weight=s)
        same(own.loss, metrics.log_loss(y, p, sample_weight=s))
        same(own.brier, metrics.brier_score_loss(y, p[:, 1], sample_weight=s))
    same(found.confusion, metrics.confusion_matrix(y, predicted, sample_weight=s))
    kinds = {None: (found.precision, found.recall, found.f1)}
    for average in ("macro", "weighted"):
        kinds[average] = getattr(found, average)
    for average, ours in kinds.items():
        theirs = metrics.precision_recall_fscore_support(
            y, predicted, labels=labels, average=average, sample_weight=s, zero_division=0
        )
        for a, b in zip(ours, theirs[:3], strict=True):
            same(a, b)
    if not weighted and classes == 2:
        calibration = pytest.importorskip("sklearn.calibration")
        observed, predicted = calibration.calibration_curve(y, p[:, 1], n_bins=15)
        same(own.bin_accuracy[own.bin_weight > 0], observed)
        same(own.bin_confidence[own.bin_weight > 0], predicted)
