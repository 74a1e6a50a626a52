"""Conformal sets: the order statistic of float64 scores, their coverage, the same for any cut."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

import lossgrad
from lossgrad import conformal_sets, conformal_threshold

METHODS = ("lac", "aps")


def data(rows=300, classes=5, dtype=np.float32, seed=1, tied=False):
    random = np.random.default_rng(seed)
    x = 2 * random.standard_normal((rows, classes))
    y = np.array([random.choice(classes, p=row) for row in lossgrad.softmax(x)], dtype=int)
    return (np.round(x) if tied else x).astype(dtype), y


def rests(x, method):
    """What each score lacks of 1, class by class: what comes after it, from the least on."""
    p = lossgrad.softmax(x.astype(np.float64))
    if method == "lac":
        return p
    found = np.empty_like(p)
    for row, values in enumerate(p):
        after = 0.0
        for c in np.argsort(-values, kind="stable")[::-1]:
            found[row, c] = after
            after += values[c]
    return found


def scores(x, method):
    """By the definition."""
    p = lossgrad.softmax(x.astype(np.float64))
    order = np.argsort(-p, axis=1, kind="stable")
    sums = np.take_along_axis(p, order, axis=1).cumsum(axis=1)
    return 1 - p if method == "lac" else np.take_along_axis(sums, order.argsort(axis=1), axis=1)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rows", [1, 9, 10, 300])
@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.8, 0.9, 0.99, 1 / 3])
@pytest.mark.parametrize("method", METHODS)
def test_threshold(method, coverage, rows, tied):
    x, y = data(rows, tied=tied)
    found = conformal_threshold(x, y, coverage=coverage, method=method)
    k = math.ceil((rows + 1) * Fraction(repr(coverage)))
    own = np.sort(-rests(x, method)[np.arange(rows), y])
    assert found.rest == (-own[k - 1] if k <= rows else -math.inf)
    own = np.sort(scores(x, method)[np.arange(rows), y])
    assert found.threshold == pytest.approx(own[k - 1] if k <= rows else math.inf, rel=1e-14)
    assert (found.rows, found.method, found.coverage) == (rows, method, coverage)


def test_a_decimal_coverage_is_what_is_written():
    """0.9 in float64 is above 9/10: with 9 rows, k must be 9 of 10 and not 10."""
    x, y = data(9)
    assert conformal_threshold(x, y, coverage=0.9).threshold < math.inf
    assert conformal_threshold(x[:8], y[:8], coverage=0.9).threshold == math.inf


@pytest.mark.parametrize("coverage", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("method", METHODS)
def test_sets(method, coverage):
    x, y = data()
    threshold = conformal_threshold(x, y, coverage=coverage, method=method)
    other, labels = data(700, seed=2)
    found = conformal_sets(other, labels, threshold=threshold)
    chosen = scores(other, method) <= threshold.threshold
    np.testing.assert_array_equal(threshold.sets(other), chosen)
    right = chosen[np.arange(700), labels]
    assert found.rows == 700
    assert found.coverage == np.count_nonzero(right) / 700
    assert found.mean_size == chosen.sum() / 700
    np.testing.assert_array_equal(found.sizes, np.bincount(chosen.sum(axis=1), minlength=6))
    by_class = [right[labels == c].mean() for c in range(5)]
    np.testing.assert_allclose(found.class_coverage, by_class, rtol=1e-15)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["coverage"] == found.coverage
    assert plain["sizes"] == found.sizes.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_scores_that_float64_does_not_tell_from_1(method):
    """Of classes of 1e-20, 1e-40, ... the sets have those up to the label's, not all of them."""
    x = -46.0 * np.arange(6.0) * np.ones((20, 1))
    found = conformal_threshold(x, np.full(20, 3), coverage=0.9, method=method)
    assert found.threshold == 1.0
    assert found.sets(x[0]).tolist() == [True] * 4 + [False] * 2
    assert found.to_dict()["rest"] == rests(x, method)[0, 3] > 0
    assert found.lines()[0][1].startswith(f"1 - {found.rest:.6g}  ({method}")


@pytest.mark.parametrize("method", METHODS)
def test_the_label_is_covered_as_often_as_asked(method):
    """On average over calibration sets, between the coverage and 1 / (n + 1) more."""
    covered = []
    for seed in range(30):
        threshold = conformal_threshold(*data(99, seed=2 * seed), coverage=0.8, method=method)
        found = conformal_sets(*data(300, seed=2 * seed + 1), threshold=threshold)
        covered.append(found.coverage)
    error = np.std(covered) / math.sqrt(len(covered))
    assert 0.8 - 2 * error < np.mean(covered) < 0.81 + 2 * error


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_the_same_for_any_cut(method, dtype, tmp_path):
    x, y = data(dtype=dtype, classes=17)
    expected = conformal_threshold(x, y, method=method)
    sets = conformal_sets(x, y, threshold=expected).to_dict()
    random = np.random.default_rng(3)
    for threads in (1, 3):
        parts = np.split(random.permutation(300), np.sort(random.integers(1, 300, 5)))
        pairs = [(x[part], y[part]) for part in parts]
        assert conformal_threshold(pairs, method=method, num_threads=threads) == expected
        assert conformal_sets(pairs, threshold=expected).to_dict() == sets
        how = {"num_threads": threads, "block_bytes": 500}
        assert conformal_threshold(x, y, method=method, **how) == expected
        assert conformal_sets(x, y, threshold=expected, **how).to_dict() == sets
    np.save(tmp_path / "x.npy", x.T)
    np.save(tmp_path / "y.npy", y)
    files = tmp_path / "x.npy", tmp_path / "y.npy"
    assert conformal_threshold(*files, method=method, axis=0) == expected
    assert conformal_sets(*files, threshold=expected, axis=0).to_dict() == sets


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_a_loss_are_left_out(method):
    x, y = data()
    expected = conformal_threshold(x, y, method=method)
    more = np.concatenate([x, np.full((2, 5), np.nan, np.float32), x[:3]])
    labels = np.concatenate([y, [0, 1], np.full(3, 7)])
    assert conformal_threshold(more, labels, method=method, ignore_index=7) == expected
    sets = conformal_sets(more, labels, threshold=expected, ignore_index=7)
    assert sets.rows == 300
    assert not expected.sets(more[300]).any()


def test_nothing():
    found = conformal_threshold(np.ones((0, 3)), np.ones(0, int))
    assert found.threshold == math.inf
    assert found.sets(np.zeros(3)).all()
    sets = conformal_sets(np.ones((2, 3)), [-100, -100], threshold=found)
    assert (sets.rows, sets.sizes.sum()) == (0, 0)
    assert np.isnan([sets.coverage, sets.mean_size]).all()
    json.dumps(sets.to_dict(), allow_nan=False)


@pytest.mark.parametrize("options", [{"coverage": 0.0}, {"coverage": 1.0}, {"method": "raps"}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        conformal_threshold(*data(9), **options)
    with pytest.raises(TypeError, match="read once only"):
        conformal_threshold(iter([data(9)]))
