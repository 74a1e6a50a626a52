"""Every function is tested on every backend: each vector level of the compiled kernels that this
machine can run, and the NumPy reference."""

import contextlib
import os
import tempfile

import numpy as np
import pytest

import lossgrad
from lossgrad import reference
from lossgrad._core import backend

kernels = backend.kernels
LEVELS = kernels.available_levels() if kernels else []
FUSED_LEVELS = [level for level in LEVELS if level not in ("portable", "sse2")]
VECTOR_LEVELS = [level for level in LEVELS if not level.startswith("portable")]
# Beside vectors a portable level is an oracle: test_bits and fuzz hold it to their bits, and only a
# soak asks it for values of its own.
TRIED_LEVELS = [
    level
    if level in (VECTOR_LEVELS or LEVELS)
    else pytest.param(level, marks=pytest.mark.exhaustive)
    for level in LEVELS
]

# What is run on every wheel, on machines of every kind: `pytest -m quick`, two minutes. The other
# files are not even read then, so that the extra "quick" is all they need.
QUICK = ("config", "contract", "digests", "errors", "evaluation", "semantics", "state")


def _is_quick(path):
    return path.stem.removeprefix("test_") in QUICK


def pytest_ignore_collect(collection_path, config):
    is_left_out = collection_path.suffix == ".py" and not _is_quick(collection_path)
    return True if config.option.markexpr == "quick" and is_left_out else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if _is_quick(item.path) and not item.get_closest_marker("exhaustive"):
            item.add_marker("quick")


def _use(name):
    if name == "reference":
        yield reference
        return
    before = kernels.level()
    kernels.set_level(name)
    yield lossgrad
    kernels.set_level(before)


def backends():
    """(name, module) of each backend in turn: for a test whose exact values are dear."""
    for name in (*LEVELS, "reference"):
        with contextlib.contextmanager(_use)(name) as module:
            yield name, module


def trials(few, many):
    """How many random cases a test tries: few, or, as a soak, many."""
    return pytest.mark.parametrize(
        "trials", [few, pytest.param(many, marks=pytest.mark.exhaustive)]
    )


def few(module, every, chosen):
    """Every size, place or call, or, of the reference, those chosen: it is slow, knows no lanes and
    no blocks, and makes contiguous copies of what it reads."""
    return chosen if module is reference else every


@pytest.fixture(params=[*TRIED_LEVELS, "reference"])
def lg(request):
    """A module with the public functions, on each backend in turn."""
    yield from _use(request.param)


@pytest.fixture(params=TRIED_LEVELS)
def compiled(request):
    """The compiled functions, on each level in turn."""
    yield from _use(request.param)


@pytest.fixture(params=VECTOR_LEVELS)
def vectors(request):
    """The compiled functions on each level of several lanes: for what tails and lanes might do."""
    yield from _use(request.param)


@pytest.fixture(params=[*LEVELS[-1:], "reference"])
def either(request):
    """The compiled functions on one level, and the reference: for what surrounds the kernels, which
    is the same on all levels."""
    yield from _use(request.param)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every run, and other ones in every test function."""
    return np.random.default_rng(list(request.function.__name__.encode()))


@pytest.fixture
def full_disk(monkeypatch):
    """A function after whose call no temporary file can be written."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is full")
    mkstemp = tempfile.mkstemp

    def on_a_full_disk(*arguments):
        number, part = mkstemp(*arguments)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, number)
        os.close(full)
        return number, part

    return lambda: monkeypatch.setattr("tempfile.mkstemp", on_a_full_disk)
