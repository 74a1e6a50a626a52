/* What two rows of logits, a base's x and another's y, say of each other: their divergences and first choices.
 *
 * With p = softmax(x), q = softmax(y), u = log(q / p) of a class and a = |u|, of a class whose larger probability is w
 *   KL(p || q) adds w near(a) where that is p, else w far(a),   near = exp(-a) - 1 + a, far = 1 - exp(-a) - a exp(-a);
 *   KL(q || p) the other of the two;   Jensen-Shannon w middle(a), (1 + exp(-a)) / 2 times
 *     (a / 2) tanh(a / 2) - log cosh(a / 2) = log 2 - log(1 + exp(-a)) - a exp(-a) / (1 + exp(-a)):
 * sums of what is not negative, by polynomials near 0, so that no divergence loses its relative accuracy where the rows
 * are nearly equal. (KL: of p log(p / q) and q - p, the latter's sum is 0.) u = shift - (x - y), shift = lse(x) - lse(y),
 * with what x - y is rounded by. An error e of the shift, of 2^-22 or so, is felt as e^2 / 2 (Jensen-Shannon: e^2 / 8):
 * it is seen in the sum of all q - p, w less(a) with less = 1 - exp(-a) and u's sign, which is 0 but for e, and so taken
 * off. Errors: 8 ULP of float32 (of float64) down to 1e-12; each is exactly 0 for equal rows.
 * Order of the sums: the lanes and trees of sums.h. */

#define WHOLE C_(0x1p60, 0x1p500)    /* the sum of all probabilities: none that counts is subnormal then */
#define APART C_(0x1p60, 0x1p500)    /* such an a is taken by itself, as no product with a probability may overflow */
#define NEAR C_(1.25f, 1.25)         /* up to here by polynomials: beyond, far would lose more than by exp(-a) */
#define MIDDLE_NEAR 2                /* and middle to here */
#define SMALL C_(0.5f, 0.5)          /* and to here by shorter ones */
#define FAR_SHIFT C_(0x1p16, 0x1p40) /* beyond it two S hold too little of a shift */
enum { FORWARD_KL, REVERSE_KL, MIDDLE, BALANCE, DIVERGENCES };

typedef struct {
    V near, far, middle, less;
} bend;

/* bend: (exp(-a) - 1 + a) / a^2; of a^2: middle, as above but for (1 + exp(-a)) / 2, and small, the same up to SMALL;
 * even: (cosh(u) - 1) / u^2, odd: (sinh(u) - u) / u^3. */
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
static const double even_c[] = {0x1.0000000000000p-1,  0x1.555555555557dp-5,  0x1.6c16c16c0524dp-10,
                                0x1.a01a01f1484cbp-16, 0x1.27e4583dd6345p-22, 0x1.201756b26dfdep-29};
static const double odd_c[] = {0x1.5555555555555p-3,  0x1.11111111112cdp-7,  0x1.a01a019f77884p-13,
                               0x1.71de3be157422p-19, 0x1.ae60e2e22db9dp-26, 0x1.64687fd4f43e0p-33};
static const double small_c[] = {0x1.0000000000000p-3,   -0x1.fffffffffff4ap-7, 0x1.c71c71c6f8370p-10,
                                 -0x1.82d82d5bb1417p-13, 0x1.427a79f8fb1d7p-16, -0x1.0a34d58674dd4p-19,
                                 0x1.b3853ac08a864p-23,  -0x1.43b0689bb701bp-26};
enum { BEND_DEGREE = 13, MIDDLE_DEGREE = 15, ENTROPY_DEGREE = 9, EVEN_DEGREE = 5, ODD_DEGREE = 5, SMALL_DEGREE = 7 };
#else
static const float bend_c[] = {0x1p-1f,         -0x1.55554ep-3f,  0x1.5553ecp-5f,  -0x1.10f91p-7f,
                               0x1.6a8d3ap-10f, -0x1.92576cp-13f, 0x1.5a0754p-16f, -0x1.54604p-20f};
static const float middle_c[] = {0x1p-3f,         -0x1.ffffcep-7f,  0x1.c7125ep-10f, -0x1.8225b8p-13f,
                                 0x1.3c7e3ep-16f, -0x1.db7392p-20f, 0x1.156c9p-23f,  -0x1.5a71a4p-28f};
