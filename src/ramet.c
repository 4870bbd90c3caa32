/* ramet.c: the C face over the core: checks arguments, finds the caller's goroutine, calls down.
 *
 * One runtime a process at a time. A goroutine of it calls straight down; a foreign thread gets a view of the
 * runtime and, in serialised mode, takes the owner lock around the call. ramet_net.c has the sockets. */
#include "ramet.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "blocking.h"
#include "chan.h"
#include "dump.h"
#include "face.h"
#include "netpoll.h"
#include "owner.h"
#include "rt.h"
#include "scope.h"
#include "select.h"
#include "sysmon.h"

struct ramet_chan {
    rm_chan c; /* first: a ramet_chan* is an rm_chan* */
};
_Static_assert(offsetof(ramet_chan, c) == 0, "a nil channel stays nil");
_Static_assert(sizeof(rm_scope) <= sizeof(ramet_scope), "ramet_scope is too small");

static rm_rt *the_rt;    /* atomic */
static uint32_t running; /* atomic: 1 from before the runtime is made until after it is freed */

rm_g *rm_face_enter_slow(void) {
    rm_m *m;
    rm_rt *rt = rm_load_acq(&the_rt);
    if (!rt || !(m = rm_m_attach(rt))) return NULL;
    if (rt->owner) rm_owner_take(rt);
    return m->g;
}

rm_inline rm_rt *rt_of(rm_g *g) { return g->p ? g->p->rt : rm_tls->rt; }

/* ------------------------------------------------------------------ run ---- */

static void *block_enter(rm_rt *rt) {
    if (rt->owner) rm_owner_drop(rt);
    return NULL;
}
static void block_leave(rm_rt *rt, void *token) {
    (void)token;
    if (rt->owner) rm_owner_take(rt);
}
static void idle_enter(rm_rt *rt) {
    if (rt->owner) rm_owner_idle_enter(rt);
}
static void idle_leave(rm_rt *rt) {
    if (rt->owner) rm_owner_idle_leave(rt);
}

static int count_threads(void) {
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    if (!d) return 1;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* With a thread about that is not ours and does not wait for us, a wake-up may still come. */
static int64_t on_deadlock(rm_rt *rt) {
    ramet_stats st;
    rm_pool_stats(rt, &st);
    int ours = 1 + (int)st.pool_threads + (rt->sysmon ? 1 : 0) + (int)rm_load(&rt->foreign_blocked);
    if (count_threads() > ours) return 100 * RAMET_MILLISECOND;
    if (rm_load_seq(&rt->p.inbox)) return 1; /* one has posted and ended since the loop looked */
    if (!rt->quiet) {
        fprintf(stderr, "ramet: deadlock: all goroutines wait for what nothing can bring\n");
        rm_dump(rt, stderr);
    }
    return 0;
}

static bool cancel_one(rm_g *g, void *main) {
    if (g != main) rm_g_end(g);
    return true;
}

/* Let the others end, for a while. */
static void wind_down(rm_rt *rt) {
    rm_g *g = rt->main_g;
    int64_t until = rm_after(RM_GRACE_NS);
    g->cancel = 0;
    g->shields = 1; /* nobody shall cancel this */
    rm_rt_each(rt, cancel_one, g);
    while (rm_rt_count(rt) > 1 && rm_now() < until) {
        if (rm_now() > until - RM_GRACE_NS / 2) rm_rt_each(rt, cancel_one, g); /* what was started to tidy up */
        for (int i = 0; i < 64 && rm_rt_count(rt) > 1; i++) rm_yield(g);
        if (rm_rt_count(rt) > 1) rm_sleep(g, 100 * RAMET_MICROSECOND);
    }
}

int ramet_run(int (*start)(void *), void *arg, const ramet_options *options) {
    static const ramet_options none;
    const ramet_options *o = options ? options : &none;
    if (!start || (o->mode != RAMET_SERIALISED && o->mode != RAMET_LOCKED)) return -EINVAL;
    if (rm_xchg(&running, 1)) return -EBUSY;
    rm_locked_mode = o->mode == RAMET_LOCKED;
    rm_rt_config config = {.stack_size = o->stack_size,
                           .guard = RM_RED_BYTES,
                           .max_threads = o->max_threads,
                           .seed = o->seed,
                           .quiet = o->quiet,
                           .hooks = {.idle_enter = idle_enter,
                                     .idle_leave = idle_leave,
                                     .block_enter = block_enter,
                                     .block_leave = block_leave,
                                     .deadlock = on_deadlock}};
    rm_rt *rt;
    int e = rm_rt_new(&config, &rt);
    if (!e && o->mode == RAMET_SERIALISED && (e = rm_owner_new(rt))) rm_rt_free(rt);
    if (!e) {
        rm_sysmon_start(rt); /* without it things are only less punctual */
        rm_store_rel(&the_rt, rt);
        e = start(arg);
        wind_down(rt);
        rm_store_rel(&the_rt, NULL);
        rm_rt_free(rt);
    }
    rm_store_rel(&running, 0);
    return e;
}

int ramet_get_stats(ramet_stats *out) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    rm_rt *rt = rt_of(g);
    memset(out, 0, sizeof *out);
    rm_pool_stats(rt, out);
    out->goroutines = rm_rt_count(rt);
    out->started = rm_load(&rt->next_id);
    out->switches = rt->p.switches;
    out->polls = rt->p.polls;
    out->stacks = rt->stacks.carved;
    out->free_stacks = rt->stacks.magazine_n + rt->stacks.depot_n + rt->stacks.cold_n;
    out->timers = rt->p.timers.heap.n;
    out->fds = rm_netpoll_fds(&rt->p);
    rm_face_leave(g);
    return 0;
}

