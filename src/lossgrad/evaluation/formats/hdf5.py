"""Opening data sets in HDF5 files."""

from pathlib import Path
from typing import Any

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice, size_of
from lossgrad.evaluation.formats.guard import Guarded, as_file_errors, reading
from lossgrad.evaluation.problems import FileError


def open_hdf5(path: Path, choice: Choice) -> Any:
    """A data set of an HDF5 file."""
    h5py = need("h5py", "hdf5", "an HDF5 file")
    with reading(path), as_file_errors(path, "an HDF5 file"):
        file = h5py.File(path, "r")
        names: list[str] = []
        file.visititems(
            lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None
        )
        name = choice.key or choice.usual
        if name not in names and isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            raise FileError(path, f"{name} is a link to another file: name that file")
        found = file[
            choice.name(path, names, lambda name: size_of(file[name].shape, file[name].dtype))
        ]
        if found.external or found.is_virtual:  # a file that is sent could read any other
            raise FileError(
                path, f"{found.name} has its data in other places, which are not read: copy them"
            )
        if found.shape is None:
            raise FileError(path, f"{found.name} holds no values")
    return Guarded(found, path, "an HDF5 file")
