"""Files that are written whole: what they replace, with which mode, and what is left alone."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lossgrad import FileError, cli
from lossgrad.evaluation.save import check_place, read_whole, write_whole

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links and devices")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def pair(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "y.npy", np.arange(3))
    return [str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o644, 0o660, 0o400, 0o777])
def test_the_mode_is_kept(tmp_path, kept):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(kept)
    write_whole(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", kept)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_new_files(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "file", b"")
        assert mode(tmp_path / "file") == 0o666 & ~mask
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_states_keep_their_mode(tmp_path, pair):
    state = tmp_path / "state"
    assert cli.main(["evaluate", *pair, "--state", str(state)]) == 0
    state.chmod(0o600)
    for command in (["evaluate", *pair], ["merge", str(state)]):
        assert cli.main([*command, "--state", str(state)]) == 0
        assert mode(state) == 0o600


def test_links_planted_beside_the_file_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (f".file.{os.getpid()}.part", "file.part", ".file.part"):
        (folder / name).symlink_to(victim)
    write_whole(folder / "file", b"new")
    assert victim.read_bytes() == b"mine"
    assert (folder / "file").read_bytes() == b"new"
    assert len(list(folder.iterdir())) == 4


def test_a_link_to_the_file_stays_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a" / "file")
    for content in (b"one", b"two"):
        write_whole(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "a" / "file").read_bytes() == content
    assert os.listdir(tmp_path / "a") == ["file"]


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    full_disk()
    with pytest.raises(FileError, match="cannot be written: No space left on device"):
        write_whole(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


DEVICES = ["/dev/full", "/dev/zero", "/dev/null"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("option", ["--state", "--class-names"])
def test_devices_are_never_read(capsys, pair, device, option):
    if not os.path.exists(device):
        pytest.skip("no such device")
    assert cli.main(["evaluate", *pair, option, device]) == 2
    assert capsys.readouterr().err == f"lossgrad: error: {device}: is not a regular file\n"
    for command in (
        ["merge", device],
        ["evaluate", device, pair[1]],
        ["evaluate", pair[0], device],
    ):
        assert cli.main(command) == 2
        assert capsys.readouterr().err == f"lossgrad: error: {device}: is not a regular file\n"


def test_pipes_are_never_read(capsys, pair, tmp_path):
    pipe = str(tmp_path / "logits.npy")
    os.mkfifo(pipe)
    for command in (
        ["evaluate", *pair, "--state", pipe],
        ["evaluate", *pair, "--class-names", pipe],
        ["evaluate", "--sample", "digits", "--save", str(tmp_path)],
        ["merge", pipe],
    ):
        assert cli.main(command) == 2
        assert capsys.readouterr().err == f"lossgrad: error: {pipe}: is not a regular file\n"
    with pytest.raises(FileError, match="is a directory"):
        read_whole(tmp_path)


def test_reports_may_go_to_pipes(pair):
    pytest.importorskip("matplotlib")
    files = [pair[0]] * 2  # equal models: nothing is drawn, which would be most of the time
    command = [sys.executable, "-m", "lossgrad", "compare", *files, "--report", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page, _, table = done.stdout.partition("</html>\n")
    assert page.startswith("<!DOCTYPE html>")
    assert table.startswith("rows ")


def test_streams_take_what_is_written(tmp_path):
    check_place("/dev/null")
    write_whole("/dev/null", b"content")
    os.mkfifo(tmp_path / "pipe")
    check_place(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit((tmp_path / "pipe").read_bytes)
        write_whole(tmp_path / "pipe", b"content")
        assert reading.result(10) == b"content"


def test_places_that_are_neither(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import socket

    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(FileError, match="is neither a regular file nor a pipe"):
            check_place("socket")
    with pytest.raises(FileError, match="Is a directory"):
        check_place(".")
