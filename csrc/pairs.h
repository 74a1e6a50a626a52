/* What two rows of logits, a base's x and another's y, say of each other: their divergences and first choices.
 *
 * With p = softmax(x), q = softmax(y), u = log(q / p) of a class and a = |u|, of a class whose larger probability is w
 *   KL(p || q) adds w near(a) where that is p, else w far(a),   near = exp(-a) - 1 + a, far = 1 - exp(-a) - a exp(-a);
 *   KL(q || p) the other of the two;   Jensen-Shannon w middle(a), (1 + exp(-a)) / 2 times
 *     (a / 2) tanh(a / 2) - log cosh(a / 2) = log 2 - log(1 + exp(-a)) - a exp(-a) / (1 + exp(-a)):
 * sums of what is not negative, so that no divergence loses its relative accuracy where the rows are nearly equal. (KL:
 * of p log(p / q) and q - p, the latter's sum is 0.) Near 0 they are polynomials: of a for a class by itself; where all
 * of a group are SMALL, of u and times p, so that the powers' sums, of p u^k, are all that is needed; further away they
 * are made of p, q and a as they stand. u = shift - (x - y), shift = lse(x) - lse(y), with what x - y is rounded by
 * unless that cannot matter. An error e of the shift is felt as e^2 / 2 (Jensen-Shannon: e^2 / 8): it is seen in the sum
 * of all q - p, w less(a) with less = 1 - exp(-a) and u's sign, which is 0 but for e, and so taken off. Errors: 8 ULP of
 * float32 (of float64) down to 1e-12; each is exactly 0 for equal rows.
 * Order of the sums: the lanes of sums.h; GROUP of a lane one after another, for powers GROUPS of those, these in W. */

#define WHOLE C_(0x1p60, 0x1p500)    /* the sum of all probabilities: none that counts is subnormal then */
#define APART C_(0x1p60, 0x1p500)    /* such an a is taken by itself, as no product with a probability may overflow */
#define NEAR C_(1.25f, 1.25)         /* up to here by polynomials: beyond, far would lose more than by exp(-a) */
#define MIDDLE_NEAR 2                /* and middle to here */
#define SMALL C_(0.9375f, 0.9375)    /* up to here by powers */
#define NEAR_SHIFT 1.0               /* up to it u is not felt to be rounded, but in rows that is_felt knows */
#define FAR_SHIFT C_(0x1p16, 0x1p40) /* beyond it two S hold too little of a shift */
#define GROUPS 4                     /* whose powers are summed before they go to W */
enum { FORWARD_KL, REVERSE_KL, MIDDLE, BALANCE, DIVERGENCES };
enum { POWERS = C_(9, 17) };

typedef struct {
    V near, far, middle, less;
} bend;

/* bend: (exp(-a) - 1 + a) / a^2; of a^2: middle, as above but for (1 + exp(-a)) / 2. What multiplies the sums of p u^2,
 * p u^3, ... to make KL(p || q), KL(q || p) and Jensen-Shannon: forward, reverse and both. */
#if LG_DOUBLE
static const double bend_c[] = {0x1.0000000000000p-1,   -0x1.5555555555546p-3,  0x1.5555555554c68p-5,
                                -0x1.11111110f2eaep-7,  0x1.6c16c165a57c2p-10,  -0x1.a01a00cf4ea79p-13,
                                0x1.a019f090f1935p-16,  -0x1.71dd4830f5f12p-19, 0x1.27db9a9533324p-22,
                                -0x1.ade0a831a03f2p-26, 0x1.1c5eeda39f261p-29,  -0x1.4f64190567c82p-33,
                                0x1.404eb3a759d1ep-37,  -0x1.6b35d412975b2p-42};
