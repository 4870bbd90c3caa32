/* test_g.c: goroutines: order, yield, join, cancel, names, statistics; run itself; the deadlock report. */
#include <errno.h>

#include "check.h"
#include "base/config.h"

/* ------------------------------------------------------------------ helpers ---- */

static int seen[100], nseen;
static void note(void *arg) { seen[nseen++] = (int)(intptr_t)arg; }
static void nothing(void *arg) { (void)arg; }

static int parked_result;
static void parked(void *arg) {
    (void)arg;
    parked_result = ramet_chan_recv(NULL, NULL, RAMET_FOREVER);
}

static ramet_stats stats(void) {
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    return st;
}

/* What fn writes to stderr, in a buffer. */
static char captured[20000];
static void capture(void (*fn)(void *), void *arg) {
    FILE *f = tmpfile();
    CHECK(f);
    fflush(stderr);
    int old = dup(2);
    dup2(fileno(f), 2);
    fn(arg);
    fflush(stderr);
    dup2(old, 2);
    close(old);
    rewind(f);
    captured[fread(captured, 1, sizeof captured - 1, f)] = 0;
    fclose(f);
}

/* ------------------------------------------------------------------ order ---- */

static void begin_in_order(void) {
    nseen = 0;
    for (int i = 0; i < 100; i++) check_go(note, (void *)(intptr_t)i);
    CHECK_EQ(nseen, 0); /* go does not park */
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(nseen, 100);
    for (int i = 0; i < 100; i++) CHECK_EQ(seen[i], i);
}

/* More than the first ring of the run queue holds. */
static int order_next;
static void in_turn(void *arg) {
    CHECK_EQ(order_next++, (intptr_t)arg);
    CHECK_EQ(ramet_yield(), 0);
    order_next++;
}

static void many_in_order(void) {
    order_next = 0;
    for (int i = 0; i < 5000; i++) check_go(in_turn, (void *)(intptr_t)i);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(order_next, 5000);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(order_next, 10000);
}

static void yielder(void *arg) {
    for (int i = 0; i < 10; i++) {
        note(arg);
        CHECK_EQ(ramet_yield(), 0);
    }
}

static void yield_is_round_robin(void) {
    nseen = 0;
    ramet_goroutine g[5];
    for (int i = 0; i < 5; i++) g[i] = check_go(yielder, (void *)(intptr_t)i);
    for (int i = 0; i < 5; i++) check_join(g[i]);
    CHECK_EQ(nseen, 50);
    for (int i = 0; i < 50; i++) CHECK_EQ(seen[i], i % 5);
}

/* A pair that talks without end must not keep the others from running, nor timers from going off. */
static ramet_chan *ball;
static void player(void *arg) {
    (void)arg;
    while (ramet_chan_recv(ball, NULL, RAMET_FOREVER) == 0 && ramet_chan_send(ball, "", RAMET_FOREVER) == 0);
}

static void server(void *arg) {
    (void)arg;
    while (ramet_chan_send(ball, "", RAMET_FOREVER) == 0 && ramet_chan_recv(ball, NULL, RAMET_FOREVER) == 0);
}

static void pair_does_not_starve(void) {
    ball = ramet_chan_make(0, 0);
    ramet_goroutine a = check_go(player, NULL), b = check_go(server, NULL);
    for (int i = 0; i < 1000; i++) CHECK_EQ(ramet_yield(), 0);
    int64_t began = ramet_now();
    CHECK_EQ(ramet_sleep(5 * RAMET_MILLISECOND), 0);
    CHECK(ramet_now() - began < 10 * RAMET_SECOND);
    CHECK_EQ(ramet_chan_close(ball), 0);
    check_join(a);
    check_join(b);
    CHECK_EQ(ramet_chan_free(ball), 0);
}

static void sleeps(void) {
    int64_t began = ramet_now();
    CHECK_EQ(ramet_sleep(0), 0);
    CHECK_EQ(ramet_sleep(-5), 0);
    CHECK_EQ(ramet_sleep(INT64_MIN), 0);
    CHECK_EQ(ramet_sleep(3 * RAMET_MILLISECOND), 0);
    CHECK(ramet_now() - began >= 3 * RAMET_MILLISECOND);
    CHECK_EQ(ramet_deadline(INT64_MAX), RAMET_FOREVER);
    CHECK(ramet_deadline(-1) >= began);
}

/* ------------------------------------------------------------------ join ---- */

