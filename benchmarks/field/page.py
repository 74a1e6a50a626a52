"""The record of the field, and the page that shows it: docs/field-accuracy.md."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import lossgrad

from .. import readme, results
from ..results import Record
from . import bits, errors
from .libraries import LIBRARIES, installed

RECORD = Path(__file__).parents[1] / "field.json"
PAGE = Path(__file__).parents[2] / "docs" / "field-accuracy.md"
TITLES = {**readme.LIBRARIES, "jax": "JAX", "onnxruntime": "onnxruntime", "numkong": "numkong"}
TITLES["simd_ml_kernels"] = "simd-ml-kernels"
COLUMNS = ("lossgrad", "torch", "jax", "onnxruntime")  # the others share the last one
WAYS = {
    "threads": f"1 and {bits.THREADS} threads",
    "slice": "a slice",
    "position": "position",
    "layout": "layout",
    "avx2": "AVX2",
    "sse2": "SSE",
}
SAID = 2.0  # ULP of subnormal results beyond which they are shown


def measured(
    path: Path,
    only: Iterable[str],
    environment: Callable[[str], dict[str, str]],
    stride: int | None = None,
) -> Record:
    """What this machine finds, put into what the file has of the same setup; bits, if all is."""
    warnings.simplefilter("ignore")
    stride, found = stride or errors.STRIDE, {}
    for function, numbers in errors.record(installed(), stride, only):
        print(function, flush=True)
        found |= numbers
    setup = results.setup() | {"lossgrad": lossgrad.__version__, "stride": str(stride)}
    new = {"setup": setup, "results": found}
    if list(only) != [""]:
        return results.merge(results.mine(path, anew=not path.exists()), new)
    return {**new, "bits": bits.record(environment)}


# ---- the page ------------------------------------------------------------------------------------


HEAD = """\
# The field: errors and bits of other libraries

{machine}. Made by

```sh
pip install -e ".[field]" && python -m benchmarks accuracy --field
```

which keeps its record in `benchmarks/field.json`: more numbers than are shown here. With `-o
FILE.json` it leaves this page alone, `--only NAME` tries the functions that begin so, `--every`
all float32.{missing}

## The largest errors

In units in the last place (ULP) of the exact result, and the input that shows it. Exact values
are closed forms in float64, held against mpmath in the tests; the derivatives of silu, gelu and
mish are measured in units of the larger of the two terms that cancel at their root. 0.5 is what
rounding costs; 2^24 (1.68e+07) in float32, 2^11 in float16 and 2^8 in bfloat16 is all of the
result, as where a library gives 0 for a number.

- Inputs: {sample}; of float16 and bfloat16 all 65,536. At a kink (relu, leaky_relu and selu at 0,
  hardsigmoid and hardswish at ±3) there is no derivative to compare.
- Rows are (0, x) for every finite x of these, and 1000 rows of 1000 normal numbers times 4; the
  label is 0. Norms are of 1000 rows of 1000 normal numbers over the whole range of the type,
  relative entropies of 1000 pairs of 100 (Dirichlet). All are made by
  `numpy.random.default_rng(0)`, in `benchmarks/field/errors.py`; "row 7 of 1000" is one of
  them.
- Each library's functions with the defaults that make them the same, in
  `benchmarks/field/libraries.py`: derivatives by `torch.autograd` and `jax.vjp` of ones under
  `jit`, JAX's losses as optax writes them, scikit-learn's of `sklearn._loss`. An answer in a
  type wider than the input's is rounded to that: so NumPy and SciPy take halves.
- A gap: the library (numkong was simsimd before) has no such function, or not in this type.
- "nan", "inf" and "a number" at an input: there the library gives that, and the exact result is
  another kind. "Other sign": by more than {off:g} ULP. "Subnormal": the error of results below
  the normal range, where it is above {said:g} ULP; up to 2^23 (8.39e+06) in float32 it is that
  of a library that makes them 0.
"""

BITS = """\
## The same bits

