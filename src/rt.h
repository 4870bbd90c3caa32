/* rt.h: the life of a runtime. See rt.c. */
#ifndef RM_RT_H
#define RM_RT_H

#include "park.h"

/* Make the calling thread the proc of a new runtime, its own stack being goroutine 1 (or, with `hosted`, a
 * system goroutine). guard: bytes below each stack. 0, -ENOMEM, -EINVAL. */
typedef struct rm_rt_config {
    size_t stack_size, guard;
    unsigned max_threads;
    uint64_t seed;
    rm_hooks hooks;
    void *embedder;
    bool quiet, hosted;
} rm_rt_config;
int rm_rt_new(const rm_rt_config *config, rm_rt **out);

/* From main's G, when nothing else is to run: stop all threads, free everything. Goroutines that are still
 * alive are dropped where they stand. */
void rm_rt_free(rm_rt *rt);

/* In a forked child: forget every other goroutine and thread; the caller becomes main. 0 or -errno. */
int rm_rt_forked(rm_rt *rt);
/* The same in a child that another thread has forked: the runtime is left where it stands, and nobody in it is woken. */
void rm_rt_abandon(rm_rt *rt);

#endif
