"""What a call gives: a value, a gradient, a Hessian's diagonal; and functions that ask for them.

An operation is computed by one function of (direction, incoming gradient, *arguments), which
returns a tuple of what the direction asks for. Its public functions are made of that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

# As lossgrad.h numbers them, and what the names of the functions end in.
FORWARD, BACKWARD, VALUE_AND_GRAD, GRAD_AND_HESS, VALUE_GRAD_AND_HESS = range(5)
SUFFIXES = ("", "_backward", "_value_and_grad", "_grad_and_hess", "_value_grad_and_hess")
RESULTS = (
    "The value",
    "grad times the gradient",
    "The value and the gradient",
    "The gradient and the diagonal of the Hessian",
    "The value, the gradient and the diagonal of the Hessian",
)

Compute = Callable[..., tuple[Any, ...]]


def gives_value(direction: int) -> bool:
    return direction % 2 == 0


def slopes(direction: int) -> int:
    """How many: none, the gradient, or it and the Hessian."""
    return (direction + 1) // 2


def function_of(
    compute: Compute, name: str, direction: int, rest: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The public function of an operation that asks for a direction.

    What compute takes as ``**options`` are the keywords of the function it gives them to, `rest`.
    """
    first = (direction,) if direction == BACKWARD else (direction, None)
    alone = direction in (FORWARD, BACKWARD)

    def function(*arguments: Any, **options: Any) -> Any:
        results = compute(*first, *arguments, **options)
        return results[0] if alone else results

    found = inspect.signature(compute)
    own = [p for p in found.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shared = inspect.signature(rest).parameters.values() if rest else []
    own += [p for p in shared if p.kind is p.KEYWORD_ONLY]
    function.__name__ = function.__qualname__ = name + SUFFIXES[direction]
    function.__module__ = compute.__module__
    function.__doc__ = f"{RESULTS[direction]} of ``{name}``."
    function.__signature__ = found.replace(parameters=own[len(first) :])  # type: ignore[attr-defined]
    return function
