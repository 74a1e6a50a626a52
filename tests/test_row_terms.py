"""z_loss, softcap, focal and poly-1 forms and the diagonal of the Hessian of losses of rows: their
bounds on every kind of row, and what they are at the edges."""

import mpmath
import numpy as np
import oracle
import pytest
import ulp
from calls import same_bits
from test_rows import BOUND, BOUNDS, PATTERNS, backends_for, some_cases

NAN, INF = float("nan"), float("inf")
CAP_ULP = 4  # of a capped logit


@pytest.fixture(params=PATTERNS)
def pattern(request):
    return request.param


def ordinary(case):
    """Whether squares of log-sum-exps are numbers, too."""
    return np.abs(np.where(np.isfinite(case.x), case.x, 0)).max() < 1e15


def test_z_loss(dtype, pattern):
    for case in filter(ordinary, some_cases(pattern, dtype, 3)):
        exact, rows = case.exact, np.arange(len(case.x))
        lse, z = exact.logsumexp(), oracle.wide(np.float64(0.125))
        top = np.maximum(abs(exact.max), exact.log)
        size = np.maximum(exact.loss(case.y), z * top * top)
        p, tilt = exact.softmax(), (2 * z * lse)[:, None]
        plain = exact.gradient(case.y)
        larger = np.maximum(abs(plain), p * (2 * z * top)[:, None])
        larger[rows, case.y] = np.maximum(larger[rows, case.y], (2 * z * top * p[rows, case.y]))
        for name, module in backends_for(case):
            loss, grad = module.cross_entropy_value_and_grad(
                case.x, case.y, reduction="none", z_loss=0.125
            )
            case.within(loss, exact.loss(case.y) + z * lse * lse, size, 6, f"loss on {name}")
            case.within(grad, plain + tilt * p, larger, 6, f"gradient on {name}")


@np.errstate(all="ignore")
def capped(x, cap):
    """(cap tanh(x / cap), its slope, what its rounding is) in the wider type."""
    w = oracle.wide(x) / cap
    t = np.where(np.isfinite(x), oracle.tanh(w), np.sign(w))
    y = np.where(np.isneginf(x), w, cap * t)
    slope = np.where(np.isfinite(x), 4 * oracle.sigmoid_derivative(2 * w), 0)
    return y, slope, np.where(np.isfinite(y), CAP_ULP * ulp.unit(y, x.dtype.type), 0)


CAPS = [1.0, 30.0]


def in_turn(pattern, number):
    """A dtype for the pattern, the other one for the next number."""
    return (np.float32, np.float64)[([*PATTERNS].index(pattern) + number) % 2]


@pytest.mark.parametrize("cap", CAPS)
@np.errstate(invalid="ignore")  # of a label that is masked
def test_softcap(pattern, cap):
    """A loss of capped logits; beyond its bound is what they are rounded by."""
    dtype = in_turn(pattern, CAPS.index(cap))
    for case in some_cases(pattern, dtype, 3):
        y, slope, rounding = capped(case.x, cap)
        exact, most = oracle.Rows(y), 2 * rounding.max(axis=1)
        for name, module in backends_for(case):
            loss, grad = module.cross_entropy_value_and_grad(
                case.x, case.y, reduction="none", softcap=cap
            )
            want, own = exact.loss(case.y), exact.gradient(case.y)
            room = BOUND * ulp.unit(want, dtype) + most
            fits = (abs(oracle.wide(loss) - want) <= room) | (oracle.wide(loss) == want)
            assert fits.all(), (case.name, name)
            want = own * slope
            room = (BOUND + 4) * ulp.unit(want, dtype) + 2 * abs(want) * most[:, None]
            assert (abs(oracle.wide(grad) - want) <= room).all(), (case.name, name)


