"""A loss and its gradient allocate the gradient and a little a row; with out=, the latter alone."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from conftest import kernels

import lossgrad

pytestmark = pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")

ROWS, CLASSES = 5_000, 2_000
FEW = 64 * ROWS + 2**16  # bytes: O(rows) and what does not depend on sizes
OPTIONS = [{}, {"reduction": "none"}, {"label_smoothing": 0.1}, {"weight": np.ones(CLASSES)}]


def peak(function, *arguments, **options):
    tracemalloc.start()
    try:
        results = function(*arguments, **options)
        return tracemalloc.get_traced_memory()[1], results
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cross_entropy_allocates_its_gradient(options, threads):
    logits, labels = np.zeros((ROWS, CLASSES), np.float32), np.zeros(ROWS, np.int64)
    compute = lossgrad.cross_entropy_value_and_grad
    compute(logits[:1], labels[:1], out=logits[:1])  # what NumPy imports at first use
    fresh, (_, gradient) = peak(compute, logits, labels, num_threads=threads, **options)
    assert gradient.nbytes <= fresh <= gradient.nbytes + FEW
    within, _ = peak(compute, logits, labels, out=logits, num_threads=threads, **options)
    assert within <= FEW
    forward, _ = peak(lossgrad.cross_entropy, logits, labels, num_threads=threads, **options)
    assert forward <= FEW


RESIDENT = """
import resource, sys
import numpy as np, lossgrad
unit = 1 if sys.platform == "darwin" else 1024
x, y = np.ones((5_000, 2_000), np.float32), np.zeros(5_000, np.int64)
lossgrad.cross_entropy_value_and_grad(x[:100], y[:100])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lossgrad.cross_entropy_value_and_grad(x, y, out=x, num_threads=2)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_the_process_does_not_grow():
    """What C and the threads take is no part of what tracemalloc sees."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 4 * 2**20  # the gradient would be 40 MB
