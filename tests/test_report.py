"""The report: one file that stands alone, with the figures of the result, of whatever kind."""

import base64
import dataclasses
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import lossgrad
from lossgrad import Comparison, Evaluation, FileError, cli, evaluate, report, sample
from lossgrad.evaluation.figures import worst_first
from lossgrad.evaluation.report import elements, plots

pytest.importorskip("matplotlib")
VOID = {"meta", "img", "wbr"}
ALLOWED = {  # all that a page is made of: nothing loads, runs or leaves
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "dt", "dd", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "span", "img", "script", "wbr"),
}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "dir", "scope", "alt"}
ATTRIBUTES |= {"src", "tabindex"}


class Page(HTMLParser):
    """Checks that tags nest and are harmless; collects what they hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.images, self.rows, self.policy = [], [], [], [], {}
        self.titles, self.held = [], {"style": [], "script": []}
        self.feed(text)
        self.close()
        assert self.open == []
        self.check_policy()

    def handle_starttag(self, tag, attributes):
        assert tag in ALLOWED
        assert {name for name, _ in attributes} <= ATTRIBUTES
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        found = dict(attributes)
        if tag == "img":
            self.images.append(found["src"])
        if found.get("http-equiv") == "Content-Security-Policy":
            assert self.open == ["html", "head"]
            rules = (rule.split() for rule in found["content"].split(";"))
            self.policy = {name: value for name, *value in rules}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.held:
            self.held[self.open[-1]].append(data)
            return
        self.words.append(data)
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] in ("h1", "h2"):
            self.titles.append(data)

    def check_policy(self):
        """Nothing but what is on the page, and of that what has the right hash."""
        assert {name: self.policy[name] for name in ("default-src", "base-uri", "form-action")} == {
            name: ["'none'"] for name in ("default-src", "base-uri", "form-action")
        }
        assert self.policy["img-src"] == ["data:"]
        for tag, texts in self.held.items():
            (text,) = texts
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert self.policy[f"{tag}-src"] == [f"'sha256-{digest}'"]
        assert not re.search(
            r"url\(|@import|https?:", "".join(itertools.chain(*self.held.values()))
        )

    def drawings(self):
        """The images' XML."""
        for image in self.images:
            head, data = image.split(",")
            assert head == "data:image/svg+xml;base64"
            drawing = ElementTree.fromstring(base64.b64decode(data))
            assert drawing.tag.endswith("svg")
            yield drawing

    def drawn(self):
        """The texts of the images."""
        return ["".join(one.itertext()) for image in self.drawings() for one in texts_of(image)]


def texts_of(drawing):
    return drawing.iter("{http://www.w3.org/2000/svg}text")


