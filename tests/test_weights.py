"""Weights of elements: factors of one product with gradient and slope, right wherever it is."""

import itertools
import math

import numpy as np
import pytest
import ulp
from calls import same_bits

INF, NAN = math.inf, math.nan
# By loss (target, p, q, r): an input of 2**i has the value 2**(p i) and the slope 2**(q + r i).
POWERS = {
    "mse_loss": (0.0, 2, 1, 1),
    "binary_cross_entropy_with_logits": (0.0, 1, 0, 0),
}
losses = pytest.mark.parametrize("loss", POWERS)


def powers(rng, loss, dtype, size=4000):
    """Exponents of x, gradient, weight and sample weight, in range and with results in range."""
    info = ulp.info(dtype)
    low, high = int(info.minexp), int(info.maxexp) - 1
    i = rng.integers(7 if "logits" in loss else low, high, size)  # log(1 + exp(-x)) does not show
    up, j = rng.integers(low, high, (2, size))
    _, p, q, r = POWERS[loss]
    k = rng.integers(low, high, size) - j - rng.choice([p * i, q + r * i + up])
    value, slope = p * i + j + k, q + r * i + up + j + k
    good = [(low <= e) & (e < high) for e in (value, slope)]
    return i, up, j, k, value, slope, good, abs(k) < 1000


def exactly(exponents, dtype):
    return np.ldexp(1.0, exponents).astype(dtype)


@losses
def test_factors_meet_in_one_product(lg, loss, dtype, rng):
    """Powers of two in any order of size: exact, whatever a product of some of them would be."""
    i, up, j, k, value, slope, good, usable = powers(rng, loss, dtype)
    for wanted, of, backward in ((value, good[0], False), (slope, good[1], True)):
        of = of & usable
        assert of.sum() > 100
        x, g, w = (exactly(e[of], dtype) for e in (i, up, j))
        t, s = np.full_like(x, POWERS[loss][0]), np.ldexp(1.0, k[of])
        given = {"weight": w, "sample_weight": s, "reduction": "none"}
        if backward:
            got = getattr(lg, f"{loss}_backward")(g, x, t, **given)
        else:
            got = getattr(lg, loss)(x, t, **given)
            both = getattr(lg, f"{loss}_value_and_grad")(x, t, **given)
            same_bits([both[0]], [got])
        same_bits([got], [exactly(wanted[of], dtype)])


@losses
def test_an_element_does_not_depend_on_its_neighbours(lg, loss, dtype, rng):
    """The careful pass is for elements that need it, wherever they stand."""
    x, t = rng.normal(size=(2, 64)).astype(dtype)
    w, g = rng.normal(size=(2, 64)).astype(dtype)
    function = getattr(lg, f"{loss}_backward")
    want = function(g, x, t, weight=w, reduction="none")
    for at, far in itertools.product((0, 5, 63), (float(ulp.info(dtype).max), 0.0, INF, NAN)):
        near = np.arange(64) != at
        other = np.where(near, w, far).astype(dtype)
        got = function(g, x, t, weight=other, reduction="none")
        same_bits([got[near]], [want[near]])
        alone = [v[at : at + 1] for v in (g, x, t, other)]
        same_bits([got[~near]], [function(*alone, reduction="none")])


def test_a_mean_keeps_the_exponent_of_its_share(lg, rng):
    """The gradient over the number of elements, or over the sum of tiny weights, is no number."""
    x = np.ldexp(1.0, rng.integers(80, 100, 8))
    got = lg.mse_loss_backward(2.0**-1070, x, np.zeros(8))
    same_bits([got], [np.ldexp(x, -1070 - 3 + 1)])
    for size in (2.0**-1070, 2.0**-1021, 2.0**1021):
        loss, slope = lg.mse_loss_value_and_grad(x, np.zeros(8), np.full(8, size))
        want = lg.mse_loss_value_and_grad(x, np.zeros(8))
        assert loss == want[0]
        same_bits([slope], [want[1]])


