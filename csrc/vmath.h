/* exp and log on V. Each says its identity, domain and error; the coefficients are printed by
 * tools/coefficients.py. Nothing here branches on data and nothing calls the C library. */

#define LOG2E C_(0x1.715476p+0f, 0x1.71547652b82fep+0)
/* ln 2 in two parts; n * LN2_HI is exact for |n| < 2^10 (float32), 2^13 (float64), fused or not. */
#define LN2_HI C_(0x1.62ep-1f, 0x1.62e42fefa2p-1)
#define LN2_LO C_(0x1.0bfbe8p-15f, 0x1.9ef35793c7673p-41)

/* The last that exp_reduce takes. */
#define LAST C_(700.0f, 5600.0)
/* exp of it is 0 even times the square of the largest number, and of its opposite infinite times the least. */
#define DEAD C_(-360.0f, -2200.0)
/* exp(-FADED) is 0 even times the largest number. */
#define FADED C_(220.0f, 1600.0)
/* exp(-GONE) is 0 even times a target, a weight and a gradient that are the largest number each. */
#define GONE C_(400.0f, 3000.0)

/* x = n ln 2 + r with |r| <= 0.3466, n integral. Exact but for the rounding of r (2^-2 ulp of exp). */
INLINE V exp_rest(V x, V n) { return fnma_(n, set1(LN2_LO), fnma_(n, set1(LN2_HI), x)); }
INLINE V exp_reduce(V x, V *n) {
    *n = fma_(x, set1(LOG2E), set1(MAGIC)) - set1(MAGIC);
    return exp_rest(x, *n);
}

/* c[0] + c[1] x + ...: Horner in x^2 over pairs of terms, whose latency is half of Horner's. */
INLINE V polynomial(const S *c, int degree, V x, V x2) {
    V p = degree % 2 ? fma_(set1(c[degree]), x, set1(c[degree - 1])) : set1(c[degree]);
    UNROLL(16)
    for (int k = degree - 2 - degree % 2; k >= 0; k -= 2) p = fma_(p, x2, fma_(set1(c[k + 1]), x, set1(c[k])));
    return p;
}

/* The same by Horner's rule, which rounds less. */
INLINE V horner(const S *c, int degree, V x) {
    V p = set1(c[degree]);
    UNROLL(16)
    for (int k = degree - 1; k >= 0; k--) p = fma_(p, x, set1(c[k]));
    return p;
}

/* q(r) in exp(r) = 1 + r + r^2 q(r); error 2^-27.9 (float32), 2^-57.2 (float64) of exp(r);
 * for `many` r side by side. */
#if LG_DOUBLE
static const double exp_c[] = {
    0x1.0000000000000p-1,  0x1.5555555555501p-3,  0x1.55555555531c6p-5,  0x1.1111111128b2cp-7,  0x1.6c16c17cda4dep-10,
    0x1.a01a011b6da66p-13, 0x1.a019aadd5a5a6p-16, 0x1.71df5642e12d9p-19, 0x1.289fe0fd895d1p-22, 0x1.ad1f8819769d6p-26};
enum { EXP_DEGREE = 9 };
#else
static const float exp_c[] = {0x1p-1f, 0x1.5554a2p-3f, 0x1.55568ap-5f, 0x1.123008p-7f, 0x1.6b6de6p-10f};
enum { EXP_DEGREE = 4 };
#endif
INLINE void exp_tails(const V *r, V *q, int many) {
    for (int g = 0; g < many; g++) q[g] = set1(exp_c[EXP_DEGREE]);
    UNROLL(9)
    for (int k = EXP_DEGREE - 1; k >= 0; k--)
        for (int g = 0; g < many; g++) q[g] = fma_(q[g], r[g], set1(exp_c[k]));
}
INLINE V exp_tail(V r) {
    V q;
    exp_tails(&r, &q, 1);
    return q;
}

/* exp(r) - 1 of a reduced argument, rounded: its error is below 0.6 ulp. */
INLINE V exp_less(V r) {
    V r2 = r * r; /* in pairs, which has half the latency; without fma in the order that rounds less */
    return fma_(NO_FMA ? exp_tail(r) : polynomial(exp_c, EXP_DEGREE, r, r2), r2, r);
}

