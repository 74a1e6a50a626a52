"""A call that is interrupted leaves nothing behind, and is answered within 100 ms."""

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
CALLS = {"forks": 15, "forking_handlers": 15, "threads_at_once": 15, "daemons": 1}


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("name", PROGRAMS)
def test_interrupted(name, threads):
    command = [sys.executable, "-m", "tests.interrupts", name, threads, CALLS.get(name, 60)]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- how soon ------------------------------------------------------------------------------------

SOON = """
import signal, sys, time
import numpy as np, lossgrad
from ml_dtypes import bfloat16

class Enough(Exception):
    pass

def enough(*_):
    raise Enough

def call():
    CALL

shape = tuple(map(int, sys.argv[1:3]))
dtype = np.dtype({"bfloat16": bfloat16}.get(sys.argv[3], sys.argv[3]))
x = np.tile(np.linspace(0.001, 0.9, shape[1]).astype(dtype), (shape[0], 1))
y = np.broadcast_to(np.int64(1), shape[:1])
lossgrad.set_num_threads(2)
signal.signal(signal.SIGALRM, enough)
signal.setitimer(signal.ITIMER_REAL, 0.03)
start = time.perf_counter()
try:
    call()
except Enough:
    print(time.perf_counter() - start - 0.03)
else:
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(0)
"""
CALLS_OF = {
    "cross_entropy": "lossgrad.cross_entropy(x, y)",
    "its gradient": "lossgrad.cross_entropy_value_and_grad(x, y)",
    "smoothed": "lossgrad.cross_entropy(x, y, label_smoothing=.1)",
    "of distributions": "lossgrad.cross_entropy(x, x)",
    "nll_loss": "lossgrad.nll_loss(x, y)",
    "softmax": "lossgrad.softmax(x)",
    "log_softmax_backward": "lossgrad.log_softmax_backward(x, x)",
    "logsumexp": "lossgrad.logsumexp(x)",
    "along the first axis": "lossgrad.logsumexp(x, axis=0)",
    "relative_entropy": "lossgrad.relative_entropy(x, x)",
    "entropy": "lossgrad.entropy(x)",
    "information_content": "lossgrad.information_content(x)",
    "l2_norm": "lossgrad.l2_norm(x, axis=-1)",
    "l2_norm of all": "lossgrad.l2_norm(x)",
    "gelu": "lossgrad.gelu(x)",
    "binary": "lossgrad.binary_cross_entropy_with_logits(x, x)",
    "of probabilities": "lossgrad.binary_cross_entropy(x, x)",
    "mse_loss": "lossgrad.mse_loss(x, x)",
    "kl_div": "lossgrad.kl_div(x, x)",
}
SHAPES = {"many rows": (1_000_000, 100), "two rows": (2, 15_000_000), "short rows": (50_000_000, 2)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CALLS_OF)
def test_within_100_ms(name, shape, dtype):
    command = [sys.executable, "-c", SOON.replace("CALL", CALLS_OF[name]), *map(str, SHAPES[shape])]
    done = subprocess.run([*command, dtype], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.1
