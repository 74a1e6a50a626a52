"""Gradients are slopes: central differences of the reference in float64 along a random direction,
for every operation and option of the registry on every backend; and the identities that tie the
functions together."""

import dataclasses
import functools

import numpy as np
import pytest
from calls import calls, same_bits
from conftest import few

from lossgrad import reference
from lossgrad.registry import OPS

STEP = 1e-5
SHAPES = [((3, 4), -1), ((4, 3), 0), ((2, 3, 2), 1)]
AT_ONCE = [((4, 9), -1)]  # as many elements, for what has no axis
HESSIANS = [op for op in OPS if op.hessian]


def _doubles(call):
    arrays = {k: a.astype(np.float64) if a.dtype.kind == "f" else a for k, a in call.arrays.items()}
    return dataclasses.replace(call, arrays=arrays)


def _shapes(op):
    return AT_ONCE if op.kind in ("elementwise", "loss_elementwise") else SHAPES


def _some(module, dtype, found):
    """All, or a part for the reference's float32, which is its float64 rounded."""
    return few(module, found, found[:: 3 if dtype == np.float32 else 1])


# Of the reductions of a loss's options, each in another of three shapes, or, without an axis, two
# of three: what makes them is the same for all losses.
APART = {"loss_rows": 3, "loss_elementwise": 2}


def _made(name, ending):
    """[(call in float32, its axis, random numbers)] of one function of an op."""
    op, found = next(op for op in OPS if op.name == name), []
    for k, (shape, axis) in enumerate(_shapes(op), OPS.index(op)):
        rng = np.random.default_rng([*op.name.encode(), *shape])
        made = [
            c for c in calls(op, shape, np.float32, rng, axis) if c.function == op.name + ending
        ]
        apart = APART.get(op.kind, 1)
        found += [(call, axis, rng) for call in made[k % apart :: apart]]
    assert bool(found) == (op.name + ending in op.functions)
    return found


@functools.cache
def slopes(name):
    """[(backward call, [(a direction, the slope along it)] of its gradients)]"""
    return [(call, _slopes(_doubles(call), rng)) for call, _, rng in _made(name, "_backward")]


def _slopes(call, rng):
    arrays = dict(call.arrays)
    grad = arrays.pop("grad")
    forward = dataclasses.replace(
        call, function=call.function.removesuffix("_backward"), arrays=arrays
    )
    count = len(call(reference))  # gradients for as many of the inputs, in order
    result = []
    for key in list(arrays)[:count]:
        x = arrays[key]
        direction = rng.uniform(-1, 1, x.shape)  # along which no wrong entry goes unseen
        step = STEP * direction
        high, low = (forward(reference, {key: end})[0] for end in (x + step, x - step))
        result.append((direction.ravel(), np.sum(grad * (high - low)) / (2 * STEP)))
    return result


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_gradients_are_slopes(lg, dtype, op):
    for call, wanted in _some(lg, dtype, slopes(op.name)):
        gradients = (_doubles(call) if dtype == np.float64 else call)(lg)
        for got, (direction, want) in zip(gradients, wanted, strict=True):
            got = got.astype(np.float64).ravel()
            room = (1e-8 if dtype == np.float64 else 2e-6) * max(1.0, abs(got).sum())
            assert abs(direction @ got - want) <= room, str(call)


@functools.cache
def curvatures(name):
    """[(call, the slopes of its gradient, element by element)]"""
    made = _made(name, "_grad_and_hess")
    return [(call, _curvatures(_doubles(call), axis)) for call, axis, _ in made]


def _curvatures(call, axis):
    key, x = next(iter(call.arrays.items()))
    name, found = call.op.name, np.full_like(x, np.nan)
    ones = np.ones_like(dataclasses.replace(call, function=name)(reference)[0])
    gradient = dataclasses.replace(
        call, function=f"{name}_backward", arrays={"grad": ones, **call.arrays}
    )
    for part in _apart(call.op, x, axis):
        step = np.zeros_like(x)
        step[part] = STEP
        high, low = (gradient(reference, {key: end})[0] for end in (x + step, x - step))
        found[part] = (high - low)[part] / (2 * STEP)
    return found


@pytest.mark.parametrize("op", HESSIANS, ids=lambda op: op.name)
def test_hessians_are_slopes_of_gradients(lg, dtype, op):
    """Element by element, and for the reduced loss as for each."""
    for call, want in _some(lg, dtype, curvatures(op.name)):
        got = (_doubles(call) if dtype == np.float64 else call)(lg)[1]
        room = (1e-8 if dtype == np.float64 else 2e-6) * max(1.0, abs(got).max())
        assert (abs(got - want) <= room).all(), str(call)


