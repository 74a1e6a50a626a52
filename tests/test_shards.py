"""Files that patterns find: their order, and which are paired."""

import numpy as np
import pytest

from lossgrad import FileError, cli, evaluate


def write(directory, names, arrays):
    for name, array in zip(names, arrays, strict=True):
        np.save(directory / f"{name}.npy", array)


@pytest.fixture
def rows(rng):
    return rng.standard_normal((12, 1, 4)), rng.integers(0, 4, (12, 1))


def both(directory, one="lo-*.npy", other="ta-*.npy"):
    return evaluate(str(directory / one), str(directory / other), worst=3)


def test_numbers_are_sorted_as_numbers(tmp_path, rows):
    x, y = rows
    write(tmp_path, [f"lo-{k}" for k in range(12)], x)
    write(tmp_path, [f"ta-{k:02}" for k in range(12)], y)
    found = both(tmp_path)
    want = evaluate(x[:, 0], y[:, 0], worst=3)
    assert (found.total, found.confusion.tolist()) == (want.total, want.confusion.tolist())
    shards = [f"lo-{row.row}.npy" for row in want.worst]
    assert [row.source.rpartition("/")[2] for row in found.worst] == shards


def test_parts_of_parts(tmp_path, rows):
    x, y = rows
    where = [(epoch, part) for epoch in (2, 10) for part in (1, 5, 9, 10, 11, 100)]
    write(tmp_path, [f"v3-lo-{e}-{p}-of-12" for e, p in where], x)
    write(tmp_path, [f"ta-{e}-{p:04}" for e, p in where], y)
    found = both(tmp_path, "v3-lo-*.npy")  # 3 and 12 are in all names: they tell nothing
    assert found.total == evaluate(x[:, 0], y[:, 0]).total


@pytest.mark.parametrize(
    ("logits", "targets", "pair"),
    [
        ([0, 1, 2], [0, 1, 3], (2, 3)),
        ([0, 1, 2], [1, 2, 3], (0, 1)),
        ([1, 10, 2], [1, 11, 2], (10, 11)),
    ],
)
def test_numbers_that_differ_name_the_pair(tmp_path, rows, logits, targets, pair, capsys):
    x, y = rows
    write(tmp_path, [f"lo-{k}" for k in logits], x[:3])
    write(tmp_path, [f"ta-{k}" for k in targets], y[:3])
    message = f"ta-{pair[1]}.npy: is matched with .*lo-{pair[0]}.npy, but the numbers in their"
    with pytest.raises(FileError, match=message):
        both(tmp_path)
    assert cli.main(["evaluate", str(tmp_path / "lo-*.npy"), str(tmp_path / "ta-*.npy")]) == 2
    assert f"ta-{pair[1]}.npy: is matched with" in capsys.readouterr().err
    names = [
        [str(tmp_path / f"{of}-{k}.npy") for k in every]
        for of, every in (("lo", logits), ("ta", targets))
    ]
    assert evaluate(*names).rows == 3  # lists say themselves what belongs together


def test_names_without_numbers(tmp_path, rows):
    x, y = rows
    write(tmp_path, ["lo-test", "lo-train"], x[:2])
    write(tmp_path, ["ta-test", "ta-train"], y[:2])
    assert both(tmp_path).rows == 2
