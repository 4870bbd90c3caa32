/* timer.c: see timer.h. Go's time.go without its lazy deletion: stop removes. */
#include "timer.h"

static int insert(rm_timers *ts, rm_timer *t, int64_t ahead) {
    int64_t slack = ahead <= 0 ? 0 : ahead >> RM_SLACK_SHIFT;
    if (slack > RM_SLACK_MAX) slack = RM_SLACK_MAX;
    if (t->when > RM_FOREVER - slack) slack = 0;
    return rm_heap_insert(&ts->heap, &t->node, t->when + slack, (uint32_t)slack);
}

int rm_timer_start(rm_timers *ts, rm_timer *t, int64_t now, int64_t when, int64_t period) {
    if (rm_timer_pending(t)) rm_heap_remove(&ts->heap, &t->node);
    t->when = when;
    t->period = period;
    return insert(ts, t, when > 0 ? when - now : 0);
}

bool rm_timer_stop(rm_timers *ts, rm_timer *t) {
    if (!rm_timer_pending(t)) return false;
    rm_heap_remove(&ts->heap, &t->node);
    return true;
}

int rm_timers_run(rm_timers *ts, int64_t now) {
    int ran = 0;
    while (ts->heap.n && ts->heap.slots[0].when - ts->heap.slots[0].note <= now) {
        rm_timer *t = rm_container_of(rm_heap_first(&ts->heap), rm_timer, node);
        rm_heap_remove(&ts->heap, &t->node);
        if (ts->heap.n) __builtin_prefetch(rm_heap_first(&ts->heap), 1);
        if (t->period > 0) { /* keep the phase; drop the beats that were missed */
            int64_t missed = (now - t->when) / t->period + 1;
            t->when += missed * t->period;
            insert(ts, t, t->when - now); /* cannot fail: it has just been removed */
        }
        t->fn(t); /* may start, stop or free t */
        ran++;
    }
    return ran;
}

void rm_timers_forget(rm_timers *ts) {
    while (ts->heap.n) rm_heap_remove(&ts->heap, rm_heap_first(&ts->heap));
}

void rm_timers_fini(rm_timers *ts) { rm_heap_fini(&ts->heap); }
