"""Threads change no bit, hang nowhere, and let go when they are told to."""

import functools
import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import ml_dtypes
import numpy as np
import pytest
from calls import all_calls, same_bits
from conftest import kernels

import lossgrad
from lossgrad import reference
from lossgrad._kernels.threads import from_environment

compiled = pytest.mark.skipif(kernels is None, reason="needs the compiled kernels")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
quiet_fork = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def always():
    """Everything that is not over in the first part is shared, in small parts."""
    before = kernels.set_sharing(0.0, 1e-7)
    yield
    kernels.set_sharing(*before)


@pytest.fixture
def unset():
    yield
    lossgrad.set_num_threads(None)


@contextmanager
def shares(expected=True):
    """Whether jobs are shared meanwhile."""
    before = kernels.pool()[1]
    yield
    assert (kernels.pool()[1] > before) == expected


# ---- the same bits -------------------------------------------------------------------------------

# Longer than a first part: elements, few classes, many, and rows that are long parts themselves.
SHAPES = [
    ((90_001,), -1),
    ((3_501, 20), -1),
    ((20, 3_501), 0),
    ((70, 1_000), -1),
    ((2, 45_000), -1),
]


@compiled
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_same_bits_for_any_number_of_threads(always, dtype, rng, shape, axis):
    """Each call in half of the shapes in float32, in the others in float64."""
    turn = SHAPES.index((shape, axis)) + (dtype == np.float64)
    for k, call in enumerate(all_calls(shape, dtype, rng, axis, brief=True)[turn % 2 :: 2]):
        want = call(lossgrad, num_threads=1)
        one_row = len(shape) == 1 and call.op.kind in ("softmax", "loss_rows")
        short = call.op.name == "nll_loss"  # it reads nothing but the labels' logits
        n = (2, 7)[k % 2]
        with shares(not one_row) if not short else nullcontext():
            same_bits(call(lossgrad, num_threads=n), want, f"{n} threads: {call}")


@compiled
def test_strided_halves_and_out(always, rng):
    """Parts begin in the middle of lines, and outputs may be inputs."""
    wide = rng.normal(size=(3, 400, 301)).astype(np.float16)
    x = wide[:, :, ::2]
    same_bits([lossgrad.gelu(x, num_threads=3)], [lossgrad.gelu(x.copy(), num_threads=1)])
    logits, labels = rng.normal(size=(70_000, 10)), rng.integers(0, 10, 70_000)
    loss, gradient = lossgrad.cross_entropy_value_and_grad(logits, labels, num_threads=1)
    found = lossgrad.cross_entropy_value_and_grad(logits, labels, out=logits, num_threads=3)
    assert found[0] == loss
    same_bits([logits], [gradient])


@compiled
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_what_goes_past_the_cache_is_what_stays(always, rng, dtype):
    """Whatever the address and the threads: that is decided on the whole, which is 14 MB, parts are
    too small."""
    rows = 14_000 // np.dtype(dtype).itemsize
    x = rng.normal(size=rows * 1_000 + 1).astype(dtype)
    logits = x[1:].reshape(rows, 1_000)
    own = {"num_threads": 1}
    values = np.concatenate([lossgrad.sigmoid(part, **own) for part in np.array_split(x, 9)])
    shares = np.concatenate([lossgrad.softmax(part, **own) for part in np.array_split(logits, 9)])
    for threads, ahead in itertools.product((1, 3), (0, 1, 5)):
        whole = np.full(x.size + ahead + 64, 7, x.dtype)
        place = whole[ahead:-64]
        for _ in range(5 if threads > 1 else 1):  # parts are cut as threads come for them
            same_bits([lossgrad.sigmoid(x, out=place, num_threads=threads)], [values])
            assert (whole[:ahead] == 7).all()
            assert (whole[-64:] == 7).all()
        place = place[1:].reshape(logits.shape)
        same_bits([lossgrad.softmax(logits, out=place, num_threads=threads)], [shares])


