/* The pool of threads for blocking calls: order, limit, cancellation, deadlines, shrinking, ending. */
#include "check.h"

#include <pthread.h>

#include "base/atomic.h"
#include "blocking.h"

static rm_rt *the_runtime(void) { return rm_g_self()->p->rt; }

static ramet_stats stats(void) {
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    return st;
}

static void *echo(void *arg) { return arg; }

static void *sleep_ms(void *arg) {
    usleep((useconds_t)(intptr_t)arg * 1000);
    return arg;
}

static void returns_result(void) {
    void *r = NULL;
    CHECK_EQ(ramet_blocking(echo, &r, &r), 0);
    CHECK(r == &r);
    CHECK_EQ(ramet_blocking(echo, &r, NULL), 0);
    CHECK_EQ(ramet_blocking(NULL, NULL, NULL), -EINVAL);
    CHECK_EQ(rm_pool_inflight(the_runtime()), 0);
}

static void *thread_facts(void *arg) {
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    *(pthread_t *)arg = pthread_self();
    return (void *)(intptr_t)(sigismember(&now, SIGINT) && sigismember(&now, SIGUSR1) && sigismember(&now, SIGCHLD));
}

static void other_thread_without_signals(void) {
    pthread_t t;
    void *masked;
    sigset_t mine;
    CHECK_EQ(ramet_blocking(thread_facts, &t, &masked), 0);
    CHECK(!pthread_equal(t, pthread_self()));
    CHECK(masked);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    CHECK(!sigismember(&mine, SIGINT));
}

static int ticks;
static void ticker(void *arg) {
    while (!*(volatile int *)arg) {
        ticks++;
        ramet_sleep(RAMET_MILLISECOND);
    }
}

static void others_run_meanwhile(void) {
    int stop = 0;
    ramet_goroutine g;
    ticks = 0;
    CHECK_EQ(ramet_go(ticker, &stop, &g), 0);
    CHECK_EQ(ramet_blocking(sleep_ms, (void *)50, NULL), 0);
    CHECK(ticks >= 5);
    stop = 1;
    ramet_join(g, RAMET_FOREVER);
}

/* ---- many ---- */

static int done_count;
static void one_call(void *arg) {
    void *r;
    CHECK_EQ(ramet_blocking(echo, arg, &r), 0);
    CHECK(r == arg);
    done_count++;
}

static void thousand_at_once(void) {
    static ramet_goroutine g[1000];
    done_count = 0;
    for (intptr_t i = 0; i < 1000; i++) CHECK_EQ(ramet_go(one_call, (void *)i, &g[i]), 0);
    for (int i = 0; i < 1000; i++) CHECK_EQ(ramet_join(g[i], RAMET_FOREVER), 0);
    CHECK_EQ(done_count, 1000);
    CHECK(stats().pool_threads <= RM_POOL_MAX);
    CHECK_EQ(stats().pool_queued, 0);
}

static void back_to_back(void) { /* through the spinning hand-over */
    for (intptr_t i = 0; i < 20000; i++) {
        void *r;
        CHECK_EQ(ramet_blocking(echo, (void *)i, &r), 0);
        CHECK(r == (void *)i);
    }
}

/* ---- options: a runtime of their own ---- */

static int order[16], norder;
static void *note(void *arg) { /* one thread: no two at once */
    order[norder++] = (int)(intptr_t)arg;
    usleep(1000);
    return NULL;
}
static void note_call(void *arg) { CHECK_EQ(ramet_blocking(note, arg, NULL), 0); }

static int order_main(void *arg) {
    ramet_goroutine g[16];
    norder = 0;
    for (intptr_t i = 0; i < 16; i++) ramet_go(note_call, (void *)i, &g[i]);
    for (int i = 0; i < 16; i++) ramet_join(g[i], RAMET_FOREVER);
    for (int i = 0; i < 16; i++) CHECK_EQ(order[i], i);
    CHECK_EQ(stats().pool_threads, 1);
    return 0;
}

