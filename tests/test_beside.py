"""Files beside arrays: a path for either, and weights for both."""

import numpy as np
import pytest

from lossgrad import FileError, InputError, LabelError, evaluate

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 50)
S = np.random.default_rng(2).random(50)
CUTS = [slice(0, 9), slice(9, 30), slice(30, 50)]


@pytest.fixture
def files(tmp_path):
    """Patterns of three files each, and whole ones."""
    for name, array in (("lo", X), ("ta", Y), ("we", S)):
        np.save(tmp_path / f"{name}.npy", array)
        for k, cut in enumerate(CUTS):
            np.save(tmp_path / f"{name}-{k}.npy", array[cut])
    return lambda name: str(tmp_path / f"{name}.npy")


@pytest.mark.parametrize("block_bytes", [16, 100, 1 << 20])
def test_either_may_be_a_path(files, block_bytes):
    want = evaluate(X, Y, sample_weight=S)
    for x in (X, files("lo"), files("lo-[0-9]")):
        for y in (Y, Y.tolist(), Y.astype(float), files("ta"), files("ta-[0-9]")):
            for s in (S, S.tolist(), files("we"), files("we-[0-9]")):
                kinds = {"-[" in one for one in (x, y, s) if isinstance(one, str)}
                if len(kinds) < 2:  # one file, or three
                    found = evaluate(x, y, sample_weight=s, block_bytes=block_bytes)
                    assert found == want


def test_both_tasks(files):
    t = (np.random.default_rng(3).random((50, 4)) < 0.5).astype(np.int8)
    s = np.random.default_rng(4).random((50, 4))
    want = evaluate(X, t, task="binary", sample_weight=s)
    for x in (files("lo"), files("lo-[0-9]")):
        assert evaluate(x, t, task="binary", sample_weight=s) == want


@pytest.mark.parametrize("name", ["lo", "lo-[0-9]"])
def test_rows_of_the_array_are_named(files, name):
    bad = np.where(np.arange(50) == 33, 9, Y)
    for block_bytes in (16, 1 << 20):
        with pytest.raises(LabelError, match=r"^targets: row 33: label 9 is outside \[0, 4\)"):
            evaluate(files(name), bad, block_bytes=block_bytes)
        weights = np.where(np.arange(50) == 33, -1.0, S)
        with pytest.raises(InputError, match=r"^sample_weight: row 33: weight -1\.0 is not"):
            evaluate(files(name), Y, sample_weight=weights, block_bytes=block_bytes)


def test_rows_of_the_file_are_named(files, tmp_path):
    np.save(tmp_path / "ta-1.npy", np.where(np.arange(21) == 7, 9, Y[9:30]))
    with pytest.raises(FileError, match=r"ta-1.npy: row 7: label 9 is outside \[0, 4\)"):
        evaluate(X, files("ta-[0-9]"))


def test_lengths_that_differ(files):
    with pytest.raises(InputError, match="targets: 49 rows where the files have 50"):
        evaluate(files("lo-[0-9]"), Y[:-1])
    with pytest.raises(InputError, match=r"targets: shape \(49,\) where logits of shape \(50, 4\)"):
        evaluate(files("lo"), Y[:-1])
    with pytest.raises(FileError, match="no such file"):
        evaluate(files("none"), Y)
    with pytest.raises(FileError, match="no such file"):
        evaluate(X, files("none"))


def test_masks_beside_files(files):
    with pytest.raises(TypeError, match="targets: is a masked array"):
        evaluate(files("lo"), np.ma.array(Y, mask=Y == 1))