int64_t ramet_now(void) { return rm_now(); }
int64_t ramet_deadline(int64_t ns) { return rm_after(ns); }

/* ------------------------------------------------------------------ goroutines ---- */

int ramet_go(void (*fn)(void *), void *arg, ramet_goroutine *out) {
    if (!fn) return -EINVAL;
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    rm_g *new = rm_g_alloc(rt_of(g), 0);
    int e = new ? 0 : -ENOMEM;
    if (new) {
        uint64_t id = rm_g_queue(rt_of(g), new, fn, arg);
        if (out) *out = (ramet_goroutine){new, id};
    }
    rm_face_leave(g);
    return e;
}

ramet_goroutine ramet_self(void) {
    rm_g *g = rm_g_self();
    if (!g || !g->p) return (ramet_goroutine){NULL, 0};
    return (ramet_goroutine){g, g->id};
}

int ramet_set_name(ramet_goroutine h, const char *name) {
    rm_g *self = rm_g_self(), *g = h.g;
    if (!self || !self->p) return -EPERM;
    if (!g || g->id != h.id || !h.id) return -ESRCH;
    snprintf(g->name, sizeof g->name, "%s", name ? name : "");
    return 0;
}

int ramet_yield(void) {
    rm_g *g = rm_g_self();
    return g && g->p ? rm_yield(g) : -EPERM;
}

int ramet_sleep(int64_t ns) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_sleep(g, ns);
    rm_face_leave(g);
    return e;
}

int ramet_join(ramet_goroutine h, int64_t deadline) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_g_join(g, rt_of(g), h.g, h.id, deadline);
    rm_face_leave(g);
    return e;
}

int ramet_cancel(ramet_goroutine h) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_g_cancel(rt_of(g), h.g, h.id);
    rm_face_leave(g);
    return e;
}

/* ------------------------------------------------------------------ channels ---- */

ramet_chan *ramet_chan_make(size_t elem_size, size_t capacity) {
    size_t bytes;
    if (elem_size > UINT32_MAX || capacity > INT32_MAX) return NULL;
    if (__builtin_mul_overflow(elem_size, capacity, &bytes)) return NULL;
    if (__builtin_add_overflow(bytes, sizeof(ramet_chan), &bytes)) return NULL;
    rm_rt *rt = rm_load_acq(&the_rt);
    if (!rt) return NULL;
    ramet_chan *c = rm_malloc(bytes);
    if (c) rm_chan_init(&c->c, rt, (uint32_t)elem_size, (uint32_t)capacity, c + 1);
    return c;
}

int ramet_chan_free(ramet_chan *c) {
    if (!c) return 0;
    if (c->c.recvq.first || c->c.sendq.first) return -EBUSY;
    free(c);
    return 0;
}

