/* waitq.c: see waitq.h.
 *
 * Each type is a lock, a state and a queue of sudogs, and one of two ways to pass things on: a mutex is made free and
 * the first in the queue woken to try (who tries in vain stands at the head again); everything else is handed over:
 * whoever releases changes the state on the waiter's behalf and then wakes it. s->ok says that it was handed over. */
#include "waitq.h"

#include "scope.h"

typedef struct wait_on {
    rm_lock *lock; /* held; dropped once the wait is open; held again if the wait fails */
    rm_waitq *q;
    rm_reason reason;
    const void *obj;
} wait_on;

/* Wait, `s` being filled in but for what all have. */
static int wait_in(const wait_on *w, rm_sudog *s, bool front, rm_g *g, int64_t deadline) {
    if (deadline == RAMET_POLL) return -EAGAIN;
    s->elem = NULL;
    return rm_wait_in(w->q, s, front, g, w->reason, w->obj, deadline, w->lock);
}

/* The claimed ones are collected in a list and woken when the lock has been dropped. */
typedef struct woken {
    rm_sudog *first, **at;
} woken;

static void collect(woken *w, rm_sudog *s) {
    s->ok = true;
    *w->at = s;
    w->at = &s->next;
}

static void wake(woken *w) {
    *w->at = NULL;
    bool one = w->first && !w->first->next;
    for (rm_sudog *s = w->first, *next; s; s = next) {
        rm_g *g = s->g;
        next = s->next; /* it is gone once its goroutine runs */
        if (one) rm_ready(g);
        else rm_ready_tail(g->p, g);
    }
}

#define NOBODY(w) ((w) = (woken){NULL, NULL}, (w).at = &(w).first)

/* ------------------------------------------------------------------ mutex ---- */

int rm_mutex_wait(rm_mutex *m, rm_g *g, int64_t deadline) {
    wait_on w = {&m->lock, &m->q, RM_R_MUTEX, m};
    int64_t began = deadline == RAMET_POLL ? 0 : rm_now();
    rm_sudog s = {0};
    int e;
    for (bool again = false;; again = true) {
        if ((e = wait_in(&w, &s, again, g, deadline))) break;
        if (s.ok) return 0; /* handed over */
        rm_lock_take(&m->lock);
        m->woken = 0;
        if (!m->held) {
            m->held = true;
            break;
        }
        if (rm_now() - began > RM_BARGE_NS) m->starving = true;
        if ((e = rm_check_cancel(g))) break; /* whoever holds it wakes the next */
    }
    rm_lock_drop(&m->lock);
    return e;
}

int rm_mutex_relock(rm_mutex *m, rm_g *g) {
    rm_scope shield;
    int e, interrupted = 0;
    bool shielded = g->p && rm_scope_enter(&shield, g, NULL, RM_FOREVER, true) == 0;
    while ((e = rm_mutex_lock(m, g, RM_FOREVER)) && e != -EDEADLK) interrupted = e;
    if (shielded) rm_scope_leave(&shield);
    return e ? e : interrupted;
}

void rm_mutex_pass(rm_mutex *m) {
    rm_sudog *s = NULL;
    if (m->starving) {
        s = rm_waitq_claim(&m->q);
        m->held = s != NULL;
        m->starving = false; /* until the next has waited too long, too */
        if (s) s->ok = true;
    } else {
        m->held = false;
        if (m->woken != rm_forks && (s = rm_waitq_claim(&m->q))) m->woken = rm_forks;
    }
    rm_g *g = s ? s->g : NULL;
    rm_lock_drop(&m->lock);
    if (g) rm_ready(g);
}

/* ------------------------------------------------------------------ rwmutex ---- */

enum { READER = 0, WRITER = 1 }; /* rm_sudog.index */

/* Let in whoever may: the first writer, or all readers before it. */
static void rw_grant(rm_rwmutex *m, woken *w) {
    while (!m->writer && m->q.first) {
        bool writes = m->q.first->index == WRITER;
        if (writes && m->readers) break;
        rm_sudog *s = m->q.first;
        bool claimed = rm_claim(s->g);
        rm_waitq_remove(&m->q, s);
        if (!claimed) continue;
        if (writes) m->writer = true;
        else m->readers++;
        collect(w, s);
    }
}

static int rw_wait(rm_rwmutex *m, rm_g *g, uint32_t how, int64_t deadline) {
    wait_on on = {&m->lock, &m->q, how == WRITER ? RM_R_RWMUTEX_LOCK : RM_R_RWMUTEX_RLOCK, m};
    rm_sudog s = {.index = how};
    woken w;
    int e = wait_in(&on, &s, false, g, deadline);
    if (e == 0) return 0;
    NOBODY(w);
    rw_grant(m, &w); /* those behind may have waited for us */
    rm_lock_drop(&m->lock);
    wake(&w);
    return e;
}

int rm_rwmutex_lock(rm_rwmutex *m, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (e) return e;
    rm_lock_take(&m->lock);
    if (m->writer || m->readers || m->q.first) return rw_wait(m, g, WRITER, deadline);
    m->writer = true;
    rm_lock_drop(&m->lock);
    return 0;
}

int rm_rwmutex_rlock(rm_rwmutex *m, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (e) return e;
    rm_lock_take(&m->lock);
    if (m->writer || m->q.first) return rw_wait(m, g, READER, deadline);
    m->readers++;
    rm_lock_drop(&m->lock);
    return 0;
}

static int rw_unlock(rm_rwmutex *m, uint32_t how) {
    woken w;
    NOBODY(w);
    rm_lock_take(&m->lock);
    if (how == WRITER ? !m->writer : !m->readers) {
        rm_lock_drop(&m->lock);
        return -EPERM;
    }
    if (how == WRITER) m->writer = false;
    else m->readers--;
    rw_grant(m, &w);
    rm_lock_drop(&m->lock);
    wake(&w);
    return 0;
}

