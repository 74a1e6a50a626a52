"""What a state is to those that bring rows to it, whatever it counts: walks, files, clusters."""

import operator
import struct
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, TypeVar

from lossgrad.evaluation import frame
from lossgrad.evaluation.reading import Reading
from lossgrad.evaluation.results import Task
from lossgrad.evaluation.seen import Block


class Share(Protocol):
    """What one thread adds, apart from what others add, to be merged in the end."""

    def add(self, block: Block, *, strict: bool, source: str, number: Callable[[int], int]) -> None:
        """Add the rows of a block; after an error the share is of no use."""

    def state(self) -> Any:
        """All that was added. Nothing can be added any more."""


class State(Protocol):
    """Totals that are exact: those of parts merge to the bytes of those of the whole."""

    @property
    def task(self) -> Task:
        """Whether rows have one label, or a target for each logit."""

    @property
    def ignore_index(self) -> int:
        """The label of what is left out."""

    @property
    def classes(self) -> int | None:
        """Classes; not known before the first rows."""

    @property
    def rows(self) -> int:
        """The rows seen so far."""

    def empty(self) -> Self:
        """Another of the same options, without any rows."""

    def share(self, stopped: Callable[[], bool]) -> Share:
        """What one thread adds to; `stopped` says when to give up."""

    def merge(self, other: Self) -> None:
        """Add the totals of another of the same options."""

    def renumber(self, number: Callable[[int], int]) -> None:
        """Give the worst rows other numbers, in the same order."""

    def options(self) -> dict[str, Any]:
        """What has to agree for states to merge."""

    def to_bytes(self) -> bytes:
        """The whole state."""

    def result(self) -> Any:
        """The figures so far."""


class Saved:
    """What every state can do since it has shares and bytes."""

    what: ClassVar[str]  # for people, with its article
    name: ClassVar[bytes]  # which its bytes begin with

    def to_bytes(self) -> bytes:
        """The whole state. Equal totals give equal bytes, on any machine."""
        raise NotImplementedError

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that `to_bytes` wrote.

        Raises
        ------
        ValueError
            The bytes are not a state, are damaged, or of a version that is not known here.
        """
        called = cls.what.partition(" ")[2]
        header, rest = frame.unpack(cls.name, data, called)
        try:
            state = cls._restored(header, rest)
        except _DAMAGE as error:
            raise ValueError(f"a damaged {called}: {error}") from None
        if state.to_bytes() != data:  # a key too many, say, or a count of 1.0
            raise ValueError(f"a damaged {called}: not as it is written")
        return state

    @classmethod
    def _restored(cls, header: dict[str, Any], rest: memoryview) -> Self:
        """What a header and the data behind it say, which some rows lead to."""
        raise NotImplementedError

    def _take(
        self, given: dict[str, Any], reading: Reading, first_row: int | None, **how: Any
    ) -> None:
        """Add a block that a user gives, all of it or nothing; `how` as a share takes it."""
        own: Any = self
        first = own.rows if first_row is None else operator.index(first_row)
        if first < 0:
            raise ValueError(f"first_row is {first}, not 0 or more")
        share = own.share()
        block = reading.given(given, own.task, own.ignore_index)
        share.add(block, number=first.__add__, **how)
        own.merge(share.state())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Saved) or type(other) is not type(self):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]


_DAMAGE = (struct.error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_KINDS: dict[bytes, type[Saved]] = {}
S = TypeVar("S", bound=type[Saved])


def kind(name: bytes) -> Callable[[S], S]:
    """A decorator: bytes that begin with this name are a state of the class."""

    def register(of: S) -> S:
        _KINDS[name], of.name = of, name
        return of

    return register


def restore(data: bytes) -> Any:
    """The state of whatever kind that `to_bytes` wrote.

    Raises
    ------
    ValueError
        The bytes are not a state, are damaged, or of a version that is not known here.
    """
    for name, of in _KINDS.items():
        if data.startswith(name):
            return of.from_bytes(data)
    raise ValueError("not a saved evaluation")
