"""The figures of rows: bounds against long double, limits, and the same bits anywhere."""

import math

import numpy as np
import pytest
from conftest import FUSED_LEVELS, few, kernels

from lossgrad import evaluate, reference
from lossgrad.evaluation import statistics as measured
from lossgrad.evaluation.reference import statistics as twin

FIELDS = ("loss", "lse", "predicted", "confidence", "rank", "entropy", "squares", "brier")
LABEL_FIELDS = ("loss", "probability", "entropy", "brier", "positive", "predicted")
# as the docstring of RowStatistics states them
BOUNDS = {
    "float32": {"confidence": 2**-21, "entropy": 2**-20, "squares": 2**-20, "brier": 2**-20},
    "float64": {"confidence": 2**-50, "entropy": 2**-49, "squares": 2**-49, "brier": 2**-49},
}


@pytest.fixture
def statistics(lg):
    """row_statistics on each backend in turn."""
    return (twin if lg is reference else measured).row_statistics


def exact(x, y):
    """Entropy, ... in long double, by forms that do not cancel."""
    x, rows = x.astype(np.longdouble), np.arange(len(x))
    gap = x.max(1, keepdims=True) - x
    power = np.exp(-gap)
    first = np.where(gap[rows, y] == 0, y, x.argmax(1))
    own, right = power[rows, y], first == y
    power[rows, first] = 0
    rest, spread = power.sum(1), (power * np.where(power == 0, 0, gap)).sum(1)
    total, squares = 1 + rest, (power**2).sum(1)
    missing = np.where(right, rest, total - own)
    others = np.where(right, squares, squares - own**2 + 1)
    return {
        "confidence": 1 / total,
        "entropy": np.log1p(rest) + spread / total,
        "squares": (1 + squares) / total**2,
        "brier": (others + missing**2) / total**2,
    }


CLASSES = (1, 2, 10, 31, 100, 127, 129, 1000, 5000)


def cases(rng, dtype, sizes=CLASSES):
    """(logits, labels): of usual rows, of rows with one sure class, masked, and far from 0."""
    for classes in sizes:
        y = rng.integers(0, classes, 24)
        x = rng.normal(scale=3, size=(24, classes))
        yield x.astype(dtype), y
        sure = x - rng.uniform(5, 60, (24, 1))
        sure[np.arange(24), np.where(np.arange(24) % 2, y, rng.integers(0, classes, 24))] = 10
        yield sure.astype(dtype), y
        surer = np.where(sure == 10, 10, sure - 40)
        yield surer.astype(dtype), y
        masked = np.where(rng.random(x.shape) < 0.2, -np.inf, x)
        masked[np.arange(24), y] = 1
        yield masked.astype(dtype), y
        yield (x + rng.choice([-3e4, 900.0, 3e4], (24, 1))).astype(dtype), y
        rising = np.sort(x * 4, axis=1)  # the largest comes last
        yield rising.astype(dtype), y


def test_bounds(lg, statistics, dtype, rng):
    for x, y in cases(rng, dtype, few(lg, CLASSES, (1, 10, 1500))):  # the last in two blocks
        found, right = statistics(x, y), exact(x, y)
        for name, bound in BOUNDS[np.dtype(dtype).name].items():
            error = abs(getattr(found, name) - right[name])
            assert (error <= bound * right[name]).all(), (x.shape, name, error.max())


