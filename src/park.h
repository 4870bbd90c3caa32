/* park.h: the proc, the runtime, and the one way to wait: rm_park and rm_ready.
 *
 * rm_rt is one runtime: one proc P (for now), the list of all goroutines, the stacks.
 * rm_m is an OS thread's view: the proc it runs, or, in a foreign thread, the pseudo goroutine that
 * stands for it on wait queues. The current one is the only thread-local of the runtime; no pointer
 * derived from it lives across a park.
 *
 * Owner lock. In a serialised runtime everything here is touched only by whoever holds the owner lock:
 * the embedder's GIL, or rt->owner (owner.c). The proc holds it while it runs goroutines and gives it
 * up around a blocking poll; a foreign thread takes it for a call and gives it up while it blocks. In a
 * locked runtime there is no owner lock: channels have locks, and other threads reach the proc only
 * through its inbox. */
#ifndef RM_PARK_H
#define RM_PARK_H

#include "g.h"
#include "runq.h"
#include "stack.h"
#include "timer.h"

struct rm_netpoll;
struct rm_pool;
struct rm_sysmon;
struct rm_owner;

typedef void (*rm_unlockf)(rm_g *g, void *arg);

/* What rm_park and rm_yield return, negative as the errno values, where the embedder cannot have it switched away from. */
#define RM_ESTUCK 4096

/* Something another thread wants done on the proc, between goroutines. Lives until `fn` is called. */
typedef struct rm_post {
    struct rm_post *next;
    void (*fn)(rm_p *p, struct rm_post *post);
} rm_post;

enum { /* rm_p.idle */
       RM_IDLE_NOT = 0,
       RM_IDLE_SLEEP = 1, /* in, or about to enter, a blocking poll: to be woken */
       RM_IDLE_SPIN = 2,  /* spinning before one: it looks at the inbox; who makes ready otherwise wakes it */
};

struct rm_p {
    rm_g *cur;          /* who runs now; g0 in the loop */
    rm_g *runnext;      /* woken by who runs now: next, within its budget */
    int32_t tick;       /* switches left until the loop looks at timers and poller */
    uint32_t budget;    /* times runnext may still be preferred */
    rm_unlockf unlockf; /* locked mode: to be called by whoever runs after a park */
    rm_g *unlock_g;
    void *unlock_arg;
    rm_rt *rt;
    uint64_t switches;
    int64_t now;        /* coarse clock: sysmon and every poll set it */
    rm_runq runq;
    rm_g *front_first, *front_last; /* back from blocking calls: before the run queue */
    rm_g *hog_first, *hog_last; /* preempted; one has its turn when all that was in the run queue has run: */
    uint64_t hog_turn;          /* once there have been so many switches; 0: to be counted */
    uint32_t hog_passed;        /* slices that others had since the last such turn */
    uint64_t hogging;   /* atomic: sysmon's: who runs since one switch less than this has had half a slice */
    rm_timers timers;
    struct rm_netpoll *netpoll;
    char pad0_[64];     /* what other threads write when they post: cache lines of its own */
    rm_post *inbox;     /* atomic: a stack of posts, newest first */
    uint32_t attention; /* atomic: the loop shall look now */
    uint32_t idle;      /* atomic: RM_IDLE_* */
    char pad1_[64];
    uint64_t rand;
    uint64_t polls;
    rm_g *g0;           /* the loop, on a stack of its own */
    rm_m *m;
    /* Before a sleep, the owner lock given up: spin until `until` at most, for what is likely to be posted soon. True if
     * there is something in the inbox now. NULL while nothing is expected. */
    bool (*spin)(rm_rt *rt, int64_t until);
#ifdef RM_EMBED_HEADER
    void *embed_tstate; /* the thread state that goroutines of this proc run on */
#endif
};

