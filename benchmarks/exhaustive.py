"""Every float32 through every elementwise function and derivative: the largest errors, and where.

The exact values are the float64 kernels', whose own error is 2**-28 of a float32's ULP
(tests/test_accuracy.py holds them against mpmath). One level with fused multiply-add and one
without are held against them, and the other levels against the bits of those two. Blocks stay in
the second-level cache. docs/accuracy.md is the record: ``python -m benchmarks exhaustive`` writes
it, and the default tests try the inputs that it names.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import lossgrad
from lossgrad._core import backend
from lossgrad.registry import OPS, Op

RECORD = Path(__file__).parents[1] / "docs" / "accuracy.md"
BLOCK = 1 << 15
SUM_OF_TERMS = ("silu", "gelu", "mish")  # x F(x): the derivative is F + x F', which may cancel
UNFUSED = ("portable", "sse2")  # levels without fused multiply-add: their bits are alike, too
Array = np.ndarray
Both = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Form:
    """An operation with its parameters, or a loss with its target."""

    op: Op
    options: Mapping[str, Any]
    target: int | None = None

    @property
    def name(self) -> str:
        given = self.options if self.target is None else {"targets": self.target}
        inside = ", ".join(f"{key}={value}" for key, value in given.items())
        return self.op.name + (f"({inside})" if inside else "")

    @property
    def bounds(self) -> tuple[float, float]:
        """What C states."""
        row = "gelu_tanh" if "approximate" in self.options else self.op.name
        return backend.kernels.bounds()[row]

    @property
    def words(self) -> tuple[range, ...]:
        """The inputs, as bit patterns."""
        return (range(0x3F800001 if "probabilities" in self.op.inputs else 2**32),)

    def both(self, dtype: type) -> Both:
        """x -> (value, derivative), with the parameters that a float32 kernel computes with."""
        op, options = self.op, {k: self._single(k, v) for k, v in self.options.items()}
        ones, target = np.ones(BLOCK, dtype), np.full(BLOCK, self.target or 0, dtype)
        forward = getattr(lossgrad, op.name)
        backward = getattr(lossgrad, f"{op.name}_backward")
        if op.is_loss:
            fused = getattr(lossgrad, f"{op.name}_value_and_grad")
            return lambda x: fused(x, target[: x.size], reduction="none")
        value, slope = np.empty(BLOCK, dtype), np.empty(BLOCK, dtype)

        def compute(x: Array) -> tuple[Array, Array]:
            n = x.size
            return (
                forward(x, **options, out=value[:n]),
                backward(ones[:n], x, **options, out=slope[:n]),
            )

        return compute

    def exact_results(self) -> Callable[[Array], tuple[Array, Array, Array | None]]:
        """x -> (value, derivative, the larger of the derivative's terms where they cancel)"""
        both = self.both(np.float64)

        def compute(x: Array) -> tuple[Array, Array, Array | None]:
            value, slope = both(x)
            if self.op.name not in SUM_OF_TERMS or not -4 <= x[0] <= -0.5:  # the roots are here
                return value, slope, None
            mean = value / x
            return value, slope, np.maximum(abs(mean), abs(slope - mean))

        return compute

    def _single(self, name: str, value: Any) -> Any:
        return float(np.float32(value)) if isinstance(value, float) and name != "base" else value


# Parameters near the ends of float32, besides the usual ones of the registry.
EXTREMES: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "leaky_relu": ({"negative_slope": 1e-40},),
    "elu": ({"alpha": 1e-40}, {"alpha": 1e30}),
    "celu": ({"alpha": 1e-40}, {"alpha": 1e30}),
    "softplus": ({"beta": 1e-40}, {"beta": 1e30}),
    "information_content": ({"base": 0.999}, {"base": 1e300}),
}


def forms() -> list[Form]:
    found = []
    for op in OPS:
        if op.kind == "elementwise":
            given = {k: v for k, v in op.parameters.items() if isinstance(v, float)}
            others = *op.variants, *EXTREMES.get(op.name, ())
            found += [Form(op, given), *(Form(op, options) for options in others)]
        elif op.name == "binary_cross_entropy_with_logits":
            found += [Form(op, {}, target) for target in (0, 1)]
    return found


@dataclass(frozen=True)
class Worst:
    """The largest error found, in ULP, and the input that has it."""

    error: float = 0.0
    at: float = 0.0

    def __str__(self) -> str:
        return f"{self.error:.4f} | {self.at.hex()}"


def blocks(form: Form) -> Iterator[Array]:
    for words in form.words:
        for start in range(words.start, words.stop, BLOCK):
            stop = min(start + BLOCK, words.stop)
            yield np.arange(start, stop, dtype=np.uint32).view(np.float32)


@dataclass
class Sweep:
    """What all inputs of a form have shown."""

    worst: dict[str, list[Worst]]  # by level: of the value and of the derivative
    differing: dict[str, float] = field(default_factory=dict)  # by level: an input
    seconds: dict[str, float] = field(default_factory=dict)  # that each level took

    def broken(self, form: Form) -> list[str]:
        """The promises that are not kept."""
        names = form.name, f"{form.name}'"
        return [f"{level}: other bits at {x.hex()}" for level, x in self.differing.items()] + [
            f"{level}: {name} is off by {most.error:.4f} ULP at {most.at.hex()}, bound {bound:g}"
            for level, worst in self.worst.items()
            for name, bound, most in zip(names, form.bounds, worst, strict=True)
            if most.error > bound
        ]


