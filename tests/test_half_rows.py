"""out= of float32 for one value a row of half types: as it is computed, not rounded once more."""

import numpy as np
import pytest
from calls import all_calls, bits

from lossgrad.registry import OPS

HALVES = ["float16", "bfloat16"]


def row_calls(rng, dtype):
    """All calls with one value a row, losses with axis= among them."""
    axis = {op.name for op in OPS if op.kind == "loss_elementwise"} & {"kl_div", "mse_loss"}
    for call in all_calls((9, 40), dtype, rng, brief=True):
        if call.function in axis and call.options["reduction"] == "none":
            if "weight" in call.arrays or "sample_weight" in call.arrays:
                continue
            call.options, call.out_like = {**call.options, "axis": -1}, None
        if call.takes_out and call.out_like is None and call.function != "softmax_jacobian":
            yield call


@pytest.mark.parametrize("dtype", HALVES)
def test_values_of_rows_as_they_are_computed(lg, dtype, rng):
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    seen = set()
    for call in row_calls(rng, dtype):
        seen.add(call.function)
        [rounded] = call(lg)
        for step in (1, 2):
            out = np.full(9 * step, np.nan, np.float32)[::step]
            assert getattr(lg, call.function)(**call.arrays, **call.options, out=out) is out
            np.testing.assert_array_equal(bits(out.astype(dtype)), bits(rounded), str(call))
            wide = {
                k: a.astype(np.float32) if a.dtype == dtype else a for k, a in call.arrays.items()
            }
            [want] = call(lg, wide)
            np.testing.assert_allclose(out, want, rtol=2**-20, err_msg=str(call))
    assert seen >= {"cross_entropy", "nll_loss", "logsumexp", "l2_norm", "entropy", "kl_div"}
    assert seen >= {"mse_loss", "relative_entropy", "cross_entropy_of_distributions"}


def test_no_other_type_is_taken(either):
    x, y = np.zeros((3, 4), np.float16), np.zeros(3, np.int64)
    for dtype in (np.float64, np.int32):
        with pytest.raises(TypeError, match="out has dtype"):
            either.cross_entropy(x, y, reduction="none", out=np.empty(3, dtype))
    with pytest.raises(TypeError, match="out has dtype float32"):
        either.softmax(x, out=np.empty((3, 4), np.float32))
    with pytest.raises(TypeError, match="out has dtype float32"):
        either.cross_entropy_backward(1.0, x, y, out=np.empty((3, 4), np.float32))
    x = x.astype(np.float64)
    with pytest.raises(TypeError, match="out has dtype float32"):
        either.cross_entropy(x, y, reduction="none", out=np.empty(3, np.float32))
