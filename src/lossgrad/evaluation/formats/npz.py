"""Opening the arrays in .npz archives, without loading them."""

import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.guard import choose, reading
from lossgrad.evaluation.formats.npy import read_header
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.problems import FileError


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
                    shape, fortran, dtype = read_header(path, file, member.filename)
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
        read_header(path, file)
        for start in range(0, shape[0], step):
            rows = min(step, shape[0] - start)
            try:
                data = file.read(rows * row)
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise FileError(path, f"has damaged data in {name}: {error}") from None
            if len(data) < rows * row:
                raise FileError(path, f"is truncated: {name} ends at row {start}")
            yield np.frombuffer(data, dtype).reshape(rows, *shape[1:])
