"""The walk: the same bytes whatever shares the work, the first problem whoever meets it, and files
that change under it."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import trials

from lossgrad import Evaluation, FileError, LabelError, evaluate
from lossgrad.evaluation import share
from lossgrad.evaluation import walk as walking
from lossgrad.evaluation.formats.file_array import Buffer, FileArray
from lossgrad.evaluation.reference import totals as twin
from lossgrad.evaluation.shard import Shard

ROWS = 400
OPTIONS = {
    "plain": {"worst": 4},
    "no confusion": {"confusion_limit": 3, "worst": 1},
    "many bins": {"bins": 100},
    "smoothing": {"label_smoothing": 0.1, "worst": 5},
    "class weights": {"weight": "classes"},
    "smoothed class weights": {"weight": "classes", "label_smoothing": 0.3},
    "binary": {"task": "binary"},
    "binary, many bins": {"task": "binary", "bins": 70, "threshold": 0.7},
}


def case(option, dtype, classes, seed=0):
    """(options, logits, targets, sample weights) with everything that is left out or infinite."""
    rng = np.random.default_rng(seed)
    options = dict(OPTIONS[option])
    x = (rng.choice([0.5, 5, 60], (ROWS, 1)) * rng.standard_normal((ROWS, classes))).astype(dtype)
    x[3], x[5, 0], x[11] = np.nan, np.inf, -np.inf
    x[17] = x[18] = x[30]  # ties of losses
    s = rng.choice([0.0, 1.0, 0.3, 5e-324, 1e-300, 1e200, 1.7e308, 7.0], ROWS)
    if options.get("weight") == "classes":
        options["weight"] = rng.choice([0.0, 1.0, 0.1, 2.5], classes)
    if options.get("task") == "binary":
        return options, x, rng.choice([0.0, 1.0, 0.25], x.shape), s
    y = rng.integers(0, classes, ROWS)
    y[::13] = -100
    x[8, y[8]] = -np.inf
    return options, x, y, s


def bytes_of(options, x, y, s, **how):
    state = Evaluation(**options)
    evaluate(x, y, sample_weight=s, state=state, **how)
    return state.to_bytes()


CLASSES = {"f2": 130, "f4": 9, "f8": 2}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("dtype", CLASSES)
def test_threads_and_both_totals_give_the_same_bytes(monkeypatch, option, dtype):
    """Every other one has weights, of each option and of each dtype."""
    options, x, y, s = case(option, dtype, CLASSES[dtype])
    s = s if ([*OPTIONS].index(option) + [*CLASSES].index(dtype)) % 2 else None
    expected = bytes_of(options, x, y, s, num_threads=1)
    for threads in (1, 7):
        found = bytes_of(options, x, y, s, num_threads=threads, block_bytes=31 * x[0].nbytes)
        assert found == expected
    monkeypatch.setattr(share, "_totals", twin.Totals)  # which has the same figures of each row
    assert bytes_of(options, x, y, s) == expected


@pytest.mark.parametrize("option", ["plain", "class weights", "binary"])
def test_totals_are_read_before_they_are_full(monkeypatch, option):
    options, x, y, s = case(option, "f4", 9)
    expected = bytes_of(options, x, y, s)
    monkeypatch.setattr(share, "_STEP", 11 * x[0].nbytes)
    monkeypatch.setattr(share, "_ROOM", 500)
    assert bytes_of(options, x, y, s) == expected


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", ">i4", "u8", "f2", ">f4", "f8"])
def test_targets_of_any_type(dtype):
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((300, 5)), rng.integers(0, 2, (300, 5))
    binary = {"task": "binary"}
    assert bytes_of(binary, x, t.astype(dtype), None) == bytes_of(binary, x, t, None)
    strided = np.repeat(t.astype(dtype), 2, axis=1)[:, ::2]
    assert bytes_of(binary, x, strided, None) == bytes_of(binary, x, t, None)


def test_bfloat16_logits_count_as_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    _, x, y, s = case("plain", "f4", 9)
    half = x.astype(ml_dtypes.bfloat16)
    assert bytes_of({}, half, y, s) == bytes_of({}, half.astype(np.float32), y, s)


# The first problem


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_first_problem_is_the_one_reported(threads):
    """Several bad blocks, of which a later one may well be met before."""
    rng = np.random.default_rng(2)
    for _ in range(40):
        x, y = rng.standard_normal((2000, 3)), np.zeros(2000, int)
        rows = np.sort(rng.integers(0, 2000, 4))
        kinds = rng.permutation([0, 1, 0, 1])
        for row, kind in zip(rows, kinds, strict=True):
            if kind:
                x[row] = np.nan
            else:
                y[row] = 3
        with pytest.raises(ValueError, match="row") as caught:
            evaluate(x, y, num_threads=threads, strict=True, block_bytes=24 * rng.integers(1, 300))
        assert caught.value.row == (rows[0],)
        expected = "targets" if y[rows[0]] == 3 else "logits"
        assert caught.value.source == expected


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_bad_shard_comes_after_the_blocks_before_it(threads):
    x, y = np.zeros((500, 3)), np.zeros(500, int)

    def pairs(first):
        yield x, first
        yield x, y[:-1]  # a problem of its own

    with pytest.raises(LabelError, match="row 499: label 7"):
        evaluate(pairs(np.where(np.arange(500) == 499, 7, y)), num_threads=threads, block_bytes=240)
    with pytest.raises(ValueError, match=r"targets: shape \(499,\)"):
        evaluate(pairs(y), num_threads=threads, block_bytes=240)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_leaves_the_state_as_it_was(threads):
    x, y = np.zeros((500, 3)), np.zeros(500, int)
    state = Evaluation()
    evaluate(x, y, state=state)
    before = state.to_bytes()
    with pytest.raises(LabelError):
        evaluate(x, np.where(np.arange(500) == 400, 9, y), state=state, num_threads=threads)
    assert state.to_bytes() == before


# Checkpoints


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("option", ["plain", "binary"])
def test_a_checkpoint_is_a_prefix(threads, option):
    """At random blocks the state is that of the rows before, and can be gone on from."""
    options, x, y, _ = case(option, "f4", 9)
    shards = [
        Shard({"logits": x[k : k + 100], "targets": y[k : k + 100]}, first_row=k)
        for k in range(0, ROWS, 100)
    ]
    how = {"block_bytes": 9 * x[0].nbytes, "threads": threads}
    whole = Evaluation(**options)
    walking.walk(whole, shards, **how)
    rng = random.Random(3)
    state, position, rows = Evaluation(**options), walking.START, 0

    def after_block(more, _):
        nonlocal rows
        rows += more
        return rng.random() < 0.3

    def checkpoint(at):
        nonlocal position
        before = Evaluation(**options)
        walking.walk(before, [Shard({"logits": x[:rows], "targets": y[:rows]}, first_row=0)])
        assert before == state
        if not stops or rng.random() < 0.5:  # how often it is asked depends on the threads
            position = at
            raise walking.Interrupted(at)

    stops = 0
    while rows < ROWS:
        try:
            walking.walk(
                state, shards, start=position, after_block=after_block, checkpoint=checkpoint, **how
            )
        except walking.Interrupted:
            stops += 1
    assert stops
    assert state == whole


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_signal_ends_the_walk_at_once(threads):
    """The error comes out within 100 ms, however large the block.

    Python itself drops an exception that a handler raises where none can be raised (a finalizer).
    """
    x, y = np.zeros((400_000, 20), np.float32), np.zeros(400_000, int)

    def alarm(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, alarm)
    late = []
    try:
        for _ in range(10):
            pairs = ((x, y) for _ in range(40))
            delay = random.uniform(0.001, 0.05)
            start = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, delay)
            try:
                evaluate(pairs, num_threads=threads, block_bytes=1 << 40)
            except TimeoutError:
                late.append(time.perf_counter() - start - delay)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(late) >= 7
    assert sorted(late)[len(late) // 2] < 0.1


STEPS = """
import concurrent.futures.thread as executors
import sys
import threading
from concurrent.futures import _base as futures

