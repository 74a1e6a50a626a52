"""Figures of real predictions beside those of scikit-learn, torchmetrics and netcal."""

import numpy as np
import pytest
from test_real import languages  # noqa: F401 (a fixture)

import lossgrad
from lossgrad import sample

FIGURES = ("calibration", "clusters", "quantiles", "ranking", "selection")


def softmax(x):
    x = x.astype(np.float64)
    return np.exp(x - np.logaddexp.reduce(x, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def digits():
    found = sample.digits()
    return found.logits, found.targets


@pytest.fixture(scope="module")
def texts(languages):  # noqa: F811
    directory, _ = languages
    shards = sorted(directory.glob("*.logits.npy"))
    labels = [np.load(str(path).replace("logits", "labels")) for path in shards]
    return np.concatenate([np.load(path) for path in shards]), np.concatenate(labels)


@pytest.fixture(scope="module")
def tumours():
    datasets = pytest.importorskip("sklearn.datasets")
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = x / x.max(axis=0)
    model = linear.LogisticRegression(C=10, max_iter=5000).fit(x[::2], y[::2])
    return model.decision_function(x[1::2]), y[1::2]


@pytest.fixture(params=["digits", "texts"])
def classes(request):
    return request.getfixturevalue(request.param)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:No positive samples")
def test_classes_beside_torchmetrics(classes):
    torch = pytest.importorskip("torch")
    of = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = classes
    n = logits.shape[1]
    found = lossgrad.evaluate(logits, labels, figures=["ranking"])
    x, y = torch.from_numpy(softmax(logits)), torch.from_numpy(labels.astype(np.int64))
    for norm, ours in (("l1", found.ece), ("max", found.mce)):
        theirs = of.multiclass_calibration_error(x, y, n, n_bins=15, norm=norm)
        assert ours == pytest.approx(theirs.item(), abs=2e-6)
    assert found.accuracy == pytest.approx(of.multiclass_accuracy(x, y, n, average="micro").item())
    assert found.matthews_corrcoef == pytest.approx(
        of.multiclass_matthews_corrcoef(x, y, n).item(), abs=1e-6
    )
    assert found.cohen_kappa == pytest.approx(of.multiclass_cohen_kappa(x, y, n).item(), abs=1e-6)
    theirs = of.multiclass_auroc(x, y, n, average="none").numpy()
    ours, some = found.figures["ranking"].per_class.auroc, np.bincount(labels, minlength=n) > 0
    assert np.all(ours.lower[some] - 1e-6 <= theirs[some])
    assert np.all(theirs[some] <= ours.upper[some] + 1e-6)


@pytest.mark.peers
def test_calibration_beside_netcal(classes):
    metrics = pytest.importorskip("netcal.metrics")
    logits, labels = classes
    p = softmax(logits)
    found = lossgrad.evaluate(logits, labels, bins=10)
    assert found.ece == pytest.approx(metrics.ECE(10).measure(p, labels), abs=1e-5)
    assert found.mce == pytest.approx(metrics.MCE(10).measure(p, labels), abs=1e-5)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")  # netcal's own
def test_a_temperature_beside_netcal(digits):
    scaling = pytest.importorskip("netcal.scaling")
    logits, labels = digits
    found = lossgrad.fit_temperature(logits, labels)
    theirs = scaling.TemperatureScaling().fit(softmax(logits), labels)
    assert 1 / found.temperature == pytest.approx(float(theirs.temperature[0]), rel=1e-3)


@pytest.mark.parametrize("exact", [False, True])
def test_tumours_beside_scikit_learn(tumours, exact):
    metrics = pytest.importorskip("sklearn.metrics")
    logits, targets = tumours
    logits = logits.astype(np.float16) if exact else logits
    found = lossgrad.evaluate(logits, targets, task="binary", figures=["ranking"])
    ranks = found.figures["ranking"].macro
    wide = logits.astype(np.float64)
    assert found.matthews_corrcoef == pytest.approx(metrics.matthews_corrcoef(targets, wide > 0))
    assert found.brier == pytest.approx(metrics.brier_score_loss(targets, 1 / (1 + np.exp(-wide))))
    wanted = {
        "auroc": metrics.roc_auc_score(targets, wide),
        "average_precision": metrics.average_precision_score(targets, wide),
    }
    for name, want in wanted.items():
        got = getattr(ranks, name)
        assert got.lower - 1e-12 <= want <= got.upper + 1e-12
        assert got.upper - got.lower <= (1e-12 if exact else 1e-3)


@pytest.mark.exhaustive
@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_a_thousand_shardings(task, digits, tumours):
    """Every cut of the rows, merged in any order, gives the same bytes."""
    rng = np.random.default_rng(0)
    logits, targets = digits if task == "multiclass" else tumours
    if task == "binary":
        logits, targets = logits[:, np.newaxis], targets[:, np.newaxis]
    weight, clusters = rng.random(len(logits)), rng.integers(0, 30, len(logits))
    coarse = np.round(logits * 16) / 16

    def states(rows):
        own = lossgrad.Evaluation(task, figures=FIGURES)
        own.update(logits[rows], targets[rows], weight[rows], clusters=clusters[rows])
        if task == "binary":
            return [own]
        both = lossgrad.Comparison(figures=["clusters"])
        pair = logits[rows], coarse[rows]
        both.update(*pair, targets[rows], weight[rows], clusters=clusters[rows])
        return [own, both]

    wanted = [state.to_bytes() for state in states(np.arange(len(logits)))]
    for _ in range(1000):
        cuts = np.sort(rng.choice(np.arange(1, len(logits)), rng.integers(1, 9), replace=False))
        parts = [states(rows) for rows in np.split(np.arange(len(logits)), cuts)]
        order = rng.permutation(len(parts))
        total = parts[order[0]]
        for k in order[1:]:
            for mine, other in zip(total, parts[k], strict=True):
                mine.merge(other)
        assert [state.to_bytes() for state in total] == wanted
