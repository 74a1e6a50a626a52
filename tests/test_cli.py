"""The command line: its figures, its sample, and one line for everything that can go wrong."""

import functools
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import lossgrad
from lossgrad import cli, readers, sample
from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.shards import find_shards

fitted = functools.cache(sample.digits)


@pytest.fixture
def run(capsys):
    """Run a command that must succeed; give its stdout."""

    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        assert (status, output.err) == (0, "")
        return output.out

    return run


@pytest.fixture
def fail(capsys):
    """Run a command that must fail with status 2 and one line on stderr; give that line."""

    def fail(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        assert (status, output.out) == (2, "")
        assert output.err.startswith("lossgrad: error: ")
        assert output.err.count("\n") == 1
        return output.err.removeprefix("lossgrad: error: ").rstrip("\n")

    return fail


@pytest.fixture
def fitted_once(monkeypatch):
    """The sample's model is not fitted again: for what is not about its figures."""
    monkeypatch.setattr(sample, "digits", fitted)


@pytest.fixture
def files(tmp_path):
    """Write two arrays; give their paths. The default spans several blocks."""

    def files(logits=None, targets=None):
        random = np.random.default_rng(0)
        if logits is None:
            logits = random.standard_normal((100_000, 10)).astype(np.float32)
        if targets is None:
            targets = random.integers(0, 10, len(logits))
        paths = tmp_path / "logits.npy", tmp_path / "targets.npy"
        for path, array in zip(paths, (logits, targets), strict=True):
            np.save(path, np.asarray(array))
        return paths

    return files


def shell(*arguments, **keywords):
    command = [sys.executable, "-m", "lossgrad", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **keywords
    )


# Figures


def test_two_files(run, files):
    logits, targets = files()
    found = json.loads(run("evaluate", "--json", logits, targets))
    x, y = np.load(logits).astype(np.float64), np.load(targets)
    losses = np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), y]
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-7)
    assert found["loss"] == lossgrad.cross_entropy(np.load(logits), y)
    assert found["loss_bits"] == pytest.approx(found["loss"] / math.log(2), rel=1e-15)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]), rel=1e-15)
    assert found["correct"] == np.count_nonzero(x.argmax(axis=1) == y)
    assert found["accuracy"] == found["correct"] / 100_000
    assert (found["rows"], found["terms"], found["classes"]) == (100_000, 100_000, 10)
    assert (found["ignored"], found["infinite"], found["task"]) == (0, 0, "multiclass")
    assert (found["logits"], found["targets"]) == (str(logits), str(targets))
    seconds = found["seconds"]
    assert found["rows_per_second"] == pytest.approx(100_000 / seconds)
    size = x.size * 4 + y.nbytes
    assert found["gigabytes_per_second"] == pytest.approx(size / seconds / 1e9)


def test_table_says_what_json_says(run, files):
    paths = files(targets=np.arange(100_000) % 11 - (np.arange(100_000) % 11 == 10) * 110)
    found = json.loads(run("evaluate", "--json", *paths))
    assert found["ignored"] == 9090
    lines = run("evaluate", *paths).splitlines()
    table = {line[:12].rstrip(): line[12:] for line in lines}
    assert list(table) == [
        *("rows", "classes", "loss", "perplexity", "accuracy", "F1", "agreement", "top 5"),
        *("Brier", "entropy", "calibration", "speed"),
    ]
    assert table["rows"] == "100000  (9090 ignored)"
    assert table["classes"] == "10"
    loss = f"{found['loss']:.6g} \N{PLUS-MINUS SIGN} {found['loss_error']:.2g} nats"
    assert table["loss"] == f"{loss}  ({found['loss_bits']:.6g} bits)"
    assert table["top 5"] == f"{100 * found['top_k']['5']:.2f} %"
    f1 = f"{found['macro']['f1']:.4f} macro, {found['weighted']['f1']:.4f} weighted"
    assert table["F1"] == f1
    assert table["Brier"] == f"{found['brier']:.6g}"
    errors = f"{found['ece']:.4f} expected, {found['mce']:.4f} maximum error"
    assert table["calibration"] == errors
    assert table["entropy"] == f"{found['entropy']:.6g} nats"
    agreement = f"{found['matthews_corrcoef']:.4f} Matthews, {found['cohen_kappa']:.4f} kappa"
    balanced = f"{found['balanced_accuracy']:.4f} balanced accuracy"
    assert table["agreement"] == f"{agreement}, {balanced}"
    assert table["perplexity"] == f"{found['perplexity']:.6g}"
    accuracy = f"{100 * found['accuracy']:.2f} %  ({found['correct']} of 90910)"
    assert table["accuracy"] == accuracy
    assert re.fullmatch(r"[\d.e+]+ [kMG]?\s?rows/s  \([\d.e+-]+ GB/s\)", table["speed"])
    assert max(map(len, lines)) < 80


