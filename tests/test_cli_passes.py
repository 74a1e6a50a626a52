"""Commands of several passes say what the functions of their names find."""

import json
import os

import numpy as np
import pytest

import lossgrad
from lossgrad import cli
from lossgrad.cli.options import FIGURES
from lossgrad.evaluation.parts import PARTS


@pytest.fixture
def run(capsys):
    """A function that runs the command and gives what it printed."""

    def command(*arguments):
        status = cli.main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return command


@pytest.fixture
def files(tmp_path):
    """Logits and labels in two shards, binary targets, and logits of other rows."""
    random = np.random.default_rng(1)
    x = (4 * random.standard_normal((300, 6))).astype(np.float32)
    y = np.array([random.choice(6, p=row) for row in lossgrad.softmax(0.4 * x.astype(float))])
    for k, part in enumerate(np.array_split(np.arange(300), 2)):
        np.save(tmp_path / f"x-{k}.npy", x[part])
        np.save(tmp_path / f"y-{k}.npy", y[part])
    np.savez(tmp_path / "both.npz", logits=x, targets=y)
    np.save(tmp_path / "t.npy", (x > random.standard_normal(x.shape)).astype(int))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "z.npy", np.round(x))
    np.save(tmp_path / "other.npy", random.standard_normal((50, 6)))
    return lambda name: str(tmp_path / name)


def test_calibrate(run, files):
    x, y = files("x-*.npy"), files("y-*.npy")
    found = json.loads(run("calibrate", x, "--json", y, "--bins", 10))
    expected = lossgrad.fit_temperature(x, y, bins=10)
    assert found == {"logits": x, "targets": y, "shards": 2, **expected.to_dict()}
    lines = run("calibrate", x, y, "--threads", 2, "--bins", 10).splitlines()
    assert lines[0] == (
        f"temperature {expected.temperature:.12g}  ({expected.passes} passes over 300 rows)"
    )
    after = f"{expected.before.loss:.6g} before, {expected.after.loss:.6g} after"
    assert lines[1] == f"loss        {after}"
    assert [line.split()[0] for line in lines] == ["temperature", "loss", "calibration", "Brier"]
    found = json.loads(
        run("calibrate", "--task", "binary", files("x.npy"), files("t.npy"), "--json")
    )
    expected = lossgrad.fit_temperature(files("x.npy"), files("t.npy"), task="binary")
    assert found["temperature"] == expected.temperature


def test_calibrate_says_why_there_is_none(run, files, tmp_path, capsys):
    x = np.load(files("x.npy"))
    np.save(tmp_path / "right.npy", x.argmax(axis=1))
    out = run("calibrate", files("x.npy"), tmp_path / "right.npy")
    assert out.startswith("temperature 0  (2 passes")
    assert "every label has the largest logit" in out
    np.save(tmp_path / "nobody.npy", np.full(300, -100))
    assert cli.main(["calibrate", files("x.npy"), str(tmp_path / "nobody.npy")]) == 2
    assert "no row has a finite loss" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_conformal(run, files, method):
    first = files("x-0.npy"), files("y-0.npy")
    second = files("x-1.npy"), files("y-1.npy")
    how = ("--method", method, "--coverage", "0.8")
    threshold = lossgrad.conformal_threshold(*first, coverage=0.8, method=method)
    sets = lossgrad.conformal_sets(*second, threshold=threshold)
    found = json.loads(run("conformal", *first, "--on", *second, *how, "--json"))
    about = dict(zip(("logits", "targets"), first, strict=True))
    assert found == {**about, **threshold.to_dict(), "sets": sets.to_dict()}
    lines = run("conformal", *how, *first, "--on", *second).splitlines()
    assert lines[0] == f"threshold   {threshold.threshold:.12g}  ({method}, from 150 rows)"
    assert lines[1] == "asked for   80 % coverage"
    assert lines[2].startswith(f"coverage    {100 * sets.coverage:.2f} ± ")
    assert lines[3].startswith(f"classes     {sets.mean_size:.4g} a set: ")
    assert run("conformal", *first, *how).splitlines() == lines[:2]
    both = json.loads(run("conformal", files("both.npz"), "--on", files("both.npz"), "--json"))
    assert both["rows"] == both["sets"]["rows"] == 300
    assert both["sets"]["coverage"] >= 0.9


@pytest.mark.parametrize("score", ["energy", "logit", "probability", "entropy"])
def test_ood(run, files, score):
    pair = files("x-*.npy"), files("other.npy")
    expected = lossgrad.out_of_distribution(*pair, score=score)
    found = json.loads(run("ood", *pair, "--score", score, "--json"))
    assert found == {"logits": pair[0], "outside_logits": pair[1], **expected.to_dict()}
    lines = run("ood", *pair, "--score", score).splitlines()
    assert lines[0] == "rows        300 inside, 50 outside"
    assert lines[1] == f"score       {score}"
    assert lines[2] == f"AUROC       {expected.ranks.auroc.text()}"
    assert [line[:9].strip() for line in lines[3:]] == ["precision", "FPR at 95"]


