/* The softmax family: rows of logits, read from memory once.
 *
 * First pass: the sum of exp(x) = p 2^n in units of exp(shift) 2^N, N fixed by the maximum of the row's
 * first elements (with a BIAS that keeps 2^-190 of it a normal number); only a row whose maximum turns
 * out to exceed that by SLACK is summed again, now from its own maximum. Because the exponents are
 * subtracted and not the logits, the error does not grow with the gap between them; shift is 0, or for
 * a maximum beyond FAR that maximum, whose differences are exact where they count.
 * The largest term is counted, not summed (count, rest), so that log-sum-exp - max =
 * log1p(count - 1 + rest / exp(max)) is accurate when one class takes all: each lane holds back its
 * largest term so far, and adds what a larger one displaces.
 * The terms may be kept (in scratch, warm in L1 or L2) and the second pass scales them.
 *
 * Order of the sum, on every level: element i belongs to lane i mod LANES; 8 of a lane are added as a
 * tree, trees in W, lanes by fold_. Zeros change nothing, so neither does trailing -inf padding. */

#define GROUP 8                         /* vectors to a tree */
#define TOGETHER (VBYTES >= 32 ? 4 : 1) /* whose terms are computed side by side: as registers allow */
#define FIRST (8 * LANES)               /* elements that fix the unit */
#define ROW_BLOCK (64 * LANES)          /* 4 KiB */
#define AHEAD (32 * LANES)              /* prefetched to the first level of the cache while terms are computed */
#define FURTHER (256 * LANES)           /* and to the second, 16 KiB: what memory takes to answer is long */
#define BIAS C_(64, 512)
#define SLACK C_(30.0f, 300.0f)
#define FAR C_(256.0f, 2048.0f)
#define LEAST C_(-125.0f, -1021.0f) /* exponents below it are taken as 0 */

typedef struct {
    V magic;    /* MAGIC - N, where the sums' unit is exp(shift) 2^N, shift already taken off the logits */
    S exponent; /* N */
} unit;

INLINE S largest_of(lg_run x, ptrdiff_t n) {
    const S none = -(S)INFINITY;
    V m[4];
    ptrdiff_t i = 0;
    for (int k = 0; k < 4; k++) m[k] = set1(none);
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int k = 0; k < 4; k++) m[k] = max_(get(x.at, i + k * VL, VL, x.storage), m[k]);
    for (; i + VL <= n; i += VL) m[0] = max_(get(x.at, i, VL, x.storage), m[0]);
    if (i < n) m[0] = max_(get_or(x.at, i, n - i, x.storage, none), m[0]);
    return fold_max(max_(max_(m[0], m[1]), max_(m[2], m[3])));
}
static S row_max(const S *x, ptrdiff_t n) { return largest_of(run_of(x), n); }

/* e = exp(x) in the unit, for `many` vectors side by side, so that their chains overlap. n - N stands in
 * the low bits of t, from where it is added to the exponent; NaN does not survive that, so t is added
 * to *seen, which is NaN if any was. */
INLINE void terms_of(const V *x, V *e, int many, const unit *u, V *seen) {
    V t[GROUP], r[GROUP];
#define EACH for (int g = 0; g < many; g++)
    EACH t[g] = fma_(x[g], set1(LOG2E), u->magic);
    EACH r[g] = t[g] - u->magic;
    EACH *seen = *seen + t[g];
    EACH e[g] = fnma_(r[g], set1(LN2_HI), x[g]);
    EACH r[g] = fnma_(r[g], set1(LN2_LO), e[g]);
    exp_tails(r, e, many);
    EACH e[g] = fma_(e[g], r[g], set1(1));
    EACH e[g] = fma_(e[g], r[g], set1(1));
    EACH e[g] = scale_normal_(e[g], t[g], nlt_(t[g], set1(MAGIC + LEAST)));
#undef EACH
}
INLINE double one_term(S x, const unit *u) {
    V seen = set1(0), v = set1(x), e;
    terms_of(&v, &e, 1, u, &seen);
    return (double)first_(e);
}

INLINE V tree(const V *t) { return ((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7])); }

