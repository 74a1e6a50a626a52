"""The linear models: objective, gradient, Hessian products, memory, and the optimum that
scikit-learn finds."""

import functools
import tracemalloc

import numpy as np
import pytest
from conftest import few, kernels

from lossgrad import (
    _functions,
    _linear,
    logistic_regression_hessp,
    logistic_regression_loss,
    sample,
    softmax_regression_hessp,
    softmax_regression_loss,
)

NAN, INF = float("nan"), float("inf")
FUSED = (
    "binary_cross_entropy_with_logits_value_and_grad",
    "cross_entropy_value_and_grad",
    "sigmoid_backward",
    "softmax_backward",
)
PRODUCTS = {
    logistic_regression_loss: logistic_regression_hessp,
    softmax_regression_loss: softmax_regression_hessp,
}
MODELS = pytest.mark.parametrize(
    "model", [logistic_regression_loss, softmax_regression_loss], ids=["logistic", "softmax"]
)


@pytest.fixture
def backend(lg, monkeypatch):
    """The models on each backend in turn: they look the fused kernels up in the package."""
    for name in FUSED:
        monkeypatch.setattr(_functions, name, getattr(lg, name))
    return lg


@pytest.fixture
def blocks(monkeypatch):
    """Blocks of few rows, so that small problems have many, the last one incomplete."""
    monkeypatch.setattr(_linear, "BLOCK_BYTES", 400)
    monkeypatch.setattr(_linear, "BLOCK_PARAMETERS", 1)


class Problem:
    """Random samples, targets and parameters."""

    def __init__(self, model, rng, rows=37, features=5, dtype=np.float64, *, intercept=True):
        self.model = model
        self.classes = 1 if model is logistic_regression_loss else 4
        self.X = rng.normal(size=(rows, features)).astype(dtype)
        self.y = rng.integers(0, max(2, self.classes), rows)
        self.theta = rng.normal(size=self.classes * (features + intercept))
        self.weights = rng.uniform(0.1, 3, rows).astype(dtype).astype(np.float64)
        self.distributions = rng.dirichlet(np.ones(self.classes), rows)
        if self.classes == 1:
            self.distributions = rng.uniform(size=rows)

    def split(self, theta):
        size = self.classes * self.X.shape[1]
        return theta[:size].reshape(self.classes, -1), theta[size:]


def exact(problem, theta, X, y, l2=0.0, *, fit_intercept=True, sample_weight=None):
    """(objective, gradient) by their definitions, in long double."""
    theta, X = np.asarray(theta, np.longdouble), np.asarray(X, np.longdouble)
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    s = np.asarray(s, np.longdouble) / np.sum(s, dtype=np.longdouble)
    W, b = problem.split(theta)
    z = X @ W.T + (b if fit_intercept else 0)
    y = np.asarray(y)
    if problem.classes == 1:
        z = np.hstack([np.zeros_like(z), z])  # softmax of (0, z) is sigmoid(z)
        t = np.stack([1 - y.astype(np.longdouble), y.astype(np.longdouble)], axis=1)
    else:
        t = np.eye(problem.classes)[y] if y.ndim == 1 else y.astype(np.longdouble)
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    value = -(s[:, None] * t * log_p).sum() + l2 / 2 * (W * W).sum()
    slopes = (s[:, None] * (np.exp(log_p) - t))[:, -problem.classes :]
    parts = [(slopes.T @ X + l2 * W).ravel()]
    if fit_intercept:
        parts.append(slopes.sum(axis=0))
    return float(value), np.concatenate(parts)


def agree(found, wanted, rtol):
    """Gradients are held to their largest entry: theirs are sums that cancel."""
    assert type(found[0]) is float
    assert found[0] == pytest.approx(wanted[0], rel=rtol)
    scale = max(1.0, float(np.abs(wanted[1]).max()))
    np.testing.assert_allclose(
        found[1], np.asarray(wanted[1], np.float64), rtol=0, atol=rtol * scale
    )


