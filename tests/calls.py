"""Every way to call every operation of the registry, on arrays of a given shape: what the tests of
layouts, bits and memory iterate, so that a new operation is tested by being in the registry."""

import functools
import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossgrad import reference
from lossgrad.registry import OPS, Op


@functools.cache
def parameters_of(function):
    """Names of a public function's parameters."""
    return tuple(inspect.signature(getattr(reference, function)).parameters)


@dataclass
class Call:
    """A public function and its arguments; arrays may be replaced by others of the same values."""

    function: str
    arrays: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)
    out_like: str | None = None  # the array whose shape `out` has; None: a row's value each
    op: Op | None = None

    def __call__(self, module, arrays=None, **options):
        """All results, as arrays."""
        given = {**self.arrays, **(arrays or {})}
        if self.gives_hessian and "out" in options:  # which is the last of the results here
            options["out"] = (None, options["out"])
        results = getattr(module, self.function)(**given, **self.options, **options)
        return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]

    @property
    def takes_out(self):
        """Whether the last result may be written to `out` (prelu_backward's `out` is its first)."""
        if "out" not in parameters_of(self.function):
            return False
        fused = self.function.endswith(("_backward", "_and_grad", "_and_hess"))
        return self.function != "prelu_backward" and (fused or not self.is_reduced)

    @property
    def gives_value(self):
        return not self.function.removesuffix("_value_grad_and_hess").endswith(
            ("_backward", "_grad_and_hess")
        )

    @property
    def gives_hessian(self):
        return self.function.endswith("_and_hess")

    @property
    def axis(self):
        """That of the classes, from the front; None for all or none."""
        axis = self.options.get("axis")
        return None if axis is None else axis % self.arrays[self.main].ndim

    @property
    def is_reduced(self):
        return self.options.get("reduction", "none") != "none"

    @property
    def is_rowwise(self):
        """Whether each row's results are its own."""
        return not self.is_reduced and self.function != "prelu_backward"

    @property
    def main(self):
        """The name of the first input."""
        return next(key for key in self.arrays if key != "grad")

    @property
    def takes_any_number(self):
        return self.op.inputs[0] not in ("probabilities", "distribution")

    def __str__(self):
        options = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        return f"{self.function}({', '.join(self.arrays)}; {options})"


def logits(rng, shape, dtype):
    """Gaps of all sizes."""
    scale = rng.choice([0.1, 1.0, 10.0, 60.0], shape)
    return (rng.normal(size=shape) * scale).astype(dtype)


def inputs(domain, rng, shape, dtype):
    """Random numbers of a domain of the registry, far from its ends."""
    if domain in ("probabilities", "distribution"):
        return rng.uniform(0.2, 0.9, shape).astype(dtype)
    if domain == "log-probabilities":
        return -abs(logits(rng, shape, dtype))
    if domain == "log-means":
        return rng.normal(size=shape).astype(dtype)
    if domain == "amounts":
        return rng.uniform(0.1, 4, shape).astype(dtype)
    return logits(rng, shape, dtype)


def weights(rng, shape, dtype):
    return np.asarray(rng.uniform(0.1, 3, shape), dtype)


def sample_weights(rng, shape):
    """Some are 0."""
    return np.asarray(rng.uniform(0.1, 3, shape) * (rng.uniform(size=shape) < 0.8))


def calls(op, shape, dtype, rng, axis=-1, brief=False):
    """All calls of an operation on one set of random arrays; the most different ones if brief."""
    axis %= len(shape)
    found = KINDS[op.kind](op, shape, dtype, rng, axis, brief)
    for call in found:
        call.op = op
    return found


def _rows(shape, axis):
    return shape[:axis] + shape[axis + 1 :]


def _options(op, brief):
    """Values of parameters; of the variants those that take another way if brief."""
    other_ways = [v for v in op.variants if any(isinstance(k, str | bool) for k in v.values())]
    return [{}, *(other_ways if brief else op.variants)]


def _pair(name, grad, arrays, options, out_like, value_like=None):
    """The forward and the backward call."""
    return [
        Call(name, arrays, options, value_like),
        Call(f"{name}_backward", {"grad": grad, **arrays}, options, out_like),
    ]


