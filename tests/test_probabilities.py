"""Probabilities and their logarithms in place of logits, and logits that seem to be some."""

import warnings

import numpy as np
import pytest

import lossgrad
from lossgrad import Evaluation, InputError, cli, evaluate
from lossgrad.evaluation import Reading

ROWS, CLASSES = 300, 7
X = np.random.default_rng(0).standard_normal((ROWS, CLASSES)) * 4
Y = np.random.default_rng(1).integers(0, CLASSES, ROWS)
T = np.random.default_rng(2).integers(0, 2, (ROWS, CLASSES))
HALVES = ["float16", "bfloat16"]
DTYPES = [*HALVES, "float32", "float64"]


def typed(array, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    return array.astype(dtype)


def entrances(given, targets, kind, **options):
    yield evaluate(given, targets, input=kind, **options)
    yield evaluate(given, targets, input=kind, block_bytes=500, num_threads=2, **options)
    yield evaluate([(given, targets)], input=kind, **options)
    state = Evaluation(**options)
    state.update(given, targets, reading=Reading(input=kind))
    yield state.result()


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_are_normalised(dtype):
    p = typed(lossgrad.softmax(X / 2), dtype)
    exact = p.astype(np.float64)
    want = np.log(exact.sum(-1)) - np.log(exact[np.arange(ROWS), Y])
    for result in entrances(p, Y, "probabilities"):
        assert result.loss == pytest.approx(want.mean(), rel=1e-14)
        assert result.correct == (exact.argmax(-1) == Y).sum()
        shares = exact / exact.sum(-1, keepdims=True)
        assert result.brier == pytest.approx(((shares - np.eye(CLASSES)[Y]) ** 2).sum() / ROWS)


def test_small_losses_keep_their_digits():
    p = np.array([[1.0, 1e-9, 3e-12]], np.float32)
    total = p[0, 1:].astype(np.float64).sum()
    assert evaluate(p, [0], input="probabilities").loss == pytest.approx(total, rel=1e-12)
    q = np.array([1e-30, 0.75, 1 - 2.0**-24], np.float32)
    losses = [
        evaluate(q[k : k + 1], [t], task="binary", input="probabilities").loss
        for k, t in ((0, 0), (1, 1), (2, 1))
    ]
    wanted = [float(q[0]), -np.log(0.75), -np.log1p(-(2.0**-24))]
    assert losses == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_of_probabilities_are_logits(dtype):
    x = typed(lossgrad.log_softmax(X), dtype)
    for result in entrances(x, Y, "log-probabilities"):
        assert result == evaluate(x, Y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["probabilities", "log-probabilities"])
def test_labels_with_a_probability_each(dtype, kind):
    given = typed(
        lossgrad.sigmoid(X / 4) if kind == "probabilities" else lossgrad.log_sigmoid(X / 4), dtype
    )
    exact = given.astype(np.float64)
    own = exact if kind == "probabilities" else np.exp(exact)
    rest = -np.expm1(exact) if kind != "probabilities" else 1 - exact
    want = -np.log(np.where(T == 1, own, rest)).mean()
    for result in entrances(given, T, kind, task="binary"):
        assert result.loss == pytest.approx(want, rel=1e-12)
    assert result.terms == ROWS * CLASSES


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_limits(task):
    p, y = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [np.nan, 1.0]]), np.array([0, 0, 1, 0])
    targets = y if task == "multiclass" else np.eye(2)[y]
    result = evaluate(p, targets, task=task, input="probabilities")
    assert (result.infinite, result.undefined) == ((1, 1) if task == "multiclass" else (3, 1))
    with np.errstate(divide="ignore"):
        assert evaluate(np.log(p), targets, task=task, input="log-probabilities") == result


@pytest.mark.parametrize("axis", [0, 1])
def test_axes(axis):
    x = np.random.default_rng(3).standard_normal((5, 6, 4))
    y = np.random.default_rng(4).integers(0, x.shape[axis], np.delete(x.shape, axis))
    p = lossgrad.softmax(x, axis=axis)
    for block_bytes in (1, 500, 1 << 20):
        found = evaluate(p, y, axis=axis, input="probabilities", block_bytes=block_bytes)
        assert found.loss == pytest.approx(evaluate(x, y, axis=axis).loss, rel=1e-13)


BAD = {
    "sum": ("probabilities", lambda p: p * 0.9, r"the probabilities sum to 0\.9"),
    "nothing": ("probabilities", lambda p: p * 0, "the probabilities sum to 0, not to 1"),
    "negative": ("probabilities", lambda p: -p, r"probability -.* of class 0 is outside \[0, 1\]"),
    "above": ("probabilities", lambda p: p + 1, r"probability 1.* of class 0 is outside \[0, 1\]"),
    "logits": ("probabilities", lambda p: p * 50 - 9, r"is outside \[0, 1\]"),
    "log sum": ("log-probabilities", lambda p: np.log(p) - 0.5, r"probabilities sum to 0\.60653"),
    "log above": ("log-probabilities", lambda p: np.log(p) + 0.5, "probabilities sum to 1.6487"),
}


