"""Opening columns of texts with a row a line: .csv and .tsv, .gz as well."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice
from lossgrad.evaluation.formats.columns import Table
from lossgrad.evaluation.formats.guard import as_file_errors, reading
from lossgrad.evaluation.problems import FileError

_MISSING = ["", "NA", "N/A", "NULL", "null"]  # and not nan, which is a number


def open_csv(path: Path, choice: Choice) -> Any:
    """Columns of a .csv or .tsv file, whose first line has their names unless all are numbers."""
    csv = need("pyarrow.csv", "arrow", "a .csv file")
    with reading(path), as_file_errors(path, "a .csv file"):
        file = _File(path, csv, csv.ReadOptions())
        if all(map(_is_number, file.schema.names)):
            file = _File(path, csv, csv.ReadOptions(autogenerate_column_names=True))
        if choice.real:
            file.make_real()
        rows = sum(batch.num_rows for batch in file.batches(file.schema.names[:1]))
        if rows == 0:
            raise FileError(path, "has no rows")
    return Table(path, file.schema, rows, file.batches).array(choice)


class _File:
    """Such a file; the type of a column is that of its first values."""

    def __init__(self, path: Path, csv: Any, reading: Any) -> None:
        self._path, self._csv, self._reading = path, csv, reading
        separator = "\t" if ".tsv" in path.suffixes else ","
        self._parsing = csv.ParseOptions(delimiter=separator)
        self._types: dict[str, Any] = {}
        with self._open() as file:
            self.schema = file.schema

    def make_real(self) -> None:
        """Read whole numbers as float64, too."""
        whole = [field.name for field in self.schema if field.type == "int64"]
        self._types = dict.fromkeys(whole, "float64")
        with self._open() as file:
            self.schema = file.schema

    def _open(self, **columns: Any) -> Any:
        conversion = self._csv.ConvertOptions(
            null_values=_MISSING, column_types=self._types, **columns
        )
        return self._csv.open_csv(self._path, self._reading, self._parsing, conversion)

    def batches(self, names: Sequence[str], rows: int = 0) -> Iterator[Any]:
        """Pieces of these columns."""
        with self._open(include_columns=[*names]) as file:
            yield from file


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