int ramet_chan_send(ramet_chan *c, const void *elem, int64_t deadline) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_chan_send((rm_chan *)c, g, elem, deadline);
    rm_face_leave(g);
    return e;
}

int ramet_chan_recv(ramet_chan *c, void *elem, int64_t deadline) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_chan_recv((rm_chan *)c, g, elem, deadline);
    rm_face_leave(g);
    return e;
}

int ramet_chan_close(ramet_chan *c) {
    if (!c) return -EINVAL;
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_chan_close(&c->c);
    rm_face_leave(g);
    return e;
}

size_t ramet_chan_len(const ramet_chan *c) { return c ? rm_load(&c->c.n) : 0; }
size_t ramet_chan_cap(const ramet_chan *c) { return c ? c->c.cap : 0; }
bool ramet_chan_closed(const ramet_chan *c) { return c && rm_load(&c->c.closed); }

/* ramet_case and rm_case are the same thing under two names. */
_Static_assert(sizeof(ramet_case) == sizeof(rm_case), "ramet_case and rm_case differ");
_Static_assert(offsetof(ramet_case, chan) == offsetof(rm_case, chan), "ramet_case and rm_case differ");
_Static_assert(offsetof(ramet_case, elem) == offsetof(rm_case, elem), "ramet_case and rm_case differ");
_Static_assert(offsetof(ramet_case, dir) == offsetof(rm_case, dir), "ramet_case and rm_case differ");
_Static_assert(offsetof(ramet_case, ok) == offsetof(rm_case, ok), "ramet_case and rm_case differ");

int ramet_select(ramet_case *cases, int n, int64_t deadline) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    int e = rm_select(g, (rm_case *)cases, n, deadline);
    rm_face_leave(g);
    return e;
}

/* ------------------------------------------------------------------ scopes ---- */

static int scope_enter(ramet_scope *s, int64_t deadline, bool shield) {
    rm_g *g = rm_g_self();
    if (!g || !g->p) return -EPERM;
    return rm_scope_enter((rm_scope *)s, g, NULL, deadline, shield);
}

int ramet_scope_enter(ramet_scope *s, int64_t deadline) { return scope_enter(s, deadline, false); }
int ramet_scope_enter_shield(ramet_scope *s) { return scope_enter(s, RAMET_FOREVER, true); }

int ramet_scope_leave(ramet_scope *s) {
    rm_g *g = rm_g_self();
    if (!g || !g->p) return -EPERM;
    if (g->scope != (rm_scope *)s) return -EINVAL;
    return rm_scope_leave((rm_scope *)s);
}

typedef struct scope_post {
    rm_post post;
    rm_scope *s;
    int64_t deadline;
    bool cancel;
} scope_post;

static void scope_posted(rm_p *p, rm_post *post) {
    (void)p;
    scope_post *sp = rm_container_of(post, scope_post, post);
    if (sp->cancel) rm_scope_cancel(sp->s);
    else rm_scope_set_deadline(sp->s, sp->deadline);
    free(sp);
}

static int scope_change(ramet_scope *s, bool cancel, int64_t deadline) {
    rm_g *g = rm_face_enter();
    int e = 0;
    if (!g) return -EPERM;
    rm_rt *rt = rt_of(g);
    if (rm_owns(&rt->p)) {
        if (cancel) rm_scope_cancel((rm_scope *)s);
        else e = rm_scope_set_deadline((rm_scope *)s, deadline);
    } else {
        scope_post *sp = rm_malloc(sizeof *sp);
        e = sp ? 0 : -ENOMEM;
        if (sp) {
            *sp = (scope_post){{NULL, scope_posted}, (rm_scope *)s, deadline, cancel};
            rm_post_to(&rt->p, &sp->post);
        }
    }
    rm_face_leave(g);
    return e;
}

int ramet_scope_cancel(ramet_scope *s) { return scope_change(s, true, 0); }
int ramet_scope_set_deadline(ramet_scope *s, int64_t deadline) { return scope_change(s, false, deadline); }

/* ------------------------------------------------------------------ timers ---- */

struct ramet_timer {
    rm_timer t;
    void (*fn)(void *);
    void *arg;
};

static void timer_fired(rm_timer *t) {
    ramet_timer *rt = rm_container_of(t, ramet_timer, t);
    rt->fn(rt->arg);
}

