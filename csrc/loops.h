/* How an op is walked over contiguous memory: forward, backward, and both at once, with weights or without; and its
 * exact sum. A tail is one masked step of the same code, so an element's result does not depend on where it stands.
 *
 * A gradient g times a weight w times a slope d is formed as it stands, and each product is looked at: where one is far
 * from 1 something may have been lost, and such elements are done again, to be `careful`, by mantissas and exponents.
 * Which they are depends on the element alone. */

#define ABREAST (VBYTES >= 32 ? 3 : 1)   /* vectors of a step: 4 do not fit the registers of the longest */
#define UNROLLED _Pragma("GCC unroll 4") /* compilers give up on long bodies */
typedef void op_fn(const V *in, const S *p, outcome r);

/* What a loop walks over. A weight, if there is one, times 2^shift, if that is given, multiplies values and gradients;
 * gradients are multiplied by 2^up as well. */
typedef struct {
    lg_run in[LG_MAX_INPUTS + 1], out[1 + LG_MAX_SLOPES]; /* out: of the value, the gradient, the Hessian */
    const S *weight, *shift;
    S p[4], up;
    int direction;
} operands;
typedef void careful_fn(const operands *w, ptrdiff_t i, ptrdiff_t k);
typedef ptrdiff_t run_fn(const operands *w, ptrdiff_t i, ptrdiff_t n, int stream);

/* (g w) d, and the bits that tell whether a product on the way is far from 1. */
INLINE V usual_product(V g, V weight, slope d, int weighted, I *far) {
    const V up = weighted ? g * weight : g, product = up * d.of;
    *far = far_bits(product);
    if (d.kind == SHIFTED && !weighted) *far = unless_(eq_(g, set1(0)), far_bits(g)); /* `of` is near 1, and finite */
    if (weighted) *far = *far | far_bits(up);
    if (d.kind == ROUNDED || d.kind == SUMMED) *far = *far | far_bits(d.of);
    if (d.kind == SUMMED) *far = *far | far_bits(d.n);
    return d.kind == SHIFTED ? scale_(product, d.n) : product;
}
/* Where something may be lost: a product is far from 1, and not 0 since a factor is. */
INLINE M is_lost(V g, V weight, slope d, V product, I far) {
    const V zero = set1(0);
    M none = (M)(eq_(g, zero) | eq_(weight, zero));
    if (d.kind != ROUNDED && d.kind != SUMMED) none = (M)(none | eq_(d.of, zero));
    return (M)(far_(far) & (M)~and_(none, eq_(product, zero)));
}
/* g w 2^shift d. No gradient, no weight or no slope is 0 even where another factor is infinite; but an infinite
 * gradient or weight takes on the slope's sign, however small that is; or as it is rounded at an infinite x where a slope
 * that is SHIFTED is 0 in the limit alone. */
INLINE V any_product(V g, V weight, V shift, slope d, V x) {
    const V zero = set1(0), infinity = set1((S)INFINITY);
    M far = and_(eq_(abs_(x), infinity), (M)(eq_(abs_(g), infinity) | eq_(abs_(weight), infinity)));
    if (d.kind != SHIFTED) far = ne_(zero, zero);
    V i, j, k, m = mantissa_(g, &i) * mantissa_(weight, &j);
    const V of = mantissa_(select_(far, scale_(d.of, d.n), d.of), &k);
    const V product = scale_(m * of, drop_(far, d.n) + ((i + j) + (k + shift)));
    const M numbers = and_(and_(eq_(g, g), eq_(weight, weight)), eq_(of, of));
    const M none = (M)(eq_(g, zero) | eq_(weight, zero) | and_(eq_(of, zero), lt_(abs_(g), infinity)));
    const I sign = (bits_(g) ^ bits_(weight) ^ bits_(of)) & bits_(set1((S)-0.0));
    return select_(and_(numbers, none), from_bits(sign), product);
}

/* One vector, of which any element may be lost: those are asked for again. All is read before any is written. What is
 * the same for all ops stands out of line, since this is seldom run. */
