/* Every operation over rows: its numbers and bounds, what it wants of a row, and the step that finishes a batch.
 *
 * A pass is what goes over rows: walk.h reads and sums a batch, and hands it over with the logarithms of its sums taken;
 * the pass's step makes the rows' values and what goes to the output of them, by means of rows.h. Fields that are not
 * given are 0 (`result`, batch.h). The table is all that others include (LG_TABLE_ONLY). */

#ifndef LG_ROW_OPS
/*  X(pass, its result) */
#define LG_ROW_PASSES(X)                                                                                               \
    X(LG_LOGSUMEXP, .once = 1, .any = 1, .abreast = VALUES)                                                            \
    X(LG_LOGSUMEXP_BACKWARD, .terms = 1, .shares = 1, .once = 1, .any = 1, .abreast = SHARES, .finish = finish_shares) \
    X(LG_SOFTMAX, .terms = 1, .shares = 1, .once = 1, .any = 1, .abreast = SHARES, .finish = finish_shares)            \
    X(LG_SOFTMAX_BACKWARD, .terms = 1, .any = 1, .abreast = SOFTMAX_GRADIENTS, .finish = finish_softmax_gradient)      \
    X(LG_SOFTMAX_JACOBIAN, .terms = 1, .writes = 1, .finish = finish_jacobian)                                         \
    X(LG_LOG_SOFTMAX, .any = 1, .abreast = LOGARITHMS, .finish = finish_logarithms)                                    \
    X(LG_LOG_SOFTMAX_BACKWARD, .terms = 1, .any = 1, .abreast = LOG_SOFTMAX_GRADIENTS,                                 \
      .finish = finish_log_softmax_gradient)                                                                           \
    X(LG_CROSS_ENTROPY, .terms = 1, .always = 1, .finish = finish_mixture)                                             \
    X(LG_FOCAL, OF_A_LABEL, .bend = LG_NAME(focal))                                                                    \
    X(LG_POLY, OF_A_LABEL, .bend = LG_NAME(poly))                                                                      \
    X(LG_NLL_LOSS, 0)                 /* nll.h */                                                                      \
    X(LG_STATISTICS, .labelled = 1)   /* statistics.h */                                                               \
    X(LG_PAIRS, .terms = 1, .any = 1) /* pairs.h */

/*  X(name, pass forward, pass backward, bound, derivative's bound, that of the Hessian's diagonal, 0 if there is none): ULP
 *  of a row's result and of each entry, where two terms cancel (p - t, g - p sum g, p (g - sum p g), a log-sum-exp near 0)
 *  of the larger of them (tests/test_rows.py holds them). */
#define LG_ROW_OPS(X)                                                                                                  \
    X(logsumexp, LG_LOGSUMEXP, LG_LOGSUMEXP_BACKWARD, 4.0, 4.0, 0)                                                     \
    X(softmax, LG_SOFTMAX, LG_SOFTMAX_BACKWARD, 4.0, 8.0, 0)                                                           \
    X(log_softmax, LG_LOG_SOFTMAX, LG_LOG_SOFTMAX_BACKWARD, 4.0, 4.0, 0)                                               \
    X(softmin, LG_SOFTMAX, LG_SOFTMAX_BACKWARD, 4.0, 8.0, 0)                                                           \
    X(softmax_jacobian, LG_SOFTMAX_JACOBIAN, LG_SOFTMAX_JACOBIAN, 4.0, 4.0, 0)                                         \
    X(cross_entropy, LG_CROSS_ENTROPY, LG_CROSS_ENTROPY, 4.0, 4.0, 4.0)                                                \
    X(cross_entropy_soft, LG_CROSS_ENTROPY, LG_CROSS_ENTROPY, 4.0, 5.0,                                                \
      5.0)                                                 /* probability targets, label smoothing */                  \
    X(softmax_focal_loss, LG_FOCAL, LG_FOCAL, 8.0, 8.0, 0) /* for gamma to 2, and 4 more for each further one */       \
    X(poly_loss_cross_entropy, LG_POLY, LG_POLY, 4.0, 5.0, 0)                                                          \
    X(nll_loss, LG_NLL_LOSS, LG_NLL_LOSS, 1.0, 1.0, 0)                                                                 \
    X(l2_norm, LG_NO_ROWS, LG_NO_ROWS, 1.0, 2.0, 0) /* norms.c */

