/* bench_chan.c: messages through channels of one word. */
#include "bench.h"

typedef struct pair {
    ramet_chan *a, *b;
    int64_t n;
} pair;

/* ---- there and back ---- */

static void ponger(void *arg) {
    pair p = *(pair *)arg;
    for (int64_t i = 0; i < p.n; i++) {
        int64_t v;
        MUST(ramet_chan_recv(p.a, &v, RAMET_FOREVER));
        MUST(ramet_chan_send(p.b, &v, RAMET_FOREVER));
    }
}

static int64_t pingpong_round(void *arg, int64_t n) {
    (void)arg;
    pair p = {ramet_chan_make(sizeof(int64_t), 0), ramet_chan_make(sizeof(int64_t), 0), n};
    ramet_goroutine g;
    MUST(ramet_go(ponger, &p, &g));
    int64_t t = now_ns();
    for (int64_t i = 0; i < n; i++) {
        int64_t v;
        MUST(ramet_chan_send(p.a, &i, RAMET_FOREVER));
        MUST(ramet_chan_recv(p.b, &v, RAMET_FOREVER));
    }
    t = now_ns() - t;
    MUST(ramet_join(g, RAMET_FOREVER));
    MUST(ramet_chan_free(p.a));
    MUST(ramet_chan_free(p.b));
    return t;
}

static void bench_pingpong(const options *o) { emit("ns", measure(o, 8, pingpong_round, NULL) / 2); }

/* ---- one way ---- */

static void producer(void *arg) {
    pair p = *(pair *)arg;
    for (int64_t i = 0; i < p.n; i++) MUST(ramet_chan_send(p.a, &i, RAMET_FOREVER));
}

static int64_t stream_round(void *arg, int64_t n) {
    pair p = {.a = ramet_chan_make(sizeof(int64_t), *(size_t *)arg), .n = n};
    ramet_goroutine g;
    MUST(ramet_go(producer, &p, &g));
    int64_t t = now_ns();
    for (int64_t i = 0; i < n; i++) {
        int64_t v;
        MUST(ramet_chan_recv(p.a, &v, RAMET_FOREVER));
    }
    t = now_ns() - t;
    MUST(ramet_join(g, RAMET_FOREVER));
    MUST(ramet_chan_free(p.a));
    return t;
}

static void stream(const options *o, size_t capacity) { emit("ns", measure(o, 8, stream_round, &capacity)); }

static void bench_unbuffered(const options *o) { stream(o, 0); }
static void bench_buffered(const options *o) { stream(o, 128); }

int main(int argc, char **argv) {
    static const row rows[] = {
        {"pingpong", bench_pingpong}, {"unbuffered", bench_unbuffered}, {"buffered", bench_buffered}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
