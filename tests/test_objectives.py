"""Objectives beside the boosters' own: the same fit of real data, in every layout they have."""

import doctest
from pathlib import Path

import numpy as np
import pytest

import lossgrad
from lossgrad import objectives, sample

ROUNDS = 20


@pytest.fixture
def breast_cancer():
    datasets = pytest.importorskip("sklearn.datasets")
    return datasets.load_breast_cancer(return_X_y=True)


@pytest.fixture
def digits():
    images, labels = sample.load_digits()
    return images.astype(np.float64), labels.astype(np.int64)


class Data:
    """What boosters hand over beside predictions."""

    def __init__(self, labels, weights=None):
        self.labels, self.weights = labels, weights

    def get_label(self):
        return self.labels

    def get_weight(self):
        return self.weights


@pytest.mark.parametrize("make", [objectives.xgboost, objectives.lightgbm])
def test_layouts_of_classes(make, rng):
    """Matrices, and flat predictions as each booster has them, with weights and without."""
    x, y = rng.normal(size=(7, 3)).astype(np.float32), rng.integers(0, 3, 7)
    name, order = ("multi:softprob", "C") if make is objectives.xgboost else ("multiclass", "F")
    objective = make(name, hessian_scale=1.0)
    for weights in (None, rng.uniform(0.5, 2, 7)):
        want = lossgrad.cross_entropy_grad_and_hess(x, y, reduction="sum", sample_weight=weights)
        data = Data(y.astype(np.float32), weights)
        for found in (objective(x, data), objective(y, x, weights)):
            np.testing.assert_array_equal(found, want)
        flat = objective(x.reshape(-1, order=order), data)
        np.testing.assert_array_equal(flat, [a.reshape(-1, order=order) for a in want])
    with pytest.raises(ValueError, match="20 predictions are not some classes of 7 rows"):
        objective(np.zeros(20), Data(y))


@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        ("binary:logistic", lossgrad.binary_cross_entropy_with_logits_grad_and_hess, {}),
        ("binary:focal", lossgrad.sigmoid_focal_loss_grad_and_hess, {"gamma": 1.5}),
        ("count:poisson", lossgrad.poisson_nll_loss_grad_and_hess, {}),
        ("reg:huber", lossgrad.huber_loss_grad_and_hess, {"delta": 0.5}),
        ("reg:quantileerror", lossgrad.pinball_loss_grad_and_hess, {"quantile": 0.9}),
    ],
)
def test_objectives_of_numbers(name, loss, options, rng):
    x, y = rng.normal(size=50) * 5, rng.integers(0, 2, 50)
    gradient, hessian = objectives.xgboost(name, **options)(y, x)
    more = {"alpha": -1} if name == "binary:focal" else {}
    want = loss(x, y, reduction="sum", **options, **more)
    np.testing.assert_array_equal(gradient, want[0])
    np.testing.assert_array_equal(hessian, np.maximum(want[1], 1e-16))
    column = objectives.xgboost(name, **options)(y, x[:, None])
    assert [a.shape for a in column] == [(50, 1)] * 2
    empty = objectives.xgboost(name, **options)(x, Data(y, np.empty(0)))
    np.testing.assert_array_equal(empty, [gradient, hessian])


def test_names():
    with pytest.raises(ValueError, match=r"called 'softmax': there are binary:logistic"):
        objectives.xgboost("softmax")
    with pytest.raises(ValueError, match=r"called 'multi:softprob': there are binary"):
        objectives.lightgbm("multi:softprob")
    for name in objectives.LOSSES:
        assert callable(objectives.xgboost(name))
    for name in objectives.LIGHTGBM:
        assert callable(objectives.lightgbm(name))


def test_examples_are_true():
    found = doctest.testmod(objectives)
    assert found.attempted > 5
    assert found.failed == 0


# ---- beside the boosters' own --------------------------------------------------------------------


def xgboost_margins(data, objective, weights=None, **parameters):
    """What is predicted for the training data after some rounds."""
    xgboost = pytest.importorskip("xgboost")
    train = xgboost.DMatrix(data[0], data[1], weight=weights)
    parameters |= {"max_depth": 3, "eta": 0.3, "nthread": 1}
    own = {"objective": objective} if isinstance(objective, str) else {}
    obj = None if own else objective
    # margins that begin at 0, which the built-in logistic function has as a probability
    start = 0.5 if objective == "binary:logistic" else 0.0
    parameters |= {"base_score": start, "disable_default_eval_metric": True, **own}
    booster = xgboost.train(parameters, train, ROUNDS, obj=obj)
    return booster.predict(train, output_margin=True)