static const double middle_c[] = {
    0x1.0000000000000p-3,  -0x1.fffffffffff70p-7,  0x1.c71c71c715334p-10, -0x1.82d82d80c91d5p-13,
    0x1.427a8dc308c55p-16, -0x1.0a3a54fda2dd1p-19, 0x1.b531a73955f4ep-23, -0x1.65c1ae571f1a2p-26,
    0x1.23f294953d274p-29, -0x1.da2f0b2d74561p-33, 0x1.7b368f8497ab6p-36, -0x1.21aafe23cd437p-39,
    0x1.8ce49985103acp-43, -0x1.b8122829fff85p-47, 0x1.50bae16c58cb1p-51, -0x1.01c369dfc4bffp-56};
static const double entropy_c[] = {
    0x1.3a37a020b8c22p-2, 0x1.ffffffffff8b4p-2,  -0x1.55555554a6d26p-3, 0x1.555554ed7bd78p-4,  -0x1.999978c4e2662p-5,
    0x1.110df85637547p-5, -0x1.85ba55b4b2a0ap-6, 0x1.210215dc03587p-6,  -0x1.9baef92253536p-7, 0x1.9e19eba43d55ep-8};
static const double forward_c[] = {
    0x1.0000000000000p-1,  0x1.5555555555555p-3,  0x1.5555555555555p-5,  0x1.1111111111111p-7,
    0x1.6c16c16c16c18p-10, 0x1.a01a01a01a026p-13, 0x1.a01a01a0198d5p-16, 0x1.71de3a5566643p-19,
    0x1.27e4fb78579cfp-22, 0x1.ae645699b513bp-26, 0x1.1eed8deb3b718p-29, 0x1.612432636b370p-33,
    0x1.9397faf23409ep-37, 0x1.aec735d3b5a4fp-41, 0x1.afbf44ab259edp-45, 0x1.6e448d1e7267cp-49};
static const double reverse_c[] = {
    0x1.0000000000000p-1,  0x1.5555555555555p-2,  0x1.0000000000000p-3,  0x1.1111111111111p-5,
    0x1.c71c71c71c722p-8,  0x1.3813813813839p-10, 0x1.6c16c16c15e39p-13, 0x1.71de3a555e380p-16,
    0x1.4ce19ae802287p-19, 0x1.0cfeb62c5655cp-22, 0x1.8a86a29d061e9p-26, 0x1.08db175b1dfc3p-29,
    0x1.47eb74c58528cp-33, 0x1.78fa6a7739d7cp-37, 0x1.950589fc713a1p-41, 0x1.6cf5169cfb9ebp-45};
static const double both_c[] = {
    0x1.0000000000000p-3,   0x1.fffffffffffc7p-5,  0x1.ffffffffffd38p-7,  0x1.5555555561267p-9,
    0x1.c71c71c7cd131p-12,  0x1.6c16c1560b4d9p-14, 0x1.6c16c080d4156p-17, -0x1.15661974ca90fp-22,
    -0x1.bbce44fffb338p-26, 0x1.96d2cfaa50b86p-24, 0x1.0f0b83565ed67p-27, -0x1.b1de23ea680ccp-28,
    -0x1.e800f7eacbf51p-32, 0x1.0517a7ff8d024p-31, 0x1.ad62b57394b2dp-36, -0x1.f16278ccba8d6p-36};
enum { BEND_DEGREE = 13, MIDDLE_DEGREE = 15, ENTROPY_DEGREE = 9 };
#else
static const float bend_c[] = {0x1p-1f,         -0x1.55554ep-3f,  0x1.5553ecp-5f,  -0x1.10f91p-7f,
                               0x1.6a8d3ap-10f, -0x1.92576cp-13f, 0x1.5a0754p-16f, -0x1.54604p-20f};
static const float middle_c[] = {0x1p-3f,         -0x1.ffffcep-7f,  0x1.c7125ep-10f, -0x1.8225b8p-13f,
                                 0x1.3c7e3ep-16f, -0x1.db7392p-20f, 0x1.156c9p-23f,  -0x1.5a71a4p-28f};
