"""What is published is what it should be: .ci/dist.py finds what is not, and versions agree."""

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

import lossgrad

ROOT = Path(__file__).parents[1]
PARTS = ["kernels.abi3.so", "_kernels/crossing.cp311-win_amd64.pyd", "kernels.pxd", "py.typed"]
PARTS += ["include/lossgrad.h"]


@pytest.fixture(scope="module")
def dist():
    """.ci/dist.py, which is no module of a package."""
    path = ROOT / ".ci" / "dist.py"
    if not path.exists():
        pytest.skip("needs the repository")
    spec = importlib.util.spec_from_file_location("dist", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path, parts, size=0):
    with zipfile.ZipFile(path, "w") as archive:
        for part in parts:
            archive.writestr(f"lossgrad/{part}", b"\0" * size)
    return path


def test_a_wheel_is_small_and_whole(dist, tmp_path):
    path = tmp_path / "lossgrad.whl"
    assert [*dist.of_wheel(wheel(path, PARTS))] == []
    for part in PARTS:
        (said,) = dist.of_wheel(wheel(path, [one for one in PARTS if one != part]))
        assert said.startswith("lacks ")
    (said,) = dist.of_wheel(wheel(path, PARTS, size=dist.LARGEST // 4))
    assert said == "is of 5.0 MiB, more than 4"


def test_an_sdist_is_whole(dist, tmp_path):
    path = tmp_path / "lossgrad.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in dist.IN_SDIST[1:]:
            archive.addfile(tarfile.TarInfo(f"lossgrad-1/{name}"), io.BytesIO())
    assert [*dist.of_sdist(path)] == [f"lacks {dist.IN_SDIST[0]}"]


def test_an_empty_folder_is_no_release(dist, tmp_path, capsys):
    assert dist.main([str(tmp_path)]) == 1
    assert "has no wheel and no sdist" in capsys.readouterr().out


def test_versions_agree(dist):
    """But for the change log's, which has one once there is a release."""
    said = [*dist.of_release(f"v{lossgrad.__version__}")]
    assert not [line for line in said if "has version" in line and "CHANGELOG" not in line]
    other = [line for line in dist.of_release("v0.0") if line.endswith(", not 0.0")]
    assert len(other) == 4
