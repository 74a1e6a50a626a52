"""lossgrad.torch and lossgrad.jax beside these libraries' own functions, on one core:
``pytest -m peers benchmarks/bridges.py``."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lossgrad.registry import OPS

from .cases import Case, parameters
from .peers import agree, jax_step, peers, torch_step

NAMES = ("sigmoid", "gelu", "binary_cross_entropy_with_logits", "cross_entropy")
ELEMENTS = ((16,), (1_000_000,))
ROWS = ((8, 10), (65536, 10), (4096, 1000))
STEPS = {"torch": torch_step, "jax": jax_step}


def cases() -> Iterator[Case]:
    for op in OPS:
        for library in STEPS if op.name in NAMES else ():
            for shape in ROWS if op.kind == "loss_rows" else ELEMENTS:
                for function in op.functions if op.kind == "elementwise" else op.functions[::2]:
                    own = Case(op, function, "float32", shape, library=library)
                    yield own
                    yield replace(own, way="bridge")


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", parameters(cases()))
def test_bridge(measure, case):
    pytest.importorskip(case.library)
    bridge = f"lossgrad.{case.library}.{case.op.name}"
    path = bridge if case.way == "bridge" else peers(case.op)[case.library]
    run = STEPS[case.library](case, path)
    agree(case, run())
    measure(case, run)
