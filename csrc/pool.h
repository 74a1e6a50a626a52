/* Long jobs in parts, shared out over threads (pool.c). There is no Python here, and nothing of what a part does. */
#ifndef LG_POOL_H
#define LG_POOL_H
#include <stddef.h>

/* A job of `count` independent elements or rows, each of which costs about `width` float32 elements. */
typedef struct {
    void (*part)(void *job, void *total, void *scratch, ptrdiff_t begin, ptrdiff_t end);
    void (*merge)(void *job, const void *total); /* adds a helper's total to the caller's, one at a time */
    void *job;
    void *total;         /* the caller's, cleared; NULL if parts add nothing up */
    size_t total_size;   /* of a helper's own, cleared as well */
    size_t scratch_size; /* of memory that each thread has for itself, aligned to 64 */
    ptrdiff_t count, width;
} lg_work;

enum {
    LG_DONE,
    LG_STOPPED,   /* look() said so; parts of the job have not been done */
    LG_NO_MEMORY, /* nothing has been done */
    LG_FORKED     /* look() returned in a forked child, whose parent had helpers at work */
};

/* Does the whole job, by at most so many threads, the calling one included. While it takes, look() (unless it is
 * NULL) is called by the caller at least every 25 ms; where it returns other than 0 the rest is left undone. No
 * helper touches the job any more when this returns. */
int lg_share(const lg_work *work, int threads, int (*look)(void));

/* Whether the rest of the job that this thread is at shall be left undone: parts ask after every 2^16 elements or
 * so, and return. */
int lg_stopped(void);

/* When it pays, in seconds. */
typedef struct {
    double worth;    /* of a job's rest: a shorter one is not shared */
    double shortest; /* of a part, beside which taking it costs nothing */
} lg_sharing;
lg_sharing lg_set_sharing(lg_sharing sharing); /* the one before; for tests */

typedef struct {
    int threads, shared;
} lg_pool_state; /* helpers started; jobs that were offered to any */
lg_pool_state lg_pool_now(void);
#endif
