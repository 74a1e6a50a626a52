# What the extension knows of csrc/: types, jobs and functions, as the headers declare them.

from libc.stdint cimport int64_t, uint8_t

cdef extern from "kernels.h":
    enum: LG_F32, LG_F64, LG_F16, LG_BF16, LG_STORAGES
    int lg_computed(int) nogil
    Py_ssize_t lg_size(int) nogil
    enum: LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD
    int lg_gives_value(int) nogil
    int lg_slopes(int) nogil
    enum: LG_I8, LG_I16, LG_I32, LG_I64, LG_U8, LG_U16, LG_U32, LG_U64
    enum: LG_LOGSUMEXP, LG_CROSS_ENTROPY, LG_SOFTMAX_JACOBIAN, LG_STATISTICS, LG_PAIRS
    ctypedef struct lg_sum:
        pass
    void lg_sum_clear(lg_sum *) nogil
    void lg_sum_add(lg_sum *, double) nogil
    void lg_sum_merge(lg_sum *, const lg_sum *) nogil
    double lg_sum_value(lg_sum *) nogil
    double lg_sum_mean(const lg_sum *, double) nogil
    enum: LG_COLUMNS, LG_ONES
    enum: LG_PER_ROW
    Py_ssize_t lg_columns_add(int64_t **, Py_ssize_t, Py_ssize_t, const double *, const int64_t *, Py_ssize_t, int *) nogil
    ctypedef struct lg_view:
        char *at
        Py_ssize_t stride[3]
        int storage
    ctypedef struct lg_map_job:
        int op, direction, inputs, outputs
        Py_ssize_t shape[3]
        lg_view inp "in"[5]
        lg_view out[3]
        lg_view weight, shift
        double up
        const double *param
        lg_sum *sum
    ctypedef struct lg_statistics:
        int64_t *predicted
        int64_t *rank
        double *confidence
        double *entropy
        double *squares
        double *brier
    ctypedef struct lg_pairs:
        double *kl
        double *kl_reverse
        double *js
        double *base_loss
        double *other_loss
        double *loss_difference
        int64_t *base_rank
        int64_t *other_rank
        int64_t *base_predicted
        int64_t *other_predicted
        int64_t *overlap
        Py_ssize_t top
    ctypedef struct lg_rows_job:
        int what
        Py_ssize_t outer, classes, inner
        lg_view x, grad, row_grad, factor, out, hess, value, label, soft
        double *lse
        int lse_given
        int label_type
        int64_t ignore_index
        const void *weight
        const double *sample_weight
        double param, z, cap, scale, over
        lg_sum *sum
        lg_statistics statistics
        lg_pairs pairs
        int *strange
        void *scratch
    ctypedef struct lg_op:
        const char *name
        int inputs, parameters, is_loss
        double bound, derivative_bound, hessian_bound
    ctypedef int (*lg_available)() noexcept nogil
    ctypedef struct lg_level:
        const char *name
        lg_available available
        const void *kernels[2]
    const lg_op *lg_ops
    int lg_op_count
    ctypedef struct lg_row_op:
        const char *name
        int forward, backward
        double bound, derivative_bound, hessian_bound
    const lg_row_op *lg_row_ops
    int lg_row_op_count
    const lg_level *lg_levels
    int lg_level_count
    const lg_level *lg_active
    ctypedef struct lg_api:
        pass
    const lg_api lg_doors
    ctypedef struct lg_label_job:
        const char *x
        int storage
        const double *target
        double limit
        void *loss
        double *probability
        double *entropy
        double *brier
        uint8_t *outcome
    ctypedef struct lg_norm_job:
        lg_view x, out
        Py_ssize_t n, inner
        const double *grad
        double up
        double *value
    ctypedef int (*lg_look)() noexcept nogil
    ctypedef struct lg_way:
        const lg_level *level
        int computed, threads
        lg_look look
    ctypedef struct lg_label_check:
        lg_sum weights
        Py_ssize_t kept, bad
    int lg_map(const lg_way *, const lg_map_job *) nogil
    int lg_line_sums(const lg_way *, const lg_map_job *, double *) nogil
    int lg_column_sums(const lg_way *, const lg_map_job *, Py_ssize_t, lg_sum *) nogil
    int lg_within(const lg_way *, const char *, int, Py_ssize_t, double, int *) nogil
    int lg_check_labels(const lg_way *, const lg_rows_job *, lg_label_check *) nogil
    int lg_rows(const lg_way *, const lg_rows_job *) nogil
    size_t lg_rows_scratch(const lg_rows_job *, Py_ssize_t, size_t) nogil
    int lg_label_statistics(const lg_way *, const lg_label_job *, Py_ssize_t) nogil
    int lg_norms(const lg_way *, const lg_norm_job *, Py_ssize_t) nogil
    double lg_quotient(double, double) nogil
    float lg_narrow(double) nogil

cdef extern from "xla.h":
    ctypedef struct xla_error:
        pass
    ctypedef struct xla_call:
        pass
    xla_error *lg_xla_elements(xla_call *)
    xla_error *lg_xla_rows(xla_call *)

cdef extern from "pool.h":
    enum: LG_DONE, LG_NO_MEMORY
    ctypedef struct lg_sharing:
        double worth, shortest
    lg_sharing lg_set_sharing(lg_sharing)
    ctypedef struct lg_pool_state:
        int threads, shared
    lg_pool_state lg_pool_now()

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # what it raises is left for the call to raise

cdef extern from "environment.h":
    ctypedef struct lg_environment:
        pass
    lg_environment lg_enter() nogil
    void lg_leave(lg_environment) nogil

cdef extern from "totals.h":
    enum: LG_SCALARS, LG_TALLIES, LG_WHOLE_FIELDS, LG_REAL_FIELDS
    enum: LG_FINE, LG_NO_SUM, LG_NO_ROOM
    ctypedef struct lg_worst_row:
        double loss, confidence
        int64_t row, label, predicted
    ctypedef struct lg_record:
        int64_t *whole
        double *real
        Py_ssize_t room, n
    ctypedef struct lg_totals:
        Py_ssize_t classes, groups
        Py_ssize_t *start
        Py_ssize_t *size
        int64_t *column[LG_COLUMNS]
        int64_t *(*zeros)(Py_ssize_t) noexcept nogil
        int64_t ignored, undefined, terms, correct, infinite
        lg_worst_row *worst
        lg_record record
        Py_ssize_t listed, most
        double least
    ctypedef struct lg_terms:
        lg_rows_job rows
        lg_label_job logits
        Py_ssize_t each
        int target_storage
        const double *weight
        bint strict
    ctypedef struct lg_problem:
        int kind
        Py_ssize_t at
    lg_problem lg_add_rows(lg_totals *, const lg_level *, int, const lg_terms *, Py_ssize_t, Py_ssize_t) nogil
    lg_problem lg_add_logits(lg_totals *, const lg_level *, int, const lg_terms *, Py_ssize_t, Py_ssize_t) nogil
    bint lg_tally_has(const lg_totals *, int, int) nogil
