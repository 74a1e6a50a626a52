"""The largest error of every function of every library, and the input that shows it.

Exact values and the ruler are those of the tests (tests/oracle.py, tests/ulp.py). An answer in a
type wider than the input's is rounded to that. At a kink there is no derivative to compare with.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype of NumPy)
import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import oracle
import ulp

from .. import exhaustive
from ..exhaustive import Form
from .libraries import Array, Call, Table, forms, has_slope, operands

DTYPES = ("float32", "float16", "bfloat16")
STRIDE = 1021  # prime: 2^22 of all 2^32 words
BLOCK = 1 << 20
OFF = 2.0  # ULP from which on another sign counts as wrong: near a root it says nothing
KINKS = {"relu": 0, "leaky_relu": 0, "selu": 0, "hardsigmoid": 3, "hardswish": 3}
Exact = tuple[Array, Array | None]  # a value, and the larger of the terms that cancel in it


# ---- inputs --------------------------------------------------------------------------------------


def floats(form: Form, dtype: str, stride: int) -> Iterator[Array]:
    """Blocks of the sample: with a stride of 1 every float32, always every half."""
    if dtype != "float32":
        yield np.arange(2**16, dtype=np.uint16).view(dtype)
        return
    yield np.array(exhaustive.hardest(form.name), np.float32)
    edges = np.arange(0, 2**32, 2**23)[:, None] + [-1, 0, 1]  # the ends of every exponent
    yield edges.astype(np.uint32).ravel().view(np.float32)  # -1 is a NaN as well
    for words in form.words:
        for start in range(words.start, words.stop, stride * BLOCK):
            stop = min(start + stride * BLOCK, words.stop)
            yield np.arange(start, stop, stride, np.uint32).view(np.float32)


def numbers(form: Form, dtype: str, stride: int) -> Iterator[Array]:
    """Of them those that the function is for."""
    for x in floats(form, dtype, stride):
        yield x[(x >= 0) & (x <= 1)] if form.op.inputs == ("probabilities",) else x


def rows(form: Form, dtype: str, stride: int) -> Iterator[Array]:
    """Rows (0, x) for every finite x of the sample, and random rows of hundreds of numbers."""
    rng, limits = np.random.default_rng(0), ulp.info(dtype)
    if form.op.kind == "distribution":
        yield rng.dirichlet(np.ones(100), (1000, 2)).astype(dtype)
    elif form.op.kind == "norm":
        size = 2.0 ** rng.uniform(limits.minexp, limits.maxexp - 8, (1000, 1))
        yield (rng.normal(size=(1000, 1000)) * size).astype(dtype)
    else:
        yield (rng.normal(size=(1000, 1000)) * 4).astype(dtype)
        for x in numbers(form, dtype, stride):
            x = x[np.isfinite(x)]
            yield np.stack([np.zeros_like(x), x], axis=1)


def inputs(form: Form, dtype: str, stride: int) -> Iterator[Array]:
    return (numbers if "elementwise" in form.op.kind else rows)(form, dtype, stride)


def shown(x: Array, at: int) -> str:
    """The input in words: a number, or a row by its place."""
    row = x[at]
    if row.size > 2:
        return f"row {at} of {len(x)}"
    return f"({', '.join(map(str, row))})" if row.ndim else str(row)


# ---- exact values --------------------------------------------------------------------------------


def exact_results(form: Form, x: Array) -> dict[str, Exact]:
    """By the end of the name: of the function, and of its derivative."""
    x = np.asarray(x, np.float32)  # the halves are all among them
    if form.op.kind == "elementwise":
        value = getattr(oracle, form.op.name)(x, **form.options)
        return {"": (value, None), "'": oracle.derivative(form.op.name, x, **form.options)}
    if form.op.kind == "loss_elementwise":
        given = operands(form, x)
        slope = getattr(oracle, f"{form.op.name}_derivative")(*given)[0]
        return {"": (getattr(oracle, form.op.name)(*given), None), "'": (slope, None)}
    return {end: (value, None) for end, value in exact_rows(form, x).items()}


def exact_rows(form: Form, x: Array) -> dict[str, Array]:
    if form.op.kind == "norm":
        return {"": np.sqrt((oracle.wide(x) ** 2).sum(axis=1))}
    if form.op.kind == "distribution":
        p, q = operands(form, oracle.wide(x))
        return {"": np.where(p > 0, p * np.log(p / q), 0).sum(axis=1)}
    found = oracle.Rows(-x if form.op.name == "softmin" else x)
    if has_slope(form):
        labels = operands(form, x)[1]
        return {"": found.loss(labels), "'": found.gradient(labels)}
    return {"": getattr(found, form.op.name.replace("softmin", "softmax"))()}


# ---- errors --------------------------------------------------------------------------------------


class Found:
    """What the inputs so far have shown of one function of one library."""

    def __init__(self) -> None:
        self.numbers: dict[str, Any] = {}

    def see(self, x: Array, result: Array, exact: Exact, kink: float | None = None) -> None:
        value, larger = exact
        result = np.asarray(result).astype(x.dtype)
        apart = ulp.distance(result, value, larger)
        if kink is not None:
            apart[abs(x) == kink] = 0
        lost, size = np.isinf(apart), abs(value) if larger is None else larger
        small = size < float(ulp.info(x.dtype).smallest_normal)
        self.largest("", x, np.where(lost | small, 0, apart))
        self.largest("subnormal", x, np.where(lost | ~small, 0, apart))
        self.count("nan", x, lost & np.isnan(result))
        self.count("inf", x, lost & np.isinf(result))
        self.count("a number", x, lost & np.isfinite(result))
        other = np.signbit(result) != np.signbit(value)
        self.count("sign", x, other & (result != 0) & (apart > OFF) & ~lost)

    def largest(self, kind: str, x: Array, apart: Array) -> None:
        """ULP, of results that are normal numbers, and of those below."""
        most = float(apart.max(initial=0))
        if most > self.numbers.get(kind, [0 if kind else -1])[0]:
            self.numbers[kind] = [float(f"{most:.5g}"), shown(x, place(apart))]

    def count(self, kind: str, x: Array, wrong: Array) -> None:
        """Answers that are no finite number where one is right, or the other way, or of the other
        sign."""
        if n := int(wrong.sum()):
            before, at = self.numbers.get(kind, [0, shown(x, place(wrong))])
            self.numbers[kind] = [before + n, at]


def place(values: Array) -> int:
    """The row of the largest."""
    return int(np.unravel_index(values.argmax(), values.shape)[0]) if values.size else 0


@np.errstate(all="ignore")
def errors(
    form: Form, dtype: str, tables: Mapping[str, Table], stride: int
) -> dict[str, dict[str, Any]]:
    """By the name of the result: what every input of the sample shows."""
    found: dict[str, Found] = {}
    for x in inputs(form, dtype, stride):
        if not x.size:
            continue
        for end, exact in exact_results(form, x).items():
            kink = KINKS.get(form.op.name) if end else None
            for library, call in takers(tables, form.name + end, x).items():
                name = f"{library}:{form.name}{end}-{dtype}"
                found.setdefault(name, Found()).see(x, call(x), exact, kink)
    return {name: one.numbers for name, one in found.items()}


def takers(tables: Mapping[str, Table], function: str, x: Array) -> dict[str, Call]:
    """The libraries that have a function, for the type of x; one without float32 is an error."""
    calls = {name: table[function] for name, table in tables.items() if function in table}
    return {name: call for name, call in calls.items() if x.dtype == "f4" or takes(call, x[:2])}


def takes(call: Call, x: Array) -> bool:
    """Whether it takes a half type, which most do not; each says so in its own way."""
    try:
        call(x)
    except Exception:
        return False
    return True


def record(
    tables: Mapping[str, Table],
    stride: int = STRIDE,
    only: Iterable[str] = ("",),
    dtypes: Iterable[str] = DTYPES,
) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """(function, errors) of each in turn."""
    for form in forms():
        if form.name.startswith(tuple(only)):
            yield (
                form.name,
                {
                    name: numbers
                    for dtype in dtypes
                    for name, numbers in errors(form, dtype, tables, stride).items()
                },
            )
