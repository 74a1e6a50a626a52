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


@pytest.mark.parametrize("block_bytes", [108, 7000, 1 << 22])
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
    x = np.random.default_rng(1).standard_normal((30, 5, 3))
    x = x if axis == 1 else np.ascontiguousarray(np.moveaxis(x, 1, 0))
    y = np.random.default_rng(2).integers(0, 5, (30, 3))
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
    "V3": (np.zeros((9, 2), "V3"), "logits.npy has dtype |V3: numbers are needed"),
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


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
def test_bfloat16_that_numpy_saved(tmp_path, arrays, save):
    x, y = arrays["logits"].astype(pytest.importorskip("ml_dtypes").bfloat16), arrays["targets"]
    if save is np.save:
        paths = tmp_path / "x.npy", tmp_path / "y.npy"
        for path, array in zip(paths, (x, y), strict=True):
            save(path, array)
    else:
        paths = (tmp_path / "a.npz",)
        save(*paths, logits=x, targets=y)
    assert evaluate(*paths) == evaluate(x, y)


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
    assert evaluate(tmp_path / "a.zarr", axis=axis, block_bytes=4000) == expected
    separator = "." if version == 2 else "/"
    place = "1", "0" if shards else "1"
    key = separator.join(place if axis else place[::-1])
    key = key if version == 2 else f"c/{key}"
    (tmp_path / "a.zarr" / "logits" / key).unlink()
    for block_bytes in (100, 4000, 1 << 22):
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


def test_stores_within_stores(tmp_path, arrays):
    for format_ in ("zarr", "h5"):
        path = tmp_path / f"a.{format_}"
        inside = {f"val/{name}": array for name, array in arrays.items()}
        WRITERS[format_](path, inside)
        found = evaluate(path, logits_key="val/logits", targets_key="val/targets")
        assert found == evaluate(arrays["logits"], arrays["targets"])
        with pytest.raises(FileError, match="has no 'logits', only val/logits, val/targets"):
            evaluate(path, logits_key="logits")


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.zarr"])
def test_zipped_zarr_stores(tmp_path, arrays, name):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / name
    store = zarr.storage.ZipStore(tmp_path / "a.zip", mode="w")
    write_zarr(store, arrays)
    store.close()
    (tmp_path / "a.zip").rename(path)
    assert evaluate(path, block_bytes=900) == evaluate(arrays["logits"], arrays["targets"])
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "b.zarr.zip", "w") as part:
        for member in whole.namelist():
            if member != "logits/c/1/0":
                part.writestr(member, whole.read(member))
    with pytest.raises(FileError, match="chunk c/1/0 of logits is missing"):
        evaluate(tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_tensors_in_columns(tmp_path, format_):
    arrow = pytest.importorskip("pyarrow")
    x = np.random.default_rng(7).standard_normal((200, 5, 3))
    y = np.random.default_rng(8).integers(0, 5, (200, 3))
    # One of them is stored with its axes in another order
    stored = arrow.fixed_shape_tensor(arrow.float64(), [3, 5], permutation=[1, 0])
    rows = x.transpose(0, 2, 1).reshape(200, 15).tolist()
    flat = arrow.array(rows, arrow.list_(arrow.float64(), 15))
    columns = {
        "plain": arrow.FixedShapeTensorArray.from_numpy_ndarray(x),
        "turned": arrow.ExtensionArray.from_storage(stored, flat),
        "targets": arrow.FixedShapeTensorArray.from_numpy_ndarray(y),
    }
    table, path = arrow.table(columns), tmp_path / f"a.{format_}"
    if format_ == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=70)
    else:
        with pytest.importorskip("pyarrow.ipc").new_file(str(path), table.schema) as file:
            file.write_table(table, max_chunksize=33)
    for key in ("plain", "turned"):
        assert evaluate(path, axis=1, logits_key=key, block_bytes=999) == evaluate(x, y, axis=1)


# Tables: columns by name and pattern, texts, names