/* A row's sum under way: by lane, the largest logit, the largest term, and the sum of the others. */
typedef struct {
    V max[VPER], top[VPER], seen;
    W sum[VPER];
} running;
INLINE running nothing(void) {
    running a;
    a.seen = set1(0);
    for (int h = 0; h < VPER; h++) {
        a.max[h] = set1(-(S)INFINITY);
        a.top[h] = set1(0);
        a.sum[h] = w_zero();
    }
    return a;
}
/* What a term adds to the sum: itself, or the lane's largest so far if it exceeds that. */
INLINE V displaced(running *a, int h, V e) {
    V low = min_(a->top[h], e);
    a->top[h] = max_(a->top[h], e);
    return low;
}

/* What else a row says of its label (statistics.h), found while its terms are in registers. By lane, with
 * M its largest logit so far, which a first look at each block of FIGURES finds: */
#define FIGURES (4 * GROUP * LANES)
#define FLOOR C_(-0x1p100f, -0x1p1000) /* in place of -inf: times a term of 0 it is 0 */
typedef struct {
    W gaps[VPER];    /* sums of e (M - x) */
    W squares[VPER]; /* sums of e^2 over all but the largest term */
    V leader[VPER];  /* the number of the group in which M occurs first, as bits */
    V bar[2];        /* what logits need to come before the label's: in groups ahead of its own, and from turn on */
    ptrdiff_t turn, at;
    N before; /* logits that do */
} figures;

INLINE void see_group(figures *f, const V *x, ptrdiff_t at, V *max, V *leader) {
    V top = max_(max_(max_(x[0], x[1]), max_(x[2], x[3])), max_(max_(x[4], x[5]), max_(x[6], x[7])));
    const V bar = f->bar[at >= f->turn];
    if (count_(nlt_(top, bar))) UNROLL(8)
    for (int g = 0; g < GROUP; g++) f->before = n_add(f->before, nlt_(x[g], bar));
    *leader = select_(lt_(*max, top), from_bits(iset1((SI)(at / (GROUP * LANES)))), *leader);
    *max = max_(top, *max);
}
/* The first look at a block; its maxima are what all sums of gaps are relative to from here on. */
INLINE void see_block(figures *f, const S *x, ptrdiff_t n, running *a) {
    const S none = -(S)INFINITY;
    for (int h = 0; h < VPER; h++) {
        V max = a->max[h];
        for (ptrdiff_t i = h * VL; i < n; i += GROUP * LANES) {
            V v[GROUP];
            if (n - i >= (GROUP - 1) * LANES + VL) UNROLL(8)
            for (int g = 0; g < GROUP; g++) v[g] = ld(x + i + g * LANES);
            else for (int g = 0; g < GROUP; g++) {
                const ptrdiff_t k = n - i - g * LANES;
                v[g] = k >= VL ? ld(x + i + g * LANES) : k > 0 ? ld_n(x + i + g * LANES, k, none) : set1(none);
            }
            see_group(f, v, f->at + i, &max, &f->leader[h]);
        }
        f->gaps[h] = w_add(f->gaps[h], (max - a->max[h]) * (w_narrow(a->sum[h]) + a->top[h]));
        a->max[h] = max;
    }
    f->at += n;
}
/* Of a lane: chains over GROUP terms, then over the groups of a block. */
typedef struct {
    V gap, square;
} chain;
INLINE void see_term(V max, V x, V e, V low, chain *c) {
    c->gap = fma_(e, max - x, c->gap);
    c->square = fma_(low, low, c->square);
}
INLINE void see_chain(chain *block, chain group) {
    block->gap = block->gap + group.gap;
    block->square = block->square + group.square;
}

/* A block of a row, and what becomes of it: its terms are kept if `keep`; meanwhile what is read next is fetched, if
 * x is in place and no copy, and what the second pass takes besides the terms, unless `next` is NULL. */
typedef struct {
    lg_run x;
    ptrdiff_t n;
    S *keep;
    char *next; /* stored as x is */
    ptrdiff_t ahead;
    int in_place, seen; /* whether there are figures */
} block;

INLINE void fetch_next(const block *b, ptrdiff_t at) {
    if (b->in_place) prefetch_(place(b->x, at + b->ahead));
    if (b->in_place) prefetch_later(place(b->x, at + FURTHER));
    if (b->next) prefetch_later(place((lg_run){b->next, b->x.storage}, at));
}
/* What a term adds to the sum; it goes into the maximum, or else into the figures' chain. */
INLINE V take_term(const block *b, running *a, int h, V x, V e, chain *c) {
    const V low = displaced(a, h, e);
    if (b->seen) see_term(a->max[h], x, e, low, c);
    else a->max[h] = max_(x, a->max[h]);
    return low;
}

