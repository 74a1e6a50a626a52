"""The same call on 1, 2, 4, ... cores: long ones gain, and short ones lose nothing."""

import os
from functools import partial

import pytest

from lossgrad._registry import OPS

from .cases import Case
from .conftest import CORES

COUNTS = sorted({1, len(CORES), *(2**k for k in range(20) if 2**k <= len(CORES))})
MEASURED = {
    "cross_entropy": ((8, 10), (65536, 10), (4096, 1000), (1024, 32000)),
    "cross_entropy_value_and_grad": ((8, 10), (65536, 10), (4096, 1000), (1024, 32000)),
    "gelu": ((1_000,), (16_384,), (1_000_000,), (32_000_000,)),
}
CASES = [
    Case(op, name, "float32", shape, library=f"{n} threads")
    for op in OPS
    for name in op.functions
    for shape in MEASURED.get(name, ())
    for n in COUNTS
]


@pytest.fixture
def cores():
    """All that the benchmarks may use; threads inherit them when they start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES)
    yield
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES[:1])


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_scaling(measure, case):
    function, arguments = case.call()
    measure(case, partial(function, *arguments, num_threads=int(case.library.split()[0])))