import numpy as np

from lossgrad.evaluation import evaluate, walk

watched = {module.__file__ for module in (walk, threading, executors, futures)}
x, y = np.zeros((8, 3), np.float32), np.zeros(8, int)


class Stop(Exception):
    pass


def steps(last):
    "How many steps of these modules are taken; an exception at the last one."
    taken = 0

    def trace(frame, event, argument):
        nonlocal taken
        if frame.f_code.co_filename not in watched:
            return None
        frame.f_trace_opcodes = True
        taken += event == "opcode"
        if taken == last:
            raise Stop
        return trace

    sys.settrace(trace)
    try:
        evaluate.evaluate(((x, y) for _ in range(6)), num_threads=2)
    except Stop:
        pass
    finally:
        sys.settrace(None)
    return taken


for last in range(1, steps(-1), 3):
    steps(last)
print("done")
"""


def test_an_exception_between_any_two_steps_ends_the_walk():
    """As a signal's handler may raise it: no thread waits for a lock that nobody lets go of."""
    run = subprocess.run(
        [sys.executable, "-c", STEPS], capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.stdout.strip(), run.stderr) == ("done", "")


# Files


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((60, 7), -1), ((7, 60), 0), ((6, 7, 10), 1), ((3, 4, 5, 7), -1)]
)
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_files_of_any_axis_and_order(tmp_path, order, shape, axis, task):
    rng = np.random.default_rng(4)
    x = np.asarray(rng.standard_normal(shape).astype(np.float32), order=order)
    batch = np.delete(shape, axis)
    t = rng.integers(0, 2, shape) if task == "binary" else rng.integers(0, 7, batch)
    t = np.asarray(t, order=order)
    paths = str(saved(tmp_path / "x.npy", x)), str(saved(tmp_path / "t.npy", t))
    expected = evaluate(x, t, task=task, axis=axis)
    for block_bytes in (1, 28 * 4, 28 * 9, 1 << 20):
        for threads in (1, 3):
            how = {"axis": axis, "block_bytes": block_bytes, "num_threads": threads}
            assert evaluate(*paths, task=task, **how) == expected