static void first_in_first_out(void) {
    for (int mode = 0; mode < 2; mode++)
        CHECK_EQ(ramet_run(order_main, NULL, &(ramet_options){.mode = (ramet_mode)mode, .max_threads = 1}), 0);
}

static int at_once, peak;
static void *count_peak(void *arg) {
    int n = __atomic_add_fetch(&at_once, 1, __ATOMIC_SEQ_CST), p = rm_load(&peak);
    while (n > p && !__atomic_compare_exchange_n(&peak, &p, n, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    usleep(20000);
    __atomic_sub_fetch(&at_once, 1, __ATOMIC_SEQ_CST);
    return NULL;
}
static void peak_call(void *arg) { CHECK_EQ(ramet_blocking(count_peak, arg, NULL), 0); }

static int limit_main(void *arg) {
    ramet_goroutine g[24];
    peak = 0;
    for (int i = 0; i < 24; i++) ramet_go(peak_call, NULL, &g[i]);
    ramet_sleep(30 * RAMET_MILLISECOND);
    CHECK(stats().pool_queued >= 10);
    for (int i = 0; i < 24; i++) ramet_join(g[i], RAMET_FOREVER);
    CHECK_EQ(peak, 4);
    CHECK_EQ(stats().pool_threads, 4);
    rm_pool_set_max(the_runtime(), 8);
    peak = 0;
    for (int i = 0; i < 24; i++) ramet_go(peak_call, NULL, &g[i]);
    for (int i = 0; i < 24; i++) ramet_join(g[i], RAMET_FOREVER);
    CHECK_EQ(peak, 8);
    return 0;
}

static void limit_of_threads(void) {
    for (int mode = 0; mode < 2; mode++)
        CHECK_EQ(ramet_run(limit_main, NULL, &(ramet_options){.mode = (ramet_mode)mode, .max_threads = 4}), 0);
}

static int shrink_main(void *arg) {
    ramet_goroutine g[8];
    for (int i = 0; i < 8; i++) ramet_go(peak_call, NULL, &g[i]);
    for (int i = 0; i < 8; i++) ramet_join(g[i], RAMET_FOREVER);
    CHECK(stats().pool_threads >= 2);
    for (int i = 0; i < 200 && stats().pool_threads; i++) ramet_sleep(5 * RAMET_MILLISECOND);
    CHECK_EQ(stats().pool_threads, 0);
    CHECK_EQ(ramet_blocking(echo, NULL, NULL), 0); /* and it grows again */
    CHECK_EQ(stats().pool_threads, 1);
    return 0;
}

static void idle_threads_end(void) {
    rm_pool_ttl = 30 * RAMET_MILLISECOND;
    for (int mode = 0; mode < 2; mode++)
        CHECK_EQ(ramet_run(shrink_main, NULL, &(ramet_options){.mode = (ramet_mode)mode}), 0);
    rm_pool_ttl = RM_POOL_TTL_NS;
}

/* ---- cancellation and deadlines ---- */

static int cancelled_with;
static void cancelled_call(void *arg) { cancelled_with = ramet_blocking(sleep_ms, arg, NULL); }

static void cancel_while_running(void) {
    ramet_goroutine g;
    CHECK_EQ(ramet_go(cancelled_call, (void *)100, &g), 0);
    ramet_sleep(10 * RAMET_MILLISECOND);
    int64_t began = ramet_now();
    CHECK_EQ(ramet_cancel(g), 0);
    CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0);
    CHECK(ramet_now() - began < 50 * RAMET_MILLISECOND);
    CHECK_EQ(cancelled_with, -ECANCELED);
    CHECK_EQ(rm_pool_inflight(the_runtime()), 1); /* it goes on */
    while (rm_pool_inflight(the_runtime())) ramet_sleep(5 * RAMET_MILLISECOND);
    CHECK_EQ(ramet_blocking(echo, NULL, NULL), 0);
}

static void cancel_before(void) { /* nothing is started */
    ramet_scope s;
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), 0);
    ramet_scope_cancel(&s);
    CHECK_EQ(ramet_blocking(echo, NULL, NULL), -ECANCELED);
    CHECK_EQ(rm_pool_inflight(the_runtime()), 0);
    CHECK_EQ(ramet_scope_leave(&s), 1);
}

