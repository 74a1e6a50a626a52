/* The threads that share long jobs: started when they are first needed, never ended, asleep when there is nothing to
 * do. A job is a call on its caller's stack. The caller takes parts too and never waits for a helper that has not
 * begun, so that with every helper busy or gone it does all of them itself; it returns only when every helper that
 * has begun is out of the call. Callers at the same time get the helpers that are idle. */
#include "pool.h"
#include "threads.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIRECT = 1 << 16, /* float32 elements that are computed without a look at the clock */
    FIRST = 1 << 13,  /* that are done first, to see how long they take */
    MOST_HELPERS = 1023,
    SMALL = 1 << 14 /* bytes of scratch on the stack */
};
#define LONGEST 10e-3 /* seconds of a part */
#define BETWEEN 10e-3 /* seconds between two looks */
/* Seconds that an idle helper stays awake, and a caller that waits for the last: about what it takes to be woken, so
 * that waiting costs at most twice what it had to (A. R. Karlin et al., Competitive randomized algorithms for
 * nonuniform problems, 1994). Yielding meanwhile, they take nothing from others. */
#define AWAKE 50e-6

static lg_sharing sharing = {50e-6, 20e-6};

typedef struct call {
    const lg_work *work;
    atomic_ptrdiff_t next; /* where the next part begins */
    ptrdiff_t least, most; /* of a part */
    int threads;           /* that share it, at most */
    atomic_int stop;
    unsigned generation;
    /* under the pool's lock: */
    int wanted;        /* helpers that may still come */
    atomic_int inside; /* helpers that have */
    lg_bell left;      /* rung by the last */
    struct call *after;
    lg_lock merging;
} call;

static struct {
    lg_lock lock;
    lg_bell bell;      /* rung for those asleep */
    call *open;        /* that want helpers */
    atomic_int wanted; /* by all of them together */
    int threads, asleep, shared;
    unsigned generation; /* of processes: a forked child has none of its parent's threads */
    int watched;
} pool = {.lock = LG_LOCK_FREE, .bell = LG_BELL_SILENT};

/* What this thread is at. */
typedef struct {
    call *of;
    int (*look)(void); /* NULL in a helper */
    double looked;
} place;
static _Thread_local place *here;

/* ---- parts ---- */

/* In a child that look() has forked: whether helpers were at parts, which nobody finishes there. */
static int lost_helpers(const call *c) { return c->generation != pool.generation && c->inside; }

static int must_stop(place *at) {
    call *c = at->of;
    if (at->look && !atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        const double now = lg_seconds();
        if (now - at->looked >= BETWEEN) {
            place *const inside = here;
            here = NULL; /* what is called there may share jobs, too */
            const int stop = at->look();
            here = inside;
            at->looked = now;
            if (stop || lost_helpers(c)) atomic_store(&c->stop, 1);
        }
    }
    return atomic_load_explicit(&c->stop, memory_order_relaxed);
}

int lg_stopped(void) { return here && must_stop(here); }

/* Parts get smaller towards the end, so that all finish together; one alone takes them as long as may be. */
static int take(call *c, ptrdiff_t *begin, ptrdiff_t *end) {
    const ptrdiff_t count = c->work->count;
    ptrdiff_t at = atomic_load_explicit(&c->next, memory_order_relaxed), size;
    do {
        if (at >= count) return 0;
        size = c->threads == 1 ? count - at : (count - at) / (2 * c->threads);
        size = size < c->least ? c->least : size > c->most ? c->most : size;
        if (size > count - at) size = count - at;
    } while (
        !atomic_compare_exchange_weak_explicit(&c->next, &at, at + size, memory_order_relaxed, memory_order_relaxed));
    *begin = at;
    *end = at + size;
    return 1;
}

/* A thread's own memory is its total, then its scratch. */
static size_t total_room(const lg_work *work) { return work->total ? (work->total_size + 63) & ~(size_t)63 : 0; }

static void do_part(place *at, void *total, char *own, ptrdiff_t begin, ptrdiff_t end) {
    const lg_work *work = at->of->work;
    place *const outer = here;
    here = at;
    work->part(work->job, total, own + total_room(work), begin, end);
    here = outer;
}

/* As many parts as can be had, and what they add up to to the job's total: which others do, too. */
static void take_part(place *at, char *own) {
    call *c = at->of;
    void *total = c->work->total ? own : NULL;
    if (total) memset(total, 0, c->work->total_size);
    for (ptrdiff_t begin, end; !must_stop(at) && take(c, &begin, &end);) do_part(at, total, own, begin, end);
    if (!total || lost_helpers(c)) return;
    lg_acquire(&c->merging);
    c->work->merge(c->work->job, total);
    lg_release(&c->merging);
}

/* ---- helpers ---- */

/* Memory for a thread alone: the stack's, if that is enough. */
static void *own_memory(size_t size, void *small) {
    if (size <= SMALL) return small;
    void *memory = malloc(size + 64);
    if (!memory) return NULL;
    char *aligned = (char *)(((uintptr_t)memory + 64) & ~(uintptr_t)63); /* room for the address before it */
    memcpy(aligned - sizeof memory, &memory, sizeof memory);
    return aligned;
}
static void give_back(void *own, void *small) {
    if (!own || own == small) return;
    void *memory;
    memcpy(&memory, (char *)own - sizeof memory, sizeof memory);
    free(memory);
}

static void help(call *c) {
    _Alignas(64) char small[SMALL];
    char *own = own_memory(total_room(c->work) + c->work->scratch_size, small);
    if (!own) return; /* others do it */
    place at = {c, NULL, 0};
    take_part(&at, own);
    give_back(own, small);
}

