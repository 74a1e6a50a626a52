"""Sums over rows are exact before they are rounded once: in any order, grouping and number."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import few, kernels
from hypothesis import given, settings
from hypothesis import strategies as st

from lossgrad.reference import _double

compiled = pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")
bounded = settings(max_examples=300, deadline=None, derandomize=True)


def units(value):
    """A finite number as a count of the smallest ones."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (1075 - denominator.bit_length())


def exact_sum(values):
    """The sum as an integer rounded once, without the code under test."""
    values = [float(v) for v in values]
    if any(math.isnan(v) for v in values) or {math.inf, -math.inf} <= set(values):
        return math.nan
    infinite = [v for v in values if math.isinf(v)]
    if infinite:
        return infinite[0]
    total = sum(map(units, values))
    try:
        return total / 2**1074  # of integers, which Python rounds once
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def same_number(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


# ---- the accumulator -----------------------------------------------------------------------------

ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True)
EDGES = [5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.0, -1.0, 0.0, -0.0]
EDGES += [1 + 2**-52, 2.0**-53, -(2.0**-53), 2.0**53, 2.0**53 + 2, 1.7976931348623157e308]
EDGES += [-1.7976931348623157e308, 2.0**970, -(2.0**970), 2.0**969, 0.1, -0.1]
LISTS = st.lists(st.one_of(st.sampled_from(EDGES), FINITE), max_size=40)


def accumulated(values):
    total = kernels.Sum()
    total.add(np.array(values, np.float64))
    return total


@compiled
@bounded
@given(LISTS)
def test_finite_sums(values):
    want = exact_sum(values)
    assert accumulated(values).value() == want
    assert _double.exact_sum(np.array(values, np.float64)) == want
    # what cancels leaves the rest, at any size
    cancelled = accumulated([*values, *(-v for v in values), 5e-324])
    assert cancelled.value() == 5e-324


@compiled
@bounded
@given(st.lists(st.one_of(ANY, FINITE), max_size=8))
def test_sums_of_anything(values):
    want = exact_sum(values)
    assert same_number(accumulated(values).value(), want)
    assert same_number(_double.exact_sum(np.array(values, np.float64)), want)


