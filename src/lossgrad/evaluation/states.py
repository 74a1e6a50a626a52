"""What a state is to those that bring rows to it, whatever it counts: walks, files, clusters."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, TypeVar

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
    """What every state can do since it has bytes."""

    what: ClassVar[str]  # for people

    def to_bytes(self) -> bytes:
        """The whole state."""
        raise NotImplementedError

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that `to_bytes` wrote."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Saved) or type(other) is not type(self):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]


_KINDS: dict[bytes, type[Saved]] = {}
S = TypeVar("S", bound=type[Saved])


def kind(name: bytes) -> Callable[[S], S]:
    """A decorator: bytes that begin with this name are a state of the class."""

    def register(of: S) -> S:
        _KINDS[name] = of
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
