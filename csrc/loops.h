/* How an op is walked over contiguous memory: forward, backward, and both at once; a run's product
 * with weights; and its exact sum. A tail is one masked step of the same code, so an element's
 * result does not depend on where it stands. */

#define ABREAST (AVX512 ? 3 : 1) /* vectors of a step: as registers allow */
typedef void op_fn(const V *in, const S *p, V *y, slope *d);

/* The gradients v[.][0] times their slopes; all at once in the usual way if all are usual. */
INLINE void multiply_slopes(V v[][LG_MAX_INPUTS + 1], const slope *d, V *product, int many) {
    int usual = 0;
    for (int g = 0; g < many; g++) product[g] = usual_product(v[g][0], d[g]);
    if (!d[0].shifted) return;
    for (int g = 0; g < many; g++) usual += count_(is_usual(v[g][0]));
    if (usual == many * VL) return;
    for (int g = 0; g < many; g++) product[g] = any_product(v[g][0], d[g], v[g][1]);
}

/* `many` vectors side by side, so that their chains overlap; all are read before any is written. */
INLINE void map_step(op_fn *op, int inputs, int direction, const S *const *in, S *const *out, ptrdiff_t i, int many,
                     ptrdiff_t k, int stream, const S *p) {
    const int first = direction != LG_FORWARD, both = direction == LG_VALUE_AND_GRAD;
    V v[ABREAST][LG_MAX_INPUTS + 1], y[ABREAST], product[ABREAST];
    slope d[ABREAST];
    for (int g = 0; g < many; g++)
        for (int j = 0; j < inputs + first; j++) v[g][j] = k == VL ? ld(in[j] + i + g * VL) : ld_n(in[j] + i, k, 0);
    for (int g = 0; g < many; g++) op(v[g] + first, p, &y[g], &d[g]);
    if (first) multiply_slopes(v, d, product, many);
    for (int g = 0; g < many; g++)
        for (int j = 0; j < 1 + both; j++) {
            const V result = direction == LG_FORWARD || (both && j == 0) ? y[g] : product[g];
            S *to = out[j] + i + g * VL;
            if (k != VL) st_n(to, result, k);
            else if (stream && j == both) stream_(to, result);
            else st(to, result);
        }
}

INLINE void map_loop(op_fn *op, int inputs, int direction, const void *const *in_, void *const *out_,
                     ptrdiff_t n, const double *param, int stream) {
    const S *in[LG_MAX_INPUTS + 1];
    S *out[LG_MAX_OUTPUTS], p[4];
    for (int j = 0; j < inputs + (direction != LG_FORWARD); j++) in[j] = in_[j];
    for (int j = 0; j < 1 + (direction == LG_VALUE_AND_GRAD); j++) out[j] = out_[j];
    for (int j = 0; j < 4; j++) p[j] = param ? (S)param[j] : 0;
    ptrdiff_t i = 0;
    const S *to = out[direction == LG_VALUE_AND_GRAD];
    if (stream && n >= 2 * VL && (uintptr_t)to % sizeof(S) == 0) {
        i = (ptrdiff_t)((-(uintptr_t)to % VBYTES) / sizeof(S));
        if (i) map_step(op, inputs, direction, in, out, 0, 1, i, 0, p);
        for (; i + ABREAST * VL <= n; i += ABREAST * VL) map_step(op, inputs, direction, in, out, i, ABREAST, VL, 1, p);
        fence_();
    }
    for (; i + ABREAST * VL <= n; i += ABREAST * VL) map_step(op, inputs, direction, in, out, i, ABREAST, VL, 0, p);
    for (; i + VL <= n; i += VL) map_step(op, inputs, direction, in, out, i, 1, VL, 0, p);
    if (i < n) map_step(op, inputs, direction, in, out, i, 1, n - i, 0, p);
}

#define RUN const void *const *in, void *const *out, ptrdiff_t n, const double *p, int stream
#define DEFINE_MAPS(name, inputs, parameters, is_loss, bound, derivative_bound)                     \
    static void name##_forward(RUN) {                                                               \
        map_loop(op_##name, inputs, LG_FORWARD, in, out, n, p, stream);                             \
    }                                                                                               \
    static void name##_backward(RUN) {                                                              \
        map_loop(op_##name, inputs, LG_BACKWARD, in, out, n, p, stream);                            \
    }                                                                                               \
    static void name##_both(RUN) {                                                                  \
        map_loop(op_##name, inputs, is_loss ? LG_VALUE_AND_GRAD : LG_FORWARD, in, out, n, p, stream); \
    }
