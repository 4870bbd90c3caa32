/* park.c: the switch, park, ready, yield, sleep; foreign threads' blocking; a thread's views.
 *
 * Order of who runs next: `runnext` (the one woken last by who ran, within RM_RUNNEXT_BUDGET, so that a pair
 * that talks does not starve the rest), then the run queue. When there is nothing, or every RM_TICK
 * switches, or when somebody asked for attention, the loop (g0) is next: it alone looks at timers,
 * poller and inbox, on its own stack and with no lock held. It lets those that are preempted run, one at a time, with all that
 * is in the run queue in between: who waits for a connection or a timer waits for one slice, not for one of each that computes.
 *
 * In locked mode a parking goroutine still holds the locks of the queues it stands on; it leaves `unlockf` in
 * the proc, and whoever runs next calls it, when the context is saved. Unlocking first would let a
 * waker on another thread resume a stack that is still in use. */
#include "park.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/arch.h"
#include "netpoll.h"
#ifdef RM_EMBED_HEADER
#include "switch_hook.h"
#else
#define RM_HOOK_OUT(g) ((void)0)
#define RM_HOOK_IN(g) ((void)0)
#define RM_HOOK_STUCK(g) false
bool rm_locked_mode;
#endif

__thread rm_m *rm_tls __attribute__((tls_model("initial-exec")));

void rm_lock_slow(rm_lock *l) {
    for (int spins = 0; rm_xchg(&l->held, 1);) {
        if (spins++ < 64) {
            rm_pause();
        } else { /* the holder has lost its CPU */
            struct timespec t = {0, 50000};
            nanosleep(&t, NULL);
        }
    }
}

/* ------------------------------------------------------------------ switching ---- */

/* `dying`: from will never run again. The annotations must hug the switch. */
rm_inline void san_leave(rm_g *from, rm_g *to, bool dying) {
#if defined(RM_ASAN)
    __sanitizer_start_switch_fiber(dying ? NULL : &from->asan_fake, to->asan_lo, to->asan_size);
#endif
#if defined(RM_TSAN)
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    (void)from, (void)to, (void)dying;
}

rm_inline void san_arrive(rm_g *g, void *fake) {
#if defined(RM_ASAN)
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    (void)g, (void)fake;
}

#if defined(RM_ASAN)
#define FAKE(g) (g)->asan_fake
#else
#define FAKE(g) NULL
#endif

rm_inline void run_unlock(rm_p *p) {
    if (rm_locked() && p->unlockf) {
        rm_unlockf f = p->unlockf;
        p->unlockf = NULL;
        f(p->unlock_g, p->unlock_arg);
    }
}

/* The only call of rm_arch_switch: its return is predicted because there is just this one. */
RM_TSAN_BLIND static rm_noinline void switch_to(rm_p *p, rm_g *from, rm_g *to, bool dying) {
    rm_assert(from != to && p->cur == from);
    rm_store(&p->cur, to);
    rm_store(&p->switches, p->switches + 1);
    void *fresh = NULL;
    if (rm_unlikely(to->fresh)) {
        to->fresh = false;
        fresh = to;
    }
    san_leave(from, to, dying);
    rm_arch_switch(&from->sp, to->sp, fresh);
    san_arrive(from, FAKE(from));
    run_unlock(from->p);
}

/* From one goroutine to another, or to the loop, and back. */
rm_inline void switch_g(rm_p *p, rm_g *from, rm_g *to) {
    RM_HOOK_OUT(from);
    switch_to(p, from, to, false);
    from->state = RM_RUNNING;
    RM_HOOK_IN(from);
}

void rm_switched_in(rm_g *g) {
    san_arrive(g, NULL);
    run_unlock(g->p);
    g->state = RM_RUNNING;
}

void rm_loop_switch(rm_p *p, rm_g *g) { switch_to(p, p->g0, g, false); }

rm_inline rm_g *next_runnable(rm_p *p) {
    rm_g *g = p->runnext;
    if (g) {
        p->runnext = NULL;
        if (rm_likely(p->budget > 0)) {
            p->budget--;
            return g;
        }
        rm_runq_push(&p->runq, g);
    }
    p->budget = RM_RUNNEXT_BUDGET;
    return rm_runq_pop(&p->runq);
}

