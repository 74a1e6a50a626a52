/* Every elementwise op and loss term: formula, derivative, error bounds, and its row in the table.
 *
 * An op maps inputs in[0..], the first of them the variable of the derivative, and parameters p[0..]
 * to its value y, derivative d[0] and, if it has a Hessian, the second d[1]; the compiler drops what a loop does not store. What leaves the range may be
 * brought back by what multiplies it, a gradient or a weight: a loop that finds a product far from 1 asks again, to be
 * `careful`, and the op then gives both with their exponents.
 * Bounds are ULP of the result, over all inputs, on every level (tests/test_accuracy.py holds them). */

#ifndef LG_TABLE_ONLY
/* A derivative. PLAIN: no product leaves the range but by its own size. EXACT: `of`, 0 only where that is meant.
 * SHIFTED: of 2^n, likewise, `of` near 1. ROUNDED: `of`, unless that is far from 1. SUMMED: likewise, unless n is, the
 * size of what it is made of. Careful, they are all of 2^n. */
enum { PLAIN, EXACT, SHIFTED, ROUNDED, SUMMED };
typedef struct {
    V of, n;
    int kind;
} slope;
INLINE slope plain_(V of) { return (slope){of, set1(0), PLAIN}; }
INLINE slope exactly_(V of) { return (slope){of, set1(0), EXACT}; }
INLINE slope rounded_(V of) { return (slope){of, set1(0), ROUNDED}; }
INLINE slope summed_(V of, V size) { return (slope){of, size, SUMMED}; }
INLINE slope shifted_(V of, V n) { return (slope){of, n, SHIFTED}; }
/* Where results go: the value is y, careful y 2^n. `far` tells of products inside it as usual_product does (loops.h). */
typedef struct {
    V *y, *n;
    slope *d;
    I *far;
    int careful;
} outcome;

#define OP(name) INLINE void op_##name(const V *in, const S *p, outcome r)
#define UNUSED (void)p
#define ZERO set1(0)
#define ONE set1(1)
#define HUGE_ set1(C_(0x1p100f, 0x1p900)) /* pairs are exact below it */

INLINE M positive_(V x) { return lt_(ZERO, x); }
INLINE M negative_(V x) { return lt_(x, ZERO); }
INLINE V number_(V x, V a) { return select_(eq_(x, x), a, x); }              /* a, but NaN where x is */
INLINE V clamp_(V x, V least, V most) { return max_(least, min_(most, x)); } /* NaN stays */
/* a b, rounded once where it is subnormal too; a may be tiny, b not. */
INLINE V once_(pair a, pair b) {
    const V up = set1(C_(0x1p60f, 0x1p500)), down = set1(C_(0x1p-60f, 0x1p-500));
    M tiny = lt_(abs_(a.h), down);
    V r = round_(mul_((pair){select_(tiny, a.h * up, a.h), select_(tiny, a.l * up, a.l)}, b));
    return select_(tiny, r * down, r);
}

/* a b, a one of those; without a fused multiply-add by way of pairs */
INLINE V once_times(pair a, V b) { return NO_FMA ? once_(a, exact_(b)) : fma_(a.h, b, a.l * b); }

/* ---- sigmoid and its relatives: s(x) = 1 / (1 + exp(-x)) ---- */

/* s(x), for x > 0 as 1 - s(-x); derivative s(x) s(-x). */
OP(sigmoid) {
    UNUSED;
    const logistic_tail a = logistic_tail_(exact_(min_(set1(FADED), abs_(in[0]))), 1);
    V q = fma_(a.q, a.rest, a.q), small = scale_by_(q, a.n, a.lifted);
    *r.y = select_(negative_(in[0]), small, ONE - small);
    *r.d = shifted_(fnma_(q, small, q), a.n);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + z), z = exp(-|x|) = 2^n (1 + t), or near 0 log 2 + x/2 + log(cosh(x/2)). */
INLINE V softplus_(V x) {
    const pair ln2 = constant_(0.6931471805599453, 2.3190468138462996e-17);
    V n, size = min_(set1(C_(120, 800)), abs_(x));
    const pair t = exp_less_pair(exp_reduce(-size, &n));
    V p = ONE + t.h, low = ((ONE - p) + t.h) + t.l, z = p * pow2_or_0(n + set1(MAGIC));
    const V half_z = set1(0.5) * z, less = half_z * p, most = p - less; /* (p + low) (1 - z / 2 + ...) */
    V lost = fma_(log1p_tail(z), p, fnma_(low, half_z, low));
    V far = max_(ZERO, x) + scale_down_(most + (((p - most) - less) + lost), n);
    V half = set1(0.5) * x, sum = ln2.h + half;
    V near = sum + (((ln2.h - sum) + half) + (log_cosh_half(x * x) + ln2.l));
    return select_(lt_(size, set1(C_(0.7f, 0.7))), near, far);
}

/* log s(x) = min(x, 0) - log(1 + exp(-|x|)); derivative s(-x). */
OP(log_sigmoid) {
    UNUSED;
    V x = in[0];
    *r.y = -softplus_(-x);
    const logistic_tail a = logistic_tail_(exact_(min_(set1(FADED), abs_(x))), 1);
    V q = fma_(a.q, a.rest, a.q);
    *r.d = shifted_(select_(negative_(x), fnma_(q, a.least, ONE), q), drop_(negative_(x), a.n));
}

/* log(1 + exp(x)); derivative s(x), the second s(x) s(-x). */
OP(softplus_one) {
    UNUSED;
    const logistic_tail a = logistic_tail_(exact_(min_(set1(FADED), abs_(in[0]))), 1);
    V q = fma_(a.q, a.rest, a.q);
    *r.y = softplus_(in[0]);
    r.d[0] = shifted_(select_(negative_(in[0]), q, fnma_(q, a.least, ONE)), keep_(negative_(in[0]), a.n));
    r.d[1] = shifted_(fnma_(q, q * a.least, q), a.n);
}

/* log(1 + exp(b x)) / b = max(x, 0) + log(1 + exp(-|b x|)) / b; derivative s(b x), the second b s(b x) s(-b x). */
OP(softplus) {
    V x = in[0], m = max_(ZERO, x);
    V k, b = mantissa_(set1(p[0]), &k); /* beta = b 2^k, u = 2^k x */
    const V u = scale_(x, k);
    const pair scaled = product_(b, u);
    const logistic a = logistic_(scaled, 0);
    pair l = log1p_unit(a.z); /* the sum times 2^k; where exp is subnormal, log(1 + z) = z is divided first */
    M tiny = and_(lt_(a.n, set1(C_(-60, -120))), negative_(x));
    l = div_(pick_(tiny, a.p, l), exact_(b));
    V sum = round_(plus_(max_(ZERO, u), l)), n = keep_(tiny, a.n) - k;
    *r.y = select_(lt_(HUGE_, scaled.h), m, scale_(select_(tiny, round_(l), sum), n));
    r.d[0] = shifted_(select_(negative_(x), round_(a.small), round_(a.large)), keep_(negative_(x), a.n));
    r.d[1] = shifted_(round_(times_(mul_(a.small, a.large), b)), a.n + k);
}