def write_table(path, columns):
    """Columns as lists, in a file of whatever kind its name says."""
    arrow = pytest.importorskip("pyarrow")
    table, name = arrow.table(columns), path.name
    if name.endswith((".parquet", ".arrow")):
        if name.endswith(".parquet"):
            pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=70)
        else:
            with pytest.importorskip("pyarrow.ipc").new_file(str(path), table.schema) as file:
                file.write_table(table, max_chunksize=33)
        return
    csv = pytest.importorskip("pyarrow.csv")
    options = csv.WriteOptions(delimiter="\t" if ".tsv" in name else ",")
    with arrow.output_stream(str(path)) as stream:  # compressed as its name says
        csv.write_csv(table, stream, options)


TABLES = ["parquet", "arrow", "csv", "csv.gz", "tsv", "tsv.gz"]
NAMES = [f"k{k}" for k in (10, 9, 8, 7, 6, 5, 4, 3, 2)]
tables = pytest.mark.parametrize("format_", TABLES)


@pytest.fixture
def columns(arrays):
    x, y = arrays["logits"].astype(float), arrays["targets"]
    scores = {f"prob_{name}": x[:, k] for k, name in enumerate(NAMES)}
    return {"id": np.arange(500), **scores, "label": y, "name": [NAMES[k] for k in y]}


@tables
@pytest.mark.parametrize("block_bytes", [216, 7000, 1 << 22])
def test_columns_by_a_pattern(tmp_path, arrays, columns, format_, block_bytes):
    path = tmp_path / f"a.{format_}"
    write_table(path, columns)
    expected = evaluate(arrays["logits"].astype(float), arrays["targets"], worst=2)
    keys = {"logits_key": "prob_*", "block_bytes": block_bytes}
    found = evaluate(path, targets_key="label", **keys)
    assert found.total == expected.total
    assert evaluate(path, targets_key="name", **keys) == found  # as what the star stands for
    with pytest.raises(FileError, match=r"has no 'score_\*', only id, label, name, prob_k10"):
        evaluate(path, logits_key="score_*", targets_key="label")
    with pytest.raises(FileError, match="name, one of 12 columns, holds no plain numbers"):
        evaluate(path, logits_key="*", targets_key="label")
    with pytest.raises(FileError, match="has no 'logits'"):
        evaluate(path, targets_key="label")


