"""Arrays in any layout give the bits of a contiguous copy; nothing outside an output is written and
nothing outside an input is read."""

import subprocess
import sys

import numpy as np
import pytest
from calls import Call, bits, brief_calls, calls, same_bits
from conftest import VECTOR_LEVELS, few
from ways import LAYOUTS, OUT_LAYOUTS, canaries_live, misaligned

from lossgrad import reference
from lossgrad.registry import OPS

OFFSETS = [1, 2, 4, 7, 8, 12, 16, 31, 32, 48, 63]


def check_everywhere(module, call, offset):
    """Inputs and output off alignment by some bytes; no byte beside the output is touched."""
    want = call(module)
    moved = {
        key: misaligned(a, (offset * (k + 1)) % 64)
        for k, (key, a) in enumerate(call.arrays.items())
    }
    options, place = {}, None
    if call.takes_out:
        like = want[-1]
        out, place = misaligned(np.full_like(like, 7), offset)
        options["out"] = out
    got = call(module, {key: a for key, (a, _) in moved.items()}, **options)
    same_bits(got, want, f"{offset} bytes off in {call}")
    if place:
        same_bits([out], [want[-1]], f"out of {call}")
        assert canaries_live(place), str(call)
    for key, (a, around) in moved.items():
        assert canaries_live(around)
        same_bits([a], [call.arrays[key]], f"{key} of {call} was written")


