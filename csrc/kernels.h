/* What C offers to the extension: jobs over strided arrays, one table of kernels for each level and dtype,
 * and exact sums. C never raises and never prints, and outside the pool it never allocates. */
#ifndef LG_KERNELS_H
#define LG_KERNELS_H
#include "lossgrad.h"

enum { LG_MAX_INPUTS = 4, LG_MAX_OUTPUTS = 3, LG_MAX_SLOPES = 2, LG_BLOCK = 1024 };
enum {
    LG_PER_ROW = 32,       /* what a row costs besides its elements, in elements */
    LG_LONG_ROW = 1 << 16, /* elements: a longer row is reduced in parts */
};
enum { LG_COMPUTED = 2 }; /* LG_F32 and LG_F64 */
static inline int lg_computed(int storage) { return storage == LG_F64 ? LG_F64 : LG_F32; }
static inline ptrdiff_t lg_size(int storage) { return storage == LG_F64 ? 8 : storage == LG_F32 ? 4 : 2; }

/* ---- exact sums (sum.c): a fixed-point number wide enough for every double ---- */
enum { LG_SUM_LIMBS = 70 };
typedef struct {
    int64_t limb[LG_SUM_LIMBS]; /* 32 bits each, the lowest worth 2^-1074; carries wait in the upper half */
    int32_t adds;               /* since the carries were last moved up */
    int32_t nan, plus, minus;   /* whether NaN, +inf, -inf has been added */
} lg_sum;
void lg_sum_clear(lg_sum *sum);
void lg_sum_add(lg_sum *sum, double value);
void lg_sum_merge(lg_sum *sum, const lg_sum *other);
double lg_sum_value(lg_sum *sum);                       /* correctly rounded */
double lg_sum_scaled(const lg_sum *sum, int *exponent); /* the same over 2^exponent, finite unless something was not */
double lg_sum_mean(const lg_sum *sum, double divisor);  /* the sum, beyond the range maybe, over it; over 0 NaN */

/* Many such sums, of numbers from 0 to infinity: column[k][group] counts units of 2^(32 k - 1088), and one
 * column counts infinities. NULL stands for a column of zeros. */
enum { LG_COLUMNS_BELOW = 14, LG_ONES = 34, LG_INFINITIES = 75, LG_COLUMNS = LG_INFINITIES + 3 };
/* Adds each value to its group of the `size` from `first` on (the first if group is NULL), or 1 to each group that
 * is named (if value is NULL), at most 2^30 between two carries. How many were added: fewer than n if
 * column[*missing] is missing for the next or, if *missing is -1, the next is not such a number or group. */
ptrdiff_t lg_columns_add(int64_t *const *column, ptrdiff_t first, ptrdiff_t size, const double *value,
                         const int64_t *group, ptrdiff_t n, int *missing);

/* Outputs of this size, besides inputs of it, hardly stay in the cache: they are stored past it. */
#define STREAM_BYTES (12 << 20)

/* Neighbours in their own storage: of the computed type, or of a half type that is computed in it. */
typedef struct {
    char *at;
    int storage;
} lg_run;

/* ---- elementwise ---- */
/* Weights of a loss, contiguous, as lg_map_job has them. */
typedef struct {
    const void *weight, *shift;
    double up;
} lg_weights;

typedef struct {
    int op, direction, inputs, outputs;
    ptrdiff_t shape[3];
    lg_view in[LG_MAX_INPUTS + 1], out[LG_MAX_OUTPUTS];
    lg_view weight; /* of a loss, .at may be NULL: multiplies the value and the gradient */
    lg_view shift;  /* and so does 2^shift, if .at is given beside that of weight */
    double up;      /* multiplies the gradient, and the Hessian, by 2^up, beside a weight */
    const double *param;
    lg_sum *sum; /* if given, the values are summed, not stored (out[0] is not used) */
} lg_map_job;

/* ---- rows: the softmax family ---- */
#define LG_TABLE_ONLY
#include "row_ops.h"
#undef LG_TABLE_ONLY

