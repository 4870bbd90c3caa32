/* timer.c: see timer.h. Go's time.go without its lazy deletion: stop removes. */
#include "timer.h"

int rm_timer_start(rm_timers *ts, rm_timer *t, int64_t when, int64_t period) {
    if (rm_timer_pending(t)) rm_heap_remove(&ts->heap, &t->node);
    t->seq++;
    t->when = when;
    t->period = period;
    return rm_heap_insert(&ts->heap, &t->node, when);
}

bool rm_timer_stop(rm_timers *ts, rm_timer *t) {
    t->seq++;
    if (!rm_timer_pending(t)) return false;
    rm_heap_remove(&ts->heap, &t->node);
    return true;
}

int rm_timers_run(rm_timers *ts, int64_t now) {
    int ran = 0;
    while (ts->heap.n && ts->heap.slots[0].when <= now) {
        rm_timer *t = rm_container_of(ts->heap.slots[0].node, rm_timer, node);
        rm_heap_remove(&ts->heap, &t->node);
        if (t->period > 0) { /* keep the phase; drop the beats that were missed */
            int64_t missed = (now - t->when) / t->period + 1;
            t->when += missed * t->period;
            rm_heap_insert(&ts->heap, &t->node, t->when); /* cannot fail: it has just been removed */
        }
        t->fn(t); /* may start, stop or free t */
        ran++;
    }
    return ran;
}

void rm_timers_fini(rm_timers *ts) {
    free(ts->heap.slots);
    memset(ts, 0, sizeof *ts);
}