/* What an embedder does at the runtime's seams; any may be NULL. Called on the proc's thread unless said. */
typedef struct rm_hooks {
    /* Give up and take the owner lock around a blocking poll. */
    void (*idle_enter)(rm_rt *rt);
    void (*idle_leave)(rm_rt *rt);
    /* The same around the block of a foreign thread, on that thread. */
    void *(*block_enter)(rm_rt *rt);
    void (*block_leave)(rm_rt *rt, void *token);
    /* On the idle stack, owner lock held, after a poll that a signal interrupted (or before one: mask
     * swapped): does the embedder have signals to handle? It may start or wake goroutines; true if it did. */
    bool (*signals)(rm_rt *rt);
    /* A foreign thread's block was interrupted by a signal; owner lock held: 0 to go on, -EINTR to give up. */
    int (*block_signals)(rm_rt *rt);
    /* Nothing in the runtime can wake anything. Return 0 to have main's wait return -EDEADLK, or how
     * many ns to wait before asking again (RM_FOREVER: not again). NULL: as 0. */
    int64_t (*deadlock)(rm_rt *rt);
    /* A stack overflow of g at addr, in a SIGSEGV handler: true if it was dealt with. Async-signal-safe. */
    bool (*overflow)(rm_rt *rt, rm_g *g, void *addr);
    /* sysmon's thread: there have been `switches`, and none for `ns`; oncpu: the proc's thread burns CPU, or would. Returns
     * after how many ns without a switch it wants to be called again, at the latest (0: it does not mind). */
    int64_t (*hog)(rm_rt *rt, uint64_t switches, int64_t ns, bool oncpu);
    /* sysmon's thread: every tick while the proc is busy. */
    void (*tick)(rm_rt *rt);
    /* sysmon's thread, where rt->slice is set: who runs since switch number `switches` has had a slice (then: another
     * one). If it has burnt CPU, it is to be made to call rm_preempt; else it blocks the thread. */
    void (*preempt)(rm_rt *rt, uint64_t switches, bool oncpu);
    /* A thread of the pool is about to end, and is not counted any more. No lock held. */
    void (*pool_thread_ends)(rm_rt *rt);
    /* The proc's thread is about to end, and the runtime is there: nothing of it will run any more. No lock held. */
    void (*proc_thread_ends)(rm_rt *rt);
} rm_hooks;

struct rm_m {
    rm_p *p;      /* NULL in a foreign thread */
    rm_rt *rt;
    rm_g *g;      /* foreign: &fg, or another while the embedder handles a signal in a wait; proc: unused (p->cur) */
    rm_m *next;   /* this thread's views of other runtimes */
    bool kept;    /* atomic: somebody refers to it: if its thread ends it is his to free (rm_m_let_go) */
    rm_g fg;      /* the pseudo goroutine of a foreign thread, or main's G of a proc's */
};

struct rm_rt {
    rm_p p;                /* the proc */
    rm_stacks stacks;
    rm_lock lock;          /* of every G's id and joiners */
    uint64_t next_id;      /* atomic in locked mode */
    uint64_t ended;        /* goroutines; proc only */
    uint32_t system;       /* alive that are the runtime's own */
    rm_g *main_g;          /* goroutine 1; a system G when the runtime hosts its own thread */
    rm_hooks hooks;
    void *embedder;
    struct rm_pool *pool;
    struct rm_sysmon *sysmon;
    struct rm_owner *owner;
    uint32_t external;     /* reasons outside the runtime that may still wake a goroutine */
    struct rm_stand *stands; /* of foreign threads */
    rm_lock stands_lock;     /* of that list: the last to be taken */
    uint32_t foreign_blocked; /* atomic: foreign threads that nothing but a wake-up will get on */
    int64_t slice;         /* atomic, ns: how long a goroutine may run before hooks.preempt is called; 0: for ever */
    bool quiet, closing;
    bool alternate;        /* the proc's thread has an alternate signal stack of ours */
    int pid;
};

/* Goroutines that are alive, the runtime's own aside. */
rm_inline uint64_t rm_rt_count(const rm_rt *rt) {
    return rm_load(&rt->next_id) - rm_load(&rt->ended) - rm_load(&rt->system);
}

/* Call fn for every such goroutine, main first, the others in no order, until it returns false. Owner of the proc. fn
 * may cancel, not end, goroutines. */
void rm_rt_each(rm_rt *rt, bool (*fn)(rm_g *g, void *arg), void *arg);

extern __thread rm_m *rm_tls __attribute__((tls_model("initial-exec")));

/* The current thread's view, read anew. Not to be kept across a park. */
rm_inline rm_m *rm_m_self(void) { return rm_tls; }
/* The calling thread's view of rt, made current; NULL if it has none. */
rm_m *rm_m_of(rm_rt *rt);

rm_inline rm_g *rm_g_self(void) {
    rm_m *m = rm_tls;
    if (rm_unlikely(!m)) return NULL;
    return rm_likely(m->p != NULL) ? m->p->cur : m->g;
}

/* Give the calling thread a view of rt as a foreign thread (idempotent); NULL when out of memory. The view
 * is freed when the thread ends; it may outlive the runtime. */
rm_m *rm_m_attach(rm_rt *rt);

/* Wait. The caller has called rm_wait_open, has put g on its queues, and holds locks that `unlock` (may
 * be NULL) drops once g's context is saved. 0 when the event came, else the wake_code; the caller then
 * takes its sudogs off their queues. */
