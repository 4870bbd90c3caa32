/* test_timer.c: timers, and the heap they stand in. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>

#include "base/heap.h"
#include "check.h"

/* ------------------------------------------------------------------ helpers ---- */

static int64_t pending(void) {
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    return (int64_t)st.timers;
}

static int order[1000], fired;
static void note(void *arg) { order[fired++] = (int)(intptr_t)arg; }

static ramet_timer *make(void (*fn)(void *), void *arg) {
    ramet_timer *t = ramet_timer_new(fn, arg);
    CHECK(t);
    return t;
}

static void sleep_ms(int ms) { CHECK_EQ(ramet_sleep(ms * RAMET_MILLISECOND), 0); }

/* Until `fired` is n; ten seconds at most. */
static void until_fired(int n) {
    int64_t until = ramet_deadline(10 * RAMET_SECOND);
    while (fired < n && ramet_now() < until) sleep_ms(1);
    CHECK(fired >= n);
}

/* ------------------------------------------------------------------ timers ---- */

static void fire_in_order_of_time(void) {
    enum { N = 100 };
    ramet_timer *t[N];
    int64_t base = ramet_deadline(3 * RAMET_MILLISECOND);
    fired = 0;
    for (int i = 0; i < N; i++) {
        int k = (i * 37) % N;
        t[k] = make(note, (void *)(intptr_t)k);
        CHECK_EQ(ramet_timer_start(t[k], base + k * RAMET_MICROSECOND, 0), 0);
    }
    CHECK_EQ(pending(), N);
    CHECK_EQ(fired, 0);
    until_fired(N);
    CHECK_EQ(fired, N);
    for (int i = 0; i < N; i++) CHECK_EQ(order[i], i);
    CHECK_EQ(pending(), 0);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(ramet_timer_stop(t[i]), 0); /* it has fired */
        ramet_timer_free(t[i]);
    }
}

static void not_before_its_time(void) {
    ramet_timer *t = make(note, NULL);
    int64_t when = ramet_deadline(10 * RAMET_MILLISECOND);
    fired = 0;
    CHECK_EQ(ramet_timer_start(t, when, 0), 0);
    while (!fired) {
        CHECK(ramet_now() < when + 10 * RAMET_SECOND);
        CHECK_EQ(ramet_yield(), 0); /* also while the proc is never idle */
    }
    CHECK(ramet_now() >= when);
    ramet_timer_free(t);
}

static void stop_removes(void) {
    ramet_timer *t = make(note, NULL);
    fired = 0;
    CHECK_EQ(ramet_timer_stop(t), 0); /* never started */
    CHECK_EQ(ramet_timer_start(t, ramet_deadline(2 * RAMET_MILLISECOND), 0), 0);
    CHECK_EQ(pending(), 1);
    CHECK_EQ(ramet_timer_stop(t), 1);
    CHECK_EQ(pending(), 0);
    CHECK_EQ(ramet_timer_stop(t), 0);
    sleep_ms(4);
    CHECK_EQ(fired, 0);
    CHECK_EQ(ramet_timer_start(t, ramet_deadline(100 * RAMET_SECOND), RAMET_SECOND), 0);
    CHECK_EQ(ramet_timer_start(t, ramet_deadline(200 * RAMET_SECOND), 0), 1); /* again: it was pending */
    CHECK_EQ(pending(), 1);
    ramet_timer_free(t); /* stops */
    CHECK_EQ(pending(), 0);
    ramet_timer_free(NULL);
    CHECK(!ramet_timer_new(NULL, NULL));
}

static void due_already(void) {
    ramet_timer *t = make(note, (void *)3), *u = make(note, (void *)4);
    fired = 0;
    CHECK_EQ(ramet_timer_start(t, 0, 0), 0);
    CHECK_EQ(ramet_timer_start(u, INT64_MIN, 0), 0);
    CHECK_EQ(fired, 0); /* between goroutines, not here */
    sleep_ms(1);
    CHECK_EQ(fired, 2);
    CHECK_EQ(order[0], 4);
    CHECK_EQ(order[1], 3);
    ramet_timer_free(t);
    ramet_timer_free(u);
}

static ramet_timer *self;
static void restart(void *arg) {
    fired++;
    if (fired < 10) CHECK_EQ(ramet_timer_start(self, ramet_deadline(100 * RAMET_MICROSECOND), 0), 0);
    (void)arg;
}

static void restart_in_callback(void) {
    self = make(restart, NULL);
    fired = 0;
    CHECK_EQ(ramet_timer_start(self, ramet_now(), 0), 0);
    until_fired(10);
    sleep_ms(2);
    CHECK_EQ(fired, 10);
    ramet_timer_free(self);
}

static void free_self(void *arg) {
    (void)arg;
    fired++;
    ramet_timer_free(self);
}