FORMS = [("softmax_focal_loss", {"gamma": g}) for g in (0.5, 1.0, 2.0, 5.0)]
FORMS += [("poly_loss_cross_entropy", {"epsilon": e}) for e in (2.0, -1.0)]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_bent_losses(pattern, form):
    function, options = form
    for case in some_cases(pattern, in_turn(pattern, FORMS.index(form)), 5):
        exact, g = case.exact, next(iter(options.values()))
        c = exact.loss(case.y)
        missing = exact.others(case.y) / exact.total
        p = exact.softmax()[np.arange(len(c)), case.y]
        if function == "softmax_focal_loss":
            with np.errstate(all="ignore"):
                w = np.where(missing == 0, 0, oracle.exp(g * oracle.log(missing)))
                value = size = np.where(c == 0, 0, w * c)
                ratio = np.where(missing == 0, 1, c / missing)
                more = w * (1 + g * np.where(p == 0, 0, p * ratio))
            bound = 8 + 4 * max(0, g - 2)
        else:
            value, size = c + g * missing, np.maximum(c, abs(g) * missing)
            more, bound = (1 + g) - g * missing, BOUND
        want = exact.gradient(case.y) * more[:, None]
        for name, module in backends_for(case):
            loss, grad = getattr(module, f"{function}_value_and_grad")(
                case.x, case.y, reduction="none", **options
            )
            case.within(loss, value, size, bound, f"{function} on {name}")
            case.within(grad, want, None, max(bound, 5), f"{function}, gradient, on {name}")


def test_hessian(dtype, pattern):
    for case in some_cases(pattern, dtype, 3):
        exact = case.exact
        p, rest = exact.softmax(), 1 - exact.softmax()
        rest[np.arange(len(p)), exact.top] = exact.rest / exact.total
        for name, module in backends_for(case):
            grad, hess = module.cross_entropy_grad_and_hess(case.x, case.y, reduction="none")
            case.within(hess, p * rest, None, BOUND, f"Hessian on {name}")
            plain = module.cross_entropy_backward(
                np.ones(len(p), dtype), case.x, case.y, reduction="none"
            )
            same_bits([grad], [plain], name)


def test_hessian_of_weights_smoothing_probabilities(dtype, pattern):
    for k, case in enumerate(some_cases(pattern, dtype, 3)):
        exact = case.exact
        p, rest = exact.softmax(), 1 - exact.softmax()
        rest[np.arange(len(p)), exact.top] = exact.rest / exact.total
        for options, targets, q in [*case.mixtures()][k % 3 :: 3]:
            want = q.sum(axis=1)[:, None] * p * rest
            for name, module in backends_for(case):
                _, hess = module.cross_entropy_grad_and_hess(
                    case.x, targets, reduction="none", **options
                )
                bound = BOUNDS["cross_entropy_soft"][1]
                case.within(hess, want, None, bound, f"Hessian on {name}")


# ---- at the edges --------------------------------------------------------------------------------

EDGES = [[INF, 0, 1], [-INF, 0, 1], [NAN, 1, 2], [-INF] * 3, [-INF, 0, -INF], [0, -INF, 0]]


def test_limits_of_softcap(lg, dtype):
    """A mask stays a mask, infinity becomes the cap, and neither has a slope."""
    x = np.array(EDGES, dtype)
    loss, grad = lg.cross_entropy_value_and_grad(x, [1] * 6, reduction="none", softcap=2.0)
    np.testing.assert_array_equal(np.isnan(loss), [0, 0, 1, 1, 0, 0])
    assert loss[4] == 0
    assert loss[5] == INF
    assert grad[0, 0] == grad[1, 0] == grad[4, 0] == 0
    y = np.array([2, 0, 2 * np.tanh(0.5)], dtype)
    assert loss[0] == pytest.approx(lg.cross_entropy(y, 1), rel=1e-6)
    np.testing.assert_array_equal(np.isnan(grad).all(axis=1), [0, 0, 1, 1, 0, 0])