/* Where LG_STATISTICS writes besides value and lse: one a row, contiguous, in row order. */
typedef struct {
    int64_t *predicted, *rank;
    double *confidence, *entropy, *squares, *brier;
} lg_statistics;

/* Where LG_PAIRS writes: one a row, contiguous, in row order. */
typedef struct {
    double *kl, *kl_reverse, *js, *base_loss, *other_loss, *loss_difference;
    int64_t *base_rank, *other_rank, *base_predicted, *other_predicted, *overlap;
    ptrdiff_t top; /* how many first choices are compared */
} lg_pairs;

/* A row is one (outer, inner) pair; its elements run along the middle axis. */
typedef struct {
    int what;
    ptrdiff_t outer, classes, inner;
    lg_view x;        /* logits */
    lg_view grad;     /* softmax and log_softmax backward: the incoming gradient, of x's shape; pairs: other logits */
    lg_view row_grad; /* logsumexp and cross_entropy backward: one a row, .at may be NULL (then 1) */
    lg_view factor;   /* logsumexp: what multiplies each exponential; .at may be NULL */
    lg_view out;      /* of x's shape (softmax_jacobian: classes of them); .at may be NULL */
    lg_view hess;     /* of x's shape, beside out: the diagonal of cross_entropy's Hessian; .at may be NULL */
    lg_view value;    /* one a row: logsumexp or loss; .at may be NULL */
    double *lse;      /* one a row, contiguous, in row order; may be NULL */
    int lse_given;    /* lse is an input: the pass that computes it is left out */
    /* targets of cross_entropy */
    lg_view label; /* .at is NULL for probability targets */
    int label_type;
    int64_t ignore_index;
    lg_view soft;                /* probability targets; .at may be NULL */
    const void *weight;          /* class weights, contiguous, of the computed type; may be NULL */
    const double *sample_weight; /* one a row, contiguous, not negative; 0 leaves the row out. May be NULL */
    double param;                /* what a loss is given besides: label_smoothing of cross_entropy, gamma, epsilon */
    double z, cap;      /* cross_entropy: z lse^2 is added to a loss; of logits that are capped, unless cap is 0 */
    double scale, over; /* of the gradient, besides row_grad: scale / over */
    lg_sum *sum;        /* if given, the row values are added to it */
    lg_statistics statistics;
    lg_pairs pairs;
    int *strange;  /* set where a label is no class any more, whose row is then left out */
    void *scratch; /* lg_rows_scratch bytes, aligned to 64; each thread has its own */
} lg_rows_job;

size_t lg_rows_scratch(const lg_rows_job *job, ptrdiff_t rows, size_t itemsize);
ptrdiff_t lg_rows_batch(const lg_rows_job *job);
/* Distance of a tile's rows: an odd number of cache lines, so that they do not meet in one set of the cache. */
static inline ptrdiff_t lg_pitch(ptrdiff_t classes, size_t itemsize) {
    return (ptrdiff_t)((((size_t)classes * itemsize + 63) / 64 | 1) * 64 / itemsize);
}
/* Distance of rows, and whether they are nearer to each other than a row's elements. */
static inline ptrdiff_t lg_row_stride(const lg_view *view, ptrdiff_t inner) { return view->stride[inner == 1 ? 0 : 2]; }
int lg_by_class(const lg_view *view, ptrdiff_t inner);
/* Labels of rows [row, row + rows), `inner` of them to each outer one: classes, or ignore_index. Others may write
 * labels after they have been checked: one that is neither becomes ignore_index, and *strange is set. So does the
 * label of a row that its sample weight leaves out. */
void lg_labels(const lg_rows_job *job, ptrdiff_t row, ptrdiff_t rows, int64_t *to);
void lg_read_labels(const lg_rows_job *job, ptrdiff_t row, ptrdiff_t rows, int64_t *to); /* as they are */
/* The first of n labels that is neither a class nor ignored, or -1, and how many before it are kept. */
ptrdiff_t lg_first_bad(const lg_rows_job *job, const int64_t *label, ptrdiff_t n, ptrdiff_t *kept);

