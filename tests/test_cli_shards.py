"""The command line at scale: shards, states, merging, interruptions, files that change."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import lossgrad
from lossgrad import Evaluation, cli, evaluate
from lossgrad.cli import run as program
from lossgrad.evaluation import checkpoint, share
from lossgrad.evaluation import walk as walking

NO_CLUSTER = "--dask", "tcp://127.0.0.1:1"  # where the state is refused before anything is asked


@pytest.fixture
def run(capsys):
    """Run a command; give its status, stdout and stderr."""

    def run(*arguments, status=0):
        found = cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        assert found == status, output.err
        if status == 0:
            assert output.err == ""
            return output.out
        assert output.out == ""
        assert output.err.count("\n") == 1
        return output.err.removeprefix("lossgrad: error: ").rstrip("\n")

    return run


@pytest.fixture
def shards(tmp_path):
    """(directory, logits, targets) of 5 shards of different lengths."""
    random = np.random.default_rng(0)
    x = 3 * random.standard_normal((2000, 7)).astype(np.float32)
    y = random.integers(0, 7, 2000)
    for number, rows in enumerate(np.split(np.arange(2000), [300, 301, 900, 1700])):
        np.save(tmp_path / f"logits-{number}.npy", x[rows])
        np.save(tmp_path / f"targets-{number}.npy", y[rows])
    return tmp_path, x, y


def patterns(directory):
    return directory / "logits-*.npy", directory / "targets-*.npy"


def test_shards_by_glob_are_one_evaluation(run, shards):
    directory, x, y = shards
    expected = evaluate(x, y, bins=4)
    found = json.loads(
        run("evaluate", *patterns(directory), "--json", "--bins", 4, "--top-k", 3, "--top-k", 1)
    )
    for name in ("rows", "loss", "accuracy", "brier", "ece", "mce", "entropy", "loss_error"):
        assert found[name] == getattr(expected, name)
    assert found["shards"] == 5
    assert found["top_k"] == {"1": expected.top_k(1), "3": expected.top_k(3)}
    assert found["confusion"] == expected.confusion.tolist()
    assert found["per_class"]["f1"] == expected.f1.tolist()
    assert len(found["bins"]["edges"]) == 5
    worst = found["worst"][0]
    part = np.load(worst["source"])
    own = part[worst["row"]].astype(np.float64)
    assert worst["predicted"] == own.argmax()
    losses = lossgrad.cross_entropy(x, y, reduction="none")
    assert worst["loss"] == losses.max()
    assert evaluate(*map(str, patterns(directory)), bins=4, num_threads=2) == expected
    paths = [
        [str(p) for p in sorted(directory.glob(f"{kind}-*"))] for kind in ("logits", "targets")
    ]
    assert evaluate(*paths, bins=4) == expected


def test_states_of_shards_merge_to_the_state_of_all(run, shards):
    directory, *_ = shards
    logits, targets = patterns(directory)
    whole = run("evaluate", logits, targets, "--state", directory / "whole", "--threads", 2)
    for number in range(5):
        pair = (str(p).replace("*", str(number)) for p in (logits, targets))
        run("evaluate", *pair, "--state", directory / f"{number}.state")
    parts = [directory / f"{number}.state" for number in (3, 0, 4, 2, 1)]
    text = run("merge", *parts, "--state", directory / "all")
    assert (directory / "all").read_bytes() == (directory / "whole").read_bytes()
    assert text.splitlines() == whole.splitlines()[:-1]  # but for the speed
    found = json.loads(run("merge", *parts, "--json"))
    assert (found["rows"], found["states"]) == (2000, [str(part) for part in parts])


def test_counts_and_shapes_of_shards(run, shards):
    directory, *_ = shards
    logits, targets = patterns(directory)
    message = run("evaluate", logits, directory / "targets-[0-3].npy", status=2)
    expected = "has no counterpart: there are 5 files of logits and 4 of targets"
    assert message == f"{directory / 'logits-4.npy'}: {expected}"
    nothing = directory / "nothing-*.npy"
    assert run("evaluate", nothing, targets, status=2) == f"{nothing}: no file matches"
    np.save(directory / "targets-3.npy", np.zeros(5, int))
    message = run("evaluate", logits, targets, status=2)
    assert message.startswith(f"{directory / 'targets-3.npy'}: shape (5,) where logits of shape")
    np.save(directory / "targets-3.npy", np.zeros(800, int))
    np.save(directory / "logits-3.npy", np.zeros((800, 8)))
    message = run("evaluate", logits, targets, status=2)
    assert message == (
        f"{directory / 'logits-3.npy'}: has 8 classes where {directory / 'logits-0.npy'} has 7"
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_the_row_of_the_shard_is_named(run, shards, threads):
    directory, _, y = shards
    labels = y[301:900].copy()
    labels[[432, 500]] = 77
    np.save(directory / "targets-2.npy", labels)
    message = run("evaluate", *patterns(directory), "--threads", threads, status=2)
    assert message.startswith(f"{directory / 'targets-2.npy'}: row 432: label 77 is outside [0, 7)")


def test_undefined_rows_are_said_and_strict_names_the_first(run, shards):
    directory, x, _ = shards
    x = x[900:1700].copy()
    x[5, 3] = x[9, 0] = np.nan
    np.save(directory / "logits-3.npy", x)
    text = run("evaluate", *patterns(directory))
    assert "undefined   2 losses are nan, left out (--strict names the first)\n" in text
    assert max(map(len, text.splitlines())) < 80
    message = run("evaluate", *patterns(directory), "--strict", status=2)
    assert message == f"{directory / 'logits-3.npy'}: row 5: the logit of class 3 is nan"
    np.save(directory / "x.npy", np.full((3, 2), np.nan))
    np.save(directory / "y.npy", np.zeros(3, int))
    message = run("evaluate", directory / "x.npy", directory / "y.npy", status=2)
    assert message == f"{directory / 'y.npy'}: no row has a loss"


def test_class_names(run, shards):
    directory, x, y = shards
    names = directory / "names.txt"
    names.write_text("".join(f"Klasse {c} \N{GREEK SMALL LETTER ALPHA}\n" for c in range(7)))
    text = run("evaluate", *patterns(directory), "--class-names", names)
    lines = text.splitlines()[-7:]
    result = evaluate(x, y)
    order = np.argsort(result.f1, kind="stable")
    assert [line.split()[1] for line in lines] == [str(c) for c in order]
    assert lines[0].split()[-1] == f"{result.f1[order[0]]:.4f}"
    found = json.loads(run("evaluate", *patterns(directory), "--class-names", names, "--json"))
    assert found["per_class"]["name"][2] == "Klasse 2 \N{GREEK SMALL LETTER ALPHA}"
    names.write_text("one\ntwo\n")
    message = run("evaluate", *patterns(directory), "--class-names", names, status=2)
    assert message == f"{names}: has 2 names (lines) for 7 classes"
    missing = directory / "missing"
    message = run("evaluate", *patterns(directory), "--class-names", missing, status=2)
    assert message == f"{missing}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "options", [["--top-k", "0"], ["--bins", "x"], ["--threads", "-1"], ["--threshold", "1"]]
)
def test_bad_numbers(capsys, options):
    with pytest.raises(SystemExit) as caught:
        cli.main(["evaluate", "x.npy", "y.npy", *options])
    assert caught.value.code == 2
    assert f"argument {options[0]}: invalid" in capsys.readouterr().err


def test_files_and_options_in_any_order(run, shards, capsys):
    directory, *_ = shards
    pair = directory / "logits-0.npy", directory / "targets-0.npy"
    expected = run("evaluate", *pair, "--json", "--bins", 3)
    found = json.loads(run("evaluate", pair[0], "--json", pair[1], "--bins", 3))
    assert found["loss"] == json.loads(expected)["loss"]
    run("evaluate", *pair, "--state", directory / "1.state")
    other = directory / "logits-1.npy", "--state", directory / "2.state"
    run("evaluate", *other, directory / "targets-1.npy")
    found = run("merge", directory / "1.state", "--json", directory / "2.state")
    assert json.loads(found)["rows"] == 301
    for wrong, message in (
        ([*pair, pair[1]], f"too many files: {pair[1]}; put patterns in quotes, as 'logits-*.npy'"),
        ([*pair, "--what"], "unrecognized arguments: --what"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["evaluate", *map(str, wrong)])
        assert message in capsys.readouterr().err


def test_two_whole_shards_are_not_taken_for_a_pair(run, tmp_path):
    one, two = paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in paths:
        np.savez(path, logits=np.eye(3), targets=np.arange(3))
    message = run("evaluate", *paths, status=2)
    assert message.startswith(f"{two}: holds logits and targets, and so does {one}: put a pattern")
    run("evaluate", *paths, "--targets-key", "targets")
    run("evaluate", tmp_path / "*.npz")
    np.savez(two, targets=np.arange(3), other=1)
    run("evaluate", *paths)


def test_outputs_are_checked_before_the_work(run, shards, monkeypatch):
    pytest.importorskip("matplotlib")
    directory, *_ = shards
    pair = directory / "logits-0.npy", directory / "targets-0.npy"
    before = pair[1].read_bytes()

    def never(*arguments, **options):
        raise AssertionError("too late")

    monkeypatch.setattr(program, "walk", never)
    nowhere, names = directory / "none" / "file", directory / "names"
    names.write_text("one\ntwo\n")
    for option, path, problem in (
        ("--report", pair[1], "holds something that is no HTML and is left alone"),
        ("--report", nowhere, "cannot be written: No such file or directory"),
        ("--report", directory, "cannot be written: Is a directory"),
        ("--state", nowhere, "cannot be written: No such file or directory"),
        ("--class-names", nowhere, "cannot be read: No such file or directory"),
        ("--class-names", names, "has 2 names (lines) for 7 classes"),
    ):
        assert run("evaluate", *pair, option, path, status=2) == f"{path}: {problem}"
    assert pair[1].read_bytes() == before


# States that are not


def test_states_that_cannot_be_merged(run, shards):
    directory, *_ = shards
    one, two = directory / "1.state", directory / "2.state"
    logits, targets = directory / "logits-0.npy", directory / "targets-0.npy"
    run("evaluate", logits, targets, "--state", one)
    run("evaluate", logits, targets, "--state", two, "--bins", 3)
    message = run("merge", one, two, status=2)
    expected = "evaluations of different bins do not merge"
    assert message == f"{two}: does not merge with {one}: {expected}"
    assert run("merge", logits, status=2) == (
        f"{logits}: is not a state that can be read: not a saved evaluation"
    )
    message = run("merge", directory / "none", status=2)
    assert message == f"{directory / 'none'}: cannot be read: No such file or directory"
    again = directory / "." / ".." / directory.name / "1.state"
    message = run("merge", one, again, status=2)
    assert message == f"{again}: is named twice: its rows would count twice"
    data = bytearray(one.read_bytes())
    data[100] ^= 1
    two.write_bytes(data)
    assert "a damaged evaluation: its checksum is wrong" in run("merge", two, status=2)


def test_a_file_that_is_no_state_is_never_overwritten(run, shards):
    directory, *_ = shards
    logits, targets = directory / "logits-0.npy", directory / "targets-0.npy"
    before = targets.read_bytes()
    message = run("evaluate", logits, targets, "--state", targets, status=2)
    assert message == f"{targets}: is not a state that can be read: not a saved evaluation"
    assert targets.read_bytes() == before
    state = directory / "state"
    run("evaluate", logits, targets, "--state", state)
    first = state.read_bytes()
    run("evaluate", logits, targets, "--state", state)  # its own it may
    assert state.read_bytes() == first
    pair = logits, targets
    three = directory / "three"
    run("evaluate", *pair, "--state", three, "--bins", 3)
    commands = [
        ["evaluate", *pair, "--bins", 3],
        ["evaluate", *pair, "--bins", 3, *NO_CLUSTER],
        ["evaluate", "--sample", "digits", "--bins", 3],
        ["merge", three],
    ]
    for command in commands:
        message = run(*command, "--state", state, status=2)
        assert message == f"{state}: holds a state of other options and is left alone"
        assert state.read_bytes() == first


def test_a_state_where_nothing_can_be_written(run, shards, full_disk):
    directory, *_ = shards
    pair = directory / "logits-0.npy", directory / "targets-0.npy"
    state = directory / "state"
    run("evaluate", *pair, "--state", state)
    before = state.read_bytes()

    full_disk()
    message = run("evaluate", *pair, "--state", state, status=2)
    assert message == f"{state}: cannot be written: No space left on device"
    assert state.read_bytes() == before
    assert not list(directory.glob(".*"))


# Interruptions


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 20 rows; give a function that has a signal raised after the n-th."""
    walk = walking.walk
    seen = []

    def walk_slowly(*arguments, after_block, **options):
        def after(*numbers):
            seen.append(numbers)
            if len(seen) == seen_limit[0]:
                signal.raise_signal(signal.SIGINT)
            return after_block(*numbers)

        walk(*arguments, after_block=after, **options, block_bytes=20 * 7 * 4)

    seen_limit = [0]
    monkeypatch.setattr(program, "walk", walk_slowly)

    def stop_after(blocks):
        seen.clear()
        seen_limit[0] = blocks
        return seen

    return stop_after


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupted_run_goes_on(run, shards, small_blocks, threads):
    directory, *_ = shards
    options = (*patterns(directory), "--threads", threads, "--state")
    run("evaluate", *options, directory / "whole")
    state, counted = directory / "state", []
    for stop in (1, 15, 16, 17, 40 if threads == 1 else 20):  # threads do some blocks more
        seen = small_blocks(stop)
        handler = signal.getsignal(signal.SIGINT)
        message = run("evaluate", *options, state, status=130)
        assert signal.getsignal(signal.SIGINT) is handler
        assert message.startswith("interrupted after ")
        assert message.endswith(
            f" of 2000 rows, saved in {state}; give the same command again to go on"
        )
        assert "is of an interrupted run, " in run("merge", state, status=2)
        counted.append(sum(rows for rows, _ in seen))
    seen = small_blocks(0)
    run("evaluate", *options, state)
    assert sum(counted) + sum(rows for rows, _ in seen) == 2000
    if threads == 1:  # 89 of the 15 + 1 + 30 + 40 + 15 blocks were done
        assert len(seen) == 12
    assert state.read_bytes() == (directory / "whole").read_bytes()