/* ---- pairs: an unrounded sum h + l with |l| within an ulp or so of h ---- */
typedef struct {
    V h, l;
} pair;
INLINE V round_(pair a) { return a.h + a.l; }
/* The same of products and sums, h alone where that is the limit: l is not finite then. */
INLINE V settled_(pair a) { return select_(lt_(abs_(a.l), set1((S)INFINITY)), a.h + a.l, a.h); }
INLINE pair exact_(V a) { return (pair){a, set1(0)}; }
INLINE pair constant_(double c, double c_low) { return (pair){set1((S)c), set1((S)((c - (double)(S)c) + c_low))}; }
INLINE pair pick_(M m, pair a, pair b) { return (pair){select_(m, a.h, b.h), select_(m, a.l, b.l)}; }
INLINE pair sum_(V a, V b) { /* exact (Knuth) */
    V s = a + b, t = s - a;
    return (pair){s, (a - (s - t)) + (b - t)};
}
INLINE pair plus_(V a, pair b) {
    pair s = sum_(a, b.h);
    return (pair){s.h, s.l + b.l};
}
INLINE pair product_(V a, V b) {
    V h = a * b;
    return (pair){h, residual_(a, b, h)};
}
INLINE pair times_(pair a, V b) {
    pair p = product_(a.h, b);
    return (pair){p.h, fma_(a.l, b, p.l)};
}
INLINE pair mul_(pair a, pair b) {
    pair p = product_(a.h, b.h);
    return (pair){p.h, p.l + fma_(a.h, b.l, a.l * b.h)};
}
INLINE pair div_(pair a, pair b) {
    V q = a.h / b.h;
    return (pair){q, (a.l - fma_(q, b.l, residual_(q, b.h, a.h))) / b.h};
}
INLINE pair inverse_(pair b) {
    V q = set1(1) / b.h;
    return (pair){q, -q * fma_(q, b.l, residual_(q, b.h, set1(1)))};
}
INLINE pair shift_(pair a, V n) { return (pair){scale_(a.h, n), scale_(a.l, n)}; }

/* exp_less, not rounded: error 0.25 ulp of exp(r). */
INLINE pair exp_less_pair(V r) {
    V r2 = r * r, s = (NO_FMA ? exp_tail(r) : polynomial(exp_c, EXP_DEGREE, r, r2)) * r2, t = r + s;
    return (pair){t, (r - t) + s};
}

/* x = n ln 2 + r as exp_reduce, r as a pair; x.l counts unless `exact`. */
INLINE pair exp_reduce_pair(pair x, int exact, V *n) {
    V r = exp_reduce(x.h, n);
    V low = fnma_(*n, set1(LN2_LO), fnma_(*n, set1(LN2_HI), x.h) - r); /* what the reduction rounded away */
    return (pair){r, exact ? low : low + x.l};
}
/* exp(r) - 1 of a reduced argument: error 0.1 ulp of exp(r). */
INLINE pair expm1_reduced(pair r) {
    V s = exp_tail(r.h) * (r.h * r.h), t = r.h + s;
    return (pair){t, ((r.h - t) + s) + fma_(r.l, t, r.l)};
}

/* exp(x) = p 2^n, p in [0.70, 1.42]: error 0.1 ulp of p. */
INLINE pair exp_pair(pair x, int exact, V *n) {
    pair t = expm1_reduced(exp_reduce_pair(x, exact, n));
    V p = set1(1) + t.h, low = ((set1(1) - p) + t.h) + t.l;
    if (exact) return (pair){p, low};
    V h = p + low; /* x.l may be many ulp of p */
    return (pair){h, (p - h) + low};
}

/* exp(x) - 1 for x in [-40, 0]: error 0.2 ulp. With exp(x) = 2^n (1 + t) it is (2^n - 1) + 2^n t. */
INLINE pair expm1_pair(pair x, int exact) {
    V n;
    pair t = expm1_reduced(exp_reduce_pair(x, exact, &n));
    V unit = pow2_(n), a = unit - set1(1), b = unit * t.h, m = a + b;
    return (pair){m, fma_(unit, t.l, ((a - m) + b) + (unit - (a + set1(1))))};
}

