"""Shapes, axes, layouts and label types that nobody thought of: the compiled functions against the
reference, on every level."""

import numpy as np
import pytest
from calls import calls
from conftest import LEVELS, kernels
from hypothesis import given, settings
from hypothesis import strategies as st

import lossgrad
from lossgrad import reference
from lossgrad.registry import OPS

bounded = settings(max_examples=60, deadline=None, derandomize=True)
SIDE = st.sampled_from([0, 1, 2, 3, 5, 8, 16, 17, 33, 65])


@st.composite
def cases(draw):
    shape = tuple(draw(st.lists(SIDE, min_size=1, max_size=4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    while np.prod(shape) > 5000:
        at = int(np.argmax(shape))
        shape = (*shape[:at], shape[at] // 2, *shape[at + 1 :])
    return shape, axis, draw(st.sampled_from([np.float32, np.float64])), draw(st.integers(0, 2**32))


def relaid(a, rng):
    """The same values in memory in another way."""
    if a.ndim == 0:
        return a
    order = rng.permutation(a.ndim)
    turned = np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
    signs = tuple(slice(None, None, rng.choice([-1, 1])) for _ in a.shape)
    return turned[signs].copy(order="K")[signs]


def with_other_labels(call, rng):
    """Labels as any integer type that holds them."""
    y = call.arrays.get("targets")
    if y is None or y.dtype.kind != "i":
        return {}
    code = rng.choice(list("bhiq" if (y < 0).any() or y.size == 0 else "bBhHiIqQ"))
    return {"targets": y.astype(code)}


@pytest.mark.parametrize("level", LEVELS)
@bounded
@given(cases())
def test_compiled_is_reference(level, case):
    shape, axis, dtype, seed = case
    rng = np.random.default_rng(seed)
    op = OPS[seed % len(OPS)]
    if op.kind not in ("elementwise", "loss_elementwise") and not shape[axis]:
        return
    made = calls(op, shape, dtype, rng, axis)
    call = made[rng.integers(len(made))]
    given_arrays = {
        k: relaid(a, rng) for k, a in {**call.arrays, **with_other_labels(call, rng)}.items()
    }
    before = kernels.level()
    kernels.set_level(level)
    try:
        got = call(lossgrad, given_arrays)
    finally:
        kernels.set_level(before)
    eps = np.finfo(dtype).eps
    # entries that are differences are as good as the larger term, at most the incoming gradient
    largest = max([1.0, *(abs(a).max() for k, a in call.arrays.items() if k == "grad" and a.size)])
    for a, want in zip(got, call(reference), strict=True):
        assert a.dtype == want.dtype
        np.testing.assert_allclose(
            a, want, 10 * eps, 64 * eps * largest, err_msg=f"{level}: {call} {shape} {seed}"
        )
