"""Recorded results: small JSON files made from pytest-benchmark's, and what got slower in them.

A file has a record for each processor and level that it was written on. ``results`` maps the name
of a case to its median: ``ns`` an element, ``gb_per_s``, and the ratios to copying (``copy``) and
searching (``max``) the same bytes in the same minute, which say how fast the code is where ``ns``
also says how busy the machine was. ``best`` is that of the fastest round.
"""

import functools
import json
import math
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

TOLERANCE = 0.25
INSTRUCTIONS_TOLERANCE = 0.02
PACKAGES = ("lossgrad", "numpy", "torch", "jax", "scikit-learn", "scipy", "onnxruntime")
PACKAGES += ("numkong", "simd-ml-kernels")
Record = dict[str, Any]


class ResultsError(Exception):
    """A file that cannot be read or compared, in one line."""


def setup() -> dict[str, str]:
    """What numbers of this process depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": processor(), "level": level(), "python": platform.python_version(), **versions}


@functools.cache
def processor() -> str:
    """Its name, as pytest-benchmark says it."""
    import cpuinfo

    return str(cpuinfo.get_cpu_info()["brand_raw"])


def level() -> str:
    """The instruction set in use: the best that was built, or LOSSGRAD_ISA."""
    from lossgrad._core import backend

    return str(backend.kernels.level()) if backend.kernels else "reference"


def strip(raw: dict[str, Any]) -> dict[str, Any]:
    """What is worth keeping of pytest-benchmark's JSON: the numbers, by the name of the case."""
    return {
        benchmark["name"].partition("[")[2].rstrip("]"): {
            key: float(f"{value:.4g}") for key, value in benchmark["extra_info"].items()
        }
        for benchmark in raw["benchmarks"]
    }


def key(setup: dict[str, str]) -> str:
    """What records are kept by: numbers of two processors or levels do not compare."""
    return f"{setup['cpu']}, {setup['level']}"


def read(path: Path) -> dict[str, Record]:
    """The records of a file, by their keys."""
    try:
        records = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not (isinstance(records, dict) and records and all(map(is_record, records.values()))):
        raise ResultsError(f"{path}: not a file of `python -m benchmarks run`: no records")
    return records


def is_record(value: Any) -> bool:
    return isinstance(value, dict) and {"setup", "results"} <= value.keys()


def mine(path: Path, anew: bool = False) -> Record:
    """The record of this machine and level; `anew`: one without results, whatever the file has."""
    records = {} if anew and not path.exists() else read(path)
    if anew:
        return {"setup": setup(), "results": {}}
    if (wanted := key(setup())) not in records:
        raise ResultsError(f"{path}: no record of {wanted}; there are: {'; '.join(records)}")
    return records[wanted]


def keep(path: Path, record: Record) -> None:
    """Write the record into the file, beside those of other machines and levels.

    A result is a line, so that a change of one is a change of one line: what lies deeper than
    its name is joined to that.
    """
    records = read(path) if path.exists() else {}
    text = json.dumps({**records, key(record["setup"]): record}, indent=1)
    path.write_text(re.sub(r"\n(?: {4,}|   (?=[]}]))", " ", text) + "\n")


def shown(path: Path) -> list[Record]:
    """What README shows: the first record with peers, and those of its processor's other levels."""
    records = [record for record in read(path).values() if "accuracy" in record]
    if not records:
        raise ResultsError(
            f"{path}: no record has peers: python -m benchmarks run --peers -o {path}"
        )
    return [r for r in records if r["setup"]["cpu"] == records[0]["setup"]["cpu"]]


def merge(old: Record, new: Record) -> Record:
    """`old` with what was measured anew; other versions do not mix."""
    if changed := list(differences(old, new)):
        raise ResultsError(f"cannot update results of another setup: {'; '.join(changed)}")
    setup = {**old["setup"], **new["setup"]}
    return {**old, **new, "setup": setup, "results": {**old["results"], **new["results"]}}


def differences(old: Record, new: Record) -> Iterator[str]:
    before, after = old["setup"], new["setup"]
    for what in before.keys() & after.keys():
        if before[what] != after[what]:
            yield f"{what} {before[what]} -> {after[what]}"


def slowdown(old: dict[str, float], new: dict[str, float]) -> float:
    """How many times slower, by what finds least: a busy memory slows copying and searching, too,
    but not alike, and what disturbs some rounds leaves the best one as it was. Older files have
    no best round."""
    return min(new[key] / old[key] for key in ("copy", "max", "best") if key in old and key in new)


def is_ours(name: str) -> bool:
    return name.startswith("lossgrad:")


def compare(old: Record, new: Record, tolerance: float) -> tuple[list[str], bool]:
    """Lines to print, and whether anything that both have regressed."""
    lines = [f"setup differs: {what}" for what in sorted(differences(old, new))]
    mine = [name for name in new["results"] if is_ours(name)]
    both = [name for name in mine if name in old["results"]]
    change = {name: slowdown(old["results"][name], new["results"][name]) for name in both}
    slower = {name: ratio for name, ratio in change.items() if ratio > 1 + tolerance}
    for name in sorted(slower, key=slower.__getitem__, reverse=True):
        before, after = old["results"][name]["copy"], new["results"][name]["copy"]
        lines.append(f"slower {slower[name]:.2f}x  {name}: {before:.3g} -> {after:.3g} copies")
    counts_before, counts = old.get("instructions", {}), new.get("instructions", {})
    if not both and not counts_before.keys() & counts.keys():
        raise ResultsError("the two records have no result in common")
    more = [
        f"more instructions {counts[name] / counts_before[name]:.3f}x  {name}: "
        f"{counts_before[name]:.4g} -> {counts[name]:.4g} an element"
        for name in counts
        if counts[name] > counts_before.get(name, counts[name]) * (1 + INSTRUCTIONS_TOLERANCE)
    ]
    gone = sorted(name for name in old["results"].keys() - new["results"].keys() if is_ours(name))
    faster = sum(ratio < 1 / (1 + tolerance) for ratio in change.values())
    lines += more
    lines.append(
        f"{len(both)} compared, {len(slower)} slower and {faster} faster by more than "
        f"{tolerance:.0%}; {len(mine) - len(both)} new, {len(gone)} not measured; "
        f"{len(counts.keys() & counts_before.keys())} instruction counts compared, "
        f"{len(more)} grew by more than {INSTRUCTIONS_TOLERANCE:.0%}"
    )
    return lines, bool(slower or more)


@dataclass(frozen=True)
class Result:
    """One measurement, with what its name says."""

    library: str
    function: str
    dtype: str
    shape: str
    way: str
    ns: float
    best: float
    gb_per_s: float
    copy: float
    max: float

    @property
    def elements(self) -> int:
        return math.prod(map(int, self.shape.split("x")))

    @property
    def seconds(self) -> float:
        return self.ns * self.elements / 1e9

    @property
    def bytes(self) -> float:
        return self.gb_per_s * self.seconds * 1e9


def parsed(record: Record) -> list[Result]:
    found = []
    for name, numbers in record["results"].items():
        library, _, rest = name.partition(":")
        function, dtype, shape, *way = rest.split("-")
        found.append(Result(library, function, dtype, shape, "".join(way), **numbers))
    return found