#define LG_PASS(pass, ...) pass,
enum { LG_ROW_PASSES(LG_PASS) LG_NO_ROWS = -1 };
#endif

#ifndef LG_TABLE_ONLY
INLINE int is_far(const plan *p, const rows_batch *t, ptrdiff_t k) {
    return t->is_far[k] || (p->job->hess.at && t->of.total[k] > (double)MOST_TOTAL);
}
/* Its Hessian, when it is time: the terms are there until they make way for the gradient, but what both are made of may
 * be where the Hessian goes. */
static NOINLINE void write_hessian(const plan *p, const rows_batch *t, ptrdiff_t k, int after, factor f, double z) {
    if (!t->hess[k].at || p->hess_runs != after) return;
    const spread s = spread_of(&t->of, k, (double)t->term[k][t->label[k]]);
    write_curvature(t->term[k], t->hess[k].at, p->n, f, s, z, p->stream);
}

/* A row whose terms are shares of a total: by itself if its factors are far. */
INLINE int finishes_far(const plan *p, rows_batch *t, ptrdiff_t k, ptrdiff_t label) {
    const lg_batch *b = &t->of;
    if (!(is_far(p, t, k) || b->total[k] == 0) || b->total[k] != b->total[k]) return 0;
    t->scale[k] = (factor){1, 1};
    if (p->job->factor.at && b->known[k] != 0) far_shares(t->term[k], p->n, far_factor(p->job, t->row + k), t->to[k]);
    else
        far_gradient(p->job, t->row + k, label, b->max[k], b->known[k] != 0, besides_of(p->result, b, k), t->to[k],
                     t->hess[k]);
    return 1;
}

static void finish_shares(const plan *p, rows_batch *t) {
    EACH_ROW(k, t) {
        if (finishes_far(p, t, k, -1)) continue;
        t->scale[k] = factor_of(t->of.up[k], t->of.total[k]);
        if (!p->scales) scale_terms(t->term[k], t->to[k], p->n, t->scale[k], p->stream, -1, 0);
    }
}

static void finish_label_shares(const plan *p, rows_batch *t) {
    lg_batch *b = &t->of;
    for (ptrdiff_t k = 0; k < t->many; k++) b->own[k] = t->skip[k] ? 0 : (double)t->term[k][t->label[k]];
    LG_NAME(label_shares)(b, t->many);
    EACH_ROW(k, t) {
        if (finishes_far(p, t, k, (ptrdiff_t)t->label[k])) {
            b->entry[k] = (double)element(t->to[k], t->label[k]);
            continue;
        }
        t->scale[k] = factor_by(b->up[k], b->total[k], b->slope[k]);
        if (p->scales) continue;
        write_hessian(p, t, k, 0, t->scale[k], 0);
        scale_terms(t->term[k], t->to[k], p->n, t->scale[k], p->stream, t->label[k], (S)b->entry[k]);
        write_hessian(p, t, k, 1, t->scale[k], 0);
    }
}

static void finish_weighted(const plan *p, rows_batch *t) {
    EACH_ROW(k, t) {
        lg_row row = get_row(&t->of, k);
        t->value[k] = weigh(&row, (const S *)t->x[k].at, t->term[k], p->g_tile + k * p->pitch, p->n);
        t->of.total[k] = row.total;
        t->of.known[k] = row.known;
    }
    if (p->has_out) finish_shares(p, t);
}