static const float entropy_c[] = {0x1.3a37ap-2f, 0x1.ffffb4p-2f, -0x1.553302p-3f, 0x1.5027aep-4f, -0x1.44e6dp-5f};
static const float even_c[] = {0x1p-1f, 0x1.5553eep-5f, 0x1.6e5b0cp-10f};
static const float odd_c[] = {0x1.555556p-3f, 0x1.110fc2p-7f, 0x1.a2addp-13f};
static const float small_c[] = {0x1p-3f, -0x1.ffff9p-7f, 0x1.c6c68cp-10f, -0x1.7021aap-13f};
enum { BEND_DEGREE = 7, MIDDLE_DEGREE = 7, ENTROPY_DEGREE = 4, EVEN_DEGREE = 2, ODD_DEGREE = 2, SMALL_DEGREE = 3 };
#endif
/* The first terms of the polynomials are added last, as what is exact but for a^2: they are nearly all of small a. */
INLINE bend near_bend(V a) {
    const V w = a * a, half = set1((S)0.5) * w, more = (a * w) * horner(bend_c + 1, BEND_DEGREE - 1, a);
    const V near = half + more, less = a - near;
    const V middle = fma_(w * w, horner(middle_c + 1, MIDDLE_DEGREE - 1, w), set1((S)0.125) * w);
    return (bend){near, fnma_(a, near, half - more), fnma_(set1((S)0.5) * less, middle, middle), less};
}
/* By z = exp(-a), where middle is log(2) / 2 - z (a + (1 + z) log(1 + z) / z - log 2) / 2. */
INLINE bend far_bend(V a) {
    const unit u = {.magic = set1(MAGIC)};
    V z, x = -a, seen = set1(0);
    terms_of(&x, &z, 1, &u, &seen);
    const V less = set1(1) - z, inner = a + horner(entropy_c, ENTROPY_DEGREE, z);
    const V middle = fnma_(set1((S)0.5) * z, inner, set1(C_(0x1.62e43p-2f, 0x1.62e42fefa39efp-2)));
    return (bend){(a - set1(1)) + z, fnma_(a, z, less), middle, less};
}
INLINE bend bend_of(V a, int any_far) {
    const bend n = near_bend(a);
    if (!any_far) return n;
    const bend f = far_bend(a);
    const M is_far = lt_(set1(NEAR), a);
    return (bend){select_(is_far, f.near, n.near), select_(is_far, f.far, n.far),
                  select_(lt_(set1(MIDDLE_NEAR), a), f.middle, n.middle), select_(is_far, f.less, n.less)};
}

/* Two rows under way. */
typedef struct {
    const S *x, *y, *p, *q; /* logits and terms */
    V high, low;            /* shift, or NaN */
    wide shift;             /* NaN beyond FAR_SHIFT */
    double x_max, y_max, x_rest, y_rest;
    V p_unit, q_unit; /* what makes probabilities of terms */
    W sum[DIVERGENCES][VPER];
    wide apart[DIVERGENCES]; /* what classes APART add */
} two_rows;

/* u of a group's classes, 0 past them to a whole line, and the largest |u| by lane; in `all` the sum, NaN if any is. */
INLINE V ratios(const two_rows *r, ptrdiff_t at, ptrdiff_t n, S *u, V *all) {
    const S *x = r->x + at, *y = r->y + at;
    V top = *all = set1(0);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const ptrdiff_t k = n - i < VL ? n - i : VL;
        const pair d = sum_(ld_k(x + i, k), -ld_k(y + i, k));
        const V most = r->high - d.h, lost = r->high - (most + d.h); /* unless d is small, the rounding */
        const V v = most + (lost + (r->low - d.l)), a = abs_(v);
        st(u + i, v);
        *all = *all + a;
        top = max_(top, a);
    }
    for (ptrdiff_t i = n; i < (n + LANES - 1) / LANES * LANES; i++) u[i] = 0;
    return top;
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
        const double x = (double)r->x[at + c], y = (double)r->y[at + c], half = half_ratio(r, x, y);
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