/* x s(-a) where x is below 0, else x s(a) = x - x s(-a), rounded once; near is x within what s does not round. */
INLINE V times_logistic(V x, V near, logistic_tail a, M below) {
    V h = near * a.q, product = fma_(h, a.rest, h);
    return select_(below, scale_by_(product, a.n, a.lifted), fnma_(product, a.least, x));
}
/* slope times s(-a) where x is below 0, else s(a) = 1 - small. */
INLINE slope slope_of(logistic_tail a, pair slope, int exact, V small, M below) {
    V large = ONE - small, s = select_(below, a.q, large), h = slope.h * s, rest = residual_(slope.h, s, h);
    V low = select_(below, a.q * a.rest, (ONE - large) - small);
    V product = h + fma_(slope.h, low, exact ? rest : fma_(slope.l, s, rest));
    return shifted_(product, keep_(below, a.n));
}

/* x s(x); derivative s(x) (1 + x s(-x)), whose sum cancels near -1.28. */
OP(silu) {
    UNUSED;
    const V far = set1(FADED);
    V x = clamp_(in[0], -far, far), size = min_(far, abs_(in[0]));
    M below = negative_(in[0]);
    const logistic_tail a = logistic_tail_(exact_(size), 1);
    *r.y = times_logistic(in[0], x, a, below);
    V small = a.q * a.least;
    small = fma_(small, a.rest, small);
    *r.d = slope_of(a, exact_(fma_(size, small, select_(below, ONE + x, ONE))), 1, small, below);
}

/* x s(w), w = 2 sqrt(2/pi) (x + 0.044715 x^3): gelu's approximation by tanh. Derivative
 * s(w) (1 + x w' s(-w)). */
OP(gelu_tanh) {
    UNUSED;
    const pair c1 = constant_(1.5957691216057308, -9.96930880911092e-17);
    const pair c3 = constant_(0.07135481627260025, -6.175149918155315e-19);
    const V far = set1(C_(14, 27.5));
    V x = clamp_(in[0], -far, far), size = min_(far, abs_(in[0]));
    M below = negative_(in[0]);
    pair cube = mul_(product_(size, size), c3), sum = plus_(c1.h, cube);
    sum.l = sum.l + c1.l;
    const logistic_tail a = logistic_tail_(times_(sum, size), 0);
    *r.y = times_logistic(in[0], x, a, below);
    V small = a.q * a.least;
    small = fma_(small, a.rest, small);
    pair w = plus_(c1.h, times_(cube, set1(3)));
    w.l = w.l + c1.l;
    w = times_(w, size);
    V rest = ONE - w.h, lost = (ONE - (rest + w.h)) - w.l;
    pair slope = sum_(select_(below, rest, ONE), fma_(w.h, small, keep_(below, lost)));
    *r.d = slope_of(a, slope, 0, small, below);
}

/* x Phi(x), Phi the normal distribution, as max(x, 0) - t Phi(-t), t = |x|: with v = t / (t + A) that is
 * exp(-t^2 / 2) v P(2 v - 1); what v is rounded by goes in with the slope of v P, within 0.2. Derivative
 * Phi(x) + x phi(x), which cancels near -0.75. */
OP(gelu) {
    UNUSED;
    const pair peak = constant_(0.3989422804014327, -2.49232720227773e-17);
    const V t = min_(set1(C_(20.75, 56.5)), abs_(in[0]));
    const normal a = normal_tail(t);
    const V v = t * a.i, lost = a.i * fma_(v, a.d.l, residual_(v, a.d.h, t));
    const V root = fnma_(set1(C_(1.46f, 1.1)), v, set1(C_(1.21f, 1.18))), square = root * root;
    const pair part = normal_ratio((v + v) - ONE, !LG_DOUBLE);
    V h = v * part.h, low = fma_(v, part.l, residual_(v, part.h, h));
    low = fnma_(lost, LG_DOUBLE ? square * square : square, low);
    *r.y = max_(set1((S)-0.0), in[0]) - scale_down_(times_normal(h, low, a.e, !LG_DOUBLE), a.n);
    const pair g = normal_share(a);
    h = fnma_(t, peak.h, g.h);
    low = near_fma_(-t, peak.h, g.h - h) + fnma_(t, peak.l, g.l);
    const V slope = times_normal(h, low, a.e, 0);
    const M below = negative_(in[0]);
    *r.d = shifted_(select_(below, slope, fnma_(slope, pow2_or_0(a.n + set1(MAGIC)), ONE)), keep_(below, a.n));
}

/* (A + B u) / (B + A u), A = 2^n - 1, B = 2^n + 1, u = tanh(r), |x| = n ln 2 / 2 + r, with the sign of x;
 * derivative 4 s(2x) s(-2x). */
OP(tanh) {
    UNUSED;
    V x = in[0], a = abs_(x);
    const V t = tanh_(min_(set1(C_(10, 20)), a));
    *r.y = from_bits(bits_(t) | (bits_(x) ^ bits_(a)));
    const logistic_tail l = logistic_tail_(exact_(min_(set1(FADED), a + a)), 1);
    V q = set1(2) * fma_(l.q, l.rest, l.q);
    *r.d = shifted_(fnma_(q, q * l.least, q + q), l.n);
}

/* x tanh(log(1 + e^x)) = x N / (2 + N), N = z (2 + z), z = e^x = 2^n e. A rounded quotient q = N / (2 + N), both it
 * and N over 2^n, leaves N (1 - 2^n q) - 2 q. Derivative q + x (N - e) p^2, p = 2 / (2 + N) = 1 - 2^n q, whose terms
 * cancel near -1.19. */
OP(mish) {
    UNUSED;
    const V most = set1(C_(12, 22)), two = set1(2);
    V n, x = clamp_(in[0], set1(-FADED), most), unit;
    const pair t = exp_less_pair(exp_reduce(x, &n));
    unit = pow2_or_0(n + set1(MAGIC));
    pair e = exact_(ONE + t.h), top;
    e.l = ((ONE - e.h) + t.h) + t.l;
    const V z = unit * e.h, sum = two + z, lost = (two - sum) + z;
    top.h = e.h * sum;
    top.l = residual_(e.h, sum, top.h) + fma_(e.h, lost, e.l * (sum + z));
    const V i = ONE / fma_(unit, top.h, two), q = top.h * i, v = unit * q, p_h = ONE - v, p_l = (ONE - p_h) - v;
    const V rest = i * fma_(top.h, p_l, fma_(top.l, p_h, near_fma_(top.h, p_h, -(q + q))));
    const V product = NO_FMA ? once_(exact_(x), (pair){q, rest}) : fma_(x, q, x * rest);
    *r.y = select_(lt_(in[0], most), scale_down_(product, n), in[0]);
    const V other = top.h - e.h, share = p_h + fnma_(unit, rest, p_l);
    const pair tail = {other, ((top.h - other) - e.h) + (top.l - e.l)};
    const pair slope = plus_(q, times_(times_(times_(tail, x), share), share));
    *r.d = shifted_(slope.h + (slope.l + rest), n);
}

