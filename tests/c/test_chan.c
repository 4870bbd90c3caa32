/* test_chan.c: Go's channels. */
#include <errno.h>

#include "check.h"

/* ------------------------------------------------------------------ helpers ---- */

typedef struct worker { /* a goroutine that sends or receives one int and tells what came of it */
    ramet_chan *c;
    int value, result, done;
    int64_t deadline;
    ramet_goroutine g;
} worker;

static void send_one(void *arg) {
    worker *w = arg;
    w->result = ramet_chan_send(w->c, &w->value, w->deadline);
    w->done = 1;
}

static void recv_one(void *arg) {
    worker *w = arg;
    w->result = ramet_chan_recv(w->c, &w->value, w->deadline);
    w->done = 1;
}

static worker *start(worker *w, void (*fn)(void *), ramet_chan *c, int value) {
    *w = (worker){.c = c, .value = value, .result = 99, .deadline = RAMET_FOREVER};
    w->g = check_go(fn, w);
    return w;
}

static ramet_chan *make(size_t size, size_t cap) {
    ramet_chan *c = ramet_chan_make(size, cap);
    CHECK(c);
    return c;
}

static int poll_send(ramet_chan *c, int v) { return ramet_chan_send(c, &v, RAMET_POLL); }
static void send_now(ramet_chan *c, int v) { CHECK_EQ(ramet_chan_send(c, &v, RAMET_FOREVER), 0); }

static int recv_now(ramet_chan *c) {
    int v = -1;
    CHECK_EQ(ramet_chan_recv(c, &v, RAMET_FOREVER), 0);
    return v;
}

/* ------------------------------------------------------------------ values ---- */

static void unbuffered_rendezvous(void) {
    ramet_chan *c = make(sizeof(int), 0);
    worker w;
    CHECK_EQ(poll_send(c, 1), -EAGAIN);
    start(&w, send_one, c, 7);
    check_settle();
    CHECK(!w.done); /* a sender waits for its receiver */
    CHECK_EQ(ramet_chan_len(c), 0);
    CHECK_EQ(recv_now(c), 7);
    check_join(w.g);
    CHECK_EQ(w.result, 0);
    start(&w, recv_one, c, 0);
    check_settle();
    CHECK(!w.done);
    CHECK_EQ(poll_send(c, 8), 0); /* somebody waits: no need to */
    check_join(w.g);
    CHECK_EQ(w.result, 0);
    CHECK_EQ(w.value, 8);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void buffered_fifo(void) {
    for (int cap = 1; cap <= 17; cap++) {
        ramet_chan *c = make(sizeof(int), (size_t)cap);
        int in = 0, out = 0;
        for (int round = 0; round < 50; round++) { /* the ring turns */
            while (poll_send(c, in) == 0) in++;
            CHECK_EQ(in - out, cap);
            for (int k = 0; k <= round % cap; k++) CHECK_EQ(recv_now(c), out++);
        }
        while (out < in) CHECK_EQ(recv_now(c), out++);
        int v = 5;
        CHECK_EQ(ramet_chan_recv(c, &v, RAMET_POLL), -EAGAIN);
        CHECK_EQ(v, 5);
        CHECK_EQ(ramet_chan_free(c), 0);
    }
}

static void len_cap_closed(void) {
    ramet_chan *c = make(sizeof(int), 3);
    CHECK_EQ(ramet_chan_cap(c), 3);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(ramet_chan_len(c), i);
        send_now(c, i);
    }
    CHECK_EQ(ramet_chan_len(c), 3);
    CHECK(!ramet_chan_closed(c));
    CHECK_EQ(ramet_chan_close(c), 0);
    CHECK(ramet_chan_closed(c));
    CHECK_EQ(ramet_chan_len(c), 3);
    CHECK_EQ(recv_now(c), 0);
    CHECK_EQ(ramet_chan_len(c), 2);
    CHECK_EQ(ramet_chan_free(c), 0);
    CHECK_EQ(ramet_chan_len(NULL), 0);
    CHECK_EQ(ramet_chan_cap(NULL), 0);
    CHECK(!ramet_chan_closed(NULL));
}

