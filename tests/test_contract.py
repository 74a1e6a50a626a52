"""The C table, the registry, the reference, the public functions and the stubs say the same; and no
call leaves a trace in the caller's floating-point environment."""

import ast
import ctypes
import inspect
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from calls import all_calls
from conftest import few, kernels

import lossgrad
from lossgrad import (
    activations,
    distributions,
    focal_losses,
    losses,
    norms,
    reference,
    registry,
    regression,
    row_losses,
    softmax_family,
)

OPS = registry.OPS
MODULES = (activations, distributions, focal_losses, losses, norms, regression)
MODULES += (row_losses, softmax_family)
compiled = pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")
ops = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def test_one_set_of_names():
    names = [name for op in OPS for name in op.functions]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(reference.__all__)
    assert sorted(names) == sorted(name for module in MODULES for name in module.__all__)
    assert set(names) <= set(lossgrad.__all__)
    for name in lossgrad.__all__:
        assert hasattr(lossgrad, name), name
    for module in (*MODULES, reference):
        assert module.__all__ == sorted(module.__all__)


@ops
def test_one_signature(op):
    """Names, order, kinds and defaults are those of the registry, in both backends."""
    assert set(op.inputs) <= set(registry.DOMAINS)
    for name in op.functions:
        module = next(module for module in MODULES if name in module.__all__)
        public = inspect.signature(getattr(module, name)).parameters.values()
        twin = inspect.signature(getattr(reference, name)).parameters.values()
        assert [(p.name, p.kind, p.default) for p in public] == [
            (p.name, p.kind, p.default) for p in twin
        ], name
        options = list(public)[len(op.inputs) + name.endswith("_backward") :]
        backward = name.endswith("_backward") and op.backward_parameters is not None
        expected = op.backward_parameters if backward else op.parameters
        assert {p.name: p.default for p in options} == {**expected, **registry.COMMON}, name
        assert (next(iter(public)).name == "grad") == name.endswith("_backward")


@compiled
def test_the_table_in_c():
    table = kernels.OPS
    kinds = ("elementwise", "sloped", "loss_elementwise", "distribution")
    by_element = {op.name: op for op in OPS if op.kind in kinds}
    # rrelu is leaky_relu or prelu; what has a row beside the registry is a form or part of an op
    parts = set(table) - set(by_element)
    assert set(by_element) - set(table) == {"rrelu"}
    assert {name for name in parts if name.rpartition("_")[0] not in by_element} <= {
        "kl_div_log_target"
    }
    for name, op in table.items():
        assert op.name == name
        if name in by_element:
            assert op.is_loss == by_element[name].is_loss, name
            assert op.inputs >= len(by_element[name].inputs), name
        assert 0.5 <= op.bound <= 2, name
        assert 0.5 <= op.derivative_bound <= 2, name


@compiled
def test_rows_have_bounds_in_c():
    stated = kernels.bounds()
    rows = {op.name for op in OPS if op.kind in ("softmax", "loss_rows", "norm")}
    assert set(kernels.ROW_OPS) == rows | {"cross_entropy_soft"}
    assert set(stated) == set(kernels.ROW_OPS) | set(kernels.OPS)
    assert all(0.5 <= bound <= 8 for both in stated.values() for bound in both)


@compiled
def test_stubs_are_the_extension():
    stub = Path(kernels.__file__).with_name("crossing.pyi").read_text()
    body = ast.parse(stub).body
    named = {n.target.id for n in body if isinstance(n, ast.AnnAssign)}
    functions = {n.name: n for n in body if isinstance(n, ast.FunctionDef)}
    classes = {n.name: n for n in body if isinstance(n, ast.ClassDef)}
    for name in {*named, *functions, *classes}:
        assert hasattr(kernels, name), name
    for name, value in vars(kernels).items():
        crossing = callable(value) and getattr(value, "__module__", "") == kernels.__name__
        if crossing and name[0] != "_":
            assert name in functions or name in classes, name
    for name, node in functions.items():
        if node.args.vararg is None:
            given = list(inspect.signature(getattr(kernels, name)).parameters)
            assert [a.arg for a in (*node.args.args, *node.args.kwonlyargs)] == given, name
    for name, node in classes.items():
        for member in node.body:
            said = member.target.id if isinstance(member, ast.AnnAssign) else member.name
            assert hasattr(getattr(kernels, name), said)


# ---- the floating-point environment --------------------------------------------------------------

EXTREMES = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e30, -1e30, 104.0, -104.0, 746.0, -746.0]


def extreme_calls(lg, dtype, rng):
    """Every call on logits that overflow, underflow or have no limit."""
    info = np.finfo(dtype)
    values = np.array(EXTREMES, dtype)
    values = np.append(values, [info.max, info.min, info.tiny, info.smallest_subnormal])
    shapes = [(1,), (40,), (70, 3), (3, 40), (2, 1030)]
    for shape in few(lg, shapes, [(3, 40)]):
        for call in all_calls(shape, dtype, rng, brief=shape != (70, 3)):
            if not call.takes_any_number:
                continue
            key = call.main
            given = {key: rng.choice(values, call.arrays[key].shape).astype(dtype)}
            if "grad" in call.arrays and call.arrays["grad"].ndim:
                given["grad"] = rng.choice(values, call.arrays["grad"].shape).astype(dtype)
            yield call, given


def test_a_call_warns_of_nothing_and_leaves_the_modes_as_found(lg, dtype, rng):
    made = list(extreme_calls(lg, dtype, rng))
    made = few(lg, made, made[dtype == np.float64 :: 2])
    fegetround = (lambda: 0) if sys.platform == "win32" else ctypes.CDLL(None).fegetround
    tiny, rounding = np.full(4, np.finfo(dtype).tiny), fegetround()
    for mode, some in (("raise", made), ("warn", made[::5])):
        with np.errstate(all=mode), warnings.catch_warnings():
            warnings.simplefilter("error")
            before = np.geterr()
            for call, given in some:
                call(lg, given)
                assert np.geterr() == before
                assert fegetround() == rounding, call
                assert (tiny / 4 > 0).all(), call


def test_conversions_do_not_warn_either(lg):
    """float64 targets, weights and gradients that float32 cannot hold."""
    x = np.zeros((2, 3), np.float32)
    huge = np.full((2, 3), 1e300)
    with np.errstate(all="raise"):
        lg.sigmoid_backward(huge, x)
        lg.softmax_backward(huge, x)
        lg.cross_entropy(x, [0, 1], weight=huge[0])
        lg.cross_entropy(x, huge)
        lg.cross_entropy_backward(1e300, x, [0, 1])
        lg.binary_cross_entropy_with_logits_value_and_grad(x, huge, huge, pos_weight=huge)