/* A whole group of one lane in h. */
INLINE void sum_group(const block *b, ptrdiff_t i, int h, const unit *u, running *a, chain *all) {
    V t[GROUP];
    chain c = {set1(0), set1(0)};
    UNROLL(8) /* t stays in registers */
    for (int g = 0; g < GROUP; g += TOGETHER) {
        V v[TOGETHER], e[TOGETHER];
        for (int k = 0; k < TOGETHER; k++) {
            const ptrdiff_t at = i + (g + k) * LANES + h * VL;
            if (h == 0) fetch_next(b, at);
            v[k] = get(b->x.at, at, VL, b->x.storage);
        }
        terms_of(v, e, TOGETHER, u, &a->seen);
        for (int k = 0; k < TOGETHER; k++) {
            if (b->keep) st(b->keep + i + (g + k) * LANES + h * VL, e[k]);
            t[g + k] = take_term(b, a, h, v[k], e[k], &c);
        }
    }
    a->sum[h] = w_add(a->sum[h], tree(t));
    if (b->seen) see_chain(all, c);
}
/* The same of a last one that is not whole. */
INLINE void sum_part(const block *b, ptrdiff_t i, int h, const unit *u, running *a, chain *all) {
    V t[GROUP];
    chain c = {set1(0), set1(0)};
    int used = 0;
    for (ptrdiff_t at = i + h * VL; at < b->n; at += LANES, used++) {
        const ptrdiff_t k = b->n - at < VL ? b->n - at : VL;
        if (h == 0) fetch_next(b, at);
        V v = get_or(b->x.at, at, k, b->x.storage, b->seen ? FLOOR : -(S)INFINITY), e;
        terms_of(&v, &e, 1, u, &a->seen);
        if (b->keep && k == VL) st(b->keep + at, e);
        else if (b->keep) st_n(b->keep + at, e, k);
        t[used] = take_term(b, a, h, v, e, &c);
    }
    if (used == 0) return;
    if (b->seen) see_chain(all, c);
    if (used == 1) a->sum[h] = w_add(a->sum[h], t[0]);
    else {
        for (; used < GROUP; used++) t[used] = set1(0);
        a->sum[h] = w_add(a->sum[h], tree(t));
    }
}

/* Adds a block's terms, and its figures if f. */
INLINE void sum_terms(lg_run x, int in_place, ptrdiff_t n, const unit *u, S *keep, char *next, running *a, figures *f) {
    /* the first look at a block of figures finds it in the cache */
    const block b = {x, n, keep, next, f ? ROW_BLOCK : AHEAD, in_place, f != NULL};
    chain c[VPER];
    for (int h = 0; f && h < VPER; h++) c[h] = (chain){set1(0), set1(0)};
    if (f) see_block(f, (const S *)x.at, n, a);
    ptrdiff_t i = 0;
    for (; i + GROUP * LANES <= n; i += GROUP * LANES)
        for (int h = 0; h < VPER; h++) sum_group(&b, i, h, u, a, &c[h]);
    for (int h = 0; i < n && h < VPER; h++) sum_part(&b, i, h, u, a, &c[h]);
    for (int h = 0; f && h < VPER; h++) {
        f->gaps[h] = w_add(f->gaps[h], c[h].gap);
        f->squares[h] = w_add(f->squares[h], c[h].square);
    }
}

/* The sum of all terms but the largest, which is counted. */
INLINE wide others(running *a, double *count, double *largest_term) {
    V top = a->top[0];
    for (int h = 1; h < VPER; h++) top = max_(top, a->top[h]);
    top = set1(fold_max(top));
    *largest_term = (double)first_(top);
    int lanes = 0;
    for (int h = 0; h < VPER; h++) {
        M live = ne_(a->top[h], top);
        lanes += VL - count_(live);
        a->sum[h] = w_add(a->sum[h], keep_(live, a->top[h]));
    }
    *count = lanes;
    a->sum[0] = w_add(a->sum[0], select_(eq_(a->seen, a->seen), set1(0), a->seen));
    return fold_(a->sum);
}
INLINE S largest(const running *a) {
    V max = a->max[0];
    for (int h = 1; h < VPER; h++) max = max_(a->max[h], max);
    return fold_max(max);
}

INLINE S shift_of(S reference) { return reference > FAR || reference < -FAR ? reference : 0; }
INLINE unit unit_of(S reference, S bias) {
    V n;
    exp_reduce(set1(reference), &n);
    n = n - set1(bias);
    return (unit){.magic = set1(MAGIC) - n, .exponent = first_(n)};
}

