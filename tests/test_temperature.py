"""The temperature of least loss: that of a float64 search, the same for any sharding, and what
there is to say where no temperature is best."""

import functools
import json
import math

import ml_dtypes
import numpy as np
import pytest

import lossgrad
from lossgrad import fit_temperature
from lossgrad.evaluation.passes.temperature import scaled

optimize = pytest.importorskip("scipy.optimize")


@functools.cache
def drawn(task, rows, classes):
    """Logits, and the targets that they say."""
    random = np.random.default_rng(1)
    x = 2.0 * random.standard_normal((rows, classes))
    if task == "multiclass":
        p = lossgrad.softmax(x)
        return x, np.array([random.choice(classes, p=row) for row in p])
    return x, (random.random(x.shape) < lossgrad.sigmoid(x)).astype(float)


def data(task="multiclass", dtype=np.float64, rows=500, sharpness=2.5, classes=6):
    """Logits that are `sharpness` times as large as those the targets were drawn from."""
    x, t = drawn(task, rows, classes)
    return (sharpness * x).astype(dtype), t.copy()


def slope(task, x, t, weight, beta):
    """The derivative of the loss in 1 / T, in plain float64."""
    x = x.astype(np.float64)
    w = np.ones(len(x)) if weight is None else weight
    if task == "binary":
        return float((w @ (x * (lossgrad.sigmoid(beta * x) - t))).sum())
    mean = (lossgrad.softmax(beta * x) * x).sum(axis=1)
    return float(w @ (mean - x[np.arange(len(x)), t]))


