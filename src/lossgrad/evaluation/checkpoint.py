"""States in files: finished ones, and those of an interrupted run with the place to go on from."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lossgrad.evaluation import frame
from lossgrad.evaluation.problems import FileError
from lossgrad.evaluation.save import read_whole, write_whole
from lossgrad.evaluation.states import restore
from lossgrad.evaluation.walk import Position

_NAME = b"lossgrad-unfinished\n"


@dataclass(frozen=True)
class Unfinished:
    """Where an interrupted run stopped, and on what."""

    job: str  # `digest` of what must be the same to go on
    position: Position
    total: int  # rows that it has in all


def digest(job: Any) -> str:
    """What tells one job from another: its files, their sizes and times, its options."""
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def save(path: str, state: Any, unfinished: Unfinished | None = None) -> None:
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
        content = frame.pack(_NAME, vars(unfinished), content)
    write_whole(path, content)


def load(path: str | os.PathLike[str]) -> tuple[Any, Unfinished | None]:
    """Read what `save` wrote.

    Raises
    ------
    FileError
        The file cannot be read, or is not a state.
    """
    data = read_whole(path, b"lossgrad-")
    try:
        if not data.startswith(_NAME):
            return restore(data), None
        header, inner = frame.unpack(_NAME, data, "interrupted run")
        state, unfinished = restore(bytes(inner)), _place(header)
        if unfinished.total < state.rows:
            raise ValueError(f"{state.rows} of {unfinished.total} rows")
        return state, unfinished
    except ValueError as error:
        raise FileError(path, f"is not a state that can be read: {error}") from None


def _place(header: dict[str, Any]) -> Unfinished:
    match header:
        case {"job": str(job), "position": [shard, block], "total": total, **more} if not more:
            if all(type(one) is int and one >= 0 for one in (shard, block, total)):
                return Unfinished(job, Position(shard, block), total)
    raise ValueError("a damaged interrupted run: its header says something else")


def resume(path: str, state: Any, job: str, rows: Sequence[int]) -> tuple[Any, Position]:
    """The state to go on with, and where; a new one if there is none.

    Parameters
    ----------
    path : str
    state : Evaluation
        The one to begin with.
    job : str
        What is done, as `digest` has it.
    rows : sequence of int
        Those of each shard.

    Raises
    ------
    FileError
        The file holds something else, which is then left alone.
    """
    if not os.path.lexists(path):
        return state, Position()
    before, unfinished = load(path)
    if unfinished is None:
        if before.options() != state.options():
            raise FileError(path, "holds a state of other options and is left alone")
        return state, Position()  # finished: done again, and replaced
    if unfinished.job != job:
        raise FileError(
            path,
            "holds an interrupted run of other files or options, or the files have changed; "
            "remove it to start anew",
        )
    shard, block = unfinished.position
    before_shard, more = sum(rows[:shard]), sum(rows[shard : shard + 1])
    if not before_shard + block <= before.rows <= before_shard + more:  # no block is empty
        raise FileError(path, f"has {before.rows} rows, which do not end in its shard {shard}")
    return before, unfinished.position


def load_finished(path: str) -> Any:
    """A state that can be merged."""
    state, unfinished = load(path)
    if unfinished is not None:
        raise FileError(
            path,
            f"is of an interrupted run, {state.rows} of {unfinished.total} rows; "
            "give its command again to finish it",
        )
    return state
