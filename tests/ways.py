"""The axes over which results keep their bits. Each way makes a call on other memory, in another
place, or with other options that must not matter, and gives back the call's own results, which
should be those wanted; None where it does not apply. A new axis is a line in WAYS."""

import dataclasses
import functools
import itertools

import numpy as np
from calls import parameters_of, same_bits

from lossgrad import reference
from lossgrad._core.backend import kernels

CANARY = 0xA5

# ---- layouts: arrays of the same values in other memory ----


def negative(a):
    return a[(slice(None, None, -1),) * a.ndim].copy()[(slice(None, None, -1),) * a.ndim]


def gaps(a):
    big = np.full([3 * n for n in a.shape], 99, a.dtype)
    big[(slice(1, None, 3),) * a.ndim] = a
    return big[(slice(1, None, 3),) * a.ndim]


def columns(a):
    """Only the last axis has gaps."""
    big = np.full((*a.shape[:-1], 2 * a.shape[-1]), 99, a.dtype) if a.ndim else a
    big[..., ::2] = a
    return big[..., ::2]


def lines(a):
    """Only the first axis has gaps, which are no multiple of a row."""
    if a.ndim < 2:
        return a
    big = np.full((a.shape[0], *a.shape[1:-1], a.shape[-1] + 3), 99, a.dtype)
    big[..., : a.shape[-1]] = a
    return big[..., : a.shape[-1]]


def fortran(a):
    return np.asfortranarray(a)


def swapped(a):
    """NumPy knows no byte order of bfloat16."""
    return (
        a if a.dtype.kind == "V" or a.dtype.name == "bfloat16" else a.astype(a.dtype.newbyteorder())
    )


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    b = a.copy()
    b.flags.writeable = False
    return b


def in_a_record(a):
    """A field of a packed record: strides are no multiple of the size of an element."""
    record = np.zeros(a.shape, [("flag", "i1"), ("value", a.dtype)])
    record["value"] = a
    return record["value"]


def subclass(a):
    class Sub(np.ndarray):
        pass

    return a.view(Sub)


OUT_LAYOUTS = [negative, gaps, columns, lines, fortran, unaligned, in_a_record]
LAYOUTS = [*OUT_LAYOUTS, swapped, read_only, subclass]


def misaligned(a, offset):
    """A copy of a that begins `offset` bytes past a multiple of 64, and its buffer."""
    buffer = np.full(a.nbytes + 256, CANARY, np.uint8)
    start = -buffer.ctypes.data % 64 + 64 + offset
    view = np.frombuffer(buffer, a.dtype, a.size, start).reshape(a.shape)
    view[...] = a
    return view, (buffer, start, start + a.nbytes)


def overlapping(a, shape, dtype, shift):
    """(an array of the shape and dtype, a copy of a) in one memory, the first so many of its
    elements after the second's beginning, before it if that is negative."""
    ahead = shift * dtype.itemsize
    starts = max(0, ahead), max(0, -ahead)
    nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    memory = np.zeros(max(starts[0] + nbytes, starts[1] + a.nbytes) + 64, np.uint8)
    memory = memory[-memory.ctypes.data % 64 :]
    out = memory[starts[0] : starts[0] + nbytes].view(dtype).reshape(shape)
    own = memory[starts[1] : starts[1] + a.nbytes].view(a.dtype).reshape(a.shape)
    own[...] = a
    return out, own


def canaries_live(place):
    buffer, start, end = place
    return (buffer[:start] == CANARY).all() and (buffer[end:] == CANARY).all()


# ---- ways ----


def laid_out(layout, module, call, want):
    return call(module, {key: layout(a) for key, a in call.arrays.items() if a.ndim})


def at_offset(offset, module, call, want):
    """Each array some bytes off alignment; the inputs and what is around them stay."""
    moved = {
        key: misaligned(a, (offset * (k + 1)) % 64)
        for k, (key, a) in enumerate(call.arrays.items())
    }
    results = call(module, {key: a for key, (a, _) in moved.items()})
    for key, (a, place) in moved.items():
        assert canaries_live(place), f"bytes beside {key} were written"
        same_bits([a], [call.arrays[key]], f"{key} of {call} was written")
    return results


def written_to(layout, module, call, want):
    """out= in some layout, beside which nothing is written."""
    like = want[-1] if call.takes_out else None
    if like is None or like.ndim == 0:
        return None
    out = layout(np.full_like(like, 7))
    whole = out
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    before = whole.tobytes()
    results = call(module, out=out)
    assert results[-1] is out, str(call)
    results = [*results[:-1], out.copy()]
    out[...] = 7
    assert whole.tobytes() == before, f"bytes beside out in {call}"
    return results