static void free_in_callback(void) {
    for (int periodic = 0; periodic < 2; periodic++) {
        self = make(free_self, NULL);
        fired = 0;
        CHECK_EQ(ramet_timer_start(self, ramet_now(), periodic ? RAMET_MICROSECOND : 0), 0);
        sleep_ms(3);
        CHECK_EQ(fired, 1);
        CHECK_EQ(pending(), 0);
    }
}

static void stop_other(void *arg) {
    CHECK_EQ(ramet_timer_stop(arg), 1);
    fired++;
}

static void stop_another_that_is_due(void) { /* both are due in the same look; the first stops the second */
    ramet_timer *b = make(note, NULL), *a = make(stop_other, b);
    fired = 0;
    CHECK_EQ(ramet_timer_start(b, 2, 0), 0);
    CHECK_EQ(ramet_timer_start(a, 1, 0), 0);
    sleep_ms(2);
    CHECK_EQ(fired, 1);
    ramet_timer_free(a);
    ramet_timer_free(b);
}

static void periodic(void) {
    ramet_timer *t = make(note, NULL);
    fired = 0;
    CHECK_EQ(ramet_timer_start(t, ramet_deadline(RAMET_MILLISECOND), RAMET_MILLISECOND), 0);
    until_fired(5);
    CHECK_EQ(pending(), 1);
    int before = fired;
    int64_t until = ramet_deadline(20 * RAMET_MILLISECOND);
    while (ramet_now() < until) /* the proc is busy for twenty beats */
        ;
    sleep_ms(0);
    for (int i = 0; i < 3; i++) CHECK_EQ(ramet_yield(), 0);
    int64_t late = (ramet_now() - until) / RAMET_MILLISECOND; /* if the machine is slow */
    sleep_ms(1);
    CHECK(fired - before <= 6 + late * 2); /* one for all that were missed */
    CHECK_EQ(ramet_timer_stop(t), 1);
    int after = fired;
    sleep_ms(3);
    CHECK_EQ(fired, after);
    ramet_timer_free(t);
}

static void starts_goroutine_body(void *arg) { *(int *)arg = 1; }
static void starts_goroutine(void *arg) { CHECK_EQ(ramet_go(starts_goroutine_body, arg, NULL), 0); }

static void a_callback_may_start_goroutines(void) {
    int done = 0;
    ramet_timer *t = make(starts_goroutine, &done);
    CHECK_EQ(ramet_timer_start(t, ramet_deadline(RAMET_MILLISECOND), 0), 0);
    for (int i = 0; i < 10000 && !done; i++) sleep_ms(1);
    CHECK(done);
    ramet_timer_free(t);
}

static int64_t last_when;
static int backwards, many_fired;
typedef struct timed {
    ramet_timer *t;
    int64_t when;
} timed;

static void in_time(void *arg) {
    timed *t = arg;
    if (t->when < last_when - RAMET_MILLISECOND) backwards++; /* the most that any may be late to share a wake-up */
    last_when = t->when;
    many_fired++;
}

static uint32_t random_state = 12345;
static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(random_state >> 8) * n) >> 24);
}

static void a_hundred_thousand(void) {
    int n = check_many(100000, 5000), stopped = 0;
    timed *t = malloc((size_t)n * sizeof *t);
    last_when = backwards = many_fired = 0;
    int64_t base = ramet_now();
    for (int i = 0; i < n; i++) {
        t[i].t = make(in_time, &t[i]);
        t[i].when = ramet_deadline(1000 * RAMET_SECOND) + random_below(1000000);
        CHECK_EQ(ramet_timer_start(t[i].t, t[i].when, 0), 0);
    }
    CHECK_EQ(pending(), n);
    for (int i = 0; i < n; i += 3, stopped++) CHECK_EQ(ramet_timer_stop(t[i].t), 1);
    CHECK_EQ(pending(), n - stopped);
    for (int i = 0; i < n; i++) /* the others go off now, by the order of their new times */
        if (i % 3) {
            t[i].when = base - 1 - random_below(1u << 24);
            CHECK_EQ(ramet_timer_start(t[i].t, t[i].when, 0), 1);
        }
    last_when = INT64_MIN / 2;
    sleep_ms(1);
    CHECK_EQ(many_fired, n - stopped);
    CHECK_EQ(backwards, 0);
    CHECK_EQ(pending(), 0);
    for (int i = 0; i < n; i++) ramet_timer_free(t[i].t);
    free(t);
}

static void sleeper(void *count) {
    CHECK_EQ(ramet_sleep((int64_t)random_below(5000000)), 0);
    ++*(int *)count;
}

static void many_sleepers(void) {
    int n = check_many(5000, 500), count = 0;
    for (int i = 0; i < n; i++) check_go(sleeper, &count);
    for (int i = 0; i < 10000 && count < n; i++) sleep_ms(1);
    CHECK_EQ(count, n);
    CHECK_EQ(pending(), 0);
}