def test_figures_that_are_asked_for(run, files, tmp_path):
    assert set(FIGURES) == {name for name, part in PARTS.items() if not part.needs}
    pair = files("x-*.npy"), files("y-*.npy")
    options = [f"--{name}" for name in FIGURES]
    found = json.loads(run("evaluate", *pair, *options, "--json", "--state", tmp_path / "a.state"))
    expected = lossgrad.evaluate(*pair, figures=list(FIGURES)).to_dict()
    for name in FIGURES:
        assert found[name] == expected[name]
        assert name not in json.loads(run("evaluate", *pair, "--json"))
    lines = run("evaluate", *pair, *options).splitlines()
    assert max(map(len, lines)) < 80
    assert {"AUROC", "AURC", "loss at", "equal mass"} <= {line[:12].strip() for line in lines}
    merged = json.loads(run("merge", tmp_path / "a.state", "--json"))
    assert merged["ranking"] == found["ranking"]


def test_exact(run, files, tmp_path):
    np.save(tmp_path / "weight.npy", np.random.default_rng(2).random(300))
    weight = str(tmp_path / "weight.npy")
    pair = files("x.npy"), files("t.npy")
    options = ("--task", "binary", "--sample-weight", weight, "--ranking", "--exact")
    clusters = ("--clusters", files("y.npy"), "--selection", "--quantiles")
    found = json.loads(run("evaluate", *pair, *options, *clusters, "--json"))
    expected = lossgrad.evaluate(
        *pair,
        task="binary",
        sample_weight=weight,
        clusters=files("y.npy"),
        figures=["ranking", "selection", "quantiles"],
        exact=True,
    ).to_dict()
    for name in ("ranking", "selection", "quantiles"):
        assert found[name] == expected[name]
    for name in ("auroc", "average_precision", "fpr95"):
        figure = found["ranking"]["micro"][name]
        assert figure["lower"] == figure["upper"] == figure["value"]
    assert json.loads(run("evaluate", "--sample", "digits", "--ranking", "--exact", "--json"))


def test_exact_comparisons_and_rows_from_elsewhere(run, files):
    pair, groups = (files("x.npy"), files("z.npy")), files("y.npy")
    found = json.loads(run("compare", *pair, "--exact", "--groups", groups, "--json"))
    expected = lossgrad.compare(*pair, groups=groups, exact=True).to_dict()
    assert found["quantiles"] == expected["quantiles"]
    for key, one in expected["groups"].items():
        assert found["groups"][str(key)]["quantiles"] == one["quantiles"]
    assert found["quantiles"]["kl"]["0.5"]["lower"] == found["quantiles"]["kl"]["0.5"]["upper"]
    pair = files("x-*.npy"), files("other.npy")
    found = json.loads(run("ood", *pair, "--exact", "--json"))
    expected = lossgrad.out_of_distribution(*pair, exact=True)
    assert found["average_precision"] == expected.to_dict()["average_precision"]


def forms(x, y, names):
    """The same rows in other words: arrays, and what says how to read them."""
    p = lossgrad.softmax(x)
    log_p = lossgrad.log_softmax(x)
    yield (x, np.array(names)[y]), {"class_names": names}
    yield (x, y.astype(np.float32)), {}
    yield (x, y[:, np.newaxis]), {}
    yield (x, np.eye(6, dtype=int)[y]), {}
    yield (p, y), {"input": "probabilities"}
    yield (log_p, np.array(names)[y]), {"input": "log-probabilities", "class_names": names}


def options_of(how, directory):
    """As the command has them."""
    found = ["--input", how["input"]] if "input" in how else []
    if "class_names" in how:
        (directory / "names").write_text("\n".join(how["class_names"]))
        found += ["--class-names", directory / "names"]
    return found


@pytest.mark.parametrize("form", range(6))
def test_passes_read_what_evaluations_read(run, files, tmp_path, form):
    """Labels of every kind, probabilities for logits: in the functions and in the commands."""
    x, y = np.load(files("x.npy")).astype(np.float64), np.load(files("y.npy"))
    (logits, targets), how = [*forms(x, y, [*"abcdef"])][form]
    np.save(tmp_path / "l.npy", logits)
    np.save(tmp_path / "t.npy", targets)
    given, options = (tmp_path / "l.npy", tmp_path / "t.npy"), options_of(how, tmp_path)
    wanted = lossgrad.fit_temperature(x, y)
    threshold = lossgrad.conformal_threshold(x, y, method="aps")
    close = {"rel": 1e-9}
    for source in ((logits, targets), given):
        found = lossgrad.fit_temperature(*source, **how)
        assert found.temperature == pytest.approx(wanted.temperature, **close)
        found = lossgrad.conformal_threshold(*source, method="aps", **how)
        assert found.threshold == pytest.approx(threshold.threshold, **close)
        sets = lossgrad.conformal_sets(*source, threshold=found, **how)
        assert sets.coverage >= 0.9
    found = json.loads(run("calibrate", *given, *options, "--json"))
    assert found["temperature"] == pytest.approx(wanted.temperature, **close)
    found = json.loads(run("conformal", *given, *options, "--on", *given, "--json"))
    assert found["sets"]["coverage"] >= 0.9


