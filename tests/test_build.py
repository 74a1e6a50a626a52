"""What setup.py says, in one line, of a machine that cannot build the kernels."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.fixture
def says(tmp_path):
    """The lines that a failing build prints; compiler: a shell's words after `exec`."""

    def build(compiler, **settings):
        stub = tmp_path / "cc"
        stub.write_text(f"#!/bin/sh\nexec {compiler}\n")
        stub.chmod(0o755)
        command = [sys.executable, "setup.py", "-q", "build_ext", f"--build-temp={tmp_path}"]
        command.append(f"--build-lib={tmp_path}")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LOSSGRAD_", "CFLAGS"))}
        env |= {"CC": str(stub)} | settings
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        return done.stderr.splitlines()

    return build


def is_one_line(lines, *parts):
    assert len(lines) == 1, lines
    assert lines[0].endswith("or set LOSSGRAD_PURE=1 to install without compiled kernels")
    for part in parts:
        assert part in lines[0]


def test_a_missing_compiler(says):
    is_one_line(says("false"), "needs a C compiler, GCC 9 or Clang 12 or later", "apt install gcc")
    is_one_line(says("/not/there"), "needs a C compiler")


def pretends(*flags):
    """gcc with these flags after all others."""
    return f'{shlex.quote(str(GCC))} "$@" {shlex.join(flags)}'


@needs_gcc
@pytest.mark.parametrize(
    "flags",
    [
        ["-U__GNUC__", "-D__GNUC__=8"],
        ["-D__clang__", "-D__clang_major__=11"],
    ],
)
def test_too_old_a_compiler(says, flags):
    is_one_line(says(pretends(*flags)), "needs a newer C compiler", "CC names another")


@needs_gcc
def test_missing_headers(says, tmp_path):
    (tmp_path / "Python.h").write_text("#error none are here\n")
    compiler = f'{shlex.quote(str(GCC))} -I{shlex.quote(str(tmp_path))} "$@"'
    is_one_line(says(compiler), "needs Python's headers", "python3-dev")


@needs_gcc
@pytest.mark.parametrize(
    "flags", [["-U__GNUC__", "-D__GNUC__=9"], ["-D__clang__", "-D__clang_major__=12"]]
)
def test_the_oldest_compiler_passes_on_to_the_levels(says, flags):
    lines = says(pretends(*flags), LOSSGRAD_LEVELS="avx1024")
    assert len(lines) == 1, lines
    assert lines[0].startswith("LOSSGRAD_LEVELS: 'avx1024' is none of ")
    assert lines[0].endswith(", all")


def test_without_a_compiler_the_reference_is_installed(tmp_path):
    """LOSSGRAD_PURE=1 asks for no compiler at all."""
    command = [sys.executable, "setup.py", "-q", "build", f"--build-base={tmp_path}"]
    env = os.environ | {"CC": "false", "LOSSGRAD_PURE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [*tmp_path.glob("lib*/lossgrad/activations.py")]
    assert not [*tmp_path.glob("lib*/lossgrad/_kernels/*.so")]
