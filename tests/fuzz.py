"""Random calls of every function, each on all levels and in the reference, against exact values.

``python -m tests.fuzz --seconds 600 --seed N`` prints its seed, a line for each kind of finding,
and how many cases and checks there were; its exit status is 1 if there are findings. Case K of seed
N is always the same call: ``python -m tests.fuzz --case N:K`` makes it again, ``--cases K`` ends
before it on any machine, and ``--only NAME``, which may be given several times, leaves out the
other operations.
"""

import argparse
import dataclasses
import itertools
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import ulp
import ways
from calls import bits, calls
from conftest import FUSED_LEVELS, LEVELS, kernels
from wanted import wanted

import lossgrad
from lossgrad import reference
from lossgrad.registry import OPS

HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
FLOATS = [*HALVES, np.dtype(np.float32), np.dtype(np.float64)]
WHOLE = [np.dtype(t) for t in (np.int8, np.int64, np.uint16, bool)]
SHAPES = [(1,), (3,), (17,), (70,), (0,), (1, 1), (4, 3), (9, 10), (2, 33), (3, 5, 4), (2, 3, 2, 3)]
SHAPES += [(3, 130), (2, 1030), (2, 0), (40, 2)]
FOUND = 3  # exit status of the process that searches; any other is a crash
# What rounding adds where a gradient is multiplied by one more number: g over the sum of weights.
SCALED = 1.5
WEIGHTS = ("weight", "pos_weight", "sample_weight")  # each further one is rounded, and its product
ORDINARY = 0.02  # and to a half type by its own rounding, which a bound in float32 does not know


# ---- cases ---------------------------------------------------------------------------------------


@dataclasses.dataclass
class Case:
    """A call, the layouts of its arrays, and where its result goes."""

    name: str  # "SEED:K"
    call: object
    layouts: dict
    target: tuple | None  # (the array that out= overlaps, by how many elements it is shifted)
    mistake: object = None  # the call as it must be refused, if that is what is tried

    def __str__(self):
        call = self.mistake or self.call
        arrays = [f"{k}={_literal(a)}{self._layout(k)}" for k, a in call.arrays.items()]
        options = [f"{k}={v!r}" for k, v in call.options.items()]
        out = [f"out over {self.target[0]} + {self.target[1]}"] if self.target else []
        return f"{call.function}({', '.join([*arrays, *options, *out])})"

    def _layout(self, key):
        layout = self.layouts.get(key, ways.contiguous)
        return "" if layout is ways.contiguous else f" [{layout.__name__}]"


def _literal(a):
    """An array as an expression; of a larger one what stands in its bits."""
    if a.size > 40:
        return f"<{a.dtype} {a.shape}>"
    if a.dtype.kind in "biu":
        return f"np.array({a.tolist()}, {a.dtype.name!r})"
    return f"np.array({a.tolist()}, {a.dtype.name!r})".replace("nan", "np.nan").replace(
        "inf", "np.inf"
    )


def case(name):
    """The case that is called so."""
    seed, k = map(int, name.split(":"))
    rng = np.random.default_rng([seed, k])
    while True:
        op = OPS[rng.integers(len(OPS))]
        dtype = FLOATS[rng.integers(4)]
        shape = SHAPES[rng.integers(len(SHAPES))]
        axis = int(rng.integers(len(shape)))
        if shape[axis] or op.kind not in ("softmax", "loss_rows", "distribution"):
            found = calls(op, shape, dtype, rng, axis)
            if found:
                break
    call = found[rng.integers(len(found))]
    call.arrays = {k: _varied(rng, a, call, k) for k, a in call.arrays.items()}
    layouts = {k: _layout(rng, a) for k, a in call.arrays.items()}
    mistake = _mistaken(rng, call) if rng.integers(12) == 0 else None
    return Case(name, call, layouts, None if mistake else _target(rng, call), mistake)


def _mistaken(rng, call):
    """The call with a label, a shape, a dtype or an option that is none."""
    arrays, options = dict(call.arrays), dict(call.options)
    key = list(arrays)[rng.integers(len(arrays))]
    a, how = arrays[key], rng.integers(4)
    if how == 0 and "targets" in arrays and arrays["targets"].dtype.kind in "iu":
        labels = arrays["targets"].copy()
        labels[rng.random(labels.shape) < 0.5] = np.iinfo(labels.dtype).max
        arrays["targets"] = labels
    elif how == 1:
        arrays[key] = np.zeros(a.shape, np.complex64)
    elif how == 2:
        options |= {k: v for k, v in {"axis": 9, "reduction": "all"}.items() if k in options}
    else:
        arrays[key] = np.concatenate([a, a], axis=-1) if a.ndim else np.zeros((2, 3), a.dtype)
    return dataclasses.replace(call, arrays=arrays, options=options)


