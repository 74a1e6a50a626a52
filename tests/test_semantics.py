"""What every function does at the edges, on every backend, with special values in every place: the
limit where there is one, NaN where there is none, and no floating-point warning on the way."""

import itertools
import math

import numpy as np
import pytest
import ulp
from calls import all_calls, calls, one_of_each, same_bits
from conftest import backends, few

from lossgrad import reference
from lossgrad.registry import OPS

INF, NAN, LN2 = math.inf, math.nan, math.log(2)
PLACES = range(71)
CLASSES = [1, 2, 3, 5, 8, 10, 16, 17, 33, 64, 71, 130, 513, 1025]
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@pytest.fixture(autouse=True)
def strict():
    """No floating-point warning may leave a function, whatever the caller has set."""
    with np.errstate(all="raise"):
        yield


def same(got, want, what=""):
    np.testing.assert_array_equal(got, want, err_msg=what, strict=isinstance(want, np.ndarray))


def near(got, want, bound, what=""):
    """Within a number of ULP of a result of the same dtype."""
    with np.errstate(all="ignore"):
        ulp.assert_within(bound, np.asarray(got), np.asarray(want, np.float64), what=what)


# ---- elementwise ---------------------------------------------------------------------------------

# name: [(x, value, derivative)]
LIMITS = {
    "sigmoid": [(-INF, 0, 0), (-0.0, 0.5, 0.25), (0, 0.5, 0.25), (INF, 1, 0)],
    "log_sigmoid": [(-INF, -INF, 1), (0, -LN2, 0.5), (INF, 0, 0)],
    "tanh": [(-INF, -1, 0), (-0.0, -0.0, 1), (0, 0, 1), (INF, 1, 0)],
    "relu": [(-INF, 0, 0), (-0.0, -0.0, 0), (0, 0, 0), (INF, INF, 1)],
    "leaky_relu": [(-INF, -INF, 0.01), (-0.0, -0.0, 0.01), (0, 0, 0.01), (INF, INF, 1)],
    "elu": [(-INF, -1, 0), (-0.0, -0.0, 1), (0, 0, 1), (INF, INF, 1)],
    "celu": [(-INF, -1, 0), (-0.0, -0.0, 1), (0, 0, 1), (INF, INF, 1)],
    "selu": [
        (-INF, -SELU_SCALE * SELU_ALPHA, 0),
        (-0.0, -0.0, SELU_SCALE * SELU_ALPHA),
        (0, 0, SELU_SCALE * SELU_ALPHA),
        (INF, INF, SELU_SCALE),
    ],
    "softplus": [(-INF, 0, 0), (0, LN2, 0.5), (INF, INF, 1)],
    "mish": [(-INF, 0, 0), (0, 0, 0.6), (INF, INF, 1)],
    "silu": [(-INF, 0, 0), (0, 0, 0.5), (INF, INF, 1)],
    "gelu": [(-INF, 0, 0), (0, 0, 0.5), (INF, INF, 1)],
    "hardsigmoid": [(-INF, 0, 0), (-3, 0, 0), (0, 0.5, 1 / 6), (3, 1, 0), (INF, 1, 0)],
    "hardswish": [(-INF, 0, 0), (-3, 0, 0), (0, 0, 0.5), (3, 3, 1), (INF, INF, 1)],
    "softsign": [(-INF, -1, 0), (-0.0, -0.0, 1), (0, 0, 1), (INF, 1, 0)],
    "information_content": [(0, INF, -INF), (1, 0, -1)],
}
ODD = {"tanh", "softsign", "relu", "leaky_relu", "elu", "celu", "selu"}  # -0.0 is kept
ELEMENTWISE = [op for op in OPS if op.kind == "elementwise"]
elementwise = pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)


def in_every_place(lg, function, usual, specials):
    """[results at the special values, special by place] of a function of arrays, which hold one
    special tuple at one place; the elements beside it are as without it."""
    some = np.array(few(lg, PLACES, PLACES[::35]))
    given = [np.tile(a, (len(specials), len(some), 1)) for a in usual]
    for a, values in zip(given, zip(*specials, strict=True), strict=True):
        a[:, range(len(some)), some] = np.array(values)[:, None]
    if lg is reference:  # which has no lanes: all at once
        found = function(*given)
    else:  # a call for each place
        parts = zip(*(a.reshape(-1, len(PLACES)) for a in given), strict=True)
        found = (np.stack(a) for a in zip(*(function(*part) for part in parts), strict=True))
    result = []
    for got, plain in zip(found, function(*usual), strict=True):
        got = got.reshape(given[0].shape)
        here = np.broadcast_to(np.arange(len(PLACES)) == some[:, None], got.shape)
        same_bits([np.where(here, plain, got)], [np.broadcast_to(plain, got.shape)], "beside it")
        result.append(got[here].reshape(len(specials), len(some)))
    return result