/* ---- the ReLU family: x above 0, something else below ---- */

OP(relu) {
    UNUSED;
    V x = in[0];
    *r.y = select_(negative_(x), ZERO, x);
    *r.d = plain_(number_(x, keep_(positive_(x), ONE)));
}
/* s x, -0 at a slope of 0 even if x is -inf */
INLINE V sloped(V s, V x) { return s * select_(eq_(s, ZERO), max_(set1(-C_(FLT_MAX, DBL_MAX)), x), x); }
OP(leaky_relu) {
    V x = in[0], slope = set1(p[0]);
    *r.y = select_(negative_(x), sloped(slope, x), x);
    *r.d = plain_(number_(x, select_(positive_(x), ONE, slope)));
}
/* x or, below 0, the second input times x: prelu, and rrelu with the slopes it drew. */
OP(prelu) {
    UNUSED;
    V x = in[0];
    *r.y = select_(negative_(x), sloped(in[1], x), x);
    *r.d = exactly_(number_(x, select_(positive_(x), ONE, in[1])));
}
/* A term of prelu's gradient for the weight: the second input times min(x, 0). */
OP(prelu_weight) {
    UNUSED;
    M below = negative_(in[0]);
    *r.y = number_(in[0], keep_(below, in[1] * in[0]));
    *r.d = plain_(number_(in[0], keep_(below, in[1])));
}

/* exp(x) - 1 for min(x, 0), 0.3 ulp: with exp(x) = 2^n (1 + t) it is (2^n - 1) + 2^n t. In float32 without
 * what the reduction rounds away, which is up to 0.35 ulp: all inputs were tried, as they cannot be in float64. */
INLINE pair expm1_below(V x) {
    const V low = max_(set1(-40), min_(ZERO, x));
    if (LG_DOUBLE) return expm1_pair(exact_(low), 1);
    V n, r = exp_reduce(low, &n), s = exp_tail(r) * (r * r), t = r + s;
    V unit = pow2_(n), a = unit - ONE, b = unit * t, m = a + b;
    return (pair){m, fma_(unit, (r - t) + s, (a - m) + b)};
}
/* a (exp(x) - 1) for min(x, 0), fused, as (a 2^n - a) + a 2^n t: 1.98 ulp; where a is 1 at most 0.982 for all
 * float32 (the sum of its roundings would allow 1.2) */
INLINE V times_expm1(V a, V x) {
    V n, r = exp_reduce(max_(set1(-40), min_(ZERO, x)), &n), unit = a * pow2_(n);
    return fma_(unit, exp_less(r), unit - a);
}
/* above for x > 0, else factor 2^k exp(x) */
INLINE slope exp_below(V x, V above, V factor, V k) {
    const M positive = positive_(x);
    V n, r = exp_reduce(max_(set1(DEAD), min_(ZERO, x)), &n);
    return shifted_(number_(x, select_(positive, above, fma_(factor, exp_less(r), factor))), drop_(positive, n + k));
}
/* x, or a (exp(x) - 1) below 0; derivative 1, or a exp(x) up to and with 0. */
OP(elu) {
    V x = in[0], k, a = mantissa_(set1(p[0]), &k), low;
    if (p[0] == 1 && !LG_DOUBLE && !NO_FMA) low = times_expm1(ONE, x);
    else {
        const M tiny = lt_(-set1(C_(0x1p-60f, 0x1p-500)), x);
        low = select_(tiny, set1(p[0]) * x, once_times(expm1_below(x), a) * scale_(ONE, k));
    }
    *r.y = select_(negative_(x), low, x);
    *r.d = exp_below(x, ONE, a, k);
}
/* l x = x + (l - 1) x, or l a (exp(x) - 1) below 0. */
OP(selu) {
    UNUSED;
    const V scale = set1(C_(0x1.0cfabep+0f, 0x1.0cfabd6a91132p+0)),
            more = set1(C_(0x1.9f57aep-5f, 0x1.9f57ad5222649p-5));
    const V both = set1(C_(0x1.c212ccp+0f, 0x1.c212cc640f031p+0));
    V x = in[0], low = NO_FMA ? once_times(expm1_below(x), both) : times_expm1(both, x);
    *r.y = select_(negative_(x), low, fma_(x, more, x));
    *r.d = exp_below(x, scale, both, ZERO);
}
/* x, or a (exp(x / a) - 1) below 0, which is x where x / a is tiny. */
OP(celu) {
    V x = in[0], k, a = mantissa_(set1(p[0]), &k);
    pair scaled = div_(exact_(scale_(min_(ZERO, x), -k)), exact_(a));
    M tiny = lt_(-set1(C_(0x1p-60f, 0x1p-500)), scaled.h), dead = lt_(scaled.h, set1(-40));
    pair at = {max_(set1(-40), scaled.h), drop_(dead, scaled.l)};
    V low = round_(times_(expm1_pair(at, 0), a)) * scale_(ONE, k), n;
    *r.y = select_(negative_(x), select_(tiny, x, low), x);
    pair e = exp_pair((pair){max_(set1(DEAD), scaled.h), drop_(lt_(scaled.h, set1(DEAD)), scaled.l)}, 0, &n);
    *r.d = shifted_(number_(x, select_(positive_(x), ONE, round_(e))), drop_(positive_(x), n));
}

/* ---- piecewise rational ---- */

/* (x + 3) / 6 within [0, 1]; derivative 1/6 strictly inside. */
OP(hardsigmoid) {
    UNUSED;
    const V three = set1(3), sixth = ONE / set1(6);
    V x = in[0], a = clamp_(x, -three, three);
    *r.y = (a + three) * sixth;
    *r.d = plain_(number_(x, keep_(lt_(abs_(x), three), sixth)));
}
/* x hardsigmoid(x); derivative x/3 + 1/2 inside. */
OP(hardswish) {
    UNUSED;
    const V three = set1(3), sixth = ONE / set1(6);
    V x = in[0], a = clamp_(x, -three, three), sum = three + a, excess = (sum - three) - a;
    *r.y = select_(lt_(three, x), x, fma_(sum, a, -(excess * a)) / set1(6)); /* no -0 below -3 */
    *r.d = plain_(number_(x, select_(lt_(abs_(x), three), (a + a + three) * sixth, keep_(nlt_(x, three), ONE))));
}
/* x / (1 + |x|); derivative 1 / (1 + |x|)^2. */
OP(softsign) {
    UNUSED;
    const V x = in[0], size = abs_(x), a = min_(HUGE_, size), q = a / (ONE + a);
    *r.y = from_bits(bits_(q) | (bits_(x) ^ bits_(size)));
    const M far = lt_(set1(C_(0x1p60f, 0x1p500)), size);
    const V down = r.careful ? select_(far, set1(C_(0x1p-90f, 0x1p-760)), ONE) : ONE;
    const pair i = inverse_(sum_(down, size * down));
    const V square = fma_(i.h + i.h, i.l, i.h * i.h);
    *r.d = rounded_(number_(x, keep_(lt_(size, set1((S)INFINITY)), square)));
    if (r.careful) r.d->n = keep_(far, set1(C_(-180, -1520)));
}

