"""Arrays of other libraries, and whatever else offers its memory, are read where they lie."""

import array

import numpy as np
import pytest

import lossgrad
from lossgrad._core import arguments


class Exchanged:
    """An array that offers nothing but the exchange protocol."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def is_read_in_place(other, values):
    seen = arguments.floating(other)
    return seen.ctypes.data == values.ctypes.data and np.array_equal(seen, values)


VALUES = np.linspace(-3, 3, 24, dtype=np.float32).reshape(6, 4)
LABELS = np.array([0, 3, 1, 2, -100, 0])
LOSS, GRADIENT = lossgrad.cross_entropy_value_and_grad(VALUES, LABELS)


@pytest.mark.parametrize("other", [Exchanged, memoryview])
def test_read_in_place(other):
    given = other(VALUES)
    assert is_read_in_place(given, VALUES)
    loss, gradient = lossgrad.cross_entropy_value_and_grad(given, LABELS)
    assert loss == LOSS
    assert type(gradient) is np.ndarray
    np.testing.assert_array_equal(gradient, GRADIENT)


def test_standard_library():
    given = array.array("f", VALUES.ravel())
    np.testing.assert_array_equal(lossgrad.sigmoid(given), lossgrad.sigmoid(VALUES.ravel()))


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_torch(dtype):
    torch = pytest.importorskip("torch")
    values = VALUES.astype(dtype)
    logits, labels = torch.from_numpy(values), torch.from_numpy(LABELS)
    assert is_read_in_place(logits, values)
    loss, gradient = lossgrad.cross_entropy_value_and_grad(logits, labels)
    want = torch.nn.functional.cross_entropy(logits.double(), labels)
    assert loss == pytest.approx(float(want), rel=1e-6)
    assert torch.from_numpy(gradient).dtype == logits.dtype
    strided = logits.T.contiguous().T
    assert lossgrad.cross_entropy(strided, labels) == loss
    with pytest.raises(RuntimeError, match="detach"):
        lossgrad.sigmoid(torch.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match="NumPy array"):
        lossgrad.sigmoid(logits, out=logits)


@pytest.mark.peers
def test_jax():
    jax = pytest.importorskip("jax")
    given = jax.numpy.asarray(VALUES)
    assert lossgrad.cross_entropy(given, jax.numpy.asarray(LABELS)) == LOSS