static const float entropy_c[] = {0x1.3a37ap-2f, 0x1.ffffb4p-2f, -0x1.553302p-3f, 0x1.5027aep-4f, -0x1.44e6dp-5f};
static const float forward_c[] = {0x1p-1f,         0x1.555556p-3f,  0x1.555568p-5f,  0x1.1110eep-7f,
                                  0x1.6c06dcp-10f, 0x1.a02704p-13f, 0x1.a7efd8p-16f, 0x1.737152p-19f};
static const float reverse_c[] = {0x1p-1f,        0x1.555558p-2f,  0x1.000026p-3f,  0x1.11105p-5f,
                                  0x1.c6f9b6p-8f, 0x1.384466p-10f, 0x1.74cdc6p-13f, 0x1.6e52fap-16f};
static const float both_c[] = {0x1p-3f,         0x1.fffffep-5f,  0x1p-6f,        0x1.55566cp-9f,
                               0x1.c71e58p-12f, 0x1.6b8f6ap-14f, 0x1.6b483p-17f, -0x1.40e4acp-24f};
enum { BEND_DEGREE = 7, MIDDLE_DEGREE = 7, ENTROPY_DEGREE = 4 };
#endif
/* The first terms of the polynomials are added last, as what is exact but for a^2: they are nearly all of small a. */
INLINE bend near_bend(V a) {
    const V w = a * a, half = set1((S)0.5) * w, more = (a * w) * horner(bend_c + 1, BEND_DEGREE - 1, a);
    const V near = half + more, less = a - near;
    const V middle = fma_(w * w, horner(middle_c + 1, MIDDLE_DEGREE - 1, w), set1((S)0.125) * w);
    return (bend){near, fnma_(a, near, half - more), fnma_(set1((S)0.5) * less, middle, middle), less};
}
/* The same by the probabilities, times the larger; middle with z = exp(-a), which is their quotient, is
 * log(2) / 2 - z (a + (1 + z) log(1 + z) / z - log 2) / 2. */
INLINE bend far_bend(V a, V larger, V smaller) {
    const V z = smaller / max_(larger, set1(C_(FLT_MIN, DBL_MIN))), one = set1(1);
    const V inner = a + horner(entropy_c, ENTROPY_DEGREE, z), half = set1(C_(0x1.62e43p-2f, 0x1.62e42fefa39efp-2));
    return (bend){fma_(larger, a - one, smaller), fnma_(smaller, a + one, larger),
                  fnma_(set1((S)0.5) * smaller, inner, larger * half), larger - smaller};
}
INLINE bend bend_of(V a, V p, V q) {
    const V larger = max_(p, q);
    bend n = near_bend(a);
    n = (bend){larger * n.near, larger * n.far, larger * n.middle, larger * n.less};
    const bend f = far_bend(a, larger, min_(p, q));
    const M is_far = lt_(set1(NEAR), a);
    return (bend){select_(is_far, f.near, n.near), select_(is_far, f.far, n.far),
                  select_(lt_(set1(MIDDLE_NEAR), a), f.middle, n.middle), select_(is_far, f.less, n.less)};
}

/* Two rows under way. */
typedef struct {
    lg_run x, y;    /* logits */
    const S *p, *q; /* and terms */
    V high, low;    /* shift, or NaN */
    wide shift;     /* NaN beyond FAR_SHIFT */
    int is_near;    /* whether x - y may be rounded */
    double x_max, y_max, x_rest, y_rest;
    V p_unit, q_unit;      /* what makes probabilities of terms */
    V chain[POWERS][VPER]; /* sums of p u^k, of terms p; 0 unless chained */
    int chained;
    W sum[DIVERGENCES][VPER];
    wide apart[DIVERGENCES]; /* what classes APART add */
} two_rows;

