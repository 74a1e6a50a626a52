"""What each library has of the functions here: one table, library -> {function: callable}.

A callable takes the array of inputs and gives the array of results, both NumPy's; ``sigmoid'`` is
the derivative of ``sigmoid``, the way the library's users get it. Rows have label 0; distributions
come in pairs. Functions are named as in docs/accuracy.md.
"""

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import lossgrad
from lossgrad.registry import OPS

from .. import peers
from ..exhaustive import Form
from ..exhaustive import forms as elementwise

Array = np.ndarray
Call = Callable[[Array], Array]
Table = dict[str, Call]
ROWS = ("logsumexp", "softmax", "log_softmax", "softmin", "cross_entropy", "l2_norm")
ROWS += ("relative_entropy",)
# How a function is asked for a result of each row or element.
EACH: dict[str, dict[str, dict[str, Any]]] = {
    "torch": {
        "softmax": {"dim": -1},
        "norm": {"dim": -1},
        "loss_rows": {"reduction": "none"},
        "loss_elementwise": {"reduction": "none"},
    },
    "lossgrad": {
        "norm": {"axis": -1},
        "loss_rows": {"reduction": "none"},
        "loss_elementwise": {"reduction": "none"},
    },
    "jax": {"softmax": {"axis": -1}},
    "scipy": {"softmax": {"axis": -1}, "norm": {"axis": -1}},
    "numpy": {"norm": {"axis": -1}},
}


@functools.cache
def forms() -> list[Form]:
    """The functions of the table: activations with their usual parameters, losses with labels."""
    found = [
        form
        for form in elementwise()
        if form.options.items() <= form.op.parameters.items() or "approximate" in form.options
    ]
    ops = {op.name: op for op in OPS}
    return found + [
        Form(ops[name], {}, 0 if ops[name].kind == "loss_rows" else None) for name in ROWS
    ]


def has_slope(form: Form) -> bool:
    return "elementwise" in form.op.kind or form.op.kind == "loss_rows"


def operands(form: Form, x: Array) -> tuple[Array, ...]:
    """The function's arguments, of the one array that a callable takes."""
    if form.op.kind == "loss_rows":
        return x, np.zeros(len(x), np.int64)
    if form.op.kind == "loss_elementwise":
        return x, np.full_like(x, form.target)
    return (x[:, 0], x[:, 1]) if form.op.kind == "distribution" else (x,)


def named(library: str) -> Iterator[tuple[Form, Callable[..., Any], dict[str, Any]]]:
    """Functions of a library that the registry names, with options that make them ours."""
    for form in forms():
        path = peers.peers(form.op).get(library, "")
        # SciPy's divides by the sums; the textbook's are nobody's.
        if path and path != "scipy.stats.entropy" and "TEXTBOOK" not in path:
            options = {**peers.OPTIONS.get(path, {}), **EACH[library].get(form.op.kind, {})}
            if "approximate" in form.options:
                options["approximate"] = "tanh" if library == "torch" else True
            yield form, peers.OPTAX[path]() if path in peers.OPTAX else resolved(path), options


def resolved(path: str) -> Callable[..., Any]:
    return peers.negated_log if path == "numpy.log" else peers.resolve(path)


# ---- the libraries -------------------------------------------------------------------------------


def threads() -> int:
    """For libraries that look at their own processors first, or nowhere."""
    return int(os.environ.get("OMP_NUM_THREADS", 1))


def ours() -> Table:
    def given(form: Form) -> dict[str, Any]:
        return {**form.options, **EACH["lossgrad"].get(form.op.kind, {})}

    def value(form: Form, x: Array) -> Array:
        return getattr(lossgrad, form.op.name)(*operands(form, x), **given(form))

    def slope(form: Form, x: Array) -> Array:
        backward, ones = getattr(lossgrad, f"{form.op.name}_backward"), np.ones(len(x), x.dtype)
        return backward(ones, *operands(form, x), **given(form))

    table = {form.name: partial(value, form) for form in forms()}
    table |= {f"{form.name}'": partial(slope, form) for form in forms() if has_slope(form)}
    table["sum"] = lambda x: lossgrad.l1_loss(x, np.zeros_like(x), reduction="sum")
    return table


