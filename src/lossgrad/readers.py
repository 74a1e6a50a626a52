"""Opening arrays on disk for evaluation, without loading them.

Every way in which a file can be wrong ends in one FileError that names the file and says what is
wrong with it, before a single number is read: a header is checked against the size of its file.
"""

import math
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_ZIP_MAGIC = b"PK\x03\x04"


class FileError(Exception):
    """A file that cannot be used. The message is one line and starts with the file's name."""

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        name = os.fspath(path)
        # A name with a line feed or an undecodable byte must not break the line.
        self.name = name if name.isprintable() else ascii(name)
        self.problem = " ".join(problem.split())
        super().__init__(f"{self.name}: {self.problem}")


def open_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Memory-map the array in a .npy file, read-only.

    Parameters
    ----------
    path : str or path-like
        A .npy file of numbers with at least one element.

    Returns
    -------
    ndarray
        A read-only array on the file's own bytes; pages are read when they are touched.

    Raises
    ------
    FileError
        The file is missing, unreadable, not a .npy file, truncated, empty, or holds objects.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileError(path, "no such file")
        if not path.is_file():
            raise FileError(path, "is a directory" if path.is_dir() else "is not a regular file")
        with warnings.catch_warnings():  # on headers that Python 2 wrote
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                _check_header(path, file)
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        # As a plain ndarray: slices of a np.memmap are memmaps, which are slower to make.
        return np.asarray(array)
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # np.load on a file that changes, or a null in the name
        raise FileError(path, f"cannot be read: {error}") from None


def _check_header(path: Path, file: BinaryIO) -> None:
    size = os.fstat(file.fileno()).st_size
    start = file.read(np.lib.format.MAGIC_LEN)
    if size == 0:
        raise FileError(path, "is an empty file, not a .npy file")
    if start.startswith(_ZIP_MAGIC):
        raise FileError(path, "is a zip or .npz archive; save each array with numpy.save")
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise FileError(path, f"is not a .npy file: it starts with {start[:6]!r}")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        elif version == (3, 0):  # exists for field names alone
            raise FileError(path, "holds records (.npy format 3.0), not plain numbers")
        else:
            raise FileError(path, f"has a damaged .npy header: format version {version}")
    except (FileError, OSError):
        raise
    except Exception as error:  # NumPy lets what its parsers raise pass: TokenError, TypeError, ...
        raise FileError(path, f"has a damaged .npy header: {error}") from None
    if any(type(length) is not int or length < 0 for length in shape):
        raise FileError(path, f"has a damaged .npy header: shape {shape}")
    if dtype.hasobject:
        raise FileError(path, "holds Python objects, which are never unpickled; save numbers")
    if 0 in shape:
        raise FileError(path, f"holds no values: its shape is {shape}")
    found, wanted = size - file.tell(), math.prod(shape) * dtype.itemsize
    if found < wanted:
        raise FileError(
            path, f"is truncated: {dtype} of shape {shape} takes {wanted} bytes, {found} are there"
        )
