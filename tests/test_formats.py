"""Every file format: the figures are those of the arrays, and what is wrong with a file is said."""

import json
import os
import re
import sys
import zipfile

import numpy as np
import pytest

from lossgrad import FileError, cli, evaluate
from lossgrad.evaluation.formats import open_array
from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.sequential import Rows
from lossgrad.evaluation.shard import Reordered


def write_npz(path, arrays):
    np.savez(path, **arrays)


def write_npz_compressed(path, arrays):
    np.savez_compressed(path, **arrays)


def write_safetensors(path, arrays):
    pytest.importorskip("safetensors.numpy").save_file(dict(arrays), path)


def write_zarr(path, arrays):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w")
    for name, array in arrays.items():
        group.create_array(name, data=array, chunks=(64, *array.shape[1:]))


def write_hdf5(path, arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            chunks = (min(50, len(array)), *array.shape[1:])
            file.create_dataset(name, data=array, chunks=chunks, compression="gzip")


def arrow_table(arrays, kind):
    arrow = pytest.importorskip("pyarrow")
    columns = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            columns[name] = arrow.array(array)
        elif kind == "fixed":
            columns[name] = arrow.FixedSizeListArray.from_arrays(array.ravel(), array.shape[1])
        else:
            offsets = np.arange(0, array.size + 1, array.shape[1], dtype=np.int32)
            columns[name] = arrow.ListArray.from_arrays(offsets, array.ravel())
    return arrow.table(columns)


def write_parquet(path, arrays, kind="fixed"):
    table = arrow_table(arrays, kind)
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=130)


def write_parquet_lists(path, arrays):
    write_parquet(path, arrays, "lists")


def write_arrow(path, arrays):
    table = arrow_table(arrays, "fixed")
    ipc = pytest.importorskip("pyarrow.ipc")
    with ipc.new_file(str(path), table.schema) as file:
        file.write_table(table, max_chunksize=77)


WRITERS = {
    "npz": write_npz,
    "compressed.npz": write_npz_compressed,
    "safetensors": write_safetensors,
    "zarr": write_zarr,
    "h5": write_hdf5,
    "parquet": write_parquet,
    "lists.parquet": write_parquet_lists,
    "arrow": write_arrow,
}
EXTRAS = {
    "safetensors": ("safetensors", "safetensors"),
    "zarr": ("zarr", "zarr"),
    "h5": ("h5py", "hdf5"),
    "parquet": ("pyarrow.parquet", "arrow"),
    "arrow": ("pyarrow", "arrow"),
}


@pytest.fixture(params=WRITERS)
def format_(request):
    return request.param


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    x = 3 * random.standard_normal((500, 9)).astype(np.float32)
    return {"logits": x, "targets": random.integers(0, 9, 500)}


@pytest.mark.parametrize("block_bytes", [36, 7000, 1 << 22])
def test_both_in_one_file(tmp_path, arrays, format_, block_bytes):
    path = tmp_path / f"both.{format_}"
    WRITERS[format_](path, arrays)
    expected = evaluate(arrays["logits"], arrays["targets"])
    assert evaluate(path, block_bytes=block_bytes) == expected


def test_names_and_two_files(tmp_path, arrays, format_, capsys):
    first, second = tmp_path / f"one.{format_}", tmp_path / f"two.{format_}"
    extra = np.zeros(500, np.float32)
    WRITERS[format_](first, {"scores": arrays["logits"], "targets": extra})
    WRITERS[format_](second, {"labels": arrays["targets"]})
    expected = evaluate(arrays["logits"], arrays["targets"])
    command = ["evaluate", str(first), str(second), "--logits-key", "scores", "--json"]
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == expected.loss
    found = evaluate(first, second, logits_key="scores", targets_key="labels")
    assert found == expected
    with pytest.raises(FileError, match="has no 'logits', only scores, targets"):
        evaluate(first, second)
    with pytest.raises(FileError, match="has no 'classes', only labels"):
        evaluate(first, second, logits_key="scores", targets_key="classes")


