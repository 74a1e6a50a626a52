"""Elementwise functions and their derivatives keep the bounds that C states (csrc/ops.h)."""

import functools
from pathlib import Path

import mpmath
import numpy as np
import oracle
import pytest
import ulp
from conftest import FUSED_LEVELS, LEVELS, backends
from wanted import measurable

from benchmarks import exhaustive
from lossgrad._core import backend
from lossgrad.registry import OPS

BITS = {np.float32: np.uint32, np.float64: np.uint64}
ACTIVATIONS = [op for op in OPS if op.kind == "elementwise"]
# (operation, parameters)
needs_kernels = pytest.mark.skipif(backend.kernels is None, reason="needs the compiled kernels")
FORMS = [(op, options) for op in ACTIVATIONS for options in ({}, *op.variants)]
BY_MPMATH = ("elu", "celu", "softplus")  # that have parameters: what the oracle needs mpmath for
TANH = next(op for op in OPS if op.name == "tanh")
PROBABILITIES = next(op for op in OPS if op.name == "binary_cross_entropy")
LOSSES = [op for op in OPS if op.name == "binary_cross_entropy_with_logits"]

# Inputs with the largest error among all 2**32, or otherwise found to be hard.
WORST = {
    np.float32: [-103.27893, -103.97208, -88.72284, -87.33655, -17.32868, -1.0001221e-4],
    np.float64: [
        *(-745.1332191019412, -744.4400719213812, -709.782712893384, -708.3964185322641),
        -0.34696537453733817,  # elu where exp's reduction goes from 0 to -1
    ],
}


def bounds(op, options=()):
    """What C states; what the reference keeps as well, where there are no kernels."""
    if backend.kernels is None:
        return (2.0, 2.0)
    by_tanh = "approximate" in options
    return backend.kernels.bounds()["gelu_tanh" if by_tanh else op.name]