/* What one class adds. */
INLINE void add_small(const two_rows *r, V u, V p, V q, V *t) {
    const V w = u * u, ww = w * w;
    const V even = fma_(ww, horner(even_c + 1, EVEN_DEGREE - 1, w), set1((S)0.5) * w);
    const V odd = (u * w) * horner(odd_c, ODD_DEGREE, w);
    const V middle = fma_(ww, horner(small_c + 1, SMALL_DEGREE - 1, w), set1((S)0.125) * w);
    p = p * r->p_unit, q = q * r->q_unit;
    const V both = p + q;
    t[FORWARD_KL] = p * (even + odd);
    t[REVERSE_KL] = q * (even - odd);
    t[MIDDLE] = both * middle; /* twice */
    t[BALANCE] = both * u;     /* of which p (exp(u) - 1) + q (1 - exp(-u)) is made below */
}
INLINE void add_any(const two_rows *r, V u, V p, V q, int any_far, V *t) {
    const M base = lt_(u, set1(0));
    const V w = select_(base, p * r->p_unit, q * r->q_unit);
    const bend b = bend_of(abs_(u), any_far);
    const V less = w * b.less;
    t[FORWARD_KL] = w * select_(base, b.near, b.far);
    t[REVERSE_KL] = w * select_(base, b.far, b.near);
    t[MIDDLE] = w * b.middle;
    t[BALANCE] = select_(base, -less, less);
}

/* Adds a group, of whose lines so many are in use. */
enum { ALL_SMALL, ALL_NEAR, ANY };
INLINE void add_group(two_rows *r, const S *u, const S *p, const S *q, int lines, int kind) {
    for (int h = 0; h < VPER; h++) {
        V sums[4][DIVERGENCES], *total = sums[3]; /* of 1, 2, 4 and 8 classes of a lane: its tree, a leaf at a time */
        UNROLL(8)
        for (int g = 0; g < GROUP; g++) {
            const int i = g * LANES + h * VL;
            V one[DIVERGENCES];
            for (int d = 0; d < DIVERGENCES; d++) one[d] = set1(0);
            if (g < lines && kind == ALL_SMALL) add_small(r, ld(u + i), ld(p + i), ld(q + i), one);
            else if (g < lines) add_any(r, ld(u + i), ld(p + i), ld(q + i), kind == ANY, one);
            int level = 0;
            for (; g >> level & 1; level++)
                for (int d = 0; d < DIVERGENCES; d++) one[d] = sums[level][d] + one[d];
            for (int d = 0; d < DIVERGENCES; d++) sums[level][d] = one[d];
        }
        if (kind == ALL_SMALL) {
            total[MIDDLE] = set1((S)0.5) * total[MIDDLE];
            total[BALANCE] = set1((S)0.5) * (total[BALANCE] + (total[FORWARD_KL] - total[REVERSE_KL]));
        }
        for (int d = 0; d < DIVERGENCES; d++) r->sum[d][h] = w_add(r->sum[d][h], total[d]);
    }
}
/* By what is needed of the polynomials: for a group is where it is in any row, and so are its sums' bits. */
INLINE void add_by_kind(two_rows *r, const S *u, const S *p, const S *q, int lines, V top) {
    if (!any_(lt_(set1(SMALL), top))) add_group(r, u, p, q, lines, ALL_SMALL);
    else if (!any_(lt_(set1(NEAR), top))) add_group(r, u, p, q, lines, ALL_NEAR);
    else add_group(r, u, p, q, lines, ANY);
}
static NOINLINE V take_apart_group(two_rows *r, ptrdiff_t at, ptrdiff_t n, S *u) {
    V top = set1(0);
    take_apart(r, at, n, u);
    for (ptrdiff_t i = 0; i < n; i += VL) top = max_(top, abs_(ld(u + i)));
    return top;
}
static NOINLINE void add_classes(two_rows *r, ptrdiff_t n) {
    for (ptrdiff_t at = 0; at < n; at += GROUP * LANES) {
        S u[GROUP * LANES];
        V all;
        if (at && at % PIECE == 0 && lg_stopped()) break;
        const ptrdiff_t k = n - at < GROUP * LANES ? n - at : GROUP * LANES;
        V top = k == GROUP * LANES ? ratios(r, at, GROUP * LANES, u, &all) : ratios(r, at, k, u, &all);
        if (any_(nlt_(all, set1(APART)))) top = take_apart_group(r, at, k, u);
        if (k == GROUP * LANES) add_by_kind(r, u, r->p + at, r->q + at, GROUP, top);
        else add_by_kind(r, u, r->p + at, r->q + at, (int)((k + LANES - 1) / LANES), top);
    }
}