OPTIONS = pytest.mark.parametrize(
    ("l2", "intercept", "weighted", "soft"),
    [
        (0.0, True, False, False),
        (0.0, False, False, False),
        (0.7, True, False, False),
        (0.7, False, True, False),
        (0.3, True, True, True),
        (0.0, True, False, True),
    ],
)


@MODELS
@OPTIONS
def test_closed_form(backend, blocks, model, dtype, rng, l2, intercept, weighted, soft):
    for rows in few(backend, (1, 2, 37), (37,) if dtype == np.float64 else (1, 2)):
        p = Problem(model, rng, rows, dtype=dtype, intercept=intercept)
        y = p.distributions.astype(dtype) if soft else p.y
        options = {"fit_intercept": intercept, "sample_weight": p.weights if weighted else None}
        found = model(p.theta, p.X, y, l2, **options)
        assert found[1].shape == p.theta.shape
        assert found[1].dtype == np.float64
        rtol = 1e-13 if dtype == np.float64 else 3e-6
        agree(found, exact(p, p.theta, p.X, y, l2, **options), rtol)


@MODELS
@OPTIONS
def test_gradient_is_the_slope_of_the_value(model, rng, l2, intercept, weighted, soft):
    p = Problem(model, rng, intercept=intercept)
    y = p.distributions if soft else p.y
    options = {"fit_intercept": intercept, "sample_weight": p.weights if weighted else None}
    _, gradient = model(p.theta, p.X, y, l2, **options)
    for k, slope in enumerate(gradient):
        step = 1e-5 * np.eye(p.theta.size)[k]
        up, _ = model(p.theta + step, p.X, y, l2, **options)
        down, _ = model(p.theta - step, p.X, y, l2, **options)
        assert (up - down) / 2e-5 == pytest.approx(slope, abs=1e-9)


# ---- products with the Hessian -------------------------------------------------------------------


def hessian(problem, theta, X, y, l2, *, fit_intercept, sample_weight):
    """The matrix, by its definition: sums of kron(p_c ([c = k] - p_k), x x^T) over the rows."""
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    if y.ndim == 2:
        s = s * y.sum(axis=1)
    W, b = problem.split(theta)
    z = X @ W.T + (b if fit_intercept else 0)
    if problem.classes == 1:
        bends = np.exp(-np.logaddexp(0, z) - np.logaddexp(0, -z))[:, :, None]
    else:
        p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        bends = p[:, :, None] * (np.eye(problem.classes) - p[:, None, :])
    weights = np.sum(1.0 * len(X) if sample_weight is None else sample_weight)
    inputs = np.hstack([X, np.ones((len(X), int(fit_intercept)))])
    found = np.einsum("n,nck,ni,nj->cikj", s / weights, bends, inputs, inputs)
    k, features = problem.classes, X.shape[1]
    found[:, :features, :, :features] += l2 * np.einsum("ck,ij->cikj", np.eye(k), np.eye(features))
    # as theta has them: the weights of all classes, then the intercepts
    order = np.arange(k * inputs.shape[1]).reshape(k, -1)
    order = np.concatenate([order[:, :features].ravel(), order[:, features:].ravel()])
    return found.reshape(len(order), -1)[np.ix_(order, order)]


@MODELS
@OPTIONS
def test_products_are_those_of_the_whole_hessian(
    backend, blocks, model, dtype, rng, l2, intercept, weighted, soft
):
    for rows in few(backend, (1, 2, 37), (37,) if dtype == np.float64 else (1, 2)):
        p = Problem(model, rng, rows, dtype=dtype, intercept=intercept)
        y = p.distributions.astype(dtype) if soft else p.y
        if soft and p.classes > 1:
            y *= rng.uniform(0.5, 2, (rows, 1)).astype(dtype)  # masses other than 1
        options = {"fit_intercept": intercept, "sample_weight": p.weights if weighted else None}
        matrix = hessian(p, p.theta, p.X.astype(np.float64), y, l2, **options)
        tolerance = 1e-13 if dtype == np.float64 else 3e-6
        for vector in (rng.normal(size=p.theta.size), np.eye(p.theta.size)[0]):
            found = PRODUCTS[model](p.theta, vector, p.X, y, l2, **options)
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, matrix @ vector, rtol=0, atol=tolerance * 10)


