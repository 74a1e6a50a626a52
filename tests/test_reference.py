"""The NumPy reference at the edges, and the arguments' errors, which both backends share."""

import inspect
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest

from lossgrad import _registry, reference
from lossgrad.reference import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy,
    cross_entropy_backward,
    cross_entropy_value_and_grad,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    logsumexp_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
)

INF, NAN = math.inf, math.nan
DTYPES = [np.float32, np.float64]
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(autouse=True)
def strict():
    """No floating-point warning may leave a function, whatever the caller has set."""
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def same(a, b):
    np.testing.assert_array_equal(a, b, strict=isinstance(b, np.ndarray))


@np.errstate(all="ignore")
def close(a, b, rtol, atol=0.0):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# ---- the table ----------------------------------------------------------------------------------


def test_registry_names_what_the_reference_has():
    names = [name for op in _registry.OPS for name in op.functions]
    assert sorted(names) == sorted(reference.__all__)


@pytest.mark.parametrize("op", _registry.OPS, ids=lambda op: op.name)
def test_registry_parameters_are_the_signature(op):
    assert set(op.inputs) <= set(_registry.DOMAINS)
    for name in op.functions:
        signature = list(inspect.signature(getattr(reference, name)).parameters.values())
        signature = signature[len(op.inputs) + name.endswith("_backward") :]
        assert {p.name: p.default for p in signature} == op.parameters


# ---- values at the edges ------------------------------------------------------------------------


@dtypes
def test_sigmoid_limits(dtype):
    x = np.array([-INF, -0.0, 0.0, INF, NAN], dtype)
    same(sigmoid(x), np.array([0, 0.5, 0.5, 1, NAN], dtype))
    same(sigmoid_backward(np.ones_like(x), x), np.array([0, 0.25, 0.25, 0, NAN], dtype))
    info = np.finfo(dtype)
    x = np.array(math.log(float(info.smallest_subnormal)) + 3, dtype)
    assert sigmoid(x) == dtype(math.exp(float(x))) > 0


@dtypes
def test_special_rows(dtype):
    x = np.array(
        [[INF, 1, -INF], [INF, INF, 0], [NAN, 0, 0], [-INF, -INF, -INF], [0, -INF, 0]], dtype
    )
    nans = [NAN] * 3
    same(logsumexp(x), np.array([INF, NAN, NAN, -INF, dtype(math.log(2))], dtype))
    same(softmax(x), np.array([[1, 0, 0], nans, nans, nans, [0.5, 0, 0.5]], dtype))
    log_half = -dtype(math.log(2))
    expected = [[0, -INF, -INF], nans, nans, nans, [log_half, -INF, log_half]]
    same(log_softmax(x), np.array(expected, dtype))
    losses, grad = cross_entropy_value_and_grad(x, [0, 0, 0, 0, 1], reduction="none")
    same(losses, np.array([0, NAN, NAN, NAN, INF], dtype))
    same(grad, np.array([[0, 0, 0], nans, nans, nans, [0.5, -1, 0.5]], dtype))
    losses, grad = cross_entropy_value_and_grad(x[:1], [1], reduction="none")
    same(losses, np.array([INF], dtype))
    same(grad, np.array([[1, -1, 0]], dtype))


@dtypes
def test_confident_rows_keep_their_accuracy(dtype):
    x, p = np.array([[0, -20]], dtype), dtype(math.exp(-20) / (1 + math.exp(-20)))
    loss, grad = cross_entropy_value_and_grad(x, [0])
    assert loss == dtype(math.log1p(math.exp(-20)))
    same(grad, np.array([[-p, p]], dtype))
    same(log_softmax_backward(np.array([[-1, 0]], dtype), x), grad)
    slope = binary_cross_entropy_with_logits_backward(1, dtype([20]), [1])
    same(slope, -sigmoid(dtype([-20])))
    x = np.array([[0, -100 if dtype is np.float32 else -740]], dtype)
    tiny = dtype(math.exp(float(x[0, 1])))
    loss, grad = cross_entropy_value_and_grad(x, [0])
    assert loss == tiny > 0
    same(grad, np.array([[-tiny, tiny]], dtype))


def test_many_subnormal_terms_are_summed_before_they_are_rounded():
    x = np.full((1, 1001), -745.0)
    x[0, 0] = 0
    assert cross_entropy(x, [0]) == pytest.approx(1000 * math.exp(-700) * math.exp(-45), rel=1e-12)


