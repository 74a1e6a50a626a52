"""The functions beside the first three: identities that tie them together, units, and the edges of
losses, distributions and norms, on every backend."""

import functools
import math
import re

import ml_dtypes
import numpy as np
import oracle
import pytest
import ulp
from calls import all_calls, one_of_each, same_bits
from conftest import few

from benchmarks import exhaustive

INF, NAN = math.inf, math.nan
HALVES = [np.float16, ml_dtypes.bfloat16]


@pytest.fixture(autouse=True)
def strict():
    """No floating-point warning may leave a function, whatever the caller has set."""
    with np.errstate(all="raise"):
        yield


@pytest.fixture
def near(dtype):
    eps = np.finfo(dtype).eps
    return np.errstate(all="ignore")(
        functools.partial(np.testing.assert_allclose, rtol=32 * eps, atol=8 * eps)
    )


def same(got, want, dtype=np.float64):
    np.testing.assert_array_equal(got, np.asarray(want, dtype))


def distributions(rng, dtype, count, shape=(40, 9)):
    return [rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype) for _ in range(count)]


# ---- identities ----------------------------------------------------------------------------------


def test_activations_are_one_another(lg, dtype, rng, near):
    x, one = (rng.normal(size=300) * 4).astype(dtype), np.ones(300, dtype)
    near(lg.log_sigmoid(x), -lg.softplus(-x))
    near(lg.softplus(x) - lg.softplus(-x), x)
    near(lg.softplus_backward(one, x, 2.0), lg.sigmoid(2 * x))
    near(lg.softplus(x, 4.0), lg.softplus(4 * x) / 4)
    near(lg.log_sigmoid_backward(one, x), lg.sigmoid(-x))
    near(lg.tanh(x), 2 * lg.sigmoid(2 * x) - 1)
    near(lg.tanh_backward(one, x), 4 * lg.sigmoid_backward(one, 2 * x))
    near(lg.silu(x), x * lg.sigmoid(x))
    near(lg.silu(x) - lg.silu(-x), x)  # and so with every x F(x), F(x) + F(-x) = 1
    near(lg.gelu(x) + -lg.gelu(-x), x)
    near(lg.gelu(x, "tanh") - lg.gelu(-x, "tanh"), x)
    near(lg.mish(x), x * lg.tanh(lg.softplus(x)))
    near(lg.hardswish(x), x * lg.hardsigmoid(x))
    near(lg.celu(x, 2.0), 2 * lg.elu(x / 2))
    near(lg.selu(x), 1.0507009873554805 * lg.elu(x, 1.6732632423543772))
    near(lg.relu(x) - lg.relu(-x), x)
    near(lg.leaky_relu(x, 0.2), 0.8 * lg.relu(x) + 0.2 * x)
    near(lg.prelu(x, 0.2), lg.leaky_relu(x, 0.2))
    near(lg.rrelu(x, 0.1, 0.3), lg.leaky_relu(x, 0.2))
    near(lg.softsign(x), -lg.softsign(-x))


def test_softmax_family_is_one_another(lg, dtype, rng, near):
    x, g = ((rng.normal(size=(6, 5, 4)) * 3).astype(dtype) for _ in range(2))
    for axis in (0, 1, 2, -1):
        same_bits([lg.softmin(x, axis)], [lg.softmax(-x, axis)])
        same_bits([lg.softmin_backward(g, x, axis)], [-lg.softmax_backward(g, -x, axis)])
        jacobian = lg.softmax_jacobian(x, axis)
        p, last = np.moveaxis(lg.softmax(x, axis), axis, -1), np.moveaxis(g, axis, -1)
        assert jacobian.shape == (*p.shape, p.shape[-1])
        near(jacobian, p[..., :, None] * (np.eye(p.shape[-1]) - p[..., None, :]))
        product = np.einsum("...ij,...j->...i", jacobian, last)
        near(product, np.moveaxis(lg.softmax_backward(g, x, axis), axis, -1))
        ones = np.ones_like(x)
        near(lg.logsumexp(x, axis, b=ones), lg.logsumexp(x, axis))
        near(lg.logsumexp(x, axis, b=3 * ones), lg.logsumexp(x, axis) + math.log(3))
        row = np.ones_like(p[..., 0])
        near(lg.logsumexp_backward(row, x, axis, b=3 * ones), lg.softmax(x, axis))