def torch() -> Table:
    import torch

    torch.set_num_threads(threads())

    def tensor(x: Array) -> Any:
        if x.dtype.name == "bfloat16":
            return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(x)

    def array(result: Any) -> Array:
        return result.detach().float().numpy()  # the halves' numbers are all float32's, too

    def value(form: Form, call: Callable[..., Any], x: Array) -> Array:
        return array(call(*map(tensor, operands(form, x))))

    def slope(form: Form, call: Callable[..., Any], x: Array) -> Array:
        first, *others = map(tensor, operands(form, x))
        first.requires_grad_()
        result = call(first, *others)
        return array(torch.autograd.grad(result, first, torch.ones_like(result))[0])

    table = {"sum": lambda x: array(torch.sum(tensor(x)))}
    for form, function, options in named("torch"):
        call = partial(function, **options)
        table[form.name] = partial(value, form, call)
        table[f"{form.name}'"] = partial(slope, form, call)
    return table


def jax() -> Table:
    import jax

    def arrays(run: Callable[..., Any], form: Form, x: Array) -> Array:
        return np.asarray(run(*map(jax.numpy.asarray, operands(form, x))))

    def each(function: Callable[..., Any]) -> Callable[..., Any]:
        """Of the means that peers.py compares: those of one row, or of one element."""
        return jax.vmap(lambda *given: function(*(value[None] for value in given)))

    table = {"sum": lambda x: np.asarray(jax.jit(jax.numpy.sum)(x))}
    for form, function, options in named("jax"):
        call = each(function) if form.op.is_loss else partial(function, **options)

        def slope(x: Any, *others: Any, call: Callable[..., Any] = call) -> Any:
            result, pull = jax.vjp(lambda x: call(x, *others), x)
            return pull(jax.numpy.ones_like(result))[0]

        table[form.name] = partial(arrays, jax.jit(call), form)
        table[f"{form.name}'"] = partial(arrays, jax.jit(slope), form)
    return table


def of_arrays(library: str) -> Table:
    """What the registry names of a library that takes NumPy's arrays."""

    def value(form: Form, call: Callable[..., Any], x: Array) -> Array:
        return call(*operands(form, x))

    return {
        form.name: partial(value, form, partial(function, **options))
        for form, function, options in named(library)
    }


def scipy() -> Table:
    from scipy import special

    return of_arrays("scipy") | {
        "softplus(beta=1.0)": special.softplus,
        "relative_entropy": lambda x: special.rel_entr(x[:, 0], x[:, 1]).sum(axis=-1),
    }


def numpy() -> Table:
    return of_arrays("numpy") | {
        "relu": lambda x: np.maximum(x, 0),
        "softplus(beta=1.0)": lambda x: np.logaddexp(np.zeros((), x.dtype), x),
        "sum": np.sum,
    }


def sklearn() -> Table:
    from sklearn._loss import loss
    from sklearn.utils import extmath

    def call(form: Form, name: str, x: Array) -> Array:
        rows = form.op.kind == "loss_rows"
        given = loss.HalfMultinomialLoss(n_classes=x.shape[-1]) if rows else loss.HalfBinomialLoss()
        targets = operands(form, x)[1].astype(x.dtype)
        return getattr(given, name)(y_true=targets, raw_prediction=x, n_threads=threads())

    table: Table = {"softmax": extmath.softmax}
    for form in forms():
        if any(path.startswith("sklearn._loss") for path in form.op.peers):
            table[form.name] = partial(call, form, "loss")
            table[f"{form.name}'"] = partial(call, form, "gradient")
    return table