/* The total and the logarithms, for rows of either dtype. */
#if LG_DOUBLE
INLINE void finish_rows(lg_batch *b, ptrdiff_t n, int single) {
    const V zero = set1(0), infinity = set1((S)INFINITY);
    for (ptrdiff_t i = 0; i < n; i += VL) { /* past n, in what the arrays have in excess */
        const V unit = ld(b->unit + i), count = ld(b->count + i), rest = ld(b->rest + i), max = ld(b->max + i);
        const V others = (count - set1(1)) + rest / unit, target = ld(b->target + i);
        const V log_rest = single ? log1p_single(others) : round_(log1p_pair(others));
        st(b->total + i, fma_(count, unit, rest));
        st(b->log_rest + i, log_rest);
        st(b->lse + i, select_(eq_(abs_(max), infinity), max, max + log_rest));
        st(b->loss + i, select_(eq_(target, max), zero, max - target) + log_rest);
    }
}
void LG_NAME(finish_f32)(lg_batch *b, ptrdiff_t n) { finish_rows(b, n, 1); }
void LG_NAME(finish_f64)(lg_batch *b, ptrdiff_t n) { finish_rows(b, n, 0); }
/* The label's entry is minus the sum of the other probabilities. */
void LG_NAME(label_shares)(lg_batch *b, ptrdiff_t n) {
    const V zero = set1(0), one = set1(1);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V total = ld(b->total + i), up = ld(b->up + i), slope = up / total;
        V others = fma_(ld(b->count + i) - one, ld(b->unit + i), ld(b->rest + i));
        others = select_(eq_(ld(b->target + i), ld(b->max + i)), others, total - ld(b->own + i));
        others = select_(eq_(ld(b->known + i), zero), others, ld(b->others + i));
        st(b->slope + i, slope);
        st(b->entry + i, -select_(lt_(one, abs_(up)), others * slope, others / total * up));
    }
}
/* 1 - p = -expm1(-loss) of the label's probability p, and its logarithm; 0 and -inf where nothing is left of it. Below -40
 * the pair's lower half is all of exp(-loss). */
INLINE pair missing_(V loss) {
    const pair e = expm1_pair(exact_(-min_(set1(700), loss)), 1);
    return (pair){-e.h, -e.l};
}
INLINE pair log_missing(pair q) {
    pair l = log_pair(q.h);
    l.l = l.l + drop_(eq_(q.h, set1(0)), q.l / q.h);
    return l;
}
/* (1 - p)^g times the loss, as exp(g log(1 - p)); its derivative by log p is -(1 - p)^g (1 + g p loss / (1 - p)), where
 * that quotient is 1 at p = 1. The loss's relative error comes in g + 1 times. */
void LG_NAME(focal)(lg_batch *b, ptrdiff_t n, double gamma) {
    const V zero = set1(0), one = set1(1), least = set1(0x1p-1074), g = set1(gamma);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V loss = ld(b->loss + i);
        const pair q = missing_(loss), l = times_(log_missing(q), g);
        const M dead = lt_(l.h, set1(DEAD));
        V k, kept = round_(exp_pair((pair){max_(set1(DEAD), l.h), drop_(dead, l.l)}, 0, &k));
        kept = gamma == 0 ? one : scale_(kept, k);
        const V p = (one - q.h) - q.l, ratio = min_(set1(700), loss) / q.h;
        const M none = eq_(q.h, zero); /* what is only beyond the range is no 0, which infinite weights would tell */
        const V bend = fma_(g * p, select_(none, one, ratio), one) * kept;
        st(b->bend + i, select_(none, bend, max_(least, bend)));
        st(b->loss + i, select_(none, kept * loss, max_(least, kept * loss)));
    }
}
/* The loss + e (1 - p), whose derivative by log p is -(1 + e p), or -((1 + e) - e (1 - p)) where p is close to 1. */
void LG_NAME(poly)(lg_batch *b, ptrdiff_t n, double epsilon) {
    const V one = set1(1), e = set1(epsilon);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const V loss = ld(b->loss + i);
        const pair q = missing_(loss);
        const M most = lt_(q.h, set1(0.5));
        st(b->bend + i, select_(most, fnma_(e, q.h, set1(1 + epsilon)), fma_(e, (one - q.h) - q.l, one)));
        st(b->loss + i, fma_(e, q.h, loss));
    }
}
double LG_NAME(exp_of)(double x, double exponent) { /* over 2^exponent */
    V n, p = round_(exp_pair(exact_(set1(x)), 1, &n));
    return first_(p * pow2_(n - set1(exponent)));
}
double LG_NAME(log_of)(double x) { return first_(round_(log_pair(set1(x)))); }
double LG_NAME(log1p_of)(double x) { return first_(round_(log1p_pair(set1(x)))); }
#else
void LG_NAME(finish_f32)(lg_batch *b, ptrdiff_t n);
void LG_NAME(label_shares)(lg_batch *b, ptrdiff_t n);
void LG_NAME(focal)(lg_batch *b, ptrdiff_t n, double gamma);
void LG_NAME(poly)(lg_batch *b, ptrdiff_t n, double epsilon);
double LG_NAME(exp_of)(double x, double exponent);
double LG_NAME(log_of)(double x);
double LG_NAME(log1p_of)(double x);
#endif
INLINE void finish_sums(lg_batch *b, ptrdiff_t n) { C_(LG_NAME(finish_f32), LG_NAME(finish_f64))(b, n); }