@MODELS
@OPTIONS
def test_products_are_differences_of_gradients(model, rng, l2, intercept, weighted, soft):
    p = Problem(model, rng, intercept=intercept)
    y = p.distributions if soft else p.y
    options = {"fit_intercept": intercept, "sample_weight": p.weights if weighted else None}
    vector = rng.normal(size=p.theta.size)
    step = 1e-5 * vector
    _, up = model(p.theta + step, p.X, y, l2, **options)
    _, down = model(p.theta - step, p.X, y, l2, **options)
    found = PRODUCTS[model](p.theta, vector, p.X, y, l2, **options)
    np.testing.assert_allclose(found, (up - down) / 2e-5, rtol=0, atol=1e-8)


@MODELS
def test_products_count_rows_as_they_are_weighted(backend, blocks, model, rng):
    """Blocks do not matter, weight 2 is a row twice, weight 0 no row, whatever it holds."""
    p = Problem(model, rng)
    hessp, vector = PRODUCTS[model], rng.normal(size=p.theta.size)
    counts = rng.integers(0, 4, len(p.y))
    counts[10:25] = 0
    repeated = np.repeat(np.arange(len(p.y)), counts)
    X = p.X.copy()
    X[counts == 0] = rng.choice([NAN, INF, -INF, 1.0], (np.sum(counts == 0), X.shape[1]))
    want = hessp(p.theta, vector, p.X[repeated], p.y[repeated], 0.1)
    found = hessp(p.theta, vector, X, p.y, 0.1, sample_weight=counts)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-13)
    for s in (None, np.zeros(len(p.y))):
        rows = slice(0) if s is None else slice(None)
        found = hessp(p.theta, vector, p.X[rows], p.y[rows], 0.5, sample_weight=s)
        W, b = p.split(vector)
        np.testing.assert_array_equal(found, np.concatenate([0.5 * W.ravel(), 0 * b]))


@MODELS
def test_products_of_confident_rows_keep_their_accuracy(backend, model):
    p = 2.0611536181902037e-09  # sigmoid(-20)
    theta = [1.0] if model is logistic_regression_loss else [0.0, 1.0]
    vector = [1.0] if model is logistic_regression_loss else [0.0, 1.0]
    for x in (20.0, -20.0):
        found = PRODUCTS[model](theta, vector, [[x]], [1], fit_intercept=False)
        assert found[-1] == pytest.approx(400 * p * (1 - p), rel=1e-14)


@MODELS
def test_products_have_the_type_of_theta(model, rng):
    p = Problem(model, rng)
    small, vector = p.theta.astype(np.float32), rng.normal(size=p.theta.size)
    want = PRODUCTS[model](small.astype(np.float64), vector, p.X, p.y, 0.1)
    found = PRODUCTS[model](small, vector.tolist(), p.X, p.y, 0.1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, want.astype(np.float32))


@MODELS
def test_products_pass_nan_and_infinity_without_a_warning(backend, model, rng):
    p = Problem(model, rng)
    vector = rng.normal(size=p.theta.size)
    with np.errstate(all="raise"):
        X = p.X.copy()
        X[20, 2] = NAN
        assert np.isnan(PRODUCTS[model](p.theta, vector, X, p.y)).all()
        huge = np.zeros(p.theta.size)
        huge[0] = 1e308
        far = np.zeros((1, p.X.shape[1]))
        far[0, 0] = 100  # logits that overflow: no curvature is left
        assert not PRODUCTS[model](huge, vector, far, p.y[:1]).any()


