/* Rows of the softmax family on their way: what a pass wants, the plan of a job (walk.h), and a batch of its rows. */

/* The rows of a batch. */
typedef struct {
    ptrdiff_t row, many;
    int skips, skip[LG_ROWS]; /* rows that are left out: value and gradient are 0 */
    int is_far[LG_ROWS];      /* rows whose factors leave the usual range */
    int64_t label[LG_ROWS];
    lg_run x[LG_ROWS], g[LG_ROWS]; /* logits, and incoming gradient if there is one */
    S *term[LG_ROWS];
    lg_run to[LG_ROWS];    /* where the results go: the output, or the terms' place */
    lg_run hess[LG_ROWS];  /* and Hessians */
    factor scale[LG_ROWS]; /* of the terms */
    double value[LG_ROWS];
    S rounded[LG_ROWS]; /* the values, weighted */
    lg_batch of;
} rows_batch;
#define EACH_ROW(k, t)                                                                                                 \
    for (ptrdiff_t k = 0, many = (t)->many; k < many; k++)                                                             \
        if (!(t)->skip[k])

typedef struct plan plan;
typedef void step(const plan *p, rows_batch *t);
typedef void bender(lg_batch *b, ptrdiff_t n, double param);

enum { BY_ITSELF, VALUES, SHARES, LABEL_SHARES, LOGARITHMS, SOFTMAX_GRADIENTS, LOG_SOFTMAX_GRADIENTS };
/* What a pass makes of a row (row_ops.h). */
typedef struct {
    int terms;    /* it is made of the terms: they are kept */
    int shares;   /* it is each term times its row's factor */
    int once;     /* it needs the logits once: they are copied a piece at a time */
    int any;      /* it takes logits in any storage, where they lie */
    int labelled; /* its value is the loss of a label, else the log-sum-exp */
    int always;   /* also its value needs the last step, which is else for outputs */
    int writes;   /* that step writes the output as well */
    int abreast;  /* what rows of few classes are made into by few.h, or 0 */
    bender *bend; /* of a labelled one: its loss as another function of the label's, or NULL */
    step *finish; /* from sums and factors to values and results */
} result;

/* What those losses are, with the weights of their classes, and what their gradients have more. */
INLINE const double *bend_losses(const lg_rows_job *j, const result *r, lg_batch *b, ptrdiff_t row, ptrdiff_t many,
                                 const int64_t *label, const int *skip) {
    if (!r->bend) return NULL;
    const S *weight = j->weight;
    r->bend(b, many, j->param);
    for (ptrdiff_t k = 0; k < many; k++) {
        const double w = weight && !skip[k] ? (double)weight[label[k]] : 1;
        if (weight && !skip[k] && isinf(b->loss[k]) && isfinite(w)) /* which does not bend */
            b->loss[k] = far_loss(j, row + k, (ptrdiff_t)label[k], b->max[k], b->log_rest[k]);
        else if (weight) b->loss[k] = part_of(w, b->loss[k]) + 0 * b->rest[k];
        b->more[k] = part_of(w, b->bend[k]);
    }
    return b->more;
}
INLINE besides besides_of(const result *r, const lg_batch *b, ptrdiff_t k) {
    return (besides){.bend = r->bend ? b->bend[k] : 1};
}

struct plan {
    const lg_rows_job *job;
    const result *result;
    ptrdiff_t n, pitch, batch;
    S *terms, *x_tile, *g_tile, *h_tile;
    int x_runs, g_runs, out_runs, hess_runs; /* rows that are read, or written, where they are */
    int has_out, keeps, whole;               /* whole: rows are copied before they are summed, if they are no runs */
    int by_class, stream, scales;            /* scales: terms get their factors on their way out */
    step *sum;
};