/* u of some classes. */
INLINE V ratio(const two_rows *r, V x, V y, int is_near) {
    if (is_near) return r->high - (x - y);
    const pair d = sum_(x, -y);
    const V most = r->high - d.h, lost = r->high - (most + d.h); /* unless d is small, the rounding */
    return most + (lost + (r->low - d.l));
}
/* Of a group's, 0 past them to a whole line: what is past the row has no say in what kind a group is of. */
INLINE void ratios(const two_rows *r, const S *x, const S *y, ptrdiff_t n, S *u) {
    for (ptrdiff_t i = 0; i < (n + LANES - 1) / LANES * LANES; i += VL) {
        const ptrdiff_t k = n - i < VL ? n - i : VL;
        st(u + i, set1(0));
        if (k > 0) st_k(u + i, ratio(r, ld_k(x + i, k), ld_k(y + i, k), r->is_near), k);
    }
}

INLINE wide exact_sum(double a, double b) { /* Knuth */
    const double s = a + b, t = s - a;
    return (wide){s, (a - (s - t)) + (b - t)};
}
/* u / 2 of any class by its logarithms, where u itself may overflow. */
INLINE double half_ratio(const two_rows *r, double x, double y) {
    const double log_p = (0.5 * x - 0.5 * r->x_max) - 0.5 * r->x_rest;
    const double log_q = (0.5 * y - 0.5 * r->y_max) - 0.5 * r->y_rest;
    return log_q - log_p;
}

INLINE void add_apart(wide *sum, double v) {
    const wide more = exact_sum(sum->s, v);
    *sum = (wide){more.s, sum->e + more.e};
}
/* Adds what classes that are APART add, whose u becomes 0, and finds u where the shift is far. */
static NOINLINE void take_apart(two_rows *r, ptrdiff_t at, ptrdiff_t n, S *u) {
    for (ptrdiff_t c = 0; c < n; c++) {
        if (fabs((double)u[c]) < (double)APART) continue;
        const double x = (double)element(r->x, at + c), y = (double)element(r->y, at + c), half = half_ratio(r, x, y);
        u[c] = 0;
        if (x == y && isinf(x)) continue;
        if (fabs(half) < 0.5 * (double)APART) {
            u[c] = (S)(2 * half);
            continue;
        }
        const int base = half < 0, masked = isinf(x) || isinf(y);
        const S share = base ? first_(r->p_unit) * r->p[at + c] : first_(r->q_unit) * r->q[at + c];
        const double p = (double)share / (double)WHOLE;
        add_apart(&r->apart[base ? FORWARD_KL : REVERSE_KL], masked ? (double)INFINITY : 2 * (p * fabs(half)) - p);
        add_apart(&r->apart[base ? REVERSE_KL : FORWARD_KL], p);
        add_apart(&r->apart[MIDDLE], 0x1.62e42fefa39efp-2 * p);
        add_apart(&r->apart[BALANCE], base ? -p : p);
    }
}

