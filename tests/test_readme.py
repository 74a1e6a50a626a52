"""README.md: its examples run, its computed parts are what is computed, its commands are these.

The files that it and CONTRIBUTING.md name are there.
"""

import re

import pages
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import readme, results
from lossgrad._core import backend

ROOT, TEXT = readme.README.parent, readme.README.read_text()


def test_examples_run():
    pages.are_true(pages.examples(TEXT), "README.md", least=15)


@pytest.mark.parametrize("name", ["headline", "peers", "functions", "accuracy"])
def test_computed_part(name):
    if name == "functions" and backend.kernels is None:
        pytest.skip("the bounds stand in the compiled kernels")
    found = readme.block(name).search(TEXT)
    assert found, f"README.md has no part {name}"
    expected = readme.generated(results.shown(benchmarks.BASELINE))[name]
    assert found[2] == expected, "stale: run `python -m benchmarks report`"


def test_commands():
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
    assert blocks[:2] == [
        "pip install . && lossgrad evaluate --sample digits\n",
        'pip install -e ".[test]" && pytest\n',
    ]


def test_links_exist():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_named_files_exist(page):
    named = re.findall(r"`((?:csrc|src|tests|benchmarks|docs)/[^` ]*)`", (ROOT / page).read_text())
    assert named
    assert not [path for path in named if not [*ROOT.glob(path)]]
