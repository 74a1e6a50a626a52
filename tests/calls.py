"""Every way to call every operation of the registry, on arrays of a given shape: what the tests of
layouts, bits and memory iterate, so that a new operation is tested by being in the registry."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossgrad._registry import OPS


@dataclass
class Call:
    """A public function and its arguments; arrays may be replaced by others of the same values."""

    function: str
    arrays: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)
    out_like: str | None = None  # the array whose shape `out` has; None: a row's value each

    def __call__(self, module, arrays=None, **options):
        """All results, as arrays."""
        given = {**self.arrays, **(arrays or {})}
        results = getattr(module, self.function)(**given, **self.options, **options)
        return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]

    @property
    def takes_out(self):
        reduced = self.options.get("reduction") in ("mean", "sum")
        return not reduced or self.function.endswith(("_backward", "_and_grad"))

    def __str__(self):
        options = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        return f"{self.function}({', '.join(self.arrays)}; {options})"


def logits(rng, shape, dtype):
    """Gaps of all sizes."""
    scale = rng.choice([0.1, 1.0, 10.0, 60.0], shape)
    return (rng.normal(size=shape) * scale).astype(dtype)


def calls(op, shape, dtype, rng, axis=-1, brief=False):
    """All calls of an operation on one set of random arrays; the most different ones if brief."""
    x = logits(rng, shape, dtype)
    g = rng.normal(size=shape).astype(dtype)
    if op.kind == "elementwise":
        return [
            Call(op.name, {"x": x}, {}, "x"),
            Call(f"{op.name}_backward", {"grad": g, "x": x}, {}, "x"),
        ]
    axis %= len(shape)
    rows = shape[:axis] + shape[axis + 1 :]
    row = np.asarray(rng.normal(size=rows), dtype)
    if op.kind == "softmax":
        incoming = row if op.name == "logsumexp" else g
        return [
            Call(op.name, {"x": x}, {"axis": axis}, None if op.name == "logsumexp" else "x"),
            Call(f"{op.name}_backward", {"grad": incoming, "x": x}, {"axis": axis}, "x"),
        ]
    if op.kind == "loss_elementwise":
        labels = (rng.uniform(size=shape) < 0.5).astype(dtype)
        soft = rng.uniform(size=shape).astype(dtype)
        w, p = (rng.uniform(0.1, 3, shape).astype(dtype) for _ in range(2))
        heavy = {"targets": soft, "weight": w, "pos_weight": p}
        variants = [({"targets": labels}, {}), (heavy, {})]
        plain, rows = {}, shape
        some = [(0, "none"), (1, "none"), (1, "mean")]
    else:
        classes = shape[axis]
        y = np.asarray(rng.integers(0, classes, rows))
        y = np.where(rng.uniform(size=rows) < 0.1, -100, y)
        q = rng.uniform(size=shape).astype(dtype)
        w = rng.uniform(0.1, 3, classes).astype(dtype)
        smooth = {"label_smoothing": 0.1}
        variants = [({"targets": y}, {}), ({"targets": y, "weight": w}, {})]
        variants += [({"targets": y, "weight": w}, smooth), ({"targets": q, "weight": w}, {})]
        variants += [({"targets": q}, {}), ({"targets": y}, smooth)]
        plain = {"axis": axis}
        some = [(0, "none"), (1, "mean"), (2, "none"), (3, "mean")]
    every = [(k, r) for k in range(len(variants)) for r in ("none", "mean", "sum")]
    result = []
    for k, reduction in some if brief else every:
        variant, options = variants[k]
        arrays, options = {"logits": x, **variant}, {**plain, **options, "reduction": reduction}
        same = "logits" if op.kind == "loss_elementwise" else None
        incoming = row if op.kind == "loss_rows" else g
        if reduction != "none":
            incoming = np.asarray(1.5, dtype)
        back = {"grad": incoming, **arrays}
        result.append(Call(op.name, arrays, options, same))
        result.append(Call(f"{op.name}_value_and_grad", arrays, options, "logits"))
        result.append(Call(f"{op.name}_backward", back, options, "logits"))
    return result


def all_calls(shape, dtype, rng, axis=-1, brief=False):
    return [call for op in OPS for call in calls(op, shape, dtype, rng, axis, brief)]


def bits(a):
    """The bits, with one NaN for all."""
    a = np.asarray(a)
    if a.dtype.kind != "f":
        return a
    a = np.where(np.isnan(a), np.array(np.nan, a.dtype), a)
    return np.ascontiguousarray(a).view(f"u{a.itemsize}").reshape(a.shape)


def same_bits(results, expected, what=""):
    assert len(results) == len(expected)
    for got, want in zip(results, expected, strict=True):
        assert got.dtype == want.dtype, what
        assert got.shape == want.shape, what
        differ = bits(got) != bits(want)
        assert not differ.any(), (
            f"{what}: {differ.sum()} of {differ.size} differ, first at "
            f"{tuple(map(int, np.argwhere(differ)[0]))}: {got[differ][0]!r}, {want[differ][0]!r}"
        )
