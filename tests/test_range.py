"""Rows between finite inputs and a finite result: whatever their factors are, nothing leaves the
range on the way; and the limits where something is infinite (semantics.md)."""

import mpmath
import numpy as np
import oracle
import pytest
import ulp

INF, NAN = np.inf, np.nan
FLOATS = [np.float32, np.float64]
CLASSES = [2, 5, 40, 200]  # of rows abreast and by themselves
BOUND = 8.0


def _exponents(dtype):
    """Of gradients from one end of the range to the other."""
    most = np.finfo(dtype).maxexp
    return [3 - most, -most // 2, -30, 0, 25, 45, most // 2 + 5, most - 2]


def _gaps(dtype):
    """Between logits: up to where the product of a term and the largest number is 0."""
    far = 190.0 if dtype == np.float32 else 1500.0
    return [0.1, 1.0, 20.0, far / 2, far]


def _rows(rng, dtype, classes):
    """Logits at every gap, and gradients of every size, one row for each pair."""
    gaps, sizes = np.meshgrid(_gaps(dtype), _exponents(dtype))
    x = rng.uniform(-1, 0, (gaps.size, classes)) * gaps.reshape(-1, 1)
    g = rng.normal(size=x.shape) * 2.0 ** sizes.reshape(-1, 1)
    return x.astype(dtype), np.clip(g, -np.finfo(dtype).max, np.finfo(dtype).max).astype(dtype)


def _near(got, exact, larger=None, bound=BOUND):
    with np.errstate(all="ignore"):
        apart = ulp.distance(got, exact, abs(exact if larger is None else larger))
    assert apart.max() <= bound, (apart.max(), np.argwhere(apart == apart.max())[0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_gradients_of_any_size(lg, name, classes, dtype, rng):
    x, g = _rows(rng, dtype, classes)
    sign = -1 if name == "softmin" else 1
    rows = oracle.Rows((sign * x).astype(np.float64))
    kind = "log_softmax" if name == "log_softmax" else "softmax"
    exact, larger = getattr(rows, f"{kind}_backward")(g.astype(np.float64))
    _near(getattr(lg, f"{name}_backward")(g, x), sign * exact, larger)
    columns = getattr(lg, f"{name}_backward")(g.T, x.T, axis=0)
    np.testing.assert_array_equal(columns.T, getattr(lg, f"{name}_backward")(g, x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", CLASSES)
def test_factors_of_a_loss_may_be_of_any_size(lg, classes, dtype, rng):
    """grad, class weight and sample weight are far apart, their product is in the range."""
    x, _ = _rows(rng, dtype, classes)
    y = rng.integers(0, classes, len(x))
    most = np.finfo(dtype).maxexp
    for grad, weight, sample in (
        (most - 2, -most + 6, 0),
        (-60, most - 2, -30),
        (60, 50, 40 - most),
    ):
        g = np.full(len(x), 1.3 * 2.0**grad, dtype)
        w = np.full(classes, 1.7 * 2.0**weight, dtype)
        s = np.full(len(x), 1.1 * 2.0**sample)
        factor = oracle.wide(g[0]) * oracle.wide(w[0]) * oracle.wide(s[0])
        got = lg.cross_entropy_backward(g, x, y, w, sample_weight=s, reduction="none")
        _near(got, oracle.Rows(x.astype(np.float64)).gradient(y) * factor)
        one_hot = np.eye(classes, dtype=dtype)[y]
        got = lg.cross_entropy_backward(g, x, one_hot, w, sample_weight=s, reduction="none")
        q = oracle.mixture(classes, dtype, y, weight=w) * oracle.wide(g[0]) * oracle.wide(s[0])
        _near(got, *oracle.Rows(x.astype(np.float64)).mixed_gradient(q))
        got = lg.nll_loss_backward(g, x, y, w, sample_weight=s, reduction="none")
        _near(got[np.arange(len(x)), y], np.full(len(x), -factor), bound=1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_that_cancel_are_summed_exactly(lg, dtype):
    big = 2.0 ** (np.finfo(dtype).maxexp - 2)
    for classes in CLASSES[1:]:
        g = np.zeros((1, classes), dtype)
        g[0, :3] = big, 1, -big
        got = lg.log_softmax_backward(g, np.zeros_like(g))
        np.testing.assert_allclose(got[0, 3:], -1 / classes, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@pytest.mark.parametrize("classes", CLASSES[1:])
def test_infinite_gradients_have_their_limit(lg, classes, dtype):
    def padded(first, fill):
        row = np.full(classes, fill, dtype)
        row[: len(first)] = first
        return row

    masked = padded([0, 1, -INF], -INF)
    for g, of_softmax, of_log in (
        ([INF, 1], [INF, -INF], [INF, -INF]),
        ([-INF, 1], [-INF, INF], [-INF, INF]),
        ([INF, INF], [NAN, NAN], [NAN, NAN]),
        ([INF, -INF], [INF, -INF], [INF, -INF]),
        ([0, 0, INF], [0, 0], [-INF, -INF]),  # where there is no probability
        ([NAN, INF], [NAN, NAN], [NAN, NAN]),
    ):
        row = padded(g, 0)
        np.testing.assert_array_equal(lg.softmax_backward(row, masked)[:2], of_softmax)
        np.testing.assert_array_equal(lg.log_softmax_backward(row, masked)[:2], of_log)
    alone = padded([0], -INF)
    assert lg.softmax_backward(padded([INF], 0), alone)[0] == 0
    assert lg.log_softmax_backward(padded([INF, 3], 0), alone)[0] == -3


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@pytest.mark.parametrize("classes", CLASSES[1:])
def test_the_weight_of_another_class_touches_no_row(lg, classes, dtype, rng):
    x = rng.normal(size=(6, classes)).astype(dtype)
    y = rng.integers(0, classes - 1, 6)
    for other in (INF, -INF, NAN):
        w = np.ones(classes, dtype)
        w[-1] = other
        for reduction in ("none", "sum", "mean"):
            plain = lg.cross_entropy_value_and_grad(x, y, reduction=reduction)
            weighted = lg.cross_entropy_value_and_grad(x, y, w, reduction=reduction)
            for a, b in zip(plain, weighted, strict=True):
                np.testing.assert_allclose(a, b, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("classes", [2, 300])
def test_losses_at_both_ends_of_the_range(lg, classes):
    x = np.zeros((1, classes))
    x[0, :2] = 1.7e308, -1e308
    assert lg.cross_entropy(x, [1], [1e-10] * classes, reduction="sum") == pytest.approx(2.7e298)
    q = np.zeros_like(x)
    q[0, 1] = 1e-10
    assert lg.cross_entropy(x, q, reduction="sum") == pytest.approx(2.7e298)
    assert lg.logsumexp(x)[0] == 1.7e308
    x[0, 1] = -1.7e308
    both = np.repeat(x, 2, axis=0) / 2.5  # their sum is beyond the range, not their mean
    assert lg.cross_entropy(both, [1, 1]) == pytest.approx(1.36e308)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [2, 300])
def test_norms_take_gradients_of_any_size(lg, dtype, n):
    big, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    for size in (1.0, 2.0**-40, 2.0**40, float(tiny) * 64, float(big) / 8):
        x = np.zeros(n, dtype)
        x[:2] = 3 * size, -0.125 * size
        unit = oracle.wide(x) / (oracle.wide(size) * oracle.wide(np.sqrt(9.015625)))
        for g in (0.7, float(big), float(tiny) * 1e6):
            g = float(dtype(g))
            _near(lg.l2_norm_backward(g, x), unit * oracle.wide(g), bound=3)
    x[: 3 if n > 2 else 2] = [1, INF, NAN][: 3 if n > 2 else 2]
    if n > 2:
        assert np.isnan(lg.l2_norm_backward(1.0, x)).all()
    assert lg.l2_norm_backward(INF, np.zeros(n, dtype))[0] == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_logsumexp_near_0_with_weights(lg, dtype, rng):
    for classes in CLASSES:
        x = rng.normal(size=(20, classes)).astype(dtype) * dtype(0.1)
        b = (rng.uniform(0.9, 1.1, x.shape) / classes).astype(dtype)
        b[:, 0], x[:, 0] = 1.02, 0.02
        b[:, 1:] *= dtype(1e-6)
        exact = np.log((b.astype(np.longdouble) * np.exp(x.astype(np.longdouble))).sum(axis=1))
        _near(lg.logsumexp(x, b=b), exact, np.maximum(abs(exact), 0.02), bound=4)


def test_terms_of_distributions_beyond_the_range(lg):
    for dtype in FLOATS:
        big = float(np.finfo(dtype).max) / 4
        p = np.array([[big, big], [big, big]], dtype)
        q = np.array([[1e9, 1e-9], [2e9, 1e-9]], dtype)
        want = -big * np.array([0, np.log(2)])
        got = lg.cross_entropy_of_distributions(p, q)
        np.testing.assert_allclose(got, want, atol=big * 1e-5)
        p = np.full((2, 16), big, dtype)
        q = np.array([[1e-9] + [3.9] * 15, [3.9] * 16]) * big
        want = (p / np.longdouble(big) * np.log(p / q.astype(np.longdouble))).sum(axis=1)
        got = lg.relative_entropy(p, q.astype(dtype))
        want[1] = -INF
        np.testing.assert_allclose(got / big, want, rtol=1e-5)
    assert lg.cross_entropy_of_distributions([INF, 1.0], [0.5, 0.5]) == INF
    assert np.isnan(lg.cross_entropy_of_distributions([INF, 1.0], [1.0, 0.5]))
    assert lg.relative_entropy_backward(1.0, [0.5, 0.5], [0.5, INF])[0][1] == -INF
    assert np.isnan(lg.relative_entropy_backward(1.0, [INF, 1.0], [INF, 1.0])[1][0])
    for base in (None, 2, 10):
        p = np.array([[INF, 0.5], [0.25, 0.75]])
        assert (lg.entropy_backward([0.0, 1e40], p, base=base)[0] == 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("grad", [-INF, INF, 1e-20, -1.0])
@pytest.mark.parametrize("gap", [0.3, INF, -INF])
def test_slopes_of_divergence_of_any_exponent(lg, dtype, grad, gap):
    """-grad exp(t) at any finite t: right in the range, and an infinite grad keeps its sign."""
    t = [-1e30, -746, -110, -1, 0, 60, 88, 134, 200, 700, 744, 1e30]
    t = np.array(t, dtype).repeat(3)
    g = np.full_like(t, grad)
    got = lg.kl_div_backward(g, np.full_like(t, gap), t, log_target=True, reduction="none")
    with np.errstate(all="ignore"):
        exact = -g.astype(np.longdouble) * np.exp(t.astype(np.longdouble))
        exact = np.where(np.isinf(g), -g, exact)
    inside = abs(exact) <= np.finfo(dtype).max
    np.testing.assert_array_equal(got[~inside], np.sign(exact[~inside]) * INF)
    if np.isfinite(grad):
        _near(got[inside], exact[inside], bound=2.0)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["labels", "smoothed", "probabilities"])
def test_weights_of_losses_too_small_for_the_type(lg, kind, dtype, classes):
    """A class weight brings a loss back that would be rounded to 0; an infinite one makes it so."""
    x = np.full((3, classes), -INF, dtype)
    x[:, 0], x[:, 1] = 0, [-110, -130, -170] if dtype == np.float32 else [-750, -1000, -1400]
    y = np.zeros(3, int) if kind != "probabilities" else np.eye(classes, dtype=dtype)[[0, 0, 0]]
    exact = np.exp(x[:, 1].astype(np.longdouble))
    far = x.copy()
    far[:, 1] = [-1e4, -1e20, -1e30]
    smoothing = 0.0 if kind != "smoothed" else 1e-40
    for weight in (np.finfo(dtype).max / 3, 1e20, INF):
        w = np.zeros(classes, dtype)
        w[0] = weight
        got = lg.cross_entropy(x, y, w, label_smoothing=smoothing, reduction="none")
        if weight == INF:
            np.testing.assert_array_equal(got, INF)
            got = lg.cross_entropy(far, y, w, label_smoothing=smoothing, reduction="none")
            np.testing.assert_array_equal(got, INF)
        else:
            _near(got, exact * w[0])


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
def test_a_mean_is_in_the_range_though_a_loss_is_not(lg, function, classes):
    """What is added up is not rounded before, with weights of classes and rows or without."""
    top = np.finfo(np.float32).max
    x = np.full((6, classes), -top / 2, np.float32)
    x[:, 0] = top if function == "cross_entropy" else -top / 2
    y, w = np.ones(6, int), np.full(classes, 3, np.float32)
    y[1:] = 0
    first = 1.5 * float(top) if function == "cross_entropy" else float(top) / 2
    other = 0.0 if function == "cross_entropy" else first
    s = np.array([4.0, 1, 1, 1, 1, 1])
    loss = getattr(lg, function)
    if function == "cross_entropy":
        np.testing.assert_allclose(loss(x, y), first / 6, rtol=1e-6)
    np.testing.assert_allclose(loss(x, y, w), (first + 5 * other) / 6, rtol=1e-6)
    np.testing.assert_allclose(
        loss(x, y, w, sample_weight=s), (4 * first + 5 * other) / 9, rtol=1e-6
    )


@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e160, 1e308])
def test_a_mean_does_not_depend_on_the_size_of_its_weights(lg, function, weight):
    """Nor on the weights of classes and rows that do not count; the gradient likewise."""
    x, y = np.array([[-3.0, -0.5], [-1e200, -0.2], [-1.0, -2.0]]), np.array([0, 0, -100])
    w, s = np.array([weight, 1.0]), np.array([weight, weight, 3.0])
    for name in (function, f"{function}_value_and_grad"):
        loss = getattr(lg, name)
        want = loss(x, y)
        for given in ({"weight": w}, {"sample_weight": s}, {"weight": w, "sample_weight": s}):
            got = loss(x, y, **given)
            for a, b in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
                np.testing.assert_allclose(a, b, rtol=1e-15)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("b", [None, 2.5])
def test_an_infinite_gradient_at_gaps_beyond_the_range(lg, dtype, b):
    """It takes on the sign of any share but that of a mask, which is 0."""
    top = np.finfo(dtype).max
    x, g = np.array([[top / 2, -top, -INF]], dtype), np.array([-INF], dtype)
    factors = None if b is None else np.full_like(x, b)
    got = lg.logsumexp_backward(g, x, b=factors)
    np.testing.assert_array_equal(got[0, :2], -INF)
    assert got[0, 2] == 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", CLASSES)
def test_targets_that_are_large_and_cancel(lg, dtype, classes):
    """Their sum is 0, and so is that of p times it; a gradient of 0 makes all 0."""
    top = np.finfo(dtype).max / 4
    x, t = np.zeros((2, classes), dtype), np.zeros((2, classes), dtype)
    x[:, 0], t[0, :2], t[1, 1] = 710, (-top, top), -top
    g = np.array([0.5, 0], dtype)
    got = lg.cross_entropy_backward(g, x, t, reduction="none")
    np.testing.assert_array_equal(got, -g[:, None] * t * [[1], [0]])


# x, target, weight, pos_weight and gradient, for float32 and float64: what brings back a share of
# the loss that is below the range, and one that nothing does.
SHARES = [
    ((-106.75, 8.5e37, 88.7, 1e-45, 1.0), (-746.0, 4.5e307, 0.39, 5e-324, 1.0)),
    ((106.75, 1 - 2**-24, 88.7, 3e38, 1.0), (746.0, 1 - 2**-53, 0.39, 1.7e308, 1.0)),
    ((-230.0, -3e38, 1e38, 0.0, 1e38), (-1650.0, -1e308, 1e308, 0.0, 1e308)),
    ((-8.5e37, 3e38, -1.8e19, 0.0, 1.5), (-1e300, 1e308, -1e154, 0.0, 1.5)),
]


@pytest.mark.parametrize("numbers", SHARES)
def test_shares_of_binary_cross_entropy_below_the_range(lg, dtype, numbers):
    x, t, w, p, g = np.array(numbers[dtype == np.float64], dtype)
    with mpmath.workdps(400):
        small, large = (1 / (1 + mpmath.exp(sign * mpmath.mpf(float(x)))) for sign in (-1, 1))
        share = (1 - mpmath.mpf(float(t))) * small - mpmath.mpf(float(p)) * float(t) * large
        want = float(mpmath.mpf(float(g)) * float(w) * share)
    arrays = (np.full(40, v, dtype) for v in (g, x, t, w))
    got = lg.binary_cross_entropy_with_logits_backward(
        *arrays, pos_weight=np.full(40, p, dtype), reduction="none"
    )
    np.testing.assert_allclose(got, np.full(40, want), rtol=5 * np.finfo(dtype).eps)


def test_an_infinite_gradient_over_an_infinite_weight(lg, dtype):
    x, weight = np.array([0.0, 3.0, 0.5], dtype), np.array([2.4, -np.inf, 0.4], dtype)
    got = lg.mse_loss_backward(-np.inf, x, x - 5, weight, reduction="mean")
    assert np.isnan(got).all()


def test_weighted_logsumexp_whose_largest_product_is_of_a_far_logit(lg):
    """As accurate as with the logit that is near 0: 4 ULP of the larger term there, below 1."""
    x, b = np.array([-0.02284941, -6.90265986]), np.array([0.5, 710.0])
    with mpmath.workdps(50):
        want = mpmath.log(sum(mpmath.mpf(v) * mpmath.exp(u) for u, v in zip(x, b, strict=True)))
        apart = float(abs(mpmath.mpf(float(lg.logsumexp(x, b=b))) - want))
    assert apart <= 4 * np.spacing(0.9)
