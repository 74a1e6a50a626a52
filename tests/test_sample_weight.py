"""sample_weight: what the losses of rows and of elements make of it, on every backend."""

import functools
import itertools
import math

import numpy as np
import pytest
from calls import inputs, same_bits
from conftest import few, kernels
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import lossgrad
from lossgrad.registry import OPS

NAN, INF = math.nan, math.inf
LOSSES = [op for op in OPS if "sample_weight" in op.parameters]
of_rows = pytest.mark.parametrize(
    "op", [op for op in LOSSES if op.kind == "loss_rows"], ids=lambda op: op.name
)
of_elements = pytest.mark.parametrize(
    "op", [op for op in LOSSES if op.kind == "loss_elementwise"], ids=lambda op: op.name
)
every = pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
KINDS = ["float16", "float32", "float64"]
CLASSES = [1, 3, 8, 40, 300]


def cases(lg, op):
    """(kind, number of classes) by turns, of each kind every other number. The reference, which
    walks all alike and computes all in float64, has one for each op."""
    k = LOSSES.index(op)
    both = list(itertools.product(KINDS, CLASSES))[k % 2 :: 2]
    return few(lg, both, [(KINDS[k % 3], CLASSES[1 + k % 3])])


def close(got, want, kind, scale=1.0, what=""):
    bound = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-14}[kind]
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    with np.errstate(invalid="ignore"):
        if (abs(got - want) <= bound * (scale + abs(want))).all():  # mostly, and quick
            return
    np.testing.assert_allclose(got, want, rtol=bound, atol=bound * scale, err_msg=what)


def functions(lg, op):
    """Forward, backward, and value and gradient."""
    return [getattr(lg, name) for name in op.functions[:3]]


def targets_of(op, rng, shape, kind):
    """Targets of every form that the op takes: labels, and probabilities of cross_entropy."""
    if "binary labels" in op.inputs:
        return [rng.integers(0, 2, shape).astype(kind)]
    if op.kind == "loss_elementwise":
        return [rng.uniform(size=shape).astype(kind)]
    labels = np.asarray(rng.integers(0, shape[-1], shape[:-1]))
    soft = [rng.uniform(size=shape).astype(kind)] if op.name == "cross_entropy" else []
    return [
        labels.astype(np.uint8),
        np.where(rng.uniform(size=labels.shape) < 0.2, -100, labels),
        *soft,
    ]


def options_of(op, rng, classes, kind):
    """Weights beside the sample weights."""
    weight = rng.uniform(0.5, 2, classes).astype(kind)
    smooth = [{"label_smoothing": 0.2, "weight": weight}] if op.name == "cross_entropy" else []
    return [{}, {"weight": weight}, *smooth]


def divisor_of(op, s, y, options):
    """What the mean is divided by."""
    if op.kind == "loss_elementwise":
        s = np.broadcast_to(s.reshape(s.shape + (1,) * (y.ndim - s.ndim)), y.shape)
        own = "axis" in op.parameters and "weight" in options
        return (s * options["weight"]).sum() if own else s.sum()
    if y.dtype.kind == "f":
        return s.sum()
    weight = options.get("weight")
    own = 1 if weight is None else np.asarray(weight, np.float64)[np.maximum(y.astype(int), 0)]
    return np.where(y.astype(int) == -100, 0, s * own).sum()


@every
def test_weights_multiply_each_loss_and_gradient(lg, op, rng):
    for kind, classes in cases(lg, op):
        shape = (6, 4, classes)
        x = inputs(op.inputs[0], rng, shape, kind) / np.asarray(4, kind)  # no square is infinite
        loss_of, slope_of, both = functions(lg, op)
        s = rng.uniform(0, 3, shape[:-1]) * (rng.uniform(size=shape[:-1]) < 0.8)
        wide = s[..., None]
        for y in targets_of(op, rng, shape, kind):
            for options in options_of(op, rng, classes, kind):
                of = f"{kind}, {classes} classes, {y.dtype} targets, {[*options]}"
                near = functools.partial(close, kind=kind, what=of)
                each, slopes = both(x, y, reduction="none", **options)
                each, slopes = each.astype(np.float64), slopes.astype(np.float64)
                own = wide if op.kind == "loss_elementwise" else s
                given = {**options, "sample_weight": s}
                got = both(x, y, reduction="none", **given)
                near(got[0], own * each)
                near(got[1], wide * slopes)
                same_bits([got[0]], [loss_of(x, y, reduction="none", **given)], of)
                grad = rng.normal(size=each.shape).astype(kind)
                incoming = grad if op.kind == "loss_elementwise" else grad[..., None]
                got = slope_of(grad, x, y, reduction="none", **given)
                near(got, wide * incoming * slopes)
                total, by_sum = both(x, y, reduction="sum", **given)
                near(total, (own * each).sum(), scale=abs(own * each).sum())
                near(by_sum, wide * slopes)
                divisor = divisor_of(op, s, y, options)
                mean, by_mean = both(x, y, **given)
                near(mean, total / divisor)
                near(by_mean, wide * slopes / divisor)
                assert loss_of(x, y, **given) == mean, of
                near(slope_of(2.0, x, y, **given), 2 * by_mean.astype(np.float64))


