"""What a call should give, in long double: (exact values, the larger term where terms cancel).

Inputs that are not finite, and rows that have no ordinary softmax, are left to semantics: there the
exact value is NaN, which stands for "not determined here".
"""

import mpmath
import numpy as np
import oracle

from lossgrad._core import arguments
from lossgrad.reference._apply import parameters_of

LONG = np.longdouble
UNKNOWN = LONG(np.nan)


def wanted(call):
    """[(exact, larger)] of the results, None for one whose exact value has no form here."""
    form = FORMS.get(call.op.kind)
    with np.errstate(all="ignore"):
        return form(call) if form else None


def long(a):
    """An array, of mpmath numbers maybe, in long double."""
    if isinstance(a, np.ndarray) and a.dtype == object:
        return np.frompyfunc(_long, 1, 1)(a).astype(LONG)
    return np.asarray(a).astype(LONG)


def _long(v):
    if not mpmath.isfinite(v):
        return LONG(float(v))
    m, n = mpmath.frexp(v)
    high = float(m)
    return np.ldexp(LONG(high) + LONG(float(m - high)), n) if abs(n) < 16000 else LONG(0)


def measurable(exact):
    """Exact values, or None; those of mpmath, by which it is slow to measure, in long double where
    that is much longer than float64."""
    of_mpmath = exact is not None and exact.dtype == object
    return long(exact) if of_mpmath and oracle.LONG else exact


def _known(exact, larger, *operands):
    """Values where all operands are finite."""
    exact, larger = long(exact), long(exact if larger is None else larger)
    for a in operands:
        exact = np.where(np.isfinite(long(a)), exact, UNKNOWN)
    return exact, np.where(np.isfinite(larger), abs(larger), 0)


def _doubles(call):
    """The arrays of numbers in float64, as they are computed with."""
    dtype = _dtype(call)
    return {k: _rounded(a, dtype) for k, a in call.arrays.items()}


def _dtype(call):
    dtype = call.arrays[call.main].dtype
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def _rounded(a, dtype):
    wide = np.float64 if dtype == np.float64 else np.float32
    return a.astype(wide).astype(np.float64) if a.dtype.kind not in "biu" else a.astype(np.float64)


def _floats(call):
    """Options that are numbers, in the precision that they are computed in."""
    dtype = _dtype(call)
    return {
        k: parameters_of(dtype, v)[0] if isinstance(v, float) else v
        for k, v in call.options.items()
    }


# ---- elements ------------------------------------------------------------------------------------


def _elementwise(call):
    arrays, options = _doubles(call), _floats(call)
    x, name = arrays[call.main], call.op.name
    value = [_known(getattr(oracle, name)(x, **options), None, x)]
    if call.function == name:
        return value
    if call.gives_hessian:
        grad = _known(getattr(oracle, f"{name}_derivative")(x, **options), None, x)
        hessian = _known(getattr(oracle, f"{name}_hessian")(x, **options), None, x)
        return [*(value if "_value" in call.function else []), grad, hessian]
    g = long(arrays["grad"])
    slope = long(getattr(oracle, f"{name}_derivative")(x, **options))
    larger = slope
    if name in oracle.SLOPES:
        larger = np.maximum(*(abs(long(t)) for t in oracle.terms_of_derivative(name, x, **options)))
    return [_known(g * slope, g * larger, x, g)]


def _sloped(call):
    if call.options.get("training") or call.function == "rrelu":
        return None
    arrays = {k: long(a) for k, a in _doubles(call).items()}
    x, w = arrays["x"], arrays.get("weight", call.options.get("weight"))
    if w is None:
        low, high = (call.options.get(k, v) for k, v in (("lower", 1 / 8), ("upper", 1 / 3)))
        w = parameters_of(_dtype(call), (low + high) / 2)[0]
    w = _rounded(np.asarray(w), _dtype(call)).astype(LONG)
    if w.ndim:
        w = w.reshape(-1, *(1,) * (x.ndim - call.axis - 1))
    if "grad" not in arrays:
        return [_known(np.where(x > 0, x, w * x), None, x, w + 0 * x)]
    g = arrays["grad"]
    return [_known(np.where(x > 0, g, w * g), None, x, g, w + 0 * x)]


