"""The exact values: every function in closed form, in a type much wider than the result's.

float32 is computed in float64 and float64 in long double where that has at least 64 bits, else in
mpmath. Forms are chosen so that nothing cancels; ``test_oracle.py`` holds them against mpmath at
thousands of bits, where the naive forms are good enough.
"""

import mpmath
import numpy as np

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


def _call(name, x):
    if x.dtype == object:
        return np.asarray(np.frompyfunc(getattr(mpmath, name), 1, 1)(x), object)
    with np.errstate(all="ignore"):
        return getattr(np, name)(x)


def exp(x):
    return _call("exp", x)


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
        p = self.softmax() * g.sum(axis=1)[:, None]
        return g - p, np.maximum(abs(g), abs(p))


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
