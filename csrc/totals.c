/* Adding up what rows and logits say (statistics.h, labels.h), in pieces that stay in the cache. A target is read
 * once: what is checked is the copy that is used, since another thread might write to it. */
#include "totals.h"
#include "environment.h"
#include <float.h>
#include <string.h>

#define LOW32 UINT64_C(0xffffffff)

enum { PIECE = 512 };
/* Terms of a piece that have a loss, by field. */
typedef struct {
    ptrdiff_t n;
    int weighted, divided; /* whether there are sample weights s; and any weights, whose products are s w */
    int64_t row[PIECE], label[PIECE], predicted[PIECE], rank[PIECE], bin[PIECE], size[PIECE];
    uint8_t outcome[PIECE]; /* binary: 2 for a positive target, 1 for a positive prediction */
    double loss[PIECE], confidence[PIECE], entropy[PIECE], brier[PIECE];
    double right[PIECE]; /* 1 if the prediction is right; binary: the target */
    double s[PIECE], sw[PIECE];
} piece;

static int64_t *column(lg_totals *t, int k) {
    if (!t->column[k]) t->column[k] = t->zeros(t->groups);
    return t->column[k];
}

/* ---- exact sums ---- */

/* Brings a whole number of 2^place, of the columns' lowest bit, to a group. */
static int spread(lg_totals *t, ptrdiff_t group, int place, uint64_t whole) {
    const int shift = place & 31;
    const uint64_t low = (whole & LOW32) << shift, high = (whole >> 32 << shift) + (low >> 32);
    const uint64_t limb[3] = {low & LOW32, high & LOW32, high >> 32};
    for (int k = 0; k < 3; k++) {
        if (!limb[k]) continue;
        int64_t *to = column(t, (place >> 5) + k);
        if (!to) return LG_NO_ROOM;
        to[group] += (int64_t)limb[k];
    }
    return LG_FINE;
}

/* Any values, or 1 for each if they are NULL, in any number of groups; groups that are NULL are the first. */
static int add_any(lg_totals *t, ptrdiff_t first, ptrdiff_t size, const double *value, const int64_t *group,
                   ptrdiff_t n) {
    for (;;) {
        int missing;
        const ptrdiff_t done = lg_columns_add(t->column, first, size, value, group, n, &missing);
        if (missing < 0) return done == n ? LG_FINE : LG_NO_SUM;
        if (!column(t, missing)) return LG_NO_ROOM;
        if (value) value += done;
        if (group) group += done;
        n -= done;
    }
}

/* Whole numbers of 2^place in few groups; neighbours have sums of their own, since equal ones would wait for each
 * other. */
static int add_whole(lg_totals *t, ptrdiff_t first, ptrdiff_t size, int place, const int64_t *whole,
                     const int64_t *group, ptrdiff_t n) {
    uint64_t sum[2][LG_FEW_GROUPS] = {{0}};
    int kind = LG_FINE;
    for (ptrdiff_t i = 0; i < n; i++) sum[i & 1][group[i]] += (uint64_t)whole[i];
    for (ptrdiff_t g = 0; g < size; g++) kind |= spread(t, first + g, place, sum[0][g] + sum[1][g]);
    return kind;
}

/* Values in few groups, cut into whole numbers as often as any of them has bits left: seldom more than thrice. */
static int add_few(lg_totals *t, ptrdiff_t first, ptrdiff_t size, const double *value, const int64_t *group,
                   ptrdiff_t n) {
    double left[PIECE], top = t->kernels->top(value, n);
    int64_t whole[PIECE];
    int kind = LG_FINE;
    if (top < 0) return add_any(t, first, size, value, group, n);
    while (top > 0 && !kind) {
        const lg_cut cut = t->kernels->cut(value, n, top, left, whole);
        const int place = cut.place + 1074 + LG_COLUMNS_BELOW;
        kind =
            group && size > 1 ? add_whole(t, first, size, place, whole, group, n) : spread(t, first, place, cut.total);
        value = left;
        top = cut.top;
    }
    return kind;
}

