"""The field: its page says what its record says, errors and bits that differ are found, and ours
keep what is promised."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import kernels

import lossgrad
from benchmarks import results
from benchmarks.field import bits, errors, libraries, page

RECORDS = list(results.read(page.RECORD).values())
FORMS = {form.name: form for form in libraries.forms()}
COARSE = 65537  # prime
WRONG = {"nan", "inf", "a number", "sign"}
needs_kernels = pytest.mark.skipif(
    kernels is None, reason="the bounds stand in the compiled kernels"
)


def bound(function, dtype):
    """ULP; a half is computed in float32 and rounded."""
    form = FORMS[function.rstrip("'")]
    stated = form.bounds[function.endswith("'")]
    return stated if dtype == "float32" else 0.5 + stated * 2.0**-8


def kept(found):
    """Of results by name: assert that ours keep their bounds, and count them."""
    ours = {name: numbers for name, numbers in found.items() if name.startswith("lossgrad:")}
    for name, numbers in ours.items():
        function, _, dtype = name.partition(":")[2].rpartition("-")
        assert not WRONG & numbers.keys(), name
        assert max(value for value, _ in numbers.values()) <= bound(function, dtype), name
    return len(ours)


def test_the_page_is_what_the_record_says():
    expected = page.text(RECORDS[0])
    assert page.PAGE.read_text() == expected, "stale: run `python -m benchmarks accuracy --field`"
    assert "simd-ml-kernels" in expected
    assert "Not installed" not in expected


def test_a_library_that_is_absent_is_named():
    some = {
        k: v for k, v in RECORDS[0]["results"].items() if not k.startswith(("numkong", "scipy"))
    }
    found = page.text({**RECORDS[0], "results": some})
    assert "Not installed when it was made: SciPy, numkong." in found


@needs_kernels
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["setup"]["level"])
def test_ours_on_record_keep_their_bounds(record):
    assert kept(record["results"]) == len(libraries.ours()) * len(errors.DTYPES) - 3  # less the sum
    for name, ways in record["bits"].items():
        for way in ("threads", *bits.INSIDE, "avx2"):
            assert ways.get(way) is None or not name.startswith("lossgrad") or ways[way][0] == 0


@needs_kernels
@pytest.mark.parametrize("form", libraries.forms(), ids=lambda form: form.name)
def test_ours_keep_their_bounds(form):
    tables = {"lossgrad": libraries.ours()}
    for dtype in ("float32", "bfloat16"):
        found = errors.errors(form, dtype, tables, COARSE)
        assert kept(found) == 1 + libraries.has_slope(form)


def planted(wrong):
    """A library whose sigmoid is ours but at some inputs."""

    def sigmoid(x):
        result = lossgrad.sigmoid(x)
        for at, value in wrong.items():
            result[x == np.float32(at)] = value
        return result

    return {"fake": {"sigmoid": sigmoid}}


def test_a_planted_error_is_found_where_it_is():
    x = float(np.uint32(COARSE * 16000).view(np.float32))  # of the sample, between 0 and 1
    right = lossgrad.sigmoid(np.float32(x))
    off = right + 64 * np.spacing(right)
    tables = planted({x: off, 0.5: np.nan, 2.0: np.inf, 4.0: -1, np.inf: 3, -88.0: 1e-38})
    tables["fake"]["tanh"] = np.tanh
    found = errors.errors(FORMS["sigmoid"], "float32", tables, COARSE)
    (numbers,) = found.values()
    assert numbers["nan"] == [1, "0.5"]
    assert numbers["inf"] == [1, "2.0"]
    assert numbers["sign"] == [1, "4.0"]
    assert numbers[""][1] == "4.0"  # -1 for 0.98
    (numbers,) = errors.errors(FORMS["sigmoid"], "float32", planted({x: off}), COARSE).values()
    assert numbers[""] == [pytest.approx(64, abs=1), str(np.float32(x))]
    assert not WRONG & numbers.keys()


def test_a_number_where_there_is_none():
    tables = {"fake": {"relu": lambda x: np.fmax(x, 0)}}
    (numbers,) = errors.errors(FORMS["relu"], "float32", tables, COARSE).values()
    assert numbers["a number"][1] == "nan"
    assert numbers[""] == [0, "0.0"]


def test_rows_are_named():
    def softmax(x):
        result = lossgrad.softmax(x)
        result[7 if x.shape[1] > 2 else x[:, 1] == 1] *= 1.5
        return result

    (numbers,) = errors.errors(
        FORMS["softmax"], "float16", {"fake": {"softmax": softmax}}, COARSE
    ).values()
    assert numbers[""][1] in ("row 7 of 1000", "(0.0, 1.0)")


def test_half_types_may_be_refused_but_float32_may_not():
    def refuses(x):
        raise TypeError("no")

    tables = {"fake": {"tanh": refuses}}
    assert errors.errors(FORMS["tanh"], "float16", tables, COARSE) == {}
    with pytest.raises(TypeError, match="no"):
        errors.errors(FORMS["tanh"], "float32", tables, COARSE)


def test_the_sample_has_every_exponent_and_all_halves():
    found = np.concatenate(list(errors.numbers(FORMS["tanh"], "float32", COARSE)))
    exponents = np.unique(found.view(np.uint32) >> 23)
    np.testing.assert_array_equal(exponents, np.arange(512))
    for x in (0.0, np.inf, -np.inf, np.finfo("f4").max, np.finfo("f4").tiny, 2.0**-149):
        assert x in found
    (halves,) = errors.numbers(FORMS["tanh"], "float16", COARSE)
    assert len(np.unique(halves.view(np.uint16))) == 65536
    whole = next(x for x in errors.numbers(FORMS["tanh"], "float32", 1) if x.size == errors.BLOCK)
    np.testing.assert_array_equal(whole.view(np.uint32), np.arange(errors.BLOCK))


def tail(x):
    """Of an array, the last elements are computed otherwise: as a body and its tail may be."""
    result = np.array(x)
    flat = result.reshape(-1)
    flat[flat.size // 16 * 16 :] += 1
    return result


def order(x):
    """A sum in the order of memory."""
    return np.cumsum(np.ascontiguousarray(x).ravel(order="K"), dtype=np.float32)[-1]


def test_bits_that_depend_on_the_position_are_found():
    x = np.arange(2000, dtype=np.float32).reshape(40, 50) / 7
    _, counts = bits.of_elements(tail, x)
    assert counts["position"][0] == sum(k % 16 for k in bits.PREFIXES)
    assert counts["layout"].tolist() == [0, 2000]
    _, counts = bits.of_sum(order, bits.array("sum")[:50])
    assert counts["position"][0] > 0
    assert counts["slice"].tolist() == [0, bits.LENGTHS]
    _, counts = bits.of_rows(lambda x: x + len(x), np.resize(x, (100, 50)))
    assert counts["position"].tolist() == [67 * 50, 67 * 50]


@pytest.mark.parametrize("function", bits.FUNCTIONS)
def test_ours_keep_their_bits(function):
    table = {name: call for name, call in libraries.ours().items() if name == function}
    found = bits.results({"lossgrad": table})
    for way in bits.INSIDE:
        assert found[f"lossgrad:{function}:{way}"][0] == 0


def test_the_command(tmp_path):
    """Of the sample that the other tests have, too."""
    code = "from benchmarks import __main__ as command; from benchmarks.field import errors; "
    code += f"errors.STRIDE = {COARSE}; raise SystemExit(command.main())"
    path = tmp_path / "field.json"
    options = ["accuracy", "--field", "--only", "relu", "-o", str(path)]
    command = [sys.executable, "-c", code, *options]
    done = subprocess.run(command, cwd=page.PAGE.parents[1], capture_output=True)
    assert done.returncode == 0, done.stderr
    (record,) = results.read(path).values()
    assert record["setup"]["stride"] == str(COARSE)
    assert record["results"]["lossgrad:relu-float32"] == {"": [0, "0.0"]}
    assert "| `relu` | 0 |" in page.text(record)