/* ---- first choices: larger logits, of equal ones those of earlier classes ---- */

/* Whether class i comes after class j. */
INLINE int comes_after(const S *x, SU i, SU j) { return x[i] < x[j] || (x[i] == x[j] && i > j); }
/* Puts a class in place of the last of k choices, which leads them: a heap. */
static void replace_last(const S *x, SU *choice, ptrdiff_t k, ptrdiff_t at, SU class) {
    for (ptrdiff_t child; (child = 2 * at + 1) < k; at = child) {
        if (child + 1 < k && comes_after(x, choice[child + 1], choice[child])) child++;
        if (!comes_after(x, choice[child], class)) break;
        choice[at] = choice[child];
    }
    choice[at] = class;
}
/* The first k classes of n, the last of them first. */
static void first_choices(const S *x, ptrdiff_t n, ptrdiff_t k, SU *choice) {
    for (ptrdiff_t i = 0; i < k; i++) choice[i] = (SU)i;
    for (ptrdiff_t i = k / 2; i-- > 0;) replace_last(x, choice, k, i, choice[i]);
    for (ptrdiff_t i = k; i < n; i += VL) {
        const ptrdiff_t many = n - i < VL ? n - i : VL;
        const V v = many == VL ? ld(x + i) : ld_n(x + i, many, -(S)INFINITY);
        if (!any_(lt_(set1(x[choice[0]]), v))) continue;
        for (ptrdiff_t c = i; c < i + many; c++)
            if (x[c] > x[choice[0]]) replace_last(x, choice, k, 0, (SU)c);
    }
}
/* How many of the first k choices of two rows are the same; room is for k of each. */
static ptrdiff_t overlap_of(const S *x, const S *y, ptrdiff_t n, ptrdiff_t k, SU *of_x, SU *of_y) {
    ptrdiff_t both = 0;
    if (k == 0 || k == n) return k;
    first_choices(x, n, k, of_x);
    first_choices(y, n, k, of_y);
    for (ptrdiff_t i = 0; i < k; i++) both += !comes_after(y, of_x[i], of_y[0]);
    return both;
}

/* ---- the walk: as that of walk.h, of two rows at a time ---- */

typedef struct {
    rows_batch base;
    lg_batch other;
    S *other_term;
} pairs_batch;

