"""Columns of numbers, or of lists of one length, as rows: what Arrow and Parquet share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.guard import as_file_errors
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.problems import FileError


def list_width(
    path: Path, column: str, kind: Any, batches: Callable[[], Iterator[Any]], rows: int
) -> int | None:
    """The length of the lists, None for plain numbers."""
    types = need("pyarrow", "arrow", "a column").types
    if types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return None
    if rows == 0:
        raise FileError(path, f"{column} holds no values")
    with as_file_errors(path, "a table"):
        first = next(batches())
        return len(first[0])


def column_rows(
    path: Path,
    column: str,
    kind: Any,
    batches: Callable[[], Iterator[Any]],
    rows: int,
    width: int | None,
) -> Rows:
    """The rows of a column, which `batches` gives piece by piece."""
    value = kind if width is None else kind.value_type
    try:
        dtype = np.dtype(value.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype(object)
    if dtype.kind not in "biuf":
        raise FileError(path, f"{column} has type {kind}: numbers, or lists of numbers, are needed")
    shape = (rows,) if width is None else (rows, width)

    def pieces() -> Iterator[NDArray[Any]]:
        row = 0
        with as_file_errors(path, "a table"):
            for batch in batches():
                yield _numbers(path, column, batch, row, width, dtype)
                row += len(batch)
        raise FileError(path, f"changed while it was read: it ends at row {row}")

    return Rows(shape, dtype, pieces)


def _numbers(
    path: Path, column: str, batch: Any, row: int, width: int | None, dtype: np.dtype[Any]
) -> NDArray[Any]:
    values = batch if width is None else batch.flatten()
    if batch.null_count or values.null_count:
        valid = np.asarray(batch.is_valid())
        place = f" at row {row + int(valid.argmin())}" if not valid.all() else ""
        raise FileError(path, f"{column} has a null{place}: fill or drop it")
    if width is not None:
        lengths = np.asarray(batch.value_lengths())
        if (bad := np.flatnonzero(lengths != width)).size:
            raise FileError(
                path,
                f"{column} has a list of {lengths[bad[0]]} at row {row + int(bad[0])}, "
                f"others have {width}",
            )
    flat = np.asarray(values.to_numpy(zero_copy_only=False), dtype)
    return flat if width is None else flat.reshape(len(batch), width)