/* x = 2^k m with m in [sqrt(1/2), sqrt(2)), for positive normal x. */
INLINE V split_(V x, V *k) {
    const I low = iset1(C_(0x3f3504f3, 0x3fe6a09e667f3bcd)), one = iset1((SI)EXPONENT << MANTISSA);
    I i = bits_(x) + (one - low);
    I e = i >> MANTISSA; /* positive, so the shift's sign does not matter */
    *k = from_bits(e | bits_(set1(C_(0x1p23f, 0x1p52)))) - set1(C_(0x1p23f, 0x1p52) + EXPONENT);
    return from_bits((i & iset1(((SI)1 << MANTISSA) - 1)) + low);
}

/* a = m 2^k with |m| in [1, 2), m of a's sign; a itself and k = 0 if that is 0 or not finite. */
INLINE V mantissa_(V a, V *k) {
    const V size = abs_(a), least = set1(C_(FLT_MIN, DBL_MIN)), up = set1(C_(0x1p24f, 0x1p53));
    const M tiny = lt_(size, least), usual = and_(lt_(set1(0), size), lt_(size, set1((S)INFINITY)));
    const I i = bits_(select_(tiny, a * up, a)), ones = iset1(((SI)1 << MANTISSA) - 1);
    const I sign = iset1((SI)((SU)1 << (SBITS - 1)));
    const V e = from_bits(((i & ~sign) >> MANTISSA) | bits_(set1(C_(0x1p23f, 0x1p52))));
    *k = keep_(usual, e - set1(C_(0x1p23f, 0x1p52) + EXPONENT) - keep_(tiny, set1(MANTISSA + 1)));
    return select_(usual, from_bits((i & (ones | sign)) | bits_(set1(1))), a);
}

/* log(1 + f) + k ln 2 + c, f in [-0.293, 0.415], c a small correction: the first is
 * f - (f^2/2 - s (f^2/2 + R(s^2))), s = f / (2 + f) (the form of FreeBSD's e_log.c). Error 0.3 ulp. */
INLINE pair log_core(V f, V k, V c) {
#if LG_DOUBLE
    static const double l[] = {0x1.5555555555555p-1, 0x1.999999998ffeep-2, 0x1.24924935dbc2dp-2, 0x1.c71c5aab24a69p-3,
                               0x1.7464a69222c50p-3, 0x1.39c76d026936dp-3, 0x1.2da535de68675p-3};
    enum { degree = 6 };
#else
    static const float l[] = {0x1.555556p-1f, 0x1.9998f4p-2f, 0x1.248ea8p-2f, 0x1.d771bcp-3f};
    enum { degree = 3 };
#endif
    V s = f / (set1(2) + f), w = s * s, g = set1(0.5) * f;
    pair half = product_(g, f);
    V t = fma_(s, fma_(horner(l, degree, w), w, half.h), fma_(k, set1(LN2_LO), c));
    V h = half.h - t, d = f - h, top = k * set1(LN2_HI), y = top + d;
    V lost = half.l + ((half.h - h) - t); /* h is less than f^2/2 - t by this */
    return (pair){y, ((top - y) + d) + (((f - d) - h) - lost)};
}

/* log(1 + z) for z in [0, 1], exact in relative terms down to subnormal z: error 0.3 ulp. */
INLINE pair log1p_unit(pair z) {
    M upper = lt_(set1(C_(0x1.a8279ap-2f, 0x1.a827999fcef32p-2)), z.h); /* sqrt(2) - 1 */
    V less = z.h - set1(1), f = select_(upper, set1(0.5) * less, z.h);
    V lost = z.l + keep_(upper, z.h - (less + set1(1)));
    /* 1 / (1 + z) to 2 %, for what was lost */
    V inverse = fma_(z.h, fma_(z.h, set1(C_(0.33f, 0.33)), set1(C_(-0.83f, -0.83))), set1(C_(0.99f, 0.99)));
    return log_core(f, keep_(upper, set1(1)), lost * inverse);
}

/* log(1 + u), u in [-1, 2^60], with what 1 + u rounds away put back; -inf at -1, NaN below. */
INLINE pair log1p_pair(V u) {
    const V zero = set1(0);
    V k, v = set1(1) + u, m = split_(v, &k), f = m - set1(1);
    V c = (u - (v - set1(1))) * pow2_(-k);
    pair y = log_core(f, k, fma_(c, fma_(f, f, -f), c)); /* c / m to the third order of f */
    M usual = lt_(zero, v);
    V other = select_(eq_(v, zero), set1(-(S)INFINITY), set1((S)NAN));
    return (pair){select_(usual, y.h, other), keep_(usual, y.l)};
}

