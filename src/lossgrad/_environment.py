"""NumPy's own arithmetic between kernels, without a trace: no warning, no floating-point flag, and
with subnormal numbers even if the caller flushes them to zero (kernels see to that themselves)."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from ._backend import kernels


@contextmanager
def arithmetic() -> Iterator[None]:
    """A context (or decorator of a function) for arithmetic of NumPy."""
    with kernels.Environment() if kernels else nullcontext(), np.errstate(all="ignore"):
        yield
