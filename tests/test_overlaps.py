"""out= over any array that a call reads, in whole or in part, gives what a new array gives."""

import dataclasses
import itertools

import numpy as np
import pytest
from calls import calls, same_bits, unlike
from conftest import few
from ways import overlapping

from lossgrad import reference
from lossgrad.registry import OPS

SHAPES = [((7,), 0), ((40, 5), 1), ((3, 4, 2), 1)]
KINDS = ["float16", "float64"]
SHIFTS = [0, 1, 16, -1, -5]


def _beyond_the_registry(call):
    """The call, also with what a forward pass has saved for it."""
    yield call
    if call.function == "cross_entropy_backward":
        lse = reference.logsumexp(call.arrays["logits"].astype(np.float64), axis=call.axis)
        yield dataclasses.replace(call, arrays={**call.arrays, "lse": np.asarray(lse)})
    if call.function == "rrelu_backward":
        slopes = np.full_like(call.arrays["x"], 0.25)
        options = {**call.options, "training": True}
        yield dataclasses.replace(call, arrays={**call.arrays, "slopes": slopes}, options=options)


def written(call):
    """Which result is in out=; None if there is none."""
    if call.function == "prelu_backward":
        return 0
    return -1 if call.takes_out else None


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_out_over_every_operand(either, op, rng):
    """Each operand by some shifts, the next one by the others; of the reference, each operation in
    one of the dtypes."""
    checked, turns = 0, itertools.cycle(few(either, [SHIFTS[::2], SHIFTS[1::2]], [[0], [16], [-5]]))
    kinds = few(either, KINDS, [KINDS[OPS.index(op) % 2]])
    for kind, (shape, axis) in itertools.product(kinds, few(either, SHAPES, SHAPES[-1:])):
        made = calls(op, shape, np.dtype(kind), rng, axis, brief=True)
        for plain in few(either, made, unlike(made)):
            for call in _beyond_the_registry(plain):
                want = call(either)
                at = written(call)
                if at is None or want[at].ndim == 0:
                    continue
                for (key, a), shifts in zip(call.arrays.items(), turns, strict=False):
                    for shift in shifts:
                        out, own = overlapping(a, want[at].shape, want[at].dtype, shift)
                        got = call(either, {key: own}, out=out)
                        assert got[at] is out
                        same_bits(got, want, f"out= {shift} after {key}: {call}")
                        checked += 1
    assert checked


@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
def test_out_is_a_weight_of_as_many_classes_as_rows(lg, dtype, function, rng):
    """A weight is read for any row: one that is out itself is not read in step with it."""
    n = 300
    x, w = rng.normal(size=(n, n)).astype(dtype), rng.uniform(0.5, 2, n).astype(dtype)
    y = rng.integers(0, n, n)
    loss = getattr(lg, function)
    want = loss(x, y, w.copy(), reduction="none")
    same_bits([loss(x, y, w, reduction="none", out=w)], [want])


def test_out_over_a_view_with_gaps(either, rng):
    """The extent of an array counts, not its elements alone."""
    m = np.zeros(40)
    x, out = m[1::2].reshape(5, 4), m[:20].reshape(5, 4)
    x[...] = rng.normal(size=x.shape)
    want = either.softmax(x.copy())
    assert either.softmax(x, out=out) is out
    np.testing.assert_array_equal(out, want)
    backwards = m[19::-1].reshape(5, 4)
    backwards[...] = rng.normal(size=x.shape)
    want = either.gelu(backwards.copy())
    np.testing.assert_array_equal(either.gelu(backwards, out=out), want)


def test_a_weight_a_channel_of_one_axis(lg, dtype):
    x, w = np.array([-1.0, 2.0, -3.0], dtype), np.array([0.5, 0.25, 2.0], dtype)
    g = np.array([1.0, 10.0, 100.0], dtype)
    grad_x, grad_weight = lg.prelu_backward(g, x, w, axis=0)
    np.testing.assert_array_equal(grad_x, np.array([0.5, 10, 200], dtype))
    np.testing.assert_array_equal(grad_weight, np.array([-1, 0, -300], dtype))