static int dropped;
static void drop(void *arg) { dropped += arg != NULL; }

static void deadline_and_drop(void) {
    rm_rt *rt = the_runtime();
    void *r = NULL;
    dropped = 0;
    CHECK_EQ(rm_blocking_until(rt, rm_g_self(), sleep_ms, (void *)60, &r, ramet_deadline(10 * RAMET_MILLISECOND), drop),
             -ETIMEDOUT);
    CHECK_EQ(dropped, 0); /* still running */
    while (rm_pool_inflight(rt)) ramet_sleep(5 * RAMET_MILLISECOND);
    CHECK_EQ(dropped, 1);
    CHECK_EQ(rm_blocking_until(rt, rm_g_self(), sleep_ms, (void *)1, &r, ramet_deadline(RAMET_SECOND), drop), 0);
    CHECK(r == (void *)1);
    CHECK_EQ(dropped, 1);
}

/* Finished and cancelled before the goroutine has run again: the outcome is one of the two, and nothing leaks. */
static void race_call(void *arg) {
    int e = ramet_blocking(sleep_ms, (void *)0, NULL);
    CHECK(e == 0 || e == -ECANCELED);
}

static void finish_races_cancel(void) {
    for (int i = 0; i < 300; i++) {
        ramet_goroutine g;
        ramet_go(race_call, NULL, &g);
        ramet_yield();
        for (int spin = 0; spin < i * 20; spin++) rm_pause();
        ramet_cancel(g);
        ramet_join(g, RAMET_FOREVER);
    }
    while (rm_pool_inflight(the_runtime())) ramet_sleep(RAMET_MILLISECOND);
}

/* ---- the end ---- */

static int leave_running(void *arg) {
    ramet_goroutine g;
    for (int i = 0; i < 6; i++) { /* two run, four are queued, all are cancelled and then dropped */
        ramet_go(cancelled_call, (void *)80, &g);
        ramet_yield();
    }
    ramet_sleep(5 * RAMET_MILLISECOND);
    return 7;
}

static void runtime_ends_first(void) {
    for (int mode = 0; mode < 2; mode++) {
        int64_t began = ramet_now();
        CHECK_EQ(ramet_run(leave_running, NULL, &(ramet_options){.mode = (ramet_mode)mode, .max_threads = 2}), 7);
        CHECK(ramet_now() - began < RAMET_SECOND);
    }
}

static void *foreign(void *result) {
    void *r;
    *(int *)result = ramet_blocking(echo, result, &r) == 0 && r == result;
    return NULL;
}

static void foreign_thread_just_calls(void) {
    pthread_t t;
    int ok = 0;
    CHECK_EQ(pthread_create(&t, NULL, foreign, &ok), 0);
    ramet_sleep(5 * RAMET_MILLISECOND);
    pthread_join(t, NULL);
    CHECK(ok);
}

static const check_test tests[] = {IN_RUNTIME(returns_result),
                                   IN_RUNTIME(other_thread_without_signals),
                                   IN_RUNTIME(others_run_meanwhile),
                                   IN_RUNTIME(thousand_at_once),
                                   IN_RUNTIME(back_to_back),
                                   PLAIN(first_in_first_out),
                                   PLAIN(limit_of_threads),
                                   PLAIN(idle_threads_end),
                                   IN_RUNTIME(cancel_while_running),
                                   IN_RUNTIME(cancel_before),
                                   IN_RUNTIME(deadline_and_drop),
                                   IN_RUNTIME(finish_races_cancel),
                                   PLAIN(runtime_ends_first),
                                   IN_RUNTIME(foreign_thread_just_calls),
                                   {0}};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
