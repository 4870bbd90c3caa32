/* bench_goroutine.c: yield, start and end, memory of parked goroutines, sleepers. */
#include "bench.h"

/* ---- yield ---- */

static int64_t each;

static void yielder(void *arg) {
    (void)arg;
    for (int64_t i = 0; i < each; i++) ramet_yield();
}

static int64_t yield_round(void *arg, int64_t n) {
    const options *o = arg;
    ramet_goroutine *g = calloc((size_t)o->n, sizeof *g);
    each = n / o->n > 0 ? n / o->n : 1;
    for (int i = 0; i < o->n; i++) MUST(ramet_go(yielder, NULL, &g[i]));
    int64_t t = now_ns();
    for (int i = 0; i < o->n; i++) MUST(ramet_join(g[i], RAMET_FOREVER));
    t = now_ns() - t;
    free(g);
    return (int64_t)((double)t * (double)n / (double)(each * o->n));
}

static void bench_yield(const options *o) { emit("ns", measure(o, o->n * 4, yield_round, (void *)o)); }

/* ---- start and end ---- */

static void nothing(void *arg) { (void)arg; }

static int64_t spawn_round(void *arg, int64_t n) {
    (void)arg;
    int64_t t = now_ns();
    for (int64_t i = 0; i < n; i++) {
        ramet_goroutine g;
        MUST(ramet_go(nothing, NULL, &g));
        MUST(ramet_join(g, RAMET_FOREVER));
    }
    return now_ns() - t;
}

static void bench_spawn(const options *o) { emit("ns", measure(o, 8, spawn_round, NULL)); }

static int64_t startmany_round(void *arg, int64_t n) {
    ramet_goroutine *g = arg;
    int64_t t = now_ns();
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < START_BATCH; k++) MUST(ramet_go(nothing, NULL, &g[k]));
        for (int k = 0; k < START_BATCH; k++) MUST(ramet_join(g[k], RAMET_FOREVER));
    }
    return now_ns() - t;
}

static void bench_startmany(const options *o) {
    static ramet_goroutine g[START_BATCH];
    emit("ns", measure(o, 1, startmany_round, g) / START_BATCH);
}

/* ---- memory of a goroutine that is parked in a receive, two calls deep ---- */

static int parked;

__attribute__((noinline)) static int inner(ramet_chan *never) {
    int v = 0;
    parked++;
    ramet_chan_recv(never, &v, RAMET_FOREVER);
    return v;
}

__attribute__((noinline)) static void outer(void *never) { parked -= inner(never); }

static void bench_parked(const options *o) {
    ramet_chan *never = ramet_chan_make(sizeof(int), 0);
    double before = resident();
    int64_t t = now_ns();
    for (int i = 0; i < o->n; i++) MUST(ramet_go(outer, never, NULL));
    while (parked < o->n) MUST(ramet_yield());
    t = now_ns() - t;
    emit2("bytes", (resident() - before) / o->n, "seconds", (double)t / 1e9);
}

/* ---- sleepers ---- */

static void sleeper(void *arg) { MUST(ramet_sleep(sleep_for((int)(intptr_t)arg))); }

static void bench_sleepers(const options *o) {
    ramet_goroutine *g = calloc((size_t)o->n, sizeof *g);
    int64_t cpu = cpu_ns(), t = now_ns();
    for (int i = 0; i < o->n; i++) MUST(ramet_go(sleeper, (void *)(intptr_t)i, &g[i]));
    for (int i = 0; i < o->n; i++) MUST(ramet_join(g[i], RAMET_FOREVER));
    emit2("cpu_ns", (double)(cpu_ns() - cpu) / o->n, "wall_s", (double)(now_ns() - t) / 1e9);
}

int main(int argc, char **argv) {
    static const row rows[] = {{"yield", bench_yield},   {"spawn", bench_spawn},       {"startmany", bench_startmany},
                               {"parked", bench_parked}, {"sleepers", bench_sleepers}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
