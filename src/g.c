/* g.c: a goroutine's life: made, started, joined, cancelled, ended.
 *
 * rt->lock protects every G's id and joiners: a G that ends clears its id under it, so that a handle
 * {g, id} is alive exactly while g->id == id.
 *
 * There is no list of all goroutines: they stand at known places in the slabs, and rm_rt_each walks those. */
#include "g.h"

#include "netpoll.h"
#include "park.h"
#include "scope.h"

const char *const rm_reason_names[RM_R_MAX] = {
    [RM_R_NONE] = "waiting",
    [RM_R_CHAN_RECV] = "chan receive",
    [RM_R_CHAN_SEND] = "chan send",
    [RM_R_CHAN_NIL] = "chan (nil)",
    [RM_R_SELECT] = "select",
    [RM_R_SLEEP] = "sleep",
    [RM_R_IO_READ] = "io wait",
    [RM_R_IO_WRITE] = "io wait",
    [RM_R_SYSCALL] = "syscall",
    [RM_R_JOIN] = "join",
    [RM_R_MUTEX] = "mutex",
    [RM_R_RWMUTEX_LOCK] = "rwmutex lock",
    [RM_R_RWMUTEX_RLOCK] = "rwmutex rlock",
    [RM_R_COND] = "cond",
    [RM_R_SEM] = "semaphore",
    [RM_R_EVENT] = "event",
    [RM_R_WAITGROUP] = "waitgroup",
    [RM_R_QUEUE_GET] = "queue get",
    [RM_R_QUEUE_PUT] = "queue put",
    [RM_R_QUEUE_JOIN] = "queue join",
    [RM_R_RUN] = "run",
    [RM_R_SYSTEM] = "system",
};

rm_g *rm_g_alloc(rm_rt *rt, size_t args_bytes) {
    bool owner = rm_owns(&rt->p);
    if (rm_likely(owner) && rm_unlikely(rm_runq_reserve(&rt->p.runq, (uint32_t)rm_rt_count(rt) + 1))) return NULL;
    rm_g *g = rm_stack_alloc(&rt->stacks, owner);
    if (rm_unlikely(!g)) return NULL;
    g->p = &rt->p;
    g->state = RM_DEAD;
    g->wake = RM_WAKE_NONE;
    g->reason = RM_R_NONE;
    g->cancel = g->cancel_held = g->shields = g->flags = 0;
    g->wait_obj = NULL;
    g->joiners.first = g->joiners.last = NULL;
    g->scope = NULL;
    g->name[0] = 0;
#if defined(RM_ASAN)
    g->asan_fake = NULL;
    g->asan_lo = g->lo;
    g->asan_size = (size_t)((char *)g - g->lo);
#endif
    g->sp = (void *)(((uintptr_t)g - args_bytes) & ~(uintptr_t)15);
    g->fresh = true;
    return g;
}

void rm_g_discard(rm_rt *rt, rm_g *g) { rm_stack_free(&rt->stacks, g, rm_owns(&rt->p)); }

uint64_t rm_g_queue(rm_rt *rt, rm_g *g, void (*entry)(void *), void *arg) {
    rm_g *self = rm_g_self();
    g->entry = entry;
    g->arg = arg;
    g->creator = self ? self->id : 0;
    if (rm_unlikely(g->flags & RM_GF_SYSTEM)) rm_store(&rt->system, rt->system + 1);
    uint64_t id = rm_locked() ? rm_fetch_add(&rt->next_id, 1) + 1 : rt->next_id + 1;
    if (!rm_locked()) rm_store(&rt->next_id, id);
    rm_store(&g->id, id); /* one with an old handle may be looking */
    g->since = rm_load(&rt->p.now);
    if (rm_likely(rm_owns(&rt->p))) {
        g->state = RM_RUNNABLE;
        rm_runq_push(&rt->p.runq, g);
        if (rm_unlikely(rm_load(&rt->p.idle))) rm_attend(&rt->p), rm_netpoll_wake(&rt->p);
    } else { /* the proc queues it */
        g->state = RM_WAITING;
        rm_ready(g);
    }
    return id;
}

int rm_g_new(rm_rt *rt, void (*entry)(void *), void *arg, rm_g **out) {
    rm_g *g = rm_g_alloc(rt, 0);
    if (!g) return -ENOMEM;
    rm_g_queue(rt, g, entry, arg);
    if (out) *out = g;
    return 0;
}

