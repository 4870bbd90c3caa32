/* waitq.h: mutex, rwmutex, condition, semaphore, event and waitgroup, on the one way to wait.
 *
 * All of them: memory that is all zero is a fresh one (a semaphore of 0). They are the caller's memory and must
 * stay until nobody uses them. `g` is the caller's, a goroutine's or a foreign thread's. A deadline of RAMET_POLL
 * never waits: -EAGAIN. A wait ends with 0, -ETIMEDOUT, -ECANCELED, -EINTR, -EDEADLK; when it is not 0, nothing was taken.
 * Waiters queue in order. */
#ifndef RM_WAITQ_H
#define RM_WAITQ_H

#include "park.h"

/* ---- mutex: whoever comes may take a free one before those who wait, for at most RM_BARGE_NS; then it is handed over
 * (Go's starvation mode). No owner: anybody may unlock. ---- */

#define RM_BARGE_NS 1000000

typedef struct rm_mutex {
    rm_lock lock;
    bool held;
    bool starving;  /* the next unlock hands it over */
    uint16_t woken; /* rm_forks, if somebody has been woken to take it and has not run yet */
    rm_waitq q;
} rm_mutex;

int rm_mutex_wait(rm_mutex *m, rm_g *g, int64_t deadline);
void rm_mutex_pass(rm_mutex *m);

rm_inline int rm_mutex_lock(rm_mutex *m, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (rm_unlikely(e)) return e;
    rm_lock_take(&m->lock);
    if (rm_unlikely(m->held)) return rm_mutex_wait(m, g, deadline);
    m->held = true;
    rm_lock_drop(&m->lock);
    return 0;
}

/* -EPERM if it is not locked. Never parks. */
rm_inline int rm_mutex_unlock(rm_mutex *m) {
    rm_lock_take(&m->lock);
    if (rm_unlikely(!m->held)) {
        rm_lock_drop(&m->lock);
        return -EPERM;
    }
    if (rm_unlikely(m->q.first != NULL)) {
        rm_mutex_pass(m);
        return 0;
    }
    m->held = m->starving = false;
    rm_lock_drop(&m->lock);
    return 0;
}

/* Lock again what a wait has given up: whatever is pending waits until that is done. 0; -EINTR, it is locked all the
 * same; -EDEADLK, and it is not: nobody is left who could unlock it. */
int rm_mutex_relock(rm_mutex *m, rm_g *g);

/* ---- rwmutex: many readers or one writer, strictly in order: a writer that waits keeps later readers out ---- */

typedef struct rm_rwmutex {
    rm_lock lock;
    bool writer;
    uint32_t readers;
    rm_waitq q;
} rm_rwmutex;

int rm_rwmutex_lock(rm_rwmutex *m, rm_g *g, int64_t deadline);
int rm_rwmutex_rlock(rm_rwmutex *m, rm_g *g, int64_t deadline);
/* -EPERM if it is not locked so. Never park. */
int rm_rwmutex_unlock(rm_rwmutex *m);
int rm_rwmutex_runlock(rm_rwmutex *m);

/* ---- condition: stand in the queue, unlock what guards the condition, wait, lock again. A notification between add
 * and wait counts, whatever the unlocking did. ---- */

typedef struct rm_cond {
    rm_lock lock;
    rm_waitq q;
} rm_cond;

typedef struct rm_cond_waiter {
    rm_sudog s;
    rm_stand stand;
} rm_cond_waiter;

/* `w` is the queue's until wait or drop is called, of which one must be. */
void rm_cond_add(rm_cond *c, rm_cond_waiter *w, rm_g *g);
int rm_cond_wait(rm_cond *c, rm_cond_waiter *w, int64_t deadline);
/* Whether it had been notified. */
bool rm_cond_drop(rm_cond *c, rm_cond_waiter *w);
/* Wake up to n; how many. Never parks. */
uint32_t rm_cond_notify(rm_cond *c, uint32_t n);

/* ---- semaphore: a release goes to who has waited longest ---- */

typedef struct rm_sem {
    rm_lock lock;
    int64_t n;
    rm_waitq q;
} rm_sem;

int rm_sem_wait(rm_sem *s, rm_g *g, int64_t deadline);

rm_inline int rm_sem_acquire(rm_sem *s, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (rm_unlikely(e)) return e;
    rm_lock_take(&s->lock);
    if (rm_unlikely(s->n <= 0)) return rm_sem_wait(s, g, deadline);
    s->n--;
    rm_lock_drop(&s->lock);
    return 0;
}

/* n more. Never parks. -EOVERFLOW. */
int rm_sem_release(rm_sem *s, uint32_t n);

/* ---- event: once set all go on, and who comes later does not wait ---- */

typedef struct rm_event {
    rm_lock lock;
    bool set;
    rm_waitq q;
} rm_event;

int rm_event_wait(rm_event *v, rm_g *g, int64_t deadline);
void rm_event_set(rm_event *v);
void rm_event_clear(rm_event *v);

/* ---- waitgroup ---- */

typedef struct rm_waitgroup {
    rm_lock lock;
    int64_t n;
    rm_waitq q;
} rm_waitgroup;

/* -EINVAL, and nothing is changed, if the counter would be negative. Never parks. */
int rm_waitgroup_add(rm_waitgroup *w, int64_t n);
int rm_waitgroup_wait(rm_waitgroup *w, rm_g *g, int64_t deadline);

#endif