/* What the rows kernel knows of a row after its first pass (sums.h); all doubles, so that one
 * function finishes rows of every dtype. */
typedef struct {
    double max, target; /* the largest logit and the label's */
    double unit;        /* exp(max) in the sums' unit */
    double count, rest; /* how often max occurs; the sum over all others */
    int known;          /* the log-sum-exp was given: it stands for max, and */
    double others;      /* is the sum over all but the label */
    /* set by lg_finish: */
    double total;    /* count * unit + rest */
    double log_rest; /* log-sum-exp - max */
} lg_row;
/* The same of up to LG_ROWS rows, by field. */
enum { LG_ROWS = 64 };
typedef struct {
    double max[LG_ROWS], target[LG_ROWS], unit[LG_ROWS], count[LG_ROWS], rest[LG_ROWS], others[LG_ROWS];
    double known[LG_ROWS];
    double total[LG_ROWS], log_rest[LG_ROWS], lse[LG_ROWS], loss[LG_ROWS]; /* loss: of a label, unweighted */
    double up[LG_ROWS], own[LG_ROWS];      /* what multiplies the gradient, and the label's term */
    double slope[LG_ROWS], entry[LG_ROWS]; /* up / total, and the gradient's entry for the label */
    double bend[LG_ROWS], more[LG_ROWS]; /* of a loss that bends (row_ops.h): what its gradient has more than a label's,
                                              and that times the class's weight */
} lg_batch;
/* What their statistics need besides (statistics.h), and what becomes of it. */
typedef struct {
    double gaps[LG_ROWS];   /* the sum of e (max - x) */
    double others[LG_ROWS]; /* that of e^2 over all terms but one of the largest, over its square */
    double own[LG_ROWS];    /* the label's term */
    double predicted[LG_ROWS], rank[LG_ROWS];
    double confidence[LG_ROWS], entropy[LG_ROWS], squares[LG_ROWS], brier[LG_ROWS];
} lg_found;

/* ---- norms (norms.c) ---- */
enum { LG_SQUARES = 4096 }; /* elements of a block, at most */
/* Of a block's squares the sum, as high + low, wrong by at most slack; the largest element. */
typedef struct {
    double max, high, low, slack;
} lg_squares;
typedef struct {
    double root, scale;
} lg_norm;
typedef struct {
    lg_view x, out;     /* the gradient goes to out; .at may be NULL */
    ptrdiff_t n, inner; /* elements of a row, and rows to each outer one */
    const double *grad; /* one a row, contiguous; may be NULL, then it is up */
    double up;
    double *value; /* the norms, likewise; may be NULL */
} lg_norm_job;

/* ---- binary targets: n logits, all arrays contiguous ---- */
typedef struct {
    const char *x;
    int storage;
    const double *target; /* in [0, 1] */
    double limit;         /* a logit above it is predicted */
    void *loss;           /* of the computed type, as binary_cross_entropy_with_logits */
    double *probability, *entropy, *brier;
    uint8_t *outcome; /* 2 where the target is above 1/2, and 1 where it is predicted */
} lg_label_job;

/* ---- adding up (tally.h); what is written may go on to a whole number of LG_LANES ---- */
enum { LG_LANES = 8, LG_LEAST_LOSS = -41 }; /* losses of less than 2^-40 are in the first bin */
/* Whole numbers of 2^place and their sum, and the largest of what is left. */
typedef struct {
    int place;
    uint64_t total;
    double top;
} lg_cut;
typedef struct {
    int confidences, losses;
} lg_bins;

