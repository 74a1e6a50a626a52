"""What a page is made of: texts that are safe to show, tables, sections."""

import re
from collections.abc import Iterable, Sequence
from html import escape

from lossgrad.evaluation.problems import visible

_SHORT = 16  # letters of a name that is never broken
_LONG = 30  # rows, from which on a table scrolls in its box
_NUMBER = re.compile(r"\u00b1 \S+(?: %)?|\d\S* %(?::? -?\d[^\s,]*)?|\d\S*-\S+")


def safe(text: str) -> str:
    """A text as HTML: escaped, and without what changes how the page is read."""
    return escape(visible(text))


def unbroken(text: str) -> str:
    """The same, with numbers that stay on one line: browsers break 1e-5 behind its hyphen."""
    return _NUMBER.sub(r'<span class="number">\g<0></span>', safe(text))


def section(title: str, *parts: str) -> str:
    """Parts under a title; without parts nothing."""
    some = [part for part in parts if part]
    return "\n".join([f"<h2>{safe(title)}</h2>", *some]) if some else ""


def note(text: str) -> str:
    """A line that explains."""
    return f'<p class="note">{safe(text)}</p>'


def about(facts: dict[str, object]) -> str:
    """What the page is of: names and values."""
    if not facts:
        return ""
    pairs = (
        f'<div><dt>{safe(name)}:</dt><dd dir="auto">{safe(_text(value))}</dd></div>'
        for name, value in ((name.replace("_", " "), value) for name, value in facts.items())
    )
    return f'<dl class="about">{"".join(pairs)}</dl>'


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def facts(lines: Iterable[tuple[str, str]]) -> str:
    """A table of names and texts."""
    rows = (
        f'<tr><th scope="row">{safe(name)}</th><td>{unbroken(text)}</td></tr>'
        for name, text in lines
    )
    return _boxed("facts", "", rows)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: Sequence[int] = (),
    sortable: bool = False,
) -> str:
    """A table; columns without any text are left out, and it is without rows.

    Parameters
    ----------
    head, rows : sequences of str
    names : sequence of int
        The columns that hold texts of any length and direction of writing.
    sortable : bool
        A click on a head sorts.
    """
    some = [k for k in range(len(head)) if any(row[k] for row in rows)]
    if not some:
        return ""
    top = "".join(_cell("th", head[k], k in names, ' scope="col"') for k in some)
    lines = (
        "<tr>" + "".join(_cell("td", row[k], k in names) for k in some) + "</tr>" for row in rows
    )
    kinds = ["sortable"] * sortable + ["long"] * (len(rows) > _LONG)
    return _boxed(" ".join(kinds), f"<thead><tr>{top}</tr></thead>", lines)


def _cell(tag: str, text: str, name: bool, more: str = "") -> str:
    if not name:
        return f"<{tag}{more}>{unbroken(text)}</{tag}>"
    kind = "name broken" if len(text) > _SHORT else "name"
    shown = safe(text).replace("/", "/<wbr>")  # a path had better break there
    return f'<{tag}{more} class="{kind}" dir="auto">{shown}</{tag}>'


def _boxed(kind: str, head: str, rows: Iterable[str]) -> str:
    """A table in a box that scrolls, with the keys too."""
    body = "\n".join(rows)
    return (
        f'<div class="table" tabindex="0"><table class="{kind}">{head}<tbody>\n{body}\n'
        "</tbody></table></div>"
    )


def images(*found: str) -> str:
    """Plots beside each other, or below where the page is narrow."""
    return '<div class="plots">\n' + "\n".join(found) + "\n</div>" if found else ""
