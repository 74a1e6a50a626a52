"""The doors for compiled code: typed memoryviews, the C table, ctypes. They lead to the same bits,
and what docs/use-it-from.md shows of them is built and run here."""

import ast
import ctypes
import doctest
import itertools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from conftest import kernels as crossing

import lossgrad

if crossing is None:
    pytest.skip("needs the compiled kernels", allow_module_level=True)

import lossgrad.ctypes as flat
from lossgrad import kernels

PAGE = Path(__file__).parents[1] / "docs" / "use-it-from.md"
OPS = pytest.mark.parametrize("op", crossing.OPS.values(), ids=crossing.OPS)
STORAGES = {np.float32: flat.F32, np.float64: flat.F64, np.float16: flat.F16}
STORAGES[ml_dtypes.bfloat16] = flat.BF16
DIRECTIONS = ("FORWARD", "BACKWARD", "VALUE_AND_GRAD")


def section(heading):
    """What the page has below a heading."""
    return PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def example(language, heading):
    """What it shows there in a language."""
    return re.search(rf"^```{language}\n(.*?)^```", section(heading), re.M | re.S)[1]


def directions(op):
    return DIRECTIONS if op.is_loss else DIRECTIONS[:2]


def elements(op, dtype, rng, n=67):
    """Inputs in (0, 1), which suit every op, a gradient, and parameters."""
    given = [rng.uniform(0.1, 0.9, n).astype(dtype) for _ in range(min(2, op.inputs) + 1)]
    second = given[2] if op.inputs > 1 else None
    return given[0], given[1], second, tuple(rng.uniform(0.5, 2, op.parameters))


def wanted(op, direction, grad, x, second, parameters):
    """Value and slope, as the public functions get them; None where the direction has none."""
    value = np.empty_like(x) if direction != "BACKWARD" else None
    slope = np.empty_like(x) if direction != "FORWARD" else None
    number = getattr(crossing, direction)
    grad = grad if direction == "BACKWARD" else None
    to = {"out": value, "out_grad": slope, "grad": grad}
    crossing.elementwise(op, number, x, second, None, **to, parameters=parameters)
    return value, slope


def test_numbers_are_those_of_the_header():
    header = Path(lossgrad.get_include(), "lossgrad.h").read_text()
    enums = re.findall(r"enum \{ (LG_[^}]*) \}", header)
    numbers = {name: k for names in enums for k, name in enumerate(names.split(", "))}
    for name in ("F32", "F64", "F16", "BF16", *DIRECTIONS):
        assert getattr(flat, name) == numbers[f"LG_{name}"]
    assert {
        f"LG_ROWS_{name.upper()}": k for name, k in flat.ROWS.items()
    }.items() <= numbers.items()
    assert numbers["LG_ROW_CALLS"] == len(flat.ROWS)
    assert list(kernels.OPS) == list(crossing.OPS)


def test_stubs_are_the_module():
    stub = Path(lossgrad.__file__).with_name("kernels.pyi").read_text()
    functions = {n.name for n in ast.parse(stub).body if isinstance(n, ast.FunctionDef)}
    assert functions | {"OPS"} == set(kernels.__all__)
    assert all(getattr(kernels, name).__name__ == name for name in functions)
    assert all(getattr(kernels, name).__doc__ for name in functions)


@OPS
def test_every_op_by_its_number(op, dtype, rng):
    grad, x, second, parameters = elements(op, dtype, rng)
    for direction in directions(op):
        value, slope = wanted(op, direction, grad, x, second, parameters)
        results = [np.empty_like(x) for want in (value, slope) if want is not None]
        function = getattr(kernels, f"map_{direction}".lower().replace("_forward", ""))
        grads = [grad] if direction == "BACKWARD" else []
        number = kernels.OPS[op.name]
        function(number, *grads, x, *results, second, parameters, num_threads=2)
        wants = [want for want in (value, slope) if want is not None]
        for got, want in zip(results, wants, strict=True):
            np.testing.assert_array_equal(got, want)