def _loss_elementwise(call):
    form = LOSSES.get(call.op.name)
    arrays = {k: long(a) for k, a in _doubles(call).items()}
    names = [k for k in arrays if k != "grad"][:2]
    x, t = (arrays[k] for k in names)
    whole = False
    if "axis" in call.op.parameters:  # of numbers beside each other: parameters are of both's type
        both = arguments.input_and_target(*(call.arrays[k] for k in names))
        whole = both[0].dtype == np.float64
    reduction, result = call.options.get("reduction", "mean"), []
    s = long(call.arrays.get("sample_weight", 1)) + 0 * x
    if reduction == "mean":  # which knows no smaller ones beside the largest
        least = np.ldexp(LONG(1), np.frexp(s.max(initial=0))[1] - 1074)
        s = np.where(s > 0, np.maximum(s, least), s)
    w = s * arrays.get("weight", LONG(1))
    given = call.options if whole else _floats(call)
    found = form(x, t, arrays.get("pos_weight", LONG(1)), given)
    value, *slopes = ([w * term for term in terms] for terms in found)
    count = {"mean": s.sum(), "batchmean": x.shape[0]}.get(reduction, 1)
    if "axis" in call.op.parameters and reduction == "mean":
        count = w.sum() if abs(w.sum()) > LONG(2) ** -20 * abs(w).sum() else UNKNOWN  # they cancel
    used = x + t + w + arrays.get("pos_weight", 0)
    if call.function == call.op.name or "_value" in call.function:
        exact, larger = _known(value[0], value[1], used)
        if reduction != "none":
            exact, larger = _total(exact, _dtype(call)) / count, larger.sum() / count
        result.append((exact, larger))
    if call.function != call.op.name:
        g = arrays.get("grad", LONG(1)) / count
        for slope in slopes[: 2 if call.gives_hessian else 1]:
            result.append(_known(g * slope[0], g * slope[1], used, g + 0 * x))
    return result


def _total(terms, dtype):
    """The sum of losses; not determined if one of them, or their sum, is beyond the range."""
    total, most = terms.sum(), np.finfo(np.float64 if dtype == np.float64 else np.float32).max
    inside = (abs(terms) <= most).all() and abs(total) <= np.finfo(np.float64).max
    return total if inside else UNKNOWN


def _mse(x, t, positive, options):
    return _alone((x - t) ** 2, 2 * (x - t), 2 + 0 * x)


def _alone(*found):
    """Each in units of its own."""
    return [(a, a) for a in found]


def _absolute(x, t, positive, options):
    return _alone(abs(x - t), np.sign(x - t), 0 * x)


def _pinball(x, t, positive, options):
    q = LONG(options.get("quantile", 0.5))
    factor = np.where(x < t, -q, 1 - q)
    return _alone(factor * (x - t), np.where(x == t, 0, factor), 0 * x)


def _huber(x, t, positive, options):
    d, gap = LONG(options.get("delta", 1)), x - t
    near = abs(gap) <= d
    value = np.where(near, gap * gap / 2, d * (abs(gap) - d / 2))
    hessian = np.where(abs(gap) == d, UNKNOWN, LONG(1) * near)  # of rounded gaps
    return _alone(value, np.where(near, gap, np.sign(gap) * d), hessian)


def _smooth(x, t, positive, options):
    b, gap = LONG(options.get("beta", 1)), x - t
    near = abs(gap) < b
    value = np.where(near, gap / b * gap / 2, abs(gap) - b / 2)
    hessian = np.where(abs(gap) == b, UNKNOWN, near / b)
    return _alone(value, np.where(near, gap / b, np.sign(gap)), hessian)


def _poisson(x, t, positive, options):
    m = np.exp(x)
    value, larger = m - t * x, np.maximum(m, abs(t * x))
    if options.get("full"):
        more = np.where(t > 1, t * np.log(t) - t + np.log(2 * LONG(np.pi) * t) / 2, 0)
        value, larger = value + more, np.maximum(larger, abs(more))
    return (value, larger), (m - t, np.maximum(m, abs(t))), (m, m)


def _gamma(x, t, positive, options):
    return _tweedie(x, t, positive, {"power": 2})


def _tweedie(x, t, positive, options):
    """In units of the gradient's terms and, where the value's cancel everywhere, of these."""
    p = LONG(options.get("power", 1.5))
    first, second = np.exp((2 - p) * x), t * np.exp((1 - p) * x)
    v = np.log(t) - x
    if p == 2:
        value = np.expm1(v) - v
    elif p == 1:
        value = first - t + np.where(t == 0, 0, t * v)
    else:
        terms = first / (2 - p), -second / (1 - p), t ** (2 - p) / ((1 - p) * (2 - p))
        value = sum(terms)
    size = np.maximum(abs(first), abs(second))
    if p < 1 or p > 2:
        size = np.maximum(size, np.max(np.abs(terms), axis=0))
    below = t < 0  # which is no target
    return (
        (np.where(below, UNKNOWN, value), np.maximum(size, abs(value))),
        (np.where(below, UNKNOWN, first - second), size),
        (np.where(below, UNKNOWN, (2 - p) * first - (1 - p) * second), size * max(1, abs(2 - p))),
    )


