"""Every function has a benchmark, and what the benchmarks conclude follows from the numbers."""

import copy
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
    baseline, *_ = results.shown(command.BASELINE)
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


def recorded(path, ours, setup=None, **more):
    """`path` with a record more, which is of this machine unless `setup` says otherwise."""
    record = {"setup": setup or results.setup(), "results": ours, **more}
    results.keep(path, record)
    assert results.read(path)[results.key(record["setup"])] == record
    return str(path)


def other(level, cpu=None):
    return {**results.setup(), "cpu": cpu or results.processor(), "level": level}


def test_records_of_several_machines_lie_side_by_side(tmp_path, monkeypatch, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    setups = [other("avx2", "X"), other("avx512", "X"), other("avx2", "Y")]
    for setup, name in zip(setups, (A, B, A), strict=True):
        recorded(old, {name: FAST}, setup, accuracy=[])
    recorded(old, {A: {**FAST, "ns": 1.0}}, setups[2])  # in place of its own alone
    recorded(old, {A: FAST}, other("sse2", "X"))  # without peers
    recorded(new, {B: {**FAST, "best": 9.0, "copy": 40.0, "max": 9.0}}, setups[1])
    assert list(results.read(old)) == ["X, avx2", "X, avx512", "Y, avx2", "X, sse2"]
    assert [r["setup"]["level"] for r in results.shown(old)] == ["avx2", "avx512"]
    monkeypatch.setattr(results, "processor", lambda: "X")
    monkeypatch.setattr(results, "level", lambda: "avx512")
    assert command.main(["compare", str(old), str(new)]) == 1
    monkeypatch.setattr(results, "level", lambda: "avx2")
    assert results.mine(old)["results"] == {A: FAST}
    assert results.mine(old, anew=True)["results"] == {}
    capsys.readouterr()
    assert command.main(["compare", str(old), str(new)]) == 2
    assert f"{new}: no record of X, avx2; there are: X, avx512" in capsys.readouterr().err


def test_a_report_needs_peers(tmp_path, capsys):
    assert command.main(["report", recorded(tmp_path / "one.json", {A: FAST})]) == 2
    assert "no record has peers: python -m benchmarks run --peers" in capsys.readouterr().err


def test_a_result_is_a_line(tmp_path):
    path = tmp_path / "one.json"
    before = recorded(path, {A: FAST, B: FAST}) and path.read_text().splitlines()
    after = recorded(path, {A: {**FAST, "ns": 9.0}, B: FAST}) and path.read_text().splitlines()
    (changed,) = [line for line, was in zip(after, before, strict=True) if line != was]
    assert A in changed


def test_updating_and_counting_need_a_record_of_this_machine(tmp_path, capsys):
    path = recorded(tmp_path / "one.json", {A: FAST}, other("avx2", "another"))
    for words in (["run", "--update"], ["instructions"], ["scaling"]):
        assert command.main([*words, "-o", path]) == 2
        assert "there are: another, avx2" in capsys.readouterr().err


def test_peers_are_held_to_the_level(monkeypatch):
    found = ["X86_V3", "X86_V4", "AVX512_ICL"]
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": found}})
    held = command.environment("avx2")
    assert held["ATEN_CPU_CAPABILITY"] == "avx2"
    assert held["XLA_FLAGS"] == command.ENVIRONMENT["XLA_FLAGS"] + " --xla_cpu_max_isa=AVX2"
    # XLA reads nothing after a word that is no flag.
    assert all(word.startswith("--") for word in held["XLA_FLAGS"].split())
    assert held["NPY_DISABLE_CPU_FEATURES"] == "X86_V4 AVX512_ICL"
    assert command.environment("sse2")["NPY_DISABLE_CPU_FEATURES"] == " ".join(found)
    assert command.environment("avx512") == command.ENVIRONMENT


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


def test_counts_alone_are_compared(tmp_path, monkeypatch):
    """As a change is judged: nothing is timed, and the files are new."""
    for name, count in (("old", 10.0), ("new", 10.5)):
        monkeypatch.setattr(instructions, "count", lambda count=count: {A: count})
        assert command.main(["instructions", "-o", str(tmp_path / name)]) == 0
    assert command.main(["compare", str(tmp_path / "old"), str(tmp_path / "old")]) == 0
    assert command.main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 1


def test_other_versions_are_named_and_do_not_mix():
    old = {"setup": {"numpy": "2.3"}, "results": {A: FAST}}
    new = {"setup": {"numpy": "2.4"}, "results": {A: FAST}}
    lines, _ = results.compare(old, new, 0.1)
    assert lines[0] == "setup differs: numpy 2.3 -> 2.4"
    with pytest.raises(results.ResultsError, match=r"numpy 2\.3 -> 2\.4"):
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
    only += " and not binary and not log_sigmoid and not hardsigmoid and not focal"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "run", "--only", only, "-o", str(out)],
        cwd=command.HERE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = results.mine(out)
    assert list(data["results"]) == ["lossgrad:sigmoid-float32-16"]
    (numbers,) = data["results"].values()
    assert set(numbers) == {"ns", "best", "gb_per_s", "copy", "max"}
    assert all(np.isfinite(value) and value > 0 for value in numbers.values())
    assert data["setup"]["numpy"] == np.__version__
