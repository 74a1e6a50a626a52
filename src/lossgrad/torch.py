"""The functions as operators of PyTorch, for tensors in the CPU's memory.

Each operation of the registry over elements, over rows, or with a loss is here under its name, with
the parameters of lossgrad's own function (``axis`` is one number): an operator
``torch.ops.lossgrad.NAME`` with a gradient, which ``torch.compile`` takes as it is. Tensors are
read where they lie, bfloat16 too (that needs ml_dtypes), and results are tensors of the memory that
the kernels wrote to. There are gradients for the first argument, and no second derivatives.

Examples
--------
>>> import torch, lossgrad.torch
>>> x = torch.zeros(2, 4, requires_grad=True)
>>> loss = lossgrad.torch.cross_entropy(x, torch.tensor([3, 0]))
>>> loss.backward()
>>> x.grad[0]
tensor([ 0.1250,  0.1250,  0.1250, -0.3750])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import lossgrad

from ._core.extras import need
from .registry import COMMON, OPS, Op

torch = need("torch", "torch", "lossgrad.torch")

Tensor = Any
KINDS = ("elementwise", "softmax", "loss_rows", "loss_elementwise")
OMITTED = {*COMMON, "out", "lse"}
TENSORS = {"weight", "pos_weight", "sample_weight", "where", "b"}  # parameters that are arrays

# ---- memory ----


def to_array(given: Any) -> Any:
    """A tensor's memory as an array; anything else as it is."""
    if not isinstance(given, torch.Tensor):
        return given
    given = given.detach()
    if given.dtype == torch.bfloat16:
        bfloat16 = need("ml_dtypes", "torch", "bfloat16").bfloat16
        return given.view(torch.int16).numpy().view(bfloat16)
    return given.numpy()


def to_tensor(result: Any, like: Tensor) -> Tensor:
    """A tensor of a result's memory; a number becomes one of the dtype of `like`."""
    if isinstance(result, float):
        return torch.tensor(result, dtype=like.dtype)
    array = np.asarray(result)
    if like.dtype == torch.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def saved_arrays(path: Any) -> dict[str, Any]:
    """The tensors in a file of `torch.save` as arrays: by name, by number, or one without either.

    Only tensors and plain containers are read, never code (``weights_only=True``).
    """
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, torch.Tensor):
        return {"": to_array(found)}
    named = found.items() if isinstance(found, dict) else enumerate(found)
    return {str(k): to_array(one) for k, one in named if isinstance(one, torch.Tensor)}


# ---- schemas ----


def argument(name: str, default: Any) -> str:
    """A parameter as a schema of torch has it."""
    if name in TENSORS:
        return f"Tensor? {name}=None"
    if isinstance(default, str):
        return f'str {name}="{default}"'
    if isinstance(default, bool):
        return f"bool {name}={default}"
    if isinstance(default, int):
        return f"int {name}={int(default)}"
    kind = "int?" if name == "axis" else "float?"
    return f"{kind} {name}={default}"


