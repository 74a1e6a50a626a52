"""The functions for JAX, on the CPU: ``jit``, ``vmap``, ``grad``, over the kernels without a copy.

XLA calls the kernels itself (its foreign function interface), so that nothing of Python runs in a
compiled function. Of the registry there is here what kernels do to arrays alone: the elementwise
functions, ``softmax``, ``log_softmax``, ``logsumexp`` and the losses, each under its name. There
are gradients for the first argument; targets are constants, and there are no second derivatives. A
reduced loss is XLA's sum of the kernels' losses.

Examples
--------
>>> import jax, jax.numpy as jnp, lossgrad.jax
>>> loss = jax.jit(jax.value_and_grad(lossgrad.jax.cross_entropy))
>>> value, gradient = loss(jnp.zeros((2, 4)), jnp.array([3, 0]))
>>> gradient[0]
Array([ 0.125,  0.125,  0.125, -0.375], dtype=float32)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import lossgrad

from . import ctypes as flat
from ._core.arguments import SUPPORTED
from ._core.extras import need
from ._kernels import crossing
from .registry import OPS, Op

jax = need("jax", "jax", "lossgrad.jax")
jnp = jax.numpy

Array = Any
for _name, _handler in crossing._XLA.items():
    jax.ffi.register_ffi_target(_name, _handler, platform="cpu")

# ---- calls ----


def call(target: str, result: tuple[Any, Any], *operands: Array, **attributes: Any) -> Array:
    """What the kernels make of the operands: an array of that shape and dtype."""
    attributes["threads"] = lossgrad.get_num_threads()
    given = {k: np.int64(v) if isinstance(v, int) else v for k, v in attributes.items()}
    made = jax.ffi.ffi_call(
        f"lossgrad_{target}", jax.ShapeDtypeStruct(*result), vmap_method="broadcast_all"
    )
    return made(*operands, **given)


def elements(direction: int, index: int, numbers: tuple[float, ...], *operands: Array) -> Array:
    """An op over elements: operands are the incoming gradient, if backward, and the op's inputs."""
    x = operands[direction]
    of = {"direction": direction, "op": index, "param": np.array([*numbers, 0.0])}
    return call("elements", (x.shape, x.dtype), *operands, **of)


def rows(direction: int, what: int, ignored: int, *operands: Array) -> Array:
    """One of the calls over the rows of x, whose classes lie along the last axis."""
    x = operands[direction]
    by_row = direction == flat.FORWARD and what not in (
        flat.ROWS["softmax"],
        flat.ROWS["log_softmax"],
    )
    shape = x.shape[:-1] if by_row else x.shape
    of = {"direction": direction, "ignore_index": ignored, "what": what}
    return call("rows", (shape, x.dtype), *operands, **of)


def differentiable(run: Callable[..., Array], *static: Any) -> Callable[..., Array]:
    """A function of JAX whose gradient for the first argument is the same call backward."""

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def forward(*inputs: Array) -> Array:
        return run(flat.FORWARD, *static, *inputs)

    def keep(*inputs: Array) -> tuple[Array, tuple[Array, ...]]:
        return forward(*inputs), inputs

    def backward(inputs: tuple[Array, ...], grad: Array) -> tuple[Array, ...]:
        return (run(flat.BACKWARD, *static, grad, *inputs), *[None] * (len(inputs) - 1))

    forward.defvjp(keep, backward)
    return forward


# One function for each call, so that JAX compiles it once.
cached = functools.cache(differentiable)


# ---- functions ----


def real(x: Any) -> Array:
    """An array of a dtype that has kernels; integers become JAX's floats."""
    a = jnp.asarray(x)
    if jnp.issubdtype(a.dtype, jnp.integer) or a.dtype == bool:
        a = a.astype(jnp.result_type(float))
    if a.dtype.name not in SUPPORTED:
        raise TypeError(f"lossgrad.jax has kernels for {', '.join(SUPPORTED)}, got {a.dtype}")
    return a