How many elements differ when nothing changes that matters to them, in float32: {threads}
threads for one; the same numbers as a slice that begins elsewhere in memory; an element among
the last ones of a shorter array, a row alone, a sum from the other end; every other element of
an array or Fortran's order; peers and lossgrad held to a smaller instruction set than {level}.
A dash: there is no such choice (one thread only, contiguous arrays only, no switch). A sum here
is lossgrad's `l1_loss` to 0. Levels with fused multiply-add have the same bits here; SSE has
none.
"""


def text(record: Record) -> str:
    """The whole page."""
    sections = [f"## {dtype}\n\n{table(record, dtype)}" for dtype in errors.DTYPES]
    parts = [head(record), *sections]
    if "bits" in record:
        setup = record["setup"]
        said = BITS.format(threads=bits.THREADS, level=setup["level"])
        parts.append(f"{said}\n{bits_table(record['bits'])}")
    return "\n".join(parts)


def head(record: Record) -> str:
    setup, names = record["setup"], {name.partition(":")[0] for name in record["results"]}
    versions = ", ".join(f"{name} {setup[name]}" for name in results.PACKAGES if name in setup)
    absent = [TITLES[name] for name in LIBRARIES if name not in names]
    return HEAD.format(
        machine=f"{results.key(setup)}:\nPython {setup['python']}, {versions}",
        missing=f"\nNot installed when it was made: {', '.join(absent)}." if absent else "",
        sample=sample(int(setup["stride"])),
        off=errors.OFF,
        said=SAID,
    )


def sample(stride: int) -> str:
    if stride == 1:
        return "all 2^32 float32"
    return (
        f"one in {stride:,} of the 2^32 float32, by their bits from 0 ({2**32 // stride + 1:,}),\n"
        "  the ends of every exponent, and the hardest inputs of [our own record](accuracy.md),\n"
        "  so that lossgrad shows its worst"
    )


def table(record: Record, dtype: str) -> str:
    rows: dict[str, dict[str, list[str]]] = {}
    for name, numbers in record["results"].items():
        library, _, rest = name.partition(":")
        function, _, of = rest.rpartition("-")
        if of == dtype:
            rows.setdefault(function, {})[library] = found_of(numbers)
    shown = [
        [f"`{function}`", *("<br>".join(cells.get(name, [])) for name in COLUMNS), others(cells)]
        for function, cells in rows.items()
        if len(cells) > 1
    ]
    return readme.table(["", *(TITLES[name] for name in COLUMNS), "others"], shown)


def others(cells: Mapping[str, list[str]]) -> str:
    rest = (name for name in LIBRARIES if name in cells and name not in COLUMNS)
    return "<br>".join(f"{TITLES[name]} {'; '.join(cells[name])}" for name in rest)


def found_of(numbers: Mapping[str, Any]) -> list[str]:
    """What was found of one function, in words."""
    lines = []
    for kind, (value, at) in numbers.items():
        if kind == "":
            lines.insert(0, f"{ulp(value)} at {at}" if value else "0")
        elif kind == "subnormal":
            lines += [f"subnormal {ulp(value)} at {at}"] if value > SAID else []
        else:
            lines.append(f"{'other sign' if kind == 'sign' else kind} at {at}")
    return lines


def ulp(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.3g}" if math.isfinite(value) else "inf"


def bits_table(found: Mapping[str, Mapping[str, list[int] | None]]) -> str:
    ways = [way for way in WAYS if any(way in row for row in found.values())]
    rows = []
    for name, counts in found.items():
        library, _, function = name.partition(":")
        rows.append([f"{TITLES[library]} `{function}`", *(same(counts[way]) for way in ways)])
    return readme.table(["", *(WAYS[way] for way in ways)], rows)


def same(count: list[int] | None) -> str:
    if count is None:
        return "-"
    return f"no: {count[0]:,} of {count[1]:,}" if count[0] else "yes"


def write(record: Path = RECORD, path: Path = PAGE) -> None:
    """The page of the record, by its first machine."""
    path.write_text(text(next(iter(results.read(record).values()))))