def page(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def undrawn(monkeypatch):
    """Plots are laid out and counted, but empty: for what is beside them, as drawing is slow."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)


def test_report_of_the_digits(tmp_path, capsys):
    path, names = tmp_path / "report.html", tmp_path / "names"
    names.write_text("".join(f"<{c}> & co\n" for c in range(10)))
    command = ["evaluate", "--sample", "digits", "--report", str(path), "--class-names", str(names)]
    assert cli.main(command) == 0
    table = capsys.readouterr().out
    found = page(path)
    digits = sample.digits()
    result = evaluate(digits.logits, digits.targets, worst=20)
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["accuracy"] == [f"{100 * result.accuracy:.2f} %  ({result.correct} of 597)"]
    for name in ("loss", "top 5", "Brier", "calibration"):
        assert f"{name:<12}{rows[name][0]}" in table
    worst = result.worst[0]
    expected = ["digits", f"{worst.row}", f"{worst.loss:.6g}", f"<{worst.label}> & co"]
    assert [*expected, f"<{worst.predicted}> & co", f"{worst.confidence:.4f}"] in found.rows
    order = np.argsort(result.f1)
    assert rows[f"<{order[0]}> & co"][-1] == f"{result.f1[order[0]]:.4f}"
    wrong = result.confusion - np.diag(result.confusion.diagonal())
    label, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    part = f"{100 * wrong.max() / result.support[label]:.1f} %"
    mistake = [f"<{label}> & co", f"<{predicted}> & co", f"{wrong.max():.6g}", part]
    assert mistake in found.rows
    assert len(found.images) == 4
    assert len([*found.drawings()]) == 4
    assert len(path.read_bytes()) < 1_000_000


@pytest.mark.parametrize("classes", [1, 40, 300])
def test_any_number_of_classes(tmp_path, classes):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((200, classes)), random.integers(0, classes, 200)
    x[3, y[3]] = -np.inf
    result = evaluate(x, y, worst=3)
    path = tmp_path / "report.html"
    report.write(path, result)
    found = page(path)
    assert len(found.images) == (4 if 1 < classes <= 256 else 3)
    assert classes == 1 or "inf" in found.words


def test_losses_beyond_the_histogram(tmp_path):
    x = np.array([[0.0, -1e3], [0.0, -1e3], [0.0, 1e9]])
    report.write(tmp_path / "r.html", evaluate(x, [0, 1, 0]))
    found = page(tmp_path / "r.html")
    assert len(found.images) == 4  # two classes are enough for a matrix
    ticks = found.drawn()
    assert {"0", "\N{INFINITY}"} <= set(ticks)
    assert not {f"{2.0**-41:.2g}", f"{2.0**23:.2g}"} & set(ticks)


def test_binary(tmp_path):
    x = np.random.default_rng(1).standard_normal((100, 3))
    report.write(tmp_path / "r.html", evaluate(x, x > 0.3, task="binary"), about={"a": ["<b>", 1]})
    found = page(tmp_path / "r.html")
    assert found.words[found.words.index("a:") :][:2] == ["a:", "<b>, 1"]
    assert len(found.images) == 3


def test_the_same_result_gives_the_same_file(tmp_path):
    result = lossgrad.compare(*pair_of_models())
    report.write(tmp_path / "a", result)
    report.write(tmp_path / "b", result)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_a_full_disk_leaves_the_old_report(tmp_path, full_disk):
    path = tmp_path / "r.html"
    path.write_text("old")

    full_disk()
    with pytest.raises(FileError, match="cannot be written: No space left on device"):
        report.write(path, evaluate(np.eye(3), [0, 1, 1]))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = tmp_path / "r.html"
    assert cli.main(["evaluate", "--sample", "digits", "--report", str(path)]) == 2
    assert "pip install 'lossgrad[report]'" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.usefixtures("undrawn")
def test_a_link_and_a_pipe_stay_what_they_are(tmp_path):
    result = evaluate([[0.0, 1.0]], [0])
    (tmp_path / "link").symlink_to(tmp_path / "report")
    report.write(tmp_path / "link", result)
    assert (tmp_path / "link").is_symlink()
    assert page(tmp_path / "report").rows
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit((tmp_path / "pipe").read_bytes)
        report.write(tmp_path / "pipe", result)
        assert reading.result(10).startswith(b"<!DOCTYPE html>")
    assert (tmp_path / "pipe").is_fifo()


def test_the_numbers_of_the_loss_axis_stand_apart():
    """For losses from 5e-7 to 15, whose numbers are long."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    seen = []

    def draw(axes, result):
        plots.losses(axes, result)
        FigureCanvasAgg(axes.figure).draw()
        seen.extend(label.get_window_extent() for label in axes.get_xticklabels())

    losses = np.geomspace(5e-7, 15, 400)
    logits = np.stack([np.zeros(400), np.log(np.expm1(losses))], axis=1)
    plots.plot(draw, evaluate(logits, np.zeros(400, int)), "losses")
    assert len(seen) > 3
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(seen))


