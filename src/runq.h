/* runq.h: a proc's queue of runnable goroutines: strictly first in, first out.
 *
 * A ring of RM_RUNQ_SIZE (Go's: the owner pushes at the tail with a release store; in locked mode
 * whoever pops moves the head by compare and swap, so that thieves can be added) and behind it a growing
 * ring of those that do not fit. Invariant: everything in `over` was pushed after everything in the
 * first ring. Only the owner touches tail and over.
 *
 * A push cannot fail: rm_runq_reserve, called where a goroutine is made, keeps room for all there are. Links
 * through the goroutines would need no room, but a cache miss each way for every one. */
#ifndef RM_RUNQ_H
#define RM_RUNQ_H

#include "g.h"

typedef struct rm_runq {
    uint32_t head, tail;
    uint32_t over_head, over_tail, over_cap; /* over_cap is a power of two, or 0 */
    rm_g **over;
    rm_g *ring[RM_RUNQ_SIZE];
} rm_runq;

rm_inline bool rm_runq_empty(const rm_runq *q) { return q->head == q->tail && q->over_head == q->over_tail; }

rm_inline uint32_t rm_runq_length(const rm_runq *q) { return q->tail - q->head + q->over_tail - q->over_head; }

/* Make room for n goroutines beyond the first ring. 0 or -ENOMEM. Owner only. */
static inline int rm_runq_reserve(rm_runq *q, uint32_t n) {
    if (rm_likely(n <= q->over_cap)) return 0;
    uint32_t cap = q->over_cap ? q->over_cap : RM_RUNQ_SIZE, kept = q->over_tail - q->over_head;
    while (cap < n) cap *= 2;
    rm_g **over = rm_malloc(cap * sizeof *over);
    if (!over) return -ENOMEM;
    for (uint32_t i = 0; i < kept; i++) over[i] = q->over[(q->over_head + i) & (q->over_cap - 1)];
    free(q->over);
    q->over = over;
    q->over_cap = cap;
    q->over_head = 0;
    q->over_tail = kept;
    return 0;
}

rm_inline void rm_runq_push(rm_runq *q, rm_g *g) {
    if (rm_likely(q->over_head == q->over_tail && q->tail - rm_load_acq(&q->head) < RM_RUNQ_SIZE)) {
        q->ring[q->tail % RM_RUNQ_SIZE] = g;
        rm_store_rel(&q->tail, q->tail + 1);
        return;
    }
    rm_assert(q->over_tail - q->over_head < q->over_cap);
    q->over[q->over_tail++ & (q->over_cap - 1)] = g;
}

static inline void rm_runq_refill(rm_runq *q) { /* the ring is empty: move the older ones in */
    uint32_t n = q->over_tail - q->over_head;
    if (n > RM_RUNQ_SIZE) n = RM_RUNQ_SIZE;
    for (uint32_t i = 0; i < n; i++)
        q->ring[(q->tail + i) % RM_RUNQ_SIZE] = q->over[q->over_head++ & (q->over_cap - 1)];
    rm_store_rel(&q->tail, q->tail + n);
}

/* With many goroutines ready, what the next ones need has left the caches: fetch the control block of the one
 * after next, and, its own having come meanwhile, the top of the next one's stack. */
rm_inline void rm_runq_ahead(const rm_runq *q) {
    uint32_t n = q->tail - q->head;
    if (rm_likely(n < RM_RUNQ_SIZE / 8)) return;
    const char *far = (const char *)q->ring[(q->head + 2) % RM_RUNQ_SIZE];
    const rm_g *near = q->ring[q->head % RM_RUNQ_SIZE];
    for (size_t i = 0; i < sizeof(rm_g); i += 64) __builtin_prefetch(far + i);
    for (int i = 0; i < 6; i++) __builtin_prefetch((const char *)near->sp + 64 * i);
#ifdef RM_EMBED_PREFETCH
    RM_EMBED_PREFETCH(near);
#endif
}

rm_inline rm_g *rm_runq_pop(rm_runq *q) {
    if (rm_unlikely(q->head == q->tail)) {
        if (rm_likely(q->over_head == q->over_tail)) return NULL;
        rm_runq_refill(q);
    }
    rm_g *g;
    if (!rm_locked()) {
        g = q->ring[q->head++ % RM_RUNQ_SIZE];
    } else {
        for (;;) {
            uint32_t head = rm_load_acq(&q->head);
            if (head == q->tail) return NULL;
            g = q->ring[head % RM_RUNQ_SIZE];
            if (rm_cas(&q->head, head, head + 1)) break;
        }
    }
    rm_runq_ahead(q);
    return g;
}

static inline void rm_runq_fini(rm_runq *q) {
    free(q->over);
    q->over = NULL;
    q->over_cap = q->over_head = q->over_tail = q->head = q->tail = 0;
}

#endif