typedef struct {
    V g, x[LG_MAX_INPUTS], weight, shift;
    V y, careful_y, n;
    slope d[LG_MAX_SLOPES], careful_d[LG_MAX_SLOPES];
    I inside;
} again;
static NOINLINE void read_again(again *a, int inputs, const operands *w, ptrdiff_t i, ptrdiff_t k) {
    const int first = w->direction != LG_FORWARD;
    for (int j = 0; j < inputs; j++) a->x[j] = get(w->in[j + first].at, i, k, w->in[j + first].storage);
    a->g = first ? get(w->in[0].at, i, k, w->in[0].storage) : set1(1);
    a->weight = w->weight ? ld_k(w->weight + i, k) : set1(1);
    a->shift = w->shift ? ld_k(w->shift + i, k) : set1(0);
    a->n = set1(0);
    a->inside = iset1(0);
}
static NOINLINE void write_again(const again *a, const operands *w, ptrdiff_t i, ptrdiff_t k) {
    const V zero = set1(0), one = set1(1), up = a->shift + set1(w->up);
    I far;
    if (lg_gives_value(w->direction)) {
        V y = a->y;
        if (w->weight) {
            const V weighed = y * a->weight;
            far = far_bits(weighed) | far_bits(y) | a->inside;
            const M few = (M)(is_lost(one, a->weight, rounded_(y), weighed, far) | ne_(a->shift, zero));
            const slope careful = shifted_(a->careful_y, a->n);
            y = select_(few, any_product(one, a->weight, a->shift, careful, a->x[0]), weighed);
        }
        put(w->out[0].at, i, y, k, w->out[0].storage);
    }
    for (int s = 0; s < lg_slopes(w->direction); s++) {
        const V product = usual_product(a->g, a->weight, a->d[s], 1, &far);
        const M lost = (M)(is_lost(a->g, a->weight, a->d[s], product, far) | ne_(up, zero));
        const V careful = any_product(a->g, a->weight, up, a->careful_d[s], a->x[0]);
        put(w->out[1 + s].at, i, select_(lost, careful, product), k, w->out[1 + s].storage);
    }
}
INLINE void careful_step(op_fn *op, int inputs, const operands *w, ptrdiff_t i, ptrdiff_t k) {
    again a;
    I unused;
    read_again(&a, inputs, w, i, k);
    op(a.x, w->p, (outcome){&a.y, NULL, a.d, &a.inside, 0});
    op(a.x, w->p, (outcome){&a.careful_y, &a.n, a.careful_d, &unused, 1});
    write_again(&a, w, i, k);
}

/* The products of slopes of `many` vectors; whether any of their elements may be lost. */
INLINE int multiply_slopes(V v[][LG_MAX_INPUTS + 1], const V *weight, slope d[][LG_MAX_SLOPES], int s, V *product,
                           int weighted, int many) {
    I far[ABREAST], all = iset1(0);
    int lost = 0;
    for (int g = 0; g < many; g++) {
        product[g] = usual_product(v[g][0], weight[g], d[g][s], weighted, &far[g]);
        all = all | far[g];
    }
    if ((d[0][s].kind == PLAIN && !weighted) || !any_(far_(all))) return 0;
    for (int g = 0; g < many; g++) lost |= any_(is_lost(v[g][0], weight[g], d[g][s], product[g], far[g]));
    return lost;
}
/* The same of values and slopes. */
INLINE int multiply(V v[][LG_MAX_INPUTS + 1], const V *weight, slope d[][LG_MAX_SLOPES], const I *inside,
                    V result[][ABREAST], int direction, int weighted, int many) {
    V *y = result[0];
    I all = iset1(0);
    for (int g = 0; g < many && weighted && lg_gives_value(direction); g++) {
        all = all | far_bits(y[g]) | inside[g];
        y[g] = y[g] * weight[g];
        all = all | far_bits(y[g]);
    }
    if (weighted && lg_gives_value(direction) && any_(far_(all))) return 1;
    if (direction != LG_FORWARD && multiply_slopes(v, weight, d, 0, result[1], weighted, many)) return 1;
    return lg_slopes(direction) > 1 && multiply_slopes(v, weight, d, 1, result[2], weighted, many);
}

/* The j-th inputs of `many` vectors, and a result of them. */
INLINE void get_many(V v[][LG_MAX_INPUTS + 1], int j, const void *at, ptrdiff_t i, int many, ptrdiff_t k, int storage) {
    for (int g = 0; g < many; g++) v[g][j] = get(at, i + g * VL, k, storage);
}
INLINE void put_many(void *at, ptrdiff_t i, const V *result, int many, ptrdiff_t k, int stream, int storage) {
    if (stream)
        for (int g = 0; g < many; g++) put_past(at, i + g * VL, result[g], storage);
    else
        for (int g = 0; g < many; g++) put(at, i + g * VL, result[g], k, storage);
}

