"""Opening .npy files, without loading them.

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

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.guard import reading
from lossgrad.evaluation.problems import FileError

_ZIP_MAGIC = b"PK\x03\x04"


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
    array = npy_array(path)
    order: Any = "F" if array.fortran else "C"
    with reading(Path(path)):
        # As a plain ndarray: slices of a np.memmap are memmaps, which are slower to make.
        return np.asarray(np.memmap(path, array.dtype, "r", array.offset, array.shape, order))


def npy_array(path: str | os.PathLike[str]) -> FileArray:
    """The array in a .npy file, to be read in pieces. Parameters and errors as of `open_npy`."""
    path = Path(path)
    with reading(path), warnings.catch_warnings():  # on headers that Python 2 wrote
        warnings.simplefilter("ignore")
        with path.open("rb") as file:
            shape, fortran, dtype = _check_header(path, file)
            return FileArray(path, file, dtype, shape, file.tell(), fortran)


def _check_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """As `read_header`, for a file that must have all the numbers."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(np.lib.format.MAGIC_LEN)
    if size == 0:
        raise FileError(path, "is an empty file, not a .npy file")
    if start.startswith(_ZIP_MAGIC):
        raise FileError(path, "is a zip or .npz archive; save each array with numpy.save")
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise FileError(path, f"is not a .npy file: it starts with {start[:6]!r}")
    file.seek(0)
    shape, fortran, dtype = read_header(path, file)
    found, wanted = size - file.tell(), math.prod(shape) * dtype.itemsize
    if found < wanted:
        raise FileError(
            path, f"is truncated: {dtype} of shape {shape} takes {wanted} bytes, {found} are there"
        )
    return shape, fortran, dtype


def read_header(
    path: Path, file: Any, member: str = ""
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype; `file` is then at the numbers."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        elif version == (3, 0):  # exists for field names alone
            raise FileError(path, "holds records (.npy format 3.0), not plain numbers")
        else:
            raise FileError(path, f"has a damaged .npy header: format version {version}")
    except (FileError, OSError):
        raise
    except Exception as error:  # NumPy lets what its parsers raise pass: TokenError, TypeError, ...
        raise FileError(path, f"has a damaged .npy header: {error}") from None
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2:
        # numpy.save does not keep the names of types that NumPy lacks: of two bytes there is one
        need("ml_dtypes", "safetensors", "bfloat16")
        dtype = np.dtype("bfloat16")
    if any(type(length) is not int or length < 0 for length in shape):
        raise FileError(path, f"has a damaged .npy header: shape {shape}")
    if dtype.hasobject:
        problem = "holds Python objects, which are never unpickled; save numbers"
        raise FileError(path, f"{member} {problem}".lstrip())
    if 0 in shape:
        raise FileError(path, f"holds no values: its shape is {shape}")
    return shape, fortran, dtype
