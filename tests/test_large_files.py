"""Files larger than the memory that may be used: a sparse file takes no disk."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
KILOBYTES = 300e6 / 1024

PROGRAM = r"""
import re, sys
from lossgrad import cli
status = cli.main(sys.argv[1:])
with open("/proc/self/status") as file:  # getrusage would count the parent's memory, too
    print(re.search(r"VmHWM:\s*(\d+) kB", file.read())[1])
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("rows", "classes"),
    [(500_000, 250), pytest.param(5_000_000, 1000, marks=pytest.mark.exhaustive)],
    ids=["0.5 GB", "20 GB"],
)
def test_memory_stays_below_300_megabytes(tmp_path, rows, classes):
    logits = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, shape=(rows, classes))
    logits[-1, 1] = 1.0
    del logits
    np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.int64, shape=(rows,))[-1] = 1
    command = [sys.executable, "-c", PROGRAM, "evaluate", tmp_path / "x.npy", tmp_path / "y.npy"]
    done = subprocess.run(
        [*command, "--json", "--threads", "16"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found, peak = map(json.loads, done.stdout.splitlines())
    assert found["rows"] == rows
    own = np.log(classes - 1 + np.e) - 1
    expected = ((rows - 1) * np.log(classes) + own) / rows
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert 10_000 < peak < KILOBYTES


def test_targets_larger_than_the_logits_are_given_back_too(tmp_path):
    shape = (30_000_000, 1)
    for name, dtype in (("x.npy", np.float16), ("y.npy", np.float64)):
        np.lib.format.open_memmap(tmp_path / name, "w+", dtype, shape)
    command = [sys.executable, "-c", PROGRAM, "evaluate", tmp_path / "x.npy", tmp_path / "y.npy"]
    done = subprocess.run(
        [*command, "--json", "--task", "binary"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 10_000 < int(done.stdout.splitlines()[1]) < KILOBYTES
