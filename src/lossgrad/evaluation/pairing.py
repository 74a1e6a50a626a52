"""Which files patterns find, in what order, and which of them belong together."""

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossgrad.evaluation.problems import FileError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def check_counts(paths: list[str], others: list[str], first: str, use: str) -> None:
    """As many files for one use as for the other."""
    if len(paths) != len(others):
        last = (paths if len(paths) > len(others) else others)[min(len(paths), len(others))]
        raise FileError(
            last,
            f"has no counterpart: there are {len(paths)} files of {first} and {len(others)} of "
            f"{use}",
        )


def expanded(paths: Paths) -> list[str]:
    """The files of a pattern, in natural order; what is no pattern as it is."""
    if not isinstance(paths, (str, os.PathLike)):
        return [os.fspath(path) for path in paths]
    name = os.fspath(paths)
    if not is_pattern(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True), key=_natural)
    if not found:
        raise FileError(name, "no file matches")
    return found


def is_pattern(paths: Paths | None) -> bool:
    """Whether it may be the name of several files."""
    if not isinstance(paths, (str, os.PathLike)):
        return False
    name = os.fspath(paths)
    return glob.has_magic(name) and "\0" not in name and not Path(name).exists()


def _natural(name: str) -> tuple[Any, ...]:
    """The key that sorts texts in which numbers count as numbers."""
    texts = re.split(r"([0-9]+)", name)
    return (*[int(text) if k % 2 else text for k, text in enumerate(texts)], name)


def check_numbers(first: list[str], second: list[str]) -> None:
    """Names of a pair must have the same numbers, but for those that all names have."""
    for one, mine, other, theirs in zip(
        first, _varying(first), second, _varying(second), strict=True
    ):
        if mine != theirs:
            raise FileError(
                other,
                f"is matched with {one}, but the numbers in their names differ: is a file "
                "missing, or named in another way than the rest?",
            )


def _varying(names: list[str]) -> list[list[int]]:
    """The numbers in each name, without those that are in one place the same in all."""
    numbers = [_natural(name)[1:-1:2] for name in names]
    if len({len(own) for own in numbers}) > 1:
        return [[*own] for own in numbers]
    differ = [len({*place}) > 1 for place in zip(*numbers, strict=True)]
    return [[n for n, varies in zip(own, differ, strict=True) if varies] for own in numbers]
