"""Sums without rounding: their values, and one form whatever the order."""

import math
from fractions import Fraction

import numpy as np
import pytest

from lossgrad.evaluation.exact import ExactSums


def exact_sum(*blocks):
    sums = ExactSums(1)
    for block in blocks:
        sums.add(np.asarray(block))
    assert sums.values()[0] == sums.total()
    return sums.total()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0, 1, 10, 30])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, (1 << 15) + 1, 100_000])
def test_the_rounded_rational_sum(dtype, spread, size):
    random = np.random.default_rng(size + spread)
    values = random.random(size) * 2.0 ** random.integers(-spread, spread + 1, size)
    values = values.astype(dtype)
    assert exact_sum(values) == math.fsum(values.tolist())


def test_over_the_whole_range_of_float64():
    random = np.random.default_rng(1)
    values = np.ldexp(random.random(5000), random.integers(-1073, 1020, 5000))
    values = np.concatenate([values, [5e-324, 5e-324, 1e308, 2.0**-1022, 0.0]])
    sums = ExactSums(3)
    sums.add(values, 1)
    expected = sum(map(Fraction, values.tolist()), Fraction(0))
    assert sums.fraction() == sums.fraction(1) == expected
    assert sums.fraction(0) == 0
    np.testing.assert_array_equal(sums.values(), [0.0, float(expected), 0.0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0**53, 1.0, 2.0**-60], 2.0**53 + 2),  # just above a tie: up
        ([2.0**53, 1.0], 2.0**53),  # a tie: to even
        ([5e-324, 5e-324], 1e-323),
        ([1.7e308, 1.7e308], math.inf),
        ([math.inf, 1.0], math.inf),
        ([], 0.0),
        ([0.0, -0.0], 0.0),
        ([1, 2, 3], 6.0),
        ([True, False, True], 2.0),
    ],
)
def test_edges(values, expected):
    assert exact_sum(np.array(values)) == expected
    assert exact_sum(*([value] for value in values)) == expected


def test_any_layout_and_the_input_left_alone():
    values = np.random.default_rng(2).random((300, 70))
    before = values.copy()
    expected = math.fsum(values.ravel())
    values.flags.writeable = False
    for same in (values, values.T[::-1], values.astype(">f8")):
        assert exact_sum(same) == expected
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("size", [1, 7, 300_000])
def test_groups(size):
    random = np.random.default_rng(3)
    values, groups = random.random(5000) ** 20, random.integers(0, size, 5000)
    sums = ExactSums(size)
    sums.add(values, groups)
    sums.add(None, groups[:100])
    sums.add(2.5, size - 1)
    expected = [Fraction(0)] * size
    for value, group in zip(values.tolist(), groups.tolist(), strict=True):
        expected[group] += Fraction(value)
    for group in groups[:100]:
        expected[group] += 1
    expected[size - 1] += Fraction(2.5)
    np.testing.assert_array_equal(sums.values(), [float(value) for value in expected])
    assert sums.fraction() == sum(expected)


def test_bytes_do_not_depend_on_order_or_merges():
    random = np.random.default_rng(4)
    values = random.random(4000) * 2.0 ** random.integers(-80, 80, 4000)
    values[7] = math.inf
    groups = random.integers(0, 5, 4000)
    whole = ExactSums(5)
    whole.add(values, groups)
    for _ in range(20):
        merged = ExactSums(5)
        order = random.permutation(4000)
        for part in np.split(order, np.sort(random.integers(0, 4000, 7))):
            shard = ExactSums(5)
            shard.add(values[part], groups[part])
            shard.merge(merged)
            merged = shard
        assert merged.to_bytes() == whole.to_bytes()
    again, rest = ExactSums.from_bytes(5, memoryview(whole.to_bytes() + b"rest"))
    assert bytes(rest) == b"rest"
    assert again.to_bytes() == whole.to_bytes()
    np.testing.assert_array_equal(again.values(), whole.values())
    assert np.isinf(whole.values()).sum() == 1