@every
def test_ones_are_none(lg, op, rng):
    for kind, classes in cases(lg, op):
        shape = (9, classes)
        x = inputs(op.inputs[0], rng, shape, kind)
        for y in targets_of(op, rng, shape, kind):
            for reduction in ("none", "sum", "mean"):
                want = [np.asarray(a) for a in functions(lg, op)[2](x, y, reduction=reduction)]
                ones = [np.ones(9), np.ones(9, np.int8), np.ones(9, bool)]
                for s in few(lg, ones, ones[len(reduction) % 2 :: 2]):
                    got = functions(lg, op)[2](x, y, reduction=reduction, sample_weight=s)
                    same_bits([np.asarray(a) for a in got], want, f"{kind}, {classes} classes")


@every
def test_a_row_without_weight_is_not_read(lg, op, rng):
    for kind, classes in cases(lg, op):
        shape, of = (40, classes), f"{kind}, {classes} classes"
        x = inputs(op.inputs[0], rng, shape, kind)
        s = rng.uniform(0.5, 2, 40)
        out = np.array([0, 7, 13, 39])
        s[out] = 0
        kept = np.flatnonzero(s)
        loss_of, slope_of, both = functions(lg, op)
        for y in targets_of(op, rng, shape, kind):
            bad, wrong = x.copy(), y.copy()
            bad[out] = NAN
            wrong[out] = NAN if y.dtype.kind == "f" else np.iinfo(y.dtype).max
            want = both(x[kept], y[kept], reduction="none", sample_weight=s[kept])
            got = both(bad, wrong, reduction="none", sample_weight=s)
            same_bits([a[kept] for a in got], want, of)
            assert not any(np.any(a[out]) for a in got), of
            grad = rng.normal(size=got[0].shape).astype(kind)
            grad[out] = NAN
            got = slope_of(grad, bad, wrong, reduction="none", sample_weight=s)
            assert not np.any(got[out]), of
            assert np.isfinite(got).all(), of
            mean = loss_of(bad, wrong, sample_weight=s)
            assert mean == loss_of(x[kept], y[kept], sample_weight=s[kept]), of
            nothing = both(bad, wrong, sample_weight=np.zeros(40))
            assert not nothing[1].any(), of
            assert math.isnan(loss_of(bad[out], wrong[out], sample_weight=s[out])), of
            total = loss_of(bad[out], wrong[out], sample_weight=s[out], reduction="sum")
            assert total == 0, of


@of_elements
def test_an_element_without_weight_is_not_read(lg, op, rng):
    for kind in few(lg, KINDS, [KINDS[LOSSES.index(op) % 3]]):
        shape, both = (7, 5), functions(lg, op)[2]
        x, (t,) = inputs(op.inputs[0], rng, shape, kind), targets_of(op, rng, shape, kind)
        s = rng.uniform(0.5, 2, shape) * (rng.uniform(size=shape) < 0.6)
        want = both(x, t, sample_weight=s)
        for bad in (NAN, INF):
            x[s == 0] = t[s == 0] = bad
            got = both(x, t, sample_weight=s)
            assert got[0] == want[0], kind
            same_bits([got[1]], [want[1]], kind)
            assert not np.any(got[1][s == 0]), kind
            own = x.copy()
            got = both(own, t, sample_weight=s, out=own)
            same_bits([own], [want[1]], f"{kind}, in place")


@every
def test_any_size_of_weights_is_a_mean(lg, op, dtype, rng):
    """Only their ratios count: sums and products stay in range."""
    shape = (5, 4)
    x, y = inputs(op.inputs[0], rng, shape, dtype), targets_of(op, rng, shape, dtype)[0]
    s = np.array([1, 0.5, 2, 0, 1])
    want = functions(lg, op)[2](x, y, sample_weight=s)
    for size in (2.0**1022, 2.0**-1070, 2.0**200):
        got = functions(lg, op)[2](x, y, sample_weight=s * size)
        assert got[0] == want[0]
        same_bits([got[1]], [want[1]])


