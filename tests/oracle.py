"""The exact values: every function in closed form, in a type much wider than the result's.

float32 is computed in float64 and float64 in long double where that has at least 64 bits, else in
mpmath. Forms are chosen so that nothing cancels; ``test_oracle.py`` holds them against mpmath at
thousands of bits, where the naive forms are good enough.
"""

import functools
import math
import sys
from fractions import Fraction

import mpmath
import numpy as np

from lossgrad.reference import activations
from lossgrad.reference._apply import parameters_of
from lossgrad.registry import OPS

LONG = np.finfo(np.longdouble).nmant >= 63
MP_BITS = 160  # of the fallback


def wide(x):
    """x in the wider type."""
    x = np.asarray(x)
    if x.dtype == object:
        return x
    if x.dtype == np.float32:
        return x.astype(np.float64)
    if LONG:
        return x.astype(np.longdouble)
    return multiprecision(x)


def multiprecision(x):
    """x as an object array of mpmath numbers."""
    mpmath.mp.prec = max(mpmath.mp.prec, MP_BITS)
    return np.asarray(np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(np.asarray(x)), object)


FAR = 10000  # so far out every exponential is 0; a finite number stands in for infinity


def _tame(x):
    return np.where(x > FAR, x.dtype.type(FAR), np.where(x < -FAR, x.dtype.type(-FAR), x))


def _call(name, x):
    if x.dtype == object:
        x = _tame(x) if name in ("exp", "expm1") else x  # mpmath goes to any length
        return np.asarray(np.frompyfunc(getattr(mpmath, name), 1, 1)(x), object)
    with np.errstate(all="ignore"):
        return getattr(np, name)(x)


def exp(x):
    return _call("exp", x)


def expm1(x):
    return _call("expm1", x)


def log(x):
    return _call("log", x)


def log1p(x):
    return _call("log1p", x)


def _quiet(function):
    return np.errstate(all="ignore")(function)


# ---- elementwise ---------------------------------------------------------------------------------


def _sigmoid(x):
    z = exp(-abs(x))
    return np.where(x < 0, z, 1 + 0 * z) / (1 + z)


def _softplus(x):
    return np.where(x > 0, x, 0 * x.dtype.type(0)) + log1p(exp(-abs(x)))


@_quiet
def sigmoid(x):
    return _sigmoid(wide(x))


@_quiet
def sigmoid_derivative(x):
    z = exp(-abs(wide(x)))
    return z / ((1 + z) * (1 + z))


def _like(x, number):
    """A number in the type of x, where it may be given by its digits."""
    return mpmath.mpf(str(number)) if x.dtype == object else x.dtype.type(number)


def _with(x, value):
    """(x, a parameter) of an exponential's argument: in mpmath where long double falls short of
    their product. A parameter is computed with in the precision of x."""
    x, value = wide(x), wide(np.asarray(value, np.asarray(x).dtype))
    if x.dtype == np.longdouble and value != 1:
        x, value = multiprecision(x), multiprecision(value)
    return x, value[()]


@_quiet
def log_sigmoid(x):
    return -_softplus(-wide(x))


@_quiet
def log_sigmoid_derivative(x):
    return _sigmoid(-wide(x))


@_quiet
def softplus(x, beta=1):
    x, beta = _with(x, beta)
    return _softplus(x * beta) / beta


@_quiet
def softplus_derivative(x, beta=1):
    x, beta = _with(x, beta)
    return _sigmoid(x * beta)


@_quiet
def softplus_hessian(x, beta=1):
    x, beta = _with(x, beta)
    return beta * _sigmoid(x * beta) * _sigmoid(-x * beta)


@_quiet
def tanh(x):
    x = wide(x)
    m = expm1(-2 * abs(x))
    return np.where(x < 0, m, -m) / (2 + m)


@_quiet
def tanh_derivative(x):
    return 4 * sigmoid_derivative(np.asarray(x) * 2)


def _times_x(x, function):
    """x, in the wider type, times something that is 0 at -inf and 1 at +inf."""
    t = _tame(x)
    return np.where(x > FAR, x, t * function(t))


@_quiet
def silu(x):
    return _times_x(wide(x), _sigmoid)


def _silu_slopes(x):
    t = _tame(wide(x))
    return _sigmoid(t), t * _sigmoid(t) * _sigmoid(-t)