static void finish_logarithms(const plan *p, rows_batch *t) {
    EACH_ROW(k, t) {
        const logarithms l = {t->x[k], set1((S)t->of.max[k]), set1((S)t->of.log_rest[k])};
        write_result(logarithm_at, &l, t->to[k], p->n, p->stream, -1, 0);
    }
}

typedef struct {
    const S *terms;
    lg_run grad;
    V scale, dot;
} softmax_slope;
INLINE V softmax_slope_at(const void *of, ptrdiff_t i, ptrdiff_t k) {
    const softmax_slope *s = of;
    return (ld_k(s->terms + i, k) * s->scale) * (get(s->grad.at, i, k, s->grad.storage) - s->dot) * set1(1 / LIFT);
}
INLINE void softmax_gradient(const lg_rows_job *j, ptrdiff_t r, const lg_row *w, const S *e, lg_run out, int stream,
                             char *grad, int storage) {
    const ptrdiff_t n = j->classes;
    const lg_run g = {grad, storage};
    S most;
    const double dot = value_of(row_dot(e, g, n, 1, &most)) / w->total;
    if (most > MOST_GRAD && w->total == w->total) {
        far_gradient(j, r, -1, w->max, 0, NOTHING_BESIDES, out, NO_RUN);
        return;
    }
    const softmax_slope s = {e, g, set1((S)(LIFT / w->total)), set1((S)dot)};
    write_result(softmax_slope_at, &s, out, n, stream, -1, 0);
}
static void finish_softmax_gradient(const plan *p, rows_batch *t) {
    EACH_ROW(k, t) {
        const lg_row row = get_row(&t->of, k);
        BY_STORAGE(t->g[k].storage, softmax_gradient, p->job, t->row + k, &row, t->term[k], t->to[k], p->stream,
                   t->g[k].at);
    }
}

/* g - p sum g, as minus a mixture's gradient */
INLINE void log_softmax_gradient(const lg_rows_job *j, ptrdiff_t r, const lg_row *w, lg_run x, const S *e, lg_run out,
                                 int stream, char *grad, int storage) {
    const ptrdiff_t n = j->classes;
    const lg_run g = {grad, storage};
    S most;
    const wide g_sum = row_dot(e, g, n, 0, &most);
    const double sum = value_of(g_sum);
    if (count_(far_sums(set1((S)sum), set1(most))) && w->total == w->total) {
        far_gradient(j, r, -1, w->max, 0, NOTHING_BESIDES, out, NO_RUN);
        return;
    }
    const mixture q = {.target = g, .slope = 1};
    const ptrdiff_t top = dominant(x, n, w);
    S entry = 0; /* before out, which may be g, is written */
    if (top >= 0) entry = (S)(w->rest / w->total * sum - without(g_sum, (double)element(g, top)));
    mixture_gradient(e, out, n, &q, factor_of(-sum, w->total), -1, stream, top, entry);
}
static void finish_log_softmax_gradient(const plan *p, rows_batch *t) {
    EACH_ROW(k, t) {
        const lg_row row = get_row(&t->of, k);
        BY_STORAGE(t->g[k].storage, log_softmax_gradient, p->job, t->row + k, &row, t->x[k], t->term[k], t->to[k],
                   p->stream, t->g[k].at);
    }
}

/* p_i (delta_ij - p_j), line by line */
INLINE void jacobian(const lg_row *w, const S *x, const S *e, S *line, ptrdiff_t n, char *to, int storage) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const double p = (double)e[i] / w->total;
        const double others = x[i] == (S)w->max ? w->rest + (w->count - 1) * w->unit : w->total - (double)e[i];
        scale_terms(e, run_of(line), n, factor_of(-p, w->total), 0, i, share(others, w->total, p));
        store_run(to + i * n * lg_size(storage), lg_size(storage), n, storage, line);
    }
}
static void finish_jacobian(const plan *p, rows_batch *t) {
    const lg_view *out = &p->job->out;
    EACH_ROW(k, t) {
        const lg_row row = get_row(&t->of, k);
        char *to = out->at + (t->row + k) * p->n * p->n * lg_size(out->storage);
        jacobian(&row, (const S *)t->x[k].at, t->term[k], p->g_tile, p->n, to, out->storage);
    }
}