def form(op: Op, given: dict[str, Any]) -> tuple[int, tuple[float, ...]]:
    """The kernels' op for values of the parameters, and the numbers that it takes.

    A form is named after the parameter that asks for it: gelu_tanh, kl_div_log_target.
    """
    name, numbers = op.name, []
    for parameter, value in given.items():
        if isinstance(value, str):
            name += f"_{value}" if value != "none" else ""
        elif isinstance(value, bool):
            name += f"_{parameter}" if value else ""
        else:
            own = crossing.OPS[name].parameters == 0 and value != op.parameters[parameter]
            name += f"_{parameter}" if own else ""
            numbers.append(float(value))
    row = crossing.OPS[name]
    if row.unit is not None and numbers == [1.0]:  # a form of its own
        row = row.unit
    return flat.OPS[row.name], tuple(numbers[: row.parameters])


def reduced(losses: Array, reduction: str, kept: Any) -> Array:
    """The losses, or their sum or mean over those that are kept."""
    if reduction == "none":
        return losses
    total = jnp.sum(losses, dtype=jnp.promote_types(losses.dtype, jnp.float32))
    return (total if reduction == "sum" else total / kept).astype(losses.dtype)


def of_elements(op: Op) -> Callable[..., Array]:
    """An elementwise function, or a loss of elements."""
    parameters = {k: v for k, v in op.parameters.items() if v is not None}

    def function(*inputs: Any, **options: Any) -> Array:
        given = {**parameters, **options}
        if len(inputs) != len(op.inputs) or given.keys() != parameters.keys():
            takes = [*op.inputs, *parameters]
            raise TypeError(f"lossgrad.jax.{op.name}() takes {', '.join(takes)}")
        probe = (np.full(1, 0.5),) * len(op.inputs)
        getattr(lossgrad, op.name)(*probe, **given)  # it knows what they may be
        reduction = given.pop("reduction", "none")
        x = real(inputs[0])
        others = [jnp.asarray(t).astype(x.dtype) for t in inputs[1:]]
        if any(t.shape != x.shape for t in others):
            raise ValueError(f"targets need the shape of the input, {x.shape}")
        values = cached(elements, *form(op, given))(x, *others)
        return reduced(values, reduction, x.size)

    return function


def of_rows(op: Op) -> Callable[..., Array]:
    """A function over rows, or a loss of rows."""
    what = flat.ROWS[op.name]

    def function(x: Any, *, axis: int = -1) -> Array:
        a = jnp.moveaxis(real(x), axis, -1)
        result = cached(rows, what, 0)(a)
        return jnp.moveaxis(result, -1, axis) if result.ndim == a.ndim else result

    def loss(
        x: Any, labels: Any, *, ignore_index: int = -100, reduction: str = "mean", axis: int = -1
    ) -> Array:
        getattr(lossgrad, op.name)(np.zeros((1, 1)), np.zeros(1, int), reduction=reduction)
        a, y = jnp.moveaxis(real(x), axis, -1), jnp.asarray(labels)
        if y.shape != a.shape[:-1] or not jnp.issubdtype(y.dtype, jnp.integer):
            raise ValueError(
                f"labels of {a.shape} logits are integers of shape {a.shape[:-1]}, "
                f"got {y.dtype} of shape {y.shape}"
            )
        losses = cached(rows, what, int(ignore_index))(a, y)
        return reduced(losses, reduction, jnp.sum(y != ignore_index))

    return loss if op.is_loss else function


def is_here(op: Op) -> bool:
    """Whether the kernels alone do it, of parameters that they know."""
    by_element = op.kind in ("elementwise", "loss_elementwise")
    return op.name in flat.ROWS or (by_element and crossing.OPS[op.name].parameters < 2)


def named(op: Op) -> Callable[..., Array]:
    """The public function of an operation."""
    function = of_rows(op) if op.name in flat.ROWS else of_elements(op)
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = f"`lossgrad.{op.name}` for JAX: {op.formula}. Gradient: {op.gradient}."
    return function


_functions = {op.name: named(op) for op in OPS if is_here(op)}
globals().update(_functions)
__all__ = list(_functions)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Array]: ...
