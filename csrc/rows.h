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

#define GROUP 8                       /* vectors to a tree */
#define TOGETHER (AVX512 ? 4 : 1)     /* whose terms are computed side by side: as registers allow */
#define FIRST (8 * LANES)             /* elements that fix the unit */
#define ROW_BLOCK (64 * LANES)        /* 4 KiB */
#define AHEAD (32 * LANES)            /* prefetched while terms are computed */
#define BIAS C_(64, 512)
#define SLACK C_(30.0f, 300.0f)
#define FAR C_(256.0f, 2048.0f)
#define LEAST C_(-125.0f, -1021.0f)   /* exponents below it are taken as 0 */

typedef struct {
    V magic; /* MAGIC - N, where the sums' unit is exp(shift) 2^N, shift already taken off the logits */
    S exponent; /* N */
} unit;

static S row_max(const S *x, ptrdiff_t n) {
    const S none = -(S)INFINITY;
    V m[4];
    ptrdiff_t i = 0;
    for (int k = 0; k < 4; k++) m[k] = set1(none);
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int k = 0; k < 4; k++) m[k] = max_(ld(x + i + k * VL), m[k]);
    for (; i + VL <= n; i += VL) m[0] = max_(ld(x + i), m[0]);
    if (i < n) m[0] = max_(ld_n(x + i, n - i, none), m[0]);
    return fold_max(max_(max_(m[0], m[1]), max_(m[2], m[3])));
}

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
    N before;        /* logits that do */
} figures;

