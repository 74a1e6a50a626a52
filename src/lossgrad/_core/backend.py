"""Which backend computes: the compiled kernels, or the NumPy reference (``kernels`` is None)."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

_EXTENSION = "lossgrad._kernels.crossing"

name = os.environ.get("LOSSGRAD_BACKEND") or "c"
kernels: Any = None

if name not in ("c", "numpy"):
    raise ImportError(f"LOSSGRAD_BACKEND={name!r} is unknown; choose c or numpy")
if name == "c":
    try:
        kernels = importlib.import_module(_EXTENSION)
    except ModuleNotFoundError as error:
        if error.name != _EXTENSION:  # there, but broken
            raise
        if os.environ.get("LOSSGRAD_BACKEND"):
            raise ImportError(
                "LOSSGRAD_BACKEND=c, but the compiled kernels are missing: "
                "install lossgrad without LOSSGRAD_PURE=1"
            ) from None
        warnings.warn(
            "lossgrad's compiled kernels are missing, so its slower NumPy reference is used; "
            "set LOSSGRAD_BACKEND=numpy to choose that without this warning",
            RuntimeWarning,
            stacklevel=3,
        )
        name = "numpy"
    except ValueError as error:  # LOSSGRAD_ISA
        raise ImportError(str(error)) from None