/* Adds p u^k of classes; their u^2. */
INLINE V add_powers(V *sum, V u, V p) {
    const V square = u * u;
    V t[2] = {p * u, p * square};
    UNROLL(17)
    for (int k = 0; k < POWERS; k++) {
        V *of = &t[k % 2];
        if (k >= 2 && k + 2 >= POWERS) sum[k] = fma_(*of, square, sum[k]);
        else {
            if (k >= 2) *of = *of * square;
            sum[k] = sum[k] + *of;
        }
    }
    return square;
}
INLINE void take_powers(two_rows *r, int h, const V *sum) {
    for (int k = 0; k < POWERS; k++) r->chain[k][h] = r->chain[k][h] + sum[k];
    r->chained = 1;
}
INLINE void no_powers(V *sum) {
    for (int k = 0; k < POWERS; k++) sum[k] = set1(0);
}
/* Adds a group whose u are all small, of whose lines so many are in use. */
INLINE void add_small(two_rows *r, const S *u, const S *p, int lines) {
    for (int h = 0; h < VPER; h++) {
        V sum[POWERS];
        no_powers(sum);
        for (int g = 0; g < lines; g++) add_powers(sum, ld(u + g * LANES + h * VL), ld(p + g * LANES + h * VL));
        take_powers(r, h, sum);
    }
}
/* A whole group straight from its logits, if its u turn out to be small. */
INLINE int add_whole(two_rows *r, const S *x, const S *y, const S *p, int is_near) {
    V sum[VPER][POWERS], top = set1(0), nan = top;
    for (int h = 0; h < VPER; h++) {
        no_powers(sum[h]);
        UNROLL(1) /* powers side by side, not one after another */
        for (int i = h * VL; i < GROUP * LANES; i += LANES)
            top = max_(add_powers(sum[h], ratio(r, ld(x + i), ld(y + i), is_near), ld(p + i)), top);
        nan = nan + sum[h][0];
    }
    if (any_(lt_(set1(SMALL * SMALL), top)) || any_(ne_(nan, nan))) return 0;
    for (int h = 0; h < VPER; h++) take_powers(r, h, sum[h]);
    return 1;
}
INLINE V of_powers(const two_rows *r, int h, const S *c) {
    V all = set1(0);
    for (int k = POWERS - 2; k >= 0; k--) all = fma_(set1(c[k]), r->chain[k + 1][h], all);
    return all;
}
/* Makes divergences of the powers' sums. */
static NOINLINE void end_chain(two_rows *r) {
    for (int h = 0; h < VPER; h++) {
        V sum[DIVERGENCES] = {of_powers(r, h, forward_c), of_powers(r, h, reverse_c), of_powers(r, h, both_c)};
        sum[BALANCE] = r->chain[0][h] + sum[FORWARD_KL];
        for (int d = 0; d < DIVERGENCES; d++) r->sum[d][h] = w_add(r->sum[d][h], sum[d] * r->p_unit);
    }
    memset(r->chain, 0, sizeof r->chain);
    r->chained = 0;
}

/* Adds what any class adds. */
INLINE void add_any(const two_rows *r, V u, V p, V q, V *sum) {
    const M base = lt_(u, set1(0));
    const bend b = bend_of(abs_(u), p * r->p_unit, q * r->q_unit);
    sum[FORWARD_KL] = sum[FORWARD_KL] + select_(base, b.near, b.far);
    sum[REVERSE_KL] = sum[REVERSE_KL] + select_(base, b.far, b.near);
    sum[MIDDLE] = sum[MIDDLE] + b.middle;
    sum[BALANCE] = sum[BALANCE] + select_(base, -b.less, b.less);
}
INLINE void add_group(two_rows *r, const S *u, const S *p, const S *q, int lines) {
    for (int h = 0; h < VPER; h++) {
        V sum[DIVERGENCES];
        for (int d = 0; d < DIVERGENCES; d++) sum[d] = set1(0);
        UNROLL(1)
        for (int i = h * VL; i < lines * LANES; i += LANES) add_any(r, ld(u + i), ld(p + i), ld(q + i), sum);
        for (int d = 0; d < DIVERGENCES; d++) r->sum[d][h] = w_add(r->sum[d][h], sum[d]);
    }
}
/* Any group; whether its u are small. What is done depends on its classes, which a group has in any row. */
static NOINLINE int add_others(two_rows *r, ptrdiff_t at, ptrdiff_t n, S *u) {
    const S *p = r->p + at, *q = r->q + at;
    const int lines = (int)((n + LANES - 1) / LANES);
    V top = set1(0), all = set1(0);
    for (ptrdiff_t i = 0; i < n; i += VL) all = all + abs_(ld(u + i));
    if (any_(nlt_(all, set1(APART)))) take_apart(r, at, n, u);
    for (ptrdiff_t i = 0; i < n; i += VL) top = max_(abs_(ld(u + i)), top);
    const int small = !any_(lt_(set1(SMALL * SMALL), top * top));
    if (small) add_small(r, u, p, lines);
    else add_group(r, u, p, q, lines);
    return small;
}

