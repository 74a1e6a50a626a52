"""Several class axes, all, or none: as one axis of the same elements, on every backend."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
from calls import inputs, same_bits
from conftest import few

import lossgrad
from lossgrad.registry import OPS

FAMILY = [
    op for op in OPS if op.kind in ("softmax", "distribution") and op.name != "softmax_jacobian"
]
family = pytest.mark.parametrize("op", FAMILY, ids=lambda op: op.name)
SHAPE = (3, 4, 2, 5)
KINDS = ["float16", "float32", "float64"]
AXES = [None, (), (1,), (1, 2), (2, 1), (0, 3), (-1, 0, 2), (0, 1, 2, 3)]


def merged(a, axes):
    """The axes as one, the last, of an array whose axes they are."""
    rest = [k for k in range(a.ndim) if k not in axes]
    return a.transpose(*rest, *axes).reshape(*(a.shape[k] for k in rest), -1)


def split(a, axes):
    rest = [k for k in range(len(SHAPE)) if k not in axes]
    order = [*rest, *axes]
    return a.reshape([SHAPE[k] for k in order]).transpose(np.argsort(order))


def results(given):
    return [np.asarray(a) for a in (given if isinstance(given, tuple) else (given,))]


def cases(lg, op):
    """(number, axis, kind); of the reference, which computes all kinds in float64, one kind for
    each axis, by turns."""
    k = OPS.index(op)
    every = [(i, axis, kind) for i, axis in enumerate(AXES) for kind in KINDS]
    return few(lg, every, [(i, axis, KINDS[(k + i) % 3]) for i, axis in enumerate(AXES)])


@family
def test_several_axes_are_one(lg, op, rng):
    forward, backward = getattr(lg, op.name), getattr(lg, f"{op.name}_backward")
    for k, axis, kind in cases(lg, op):
        axes, of = sorted(n % 4 for n in (range(4) if axis is None else axis)), f"{axis}, {kind}"
        arrays = [inputs(domain, rng, SHAPE, kind) for domain in op.inputs]
        rows = [merged(a, axes) for a in arrays]
        values = np.asarray(forward(*rows))
        keeps = values.shape == rows[0].shape
        want = split(values, axes) if keeps else values
        same_bits([np.asarray(forward(*arrays, axis=axis))], [want], of)
        grad = rng.normal(size=values.shape).astype(kind)
        slopes = results(backward(grad, *rows))
        own = split(grad, axes) if keeps else grad
        got = results(backward(own, *arrays, axis=axis))
        same_bits(got, [split(a, axes) for a in slopes], f"backward, {of}")
        for order in few(lg, "CF", "CF"[k % 2]):
            out = np.zeros_like(arrays[0] if keeps else values, order=order)
            assert forward(*arrays, axis=axis, out=out) is out
            same_bits([out], [want], f"to out, {of}")


@family
def test_the_input_may_be_written_to(lg, op, dtype, rng):
    """In place, whether the merged axes are a view of it or a copy."""
    if len(op.inputs) > 1 or op.name == "logsumexp":
        return
    backward = getattr(lg, f"{op.name}_backward")
    x = inputs(op.inputs[0], rng, SHAPE, dtype)
    for axis in ((1, 2), (0, 3)):
        grad = rng.normal(size=np.shape(getattr(lg, op.name)(x, axis=axis))).astype(dtype)
        want, own = backward(grad, x, axis=axis), x.copy()
        assert backward(grad, own, axis=axis, out=own) is own
        same_bits([own], [want], f"{op.name}, {axis}")


def test_keepdims_keeps_every_axis(lg, dtype, rng):
    x = rng.normal(size=SHAPE).astype(dtype)
    for axis in AXES:
        got = lg.logsumexp(x, axis=axis, keepdims=True)
        assert np.shape(got) == np.sum(x, axis=axis, keepdims=True).shape
        same_bits([np.reshape(got, -1)], [np.reshape(lg.logsumexp(x, axis=axis), -1)])
        ones = np.ones_like(lg.logsumexp(x, axis=axis))
        slope = lg.logsumexp_backward(np.ones_like(got), x, axis=axis, keepdims=True)
        same_bits([slope], [lg.logsumexp_backward(ones, x, axis=axis)])


def test_a_number_is_one_class(lg, dtype):
    x = dtype(3)
    for axis in (-1, 0, None, ()):
        assert lg.softmax(x, axis=axis) == 1
        assert lg.softmin(x, axis=axis) == 1
        assert lg.log_softmax(x, axis=axis) == 0
        assert lg.logsumexp(x, axis=axis) == 3
        assert lg.entropy(dtype(1), axis=axis) == 0
        assert lg.logsumexp_backward(dtype(2), x, axis=axis) == 2
        assert lg.softmax_backward(dtype(2), x, axis=axis) == 0
        assert type(lg.softmax(x, axis=axis)) is dtype
    assert math.isnan(lg.softmax(dtype(-math.inf)))


def test_as_scipy_has_it(lg, dtype, rng):
    x = rng.normal(size=SHAPE).astype(dtype)
    for axis in (None, (1, 2), (0, 3)):
        for name in ("softmax", "log_softmax", "logsumexp"):
            want = getattr(scipy.special, name)(x.astype(np.float64), axis=axis)
            got = getattr(lg, name)(x, axis=axis)
            np.testing.assert_allclose(got, want, rtol=2e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_an_axis_that_is_given_is_never_ambiguous(lg, name, rng):
    x, y = rng.normal(size=(4, 3, 3)), rng.integers(0, 3, (4, 3))
    last, other = (getattr(lg, name)(x, y, axis=axis) for axis in (-1, 1))
    assert last == getattr(lg, name)(x.reshape(12, 3), y.reshape(12))
    assert other == getattr(lg, name)(np.moveaxis(x, 1, 2).copy(), y, axis=-1) != last
    square = rng.normal(size=(3, 3))  # rows, then classes
    assert getattr(lg, name)(square, [0, 1, 1]) == getattr(lg, name)(square, [0, 1, 1], axis=1)


def test_the_same_of_evaluations(rng):
    x, y = rng.normal(size=(4, 3, 3)), rng.integers(0, 3, (4, 3))
    with pytest.raises(lossgrad.InputError, match="axis=1 or axis=2"):
        lossgrad.evaluate(x, y)
    assert lossgrad.evaluate(x, y, axis=1) != lossgrad.evaluate(x, y, axis=-1)


@pytest.mark.parametrize(("ndim", "axis"), [(n, k) for n in (2, 3, 4) for k in range(n)])
def test_distributions_in_any_order_of_memory(vectors, dtype, rng, ndim, axis):
    """Targets of every layout stand beside logits of every layout, row by row."""
    shape = (3, 5, 4, 2)[:ndim]
    logits, targets = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    targets = vectors.softmax(targets, axis=axis)
    both = vectors.cross_entropy_value_and_grad
    want = both(logits, targets, axis=axis, reduction="none")
    orders = [*itertools.permutations(range(ndim))]
    for x_order, t_order in zip(orders, orders[::-1], strict=True):
        x, t = (
            np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
            for a, order in ((logits, x_order), (targets, t_order))
        )
        for pair in ((x, t), (logits, t), (x, targets)):
            found = both(*pair, axis=axis, reduction="none")
            same_bits(found, want, f"{x_order} {t_order}")
