"""The losses of regression and the Hessians of losses of elements: exact values, limits, and what
scikit-learn and PyTorch make of the same."""

import itertools
import math

import numpy as np
import oracle
import pytest
import ulp
from calls import same_bits
from conftest import backends, few
from sklearn import metrics
from sklearn._loss import loss as sklearn_losses
from wanted import LONG, LOSSES, measurable

from lossgrad._core import backend
from lossgrad.registry import OPS

REGRESSION = [op for op in OPS if op.name in LOSSES and op.hessian and "axis" in op.parameters]
HESSIANS = [op for op in OPS if op.hessian and op.kind == "loss_elementwise"]
FORMS = [(op, options) for op in REGRESSION for options in ({}, *op.variants)]
TWEEDIE = (-1.0, 0.0, 1.0, 1.2, 1.5, 1.999, 2.0, 2.5, 3.0)
forms = pytest.mark.parametrize(("op", "options"), FORMS, ids=lambda v: getattr(v, "name", str(v)))
powers = pytest.mark.parametrize("power", TWEEDIE)
INF, NAN = math.inf, math.nan


def bounds(op, options):
    """Of the value, the gradient and the Hessian; those of the reference without kernels."""
    if backend.kernels is None:
        return 2.0, 2.0, 2.0
    row = backend.kernels.OPS[f"{op.name}_full" if "full" in options else op.name]
    return row.bound, row.derivative_bound, row.hessian_bound


def operands(op, rng, dtype, count):
    """Gaps of all sizes; targets from far to within rounding of what is expected."""
    if op.inputs[0] == "log-means":
        spread = rng.choice([0.01, 1.0, 30.0], count)
        x = (rng.normal(size=count) * spread).astype(dtype)
        away = rng.normal(size=count) * 2.0 ** rng.uniform(-30, 2, count)
        log = np.clip(x.astype(np.float64) + away, -80, 80)  # within every type
        return x, np.exp(log).astype(dtype)
    x = rng.normal(size=count) * 2.0 ** rng.uniform(-20, 20, count)
    t = np.where(rng.random(count) < 0.5, x * (1 + 2.0 ** rng.uniform(-30, 0, count)), 0.0)
    if "binary" in op.inputs[1]:
        t = t > 0 if op.inputs[1] == "binary labels" else np.clip(t, 0, 1)
    return x.astype(dtype), t.astype(dtype)


@forms
def test_bounds(op, options, dtype, rng):
    """Value, gradient and Hessian; a value that is near 0 in units of its gradient at most."""
    x, t = operands(op, rng, dtype, 8000)
    form = LOSSES[op.name]
    given = {k: float(dtype(v)) if type(v) is float else v for k, v in options.items()}
    with np.errstate(all="ignore"):
        exact = form(x.astype(LONG), t.astype(LONG), LONG(1), given)
    for name, module in backends():
        part = slice(None, None, 4 if name == "reference" else 1)
        both = getattr(module, f"{op.name}_value_grad_and_hess")
        found = both(x[part], t[part], reduction="none", **options)
        cases = zip(found, exact, bounds(op, options), strict=True)
        for got, (want, larger), bound in cases:
            known = ~np.isnan(want[part])
            want, larger = want[part][known], np.abs(larger[part][known])
            at, what = x[part][known], f"{name} {op.name}"
            ulp.assert_within(bound, got[known], want, larger, inputs=at, what=what)


@powers
def test_deviances_near_the_target(power, rng):
    """A distance of d makes them t^(2-p) d^2 / 2; d is known to a rounding of 1, so that they are
    to one of the gradient, t^(2-p) d. A naive form leaves nothing of them."""
    t = rng.uniform(0.2, 50, 3000).astype(np.float32)
    x = (np.log(t) + rng.normal(size=t.size) * 2.0 ** rng.uniform(-24, -1, t.size)).astype(t.dtype)
    v, p = np.log(t.astype(LONG)) - x.astype(LONG), LONG(np.float32(power))
    a, b, scale = 2 - p, 1 - p, t.astype(LONG) ** (2 - p)

    def over(c):  # of (exp(-c v) - 1 + c v) / c, by its series
        terms = itertools.accumulate(
            range(3, 31), lambda term, k: term * -c * v / k, initial=c * v * v / 2
        )
        return sum(terms)

    first, second = over(a), over(b)
    want = scale * (first - second)
    terms = scale * np.maximum(abs(first), abs(second))  # which cancel outside [1, 2]
    room = np.maximum(scale * abs(v), 4 * np.maximum(want, terms))
    for name, module in backends():
        got = module.half_tweedie_loss(x, t, power=power, reduction="none").astype(LONG)
        assert (abs(got - want) <= 2.0**-24 * room).all(), name


