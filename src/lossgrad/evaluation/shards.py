"""Files of logits and targets as shards: globs matched in sorted order, shapes checked, watched.

A file that is rewritten while it is read would give a wrong result: its size and time are compared
after each block.
"""

import glob
import math
import os
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
    files : list of dict
        For each shard the file of logits, of targets, ...: by what they are for, as `Shard` has
        them. They may be the same.
    keys : dict
        The names of arrays in files that have several, where they are not the usual ones.
    """

    def __init__(self, files: list[dict[str, str]], keys: dict[str, str | None]) -> None:
        self.files = files
        self._keys = keys
        self.rows: list[int] = []
        self.bytes = 0
        self.classes = 0  # known when the shapes have been checked, as are the rows and bytes
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
            if "targets" in files:
                self._check_pair(files["logits"], files["targets"])
            shard = self.open(number).oriented(task, axis)
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

    def _check_pair(self, logits: str, targets: str) -> None:
        """Refuse two whole shards, which is what the shell makes of a pattern without quotes."""
        if logits == targets or self._keys.get("logits") or self._keys.get("targets"):
            return
        if all(_has(path, key) for path in (logits, targets) for key in ("logits", "targets")):
            raise FileError(
                targets,
                f"holds logits and targets, and so does {logits}: put a pattern of shards in "
                "quotes, or give --logits-key and --targets-key",
            )

    def open(self, number: int) -> Shard:
        """Open the files of one shard."""
        files = self.files[number]
        paths = self._paths(number)
        return Shard(
            {use: open_array(paths[use], self._keys.get(use), use) for use in files},
            source=files["logits"],
            names=files,
            first_row=0,
            check=self._watch(number),
        )

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


def find_shards(files: dict[str, Paths | None], keys: dict[str, str | None]) -> FileShards:
    """Match files of logits with those of targets, ..., in sorted order where a glob finds them.

    Parameters
    ----------
    files : dict
        By what they are for. Targets that are None are in the files of logits, where "other" logits
        are compared if there are any; the name of another column is taken for a file, or else for
        that of an array beside the targets.
    keys : dict
        Names of arrays, by what they are for.

    Raises
    ------
    FileError
        A pattern matches nothing, the counts differ, or a file of logits cannot hold targets.
    """
    given = {use: paths for use, paths in files.items() if paths is not None}
    first: list[str] = [use for use in ("logits", "targets") if use in given]
    found = {use: _expanded(given.pop(use)) for use in first}
    keys = dict(keys)
    if "targets" not in found and "other" in given:
        if all(_has(path, keys.get("targets") or "targets") for path in found["logits"]):
            found["targets"] = found["logits"]
    elif "targets" not in found:
        for path in found["logits"]:
            if not holds_both(path):
                raise FileError(path, "holds one array: name the file of its targets, too")
        found["targets"] = found["logits"]
    for use, paths in given.items():
        if _is_name(paths):
            found[use], keys[use] = _holders(use, str(paths), found), str(paths)
        else:
            found[use] = _expanded(paths)
    for use, paths in found.items():
        _check_counts(found["logits"], paths, use)
    return FileShards(
        [dict(zip(found, paths, strict=True)) for paths in zip(*found.values(), strict=True)], keys
    )


def find_logits(paths: Paths, keys: dict[str, str | None]) -> FileShards:
    """Files of logits that no targets belong to."""
    return FileShards([{"logits": path} for path in _expanded(paths)], keys)


def _is_name(given: Paths) -> bool:
    """Whether it is the name of an array in a file and not one of files."""
    if not isinstance(given, str) or glob.has_magic(given):
        return False
    return not (Path(given).suffix.lower() == ".npy" or holds_both(given) or Path(given).exists())


def _holders(use: str, name: str, found: dict[str, list[str]]) -> list[str]:
    """The files that may hold an array of that name: those of targets, or else of logits."""
    for beside in ("targets", "logits"):
        if beside in found and all(map(holds_both, found[beside])):
            return found[beside]
    problem = f"no such file of {use}; and {found['logits'][0]} holds no arrays with names"
    raise FileError(name, problem)


def _check_counts(logits: list[str], others: list[str], use: str) -> None:
    if len(logits) != len(others):
        last = (logits if len(logits) > len(others) else others)[min(len(logits), len(others))]
        raise FileError(
            last,
            f"has no counterpart: there are {len(logits)} files of logits and {len(others)} of "
            f"{use}",
        )


def _expanded(paths: Paths) -> list[str]:
    if not isinstance(paths, (str, os.PathLike)):
        return [os.fspath(path) for path in paths]
    name = os.fspath(paths)
    if not glob.has_magic(name) or "\0" in name or Path(name).exists():
        return [name]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise FileError(name, "no file matches")
    return found
