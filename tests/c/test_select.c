/* test_select.c: Go's select. */
#include <errno.h>

#include "check.h"

/* ------------------------------------------------------------------ helpers ---- */

typedef struct chooser { /* a goroutine in a select */
    ramet_case *cases;
    int n, result, done;
    int64_t deadline;
    ramet_goroutine g;
} chooser;

static void choose(void *arg) {
    chooser *k = arg;
    k->result = ramet_select(k->cases, k->n, k->deadline);
    k->done = 1;
}

static chooser *start(chooser *k, ramet_case *cases, int n) {
    *k = (chooser){.cases = cases, .n = n, .result = 12345, .deadline = RAMET_FOREVER};
    k->g = check_go(choose, k);
    check_settle();
    return k;
}

typedef struct worker {
    ramet_chan *c;
    int value, result;
} worker;

static void send_one(void *arg) {
    worker *w = arg;
    w->result = ramet_chan_send(w->c, &w->value, RAMET_FOREVER);
}

static void recv_one(void *arg) {
    worker *w = arg;
    w->result = ramet_chan_recv(w->c, &w->value, RAMET_FOREVER);
}

static ramet_chan *make(size_t cap) {
    ramet_chan *c = ramet_chan_make(sizeof(int), cap);
    CHECK(c);
    return c;
}

static void free_chan(ramet_chan *c) { CHECK_EQ(ramet_chan_free(c), 0); }
static int poll_send(ramet_chan *c, int v) { return ramet_chan_send(c, &v, RAMET_POLL); }
static void send_now(ramet_chan *c, int v) { CHECK_EQ(ramet_chan_send(c, &v, RAMET_FOREVER), 0); }

static int recv_now(ramet_chan *c) {
    int v = -1;
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
    return v;
}

/* ------------------------------------------------------------------ ready ---- */

static void ready_case(void) {
    ramet_chan *a = make(1), *b = make(1), *full = make(1);
    int x = 0, y = 7, z = 8;
    send_now(full, 1);
    send_now(b, 5);
    ramet_case k[] = {{a, &x, RAMET_RECV, false}, {b, &x, RAMET_RECV, false}, {full, &y, RAMET_SEND, false}};
    CHECK_EQ(ramet_select(k, 3, RAMET_FOREVER), 1);
    CHECK_EQ(x, 5);
    CHECK(k[1].ok && !k[0].ok && !k[2].ok);
    CHECK_EQ(ramet_chan_len(full), 1);
    ramet_case s[] = {{full, &y, RAMET_SEND, false}, {a, &z, RAMET_SEND, false}};
    CHECK_EQ(ramet_select(s, 2, RAMET_POLL), 1);
    CHECK(s[1].ok);
    CHECK_EQ(recv_now(a), 8);
    free_chan(a), free_chan(b), free_chan(full);
}

/* A peer that waits in a plain send or receive. */
static void ready_peer(void) {
    ramet_chan *a = make(0), *b = make(0);
    worker w = {a, 31, 99}, x = {b, 0, 99};
    int got = 0, sent = 32;
    ramet_goroutine g = check_go(send_one, &w), h = check_go(recv_one, &x);
    check_settle();
    ramet_case k[] = {{a, &got, RAMET_RECV, false}, {b, &sent, RAMET_SEND, false}};
    int first = ramet_select(k, 2, RAMET_POLL), second = ramet_select(k, 2, RAMET_POLL);
    CHECK(first >= 0 && second == 1 - first);
    CHECK_EQ(ramet_select(k, 2, RAMET_POLL), -EAGAIN);
    check_join(g);
    check_join(h);
    CHECK_EQ(got, 31);
    CHECK_EQ(x.value, 32);
    CHECK(w.result == 0 && x.result == 0);
    free_chan(a), free_chan(b);
}