@pytest.mark.parametrize("block_bytes", [1, 400, 1 << 20])
@pytest.mark.parametrize("name", BAD)
def test_the_first_bad_row_is_named(name, block_bytes):
    kind, spoil, message = BAD[name]
    p = lossgrad.softmax(X / 4)
    given = p if kind == "probabilities" else np.log(p)
    given[[70, 33]] = spoil(p[[70, 33]])
    with pytest.raises(InputError, match=message) as caught:
        evaluate(given, Y, input=kind, block_bytes=block_bytes, num_threads=2)
    assert caught.value.row == (33,)
    labels = np.where(np.isin(np.arange(ROWS), [33, 70]), -100, Y)
    assert evaluate(given, labels, input=kind).ignored == 2  # what is ignored is never read


@pytest.mark.parametrize(("kind", "bad"), [("probabilities", 1.5), ("log-probabilities", 0.5)])
def test_the_first_bad_label_is_named(kind, bad):
    p = lossgrad.sigmoid(X)
    given = p if kind == "probabilities" else np.log(p)
    given[33, 2] = bad
    with pytest.raises(InputError, match=r"^logits: row 33: label 2: (log-)?probability .* is"):
        evaluate(given, T, task="binary", input=kind)
    targets = T.astype(float)
    targets[33, 2] = np.nan
    assert evaluate(given, targets, task="binary", input=kind).ignored == 1


def test_rounding_of_types_is_no_error():
    """Rows of many classes, as PyTorch's or NumPy's softmax would round them."""
    x = np.random.default_rng(5).standard_normal((20, 50_000)).astype(np.float32)
    e = np.exp(x - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    y = np.zeros(20, int)
    for given in (p, p.astype(np.float64), p.astype(np.float16), typed(p, "bfloat16")):
        assert evaluate(given, y, input="probabilities").rows == 20
    off = p.copy()
    off[:, 0] += 1e-3
    with pytest.raises(InputError, match=r"row 0: the probabilities sum to 1\.00"):
        evaluate(off, y, input="probabilities")


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="input is 'odds': use logits or log-probabilities"):
        evaluate(X, Y, input="odds")


# ---- what seems to be probabilities ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_without_the_option_are_a_warning(dtype):
    p = typed(lossgrad.softmax(X), dtype)
    message = r'in \[0, 1\] and sum to 1, .* input="probabilities" \(--input probabilities\)'
    with pytest.warns(UserWarning, match=message):
        evaluate(p, Y)
    with pytest.warns(UserWarning, match=message):
        evaluate([(p, Y)])
    with pytest.warns(UserWarning, match=message):
        Evaluation().update(p, Y)
    with pytest.warns(UserWarning, match=r"are in \[0, 1\], as probabilities are"):
        evaluate(typed(lossgrad.sigmoid(X), dtype), T, task="binary")


def test_logits_are_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(X, Y)
        evaluate(np.eye(3), [0, 1, 1])
        evaluate(np.zeros((40, 3)), np.zeros(40, int))
        evaluate(np.full((40, 2), 0.7), np.zeros(40, int))
        evaluate(lossgrad.log_softmax(X), Y)
        evaluate(np.full((4, 2), 0.7), np.zeros((4, 2)), task="binary")
        evaluate(lossgrad.softmax(X), Y, input="probabilities")


def test_the_command(tmp_path, capsys):
    p = lossgrad.softmax(X)
    paths = [str(tmp_path / name) for name in ("p.npy", "y.npy")]
    for path, array in zip(paths, (p, Y), strict=True):
        np.save(path, array)
    assert cli.main(["evaluate", *paths]) == 0
    output = capsys.readouterr()
    [line] = output.err.splitlines()
    assert line.startswith("lossgrad: warning: the first rows of the logits are in [0, 1] and sum")
    assert "--input probabilities" in line
    assert cli.main(["evaluate", *paths, "--input", "probabilities", "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    loss = evaluate(p, Y, input="probabilities").loss
    assert f'"loss": {loss}' in output.out
    assert '"input": "probabilities"' in output.out
    np.save(paths[0], p[:, :-1])
    assert cli.main(["evaluate", *paths, "--input", "probabilities"]) == 2
    assert "p.npy: row 0: the probabilities sum to" in capsys.readouterr().err


def test_two_models():
    p, q = lossgrad.softmax(X), lossgrad.softmax(X + np.linspace(0, 1, CLASSES))
    want = lossgrad.compare(np.log(p), np.log(q), Y)
    found = lossgrad.compare(p, q, Y, input="probabilities")
    assert found.kl.value == pytest.approx(want.kl.value, rel=1e-12)
    assert found.loss_difference.value == pytest.approx(want.loss_difference.value, rel=1e-12)