/* Adds values, or 1 for each (if value is NULL), to groups of a tally. */
static int add(lg_totals *t, int tally, const double *value, const int64_t *group, ptrdiff_t n) {
    const ptrdiff_t first = t->start[tally], size = t->size[tally];
    t->valued[tally] |= value != NULL;
    if (!size) return LG_FINE;
    return (value && size <= LG_FEW_GROUPS ? add_few : add_any)(t, first, size, value, group, n);
}

/* s a; no weight is nothing, even of what is infinite. */
static const double *times(const double *s, const double *a, ptrdiff_t n, double *to) {
    for (ptrdiff_t i = 0; i < n; i++) to[i] = s[i] == 0 ? 0 : s[i] * a[i];
    return to;
}

static int64_t *ones(lg_totals *t, int tally) { return t->column[LG_ONES] + t->start[tally]; }

static int add_scalar(lg_totals *t, int scalar, const double *value, ptrdiff_t n) {
    return add_few(t, t->start[LG_SCALARS] + scalar, 1, value, NULL, n);
}

/* The products a b. */
static const double *multiply(const double *a, const double *b, ptrdiff_t n, double *to) {
    for (ptrdiff_t i = 0; i < n; i++) to[i] = a[i] * b[i];
    return to;
}

static int add_scalars(lg_totals *t, const piece *p, const double *weighted) {
    const ptrdiff_t n = p->n;
    double product[PIECE];
    t->valued[LG_SCALARS] = 1;
    int kind = add_scalar(t, LG_ENTROPY, p->weighted ? times(p->s, p->entropy, n, product) : p->entropy, n);
    kind |= add_scalar(t, LG_BRIER, p->weighted ? times(p->s, p->brier, n, product) : p->brier, n);
    kind |= add_scalar(t, LG_LL, multiply(weighted, weighted, n, product), n);
    kind |= add_scalar(t, LG_LW, p->divided ? times(p->sw, weighted, n, product) : weighted, n);
    if (p->divided)
        return kind | add_scalar(t, LG_DIVISOR, p->sw, n) | add_scalar(t, LG_WW, multiply(p->sw, p->sw, n, product), n);
    ones(t, LG_SCALARS)[LG_DIVISOR] += n;
    ones(t, LG_SCALARS)[LG_WW] += n;
    return kind;
}

/* What both tasks add. */
static int add_common(lg_totals *t, const piece *p) {
    double product[PIECE], confidence[PIECE], right[PIECE];
    const double *weighted = p->weighted ? times(p->s, p->loss, p->n, product) : p->loss;
    const double *s = p->weighted ? p->s : NULL;
    int kind = add(t, LG_LOSS, weighted, p->label, p->n);
    kind |= add(t, LG_BIN_CONFIDENCE, s ? times(s, p->confidence, p->n, confidence) : p->confidence, p->bin, p->n);
    if (s) {
        kind |= add(t, LG_BIN_WEIGHT, s, p->bin, p->n) | add(t, LG_LOSS_HISTOGRAM, s, p->size, p->n);
        kind |= add(t, LG_BIN_RIGHT, times(s, p->right, p->n, right), p->bin, p->n);
    }
    ptrdiff_t infinite = 0;
    for (ptrdiff_t i = 0; i < p->n; i++) infinite += p->loss[i] > DBL_MAX;
    t->infinite += infinite;
    t->terms += p->n;
    return kind | add_scalars(t, p, weighted);
}

/* Takes over what is kept of a term from place i. */
static void move(piece *p, ptrdiff_t to, ptrdiff_t i) {
    p->row[to] = p->row[i];
    p->label[to] = p->label[i];
    p->predicted[to] = p->predicted[i];
    p->rank[to] = p->rank[i];
    p->outcome[to] = p->outcome[i];
    p->loss[to] = p->loss[i];
    p->confidence[to] = p->confidence[i];
    p->entropy[to] = p->entropy[i];
    p->brier[to] = p->brier[i];
    p->right[to] = p->right[i];
    p->s[to] = p->s[i];
    p->sw[to] = p->sw[i];
}

