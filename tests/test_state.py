"""The state of an evaluation: the same bytes however its rows are cut, ordered and merged."""

import functools
import hashlib
import json
import pickle
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from conftest import trials

from lossgrad import Evaluation, FileError, evaluate, sample
from lossgrad.evaluation import checkpoint, frame
from lossgrad.evaluation import state as module
from lossgrad.evaluation.walk import Position


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
fitted = functools.cache(sample.digits)


@pytest.fixture(params=CASES)
def case(request):
    """(options, logits, targets, sample weights)"""
    found = fitted()
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


@trials(16, 1000)
def test_shardings_give_the_same_bytes(case, trials):
    """Random shards of random rows in random order, merged in a random tree."""
    options, x, y, s = case
    whole = Evaluation(**options)
    whole.update(x, y, s)
    expected = whole.to_bytes()
    random = np.random.default_rng(2)
    for trial in range(trials):
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
    assert data.startswith(b"lossgrad-evaluation\n\x03\x00")
    length = int.from_bytes(data[22:26], "little")
    assert json.loads(data[26 : 26 + length]) == {
        "classes": 2,
        "counts": COUNTS,
        "options": {
            "bins": 2,
            "confusion_limit": 256,
            "figures": [],
            "ignore_index": -100,
            "label_smoothing": "0x0.0p+0",
            "task": "multiclass",
            "threshold": "0x1.0000000000000p-1",
            "weight": None,
            "worst": 1,
        },
        "worst_rows": [["0x0.0p+0", "x", 0, 0, 0, "0x1.0000000000000p+0"]],
    }
    assert hashlib.sha256(data).hexdigest()[:16] == "fcde7ccfd58f7483"


@pytest.mark.parametrize("version", [0, 1, 999])
def test_unknown_versions(version):
    data = bytearray(Evaluation().to_bytes())
    data[20:22] = version.to_bytes(2, "little")
    with pytest.raises(ValueError, match=f"version {version}; this lossgrad reads 3"):
        Evaluation.from_bytes(bytes(data))


@functools.cache
def small_states():
    """One of each kind, as bytes: worst rows, an infinite loss, weights, nothing, binary."""
    x, y = np.array([[2.0, -np.inf], [1.0, 1.0], [0.0, 3.0]]), [0, 1, 0]
    options = [{"bins": 2, "worst": 2}, {"bins": 1, "weight": [0.5, 2.0]}, {"bins": 1}]
    states = [Evaluation(**one) for one in options]
    states[0].update(x, [0, 0, -100], source="x")
    states[0].update(x[:1], [1], source="y")
    states[1].update(x, y, [0.25, 1e-300, 3.0])
    states.append(Evaluation("binary", bins=1))
    states[-1].update(x, np.eye(2)[y])
    return [state.to_bytes() for state in states]


def in_files(data):
    """The state as a finished and as an unfinished run's file has it."""
    state = Evaluation.from_bytes(data)
    place = {"job": "a", "position": [0, 1], "total": max(9, state.rows)}
    return [data, frame.pack(b"lossgrad-unfinished\n", place, data)]


def signed(content):
    """The content with a checksum that is right."""
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.fixture
def load(tmp_path):
    """A function that loads bytes from a file: None if that is an error, as it should be."""

    def loaded(data):
        (tmp_path / "state").write_bytes(data)
        try:
            return checkpoint.load(tmp_path / "state")
        except FileError as error:
            problem = str(error)
        assert problem.startswith(f"{tmp_path / 'state'}: is not a state that can be read: ")
        assert problem.isprintable()
        return None

    return loaded


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("unfinished", [0, 1])
def test_a_flipped_bit_or_a_lost_end_is_never_a_state(load, which, unfinished):
    """In every part: name, version, headers, sums, checksums. Every bit of the frame, which comes
    first and last, and bits in every place of a number in what lies between."""
    data = in_files(small_states()[which])[unfinished]
    assert load(data) is not None
    ends = {*range(30), *range(len(data) - 8, len(data))}
    for place in sorted(ends.union(range(30, len(data), 7))):
        for bit in range(8) if place in ends else (place % 8,):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            assert load(bytes(damaged)) is None, (place, bit)
        assert load(data[:place]) is None
    assert load(data + b"\0") is None


@trials(300, 15000)
def test_splices_of_states_are_states_or_errors(load, trials):
    files = [one for data in small_states() for one in in_files(data)]
    random = np.random.default_rng(5)
    for _ in range(trials):
        first, second = random.choice(len(files), 2)
        one, two = files[first], files[second]
        cut, back = random.integers(len(one) + 1), random.integers(len(two) + 1)
        spliced = one[:cut] + two[back:]
        assert load(spliced) is None or spliced in files


@trials(300, 25000)
@pytest.mark.parametrize("which", range(4))
def test_damage_with_a_right_checksum_is_an_error_or_another_state(load, which, trials):
    """What comes from elsewhere may be made on purpose: no other exception, nor in the figures."""
    data = small_states()[which]
    random = np.random.default_rng([6, which])
    header = 26 + int.from_bytes(data[22:26], "little")
    taken = 0
    for trial in range(trials):
        damaged = bytearray(data[:-4])
        end = header if trial % 2 else len(damaged)
        for place in random.integers(20, end, random.integers(1, 4)):
            digits = random.choice(list(b'0123456789-[]{},e"\xff'))
            damaged[place] = digits if trial % 2 else random.integers(256)
        if (found := load(signed(bytes(damaged)))) is not None:
            assert found[0].to_bytes() == signed(bytes(damaged))
            found[0].result().to_dict(top_k=[1])
            found[0].merge(found[0])
            taken += 1
    assert taken < 0.4 * trials


