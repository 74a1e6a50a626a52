"""A result depends on the values alone: not on the level (among those with fused multiply-add, and
among those without), the place in a batch, the layout, padding, or whether it is done in place."""

import dataclasses
import functools

import numpy as np
import pytest
from calls import all_calls, brief_calls, calls, same_bits
from conftest import FUSED_LEVELS, LEVELS, few, kernels
from ways import WAYS, along, padded, same_results

from lossgrad.registry import OPS

SHAPES = [(1,), (17,), (2500,), (2, 1), (7, 5), (65, 10), (33, 64), (3, 1023), (3, 1024), (3, 1025)]
SHAPES += [(2, 5001), (2, 70, 3), (2, 3, 4, 5), (130, 2)]
FULLY = [(17,), (7, 5), (33, 64), (2, 3, 4, 5)]  # with every option; others in brief
OF_ROWS = [op for op in OPS if op.kind in ("softmax", "loss_rows")]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42, 1e30, -1e30, 88.9, -104.0]

groups = [FUSED_LEVELS, [name for name in LEVELS if name not in FUSED_LEVELS]]
groups = [group for group in groups if len(group) > 1]


def on_levels(group, call):
    before, results = kernels.level(), []
    try:
        for level in group:
            kernels.set_level(level)
            results.append(call())
    finally:
        kernels.set_level(before)
    return results


