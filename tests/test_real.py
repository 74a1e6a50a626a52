"""Real predictions from raw data to the report: languages of translated texts, and tumours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lossgrad
from lossgrad import cli

ROOT = Path(__file__).parents[1]
SOURCE = Path(lossgrad.__file__).parents[1]  # where these tests have it from


@pytest.fixture(scope="module")
def languages(tmp_path_factory):
    """(directory, labels): one shard for each of Django's languages, of two models, which the
    example writes as a user starts it."""
    for module in ("py3langid", "django", "matplotlib"):
        pytest.importorskip(module)
    directory = tmp_path_factory.mktemp("languages")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), *sys.path])}
    command = [sys.executable, str(ROOT / "examples/languages.py"), str(directory)]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return directory, (directory / "names").read_text().splitlines()


def run(capsys, *arguments):
    assert cli.main([*map(str, arguments), "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return json.loads(output.out)


def test_languages_of_django(languages, capsys, tmp_path, monkeypatch):
    """97 classes or more, saturated logits: gaps of hundreds, losses from 0 to beyond 100."""
    # The plots of such classes are drawn by the example.
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    directory, labels = languages
    report = tmp_path / "report.html"
    options = ["--class-names", directory / "names", "--top-k", 3, "--state", tmp_path / "whole"]
    options += ["--report", report]
    found = run(
        capsys, "evaluate", directory / "*.logits.npy", directory / "*.labels.npy", *options
    )
    shards = sorted(directory.glob("*.logits.npy"))
    x = np.concatenate([np.load(path) for path in shards]).astype(np.float64)
    y = np.concatenate([np.load(str(p).replace("logits", "labels")) for p in shards])
    gap = x - x.max(axis=1, keepdims=True)
    losses = np.log(np.exp(gap).sum(axis=1)) - gap[np.arange(len(y)), y]
    assert found["rows"] == len(y) > 2000
    assert found["classes"] == len(labels) >= 97
    assert found["shards"] == len(shards) > 60
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-6)
    assert found["loss_error"] == pytest.approx(losses.std(ddof=1) / len(y) ** 0.5, rel=1e-6)
    assert found["accuracy"] == np.mean(x.argmax(axis=1) == y) > 0.8
    order = np.argsort(-x, axis=1, kind="stable")[:, :3]
    assert found["top_k"]["3"] == np.mean((order == y[:, None]).any(axis=1))
    assert found["confidence"] > 0.9  # saturated
    text = report.read_text()
    worst = max(found["worst"], key=lambda row: row["loss"])
    names = (labels[worst[which]] for which in ("label", "predicted"))
    assert "".join(f'<td class="name" dir="auto">{name}</td>' for name in names) in text
    assert worst["loss"] == pytest.approx(losses.max(), rel=1e-6)

    states = []
    for first in sorted({path.name[0] for path in shards}, reverse=True):
        states.append(tmp_path / first)
        files = [directory / f"{first}*.{name}.npy" for name in ("logits", "labels")]
        run(capsys, "evaluate", *files, "--state", states[-1])
    run(capsys, "merge", *states, "--state", tmp_path / "merged")
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_quantised_identifier(languages, capsys, tmp_path):
    """The same texts by weights of 8 bits: what that costs, in all and by the first letter of the
    language."""
    directory, labels = languages
    shards = sorted(directory.glob("*.logits.npy"))
    every = {
        name: [np.load(str(path).replace("logits", name)) for path in shards]
        for name in ("logits", "coarse", "labels")
    }
    names = np.concatenate([np.repeat(labels[y[0]], len(y)) for y in every["labels"]])
    np.save(tmp_path / "names.npy", names)
    letters = names.astype("U1")
    np.save(tmp_path / "letters.npy", letters)
    base, other, y = map(np.concatenate, every.values())
    for name, array in (("base", base), ("other", other), ("labels", y)):
        np.save(tmp_path / f"{name}.npy", array)
    options = ["--groups", tmp_path / "letters.npy", "--clusters", tmp_path / "names.npy"]
    paths = [tmp_path / f"{name}.npy" for name in ("base", "other", "labels")]
    found = run(capsys, "compare", *paths, *options)
    x, z = (a.astype(np.float64) for a in (base, other))
    x, z = (a - np.logaddexp.reduce(a, axis=1, keepdims=True) for a in (x, z))
    kl = (np.exp(x) * (x - z)).sum(1)
    rows = np.arange(len(y))
    difference = x[rows, y] - z[rows, y]
    assert found["kl"]["value"] == pytest.approx(kl.mean(), rel=1e-5)
    assert found["kl"]["error"] == pytest.approx(kl.std(ddof=1) / len(y) ** 0.5, rel=1e-5)
    assert found["loss_difference"]["value"] == pytest.approx(difference.mean(), rel=1e-5, abs=1e-7)
    right = base.argmax(1) == y, other.argmax(1) == y
    assert found["base_right"] == np.count_nonzero(right[0] & ~right[1])
    assert found["other_right"] == np.count_nonzero(right[1] & ~right[0])
    assert set(found["groups"]) == set(letters)
    for letter in ("d", "j"):
        own = found["groups"][letter]
        assert own["kl"]["value"] == pytest.approx(
            kl[letters == letter].mean(), rel=1e-5, abs=1e-12
        )
    assert found["clusters"]["clusters"] == len(set(names)) > 50
    assert found["clusters"]["kl_error"] > found["kl"]["error"]  # languages differ


def test_tumours(capsys, tmp_path):
    datasets = pytest.importorskip("sklearn.datasets")
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = x / x.max(axis=0)
    model = linear.LogisticRegression(C=100, max_iter=5000).fit(x[::2], y[::2])
    np.savez(tmp_path / "x.npz", logits=model.decision_function(x[1::2]), targets=y[1::2])
    names = tmp_path / "names"
    names.write_text("benign\n")
    report = tmp_path / "report.html"
    found = run(
        capsys,
        *("evaluate", tmp_path / "x.npz", "--task", "binary", "--class-names", names),
        *("--report", report),
    )
    p = model.predict_proba(x[1::2])[:, 1]
    assert found["loss"] == pytest.approx(-np.log(np.where(y[1::2], p, 1 - p)).mean(), rel=1e-12)
    assert found["accuracy"] == np.mean((p > 0.5) == y[1::2]) > 0.9
    assert found["brier"] == pytest.approx(np.mean((p - y[1::2]) ** 2), rel=1e-12)
    assert "benign" in report.read_text()