static void default_case(void) {
    ramet_chan *a = make(0), *b = make(1);
    int v = 4;
    ramet_case k[] = {{a, &v, RAMET_RECV, false},
                      {a, &v, RAMET_SEND, false},
                      {b, &v, RAMET_RECV, false},
                      {NULL, &v, RAMET_SEND, false}};
    CHECK_EQ(ramet_select(k, 4, RAMET_POLL), -EAGAIN);
    CHECK_EQ(v, 4);
    CHECK_EQ(ramet_select(k, 0, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_select(NULL, 0, RAMET_POLL), -EAGAIN);
    free_chan(a), free_chan(b);
}

static void nil_cases(void) {
    ramet_chan *a = make(1);
    int v = 0, w = 3;
    ramet_case nil[] = {{NULL, &v, RAMET_RECV, false}, {NULL, &w, RAMET_SEND, false}};
    CHECK_EQ(ramet_select(nil, 2, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_select(nil, 2, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    ramet_case k[] = {{NULL, &v, RAMET_RECV, false}, {a, &v, RAMET_RECV, false}, {NULL, &w, RAMET_SEND, false}};
    send_now(a, 9);
    CHECK_EQ(ramet_select(k, 3, RAMET_FOREVER), 1);
    CHECK_EQ(v, 9);
    chooser c; /* the same, waiting */
    start(&c, k, 3);
    CHECK(!c.done);
    send_now(a, 10);
    check_join(c.g);
    CHECK_EQ(c.result, 1);
    CHECK_EQ(v, 10);
    free_chan(a);
}

static void no_case_at_all(void) {
    chooser c;
    CHECK_EQ(ramet_select(NULL, 0, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    start(&c, NULL, 0); /* Go's select {}: for ever */
    CHECK_EQ(ramet_sleep(RAMET_MILLISECOND), 0);
    CHECK(!c.done);
    CHECK_EQ(ramet_cancel(c.g), 0);
    check_join(c.g);
    CHECK_EQ(c.result, -ECANCELED);
}

static void bad_counts(void) {
    CHECK_EQ(ramet_select(NULL, -1, RAMET_POLL), -EINVAL);
    CHECK_EQ(ramet_select(NULL, RAMET_SELECT_MAX + 1, RAMET_POLL), -EINVAL);
}

static void outside_a_runtime(void) { CHECK_EQ(ramet_select(NULL, 0, RAMET_POLL), -EPERM); }

/* ------------------------------------------------------------------ close ---- */

static void receive_from_closed(void) {
    ramet_chan *a = make(2), *b = make(0);
    int v = 1;
    send_now(a, 6);
    CHECK_EQ(ramet_chan_close(a), 0);
    ramet_case k[] = {{b, NULL, RAMET_RECV, false}, {a, &v, RAMET_RECV, false}};
    CHECK_EQ(ramet_select(k, 2, RAMET_FOREVER), 1);
    CHECK(k[1].ok);
    CHECK_EQ(v, 6);
    for (int i = 0; i < 3; i++) {
        v = 50;
        k[1].ok = true;
        CHECK_EQ(ramet_select(k, 2, i ? RAMET_FOREVER : RAMET_POLL), 1);
        CHECK(!k[1].ok);
        CHECK_EQ(v, 0);
    }
    k[1].elem = NULL;
    CHECK_EQ(ramet_select(k, 2, RAMET_FOREVER), 1);
    free_chan(a), free_chan(b);
}

static void send_on_closed(void) {
    ramet_chan *a = make(1), *b = make(0);
    int v = 1;
    CHECK_EQ(ramet_chan_close(a), 0);
    ramet_case k[] = {{b, &v, RAMET_RECV, false}, {a, &v, RAMET_SEND, true}};
    CHECK_EQ(ramet_select(k, 2, RAMET_FOREVER), -EPIPE);
    CHECK_EQ(ramet_select(k, 2, RAMET_POLL), -EPIPE);
    CHECK(!k[1].ok);
    free_chan(a), free_chan(b);
}

static void close_wakes_select(void) {
    for (int dir = 0; dir < 2; dir++) {
        ramet_chan *a = make(0), *b = make(0);
        int v = 70;
        ramet_case k[] = {{b, &v, RAMET_RECV, true}, {a, &v, (ramet_dir)dir, true}, {b, &v, RAMET_SEND, true}};
        chooser c;
        start(&c, k, 3);
        CHECK(!c.done);
        CHECK_EQ(ramet_chan_close(a), 0);
        check_join(c.g);
        CHECK_EQ(c.result, dir == RAMET_SEND ? -EPIPE : 1);
        CHECK(!k[1].ok);
        CHECK_EQ(v, dir == RAMET_SEND ? 70 : 0);
        free_chan(a), free_chan(b); /* it left b's queues, too */
    }
}

/* ------------------------------------------------------------------ waiting ---- */

static void losers_are_dequeued(void) {
    enum { N = 5 };
    ramet_chan *c[N];
    int v[N] = {0};
    ramet_case k[N];
    for (int i = 0; i < N; i++) {
        c[i] = make(0);
        k[i] = (ramet_case){c[i], &v[i], i % 2 ? RAMET_SEND : RAMET_RECV, false};
    }
    for (int win = 0; win < N; win++) {
        chooser w;
        start(&w, k, N);
        CHECK(!w.done);
        for (int i = 0; i < N; i++) CHECK_EQ(ramet_chan_free(c[i]), -EBUSY);
        if (win % 2) {
            v[win] = 200 + win;
            CHECK_EQ(recv_now(c[win]), 200 + win);
        } else {
            CHECK_EQ(poll_send(c[win], 100 + win), 0);
        }
        /* claimed, not run: of the others no sender or receiver may meet it any more */
        for (int i = 0; i < N; i++)
            CHECK_EQ(i % 2 ? ramet_chan_recv(c[i], NULL, RAMET_POLL) : poll_send(c[i], 1), -EAGAIN);
        check_join(w.g);
        CHECK_EQ(w.result, win);
        for (int i = 0; i < N; i++) CHECK_EQ(k[i].ok, i == win);
        if (win % 2 == 0) CHECK_EQ(v[win], 100 + win);
        k[win].ok = false;
    }
    for (int i = 0; i < N; i++) free_chan(c[i]);
}

static void blocking_over_many(void) {
    static const int sizes[] = {1, 2, 3, 8, 9, 20, 100, 1000};
    for (int s = 0; s < 8; s++) {
        int n = sizes[s];
        ramet_chan **c = malloc((size_t)n * sizeof *c);
        ramet_case *k = calloc((size_t)n, sizeof *k);
        int *v = calloc((size_t)n, sizeof *v);
        for (int i = 0; i < n; i++) {
            c[i] = make(0);
            k[i] = (ramet_case){c[i], &v[i], RAMET_RECV, false};
        }
        for (int round = 0; round < 30; round++) {
            int win = (int)(((unsigned)round * 7919u + 13u) % (unsigned)n);
            chooser w;
            start(&w, k, n);
            CHECK(!w.done);
            send_now(c[win], round);
            check_join(w.g);
            CHECK_EQ(w.result, win);
            CHECK_EQ(v[win], round);
        }
        for (int i = 0; i < n; i++) free_chan(c[i]);
        free(c), free(k), free(v);
    }
}

static void most_cases(void) { /* as many as there may be, one of them not nil */
    ramet_chan *a = make(1);
    int v = 0, n = RAMET_SELECT_MAX;
    ramet_case *k = calloc((size_t)n, sizeof *k);
    k[n - 1] = (ramet_case){a, &v, RAMET_RECV, false};
    chooser c;
    start(&c, k, n);
    CHECK(!c.done);
    send_now(a, 3);
    check_join(c.g);
    CHECK_EQ(c.result, n - 1);
    CHECK_EQ(v, 3);
    free(k);
    free_chan(a);
}

static void duplicates(void) {
    ramet_chan *a = make(0);
    int got[3], out = 55, seen[3] = {0};
    ramet_case k[] = {
        {a, &got[0], RAMET_RECV, false}, {a, &got[1], RAMET_RECV, false}, {a, &got[2], RAMET_RECV, false}};
    for (int i = 0; i < 300; i++) {
        chooser c;
        got[0] = got[1] = got[2] = -1;
        start(&c, k, 3);
        CHECK_EQ(poll_send(a, i), 0);
        CHECK_EQ(poll_send(a, i), -EAGAIN); /* one value, one case */
        check_join(c.g);
        CHECK(c.result >= 0 && c.result < 3);
        for (int j = 0; j < 3; j++) CHECK_EQ(got[j], j == c.result ? i : -1);
        seen[c.result]++;
    }
    for (int j = 0; j < 3; j++) CHECK(seen[j] > 40); /* 100 expected; 8 sigma is 65 */
    ramet_case s[] = {{a, &out, RAMET_SEND, false}, {a, &out, RAMET_SEND, false}};
    chooser c;
    start(&c, s, 2);
    CHECK_EQ(recv_now(a), 55);
    CHECK_EQ(ramet_chan_recv(a, NULL, RAMET_POLL), -EAGAIN);
    check_join(c.g);
    CHECK_EQ(s[0].ok + s[1].ok, 1);
    free_chan(a);
}

/* Send and receive of one channel in one select: it never meets itself; two such selects meet each other. */
static void self_select(void) {
    ramet_chan *a = make(0);
    int in = -1, out = 1, in2 = -1, out2 = 2;
    ramet_case k[] = {{a, &in, RAMET_RECV, false}, {a, &out, RAMET_SEND, false}};
    ramet_case l[] = {{a, &in2, RAMET_RECV, false}, {a, &out2, RAMET_SEND, false}};
    CHECK_EQ(ramet_select(k, 2, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_select(k, 2, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    chooser c;
    start(&c, k, 2);
    CHECK(!c.done);
    int mine = ramet_select(l, 2, RAMET_POLL);
    CHECK(mine == 0 || mine == 1);
    check_join(c.g);
    CHECK_EQ(c.result, 1 - mine);
    if (mine == 0) CHECK(in2 == 1 && in == -1);
    if (mine == 1) CHECK(in == 2 && in2 == -1);
    free_chan(a);
    ramet_chan *b = make(1); /* with room it does: a send into the buffer, then a receive from it */
    k[0].chan = k[1].chan = b;
    for (int i = 0; i < 10; i++) CHECK_EQ(ramet_select(k, 2, RAMET_FOREVER), i % 2 ? 0 : 1);
    CHECK_EQ(in, 1);
    free_chan(b);
}

static int self_sent, self_received;
static ramet_chan *self_chan;
static void both_ways(void *arg) {
    int in = -1, out = (int)(intptr_t)arg;
    for (int i = 0; i < 1000; i++) {
        ramet_case k[] = {{self_chan, &in, RAMET_RECV, false}, {self_chan, &out, RAMET_SEND, false}};
        int e = ramet_select(k, 2, RAMET_FOREVER);
        if (e < 0) return;
        if (e) {
            self_sent++;
        } else {
            self_received++;
            CHECK(in != out); /* never its own */
        }
    }
}

/* Go's TestSelfSelect. */
static void two_self_selects(void) {
    self_chan = make(0);
    self_sent = self_received = 0;
    ramet_goroutine g = check_go(both_ways, (void *)1), h = check_go(both_ways, (void *)2);
    check_join(g);
    check_join(h);
    CHECK_EQ(self_sent, 1000);
    CHECK_EQ(self_received, 1000);
    free_chan(self_chan);
}

/* ------------------------------------------------------------------ fairness ---- */

static void uniform_among_ready(void) {
    static const int sizes[] = {2, 3, 8, 100};
    for (int s = 0; s < 4; s++) {
        int n = sizes[s], rounds = 400 * n, seen[100] = {0};
        ramet_chan *full = make(1), *never = make(0);
        send_now(full, 1);
        ramet_case k[200];
        int v;
        for (int i = 0; i < n; i++) { /* every other one is not ready, which must not shift the rest */
            k[2 * i] = (ramet_case){full, &v, RAMET_RECV, false};
            k[2 * i + 1] = (ramet_case){i % 2 ? never : full, &v, i % 2 ? RAMET_RECV : RAMET_SEND, false};
        }
        for (int r = 0; r < rounds; r++) {
            int e = ramet_select(k, 2 * n, RAMET_FOREVER);
            CHECK(e >= 0 && e % 2 == 0);
            seen[e / 2]++;
            send_now(full, 1);
        }
        double chi = 0; /* mean n - 1, variance 2(n - 1): ten sigma and then some */
        for (int i = 0; i < n; i++) {
            double d = seen[i] - 400.0;
            chi += d * d / 400;
        }
        double off = chi - (n - 1);
        CHECK(off < 0 || off * off < 225.0 * 2 * (n - 1) + 900);
        CHECK_EQ(recv_now(full), 1);
        free_chan(full), free_chan(never);
    }
}

/* ------------------------------------------------------------------ deadline, cancellation ---- */

static void deadlines(void) {
    ramet_chan *a = make(0), *b = make(0);
    int v = 9;
    ramet_case k[] = {{a, &v, RAMET_RECV, false}, {b, &v, RAMET_SEND, false}};
    int64_t began = ramet_now();
    CHECK_EQ(ramet_select(k, 2, ramet_deadline(10 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK(ramet_now() - began >= 10 * RAMET_MILLISECOND);
    CHECK_EQ(ramet_select(k, 2, 1), -ETIMEDOUT);
    CHECK_EQ(v, 9);
    CHECK(!k[0].ok && !k[1].ok);
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK_EQ(st.timers, 0);
    free_chan(a), free_chan(b);
}

static void cancellation(void) {
    ramet_chan *a = make(0), *b = make(0);
    int v = 9;
    ramet_case k[] = {{a, &v, RAMET_RECV, false}, {b, &v, RAMET_SEND, false}};
    chooser c;
    start(&c, k, 2);
    CHECK_EQ(ramet_cancel(c.g), 0);
    CHECK_EQ(poll_send(a, 1), -EAGAIN); /* it has given up already */
    CHECK_EQ(ramet_chan_recv(b, NULL, RAMET_POLL), -EAGAIN);
    check_join(c.g);
    CHECK_EQ(c.result, -ECANCELED);
    CHECK_EQ(v, 9);
    start(&c, k, 2); /* the other order: what it was given it keeps */
    CHECK_EQ(poll_send(a, 5), 0);
    CHECK_EQ(ramet_cancel(c.g), 0);
    check_join(c.g);
    CHECK_EQ(c.result, 0);
    CHECK_EQ(v, 5);
    free_chan(a), free_chan(b);
}

/* ------------------------------------------------------------------ many ---- */

typedef struct feed {
    ramet_chan *c;
    int base, count;
} feed;

static void feeder(void *arg) {
    feed *f = arg;
    for (int i = 0; i < f->count; i++) {
        int v = f->base + i;
        CHECK_EQ(ramet_chan_send(f->c, &v, RAMET_FOREVER), 0);
        if (i % 5 == 0) CHECK_EQ(ramet_yield(), 0);
    }
    CHECK_EQ(ramet_chan_close(f->c), 0);
}

/* Fan-in: every feeder's values come in order, each once; a closed one is set to nil, as one does. */
static void fan_in(void) {
    enum { N = 10, EACH = 300 };
    for (size_t cap = 0; cap < 3; cap++) {
        feed f[N];
        ramet_case k[N];
        ramet_chan *c[N];
        int v[N], next[N], open = N;
        for (int i = 0; i < N; i++) {
            c[i] = make(cap);
            f[i] = (feed){c[i], i * 1000, EACH};
            k[i] = (ramet_case){c[i], &v[i], RAMET_RECV, false};
            next[i] = i * 1000;
            check_go(feeder, &f[i]);
        }
        while (open) {
            int i = ramet_select(k, N, RAMET_FOREVER);
            CHECK(i >= 0 && i < N);
            if (k[i].ok) {
                CHECK_EQ(v[i], next[i]);
                next[i]++;
            } else {
                k[i].chan = NULL;
                open--;
            }
        }
        for (int i = 0; i < N; i++) {
            CHECK_EQ(next[i], i * 1000 + EACH);
            free_chan(c[i]);
        }
    }
}

/* Go's TestSelectStress in small: selects against selects, both directions, each channel in several of them. */
enum { STRESS_CHANS = 4, STRESS_EACH = 2000 };
static ramet_chan *stress[STRESS_CHANS];
static int64_t stress_in, stress_out;

static void stress_sender(void *arg) {
    int v[STRESS_CHANS], left[STRESS_CHANS];
    ramet_case k[STRESS_CHANS];
    (void)arg;
    for (int i = 0; i < STRESS_CHANS; i++) {
        left[i] = STRESS_EACH / STRESS_CHANS;
        k[i] = (ramet_case){stress[i], &v[i], RAMET_SEND, false};
    }
    for (int n = 0; n < STRESS_EACH; n++) {
        for (int i = 0; i < STRESS_CHANS; i++) v[i] = n * STRESS_CHANS + i;
        int i = ramet_select(k, STRESS_CHANS, RAMET_FOREVER);
        CHECK(i >= 0);
        stress_in += v[i];
        if (--left[i] == 0) k[i].chan = NULL;
    }
}

static void stress_receiver(void *arg) {
    int v[STRESS_CHANS], left[STRESS_CHANS];
    ramet_case k[STRESS_CHANS];
    (void)arg;
    for (int i = 0; i < STRESS_CHANS; i++) {
        left[i] = STRESS_EACH / STRESS_CHANS;
        k[i] = (ramet_case){stress[i], &v[i], RAMET_RECV, false};
    }
    for (int n = 0; n < STRESS_EACH; n++) {
        int i = ramet_select(k, STRESS_CHANS, RAMET_FOREVER);
        CHECK(i >= 0 && k[i].ok);
        stress_out += v[i];
        if (--left[i] == 0) k[i].chan = NULL;
    }
}

static void selects_against_selects(void) {
    for (size_t cap = 0; cap < 3; cap += 2) {
        ramet_goroutine g[6];
        stress_in = stress_out = 0;
        for (int i = 0; i < STRESS_CHANS; i++) stress[i] = make(cap);
        for (int i = 0; i < 6; i++) g[i] = check_go(i % 2 ? stress_sender : stress_receiver, NULL);
        for (int i = 0; i < 6; i++) check_join(g[i]);
        CHECK_EQ(stress_in, stress_out);
        for (int i = 0; i < STRESS_CHANS; i++) free_chan(stress[i]);
    }
}

static const check_test tests[] = {
    IN_RUNTIME(ready_case),
    IN_RUNTIME(ready_peer),
    IN_RUNTIME(default_case),
    IN_RUNTIME(nil_cases),
    IN_RUNTIME(no_case_at_all),
    IN_RUNTIME(bad_counts),
    PLAIN(outside_a_runtime),
    IN_RUNTIME(receive_from_closed),
    IN_RUNTIME(send_on_closed),
    IN_RUNTIME(close_wakes_select),
    IN_RUNTIME(losers_are_dequeued),
    IN_RUNTIME(blocking_over_many),
    IN_RUNTIME(most_cases),
    IN_RUNTIME(duplicates),
    IN_RUNTIME(self_select),
    IN_RUNTIME(two_self_selects),
    IN_RUNTIME(uniform_among_ready),
    IN_RUNTIME(deadlines),
    IN_RUNTIME(cancellation),
    IN_RUNTIME(fan_in),
    IN_RUNTIME(selects_against_selects),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