/* lse(x) - lse(y) */
INLINE wide shift_between(const lg_batch *x, const lg_batch *y, ptrdiff_t k) {
    const wide tops = exact_sum(x->max[k], -y->max[k]), all = exact_sum(tops.s, x->log_rest[k] - y->log_rest[k]);
    return (wide){all.s, tops.e + all.e};
}
INLINE int has_label(const plan *p, const pairs_batch *t, ptrdiff_t k) { return p->job->label.at && !t->base.skip[k]; }
static two_rows two_rows_of(const plan *p, const pairs_batch *t, ptrdiff_t k) {
    const lg_batch *x = &t->base.of, *y = &t->other;
    two_rows r = {.x = t->base.x[k], .y = t->base.g[k], .p = t->base.term[k], .q = t->other_term + k * p->pitch};
    r.x_max = x->max[k], r.y_max = y->max[k];
    r.x_rest = x->log_rest[k], r.y_rest = y->log_rest[k];
    r.shift = shift_between(x, y, k);
    if (!(fabs(r.shift.s) < (double)FAR_SHIFT)) r.shift.s = (double)NAN;
    const S high = (S)r.shift.s;
    r.high = set1(high);
    r.low = set1((S)((r.shift.s - (double)high) + r.shift.e));
    r.p_unit = set1((S)((double)WHOLE / x->total[k]));
    r.q_unit = set1((S)((double)WHOLE / y->total[k]));
    for (int d = 0; d < DIVERGENCES; d++)
        for (int h = 0; h < VPER; h++) r.sum[d][h] = w_zero();
    return r;
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

static void find_divergences(const plan *p, pairs_batch *t, ptrdiff_t k) {
    const lg_pairs *to = &p->job->pairs;
    const ptrdiff_t row = t->base.row + k;
    const double own = t->base.of.target[k], others = t->other.target[k];
    to->kl[row] = to->kl_reverse[row] = to->js[row] = to->loss_difference[row] = (double)NAN;
    if (!has_softmax(&t->base.of, k) || !has_softmax(&t->other, k)) return;
    two_rows r = two_rows_of(p, t, k);
    double sum[DIVERGENCES];
    add_classes(&r, p->n);
    for (int d = 0; d < DIVERGENCES; d++) sum[d] = value_of(fold_(r.sum[d])) / (double)WHOLE + value_of(r.apart[d]);
    const double e = sum[BALANCE];
    to->kl[row] = at_least_0(sum[FORWARD_KL] - 0.5 * e * e);
    to->kl_reverse[row] = at_least_0(sum[REVERSE_KL] - 0.5 * e * e);
    to->js[row] = at_least_0(sum[MIDDLE] - 0.125 * e * e);
    if (has_label(p, t, k)) to->loss_difference[row] = loss_gap(&r, e, own, others);
}
static void write_choices(const lg_batch *b, const S *x, ptrdiff_t n, ptrdiff_t label, ptrdiff_t k, double *loss,
                          int64_t *predicted, int64_t *rank) {
    const int defined = b->rest[k] == b->rest[k];
    *loss = label < 0 ? (double)NAN : b->loss[k];
    *rank = label < 0 || !defined ? -1 : rank_of(x, n, label);
    *predicted = !defined ? -1 : *rank == 0 ? label : first_of(x, n, (S)b->max[k]);
}
static void find_choices(const plan *p, pairs_batch *t, ptrdiff_t k) {
    const lg_pairs *to = &p->job->pairs;
    const ptrdiff_t row = t->base.row + k, n = p->n, label = has_label(p, t, k) ? (ptrdiff_t)t->base.label[k] : -1;
    const S *x = t->base.x[k], *y = t->base.g[k];
    write_choices(&t->base.of, x, n, label, k, to->base_loss + row, to->base_predicted + row, to->base_rank + row);
    write_choices(&t->other, y, n, label, k, to->other_loss + row, to->other_predicted + row, to->other_rank + row);
    if (to->base_predicted[row] < 0 || to->other_predicted[row] < 0) to->overlap[row] = -1;
    else to->overlap[row] = overlap_of(x, y, n, to->top, (SU *)t->base.term[k], (SU *)(t->other_term + k * p->pitch));
}

/* A row's sums; its terms, and 0 past them to a whole line. */
INLINE void sum_side(lg_batch *b, ptrdiff_t k, const S *x, int in_place, ptrdiff_t n, S *term, ptrdiff_t class) {
    put_row(b, k, sum_row(x, in_place, n, term, NULL));
    for (ptrdiff_t i = n; i % LANES; i++) term[i] = 0;
    b->target[k] = (double)x[class];
}
static void pairs(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    const plan p = plan_of(j, end - begin);
    pairs_batch t;
    rows_batch *b = &t.base;
    start_batch(b);
    t.other_term = p.g_tile + p.batch * p.pitch;
    ptrdiff_t look = begin;
    for (b->row = begin; next_batch(&p, b, &look, end); b->row += p.batch) {
        for (ptrdiff_t k = 0, many = b->many; k < many; k++) {
            const ptrdiff_t class = has_label(&p, &t, k) ? (ptrdiff_t)b->label[k] : 0;
            sum_side(&b->of, k, b->x[k], p.x_runs, p.n, b->term[k], class);
            sum_side(&t.other, k, b->g[k], p.g_runs, p.n, t.other_term + k * p.pitch, class);
        }
        LG_NAME(finish)(&b->of, b->many);
        LG_NAME(finish)(&t.other, b->many);
        for (ptrdiff_t k = 0, many = b->many; k < many; k++) {
            find_divergences(&p, &t, k);
            find_choices(&p, &t, k);
        }
    }
}