int rm_rwmutex_unlock(rm_rwmutex *m) { return rw_unlock(m, WRITER); }
int rm_rwmutex_runlock(rm_rwmutex *m) { return rw_unlock(m, READER); }

/* ------------------------------------------------------------------ cond ---- */

enum { ADDED = 0, PARKED = 1 }; /* rm_sudog.index */

void rm_cond_add(rm_cond *c, rm_cond_waiter *w, rm_g *g) {
    rm_sudog *s = &w->s;
    s->g = g;
    s->elem = NULL;
    s->index = ADDED;
    s->ok = false;
    rm_lock_take(&c->lock);
    rm_waitq_push(&c->q, s);
    rm_lock_drop(&c->lock);
    rm_stand_enter(&w->stand, g, s, 1);
}

/* Its lock held, which is dropped. */
static bool cond_leave(rm_cond *c, rm_cond_waiter *w) {
    if (w->s.queued) rm_waitq_remove(&c->q, &w->s);
    rm_lock_drop(&c->lock);
    rm_stand_leave(&w->stand);
    return w->s.ok;
}

bool rm_cond_drop(rm_cond *c, rm_cond_waiter *w) {
    rm_lock_take(&c->lock);
    return cond_leave(c, w);
}

int rm_cond_wait(rm_cond *c, rm_cond_waiter *w, int64_t deadline) {
    rm_sudog *s = &w->s;
    rm_g *g = s->g;
    rm_lock_take(&c->lock);
    int e =
        s->ok ? 0 : rm_check_cancel_before(g, deadline); /* a notified one leaves the cancellation to the next wait */
    if (s->ok || e || deadline == RAMET_POLL) return cond_leave(c, w) ? 0 : e ? e : -EAGAIN;
    s->index = PARKED;
    rm_wait_open(g);
    e = rm_park(g, RM_R_COND, c, deadline, rm_lock_dropped, &c->lock);
    if (e == 0) { /* the condition may be gone */
        rm_stand_leave(&w->stand);
        return 0;
    }
    return rm_cond_drop(c, w) ? 0 : e;
}

uint32_t rm_cond_notify(rm_cond *c, uint32_t n) {
    uint32_t done = 0;
    woken w;
    NOBODY(w);
    rm_lock_take(&c->lock);
    for (rm_sudog *s; done < n && (s = c->q.first);) {
        if (s->index == ADDED) { /* on its way: it will see `ok` before it parks */
            s->ok = true;
            rm_waitq_remove(&c->q, s);
            done++;
            continue;
        }
        bool claimed = rm_claim(s->g);
        rm_waitq_remove(&c->q, s);
        if (!claimed) continue; /* its time has run out */
        collect(&w, s);
        done++;
    }
    rm_lock_drop(&c->lock);
    wake(&w);
    return done;
}

/* ------------------------------------------------------------------ semaphore ---- */

int rm_sem_wait(rm_sem *s, rm_g *g, int64_t deadline) {
    wait_on w = {&s->lock, &s->q, RM_R_SEM, s};
    rm_sudog me = {0};
    int e = wait_in(&w, &me, false, g, deadline);
    if (e) rm_lock_drop(&s->lock);
    return e;
}

int rm_sem_release(rm_sem *s, uint32_t n) {
    woken w;
    NOBODY(w);
    rm_lock_take(&s->lock);
    if (s->n > INT64_MAX - n) {
        rm_lock_drop(&s->lock);
        return -EOVERFLOW;
    }
    s->n += n;
    for (rm_sudog *who; s->n > 0 && (who = rm_waitq_claim(&s->q)); s->n--) collect(&w, who);
    rm_lock_drop(&s->lock);
    wake(&w);
    return 0;
}

/* ------------------------------------------------------------------ event, waitgroup ---- */

static void claim_all(rm_waitq *q, woken *w) {
    for (rm_sudog *s; (s = rm_waitq_claim(q));) collect(w, s);
}

int rm_event_wait(rm_event *v, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (e) return e;
    rm_lock_take(&v->lock);
    if (!v->set) {
        wait_on w = {&v->lock, &v->q, RM_R_EVENT, v};
        rm_sudog s = {0};
        if ((e = wait_in(&w, &s, false, g, deadline)) == 0) return 0;
    }
    rm_lock_drop(&v->lock);
    return e;
}

void rm_event_set(rm_event *v) {
    woken w;
    NOBODY(w);
    rm_lock_take(&v->lock);
    v->set = true;
    claim_all(&v->q, &w);
    rm_lock_drop(&v->lock);
    wake(&w);
}

void rm_event_clear(rm_event *v) {
    rm_lock_take(&v->lock);
    v->set = false;
    rm_lock_drop(&v->lock);
}

int rm_waitgroup_add(rm_waitgroup *g, int64_t n) {
    woken w;
    NOBODY(w);
    rm_lock_take(&g->lock);
    if ((n < 0 && g->n + n < 0) || (n > 0 && g->n > INT64_MAX - n)) {
        rm_lock_drop(&g->lock);
        return -EINVAL;
    }
    g->n += n;
    if (g->n == 0) claim_all(&g->q, &w);
    rm_lock_drop(&g->lock);
    wake(&w);
    return 0;
}

int rm_waitgroup_wait(rm_waitgroup *wg, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (e) return e;
    rm_lock_take(&wg->lock);
    if (wg->n) {
        wait_on w = {&wg->lock, &wg->q, RM_R_WAITGROUP, wg};
        rm_sudog s = {0};
        if ((e = wait_in(&w, &s, false, g, deadline)) == 0) return 0;
    }
    rm_lock_drop(&wg->lock);
    return e;
}