#define MAPS_ROW(name, inputs, parameters, is_loss, bound, derivative_bound) \
    {name##_forward, name##_backward, name##_both},

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("schedule-insns", "sched-pressure") /* chains side by side, not one after another */
LG_OPS(DEFINE_MAPS)
#pragma GCC pop_options
#else
LG_OPS(DEFINE_MAPS)
#endif

static void multiply(RUN) {
    (void)p;
    (void)stream;
    const S *a = in[0], *b = in[1];
    S *to = out[0];
    /* no weight is no loss, even where that is infinite */
    for (ptrdiff_t i = 0; i < n; i++) to[i] = b[i] == 0 && a[i] == a[i] ? 0 : a[i] * b[i];
}

/* Sums of a block in W are exact while its magnitudes lie within a factor of each other that lets
 * all their bits fit the two doubles of a lane and of the folded sum: with 2^10 values, 53 + 53 bits
 * less 20 for carries and the bits of one value. Other blocks go to the fixed-point sum one by one. */
#if LG_DOUBLE
void LG_NAME(sum_doubles)(const double *x, ptrdiff_t n, double spread, lg_sum *sum) {
    const V none = set1(0x1p1023), zero = set1(0);
    V most = zero, least = none, bad = zero;
    for (ptrdiff_t i = 0; i < n; i += VL) {
        V v = n - i >= VL ? ld(x + i) : ld_n(x + i, n - i, 0), a = abs_(v);
        most = max_(a, most);
        least = min_(select_(eq_(a, zero), none, a), least);
        bad = bad + (v - v); /* NaN if any is not finite */
    }
    W w[VPER];
    for (int h = 0; h < VPER; h++) w[h] = w_zero();
    if (n >= LANES && first_(bad) == first_(bad) && -fold_max(-least) >= fold_max(most) * spread) {
        for (ptrdiff_t i = 0; i < n; i += LANES)
            for (int h = 0; h < VPER; h++) {
                ptrdiff_t k = n - i - h * VL;
                if (k > 0) w[h] = w_add(w[h], k >= VL ? ld(x + i + h * VL) : ld_n(x + i + h * VL, k, 0));
            }
        wide total = fold_(w);
        if (total.s == total.s) {
            lg_sum_add(sum, total.s);
            lg_sum_add(sum, total.e);
            return;
        }
    }
    for (ptrdiff_t i = 0; i < n; i++) lg_sum_add(sum, x[i]);
}
#else
void LG_NAME(sum_doubles)(const double *x, ptrdiff_t n, double spread, lg_sum *sum);
#endif

/* Plain sums in double, of whole float32 or of a third of the bits of each float64. Apart, so that
 * nothing of it moves across the look at the flags. */
enum { SUMS = C_(1, 3) };
static NOINLINE void plain_sums(const S *x, ptrdiff_t n, double *totals) {
    W w[SUMS][VPER];
    for (int s = 0; s < SUMS; s++)
        for (int h = 0; h < VPER; h++) w[s][h] = w_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES)
        for (int h = 0; h < VPER; h++) {
            const ptrdiff_t k = n - i - h * VL;
            if (k <= 0) break;
            V v = k >= VL ? ld(x + i + h * VL) : ld_n(x + i + h * VL, k, 0);
#if LG_DOUBLE
            for (int s = 0; s < SUMS; s++) {
                const V part = s == SUMS - 1 ? v : from_bits(bits_(v) & iset1(-(INT64_C(1) << 35)));
                w[s][h].s = w[s][h].s + part;
                v = v - part;
            }
#else
            w[0][h] = w_add(w[0][h], v);
#endif
        }
    for (int s = 0; s < SUMS; s++) totals[s] = fold_(w[s]).s;
}

static void sum_values(const void *values, ptrdiff_t n, lg_sum *sum) {
    const S *x = values;
    for (ptrdiff_t i = 0; i < n; i += LG_BLOCK) {
        double block[LG_BLOCK];
        ptrdiff_t k = n - i < LG_BLOCK ? n - i : LG_BLOCK;
        lg_watch();
        plain_sums(x + i, k, block);
        if (!lg_inexact() && isfinite(block[0])) { /* nothing was rounded */
            for (int s = 0; s < SUMS; s++) lg_sum_add(sum, block[s]);
            continue;
        }
        for (ptrdiff_t j = 0; j < k; j++) block[j] = (double)x[i + j];
        LG_NAME(sum_doubles)(block, k, C_(0x1p-60, 0x1p-32), sum);
    }
}

/* Adds a term, `apart` from the one before, to each of n sums s + e, exactly: what is lost of e, if anything, goes
 * to lost, which is NaN where a term is not finite. (Knuth's two-sum, twice.) */
INLINE void add_terms(const S *term, ptrdiff_t apart, ptrdiff_t n, double *s, double *e, double *lost) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const double v = (double)term[i * apart], sum = s[i] + v, t = sum - s[i];
        const double low = (s[i] - (sum - t)) + (v - t), rest = e[i] + low, u = rest - e[i];
        lost[i] += fabs((e[i] - (rest - u)) + (low - u));
        s[i] = sum;
        e[i] = rest;
    }
}
static void add_columns(const void *terms, ptrdiff_t n, double *s, double *e, double *lost) {
    add_terms(terms, 1, n, s, e, lost);
}
/* The sums of `rows` rows of n terms, rounded once; at most LG_BLOCK rows. */
static void sum_rows(const void *terms, ptrdiff_t rows, ptrdiff_t n, double *to) {
    double s[LG_BLOCK], e[LG_BLOCK], lost[LG_BLOCK];
    for (ptrdiff_t r = 0; r < rows; r++) s[r] = e[r] = lost[r] = 0;
    for (ptrdiff_t i = 0; i < n; i++) add_terms((const S *)terms + i, n, rows, s, e, lost);
    for (ptrdiff_t r = 0; r < rows; r++) {
        to[r] = s[r] + e[r];
        if (lost[r] == 0) continue;
        lg_sum sum;
        lg_sum_clear(&sum);
        sum_values((const S *)terms + r * n, n, &sum);
        to[r] = lg_sum_value(&sum);
    }
}

static int within(const void *x_, ptrdiff_t n, double most) {
    const S *x = x_;
    const V zero = set1(0), top = set1((S)most);
    M outside = ne_(zero, zero);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V v = n - i >= VL ? ld(x + i) : ld_n(x + i, n - i, 0);
        outside = (M)(outside | ne_(v, max_(zero, min_(v, top)))); /* NaN, too */
    }
    return count_(outside) == 0;
}
