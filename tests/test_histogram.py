"""Bins of scores: they keep the order, their bounds hold, their sums merge to the same bytes."""

import ml_dtypes
import numpy as np
import pytest

from lossgrad.evaluation.histogram import (
    LOGITS,
    LOSSES,
    PROBABILITIES,
    RANKS,
    Halves,
    Histogram,
    Magnitudes,
    Shares,
    Signed,
)

FLOAT16, BFLOAT16 = Halves("float16"), Halves("bfloat16")
TINY, LARGEST = 5e-324, np.finfo(np.float64).max
SMALL = Magnitudes(-3, 4, 2)


def every_half(dtype):
    values = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):
        return values[~np.isnan(values)]


def numbers(lowest, highest):
    """Of every size, the edges of bins and their neighbours among them."""
    random = np.random.default_rng(1)
    powers = 2.0 ** np.arange(-70, 70)
    edges = np.concatenate([powers, powers * (1 + 2.0**-10), 1 - powers[powers < 1]])
    some = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)])
    every = [some, np.exp(20 * random.standard_normal(2000)), random.random(2000)]
    values = np.concatenate([*every, [0.0, TINY, 0.5, 1.0, LARGEST, np.inf]])
    values = np.concatenate([values, -values])
    return values[(values >= lowest) & (values <= highest)]


SCALES = {
    "losses": (LOSSES, numbers(0, np.inf)),
    "ranks": (RANKS, np.concatenate([np.arange(5000.0), 2.0 ** np.arange(13, 32)])),
    "few": (SMALL, numbers(0, np.inf)),
    "logits": (LOGITS, numbers(-np.inf, np.inf)),
    "few of both signs": (Signed(SMALL), numbers(-np.inf, np.inf)),
    "probabilities": (PROBABILITIES, numbers(0, 1)),
    "few probabilities": (Shares(Magnitudes(-3, 0, 2)), numbers(0, 1)),
    "float16": (FLOAT16, every_half(np.float16)),
    "bfloat16": (BFLOAT16, every_half(ml_dtypes.bfloat16)),
}


@pytest.fixture(params=SCALES)
def scale_and_values(request):
    return SCALES[request.param]


def test_small_whole_numbers_have_bins_of_their_own():
    lower, upper = RANKS.bounds
    ranks = np.arange(1 << 11)
    assert np.array_equal(lower[RANKS.bins(ranks)], ranks)
    assert np.array_equal(upper[RANKS.bins(ranks)], ranks)


def test_bins_keep_the_order_within_their_bounds(scale_and_values):
    scale, values = scale_and_values
    at, wide = scale.bins(values), values.astype(np.float64)
    lower, upper = scale.bounds
    assert len(lower) == len(upper) == scale.size
    assert 0 <= at.min() <= at.max() < scale.size
    assert (lower[at] <= wide).all()
    assert (wide <= upper[at]).all()
    order = np.argsort(wide, kind="stable")
    assert (np.diff(at[order]) >= 0).all()
    if scale.exact:
        equal = np.diff(wide[order]) == 0
        np.testing.assert_array_equal(np.diff(at[order]) == 0, equal)
        np.testing.assert_array_equal(lower[at], wide)


def test_bounds_of_bins_do_not_meet(scale_and_values):
    scale, _ = scale_and_values
    lower, upper = (bound[~np.isnan(scale.bounds[0])] for bound in scale.bounds)
    assert (lower <= upper).all()
    assert (lower[1:] > upper[:-1]).all()


@pytest.mark.parametrize(("scale", "least"), [(LOSSES, 2.0**-64), (LOGITS, 2.0**-15)])
def test_bins_are_narrow(scale, least):
    lower, upper = scale.bounds
    some = (lower >= least) & np.isfinite(upper)
    assert np.count_nonzero(some) > 30_000
    assert (upper[some] - lower[some] < 2.0**-10 * lower[some]).all()


def test_bins_of_probabilities_are_narrow_at_both_ends():
    lower, upper = PROBABILITIES.bounds
    close = np.minimum(lower, 1 - upper)
    some = close >= 2.0**-32
    assert np.count_nonzero(some) > 60_000
    assert (upper[some] - lower[some] <= 2.0**-10 * close[some] * (1 + 1e-3)).all()
    assert max(upper[0], 1 - lower[-1]) <= 2.0**-32


@pytest.mark.parametrize("weighted", [False, True])
def test_shardings_give_the_same_bytes(scale_and_values, weighted):
    scale, values = scale_and_values
    random = np.random.default_rng(2)
    values = random.choice(values, 600)
    groups, weight = random.integers(0, 3, 600), random.random(600) if weighted else None
    whole = Histogram(scale, 3)
    whole.add(values, groups, weight)
    for _ in range(4):
        merged = Histogram(scale, 3)
        order = random.permutation(600)
        for part in np.split(order, np.sort(random.integers(0, 600, 5))):
            shard = Histogram(scale, 3)
            shard.add(values[part], groups[part], weight[part] if weighted else None)
            shard.merge(merged)
            merged = shard
        assert merged.to_bytes() == whole.to_bytes()
    again, rest = Histogram.from_bytes(scale, 3, memoryview(whole.to_bytes() + b"rest"))
    assert bytes(rest) == b"rest"
    assert again.to_bytes() == whole.to_bytes()
    assert again.total() == pytest.approx(600 if weight is None else weight.sum(), rel=1e-12)
    expected = np.zeros((3, scale.size))
    np.add.at(expected, (groups, scale.bins(values)), 1 if weight is None else weight)
    np.testing.assert_allclose(again.weights(), expected, rtol=1e-12)


def test_different_scales_do_not_merge():
    with pytest.raises(ValueError, match="scores of bfloat16 do not merge with float16"):
        Histogram(FLOAT16).merge(Histogram(BFLOAT16))
    with pytest.raises(ValueError, match="magnitudes of 28 bins do not merge with magnitudes of"):
        Histogram(LOSSES).merge(Histogram(SMALL))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_quantiles(scale_and_values, weighted, q):
    scale, values = scale_and_values
    random = np.random.default_rng(3)
    values = random.choice(values, 500)
    weight = random.random(500) * (random.random(500) > 0.1) if weighted else None
    found = Histogram(scale, 2)
    found.add(values, np.arange(500) % 2, weight)
    bounded = found.distribution().quantile(q)
    wide = values.astype(np.float64)
    expected = np.quantile(wide, q, method="inverted_cdf", weights=weight)
    if q == 0.0 and weighted:
        expected = wide[weight > 0].min()
    assert bounded.lower <= expected <= bounded.upper
    assert bounded.lower <= bounded.value <= bounded.upper
    if scale.exact:
        assert bounded.value == expected


def test_quantiles_of_nothing_and_nothing_else(scale_and_values):
    scale, _ = scale_and_values
    assert np.isnan(Histogram(scale).distribution().quantile(0.5)).all()
    with pytest.raises(ValueError, match=r"q is 1\.5, not from 0 to 1"):
        Histogram(scale).distribution().quantile(1.5)