@dtypes
def test_masked_logits(dtype):
    x = np.array([[0, 0, -INF]], dtype)
    t = np.array([[0.5, 0.5, 0]], dtype)
    loss, grad = cross_entropy_value_and_grad(x, t)
    assert loss == dtype(math.log(2))
    same(grad, np.zeros((1, 3), dtype))
    assert cross_entropy(x, [0], label_smoothing=0.1) == INF
    assert cross_entropy(x, [2], weight=[1, 1, 0], reduction="sum") == 0


@dtypes
def test_ignored_rows(dtype):
    x = np.array([[NAN, NAN], [0, 0], [INF, INF]], dtype)
    lse = np.ones(3)
    loss, grad = cross_entropy_value_and_grad(x, [-100, 1, -100], lse=lse)
    assert loss == dtype(math.log(2))
    same(grad, np.array([[0, 0], [0.5, -0.5], [0, 0]], dtype))
    same(lse, np.array([0, math.log(2), 0]))
    assert cross_entropy(x, np.uint8([255, 1, 255]), ignore_index=255) == loss
    assert cross_entropy(x, [1, 0, 1], ignore_index=1) == loss
    losses = cross_entropy(x, [-100, 1, -100], reduction="none")
    same(losses, np.array([0, loss, 0], dtype))


@dtypes
@pytest.mark.parametrize("labels", [[], [-100, -100]])
def test_no_rows(dtype, labels):
    x, y = np.full((len(labels), 3), NAN, dtype), np.array(labels, np.int64)
    for weight in (None, [1, 2, 3]):
        loss, grad = cross_entropy_value_and_grad(x, y, weight)
        assert math.isnan(loss)
        same(grad, np.zeros_like(x))
        assert cross_entropy(x, y, weight, reduction="sum") == 0
        same(cross_entropy_backward(1.0, x, y, weight), np.zeros_like(x))
        same(cross_entropy(x, y, weight, reduction="none"), np.zeros(len(y), dtype))


def test_empty_arrays_keep_their_shape():
    x = np.empty((0, 3, 4), np.float32)
    assert softmax(x).shape == softmax_backward(x, x, 1).shape == x.shape
    assert logsumexp(x, 1).shape == (0, 4)
    assert logsumexp(x, 1, keepdims=True).shape == (0, 1, 4)
    assert sigmoid(x).shape == sigmoid_backward(x, x).shape == x.shape
    assert math.isnan(binary_cross_entropy_with_logits(x, x))
    loss, grad = binary_cross_entropy_with_logits_value_and_grad(x, x, reduction="sum")
    assert loss == 0
    assert grad.shape == x.shape
    with pytest.raises(ValueError, match=r"\(2, 0\) has no classes along axis=1"):
        softmax(np.empty((2, 0)))


@dtypes
def test_binary_limits(dtype):
    x = np.array([INF, INF, -INF, -INF, NAN, 20, INF, 1], dtype)
    t = np.array([1, 0, 1, 0, 1, 1, 0.5, NAN], dtype)
    losses, grad = binary_cross_entropy_with_logits_value_and_grad(x, t, reduction="none")
    p = sigmoid(dtype(-20))
    same(losses, np.array([0, INF, INF, 0, NAN, dtype(math.log1p(math.exp(-20))), INF, NAN], dtype))
    same(grad, np.array([0, 1, -1, 0, NAN, -p, 0.5, NAN], dtype))
    assert binary_cross_entropy_with_logits([INF], [0], weight=[0]) == 0
    assert binary_cross_entropy_with_logits([-INF], [1], pos_weight=0) == 0
    assert math.isnan(binary_cross_entropy_with_logits([NAN], [1], weight=0))


@dtypes
def test_reductions_are_correctly_rounded(dtype, rng):
    x, y = rng.normal(0, 5, (100, 7)).astype(dtype), rng.integers(7, size=100)
    w = rng.uniform(0.5, 2, 7).astype(dtype)
    rows = cross_entropy(x, y, w, reduction="none")
    assert rows.dtype == dtype
    total = math.fsum(rows.tolist())
    assert cross_entropy(x, y, w, reduction="sum") == total
    assert cross_entropy(x, y, w) == total / math.fsum(w[y].tolist())
    t = rng.random(x.shape).astype(dtype)
    loss = binary_cross_entropy_with_logits(x, t)
    assert type(loss) is float
    values = binary_cross_entropy_with_logits(x, t, reduction="none")
    assert loss == math.fsum(values.ravel().tolist()) / x.size