static void unlist(call *c) {
    for (call **at = &pool.open; *at; at = &(*at)->after)
        if (*at == c) {
            *at = c->after;
            return;
        }
}

/* Awake for a while, then asleep, until a call wants helpers. The lock is held before and after. */
static void wait_for_a_call(void) {
    lg_release(&pool.lock);
    const double until = lg_seconds() + AWAKE;
    while (!atomic_load_explicit(&pool.wanted, memory_order_relaxed) && lg_seconds() < until) lg_yield();
    lg_acquire(&pool.lock);
    while (!pool.open) {
        pool.asleep++;
        lg_sleep(&pool.bell, &pool.lock);
        pool.asleep--;
    }
}

static void lg_thread(void) {
    lg_acquire(&pool.lock);
    for (;;) {
        if (!pool.open) wait_for_a_call();
        call *c = pool.open;
        c->inside++;
        atomic_fetch_sub(&pool.wanted, 1);
        if (--c->wanted == 0) unlist(c);
        lg_release(&pool.lock);
        help(c);
        lg_acquire(&pool.lock);
        if (--c->inside == 0) lg_wake(&c->left); /* it may be gone when the lock is */
    }
}

/* ---- a forked child ---- */

static void before_fork(void) { lg_acquire(&pool.lock); }
static void in_parent(void) { lg_release(&pool.lock); }
static void in_child(void) {
    const unsigned generation = pool.generation + 1;
    memset(&pool, 0, sizeof pool);
    pool.lock = (lg_lock)LG_LOCK_FREE;
    pool.bell = (lg_bell)LG_BELL_SILENT;
    pool.generation = generation;
    pool.watched = 1;
}

/* ---- callers ---- */

/* At least so many helpers, if they can be had. */
static void grow(int number) {
    if (!pool.watched) lg_at_fork(before_fork, in_parent, in_child);
    pool.watched = 1;
    while (pool.threads < number && lg_start_thread()) pool.threads++;
}

static void call_helpers(call *c, int number) {
    lg_acquire(&pool.lock);
    grow(number);
    number = number < pool.threads ? number : pool.threads;
    int asleep = 0;
    if (number) {
        c->wanted = number;
        c->after = pool.open;
        pool.open = c;
        pool.shared++;
        atomic_fetch_add(&pool.wanted, number);
        asleep = pool.asleep < number ? pool.asleep : number;
    }
    lg_release(&pool.lock);
    for (; asleep; asleep--) lg_wake(&pool.bell);
}

/* No more helpers come, and those that did are out. */
static void let_go(call *c) {
    if (c->generation != pool.generation) return; /* they have stayed behind */
    lg_acquire(&pool.lock);
    if (c->wanted) unlist(c);
    atomic_fetch_sub(&pool.wanted, c->wanted);
    c->wanted = 0;
    lg_release(&pool.lock);
    const double until = lg_seconds() + AWAKE;
    while (c->inside && lg_seconds() < until) lg_yield();
    lg_acquire(&pool.lock); /* even where none is inside: the last still rings the bell */
    while (c->inside) lg_sleep(&c->left, &pool.lock);
    lg_release(&pool.lock);
}

/* The first part, which tells how long all take: how many helpers are worth calling for the rest. */
static int first_part(place *at, char *own, int threads) {
    call *c = at->of;
    const lg_work *work = c->work;
    const ptrdiff_t first = FIRST / work->width > 1 ? FIRST / work->width : 1, rest = work->count - first;
    const double start = at->looked;
    do_part(at, work->total, own, 0, first);
    double pace = (lg_seconds() - start) / (double)first;
    if (pace < 1e-12) pace = 1e-12;
    atomic_store(&c->next, first);
    c->least = (ptrdiff_t)(sharing.shortest / pace) + 1;
    c->most = (ptrdiff_t)(LONGEST / pace) + 1;
    if (pace * (double)rest <= sharing.worth || c->stop) return 0;
    const ptrdiff_t helpers = threads - 1 < MOST_HELPERS ? threads - 1 : MOST_HELPERS;
    return (int)(rest / c->least < helpers ? rest / c->least : helpers);
}

static int share(const lg_work *work, int threads, int (*look)(void), char *own) {
    call c = {.work = work, .generation = pool.generation, .left = LG_BELL_SILENT, .merging = LG_LOCK_FREE};
    place at = {&c, look, lg_seconds()};
    const int helpers = first_part(&at, own, threads);
    c.threads = helpers + 1;
    if (helpers) call_helpers(&c, helpers);
    take_part(&at, own);
    if (helpers) let_go(&c);
    return lost_helpers(&c) ? LG_FORKED : c.stop ? LG_STOPPED : LG_DONE;
}

int lg_share(const lg_work *work, int threads, int (*look)(void)) {
    _Alignas(64) char small[SMALL];
    const int direct = work->count <= DIRECT / work->width;
    char *own = own_memory((direct ? 0 : total_room(work)) + work->scratch_size, small);
    int status = LG_DONE;
    if (!own) return LG_NO_MEMORY;
    if (direct) work->part(work->job, work->total, own, 0, work->count);
    else status = share(work, threads, look, own);
    give_back(own, small);
    return status;
}

lg_sharing lg_set_sharing(lg_sharing given) {
    const lg_sharing before = sharing;
    sharing = given;
    return before;
}

lg_pool_state lg_pool_now(void) {
    lg_acquire(&pool.lock);
    const lg_pool_state now = {pool.threads, pool.shared};
    lg_release(&pool.lock);
    return now;
}