def test_limits_of_z_loss(lg, dtype):
    x = np.array(EDGES, dtype)
    loss, grad = lg.cross_entropy_value_and_grad(x, [1] * 6, reduction="none", z_loss=0.5)
    np.testing.assert_array_equal(np.isnan(loss), [0, 0, 1, 1, 0, 0])
    assert loss[0] == INF
    assert loss[4] == 0
    np.testing.assert_array_equal(grad[0], [INF, -1, 0])
    skipped, none = lg.cross_entropy_value_and_grad(x, [-100] * 6, reduction="sum", z_loss=0.5)
    assert skipped == 0
    assert not none.any()


@pytest.mark.parametrize("name", ["softmax_focal_loss", "poly_loss_cross_entropy"])
def test_limits_of_bent_losses(lg, dtype, name):
    x = np.array(EDGES, dtype)
    loss, grad = getattr(lg, f"{name}_value_and_grad")(x, [1] * 6, reduction="none")
    np.testing.assert_array_equal(np.isnan(loss), [0, 0, 1, 1, 0, 0])
    assert loss[0] == loss[5] == INF
    assert loss[4] == 0
    assert not grad[4].any()
    np.testing.assert_array_equal(grad[0], [1, -1, 0])


def test_limits_of_the_hessian(lg, dtype):
    x = np.array(EDGES, dtype)
    _, hess = lg.cross_entropy_grad_and_hess(x, [1] * 6, reduction="none")
    assert not hess[0].any()
    assert not hess[4].any()
    assert hess[1, 0] == 0
    np.testing.assert_array_equal(hess[5], np.array([0.25, 0, 0.25], dtype))
    assert np.isnan(hess[2:4]).all()
    _, none = lg.cross_entropy_grad_and_hess(x, [-100] * 6, reduction="mean")
    assert not none.any()


def test_nothing_besides_is_cross_entropy_to_the_bit(lg, dtype, rng):
    for shape in ((40, 7), (6, 300)):
        x = (rng.normal(size=shape) * 10).astype(dtype)
        y, w = rng.integers(0, shape[1], shape[0]), rng.uniform(0.1, 3, shape[1]).astype(dtype)
        for weight in (None, w):
            want = lg.cross_entropy_value_and_grad(x, y, weight, reduction="none")
            for name, options in (
                ("cross_entropy", {"z_loss": 0.0, "softcap": None}),
                ("softmax_focal_loss", {"gamma": 0.0}),
                ("poly_loss_cross_entropy", {"epsilon": 0.0}),
            ):
                found = getattr(lg, f"{name}_value_and_grad")(
                    x, y, weight, reduction="none", **options
                )
                same_bits(found, want, name)


def test_a_saved_lse_is_that_of_capped_logits(lg, rng):
    x, y = rng.normal(size=(5, 40)) * 20, rng.integers(0, 40, 5)
    lse = np.empty(5)
    options = {"softcap": 15.0, "z_loss": 0.01, "reduction": "sum"}
    _, grad = lg.cross_entropy_value_and_grad(x, y, lse=lse, **options)
    np.testing.assert_allclose(lse, lg.logsumexp(15 * np.tanh(x / 15)), rtol=1e-13)
    np.testing.assert_allclose(
        lg.cross_entropy_backward(1.0, x, y, lse=lse, **options), grad, rtol=1e-11, atol=1e-15
    )


def test_entries_that_are_left_out_are_not_capped(lg, rng):
    x, y = rng.normal(size=(5, 6)), np.array([0, 1, 2, 0, 1])
    read = np.arange(6) < 4
    found = lg.cross_entropy_value_and_grad(x, y, softcap=2.0, where=np.tile(read, (5, 1)))
    want = lg.cross_entropy_value_and_grad(x[:, :4], y, softcap=2.0)
    assert found[0] == want[0]
    same_bits([found[1][:, :4]], [want[1]])
    assert not found[1][:, 4:].any()