@functools.cache
def inputs(dtype, count):
    """Bit patterns of all kinds: for float32 every k-th, k prime; for float64 random ones too."""
    info = np.finfo(dtype)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal]
        + [info.eps * 2.0**k for k in range(-4, 5)]
        + [k * np.log(2.0) for k in range(-1080, 1080)]
        + WORST[dtype],
        dtype,
    )
    bits = special.view(BITS[dtype])
    special = np.concatenate([(bits + k).view(dtype) for k in np.arange(5, dtype=bits.dtype)])
    if dtype == np.float32:
        stride = next(k for k in range(2**32 // count, 0, -1) if is_prime(k))
        grid = np.arange(0, 2**32, stride, dtype=np.uint32).view(dtype)
    else:
        rng = np.random.default_rng(1)
        grid = rng.integers(0, 2**64, count // 4, np.uint64).view(dtype)
        wide = rng.uniform(-760, 760, count // 4)
        scale = 2.0 ** rng.uniform(-60, 10, count // 4)
        grid = np.concatenate([grid, wide, rng.normal(size=count // 4) * scale])
    return np.concatenate([special, -special, grid])


def is_prime(k):
    return all(k % d for d in range(2, int(k**0.5) + 1))


COUNT = {np.float32: 2**19, np.float64: 2**17}


def part_for(name):
    """Of the inputs those for a backend: all, or some for the reference, which is slow."""
    return slice(None, None, 17 if name == "reference" else 1)


forms = pytest.mark.parametrize(
    ("op", "options"), FORMS, ids=lambda v: v.name if hasattr(v, "name") else str(v or "")
)


def form_inputs(op, options, dtype):
    """Of the inputs those in the op's domain; fewer where the exact values need mpmath, or where
    parameters only scale what is tested without them."""
    x = inputs(dtype, COUNT[dtype])
    if options or op.name == "gelu":
        step = 101 if dtype == np.float64 else 7
        x = np.concatenate([x[::step], np.array(WORST[dtype], dtype)])
    return x[(x >= 0) & (x <= 1)] if op.inputs == ("probabilities",) else x


@forms
def test_forward_bound(op, options, dtype):
    x = form_inputs(op, options, dtype)
    want = measurable(getattr(oracle, op.name)(x, **options))
    for name, module in backends():
        part = part_for(name)
        result = getattr(module, op.name)(x[part], **options)
        ulp.assert_within(bounds(op, options)[0], result, want[part], inputs=x[part], what=name)


@forms
def test_derivative_bound(op, options, dtype):
    x = form_inputs(op, options, dtype)
    want, larger = map(measurable, oracle.derivative(op.name, x, **options))
    for name, module in backends():
        part = part_for(name)
        ones = np.ones_like(x[part])
        result = getattr(module, f"{op.name}_backward")(ones, x[part], **options)
        size = None if larger is None else larger[part]
        bound = bounds(op, options)[1]
        ulp.assert_within(bound, result, want[part], size, inputs=x[part], what=name)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
def test_loss_bound_at_labels(op, dtype, target):
    x = inputs(dtype, COUNT[dtype] // 4)
    t = np.full_like(x, target)
    want = getattr(oracle, op.name)(x, t)
    slope = getattr(oracle, f"{op.name}_derivative")(x, t)[0]
    for name, module in backends():
        part = part_for(name)
        value = getattr(module, op.name)(x[part], t[part], reduction="none")
        ulp.assert_within(bounds(op)[0], value, want[part], inputs=x[part], what=name)
        both = getattr(module, f"{op.name}_value_and_grad")
        total, grad = both(x[part], t[part], reduction="none")
        ulp.assert_within(bounds(op)[1], grad, slope[part], inputs=x[part], what=name)
        np.testing.assert_array_equal(total, value)


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
def test_loss_bound_at_any_target(lg, op, dtype, rng):
    x = rng.normal(size=20000).astype(dtype) * 10
    t = rng.uniform(0, 1, x.size).astype(dtype)
    t[::7] = rng.normal(size=t[::7].size) * 3  # any real number is taken
    value, grad = getattr(lg, f"{op.name}_value_and_grad")(x, t, reduction="none")
    between = (t >= 0) & (t <= 1)
    want, size = getattr(oracle, op.name)(x, t), getattr(oracle, f"{op.name}_larger")(x, t)
    slope, larger = getattr(oracle, f"{op.name}_derivative")(x, t)
    # Each term is a product of three rounded factors, so 1 ULP more than at labels.
    ulp.assert_within(3.0, grad, slope, larger, inputs=x, what="gradient")
    ulp.assert_within(3.0, value, want, size, inputs=x, what="value, unit of its larger term")
    ulp.assert_within(3.0, value[between], want[between], inputs=x[between], what="value")


def test_bound_of_probabilities(lg, dtype, rng):
    x = rng.uniform(1e-6, 1 - 1e-6, 50000).astype(dtype)
    t = rng.uniform(0, 1, x.size).astype(dtype)
    t[::3], t[1::3] = 0, 1
    value = lg.binary_cross_entropy(x, t, reduction="none", log_floor=None)
    p, q = oracle.wide(x), oracle.wide(t)
    want = -(q * oracle.log(p) + (1 - q) * oracle.log1p(-p))
    bound = bounds(PROBABILITIES)[0]
    labels = (t == 0) | (t == 1)
    ulp.assert_within(bound, value[labels], want[labels], inputs=x[labels], what="at labels")
    # Each of the two terms is a product of rounded factors.
    ulp.assert_within(bound + 1, value, want, inputs=x, what="between labels")


def test_bce_weights(lg, dtype, rng):
    x = rng.normal(size=5000).astype(dtype) * 10
    t = (rng.uniform(size=x.size) < 0.5).astype(dtype)
    w, p = (rng.uniform(0, 3, x.size).astype(dtype) for _ in range(2))
    value, grad = lg.binary_cross_entropy_with_logits_value_and_grad(
        x, t, w, pos_weight=p, reduction="none"
    )
    wide = oracle.wide(w), oracle.wide(p)
    want = oracle.binary_cross_entropy_with_logits(x, t, *wide)
    slope, _ = oracle.binary_cross_entropy_with_logits_derivative(x, t, *wide)
    ulp.assert_within(3.0, value, want, inputs=x, what="value")
    ulp.assert_within(3.0, grad, slope, inputs=x, what="gradient")


def test_sigmoid_is_odd_about_a_half_and_in_range(lg, dtype):
    x = inputs(dtype, COUNT[dtype])
    x = x[~np.isnan(x)]
    y = lg.sigmoid(x)
    assert ((y >= 0) & (y <= 1)).all()
    assert lg.sigmoid(dtype(0)) == 0.5


def mp_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def mp_softplus(x):
    return mpmath.log1p(mpmath.exp(x))


def test_oracle_against_mpmath(dtype):
    """The fast oracle has 2**-8 of a result's ULP to spare, the naive formula at 1500 bits says."""
    x = inputs(dtype, COUNT[dtype])
    x = x[np.isfinite(x) & (abs(x) < 1000)]
    x = np.concatenate([x[:: x.size // 100], np.array(WORST[dtype], dtype)])
    with mpmath.workprec(1500):
        values = [mpmath.mpf(float(v)) for v in x]
        s = [mp_sigmoid(v) for v in values]
        pairs = [
            (oracle.sigmoid(x), s),
            (oracle.sigmoid_derivative(x), [v * (1 - v) for v in s]),
        ]
        for t in (0, 1):
            target = np.full_like(x, t)
            fast = oracle.binary_cross_entropy_with_logits(x, target)
            pairs.append((fast, [mp_softplus(-v if t else v) for v in values]))
            slope = oracle.binary_cross_entropy_with_logits_derivative(x, target)[0]
            pairs.append((slope, [v - t for v in s]))
        for fast, slow in pairs:
            lost = [ulp._mp_distance(mpmath.mpf(0), mpmath.mpf(0), 1)]  # 0: both zero
            for a, b in zip(fast, slow, strict=True):
                step = ulp._mp_unit(
                    b, np.finfo(dtype).nmant, -149 if dtype == np.float32 else -1074
                )
                lost.append(float(abs(to_mp(a) - b) / step))
            assert max(lost) < 2**-8


def mp_normal(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def mp_gelu(x, approximate="none"):
    cube = x + mpmath.mpf("0.044715") * x**3
    by_tanh = (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * cube)) / 2
    return x * (by_tanh if approximate == "tanh" else mp_normal(x))


def mp_selu(x):
    below = mpmath.mpf(oracle.SELU_ALPHA) * mpmath.expm1(x)
    return mpmath.mpf(oracle.SELU_SCALE) * (x if x > 0 else below)


# As in the book; 1500 bits make up for what cancels.
NAIVE = {
    "sigmoid": mp_sigmoid,
    "log_sigmoid": lambda x: -mp_softplus(-x),
    "tanh": mpmath.tanh,
    "relu": lambda x: max(x, 0),
    "leaky_relu": lambda x, negative_slope=0.01: x if x > 0 else mpmath.mpf(negative_slope) * x,
    "elu": lambda x, alpha=1: x if x > 0 else alpha * mpmath.expm1(x),
    "selu": mp_selu,
    "celu": lambda x, alpha=1: x if x > 0 else alpha * mpmath.expm1(x / alpha),
    "softplus": lambda x, beta=1: mp_softplus(beta * x) / beta,
    "mish": lambda x: x * mpmath.tanh(mp_softplus(x)),
    "silu": lambda x: x * mp_sigmoid(x),
    "gelu": mp_gelu,
    "hardsigmoid": lambda x: min(max(x + 3, 0), 6) / mpmath.mpf(6),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / mpmath.mpf(6),
    "softsign": lambda x: x / (1 + abs(x)),
    "information_content": lambda x, base=None: -mpmath.log(x, base or mpmath.e),
}


@pytest.mark.parametrize(
    ("op", "options"),
    [(op, options) for op, options in FORMS if op.name in NAIVE],
    ids=lambda v: v.name if hasattr(v, "name") else str(v or ""),
)
def test_forms_against_mpmath(op, options, dtype):
    """So have all forms, and derivatives are central differences at 1500 bits."""
    x = form_inputs(op, options, dtype)
    x = x[np.isfinite(x) & (abs(x) < 700) & (abs(x) > 1e-30) & (abs(x) != 3)]
    x = np.append(x[:: x.size // 30], dtype([0.75, 0.3]))
    given = {k: float(dtype(v)) if isinstance(v, float) else v for k, v in options.items()}
    if op.name == "leaky_relu" and not options:
        given = {"negative_slope": float(dtype(0.01))}
    value = getattr(oracle, op.name)(x, **options)
    slope, larger = oracle.derivative(op.name, x, **options)
    info = np.finfo(dtype)
    with mpmath.workprec(1500):
        step = mpmath.mpf(2) ** -200
        f = lambda v: NAIVE[op.name](v, **given)  # noqa: E731
        for i, v in enumerate(map(mpmath.mpf, x.tolist())):
            pairs = [(value[i], f(v), None)]
            size = None if larger is None else to_mp(larger[i])
            pairs.append((slope[i], (f(v + step) - f(v - step)) / (2 * step), size))
            for got, want, scale in pairs:
                one = ulp._mp_unit(max(abs(want), scale or 0), info.nmant, info.minexp - info.nmant)
                assert abs(to_mp(got) - want) / one < 2**-6, (op.name, x[i])


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "elu", "hardswish", "tanh"])
def test_forms_of_the_reference(name, dtype):
    """What stands in for a form of an op that has none in the oracle."""
    x = np.linspace(-30, 30, 1001).astype(dtype)
    for suffix in ("", "_derivative"):
        own, other = getattr(oracle, name + suffix), oracle.__getattr__(name + suffix)
        one = np.spacing(abs(own(x).astype(dtype)))
        assert np.max(abs(other(x) - own(x)) / one) < 2**-4
    with pytest.raises(AttributeError, match="nosuch"):
        oracle.nosuch  # noqa: B018


def to_mp(value):
    """A wide number, exactly."""
    if isinstance(value, mpmath.mpf):
        return value
    part, exponent = np.frexp(value)
    high = float(part)
    return mpmath.ldexp(mpmath.mpf(high) + float(part - type(part)(high)), int(exponent))


def test_ruler():
    """The ruler itself, on cases that can be counted by hand."""
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        one = dtype(1)
        up = np.nextafter(one, dtype(2))
        wide = oracle.wide(np.array([1, 1, 1, 0, 0, np.inf, np.nan, 4], dtype))
        got = np.array([1, up, -1, 0, info.smallest_subnormal, np.inf, 1, np.nan], dtype)
        apart = ulp.distance(got, wide)
        np.testing.assert_array_equal(
            apart, [0, 1, 2 / float(info.eps), 0, 1, 0, np.inf, np.inf], strict=False
        )
        half = oracle.wide(np.array([1, 0.5], dtype)) + oracle.wide(np.array(info.eps / 2))
        np.testing.assert_array_equal(ulp.distance(np.array([1, 0.5], dtype), half), [0.5, 1])
        exact = oracle.multiprecision(np.array([1.0, 0.0]))
        got = np.array([up, info.smallest_subnormal], dtype)
        np.testing.assert_array_equal(ulp.distance(got, exact), [1, 1])


SLOW = [(op, v) for op, v in FORMS if op.name == "gelu" or (v and op.name in BY_MPMATH)]


def quick_results(op, options, x):
    """(value, derivative, the larger of its terms): the oracle's, but those of the reference, which
    are right to 2**-4 of a ULP, where that would take hours of mpmath."""
    if (op, options) not in SLOW:
        return getattr(oracle, op.name)(x, **options), *oracle.derivative(op.name, x, **options)
    value, slope = (oracle.double_double(op.name, x, k, **options) for k in (False, True))
    if op.name not in oracle.SLOPES:
        return value, slope, None
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = value / x
    return value, slope, np.fmax(abs(mean), abs(slope - mean))


@pytest.mark.parametrize(("op", "options"), SLOW, ids=lambda v: getattr(v, "name", str(v)))
def test_quick_results_against_mpmath(op, options):
    x = form_inputs(op, options, np.float64)[::10]
    x = x[np.isfinite(x)]
    value, slope, quick_size = quick_results(op, options, x)
    want, (derivative, larger) = (
        getattr(oracle, op.name)(x, **options),
        oracle.derivative(op.name, x, **options),
    )
    for fast, exact, size in ((value, want, None), (slope, derivative, larger)):
        one = ulp.unit(exact if size is None else np.maximum(abs(exact), size), np.float64)
        off = [abs(to_mp(a) - b) / u for a, b, u in zip(fast, exact, one, strict=True)]
        assert max(off) < 2**-4
    if larger is not None:
        size = larger.astype(float)
        assert (abs(quick_size - size) <= 2**-10 * size + 5e-324)[x != 0].all()


@pytest.mark.exhaustive
@forms
def test_a_million_float64(op, options):
    """As many random bit patterns, and as many numbers where functions bend, on every level."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2**64, 2**20, np.uint64).view(np.float64)
    bent = rng.normal(size=2**20) * 2.0 ** rng.uniform(-30, 10, 2**20)
    x = np.concatenate([x, bent])
    x = abs(x[abs(x) <= 1]) if op.inputs == ("probabilities",) else x
    for part in np.array_split(x, 16):
        value, slope, larger = quick_results(op, options, part)
        for name, module in backends():
            got = getattr(module, op.name)(part, **options)
            ulp.assert_within(bounds(op, options)[0], got, value, inputs=part, what=name)
            got = getattr(module, f"{op.name}_backward")(np.ones_like(part), part, **options)
            ulp.assert_within(bounds(op, options)[1], got, slope, larger, inputs=part, what=name)


VALIDATION = Path(np.__file__).parent / "_core" / "tests" / "data"


@pytest.mark.skipif(not VALIDATION.is_dir(), reason="this NumPy has no umath validation files")
def test_tanh_on_the_hard_cases_of_numpy(lg, dtype):
    """Of NumPy's files, which hold correctly rounded results, only tanh's is of a function here."""
    rows = np.genfromtxt(
        VALIDATION / "umath-validation-set-tanh.csv",
        *(str, "#"),
        delimiter=",",
        skip_header=1,
    )
    words = [[int(a, 16), int(b, 16)] for kind, a, b, _ in rows if kind.endswith(dtype.__name__)]
    x, rounded = np.array(words, BITS[dtype]).view(dtype).T
    assert x.size > 100
    ulp.assert_within(bounds(TANH)[0] + 0.5, lg.tanh(x), oracle.wide(rounded), inputs=x)
    ulp.assert_within(bounds(TANH)[0], lg.tanh(x), oracle.tanh(x), inputs=x)


@pytest.fixture
def as_found():
    """Leaves the level in use as it was."""
    before = backend.kernels.level()
    yield
    backend.kernels.set_level(before)


every_form = pytest.mark.parametrize("form", exhaustive.forms(), ids=lambda form: form.name)


@needs_kernels
@pytest.mark.exhaustive
@every_form
def test_every_float32(form, as_found):
    """All 2**32 inputs on every level: the errors are those on record, within the bounds; the bits
    are the same with fused multiply-add, and without. ``-s`` shows how long each level takes."""
    found, rows = exhaustive.sweep(form, LEVELS), exhaustive.read()
    print(form.name, {level: round(seconds) for level, seconds in found.seconds.items()})
    assert not found.broken(form)
    for level, worst in found.worst.items():
        column = 3 if level in exhaustive.UNFUSED else 1
        for name, most in zip((form.name, f"{form.name}'"), worst, strict=True):
            print(f"{name} | {level} | {most}")
            recorded = rows[name][column] if name in rows else exhaustive.DASH
            assert recorded in (exhaustive.DASH, f"{most.error:.4f}"), "stale: docs/accuracy.md"


@needs_kernels
def test_sweeps_find_what_is_wrong(monkeypatch, as_found):
    """On few inputs: a bound that is exceeded, and a level with other bits."""
    form = next(form for form in exhaustive.forms() if form.name == "sigmoid")
    monkeypatch.setattr(exhaustive.Form, "words", (range(0x3F000000, 0x3F010000),))
    found = exhaustive.sweep(form, LEVELS)
    assert not found.broken(form)
    assert [*found.worst] == [group[0] for group in exhaustive.groups(LEVELS)]
    assert {*found.seconds} == {*LEVELS}
    monkeypatch.setattr(exhaustive.Form, "bounds", (0.5, 2))
    assert len(found.broken(form)) == len(found.worst)
    a, b = np.array([1, np.nan, 0], np.float32), np.array([1, -np.nan, -0.0], np.float32)
    assert exhaustive.differing(a, a.copy()) is None
    assert exhaustive.differing(a, b) == 2
    assert exhaustive.differing(a[:2], b[:2]) is None


EXTREMES = [(op, v) for op in ACTIVATIONS for v in exhaustive.EXTREMES.get(op.name, ())]


@pytest.mark.parametrize(("op", "options"), EXTREMES, ids=lambda v: getattr(v, "name", str(v)))
def test_extreme_parameters(op, options, dtype):
    """The bounds hold at parameters near the ends of the range, where products and quotients with
    them over- and underflow on the way."""
    if dtype == np.float64:
        further = {1e-40: 1e-310, 1e30: 1e300}
        options = {name: further.get(value, value) for name, value in options.items()}
    info, unit = np.finfo(dtype), options.get("alpha", 1 / options.get("beta", 1.0))
    with np.errstate(over="ignore"):
        active = (np.geomspace(1e-9, 1500, 40) * unit).astype(dtype)
    exponents = np.linspace(info.minexp - info.nmant, info.maxexp - 1, 40, dtype=int)
    wide = np.ldexp(dtype(1.1), exponents)
    x = np.concatenate([active, wide, np.array([np.inf, np.nan, 0], dtype)])
    x = x[x <= 1] if op.inputs == ("probabilities",) else np.concatenate([x, -x])
    want, (slope, larger) = (
        getattr(oracle, op.name)(x, **options),
        oracle.derivative(op.name, x, **options),
    )
    for name, module in backends():
        value = getattr(module, op.name)(x, **options)
        ulp.assert_within(bounds(op, options)[0], value, want, inputs=x, what=name)
        grad = getattr(module, f"{op.name}_backward")(np.ones_like(x), x, **options)
        ulp.assert_within(bounds(op, options)[1], grad, slope, larger, inputs=x, what=name)


@needs_kernels
@every_form
def test_worst_inputs_on_record(form, as_found):
    """The hardest of all float32 are as hard as docs/accuracy.md has it, and within the bounds."""
    rows, level = exhaustive.read(), backend.kernels.level()
    kept, ruler = backend.kernels.available_levels(), exhaustive.Ruler()
    for k, (name, bound) in enumerate(zip((form.name, f"{form.name}'"), form.bounds, strict=True)):
        if name not in rows:
            continue
        stated, *cells = rows[name]
        assert float(stated) == bound
        for levels, error, at in ((FUSED_LEVELS, *cells[:2]), (exhaustive.UNFUSED, *cells[2:])):
            if error == exhaustive.DASH:
                continue
            assert float(error) <= bound
            x = np.array([float.fromhex(at)], np.float32)
            for here in {*levels} & {*kept}:
                with np.errstate(all="ignore"):
                    backend.kernels.set_level(level)
                    exact = form.exact_results()(x.astype(float))
                    backend.kernels.set_level(here)
                    found = ruler.largest(
                        form.both(np.float32)(x)[k], exact[k], exact[2] if k else None
                    )
                assert f"{found:.4f}" == error, (name, here)


@needs_kernels
@pytest.mark.skipif(not exhaustive.read(), reason="nothing is on record")
def test_record_is_of_forms_that_there_are():
    """In their order: variants beside their function."""
    names = [name for form in exhaustive.forms() for name in (form.name, f"{form.name}'")]
    rows = [*exhaustive.read()]
    assert rows == [name for name in names if name in rows]
