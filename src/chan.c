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

int rm_chan_wait(rm_chan *c, rm_g *g, void *elem, bool sending, int64_t deadline) {
    if (deadline == RAMET_POLL) {
        rm_lock_drop(&c->lock);
        return -EAGAIN;
    }
    rm_waitq *q = sending ? &c->sendq : &c->recvq;
    rm_sudog s;
    s.elem = elem;
    s.index = 0;
    int e = rm_wait_in(q, &s, false, g, sending ? RM_R_CHAN_SEND : RM_R_CHAN_RECV, c, deadline, &c->lock);
    if (rm_likely(e == 0)) return s.ok ? 0 : -EPIPE;
    rm_lock_drop(&c->lock);
    return e;
}

static rm_noinline int nil_chan(rm_g *g, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (e) return e;
    if (deadline == RAMET_POLL) return -EAGAIN;
    rm_wait_open(g);
    return rm_park(g, RM_R_CHAN_NIL, NULL, deadline, NULL, NULL);
}

rm_inline int chan_send(rm_chan *c, rm_g *g, const void *elem, size_t size, int64_t deadline) {
    if (rm_unlikely(!c)) return nil_chan(g, deadline);
    int e = rm_chan_try_send(c, g, elem, size, deadline);
    return rm_likely(e != -EAGAIN) ? e : rm_chan_wait(c, g, (void *)elem, true, deadline);
}

rm_inline int chan_recv(rm_chan *c, rm_g *g, void *elem, size_t size, int64_t deadline) {
    if (rm_unlikely(!c)) return nil_chan(g, deadline);
    int e = rm_chan_try_recv(c, g, elem, size, deadline);
    if (e == -EAGAIN) e = rm_chan_wait(c, g, elem, false, deadline);
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
