"""What the docstrings of elementwise functions share: said once, and put in by a decorator.

A function's own docstring has what is particular to it: the formula, notes, and an example.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

PARAMETERS = {
    "grad": ("array_like", "Gradient with respect to the result, of the shape of `x`."),
    "x": ("array_like", "Real numbers of any shape."),
    "negative_slope": ("float", "Slope below 0."),
    "alpha": ("float", "Scale of the exponential branch."),
    "beta": ("float", "Sharpness, positive."),
    "approximate": ('{"none", "tanh"}', "The exact function, or its approximation by tanh."),
    "weight": ("array_like", "Slope below 0: one number, or one for each entry along `axis`."),
    "axis": ("int", "The axis that `weight` belongs to, unless it is one number."),
    "lower": ("float", "Least slope below 0."),
    "upper": ("float", "Largest slope below 0."),
    "training": ("bool", "Draw a slope for each element; otherwise use the mean slope."),
    "rng": ("numpy.random.Generator or seed, optional", "Where the slopes are drawn from."),
    "return_slopes": ("bool", "Return the slopes too, which the backward pass takes."),
    "slopes": ("array_like, optional", "The slopes that the forward pass drew."),
    "base": ("float, optional", "Base of the logarithm: None for nats, 2 for bits."),
    "p": ("array_like", "Probabilities of any shape."),
    "out": (
        "ndarray, optional",
        "Array of the result's shape and dtype to write to; may be one of the arguments.",
    ),
    "num_threads": ("int, optional", "As in `set_num_threads`, for this call."),
}


def _parameters(function: Callable[..., Any]) -> str:
    lines = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, text = PARAMETERS[name]
        default = parameter.default
        if default is not inspect.Parameter.empty and default is not None:
            kind = f"{kind}, default {default!r}"
        lines += [f"{name} : {kind}", f"    {text}"]
    return "\n".join(lines)


def complete(function: Function, bound: float) -> Function:
    """Put Parameters, Returns, Raises and the error bound (ULP) before the examples."""
    backward = function.__name__.endswith("_backward")
    what = "Gradient with respect to `x`, of its" if backward else "Of the"
    subject = "The derivative is" if backward else "The result is"
    near = "; where it cancels, in units of the larger term" if backward else ""
    own, examples = inspect.cleandoc(function.__doc__ or "").split("Examples\n--------\n")
    function.__doc__ = "\n".join(
        [
            own.rstrip(),
            "",
            "Parameters\n----------",
            _parameters(function),
            "",
            "Returns\n-------",
            f"ndarray\n    {what} shape and dtype of `x` (float64 for integers and bools);",
            "    of pandas, xarray, dask or polars what NumPy's ufuncs make of them.",
            "",
            "Raises\n------",
            "TypeError\n    If an operand is not real (complex, object, longdouble, ...).",
            "ValueError\n    If shapes do not match or a parameter is out of its range.",
            "",
            "Notes\n-----",
            f"{subject} within {bound:g} ULP of the exact value for every input of float32 and",
            f"float64, subnormal results included{near}; float16 and bfloat16 are computed in",
            "float32 and rounded once.",
            "",
            "Examples\n--------",
            examples.rstrip(),
        ]
    )
    return function


def hints(function: Function) -> Function:
    """Hide `**unknown`, which a function takes for a better error alone, from its signature."""
    found = inspect.signature(function)
    named = [p for p in found.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    function.__signature__ = found.replace(parameters=named)  # type: ignore[attr-defined]
    return function
