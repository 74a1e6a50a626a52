"""What a bug report needs to say of an installation."""

import os
import platform
import sys
import sysconfig

import numpy as np

from .._kernels.threads import get_num_threads
from . import backend

_ASKED = ("LOSSGRAD_BACKEND", "LOSSGRAD_ISA", "LOSSGRAD_NUM_THREADS", "OMP_NUM_THREADS")


def in_use() -> str:
    """The level of the compiled kernels, or the backend that stands in for them."""
    return backend.kernels.level() if backend.kernels else backend.name


def configuration(version: str) -> dict[str, str]:
    """Versions, machine, backend, levels and threads, each under its name."""
    found = {
        "lossgrad": version,
        "numpy": np.__version__,
        "python": _python(),
        "platform": platform.platform(),
        "backend": backend.name,
    }
    if kernels := backend.kernels:
        found["level"] = kernels.level()
        found["available"] = ", ".join(kernels.available_levels())
        found["compiled"] = ", ".join(kernels.compiled_levels())
    found["threads"] = f"{get_num_threads() if backend.kernels else 1} of {os.cpu_count()} CPUs"
    if settings := [f"{name}={os.environ[name]}" for name in _ASKED if name in os.environ]:
        found["settings"] = " ".join(settings)
    return found


def _python() -> str:
    """Version and kind of the interpreter."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        gil = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
        return f"{platform.python_version()} ({sys.implementation.name}, free-threaded, {gil} GIL)"
    return f"{platform.python_version()} ({sys.implementation.name})"