def groups(levels: Sequence[str]) -> list[list[str]]:
    """Levels with the same bits, the fastest first."""
    kinds = ([level for level in levels if (level in UNFUSED) == unfused] for unfused in (0, 1))
    return [group[::-1] for group in kinds if group]


@np.errstate(all="ignore")
def sweep(form: Form, levels: Sequence[str]) -> Sweep:
    """The largest errors of one level of each group, and whether the others have its bits."""
    exact_of, single, again = form.exact_results(), form.both(np.float32), form.both(np.float32)
    x64, ruler, best = np.empty(BLOCK), Ruler(), backend.kernels.available_levels()[-1]
    kinds = groups(levels)
    found = Sweep({group[0]: [Worst(), Worst()] for group in kinds})

    def timed(both: Both, level: str, x: Array) -> tuple[Array, Array]:
        _use(level)
        start = perf_counter()
        results = both(x)
        found.seconds[level] = found.seconds.get(level, 0.0) + perf_counter() - start
        return results

    for x in blocks(form):
        wide = x64[: x.size]
        wide[:] = x
        _use(best)
        exact = exact_of(wide)
        for ruled, *others in kinds:
            results, worst = timed(single, ruled, x), found.worst[ruled]
            for k, result in enumerate(results):
                error = ruler.largest(result, exact[k], exact[2] if k else None)
                if error > worst[k].error:
                    worst[k] = Worst(error, float(x[ruler.where(error)]))
            for level in others:
                for a, b in zip(results, timed(again, level, x), strict=True):
                    apart = differing(a, b)
                    if apart is not None:
                        found.differing.setdefault(level, float(x[apart]))
    return found


def differing(a: Array, b: Array) -> int | None:
    """Where a bit of two results differs, or None; NaN have no bits that count."""
    words = a.view(np.uint32), b.view(np.uint32)
    if np.array_equal(*words):
        return None
    apart = (words[0] != words[1]) & ~(np.isnan(a) & np.isnan(b))
    return int(apart.argmax()) if apart.any() else None


class Ruler:
    """ULP of float32 results against float64 ones, as tests/ulp.py measures them, but fast."""

    def __init__(self) -> None:
        self.gaps = np.empty(BLOCK)
        self.unit: Any = 1.0

    def largest(self, result: Array, exact: Array, larger: Array | None) -> float:
        """The largest error."""
        self.gap = gap = np.subtract(result, exact, out=self.gaps[: result.size])
        size = exact if larger is None else larger
        low, high = size.min(), size.max()
        if low * high >= 0 and unit(low) == unit(high):  # one unit for all
            self.unit = unit(low)
            most = max(gap.max(), -gap.min())
            if most < np.inf:
                return float(most / self.unit)
        self.unit = unit(size)
        rounded = exact.astype(np.float32)  # right where both are NaN, or it rounds to inf
        same = (rounded == result) | (np.isnan(rounded) & np.isnan(result))
        gap[same & ~np.isfinite(gap)] = 0
        gap[np.isnan(gap)] = np.inf
        return float((abs(gap) / self.unit).max())

    def where(self, error: float) -> int:
        """Where the last block has it."""
        return int((abs(self.gap) / self.unit == error).argmax())


def unit(exact: Any) -> Any:
    """The gap between neighbours in float32 at a float64."""
    return np.ldexp(1.0, np.maximum(np.frexp(exact)[1], -125) - 24)


def _use(level: str) -> None:
    if level != backend.kernels.level():  # to look for it takes 35 us on some machines
        backend.kernels.set_level(level)


# ---- the record ----------------------------------------------------------------------------------

HEAD = """\
# The largest errors over all 2^32 float32 inputs

In units in the last place of the exact result (of the larger of the two terms of a derivative that
cancels: silu, gelu, mish), with the input that has it. `avx2`, `avx512`, `neon` and `portable_fma`
have the same bits, and so have `sse2` and `portable`, which lack fused multiply-add. Written by
`python -m benchmarks exhaustive`; the default tests try these inputs.

| function | bound | with fma | at | without | at |
| --- | --- | --- | --- | --- | --- |
"""
DASH = "-"


def read(path: Path = RECORD) -> dict[str, list[str]]:
    """The cells of each row, by its first: a form's name, or that with an apostrophe."""
    lines = re.findall(r"^\| `(.*?)` \| (.*) \|$", path.read_text() if path.exists() else "", re.M)
    return {name: cells.split(" | ") for name, cells in lines}


def write(rows: Mapping[str, list[str]], path: Path = RECORD) -> None:
    names = [name for form in forms() for name in (form.name, f"{form.name}'")]
    lines = [f"| `{name}` | {' | '.join(rows[name])} |\n" for name in names if name in rows]
    path.write_text(HEAD + "".join(lines))


def record(form: Form, levels: Sequence[str], path: Path = RECORD) -> Sweep:
    """Measure, and put the result into the table."""
    found, rows = sweep(form, levels), read(path)
    for level, worst in found.worst.items():
        column = 3 if level in UNFUSED else 1
        for name, bound, most in zip((form.name, f"{form.name}'"), form.bounds, worst, strict=True):
            cells = rows.setdefault(name, ["", DASH, DASH, DASH, DASH])
            cells[0] = f"{bound:g}"
            cells[column : column + 2] = str(most).split(" | ")
    write(rows, path)
    return found


def hardest(name: str, path: Path = RECORD) -> list[float]:
    """The recorded inputs of a form, for its value and its derivative."""
    rows = read(path)
    cells = [cell for key in (name, f"{name}'") for cell in rows.get(key, [])]
    return [float.fromhex(cell) for cell in cells if "0x" in cell]