/* `many` vectors side by side, so that their chains overlap; all are read before any is written. Nothing is, and the
 * answer is 0, if any element may be lost. */
INLINE int map_step(op_fn *op, int inputs, int direction, int weighted, int plain, const operands *w, ptrdiff_t i,
                    int many, ptrdiff_t k, int stream) {
    const int first = direction != LG_FORWARD, slopes = lg_slopes(direction);
    V v[ABREAST][LG_MAX_INPUTS + 1], result[1 + LG_MAX_SLOPES][ABREAST], weight[ABREAST];
    slope d[ABREAST][LG_MAX_SLOPES];
    I inside[ABREAST];
    for (int j = 0; j < inputs + first; j++)
        BY_STORAGE(plain ? COMPUTED : w->in[j].storage, get_many, v, j, w->in[j].at, i, many, k);
    UNROLLED
    for (int g = 0; g < many; g++) {
        weight[g] = weighted ? ld_k(w->weight + i + g * VL, k) : set1(1);
        inside[g] = iset1(0);
        result[1][g] = result[2][g] = set1(0);
    }
    UNROLLED
    for (int g = 0; g < many; g++) op(v[g] + first, w->p, (outcome){&result[0][g], NULL, d[g], &inside[g], 0});
    if (multiply(v, weight, d, inside, result, direction, weighted, many)) return 0;
    for (int j = 0; j < 1 + LG_MAX_SLOPES; j++)
        if (j ? j <= slopes : lg_gives_value(direction))
            BY_STORAGE(plain ? COMPUTED : w->out[j].storage, put_many, w->out[j].at, i, result[j], many, k,
                       stream && j == slopes);
    return 1;
}

/* Ways of walking: what is stored as S, alone or with weights, or also half types, asked for at every step. Each has
 * its functions, so that it shares no registers with the others. */
enum { USUAL, WEIGHTED, CONVERTED, WAYS };

/* Elements from the i-th on; up to which they are done, which is n if none may be lost. */
INLINE ptrdiff_t map_run(op_fn *op, int inputs, int direction, int way, const operands *given, ptrdiff_t i, ptrdiff_t n,
                         int stream) {
    const operands w = *given; /* which no store can change */
    const int weighted = way == WEIGHTED, plain = way != CONVERTED;
    if (way == USUAL && stream) /* a loop of its own: asked inside, the results would wait in memory */
        for (; i + ABREAST * VL <= n; i += ABREAST * VL)
            if (!map_step(op, inputs, direction, 0, 1, &w, i, ABREAST, VL, 1)) return i;
    for (; i + ABREAST * VL <= n; i += ABREAST * VL)
        if (!map_step(op, inputs, direction, weighted, plain, &w, i, ABREAST, VL, !plain && stream)) return i;
    for (; i < n; i += VL)
        if (!map_step(op, inputs, direction, weighted, plain, &w, i, 1, n - i < VL ? n - i : VL, 0)) return i;
    return n;
}
/* The same of one vector at a time, for all directions, with weights and without, asked for at every step: a copy of an
 * op is much to compile, and what is seldom asked for, or costs little beside its memory, has this one alone. */
INLINE ptrdiff_t map_any(op_fn *op, int inputs, const operands *given, ptrdiff_t i, ptrdiff_t n, int stream) {
    const operands w = *given;
    for (; i < n; i += VL) {
        const ptrdiff_t k = n - i < VL ? n - i : VL;
        if (!map_step(op, inputs, w.direction, w.weight != NULL, 1, &w, i, 1, k, stream && k == VL)) return i;
    }
    return n;
}

#define DEFINE_RUN(name, inputs, direction, way)                                                                       \
    static ptrdiff_t name##_##way##_##direction(const operands *w, ptrdiff_t i, ptrdiff_t n, int stream) {             \
        return map_run(op_##name, inputs, direction, way, w, i, n, stream);                                            \
    }
#define DEFINE_RUNS_0(name, inputs, way)                                                                               \
    DEFINE_RUN(name, inputs, LG_FORWARD, way)                                                                          \
    DEFINE_RUN(name, inputs, LG_BACKWARD, way)
#define DEFINE_RUNS_1(name, inputs, way)                                                                               \
    DEFINE_RUNS_0(name, inputs, way)                                                                                   \
    DEFINE_RUN(name, inputs, LG_VALUE_AND_GRAD, way)
