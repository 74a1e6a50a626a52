"""The file formats, each read by the library that owns it: an extra of the package's name.

`open_array` gives an object with shape, dtype and slices of rows, which the walk reads in blocks.
"""

import importlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.npy import choose, npy_array, open_npz, reading
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.problems import FileError

_BATCH = 1 << 18  # numbers of a batch of Parquet rows


def open_array(path: str | os.PathLike[str], key: str | None = None, usual: str = "logits") -> Any:
    """Open an array in a file of any supported format, known by the end of its name.

    .npy, .npz, .safetensors, .zarr, .h5 or .hdf5, .parquet, .arrow or .feather; another name is
    taken for a .npy file.

    Parameters
    ----------
    path : str or path-like
    key : str, optional
        The name of the array, data set or column; without it the only one, or `usual`.
    usual : str

    Raises
    ------
    FileError
        The file or the key is missing, or cannot be read.
    ImportError
        The format's library is missing; the message names the extra to install.
    """
    path = Path(path)
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        if key is not None and path.exists():
            raise FileError(path, f"is one array and has no {key!r}")
        return npy_array(path)
    array = opener(path, key, usual)
    if 0 in array.shape:
        raise FileError(path, f"holds no values: its shape is {tuple(array.shape)}")
    return array


def holds_both(path: str | os.PathLike[str]) -> bool:
    """Whether files of this name may hold logits and targets."""
    return Path(path).suffix.lower() in _OPENERS


def need(module: str, extra: str, what: str) -> Any:
    """Import an optional library, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs {module.partition('.')[0]}: pip install 'lossgrad[{extra}]' ({error})"
        ) from None


# ---- safetensors ----


_TENSOR_DTYPES = {
    "BF16": "bfloat16",  # which ml_dtypes makes known
    "BOOL": "bool",
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def _open_tensor(path: Path, key: str | None, usual: str) -> FileArray:
    """A tensor of a .safetensors file: one range of it, once the library has checked the header."""
    safe_open = need("safetensors", "safetensors", "a .safetensors file").safe_open
    with reading(path), _as_file_errors(path, "a .safetensors file"):
        with safe_open(path, framework="np") as tensors:
            key = choose(path, list(tensors.keys()), key, usual)
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(start - 8))[key]
            name = header["dtype"]
            if name not in _TENSOR_DTYPES:
                raise FileError(path, f"{key} has dtype {name}, which is not supported")
            if name == "BF16":
                need("ml_dtypes", "safetensors", "bfloat16")
            dtype = np.dtype(_TENSOR_DTYPES[name])
            start += header["data_offsets"][0]
            return FileArray(path, file, dtype, tuple(header["shape"]), start)


class _as_file_errors:
    """What a format's library raises about a file, as a FileError."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, (FileError, MemoryError)):
            raise FileError(self._path, f"cannot be read as {self._what}: {error}") from None


# ---- zarr and HDF5 ----


class _Guarded:
    """An open array of such a file, whose damage shows when it is read."""

    def __init__(self, array: Any, path: Path, what: str) -> None:
        self._array, self._path, self._what = array, path, what
        self.shape, self.dtype, self.ndim = tuple(array.shape), array.dtype, array.ndim
        self.chunks = array.chunks

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        with _as_file_errors(self._path, self._what):
            return np.asarray(self._array[index])


class _Written(_Guarded):
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


def _open_zarr(path: Path, key: str | None, usual: str) -> Any:
    zarr = need("zarr", "zarr", "a .zarr store")
    if not path.exists():
        raise FileError(path, "no such file")
    if not (path.is_dir() or path.is_file()):
        raise FileError(path, "is neither a directory nor a regular file")
    with _as_file_errors(path, "a zarr store"):
        found: Any = zarr.open(path, mode="r")
        if isinstance(found, zarr.Array):
            if key is not None:
                raise FileError(path, f"is one array and has no {key!r}")
        else:
            found = found[choose(path, list(found.array_keys()), key, usual)]
    return _Written(found, path, "a zarr store")


