"""The report: one file that stands alone, with the figures of the result."""

import base64
import itertools
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from lossgrad import Evaluation, FileError, cli, evaluate, report, sample
from lossgrad.evaluation.report import plots

pytest.importorskip("matplotlib")
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags nest; collects text, images and references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.images, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        for name, value in attributes:
            assert name not in ("href", "onclick")
            if name == "src":
                self.images.append(value)
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def page(path):
    return Page(path.read_text(encoding="utf-8"))


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
    expected = [f"{worst.loss:.6g}", f"<{worst.label}> & co", f"<{worst.predicted}> & co"]
    assert rows[f"digits {worst.row}"][:3] == expected
    order = np.argsort(result.f1)
    assert rows[f"<{order[0]}> & co"][-1] == f"{result.f1[order[0]]:.4f}"
    wrong = result.confusion - np.diag(result.confusion.diagonal())
    label, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    part = f"{100 * wrong.max() / result.support[label]:.1f} %"
    mistake = [f"<{label}> & co", f"<{predicted}> & co", f"{wrong.max():.6g}", part]
    assert mistake in found.rows
    assert len(found.images) == 4
    for image in found.images:
        head, data = image.split(",")
        assert head == "data:image/svg+xml;base64"
        drawing = ElementTree.fromstring(base64.b64decode(data))
        assert drawing.tag.endswith("svg")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in path.read_text()
    assert not re.search(r"\son\w+=|<script|<svg|<font", path.read_text())
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import", path.read_text())
    assert len(path.read_bytes()) < 1_000_000


@pytest.mark.parametrize("classes", [1, 2, 40, 300])
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
    drawing = base64.b64decode(page(tmp_path / "r.html").images[2].split(",")[1]).decode()
    ticks = re.findall("<!-- (.*?) -->", drawing)
    assert {"0", "\N{INFINITY}"} <= set(ticks)
    assert not {f"{2.0**-41:.2g}", f"{2.0**23:.2g}"} & set(ticks)


def test_binary(tmp_path):
    x = np.random.default_rng(1).standard_normal((100, 3))
    report.write(tmp_path / "r.html", evaluate(x, x > 0.3, task="binary"), about={"a": ["<b>", 1]})
    found = page(tmp_path / "r.html")
    assert "a: <b>, 1" in found.words
    assert len(found.images) == 3


def test_the_same_result_gives_the_same_file(tmp_path):
    result = evaluate(np.eye(3), [0, 1, 1])
    report.write(tmp_path / "a", result)
    report.write(tmp_path / "b", result)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


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
    result = evaluate(np.eye(3), [0, 1, 1], worst=1)
    state = Evaluation(worst=1)
    state.update(np.eye(3), [0, 1, 1], source="two\rfiles\x9b")
    for found in (result, state.result()):
        report.write(tmp_path / "r.html", found, class_names=names, about=about)
    text = (tmp_path / "r.html").read_text()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    words = page(tmp_path / "r.html").words
    assert "logits: \\u2066x\\nname, targets: \\udc80" in words
    for shown in ("a\\x1b[31mb", "\\u202egnp.exe", "$\\frac{$", "two\\rfiles\\x9b 2"):
        assert shown in words


def test_rows_without_weight(tmp_path):
    result = evaluate(np.eye(3), [0, 1, 1], sample_weight=np.zeros(3))
    report.write(tmp_path / "r.html", result)
    assert len(page(tmp_path / "r.html").images) == 4