INLINE void see_group(figures *f, const V *x, ptrdiff_t at, V *max, V *leader) {
    V top = max_(max_(max_(x[0], x[1]), max_(x[2], x[3])), max_(max_(x[4], x[5]), max_(x[6], x[7])));
    const V bar = f->bar[at >= f->turn];
    if (count_(nlt_(top, bar)))
        UNROLL(8)
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
            if (n - i >= (GROUP - 1) * LANES + VL)
                UNROLL(8)
                for (int g = 0; g < GROUP; g++) v[g] = ld(x + i + g * LANES);
            else
                for (int g = 0; g < GROUP; g++) {
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
INLINE void see_term(V max, V x, V e, V low, V *gap, V *square) {
    *gap = fma_(e, max - x, *gap);
    *square = fma_(low, low, *square);
}

/* Adds a block's terms, and keeps them if `keep`. Meanwhile what is read next is fetched, and
 * where terms are kept what the second pass will write, unless `write` is NULL. */
INLINE void sum_terms(const S *x, ptrdiff_t n, const unit *u, S *keep, const S *write, running *a, figures *f) {
    const S none = f ? FLOOR : -(S)INFINITY;
    const ptrdiff_t ahead = f ? ROW_BLOCK : AHEAD; /* the first look at a block finds it in the cache */
    V gaps[VPER], squares[VPER]; /* chains of GROUP, then of the groups of a block */
    for (int h = 0; f && h < VPER; h++) gaps[h] = squares[h] = set1(0);
    if (f) see_block(f, x, n, a);
    ptrdiff_t i = 0;
    for (; i + GROUP * LANES <= n; i += GROUP * LANES)
        for (int h = 0; h < VPER; h++) {
            V t[GROUP], gap = set1(0), square = set1(0);
            UNROLL(8) /* t stays in registers */
            for (int g = 0; g < GROUP; g += TOGETHER) {
                V v[TOGETHER], e[TOGETHER];
                for (int k = 0; k < TOGETHER; k++) {
                    const ptrdiff_t at = i + (g + k) * LANES + h * VL;
                    if (h == 0) prefetch_(x + at + ahead);
                    if (h == 0 && keep && write) prefetch_(write + at);
                    v[k] = ld(x + at);
                }
                terms_of(v, e, TOGETHER, u, &a->seen);
                for (int k = 0; k < TOGETHER; k++) {
                    if (keep) st(keep + i + (g + k) * LANES + h * VL, e[k]);
                    t[g + k] = displaced(a, h, e[k]);
                    if (f) see_term(a->max[h], v[k], e[k], t[g + k], &gap, &square);
                    else a->max[h] = max_(v[k], a->max[h]);
                }
            }
            a->sum[h] = w_add(a->sum[h], tree(t));
            if (f) {
                gaps[h] = gaps[h] + gap;
                squares[h] = squares[h] + square;
            }
        }
    for (int h = 0; i < n && h < VPER; h++) {
        V t[GROUP], gap = set1(0), square = set1(0);
        int used = 0;
        for (ptrdiff_t at = i + h * VL; at < n; at += LANES, used++) {
            const ptrdiff_t k = n - at < VL ? n - at : VL;
            V v = k == VL ? ld(x + at) : ld_n(x + at, k, none), e;
            terms_of(&v, &e, 1, u, &a->seen);
            if (keep && k == VL) st(keep + at, e);
            else if (keep) st_n(keep + at, e, k);
            t[used] = displaced(a, h, e);
            if (f) see_term(a->max[h], v, e, t[used], &gap, &square);
            else a->max[h] = max_(v, a->max[h]);
        }
        if (used == 0) break;
        if (f) {
            gaps[h] = gaps[h] + gap;
            squares[h] = squares[h] + square;
        }
        if (used == 1) a->sum[h] = w_add(a->sum[h], t[0]);
        else {
            for (; used < GROUP; used++) t[used] = set1(0);
            a->sum[h] = w_add(a->sum[h], tree(t));
        }
    }
    for (int h = 0; f && h < VPER; h++) {
        f->gaps[h] = w_add(f->gaps[h], gaps[h]);
        f->squares[h] = w_add(f->squares[h], squares[h]);
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
void LG_NAME(finish)(lg_batch *b, ptrdiff_t n) {
    const V zero = set1(0), least = set1(-(S)INFINITY);
    for (ptrdiff_t i = 0; i < n; i += VL) { /* past n, in what the arrays have in excess */
        const V unit = ld(b->unit + i), count = ld(b->count + i), rest = ld(b->rest + i), max = ld(b->max + i);
        const V log_rest = round_(log1p_pair((count - set1(1)) + rest / unit)), target = ld(b->target + i);
        st(b->total + i, fma_(count, unit, rest));
        st(b->log_rest + i, log_rest);
        st(b->lse + i, select_(eq_(max, least), max, max + log_rest));
        st(b->loss + i, select_(eq_(target, max), zero, max - target) + log_rest);
    }
}
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
double LG_NAME(exp_of)(double x, double exponent) { /* over 2^exponent */
    V n, p = round_(exp_pair(exact_(set1(x)), 1, &n));
    return first_(p * pow2_(n - set1(exponent)));
}
double LG_NAME(log_of)(double x) { return first_(round_(log_pair(set1(x)))); }
#else
void LG_NAME(finish)(lg_batch *b, ptrdiff_t n);
void LG_NAME(label_shares)(lg_batch *b, ptrdiff_t n);
double LG_NAME(exp_of)(double x, double exponent);
double LG_NAME(log_of)(double x);
#endif

/* A row whose maximum is not finite, as one whose limit is one-hot: exp(max) = 1 and rest = 0 if one
 * element alone is +inf; all -inf, NaN, or +inf twice make rest, and so everything but max, NaN. */
static lg_row special_row(const S *x, ptrdiff_t n, S *keep) {
    S max = row_max(x, n), rest = max == (S)INFINITY ? 0 : (S)NAN;
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        count += x[i] == (S)INFINITY;
        if (x[i] != x[i] || count > 1) {
            rest = (S)NAN;
            if (x[i] != x[i]) max = (S)NAN;
        }
    }
    for (ptrdiff_t i = 0; keep && i < n; i++) keep[i] = (S)(x[i] == max) + rest;
    return (lg_row){.max = (double)max, .unit = 1, .count = 1, .rest = (double)rest};
}

/* The row, unless the maximum turns out to exceed by too much what the unit was chosen for. */
INLINE int sums_up(running *a, S max, S reference, lg_row *row) {
    if (!(max <= reference + SLACK)) return 0;
    *row = (lg_row){.max = (double)max};
    const wide rest = others(a, &row->count, &row->unit);
    row->rest = rest.s + rest.e;
    return 1;
}

/* First pass. */
INLINE lg_row sum_row(const S *x, ptrdiff_t n, S *keep, const S *write) {
    S reference = row_max(x, n < FIRST ? n : FIRST);
    if (!isfinite(reference)) reference = row_max(x, n);
    for (;;) {
        if (!isfinite(reference)) return special_row(x, n, keep);
        const S shift = shift_of(reference);
        const unit u = unit_of(reference - shift, BIAS);
        running a = nothing();
        if (shift == 0) sum_terms(x, n, &u, keep, write, &a, NULL);
        else
            for (ptrdiff_t i = 0; i < n; i += ROW_BLOCK) {
                S buffer[ROW_BLOCK];
                const ptrdiff_t k = n - i < ROW_BLOCK ? n - i : ROW_BLOCK;
                for (ptrdiff_t c = 0; c < k; c++) buffer[c] = x[i + c] - shift;
                sum_terms(buffer, k, &u, keep ? keep + i : NULL, write ? write + i : NULL, &a, NULL);
            }
        lg_row row;
        const S max = largest(&a) + shift;
        if (sums_up(&a, max, reference, &row)) return row;
        reference = max == max && isfinite(max) ? max : row_max(x, n);
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
    return (lg_row){.max = b->max[k], .target = b->target[k], .unit = b->unit[k], .count = b->count[k],
                    .rest = b->rest[k], .known = b->known[k], .others = b->others[k], .total = b->total[k],
                    .log_rest = b->log_rest[k]};
}

/* VL rows of few classes, each in a lane of its own: logits and terms of a class, the largest of either. */
typedef struct {
    V logit[2 * LANES], term[2 * LANES], max, top;
} abreast;
INLINE W fold_abreast(W *sum, int lanes) {
    for (int h = LANES / 2; h; h /= 2)
        for (int l = 0; l < h && l + h < lanes; l++) sum[l] = w_join(sum[l], sum[l + h]);
    return sum[0];
}

/* First pass for rows of at most 2 LANES classes, VL of them at a time: no vector is left half empty and no
 * row waits for another. The terms are those of sum_row, added in its order. */
static void sum_abreast(const S *const *x, ptrdiff_t n, S bias, S *keep, lg_batch *b, ptrdiff_t at, int many,
                        abreast *a) {
    V *column = a->logit, line[VL];
    column[0] = set1(0);
    for (ptrdiff_t c = 0; c < n; c += VL) {
        const ptrdiff_t k = n - c < VL ? n - c : VL;
        for (int r = 0; r < VL; r++) line[r] = k == VL ? ld(x[r] + c) : ld_n(x[r] + c, k, 0);
        transpose_(line);
        for (int r = 0; r < VL; r++) column[c + r] = line[r];
    }
    V max = column[0], magic, seen = set1(0), top = set1(0);
    for (ptrdiff_t c = 1; c < n; c++) max = max_(column[c], max);
    exp_reduce(max, &magic);
    const unit u = {.magic = set1(MAGIC + bias) - magic};
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) terms_of(a->logit + i, a->term + i, 4, &u, &seen);
    if (i + 2 <= n) {
        terms_of(a->logit + i, a->term + i, 2, &u, &seen);
        i += 2;
    }
    if (i < n) terms_of(a->logit + i, a->term + i, 1, &u, &seen);
    column = a->term;

    W sum[LANES];
    V best[LANES];
    const int lanes = n < LANES ? (int)n : LANES;
    for (int l = 0; l < lanes; l++) {
        V t[GROUP];
        best[l] = column[l];
        t[0] = set1(0);
        for (int g = 1; g < GROUP; g++) {
            if (l + g * LANES >= n) { t[g] = set1(0); continue; }
            const V e = column[l + g * LANES];
            t[g] = min_(best[l], e);
            best[l] = max_(best[l], e);
        }
        top = max_(best[l], top);
        sum[l] = n <= LANES ? w_zero() : w_of(tree(t));
    }
    V count = set1(0);
    for (int l = 0; l < lanes; l++) {
        const M live = ne_(best[l], top);
        count = count + drop_(live, set1(1));
        sum[l] = w_add(sum[l], keep_(live, best[l]));
    }
    a->max = max;
    a->top = top;
    widen_(max, b->max + at);
    widen_(top, b->unit + at);
    widen_(count, b->count + at);
    w_round(fold_abreast(sum, lanes), b->rest + at);
    for (int r = 0; r < VL; r++) b->known[at + r] = 0;
    for (ptrdiff_t c = 0; keep && c < n; c += VL) {
        for (int r = 0; r < VL; r++) line[r] = column[c + r];
        transpose_(line);
        for (int r = 0; r < many; r++) st(keep + r * PITCH(n) + c, line[r]);
    }
    const M usual = and_(nlt_(set1(FAR), abs_(max)), eq_(seen, seen));
    if (count_(usual) == VL) return;
    S good[VL];
    st(good, keep_(usual, set1(1)));
    for (int r = 0; r < many; r++)
        if (good[r] == 0) put_row(b, at + r, sum_row(x[r], n, keep ? keep + r * PITCH(n) : NULL, x[r]));
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
            sum_terms(x, k, &u[i], keep ? keep + i * PITCH(n) + c : NULL, NULL, &a[i], NULL);
        }
    }
    for (ptrdiff_t i = 0; i < many; i++) {
        lg_row sums;
        if (!sums_up(&a[i], largest(&a[i]), reference[i], &sums)) {
            gather(&j->x, j, row + i, 1, 0, n, tile, PITCH(n));
            sums = sum_row(tile, n, keep ? keep + i * PITCH(n) : NULL, tile);
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
        S buffer[ROW_BLOCK];
        const ptrdiff_t k = n - i < ROW_BLOCK ? n - i : ROW_BLOCK, own = label - i;
        const ptrdiff_t left = own < 0 || own >= k ? k : own;
        for (ptrdiff_t c = 0; c < k; c++) buffer[c] = x[i + c] - shift;
        sum_terms(buffer, left, &u, keep + i, buffer, &a, NULL);
        if (left == k) continue;
        keep[label] = (S)one_term(buffer[own], &u);
        sum_terms(buffer + own + 1, k - own - 1, &u, keep + label + 1, buffer, &a, NULL);
    }
    for (int h = 0; h < VPER; h++) a.sum[h] = w_add(a.sum[h], a.top[h]);
    const wide total = fold_(a.sum);
    return (lg_row){.max = lse, .unit = LG_NAME(exp_of)(lse - (double)shift, (double)u.exponent), .count = 1,
                    .known = 1, .others = total.s + total.e};
}

/* part / total * g, in the order in which nothing but the result can underflow. */
INLINE S share(double part, double total, double g) {
    return (S)(fabs(g) > 1 ? part * (g / total) : part / total * g);
}

/* q_c = w_c ((1 - smoothing) t_c + smoothing / C): the target distribution of a row, weighted. */
typedef struct { const S *target, *weight; S slope, level; } mixture;
INLINE V mixture_at(const mixture *q, ptrdiff_t i, ptrdiff_t k) {
    V v = set1(q->level);
    if (q->target) v = fma_(set1(q->slope), k == VL ? ld(q->target + i) : ld_n(q->target + i, k, 0), v);
    if (q->weight) v = v * (k == VL ? ld(q->weight + i) : ld_n(q->weight + i, k, 0));
    return v;
}

/* Sums q_c (max - x_c), 0 where q_c is 0 at any x, and q_c. */
INLINE void sum_mixture(const S *x, ptrdiff_t n, const mixture *q, S max, double *gap, wide *mass) {
    W w[2][VPER];
    V top = set1(max), zero = set1(0);
    for (int h = 0; h < VPER; h++) w[0][h] = w[1][h] = w_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES)
        for (int h = 0; h < VPER; h++) {
            ptrdiff_t at = i + h * VL, k = n - at < VL ? n - at : VL;
            if (k <= 0) break;
            V v = k == VL ? ld(x + at) : ld_n(x + at, k, max), p = mixture_at(q, at, k);
            if (k != VL) { /* lanes past the end have no mass */
                S one[64 / sizeof(S)];
                for (int j = 0; j < VL; j++) one[j] = j < k;
                p = p * ld(one);
            }
            V distance = select_(eq_(v, top), zero, top - v);
            w[0][h] = w_add(w[0][h], drop_(eq_(p, zero), p * distance));
            w[1][h] = w_add(w[1][h], p);
        }
    *gap = value_of(fold_(w[0]));
    *mass = fold_(w[1]);
}

/* out = f * terms - g q */
INLINE void mixture_gradient(const S *e, S *out, ptrdiff_t n, const mixture *q, factor f, S g) {
    V a = set1(f.first), b = set1(f.second), minus = set1(-g);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        ptrdiff_t k = n - i < VL ? n - i : VL;
        V v = k == VL ? ld(e + i) : ld_n(e + i, k, 0), c = mixture_at(q, i, k) * minus;
        v = f.second == 1 ? fma_(v, a, c) : fma_(v * a, b, c);
        if (k == VL) st(out + i, v);
        else st_n(out + i, v, k);
    }
}

