"""lossgrad.torch: operators of PyTorch with lossgrad's own bits, and gradients that are true."""

import sys

import numpy as np
import pytest

import lossgrad
from lossgrad.registry import OPS

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
bridge = pytest.importorskip("lossgrad.torch")

NAMES = [op for op in OPS if op.name in bridge.__all__]
every = pytest.mark.parametrize("op", NAMES, ids=lambda op: op.name)
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def arguments(op, dtype, shape=(6, 5)):
    """Numbers in (0, 1), which are in every domain, and targets."""
    generator = torch.Generator().manual_seed(7)
    x = (torch.rand(shape, generator=generator) * 0.8 + 0.1).to(dtype)
    if op.kind == "loss_rows":
        return [x, torch.tensor([0, 4, -100, 2, 1, 3])]
    if "binary labels" in op.inputs:
        return [x, (x.flip(0) > 0.5).to(dtype)]
    return [x, x.flip(0).clone()] if op.is_loss else [x]


def options(op):
    """Each set of options: reductions, and other values of parameters."""
    ways = [{}, *map(dict, op.variants)]
    return [*ways, {"reduction": "sum"}, {"reduction": "none"}] if op.is_loss else ways


def bits(a):
    return np.asarray(bridge.to_array(a) if isinstance(a, torch.Tensor) else a).tobytes()


def test_what_there_is():
    missing = {op.name for op in OPS if op.gradient} - set(bridge.__all__)
    assert {op.kind for op in OPS if op.name in missing} <= {"sloped", "distribution", "norm"}


@pytest.mark.parametrize("dtype", DTYPES)
@every
def test_bits_are_lossgrads(op, dtype):
    for given in options(op):
        args = arguments(op, getattr(torch, dtype))
        arrays = [bridge.to_array(a) for a in args]
        x = args[0].requires_grad_()
        value = getattr(bridge, op.name)(*args, **given)
        want = getattr(lossgrad, op.name)(*arrays, **given)
        if isinstance(want, float):
            want = torch.tensor(want, dtype=x.dtype)
        assert bits(value) == bits(want), given
        assert value.dtype == x.dtype
        ones = torch.ones_like(value)
        value.backward(ones)
        upstream = bridge.to_array(ones) if value.ndim else 1.0
        want = getattr(lossgrad, f"{op.name}_backward")(upstream, *arrays, **given)
        assert bits(x.grad) == bits(want), given


@every
def test_gradcheck(op):
    for given in options(op):
        x, *others = arguments(op, torch.float64)
        function = getattr(bridge, op.name)
        x.requires_grad_()
        assert torch.autograd.gradcheck(lambda x, f=function, o=others, g=given: f(x, *o, **g), x)


@every
@pytest.mark.filterwarnings("ignore")
def test_operators_are_what_torch_expects(op):
    """Schema, shapes of fake tensors, autograd and tracing, by torch's own test."""
    for given in options(op):
        args = arguments(op, torch.float32)
        args[0].requires_grad_()
        torch.library.opcheck(getattr(torch.ops.lossgrad, op.name).default, args, given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_without_a_break(backend):
    def step(x, y):
        return bridge.cross_entropy(bridge.gelu(x) * 2, y, label_smoothing=0.1)

    x, y = arguments(OPS_BY_NAME["cross_entropy"], torch.float32)
    results = []
    for run in (step, torch.compile(step, fullgraph=True, backend=backend)):
        z = x.clone().requires_grad_()
        loss = run(z, y)
        loss.backward()
        results.append((loss.detach(), z.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


OPS_BY_NAME = {op.name: op for op in NAMES}


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_copies(dtype):
    x = torch.rand(3, 4).to(getattr(torch, dtype))
    for view in (x, x.T, x[::2, 1:], x[0]):
        assert bridge.to_array(view).ctypes.data == view.data_ptr()
        array = bridge.to_array(view)
        assert bridge.to_tensor(array, x).data_ptr() == view.data_ptr()
        assert array.shape == tuple(view.shape)
        assert bits(bridge.sigmoid(view)) == lossgrad.sigmoid(array).tobytes()


def test_small_gradients_of_halves_are_scaled_first():
    """A mean over many rows, times the scale of a loss: no gradient is rounded to 0 before."""
    x = torch.zeros(40_000, 4, dtype=torch.float16, requires_grad=True)
    y = torch.zeros(40_000, dtype=torch.int64)
    (bridge.cross_entropy(x, y) * 32768).backward()
    want = torch.tensor([-0.75, 0.25, 0.25, 0.25], dtype=torch.float16) * (32768 / 40_000)
    torch.testing.assert_close(x.grad[7], want, rtol=1e-3, atol=0)


def test_errors():
    x = torch.zeros(2, 3, requires_grad=True)
    with pytest.raises(IndexError, match=r"label 5 in row 1 is outside \[0, 3\)"):
        bridge.cross_entropy(x, torch.tensor([0, 5]))
    with pytest.raises(TypeError, match="softmax\\(\\) takes x, axis"):
        bridge.softmax(x, dim=1)
    with pytest.raises(ValueError, match="target requires one: detach it"):
        bridge.mse_loss(x, torch.zeros(2, 3, requires_grad=True))
    loss = bridge.cross_entropy(x, torch.tensor([0, 1]))
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):  # no second derivative
        torch.autograd.grad(first.sum(), x)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "lossgrad.torch")
    with pytest.raises(
        ImportError, match=r"lossgrad.torch needs torch: pip install 'lossgrad\[tor"
    ):
        import lossgrad.torch  # noqa: F401
