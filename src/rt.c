/* rt.c: the life of a runtime: made on a thread, freed on it, remade in a forked child. */
#include "rt.h"

#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include "blocking.h"
#include "loop.h"
#include "netpoll.h"
#include "overflow.h"
#include "owner.h"
#include "scope.h"
#include "sysmon.h"

static void g0_entry(void *p) { rm_loop(p); }

/* The calling thread's own stack becomes a goroutine. */
static void adopt_thread(rm_rt *rt, rm_m *m, bool hosted) {
    rm_g *g = &m->fg;
    memset(g, 0, sizeof *g);
    g->p = &rt->p;
    g->state = RM_RUNNING;
    g->flags = RM_GF_MAIN | RM_GF_BEGUN | (hosted ? RM_GF_SYSTEM : 0);
    g->id = ++rt->next_id;
    if (hosted) rt->system++;
    strcpy(g->name, "main");
#if defined(RM_ASAN)
    pthread_attr_t attr;
    void *lo;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &lo, &size);
        pthread_attr_destroy(&attr);
        g->asan_lo = lo;
        g->asan_size = size;
    }
#endif
#if defined(RM_TSAN)
    g->tsan_fiber = __tsan_get_current_fiber();
#endif
    rt->main_g = g;
    rt->p.cur = g;
}

static int new_loop(rm_rt *rt) {
    rm_g *g0 = rm_g_alloc(rt, 0);
    if (!g0) return -ENOMEM;
    g0->flags = RM_GF_SYSTEM;
    g0->entry = g0_entry;
    g0->arg = &rt->p;
    g0->id = 0;
    g0->creator = 0;
    strcpy(g0->name, "loop");
    rt->p.g0 = g0;
    return 0;
}

int rm_rt_new(const rm_rt_config *config, rm_rt **out) {
    rm_rt *rt = rm_calloc(1, sizeof *rt);
    if (!rt) return -ENOMEM;
    rm_m *m = rm_calloc(1, sizeof *m);
    int e = -ENOMEM;
    if (!m) goto fail_m;
    rm_p *p = &rt->p;
    rt->hooks = config->hooks;
    rt->embedder = config->embedder;
    rt->quiet = config->quiet;
    rt->pid = (int)getpid();
    p->rt = rt;
    p->m = m;
    p->tick = RM_TICK;
    p->budget = RM_RUNNEXT_BUDGET;
    p->now = rm_now();
    p->rand = config->seed;
    if (!p->rand && getrandom(&p->rand, sizeof p->rand, GRND_NONBLOCK) < 0) p->rand = (uint64_t)p->now;
    if ((e = rm_stacks_init(&rt->stacks, config->stack_size, config->guard))) goto fail_stacks;
    m->rt = rt;
    m->p = p;
    m->g = &m->fg;
    adopt_thread(rt, m, config->hosted);
    if ((e = new_loop(rt))) goto fail_loop;
    if ((e = rm_netpoll_init(rt))) goto fail_loop;
    if ((e = rm_pool_init(rt, config->max_threads ? config->max_threads : RM_POOL_MAX))) goto fail_netpoll;
    if ((e = rm_overflow_install())) goto fail_pool;
    if ((e = rm_overflow_thread_init())) goto fail_overflow;
    rt->alternate = rm_overflow_thread_installed();
    rm_m_enter(m);
    *out = rt;
    return 0;
fail_overflow:
    rm_overflow_uninstall();
fail_pool:
    rm_pool_fini(rt, 0, false);
fail_netpoll:
    rm_netpoll_fini(rt, false);
fail_loop:
    rm_runq_fini(&rt->p.runq);
    rm_stacks_fini(&rt->stacks);
fail_stacks:
    free(m);
fail_m:
    free(rt);
    return e;
}

void rm_rt_free(rm_rt *rt) {
    rm_m *m = rt->p.m;
    rt->closing = true;
    rm_sysmon_stop(rt, false);
    bool pool_ended = rm_pool_fini(rt, RM_GRACE_NS, false) == 0;
    rm_netpoll_fini(rt, false);
    rm_timers_fini(&rt->p.timers);
    rm_runq_fini(&rt->p.runq);
    rm_m_exit(m);
    rm_overflow_thread_fini();
    rm_overflow_uninstall();
    rm_owner_free(rt);
    rm_stacks_fini(&rt->stacks);
    if (!pool_ended) return; /* a pool thread is still in its call and will post to the proc's inbox */
    free(m);
    free(rt);
}

static bool drop_other(rm_g *g, void *self) {
    if (g != self) {
        g->state = RM_DEAD;
        g->wake = RM_WAKE_CLAIMED; /* it may still stand in a channel's queue */
        g->id = 0;
    }
    return true;
}

void rm_rt_abandon(rm_rt *rt) {
    rm_stacks_each(&rt->stacks, drop_other, NULL);
    drop_other(rt->main_g, NULL);
}

int rm_rt_forked(rm_rt *rt) {
    rm_p *p = &rt->p;
    rm_g *self = p->cur;
    unsigned pool_max = rm_pool_max(rt);
    rm_sysmon_stop(rt, true);
    rm_pool_fini(rt, 0, true);
    rm_netpoll_fini(rt, true);
    rm_timers_forget(&p->timers);
    rt->pid = (int)getpid();
    /* the others are dropped where they stand, their stacks not reused: what the caller knows may point there */
    rm_stacks_each(&rt->stacks, drop_other, self);
    if (rt->main_g != self) drop_other(rt->main_g, self);
    rt->ended = rt->next_id - 1;
    rt->system = 0;
    rt->main_g = self;
    self->joiners.first = self->joiners.last = NULL;
    p->runnext = p->front_first = p->hog_first = NULL;
    p->hog_turn = p->hog_passed = 0;
    rm_runq_fini(&p->runq);
    p->inbox = NULL;
    p->attention = p->idle = 0;
    p->unlockf = NULL;
    p->tick = RM_TICK;
    rt->lock.held = 0;
    rt->stacks.lock.held = 0;
    rt->external = rt->foreign_blocked = 0;
    int e = new_loop(rt); /* the old loop's stack may be in the middle of a poll */
    if (!e) e = rm_netpoll_init(rt);
    if (!e) e = rm_pool_init(rt, pool_max);
    for (rm_scope *s = self->scope; s && !e; s = s->outer)
        if (s->deadline != RM_FOREVER) e = rm_scope_set_deadline(s, s->deadline);
    return e;
}