@pytest.mark.peers
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_xgboost_on_breast_cancer(breast_cancer, weighted, rng):
    weights = rng.uniform(0.5, 2, len(breast_cancer[1])) if weighted else None
    losses = []
    for objective in ("binary:logistic", objectives.xgboost("binary:logistic")):
        margins = xgboost_margins(breast_cancer, objective, weights)
        losses.append(lossgrad.binary_cross_entropy_with_logits(margins, breast_cancer[1]))
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[0] < 0.1


@pytest.mark.peers
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_xgboost_on_digits(digits, weighted, rng):
    weights = rng.uniform(0.5, 2, len(digits[1])) if weighted else None
    losses = []
    for objective in ("multi:softprob", objectives.xgboost("multi:softprob")):
        margins = xgboost_margins(digits, objective, weights, num_class=10)
        losses.append(lossgrad.cross_entropy(margins.reshape(-1, 10), digits[1]))
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[0] < 0.2


@pytest.mark.peers
def test_xgboost_by_scikit_learn(digits, breast_cancer):
    xgboost = pytest.importorskip("xgboost")
    for data, name in ((breast_cancer, "binary:focal"), (digits, "multi:softprob")):
        model = xgboost.XGBClassifier(
            objective=objectives.xgboost(name), n_estimators=ROUNDS, max_depth=3, base_score=0.5
        )
        X, y = data
        weights = np.ones(len(y))
        margins = model.fit(X, y, sample_weight=weights).predict(X, output_margin=True)
        choice = margins.argmax(axis=1) if margins.ndim == 2 else margins > 0
        assert (choice == y).mean() > 0.9, name


def lightgbm_scores(data, objective, weights=None, **parameters):
    lightgbm = pytest.importorskip("lightgbm")
    train = lightgbm.Dataset(data[0], data[1], weight=weights)
    parameters |= {"objective": objective, "num_leaves": 7, "verbose": -1, "num_threads": 1}
    parameters |= {"boost_from_average": False, "deterministic": True}
    booster = lightgbm.train(parameters, train, ROUNDS)
    return booster.predict(data[0], raw_score=True)


@pytest.mark.peers
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_lightgbm_on_breast_cancer(breast_cancer, weighted, rng):
    weights = rng.uniform(0.5, 2, len(breast_cancer[1])) if weighted else None
    losses = [
        lossgrad.binary_cross_entropy_with_logits(
            lightgbm_scores(breast_cancer, objective, weights), breast_cancer[1]
        )
        for objective in ("binary", objectives.lightgbm("binary"))
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[0] < 0.3


@pytest.mark.peers
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_lightgbm_on_digits(digits, weighted, rng):
    weights = rng.uniform(0.5, 2, len(digits[1])) if weighted else None
    losses = [
        lossgrad.cross_entropy(lightgbm_scores(digits, objective, weights, num_class=10), digits[1])
        for objective in ("multiclass", objectives.lightgbm("multiclass"))
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[0] < 0.2


@pytest.mark.peers
def test_lightgbm_of_numbers(rng):
    X = rng.normal(size=(500, 4))
    y = X[:, 0] ** 2 + rng.normal(size=500)
    own, ours = (
        lightgbm_scores((X, y), objective)
        for objective in ("regression", objectives.lightgbm("regression"))
    )
    assert np.mean((own - y) ** 2) < 0.7 * y.var()
    np.testing.assert_allclose(ours, own, atol=1e-5)


# ---- the page ------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[1] / "docs" / "second-order.md"
NEEDS = "<!-- needs xgboost, lightgbm -->"


def run(text):
    test = doctest.DocTestParser().get_doctest(text, {}, "second-order", None, None)
    report = []
    failed, tried = doctest.DocTestRunner().run(test, out=report.append)
    assert tried > 0
    assert not failed, "".join(report)


def test_the_page_runs():
    pytest.importorskip("scipy")
    run(PAGE.read_text(encoding="utf-8").split(NEEDS)[0])


@pytest.mark.peers
def test_boosters_on_the_page():
    for library in ("xgboost", "lightgbm", "sklearn"):
        pytest.importorskip(library)
    run(PAGE.read_text(encoding="utf-8").split(NEEDS)[1])