/* (x - max) - log_rest, at the maximum -log_rest */
INLINE void log_softmax_row(const S *x, S *out, ptrdiff_t n, S max, S log_rest) {
    V top = set1(max), l = set1(log_rest), zero = set1(0);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        ptrdiff_t k = n - i < VL ? n - i : VL;
        V v = k == VL ? ld(x + i) : ld_n(x + i, k, 0);
        v = select_(eq_(v, top), zero, v - top) - l;
        if (k == VL) st(out + i, v);
        else st_n(out + i, v, k);
    }
}

/* The sum without one of its terms. */
INLINE double without(wide sum, double term) {
    double rest = sum.s - term, t = rest - sum.s;
    return rest + (((sum.s - (rest - t)) - (term + t)) + sum.e);
}

/* Index of the class that has more than half of the probability, or -1. */
INLINE ptrdiff_t dominant(const S *x, ptrdiff_t n, const lg_row *row) {
    if (row->known || row->count != 1 || !(row->rest < row->unit)) return -1;
    ptrdiff_t k = 0;
    while (k < n && x[k] != (S)row->max) k++;
    return k < n ? k : -1;
}

/* softmax backward: p (g - sum p g); log_softmax backward: g - p sum g. dot sums p g or g. */
INLINE wide row_dot(const S *e, const S *g, ptrdiff_t n, int with_e) {
    W w[VPER];
    for (int h = 0; h < VPER; h++) w[h] = w_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES)
        for (int h = 0; h < VPER; h++) {
            ptrdiff_t at = i + h * VL, k = n - at < VL ? n - at : VL;
            if (k <= 0) break;
            V v = k == VL ? ld(g + at) : ld_n(g + at, k, 0);
            if (with_e) v = v * (k == VL ? ld(e + at) : ld_n(e + at, k, 0));
            w[h] = w_add(w[h], v);
        }
    return fold_(w);
}
INLINE void softmax_gradient(const S *e, const S *g, S *out, ptrdiff_t n, double total, double dot) {
    V scale = set1((S)(1 / total)), d = set1((S)dot);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        ptrdiff_t k = n - i < VL ? n - i : VL;
        V v = k == VL ? ld(g + i) : ld_n(g + i, k, 0), p = (k == VL ? ld(e + i) : ld_n(e + i, k, 0)) * scale;
        v = p * (v - d);
        if (k == VL) st(out + i, v);
        else st_n(out + i, v, k);
    }
}