/* Leaves out terms that are ignored or undefined: where the first undefined one is, or -1. What a row says of
 * itself is looked at once more before it becomes an index, since logits might be written to, too. */
static ptrdiff_t keep(lg_totals *t, piece *p) {
    const ptrdiff_t n = p->n;
    const uint64_t classes = (uint64_t)t->classes;
    ptrdiff_t first = -1;
    p->n = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int defined = p->loss[i] == p->loss[i];
        if (defined && (uint64_t)p->predicted[i] < classes && (uint64_t)p->rank[i] < classes) {
            if (p->n < i) move(p, p->n, i);
            p->n++;
        } else if (defined) t->ignored++;
        else if (t->undefined++, first < 0) first = i;
    }
    return first;
}

/* The losses, in double. */
static void widen(const void *loss, int computed, ptrdiff_t n, double *to) {
    if (computed == LG_F64) memcpy(to, loss, (size_t)n * sizeof *to);
    else
        for (ptrdiff_t i = 0; i < n; i++) to[i] = (double)((const float *)loss)[i];
}

/* Notes the terms of a piece, of which there is room for all. */
static void record(lg_record *r, const piece *p) {
    const int64_t *whole[LG_WHOLE_FIELDS] = {p->row, p->label, p->predicted, p->rank};
    const double *real[LG_REAL_FIELDS] = {p->loss, p->confidence, p->entropy, p->brier, p->right};
    if (p->n > r->room - r->n) return;
    for (int f = 0; f < LG_WHOLE_FIELDS; f++)
        memcpy(r->whole + f * r->room + r->n, whole[f], (size_t)p->n * sizeof(int64_t));
    for (int f = 0; f < LG_REAL_FIELDS; f++)
        memcpy(r->real + f * r->room + r->n, real[f], (size_t)p->n * sizeof(double));
    r->n += p->n;
}

/* ---- rows with a label each ---- */

/* Sample weights, and class weights besides. */
static void take_weights(const lg_terms *terms, int computed, ptrdiff_t row, piece *p) {
    const float *f32 = terms->rows.weight;
    const double *f64 = terms->rows.weight;
    p->weighted = terms->weight != NULL;
    p->divided = p->weighted || f32;
    if (p->weighted) memcpy(p->s, terms->weight + row, (size_t)p->n * sizeof *p->s);
    if (p->weighted && !f32) memcpy(p->sw, p->s, (size_t)p->n * sizeof *p->s);
    for (ptrdiff_t i = 0; f32 && i < p->n; i++) {
        if (p->predicted[i] < 0) continue;
        p->sw[i] = computed == LG_F64 ? f64[p->label[i]] : (double)f32[p->label[i]];
        if (p->weighted) times(&p->s[i], &p->sw[i], 1, &p->sw[i]);
    }
}

static int add_confusion(lg_totals *t, const piece *p, const double *s) {
    int64_t cell[PIECE];
    if (!t->size[LG_CONFUSION]) return LG_FINE;
    for (ptrdiff_t i = 0; i < p->n; i++) cell[i] = p->label[i] * t->classes + p->predicted[i];
    return add(t, LG_CONFUSION, s, cell, p->n);
}

/* In one loop, where it matters: rows of few classes. */
static void count_rows(lg_totals *t, const piece *p) {
    int64_t *support = ones(t, LG_SUPPORT), *predicted = ones(t, LG_PREDICTED), *hits = ones(t, LG_HITS);
    int64_t *ranks = ones(t, LG_RANKS), *weight = ones(t, LG_BIN_WEIGHT), *right = ones(t, LG_BIN_RIGHT);
    int64_t *histogram = ones(t, LG_LOSS_HISTOGRAM);
    for (ptrdiff_t i = 0; i < p->n; i++) {
        const int64_t hit = p->rank[i] == 0;
        support[p->label[i]]++;
        predicted[p->predicted[i]]++;
        hits[p->label[i]] += hit;
        ranks[p->rank[i]]++;
        weight[p->bin[i]]++;
        right[p->bin[i]] += hit;
        histogram[p->size[i]]++;
    }
}

