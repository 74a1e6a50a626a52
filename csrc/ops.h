/* Every elementwise op and loss term: formula, derivative, error bounds, and its row in the table.
 *
 * An op maps inputs in[0..], the first of them the variable of the derivative, and parameters p[0..]
 * to its value y and derivative d; the compiler drops whichever a loop does not store. A derivative that may
 * leave the range is given with its exponent, since a gradient may bring it back.
 * Bounds are ULP of the result, over all inputs, on every level (tests/test_accuracy.py holds them). */

#ifndef LG_TABLE_ONLY
/* of 2^n, an ordinary number times a power of 2; n counts only if `shifted`, a constant of the op. */
typedef struct { V of, n; int shifted; } slope;
INLINE slope plain_(V of) { return (slope){of, set1(0), 0}; }
INLINE slope shifted_(V of, V n) { return (slope){of, n, 1}; }

/* The same, where an infinite one is a number times 2^n, n so large that its product with 0 alone is finite: 0. */
INLINE slope unbounded_(slope d) {
    const M infinite = eq_(abs_(d.of), set1((S)INFINITY));
    const V far = set1(4 * EXPONENT), one = from_bits(bits_(set1(1)) | (bits_(d.of) & bits_(set1((S)-0.0))));
    return shifted_(select_(infinite, one, d.of), select_(infinite, far, d.n));
}

/* g times a slope. The usual way is for |g| of 0 or in [2^-30, 2^30]; the other, for any, takes the slope at an
 * infinite x as it is rounded, so that an infinite gradient finds the 0 there, but no infinite one finds the gradient 0. */
INLINE V usual_product(V g, slope d) { return d.shifted ? scale_(g * d.of, d.n) : g * d.of; }
INLINE M is_usual(V g) {
    const V size = abs_(g);
    return (M)(and_(lt_(size, set1(0x1p30f)), nlt_(size, set1(0x1p-30f))) | eq_(g, set1(0)));
}
INLINE V any_product(V g, slope d, V x) {
    V i, j, m = mantissa_(g, &i);
    const V infinite = set1((S)INFINITY), rounded = scale_(d.of, d.n);
    const M far = and_(eq_(abs_(x), infinite), lt_(abs_(rounded), infinite));
    const V of = mantissa_(select_(far, rounded, d.of), &j);
    return scale_(m * of, drop_(far, d.n) + i + j);
}

#define OP(name) INLINE void op_##name(const V *in, const S *p, V *y, slope *d)
#define UNUSED (void)p
#define ZERO set1(0)
#define ONE set1(1)
#define HUGE_ set1(C_(0x1p100f, 0x1p900)) /* pairs are exact below it */

INLINE M positive_(V x) { return lt_(ZERO, x); }
INLINE M negative_(V x) { return lt_(x, ZERO); }
INLINE V number_(V x, V a) { return select_(eq_(x, x), a, x); } /* a, but NaN where x is */
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
    V q = fma_(a.q, a.rest, a.q), small = scale_(q, a.n);
    *y = select_(negative_(in[0]), small, ONE - small);
    *d = shifted_(fnma_(q, small, q), a.n);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + z), z = exp(-|x|) = 2^n (1 + t), or near 0 log 2 + x/2 + log(cosh(x/2)). */
INLINE V softplus_(V x) {
    const pair ln2 = constant_(0.6931471805599453, 2.3190468138462996e-17);
    V n, size = min_(set1(C_(120, 800)), abs_(x));
    const pair t = exp_less_pair(exp_reduce(-size, &n));
    V p = ONE + t.h, low = ((ONE - p) + t.h) + t.l, z = p * pow2_or_0(n + set1(MAGIC));
    const V half_z = set1(0.5) * z, less = half_z * p, most = p - less; /* (p + low) (1 - z / 2 + ...) */
    V lost = fma_(log1p_tail(z), p, fnma_(low, half_z, low));
    V far = max_(ZERO, x) + scale_(most + (((p - most) - less) + lost), n);
    V half = set1(0.5) * x, sum = ln2.h + half;
    V near = sum + (((ln2.h - sum) + half) + (log_cosh_half(x * x) + ln2.l));
    return select_(lt_(size, set1(C_(0.7f, 0.7))), near, far);
}