/* Of a smaller sum of the terms beside the largest some may have been dropped. */
#define WHOLE_REST C_(0x1p-140, 0x1p-960)

/* What a row's targets are: the label's share, and a mixture of all classes, unless a label is all there is. */
typedef struct {
    int labelled, mixed;
    double smooth, label_weight;
    double own, mass; /* the parts of the target mass, */
    double tilt;      /* and what is added to it (far.h) */
    mixture q;
    wide q_sum;
} row_targets;
INLINE row_targets targets_of(const lg_rows_job *j, ptrdiff_t r, ptrdiff_t label) {
    const S *weight = j->weight;
    const double smoothing = j->param;
    row_targets t = {.labelled = j->label.at != NULL, .label_weight = 1};
    t.mixed = !t.labelled || smoothing != 0;
    t.smooth = t.mixed ? smoothing / (double)j->classes : 0; /* a division a row is felt */
    t.q = (mixture){.weight = weight, .slope = (S)(1 - smoothing), .level = (S)t.smooth};
    if (t.mixed && j->soft.at) t.q.target = run_of((const S *)at_row(&j->soft, r, j->inner));
    if (t.labelled && weight) t.label_weight = (double)weight[label];
    if (t.labelled) t.own = (1 - smoothing) * t.label_weight;
    return t;
}

/* Its loss, unless far.h has to find it. */
INLINE double loss_of(row_targets *t, const lg_row *w, const S *x, ptrdiff_t n) {
    double loss = 0;
    if (t->mixed) {
        sum_mixture(x, n, &t->q, (S)w->max, &loss, &t->q_sum);
        t->mass = value_of(t->q_sum);
        loss += t->mass == 0 ? 0 * w->rest : t->mass * w->log_rest;
    }
    if (!t->labelled) return loss;
    const double gap = w->target == w->max ? 0 : w->max - w->target;
    return t->own == 0 ? loss + 0 * w->rest : loss + t->own * (gap + w->log_rest);
}

/* One entry of the gradient is minus the sum of the other probabilities: the label's, or where there is none that of
 * the class that has most, whose index goes to *at. */
INLINE S apart_entry(const row_targets *t, const lg_row *w, const S *x, const S *e, ptrdiff_t n, double up,
                     ptrdiff_t *at) {
    if (t->labelled) {
        const double p = (double)e[*at];
        double others = w->total - p, rest = 0;
        if (w->known) others = w->others;
        else if (w->target == w->max) others = w->rest + (w->count - 1) * w->unit;
        if (t->mixed) rest = t->mass * p - t->smooth * t->label_weight * w->total;
        rest += t->tilt * p;
        return share(rest - t->own * others, w->total, up);
    }
    const mixture q = t->q;
    if ((*at = dominant(run_of(x), n, w)) < 0) return 0;
    /* p sum q - q from what the other classes have of either */
    const mixture here = {q.target.at ? from(q.target, *at) : q.target, q.weight ? q.weight + *at : NULL, q.slope,
                          q.level};
    const double own = (double)first_(mixture_at(&here, 0, 1));
    return share(w->unit * (without(t->q_sum, own) + t->tilt) - own * w->rest, w->total, up);
}

/* The loss of a row, or as far.h has it, where products leave the range or what was dropped would count. */
INLINE double mixture_loss(const lg_rows_job *j, const lg_row *w, const S *x, ptrdiff_t r, ptrdiff_t label,
                           row_targets *t) {
    double loss = loss_of(t, w, x, j->classes);
    const int finite = w->total == w->total, dropped = w->log_rest < WHOLE_REST && fabs(loss) < 1;
    if (((dropped && fabs(t->own) + fabs(t->mass) > 1) || !isfinite(loss)) && finite)
        loss = far_loss(j, r, t->labelled ? label : -1, w->max, w->log_rest);
    return j->z == 0 ? loss : loss + 0.5 * t->tilt * (w->max + w->log_rest);
}