/* ---- losses: the first input is what the model says, the second what is so ---- */

/* c a, counted 0 where c is 0: a class without mass adds nothing even if its loss is infinite. */
INLINE V weighted(V c, V a) { return drop_(eq_(c, ZERO), c * a); }

/* p 2^i and q 2^j over 2^n, the larger of the two exponents. */
INLINE V align_(V *p, V i, V *q, V j) {
    const V none = set1(-8 * EXPONENT);
    const V n = max_(select_(eq_(*p, ZERO), none, i), select_(eq_(*q, ZERO), none, j));
    *p = scale_(*p, i - n);
    *q = scale_(*q, j - n);
    return n;
}
INLINE V without_(M m, V v) { return drop_(and_(m, eq_(v, v)), v); } /* 0 where m; NaN stays */
/* What follows, careful: p and n as they are given, each with its exponent, and log(1 + z) is z where that is tiny. */
INLINE void binary_cross_entropy_far(V x, V p, V i, V n, V j, exponential e, V q, outcome r) {
    V deep_n;
    const V deep_t = exp_less(exp_reduce(max_(set1(-GONE), -abs_(x)), &deep_n));
    const M deep = lt_(set1(C_(100, 700)), abs_(x)); /* 1 + z is 1 there */
    e.n = select_(deep, deep_n, e.n);
    e.t = select_(deep, deep_t, e.t);
    q = select_(deep, ONE + deep_t, q);
    const M below = negative_(x), tail = lt_(e.n, set1(-60)), end = eq_(abs_(x), set1((S)INFINITY));
    const V side = select_(below, p, n), at = select_(below, i, j);
    V k, most = weighted(side, mantissa_(abs_(x), &k)); /* |x| times it */
    V small = without_(end, q * select_(below, n, -p));
    V large = (ONE - scale_(q, e.n)) * select_(below, -p, n);
    r.d->n = align_(&small, select_(below, j, i) + e.n, &large, at);
    r.d->of = small + large;
    const V shift = align_(&p, i, &n, j);
    r.d[1] = shifted_(without_(end, (p + n) * fnma_(q, scale_(q, e.n), q)), shift + e.n);
    V rest = without_(end, (p + n) * select_(tail, ONE + e.t, log1p_of(e)));
    *r.n = align_(&rest, shift + keep_(tail, e.n), &most, at + k);
    *r.y = rest + most;
}

/* Binary cross-entropy of a logit x with target t and weight w of the positive term, p = w t and n = 1 - t:
 * p softplus(-x) + n softplus(x) = (p + n) log(1 + exp(-|x|)) + |x| (p where x < 0, n elsewhere).
 * Derivative n s(x) - p s(-x), the second (p + n) s(x) s(-x). NaN where t is infinite. */
OP(binary_cross_entropy_with_logits) {
    UNUSED;
    V i = ZERO, j = ZERO, k = ZERO, t = in[1], w = in[2], negative = fma_(t, ZERO, ONE - t);
    const V x = in[0], a = abs_(x);
    if (r.careful) {
        t = mantissa_(t, &i);
        w = mantissa_(w, &j);
        negative = mantissa_(negative, &k);
    }
    const V positive = drop_(and_(eq_(t, ZERO), eq_(w, w)), w * t);
    /* A weight may be subnormal; a huge target or weight brings back a share that is rounded to 0. */
    const V size = fma_(positive, positive, fma_(negative, negative, ONE));
    *r.far = far_bits(select_(eq_(positive, ZERO), ONE, positive)) | far_bits(size);
    const M below = negative_(x);
    const exponential e = exp_minus(a);
    const V q = logistic_of(e), small = scale_down_(q, e.n), large = ONE - small;
    *r.y = fma_(positive + negative, log1p_of(e), weighted(select_(below, positive, negative), a));
    r.d[0] = summed_(negative * select_(below, small, large) - positive * select_(below, large, small), size);
    /* q (1 - small) is not rounded before it meets p + n. */
    const V curve = fnma_(q, small, q), rest = fnma_(q, small, q - curve), mass = positive + negative;
    r.d[1] = shifted_(fma_(mass, curve, mass * rest), e.n);
    if (r.careful) binary_cross_entropy_far(x, positive, i + j, negative, k, e, q, r);
}

/* log(x) and log(1 - x) of a probability x: 0.9 ulp. What 1 - x rounds away, which is nothing above 1/2, is put back. */
INLINE V log_of(V x) { return select_(eq_(x, ZERO), set1(-(S)INFINITY), log_inside(x).h); }
INLINE V log_of_rest(V x) {
    V k, rest = ONE - x, f = split_(rest, &k) - ONE, c = (ONE - rest) - x;
    c = fnma_(k, c, c); /* over 2^k: k is 0 or -1 where there is any */
    return select_(eq_(x, ONE), set1(-(S)INFINITY), log_core(f, k, fma_(c, fma_(f, f, -f), c)).h);
}
/* -(t max(log x, f) + (1 - t) max(log(1 - x), f)) of a probability x, f the floor of the logarithm.
 * Derivative (x - t) / max(x (1 - x), e), e a floor as well; without one 1 / (1 - x) or -1 / x at a label. */
OP(binary_cross_entropy) {
    const V x = abs_(in[0]), t = in[1], floor = set1(p[0]), rest = ONE - x; /* no -0 */
    const V a = max_(log_of(x), floor), b = max_(log_of_rest(x), floor);
    const V up = r.careful ? set1(C_(0x1p60f, 0x1p500)) : ONE; /* what is subnormal loses nothing */
    const V y = ZERO - (weighted(up * t, a) + weighted(up * (ONE - t), b));
    *r.y = select_(eq_(min_(ONE, x), x), y, set1((S)NAN));
    if (r.careful) *r.n = set1(C_(-60, -500));
    *r.d = exactly_((x - t) / max_(x * rest, set1(p[1])));
    if (p[1] != 0) return;
    const M none = eq_(t, ZERO), all = eq_(t, ONE);
    V k = ZERO, size = r.careful ? mantissa_(x, &k) : x, top = select_(none, ONE, select_(all, -ONE, x - t));
    r.d->of = top / select_(none, rest, select_(all, size, size * rest));
    r.d->n = drop_(none, -k);
}

