"""`lossgrad completion`: what a shell offers for the words of a command."""

import shutil
import subprocess
import sys

import pytest

from lossgrad import cli

# A shell's words so far, the last of them being completed; what it must then offer.
WORDS = {
    ("lossgrad", "ca"): {"calibrate"},
    ("lossgrad", "evaluate", "--sel"): {"--selection"},
    ("lossgrad", "evaluate", "--task", ""): {"multiclass", "binary"},
    ("lossgrad", "evaluate", "log"): {"logits.npy"},
    ("lossgrad", "evaluate", "logits.npy", "t", "--top-k", "l"): set(),
}
ASK = """
. ./completion
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_shtab_lossgrad lossgrad "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_bash_completes(words, tmp_path, capsys):
    (tmp_path / "completion").write_text(script("bash", capsys))
    (tmp_path / "logits.npy").touch()
    command = ["bash", "--norc", "-c", ASK, "bash", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {*done.stdout.split()} == WORDS[words], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_every_command(shell, capsys):
    said = script(shell, capsys)
    for command in ("evaluate", "compare", "merge", "calibrate", "conformal", "ood", "info"):
        assert command in said, command
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=said, text=True, check=True)


def test_without_the_library_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert "pip install 'lossgrad[completion]'" in capsys.readouterr().err
