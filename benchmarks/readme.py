"""The generated parts of README.md, between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``."""

import re
from pathlib import Path

import numpy as np

from lossgrad._core import arguments, backend
from lossgrad.registry import OPS, Op

from . import accuracy
from .results import Record, Result, key, parsed

README = Path(__file__).parents[1] / "README.md"
LIBRARIES = {
    "lossgrad": "lossgrad",
    "torch": "torch",
    "torch.compile": "torch.compile",
    "jax": "JAX jit",
    "sklearn": "scikit-learn",
    "scipy": "SciPy",
    "numpy": "NumPy",
}
# What the first screen shows: (function, shape).
SHOWN = (
    ("cross_entropy", "65536x10"),
    ("cross_entropy", "4096x1000"),
    ("cross_entropy", "1024x32000"),
    ("cross_entropy_value_and_grad", "8x10"),
    ("cross_entropy_value_and_grad", "65536x10"),
    ("cross_entropy_value_and_grad", "4096x1000"),
    ("cross_entropy_value_and_grad", "1024x32000"),
    ("binary_cross_entropy_with_logits", "1000000"),
    ("binary_cross_entropy_with_logits_value_and_grad", "1000000"),
    ("softmax", "4096x1000"),
    ("sigmoid", "1000000"),
)
Times = dict[str, float]


def generated(records: list[Record]) -> dict[str, str]:
    """The text of every generated part, by its name; of levels, the first one's counts most."""
    return {
        "headline": headline(records[0]),
        "peers": "\n".join(map(peers, records)),
        "functions": functions(),
        "accuracy": answers(records[0]),
    }


def refresh(records: list[Record], path: Path = README) -> Path:
    text = path.read_text()
    for name, part in generated(records).items():
        text = block(name).sub(lambda found, part=part: found[1] + part + found[3], text)
    path.write_text(text)
    return path


def block(name: str) -> re.Pattern[str]:
    return re.compile(f"(<!-- begin {name} -->\n)(.*?)(<!-- end {name} -->)", re.S)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def times(results: list[Result], function: str, shape: str) -> Times:
    """ns an element in float32, by library."""
    return {
        r.library: r.ns
        for r in results
        if (r.function, r.shape, r.dtype, r.way) == (function, shape, "float32", "")
        and r.library in LIBRARIES
    }


def lead(found: Times) -> float:
    """The best peer's time over ours."""
    return min(ns for library, ns in found.items() if library != "lossgrad") / found["lossgrad"]


def ns(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def headline(record: Record) -> str:
    found = times(parsed(record), "cross_entropy_value_and_grad", "4096x1000")
    return (
        f"The mean cross-entropy of 4096 x 1000 float32 logits with its gradient takes "
        f"{found['lossgrad'] * 4.096:.1f} ms on one core ({key(record['setup'])}): "
        f"{lead(found):.1f} times as fast as the best of the others, "
        f"{found['numpy'] / found['lossgrad']:.1f} times as fast as NumPy.\n"
    )


def peers(record: Record) -> str:
    results = parsed(record)
    rows = []
    for function, shape in SHOWN:
        found = times(results, function, shape)
        if "lossgrad" not in found or len(found) < 2:
            continue
        cells = [ns(found.get(library)) for library in LIBRARIES]
        cells[0] = f"**{cells[0]}**"
        size = shape.replace("x", " x ")
        rows.append([f"`{function}`, {size}", *cells, f"{lead(found):.1f}x"])
    setup = record["setup"]
    versions = ", ".join(
        f"{name} {setup[name]}"
        for name in ("numpy", "torch", "jax", "scikit-learn", "scipy")
        if name in setup
    )
    return (
        f"{key(setup)}: nanoseconds an element, float32, one core, medians:\n\n"
        + table(["", *LIBRARIES.values(), "best peer / lossgrad"], rows)
        + f"\nPython {setup['python']}, {versions}.\n"
    )


def bound(op: Op) -> str:
    """What C states of its largest error, in ULP: of the value, and of the derivatives."""
    kernels = backend.kernels
    bounds = kernels.bounds() if kernels else {}
    name = "prelu" if op.name == "rrelu" else op.name  # it is that, with the slopes that it drew
    stated = [*bounds.get(name, ())[: 2 if op.gradient else 1]]
    if op.hessian and kernels and name in kernels.OPS:
        stated.append(kernels.OPS[name].hessian_bound)
    text = ", ".join(f"{ulp:g}" for ulp in stated)
    soft = bounds.get(f"{name}_soft")
    return f"{text} ({soft[1]:g} with soft targets)" if soft else text


def functions() -> str:
    """The registry, with the bounds that C states."""
    dtypes = ", ".join(arguments.SUPPORTED)
    rows = []
    for op in OPS:
        hessian = f"`{op.hessian}`" if op.hessian else ""
        rows.append(
            [f"`{op.name}`", f"`{op.formula}`", f"`{op.gradient}`", hessian, bound(op), dtypes]
        )
    heads = ["function", "formula", "gradient", "diagonal of the Hessian"]
    return table([*heads, "ULP: value, derivatives", "dtypes"], rows)


def answers(record: Record) -> str:
    rows = []
    for case, peer in zip(accuracy.PROBES, record["accuracy"], strict=True):
        others = [peer.get(library, "") for library in accuracy.LIBRARIES]
        rows.append(
            [case.text, f"{np.float32(case.exact):.3g}", f"**{accuracy.ours(case)}**", *others]
        )
    names = [LIBRARIES[library] for library in accuracy.LIBRARIES]
    return table(["", "exact, rounded to float32", "lossgrad", *names], rows)
