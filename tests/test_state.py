"""The state of an evaluation: the same bytes however its rows are cut, ordered and merged."""

import hashlib
import json
import pickle

import numpy as np
import pytest

from lossgrad import Evaluation, evaluate, sample
from lossgrad import evaluation as module


def merged(states, random):
    """Merge in a random tree."""
    states = list(states)
    while len(states) > 1:
        first = states.pop(random.integers(len(states)))
        states[random.integers(len(states))].merge(first)
    return states[0]


COUNTS = {"rows": 2, "ignored": 1, "undefined": 0, "terms": 1, "correct": 1, "infinite": 0}
CASES = {
    "digits": {},
    "weights": {"weight": np.linspace(0.1, 3, 10), "label_smoothing": 0.05},
    "binary": {"task": "binary"},
    "float32": {"confusion_limit": 5},
}


@pytest.fixture(params=CASES)
def case(request):
    """(options, logits, targets, sample weights)"""
    found = sample.digits()
    x, y = found.logits[:240].copy(), found.targets[:240].copy()
    random = np.random.default_rng(1)
    s = random.random(240)
    x[5], x[7, 3], x[9, y[9]] = np.nan, np.inf, -np.inf
    if request.param == "binary":
        return CASES["binary"], x, np.eye(10, dtype=int)[y], s
    y[::17] = -100
    if request.param == "float32":
        x, s = x.astype(np.float32), None
    return CASES[request.param], x, y, s


def test_a_thousand_shardings_give_the_same_bytes(case):
    """Random shards of random rows in random order, merged in a random tree."""
    options, x, y, s = case
    whole = Evaluation(**options)
    whole.update(x, y, s)
    expected = whole.to_bytes()
    random = np.random.default_rng(2)
    for trial in range(260):
        states = []
        order = random.permutation(240)
        for rows in np.split(order, np.sort(random.integers(0, 241, random.integers(1, 6)))):
            state = Evaluation(**options)
            for part in np.array_split(rows, random.integers(1, 3)):
                state.update(x[part], y[part], None if s is None else s[part])
            if trial % 4 == 0:
                state = Evaluation.from_bytes(state.to_bytes())
            states.append(state)
        assert merged(states, random).to_bytes() == expected


@pytest.mark.parametrize("classes", [1, 3, 100, 3000])
def test_blocks_and_threads_give_the_same_bytes(classes):
    random = np.random.default_rng(3)
    x = 4 * random.standard_normal((150, classes)).astype(np.float32)
    y = random.integers(0, classes, 150)
    states = []
    for block_bytes, threads in ((1 << 30, 1), (4 * classes, 1), (50 * classes, 3), (1 << 30, 2)):
        states.append(Evaluation(worst=5))
        evaluate(x, y, state=states[-1], block_bytes=block_bytes, num_threads=threads)
    assert len({state.to_bytes() for state in states}) == 1


def test_worst_rows_merge_by_their_names():
    random = np.random.default_rng(4)
    x, y = random.standard_normal((100, 3)), random.integers(0, 3, 100)
    whole = Evaluation(worst=7)
    whole.update(x, y, source="a")
    parts = []
    for start in (60, 0, 30):
        stop = {0: 30, 30: 60, 60: 100}[start]
        parts.append(Evaluation(worst=7))
        parts[-1].update(x[start:stop], y[start:stop], source="a", first_row=start)
    assert merged(parts, random) == whole


def test_bytes_and_pickle_bring_everything_back(case):
    options, x, y, s = case
    state = Evaluation(**options, bins=7, worst=3 if "task" not in options else 0)
    state.update(x, y, s)
    for again in (Evaluation.from_bytes(state.to_bytes()), pickle.loads(pickle.dumps(state))):
        assert again == state
        assert again.result() == state.result()
        again.update(x, y, s)
        assert again.result().rows == 480
    state = Evaluation(**options)
    assert Evaluation.from_bytes(state.to_bytes()) == state
    assert state.result().rows == 0


def test_an_empty_state_merges_both_ways(case):
    options, x, y, s = case
    full, empty = Evaluation(**options), Evaluation(**options)
    full.update(x, y, s)
    expected = full.to_bytes()
    full.merge(empty)
    empty.merge(full)
    assert empty.to_bytes() == full.to_bytes() == expected


def test_the_format_is_pinned():
    """What was released must be readable for ever: these bytes change with the version only."""
    state = Evaluation(bins=2, worst=1)
    state.update(np.array([[2.0, -np.inf], [1.0, 1.0]]), [0, -100], source="x")
    data = state.to_bytes()
    assert data.startswith(b"lossgrad-evaluation\n\x02\x00")
    length = int.from_bytes(data[22:26], "little")
    assert json.loads(data[26 : 26 + length]) == {
        "classes": 2,
        "counts": COUNTS,
        "options": {
            "bins": 2,
            "confusion_limit": 256,
            "ignore_index": -100,
            "label_smoothing": "0x0.0p+0",
            "task": "multiclass",
            "threshold": "0x1.0000000000000p-1",
            "weight": None,
            "worst": 1,
        },
        "worst_rows": [["0x0.0p+0", "x", 0, 0, 0, "0x1.0000000000000p+0"]],
    }
    assert hashlib.sha256(data).hexdigest()[:16] == "013462150e5d755c"


@pytest.mark.parametrize("version", [0, 1, 999])
def test_unknown_versions(version):
    data = bytearray(Evaluation().to_bytes())
    data[20:22] = version.to_bytes(2, "little")
    with pytest.raises(ValueError, match=f"version {version}; this lossgrad reads 2"):
        Evaluation.from_bytes(bytes(data))


def test_damaged_bytes_are_never_read_as_a_state():
    state = Evaluation()
    state.update(np.eye(4), np.arange(4))
    data = state.to_bytes()
    random = np.random.default_rng(5)
    for place in random.integers(0, len(data), 300):
        damaged = bytearray(data)
        damaged[place] ^= 1 << random.integers(8)
        with pytest.raises(ValueError, match="evaluation"):
            Evaluation.from_bytes(bytes(damaged))
    for length in [*range(30), *random.integers(30, len(data), 50)]:
        with pytest.raises(ValueError, match="evaluation"):
            Evaluation.from_bytes(data[:length])
    with pytest.raises(ValueError, match="not a saved evaluation"):
        Evaluation.from_bytes(b"something else")


@pytest.mark.parametrize(
    "options",
    [
        {"task": "binary"},
        {"ignore_index": 1},
        {"weight": [1.0, 2.0]},
        {"label_smoothing": 0.1},
        {"bins": 5},
        {"worst": 2},
        {"confusion_limit": 3},
    ],
)
def test_different_options_do_not_merge(options):
    state = Evaluation()
    with pytest.raises(ValueError, match=f"different .*{next(iter(options))}.* do not merge"):
        state.merge(Evaluation(**options))


@pytest.mark.parametrize(
    "options",
    [
        {"bins": 0},
        {"worst": -1},
        {"label_smoothing": 1.5},
        {"threshold": 0.0},
        {"task": "binary", "weight": [1.0]},
        {"weight": [[1.0]]},
        {"weight": ["a"]},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError):  # noqa: PT011
        Evaluation(**options)


def test_the_state_is_small():
    """O(C + bins), whatever the rows."""
    state = Evaluation(confusion_limit=0)
    for _ in range(3):
        state.update(np.random.default_rng(6).standard_normal((500, 2000)), np.arange(500))
    assert len(state.to_bytes()) < 2000 * 60
    assert state.result().confusion is None
    assert module.MAGIC in state.to_bytes()
