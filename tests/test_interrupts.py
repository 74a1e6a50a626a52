"""A call that is interrupted leaves nothing behind, and is answered within 100 ms."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import kernels
from interrupts import PROGRAMS

pytestmark = [
    pytest.mark.skipif(kernels is None, reason="needs the compiled kernels"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals and fork"),
]
ROOT = Path(__file__).parents[1]
CALLS = {"forks": 5, "forking_handlers": 10, "threads_at_once": 3, "daemons": 1}


@pytest.mark.parametrize("threads", [2, pytest.param(3, marks=pytest.mark.exhaustive), 8])
def test_interrupted(threads):
    """All programs, one after another in one process, which the last of them ends; with more
    threads than the machine may have half as many calls."""
    share = 2 if threads == 8 else 1
    programs = [f"{name}={-(-CALLS.get(name, 20) // share)}" for name in PROGRAMS]
    command = [sys.executable, "-m", "tests.interrupts", str(threads), *programs]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- how soon ------------------------------------------------------------------------------------

SOON = """
import signal, sys, time
import numpy as np, lossgrad
from lossgrad import ufuncs
from ml_dtypes import bfloat16

class Enough(Exception):
    pass

def enough(*_):
    raise Enough

def late(call):
    # seconds from the alarm to the end of a call that it interrupts
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        start = time.perf_counter()
        call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Enough:
        return time.perf_counter() - start - 0.01
    return 0

shape = tuple(map(int, sys.argv[1:3]))
dtype = np.dtype({"bfloat16": bfloat16}.get(sys.argv[3], sys.argv[3]))
x = np.tile(np.linspace(0.001, 0.9, shape[1]).astype(dtype), (shape[0], 1))
y = np.broadcast_to(np.int64(1), shape[:1])
lossgrad.set_num_threads(2)
signal.signal(signal.SIGALRM, enough)
print({call: late(eval(f"lambda: {call}")) for call in sys.argv[4:]})
"""
SLOW = [
    "lossgrad.cross_entropy(x, y)",
    "lossgrad.cross_entropy_value_and_grad(x, y)",
    "lossgrad.cross_entropy(x, y, label_smoothing=.1)",
    "lossgrad.cross_entropy(x, x)",
    "lossgrad.nll_loss(x, y)",
    "lossgrad.softmax(x)",
    "lossgrad.log_softmax_backward(x, x)",
    "lossgrad.logsumexp(x)",
    "lossgrad.logsumexp(x, axis=0)",
    "lossgrad.relative_entropy(x, x)",
    "lossgrad.entropy(x)",
    "lossgrad.information_content(x)",
    "lossgrad.l2_norm(x, axis=-1)",
    "lossgrad.l2_norm(x)",
    "lossgrad.gelu(x)",
    "lossgrad.binary_cross_entropy_with_logits(x, x)",
    "lossgrad.binary_cross_entropy(x, x)",
    "lossgrad.mse_loss(x, x)",
    "lossgrad.kl_div(x, x)",
    "ufuncs.gelu(x)",
    "ufuncs.mse_loss_backward(x, x, x)",
    "ufuncs.softmax(x)",
]
SHAPES = {"many rows": (1_000_000, 100), "two rows": (2, 15_000_000), "short rows": (50_000_000, 2)}


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(("many rows", "float32"), ("two rows", "float32"), ("short rows", "float32")),
        *(("two rows", "bfloat16"), ("short rows", "bfloat16")),
    ],
)
def test_within_100_ms(shape, dtype):
    command = [sys.executable, "-c", SOON, *map(str, SHAPES[shape]), dtype, *SLOW]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    late = ast.literal_eval(done.stdout)
    assert [*late] == SLOW
    assert {call: seconds for call, seconds in late.items() if seconds > 0.1} == {}