def test_ignore_index(run, files):
    logits, targets = files(np.eye(4), np.array([0, 1, 2, 2]))
    found = json.loads(run("evaluate", "--json", "--ignore-index", 2, logits, targets))
    assert (found["rows"], found["ignored"], found["terms"], found["correct"]) == (4, 2, 2, 2)
    targets = files(np.eye(4), np.array([0, 1, -1, -1]))[1]
    again = json.loads(run("evaluate", "--json", "--ignore-index", "-1", logits, targets))
    assert again["loss"] == found["loss"]


def test_axis(run, files):
    random = np.random.default_rng(1)
    x, y = random.standard_normal((6, 3, 4)), random.integers(0, 3, (6, 4))
    found = json.loads(run("evaluate", "--json", "--axis", 1, *files(x, y)))
    flat = np.moveaxis(x, 1, -1).reshape(-1, 3)
    assert found["loss"] == lossgrad.cross_entropy(flat, y.ravel())
    assert (found["rows"], found["classes"]) == (24, 3)


def test_binary_and_multi_label(run, files):
    random = np.random.default_rng(2)
    x, y = random.standard_normal((300, 5)), random.integers(0, 2, (300, 5))
    found = json.loads(run("evaluate", "--task", "binary", "--json", *files(x, y)))
    losses = np.logaddexp(0, np.where(y, -x, x))
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-13)
    assert found["accuracy"] == np.mean((x > 0) == y)
    assert (found["rows"], found["classes"], found["terms"]) == (300, 5, 1500)
    assert found["perplexity"] is None
    table = run("evaluate", "--task", "binary", *files(x, y))
    assert "labels      5\n" in table
    assert "perplexity" not in table


def test_infinite_losses_are_said_and_json_stays_json(run, files):
    paths = files(np.array([[0.0, -np.inf], [0.0, 1.0]]), np.array([1, 0]))
    found = json.loads(run("evaluate", "--json", *paths), parse_constant=pytest.fail)
    assert (found["loss"], found["perplexity"], found["infinite"]) == (None, None, 1)
    assert "infinite    1 of 2 losses\n" in run("evaluate", *paths)


def test_files_are_neither_mapped_nor_loaded(files):
    """A page of a map that is gone is a signal; numbers are read block by block."""
    logits, targets = files()
    (shard,) = find_shards({"logits": logits, "targets": targets}, {})
    for array in shard.arrays.values():
        assert isinstance(array, FileArray)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<i2"])
def test_any_array_that_npy_can_hold(run, files, dtype, order):
    x = np.random.default_rng(3).integers(-9, 9, (40, 6)).astype(dtype, order=order)
    found = json.loads(run("evaluate", "--json", *files(x, np.arange(40) % 6)))
    assert found["loss"] == pytest.approx(
        lossgrad.cross_entropy(x.astype(float), np.arange(40) % 6), rel=1e-6
    )


# Files that cannot be used


def test_missing_file(fail, files, tmp_path):
    logits, targets = files()
    missing = tmp_path / "no" / "such.npy"
    assert fail("evaluate", missing, targets) == f"{missing}: no such file"
    assert fail("evaluate", logits, missing) == f"{missing}: no such file"


def test_directory(fail, files, tmp_path):
    assert fail("evaluate", tmp_path, files()[1]) == f"{tmp_path}: is a directory"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_hang(fail, files, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    message = fail("evaluate", tmp_path / "pipe", files()[1])
    assert message == f"{tmp_path / 'pipe'}: is not a regular file"


def test_unreadable_file(fail, files, monkeypatch):
    logits, targets = files()

    def denied(self, *arguments):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    message = fail("evaluate", logits, targets)
    assert message == f"{logits}: cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is an empty file, not a .npy file"),
        (b"1.5,2.5\n", "is not a .npy file: it starts with b'1.5,2.'"),
        (b"\x93NUM", "is not a .npy file: it starts with b'\\x93NUM'"),
        (b"PK\x03\x04rest", "is a zip or .npz archive; save each array with numpy.save"),
        (b"\x93NUMPY", "has a damaged .npy header"),
        (b"\x93NUMPY\x01\x00\x76\x00{'descr'", "has a damaged .npy header"),
        (b"\x93NUMPY\x09\x00\x76\x00{'descr'", "has a damaged .npy header: format version (9, 0)"),
        (b"\x93NUMPY\x01\x00\x04\x00junk", "has a damaged .npy header"),
        (b"\x93NUMPY\x03\x00\x04\x00\x00\x00junk", "holds records (.npy format 3.0)"),
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_not_a_npy_file(fail, files, content, message, which):
    paths = files()
    paths[which].write_bytes(content)
    assert fail("evaluate", *paths).startswith(f"{paths[which]}: {message}")


