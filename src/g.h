/* g.h: the goroutine, and who waits in which queue.
 *
 * A G's control block stands at the top of its own stack slot (stack.h), so that a parked goroutine
 * costs one page. It is type-stable: the memory of a dead G is only ever a G's again, or zero.
 *
 * Life: DEAD -> RUNNABLE (rm_g_new) -> RUNNING <-> WAITING -> RUNNABLE ... -> DEAD (rm_g_exit).
 *
 * One wait, several wakers: a G that waits is woken by exactly one of: its peer, its deadline, a
 * cancellation. The word `wake` decides. It goes OPEN when the G has decided to wait (before it is on
 * any queue that others see), and whoever moves it OPEN -> CLAIMED, by rm_claim, and nobody else, sets
 * wake_code and calls rm_ready. The woken G takes its own sudogs off the queues they are still on. */
#ifndef RM_G_H
#define RM_G_H

#include "base/atomic.h"
#include "base/list.h"
#include "base/sanitize.h"
#include "ramet.h"

#ifdef RM_EMBED_HEADER
#include RM_EMBED_HEADER
#endif

typedef struct rm_g rm_g;
typedef struct rm_p rm_p;
typedef struct rm_m rm_m;
typedef struct rm_rt rm_rt;
typedef struct rm_scope rm_scope;
typedef struct rm_sudog rm_sudog;

typedef enum rm_state { RM_DEAD = 0, RM_RUNNABLE, RM_RUNNING, RM_WAITING } rm_state;

/* Why a G waits. Keep rm_reason_names (g.c) in step. */
typedef enum rm_reason {
    RM_R_NONE = 0,
    RM_R_CHAN_RECV,
    RM_R_CHAN_SEND,
    RM_R_CHAN_NIL,
    RM_R_SELECT,
    RM_R_SLEEP,
    RM_R_IO_READ,
    RM_R_IO_WRITE,
    RM_R_SYSCALL,
    RM_R_JOIN,
    RM_R_MUTEX,
    RM_R_RWMUTEX_LOCK,
    RM_R_RWMUTEX_RLOCK,
    RM_R_COND,
    RM_R_SEM,
    RM_R_EVENT,
    RM_R_WAITGROUP,
    RM_R_QUEUE_GET, /* an embedder's queues */
    RM_R_QUEUE_PUT,
    RM_R_QUEUE_JOIN,
    RM_R_RUN,    /* run() waits for all the others */
    RM_R_SYSTEM, /* a goroutine of the runtime's own */
    RM_R_MAX
} rm_reason;
extern const char *const rm_reason_names[RM_R_MAX];

enum { RM_WAKE_NONE = 0, RM_WAKE_OPEN = 1, RM_WAKE_CLAIMED = 2 };

enum { /* rm_g.flags */
       RM_GF_FOREIGN = 1, /* stands for an OS thread that is no proc's: blocks on a futex */
       RM_GF_MAIN = 2,    /* runs on the OS thread's own stack */
       RM_GF_SYSTEM = 4,  /* the runtime's own: not counted, not listed, cannot be deadlocked */
       RM_GF_BEGUN = 8,
       RM_GF_ENDING = 16, /* has been cancelled because what it was started in ends */
       RM_GF_STUCK = 16,  /* foreign: counted in rt->foreign_blocked */
       RM_GF_TOLD = 32,   /* woken by a cancel(), and has not run yet: another one is the same */
       RM_GF_DIRECT = 64, /* the last -ECANCELED was ramet_cancel's, not a scope's */
};

enum { /* rm_g.cancel: nonzero exactly when the next call that may park must return -ECANCELED */
       RM_CANCEL_ONCE = 1,  /* ramet_cancel; consumed by the call that returns -ECANCELED */
       RM_CANCEL_SCOPE = 2, /* the innermost scope is cancelled; stays until it is left */
       RM_CANCEL_RAISE = 4, /* the embedder has something to raise here: -EINTR, consumed likewise */
};

typedef struct rm_waitq { /* of sudogs, first in first out */
    rm_sudog *first, *last;
} rm_waitq;

struct rm_sudog { /* one G on one queue; stands on the waiting G's stack */
    rm_g *g;
    rm_sudog *next, *prev;
    void *elem;      /* what is sent, or where to receive; may be NULL for a receive */
    rm_waitq *q;     /* the queue it stands in, or has stood in */
    uint32_t index;  /* case of a select */
    bool queued;     /* on a queue now; under that queue's lock */
    bool ok;         /* set by the waker: a value was handed over (else: closed) */
};

