"""Every function of the registry: ``python -m benchmarks run``, or ``pytest benchmarks/ops.py``."""

import pytest

from .cases import cases


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_speed(measure, case):
    function, arguments = case.call()
    measure(case, function, *arguments)
