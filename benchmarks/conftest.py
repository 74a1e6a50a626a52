"""One core, and a measurement beside its calibration."""

import os
import statistics
import timeit
from functools import partial

import numpy as np
import pytest

from . import cases

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else [0]


def pytest_configure():
    np.ones(2**27)  # 1 GiB that malloc keeps: results are written to memory that is mapped
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES[:1])


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: cases.order(item.callspec.params["case"]))


@pytest.fixture
def measure(benchmark):
    """measure(case, function, *arguments) times it, and the same bytes copied and searched."""

    def measured(case, function, *arguments):
        benchmark(function, *arguments)
        if not benchmark.stats:  # --benchmark-disable
            return
        x = case.inputs[0]
        copy, largest = calibration(x)
        stats = benchmark.stats.stats
        benchmark.extra_info.update(
            ns=stats.median / case.elements * 1e9,
            best=stats.min / case.elements * 1e9,
            gb_per_s=case.bytes / stats.median / 1e9,
            copy=stats.median / copy,
            max=stats.median / largest,
        )

    return measured


def calibration(x):
    """Seconds to copy x, and to find its maximum: what the machine can do at this moment."""
    return seconds(partial(np.copyto, np.empty_like(x), x)), seconds(x.max)


def seconds(function, budget=0.02):
    once = max(min(timeit.repeat(function, number=1, repeat=2)), 1e-7)
    number = max(1, int(1e-4 / once))
    rounds = min(max(3, int(budget / (number * once))), 200)
    return statistics.median(timeit.repeat(function, number=number, repeat=rounds)) / number