def _mish_parts(t):
    e = exp(-abs(t))
    below = t < 0
    top = np.where(below, e * (2 + e), 1 + 2 * e)
    return e, top, np.where(below, 2 + 2 * e + e * e, 1 + 2 * e + 2 * e * e)


@_quiet
def mish(x):
    return _times_x(wide(x), lambda t: _mish_parts(t)[1] / _mish_parts(t)[2])


def _mish_slopes(x):
    t = _tame(wide(x))
    e, top, bottom = _mish_parts(t)
    return top / bottom, 4 * t * np.where(t < 0, e, e * e) * (1 + e) / (bottom * bottom)


def _normal(t):
    """The normal distribution; in mpmath where it has to be righter than the C library."""
    if t.dtype == object:
        root = mpmath.sqrt(2)
        return np.asarray(np.frompyfunc(lambda v: mpmath.erfc(-v / root) / 2, 1, 1)(t))
    return np.frompyfunc(math.erfc, 1, 1)(-t / math.sqrt(2)).astype(t.dtype) / 2


def _density(t):
    return exp(-t * t / 2) / (
        mpmath.sqrt(2 * mpmath.pi) if t.dtype == object else 2.5066282746310002
    )


def _gelu_wide(x):
    x = wide(x)
    return multiprecision(x) if x.dtype == np.longdouble else x


@_quiet
def gelu(x, approximate="none"):
    x = _gelu_wide(x)
    return _times_x(x, _normal if approximate == "none" else lambda t: _sigmoid(_gelu_argument(t)))


def _gelu_argument(t):
    scale = 2 * mpmath.sqrt(2 / mpmath.pi) if t.dtype == object else 1.5957691216057308
    return scale * (t + _like(t, "0.044715") * t * t * t)


def _gelu_slopes(x, approximate="none"):
    t = _tame(_gelu_wide(x))
    if approximate == "none":
        return _normal(t), t * _density(t)
    w = _gelu_argument(t)
    scale = 2 * mpmath.sqrt(2 / mpmath.pi) if t.dtype == object else 1.5957691216057308
    slope = scale * (1 + 3 * _like(t, "0.044715") * t * t)
    return _sigmoid(w), t * slope * _sigmoid(w) * _sigmoid(-w)


SLOPES = {"silu": _silu_slopes, "mish": _mish_slopes, "gelu": _gelu_slopes}


@_quiet
def terms_of_derivative(name, x, **options):
    """The two terms whose sum is the derivative, where they cancel near its root."""
    return SLOPES[name](x, **options)


def derivative(name, x, **options):
    """(the derivative, the larger of the terms that cancel in it or None)"""
    if name not in SLOPES:
        return getattr(sys.modules[__name__], f"{name}_derivative")(x, **options), None
    terms = terms_of_derivative(name, x, **options)
    return sum(terms), np.maximum(*map(abs, terms))


def _above(x, above, below):
    return np.where(x > 0, above, np.where(x != x, x, below))


@_quiet
def relu(x):
    x = wide(x)
    return np.where(x < 0, 0 * x.dtype.type(0), x)


@_quiet
def relu_derivative(x):
    x = wide(x)
    return _above(x, _like(x, 1), _like(x, 0))


@_quiet
def leaky_relu(x, negative_slope=0.01):
    x, slope = wide(x), wide(np.asarray(negative_slope, np.asarray(x).dtype))[()]
    below = np.where(x < 0, x, _like(x, 0)) * slope if slope else _like(x, 0)
    return _above(x, x, below)


@_quiet
def leaky_relu_derivative(x, negative_slope=0.01):
    x, slope = wide(x), wide(np.asarray(negative_slope, np.asarray(x).dtype))[()]
    return _above(x, _like(x, 1), slope)


@_quiet
def elu(x, alpha=1):
    x, a = _with(x, alpha)
    return _above(x, x, a * expm1(np.where(x < 0, x, _like(x, 0))))


@_quiet
def elu_derivative(x, alpha=1):
    x, a = _with(x, alpha)
    return _above(x, _like(x, 1), a * exp(np.where(x < 0, x, _like(x, 0))))


SELU_SCALE, SELU_ALPHA = "1.0507009873554804934193349852946", "1.6732632423543772848170429916717"


@_quiet
def selu(x):
    w = wide(x)
    scale = _like(w, SELU_SCALE)
    below = scale * _like(w, SELU_ALPHA) * expm1(np.where(w < 0, w, _like(w, 0)))
    return _above(w, scale * w, below)


