"""Opening arrays in zarr stores."""

import itertools
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.guard import Guarded, as_file_errors, choose
from lossgrad.evaluation.problems import FileError


class _Written(Guarded):
    """An array of a zarr store, where a chunk that is not there would be read as fill values."""

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        sizes = self._array.shards or self._array.chunks  # a file each
        whole = [slice(None)] * (self.ndim - len(index))
        touched = []
        for one, length, size in zip([*index, *whole], self.shape, sizes, strict=True):
            start, stop, _ = (slice(one, one + 1) if isinstance(one, int) else one).indices(length)
            touched.append(range(start // size, -(-stop // size)))
        for place in itertools.product(*touched):
            key = self._array.metadata.encode_chunk_key(place)
            if not (self._path / self._array.path / key).is_file():
                raise FileError(
                    self._path,
                    f"chunk {key} of {self._array.path or 'the array'} is missing; if it is all "
                    "fill values, write it with zarr's write_empty_chunks",
                )
        return super().__getitem__(index)


def open_zarr(path: Path, key: str | None, usual: str) -> Any:
    """An array of a zarr store."""
    zarr = need("zarr", "zarr", "a .zarr store")
    if not path.exists():
        raise FileError(path, "no such file")
    if not (path.is_dir() or path.is_file()):
        raise FileError(path, "is neither a directory nor a regular file")
    with as_file_errors(path, "a zarr store"):
        found: Any = zarr.open(path, mode="r")
        if isinstance(found, zarr.Array):
            if key is not None:
                raise FileError(path, f"is one array and has no {key!r}")
        else:
            found = found[choose(path, list(found.array_keys()), key, usual)]
    return _Written(found, path, "a zarr store")
