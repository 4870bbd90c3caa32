/* test_foreign.c: OS threads that are not the runtime's, in channels, select, join, cancel, go and close. */
#include <errno.h>
#include <pthread.h>

#include "check.h"

/* ------------------------------------------------------------------ helpers ---- */

typedef struct thread { /* main, a goroutine, must not block: it waits for the end by a channel */
    void (*fn)(void *);
    void *arg;
    ramet_chan *ended;
    pthread_t id;
} thread;

static void *thread_main(void *arg) {
    thread *t = arg;
    t->fn(t->arg);
    CHECK_EQ(ramet_chan_send(t->ended, "", RAMET_FOREVER), 0);
    return NULL;
}

static void thread_start(thread *t, void (*fn)(void *), void *arg) {
    *t = (thread){fn, arg, ramet_chan_make(0, 0), 0};
    CHECK(t->ended);
    CHECK_EQ(pthread_create(&t->id, NULL, thread_main, t), 0);
}

static void *join_thread(void *id) {
    CHECK_EQ(pthread_join(*(pthread_t *)id, NULL), 0);
    return NULL;
}

static void thread_join(thread *t) {
    CHECK_EQ(ramet_chan_recv(t->ended, NULL, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_blocking(join_thread, &t->id, NULL), 0); /* it may still be on its way out of the send */
    CHECK_EQ(ramet_chan_free(t->ended), 0);
}

static void in_thread(void (*fn)(void *), void *arg) {
    thread t;
    thread_start(&t, fn, arg);
    thread_join(&t);
}

static ramet_chan *make(size_t cap) {
    ramet_chan *c = ramet_chan_make(sizeof(int64_t), cap);
    CHECK(c);
    return c;
}

static void free_chan(ramet_chan *c) { CHECK_EQ(ramet_chan_free(c), 0); }
static int64_t recv_now(ramet_chan *c) {
    int64_t v = -1;
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
    return v;
}
static void send_now(ramet_chan *c, int64_t v) { CHECK_EQ(ramet_chan_send(c, &v, RAMET_FOREVER), 0); }

/* ------------------------------------------------------------------ each call ---- */

static ramet_chan *ping, *pong;

static void echo(void *arg) {
    int n = *(int *)arg;
    for (int i = 0; i < n; i++) send_now(pong, recv_now(ping) + 1);
}

static void send_and_recv(void) {
    int n = check_many(2000, 200);
    for (size_t cap = 0; cap < 3; cap++) {
        thread t;
        ping = make(cap);
        pong = make(cap);
        thread_start(&t, echo, &n);
        for (int i = 0; i < n; i++) {
            send_now(ping, i);
            CHECK_EQ(recv_now(pong), i + 1);
        }
        thread_join(&t);
        free_chan(ping), free_chan(pong);
    }
}

static void what_is_not_for_threads(void *arg) {
    ramet_scope s;
    ramet_conn *conn;
    (void)arg;
    CHECK(ramet_self().g == NULL && ramet_self().id == 0);
    CHECK_EQ(ramet_yield(), -EPERM);
    CHECK_EQ(ramet_set_name(ramet_self(), "x"), -EPERM);
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), -EPERM);
    CHECK_EQ(ramet_scope_enter_shield(&s), -EPERM);
    CHECK_EQ(ramet_scope_leave(&s), -EPERM);
    CHECK_EQ(ramet_dial("tcp", "127.0.0.1:1", RAMET_FOREVER, &conn), -EPERM);
    CHECK_EQ(ramet_fd_wait(0, RAMET_READABLE, RAMET_POLL), -EPERM);
}

static void goroutines_only(void) { in_thread(what_is_not_for_threads, NULL); }

