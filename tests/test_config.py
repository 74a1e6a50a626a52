"""How a backend and a level are chosen, and that calls from many threads agree."""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from calls import all_calls, same_bits
from conftest import LEVELS, few, kernels

import lossgrad

WORKS = "import lossgrad; assert lossgrad.cross_entropy([[0.0, 0.0]], [0]) == 0.6931471805599453; "
SHOW = WORKS + "lossgrad.show_config()"
compiled = pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")


def run(code=SHOW, path=None, **settings):
    """A fresh interpreter with these environment variables and no other of ours."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LOSSGRAD_")} | settings
    if path:
        env["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )


def shown(done):
    """What show_config printed, as a dictionary."""
    assert done.returncode == 0, done.stderr
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_can_be_chosen(level):
    done = run(LOSSGRAD_ISA=level, LOSSGRAD_BACKEND=("", "c")[LEVELS.index(level) % 2])
    config = shown(done)
    assert config["level"] == level
    assert config["backend"] == "c"
    assert done.stderr == ""


@compiled
def test_the_fastest_level_is_the_default():
    for settings in ({}, {"LOSSGRAD_ISA": "", "LOSSGRAD_BACKEND": "c"}):
        config = shown(run(**settings))
        assert config["lossgrad"] == lossgrad.__version__
        assert config["numpy"] == np.__version__
        version = ".".join(map(str, sys.version_info[:3]))
        assert config["python"].startswith(f"{version} ({sys.implementation.name}")
        assert config["platform"] == platform.platform()
        assert config["backend"] == "c"
        assert config["level"] == LEVELS[-1]
        assert config["available"] == ", ".join(LEVELS)
        assert config["compiled"] == ", ".join(kernels.compiled_levels())
        assert int(config["threads"].split()[0]) >= 1
        said = config.get("settings", "").split()
        assert {f"{name}={value}" for name, value in settings.items()} <= {*said}


def last_line(done):
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


@compiled
def test_an_unknown_level_is_an_error():
    message = last_line(run(LOSSGRAD_ISA="avx1024"))
    choices = ", ".join(LEVELS)
    assert message == f"ImportError: LOSSGRAD_ISA='avx1024' is unknown; choose one of {choices}"


@compiled
@pytest.mark.skipif(
    kernels is None or set(kernels.compiled_levels()) == set(LEVELS),
    reason="this machine can run every level",
)
def test_an_unavailable_level_is_an_error():
    level = next(name for name in kernels.compiled_levels() if name not in LEVELS)
    message = last_line(run(LOSSGRAD_ISA=level))
    assert f"LOSSGRAD_ISA={level!r} is not supported by this CPU; choose one of" in message


@compiled
def test_set_level_refuses_and_keeps_the_level():
    before = kernels.level()
    with pytest.raises(ValueError, match="'neither' is unknown"):
        kernels.set_level("neither")
    assert kernels.level() == before


def test_the_reference_can_be_chosen():
    code = "; import lossgrad.reference as r; assert lossgrad.sigmoid is r.sigmoid"
    done = run(SHOW + code, LOSSGRAD_BACKEND="numpy", LOSSGRAD_ISA="never looked at")
    config = shown(done)
    assert config["backend"] == "numpy"
    assert "level" not in config
    assert done.stderr == ""


def test_an_unknown_backend_is_an_error():
    message = last_line(run(LOSSGRAD_BACKEND="cuda"))
    assert message == "ImportError: LOSSGRAD_BACKEND='cuda' is unknown; choose c or numpy"


@pytest.fixture(scope="module")
def without_kernels(tmp_path_factory):
    """The package as it is without its extension."""
    folder = tmp_path_factory.mktemp("pure")
    source = Path(lossgrad.__file__).parent
    shutil.copytree(source, folder / "lossgrad", ignore=shutil.ignore_patterns("*.so", "*.pyd"))
    return folder


def test_a_missing_extension_warns_once_and_works(without_kernels):
    done = run("import lossgrad.activations; " + SHOW, without_kernels)
    assert shown(done)["backend"] == "numpy"
    assert done.stderr.count("RuntimeWarning") == 1
    assert "compiled kernels are missing" in done.stderr
    assert "<string>:1: RuntimeWarning" in done.stderr  # where the caller imports it
    quiet = run(SHOW, without_kernels, LOSSGRAD_BACKEND="numpy")
    assert shown(quiet)["backend"] == "numpy"
    assert quiet.stderr == ""


def test_a_missing_extension_that_was_asked_for_is_an_error(without_kernels):
    message = last_line(run(SHOW, without_kernels, LOSSGRAD_BACKEND="c"))
    assert message.startswith("ImportError: LOSSGRAD_BACKEND=c, but the compiled kernels are mis")


def test_an_extension_that_does_not_load_is_not_passed_over(without_kernels, tmp_path):
    """Only a missing extension falls back; a broken one says so."""
    shutil.copytree(without_kernels / "lossgrad", tmp_path / "lossgrad")
    broken = tmp_path / "lossgrad" / "_kernels" / "crossing.py"
    broken.write_text("import a_library_that_is_not_there\n")
    message = last_line(run(SHOW, tmp_path))
    assert "a_library_that_is_not_there" in message


def test_concurrent_calls_agree(either, dtype, rng):
    shapes = few(either, [(300,), (90, 7), (3, 1030)], [(30, 7)])
    made = [c for shape in shapes for c in all_calls(shape, dtype, rng, brief=True)]
    made = few(either, made, made[7 * (dtype == np.float64) :: 13])
    want = [call(either) for call in made]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(few(either, 2, 1)):
            got = pool.map(lambda call: call(either), made)
            for call, results, expected in zip(made, got, want, strict=True):
                same_bits(results, expected, str(call))
