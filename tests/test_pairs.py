"""Two models' rows: bounds against mpmath, limits, roles that swap, and the same bits anywhere."""

import functools

import numpy as np
import pytest
from conftest import FUSED_LEVELS, few, kernels

from lossgrad import reference
from lossgrad.evaluation import pairs as measured
from lossgrad.evaluation.pairs import PairStatistics

mpmath = pytest.importorskip("mpmath")
FIELDS = PairStatistics._fields
DIVERGENCES = FIELDS[:3]
INF = np.inf
# as the docstring of PairStatistics states them
BOUNDS = {"float32": 2**-21, "float64": 2**-50}
LEAST = 1e-12
CLASSES = (2, 3, 10, 33, 130)
OF_REFERENCE = (3, 33)


@pytest.fixture
def pair_statistics(lg, monkeypatch):
    """The function on each backend in turn."""
    if lg is reference:
        monkeypatch.setattr(measured, "kernels", None)
    return measured.pair_statistics


def cases(rng, dtype, sizes=CLASSES):
    """(kind, base, other, labels) of 4 rows each."""
    for classes in sizes:
        x = rng.normal(size=(4, classes)) * [[0.5], [3], [8], [30]]
        noise, far = rng.normal(size=(2, 4, classes))
        sure = x.copy()
        sure[:, 0] += [10, 20, 30, 60]
        made = {
            "others": (x, far * 3),
            "near": (x, x + noise * 0.1),
            "nearer": (x, x + noise * [[1e-3], [1e-4], [1e-5], [4e-6]]),
            "some": (x, x + noise * (rng.random(x.shape) < 0.1)),
            "shifted": (x, x + noise * 1e-3 + [[900.3], [-77], [3.3], [-1e-3]]),
            "sure": (sure, sure + noise),
            "sure of others": (sure, np.roll(sure, 1, axis=1)),
            "sure, nearly shifted": (sure, sure + noise * 1e-3 + [[0.7], [-0.4], [0.2], [0.03]]),
            "nearly shifted": (x, x + noise * 1e-4 + [[0.9], [-0.3], [0.1], [0.01]]),
            "not far": (x, x + noise * [[0.3], [0.5], [0.7], [1]]),
            "apart": (x, x + noise * 40),
        }
        for kind, (base, other) in made.items():
            y = rng.integers(0, classes, 4)
            yield kind, base.astype(dtype), other.astype(dtype), y


def exact_row(x, z, y):
    """Divergences, losses and their difference."""
    with mpmath.workprec(200):
        logits = [[mpmath.mpf(float(v)) for v in row] for row in (x, z)]
        logs = []
        for row in logits:
            top = max(row)
            total = mpmath.log(mpmath.fsum(mpmath.exp(v - top) for v in row))
            logs.append([v - top - total for v in row])
        shares = [[mpmath.exp(v) for v in row] for row in logs]
        terms = [(p, q, u, v) for p, q, u, v in zip(*shares, *logs, strict=True)]
        middles = [mpmath.log((p + q) / 2) for p, q, _, _ in terms]
        kl = mpmath.fsum(p * (u - v) for p, _, u, v in terms)
        kl_reverse = mpmath.fsum(q * (v - u) for _, q, u, v in terms)
        js = mpmath.fsum(
            p * (u - m) + q * (v - m) for (p, q, u, v), m in zip(terms, middles, strict=True)
        )
        return kl, kl_reverse, js / 2, -logs[0][y], -logs[1][y], logs[0][y] - logs[1][y]


@functools.cache
def exact_cases(dtype):
    made = list(cases(np.random.default_rng(7), dtype))
    return [(case, [exact_row(*rows) for rows in zip(*case[1:], strict=True)]) for case in made]