def test_cross_entropy_is_log_softmax_and_nll_loss(lg, dtype, rng, near):
    x, y = (rng.normal(size=(40, 9)) * 3).astype(dtype), rng.integers(0, 9, 40)
    y[::7], w = -100, rng.uniform(0.5, 2, 9).astype(dtype)
    log_p = lg.log_softmax(x)
    for reduction in ("none", "mean", "sum"):
        for weight in (None, w):
            options = {"weight": weight, "reduction": reduction}
            near(lg.nll_loss(log_p, y, **options), lg.cross_entropy(x, y, **options))
            grad = rng.normal(size=40).astype(dtype) if reduction == "none" else 1.5
            chain = lg.log_softmax_backward(lg.nll_loss_backward(grad, log_p, y, **options), x)
            near(lg.cross_entropy_backward(grad, x, y, **options), chain)


def test_binary_cross_entropy_is_that_of_logits(lg, dtype, rng, near):
    x = (rng.normal(size=200) * 2).astype(dtype)
    t, p = rng.uniform(0, 1, 200).astype(dtype), lg.sigmoid(x)
    for floor in (-100.0, None):
        loss, grad = lg.binary_cross_entropy_value_and_grad(p, t, reduction="none", log_floor=floor)
        near(loss, lg.binary_cross_entropy_with_logits(x, t, reduction="none"), rtol=1e-3)
        chain = lg.sigmoid_backward(grad, x)
        want = lg.binary_cross_entropy_with_logits_backward(np.ones_like(x), x, t, reduction="none")
        near(chain, want, rtol=1e-3)


def test_information_in_one_unit_and_another(lg, dtype, rng, near):
    p, q = distributions(rng, dtype, 2)
    h, d = lg.entropy(p), lg.relative_entropy(p, q)
    near(lg.cross_entropy_of_distributions(p, q), h + d)
    same(lg.relative_entropy(p, p), np.zeros(40))
    assert (d > 0).all()
    near(lg.relative_entropy(p, q), lg.kl_div(np.log(q), p, reduction="none").sum(axis=1))
    near(h, (p * lg.information_content(p)).sum(axis=1))
    row = rng.normal(size=40).astype(dtype)
    for base in (2, 10, 0.5, math.pi):
        unit = math.log(base)
        near(lg.entropy(p, base=base) * unit, h)
        near(lg.relative_entropy(p, q, base=base) * unit, d)
        near(lg.cross_entropy_of_distributions(p, q, base=base) * unit, h + d)
        near(lg.information_content(p, base) * unit, lg.information_content(p))
        near(lg.entropy_backward(row, p, base=base) * unit, lg.entropy_backward(row, p))
        for backward in (lg.relative_entropy_backward, lg.cross_entropy_of_distributions_backward):
            pairs = zip(backward(row, p, q, base=base), backward(row, p, q), strict=True)
            for a, b in pairs:
                near(a * unit, b, rtol=1e-4 if dtype == np.float32 else 1e-12)


def test_textbook_bits(lg, dtype):
    """Cover and Thomas: a horse race, two coins, 26 letters."""
    race = np.array([1 / 2, 1 / 4, 1 / 8, 1 / 16, *[1 / 64] * 4], dtype)
    assert lg.entropy(race, base=2) == 2
    assert lg.cross_entropy_of_distributions(race, np.full(8, 1 / 8, dtype), base=2) == 3
    assert lg.relative_entropy(race, np.full(8, 1 / 8, dtype), base=2) == 1
    coin, loaded = np.array([0.5, 0.5], dtype), np.array([0.75, 0.25], dtype)
    assert lg.relative_entropy(coin, loaded, base=2) == pytest.approx(0.2075187496394219)
    assert lg.relative_entropy(loaded, coin, base=2) == pytest.approx(0.1887218755408672)
    same(lg.information_content(np.array([1, 0.5, 0.125, 0], dtype), 2), [0, 1, 3, INF])
    same(lg.information_content(np.array([1, 0.1], dtype), 10), [0, dtype(-math.log10(dtype(0.1)))])