@MODELS
def test_errors_of_products(model, rng):
    p = Problem(model, rng)
    with pytest.raises(ValueError, match=rf"vector has shape \(3,\), but theta.*{p.theta.size}"):
        PRODUCTS[model](p.theta, np.zeros(3), p.X, p.y)
    with pytest.raises(TypeError, match="vector has dtype complex128"):
        PRODUCTS[model](p.theta, p.theta + 0j, p.X, p.y)
    with pytest.raises(ValueError, match=r"X has shape \(37,\)"):
        PRODUCTS[model](p.theta, p.theta, p.X[:, 0], p.y)
    with pytest.raises(ValueError, match=r"l2 .* got -1"):
        PRODUCTS[model](p.theta, p.theta, p.X, p.y, -1)


@functools.cache
def by_lbfgs():
    """The digits' problem, and what L-BFGS makes of it."""
    X, y = digits()
    problem = {"x0": np.zeros(10 * 65), "args": (X, y, 1 / len(y)), "jac": True}
    tight = {"gtol": 1e-10, "ftol": 0, "maxiter": 20_000, "maxfun": 50_000}
    method = pytest.importorskip("scipy.optimize").minimize
    return problem, method(softmax_regression_loss, method="L-BFGS-B", options=tight, **problem)


@pytest.mark.parametrize("method", ["trust-ncg", "trust-krylov", "Newton-CG"])
def test_newtons_method_takes_a_tenth_of_the_iterations(method):
    """Of those that L-BFGS takes on the digits; the first of them down to a gradient of 1e-10."""
    optimize = pytest.importorskip("scipy.optimize")
    problem, usual = by_lbfgs()
    tight = {"xtol": 1e-12} if method == "Newton-CG" else {"gtol": 1e-10}
    # SciPy's trust-krylov computes with memory that nothing has set, and throws the result away
    with np.errstate(all="ignore" if method == "trust-krylov" else "warn"):
        found = optimize.minimize(
            softmax_regression_loss,
            method=method,
            hessp=softmax_regression_hessp,
            options=tight,
            **problem,
        )
    assert 10 * found.nit <= usual.nit
    assert found.fun == pytest.approx(usual.fun, rel=1e-9)
    _, gradient = softmax_regression_loss(found.x, *problem["args"])
    assert np.abs(gradient).max() < (1e-10 if method == "trust-ncg" else 1e-7)


@MODELS
def test_blocks_do_not_matter(model, monkeypatch, rng):
    p = Problem(model, rng, 501)
    options = {"l2": 0.2, "sample_weight": p.weights}
    want = model(p.theta, p.X, p.y, **options)
    monkeypatch.setattr(_linear, "BLOCK_PARAMETERS", 0)
    for size in (1, 100, 1000, 5000):
        monkeypatch.setattr(_linear, "BLOCK_BYTES", size)
        agree(model(p.theta, p.X, p.y, **options), want, 1e-13)


@MODELS
def test_penalty_is_of_the_weights_alone(model, rng):
    p = Problem(model, rng)
    value, gradient = model(p.theta, p.X, p.y)
    penalised, shrunk = model(p.theta, p.X, p.y, 0.5)
    W, b = p.split(p.theta)
    assert penalised - value == pytest.approx(0.25 * np.sum(W * W), rel=1e-13)
    change = np.concatenate([0.5 * W.ravel(), 0 * b])
    np.testing.assert_allclose(shrunk - gradient, change, rtol=1e-13, atol=1e-15)


@MODELS
def test_weights_count_rows(backend, blocks, model, rng):
    """Weight 2 is a row twice, weight 0 is no row, whatever it holds."""
    p = Problem(model, rng)
    counts = rng.integers(0, 4, len(p.y))
    counts[10:25] = 0  # blocks in which there is nothing to do
    repeated = np.repeat(np.arange(len(p.y)), counts)
    X = p.X.copy()
    X[counts == 0] = rng.choice([NAN, INF, -INF, 1.0], (np.sum(counts == 0), X.shape[1]))
    want = model(p.theta, p.X[repeated], p.y[repeated], 0.1)
    for dtype in (np.int8, np.float32, np.float64):
        found = model(p.theta, X, p.y, 0.1, sample_weight=counts.astype(dtype))
        agree(found, want, 1e-13)
    scaled = model(p.theta, X, p.y, 0.1, sample_weight=counts * 1e200)
    agree(scaled, want, 1e-13)  # the mean is over the weights


