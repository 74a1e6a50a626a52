"""The walk over logits and targets of any size, block by block, in constant memory.

Blocks are given out in their order to `threads` threads. Each reads its block into memory of its
own and adds it to totals of its own (a `Share`), so that no block waits for another; the totals
merge exactly, in any order. Who leads looks at the blocks in their order again, so that the first
problem of the data is the one that is reported: when a block fails, all before it are done.

A checkpoint is a prefix of the blocks: no more are given out, those that were are finished, the
shares are merged into the state, and `Position` says where to go on. Whatever else ends the walk
(an error, Ctrl-C) leaves the state as the last checkpoint made it.
"""

import math
from _thread import start_new_thread
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from lossgrad.evaluation.formats.file_array import Buffer, Index
from lossgrad.evaluation.problems import InputError
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.shard import Shard, blocks, is_concurrent, moved_on, read, request
from lossgrad.evaluation.states import Share, State

BLOCK_BYTES = 8 << 20
MEMORY_BYTES = 32 << 20  # of arrays in memory: no buffer has to hold it
BLOCK_FIGURES = 1 << 17  # rows of a block, or labels of the binary task
_CHUNKS_BYTES = 64 << 20  # whole chunks of a compressed data set are read up to this size


class Position(NamedTuple):
    """Shards done, and blocks done of the one after them."""

    shard: int = 0
    block: int = 0


START = Position()


class Interrupted(Exception):
    """The walk was asked to stop; the state holds all that comes before `position`."""

    def __init__(self, position: Position) -> None:
        super().__init__(position)
        self.position = position


@dataclass(frozen=True)
class Work:
    """A block to add, and the position after it."""

    shard: Shard
    index: Index
    rows: int
    bytes: int  # of logits
    after: Position
    places: dict[str, tuple[Any, Index]]  # where its arrays are

    def add(self, state: State, share: Share, buffers: dict[str, Buffer], strict: bool) -> None:
        """Read the block and add it to a share of the state."""
        try:
            block = {name: read(*place, buffers[name]) for name, place in self.places.items()}
            self.shard.check()
            block = self.shard.reading.block(block, state.task, state.ignore_index)
            first = self.shard.row_number(self.index) or 0
            share.add(block, strict=strict, source=self.shard.source, number=first.__add__)
        except InputError as error:
            raise self.shard.blame(error, self.index) from None


def walk(
    state: State,
    shards: Iterable[Shard],
    *,
    axis: int = -1,
    strict: bool = False,
    threads: int = 1,
    block_bytes: int | None = None,
    start: Position = START,
    rows: tuple[int, int] | None = None,
    after_block: Callable[[int, int], object] | None = None,
    checkpoint: Callable[[Position], object] | None = None,
) -> None:
    """Add all shards to the state, or a range along the first axis of their rows.

    `after_block` is called with the rows and bytes of logits of each block in turn. Where it gives
    something true, the state is brought up to date and `checkpoint` called with the position. What
    either raises ends the walk.
    """
    with _Team(state, threads, strict) as team:

        def report(done: Iterator[Work]) -> None:
            for work in done:
                if after_block is not None and after_block(work.rows, work.bytes):
                    asked.append(work)

        asked: list[Work] = []
        every = _all_work(state, shards, axis, block_bytes, start, rows)
        for work in _or_before(every, lambda: report(team.rest())):
            report(team.give(work))
            if asked:
                report(team.rest())
                team.settle()
                if checkpoint is not None:
                    checkpoint(work.after)
                asked.clear()
        report(team.rest())
        team.settle()


def _all_work(
    state: State,
    shards: Iterable[Shard],
    axis: int,
    block_bytes: int | None,
    start: Position,
    rows: tuple[int, int] | None,
) -> Iterator[Work]:
    """All blocks in order. What cannot be read by several threads is read here."""
    known = state.classes
    for number, shard in enumerate(shards):
        if number < start.shard:
            continue
        shard = shard.oriented(state.task, axis)
        first, last = rows or (0, shard.logits.shape[0])
        *batch, classes = shard.logits.shape
        shape = (last - first, *batch[1:])
        cut: Iterator[Index] = (
            moved_on(index, first) for index in blocks(shape, _rows(shard, state.task, block_bytes))
        )
        for done, (index, following) in enumerate(_pairs(cut), 1):
            if number == start.shard and done <= start.block:
                continue
            if known not in (None, classes):
                problem = f"{classes} classes after blocks of {known}"
                raise shard.blame(InputError("logits", problem))
            known = classes
            size = _size(index, shape)
            bytes_ = size * classes * shard.logits.dtype.itemsize
            places = _places(shard, index, following)
            yield Work(shard, index, size, bytes_, Position(number, done), places)