static void joining(void) {
    ramet_goroutine g = check_go(nothing, NULL);
    CHECK(g.g && g.id);
    CHECK_EQ(ramet_join(g, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0); /* already ended */
    CHECK_EQ(ramet_join(g, RAMET_POLL), 0);
    ramet_goroutine h = check_go(parked, NULL); /* the same memory, another goroutine */
    CHECK(h.g == g.g && h.id != g.id);
    CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_cancel(g), -ESRCH);
    CHECK_EQ(ramet_set_name(g, "old"), -ESRCH);
    CHECK_EQ(ramet_join(h, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_join(h, -1), -ETIMEDOUT);
    CHECK_EQ(ramet_cancel(h), 0);
    check_join(h);
    CHECK_EQ(ramet_join(ramet_self(), RAMET_FOREVER), -EDEADLK);
    CHECK_EQ(ramet_join(ramet_self(), RAMET_POLL), -EDEADLK);
    CHECK_EQ(ramet_join((ramet_goroutine){NULL, 0}, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_cancel((ramet_goroutine){NULL, 0}), -ESRCH);
}

static ramet_goroutine joined;
static int join_results[50];
static void joiner(void *arg) {
    join_results[(intptr_t)arg] =
        ramet_join(joined, (intptr_t)arg % 5 == 4 ? ramet_deadline(RAMET_MILLISECOND) : RAMET_FOREVER);
}

static void many_joiners(void) {
    ramet_goroutine g[50];
    joined = check_go(parked, NULL);
    for (int i = 0; i < 50; i++) g[i] = check_go(joiner, (void *)(intptr_t)i);
    CHECK_EQ(ramet_sleep(5 * RAMET_MILLISECOND), 0);
    for (int i = 3; i < 50; i += 5) CHECK_EQ(ramet_cancel(g[i]), 0); /* some give up */
    CHECK_EQ(ramet_cancel(joined), 0);
    for (int i = 0; i < 50; i++) {
        check_join(g[i]);
        CHECK_EQ(join_results[i], i % 5 == 4 ? -ETIMEDOUT : i % 5 == 3 ? -ECANCELED : 0);
    }
}

/* ------------------------------------------------------------------ cancel ---- */

static int begun, first, second;
static void begins(void *arg) {
    (void)arg;
    begun++;
}

static void cancel_before_begin(void) {
    begun = 0;
    ramet_goroutine g = check_go(begins, NULL);
    CHECK_EQ(ramet_cancel(g), 0);
    CHECK_EQ(ramet_cancel(g), 0);
    check_join(g);
    CHECK_EQ(begun, 0);
    CHECK_EQ(ramet_cancel(g), -ESRCH);
}

static void twice(void *arg) {
    (void)arg;
    first = ramet_sleep(100 * RAMET_SECOND);
    second = ramet_sleep(RAMET_MILLISECOND);
}

static void cancel_is_consumed_once(void) {
    ramet_goroutine g = check_go(twice, NULL);
    check_settle();
    CHECK_EQ(ramet_cancel(g), 0);
    check_join(g);
    CHECK_EQ(first, -ECANCELED);
    CHECK_EQ(second, 0);
    CHECK_EQ(ramet_cancel(ramet_self()), 0); /* one that runs: its next call that may park */
    CHECK_EQ(ramet_cancel(ramet_self()), 0); /* and twice is once */
    CHECK_EQ(ramet_yield(), -ECANCELED);
    CHECK_EQ(ramet_yield(), 0);
    for (int i = 0; i < 2; i++) { /* every call that may park */
        CHECK_EQ(ramet_cancel(ramet_self()), 0);
        CHECK_EQ(i ? ramet_join(ramet_self(), RAMET_POLL) : ramet_sleep(1), -ECANCELED);
    }
}

static void cancel_while_runnable(void) { /* it keeps what it was woken for; then it is cancelled */
    ramet_chan *c = ramet_chan_make(0, 1);
    ramet_goroutine g = check_go(twice, NULL);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_cancel(g), 0);
    CHECK_EQ(ramet_cancel(g), 0); /* the first has woken it, but it has not run yet: twice is once */
    check_join(g);
    CHECK_EQ(first, -ECANCELED);
    CHECK_EQ(second, 0);
    CHECK_EQ(ramet_chan_free(c), 0);
}

/* ------------------------------------------------------------------ seeing ---- */

static void names(void) {
    ramet_goroutine g = check_go(parked, NULL), h = check_go(parked, NULL);
    char text[4000];
    CHECK_EQ(ramet_set_name(g, "a name that is far too long"), 0);
    CHECK_EQ(ramet_set_name(h, NULL), 0);
    CHECK_EQ(ramet_set_name(ramet_self(), "chief"), 0);
    check_settle();
    FILE *f = tmpfile();
    CHECK(f);
    CHECK_EQ(ramet_dump(f), 0);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    CHECK(strstr(text, "\"chief\" [running"));
    CHECK(strstr(text, "\"a name that is \" [chan (nil)"));
    CHECK(!strstr(text, "far"));
    CHECK_EQ(ramet_cancel(g), 0);
    CHECK_EQ(ramet_cancel(h), 0);
    check_join(g);
    check_join(h);
}

static void statistics(void) {
    ramet_stats a = stats();
    ramet_goroutine g[300];
    CHECK_EQ(a.goroutines, 1);
    CHECK_EQ(a.timers, 0);
    for (int i = 0; i < 300; i++) g[i] = check_go(i % 2 ? parked : nothing, NULL);
    ramet_stats b = stats();
    CHECK_EQ(b.goroutines, 301);
    CHECK_EQ(b.started, a.started + 300);
    check_settle();
    CHECK_EQ(stats().goroutines, 151);
    CHECK(stats().switches >= a.switches + 300);
    for (int i = 0; i < 300; i++) ramet_cancel(g[i]);
    for (int i = 0; i < 300; i++) check_join(g[i]);
    ramet_stats c = stats();
    CHECK_EQ(c.goroutines, 1);
    CHECK_EQ(c.timers, 0);
    CHECK_EQ(c.stacks - c.free_stacks, a.stacks - a.free_stacks);
    CHECK_EQ(c.pool_threads, 0);
    CHECK_EQ(c.fds, 0);
}

static int many_awake;
static void waits_and_counts(void *c) {
    CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), -EPIPE);
    many_awake++;
}