# ---- edges ---------------------------------------------------------------------------------------


def test_masks_of_distributions(lg, dtype):
    """0 log 0 = 0; what q rules out and p allows costs infinitely much."""
    p, q = np.array([[0.5, 0.5, 0], [1, 0, 0]], dtype), np.array([[0.5, 0.5, 0], [0, 1, 0]], dtype)
    same(lg.entropy(p, base=2), [1, 0])
    same(lg.cross_entropy_of_distributions(p, q, base=2), [1, INF])
    same(lg.relative_entropy(p, q), [0, INF])
    one = np.ones(2, dtype)
    same(lg.entropy_backward(one, p)[1], [-1, INF, INF])
    grad_p, grad_q = lg.cross_entropy_of_distributions_backward(one, p, q)
    same(grad_p[1], [INF, 0, INF])
    same(grad_q, [[-1, -1, 0], [-INF, 0, 0]])
    grad_p, grad_q = lg.relative_entropy_backward(one, p, q)
    same(grad_p[:, :2], [[1, 1], [INF, -INF]])
    same(grad_q, [[-1, -1, 0], [-INF, 0, 0]])


def test_relative_entropy_of_neighbours_keeps_its_accuracy(lg, dtype):
    """log(p / q) where the two differ by little; the sum of its terms cancels, so one term."""
    eps = np.finfo(dtype).eps
    p, q = np.array([1], dtype), np.array([1 - 3 * eps], dtype)
    want = -math.log1p(-3 * float(eps))
    assert lg.relative_entropy(p, q) == pytest.approx(want, rel=4 * float(eps))


def test_distributions_are_checked(lg, dtype):
    good, bad = np.full((2, 3), 0.5, dtype), np.full((2, 3), 0.5, dtype)
    bad[1, 2] = -0.25
    for call in (
        lambda: lg.entropy(bad),
        lambda: lg.relative_entropy(bad, good),
        lambda: lg.cross_entropy_of_distributions_backward(np.ones(2, dtype), bad, good),
    ):
        with pytest.raises(
            ValueError, match=r"p must not be negative or NaN, got -0.25 at \(1, 2\)"
        ):
            call()
    with pytest.raises(ValueError, match=r"q must not be negative or NaN"):
        lg.relative_entropy(good, bad)
    for base in (1, 0, -2, NAN, INF):
        with pytest.raises(ValueError, match="base must be a positive number other than 1"):
            lg.entropy(good, base=base)
    bad[1, 2] = 1.5
    for call in (
        lambda: lg.information_content(bad),
        lambda: lg.binary_cross_entropy(bad, good),
        lambda: lg.binary_cross_entropy_backward(1.0, bad, good, log_floor=None),
    ):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5 at \(1, 2\)"):
            call()
    bad[1, 2] = NAN
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\], got nan at \(1, 2\)"):
        lg.binary_cross_entropy(good, bad)


# (p, t): loss and derivative with the floor -100, and without
BINARY = {
    (0, 0): (0, 0, 0, 1),
    (0, 1): (100, -1e12, INF, -INF),
    (1, 0): (100, 1e12, INF, INF),
    (1, 1): (0, 0, 0, -1),
    (0.5, 0.5): (math.log(2), 0, math.log(2), 0),
    (0, 0.5): (50, -0.5e12, INF, -INF),
    (0.25, 0): (-math.log(0.75), 4 / 3, -math.log(0.75), 4 / 3),
    (0.25, 1): (math.log(4), -4, math.log(4), -4),
}


def test_binary_cross_entropy_at_the_ends(lg, dtype, near):
    p, t = np.array(list(BINARY), dtype).T.copy()
    loss, grad, exact, slope = np.array(list(BINARY.values())).T
    f = functools.partial(lg.binary_cross_entropy_value_and_grad, p, t, reduction="none")
    for got, want in zip((*f(), *f(log_floor=None)), (loss, grad, exact, slope), strict=True):
        near(got, want)
    near(f(log_floor=-3.0)[0], np.minimum(loss, [0, 3, 3, 0, 9, 1.5, 9, 9]))
    zero = lg.binary_cross_entropy(p, t, np.zeros_like(p), reduction="none", log_floor=None)
    same(zero, np.zeros(len(p)))