/* (x - t) / 2, which is never beyond the range */
INLINE V half_gap(const V *in) { return set1(0.5) * in[0] - set1(0.5) * in[1]; }
/* x - t over 2^n, not rounded; unless careful n is 0, and what is beyond the range infinite. */
INLINE pair gap_of(const V *in, V *n, int careful) {
    const pair gap = sum_(in[0], -in[1]);
    *n = ZERO;
    if (!careful) return (pair){gap.h, keep_(lt_(abs_(gap.h), set1((S)INFINITY)), gap.l)};
    const M far = lt_(set1(C_(0x1p126f, 0x1p1022)), abs_(gap.h));
    V k, m = mantissa_(select_(far, half_gap(in), gap.h), &k);
    *n = k + keep_(far, ONE);
    return (pair){m, drop_(far, scale_(gap.l, -k))};
}
INLINE V sign_of(V a) { return select_(positive_(a), ONE, select_(negative_(a), -ONE, a)); } /* 0 and NaN stay */
/* a^2 */
INLINE V square_(pair a) { return select_(lt_(abs_(a.h), set1(C_(0x1p60f, 0x1p500))), round_(mul_(a, a)), a.h * a.h); }

/* (x - t)^2; derivative 2 (x - t), the second 2. */
OP(mse_loss) {
    UNUSED;
    V n;
    const pair gap = gap_of(in, &n, r.careful);
    *r.y = square_(gap);
    r.d[0] = exactly_(gap.h + gap.h);
    r.d[1] = plain_(number_(gap.h, set1(2)));
    if (!r.careful) return;
    *r.n = n + n;
    r.d[0] = shifted_(gap.h, ONE + n);
}
/* |x - t|; derivative its sign, 0 at t, the second 0. */
OP(l1_loss) {
    UNUSED;
    V n;
    const pair gap = gap_of(in, &n, r.careful);
    *r.y = abs_(gap.h);
    r.d[0] = plain_(sign_of(gap.h));
    r.d[1] = plain_(number_(gap.h, ZERO));
    if (r.careful) *r.n = n;
}
/* (1 - q) (x - t) above t, q (t - x) below; derivative 1 - q and -q, 0 at t, the second 0. */
OP(pinball_loss) {
    V n;
    const pair gap = gap_of(in, &n, r.careful);
    const V c = select_(negative_(gap.h), set1(-p[0]), set1(1 - p[0]));
    const M beyond = eq_(abs_(gap.h), set1((S)INFINITY));
    *r.y = select_(beyond, (c + c) * half_gap(in), fma_(c, gap.h, c * gap.l));
    r.d[0] = plain_(select_(eq_(gap.h, ZERO), gap.h, number_(gap.h, c)));
    r.d[1] = plain_(number_(gap.h, ZERO));
    if (r.careful) *r.n = n;
}
/* |x - t| - d over 2^n, rounded to the right sign */
INLINE V beyond_(pair gap, V d) { return (abs_(gap.h) - d) + select_(negative_(gap.h), -gap.l, gap.l); }
/* |gap| - d / 2, for more than d */
INLINE pair linear_(pair gap, V d) {
    const pair sum = sum_(abs_(gap.h), set1(-0.5) * d);
    return (pair){sum.h, keep_(lt_(sum.h, set1((S)INFINITY)), sum.l) + select_(negative_(gap.h), -gap.l, gap.l)};
}
/* a / b */
INLINE slope over_(V a, V b, int careful) {
    V i = ZERO, j = ZERO;
    if (careful) {
        a = mantissa_(a, &i);
        b = mantissa_(b, &j);
    }
    slope d = rounded_(a / b);
    d.n = i - j;
    return d;
}
/* (x - t)^2 / 2 up to |x - t| = d, then d (|x - t| - d / 2); derivative x - t within [-d, d], the second 1 up to there. */
OP(huber_loss) {
    V n, j = ZERO, d = set1(p[0]);
    const pair gap = gap_of(in, &n, r.careful);
    if (r.careful) d = mantissa_(d, &j);
    const V at = scale_(d, j - n);
    const M outside = lt_(ZERO, beyond_(gap, at));
    const pair linear = linear_(gap, at);
    const V half = abs_(half_gap(in)), far = (d + d) * fma_(set1(-0.25), d, half); /* of a gap beyond the range */
    const V line = select_(eq_(abs_(gap.h), set1((S)INFINITY)), far, fma_(d, linear.h, d * linear.l));
    *r.y = select_(outside, line, set1(0.5) * square_(gap));
    r.d[0] = exactly_(select_(outside, sign_of(gap.h) * d, gap.h));
    r.d[1] = plain_(number_(gap.h, drop_(outside, ONE)));
    if (!r.careful) return;
    *r.n = select_(outside, n + j, n + n);
    r.d[0].n = select_(outside, j, n);
}
/* (x - t)^2 / (2 b) up to |x - t| = b, then |x - t| - b / 2; derivative (x - t) / b within [-1, 1], the second 1 / b
 * below b. */
OP(smooth_l1_loss) {
    V n, j = ZERO, b = set1(p[0]);
    const pair gap = gap_of(in, &n, r.careful);
    if (r.careful) b = mantissa_(b, &j);
    const V at = scale_(b, j - n);
    const M outside = nlt_(beyond_(gap, at), ZERO);
    const pair part = div_(gap, exact_(b)), half = {set1(0.5) * gap.h, set1(0.5) * gap.l};
    *r.y = select_(outside, round_(linear_(gap, at)), round_(mul_(part, half)));
    r.d[0] = rounded_(select_(outside, sign_of(gap.h), round_(part)));
    r.d[1] = over_(ONE, b, 0);
    r.d[1].of = number_(gap.h, drop_(outside, r.d[1].of));
    if (!r.careful) return;
    *r.n = select_(outside, n, n + n - j);
    r.d[0].n = drop_(outside, n - j);
    r.d[1].n = -j;
}

/* ---- losses whose input is the logarithm of what is expected, m = exp(x) ---- */