@_quiet
def selu_derivative(x):
    w = wide(x)
    scale = _like(w, SELU_SCALE)
    below = scale * _like(w, SELU_ALPHA) * exp(np.where(w < 0, w, _like(w, 0)))
    return _above(w, scale, below)


@_quiet
def celu(x, alpha=1):
    x, a = _with(x, alpha)
    return _above(x, x, a * expm1(np.where(x < 0, x, _like(x, 0)) / a))


@_quiet
def celu_derivative(x, alpha=1):
    x, a = _with(x, alpha)
    return _above(x, _like(x, 1), exp(np.where(x < 0, x, _like(x, 0)) / a))


@_quiet
def hardsigmoid(x):
    x = wide(x)
    return np.where(x <= -3, _like(x, 0), np.where(x >= 3, _like(x, 1), (x + 3) / 6))


@_quiet
def hardsigmoid_derivative(x):
    x = wide(x)
    sixth = np.where(x != x, x, _like(x, 1)) / 6
    return np.where((x <= -3) | (x >= 3), _like(x, 0), sixth)


@_quiet
def hardswish(x):
    x = wide(x)
    return np.where(x <= -3, _like(x, 0), np.where(x >= 3, x, x * ((x + 3) / 6)))


@_quiet
def hardswish_derivative(x):
    x = wide(x)
    return np.where(x <= -3, _like(x, 0), np.where(x >= 3, _like(x, 1), (2 * x + 3) / 6))


@_quiet
def softsign(x):
    x = wide(x)
    return np.where(abs(x) == np.inf, np.sign(x), x / (1 + abs(x)))


@_quiet
def softsign_derivative(x):
    x = 1 + abs(wide(x))
    return 1 / x / x


def _log_base(x, base):
    """log(base) in the type of x."""
    return _like(x, 1) if base is None else log(np.asarray([base], x.dtype))[0]


@_quiet
def information_content(x, base=None):
    x = wide(x)
    return -log(x) / _log_base(x, base)


@_quiet
def information_content_derivative(x, base=None):
    x = abs(wide(x))
    return -1 / (x * _log_base(x, base))


@_quiet
def mse_loss(x, t):
    x, t = _binary(x, t)
    return (x - t) * (x - t)


@_quiet
def mse_loss_derivative(x, t):
    x, t = _binary(x, t)
    return 2 * (x - t), abs(2 * (x - t))


def _binary(x, t):
    return wide(x), wide(np.asarray(t, np.asarray(x).dtype))


@_quiet
def _binary_terms(x, t, pos_weight):
    x, t = _binary(x, t)
    a, b = pos_weight * t, 1 - t
    return np.where(a == 0, 0 * a, a * _softplus(-x)), np.where(b == 0, 0 * b, b * _softplus(x))


@_quiet
def binary_cross_entropy_with_logits(x, t, weight=1, pos_weight=1):
    positive, negative = _binary_terms(x, t, pos_weight)
    loss = weight * (positive + negative)
    return np.where(wide(x) != wide(x), loss.dtype.type(np.nan), loss)


@_quiet
def binary_cross_entropy_with_logits_larger(x, t, weight=1, pos_weight=1):
    """The larger of the two terms, which cancel where the target is outside [0, 1]."""
    positive, negative = _binary_terms(x, t, pos_weight)
    return abs(weight * np.maximum(abs(positive), abs(negative)))


@_quiet
def binary_cross_entropy_with_logits_derivative(x, t, weight=1, pos_weight=1):
    """(the derivative, the larger of the two terms whose difference it is)."""
    x, t = _binary(x, t)
    up, down = (1 - t) * _sigmoid(x), pos_weight * t * _sigmoid(-x)
    return weight * (up - down), abs(weight * np.maximum(abs(up), abs(down)))


@_quiet
def binary_cross_entropy_with_logits_hessian(x, t, pos_weight=1):
    """(the second derivative, the larger of the two parts of its factor times the rest)."""
    x, t = _binary(x, t)
    positive, rest = pos_weight * t, _sigmoid(x) * _sigmoid(-x)
    return (positive + (1 - t)) * rest, rest * np.maximum(abs(positive), abs(1 - t))


# ---- rows of logits: x is (rows, classes) --------------------------------------------------------


