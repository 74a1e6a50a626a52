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

from lossgrad.evaluation.formats.choice import Choice, size_of
from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.guard import reading
from lossgrad.evaluation.formats.npy import read_header
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.problems import FileError


def open_npz(path: str | os.PathLike[str], key: str | None = None, usual: str = "logits") -> Any:
    """One array of a .npz archive: read in any pieces if it is stored, else row after row.

    Parameters
    ----------
    path : str or path-like
    key : str, optional
        The array's name; without it the one called `usual`, the only one, or of two the one that
        by their shapes it can be.
    usual : str
    """
    return open_member(Path(path), Choice(key, usual))


def open_member(path: Path, choice: Choice) -> Any:
    """The array that is meant. As `open_npz`."""
    with reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]

                def size(name: str) -> tuple[Any, ...]:
                    with archive.open(f"{name}.npy") as file:
                        shape, _, dtype = read_header(path, file, f"{name}.npy")
                        return size_of(shape, dtype)

                member = archive.getinfo(choice.name(path, names, size) + ".npy")
                with archive.open(member) as file:
                    shape, fortran, dtype = read_header(path, file, member.filename)
                    _check_type(path, member.filename, dtype, choice)
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


def _check_type(path: Path, member: str, dtype: np.dtype[Any], choice: Choice) -> None:
    kinds = "biufc" if choice.real else "biufcUS"
    if dtype.kind not in kinds and dtype.name != "bfloat16":
        raise FileError(path, f"{member} has dtype {dtype}: numbers are needed")


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
