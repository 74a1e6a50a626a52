"""Public functions made of the one that computes an operation, and their documentation."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._core import directions
from ._core.backend import kernels
from ._core.directions import BACKWARD, FORWARD, GRAD_AND_HESS, VALUE_AND_GRAD
from .registry import OPS, Op

SUMMARIES = {
    BACKWARD: "Gradient of `{name}` with respect to `{x}`, times `grad`.\n\nIt is {gradient}.",
    VALUE_AND_GRAD: "`{name}` and its gradient with respect to `{x}`, in one pass.",
    GRAD_AND_HESS: (
        "Gradient of `{name}` and the diagonal of its Hessian with respect to `{x}`, in one pass."
    ),
    directions.VALUE_GRAD_AND_HESS: (
        "`{name}`, its gradient and the diagonal of its Hessian with respect to `{x}`, in one pass."
    ),
}
HESSIAN = "The Hessian is {hessian} for g = 1, within {bound:g} ULP; off its\ndiagonal {beside}."
BESIDE = {"loss_rows": "classes of one row have entries, too"}
GRAD = (
    "Gradient with respect to the loss: a number, or an array of the losses' shape with\n"
    "    {none}."
)
PAIR = (
    "Arrays of the shape and dtype of `{x}` for the gradient and for the Hessian, either of which\n"
    "    may be None; may be one of the arguments, but not share memory."
)
RESULTS = {
    "value": "As `{name}`.",
    "grad": "As ``{name}_backward({one}, ...)``.",
    "hess": (
        "The second derivative for each element, of the shape and dtype of `{x}`: of the reduced\n"
        "    loss, so on the scale of `grad`."
    ),
}


@dataclass(frozen=True)
class Example:
    """Arguments as they are written, and what the results are printed as."""

    arguments: str
    value: str
    grad: str
    hess: str


def made(
    compute: directions.Compute, name: str, example: Example, *wanted: int
) -> tuple[Callable[..., Any], ...]:
    """The functions of an operation of the registry for some directions."""
    op = next(op for op in OPS if op.name == name)
    functions = [directions.function_of(compute, name, direction) for direction in wanted]
    for function, direction in zip(functions, wanted, strict=True):
        if direction != FORWARD:
            function.__doc__ = documentation(function, op, direction, example)
    return tuple(functions)


def documentation(function: Callable[..., Any], op: Op, direction: int, example: Example) -> str:
    """What differs from the forward function's, which says the rest."""
    names = list(inspect.signature(function).parameters)
    bound = (kernels.OPS | kernels.ROW_OPS)[op.name].hessian_bound if kernels else math.nan
    given = {
        "name": op.name,
        "x": names[1 if direction == BACKWARD else 0],
        "gradient": f"``{op.gradient}``",
        "hessian": f"``{op.hessian}``",
        "bound": bound,
        "beside": BESIDE.get(op.kind, "all is 0"),
        "none": '``reduction="none"``',
        "one": 1,
    }
    parts = [SUMMARIES[direction].format(**given)]
    if directions.slopes(direction) > 1:
        parts.append(HESSIAN.format(**given))
    parts += [
        "Parameters\n----------\n" + "\n".join(_parameters(names, direction, given)),
        "Returns\n-------\n" + "\n".join(_results(op, direction, given)),
        f"Raises\n------\nTypeError, ValueError\n    As `{op.name}`.",
        "Examples\n--------\n>>> import lossgrad\n" + _example(function, direction, example),
    ]
    return "\n\n".join(parts) + "\n"


def _parameters(names: list[str], direction: int, given: dict[str, Any]) -> list[str]:
    own = {
        "grad": ("array_like", GRAD),
        "out": ("ndarray, optional", "Array of the shape and dtype of `{x}` for the gradient."),
        "num_threads": ("int, optional", "As in `set_num_threads`, for this call."),
    }
    if directions.slopes(direction) > 1:
        own["out"] = ("(ndarray, ndarray), optional", PAIR)
    lines = []
    for key, group in itertools.groupby(names, lambda name: name if name in own else ""):
        kind, text = own.get(key, ("", "As in `{name}`."))
        lines += [", ".join(group) + (f" : {kind}" if kind else ""), f"    {text.format(**given)}"]
    return lines


def _results(op: Op, direction: int, given: dict[str, Any]) -> list[str]:
    if direction == BACKWARD:
        return [f"ndarray\n    Of the shape and dtype of `{given['x']}`."]
    value = "loss : float or ndarray" if op.is_loss else "value : ndarray"
    heads = {"value": value, "grad": "grad : ndarray", "hess": "hess : ndarray"}
    return [f"{heads[key]}\n    {RESULTS[key].format(**given)}" for key in _asked(direction)]


def _asked(direction: int) -> list[str]:
    values = ["value"] if directions.gives_value(direction) else []
    return values + ["grad", "hess"][: directions.slopes(direction)]


def _example(function: Callable[..., Any], direction: int, example: Example) -> str:
    first = "1.0, " if direction == BACKWARD else ""
    results = ", ".join(getattr(example, key) for key in _asked(direction))
    found = results if direction == BACKWARD else f"({results})"
    return f">>> lossgrad.{function.__name__}({first}{example.arguments})\n{found}"