def test_huge_factors_do_not_leave_the_range(lg):
    """A Hessian's and a capped gradient's factors are applied by exponent."""
    x = np.array([[0.0, -80.0, -200.0]], np.float32)
    s = np.array([1e60])
    _, hess = lg.cross_entropy_grad_and_hess(x, [0], reduction="sum", sample_weight=s)
    with mpmath.workprec(200):
        e = [mpmath.exp(mpmath.mpf(float(v))) for v in x[0]]
        want = [float(1e60 * p / sum(e) * (sum(e) - p) / sum(e)) for p in e]
    np.testing.assert_allclose(hess[0], np.float32(want), rtol=1e-6)
    grad = lg.cross_entropy_backward(
        1.0,
        np.array([[0, 2000, 0]], np.float32),
        [0],
        softcap=20.0,
        sample_weight=s,
        reduction="sum",
    )
    assert grad[0, 1] == pytest.approx(float(4e60 * mpmath.exp(-200)), rel=1e-6)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "z_loss must be finite", lambda lg, x: lg.cross_entropy(x, [0], z_loss=-1.0)),
        (ValueError, "z_loss must be", lambda lg, x: lg.cross_entropy(x, [0], z_loss=NAN)),
        (ValueError, "softcap must be positive", lambda lg, x: lg.cross_entropy(x, [0], softcap=0)),
        (ValueError, "gamma must be", lambda lg, x: lg.softmax_focal_loss(x, [0], gamma=-1.0)),
        (ValueError, "epsilon must", lambda lg, x: lg.poly_loss_cross_entropy(x, [0], epsilon=INF)),
        (TypeError, "integer labels", lambda lg, x: lg.softmax_focal_loss(x, x)),
        (IndexError, "label 5 in row 0", lambda lg, x: lg.softmax_focal_loss(x, [5])),
        (
            ValueError,
            r"target\[0\]\[1\] is 0.5: labels are 0 and 1",
            lambda lg, x: lg.sigmoid_focal_loss(x, [[0.0, 0.5, 1.0]]),
        ),
        (ValueError, "alpha must be", lambda lg, x: lg.sigmoid_focal_loss(x, x * 0, alpha=1.5)),
        (
            TypeError,
            "out must be a pair",
            lambda lg, x: lg.cross_entropy_grad_and_hess(x, [0], out=np.empty_like(x)),
        ),
    ],
)
def test_errors(lg, error, message, call):
    with pytest.raises(error, match=message):
        call(lg, np.zeros((1, 3)))


@pytest.mark.parametrize("name", ["softmax_focal_loss", "poly_loss_cross_entropy"])
@pytest.mark.parametrize("weight", [INF, -INF, NAN])
def test_no_loss_is_none_whatever_its_weight(lg, dtype, name, weight):
    """But for one that is no number."""
    x, w = np.array([[0.25]], dtype), np.array([weight], dtype)
    loss, grad = getattr(lg, f"{name}_value_and_grad")(x, [0], w, reduction="none")
    assert np.isnan(loss[0]) if np.isnan(weight) else loss[0] == 0
    assert np.isnan(weight) or grad[0, 0] == 0
    upstream = np.array([weight], dtype)
    (grad,) = getattr(lg, f"{name}_backward")(upstream, x, [0], reduction="none")
    assert np.isnan(weight) or grad[0] == 0


@pytest.mark.parametrize("name", ["softmax_focal_loss", "poly_loss_cross_entropy"])
@pytest.mark.parametrize("classes", [2, 300])
def test_a_weight_brings_a_loss_back(lg, dtype, name, classes):
    """It is beyond the range before the weight, and does not bend there."""
    most = 0.75 * np.finfo(dtype).max
    x = np.full((3, classes), -most, dtype)
    x[:, 0] = most
    w = np.full(classes, 0.25, dtype)
    loss = getattr(lg, name)(x, [1, 1, 0], w, reduction="none")
    np.testing.assert_allclose(loss, [most / 2, most / 2, 0], rtol=4 * np.finfo(dtype).eps)