static const size_t sizes[] = {0, 1, 2, 3, 4, 7, 8, 9, 16, 24, 100, 4096, 70000};
enum { NSIZES = sizeof sizes / sizeof *sizes };

typedef struct blob {
    ramet_chan *c;
    size_t size;
    int count;
} blob;

static void fill(unsigned char *p, size_t n, int seed) {
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)(seed * 31 + (int)i * 7);
}

static void send_blobs(void *arg) {
    blob *b = arg;
    unsigned char *p = malloc(b->size + 1);
    for (int i = 0; i < b->count; i++) {
        fill(p, b->size, i);
        CHECK_EQ(ramet_chan_send(b->c, p, RAMET_FOREVER), 0);
        memset(p, 0xee, b->size); /* the value has left */
    }
    free(p);
}

static void element_sizes(void) {
    for (int s = 0; s < NSIZES; s++)
        for (size_t cap = 0; cap <= 4; cap += 2) {
            blob b = {make(sizes[s], cap), sizes[s], 20};
            ramet_goroutine g = check_go(send_blobs, &b);
            unsigned char *want = malloc(b.size + 1), *got = malloc(b.size + 16);
            for (int i = 0; i < b.count; i++) {
                if (i % 3 == 0) CHECK_EQ(ramet_yield(), 0); /* now the one waits first, now the other */
                memset(got, 0x5a, b.size + 16);
                CHECK_EQ(ramet_chan_recv(b.c, got, RAMET_FOREVER), 0);
                fill(want, b.size, i);
                CHECK(!memcmp(want, got, b.size));
                for (int k = 0; k < 16; k++) CHECK_EQ(got[b.size + (size_t)k], 0x5a); /* and no more */
            }
            check_join(g);
            CHECK_EQ(ramet_chan_close(b.c), 0);
            memset(got, 0x5a, b.size + 16);
            CHECK_EQ(ramet_chan_recv(b.c, got, RAMET_FOREVER), -EPIPE);
            for (size_t i = 0; i < b.size; i++) CHECK_EQ(got[i], 0);
            CHECK_EQ(got[b.size], 0x5a);
            CHECK_EQ(ramet_chan_free(b.c), 0);
            free(want);
            free(got);
        }
}