@pytest.mark.parametrize("shape", ["(-1, 10)", "(3.0, 10)", "(True,)", "'x'", "(9" * 90, "(" * 300])
def test_header_with_a_bad_shape(fail, files, shape):
    logits, targets = files()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(700) + "\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    logits.write_bytes(start + header.encode() + bytes(400))
    assert fail("evaluate", logits, targets).startswith(f"{logits}: has a damaged .npy header: ")


def test_header_that_python_2_wrote(run, files):
    logits, targets = files(np.zeros((4, 2)), np.zeros(4, dtype=int))
    content = logits.read_bytes()
    logits.write_bytes(content.replace(b"(4, 2), }  ", b"(4L, 2L), }"))
    assert logits.read_bytes() != content
    assert json.loads(run("evaluate", "--json", logits, targets))["rows"] == 4


def test_no_damage_to_a_header_gives_a_traceback(files):
    logits, _ = files(np.zeros((20, 10)))
    content = logits.read_bytes()
    random = np.random.default_rng(4)
    messages = []
    for _ in range(500):
        damaged = bytearray(content)
        for place in random.integers(0, 128, random.integers(1, 6)):
            damaged[place] = random.integers(0, 256)
        logits.write_bytes(damaged)
        try:
            readers.open_npy(logits)
        except readers.FileError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(text.startswith(f"{logits}: ") and "\n" not in text for text in messages)


@pytest.mark.parametrize("lost", [1, 1000, 3_999_999])
def test_truncated_file(fail, files, lost):
    logits, targets = files()
    content = logits.read_bytes()
    logits.write_bytes(content[:-lost])
    assert fail("evaluate", logits, targets) == (
        f"{logits}: is truncated: float32 of shape (100000, 10) takes 4000000 bytes, "
        f"{4_000_000 - lost} are there"
    )


@pytest.mark.parametrize("shape", [(0, 10), (0,), (5, 0)])
def test_no_values(fail, files, shape):
    logits, targets = files(np.zeros(shape), np.zeros(5, dtype=int))
    assert fail("evaluate", logits, targets) == f"{logits}: holds no values: its shape is {shape}"


def test_objects_are_never_unpickled(fail, tmp_path, files):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    logits, targets = files()
    np.save(logits, np.array([Trap()], dtype=object), allow_pickle=True)
    assert fail("evaluate", logits, targets).startswith(f"{logits}: holds Python objects")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("dtype", ["U3", "complex128", "M8[s]", [("a", "f4"), ("b", "f4")]])
def test_logits_of_a_wrong_type(fail, files, dtype):
    logits, targets = files(np.zeros((5, 2), dtype=dtype), np.zeros(5, dtype=int))
    message = fail("evaluate", logits, targets)
    assert message.startswith(f"{logits}: ")


@pytest.mark.parametrize("dtype", ["bool", "complex128", "<U3"])
def test_labels_of_a_wrong_type(fail, files, dtype):
    logits, targets = files(np.zeros((5, 2)), np.zeros(5, dtype=dtype))
    message = fail("evaluate", logits, targets)
    if dtype == "<U3":
        assert message.startswith(f"{targets}: dtype <U3, such as '': labels that are names need")
    else:
        assert message == f"{targets}: dtype {dtype} where integer labels are needed"


def test_name_that_would_break_the_line(fail, files, tmp_path):
    bad = tmp_path / "two\nlines.npy"
    assert fail("evaluate", bad, files()[1]) == f"{tmp_path}/two\\nlines.npy: no such file"
    assert fail("evaluate", "a\0b", files()[1]).startswith("a\\x00b: ")


# Arrays that do not fit, and values


