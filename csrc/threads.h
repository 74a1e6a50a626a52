/* What the pool (pool.c, alone) needs of the system: a lock, sleeping and waking, a thread, a clock. */
#ifndef LG_THREADS_H
#define LG_THREADS_H
#include <stddef.h>
#include <stdint.h>

static void lg_thread(void); /* what each thread does */

#if defined(_WIN32)
#include <process.h>
#include <windows.h>
typedef SRWLOCK lg_lock;
typedef CONDITION_VARIABLE lg_bell;
#define LG_LOCK_FREE SRWLOCK_INIT
#define LG_BELL_SILENT CONDITION_VARIABLE_INIT
static inline void lg_acquire(lg_lock *lock) { AcquireSRWLockExclusive(lock); }
static inline void lg_release(lg_lock *lock) { ReleaseSRWLockExclusive(lock); }
static inline void lg_sleep(lg_bell *bell, lg_lock *lock) { SleepConditionVariableSRW(bell, lock, INFINITE, 0); }
static inline void lg_wake(lg_bell *bell) { WakeConditionVariable(bell); }
static unsigned __stdcall lg_begin_thread(void *unused) {
    (void)unused;
    lg_thread();
    return 0;
}
static inline int lg_start_thread(void) {
    const uintptr_t thread = _beginthreadex(NULL, 0, lg_begin_thread, NULL, 0, NULL);
    if (thread) CloseHandle((HANDLE)thread);
    return thread != 0;
}
static inline void lg_yield(void) { SwitchToThread(); }
static inline double lg_seconds(void) {
    LARGE_INTEGER now, each;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&each);
    return (double)now.QuadPart / (double)each.QuadPart;
}
static inline void lg_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    (void)before, (void)parent, (void)child;
}

#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
typedef pthread_mutex_t lg_lock;
typedef pthread_cond_t lg_bell;
#define LG_LOCK_FREE PTHREAD_MUTEX_INITIALIZER
#define LG_BELL_SILENT PTHREAD_COND_INITIALIZER
static inline void lg_acquire(lg_lock *lock) { pthread_mutex_lock(lock); }
static inline void lg_release(lg_lock *lock) { pthread_mutex_unlock(lock); }
static inline void lg_sleep(lg_bell *bell, lg_lock *lock) { pthread_cond_wait(bell, lock); }
static inline void lg_wake(lg_bell *bell) { pthread_cond_signal(bell); }
static void *lg_begin_thread(void *unused) {
    lg_thread();
    return unused;
}
/* Signals are for the program's own threads, except those that a fault raises. */
static inline int lg_start_thread(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t none, before;
    pthread_t thread;
    pthread_attr_t detached;
    sigfillset(&none);
    for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) sigdelset(&none, faults[k]);
    if (pthread_attr_init(&detached)) return 0;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 1 << 20); /* some systems give little */
    pthread_sigmask(SIG_SETMASK, &none, &before);
    const int failed = pthread_create(&thread, &detached, lg_begin_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return !failed;
}
static inline void lg_yield(void) { sched_yield(); }
static inline double lg_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
static inline void lg_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    pthread_atfork(before, parent, child);
}
#endif
#endif