def test_two_classes_are_logistic(backend, rng):
    """Weights (0, w) of the classes give the logistic model."""
    p = Problem(logistic_regression_loss, rng)
    value, gradient = logistic_regression_loss(p.theta, p.X, p.y)
    theta = np.concatenate([0 * p.theta[:5], p.theta[:5], [0], p.theta[5:]])
    found, slopes = softmax_regression_loss(theta, p.X, p.y)
    assert found == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(slopes[[*range(5, 10), 11]], gradient, atol=1e-15)
    np.testing.assert_allclose(slopes[[*range(5), 10]], -gradient, atol=1e-15)


def test_confident_rows_keep_their_accuracy(backend):
    X, y = np.array([[20.0]]), np.array([1])
    value, gradient = logistic_regression_loss([1.0], X, y, fit_intercept=False)
    assert value == pytest.approx(2.061153620314381e-09, rel=1e-15)
    assert gradient[0] == pytest.approx(-20 * 2.0611536181902037e-09, rel=1e-14)
    value, gradient = softmax_regression_loss([0.0, 1.0], X, y, fit_intercept=False)
    assert value == pytest.approx(2.061153620314381e-09, rel=1e-15)
    np.testing.assert_allclose(
        gradient, 20 * 2.0611536181902037e-09 * np.array([1, -1]), rtol=1e-14
    )


@MODELS
def test_inputs_are_taken_as_they_come(model, rng):
    """Layouts and types of the arguments; nothing is written to any of them."""
    p = Problem(model, rng)
    l2, s = 0.1, p.weights
    want = model(p.theta, p.X, p.y, l2, sample_weight=s)
    wide = np.zeros((74, 10))
    wide[::2, ::2] = p.X
    backwards = p.X[::-1, ::-1].copy()[::-1, ::-1]
    for X in (
        p.X,
        np.asfortranarray(p.X),
        wide[::2, ::2],
        backwards,
        p.X.tolist(),
        p.X.astype(">f8"),
    ):
        agree(model(p.theta, X, p.y, l2, sample_weight=s), want, 1e-13)
    for kind in "bhilqBHILQ":
        agree(model(p.theta, p.X, p.y.astype(kind), l2, sample_weight=s), want, 1e-13)
    agree(model(p.theta.tolist(), p.X, p.y.tolist(), l2, sample_weight=s.tolist()), want, 1e-13)
    frozen = [p.theta.copy(), p.X.copy(), p.y.copy(), s.copy()]
    before = [a.copy() for a in frozen]
    for a in frozen:
        a.setflags(write=False)
    model(*frozen[:3], l2, sample_weight=frozen[3])
    for a, b in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(a, b)
    whole = rng.integers(-3, 4, (37, 5))
    want = model(p.theta, whole.astype(np.float64), p.y)
    agree(model(p.theta, whole, p.y), want, 1e-13)
    agree(model(p.theta, whole.astype(np.float16), p.y), want, 1e-5)


@MODELS
def test_gradient_has_the_type_of_theta(model, rng):
    p = Problem(model, rng)
    small = p.theta.astype(np.float32)
    want = model(small.astype(np.float64), p.X, p.y, 0.1)
    found = model(small, p.X, p.y, 0.1)
    assert found[1].dtype == np.float32
    assert found[0] == want[0]
    np.testing.assert_array_equal(found[1], want[1].astype(np.float32))
    found = model(small, p.X.astype(np.float32), p.y, 0.1)
    assert found[1].dtype == np.float32
    agree(found, want, 2e-6)
    assert model(np.zeros(p.theta.size, int), p.X, p.y)[1].dtype == np.float64


def test_labels_of_the_logistic_model_may_be_bools(rng):
    p = Problem(logistic_regression_loss, rng)
    found = logistic_regression_loss(p.theta, p.X, p.y == 1)
    want = logistic_regression_loss(p.theta, p.X, p.y)
    assert found[0] == want[0]
    np.testing.assert_array_equal(found[1], want[1])


