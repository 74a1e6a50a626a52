"""A result as one HTML file that needs nothing else: figures, plots, tables.

The plots are drawn by matplotlib (the extra `report`) as SVG and sit in the page as data. The page
has one style sheet and one script, known by their hashes: a browser runs and loads nothing else.
"""

import os
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib import resources
from string import Template
from typing import Any

import lossgrad
from lossgrad._core.environment import arithmetic
from lossgrad.evaluation.report import comparison, conformal, elements, evaluation, ood, temperature
from lossgrad.evaluation.report.body import body
from lossgrad.evaluation.save import write_whole

_KINDS = comparison, conformal, evaluation, ood, temperature  # each makes its page known


def write(
    path: str | os.PathLike[str],
    result: Any,
    *,
    top_k: Sequence[int] = (),
    class_names: Sequence[str] | None = None,
    about: dict[str, object] | None = None,
) -> None:
    """Write a result as an HTML report, whole or not at all.

    Parameters
    ----------
    path : str or path-like
    result : Result, ComparisonResult, Temperature, ConformalSets or OutOfDistribution
    top_k : sequence of int
        The k whose top-k accuracy is shown.
    class_names : sequence of str, optional
        A name for each class.
    about : dict, optional
        What was evaluated: names and values for the top of the page.

    Raises
    ------
    FileError
        The file cannot be written.
    ImportError
        matplotlib is missing.
    """
    write_whole(path, html(result, top_k, class_names, about or {}).encode())


@arithmetic()  # matplotlib's, too: the caller may have asked NumPy to raise
def html(
    result: Any,
    top_k: Sequence[int],
    class_names: Sequence[str] | None,
    about: dict[str, object],
) -> str:
    """The page."""
    title, sections = body(result, top_k, class_names)
    page, style, script = map(_read, ("page.html", "style.css", "sort.js"))
    return Template(page).substitute(
        policy=f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src {_hash(style)}; script-src {_hash(script)}",
        title=elements.safe(title),
        style=style,
        about=elements.about(about),
        sections="\n".join(filter(None, sections)),
        version=escape(lossgrad.__version__),
        script=script,
    )


def _read(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names it."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
