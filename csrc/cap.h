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
INLINE void times_slopes(S *gradient, const S *slopes, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += VL) st(gradient + i, ld(gradient + i) * ld(slopes + i));
}
