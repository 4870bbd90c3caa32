/* chan.c: Go's channels.
 *
 * Invariants (Go's chan.go), under c->lock:
 *   - at least one of recvq and sendq has no waiter that can still be claimed (a select that waits
 *     in both directions of one channel stands in both);
 *   - n > 0 implies that recvq has none; n < cap implies that sendq has none;
 *   - a closed channel has no waiter.
 * Waiters whose wait was ended otherwise (deadline, cancellation, another case) may stand in a queue until
 * they have run and taken themselves off; rm_waitq_claim skips them.
 *
 * A value goes straight from sender to receiver where one waits: into the memory that the waiter's sudog
 * names. Whoever hands over keeps running; the other is made runnable, after the lock is dropped: rm_ready may
 * take other locks, and a woken goroutine must not find this one held.
 *
 * Nothing here frees or counts references: a value moves from place to place whole. */
#include "chan.h"

void rm_chan_init(rm_chan *c, rm_rt *rt, uint32_t elem, uint32_t cap, void *buf) {
    memset(c, 0, sizeof *c);
    c->rt = rt;
    c->elem = elem;
    c->cap = cap;
    c->buf = buf;
}

/* `size` is a constant where it is a word's: then this is a move. */
rm_inline void copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

rm_inline bool try_send(rm_chan *c, const void *elem, size_t size, rm_g **wake) {
    rm_sudog *s = rm_waitq_claim(&c->recvq);
    if (s) {
        if (s->elem) copy(s->elem, elem, size);
        s->ok = true;
        s->g->wake_sudog = s;
        *wake = s->g;
        return true;
    }
    if (c->n == c->cap) return false;
    copy(rm_chan_slot(c, c->n), elem, size);
    c->n++;
    *wake = NULL;
    return true;
}

/* A value, if there is one. */
rm_inline bool try_recv(rm_chan *c, void *elem, size_t size, rm_g **wake) {
    rm_sudog *s;
    *wake = NULL;
    if (c->n) {
        void *slot = rm_chan_slot(c, 0);
        if (elem) copy(elem, slot, size);
        if (++c->head == c->cap) c->head = 0;
        c->n--;
        if (c->sendq.first && (s = rm_waitq_claim(&c->sendq))) { /* the longest waiting sender takes the place */
            copy(rm_chan_slot(c, c->n), s->elem, size);
            c->n++;
        } else {
            return true;
        }
    } else {
        if (!(s = rm_waitq_claim(&c->sendq))) return false;
        if (elem) copy(elem, s->elem, size);
    }
    s->ok = true;
    s->g->wake_sudog = s;
    *wake = s->g;
    return true;
}

static void unlock_chan(rm_g *g, void *c) {
    (void)g;
    rm_lock_drop(&((rm_chan *)c)->lock);
}

/* Wait on q for a peer. The lock is held. */
static rm_noinline int wait(rm_chan *c, rm_waitq *q, rm_g *g, void *elem, rm_reason reason, int64_t deadline) {
    rm_sudog s;
    s.g = g;
    s.elem = elem;
    s.obj = c;
    s.index = 0;
    s.ok = false;
    rm_wait_open(g);
    rm_waitq_push(q, &s);
    int e = rm_park(g, reason, c, deadline, unlock_chan, c);
    if (rm_likely(e == 0)) return s.ok ? 0 : -EPIPE;
    rm_lock_take(&c->lock);
    if (s.queued) rm_waitq_remove(q, &s);
    rm_lock_drop(&c->lock);
    return e;
}

static rm_noinline int nil_chan(rm_g *g, int64_t deadline) {
    if (deadline == RAMET_POLL) return -EAGAIN;
    rm_wait_open(g);
    return rm_park(g, RM_R_CHAN_NIL, NULL, deadline, NULL, NULL);
}