def test_wrong_shapes(fail, files):
    logits, targets = files(np.zeros((8, 3)), np.zeros(7, dtype=int))
    expected = f"{targets}: shape (7,) where logits of shape (8, 3) need (8,)"
    assert fail("evaluate", logits, targets) == expected
    swapped = fail("evaluate", targets, logits)
    assert swapped == f"{targets}: shape (7,) is not (rows, classes); are the two swapped?"
    message = fail("evaluate", "--task", "binary", logits, targets)
    assert message == f"{targets}: shape (7,) differs from the logits' (8, 3)"
    assert fail("evaluate", "--axis", 4, *files()).endswith("shape (100000, 10) has no axis 4")


@pytest.mark.parametrize("row", [0, 70_001, 99_999])
def test_label_out_of_range(fail, files, row):
    labels = np.zeros(100_000, dtype=np.int64)
    labels[row] = 10
    logits, targets = files(targets=labels)
    assert fail("evaluate", logits, targets) == (
        f"{targets}: row {row}: label 10 is outside [0, 10) and is not ignore_index (-100)"
    )


@pytest.mark.parametrize("row", [0, 70_001, 99_999])
def test_nan_in_a_row(fail, files, row):
    values = np.zeros((100_000, 10), dtype=np.float32)
    values[row, 7] = np.nan
    logits, targets = files(values)
    message = fail("evaluate", "--strict", logits, targets)
    assert message == f"{logits}: row {row}: the logit of class 7 is nan"


def test_binary_values(fail, files):
    values = np.zeros((50_000, 3))
    values[44_000, 1] = 2
    paths = files(np.zeros((50_000, 3)), values)
    message = fail("evaluate", "--task", "binary", *paths)
    assert message == f"{paths[1]}: row 44000: label 1: target 2.0 is outside [0, 1]"
    values[44_000, 1] = np.nan
    paths = files(values, np.zeros((50_000, 3)))
    message = fail("evaluate", "--task", "binary", "--strict", *paths)
    assert message == f"{paths[0]}: row 44000: label 1: logit is nan"


