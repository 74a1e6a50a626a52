"""Opening columns of Parquet files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice
from lossgrad.evaluation.formats.columns import Table
from lossgrad.evaluation.formats.guard import as_file_errors, reading


def open_parquet(path: Path, choice: Choice) -> Any:
    """Columns of a Parquet file."""
    parquet = need("pyarrow.parquet", "arrow", "a Parquet file")

    def batches(names: Sequence[str], rows: int) -> Iterator[Any]:
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield from file.iter_batches(rows, columns=[*names])

    with reading(path), as_file_errors(path, "a Parquet file"), parquet.ParquetFile(path) as file:
        table = Table(path, file.schema_arrow, file.metadata.num_rows, batches)
    return table.array(choice)