static int weigh_rows(lg_totals *t, const piece *p) {
    double hit[PIECE];
    int kind = add(t, LG_SUPPORT, p->s, p->label, p->n) | add(t, LG_PREDICTED, p->s, p->predicted, p->n);
    kind |= add(t, LG_HITS, times(p->s, p->right, p->n, hit), p->label, p->n);
    return kind | add(t, LG_RANKS, p->s, p->rank, p->n);
}

static void list_worst(lg_totals *t, const piece *p) {
    for (ptrdiff_t i = 0; i < p->n; i++) {
        const double loss = p->loss[i];
        if (loss < t->least || (t->listed == t->most && loss <= t->worst[t->most - 1].loss)) continue;
        ptrdiff_t k = t->listed < t->most ? t->listed++ : t->most - 1;
        for (; k && t->worst[k - 1].loss < loss; k--) t->worst[k] = t->worst[k - 1];
        t->worst[k] = (lg_worst_row){loss, p->confidence[i], p->row[i], p->label[i], p->predicted[i]};
    }
}

static int add_kept_rows(lg_totals *t, piece *p) {
    ptrdiff_t correct = 0;
    for (ptrdiff_t i = 0; i < p->n; i++) correct += p->rank[i] == 0;
    for (ptrdiff_t i = 0; i < p->n; i++) p->right[i] = p->rank[i] == 0;
    t->correct += correct;
    const lg_bins bins = {(int)t->size[LG_BIN_WEIGHT], (int)t->size[LG_LOSS_HISTOGRAM]};
    t->kernels->bins(p->confidence, p->loss, p->n, bins, p->bin, p->size);
    int kind = add_confusion(t, p, p->weighted ? p->s : NULL);
    if (p->weighted) kind |= weigh_rows(t, p);
    else count_rows(t, p);
    if (t->most) list_worst(t, p);
    record(&t->record, p);
    return kind | add_common(t, p);
}

/* The statistics of n rows from `row` on, whose labels have been copied. */
static void see_rows(const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t row, piece *p) {
    double loss[PIECE], lse[PIECE], squares[PIECE];
    lg_rows_job job = terms->rows;
    job.outer = p->n;
    job.x.at += row * job.x.stride[0];
    job.label = (lg_view){(char *)p->label, {sizeof *p->label, 0, 0}, 0};
    job.label_type = LG_I64;
    job.value = (lg_view){(char *)loss, {lg_size(computed), 0, 0}, computed};
    job.lse = lse;
    job.statistics = (lg_statistics){p->predicted, p->rank, p->confidence, p->entropy, squares, p->brier};
    level->kernels[computed]->statistics(&job, 0, p->n);
    widen(loss, computed, p->n, p->loss);
    for (ptrdiff_t i = 0; i < p->n; i++) p->row[i] = row + i;
}

/* Copies labels: how many there are before one that is neither a class nor ignored. */
static ptrdiff_t take_labels(const lg_terms *terms, ptrdiff_t row, ptrdiff_t n, int64_t *label) {
    ptrdiff_t kept;
    lg_read_labels(&terms->rows, row, n, label);
    const ptrdiff_t bad = lg_first_bad(&terms->rows, label, n, &kept);
    return bad < 0 ? n : bad;
}