/* ------------------------------------------------------------------ tickers ---- */

#define SOON ramet_deadline(10 * RAMET_SECOND)

static ramet_ticker *tick_every(int64_t period) {
    ramet_ticker *t = ramet_ticker_new(period);
    CHECK(t);
    return t;
}

static void ticks_with_the_time(void) {
    int64_t began = ramet_now(), last = began, at;
    ramet_ticker *t = tick_every(RAMET_MILLISECOND);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(ramet_chan_recv(ramet_ticker_chan(t), &at, SOON), 0);
        CHECK(at > last && at <= ramet_now());
        last = at;
    }
    CHECK(last >= began + 5 * RAMET_MILLISECOND); /* keeps the phase: the fifth is not before its time */
    CHECK_EQ(pending(), 1);
    CHECK_EQ(ramet_ticker_free(t), 0);
    CHECK_EQ(pending(), 0);
}

static void a_late_receiver_gets_one_tick(void) {
    ramet_ticker *t = tick_every(RAMET_MILLISECOND);
    ramet_chan *c = ramet_ticker_chan(t);
    CHECK_EQ(ramet_chan_cap(c), 1);
    for (int i = 0; i < 10000 && !ramet_chan_len(c); i++) sleep_ms(1);
    int64_t at, now = ramet_now();
    sleep_ms(10);
    CHECK_EQ(ramet_chan_len(c), 1);
    CHECK_EQ(ramet_chan_recv(c, &at, RAMET_POLL), 0);
    CHECK(at <= now); /* the first one: the later ones found no room */
    CHECK_EQ(ramet_chan_recv(c, &at, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_ticker_free(t), 0);
}

static void nothing_of_before_is_received(void) {
    ramet_ticker *t = tick_every(RAMET_MILLISECOND);
    ramet_chan *c = ramet_ticker_chan(t);
    int64_t at;
    for (int i = 0; i < 10000 && !ramet_chan_len(c); i++) sleep_ms(1);
    CHECK_EQ(ramet_chan_len(c), 1);
    CHECK_EQ(ramet_ticker_stop(t), 1);
    CHECK_EQ(ramet_ticker_stop(t), 0);
    CHECK_EQ(pending(), 0);
    sleep_ms(3);
    CHECK_EQ(ramet_chan_recv(c, &at, RAMET_POLL), -EAGAIN);
    CHECK(!ramet_chan_closed(c));
    CHECK_EQ(ramet_ticker_reset(t, 0), -EINVAL);
    CHECK_EQ(ramet_ticker_reset(t, -1), -EINVAL);
    CHECK_EQ(ramet_ticker_reset(t, RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_chan_recv(c, &at, SOON), 0);
    for (int i = 0; i < 10000 && !ramet_chan_len(c); i++) sleep_ms(1);
    CHECK_EQ(ramet_ticker_reset(t, 1000 * RAMET_SECOND), 1);
    CHECK_EQ(ramet_chan_recv(c, &at, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_ticker_free(t), 0);
    CHECK_EQ(ramet_ticker_free(NULL), 0);
    CHECK(!ramet_ticker_new(0) && !ramet_ticker_new(INT64_MIN) && !ramet_ticker_chan(NULL));
}

static void wait_for_tick(void *c) { CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), -ECANCELED); }

static void in_select_and_while_somebody_waits(void) {
    ramet_ticker *fast = tick_every(RAMET_MILLISECOND), *slow = tick_every(1000 * RAMET_SECOND);
    int64_t at = 0;
    ramet_case cases[] = {{ramet_ticker_chan(slow), NULL, RAMET_RECV, false},
                          {ramet_ticker_chan(fast), &at, RAMET_RECV, false}};
    for (int i = 0; i < 3; i++) CHECK_EQ(ramet_select(cases, 2, SOON), 1);
    CHECK(at && cases[1].ok);
    ramet_goroutine g = check_go(wait_for_tick, ramet_ticker_chan(slow));
    CHECK_EQ(ramet_yield(), 0);
    CHECK_EQ(ramet_ticker_free(slow), -EBUSY);
    CHECK_EQ(ramet_ticker_reset(slow, 2000 * RAMET_SECOND), 1); /* left alone: it still ticks */
    CHECK_EQ(ramet_cancel(g), 0);
    CHECK_EQ(ramet_join(g, SOON), 0);
    CHECK_EQ(ramet_ticker_free(slow), 0);
    CHECK_EQ(ramet_ticker_free(fast), 0);
}

static ramet_ticker *shared;
static void *in_another_thread(void *arg) {
    int64_t at;
    (void)arg;
    for (int i = 0; i < 3; i++) CHECK_EQ(ramet_chan_recv(ramet_ticker_chan(shared), &at, SOON), 0);
    CHECK(!ramet_ticker_new(RAMET_SECOND));
    CHECK_EQ(ramet_ticker_stop(shared), -EPERM);
    CHECK_EQ(ramet_ticker_reset(shared, RAMET_SECOND), -EPERM);
    CHECK_EQ(ramet_ticker_free(shared), -EPERM);
    return NULL;
}

static void received_by_another_thread(void) {
    pthread_t thread;
    shared = tick_every(RAMET_MILLISECOND);
    CHECK_EQ(pthread_create(&thread, NULL, in_another_thread, NULL), 0);
    while (pthread_tryjoin_np(thread, NULL)) sleep_ms(1);
    CHECK_EQ(ramet_ticker_free(shared), 0);
}

static int leaves_a_ticker(void *arg) {
    *(ramet_ticker **)arg = tick_every(RAMET_MILLISECOND);
    return 0;
}

static void outlives_its_runtime(void) {
    ramet_ticker *t;
    CHECK_EQ(ramet_run(leaves_a_ticker, &t, NULL), 0);
    CHECK_EQ(ramet_ticker_stop(t), -EPERM);
    CHECK_EQ(ramet_ticker_free(t), 0);
    CHECK(!ramet_ticker_new(RAMET_SECOND));
}

static void outside_a_runtime(void) {
    ramet_timer *t = ramet_timer_new(note, NULL);
    if (!t) return;
    CHECK_EQ(ramet_timer_start(t, ramet_now(), 0), -EPERM);
    CHECK_EQ(ramet_timer_stop(t), -EPERM);
    ramet_timer_free(t);
}

/* ------------------------------------------------------------------ the heap ---- */

static void heap_is_whole(const rm_heap *h) {
    for (uint32_t i = 0; i < h->n; i++) {
        uint32_t id = h->slots[i].id;
        CHECK_EQ(h->places[id], i);
        CHECK_EQ(h->nodes[id]->id, id + 1);
        if (i) CHECK(h->slots[(i - 1) / 4].when <= h->slots[i].when);
    }
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Random inserts and removals against an array that is sorted in the end. */
static void heap_against_sorted_array(void) {
    enum { N = 700 };
    static rm_heap_node node[N];
    static int64_t when[N], sorted[N];
    for (int round = 0; round < 30; round++) {
        rm_heap h = {0};
        memset(node, 0, sizeof node);
        int range = round % 3 == 0 ? 10 : round % 3 == 1 ? 1000 : 1000000000; /* with and without equals */
        for (int step = 0; step < 4000; step++) {
            int i = (int)random_below(N);
            if (node[i].id) {
                rm_heap_remove(&h, &node[i]);
                CHECK_EQ(node[i].id, 0);
            } else {
                when[i] = (int64_t)random_below((uint32_t)range) - range / 2;
                CHECK_EQ(rm_heap_insert(&h, &node[i], when[i], 0), 0);
            }
            if (step % 97 == 0) heap_is_whole(&h);
        }
        heap_is_whole(&h);
        uint32_t n = 0;
        for (int i = 0; i < N; i++)
            if (node[i].id) sorted[n++] = when[i];
        CHECK_EQ(n, h.n);
        qsort(sorted, n, sizeof *sorted, by_value);
        for (uint32_t i = 0; i < n; i++) {
            CHECK_EQ(h.slots[0].when, sorted[i]);
            CHECK_EQ(when[rm_heap_first(&h) - node], sorted[i]);
            rm_heap_remove(&h, rm_heap_first(&h));
        }
        CHECK_EQ(h.n, 0);
        CHECK(h.ids <= N); /* numbers are used again */
        rm_heap_fini(&h);
    }
}

static const check_test tests[] = {
    IN_RUNTIME(fire_in_order_of_time),
    IN_RUNTIME(not_before_its_time),
    IN_RUNTIME(stop_removes),
    IN_RUNTIME(due_already),
    IN_RUNTIME(restart_in_callback),
    IN_RUNTIME(free_in_callback),
    IN_RUNTIME(stop_another_that_is_due),
    IN_RUNTIME(periodic),
    IN_RUNTIME(a_callback_may_start_goroutines),
    IN_RUNTIME(a_hundred_thousand),
    IN_RUNTIME(many_sleepers),
    IN_RUNTIME(ticks_with_the_time),
    IN_RUNTIME(a_late_receiver_gets_one_tick),
    IN_RUNTIME(nothing_of_before_is_received),
    IN_RUNTIME(in_select_and_while_somebody_waits),
    IN_RUNTIME(received_by_another_thread),
    PLAIN(outlives_its_runtime),
    PLAIN(outside_a_runtime),
    PLAIN(heap_against_sorted_array),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
