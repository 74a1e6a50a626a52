"""kl_div and mse_loss with axis=: one loss a row, on every backend."""

import numpy as np
import pytest
from calls import inputs, same_bits
from conftest import few

from lossgrad.registry import OPS

LOSSES = [op for op in OPS if op.kind == "loss_elementwise" and "axis" in op.parameters]
losses = pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.name)
KINDS = ["float16", "float32", "float64"]
kinds = pytest.mark.parametrize("kind", KINDS)
AXES = [-1, 0, 1, (0, 2), (1, 2)]
SHAPE = (4, 3, 5)
BOUND = {"float16": 2e-3, "float32": 5e-7, "float64": 1e-15}


def close(got, want, kind):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    np.testing.assert_allclose(got, want, rtol=BOUND[kind], atol=BOUND[kind] * abs(want).max())


def operands(op, rng, kind):
    x = inputs(op.inputs[0], rng, SHAPE, kind) / np.asarray(4, kind)
    t = rng.uniform(0.1, 1, SHAPE)
    return x, (t.round() if "binary labels" in op.inputs else t).astype(kind)


def reduced(op, terms, axis):
    """The rows' losses, and how many elements share one."""
    rows = terms.sum(axis) if op.name == "kl_div" else terms.mean(axis)
    return rows, 1 if op.name == "kl_div" else terms.size // rows.size


@losses
@kinds
def test_a_loss_for_each_row(lg, op, kind, rng):
    """On every axis, but for the reference, which has another one for each loss and kind."""
    turn = LOSSES.index(op) + KINDS.index(kind)
    for axis in few(lg, AXES, [AXES[turn % len(AXES)]]):
        check(lg, op, kind, axis, rng)


def check(lg, op, kind, axis, rng):
    x, t = operands(op, rng, kind)
    loss_of, slope_of, both = (getattr(lg, name) for name in op.functions[:3])
    terms = loss_of(x.astype(np.float64), t.astype(np.float64), reduction="none")
    slopes = both(x.astype(np.float64), t.astype(np.float64), reduction="none")[1]
    rows, share = reduced(op, terms, axis)
    got, own = both(x, t, axis=axis, reduction="none")
    assert got.dtype == own.dtype == kind
    close(got, rows, kind)
    close(own, slopes / share, kind)
    same_bits([loss_of(x, t, axis=axis, reduction="none")], [got])
    out = np.empty_like(got)
    assert loss_of(x, t, axis=axis, reduction="none", out=out) is out
    same_bits([out], [got])
    grad = rng.normal(size=rows.shape).astype(kind)
    keepdims = np.sum(x, axis=axis, keepdims=True).shape
    want = grad.reshape(keepdims).astype(np.float64) * slopes / share
    close(slope_of(grad, x, t, axis=axis, reduction="none"), want, kind)
    for reduction, divisor in (("sum", 1), ("mean", rows.size), ("batchmean", SHAPE[0])):
        if reduction == "batchmean" and op.name != "kl_div":
            continue
        loss, own = both(x, t, axis=axis, reduction=reduction)
        close(loss, rows.sum() / divisor, kind)
        close(own, slopes / share / divisor, kind)
        assert loss == loss_of(x, t, axis=axis, reduction=reduction)
        close(slope_of(2.0, x, t, axis=axis, reduction=reduction), 2 * own, kind)


@kinds
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_rows_have_weights(lg, kind, axis, rng):
    op = next(op for op in LOSSES if op.name == "mse_loss")
    x, t = operands(op, rng, kind)
    each, slopes = lg.mse_loss_value_and_grad(x, t, axis=axis, reduction="none")
    each, slopes = each.astype(np.float64), slopes.astype(np.float64)
    s = rng.uniform(0.5, 2, each.shape)
    s.flat[0] = 0
    wide = s.reshape(np.sum(x, axis=axis, keepdims=True).shape)
    x[np.broadcast_to(wide == 0, SHAPE)] = np.nan
    options = {"axis": axis, "sample_weight": s}
    loss, slope = lg.mse_loss_value_and_grad(x, t, reduction="none", **options)
    close(loss, s * each, kind)
    close(slope, wide * slopes, kind)
    for reduction, divisor in (("sum", 1), ("mean", s.sum())):
        loss, slope = lg.mse_loss_value_and_grad(x, t, reduction=reduction, **options)
        close(loss, (s * each).sum() / divisor, kind)
        close(slope, wide * slopes / divisor, kind)


def test_weights_of_elements_and_of_rows_do_not_mix(lg):
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="with axis= a loss is a row's"):
        lg.mse_loss(x, x, np.ones((3, 2)), axis=1)
    with pytest.raises(ValueError, match=r"sample_weight has shape \(2,\)"):
        lg.mse_loss(x, x, axis=1, sample_weight=np.ones(2))
