"""Optional libraries, each an extra of the package."""

import importlib
from typing import Any


def need(module: str, extra: str, what: str) -> Any:
    """Import an optional library, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs {module.partition('.')[0]}: pip install 'lossgrad[{extra}]' ({error})"
        ) from None