static void recv_null_drops(void) {
    ramet_chan *c = make(sizeof(int), 1), *u = make(sizeof(int), 0);
    worker w;
    send_now(c, 1);
    CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), 0);
    CHECK_EQ(ramet_chan_len(c), 0);
    start(&w, send_one, u, 2);
    check_settle();
    CHECK_EQ(ramet_chan_recv(u, NULL, RAMET_FOREVER), 0);
    start(&w, send_one, u, 3);
    CHECK_EQ(ramet_chan_recv(u, NULL, RAMET_FOREVER), 0); /* waits for it */
    CHECK_EQ(ramet_chan_close(u), 0);
    CHECK_EQ(ramet_chan_recv(u, NULL, RAMET_FOREVER), -EPIPE);
    check_join(w.g);
    CHECK_EQ(ramet_chan_free(u), 0);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void capacity_overflow(void) {
    CHECK(!ramet_chan_make(SIZE_MAX, 2));
    CHECK(!ramet_chan_make(SIZE_MAX / 2, 3));
    CHECK(!ramet_chan_make(8, SIZE_MAX));
    CHECK(!ramet_chan_make(8, SIZE_MAX / 8));
    CHECK(!ramet_chan_make(8, SIZE_MAX / 8 + 1));
    CHECK(!ramet_chan_make((size_t)1 << 33, (size_t)1 << 33));
    CHECK(!ramet_chan_make(0, SIZE_MAX));
    ramet_chan *c = make(0, 1000000); /* of nothing there may be many */
    for (int i = 0; i < 1000; i++) CHECK_EQ(ramet_chan_send(c, "", RAMET_FOREVER), 0);
    CHECK_EQ(ramet_chan_len(c), 1000);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void outside_a_runtime(void) {
    CHECK(!ramet_chan_make(4, 1));
    CHECK_EQ(ramet_chan_send(NULL, "", RAMET_POLL), -EPERM);
    CHECK_EQ(ramet_chan_recv(NULL, NULL, RAMET_POLL), -EPERM);
    CHECK_EQ(ramet_chan_free(NULL), 0);
}

/* ------------------------------------------------------------------ close ---- */

static void close_drains(void) {
    ramet_chan *c = make(sizeof(int), 4);
    for (int i = 0; i < 3; i++) send_now(c, i + 1);
    CHECK_EQ(ramet_chan_close(c), 0);
    CHECK_EQ(poll_send(c, 9), -EPIPE);
    for (int i = 0; i < 3; i++) CHECK_EQ(recv_now(c), i + 1);
    for (int i = 0; i < 3; i++) {
        int v = 77;
        CHECK_EQ(ramet_chan_recv(c, &v, i ? RAMET_FOREVER : RAMET_POLL), -EPIPE);
        CHECK_EQ(v, 0);
    }
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void close_wakes_all(void) {
    enum { N = 100 };
    static worker w[N];
    for (int sends = 0; sends < 2; sends++)
        for (size_t cap = 0; cap < 3; cap++) {
            ramet_chan *c = make(sizeof(int), cap);
            if (sends)
                for (size_t i = 0; i < cap; i++) send_now(c, (int)i);
            for (int i = 0; i < N; i++) start(&w[i], sends ? send_one : recv_one, c, 1000 + i);
            check_settle();
            CHECK_EQ(ramet_chan_free(c), -EBUSY);
            CHECK_EQ(ramet_chan_close(c), 0);
            for (int i = 0; i < N; i++) {
                check_join(w[i].g);
                CHECK_EQ(w[i].result, -EPIPE);
                CHECK_EQ(w[i].value, sends ? 1000 + i : 0);
            }
            if (sends)
                for (size_t i = 0; i < cap; i++) CHECK_EQ(recv_now(c), i); /* what was in stays in */
            CHECK_EQ(ramet_chan_recv(c, NULL, RAMET_FOREVER), -EPIPE);
            CHECK_EQ(ramet_chan_free(c), 0);
        }
}

static void double_close(void) {
    ramet_chan *c = make(4, 0);
    CHECK_EQ(ramet_chan_close(c), 0);
    CHECK_EQ(ramet_chan_close(c), -EPIPE);
    CHECK_EQ(ramet_chan_close(NULL), -EINVAL);
    CHECK_EQ(ramet_chan_free(c), 0);
}

/* ------------------------------------------------------------------ nil ---- */

static void nil_channel(void) {
    int v = 3;
    worker w, x;
    CHECK_EQ(ramet_chan_send(NULL, &v, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_chan_recv(NULL, &v, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_chan_send(NULL, &v, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_recv(NULL, &v, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(v, 3);
    start(&w, send_one, NULL, 0);
    start(&x, recv_one, NULL, 0);
    CHECK_EQ(ramet_sleep(2 * RAMET_MILLISECOND), 0);
    CHECK(!w.done && !x.done);
    CHECK_EQ(ramet_cancel(w.g), 0);
    CHECK_EQ(ramet_cancel(x.g), 0);
    check_join(w.g);
    check_join(x.g);
    CHECK_EQ(w.result, -ECANCELED);
    CHECK_EQ(x.result, -ECANCELED);
}

/* ------------------------------------------------------------------ deadlines, cancellation ---- */

static void deadlines(void) {
    ramet_chan *c = make(sizeof(int), 1);
    int v = 11;
    int64_t began = ramet_now();
    CHECK_EQ(ramet_chan_recv(c, &v, ramet_deadline(20 * RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK(ramet_now() - began >= 20 * RAMET_MILLISECOND);
    CHECK_EQ(v, 11);
    CHECK_EQ(ramet_chan_recv(c, &v, ramet_now() - 1), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_recv(c, &v, -5), -ETIMEDOUT);
    send_now(c, 1);
    CHECK_EQ(ramet_chan_send(c, &v, ramet_deadline(RAMET_MILLISECOND)), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_send(c, &v, 1), -ETIMEDOUT);
    CHECK_EQ(ramet_chan_recv(c, &v, 1), 0); /* what need not wait does not look at the clock */
    CHECK_EQ(v, 1);
    CHECK_EQ(ramet_chan_free(c), 0); /* nobody was left in a queue */
    ramet_stats st;
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK_EQ(st.timers, 0);
}

/* A timer is behind a wait with a deadline; when the value comes first it is gone. */
static void deadline_not_reached(void) {
    ramet_chan *c = make(sizeof(int), 0);
    ramet_stats st;
    worker w = {.c = c, .deadline = ramet_deadline(100 * RAMET_SECOND)};
    ramet_goroutine g = check_go(recv_one, &w);
    check_settle();
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK_EQ(st.timers, 1);
    send_now(c, 4);
    check_join(g);
    CHECK_EQ(w.value, 4);
    CHECK_EQ(ramet_get_stats(&st), 0);
    CHECK_EQ(st.timers, 0);
    CHECK_EQ(ramet_chan_free(c), 0);
}

/* The value has been handed over; then comes the cancellation, before the receiver has run. */
static int kept_next;
static void recv_then_yield(void *arg) {
    recv_one(arg);
    kept_next = ramet_yield();
}

static void cancel_after_handover(void) {
    ramet_chan *c = make(sizeof(int), 0);
    worker w;
    start(&w, recv_then_yield, c, 0);
    check_settle();
    send_now(c, 42);
    CHECK(!w.done);
    CHECK_EQ(ramet_cancel(w.g), 0);
    check_join(w.g);
    CHECK_EQ(w.result, 0);
    CHECK_EQ(w.value, 42);
    CHECK_EQ(kept_next, -ECANCELED); /* and the next call that may park has it */
    CHECK_EQ(ramet_chan_free(c), 0);
}

/* Cancelled, but not run yet: it stands in the queue still, and is not to be given anything. */
static void cancel_before_handover(void) {
    for (int sends = 0; sends < 2; sends++) {
        ramet_chan *c = make(sizeof(int), 0);
        worker w, x;
        int v = 5;
        start(&w, sends ? send_one : recv_one, c, 1);
        start(&x, sends ? send_one : recv_one, c, 2);
        check_settle();
        CHECK_EQ(ramet_cancel(w.g), 0);
        CHECK(!w.done);
        if (sends) { /* the one behind it is next */
            CHECK_EQ(ramet_chan_recv(c, &v, RAMET_POLL), 0);
            CHECK_EQ(v, 2);
            CHECK_EQ(ramet_chan_recv(c, &v, RAMET_POLL), -EAGAIN);
        } else {
            CHECK_EQ(poll_send(c, 8), 0);
            CHECK_EQ(poll_send(c, 9), -EAGAIN);
        }
        check_join(w.g);
        check_join(x.g);
        CHECK_EQ(w.result, -ECANCELED);
        CHECK_EQ(w.value, 1);
        CHECK_EQ(x.result, 0);
        CHECK_EQ(x.value, sends ? 2 : 8);
        CHECK_EQ(ramet_chan_free(c), 0);
    }
}

/* Cancelled when the channel is closed before it runs: still cancelled, and off the queue. */
static void cancel_then_close(void) {
    ramet_chan *c = make(sizeof(int), 0);
    worker w;
    start(&w, recv_one, c, 1);
    check_settle();
    CHECK_EQ(ramet_cancel(w.g), 0);
    CHECK_EQ(ramet_chan_close(c), 0);
    check_join(w.g);
    CHECK_EQ(w.result, -ECANCELED);
    CHECK_EQ(ramet_chan_free(c), 0);
}

static ramet_chan *entry_c;
static int entry_first, entry_second, entry_value;
static void cancelled_on_entry(void *arg) {
    (void)arg;
    CHECK_EQ(ramet_cancel(ramet_self()), 0);
    entry_value = 99;
    entry_first = ramet_chan_recv(entry_c, &entry_value, RAMET_FOREVER);
    CHECK_EQ(entry_value, 99);
    entry_second = ramet_chan_recv(entry_c, &entry_value, RAMET_FOREVER);
    CHECK_EQ(ramet_cancel(ramet_self()), 0);
    CHECK_EQ(ramet_chan_send(entry_c, &entry_value, RAMET_POLL), 0); /* no cancellation point */
    CHECK_EQ(ramet_chan_recv(entry_c, &entry_value, RAMET_POLL), 0);
    CHECK_EQ(ramet_chan_recv(entry_c, &entry_value, RAMET_POLL), -EAGAIN);
    CHECK_EQ(ramet_chan_send(entry_c, &entry_value, RAMET_FOREVER), -ECANCELED);
}

static void cancel_on_entry_consumes_nothing(void) {
    entry_c = make(sizeof(int), 1);
    send_now(entry_c, 6);
    check_join(check_go(cancelled_on_entry, NULL));
    CHECK_EQ(entry_first, -ECANCELED);
    CHECK_EQ(entry_second, 0);
    CHECK_EQ(entry_value, 6);
    CHECK_EQ(ramet_chan_len(entry_c), 0);
    CHECK_EQ(ramet_chan_free(entry_c), 0);
}

/* ------------------------------------------------------------------ order ---- */

static void receivers_are_served_in_order(void) {
    enum { N = 20 };
    worker w[N];
    ramet_chan *c = make(sizeof(int), 0);
    for (int i = 0; i < N; i++) start(&w[i], recv_one, c, -1);
    check_settle();
    for (int i = 5; i < N; i += 5) CHECK_EQ(ramet_cancel(w[i].g), 0); /* some leave from the middle */
    check_settle();
    int sent = 0;
    for (int i = 0; i < N; i++) {
        if (i % 5 == 0 && i) continue;
        CHECK_EQ(poll_send(c, i), 0);
        sent++;
    }
    CHECK_EQ(sent, N - 3);
    CHECK_EQ(poll_send(c, 0), -EAGAIN);
    for (int i = 0; i < N; i++) {
        check_join(w[i].g);
        CHECK_EQ(w[i].result, i % 5 || !i ? 0 : -ECANCELED);
        if (!w[i].result) CHECK_EQ(w[i].value, i);
    }
    CHECK_EQ(ramet_chan_free(c), 0);
}

static void senders_are_served_in_order(void) {
    enum { N = 20 };
    worker w[N];
    for (size_t cap = 0; cap < 4; cap++) {
        ramet_chan *c = make(sizeof(int), cap);
        for (int i = 0; i < N; i++) start(&w[i], send_one, c, i);
        check_settle();
        CHECK_EQ(ramet_chan_len(c), cap);
        for (int i = 0; i < N; i++) {
            CHECK_EQ(recv_now(c), i);
            if (i + (int)cap < N - 1) CHECK_EQ(ramet_chan_len(c), cap); /* who waits fills the place at once */
        }
        for (int i = 0; i < N; i++) {
            check_join(w[i].g);
            CHECK_EQ(w[i].result, 0);
        }
        CHECK_EQ(ramet_chan_free(c), 0);
    }
}

/* ------------------------------------------------------------------ many ---- */

typedef struct crowd {
    ramet_chan *work, *sums;
    int each;
    int64_t base;
} crowd;

static void produce(void *arg) {
    crowd *k = arg;
    for (int i = 0; i < k->each; i++) {
        int64_t v = k->base + i;
        CHECK_EQ(ramet_chan_send(k->work, &v, RAMET_FOREVER), 0);
        if (v % 7 == 0) CHECK_EQ(ramet_yield(), 0);
    }
}

static void consume(void *arg) {
    crowd *k = arg;
    int64_t v, sum[2] = {0, 0};
    int e;
    while ((e = ramet_chan_recv(k->work, &v, RAMET_FOREVER)) == 0) sum[0] += v, sum[1]++;
    CHECK_EQ(e, -EPIPE);
    CHECK_EQ(ramet_chan_send(k->sums, sum, RAMET_FOREVER), 0);
}

static void many_producers_and_consumers(void) {
    enum { P = 10, C = 7, EACH = 500 };
    static const size_t caps[] = {0, 1, 3, 64};
    for (int q = 0; q < 4; q++) {
        crowd k[P];
        ramet_goroutine g[P];
        ramet_chan *work = make(sizeof(int64_t), caps[q]), *sums = make(2 * sizeof(int64_t), 0);
        for (int i = 0; i < P; i++) {
            k[i] = (crowd){work, sums, EACH, i * EACH};
            g[i] = check_go(produce, &k[i]);
            if (i < C) check_go(consume, &k[i]);
        }
        for (int i = 0; i < P; i++) check_join(g[i]);
        CHECK_EQ(ramet_chan_close(work), 0);
        int64_t sum = 0, n = 0, got[2];
        for (int i = 0; i < C; i++) {
            CHECK_EQ(ramet_chan_recv(sums, got, RAMET_FOREVER), 0);
            sum += got[0];
            n += got[1];
        }
        CHECK_EQ(n, P * EACH);
        CHECK_EQ(sum, (int64_t)(P * EACH) * (P * EACH - 1) / 2);
        CHECK_EQ(ramet_chan_free(work), 0);
        CHECK_EQ(ramet_chan_free(sums), 0);
    }
}

/* The prime sieve of the talk: a chain of channels that grows. */
typedef struct filter {
    ramet_chan *in, *out;
    int prime;
} filter;

static void numbers(void *out) {
    for (int i = 2;; i++)
        if (ramet_chan_send(out, &i, RAMET_FOREVER)) return;
}

static void sift(void *arg) {
    filter f = *(filter *)arg;
    free(arg);
    int v;
    while (ramet_chan_recv(f.in, &v, RAMET_FOREVER) == 0)
        if (v % f.prime && ramet_chan_send(f.out, &v, RAMET_FOREVER)) return;
}

static void sieve(void) {
    enum { N = 100 };
    ramet_chan *chans[N + 1];
    ramet_goroutine g[N + 1];
    int prime = 0;
    chans[0] = make(sizeof(int), 0);
    g[0] = check_go(numbers, chans[0]);
    for (int i = 0; i < N; i++) {
        prime = recv_now(chans[i]);
        filter *f = malloc(sizeof *f);
        chans[i + 1] = make(sizeof(int), 0);
        *f = (filter){chans[i], chans[i + 1], prime};
        g[i + 1] = check_go(sift, f);
    }
    CHECK_EQ(prime, 541);
    check_settle();
    for (int i = 0; i <= N; i++) CHECK_EQ(ramet_cancel(g[i]), 0);
    for (int i = 0; i <= N; i++) check_join(g[i]);
    for (int i = 0; i <= N; i++) CHECK_EQ(ramet_chan_free(chans[i]), 0);
}

static const check_test tests[] = {
    IN_RUNTIME(unbuffered_rendezvous),
    IN_RUNTIME(buffered_fifo),
    IN_RUNTIME(len_cap_closed),
    IN_RUNTIME(element_sizes),
    IN_RUNTIME(recv_null_drops),
    IN_RUNTIME(capacity_overflow),
    PLAIN(outside_a_runtime),
    IN_RUNTIME(close_drains),
    IN_RUNTIME(close_wakes_all),
    IN_RUNTIME(double_close),
    IN_RUNTIME(nil_channel),
    IN_RUNTIME(deadlines),
    IN_RUNTIME(deadline_not_reached),
    IN_RUNTIME(cancel_after_handover),
    IN_RUNTIME(cancel_before_handover),
    IN_RUNTIME(cancel_then_close),
    IN_RUNTIME(cancel_on_entry_consumes_nothing),
    IN_RUNTIME(receivers_are_served_in_order),
    IN_RUNTIME(senders_are_served_in_order),
    IN_RUNTIME(many_producers_and_consumers),
    IN_RUNTIME(sieve),
    {0},
};

int main(int argc, char **argv) { return check_main(tests, argc, argv); }