@pytest.mark.parametrize(
    ("function", "given", "want"),
    [
        ("mse_loss", ([INF], [0.0], [0.0]), 0.0),
        ("mse_loss", ([NAN], [0.0], [0.0]), NAN),
        ("mse_loss", ([1.0], [1.0], [INF]), 0.0),
        ("mse_loss_backward", ([1.0], [INF], [0.0], [0.0]), 0.0),
        ("mse_loss_backward", ([0.0], [INF], [0.0]), 0.0),
        ("mse_loss_backward", ([INF], [1.0], [1.0], [2.0]), NAN),
        ("mse_loss_backward", ([INF], [1.0], [2.0], [0.0]), 0.0),
        ("kl_div", ([-8.0], [INF]), INF),
        ("kl_div_backward", ([0.0], [-8.0], [INF]), 0.0),
        ("binary_cross_entropy_with_logits", ([9.0], [INF]), NAN),
        ("binary_cross_entropy_with_logits_backward", ([1.0], [-900.0], [-INF]), NAN),
    ],
)
def test_limits(lg, dtype, function, given, want):
    got = getattr(lg, function)(*(np.array(a, dtype) for a in given), reduction="none")
    np.testing.assert_array_equal(got.astype(np.float64), [want])


@pytest.mark.parametrize(("x", "want"), [(-1.0, INF), (-900.0, INF), (900.0, INF), (INF, 0.0)])
def test_infinite_pos_weight(lg, dtype, x, want):
    """Its term's limit: s(-x) is 0 at infinity alone."""
    x, t, p = (np.array([a], dtype) for a in (x, 1.0, INF))
    got = lg.binary_cross_entropy_with_logits(x, t, pos_weight=p, reduction="none")
    assert got[0] == want
    slope = lg.binary_cross_entropy_with_logits_backward(1.0, x, t, pos_weight=p, reduction="sum")
    assert slope[0] == -want


def test_prelu_with_an_infinite_weight(lg, dtype):
    x, w = np.array([-0.0, 0.0, -1.0], dtype), np.array(INF, dtype)
    same_bits([lg.prelu(x, w)], [np.array([-0.0, 0.0, -INF], dtype)])
    grad = lg.prelu_backward(np.zeros(3, dtype), x, w)[0]
    np.testing.assert_array_equal(grad.astype(np.float64), 0)


def test_prelu_without_channels(lg, dtype):
    empty = np.zeros((2, 0), dtype)
    grad, weight_grad = lg.prelu_backward(empty, empty, np.zeros(0, dtype), axis=1)
    assert grad.shape == (2, 0)
    assert weight_grad.shape == (0,)


def test_no_warning_leaves(lg, dtype):
    """Not for NaN of any payload, subnormal weights or gradients out of range."""
    x = np.array([NAN, -INF, 1e-8, 3.0, -2.0]).astype(dtype)
    signalling = np.array(np.inf, dtype).view(f"u{x.itemsize}") + np.array(1, f"u{x.itemsize}")
    x[0] = signalling.astype(f"u{x.itemsize}").view(dtype)
    with np.errstate(all="raise"):
        lg.rrelu(x, upper=0.5)
        lg.rrelu_backward(x, x, upper=0.5)
        lg.mse_loss_value_and_grad(x, x[::-1], x)
        lg.mse_loss_backward(1.5, x, x[::-1], np.full(5, ulp.info(dtype).tiny))


@pytest.mark.parametrize("name", ["tanh", "gelu", "mish", "sigmoid", "softplus"])
def test_slopes_far_out_keep_their_sign(lg, name):
    """An infinite gradient finds it at the ends of float64."""
    x = np.array([1.0, -1.0]) * np.finfo(np.float64).max
    options = {"approximate": "tanh"} if name == "gelu" else {}
    got = getattr(lg, f"{name}_backward")(np.full(2, INF), x, **options)
    np.testing.assert_array_equal(got, [INF, -INF if name in ("gelu", "mish") else INF])