@compiled
@pytest.mark.parametrize("weighted", [False, True])
def test_a_bad_label_is_named_and_nothing_written(always, weighted):
    """The first of several, wherever it is found."""
    rows = 200_000
    logits, labels, out = np.ones((rows, 2)), np.zeros(rows, np.int64), np.full((rows, 2), 7.0)
    labels[[rows - 1, 150_123, 150_124]] = 2, 9, 3
    weight = [1.0, 2.0] if weighted else None
    for n in (1, 2, 3):
        with pytest.raises(IndexError, match=r"label 9 in row 150123 is outside \[0, 2\)"):
            lossgrad.cross_entropy_value_and_grad(logits, labels, weight, out=out, num_threads=n)
        assert (out == 7).all()


# ---- how many ------------------------------------------------------------------------------------


def test_set_and_get(unset):
    automatic = lossgrad.get_num_threads()
    lossgrad.set_num_threads(np.int64(5))
    assert lossgrad.get_num_threads() == 5
    lossgrad.set_num_threads(None)
    assert lossgrad.get_num_threads() == automatic >= 1


@pytest.mark.parametrize("n", [0, -1, -(10**30)])
def test_too_few(n):
    with pytest.raises(ValueError, match=f"num_threads must be at least 1, got {n}"):
        lossgrad.set_num_threads(n)


@pytest.mark.parametrize("n", [2.0, "2", [2]])
def test_not_a_number(n):
    with pytest.raises(TypeError, match="num_threads must be an integer or None, got "):
        lossgrad.set_num_threads(n)


@compiled
def test_a_call_checks_its_number_however_short():
    for call in all_calls((3, 4), np.float32, np.random.default_rng(0), brief=True):
        for n, error in ((0, ValueError), ("2", TypeError)):
            with pytest.raises(error, match="num_threads must be"):
                call(lossgrad, num_threads=n)


def test_the_reference_takes_any_number():
    assert reference.sigmoid(0.0, num_threads=3) == 0.5


@compiled
def test_the_call_has_the_first_say(always, unset):
    x = np.zeros(10**6)
    lossgrad.set_num_threads(4)
    with shares():
        lossgrad.sigmoid(x)
    with shares(False):
        lossgrad.sigmoid(x, num_threads=1)
    lossgrad.set_num_threads(1)
    with shares(False):
        lossgrad.sigmoid(x)
    with shares():
        lossgrad.sigmoid(x, num_threads=2)


GROWS = """
import numpy as np, lossgrad
from lossgrad._kernels import crossing
crossing.set_sharing(0.0, 1e-6)
x = np.zeros(10**6)
helpers = []
for n in (1, 3, 2, 6):
    lossgrad.sigmoid(x, num_threads=n)
    helpers.append(crossing.pool()[0])
print(helpers)
"""


@compiled
def test_the_pool_is_started_when_needed_and_grows():
    assert run(GROWS).stdout == "[0, 2, 2, 5]\n"


@compiled
def test_short_calls_are_not_shared():
    with shares(False):
        lossgrad.sigmoid(np.zeros(60_000, np.float32), num_threads=8)
        lossgrad.relu(np.zeros(60_000, np.float32), num_threads=8)
        lossgrad.cross_entropy(np.zeros((100, 10)), np.zeros(100, int), num_threads=8)


SHOW = "import lossgrad; print(lossgrad.get_num_threads()); lossgrad.show_config()"
OURS, OMP = "LOSSGRAD_NUM_THREADS", "OMP_NUM_THREADS"


def run(code, **settings):
    env = {k: v for k, v in os.environ.items() if k not in (OURS, OMP)} | settings
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({OURS: "3", OMP: "5"}, 3),
        ({OURS: "", OMP: "5"}, 5),
        ({OMP: "4, 2"}, 4),
        ({OMP: "0"}, None),
        ({OMP: "many"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_what_the_environment_asks_for(monkeypatch, settings, expected):
    for name in (OURS, OMP):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert from_environment() == expected


@pytest.mark.parametrize("bad", ["0", "-2", "two", "1.5"])
def test_a_bad_setting(monkeypatch, bad):
    monkeypatch.setenv(OURS, bad)
    with pytest.raises(ImportError) as caught:
        from_environment()
    assert str(caught.value) == f"LOSSGRAD_NUM_THREADS={bad!r} is not a positive integer"


@pytest.mark.parametrize(
    ("settings", "expected"), [({OURS: "3", OMP: "5"}, 3), ({OMP: "0"}, None)], ids=str
)
def test_the_environment_is_read_on_import(settings, expected):
    done = run(SHOW, **settings)
    assert done.returncode == 0, done.stderr
    number, *lines = done.stdout.splitlines()
    if expected is None:
        affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))
        expected = len(affinity(0))
    assert int(number) == expected
    threads = next(line.split()[1] for line in lines if line.startswith("threads"))
    assert int(threads) == (expected if kernels else 1)