/* The loss of a row and, to out unless that is NULL, its gradient times up. */
INLINE double cross_entropy_row(const lg_rows_job *j, const lg_row *w, const S *x, const S *e, S *out, ptrdiff_t r,
                                ptrdiff_t label, double up, int stream) {
    const ptrdiff_t n = j->classes;
    const S *class_weight = j->weight;
    const int labelled = j->label.at != NULL, mixed = !labelled || j->smoothing != 0;
    const double smooth = mixed ? j->smoothing / (double)n : 0; /* a division a row is felt */
    const double label_weight = labelled && class_weight ? (double)class_weight[label] : 1;
    double own = 0, mass = 0, loss = 0; /* own: the label's part of the target mass */
    wide q_sum = {0, 0};
    mixture q = {.weight = class_weight, .slope = (S)(1 - j->smoothing), .level = (S)smooth};
    if (mixed) {
        if (j->soft.at) q.target = (const S *)at_row(&j->soft, r, j->inner);
        sum_mixture(x, n, &q, (S)w->max, &loss, &q_sum);
        mass = value_of(q_sum);
        loss += mass == 0 ? 0 * w->rest : mass * w->log_rest;
    }
    if (labelled) {
        const double gap = w->target == w->max ? 0 : w->max - w->target;
        own = (1 - j->smoothing) * label_weight;
        loss = own == 0 ? loss + 0 * w->rest : loss + own * (gap + w->log_rest);
    }
    if (!out) return loss;
    /* one entry is minus the sum of the other probabilities: the label's, or where there is none that of
     * the class that has most; it is found before out, which may be the targets, is written */
    S entry = 0;
    ptrdiff_t at = label;
    if (labelled) {
        double p = (double)e[label], others = w->total - p, rest = 0;
        if (w->known) others = w->others;
        else if (w->target == w->max) others = w->rest + (w->count - 1) * w->unit;
        if (mixed) rest = mass * p - smooth * label_weight * w->total;
        entry = share(rest - own * others, w->total, up);
    } else if ((at = dominant(x, n, w)) >= 0) { /* p sum q - q from what the other classes have of either */
        const mixture here = {q.target ? q.target + at : NULL, q.weight ? q.weight + at : NULL, q.slope, q.level};
        const double own_q = (double)first_(mixture_at(&here, 0, 1));
        entry = share(w->unit * without(q_sum, own_q) - own_q * w->rest, w->total, up);
    }
    if (mixed) mixture_gradient(e, out, n, &q, factor_of(up * (mass + own), w->total), (S)up);
    else scale_terms(e, out, n, factor_of(up * own, w->total), stream);
    if (at >= 0) out[at] = entry;
    return loss;
}