def test_mse_loss(lg, dtype):
    x, t = np.array([1, 5, -INF, INF, NAN, 3], dtype), np.array([3, 5, 1, INF, 0, 0], dtype)
    loss, grad = lg.mse_loss_value_and_grad(x, t, reduction="none")
    same(loss, [4, 0, INF, NAN, NAN, 9])
    same(grad, [-4, 0, -INF, NAN, NAN, 6])
    x, t, w = np.array([1, 5, 2], dtype), np.array([3, 5, 5], dtype), np.array([1, 2, 0.5], dtype)
    assert lg.mse_loss(x, t) == 13 / 3
    assert lg.mse_loss(x, t, w) == 8.5 / 3.5  # as torch: over the sum of the weights
    same(lg.mse_loss_backward(3.5, x, t, w), [-4, 0, -3])
    with pytest.raises(ValueError, match="target has shape"):
        lg.mse_loss(x, t[:1])


def test_kl_div(lg, dtype):
    x, t = np.array([[-INF, -1, -INF, NAN, -1]], dtype), np.array([[0, 0, 0.5, 0, 1]], dtype)
    loss, grad = lg.kl_div_value_and_grad(x, t, reduction="none")
    same(loss, [[0, 0, INF, NAN, 1]])
    same(grad[0, [0, 1, 2, 4]], [0, 0, -0.5, -1])
    logs = np.array([[-INF, -INF, -1, -INF, 0]], dtype)
    loss, grad = lg.kl_div_value_and_grad(x, logs, reduction="none", log_target=True)
    same(loss, [[0, 0, INF, NAN, 1]])
    same(grad[0, [0, 1, 4]], [0, 0, -1])
    x, t = np.full((2, 3), -1, dtype), np.full((2, 3), 1, dtype)
    assert [lg.kl_div(x, t, reduction=r) for r in ("sum", "mean", "batchmean")] == [6, 1, 3]
    same(lg.kl_div_backward(3.0, x, t, reduction="batchmean"), np.full((2, 3), -1.5))
    with pytest.raises(ValueError, match='"none", "mean", "batchmean" or "sum"'):
        lg.kl_div(x, t, reduction="avg")
    with pytest.raises(ValueError, match='"none", "mean" or "sum"'):
        lg.mse_loss(x, t, reduction="batchmean")


def test_kl_div_of_log_targets_overflows_no_sooner_than_it_must(lg, dtype):
    """exp(t) overflows, or underflows, where its product with t - x or with a gradient does not."""
    big = dtype(89.5 if dtype == np.float32 else 710.5)
    t = np.array([big, big, 2 * big, -big - 60, -big - 60, -INF, INF], dtype)
    x = np.array([big, big - dtype(0.001), 2 * big, -1e38, -INF, -INF, 1], dtype)
    exact = oracle.multiprecision(t), oracle.multiprecision(t) - oracle.multiprecision(x)
    kl = functools.partial(lg.kl_div, reduction="none", log_target=True)
    same(kl(x, t)[[0, 2, 4, 5, 6]], [0, 0, 0, 0, INF])  # exp(t) is 0, and 0 * inf is
    want = (oracle.exp(exact[0]) * exact[1])[[1, 3]]
    ulp.assert_within(2, kl(x, t)[[1, 3]], want)
    scale = dtype(1e-3)
    g = np.array([scale, scale, scale, 1e30, 1, 1, 1], dtype)
    grad = lg.kl_div_backward(g, x, t, reduction="none", log_target=True)
    ulp.assert_within(2, grad, -oracle.exp(exact[0]) * oracle.multiprecision(g))
    grad = lg.kl_div_backward(1.0, *np.full((2, 4), big), log_target=True)
    ulp.assert_within(2, grad, -oracle.exp(exact[0][[0] * 4]) / 4)