rm_g *rm_next(rm_p *p) { return next_runnable(p); }

/* Who runs after the current goroutine: never the current one, unless it is runnable again. */
rm_inline rm_g *pick(rm_p *p) {
    if (rm_unlikely(--p->tick <= 0 || rm_load(&p->attention))) return p->g0;
    rm_g *g = next_runnable(p);
    return g ? g : p->g0;
}

RM_TSAN_APART rm_g *pick_last(rm_p *p) { return pick(p); }

RM_TSAN_BLIND void rm_leave(rm_g *g) {
    rm_p *p = g->p;
    rm_g *to = pick_last(p);
    switch_to(p, g, to, true);
    __builtin_unreachable();
}

/* ------------------------------------------------------------------ park ---- */

static int park_foreign(rm_g *g, int64_t deadline, rm_unlockf unlock, void *arg);

rm_inline int park_switch(rm_p *p, rm_g *g, rm_unlockf unlock, void *arg) {
    if (rm_locked()) {
        p->unlockf = unlock;
        p->unlock_g = g;
        p->unlock_arg = arg;
    }
    g->state = RM_WAITING;
    switch_g(p, g, pick(p));
    rm_assert(rm_load(&g->wake) == RM_WAKE_CLAIMED);
    int code = g->wake_code;
    if (rm_unlikely(code)) g->flags &= (uint8_t)~RM_GF_TOLD;
    return code;
}

typedef struct park_timer {
    rm_timer t;
    rm_g *g;
} park_timer;

static void park_expired(rm_timer *t) {
    rm_g *g = rm_container_of(t, park_timer, t)->g;
    if (!rm_claim(g)) return;
    g->wake_code = -ETIMEDOUT;
    rm_ready_tail(g->p, g);
}

/* Out of line: a park without a deadline keeps a small frame. */
static rm_noinline int park_until(rm_p *p, rm_g *g, int64_t deadline, rm_unlockf unlock, void *arg) {
    park_timer pt;
    pt.g = g;
    rm_timer_init(&pt.t, park_expired);
    if (rm_unlikely(rm_timer_start(&p->timers, &pt.t, g->since, deadline, 0))) {
        if (rm_claim(g)) g->wake_code = -ENOMEM;
        if (rm_locked() && unlock) unlock(g, arg);
        /* in locked mode a foreign waker may have won: then it has readied us and we must park for it */
        if (g->wake_code == -ENOMEM) return -ENOMEM;
        return park_switch(p, g, NULL, NULL);
    }
    int code = park_switch(p, g, unlock, arg);
    if (rm_timer_pending(&pt.t)) rm_timer_stop(&g->p->timers, &pt.t);
    return code;
}

static rm_noinline int park_stuck(rm_g *g) {
    rm_assert(!rm_locked()); /* there would be locks to drop */
    if (!rm_claim(g)) return park_switch(g->p, g, NULL, NULL); /* readied already: it has to */
    return g->wake_code = -RM_ESTUCK;
}

void rm_park_deadlines(rm_p *p, void (*fn)(rm_g *g, void *arg), void *arg) {
    const rm_heap *h = &p->timers.heap;
    for (uint32_t i = 0; i < h->n; i++) {
        rm_timer *t = rm_container_of(h->nodes[h->slots[i].id], rm_timer, node);
        if (t->fn == park_expired) fn(rm_container_of(t, park_timer, t)->g, arg);
    }
}

int rm_park(rm_g *g, rm_reason reason, const void *obj, int64_t deadline, rm_unlockf unlock, void *arg) {
    rm_p *p = g->p;
    g->reason = (uint8_t)reason;
    g->wait_obj = obj;
    if (rm_unlikely(!p)) return park_foreign(g, deadline, unlock, arg);
    if (rm_unlikely(RM_HOOK_STUCK(g))) return park_stuck(g);
    g->since = rm_load(&p->now);
    if (rm_unlikely(deadline != RM_FOREVER)) return park_until(p, g, deadline, unlock, arg);
    return park_switch(p, g, unlock, arg);
}