def test_bounds(lg, pair_statistics, dtype):
    """A difference of losses is as wrong as the root of the divergence, beside its own bound."""
    bound = BOUNDS[np.dtype(dtype).name]
    seen = 0
    for (kind, x, z, y), exact in exact_cases(dtype):
        if x.shape[1] not in few(lg, CLASSES, OF_REFERENCE):
            continue
        found = pair_statistics(x, z, y)
        for k, right in enumerate(exact):
            scales = [*(max(v, LEAST) for v in right[:3]), *right[3:5]]
            scales.append(abs(right[5]) + mpmath.sqrt(right[0]))
            for name, value, scale in zip(FIELDS, right, scales, strict=False):
                error = abs(getattr(found, name)[k] - value)
                assert error <= bound * scale, (kind, x.shape, name, float(error / scale / bound))
            seen += LEAST < right[0] < 1e-9
    assert seen > few(lg, 10, 3)


def test_equal_rows_and_shifts(pair_statistics, dtype, rng):
    x = rng.integers(-40, 40, (9, 70)).astype(dtype) / 8
    found = pair_statistics(x, x.copy(), np.arange(9))
    for name in (*DIVERGENCES, "loss_difference"):
        assert (getattr(found, name) == 0).all()
    moved = pair_statistics(x, x + dtype(512), np.arange(9))
    for name in DIVERGENCES:
        assert (getattr(moved, name) >= 0).all()
        assert (getattr(moved, name) < 1e-18).all()
    assert (abs(moved.loss_difference) < 1e-12).all()


def test_roles_swap(lg, pair_statistics, dtype, rng):
    """Of divergences within their bounds, since near 0 they are sums over the base's softmax."""
    bound = 2 * BOUNDS[np.dtype(dtype).name]
    for kind, x, z, y in cases(rng, dtype, few(lg, CLASSES, OF_REFERENCE)):
        a, b = pair_statistics(x, z, y, top_k=3), pair_statistics(z, x, y, top_k=3)
        pairs = [("overlap", "overlap")]
        pairs += [(f"base_{part}", f"other_{part}") for part in ("loss", "rank", "predicted")]
        for name, swapped in pairs:
            for one, two in ((name, swapped), (swapped, name)):
                np.testing.assert_array_equal(getattr(a, one), getattr(b, two), err_msg=kind)
        for one, two in (("kl", "kl_reverse"), ("kl_reverse", "kl"), ("js", "js")):
            np.testing.assert_allclose(
                getattr(a, one), getattr(b, two), bound, bound * LEAST, err_msg=kind
            )
        felt = bound * (abs(a.loss_difference) + np.sqrt(a.kl))
        assert (abs(a.loss_difference + b.loss_difference) <= felt).all(), kind
        assert all((getattr(a, name) >= 0).all() for name in DIVERGENCES)
        assert (a.js <= np.log(2) * (1 + 2**-20)).all()


