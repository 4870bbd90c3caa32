/* bench_select.c: select over n channels, one of them ready (the send that makes it so is
 * included), or none until a producer sends. */
#include "bench.h"

enum { MOST = 64 };

typedef struct many {
    ramet_chan *chans[MOST];
    ramet_case cases[MOST];
    int64_t value;
    int64_t rounds; /* of PERIOD messages */
    int n;
} many;

static many *many_make(int n, size_t capacity, int64_t messages) {
    many *m = calloc(1, sizeof *m);
    if (!m || n < 1 || n > MOST) must(-22, "select: 1 to 64 cases");
    m->n = n;
    m->rounds = messages / PERIOD + 1;
    for (int i = 0; i < n; i++) {
        m->chans[i] = ramet_chan_make(sizeof(int64_t), capacity);
        m->cases[i] = (ramet_case){.chan = m->chans[i], .elem = &m->value, .dir = RAMET_RECV};
    }
    return m;
}

static void many_free(many *m) {
    for (int i = 0; i < m->n; i++) MUST(ramet_chan_free(m->chans[i]));
    free(m);
}

static int64_t scaled(const many *m, int64_t t, int64_t n) {
    return (int64_t)((double)t * (double)n / (double)(m->rounds * PERIOD));
}

static int64_t ready_round(void *arg, int64_t n) {
    many *m = many_make(*(int *)arg, 1, n);
    int64_t t = now_ns();
    for (int64_t r = 0; r < m->rounds; r++)
        for (int i = 0; i < PERIOD; i++) {
            MUST(ramet_chan_send(m->chans[order(i, m->n)], &r, RAMET_FOREVER));
            MUST(ramet_select(m->cases, m->n, RAMET_FOREVER));
        }
    t = scaled(m, now_ns() - t, n);
    many_free(m);
    return t;
}

static void bench_selectready(const options *o) {
    int n = o->n;
    emit("ns", measure(o, PERIOD, ready_round, &n));
}

static void producer(void *arg) {
    many *m = arg;
    for (int64_t r = 0; r < m->rounds; r++)
        for (int i = 0; i < PERIOD; i++) MUST(ramet_chan_send(m->chans[order(i, m->n)], &r, RAMET_FOREVER));
}

static int64_t block_round(void *arg, int64_t n) {
    many *m = many_make(*(int *)arg, 0, n);
    ramet_goroutine g;
    MUST(ramet_go(producer, m, &g));
    int64_t t = now_ns();
    for (int64_t i = 0; i < m->rounds * PERIOD; i++) MUST(ramet_select(m->cases, m->n, RAMET_FOREVER));
    t = scaled(m, now_ns() - t, n);
    MUST(ramet_join(g, RAMET_FOREVER));
    many_free(m);
    return t;
}

static void bench_selectblock(const options *o) {
    int n = o->n;
    emit("ns", measure(o, PERIOD, block_round, &n));
}

int main(int argc, char **argv) {
    static const row rows[] = {{"selectready", bench_selectready}, {"selectblock", bench_selectblock}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