int rm_park(rm_g *g, rm_reason reason, const void *obj, int64_t deadline, rm_unlockf unlock, void *arg);

/* Call fn for every goroutine of p that waits with a deadline. Owner of the proc. */
void rm_park_deadlines(rm_p *p, void (*fn)(rm_g *g, void *arg), void *arg);

/* rm_unlockf of an rm_lock. */
void rm_lock_dropped(rm_g *g, void *lock);

/* Where a foreign thread stands in line: on its own stack, which a forked child has without the thread, and gives away. */
typedef struct rm_stand {
    rm_m *m;
    rm_sudog *sudogs;
    int n;
    struct rm_stand *next, **at; /* in rt->stands */
} rm_stand;

/* Known to a forked child from here, until it is left. Nothing where g is a goroutine. */
void rm_stand_link(rm_stand *w, rm_sudog *sudogs, int n);
void rm_stand_unlink(rm_stand *w);
rm_inline void rm_stand_enter(rm_stand *w, const rm_g *g, rm_sudog *sudogs, int n) {
    w->at = NULL;
    if (rm_unlikely(!g->p)) rm_stand_link(w, sudogs, n);
}
rm_inline void rm_stand_leave(rm_stand *w) {
    if (rm_unlikely(w->at != NULL)) rm_stand_unlink(w);
}
/* In a forked child, before it starts a thread: the parent's threads do not wait here. Allocates nothing, takes no lock. */
void rm_forked(rm_rt *rt);
/* One more in a forked child, never 0: what bears another number is of the parent. */
extern uint16_t rm_forks;

/* rm_park of a foreign thread which stands in n queues. */
int rm_park_standing(rm_sudog *sudogs, int n, rm_reason reason, const void *obj, int64_t deadline, rm_unlockf unlock,
                     void *arg);

/* Wait in q, at its end or in front: 0 once whoever took s off has woken g; else the wake_code, and s is off q. `s` is
 * filled in but for what all have. `lock` (NULL: there is none) protects q: the caller holds it, it is dropped once
 * the wait is open, and it is held again if the wait failed. */
rm_inline int rm_wait_in(rm_waitq *q, rm_sudog *s, bool front, rm_g *g, rm_reason reason, const void *obj,
                         int64_t deadline, rm_lock *lock) {
    s->g = g;
    s->ok = false;
    rm_wait_open(g);
    if (front) rm_waitq_push_front(q, s);
    else rm_waitq_push(q, s);
    rm_unlockf unlock = lock ? rm_lock_dropped : NULL;
    int e = rm_likely(g->p != NULL) ? rm_park(g, reason, obj, deadline, unlock, lock)
                                    : rm_park_standing(s, 1, reason, obj, deadline, unlock, lock);
    if (rm_likely(e == 0)) return 0;
    if (lock) rm_lock_take(lock);
    if (s->queued) rm_waitq_remove(q, s);
    return e;
}

/* Make a claimed G runnable: next on its proc, if the budget allows. Never under an rm_lock. */
void rm_ready(rm_g *g);
/* The same at the front of the queue (loop only) and at its tail. */
void rm_ready_front(rm_p *p, rm_g *g);
void rm_ready_tail(rm_p *p, rm_g *g);

/* Let all that are runnable run first. */
int rm_yield(rm_g *g);
/* The same for one that did not ask for it, on the proc: no cancellation point. Between two that are preempted, all others
 * that are runnable run. */
void rm_preempt(rm_g *g);
int rm_sleep(rm_g *g, int64_t ns);

/* Leave the current, dead goroutine for good. */
__attribute__((noreturn)) void rm_leave(rm_g *g);
/* Loop only: run g until somebody switches back to the loop. */
void rm_loop_switch(rm_p *p, rm_g *g);
/* Loop only: the next to run, or NULL. */
rm_g *rm_next(rm_p *p);
/* What the first run of a goroutine does before its entry. */
void rm_switched_in(rm_g *g);

/* Have post->fn called on the proc soon, waking it if it sleeps. Any thread, no lock needed. */
void rm_post_to(rm_p *p, rm_post *post);
/* Have the loop look at timers and poller before the next goroutine. Any thread. */
void rm_attend(rm_p *p);

/* Make this thread's view m current and known, and forget it. */
void rm_m_enter(rm_m *m);
void rm_m_exit(rm_m *m);
/* Refer no longer to a foreign thread's view that is kept. */
void rm_m_let_go(rm_m *m);

/* Whether the caller may touch p's own structures: it is the proc, or holds the owner lock. */
rm_inline bool rm_owns(rm_p *p) {
    if (!rm_locked()) return true;
    return rm_tls && rm_tls->p == p;
}

#endif
