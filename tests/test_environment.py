"""The floating-point environment is the caller's: no call changes a flag or the control word, and
none depends on them (rounding, flush to zero, subnormals taken as zero)."""

import ctypes
import gc
import platform
from contextlib import contextmanager

import numpy as np
import pytest
from calls import calls, same_bits

import lossgrad
from lossgrad._registry import OPS

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


def environment():
    state = (ctypes.c_char * 32)()
    ctypes.CDLL("libm.so.6").fegetenv(state)
    return state


def control_word():
    return int.from_bytes(environment()[PLACE], "little")


@contextmanager
def set_word(word):
    """The control word within; yields a function that reads it. No collection of garbage, whose
    callbacks may compute."""
    state = environment()
    state[PLACE] = word.to_bytes(4, "little")
    libm = ctypes.CDLL("libm.so.6")
    gc.disable()
    libm.fesetenv(state)
    try:
        yield control_word
    finally:
        gc.enable()
        state[PLACE] = USUAL.to_bytes(4, "little")
        libm.fesetenv(state)


def with_subnormals(call):
    """The same call with some tiny numbers among its inputs."""
    for name, array in call.arrays.items():
        if array.dtype.kind == "f" and array.size > 3 and array.flags.writeable:
            array.flat[:3] = np.finfo(array.dtype).smallest_subnormal * np.array([1, 40, 70])
            call.arrays[name] = array
    return call


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_environment_is_left_as_found(compiled, op, name, dtype, rng):
    for call in calls(op, (5, 7), dtype, rng, axis=1):
        with set_word(WORDS[name]) as word:
            call(lossgrad)
            after = word()
        assert after == WORDS[name], f"{call}: {after:#x}"


@pytest.mark.parametrize("name", ["flush to zero", "towards zero"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_results_do_not_depend_on_it(compiled, op, name, dtype, rng):
    for call in map(with_subnormals, calls(op, (5, 7), dtype, rng, axis=1)):
        expected = call(lossgrad)
        with set_word(WORDS[name]):
            results = call(lossgrad)
        same_bits(results, expected, str(call))


def test_the_probe():
    with set_word(USUAL) as word:
        assert word() == USUAL
        np.float32(1) / np.float32(3)
        assert word() & FLAGS
    with set_word(WORDS["flush to zero"]):
        assert not float.fromhex("0x1p-1060") * 0.5