@compiled
@bounded
@given(st.one_of(LISTS, st.lists(ANY, max_size=4)), st.data())
def test_any_grouping_and_order(values, data):
    want = exact_sum(values)
    order = data.draw(st.permutations(values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    parts = [accumulated(order[a:b]) for a, b in itertools.pairwise([0, *cuts, len(values)])]
    while len(parts) > 1:
        k = data.draw(st.integers(0, len(parts) - 2))
        part = parts.pop(k + 1)
        parts[k].merge(part)
        before = part.value()
        assert same_number(before, part.value())  # what was merged, and read, is as it was
    assert same_number(parts[0].value(), want)
    parts[0].add(np.array([1.0]))  # and goes on
    assert same_number(parts[0].value(), exact_sum([*values, 1.0]))


@compiled
def test_ties_and_carries():
    half = 2.0**-53
    for values in (
        [1, half],  # to even: down
        [1 + 2 * half, half],  # to even: up
        [1, half, 5e-324],  # just above the tie
        [1, half, -5e-324],
        [2.0**1023, 2.0**1023 - 2.0**970, 2.0**969],  # a tie that overflows
        [2.0**1023, 2.0**1023 - 2.0**970, 2.0**969, -5e-324],
        [-(2.0**1023), -(2.0**1023)],
        [2.0**-1022, -5e-324],
        [2.0**-1022 - 5e-324, 5e-324],
        [2.0**53, 1, 2.0**-1074],
        [-(2.0**32), 2.0**-32, -(2.0**64)],
        [1e308] * 9 + [-1e308] * 9 + [0.1],
    ):
        for order in (values, values[::-1]):
            assert accumulated(order).value() == exact_sum(values), values
    many = np.full(1 << 20, 0.1)
    total = accumulated(many)
    for _ in range(10):
        other = accumulated(many)
        other.merge(total)
        total.merge(other)
    count = 1
    for _ in range(10):
        count += count + 1
    assert total.value() == float(Fraction(0.1) * (1 << 20) * count)


@compiled
def test_merges_keep_nan_and_infinities():
    for values in itertools.product([1.0, math.nan, math.inf, -math.inf], repeat=3):
        total = kernels.Sum()
        for value in values:
            total.merge(accumulated([value]))
        assert same_number(total.value(), exact_sum(values)), values


@compiled
def test_negative_sums_and_zero():
    assert accumulated([]).value() == 0
    assert accumulated([-0.1, -0.2, -0.3]).value() == math.fsum([-0.1, -0.2, -0.3])
    assert accumulated([1e300, -1e300]).value() == 0
    own = accumulated([0.1])
    own.merge(own)
    assert own.value() == 0.2


# ---- reduced losses ------------------------------------------------------------------------------


def reductions(lg, dtype, rng, rows, scale):
    """(row losses, sum, mean) of every loss over rows of one batch."""
    x = (rng.normal(size=(rows, 6)) * scale).astype(dtype)
    y = rng.integers(0, 6, rows)
    q = rng.random(x.shape).astype(dtype)
    for f, arguments in (
        (lg.cross_entropy, (x, y)),
        (lg.cross_entropy, (x, q)),
        (lg.binary_cross_entropy_with_logits, (x[:, 0], y % 2)),
        (lg.binary_cross_entropy_with_logits, (x, q)),
        (lg.binary_cross_entropy, (q, q[::-1])),
        (lg.nll_loss, (x, y)),
        (lg.mse_loss, (x, q)),
        (lg.kl_div, (x, q)),
    ):
        order = rng.permutation(rows)
        turned = tuple(a[order] for a in arguments)
        losses = f(*arguments, reduction="none")
        yield (
            losses,
            [f(*a, reduction="sum") for a in (arguments, turned)],
            losses.size,
            [f(*a) for a in (arguments, turned)],
        )


@pytest.mark.parametrize("scale", [1e-30, 0.01, 1, 100, 1e30])
def test_reduced_losses_are_correctly_rounded_sums(lg, dtype, rng, scale):
    counts = (1, 2, 15, 16, 17, 63, 64, 65, 1000, 1025, 5000)
    for rows in few(lg, counts, (17,)):
        for losses, sums, count, means in reductions(lg, dtype, rng, rows, scale):
            want = math.fsum(losses.ravel().tolist())
            assert sums == [want, want]
            assert means == [want / count] * 2


def test_losses_of_all_sizes_in_one_sum(lg, dtype, rng):
    """Row losses from subnormal ones to the largest: what is exact has to hold 2000 bits."""
    low, high = (-103, 38) if dtype == np.float32 else (-745, 308)
    for n in (16, 70, 3000):
        x = np.zeros((n, 2), dtype)
        x[0::2, 1] = rng.uniform(low, 0, x[0::2].shape[0])
        x[1::2, 1] = 10.0 ** rng.uniform(0, high - 1, x[1::2].shape[0])
        y = np.zeros(n, int)
        losses = lg.cross_entropy(x, y, reduction="none")
        want = exact_sum(losses)
        assert lg.cross_entropy(x, y, reduction="sum") == want
        assert lg.cross_entropy(x[::-1], y, reduction="sum") == want
        flat = x[:, 1].copy()
        losses = lg.binary_cross_entropy_with_logits(flat, np.zeros(n), reduction="none")
        want = lg.binary_cross_entropy_with_logits(flat, np.zeros(n), reduction="sum")
        assert want == exact_sum(losses)


def test_the_smallest_loss_breaks_a_tie(lg, dtype):
    """2**60 + 128 lies between two doubles: any third loss, however small, decides."""
    last = 100 if dtype == np.float32 else 740
    for gap in range(10, last, few(lg, 7, 49)):
        for n in few(lg, (3, 16, 64, 1000), (3, 64)):
            at = np.array([0, n // 2, n - 1])
            x = np.full((n, 2), [0, -np.inf], dtype)  # no loss
            x[np.roll(at, gap), 1] = 2.0**60, 128, -gap
            losses = lg.cross_entropy(x, np.zeros(n, int), reduction="none")
            assert (losses > 0).sum() == 3
            want = exact_sum(losses)
            assert want == 2.0**60 + 256
            assert lg.cross_entropy(x, np.zeros(n, int), reduction="sum") == want
            z = x[:, 1].copy()
            got = lg.binary_cross_entropy_with_logits(z, np.zeros(n), reduction="sum")
            assert got == want


def test_overflow_of_the_sum_alone(lg):
    """The mean of finite losses whose sum overflows is inf, not a lie."""
    x = np.array([[0.0, 1.5e308]] * 3)
    assert lg.cross_entropy(x, [0, 0, 0], reduction="sum") == math.inf
    assert lg.cross_entropy(x, [0, 0, 1], reduction="sum") == math.inf
    assert lg.cross_entropy(x, [0, 1, 1], reduction="sum") == 1.5e308


def repeated(lg, rows, dtype):
    """One row's loss times the number of rows, from views that cost no memory."""
    row = np.array([0.3, -1.7, 2.2], dtype)
    x, y = np.broadcast_to(row, (rows, 3)), np.broadcast_to(np.int8(1), (rows,))
    one = lg.cross_entropy(row[None], y[:1], reduction="none")[0]
    assert lg.cross_entropy(x, y, reduction="sum") == float(Fraction(float(one)) * rows)
    z = np.broadcast_to(row[0], (rows,))
    one = lg.binary_cross_entropy_with_logits(z[:1], z[:1], reduction="none")[0]
    want = float(Fraction(float(one)) * rows)
    assert lg.binary_cross_entropy_with_logits(z, z, reduction="sum") == want
    assert lg.binary_cross_entropy_with_logits(z, z) == want / rows


@compiled
@pytest.mark.parametrize("rows", [10**6 + 3, 10**7])
def test_many_rows(dtype, rows):
    import lossgrad

    repeated(lossgrad, rows, dtype)


@compiled
@pytest.mark.exhaustive
def test_a_thousand_million_rows(dtype):
    import lossgrad

    repeated(lossgrad, 10**9, dtype)


@compiled
@pytest.mark.exhaustive
def test_more_rows_than_32_bits_count():
    import lossgrad

    repeated(lossgrad, 2**32 + 5, np.float32)


# ---- norms ---------------------------------------------------------------------------------------


def uneasy(dtype, rng):
    """Vectors whose sums of squares lie on or next to the middle of two numbers, and plain ones."""
    for a in 1 + np.arange(20) / 64:
        yield [a, 0.5, 2**-27, -(2**-27)]
        yield [a, 0.5, 2**-27, 2**-27, 2**-60]
        yield [*[2**-60] * 1100, a, 0.5, *[0.0] * 1100, 2**-27, 2**-27]
    for size in (1, 7, 64, 1000, 1025, 5000):
        yield rng.random(size, np.float32) + 1  # squares of 48 bits: every other sum is a middle
        yield rng.normal(size=size)
    if dtype == np.float64:
        for scale in (2.0**-600, 2.0**-505, 2.0**505, 2.0**600):
            yield rng.normal(size=40) * scale
            yield np.array([1.25, 0.5, 2**-27, 2**-27, 2**-60]) * scale
            yield np.append(rng.normal(size=40) * scale, np.zeros(70_000))  # a row in parts


def test_norms_are_roots_of_correctly_rounded_sums(compiled, dtype, rng):
    for vector in uneasy(dtype, rng):
        x = np.array(vector, dtype)
        unit = 2.0 ** -math.frexp(abs(x).max())[1]
        total = sum(units(float(v) * unit) ** 2 for v in x[x != 0]) / 2**2148
        assert compiled.l2_norm(x) == compiled.l2_norm(x[::-1]) == math.sqrt(total) / unit


# ---- sums along an axis --------------------------------------------------------------------------


def uneven(dtype, rng, shape):
    """Numbers from 0 on whose sums along the first axis two numbers cannot hold, and others."""
    close = np.zeros(shape)
    for row, number in zip(close, [1.5, 2.0**-53, 2.0**-120], strict=False):
        row[:] = number
    far = np.append(np.inf, rng.random(close.size - 1)).reshape(shape)
    powers = 2.0 ** rng.integers(-60, 60, shape)
    return (a.astype(dtype) for a in (close, far, powers * rng.random(shape)))


@pytest.mark.parametrize(
    "shape", [(1100, 2, 32), (70, 80), (2, 1030, 1), (3, 2, 300), (40, 2100), (30, 1300, 2)]
)
def test_gradients_of_slopes_are_correctly_rounded_sums(compiled, dtype, rng, shape):
    for x in uneven(dtype, rng, shape):
        found = compiled.prelu_backward(np.ones_like(x), -x, np.ones(shape[1], dtype))[1]
        terms = np.moveaxis(-x, 1, 0).reshape(shape[1], -1)
        assert found.tolist() == [dtype(math.fsum(row)) for row in terms.tolist()]


@pytest.mark.parametrize("shape", [(1100, 3), (10, 128), (4, 129), (4, 40, 7)])
def test_entropies_are_correctly_rounded_sums(compiled, dtype, rng, shape):
    for a in uneven(dtype, rng, shape):
        p, q = np.where(a == np.inf, 1, a), np.where(a == np.inf, 0, 0.5)  # terms that are a
        for axis in range(a.ndim):
            found = compiled.cross_entropy_of_distributions(p, q, axis, base=2)
            terms = np.moveaxis(a, axis, -1).reshape(-1, shape[axis])
            assert found.ravel().tolist() == [dtype(math.fsum(row)) for row in terms.tolist()]