#if LG_DOUBLE
/* The same of u >= 0 as well as a float32 needs it: f P(f) + k ln 2, which is 2^-27.9 of it off. What 1 + u rounds away
 * counts where u is small. */
INLINE V log1p_single(V u) {
    static const double c[] = {0x1p+0,
                               -0x1.fffff82de8276p-2,
                               0x1.5555503493a36p-2,
                               -0x1.0004265033763p-2,
                               0x1.99a3f2f928741p-3,
                               -0x1.54276cf472ee4p-3,
                               0x1.22719b0f36dfdp-3,
                               -0x1.0f3767e199c2ap-3,
                               0x1.084869bfc38f8p-3,
                               -0x1.3830210e84d3bp-4};
    V k, v = set1(1) + u, m = split_(v, &k);
    const V f = (m - set1(1)) + keep_(lt_(u, set1(0.25)), u - (v - set1(1)));
    const V y = fma_(f, horner(c, 9, f), k * set1(0x1.62e42fefa39efp-1));
    return select_(eq_(u, u), y, u);
}
#endif

/* x = 2^k m as split_ has it, x subnormal maybe */
INLINE V split_any(V x, V *k) {
    const M subnormal = lt_(x, set1(C_(0x1p-126f, 0x1p-1022)));
    const V m = split_(select_(subnormal, x * set1(C_(0x1p24f, 0x1p53)), x), k);
    *k = *k - keep_(subnormal, set1(MANTISSA + 1));
    return m;
}
INLINE M has_logarithm(V x) { return and_(lt_(set1(0), x), lt_(x, set1((S)INFINITY))); }
/* The logarithm of what has none that is finite. */
INLINE V log_limit(V x) {
    const V infinity = set1((S)INFINITY);
    return select_(eq_(x, infinity), infinity, select_(eq_(x, set1(0)), -infinity, set1((S)NAN)));
}
/* log(x) for x in (0, inf); finite elsewhere. */
INLINE pair log_inside(V x) {
    V k, m = split_any(x, &k);
    return log_core(m - set1(1), k, set1(0));
}
/* log(x); -inf at 0, inf at inf, NaN below 0. */
INLINE pair log_pair(V x) {
    const pair y = log_inside(x);
    const M usual = has_logarithm(x);
    return (pair){select_(usual, y.h, log_limit(x)), keep_(usual, y.l)};
}
/* log(a / b) = log(1 + (a - b) / b) of mantissas less than a factor sqrt(2) apart, whose difference is exact. What the
 * quotient lacks goes in with the slope of the logarithm, to the third order. Finite where a or b is not in (0, inf). */
INLINE pair log_ratio_inside(V a, V b) {
    const V root = set1(C_(0x1.6a09e6p+0f, 0x1.6a09e667f3bcdp+0));
    V i, j, m = split_any(a, &i), n = split_any(b, &j);
    const M above = lt_(n * root, m), below = lt_(m * root, n);
    m = select_(above, set1(0.5) * m, select_(below, m + m, m));
    const V k = (i - j) + (keep_(above, set1(1)) - keep_(below, set1(1))), inverse = set1(1) / n, gap = m - n;
    const V f = gap * inverse, c = -residual_(f, n, gap) * inverse;
    return log_core(f, k, fma_(c, fma_(f, f, -f), c));
}
INLINE pair log_ratio(V a, V b) {
    const pair y = log_ratio_inside(a, b);
    const M p = has_logarithm(a), q = has_logarithm(b), usual = and_(p, q);
    const V limit = drop_(p, log_limit(a)) - drop_(q, log_limit(b));
    return (pair){select_(usual, y.h, limit), keep_(usual, y.l)};
}

/* s(-a) = 1 / (1 + exp(a)) for a in [0, FADED]: with exp(a) = 2^-n (1 + t) it is
 * 2^n / D, D = (1 + 2^n) + t; what D rounds away is put back into the quotient q (1 + rest). 0.45 ulp before
 * that is rounded. least is 2^n. */
