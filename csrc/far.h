/* Gradients of rows that the usual way would lose: their factors leave the range on the way, or are so large that
 * terms below what the first pass keeps count. Here every number has an exponent of its own, as in the reference, and
 * is rounded once. A row takes its time, class by class: it is for rows that have a largest term and extreme factors. */

/* m 2^n, |m| in [1/2, 4); or 0, infinite, NaN with n = 0 */
typedef struct {
    double m, n;
} far;

#if LG_DOUBLE
far LG_NAME(far_of)(double m, double n) {
    V k, v = mantissa_(set1(m), &k);
    const double size = fabs(first_(v));
    return (far){first_(v), size > 0 && size < INFINITY ? first_(k) + n : 0};
}
/* exp(x + less), less a correction to x */
far LG_NAME(far_exp)(double x, double less) {
    V n, p;
    const int dead = x < -5000; /* whose product with any four numbers is 0 to every purpose but its sign */
    p = round_(exp_pair((pair){set1(dead ? -5000 : x), set1(dead ? 0 : less)}, 0, &n));
    return (far){first_(p), first_(n)};
}
double LG_NAME(far_value)(far a) {
    const far v = LG_NAME(far_of)(a.m, a.n);
    return first_(scale_(set1(v.m), set1(v.n)));
}
#else
far LG_NAME(far_of)(double m, double n);
far LG_NAME(far_exp)(double x, double less);
double LG_NAME(far_value)(far a);
#endif

INLINE far far_times(far a, far b) { return LG_NAME(far_of)(a.m * b.m, a.n + b.n); }
INLINE far far_over(far a, far b) { return LG_NAME(far_of)(a.m / b.m, a.n - b.n); }
INLINE far far_minus(far a) { return (far){-a.m, a.n}; }
/* a b, where nothing times anything but NaN is nothing */
INLINE far far_share(far a, far b) {
    const int none = (a.m == 0 && b.m == b.m) || (b.m == 0 && a.m == a.m);
    return none ? (far){0, 0} : far_times(a, b);
}

/* The same of doubles. */
INLINE double part_of(double a, double b) {
    const int none = (a == 0 && b == b) || (b == 0 && a == a);
    return none ? 0 : a * b;
}

/* (s + e) 2^n, n the largest exponent so far (Knuth's two-sum) */
typedef struct {
    double s, e, n;
} far_sum;
#define FAR_NOTHING {0, 0, -(double)INFINITY}
INLINE double lowered(double n) { return n < -1000 ? 0 : power_of_2((int64_t)n); }
static void far_add(far_sum *to, far a) {
    if (a.m == 0) return;
    if (!isfinite(a.m) || !isfinite(to->s)) {
        to->s += a.m;
        return;
    }
    if (a.n > to->n) {
        const double down = lowered(to->n - a.n);
        *to = (far_sum){to->s * down, to->e * down, a.n};
    } else a.m *= lowered(a.n - to->n);
    const double s = to->s + a.m, t = s - to->s;
    to->e += (to->s - (s - t)) + (a.m - t);
    to->s = s;
}
INLINE far far_total(far_sum a) { return LG_NAME(far_of)(isfinite(a.s) ? a.s + a.e : a.s, a.n); }
static far far_difference(far a, far b) {
    far_sum sum = FAR_NOTHING;
    far_add(&sum, a);
    far_add(&sum, far_minus(b));
    return far_total(sum);
}

/* ---- what multiplies a row's gradient ---- */

/* Beyond it a gradient makes terms count that the first pass drops, */
#define MOST_UP C_(0x1p40, 0x1p400)
/* and below it what is left of a product of factors may be no normal number. */
#define LEAST_UP C_(0x1p-900, 0x1p-300)
INLINE int leaves(double g) { return fabs(g) > MOST_UP; }

/* Whether that holds of the sum of gradients, the largest of them given, or it may lack what cancels. */
INLINE M far_sums(V sum, V most) {
    const V top = set1((S)MOST_UP), size = abs_(sum);
    return (M)(lt_(top, most) | lt_(top, size) | lt_(size, most * set1(C_(0x1p-20f, 0x1p-40))));
}