static lg_problem add_row_piece(lg_totals *t, const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t row,
                                ptrdiff_t n) {
    piece p;
    const ptrdiff_t good = p.n = take_labels(terms, row, n, p.label);
    if (good) {
        see_rows(level, computed, terms, row, &p);
        take_weights(terms, computed, row, &p);
        const ptrdiff_t undefined = keep(t, &p);
        if (terms->strict && undefined >= 0) return (lg_problem){LG_UNDEFINED, row + undefined};
        const int kind = p.n ? add_kept_rows(t, &p) : LG_FINE;
        if (kind) return (lg_problem){kind, row};
    }
    return (lg_problem){good < n ? LG_BAD_TARGET : LG_FINE, row + good};
}

lg_problem lg_add_rows(lg_totals *t, const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t begin,
                       ptrdiff_t end) {
    const lg_environment found = lg_enter();
    lg_problem problem = {LG_FINE, 0};
    t->kernels = level->kernels[LG_F64];
    for (ptrdiff_t row = begin; row < end && !problem.kind; row += PIECE)
        problem = add_row_piece(t, level, computed, terms, row, end - row < PIECE ? end - row : PIECE);
    lg_leave(found);
    return problem;
}

/* ---- logits with a target each ---- */

static void count_logits(lg_totals *t, const piece *p) {
    int64_t *seen = ones(t, LG_SEEN), *support = ones(t, LG_SUPPORT), *predicted = ones(t, LG_PREDICTED);
    int64_t *hits = ones(t, LG_HITS), *weight = ones(t, LG_BIN_WEIGHT), *histogram = ones(t, LG_LOSS_HISTOGRAM);
    for (ptrdiff_t i = 0; i < p->n; i++) {
        const int64_t label = p->label[i];
        seen[label]++;
        support[label] += p->outcome[i] >> 1;
        predicted[label] += p->outcome[i] & 1;
        hits[label] += p->outcome[i] == 3;
        weight[p->bin[i]]++;
        histogram[p->size[i]]++;
    }
}

static int weigh_logits(lg_totals *t, const piece *p) {
    double some[PIECE];
    int kind = add(t, LG_SEEN, p->s, p->label, p->n);
    for (ptrdiff_t i = 0; i < p->n; i++) some[i] = p->outcome[i] >= 2 ? p->s[i] : 0;
    kind |= add(t, LG_SUPPORT, some, p->label, p->n);
    for (ptrdiff_t i = 0; i < p->n; i++) some[i] = p->outcome[i] & 1 ? p->s[i] : 0;
    kind |= add(t, LG_PREDICTED, some, p->label, p->n);
    for (ptrdiff_t i = 0; i < p->n; i++) some[i] = p->outcome[i] == 3 ? p->s[i] : 0;
    return kind | add(t, LG_HITS, some, p->label, p->n);
}

static int add_kept_logits(lg_totals *t, piece *p) {
    ptrdiff_t correct = 0;
    for (ptrdiff_t i = 0; i < p->n; i++) correct += p->outcome[i] == 0 || p->outcome[i] == 3;
    for (ptrdiff_t i = 0; i < p->n; i++) p->predicted[i] = p->outcome[i] & 1;
    t->correct += correct;
    record(&t->record, p);
    const lg_bins bins = {(int)t->size[LG_BIN_WEIGHT], (int)t->size[LG_LOSS_HISTOGRAM]};
    t->kernels->bins(p->confidence, p->loss, p->n, bins, p->bin, p->size);
    int kind = LG_FINE;
    if (p->weighted) kind = weigh_logits(t, p);
    else {
        count_logits(t, p);
        kind = add(t, LG_BIN_RIGHT, p->right, p->bin, p->n);
    }
    return kind | add_common(t, p);
}

/* Copies n targets. */
static void read_targets(const lg_level *level, const lg_terms *terms, ptrdiff_t at, ptrdiff_t n, double *target) {
    const lg_view *from = &terms->rows.label;
    const int storage = terms->target_storage;
    int64_t whole[PIECE];
    if (storage < 0) {
        lg_read_labels(&terms->rows, at, n, whole);
        for (ptrdiff_t i = 0; i < n; i++) target[i] = (double)whole[i];
    } else {
        const int computed = lg_computed(storage);
        level->kernels[computed]->load(from->at + at * from->stride[0], from->stride[0], n, storage, whole);
        widen(whole, computed, n, target);
    }
}