@powers
def test_deviances_are_those_of_scikit_learn(lg, power, rng):
    x, t, s = rng.normal(size=300), rng.gamma(2, size=300) + 0.01, rng.uniform(0.1, 2, 300)
    want = metrics.mean_tweedie_deviance(t, np.exp(x), power=power, sample_weight=s)
    assert 2 * lg.half_tweedie_loss(x, t, power=power, sample_weight=s) == pytest.approx(want)
    loss = sklearn_losses.HalfTweedieLoss(power=power)
    gradient, hessian = loss.gradient_hessian(t, x)
    found = lg.half_tweedie_loss_grad_and_hess(x, t, power=power, reduction="none")
    np.testing.assert_allclose(found[0], gradient, 1e-12, 1e-12)
    np.testing.assert_allclose(found[1], hessian, 1e-12, 1e-12)


def test_named_deviances(lg, rng):
    x, t = rng.normal(size=300), rng.gamma(2, size=300) + 0.01
    near = pytest.approx
    assert 2 * lg.half_gamma_loss(x, t) == near(metrics.mean_gamma_deviance(t, np.exp(x)))
    poisson = 2 * lg.half_tweedie_loss(x, t, power=1)
    assert poisson == near(metrics.mean_poisson_deviance(t, np.exp(x)))
    counts = np.floor(t)  # of which some are 0
    poisson = 2 * lg.half_tweedie_loss(x, counts, power=1)
    assert poisson == near(metrics.mean_poisson_deviance(counts, np.exp(x)))
    for q in (0.1, 0.5, 0.9):
        assert lg.pinball_loss(x, t, quantile=q) == near(metrics.mean_pinball_loss(t, x, alpha=q))
        median = np.full_like(t, np.quantile(t, q, method="linear"))
        share = lg.pinball_loss(x, t, quantile=q) / lg.pinball_loss(median, t, quantile=q)
        assert 1 - share == near(metrics.d2_pinball_score(t, x, alpha=q))
    assert lg.l1_loss(x, t) == near(metrics.mean_absolute_error(t, x))