SHARPNESSES = [1e-4, 0.3, 1.0, 2.5, 1e4]
DTYPES = [ml_dtypes.bfloat16, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("sharpness", SHARPNESSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_the_loss_is_least_there(task, dtype, sharpness):
    """With weights and without by turns."""
    x, t = data(task, dtype, sharpness=sharpness if dtype != np.float16 else min(sharpness, 1e3))
    weighted = (SHARPNESSES.index(sharpness) + DTYPES.index(dtype) + (task == "binary")) % 2
    weight = np.random.default_rng(2).random(len(x)) if weighted else None
    found = fit_temperature(x, t, task=task, sample_weight=weight)
    near = 1 / found.temperature
    wanted = optimize.brentq(
        lambda beta: slope(task, x, t, weight, beta), near / 2, near * 2, xtol=1e-300, rtol=1e-14
    )
    assert near == pytest.approx(wanted, rel=1e-12)
    assert found.temperature == pytest.approx(sharpness, rel=0.4) or dtype == np.float16
    assert found.passes < 25
    assert found.after.loss <= found.before.loss * (1 + 1e-6)
    assert not found.reason


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_before_and_after_are_evaluations(task):
    x, t = data(task)
    found = fit_temperature(x, t, task=task, bins=7)
    assert found.before == lossgrad.evaluate(x, t, task=task, bins=7)
    after = lossgrad.evaluate(x * (1 / found.temperature), t, task=task, bins=7)
    assert found.after.loss == pytest.approx(after.loss, rel=1e-14)
    assert found.after.ece == pytest.approx(after.ece, rel=1e-9)
    assert found.after.ece < found.before.ece / 2
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["temperature"] == found.temperature
    assert plain["loss_before"] == found.before.loss
    assert plain["ece_after"] == found.after.ece
    assert plain["reason"] is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_the_same_bits_for_any_cut_and_threads(task, dtype, tmp_path):
    x, t = data(task, dtype, rows=150, classes=9)
    weight = np.random.default_rng(3).random(len(x))
    plain = fit_temperature(x, t, task=task)
    expected = fit_temperature(x, t, task=task, sample_weight=weight)
    assert expected.temperature != plain.temperature
    random = np.random.default_rng(4)
    for threads in (1, 3):
        cuts = np.sort(random.integers(0, len(x), 6))
        order = [part for part in np.split(random.permutation(len(x)), cuts) if part.size]
        pieces = [(x[part], t[part], weight[part]) for part in order]
        found = fit_temperature(pieces, task=task, num_threads=threads)
        assert found == expected
        found = fit_temperature(x, t, task=task, num_threads=threads, block_bytes=999)
        assert found == plain
    for k, part in enumerate(np.array_split(np.arange(len(x)), 3)):
        np.save(tmp_path / f"x{k}.npy", x[part])
        np.save(tmp_path / f"t{k}.npy", t[part])
    done = []
    found = fit_temperature(
        str(tmp_path / "x*.npy"),
        str(tmp_path / "t*.npy"),
        task=task,
        progress=lambda rows, of: done.append((rows, of)),
    )
    assert found == plain
    assert done.count((len(x), len(x))) == found.passes
    other = fit_temperature(np.moveaxis(x, 1, 0), t.T, task=task, axis=0)
    assert other.temperature == plain.temperature


def outcomes(task):
    """(logits, targets, temperature, loss after, what is said) of data without a best one."""
    x, t = data(task, rows=60)
    if task == "multiclass":
        right, wrong, share = x.argmax(axis=1), x.argmin(axis=1), np.log(x.shape[1])
        nobody = np.full(len(x), -100)
    else:
        right, wrong, share = (x > 0).astype(float), (x < 0).astype(float), np.log(2)
        nobody = t
    empty = np.zeros((0, x.shape[1])), right[:0]
    tie = np.array([[2.0, 2.0, 0.0]]), np.array([0])
    found = {
        "separable": (x, right, 0.0, 0.0, "falls for as long as T does"),
        "worse than chance": (x, wrong, math.inf, share, "falls as T grows"),
        "equal": (0 * x, right, math.nan, share, "no row has"),
        "empty": (*empty, math.nan, math.nan, "no row has"),
    }
    if task == "multiclass":
        found["ties"] = (*tie, 0.0, np.log(2), "falls for as long as T does")
        found["ignored"] = (x, nobody, math.nan, math.nan, "no row has")
    return found


@pytest.mark.parametrize(
    "case", ["separable", "worse than chance", "equal", "empty", "ties", "ignored"]
)
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_no_temperature_is_best(task, case):
    if case not in outcomes(task):
        pytest.skip("of the multiclass task")
    x, t, temperature, loss, reason = outcomes(task)[case]
    found = fit_temperature(x, t, task=task)
    assert found.passes == 2
    np.testing.assert_equal(found.temperature, temperature)
    assert found.after.loss == pytest.approx(loss, nan_ok=True)
    assert reason in found.reason
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_balanced_targets_say_nothing(task):
    """The slope at 0 is 0, but for rounding."""
    x = np.random.default_rng(5).standard_normal((50, 3))
    if task == "multiclass":
        x, t = np.repeat(x, 3, axis=0), np.tile(np.arange(3), 50)
    else:
        x, t = np.repeat(x, 2, axis=0), np.tile([[0.0], [1.0]], (50, 3))
    assert fit_temperature(x, t, task=task).temperature == math.inf


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_rows_whose_loss_no_temperature_changes(task):
    x, t = data(task)
    expected = fit_temperature(x, t, task=task)
    inf = np.inf
    more = np.array([[np.nan] * 6, [inf, 0, 0, 0, 0, 0], [0, -inf, 1, 1, 1, 1], [inf] * 6])
    labels = np.zeros(4, int)
    if task == "multiclass":
        labels[2] = 1
    else:
        more = np.where(np.isfinite(more), np.inf, more)
        labels = np.ones((4, 6))
    found = fit_temperature(np.concatenate([x, more]), np.concatenate([t, labels]), task=task)
    assert found.temperature == expected.temperature
    assert found.before.undefined == found.after.undefined > 0
    assert found.before.infinite == found.after.infinite > 0


def test_masked_classes_take_no_part():
    x, t = data()
    masked = np.concatenate([x, np.full((len(x), 2), -np.inf)], axis=1)
    found, expected = fit_temperature(masked, t), fit_temperature(x, t)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-13)
    assert found.after.loss == pytest.approx(expected.after.loss, rel=1e-13)


@pytest.mark.parametrize(
    ("task", "beta", "expected"),
    [
        ("multiclass", 2.0, [[2, 4, -np.inf, 4], [np.nan, 2, 2, 0], [np.inf, 2, -2, 0]]),
        ("multiclass", 0.0, [[0, 0, -np.inf, 0], [np.nan, 0, 0, 0], [np.inf, 0, 0, 0]]),
        ("binary", np.inf, [[np.inf] * 2 + [-np.inf, np.inf], [np.nan, np.inf, np.inf, 0],
                            [np.inf, np.inf, -np.inf, 0]]),
        ("multiclass", np.inf, [[-np.inf, 0, -np.inf, 0], [np.nan] + 3 * [-np.inf],
                                [0] + 3 * [-np.inf]]),
    ],
)  # fmt: skip
def test_scaled_logits(task, beta, expected):
    x = np.array([[1, 2, -np.inf, 2], [np.nan, 1, 1, 0], [np.inf, 1, -1, 0.0]])
    np.testing.assert_array_equal(scaled(x, beta, task), expected)


def test_what_can_be_read_once_only_and_what_is_wrong():
    x, t = data()
    with pytest.raises(TypeError, match="logits can be read once only"):
        fit_temperature(pair for pair in [(x, t)])
    with pytest.raises(lossgrad.LabelError, match="row 3: label 9 is outside"):
        fit_temperature(x, np.where(np.arange(len(t)) == 3, 9, t))
    x[7] = np.nan
    with pytest.raises(lossgrad.InputError, match="row 7"):
        fit_temperature(x, t, strict=True)
