"""where=: what is False is not read, on every backend: as if -inf, or as a row that is ignored."""

import itertools
import math

import numpy as np
import pytest
from calls import inputs, same_bits
from conftest import few

from lossgrad.registry import OPS

NAN, INF = math.nan, math.inf
FAMILY = [op for op in OPS if op.kind == "softmax" and "where" in op.parameters]
LOSSES = [op for op in OPS if op.kind == "loss_rows"]
family = pytest.mark.parametrize("op", FAMILY, ids=lambda op: op.name)
losses = pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
KINDS, CLASSES = ["float16", "float32", "float64"], [1, 3, 40, 300]


def cases(lg, op):
    """(kind, number of classes); of the reference, which computes all kinds in float64, one kind
    for each number, by turns."""
    k = OPS.index(op)
    turns = [(KINDS[(k + i) % 3], classes) for i, classes in enumerate(CLASSES)]
    return few(lg, list(itertools.product(KINDS, CLASSES)), turns)


def masked(rng, shape, kind, domain):
    """(numbers, NaN in the places that are not read; with -inf there; which are read)."""
    x = inputs(domain, rng, shape, kind)
    mask = rng.uniform(size=shape) < 0.7
    mask[..., 0] = True
    mask[1] = False
    hidden = np.where(mask, x, np.asarray(NAN, kind))
    return hidden, np.where(mask, x, np.asarray(-INF, kind)), mask


@family
def test_entries_are_as_if_minus_infinity(lg, op, rng):
    forward, backward = getattr(lg, op.name), getattr(lg, f"{op.name}_backward")
    for k, (kind, classes) in enumerate(cases(lg, op)):
        x, lowest, mask = masked(rng, (6, 4, classes), kind, "logits")
        axes = [-1, 1, (1, 2), None]
        for axis in few(lg, axes, axes[k % 2 :: 2]):
            of = f"{kind}, {classes} classes, axis={axis}"
            want = np.asarray(forward(lowest, axis=axis))
            got = np.asarray(forward(x, axis=axis, where=mask))
            same_bits([got], [want], of)
            full = got.shape == x.shape
            grad = rng.normal(size=got.shape).astype(kind)
            shown = np.where(mask, grad, 0).astype(kind) if full else grad
            slope = backward(shown, lowest, axis=axis)
            hidden = np.where(mask, grad, np.asarray(NAN, kind)) if full else grad
            got = backward(hidden, x, axis=axis, where=mask)
            same_bits([got], [np.where(mask, slope, np.zeros((), kind))], f"backward, {of}")
            own = x.copy()
            given = {"axis": axis, "where": mask, "out": own}
            same_bits([backward(hidden, own, **given)], [got], f"in place, {of}")


@family
def test_a_mask_broadcasts(lg, op, dtype, rng):
    x = rng.normal(size=(5, 4, 6)).astype(dtype)
    mask = rng.uniform(size=6) < 0.5
    mask[2] = True
    forward = getattr(lg, op.name)
    same_bits([forward(x, where=mask)], [forward(x, where=np.broadcast_to(mask, x.shape))])
    same_bits([np.asarray(forward(x, where=True))], [np.asarray(forward(x))])


def test_a_row_that_is_not_read(lg, dtype):
    x, none = np.array([[1, NAN], [0, 0]], dtype), np.array([[False], [True]])
    assert np.isnan(lg.softmax(x, where=none)[0]).all()
    assert np.isnan(lg.log_softmax(x, where=none)[0]).all()
    assert lg.logsumexp(x, where=none)[0] == -INF
    for name in ("softmax", "log_softmax"):
        assert not getattr(lg, f"{name}_backward")(x, x, where=none)[0].any()
    assert not lg.logsumexp_backward(np.ones(2, dtype), x, where=none)[0].any()


def test_a_factor_that_is_not_read(lg, dtype, rng):
    x, lowest, mask = masked(rng, (6, 5), dtype, "logits")
    b = rng.uniform(0.5, 2, x.shape).astype(dtype)
    hidden = np.where(mask, b, dtype(NAN))
    same_bits([lg.logsumexp(x, b=hidden, where=mask)], [lg.logsumexp(lowest, b=b)])


@losses
def test_rows_are_left_out_as_by_weight(lg, op, rng):
    for k, (kind, classes) in enumerate(cases(lg, op)):
        x = inputs(op.inputs[0], rng, (7, 3, classes), kind)
        y, s = rng.integers(0, classes, (7, 3)), rng.uniform(0.5, 2, (7, 3))
        mask = rng.uniform(size=(7, 3)) < 0.6
        ways = list(itertools.product(("mean", "sum"), (None, s)))
        for name in op.functions:
            grad = (1.5,) if name.endswith("_backward") else ()
            for reduction, weight in few(lg, ways, ways[k % 4 : k % 4 + 1]):
                zero = np.where(mask, 1 if weight is None else weight, 0)
                options = {"reduction": reduction, "axis": -1}
                want = getattr(lg, name)(*grad, x, y, sample_weight=zero, **options)
                bad = np.where(mask[..., None], x, np.asarray(NAN, kind))
                options["sample_weight"] = None if weight is None else np.where(mask, s, NAN)
                got = getattr(lg, name)(*grad, bad, np.where(mask, y, -7), where=mask, **options)
                pairs = (a if isinstance(a, tuple) else (a,) for a in (got, want))
                for one, other in zip(*pairs, strict=True):
                    of = f"{name}, {kind}, {classes} classes, {reduction}"
                    np.testing.assert_allclose(one, other, rtol=1e-13, err_msg=of)


@losses
def test_entries_of_losses_are_as_if_minus_infinity(lg, op, rng):
    both = getattr(lg, f"{op.name}_value_and_grad")
    for kind, classes in cases(lg, op):
        of = f"{kind}, {classes} classes"
        x, lowest, mask = masked(rng, (8, classes), kind, op.inputs[0])
        y = rng.integers(0, classes, 8)
        mask[1] = True
        mask[np.arange(8), y] = True
        usual = inputs(op.inputs[0], rng, x.shape, kind)
        x = np.where(mask, usual, np.asarray(NAN, kind))
        lowest = np.where(mask, usual, np.asarray(-INF, kind))
        for weight in (None, rng.uniform(0.5, 2, classes).astype(kind)):
            got = both(x, y, weight, reduction="none", where=mask)
            same_bits(got, both(lowest, y, weight, reduction="none"), of)
            assert not got[1][~mask].any(), of
        if op.name == "cross_entropy":
            q = rng.uniform(size=x.shape).astype(kind)
            want = both(lowest, np.where(mask, q, np.zeros((), kind)), reduction="none")
            got = both(x, np.where(mask, q, np.asarray(NAN, kind)), reduction="none", where=mask)
            same_bits(got, want, of)
        at = np.arange(8), y
        mask[at] = False
        loss, slope = both(usual, y, reduction="none", where=mask)
        assert (np.isinf(loss) | np.isnan(loss)).all(), of
        assert not slope[at].any(), of


@pytest.mark.parametrize("op", [*FAMILY, *LOSSES], ids=lambda op: op.name)
def test_masks_that_are_none(lg, op):
    x, y = np.zeros((3, 2)), [np.zeros(3, int)] if op.kind == "loss_rows" else []
    with pytest.raises(TypeError, match="where has dtype int64: use bools"):
        getattr(lg, op.name)(x, *y, where=np.ones((3, 2), np.int64))
    with pytest.raises(ValueError, match="where"):
        getattr(lg, op.name)(x, *y, where=np.ones((2, 2), bool))