static void polls_and_times_out(void *arg) {
    ramet_chan *c = arg;
    int64_t v = 3, began = ramet_now();
    ramet_case k[] = {{c, &v, RAMET_RECV, false}, {NULL, NULL, RAMET_RECV, false}};
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_chan_send(c, &v, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_select(k, 2, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_chan_recv(c, &v, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_send(c, &v, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_recv(NULL, &v, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_select(k, 2, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_select(NULL, 0, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_recv(c, &v, 1), -ETIMEDOUT); /* long past */
    CHECK_EQ(ramet_chan_recv(c, &v, -1), -ETIMEDOUT);
    CHECK_EQ(ramet_sleep(5 * RAMET_MILLISECOND), 0);
    CHECK(ramet_now() - began >= 30 * RAMET_MILLISECOND);
    CHECK_EQ(ramet_sleep(0), 0);
    CHECK_EQ(ramet_sleep(-1), 0);
    CHECK_EQ(v, 3);
}

static void timeouts(void) {
    ramet_chan *c = make(0);
    in_thread(polls_and_times_out, c);
    free_chan(c);
}

static void *plus_one(void *arg) { return (char *)arg + 1; }

static void asks(void *arg) {
    ramet_stats st;
    void *r = NULL;
    (void)arg;
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK(st.goroutines >= 1);
    FILE *f = tmpfile();
    CHECK(f);
    CHECK_EQ(ramet_dump(f), 0);
    CHECK(ftell(f) > 0);
    fclose(f);
    CHECK_EQ(ramet_blocking(plus_one, &st, &r), 0); /* it just calls */
    CHECK(r == (char *)&st + 1);
    ramet_chan *c = make(2);
    CHECK_EQ(ramet_chan_cap(c), 2);
    free_chan(c);
}

static void seeing(void) { in_thread(asks, NULL); }

static void select_in_thread(void *arg) {
    ramet_chan **c = arg; /* in, in, out, stop */
    int64_t v = 0, sum = 0, n = 0;
    for (;;) {
        ramet_case k[] = {{c[0], &v, RAMET_RECV, false},
                          {c[1], &v, RAMET_RECV, false},
                          {n ? c[2] : NULL, &sum, RAMET_SEND, false},
                          {c[3], NULL, RAMET_RECV, false}};
        int i = ramet_select(k, 4, RAMET_FOREVER);
        CHECK(i >= 0);
        if (i == 3) break;
        if (i == 2) {
            sum = n = 0;
        } else {
            sum += v;
            n++;
        }
    }
}

static void selects(void) {
    enum { N = 500 };
    ramet_chan *c[4] = {make(0), make(3), make(0), make(0)};
    thread t;
    int64_t sent = 0, got = 0, v;
    thread_start(&t, select_in_thread, c);
    for (int i = 0; i < N; i++) {
        ramet_case k[] = {{c[2], &v, RAMET_RECV, false}, {c[i % 2], &(int64_t){i}, RAMET_SEND, false}};
        int e = ramet_select(k, 2, RAMET_FOREVER);
        CHECK(e >= 0);
        if (e) sent += i;
        else got += v;
    }
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0); /* let it take what is in the buffer */
    while (ramet_chan_len(c[1])) CHECK_EQ(ramet_yield(), 0);
    while (ramet_chan_recv(c[2], &v, ramet_deadline(20 * RAMET_MILLISECOND)) == 0) got += v;
    CHECK_EQ(ramet_chan_close(c[3]), 0);
    thread_join(&t);
    CHECK_EQ(sent, got);
    for (int i = 0; i < 4; i++) free_chan(c[i]);
}

/* ------------------------------------------------------------------ go, join, cancel, close ---- */

static int64_t counter; /* of goroutines: one proc, no atomics needed among them */
static void count_one(void *arg) { counter += (intptr_t)arg; }

typedef struct starter {
    int n;
    ramet_goroutine *g;
} starter;

static void start_many(void *arg) {
    starter *s = arg;
    for (int i = 0; i < s->n; i++) {
        CHECK_EQ(ramet_go(count_one, (void *)1, &s->g[i]), 0);
        CHECK(s->g[i].g && s->g[i].id);
    }
    for (int i = 0; i < s->n; i++) CHECK_EQ(ramet_join(s->g[i], RAMET_FOREVER), 0);
    CHECK_EQ(ramet_join(s->g[0], RAMET_POLL), 0);
    CHECK_EQ(ramet_cancel(s->g[0]), -ESRCH);
}

/* More than the first ring of the run queue holds, from a thread. */
static void go_from_threads(void) {
    enum { T = 4 };
    thread t[T];
    starter s[T];
    counter = 0;
    for (int i = 0; i < T; i++) {
        s[i].n = check_many(3000, 300);
        s[i].g = calloc((size_t)s[i].n, sizeof *s[i].g);
        thread_start(&t[i], start_many, &s[i]);
    }
    for (int i = 0; i < T; i++) thread_join(&t[i]);
    CHECK_EQ(counter, T * s[0].n);
    for (int i = 0; i < T; i++) free(s[i].g); /* every handle named its own: all ids differ */
}

static void *start_burst(void *n) {
    for (int i = 0; i < *(int *)n; i++) CHECK_EQ(ramet_go(count_one, (void *)1, NULL), 0);
    return NULL;
}

/* The proc is busy in one goroutine while a thread starts thousands: all are runnable at once. */
static void go_burst(void) {
    if (check_mode == RAMET_SERIALISED) return; /* there a thread has no turn while a goroutine is busy */
    int n = check_many(5000, 500);
    pthread_t id;
    counter = 0;
    CHECK_EQ(pthread_create(&id, NULL, start_burst, &n), 0);
    CHECK_EQ(pthread_join(id, NULL), 0); /* this blocks the proc */
    CHECK_EQ(counter, 0);
    while (counter < n) CHECK_EQ(ramet_yield(), 0);
}

static int until_cancelled_result;
static void until_cancelled(void *arg) {
    until_cancelled_result = ramet_chan_recv(NULL, NULL, RAMET_FOREVER), (void)arg;
}

static void joins_and_cancels(void *arg) {
    ramet_goroutine g = *(ramet_goroutine *)arg;
    CHECK_EQ(ramet_join(g, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_join(g, ramet_deadline(5 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_cancel(g), 0);
    CHECK_EQ(ramet_join(g, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_cancel(g), -ESRCH);
    CHECK_EQ(ramet_join((ramet_goroutine){NULL, 0}, RAMET_FOREVER), 0);
}

static void join_and_cancel(void) {
    ramet_goroutine g = check_go(until_cancelled, NULL);
    in_thread(joins_and_cancels, &g);
    CHECK_EQ(until_cancelled_result, -ECANCELED);
}

static void waits_for_close(void *arg) {
    int64_t v = 8;
    CHECK_EQ(ramet_chan_recv(arg, &v, RAMET_FOREVER), -EPIPE);
    CHECK_EQ(v, 0);
    CHECK_EQ(ramet_chan_close(arg), -EPIPE);
    CHECK_EQ(ramet_chan_send(arg, &v, RAMET_FOREVER), -EPIPE);
}

static void closes(void *arg) {
    CHECK_EQ(ramet_sleep(3 * RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_chan_close(arg), 0);
}

static void closing(void) {
    ramet_chan *c = make(0), *d = make(0);
    thread t, u;
    thread_start(&t, waits_for_close, c);
    CHECK_EQ(ramet_sleep(3 * RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_chan_close(c), 0);
    thread_join(&t);
    thread_start(&u, closes, d); /* and the other way round */
    CHECK_EQ(ramet_chan_recv(d, NULL, RAMET_FOREVER), -EPIPE);
    thread_join(&u);
    free_chan(c), free_chan(d);
}

static void cancels_scope(void *s) {
    CHECK_EQ(ramet_sleep(3 * RAMET_MILLISECOND), 0);
    CHECK_EQ(ramet_scope_set_deadline(s, ramet_deadline(100 * RAMET_SECOND)), 0);
    CHECK_EQ(ramet_scope_cancel(s), 0);
}

static void scope_from_a_thread(void) {
    ramet_scope s;
    thread t;
    CHECK_EQ(ramet_scope_enter(&s, RAMET_FOREVER), 0);
    thread_start(&t, cancels_scope, &s);
    CHECK_EQ(ramet_chan_recv(NULL, NULL, RAMET_FOREVER), -ECANCELED);
    CHECK_EQ(ramet_scope_leave(&s), 1);
    thread_join(&t);
}

/* Thread to thread, the goroutines having no part in it. */
static void sends_thousand(void *c) {
    for (int i = 0; i < 1000; i++) send_now(c, i);
    CHECK_EQ(ramet_chan_close(c), 0);
}

static void receives_thousand(void *c) {
    int64_t v;
    int n = 0;
    while (ramet_chan_recv(c, &v, RAMET_FOREVER) == 0) CHECK_EQ(v, n++);
    CHECK_EQ(n, 1000);
}

static void thread_to_thread(void) {
    for (size_t cap = 0; cap < 2; cap++) {
        ramet_chan *c = make(cap);
        thread t, u;
        thread_start(&t, sends_thousand, c);
        thread_start(&u, receives_thousand, c);
        thread_join(&t);
        thread_join(&u);
        free_chan(c);
    }
}

/* Threads come and go. */
static void goes_once(void *arg) {
    (void)arg;
    start_burst(&(int){1});
}

static void short_lives(void) {
    counter = 0;
    for (int i = 0; i < 100; i++) in_thread(goes_once, NULL);
    while (counter < 100) CHECK_EQ(ramet_yield(), 0);
}

/* ------------------------------------------------------------------ stress ---- */

enum { THREADS = 8, CHANS = 5 };
static int each;

typedef struct party {
    ramet_chan *c[CHANS];
    int64_t sent[THREADS], got[THREADS], n[THREADS]; /* a slot each */
} party;

typedef struct guest {
    party *p;
    int i;
} guest;

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Send `each` values, through plain sends, polls and selects by turns. */
static void stress_send(void *arg) {
    guest *me = arg;
    party *p = me->p;
    uint32_t r = (uint32_t)me->i + 1;
    for (int i = 0; i < each; i++) {
        int64_t v = (int64_t)me->i * each + i, w = v;
        ramet_chan *c = p->c[next_random(&r) % CHANS], *d = p->c[next_random(&r) % CHANS];
        int e;
        switch (next_random(&r) % 4) {
        case 0: {
            ramet_case k[] = {{c, &v, RAMET_SEND, false}, {d, &w, RAMET_SEND, false}};
            e = ramet_select(k, 2, RAMET_FOREVER);
            CHECK(e == 0 || e == 1);
            break;
        }
        case 1:
            while ((e = ramet_chan_send(c, &v, ramet_deadline(20 * RAMET_MICROSECOND))) == -ETIMEDOUT);
            CHECK_EQ(e, 0);
            break;
        case 2:
            if ((e = ramet_chan_send(c, &v, RAMET_POLL)) == -EAGAIN) e = ramet_chan_send(d, &v, RAMET_FOREVER);
            CHECK_EQ(e, 0);
            break;
        default:
            CHECK_EQ(ramet_chan_send(c, &v, RAMET_FOREVER), 0);
        }
        p->sent[me->i] += v;
    }
}

/* Receive until all channels are closed. */
static void stress_recv(void *arg) {
    guest *me = arg;
    party *p = me->p;
    int64_t v[CHANS];
    ramet_case k[CHANS];
    uint32_t r = (uint32_t)me->i + 77;
    int open = CHANS;
    for (int i = 0; i < CHANS; i++) k[i] = (ramet_case){p->c[i], &v[i], RAMET_RECV, false};
    while (open) {
        int n = next_random(&r) % 3, i;
        if (n == 0) { /* one channel, with a short deadline */
            i = (int)(next_random(&r) % CHANS);
            int e = k[i].chan ? ramet_chan_recv(k[i].chan, &v[i], ramet_deadline(50 * RAMET_MICROSECOND)) : -ETIMEDOUT;
            if (e == -ETIMEDOUT) continue;
            k[i].ok = e == 0;
        } else {
            i = ramet_select(k, CHANS, n == 1 ? RAMET_FOREVER : ramet_deadline(50 * RAMET_MICROSECOND));
            if (i == -ETIMEDOUT) continue;
            CHECK(i >= 0 && i < CHANS);
        }
        if (k[i].ok) {
            p->got[me->i] += v[i];
            p->n[me->i]++;
        } else {
            k[i].chan = NULL;
            open--;
        }
    }
}

/* who: the senders, the receivers, or all are threads; the others goroutines. */
static void stress(int who) {
    party p = {0};
    guest s[THREADS], r[THREADS];
    thread ts[THREADS], tr[THREADS];
    ramet_goroutine gs[THREADS], gr[THREADS];
    each = check_many(10000, 500) / (who == 3 ? 2 : 1);
    for (int i = 0; i < CHANS; i++) p.c[i] = make((size_t)(i % 3) * 4);
    for (int i = 0; i < THREADS; i++) {
        s[i] = r[i] = (guest){&p, i};
        if (who & 1) thread_start(&ts[i], stress_send, &s[i]);
        else gs[i] = check_go(stress_send, &s[i]);
        if (who & 2) thread_start(&tr[i], stress_recv, &r[i]);
        else gr[i] = check_go(stress_recv, &r[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        if (who & 1) thread_join(&ts[i]);
        else check_join(gs[i]);
    }
    for (int i = 0; i < CHANS; i++) CHECK_EQ(ramet_chan_close(p.c[i]), 0);
    int64_t sent = 0, got = 0, n = 0;
    for (int i = 0; i < THREADS; i++) {
        if (who & 2) thread_join(&tr[i]);
        else check_join(gr[i]);
        sent += p.sent[i], got += p.got[i], n += p.n[i];
    }
    CHECK_EQ(n, (int64_t)THREADS * each);
    CHECK_EQ(sent, got);
    CHECK_EQ(got, n * (n - 1) / 2);
    for (int i = 0; i < CHANS; i++) free_chan(p.c[i]);
}

static void threads_send(void) { stress(1); }
static void threads_receive(void) { stress(2); }
static void threads_do_both(void) { stress(3); }

/* Cancelling and timing out from threads while others hand over: every value arrives exactly once. */
static ramet_chan *race_chan;
static int64_t race_got, race_n, race_cancelled;

static void race_receiver(void *arg) {
    int64_t v;
    (void)arg;
    for (;;) {
        int e = ramet_chan_recv(race_chan, &v, RAMET_FOREVER);
        if (e == -EPIPE) return;
        if (e == -ECANCELED) {
            race_cancelled++;
            continue;
        }
        CHECK_EQ(e, 0);
        race_got += v;
        race_n++;
    }
}

static void race_cancels(void *arg) {
    ramet_goroutine *g = arg;
    for (int i = 0; i < each; i++) {
        int e = ramet_cancel(g[i % 4]);
        CHECK(e == 0 || e == -ESRCH);
    }
}

static void race_sends(void *arg) {
    (void)arg;
    for (int i = 0; i < each; i++) send_now(race_chan, i);
}

static void cancel_against_handover(void) {
    ramet_goroutine g[4];
    thread t, u;
    each = check_many(5000, 300);
    race_chan = make(0);
    race_got = race_n = 0;
    for (int i = 0; i < 4; i++) g[i] = check_go(race_receiver, NULL);
    check_settle(); /* one that is cancelled before it begins never begins */
    thread_start(&t, race_sends, NULL);
    thread_start(&u, race_cancels, g);
    thread_join(&t);
    thread_join(&u);
    CHECK_EQ(ramet_chan_close(race_chan), 0);
    for (int i = 0; i < 4; i++) check_join(g[i]);
    CHECK_EQ(race_n, each);
    CHECK_EQ(race_got, (int64_t)each * (each - 1) / 2);
    free_chan(race_chan);
}

/* ------------------------------------------------------------------ at the edges ---- */

/* A thread that has called in outlives the runtime, and ends later. */
static pthread_barrier_t outlives;
static void *calls_and_stays(void *c) {
    CHECK_EQ(ramet_chan_send(c, "", RAMET_FOREVER), 0);
    pthread_barrier_wait(&outlives); /* the runtime is gone */
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), -EPERM);
    pthread_barrier_wait(&outlives);
    pthread_barrier_wait(&outlives); /* another is here */
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    pthread_barrier_wait(&outlives);
    pthread_barrier_wait(&outlives); /* and is gone, too */
    return NULL;
}

static pthread_t stays;
static int first_run(void *arg) {
    ramet_chan *c = ramet_chan_make(0, 0);
    (void)arg;
    CHECK_EQ(pthread_create(&stays, NULL, calls_and_stays, c), 0);
    CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_sleep(5 * RAMET_MILLISECOND), 0); /* it has left the send */
    CHECK_EQ(ramet_chan_free(c), 0);
    return 0;
}

static void *waits_at_barrier(void *arg) {
    (void)arg;
    pthread_barrier_wait(&outlives);
    pthread_barrier_wait(&outlives);
    return NULL;
}

static int second_run(void *arg) {
    (void)arg;
    return ramet_blocking(waits_at_barrier, NULL, NULL);
}

static void thread_outlives_runtime(void) {
    for (int mode = 0; mode < 2; mode++) {
        ramet_options o = {.mode = (ramet_mode)mode}, p = {.mode = (ramet_mode)(1 - mode)};
        CHECK_EQ(pthread_barrier_init(&outlives, NULL, 2), 0);
        CHECK_EQ(ramet_run(first_run, NULL, &o), 0);
        pthread_barrier_wait(&outlives);
        pthread_barrier_wait(&outlives);
        CHECK_EQ(ramet_run(second_run, NULL, &p), 0);
        pthread_barrier_wait(&outlives);
        CHECK_EQ(pthread_join(stays, NULL), 0);
        pthread_barrier_destroy(&outlives);
    }
}

/* Main waits for nothing but a thread that has not called in yet: no deadlock. */
static void *late(void *c) {
    struct timespec t = {0, 300000000};
    nanosleep(&t, NULL);
    CHECK_EQ(ramet_chan_send(c, "", RAMET_FOREVER), 0);
    return NULL;
}

static void no_deadlock_while_a_thread_is_about(void) {
    ramet_chan *c = ramet_chan_make(0, 0);
    pthread_t id;
    CHECK_EQ(pthread_create(&id, NULL, late, c), 0);
    CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_blocking(join_thread, &id, NULL), 0);
    free_chan(c);
}

static const check_test tests[] = {
    IN_RUNTIME(send_and_recv),
    IN_RUNTIME(goroutines_only),
    IN_RUNTIME(timeouts),
    IN_RUNTIME(seeing),
    IN_RUNTIME(selects),
    IN_RUNTIME(go_from_threads),
    IN_RUNTIME(go_burst),
    IN_RUNTIME(join_and_cancel),
    IN_RUNTIME(closing),
    IN_RUNTIME(scope_from_a_thread),
    IN_RUNTIME(thread_to_thread),
    IN_RUNTIME(short_lives),
    IN_RUNTIME(threads_send),
    IN_RUNTIME(threads_receive),
    IN_RUNTIME(threads_do_both),
    IN_RUNTIME(cancel_against_handover),
    PLAIN(thread_outlives_runtime),
    IN_RUNTIME(no_deadlock_while_a_thread_is_about),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