@elementwise
def test_limits_in_every_place(lg, op, dtype, rng):
    forward, backward = getattr(lg, op.name), getattr(lg, f"{op.name}_backward")
    usual = rng.uniform(0.1, 0.9, len(PLACES)).astype(dtype)
    ones = np.ones_like(usual)
    rows = LIMITS.get(op.name, []) + ([] if op.name == "information_content" else [(NAN, NAN, NAN)])
    specials = [(at,) for at, *_ in rows]
    found = in_every_place(
        *(lg, lambda x: (forward(x), backward(np.broadcast_to(ones, x.shape), x))),
        *([usual], specials),
    )
    for got, wanted in zip(found, list(zip(*rows, strict=True))[1:], strict=True):
        for (at,), each, want in zip(specials, got, wanted, strict=True):
            near(each, np.full(each.shape, dtype(want)), 1, f"{op.name} at {at}")
            if op.name in ODD and at == 0:
                assert (np.signbit(each) == np.signbit(np.float64(want))).all()


# (x, t, weight, pos_weight): value, derivative
BINARY_LIMITS = {
    (INF, 1, 1, 1): (0, 0),
    (INF, 0, 1, 1): (INF, 1),
    (-INF, 1, 1, 1): (INF, -1),
    (-INF, 0, 1, 1): (0, 0),
    (INF, 0.5, 1, 1): (INF, 0.5),
    (-INF, 0.5, 1, 3): (INF, -1.5),
    (0, 1, 1, 1): (LN2, -0.5),
    (0, 0, 2, 9): (2 * LN2, 1),
    (INF, 0, 0, 1): (0, 0),
    (-INF, 1, 1, 0): (0, 0),
    (-INF, 1, 0, 1): (0, 0),
    (NAN, 1, 1, 1): (NAN, NAN),
    (NAN, 0, 0, 1): (NAN, NAN),
    (NAN, 1, 1, 0): (NAN, NAN),
    (1, NAN, 1, 1): (NAN, NAN),
    (20, 1, 1, 1): (math.log1p(math.exp(-20)), -1 / (1 + math.exp(20))),
    (-20, 0, 1, 7): (math.log1p(math.exp(-20)), 1 / (1 + math.exp(20))),
}


def test_binary_limits_in_every_place(lg, dtype, rng):
    both = lg.binary_cross_entropy_with_logits_value_and_grad
    n = len(PLACES)
    usual = [rng.normal(size=n).astype(dtype)]
    usual += [rng.uniform(0.1, 0.9, n).astype(dtype) for _ in range(3)]
    found = in_every_place(
        lg,
        lambda *given: both(*given[:3], pos_weight=given[3], reduction="none"),
        *(usual, list(BINARY_LIMITS)),
    )
    for got, wanted in zip(found, zip(*BINARY_LIMITS.values(), strict=True), strict=True):
        for special, each, want in zip(BINARY_LIMITS, got, wanted, strict=True):
            near(each, np.full(each.shape, dtype(want)), 2, str(special))


def test_pos_weight_multiplies_the_positive_term_alone(lg, dtype, rng):
    x, t = rng.normal(size=(6, 4)).astype(dtype), rng.random((6, 4)).astype(dtype)
    p = np.array([1, 2, 0, 3], dtype)  # broadcasts along the classes
    options = {"reduction": "none"}
    positive = lg.binary_cross_entropy_with_logits(x, np.ones_like(t), **options)
    negative = lg.binary_cross_entropy_with_logits(x, np.zeros_like(t), **options)
    got = lg.binary_cross_entropy_with_logits(x, t, pos_weight=p, **options)
    near(got, p * t * positive + (1 - t) * negative, 8)
    full = np.broadcast_to(p, x.shape).copy()
    same(got, lg.binary_cross_entropy_with_logits(x, t, pos_weight=full, **options))
    w = rng.random((6, 1)).astype(dtype)
    weighted = lg.binary_cross_entropy_with_logits(x, t, w, pos_weight=p, **options)
    near(weighted, w * got, 2)


def test_bools_are_binary_labels(lg, dtype, rng):
    x, t = rng.normal(size=50).astype(dtype), rng.random(50) < 0.5
    want = lg.binary_cross_entropy_with_logits_value_and_grad(x, t.astype(dtype))
    for kind in (bool, np.int8, np.uint64, np.float16, np.float64):
        got = lg.binary_cross_entropy_with_logits_value_and_grad(x, t.astype(kind))
        assert got[0] == want[0]
        same(got[1], want[1])


# ---- special rows, the special class in every place ----------------------------------------------