def _open_hdf5(path: Path, key: str | None, usual: str) -> Any:
    h5py = need("h5py", "hdf5", "an HDF5 file")
    with reading(path), _as_file_errors(path, "an HDF5 file"):
        file = h5py.File(path, "r")
        names: list[str] = []
        file.visititems(
            lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None
        )
        name = key or usual
        if name not in names and isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            raise FileError(path, f"{name} is a link to another file: name that file")
        found = file[choose(path, names, key, usual)]
        if found.external or found.is_virtual:  # a file that is sent could read any other
            raise FileError(
                path, f"{found.name} has its data in other places, which are not read: copy them"
            )
        if found.shape is None:
            raise FileError(path, f"{found.name} holds no values")
    return _Guarded(found, path, "an HDF5 file")


# ---- Arrow and Parquet: columns of numbers or of lists of one length ----


def _open_parquet(path: Path, key: str | None, usual: str) -> Any:
    parquet = need("pyarrow.parquet", "arrow", "a Parquet file")
    with reading(path), _as_file_errors(path, "a Parquet file"), parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        column = choose(path, schema.names, key, usual)

    def batches(size: int = 1) -> Iterator[Any]:
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            for batch in file.iter_batches(size, columns=[column]):
                yield batch.column(0)

    kind = schema.field(column).type
    width = _list_width(path, column, kind, batches, rows)
    size = max(1, _BATCH // (width or 1))
    return _column(path, column, kind, lambda: batches(size), rows, width)


def _open_arrow(path: Path, key: str | None, usual: str) -> Any:
    arrow = need("pyarrow", "arrow", "an Arrow file")
    ipc = need("pyarrow.ipc", "arrow", "an Arrow file")

    def batches() -> Iterator[Any]:
        with arrow.OSFile(str(path)) as stream, ipc.open_file(stream) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number).column(column)

    with (
        reading(path),
        _as_file_errors(path, "an Arrow file"),
        arrow.OSFile(str(path)) as stream,
        ipc.open_file(stream) as file,
    ):
        schema = file.schema
        column = choose(path, schema.names, key, usual)
        rows = sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))
    kind = schema.field(column).type
    return _column(
        path, column, kind, batches, rows, _list_width(path, column, kind, batches, rows)
    )


def _list_width(
    path: Path, column: str, kind: Any, batches: Callable[[], Iterator[Any]], rows: int
) -> int | None:
    """The length of the lists, None for plain numbers."""
    types = need("pyarrow", "arrow", "a column").types
    if types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return None
    if rows == 0:
        raise FileError(path, f"{column} holds no values")
    with _as_file_errors(path, "a table"):
        first = next(batches())
        return len(first[0])


def _column(
    path: Path,
    column: str,
    kind: Any,
    batches: Callable[[], Iterator[Any]],
    rows: int,
    width: int | None,
) -> Rows:
    value = kind if width is None else kind.value_type
    try:
        dtype = np.dtype(value.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype(object)
    if dtype.kind not in "biuf":
        raise FileError(path, f"{column} has type {kind}: numbers, or lists of numbers, are needed")
    shape = (rows,) if width is None else (rows, width)

    def pieces() -> Iterator[NDArray[Any]]:
        row = 0
        with _as_file_errors(path, "a table"):
            for batch in batches():
                yield _numbers(path, column, batch, row, width, dtype)
                row += len(batch)
        raise FileError(path, f"changed while it was read: it ends at row {row}")

    return Rows(shape, dtype, pieces)


def _numbers(
    path: Path, column: str, batch: Any, row: int, width: int | None, dtype: np.dtype[Any]
) -> NDArray[Any]:
    values = batch if width is None else batch.flatten()
    if batch.null_count or values.null_count:
        valid = np.asarray(batch.is_valid())
        place = f" at row {row + int(valid.argmin())}" if not valid.all() else ""
        raise FileError(path, f"{column} has a null{place}: fill or drop it")
    if width is not None:
        lengths = np.asarray(batch.value_lengths())
        if (bad := np.flatnonzero(lengths != width)).size:
            raise FileError(
                path,
                f"{column} has a list of {lengths[bad[0]]} at row {row + int(bad[0])}, "
                f"others have {width}",
            )
    flat = np.asarray(values.to_numpy(zero_copy_only=False), dtype)
    return flat if width is None else flat.reshape(len(batch), width)


_OPENERS: dict[str, Callable[[Path, str | None, str], Any]] = {
    ".npz": open_npz,
    ".safetensors": _open_tensor,
    ".zarr": _open_zarr,
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
    ".parquet": _open_parquet,
    ".arrow": _open_arrow,
    ".feather": _open_arrow,
}