/* A group's logits, which go to a line unless they are computed ones. */
INLINE const S *logits_of(lg_run x, ptrdiff_t at, ptrdiff_t n, S *line) {
    if (x.storage == COMPUTED) return (const S *)x.at + at;
    load_run(from(x, at).at, lg_size(x.storage), n, x.storage, line);
    return line;
}
static NOINLINE void add_classes(two_rows *r, ptrdiff_t n) {
    S u[GROUP * LANES], line[2][GROUP * LANES];
    int small = 1; /* was the last group: so may be the next */
    for (ptrdiff_t at = 0; at < n; at += GROUP * LANES) {
        if (at && at % PIECE == 0 && lg_stopped()) break;
        const ptrdiff_t k = n - at < GROUP * LANES ? n - at : GROUP * LANES;
        const S *x = logits_of(r->x, at, k, line[0]), *y = logits_of(r->y, at, k, line[1]), *p = r->p + at;
        small = small && k == GROUP * LANES && (r->is_near ? add_whole(r, x, y, p, 1) : add_whole(r, x, y, p, 0));
        if (!small) {
            ratios(r, x, y, k, u);
            small = add_others(r, at, k, u);
        }
        if (r->chained && at / (GROUP * LANES) % GROUPS == GROUPS - 1) end_chain(r);
    }
    if (r->chained) end_chain(r);
}

/* ---- first choices: larger logits, of equal ones those of earlier classes ---- */

/* Whether class i comes after class j. */
INLINE int comes_after(lg_run x, SU i, SU j) {
    const S one = element(x, i), other = element(x, j);
    return one < other || (one == other && i > j);
}
/* Puts a class in place of the last of k choices, which leads them: a heap. */
static void replace_last(lg_run x, SU *choice, ptrdiff_t k, ptrdiff_t at, SU class) {
    for (ptrdiff_t child; (child = 2 * at + 1) < k; at = child) {
        if (child + 1 < k && comes_after(x, choice[child + 1], choice[child])) child++;
        if (!comes_after(x, choice[child], class)) break;
        choice[at] = choice[child];
    }
    choice[at] = class;
}
/* The first k classes of n, the last of them first. */
static void first_choices(lg_run x, ptrdiff_t n, ptrdiff_t k, SU *choice) {
    for (ptrdiff_t i = 0; i < k; i++) choice[i] = (SU)i;
    for (ptrdiff_t i = k / 2; i-- > 0;) replace_last(x, choice, k, i, choice[i]);
    for (ptrdiff_t i = k; i < n; i += VL) {
        const ptrdiff_t many = n - i < VL ? n - i : VL;
        if (!any_(lt_(set1(element(x, choice[0])), get_or(x.at, i, many, x.storage, -(S)INFINITY)))) continue;
        for (ptrdiff_t c = i; c < i + many; c++)
            if (element(x, c) > element(x, choice[0])) replace_last(x, choice, k, 0, (SU)c);
    }
}
/* How many of the first k choices of two rows are the same; room is for k of each. */
static ptrdiff_t overlap_of(lg_run x, lg_run y, ptrdiff_t n, ptrdiff_t k, SU *of_x, SU *of_y) {
    ptrdiff_t both = 0;
    if (k == 0 || k == n) return k;
    first_choices(x, n, k, of_x);
    first_choices(y, n, k, of_y);
    for (ptrdiff_t i = 0; i < k; i++) both += !comes_after(y, of_x[i], of_y[0]);
    return both;
}

/* ---- the walk: that of walk.h over either's rows, a batch of both at a time ---- */

typedef struct {
    lg_rows_job job;
    plan p;
    rows_batch of;
} side;

