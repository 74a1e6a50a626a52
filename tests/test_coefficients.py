"""csrc/tools reproduces the coefficients that the kernels use."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[1] / "csrc"
NUMBER = r"-?(?:0x[0-9a-f.]+p[+-]?\d+|\d+\.\d+(?:e[+-]?\d+)?)"
# Shorter numbers are written by hand.
LONG = 9


def numbers(text):
    """All numbers of many digits in a text."""
    found = (m for m in re.findall(NUMBER, text) if len(m) >= LONG)
    return {abs(float.fromhex(m) if "0x" in m else float(m)) for m in found}


@pytest.mark.exhaustive
def test_script_prints_what_the_kernels_use():
    script = [sys.executable, str(CSRC / "tools" / "coefficients.py")]
    printed = numbers(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    sources = [(CSRC / name).read_text() for name in ("vmath.h", "ops.h", "pairs.h")]
    table = re.compile(r"static const \w+ \w+\[\] = \{(.*?)\}", re.S)
    tables = [*table.findall(sources[0]), *table.findall(sources[2])]
    parts = re.findall(r"constant_\((.*?)\)", sources[1])
    ln2 = re.findall(r"#define L(?:OG2E|N2_\w+) (.*)", sources[0])
    assert len(tables) == 27
    assert len(parts) >= 4
    assert len(ln2) == 3
    missing = [numbers(text) - printed for text in (*tables, *parts, *ln2)]
    assert not any(missing), missing
