"""The site's own pages: their examples run, and every operation has what its page shows of it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pages
import pytest
from conftest import kernels

from lossgrad.registry import OPS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generate():
    """docs/generate.py, which is no module of a package."""
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["index", "tutorial"])
def test_examples_are_true(page):
    pytest.importorskip("scipy")
    pages.are_true(pages.examples((DOCS / f"{page}.md").read_text()), page)


@pytest.mark.skipif(kernels is None, reason="the bounds stand in the compiled kernels")
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_operation_has_its_section(generate, op, tmp_path):
    assert sum(op.name in module.__all__ for module in generate.FAMILIES) == 1
    low, high = generate.DRAWN.get(op.inputs[0], (-5.0, 5.0))
    x = np.linspace(low, high, 9)[1:-1]
    assert np.isfinite(generate.value(op, x)).all()
    text = generate.section(op)
    assert f"`{op.formula}`".replace("|", "\\|") in text
    assert re.search(r"largest error in ULP: value, derivatives \| \d", text)
    assert len(re.findall(r"^\| `[-\w.+]+` \|", text, re.M)) == len(generate.EDGES)


def test_derivatives_are_those_of_the_functions(generate):
    """What the plots show together belongs together."""
    for op in OPS:
        if op.gradient:
            low, high = generate.DRAWN.get(op.inputs[0], (-5.0, 5.0))
            x = np.linspace(low, high, 43)[1:-1] + 0.01 * (high - low) / 43
            step = 1e-6
            slope = (generate.value(op, x + step) - generate.value(op, x - step)) / (2 * step)
            np.testing.assert_allclose(
                generate.derivative(op, x), slope, 1e-4, 1e-6, err_msg=op.name
            )


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a id="x" href="b.html#y"><img src="https://e.org/i.png">')
    (tmp_path / "b.html").write_text('<a href="a.html#x"><a href="c.html"><a href="https://e.org">')
    command = [sys.executable, str(DOCS / "links.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "a.html: b.html#y: no such place on the page",
        "a.html: loads https://e.org/i.png",
        "b.html: c.html is not there",
    ]
