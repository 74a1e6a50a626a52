"""Files of logits and targets as shards: globs matched in order, shapes checked, watched.

A file that is rewritten while it is read would give a wrong result: its size and time are compared
after each block.
"""

import glob
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lossgrad.evaluation.formats import holds_both, open_array
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.shard import Shard

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class FileShards:
    """The shards of some files, each opened when it is reached.

    Parameters
    ----------
    pairs : list of (str, str)
        Files of logits and of targets, which may be the same.
    logits_key, targets_key : str or None
    """

    def __init__(
        self, pairs: list[tuple[str, str]], logits_key: str | None, targets_key: str | None
    ) -> None:
        self.pairs = pairs
        self._keys = logits_key, targets_key
        self.rows: list[int] = []
        self.bytes = 0
        self.classes = 0  # known when the shapes have been checked, as are the rows and bytes
        self._stamps: list[list[tuple[int, int]]] = []
        self._directory = ""

    def open_from_here(self) -> None:
        """Hold on to the directory that relative names start from, wherever this is sent to."""
        self._directory = os.getcwd()

    def __len__(self) -> int:
        return len(self.pairs)

    def check_shapes(self, task: Task, axis: int) -> int:
        """Look at every file once, before a long walk: the rows of all."""
        for number in range(len(self.pairs)):
            self._stamps.append([_stamp(path) for path in self.pairs[number]])
            self._check_pair(*self.pairs[number])
            shard = self.open(number).oriented(task, axis)
            *batch, last = shard.logits.shape
            if self.classes not in (0, last):
                first = self.pairs[0][0]
                raise FileError(
                    self.pairs[number][0], f"has {last} classes where {first} has {self.classes}"
                )
            self.classes = last
            self.rows.append(math.prod(batch))
            size = math.prod(batch) * last * shard.logits.dtype.itemsize
            self.bytes += size + math.prod(shard.targets.shape) * shard.targets.dtype.itemsize
        return sum(self.rows)

    def _check_pair(self, logits: str, targets: str) -> None:
        """Refuse two whole shards, which is what the shell makes of a pattern without quotes."""
        if logits == targets or self._keys != (None, None):
            return
        if all(_has(path, key) for path in (logits, targets) for key in ("logits", "targets")):
            raise FileError(
                targets,
                f"holds logits and targets, and so does {logits}: put a pattern of shards in "
                "quotes, or give --logits-key and --targets-key",
            )

    def open(self, number: int) -> Shard:
        """Open the files of one shard."""
        logits, targets = self.pairs[number]
        paths = self._paths(number)
        alone = logits != targets
        return Shard(
            open_array(paths[0], self._keys[0], "logits", alone=alone),
            open_array(paths[1], self._keys[1], "targets", alone=alone),
            source=logits,
            names={"logits": logits, "targets": targets},
            first_row=0,
            check=self._watch(number),
        )

    def _paths(self, number: int) -> list[str]:
        return [os.path.join(self._directory, name) for name in self.pairs[number]]

    def _watch(self, number: int) -> Callable[[], None]:
        paths = self._paths(number)
        if not self._stamps:
            self._stamps = [[_stamp(path) for path in pair] for pair in self.pairs]
        stamps = self._stamps[number]

        def check() -> None:
            for path, stamp in zip(paths, stamps, strict=True):
                if _stamp(path) != stamp:
                    raise FileError(path, "changed while it was read")

        return check

    def __iter__(self) -> Iterator[Shard]:
        for number in range(len(self.pairs)):
            yield self.open(number)

    def fingerprint(self) -> list[Any]:
        """What tells these files from others, or from their later versions."""
        return [[*pair, *map(list, map(_stamp, pair))] for pair in self.pairs]


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError) or not isinstance(error, OSError)
        problem = "no such file" if missing else f"cannot be read: {error}"
        raise FileError(path, problem) from None
    return found.st_size, found.st_mtime_ns


def _has(path: str, key: str) -> bool:
    if not holds_both(path):
        return False
    try:
        open_array(path, key)
    except FileError:
        return False
    return True


def find_shards(
    logits: Paths, targets: Paths | None, logits_key: str | None, targets_key: str | None
) -> FileShards:
    """Match files of logits with files of targets, where a glob finds them in order of their names.

    Numbers in names are ordered as numbers: 2 is before 10.

    Raises
    ------
    FileError
        A pattern matches nothing, the counts differ, the numbers in the names of a pair that
        patterns found differ, or a file of logits cannot hold targets.
    """
    first = _expanded(logits)
    if targets is None:
        for path in first:
            if not holds_both(path):
                raise FileError(path, "holds one array: name the file of its targets, too")
        return FileShards([(path, path) for path in first], logits_key, targets_key)
    second = _expanded(targets)
    if len(first) != len(second):
        last = (first if len(first) > len(second) else second)[min(len(first), len(second))]
        raise FileError(
            last,
            f"has no counterpart: there are {len(first)} files of logits and {len(second)} of "
            "targets",
        )
    pairs = list(zip(first, second, strict=True))
    if _is_pattern(logits) and _is_pattern(targets):
        _check_numbers(pairs)
    return FileShards(pairs, logits_key, targets_key)


def _expanded(paths: Paths) -> list[str]:
    if not isinstance(paths, (str, os.PathLike)):
        return [os.fspath(path) for path in paths]
    name = os.fspath(paths)
    if not _is_pattern(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True), key=_natural)
    if not found:
        raise FileError(name, "no file matches")
    return found


def _is_pattern(paths: Paths) -> bool:
    if not isinstance(paths, (str, os.PathLike)):
        return False
    name = os.fspath(paths)
    return glob.has_magic(name) and "\0" not in name and not Path(name).exists()


def _natural(name: str) -> tuple[Any, ...]:
    """The key that sorts texts in which numbers count as numbers."""
    texts = re.split(r"([0-9]+)", name)
    return (*[int(text) if k % 2 else text for k, text in enumerate(texts)], name)


def _check_numbers(pairs: list[tuple[str, str]]) -> None:
    """Names of a pair must have the same numbers, but for those that all names have."""
    numbers = (_varying([pair[side] for pair in pairs]) for side in (0, 1))
    for (first, second), mine, theirs in zip(pairs, *numbers, strict=True):
        if mine != theirs:
            raise FileError(
                second,
                f"is matched with {first}, but the numbers in their names differ: is a file "
                "missing, or named in another way than the rest?",
            )


def _varying(names: list[str]) -> list[list[int]]:
    """The numbers in each name, without those that are in one place the same in all."""
    numbers = [_natural(name)[1:-1:2] for name in names]
    if len({len(own) for own in numbers}) > 1:
        return [[*own] for own in numbers]
    differ = [len({*place}) > 1 for place in zip(*numbers, strict=True)]
    return [[n for n, varies in zip(own, differ, strict=True) if varies] for own in numbers]
