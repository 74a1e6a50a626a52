"""The softmax family keeps the bounds that C states (csrc/kernels.h) on every kind of row: at any
gap between logits, any number of classes, sorted or not, masked, far from 0, confident in the label
or in another class."""

import functools
import itertools

import mpmath
import numpy as np
import oracle
import pytest
import ulp
from conftest import FUSED_LEVELS, LEVELS, backends, few

from lossgrad._core import backend

# The reference is held to the same.
STATED = {"cross_entropy": (4.0, 4.0), "cross_entropy_soft": (4.0, 5.0), "softmax": (4.0, 8.0)}
BOUNDS = backend.kernels.bounds() if backend.kernels else STATED
BOUND = max(BOUNDS["cross_entropy"])  # and of all the family where nothing else is said
# Of levels of the same bits (test_bits.py) one.
MEASURED = [[level for level in LEVELS if level not in FUSED_LEVELS][-1:], FUSED_LEVELS[-1:]]
MEASURED = [*itertools.chain(*MEASURED), "reference"]
CLASSES = (1, 2, 3, 4, 5, 7, 8, 10, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 255, 257, 511)
CLASSES += (512, 513, 1000, 1023, 1024, 1025, 1151, 2047, 2048, 2049, 3000, 5000)


def _rows(classes):
    return max(2, min(20, 9000 // classes))


def _normal(rng, n, c, limit):
    return rng.normal(size=(n, c)) * rng.choice([1e-3, 0.1, 1, 3, 10, 50], (n, 1))


def _wide(rng, n, c, limit):
    """Gaps of every size up to where exp is 0."""
    return rng.uniform(-1.05 * limit, 0, (n, c)) + rng.uniform(-5, 5, (n, 1))


def _gap(rng, n, c, limit):
    """One class ahead of the others by a gap."""
    x = rng.normal(size=(n, c)) * rng.choice([0, 0.1, 1], (n, 1))
    x[np.arange(n), rng.integers(0, c, n)] += rng.uniform(0, limit, n)
    return x


def _one_hot(rng, n, c, limit):
    x = np.zeros((n, c))
    x[np.arange(n), rng.integers(0, c, n)] = np.linspace(-limit, limit, n)
    return x


def _constant(rng, n, c, limit):
    return np.broadcast_to(rng.normal(size=(n, 1)) * 10, (n, c))


def _few_values(rng, n, c, limit):
    """Many equal maxima."""
    return rng.choice([-3.0, 0.0, 1.0], (n, c))


def _masked(rng, n, c, limit):
    x = _normal(rng, n, c, limit)
    hidden = rng.uniform(size=(n, c)) < rng.uniform(0.1, 0.95, (n, 1))
    hidden[np.arange(n), rng.integers(0, c, n)] = False
    return np.where(hidden, -np.inf, x)


def _sorted(rng, n, c, limit):
    return np.sort(_normal(rng, n, c, limit), axis=1)


def _reversed(rng, n, c, limit):
    return np.sort(_wide(rng, n, c, limit), axis=1)[:, ::-1]


def _rising(rng, n, c, limit):
    """The maximum moves on from block to block, slowly or by leaps."""
    return np.linspace(0, rng.choice([1, 20, 200, 2000], (n, 1)), c, axis=1).reshape(n, c)


def _offset(rng, n, c, limit):
    return _normal(rng, n, c, limit) + rng.choice([-3000.0, 3000.0, 255.9, -257.0, 2048.5], (n, 1))


def _huge(rng, n, c, limit):
    return rng.normal(size=(n, c)) * 10.0 ** rng.uniform(3, 37, (n, 1))


def _tiny(rng, n, c, limit):
    return rng.normal(size=(n, c)) * 10.0 ** rng.uniform(-44, -3, (n, 1))


PATTERNS = {
    f.__name__[1:]: f
    for f in (
        *(_normal, _wide, _gap, _one_hot, _constant, _few_values, _masked, _sorted, _reversed),
        *(_rising, _offset, _huge, _tiny),
    )
}


class Case:
    """Logits of one pattern and number of classes, labels of all kinds, and the exact results."""

    def __init__(self, pattern, classes, dtype):
        rng = np.random.default_rng([classes, *pattern.encode()])
        n = _rows(classes)
        limit = 104 if dtype == np.float32 else 745
        x = PATTERNS[pattern](rng, n, classes, limit).astype(dtype)
        self.x, self.rng, self.classes, self.dtype = x, rng, classes, dtype
        self.exact = oracle.Rows(x)
        y = rng.integers(0, classes, n)
        finite = np.where(np.isfinite(x), x, np.inf)
        y = np.where(np.arange(n) % 4 == 0, x.argmax(axis=1), y)
        y = np.where(np.arange(n) % 4 == 1, finite.argmin(axis=1), y)
        y = np.where(np.arange(n) % 8 == 2, 0, y)
        self.y = np.where(np.arange(n) % 8 == 6, classes - 1, y)
        self.pattern, self.name = pattern, f"{pattern}, {classes} classes,"
        self.held = {}  # what is within which bound of which exact values

    def mixtures(self):
        """(keywords, targets, q) with weights, smoothing, probabilities, and all of them."""
        n, c, rng = len(self.x), self.classes, self.rng
        w = rng.uniform(0.1, 3, c).astype(self.dtype)
        p = rng.dirichlet(np.ones(c), n).astype(self.dtype)
        p[rng.uniform(size=p.shape) < 0.3] = 0
        p = np.where(np.isfinite(self.x), p, 0).astype(self.dtype)
        masked = np.isneginf(self.x).any()
        for weight in (None, w):
            for smoothing in (0.0,) if masked else (0.0, 0.1):
                options = {"weight": weight, "label_smoothing": smoothing}
                make = functools.partial(
                    oracle.mixture, c, self.dtype, weight=weight, smoothing=smoothing
                )
                if weight is not None or smoothing:
                    yield options, self.y, make(labels=self.y)
                yield options, p, make(probabilities=p)

    def within(self, result, exact, larger=None, bound=BOUND, what=""):
        """Measured once for all backends of the same bits."""
        result = np.asarray(result)
        place = id(exact), id(larger), bound
        held = self.held.setdefault(place, (exact, larger, set()))[-1]
        if result.tobytes() not in held:
            ulp.assert_within(bound, result, exact, larger, what=f"{self.name} {what}")
            held.add(result.tobytes())


@functools.cache
def cases(pattern, dtype):
    return [Case(pattern, classes, dtype) for classes in CLASSES]


def some_cases(pattern, dtype, of):
    """Every so many-th number of classes, other ones of each pattern and dtype."""
    first = [*PATTERNS].index(pattern) + (dtype == np.float64)
    return cases(pattern, dtype)[first % of :: of]


@pytest.fixture(params=PATTERNS)
def pattern(request):
    return request.param


def measured():
    return (one for one in backends() if one[0] in MEASURED)


def backends_for(case):
    """All, or without the reference: it knows no blocks, so a few numbers of classes are enough,
    other ones of each pattern."""
    case.held.clear()
    own = CLASSES[[*PATTERNS].index(case.pattern) % 11 :: 11]
    for name, module in measured():
        if case.classes in few(module, CLASSES, own):
            yield name, module


def test_loss_and_gradient(dtype, pattern):
    for case in cases(pattern, dtype):
        exact, slope = case.exact.loss(case.y), case.exact.gradient(case.y)
        for name, module in backends_for(case):
            loss, grad = module.cross_entropy_value_and_grad(case.x, case.y, reduction="none")
            case.within(loss, exact, what=f"loss on {name}")
            case.within(grad, slope, what=f"gradient on {name}")
            alone = module.cross_entropy(case.x, case.y, reduction="none")
            np.testing.assert_array_equal(loss, alone, name)


def test_softmax_family(dtype, pattern):
    for case in some_cases(pattern, dtype, 2):
        softmax, log_softmax = case.exact.softmax(), case.exact.log_softmax()
        lse, largest = case.exact.logsumexp(), case.exact.max
        for name, module in backends_for(case):
            case.within(module.softmax(case.x), softmax, what=f"softmax on {name}")
            case.within(module.log_softmax(case.x), log_softmax, what=f"log_softmax on {name}")
            case.within(module.logsumexp(case.x), lse, largest, what=f"logsumexp on {name}")


def test_softmax_family_backward(dtype, pattern):
    for case in some_cases(pattern, dtype, 3):
        exact, rng = case.exact, np.random.default_rng(case.classes)
        g = rng.normal(size=case.x.shape).astype(dtype)
        row = rng.normal(size=len(g)).astype(dtype)
        wanted = [
            ("logsumexp", row, exact.softmax() * oracle.wide(row)[:, None], None, BOUND),
            ("softmax", g, *exact.softmax_backward(g), BOUNDS["softmax"][1]),
            ("log_softmax", g, *exact.log_softmax_backward(g), BOUND),
        ]
        for name, module in backends_for(case):
            for function, grad, want, larger, bound in wanted:
                found = getattr(module, f"{function}_backward")(grad, case.x)
                case.within(found, want, larger, bound, f"{function}_backward on {name}")


def test_weights_smoothing_probabilities(dtype, pattern):
    first = [*PATTERNS].index(pattern)
    for k, case in enumerate(some_cases(pattern, dtype, 2), first):
        for options, targets, q in [*case.mixtures()][k % 4 :: 4]:
            kind = f"{options['weight'] is not None=} {options['label_smoothing']=} {targets.ndim=}"
            exact, (want, larger) = case.exact.mixed_loss(q), case.exact.mixed_gradient(q)
            if targets.ndim == 1 and not options["label_smoothing"]:
                larger = None  # only a weight times the plain gradient
                label = np.arange(len(q)), targets
                want = case.exact.gradient(targets) * q[label][:, None]
            row = "cross_entropy" if larger is None else "cross_entropy_soft"
            for name, module in backends_for(case):
                loss, grad = module.cross_entropy_value_and_grad(
                    case.x, targets, reduction="none", **options
                )
                case.within(loss, exact, what=f"loss {kind} on {name}")
                case.within(grad, want, larger, BOUNDS[row][1], what=f"gradient {kind} on {name}")


def test_backward_scales(dtype, pattern):
    """Incoming gradients of every size, down to subnormal ones."""
    low, high = (-42, 10) if dtype == np.float32 else (-310, 100)
    for k, case in enumerate(some_cases(pattern, dtype, 3)):
        rng = np.random.default_rng(case.classes)
        g = (10.0 ** rng.uniform(low, high, len(case.x))).astype(dtype)
        slope = case.exact.gradient(case.y)
        for name, module in backends_for(case):
            grad = module.cross_entropy_backward(g, case.x, case.y, reduction="none")
            case.within(grad, slope * oracle.wide(g)[:, None], what=f"gradient on {name}")
            scale = (1 / 3, 1e-30, -7.0)[k % 3]
            grad = module.cross_entropy_backward(scale, case.x, case.y, reduction="sum")
            wide = oracle.wide(np.float64(scale)) if dtype == np.float64 else scale
            case.within(grad, slope * wide, what=f"gradient times {scale} on {name}")


def test_saved_lse(dtype, pattern):
    """A float64 log-sum-exp keeps the bounds of float32; in float64 its rounding shows, as a factor
    of every probability."""
    for case in some_cases(pattern, dtype, 3):
        want, exact = case.exact.gradient(case.y), case.exact.logsumexp()
        size = np.maximum(abs(exact), abs(case.exact.max)).astype(np.float64)
        rounding = np.spacing(size)
        room = BOUND * ulp.unit(want, dtype)
        room += abs(want) * 2 * np.expm1(np.minimum(BOUND * rounding, 1))[:, None]
        for name, module in backends_for(case):
            lse = np.full(len(case.x), np.nan)
            module.cross_entropy(case.x, case.y, lse=lse)
            if dtype == np.float32:
                assert (abs(lse - exact) <= 2.0**-23 + rounding).all(), (case.name, name)
            else:
                case.within(lse, exact, case.exact.max, what=f"lse on {name}")
            grad = module.cross_entropy_backward(1.0, case.x, case.y, reduction="sum", lse=lse)
            off = abs(oracle.wide(grad) - want) / room
            assert off.max() <= 1, (case.name, name, off.max())


MANY = ("normal", "sorted", "reversed", "constant", "one_hot", "masked", "gap")


@pytest.mark.parametrize(
    ("pattern", "dtype"), [*zip(MANY, itertools.cycle([np.float32, np.float64]), strict=False)]
)
def test_a_quarter_of_a_million_classes(dtype, pattern):
    some = (one for one in measured() if pattern in few(one[1], MANY, MANY[1::3]))
    all_within(Case(pattern, 262144, dtype), some)


@pytest.mark.exhaustive
@pytest.mark.parametrize("classes", [8191, 20000, 65537, 262144])
def test_every_pattern_of_many_classes(dtype, pattern, classes):
    all_within(Case(pattern, classes, dtype), backends())


def all_within(case, modules):
    """Loss, gradient and the softmax family."""
    exact, loss_of, slope_of = case.exact, case.exact.loss(case.y), case.exact.gradient(case.y)
    softmax, log_softmax, lse = exact.softmax(), exact.log_softmax(), exact.logsumexp()
    for name, module in modules:
        loss, grad = module.cross_entropy_value_and_grad(case.x, case.y, reduction="none")
        case.within(loss, loss_of, what=f"loss on {name}")
        case.within(grad, slope_of, what=f"gradient on {name}")
        case.within(module.softmax(case.x), softmax, what=f"softmax on {name}")
        case.within(module.log_softmax(case.x), log_softmax, what=f"log_softmax on {name}")
        case.within(module.logsumexp(case.x), lse, exact.max, what=f"logsumexp on {name}")


def test_every_gap(lg, dtype):
    """Two classes: loss and gradient at each gap from 0 to where exp(-gap) is 0."""
    step = 1 / 16
    gap = np.arange(0, 104 if dtype == np.float32 else 746, step).astype(dtype)
    gap = np.concatenate([gap, np.nextafter(gap, dtype(1000))])
    for sign in (1, -1):
        x = np.stack([np.zeros_like(gap), -sign * gap], axis=1)
        y = np.zeros(len(x), int)
        exact = oracle.Rows(x)
        loss, grad = lg.cross_entropy_value_and_grad(x, y, reduction="none")
        ulp.assert_within(BOUND, loss, exact.loss(y), inputs=gap, what="loss")
        ulp.assert_within(BOUND, grad, exact.gradient(y), what="gradient")


def test_far_logits_whose_largest_comes_late(lg, dtype, rng):
    """Far from 0 the distance of two logits is rounded: their sum is none of them."""
    for size in 10.0 ** rng.uniform(17, 30, few(lg, 200, 20)):
        first, largest = np.sort(rng.uniform(0.1, 1, 2) * size).astype(dtype)
        x = np.zeros((1, 300), dtype)
        x[0, [32, 235]] = first, largest
        assert lg.logsumexp(x)[0] == largest
        assert lg.softmax(x)[0, 235] == 1
        assert lg.cross_entropy(x, [235]) == 0


def test_confident_row_of_float32(lg):
    x = np.array([[0, -20]], np.float32)
    loss, grad = lg.cross_entropy_value_and_grad(x, [0])
    assert loss == pytest.approx(2.0611536e-09, rel=1e-7)
    np.testing.assert_allclose(grad, [[-2.0611536e-09, 2.0611536e-09]], rtol=2e-7)
    assert grad.dtype == np.float32


def test_oracle_against_mpmath(dtype, rng):
    """The fast oracle is right to 2**-6 of the result's ULP; here log(sum(exp)) at 4000 bits."""
    nmant = np.finfo(dtype).nmant
    lowest = np.finfo(dtype).minexp - nmant
    for k, pattern in enumerate(PATTERNS):
        for case in cases(pattern, dtype)[k % 2 : 7 : 2]:
            exact = case.exact
            fast = exact.loss(case.y), exact.gradient(case.y), exact.log_softmax()
            with mpmath.workprec(4000):
                for i in range(0, len(case.x), 5):
                    row = [mpmath.mpf(float(v)) for v in case.x[i]]
                    if max(row) - min(v for v in row if mpmath.isfinite(v)) > 2000:
                        continue
                    label = int(case.y[i])
                    top = max(row)
                    terms = [mpmath.exp(v - top) for v in row]
                    total = mpmath.fsum(terms)
                    log = mpmath.log(total)
                    want = [(fast[0][i], log - (row[label] - top))]
                    for c, e in enumerate(terms):
                        want.append((fast[1][i, c], e / total - (c == label)))
                        want.append((fast[2][i, c], row[c] - top - log))
                    for a, b in want:
                        if mpmath.isfinite(b):
                            off = abs(wide_to_mp(a) - b) / ulp._mp_unit(b, nmant, lowest)
                            assert off < 2**-6, (case.name, i, a, b)


def wide_to_mp(value):
    if isinstance(value, mpmath.mpf):
        return value
    part, exponent = np.frexp(value)
    high = float(part)
    return mpmath.ldexp(mpmath.mpf(high) + float(part - type(part)(high)), int(exponent))
