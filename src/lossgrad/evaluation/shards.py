"""Files of logits and targets as shards: globs matched in order, shapes checked, watched.

A file that is rewritten while it is read would give a wrong result: its size and time are compared
after each block.
"""

import glob
import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lossgrad.evaluation.formats import holds_both, open_array
from lossgrad.evaluation.pairing import Paths, check_counts, check_numbers, expanded, is_pattern
from lossgrad.evaluation.problems import FileError, InputError
from lossgrad.evaluation.reading import LOGITS
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.shard import Shard


class FileShards:
    """The shards of some files, each opened when it is reached.

    Parameters
    ----------
    files : list of dict
        For each shard the file of logits, of targets, ...: by what they are for, as `Shard` has
        them. They may be the same.
    keys : dict
        The names of arrays in files that have several, where they are not the usual ones.
    beside : dict
        Arrays that are given, of the rows of all files one after another.
    """

    def __init__(
        self, files: list[dict[str, str]], keys: dict[str, str | None], beside: dict[str, Any]
    ) -> None:
        self.files = files
        self._keys, self._beside = keys, beside
        self.reading = LOGITS
        self.rows: list[int] = []
        self.bytes = 0
        self.classes = 0  # known when the shapes have been checked, as are the rows and bytes
        self._ends: list[int] = []  # of each shard's rows, after 0, where arrays are beside
        self._stamps: list[list[tuple[int, int]]] = []
        self._directory = ""

    def open_from_here(self) -> None:
        """Hold on to the directory that relative names start from, wherever this is sent to."""
        self._directory = os.getcwd()

    def __len__(self) -> int:
        return len(self.files)

    def check_shapes(self, task: Task, axis: int) -> int:
        """Look at every file once, before a long walk: the rows of all."""
        for number, files in enumerate(self.files):
            self._stamps.append([_stamp(path) for path in files.values()])
            self._check_pair(files.get("logits"), files.get("targets"))
            shard = self.open(number).oriented(task, axis)
            if number == 0:
                shard.look(task)
                self.reading = shard.reading  # with the names of a table's columns
            *batch, last = shard.logits.shape
            if self.classes not in (0, last):
                first = self.files[0]["logits"]
                raise FileError(
                    files["logits"], f"has {last} classes where {first} has {self.classes}"
                )
            self.classes = last
            self.rows.append(math.prod(batch))
            self.bytes += sum(
                math.prod(array.shape) * array.dtype.itemsize for array in shard.arrays.values()
            )
        return sum(self.rows)

    def _check_pair(self, logits: str | None, targets: str | None) -> None:
        """Refuse two whole shards, which is what the shell makes of a pattern without quotes."""
        if logits is None or targets is None or logits == targets:
            return
        if self._keys.get("logits") or self._keys.get("targets"):
            return
        if all(_has(path, key) for path in (logits, targets) for key in ("logits", "targets")):
            raise FileError(
                targets,
                f"holds logits and targets, and so does {logits}: put a pattern of shards in "
                "quotes, or give --logits-key and --targets-key",
            )

    def open(self, number: int) -> Shard:
        """Open the files of one shard."""
        files, (start, stop) = self.files[number], self._range(number)
        return Shard(
            self._arrays(number) | {use: one[start:stop] for use, one in self._beside.items()},
            source=next(iter(files.values())),
            names=files,
            first_row=0,
            check=self._watch(number),
            reading=self.reading,
            start=start,
        )

    def _arrays(self, number: int) -> dict[str, Any]:
        """Those in the files of a shard."""
        paths = self._paths(number)
        names = [*paths.values()]
        found = {}
        for use, path in paths.items():
            alone = names.count(path) == 1
            usual = "logits" if use == "other" and alone else use
            found[use] = open_array(path, self._keys.get(use), usual, alone=alone)
        return found

    def _range(self, number: int) -> tuple[int, int | None]:
        """The rows that a shard has of arrays beside the files: of one file all."""
        if not self._beside or len(self.files) == 1:
            return 0, None
        if not self._ends:
            lengths = [next(iter(self._arrays(k).values())).shape[0] for k in range(len(self))]
            self._ends = [0, *itertools.accumulate(lengths)]
            for use, one in self._beside.items():
                if len(one) != self._ends[-1]:
                    problem = f"{len(one)} rows where the files have {self._ends[-1]}"
                    raise InputError(use, problem)
        return self._ends[number], self._ends[number + 1]

    def _paths(self, number: int) -> dict[str, str]:
        return {
            use: os.path.join(self._directory, name) for use, name in self.files[number].items()
        }

    def _watch(self, number: int) -> Callable[[], None]:
        paths = self._paths(number).values()
        if not self._stamps:
            self._stamps = [[_stamp(path) for path in one.values()] for one in self.files]
        stamps = self._stamps[number]

        def check() -> None:
            for path, stamp in zip(paths, stamps, strict=True):
                if _stamp(path) != stamp:
                    raise FileError(path, "changed while it was read")

        return check

    def __iter__(self) -> Iterator[Shard]:
        for number in range(len(self.files)):
            yield self.open(number)

    def fingerprint(self) -> list[Any]:
        """What tells these files from others, or from their later versions."""
        stamps = [[*one.items(), *map(list, map(_stamp, one.values()))] for one in self.files]
        return [stamps, sorted((use, key) for use, key in self._keys.items() if key is not None)]


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
    files: dict[str, Paths | None],
    keys: dict[str, str | None],
    beside: dict[str, Any] | None = None,
) -> FileShards:
    """Match files of logits with those of targets, ..., where a glob finds them in natural order.

    Parameters
    ----------
    files : dict
        By what they are for. Targets that are None are in the files of logits, where "other" logits
        are compared if there are any; the name of another column is taken for a file, or else for
        that of an array beside the targets.
    keys : dict
        Names of arrays, by what they are for.
    beside : dict, optional
        Arrays beside the files.

    Raises
    ------
    FileError
        A pattern matches nothing, the counts differ, the numbers in the names of a pair that
        patterns found differ, or a file of logits cannot hold targets.
    """
    beside = beside or {}
    given = {use: paths for use, paths in files.items() if paths is not None}
    first: list[str] = [use for use in ("logits", "targets") if use in given]
    found = {use: expanded(given.pop(use)) for use in first}
    keys = dict(keys)
    if "targets" not in found and "other" in {**given, **beside}:
        if all(_has(path, keys.get("targets") or "targets") for path in found.get("logits", [])):
            found["targets"] = found["logits"]
    elif "targets" not in found and "targets" not in beside:
        for path in found["logits"]:
            if not holds_both(path):
                raise FileError(path, "holds one array: name the file of its targets, too")
        found["targets"] = found["logits"]
    for use, paths in given.items():
        if _is_name(paths):
            found[use], keys[use] = _holders(use, str(paths), found), str(paths)
        else:
            found[use] = expanded(paths)
    first_use = next(iter(found))
    for use, paths in found.items():
        check_counts(found[first_use], paths, first_use, use)
        if is_pattern(files.get(first_use)) and is_pattern(files.get(use)):
            check_numbers(found[first_use], paths)
    shards = [dict(zip(found, paths, strict=True)) for paths in zip(*found.values(), strict=True)]
    return FileShards(shards, keys, beside)


def find_logits(paths: Paths, keys: dict[str, str | None]) -> FileShards:
    """Files of logits that no targets belong to."""
    return FileShards([{"logits": path} for path in expanded(paths)], keys, {})


def _is_name(given: Paths) -> bool:
    """Whether it is the name of an array in a file and not one of files."""
    if not isinstance(given, str) or glob.has_magic(given):
        return False
    return not (Path(given).suffix.lower() == ".npy" or holds_both(given) or Path(given).exists())


def _holders(use: str, name: str, found: dict[str, list[str]]) -> list[str]:
    """The files that may hold an array of that name: those of targets, or else of logits."""
    holders = [found[of] for of in ("targets", "logits") if of in found]
    for paths in holders:
        if all(map(holds_both, paths)):
            return paths
    problem = f"no such file of {use}; and {holders[0][0]} holds no arrays with names"
    raise FileError(name, problem)