def places(module, classes):
    """Where the special class stands: the first 71 places and the last."""
    some = few(module, PLACES, PLACES[::35])
    return np.array(sorted({*(place for place in some if place < classes), classes - 1}))


class Rows:
    """One row for each place of a special class, between two usual rows that must not notice."""

    def __init__(self, lg, x, usual):
        self.lg, self.x = lg, x
        self.batch = np.empty((2 * len(x) + 1, x.shape[1]), x.dtype)
        self.batch[0::2], self.batch[1::2] = usual, x
        self.usual = usual

    def __call__(self, name, labels=None):
        """The function's results at the special rows."""
        function = getattr(self.lg, name)
        if labels is None:
            results, beside = [function(self.batch)], [function(self.usual[None])]
        else:
            y = np.zeros(len(self.batch), np.int64)
            y[1::2] = labels
            results = function(self.batch, y, reduction="none")
            beside = function(self.usual[None], y[:1], reduction="none")
        for got, want in zip(results, beside, strict=True):
            same_bits([got[0::2]], [np.repeat(want, len(self.x) + 1, 0)], f"{name}, rows beside")
        return results[0][1::2] if labels is None else [got[1::2] for got in results]


def class_counts(lg, dtype):
    """All; of the reference, which computes both dtypes in float64, half of them for each."""
    return few(lg, CLASSES, CLASSES[dtype == np.float64 :: 2])


def special_rows(lg, classes, dtype, rng, cases, rests=(None,)):
    """(places, their rows): values[0] of each case at each place, values[1:] right after it, around
    the end; the rest of them usual, or one number."""
    at, row = places(lg, classes), rng.normal(size=classes).astype(dtype)
    found = []
    for values, rest in itertools.product(cases, rests):
        x = np.tile(row if rest is None else np.full(classes, rest, dtype), (len(at), 1))
        for k, value in enumerate(values):
            x[np.arange(len(at)), (at + k) % classes] = value
        found.append(x)
    return np.tile(at, len(found)), Rows(lg, np.concatenate(found), row)


def one_hot(at, classes, dtype, on=1, off=0):
    result = np.full((len(at), classes), off, dtype)
    result[np.arange(len(at)), at] = on
    return result


def test_one_infinite_logit_is_the_limit(lg, dtype, rng):
    for classes in class_counts(lg, dtype):
        at, rows = special_rows(lg, classes, dtype, rng, [(INF,)], (None, -INF))
        hot, of = one_hot(at, classes, dtype), f"{classes} classes"
        same(rows("logsumexp"), np.full(len(at), INF, dtype), of)
        same(rows("softmax"), hot, of)
        same(rows("log_softmax"), one_hot(at, classes, dtype, 0, -INF), of)
        loss, grad = rows("cross_entropy_value_and_grad", at)
        same(loss, np.zeros(len(at), dtype), of)
        same(grad, np.zeros_like(grad), of)
        if classes > 1:
            other = (at + 1) % classes
            loss, grad = rows("cross_entropy_value_and_grad", other)
            same(loss, np.full(len(at), INF, dtype), of)
            same(grad, hot - one_hot(other, classes, dtype), of)


