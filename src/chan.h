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

/* The element at distance i from the oldest. */
rm_inline void *rm_chan_slot(const rm_chan *c, uint32_t i) {
    uint32_t k = c->head + i;
    if (k >= c->cap) k -= c->cap;
    return c->buf + (size_t)k * c->elem;
}

/* For select.c, under the lock: do the case if it can be done now; *wake is then to be readied after the
 * lock is dropped. 1: done (s->ok set); 0: cannot. */
int rm_chan_try_send_locked(rm_chan *c, const void *elem, rm_g **wake, bool *closed);
int rm_chan_try_recv_locked(rm_chan *c, void *elem, rm_g **wake, bool *ok);

#endif
