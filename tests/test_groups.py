"""Rows that belong together: figures for each group, and errors of the mean over clusters."""

import dataclasses

import numpy as np
import pytest

import lossgrad
from lossgrad.evaluation import Evaluation, Grouped, InputError
from lossgrad.evaluation.states import restore

ROWS, CLASSES = 600, 7
KEYS = {
    "numbers": np.arange(-3, 9),
    "bytes": np.arange(12, dtype=np.uint8),
    "texts": np.array([f"part {k}" for k in range(12)]),
    "ascii": np.array([f"part {k}" for k in range(12)], "S"),
    "objects": np.array([f"part {k}" for k in range(12)], object),
}


@pytest.fixture
def data(rng):
    logits = rng.normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES, ROWS)
    labels[rng.random(ROWS) < 0.05] = -100
    return logits, labels, rng.integers(0, 12, ROWS), rng.random(ROWS)


def key_of(keys, k):
    return keys[k].item().decode() if keys.dtype.kind == "S" else keys.tolist()[k]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("ordered", [False, True])
def test_each_group_is_evaluated_as_if_alone(data, kind, ordered):
    logits, labels, which, weight = data
    keys, which = KEYS[kind], np.sort(which) if ordered else which
    whole = lossgrad.evaluate(logits, labels, sample_weight=weight, groups=keys[which], worst=3)
    alone = lossgrad.evaluate(logits, labels, sample_weight=weight, worst=3)
    assert dataclasses.replace(whole, groups={}) == alone
    assert list(whole.groups) == sorted(key_of(keys, k) for k in set(which.tolist()))
    for k in set(which.tolist()):
        rows = which == k
        own = Evaluation(worst=3)
        own.update(logits[rows], labels[rows], weight[rows])
        own.renumber(np.flatnonzero(rows).tolist().__getitem__)
        assert whole.groups[key_of(keys, k)] == own.result()


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_states_of_groups_merge_in_any_order_and_are_restored(data, rng, task):
    logits, labels, which, _ = data
    if task == "binary":
        labels = (logits + rng.normal(0, 2, logits.shape) > 0).astype(np.int8)
    like = Evaluation(task, figures=["clusters"])
    whole = Grouped(like)
    whole.update(logits, labels, groups=which % 5, clusters=which)
    for _ in range(6):
        cuts = np.sort(rng.choice(ROWS, 3, replace=False))
        parts = []
        for rows in np.split(np.arange(ROWS), cuts):
            part = Grouped(like)
            part.update(logits[rows], labels[rows], groups=which[rows] % 5, clusters=which[rows])
            parts.append(restore(part.to_bytes()))
        total = Grouped(like)
        for k in rng.permutation(len(parts)):
            total.merge(parts[k])
        assert total == whole
        assert total.result().to_dict() == whole.result().to_dict()


def test_threads_and_blocks_of_groups(data):
    logits, labels, which, _ = data
    results = [
        lossgrad.evaluate(
            logits, labels, groups=which, clusters=which // 2, num_threads=threads, block_bytes=size
        ).to_dict()
        for threads, size in ((1, None), (2, 1 << 10), (3, 1 << 12))
    ]
    assert results[0] == results[1] == results[2]


def test_batches_of_several_axes_have_groups_of_their_shape(data):
    logits, labels, which, _ = data
    flat = lossgrad.evaluate(logits, labels, groups=which, worst=4)
    shape = (20, 30)
    shaped = lossgrad.evaluate(
        logits.reshape(*shape, CLASSES).transpose(0, 2, 1),
        labels.reshape(shape),
        groups=which.reshape(shape),
        axis=1,
        worst=4,
    )
    assert shaped.to_dict() == flat.to_dict()


def test_the_first_problem_is_that_of_the_first_row(data):
    logits, labels, which, _ = data
    labels[[17, 400]], which[17], which[400] = CLASSES, 11, 0
    with pytest.raises(IndexError, match=r"targets: row 17: label 7 is outside \[0, 7\)"):
        lossgrad.evaluate(logits, labels, groups=which)


@pytest.mark.parametrize("role", ["groups", "clusters"])
def test_keys_that_are_none(data, role):
    logits, labels, which, _ = data

    def evaluate(keys):
        return lossgrad.evaluate(logits, labels, **{role: keys})

    with pytest.raises(TypeError, match=f"{role}: dtype float64 where whole numbers or texts"):
        evaluate(which * 1.0)
    mixed = which.astype(object)
    mixed[:3] = "a"
    with pytest.raises(InputError, match=f"{role}: row 3: {mixed[3]} where whole numbers or texts"):
        evaluate(mixed)
    with pytest.raises(InputError, match=rf"{role}: shape \(5,\): \(600,\) is needed"):
        evaluate(which[:5])
    state = Grouped(Evaluation()) if role == "groups" else Evaluation(figures=[role])
    state.update(logits, labels, **{role: which})
    with pytest.raises(InputError, match=f"{role}: 'x' after"):
        state.update(logits[:1], labels[:1], **{role: ["x"]})