def test_limits(pair_statistics, dtype):
    most = np.finfo(dtype).max
    rows = [
        # base, other, KL, its reverse, Jensen-Shannon
        ([0, -INF, 0], [0, -INF, 0], 0, 0, 0),
        ([0, 0, -INF], [0, 0, 0], np.log(1.5), INF, None),
        ([0, 0, 0], [0, -INF, 0], INF, np.log(1.5), None),
        ([0, -INF, -INF], [-INF, 0, 0], INF, INF, np.log(2)),
        ([-INF, 3, -INF], [-INF, 900, -INF], 0, 0, 0),
        ([0, -800 * most.astype(float) ** 0.5, 1], [0, -INF, 1], INF, 0, 0),
        ([0, -most, 0], [0, -most, 0], 0, 0, 0),
        ([most, -most, 0], [most, -most, 0], 0, 0, 0),
        ([0, 0, 0], [most / 2, 0, 0], most.astype(float) / 3, np.log(3), None),
        ([0, 0, 0], [0, 0, -most], most.astype(float) / 3, np.log(1.5), None),
        ([INF, 0, 0], [0, 0, 0], np.nan, np.nan, np.nan),
        ([0, 0, 0], [0, INF, INF], np.nan, np.nan, np.nan),
        ([np.nan, 0, 0], [0, 0, 0], np.nan, np.nan, np.nan),
        ([0, 0, 0], [-INF, -INF, -INF], np.nan, np.nan, np.nan),
    ]
    x, z = (np.array([row[k] for row in rows], dtype) for k in (0, 1))
    found = pair_statistics(x, z, np.zeros(len(rows), int))
    for k, row in enumerate(rows):
        for name, value in zip(DIVERGENCES, row[2:], strict=True):
            if value is not None:
                np.testing.assert_allclose(getattr(found, name)[k], value, 1e-6, 1e-30, err_msg=k)
            else:
                assert 0 < getattr(found, name)[k] < np.log(2)
    np.testing.assert_array_equal(found.base_predicted, [*[0] * 4, 1, 2, *[0] * 6, -1, 0])
    np.testing.assert_array_equal(found.other_predicted[-5:], [0, 0, -1, 0, -1])
    np.testing.assert_array_equal(found.base_rank[-5:], [0, 0, 0, -1, 0])
    np.testing.assert_array_equal(found.overlap[-4:], [0, -1, -1, -1])
    np.testing.assert_array_equal(found.base_loss[[4, 10, 12]], [INF, 0, np.nan])
    assert np.isnan(found.loss_difference[-4:]).all()
    assert np.isnan(found.loss_difference[4])  # both masked
    assert found.loss_difference[3] == INF


