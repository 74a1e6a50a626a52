"""What may be wrong with a file of any format, as a FileError that names the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.problems import FileError


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a regular file into a FileError."""
    try:
        if not path.exists():
            raise FileError(path, "no such file")
        if not path.is_file():
            raise FileError(path, "is a directory" if path.is_dir() else "is not a regular file")
        yield
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # np.load on a file that changes, or a null in the name
        raise FileError(path, f"cannot be read: {error}") from None


class as_file_errors:
    """What a format's library raises about a file, as a FileError."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, (FileError, MemoryError)):
            raise FileError(self._path, f"cannot be read as {self._what}: {error}") from None


class Guarded:
    """An array that a format's library has opened, whose damage shows when it is read."""

    def __init__(self, array: Any, path: Path, what: str) -> None:
        self._array, self._path, self._what = array, path, what
        self.shape, self.dtype, self.ndim = tuple(array.shape), array.dtype, array.ndim
        self.chunks = array.chunks

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        with as_file_errors(self._path, self._what):
            return np.asarray(self._array[index])