def test_an_interrupted_run_of_something_else_is_left_alone(run, shards, small_blocks):
    directory, *_ = shards
    state = directory / "state"
    small_blocks(50)
    run("evaluate", *patterns(directory), "--state", state, status=130)
    before = state.read_bytes()
    pair = directory / "logits-0.npy", directory / "targets-0.npy"
    others = pair, [*patterns(directory), "--bins", 2], [*pair, *NO_CLUSTER], ["--sample", "digits"]
    for other in others:
        message = run("evaluate", *other, "--state", state, status=2)
        assert "holds an interrupted run of other files or options" in message
    time.sleep(0.01)
    np.save(pair[1], np.load(pair[1]))
    message = run("evaluate", *patterns(directory), "--state", state, status=2)
    assert "or the files have changed; remove it" in message
    assert state.read_bytes() == before


def test_a_killed_run_goes_on_from_its_last_save(run, shards, small_blocks, monkeypatch):
    directory, *_ = shards
    state = directory / "state"
    run("evaluate", *patterns(directory), "--state", directory / "whole")
    monkeypatch.setattr(program, "_SAVE_SECONDS", 0.0)
    save, saves = checkpoint.save, []

    def save_twenty(*arguments):
        save(*arguments)
        saves.append(1)
        if len(saves) == 20:
            raise OSError(5, "killed")

    monkeypatch.setattr(checkpoint, "save", save_twenty)
    run("evaluate", *patterns(directory), "--state", state, "--threads", 1, status=2)
    monkeypatch.setattr(checkpoint, "save", save)
    seen = small_blocks(0)
    run("evaluate", *patterns(directory), "--state", state)
    # 300 rows in 15 blocks, a shard of 1, and 4 blocks more were saved
    assert sum(rows for rows, *_ in seen) == 2000 - 381
    assert state.read_bytes() == (directory / "whole").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_control_c_in_a_real_shell(tmp_path):
    """A large run is asked to stop while it is under way, and finishes the second time."""
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    logits = np.lib.format.open_memmap(x, "w+", np.float32, (1_000_000, 20))
    logits[::1000, 3] = 2
    del logits
    np.save(y, np.full(1_000_000, 3))
    state = tmp_path / "state"
    command = [sys.executable, "-m", "lossgrad", "evaluate", x, y, "--state", state, "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.2)
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=60)
    if running.returncode == 130:  # not done before, and not asked before it listened
        assert out == ""
        if state.exists():
            assert "give the same command again to go on" in error
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"] == 1_000_000
    assert Evaluation.from_bytes(state.read_bytes()).result().rows == 1_000_000


# Files that change


@pytest.mark.parametrize("how", ["truncated", "rewritten", "removed"])
def test_files_that_change_under_the_walk(run, shards, small_blocks, monkeypatch, how):
    directory, *_ = shards
    small_blocks(0)
    path = directory / "logits-3.npy"
    add, calls = share.Share.add, []

    def change(self, *arguments, **options):
        add(self, *arguments, **options)
        calls.append(1)
        if len(calls) == 60:
            if how == "truncated":
                os.truncate(path, 4000)
            elif how == "rewritten":
                time.sleep(0.01)
                np.save(path, np.zeros((800, 7), np.float32))
            else:
                path.unlink()

    monkeypatch.setattr(share.Share, "add", change)
    message = run("evaluate", *patterns(directory), "--threads", 1, status=2)
    expected = "no such file" if how == "removed" else "changed while it was read"
    assert message.startswith(f"{path}: {expected}")