/* Takes targets, and predicts -1 where one is left out: how many there are before one that is not in [0, 1]. */
static ptrdiff_t take_targets(const lg_level *level, const lg_terms *terms, ptrdiff_t at, ptrdiff_t n, piece *p) {
    const double ignored = (double)terms->rows.ignore_index;
    double *target = p->right;
    read_targets(level, terms, at, n, target);
    for (ptrdiff_t i = 0; i < n; i++) {
        const int left_out = target[i] != target[i] || target[i] == ignored;
        p->predicted[i] = -left_out;
        target[i] = left_out ? 0 : target[i];
    }
    const double top = level->kernels[LG_F64]->top(target, n);
    ptrdiff_t good = top >= 0 && top <= 1 ? n : 0;
    while (good < n && target[good] >= 0 && target[good] <= 1) good++;
    return good;
}

static void see_logits(const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t at, piece *p) {
    double loss[PIECE];
    memset(p->rank, 0, sizeof p->rank);
    lg_label_job job = terms->logits;
    job.x += at * lg_size(job.storage);
    job.target = p->right;
    job.loss = loss;
    job.probability = p->confidence;
    job.entropy = p->entropy;
    job.brier = p->brier;
    job.outcome = p->outcome;
    level->kernels[computed]->labels(&job, 0, p->n);
    widen(loss, computed, p->n, p->loss);
    for (ptrdiff_t i = 0; i < p->n; i++) p->loss[i] = p->predicted[i] < 0 ? 0 : p->loss[i]; /* whatever its logit */
}

/* Labels and weights, of which a row has one for all of its labels, or one for each. */
static void take_columns(const lg_totals *t, const lg_terms *terms, ptrdiff_t at, piece *p) {
    ptrdiff_t label = at % t->classes;
    p->weighted = p->divided = terms->weight != NULL;
    for (ptrdiff_t i = 0; i < p->n; i++) {
        p->row[i] = at + i;
        p->label[i] = label;
        if (p->weighted) p->s[i] = p->sw[i] = terms->weight[(at + i) / terms->each];
        if (++label == t->classes) label = 0;
    }
}

static lg_problem add_logit_piece(lg_totals *t, const lg_level *level, int computed, const lg_terms *terms,
                                  ptrdiff_t at, ptrdiff_t n) {
    piece p;
    const ptrdiff_t good = p.n = take_targets(level, terms, at, n, &p);
    if (good) {
        see_logits(level, computed, terms, at, &p);
        take_columns(t, terms, at, &p);
        const ptrdiff_t undefined = keep(t, &p);
        if (terms->strict && undefined >= 0) return (lg_problem){LG_UNDEFINED, at + undefined};
        const int kind = p.n ? add_kept_logits(t, &p) : LG_FINE;
        if (kind) return (lg_problem){kind, at};
    }
    return (lg_problem){good < n ? LG_BAD_TARGET : LG_FINE, at + good};
}

lg_problem lg_add_logits(lg_totals *t, const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t begin,
                         ptrdiff_t end) {
    const lg_environment found = lg_enter();
    lg_problem problem = {LG_FINE, 0};
    t->kernels = level->kernels[LG_F64];
    for (ptrdiff_t at = begin; at < end && !problem.kind; at += PIECE)
        problem = add_logit_piece(t, level, computed, terms, at, end - at < PIECE ? end - at : PIECE);
    lg_leave(found);
    return problem;
}

/* ---- reading ---- */

int lg_tally_has(const lg_totals *t, int tally, int column) {
    const int64_t *from = t->column[column];
    if (!from || (column != LG_ONES && !t->valued[tally])) return 0;
    from += t->start[tally];
    for (ptrdiff_t g = 0; g < t->size[tally]; g++)
        if (from[g]) return 1;
    return 0;
}