/* log s(x) = min(x, 0) - log(1 + exp(-|x|)); derivative s(-x). */
OP(log_sigmoid) {
    UNUSED;
    V x = in[0];
    *y = -softplus_(-x);
    const logistic_tail a = logistic_tail_(exact_(min_(set1(FADED), abs_(x))), 1);
    V q = fma_(a.q, a.rest, a.q);
    *d = shifted_(select_(negative_(x), fnma_(q, a.least, ONE), q), drop_(negative_(x), a.n));
}

/* log(1 + exp(x)); derivative s(x). */
OP(softplus) {
    UNUSED;
    const logistic_tail a = logistic_tail_(exact_(min_(set1(FADED), abs_(in[0]))), 1);
    V q = fma_(a.q, a.rest, a.q);
    *y = softplus_(in[0]);
    *d = shifted_(select_(negative_(in[0]), q, fnma_(q, a.least, ONE)), keep_(negative_(in[0]), a.n));
}

/* log(1 + exp(b x)) / b = max(x, 0) + log(1 + exp(-|b x|)) / b; derivative s(b x). */
OP(softplus_beta) {
    V x = in[0], m = max_(ZERO, x);
    V k, b = mantissa_(set1(p[0]), &k); /* beta = b 2^k, u = 2^k x */
    const V u = scale_(x, k);
    const pair scaled = product_(b, u);
    const logistic a = logistic_(scaled, 0);
    pair l = log1p_unit(a.z); /* the sum times 2^k; where exp is subnormal, log(1 + z) = z is divided first */
    M tiny = and_(lt_(a.n, set1(C_(-60, -120))), negative_(x));
    l = div_(pick_(tiny, a.p, l), exact_(b));
    V sum = round_(plus_(max_(ZERO, u), l)), n = keep_(tiny, a.n) - k;
    *y = select_(lt_(HUGE_, scaled.h), m, scale_(select_(tiny, round_(l), sum), n));
    *d = shifted_(select_(negative_(x), round_(a.small), round_(a.large)), keep_(negative_(x), a.n));
}

/* x s(-a) where x is below 0, else x s(a) = x - x s(-a), rounded once; near is x within what s does not round. */
INLINE V times_logistic(V x, V near, logistic_tail a, M below) {
    V h = near * a.q, product = fma_(h, a.rest, h);
    return select_(below, scale_(product, a.n), fnma_(product, a.least, x));
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
    *y = times_logistic(in[0], x, a, below);
    V small = a.q * a.least;
    small = fma_(small, a.rest, small);
    *d = slope_of(a, exact_(fma_(size, small, select_(below, ONE + x, ONE))), 1, small, below);
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
    *y = times_logistic(in[0], x, a, below);
    V small = a.q * a.least;
    small = fma_(small, a.rest, small);
    pair w = plus_(c1.h, times_(cube, set1(3)));
    w.l = w.l + c1.l;
    w = times_(w, size);
    V rest = ONE - w.h, lost = (ONE - (rest + w.h)) - w.l;
    pair slope = sum_(select_(below, rest, ONE), fma_(w.h, small, keep_(below, lost)));
    *d = slope_of(a, slope, 0, small, below);
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
    *y = max_(set1((S)-0.0), in[0]) - scale_(times_normal(h, low, a.e, !LG_DOUBLE), a.n);
    const pair g = normal_share(a);
    h = fnma_(t, peak.h, g.h);
    low = near_fma_(-t, peak.h, g.h - h) + fnma_(t, peak.l, g.l);
    const V slope = times_normal(h, low, a.e, 0);
    const M below = negative_(in[0]);
    *d = shifted_(select_(below, slope, fnma_(slope, pow2_or_0(a.n + set1(MAGIC)), ONE)), keep_(below, a.n));
}

/* (A + B u) / (B + A u), A = 2^n - 1, B = 2^n + 1, u = tanh(r), |x| = n ln 2 / 2 + r, with the sign of x;
 * derivative 4 s(2x) s(-2x). */