typedef struct {
    V n, q, rest, least, lifted;
} logistic_tail;
INLINE logistic_tail logistic_tail_(pair a, int exact) {
    logistic_tail s;
    const V one = set1(1), k = fma_(a.h, set1(-LOG2E), set1(MAGIC));
    s.n = k - set1(MAGIC);
    V r = exp_rest(a.h, -s.n);
    if (!exact) r = r + a.l;
    const V t = exp_less(r);
    s.lifted = lifted_(s.n);
    s.least = pow2_of(s.n, s.lifted);
    const V c = one + s.least, d = c + t, lost = ((c - d) + t) + ((one - c) + s.least);
    s.q = one / d;
    s.rest = -fma_(s.q, lost, residual_(s.q, d, one));
    return s;
}

/* z = exp(-a), a >= 0, as 2^n (1 + t); lost is what 1 + t rounds away. 0.9 ulp. */
typedef struct {
    V n, t, lost, z;
} exponential;
INLINE exponential exp_minus(V a) {
    exponential e;
    const V one = set1(1), r = exp_reduce(max_(set1(-FADED), -a), &e.n);
    e.t = fma_(exp_tail(r), r * r, r);
    const V p = one + e.t;
    e.lost = (one - p) + e.t;
    e.z = scale_down_(p, e.n);
    return e;
}
/* s(-a) = z / (1 + z), over 2^n, whose quotient is not rounded: 1.5 ulp. */
INLINE V logistic_of(exponential e) {
    const V one = set1(1), d = one + e.z, q = one / d;
    const V rest = -fma_(q, (one - d) + e.z, residual_(q, d, one)); /* D q (1 + rest) = 1 */
    return fma_(q, fma_(rest, one + e.t, e.t), q);
}

/* log(1 + z): with s = z / (2 + z) it is 2 s + s w P(w), w = s^2, and so z - s (z - w P(w)). What z lacks,
 * `lost` of 1 + t, adds s lost (2 - z / 2) / (1 + t) or, as good as needed, 1.5 s lost. 1.7 ulp. */
INLINE V log1p_of(exponential e) {
#if LG_DOUBLE
    static const double l[] = {0x1.5555555555555p-1, 0x1.999999999bfdep-2, 0x1.24924922647b1p-2, 0x1.c71c735542935p-3,
                               0x1.745ccc6637e87p-3, 0x1.3b1c050616608p-3, 0x1.107de0d4846d7p-3, 0x1.ee94ac4837c80p-4,
                               0x1.5ad77f6dce3d7p-4, 0x1.57fe6ec7a6760p-3};
    enum { degree = 9 };
#else
    static const float l[] = {0x1.555556p-1f, 0x1.9997fep-2f, 0x1.24e954p-2f, 0x1.b94f54p-3f, 0x1.e91dfap-3f};
    enum { degree = 4 };
#endif
    const V s = e.z / (set1(2) + e.z), w = s * s;
    return fnma_(s, e.z - fma_(w, horner(l, degree, w), set1(1.5) * e.lost), e.z);
}

/* log(1 + z) / z - 1 + z / 2 for z in [0, exp(-0.7)]. */
INLINE V log1p_tail(V z) {
#if LG_DOUBLE
    static const double c[] = {-0x1.0000000000000p-1, 0x1.55555555554aap-2, -0x1.fffffffff3aa2p-3, 0x1.99999996bd7d8p-3,
                               -0x1.555554f7c0bdcp-3, 0x1.249241956bb46p-3, -0x1.ffff2ac5231a9p-4, 0x1.c7140a1beec9ap-4,
                               -0x1.995af82bfa9e1p-4, 0x1.72fd0a3ecbb3bp-4, -0x1.4f6b4f9cb5e9cp-4, 0x1.2770ba91f8088p-4,
                               -0x1.e3e15389218bdp-5, 0x1.5656cf3b67e87p-5, -0x1.7a06dca782fb1p-6, 0x1.1856a187f7fcap-7,
                               -0x1.9905290dedd33p-10};
    enum { degree = 16 };
#else
    static const float c[] = {-0x1p-1f,        0x1.5554fcp-2f, -0x1.ffe692p-3f, 0x1.98352ap-3f,
                              -0x1.4b3282p-3f, 0x1.f348a2p-4f, -0x1.2110e2p-4f, 0x1.6085dp-6f};
    enum { degree = 7 };
#endif
    V z2 = z * z;
    return polynomial(c + 1, degree - 1, z, z2) * z2;
}

