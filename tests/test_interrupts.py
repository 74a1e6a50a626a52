"""A call that is interrupted leaves nothing behind, and is answered within 100 ms."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import kernels
from interrupts import PROGRAMS

from lossgrad import _registry

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
rows, classes, dtype, threads = sys.argv[2:6]
shape = (int(rows), int(classes))
lossgrad.set_num_threads(int(threads))

class Enough(Exception): pass
def enough(*_): raise Enough
signal.signal(signal.SIGALRM, enough)

# numbers that take no memory: a row or a column, seen again and again
dtype = np.dtype({"bfloat16": bfloat16}.get(dtype, dtype))
line = np.linspace(0.001, 0.9, shape[1]).astype(dtype)
x = np.broadcast_to(line, shape)
y = np.broadcast_to(np.int64(1), shape[:1])
one = np.broadcast_to(np.ones(1, dtype), shape[:1])
def call():
    __CALL__
signal.setitimer(signal.ITIMER_REAL, 0.2)
start = time.perf_counter()
try:
    call()
except Enough:
    print(time.perf_counter() - start - 0.2)
else:
    print(0)
"""
CASES = {
    "cross_entropy": "lossgrad.cross_entropy(x, y)",
    "with its gradient": "lossgrad.cross_entropy_value_and_grad(x, y)",
    "soft": "lossgrad.cross_entropy(x, x)",
    "smoothed": "lossgrad.cross_entropy(x, y, label_smoothing=.1)",
    "no losses": "lossgrad.nll_loss(x, y)",
    "softmax": "lossgrad.softmax(x)",
    "log_softmax_backward": "lossgrad.log_softmax_backward(x, x)",
    "logsumexp": "lossgrad.logsumexp(x)",
    "along axis 0": "lossgrad.logsumexp(x, axis=0)",
    "relative_entropy": "lossgrad.relative_entropy(x, x)",
    "entropy": "lossgrad.entropy(x)",
    "l2_norm": "lossgrad.l2_norm(x, axis=-1)",
    "l2_norm of all": "lossgrad.l2_norm(x)",
    "gelu": "lossgrad.gelu(x)",
    "bce": "lossgrad.binary_cross_entropy_with_logits(x, x)",
    "mse_loss": "lossgrad.mse_loss(x, x)",
}