OP(tanh) {
    UNUSED;
    V x = in[0], a = abs_(x);
    const V t = tanh_(min_(set1(C_(10, 20)), a));
    *y = from_bits(bits_(t) | (bits_(x) ^ bits_(a)));
    const logistic_tail l = logistic_tail_(exact_(min_(set1(FADED), a + a)), 1);
    V q = set1(2) * fma_(l.q, l.rest, l.q);
    *d = shifted_(fnma_(q, q * l.least, q + q), l.n);
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
    *y = select_(lt_(in[0], most), scale_(product, n), in[0]);
    const V other = top.h - e.h, share = p_h + fnma_(unit, rest, p_l);
    const pair tail = {other, ((top.h - other) - e.h) + (top.l - e.l)};
    const pair slope = plus_(q, times_(times_(times_(tail, x), share), share));
    *d = shifted_(slope.h + (slope.l + rest), n);
}

/* ---- the ReLU family: x above 0, something else below ---- */

OP(relu) {
    UNUSED;
    V x = in[0];
    *y = select_(negative_(x), ZERO, x);
    *d = plain_(number_(x, keep_(positive_(x), ONE)));
}
/* s x, -0 at a slope of 0 even if x is -inf */
INLINE V sloped(V s, V x) {
    return s * select_(eq_(s, ZERO), max_(set1(-C_(FLT_MAX, DBL_MAX)), x), x);
}
OP(leaky_relu) {
    V x = in[0], slope = set1(p[0]);
    M above = positive_(x);
    *y = select_(above, x, sloped(slope, x));
    *d = plain_(number_(x, select_(above, ONE, slope)));
}
/* x or, below 0, the second input times x: prelu, and rrelu with the slopes it drew. */
OP(prelu) {
    UNUSED;
    V x = in[0];
    M above = positive_(x);
    *y = select_(above, x, sloped(in[1], x));
    *d = plain_(number_(x, select_(above, ONE, in[1])));
}
/* A term of prelu's gradient for the weight: the second input times min(x, 0). */
OP(prelu_weight) {
    UNUSED;
    M below = negative_(in[0]);
    *y = number_(in[0], keep_(below, in[1] * in[0]));
    *d = plain_(number_(in[0], keep_(below, in[1])));
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
    *y = select_(negative_(x), low, x);
    *d = exp_below(x, ONE, a, k);
}
/* l x = x + (l - 1) x, or l a (exp(x) - 1) below 0. */
OP(selu) {
    UNUSED;
    const V scale = set1(C_(0x1.0cfabep+0f, 0x1.0cfabd6a91132p+0)), more = set1(C_(0x1.9f57aep-5f, 0x1.9f57ad5222649p-5));
    const V both = set1(C_(0x1.c212ccp+0f, 0x1.c212cc640f031p+0));
    V x = in[0], low = NO_FMA ? once_times(expm1_below(x), both) : times_expm1(both, x);
    *y = select_(negative_(x), low, fma_(x, more, x));
    *d = exp_below(x, scale, both, ZERO);
}
/* x, or a (exp(x / a) - 1) below 0, which is x where x / a is tiny. */
OP(celu) {
    V x = in[0], k, a = mantissa_(set1(p[0]), &k);
    pair scaled = div_(exact_(scale_(min_(ZERO, x), -k)), exact_(a));
    M tiny = lt_(-set1(C_(0x1p-60f, 0x1p-500)), scaled.h), dead = lt_(scaled.h, set1(-40));
    pair at = {max_(set1(-40), scaled.h), drop_(dead, scaled.l)};
    V low = round_(times_(expm1_pair(at, 0), a)) * scale_(ONE, k), n;
    *y = select_(negative_(x), select_(tiny, x, low), x);
    pair e = exp_pair((pair){max_(set1(DEAD), scaled.h), drop_(lt_(scaled.h, set1(DEAD)), scaled.l)}, 0, &n);
    *d = shifted_(number_(x, select_(positive_(x), ONE, round_(e))), drop_(positive_(x), n));
}

/* ---- piecewise rational ---- */

