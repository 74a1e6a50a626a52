"""lossgrad.jax: the kernels called by XLA itself, with lossgrad's own bits."""

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import lossgrad
from lossgrad.registry import OPS

pytestmark = pytest.mark.peers
jax = pytest.importorskip("jax")
bridge = pytest.importorskip("lossgrad.jax")
jnp = jax.numpy

NAMES = [op for op in OPS if op.name in bridge.__all__]
every = pytest.mark.parametrize("op", NAMES, ids=lambda op: op.name)
DTYPES = ["float16", "bfloat16", "float32", "float64"]


@pytest.fixture(autouse=True)
def doubles():
    with jax.enable_x64(True):
        yield


def arguments(op, dtype, shape=(6, 5)):
    rng = np.random.default_rng(7)
    x = jnp.asarray(rng.uniform(0.1, 0.9, shape), dtype)
    if op.kind == "loss_rows":
        return [x, jnp.array([0, 4, -100, 2, 1, 3])]
    return [x, x[::-1]] if op.is_loss else [x]


def options(op):
    """Each set of options: reductions, and other values of parameters that are here."""
    ways = [{}, *(map(dict, op.variants) if "elementwise" in op.kind else ())]
    return [*ways, {"reduction": "sum"}, {"reduction": "none"}] if op.is_loss else ways


def bits(a):
    return np.asarray(a).tobytes()


def test_what_there_is():
    """What is missing has several results, draws numbers, prepares what kernels take, or takes a
    number where rows take none, or more of them than one."""
    missing = {op.name for op in OPS if op.gradient} - set(bridge.__all__)
    odd = {"softmin", "binary_cross_entropy", "information_content"}
    odd |= {"softmax_focal_loss", "poly_loss_cross_entropy", "sigmoid_focal_loss"}
    assert {op.kind for op in OPS if op.name in missing - odd} <= {"sloped", "distribution", "norm"}


@pytest.mark.parametrize("dtype", DTYPES)
@every
def test_bits_are_lossgrads(op, dtype):
    function, forward = getattr(bridge, op.name), getattr(lossgrad, op.name)
    backward = getattr(lossgrad, f"{op.name}_backward")
    for given in options(op):
        args = arguments(op, dtype)
        arrays = [np.asarray(a) for a in args]
        each = {**given, "reduction": "none"} if op.is_loss else given
        value, back = jax.vjp(lambda x, o=args[1:], e=each: function(x, *o, **e), args[0])
        assert bits(value) == bits(forward(*arrays, **each)), given
        assert value.dtype == args[0].dtype
        (slope,) = back(jnp.ones_like(value))
        assert bits(slope) == bits(backward(np.ones(value.shape, dtype), *arrays, **each)), given
        if op.is_loss and dtype in ("float32", "float64") and given.get("reduction") != "none":
            close = {"rtol": 1e-5 if dtype == "float32" else 1e-13}
            value, slope = jax.jit(jax.value_and_grad(partial(function, **given)))(*args)
            np.testing.assert_allclose(value, forward(*arrays, **given), **close)
            want = backward(1.0, *arrays, **given)
            np.testing.assert_allclose(slope, want, **close)


@every
def test_compiled_and_mapped(op):
    args = arguments(op, "float32")
    each = {"reduction": "none"} if op.is_loss else {}  # sums depend on what XLA makes of them
    function = partial(getattr(bridge, op.name), **each)

    def total(*args):
        return function(*args).sum()

    batch = [jnp.stack([a, a[::-1]]) for a in args]
    for made in (function, jax.grad(total)):
        one = made(*args)
        assert bits(jax.jit(made)(*args)) == bits(one)
        both = jax.jit(jax.vmap(made))(*batch)
        assert bits(both[0]) == bits(one)
        assert bits(both[1]) == bits(made(*(b[1] for b in batch)))
        if len(args) == 2:
            shared = jax.vmap(made, (0, None))(batch[0], args[1])
            assert bits(shared[0]) == bits(one)


def test_axes():
    x = arguments(NAMES[0], "float32")[0].reshape(3, 5, 2)
    for name in ("softmax", "log_softmax", "logsumexp"):
        got = getattr(bridge, name)(x, axis=1)
        assert bits(got) == bits(getattr(lossgrad, name)(np.asarray(x), axis=1))
    y = jnp.zeros((3, 2), int)
    got = bridge.cross_entropy(x, y, axis=1, reduction="none")
    assert bits(got) == bits(lossgrad.cross_entropy(x, np.asarray(y), axis=1, reduction="none"))


def test_integers_become_floats():
    assert bits(bridge.sigmoid(jnp.arange(3))) == bits(lossgrad.sigmoid(np.arange(3)))
    assert bridge.sigmoid(True).dtype == float


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), ()])
def test_nothing(shape):
    x = jnp.zeros(shape)
    assert bridge.sigmoid(x).shape == shape
    assert bridge.mse_loss(x, x, reduction="sum") == 0
    if shape:
        assert bridge.softmax(x).shape == shape


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int32", "uint64"])
def test_labels_of_any_integer_dtype(dtype):
    x, y = jnp.eye(4, dtype="float32"), jnp.array([3, 0, 1, 2], dtype)
    got = bridge.cross_entropy(x, y, reduction="none")
    assert bits(got) == bits(lossgrad.cross_entropy(np.eye(4, dtype="f"), y, reduction="none"))


