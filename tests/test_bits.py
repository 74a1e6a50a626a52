"""A result depends on the values alone: not on the level (among those with fused multiply-add, and
among those without), the place in a batch, the layout, padding, or whether it is done in place."""

import numpy as np
import pytest
from calls import all_calls, same_bits
from conftest import FUSED_LEVELS, LEVELS, kernels

from lossgrad import reference

SHAPES = [(1,), (17,), (2500,), (2, 1), (7, 5), (65, 10), (33, 64), (3, 1023), (3, 1024), (3, 1025)]
SHAPES += [(2, 5001), (2, 70, 3), (2, 3, 4, 5), (130, 2)]
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
    for axis in {0, len(shape) // 2, len(shape) - 1}:
        for call in all_calls(shape, dtype, rng, axis, brief=len(shape) > 2):
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
    for shape in [(40,), (60, 3), (20, 37), (6, 1030)]:
        for call in all_calls(shape, dtype, rng):
            if not call.takes_any_number:
                continue
            name = call.main
            x = call.arrays[name].copy()
            some = rng.uniform(size=shape) < rng.choice([0.02, 0.3], shape)
            x[some] = rng.choice(values, some.sum()).astype(dtype)
            first, *others = on_levels(group, lambda: call(_package(), {name: x}))  # noqa: B023
            for level, other in zip(group[1:], others, strict=True):
                same_bits(other, first, f"{level}, {group[0]}: {call}")


def _without_reduction(shape, dtype, rng, axis=-1, brief=False):
    for call in all_calls(shape, dtype, rng, axis, brief):
        if call.is_rowwise:
            yield call


@pytest.mark.parametrize("shape", [(150, 3), (70, 10), (5, 1000), (3, 3000), (9, 512)], ids=str)
def test_place_in_a_batch(either, dtype, shape, rng):
    """Each row by itself, and any run of rows, gives what it gives among all."""
    if either is reference:
        shape = (min(shape[0], 30), min(shape[1], 300))
    for call in _without_reduction(shape, dtype, rng, brief=either is reference):
        whole = call(either)
        cuts = [(0, 1), (1, 2), (shape[0] - 1, shape[0]), (1, shape[0]), (2, shape[0] // 2 + 2)]
        for a, b in cuts:
            part = {
                k: v if k == "weight" and v.ndim == 1 else v[a:b] for k, v in call.arrays.items()
            }
            same_bits(call(either, part), [w[a:b] for w in whole], f"rows {a}:{b} of {call}")


def test_place_in_a_vector(lg, dtype, rng):
    """Elementwise: each element alone gives what it gives anywhere in an array."""
    for call in _without_reduction((331,), dtype, rng, brief=lg is reference):
        if call.out_like is None or "axis" in call.options:
            continue
        whole = call(lg)
        step = 10 if lg is reference else 1  # it knows no lanes
        for i in (*range(0, 70, step), 127, 128, 129, 255, 329, 330):
            part = {k: v[i : i + 1] for k, v in call.arrays.items()}
            same_bits(call(lg, part), [w[i : i + 1] for w in whole], f"element {i} of {call}")
        for start in range(1, 20, step):
            part = {k: v[start:] for k, v in call.arrays.items()}
            same_bits(call(lg, part), [w[start:] for w in whole], f"from {start} of {call}")


@pytest.mark.parametrize("shape", [(4, 6, 5), (3, 1025, 2), (2, 20, 70)], ids=str)
def test_axis(either, dtype, shape, rng):
    """The class axis may be anywhere."""
    for axis in (0, 1):
        for call in _without_reduction(shape, dtype, rng, axis, brief=either is reference):
            if "axis" not in call.options:
                continue
            moved = {
                k: np.ascontiguousarray(np.moveaxis(v, axis, -1)) if v.shape == shape else v
                for k, v in call.arrays.items()
            }
            want = [
                np.moveaxis(w, -1, axis) if w.ndim == len(shape) else w
                for w in _with_axis(call, -1)(either, moved)
            ]
            same_bits(call(either), want, str(call))
            back = _with_axis(call, axis - len(shape))
            same_bits(back(either), want, str(back))


def _with_axis(call, axis):
    import dataclasses

    return dataclasses.replace(call, options={**call.options, "axis": axis})


SIZES = [1, 2, 7, 8, 15, 16, 17, 100, 500, 511, 512, 513, 1000, 1023, 1024, 1025, 2048, 3000]


@pytest.mark.parametrize("size", SIZES)
def test_padding_with_minus_infinity(vectors, dtype, size, rng):
    check_padding(vectors, dtype, size, rng)


@pytest.mark.parametrize("size", [3, 100])
def test_padding_in_the_reference(dtype, size, rng):
    check_padding(reference, dtype, size, rng)


def check_padding(module, dtype, size, rng):
    """Classes that are masked, at the end of a row, change no bit of the others."""
    for call in _without_reduction((3, size), dtype, rng):
        if call.op.kind not in ("softmax", "loss_rows") or "label_smoothing" in call.options:
            continue
        if call.op.name == "softmax_jacobian":
            continue
        if "targets" in call.arrays and call.arrays["targets"].ndim == 2:
            continue
        want = call(module)
        for more in (1, 3, 16, 63, 64, 500, 1024, 1500):
            padded = {}
            for key, a in call.arrays.items():
                masked = np.inf if call.op.name == "softmin" else -np.inf
                fill = masked if key == call.main else 1
                is_row = a.shape[-1:] == (size,) and (a.ndim == 2 or key == "weight")
                width = [(0, 0)] * (a.ndim - 1) + [(0, more)]
                if key == "grad" and call.function in ("softmax_backward", "softmin_backward"):
                    fill = 0
                if key == "grad" and call.function == "log_softmax_backward":
                    fill = 0
                padded[key] = np.pad(a, width, constant_values=fill) if is_row else a
            got = [g[:, :size] if g.ndim == 2 else g for g in call(module, padded)]
            same_bits(got, want, f"{more} more than {size} in {call}")


def test_in_place(either, dtype, rng):
    """out may be any of the arguments of its shape."""
    for shape in [(9, 5), (4, 5, 6)] if either is reference else [(50,), (3, 1030), (4, 5, 6)]:
        for axis in {len(shape) - 1, 0}:
            for call in all_calls(shape, dtype, rng, axis, brief=either is reference):
                if not call.takes_out:
                    continue
                want = call(either)
                main = want[-1]
                for key, a in call.arrays.items():
                    if a.shape != main.shape or a.dtype != main.dtype:
                        continue
                    own = a.copy()
                    got = call(either, {key: own}, out=own)
                    same_bits(got, want, f"out={key} in {call}")
                    same_bits([own], [main], f"out={key} in {call}")


def test_sizes_that_are_stored_past_the_cache(vectors, dtype, rng):
    """Outputs of 16 MB and more take another way to memory."""
    n = (16 << 20) // np.dtype(dtype).itemsize + 5
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