/* lse(x) - lse(y) */
INLINE wide shift_between(const lg_batch *x, const lg_batch *y, ptrdiff_t k) {
    const wide tops = exact_sum(x->max[k], -y->max[k]), all = exact_sum(tops.s, x->log_rest[k] - y->log_rest[k]);
    return (wide){all.s, tops.e + all.e};
}
static void start_rows(two_rows *r, const side *base, const side *other, ptrdiff_t k) {
    const lg_batch *x = &base->of.of, *y = &other->of.of;
    memset(r->chain, 0, sizeof r->chain);
    r->chained = 0;
    memset(r->sum, 0, sizeof r->sum);
    memset(r->apart, 0, sizeof r->apart);
    r->x = base->of.x[k], r->y = other->of.x[k];
    r->p = base->of.term[k], r->q = other->of.term[k];
    r->x_max = x->max[k], r->y_max = y->max[k];
    r->x_rest = x->log_rest[k], r->y_rest = y->log_rest[k];
    r->shift = shift_between(x, y, k);
    r->is_near = fabs(r->shift.s) < NEAR_SHIFT;
    if (!(fabs(r->shift.s) < (double)FAR_SHIFT)) r->shift.s = (double)NAN;
    const S high = (S)r->shift.s;
    if (r->is_near) r->shift = (wide){(double)high, 0};
    r->high = set1(high);
    r->low = set1((S)((r->shift.s - (double)high) + r->shift.e));
    r->p_unit = set1((S)((double)WHOLE / x->total[k]));
    r->q_unit = set1((S)((double)WHOLE / y->total[k]));
}
static void sum_pair(two_rows *r, ptrdiff_t n, double *sum) {
    add_classes(r, n);
    for (int d = 0; d < DIVERGENCES; d++) sum[d] = value_of(fold_(r->sum[d])) / (double)WHOLE + value_of(r->apart[d]);
}
/* Whether it may be felt that x - y was rounded: by up to 2^-25 (|u| + |shift|) (float64: 2^-54), which is |shift| more
 * than any u is. KL changes by the sum of p |u| times that, and p |u| is that of the first choice and, by Cauchy, at most
 * the root of what the others have of p and of p u^2, which is about twice KL. */
INLINE int is_felt(const two_rows *r, const lg_batch *x, ptrdiff_t k, ptrdiff_t first, double kl) {
    const double own = x->unit[k] / x->total[k], others = (x->rest[k] + (x->count[k] - 1) * x->unit[k]) / x->total[k];
    const double u = r->shift.s - ((double)element(r->x, first) - (double)element(r->y, first));
    return r->is_near && fabs(r->shift.s) * (own * fabs(u) + sqrt(others * 2.25 * kl)) > 4 * kl;
}
/* log p - log q of a class, of a shift that is wrong by e. */
INLINE double loss_gap(const two_rows *r, double e, double x, double y) {
    const wide d = exact_sum(x, -y);
    if (r->shift.s != r->shift.s || !isfinite(d.s)) return -2 * half_ratio(r, x, y);
    return e - ((r->shift.s - d.s) + (r->shift.e - d.e));
}
INLINE double at_least_0(double v) { return v < 0 ? 0 : v; }

/* Whether a row's softmax is that of finite logits and -inf. */
INLINE int has_softmax(const lg_batch *b, ptrdiff_t k) { return b->rest[k] == b->rest[k] && b->max[k] < INFINITY; }

