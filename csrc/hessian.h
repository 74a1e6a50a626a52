/* The diagonal of a cross-entropy's Hessian, m p (1 - p) for targets of mass m: of each class's term. Of a class that has
 * more than half, 1 - p is what the sum holds of all others; else it is at least a half, and loses nothing. */

/* Beyond it the inverse of a total is no normal number: such rows go the far way. */
#define MOST_TOTAL C_(0x1p125, 0x1p1020)

/* Of a row: 1 / total; the term of the class that has more than half, or -1, which no term is; the sum of all others.
 * What the others of a label are is all that is known beside a log-sum-exp that was given. */
typedef struct {
    S inverse, top, rest;
} spread;
INLINE spread spread_of(const lg_batch *b, ptrdiff_t k, double own) {
    const int known = b->known[k] != 0;
    const double top = known ? own : b->unit[k], rest = known ? b->others[k] : b->rest[k];
    const int has = rest < top && (known || b->count[k] == 1);
    return (spread){(S)(1 / b->total[k]), (S)(has ? top : -1), (S)rest};
}

/* f e (1 - p): of a part of at most a half, it or all others, that times what is left */
INLINE V curvature_(V e, V first, V inverse, V top, V rest) {
    const V part = select_(eq_(e, top), rest, e);
    return (part * first) * fnma_(part, inverse, set1(1));
}

/* That of a row, its factor perhaps in two, and z p^2 besides */
typedef struct {
    const S *terms;
    V first, second, inverse, top, rest, z;
} curvature;
INLINE V curvature_at(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const curvature *c = of;
    const V e = ld_k(c->terms + i, k), p = e * c->inverse;
    return fma_(p * c->z, p, curvature_(e, c->first, c->inverse, c->top, c->rest) * c->second);
}
INLINE void write_curvature(const S *e, void *to, ptrdiff_t n, factor f, spread s, double z, int stream) {
    const curvature c = {e, set1(f.first), set1(f.second), set1(s.inverse), set1(s.top), set1(s.rest), set1((S)z)};
    const ptrdiff_t before = stream ? elements_before((lg_run){to, COMPUTED}) : -1;
    write_run(curvature_at, &c, to, n, before > 0 ? before : 0, before >= 0, -1, 0, COMPUTED);
}

/* The same of VL rows abreast, or of classes of rows beside each other, from their terms to h; second is NULL for ones. */
INLINE void curvature_abreast(const V *e, V *h, ptrdiff_t n, const lg_batch *b, ptrdiff_t at, const S *first,
                              const S *second) {
    S inverse[VL], top[VL], rest[VL];
    for (int r = 0; r < VL; r++) inverse[r] = (S)(1 / b->total[at + r]);
    for (int r = 0; r < VL; r++)
        top[r] = (S)(b->count[at + r] == 1 && b->rest[at + r] < b->unit[at + r] ? b->unit[at + r] : -1);
    for (int r = 0; r < VL; r++) rest[r] = (S)b->rest[at + r];
    const V f = ld(first), i = ld(inverse), t = ld(top), o = ld(rest);
    for (ptrdiff_t c = 0; c < n; c++) h[c] = curvature_(e[c], f, i, t, o);
    for (ptrdiff_t c = 0; second && c < n; c++) h[c] = h[c] * ld(second);
}