def test_ranks_and_predictions(lg, statistics, dtype, rng):
    """Equal logits count in the order of their classes."""
    for classes in few(lg, (1, 2, 9, 16, 32, 33, 130, 1500), (1, 9, 130)):
        for values in (2, 5, 1000):
            x = rng.integers(0, values, (30, classes)).astype(dtype)
            x[::7, : classes // 2] = -np.inf
            x[::8] += 900
            x[1::8, 0] = np.finfo(dtype).min
            y = rng.integers(0, classes, 30)
            found = statistics(x, y)
            before = (x > x[np.arange(30), y, None]) | (
                (x == x[np.arange(30), y, None]) & (np.arange(classes) < y[:, None])
            )
            np.testing.assert_array_equal(found.predicted, x.argmax(1))
            np.testing.assert_array_equal(found.rank, before.sum(1))
            np.testing.assert_array_equal(found.right, x.argmax(1) == y)


def test_limits(statistics, dtype):
    inf, nan = np.inf, np.nan
    x = np.array(
        [
            [inf, 0, 0],
            [0, inf, 0],
            [-inf, 1, -inf],
            [nan, 0, 0],
            [inf, inf, 0],
            [-inf] * 3,
            [nan] * 3,
        ],
        dtype,
    )
    found = statistics(x, np.array([1, 1, 1, 0, 0, 0, 9]), ignore_index=9)
    np.testing.assert_array_equal(found.loss, [inf, 0, 0, nan, nan, nan, 0])
    np.testing.assert_array_equal(found.lse[[0, 1, 2, 5, 6]], [inf, inf, 1, -inf, 0])
    np.testing.assert_array_equal(found.predicted, [0, 1, 1, -1, -1, -1, -1])
    np.testing.assert_array_equal(found.rank, [1, 0, 0, -1, -1, -1, -1])
    np.testing.assert_array_equal(found.confidence, [1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.entropy, np.zeros(7))
    np.testing.assert_array_equal(found.squares, [1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.brier, [2, 0, 0, 0, 0, 0, 0])


def test_logits_as_far_apart_as_they_can_be(statistics, dtype):
    most = np.finfo(dtype).max
    found = statistics(np.array([[most, -most, 0.0]], dtype), np.array([0]))
    assert (found.entropy[0], found.brier[0], found.squares[0]) == (0, 0, 1)


def test_the_loss_is_that_of_cross_entropy(statistics, lg, dtype, rng):
    x, y = rng.normal(size=(70, 33)).astype(dtype), rng.integers(0, 33, 70)
    y[::5] = -1
    options = {"weight": rng.random(33), "label_smoothing": 0.1, "ignore_index": -1}
    found, plain = statistics(x, y, **options), statistics(x, y, ignore_index=-1)
    expected = lg.cross_entropy(x, y, reduction="none", **options)
    np.testing.assert_array_equal(found.loss, expected)
    for name in FIELDS[1:]:
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert (found.brier[y == -1] == 0).all()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_types_are_storage(statistics, name, rng):
    half = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name, name))
    x, y = rng.normal(size=(50, 21)).astype(half), rng.integers(0, 21, 50)
    found, wide = statistics(x, y), statistics(x.astype(np.float32), y)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), getattr(wide, field))


def test_bad_labels(statistics, dtype):
    x = np.zeros((3, 4), dtype)
    with pytest.raises(IndexError, match="label 4 in row 1 is outside"):
        statistics(x, np.array([0, 4, -7]))
    with pytest.raises(TypeError, match="integer labels"):
        statistics(x, np.zeros((3, 4), dtype))


def bits(found, rows=slice(None)):
    return [getattr(found, name)[rows].tobytes() for name in FIELDS]


# Binary targets


@pytest.fixture
def label_statistics(lg):
    """label_statistics on each backend in turn."""

    def call(x, t, threshold=0.5):
        if lg is not reference:
            return measured.label_statistics(x, t, threshold)
        return twin.label_figures(x, t.astype(np.float64), np.log(threshold / (1 - threshold)))

    return call


def logits_and_targets(rng, dtype, n=3000):
    x = rng.normal(size=n) * rng.choice([1, 10, 100, 300], n)
    x[::5] = rng.choice([-1, 1], len(x[::5])) * rng.uniform(690, 760, len(x[::5]))
    return x.astype(dtype), rng.choice([0, 1, 0, 1, 0.25, 0.875], n).astype(dtype)


def test_label_bounds(label_statistics, dtype, rng):
    x, t = logits_and_targets(rng, dtype)
    found, wide, t_wide = label_statistics(x, t), x.astype(np.longdouble), t.astype(np.longdouble)
    power = np.exp(-abs(wide))
    small, large = power / (1 + power), 1 / (1 + power)
    p = np.where(wide < 0, small, large)
    off = np.where(wide < 0, small - t_wide, (1 - t_wide) - small)
    unit = np.finfo(np.float64).smallest_subnormal
    assert (abs(found.probability - p) <= 2**-51 * p + unit * (p < 1e-307)).all()
    entropy = np.log1p(power) + abs(wide) * small
    lost = unit * (1 + abs(wide)) * (small < 1e-307)
    assert (abs(found.entropy - entropy) <= 2**-51 * entropy + lost).all()
    root = np.sqrt(found.brier.astype(np.longdouble))
    assert (abs(root - abs(off)) <= 2**-51 * np.maximum(p, t) + 1e-160).all()  # its square is 0
    certain = (t == (x > 0)) & (abs(x) < 300)  # what is sure keeps its relative accuracy
    assert (abs(found.brier - off**2) <= 2**-49 * off**2)[certain].all()


def test_label_outcomes_and_losses(label_statistics, lg, dtype, rng):
    x, t = logits_and_targets(rng, dtype)
    found = label_statistics(x, t, 0.8)
    expected = lg.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_array_equal(found.loss, expected)
    np.testing.assert_array_equal(found.positive, t > 0.5)
    np.testing.assert_array_equal(found.predicted, x.astype(float) > np.log(0.8 / (1 - 0.8)))