static void a_hundred_thousand(void) {
#if defined(CHECK_ASAN)
    int n = 20000;
#else
    int n = check_many(100000, 2000);
#endif
    ramet_chan *c = ramet_chan_make(8, 0);
    many_awake = 0;
    for (int i = 0; i < n; i++) check_go(waits_and_counts, c);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(stats().goroutines, n + 1);
    CHECK_EQ(ramet_chan_close(c), 0);
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(many_awake, n);
    CHECK_EQ(stats().goroutines, 1);
    CHECK_EQ(ramet_chan_free(c), 0);
    for (int i = 0; i < n; i++) check_go(nothing, NULL); /* in the same stacks */
    CHECK_EQ(ramet_yield(), 0);
    CHECK(stats().stacks <= (uint64_t)n + 1);
}

/* ------------------------------------------------------------------ run ---- */

static int returns_arg(void *arg) { return (int)(intptr_t)arg; }
static int runs_again(void *arg) {
    CHECK_EQ(ramet_run(returns_arg, NULL, NULL), -EBUSY);
    CHECK_EQ(ramet_yield(), 0);
    return (int)(intptr_t)arg;
}

static void run_values(void) {
    CHECK_EQ(ramet_run(returns_arg, (void *)17, NULL), 17);
    CHECK_EQ(ramet_run(returns_arg, (void *)-3, NULL), -3);
    CHECK_EQ(ramet_run(runs_again, (void *)4, NULL), 4);
    CHECK_EQ(ramet_run(NULL, NULL, NULL), -EINVAL);
    CHECK_EQ(ramet_run(returns_arg, NULL, &(ramet_options){.mode = (ramet_mode)7}), -EINVAL);
    for (int i = 0; i < 20; i++)
        for (int mode = 0; mode < 2; mode++)
            CHECK_EQ(ramet_run(runs_again, (void *)(intptr_t)i, &(ramet_options){.mode = (ramet_mode)mode}), i);
}

static void outside_a_runtime(void) {
    ramet_stats st;
    CHECK_EQ(ramet_go(nothing, NULL, NULL), -EPERM);
    CHECK_EQ(ramet_yield(), -EPERM);
    CHECK_EQ(ramet_sleep(1), -EPERM);
    CHECK_EQ(ramet_join((ramet_goroutine){NULL, 0}, RAMET_POLL), -EPERM);
    CHECK_EQ(ramet_cancel((ramet_goroutine){NULL, 0}), -EPERM);
    CHECK_EQ(ramet_set_name((ramet_goroutine){NULL, 0}, ""), -EPERM);
    CHECK_EQ(ramet_get_stats(&st), -EPERM);
    CHECK_EQ(ramet_dump(stderr), -EPERM);
    CHECK(ramet_self().g == NULL && ramet_self().id == 0);
    CHECK(ramet_now() > 0);
}

/* Goroutines that are left at the end are cancelled, and may tidy up; those that have not begun do not. */
static int tidied;
static void tidies(void *arg) {
    (void)arg;
    if (ramet_chan_recv(NULL, NULL, RAMET_FOREVER) == -ECANCELED) tidied++;
    if (ramet_sleep(RAMET_MILLISECOND) == 0) tidied++;
}

