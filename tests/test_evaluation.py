"""The evaluation state and the walk over arrays: exact, whatever the blocks."""

import math
import threading
import time

import numpy as np
import pytest

import lossgrad
from lossgrad import DtypeError, Evaluation, InputError, LabelError, evaluate
from lossgrad.evaluation.shard import blocks
from lossgrad.evaluation.share import Share


def multiclass(rows=1000, classes=10, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    logits = (6 * random.standard_normal((rows, classes))).astype(dtype)
    return logits, random.integers(0, classes, rows)


def float64_losses(logits, targets):
    """Row losses by the textbook formula, in float64."""
    x = np.asarray(logits, dtype=np.float64)
    top = x.max(axis=-1, keepdims=True)
    lse = top[..., 0] + np.log(np.exp(x - top).sum(axis=-1))
    return lse - np.take_along_axis(x, np.asarray(targets)[..., None], axis=-1)[..., 0]


# Multi-class


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3, 10, 257])
def test_multiclass_figures(dtype, classes):
    logits, targets = multiclass(800, classes, dtype)
    result = evaluate(logits, targets)
    losses = float64_losses(logits, targets)
    assert result.loss == pytest.approx(losses.mean(), rel=1e-13 if dtype == np.float64 else 1e-6)
    assert result.correct == sum(
        int(np.argmax(row)) == t for row, t in zip(logits, targets, strict=True)
    )
    assert (result.rows, result.ignored, result.terms, result.infinite) == (800, 0, 800, 0)
    assert result.classes == classes
    assert result.accuracy == result.correct / 800
    assert result.loss_bits == pytest.approx(result.loss / math.log(2), rel=1e-15)
    assert result.perplexity == pytest.approx(math.exp(result.loss), rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_has_the_bits_of_the_library_mean(dtype):
    logits, targets = multiclass(20_000, 7, dtype)
    assert evaluate(logits, targets).loss == lossgrad.cross_entropy(logits, targets)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_result_does_not_depend_on_the_blocks(dtype):
    logits, targets = multiclass(500, 10, dtype)
    targets[::9] = -100
    expected = evaluate(logits, targets, block_bytes=1 << 40)
    for block_bytes in (1, 40, 81, 1000, 65536, 100_001):
        assert evaluate(logits, targets, block_bytes=block_bytes) == expected


def test_merged_shards_equal_the_whole_in_any_order():
    logits, targets = multiclass(3000, 10)
    expected = evaluate(logits, targets)
    random = np.random.default_rng(5)
    for _ in range(10):
        state = Evaluation()
        for rows in np.split(random.permutation(3000), np.sort(random.integers(0, 3000, 5))):
            shard = Evaluation()
            shard.update(logits[rows], targets[rows])
            shard.merge(state)
            state = shard
        assert state.result() == expected


def test_ignored_rows_are_never_read():
    logits, targets = multiclass(100, 10)
    kept = np.arange(100) % 3 > 0
    expected = evaluate(logits[kept], targets[kept])
    targets[~kept] = -1
    logits[~kept] = np.nan
    result = evaluate(logits, targets, ignore_index=-1)
    assert (result.rows, result.ignored, result.terms) == (100, 34, 66)
    assert (result.loss, result.correct) == (expected.loss, expected.correct)


def test_an_ignored_class_does_not_count_as_right():
    logits, targets = np.eye(4, dtype=np.float32), np.arange(4)
    result = evaluate(logits, targets, ignore_index=2)
    assert (result.correct, result.terms, result.ignored, result.accuracy) == (3, 3, 1, 1.0)


def test_nothing_left_is_nan_not_an_error():
    logits, _ = multiclass(5, 3)
    for result in (evaluate(logits, np.full(5, -100)), evaluate(logits[:0], np.arange(0))):
        assert result.terms == 0
        assert math.isnan(result.loss)
        assert math.isnan(result.accuracy)
        assert math.isnan(result.perplexity)


def test_ties_go_to_the_first_class():
    assert evaluate(np.zeros((2, 3)), np.array([0, 1])).correct == 1


def test_infinite_losses_are_counted():
    logits = np.array([[0.0, -np.inf], [0.0, 1.0]])
    result = evaluate(logits, np.array([1, 0]))
    assert (result.infinite, result.loss, result.perplexity) == (1, math.inf, math.inf)
    assert result.correct == 0


def test_perplexity_overflows_to_infinity():
    result = evaluate(np.array([[0.0, 1e5]]), np.array([0]))
    assert (result.loss, result.perplexity) == (1e5, math.inf)


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i4", "u4", "i8", "u8", ">u8"])
def test_labels_of_any_integer_type(dtype):
    logits, targets = multiclass(50, 10)
    assert evaluate(logits, targets.astype(dtype)) == evaluate(logits, targets)


@pytest.mark.parametrize("block_bytes", [1, 200, 1 << 20])
@pytest.mark.parametrize(("shape", "axis"), [((7, 5, 3, 4), 1), ((5, 60), 0), ((2, 30, 5), -1)])
def test_any_class_axis(shape, axis, block_bytes):
    logits = np.random.default_rng(6).standard_normal(shape)
    moved = np.moveaxis(logits, axis, -1)
    targets = np.random.default_rng(7).integers(0, 5, moved.shape[:-1])
    flat = evaluate(np.ascontiguousarray(moved).reshape(-1, 5), targets.ravel())
    assert evaluate(logits, targets, axis=axis, block_bytes=block_bytes) == flat


def test_layouts_do_not_matter():
    logits, targets = multiclass(500, 10)
    expected = evaluate(logits, targets)
    assert evaluate(np.asfortranarray(logits), targets, block_bytes=900) == expected
    assert evaluate(logits[::-1], targets[::-1], block_bytes=900) == expected
    assert evaluate(logits.astype(">f4"), targets) == expected
    assert evaluate(logits.tolist(), targets.tolist()).correct == expected.correct


def test_progress_counts_rows():
    logits, targets = multiclass(100, 10)
    calls = []
    evaluate(logits, targets, block_bytes=30 * 40, progress=lambda *numbers: calls.append(numbers))
    assert calls == [(30, 100), (60, 100), (90, 100), (100, 100)]


# Binary and multi-label


@pytest.mark.parametrize("shape", [(500,), (100, 5), (10, 7, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_figures(shape, dtype):
    random = np.random.default_rng(8)
    logits = (4 * random.standard_normal(shape)).astype(dtype)
    targets = random.integers(0, 2, shape)
    result = evaluate(logits, targets, task="binary")
    x = logits.astype(np.float64)
    losses = np.logaddexp(0, np.where(targets == 1, -x, x))
    assert result.loss == pytest.approx(losses.mean(), rel=1e-13 if dtype == np.float64 else 1e-6)
    assert result.correct == np.count_nonzero((x > 0) == (targets == 1))
    labels = shape[-1] if len(shape) > 1 else 1
    assert (result.rows, result.classes) == (x.size // labels, labels)
    assert (result.terms, result.ignored) == (x.size, 0)
    assert result.loss == lossgrad.binary_cross_entropy_with_logits(logits, targets)
    for block_bytes in (1, 64, 1000):
        assert evaluate(logits, targets, task="binary", block_bytes=block_bytes) == result
    for same in (targets.astype(bool), targets.astype(np.float32), targets.astype("u1")):
        assert evaluate(logits, same, task="binary") == result


def test_binary_threshold_is_zero_on_logits():
    logits = np.array([0.0, 0.0, 0.0, 1e-30, -1e-30])
    assert evaluate(logits, np.array([0, 0, 1, 1, 0]), task="binary").correct == 4
    halves = np.array([0.5, 0.5, 0.5, 0.5, 0.5])  # no more than a half is a negative
    assert evaluate(logits, halves, task="binary").correct == 4


def test_binary_axis_tells_rows_from_labels():
    logits, targets = np.zeros((7, 40)), np.zeros((7, 40))
    for block_bytes in (1, 200, 1 << 20):
        result = evaluate(logits, targets, task="binary", axis=0, block_bytes=block_bytes)
        assert (result.rows, result.classes, result.terms) == (40, 7, 280)
    targets[3, 22] = 3
    error = problem(lambda: evaluate(logits, targets, task="binary", axis=0), LabelError)
    assert error.detail.startswith("row 22: label 3: target 3.0")


def test_binary_infinite_logits_take_the_limit():
    result = evaluate(np.array([np.inf, -np.inf]), np.array([1, 0]), task="binary")
    assert (result.loss, result.correct, result.infinite) == (0.0, 2, 0)
    assert evaluate(np.array([np.inf]), np.array([0]), task="binary").infinite == 1


# Errors


def problem(call, kind=InputError):
    with pytest.raises(kind) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("block_bytes", [1, 400, 1 << 20])
def test_a_bad_label_is_named_by_its_row_in_the_whole(block_bytes):
    logits, targets = multiclass(100, 10)
    targets[57], targets[80] = 12, -3
    error = problem(lambda: evaluate(logits, targets, block_bytes=block_bytes), LabelError)
    assert isinstance(error, IndexError)
    assert (error.source, error.row) == ("targets", (57,))
    assert str(error) == (
        "targets: row 57: label 12 is outside [0, 10) and is not ignore_index (-100)"
    )


@pytest.mark.parametrize("label", [-1, 10, 2**63 - 1])
def test_labels_just_outside(label):
    error = problem(lambda: evaluate(np.zeros((3, 10)), np.array([0, 9, label])), LabelError)
    assert error.detail.startswith(f"row 2: label {label} is outside [0, 10)")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.0, np.nan, np.nan], "row 57: the logit of class 1 is nan"),
        ([np.inf, 0.0, np.inf], "row 57: the logits of classes 0 and 2 are both inf"),
        ([-np.inf] * 3, "row 57: every logit is -inf"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 400, 1 << 20])
def test_a_row_without_a_loss_is_named(row, message, block_bytes):
    logits, targets = multiclass(100, 3)
    logits[57] = row
    logits[70] = np.nan
    error = problem(lambda: evaluate(logits, targets, block_bytes=block_bytes, strict=True))
    assert error.source == "logits"
    assert error.detail.startswith(message)


@pytest.mark.parametrize("block_bytes", [1, 24, 100, 1 << 20])
def test_a_row_of_several_indices(block_bytes):
    logits, targets = np.zeros((4, 3, 5)), np.zeros((4, 5), dtype=int)
    targets[2, 3] = 9
    error = problem(lambda: evaluate(logits, targets, axis=1, block_bytes=block_bytes))
    assert error.detail.startswith("row (2, 3): label 9 is outside [0, 3)")


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_binary_errors_name_row_label_and_value(block_bytes):
    def run(logits, targets):
        return evaluate(logits, targets, task="binary", block_bytes=block_bytes, strict=True)

    logits, targets = np.zeros((40, 5)), np.zeros((40, 5))
    targets[33, 2] = 1.5
    error = problem(lambda: run(logits, targets), LabelError)
    assert str(error) == "targets: row 33: label 2: target 1.5 is outside [0, 1]"
    targets[33, 2] = 1
    logits[34, 0] = np.nan
    assert str(problem(lambda: run(logits, targets))) == "logits: row 34: label 0: logit is nan"
    error = problem(lambda: run(logits[:, 0], targets[:, 0]))
    assert str(error) == "logits: row 34: logit is nan"


@pytest.mark.parametrize(
    ("logits", "targets", "keywords", "message"),
    [
        ((8, 10), (7,), {}, "targets: shape (7,) where logits of shape (8, 10) need (8,)"),
        ((8, 10), (8, 2), {}, "targets: shape (8, 2) where logits of shape (8, 10) need (8,)"),
        ((8, 10), (10,), {}, "need (8,); it fits axis 0"),
        ((8,), (8, 10), {}, "logits: shape (8,) is not (rows, classes); are the two swapped?"),
        ((8,), (8,), {}, "logits: shape (8,) is not (rows, classes)"),
        ((), (), {"task": "binary"}, "logits: shape () is not (rows, classes)"),
        ((8, 10), (8,), {"axis": 2}, "logits: shape (8, 10) has no axis 2"),
        ((8, 0), (8,), {}, "logits: shape (8, 0) has no classes"),
        ((8, 2), (8,), {"task": "binary"}, "shape (8,) differs from the logits' (8, 2)"),
    ],
)
def test_shapes_that_do_not_fit(logits, targets, keywords, message):
    error = problem(lambda: evaluate(np.zeros(logits), np.zeros(targets, dtype=int), **keywords))
    assert message in str(error)


@pytest.mark.parametrize("dtype", [bool, complex, "U1"])
def test_labels_must_be_integers(dtype):
    error = problem(lambda: evaluate(np.zeros((3, 2)), np.zeros(3, dtype=dtype)), DtypeError)
    assert isinstance(error, TypeError)
    assert error.source == "targets"
    assert str(np.dtype(dtype)) in error.problem


@pytest.mark.parametrize("dtype", [complex, "U1", object])
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_logits_must_be_real_numbers(dtype, task):
    logits = np.zeros((3, 2), dtype=dtype)
    targets = np.zeros((3, 2) if task == "binary" else 3, dtype=int)
    error = problem(lambda: evaluate(logits, targets, task=task), DtypeError)
    assert error.source == "logits"


def test_integer_logits_count_as_float64():
    logits = np.random.default_rng(9).integers(-5, 5, (20, 4))
    targets = np.arange(20) % 4
    assert evaluate(logits, targets) == evaluate(logits.astype(float), targets)


def test_a_bad_block_leaves_the_state_as_it_was():
    logits, targets = multiclass(50, 10)
    state = Evaluation()
    state.update(logits, targets)
    before = state.result()
    for bad in (np.where(np.arange(50) == 30, 99, targets), targets[:3], targets + 0.5):
        with pytest.raises(InputError):
            state.update(logits, bad)
    logits[20, 3] = np.nan
    with pytest.raises(InputError):
        state.update(logits, targets, strict=True)
    assert state.result() == before


def test_states_of_different_kind_do_not_merge():
    first, second = Evaluation(), Evaluation()
    first.update(np.zeros((2, 3)), np.zeros(2, dtype=int))
    second.update(np.zeros((2, 4)), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="4 classes do not merge with 3"):
        first.merge(second)
    with pytest.raises(ValueError, match="task"):
        first.merge(Evaluation("binary"))
    with pytest.raises(InputError, match="4 classes after blocks of 3"):
        first.update(np.zeros((2, 4)), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="'regression'"):
        Evaluation("regression")
    first.merge(Evaluation())
    assert first.result().classes == 3


def test_blocks_cover_every_row_once_in_order():
    for shape in [(7,), (1, 9), (3, 4, 5), (0,), (2, 0, 3)]:
        numbers = np.arange(math.prod(shape)).reshape(shape)
        for rows in (1, 2, 5, 8, 1000):
            pieces = [numbers[index].ravel() for index in blocks(shape, rows)]
            assert all(piece.size <= rows for piece in pieces)
            joined = np.concatenate([*pieces, np.arange(0)])
            np.testing.assert_array_equal(joined, numbers.ravel())


@pytest.mark.parametrize("task", ["multiclass", "binary"])
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_as_asked_for(monkeypatch, task, threads):
    """Blocks are shared out, and no other thread works where one is asked for."""
    seen = set()
    add = Share.add

    def watched(*arguments, **options):
        seen.add(threading.get_ident())
        time.sleep(0.01)
        add(*arguments, **options)

    monkeypatch.setattr(Share, "add", watched)
    x, y = multiclass(200, 5)
    y = y if task == "multiclass" else x > 0
    expected = evaluate(x, y, task=task, num_threads=1)
    seen.clear()
    assert evaluate(x, y, task=task, num_threads=threads, block_bytes=400) == expected
    assert len(seen) == threads
    assert (threading.get_ident() in seen) == (threads == 1)
    lossgrad.set_num_threads(threads)
    try:
        seen.clear()
        evaluate(x, y, task=task, block_bytes=400)
    finally:
        lossgrad.set_num_threads(None)
    assert len(seen) == threads


def test_a_number_of_threads_is_checked():
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"):
        evaluate([[0.0, 1.0]], [0], num_threads=0)


SCALES = [5e-324, 1e-320, 1e-310, 1e-200, 1e-100, 2.0**-256, 2.0**256, 1e100, 1e200, 1e300]
FIGURES = ["loss", "loss_error", "accuracy", "entropy", "confidence", "brier", "ece", "mce"]


# Of each scale both tasks and both backends, in turn one with the one or with the other.
@pytest.mark.parametrize(
    ("scale", "task", "backend"),
    [
        (scale, task, ("compiled", "reference")[(at + (task == "binary")) % 2])
        for at, scale in enumerate(SCALES)
        for task in ("multiclass", "binary")
    ],
)
def test_figures_do_not_depend_on_the_scale_of_weights(task, scale, backend, rng, monkeypatch):
    """Nor do those of parts that were merged, some of them of another scale."""
    if backend == "reference":
        monkeypatch.setattr("lossgrad.evaluation.exact.kernels", None)
    x, weights = 3 * rng.standard_normal((200, 4)), rng.integers(0, 9, 200).astype(float)
    y = rng.integers(0, 4, 200)
    y = np.eye(4)[y] if task == "binary" else y
    expected = evaluate(x, y, task=task, sample_weight=weights)
    found = evaluate(x, y, task=task, sample_weight=scale * weights)
    for name in FIGURES:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-13)
    for name in ("class_loss", "precision", "recall", "f1", "bin_confidence", "bin_accuracy"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-13)
    mixed = np.where(np.arange(200) % 2, weights, scale * weights)
    whole, *parts = (Evaluation(task, worst=2 * (task == "multiclass")) for _ in range(3))
    whole.update(x, y, mixed)
    for part, rows in zip(parts, np.split(np.arange(200), [77]), strict=True):
        part.update(x[rows], y[rows], mixed[rows], first_row=rows[0])
    parts[1].merge(Evaluation.from_bytes(parts[0].to_bytes()))
    assert parts[1].to_bytes() == whole.to_bytes()
    heavy = np.arange(200) % 2 == (scale < 1)  # beside which the others are nothing
    if not 1e-50 < scale < 1e50:
        alone = evaluate(x[heavy], y[heavy], task=task, sample_weight=mixed[heavy])
        for name in ("loss", "entropy", "brier", "accuracy"):
            found = getattr(whole.result(), name)
            np.testing.assert_allclose(found, getattr(alone, name), rtol=1e-13)


def test_the_first_row_is_a_row():
    state = Evaluation(worst=1)
    with pytest.raises(ValueError, match="first_row is -1, not 0 or more"):
        state.update(np.eye(3), [0, 1, 1], first_row=-1)
    assert state == Evaluation(worst=1)
    state.update(np.eye(3), [0, 1, 1], first_row=np.int64(7))
    assert Evaluation.from_bytes(state.to_bytes()).result().worst[0].row == 9


# Labels and weights of the binary task


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float32, np.float64])
def test_missing_labels_are_left_out(dtype):
    random = np.random.default_rng(0)
    x, t = random.standard_normal((200, 5)), random.integers(0, 2, (200, 5)).astype(dtype)
    missing = random.random((200, 5)) < 0.2
    x[3, 0], missing[3, 0] = np.nan, True  # what is left out is never read
    marks = [({}, -100), ({"ignore_index": -1}, -1), ({}, np.nan)]
    for options, mark in marks[: 2 if t.dtype.kind == "i" else 3]:
        given = np.where(missing, np.asarray(mark).astype(dtype), t)
        result = evaluate(x, given, task="binary", strict=True, **options)
        assert (result.rows, result.ignored) == (200, missing.sum())
        assert result.terms == 1000 - missing.sum()
        flat = evaluate(x[~missing], t[~missing], task="binary")
        assert (result.loss, result.brier, result.ece) == (flat.loss, flat.brier, flat.ece)
        assert result.correct == flat.correct
        assert Evaluation.from_bytes(state_of(x, given, **options).to_bytes()).result() == result
    label = 2
    one = evaluate(x[~missing[:, label], label], t[~missing[:, label], label], task="binary")
    assert (result.support[label], result.class_loss[label]) == (one.support[0], one.loss)