def test_columns_that_nobody_takes_or_that_are_missing(data):
    logits, labels, which, _ = data
    with pytest.raises(InputError, match="clusters: no figure that was asked for takes them"):
        Evaluation().update(logits, labels, clusters=which)
    with pytest.raises(InputError, match="clusters needs clusters, too"):
        Evaluation(figures=["clusters"]).update(logits, labels)
    with pytest.raises(InputError, match="each row needs its group"):
        lossgrad.evaluate(logits, labels, state=Grouped(Evaluation()))
    with pytest.raises(
        ValueError, match=r"no figure 'cluster'; there are bits_per_byte, .*clusters"
    ):
        Evaluation(figures=["cluster"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes_weighted", [False, True])
def test_clustered_errors_are_those_of_their_formula(data, weighted, classes_weighted):
    logits, labels, which, weight = data
    class_weight = np.arange(1.0, CLASSES + 1) if classes_weighted else None
    found = lossgrad.evaluate(
        logits,
        labels,
        clusters=which,
        weight=class_weight,
        sample_weight=weight if weighted else None,
    )
    kept = labels >= 0
    w = np.ones(CLASSES) if class_weight is None else class_weight
    s = weight if weighted else np.ones(ROWS)
    loss = lossgrad.cross_entropy(logits[kept].astype(float), labels[kept], reduction="none")
    loss, divisor, key = s[kept] * w[labels[kept]] * loss, s[kept] * w[labels[kept]], which[kept]
    correct = s[kept] * (logits[kept].argmax(1) == labels[kept])

    def error(values, weights):
        residuals = np.bincount(key, values - values.sum() / weights.sum() * weights)
        return np.sqrt(12 / 11 * (residuals**2).sum()) / weights.sum()

    got = found.figures["clusters"]
    assert got.clusters == 12
    assert got.loss_error == pytest.approx(error(loss, divisor), rel=1e-5)
    assert got.accuracy_error == pytest.approx(error(correct, s[kept]), rel=1e-12)


def test_clusters_of_one_row_each_give_the_usual_error(data):
    logits, labels, _, _ = data
    found = lossgrad.evaluate(logits, labels, clusters=np.arange(ROWS))
    assert found.figures["clusters"].loss_error == pytest.approx(found.loss_error, rel=1e-13)


def test_repeating_rows_within_clusters_changes_nothing_of_their_error(data):
    """What the error is for: rows that say the same thing twice are no more evidence."""
    logits, labels, _, _ = data
    once = lossgrad.evaluate(logits, labels, clusters=np.arange(ROWS))
    twice = lossgrad.evaluate(
        np.repeat(logits, 2, 0), np.repeat(labels, 2), clusters=np.repeat(np.arange(ROWS), 2)
    )
    assert twice.figures["clusters"].loss_error == pytest.approx(once.loss_error, rel=1e-13)
    assert twice.loss_error < 0.75 * once.loss_error


def test_few_clusters_have_no_error(data):
    logits, labels, _, _ = data
    found = lossgrad.evaluate(logits, labels, clusters=np.zeros(ROWS, int)).figures["clusters"]
    assert found.clusters == 1
    assert np.isnan(found.loss_error)


def test_bits_per_byte(data, rng):
    logits, labels, _, weight = data
    lengths = rng.integers(1, 9, ROWS)
    found = lossgrad.evaluate(logits, labels, bytes=lengths, sample_weight=weight)
    kept = labels >= 0
    got = found.figures["bits_per_byte"]
    assert got.bytes == pytest.approx((weight * lengths)[kept].sum(), rel=1e-14)
    assert got.bits_per_byte == pytest.approx(found.total / got.bytes / np.log(2), rel=1e-14)
    lengths = lengths.astype(float)
    lengths[np.flatnonzero(kept)[5]] = np.nan
    with pytest.raises(InputError, match=rf"bytes: row {np.flatnonzero(kept)[5]}: nan is not"):
        lossgrad.evaluate(logits, labels, bytes=lengths)
    with pytest.raises(ValueError, match="bits_per_byte is for the multiclass task"):
        Evaluation("binary", figures=["bits_per_byte"])


def test_a_mask_is_a_sample_weight(data):
    logits, labels, _, weight = data
    mask = weight > 0.5
    masked = lossgrad.evaluate(logits, labels, sample_weight=mask)
    chosen = lossgrad.evaluate(logits[mask], labels[mask])
    assert masked.loss == chosen.loss
    assert masked.accuracy == chosen.accuracy


def test_weights_beyond_what_figures_take(data):
    logits, labels, which, weight = data
    weight[7] = 1e200
    assert lossgrad.evaluate(logits, labels, sample_weight=weight).weight == pytest.approx(1e200)
    with pytest.raises(InputError, match=r"sample_weight: row 7: weight 1e\+200: clusters take"):
        lossgrad.evaluate(logits, labels, sample_weight=weight, clusters=which)


@pytest.mark.parametrize("place", [30, 60, -30])
def test_damaged_states_of_groups(data, place):
    logits, labels, which, _ = data
    state = Grouped(Evaluation(figures=["clusters"]))
    state.update(logits, labels, groups=which, clusters=which)
    bytes_ = bytearray(state.to_bytes())
    bytes_[place] ^= 1
    with pytest.raises(ValueError, match="a damaged grouped evaluation"):
        restore(bytes(bytes_))
    with pytest.raises(ValueError, match="not a saved evaluation"):
        restore(b"lossgrad-other\n")