def test_names_that_are_not_what_they_seem(tmp_path):
    """Escaped on the page and in the drawings; two dollars are no formula."""
    names = ["a\x1b[31mb", "\u202egnp.exe", "$\\frac{$"]
    about = {"logits": "\u2066x\nname", "targets": "\udc80"}  # a byte that is no text
    state = Evaluation(worst=1)
    state.update(np.eye(3), [0, 1, 1], source="two\rfiles\x9b")
    report.write(tmp_path / "r.html", state.result(), class_names=names, about=about)
    text = (tmp_path / "r.html").read_text()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    found = page(tmp_path / "r.html")
    words, drawn = found.words, found.drawn()
    named = ("a\\x1b[31mb", "\\u202egnp.exe", "$\\frac{$")
    for shown in (*named, "two\\rfiles\\x9b", "\\u2066x\\nname", "\\udc80"):
        assert shown in words
    assert {named[0], named[1][:11] + "\N{HORIZONTAL ELLIPSIS}", named[2]} <= set(drawn)


def test_rows_without_weight(tmp_path):
    result = evaluate(np.eye(3), [0, 1, 1], sample_weight=np.zeros(3))
    report.write(tmp_path / "r.html", result)
    assert len(page(tmp_path / "r.html").images) == 4


def of(tmp_path, result, **shown):
    report.write(tmp_path / "r.html", result, **shown)
    return page(tmp_path / "r.html")


def pair_of_models(rows=400, classes=5):
    random = np.random.default_rng(0)
    base = random.normal(0, 2, (rows, classes))
    labels = np.where(random.random(rows) < 0.6, base.argmax(1), random.integers(0, classes, rows))
    return base, np.round(base), labels


def listed(found):
    """The rows of the table of groups."""
    start = next(k for k, row in enumerate(found.rows) if row[0] == "group")
    rows = itertools.takewhile(lambda row: row[0] != "class", found.rows[start + 1 :])
    return [row for row in rows if len(row) == len(found.rows[start])]


