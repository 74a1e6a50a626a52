"""The floating-point environment is the caller's: no call changes a flag or the control word, and
none depends on them (rounding, flush to zero, subnormals taken as zero)."""

import ctypes
import functools
import gc
import pickle
import platform
from contextlib import contextmanager

import numpy as np
import pytest
from calls import calls, same_bits

import lossgrad
from lossgrad import Evaluation
from lossgrad.evaluation import exact, statistics
from lossgrad.registry import OPS

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or platform.libc_ver()[0] != "glibc",
    reason="reads the control word as glibc lays it out on x86",
)

USUAL = 0x1F80
FLAGS = 0x3F
WORDS = {
    "no flags": USUAL,
    "all flags": USUAL | FLAGS,
    "flush to zero": USUAL | 0x8040,
    "towards zero": USUAL | 0x6000,
}
PLACE = slice(28, 32)  # of MXCSR in fenv_t


@functools.cache
def libm():
    return ctypes.CDLL("libm.so.6")


def environment():
    state = (ctypes.c_char * 32)()
    libm().fegetenv(state)
    return state


def control_word():
    return int.from_bytes(environment()[PLACE], "little")


@contextmanager
def set_word(word):
    """The control word within; yields a function that reads it. No collection of garbage, whose
    callbacks may compute."""
    state = environment()
    state[PLACE] = word.to_bytes(4, "little")
    gc.disable()
    libm().fesetenv(state)
    try:
        yield control_word
    finally:
        gc.enable()
        state[PLACE] = USUAL.to_bytes(4, "little")
        libm().fesetenv(state)


def with_subnormals(call):
    """The same call with some tiny numbers among its inputs; labels stay labels."""
    for name, array in call.arrays.items():
        labels = not np.setdiff1d(array, [0, 1]).size
        if array.dtype.kind == "f" and array.size > 3 and array.flags.writeable and not labels:
            array.flat[:3] = np.finfo(array.dtype).smallest_subnormal * np.array([1, 40, 70])
            call.arrays[name] = array
    return call


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_environment_is_left_as_found_and_changes_nothing(compiled, op, dtype, rng):
    for call in map(with_subnormals, calls(op, (5, 7), dtype, rng, axis=1, brief=True)):
        expected = call(lossgrad)
        for name, value in WORDS.items():
            with set_word(value) as word:
                results = call(lossgrad)
                after = word()
            assert after == value, f"{call}, {name}: {after:#x}"
            same_bits(results, expected, f"{call}, {name}")


def extraordinary(task):
    """Logits, targets and weights whose every sum and quotient is out of the ordinary."""
    random = np.random.default_rng(7)
    x = np.ldexp(random.standard_normal((60, 3)), random.integers(-40, 11, (60, 3)))
    x[:3] = [[-np.inf, 0, 0], [np.nan, 0, 0], [800, -800, 0]]
    y = np.eye(3)[np.arange(60) % 3] if task == "binary" else np.arange(60) % 3
    return x, y, np.ldexp(random.random(60), random.integers(-1073, -900, 60))


def evaluated(task, x, y, s):
    """Bytes and figures, by way of all that an evaluation does."""
    parts = Evaluation(task), Evaluation(task)
    for part, rows in zip(parts, np.split(np.arange(60), [20]), strict=True):
        part.update(x[rows], y[rows], s[rows])
    parts[0].merge(parts[1])
    again = Evaluation.from_bytes(parts[0].to_bytes())
    result = again.result()
    return again.to_bytes(), result.to_dict(), result.perplexity, pickle.loads(pickle.dumps(again))


@pytest.mark.parametrize("backend", ["compiled", "reference"])
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_evaluation_has_an_environment_of_its_own(task, backend, monkeypatch):
    if backend == "reference":
        for module in (exact, statistics):
            monkeypatch.setattr(module, "kernels", None)
    data = extraordinary(task)
    expected = evaluated(task, *data)
    with np.errstate(all="raise"):
        assert evaluated(task, *data) == expected
    for name in ("flush to zero", "towards zero"):
        with set_word(WORDS[name]) as word:
            found = evaluated(task, *data)
            after = word()
        assert found == expected
        assert after & ~FLAGS == WORDS[name]


def test_the_report_under_errors_that_raise(tmp_path):
    report = pytest.importorskip("lossgrad.report")
    pytest.importorskip("matplotlib")
    result = lossgrad.evaluate(np.eye(4), [0, 1, 2, 2], sample_weight=[1e-320, 0, 1e-300, 1])
    report.write(tmp_path / "expected", result)
    with np.errstate(all="raise"):
        report.write(tmp_path / "found", result)
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


def test_the_probe():
    with set_word(USUAL) as word:
        assert word() == USUAL
        np.float32(1) / np.float32(3)
        assert word() & FLAGS
    with set_word(WORDS["flush to zero"]):
        assert not float.fromhex("0x1p-1060") * 0.5
