/* bench_timer.c: timers created and stopped, a million of them, and one alone. */
#include "bench.h"

static void fired(void *arg) { (void)arg; }

/* Create and start n timers, then stop them all; really removed each. */
static void bench_timers(const options *o) {
    ramet_timer **timers = calloc((size_t)o->n, sizeof *timers);
    int64_t start = now_ns(), base = ramet_now();
    for (int i = 0; i < o->n; i++) {
        timers[i] = ramet_timer_new(fired, NULL);
        MUST(ramet_timer_start(timers[i], base + timer_span(i), 0));
    }
    int64_t created = now_ns();
    for (int i = 0; i < o->n; i++)
        if (ramet_timer_stop(timers[i]) != 1) must(-22, "a timer was not pending");
    int64_t stopped = now_ns();
    emit2("create_ns", (double)(created - start) / o->n, "stop_ns", (double)(stopped - created) / o->n);
}

static int64_t churn_round(void *timer, int64_t n) {
    int64_t start = now_ns(), when = ramet_deadline(100 * RAMET_SECOND);
    for (int64_t i = 0; i < n; i++) {
        ramet_timer_start(timer, when, 0);
        ramet_timer_stop(timer);
    }
    return now_ns() - start;
}

static void bench_timerchurn(const options *o) { emit("ns", measure(o, 8, churn_round, ramet_timer_new(fired, NULL))); }

int main(int argc, char **argv) {
    static const row rows[] = {{"timers", bench_timers}, {"timerchurn", bench_timerchurn}, {NULL, NULL}};
    return bench_main(rows, argc, argv);
}