def test_rows_without_a_limit_are_nan(lg, dtype, rng):
    for classes in class_counts(lg, dtype):
        cases = [(NAN,), (INF, INF), (INF, NAN), (NAN, -INF)]
        cases = [values for values in cases if len(values) <= classes]
        at, rows = special_rows(lg, classes, dtype, rng, cases)
        of = f"{classes} classes, the same number of rows each: {cases}"
        limits = [INF if values == (INF, INF) else NAN for values in cases]
        limits, sizes = (np.repeat(a, len(at) // len(cases)) for a in (limits, [*map(len, cases)]))
        same(rows("logsumexp"), limits.astype(dtype), of)
        for name in ("softmax", "log_softmax"):
            same(rows(name), np.full_like(rows.x, NAN), f"{name}, {of}")
        labels = np.choose((at + sizes) % 3, [at, (at + 1) % classes, 0])
        for got in rows("cross_entropy_value_and_grad", labels):
            same(got, np.full_like(got, NAN), of)


def test_rows_of_minus_infinity(lg, dtype, rng):
    for classes in class_counts(lg, dtype):
        _, rows = special_rows(lg, classes, dtype, rng, [(-INF,)], (-INF,))
        of = f"{classes} classes"
        same(rows("logsumexp"), np.full(len(rows.x), -INF, dtype), of)
        for name in ("softmax", "log_softmax"):
            same(rows(name), np.full_like(rows.x, NAN), f"{name}, {of}")
        for got in rows("cross_entropy_value_and_grad", 0):
            same(got, np.full_like(got, NAN), of)


def test_a_masked_class(lg, dtype, rng):
    """-inf anywhere: the others are as without it."""
    for classes in class_counts(lg, dtype):
        if classes == 1:
            continue
        of = f"{classes} classes"
        at, rows = special_rows(lg, classes, dtype, rng, [(-INF,)])
        keep = ~one_hot(at, classes, bool, True, False)
        rest = rows.x[keep].reshape(len(at), classes - 1)
        near(rows("logsumexp"), lg.logsumexp(rest), 4, of)
        p = lg.softmax(rest)
        for name, want, masked in (("softmax", p, 0), ("log_softmax", lg.log_softmax(rest), -INF)):
            got = rows(name)
            near(got[keep].reshape(rest.shape), want, 4, f"{name}, {of}")
            assert (got[~keep] == masked).all(), of
        loss, grad = rows("cross_entropy_value_and_grad", at)
        same(loss, np.full(len(at), INF, dtype), of)
        near(grad[keep].reshape(rest.shape), p, 4, of)
        near(grad[~keep], np.full(len(at), -1), 4, of)
        other = (at + 1) % classes
        loss, grad = rows("cross_entropy_value_and_grad", other)
        want = lg.cross_entropy(rest, other - (other > at), reduction="none")
        near(loss, want, 4, of)
        assert (grad[~keep] == 0).all(), of


def test_a_masked_class_without_target_mass_counts_nothing(lg, dtype, rng):
    for classes in class_counts(lg, dtype):
        if classes == 1:
            continue
        of = f"{classes} classes"
        at, rows = special_rows(lg, classes, dtype, rng, [(-INF,)])
        q = rng.random(rows.x.shape).astype(dtype)
        q[np.arange(len(at)), at] = 0
        loss, grad = lg.cross_entropy_value_and_grad(rows.x, q, reduction="none")
        keep = q != 0
        rest = (a[keep].reshape(len(at), classes - 1) for a in (rows.x, q))
        want = lg.cross_entropy(*rest, reduction="none")
        near(loss, want, 8, of)
        assert np.isfinite(grad).all(), of
        assert (grad[~keep] == 0).all(), of
        # label smoothing gives it mass, unless its weight is 0
        label = (at + 1) % classes
        smooth = {"label_smoothing": 0.1, "reduction": "none"}
        assert (lg.cross_entropy(rows.x, label, **smooth) == INF).all(), of
        x, w = rows.x[:1], np.ones(classes, dtype)
        w[at[0]] = 0
        assert np.isfinite(lg.cross_entropy(x, label[:1], w, **smooth)).all(), of
        assert lg.cross_entropy(x, at[:1], w, reduction="sum") == 0, of


# ---- labels, weights, means ----------------------------------------------------------------------


def test_confident_rows_keep_their_accuracy(lg, dtype):
    p = dtype(math.exp(-20) / (1 + math.exp(-20)))
    for classes in few(lg, CLASSES[1:], CLASSES[1::5]):
        x = np.full((classes, classes), -INF, dtype)
        np.fill_diagonal(x, 0)
        other = (np.arange(classes) + 1) % classes
        x[np.arange(classes), other] = -20
        loss, grad = lg.cross_entropy_value_and_grad(x, np.arange(classes), reduction="none")
        near(loss, np.full(classes, dtype(math.log1p(math.exp(-20)))), 4)
        near(grad[np.arange(classes), other], np.full(classes, p), 4)
        near(np.diagonal(grad), np.full(classes, -p), 4)
        chain = lg.log_softmax_backward(-np.eye(classes, dtype=dtype), x)
        near(np.diagonal(chain), np.full(classes, -p), 4)
    x = np.array([[0, -100 if dtype is np.float32 else -740]], dtype)
    tiny = dtype(math.exp(float(x[0, 1])))
    loss, grad = lg.cross_entropy_value_and_grad(x, [0])
    near(dtype(loss), tiny, 1)
    near(grad, np.array([[-tiny, tiny]]), 1)
    assert tiny > 0


def test_many_subnormal_terms_are_summed_before_they_are_rounded(lg):
    x = np.full((1, 1001), -745.0)
    x[0, 0] = 0
    want = 1000 * math.exp(-700) * math.exp(-45)
    assert lg.cross_entropy(x, [0]) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_an_ignored_label_of_any_size_is_none(lg, dtype, classes, rng):
    """Also one whose lower half is a class."""
    x, y = rng.normal(size=(40, classes)).astype(dtype), rng.integers(0, classes, 40)
    out = np.arange(40) % 3 == 1
    x[4] = np.inf  # a row that is not to be read
    f = lg.cross_entropy_value_grad_and_hess
    want = f(x, np.where(out, -100, y), reduction="none")
    for ignored in (2**32 + 1, -(2**32), 2**31):
        got = f(x, np.where(out, ignored, y), ignore_index=ignored, reduction="none")
        same_bits(got, want, f"{ignored}")
        assert not got[0][out].any()


def test_ignored_rows_are_never_read(lg, dtype, rng):
    """In every place of a batch, with logits that would spoil it."""
    x = rng.normal(size=(71, 5)).astype(dtype)
    y = rng.integers(0, 5, 71)
    loss, grad = lg.cross_entropy_value_and_grad(x, y, reduction="none")
    patterns = [np.arange(71) == place for place in few(lg, PLACES, PLACES[::35])]
    patterns += [np.arange(71) % 2 == 0, np.arange(71) < 64, np.arange(71) >= 0]
    for ignored in patterns:
        bad, labels = x.copy(), np.where(ignored, -100, y)
        bad[ignored] = [NAN, INF, -INF, INF, 0]
        lse = np.ones(71)
        got = lg.cross_entropy_value_and_grad(bad, labels, reduction="none", lse=lse)
        kept = ~ignored
        same_bits([got[0][kept], got[1][kept]], [loss[kept], grad[kept]])
        assert not got[0][ignored].any()
        assert not got[1][ignored].any()
        assert not lse[ignored].any()
        if kept.any():
            mean, slope = lg.cross_entropy_value_and_grad(bad, labels)
            assert mean == math.fsum(loss[kept].tolist()) / kept.sum()
            assert not slope[ignored].any()
            near(slope[kept], grad[kept] / dtype(kept.sum()), 4)


def test_labels_of_every_integer_type(lg, dtype, rng):
    x, y = rng.normal(size=(20, 10)).astype(dtype), rng.integers(10, size=20)
    plain = lg.cross_entropy_value_and_grad(x, y)
    some = np.where(np.arange(20) % 3, y, 7)
    want = lg.cross_entropy(x, np.where(some == 7, -100, some))
    codes = "bBhHiIlLqQ"
    for code in few(lg, codes, codes[dtype == np.float64 :: 2]):
        for labels in (y.astype(code), y.astype(np.dtype(code).newbyteorder())):
            loss, grad = lg.cross_entropy_value_and_grad(x, labels)
            assert loss == plain[0], code
            same(grad, plain[1], code)
        top = np.iinfo(code).max
        ignored = some.astype(code)
        assert lg.cross_entropy(x, ignored, ignore_index=7) == want, code
        ignored[ignored == 7] = min(top, 2**63 - 1)
        assert lg.cross_entropy(x, ignored, ignore_index=min(top, 2**63 - 1)) == want, code


@pytest.mark.parametrize("code", "bBhHiIqQ")
def test_a_bad_label_in_every_place_is_named_and_nothing_is_written(lg, dtype, code, rng):
    x = rng.normal(size=(71, 5)).astype(dtype)
    y = rng.integers(0, 5, 71).astype(code)
    kinds = np.iinfo(code)
    for place in few(lg, PLACES, PLACES[::5]):
        bad = [5, kinds.max, *([-1, kinds.min] if kinds.min else [])][
            place % (4 if kinds.min else 2)
        ]
        labels = y.copy()
        labels[place] = bad
        labels[place + 3 :: 7] = kinds.max  # the first one is named
        out, lse = np.full_like(x, 7), np.full(71, 7.0)
        message = rf"label {bad} in row {place} is outside \[0, 5\)"
        with pytest.raises(IndexError, match=message):
            lg.cross_entropy_value_and_grad(x, labels, out=out, lse=lse)
        with pytest.raises(IndexError, match=message):
            lg.cross_entropy(x, labels)
        losses = np.full(71, 7, dtype)
        with pytest.raises(IndexError, match=message):
            lg.cross_entropy(x, labels, reduction="none", out=losses)
        assert (out == 7).all()
        assert (lse == 7).all()
        assert (losses == 7).all()


def test_mean_with_class_weights(lg, dtype, rng):
    x, y = rng.normal(size=(40, 6)).astype(dtype), rng.integers(0, 6, 40)
    y[::7] = -100
    w = rng.uniform(0.5, 2, 6).astype(dtype)
    kept = y != -100
    plain = lg.cross_entropy(x, y, reduction="none")
    rows = lg.cross_entropy(x, y, w, reduction="none")
    near(rows[kept], plain[kept] * w[y[kept]], 2)
    assert rows.dtype == dtype
    total = math.fsum(rows.tolist())
    assert lg.cross_entropy(x, y, w, reduction="sum") == total
    weights = math.fsum(w[y[kept]].tolist())
    assert lg.cross_entropy(x, y, w) == total / weights
    slope = lg.cross_entropy_backward(1.0, x, y, w, reduction="sum")
    near(lg.cross_entropy_backward(weights, x, y, w), slope, 4)
    q = rng.random(x.shape).astype(dtype)
    rows = lg.cross_entropy(x, q, w, reduction="none")
    near(rows, (-lg.log_softmax(x) * w * q).sum(axis=1), 16)
    assert lg.cross_entropy(x, q, w) == math.fsum(rows.tolist()) / 40


def test_label_smoothing_with_class_weights(lg, dtype, rng):
    x, y = rng.normal(size=(30, 6)).astype(dtype), rng.integers(0, 6, 30)
    y[::7] = -100
    w, kept = rng.uniform(0.5, 2, 6).astype(dtype), y != -100
    for e in (0.0, 0.1, 1.0):
        minus_log_p = -np.asarray(lg.log_softmax(x), np.float64)[kept]
        own = w[y[kept]] * minus_log_p[np.arange(kept.sum()), y[kept]]
        want = (1 - e) * own + e / 6 * (w * minus_log_p).sum(axis=1)
        rows = lg.cross_entropy(x, y, w, label_smoothing=e, reduction="none")
        np.testing.assert_allclose(rows[kept], want, 16 * np.finfo(dtype).eps)
        loss = lg.cross_entropy(x, y, w, label_smoothing=e)
        assert loss == math.fsum(rows.tolist()) / math.fsum(w[y[kept]].tolist())


@pytest.mark.parametrize("labels", [[], [-100, -100]], ids=["no rows", "every row ignored"])
def test_mean_over_nothing(lg, dtype, labels):
    x, y = np.full((len(labels), 3), NAN, dtype), np.array(labels, np.int64)
    for weight in (None, [1, 2, 3]):
        for smoothing in (0.0, 0.1):
            options = {"weight": weight, "label_smoothing": smoothing}
            loss, grad = lg.cross_entropy_value_and_grad(x, y, **options)
            assert math.isnan(loss)
            same(grad, np.zeros_like(x))
            same(lg.cross_entropy_backward(1.0, x, y, **options), np.zeros_like(x))
            assert lg.cross_entropy(x, y, reduction="sum", **options) == 0
            same(lg.cross_entropy(x, y, reduction="none", **options), np.zeros(len(y), dtype))


def test_probabilities_that_are_one_hot_are_labels(lg, dtype, rng):
    x, y = (rng.normal(size=(200, 5)) * 30).astype(dtype), rng.integers(5, size=200)
    y[:100] = x[:100].argmax(axis=1)
    t = np.eye(5, dtype=dtype)[y]
    loss, grad = lg.cross_entropy_value_and_grad(x, t, reduction="none")
    want, slope = lg.cross_entropy_value_and_grad(x, y, reduction="none")
    near(loss, want, 4)
    near(grad[:100], slope[:100], 4)
    assert abs(grad - slope).max() <= 4 * np.finfo(dtype).eps


# ---- dtypes, shapes, axes ------------------------------------------------------------------------


def test_result_dtypes(either, dtype, rng):
    made = all_calls((4, 3), dtype, rng, axis=1)
    some = one_of_each(made)
    # the reference computes in float64, so that is what its results are where it forgets theirs
    for call in few(either, made, some[:: 4 if dtype == np.float64 else 1]):
        results = getattr(either, call.function)(**call.arrays, **call.options)
        results = results if isinstance(results, tuple) else (results,)
        reduced = call.is_reduced
        for k, got in enumerate(results):
            if reduced and k == 0 and call.gives_value:
                assert type(got) is float, str(call)
            else:
                assert type(got) is np.ndarray, str(call)
                assert got.dtype == dtype, str(call)


def test_integers_and_bools_become_float64(either, rng):
    kinds = (bool, np.int8, np.int64, np.uint16)
    made = all_calls((4, 3), np.float64, rng, brief=True)
    one = one_of_each(made)
    for k, kind in enumerate(kinds):
        for call in few(either, made, one[k :: len(kinds)]):
            key = call.main
            x = (rng.random(call.arrays[key].shape) < 0.5).astype(kind)
            want = call(either, {key: x.astype(np.float64)})
            same_bits(call(either, {key: x}), want, str(call))


def test_other_dtypes_are_refused(either, rng):
    kinds = [np.complex64, np.complex128, object, "U3", "M8[s]", "V4"]
    if np.dtype(np.longdouble) != np.float64:
        kinds.append(np.longdouble)
    made = all_calls((4, 3), np.float64, rng, brief=True)
    for kind in kinds:
        for call in made:
            key = call.main
            with pytest.raises(
                TypeError, match=rf"{key} has dtype .*, which is not supported: use"
            ):
                call(either, {key: np.zeros(call.arrays[key].shape, kind)})


def test_scalars_and_array_likes(lg):
    assert lg.sigmoid(0) == 0.5
    assert type(lg.sigmoid(np.float32(0))) is np.float32
    assert type(lg.logsumexp(np.zeros(3, np.float32))) is np.float32
    assert lg.softmax([True, True]).dtype == np.float64
    assert lg.cross_entropy([1, 1], 0) == LN2
    assert type(lg.cross_entropy([1, 1], 0)) is float
    same(lg.cross_entropy_backward(np.float32(2), [0, 0], 1), np.array([1.0, -1]))


def test_empty_arrays_keep_their_shape(lg, dtype, rng):
    shapes = [((0,), 0), ((0, 3), 1), ((3, 0, 2), 2), ((0, 3, 4), 1), ((2, 3, 0), 1)]
    for shape, axis in few(lg, shapes, shapes[dtype == np.float64 :: 2]):
        is_brief = few(lg, shape != (0, 3), True)  # with every option in one of the shapes
        for op in OPS:
            if op.kind in ("elementwise", "loss_elementwise") or shape[axis]:
                for call in calls(op, shape, dtype, rng, axis, brief=is_brief):
                    results = call(lg)
                    if call.takes_out and call.out_like:
                        assert results[-1].shape == shape, str(call)
                        assert results[-1].dtype == dtype, str(call)
                    empty = {"sum": 0.0, "mean": NAN}.get(call.options.get("reduction"))
                    if empty is not None and call.gives_value:
                        same(results[0], np.array(empty), str(call))
    x = np.empty((0, 3, 4), dtype)
    assert lg.logsumexp(x, 1).shape == (0, 4)
    assert lg.logsumexp(x, 1, keepdims=True).shape == (0, 1, 4)


def test_no_classes(lg, dtype):
    x = np.empty((2, 0), dtype)
    for call in (lg.softmax, lg.log_softmax, lg.logsumexp):
        with pytest.raises(ValueError, match=r"\(2, 0\) has no classes along axis=-?1"):
            call(x)
    with pytest.raises(ValueError, match="has no classes"):
        lg.cross_entropy(x, [0, 0])


def test_shapes_must_match(either, dtype, rng):
    """No argument of the logits' shape broadcasts, except weights (see test_sample_weight)."""
    shape = (4, 3)
    for call in all_calls(shape, dtype, rng, axis=1, brief=True):
        for key, a in call.arrays.items():
            if key in ("weight", "pos_weight", "b", "sample_weight"):
                continue
            for wrong in {(1, 3), (4, 1), (3,), (3, 4), (4, 4), (4,), (1,), (), (4, 3, 1)}:
                if wrong == a.shape or key == call.main:
                    continue
                with pytest.raises((ValueError, TypeError), match=r"shape|fit|need"):
                    call(either, {key: np.zeros(wrong, a.dtype)})
    x = np.zeros((4, 3), dtype)
    with pytest.raises(ValueError, match=r"targets of shape \(3,\) fit axis=0"):
        either.cross_entropy(x, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"fit axis=1"):
        either.cross_entropy(np.zeros((2, 3, 4), dtype), np.zeros((2, 4), int))


def test_out_of_another_shape_or_dtype_is_refused(either, dtype, rng):
    other = np.float32 if dtype == np.float64 else np.float64
    made = all_calls((4, 3), dtype, rng, axis=1, brief=True)
    one = one_of_each(made)
    for call in few(either, made, one[dtype == np.float64 :: 2]):
        if not call.takes_out:
            if call.is_reduced:
                with pytest.raises(ValueError, match='out needs reduction="none"'):
                    call(either, out=np.empty((), dtype))
            continue
        want = call(either)[-1]
        frozen = np.empty_like(want)
        frozen.flags.writeable = False
        for out, error, message in (
            (np.empty((*want.shape, 1), dtype), ValueError, "out has shape"),
            (np.empty(want.size + 1, dtype), ValueError, "out has shape"),
            (np.empty_like(want, other), TypeError, "out has dtype"),
            (np.empty_like(want, np.dtype(dtype).newbyteorder()), TypeError, "out has dtype"),
            (frozen, ValueError, "out is read-only"),
            (want.tolist(), TypeError, "out must be a NumPy array"),
            (np.ma.empty(want.shape, dtype), TypeError, "out must be a NumPy array"),
        ):
            with pytest.raises(error, match=message):
                call(either, out=out)


# ---- between finite inputs and a finite result ---------------------------------------------------


def powers(dtype):
    """Both ends of the range, and powers of two near its square root, its ends and 1."""
    limits = np.finfo(dtype)
    most = float(limits.maxexp)
    exponents = np.array(
        [2 - most, -most / 2 - 3, -most / 2 + 2, -20, 0, 20, most / 2 + 3, most - 1]
    )
    ends = np.array([limits.max, limits.tiny, limits.smallest_subnormal], dtype)
    return np.concatenate([(1.37 * 2.0**exponents).astype(dtype), ends])


@elementwise
def test_gradients_meet_slopes_of_any_size(op, dtype):
    some = powers(dtype)
    x = np.concatenate([some, -some, np.linspace(-210, 210, 43, dtype=dtype)])
    if op.inputs == ("probabilities",):
        x = x[(x >= 0) & (x <= 1)]
    g, x = (a.ravel() for a in np.meshgrid(np.concatenate([some, -some]), x))
    backward = f"{op.name}_backward"
    want = getattr(reference, backward)(g, x)
    kept = np.isfinite(want)
    for name, module in backends():
        near(getattr(module, backward)(g, x)[kept], want[kept], 3, f"{op.name}, {name}")


def test_softmax_takes_gradients_of_any_size(lg):
    x = np.array([[0, 1], [0, -100], [2, 1]], np.float32)
    for most in (2e19, 1e38, 1e-30):
        g = np.array([[0, most]] * 3, np.float32)
        want = reference.softmax_backward(g.astype(float), x.astype(float))
        with np.errstate(all="ignore"):
            want = want.astype(np.float32)
        near(lg.softmax_backward(g, x), want, 8)


def test_logsumexp_takes_weights_of_any_size(lg):
    for dtype, b, want in (
        (np.float32, [0, 2e19], 45.442265),
        (np.float32, [1e-30, 1e-30], -67.764291),
        (np.float64, [1e155, 1e155], 358.21395109159225),
        (np.float64, [1e-320, 1e-322], -736.8007348092),
    ):
        x, b = np.array([0, 1], dtype), np.array(b, dtype)
        np.testing.assert_allclose(lg.logsumexp(x, b=b), want, rtol=1e-6)
        share = lg.logsumexp_backward(dtype(1), x, b=b)
        np.testing.assert_allclose(share.sum(), 1, rtol=1e-6)


def test_nan_of_every_payload_stays(lg):
    for kind, bits in (
        ("f4", [0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001]),
        ("f8", [2**63 - 1, 2**64 - 1]),
    ):
        for payload in bits:
            x = np.zeros((1, 3), kind)
            x.view(kind.replace("f", "u"))[0, 1] = payload
            b = np.ones_like(x)
            assert np.isnan(lg.logsumexp(x, b=b)).all()
            assert np.isnan(lg.logsumexp_backward(x[:, 0], x, b=b)).all()


def test_infinite_weights_have_their_limit(lg):
    for x, b, value, share in (
        ([0, 1], [1, INF], INF, [0, 1]),
        ([0, 1], [INF, INF], INF, [NAN, NAN]),
        ([INF, INF], [1, -1], NAN, [NAN, NAN]),
        ([INF, 0], [-1, 1], NAN, [1, 0]),
        ([-INF, 0], [INF, 2], LN2, [0, 1]),
    ):
        same(lg.logsumexp(np.array(x, float), b=b), value, f"{x} {b}")
        same(
            lg.logsumexp_backward(1.0, np.array(x, float), b=b), np.array(share, float), f"{x} {b}"
        )


def test_operands_promote_by_numpys_rule(lg):
    x = np.array([0, 1], np.float32)
    assert abs(lg.logsumexp(x, b=[1e-60, 1e-60]) + 136.84184389212453) < 1e-12
    assert lg.logsumexp(x, b=2.0).dtype == np.float32
    for function in (lg.mse_loss, lg.kl_div):
        for kind in (bool, np.int8, np.int64, np.float16, np.float32, np.float64):
            got = function(x, np.array([0, 1], kind), reduction="none").dtype
            assert got == np.result_type(np.float32, kind)
    for function in (lg.relative_entropy, lg.cross_entropy_of_distributions):
        assert function(x, np.array([0.5, 0.5])).dtype == np.float64


def test_a_number_is_a_batch_of_one(lg):
    assert lg.kl_div(-0.5, 0.3, reduction="batchmean") == lg.kl_div(-0.5, 0.3, reduction="sum")


def test_no_mass_leaves_an_infinite_term_out(lg):
    both = lg.binary_cross_entropy_with_logits_value_and_grad
    same(
        both([2.0], [0.0], pos_weight=[INF], reduction="none"), both([2.0], [0.0], reduction="none")
    )
    same(lg.information_content_backward([0.0, 0.0], [0.0, 1e-320]) == 0, np.array([True, True]))
    same(lg.entropy_backward(0.0, [0.0, 1.0]) == 0, np.array([True, True]))
    same(lg.cross_entropy_of_distributions([INF], [0.5]), INF)
    same(lg.celu_backward([INF], np.float32([-200])), np.float32([INF]))
