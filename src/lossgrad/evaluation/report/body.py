"""What the page of a result shows, by its kind: each is told in a file of its own."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

from lossgrad.evaluation.figures import group_table
from lossgrad.evaluation.problems import visible
from lossgrad.evaluation.report.elements import note, section, table

_GROUPS = 1000  # as many are listed


class Body(NamedTuple):
    """A title, and sections; empty ones are left out."""

    title: str
    sections: Sequence[str]


@singledispatch
def body(result: Any, top_k: Sequence[int], class_names: Sequence[str] | None) -> Body:
    """The page of a result, of whatever kind; arguments as in `report.write`."""
    raise TypeError(f"{type(result).__name__} is no result")


def names_of(classes: int, class_names: Sequence[str] | None) -> list[str]:
    """What the classes are called."""
    return [*map(visible, class_names or map(str, range(classes)))]


def groups(result: Any) -> str:
    """A table of the groups, the worst first."""
    if not result.groups:
        return ""
    head, rows = group_table(result)
    rest = len(rows) - _GROUPS
    more = note(f"and {rest} more, which are better") if rest > 0 else ""
    return section(
        "Groups, the worst first", table(head, rows[:_GROUPS], (0,), sortable=True), more
    )