INLINE double row_grad(const lg_rows_job *j, ptrdiff_t row) {
    return j->row_grad.at ? load_double(at_row(&j->row_grad, row, j->inner), j->row_grad.storage) : 1;
}
/* scale / over times the row's weight, its gradient and, unless that is NULL, `more`, for rows [row, row + n), and which of
 * them leave the usual range: whether any does. */
INLINE int row_factors(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t n, const double *more, double *up, int *is_far) {
    const double scale = j->scale / j->over, size = fabs(scale);
    const int extreme = !(size >= LEAST_UP && size <= MOST_UP) && scale == scale && j->scale != 0;
    int any = extreme;
    for (ptrdiff_t k = 0; k < n; k++) up[k] = scale;
    for (ptrdiff_t k = 0; k < n; k++) is_far[k] = extreme;
    if (!j->sample_weight && !j->row_grad.at && !more) return any;
    for (ptrdiff_t k = 0; j->sample_weight && k < n; k++) up[k] *= j->sample_weight[row + k];
    for (ptrdiff_t k = 0; j->row_grad.at && k < n; k++) up[k] *= row_grad(j, row + k);
    for (ptrdiff_t k = 0; more && k < n; k++) up[k] = part_of(up[k], more[k]);
    for (ptrdiff_t k = 0; k < n; k++) any |= is_far[k] |= leaves(up[k]) | (fabs(up[k]) < LEAST_UP);
    for (ptrdiff_t k = 0; any && k < n; k++)
        if (is_far[k] && up[k] == 0) is_far[k] = j->scale != 0 && row_grad(j, row + k) != 0;
    return any;
}
/* What a row's gradient has besides them: what multiplies it, what is added to the mass of its targets, and the slopes of
 * capped logits, or NULL. */
typedef struct {
    double bend, tilt;
    const S *slopes;
} besides;
#define NOTHING_BESIDES ((besides){.bend = 1})

/* The same as one number; over nothing it is NaN. */
static far far_factor(const lg_rows_job *j, ptrdiff_t row) {
    const far over = LG_NAME(far_of)(j->over, 0);
    far up = LG_NAME(far_of)(j->scale, 0);
    if (j->sample_weight) up = far_times(up, LG_NAME(far_of)(j->sample_weight[row], 0));
    up = far_times(up, LG_NAME(far_of)(row_grad(j, row), 0));
    return over.m == 0 ? (far){NAN, 0} : far_over(up, over);
}

/* ---- rows ---- */

/* An entry is p_c (a_c - sum p a) for softmax, a_c - p_c sum a otherwise: a is the gradient that comes in, or minus
 * the target distribution. One class, the label or else that of the largest logit, has a_c times the sum of the other
 * probabilities, less p_c times that of the other a. Infinite a are left out of the sums and counted; where p is 0 nothing comes of them. */
typedef struct {
    const lg_rows_job *j;
    ptrdiff_t row, label;        /* -1: none */
    ptrdiff_t apart;             /* the class that is left out of rest and others */
    double max;                  /* the largest logit; or the log-sum-exp, if it is known */
    int known;                   /* then total is 1 */
    far total, rest;             /* of exp(x - max), and that without the class apart */
    far sum, others;             /* sum p a, or sum a, and that without the class apart */
    ptrdiff_t live, plus, minus; /* how many terms are not 0, and how many a infinite */
    int nan;
} far_row;

INLINE double far_read(const far_row *w, const lg_view *view, ptrdiff_t c) {
    return load_double(at_row(view, w->row, w->j->inner) + c * view->stride[1], view->storage);
}
/* exp(x - max), times what multiplies it if anything does */
static far far_term(const far_row *w, ptrdiff_t c) {
    const far b = w->j->factor.at ? LG_NAME(far_of)(far_read(w, &w->j->factor, c), 0) : (far){1, 0};
    const double x = far_read(w, &w->j->x, c);
    if (b.m == 0) return (far){0, 0};
    if (x == w->max) return b;
    if (x == -INFINITY || w->max == INFINITY) return (far){0, 0};
    const double gap = x - w->max, t = gap - x; /* Knuth's two-sum */
    return far_times(b, LG_NAME(far_exp)(gap, (x - (gap - t)) - (w->max + t)));
}
static double class_weight(const lg_rows_job *j, ptrdiff_t c) {
    const S *weight = j->weight;
    return weight ? (double)weight[c] : 1;
}
INLINE double smoothing_of(const lg_rows_job *j) { return j->what == LG_CROSS_ENTROPY ? j->param : 0; }
static far far_incoming(const far_row *w, ptrdiff_t c) {
    const lg_rows_job *j = w->j;
    if (j->grad.at) return LG_NAME(far_of)(far_read(w, &j->grad, c), 0);
    double t = j->soft.at ? far_read(w, &j->soft, c) : c == w->label;
    const double smoothing = smoothing_of(j);
    t = (1 - smoothing) * t + (smoothing != 0 ? smoothing / (double)j->classes : 0);
    if (w->label >= 0 && t == 0) return (far){0, 0}; /* the weight of another class is not read */
    return far_share(LG_NAME(far_of)(-t, 0), LG_NAME(far_of)(class_weight(j, c), 0));
}

