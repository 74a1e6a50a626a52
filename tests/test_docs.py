"""Every public function is documented in full, and its examples are true on both backends."""

import doctest
import inspect
import os
import re
import subprocess
import sys

import pytest
from conftest import kernels
from test_contract import MODULES

import lossgrad
from lossgrad import reference
from lossgrad.registry import OPS

PUBLIC = {name: getattr(m, name) for m in MODULES for name in m.__all__}
SECTIONS = ["Parameters", "Returns", "Raises", "Notes", "Examples"]
EXTRA = {
    name: getattr(lossgrad, name)
    for name in ("get_include", "get_num_threads", "set_num_threads", "show_config")
}
public = pytest.mark.parametrize("name", [*PUBLIC, *EXTRA])


def sections(text):
    """Heading: text below it, of a numpydoc docstring; its summary is under ''."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", inspect.cleandoc(text), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def documented(section):
    """Names that a section describes: `a, b : type`, without the type where it is elsewhere."""
    heads = [line.split(" : ")[0] for line in section.splitlines() if line and line[0] != " "]
    return [name.strip() for head in heads for name in head.split(",")]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_part_is_documented(name):
    found = sections(PUBLIC[name].__doc__)
    assert list(found) == ["", *(s for s in SECTIONS if s in found)], "unknown or unordered"
    assert {"Parameters", "Returns", "Raises", "Examples"} <= set(found)
    assert found[""].strip().partition("\n\n")[0].endswith(".")  # the summary
    assert documented(found["Parameters"]) == list(inspect.signature(PUBLIC[name]).parameters)
    assert re.search(r"[A-Z]\w+Error", found["Raises"])
    assert f"lossgrad.{name}(" in found["Examples"]


def test_formula_and_bound_are_stated():
    for op in OPS:
        text = PUBLIC[op.name].__doc__
        assert ".. math::" in text, op.name
        assert "ULP" in text, op.name


@pytest.mark.skipif(kernels is None, reason="the bounds stand in the compiled kernels")
def test_the_bounds_stated_are_those_of_the_table_in_c():
    said = 0
    for name, bounds in kernels.bounds().items():
        for function, bound in zip((name, f"{name}_backward"), bounds, strict=True):
            text = PUBLIC[function].__doc__ if function in PUBLIC else ""
            found = re.search(r"(\d+) ULP", text)
            said += bool(found)
            assert found is None or float(found[1]) == bound, function
    assert said > 40


@public
def test_examples_are_true(name):
    if kernels is None and name not in EXTRA:
        pytest.skip("needs the compiled kernels")
    function = {**PUBLIC, **EXTRA}[name]
    tests = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert sum(len(test.examples) for test in tests) >= 2
    report = []
    failed, _ = doctest.DocTestRunner().run(tests[0], out=report.append)
    assert not failed, "".join(report)


ON_THE_REFERENCE = """
import doctest, lossgrad
from lossgrad import activations, distributions, losses, norms, row_losses, softmax_family
failed = 0
for module in (activations, distributions, losses, norms, row_losses, softmax_family):
    for name in module.__all__:
        assert getattr(lossgrad, name).__module__.startswith("lossgrad.reference.")
        function = getattr(module, name)
        for test in doctest.DocTestFinder(recurse=False).find(function, name, globs={}):
            failed += doctest.DocTestRunner().run(test).failed
raise SystemExit(failed)
"""


def test_examples_are_true_on_the_reference():
    env = {**os.environ, "LOSSGRAD_BACKEND": "numpy"}
    done = subprocess.run(
        [sys.executable, "-c", ON_THE_REFERENCE],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_says_what_it_computes():
    for name in reference.__all__:
        assert getattr(reference, name).__doc__, name
    for module in (lossgrad, *MODULES, reference):
        assert module.__doc__, module.__name__