def test_nll_loss(lg, dtype):
    x = np.array([[-1, -2, NAN], [-INF, -3, -4], [NAN, NAN, NAN], [-5, -6, -7]], dtype)
    y, w = np.array([1, 0, -100, 2]), np.array([0, 2, 0.5], dtype)
    same(lg.nll_loss(x, y, reduction="none"), [2, INF, 0, 7])
    same(lg.nll_loss(x, y, w, reduction="none"), [4, 0, 0, 3.5])
    assert lg.nll_loss(x, y, w) == 7.5 / 2.5
    loss, grad = lg.nll_loss_value_and_grad(x, y, w, reduction="sum")
    assert loss == 7.5
    same(grad, [[0, -2, 0], [0, 0, 0], [0, 0, 0], [0, 0, -0.5]])
    assert math.isnan(lg.nll_loss(x[:1], [-100]))
    same(lg.nll_loss_backward(1.0, x[:1], [-100]), [[0, 0, 0]])
    same(lg.nll_loss(x.T, y, reduction="none", axis=0), [2, INF, 0, 7])
    with pytest.raises(IndexError, match="label 3 in row 0 is outside"):
        lg.nll_loss(x[:1], [3])
    with pytest.raises(TypeError, match="integer labels are needed"):
        lg.nll_loss(x, x)


def test_l2_norm(lg, dtype):
    info = np.finfo(dtype)
    assert lg.l2_norm(np.array([3, 4], dtype)) == 5
    assert type(lg.l2_norm(np.array([3, 4], dtype))) is float
    # on the way squares would overflow, or vanish
    for scale in (info.max / 8, info.tiny, info.smallest_subnormal * 2):
        x = np.array([[3 * scale, -4 * scale], [0, -scale]], dtype)
        norm, grad = lg.l2_norm_value_and_grad(x, 1)
        same(norm, [5 * scale, scale], dtype)
        np.testing.assert_allclose(grad, [[0.6, -0.8], [0, -1]], rtol=2 * info.eps)
    zero = np.zeros((2, 3), dtype)
    norm, grad = lg.l2_norm_value_and_grad(zero)
    assert norm == 0
    same(grad, zero)
    x = np.array([[1, INF, 1e30], [1, NAN, 2], [-INF, INF, 0]], dtype)
    same(lg.l2_norm(x, 1), [INF, NAN, INF])
    grad = lg.l2_norm_backward(np.ones(3, dtype), x, 1)
    same(grad, [[0, NAN, 0], [NAN, NAN, NAN], [NAN, NAN, 0]])
    assert lg.l2_norm(zero[:0]) == 0
    same(lg.l2_norm(np.empty((2, 0), dtype), 1), [0, 0])
    assert lg.l2_norm(x, keepdims=True).shape == (1, 1)
    assert lg.l2_norm(x, 0, keepdims=True).shape == (1, 3)


def test_logsumexp_of_weighted_terms(lg, dtype, near):
    def one(x, b):
        x, b = np.array([x], dtype), np.array([b], dtype)
        return [lg.logsumexp(x, b=b)[0], *lg.logsumexp_backward(np.ones(1, dtype), x, b=b)[0]]

    near(one([0, 0], [2, 3]), [math.log(5), 0.4, 0.6])
    near(one([0, INF, 1], [1, 0, 1])[0], math.log1p(math.e))  # what has no weight is not read
    near(one([0, NAN, 1], [1, 0, 1])[0], math.log1p(math.e))
    same(one([0, INF], [1, 2]), [INF, 0, 1])
    assert math.isnan(one([0, 0], [1, -2])[0])
    assert one([0, 0], [1, -1])[0] == -INF
    assert one([0, 0], [0, 0])[0] == -INF
    assert one([-INF, -INF], [1, 1])[0] == -INF
    near(one([0, 0], [3, -1]), [math.log(2), 1.5, -0.5])
    near(one([0, -20], [1, 2])[0], math.log1p(2 * math.exp(-20)), rtol=4 * np.finfo(dtype).eps)
    same(
        lg.logsumexp(np.zeros((2, 3), dtype), b=np.array([[1], [0]], dtype)),
        [dtype(math.log(3)), -INF],
    )
    with pytest.raises(ValueError, match="b of shape"):
        lg.logsumexp(np.zeros((2, 3), dtype), b=np.ones(2))