class Rows:
    """Rows of finite or -inf logits, of which at least one is finite."""

    @_quiet
    def __init__(self, x):
        self.x = x = wide(x)
        self.count = np.arange(len(x))
        self.top = x.argmax(axis=1)
        self.max = x[self.count, self.top]
        self.far = x - self.max[:, None]
        low = x - (self.far + self.max[:, None])  # what the difference rounded away
        e = exp(self.far)
        self.e = np.where(x == x.dtype.type(-np.inf), e, e * (1 + low)) if LONG else e
        self.rest = self.others(self.top)
        self.total = 1 + self.rest
        self.log = log1p(self.rest)  # log-sum-exp less the maximum

    def others(self, label):
        """The sum of exp(x - max) over all classes but the label."""
        e = self.e.copy()
        e[self.count, label] = 0
        return np.sort(e, axis=1).sum(axis=1) if e.dtype != object else e.sum(axis=1)

    def softmax(self):
        return self.e / self.total[:, None]

    def log_softmax(self):
        return self.far - self.log[:, None]

    def logsumexp(self):
        return self.max + self.log

    def loss(self, label):
        return self.log - self.far[self.count, label]

    def gradient(self, label):
        result = self.softmax()
        result[self.count, label] = -self.others(label) / self.total
        return result

    @_quiet
    def mixed_loss(self, q):
        """sum_c q_c (lse - x_c)."""
        return np.where(q == 0, 0, q * (self.log[:, None] - self.far)).sum(axis=1)

    @_quiet
    def mixed_gradient(self, q):
        """(sum(q) p - q, the larger of the two terms)."""
        p = self.softmax() * q.sum(axis=1)[:, None]
        return p - q, np.maximum(abs(p), abs(q))

    def softmax_backward(self, grad):
        """(p (g - sum p g), the larger term)."""
        p, g = self.softmax(), wide(grad)
        dot, size = (p * g).sum(axis=1)[:, None], (p * abs(g)).sum(axis=1)[:, None]
        return p * (g - dot), p * np.maximum(abs(g), size)

    def log_softmax_backward(self, grad):
        """(g - p sum(g), the larger term)."""
        g = wide(grad)
        p = self.softmax() * exact_sums(grad)[:, None]
        return g - p, np.maximum(abs(g), abs(p))


def exact_sums(rows):
    """Of numbers that may cancel beyond any precision."""
    with np.errstate(all="ignore"):
        usual = wide(rows).sum(axis=1)
    for k, row in enumerate(np.asarray(rows, np.float64)):
        if np.isfinite(row).all():
            try:
                usual[k] = wide(math.fsum(row))
            except OverflowError:  # on the way, or in the end
                usual[k] = wide(float(sum(map(Fraction, row.tolist())) / 2**64)) * 2.0**64
    return usual


def mixture(classes, dtype, labels=None, probabilities=None, weight=None, smoothing=0.0):
    """q_c = w_c ((1 - smoothing) t_c + smoothing / C), rows by classes."""
    if probabilities is None:
        probabilities = np.zeros((len(labels), classes), dtype)
        probabilities[np.arange(len(labels)), labels] = 1
    t = wide(np.asarray(probabilities, dtype))
    e = (
        wide(np.asarray(smoothing, np.float64).astype(np.float64))
        if dtype == np.float64
        else smoothing
    )
    q = (1 - e) * t + e / classes
    return q if weight is None else q * wide(np.asarray(weight, dtype))


def double_double(name, x, derivative=False, **options):
    """The reference's own form of an op, not yet rounded."""
    op = next(row for row in OPS if row.name == name)
    by_tanh = options.get("approximate") == "tanh"
    formula = _formula(f"{name}_tanh" if by_tanh else name, derivative)
    given = [options.get(key, v) for key, v in op.parameters.items() if isinstance(v, float)]
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        value = formula(x.astype(np.float64), *parameters_of(x.dtype, *given))
        high, low = wide(value.high), wide(value.low)
        if LONG:
            return np.ldexp(high, value.n) + np.ldexp(low, value.n)
        return (high + low) * multiprecision(2) ** value.n.astype(object)


def _formula(name, derivative):
    return getattr(activations, f"_{name}_slope" if derivative else f"_{name}", None)


def __getattr__(name):
    """The form of an op that has none here."""
    op = name.removesuffix("_derivative")
    if _formula(op, op != name) is None:
        raise AttributeError(f"neither this module nor the reference has a form of {op}")
    return functools.partial(double_double, op, derivative=op != name)