@MODELS
def test_float32_sums_do_not_drift(model):
    """Half a million equal rows have the mean and slope of one."""
    p = Problem(model, np.random.default_rng(1), 1, dtype=np.float32)
    rows = 500_001
    X = np.repeat(p.X, rows, axis=0)
    agree(model(p.theta, X, np.repeat(p.y, rows)), exact(p, p.theta, p.X, p.y), 5e-5)


@MODELS
def test_nan_and_infinity_pass_without_a_warning(backend, model, rng):
    p = Problem(model, rng)
    with np.errstate(all="raise"):
        X = p.X.copy()
        X[20, 2] = NAN
        for s in (None, p.weights):
            value, gradient = model(p.theta, X, p.y, sample_weight=s)
            assert np.isnan(value)
            assert np.isnan(gradient).all()
        value, gradient = model(p.theta * NAN, p.X, p.y, 0.1)
        assert np.isnan(value)
        assert np.isnan(gradient).all()


@pytest.mark.parametrize(
    ("model", "x", "y", "wanted"),
    [
        (logistic_regression_loss, 1, 0, 1e308),
        (logistic_regression_loss, 100, 0, INF),
        (logistic_regression_loss, 100, 1, 0),
        (logistic_regression_loss, -100, 1, INF),
        (softmax_regression_loss, 1, 1, 1e308),
        (softmax_regression_loss, 100, 1, INF),
        (softmax_regression_loss, 100, 0, 0),
        (softmax_regression_loss, -100, 1, np.log(3)),  # class 0 is out of the question
    ],
)
def test_logits_may_overflow(backend, model, x, y, wanted):
    theta = np.zeros(2 if model is logistic_regression_loss else 8)
    theta[0] = 1e308
    for s in (None, [0.5]):
        with np.errstate(all="raise"):
            value, gradient = model(theta, [[x]], [y], sample_weight=s)
        assert value == pytest.approx(wanted, rel=1e-15)
        assert np.isfinite(gradient).all()


@MODELS
def test_no_rows(backend, model, rng):
    p = Problem(model, rng)
    W, b = p.split(p.theta)
    slope = np.concatenate([0.5 * W.ravel(), 0 * b])
    for X, y, s in (
        (p.X[:0], p.y[:0], None),
        (p.X[:0], p.y[:0], []),
        (p.X, p.y, np.zeros(len(p.y))),
    ):
        value, gradient = model(p.theta, X, y, 0.5, sample_weight=s)
        assert np.isnan(value)
        np.testing.assert_array_equal(gradient, slope)


def test_no_features(backend):
    """Intercepts alone: the best ones are the log-odds, or logs, of the classes' counts."""
    X, y = np.zeros((8, 0)), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    value, gradient = softmax_regression_loss(np.log([5, 2, 1]), X, y, 0.3)
    q = np.array([5, 2, 1]) / 8
    assert value == pytest.approx(-(q * np.log(q)).sum(), rel=1e-14)
    np.testing.assert_allclose(gradient, 0, atol=1e-15)
    value, gradient = logistic_regression_loss([np.log(3 / 5)], X, y > 0, 0.3)
    assert gradient == pytest.approx(0, abs=1e-15)


# ---- errors --------------------------------------------------------------------------------------

