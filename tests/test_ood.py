"""Scores of rows inside and outside a distribution, against scikit-learn on float64 scores."""

import json

import ml_dtypes
import numpy as np
import pytest

import lossgrad
from lossgrad import out_of_distribution

metrics = pytest.importorskip("sklearn.metrics")
SCORES = {
    "energy": lossgrad.logsumexp,
    "logit": lambda x: x.max(axis=1),
    "probability": lambda x: lossgrad.softmax(x).max(axis=1),
    "entropy": lambda x: -lossgrad.entropy(lossgrad.softmax(x)),
}


def data(dtype=np.float32, classes=7):
    random = np.random.default_rng(1)
    inside = 2 * random.standard_normal((400, classes))
    inside[np.arange(400), random.integers(0, classes, 400)] += 5
    outside = 3 * random.standard_normal((300, classes))
    return inside.astype(dtype), outside.astype(dtype)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("score", SCORES)
def test_scores(score, dtype):
    inside, outside = data(dtype)
    found = out_of_distribution(inside, outside, score=score)
    x = np.concatenate([inside, outside]).astype(np.float64)
    values, positive = SCORES[score](x), np.arange(700) < 400
    fpr, tpr, _ = metrics.roc_curve(positive, values)
    expected = {
        "auroc": metrics.roc_auc_score(positive, values),
        "average_precision": metrics.average_precision_score(positive, values),
        "fpr95": fpr[tpr >= 0.95].min(),
    }
    for name, wanted in expected.items():
        figure = getattr(found.ranks, name)
        assert figure.lower <= figure.value <= figure.upper
        assert figure.lower - 1e-5 <= wanted <= figure.upper + 1e-5
        assert figure.upper - figure.lower < 0.01
    assert (found.score, found.inside, found.outside, found.undefined) == (score, 400, 300, 0)
    assert found.roc.y[-1] == found.roc.x[-1] == 1
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["auroc"]["lower"] == found.ranks.auroc.lower


@pytest.mark.parametrize("score", SCORES)
def test_the_same_for_any_cut(score, tmp_path):
    inside, outside = data()
    expected = out_of_distribution(inside, outside, score=score, num_threads=1).to_dict()
    how = {"score": score, "num_threads": 3, "block_bytes": 300}
    assert out_of_distribution(inside, outside, **how).to_dict() == expected
    order = np.random.default_rng(2).permutation(400)
    for k, part in enumerate(np.array_split(order, 3)):
        np.save(tmp_path / f"inside{k}.npy", inside[part])
    np.save(tmp_path / "outside.npy", outside)
    files = str(tmp_path / "inside*.npy"), tmp_path / "outside.npy"
    assert out_of_distribution(*files, **how).to_dict() == expected
    assert out_of_distribution(inside.T, outside.T, score=score, axis=0).to_dict() == expected


def test_rows_without_a_score():
    inside, outside = data()
    expected = out_of_distribution(inside, outside)
    more = np.concatenate([inside, np.full((3, 7), np.nan, np.float32)])
    found = out_of_distribution(more, outside)
    assert found.ranks == expected.ranks
    assert (found.inside, found.undefined) == (400, 3)
    with pytest.raises(lossgrad.InputError, match="row 400: the score is nan"):
        out_of_distribution(more, outside, strict=True)


def test_nothing():
    found = out_of_distribution(np.ones((0, 2)), np.ones((3, 2)))
    assert np.isnan(found.ranks.auroc).all()
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(ValueError, match="score is 'odin', not one of energy"):
        out_of_distribution(np.ones((1, 2)), np.ones((3, 2)), score="odin")
    with pytest.raises(lossgrad.DtypeError, match="logits"):
        out_of_distribution(np.full((1, 2), "a"), np.ones((3, 2)))