def _binary(x, t, positive, options):
    x = x.astype(np.float64)
    loss = oracle.binary_cross_entropy_with_logits(x, t, LONG(1), positive)
    larger = oracle.binary_cross_entropy_with_logits_larger(x, t, LONG(1), positive)
    slope = oracle.binary_cross_entropy_with_logits_derivative(x, t, LONG(1), positive)
    return (loss, larger), slope, oracle.binary_cross_entropy_with_logits_hessian(x, t, positive)


def _probabilities(p, t, positive, options):
    floor = options.get("log_floor", -100.0)
    floor = -LONG(np.inf) if floor is None else LONG(floor)
    a, b = (np.maximum(v, floor) for v in (np.log(p), np.log1p(-p)))
    terms = np.where(t == 0, 0, -t * a), np.where(t == 1, 0, -(1 - t) * b)
    return (sum(terms), sum(terms)), (UNKNOWN + 0 * p, 0 * p)


def _divergence(x, t, positive, options):
    if options.get("log_target"):
        e = np.exp(t)
        return (e * (t - x), e * np.maximum(abs(t), abs(x))), (-e, e)
    log = np.where(t == 0, 0, t * np.log(t))
    return (log - t * x, np.maximum(abs(log), abs(t * x))), (-t, t)


def _focal(x, t, positive, options):
    a, g = options.get("alpha", 0.25), LONG(options.get("gamma", 2.0))
    a = np.where(t == 1, a, 1 - a).astype(LONG) if a >= 0 else LONG(1)
    s = np.where(t == 1, -x, x)
    z = np.exp(-abs(s))
    c, log_m = np.maximum(s, 0) + np.log1p(z), -np.maximum(-s, 0) - np.log1p(z)
    m, rest = np.where(s < 0, z, 1) / (1 + z), np.where(s < 0, 1, z) / (1 + z)
    w = a * np.exp(g * log_m)
    slope = np.where(t == 1, -w, w) * (m + g * c * rest)
    terms = w * rest * m * (1 + 2 * g), w * rest * g * c * g * rest, -w * rest * g * c * m
    return (w * c, w * c), (slope, slope), (sum(terms), np.max(np.abs(terms), axis=0))


LOSSES = {
    "sigmoid_focal_loss": _focal,
    "mse_loss": _mse,
    "l1_loss": _absolute,
    "pinball_loss": _pinball,
    "huber_loss": _huber,
    "smooth_l1_loss": _smooth,
    "poisson_nll_loss": _poisson,
    "half_gamma_loss": _gamma,
    "half_tweedie_loss": _tweedie,
    "binary_cross_entropy_with_logits": _binary,
    "binary_cross_entropy": _probabilities,
    "kl_div": _divergence,
}


# ---- rows ----------------------------------------------------------------------------------------


def _matrix(a, axis):
    a = np.moveaxis(a, axis, -1)
    return a.reshape(-1, a.shape[-1])


def _back(a, shape, axis):
    """A matrix of rows in the shape of the logits."""
    rest = shape[:axis] + shape[axis + 1 :]
    return np.moveaxis(a.reshape(*rest, shape[axis]), -1, axis)


def _ordinary(x):
    """The rows' exact values, and which rows have them: finite or -inf, not all -inf."""
    good = ~np.isnan(x).any(axis=1) & (x < np.inf).all(axis=1) & np.isfinite(x).any(axis=1)
    return oracle.Rows(np.where(good[:, None], x, 0.0)), good


def _softmax(call):
    arrays, axis = _doubles(call), call.axis
    shape, sign = arrays["x"].shape, -1 if call.op.name == "softmin" else 1
    x = _matrix(sign * arrays["x"], axis)
    rows, good = _ordinary(x)
    backward = call.function.endswith("_backward")
    if call.op.name == "softmax_jacobian" or (call.op.name == "logsumexp" and backward):
        return None
    if call.op.name == "logsumexp":
        return [_logsumexp(x, arrays.get("b"), axis, (*shape[:axis], *shape[axis + 1 :]))]
    name = "log_softmax" if call.op.name == "log_softmax" else "softmax"
    exact, larger = getattr(rows, name)(), None
    if backward:
        g = _matrix(arrays["grad"], axis)
        good &= np.isfinite(g).all(axis=1)
        exact, larger = getattr(rows, f"{name}_backward")(g)
        exact = sign * exact
    exact = np.where(good[:, None], exact, UNKNOWN)
    return [
        _known(_back(exact, shape, axis), None if larger is None else _back(larger, shape, axis))
    ]


