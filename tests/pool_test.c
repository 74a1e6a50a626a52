/* The pool alone, without Python: `tests/test_pool.py` compiles this beside csrc/pool.c, plainly and for the thread
 * sanitizer. Every job adds up numbers, and writes each of its places once. */
#include "../csrc/pool.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#ifndef COUNT /* fewer under the thread sanitizer */
#define COUNT 100000
#endif

typedef struct {
    int64_t sum;
    int parts;
    int written[COUNT];
    size_t scratch;
} job;

static void part(void *of, void *total, void *scratch, ptrdiff_t begin, ptrdiff_t end) {
    job *j = of;
    if (j->scratch) memset(scratch, (int)begin, j->scratch); /* nobody else's */
    for (ptrdiff_t i = begin; i < end; i++) {
        if (i % 4096 == 0 && lg_stopped()) return;
        j->written[i]++;
        *(int64_t *)total += i;
    }
}
static void merge(void *of, const void *total) {
    job *j = of;
    j->sum += *(const int64_t *)total;
    j->parts++;
}
static int run(job *j, int threads, int (*look)(void)) {
    const lg_work work = {part, merge, j, &j->sum, sizeof j->sum, j->scratch, COUNT, 8};
    j->sum = 0;
    j->parts = 0;
    memset(j->written, 0, sizeof j->written);
    return lg_share(&work, threads, look);
}
static void check_whole(const job *j) {
    for (int i = 0; i < COUNT; i++) CHECK(j->written[i] == 1);
    CHECK(j->sum == (int64_t)COUNT * (COUNT - 1) / 2);
}

/* Jobs one after another, by one and by many threads, with scratch of the stack and of the heap. */
static void *call(void *unused) {
    job *j = malloc(sizeof *j);
    CHECK(j);
    for (int k = 0; k < 60; k++) {
        j->scratch = k % 3 == 2 ? 100000 : k % 3 * 1000;
        CHECK(run(j, 1 + k % 5, NULL) == LG_DONE);
        check_whole(j);
    }
    free(j);
    return unused;
}

static void callers_at_once(void) {
    pthread_t caller[6];
    for (int k = 0; k < 6; k++) CHECK(!pthread_create(&caller[k], NULL, call, NULL));
    for (int k = 0; k < 6; k++) CHECK(!pthread_join(caller[k], NULL));
}

/* A job that is told to stop: whatever is written after lg_share has returned is a race, or a crash. */
static int looks, stop_at;
static int look(void) { return ++looks >= stop_at; }
/* Some 40 ms by four threads, whatever COUNT is: the caller looks three times. */
static void slow_part(void *of, void *total, void *scratch, ptrdiff_t begin, ptrdiff_t end) {
    part(of, total, scratch, begin, end);
    usleep((unsigned)((int64_t)150000 * (end - begin) / COUNT));
}
static int run_slowly(job *j, int threads, int (*asked)(void)) {
    const lg_work work = {slow_part, merge, j, &j->sum, sizeof j->sum, 0, COUNT, 8};
    return lg_share(&work, threads, asked);
}
static void stopped(void) {
    int told = 0;
    for (int k = 0; k < 30; k++) {
        job *j = calloc(1, sizeof *j);
        CHECK(j);
        looks = 0;
        stop_at = 1 + k % 3;
        const int status = run_slowly(j, 4, look);
        CHECK(status == (looks >= stop_at ? LG_STOPPED : LG_DONE));
        told += status == LG_STOPPED;
        memset(j, 0xff, sizeof *j);
        free(j);
    }
    CHECK(told > 0);
}

/* Jobs within a look, whose own looks come in between. */
static job *inner;
static int nested(void) {
    CHECK(run(inner, 3, NULL) == LG_DONE);
    check_whole(inner);
    return 0;
}
static void jobs_in_a_look(void) {
    job *j = calloc(1, sizeof *j);
    inner = calloc(1, sizeof *inner);
    CHECK(j && inner);
    CHECK(run_slowly(j, 3, nested) == LG_DONE);
    check_whole(j);
    free(j);
    free(inner);
}

/* A child has no threads of its parent's, and starts its own. */
static void ends_well(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
static void forked(void) {
    for (int k = 0; k < 20; k++) {
        const pid_t child = fork();
        if (child == 0) {
            CHECK(lg_pool_now().threads == 0);
            call(NULL);
            _exit(0);
        }
        ends_well(child);
    }
}

/* A child of a look, in the middle of a job, learns that its helpers have stayed behind. */
static pid_t child_of_look;
static int fork_once(void) {
    if (!child_of_look) child_of_look = fork();
    return 0;
}
static void forked_in_a_look(void) {
    int told = 0;
    for (int k = 0; k < 20; k++) {
        job *j = calloc(1, sizeof *j);
        CHECK(j);
        child_of_look = 0;
        const int status = run_slowly(j, 4, fork_once);
        if (getpid() != (pid_t)stop_at) { /* the child */
            if (status == LG_DONE) check_whole(j);
            else CHECK(status == LG_FORKED);
            call(NULL);
            _exit(status == LG_FORKED ? 7 : 0);
        }
        CHECK(status == LG_DONE);
        check_whole(j);
        free(j);
        if (!child_of_look) continue;
        int how;
        CHECK(waitpid(child_of_look, &how, 0) == child_of_look && WIFEXITED(how));
        CHECK(WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == 7);
        told += WEXITSTATUS(how) == 7;
    }
    CHECK(told > 0);
}

int main(int argc, char **argv) {
    lg_set_sharing((lg_sharing){0, 1e-6});
    call(NULL);
    callers_at_once();
    stopped();
    jobs_in_a_look();
    CHECK(lg_pool_now().threads > 0 && lg_pool_now().shared > 0);
    if (argc > 1 && !strcmp(argv[1], "forks")) { /* which the thread sanitizer does not follow */
        stop_at = getpid();
        forked();
        forked_in_a_look();
    }
    puts("good");
    return 0;
}