def test_a_bad_setting_is_an_error_on_import():
    done = run(SHOW, **{OURS: "two"})
    message = done.stderr.strip().splitlines()[-1]
    assert message == "ImportError: LOSSGRAD_NUM_THREADS='two' is not a positive integer"


# ---- no hang, no race ----------------------------------------------------------------------------

X = np.linspace(-9, 9, 400_000)


@functools.cache
def expected():
    return lossgrad.gelu(X, num_threads=1)


def agrees():
    return (lossgrad.gelu(X, num_threads=3) == expected()).all()


@compiled
def test_concurrent_callers(always):
    assert agrees()
    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(lambda _: agrees(), range(40)))


NO_THREADS = """
import resource
import numpy as np, lossgrad
from lossgrad._kernels import crossing
x = np.linspace(-9, 9, 400_000)
want = lossgrad.gelu(x, num_threads=1)
crossing.set_sharing(0.0, 1e-5)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (300 << 20),) * 2)  # too little for 900 stacks
assert (lossgrad.gelu(x, num_threads=900) == want).all()
assert 0 < crossing.pool()[0] < 899
"""


@compiled
@pytest.mark.skipif(
    sys.platform != "linux" or "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="needs a limit that is kept, and that the address sanitizer can live with",
)
def test_where_not_all_threads_can_be_had():
    done = run(NO_THREADS)
    assert (done.returncode, done.stderr) == (0, "")


@compiled
@forks
@quiet_fork
def test_a_forked_child_works(always):
    assert agrees()
    child = os.fork()
    if child == 0:
        none_yet = kernels.pool() == (0, 0)
        os._exit(0 if none_yet and agrees() and kernels.pool()[0] else 1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child hangs")
    assert agrees()


FORKED = """
import multiprocessing, warnings
import numpy as np, lossgrad
from lossgrad._kernels import crossing
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from 3.12 on
crossing.set_sharing(0.0, 1e-5)
x = np.linspace(-9, 9, 400_000)
def total(k):
    return float(lossgrad.gelu(x, num_threads=3).sum())
if __name__ == "__main__":
    want = total(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(total, range(4)).get(timeout=20) == [want] * 4
    assert total(0) == want
"""
AT_EXIT = """
import atexit
import numpy as np, lossgrad
from lossgrad._kernels import crossing
crossing.set_sharing(0.0, 1e-5)
x = np.linspace(-9, 9, 400_000)
atexit.register(lambda: print(lossgrad.gelu(x, num_threads=3).shape))
if {before}: lossgrad.gelu(x, num_threads=3)
"""


@compiled
@forks
def test_forked_workers():
    done = run(FORKED)
    assert (done.returncode, done.stderr) == (0, "")


@compiled
@pytest.mark.parametrize("before", [False, True])
def test_at_exit(before):
    done = run(AT_EXIT.format(before=before))
    assert (done.stdout, done.stderr) == ("(400000,)\n", "")


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, lossgrad
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored in the background
row = np.linspace(-1, 1, 1000, dtype=np.float32)
x = np.broadcast_to(row, (5_000_000, 1000))  # 20 GB of no memory
y = np.broadcast_to(np.int64(1), 5_000_000)
sent = 0.0
def interrupt():
    global sent
    time.sleep(0.3)
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    lossgrad.cross_entropy(x, y, num_threads=int(sys.argv[1]))
except KeyboardInterrupt:
    print(time.perf_counter() - sent)
small = x[:1000]
assert lossgrad.cross_entropy(small, y[:1000]) > 0
"""


@compiled
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_an_interrupt_is_answered(threads):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, threads], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.1
