"""Every script in examples/ does what it says, as a user starts it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import kernels

import lossgrad

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "examples").rglob("*.py")
    if "__main__" in path.read_text()
)
WITH_FOLDER = "examples/languages.py"  # tests/test_real.py starts it, and goes on with its files


@pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")
@pytest.mark.parametrize("script", [one for one in SCRIPTS if one != WITH_FOLDER])
def test_it_runs(script, tmp_path):
    text = (ROOT / script).read_text()
    for module in set(re.findall(r"^(?:import|from) (\w+)", text, re.M)):
        pytest.importorskip(module)
    if "Cython" in text:
        pytest.importorskip("Cython")
    source = Path(lossgrad.__file__).parents[1]  # where these tests have it from
    path = os.pathsep.join([str(source), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "CFLAGS": "-O0"}  # what is compiled runs but shortly
    command = [sys.executable, str(ROOT / script)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_all_are_listed():
    listed = re.findall(
        r"^\| `(examples/.*\.py)` \|", (ROOT / "examples/README.md").read_text(), re.M
    )
    assert sorted(listed) == SCRIPTS
