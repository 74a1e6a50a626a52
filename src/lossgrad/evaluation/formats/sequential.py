"""Arrays that can only be read from their first row to their last: compressed members, columns."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rows:
    """An array of which ranges of rows can be had, cheaply only if they come in order.

    Parameters
    ----------
    shape, dtype
        Of the whole.
    pieces : callable
        Gives the rows from the first on, in pieces of any length.
    names : list of str, optional
        What the entries of the last axis are called.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        pieces: Callable[[], Iterator[NDArray[Any]]],
        names: list[str] | None = None,
    ) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)
        self._pieces, self.names = pieces, names
        self._restart()

    def _restart(self) -> None:
        self._rest = self._pieces()
        self._piece = np.empty((0, *self.shape[1:]), self.dtype)
        self._start = 0  # the row of the first in _piece

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        first, *others = index
        if isinstance(first, slice):
            start, stop, _ = first.indices(self.shape[0])
            return self._read(start, stop)[(slice(None), *others)]
        return self._read(first, first + 1)[(0, *others)]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if start < self._start:
            self._restart()
        parts = []
        while start < stop:
            end = self._start + len(self._piece)
            if start < end:
                part = self._piece[start - self._start : stop - self._start]
                parts.append(part)
                start += len(part)
            else:
                self._start = end
                self._piece = next(self._rest)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("rows that are being read do not pickle")
