"""Opening columns of Arrow files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.columns import column_rows, list_width
from lossgrad.evaluation.formats.guard import as_file_errors, choose, reading


def open_arrow(path: Path, key: str | None, usual: str) -> Any:
    """A column of an Arrow file."""
    arrow = need("pyarrow", "arrow", "an Arrow file")
    ipc = need("pyarrow.ipc", "arrow", "an Arrow file")

    def batches() -> Iterator[Any]:
        with arrow.OSFile(str(path)) as stream, ipc.open_file(stream) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number).column(column)

    with (
        reading(path),
        as_file_errors(path, "an Arrow file"),
        arrow.OSFile(str(path)) as stream,
        ipc.open_file(stream) as file,
    ):
        schema = file.schema
        column = choose(path, schema.names, key, usual)
        rows = sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))
    kind = schema.field(column).type
    return column_rows(
        path, column, kind, batches, rows, list_width(path, column, kind, batches, rows)
    )
