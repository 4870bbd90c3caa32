/* heap.h: a 4-ary min-heap of {when, node}; the node knows its index, so removal is real and O(log n).
 *
 * The keys stand in the array, so that sifting touches no node but those that move (Go's time.go). */
#ifndef RM_HEAP_H
#define RM_HEAP_H

#include "base/base.h"

typedef struct rm_heap_node {
    uint32_t index; /* 1-based place in the heap; 0: not in it */
} rm_heap_node;

typedef struct rm_heap_slot {
    int64_t when;
    rm_heap_node *node;
} rm_heap_slot;

typedef struct rm_heap {
    rm_heap_slot *slots; /* slots[0 .. n-1] */
    uint32_t n, cap;
} rm_heap;

rm_inline void rm_heap_put(rm_heap *h, uint32_t i, rm_heap_slot s) {
    h->slots[i] = s;
    s.node->index = i + 1;
}

static inline void rm_heap_up(rm_heap *h, uint32_t i, rm_heap_slot s) {
    while (i > 0) {
        uint32_t parent = (i - 1) / 4;
        if (h->slots[parent].when <= s.when) break;
        rm_heap_put(h, i, h->slots[parent]);
        i = parent;
    }
    rm_heap_put(h, i, s);
}

static inline void rm_heap_down(rm_heap *h, uint32_t i, rm_heap_slot s) {
    for (;;) {
        uint32_t first = i * 4 + 1, best = first;
        if (first >= h->n) break;
        uint32_t end = first + 4 < h->n ? first + 4 : h->n;
        for (uint32_t k = first + 1; k < end; k++)
            if (h->slots[k].when < h->slots[best].when) best = k;
        if (h->slots[best].when >= s.when) break;
        rm_heap_put(h, i, h->slots[best]);
        i = best;
    }
    rm_heap_put(h, i, s);
}

/* Make room for n nodes in all. 0 or -ENOMEM. */
static inline int rm_heap_reserve(rm_heap *h, uint32_t n) {
    if (n <= h->cap) return 0;
    uint32_t cap = h->cap ? h->cap * 2 : 64;
    while (cap < n) cap *= 2;
    rm_heap_slot *slots = rm_malloc(cap * sizeof *slots);
    if (!slots) return -ENOMEM;
    if (h->n) memcpy(slots, h->slots, h->n * sizeof *slots);
    free(h->slots);
    h->slots = slots;
    h->cap = cap;
    return 0;
}

static inline int rm_heap_insert(rm_heap *h, rm_heap_node *node, int64_t when) {
    rm_assert(node->index == 0);
    if (rm_unlikely(h->n == h->cap)) {
        int e = rm_heap_reserve(h, h->n + 1);
        if (e) return e;
    }
    rm_heap_up(h, h->n++, (rm_heap_slot){when, node});
    return 0;
}

static inline void rm_heap_remove(rm_heap *h, rm_heap_node *node) {
    uint32_t i = node->index - 1;
    rm_assert(node->index && i < h->n && h->slots[i].node == node);
    rm_heap_slot last = h->slots[--h->n];
    node->index = 0;
    if (i == h->n) return;
    if (i > 0 && last.when < h->slots[(i - 1) / 4].when) rm_heap_up(h, i, last);
    else rm_heap_down(h, i, last);
}

#endif