/* log(cosh(x / 2)) for x^2 in [0, 0.49]. */
INLINE V log_cosh_half(V x2) {
#if LG_DOUBLE
    static const double c[] = {0x1.0000000000000p-3,   -0x1.5555555553681p-8, 0x1.6c16c167ca12cp-12,
                               -0x1.ba1b9e127c424p-16, 0x1.1ea509535612bp-19, -0x1.830c8c15a0aa7p-23,
                               0x1.09a5f2016a817p-26,  -0x1.3cad60aea8f94p-30};
    enum { degree = 7 };
#else
    static const float c[] = {0x1p-3f, -0x1.555426p-8f, 0x1.6b5d1ap-12f, -0x1.969302p-16f};
    enum { degree = 3 };
#endif
    return polynomial(c, degree, x2, x2 * x2) * x2;
}

/* tanh(a), a in [0, 10] (float32), [0, 20] (float64): with a = n ln 2 / 2 + r and u = tanh(r) = r + r^3 P(r^2) it
 * is (A + B u) / (B + A u), A = 2^n - 1, B = 2^n + 1. A rounded quotient q leaves (A - q B) + u (B - q A), of which the
 * first is all but exact. n is 0 where the result is below 1/4. What u and ln 2 / 2 are rounded by is felt in float64
 * alone: 0.966 ulp without in float32, 0.76 with in float64. */
INLINE V tanh_(V a) {
#if LG_DOUBLE
    static const double c[] = {-0x1.5555555555555p-2, 0x1.11111111073f9p-3, -0x1.ba1ba19a8224ap-5, 0x1.664f357c6dd36p-6,
                               -0x1.22689293a1899p-7, 0x1.d50f4b537665ep-9, -0x1.59599ba124defp-10};
    enum { degree = 6 };
#else
    static const float c[] = {-0x1.555556p-2f, 0x1.10f5dp-3f, -0x1.a8589ep-5f};
    enum { degree = 2 };
#endif
    const V magic = set1(MAGIC), one = set1(1), k = fma_(a - set1((S)0.083), set1(2 * LOG2E), magic);
    const V n = k - magic, r = fnma_(n, set1(C_(0x1.62e43p-2f, 0x1.62e42fefa39efp-2)), a), w = r * r;
    const V cube = w * r, p = polynomial(c, degree, w, w * w), u = fma_(p, cube, r);
    const V B = from_bits((I)(((U)bits_(k) + (SU)EXPONENT) << MANTISSA)) + one, A = B - set1(2);
    const V i = one / fma_(A, u, B), q = fma_(B, u, A) * i, slope = fnma_(q, A, B);
    V rest = near_fma_(u, slope, near_fma_(-q, B, A));
    if (LG_DOUBLE) {
        const V low = fnma_(n, set1((S)0x1.abc9e3b39803fp-57), fma_(p, cube, r - u));
        rest = fma_(slope, low, rest);
    }
    return fma_(rest, i, q);
}

/* What sigmoid and its relatives share: with z = exp(-|x|) = p 2^n, large = sigmoid(|x|),
 * small 2^n = sigmoid(-|x|); x.l counts unless `exact`. */
typedef struct {
    V n;
    pair p, z, large, small;
} logistic;
INLINE logistic logistic_(pair x, int exact) {
    logistic a;
    const V minus = -abs_(x.h), least = set1(DEAD);
    pair at = exact_(max_(least, minus));
    if (!exact) at.l = drop_(lt_(minus, least), select_(lt_(x.h, set1(0)), x.l, -x.l));
    a.p = exp_pair(at, exact, &a.n);
    a.z = shift_(a.p, a.n);
    V d = set1(1) + a.z.h;
    pair total = {d, ((set1(1) - d) + a.z.h) + a.z.l};
    a.large = inverse_(total);
    V q = a.p.h * a.large.h;
    a.small = (pair){q, a.large.h * (a.p.l - fma_(q, total.l, residual_(q, d, a.p.h)))};
    return a;
}

