"""Programs that interrupt calls: `python -m tests.interrupts THREADS NAME=CALLS...`.

`test_interrupts.py` runs each for less than a second; ten thousand calls take some minutes.
"""

import contextlib
import os
import random
import signal
import sys
import threading
import time

import numpy as np

import lossgrad


class Interrupted(Exception):
    """What the handlers raise."""


def raising(*_):
    raise Interrupted


def calls():
    """Functions of fresh arrays, all of them shared by threads: some milliseconds each."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2_000_000).astype(np.float32)
    logits, labels = x.reshape(-1, 100), rng.integers(0, 100, 20_000)
    return [
        lambda: lossgrad.gelu(x.copy()),
        lambda: lossgrad.cross_entropy(logits.copy(), labels.copy()),
        lambda: lossgrad.cross_entropy_value_and_grad(logits.copy(), labels.copy()),
        lambda: lossgrad.softmax(logits.copy(), axis=0),
        lambda: lossgrad.binary_cross_entropy_with_logits(x.copy(), x.copy() > 0),
        lambda: lossgrad.l2_norm_value_and_grad(x.copy()),
        lambda: lossgrad.entropy(np.abs(logits)),
    ]


def alarms(number):
    """An alarm at any moment of a call; whatever was raised, the next call is whole."""
    signal.signal(signal.SIGALRM, raising)
    functions = calls()
    expected = [function() for function in functions]
    stopped = 0
    for k in range(number):
        function = functions[k % len(functions)]
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 8e-3))
            result = function()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            stopped += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            continue
        assert_same(result, expected[k % len(functions)])
    assert number < 20 or stopped, "nothing was interrupted"


def nested(number):
    """Alarms that do not cease while the first exception is on its way."""
    signal.signal(signal.SIGALRM, raising)
    functions, stopped = calls(), 0
    for k in range(number):
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3), 3e-4)
                for _ in range(5):
                    functions[k % len(functions)]()
            finally:
                try:
                    functions[(k + 1) % len(functions)]()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            stopped += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
    assert number < 20 or stopped, "nothing was interrupted"


def handlers(number):
    """Handlers that themselves make calls that are shared."""
    functions = calls()
    expected = [function() for function in functions]
    seen = []

    def calling(*_):
        if len(seen) < number:  # not while another is under way
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert_same(functions[0](), expected[0])
            seen.append(None)

    signal.signal(signal.SIGALRM, calling)
    for k in range(number):
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3))
        assert_same(functions[k % len(functions)](), expected[k % len(functions)])
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert number < 20 or seen


def forks(number):
    """Children forked by another thread while calls are under way; they make calls, too."""
    functions = calls()
    expected, done = [function() for function in functions], threading.Event()

    def work():
        k = 0
        while not done.is_set():
            assert_same(functions[k % len(functions)](), expected[k % len(functions)])
            k += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(number):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a child that hangs dies of it
                same = same_numbers(functions[0](), expected[0])
                os._exit(0 if same else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        worker.join()


def forking_handlers(number):
    """Children forked by a handler in the middle of a call: they are told, and can call again."""
    functions = calls()
    expected, children, parent = functions[0](), [], os.getpid()

    def forking(*_):
        children.append(os.fork())

    signal.signal(signal.SIGALRM, forking)
    for _ in range(number):
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3))
        try:
            whole = same_numbers(functions[0](), expected)
        except RuntimeError as error:
            whole = "forked this process" in str(error) and same_numbers(functions[0](), expected)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if os.getpid() != parent:
            os._exit(0 if whole else 1)
        assert whole
        while children:
            assert os.waitpid(children.pop(), 0)[1] == 0


def threads_at_once(number):
    """Eight Python threads that call, and a main thread that is interrupted."""
    signal.signal(signal.SIGALRM, raising)
    functions = calls()
    expected, wrong = [function() for function in functions], []

    def work(first):
        for k in range(first, first + number):
            if not same_numbers(functions[k % len(functions)](), expected[k % len(functions)]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-3, 2e-2))
            functions[2]()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            signal.setitimer(signal.ITIMER_REAL, 0)
    assert not wrong


def daemons(number):
    """The interpreter ends while daemon threads are in calls."""
    functions = calls()

    def work(k):
        while True:
            functions[k % len(functions)]()

    for k in range(4):
        threading.Thread(target=work, args=(k,), daemon=True).start()
    time.sleep(random.uniform(0.01, 0.2))


def labels_changed(number):
    """Another thread writes labels that are no classes while a call reads them."""
    logits, done = np.zeros((400_000, 10), np.float32), threading.Event()
    labels = np.zeros(400_000, np.int64)

    def write():
        while not done.is_set():
            labels[::7] = 2**62
            labels[::7] = -(2**40)
            labels[:] = 0

    writer = threading.Thread(target=write)
    writer.start()
    for k in range(number):
        function = ("nll_loss", "cross_entropy_value_and_grad", "cross_entropy")[k % 3]
        with contextlib.suppress(IndexError):
            getattr(lossgrad, function)(logits, labels)
    done.set()
    writer.join()


def assert_same(result, expected):
    assert same_numbers(result, expected), "an interrupted call left its mark on another"


def same_numbers(result, expected):
    """The same bits, in tuples of arrays and numbers."""
    if isinstance(expected, tuple):
        return all(map(same_numbers, result, expected))
    return np.asarray(result).tobytes() == np.asarray(expected).tobytes()


PROGRAMS = {
    program.__name__: program
    for program in (
        *(alarms, nested, handlers, forks, forking_handlers),
        *(threads_at_once, labels_changed, daemons),
    )
}

if __name__ == "__main__":
    threads, *programs = sys.argv[1:]
    lossgrad.set_num_threads(int(threads))
    for program in programs:
        name, number = program.split("=")
        PROGRAMS[name](int(number))
