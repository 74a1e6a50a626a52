"""The ufuncs say what the functions say, to the bit, with what NumPy's machinery adds."""

import ctypes
import functools
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
from calls import calls, same_bits
from conftest import kernels
from ways import LAYOUTS, overlapping

import lossgrad
from lossgrad.registry import OPS

pytestmark = pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")
ufuncs = pytest.importorskip("lossgrad.ufuncs") if kernels else None
ALL = ufuncs.__all__ if kernels else ()
bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
DTYPES = [np.float16, bfloat16, np.float32, np.float64]
NONE_OF_ITS_OWN = {"rrelu", "softmax_jacobian", "l2_norm"}
NONE_OF_ITS_OWN |= {op.name for op in OPS if op.kind == "loss_rows"}
WITH_UFUNCS = [op for op in OPS if op.name not in NONE_OF_ITS_OWN]
ops = pytest.mark.parametrize("op", WITH_UFUNCS, ids=lambda op: op.name)
dtypes = pytest.mark.parametrize("kind", DTYPES, ids=lambda kind: np.dtype(kind).name)
# Options that no ufunc has.
OTHERS = ("b", "base", "log_floor", "weight", "sample_weight")


def as_ufunc(call):
    """(the ufunc, its operands, its options) of a call of a function; None if it has no such."""
    name, options, back = call.op.name, dict(call.options), call.function.endswith("_backward")
    given = [*call.arrays.values()]
    several = call.function.endswith(("_and_grad", "_and_hess"))
    if several or options.pop("reduction", "none") != "none":
        return None
    if name == "prelu":
        slopes = given.pop() if "weight" in call.arrays else options.pop("weight")
        axis = options.pop("axis", 0)
        given.append(np.reshape(slopes, (-1, *(1,) * (given[-1].ndim - axis - 1))))
    elif {key for key in (*options, *call.arrays) if key in OTHERS}:
        return None
    if name == "sigmoid_focal_loss" and options:
        return None
    if options.pop("approximate", "none") == "tanh":
        name = "gelu_tanh"
    if options.pop("log_target", False):
        name = "kl_div_log_target"
    if options.pop("full", False):
        name = "poisson_nll_loss_full"
    own = [key for key, value in call.op.parameters.items() if type(value) is float]
    if name in kernels.OPS and kernels.OPS[name].parameters == 1:
        given.append(options.pop(own[0], call.op.parameters[own[0]]))
    if name == "binary_cross_entropy_with_logits":
        given.append(1)
    return getattr(ufuncs, f"{name}_backward" if back else name), given, options


def with_ufuncs(op, kind, rng, shape=(3, 5, 40), axis=-1):
    """The calls of an op that a ufunc can make, each with that."""
    found = [(call, as_ufunc(call)) for call in calls(op, shape, np.dtype(kind), rng, axis)]
    return [(call, *how) for call, how in found if how]


def called(ufunc, operands, **options):
    """All results, as arrays."""
    results = ufunc(*operands, **options)
    return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]


# ---- what they are -------------------------------------------------------------------------------


def test_each_op_has_one_for_each_direction():
    names = {name for op in WITH_UFUNCS for name in (op.name, f"{op.name}_backward")}
    forms = ("gelu_tanh", "kl_div_log_target", "poisson_nll_loss_full")
    backward = {f"{name}_backward" for name in forms}
    assert set(ufuncs.__all__) == names | {*forms} | backward
    for name in ufuncs.__all__:
        ufunc = getattr(ufuncs, name)
        assert isinstance(ufunc, np.ufunc)
        assert ufunc.__name__ == name
        assert f"`lossgrad.{name}`" in ufunc.__doc__
        leads = ufunc.nin if name.startswith(("mse", "relative")) else 1
        assert [t[0] for t in ufunc.types] == ["e", "f", "d"]
        assert all(t[k] == t[-1] for t in ufunc.types for k in range(leads))


@ops
def test_bits_of_the_function(compiled, op, rng):
    shapes = [((37,), 0), ((3, 5, 40), -1), ((4, 6, 3), 1)]
    for kind, (shape, axis) in itertools.product(DTYPES, shapes):
        made = with_ufuncs(op, kind, rng, shape, axis)
        assert len(made) >= 2
        for call, ufunc, operands, options in made:
            got, want = called(ufunc, operands, **options), call(lossgrad)
            of = f"{np.dtype(kind)}, {shape}: {call}"
            same_bits(got, want[:1] if op.name == "prelu" else want, of)


@ops
def test_layouts(op, rng):
    for call, ufunc, operands, options in with_ufuncs(op, np.float32, rng):
        want = called(ufunc, operands, **options)
        for layout in LAYOUTS:
            laid = [layout(a) if np.ndim(a) else a for a in operands]
            same_bits(called(ufunc, laid, **options), want, f"{layout.__name__}: {call}")