def test_every_row_ignored(fail, files):
    logits, targets = files(np.zeros((3, 2)), np.full(3, -100))
    message = fail("evaluate", logits, targets)
    assert message == f"{targets}: every label is ignored, no row is left"


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["evaluate"], "give LOGITS and TARGETS, or try --sample digits"),
        (["evaluate", "x.npy"], "TARGETS is missing"),
        (["evaluate", "x.npy", "y.npy", "z.npy"], "z.npy"),
        (["evaluate", "x.npy", "y.npy", "--save", "d"], "--save goes with --sample"),
        (["evaluate", "--sample", "digits", "x.npy"], "--sample takes no files"),
        (["evaluate", "--sample", "faces"], "faces"),
        (["evaluate", "--sample", "digits", "--task", "binary"], "is multiclass"),
        (["evaluate", "--task", "ranking", "x.npy", "y.npy"], "ranking"),
    ],
)
def test_usage_errors(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "usage: lossgrad info" not in output.err


def test_version_and_info(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"lossgrad {lossgrad.__version__} (")
    assert said.endswith(f", NumPy {np.__version__}, Python {platform.python_version()})\n")
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().out.strip()


def test_help_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in (["--help"], ["evaluate", "--help"], ["merge", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80, lines


# Interruption and broken outputs


def test_interrupt(capsys, files, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("lossgrad.evaluation.share.Share.add", interrupted)
    assert cli.main(["evaluate", *map(str, files())]) == 130
    assert capsys.readouterr() == ("", "lossgrad: error: interrupted\n")


def test_reader_that_goes_away():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "lossgrad", "info"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk():
    command = [sys.executable, "-m", "lossgrad", "info"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 2
    expected = "lossgrad: error: standard output: No space left on device\n"
    assert done.stderr == expected


# Progress


class Bar:
    """Stands in for tqdm: remembers what it was told."""

    made: ClassVar[list["Bar"]] = []

    def __init__(self, **keywords):
        self.keywords, self.n, self.total, self.closed = keywords, 0, None, False
        self.ncols = self.nrows = -1  # what tqdm makes of a terminal of 0 columns, to draw nothing
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True

    def update(self, rows):
        self.n += rows

    def set_postfix_str(self, text, refresh):
        self.postfix = text


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    Bar.made.clear()
    return Bar.made


def test_progress_bar_on_a_terminal(run, files, bars, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run("evaluate", *files())
    (bar,) = bars
    assert (bar.n, bar.total, bar.closed) == (100_000, 100_000, True)
    assert re.fullmatch(r"\d+\.\d\d GB/s", bar.postfix)
    assert bar.keywords["file"] is sys.stderr
    assert (bar.ncols, bar.nrows) == (None, None)


def test_no_progress_bar_elsewhere(run, files, bars):
    run("evaluate", *files())
    assert bars == []


def test_no_progress_bar_without_tqdm(run, files, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert run("evaluate", *files()).startswith("rows ")


# The sample


def test_sample_then_its_files(tmp_path):
    """The whole way of a newcomer, in a real shell."""
    directory = tmp_path / "my digits"
    done = shell("evaluate", "--sample", "digits", "--save", directory)
    assert (done.returncode, done.stderr) == (0, "")
    command = shlex.split(done.stdout.splitlines()[-1])
    paths = [str(directory / "logits.npy"), str(directory / "targets.npy")]
    assert command == ["lossgrad", "evaluate", *paths]
    again = shell(*command[1:])
    assert (again.returncode, again.stderr) == (0, "")

    def figures(text):
        return [line for line in text.splitlines() if re.match("rows|classes|loss|perp|acc", line)]

    assert len(figures(done.stdout)) == 5
    assert figures(again.stdout) == figures(done.stdout)


def test_sample_figures(run, tmp_path):
    found = json.loads(run("evaluate", "--sample", "digits", "--json", "--save", tmp_path))
    assert found["saved"] == [str(tmp_path / "logits.npy"), str(tmp_path / "targets.npy")]
    x, y = (np.load(path) for path in found["saved"])
    assert (x.dtype, x.shape, y.shape) == (np.float64, (597, 10), (597,))
    top = x.max(axis=1, keepdims=True)
    losses = top[:, 0] + np.log(np.exp(x - top).sum(axis=1)) - x[np.arange(597), y]
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-12)
    assert found["accuracy"] == np.mean(x.argmax(axis=1) == y) > 0.9
    assert found["rows"] == 597
    assert found["training_rows"] == 1200
    assert found["training_loss"] < found["loss"] < 0.4
    assert found["training_seconds"] > 0


def test_sample_is_deterministic():
    first, second = fitted(), sample.digits()
    np.testing.assert_array_equal(first.logits, second.logits)
    assert (first.training_loss, first.calls) == (second.training_loss, second.calls)


def test_sample_data_is_the_published_set():
    images, labels = sample.load_digits()
    assert (images.shape, images.dtype) == ((1797, 64), np.uint8)
    assert (images.min(), images.max()) == (0, 16)
    # The class counts that the data set's own description states.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(np.bincount(labels), counts)
    datasets = pytest.importorskip("sklearn.datasets")
    bundle = datasets.load_digits()
    np.testing.assert_array_equal(images, bundle.data)
    np.testing.assert_array_equal(labels, bundle.target)


def test_sample_model_is_the_minimum():
    """A first-order condition: the gradient in NumPy's own terms, intercepts not shrunk."""
    images, labels = sample.load_digits()
    x, y = images[:1200] / 16.0, labels[:1200].astype(int)
    weights, intercepts, _ = sample.fit_softmax_regression(x, y, classes=10, l2=1 / 1200)
    scores = np.exp(x @ weights.T + intercepts)
    p = scores / scores.sum(axis=1, keepdims=True)
    slopes = (p - np.eye(10)[y]) / 1200
    assert np.abs(slopes.T @ x + weights / 1200).max() < 2e-9
    assert np.abs(slopes.sum(axis=0)).max() < 2e-9
    loss = -np.log(p[np.arange(1200), y]).mean()
    assert fitted().training_loss == pytest.approx(loss, rel=1e-9)


def test_optimiser_on_a_badly_scaled_bowl():
    scales = np.logspace(-2, 2, 12)
    target = np.linspace(-3, 3, 12)

    def bowl(x):
        return 0.5 * float(scales @ (x - target) ** 2), scales * (x - target)

    x, calls = sample.minimize(bowl, np.zeros(12))
    np.testing.assert_allclose(x, target, atol=1e-7)
    assert calls < 500
    at_the_start = sample.minimize(bowl, target)
    np.testing.assert_array_equal(at_the_start[0], target)
    assert at_the_start[1] == 1


@pytest.mark.usefixtures("fitted_once")
def test_save_does_not_overwrite_other_files(run, fail, tmp_path):
    save = ("evaluate", "--sample", "digits", "--save", tmp_path)
    run(*save)
    run(*save)  # its own files it may
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logits.npy", "targets.npy"]
    (tmp_path / "logits.npy").unlink()
    (tmp_path / "targets.npy").write_bytes(b"precious")
    message = fail(*save)
    assert message == f"{tmp_path / 'targets.npy'}: exists with other contents and is left alone"
    assert (tmp_path / "targets.npy").read_bytes() == b"precious"
    assert not (tmp_path / "logits.npy").exists()


@pytest.mark.usefixtures("fitted_once")
def test_save_where_nothing_can_be_written(fail, tmp_path, full_disk):
    file = tmp_path / "file"
    file.touch()
    message = fail("evaluate", "--sample", "digits", "--save", file)
    assert message.startswith(f"{file}: cannot be made a directory: ")
    message = fail("evaluate", "--sample", "digits", "--save", file / "below")
    assert message.startswith(f"{file / 'below'}: cannot be made a directory: ")

    full_disk()
    message = fail("evaluate", "--sample", "digits", "--save", tmp_path / "new")
    expected = f"{tmp_path / 'new' / 'logits.npy'}: cannot be written: No space left on device"
    assert message == expected
    assert list((tmp_path / "new").iterdir()) == []


def test_errors_in_a_real_shell(tmp_path):
    done = shell("evaluate", tmp_path / "a.npy", tmp_path / "b.npy")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"lossgrad: error: {tmp_path / 'a.npy'}: no such file\n"


# Names that are not what they seem


SEEM = {"\x1b": "\\x1b", "\u202e": "\\u202e", "\x9b": "\\x9b", "\u2066": "\\u2066", "\r": "\\r"}


@pytest.fixture(params=SEEM)
def seeming(request):
    """A name with such a character, and how it is to be shown."""
    return f"a{request.param}b", f"a{SEEM[request.param]}b"


def hidden(text):
    return [one for one in text if one != "\n" and not one.isprintable()]


def test_names_of_files_and_arrays_are_shown_escaped(fail, files, tmp_path, seeming):
    name, shown = seeming
    missing = tmp_path / f"{name}.npy"
    assert fail("evaluate", missing, files()[1]) == f"{tmp_path}/{shown}.npy: no such file"
    np.savez(tmp_path / "x.npz", **{name: np.eye(3), "other": 1})
    assert f"only {shown}, other" in fail("evaluate", tmp_path / "x.npz")
    assert f"has no '{shown}s'" in fail("evaluate", tmp_path / "x.npz", "--logits-key", f"{name}s")


def test_usage_errors_show_names_escaped(capsys, seeming):
    name, shown = seeming
    for wrong in (["a", "b", name], [f"--{name}"]):
        with pytest.raises(SystemExit):
            cli.main(["evaluate", *wrong])
        err = capsys.readouterr().err
        assert shown in err
        assert not hidden(err)


@pytest.mark.usefixtures("fitted_once")
def test_names_of_classes_and_folders_are_shown_escaped(run, tmp_path, seeming):
    name, shown = seeming
    if name == "a\rb":
        name, shown = "a\x08b", "a\\x08b"  # a carriage return ends a line of the file
    names = tmp_path / "names"
    names.write_text("".join(f"{name}{c}\n" for c in range(10)))
    options = "--class-names", names, "--save", tmp_path / name
    out = run("evaluate", "--sample", "digits", *options)
    assert f"{shown}0 " in out
    assert f"{tmp_path}/{shown}/logits.npy" in out
    assert not hidden(out)
    found = json.loads(run("evaluate", "--sample", "digits", *options, "--json"))
    assert found["per_class"]["name"][3] == f"{name}3"  # data, not for show


@pytest.mark.usefixtures("fitted_once")
def test_joiners_and_accents_stay(run, tmp_path):
    names = [f"caf\u00e9 \u0915\u094d\u200d\u0937 {c}" for c in range(10)]
    (tmp_path / "names").write_text("\n".join(names), encoding="utf-8")
    out = run("evaluate", "--sample", "digits", "--class-names", tmp_path / "names")
    assert all(name in out for name in names)


def test_labels_that_the_binary_task_leaves_out(tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("x.npy", "t.npy")]
    x, t = np.linspace(-3, 3, 12).reshape(6, 2), np.array([[0, 1], [-1, 1], [1, -1]] * 2)
    for path, array in zip(paths, (x, t), strict=True):
        np.save(path, array)
    command = ["evaluate", "--task", "binary", *paths, "--ignore-index", "-1"]
    assert cli.main(command) == 0
    assert "rows        6  (4 labels ignored)" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = t >= 0
    assert found["loss"] == lossgrad.evaluate(x[kept], t[kept], task="binary").loss
