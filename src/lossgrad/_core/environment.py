"""NumPy's own arithmetic between kernels, without a trace: no warning, no floating-point flag, and
with subnormal numbers even if the caller flushes them to zero (kernels see to that themselves)."""

from contextlib import ContextDecorator, nullcontext
from types import FunctionType
from typing import Any, Self, TypeVar

import numpy as np

from .backend import kernels

Class = TypeVar("Class", bound=type[Any])


class arithmetic(ContextDecorator):
    """A context (or decorator of a function) for arithmetic of NumPy."""

    def __enter__(self) -> None:
        self.environment: Any = kernels.Environment() if kernels else nullcontext()
        self.errors = np.errstate(all="ignore")
        self.environment.__enter__()
        self.errors.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self.errors.__exit__(*raised)
        self.environment.__exit__(*raised)

    def _recreate_cm(self) -> Self:
        return type(self)()  # decorated functions may call each other


def arithmetic_within(cls: Class) -> Class:
    """Decorate a class whose public methods and properties compute: each is an `arithmetic`."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, FunctionType):
            setattr(cls, name, arithmetic()(member))
        elif isinstance(member, classmethod):
            setattr(cls, name, classmethod(arithmetic()(member.__func__)))
        elif isinstance(member, property) and member.fget is not None:
            setattr(cls, name, property(arithmetic()(member.fget)))
    return cls
