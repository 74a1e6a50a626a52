"""What is public is what docs/api.md lists, name by name: nothing goes or comes unseen."""

import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import kernels

import lossgrad

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
NEED_KERNELS = ("lossgrad.kernels", "lossgrad.ctypes")


def listed():
    """Module: the names that the page lists as its own."""
    found = defaultdict(list)
    for block in re.findall(r"^```\{eval-rst\}\n(.*?)^```", PAGE, re.M | re.S):
        module = re.search(r"currentmodule:: (\S+)", block)[1]
        found[module] += re.findall(r"^   (?:\* )?(\w+)$", block, re.M)
    return found


LISTED = listed()


@pytest.mark.parametrize("name", LISTED)
def test_the_page_lists_what_is_public(name):
    if kernels is None and name in NEED_KERNELS:
        pytest.skip("needs the compiled kernels")
    module = importlib.import_module(name)
    public = {one: getattr(module, one) for one in module.__all__ if one != "__version__"}
    elsewhere = vars(lossgrad) if module is not lossgrad else {}  # that stands once
    assert sorted(LISTED[name]) == sorted(
        one for one, value in public.items() if elsewhere.get(one) is not value
    )


def test_no_public_module_is_forgotten():
    """Those with a list of names, but for families, whose names are lossgrad's own, and the rooms
    below that are documented where they are used."""
    package = ROOT / "src" / "lossgrad"
    named = {*LISTED, *re.findall(r"`(lossgrad\.[\w.]+)`", PAGE)}
    for path in sorted(package.glob("*.py")):
        module = f"lossgrad.{path.stem}"
        if path.stem.startswith("_") or module in named:
            continue
        own = getattr(importlib.import_module(module), "__all__", None)
        assert own is not None, f"{module} neither is in docs/api.md nor says what it has"
        assert {*own} <= {*LISTED["lossgrad"]}, module
