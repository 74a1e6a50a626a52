"""The same job on 1, 2, 4, ... threads: `python -m benchmarks scaling [-o FILE.json]`.

Jobs take from half a millisecond to a second on one thread: kernels, and evaluations of files that
are in the page cache. The numbers of threads take turns, so that a busy minute meets all of them;
torch has a turn beside each where it is installed. A machine of any size needs under four minutes.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import lossgrad
from lossgrad.registry import OPS

from .cases import Case
from .conftest import calibration

BUDGET = 0.5  # seconds for a job on one number of threads
MOST_ROUNDS = 25
JOBS = {
    "gelu": ((1_000_000,), (32_000_000,)),
    "cross_entropy": (
        (65536, 10),
        (1_000_000, 10),
        (65536, 100),
        (4096, 1000),
        (65536, 1000),
        (4096, 32000),
    ),
    "cross_entropy_value_and_grad": ((65536, 10), (65536, 100), (4096, 1000), (16384, 1000)),
}
EVALUATED = ((100_000, 1000), (4_000_000, 10))
Call = Callable[[int], object]


@dataclass(frozen=True)
class Job:
    """What is measured: `ours` and, where torch is there, `torchs` take a number of threads."""

    name: str
    shape: tuple[int, ...]
    bytes: int
    calibration: tuple[float, float]
    ours: Call
    torchs: Call | None = None

    def entry(self, seconds: list[float]) -> dict[str, float]:
        """As the other results are recorded: see results.py."""
        elements, median = int(np.prod(self.shape)), statistics.median(seconds)
        copy, largest = self.calibration
        numbers = {
            "ns": median / elements * 1e9,
            "best": min(seconds) / elements * 1e9,
            "gb_per_s": self.bytes / median / 1e9,
            "copy": median / copy,
            "max": median / largest,
        }
        return {key: float(f"{value:.4g}") for key, value in numbers.items()}


def counts() -> list[int]:
    """1, 2, 4, ... and all cores."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return sorted({cores, *(2**k for k in range(20) if 2**k <= cores)})


def kernels(torch: Any) -> Iterator[Job]:
    ops = {function: op for op in OPS for function in op.functions}
    for function, shapes in JOBS.items():
        for shape in shapes:
            case = Case(ops[function], function, "float32", shape)
            ours, arguments = case.call()
            if function != "cross_entropy":  # what is written is mapped
                ours = partial(ours, out=np.empty_like(arguments[0]))
            moved = sum(a.nbytes for a in arguments) + (
                0 if function == "cross_entropy" else arguments[0].nbytes
            )
            yield Job(
                *(function, shape, moved, calibration(arguments[0])),
                lambda n, ours=ours, arguments=arguments: ours(*arguments, num_threads=n),
                torch_call(torch, function, arguments) if torch else None,
            )


def torch_call(torch: Any, function: str, arguments: list[np.ndarray]) -> Call:
    inputs = [torch.from_numpy(a) for a in arguments]
    forward = getattr(torch.nn.functional, function.removesuffix("_value_and_grad"))

    def call(threads: int) -> object:
        torch.set_num_threads(threads)
        if not function.endswith("_value_and_grad"):
            with torch.no_grad():
                return forward(*inputs)
        x = inputs[0].detach().requires_grad_()
        return torch.autograd.grad(forward(x, *inputs[1:]), x)

    return call


def evaluations(folder: Path) -> Iterator[Job]:
    rng = np.random.default_rng(0)
    for rows, classes in EVALUATED:
        paths = str(folder / "logits.npy"), str(folder / "labels.npy")
        logits = np.lib.format.open_memmap(paths[0], "w+", np.float32, (rows, classes))
        for start in range(0, rows, 1 << 14):
            logits[start : start + (1 << 14)] = rng.standard_normal((1, classes), np.float32)
        np.save(paths[1], rng.integers(0, classes, rows))
        size = logits.nbytes + 8 * rows
        yield Job(
            *("evaluate", (rows, classes), size, calibration(np.asarray(logits))),
            lambda n, paths=paths: lossgrad.evaluate(*paths, num_threads=n),
        )


def times(job: Job) -> Iterator[tuple[str, list[float]]]:
    """(library, seconds of each round), the libraries and numbers of threads taking turns."""
    calls = {f"{n} threads": partial(job.ours, n) for n in counts()}
    if job.torchs:
        calls |= {f"torch {n} threads": partial(job.torchs, n) for n in counts()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(MOST_ROUNDS):
        for name, call in calls.items():
            if len(seconds[name]) < 3 or sum(seconds[name]) < BUDGET:
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    yield from seconds.items()


def measure(show: Callable[[str], object] = print) -> dict[str, dict[str, float]]:
    """Results by their names, for results.py."""
    try:
        import torch
    except ImportError:
        torch = None
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for jobs in (kernels(torch), evaluations(Path(folder))):
            for job in jobs:
                shape, line = "x".join(map(str, job.shape)), []
                for library, seconds in times(job):
                    results[f"{library}:{job.name}-float32-{shape}"] = job.entry(seconds)
                    milliseconds = 1e3 * statistics.median(seconds)
                    line.append(f"{library.removesuffix(' threads')}: {milliseconds:.4g}")
                show(f"{job.name} {shape}, ms on so many threads: {', '.join(line)}")
    return results