def test_choices(lg, pair_statistics, dtype, rng):
    """Equal logits count in the order of their classes."""
    for classes in few(lg, (1, 2, 16, 33, 150), (1, 33)):
        for values in (2, 5, 1000):
            x, z = rng.integers(0, values, (2, 20, classes)).astype(dtype)
            x[::7, : classes // 2] = -INF
            y = rng.integers(0, classes, 20)
            orders = [np.argsort(-a, axis=1, kind="stable") for a in (x, z)]
            for k in {0, 1, min(5, classes), classes, classes + 3}:
                found = pair_statistics(x, z, y, top_k=k)
                same = [len({*a[:k]} & {*b[:k]}) for a, b in zip(*orders, strict=True)]
                np.testing.assert_array_equal(found.overlap, same)
            for name, order in zip(("base", "other"), orders, strict=True):
                np.testing.assert_array_equal(getattr(found, f"{name}_predicted"), order[:, 0])
                rank = (order == y[:, None]).argmax(1)
                np.testing.assert_array_equal(getattr(found, f"{name}_rank"), rank)


def test_labels(pair_statistics, lg, dtype, rng):
    x, z = rng.normal(size=(2, 40, 21)).astype(dtype)
    y = rng.integers(0, 21, 40).astype(np.int16)
    y[::3] = 7
    found = pair_statistics(x, z, y, ignore_index=7)
    none, kept = pair_statistics(x, z), y != 7
    for name, logits in (("base", x), ("other", z)):
        loss, rank = getattr(found, f"{name}_loss"), getattr(found, f"{name}_rank")
        expected = lg.cross_entropy(logits, y, reduction="none", ignore_index=7)
        np.testing.assert_array_equal(loss[kept].astype(dtype), expected[kept])
        assert np.isnan(loss[~kept]).all()
        assert (rank[~kept] == -1).all()
        assert np.isnan(getattr(none, f"{name}_loss")).all()
        assert (getattr(none, f"{name}_rank") == -1).all()
    assert np.isnan(found.loss_difference[~kept]).all()
    difference = found.other_loss - found.base_loss
    np.testing.assert_allclose(found.loss_difference[kept], difference[kept], 1e-5, 1e-6)
    for name in (*DIVERGENCES, "base_predicted", "other_predicted", "overlap"):
        np.testing.assert_array_equal(getattr(found, name), getattr(none, name))


def test_errors(pair_statistics, dtype):
    x = np.zeros((3, 4), dtype)
    with pytest.raises(IndexError, match="label 4 in row 1 is outside"):
        pair_statistics(x, x, np.array([0, 4, -7]))
    with pytest.raises(TypeError, match="integer labels"):
        pair_statistics(x, x, x)
    with pytest.raises(ValueError, match=r"other has shape \(2, 4\), but base has shape \(3, 4\)"):
        pair_statistics(x, x[:2])
    with pytest.raises(ValueError, match=r"base has shape \(4,\)"):
        pair_statistics(x[0], x[0])
    with pytest.raises(ValueError, match=r"top_k \(-1\) is negative"):
        pair_statistics(x, x, top_k=-1)
    assert all(len(field) == 0 for field in pair_statistics(x[:0], x[:0], np.zeros(0, int)))


def test_any_two_types(pair_statistics, rng):
    """Float32 and what is narrower as float32, and anything beside float64 as that."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kinds = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
    x, z = rng.normal(size=(2, 10, 37))
    for one in kinds:
        for two in kinds:
            a, b = x.astype(one), z.astype(two)
            wide = np.float64 if np.float64 in (one, two) else np.float32
            assert bits(pair_statistics(a, b)) == bits(
                pair_statistics(a.astype(wide), b.astype(wide))
            )
    whole = pair_statistics((x * 4).astype(int), z)
    assert bits(whole) == bits(pair_statistics((x * 4).astype(int).astype(float), z))


def bits(found, rows=slice(None)):
    return [field[rows].tobytes() for field in found]


@pytest.mark.parametrize("classes", [2, 16, 33, 200])
def test_neighbours_do_not_matter(lg, pair_statistics, dtype, rng, classes):
    """Rows of every kind beside each other, some of them ignored, and each alone."""
    n = 60
    x = rng.normal(scale=3, size=(n, classes)) * rng.choice([1, 1, 40], (n, 1))
    z = x + rng.normal(size=x.shape) * rng.choice([1e-5, 1, 30], (n, 1))
    z += rng.choice([0, 0, 250, -3e4, 1e6], (n, 1))
    for a in (x, z):
        rare = rng.choice([0, np.nan, INF, -INF, -1e38], x.shape, p=[0.94, 0.01, 0.01, 0.02, 0.02])
        a[rare != 0] = rare[rare != 0]
    x, z, y = x.astype(dtype), z.astype(dtype), rng.integers(0, classes, n)
    y[rng.random(n) < 0.2] = -100
    found = pair_statistics(x, z, y, top_k=2)
    for k in few(lg, range(n), range(0, n, 13)):
        one = pair_statistics(x[k : k + 1], z[k : k + 1], y[k : k + 1], top_k=2)
        assert bits(one) == bits(found, slice(k, k + 1)), k


@pytest.mark.skipif(not kernels, reason="compares levels")
def test_same_bits_anywhere(dtype, rng):
    """On every level with fused multiply-add, any batch, stride, padding and number of threads."""
    level = kernels.level()
    call = measured.pair_statistics
    sharing = kernels.set_sharing(0, 0)
    try:
        for _, x, z, y in cases(rng, dtype):
            padded = [np.pad(a, ((0, 0), (0, 37)), constant_values=-INF) for a in (x, z)]
            seen = []
            for name in FUSED_LEVELS:
                kernels.set_level(name)
                seen.append(bits(call(x, z, y, top_k=2)))
                seen.append(bits(call(np.asfortranarray(x), z, y, top_k=2, num_threads=2)))
                seen.append(bits(call(padded[0][:, : x.shape[1]], z, y, top_k=2)))
                seen.append(bits(call(*padded, y, top_k=2)))
            assert all(other == seen[0] for other in seen), x.shape
    finally:
        kernels.set_level(level)
        kernels.set_sharing(*sharing)
