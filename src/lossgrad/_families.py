"""Public functions made of the one that computes an operation, and their documentation."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._core import directions
from ._core.backend import kernels
from ._core.directions import BACKWARD, FORWARD, GRAD_AND_HESS, VALUE_AND_GRAD
from .registry import OPS, Op, element_loss

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


# What a loss of a prediction and what it should be takes, besides parameters of its own.
LOSS_PARAMETERS = {
    "input": ("array_like", "Predictions x of any shape."),
    "target": (
        "array_like",
        "What they should be, t, of the same shape: nothing broadcasts.",
    ),
    "weight": (
        "array_like, optional",
        "Weight w of each element; broadcasts to the shape of `input`.",
    ),
    "reduction": (
        '{"mean", "sum", "none"}',
        "The mean is over all elements, divided by the sum of the weights if there are any.",
    ),
    "axis": (
        "int or tuple of int, optional",
        "One loss a row, the mean along the axis, or axes: the reduction is of these then, and\n"
        "    `sample_weight` has one weight for each; there is no `weight`.",
    ),
    "out": (
        "ndarray, optional",
        'With ``reduction="none"``, the array for the losses; may be one of the arguments.',
    ),
    "sample_weight": (
        "array_like, optional",
        "Finite weights of at least 0: of the shape of `input`, or of its leading axes, one a\n"
        "    row. What has weight 0 is not read.",
    ),
    "num_threads": ("int, optional", "As in `set_num_threads`, for this call."),
}
LOSS_RETURNS = (
    'float or ndarray\n    The reduced loss; with ``reduction="none"`` the losses in the dtype of '
    "`input`, each within\n    {bound:g} ULP of the exact value{near}."
)
LOSS_RAISES = """TypeError
    If an operand is not real.
ValueError
    If the shapes differ, a weight does not broadcast, a sample weight is negative or not finite
    (names the first), or an option is unknown or out of its range."""


@dataclass(frozen=True)
class Example:
    """Arguments as they are written, and what the results are printed as."""

    arguments: str
    value: str
    grad: str
    hess: str


def made(
    compute: directions.Compute,
    name: str,
    example: Example,
    *wanted: int,
    rest: Callable[..., Any] | None = None,
) -> tuple[Callable[..., Any], ...]:
    """The functions of an operation of the registry for some directions."""
    op = next(op for op in OPS if op.name == name)
    functions = [directions.function_of(compute, name, direction, rest) for direction in wanted]
    for function, direction in zip(functions, wanted, strict=True):
        if direction != FORWARD:
            function.__doc__ = documentation(function, op, direction, example)
    return tuple(functions)


def family(
    rest: Callable[..., Any],
    formula: str,
    gradient: str,
    hessian: str,
    example: Example,
    *variants: Mapping[str, Any],
    peers: str = "",
    inputs: tuple[str, ...] = ("real", "real"),
    near: str = "",
    **own: str,
) -> Callable[[directions.Compute], tuple[Callable[..., Any], ...]]:
    """A decorator that makes all functions of a loss, and its row of the registry, of `_name`.

    Its docstring has what is particular to it; `own` says what its own parameters are, `near`
    where the bound is one of another unit.
    """

    def make(compute: directions.Compute) -> tuple[Callable[..., Any], ...]:
        name = compute.__name__.removeprefix("_")
        forward = directions.function_of(compute, name, FORWARD, rest)
        element_loss(formula, gradient, hessian, *variants, peers=peers, inputs=inputs)(forward)
        forward.__doc__ = _of_loss(forward, compute.__doc__ or "", example, own, near)
        return forward, *made(
            compute, name, example, *range(1, len(directions.SUFFIXES)), rest=rest
        )

    return make


def _of_loss(
    function: Callable[..., Any], text: str, example: Example, own: dict[str, str], near: str
) -> str:
    """The forward function's documentation, of the text and of what all losses share."""
    lines, name = [], function.__name__
    for key, parameter in inspect.signature(function).parameters.items():
        kind, said = LOSS_PARAMETERS.get(key) or (type(parameter.default).__name__, own[key])
        has = parameter.default is not None and parameter.default is not parameter.empty
        lines += [
            f"{key} : {kind}"
            + (f", default {parameter.default!r}" if has and key not in LOSS_PARAMETERS else ""),
            f"    {said}",
        ]
    bound = kernels.OPS[name].bound if kernels else 2.0
    return "\n\n".join(
        [
            inspect.cleandoc(text),
            "Parameters\n----------\n" + "\n".join(lines),
            "Returns\n-------\n" + LOSS_RETURNS.format(bound=bound, near=near),
            f"Raises\n------\n{LOSS_RAISES}",
            "Examples\n--------\n>>> import lossgrad\n" + _example(function, FORWARD, example),
        ]
    )


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
    found = f"({results})" if direction > BACKWARD else results
    return f">>> lossgrad.{function.__name__}({first}{example.arguments})\n{found}"
