"""The pool in C on its own (`pool_test.c`), also under the thread sanitizer if there is one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = [HERE / "pool_test.c", HERE.parent / "csrc" / "pool.c"]
CC = shutil.which("gcc") or shutil.which("cc")

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or CC is None or not SOURCES[1].exists(), reason="needs a C compiler"
)


def build(tmp_path, *flags):
    """The compiled test, None if the compiler cannot."""
    program = tmp_path / "pool_test"
    warnings = ["-Wall", "-Wextra", "-Wundef", "-Werror"]
    command = [
        CC,
        "-std=gnu11",
        "-O1",
        "-g",
        *warnings,
        *flags,
        *SOURCES,
        "-pthread",
        "-o",
        program,
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    return program if built.returncode == 0 else built.stderr


def passes(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr[-3000:]


def test_it_shares_stops_and_forks(tmp_path):
    program = build(tmp_path)
    assert isinstance(program, Path), program
    passes(program, "forks")


def test_under_the_thread_sanitizer(tmp_path):
    program = build(tmp_path, "-fsanitize=thread", "-DCOUNT=30000")
    if not isinstance(program, Path):
        pytest.skip("this compiler has no thread sanitizer")
    passes(program)
