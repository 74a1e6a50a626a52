"""What NumPy's ufuncs keep the elementwise functions keep: labels, missing values, laziness."""

import re
from pathlib import Path

import numpy as np
import pages
import pytest
from conftest import kernels

import lossgrad
from lossgrad.registry import OPS

pytestmark = pytest.mark.skipif(kernels is None, reason="the ufuncs are those of the kernels")
PAGE = Path(__file__).parents[1] / "docs" / "use-it-from.md"
NAMES = [op.name for op in OPS if op.kind in ("elementwise", "sloped")]
VALUES = np.linspace(0.05, 0.95, 6, dtype=np.float32)
both = pytest.mark.parametrize("name", NAMES)


def functions(name):
    """The function of one argument and its gradient of two, with all that else they need."""
    if name == "prelu":
        return lambda x: lossgrad.prelu(x, 0.25), None
    return getattr(lossgrad, name), getattr(lossgrad, f"{name}_backward")


def check(name, container, values_of):
    """A container in, the same out, with the values of the array."""
    given = container(VALUES)
    forward, backward = functions(name)
    results = [(forward(given), forward(VALUES))]
    if backward:
        results.append((backward(given, given), backward(VALUES, VALUES)))
    for got, want in results:
        assert type(got) is type(given)
        np.testing.assert_array_equal(values_of(got), want)
    return results[0][0]


class Labelled(np.ndarray):
    label = None

    def __array_finalize__(self, other):
        self.label = getattr(other, "label", None)


@both
def test_subclasses(name):
    def labelled(a):
        b = a.view(Labelled)
        b.label = "x"
        return b

    assert check(name, labelled, np.asarray).label == "x"


@both
def test_masked_arrays(name):
    mask = np.arange(6) % 2 == 1
    given = np.ma.array(VALUES, mask=mask)
    forward, backward = functions(name)
    got = forward(given)
    np.testing.assert_array_equal(got.mask, mask)
    np.testing.assert_array_equal(got.compressed(), forward(VALUES)[~mask])
    if backward:
        np.testing.assert_array_equal(backward(VALUES, given).mask, mask)


def test_what_is_missing_is_nobodys_mistake():
    """Under a mask there may be any number."""
    given = np.ma.array([0.5, 7.0, np.nan], mask=[False, True, True])
    assert lossgrad.information_content(given, base=2).tolist() == [1.0, None, None]
    slopes = lossgrad.information_content_backward(np.ones(3), given)
    assert slopes.tolist() == [-2.0, None, None]
    with pytest.raises(ValueError, match="p must be in"):
        lossgrad.information_content(given.data)


def test_a_gradient_of_another_shape():
    given = VALUES.view(Labelled)
    with pytest.raises(ValueError, match=r"grad has shape \(3,\), but x has shape \(6,\)"):
        lossgrad.sigmoid_backward(VALUES[:3], given)


def test_conversions_do_not_warn():
    huge, signalling = np.full(6, 1e300), np.full(6, 0x7F800001, np.uint32).view(np.float32)
    with np.errstate(all="raise"):
        slopes = lossgrad.relu_backward(huge.view(Labelled), VALUES)
        assert np.isinf(slopes).all()
        assert np.isnan(lossgrad.relu_backward(signalling.view(Labelled), np.ones(6))).all()


@pytest.mark.parametrize(("name", "threads"), [("gelu", 1), ("gelu", 3)])
def test_threads_of_one_call(name, threads):
    given = np.tile(VALUES, 100_000).view(Labelled)
    before = kernels.set_sharing(1e-6, 1e-6)
    shared = kernels.pool()[1]
    getattr(lossgrad, name)(given, num_threads=threads)
    kernels.set_sharing(*before)
    assert (kernels.pool()[1] > shared) == (threads > 1)
    with pytest.raises(ValueError, match="num_threads must be at least 1"):
        getattr(lossgrad, name)(given, num_threads=0)


@both
def test_dask_stays_lazy(name):
    array = pytest.importorskip("dask.array")
    got = check(name, lambda a: array.from_array(a, chunks=2), lambda a: a.compute())
    assert got.chunks == ((2, 2, 2),)
    assert got.dtype == np.float32


@both
@pytest.mark.peers
def test_pandas(name):
    pandas = pytest.importorskip("pandas")
    index = list("abcdef")
    got = check(name, lambda a: pandas.Series(a, index, name="x"), lambda s: s.to_numpy())
    assert [*got.index] == index
    assert got.name == "x"
    check(name, lambda a: pandas.DataFrame({"a": a, "b": a}).a, lambda s: s.to_numpy())


@both
@pytest.mark.peers
@pytest.mark.parametrize("kind", ["Float64", "Float32", "double[pyarrow]"])
def test_pandas_with_missing_values(name, kind):
    pandas = pytest.importorskip("pandas")
    if "pyarrow" in kind:
        pytest.importorskip("pyarrow")
    got = functions(name)[0](pandas.Series([0.25, None, 0.5], dtype=kind))
    assert got.dtype == kind
    assert got.isna().tolist() == [False, True, False]


@both
@pytest.mark.peers
def test_xarray(name):
    xarray = pytest.importorskip("xarray")

    def container(a):
        return xarray.DataArray(a, dims="when", coords={"when": np.arange(6)})

    assert check(name, container, lambda a: a.values).dims == ("when",)


@both
@pytest.mark.peers
def test_polars(name):
    polars = pytest.importorskip("polars")
    forward = functions(name)[0]
    got = check(name, lambda a: polars.Series("x", a), lambda s: s.to_numpy())
    frame = polars.DataFrame({"x": VALUES})
    lazy = frame.lazy().select(forward(polars.col("x"))).collect()
    assert lazy["x"].equals(got)
    assert forward(polars.Series([0.25, None])).is_null().to_list() == [False, True]


# ---- the page ------------------------------------------------------------------------------------

DOORS = re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
# What is no dependency of the tests runs among the peers.
EXTRAS = {"pandas", "xarray", "polars", "torch", "jax", "numba"}


def imported(text):
    return set(re.findall(r"^>>> (?:import|from) (\w+)", text, re.MULTILINE))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=title, marks=[pytest.mark.peers] if imported(text) & EXTRAS else [])
        for title, text in DOORS
        if ">>> " in text
    ],
)
def test_each_door_has_an_example_that_is_true(text):
    for module in imported(text):
        pytest.importorskip(module)
    pages.are_true(text, "use-it-from")
