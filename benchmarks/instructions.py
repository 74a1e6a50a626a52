"""Instructions that the main functions execute: a signal without noise, from valgrind.

All are called in one process under callgrind, which writes its counters out at every call of
getppid(): what it counted between two of them is one function's. valgrind knows no AVX-512, so
these are the instructions of the level that it can run.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .cases import Case, cases
from .results import ResultsError

SHAPES = {"elementwise": (16_384,), "rows": (256, 1000)}
REPEAT = 3


def main_cases() -> list[Case]:
    """Every function in float32, once for its shape."""
    found = {}
    for case in cases():
        shape = SHAPES["elementwise" if "elementwise" in case.op.kind else "rows"]
        if case.dtype == "float32" and "jacobian" not in case.function:
            found[case.function] = Case(case.op, case.function, case.dtype, shape)
    return list(found.values())


def work() -> None:
    """What runs under valgrind: every function, between two calls of getppid."""
    for case in main_cases():
        function, arguments = case.call()
        function(*arguments)  # whatever happens only once
        os.getppid()
        for _ in range(REPEAT):
            function(*arguments)
        os.getppid()


def count() -> dict[str, float]:
    """Instructions an element, by the name of the case."""
    if shutil.which("valgrind") is None:
        raise ResultsError("no valgrind: install your system's package (apt install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/counts"]
        command += ["--dump-before=getppid", sys.executable, "-m", __name__]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True
        )
        if done.returncode:
            raise ResultsError(f"valgrind failed: {done.stderr.strip().splitlines()[-1]}")
        dumps = sorted(Path(folder).glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        totals = [
            int(re.search(r"^(?:totals|summary): (\d+)", p.read_text(), re.M)[1]) for p in dumps
        ]
    found = main_cases()
    if len(totals) < 2 * len(found):
        raise ResultsError(f"valgrind wrote {len(totals)} counts of {2 * len(found)}")
    return {
        str(case): float(f"{totals[2 * k + 1] / (REPEAT * case.elements):.4g}")
        for k, case in enumerate(found)
    }


if __name__ == "__main__":
    work()
