"""Opening .npy and .npz files for evaluation, without loading them.

Every way in which a file can be wrong ends in one FileError that names the file and says what is
wrong with it, before a single number is read: a header is checked against the size of its file.
"""

import contextlib
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.problems import FileError, visible

__all__ = ["FileError", "open_npy", "open_npz"]

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


def _check_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """As `_read_header`, for a file that must have all the numbers."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(np.lib.format.MAGIC_LEN)
    if size == 0:
        raise FileError(path, "is an empty file, not a .npy file")
    if start.startswith(_ZIP_MAGIC):
        raise FileError(path, "is a zip or .npz archive; save each array with numpy.save")
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise FileError(path, f"is not a .npy file: it starts with {start[:6]!r}")
    file.seek(0)
    shape, fortran, dtype = _read_header(path, file)
    found, wanted = size - file.tell(), math.prod(shape) * dtype.itemsize
    if found < wanted:
        raise FileError(
            path, f"is truncated: {dtype} of shape {shape} takes {wanted} bytes, {found} are there"
        )
    return shape, fortran, dtype


def _read_header(
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
    if any(type(length) is not int or length < 0 for length in shape):
        raise FileError(path, f"has a damaged .npy header: shape {shape}")
    if dtype.hasobject:
        problem = "holds Python objects, which are never unpickled; save numbers"
        raise FileError(path, f"{member} {problem}".lstrip())
    if 0 in shape:
        raise FileError(path, f"holds no values: its shape is {shape}")
    return shape, fortran, dtype


def open_npz(path: str | os.PathLike[str], key: str | None, usual: str) -> Any:
    """One array of a .npz archive: read in any pieces if it is stored, else row after row.

    Parameters
    ----------
    path : str or path-like
    key : str or None
        The array's name; None takes the only one, or the one called `usual`.
    """
    path = Path(path)
    with reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                member = archive.getinfo(choose(path, names, key, usual) + ".npy")
                with archive.open(member) as file:
                    shape, fortran, dtype = _read_header(path, file, member.filename)
                    _check_numbers(path, member.filename, dtype)
                    header = file.tell()
        except zipfile.BadZipFile as error:
            raise FileError(path, f"is not a .npz archive: {error}") from None
        wanted = math.prod(shape) * dtype.itemsize
        if member.file_size - header < wanted:
            raise FileError(
                path, f"is truncated: {member.filename} is shorter than its header says"
            )
        if member.compress_type == zipfile.ZIP_STORED:
            start = _data_start(path, member) + header
            with path.open("rb") as file:
                return FileArray(path, file, dtype, shape, start, fortran)
        if fortran and len(shape) > 1:
            raise FileError(
                path, f"{member.filename} is compressed and in Fortran order: use numpy.savez"
            )
        return Rows(shape, dtype, lambda: _unpacked(path, member.filename, shape, dtype))


def _check_numbers(path: Path, member: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind in "biufc":
        return
    hint = "numbers are needed"
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize:
        hint = (
            "numpy.savez does not keep the name of types that NumPy lacks, such as bfloat16; save "
            "them with .astype(numpy.float32), or in a .safetensors file"
        )
    raise FileError(path, f"{member} has dtype {dtype}: {hint}")


def _data_start(path: Path, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: its local header has lengths of its own."""
    with path.open("rb") as file:
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
    return member.header_offset + 30 + int(lengths.sum())


def _unpacked(
    path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """The rows of a compressed member, some at a time."""
    row = math.prod(shape[1:]) * dtype.itemsize
    step = max(1, (1 << 20) // row)
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(name) as file:
        _read_header(path, file)
        for start in range(0, shape[0], step):
            rows = min(step, shape[0] - start)
            try:
                data = file.read(rows * row)
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise FileError(path, f"has damaged data in {name}: {error}") from None
            if len(data) < rows * row:
                raise FileError(path, f"is truncated: {name} ends at row {start}")
            yield np.frombuffer(data, dtype).reshape(rows, *shape[1:])


def choose(path: Path, names: list[str], key: str | None, usual: str) -> str:
    """The name that was asked for; without one, the only one or the usual one."""
    if key is None:
        key = names[0] if len(names) == 1 else usual
    if key not in names:
        there = ", ".join(map(visible, sorted(names)[:8])) + (", ..." if len(names) > 8 else "")
        raise FileError(path, f"has no {key!r}, only {there or 'nothing'}")
    return key