#define WHEN_0(...)
#define WHEN_1(...) __VA_ARGS__
#ifdef LG_LEAN /* by setup.py, where a level is compiled for few */
#define IF_CONVERTED WHEN_0
#else
#define IF_CONVERTED C_(WHEN_1, WHEN_0)
#endif
#define DEFINE_ANY(name, inputs, is_loss)                                                                              \
    static ptrdiff_t name##_any(const operands *w, ptrdiff_t i, ptrdiff_t n, int stream) {                             \
        return map_any(op_##name, inputs, w, i, n, stream);                                                            \
    }
#define DEFINE_OWN(name, inputs, is_loss)                                                                              \
    DEFINE_RUNS_##is_loss(name, inputs, USUAL) WHEN_##is_loss(DEFINE_RUNS_1(name, inputs, WEIGHTED))
#define DEFINE_BOTH(name, inputs, is_loss)                                                                             \
    DEFINE_OWN(name, inputs, is_loss)                                                                                  \
    DEFINE_ANY(name, inputs, is_loss)                                                                                  \
    DEFINE_RUN(name, inputs, LG_GRAD_AND_HESS, USUAL)                                                                  \
    DEFINE_RUN(name, inputs, LG_VALUE_GRAD_AND_HESS, USUAL)
#define DEFINE_MAPS(name, inputs, parameters, is_loss, is_cheap, loops, bound, derivative_bound, hessian_bound)        \
    static void name##_again(const operands *w, ptrdiff_t i, ptrdiff_t k) {                                            \
        careful_step(op_##name, inputs, w, i, k);                                                                      \
    }                                                                                                                  \
    DEFINE_##loops(name, inputs, is_loss) WHEN_##is_cheap(IF_CONVERTED(DEFINE_RUNS_##is_loss(name, inputs, CONVERTED)))

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("schedule-insns", "sched-pressure") /* chains side by side, not one after another */
LG_OPS(DEFINE_MAPS)
#pragma GCC pop_options
#else
LG_OPS(DEFINE_MAPS)
#endif

#define RUN(name, way, direction) .run[way][direction] = name##_##way##_##direction
#define RUNS_0(name, way) RUN(name, way, LG_FORWARD), RUN(name, way, LG_BACKWARD)
#define RUNS_1(name, way) RUNS_0(name, way), RUN(name, way, LG_VALUE_AND_GRAD)
#define ANY(name, is_loss) .any = name##_any
#define OWN(name, is_loss) RUNS_##is_loss(name, USUAL) WHEN_##is_loss(, RUNS_1(name, WEIGHTED))
#define BOTH(name, is_loss)                                                                                            \
    OWN(name, is_loss), ANY(name, is_loss), RUN(name, USUAL, LG_GRAD_AND_HESS), RUN(name, USUAL, LG_VALUE_GRAD_AND_HESS)