/* The sums over a row; those of a that come in alone are exact. */
static void far_measure(far_row *w, double tilt) {
    const int is_softmax = w->j->what == LG_SOFTMAX_BACKWARD, is_exact = w->j->what == LG_LOG_SOFTMAX_BACKWARD;
    far_sum rest = FAR_NOTHING, sum = FAR_NOTHING;
    far own = {0, 0};
    lg_sum exact;
    lg_sum_clear(&exact);
    w->apart = w->label;
    for (ptrdiff_t c = 0; c < w->j->classes; c++) {
        const far u = far_term(w, c);
        if (w->apart < 0 && far_read(w, &w->j->x, c) == w->max) w->apart = c;
        far a = w->j->what == LG_LOGSUMEXP_BACKWARD ? (far){0, 0} : far_incoming(w, c);
        if (c && c % PIECE == 0 && lg_stopped()) break;
        w->live += u.m != 0;
        w->nan |= a.m != a.m;
        if (isinf(a.m)) {
            if (!is_softmax || u.m != 0) *(a.m > 0 ? &w->plus : &w->minus) += 1;
            a.m = 0;
        }
        if (is_exact && c != w->apart) lg_sum_add(&exact, LG_NAME(far_value)(a));
        if (c == w->apart) own = is_softmax ? far_times(u, a) : a;
        else far_add(&sum, is_softmax ? far_times(u, a) : a);
        if (c != w->apart) far_add(&rest, u);
    }
    w->rest = far_total(rest);
    w->total = w->rest;
    if (w->apart >= 0) w->total = far_difference(w->rest, far_minus(far_term(w, w->apart)));
    if (w->known) w->total = (far){1, 0};
    int exponent;
    const double m = lg_sum_scaled(&exact, &exponent);
    w->others = is_exact ? LG_NAME(far_of)(m, exponent) : far_total(sum);
    if (is_exact) lg_sum_add(&exact, LG_NAME(far_value)(own));
    const double all = lg_sum_scaled(&exact, &exponent);
    w->sum = is_exact ? LG_NAME(far_of)(all, exponent) : far_difference(w->others, far_minus(own));
    if (is_softmax) w->sum = far_over(w->sum, w->total);
    if (tilt == 0) return;
    w->sum = far_difference(w->sum, LG_NAME(far_of)(tilt, 0));
    w->others = far_difference(w->others, LG_NAME(far_of)(tilt, 0));
}

/* Before it is multiplied: what is infinite decides, as far as it counts. */
static far far_slope(const far_row *w, ptrdiff_t c, int is_softmax) {
    const far p = far_over(far_term(w, c), w->total);
    far a = far_incoming(w, c);
    if (w->nan) return (far){NAN, 0};
    if (is_softmax && p.m == 0) return (far){0, 0};
    const int plus = a.m == INFINITY, minus = a.m == -INFINITY, has_others = w->live > (p.m != 0);
    const int up = (plus && has_others) || (p.m != 0 && w->minus > minus);
    const int down = (minus && has_others) || (p.m != 0 && w->plus > plus);
    if (up || down) return (far){up && down ? NAN : up ? INFINITY : -INFINITY, 0};
    if (plus || minus) a.m = 0;
    if (is_softmax) return far_times(p, far_difference(a, w->sum));
    if (c == w->apart) return far_difference(far_times(a, far_over(w->rest, w->total)), far_share(p, w->others));
    return far_difference(a, far_share(p, w->sum));
}