def test_softmax_jacobian_of_confident_rows(lg, dtype):
    j = lg.softmax_jacobian(np.array([0, -20], dtype))
    p = dtype(math.exp(-20) / (1 + math.exp(-20)) ** 2)
    np.testing.assert_allclose(j, [[p, -p], [-p, p]], rtol=4 * np.finfo(dtype).eps)
    same(lg.softmax_jacobian(np.array([INF, 0], dtype)), np.zeros((2, 2)))
    assert np.isnan(lg.softmax_jacobian(np.array([INF, INF], dtype))).all()
    assert lg.softmax_jacobian(np.empty((0, 3), dtype)).shape == (0, 3, 3)


# ---- slopes that are given or drawn --------------------------------------------------------------


def test_prelu(lg, dtype):
    x = np.array([[[1, -2], [-3, 4]], [[-0.0, -6], [7, -8]]], dtype)
    w = np.array([0.5, -1], dtype)
    same(lg.prelu(x, w), [[[1, -1], [3, 4]], [[0, -3], [7, 8]]])
    same(lg.prelu(x, w, axis=-1), [[[1, 2], [-1.5, 4]], [[0, 6], [7, 8]]])
    g = np.arange(8, dtype=dtype).reshape(2, 2, 2)
    grad, grad_w = lg.prelu_backward(g, x, w)
    same(grad, [[[0, 0.5], [-2, 3]], [[2, 2.5], [6, -7]]])
    same(grad_w, [-2 - 30, -6 - 56])
    _, number = lg.prelu_backward(g, x, 0.5)
    assert number == -94
    assert number.dtype == dtype
    out = np.empty_like(x)
    assert lg.prelu_backward(g, x, w, out=out)[0] is out
    same(out, grad)
    with pytest.raises(ValueError, match=r"weight has shape \(3,\)"):
        lg.prelu(x, np.ones(3))
    # exact before it is rounded once
    x, g = np.array([-1, -1, -1], dtype), np.array([1e8, 1, -1e8], dtype)
    if dtype == np.float32:
        g = np.array([2**30, 1, -(2**30)], dtype)
    assert lg.prelu_backward(g, x, 0.5)[1] == -1


def test_rrelu(lg, dtype, rng):
    x = rng.normal(size=(500, 3)).astype(dtype)
    x[0] = [NAN, -0.0, -INF]
    y, slopes = lg.rrelu(x, 0.25, 0.5, True, rng=3, return_slopes=True)
    assert slopes.dtype == dtype
    assert slopes.shape == x.shape
    below = ~(x > 0)
    assert (slopes[~below] == 1).all()
    assert ((slopes[below] >= 0.25) & (slopes[below] < 0.5)).all()
    assert len(np.unique(slopes[below])) > 600
    drawn = (0.25 + 0.25 * np.random.default_rng(3).random(x.shape)).astype(dtype)
    same(slopes[below], drawn[below])
    same(y, np.where(x > 0, x, x * slopes))
    same_bits([lg.rrelu(x, 0.25, 0.5, True, rng=np.random.default_rng(3))], [y])
    g = rng.normal(size=x.shape).astype(dtype)
    grad = lg.rrelu_backward(g, x, 0.25, 0.5, True, slopes=slopes)
    same(grad[1:], (g * slopes)[1:])
    assert math.isnan(grad[0, 0])
    with pytest.raises(ValueError, match="slopes"):
        lg.rrelu_backward(g, x, training=True)
    y, slopes = lg.rrelu(x, 0.25, 0.75, return_slopes=True)
    same(slopes, np.where(below, 0.5, 1))
    same_bits([y], [lg.rrelu(x, 0.25, 0.75)])
    same_bits([lg.rrelu_backward(g, x, 0.25, 0.75)], [lg.leaky_relu_backward(g, x, 0.5)])
    with pytest.raises(ValueError, match="lower must be at most upper"):
        lg.rrelu(x, 0.5, 0.25)


def test_parameters_are_checked(lg, dtype):
    x = np.zeros(3, dtype)
    for bad in (0, -1, NAN, INF):
        with pytest.raises(ValueError, match="beta must be positive"):
            lg.softplus(x, bad)
        with pytest.raises(ValueError, match="alpha must be positive"):
            lg.celu_backward(x, x, bad)
    with pytest.raises(ValueError, match='approximate must be "none" or "tanh"'):
        lg.gelu(x, "erf")