/* The logits of a batch's labels; x is NULL where rows are no runs, skip if none is skipped. */
INLINE void read_targets(const lg_rows_job *j, const S *const *x, ptrdiff_t r0, ptrdiff_t many, const int64_t *label,
                         const int *skip, double *target) {
    for (ptrdiff_t k = 0; k < many; k++) {
        if (skip && skip[k]) continue;
        if (x) target[k] = (double)x[k][label[k]];
        else target[k] = load_double(at_row(&j->x, r0 + k, j->inner) + label[k] * j->x.stride[1], j->x.storage);
    }
}
/* g - p sum g, as minus a mixture's gradient */
INLINE void log_softmax_gradient(const lg_row *w, const S *x, const S *e, const S *g, S *out, ptrdiff_t n) {
    const wide g_sum = row_dot(e, g, n, 0);
    const double sum = value_of(g_sum);
    const mixture q = {.target = g, .slope = 1};
    const ptrdiff_t top = dominant(x, n, w);
    S entry = 0; /* before out, which may be g, is written */
    if (top >= 0) entry = (S)(w->rest / w->total * sum - without(g_sum, (double)g[top]));
    mixture_gradient(e, out, n, &q, factor_of(-sum, w->total), -1);
    if (top >= 0) out[top] = entry;
}