ramet_timer *ramet_timer_new(void (*fn)(void *), void *arg) {
    ramet_timer *t = fn ? rm_malloc(sizeof *t) : NULL;
    if (!t) return NULL;
    rm_timer_init(&t->t, timer_fired);
    t->fn = fn;
    t->arg = arg;
    return t;
}

int ramet_timer_start(ramet_timer *t, int64_t when, int64_t period) {
    rm_g *g = rm_g_self();
    if (!g || !g->p) return -EPERM;
    int was = rm_timer_pending(&t->t);
    int e = rm_timer_start(&g->p->timers, &t->t, rm_load(&g->p->now), when, period);
    return e ? e : was;
}

int ramet_timer_stop(ramet_timer *t) {
    rm_g *g = rm_g_self();
    if (!g || !g->p) return -EPERM;
    return rm_timer_stop(&g->p->timers, &t->t);
}

void ramet_timer_free(ramet_timer *t) {
    if (!t) return;
    ramet_timer_stop(t);
    free(t);
}

struct ramet_ticker {
    ramet_chan chan; /* its buffer is `tick` */
    rm_timer t;
    int64_t tick;
};

static void ticker_fired(rm_timer *t) {
    ramet_ticker *ticker = rm_container_of(t, ramet_ticker, t);
    int64_t now = rm_now();
    rm_chan_send(&ticker->chan.c, ticker->chan.c.rt->p.g0, &now, RAMET_POLL); /* -EAGAIN: this one is dropped */
}

static int ticker_start(ramet_ticker *t, rm_p *p, int64_t period) {
    return rm_timer_start(&p->timers, &t->t, rm_load(&p->now), rm_after(period), period);
}

/* Whether it was ticking. */
static bool ticker_halt(ramet_ticker *t, rm_p *p) {
    rm_chan *c = &t->chan.c;
    rm_g *sender;
    bool was = rm_timer_stop(&p->timers, &t->t);
    rm_lock_take(&c->lock);
    rm_chan_take(c, NULL, sizeof t->tick, &sender);
    rm_lock_drop(&c->lock);
    if (sender) rm_ready(sender); /* a user's */
    return was;
}

ramet_ticker *ramet_ticker_new(int64_t period) {
    rm_g *g = rm_g_self();
    ramet_ticker *t = g && g->p && period > 0 ? rm_malloc(sizeof *t) : NULL;
    if (!t) return NULL;
    rm_chan_init(&t->chan.c, g->p->rt, sizeof t->tick, 1, &t->tick);
    rm_timer_init(&t->t, ticker_fired);
    if (ticker_start(t, g->p, period) == 0) return t;
    free(t);
    return NULL;
}

ramet_chan *ramet_ticker_chan(ramet_ticker *t) { return t ? &t->chan : NULL; }

int ramet_ticker_stop(ramet_ticker *t) {
    rm_g *g = rm_g_self();
    return g && g->p ? ticker_halt(t, g->p) : -EPERM;
}

int ramet_ticker_reset(ramet_ticker *t, int64_t period) {
    rm_g *g = rm_g_self();
    if (!g || !g->p) return -EPERM;
    if (period <= 0) return -EINVAL;
    int was = ticker_halt(t, g->p), e = ticker_start(t, g->p, period);
    return e ? e : was;
}

int ramet_ticker_free(ramet_ticker *t) {
    rm_g *g = rm_g_self();
    if (!t) return 0;
    if ((!g || !g->p) && rm_load_acq(&the_rt)) return -EPERM;
    if (t->chan.c.recvq.first || t->chan.c.sendq.first) return -EBUSY;
    if (g && g->p) ticker_halt(t, g->p);
    free(t);
    return 0;
}

/* ------------------------------------------------------------------ the rest ---- */

int ramet_blocking(void *(*fn)(void *), void *arg, void **result) {
    rm_g *g = rm_g_self();
    if (!fn) return -EINVAL;
    if (g && g->p) return rm_blocking(g->p->rt, g, fn, arg, result);
    if (!rm_load_acq(&the_rt)) return -EPERM;
    void *r = fn(arg);
    if (result) *result = r;
    return 0;
}

int ramet_dump(FILE *out) {
    rm_g *g = rm_face_enter();
    if (!g) return -EPERM;
    rm_dump(rt_of(g), out);
    rm_face_leave(g);
    return 0;
}
