/* timer.h: timers of one proc: a 4-ary heap, real removal, wake-ups that are shared.
 *
 * A timer is the caller's memory. All functions are for the proc that owns the heap (or under the owner lock). fn runs
 * on the idle stack or between goroutines: it must be short and must not park.
 *
 * A timer never fires early. It may fire late by its slack, 1/128 of how far away it was and at most 1 ms, so
 * that an idle proc need not wake up for each of many timers that are due at about the same time (what Linux does
 * with its own: the heap is ordered by the latest time, and who is first runs as soon as its time has come). */
#ifndef RM_TIMER_H
#define RM_TIMER_H

#include "base/heap.h"

#define RM_SLACK_MAX 1000000 /* ns */
#define RM_SLACK_SHIFT 7

typedef struct rm_timers {
    rm_heap heap; /* `when`: the latest time; the note is the slack */
} rm_timers;

typedef struct rm_timer {
    rm_heap_node node;
    void (*fn)(struct rm_timer *t);
    int64_t when, period;
} rm_timer;

rm_inline void rm_timer_init(rm_timer *t, void (*fn)(rm_timer *)) {
    t->node.id = 0;
    t->fn = fn;
    t->period = 0;
}
rm_inline bool rm_timer_pending(const rm_timer *t) { return t->node.id != 0; }

/* (Re)arm; `now` may be coarse. 0 or -ENOMEM. */
int rm_timer_start(rm_timers *ts, rm_timer *t, int64_t now, int64_t when, int64_t period);
/* True if it was pending. */
bool rm_timer_stop(rm_timers *ts, rm_timer *t);
/* Run what is due at `now`; how many ran. */
int rm_timers_run(rm_timers *ts, int64_t now);
/* When they must be run, or RM_FOREVER. */
rm_inline int64_t rm_timers_next(const rm_timers *ts) { return ts->heap.n ? ts->heap.slots[0].when : RM_FOREVER; }
/* All are pending no more; the timers must still be there. */
void rm_timers_forget(rm_timers *ts);
void rm_timers_fini(rm_timers *ts);

#endif