RM_TSAN_APART void live(rm_g *g) {
    rm_switched_in(g);
#ifndef RM_EMBED_HEADER /* an embedder's entry looks for itself, to report it */
    if (!(g->cancel & RM_CANCEL_ONCE))
#endif
    {
        g->flags |= RM_GF_BEGUN;
        g->entry(g->arg);
    }
    rm_rt *rt = g->p->rt;
    rm_assert(!g->scope || !g->scope->g || g->scope->g != g);
    rm_sudog *joined = NULL, **at = &joined;
    rm_lock_take(&rt->lock);
    if (rm_unlikely(g->flags & RM_GF_SYSTEM)) rm_store(&rt->system, rt->system - 1);
    rm_store(&rt->ended, rt->ended + 1);
    g->id = 0;
    g->state = RM_DEAD;
    for (rm_sudog *s; (s = rm_waitq_claim(&g->joiners));) *at = s, at = &s->next;
    rm_lock_drop(&rt->lock);
    *at = NULL;
    while (joined) {
        rm_g *j = joined->g;
        joined = joined->next;
        rm_ready_tail(j->p, j); /* behind those that were started with it and may end without being waited for */
    }
    rm_stack_free(&rt->stacks, g, true);
}

RM_TSAN_BLIND void rm_g_start(rm_g *g) {
    live(g);
    rm_leave(g);
}

int rm_g_join(rm_g *self, rm_rt *rt, rm_g *g, uint64_t id, int64_t deadline) {
    int e = rm_check_cancel(self);
    if (e) return e;
    if (self == g && g->id == id) return -EDEADLK;
    rm_lock_take(&rt->lock);
    if (!g || id == 0 || rm_load(&g->id) != id) {
        rm_lock_drop(&rt->lock);
        return 0;
    }
    if (deadline == RAMET_POLL) {
        rm_lock_drop(&rt->lock);
        return -EAGAIN;
    }
    rm_sudog s = {0};
    e = rm_wait_in(&g->joiners, &s, false, self, RM_R_JOIN, g, deadline, &rt->lock);
    if (rm_unlikely(e)) rm_lock_drop(&rt->lock);
    return e;
}

int rm_g_cancelled(rm_g *g) {
    if (g->cancel & RM_CANCEL_RAISE) {
        g->cancel &= (uint8_t)~RM_CANCEL_RAISE;
        return -EINTR;
    }
    g->flags &= (uint8_t)~RM_GF_DIRECT;
    if (g->cancel & RM_CANCEL_ONCE) g->flags |= RM_GF_DIRECT;
    g->cancel &= (uint8_t)~RM_CANCEL_ONCE;
    return -ECANCELED;
}

void rm_g_cancel_now(rm_g *g, uint8_t bits) {
    if (g->shields && (bits & RM_CANCEL_ONCE)) {
        g->cancel_held |= RM_CANCEL_ONCE;
        bits &= (uint8_t)~RM_CANCEL_ONCE;
    }
    if (g->flags & RM_GF_TOLD) bits &= (uint8_t)~RM_CANCEL_ONCE;
    if (!bits) return;
    g->cancel |= bits;
    if (g->state != RM_WAITING || !rm_claim(g)) return;
    if (g->cancel & RM_CANCEL_ONCE && !(g->cancel & RM_CANCEL_RAISE)) g->flags |= RM_GF_TOLD;
    g->wake_code = rm_g_cancelled(g); /* the wait that ends now returns it */
    rm_ready_tail(g->p, g);
}

typedef struct each {
    bool (*fn)(rm_g *, void *);
    void *arg;
} each;

static bool each_slot(rm_g *g, void *arg) {
    each *e = arg;
    return g->state == RM_DEAD || g->flags & RM_GF_SYSTEM || e->fn(g, e->arg);
}

void rm_rt_each(rm_rt *rt, bool (*fn)(rm_g *, void *), void *arg) {
    each e = {fn, arg};
    if (rt->main_g->flags & RM_GF_MAIN && each_slot(rt->main_g, &e)) rm_stacks_each(&rt->stacks, each_slot, &e);
    else if (!(rt->main_g->flags & RM_GF_MAIN)) rm_stacks_each(&rt->stacks, each_slot, &e);
}

typedef struct cancel_post {
    rm_post post;
    rm_g *g;
    uint64_t id;
} cancel_post;

static void cancel_posted(rm_p *p, rm_post *post) {
    (void)p;
    cancel_post *cp = rm_container_of(post, cancel_post, post);
    if (cp->g->id == cp->id) rm_g_cancel_now(cp->g, RM_CANCEL_ONCE);
    free(cp);
}

int rm_g_cancel(rm_rt *rt, rm_g *g, uint64_t id) {
    rm_lock_take(&rt->lock);
    bool alive = g && id && rm_load(&g->id) == id;
    rm_lock_drop(&rt->lock);
    if (!alive) return -ESRCH;
    if (rm_owns(&rt->p)) {
        rm_g_cancel_now(g, RM_CANCEL_ONCE);
        return 0;
    }
    cancel_post *cp = rm_malloc(sizeof *cp); /* only the proc knows whether g is waiting */
    if (!cp) return -ENOMEM;
    cp->g = g;
    cp->id = id;
    cp->post.fn = cancel_posted;
    rm_post_to(&rt->p, &cp->post);
    return 0;
}