def test_sizes_and_alignments(vectors, dtype, rng):
    """All sizes up to a group of 8 vectors of 64 bytes, and one vector more: as one array and as
    the classes of a few rows. Of every function some sizes, other ones in each shape; of two of
    them all."""
    always = [op for op in OPS if op.name in ("sigmoid", "softmax")]
    for n in range(9 * 64 // np.dtype(dtype).itemsize + 1):
        for shape, first in (((n,), n), ((3, n) if n else (0, 3), n + 13)):
            if shape == (0,):
                continue
            for k, op in enumerate([*always, *OPS[first % 27 :: 27]]):
                for call in calls(op, shape, dtype, rng, brief=True):
                    check_everywhere(vectors, call, (n * 7 + k) % 64)


@pytest.mark.parametrize("offset", OFFSETS)
def test_alignments(vectors, dtype, offset):
    """In each shape every offset of some calls, and of each call some offsets."""
    first = OFFSETS.index(offset)
    for k, shape in enumerate([(37,), (3, 70), (1, 1027)]):
        for call in brief_calls(shape, dtype)[(first + k) % 7 :: 7]:
            check_everywhere(vectors, call, offset)


def test_alignments_of_the_reference(dtype):
    for first, shape in enumerate([(0, 3), (3, 7)]):
        for k, call in enumerate(brief_calls(shape, dtype)[first::14]):
            check_everywhere(reference, call, k % 64)


SHAPES = [
    ((40,), -1),
    ((9, 17), -1),
    ((9, 17), 0),
    ((70, 3), -1),
    ((3, 4, 5), 1),
    ((2, 3, 4, 5), 2),
]
SHAPES += [((2, 1025), -1), ((1025, 2), 0), ((3, 0, 5), 2), ((1, 1), 0)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_one_input_in_another_layout(either, dtype, layout):
    """All of them are in ways.py. Every layout is of each call in some shapes."""
    first, apart = LAYOUTS.index(layout) + 10 * (dtype == np.float64), few(either, 7, 71)
    for k, (shape, axis) in enumerate(few(either, SHAPES, [((3, 4, 5), 1)])):
        for call in brief_calls(shape, dtype, axis)[(first + k) % apart :: apart]:
            if len(call.arrays) == 1 or (0 in shape and call.axis is not None and not shape[axis]):
                continue
            want = call(either)
            for key, a in call.arrays.items():
                if a.ndim:
                    results = call(either, {key: layout(a)})
                    same_bits(results, want, f"{key} {layout.__name__} in {call} {shape}")


SHIFTS = [-17, -3, -1, 1, 2, 5, 16, 40]


@pytest.mark.parametrize("shift", SHIFTS)
def test_partial_overlap(either, dtype, shift):
    """As if out and the input did not overlap: each call in some shapes."""
    shapes, apart = [((200,), 0), ((7, 30), -1), ((30, 7), 0), ((2, 1025), -1)], few(either, 7, 143)
    first = SHIFTS.index(shift) + 8 * (dtype == np.float64)
    for k, (shape, axis) in enumerate(few(either, shapes, [shapes[shift % 2 + 1]]), first):
        for call in brief_calls(shape, dtype, axis)[k % apart :: apart]:
            if not call.takes_out:
                continue
            want = call(either)
            for key, a in call.arrays.items():
                if a.ndim == 0 or a.shape != want[-1].shape or a.dtype != want[-1].dtype:
                    continue
                memory = np.zeros(a.size + 2 * 40, dtype)
                own = memory[40 : 40 + a.size].reshape(a.shape)
                own[...] = a
                out = memory[40 + shift : 40 + shift + a.size].reshape(a.shape)
                same_bits(
                    call(either, {key: own}, out=out), want, f"{key} {shift} from out in {call}"
                )
                own[...] = a
                flipped = own[::-1]
                given = own[(slice(None, None, -1),) * own.ndim]
                assert np.may_share_memory(given, flipped)
                turned = {k: (given if k == key else v) for k, v in call.arrays.items()}
                expected = call(either, {k: v.copy() for k, v in turned.items()})
                same_bits(call(either, turned, out=own), expected, f"{key} reversed out in {call}")


def test_out_overlaps_labels(lg, rng):
    """float64 gradients written over the memory of int64 labels, and losses over labels."""
    rows = 300
    x = rng.normal(size=(rows, 5))
    memory = np.zeros(x.size + 2 * rows, np.int64)
    out = memory.view(np.float64)[rows:-rows]
    inside = memory[rows:-rows]
    # the last two begin outside of out
    for labels in (inside[:rows], inside[::5], inside[-rows:], memory[:-rows:6], memory[:rows:-6]):
        labels[...] = rng.integers(0, 5, rows)
        want = lg.cross_entropy_backward(1.0, x, labels.copy())
        grad = out.reshape(x.shape)
        same_bits([lg.cross_entropy_backward(1.0, x, labels, out=grad)], [want])
        labels[...] = rng.integers(0, 5, rows)
        want = lg.cross_entropy(x, labels.copy(), reduction="none")
        losses = out[:rows]
        same_bits([lg.cross_entropy(x, labels, reduction="none", out=losses)], [want])


def test_out_overlaps_what_every_row_reads(lg, dtype, rng):
    """Class weights and saved log-sum-exps where the first rows' results are written."""
    rows, classes = 300, 5
    x = rng.normal(size=(rows, classes)).astype(dtype)
    y = rng.integers(0, classes, rows)
    w = rng.uniform(0.5, 2, classes).astype(dtype)
    saved = np.empty(rows, dtype)
    lg.cross_entropy(x, y, lse=saved)
    for name, a in (("weight", w), ("lse", saved)):
        want = lg.cross_entropy_backward(1.0, x, y, **{name: a})
        out = np.empty_like(x)
        inside = out.reshape(-1)[3 : 3 + a.size]
        inside[...] = a
        same_bits([lg.cross_entropy_backward(1.0, x, y, **{name: inside}, out=out)], [want], name)
    want = lg.cross_entropy(x, y, w, reduction="none")
    out = np.empty(rows, dtype)
    out[1 : 1 + classes] = w
    same_bits([lg.cross_entropy(x, y, out[1 : 1 + classes], reduction="none", out=out)], [want])


def test_lse_may_be_written_anywhere(lg, dtype, rng):
    """lse= in any layout, and where its memory is that of the logits."""
    x = rng.normal(size=(40, 3)).astype(dtype)
    y = rng.integers(0, 3, 40)
    want = np.zeros(40)
    loss = lg.cross_entropy(x, y, lse=want)
    for layout in OUT_LAYOUTS:
        lse = layout(np.zeros(40))
        assert lg.cross_entropy(x, y, lse=lse) == loss
        same_bits([lse], [want], layout.__name__)
        grad = lg.cross_entropy_backward(1.0, x, y, lse=lse)
        same_bits([grad], [lg.cross_entropy_backward(1.0, x, y, lse=want)], layout.__name__)
    own = np.zeros((40, 4), dtype)
    own[:, :3] = x
    narrow = np.zeros(40, dtype)
    lg.cross_entropy(x, y, lse=narrow)
    assert lg.cross_entropy(own[:, :3], y, lse=own[:, 3]) == loss
    same_bits([own[:, 3]], [narrow])
    shared = x.copy()
    assert lg.cross_entropy(shared, y, lse=shared[:, 1]) == loss
    same_bits([shared[:, 1]], [narrow])


@pytest.mark.parametrize("value", [0.5, -20.0])
def test_stride_of_zero(lg, dtype, value, rng):
    """Broadcast arrays, without a copy of what they stand for."""
    rows = few(lg, 2000, 100)
    x = np.broadcast_to(np.array(value, dtype), (rows, 7))
    y = np.broadcast_to(np.array(3), (rows,))
    full = np.ascontiguousarray(x)
    labels = np.ascontiguousarray(y)
    for f in ("sigmoid", "softmax", "log_softmax", "logsumexp"):
        same_bits([getattr(lg, f)(x)], [getattr(lg, f)(full)])
    same_bits([lg.sigmoid_backward(x, x)], [lg.sigmoid_backward(full, full)])
    for reduction in ("none", "mean", "sum"):
        a = lg.cross_entropy_value_and_grad(x, y, reduction=reduction)
        b = lg.cross_entropy_value_and_grad(full, labels, reduction=reduction)
        same_bits([np.asarray(v) for v in a], [np.asarray(v) for v in b])
        a = lg.binary_cross_entropy_with_logits_value_and_grad(x, x, reduction=reduction)
        b = lg.binary_cross_entropy_with_logits_value_and_grad(full, full, reduction=reduction)
        same_bits([np.asarray(v) for v in a], [np.asarray(v) for v in b])
    row = rng.normal(size=7).astype(dtype)
    many = np.broadcast_to(row, (300, 7))
    same_bits([lg.softmax(many)], [np.broadcast_to(lg.softmax(row), many.shape)])


def test_memory_mapped(lg, dtype, tmp_path, rng):
    x = rng.normal(size=(50, 7)).astype(dtype)
    y = rng.integers(0, 7, 50)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    mx, my = np.load(tmp_path / "x.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")
    loss, grad = lg.cross_entropy_value_and_grad(mx, my)
    want = lg.cross_entropy_value_and_grad(x, y)
    assert loss == want[0]
    same_bits([np.asarray(grad)], [want[1]])
    assert type(grad) is np.ndarray
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", dtype, x.shape)
    assert lg.softmax(mx, out=out) is out
    same_bits([np.asarray(out)], [lg.softmax(x)])


def test_other_inputs(lg):
    """Lists, buffers and numbers are taken as NumPy takes them."""
    assert lg.sigmoid([0, 0]).dtype == np.float64
    assert lg.sigmoid(memoryview(np.zeros(3, np.float32))).dtype == np.float32
    assert lg.sigmoid(0) == 0.5
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[0.0, 0.0]])
    assert lg.softmax(matrix).tolist() == [[0.5, 0.5]]
    assert type(lg.softmax(matrix)) is np.ndarray
    assert lg.cross_entropy([[0.0, 0.0]], [1]) == pytest.approx(np.log(2))