# function: operator of ONNX, its attributes
ONNX: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("Relu", {}),
    "leaky_relu(negative_slope=0.01)": ("LeakyRelu", {"alpha": 0.01}),
    "elu(alpha=1.0)": ("Elu", {"alpha": 1.0}),
    "celu(alpha=1.0)": ("Celu", {"alpha": 1.0}),
    "selu": ("Selu", {}),
    "softplus(beta=1.0)": ("Softplus", {}),
    "mish": ("Mish", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu(approximate=tanh)": ("Gelu", {"approximate": "tanh"}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hardswish": ("HardSwish", {}),
    "softsign": ("Softsign", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
    "logsumexp": ("ReduceLogSumExp", {"keepdims": 0}),
    "cross_entropy(targets=0)": ("SoftmaxCrossEntropyLoss", {"reduction": "none"}),
    "l2_norm": ("ReduceL2", {"keepdims": 0}),
    "sum": ("ReduceSum", {"keepdims": 0}),
}
ALONG = ("ReduceLogSumExp", "ReduceL2")  # these along the last axis


def onnxruntime() -> Table:
    import onnxruntime

    @functools.cache
    def session(function: str, dtype: np.dtype) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(onnx_model(function, dtype), options)

    def call(function: str, x: Array) -> Array:
        given = {"x": x}
        if "cross_entropy" in function:
            given["y"] = np.zeros(len(x), np.int64)
        return session(function, x.dtype).run(None, given)[0]

    return {function: partial(call, function) for function in ONNX}


def onnx_model(function: str, dtype: np.dtype) -> bytes:
    """A model of one operator."""
    from onnx import TensorProto, helper

    operator, attributes = ONNX[function]
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    inputs, constants = [helper.make_tensor_value_info("x", kind, None)], []
    if "cross_entropy" in function:
        inputs.append(helper.make_tensor_value_info("y", TensorProto.INT64, None))
    elif operator in ALONG:
        constants.append(helper.make_tensor("axes", TensorProto.INT64, [1], [-1]))
    names = [value.name for value in (*inputs, *constants)]
    node = helper.make_node(operator, names, ["out"], **attributes)
    out = [helper.make_tensor_value_info("out", kind, None)]
    graph = helper.make_graph([node], function, inputs, out, constants)
    opset = helper.make_opsetid("", 22)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


# Levels have names of its own there; what is above ours is turned off.
NUMKONG = {"avx2": ("serial", "haswell"), "sse2": ("serial",)}


def numkong() -> Table:
    import numkong

    if kept := NUMKONG.get(os.environ.get("LOSSGRAD_ISA", "")):
        for name, has in numkong.get_capabilities().items():
            if has and name not in kept:
                numkong.disable_capability(name)
    return {
        "l2_norm": lambda x: np.asarray(numkong.norm(x, axis=-1)),
        "relative_entropy": lambda x: np.asarray(
            numkong.kld(np.ascontiguousarray(x[:, 0]), np.ascontiguousarray(x[:, 1]))
        ),
        "sum": lambda x: np.asarray(numkong.sum(x)),
    }


def simd_ml_kernels() -> Table:
    import simd_ml_kernels as kernels

    return {
        "relu": kernels.relu,
        "silu": kernels.silu,
        "gelu": kernels.gelu,
        "gelu(approximate=tanh)": partial(kernels.gelu, approximate="tanh"),
        "softmax": kernels.softmax,
    }


# library: what has to be installed, its functions; in the order of the page
LIBRARIES: dict[str, tuple[tuple[str, ...], Callable[[], Table]]] = {
    "lossgrad": ((), ours),
    "torch": (("torch",), torch),
    "jax": (("jax",), jax),
    "onnxruntime": (("onnxruntime", "onnx"), onnxruntime),
    "scipy": (("scipy",), scipy),
    "numpy": ((), numpy),
    "sklearn": (("sklearn",), sklearn),
    "numkong": (("numkong",), numkong),
    "simd_ml_kernels": (("simd_ml_kernels",), simd_ml_kernels),
}


def installed() -> dict[str, Table]:
    """The whole table, without the libraries that are not there."""
    return {
        name: functions()
        for name, (modules, functions) in LIBRARIES.items()
        if all(map(importlib.util.find_spec, modules))
    }