def test_sums_of_extremes():
    assert reference._exact_sum(np.array([1e308, 1e308, -1e308])) == 1e308
    assert reference._exact_sum(np.array([1e308, 1e308])) == INF
    assert math.isnan(reference._exact_sum(np.array([INF, -INF])))
    assert reference._exact_sum(np.array([INF, 1.0])) == INF


# ---- one function against another ---------------------------------------------------------------


OPTIONS = {
    "plain": {},
    "weighted": {"weight": np.array([0.5, 0, 2, 1.5])},
    "smoothed": {"weight": np.array([0.5, 1, 2, 1.5]), "label_smoothing": 0.2},
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_gradient_is_the_slope(rng, reduction, options, soft):
    x = rng.normal(size=(3, 4))
    t = rng.dirichlet(np.ones(4), 3) if soft else np.array([2, 0, -100])
    options = {**options, "reduction": reduction}
    grad = np.array([1.5, -2, 3]) if reduction == "none" else 1.5
    slope = cross_entropy_backward(grad, x, t, **options)
    step = 1e-5
    for index in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[index] = step
        high, low = cross_entropy(x + e, t, **options), cross_entropy(x - e, t, **options)
        assert slope[index] == pytest.approx(np.sum(grad * (high - low)) / (2 * step), abs=1e-9)
    lse = np.empty(3)
    loss, fused = cross_entropy_value_and_grad(x, t, **options, lse=lse)
    same(fused, cross_entropy_backward(np.ones(3) if reduction == "none" else 1, x, t, **options))
    same(np.asarray(loss), np.asarray(cross_entropy(x, t, **options)))
    saved = cross_entropy_backward(grad, x, t, **options, lse=lse)
    close(saved, slope, 1e-13, 1e-15)


def test_softmax_family_gradients_are_slopes(rng):
    x, g, step = rng.normal(size=(2, 5)), rng.normal(size=(2, 5)), 1e-5
    pairs = [(softmax, softmax_backward), (log_softmax, log_softmax_backward)]
    pairs.append((logsumexp, logsumexp_backward))
    for forward, backward in pairs:
        grad = g[:, 0] if forward is logsumexp else g
        slope = backward(grad, x)
        for index in np.ndindex(x.shape):
            e = np.zeros_like(x)
            e[index] = step
            change = np.sum(grad * (forward(x + e) - forward(x - e))) / (2 * step)
            assert slope[index] == pytest.approx(change, abs=1e-9)


def test_binary_gradient_is_the_slope(rng):
    x, t, step = rng.normal(size=(3, 4)), rng.random((3, 4)), 1e-5
    options = {"weight": rng.random((3, 1)), "pos_weight": rng.random(4)}
    slope = binary_cross_entropy_with_logits_backward(2, x, t, **options)
    for index in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[index] = step
        high = binary_cross_entropy_with_logits(x + e, t, **options)
        low = binary_cross_entropy_with_logits(x - e, t, **options)
        assert slope[index] == pytest.approx((high - low) / step, abs=1e-9)


@dtypes
def test_probabilities_that_are_one_hot_are_labels(dtype, rng):
    x, y = (rng.normal(size=(20, 5)) * 30).astype(dtype), rng.integers(5, size=20)
    y[:10] = x[:10].argmax(axis=1)
    t = np.eye(5, dtype=dtype)[y]
    same(cross_entropy(x, t, reduction="none"), cross_entropy(x, y, reduction="none"))
    a, b = cross_entropy_value_and_grad(x, t)[1], cross_entropy_value_and_grad(x, y)[1]
    close(a[:10], b[:10], 4 * np.finfo(dtype).eps)
    close(a, b, 0, np.finfo(dtype).eps)


# ---- layouts ------------------------------------------------------------------------------------


class Subclass(np.ndarray):
    """Not to come back."""


def layouts(x):
    """The array x, laid out in every way."""
    yield "C", x.copy()
    yield "F", np.asfortranarray(x)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield "strided", wide[..., ::2]
    yield "reversed", x[::-1].copy()[::-1]
    yield "swapped", x.astype(x.dtype.newbyteorder())
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    yield "unaligned", raw
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "list", x.tolist() if x.dtype != np.float32 else memoryview(x)
    yield "unpickled", pickle.loads(pickle.dumps(x))


@dtypes
def test_layouts_and_axes_do_not_change_results(dtype, rng):
    x, y = rng.normal(size=(3, 4, 5)).astype(dtype), rng.integers(4, size=(3, 5))
    expected = cross_entropy_value_and_grad(np.moveaxis(x, 1, -1).copy(), y, reduction="none")
    p = softmax(x, 1)
    for (_, a), (_, b) in itertools.product(layouts(x), layouts(y)):
        loss, grad = cross_entropy_value_and_grad(a, b, reduction="none", axis=1)
        same(loss, expected[0])
        same(grad, np.moveaxis(expected[1], -1, 1))
    for _, a in layouts(x):
        same(softmax(a, -2), p)
        same(sigmoid(a), sigmoid(x))
        same(binary_cross_entropy_with_logits(x, a, a), binary_cross_entropy_with_logits(x, x, x))
    assert type(softmax(x.view(Subclass))) is np.ndarray


def test_padding_with_minus_infinity_changes_nothing(rng):
    x = rng.normal(size=(4, 37))
    padded = np.full((4, 100), -INF)
    padded[:, :37] = x
    same(softmax(padded)[:, :37], softmax(x))
    same(logsumexp(padded), logsumexp(x))


def test_labels_of_every_integer_type(rng):
    x, y = rng.normal(size=(20, 10)), rng.integers(10, size=20)
    for code in "bBhHiIlLqQ":
        assert cross_entropy(x, y.astype(code)) == cross_entropy(x, y)


def test_integers_and_scalars():
    assert sigmoid(0) == 0.5
    assert type(sigmoid(np.float32(0))) is np.float32
    assert type(logsumexp(np.zeros(3, np.float32))) is np.float32
    assert softmax([True, True]).dtype == np.float64
    assert cross_entropy([1, 1], 0) == math.log(2)
    assert type(cross_entropy([1, 1], 0)) is float
    same(cross_entropy_backward(np.float32(2), [0, 0], 1), np.array([1.0, -1]))


@dtypes
def test_out(dtype, rng):
    x, y = rng.normal(size=(4, 6)).astype(dtype), rng.integers(6, size=4)
    expected = softmax(x)
    _, slope = cross_entropy_value_and_grad(x, y)
    for make in (np.empty_like, np.asfortranarray, lambda a: np.zeros((8, 6), dtype)[::2]):
        out = make(x)
        assert softmax(x, out=out) is out
        same(out, expected)
        assert cross_entropy_value_and_grad(x, y, out=out)[1] is out
        same(out, slope)
    out = x.copy()
    assert cross_entropy_value_and_grad(out, y, out=out)[1] is out
    same(out, slope)
    out = np.zeros(30, dtype)
    part = out[3:27].reshape(4, 6)
    part[...] = x
    assert np.shares_memory(out, softmax(part, out=out[:24].reshape(4, 6)))
    same(out[:24].reshape(4, 6), expected)
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    assert sigmoid(x, out=raw) is raw
    same(raw.copy(), sigmoid(x))
    losses = np.empty(4, dtype)
    assert cross_entropy(x, y, reduction="none", out=losses) is losses
    x0, out0 = np.zeros((), dtype), np.empty((), dtype)
    assert sigmoid(x0, out=out0) is out0 == 0.5


def test_out_as_memory_map(tmp_path, rng):
    x = rng.normal(size=(4, 6))
    out = np.memmap(tmp_path / "out", np.float64, "w+", shape=(5, 6))[1:]
    assert softmax(x, out=out) is out
    same(np.asarray(out), softmax(x))


# ---- errors -------------------------------------------------------------------------------------

X, Y = np.zeros((3, 10)), np.zeros(3, np.int64)
MASKED = np.ma.masked_array([0.0], [True])
ERRORS = [
    (
        IndexError,
        r"label 12 in row 1 is outside \[0, 10\) and is not ignore_index \(-100\)",
        lambda: cross_entropy(X, [0, 12, -1]),
    ),
    (
        IndexError,
        r"label -1 in row \(1, 0\) is outside \[0, 10\)",
        lambda: cross_entropy(np.zeros((2, 2, 10)), [[0, 1], [-1, 2]]),
    ),
    (IndexError, "label 10 is outside", lambda: cross_entropy(np.zeros(10), 10)),
    (
        IndexError,
        "label 18446744073709551615 in row 0",
        lambda: cross_entropy(X[:1], np.array([2**64 - 1], np.uint64)),
    ),
    (IndexError, "label -100 in row 0", lambda: cross_entropy(X, Y - 100, ignore_index=3)),
    (
        ValueError,
        r"targets of shape \(10,\) fit axis=0",
        lambda: cross_entropy(X, np.zeros(10, int)),
    ),
    (
        ValueError,
        r"targets have shape \(4,\), but logits of shape \(3, 10\) .* need \(3,\)$",
        lambda: cross_entropy(X, np.zeros(4, int)),
    ),
    (ValueError, "for probabilities", lambda: cross_entropy(X, X.astype(int))),
    (ValueError, "need the logits' shape", lambda: cross_entropy(X, np.zeros((3, 9)))),
    (ValueError, "for labels", lambda: cross_entropy(X, X, ignore_index=0)),
    (TypeError, "use integers", lambda: cross_entropy(X, Y.astype(float))),
    (TypeError, "targets have dtype bool", lambda: cross_entropy(X, Y.astype(bool))),
    (TypeError, "logits has dtype complex128", lambda: cross_entropy(X.astype(complex), Y)),
    (TypeError, "x has dtype object", lambda: softmax(X.astype(object))),
    (TypeError, "x has dtype <U1", lambda: sigmoid(["a"])),
    (TypeError, "mask would be lost", lambda: sigmoid(MASKED)),
    (TypeError, "mask would be lost", lambda: cross_entropy(X, np.ma.masked_array(Y))),
    (ValueError, 'must be "none", "mean" or "sum"', lambda: cross_entropy(X, Y, reduction="avg")),
    (
        ValueError,
        r"label_smoothing must be in \[0, 1\], got 1.5",
        lambda: cross_entropy(X, Y, label_smoothing=1.5),
    ),
    (ValueError, "label_smoothing", lambda: cross_entropy(X, Y, label_smoothing=NAN)),
    (
        ValueError,
        r"weight has shape \(9,\), but there are 10 classes",
        lambda: cross_entropy(X, Y, np.ones(9)),
    ),
    (TypeError, "weight has dtype complex128", lambda: cross_entropy(X, Y, np.ones(10, complex))),
    (TypeError, "integer", lambda: cross_entropy(X, Y, ignore_index=1.5)),
    (ValueError, "64 bits", lambda: cross_entropy(X, Y, ignore_index=2**64)),
    (ValueError, "out of bounds", lambda: softmax(X, axis=2)),
    (ValueError, "out of bounds", lambda: softmax(1.0)),
    (ValueError, 'out needs reduction="none"', lambda: cross_entropy(X, Y, out=np.empty(3))),
    (ValueError, "out has shape", lambda: softmax(X, out=np.empty(3))),
    (TypeError, "out has dtype float32", lambda: softmax(X, out=X.astype(np.float32))),
    (TypeError, "out must be a NumPy array", lambda: softmax(X, out=[1])),
    (ValueError, "read-only", lambda: softmax(X, out=np.broadcast_to(0.0, X.shape))),
    (ValueError, "pass a number", lambda: cross_entropy_backward(np.ones(3), X, Y)),
    (
        ValueError,
        "but the loss has shape",
        lambda: cross_entropy_backward(1.0, X, Y, reduction="none"),
    ),
    (
        ValueError,
        r"grad has shape \(3,\), but x has shape",
        lambda: softmax_backward(np.ones(3), X),
    ),
    (TypeError, "lse has dtype float32", lambda: cross_entropy(X, Y, lse=np.empty(3, np.float32))),
    (ValueError, "lse has shape", lambda: cross_entropy(X, Y, lse=np.empty(4))),
    (ValueError, "lse has shape", lambda: cross_entropy_backward(1, X, Y, lse=np.empty(4))),
    (ValueError, "targets has shape", lambda: binary_cross_entropy_with_logits(X, Y)),
    (
        ValueError,
        "does not broadcast to the logits' shape",
        lambda: binary_cross_entropy_with_logits(X, X, weight=np.ones((2, 3, 10))),
    ),
    (
        ValueError,
        "pos_weight of shape",
        lambda: binary_cross_entropy_with_logits(X, X, pos_weight=np.ones(3)),
    ),
]


@pytest.mark.parametrize(("error", "message", "call"), ERRORS)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_nothing_is_written_before_the_labels_are_known_to_be_good():
    out, lse = np.full((2, 3), 7.0), np.full(2, 7.0)
    with pytest.raises(IndexError):
        cross_entropy_value_and_grad(np.zeros((2, 3)), [0, 3], out=out, lse=lse)
    assert (out == 7).all()
    assert (lse == 7).all()