/* p 2^k. Of exp the argument may be of any size; at an infinity it is 0, or infinite to any weight. */
typedef struct {
    pair of;
    V n;
} power;
INLINE power dropped_(M m, power a) { return (power){{drop_(m, a.of.h), drop_(m, a.of.l)}, drop_(m, a.n)}; }
INLINE power power_(pair x) {
    const V far = set1(LAST);
    power a;
    a.of = exp_pair((pair){clamp_(x.h, -far, far), keep_(lt_(abs_(x.h), far), x.l)}, 0, &a.n);
    a.n = select_(eq_(x.h, set1((S)INFINITY)), set1(16 * EXPONENT), a.n);
    return dropped_(eq_(x.h, set1(-(S)INFINITY)), a);
}
/* What is expected, and a target of it: NaN where that is infinite. */
INLINE V target_(V t) { return fma_(t, ZERO, t); }
INLINE power ratio_of(V a) {
    V n, m = mantissa_(a, &n);
    return (power){exact_(m), n};
}
/* a b; careful, what is tiny loses nothing */
INLINE power product_of(pair a, pair b, int careful) {
    V i = ZERO, j = ZERO;
    if (careful) {
        a.h = mantissa_(a.h, &i), a.l = scale_(a.l, -i);
        b.h = mantissa_(b.h, &j), b.l = scale_(b.l, -j);
    }
    return (power){mul_(a, b), i + j};
}
INLINE power times_power(power a, pair b) { /* 0 times an infinity is 0 */
    V k, h = mantissa_(b.h, &k);
    const pair product = mul_(a.of, (pair){h, scale_(b.l, -k)});
    const M none = eq_(a.of.h, ZERO);
    return (power){{drop_(none, product.h), drop_(none, product.l)}, a.n + k};
}
/* a - b */
INLINE power minus_(power a, power b) {
    V x = a.of.h, y = b.of.h;
    const V n = align_(&x, a.n, &y, b.n);
    const pair sum = sum_(x, -y);
    const V low = sum.l + (scale_(a.of.l, a.n - n) - scale_(b.of.l, b.n - n));
    return (power){{sum.h, keep_(lt_(abs_(sum.h), set1((S)INFINITY)), low)}, n};
}
INLINE slope less_(power a, power b) {
    const power difference = minus_(a, b);
    return shifted_(round_(difference.of), difference.n);
}
INLINE void give_(slope a, outcome r) {
    *r.y = r.careful ? a.of : scale_(a.of, a.n);
    if (r.careful) *r.n = a.n;
}
/* (exp(w) - 1 - w) / w^2 for w in [-1, 1]: its Taylor series. */
INLINE V curve_(V w) {
    enum { degree = C_(9, 17) };
    static const S c[] = {1 / (S)2,
                          1 / (S)6,
                          1 / (S)24,
                          1 / (S)120,
                          1 / (S)720,
                          1 / (S)5040,
                          1 / (S)40320,
                          1 / (S)362880,
                          1 / (S)3628800,
                          1 / (S)39916800,
                          1 / (S)479001600,
                          1 / (S)6227020800,
                          1 / (S)87178291200,
                          1 / (S)1307674368e3,
                          1 / (S)20922789888e3,
                          1 / (S)355687428096e3,
                          1 / (S)6402373705728e3,
                          1 / (S)121645100408832e3};
    return horner(c, degree, w);
}
/* c x, 0 where c is, also times an infinity; NaN stays */
INLINE pair times_any(pair c, pair x) {
    const pair product = mul_(c, x);
    const M none = and_(eq_(c.h, ZERO), eq_(x.h, x.h));
    return (pair){drop_(none, product.h), drop_(none, product.l)};
}
/* log t - x, of which log t is 0.1 ulp of 1 off; of no target it is -inf, whatever x */
INLINE pair log_over(V t, V x) {
    const pair l = log_pair(t), v = plus_(-x, l);
    const M usual = lt_(abs_(v.h), set1((S)INFINITY));
    const V h = v.h + v.l; /* of the logarithm much may be left */
    const V limit = select_(eq_(t, ZERO), number_(x, set1(-(S)INFINITY)), v.h);
    return (pair){select_(usual, h, limit), keep_(usual, (v.h - h) + v.l)};
}

/* m - t x, for t above 1 with Stirling's t (log t - 1) + log(2 pi t) / 2 if `full`; derivative m - t, the second m. */
INLINE void poisson_nll(const V *in, int full, outcome r) {
    const V target = target_(in[1]);
    const power m = power_(exact_(in[0])), t = ratio_of(target), x = ratio_of(min_(set1(-DEAD), in[0]));
    power product = {mul_(t.of, x.of), t.n + x.n};
    const M none = eq_(target, ZERO), usual = lt_(abs_(product.of.h), set1((S)INFINITY));
    product.of = (pair){drop_(none, product.of.h), keep_(usual, product.of.l)};
    const power difference = minus_(m, product);
    slope y = shifted_(round_(difference.of), difference.n);
    if (full) {
        const pair l = log_pair(target), less = plus_(-ONE, l);
        V more = scale_(fma_(set1(0.5), l.h, set1(C_(0.91893853f, 0.9189385332046728))), -t.n);
        more = keep_(lt_(ONE, target), fma_(t.of.h, less.h, fma_(t.of.h, less.l, more)));
        V h = difference.of.h;
        y.n = align_(&h, difference.n, &more, t.n);
        const pair sum = sum_(h, more);
        const V low = sum.l + scale_(difference.of.l, difference.n - y.n);
        y.of = sum.h + keep_(lt_(abs_(sum.h), set1((S)INFINITY)), low);
    }
    give_(y, r);
    r.d[0] = less_(m, t);
    r.d[1] = shifted_(round_(m.of), m.n);
}
OP(poisson_nll_loss) {
    UNUSED;
    poisson_nll(in, 0, r);
}
OP(poisson_nll_loss_full) {
    UNUSED;
    poisson_nll(in, 1, r);
}

/* Half the gamma deviance, t / m - 1 - v with v = log(t / m), near 0 v^2 (1/2 + v / 6 + ...); derivative 1 - t / m, the
 * second t / m. */
OP(half_gamma_loss) {
    UNUSED;
    const pair v = log_over(target_(in[1]), in[0]);
    const power square = product_of(v, v, r.careful);
    const power q = power_(v), more = {plus_(ONE, (pair){min_(set1(-DEAD), v.h), v.l}), ZERO};
    const M near = lt_(abs_(v.h), ONE);
    const V c = curve_(v.h);
    slope y = less_(q, more);
    y.of = select_(near, fma_(square.of.h, c, square.of.l * c), y.of);
    y.n = select_(near, square.n, y.n);
    give_(y, r);
    r.d[0] = less_((power){exact_(ONE), ZERO}, q);
    r.d[1] = shifted_(round_(q.of), q.n);
}

/* (w - z) / c with w = z exp(-c v) and, if `linear`, less the linear term of that in v: near 0 z c v^2 (1/2 - c v / 6 ...).
 * v may be infinite, which counts where w is less than z; `least` is not. */
