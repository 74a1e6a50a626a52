"""Plots of recorded results: beside peers, against the memory's speed, over threads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from .readme import LIBRARIES, times
from .results import Record, Result, parsed

SHAPES = ("65536x10", "4096x1000", "1024x32000")
FUNCTIONS = ("cross_entropy", "cross_entropy_value_and_grad")
STYLE = {"svg.hashsalt": "lossgrad", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}


def draw(record: Record, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    results = parsed(record)
    for plot in (peers, roofline, scaling):
        with plt.rc_context(STYLE):
            figure = plot(results)
            path = folder / f"{plot.__name__}.svg"
            figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)
        yield path


def peers(results: list[Result]) -> Any:
    """Bars: nanoseconds an element of every library."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
    for panel, function in zip(panels, FUNCTIONS, strict=True):
        found = [times(results, function, shape) for shape in SHAPES]
        libraries = [name for name in LIBRARIES if any(name in times for times in found)]
        width = 0.85 / len(libraries)
        for k, library in enumerate(libraries):
            heights = [times.get(library, np.nan) for times in found]
            at = np.arange(len(SHAPES)) + (k - (len(libraries) - 1) / 2) * width
            panel.bar(at, heights, width, label=LIBRARIES[library])
        panel.set(title=function, yscale="log", xticks=range(len(SHAPES)))
        panel.set_xticklabels([shape.replace("x", " x ") for shape in SHAPES])
        panel.set_axisbelow(True)
    panels[0].set_ylabel("ns an element (float32, one core)")
    panels[0].legend(fontsize=8, ncols=2)
    return figure


def roofline(results: list[Result]) -> Any:
    """Time against the bytes that have to be moved; below the line is faster than copying."""
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    mine = [r for r in results if r.library == "lossgrad" and r.dtype == "float32"]
    for suffix, label, mark in (
        ("_value_and_grad", "value and gradient", "s"),
        ("_backward", "backward", "^"),
        ("", "forward", "o"),
    ):
        chosen = [r for r in mine if not r.way and kind(r) == suffix]
        panel.scatter(
            [r.bytes for r in chosen],
            [r.seconds for r in chosen],
            s=18,
            marker=mark,
            label=label,
            alpha=0.8,
        )
    for what, passes in (("copy", 2), ("max", 1)):
        floor: dict[int, list[float]] = {}
        for r in mine:
            floor.setdefault(4 * passes * r.elements, []).append(r.seconds / getattr(r, what))
        sizes = sorted(floor)
        panel.plot(sizes, [np.median(floor[size]) for size in sizes], label=f"NumPy's {what}")
    panel.set(xscale="log", yscale="log", xlabel="bytes read and written", ylabel="seconds")
    panel.legend()
    return figure


def kind(r: Result) -> str:
    return next((s for s in ("_value_and_grad", "_backward") if r.function.endswith(s)), "")


def scaling(results: list[Result]) -> Any:
    """How many times faster more threads are than one of ours: ours, and dotted torch's."""
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for r in results:
        if r.library.endswith("threads"):
            *peer, count, _ = r.library.split()
            job = found.setdefault((r.function, r.shape), {})
            job.setdefault(peer[0] if peer else "ours", {})[int(count)] = r.seconds
    counts: list[int] = []
    for (function, shape), job in found.items():
        one = job["ours"][1]
        title = f"{function}, {shape.replace('x', ' x ')}: {1e3 * one:.2g} ms"
        counts = sorted(job["ours"])
        (line,) = panel.plot(counts, [one / job["ours"][n] for n in counts], "o-", label=title)
        if "torch" in job:
            panel.plot(counts, [one / job["torch"][n] for n in counts], ":", color=line.get_color())
    if counts:
        panel.plot(counts, counts, "--", color="gray", label="ideal")
        panel.set_xticks(counts)
        panel.legend(fontsize=7)
    panel.set(xlabel="threads", ylabel="speed-up (float32)")
    return figure
