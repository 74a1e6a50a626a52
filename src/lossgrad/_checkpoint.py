"""States in files: finished ones, and those of an interrupted run with the place to go on from."""

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossgrad._problems import FileError
from lossgrad._save import reason, write_whole
from lossgrad._walk import Position
from lossgrad.evaluation import Evaluation

_UNFINISHED = b"lossgrad-unfinished\n"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Unfinished:
    """Where an interrupted run stopped, and on what."""

    job: Any  # what must be the same to go on: files, their sizes and times, options
    position: Position
    rows: int
    total: int


def save(path: str, state: Evaluation, unfinished: Unfinished | None = None) -> None:
    """Write a state; with `unfinished`, one that a second run goes on from.

    Raises
    ------
    FileError
        It cannot be written, or the file holds something that is not a state.
    """
    if os.path.lexists(path):
        load(path)
    content = state.to_bytes()
    if unfinished is not None:
        header = {**vars(unfinished), "position": list(unfinished.position)}
        text = json.dumps(header, sort_keys=True).encode()
        content = _UNFINISHED + _LENGTH.pack(len(text)) + text + content
    write_whole(path, content)


def load(path: str | os.PathLike[str]) -> tuple[Evaluation, Unfinished | None]:
    """Read what `save` wrote.

    Raises
    ------
    FileError
        The file cannot be read, or is not a state.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read: {reason(error)}") from None
    try:
        if not data.startswith(_UNFINISHED):
            return Evaluation.from_bytes(data), None
        start = len(_UNFINISHED) + _LENGTH.size
        (length,) = _LENGTH.unpack(data[len(_UNFINISHED) : start])
        header = json.loads(data[start : start + length])
        header["position"] = Position(*header["position"])
        return Evaluation.from_bytes(data[start + length :]), Unfinished(**header)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise FileError(path, f"is not a state that can be read: {error}") from None


def resume(path: str, state: Evaluation, job: Any) -> tuple[Evaluation, Position, int]:
    """The state to go on with, where, and the rows it has; a new one if there is none.

    Raises
    ------
    FileError
        The file holds something else, which is then left alone.
    """
    if not os.path.lexists(path):
        return state, Position(), 0
    before, unfinished = load(path)
    if unfinished is None:
        if before.options() != state.options():
            raise FileError(path, "holds a state of other options and is left alone")
        return state, Position(), 0  # finished: done again, and replaced
    if unfinished.job != json.loads(json.dumps(job)):
        raise FileError(
            path,
            "holds an interrupted run of other files or options, or the files have changed; "
            "remove it to start anew",
        )
    return before, unfinished.position, unfinished.rows


def load_finished(path: str) -> Evaluation:
    """A state that can be merged."""
    state, unfinished = load(path)
    if unfinished is not None:
        raise FileError(
            path,
            f"is of an interrupted run, {unfinished.rows} of {unfinished.total} rows; "
            "give its command again to finish it",
        )
    return state