@ops
def test_one_element_broadcasts(op, rng):
    for _, ufunc, operands, options in with_ufuncs(op, np.float64, rng):
        if ufunc.signature is not None:
            continue
        wide = np.broadcast_arrays(*operands)
        for k, a in enumerate(wide):
            few = [*wide[:k], a[:1, :1, :1], *wide[k + 1 :]]
            same = [np.ascontiguousarray(b) for b in np.broadcast_arrays(*few)]
            same_bits(called(ufunc, few, **options), called(ufunc, same, **options))


def test_classes_of_rows_that_broadcast(rng):
    p, q = rng.uniform(0.1, 1, (4, 1, 5)), rng.uniform(0.1, 1, (3, 5))
    got = ufuncs.relative_entropy(p, q)
    want = [[lossgrad.relative_entropy(a, b) for b in q] for a in p[:, 0]]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", [n for n in ALL if getattr(ufuncs, n).signature])
def test_rows_without_classes(name):
    ufunc = getattr(ufuncs, name)
    rows = [
        np.ones((3, 0) if "c" in part else 3) for part in ufunc.signature.split("->")[0].split("),")
    ]
    with pytest.raises(ValueError, match="no classes"):
        ufunc(*rows)
    none = [a[:0] if a.ndim == 1 else np.ones((0, 4)) for a in rows]
    assert called(ufunc, none)[0].shape[0] == 0


# ---- parameters that are arrays ------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("name", ["leaky_relu", "elu", "celu", "softplus"])
def test_a_parameter_for_each_element(compiled, name, kind, rng):
    x, g = (rng.normal(size=(50, 7)).astype(kind) for _ in range(2))
    values = np.array([0.25, 1.0, 1.0, 0.5, 2.0, 1.0, 0.25])
    forward, backward = getattr(lossgrad, name), getattr(lossgrad, f"{name}_backward")
    columns = [x[:, k].copy() for k in range(7)], [g[:, k].copy() for k in range(7)]
    want = [forward(c, p) for c, p in zip(columns[0], values, strict=True)]
    slopes = [backward(d, c, p) for c, d, p in zip(*columns, values, strict=True)]
    same_bits([getattr(ufuncs, name)(x, values)], [np.stack(want, 1)])
    same_bits([getattr(ufuncs, f"{name}_backward")(g, x, values)], [np.stack(slopes, 1)])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, np.nan])
@pytest.mark.parametrize("name", ["celu", "softplus"])
def test_a_parameter_that_must_be_positive(name, bad):
    with pytest.raises(ValueError, match=f"parameter of {name} must be positive and finite, got"):
        getattr(ufuncs, name)(np.ones(3), [1.0, 2.0, bad])


# ---- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operands", "kind"),
    [
        ((np.int8(1),), "d"),
        ((np.True_,), "d"),
        ((np.uint64(1),), "d"),
        ((1,), "d"),
        (([0.5, 1],), "d"),
        ((np.float16(1), np.float64(1)), "d"),
        ((np.float64(1), np.float32(1)), "f"),
        ((np.ones(2, "f"), 1.0), "f"),
        ((1.0, np.ones(2, "f")), "f"),
        ((1, 2), "d"),
    ],
)
def test_types_of_results(operands, kind):
    """A gradient takes on the type of what it is the gradient of."""
    ufunc = ufuncs.sigmoid_backward if len(operands) == 2 else ufuncs.sigmoid
    assert ufunc(*operands).dtype == kind


def test_types_of_several_inputs():
    single, double = np.ones(3, "f"), np.ones(3)
    assert ufuncs.mse_loss(single, double).dtype == "d"
    assert ufuncs.mse_loss(single, 1.0).dtype == "f"
    assert ufuncs.binary_cross_entropy_with_logits(single, np.ones(3, int), double).dtype == "f"
    assert ufuncs.sigmoid(double, dtype="f").dtype == "f"
    assert ufuncs.sigmoid(np.ones(3, ">f8")).dtype == "=f8"
    out = np.empty(3)
    assert ufuncs.sigmoid(single, out=out) is out
    np.testing.assert_array_equal(out, ufuncs.sigmoid(single))


@pytest.mark.parametrize("bad", ["complex64", "longdouble", "object", "S3", "M8[s]"])
def test_types_that_have_no_loop(bad):
    for operands in ((np.ones(2, "f"),) * 2, (np.zeros(2, bad),) * 2):
        for k in range(2):
            given = [*operands[:k], np.zeros(2, bad), *operands[k + 1 :]]
            with pytest.raises(TypeError, match="sigmoid_backward of"):
                ufuncs.sigmoid_backward(*given)
    with pytest.raises(TypeError):
        ufuncs.sigmoid(np.ones(3), dtype=bad)