def _fused(op, arrays, options, out_like):
    """The calls of several results, for an incoming gradient of 1."""
    names = [name for name in op.functions if name.endswith(("_and_grad", "_and_hess"))]
    return [Call(name, arrays, options, out_like) for name in names]


def _elementwise(op, shape, dtype, rng, axis, brief):
    key = "x" if op.inputs == ("real",) else "p"
    arrays = {key: inputs(op.inputs[0], rng, shape, dtype)}
    g = rng.normal(size=shape).astype(dtype)
    return [
        call
        for options in _options(op, brief)
        for call in _pair(op.name, g, arrays, options, key, key) + _fused(op, arrays, options, key)
    ]


def _sloped(op, shape, dtype, rng, axis, brief):
    """In evaluation: what rrelu draws in training depends on an element's place."""
    x, g = logits(rng, shape, dtype), rng.normal(size=shape).astype(dtype)
    if op.name == "rrelu":
        return _pair("rrelu", g, {"x": x}, {"upper": 0.5}, "x", "x")
    if len(shape) == 1:
        return _pair("prelu", g, {"x": x}, {"weight": 0.3}, "x", "x")
    slopes = rng.normal(size=shape[axis]).astype(dtype)
    return _pair("prelu", g, {"x": x, "weight": slopes}, {"axis": axis}, "x", "x")


def _softmax(op, shape, dtype, rng, axis, brief):
    x, g = logits(rng, shape, dtype), rng.normal(size=shape).astype(dtype)
    row = np.asarray(rng.normal(size=_rows(shape, axis)), dtype)
    options = {"axis": axis}
    if op.name == "softmax_jacobian":
        return [Call(op.name, {"x": x}, options)] if shape[axis] <= 70 else []
    if op.name != "logsumexp":
        return _pair(op.name, g, {"x": x}, options, "x", "x")
    b = weights(rng, shape, dtype)
    return _pair(op.name, row, {"x": x}, options, "x") + _pair(
        op.name, row, {"x": x, "b": b}, options, "x"
    )


def _distribution(op, shape, dtype, rng, axis, brief):
    row = np.asarray(rng.normal(size=_rows(shape, axis)), dtype)
    names = ("p", "q")[: len(op.inputs)]
    arrays = {name: inputs("distribution", rng, shape, dtype) for name in names}
    return [
        call
        for options in _options(op, brief)
        for call in _pair(op.name, row, arrays, {"axis": axis, **options}, "p")
    ]


def _norm(op, shape, dtype, rng, axis, brief):
    row = np.asarray(rng.normal(size=_rows(shape, axis)), dtype)
    arrays, options = {"x": logits(rng, shape, dtype)}, {"axis": axis}
    return _pair(op.name, row, arrays, options, "x") + _fused(op, arrays, options, "x")


def _loss_elementwise(op, shape, dtype, rng, axis, brief):
    parameters = parameters_of(op.name)
    x_name, t_name = parameters[:2]
    x, t = (inputs(domain, rng, shape, dtype) for domain in op.inputs)
    has_labels = op.inputs[1] in ("probabilities", "binary targets", "binary labels")
    if has_labels:
        t = rng.uniform(size=shape).astype(dtype)
        labels = (rng.uniform(size=shape) < 0.5).astype(dtype)
        t = labels if op.inputs[1] == "binary labels" else t
    arrays = {x_name: x, t_name: t}
    variants = [({**arrays, t_name: labels} if has_labels else arrays, {})]
    heavy = {
        key: weights(rng, shape, dtype) for key in ("weight", "pos_weight") if key in parameters
    }
    variants.append(({**arrays, **heavy}, {}))
    if "sample_weight" in parameters:
        variants.append(({**arrays, **heavy, "sample_weight": sample_weights(rng, shape)}, {}))
    for options in _options(op, brief)[1:]:
        logs = {}
        if "log_target" in options:
            logs[t_name] = inputs("log-probabilities", rng, shape, dtype)
        variants.append(({**arrays, **heavy, **logs}, options))
    reductions = ["none", "mean", "sum"] + (["batchmean"] if op.name == "kl_div" else [])
    every = [(v, r) for v in variants for r in reductions]
    some = [(variants[0], "none"), *((v, "none") for v in variants[1:]), (variants[1], "mean")]
    g = rng.normal(size=shape).astype(dtype)
    return _losses(op, some if brief else every, {}, g, x_name, x_name)