class Bridge:
    """One operation: its operators, what they return, and how the gradient comes back."""

    def __init__(self, op: Op) -> None:
        self.op = op
        given = inspect.signature(getattr(lossgrad, op.name)).parameters
        self.inputs = list(given)[: len(op.inputs)]
        self.parameters = {
            name: p.default
            for name, p in given.items()
            if name not in self.inputs and name not in OMITTED
        }
        self.names = [*self.inputs, *self.parameters]
        self.forward, self.backward = self.crossing(op.name), self.crossing(f"{op.name}_backward")
        self.operator = self.registered(op.name, self.forward, self.fake)
        gradient = self.registered(f"{op.name}_backward", self.backward, self.fake_gradient)
        self.operator.register_autograd(
            partial(self.differentiate, gradient), setup_context=self.save
        )

    def crossing(self, name: str) -> Callable[..., Tensor]:
        """One of lossgrad's functions, from tensors to a tensor."""
        function = getattr(lossgrad, name)
        names = ["grad", *self.names] if name.endswith("_backward") else self.names
        main = names.index(self.inputs[0])

        def call(*args: Any) -> Tensor:
            given = {name: to_array(a) for name, a in zip(names, args, strict=False)}
            if main and args[0].ndim == 0:  # a number is quicker than an array of one
                given["grad"] = args[0].item()
            return to_tensor(function(**given), args[main])

        return call

    def registered(
        self, name: str, call: Callable[..., Tensor], fake: Callable[..., Tensor]
    ) -> Any:
        """The operator of a crossing."""
        inputs = ["grad", *self.inputs] if name.endswith("_backward") else self.inputs
        arguments = [f"Tensor {name}" for name in inputs]
        arguments += [argument(name, default) for name, default in self.parameters.items()]
        schema = f"({', '.join(arguments)}) -> Tensor"
        made = torch.library.custom_op(
            f"lossgrad::{name}", call, mutates_args=(), device_types="cpu", schema=schema
        )
        made.register_fake(fake)
        return made

    # ---- shapes ----

    def fake(self, *args: Any) -> Tensor:
        """What the operator returns, but for its values."""
        given = {**self.parameters, **dict(zip(self.names, args, strict=False))}
        return args[0].new_empty(self.shape(args[0].shape, given))

    def shape(self, of: Sequence[int], given: dict[str, Any]) -> Sequence[int]:
        """The shape of the value for inputs of a shape."""
        if given.get("reduction", "none") != "none":
            return ()
        axis = given.get("axis")
        if axis is None or not (self.op.is_loss or self.op.name == "logsumexp"):
            return of
        axis = int(axis) % len(of)
        kept = [1] if given.get("keepdims") else []
        return [*of[:axis], *kept, *of[axis + 1 :]]

    def fake_gradient(self, grad: Tensor, x: Tensor, *rest: Any) -> Tensor:
        return x.new_empty(x.shape)

    # ---- gradients ----

    def save(self, ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the arguments of the forward pass, which are those of the backward pass."""
        ctx.is_tensor = [isinstance(a, torch.Tensor) for a in inputs]
        ctx.save_for_backward(*[a for a in inputs if isinstance(a, torch.Tensor)])
        ctx.others = [None if isinstance(a, torch.Tensor) else a for a in inputs]

    def differentiate(self, gradient: Callable[..., Tensor], ctx: Any, grad: Tensor) -> Any:
        """The gradient for each argument, by a crossing or an operator."""
        saved = iter(ctx.saved_tensors)
        arguments = zip(ctx.others, ctx.is_tensor, strict=True)
        inputs = [next(saved) if is_tensor else a for a, is_tensor in arguments]
        return (gradient(grad, *inputs), *[None] * (len(inputs) - 1))

    # ---- what is called ----

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        given = {**dict(zip(self.names, args, strict=False)), **options}
        missing = [name for name in self.inputs if name not in given]
        if missing or len(args) > len(self.names) or not given.keys() <= set(self.names):
            raise TypeError(f"{self.op.name}() takes {', '.join(self.names)}")
        for name, a in given.items():
            if name != self.inputs[0] and isinstance(a, torch.Tensor) and a.requires_grad:
                raise ValueError(
                    f"lossgrad.torch.{self.op.name} has a gradient for {self.inputs[0]} alone, "
                    f"but {name} requires one: detach it"
                )
        if torch.compiler.is_compiling():
            return self.operator(**given)
        return Eager.apply(self, *({**self.parameters, **given}[name] for name in self.names))


class Eager(torch.autograd.Function):  # type: ignore[misc, name-defined]
    """The same as the operator, but for the time that calling one takes: a fifth of it."""

    @staticmethod
    def forward(ctx: Any, bridge: Bridge, *args: Any) -> Tensor:
        ctx.bridge = bridge
        output = bridge.forward(*args)
        bridge.save(ctx, args, output)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        bridge = ctx.bridge
        return (None, *bridge.differentiate(bridge.backward, ctx, grad))


def function(op: Op) -> Callable[..., Tensor]:
    """The public function of an operation."""
    bridge = Bridge(op)

    def call(*args: Any, **options: Any) -> Tensor:
        return bridge(*args, **options)

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = f"`lossgrad.{op.name}` of tensors: {op.formula}. Gradient: {op.gradient}."
    return call


_functions = {op.name: function(op) for op in OPS if op.kind in KINDS and op.gradient}
globals().update(_functions)
__all__ = list(_functions)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Tensor]: ...
