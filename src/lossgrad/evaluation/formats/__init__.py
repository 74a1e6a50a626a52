"""The file formats, each read by the library that owns it: an extra of the package's name.

`open_array` gives an object with shape, dtype and slices of rows, which the walk reads in blocks.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossgrad.evaluation.formats.arrow import open_arrow
from lossgrad.evaluation.formats.choice import Choice
from lossgrad.evaluation.formats.csv import open_csv
from lossgrad.evaluation.formats.hdf5 import open_hdf5
from lossgrad.evaluation.formats.kld import open_kld
from lossgrad.evaluation.formats.npy import npy_array
from lossgrad.evaluation.formats.npz import open_member
from lossgrad.evaluation.formats.parquet import open_parquet
from lossgrad.evaluation.formats.pickled import open_pickled
from lossgrad.evaluation.formats.safetensors import open_tensor
from lossgrad.evaluation.formats.zarr import open_zarr
from lossgrad.evaluation.problems import FileError

_OPENERS: dict[str, Callable[[Path, Choice], Any]] = {
    ".npz": open_member,
    ".safetensors": open_tensor,
    ".zarr": open_zarr,
    ".zarr.zip": open_zarr,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".parquet": open_parquet,
    ".arrow": open_arrow,
    ".feather": open_arrow,
    ".csv": open_csv,
    ".csv.gz": open_csv,
    ".tsv": open_csv,
    ".tsv.gz": open_csv,
    ".pt": open_pickled,
    ".pth": open_pickled,
    ".kld": open_kld,
}


def open_array(
    path: str | os.PathLike[str],
    key: str | None = None,
    usual: str = "logits",
    *,
    alone: bool = False,
) -> Any:
    """Open an array in a file of any supported format, known by the end of its name.

    .npy, .npz, .safetensors, .zarr or .zarr.zip, .h5 or .hdf5, .parquet, .arrow or .feather, .csv
    or .tsv or either with .gz, .pt or .pth, .kld; another name is taken for a .npy file.

    Parameters
    ----------
    path : str or path-like
    key : str, optional
        The name of the array, data set or column, or of columns a pattern (``prob_*``); without
        it `usual`, the only one, or of two the one that by their sizes it can be.
    usual : str
        What the array is for.
    alone : bool
        Whether nothing else is read from the file: without names its columns are one array.

    Raises
    ------
    FileError
        The file or the key is missing, or cannot be read.
    ImportError
        The format's library is missing; the message names the extra to install.
    """
    path = Path(path)
    opener = _opener(path)
    if opener is None:
        if key is not None and path.exists():
            raise FileError(path, f"is one array and has no {key!r}")
        return npy_array(path)
    array = opener(path, Choice(key, usual, alone))
    if 0 in array.shape:
        raise FileError(path, f"holds no values: its shape is {tuple(array.shape)}")
    return array


def holds_both(path: str | os.PathLike[str]) -> bool:
    """Whether files of this name may hold logits and targets."""
    return _opener(Path(path)) is not None


def _opener(path: Path) -> Callable[[Path, Choice], Any] | None:
    last = "".join(path.suffixes[-2:]).lower()
    return _OPENERS.get(last) or _OPENERS.get(path.suffix.lower())
