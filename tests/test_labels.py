"""Labels as people store them: names, whole floats, one column, one-hot rows; at every entrance."""

import numpy as np
import pytest

from lossgrad import DtypeError, Evaluation, InputError, LabelError, evaluate
from lossgrad.evaluation import Grouped, Reading

NAMES = ["cat", "dog", "räv", "emu"]
X = np.random.default_rng(0).standard_normal((40, 4))
Y = np.random.default_rng(1).integers(0, 4, 40)
TEXTS = np.array(NAMES)[Y]
HOT = np.eye(4, dtype=np.int64)[Y]

FORMS = {
    "whole floats": (Y.astype(np.float32), None),
    "float16": (Y.astype(np.float16), None),
    "a column": (Y[:, np.newaxis], None),
    "a column of floats": (Y[:, np.newaxis].astype(float), None),
    "one-hot integers": (HOT, None),
    "one-hot floats": (HOT.astype(np.float32), None),
    "one-hot bools": (HOT.astype(bool), None),
    "str": (TEXTS, NAMES),
    "bytes": (np.char.encode(TEXTS, "utf-8"), NAMES),
    "objects": (TEXTS.astype(object), NAMES),
    "variable width": (TEXTS.astype(np.dtypes.StringDType()), NAMES),
    "a list": (TEXTS.tolist(), NAMES),
    "objects that are numbers": (Y.astype(object), None),
    "a column of names": (TEXTS[:, np.newaxis], NAMES),
}
forms = pytest.mark.parametrize("form", FORMS)


def entrances(x, targets, names, **options):
    """The result at every entrance of an evaluation of arrays."""
    yield evaluate(x, targets, class_names=names, **options)
    yield evaluate([(x, targets)], class_names=names, **options)
    state = Evaluation(**options)
    state.update(x, targets, reading=Reading(class_names=names))
    yield state.result()
    grouped = Grouped(Evaluation(**options))
    grouped.update(x, targets, groups=np.zeros(len(x), int), reading=Reading(class_names=names))
    yield grouped.result().groups[0]


@forms
def test_all_forms_are_the_labels(form):
    want = evaluate(X, Y, worst=3)
    for found in entrances(X, *FORMS[form], worst=3):
        assert found == want
    assert evaluate(X, FORMS[form][0], class_names=FORMS[form][1], worst=3, block_bytes=70) == want


@forms
def test_all_forms_on_dask(form):
    array = pytest.importorskip("dask.array")
    targets, names = FORMS[form]
    lazy = array.from_array(X, chunks=(9, 3))
    assert evaluate(lazy, np.asarray(targets), class_names=names) == evaluate(X, Y)


@pytest.mark.parametrize("axis", [0, 1])
def test_axes(axis):
    x = np.random.default_rng(2).standard_normal((5, 7, 3))
    classes = x.shape[axis]
    y = np.random.default_rng(3).integers(0, classes, np.delete(x.shape, axis))
    want = evaluate(x, y, axis=axis)
    hot = np.moveaxis(np.eye(classes)[y], -1, axis)
    for targets in (np.expand_dims(y, axis), np.expand_dims(y.astype(float), axis), hot):
        for block_bytes in (1, 100, 1 << 20):
            assert evaluate(x, targets, axis=axis, block_bytes=block_bytes) == want


@pytest.mark.parametrize("block_bytes", [1, 200, 1 << 20])
@pytest.mark.parametrize(
    ("bad", "names", "message"),
    [
        (Y + np.where(np.arange(40) == 33, 0.5, 0), None, "label {} is not a whole number"),
        (np.where(np.arange(40) == 33, np.nan, Y), None, "label nan is not a whole number"),
        (np.where(np.arange(40) == 33, 1e300, Y), None, "label 1e+300 is not a whole number"),
        (np.where(np.arange(40) == 33, 7.0, Y), None, "label 7 is outside"),
        (np.where(np.arange(40) == 33, "owl", TEXTS), NAMES, "label 'owl' is none of the class"),
        (np.where(np.arange(40) == 33, b"\xff", b"cat"), NAMES, "label '\ufffd' is none of the"),
        (np.where(np.arange(40) == 33, None, TEXTS), NAMES, "label None is none of the class"),
        (HOT * np.where(np.arange(40) == 33, 2, 1)[:, np.newaxis], None, "is not one-hot"),
        (HOT * np.where(np.arange(40) == 33, 0, 1)[:, np.newaxis], None, "[0, 0, 0, 0] is not"),
        (HOT | np.where(np.arange(40) == 33, 1, 0)[:, np.newaxis], None, "[1, 1, 1, 1] is not"),
    ],
)
def test_bad_labels_name_row_and_value(bad, names, message, block_bytes):
    with pytest.raises(LabelError) as caught:
        evaluate(X, bad, class_names=names, block_bytes=block_bytes, num_threads=2)
    assert caught.value.row == (33,)
    assert message.format(bad[33]) in str(caught.value)


def test_class_names_must_be_those_of_the_classes():
    with pytest.raises(DtypeError, match=r"dtype <U3, such as '...': .* class_names"):
        evaluate(X, TEXTS)
    with pytest.raises(InputError, match="4 classes for 3 class names"):
        evaluate(X, TEXTS, class_names=NAMES[:3])
    with pytest.raises(InputError, match="two classes have the name 'cat'"):
        evaluate(X, TEXTS, class_names=["cat", "dog", "emu", "cat"])


def test_one_column_of_the_binary_task():
    x, t = X[:, 0], (Y > 1).astype(float)
    want = evaluate(x, t, task="binary")
    for logits, targets in ((x[:, np.newaxis], t), (x, t[:, np.newaxis])):
        assert evaluate(logits, targets, task="binary") == want


def test_ignored_labels_of_all_kinds():
    kept = Y != 2
    want = evaluate(X[kept], Y[kept]).loss
    for targets in (np.where(kept, Y, -100), np.where(kept, Y, -100.0)):
        assert evaluate(X, targets).loss == want
    assert evaluate(X, TEXTS, class_names=NAMES, ignore_index=2).loss == want


@pytest.mark.peers
def test_tables_bring_the_names_of_their_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=NAMES)
    for dtype in ("str", "category", "object"):
        labels = pandas.Series(TEXTS, dtype=dtype)
        for found in entrances(frame, labels, None):
            assert found == evaluate(X, Y)