struct rm_g {
    void *sp;             /* saved stack pointer while not running */
    rm_g *next;           /* link in run queue, inbox or free list */
    rm_p *p;              /* the proc it belongs to; NULL for a foreign thread */
    uint64_t id;          /* never reused; 0 while dead */
    uint8_t state;        /* rm_state */
    uint8_t reason;       /* rm_reason */
    uint8_t wake;         /* RM_WAKE_* */
    uint8_t cancel;       /* RM_CANCEL_* bits that are in force */
    uint8_t flags;        /* RM_GF_* */
    uint8_t cancel_held;  /* RM_CANCEL_ONCE asked for behind a shield */
    uint8_t shields;      /* shield scopes it is in */
    bool fresh;           /* has never run: sp is the top of its stack */
    int32_t wake_code;    /* 0, or why the wait ended without its event: -ETIMEDOUT, -ECANCELED, ... */
    uint32_t futex;       /* foreign: 1 once woken */
    rm_sudog *wake_sudog; /* select: the sudog that won */
    const void *wait_obj; /* what it waits on, for dumps */
    int64_t since;        /* coarse time of the park */
    rm_waitq joiners;
    rm_scope *scope;      /* innermost */
    void (*entry)(void *arg);
    void *arg;
    uint64_t creator;     /* id of the goroutine that started it */
    char *lo;             /* lowest usable address of the stack; the guard is below */
    char name[RM_NAME_MAX];
#if defined(RM_ASAN)
    void *asan_fake;      /* the fake stack while switched away */
    const void *asan_lo;  /* bounds of the stack */
    size_t asan_size;
#endif
#if defined(RM_TSAN)
    void *tsan_fiber;
#endif
#ifdef RM_EMBED_HEADER
    rm_embed_g embed;
#endif
};

/* Make a goroutine that will call entry(arg), behind all that are runnable. 0 or -ENOMEM. */
int rm_g_new(rm_rt *rt, void (*entry)(void *), void *arg, rm_g **out);
/* The same in two steps, for an embedder that fills in its part between. */
rm_g *rm_g_alloc(rm_rt *rt, size_t args_bytes);
/* Its id: in locked mode it may have ended by now, and the slot be another. */
uint64_t rm_g_queue(rm_rt *rt, rm_g *g, void (*entry)(void *), void *arg);
void rm_g_discard(rm_rt *rt, rm_g *g); /* undo rm_g_alloc */
void rm_g_start(rm_g *g);              /* called by arch/ only */

/* Wait until g, which had id `id`, has ended. */
int rm_g_join(rm_g *self, rm_rt *rt, rm_g *g, uint64_t id, int64_t deadline);
/* Cancel g once, if it is alive and has id `id`: 0 or -ESRCH. */
int rm_g_cancel(rm_rt *rt, rm_g *g, uint64_t id);
/* Put bits in force, and wake g if it waits. */
void rm_g_cancel_now(rm_g *g, uint8_t bits);

/* Cancel g because what it was started in ends: once, so that it may tidy up in peace. */
rm_inline void rm_g_end(rm_g *g) {
    if (g->flags & RM_GF_ENDING) return;
    g->flags |= RM_GF_ENDING;
    rm_g_cancel_now(g, RM_CANCEL_ONCE);
}

/* Called at the head of everything that may park: -ECANCELED, consuming a cancel(); -EINTR; or 0. */
int rm_g_cancelled(rm_g *g);
rm_inline int rm_check_cancel(rm_g *g) { return rm_unlikely(g->cancel) ? rm_g_cancelled(g) : 0; }
/* The same where RAMET_POLL means not to wait: that is no cancellation point. */
rm_inline int rm_check_cancel_before(rm_g *g, int64_t deadline) {
    return rm_unlikely(g->cancel) && deadline != RAMET_POLL ? rm_g_cancelled(g) : 0;
}

rm_inline void rm_waitq_push(rm_waitq *q, rm_sudog *s) {
    s->q = q;
    s->next = NULL;
    s->prev = q->last;
    if (q->last) q->last->next = s;
    else q->first = s;
    q->last = s;
    s->queued = true;
}

rm_inline void rm_waitq_push_front(rm_waitq *q, rm_sudog *s) {
    s->q = q;
    s->prev = NULL;
    s->next = q->first;
    if (q->first) q->first->prev = s;
    else q->last = s;
    q->first = s;
    s->queued = true;
}

/* Off the queue, under its lock. `queued` last: a select looks at it without the lock, and once it is false the
 * sudog and its G may be gone. */
rm_inline void rm_waitq_remove(rm_waitq *q, rm_sudog *s) {
    if (s->prev) s->prev->next = s->next;
    else q->first = s->next;
    if (s->next) s->next->prev = s->prev;
    else q->last = s->prev;
    rm_store_rel(&s->queued, false);
}

/* Decide to wait: from here on a waker may claim g. */
rm_inline void rm_wait_open(rm_g *g) {
    g->wake_code = 0;
    if (rm_locked()) rm_store_rel(&g->wake, RM_WAKE_OPEN);
    else g->wake = RM_WAKE_OPEN;
}

/* True for exactly one of those who want to end g's wait. */
rm_inline bool rm_claim(rm_g *g) {
    if (rm_locked()) return rm_cas(&g->wake, (uint8_t)RM_WAKE_OPEN, (uint8_t)RM_WAKE_CLAIMED);
    if (g->wake != RM_WAKE_OPEN) return false;
    g->wake = RM_WAKE_CLAIMED;
    return true;
}

/* Take the first waiter that can still be claimed off the queue. Claimed first: one that cannot be may return from
 * its wait as soon as it sees itself off the queue, and its G wait for something else. */
rm_inline rm_sudog *rm_waitq_claim(rm_waitq *q) {
    for (;;) {
        rm_sudog *s = q->first;
        if (!s) return NULL;
        bool claimed = rm_claim(s->g);
        rm_waitq_remove(q, s);
        if (rm_likely(claimed)) return s;
    }
}

#endif