def _or_before(every: Iterator[Work], finish: Callable[[], None]) -> Iterator[Work]:
    """All of it; where the next cannot be had, what comes before it may have the first problem."""
    try:
        yield from every
    except Exception:
        finish()
        raise


def _pairs(cut: Iterator[Index]) -> Iterator[tuple[Index, Index | None]]:
    """Each, with the one after it."""
    index = next(cut, None)
    while index is not None:
        following = next(cut, None)
        yield index, following
        index = following


def _places(shard: Shard, index: Index, following: Index | None) -> dict[str, tuple[Any, Index]]:
    """Where a block's arrays are; of the following one, what is in a file is requested."""
    if following is not None:
        for array in shard.arrays.values():
            request(array, following)
    return {
        name: (array, index) if is_concurrent(array) else (read(array, index, Buffer()), ())
        for name, array in shard.arrays.items()
    }


def _size(index: Index, shape: tuple[int, ...]) -> int:
    """Rows of a block."""
    chosen = [1 if isinstance(i, int) else i.stop - i.start for i in index]
    return math.prod(chosen) * math.prod(shape[len(index) :])


def _rows(shard: Shard, task: Task, block_bytes: int | None) -> int:
    """Rows of a block: whole chunks, where the data set has them."""
    if block_bytes is None:
        block_bytes = MEMORY_BYTES if isinstance(shard.logits, np.ndarray) else BLOCK_BYTES
    *batch, classes = shard.logits.shape
    row_bytes = classes * shard.logits.dtype.itemsize
    figures = classes if task == "binary" else 1
    rows: int = max(1, min(block_bytes // row_bytes, BLOCK_FIGURES // figures))
    inner = math.prod(batch[1:])
    chunk = inner * getattr(shard.logits, "chunk_rows", 1)
    if rows < chunk and chunk * row_bytes <= _CHUNKS_BYTES:
        return chunk
    return rows - rows % chunk if rows > chunk > inner else rows


class _Given:
    """A block that was given out, and what became of it."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.problem: BaseException | None = None
        self.under_way = _held()


def _held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


class _Team:
    """Threads and their shares of the state; of one thread, the caller itself.

    A signal's handler may raise between any two steps of who leads, who therefore has no lock that
    a thread waits for: Python's executors, futures, conditions and the start of its threads do, and
    such a thread would never end. Who leads puts to a queue, and waits for locks that nobody else
    takes.
    """

    def __init__(self, state: State, threads: int, strict: bool) -> None:
        self.state, self._strict = state, strict
        self._most = 2 * threads  # blocks given out: one under way and one ahead for each thread
        self._threads = threads if threads > 1 else 0
        self._running: list[Lock] = []  # each held until its thread ends
        self._to_do: SimpleQueue[_Given | None] = SimpleQueue()
        self._given: deque[_Given] = deque()
        self._shares: list[tuple[Share, dict[str, Buffer]]] = []
        self._stopped = False

    def __enter__(self) -> "_Team":
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopped = True
        for _ in range(self._threads):  # of which one may have started and not be in the list
            self._to_do.put(None)
        for running in self._running:
            running.acquire()

    def give(self, work: Work) -> Iterator[Work]:
        """Add a block, some time: the blocks that are done, in their order."""
        if not self._threads:
            self._add(work)
            yield work
            return
        if len(self._running) < self._threads:
            running = _held()
            start_new_thread(self._run, (running,))
            self._running.append(running)
        self._given.append(_Given(work))
        self._to_do.put(self._given[-1])
        while self._given and (
            len(self._given) >= self._most or not self._given[0].under_way.locked()
        ):
            yield self._oldest()

    def rest(self) -> Iterator[Work]:
        """Wait for all blocks that were given out."""
        while self._given:
            yield self._oldest()

    def _oldest(self) -> Work:
        given = self._given.popleft()
        given.under_way.acquire()
        problem, given.problem = given.problem, None
        if problem is not None:
            raise problem
        return given.work

    def _run(self, running: Lock) -> None:
        """Add blocks in a thread of its own, until there are no more."""
        while (given := self._to_do.get()) is not None and not self._stopped:
            try:
                self._add(given.work)
            except BaseException as problem:
                given.problem = problem
            given.under_way.release()
            del given  # its arrays are not kept while this waits for the next
        running.release()

    def _add(self, work: Work) -> None:
        """In any thread, with a share that no other has."""
        try:
            share, buffers = self._shares.pop()
        except IndexError:
            share, buffers = self.state.share(lambda: self._stopped), defaultdict(Buffer)
        work.add(self.state, share, buffers, self._strict)
        self._shares.append((share, buffers))

    def settle(self) -> None:
        """Merge the shares into the state, when nothing is under way."""
        while self._shares:
            share, _ = self._shares.pop()
            self.state.merge(share.state())
