"""The documentation of the evaluation runs: its Python and its commands, in their order."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from lossgrad import cli
from lossgrad.evaluation import evaluate, grouped, histogram, state
from lossgrad.evaluation.comparison import compare
from lossgrad.evaluation.comparison import state as comparison
from lossgrad.evaluation.passes import conformal, ood, temperature

PAGE = Path(__file__).parent.parent / "docs" / "evaluation.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    for module in ("matplotlib", "dask.array"):
        pytest.importorskip(module)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert {kind for kind, _ in blocks} == {"python", "sh", "console"}
    # The plots of every kind of result are drawn in tests/test_report.py.
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    names = {}
    for kind, text in blocks:
        if kind == "python":
            exec(text, names)
        elif kind == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "lossgrad"
                assert cli.main(arguments) == 0, capsys.readouterr().err
    assert (tmp_path / "report.html").exists()


MODULES = [
    state,
    evaluate,
    grouped,
    compare,
    comparison,
    histogram,
    temperature,
    conformal,
    ood,
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_are_true(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