def _layout(rng, a):
    if a.ndim == 0 or a.size == 0:
        return ways.contiguous
    return [ways.contiguous, *ways.LAYOUTS][rng.integers(len(ways.LAYOUTS) + 1)]


def _target(rng, call):
    """out= over one of the arrays, sometimes."""
    keys = [k for k, a in call.arrays.items() if a.size]
    if not call.takes_out or not keys or rng.integers(3):
        return None
    return keys[rng.integers(len(keys))], int(rng.choice([0, 0, 1, 2, 5, -1, -3]))


def specials(dtype):
    """Ends of the range, subnormals, powers of two around its square root, and infinities."""
    info = ulp.info(dtype)
    n = int(info.maxexp)
    ends = [info.max, info.tiny, info.smallest_subnormal, info.tiny / 2, 0.0, 1.0, 1 + info.eps]
    powers = [2.0**k for k in (n // 2 - 1, n // 2, n // 2 + 1, -n // 2, -n // 2 - 3, n - 2, 3 - n)]
    usual = [0.5, 3.0, 20.0, 88.7, 104.0, 710.0, 746.0]
    values = np.array([*map(float, ends), *powers, *usual, np.inf])
    with np.errstate(all="ignore"):
        return np.append(values, -values).astype(dtype)


def _nans(rng, dtype, size):
    """NaN of every payload and sign."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    exponent = np.array(np.inf, dtype).view(unsigned)
    mantissa = int(np.array(ulp.info(dtype).nmant))
    payload = rng.integers(1, 1 << mantissa, size, endpoint=False).astype(unsigned)
    payload = np.where(rng.integers(3, size=size) == 0, (1 << mantissa) - 1, payload)
    sign = rng.integers(2, size=size).astype(unsigned) << unsigned.type(8 * dtype.itemsize - 1)
    return (payload.astype(unsigned) | exponent | sign.astype(unsigned)).view(dtype)


def _varied(rng, a, call, key):
    """The array with special values among its own, or of integers, or with whole rows masked."""
    if a.dtype.kind in "iu" or a.size == 0:
        return a
    values = _allowed(specials(a.dtype), call, key)
    how = rng.integers(8)
    if how == 0:
        return a
    if how == 1 and a.ndim and call.takes_any_number:
        return (np.clip(np.nan_to_num(a.astype(np.float64)), 0, 9)).astype(WHOLE[rng.integers(4)])
    special = rng.choice(values.astype(np.float64), a.shape).astype(a.dtype)
    if call.takes_any_number and rng.integers(3) == 0:
        special = np.where(rng.random(a.shape) < 0.3, _nans(rng, a.dtype, a.shape), special)
    if how == 2 and a.ndim and call.takes_any_number and np.isinf(values).any():
        special = np.full_like(a, -np.inf)
    share = [0.05, 0.3, 1.0][rng.integers(3)]
    return np.asarray(np.where(rng.random(a.shape) < share, special, a), a.dtype)


def _allowed(values, call, key):
    """Those that are in the domain of an argument.

    With a negative pos_weight or b of logsumexp terms cancel to what rounding leaves, maybe 0: an
    infinite weight times it, or its logarithm, depends on the rounding. So do Hessians, and losses
    of rows or logits that bend, which know none below the range of a type. Amounts are above 0.
    """
    bends = call.op.name in ("softmax_focal_loss", "poly_loss_cross_entropy")
    bends = bends or "softcap" in call.options
    if key in ("weight", "grad") and (bends or call.gives_hessian):
        return values[np.isfinite(values)]
    if key == "target" and call.op.inputs[0] == "log-means":
        return values[(values > 0) & np.isfinite(values)]
    if key in ("pos_weight", "b"):
        return values[~(values < 0)]
    if call.takes_any_number or key in ("grad", "weight"):
        return values
    most = 1 if call.op.inputs[0] == "probabilities" else np.inf
    with np.errstate(all="ignore"):
        return values[(values >= 0) & (values <= most)]


# ---- running -------------------------------------------------------------------------------------


def attempt(call, module, arrays, **options):
    """The results, or the error that the call ends with; a warning is one."""
    try:
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            return [a.copy() for a in call(module, arrays, **options)]
    except Exception as error:
        return error


def laid_out(case):
    return {k: case.layouts[k](a.copy()) for k, a in case.call.arrays.items()}


def over_an_input(case, module, like):
    """What is in out=, which overlaps an input, and the error if there is one."""
    key, shift = case.target
    arrays = laid_out(case)
    out, arrays[key] = ways.overlapping(case.call.arrays[key], like.shape, like.dtype, shift)
    return attempt(case.call, module, arrays, out=out)


def backends():
    for level in LEVELS:
        kernels.set_level(level)
        yield level, lossgrad
    if kernels:
        kernels.set_level(None)
    yield "reference", reference


# ---- checks --------------------------------------------------------------------------------------


def findings(case, count):
    """(what, backend, message) of all that is wrong with a case."""
    if case.mistake:
        return _refused(case, count)
    fresh = {name: attempt(case.call, module, laid_out(case)) for name, module in backends()}
    found = _same_errors(fresh, count)
    if found or isinstance(fresh["reference"], Exception):
        return found
    found += _same_bits(fresh, count) + _near(case, fresh, count)
    return found + (_overlaps(case, fresh, count) if case.target else [])


def _refused(case, count):
    """A mistake is the same error everywhere, and nothing is written."""
    like = attempt(case.call, reference, {})
    if isinstance(like, Exception):
        return []  # there are two, and nothing says which is named
    options, raised, found = {}, {}, []
    for name, module in backends():
        if case.call.takes_out:
            options["out"] = np.full_like(like[-1], 7)
        raised[name] = attempt(case.mistake, module, {}, **options)
        count["nothing written on an error"] += 1
        if options and isinstance(raised[name], Exception) and not (options["out"] == 7).all():
            found.append(("written on an error", name, repr(raised[name])))
    return found + _same_errors(raised, count)


def _overlaps(case, fresh, count):
    found = []
    for name, module in backends():
        count["out over an input"] += 1
        got = over_an_input(case, module, fresh[name][-1])
        if isinstance(got, Exception) or not _alike(got, fresh[name]):
            found.append(("out over an input", name, f"{got!r}, not {fresh[name]!r}"))
    return found


def _alike(a, b):
    return all(
        x.dtype == y.dtype and x.shape == y.shape and (bits(x) == bits(y)).all()
        for x, y in zip(a, b, strict=True)
    )


def _same_errors(fresh, count):
    count["errors of one type"] += 1
    kinds = {
        name: type(r).__name__ if isinstance(r, Exception) else "a result"
        for name, r in fresh.items()
    }
    if len(set(kinds.values())) == 1:
        return []
    return [("errors", "-", ", ".join(f"{name}: {kind}" for name, kind in kinds.items()))]


def _same_bits(fresh, count):
    fused = [name for name in FUSED_LEVELS if name in fresh]
    found = []
    for name in fused[1:]:
        count["bits of levels"] += 1
        if not _alike(fresh[name], fresh[fused[0]]):
            found.append(("bits", name, f"{fresh[name]!r}, {fused[0]}: {fresh[fused[0]]!r}"))
    return found


def bound(call, order):
    """ULP that a result of a call, a derivative of some order, may be from its exact value."""
    ops, name = kernels.ROW_OPS | kernels.OPS if kernels else {}, call.op.name
    if order == 2 and kernels and name in kernels.OPS:
        return ops[name].hessian_bound + ("pos_weight" in call.arrays)
    own = [op for key, op in ops.items() if key == name or key.startswith(f"{name}_")]
    stated = [(op.bound, op.derivative_bound, op.hessian_bound)[order] for op in own]
    return max(stated, default=4.0)


def _near(case, fresh, count):
    """Results beyond the bound; where no exact value is known, those that differ in kind."""
    call, exact = case.call, wanted(case.call)
    found = []
    for k, want in enumerate(fresh["reference"]):
        without = call.function.endswith(("_backward", "_grad_and_hess"))  # the value, that is
        order = k + (without and "_value" not in call.function)
        weights = sum(name in call.arrays for name in WEIGHTS)
        scaled = SCALED * bool(order or call.is_reduced or weights) + max(weights - 1, 0)
        limit = bound(call, order) + scaled + ORDINARY
        pair = exact[k] if exact is not None and k < len(exact) else None
        for name, results in fresh.items():
            count["exact" if pair else "kinds"] += 1
            got = results[k]
            if pair:
                message = _beyond(_as_accurate(got, call), *pair, limit)
                if message:
                    found.append(("exact", _who(name), message))
            message = _differ(got, want)
            if message:
                found.append(("limits", _who(name), message))
    return found


def _as_accurate(got, call):
    """A reduced loss is a float of Python, made of terms in the type that is computed in."""
    dtype = call.arrays[call.main].dtype
    with np.errstate(all="ignore"):
        single = got.ndim == 0 and call.is_reduced and dtype in FLOATS[:3]
        return got.astype(np.float32) if single else got


def _who(name):
    return name if name == "reference" else "kernels"


def _beyond(got, exact, larger, limit):
    exact, larger = (np.broadcast_to(a, got.shape) for a in (exact, larger))
    known = np.isfinite(exact)
    if not known.any():
        return None
    apart = _distance(got[known], exact[known], larger[known])
    at = int(apart.argmax())
    if apart[at] <= limit:
        return None
    index = tuple(map(int, np.argwhere(known)[at]))
    return f"got {got[index]!r}, right: {exact[index]!r} at {index} ({apart[at]:.3g} ULP)"


def _distance(got, exact, larger):
    """In ULP, where an infinity stands for the number that would follow the largest."""
    apart = ulp.distance(got, exact, larger)
    end = np.sign(exact) * np.ldexp(np.ones((), exact.dtype), ulp.info(got.dtype).maxexp)
    beyond = np.isinf(got) & (np.sign(got) == np.sign(exact)) & (apart > 0)
    return np.where(beyond, abs(end - exact) / ulp.unit(exact, got.dtype), apart)


def _differ(got, want):
    """Where one is NaN or infinite and the other is not the same."""
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), want.astype(np.float64)
        top = np.float64(ulp.info(want.dtype).max) if want.dtype.kind not in "iu" else np.inf
        near = (abs(a) > top / 2) & (abs(b) > top / 2) & (np.sign(a) == np.sign(b))
        differ = (np.isnan(a) != np.isnan(b)) | ((np.isinf(a) != np.isinf(b)) & ~near)
        differ |= np.isinf(a) & np.isinf(b) & (a != b)
    if not differ.any():
        return None
    index = tuple(map(int, np.argwhere(differ)[0]))
    return f"got {got[index]!r}, reference: {want[index]!r} at {index}"


# ---- the command ---------------------------------------------------------------------------------


def one_line(case, what, name, message):
    text = " ".join(message.split())
    return f"python -m tests.fuzz --case '{case.name}'  # {what}, {name}: {case}: {text[:300]}"


def search(names, seconds, place, only=None):
    """Make cases for so long and print what is found; ends the process with FOUND or 0."""
    count, seen, end = Counter(), Counter(), time.monotonic() + seconds
    for name in names:
        place.value = name.encode()
        made = case(name)
        if only and made.call.op.name not in only:
            continue
        count["cases"] += 1
        for what, where, message in findings(made, count):
            key = (made.call.function, what, where)
            if key not in seen:
                print(one_line(made, what, where, message), flush=True)
            seen[key] += 1
        if time.monotonic() > end:
            break
    print(", ".join(f"{key}: {number}" for key, number in count.items()))
    print(f"{len(seen)} kinds of finding, {seen.total()} findings", flush=True)
    sys.exit(FOUND if seen else 0)


def search_all(seed, cases, seconds, place, only):
    search(
        (f"{seed}:{k}" for k in itertools.islice(itertools.count(), cases)), seconds, place, only
    )


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, help="and at most so many; any number if not given")
    parser.add_argument("--seed", type=int, help="a fresh one if it is not given")
    parser.add_argument("--case", help="SEED:K, the one case to make")
    parser.add_argument("--only", action="append", metavar="NAME", choices=[op.name for op in OPS])
    parser.add_argument("--crashes-only", action="store_true", help="for builds with a sanitizer")
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")  # a crash is a finding as well
    place = context.Array("c", 64)
    seed = time.time_ns() % 10**9 if options.seed is None else options.seed
    if options.case:
        target, given = search, ([options.case], 0, place)
    else:
        print(f"seed {seed}", flush=True)
        target, given = search_all, (seed, options.cases, options.seconds, place, options.only)
    child = context.Process(target=target, args=given)
    child.start()
    child.join()
    if options.crashes_only and child.exitcode == FOUND:
        return 0
    if child.exitcode not in (0, FOUND):
        made = case(place.value.decode())
        print(one_line(made, "crash", "-", f"exit status {child.exitcode}"))
    return int(child.exitcode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