/* (x + 3) / 6 within [0, 1]; derivative 1/6 strictly inside. */
OP(hardsigmoid) {
    UNUSED;
    const V three = set1(3), sixth = ONE / set1(6);
    V x = in[0], a = clamp_(x, -three, three);
    *y = (a + three) * sixth;
    *d = plain_(number_(x, keep_(lt_(abs_(x), three), sixth)));
}
/* x hardsigmoid(x); derivative x/3 + 1/2 inside. */
OP(hardswish) {
    UNUSED;
    const V three = set1(3), sixth = ONE / set1(6);
    V x = in[0], a = clamp_(x, -three, three), sum = three + a, excess = (sum - three) - a;
    *y = select_(lt_(three, x), x, fma_(sum, a, -(excess * a)) / set1(6)); /* no -0 below -3 */
    *d = plain_(number_(x, select_(lt_(abs_(x), three), (a + a + three) * sixth, keep_(nlt_(x, three), ONE))));
}
/* x / (1 + |x|); derivative 1 / (1 + |x|)^2. */
OP(softsign) {
    UNUSED;
    V x = in[0], a = min_(HUGE_, abs_(x)), q = a / (ONE + a);
    *y = from_bits(bits_(q) | (bits_(x) ^ bits_(abs_(x))));
    const V size = min_(set1(C_(FLT_MAX, DBL_MAX)), abs_(x));
    const M far = lt_(set1(C_(0x1p60f, 0x1p500)), size), finite = lt_(abs_(x), set1((S)INFINITY));
    const V down = select_(far, set1(C_(0x1p-90f, 0x1p-760)), ONE);
    const pair i = inverse_(sum_(down, size * down));
    const V square = keep_(finite, fma_(i.h + i.h, i.l, i.h * i.h));
    *d = shifted_(number_(x, square), keep_(far, set1(C_(-180, -1520))));
}

/* ---- losses: the first input is what the model says, the second what is so ---- */

/* c a, counted 0 where c is 0: a class without mass adds nothing even if its loss is infinite. */
INLINE V weighted(V c, V a) { return drop_(eq_(c, ZERO), c * a); }

/* Binary cross-entropy of a logit x with target t and weight w of the positive term, p = w t and n = 1 - t:
 * p softplus(-x) + n softplus(x) = (p + n) log(1 + exp(-|x|)) + |x| (p where x < 0, n elsewhere).
 * Derivative n s(x) - p s(-x). */
OP(binary_cross_entropy_with_logits) {
    UNUSED;
    V x = in[0], a = abs_(x), negative = ONE - in[1];
    const V positive = drop_(and_(eq_(in[1], ZERO), eq_(in[2], in[2])), in[2] * in[1]);
    M below = negative_(x);
    const exponential e = exp_minus(a);
    *y = fma_(positive + negative, log1p_of(e), weighted(select_(below, positive, negative), a));
    /* over 2^n: that of the small part if it is alone, and 2^-64 where the other is tiny */
    const V q = logistic_of(e), other = abs_(select_(below, positive, negative));
    const M alone = eq_(other, ZERO), tiny = lt_(other, set1(0x1p-60f));
    const V n = select_(alone, e.n, keep_(tiny, set1(-64))), small = scale_(q, e.n - n);
    const V large = (ONE - scale_(q, e.n)) * select_(tiny, set1(0x1p64f), ONE);
    *d = shifted_(negative * select_(below, small, large) - positive * select_(below, large, small), n);
}

/* -(t max(log x, f) + (1 - t) max(log(1 - x), f)) of a probability x, f the floor of the logarithm.
 * Derivative (x - t) / max(x (1 - x), e), e a floor as well; without one 1 / (1 - x) or -1 / x at a label. */
OP(binary_cross_entropy) {
    V x = abs_(in[0]), t = in[1], floor = set1(p[0]), rest = ONE - x; /* no -0 */
    V a = max_(round_(log_pair(x)), floor), b = max_(round_(log1p_pair(-x)), floor);
    *y = number_(x, ZERO - (weighted(t, a) + weighted(ONE - t, b)));
    *d = shifted_((x - t) / max_(x * rest, set1(p[1])), ZERO);
    if (p[1] != 0) return;
    const M none = eq_(t, ZERO), all = eq_(t, ONE);
    V k, size = mantissa_(x, &k), top = select_(none, ONE, select_(all, -ONE, x - t));
    *d = unbounded_(shifted_(top / select_(none, rest, select_(all, size, size * rest)), drop_(none, -k)));
}