@pytest.mark.parametrize("group", groups, ids=lambda group: "=".join(group))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_levels_agree(group, shape, dtype, rng):
    """Each call in half of the shapes in float32, in the others in float64."""
    turn = SHAPES.index(shape) + groups.index(group) + (dtype == np.float64)
    for axis in {0, len(shape) // 2, len(shape) - 1}:
        made = all_calls(shape, dtype, rng, axis, brief=shape not in FULLY)
        for call in made[turn % 2 :: 2]:
            if call.axis is None and axis < len(shape) - 1:
                continue  # has its turn with the last axis
            first, *others = on_levels(group, lambda: call(_package()))  # noqa: B023
            for level, other in zip(group[1:], others, strict=True):
                same_bits(other, first, f"{level}, {group[0]}: {call}")


def _package():
    import lossgrad

    return lossgrad


@pytest.mark.parametrize("group", groups, ids=lambda group: "=".join(group))
def test_levels_agree_on_special_values(group, dtype, rng):
    info = np.finfo(dtype)
    values = np.array(
        [*SPECIAL, info.max, info.min, info.tiny, info.smallest_subnormal], np.float64
    )
    turn = groups.index(group) + (dtype == np.float64)
    for k, shape in enumerate([(40,), (60, 3), (20, 37), (6, 1030)], turn):
        for call in all_calls(shape, dtype, rng)[k % 2 :: 2]:
            if not call.takes_any_number:
                continue
            name = call.main
            x = call.arrays[name].copy()
            some = rng.uniform(size=shape) < rng.choice([0.02, 0.3])
            x[some] = rng.choice(values, some.sum()).astype(dtype)
            first, *others = on_levels(group, lambda: call(_package(), {name: x}))  # noqa: B023
            for level, other in zip(group[1:], others, strict=True):
                same_bits(other, first, f"{level}, {group[0]}: {call}")


CASES = [((40,), -1), ((1, 1), 0), ((9, 17), 0), ((150, 3), -1), ((3, 3000), -1)]
CASES += [((2, 20, 70), 1), ((2, 3, 4, 5), 2), ((3, 0, 5), 2)]


@functools.cache
def results(module, shape, dtype, axis, number):
    return brief_calls(shape, dtype, axis)[number](module)


@pytest.mark.parametrize("way", WAYS)
def test_ways(either, dtype, way):
    """Of random numbers in more shapes than those of the digests, which run on every level: every
    way of each call in some shapes, and in every shape of some calls; of the reference, which makes
    contiguous copies, each call in one way."""
    first = list(WAYS).index(way) + len(WAYS) * (dtype == np.float64)
    apart = few(either, 8, 2 * len(WAYS))
    for k, (shape, axis) in enumerate(few(either, CASES, [((3, 4, 5), 1)]), first):
        made = brief_calls(shape, dtype, axis)
        for number in range(k % apart, len(made), apart):
            want = results(either, shape, dtype, axis, number)
            same_results(way, either, made[number], want)


def of_rows(shape, dtype, rng):
    return [call for op in OF_ROWS for call in calls(op, shape, dtype, rng, brief=True)]


@pytest.mark.parametrize("classes", [33, 127, 129, 300, 1100])
def test_rows_side_by_side(vectors, dtype, classes, rng):
    """The classes along the first axis: some usual rows, some with extremes."""
    for call in of_rows((75, classes), dtype, rng):
        if not call.takes_any_number:
            continue
        x = call.arrays[call.main].copy()
        for row, value in zip(range(3, 75, 7), SPECIAL, strict=False):
            x[row, rng.integers(0, classes, 3)] = value
        x[10, : classes // 2] = -np.inf
        x[17] += 300
        x[18] = 300 + rng.normal(size=classes)  # where every class counts
        x[24] = np.linspace(-100, 100, classes)
        some = {call.main: x}
        turned = dataclasses.replace(call, arrays=call.arrays | some)
        same_bits(
            along(0, vectors, turned, None), call(vectors, some), f"{classes} classes: {call}"
        )


def test_place_in_a_vector(lg, dtype, rng):
    """Elementwise: each element alone gives what it gives anywhere in an array. A third of the
    places for each call, another one for the next."""
    made = all_calls((331,), dtype, rng, brief=True)
    places = *range(34), 127, 128, 129, 255, 329, 330
    for k, call in enumerate(few(lg, made, made[3 * (dtype == np.float64) :: 7])):
        if not call.is_rowwise or call.out_like is None or "axis" in call.options:
            continue
        whole = call(lg)
        for i in few(lg, places[k % 3 :: 3], (0, 69, 330)):
            part = {k: v[i : i + 1] for k, v in call.arrays.items()}
            same_bits(call(lg, part), [w[i : i + 1] for w in whole], f"element {i} of {call}")
        for start in few(lg, range(1 + k % 3, 20, 3), (1, 11)):
            part = {k: v[start:] for k, v in call.arrays.items()}
            same_bits(call(lg, part), [w[start:] for w in whole], f"from {start} of {call}")


PADDING = [1, 3, 16, 63, 64, 500, 1024, 1500]  # one of each call
SIZES = [1, 2, 7, 8, 15, 16, 17, 100, 500, 511, 512, 513, 1000, 1023, 1024, 1025, 2048, 3000]


@pytest.mark.parametrize("size", SIZES)
def test_padding_with_minus_infinity(vectors, dtype, size, rng):
    """Classes that are masked, at the end of a row, change no bit of the others."""
    first = SIZES.index(size) + 4 * (dtype == np.float64)
    for k, call in enumerate(of_rows((3, size), dtype, rng), first):
        more = PADDING[k % len(PADDING)]
        found = padded(more, vectors, call, None)
        if found is not None:
            same_bits(found, call(vectors), f"{more} more than {size} in {call}")


@pytest.mark.parametrize("classes", [2, 10, 17, 50])
def test_few_classes_as_in_longer_rows(vectors, dtype, classes, rng):
    """Rows, with extremes among them, give what they give as rows of many classes, masked."""
    tiny = np.nextafter(np.zeros(1, dtype), 1)[0] * 7
    for call in of_rows((75, classes), dtype, rng):
        x = call.arrays[call.main].copy()
        if not call.takes_any_number:
            continue
        for row, value in zip(range(3, 75, 7), SPECIAL, strict=False):
            x[row, rng.integers(0, classes, 2)] = value
        x[17] += 300
        x[18] -= 3000
        some = {call.main: x}
        if np.ndim(call.arrays.get("grad")):
            some["grad"] = call.arrays["grad"].copy()
            some["grad"][::3] *= tiny
        changed = dataclasses.replace(call, arrays=call.arrays | some)
        longer = padded(200, vectors, changed, None)
        if longer is not None:
            same_bits(changed(vectors), longer, f"{classes} classes: {call}")


def test_sizes_that_are_stored_past_the_cache(vectors, dtype, rng):
    """Outputs of 12 MB and more take another way to memory."""
    n = (12 << 20) // np.dtype(dtype).itemsize + 5
    x = rng.normal(size=n).astype(dtype) * 5
    want = np.concatenate([vectors.sigmoid(part) for part in np.array_split(x, 7)])
    same_bits([vectors.sigmoid(x)], [want])
    out = np.empty(n + 3, dtype)[3:]
    same_bits([vectors.sigmoid(x, out=out)], [want])
    t = (x > 1).astype(dtype)
    f = vectors.binary_cross_entropy_with_logits_value_and_grad
    loss, grad = f(x, t, reduction="none")
    parts = zip(np.array_split(x, 7), np.array_split(t, 7), strict=True)
    parts = [f(a, b, reduction="none") for a, b in parts]
    same_bits([loss, grad], [np.concatenate(p) for p in zip(*parts, strict=True)])
    for classes in (1000, 3001):
        rows = n // classes + 2
        z = np.resize(x, (rows, classes))
        y = rng.integers(0, classes, rows)
        f = vectors.cross_entropy_value_and_grad
        loss, grad = f(z, y, reduction="none")
        cut = rows // 3
        parts = [f(z[:cut], y[:cut], reduction="none"), f(z[cut:], y[cut:], reduction="none")]
        same_bits([loss, grad], [np.concatenate(p) for p in zip(*parts, strict=True)])
        want = np.concatenate([vectors.softmax(z[:cut]), vectors.softmax(z[cut:])])
        same_bits([vectors.softmax(z)], [want])
