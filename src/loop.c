/* loop.c: what the proc does between goroutines: find work, poll, idle, notice a deadlock.
 *
 * Runs on g0, a stack of its own, so that no lock is held and no goroutine's stack grows by it. A
 * goroutine comes here when nothing is runnable, when RM_TICK switches have passed, or when somebody asked
 * for attention (a post in the inbox, sysmon, a foreign thread that wants the owner lock, a signal).
 *
 * Before it sleeps the loop announces `idle`, fences, and looks at the inbox again; whoever posts, fences
 * and looks at `idle`: one of the two sees the other (rm_netpoll does this part).
 *
 * Deadlock: nothing runnable, no timer, no descriptor waited for, no blocking call out, no external reason.
 * Then the embedder is asked; in the end main's wait returns -EDEADLK. */
#include "loop.h"

#include "blocking.h"
#include "dump.h"
#include "netpoll.h"
#include "owner.h"
#include "sysmon.h"

static bool drain_inbox(rm_p *p) {
    if (!rm_load(&p->inbox)) return false;
    rm_post *list = rm_xchg(&p->inbox, NULL), *in_order = NULL;
    while (list) { /* newest first: turn it round */
        rm_post *next = list->next;
        list->next = in_order;
        in_order = list;
        list = next;
    }
    while (in_order) {
        rm_post *next = in_order->next;
        in_order->fn(p, in_order);
        in_order = next;
    }
    return true;
}

static rm_g *pop_front(rm_p *p) {
    rm_g *g = p->front_first;
    if (g) p->front_first = g->next;
    return g;
}

/* Whose slice is next, if it is its turn: between two slices, all that was in the run queue when the first one ended has run. */
static rm_g *pop_hog(rm_p *p) {
    rm_g *g = p->hog_first;
    if (rm_likely(!g)) return NULL;
    uint32_t others = rm_runq_length(&p->runq) + (p->runnext != NULL);
    if (!p->hog_turn) p->hog_turn = p->switches + others + 1;
    if (others && p->switches < p->hog_turn) return NULL;
    p->hog_turn = p->hog_passed = 0;
    p->hog_first = g->next;
    return g;
}

/* Whether something may still wake a goroutine. */
static bool hopeful(rm_p *p) {
    rm_rt *rt = p->rt;
    return p->timers.heap.n || rm_netpoll_waiters(p) || rm_pool_inflight(rt) || rm_load(&rt->external) ||
           rm_load(&p->inbox);
}

static int64_t deadlocked(rm_p *p) {
    rm_rt *rt = p->rt;
    rm_g *main = rt->main_g;
    if (main->state != RM_WAITING || (main->flags & RM_GF_SYSTEM)) return RM_FOREVER;
    int64_t again = rt->hooks.deadlock ? rt->hooks.deadlock(rt) : 0;
    if (again) return again;
    if (!rm_runq_empty(&p->runq) || p->runnext) return 0; /* the hook has made work */
    if (rm_claim(main)) {
        main->wake_code = -EDEADLK;
        rm_ready_tail(p, main);
    }
    return 0;
}

static int64_t tell_time(rm_p *p) { /* sysmon reads and writes it, too */
    int64_t now = rm_now();
    rm_store(&p->now, now);
    return now;
}

static void idle(rm_p *p) {
    rm_rt *rt = p->rt;
    if (p->timers.heap.n && rm_timers_run(&p->timers, tell_time(p))) return;
    if (rt->hooks.signals && rt->hooks.signals(rt)) return;
    int64_t again = RM_FOREVER;
    if (!hopeful(p) && !(again = deadlocked(p))) return;
    int64_t when = rm_timers_next(&p->timers), wait = RM_FOREVER;
    if (again != RM_FOREVER) when = rm_after(again);
    if (when != RM_FOREVER) {
        wait = when - rm_now();
        if (wait <= 0) wait = 0;
    }
    rm_store(&p->polls, p->polls + 1);
    if (rm_netpoll(p, wait) == -EINTR && rt->hooks.signals) rt->hooks.signals(rt);
    if (rt->sysmon) rm_sysmon_wake(rt);
    rm_timers_run(&p->timers, rm_load(&p->now));
}

void rm_loop(void *arg) {
    rm_p *p = arg;
    rm_rt *rt = p->rt;
    for (;;) {
        bool asked = rm_load(&p->attention);
        if (asked) {
            rm_store_seq(&p->attention, 0);
            if (rt->owner) rm_owner_offer(rt);
            drain_inbox(p);
        }
        if (asked || p->tick <= 0) {
            tell_time(p);
            if (p->timers.heap.n) rm_timers_run(&p->timers, rm_load(&p->now));
            if (rm_netpoll_waiters(p)) {
                rm_store(&p->polls, p->polls + 1);
                rm_netpoll(p, 0);
            }
        }
        p->tick = RM_TICK;
        rm_g *g = pop_front(p);
        if (g) {
            if (p->front_first) rm_attend(p); /* the others of the front must not wait for the queue */
        } else if (!(g = pop_hog(p)) && !(g = rm_next(p))) {
            idle(p);
            continue;
        }
        rm_loop_switch(p, g);
    }
}