INLINE slope bend_(power w, power z, pair c, pair v, pair least, M linear, int careful) {
    const pair cv = mul_(c, least);
    const power square = product_of(cv, least, careful);
    const V line = select_(negative_(cv.h), cv.h, c.h * v.h);
    const pair rest = plus_(ONE, (pair){-keep_(linear, line), -keep_(linear, cv.l)});
    const M near = lt_(abs_(cv.h), ONE);
    const V curve = curve_(-cv.h), bent = fma_(square.of.h, curve, square.of.l * curve);
    slope y = less_(w, times_power(z, rest));
    y.of = select_(near, fma_(z.of.h, bent, z.of.l * bent), y.of / c.h);
    y.n = select_(near, z.n + square.n, y.n);
    return y;
}
/* Half the Tweedie deviance of power p, m^a / a - t m^b / b + t^a / (a b) with a = 2 - p and b = 1 - p: the first two
 * terms each bend_ed from t^a, so that nothing cancels near t, nor where p is 1 or 2. Derivative m^a - t m^b, the second
 * a m^a - b t m^b; where both are beyond all range the larger stands alone. */
OP(half_tweedie_loss) {
    const V far = HUGE_, t = target_(in[1]);
    const pair a = sum_(set1(2), set1(-p[0])), b = sum_(ONE, set1(-p[0])), x = exact_(in[0]), l = log_pair(t);
    const pair v = log_over(t, in[0]), least = {clamp_(v.h, -far, far), v.l};
    const pair ax = times_any(a, x), bx = times_any(b, x);
    pair both = sum_(bx.h, l.h);
    both.l = both.l + (bx.l + l.l);
    const M beyond = and_(lt_(set1(-DEAD), abs_(ax.h)), lt_(set1(-DEAD), abs_(both.h))), none = eq_(t, ZERO);
    const power first = dropped_(and_(beyond, positive_(v.h)), power_(ax)), z = power_(times_any(a, l));
    const power second = dropped_((M)(none | and_(beyond, negative_(v.h))), power_(both));
    const M linear = (M)(lt_(abs_(a.h * least.h), ONE) | lt_(abs_(b.h * least.h), ONE));
    slope y = bend_(first, z, a, v, least, linear, r.careful);
    const slope less = bend_(second, z, b, v, least, linear, r.careful);
    y = less_((power){exact_(y.of), y.n}, (power){exact_(less.of), less.n});
    give_(y, r);
    r.d[0] = less_(first, second);
    r.d[1] = less_(times_power(first, a), times_power(second, b));
}

/* Focal loss of a label with weight a and exponent g. With s = x for the label 0 and -x for 1, m = s(s), the probability that
 * is missing, and c = -log(1 - m) it is a m^g c; its derivative by s a m^g (m + g c (1 - m)), the second
 * a m^g (1 - m) (m (1 + 2 g) + g c (g (1 - m) - m)), which cancels. p: a of the label 1, of 0, and g. */
OP(sigmoid_focal_loss) {
    const M positive = lt_(set1(0.5), in[1]);
    const V s = select_(positive, -in[0], in[0]), g = set1(p[2]), alpha = select_(positive, set1(p[0]), set1(p[1]));
    const V a = min_(set1(FADED), abs_(s));
    const logistic l = logistic_(exact_(a), 1);
    const M below = negative_(s), tail = and_(below, lt_(l.n, set1(-60)));
    const V n = keep_(tail, l.n); /* of m and c; that of 1 - m is k */
    const V k = drop_(below, l.n);
    const pair lost = log1p_unit(l.z), far = plus_(a, lost), small = shift_(l.small, l.n);
    const pair c = pick_(below, pick_(tail, l.p, lost), far), log_m = pick_(below, far, lost);
    const pair m = pick_(below, pick_(tail, l.small, small), l.large), rest = pick_(below, l.large, small);
    const power w = power_(times_(log_m, -g));
    const pair more = times_(mul_(c, rest), g);
    pair first = sum_(m.h, more.h), inner = sum_(g * rest.h, -select_(below, small.h, l.large.h));
    first.l = first.l + (m.l + more.l);
    inner.l = inner.l + (near_fma_(g, rest.h, -(g * rest.h)) + fma_(g, rest.l, -select_(below, small.l, l.large.l)));
    const pair mass = times_(m, set1(1 + 2 * p[2])), bend = times_(mul_(c, inner), g);
    pair second = sum_(mass.h, bend.h);
    second.l = second.l + (mass.l + bend.l);
    second = mul_(second, pick_(below, l.large, l.small));
    give_(shifted_(weighted(alpha, select_(lt_(set1(FADED), s), s, round_(mul_(w.of, c)))), w.n + n), r);
    const V slope = alpha * round_(mul_(w.of, first));
    r.d[0] = shifted_(select_(positive, -slope, slope), w.n + n);
    r.d[1] = shifted_(alpha * round_(mul_(w.of, second)), w.n + (n + k));
}

/* t (log t - x), x a log-probability; derivative -t. */
OP(kl_div) {
    UNUSED;
    V x = in[0], t = in[1];
    *r.y = number_(x, weighted(t, settled_(plus_(-x, log_pair(t)))));
    *r.d = exactly_(number_(x, -t));
}
/* The same with t given as its logarithm, whose exponential counts 0 against an infinity if it is rounded to 0. */
OP(kl_div_log_target) {
    UNUSED;
    const V far = set1(DEAD);
    V n, k, x = in[0], t = in[1], gap = t - x, m = mantissa_(gap, &k);
    const M dead = lt_(t, far), finite = lt_(abs_(m), set1(2));
    const pair e = exp_pair(exact_(clamp_(t, far, -far)), 1, &n);
    const V mass = drop_(dead, scale_(e.h, n)), sum = scale_(round_(times_(e, m)), n + k);
    *r.y = number_(x, select_(finite, sum, weighted(mass, gap)));
    *r.d = shifted_(number_(x, drop_(eq_(t, -set1((S)INFINITY)), -round_(e))), n);
    if (r.careful) r.d->kind = EXACT; /* of no limit at an infinite x */
}

/* ---- distributions: terms that are summed over a row; c = 1 / log(base) in two parts ---- */

#define PER_LOG ((pair){set1(p[0]), set1(p[1])})
/* c a */
INLINE V in_base(pair a, const S *p) { return settled_(mul_(a, PER_LOG)); }
/* c x a, 0 where x is */
INLINE V mass_in_base(V x, pair a, const S *p) { return drop_(eq_(x, ZERO), settled_(times_(mul_(a, PER_LOG), x))); }
/* Logarithms of what is in [0, inf], to be settled after a product. */
INLINE pair log_of_mass(V q) {
    const V infinity = set1((S)INFINITY);
    pair l = log_inside(q);
    l.h = select_(lt_(q, infinity), select_(eq_(q, ZERO), -infinity, l.h), q);
    return l;
}
/* log(x / q), for a product with x: at 0 and at infinity, of x alone, any will do. */
INLINE pair log_of_share(V x, V q) {
    const V infinity = set1((S)INFINITY);
    pair l = log_ratio_inside(x, q);
    l.h = select_(lt_(q, infinity), select_(eq_(q, ZERO), infinity, l.h), x - q);
    return l;
}
/* -c x / q, 0 where x is */
INLINE slope share_over(V x, V q, const S *p, int careful) {
    slope d = over_(x, q, careful);
    d.of = drop_(eq_(x, ZERO), -(set1(p[0]) * d.of));
    return d;
}