@OPS
def test_every_op_by_address(op, rng):
    cases = itertools.product(STORAGES, (0, 1, 67, 3000), directions(op))
    for storage, n, direction in cases:
        grad, x, second, parameters = elements(op, storage, rng, n)
        p = np.array(parameters)
        want = wanted(op, direction, grad, x, second, parameters)
        got = [np.empty_like(x), np.empty_like(x)]
        at = [0 if a is None else a.ctypes.data for a in (grad, x, second, *got)]
        if direction == "VALUE_AND_GRAD":
            at[0] = 0
        status = flat.run(
            kernels.OPS[op.name],
            getattr(flat, direction),
            STORAGES[storage],
            n,
            *at,
            p.ctypes.data,
            1,
        )
        assert status == 0, (x.dtype, n, direction)
        for a, b in zip(got, want, strict=True):
            assert b is None or a.tobytes() == b.tobytes(), (x.dtype, n, direction)


def rows(dtype, rng, shape=(33, 7)):
    x, g = (rng.normal(size=shape).astype(dtype) * 3 for _ in range(2))
    labels = rng.integers(0, shape[1], shape[0])
    labels[2] = -100
    return x, g, labels, rng.normal(size=shape[0]).astype(dtype)


def test_rows_and_losses_over_memoryviews(compiled, dtype, rng):
    x, g, labels, each = rows(dtype, rng)
    t, flat_x = rng.uniform(0, 1, x.size).astype(dtype), x.ravel()
    a, b, wide = np.empty(len(x), dtype), np.empty(x.size, dtype), np.empty_like(x)
    other, narrow = np.empty_like(b), a

    def same(call, *pairs):
        assert call is None
        for got, want in pairs:
            np.testing.assert_array_equal(got, want)

    none = {"reduction": "none"}
    bce = lossgrad.binary_cross_entropy_with_logits(flat_x, t, **none)
    slope = lossgrad.binary_cross_entropy_with_logits_backward(t, flat_x, t, **none)
    ones = lossgrad.binary_cross_entropy_with_logits_backward(np.ones_like(t), flat_x, t, **none)
    same(kernels.sigmoid(flat_x, b), (b, lossgrad.sigmoid(flat_x)))
    same(kernels.sigmoid_backward(t, flat_x, b), (b, lossgrad.sigmoid_backward(t, flat_x)))
    same(kernels.bce_with_logits(flat_x, t, b), (b, bce))
    same(kernels.bce_with_logits_backward(t, flat_x, t, b), (b, slope))
    same(kernels.bce_with_logits_value_and_grad(flat_x, t, b, other), (b, bce), (other, ones))
    same(kernels.softmax(x, wide), (wide, lossgrad.softmax(x)))
    same(kernels.softmax_backward(g, x, wide), (wide, lossgrad.softmax_backward(g, x)))
    same(kernels.logsumexp(x, narrow), (narrow, lossgrad.logsumexp(x)))
    want = lossgrad.logsumexp_backward(each, x)
    same(kernels.logsumexp_backward(each, x, wide), (wide, want))
    losses = lossgrad.cross_entropy(x, labels, **none)
    same(kernels.cross_entropy(x, labels, narrow), (narrow, losses))
    want = lossgrad.cross_entropy_backward(each, x, labels, **none)
    same(kernels.cross_entropy_backward(each, x, labels, wide), (wide, want))
    want = lossgrad.cross_entropy_backward(0.25, x, labels, reduction="sum")
    call = kernels.cross_entropy_value_and_grad(x, labels, narrow, wide, 0.25)
    same(call, (narrow, losses), (wide, want))


