"""lossgrad: fast, accurate activations and losses for NumPy arrays, forward and backward.

The compiled kernels are used where they are built; LOSSGRAD_BACKEND=numpy selects the pure-NumPy
reference, which has the same functions.
"""

import os as _os
import warnings as _warnings

__version__ = "0.1.0"

_backend = _os.environ.get("LOSSGRAD_BACKEND") or None
if _backend not in (None, "c", "numpy"):
    raise ImportError(f"LOSSGRAD_BACKEND={_backend!r} is unknown; choose c or numpy")
if _backend != "numpy":
    try:
        from . import _kernels as _kernels
    except ModuleNotFoundError:
        if _backend == "c":
            raise ImportError(
                "LOSSGRAD_BACKEND=c, but the compiled kernels are missing; install lossgrad without "
                "LOSSGRAD_PURE=1"
            ) from None
        _warnings.warn(
            "lossgrad's compiled kernels are missing, so its slower NumPy reference is used; "
            "set LOSSGRAD_BACKEND=numpy to choose that without this warning",
            RuntimeWarning,
            stacklevel=2,
        )
        _backend = "numpy"
    else:
        _backend = "c"

if _backend == "c":
    from .activations import *  # noqa: F403
    from .activations import __all__ as _activations
    from .losses import *  # noqa: F403
    from .losses import __all__ as _losses

    __all__ = [*_activations, *_losses]
else:
    from .reference import *  # noqa: F403
    from .reference import __all__ as _reference

    __all__ = [*_reference]

__all__ += ["__version__", "show_config"]  # noqa: PLE0604


def show_config() -> None:
    """Print versions, backend, instruction-set level and threads.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.show_config()  # doctest: +ELLIPSIS
    lossgrad  ...
    """
    import platform

    import numpy

    lines = [
        ("lossgrad", __version__),
        ("numpy", numpy.__version__),
        ("python", platform.python_version()),
        ("backend", _backend),
    ]
    if _backend == "c":
        lines += [
            ("level", _kernels.level()),
            ("available", ", ".join(_kernels.available_levels())),
            ("compiled", ", ".join(_kernels.compiled_levels())),
        ]
    lines.append(("threads", "1"))
    for key, value in lines:
        print(f"{key:9s} {value}")
