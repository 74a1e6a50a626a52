"""Whether a result keeps its bits when nothing that matters to it changes.

One process for each environment (threads, instruction set) computes the same functions of every
library; within one, the same numbers lie elsewhere (slice, position, layout). What is counted is
elements whose bits differ from those of the first process.
"""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .libraries import Array, Call, Table, installed

INSIDE = ("slice", "position", "layout")
THREADS = 7  # which do not divide what they share
LENGTHS = 31  # of what is summed
PREFIXES = range(1, 68)  # the tails of every vector
# One thread always; an argument that has to be contiguous, and no switch for the instruction set.
NOT_APPLICABLE = {
    "scipy": {"threads"},
    "numpy": {"threads"},
    "numkong": {"threads"},
    "simd_ml_kernels": {"threads", "layout"},
    "jax": {"layout"},
    "onnxruntime": {"layout", "avx2", "sse2"},
}


# ---- in one process ------------------------------------------------------------------------------


def array(function: str) -> Array:
    """Two-dimensional, of odd lengths."""
    rows = "soft" in function or "cross" in function
    x = np.random.default_rng(0).normal(size=(2003, 331) if rows else (1009, 991)) * 4
    return abs(x).astype(np.float32) if function == "sum" else x.astype(np.float32)


def layouts(x: Array) -> Iterator[Array]:
    """The same numbers in Fortran's order, and every other one of twice as many."""
    yield np.asfortranarray(x)
    yield np.repeat(x, 2, axis=1)[:, ::2]


def elsewhere(x: Array) -> Array:
    """The same numbers, a float further on in memory."""
    room = np.empty(x.size + 1, x.dtype)
    room[1:] = x.ravel()
    return room[1:].reshape(x.shape)


def differing(a: Any, b: Any) -> Array:
    """How many elements have other bits, and how many there are."""
    one, other = (np.ascontiguousarray(np.asarray(v)) for v in (a, b))
    words = f"u{one.dtype.itemsize}"
    return np.array([(one.view(words) != other.view(words)).sum(), one.size])


def of_sum(call: Call, x: Array) -> tuple[Array, dict[str, Array]]:
    """Sums of what is left without the first rows: one of each number of rows."""

    def sums(x: Array, step: int = 1) -> Array:
        return np.array([call(x[k:] if step == 1 else x[k:][::-1].copy()) for k in range(LENGTHS)])

    base = sums(x)
    found = {"slice": differing(sums(elsewhere(x)), base), "position": differing(sums(x, -1), base)}
    return base, found | {"layout": most(differing(sums(y), base) for y in layouts(x))}


def of_rows(call: Call, x: Array) -> tuple[Array, dict[str, Array]]:
    """Rows without the first, a row alone, and rows of other layouts."""
    base = np.array(call(x))
    alone = sum(differing(call(x[k : k + 1])[0], base[k]) for k in PREFIXES)
    found = {"slice": differing(call(x[1:]), base[1:]), "position": alone}
    return base, found | {"layout": most(differing(call(y), base) for y in layouts(x))}


def of_elements(call: Call, x: Array) -> tuple[Array, dict[str, Array]]:
    """Elements without the first, the first few, whose last ones are in a tail, other layouts."""
    base, flat = np.array(call(x)), x.ravel()
    first = sum(differing(call(flat[:k]), base.ravel()[:k]) for k in PREFIXES)
    found = {"slice": differing(call(flat[1:]), base.ravel()[1:]), "position": first}
    return base, found | {"layout": most(differing(call(y), base) for y in layouts(x))}


def most(counts: Iterable[Array]) -> Array:
    return max(counts, key=tuple)


def results(tables: Mapping[str, Table]) -> dict[str, Array]:
    """By library, function and way: the result, and what is compared inside."""
    found = {}
    for library, table in tables.items():
        for function, of in FUNCTIONS.items():
            if function in table:
                with_layout = "layout" not in NOT_APPLICABLE.get(library, ())
                call = table[function] if with_layout else contiguous(table[function])
                base, counts = of(call, array(function))
                found[f"{library}:{function}"] = base
                found |= {f"{library}:{function}:{way}": count for way, count in counts.items()}
    return found


def contiguous(call: Call) -> Call:
    """Of a function that takes no other layout."""
    return lambda x: call(np.ascontiguousarray(x))


FUNCTIONS: dict[str, Callable[[Call, Array], tuple[Array, dict[str, Array]]]] = {
    "sigmoid": of_elements,
    "silu": of_elements,
    "softmax": of_rows,
    "cross_entropy(targets=0)": of_rows,
    "sum": of_sum,
}


# ---- processes -----------------------------------------------------------------------------------


def threads(count: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOSSGRAD_NUM_THREADS", "NPROC")
    return dict.fromkeys(names, str(count))


def processes(environment: Callable[[str], dict[str, str]]) -> dict[str, dict[str, str]]:
    """What each is given: the first as it is, then several threads, then each level below."""
    from lossgrad._core import backend

    best, *below = backend.kernels.available_levels()[::-1] if backend.kernels else ["reference"]
    one, found = environment(best) | threads(1), {}
    found[""] = one
    found["threads"] = {**one, **threads(THREADS), "XLA_FLAGS": ""}
    for level, name in (("avx2", "avx2"), ("sse2", "scalar")):
        if level in below:
            isa = {"LOSSGRAD_ISA": level, "SIMD_ML_ISA": name}
            found[level] = {**environment(level), **threads(1), **isa}
    return found


def run(given: Mapping[str, str]) -> dict[str, Array]:
    """What a process finds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.npz"
        command = [sys.executable, "-m", "benchmarks.field.bits", str(path)]
        subprocess.run(command, env={**os.environ, **given}, check=True)
        with np.load(path) as found:
            return dict(found)


def record(environment: Callable[[str], dict[str, str]]) -> dict[str, dict[str, list[int] | None]]:
    """library:function -> way -> [elements that differ, elements], or None where it has no such
    thing."""
    found = {way: run(given) for way, given in processes(environment).items()}
    first = found.pop("")
    rows: dict[str, dict[str, list[int] | None]] = {}
    for name in (name for name in first if name.count(":") == 1):
        ways = {way: first[f"{name}:{way}"] for way in INSIDE}
        ways |= {way: differing(other[name], first[name]) for way, other in found.items()}
        without = NOT_APPLICABLE.get(name.partition(":")[0], ())
        rows[name] = {w: None if w in without else count.tolist() for w, count in ways.items()}
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.savez(sys.argv[1], **results(installed()))