/* Its gradient times up, and its Hessian. */
INLINE void mixture_slopes(const plan *p, rows_batch *t, ptrdiff_t k, const lg_rows_job *j, const lg_row *w,
                           const row_targets *q, const S *slopes) {
    const S *x = (const S *)t->x[k].at, *e = t->term[k];
    const ptrdiff_t n = j->classes, label = (ptrdiff_t)t->label[k];
    const double up = t->of.up[k], mass = q->mass + q->own + q->tilt;
    const int finite = w->total == w->total;
    const int faint = q->mixed && up != 0 && fabs(up) < C_(FLT_MIN, LEAST_UP); /* up goes into S here */
    int far = is_far(p, t, k) || faint || !(fabs(up * mass) <= MOST_UP);
    ptrdiff_t at = label;
    S entry = 0; /* found before out, which may be the targets, is written */
    if (!(far && finite)) {
        entry = apart_entry(q, w, x, e, n, up, &at);
        far = !isfinite(entry);
    }
    if (far && finite) {
        const besides b = {.bend = 1, .tilt = q->tilt, .slopes = slopes};
        far_gradient(j, t->row + k, q->labelled ? label : -1, w->max, w->known, b, t->to[k], t->hess[k]);
        return;
    }
    const factor f = factor_of(up * mass, w->total);
    write_hessian(p, t, k, 0, f, 2 * j->z * up);
    if (q->mixed) mixture_gradient(e, t->to[k], n, &q->q, f, (S)up, p->stream, at, entry);
    else scale_terms(e, t->to[k], n, f, p->stream, at, entry);
    write_hessian(p, t, k, 1, f, 2 * j->z * up);
    if (slopes) times_slopes((S *)t->to[k].at, (S *)t->hess[k].at, slopes, x, (S)j->cap, n);
}
static void finish_mixture(const plan *p, rows_batch *t) {
    lg_rows_job of = *p->job;
    EACH_ROW(k, t) {
        const lg_row row = get_row(&t->of, k);
        const int capped = of.cap != 0;
        if (capped) of.x = (lg_view){t->x[k].at, {0, sizeof(S), 0}, COMPUTED}; /* the row is what is in the tile */
        row_targets q = targets_of(&of, t->row + k, (ptrdiff_t)t->label[k]);
        q.tilt = of.z == 0 ? 0 : 2 * of.z * t->of.lse[k];
        t->value[k] = mixture_loss(&of, &row, (const S *)t->x[k].at, t->row + k, (ptrdiff_t)t->label[k], &q);
        if (p->has_out) mixture_slopes(p, t, k, &of, &row, &q, capped ? p->g_tile + k * p->pitch : NULL);
    }
}

#define RESULT(pass, ...) [pass] = {__VA_ARGS__},
#define OF_A_LABEL                                                                                                     \
    .terms = 1, .shares = 1, .once = 1, .any = 1, .labelled = 1, .abreast = LABEL_SHARES, .finish = finish_label_shares
static const result RESULTS[] = {LG_ROW_PASSES(RESULT)};
/* Cross-entropy from labels that have no weights and are not smoothed is much simpler; a log-sum-exp with factors of
 * its exponentials is not. */
static const result OF_LABELS = {OF_A_LABEL};
static const result WITH_FACTORS = {.terms = 1, .shares = 1, .always = 1, .finish = finish_weighted};

INLINE const result *result_of(const lg_rows_job *j) {
    if (j->factor.at) return &WITH_FACTORS;
    const int plain =
        j->what == LG_CROSS_ENTROPY && j->label.at && !j->weight && j->param == 0 && j->z == 0 && j->cap == 0;
    return plain ? &OF_LABELS : &RESULTS[j->what];
}
#endif