@pytest.mark.parametrize("storage", STORAGES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("name", flat.ROWS)
def test_rows_by_address(name, storage, rng):
    x, g, labels, each = rows(storage, rng)
    loss = name in ("cross_entropy", "nll_loss")
    options = {"reduction": "none"} if loss else {}
    targets = (labels,) if loss else ()
    one_a_row = loss or name == "logsumexp"
    incoming = each if one_a_row else g
    forward, backward = getattr(lossgrad, name), getattr(lossgrad, f"{name}_backward")
    value, out = np.empty_like(each), np.empty_like(x)

    def run(direction, grad):
        return flat.run_rows(
            flat.ROWS[name],
            direction,
            STORAGES[storage],
            *x.shape,
            *(grad.ctypes.data, x.ctypes.data, labels.ctypes.data),
            *(-100, 1.0, value.ctypes.data, out.ctypes.data, 2),
        )

    assert run(flat.FORWARD, incoming) == 0
    got = value if one_a_row else out
    assert got.tobytes() == forward(x, *targets, **options).tobytes()
    assert run(flat.BACKWARD, incoming) == 0
    assert out.tobytes() == backward(incoming, x, *targets, **options).tobytes()
    assert run(flat.VALUE_AND_GRAD, incoming) == (0 if loss else -3)


def test_a_bad_label_is_a_row_and_nothing_is_written(dtype, rng):
    x, _, labels, _ = rows(dtype, rng)
    labels[[5, 9]] = 7, -1
    losses, grad = np.zeros(len(x), dtype), np.zeros_like(x)
    at = [a.ctypes.data for a in (x, labels, losses, grad)]
    storage = STORAGES[dtype]
    for direction in range(3):
        head = (flat.ROWS["cross_entropy"], direction, storage, *x.shape, 0, *at[:2])
        assert flat.run_rows(*head, -100, 1.0, *at[2:], 1) == 6
    with pytest.raises(IndexError, match=r"label 7 in row 5 is outside \[0, 7\)"):
        kernels.cross_entropy_value_and_grad(x, labels, losses, grad)
    assert not losses.any()
    assert not grad.any()


@pytest.mark.parametrize(
    ("place", "value"), [(0, 99), (0, -1), (1, 3), (1, 2), (2, 9), (3, -1), (5, 0), (7, 0)]
)
def test_what_is_refused_by_address(place, value):
    x, y = np.zeros(4), np.ones(4)
    given = [kernels.OPS["sigmoid"], flat.FORWARD, flat.F64, 4, 0, x.ctypes.data, 0, y.ctypes.data]
    given[place] = value
    assert flat.run(*given, 0, 0, 1) == -3
    assert (y == 1).all()


def test_what_is_refused_over_memoryviews():
    x, y, fixed = np.zeros(4), np.zeros(4), np.zeros(4)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="different shapes"):
        kernels.sigmoid(x, y[:3])
    with pytest.raises(ValueError, match="no op 99"):
        kernels.map(99, x, y)
    with pytest.raises(ValueError, match="elu takes 1 parameters"):
        kernels.map(kernels.OPS["elu"], x, y)
    with pytest.raises(ValueError, match="C-contiguous"):
        kernels.sigmoid(np.zeros(8)[::2], y)
    with pytest.raises((TypeError, ValueError), match="float"):
        kernels.sigmoid(x, y.astype(np.float32))
    with pytest.raises(ValueError, match="read-only"):
        kernels.sigmoid(x, fixed)
    with pytest.raises(TypeError, match="None"):
        kernels.map(kernels.OPS["relu"], x, None)
    with pytest.raises(ValueError, match="no classes"):
        kernels.logsumexp(np.zeros((4, 0)), y)


# ---- strided views: lg_elements and lg_rows_of, as the header has them ----

THREE = ctypes.c_ssize_t * 3


class View(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("stride", THREE), ("storage", ctypes.c_int))


HEAD = [(name, ctypes.c_int) for name in ("what", "direction", "threads")]


class Elements(ctypes.Structure):
    _fields_ = (
        *HEAD,
        ("shape", THREE),
        ("grad", View),
        ("inputs", View * 3),
        *((name, View) for name in ("value", "slope")),
        ("param", ctypes.c_void_p),
    )


class RowsOf(ctypes.Structure):
    _fields_ = (
        *HEAD,
        ("shape", THREE),
        *((name, View) for name in ("x", "grad", "label")),
        ("ignore_index", ctypes.c_int64),
        ("scale", ctypes.c_double),
        *((name, View) for name in ("value", "out")),
    )


