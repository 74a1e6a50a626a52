"""Elementwise functions and their derivatives keep the bounds that C states (csrc/ops.h)."""

import functools

import mpmath
import numpy as np
import oracle
import pytest
import ulp

from lossgrad import _backend
from lossgrad._registry import OPS

BITS = {np.float32: np.uint32, np.float64: np.uint64}
ACTIVATIONS = [op for op in OPS if op.kind == "elementwise"]
LOSSES = [op for op in OPS if op.kind == "loss_elementwise"]
# Bounds that hold for the reference too; used where there are no kernels to state them.
BOUNDS = {"sigmoid": (1.0, 2.0), "binary_cross_entropy_with_logits": (2.0, 2.0)}

# Inputs with the largest error among all 2**32, or otherwise found to be hard.
WORST = {
    np.float32: [-103.27893, -103.97208, -88.72284, -87.33655, -17.32868, -1.0001221e-4],
    np.float64: [-745.1332191019412, -744.4400719213812, -709.782712893384, -708.3964185322641],
}


def bounds(op):
    if _backend.kernels is None:
        return BOUNDS[op.name]
    return _backend.kernels.ops()[op.name][-2:]


@functools.cache
def inputs(dtype, count):
    """Bit patterns of all kinds: for float32 every k-th, k prime; for float64 random ones too."""
    info = np.finfo(dtype)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal]
        + [info.eps * 2.0**k for k in range(-4, 5)]
        + [k * np.log(2.0) for k in range(-1080, 1080)]
        + WORST[dtype],
        dtype,
    )
    bits = special.view(BITS[dtype])
    special = np.concatenate([(bits + k).view(dtype) for k in np.arange(5, dtype=bits.dtype)])
    if dtype == np.float32:
        stride = next(k for k in range(2**32 // count, 0, -1) if is_prime(k))
        grid = np.arange(0, 2**32, stride, dtype=np.uint32).view(dtype)
    else:
        rng = np.random.default_rng(1)
        grid = rng.integers(0, 2**64, count // 4, np.uint64).view(dtype)
        wide = rng.uniform(-760, 760, count // 4)
        scale = 2.0 ** rng.uniform(-60, 10, count // 4)
        grid = np.concatenate([grid, wide, rng.normal(size=count // 4) * scale])
    return np.concatenate([special, -special, grid])


def is_prime(k):
    return all(k % d for d in range(2, int(k**0.5) + 1))


@functools.cache
def exact(name, dtype, count, *target):
    x = inputs(dtype, count)
    return getattr(oracle, name)(x, *(np.full_like(x, t) for t in target))


COUNT = {np.float32: 2**22, np.float64: 2**18}


@pytest.mark.parametrize("op", ACTIVATIONS, ids=lambda op: op.name)
def test_forward_bound(lg, op, dtype):
    x = inputs(dtype, COUNT[dtype])
    result = getattr(lg, op.name)(x)
    ulp.assert_within(bounds(op)[0], result, exact(op.name, dtype, COUNT[dtype]), inputs=x)


@pytest.mark.parametrize("op", ACTIVATIONS, ids=lambda op: op.name)
def test_derivative_bound(lg, op, dtype):
    x = inputs(dtype, COUNT[dtype])
    result = getattr(lg, f"{op.name}_backward")(np.ones_like(x), x)
    want = exact(f"{op.name}_derivative", dtype, COUNT[dtype])
    ulp.assert_within(bounds(op)[1], result, want, inputs=x)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
def test_loss_bound_at_labels(lg, op, dtype, target):
    count = COUNT[dtype] // 4
    x = inputs(dtype, count)
    t = np.full_like(x, target)
    value = getattr(lg, op.name)(x, t, reduction="none")
    ulp.assert_within(bounds(op)[0], value, exact(op.name, dtype, count, target), inputs=x)
    total, grad = getattr(lg, f"{op.name}_value_and_grad")(x, t, reduction="none")
    want = exact(f"{op.name}_derivative", dtype, count, target)[0]
    ulp.assert_within(bounds(op)[1], grad, want, inputs=x)
    np.testing.assert_array_equal(total, value)


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
def test_loss_bound_at_any_target(lg, op, dtype, rng):
    x = rng.normal(size=20000).astype(dtype) * 10
    t = rng.uniform(0, 1, x.size).astype(dtype)
    t[::7] = rng.normal(size=t[::7].size) * 3  # any real number is taken
    value, grad = getattr(lg, f"{op.name}_value_and_grad")(x, t, reduction="none")
    between = (t >= 0) & (t <= 1)
    want, size = getattr(oracle, op.name)(x, t), getattr(oracle, f"{op.name}_larger")(x, t)
    slope, larger = getattr(oracle, f"{op.name}_derivative")(x, t)
    # Each term is a product of three rounded factors, so 1 ULP more than at labels.
    ulp.assert_within(3.0, grad, slope, larger, inputs=x, what="gradient")
    ulp.assert_within(3.0, value, want, size, inputs=x, what="value, unit of its larger term")
    ulp.assert_within(3.0, value[between], want[between], inputs=x[between], what="value")


def test_bce_weights(lg, dtype, rng):
    x = rng.normal(size=5000).astype(dtype) * 10
    t = (rng.uniform(size=x.size) < 0.5).astype(dtype)
    w, p = (rng.uniform(0, 3, x.size).astype(dtype) for _ in range(2))
    value, grad = lg.binary_cross_entropy_with_logits_value_and_grad(
        x, t, w, pos_weight=p, reduction="none"
    )
    wide = oracle.wide(w), oracle.wide(p)
    want = oracle.binary_cross_entropy_with_logits(x, t, *wide)
    slope, _ = oracle.binary_cross_entropy_with_logits_derivative(x, t, *wide)
    ulp.assert_within(3.0, value, want, inputs=x, what="value")
    ulp.assert_within(3.0, grad, slope, inputs=x, what="gradient")


def test_sigmoid_is_odd_about_a_half_and_in_range(lg, dtype):
    x = inputs(dtype, COUNT[dtype])
    x = x[~np.isnan(x)]
    y = lg.sigmoid(x)
    assert ((y >= 0) & (y <= 1)).all()
    assert lg.sigmoid(dtype(0)) == 0.5


def mp_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def mp_bce(x, t):
    return t * mpmath.log1p(mpmath.exp(-x)) + (1 - t) * mpmath.log1p(mpmath.exp(x))


def test_oracle_against_mpmath(dtype):
    """The fast oracle has 2**-8 of a result's ULP to spare, the naive formula at 3000 bits says."""
    x = inputs(dtype, COUNT[dtype])
    x = x[np.isfinite(x) & (abs(x) < 1000)]
    x = np.concatenate([x[:: x.size // 300], np.array(WORST[dtype], dtype)])
    with mpmath.workprec(3000):
        values = [mpmath.mpf(float(v)) for v in x]
        s = [mp_sigmoid(v) for v in values]
        pairs = [
            (oracle.sigmoid(x), s),
            (oracle.sigmoid_derivative(x), [v * (1 - v) for v in s]),
        ]
        for t in (0, 1):
            target = np.full_like(x, t)
            pairs.append(
                (oracle.binary_cross_entropy_with_logits(x, target), [mp_bce(v, t) for v in values])
            )
            slope = oracle.binary_cross_entropy_with_logits_derivative(x, target)[0]
            pairs.append((slope, [v - t for v in s]))
        for fast, slow in pairs:
            lost = [ulp._mp_distance(mpmath.mpf(0), mpmath.mpf(0), 1)]  # 0: both zero
            for a, b in zip(fast, slow, strict=True):
                step = ulp._mp_unit(
                    b, np.finfo(dtype).nmant, -149 if dtype == np.float32 else -1074
                )
                lost.append(float(abs(to_mp(a) - b) / step))
            assert max(lost) < 2**-8


def to_mp(value):
    """A wide number, exactly."""
    if isinstance(value, mpmath.mpf):
        return value
    part, exponent = np.frexp(value)
    high = float(part)
    return mpmath.ldexp(mpmath.mpf(high) + float(part - type(part)(high)), int(exponent))


def test_ruler():
    """The ruler itself, on cases that can be counted by hand."""
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        one = dtype(1)
        up = np.nextafter(one, dtype(2))
        wide = oracle.wide(np.array([1, 1, 1, 0, 0, np.inf, np.nan, 4], dtype))
        got = np.array([1, up, -1, 0, info.smallest_subnormal, np.inf, 1, np.nan], dtype)
        apart = ulp.distance(got, wide)
        np.testing.assert_array_equal(
            apart, [0, 1, 2 / float(info.eps), 0, 1, 0, np.inf, np.inf], strict=False
        )
        half = oracle.wide(np.array([1, 0.5], dtype)) + oracle.wide(np.array(info.eps / 2))
        np.testing.assert_array_equal(ulp.distance(np.array([1, 0.5], dtype), half), [0.5, 1])
        exact = oracle.multiprecision(np.array([1.0, 0.0]))
        got = np.array([up, info.smallest_subnormal], dtype)
        np.testing.assert_array_equal(ulp.distance(got, exact), [1, 1])


@pytest.mark.exhaustive
@pytest.mark.parametrize("op", ACTIVATIONS, ids=lambda op: op.name)
def test_every_float32(compiled, op):
    forward, backward = getattr(compiled, op.name), getattr(compiled, f"{op.name}_backward")
    for start in range(0, 2**32, 2**22):
        x = np.arange(start, start + 2**22, dtype=np.uint32).view(np.float32)
        ulp.assert_within(bounds(op)[0], forward(x), getattr(oracle, op.name)(x), inputs=x)
        slope = getattr(oracle, f"{op.name}_derivative")(x)
        ulp.assert_within(bounds(op)[1], backward(np.ones_like(x), x), slope, inputs=x)


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
def test_every_float32_loss(compiled, op, target):
    both = getattr(compiled, f"{op.name}_value_and_grad")
    for start in range(0, 2**32, 2**22):
        x = np.arange(start, start + 2**22, dtype=np.uint32).view(np.float32)
        t = np.full_like(x, target)
        value, grad = both(x, t, reduction="none")
        ulp.assert_within(bounds(op)[0], value, getattr(oracle, op.name)(x, t), inputs=x)
        slope = getattr(oracle, f"{op.name}_derivative")(x, t)[0]
        ulp.assert_within(bounds(op)[1], grad, slope, inputs=x)