def in_place(layout, module, call, want):
    """out= is an argument itself: each one of its shape, in some layout."""
    results = None
    for key, a in call.arrays.items():
        if not call.takes_out or a.ndim == 0:
            continue
        if (a.shape, a.dtype) == (want[-1].shape, want[-1].dtype):
            own = layout(a.copy())
            results = call(module, {key: own}, out=own)
            same_bits(results, want, f"out={key}: {call}")
            results = [*results[:-1], own.copy()]
    return results


def _has_rows(call):
    """Whether the first axis counts rows whose results are their own."""
    return call.is_rowwise and call.axis != 0 and call.arrays[call.main].size > 0


def _of_rows(call, change):
    """The arrays with `change` made to those that have a row's part each."""
    per_class = call.arrays[call.main].ndim > 1
    return {
        key: a if key == "weight" and a.ndim == 1 and per_class else change(a)
        for key, a in call.arrays.items()
    }


def in_slices(cuts, module, call, want):
    """Run by run of rows, or of elements."""
    n = len(call.arrays[call.main])
    if not _has_rows(call) or n < 2:
        return None
    ends = sorted({0, *(cut % n for cut in cuts), n})
    parts = [
        call(module, _of_rows(call, lambda a: a[start:end]))  # noqa: B023
        for start, end in itertools.pairwise(ends)
    ]
    return [np.concatenate(results) for results in zip(*parts, strict=True)]


def _repeated(a, times):
    return np.broadcast_to(a, (times, *a.shape)).reshape(times * len(a), *a.shape[1:])


def among_others(elements, module, call, want, **options):
    """In a batch of more than so many elements, that holds the rows many times."""
    if not _has_rows(call):
        return None
    n = len(call.arrays[call.main])
    times = elements // call.arrays[call.main].size + 2
    many = call(module, _of_rows(call, lambda a: _repeated(a, times)), **options)
    for k in (*range(min(times - 1, 5)), times // 2):
        copy = [a[k * n : (k + 1) * n] for a in many]
        same_bits(copy, [a[-n:] for a in many], f"copy {k} of {times} in {call}")
    return [a[-n:] for a in many]


def along(axis, module, call, want):
    """The classes along another axis, or the same one counted from the other end."""
    shape = call.arrays[call.main].shape
    if call.axis is None:
        return None

    def moved(a, source, target):
        return np.ascontiguousarray(np.moveaxis(a, source, target))

    arrays = {
        key: moved(a, call.axis, axis) if a.shape == shape else a for key, a in call.arrays.items()
    }
    turned = dataclasses.replace(call, options={**call.options, "axis": axis})
    own = arrays[call.main].shape
    return [moved(a, axis, call.axis) if a.shape == own else a for a in turned(module, arrays)]


def padded(more, module, call, want):
    """More classes that are masked: -inf, with targets of 0."""
    if call.op.kind not in ("softmax", "loss_rows") or "label_smoothing" in call.options:
        return None
    if call.op.name == "softmax_jacobian":
        return None
    shape, axis = call.arrays[call.main].shape, call.axis
    mask = np.inf if call.op.name == "softmin" else -np.inf
    fills = {call.main: mask, "grad": 0, "targets": 0}

    def longer(key, a):
        if a.shape == shape:
            width = [(0, more if k == axis else 0) for k in range(a.ndim)]
        elif key == "weight":
            width = [(0, more)]
        else:
            return a
        return np.pad(a, width, constant_values=np.asarray(fills.get(key, 1), a.dtype))

    results = call(module, {key: longer(key, a) for key, a in call.arrays.items()})
    own = tuple(np.arange(n) for n in shape)
    return [a[np.ix_(*own)] if a.ndim == len(shape) else a for a in results]


def on_threads(number, module, call, want):
    """Jobs just longer than those that are done without a look at the clock, shared however quick
    they are; the reference shares none."""
    if module is reference or "num_threads" not in parameters_of(call.function):
        return None
    before = kernels.set_sharing(0.0, 1e-6)
    try:
        return among_others(5 << 14, module, call, want, num_threads=number)
    finally:
        kernels.set_sharing(*before)


def _named(function, *values):
    return {
        f"{function.__name__} {getattr(value, '__name__', value)}": functools.partial(
            function, value
        )
        for value in values
    }


def contiguous(a):
    return a.copy()


def same_results(way, module, call, want):
    """Whether the way applies; its results are those wanted."""
    results = WAYS[way](module, call, want)
    if results is None:
        return False
    same_bits(results, want, f"{way}: {call}")
    return True


WAYS = {
    **_named(laid_out, *LAYOUTS),
    **_named(at_offset, 1, 4, 20, 63),
    **_named(written_to, contiguous, *OUT_LAYOUTS),
    **_named(in_place, contiguous, gaps, fortran, in_a_record),
    **_named(in_slices, (1, 2, -1), (4, 9, 17, 33)),
    **_named(among_others, 1, 500),
    **_named(along, 0, -1),
    **_named(padded, 1, 64, 1500),
    **_named(on_threads, 3),
}