def test_limbs_never_overflow(monkeypatch):
    """More values than a limb has room for: it is carried in time."""
    monkeypatch.setattr("lossgrad.evaluation.exact._ROOM", 100)
    monkeypatch.setattr("lossgrad.evaluation.exact._CHUNK", 50)
    sums = ExactSums(1)
    for size in [90] * 300 + [1000]:
        sums.add(np.full(size, float(2**32 - 1)))
        assert max(int(column[0]) for column in sums._limbs.values()) < 101 * 2**32
    assert sums.total() == (90 * 300 + 1000) * (2**32 - 1)


def test_compiled_and_numpy_give_the_same_bytes(monkeypatch):
    random = np.random.default_rng(5)
    values = np.ldexp(random.random(3000), random.integers(-1080, 1025, 3000))
    values[[5, 70]] = math.inf, -0.0
    groups = random.integers(0, 9, 3000).astype(np.int16)

    def found():
        sums = ExactSums(9)
        for own, to in ((values, groups), (None, groups), (values[::2], 3), (True, 8), (None, [])):
            sums.add(own, to)
        return sums.to_bytes()

    expected = found()
    monkeypatch.setattr("lossgrad.evaluation.exact.kernels", None)
    assert found() == expected


@pytest.mark.parametrize("values", [None, np.ones(3)])
@pytest.mark.parametrize("group", [-1, 4, 2**40])
def test_a_group_that_is_not_there(values, group):
    sums = ExactSums(4)
    with pytest.raises((ValueError, IndexError, MemoryError)):
        sums.add(values, np.array([0, group, 1]))


@pytest.mark.parametrize("bad", [-1.0, math.nan, -math.inf])
def test_what_cannot_be_summed(bad):
    with pytest.raises(ValueError, match="from 0 to infinity"):
        exact_sum([1.0, bad])


@pytest.mark.parametrize("compiled", [True, False])
def test_sums_beyond_the_range(compiled, monkeypatch):
    """Merged with shifts both ways, in any order, some groups with twice the shift."""
    if not compiled:
        monkeypatch.setattr("lossgrad.evaluation.exact.kernels", None)
    random = np.random.default_rng(8)
    values = np.ldexp(random.random(400), random.integers(-1073, 1024, 400))
    groups, shifts = random.integers(0, 3, 400), random.integers(-32, 33, 400)
    expected = [Fraction(0)] * 3
    for value, group, shift in zip(values.tolist(), groups, shifts.tolist(), strict=True):
        expected[group] += Fraction(value) * Fraction(2) ** (32 * shift * (2 if group == 2 else 1))
    seen = set()
    for _ in range(3):
        sums = ExactSums(3)
        for k in random.permutation(400):
            part = ExactSums(3)
            part.add(values[k : k + 1], groups[k : k + 1])
            sums.merge(part, int(shifts[k]), [2])
        sums.add(math.inf, 1)
        seen.add(sums.to_bytes())
    assert len(seen) == 1
    sums, _ = ExactSums.from_bytes(3, memoryview(seen.pop()))
    assert [sums.fraction(k) for k in range(3)] == expected
    for shift in (-96, -64, 0, 1):
        scaled = [one * Fraction(2) ** (32 * shift) for one in expected]
        wanted = [float(one) if one < 2**1023 else math.inf for one in scaled]
        assert sums.values(shift).tolist() == [wanted[0], math.inf, wanted[2]]


@pytest.mark.parametrize("limbs", [[-99], [98], [0, 0], [3, 0], [1], [], [2**31 - 1], [-(2**31)]])
def test_bytes_of_limbs_that_no_sum_has(limbs):
    parts = [len(limbs).to_bytes(4, "little")]
    parts += [limb.to_bytes(4, "little", signed=True) + bytes(4) for limb in limbs]
    with pytest.raises(ValueError, match="limb"):
        ExactSums.from_bytes(1, memoryview(b"".join([*parts, bytes(4)])))


@pytest.mark.parametrize("counts", [[-1, 1], [2**62, 0], [1]])
def test_bytes_of_infinities_that_no_sum_has(counts):
    data = ExactSums(2).to_bytes()[:-4] + (1).to_bytes(4, "little") + np.int64(counts).tobytes()
    with pytest.raises(ValueError, match=r"infinities|announced"):
        ExactSums.from_bytes(2, memoryview(data))