def test_shards_and_labels_in_npy(tmp_path, arrays, format_):
    for number, rows in enumerate(np.split(np.arange(500), [123, 300])):
        part = {"logits": arrays["logits"][rows]}
        WRITERS[format_](tmp_path / f"{number}.{format_}", part)
        np.save(tmp_path / f"{number}.npy", arrays["targets"][rows])
    found = evaluate(str(tmp_path / f"[0-9].{format_}"), str(tmp_path / "[0-9].npy"))
    assert found == evaluate(arrays["logits"], arrays["targets"])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("format_", ["npz", "compressed.npz", "safetensors", "zarr", "h5"])
def test_other_axes(tmp_path, format_, axis):
    x = np.random.default_rng(1).standard_normal((70, 5, 3))
    x = x if axis == 1 else np.ascontiguousarray(np.moveaxis(x, 1, 0))
    y = np.random.default_rng(2).integers(0, 5, (70, 3))
    path = tmp_path / f"both.{format_}"
    WRITERS[format_](path, {"logits": x, "targets": y})
    expected = evaluate(x, y, axis=axis)
    for block_bytes in (1, 300, 1 << 20):
        assert evaluate(path, axis=axis, block_bytes=block_bytes) == expected


def test_a_binary_task(tmp_path, format_):
    x = np.random.default_rng(3).standard_normal(300)
    path = tmp_path / f"both.{format_}"
    WRITERS[format_](path, {"logits": x, "targets": (x > 0.5).astype(np.int8)})
    assert evaluate(path, task="binary", block_bytes=640) == evaluate(x, x > 0.5, task="binary")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_in_safetensors(tmp_path, arrays, dtype):
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    x = arrays["logits"].astype(dtype)
    path = tmp_path / "both.safetensors"
    write_safetensors(path, {"logits": x, "targets": arrays["targets"]})
    assert evaluate(path) == evaluate(x.astype(np.float32), arrays["targets"])


def test_open_data_sets_are_read_in_blocks(tmp_path, arrays):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    write_hdf5(tmp_path / "a.h5", arrays)
    write_zarr(tmp_path / "a.zarr", arrays)
    expected = evaluate(arrays["logits"], arrays["targets"])
    with h5py.File(tmp_path / "a.h5") as file:
        assert evaluate(file["logits"], file["targets"], block_bytes=100) == expected
        assert Reordered(file["logits"], 1).chunk_rows == 50
    group = zarr.open(tmp_path / "a.zarr", mode="r")
    assert evaluate(group["logits"], group["targets"], block_bytes=100) == expected


def test_stored_npz_is_read_in_pieces(tmp_path, arrays):
    path = tmp_path / "both.npz"
    arrays["fortran"] = np.asfortranarray(arrays["logits"])
    np.savez(path, **arrays)
    for name in arrays:
        array = open_array(path, name)
        assert isinstance(array, FileArray)
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("format_", EXTRAS)
def test_a_missing_library_names_the_extra(tmp_path, arrays, format_, monkeypatch, capsys):
    path = tmp_path / f"both.{format_}"
    WRITERS[format_](path, arrays)
    module, extra = EXTRAS[format_]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'lossgrad\[{extra}\]'"):
        evaluate(path)
    assert cli.main(["evaluate", str(path)]) == 2
    assert f"'lossgrad[{extra}]'" in capsys.readouterr().err


def test_damaged_files_are_file_errors(tmp_path, arrays, format_):
    path = tmp_path / f"both.{format_}"
    with pytest.raises(FileError, match="no such file"):
        evaluate(path)
    WRITERS[format_](path, arrays)
    if path.is_dir():
        pytest.skip("a directory")
    content = path.read_bytes()
    random = np.random.default_rng(4)
    messages = []
    for trial in range(40):
        damaged = bytearray(content)
        if trial % 2:
            damaged = damaged[: random.integers(0, len(content))]
        else:
            for place in random.integers(0, len(content), 60):
                damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            evaluate(path)
        except FileError as error:
            messages.append(str(error))
    assert len(messages) >= 15
    assert all(text.startswith(str(path)) and "\n" not in text for text in messages)