Z6, Z3 = np.zeros(6), np.zeros(3)
X42, Y4 = np.zeros((4, 2)), np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros(4), X42, Y4), {}, ValueError, r"theta has 4 .* 1 \* 3: .* 2 weights .*\(4, 2\)"),
        ((Z3, X42, Y4), {"fit_intercept": False}, ValueError, "no intercept .fit_intercept=False"),
        ((np.zeros((3, 1)), X42, Y4), {}, ValueError, r"theta has shape \(3, 1\).*flat"),
        ((Z3.astype(complex), X42, Y4), {}, TypeError, "theta has dtype complex128"),
        ((Z3, np.zeros(4), Y4), {}, ValueError, r"X has shape \(4,\)"),
        ((Z3, X42.astype(object), Y4), {}, TypeError, "X has dtype object"),
        ((Z3, np.ma.masked_array(X42, True), Y4), {}, TypeError, "X is a masked array"),
        ((Z3, X42, np.ma.masked_array(Y4, True)), {}, TypeError, "y is a masked array"),
        ((Z3, X42, Y4[:3]), {}, ValueError, r"y has shape \(3,\).*needs \(4,\)"),
        ((Z3, X42, Y4[:, None]), {}, ValueError, r"y has shape \(4, 1\).*needs \(4,\)"),
        ((Z3, X42, [0, 1, -1, 1]), {}, ValueError, "y is -1.0 in row 2.*labels are 0 and 1"),
        ((Z3, X42, [0, 1, 1, 1.5]), {}, ValueError, "y is 1.5 in row 3"),
        ((Z3, X42, list("abcd")), {}, TypeError, "y has dtype <U1"),
        ((Z3, X42, Y4, -0.1), {}, ValueError, "l2 .* got -0.1"),
        ((Z3, X42, Y4, NAN), {}, ValueError, "l2 .* got nan"),
        ((Z3, X42, Y4), {"sample_weight": [1, 2]}, ValueError, r"sample_weight .*needs \(4,\)"),
        ((Z3, X42, Y4), {"sample_weight": [1, 2, -3, 1]}, ValueError, "is -3.0 in row 2"),
    ],
)
def test_logistic_errors(arguments, options, error, message):
    with pytest.raises(error, match=message):
        logistic_regression_loss(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros(7), X42, Y4), {}, ValueError, "theta has 7 .* multiple of 3: for each class, 2"),
        ((Z6, X42, Y4), {"classes": 3}, ValueError, r"theta has 6 .* 3 \* 3"),
        ((np.zeros(0), X42, Y4), {}, ValueError, "theta has 0 numbers"),
        ((np.zeros(0), X42, Y4), {"classes": 0}, ValueError, "theta has 0 numbers"),
        ((np.zeros(0), X42[:, :0], Y4), {"fit_intercept": False}, ValueError, "theta has 0 num"),
        ((Z6, X42, Y4), {"classes": 2.0}, TypeError, "integer"),
        ((Z6, X42, [0, 1, 2, -1]), {}, IndexError, r"label 2 in row 2 is outside \[0, 2\)$"),
        ((Z6, X42, [0, 1, 1, -100]), {}, IndexError, r"label -100 in row 3"),
        ((Z6, X42, Y4[:3]), {}, ValueError, r"y has shape \(3,\).*needs \(4,\)"),
        ((Z6, X42, Y4 + 0.0), {}, TypeError, r"y has dtype float64.*y.astype\(np.int64\)"),
        ((Z6, X42, Y4 == 1), {}, TypeError, r"y has dtype bool.*y.astype\(np.int64\)"),
        (
            (Z6, X42, np.zeros((4, 3))),
            {},
            ValueError,
            r"y has dtype float64 and shape \(4, 3\).*\(4, 2\)",
        ),
        ((Z6, X42, np.ma.masked_array(Y4, True)), {}, TypeError, "y is a masked array"),
        ((Z6, X42, Y4), {"sample_weight": -np.ones(4)}, ValueError, "is -1.0 in row 0"),
    ],
)
def test_softmax_errors(arguments, options, error, message):
    with pytest.raises(error, match=message):
        softmax_regression_loss(*arguments, **options)


def test_rows_are_named_in_the_whole(blocks, rng):
    """Not in their block."""
    p = Problem(softmax_regression_loss, rng, 500)
    for label in (4, -1):
        p.y[321] = label
        with pytest.raises(IndexError, match=rf"label {label} in row 321 is outside \[0, 4\)$"):
            softmax_regression_loss(p.theta, p.X, p.y)


# ---- memory --------------------------------------------------------------------------------------

compiled = pytest.mark.skipif(kernels is None, reason="the reference's temporaries are its own")


def peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@compiled
@pytest.mark.parametrize("weighted", [False, True])
def test_memory_is_that_of_a_block(dtype, weighted, rng):
    """Far below the logits, which have the size of 20 blocks and more."""
    rows, features, classes = 80_000, 8, 64
    X = rng.normal(size=(rows, features)).astype(dtype)
    y = rng.integers(0, classes, rows)
    s = rng.integers(0, 3, rows).astype(dtype) if weighted else None
    theta = rng.normal(size=classes * (features + 1))
    used = peak(lambda: softmax_regression_loss(theta, X, y, 0.1, sample_weight=s))
    allowed = _linear.BLOCK_BYTES * (2 if weighted else 1) + rows + 8 * theta.nbytes
    assert used < allowed + 20_000 < rows * classes * X.itemsize / 6
    y = (y % 2).astype(dtype)
    theta = theta[: features + 1]
    used = peak(lambda: logistic_regression_loss(theta, X, y, 0.1, sample_weight=s))
    assert used < _linear.BLOCK_BYTES * (1.5 if weighted else 0.5) + 4 * rows


@compiled
def test_memory_of_a_product_is_that_of_two_blocks(dtype, rng):
    rows, features, classes = 80_000, 8, 64
    X = rng.normal(size=(rows, features)).astype(dtype)
    y = rng.integers(0, classes, rows)
    theta = rng.normal(size=classes * (features + 1))
    used = peak(lambda: softmax_regression_hessp(theta, theta, X, y, 0.1))
    allowed = 2 * _linear.BLOCK_BYTES + rows + 12 * theta.nbytes
    assert used < allowed + 20_000 < rows * classes * X.itemsize / 6


@compiled
def test_memory_of_many_parameters(rng):
    """Blocks grow with the parameters, not with the rows."""
    rows, features, classes = 12_000, 100, 500
    X, y = rng.normal(size=(rows, features)), rng.integers(0, classes, rows)
    theta = np.zeros(classes * (features + 1))
    used = peak(lambda: softmax_regression_loss(theta, X, y))
    assert used < 14 * theta.nbytes < rows * classes * 8 / 6


# ---- the optimum, beside scikit-learn ------------------------------------------------------------


def breast_cancer():
    X, y = pytest.importorskip("sklearn.datasets").load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def digits():
    images, labels = sample.load_digits()
    return images / 16.0, labels.astype(np.int64)


@pytest.mark.peers
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "none"])
@pytest.mark.parametrize("C", [0.1, 1.0])
@pytest.mark.parametrize(
    ("model", "data"),
    [(logistic_regression_loss, breast_cancer), (softmax_regression_loss, digits)],
    ids=["breast_cancer", "digits"],
)
def test_scikit_learn_finds_the_same_optimum(model, data, C, intercept, weighted, rng):
    optimize = pytest.importorskip("scipy.optimize")
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    threads = pytest.importorskip("threadpoolctl")  # scikit-learn's two pools fight for cores
    X, y = data()
    s = rng.uniform(0.2, 3, len(y)) if weighted else None
    total = len(y) if s is None else s.sum()
    classes = 1 if model is logistic_regression_loss else 10
    options = {"fit_intercept": intercept, "sample_weight": s}

    def objective(theta):
        return model(theta, X, y, 1 / (C * total), **options)

    start = np.zeros(classes * (X.shape[1] + intercept))
    with threads.threadpool_limits(1):
        theirs = linear_model.LogisticRegression(
            C=C, tol=1e-9, max_iter=5000, fit_intercept=intercept
        ).fit(X, y, sample_weight=s)
    ours = optimize.minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000, "maxfun": 10000},
    )
    parts = [theirs.coef_.ravel(), *([theirs.intercept_] if intercept else [])]
    value, gradient = objective(np.concatenate(parts))
    assert ours.fun == pytest.approx(value, rel=1e-8)
    assert np.abs(gradient).max() < 1e-6  # their optimum is ours

    # the objective is theirs, by their own loss
    loss = metrics.log_loss(y, theirs.predict_proba(X), sample_weight=s, normalize=False)
    stated = C * loss + 0.5 * np.sum(theirs.coef_**2)
    assert C * total * value == pytest.approx(stated, rel=1e-12)