@pytest.fixture
def always():
    """Jobs are shared, in small parts, however short they are."""
    before = kernels.set_sharing(0.0, 1e-7)
    yield
    kernels.set_sharing(*before)


@pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")
@every
def test_bits_are_those_of_any_threads(always, op, dtype, rng):
    shape = (7000, 12)
    x = inputs(op.inputs[0], rng, shape, dtype)
    s = rng.uniform(0, 3, 7000) * (rng.uniform(size=7000) < 0.8)
    for y in targets_of(op, rng, shape, dtype):
        shared = kernels.pool()[1]
        one, many = (
            functions(lossgrad, op)[2](x, y, sample_weight=s, num_threads=n) for n in (1, 3)
        )
        assert kernels.pool()[1] > shared
        assert one[0] == many[0]
        same_bits([one[1]], [many[1]])


@of_rows
def test_classes_may_lie_along_any_axis(lg, op, dtype, rng):
    x = inputs(op.inputs[0], rng, (3, 5, 4), dtype)
    y, s = rng.integers(0, 5, (3, 4)), rng.integers(0, 3, (3, 4)).astype(np.float32)
    want = functions(lg, op)[2](np.moveaxis(x, 1, -1).copy(), y, sample_weight=s)
    got = functions(lg, op)[2](x, y, axis=1, sample_weight=np.asfortranarray(s))
    assert got[0] == want[0]
    same_bits([got[1]], [np.moveaxis(want[1], -1, 1)])


@every
@pytest.mark.parametrize(
    ("s", "message"),
    [
        ([1, -2, 3], "sample_weight must be finite and not negative, got -2.0 at 1"),
        ([1, 2, NAN], "got nan at 2"),
        ([INF, 2, 3], "got inf at 0"),
        ([1, 2], r"sample_weight has shape \(2,\)"),
    ],
)
def test_bad_weights(lg, op, s, message):
    x = np.full((3, 2), 0.5)
    y = np.zeros(3, int) if op.kind == "loss_rows" else x
    for function in functions(lg, op):
        grad = (1.0,) if function.__name__.endswith("_backward") else ()
        with pytest.raises(ValueError, match=message):
            function(*grad, x, y, sample_weight=s)


def test_as_scikit_learn_has_it(lg, dtype, rng):
    x, y, s = rng.normal(size=(50, 4)).astype(dtype), rng.integers(0, 4, 50), rng.uniform(0, 3, 50)
    p = np.exp(log_softmax(x.astype(np.float64), axis=1))
    want = log_loss(y, p, sample_weight=s)
    assert lg.cross_entropy(x, y, sample_weight=s) == pytest.approx(want, rel=1e-6)
    both = 1 / (1 + np.exp(-x[:, 0].astype(np.float64)))
    want = log_loss(y > 1, both, sample_weight=s)
    got = lg.binary_cross_entropy_with_logits(x[:, 0], y > 1, sample_weight=s)
    assert got == pytest.approx(want, rel=1e-6)


def test_logistic_regression_ends_where_the_gradient_is_0(lg, rng):
    """Class weights beside sample weights, as scikit-learn has them."""
    x, y, s = rng.normal(size=(60, 3)), rng.integers(0, 3, 60), rng.uniform(0, 3, 60)
    w = np.array([1.0, 2.0, 0.5])
    model = LogisticRegression(tol=1e-10, max_iter=1000, class_weight=dict(enumerate(w)))
    model.fit(x, y, sample_weight=s)
    slope = lg.cross_entropy_backward(
        1.0, model.decision_function(x), y, w, reduction="sum", sample_weight=s
    )
    np.testing.assert_allclose(slope.T @ x, -model.coef_, atol=1e-6)
    np.testing.assert_allclose(slope.sum(0), 0, atol=1e-6)


def test_keras_weighs_rows_of_several_elements(lg, dtype, rng):
    """The mean over an axis, then over rows by weight: the same as each element by its row's."""
    x, t, s = rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), rng.uniform(0, 2, 6)
    x, t = x.astype(dtype), t.astype(dtype)
    rows = ((x - t).astype(np.float64) ** 2).mean(1)
    assert lg.mse_loss(x, t, sample_weight=s) == pytest.approx((s * rows).sum() / s.sum(), rel=1e-6)
