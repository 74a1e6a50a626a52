"""Measure, compare, report: the one command behind every number of the README."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from . import results

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
# One thread each, and an allocator that keeps what is freed (conftest.py fills it): the first touch
# of fresh pages takes longer than most of these functions, and how often it happens is chance.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
# What torch, oneDNN and XLA call a level, and how the names of what NumPy has above it begin.
HELD = {
    "avx2": ("avx2", "AVX2", "AVX2", ("X86_V4", "AVX512")),
    "sse2": ("default", "SSE41", "SSE4_2", ("",)),
}
BUDGET = (
    "--benchmark-max-time=0.03",
    "--benchmark-min-rounds=5",
    "--benchmark-warmup=on",
    "--benchmark-warmup-iterations=2",
    "--benchmark-disable-gc",
)


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except results.ResultsError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="measure, on one core")
    run.add_argument("--peers", action="store_true", help="torch, JAX, SciPy, ... too")
    run.add_argument("--every", action="store_true", help="every dtype at every size: half an hour")
    run.add_argument("--only", metavar="EXPR", help="names to measure, as pytest's -k takes them")
    run.add_argument("--update", action="store_true", help="keep what FILE has beside that")
    run.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.json")
    run.set_defaults(run=measure)

    threads = commands.add_parser("scaling", help="measure, on 1, 2, 4, ... cores: four minutes")
    threads.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="add them to FILE")
    threads.set_defaults(run=scaled)

    compare = commands.add_parser("compare", help="what got slower; exit status 1 if anything did")
    compare.add_argument("old", type=Path, metavar="OLD.json")
    compare.add_argument("new", type=Path, metavar="NEW.json")
    compare.add_argument("--tolerance", type=float, default=results.TOLERANCE, metavar="FRACTION")
    compare.set_defaults(run=compared)

    report = commands.add_parser("report", help="draw the plots and refresh README.md")
    report.add_argument("file", type=Path, nargs="?", default=BASELINE, metavar="FILE.json")
    report.set_defaults(run=reported)

    count = commands.add_parser("instructions", help="count instructions with valgrind")
    count.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="add them to FILE")
    count.set_defaults(run=counted)

    every = commands.add_parser("exhaustive", help="every float32 input: docs/accuracy.md")
    every.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="so forms begin")
    every.add_argument("--levels", nargs="+", metavar="ISA", help="of the kernels; by default all")
    every.set_defaults(run=tried)

    right = commands.add_parser("accuracy", help="errors, beside the peers' on the same inputs")
    right.add_argument("--field", action="store_true", required=True, help="all functions and bits")
    right.add_argument("--every", action="store_true", help="all 2^32 float32: a day")
    right.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="so functions begin")
    right.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="instead of the page")
    right.set_defaults(run=beside)
    return parser


def measure(arguments: argparse.Namespace) -> int:
    old = results.mine(arguments.output, anew=not arguments.update)
    os.environ.update(environment(results.level()))
    files = ["ops.py", *(["peers.py"] if arguments.peers else [])]
    only = ["-k", arguments.only] if arguments.only else []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.json"
        # what torch.compile keeps from runs of other levels frees memory twice
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/compiled"
        command = [sys.executable, "-m", "pytest", "-q", *only, *BUDGET]
        command += ["-m", "" if arguments.every else "not exhaustive"]
        command += [f"--benchmark-json={raw}", "--benchmark-columns=median,rounds"]
        command += ["-rs", "-p", "no:cacheprovider", *(f"benchmarks/{name}" for name in files)]
        status = subprocess.run(command, cwd=HERE.parent)
        if status.returncode:
            raise results.ResultsError(f"pytest failed with status {status.returncode}")
        new = {"setup": results.setup(), "results": results.strip(json.loads(raw.read_text()))}
    if arguments.peers:
        from . import accuracy

        new["accuracy"] = accuracy.record()
    results.keep(arguments.output, results.merge(old, new))
    return 0


def environment(level: str) -> dict[str, str]:
    """ENVIRONMENT, and peers that use no larger instruction set than `level` has."""
    if level not in HELD:
        return ENVIRONMENT
    aten, onednn, xla, above = HELD[level]
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return {
        **ENVIRONMENT,
        "ATEN_CPU_CAPABILITY": aten,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "XLA_FLAGS": f"{ENVIRONMENT['XLA_FLAGS']} --xla_cpu_max_isa={xla}",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in found if name.startswith(above)),
    }


def scaled(arguments: argparse.Namespace) -> int:
    from . import scaling

    path = arguments.output
    old = results.mine(path, anew=not path.exists()) if path else None
    measured = scaling.measure()
    if old:
        results.keep(path, results.merge(old, {"setup": results.setup(), "results": measured}))
    return 0


def compared(arguments: argparse.Namespace) -> int:
    old, new = results.mine(arguments.old), results.mine(arguments.new)
    lines, regressed = results.compare(old, new, arguments.tolerance)
    print("\n".join(lines))
    return int(regressed)


def reported(arguments: argparse.Namespace) -> int:
    from . import readme

    records = results.shown(arguments.file)
    if importlib.util.find_spec("matplotlib") is None:
        raise results.ResultsError("no matplotlib: pip install -e '.[bench]'")
    from . import plots

    for path in [*plots.draw(records[0], HERE / "plots"), readme.refresh(records)]:
        print(path)
    return 0


def counted(arguments: argparse.Namespace) -> int:
    from . import instructions

    path = arguments.output
    old = results.mine(path, anew=not path.exists()) if path else None
    counts = instructions.count()
    for name, number in counts.items():
        print(f"{number:9.3f} instructions an element  {name}")
    if old:
        results.keep(path, {**old, "instructions": counts})
    return 0


def tried(arguments: argparse.Namespace) -> int:
    from lossgrad._core import backend

    from . import exhaustive

    levels, broken = arguments.levels or backend.kernels.available_levels(), []
    for form in exhaustive.forms():
        if form.name.startswith(tuple(arguments.only)):
            found = exhaustive.record(form, levels)
            broken += (lines := found.broken(form))
            times = (f"{level} {seconds:.0f} s" for level, seconds in found.seconds.items())
            print(f"{form.name}: {', '.join(times)}", *lines, sep="\n  ", flush=True)
    return int(bool(broken))


def beside(arguments: argparse.Namespace) -> int:
    os.environ.update(environment(results.level()))  # before any peer is imported
    from .field import page

    path = arguments.output or page.RECORD
    stride = 1 if arguments.every else None
    results.keep(path, page.measured(path, arguments.only, environment, stride))
    if path == page.RECORD:
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