/* A row whose maximum is not finite, as one whose limit is one-hot: exp(max) = 1 and rest = 0 if one
 * element alone is +inf; all -inf, NaN, or +inf twice make rest, and so everything but max, NaN. */
INLINE lg_row special_row(lg_run x, ptrdiff_t n, S *keep) {
    S max = largest_of(x, n), rest = max == (S)INFINITY ? 0 : (S)NAN;
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const S v = element(x, i);
        count += v == (S)INFINITY;
        if (v != v || count > 1) {
            rest = (S)NAN;
            if (v != v) max = (S)NAN;
        }
    }
    for (ptrdiff_t i = 0; keep && i < n; i++) keep[i] = (S)(element(x, i) == max) + rest;
    return (lg_row){.max = (double)max, .unit = 1, .count = 1, .rest = (double)rest};
}

/* The row, unless the maximum turns out to exceed by too much what the unit was chosen for. */
INLINE int sums_up(running *a, S max, S reference, lg_row *row) {
    *row = (lg_row){.max = (double)max};
    if (!(max <= reference + SLACK)) return 0;
    const wide rest = others(a, &row->count, &row->unit);
    row->rest = rest.s + rest.e;
    return 1;
}

/* First pass. */
INLINE lg_row sum_row(lg_run x, int in_place, ptrdiff_t n, S *keep, char *next) {
    S reference = largest_of(x, n < FIRST ? n : FIRST);
    if (!isfinite(reference)) reference = largest_of(x, n);
    for (;;) {
        if (!isfinite(reference)) return special_row(x, n, keep);
        const S shift = shift_of(reference);
        const unit u = unit_of(reference - shift, BIAS);
        running a = nothing();
        if (shift == 0 && n <= PIECE) sum_terms(x, in_place, n, &u, keep, next, &a, NULL);
        else
            for (ptrdiff_t i = 0; i < n; i += ROW_BLOCK) {
                S buffer[ROW_BLOCK];
                const ptrdiff_t k = n - i < ROW_BLOCK ? n - i : ROW_BLOCK;
                const lg_run there = from(x, i);
                char *rest = next ? next + (there.at - x.at) : NULL;
                if (i && i % PIECE == 0 && lg_stopped()) break;
                for (ptrdiff_t c = 0; shift != 0 && c < k; c += VL)
                    st_k(buffer + c, get(there.at, c, k - c < VL ? k - c : VL, x.storage) - set1(shift),
                         k - c < VL ? k - c : VL);
                if (shift != 0) sum_terms(run_of(buffer), 0, k, &u, keep ? keep + i : NULL, rest, &a, NULL);
                else sum_terms(there, in_place, k, &u, keep ? keep + i : NULL, rest, &a, NULL);
            }
        lg_row row;
        const S max = largest(&a) + shift;
        if (sums_up(&a, max, reference, &row) || (n > PIECE && lg_stopped())) return row;
        /* the largest logit itself, near which max is after a shift: that difference was rounded */
        reference = shift == 0 && isfinite(max) ? max : largest_of(x, n);
    }
}