@pytest.mark.parametrize("whole", [True, False], ids=["preadv", "lseek and read"])
@pytest.mark.parametrize("fortran", [False, True])
def test_a_file_array_indexes_like_an_array(tmp_path, monkeypatch, whole, fortran):
    array = np.asarray(np.arange(5 * 6 * 7).reshape(5, 6, 7), order="F" if fortran else "C")
    path = tmp_path / "a"
    path.write_bytes(b"head" + array.tobytes("A"))
    with path.open("rb") as file:
        lazy = FileArray(path, file, array.dtype, array.shape, 4, fortran)
    if not whole:
        monkeypatch.delattr(os, "preadv", raising=False)
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    np.testing.assert_array_equal(lazy, array)
    rng, buffer = np.random.default_rng(5), Buffer()
    for _ in range(300):
        index = []
        for length in array.shape[: rng.integers(0, 4)]:
            start, stop = np.sort(rng.integers(0, length + 1, 2)).tolist()
            index.append(start if start < length and rng.random() < 0.3 else slice(start, stop))
        lazy.request(tuple(index))
        np.testing.assert_array_equal(lazy.read(tuple(index), buffer), array[tuple(index)])


def test_what_was_written_to_a_map_stays(tmp_path):
    """A copy-on-write map is the caller's own memory, whatever is read of it."""
    path = saved(tmp_path / "x.npy", np.zeros((2_000_000, 10), np.float32))
    x = np.load(path, mmap_mode="c")
    x[0, 0] = 5
    assert evaluate(x, np.zeros(2_000_000, int)).loss < np.log(10)
    assert x[0, 0] == 5


def test_a_file_that_shrinks_is_an_error(tmp_path):
    path = saved(tmp_path / "x.npy", np.zeros((1000, 7)))
    with path.open("rb") as file:
        array = FileArray(path, file, np.dtype("f8"), (1000, 7), 128)
    os.truncate(path, 30_000)
    assert array[(slice(500),)].shape == (500, 7)
    with pytest.raises(FileError, match=r"x\.npy: changed while it was read: it is shorter"):
        array[(slice(500, None),)]


CHANGING = """
import sys, lossgrad
for line in sys.stdin:
    x, y, threads = line.rstrip("\\n").split("\\t")
    try:
        print("reading", flush=True)
        while True:
            lossgrad.evaluate(x, y, num_threads=int(threads), block_bytes=1 << 16)
    except lossgrad.FileError as error:
        print(error, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="open files do not shrink")
@pytest.mark.parametrize("how", ["truncated", "replaced"])
@trials(3, 100)
def test_files_that_change_in_many_runs(tmp_path, how, trials):
    """Never a signal, always an error that names the file."""
    rng, pipe = random.Random(6), subprocess.PIPE
    command = [sys.executable, "-c", CHANGING]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as running:
        for run in range(trials):
            y = saved(tmp_path / "y.npy", np.zeros(100_000, int))
            x = saved(tmp_path / "x.npy", np.zeros((100_000, 20), np.float32))
            print(x, y, 1 + run % 3, sep="\t", file=running.stdin, flush=True)
            assert running.stdout.readline() == "reading\n"
            time.sleep(rng.uniform(0.02, 0.2))
            if how == "truncated":
                os.truncate(x, rng.randrange(100, 8_000_000))
            else:
                saved(tmp_path / "z.npy", np.ones((90_000, 20), np.float32)).replace(x)
                time.sleep(0.05)
                os.truncate(y, 400)
            named = x if how == "truncated" else tmp_path
            assert running.stdout.readline().startswith(str(named))
        rest, _ = running.communicate(timeout=60)
    assert (running.returncode, rest) == (0, "")
