/* What one thread adds up about predictions: counts and exact sums, apart for each class, bin, ... Those of
 * several threads merge, in any order, to the same bits (lossgrad/evaluation/totals.py, which names them alike).
 * Every tally is a range of the groups of one set of columns (lg_columns_add). Without sample weights a term
 * counts 1, in the column of ones. */
#ifndef LG_TOTALS_H
#define LG_TOTALS_H
#include "kernels.h"

enum {
    LG_SUPPORT,
    LG_PREDICTED,
    LG_HITS,
    LG_LOSS,
    LG_RANKS,
    LG_SEEN,
    LG_CONFUSION,
    LG_BIN_WEIGHT,
    LG_BIN_CONFIDENCE,
    LG_BIN_RIGHT,
    LG_LOSS_HISTOGRAM,
    LG_SCALARS,
    LG_TALLIES
};
/* The groups of LG_SCALARS: with s the sample weight, w the class weight and l the loss, the sums of s times the
 * entropy and the Brier score, of s w, (s l)^2, s w s l and (s w)^2. */
enum { LG_ENTROPY, LG_BRIER, LG_DIVISOR, LG_LL, LG_LW, LG_WW, LG_SCALAR_GROUPS };

enum { LG_FEW_GROUPS = 64 }; /* so many or less are added up by whole numbers (tally.h) */
typedef struct {
    double loss, confidence;
    int64_t row, label, predicted;
} lg_worst_row;

/* What terms say, field after field with `room` elements each: of whole numbers the index, label, prediction and rank
 * of a term; then its loss, confidence, entropy, Brier score, and whether it is right (binary: the target). */
enum { LG_WHOLE_FIELDS = 4, LG_REAL_FIELDS = 5 };
typedef struct {
    int64_t *whole;
    double *real;
    ptrdiff_t room, n;
} lg_record;

typedef struct {
    ptrdiff_t classes, groups;
    ptrdiff_t start[LG_TALLIES], size[LG_TALLIES]; /* its groups; size is 0 where it is not kept */
    int valued[LG_TALLIES];                        /* whether it has more than ones */
    int64_t *column[LG_COLUMNS];
    int64_t *(*zeros)(ptrdiff_t groups); /* a new column, or NULL; LG_ONES is there from the start */
    const lg_kernels *kernels;           /* of float64 */
    int64_t ignored, undefined, terms, correct, infinite;
    lg_worst_row *worst; /* those of largest loss, in descending order, the earlier first among equals */
    ptrdiff_t listed, most;
    double least;     /* what has less loss is not listed */
    lg_record record; /* of the terms that have a loss; without room nothing is recorded */
} lg_totals;

/* Rows to add, each with a label, or with a target in [0, 1] for each of its logits, which are a run; a target that is
 * NaN or rows.ignore_index leaves its logit out. */
typedef struct {
    lg_rows_job rows;     /* x, label, label_type, ignore_index, weight, param, scratch */
    lg_label_job logits;  /* x, storage, limit */
    int target_storage;   /* of rows.label: -1 for integers of rows.label_type */
    const double *weight; /* one a row, finite and not negative; may be NULL */
    ptrdiff_t each;       /* logits that share a weight: those of a row, or 1 */
    int strict;           /* a loss that is NaN is a problem */
} lg_terms;

/* What is wrong (bits of it), and with which row (or logit). */
enum { LG_FINE, LG_BAD_TARGET = 1, LG_UNDEFINED = 2, LG_NO_SUM = 4, LG_NO_ROOM = 8 };
typedef struct {
    int kind;
    ptrdiff_t at;
} lg_problem;
/* Adds rows (or logits, which lie row after row) from begin to end, up to the first problem; the totals are of no
 * use after one. Takes at most 2^30 terms. */
lg_problem lg_add_rows(lg_totals *t, const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t begin,
                       ptrdiff_t end);
lg_problem lg_add_logits(lg_totals *t, const lg_level *level, int computed, const lg_terms *terms, ptrdiff_t begin,
                         ptrdiff_t end);
int lg_tally_has(const lg_totals *t, int tally, int column); /* whether any group has something there */
#endif