def state_of(x, t, **options):
    state = Evaluation("binary", **options)
    state.update(x, t)
    return state


def test_an_ignored_class_of_the_binary_task():
    result = evaluate(np.zeros(4), [0, 1, 1, 0], task="binary", ignore_index=1)
    assert (result.terms, result.ignored, result.support.sum()) == (2, 2, 0)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_for_each_label(axis):
    random = np.random.default_rng(1)
    x, t = random.standard_normal((300, 4)), random.integers(0, 2, (300, 4)).astype(np.float64)
    s = random.integers(0, 4, (300, 4)).astype(np.float64)
    t[5, 1] = np.nan
    turn = (lambda a: a) if axis == 1 else np.transpose
    result = evaluate(turn(x), turn(t), task="binary", sample_weight=turn(s), axis=axis)
    repeated = [np.repeat(a[:, k], s[:, k].astype(int)) for k in range(4) for a in (x, t)]
    flat = evaluate(np.concatenate(repeated[::2]), np.concatenate(repeated[1::2]), task="binary")
    for name in ("loss", "brier", "entropy", "accuracy", "weight"):
        assert getattr(result, name) == pytest.approx(getattr(flat, name), rel=1e-14), name
    rows = np.array([2.0, 0.5, 1.0] * 100)
    each = np.repeat(rows[:, np.newaxis], 4, axis=1)
    found = evaluate(x, t, task="binary", sample_weight=each)
    assert found == evaluate(x, t, task="binary", sample_weight=rows)
    assert evaluate(x[:, 0], t[:, 0], task="binary", sample_weight=rows).rows == 300
    error = problem(lambda: evaluate(x, t, task="binary", sample_weight=each.T))
    assert error.source == "sample_weight"
    each[7, 2] = -1
    error = problem(lambda: evaluate(x, t, task="binary", sample_weight=each))
    assert error.detail.startswith("row (7, 2): weight -1.0 is not")


def test_options_that_would_do_nothing_are_refused():
    for option in ({"worst": 3}, {"label_smoothing": 0.1}, {"weight": [1.0, 2.0]}):
        with pytest.raises(ValueError, match="are for the multiclass task"):
            Evaluation("binary", **option)
