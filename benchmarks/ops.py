"""Every function of the registry: ``python -m benchmarks run``, or ``pytest benchmarks/ops.py``."""

import pytest

from .cases import cases, parameters


@pytest.mark.parametrize("case", parameters(cases()))
def test_speed(measure, case):
    function, arguments = case.call()
    measure(case, function, *arguments)