@pytest.mark.parametrize(
    ("name", "options", "loss", "shift"),
    [
        ("l1_loss", {}, sklearn_losses.AbsoluteError(), 0),
        ("pinball_loss", {"quantile": 0.3}, sklearn_losses.PinballLoss(quantile=0.3), 0),
        ("huber_loss", {"delta": 0.5}, sklearn_losses.HuberLoss(delta=0.5), 0),
        ("poisson_nll_loss", {}, sklearn_losses.HalfPoissonLoss(), 0),
        ("half_gamma_loss", {}, sklearn_losses.HalfGammaLoss(), 1),
        ("half_tweedie_loss", {"power": 1.5}, sklearn_losses.HalfTweedieLoss(power=1.5), 1),
        ("binary_cross_entropy_with_logits", {}, sklearn_losses.HalfBinomialLoss(), 0),
        ("mse_loss", {}, sklearn_losses.HalfSquaredError(), 0),
    ],
)
def test_scikit_learn_has_the_same_losses(lg, name, options, loss, shift, rng):
    """But for constants, for the 2 of mse_loss, and for the Hessian of what has none, which it
    takes to be 1."""
    x = rng.normal(size=200)
    t = rng.random(200) if name.startswith("binary") else rng.gamma(2, size=200) + 0.01
    factor = 0.5 if name == "mse_loss" else 1
    found = getattr(lg, f"{name}_value_grad_and_hess")(x, t, reduction="none", **options)
    value, gradient, hessian = (factor * a for a in found)
    constant = loss.constant_to_optimal_zero(t) if shift else 0
    np.testing.assert_allclose(value, loss.loss(t, x) + constant, 1e-10, 1e-12)
    wanted = loss.gradient_hessian(t, x)
    np.testing.assert_allclose(gradient, wanted[0], 1e-10, 1e-12)
    if name in ("l1_loss", "pinball_loss"):
        assert (hessian == 0).all()
    else:
        np.testing.assert_allclose(hessian, np.broadcast_to(wanted[1], x.shape), 1e-10, 1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("l1_loss", {}),
        ("huber_loss", {"delta": 0.3}),
        ("smooth_l1_loss", {"beta": 0.3}),
        ("smooth_l1_loss", {"beta": 0}),
        ("poisson_nll_loss", {}),
        ("poisson_nll_loss", {"full": True}),
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_pytorch_has_the_same_losses(lg, name, options, reduction, rng):
    torch = pytest.importorskip("torch")
    x = torch.tensor(rng.normal(size=200), requires_grad=True)
    t = torch.tensor(np.append(rng.gamma(2, size=199), 0.0))
    loss = getattr(torch.nn.functional, name)(x, t, reduction=reduction, **options)
    (slope,) = torch.autograd.grad(loss.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), x, allow_unused=True, materialize_grads=True)
    both = getattr(lg, f"{name}_value_grad_and_hess")
    found = both(x.detach().numpy(), t.numpy(), reduction=reduction, **options)
    for got, want in zip(found, (loss, slope, second), strict=True):
        np.testing.assert_allclose(got, want.detach().numpy(force=True), 1e-12, 1e-12)


