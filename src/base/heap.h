/* heap.h: a 4-ary min-heap of {when, node}; a node's place is known, so removal is real and O(log n).
 *
 * The keys stand in the array (Go's time.go). So do the places: a node only keeps the number under which its place is
 * found, and sifting touches none of the nodes, which stand far apart, on stacks that nobody has touched for long. */
#ifndef RM_HEAP_H
#define RM_HEAP_H

#include "base/base.h"

typedef struct rm_heap_node {
    uint32_t id; /* 1-based number in this heap; 0: not in it */
} rm_heap_node;

typedef struct rm_heap_slot {
    int64_t when;
    uint32_t id;   /* 0-based */
    uint32_t note; /* of the heap's user */
} rm_heap_slot;

typedef struct rm_heap {
    rm_heap_slot *slots;  /* slots[0 .. n-1] */
    rm_heap_node **nodes; /* by id */
    uint32_t *places;     /* by id; of a free id: the next free one */
    uint32_t n, cap;
    uint32_t ids, free_id; /* how many have been given out; the first free one, or `ids` */
} rm_heap;

rm_inline void rm_heap_put(rm_heap *h, uint32_t i, rm_heap_slot s) {
    h->slots[i] = s;
    h->places[s.id] = i;
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
    /* one piece of memory for all three */
    rm_heap_slot *slots = rm_malloc(cap * (sizeof *slots + sizeof *h->nodes + sizeof *h->places));
    if (!slots) return -ENOMEM;
    rm_heap_node **nodes = (rm_heap_node **)(slots + cap);
    uint32_t *places = (uint32_t *)(nodes + cap);
    if (h->ids) {
        memcpy(slots, h->slots, h->n * sizeof *slots);
        memcpy(nodes, h->nodes, h->ids * sizeof *nodes);
        memcpy(places, h->places, h->ids * sizeof *places);
    }
    free(h->slots);
    h->slots = slots;
    h->nodes = nodes;
    h->places = places;
    h->cap = cap;
    return 0;
}

static inline void rm_heap_fini(rm_heap *h) {
    free(h->slots);
    memset(h, 0, sizeof *h);
}

static inline int rm_heap_insert(rm_heap *h, rm_heap_node *node, int64_t when, uint32_t note) {
    rm_assert(node->id == 0);
    if (rm_unlikely(h->n == h->cap)) {
        int e = rm_heap_reserve(h, h->n + 1);
        if (e) return e;
    }
    uint32_t id = h->free_id;
    if (id == h->ids) h->free_id = ++h->ids;
    else h->free_id = h->places[id];
    h->nodes[id] = node;
    node->id = id + 1;
    rm_heap_up(h, h->n++, (rm_heap_slot){when, id, note});
    return 0;
}

static inline void rm_heap_remove(rm_heap *h, rm_heap_node *node) {
    uint32_t id = node->id - 1;
    rm_assert(node->id && id < h->ids && h->nodes[id] == node);
    uint32_t i = h->places[id];
    rm_heap_slot last = h->slots[--h->n];
    node->id = 0;
    h->places[id] = h->free_id;
    h->free_id = id;
    if (i == h->n) return;
    if (i > 0 && last.when < h->slots[(i - 1) / 4].when) rm_heap_up(h, i, last);
    else rm_heap_down(h, i, last);
}

rm_inline rm_heap_node *rm_heap_first(const rm_heap *h) { return h->nodes[h->slots[0].id]; }

#endif