@tables
def test_a_table_for_each(tmp_path, arrays, columns, format_, capsys):
    paths = [tmp_path / f"{name}.{format_}" for name in "xy"]
    write_table(paths[0], {k: v for k, v in columns.items() if k.startswith("prob_")})
    write_table(paths[1], {"which": columns["label"]})
    expected = evaluate(arrays["logits"].astype(float), arrays["targets"])
    assert evaluate(*paths) == expected
    assert evaluate(paths[0], arrays["targets"]) == expected
    write_table(paths[1], {"which": [f"prob_{name}" for name in columns["name"]]})
    assert evaluate(*paths) == expected
    assert cli.main(["evaluate", *map(str, paths), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["loss"] == expected.loss
    write_table(paths[1], {"which": [*columns["name"][:-1], "k11"]})
    assert cli.main(["evaluate", *map(str, paths), "--logits-key", "prob_*"]) == 2
    message = "row 499: label 'k11' is none of the class names"
    assert capsys.readouterr().err.strip().endswith(f"y.{format_}: {message}")


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_dictionaries_of_names(tmp_path, arrays, columns, format_, capsys):
    arrow = pytest.importorskip("pyarrow")
    write_table(tmp_path / f"y.{format_}", {"y": arrow.array(columns["name"]).dictionary_encode()})
    np.save(tmp_path / "x.npy", arrays["logits"])
    (tmp_path / "names").write_text("\n".join(NAMES))
    expected = evaluate(arrays["logits"], arrays["targets"])
    paths = tmp_path / "x.npy", tmp_path / f"y.{format_}"
    assert evaluate(*paths, class_names=NAMES) == expected
    options = ["--class-names", str(tmp_path / "names"), "--json"]
    assert cli.main(["evaluate", *map(str, paths), *options]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == expected.loss
    assert cli.main(["evaluate", *map(str, paths)]) == 2
    assert (
        "names need class_names, the name of each class (--class-names)" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz"])
def test_texts_without_names(tmp_path, arrays, name):
    x = arrays["logits"][:50]
    np.savetxt(tmp_path / name, x, delimiter="\t" if "tsv" in name else ",")
    assert evaluate(tmp_path / name, arrays["targets"][:50]).total == pytest.approx(
        evaluate(x.astype(float), arrays["targets"][:50]).total, rel=1e-14
    )


def test_what_texts_may_hold(tmp_path):
    pytest.importorskip("pyarrow.csv")
    path = tmp_path / "x.csv"
    many = "0,1\n" * 300_000  # more than what types are inferred from
    path.write_text(f"a,b\n{many}0.5,nan\n-inf,2\n")
    result = evaluate(path, np.zeros(300_002, int))
    assert (result.rows, result.undefined, result.infinite) == (300_002, 1, 1)
    for text, message in (
        ("a,b\n1,2\n1,\n", "b has a null at row 1: fill or drop it"),
        ("a,b\n1,2\n1,x\n", "a has type|b has type string|holds no plain numbers"),
        ("a,b\n1,2\n1\n", r"cannot be read as a \.csv file: .*Expected 2 columns, got 1"),
        ("a,b\n", "has no rows"),
        ("", r"cannot be read as a \.csv file: Empty CSV file"),
    ):
        path.write_text(text)
        with pytest.raises(FileError, match=message):
            evaluate(path, np.zeros(2, int))


# Archives of any two arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_two_arrays(tmp_path, arrays, save):
    x, y, path = arrays["logits"], arrays["targets"], tmp_path / "a.npz"
    expected = evaluate(x, y)
    for pair in ({"a": x, "b": y}, {"b": x, "a": y}):
        save(path, **pair)
        assert evaluate(path) == expected
    save(path, x, y)
    assert evaluate(path) == expected
    save(path, a=x, b=np.eye(9, dtype=np.int8)[y])  # of one size: whole numbers are the labels
    assert evaluate(path) == expected
    for more in (
        {"a": x, "b": x},
        {"a": x, "b": y, "c": y},
        {"targets": x, "b": y},
        {"a": x, "b": 1},
    ):
        save(path, **more)
        with pytest.raises(FileError, match="has no 'logits', only"):
            evaluate(path)


# PyTorch's own files


def test_without_torch_other_formats_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "lossgrad.torch", raising=False)
    path = tmp_path / "a.pt"
    path.write_bytes(b"anything")
    with pytest.raises(ImportError, match=r"safetensors.torch.save_file\(.*'a.safetensors'\)"):
        evaluate(path)
    assert cli.main(["evaluate", str(path)]) == 2
    assert "safetensors.torch.save_file" in capsys.readouterr().err
    with pytest.raises(FileError, match="no such file"):
        evaluate(tmp_path / "b.pt")


@pytest.mark.peers
def test_tensors_of_torch(tmp_path, arrays):
    torch = pytest.importorskip("torch")
    x, y = (torch.from_numpy(a) for a in arrays.values())
    expected = evaluate(*arrays.values())
    for name, saved in (("a.pt", {"logits": x, "targets": y, "epoch": 3}), ("b.pth", (x, y))):
        torch.save(saved, tmp_path / name)
        assert evaluate(tmp_path / name) == expected
    for name, saved in (("x.pt", x.bfloat16()), ("y.pt", y)):
        torch.save(saved, tmp_path / name)
    half = evaluate(x.bfloat16().float().numpy(), arrays["targets"])
    assert evaluate(tmp_path / "x.pt", tmp_path / "y.pt") == half

    torch.save({"logits": x, "targets": y, "model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(FileError, match="holds more than tensors and plain containers"):
        evaluate(tmp_path / "trap.pt")
    (tmp_path / "c.pt").write_bytes((tmp_path / "x.pt").read_bytes()[:200])
    with pytest.raises(FileError, match="cannot be read as tensors"):
        evaluate(tmp_path / "c.pt", tmp_path / "y.pt")


class Trap:
    """What must never be unpickled."""

    def __reduce__(self):
        return os.mkdir, ("/proc/trap",)