def edited(header=(), options=(), **more):
    """The first small state with other entries in its header, and its sums."""
    data = small_states()[0]
    length = int.from_bytes(data[22:26], "little")
    found = json.loads(data[26 : 26 + length])
    found.update(header, **more)
    found["options"].update(options)
    return frame.pack(module.MAGIC, found, data[26 + length : -4])


ROW = ["0x1.0000000000000p+0", "x", 0, 0, 0, "0x1.0000000000000p+0"]
IMPOSSIBLE = {
    "classes": edited(classes=10**12),
    "no classes": edited(classes=0),
    "classes with a point": edited(classes=2.0),
    "bins": edited(options={"bins": 10**12}),
    "bins that are missing": edited(options={"bins": 3}),
    "a confusion matrix": edited(classes=10**9, options={"confusion_limit": 10**10}),
    "a large float": edited(options={"threshold": "0x1p99999"}),
    "nan": edited(options={"threshold": "nan"}),
    "a text": edited(options={"threshold": "one half"}),
    "no text": edited(options={"threshold": 0.5}),
    "class weights": edited(options={"weight": ["0x1p99999", "0x1p0"]}),
    "too many class weights": edited(options={"weight": ["0x1.0000000000000p+0"] * 3}),
    "a label": edited(options={"ignore_index": 2**80}),
    "an option": edited(options={"what": 1}),
    "a key": edited(what=1),
    "negative": edited(counts={**COUNTS, "rows": -2}),
    "more kept than seen": edited(counts={**COUNTS, "terms": 5}),
    "more right than kept": edited(counts={**COUNTS, "correct": 9}),
    "huge": edited(counts=dict.fromkeys(COUNTS, 2**70)),
    "true": edited(counts={**COUNTS, "rows": True}),
    "no counts": edited(counts={}),
    "null": edited(counts=None),
    "a row": edited(worst_rows=[ROW[:3]]),
    "three rows": edited(worst_rows=[ROW] * 3),
    "a label of no class": edited(worst_rows=[[*ROW[:3], 7, 0, ROW[5]]]),
    "a prediction of no class": edited(worst_rows=[[*ROW[:4], -1, ROW[5]]]),
    "a row below 0": edited(worst_rows=[[*ROW[:2], -1, 0, 0, ROW[5]]]),
    "a loss": edited(worst_rows=[["-0x1.0000000000000p+0", *ROW[1:]]]),
    "a loss of nan": edited(worst_rows=[["nan", *ROW[1:]]]),
    "a confidence": edited(worst_rows=[[*ROW[:5], "0x1.0000000000000p+1"]]),
    "a source": edited(worst_rows=[[ROW[0], 3, *ROW[2:]]]),
    "order": edited(worst_rows=[ROW, ["inf", *ROW[1:]]]),
    "shallow": edited(what=[[[[1]]]]),
    "deep": edited(what=json.loads("[" * 400 + "]" * 400)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_states_are_refused_at_once(load, name):
    tracemalloc.start()
    start = time.perf_counter()
    found = load(IMPOSSIBLE[name])
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is None
    assert seconds < 0.1
    assert peak < 1 << 20
    with pytest.raises(ValueError, match="a damaged evaluation: "):
        Evaluation.from_bytes(IMPOSSIBLE[name])


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"1", b"{}", b'"', b"\xff"])
def test_headers_that_are_none(load, text):
    for name in (module.MAGIC, b"lossgrad-unfinished\n"):
        start = name + (2).to_bytes(2, "little")
        for length in (len(text), 0, 2**32 - 1):
            assert load(signed(start + length.to_bytes(4, "little") + text)) is None


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"job": 1, "position": [0, 1], "total": 9},
        {"job": "a", "position": [0], "total": 9},
        {"job": "a", "position": [0, -1], "total": 9},
        {"job": "a", "position": [0, True], "total": 9},
        {"job": "a", "position": [0, 1], "total": 1},
        {"job": "a", "position": [0, 1], "total": 9.0},
        {"job": "a", "position": [0, 1], "total": 9, "rows": 3},
    ],
)
def test_places_that_are_none(load, place):
    data = small_states()[0]
    assert load(frame.pack(b"lossgrad-unfinished\n", place, data)) is None


@pytest.mark.parametrize(
    ("position", "rows", "right"),
    [
        ((0, 2), [9], True),
        ((0, 4), [4, 9], True),
        ((1, 1), [3, 9], True),
        ((2, 0), [3, 1], True),
        ((0, 5), [9], False),  # 4 rows in 5 blocks
        ((0, 1), [3, 9], False),
        ((1, 1), [4, 9], False),
        ((1, 1), [1, 2, 9], False),
        ((9, 1), [9], False),
    ],
)
def test_rows_are_checked_against_the_place(tmp_path, position, rows, right):
    state = Evaluation.from_bytes(small_states()[0])
    assert state.rows == 4
    path = str(tmp_path / "state")
    checkpoint.save(path, state, checkpoint.Unfinished("job", Position(*position), 20))
    empty = Evaluation(**state.options())
    if right:
        assert checkpoint.resume(path, empty, "job", rows) == (state, position)
    else:
        with pytest.raises(FileError, match="has 4 rows, which do not end in its shard"):
            checkpoint.resume(path, empty, "job", rows)


def test_states_without_weight_come_back():
    """Sums of nothing are in no limb but the one that is always written."""
    for options in ({}, {"worst": 2, "bins": 3}):
        states = Evaluation(**options), Evaluation(**options)
        states[0].update(np.eye(5), np.arange(5), np.zeros(5))
        states[1].update(np.eye(5), np.full(5, -100))
        for state in states:
            again = Evaluation.from_bytes(state.to_bytes())
            assert again.result() == state.result()
            assert again.result().classes == 5


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
        {"bins": 2**20 + 1},
        {"ignore_index": 2**63},
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
