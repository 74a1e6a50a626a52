"""The ONNX project's own examples of the operators that have a counterpart here: other people's
inputs and expected outputs."""

import functools
import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from lossgrad._core import arguments
from lossgrad.registry import OPS

onnx = pytest.importorskip("onnx")


def _unary(name, *attributes):
    return lambda lg, x, **given: getattr(lg, name)(
        x, *(given[a] for a in attributes if a in given)
    )


def _selu(lg, x, alpha=None, gamma=None):
    return lg.selu(x) if alpha is None else np.float32(gamma) * lg.elu(x, alpha)


def _hardsigmoid(lg, x, alpha=0.2, beta=0.5):
    """clip(alpha x + beta, 0, 1), where ours is clip(x / 6 + 1 / 2, 0, 1)."""
    return lg.hardsigmoid((6 * (alpha * x + (beta - 0.5))).astype(x.dtype))


def _prelu(lg, x, slope):
    if slope.ndim == 1:
        return lg.prelu(x, slope, axis=-1)
    return lg.prelu(x.reshape(1, -1), slope.reshape(-1)).reshape(x.shape)


def _swish(lg, x, alpha=1.0):
    return lg.silu((alpha * x).astype(x.dtype)) / x.dtype.type(alpha)


def _logsumexp(lg, x, axes=None, keepdims=1):
    if axes is None or axes.size == 0:  # all
        return lg.logsumexp(x.reshape(-1)).reshape((1,) * x.ndim if keepdims else ())
    return lg.logsumexp(x, axis=int(axes[0]), keepdims=bool(keepdims))


def _cross_entropy(lg, x, labels, weight=None, **options):
    return lg.cross_entropy(x, labels, weight, axis=1, **options), lg.log_softmax(x, axis=1)


def _nll_loss(lg, x, labels, weight=None, **options):
    return lg.nll_loss(x, labels, weight, axis=1, **options)


# operator: (our function, how it is called, the least number of examples that must be run)
OPERATORS = {
    "Sigmoid": ("sigmoid", _unary("sigmoid"), 2),
    "Softmax": ("softmax", _unary("softmax", "axis"), 7),
    "LogSoftmax": ("log_softmax", _unary("log_softmax", "axis"), 7),
    "ReduceLogSumExp": ("logsumexp", _logsumexp, 8),
    "SoftmaxCrossEntropyLoss": ("cross_entropy", _cross_entropy, 34),
    "NegativeLogLikelihoodLoss": ("nll_loss", _nll_loss, 18),
    "Tanh": ("tanh", _unary("tanh"), 2),
    "Relu": ("relu", _unary("relu"), 1),
    "LeakyRelu": ("leaky_relu", _unary("leaky_relu", "alpha"), 3),
    "PRelu": ("prelu", _prelu, 2),
    "Elu": ("elu", _unary("elu", "alpha"), 3),
    "Celu": ("celu", _unary("celu", "alpha"), 1),
    "Selu": ("selu", _selu, 3),
    "Softplus": ("softplus", _unary("softplus"), 2),
    "Softsign": ("softsign", _unary("softsign"), 2),
    "Mish": ("mish", _unary("mish"), 1),
    "Gelu": ("gelu", _unary("gelu", "approximate"), 4),
    "HardSigmoid": ("hardsigmoid", _hardsigmoid, 3),
    "HardSwish": ("hardswish", _unary("hardswish"), 1),
    "Swish": ("silu", _swish, 1),
}
HERE = {op.name for op in OPS}


@functools.cache
def examples():
    """operator: [(name, attributes, inputs, outputs)], of all models of one node."""
    from onnx.backend.test.case import node as package

    found = {name: [] for name in OPERATORS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Modules make their cases when they are imported: only those that name an operator are,
        # since collect_testcases, which imports them all, takes five seconds.
        for source in Path(package.__file__).parent.glob("*.py"):
            if any(f'"{name}"' in source.read_text() for name in OPERATORS):
                importlib.import_module(f"{package.__name__}.{source.stem}")
    for case in package._NodeTestCases:
        node = case.model.graph.node[0] if case.model else None
        if node is None or len(case.model.graph.node) > 1 or node.op_type not in found:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        for inputs, outputs in case.data_sets:
            # Not ours: dtypes to come, and the sum over no class at all.
            if inputs[0].dtype.name in arguments.SUPPORTED and inputs[0].size:
                found[node.op_type].append((case.name, attributes, inputs, outputs))
    return found


@pytest.mark.parametrize("operator", [k for k, (name, *_) in OPERATORS.items() if name in HERE])
def test_examples(lg, operator):
    _, function, least = OPERATORS[operator]
    cases = examples()[operator]
    assert len(cases) >= least
    for name, attributes, inputs, outputs in cases:
        results = function(lg, *inputs, **attributes)
        results = results if isinstance(results, tuple) else (results,)
        assert 1 <= len(outputs) <= len(results)
        for got, want in zip(results, outputs, strict=False):  # log_prob is optional
            want = np.asarray(want)
            assert np.shape(got) == want.shape, name
            half = want.dtype.itemsize == 2
            rtol, atol = (4e-3, 1e-3) if half else (1e-5, 1e-7)
            np.testing.assert_allclose(
                np.asarray(got, np.float64), want.astype(np.float64), rtol, atol, err_msg=name
            )
