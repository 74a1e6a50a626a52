"""Rows shared out over cores: callers in threads of their own do not wait for each other."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import lossgrad
from lossgrad._registry import OPS

from .cases import Case
from .conftest import CORES

COUNTS = sorted({1, len(CORES), *(2**k for k in range(20) if 2**k <= len(CORES))})
OP = next(op for op in OPS if op.name == "cross_entropy")
CASES = [
    Case(OP, "cross_entropy_value_and_grad", "float32", (4096, 1000), library=f"{n} threads")
    for n in COUNTS
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scaling(measure, case):
    threads = int(case.library.split()[0])
    logits, labels = (np.array_split(array, threads) for array in case.inputs)
    widen = partial(os.sched_setaffinity, 0, CORES) if len(CORES) > 1 else None
    with ThreadPoolExecutor(threads, initializer=widen) as pool:
        step = partial(pool.map, lossgrad.cross_entropy_value_and_grad)
        measure(case, lambda: list(step(logits, labels)))