void rm_lock_dropped(rm_g *g, void *lock) {
    (void)g;
    rm_lock_drop((rm_lock *)lock);
}

void rm_preempt(rm_g *g) {
    rm_p *p = g->p;
    g->state = RM_RUNNABLE;
    g->next = NULL;
    if (p->hog_first) p->hog_last->next = g;
    else p->hog_first = g;
    p->hog_last = g;
    if (p->hog_passed++ < 2) p->hog_turn = 0; /* who waited for this slice need not wait for the next one */
    rm_attend(p);
    switch_g(p, g, p->g0);
}

rm_inline void let_others(rm_p *p, rm_g *g) {
    bool asked = rm_load(&p->attention);
    if (rm_unlikely(asked) && rm_load(&p->hogging) == p->switches + 1) return rm_preempt(g);
    if (!asked && !p->runnext && rm_runq_empty(&p->runq) && p->tick > 1) {
        p->tick--;
        return;
    }
    g->state = RM_RUNNABLE;
    rm_runq_push(&p->runq, g);
    rm_g *to = pick(p);
    if (rm_unlikely(to == g)) g->state = RM_RUNNING;
    else switch_g(p, g, to);
}

int rm_yield(rm_g *g) {
    int e = rm_check_cancel(g);
    if (e) return e;
    rm_p *p = g->p;
    if (rm_unlikely(!p)) { /* a foreign thread gives up the owner lock for a moment */
        void *token = NULL;
        rm_rt *rt = rm_tls->rt;
        if (rt->hooks.block_enter) token = rt->hooks.block_enter(rt);
        syscall(SYS_sched_yield);
        if (rt->hooks.block_leave) rt->hooks.block_leave(rt, token);
        return 0;
    }
    if (rm_unlikely(RM_HOOK_STUCK(g))) return -RM_ESTUCK;
    let_others(p, g);
    return 0;
}

int rm_sleep(rm_g *g, int64_t ns) {
    if (ns <= 0) return rm_yield(g);
    int e = rm_check_cancel(g);
    if (e) return e;
    rm_wait_open(g);
    e = rm_park(g, RM_R_SLEEP, NULL, rm_after(ns), NULL, NULL);
    return e == -ETIMEDOUT ? 0 : e;
}

/* ------------------------------------------------------------------ ready ---- */

static void futex_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0); }

typedef struct ready_post {
    rm_post post;
    rm_g *g;
} ready_post;

static void ready_posted(rm_p *p, rm_post *post) {
    rm_g *g = rm_container_of(post, ready_post, post)->g;
    free(rm_container_of(post, ready_post, post));
    /* rm_g_alloc on another thread could not make room for it; as below, wait for memory */
    while (rm_runq_reserve(&p->runq, (uint32_t)rm_rt_count(p->rt) + 1)) syscall(SYS_sched_yield);
    rm_ready_tail(p, g);
}

static rm_noinline void ready_elsewhere(rm_g *g) {
    if (!g->p) { /* once the word is set, g's thread may go on and end: it is not to be touched again */
        if (g->flags & RM_GF_STUCK) rm_fetch_sub(&rm_container_of(g, rm_m, fg)->rt->foreign_blocked, 1);
        rm_store_rel(&g->futex, 1);
        futex_wake(&g->futex);
        return;
    }
    ready_post *rp;
    /* a wake-up must not be lost: wait for memory rather than drop it */
    while (!(rp = malloc(sizeof *rp))) syscall(SYS_sched_yield);
    rp->g = g;
    rp->post.fn = ready_posted;
    rm_post_to(g->p, &rp->post);
}

rm_inline void wake_if_idle(rm_p *p) {
    if (rm_unlikely(rm_load(&p->idle))) rm_netpoll_wake(p);
}

void rm_ready(rm_g *g) {
    rm_p *p = g->p;
    if (rm_unlikely(!p || !rm_owns(p))) {
        ready_elsewhere(g);
        return;
    }
    rm_assert(g->state == RM_WAITING);
    g->state = RM_RUNNABLE;
    if (p->runnext) rm_runq_push(&p->runq, p->runnext);
    p->runnext = g;
    wake_if_idle(p);
}