GUARDED = """
import ctypes, functools, mmap, sys
import numpy as np
sys.path.insert(0, {tests!r})
import lossgrad
from lossgrad._core import backend
from calls import all_calls, same_bits
backend.kernels.set_level({level!r})
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

@functools.cache
def room(pages, number):
    "Pages between two that may not be touched; another one for each array of a call."
    m = mmap.mmap(-1, (pages + 2) * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(m))
    for page in (0, pages + 1):
        assert libc.mprotect(base + page * PAGE, PAGE, 0) == 0
    return m

def at_the_edge(a, end, number):
    "A copy of a at the end or the beginning of a room."
    pages = -(-max(a.nbytes, 1) // PAGE)
    m = room(pages, number)
    offset = PAGE + (pages * PAGE - a.nbytes if end else 0)
    view = np.frombuffer(m, a.dtype, a.size, offset).reshape(a.shape)
    view[...] = a
    return view

rng = np.random.default_rng(0)
SHAPES = [(1,), (7,), (16,), (33,), (1001,), (3, 1), (5, 3), (3, 17), (65, 4), (2, 1030)]
for first, dtype in enumerate((np.float32, np.float64)):
    for k, shape in enumerate(SHAPES, first):
        for call in all_calls(shape, dtype, rng, brief=True)[k % 2 :: 2]:
            want = call(lossgrad)
            for end in (True, False):
                arrays = enumerate(call.arrays.items())
                given = {{k: at_the_edge(a, end, number) for number, (k, a) in arrays}}
                options = {{}}
                if call.takes_out:
                    options["out"] = at_the_edge(want[-1], end, len(given))
                same_bits(call(lossgrad, given, **options), want, str(call))
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("level", VECTOR_LEVELS)
def test_nothing_outside_is_touched(level):
    """Arrays between pages that may not be touched: a read or write outside ends the process. Each
    call in half of the shapes in float32, in the others in float64."""
    code = GUARDED.format(tests=str(__file__).rsplit("/", 1)[0], level=level)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stderr[-2000:]}"
    assert run.stdout.strip() == "done"


def test_results_own_their_memory(lg, dtype):
    """A result is never a view of an argument."""
    x = np.zeros((3, 4), dtype)
    assert not np.may_share_memory(lg.softmax(x), x)
    assert not np.may_share_memory(lg.sigmoid(x), x)
    assert isinstance(Call("sigmoid", {"x": x})(lg)[0], np.ndarray)
    assert bits(x).sum() == 0


def test_a_byte_order_that_is_spelled_out(lg, dtype):
    """A native dtype may say so; files are often read that way."""
    mark = "<" if sys.byteorder == "little" else ">"
    x, y = np.ones((2, 3), dtype), np.array([0, 1])
    spelled = x.view(np.dtype(dtype).newbyteorder(mark)), y.view(y.dtype.newbyteorder(mark))
    for reduction in ("mean", "none"):
        got = lg.cross_entropy_value_and_grad(*spelled, reduction=reduction)
        want = lg.cross_entropy_value_and_grad(x, y, reduction=reduction)
        same_bits([np.asarray(g) for g in got], [np.asarray(w) for w in want])
    same_bits([lg.sigmoid(spelled[0])], [lg.sigmoid(x)])