def test_bfloat16_is_met_when_it_comes():
    program = """
import sys, numpy as np
from lossgrad import ufuncs
assert "ml_dtypes" not in sys.modules
from ml_dtypes import bfloat16
x = np.ones(3, bfloat16)
assert ufuncs.sigmoid(x).dtype == bfloat16 == ufuncs.elu(x, 0.5).dtype
assert ufuncs.softmax(x).dtype == bfloat16 == ufuncs.mse_loss(x, x).dtype
assert ufuncs.mse_loss(x, np.ones(3, "f")).dtype == "f"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---- where, out, overlaps ------------------------------------------------------------------------


@ops
def test_where(op, rng):
    for _, ufunc, operands, options in with_ufuncs(op, np.float32, rng):
        if ufunc.signature is not None:
            continue
        want = ufunc(*operands)
        mask, out = rng.uniform(size=want.shape) < 0.5, np.full(want.shape, 9, want.dtype)
        ufunc(*operands, where=mask, out=out, **options)
        same_bits([out], [np.where(mask, want, np.float32(9))])


@ops
@pytest.mark.parametrize("shift", [0, 1, -1, 40])
def test_out_over_every_operand(op, shift, rng):
    for call, ufunc, operands, options in with_ufuncs(op, np.float32, rng, (3, 80)):
        want = called(ufunc, operands, **options)
        if len(want) > 1:
            continue
        for k, a in enumerate(operands):
            if np.ndim(a):
                out, own = overlapping(a, want[0].shape, want[0].dtype, shift)
                given = [*operands[:k], own, *operands[k + 1 :]]
                same_bits(called(ufunc, given, out=out, **options), want, f"{shift}: {call}")


def test_what_is_read_after_it_is_written(rng):
    """Reductions and accumulations go on with what they wrote."""
    x = rng.normal(size=300)
    want = [x[0]]
    for each in x[1:]:
        want.append(float(ufuncs.mse_loss(want[-1], each)))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(ufuncs.mse_loss.accumulate(x[:20]), want[:20])
        assert ufuncs.mse_loss.reduce(x[:20]) == want[19]
    table = ufuncs.prelu.outer(x[:3], x[3:5])
    np.testing.assert_array_equal(table, ufuncs.prelu(x[:3, None], x[3:5]))
    assert ufuncs.prelu.reduce(x[:2].astype("f")).dtype == "f"
    y = x.copy()
    ufuncs.sigmoid.at(y, [3, 3])
    assert y[3] == ufuncs.sigmoid(ufuncs.sigmoid(x[3]))


# ---- the floating-point environment, threads -----------------------------------------------------


@ops
@pytest.mark.skipif(sys.platform == "win32", reason="needs the C library's fenv.h")
def test_no_flag_and_no_warning(op, rng):
    libm, every = ctypes.CDLL(None), 0x3D  # all exceptions but that of subnormals
    extremes = np.array([0, -1e38, 1e38, 1e-38, -1e-45, np.inf, np.nan, 104], np.float32)
    for _, ufunc, operands, options in with_ufuncs(op, np.float32, rng, (4, 30)):
        operands = [np.asarray(a, np.float32) for a in operands]  # NumPy rounds nothing on the way
        labels = operands[-1:] if op.inputs[-1] == "binary labels" else []
        if op.inputs[0] in ("real", "logits"):
            operands = [rng.choice(extremes, a.shape) if a.ndim else a for a in operands]
            operands[len(operands) - len(labels) :] = labels
        with np.errstate(all="raise"):
            ufunc(*operands, **options)  # its loop is found
            libm.feclearexcept(every)
            ufunc(*operands, **options)
            assert libm.fetestexcept(every) == 0


@pytest.fixture
def shared():
    """Calls are shared over threads if they take any time; how many have been."""
    before = kernels.set_sharing(1e-6, 1e-6)
    yield lambda: kernels.pool()[1]
    kernels.set_sharing(*before)
    lossgrad.set_num_threads(None)


@pytest.mark.parametrize("name", ["gelu", "gelu_backward", "leaky_relu", "softmax"])
def test_long_runs_are_shared(shared, name, rng):
    x = rng.normal(size=(400, 1000)).astype(np.float32)
    ufunc = getattr(ufuncs, name)
    operands = (x, 0.3) if name == "leaky_relu" else (x,) * ufunc.nin
    found = []
    for threads in (1, 3):
        lossgrad.set_num_threads(threads)
        before = shared()
        found.append(ufunc(*operands))
        assert (shared() > before) == (threads > 1)
    same_bits(found[1:], found[:1])


def test_a_run_that_meets_its_output_is_not_shared(shared, rng):
    lossgrad.set_num_threads(3)
    memory = rng.normal(size=300_001)
    want = ufuncs.gelu(memory[1:].copy())
    np.testing.assert_array_equal(ufuncs.gelu(memory[1:], out=memory[:-1]), want)


# ---- to and fro ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_ufuncs_are_pickled_by_name(name):
    ufunc = getattr(ufuncs, name)
    assert pickle.loads(pickle.dumps(ufunc)) is ufunc


@pytest.mark.parametrize("name", [name for op in OPS for name in op.functions])
def test_functions_are_pickled_with_what_is_bound(name):
    function = getattr(lossgrad, name)
    bound = pickle.loads(pickle.dumps(functools.partial(function, num_threads=1)))
    assert bound.func is function
    assert bound.keywords == {"num_threads": 1}


def test_results_are_exchanged():
    result = lossgrad.sigmoid(np.ones(3, np.float32))
    np.testing.assert_array_equal(np.from_dlpack(result), result)
