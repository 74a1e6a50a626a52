"""What is measured: every public function of the registry, on typical data of several shapes.

Arguments follow from the domains that the registry names, so a new operation needs no code here.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype of NumPy)
import numpy as np
import pytest

import lossgrad
from lossgrad._core import arguments
from lossgrad.registry import OPS, Op

# A small call, in L1, in L2, in L3, and out of every cache.
SIZES = ((16,), (1_000,), (16_384,), (1_000_000,), (32_000_000,))
ROWS = ((8, 10), (65536, 10), (65536, 100), (4096, 1000), (256, 32000), (1024, 32000))
# Here a result is also written to an array that the caller keeps.
WITH_OUT = ((16,), (32_000_000,), (8, 10), (1024, 32000))
ALONG_FIRST = (4096, 1000)  # here the classes also lie along the first axis
JACOBIANS = ((8, 10), (65536, 10), (4096, 100))  # results have a class axis more
# What the baseline tracks: float32 from a small call to memory, the other dtypes at one size.
ONE_SIZE = ((16_384,), (4096, 100), (4096, 1000))
TRACKED = (*ONE_SIZE, (16,), (1_000_000,), (32_000_000,), (8, 10), (65536, 10), (1024, 32000))
SMALL = ((16,), (8, 10))

# An array for each domain of the registry, from a generator and the shape of the first input.
DATA: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "real": lambda rng, shape: rng.normal(scale=2, size=shape),
    "logits": lambda rng, shape: rng.normal(scale=2, size=shape),
    "labels": lambda rng, shape: rng.integers(0, shape[-1], shape[:-1]),
    "log-probabilities": lambda rng, shape: -abs(rng.normal(scale=2, size=shape)),
    "probabilities": lambda rng, shape: rng.random(shape),
    "distribution": lambda rng, shape: rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
    "log-means": lambda rng, shape: rng.normal(size=shape),
    "amounts": lambda rng, shape: rng.gamma(2, size=shape) + 0.01,
    "slopes": lambda rng, shape: rng.random(shape[-1]),
    "binary targets": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "binary labels": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
}


@dataclass(frozen=True)
class Case:
    """A function of the package, or a peer's way to compute the same, on arrays of a shape."""

    op: Op
    function: str
    dtype: str
    shape: tuple[int, ...]
    way: str = ""  # "out": with out=; "axis0": the classes along the first axis
    library: str = "lossgrad"
    published: bool = False  # the peer's published form, even where another is faster

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        way = f"-{self.way}" if self.way else ""
        return f"{self.library}:{self.function}-{self.dtype}-{shape}{way}"

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    @property
    def inputs(self) -> list[np.ndarray]:
        return [data(of, self.shape, self.dtype, k) for k, of in enumerate(self.op.inputs)]

    @property
    def upstream(self) -> Any:
        """The gradient that comes into the backward function: of the forward result's shape."""
        shape = np.shape(getattr(lossgrad, self.op.name)(*self.inputs))
        return data("real", shape, self.dtype) if shape else 1.0

    @property
    def bytes(self) -> int:
        """The least that has to be read and written: every argument and every result once."""
        ours, arguments = self.call()
        results = ours(*arguments)
        arrays = [*arguments, *(results if isinstance(results, tuple) else (results,))]
        return sum(np.asarray(a).nbytes for a in arrays)

    @property
    def is_tracked(self) -> bool:
        """Whether `python -m benchmarks run` measures it without --every."""
        if self.way == "out":
            return self.shape in SMALL
        return self.shape in (TRACKED if self.dtype == "float32" else ONE_SIZE)

    @property
    def is_backward(self) -> bool:
        return self.function.endswith("_backward")

    @property
    def is_fused(self) -> bool:
        return self.function.endswith("_value_and_grad")

    @property
    def gives_hessian(self) -> bool:
        return self.function.endswith("_and_hess")

    def call(self) -> tuple[Callable[..., Any], list[Any]]:
        """The function of lossgrad and its arguments."""
        function = getattr(lossgrad, self.function)
        arguments = [self.upstream, *self.inputs] if self.is_backward else self.inputs
        if self.way == "out":
            function = functools.partial(function, out=np.empty_like(self.inputs[0]))
        if self.way == "axis0":
            function = functools.partial(function, axis=0)
            arguments = [a.T.copy() if np.ndim(a) > 1 else a for a in arguments]
        return function, arguments


@functools.lru_cache(maxsize=8)
def data(domain: str, shape: tuple[int, ...], dtype: str, place: int = 0) -> np.ndarray:
    """Random numbers of a domain, the same in every run; others in each place among the inputs."""
    array = DATA[domain](np.random.default_rng(len(domain) + 100 * place), shape)
    return array if array.dtype.kind in "iu" else array.astype(dtype)


def shapes(op: Op, dtype: str) -> Iterator[tuple[int, ...]]:
    rows = JACOBIANS if "jacobian" in op.name else ROWS
    yield from SIZES if "elementwise" in op.kind else rows


def cases() -> Iterator[Case]:
    for dtype in arguments.SUPPORTED:
        for op in OPS:
            for shape in shapes(op, dtype):
                for function in op.functions:
                    case = Case(op, function, dtype, shape)
                    yield case
                    if dtype == "float32" and shape in WITH_OUT and writes_like_input(case):
                        yield Case(op, function, dtype, shape, "out")
                    if dtype == "float32" and shape == ALONG_FIRST and has_class_axis(case):
                        yield Case(op, function, dtype, shape, "axis0")


def parameters(found: Iterable[Case]) -> list[Any]:
    """For pytest: what is not tracked is marked as exhaustive."""
    return [
        pytest.param(case, id=str(case), marks=() if case.is_tracked else pytest.mark.exhaustive)
        for case in found
    ]


def options(case: Case) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(lossgrad, case.function)).parameters


def has_class_axis(case: Case) -> bool:
    return "axis" in options(case) and options(case)["axis"].default == -1


def writes_like_input(case: Case) -> bool:
    """Whether `out=` may be an array like the first input."""
    if "out" not in options(case):
        return False
    if case.is_backward or case.is_fused:
        return True
    small = Case(case.op, case.function, case.dtype, (8, 10)[-len(case.shape) :])
    return not case.op.is_loss and np.shape(small.call()[0](*small.inputs)) == small.shape


def order(case: Case) -> tuple[Any, ...]:
    """Cases on the same arrays follow each other, and peers the function that they are beside."""
    at = [op.name for op in OPS].index(case.op.name)
    return case.dtype, case.shape, at, case.function, case.way, case.library != "lossgrad"
