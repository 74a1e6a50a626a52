"""The sanitizers: ``python -m tests.sanitize address|undefined|thread [--short]``.

``address`` and ``undefined`` build a copy of the repository in a scratch folder with the
sanitizer's flags (LOSSGRAD_LEVELS names the levels; with ``--short`` it is the one in use) and run
the tests and the fuzz that reach into C there; ``thread`` runs the pool on its own
(``pool_test.c``), since Python itself is not built for it. The exit status is 1 if anything was
reported.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lossgrad._core.backend import kernels
from tests.test_pool import build as build_pool_test

ROOT = Path(__file__).parent.parent
COPIED = ("csrc", "src", "tests", "benchmarks", "docs", "setup.py", "pyproject.toml", "README.md")
# -O1 is built in a third of the time, and says more of what it finds.
FLAGS = {
    "address": ["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"],
    "undefined": ["-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover=all"],
}
# Leaks are those of the interpreter at its end; a leak of ours is for the tests of memory.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:abort_on_error=1",
}
TESTS = ["test_bits", "test_sums", "test_rows", "test_semantics", "test_overlaps", "test_threads"]
TESTS += ["test_interrupts", "test_doors", "test_ufuncs"]
# What times calls, which take a multiple here, and what compiles modules without the flags.
LEFT_OUT = "within_100_ms or users or another_abi"
SHORT = ["test_sums", "test_errors"]
FUZZ_SECONDS, SHORT_SECONDS = 300, 60


def runtime(name):
    """The sanitizer's library, which an interpreter that was built without has to load first."""
    library = {"address": "libasan.so", "undefined": "libubsan.so"}[name]
    found = subprocess.run(
        ["gcc", f"-print-file-name={library}"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def copy_to(folder):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)


def timed(name, command, **how):
    """Run a command; (its name, how it ended, seconds)."""
    print(f"+ {name}", flush=True)
    start = time.monotonic()
    status = subprocess.run(command, check=False, **how).returncode
    return name, status, time.monotonic() - start


def commands(short):
    """(name, command) of what runs on the build."""
    python = [sys.executable]
    seconds = SHORT_SECONDS if short else FUZZ_SECONDS
    for name in SHORT if short else TESTS:
        chosen = ["-k", f"not ({LEFT_OUT})", f"tests/{name}.py"]
        yield name, [*python, "-m", "pytest", "-q", "-x", *chosen]
    yield "fuzz", [*python, "-m", "tests.fuzz", "--seconds", str(seconds), "--crashes-only"]


def in_a_copy(name, short):
    """Build with the flags, then run."""
    with tempfile.TemporaryDirectory(prefix="lossgrad-sanitize-") as scratch:
        folder = Path(scratch)
        copy_to(folder)
        built = {**os.environ, "LOSSGRAD_CFLAGS": " ".join(FLAGS[name])}
        if short:
            built["LOSSGRAD_LEVELS"] = kernels.level()
        build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        yield timed("build", build, cwd=folder, env=built)
        environment = {
            **os.environ,
            **OPTIONS,
            "LD_PRELOAD": runtime(name),
            "PYTHONPATH": str(folder / "src"),
            "PYTHONMALLOC": "malloc",  # arenas would hide what is past an array
        }
        for what, command in commands(short):
            yield timed(what, command, cwd=folder, env=environment)


def pool():
    """The pool, compiled for the thread sanitizer."""
    with tempfile.TemporaryDirectory(prefix="lossgrad-sanitize-") as scratch:
        program = build_pool_test(Path(scratch), "-fsanitize=thread")
        if not isinstance(program, Path):
            raise SystemExit(f"this compiler has no thread sanitizer:\n{program}")
        yield timed("the pool", [program], cwd=ROOT)


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.sanitize", description=__doc__)
    parser.add_argument("sanitizer", choices=[*FLAGS, "thread"])
    parser.add_argument("--short", action="store_true", help="in less than five minutes")
    options = parser.parse_args(arguments)
    runs = pool() if options.sanitizer == "thread" else in_a_copy(options.sanitizer, options.short)
    results = list(runs)
    print(f"\n{options.sanitizer} sanitizer")
    for name, status, seconds in results:
        print(f"{name:20} {'good' if status == 0 else f'exit status {status}':20} {seconds:6.0f} s")
    return int(any(status for _, status, _ in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
