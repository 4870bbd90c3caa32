/* stack.h: where goroutines' stacks come from. See stack.c. */
#ifndef RM_STACK_H
#define RM_STACK_H

#include "g.h"

typedef struct rm_stacks { /* one a runtime */
    size_t slot;           /* bytes from one slot to the next, guard included */
    size_t guard;          /* bytes of it that are guard; the lowest RM_RED_BYTES are never opened */
    rm_lock lock;          /* of everything below but the magazine */
    rm_g *magazine[2 * RM_MAGAZINE]; /* free, warm, newest last; owner proc only */
    uint32_t magazine_n;
    rm_g **depot;          /* free, warm; shared */
    uint32_t depot_n;
    rm_g **cold;           /* free, trimmed: all but the top page given back */
    uint32_t cold_n;
    uint64_t room;         /* of depot and cold each: for every slot carved, so that a free cannot fail */
    char *carve, *carve_end; /* the part of the newest slab that was never used */
    rm_list slabs;
    uint64_t carved;
    int guard_how;         /* 0: not probed; 1: MADV_GUARD_INSTALL; 2: mprotect; 3: canary only */
    uint32_t mprotect_left;
} rm_stacks;

int rm_stacks_init(rm_stacks *s, size_t slot, size_t guard);
void rm_stacks_fini(rm_stacks *s); /* unmaps all: nothing may run on them any more */

/* A slot, its G not initialised but for lo and what sanitizers keep; NULL when out of memory. `owner`: the
 * caller runs on the owning proc or under the owner lock, so that the magazine may be used. */
rm_g *rm_stack_alloc(rm_stacks *s, bool owner);
void rm_stack_free(rm_stacks *s, rm_g *g, bool owner);

/* The end of g's stack is its control block. */
rm_inline void *rm_stack_top(rm_g *g) { return g; }

/* Call fn for the control block of every slot ever carved, until it returns false. */
void rm_stacks_each(rm_stacks *s, bool (*fn)(rm_g *g, void *arg), void *arg);

/* Whether addr lies in the guard below g's stack. Async-signal-safe. */
bool rm_stack_in_guard(const rm_stacks *s, const rm_g *g, const void *addr);
/* Open the uppermost `bytes` of the guard, at most all but its red page, so that the stack can grow
 * into it; close it again. Async-signal-safe. */
int rm_stack_open_guard(const rm_stacks *s, rm_g *g, size_t bytes);
int rm_stack_close_guard(const rm_stacks *s, rm_g *g);

/* Give memory of free stacks back, at most n of them; how many were. Any thread. */
int rm_stacks_trim(rm_stacks *s, int n);

/* Canary mode: abort with a message if g has run over its stack. */
void rm_stack_check(const rm_stacks *s, const rm_g *g);

#endif