def test_label_limits(label_statistics, dtype):
    x = np.array([np.inf, np.inf, -np.inf, -np.inf, 0, np.nan], dtype)
    found = label_statistics(x, np.array([1, 0, 0, 1, 1, 0], dtype))
    np.testing.assert_array_equal(found.loss[:4], [0, np.inf, 0, np.inf])
    np.testing.assert_array_equal(found.probability[:5], [1, 1, 0, 0, 0.5])
    np.testing.assert_allclose(found.entropy[:5], [0, 0, 0, 0, np.log(2)], rtol=1e-15, atol=0)
    np.testing.assert_array_equal(found.brier[:5], [0, 1, 0, 1, 0.25])
    np.testing.assert_array_equal(found.predicted, [True, True, False, False, False, False])
    assert np.isnan(found.loss[5])


@pytest.mark.parametrize("x", [-38.0, -690, -700.5, -709, -720, -744, -745.1, -746, -1e4, -np.inf])
def test_the_calibration_error_of_sure_labels(x):
    """Nothing is clamped before a probability is 0."""
    found = evaluate(np.full((5, 2), x), np.zeros((5, 2)), task="binary")
    expected = math.exp(x)
    unit = np.finfo(np.float64).smallest_subnormal
    for value in (found.ece, found.mce, found.confidence):
        assert abs(value - expected) <= 2**-50 * expected + (unit if expected < 1e-307 else 0)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_labels_of_half_types(label_statistics, name, rng):
    half = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name, name))
    x, t = logits_and_targets(rng, half, 300)
    found, wide = label_statistics(x, t), label_statistics(x.astype(np.float32), t)
    for field in LABEL_FIELDS:
        np.testing.assert_array_equal(getattr(found, field), getattr(wide, field))


@pytest.mark.skipif(not kernels, reason="compares levels")
def test_same_label_bits_anywhere(dtype, rng):
    x, t = logits_and_targets(rng, dtype)
    level, seen = kernels.level(), []
    try:
        for name in FUSED_LEVELS:
            kernels.set_level(name)
            for slices in ([slice(None)], [slice(0, 7), slice(7, 1100), slice(1100, None)]):
                parts = [measured.label_statistics(x[k], t[k]) for k in slices]
                columns = ([getattr(p, field) for p in parts] for field in LABEL_FIELDS)
                seen.append([np.concatenate(column).tobytes() for column in columns])
        assert all(other == seen[0] for other in seen)
    finally:
        kernels.set_level(level)


@pytest.mark.parametrize("classes", [2, 10, 16, 31, 200])
def test_neighbours_do_not_matter(lg, statistics, dtype, rng, classes):
    """Rows of every kind beside each other, some of them ignored, and each alone."""
    n = 150
    x = rng.normal(scale=3, size=(n, classes)) * rng.choice([1, 1, 1, 40], (n, 1))
    x += rng.choice([0, 0, 0, 250, -260, 3e4], (n, 1))
    rare = rng.choice(
        [0, np.nan, np.inf, -np.inf, -1e38], x.shape, p=[0.92, 0.01, 0.01, 0.03, 0.03]
    )
    x = np.where(rare == 0, x, rare).astype(dtype)
    y = rng.integers(0, classes, n)
    y[rng.random(n) < 0.2] = -100
    found = statistics(x, y)
    for k in few(lg, range(n), range(0, n, 13)):
        assert bits(statistics(x[k : k + 1], y[k : k + 1])) == bits(found, slice(k, k + 1)), k


@pytest.mark.skipif(not kernels, reason="compares levels")
def test_same_bits_anywhere(dtype, rng):
    """On every level with fused multiply-add, in any batch, stride and padding."""
    level = kernels.level()
    try:
        for x, y in cases(rng, dtype):
            seen = []
            for name in FUSED_LEVELS:
                kernels.set_level(name)
                seen.append(bits(measured.row_statistics(x, y)))
                seen.append(bits(measured.row_statistics(np.asfortranarray(x), y)))
                padded = np.pad(x, ((0, 0), (0, 37)), constant_values=-np.inf)
                seen.append(bits(measured.row_statistics(padded[:, : x.shape[1]], y)))
                seen.append(bits(measured.row_statistics(padded, y)))
                one = [measured.row_statistics(x[k : k + 1], y[k : k + 1]) for k in range(24)]
                seen.append([b"".join(parts) for parts in zip(*map(bits, one), strict=True)])
            assert all(other == seen[0] for other in seen), x.shape
    finally:
        kernels.set_level(level)
