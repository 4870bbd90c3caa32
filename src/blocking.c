/* blocking.c: the elastic pool of threads for calls that block, and the goroutine's side of such a
 * call.
 *
 * One queue, first in first out, under a spin lock of a few instructions; the proc submits, threads
 * take. A job that is done is posted to the proc's inbox, and its `done` runs there.
 *
 * Invariant: while the queue is not empty, `coming` > 0 (a thread was woken or is being started,
 * and will look at the queue), or every thread that may exist is at work and will look when it is
 * through. One is enough: a thread that takes a job and leaves others behind sends for the next. So
 * wake-ups follow one another, as Go's do, and a burst of short jobs is done by few threads.
 * Threads sleep on a futex of their own, the last to fall asleep is woken first, and those below it
 * reach their time to live.
 *
 * Spinning. A wake-up of a sleeping CPU takes 25 us on a virtual machine and often more, a
 * hand-over between two that spin 0.1. Both sides spin before they sleep (for at most `spin`) in a
 * run of short calls: more than one CPU is ours, and the last jobs, and what the proc did between
 * one call's end and the next call, took less than SHORT_NS. These two times are measured where no
 * sleep is in them: with both sides asleep every call would look long, and nobody would ever begin
 * to spin. For the same reason a run begins with longer spins: who wakes last must still find the
 * other spinning. `credit` keeps a run alive over a long call or a spin in vain now and then; when
 * it is used up the run ends, and if it never was a good one, the next takes twice as many short
 * calls to begin (`need`): rare or long calls never spin, and a machine whose CPUs are busy
 * elsewhere is not burdened. The scheduler likes to put two threads that wake one another on one
 * CPU, where spinning is worst: a thread that finds itself on the proc's moves away. The thread
 * that spins (one at most) waits for `slot`, so that a hand-over takes no lock.
 *
 * All but the threads' own functions: on the proc, or under the owner lock. */
#include "blocking.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netpoll.h"

#define POOL_STACK_MIN ((size_t)256 << 10)
#define POOL_NEED_MIN 2
#define POOL_NEED_MAX 4096
#define POOL_CREDIT_MIN 4
#define POOL_CREDIT_MAX 64
#define POOL_SHORT_NS RM_SPIN_NS /* two wake-ups burn as much CPU as a spin of this length */
#define POOL_SPIN_FIRST_NS (4 * RM_SPIN_NS) /* at the beginning of a run */
#define POOL_SPARE 64 /* pool_calls kept for reuse */

int64_t rm_pool_ttl = RM_POOL_TTL_NS;

typedef struct pool_thread { /* on the thread's own stack */
    struct pool_thread *below; /* among the sleepers */
    uint32_t woken;            /* futex */
} pool_thread;

typedef struct pool_call pool_call;

#define POOL_SPINNER ((rm_job *)1) /* in slot: a thread spins and will take what is put here */

struct rm_pool {
    /* atomics, handed to and fro by who spins: the spinner's next job; how long the last job
     * took; how long to spin, 0 for not at all; whether a spin was in vain; the proc's CPU */
    rm_job *slot __attribute__((aligned(64)));
    uint32_t took, spin, missed;
    int cpu;
    /* shared; `threads` and `closing` are read without the lock */
    rm_lock lock __attribute__((aligned(64)));
    uint32_t queued;   /* for the statistics, and for a thread that is about to spin */
    rm_post *first, *last;
    uint32_t threads;  /* alive; a futex for rm_pool_fini */
    uint32_t coming;   /* of these, on their way to the queue */
    uint32_t asleep;   /* of these, on the list of sleepers */
    uint32_t max;
    pool_thread *sleepers;
    rm_rt *rt;
    bool closing, has_ended;
    pthread_t ended;   /* a thread that has ended and is not joined yet: the next to end joins it */
    /* the proc's */
    uint32_t inflight __attribute__((aligned(64)));
    uint32_t in_a_row, need; /* short calls until now; how many it takes */
    uint32_t credit;    /* 0: no run */
    bool good;          /* the run has had all its credit once */
    int64_t done_at;    /* when the last job reported */
    pool_call *spare;
    uint32_t nspare;
};

static void pool_futex_wake(uint32_t *word, int n) {
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, NULL, NULL, 0);
}

static void pool_futex_wait(uint32_t *word, uint32_t seen, int64_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, &t, NULL, 0);
}

/* ------------------------------------------------------------------ threads ---- */

enum pool_send { POOL_NOBODY, POOL_WAKE, POOL_START };

