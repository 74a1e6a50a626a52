"""How an elementwise function is called: usual arrays go to C at once; what NumPy's ufuncs keep
(pandas, xarray, dask, polars, subclasses of arrays) goes to its ufunc; all else is converted."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from ._core import arguments as check
from ._core.backend import kernels
from ._core.documentation import Function, complete
from ._core.environment import arithmetic
from ._kernels import threads

Array = check.Array
OPS = kernels.OPS if kernels else {}
_plain: Any = kernels and kernels.plain_elementwise


def documented(function: Function) -> Function:
    """Complete the docstring of an elementwise function, with its bound from the table in C."""
    name = function.__name__
    op = OPS.get(name.removesuffix("_backward"))
    if op is None:
        return complete(function, math.nan)
    return complete(function, op.derivative_bound if name.endswith("_backward") else op.bound)


def forward(
    name: str, x: ArrayLike, out: Array | None, num_threads: int | None, *parameters: float
) -> Array:
    plain = _plain(name, None, x, out, num_threads, parameters)
    if plain is not None:
        return plain
    if check.is_container(x):
        return by_ufunc(name, (x, *parameters), out, num_threads)
    return mapped(name, None, check.floating(x), None, out, parameters, num_threads)


def backward(
    name: str,
    grad: ArrayLike,
    x: ArrayLike,
    out: Array | None,
    num_threads: int | None,
    *parameters: float,
) -> Array:
    plain = None if grad is None else _plain(name, grad, x, out, num_threads, parameters)
    if plain is not None:
        return plain
    if check.is_container(grad) or check.is_container(x):
        check.known_shapes(grad, x)
        return by_ufunc(f"{name}_backward", (grad, x, *parameters), out, num_threads)
    x = check.floating(x)
    return mapped(name, check.gradient(grad, x), x, None, out, parameters, num_threads)


def fused(
    name: str,
    direction: int,
    x: ArrayLike,
    out: check.Outs,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> tuple[Array, ...]:
    """Several results at once, for an incoming gradient of 1."""
    x = check.floating(x)
    places = check.places(out, direction, x.shape, x.dtype)
    kernels.elementwise(
        OPS[name],
        direction,
        x,
        out=places[0],
        out_grad=places[1],
        out_hess=places[2],
        parameters=parameters,
        num_threads=num_threads,
    )
    return tuple(check.all_finished(places, out, direction))


def by_ufunc(
    name: str,
    operands: tuple[Any, ...],
    out: Any,
    num_threads: int | None,
    base: float | None = None,
) -> Any:
    """The result in what NumPy's ufuncs make of the operands."""
    from . import ufuncs

    function = getattr(ufuncs, name) if base is None else ufuncs.in_base(name, base)
    with arithmetic(), threads.using(num_threads):  # NumPy converts without a warning, too
        return function(*operands, **({} if out is None else {"out": out}))


def mapped(
    name: str,
    grad: Array | None,
    x: Array,
    other: Array | None,
    out: Array | None,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> Array:
    """The result of arrays that have been checked; a gradient if there is one."""
    result = check.output(out, x.shape, x.dtype)
    cross(name, grad, x, other, result, parameters, num_threads)
    return check.finished(result, out)


def cross(
    name: str,
    grad: Array | None,
    x: Array,
    other: Array | None,
    result: Array,
    parameters: tuple[float, ...],
    num_threads: int | None,
) -> None:
    """The same, where it is known where to write."""
    direction = kernels.FORWARD if grad is None else kernels.BACKWARD
    out, slope = (result, None) if grad is None else (None, result)
    kernels.elementwise(
        OPS[name],
        direction,
        x,
        other,
        grad=grad,
        out=out,
        out_grad=slope,
        parameters=parameters,
        num_threads=num_threads,
    )