def _apart(op, x, axis):
    """Elements of which none is in another's gradient: all, or one class of each row."""
    if op.kind != "loss_rows":
        return [...]
    return [(slice(None),) * (axis % x.ndim) + (c,) for c in range(x.shape[axis])]


@pytest.mark.parametrize("op", [op for op in OPS if len(op.functions) > 2], ids=lambda op: op.name)
def test_fused_is_forward_and_backward(lg, dtype, op, rng):
    """Bit for bit, with an incoming gradient of 1."""
    shapes = [((5, 7), 1), ((70, 3), 1), ((4, 600), 1), ((3, 5, 2), 1)]
    for shape, axis in few(lg, shapes, shapes[-1:]):
        known = {}
        made = calls(op, shape, dtype, rng, axis, brief=few(lg, shape != (5, 7), False))
        made = [call for call in made if call.function.endswith(("_and_grad", "_and_hess"))]
        # of the reference all functions of a seventh of the arguments, others for each dtype
        count, first = len({call.function for call in made}), int(dtype == np.float64)
        some = [call for k, call in enumerate(made) if k // count % 7 == first]
        for fused in few(lg, made, some):
            results = fused(lg)
            value = _once(known, lg, fused, op.name)
            if "_value" in fused.function:
                same_bits(results[:1], value, str(fused))
            ones = np.ones(value[0].shape, dtype)
            backward = _once(known, lg, fused, f"{op.name}_backward", {"grad": ones})
            grad = results[1 if "_value" in fused.function else 0]
            same_bits([grad], backward, str(fused))
            if fused.gives_hessian:
                both = _once(known, lg, fused, f"{op.name}_grad_and_hess")
                same_bits(results[-2:], both, str(fused))


def _once(known, module, call, function, more=None):
    """What another function makes of the call's arguments, which several calls share."""
    key = function, repr(call.options), *map(id, call.arrays.values())
    if key not in known:
        known[key] = dataclasses.replace(call, function=function)(module, more)
    return known[key]


def test_saved_lse_gives_the_same_gradient(lg, dtype, rng):
    x, y = rng.normal(size=(50, 9)).astype(dtype) * 5, rng.integers(0, 9, 50)
    q, w = rng.random(x.shape).astype(dtype), rng.uniform(0.5, 2, 9).astype(dtype)
    for targets, options in (
        (y, {}),
        (y, {"weight": w, "label_smoothing": 0.2}),
        (q, {"weight": w}),
    ):
        lse = np.empty(50)
        lg.cross_entropy(x, targets, lse=lse, **options)
        np.testing.assert_allclose(lse, lg.logsumexp(x), rtol=4 * np.finfo(dtype).eps)
        got = lg.cross_entropy_backward(1.0, x, targets, lse=lse, **options)
        want = lg.cross_entropy_backward(1.0, x, targets, **options)
        np.testing.assert_allclose(got, want, rtol=0, atol=8 * np.finfo(dtype).eps / 10)


def test_identities(lg, dtype, rng):
    eps = np.finfo(dtype).eps
    x, y = rng.normal(size=(40, 9)).astype(dtype) * 3, rng.integers(0, 9, 40)
    p, rows = lg.softmax(x), np.arange(40)
    near = functools.partial(np.testing.assert_allclose, rtol=32 * eps, atol=8 * eps)
    near(p, np.exp(lg.log_softmax(x)))
    near(lg.log_softmax(x), x - lg.logsumexp(x, keepdims=True))
    near(p.sum(axis=1), np.ones(40))
    near(lg.cross_entropy(x, y, reduction="none"), -lg.log_softmax(x)[rows, y])
    near(lg.logsumexp_backward(np.ones(40, dtype), x), p)
    jacobian = [lg.softmax_backward(np.tile(e, (40, 1)), x) for e in np.eye(9, dtype=dtype)]
    for j, column in enumerate(jacobian):
        near(column, p * (np.eye(9)[j] - p[:, [j]]))
    chain = lg.log_softmax_backward(-np.eye(9, dtype=dtype)[y], x)
    near(lg.cross_entropy_backward(1.0, x, y, reduction="sum"), chain)
    near(chain.sum(axis=1), np.zeros(40))
    # two classes are the binary case
    z, t = x[:, 0], y % 2
    pairs = np.stack([np.zeros_like(z), z], axis=1)
    near(lg.softmax(pairs)[:, 1], lg.sigmoid(z))
    binary = lg.binary_cross_entropy_with_logits(z, t, reduction="none")
    near(lg.cross_entropy(pairs, t, reduction="none"), binary)
    slope = lg.binary_cross_entropy_with_logits_backward(1.0, z, t)
    near(lg.cross_entropy_backward(1.0, pairs, t)[:, 1], slope)
