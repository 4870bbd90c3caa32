/* yellow.c: the yellow zone: RecursionError instead of a crash on CPython 3.11-3.13.
 *
 * Those versions count recursion in C levels and know nothing of the size of a goroutine's stack. So the
 * guard below a stack is 64 KiB of yellow zone above a red page. A fault in it opens the zone and sets
 * the counter to nothing left: the interrupted C code goes on there, and the next check of CPython's raises
 * RecursionError. What was taken from the counter is given back, and the zone closed, at the goroutine's next
 * switch or at its end. A fault in the red page, or with the zone open, is fatal (overflow.c).
 *
 * 3.14 compares the stack pointer with limits that cpython_314.h sets at every switch; this file is then empty but
 * for saying that a fault is fatal. */
#include "yellow.h"

#include "park.h"

#ifdef RM_PY_COUNTER

bool rm_yellow_overflow(rm_rt *rt, rm_g *g, void *addr) {
    if (g->embed.pyflags & PYF_YELLOW || (char *)addr < g->lo - rt->stacks.guard + RM_RED_BYTES) return false;
    if (rm_stack_open_guard(&rt->stacks, g)) return false;
    PyThreadState *ts = g->p->embed_tstate;
    g->embed.pyflags |= PYF_YELLOW;
    g->embed.py.counter = RM_PY_COUNTER(ts);
    RM_PY_COUNTER(ts) = 0;
    return true;
}

void rm_yellow_close(rm_g *g, PyThreadState *ts) {
    /* not while the goroutine still stands in the zone: at its next switch then */
    char here;
    if (&here < g->lo) return;
    RM_PY_COUNTER(ts) += g->embed.py.counter;
    g->embed.py.counter = 0;
    g->embed.pyflags &= ~(uint32_t)PYF_YELLOW;
    rm_stack_close_guard(&g->p->rt->stacks, g);
}

#else

bool rm_yellow_overflow(rm_rt *rt, rm_g *g, void *addr) {
    (void)rt, (void)g, (void)addr;
    return false;
}

void rm_yellow_close(rm_g *g, PyThreadState *ts) { (void)g, (void)ts; }

#endif
