"""Every function has a benchmark, and what the benchmarks conclude follows from the numbers."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import cases, instructions, results
from lossgrad._core import arguments
from lossgrad.registry import OPS

CASES = list(cases.cases())
A = "lossgrad:sigmoid-float32-1000"
B = "lossgrad:softmax-float32-8x10"
FAST = {"ns": 2.0, "best": 1.8, "gb_per_s": 4.0, "copy": 8.0, "max": 2.0}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_function_has_a_benchmark(op):
    for function in op.functions:
        for dtype in arguments.SUPPORTED:
            found = [c for c in CASES if (c.function, c.dtype) == (function, dtype)]
            tracked = [c for c in found if c.is_tracked]
            assert len(found) >= 3, f"{function} of {dtype}"
            assert len(tracked) >= (2 if dtype == "float32" else 1), f"{function} of {dtype}"


def test_the_baseline_has_every_tracked_case():
    """After `python -m benchmarks run --update -o benchmarks/baseline.json --only NAME`."""
    baseline = results.read(command.BASELINE)
    assert {str(c) for c in CASES if c.is_tracked} <= baseline["results"].keys()
    assert {str(c) for c in instructions.main_cases()} <= baseline["instructions"].keys()


@pytest.mark.parametrize("function", sorted({case.function for case in CASES}))
def test_arguments_fit(function):
    case = next(case for case in CASES if case.function == function and not case.way)
    small = replace(case, shape=(7,) if len(case.shape) == 1 else (7, 3))
    called, arguments = small.call()
    called(*arguments)
    assert small.bytes >= small.inputs[0].nbytes


def test_names_tell_cases_apart():
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names)
    (one,) = results.parsed({"results": {"lossgrad:f_backward-float32-8x10-out": FAST}})
    assert (one.library, one.function, one.dtype) == ("lossgrad", "f_backward", "float32")
    assert (one.shape, one.way, one.elements) == ("8x10", "out", 80)
    assert one.seconds == pytest.approx(160e-9)
    assert one.bytes == pytest.approx(640)


def test_bytes_are_those_of_arguments_and_results():
    op = next(op for op in OPS if op.name == "sigmoid")
    case = cases.Case(op, "sigmoid_backward", "float64", (100,))
    assert case.bytes == 3 * 100 * 8


def recorded(path, ours, **more):
    data = {"setup": {"cpu": "x", "level": "avx2"}, "results": ours, **more}
    results.write(path, data)
    assert json.loads(path.read_text()) == data
    return str(path)


def test_a_regression_is_found(tmp_path, capsys):
    slow = {**FAST, "best": 2.8, "copy": 12.0, "max": 3.1}
    old = recorded(tmp_path / "old.json", {A: FAST, B: FAST})
    new = recorded(tmp_path / "new.json", {A: FAST, B: slow, "torch:f-float32-16": slow})
    assert command.main(["compare", old, old]) == 0
    assert command.main(["compare", old, new, "--tolerance", "0.6"]) == 0
    capsys.readouterr()
    assert command.main(["compare", old, new]) == 1
    said = capsys.readouterr().out
    assert f"slower 1.50x  {B}: 8 -> 12 copies" in said
    assert A not in said


def test_files_without_a_best_round_are_compared(tmp_path):
    before = {key: value for key, value in FAST.items() if key != "best"}
    old = recorded(tmp_path / "old.json", {A: before})
    new = recorded(tmp_path / "new.json", {A: {**FAST, "copy": 12.0, "max": 3.1}})
    assert command.main(["compare", old, new]) == 1


def test_a_noisy_machine_is_no_regression(tmp_path):
    """Twice the time, but copying and searching take twice as long, too, or one of them does, or
    the best round is as good as before."""
    old = recorded(tmp_path / "old.json", {A: FAST})
    slow = {"ns": 4.0, "best": 3.6, "copy": 16.0, "max": 4.0}
    for key in ("copy", "max", "best"):
        new = recorded(tmp_path / "new.json", {A: slow | {key: FAST[key]}})
        assert command.main(["compare", old, new]) == 0


def test_more_instructions_are_a_regression(tmp_path, capsys):
    old = recorded(tmp_path / "old.json", {A: FAST}, instructions={A: 10.0})
    new = recorded(tmp_path / "new.json", {A: FAST}, instructions={A: 10.5, B: 1.0})
    assert command.main(["compare", old, new]) == 1
    assert f"more instructions 1.050x  {A}: 10 -> 10.5 an element" in capsys.readouterr().out
    assert command.main(["compare", new, old]) == 0


def test_other_setups_are_named_and_do_not_mix(tmp_path, capsys):
    old = {"setup": {"level": "avx2"}, "results": {A: FAST}}
    new = {"setup": {"level": "avx512"}, "results": {A: FAST}}
    lines, _ = results.compare(old, new, 0.1)
    assert lines[0] == "setup differs: level avx2 -> avx512"
    with pytest.raises(results.ResultsError, match="level avx2 -> avx512"):
        results.merge(old, new)
    again = copy.deepcopy(old)
    again["results"] = {B: FAST}
    assert results.merge(old, again)["results"] == {A: FAST, B: FAST}


@pytest.mark.parametrize("text", [None, "{", "[]", '{"results": {}}'])
def test_bad_file(tmp_path, capsys, text):
    path = tmp_path / "bad.json"
    if text is not None:
        path.write_text(text)
    assert command.main(["compare", str(path), str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("benchmarks: error: ")
    assert said.count("\n") == 1


def test_a_run_records_ratios_to_copying(tmp_path):
    out = tmp_path / "run.json"
    only = "sigmoid and float32-16 and not out and not backward and not 16384"
    only += " and not binary and not log_sigmoid and not hardsigmoid"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "run", "--only", only, "-o", str(out)],
        cwd=command.HERE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = results.read(out)
    assert list(data["results"]) == ["lossgrad:sigmoid-float32-16"]
    (numbers,) = data["results"].values()
    assert set(numbers) == {"ns", "best", "gb_per_s", "copy", "max"}
    assert all(np.isfinite(value) and value > 0 for value in numbers.values())
    assert data["setup"]["numpy"] == np.__version__