static void find_divergences(const side *base, const side *other, ptrdiff_t k, int labelled) {
    const lg_pairs *to = &base->job.pairs;
    const lg_batch *x = &base->of.of, *y = &other->of.of;
    const ptrdiff_t row = base->of.row + k, n = base->p.n;
    to->kl[row] = to->kl_reverse[row] = to->js[row] = to->loss_difference[row] = (double)NAN;
    if (!has_softmax(x, k) || !has_softmax(y, k)) return;
    two_rows r;
    double sum[DIVERGENCES];
    start_rows(&r, base, other, k);
    sum_pair(&r, n, sum);
    if (is_felt(&r, x, k, (ptrdiff_t)to->base_predicted[row], sum[FORWARD_KL])) {
        start_rows(&r, base, other, k);
        r.is_near = 0;
        sum_pair(&r, n, sum);
    }
    const double e = sum[BALANCE];
    to->kl[row] = at_least_0(sum[FORWARD_KL] - 0.5 * e * e);
    to->kl_reverse[row] = at_least_0(sum[REVERSE_KL] - 0.5 * e * e);
    to->js[row] = at_least_0(sum[MIDDLE] - 0.125 * e * e);
    if (labelled) to->loss_difference[row] = loss_gap(&r, e, x->target[k], y->target[k]);
}
static void write_choices(const side *s, ptrdiff_t k, int labelled, double *loss, int64_t *predicted, int64_t *rank) {
    const lg_batch *b = &s->of.of;
    const int defined = b->rest[k] == b->rest[k];
    const lg_run x = s->of.x[k];
    *loss = labelled ? b->loss[k] : (double)NAN;
    *rank = labelled && defined ? rank_of(x, s->p.n, (ptrdiff_t)s->of.label[k]) : -1;
    *predicted = !defined ? -1 : *rank == 0 ? s->of.label[k] : first_of(x, s->p.n, (S)b->max[k]);
}
static void find_choices(const side *base, const side *other, ptrdiff_t k, int labelled) {
    const lg_pairs *to = &base->job.pairs;
    const ptrdiff_t row = base->of.row + k;
    write_choices(base, k, labelled, to->base_loss + row, to->base_predicted + row, to->base_rank + row);
    write_choices(other, k, labelled, to->other_loss + row, to->other_predicted + row, to->other_rank + row);
}
/* The terms are of no use any more: choices go in their place. */
static void find_overlap(const side *base, const side *other, ptrdiff_t k) {
    const lg_pairs *to = &base->job.pairs;
    const ptrdiff_t row = base->of.row + k, n = base->p.n;
    if (to->base_predicted[row] < 0 || to->other_predicted[row] < 0) to->overlap[row] = -1;
    else
        to->overlap[row] =
            overlap_of(base->of.x[k], other->of.x[k], n, to->top, (SU *)base->of.term[k], (SU *)other->of.term[k]);
}

/* One of the two, as a job of its own; batches are as large as of both. */
static void start_side(side *s, const lg_rows_job *j, const lg_view *x, ptrdiff_t rows, S *scratch) {
    const ptrdiff_t most = lg_rows_batch(j);
    s->job = *j;
    s->job.x = *x;
    s->job.grad.at = NULL;
    s->p = plan_of(&s->job, rows);
    s->p.batch = rows < most ? rows : most;
    s->p.terms = scratch;
    s->p.x_tile = scratch + s->p.batch * s->p.pitch;
    start_batch(&s->of);
}
/* The sums of a batch's rows, whether they have labels or not; their terms, and 0 past them to a whole line. */
static void sum_side(side *s) {
    rows_batch *t = &s->of;
    t->skips = 0;
    for (ptrdiff_t k = 0; k < t->many; k++) {
        if (t->skip[k]) t->label[k] = 0;
        t->skip[k] = 0;
    }
    s->p.sum(&s->p, t);
    for (ptrdiff_t k = 0; k < t->many; k++)
        for (ptrdiff_t i = s->p.n; i % LANES; i++) t->term[k][i] = 0;
    finish_sums(&t->of, t->many);
}
static void pairs(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    side base, other;
    start_side(&base, j, &j->x, end - begin, j->scratch);
    start_side(&other, j, &j->grad, end - begin, base.p.terms + 2 * base.p.batch * base.p.pitch);
    ptrdiff_t look = begin;
    for (base.of.row = begin; next_batch(&base.p, &base.of, &look, end); base.of.row += base.p.batch) {
        int none[LG_ROWS];
        other.of.row = base.of.row;
        other.of.many = base.of.many;
        read_batch(&other.p, &other.of);
        memcpy(none, base.of.skip, sizeof none);
        memcpy(other.of.skip, base.of.skip, sizeof none); /* what was read first, should labels change */
        memcpy(other.of.label, base.of.label, sizeof other.of.label);
        sum_side(&base);
        sum_side(&other);
        for (ptrdiff_t k = 0, many = base.of.many; k < many; k++) {
            const int labelled = j->label.at && !none[k];
            find_choices(&base, &other, k, labelled);
            find_divergences(&base, &other, k, labelled);
            find_overlap(&base, &other, k);
        }
    }
}