def _logsumexp(x, b, axis, shape):
    b = np.ones_like(x) if b is None else _matrix(b, axis)
    x, b = long(x), long(b)
    used = np.where(b == 0, -np.inf, x)
    good = np.isfinite(b).all(axis=1) & (b >= 0).all(axis=1) & ~np.isnan(x).any(axis=1)
    good &= (x < np.inf).all(axis=1) & np.isfinite(used).any(axis=1)
    top = used.argmax(axis=1)
    count = np.arange(len(x))
    most, factor = used[count, top], b[count, top]
    rest = np.where(b == 0, 0, b / factor[:, None] * np.exp(x - most[:, None]))
    rest[count, top] = 0
    log, of_sum = np.log(factor), np.log1p(rest.sum(axis=1))
    exact = np.where(good, most + log + of_sum, UNKNOWN)
    return _known(
        exact.reshape(shape), np.max([abs(most), abs(log), of_sum], axis=0).reshape(shape)
    )


def _loss_rows(call):
    arrays, axis = _doubles(call), call.axis
    x, y = _matrix(arrays[call.main], axis), call.arrays["targets"]
    if (
        call.op.name != "cross_entropy"
        or {"label_smoothing", "z_loss", "softcap"} & {*call.options}
        or y.dtype.kind not in "iu"
    ):
        return None
    if call.function.endswith("_backward") and call.arrays["grad"].ndim == 0:
        return None
    shape, reduction = arrays[call.main].shape, call.options.get("reduction", "mean")
    rest = shape[:axis] + shape[axis + 1 :]
    rows, good = _ordinary(x)
    y = y.reshape(-1)
    samples = np.ones(len(x)) if "sample_weight" not in arrays else call.arrays["sample_weight"]
    samples = samples.reshape(-1).astype(LONG)
    kept = (y != -100) & (samples != 0)
    label = np.where(kept, y, 0)
    w = samples * (long(arrays["weight"])[label] if "weight" in arrays else 1)
    good = (good & np.isfinite(w) & (w != 0)) | ~kept
    w = np.where(kept, w, 0)
    result, count = [], w.sum() if reduction == "mean" else LONG(1)
    if "_value" in call.function or call.function == call.op.name:
        loss = np.where(kept, w * rows.loss(label), 0)
        # one that is beyond the range by itself is infinite, and so is its mean
        loss = np.where(good & (abs(loss) <= np.finfo(np.float64).max), loss, UNKNOWN)
        loss = loss.reshape(rest) if reduction == "none" else loss.sum() / count
        result.append(_known(loss, None))
    if call.function != call.op.name:
        g = long(arrays.get("grad", 1)).reshape(-1)
        slope = np.where(kept[:, None], rows.gradient(label), 0) * (w * g / count)[:, None]
        slope = np.where((good & np.isfinite(g))[:, None], slope, UNKNOWN)
        result.append(_known(_back(slope, shape, axis), None))
    return result


def _norm(call):
    x = long(_doubles(call)["x"])
    axis = None if call.options.get("axis") is None else call.axis
    norm = np.sqrt((x * x).sum(axis=axis, keepdims=True))
    result = []
    if not call.function.endswith("_backward"):
        result.append(_known(norm.squeeze(axis) if axis is not None else norm.reshape(()), None))
    if call.function != "l2_norm":
        g = long(_doubles(call).get("grad", 1))
        g = np.expand_dims(g, axis) if g.ndim and axis is not None else g
        result.append(_known(np.where(norm == 0, 0, g * (x / norm)), None, g + 0 * norm + 0 * x))
    return result


def _distribution(call):
    if call.function.endswith("_backward"):
        return None
    arrays, base = _doubles(call), call.options.get("base")
    p = long(arrays["p"])
    q = long(arrays.get("q", arrays["p"]))
    inside = p / q if call.op.name == "relative_entropy" else 1 / q
    logs = np.log(p) - np.log(q) if call.op.name == "relative_entropy" else -np.log(q)
    terms = np.where(p == 0, 0, p * logs) / (1 if base is None else np.log(LONG(base)))
    terms = np.where(np.isfinite(inside) | (p == 0), terms, UNKNOWN)
    return [_known(terms.sum(axis=call.axis), abs(terms).sum(axis=call.axis))]


FORMS = {
    "elementwise": _elementwise,
    "sloped": _sloped,
    "loss_elementwise": _loss_elementwise,
    "softmax": _softmax,
    "loss_rows": _loss_rows,
    "norm": _norm,
    "distribution": _distribution,
}
