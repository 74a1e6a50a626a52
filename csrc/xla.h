/* What XLA's calls of foreign functions are made of, as far as xla.c reads it. This is the binary interface 0.x of
 * xla/ffi/api/c_api.h, which jaxlib keeps stable; tests/test_jax.py compares it with the header that jaxlib ships. It
 * is written down here so that the kernels are built without JAX. */
#ifndef LG_XLA_H
#define LG_XLA_H
#include <stddef.h>
#include <stdint.h>

enum { XLA_F16 = 10, XLA_F32, XLA_F64, XLA_BF16 = 16 };
enum { XLA_S8 = 2, XLA_U64 = 9 }; /* integers in the order of LG_I8 to LG_U64 */
enum { XLA_ARRAY = 1, XLA_SCALAR = 3 };
enum { XLA_EXECUTE = 3, XLA_INVALID_ARGUMENT = 3, XLA_METADATA = 1 };

typedef struct xla_extension {
    size_t struct_size;
    int type;
    struct xla_extension *next;
} xla_extension;
typedef struct {
    size_t struct_size;
    xla_extension *extension;
    int major, minor;
} xla_version;
/* An extension of type XLA_METADATA asks for the version that the handler was written for. */
typedef struct {
    size_t struct_size;
    xla_version version;
    uint32_t traits;
} xla_metadata;
typedef struct {
    xla_extension base;
    xla_metadata *metadata;
} xla_metadata_extension;

typedef struct xla_error xla_error;
typedef struct {
    size_t struct_size;
    xla_extension *extension;
    const char *message;
    int code;
} xla_error_arguments;
typedef struct {
    size_t struct_size;
    xla_extension *extension;
    xla_version version;
    const void *internal;
    xla_error *(*create_error)(xla_error_arguments *);
} xla_api;

typedef struct {
    size_t struct_size;
    xla_extension *extension;
    int dtype;
    void *data;
    int64_t rank;
    int64_t *dims;
} xla_buffer;
typedef struct {
    int dtype;
    void *value;
} xla_scalar;
typedef struct {
    int dtype;
    size_t size;
    void *data;
} xla_array;
typedef struct {
    size_t struct_size;
    xla_extension *extension;
    int64_t size;
    int *types;
    void **at;
} xla_operands;
typedef struct {
    size_t struct_size;
    xla_extension *extension;
    int64_t size;
    int *types;
    void **names;
    void **at;
} xla_attributes; /* sorted by name */
typedef struct {
    size_t struct_size;
    xla_extension *extension;
    const xla_api *api;
    void *context;
    int stage;
    xla_operands arguments, results;
    xla_attributes attributes;
} xla_call;

xla_error *lg_xla_elements(xla_call *call);
xla_error *lg_xla_rows(xla_call *call);
#endif