/* (x - t)^2; derivative 2 (x - t). */
OP(mse_loss) {
    UNUSED;
    pair gap = sum_(in[0], -in[1]);
    V plain = gap.h * gap.h;
    *y = select_(lt_(abs_(gap.h), set1(C_(0x1p60f, 0x1p500))), round_(mul_(gap, gap)), plain);
    const M far = lt_(set1(C_(0x1p126f, 0x1p1022)), abs_(gap.h));
    *d = shifted_(select_(far, set1(0.5) * in[0] - set1(0.5) * in[1], set1(2) * gap.h), keep_(far, set1(2)));
}

/* t (log t - x), x a log-probability; derivative -t. */
OP(kl_div) {
    UNUSED;
    V x = in[0], t = in[1];
    pair l = log_pair(t);
    V gap = round_(plus_(-x, l));
    gap = select_(lt_(abs_(x), HUGE_), gap, l.h - x);
    *y = number_(x, weighted(t, gap));
    *d = plain_(number_(x, -t));
}
/* The same with t given as its logarithm, whose exponential counts 0 against an infinity if it is rounded to 0. */
OP(kl_div_log_target) {
    UNUSED;
    const V far = set1(DEAD);
    V n, k, x = in[0], t = in[1], gap = t - x, m = mantissa_(gap, &k);
    const M dead = lt_(t, far), finite = lt_(abs_(m), set1(2));
    const pair e = exp_pair(exact_(clamp_(t, far, -far)), 1, &n);
    const V mass = drop_(dead, scale_(e.h, n)), sum = scale_(round_(times_(e, m)), n + k);
    *y = number_(x, select_(finite, sum, weighted(mass, gap)));
    *d = shifted_(number_(x, drop_(eq_(t, -set1((S)INFINITY)), -round_(e))), n);
}

/* ---- distributions: terms that are summed over a row; c = 1 / log(base) in two parts ---- */

#define PER_LOG ((pair){set1(p[0]), set1(p[1])})
/* c a, also where a is infinite */
INLINE V in_base(pair a, const S *p) {
    return select_(lt_(abs_(a.h), HUGE_), round_(mul_(a, PER_LOG)), set1(p[0]) * a.h);
}
/* c x a, 0 where x is, also where either is infinite */
INLINE V mass_in_base(V x, pair a, const S *p) {
    const V down = set1(C_(0x1p-64f, 0x1p-512)), up = set1(C_(0x1p64f, 0x1p512));
    const M far = lt_(up, x), finite = and_(lt_(abs_(a.h), HUGE_), lt_(x, set1((S)INFINITY)));
    const V sum = round_(times_(mul_(a, PER_LOG), select_(far, x * down, x)));
    return select_(finite, select_(far, sum * up, sum), weighted(x, set1(p[0]) * a.h));
}
/* log(a / b), also where they are close */
INLINE pair log_ratio(V a, V b) {
    M close = and_(lt_(a, b + b), lt_(b, a + a));
    pair la = log_pair(a), lb = log_pair(b), gap = sum_(la.h, -lb.h);
    M finite = lt_(abs_(la.h) + abs_(lb.h), HUGE_);
    pair far = {select_(finite, gap.h, la.h - lb.h), keep_(finite, gap.l + (la.l - lb.l))};
    return pick_(close, log1p_pair((a - b) / b), far);
}

/* a / b */
INLINE slope over_(V a, V b) {
    V i, j, m = mantissa_(a, &i), q = m / mantissa_(b, &j);
    return unbounded_(shifted_(q, i - j));
}
/* -c x / q, 0 where x is */
INLINE slope share_over(V x, V q, const S *p) {
    V k, m = mantissa_(x, &k);
    slope d = over_(-(set1(p[0]) * m), q);
    d.of = drop_(eq_(x, ZERO), d.of);
    d.n = d.n + k;
    return d;
}

