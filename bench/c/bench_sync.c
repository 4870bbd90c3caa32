/* bench_sync.c: a mutex that nobody else wants, and one that nearly everybody has to wait for. */
#include "bench.h"

static int64_t mutex_round(void *mutex, int64_t n) {
    int64_t start = now_ns();
    for (int64_t i = 0; i < n; i++) {
        ramet_mutex_lock(mutex, RAMET_FOREVER);
        ramet_mutex_unlock(mutex);
    }
    return now_ns() - start;
}

static void bench_mutex(const options *o) {
    ramet_mutex m = {0};
    emit("ns", measure(o, 8, mutex_round, &m));
}

static ramet_mutex contended;
static int64_t each;

static void contender(void *arg) {
    (void)arg;
    for (int64_t i = 0; i < each; i++) {
        ramet_mutex_lock(&contended, RAMET_FOREVER);
        ramet_yield();
        ramet_mutex_unlock(&contended);
    }
}

static int64_t busy_round(void *arg, int64_t n) {
    const options *o = arg;
    ramet_goroutine *g = calloc((size_t)o->n, sizeof *g);
    each = n / o->n > 0 ? n / o->n : 1;
    int64_t start = now_ns();
    for (int i = 0; i < o->n; i++) MUST(ramet_go(contender, NULL, &g[i]));
    for (int i = 0; i < o->n; i++) MUST(ramet_join(g[i], RAMET_FOREVER));
    int64_t t = now_ns() - start;
    free(g);
    return (int64_t)((double)t * (double)n / (double)(each * o->n));
}

static void bench_mutexbusy(const options *o) { emit("ns", measure(o, 64, busy_round, (void *)o)); }

int main(int argc, char **argv) {
    static const row rows[] = {{"mutex", bench_mutex}, {"mutexbusy", bench_mutexbusy}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