/* p_i (delta_ij - p_j), line by line */
INLINE void jacobian(const lg_row *w, const S *x, const S *e, S *line, ptrdiff_t n, char *to, int storage) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const double p = (double)e[i] / w->total;
        const double others = x[i] == (S)w->max ? w->rest + (w->count - 1) * w->unit : w->total - (double)e[i];
        scale_terms(e, line, n, factor_of(-p, w->total), 0);
        line[i] = share(others, w->total, p);
        store_run(to + i * n * lg_size(storage), lg_size(storage), n, storage, line);
    }
}

/* Leaves the terms of a row times their factors, and their sum in its total: log-sum-exp with b. */
INLINE double weigh(lg_row *w, S *e, const S *b, ptrdiff_t n) {
    const double total = value_of(row_dot(e, b, n, 1));
    for (ptrdiff_t c = 0; c < n; c++) e[c] = b[c] == 0 ? 0 : e[c] * b[c];
    w->total = w->max == -INFINITY ? (double)NAN : total;
    return w->max == -INFINITY ? w->max : w->max + LG_NAME(log_of)(total / w->unit);
}

static void rows(const lg_rows_job *j, ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t n = j->classes, pitch = PITCH(n), most = lg_rows_batch(j);
    const ptrdiff_t batch = end - begin < most ? end - begin : most;
    S *terms = j->scratch, *x_tile = terms + batch * pitch, *g_tile = x_tile + batch * pitch;
    const int is_jacobian = j->what == LG_SOFTMAX_JACOBIAN;
    const int has_b = j->factor.at != NULL;
    const int has_out = j->out.at != NULL, out_runs = !is_jacobian && runs(&j->out, n);
    const int x_runs = runs(&j->x, n) && !has_b, g_runs = runs(&j->grad, n);
    const int few = n <= 2 * LANES && !j->lse_given;
    const int keeps = (has_out && j->what != LG_LOG_SOFTMAX) || has_b;
    const int plain = j->what == LG_CROSS_ENTROPY && j->label.at && !j->weight && j->smoothing == 0;
    const int by_row = has_out || has_b || !(plain || j->what == LG_LOGSUMEXP);
    /* each result is a term times its row's factor */
    const int shares = plain || j->what == LG_LOGSUMEXP_BACKWARD || j->what == LG_SOFTMAX;
    const int once = !x_runs && !few && !has_b && !j->lse_given && (shares || j->what == LG_LOGSUMEXP);
    const int by_class = lg_by_class(&j->x, j->inner);
    const int in_blocks = once && (by_class || n > LONG), alone = once && !in_blocks;
    const int stream = has_out && out_runs && n >= ROW_BLOCK / 2 &&
                       (size_t)j->outer * (size_t)j->inner * (size_t)n * sizeof(S) >= STREAM_BYTES;
    const int scales = shares && has_out && !out_runs && lg_by_class(&j->out, j->inner); /* on their way out */
    const S *x[LG_ROWS], *g[LG_ROWS] = {NULL};
    factor scale[LG_ROWS];
    int64_t label[LG_ROWS] = {0};
    for (ptrdiff_t r0 = begin; r0 < end; r0 += batch) {
        const ptrdiff_t many = end - r0 < batch ? end - r0 : batch;
        lg_batch b;
        int skip[LG_ROWS];
        if (!x_runs && !once) gather(&j->x, j, r0, many, 0, n, x_tile, pitch);
        if (j->grad.at && !g_runs) gather(&j->grad, j, r0, many, 0, n, g_tile, pitch);
        if (has_b) {
            gather(&j->factor, j, r0, many, 0, n, g_tile, pitch);
            for (ptrdiff_t k = 0; k < many; k++)
                for (ptrdiff_t i = k * pitch; i < k * pitch + n; i++)
                    if (g_tile[i] == 0) x_tile[i] = -(S)INFINITY;
        }
        if (j->label.at) lg_labels(&j->label, j->label_type, j->inner, r0, many, label);
        for (ptrdiff_t k = 0; k < many; k++) {
            x[k] = x_runs ? (const S *)at_row(&j->x, r0 + k, j->inner) : alone ? x_tile : x_tile + k * pitch;
            if (j->grad.at) g[k] = g_runs ? (const S *)at_row(&j->grad, r0 + k, j->inner) : g_tile + k * pitch;
        }
        int skips = 0;
        for (ptrdiff_t k = 0; k < many; k++) {
            skip[k] = j->label.at && label[k] == j->ignore_index;
            skips |= skip[k];
        }
        ptrdiff_t kept = 0; /* the first row that is not ignored */
        while (skips && kept < many && skip[kept]) kept++;
        if (few && kept < many)
            for (ptrdiff_t k = 0; k < many; k += VL) {
                const S *side[VL];
                for (int r = 0; r < VL; r++) side[r] = x[k + r < many && !(skips && skip[k + r]) ? k + r : kept];
                const int here = (int)(many - k < VL ? many - k : VL);
                abreast a;
                sum_abreast(side, n, BIAS, keeps ? terms + k * pitch : NULL, &b, k, here, &a);
            }
        if (in_blocks)
            for (ptrdiff_t k = 0, side = by_class ? many : 1; k < many; k += side)
                if (side > 1 || !skip[k]) sum_blocks(j, r0 + k, side, keeps ? terms + k * pitch : NULL, x_tile, &b, k);
        for (ptrdiff_t k = 0; k < many; k++) {
            if (skip[k] || few || in_blocks) continue;
            if (alone) gather(&j->x, j, r0 + k, 1, 0, n, x_tile, pitch);
            if (alone && j->label.at) b.target[k] = (double)x_tile[label[k]];
            const S *write = out_runs && !stream && keeps ? (S *)at_row(&j->out, r0 + k, j->inner) : x[k];
            if (j->lse_given && isfinite((S)j->lse[r0 + k]))
                put_row(&b, k, known_row(x[k], n, j->lse[r0 + k], (ptrdiff_t)label[k], terms + k * pitch));
            else if (keeps) put_row(&b, k, sum_row(x[k], n, terms + k * pitch, write));
            else put_row(&b, k, sum_row(x[k], n, NULL, x[k]));
        }
        if (j->label.at && !alone)
            read_targets(j, in_blocks ? NULL : x, r0, many, label, skips ? skip : NULL,
                         b.target);
        LG_NAME(finish)(&b, many);
        S values[LG_ROWS];
        for (ptrdiff_t k = 0; skips && k < many; k++)
            if (skip[k]) b.lse[k] = b.loss[k] = 0;
        if (j->lse && !j->lse_given) memcpy(j->lse + r0, b.lse, (size_t)many * sizeof *b.lse);
        for (ptrdiff_t k = 0; k < many; k++) values[k] = (S)(plain ? b.loss : b.lse)[k];
        for (ptrdiff_t k = 0; k < many; k++) b.up[k] = j->scale;
        for (ptrdiff_t k = 0; j->row_grad.at && k < many; k++)
            b.up[k] *= load_double(at_row(&j->row_grad, r0 + k, j->inner), j->row_grad.storage);
        if (plain && has_out) {
            for (ptrdiff_t k = 0; k < many; k++)
                b.own[k] = skips && skip[k] ? 0 : (double)terms[k * pitch + label[k]];
            LG_NAME(label_shares)(&b, many);
        }
        for (ptrdiff_t k = 0; by_row && k < many; k++) {
            const ptrdiff_t r = r0 + k;
            S *e = terms + k * pitch, *out = has_out && out_runs ? (S *)at_row(&j->out, r, j->inner) : e;
            if (skips && skip[k]) {
                values[k] = 0;
                if (has_out) memset(out, 0, (size_t)n * sizeof(S));
                scale[k] = (factor){1, 1};
                continue;
            }
            if (plain) {
                scale[k] = factor_by(b.up[k], b.total[k], b.slope[k]);
                if (scales) continue;
                scale_terms(e, out, n, scale[k], stream);
                out[label[k]] = (S)b.entry[k];
                continue;
            }
            const double up = b.up[k];
            lg_row row = get_row(&b, k), *w = &row;
            if (has_b) values[k] = (S)weigh(w, e, g_tile + k * pitch, n);
            switch (j->what) {
            case LG_LOGSUMEXP: break;
            case LG_LOGSUMEXP_BACKWARD:
            case LG_SOFTMAX:
                scale[k] = factor_of(up, w->total);
                if (!scales) scale_terms(e, out, n, scale[k], stream);
                break;
            case LG_LOG_SOFTMAX: log_softmax_row(x[k], out, n, (S)w->max, (S)w->log_rest); break;
            case LG_SOFTMAX_BACKWARD:
                softmax_gradient(e, g[k], out, n, w->total, value_of(row_dot(e, g[k], n, 1)) / w->total);
                break;
            case LG_LOG_SOFTMAX_BACKWARD: log_softmax_gradient(w, x[k], e, g[k], out, n); break;
            case LG_SOFTMAX_JACOBIAN:
                jacobian(w, x[k], e, g_tile, n, j->out.at + r * n * n * lg_size(j->out.storage), j->out.storage);
                break;
            default:
                values[k] = (S)cross_entropy_row(j, w, x[k], e, has_out ? out : NULL, r, (ptrdiff_t)label[k], up, stream);
            }
        }
        if (j->value.at)
            for (ptrdiff_t k = 0; k < many; k++)
                store_run(at_row(&j->value, r0 + k, j->inner), 0, 1, j->value.storage, &values[k]);
        if (j->sum) sum_values(values, many, j->sum);
        if (has_out && !out_runs && !is_jacobian) scatter(&j->out, j, r0, many, terms, scales ? scale : NULL);
        for (ptrdiff_t k = 0; plain && scales && k < many; k++) {
            const S entry = (S)b.entry[k];
            char *to = at_row(&j->out, r0 + k, j->inner) + label[k] * j->out.stride[1];
            if (!(skips && skip[k])) store_run(to, 0, 1, j->out.storage, &entry);
        }
    }
    if (stream) fence_();
}
