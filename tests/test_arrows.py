"""Imports run one way: from cli to evaluation, the functions, `_core` and `_kernels`."""

import ast
import functools
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lossgrad

PACKAGE = Path(lossgrad.__file__).parent
LAYERS = ("_kernels", "_core", "functions", "evaluation", "cli")
# What stands beside the functions, but above them: the package as its users see it.
ABOVE = {
    "lossgrad": "evaluation",
    "lossgrad.readers": "evaluation",
    "lossgrad.report": "evaluation",
    "lossgrad.sample": "evaluation",
    "lossgrad.jax": "evaluation",
    "lossgrad.torch": "evaluation",
    "lossgrad.__main__": "cli",
}
# Each of these is imported by the bridge to it alone, and by nobody that imports lossgrad.
BRIDGED = ("torch", "jax", "numba", "cffi")


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_of(path):
    """A module's source; of Cython, the lines that import Python."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return source
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(x for x in lines if x.startswith(("from ", "import ")) and "cimport" not in x)


MODULES = {
    name_of(p): p for kind in ("py", "pyx", "pxi") for p in sorted(PACKAGE.rglob(f"*.{kind}"))
}


@functools.cache
def tree(name):
    """A module's source, parsed."""
    return ast.parse(python_of(MODULES[name]))


def layer(name):
    first = name.split(".")[1:2]
    return ABOVE.get(name) or (first[0] if first and first[0] in LAYERS else "functions")


def imported(node, name, is_package):
    """The modules of the package that an import statement of the module names."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & set(MODULES)
    package = name.split(".") if is_package else name.split(".")[:-1]
    above = package[: len(package) - node.level + 1] if node.level else []
    base = ".".join([*above, *filter(None, [node.module])])
    whole = {f"{base}.{alias.name}" for alias in node.names}
    return {full if full in MODULES else base for full in whole} & set(MODULES)


def statements(tree, at_import=False):
    """The import statements, all of them or those that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        never = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (at_import and (later or never)):
            yield from statements(node, at_import)


def needs(name, at_import=False):
    is_package = MODULES[name].stem == "__init__"
    found = statements(tree(name), at_import)
    return set().union(*(imported(node, name, is_package) for node in found))


def test_no_module_imports_from_above():
    for name in MODULES:
        place = LAYERS.index(layer(name))
        above = {other for other in needs(name) if LAYERS.index(layer(other)) > place}
        assert not above, name


def test_only_its_bridge_imports_a_library():
    for name in MODULES:
        source = ast.unparse(tree(name))
        for library in BRIDGED:
            if name != f"lossgrad.{library}":
                assert not re.search(rf"^\s*(import|from) {library}\b", source, re.M), name
                assert f"need('{library}" not in source, name


def test_importing_lossgrad_imports_no_library():
    code = f"import sys, lossgrad; assert not {{*{BRIDGED}}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_circles():
    TopologicalSorter({name: needs(name, at_import=True) for name in MODULES}).prepare()


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("import lossgrad", "lossgrad.sample", {"lossgrad"}),
        ("import numpy as np, lossgrad.cli", "lossgrad.losses", {"lossgrad.cli"}),
        ("from . import threads", "lossgrad._kernels.crossing", {"lossgrad._kernels.threads"}),
        (
            "from .._core import backend as b",
            "lossgrad.reference.norms",
            {"lossgrad._core.backend"},
        ),
        ("from lossgrad import cli, sigmoid", "lossgrad.sample", {"lossgrad.cli", "lossgrad"}),
        ("def f():\n    from .cli import main", "lossgrad.losses", {"lossgrad.cli"}),
        ("if TYPE_CHECKING:\n    from .cli import main", "lossgrad.losses", {"lossgrad.cli"}),
    ],
)
def test_imports_are_seen(source, name, expected):
    found = statements(ast.parse(source))
    assert set().union(*(imported(node, name, False) for node in found)) == expected
    later = source.startswith(("def", "if"))
    assert bool([*statements(ast.parse(source), at_import=True)]) != later
