/* bench_blocking.c: the round trip of a call to a thread of the pool. */
#include "bench.h"

static void *call(void *arg) {
    (void)arg;
    return (void *)(intptr_t)getppid();
}

static void bench_blocking(const options *o) {
    int64_t wall = 0, count = 0, gap = (int64_t)(o->gap * 1e9);
    for (int i = 0; i < 10; i++) MUST(ramet_blocking(call, NULL, NULL));
    int64_t cpu = cpu_ns(), end = now_ns() + (int64_t)(o->time * 1e9);
    while (now_ns() < end) {
        if (gap) MUST(ramet_sleep(gap));
        int64_t t = now_ns();
        MUST(ramet_blocking(call, NULL, NULL));
        wall += now_ns() - t;
        count++;
    }
    emit2("ns", (double)wall / (double)count, "cpu_ns", (double)(cpu_ns() - cpu) / (double)count);
}

int main(int argc, char **argv) {
    static const row rows[] = {{"blocking", bench_blocking}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