def _loss_rows(op, shape, dtype, rng, axis, brief):
    classes, rows = shape[axis], _rows(shape, axis)
    name = parameters_of(op.name)[0]
    x = inputs(op.inputs[0], rng, shape, dtype)
    y = np.asarray(rng.integers(0, classes, rows))
    y = np.where(rng.uniform(size=rows) < 0.1, -100, y)
    w = weights(rng, classes, dtype)
    labels, weighted = {name: x, "targets": y}, {name: x, "targets": y, "weight": w}
    sampled = {**weighted, "sample_weight": sample_weights(rng, rows)}
    variants = [(labels, {}), (weighted, {}), (sampled, {})]
    some = [(0, "none"), (1, "mean"), (2, "none")]
    if op.name == "cross_entropy":
        q = rng.uniform(size=shape).astype(dtype)
        smooth, soft = {"label_smoothing": 0.1}, {name: x, "targets": q}
        variants += [(weighted, smooth), ({**soft, "weight": w}, {}), (soft, {}), (labels, smooth)]
        some += [(3, "none"), (4, "mean")]
    for options in op.variants:
        some.append((len(variants), "mean" if "label_smoothing" in options else "none"))
        variants.append((weighted if len(variants) % 2 else labels, options))
    every = [(v, r) for v in variants for r in ("none", "mean", "sum")]
    chosen = [(variants[k], r) for k, r in some] if brief else every
    row = np.asarray(rng.normal(size=rows), dtype)
    return _losses(op, chosen, {"axis": axis}, row, name, None)


def _losses(op, chosen, plain, incoming, name, value_like):
    result = []
    for (arrays, options), reduction in chosen:
        options = {**plain, **options, "reduction": reduction}
        grad = incoming if reduction == "none" else np.asarray(1.5, incoming.dtype)
        result += _pair(op.name, grad, arrays, options, name, value_like)
        result += _fused(op, arrays, options, name)
    return result


KINDS = {
    "elementwise": _elementwise,
    "sloped": _sloped,
    "softmax": _softmax,
    "distribution": _distribution,
    "norm": _norm,
    "loss_elementwise": _loss_elementwise,
    "loss_rows": _loss_rows,
}


def all_calls(shape, dtype, rng, axis=-1, brief=False):
    return [call for op in OPS for call in calls(op, shape, dtype, rng, axis, brief)]


@functools.cache
def brief_calls(shape, dtype, axis=-1):
    """Those of one set of random arrays, made once for all tests, which write to none of them."""
    return all_calls(shape, dtype, np.random.default_rng(len(shape)), axis, brief=True)


def unlike(made):
    """One of the calls of the same function, arguments and reduction; others differ in options."""
    return list({(c.function, *c.arrays, c.options.get("reduction")): c for c in made}.values())


def one_of_each(made):
    """A call of each function, reduced and not."""
    return [*{(call.function, call.is_reduced): call for call in made}.values()]


def bits(a):
    """The bits, with one NaN for all."""
    a = np.asarray(a)
    if a.dtype.kind != "f" and a.dtype.name != "bfloat16":
        return a
    a = np.where(np.isnan(a), np.array(np.nan, a.dtype), a)
    return np.ascontiguousarray(a).view(f"u{a.itemsize}").reshape(a.shape)


def same_bits(results, expected, what=""):
    assert len(results) == len(expected)
    for got, want in zip(results, expected, strict=True):
        assert got.dtype == want.dtype, what
        assert got.shape == want.shape, what
        if got.tobytes() == want.tobytes():  # mostly, and quick; else NaN may be of two kinds
            continue
        differ = bits(got) != bits(want)
        assert not differ.any(), (
            f"{what}: {differ.sum()} of {differ.size} differ, first at "
            f"{tuple(map(int, np.argwhere(differ)[0]))}: {got[differ][0]!r}, {want[differ][0]!r}"
        )