static int leaves_some(void *arg) {
    (void)arg;
    for (int i = 0; i < 100; i++) check_go(tidies, NULL);
    check_settle();
    for (int i = 0; i < 10; i++) check_go(begins, NULL);
    return 5;
}

static void left_at_the_end(void) {
    for (int mode = 0; mode < 2; mode++) {
        tidied = begun = 0;
        CHECK_EQ(ramet_run(leaves_some, NULL, &(ramet_options){.mode = (ramet_mode)mode}), 5);
        CHECK(tidied >= 100 && tidied <= 200); /* they are cancelled again and again: the sleep, too */
        CHECK_EQ(begun, 0);
    }
}

/* One that will not end is dropped after a while. */
static void stubborn(void *arg) {
    (void)arg;
    for (;;) ramet_chan_recv(NULL, NULL, RAMET_FOREVER);
}

static int leaves_a_stubborn_one(void *arg) {
    (void)arg;
    check_go(stubborn, NULL);
    check_settle();
    return 6;
}

static void stubborn_one_is_dropped(void) {
    int64_t began = ramet_now();
    CHECK_EQ(ramet_run(leaves_a_stubborn_one, NULL, NULL), 6);
    CHECK(ramet_now() - began >= RM_GRACE_NS);
    CHECK(ramet_now() - began < 10 * RM_GRACE_NS);
}

/* ------------------------------------------------------------------ deadlock ---- */

static int deadlocks(void *arg) {
    ramet_chan *c = ramet_chan_make(4, 0);
    ramet_goroutine g = check_go(parked, NULL);
    int v = 0, e = 0;
    CHECK_EQ(ramet_set_name(g, "nobody"), 0);
    ramet_case k[] = {{c, &v, RAMET_RECV, false}, {c, &v, RAMET_SEND, false}};
    switch ((intptr_t)arg) {
    case 0:
        e = ramet_chan_recv(c, &v, RAMET_FOREVER);
        break;
    case 1:
        e = ramet_chan_send(c, &v, RAMET_FOREVER);
        break;
    case 2:
        e = ramet_select(k, 2, RAMET_FOREVER);
        break;
    case 3:
        e = ramet_select(NULL, 0, RAMET_FOREVER);
        break;
    case 4:
        e = ramet_join(g, RAMET_FOREVER);
        break;
    case 5:
        e = ramet_chan_recv(NULL, NULL, RAMET_FOREVER);
        break;
    }
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0); /* it goes on */
    CHECK_EQ(ramet_chan_free(c), 0);
    return e;
}

static ramet_options deadlock_options;
static int deadlock_result;
static void run_deadlock(void *arg) { deadlock_result = ramet_run(deadlocks, arg, &deadlock_options); }

static void deadlock_of_main(void) {
#if defined(CHECK_TSAN)
    return; /* the sanitizer's own thread looks like one that may help */
#endif
    static const char *const reasons[] = {"chan receive", "chan send", "select", "select", "join", "chan (nil)"};
    for (int quiet = 0; quiet < 2; quiet++)
        for (int mode = 0; mode < 2; mode++)
            for (int how = 0; how < 6; how++) {
                deadlock_options = (ramet_options){.mode = (ramet_mode)mode, .quiet = quiet};
                capture(run_deadlock, (void *)(intptr_t)how);
                CHECK_EQ(deadlock_result, -EDEADLK);
                if (quiet) {
                    CHECK_EQ(captured[0], 0);
                    continue;
                }
                char want[60];
                snprintf(want, sizeof want, "goroutine 1 \"main\" [%s", reasons[how]);
                CHECK(strstr(captured, "deadlock"));
                CHECK(strstr(captured, want));
                CHECK(strstr(captured, "goroutine 2 \"nobody\" [chan (nil)"));
                CHECK(strstr(captured, "started by 1"));
            }
}

static const check_test tests[] = {
    IN_RUNTIME(begin_in_order),
    IN_RUNTIME(many_in_order),
    IN_RUNTIME(yield_is_round_robin),
    IN_RUNTIME(pair_does_not_starve),
    IN_RUNTIME(sleeps),
    IN_RUNTIME(joining),
    IN_RUNTIME(many_joiners),
    IN_RUNTIME(cancel_before_begin),
    IN_RUNTIME(cancel_is_consumed_once),
    IN_RUNTIME(cancel_while_runnable),
    IN_RUNTIME(names),
    IN_RUNTIME(statistics),
    IN_RUNTIME(a_hundred_thousand),
    PLAIN(run_values),
    PLAIN(outside_a_runtime),
    PLAIN(left_at_the_end),
    PLAIN(stubborn_one_is_dropped),
    PLAIN(deadlock_of_main),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