#define MAPS_ROW(name, inputs_, parameters, is_loss, is_cheap, loops, bound, derivative_bound, hessian_bound)          \
    {.inputs = inputs_,                                                                                                \
     .again = name##_again,                                                                                            \
     loops(name, is_loss),                                                                                             \
     WHEN_##is_cheap(IF_CONVERTED(RUNS_##is_loss(name, CONVERTED)))},
static const struct {
    int inputs;
    careful_fn *again;
    run_fn *run[WAYS][LG_DIRECTIONS], *any; /* what has no run of its own goes by any */
} maps[] = {LG_OPS(MAPS_ROW)};
#define OP_INDEX(name, inputs, parameters, is_loss, is_cheap, loops, bound, derivative_bound, hessian_bound) OP_##name,
enum { LG_OPS(OP_INDEX) };

/* Where all are stored as S, or half types are for the op's own loop. */
static void map_operands(int op, const operands *w, ptrdiff_t n, int way, int stream) {
    const int all = w->shift || w->up != 0; /* are done with care */
    run_fn *own = maps[op].run[way][w->direction], *run = own ? own : maps[op].any;
    /* A part may end with fewer elements than come before the first that can be written past the cache. */
    const int ahead = stream && n >= 2 * VL;
    const ptrdiff_t lead = ahead ? elements_before(w->out[lg_slopes(w->direction)]) : -1;
    if (lead > 0) maps[op].again(w, 0, lead);
    for (ptrdiff_t i = lead > 0 ? lead : 0; i < n;) {
        if (!all) i = run(w, i, n, lead >= 0);
        for (const ptrdiff_t end = i + ABREAST * VL; i < n && i < end; i += VL)
            maps[op].again(w, i, n - i < VL ? n - i : VL);
    }
    if (lead >= 0) fence_();
}

/* Half types converted before and after, by tiles that stay in L1. */
static void map_tiles(int op, const operands *w, ptrdiff_t n) {
    enum { TILE = 512 };
    _Alignas(64) S in[LG_MAX_INPUTS + 1][TILE], out[1 + LG_MAX_SLOPES][TILE];
    const int inputs = maps[op].inputs + (w->direction != LG_FORWARD), last = lg_slopes(w->direction);
    for (ptrdiff_t i = 0; i < n; i += TILE) {
        const ptrdiff_t k = n - i < TILE ? n - i : TILE;
        operands tile = *w;
        if (w->weight) tile.weight += i;
        if (w->shift) tile.shift += i;
        for (int j = 0; j < inputs; j++) {
            tile.in[j] = from(w->in[j], i);
            if (tile.in[j].storage == COMPUTED) continue;
            load_run(tile.in[j].at, lg_size(tile.in[j].storage), k, tile.in[j].storage, in[j]);
            tile.in[j] = run_of(in[j]);
        }
        for (int j = !lg_gives_value(w->direction); j <= last; j++)
            tile.out[j] = w->out[j].storage == COMPUTED ? from(w->out[j], i) : run_of(out[j]);
        map_operands(op, &tile, k, w->weight ? WEIGHTED : USUAL, 0);
        for (int j = !lg_gives_value(w->direction); j <= last; j++) {
            const lg_run y = from(w->out[j], i);
            if (y.storage != COMPUTED) store_run(y.at, lg_size(y.storage), k, y.storage, out[j]);
        }
    }
}

static void map(int op, int direction, const lg_run *in, const lg_run *out, ptrdiff_t n, const double *param,
                int stream, const lg_weights *weights) {
    operands w = {.weight = weights ? weights->weight : NULL, .direction = direction};
    const int first = !lg_gives_value(direction);
    int plain = 1;
    for (int j = 0; j < maps[op].inputs + (direction != LG_FORWARD); j++) {
        w.in[j] = in[j];
        plain &= in[j].storage == COMPUTED;
    }
    for (int j = first; j <= lg_slopes(direction); j++) {
        w.out[j] = out[j - first];
        plain &= w.out[j].storage == COMPUTED;
    }
    for (int j = 0; j < 4; j++) w.p[j] = param ? (S)param[j] : 0;
    if (weights) {
        w.shift = weights->shift;
        w.up = (S)weights->up;
    }
    if (plain) map_operands(op, &w, n, weights ? WEIGHTED : USUAL, stream);
    else if (!weights && maps[op].run[CONVERTED][direction]) map_operands(op, &w, n, CONVERTED, stream);
    else map_tiles(op, &w, n);
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
/* The exact sum of a row, rounded once; of up to LG_BLOCK elements. */
static double sum_of_row(const S *x, ptrdiff_t n) {
    double total;
    lg_sum sum;
    if (SUMS == 1 && n >= LANES) {
        lg_watch();
        plain_sums(x, n, &total);
        if (!lg_inexact() && isfinite(total)) return total;
    }
    lg_sum_clear(&sum);
    sum_values(x, n, &sum);
    return lg_sum_value(&sum);
}
/* The same of `rows` rows of n terms, at most LG_BLOCK terms in all; short ones side by side. */
static void sum_rows(const void *terms, ptrdiff_t rows, ptrdiff_t n, double *to) {
    enum { SHORT = C_(LANES, 128) };
    double s[LG_BLOCK], e[LG_BLOCK], lost[LG_BLOCK];
    const int aside = n < SHORT;
    for (ptrdiff_t r = 0; r < rows; r++) s[r] = e[r] = 0, lost[r] = !aside;
    for (ptrdiff_t i = 0; aside && i < n; i++) add_terms((const S *)terms + i, n, rows, s, e, lost);
    for (ptrdiff_t r = 0; r < rows; r++) to[r] = lost[r] == 0 ? s[r] + e[r] : sum_of_row((const S *)terms + r * n, n);
}

INLINE void see_outside(const void *at, ptrdiff_t n, V top, M *outside, int storage) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V v = get(at, i, n - i < VL ? n - i : VL, storage);
        *outside = (M)(*outside | ne_(v, max_(set1(0), min_(v, top)))); /* NaN, too */
    }
}
static int within(const lg_run *x, ptrdiff_t n, double most) {
    const V zero = set1(0);
    M outside = ne_(zero, zero);
    BY_STORAGE(x->storage, see_outside, x->at, n, set1((S)most), &outside);
    return count_(outside) == 0;
}
