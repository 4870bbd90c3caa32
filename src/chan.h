/* chan.h: channels. See chan.c for the invariants. */
#ifndef RM_CHAN_H
#define RM_CHAN_H

#include "park.h"

typedef struct rm_chan {
    rm_lock lock;       /* of all below. Under it no G is readied and nothing is called */
    bool closed;
    uint32_t elem;      /* bytes of an element */
    uint32_t cap, n;    /* of the buffer */
    uint32_t head;      /* index of the oldest */
    uint32_t users;     /* operations of foreign threads under way (C face) */
    rm_waitq recvq, sendq;
    char *buf;
    rm_rt *rt;
} rm_chan;

void rm_chan_init(rm_chan *c, rm_rt *rt, uint32_t elem, uint32_t cap, void *buf);

/* As ramet_chan_send and _recv of ramet.h; `g` is the caller; c may be NULL. RAMET_POLL: never waits. */
int rm_chan_send(rm_chan *c, rm_g *g, const void *elem, int64_t deadline);
int rm_chan_recv(rm_chan *c, rm_g *g, void *elem, int64_t deadline);
/* The same for channels of words. */
int rm_chan_send_word(rm_chan *c, rm_g *g, uintptr_t word, int64_t deadline);
int rm_chan_recv_word(rm_chan *c, rm_g *g, uintptr_t *word, int64_t deadline);
int rm_chan_close(rm_chan *c);

/* The element at distance i from the oldest; `size` is c->elem. */
rm_inline void *rm_chan_slot(const rm_chan *c, uint32_t i, size_t size) {
    uint32_t k = c->head + i;
    if (k >= c->cap) k -= c->cap;
    return c->buf + k * size;
}

/* `size` is a constant where it is a word's: then this is a move. */
rm_inline void rm_chan_copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

/* ---- under the lock: do it if it can be done now; *wake (NULL: nobody) is then to be readied after the lock is
 * dropped. The channel is open. ---- */

rm_inline bool rm_chan_put(rm_chan *c, const void *elem, size_t size, rm_g **wake) {
    rm_sudog *s = rm_waitq_claim(&c->recvq);
    if (s) {
        if (s->elem) rm_chan_copy(s->elem, elem, size);
        s->ok = true;
        s->g->wake_sudog = s;
        *wake = s->g;
        return true;
    }
    if (c->n == c->cap) return false;
    rm_chan_copy(rm_chan_slot(c, c->n, size), elem, size);
    c->n++;
    *wake = NULL;
    return true;
}

rm_inline bool rm_chan_take(rm_chan *c, void *elem, size_t size, rm_g **wake) {
    rm_sudog *s;
    *wake = NULL;
    if (c->n) {
        void *slot = rm_chan_slot(c, 0, size);
        if (elem) rm_chan_copy(elem, slot, size);
        if (++c->head == c->cap) c->head = 0;
        c->n--;
        if (rm_likely(!c->sendq.first) || !(s = rm_waitq_claim(&c->sendq))) return true;
        rm_chan_copy(rm_chan_slot(c, c->n, size), s->elem, size); /* the longest waiting sender takes the place */
        c->n++;
    } else {
        if (!(s = rm_waitq_claim(&c->sendq))) return false;
        if (elem) rm_chan_copy(elem, s->elem, size);
    }
    s->ok = true;
    s->g->wake_sudog = s;
    *wake = s->g;
    return true;
}

/* ---- the two halves of an operation: try (deadline: of the whole), and if that says -EAGAIN, wait. The lock is held between them. Inline, so
 * that what need not wait is one function, and what waits leaves one frame, the same for both directions: two
 * goroutines that talk then return to the same addresses, which the processor predicts. ---- */

rm_inline int rm_chan_try_send(rm_chan *c, rm_g *g, const void *elem, size_t size, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (rm_unlikely(e)) return e;
    rm_lock_take(&c->lock);
    if (rm_unlikely(c->closed)) {
        rm_lock_drop(&c->lock);
        return -EPIPE;
    }
    rm_g *woken;
    if (rm_unlikely(!rm_chan_put(c, elem, size, &woken))) return -EAGAIN;
    rm_lock_drop(&c->lock);
    if (woken) rm_ready(woken);
    return 0;
}

rm_inline int rm_chan_try_recv(rm_chan *c, rm_g *g, void *elem, size_t size, int64_t deadline) {
    int e = rm_check_cancel_before(g, deadline);
    if (rm_unlikely(e)) return e;
    rm_lock_take(&c->lock);
    rm_g *woken;
    if (rm_unlikely(!rm_chan_take(c, elem, size, &woken))) {
        if (!c->closed) return -EAGAIN;
        rm_lock_drop(&c->lock);
        return -EPIPE;
    }
    rm_lock_drop(&c->lock);
    if (woken) rm_ready(woken);
    return 0;
}

/* The wait, and the end of the operation; -EAGAIN for RAMET_POLL. (nonnull: c->lock needs no test then, and the
 * function has one call of rm_park.) */
__attribute__((nonnull(1))) int rm_chan_wait(rm_chan *c, rm_g *g, void *elem, bool sending, int64_t deadline);

#endif
