"""Opening columns of Arrow files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice
from lossgrad.evaluation.formats.columns import Table
from lossgrad.evaluation.formats.guard import as_file_errors, reading


def open_arrow(path: Path, choice: Choice) -> Any:
    """Columns of an Arrow file."""
    arrow = need("pyarrow", "arrow", "an Arrow file")
    ipc = need("pyarrow.ipc", "arrow", "an Arrow file")

    def batches(names: Sequence[str], rows: int) -> Iterator[Any]:
        with arrow.OSFile(str(path)) as stream, ipc.open_file(stream) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number)

    with (
        reading(path),
        as_file_errors(path, "an Arrow file"),
        arrow.OSFile(str(path)) as stream,
        ipc.open_file(stream) as file,
    ):
        rows = sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))
        table = Table(path, file.schema, rows, batches)
    return table.array(choice)
