"""An array in a file, read in pieces by read calls.

A map would end the process where its file is truncated under it (a page that is no longer there is
a signal, not an error) and would take its pages one fault at a time.
"""

import itertools
import math
import os
import threading
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.problems import FileError

Shape = tuple[int, ...]
Index = tuple[int | slice, ...]
Span = tuple[int, int]


class Buffer:
    """Memory that its owner reads into again and again: what was read before is then lost."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def array(self, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array in it, of any numbers."""
        size = math.prod(shape) * dtype.itemsize
        if self._bytes.size < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size].view(dtype).reshape(shape)


class FileArray:
    """An array whose elements are one range of a file. Several threads may read it at a time.

    Parameters
    ----------
    path : path-like
        What the file is called in errors.
    file : binary file
        Open for reading; the array goes on when it is closed.
    dtype, shape
    offset : int
        Where the first element is.
    fortran : bool
        Whether the first axis is the one that runs fastest.
    """

    concurrent = True  # what else is read in blocks is read by one thread, in order

    def __init__(
        self,
        path: str | os.PathLike[str],
        file: BinaryIO,
        dtype: np.dtype[Any],
        shape: Shape,
        offset: int,
        fortran: bool = False,
    ) -> None:
        self._path, self._descriptor, self.offset = path, os.dup(file.fileno()), offset
        self.dtype, self.shape, self.ndim, self.fortran = dtype, shape, len(shape), fortran
        self._lock = threading.Lock()

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __getitem__(self, index: Index) -> NDArray[Any]:
        return self.read(index, Buffer())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[()].astype(dtype or self.dtype, copy=False)

    def read(self, index: Index, buffer: Buffer) -> NDArray[Any]:
        """What integers and slices (of step 1) of the first axes choose, in the buffer.

        Raises
        ------
        FileError
            The file has become shorter, or cannot be read.
        """
        spans = self._spans(index)
        stored = [stop - start for start, stop in spans]
        block = buffer.array(tuple(stored[::-1] if self.fortran else stored), self.dtype)
        flat, at = block.reshape(-1).view(np.uint8).data, 0
        for start, size in self._runs(spans):
            self._fill(flat[at : at + size], start)
            at += size
        whole = block.T if self.fortran else block
        return whole[tuple(0 if isinstance(i, int) else slice(None) for i in index)]

    def request(self, index: Index) -> None:
        """Ask the system to have this at hand when it is read."""
        if hasattr(os, "posix_fadvise"):
            for start, size in self._runs(self._spans(index)):
                if not self._is_cached(start + size - 1):  # what is costs time to ask for
                    os.posix_fadvise(self._descriptor, start, size, os.POSIX_FADV_WILLNEED)

    def _is_cached(self, offset: int) -> bool:
        """Whether a byte can be had without a wait, if the system tells."""
        try:
            flags = os.RWF_NOWAIT
            return bool(os.preadv(self._descriptor, [bytearray(1)], offset, flags))
        except (AttributeError, OSError):
            return False

    def _spans(self, index: Index) -> list[Span]:
        """The range of each axis."""
        every = (*index, *[slice(None)] * (self.ndim - len(index)))
        return [
            (i, i + 1) if isinstance(i, int) else i.indices(n)[:2]
            for i, n in zip(every, self.shape, strict=True)
        ]

    def _runs(self, spans: list[Span]) -> list[tuple[int, int]]:
        """(offset, bytes) of what is contiguous, in the order of the file."""
        shape, size = self.shape, self.dtype.itemsize
        if self.fortran:
            shape, spans = shape[::-1], spans[::-1]
        strides = [size * math.prod(shape[k + 1 :]) for k in range(len(shape))]
        outer = len(shape)  # axes before the last one that is cut
        while outer and spans[outer - 1] == (0, shape[outer - 1]):
            outer -= 1
        outer = max(outer - 1, 0)
        run = size * math.prod(stop - start for start, stop in spans[outer:])
        first = self.offset + sum(
            start * stride for (start, _), stride in zip(spans, strides, strict=True)
        )
        steps = (
            range(0, (stop - start) * stride, stride)
            for (start, stop), stride in zip(spans[:outer], strides, strict=False)
        )
        return [(first + sum(places), run) for places in itertools.product(*steps)]

    def _fill(self, to: memoryview, offset: int) -> None:
        while to:
            try:
                done = self._read_into(to, offset)
            except OSError as error:
                raise FileError(self._path, f"cannot be read: {error.strerror or error}") from None
            if not done:
                raise FileError(self._path, "changed while it was read: it is shorter than before")
            to, offset = to[done:], offset + done

    def _read_into(self, to: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [to], offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            data = os.read(self._descriptor, len(to))
        to[: len(data)] = data
        return len(data)
