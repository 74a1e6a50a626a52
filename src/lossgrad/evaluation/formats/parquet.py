"""Opening columns of Parquet files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.columns import column_rows, list_width
from lossgrad.evaluation.formats.guard import as_file_errors, choose, reading

_BATCH = 1 << 18  # numbers of a batch of rows


def open_parquet(path: Path, key: str | None, usual: str) -> Any:
    """A column of a Parquet file."""
    parquet = need("pyarrow.parquet", "arrow", "a Parquet file")
    with reading(path), as_file_errors(path, "a Parquet file"), parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        column = choose(path, schema.names, key, usual)

    def batches(size: int = 1) -> Iterator[Any]:
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            for batch in file.iter_batches(size, columns=[column]):
                yield batch.column(0)

    kind = schema.field(column).type
    width = list_width(path, column, kind, batches, rows)
    size = max(1, _BATCH // (width or 1))
    return column_rows(path, column, kind, lambda: batches(size), rows, width)
