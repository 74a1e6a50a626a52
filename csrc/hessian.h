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

/* That of a row; unless it is plain, with the second of two factors and z p^2 besides */
typedef struct {
    const S *terms;
    V first, second, inverse, top, rest, z;
    int plain;
} curvature;
INLINE V curvature_at(const curvature *c, ptrdiff_t i, ptrdiff_t k) {
    const V e = ld_k(c->terms + i, k), p = e * c->inverse, h = curvature_(e, c->first, c->inverse, c->top, c->rest);
    return c->plain ? h : fma_(p * c->z, p, h * c->second);
}
static NOINLINE void write_curvature(const S *e, S *to, ptrdiff_t n, factor f, spread s, double z, int stream) {
    const curvature c = {.terms = e,
                         .first = set1(f.first),
                         .second = set1(f.second),
                         .inverse = set1(s.inverse),
                         .top = set1(s.top),
                         .rest = set1(s.rest),
                         .z = set1((S)z),
                         .plain = f.second == 1 && z == 0};
    const ptrdiff_t before = stream ? elements_before((lg_run){(char *)to, COMPUTED}) : -1;
    ptrdiff_t i = 0;
    if (before > 0) {
        st_k(to, curvature_at(&c, 0, before), before);
        i = before;
    }
    while (i < n && !(i >= PIECE && lg_stopped())) {
        const ptrdiff_t end = n - i > PIECE ? i + PIECE : n;
        if (before >= 0)
            for (; i + VL <= end; i += VL) put_past(to, i, curvature_at(&c, i, VL), COMPUTED);
        else
            for (; i + VL <= end; i += VL) st(to + i, curvature_at(&c, i, VL));
        if (end < n) continue;
        if (i < n) st_k(to + i, curvature_at(&c, i, n - i), n - i);
        i = n;
    }
}

/* The same of VL rows abreast, or of classes of rows beside each other, from their terms to h; second is NULL for ones. */
INLINE void curvature_abreast(const V *e, V *h, ptrdiff_t n, const lg_batch *b, ptrdiff_t at, const S *first,
                              const S *second) {
    double inverse[VL];
    for (int r = 0; r < VL; r++) inverse[r] = 1 / b->total[at + r];
    const V f = ld(first), i = narrow_(inverse), t = top_terms(b, at), o = narrow_(b->rest + at);
    for (ptrdiff_t c = 0; c < n; c++) h[c] = curvature_(e[c], f, i, t, o);
    for (ptrdiff_t c = 0; second && c < n; c++) h[c] = h[c] * ld(second);
}
