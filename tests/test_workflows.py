"""Workflows call what anybody can run: a step is one command, of the project or to install."""

import os
import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
COMMANDS = re.compile(
    r"(\.ci/\w+|python (\.ci/\w+\.py|-m (tests|benchmarks)\.?\w*|-m build)|pytest|lossgrad"
    r"|cibuildwheel|pip install|sudo apt-get install)( [^|&;]*)?"
)


def steps(file):
    for name, job in yaml.safe_load(file.read_text())["jobs"].items():
        for step in job.get("steps", []):
            yield name, step


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_step_is_a_command_of_the_repository(file):
    ran = [step["run"] for _, step in steps(file) if "run" in step]
    assert not [line for line in ran if not COMMANDS.fullmatch(line)]
    named = {path for line in ran for path in re.findall(r"\.ci/[\w.]+", line)}
    for path in named:
        assert (ROOT / path).exists(), path
        assert path.endswith(".py") or os.access(ROOT / path, os.X_OK), path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rights_are_the_least(file):
    """Nothing may write unless its job says so, and no step's shell sees what a stranger named."""
    loaded = yaml.safe_load(file.read_text())
    assert loaded["permissions"] == {"contents": "read"}
    for name, step in steps(file):
        assert "github." not in step.get("run", ""), name
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, name


def test_every_command_of_ci_is_documented():
    """CONTRIBUTING.md says what each is for."""
    said = (ROOT / "CONTRIBUTING.md").read_text()
    commands = [p.name for p in (ROOT / ".ci").iterdir() if p.is_file()]
    assert not [name for name in commands if f".ci/{name}" not in said]