rm_inline int chan_send(rm_chan *c, rm_g *g, const void *elem, size_t size, int64_t deadline) {
    int e = rm_check_cancel(g);
    if (rm_unlikely(e)) return e;
    if (rm_unlikely(!c)) return nil_chan(g, deadline);
    rm_lock_take(&c->lock);
    if (rm_unlikely(c->closed)) {
        rm_lock_drop(&c->lock);
        return -EPIPE;
    }
    rm_g *woken;
    if (rm_likely(try_send(c, elem, size, &woken))) {
        rm_lock_drop(&c->lock);
        if (woken) rm_ready(woken);
        return 0;
    }
    if (deadline == RAMET_POLL) {
        rm_lock_drop(&c->lock);
        return -EAGAIN;
    }
    return wait(c, &c->sendq, g, (void *)elem, RM_R_CHAN_SEND, deadline);
}

rm_inline int chan_recv(rm_chan *c, rm_g *g, void *elem, size_t size, int64_t deadline) {
    int e = rm_check_cancel(g);
    if (rm_unlikely(e)) return e;
    if (rm_unlikely(!c)) return nil_chan(g, deadline);
    rm_lock_take(&c->lock);
    rm_g *woken;
    if (rm_likely(try_recv(c, elem, size, &woken))) {
        rm_lock_drop(&c->lock);
        if (woken) rm_ready(woken);
        return 0;
    }
    if (rm_unlikely(c->closed)) {
        rm_lock_drop(&c->lock);
        e = -EPIPE;
    } else if (deadline == RAMET_POLL) {
        rm_lock_drop(&c->lock);
        return -EAGAIN;
    } else {
        e = wait(c, &c->recvq, g, elem, RM_R_CHAN_RECV, deadline);
    }
    if (rm_unlikely(e == -EPIPE) && elem) memset(elem, 0, size);
    return e;
}

int rm_chan_send(rm_chan *c, rm_g *g, const void *elem, int64_t deadline) {
    if (rm_likely(c && c->elem == sizeof(uintptr_t))) return chan_send(c, g, elem, sizeof(uintptr_t), deadline);
    return chan_send(c, g, elem, c ? c->elem : 0, deadline);
}

int rm_chan_recv(rm_chan *c, rm_g *g, void *elem, int64_t deadline) {
    if (rm_likely(c && c->elem == sizeof(uintptr_t))) return chan_recv(c, g, elem, sizeof(uintptr_t), deadline);
    return chan_recv(c, g, elem, c ? c->elem : 0, deadline);
}

int rm_chan_send_word(rm_chan *c, rm_g *g, uintptr_t word, int64_t deadline) {
    return chan_send(c, g, &word, sizeof word, deadline);
}

int rm_chan_recv_word(rm_chan *c, rm_g *g, uintptr_t *word, int64_t deadline) {
    return chan_recv(c, g, word, sizeof *word, deadline);
}

int rm_chan_close(rm_chan *c) {
    rm_sudog *woken = NULL, **at = &woken, *s;
    if (!c) return -EINVAL;
    rm_lock_take(&c->lock);
    if (c->closed) {
        rm_lock_drop(&c->lock);
        return -EPIPE;
    }
    c->closed = true;
    for (;;) {
        if ((s = rm_waitq_claim(&c->recvq))) {
            if (s->elem) memset(s->elem, 0, c->elem); /* here: whoever is woken may find the channel freed */
        } else if (!(s = rm_waitq_claim(&c->sendq))) {
            break;
        }
        s->ok = false;
        s->g->wake_sudog = s;
        *at = s;
        at = &s->next;
    }
    *at = NULL;
    rm_lock_drop(&c->lock);
    while (woken) {
        rm_g *g = woken->g;
        woken = woken->next; /* the sudog is gone once its goroutine runs */
        rm_ready_tail(g->p, g);
    }
    return 0;
}

int rm_chan_try_send_locked(rm_chan *c, const void *elem, rm_g **wake, bool *closed) {
    *wake = NULL;
    *closed = c->closed;
    if (c->closed) return 1;
    return c->elem == sizeof(uintptr_t) ? try_send(c, elem, sizeof(uintptr_t), wake) : try_send(c, elem, c->elem, wake);
}

int rm_chan_try_recv_locked(rm_chan *c, void *elem, rm_g **wake, bool *ok) {
    *ok = c->elem == sizeof(uintptr_t) ? try_recv(c, elem, sizeof(uintptr_t), wake) : try_recv(c, elem, c->elem, wake);
    if (*ok) return 1;
    if (!c->closed) return 0;
    if (elem) memset(elem, 0, c->elem);
    return 1;
}
