"""What is given as an array: containers say more than their numbers, and none of it is lost."""

import numpy as np
import pytest
from calls import all_calls

import lossgrad
from lossgrad import DtypeError, Evaluation, InputError, evaluate

X = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 4, 12)
S = np.linspace(0.5, 2, 12)
ARRAYS = {"logits": X, "targets": Y, "sample_weight": S}
SOME = np.arange(12) % 5 == 1


def masked(name, mask=SOME):
    array = ARRAYS[name]
    return np.ma.array(
        array, mask=np.broadcast_to(mask.reshape(-1, *[1] * (array.ndim - 1)), array.shape)
    )


def entrances(given):
    """Everything that evaluates arrays."""
    yield lambda: evaluate(**given)
    yield lambda: evaluate([(*given.values(),)])
    yield lambda: Evaluation().update(**given)


@pytest.mark.parametrize("name", ARRAYS)
def test_masks_are_refused_at_every_entrance(name):
    for call in entrances(ARRAYS | {name: masked(name)}):
        with pytest.raises(DtypeError, match=f"^{name}: is a masked array, whose mask would be"):
            call()
    for call in entrances(ARRAYS | {name: masked(name, SOME & False)}):
        call()  # nothing is masked
    rows = [*masked(name)]
    if name == "logits":
        with pytest.raises(DtypeError, match="logits: an item of logits is a masked array"):
            evaluate(rows, Y)


def test_class_weights_are_arrays_too():
    with pytest.raises(TypeError, match="weight is a masked array"):
        evaluate(X, Y, weight=np.ma.array(np.ones(4), mask=[0, 1, 0, 0]))


def functions_of_arrays():
    """A call of each function for each of its arrays, and the name of that."""
    seen = set()
    rng = np.random.default_rng(2)
    for call in all_calls((6, 5), np.float64, rng, brief=True):
        for name in call.arrays:
            if (call.function, name) not in seen:
                seen.add((call.function, name))
                yield call, name


@pytest.mark.parametrize("fill", [True, False])
def test_masks_in_every_function(lg, fill):
    count = 0
    for call, name in functions_of_arrays():
        array = call.arrays[name]
        mask = np.full(array.shape, False)
        mask[(0,) * array.ndim] = fill
        given = call.arrays | {name: np.ma.array(array, mask=mask)}
        function = getattr(lg, call.function)
        if call.op.kind in ("elementwise", "sloped") and lg is lossgrad:
            continue  # ufuncs keep the mask: tests/test_containers.py
        count += 1
        if fill:
            with pytest.raises(TypeError, match="is a masked array, whose mask would be lost"):
                function(**given, **call.options)
        else:
            for got, want in zip(call(lg, given), call(lg), strict=True):
                np.testing.assert_array_equal(got, want)
    assert count > 40


def test_where_is_an_array_too(lg):
    where = np.ma.array(np.ones((12, 4), bool), mask=np.eye(12, 4))
    with pytest.raises(TypeError, match="where is a masked array"):
        lg.softmax(X, where=where)


def test_sparse_arrays_are_named():
    sparse = pytest.importorskip("scipy.sparse")
    for make in (sparse.csr_matrix, sparse.coo_array):
        with pytest.raises(DtypeError, match=r"logits: is sparse, a c.*: pass .*toarray\(\)"):
            evaluate(make(X), Y)
        with pytest.raises(TypeError, match="x is sparse"):
            lossgrad.softmax(make(X))


def test_nulls_of_arrow():
    arrow = pytest.importorskip("pyarrow")
    labels = arrow.array(Y)
    assert evaluate(X, labels) == evaluate(X, Y)
    for given in (arrow.array([*Y[:-1].tolist(), None]), arrow.chunked_array([[None, 1], Y[2:]])):
        with pytest.raises(DtypeError, match="targets: has missing values"):
            evaluate(X, given)
    table = arrow.table({"a": X[:, 0], "b": [*X[:-1, 1].tolist(), None]})
    with pytest.raises(TypeError, match="x has missing values, a Table"):
        lossgrad.softmax(table)


def test_bfloat16_that_numpy_saved():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    saved = X.astype(ml_dtypes.bfloat16).view("V2")
    with pytest.raises(TypeError, match=r"dtype \|V2.*x.view\(ml_dtypes.bfloat16\)"):
        lossgrad.softmax(saved)
    with pytest.raises(DtypeError, match=r"view\(ml_dtypes.bfloat16\)"):
        evaluate(saved, Y)


# Containers of other libraries


@pytest.mark.peers
@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nullable_columns_of_pandas(backend):
    pandas = pytest.importorskip("pandas")
    plain = pandas.DataFrame({"a": X[:, 0], "b": np.arange(12), "c": X[:, 1], "d": X[:, 2]})
    frame = plain.convert_dtypes(dtype_backend=backend)
    want = plain.to_numpy("f8")
    assert (lossgrad.softmax(frame) == lossgrad.softmax(want)).all()
    labels = pandas.Series(Y).convert_dtypes(dtype_backend=backend)
    assert evaluate(frame, labels) == evaluate(want, Y)
    frame.iloc[3, 1] = pandas.NA
    for call in (lambda: lossgrad.softmax(frame), lambda: evaluate(frame, Y)):
        with pytest.raises(TypeError, match="has missing values"):
            call()
    labels[3] = pandas.NA
    with pytest.raises(DtypeError, match="targets: has missing values"):
        evaluate(X, labels)


@pytest.mark.peers
def test_polars_with_nulls():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    assert (lossgrad.softmax(frame) == lossgrad.softmax(X[:, :2])).all()
    holes = frame.with_columns(b=polars.Series([None, *X[1:, 1].tolist()]))
    for given in (holes, holes["b"]):
        with pytest.raises(TypeError, match="has missing values"):
            lossgrad.logsumexp(given)


@pytest.mark.peers
def test_rows_that_pandas_would_pair_by_name():
    pandas = pytest.importorskip("pandas")
    index = np.random.default_rng(3).permutation(12)
    frame, labels = pandas.DataFrame(X, index), pandas.Series(Y, index)
    expected = evaluate(X, Y, sample_weight=S)
    assert evaluate(frame, labels, sample_weight=pandas.Series(S, index)) == expected
    assert evaluate(frame, Y, sample_weight=S) == expected
    with pytest.raises(InputError, match="targets: its index differs from that of the logits"):
        evaluate(frame, labels.sort_index())
    with pytest.raises(InputError, match="sample_weight: its index differs"):
        evaluate(frame, labels, sample_weight=pandas.Series(S))


@pytest.mark.peers
def test_axes_that_have_names():
    xarray = pytest.importorskip("xarray")
    x = np.random.default_rng(4).standard_normal((5, 3, 5))
    y = np.random.default_rng(5).integers(0, 3, (5, 5))
    logits = xarray.DataArray(x, dims=("row", "class", "step"))
    targets = xarray.DataArray(y, dims=("row", "step"))
    assert evaluate(logits, targets, axis=1) == evaluate(x, y, axis=1)
    with pytest.raises(InputError, match=r"targets: dimensions \('step', 'row'\)"):
        evaluate(logits, targets.T, axis=1)
    with pytest.raises(InputError, match="its index differs"):
        evaluate(
            logits.assign_coords(row=[*"abcde"]), targets.assign_coords(row=[*"abced"]), axis=1
        )