LABELS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LAYOUTS = {
    "columns": lambda a: a.transpose(2, 0, 1),
    "backwards": lambda a: a[::-1, ::2, ::-1],
    "parts": lambda a: a[1:, :, 2:5],
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
storages = pytest.mark.parametrize("storage", STORAGES, ids=lambda t: np.dtype(t).name)


def view(a):
    kinds = {np.dtype(t): k for t, k in STORAGES.items()}
    kinds |= {np.dtype(name): k for k, name in enumerate(LABELS)}
    return View(a.ctypes.data, THREE(*a.strides), kinds[a.dtype])


def cut(layout, rng, storage, count):
    """Arrays of one layout and shape, inside larger ones."""
    return [layout(rng.uniform(0.1, 0.9, (6, 8, 10)).astype(storage)) for _ in range(count)]


@layouts
@storages
@pytest.mark.parametrize("name", ["gelu", "mse_loss"])
def test_elements_of_any_strides(name, storage, layout, rng):
    x, second, value, slope = cut(layout, rng, storage, 4)
    one = np.broadcast_to(rng.normal(size=x.shape[2]).astype(storage), x.shape)
    fused = name == "mse_loss"
    others, each = ((second,), {"reduction": "none"}) if fused else ((), {})
    want = getattr(lossgrad, name)(x, *others, **each)
    want_slope = getattr(lossgrad, f"{name}_backward")(one, x, *others, **each)
    call = Elements(kernels.OPS[name], flat.BACKWARD, 2, THREE(*x.shape))
    call.inputs[0], call.inputs[1] = view(x), view(second)
    call.grad, call.value, call.slope = view(one), view(value), view(slope)
    for direction in (flat.BACKWARD, flat.VALUE_AND_GRAD if fused else flat.FORWARD):
        call.direction = direction
        assert flat._api.elements(ctypes.addressof(call)) == 0
    assert value.tobytes() == want.tobytes()
    assert slope.tobytes() == want_slope.tobytes()
    call.value.storage = (call.value.storage + 1) % 4
    assert flat._api.elements(ctypes.addressof(call)) == -3


@layouts
@storages
@pytest.mark.parametrize("kind", LABELS)
def test_rows_of_any_strides(kind, storage, layout, rng):
    x, out = cut(layout, rng, storage, 2)
    labels = rng.integers(0, x.shape[1], (x.shape[2], x.shape[0])).astype(kind).T
    value = np.zeros((x.shape[0], 2 * x.shape[2]), storage)[:, ::2]
    call = RowsOf(flat.ROWS["cross_entropy"], flat.VALUE_AND_GRAD, 2, THREE(*x.shape))
    call.x, call.out, call.ignore_index, call.scale = view(x), view(out), 1, 0.5
    call.label, call.value = view(labels[:, None, :]), view(value[:, None, :])
    assert flat._api.rows(ctypes.addressof(call)) == 0
    options = {"axis": 1, "ignore_index": 1}
    want = lossgrad.cross_entropy(x, labels, **options, reduction="none")
    assert value.tobytes() == want.tobytes()
    want = lossgrad.cross_entropy_backward(0.5, x, labels, **options, reduction="sum")
    assert out.tobytes() == want.tobytes()
    labels[2, 1] = 100
    assert flat._api.rows(ctypes.addressof(call)) == 2 * x.shape[2] + 2


@pytest.mark.parametrize("module", [kernels, flat])
def test_examples_are_true(module):
    assert doctest.testmod(module).attempted > 3
    assert doctest.testmod(module).failed == 0


def test_the_header_says_which_level():
    assert flat._api.level().decode() == crossing.level()


# ---- modules of users ----


def run_python(*arguments, cwd):
    """With lossgrad as it is installed, or lies here, and nothing else of ours."""
    env = {"PYTHONPATH": str(Path(lossgrad.__file__).parents[1]), "CFLAGS": "-O0"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False
    )


def build(folder, name, source, setup):
    """Import what a user's setup.py builds of a source."""
    (folder / name).write_text(source)
    (folder / "setup.py").write_text(setup)
    done = run_python("setup.py", "-q", "build_ext", "--inplace", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    try:
        return __import__(Path(name).stem)
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    pytest.importorskip("Cython")
    source, setup = example("cython", "Cython"), example("python", "Cython")
    return build(tmp_path_factory.mktemp("batches"), "batches.pyx", source, setup)


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    setup = """
        import lossgrad
        from setuptools import Extension, setup
        flags = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-std=c11"]
        include = [lossgrad.get_include()]
        module = Extension("columns", ["columns.c"], include_dirs=include, extra_compile_args=flags)
        setup(ext_modules=[module])
    """
    setup = re.sub("^ +", "", setup, flags=re.M)
    return build(tmp_path_factory.mktemp("columns"), "columns.c", example("c", "C"), setup)


def test_a_users_cython_module_in_a_prange(batches, dtype, rng):
    x = rng.normal(size=(40, 9, 5)).astype(dtype)
    labels = rng.integers(0, 5, x.shape[:2])
    losses, grad = np.empty(x.shape[:2], dtype), np.empty_like(x)
    batches.batches(x, labels, losses, grad)
    for k in range(len(x)):
        loss, want = lossgrad.cross_entropy_value_and_grad(x[k], labels[k])
        np.testing.assert_array_equal(grad[k], want)
        assert np.mean(losses[k], dtype=np.float64) == pytest.approx(loss, rel=1e-6)
    labels[7, 3] = 5
    with pytest.raises(IndexError, match="label 5 in row 3"):
        batches.batches(x, labels, losses, grad)


def test_a_users_cython_module_holds_no_lock(batches):
    """While it works, another thread is at Python."""
    x, out = np.linspace(-3, 3, 1000), np.empty(1000)
    began = threading.Event()

    def work():
        began.set()
        batches.swish(x, out, 20_000)

    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    steps = 0
    while thread.is_alive():
        steps += 1
    thread.join()
    assert steps > 1000
    np.testing.assert_array_equal(out, lossgrad.silu(x))


def test_a_users_c_extension(columns, compiled, rng):
    a = rng.normal(size=(40, 60))
    for view in (a, a.T, a[::-3, 5:], a[:, ::-2]):
        want = lossgrad.softmax(view, axis=0)
        columns.columns(view)
        np.testing.assert_array_equal(view, want)
    with pytest.raises(ValueError, match="no matrix of doubles"):
        columns.columns(np.zeros(3))


OF_ANOTHER_ABI = """
import ctypes, lossgrad.kernels
capsule = ctypes.pythonapi.PyCapsule_New
capsule.restype = ctypes.py_object
capsule.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
abi = ctypes.c_int(12345)
lossgrad.kernels._C_API = capsule(ctypes.addressof(abi), b"lossgrad.kernels._C_API", None)
import columns
"""


def test_another_abi_is_an_import_error(columns):
    folder = Path(columns.__file__).parent
    done = run_python("-c", OF_ANOTHER_ABI, cwd=folder)
    assert done.returncode == 1
    assert "ImportError: built with lossgrad.h of ABI 2" in done.stderr
    assert "the lossgrad installed has 12345: build it again" in done.stderr


def test_without_kernels_the_import_says_what_to_do():
    source = Path(lossgrad.__file__).with_name("kernels.py").read_text()
    with pytest.raises(ImportError, match="LOSSGRAD_PURE=1"):
        exec(compile(source, "kernels.py", "exec"), {})


# ---- what calls by address ----


@pytest.mark.peers
def test_numba():
    pytest.importorskip("numba")
    scope = {}
    exec(example("python", "Numba"), scope)
    x, w1, w2 = (np.linspace(-1, 1, 6).reshape(shape) for shape in ((2, 3), (3, 2), (2, 3)))
    np.testing.assert_array_equal(scope["two_layers"](x, w1, w2), lossgrad.gelu(x @ w1) @ w2)


@pytest.mark.peers
def test_cffi():
    pytest.importorskip("cffi")
    scope = {}
    exec(example("python", "cffi"), scope)
    assert scope["status"] == 0
    np.testing.assert_array_equal(scope["p"], lossgrad.softmax(scope["x"]))


@pytest.mark.peers
@pytest.mark.parametrize(("module", "heading"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_bridges(module, heading):
    pytest.importorskip(module)
    bridge = pytest.importorskip(f"lossgrad.{module}")
    assert doctest.testmod(bridge).failed == 0
    page = doctest.DocTestParser().get_doctest(section(heading), {}, heading, None, None)
    failed, tried = doctest.DocTestRunner().run(page)
    assert tried > 5
    assert not failed
