"""Which array of a file is meant: the one that is named, the usual one, or the only possible."""

import fnmatch
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossgrad.evaluation.problems import FileError, visible

Size = tuple[Any, ...]
_PAIR = ("logits", "targets")


def size_of(shape: tuple[int, ...], dtype: Any) -> Size:
    """By which one array of a file is told from another: of equal ones, labels are whole."""
    return math.prod(shape) if shape else 0, dtype.kind not in "biu"


@dataclass(frozen=True)
class Choice:
    """What was asked for.

    Attributes
    ----------
    key : str or None
        The name of an array, data set or column; of columns a pattern, too.
    usual : str
        The name that is taken without one: what the array is for.
    alone : bool
        Whether the file is not read for anything else: without a name its columns are one array.
    """

    key: str | None = None
    usual: str = "logits"
    alone: bool = False

    @property
    def real(self) -> bool:
        """Whether it must be numbers, which need not be whole."""
        return self.usual in ("logits", "other", "sample_weight")

    def name(
        self, path: Path, names: Sequence[str], size: Callable[[str], Size] | None = None
    ) -> str:
        """The array that is meant, if need be of two by their sizes: logits have the larger."""
        if self.key is None and len(names) == 1:
            return names[0]
        if self.key is None and len(names) == 2 and size is not None and _are_other(names):
            small, large = sorted(names, key=size)
            if self.usual in _PAIR and size(small) != size(large) and size(small)[0]:
                return large if self.usual == "logits" else small
        name = self.key or self.usual
        if name not in names:
            there = ", ".join(map(visible, sorted(names)[:8])) + (", ..." if len(names) > 8 else "")
            raise FileError(path, f"has no {name!r}, only {there or 'nothing'}")
        return name

    def columns(self, path: Path, names: Sequence[str]) -> list[str]:
        """The columns that are meant, in the order of the table."""
        if self.key is None and self.alone and self.usual in _PAIR and _are_other(names):
            return [*names]
        if self.key is not None and self.key not in names and re.search(r"[*?[]", self.key):
            found = [name for name in names if fnmatch.fnmatchcase(name, self.key)]
            if found:
                return found
        return [self.name(path, names)]

    def class_name(self, column: str) -> str:
        """What a column is called among those of a pattern: what its star stands for."""
        before, star, after = (self.key or "*").partition("*")
        plain = not re.search(r"[*?[]", before + after)
        return column[len(before) : len(column) - len(after)] if star and plain else column


def _are_other(names: Sequence[str]) -> bool:
    """Whether none of the arrays has a usual name, which would say that another is not meant."""
    return not set(_PAIR) & set(names)