/* The entry of a Hessian's diagonal beside the slope of a class, from what all others have; `others` is that of the class
 * of the largest logit, top. Of capped logits both by the capped ones. */
static far far_curvature(const far_row *w, ptrdiff_t c, ptrdiff_t top, far others, far slope, besides b) {
    const far one = {1, 0}, p = far_over(far_term(w, c), w->total);
    const far rest = c == top ? far_over(others, w->total) : far_difference(one, p),
              z = LG_NAME(far_of)(-2 * w->j->z, 0);
    far mass = far_minus(w->sum);
    if (w->plus || w->minus) mass = (far){w->plus && w->minus ? NAN : w->minus ? INFINITY : -INFINITY, 0};
    const far bent = far_difference(far_share(far_times(p, rest), mass), far_share(far_times(p, p), z));
    if (w->nan) return (far){NAN, 0};
    if (!b.slopes) return bent;
    const double cap = w->j->cap, x = far_read(w, &w->j->x, c), t = (x < -cap ? -cap : x) / cap;
    const far s = LG_NAME(far_of)((double)b.slopes[c], 0), twice = LG_NAME(far_of)(2 * t / cap, 0);
    return far_difference(far_share(bent, far_times(s, s)), far_share(far_times(s, twice), slope));
}

/* The gradient of a row to out and, unless that is none, the diagonal of its Hessian to hess; either may be what it is
 * read from. max and known as in lg_row. */
static NOINLINE void far_gradient(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t label, double max, int known,
                                  besides b, lg_run out, lg_run hess) {
    far_row w = {.j = j, .row = row, .label = label, .max = max, .known = known};
    const far up = far_share(far_factor(j, row), LG_NAME(far_of)(b.bend, 0));
    far_sum others = FAR_NOTHING;
    ptrdiff_t top = -1;
    far_measure(&w, b.tilt);
    for (ptrdiff_t c = 0; hess.at && c < j->classes; c++)
        if (top < 0 && far_read(&w, &j->x, c) == max) top = c;
        else far_add(&others, far_term(&w, c));
    for (ptrdiff_t c = 0; c < j->classes; c++) {
        far slope = j->what == LG_LOGSUMEXP_BACKWARD ? far_over(far_term(&w, c), w.total)
                                                     : far_slope(&w, c, j->what == LG_SOFTMAX_BACKWARD);
        if (c && c % PIECE == 0 && lg_stopped()) break;
        const far bent = hess.at ? far_curvature(&w, c, top, far_total(others), slope, b) : (far){0, 0};
        if (b.slopes) slope = far_share(slope, LG_NAME(far_of)((double)b.slopes[c], 0));
        set_element(out, c, (S)LG_NAME(far_value)(far_share(slope, up)));
        if (hess.at) set_element(hess, c, (S)LG_NAME(far_value)(far_share(bent, up)));
    }
}

/* log-sum-exp - max: where that is small the sum of the terms beside the largest, none of which is dropped here */
static far far_log_rest(const far_row *w, double log_rest) {
    if (!(log_rest < 0x1p-60)) return LG_NAME(far_of)(log_rest, 0);
    far_sum rest = FAR_NOTHING;
    for (ptrdiff_t c = 0; c < w->j->classes; c++)
        if (far_read(w, &w->j->x, c) != w->max) far_add(&rest, far_term(w, c));
    return far_total(rest);
}
/* sum_c q_c (log-sum-exp - x_c) */
static NOINLINE double far_loss(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t label, double max, double log_rest) {
    const far_row w = {.j = j, .row = row, .label = label, .max = max};
    const far least = far_log_rest(&w, log_rest);
    far_sum sum = FAR_NOTHING;
    for (ptrdiff_t c = 0; c < j->classes; c++) {
        const double x = far_read(&w, &j->x, c);
        far_sum gap = FAR_NOTHING;
        far_add(&gap, least);
        if (x != max) far_add(&gap, LG_NAME(far_of)(-x, 0));
        if (x != max) far_add(&gap, LG_NAME(far_of)(max, 0));
        far_add(&sum, far_share(far_minus(far_incoming(&w, c)), far_total(gap)));
    }
    return LG_NAME(far_value)(far_total(sum));
}
