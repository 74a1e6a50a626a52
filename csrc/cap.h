/* Logits with a soft cap: in their place, cap tanh(x / cap), and what multiplies their gradients, 1 - tanh^2, which has its
 * own tail. -inf stays: it masks a class. The gradient that is made of capped logits is multiplied in the end. */

/* n numbers of rows that may be read and written to the end of a vector */
static void cap_run(S *x, S *slopes, ptrdiff_t n, S cap) {
    const V most = set1(cap), mask = set1(-(S)INFINITY);
    for (ptrdiff_t i = 0; i < n && !(i && i % PIECE == 0 && lg_stopped()); i += VL) {
        const V v = ld(x + i), u = v / most;
        V t;
        slope d;
        op_tanh(&u, NULL, (outcome){.y = &t, .d = &d});
        st(x + i, select_(eq_(v, mask), v, most * t));
        st(slopes + i, scale_(d.of, d.n));
    }
}
/* A gradient g by the slopes s, and a Hessian h, unless that is NULL: h s^2 + g s', where s' = -2 s y / k^2 for y, the
 * capped logits. */
static void times_slopes(S *gradient, S *hess, const S *slopes, const S *x, S cap, ptrdiff_t n) {
    const V least = set1(-cap), k = set1(cap), twice = set1(-2 / cap);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V g = ld(gradient + i), s = ld(slopes + i);
        if (hess) st(hess + i, fma_(ld(hess + i) * s, s, (max_(least, ld(x + i)) / k * twice) * (g * s)));
        st(gradient + i, g * s);
    }
}