INLINE void put_row(lg_batch *b, ptrdiff_t k, lg_row row) {
    b->max[k] = row.max;
    b->unit[k] = row.unit;
    b->count[k] = row.count;
    b->rest[k] = row.rest;
    b->others[k] = row.others;
    b->known[k] = row.known;
}
INLINE lg_row get_row(const lg_batch *b, ptrdiff_t k) {
    return (lg_row){.max = b->max[k],
                    .target = b->target[k],
                    .unit = b->unit[k],
                    .count = b->count[k],
                    .rest = b->rest[k],
                    .known = b->known[k],
                    .others = b->others[k],
                    .total = b->total[k],
                    .log_rest = b->log_rest[k]};
}

/* First pass for rows that are read once but are no runs: some classes at a time go through a tile that stays in
 * the cache, FIRST of many rows that lie side by side or LONG of one; of many, what comes next is fetched. */
#define LONG (8 * FIRST)
static void sum_blocks(const lg_rows_job *j, ptrdiff_t row, ptrdiff_t many, S *keep, S *tile, lg_batch *b,
                       ptrdiff_t at) {
    const ptrdiff_t n = j->classes, most = many > 1 ? FIRST : LONG, block = n < most ? n : most, pitch = PITCH(block);
    const ptrdiff_t share = (block + many - 1) / many;
    running a[LG_ROWS];
    unit u[LG_ROWS];
    S reference[LG_ROWS];
    for (ptrdiff_t c = 0; c < n; c += block) {
        const ptrdiff_t k = n - c < block ? n - c : block;
        if (c && c % PIECE == 0 && lg_stopped()) break;
        gather(&j->x, j, row, many, c, k, tile, pitch);
        for (ptrdiff_t i = 0; i < many; i++) {
            const S *x = tile + i * pitch;
            if (c == 0) {
                reference[i] = row_max(x, k < FIRST ? k : FIRST);
                if (!(fabs((double)reference[i]) <= (double)FAR)) reference[i] = (S)NAN;
                u[i] = unit_of(reference[i], BIAS);
                a[i] = nothing();
            }
            if (many > 1) prefetch_classes(&j->x, j, row, many, c + block + i * share, share);
            sum_terms(run_of(x), 0, k, &u[i], keep ? keep + i * PITCH(n) + c : NULL, NULL, &a[i], NULL);
        }
    }
    for (ptrdiff_t i = 0; i < many; i++) {
        lg_row sums;
        if (!sums_up(&a[i], largest(&a[i]), reference[i], &sums) && !lg_stopped()) {
            gather(&j->x, j, row + i, 1, 0, n, tile, PITCH(n));
            sums = sum_row(run_of(tile), 0, n, keep ? keep + i * PITCH(n) : NULL, NULL);
        }
        put_row(b, at + i, sums);
    }
}

/* First pass when the log-sum-exp is known: the terms, and the sum of all but the label's. */
INLINE lg_row known_row(const S *x, ptrdiff_t n, double lse, ptrdiff_t label, S *keep) {
    const S shift = shift_of((S)lse);
    const unit u = unit_of((S)lse - shift, BIAS);
    running a = nothing();
    for (ptrdiff_t i = 0; i < n; i += ROW_BLOCK) {
        if (i && i % PIECE == 0 && lg_stopped()) break;
        S buffer[ROW_BLOCK];
        const ptrdiff_t k = n - i < ROW_BLOCK ? n - i : ROW_BLOCK, own = label - i;
        const ptrdiff_t left = own < 0 || own >= k ? k : own;
        for (ptrdiff_t c = 0; c < k; c++) buffer[c] = x[i + c] - shift;
        sum_terms(run_of(buffer), 0, left, &u, keep + i, NULL, &a, NULL);
        if (left == k) continue;
        keep[label] = (S)one_term(buffer[own], &u);
        sum_terms(run_of(buffer + own + 1), 0, k - own - 1, &u, keep + label + 1, NULL, &a, NULL);
    }
    for (int h = 0; h < VPER; h++) a.sum[h] = w_add(a.sum[h], a.top[h]);
    const wide total = fold_(a.sum);
    return (lg_row){.max = lse,
                    .unit = LG_NAME(exp_of)(lse - (double)shift, (double)u.exponent),
                    .count = 1,
                    .known = 1,
                    .others = total.s + total.e};
}

/* The sum without one of its terms. */
INLINE double without(wide sum, double term) {
    double rest = sum.s - term, t = rest - sum.s;
    return rest + (((sum.s - (rest - t)) - (term + t)) + sum.e);
}