def test_families_meet(lg, dtype, rng):
    x, t = rng.normal(size=100).astype(dtype) * 3, rng.normal(size=100).astype(dtype)
    near = {"rtol": 8 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    each = {"reduction": "none"}
    halves = lg.mse_loss(x, t, **each) / 2
    np.testing.assert_allclose(lg.huber_loss(x, t, delta=1e6, **each), halves, **near)
    smooth = lg.smooth_l1_loss(x, t, beta=0.5, **each)
    np.testing.assert_allclose(lg.huber_loss(x, t, delta=0.5, **each), smooth / 2, **near)
    same_bits([lg.smooth_l1_loss(x, t, beta=0, **each)], [lg.l1_loss(x, t, **each)])
    median = 2 * lg.pinball_loss(x, t, quantile=0.5, **each)
    same_bits([median], [lg.l1_loss(x, t, **each)])
    gamma = lg.half_tweedie_loss_value_grad_and_hess(x, abs(t), power=2, **each)
    for a, b in zip(gamma, lg.half_gamma_loss_value_grad_and_hess(x, abs(t), **each), strict=True):
        np.testing.assert_allclose(a, b, **near)


@pytest.mark.parametrize(
    ("name", "options", "x", "t", "wanted"),
    [
        ("l1_loss", {}, 2.0, 2.0, (0, 0, 0)),
        ("l1_loss", {}, -INF, 2.0, (INF, -1, 0)),
        ("l1_loss", {}, INF, INF, (NAN, NAN, NAN)),
        ("pinball_loss", {"quantile": 0.25}, 2.0, 2.0, (0, 0, 0)),
        ("pinball_loss", {"quantile": 0.25}, -INF, 2.0, (INF, -0.25, 0)),
        ("huber_loss", {}, INF, 1.0, (INF, 1, 0)),
        ("huber_loss", {}, 2.0, 1.0, (0.5, 1, 1)),  # the Hessian ends above delta
        ("smooth_l1_loss", {}, 2.0, 1.0, (0.5, 1, 0)),  # and below beta, as in PyTorch
        ("smooth_l1_loss", {}, -INF, 1.0, (INF, -1, 0)),
        ("poisson_nll_loss", {}, INF, 1.0, (INF, INF, INF)),
        ("poisson_nll_loss", {}, -INF, 1.0, (INF, -1, 0)),
        ("poisson_nll_loss", {}, -INF, 0.0, (0, 0, 0)),
        ("poisson_nll_loss", {"full": True}, 0.0, 0.0, (1, 1, 1)),
        ("half_gamma_loss", {}, INF, 1.0, (INF, 1, 0)),
        ("half_gamma_loss", {}, -INF, 1.0, (INF, -INF, INF)),
        ("half_gamma_loss", {}, 0.0, 1.0, (0, 0, 1)),
        ("half_gamma_loss", {}, 0.0, 0.0, (INF, 1, 0)),
        ("half_tweedie_loss", {"power": 1}, 0.0, 0.0, (1, 1, 1)),
        ("half_tweedie_loss", {"power": 1}, -INF, 1.0, (INF, -1, 0)),
        ("half_tweedie_loss", {}, 0.0, 1.0, (0, 0, 1)),
        ("half_tweedie_loss", {}, INF, 1.0, (INF, INF, INF)),
        ("half_tweedie_loss", {}, -INF, 1.0, (INF, -INF, INF)),
        ("half_tweedie_loss", {"power": 3}, INF, 2.0, (0.25, 0, 0)),
        ("half_tweedie_loss", {"power": 0}, -INF, 2.0, (2, 0, 0)),
        ("half_tweedie_loss", {"power": 2}, 0.0, 0.0, (INF, 1, 0)),
        ("binary_cross_entropy_with_logits", {}, INF, 0.0, (INF, 1, 0)),
        ("binary_cross_entropy_with_logits", {}, -INF, 0.0, (0, 0, 0)),
        ("mse_loss", {}, INF, 0.0, (INF, INF, 2)),
    ],
)
def test_limits(lg, dtype, name, options, x, t, wanted):
    both = getattr(lg, f"{name}_value_grad_and_hess")
    for n in few(lg, (1, 70), (2,)):
        at = np.full(n, x, dtype)
        at[1:2] = NAN
        found = both(at, np.full(n, t, dtype), reduction="none", **options)
        for got, want in zip(found, wanted, strict=True):
            assert np.isnan(got[1:2]).all()
            got = np.delete(got, slice(1, 2))
            np.testing.assert_array_equal(abs(got) if want == 0 else got, dtype(want))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pinball_loss", {"quantile": 1.0}, "quantile must be above 0 and below 1, got 1.0"),
        ("pinball_loss", {"quantile": NAN}, "quantile must be above 0"),
        ("huber_loss", {"delta": 0}, "delta must be positive and finite, got 0"),
        ("smooth_l1_loss", {"beta": -1}, "beta must be positive and finite, got -1"),
        ("half_tweedie_loss", {"power": INF}, "power must be finite, got inf"),
    ],
)
def test_parameters_out_of_range(lg, name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(lg, name)(np.ones(3), np.ones(3), **options)


# ---- Hessians ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pos_weight", [1.0, 3.3, 0.37])
def test_hessians_of_logits_keep_their_bound(dtype, pos_weight, rng):
    """Far out on both sides, down to subnormal numbers."""
    count, bound = 10000, bounds(next(op for op in HESSIANS if "logits" in op.name), {})[2]
    x = rng.normal(size=count) * 2.0 ** rng.uniform(-10, 7, count)
    x = np.concatenate([x, rng.uniform(-760, 760, count)]).astype(dtype)
    for t in (np.zeros_like(x), np.ones_like(x), rng.random(x.size).astype(dtype)):
        p = dtype(pos_weight)
        want = oracle.binary_cross_entropy_with_logits_hessian(x, t, p.astype(LONG))[0]
        given = {} if p == 1 else {"pos_weight": p}
        between = p != 1 and 0 < t[0] < 1  # 1 - t + p t is a sum of rounded terms then
        for name, module in backends():
            part = slice(None, None, 4 if name == "reference" else 1)
            both = module.binary_cross_entropy_with_logits_grad_and_hess
            found = both(x[part], t[part], reduction="none", **given)[1]
            ulp.assert_within(bound + between, found, want[part], inputs=x[part], what=name)


@pytest.mark.parametrize("beta", [1.0, 0.1, 3.7])
def test_hessians_of_softplus_keep_their_bound(dtype, beta, rng):
    x = np.concatenate([rng.normal(size=1500) * 10, rng.uniform(-760, 760, 500)]).astype(dtype)
    bound = backend.kernels.OPS["softplus"].hessian_bound if backend.kernels else 2.0
    want = measurable(oracle.softplus_hessian(x, beta))
    for name, module in backends():
        found = module.softplus_grad_and_hess(x, beta)[1]
        ulp.assert_within(bound, found, want, inputs=x, what=name)


@pytest.mark.parametrize("op", HESSIANS, ids=lambda op: op.name)
def test_a_hessian_is_that_of_the_reduced_loss(lg, dtype, op, rng):
    """On the scale of the gradient, with weights and without; what has weight 0 is not read."""
    x, t = (a.reshape(40, 5) for a in operands(op, rng, dtype, 200))
    both = getattr(lg, f"{op.name}_grad_and_hess")
    each = both(x, t, reduction="none")[1].astype(np.float64)
    s = rng.uniform(0.5, 2, 40)
    s[3], x[3] = 0, NAN
    w = rng.uniform(0.5, 2, x.shape).astype(dtype)
    for reduction in ("none", "sum", "mean"):
        grad, hess = both(x, t, w, reduction=reduction, sample_weight=s)
        divisor = 1.0
        if reduction == "mean":
            divisor = (s[:, None] * w).sum() if "axis" in op.parameters else s.sum() * 5
        want = np.where(s[:, None] == 0, 0, s[:, None] * w * each) / divisor
        info = np.finfo(dtype)
        np.testing.assert_allclose(hess, want, 8 * info.eps, 8 * info.smallest_subnormal)
        assert (hess[3] == 0).all()
        assert (grad[3] == 0).all()


@pytest.mark.parametrize("op", HESSIANS, ids=lambda op: op.name)
def test_a_pair_of_outputs(lg, dtype, op, rng):
    x, t = operands(op, rng, dtype, 50)
    name = f"{op.name}_grad_and_hess"
    both, want = getattr(lg, name), getattr(lg, name)(x, t)
    g, h = np.empty_like(x), np.empty_like(x)
    for given in ((g, h), (None, h), (g, None)):
        found = both(x, t, out=given)
        same_bits(found, want)
        assert all(a is b for a, b in zip(found, given, strict=True) if b is not None)
    a, b = x.copy(), t.copy()  # over both inputs
    same_bits(both(a, b, out=(b, a)), want)
    same_bits([b, a], want)
    with pytest.raises(ValueError, match="same memory for the gradient and the Hessian"):
        both(x, t, out=(g, g))
    with pytest.raises(TypeError, match=r"out must be a pair, .* got ndarray"):
        both(x, t, out=g)
    with pytest.raises(ValueError, match=r"out has shape \(3,\), but the result has shape \(50,\)"):
        both(x, t, out=(None, np.empty(3, dtype)))


def test_a_mean_brings_exponentials_back(lg):
    """t / m and m are e^690: beyond float32 on the way, not times a weight of 1e-300."""
    weights, near = [1e-150, 1e150], {"rtol": 4 * np.finfo(np.float32).eps}
    want = math.exp(690) * 1e-300
    x, t = np.array([690, 0], np.float32), np.ones(2, np.float32)
    for name, at, sign in (("half_gamma_loss", -x, -1), ("poisson_nll_loss", x, 1)):
        backward = getattr(lg, f"{name}_backward")
        grad = backward(1.0, at, t, sample_weight=weights)
        np.testing.assert_allclose(grad[0], sign * want, **near, err_msg=name)


@pytest.mark.parametrize("weight", [np.inf, -np.inf])
def test_at_an_infinite_logit_a_focal_loss_is_0_or_infinite(lg, dtype, weight):
    x, t = np.array([-np.inf, np.inf], dtype), np.array([0, 1], dtype)
    w = np.full(2, weight, dtype)
    for found in lg.sigmoid_focal_loss_value_grad_and_hess(x, t, w, reduction="none"):
        assert (found == 0).all(), found
    assert (lg.sigmoid_focal_loss(x, 1 - t, w, reduction="none") == weight).all()
