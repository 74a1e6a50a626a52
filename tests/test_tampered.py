"""States that came from elsewhere: what no rows lead to is an error, in each of their sums."""

import copy
import functools

import numpy as np
import pytest

from lossgrad import Comparison, Evaluation
from lossgrad.evaluation.exact import ExactSums
from lossgrad.evaluation.parts import PARTS

ROWS, CLASSES = 60, 4
# Sums that other rows may well have: bytes, and the squares that a correlation is made of.
FREE = {
    ("multiclass", "_parts.bits_per_byte._sums"): {0},
    ("comparison", "_parts.bits_per_byte._sums"): {2},
    ("comparison", "_moments"): {3, 4, 5},
}


def rows():
    random = np.random.default_rng(1)
    x = random.standard_normal((ROWS, CLASSES))
    return x, random.integers(0, CLASSES, ROWS), random.random(ROWS) * (random.random(ROWS) > 0.2)


@functools.cache
def filled(kind, figure, weighted):
    """A state that has seen some rows, with one of the further figures."""
    x, y, s = rows()
    s = s if weighted else None
    columns = {name: np.arange(ROWS) // 9 for name in (PARTS[figure].needs if figure else ())}
    if kind == "comparison":
        state = Comparison(figures=[figure] if figure else [])
        state.update(x, np.round(x, 1), y, s, **columns)
        return state
    state = Evaluation(kind, figures=[figure] if figure else [])
    state.update(x, y if kind == "multiclass" else np.eye(CLASSES)[y], s, **columns)
    return state


def sums_of(found, name=""):
    """Every exact sum in a state, and where it is."""
    if isinstance(found, ExactSums):
        yield name.lstrip("."), found
    elif isinstance(found, dict):
        for key, one in found.items():
            yield from sums_of(one, f"{name}.{key}")
    elif type(found).__module__.startswith("lossgrad") and hasattr(found, "__dict__"):
        yield from sums_of(vars(found), name)


ALIKE = ("bin_", "confusion")  # in names: of these sums some stand for all
KINDS = [
    *(("multiclass", figure) for figure in [None, *PARTS]),
    *(("binary", figure) for figure in [None, *PARTS] if figure != "bits_per_byte"),
    ("comparison", None),
    ("comparison", "bits_per_byte"),
    ("comparison", "clusters"),
    ("comparison", "quantiles"),
]


def places(kind, figure):
    """Those of a figure, or without one of all rows."""
    names = (name for name, _ in sums_of(filled(kind, figure, False)))
    return [name for name in names if name.startswith("_parts") == bool(figure)]


CASES = [(*one, name) for one in KINDS for name in places(*one)]


def more(sums, group):
    sums.add([1e12], group)


def infinite(sums, group):
    sums.add([np.inf], group)


@pytest.mark.parametrize("change", [more, infinite])
@pytest.mark.parametrize(("kind", "figure", "name"), CASES)
def test_a_sum_that_is_not_of_the_rows(kind, figure, name, change):
    weighted = change is more
    of = filled(kind, figure, weighted)
    state = of.from_bytes(of.to_bytes())
    sums = dict(sums_of(state))[name]
    every = sums.size < 40 and not any(one in name for one in ALIKE)
    groups = range(sums.size) if every else (0, sums.size // 3, sums.size - 1)
    before = copy.deepcopy(vars(sums))
    for group in set(groups) - FREE.get((kind, name), set()):
        vars(sums).update(copy.deepcopy(before))
        change(sums, group)
        changed = state.to_bytes()
        with pytest.raises(ValueError, match="a damaged "):
            of.from_bytes(changed)