static void *pool_main(void *pool);

/* Under the lock, the queue not empty: decide who comes. What is decided is done by pool_send,
 * unlocked. */
static enum pool_send pool_choose(struct rm_pool *pool, pool_thread **who) {
    if (pool->coming || pool->closing) return POOL_NOBODY;
    if (pool->sleepers) {
        *who = pool->sleepers;
        pool->sleepers = (*who)->below;
        pool->asleep--;
        pool->coming++;
        return POOL_WAKE;
    }
    if (pool->threads >= pool->max) return POOL_NOBODY;
    rm_store(&pool->threads, pool->threads + 1);
    pool->coming++;
    return POOL_START;
}

static int pool_start(struct rm_pool *pool) {
    if (rm_inject_fault("pthread_create")) return -EAGAIN;
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t t;
    size_t size;
    if (pthread_attr_init(&attr)) return -EAGAIN;
    if (pthread_attr_getstacksize(&attr, &size) || size < POOL_STACK_MIN)
        pthread_attr_setstacksize(&attr, POOL_STACK_MIN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited: our threads handle no signal */
    int e = pthread_create(&t, &attr, pool_main, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -e;
}

/* 0, or -EAGAIN: no thread could be started. */
static int pool_send(struct rm_pool *pool, enum pool_send how, pool_thread *who) {
    if (how == POOL_WAKE) {
        rm_store_rel(&who->woken, 1);
        pool_futex_wake(&who->woken, 1);
    } else if (how == POOL_START && pool_start(pool)) {
        rm_shared_take(&pool->lock);
        rm_store(&pool->threads, pool->threads - 1);
        pool->coming--;
        rm_shared_drop(&pool->lock);
        return -EAGAIN;
    }
    return 0;
}

static rm_job *pool_take(struct rm_pool *pool) {
    rm_post *post = pool->closing ? NULL : pool->first;
    if (!post) return NULL;
    pool->first = post->next;
    rm_store(&pool->queued, pool->queued - 1);
    return rm_container_of(post, rm_job, post);
}

/* Spin on slot, which says POOL_SPINNER or has a job already, from `now` on. A job, or NULL. */
static rm_job *pool_thread_spin(struct rm_pool *pool, int64_t now) {
    rm_job *job;
    for (unsigned i = 1; (job = rm_load_acq(&pool->slot)) == POOL_SPINNER; i++) {
        rm_pause();
        if (i % 8) continue;
        bool called = rm_load(&pool->closing) || rm_load(&pool->queued); /* to the queue */
        if (!called && rm_now() - now < rm_load(&pool->spin)) continue;
        if (!rm_cas(&pool->slot, POOL_SPINNER, NULL)) continue; /* given one at the last moment */
        if (!called) rm_store(&pool->missed, 1);
        return NULL;
    }
    rm_store(&pool->slot, NULL);
    return job;
}

/* Leave the proc's CPU to the proc. */
static void pool_thread_move(int cpu) {
    cpu_set_t ours, others;
    if (sched_getaffinity(0, sizeof ours, &ours)) return;
    others = ours;
    CPU_CLR((size_t)cpu, &others);
    if (!sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof ours, &ours);
}

/* Do job, and those that come while we spin. */
static void pool_thread_work(struct rm_pool *pool, rm_job *job) {
    while (job) {
        int64_t began = rm_now();
        job->work(job);
        /* offer to spin before the proc hears of the end: the next call may come before we get
         * to it, and would wake another thread */
        bool spin = rm_load(&pool->spin) && !rm_load(&pool->queued) && !rm_load(&pool->slot) &&
                    rm_cas(&pool->slot, NULL, POOL_SPINNER);
        rm_post_to(job->p, &job->post); /* job is not ours any more */
        int64_t ended = rm_now();
        rm_store(&pool->took, ended - began < INT32_MAX ? (uint32_t)(ended - began) : INT32_MAX);
        if (!spin) return;
        int cpu = sched_getcpu();
        if (rm_unlikely(cpu >= 0 && cpu == rm_load(&pool->cpu))) {
            pool_thread_move(cpu);
            ended = rm_now();
        }
        job = pool_thread_spin(pool, ended);
    }
}

static void *pool_main(void *arg) {
    struct rm_pool *pool = arg;
    pool_thread self = {0};
    bool coming = true; /* whether `coming` counts this thread */
    pthread_setname_np(pthread_self(), "ramet-pool");
    rm_shared_take(&pool->lock);
    for (;;) {
        rm_job *job = pool_take(pool);
        if (coming) pool->coming--;
        coming = false;
        if (job) {
            pool_thread *next;
            enum pool_send how = pool->first ? pool_choose(pool, &next) : POOL_NOBODY;
            rm_shared_drop(&pool->lock);
            if (rm_unlikely(how != POOL_NOBODY)) pool_send(pool, how, next);
            pool_thread_work(pool, job);
            rm_shared_take(&pool->lock);
            continue;
        }
        if (pool->closing || pool->threads > pool->max) break;
        self.woken = 0;
        self.below = pool->sleepers;
        pool->sleepers = &self;
        pool->asleep++;
        rm_shared_drop(&pool->lock);
        int64_t until = rm_now() + rm_pool_ttl, left = rm_pool_ttl;
        while (!rm_load_acq(&self.woken) && left > 0) {
            pool_futex_wait(&self.woken, 0, left);
            left = until - rm_now();
        }
        rm_shared_take(&pool->lock);
        coming = rm_load(&self.woken); /* whoever woke us took us off the list and counted us */
        if (coming) continue;
        for (pool_thread **at = &pool->sleepers; *at; at = &(*at)->below)
            if (*at == &self) {
                *at = self.below;
                break;
            }
        pool->asleep--;
        if (!pool->first) break;
    }
    pthread_t before = pool->ended;
    bool join = pool->has_ended;
    pool->ended = pthread_self();
    pool->has_ended = true;
    rm_store(&pool->threads, pool->threads - 1);
    bool last = pool->threads == 0;
    rm_shared_drop(&pool->lock);
    if (pool->rt->hooks.pool_thread_ends) pool->rt->hooks.pool_thread_ends(pool->rt);
    if (join) pthread_join(before, NULL);
    if (last) pool_futex_wake(&pool->threads, 1);
    return NULL; /* rm_pool_fini joins us before it frees the pool */
}

/* ------------------------------------------------------------------ the proc's side ---- */

/* Freed by whoever is last: `done`, or the goroutine if it saw `finished`. What the thread
 * touches is one cache line. */
struct pool_call {
    rm_job job __attribute__((aligned(64)));
    void *(*fn)(void *);
    void *arg, *result;
    void (*drop)(void *);
    rm_g *g; /* NULL once it has gone */
    pool_call *next;
    bool finished;
};

static pool_call *pool_call_alloc(struct rm_pool *pool) {
    pool_call *c = pool->spare;
    if (rm_likely(c != NULL)) {
        pool->spare = c->next;
        pool->nspare--;
        return c;
    }
    if (rm_inject_fault("blocking") || posix_memalign((void **)&c, 64, sizeof *c)) return NULL;
    return c;
}

static void pool_call_free(struct rm_pool *pool, pool_call *c) {
    if (pool->nspare == POOL_SPARE) {
        free(c);
        return;
    }
    c->next = pool->spare;
    pool->spare = c;
    pool->nspare++;
}

static void pool_free(struct rm_pool *pool) {
    for (pool_call *c = pool->spare, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(pool);
}

unsigned rm_pool_max(rm_rt *rt) { return rt->pool ? rt->pool->max : RM_POOL_MAX; }

int rm_pool_init(rm_rt *rt, unsigned max_threads) {
    struct rm_pool *pool = NULL;
    if (rm_inject_fault("pool") || posix_memalign((void **)&pool, 64, sizeof *pool)) return -ENOMEM;
    memset(pool, 0, sizeof *pool);
    pool->max = max_threads ? max_threads : 1;
    pool->need = POOL_NEED_MIN;
    pool->rt = rt;
    rt->pool = pool;
    return 0;
}

void rm_pool_set_max(rm_rt *rt, unsigned n) {
    struct rm_pool *pool = rt->pool;
    pool_thread *who;
    if (!pool) return;
    rm_shared_take(&pool->lock);
    pool->max = n ? n : 1;
    enum pool_send how = pool->first ? pool_choose(pool, &who) : POOL_NOBODY;
    rm_shared_drop(&pool->lock);
    pool_send(pool, how, who);
}

static bool pool_many_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) /* a machine of more than 1024 */
        return sysconf(_SC_NPROCESSORS_ONLN) > 1;
    return CPU_COUNT(&set) > 1;
}

/* A call begins: is this a time for spinning? */
static void pool_gauge(struct rm_pool *pool) {
    bool missed = rm_load(&pool->missed);
    if (rm_unlikely(missed)) rm_store(&pool->missed, 0);
    bool is_short = rm_load(&pool->took) < POOL_SHORT_NS && rm_now() - pool->done_at < POOL_SHORT_NS;
    if (!pool->credit) {
        pool->in_a_row = is_short ? pool->in_a_row + 1 : 0;
        if (pool->in_a_row >= pool->need) {
            pool->in_a_row = 0;
            pool->good = false;
            if (pool_many_cpus()) pool->credit = POOL_CREDIT_MIN;
        }
    } else if (is_short && !missed) {
        if (pool->credit < POOL_CREDIT_MAX) pool->credit++;
        else pool->good = true;
    } else if (!(pool->credit /= 2)) {
        if (pool->good) pool->need = POOL_NEED_MIN;
        else if (pool->need < POOL_NEED_MAX) pool->need *= 2;
    }
    uint32_t spin = !pool->credit ? 0 : pool->good ? RM_SPIN_NS : POOL_SPIN_FIRST_NS;
    if (spin != rm_load(&pool->spin)) rm_store(&pool->spin, spin);
    int cpu = spin ? sched_getcpu() : -1;
    if (cpu != rm_load(&pool->cpu)) rm_store(&pool->cpu, cpu);
}

/* rm_p.spin: a little, while jobs that are likely to end soon are out. */
static bool pool_spin(rm_rt *rt, int64_t until) {
    struct rm_pool *pool = rt->pool;
    rm_p *p = &rt->p;
    uint32_t spin = rm_load(&pool->spin);
    if (!spin) return false;
    int64_t limit = rm_now() + spin;
    for (unsigned i = 1;; i++) {
        if (rm_load_acq(&p->inbox) || rm_netpoll_woken(p)) return true;
        rm_pause();
        if (i % 8) continue;
        int64_t now = rm_now();
        if (now > until) return false;
        if (now > limit) break;
    }
    rm_store(&pool->missed, 1);
    return false;
}

static void pool_count(rm_rt *rt, int n) {
    rt->pool->inflight += (uint32_t)n;
    rt->p.spin = rt->pool->inflight ? pool_spin : NULL;
}

static void pool_posted(rm_p *p, rm_post *post) {
    rm_job *job = rm_container_of(post, rm_job, post);
    struct rm_pool *pool = p->rt->pool;
    pool_count(p->rt, -1);
    pool->done_at = rm_load(&p->now);
    job->done(p, job);
}

int rm_pool_submit(rm_rt *rt, rm_job *job) {
    struct rm_pool *pool = rt->pool;
    pool_thread *who;
    if (!pool || pool->closing) return -EAGAIN;
    pool_gauge(pool);
    job->post.next = NULL;
    job->post.fn = pool_posted;
    pool_count(rt, 1);
    if (!rm_load(&pool->queued) && rm_load(&pool->slot) == POOL_SPINNER && rm_cas(&pool->slot, POOL_SPINNER, job))
        return 0;
    rm_shared_take(&pool->lock);
    if (pool->first) pool->last->next = &job->post;
    else pool->first = &job->post;
    pool->last = &job->post;
    rm_store(&pool->queued, pool->queued + 1);
    enum pool_send how = pool_choose(pool, &who);
    rm_shared_drop(&pool->lock);
    if (rm_likely(how == POOL_NOBODY) || rm_likely(!pool_send(pool, how, who))) return 0;
    rm_shared_take(&pool->lock);
    int e = 0;
    if (!pool->threads) { /* nobody will ever come: it is the only one in the queue */
        rm_assert(pool->first == &job->post);
        pool->first = NULL;
        rm_store(&pool->queued, 0);
        pool_count(rt, -1);
        e = -EAGAIN;
    }
    rm_shared_drop(&pool->lock);
    return e;
}

uint32_t rm_pool_inflight(const rm_rt *rt) { return rt->pool ? rt->pool->inflight : 0; }

void rm_pool_stats(const rm_rt *rt, ramet_stats *out) {
    struct rm_pool *pool = rt->pool;
    out->pool_threads = out->pool_idle = out->pool_queued = 0;
    if (!pool) return;
    rm_shared_take(&pool->lock);
    out->pool_threads = pool->threads;
    out->pool_idle = pool->asleep;
    out->pool_queued = pool->queued;
    rm_shared_drop(&pool->lock);
}

int rm_pool_fini(rm_rt *rt, int64_t ns, bool child_of_fork) {
    struct rm_pool *pool = rt->pool;
    if (!pool) return 0;
    if (child_of_fork) { /* what is queued may be in any state: a thread may have been at it */
        rt->pool = NULL;
        rt->p.spin = NULL;
        pool_free(pool);
        return 0;
    }
    rm_shared_take(&pool->lock);
    rm_store(&pool->closing, true);
    pool_thread *sleepers = pool->sleepers;
    pool->sleepers = NULL;
    for (pool_thread *t = sleepers, *below; t; t = below) {
        below = t->below; /* after the store t is no more ours */
        pool->asleep--;
        pool->coming++;
        rm_store_rel(&t->woken, 1);
        pool_futex_wake(&t->woken, 1);
    }
    rm_post *dropped = pool->first;
    pool->first = NULL;
    pool->queued = 0;
    rm_shared_drop(&pool->lock);
    int64_t until = rm_after(ns), now;
    for (uint32_t n; (n = rm_load_acq(&pool->threads)) && (now = rm_now()) < until;)
        pool_futex_wait(&pool->threads, n, until - now);
    /* what nobody has begun, and what has ended but not been reported */
    while (dropped) {
        rm_job *job = rm_container_of(dropped, rm_job, post);
        dropped = dropped->next;
        job->work = NULL;
        pool_posted(&rt->p, &job->post);
    }
    rm_post *posts = rm_xchg(&rt->p.inbox, NULL), *others = NULL, **tail = &others;
    while (posts) {
        rm_post *next = posts->next;
        if (posts->fn == pool_posted) pool_posted(&rt->p, posts);
        else *tail = posts, tail = &posts->next;
        posts = next;
    }
    *tail = NULL;
    if (others && !rm_cas(&rt->p.inbox, NULL, others)) rm_assert(!"nobody posts to a runtime that ends");
    if (rm_load_acq(&pool->threads)) return -ETIMEDOUT;
    rm_shared_take(&pool->lock);
    bool join = pool->has_ended;
    rm_shared_drop(&pool->lock);
    if (join) pthread_join(pool->ended, NULL);
    rt->pool = NULL;
    pool_free(pool);
    return 0;
}

/* ------------------------------------------------------------------ a goroutine's call ---- */

static void pool_call_work(rm_job *job) {
    pool_call *c = rm_container_of(job, pool_call, job);
    c->result = c->fn(c->arg);
}

static void pool_call_done(rm_p *p, rm_job *job) {
    pool_call *c = rm_container_of(job, pool_call, job);
    if (!c->g || p->rt->closing) {
        if (c->drop) c->drop(c->arg);
        pool_call_free(p->rt->pool, c);
        return;
    }
    c->finished = true;
    if (rm_claim(c->g)) rm_ready_front(p, c->g); /* else it was cancelled and has not run yet */
}

/* In a foreign thread. */
static void pool_call_here(rm_rt *rt, void *(*fn)(void *), void *arg, void **result) {
    void *token = rt->hooks.block_enter ? rt->hooks.block_enter(rt) : NULL;
    void *r = fn(arg);
    if (rt->hooks.block_leave) rt->hooks.block_leave(rt, token);
    if (result) *result = r;
}

int rm_blocking_until(rm_rt *rt, rm_g *g, void *(*fn)(void *), void *arg, void **result, int64_t deadline,
                      void (*drop)(void *)) {
    int e = rm_check_cancel(g);
    if (!e && g->flags & RM_GF_FOREIGN) {
        pool_call_here(rt, fn, arg, result);
        return 0;
    }
    if (!e && !rt->pool) e = -EAGAIN;
    pool_call *c = e ? NULL : pool_call_alloc(rt->pool);
    if (c) {
        *c = (pool_call){.job = {.work = pool_call_work, .done = pool_call_done, .p = &rt->p},
                         .fn = fn,
                         .arg = arg,
                         .drop = drop,
                         .g = g};
        e = rm_pool_submit(rt, &c->job);
    } else if (!e) {
        e = -ENOMEM;
    }
    if (e) {
        if (c) pool_call_free(rt->pool, c);
        if (drop) drop(arg);
        return e;
    }
    rm_wait_open(g); /* `done` runs on the proc, so not before we have parked */
    e = rm_park(g, RM_R_SYSCALL, NULL, deadline, NULL, NULL);
    if (!c->finished) { /* fn goes on without us */
        c->g = NULL;
        return e;
    }
    if (!e && result) *result = c->result;
    if (e && drop) drop(arg);
    pool_call_free(rt->pool, c);
    return e;
}

int rm_blocking(rm_rt *rt, rm_g *g, void *(*fn)(void *), void *arg, void **result) {
    return rm_blocking_until(rt, g, fn, arg, result, RM_FOREVER, NULL);
}