/* -c log x; derivative -c / x. */
OP(information_content) {
    V x = abs_(in[0]); /* no -0 */
    *r.y = ZERO - in_base(log_of_mass(x), p);
    *r.d = over_(-set1(p[0]), x, r.careful);
}
/* -c x log x; derivative -c (log x + 1). */
OP(entropy) {
    const V x = in[0], y = ZERO - mass_in_base(x, log_inside(x), p); /* at 0 and at infinity any logarithm does */
    *r.y = select_(negative_(x), set1((S)NAN), y);
    *r.d = exactly_(-in_base(plus_(ONE, log_pair(x)), p));
}
/* -c x log q; derivative -c log q; and its derivative for q: -c x / q. */
OP(cross_entropy_of_distributions) {
    const pair l = log_of_mass(in[1]);
    *r.y = ZERO - mass_in_base(in[0], l, p);
    *r.d = exactly_(number_(in[0], ZERO - in_base(l, p)));
}
OP(cross_entropy_of_distributions_q) {
    V q = abs_(in[0]), x = in[1];
    *r.y = ZERO - mass_in_base(x, log_of_mass(q), p);
    *r.d = share_over(x, q, p, r.careful);
}
/* c x log(x / q); derivative c (log(x / q) + 1); and its derivative for q: -c x / q. */
OP(relative_entropy) {
    *r.y = mass_in_base(in[0], log_of_share(in[0], in[1]), p);
    *r.d = exactly_(in_base(plus_(ONE, log_ratio(in[0], in[1])), p));
}
OP(relative_entropy_q) {
    V q = abs_(in[0]), x = in[1];
    *r.y = mass_in_base(x, log_of_share(x, q), p);
    *r.d = share_over(x, q, p, r.careful);
}
#endif

/* An op may be so cheap that half types are converted in loops of their own, not before and after. Loops: OWN ones for
 * every direction (of a loss with weights and without), ANY that is for all, or BOTH, which a Hessian without weights has
 * OWN ones of, too. An op has a Hessian if its last bound is not 0.
 *  X(name, inputs, parameters, is a loss, is cheap, loops, bound, derivative's bound, second derivative's bound) */
#define LG_OPS(X)                                                                                                      \
    X(sigmoid, 1, 0, 0, 1, OWN, 1.0, 2.0, 0)                                                                           \
    X(log_sigmoid, 1, 0, 0, 0, OWN, 1.0, 2.0, 0)                                                                       \
    X(softplus_one, 1, 0, 0, 0, BOTH, 1.0, 2.0, 2.0)                                                                   \
    X(softplus, 1, 1, 0, 0, BOTH, 1.0, 2.0, 2.0)                                                                       \
    X(silu, 1, 0, 0, 1, OWN, 2.0, 2.0, 0)                                                                              \
    X(gelu, 1, 0, 0, 0, OWN, 2.0, 2.0, 0)                                                                              \
    X(gelu_tanh, 1, 0, 0, 0, OWN, 2.0, 2.0, 0)                                                                         \
    X(tanh, 1, 0, 0, 1, OWN, 1.0, 2.0, 0)                                                                              \
    X(mish, 1, 0, 0, 0, OWN, 1.0, 2.0, 0)                                                                              \
    X(relu, 1, 0, 0, 1, OWN, 1.0, 1.0, 0)                                                                              \
    X(leaky_relu, 1, 1, 0, 1, OWN, 1.0, 1.0, 0)                                                                        \
    X(prelu, 2, 0, 0, 1, OWN, 1.0, 1.0, 0)                                                                             \
    X(prelu_weight, 2, 0, 0, 0, OWN, 1.0, 1.0, 0)                                                                      \
    X(elu, 1, 1, 0, 1, OWN, 1.0, 2.0, 0)                                                                               \
    X(selu, 1, 0, 0, 1, OWN, 2.0, 2.0, 0)                                                                              \
    X(celu, 1, 1, 0, 1, OWN, 1.0, 2.0, 0)                                                                              \
    X(hardsigmoid, 1, 0, 0, 1, OWN, 2.0, 2.0, 0)                                                                       \
    X(hardswish, 1, 0, 0, 1, OWN, 2.0, 2.0, 0)                                                                         \
    X(softsign, 1, 0, 0, 1, OWN, 2.0, 2.0, 0)                                                                          \
    X(binary_cross_entropy_with_logits, 3, 0, 1, 0, BOTH, 2.0, 2.0, 2.0)                                               \
    X(binary_cross_entropy, 2, 2, 1, 0, OWN, 2.0, 2.0, 0)                                                              \
    X(mse_loss, 2, 0, 1, 1, BOTH, 1.0, 1.0, 1.0)                                                                       \
    X(l1_loss, 2, 0, 1, 0, ANY, 1.0, 1.0, 1.0)                                                                         \
    X(pinball_loss, 2, 1, 1, 0, ANY, 1.0, 1.0, 1.0)                                                                    \
    X(huber_loss, 2, 1, 1, 0, ANY, 1.0, 1.0, 1.0)                                                                      \
    X(smooth_l1_loss, 2, 1, 1, 0, ANY, 1.0, 1.0, 1.0)                                                                  \
    X(poisson_nll_loss, 2, 0, 1, 0, ANY, 1.0, 1.0, 1.0)                                                                \
    X(poisson_nll_loss_full, 2, 0, 1, 0, ANY, 2.0, 1.0, 1.0)                                                           \
    X(half_gamma_loss, 2, 0, 1, 0, ANY, 2.0, 1.0, 1.0)                                                                 \
    X(half_tweedie_loss, 2, 1, 1, 0, ANY, 2.0, 2.0, 2.0)                                                               \
    X(sigmoid_focal_loss, 2, 3, 1, 0, ANY, 2.0, 2.0, 2.0)                                                              \
    X(kl_div, 2, 0, 1, 1, OWN, 2.0, 1.0, 0)                                                                            \
    X(kl_div_log_target, 2, 0, 1, 0, OWN, 2.0, 2.0, 0)                                                                 \
    X(information_content, 1, 2, 0, 0, OWN, 2.0, 2.0, 0)                                                               \
    X(entropy, 1, 2, 0, 0, OWN, 2.0, 2.0, 0)                                                                           \
    X(cross_entropy_of_distributions, 2, 2, 0, 0, OWN, 2.0, 2.0, 0)                                                    \
    X(cross_entropy_of_distributions_q, 2, 2, 0, 0, OWN, 2.0, 2.0, 0)                                                  \
    X(relative_entropy, 2, 2, 0, 0, OWN, 2.0, 2.0, 0)                                                                  \
    X(relative_entropy_q, 2, 2, 0, 0, OWN, 2.0, 2.0, 0)
