"""Results keep their bits: over time, which digests.json pins, and over every axis in ways.py on
every level with fused multiply-add, in every dtype."""

import functools

import digests
import pytest
from conftest import FUSED_LEVELS, kernels
from ways import WAYS, same_results

import lossgrad
from lossgrad.registry import OPS

pytest.importorskip("ml_dtypes")
UPDATE = """\
The bits of results have changed. If that is meant, run
    python tests/digests.py --update
and add the line that it prints to CHANGELOG.md."""


@pytest.fixture(params=FUSED_LEVELS)
def fused(request):
    before = kernels.level()
    kernels.set_level(request.param)
    yield lossgrad
    kernels.set_level(before)


@functools.cache
def cases(dtype):
    """[(call, its results)], computed on the level that comes first."""
    return [(call, call(lossgrad)) for call in digests.cases(dtype, digests.SHAPES)]


@pytest.mark.parametrize("dtype", digests.DTYPES)
def test_digests(fused, dtype):
    made = digests.cases(dtype)
    found = digests.digests(made, [call(fused) for call in made])
    found["pair_statistics"] = digests.digest_of_pairs(dtype)
    pinned = {name: of[dtype] for name, of in digests.pinned().items()}
    functions = [name for op in OPS for name in op.functions]
    assert sorted(found) == sorted([*functions, "pair_statistics"])
    changed = [name for name in found if found[name] != pinned.get(name)]
    assert not changed, f"{UPDATE}\n{dtype}: {', '.join(changed)}"
    assert found == pinned


def some(found, level, way, dtype):
    """A part, another one for each way and dtype: a quarter on the widest level, so that each call
    is made in each way in one dtype (and in test_bits.py in others), elsewhere less, and least
    where fused multiply-add is a function of the C library."""
    apart = 4 if level == FUSED_LEVELS[-1] else 37 if level.startswith("portable") else 7
    first = list(WAYS).index(way) + FUSED_LEVELS.index(level) + digests.DTYPES.index(dtype)
    return found[first % apart :: apart]


@pytest.mark.parametrize("dtype", digests.DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_ways(fused, dtype, way):
    made = some(cases(dtype), kernels.level(), way, dtype)
    used = [same_results(way, fused, call, want) for call, want in made]
    assert any(used) or way.startswith("on_threads")


def test_the_changelog_names_the_digests():
    line = f"- Digests {digests.mark(digests.pinned())}:"
    assert line in digests.CHANGELOG.read_text(), f"{UPDATE}\nIt begins with '{line}'"