def test_columns_that_are_not_logits(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    labels = arrow.array([0, 1, 0])
    pair = arrow.list_(arrow.float32(), 2)
    for logits, message in (
        (arrow.array([[1.0, 2.0], None, [3.0, 4.0]], pair), "logits has a null at row 1"),
        (arrow.array([[1.0, 2.0], [None, 2.0], [3.0, 4.0]], pair), "logits has a null"),
        (arrow.array([[1.0, 2.0], [3.0], [4.0, 5.0]]), "has a list of 1 at row 1, others have 2"),
        (arrow.array(["a", "b", "c"]), "logits has type string: numbers"),
    ):
        parquet.write_table(arrow.table({"logits": logits, "targets": labels}), path)
        with pytest.raises(FileError, match=message):
            evaluate(path)


def test_compressed_fortran_order_and_plain_members(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, logits=np.asfortranarray(np.ones((4, 3))), targets=np.zeros(4, int))
    with pytest.raises(FileError, match="compressed and in Fortran order"):
        evaluate(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("logits.npy", b"no header")
    with pytest.raises(FileError, match=r"has a damaged \.npy header"):
        evaluate(path)
    np.savez(path, logits=np.ones((0, 3)), targets=np.zeros(0, int))
    with pytest.raises(FileError, match=r"holds no values: its shape is \(0, 3\)"):
        evaluate(path)


def test_a_single_array_needs_its_targets(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.eye(3))
    with pytest.raises(FileError, match="holds one array: name the file of its targets"):
        evaluate(path)
    with pytest.raises(FileError, match="is one array and has no 'logits'"):
        evaluate(path, path, logits_key="logits")


def test_wrong_mixtures():
    with pytest.raises(TypeError, match="targets is missing"):
        evaluate(np.eye(3))
    with pytest.raises(TypeError, match="targets is a ndarray where logits is a path"):
        evaluate("x.npy", np.arange(3))
    with pytest.raises(TypeError, match="sample_weight is a list where logits is a path"):
        evaluate("x.npy", "y.npy", sample_weight=[1.0])
    with pytest.raises(TypeError, match="an item of 4"):
        evaluate([(1, 2, 3, 4)])
    with pytest.raises(ValueError, match="into the pairs"):
        evaluate([(1, 2)], sample_weight=[1])


def test_iterables_of_pairs(arrays):
    x, y = arrays["logits"], arrays["targets"]
    s = np.random.default_rng(5).random(500)
    parts = np.array_split(np.arange(500), 7)
    expected = evaluate(x, y, worst=3)
    calls = []
    found = evaluate(
        ((x[part], y[part].tolist()) for part in parts),
        worst=3,
        progress=lambda *n: calls.append(n),
    )
    assert found == expected
    assert calls[-1] == (500, 500)
    weighted = [(x[part], y[part], s[part]) for part in parts]
    assert evaluate(weighted) == evaluate(x, y, sample_weight=s)
    assert evaluate(iter(())).rows == 0


def test_rows_in_pieces_can_be_had_in_any_order():
    whole = np.random.default_rng(6).standard_normal((50, 4))
    rows = Rows(whole.shape, whole.dtype, lambda: (whole[k : k + 3] for k in range(0, 50, 3)))
    for start, stop in ((0, 1), (1, 20), (20, 50), (5, 9), (4, 6), (0, 50)):
        np.testing.assert_array_equal(rows[slice(start, stop),], whole[start:stop])
        np.testing.assert_array_equal(rows[slice(start, stop), 2:], whole[start:stop, 2:])
        np.testing.assert_array_equal(rows[start, 1:3], whole[start, 1:3])


# What would be read from elsewhere, or is no number


NOT_NUMBERS = {
    "V2": (np.zeros((9, 2), "V2"), "bfloat16; save them with .astype(numpy.float32)"),
    "V0": (np.zeros((9, 2), "V0"), "logits.npy has dtype |V0: numbers are needed"),
    "record": (np.zeros((9, 2), [("a", "f4")]), "logits.npy has dtype [('a', '<f4')]: numbers"),
    "text": (np.full((9, 2), "a"), "logits.npy has dtype <U1: numbers are needed"),
    "bytes": (np.full((9, 2), b"a"), "logits.npy has dtype |S1: numbers are needed"),
    "dates": (np.zeros((9, 2), "M8[s]"), "logits.npy has dtype datetime64[s]: numbers are needed"),
    "objects": (np.full((9, 2), None), "logits.npy holds Python objects, which are never"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", NOT_NUMBERS)
def test_npz_members_that_are_no_numbers(tmp_path, save, name):
    array, message = NOT_NUMBERS[name]
    save(tmp_path / "a.npz", logits=array, targets=np.zeros(9, int))
    with pytest.raises(FileError, match=re.escape(message)):
        evaluate(tmp_path / "a.npz")


def test_bfloat16_that_numpy_saved(tmp_path, arrays):
    x = arrays["logits"].astype(pytest.importorskip("ml_dtypes").bfloat16)
    np.savez(tmp_path / "a.npz", **{**arrays, "logits": x})
    with pytest.raises(FileError, match=r"logits.npy has dtype \|V2: .* such as bfloat16; save"):
        evaluate(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["logits", "targets"])
@pytest.mark.parametrize("how", ["external", "virtual", "link"])
def test_hdf5_that_reaches_outside_its_file(tmp_path, arrays, how, name):
    h5py = pytest.importorskip("h5py")
    other, path = tmp_path / "other.h5", tmp_path / "a.h5"
    write_hdf5(other, arrays)
    write_hdf5(path, arrays)
    shape, dtype = arrays[name].shape, arrays[name].dtype
    with h5py.File(path, "a") as file:
        del file[name]
        if how == "external":
            arrays[name].tofile(tmp_path / "raw")
            where = [(str(tmp_path / "raw"), 0, arrays[name].nbytes)]
            file.create_dataset(name, shape, dtype, external=where)
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(other, name, shape)
            file.create_virtual_dataset(name, layout)
        else:
            file[name] = h5py.ExternalLink(other, name)
        np.testing.assert_array_equal(file[name][:], arrays[name])  # so it could be read
    message = "is a link to another file" if how == "link" else "has its data in other places"
    with pytest.raises(FileError, match=f"{name} {message}"):
        evaluate(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("shards", [None, (120, 9)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_chunk_of_zarr_that_is_missing(tmp_path, arrays, version, shards, axis):
    zarr = pytest.importorskip("zarr")
    if shards and version == 2:
        pytest.skip("shards are of version 3")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    x = arrays["logits"] if axis else np.ascontiguousarray(arrays["logits"].T)
    chunks = (60, 3)
    if not axis:
        chunks, shards = chunks[::-1], shards and shards[::-1]
    group.create_array("logits", data=x, chunks=chunks, shards=shards)
    group.create_array("targets", data=arrays["targets"], chunks=(100,))
    expected = evaluate(arrays["logits"], arrays["targets"])
    assert evaluate(tmp_path / "a.zarr", axis=axis, block_bytes=1000) == expected
    separator = "." if version == 2 else "/"
    place = "2", "0" if shards else "1"
    key = separator.join(place if axis else place[::-1])
    key = key if version == 2 else f"c/{key}"
    (tmp_path / "a.zarr" / "logits" / key).unlink()
    for block_bytes in (1, 1000, 1 << 22):
        with pytest.raises(FileError, match=f"chunk {key} of logits is missing"):
            evaluate(tmp_path / "a.zarr", axis=axis, block_bytes=block_bytes)


def test_fill_values_that_zarr_wrote(tmp_path):
    zarr = pytest.importorskip("zarr")
    labels = np.sort(np.arange(60) % 3)  # whole chunks of 0
    for every in (False, True):
        group = zarr.open_group(tmp_path / "a.zarr", mode="w")
        group.create_array("logits", data=np.eye(3)[labels], chunks=(10, 3))
        options = {"config": {"write_empty_chunks": every}}
        group.create_array("targets", data=labels, chunks=(10,), **options)
        if every:
            assert evaluate(tmp_path / "a.zarr").accuracy == 1.0
        else:
            with pytest.raises(FileError, match=r"c/0 of targets is missing; .*write_empty_chunks"):
                evaluate(tmp_path / "a.zarr")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_never_read(tmp_path, arrays):
    for name in WRITERS:
        os.mkfifo(tmp_path / f"pipe.{name}")
        with pytest.raises(FileError, match=r"is not a regular file|nor a regular file"):
            evaluate(tmp_path / f"pipe.{name}")
    write_zarr(tmp_path / "a.zarr", arrays)
    (tmp_path / "a.zarr" / "targets" / "c" / "1").unlink()
    os.mkfifo(tmp_path / "a.zarr" / "targets" / "c" / "1")
    with pytest.raises(FileError, match="chunk c/1 of targets is missing"):
        evaluate(tmp_path / "a.zarr")
