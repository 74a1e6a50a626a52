"""Columns of a table as rows: numbers, names, lists of one length, tensors; or several columns.

What Arrow, Parquet and CSV share.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice
from lossgrad.evaluation.formats.guard import as_file_errors
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.problems import FileError

_BATCH = 1 << 18  # numbers of a batch of rows


@dataclass(frozen=True)
class Table:
    """A file of columns.

    Attributes
    ----------
    path : Path
    schema : pyarrow.Schema
    rows : int
    batches : callable
        ``batches(names, rows)``: record batches of these columns; of about so many rows, if that
        can be chosen.
    """

    path: Path
    schema: Any
    rows: int
    batches: Callable[[Sequence[str], int], Iterator[Any]]

    def array(self, choice: Choice) -> Rows:
        """The rows of the columns that are meant."""
        names = choice.columns(self.path, self.schema.names)
        columns = [_Column(self, name) for name in names]
        shape: tuple[int, ...] = (len(columns),)
        if len(columns) == 1:
            shape = columns[0].shape
        elif bad := [c for c in columns if c.shape or c.dtype.kind == "O"]:
            raise FileError(
                self.path, f"{bad[0].name}, one of {len(columns)} columns, holds no plain numbers"
            )
        dtype = np.result_type(*(column.dtype for column in columns))
        if dtype.kind == "O" and choice.real:
            kind = self.schema.field(names[0]).type
            raise FileError(self.path, f"{names[0]} has type {kind}: numbers are needed")
        class_names = [choice.class_name(name) for name in names] if len(names) > 1 else None
        size = max(1, _BATCH // math.prod(shape))
        return Rows(
            (self.rows, *shape),
            dtype,
            lambda: (piece.astype(dtype, copy=False) for piece in self._pieces(columns, size)),
            class_names,
        )

    def _pieces(self, columns: "list[_Column]", size: int) -> Iterator[NDArray[Any]]:
        row, names = 0, [column.name for column in columns]
        with as_file_errors(self.path, "a table"):
            for batch in self.batches(names, size):
                found = [c.numbers(batch.column(c.name), row) for c in columns]
                yield found[0] if len(found) == 1 else np.stack(found, axis=-1)
                row += batch.num_rows
        raise FileError(self.path, f"changed while it was read: it ends at row {row}")


class _Column:
    """A column: the shape and type of one of its values, and its numbers."""

    def __init__(self, table: Table, name: str) -> None:
        self._path, self.name = table.path, name
        self._types = need("pyarrow", "arrow", "a column").types
        kind = table.schema.field(name).type
        self._stored = self._stored_shape(kind, table)
        self._axes = getattr(kind, "permutation", None) or [*range(len(self._stored))]
        self.shape = tuple(self._stored[axis] for axis in self._axes)
        self.dtype = self._dtype(kind)

    def _stored_shape(self, kind: Any, table: Table) -> tuple[int, ...]:
        if hasattr(kind, "permutation"):  # a tensor
            return tuple(kind.shape)
        if self._types.is_fixed_size_list(kind):
            return (int(kind.list_size),)
        if not (self._types.is_list(kind) or self._types.is_large_list(kind)):
            return ()
        if table.rows == 0:
            raise FileError(self._path, f"{self.name} holds no values")
        with as_file_errors(self._path, "a table"):
            return (len(next(table.batches([self.name], 1)).column(0)[0]),)

    def _dtype(self, kind: Any) -> np.dtype[Any]:
        value = kind.value_type if self.shape or self._types.is_dictionary(kind) else kind
        is_text = self._types.is_string(value) or self._types.is_large_string(value)
        if is_text and not self.shape:
            return np.dtype(object)
        try:
            dtype = np.dtype(value.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = np.dtype(object)
        if dtype.kind not in "biuf":
            raise FileError(
                self._path,
                f"{self.name} has type {kind}: numbers, or lists of numbers, are needed",
            )
        return dtype

    def numbers(self, batch: Any, row: int) -> NDArray[Any]:
        """The values of a piece of the column, which begins at a row."""
        batch = getattr(batch, "storage", batch)
        if self._types.is_dictionary(batch.type):
            batch = batch.dictionary_decode()
        values = batch.flatten() if self.shape else batch
        if batch.null_count or values.null_count:
            valid = np.asarray(batch.is_valid())
            place = f" at row {row + int(valid.argmin())}" if not valid.all() else ""
            raise FileError(self._path, f"{self.name} has a null{place}: fill or drop it")
        if len(self.shape) == 1:
            self._check_lengths(batch, row)
        flat = np.asarray(values.to_numpy(zero_copy_only=False), self.dtype)
        whole = flat.reshape(len(batch), *self._stored)
        return whole.transpose(0, *(1 + axis for axis in self._axes))

    def _check_lengths(self, batch: Any, row: int) -> None:
        lengths = np.asarray(batch.value_lengths())
        if (bad := np.flatnonzero(lengths != self.shape[0])).size:
            raise FileError(
                self._path,
                f"{self.name} has a list of {lengths[bad[0]]} at row {row + int(bad[0])}, "
                f"others have {self.shape[0]}",
            )
