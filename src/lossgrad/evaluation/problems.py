"""What can be wrong with logits and targets, said with the array and the row at fault."""

import os
import unicodedata
from typing import Any

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: control, format, surrogate, separators
_JOINERS = "\u200c\u200d"  # which some scripts cannot be written without


def visible(text: str, but: str = "") -> str:
    r"""Text that others chose, fit to be shown: names of files, classes, arrays.

    What moves the cursor, colours the terminal or turns the direction of writing is escaped, as
    are line feeds and bytes that cannot be decoded; characters in `but` stay.

    Examples
    --------
    >>> from lossgrad.evaluation.problems import visible
    >>> print(visible("name \x1b[31m\u202e"))
    name \x1b[31m\u202e
    """
    if text.isprintable():
        return text
    return "".join(
        one
        if one in _JOINERS or one in but or unicodedata.category(one) not in _UNSEEN
        else one.encode("unicode_escape").decode()
        for one in text
    )


class InputWarning(UserWarning):
    """Logits that seem to be something else."""


class InputError(ValueError):
    """Logits or targets that cannot be evaluated.

    Attributes
    ----------
    source : str
        The array at fault: "logits", "targets", "sample_weight", ...
    problem : str
        What is wrong with it, without the row.
    row : tuple of int or None
        The row at fault: one index for each axis that is not the class axis.
    """

    def __init__(self, source: str, problem: str, row: tuple[int, ...] | None = None) -> None:
        self.source, self.problem, self.row = source, problem, row
        super().__init__(source, problem, row)

    def __str__(self) -> str:
        return f"{self.source}: {self.detail}"

    @property
    def detail(self) -> str:
        """The row and the problem, without the name of the array."""
        if not self.row:
            return self.problem
        row = self.row[0] if len(self.row) == 1 else self.row
        return f"row {row}: {self.problem}"


class LabelError(InputError, IndexError):
    """A label outside the classes."""


class DtypeError(InputError, TypeError):
    """An array of a type that is not supported."""


class FileError(Exception):
    """A file that cannot be used. The message is one line and starts with the file's name."""

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        self.name = visible(os.fspath(path))
        self.problem = visible(" ".join(problem.split()))
        super().__init__(f"{self.name}: {self.problem}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.problem)
