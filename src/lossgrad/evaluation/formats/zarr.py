"""Opening arrays in zarr stores: directories, or zip archives of one."""

import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice, size_of
from lossgrad.evaluation.formats.guard import Guarded, as_file_errors
from lossgrad.evaluation.problems import FileError


class _Written(Guarded):
    """An array of a zarr store, where a chunk that is not there would be read as fill values."""

    def __init__(self, array: Any, path: Path, is_there: Callable[[str], bool]) -> None:
        super().__init__(array, path, "a zarr store")
        self._is_there = is_there

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        sizes = self._array.shards or self._array.chunks  # a file each
        whole = [slice(None)] * (self.ndim - len(index))
        touched = []
        for one, length, size in zip([*index, *whole], self.shape, sizes, strict=True):
            start, stop, _ = (slice(one, one + 1) if isinstance(one, int) else one).indices(length)
            touched.append(range(start // size, -(-stop // size)))
        for place in itertools.product(*touched):
            key = self._array.metadata.encode_chunk_key(place)
            if not self._is_there(f"{self._array.path}/{key}".lstrip("/")):
                raise FileError(
                    self._path,
                    f"chunk {key} of {self._array.path or 'the array'} is missing; if it is all "
                    "fill values, write it with zarr's write_empty_chunks",
                )
        return super().__getitem__(index)


def open_zarr(path: Path, choice: Choice) -> Any:
    """An array of a zarr store."""
    zarr = need("zarr", "zarr", "a .zarr store")
    if not path.exists():
        raise FileError(path, "no such file")
    if not (path.is_dir() or path.is_file()):
        raise FileError(path, "is neither a directory nor a regular file")
    with as_file_errors(path, "a zarr store"):
        store, is_there = _store(zarr, path)
        found: Any = zarr.open(store, mode="r")
        if isinstance(found, zarr.Array):
            if choice.key is not None:
                raise FileError(path, f"is one array and has no {choice.key!r}")
        else:
            arrays = {
                name: one
                for name, one in found.members(max_depth=None)
                if isinstance(one, zarr.Array)
            }
            name = choice.name(
                path, [*arrays], lambda name: size_of(arrays[name].shape, arrays[name].dtype)
            )
            found = arrays[name]
    return _Written(found, path, is_there)


def _store(zarr: Any, path: Path) -> tuple[Any, Callable[[str], bool]]:
    """The store, and what tells whether it has a file."""
    if path.is_dir():
        return path, lambda name: (path / name).is_file()
    with zipfile.ZipFile(path) as archive:
        names = frozenset(archive.namelist())
    return zarr.storage.ZipStore(path, mode="r"), names.__contains__