@pytest.mark.parametrize("dtype", [*HALVES, np.float32])
@pytest.mark.parametrize("bad", [1e-50, 7e-46, 1e39])
def test_a_parameter_that_float32_does_not_hold(either, dtype, bad):
    x = np.array([-1.0, 0.0, 2.0], dtype)
    message = rf"but {re.escape(str(bad))} is (0.0|inf) in float32, .*use float64"
    for function in either.softplus, either.celu:
        with pytest.raises(ValueError, match=message):
            function(x, bad)
        wide = function(x.astype(np.float64), bad)
        assert not np.isnan(wide).any()
    for function in either.softplus_backward, either.celu_backward:
        with pytest.raises(ValueError, match=message):
            function(x, x, bad)
    for good in 1e-45, 3.4e38:
        assert not np.isnan(either.softplus(x, good)).any()
        same(either.celu_backward(x, abs(x), good), x)


# ---- half types ----------------------------------------------------------------------------------


@pytest.mark.parametrize("half", HALVES, ids=lambda t: np.dtype(t).name)
@np.errstate(all="ignore")  # of the conversions
def test_every_half(compiled, half):
    """All 65536 values through every elementwise function: what float32 gives, rounded to them."""
    every = np.arange(1 << 16, dtype=np.uint16).view(half)
    for form in exhaustive.forms():
        x = every if len(form.words[0]) == 2**32 else every[(every >= 0) & (every <= 1)]
        of_half, of_single = form.both(half), form.both(np.float32)
        for part in np.array_split(x, -(-x.size // exhaustive.BLOCK)):
            want = [a.astype(half) for a in of_single(part.astype(np.float32))]
            same_bits(of_half(part), want, form.name)


@pytest.mark.parametrize("half", HALVES, ids=lambda t: np.dtype(t).name)
@np.errstate(all="ignore")  # of the comparison: others see that no call warns
def test_halves_are_storage(lg, half, rng):
    """What float32 gives, rounded once; sums are not rounded to the half type at all."""
    info = ml_dtypes.finfo(half)
    eps, tiny = np.float32(info.eps), np.float32(info.smallest_subnormal)
    shapes = [((50,), 0), ((9, 7), 1), ((3, 5, 4), 1)]
    for shape, axis in few(lg, shapes, shapes[-1:]):
        made = all_calls(shape, np.float32, rng, axis, brief=True)
        one = one_of_each(made)
        for call in few(lg, made, one[HALVES.index(half) :: 3]):
            lean = {
                k: a.astype(half) if a.dtype == np.float32 else a for k, a in call.arrays.items()
            }
            wide = {k: a.astype(np.float32) for k, a in lean.items() if a.dtype == half}
            for got, want in zip(call(lg, lean), call(lg, wide), strict=True):
                if got.dtype == np.float64:
                    np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=str(call))
                    continue
                assert got.dtype == half, str(call)
                rounded = want.astype(half).astype(np.float32)
                step = eps * abs(rounded)
                # a tie of the reference's float64 may fall the other way
                off = abs(got.astype(np.float32) - rounded)
                close = (off <= step + tiny) | (rounded == got.astype(np.float32))
                assert close.all(), str(call)
                equal = rounded == got.astype(np.float32)
                assert equal.mean() > 0.9 or off.size < 20, str(call)


@pytest.mark.parametrize("half", HALVES, ids=lambda t: np.dtype(t).name)
def test_more_rows_than_a_half_can_count(lg, half):
    n = 70000 if half is np.float16 else 1000  # past its range, or its digits
    x, y = np.zeros((n, 2), half), np.zeros(n, np.int8)
    assert lg.cross_entropy(x, y) == pytest.approx(math.log(2), rel=1e-6)
    assert lg.cross_entropy(x, y, reduction="sum") == pytest.approx(n * math.log(2), rel=1e-6)
    ones = np.ones(n, half)
    assert lg.mse_loss(ones, 0 * ones) == 1
    assert lg.l2_norm(ones) == math.sqrt(n)
    assert float(lg.logsumexp(np.zeros(n, half))) == pytest.approx(math.log(n), rel=5e-3)