/* ---- Phi(-t) = exp(-t^2 / 2) G, G = P(q) / (t + A), q = (t - A) / (t + A), for t in [0, 20.75] (float32),
 * [0, 56.5] (float64), Phi the normal distribution; exp(-t^2 / 2) = 2^n (1 + e) ---- */
enum { NORMAL_A = C_(3, 4) };
typedef struct {
    V n, i;
    pair e, d;
} normal; /* d = t + A, i = 1 / d */
INLINE normal normal_tail(V t) {
    normal a;
    const V half = set1(-0.5) * t, square = half * t;
    a.n = fma_(square, set1(LOG2E), set1(MAGIC)) - set1(MAGIC);
    const V high = fnma_(a.n, set1(LN2_HI), square), low = fnma_(a.n, set1(LN2_LO), residual_(half, t, square));
    const V r = high + low;
    a.e = NO_FMA ? exp_less_pair(r) : exact_(exp_less(r));
    a.e.l = a.e.l + ((high - r) + low);
    a.d = sum_(set1(NORMAL_A), t);
    a.i = set1(1) / a.d.h;
    return a;
}
/* (h + low) (1 + e); if `rounded`, without what e is rounded by */
INLINE V times_normal(V h, V low, pair e, int rounded) {
    low = fma_(low, e.h, low);
    return h + fma_(h, e.h, rounded ? low : fma_(h, e.l, low));
}
/* P(q); if `rounded`, without what its linear coefficient with all above it is rounded by */
INLINE pair normal_ratio(V q, int rounded) {
#if LG_DOUBLE
    static const double c[] = {
        0x1.82b4bb8c94dcep-1,  -0x1.373e3a893c28ap-1,  0x1.8c6dbf2cfc2b3p-2,   -0x1.7dff2bff68367p-3,
        0x1.eec4cc3e4d406p-5,  -0x1.ee2761048d994p-8,  -0x1.c81719d56775p-9,   0x1.ab825fc4cabap-10,
        0x1.17a4ae45dc32fp-13, -0x1.e4a4268b34748p-13, -0x1.001e7837227d8p-19, 0x1.26d0b2cc6caa7p-15,
        0x1.80b4ed9845bb6p-21, -0x1.8d4e03f6b7313p-18, -0x1.51efed90d4956p-21, 0x1.1252841f12783p-20,
        0x1.237441eb636a4p-22, -0x1.4e4970581bb36p-23, -0x1.6d92b22ec0272p-24, 0x1.e3e5db4c4e9ecp-27,
        0x1.50711cc807824p-26, 0x1.80ea087aaca1dp-30,  -0x1.69eb1b8195086p-29, -0x1.4023506b0a68bp-31,
        0x1.fd70b2e68a7a4p-35};
    enum { degree = 24 };
#else
    static const float c[] = {0x1.754a76p-1f,   -0x1.04c72ap-1f, 0x1.d71386p-3f,  -0x1.832d0ap-5f,
                              -0x1.56d5f6p-7f,  0x1.c8bd88p-8f,  0x1.0ca37cp-10f, -0x1.0eac86p-10f,
                              -0x1.00a2cep-12f, 0x1.134edap-13f, 0x1.c8e398p-15f};
    enum { degree = 10 };
#endif
    const V first = set1(c[0]), second = set1(c[1]), u = polynomial(c + 2, degree - 2, q, q * q);
    const V s = fma_(q, u, second), p = fma_(q, s, first);
    pair sum = {p, near_fma_(q, s, first - p) + set1(C_(-0x1.c7399ap-26f, -0x1.a6e57d6f030b1p-56))};
    if (!rounded) sum.l = fma_(q, near_fma_(q, u, second - s), sum.l);
    return sum;
}
/* G, with the q of the unrounded i */
INLINE pair normal_share(normal a) {
    const V rest = -fma_(a.i, a.d.l, residual_(a.i, a.d.h, set1(1))), twice = set1(-2 * NORMAL_A) * a.i;
    const pair p = normal_ratio(fma_(twice, rest, near_fma_(set1(-2 * NORMAL_A), a.i, set1(1))), 0);
    const V g = a.i * p.h;
    return (pair){g, fma_(g, rest, fma_(a.i, p.l, residual_(a.i, p.h, g)))};
}