/* ---- the table ---- */
typedef struct {
    /* Runs of n elements. in: all directions but LG_FORWARD take the incoming gradient first, then the
     * op's own. stream: the last output is stored past the cache. weights may be NULL. */
    void (*map)(int op, int direction, const lg_run *in, const lg_run *out, ptrdiff_t n, const double *param,
                int stream, const lg_weights *weights);
    /* n elements `stride` bytes apart to and from a run of the computed type */
    void (*load)(const char *at, ptrdiff_t stride, ptrdiff_t n, int storage, void *to);
    void (*store)(char *at, ptrdiff_t stride, ptrdiff_t n, int storage, const void *from);
    void (*sum)(const void *values, ptrdiff_t n, lg_sum *sum);
    void (*sum_rows)(const void *terms, ptrdiff_t rows, ptrdiff_t n, double *to);
    int (*within)(const lg_run *x, ptrdiff_t n, double most); /* whether all are from 0 to most */
    void (*add_columns)(const void *terms, ptrdiff_t n, double *s, double *e, double *lost);
    void (*rows)(const lg_rows_job *job, ptrdiff_t begin, ptrdiff_t end);
    void (*nll)(const lg_rows_job *job, ptrdiff_t begin, ptrdiff_t end);
    void (*statistics)(const lg_rows_job *job, ptrdiff_t begin, ptrdiff_t end);
    void (*pairs)(const lg_rows_job *job, ptrdiff_t begin, ptrdiff_t end);
    void (*labels)(const lg_label_job *job, ptrdiff_t begin, ptrdiff_t end);
    double (*top)(const double *value, ptrdiff_t n);
    lg_cut (*cut)(const double *value, ptrdiff_t n, double top, double *left, int64_t *whole);
    void (*bins)(const double *confidence, const double *loss, ptrdiff_t n, lg_bins of, int64_t *bin, int64_t *size);
    lg_squares (*squares)(const void *x, ptrdiff_t n, double unit);
    void (*scale)(const void *x, ptrdiff_t n, double a, double b, const lg_run *out); /* x a b */
} lg_kernels;

typedef struct {
    const char *name;
    int (*available)(void);
    const lg_kernels *kernels[LG_COMPUTED];
} lg_level;

extern const lg_op lg_ops[];
extern const int lg_op_count;
typedef struct {
    const char *name;
    int forward, backward;
    double bound, derivative_bound, hessian_bound;
} lg_row_op;
extern const lg_row_op lg_row_ops[];
extern const int lg_row_op_count;
extern const lg_level lg_levels[]; /* slowest first */
extern const int lg_level_count;
extern const lg_level *lg_active; /* the level in use */
extern const lg_api lg_doors;     /* what others may call (doors.c) */

/* ---- whole jobs ---- */
/* How one is done. What lg_share says of it (pool.h) is what these return. */
typedef struct {
    const lg_level *level;
    int computed;      /* LG_F32 or LG_F64 */
    int threads;       /* at most, the caller included */
    int (*look)(void); /* see lg_share */
} lg_way;
int lg_map(const lg_way *way, const lg_map_job *job);
/* The sum of the values along the middle axis for each (outer, inner), rounded once. */
int lg_line_sums(const lg_way *way, const lg_map_job *job, double *to);
/* The sums of the values of a matrix over its rows and over `width` neighbouring columns. */
int lg_column_sums(const lg_way *way, const lg_map_job *job, ptrdiff_t width, lg_sum *sum);
/* Whether a run of n numbers is all from 0 to most; NaN is not. */
int lg_within(const lg_way *way, const char *x, int storage, ptrdiff_t n, double most, int *good);
/* How many rows are kept, and the first, counted from 1, whose label is neither a class nor ignore_index, or 0;
 * where there are weights of classes or rows, the sum of the kept rows' products. */
typedef struct {
    lg_sum weights;
    ptrdiff_t kept, bad;
} lg_label_check;
int lg_check_labels(const lg_way *way, const lg_rows_job *job, lg_label_check *check);
int lg_rows(const lg_way *way, const lg_rows_job *job);
int lg_label_statistics(const lg_way *way, const lg_label_job *job, ptrdiff_t n);
int lg_norms(const lg_way *way, const lg_norm_job *job, ptrdiff_t rows);
/* In the kernels' floating-point environment: */
double lg_quotient(double a, double b);
float lg_narrow(double a);
#endif
