/* lossgrad's kernels from C: the same functions, to the same bits, as Python's, over memory of any strides.
 *
 *     #include <Python.h>
 *     #include <lossgrad.h>                      in lossgrad.get_include()
 *     const lg_api *lg = lg_import();            once, holding the GIL; NULL with an exception set
 *     lg->run(lg->op("sigmoid"), LG_FORWARD, LG_F32, n, NULL, x, NULL, y, NULL, NULL, 1);
 *
 * Calls hold no lock of Python's and touch no object: make them with or without the GIL, from any number of threads,
 * after a fork too. The result of an element or a row depends on its values alone, whatever the strides, the number of
 * threads or the size of the call. What is written may be an input of the same call at the same place, but must
 * not overlap one otherwise. The caller's floating-point environment is left as it was. */
#ifndef LOSSGRAD_H
#define LOSSGRAD_H
#include <stddef.h>
#include <stdint.h>

/* cffi: its cdef() takes what is between this line and the last of its kind. */
#define LG_ABI 2 /* the number of what is declared here; lg_import compares it */

/* How elements are stored. The halves are computed in float32 and rounded once. */
enum { LG_F32, LG_F64, LG_F16, LG_BF16, LG_STORAGES };
/* What a call gives: the value, the gradient (backward), or both, and where an op has one the diagonal of the Hessian,
 * its second derivative. Ops that are no losses are not asked for value and gradient alone. */
enum { LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD, LG_GRAD_AND_HESS, LG_VALUE_GRAD_AND_HESS, LG_DIRECTIONS };
/* Whether that is a value, and how many slopes: none, the gradient, or it and the Hessian. */
static inline int lg_gives_value(int direction) { return direction % 2 == 0; }
static inline int lg_slopes(int direction) { return (direction + 1) / 2; }
/* How labels are stored. */
enum { LG_I8, LG_I16, LG_I32, LG_I64, LG_U8, LG_U16, LG_U32, LG_U64, LG_LABEL_TYPES };
/* What is done with rows of classes. */
enum { LG_ROWS_LOGSUMEXP, LG_ROWS_SOFTMAX, LG_ROWS_LOG_SOFTMAX, LG_ROWS_CROSS_ENTROPY, LG_ROWS_NLL_LOSS, LG_ROW_CALLS };
/* What a call returns: 0 if all is done, or which row's label is neither a class nor ignored, counted from 1 (the first
 * such row; nothing has been written then), or less than 0: */
enum {
    LG_OUT_OF_MEMORY = -2, /* there is no memory; nothing has been written */
    LG_REFUSED = -3,       /* the arguments are none that the call takes; nothing has been written */
    LG_CHANGED = -4        /* somebody changed labels while they were in use: what was written is of no use */
};

/* An operand: byte strides over (outer, middle, inner), which may be 0 or negative. at is NULL for one not given. */
typedef struct {
    char *at;
    ptrdiff_t stride[3];
    int storage;
} lg_view;

/* An op over elements. Its bounds are in ULP: of the result, of the derivative, and of the second one, 0 if it has none. */
typedef struct {
    const char *name;
    int inputs, parameters, is_loss;
    double bound, derivative_bound, hessian_bound;
} lg_op;

/* A call over elements: all operands are of one shape; inputs, outputs and grad are stored alike. */
typedef struct {
    int op, direction, threads; /* the op's place in the table; threads: at most so many, the caller included */
    ptrdiff_t shape[3];
    lg_view grad;                  /* what multiplies the gradient and the Hessian; 1 if it is not given */
    lg_view in[3];                 /* as many as the op has inputs; of those after the first what is not given is 1 */
    lg_view value, slope, hessian; /* where results go, as the direction has them */
    const double *param;           /* as many as the op has parameters */
} lg_elements;

/* A call over rows, which are (outer, inner) pairs; classes lie along the middle axis. What has one element a row has a
 * middle stride of 0. */
typedef struct {
    int what, direction, threads; /* what: LG_ROWS_LOGSUMEXP, ... */
    ptrdiff_t shape[3];
    lg_view x;     /* the logits; of LG_ROWS_NLL_LOSS the log-probabilities */
    lg_view grad;  /* backward: of x's shape; of LG_ROWS_LOGSUMEXP and the losses one a row, 1 if it is not given */
    lg_view label; /* of the losses: integers, one a row; .storage is their type, LG_I64 or another */
    int64_t ignore_index; /* a row of this label has the loss 0 and the gradient 0 */
    double scale;         /* multiplies the gradient of a loss besides, such as 1 / rows for that of a mean */
    lg_view value;        /* one a row: the values of LG_ROWS_LOGSUMEXP and of the losses */
    lg_view out;          /* of x's shape: the other values, and all gradients */
} lg_rows_of;

typedef struct {
    int abi; /* LG_ABI */
    int ops; /* the size of the table */
    const lg_op *table;
    int (*op)(const char *name); /* an op's place in it, or -1 */
    const char *(*level)(void);  /* the level of instructions in use, such as avx2 */
    ptrdiff_t (*elements)(const lg_elements *call);
    ptrdiff_t (*rows)(const lg_rows_of *call);
    /* The same of runs, without strides: n elements; rows in C order, and labels that are int64. */
    ptrdiff_t (*run)(int op, int direction, int storage, ptrdiff_t n, const void *grad, const void *x,
                     const void *second, void *value, void *slope, const double *param, int threads);
    ptrdiff_t (*run_rows)(int what, int direction, int storage, ptrdiff_t rows, ptrdiff_t classes, const void *grad,
                          const void *x, const int64_t *label, int64_t ignore_index, double scale, void *value,
                          void *out, int threads);
} lg_api;
/* cffi: the end. */

#ifdef Py_PYTHON_H
/* The table, or NULL with an ImportError that says why there is none. */
static inline const lg_api *lg_import(void) {
    PyObject *module = PyImport_ImportModule("lossgrad.kernels");
    PyObject *capsule = module ? PyObject_GetAttrString(module, "_C_API") : NULL;
    const lg_api *api = capsule ? (const lg_api *)PyCapsule_GetPointer(capsule, "lossgrad.kernels._C_API") : NULL;
    Py_XDECREF(capsule);
    Py_XDECREF(module);
    if (!api || api->abi == LG_ABI) return api;
    PyErr_Format(PyExc_ImportError,
                 "built with lossgrad.h of ABI %d, but the lossgrad installed has %d: build it again", LG_ABI,
                 api->abi);
    return NULL;
}
#endif
#endif
