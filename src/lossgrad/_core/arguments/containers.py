"""What is given as an array: NumPy's own, and containers that say more than their numbers.

A mask or a missing value would be lost in silence by ``np.asarray``: one check refuses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def as_array(x: Any, name: str) -> Array:
    """The numbers of what is given, which must have nothing to say beside them.

    Raises
    ------
    TypeError
        It is sparse, or some of it is masked or missing.
    """
    if type(x) is np.ndarray:
        return x
    _check_complete(x, name)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    a = np.asarray(x)
    if a.dtype == object and a.ndim == 2 and all(kind in "biuf" for kind in _kinds(x)):
        return x.to_numpy(np.float64)  # a table whose columns NumPy has no common type for
    return a


def is_container(x: Any) -> bool:
    """Whether NumPy's ufuncs give back what it is, not an array alone."""
    return type(x) is not np.ndarray and getattr(x, "__array_ufunc__", None) is not None


def _check_complete(x: Any, name: str) -> None:
    if isinstance(x, list | tuple):
        for one in x:
            if isinstance(one, np.ma.MaskedArray):
                _check_complete(one, f"an item of {name}")
    elif isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise TypeError(
                f"{name} is a masked array, whose mask would be lost: "
                f"pass {name}.filled(value) instead"
            )
    elif hasattr(x, "nnz"):
        raise TypeError(
            f"{name} is sparse, a {type(x).__name__}: pass all its numbers, as {name}.toarray()"
        )
    elif _has_missing(x):
        raise TypeError(
            f"{name} has missing values, a {type(x).__name__}: fill them, or leave their rows out"
        )


def _has_missing(x: Any) -> bool:
    """Whether a table or column of Arrow, polars or pandas lacks values (a NaN is a number)."""
    count = getattr(x, "null_count", None)
    if count is not None:  # of a frame of polars, one for each column
        return bool(np.any(np.asarray(count() if callable(count) else count)))
    if hasattr(x, "itercolumns"):
        return any(column.null_count for column in x.itercolumns())
    if not hasattr(x, "isna") or all(isinstance(kind, np.dtype) for kind in _dtypes(x)):
        return False
    return bool(np.asarray(x.isna()).any())


def _dtypes(x: Any) -> list[Any]:
    """The type of each column of a table of pandas; of one column, that of its values."""
    several: Any = getattr(x, "dtypes", None)
    return list(several) if np.ndim(several) == 1 else [getattr(x, "dtype", None)]


def _kinds(x: Any) -> list[str]:
    return [getattr(kind, "kind", "O") for kind in _dtypes(x)]
