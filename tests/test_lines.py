"""Elements in lines of a few are walked by columns, in chunks of 512 lines, to the same bits."""

import numpy as np
import pytest
from calls import calls, same_bits
from conftest import LEVELS, kernels
from ways import columns, fortran, gaps, lines, negative

from lossgrad.registry import OPS

LAYOUTS = [columns, fortran, gaps, lines, negative]
OF_ELEMENTS = [op for op in OPS if op.kind in ("elementwise", "sloped", "loss_elementwise")]


KINDS = ["float16", "float32", "float64"]
SHAPES = [(511, 3), (512, 1), (1100, 12), (600, 13), (1, 1030, 2), (2, 600, 2)]


def check(module, call, shape, kind, layout):
    want = call(module)
    laid = {key: layout(a) if a.shape == shape else a for key, a in call.arrays.items()}
    same_bits(call(module, laid), want, f"{layout.__name__} of {call} {shape}")
    if call.takes_out and want[-1].shape == shape:
        out = layout(np.empty(shape, kind))
        same_bits(call(module, laid, out=out)[-1:], want[-1:], f"out: {call} {shape}")


@pytest.mark.parametrize("op", OF_ELEMENTS, ids=lambda op: op.name)
@pytest.mark.parametrize("kind", KINDS)
def test_lines_of_few_elements(vectors, op, kind, rng):
    """In every shape on the widest level; elsewhere in one, another one for each operation: what
    turns lines and cuts them is the same on all. Of each call each shape has another layout, which
    moves on with the kind."""
    turn = OF_ELEMENTS.index(op) + KINDS.index(kind)
    shapes = SHAPES if kernels.level() == LEVELS[-1] else [SHAPES[turn % len(SHAPES)]]
    for shape in shapes:
        first = turn + SHAPES.index(shape)
        for k, call in enumerate(calls(op, shape, np.dtype(kind), rng, 1, brief=True), first):
            if call.op.name != "prelu" or shape[1] > 1:
                check(vectors, call, shape, kind, LAYOUTS[k % len(LAYOUTS)])


def test_every_axis_counts(vectors, rng):
    """Axes are joined where all operands allow it, and nowhere else."""
    x = rng.normal(size=(4, 6, 5, 3))
    for axes in np.ndindex(2, 2, 2):
        cut = x[:, : 6 - axes[0], : 5 - axes[1], : 3 - axes[2]]
        for view in (cut, cut.transpose(2, 0, 1, 3), cut[::-1, :, ::2]):
            np.testing.assert_array_equal(vectors.gelu(view), vectors.gelu(view.copy()))
            total = vectors.mse_loss(view, np.zeros_like(view), reduction="sum")
            assert total == vectors.mse_loss(view.copy(), np.zeros(view.shape), reduction="sum")