KEYS = ["<b>bold</b>", "\u202egpj.exe", "שלום", "a" * 300, "", "nan", "1e5", "&amp;"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("compared", [False, True])
def test_groups_are_listed_from_the_worst_on(tmp_path, compared):
    base, other, labels = pair_of_models()
    keys = np.array(KEYS)[np.arange(400) % len(KEYS)]
    if compared:
        result = lossgrad.compare(base, other, labels, groups=keys)
        figures = {key: f"{one.kl.value:.4g}" for key, one in result.groups.items()}
    else:
        result = evaluate(base, labels, groups=keys)
        figures = {key: f"{one.loss:.5g}" for key, one in result.groups.items()}
    found = of(tmp_path, result)
    rows = listed(found)
    worst = sorted(figures, key=lambda key: -float(figures[key]))
    shown = [key.replace("\u202e", "\\u202e") for key in worst]
    assert [row[0] for row in rows] == shown
    assert [row[2] for row in rows] == [figures[key] for key in worst]
    assert '<table class="sortable">' in (tmp_path / "r.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_groups_of_nothing_come_last_and_are_not_without_end(tmp_path):
    result = evaluate([[np.nan, 0.0], [1.0, 0.0]], [0, 0], groups=[7, 8])
    undefined, one = result.groups[7], result.groups[8]
    groups = {key: dataclasses.replace(one, loss=0.01 * key) for key in range(1002)}
    result = dataclasses.replace(result, groups={**groups, 7: undefined})
    assert worst_first(result.groups, lambda one: one.loss)[-1][0] == 7
    found = of(tmp_path, result)
    assert len(listed(found)) == 1000
    assert "and 2 more, which are better" in found.words


@pytest.mark.usefixtures("undrawn")
def test_two_models_side_by_side(tmp_path):
    base, other, labels = pair_of_models()
    names = ["<one>", "two", "three", "four", "five"]
    result = lossgrad.compare(base, other, labels, worst=4)
    found = of(tmp_path, result, class_names=names)
    rows = {row[0]: row[1:] for row in found.rows}
    plus = "\N{PLUS-MINUS SIGN}"
    estimates = result.base_loss, result.other_loss, result.loss_difference
    assert rows["loss, nats"] == [f"{one.value:.6g} {plus} {one.error:.2g}" for one in estimates]
    perplexities = [f"{result.base_perplexity:.6g}", f"{result.other_perplexity:.6g}"]
    assert rows["perplexity"][:2] == perplexities
    assert f"{result.perplexity_ratio.value:.6g}" in rows["perplexity"][2]
    assert rows["accuracy"][2].startswith(f"{100 * result.accuracy_difference.value:.2f} {plus}")
    both, one = result.both_right, result.base_right
    assert rows["base right"] == [f"{n}  ({n / 4:.2f} %)" for n in (both, one)]
    assert rows["base wrong"][0].startswith(f"{result.other_right}  (")
    assert rows["McNemar"] == [f"p = {result.mcnemar:.3g}"]
    assert rows["KL"][0].startswith(f"{result.kl.value:.6g} {plus}")
    for q, text in ((0.5, "50 %"), (0.999, "99.9 %")):
        quantiles = (result.quantile(name, q).value for name in ("kl", "loss_difference"))
        assert rows[text] == [f"{one:.4g}" for one in quantiles]
    first = result.worst[0]
    choices = [names[k] for k in (first.base_predicted, first.other_predicted, first.label)]
    losses = [f"{first.base_loss:.4g}", f"{first.other_loss:.4g}"]
    assert [f"{first.row}", f"{first.kl:.4g}", *choices, *losses] in found.rows
    assert len(found.images) == 2


@pytest.mark.usefixtures("undrawn")
def test_two_models_without_labels(tmp_path):
    base, other, _ = pair_of_models()
    result = lossgrad.compare(base, other, worst=4)
    found = of(tmp_path, result)
    assert "Who is right" not in found.titles
    first = result.worst[0]
    row = [first.row, f"{first.kl:.4g}", first.base_predicted, first.other_predicted]
    assert [*map(str, row)] in found.rows
    assert len(found.images) == 1


def test_models_that_are_equal_or_far_apart(tmp_path):
    """Nothing is 0 or infinite on a logarithmic axis: such rows are counted beside it."""
    base, other, labels = pair_of_models()
    same = of(tmp_path, lossgrad.compare(base, base, labels))
    rows = {row[0]: row[1:] for row in same.rows}
    assert rows["50 %"] == ["< 3.6e-15", "0"]
    assert rows["McNemar"] == ["no difference"]
    assert len(same.images) == 1
    other[:7] = base[:7]
    other[7:9, labels[0]] = -np.inf
    found = of(tmp_path, lossgrad.compare(base, other, labels))
    assert "without 9 rows of 0 or infinity" in found.drawn()
    hidden = np.where(np.eye(5, dtype=bool)[(labels + 1) % 5], -np.inf, base)
    assert len(of(tmp_path, lossgrad.compare(base, hidden, labels)).images) == 1


def nothing(new):
    return new().result()


def undefined(new):
    state = new()
    logits = np.full((3, 4), np.nan)
    arrays = [logits] * (2 if isinstance(state, Comparison) else 1)
    state.update(*arrays, np.arange(3))
    return state.result()


FIGURES = ["ranking", "selection", "quantiles", "calibration"]


@pytest.mark.parametrize("made", [nothing, undefined])
@pytest.mark.parametrize("new", [Comparison, lambda: Evaluation(figures=FIGURES)])
def test_figures_of_nothing(tmp_path, new, made):
    found = of(tmp_path, made(new))
    assert any("nan" in cell for row in found.rows for cell in row)
    assert [*found.drawings()] or new is Comparison


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_curves(tmp_path, task):
    base, _, labels = pair_of_models()
    targets = labels if task == "multiclass" else np.eye(5)[labels]
    result = evaluate(base, targets, task=task, figures=FIGURES)
    found = of(tmp_path, result)
    drawn = found.drawn()
    for figure in (result.figures["ranking"].micro.auroc, result.figures["selection"].aurc):
        assert f"area {figure.text()}" in drawn
    per_class = result.figures["ranking"].per_class.auroc.value
    rows = {row[0]: row for row in found.rows if len(row) == 7}
    assert rows["class"][-1] == "AUROC"
    assert [rows[str(k)][-1] for k in range(5)] == [f"{one:.4f}" for one in per_class]


def test_a_temperature(tmp_path):
    base, _, labels = pair_of_models()
    result = lossgrad.fit_temperature(3 * base, labels)
    found = of(tmp_path, result)
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["temperature"] == [f"{result.temperature:.6g}"]
    assert rows["loss, nats"] == [f"{one.loss:.6g}" for one in (result.before, result.after)]
    titles = [f"Reliability: expected calibration error {one:.4f}" for one in eces(result)]
    assert set(titles) <= set(found.drawn())


@pytest.mark.usefixtures("undrawn")
def test_a_temperature_that_is_a_limit(tmp_path):
    base, _, _ = pair_of_models()
    limit = lossgrad.fit_temperature(base, base.argmax(axis=1))
    assert limit.reason in of(tmp_path, limit).words


def eces(result):
    return result.before.ece, result.after.ece


def test_rows_from_elsewhere(tmp_path):
    base, _, _ = pair_of_models()
    result = lossgrad.out_of_distribution(base, 0.3 * base)
    found = of(tmp_path, result)
    assert f"area {result.ranks.auroc.text()}" in found.drawn()
    assert ["AUROC", result.ranks.auroc.text()] in found.rows


def test_conformal_sets(tmp_path):
    base, _, labels = pair_of_models()
    threshold = lossgrad.conformal_threshold(base, labels, coverage=0.8)
    result = lossgrad.conformal_sets(base, labels, threshold=threshold)
    names = ["<one>", "two", "three", "four", "five"]
    found = of(tmp_path, result, class_names=names)
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["asked for"] == ["80 % coverage"]
    assert rows["coverage"][0].startswith(f"{100 * result.coverage:.2f} \N{PLUS-MINUS SIGN}")
    worst = int(result.class_coverage.argmin())
    share = f"{100 * result.class_coverage[worst]:.2f} %"
    assert rows[names[worst]] == [str(result.class_rows[worst]), share]
    some = np.flatnonzero(result.sizes)
    assert rows[str(some[-1])][-1] == "100.00 %"
    assert {"Sizes of sets", "Coverage by class"} <= set(found.drawn())
    nothing = lossgrad.conformal_sets(base, np.full(400, -100), threshold=threshold)
    assert of(tmp_path, nothing).images == []


def test_what_is_no_result():
    with pytest.raises(TypeError, match="int is no result"):
        report.html(1, (), None, {})


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, array in zip(("base", "other", "labels"), pair_of_models(), strict=True):
        np.save(name, array)
    return tmp_path


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "command",
    [
        "compare base.npy other.npy labels.npy",
        "compare base.npy other.npy labels.npy --groups labels.npy",
        "evaluate base.npy labels.npy --groups labels.npy --ranking",
        "calibrate base.npy labels.npy",
        "ood base.npy other.npy",
        "conformal base.npy labels.npy --on base.npy labels.npy",
    ],
)
def test_reports_of_all_commands(saved, capsys, command):
    (saved / "text").write_text("no page")
    assert cli.main([*command.split(), "--report", "text"]) == 2
    assert "holds something that is no HTML" in capsys.readouterr().err
    assert cli.main([*command.split(), "--report", "r.html"]) == 0
    found = page(saved / "r.html")
    assert "base.npy" in found.words
    assert len(found.images) > 0


def test_merged_comparisons_have_the_page_of_the_whole(saved):
    base, other, labels = pair_of_models()
    for k, rows in enumerate(np.array_split(np.arange(400), 3)):
        for name, array in (("b", base), ("o", other), ("l", labels)):
            np.save(f"{name}{k}", array[rows])
        files = [f"{name}{k}.npy" for name in "bol"]
        assert cli.main(["compare", *files, "--state", f"{k}.state"]) == 0
    assert cli.main(["merge", "2.state", "0.state", "1.state", "--report", "merged.html"]) == 0
    whole = of(saved, lossgrad.compare(base, other, labels, worst=20))
    merged = page(saved / "merged.html")
    assert merged.images == whole.images
    length = next(k for k, row in enumerate(whole.rows) if row[0] in ("row", "file"))
    assert merged.rows[:length] == whole.rows[:length]  # the rest names its files


def test_numbers_stay_whole():
    text = elements.unbroken("0.5 \N{PLUS-MINUS SIGN} 2e-05 nats, -1.5e-3 at 95 %, a-b & c")
    whole = re.findall('<span class="number">(.*?)</span>', text)
    assert whole == ["\N{PLUS-MINUS SIGN} 2e-05", "1.5e-3", "95 %"]
    assert text.endswith(", a-b &amp; c")
    text = elements.unbroken("5 %: 2e-05, 95 % -1.5, 9 % (8 of 9), 1 % of all")
    whole = re.findall('<span class="number">(.*?)</span>', text)
    assert whole == ["5 %: 2e-05", "95 % -1.5", "9 %", "1 %"]


def test_columns_of_nothing_are_left_out():
    assert elements.table(["a", "b"], []) == ""
    assert elements.table(["a", "b"], [["", ""]]) == ""
    found = elements.table(["a", "b"], [["", "x"], ["", ""]], names=(1,))
    assert ">a<" not in found
    assert '<td class="name" dir="auto">x</td>' in found


BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
COLUMNS = {  # texts of a column, and how they are sorted from the largest on
    "loss": (["1e-3", "nan", "inf", "-2", "0.5"], ["inf", "0.5", "1e-3", "-2", "nan"]),
    "part": (
        ["9.00 %", "10.00 %", "nan %", "-1 %", "0 %"],
        ["10.00 %", "9.00 %", "0 %", "-1 %", "nan %"],
    ),
    "error": (["± 0.1", "", "± 2e-05", "± 3", "± 1"], ["± 3", "± 1", "± 0.1", "± 2e-05", ""]),
}
NAMES = {
    "texts": (["b10", "a", "b9", "é", "<b>"], ["é", "b10", "b9", "a", "<b>"]),
    "numbers": (["-5", "3", "-30", "10", "9"], ["10", "9", "3", "-5", "-30"]),
}


@pytest.mark.skipif(BROWSER is None, reason="needs a browser")
@pytest.mark.parametrize("name", NAMES)
def test_a_click_sorts(tmp_path, name):
    names, by_name = NAMES[name]
    columns = [(names, by_name), *COLUMNS.values()]
    rows = [[*texts] for texts in zip(*(texts for texts, _ in columns), strict=True)]
    table = elements.table([name, *COLUMNS], rows, (0,), sortable=True)
    script = (Path(elements.__file__).parent / "sort.js").read_text("utf-8")
    said = """
      const rows = () => [...document.querySelectorAll("tbody tr")];
      const texts = (k) => rows().map((row) => row.cells[k].textContent);
      const found = [...document.querySelectorAll("th")].map((head, k) => {
        const button = head.querySelector("button");
        button.click();
        const down = texts(k);
        button.click();
        return [down, texts(k), head.ariaSort];
      });
      document.body.textContent = JSON.stringify(found);"""
    (tmp_path / "page.html").write_text(
        f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{table}'
        f"<script>{script}</script><script>{said}</script></body></html>",
        encoding="utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [BROWSER, *options, (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(unescape(re.search("<body>(.*?)</body>", done.stdout, re.S)[1]))
    for (down, up, said), (_, expected) in zip(found, columns, strict=True):
        assert down == expected
        nothing = [text for text in expected if text in ("", "nan", "nan %")]
        some = [text for text in expected if text not in nothing]
        assert up == [*some[::-1], *nothing]
        assert said == "ascending"


def test_only_long_names_are_broken():
    table = elements.table(["name"], [["c" * 16], ["/a/" + "b" * 14], ["</td>"]], names=(0,))
    assert f'class="name" dir="auto">{"c" * 16}<' in table
    assert f'class="name broken" dir="auto">/<wbr>a/<wbr>{"b" * 14}<' in table
    assert "&lt;/<wbr>td&gt;" in table