def test_errors():
    x, y = jnp.zeros((3, 4)), jnp.array([0, 1, 9])
    with pytest.raises(Exception, match=r"label 9 in row 2 is outside \[0, 4\)"):
        jax.jit(bridge.cross_entropy)(x, y).block_until_ready()
    with pytest.raises(ValueError, match=r"shape \(3,\), got int64 of shape \(2,\)"):
        bridge.cross_entropy(x, y[:2])
    with pytest.raises(ValueError, match="got float"):
        bridge.cross_entropy(x, x[:, 0])
    with pytest.raises(ValueError, match="beta"):
        bridge.softplus(x, beta=-1.0)
    with pytest.raises(ValueError, match="reduction"):
        bridge.mse_loss(x, x, reduction="median")
    with pytest.raises(TypeError, match="float32, float64, got complex128"):
        bridge.sigmoid(x * 1j)
    with pytest.raises(TypeError, match="got float8_e5m2"):
        bridge.softmax(x.astype(jnp.float8_e5m2))
    with pytest.raises(TypeError, match="mse_loss\\(\\) takes real, real, reduction"):
        bridge.mse_loss(x, x, weight=x)
    with pytest.raises(ValueError, match=r"shape of the input, \(3, 4\)"):
        bridge.mse_loss(x, x[0])


def test_without_jax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.delitem(sys.modules, "lossgrad.jax")
    with pytest.raises(ImportError, match=r"lossgrad.jax needs jax: pip install 'lossgrad\[jax\]'"):
        import lossgrad.jax  # noqa: F401


# ours: theirs
STRUCTS = {
    "xla_extension": "XLA_FFI_Extension_Base",
    "xla_version": "XLA_FFI_Api_Version",
    "xla_metadata_extension": "XLA_FFI_Metadata_Extension",
    "xla_error_arguments": "XLA_FFI_Error_Create_Args",
    "xla_buffer": "XLA_FFI_Buffer",
    "xla_scalar": "XLA_FFI_Scalar",
    "xla_array": "XLA_FFI_Array",
    "xla_operands": "XLA_FFI_Args",
    "xla_attributes": "XLA_FFI_Attrs",
}
FIELDS = {
    "xla_metadata": ("XLA_FFI_Metadata", {"version": "api_version", "traits": "traits"}),
    "xla_api": ("XLA_FFI_Api", {"create_error": "XLA_FFI_Error_Create"}),
    "xla_buffer": ("XLA_FFI_Buffer", {"dtype": "dtype", "data": "data", "dims": "dims"}),
    "xla_attributes": ("XLA_FFI_Attrs", {"size": "size", "at": "attrs"}),
    "xla_call": (
        "XLA_FFI_CallFrame",
        {"stage": "stage", "arguments": "args", "results": "rets", "attributes": "attrs"},
    ),
}
NUMBERS = {
    "XLA_F16": "XLA_FFI_DataType_F16",
    "XLA_F32": "XLA_FFI_DataType_F32",
    "XLA_F64": "XLA_FFI_DataType_F64",
    "XLA_BF16": "XLA_FFI_DataType_BF16",
    "XLA_S8": "XLA_FFI_DataType_S8",
    "XLA_U64": "XLA_FFI_DataType_U64",
    "XLA_EXECUTE": "XLA_FFI_ExecutionStage_EXECUTE",
    "XLA_INVALID_ARGUMENT": "XLA_FFI_Error_Code_INVALID_ARGUMENT",
    "XLA_METADATA": "XLA_FFI_Extension_Metadata",
    "0": "XLA_FFI_API_MAJOR",
}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_xla_is_declared_as_jaxlib_has_it(tmp_path):
    same = [f"sizeof({ours}) == sizeof({theirs})" for ours, theirs in STRUCTS.items()]
    for ours, (theirs, fields) in FIELDS.items():
        same += [f"offsetof({ours}, {a}) == offsetof({theirs}, {b})" for a, b in fields.items()]
    same += [f"(int){ours} == (int){theirs}" for ours, theirs in NUMBERS.items()]
    lines = ['#include "xla.h"', "#include <xla/ffi/api/c_api.h>"]
    # as its authors compile it, structs are types in C too
    lines += [f'_Static_assert({claim}, "{claim}");' for claim in same]
    csrc = Path(__file__).parents[1] / "csrc"
    header = Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h").read_text()
    named = re.findall(r"^struct (XLA_FFI_\w+) \{", header, re.M)
    lines[1:1] = [f"typedef struct {name} {name};" for name in named]
    (tmp_path / "same.c").write_text("\n".join(lines))
    command = ["gcc", "-fsyntax-only", f"-I{csrc}", f"-I{jax.ffi.include_dir()}", "same.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