void rm_ready_tail(rm_p *p, rm_g *g) {
    if (rm_unlikely(!g->p || !rm_owns(p))) {
        ready_elsewhere(g);
        return;
    }
    rm_assert(g->state == RM_WAITING);
    g->state = RM_RUNNABLE;
    rm_runq_push(&p->runq, g);
    wake_if_idle(p);
}

void rm_ready_front(rm_p *p, rm_g *g) {
    rm_assert(g->state == RM_WAITING);
    g->state = RM_RUNNABLE;
    g->next = NULL;
    if (p->front_first) p->front_last->next = g;
    else p->front_first = g;
    p->front_last = g;
    rm_attend(p);
}

void rm_attend(rm_p *p) { rm_store(&p->attention, 1); }

void rm_post_to(rm_p *p, rm_post *post) {
    rm_post *old = rm_load(&p->inbox);
    do {
        post->next = old;
    } while (!__atomic_compare_exchange_n(&p->inbox, &old, post, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    rm_attend(p);
    rm_fence(); /* the proc: idle = 1, fence, look at the inbox. One of us sees the other */
    if (rm_load(&p->idle) == RM_IDLE_SLEEP) rm_netpoll_wake(p);
}

/* ------------------------------------------------------------------ foreign threads ---- */

static void init_foreign(rm_m *m, rm_rt *rt) {
    m->rt = rt;
    m->g = &m->fg;
    m->fg.flags = RM_GF_FOREIGN;
    m->fg.state = RM_RUNNING;
}

/* 0, -ETIMEDOUT, -EINTR */
static int futex_wait(uint32_t *word, uint32_t seen, int64_t deadline) {
    struct timespec t, *pt = NULL;
    if (deadline != RM_FOREVER) {
        if (deadline < 0) deadline = 0; /* the kernel takes no negative time */
        t.tv_sec = deadline / 1000000000;
        t.tv_nsec = deadline % 1000000000;
        pt = &t;
    }
    long e = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen, pt, NULL, FUTEX_BITSET_MATCH_ANY);
    if (e == 0 || errno == EAGAIN) return 0;
    return errno == EINTR ? -EINTR : errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static void set_stuck(rm_rt *rt, rm_g *g) {
    g->flags |= RM_GF_STUCK;
    rm_fetch_add(&rt->foreign_blocked, 1);
}

/* A signal has interrupted g's wait. What is called may wait itself: as another, for g still stands in line. */
static rm_noinline int block_interrupted(rm_rt *rt, rm_g *g) {
    if (!rt->hooks.block_signals) return 0;
    rm_m *m = rm_tls, *within = rm_calloc(1, sizeof *within);
    if (!within) return 0;
    init_foreign(within, rt);
    bool stuck = g->flags & RM_GF_STUCK;
    if (stuck) rm_fetch_sub(&rt->foreign_blocked, 1);
    g->flags &= (uint8_t)~RM_GF_STUCK;
    m->g = &within->fg;
    int e = rt->hooks.block_signals(rt);
    m->g = g;
    if (stuck && !rm_load_acq(&g->futex)) set_stuck(rt, g);
    free(within);
    return e;
}

static int park_foreign(rm_g *g, int64_t deadline, rm_unlockf unlock, void *arg) {
    rm_rt *rt = rm_tls->rt;
    g->state = RM_WAITING;
    rm_store(&g->futex, 0);
    /* Counted while it can do nothing unless it is woken: not while it waits for a time, and not from the moment
     * its waker is done, though it may still have to wait for the owner lock. */
    g->flags &= (uint8_t)~RM_GF_STUCK;
    if (deadline == RM_FOREVER) set_stuck(rt, g);
    if (rm_locked() && unlock) unlock(g, arg);
    for (;;) {
        void *token = rt->hooks.block_enter ? rt->hooks.block_enter(rt) : NULL;
        int e = 0;
        while (!rm_load_acq(&g->futex) && !(e = futex_wait(&g->futex, 0, deadline)));
        if (rt->hooks.block_leave) rt->hooks.block_leave(rt, token);
        if (rm_load_acq(&g->futex)) break;
        if (e == -EINTR) e = block_interrupted(rt, g);
        if (e && rm_claim(g)) {
            g->wake_code = e;
            if (g->flags & RM_GF_STUCK) rm_fetch_sub(&rt->foreign_blocked, 1);
            break;
        }
        if (e) deadline = RM_FOREVER; /* somebody else has claimed it: the wake-up is on its way */
    }
    g->state = RM_RUNNING;
    return g->wake_code;
}

uint16_t rm_forks = 1;

void rm_stand_link(rm_stand *w, rm_sudog *sudogs, int n) {
    rm_rt *rt = rm_tls->rt;
    w->m = rm_tls;
    w->sudogs = sudogs;
    w->n = n;
    rm_lock_take(&rt->stands_lock);
    w->next = rt->stands;
    w->at = &rt->stands;
    if (w->next) w->next->at = &w->next;
    rt->stands = w;
    rm_lock_drop(&rt->stands_lock);
}

static void take_off(rm_stand *w) {
    *w->at = w->next;
    if (w->next) w->next->at = w->at;
}

void rm_stand_unlink(rm_stand *w) {
    rm_rt *rt = w->m->rt;
    rm_lock_take(&rt->stands_lock);
    take_off(w);
    rm_lock_drop(&rt->stands_lock);
}

void rm_forked(rm_rt *rt) {
    if (!++rm_forks) rm_forks = 1;
    for (rm_stand *w = rt->stands, *next; w; w = next) {
        next = w->next;
        const rm_m *m = rm_tls;
        while (m && m != w->m) m = m->next;
        if (m) continue; /* it is who forked, in a signal handler */
        for (int i = 0; i < w->n; i++)
            if (w->sudogs[i].queued) rm_waitq_remove(w->sudogs[i].q, &w->sudogs[i]);
        take_off(w);
    }
}

int rm_park_standing(rm_sudog *sudogs, int n, rm_reason reason, const void *obj, int64_t deadline, rm_unlockf unlock,
                     void *arg) {
    rm_g *g = rm_g_self();
    rm_stand w;
    rm_stand_link(&w, sudogs, n);
    int e = rm_park(g, reason, obj, deadline, unlock, arg);
    rm_stand_unlink(&w);
    return e;
}

/* A thread's views stand in a list whose head is current; a thread that ends drops the foreign ones,
 * some of whose runtimes may be gone by then. */
static pthread_key_t views_key;
static pthread_once_t views_once = PTHREAD_ONCE_INIT;

/* The first of the two that are done with it leaves it to the other. */
void rm_m_let_go(rm_m *m) {
    if (!rm_xchg(&m->kept, false)) free(m);
}

static void drop_views(void *head) {
    for (rm_m *m = head, *next; m; m = next) {
        next = m->next;
        if (!m->p) rm_m_let_go(m); /* a proc's view belongs to its runtime */
        else if (m->rt->hooks.proc_thread_ends) m->rt->hooks.proc_thread_ends(m->rt);
    }
    rm_tls = NULL;
}

static void make_key(void) { pthread_key_create(&views_key, drop_views); }

void rm_m_enter(rm_m *m) {
    pthread_once(&views_once, make_key);
    m->next = rm_tls;
    rm_tls = m;
    pthread_setspecific(views_key, m);
}

void rm_m_exit(rm_m *m) {
    for (rm_m **at = &rm_tls; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    pthread_setspecific(views_key, rm_tls);
}

rm_m *rm_m_of(rm_rt *rt) {
    rm_m *m = rm_tls;
    if (rm_likely(m && m->rt == rt)) return m;
    for (rm_m **at = &rm_tls; (m = *at); at = &m->next)
        if (m->rt == rt) { /* to the front: it is the current one now */
            *at = m->next;
            m->next = rm_tls;
            rm_tls = m;
            pthread_setspecific(views_key, m);
            return m;
        }
    return NULL;
}

rm_m *rm_m_attach(rm_rt *rt) {
    rm_m *m = rm_m_of(rt);
    if (m) return m;
    m = rm_calloc(1, sizeof *m);
    if (!m) return NULL;
    init_foreign(m, rt);
    rm_m_enter(m);
    return m;
}