def test_probabilities_of_rows_from_elsewhere(run, files, tmp_path):
    x, z = np.load(files("x.npy")).astype(float), np.load(files("other.npy"))
    for name, of in (("x.npy", x), ("z.npy", z)):
        np.save(tmp_path / name, lossgrad.softmax(of))
    pair = tmp_path / "x.npy", tmp_path / "z.npy"
    how = {"score": "entropy", "input": "probabilities"}
    wanted = lossgrad.out_of_distribution(x, z, score="entropy", exact=True).ranks.auroc
    assert lossgrad.out_of_distribution(*pair, exact=True, **how).ranks.auroc == wanted
    found = json.loads(
        run("ood", *pair, "--score", "entropy", "--input", "probabilities", "--json")
    )
    assert found["auroc"]["lower"] <= wanted.value <= found["auroc"]["upper"]


def test_probabilities_are_warned_of_once(files, tmp_path, capsys):
    p = lossgrad.softmax(np.load(files("x.npy")).astype(float))
    np.save(tmp_path / "p.npy", p)
    assert cli.main(["calibrate", str(tmp_path / "p.npy"), files("y.npy")]) == 0
    assert capsys.readouterr().err.count("as probabilities are") == 1


def test_files_that_change_between_passes(files, tmp_path):
    """Which no two passes are of the same rows of."""
    x, y = np.load(files("x.npy")), np.load(files("y.npy"))
    np.save(tmp_path / "x.npy", x)

    def rewrite(done, rows):
        np.save(tmp_path / "x.npy", x + 1)
        os.utime(tmp_path / "x.npy", ns=(1, 1))

    for function in (lossgrad.fit_temperature, lossgrad.conformal_threshold):
        np.save(tmp_path / "x.npy", x)
        with pytest.raises(lossgrad.FileError, match="changed while it was read"):
            function(tmp_path / "x.npy", y, progress=rewrite)


def test_a_mask_of_the_rows_of_a_temperature(run, files, tmp_path):
    mask = np.arange(300) % 3 > 0
    np.save(tmp_path / "mask.npy", mask)
    x, y = np.load(files("x.npy")), np.load(files("y.npy"))
    found = json.loads(
        run(
            "calibrate",
            files("x.npy"),
            files("y.npy"),
            "--sample-weight",
            tmp_path / "mask.npy",
            "--json",
        )
    )
    assert found["temperature"] == lossgrad.fit_temperature(x[mask], y[mask]).temperature


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["evaluate", "a", "b", "--exact"], "--exact goes with --ranking or --selection"),
        (["conformal", "a", "b", "--report", "c"], "it goes with --on"),
        (["calibrate"], "give LOGITS and TARGETS"),
        (["conformal"], "give LOGITS and TARGETS"),
        (["calibrate", "a", "b", "c"], "too many files: c"),
        (["conformal", "a", "b", "--on", "c", "d", "e"], "--on takes LOGITS and TARGETS"),
        (["conformal", "a", "b", "--coverage", "1.5"], "invalid probability value: '1.5'"),
        (["ood", "a", "b", "--score", "odin"], "invalid choice: 'odin'"),
        (["ood", "a", "b", "c"], "unrecognized arguments: c"),
    ],
)
def test_wrong_use(arguments, problem, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("command", ["calibrate", "conformal", "ood"])
def test_a_file_that_is_missing(command, files, capsys):
    assert cli.main([command, files("nowhere.npy"), files("y-0.npy")]) == 2
    assert "nowhere.npy: no such file" in capsys.readouterr().err


def test_no_rows(files, tmp_path, capsys):
    np.save(tmp_path / "nan.npy", np.full((4, 6), np.nan))
    np.save(tmp_path / "four.npy", np.zeros(4, int))
    assert cli.main(["ood", files("x.npy"), str(tmp_path / "nan.npy")]) == 2
    assert "nan.npy: no row has a score" in capsys.readouterr().err
    assert cli.main(["conformal", str(tmp_path / "nan.npy"), str(tmp_path / "four.npy")]) == 2
    assert "nan.npy: no row has a loss" in capsys.readouterr().err