/* -c log x; derivative -c / x. */
OP(information_content) {
    V x = abs_(in[0]); /* no -0 */
    *y = number_(x, ZERO - in_base(log_pair(x), p));
    *d = over_(-set1(p[0]), x);
}
/* -c x log x; derivative -c (log x + 1). */
OP(entropy) {
    pair l = log_pair(in[0]), slope = plus_(ONE, l);
    M finite = lt_(abs_(l.h), HUGE_);
    *y = ZERO - mass_in_base(in[0], l, p);
    *d = unbounded_(plain_(-in_base((pair){select_(finite, slope.h, l.h), keep_(finite, slope.l)}, p)));
}
/* -c x log q; derivative -c log q; and its derivative for q: -c x / q. */
OP(cross_entropy_of_distributions) {
    pair l = log_pair(in[1]);
    *y = ZERO - mass_in_base(in[0], l, p);
    *d = unbounded_(plain_(number_(in[0], ZERO - in_base(l, p))));
}
OP(cross_entropy_of_distributions_q) {
    V q = abs_(in[0]), x = in[1];
    *y = ZERO - mass_in_base(x, log_pair(q), p);
    *d = share_over(x, q, p);
}
/* c x log(x / q); derivative c (log(x / q) + 1); and its derivative for q: -c x / q. */
OP(relative_entropy) {
    pair l = log_ratio(in[0], in[1]), slope = plus_(ONE, l);
    M finite = lt_(abs_(l.h), HUGE_);
    *y = mass_in_base(in[0], l, p);
    *d = unbounded_(plain_(in_base((pair){select_(finite, slope.h, l.h), keep_(finite, slope.l)}, p)));
}
OP(relative_entropy_q) {
    V q = abs_(in[0]), x = in[1];
    *y = mass_in_base(x, log_ratio(x, q), p);
    *d = share_over(x, q, p);
}
#endif

/*  X(name, inputs, parameters, is a loss, bound, derivative's bound) */
#define LG_OPS(X)                                      \
    X(sigmoid, 1, 0, 0, 1.0, 2.0)                      \
    X(log_sigmoid, 1, 0, 0, 1.0, 2.0)                  \
    X(softplus, 1, 0, 0, 1.0, 2.0)                     \
    X(softplus_beta, 1, 1, 0, 1.0, 2.0)                \
    X(silu, 1, 0, 0, 2.0, 2.0)                         \
    X(gelu, 1, 0, 0, 2.0, 2.0)                         \
    X(gelu_tanh, 1, 0, 0, 2.0, 2.0)                    \
    X(tanh, 1, 0, 0, 1.0, 2.0)                         \
    X(mish, 1, 0, 0, 1.0, 2.0)                         \
    X(relu, 1, 0, 0, 1.0, 1.0)                         \
    X(leaky_relu, 1, 1, 0, 1.0, 1.0)                   \
    X(prelu, 2, 0, 0, 1.0, 1.0)                        \
    X(prelu_weight, 2, 0, 0, 1.0, 1.0)                 \
    X(elu, 1, 1, 0, 1.0, 2.0)                          \
    X(selu, 1, 0, 0, 2.0, 2.0)                         \
    X(celu, 1, 1, 0, 1.0, 2.0)                         \
    X(hardsigmoid, 1, 0, 0, 2.0, 2.0)                  \
    X(hardswish, 1, 0, 0, 2.0, 2.0)                    \
    X(softsign, 1, 0, 0, 2.0, 2.0)                     \
    X(binary_cross_entropy_with_logits, 3, 0, 1, 2.0, 2.0) \
    X(binary_cross_entropy, 2, 2, 1, 2.0, 2.0)         \
    X(mse_loss, 2, 0, 1, 1.0, 1.0)                     \
    X(kl_div, 2, 0, 1, 2.0, 1.0)                       \
    X(kl_div_log_target, 2, 0, 1, 2.0, 2.0)            \
    X(information_content, 1, 2, 0, 2.0, 2.0)          \
    X(entropy, 1, 2, 0, 2.0, 2.0)                      \
    X(cross_entropy_of_distributions, 2, 2, 0, 2.0, 2.0)   \
    X(cross_entropy_of_distributions_q, 2, 2, 0, 2.0, 2.0) \
    X(relative_entropy, 2, 2, 0, 2.0, 2.0)             \
    X(relative_entropy_q, 2, 2, 0, 2.0, 2.0)
