/* exp and log on V. Each says its identity, domain and error; the coefficients are printed by
 * tools/coefficients.py. Nothing here branches on data and nothing calls the C library. */

#define LOG2E C_(0x1.715476p+0f, 0x1.71547652b82fep+0)
/* ln 2 in two parts; n * LN2_HI is exact for |n| < 2^10 (float32), 2^13 (float64), fused or not. */
#define LN2_HI C_(0x1.62ep-1f, 0x1.62e42fefa2p-1)
#define LN2_LO C_(0x1.0bfbe8p-15f, 0x1.9ef35793c7673p-41)

/* x = n ln 2 + r with |r| <= 0.3466, n integral. Exact but for the rounding of r (2^-2 ulp of exp). */
INLINE V exp_reduce(V x, V *n) {
    *n = fma_(x, set1(LOG2E), set1(MAGIC)) - set1(MAGIC);
    V r = fnma_(*n, set1(LN2_HI), x);
    return fnma_(*n, set1(LN2_LO), r);
}

/* q(r) in exp(r) = 1 + r + r^2 q(r); error 2^-27.9 (float32), 2^-57.2 (float64) of exp(r). */
INLINE V exp_tail(V r) {
#if LG_F64
    static const double c[] = {0x1.0000000000000p-1,  0x1.5555555555501p-3,  0x1.55555555531c6p-5,
                               0x1.1111111128b2cp-7,  0x1.6c16c17cda4dep-10, 0x1.a01a011b6da66p-13,
                               0x1.a019aadd5a5a6p-16, 0x1.71df5642e12d9p-19, 0x1.289fe0fd895d1p-22,
                               0x1.ad1f8819769d6p-26};
    enum { degree = 9 };
#else
    static const float c[] = {0x1p-1f, 0x1.5554a2p-3f, 0x1.55568ap-5f, 0x1.123008p-7f, 0x1.6b6de6p-10f};
    enum { degree = 4 };
#endif
    V q = set1(c[degree]);
    for (int k = degree - 1; k >= 0; k--) q = fma_(q, r, set1(c[k]));
    return q;
}

/* exp(x) = p 2^n with p in [0.70, 1.42], error below 0.9 ulp of p. */
INLINE V exp_parts(V x, V *n) {
    V r = exp_reduce(x, n);
    return fma_(fma_(exp_tail(r), r, set1(1)), r, set1(1));
}

/* The same with p as an unrounded sum p + *low: error 0.1 ulp of p. */
INLINE V exp_parts_2(V x, V *n, V *low) {
    V r = exp_reduce(x, n);
    V r_low = fnma_(*n, set1(LN2_LO), fnma_(*n, set1(LN2_HI), x) - r); /* what the reduction rounded away */
    V s = exp_tail(r) * (r * r), t = r + s, p = set1(1) + t;
    *low = ((set1(1) - p) + t) + (((r - t) + s) + r_low);
    return p;
}

/* log(1 + f) - k ln 2 is f - (f^2/2 - s (f^2/2 + R(s^2))), s = f / (2 + f), for f in [-0.293, 0.415]
 * (the form of FreeBSD's e_log.c); the sum with k ln 2 and a small correction c: below 0.8 ulp. */
INLINE V log_core(V f, V k, V c) {
#if LG_F64
    static const double l[] = {0x1.5555555555555p-1, 0x1.999999998ffeep-2, 0x1.24924935dbc2dp-2,
                               0x1.c71c5aab24a69p-3, 0x1.7464a69222c50p-3, 0x1.39c76d026936dp-3,
                               0x1.2da535de68675p-3};
    enum { degree = 6 };
#else
    static const float l[] = {0x1.555556p-1f, 0x1.9998f4p-2f, 0x1.248ea8p-2f, 0x1.d771bcp-3f};
    enum { degree = 3 };
#endif
    V s = f / (set1(2) + f), w = s * s, half = set1(0.5) * f * f;
    V q = set1(l[degree]);
    for (int i = degree - 1; i >= 0; i--) q = fma_(q, w, set1(l[i]));
    V t = fma_(s, fma_(q, w, half), fma_(k, set1(LN2_LO), c));
    return fma_(k, set1(LN2_HI), f - (half - t));
}

/* log(1 + z) for z in [0, 1], exact in relative terms down to subnormal z: below 0.9 ulp. */
INLINE V log1p_unit(V z) {
    M upper = lt_(set1(C_(0x1.a8279ap-2f, 0x1.a827999fcef32p-2)), z); /* sqrt(2) - 1 */
    V f = select_(upper, set1(0.5) * (z - set1(1)), z);
    return log_core(f, keep_(upper, set1(1)), set1(0));
}

/* log(1 + u) for u in [0, 2^60], with what 1 + u rounds away put back: below 1 ulp; NaN stays NaN. */
INLINE V log1p_(V u) {
    V v = set1(1) + u;
    /* v = 2^k m with m in [sqrt(1/2), sqrt(2)) */
    const I low = iset1(C_(0x3f3504f3, 0x3fe6a09e667f3bcd)), one = iset1((SI)EXPONENT << MANTISSA);
    I i = bits_(v) + (one - low);
    I k = i >> MANTISSA; /* positive, so the shift's sign does not matter */
    V m = from_bits((i & iset1(((SI)1 << MANTISSA) - 1)) + low);
    V kf = from_bits(k | bits_(set1(C_(0x1p23f, 0x1p52)))) - set1(C_(0x1p23f, 0x1p52) + EXPONENT);
    V f = m - set1(1);
    V c = (u - (v - set1(1))) * pow2_(-kf);
    c = fma_(c, fma_(f, f, -f), c); /* c / m to the third order of f */
    V result = log_core(f, kf, c);
    return select_(eq_(u, u), result, u);
}

/* Returns z = exp(-|x|); large = 1 / (1 + z) = sigmoid(|x|), small = z / (1 + z) = sigmoid(-|x|) and
 * slope = large * small, the derivative of both. Quotients and product are corrected by their
 * residuals before they are rounded: below 0.9 ulp, subnormal results included. */
INLINE V sigmoid_parts(V x, V *large, V *small, V *slope) {
    V n, low;
    V p = exp_parts_2(max_(set1(C_(-120.0f, -800.0)), -abs_(x)), &n, &low);
    V z = scale_(p, n);
    V d = set1(1) + z, d_low = (set1(1) - d) + z;
    V inverse = set1(1) / d;
    V large_low = -inverse * (residual_(inverse, d, set1(1)) + inverse * d_low);
    V q = p * inverse, q_low = inverse * (low - (residual_(q, d, p) + q * d_low));
    *large = inverse + large_low;
    *small = scale_(q + q_low, n);
    V s = q * inverse, s_low = residual_(q, inverse, s) + fma_(q, large_low, q_low * inverse);
    *slope = scale_(s + s_low, n);
    return z;
}
