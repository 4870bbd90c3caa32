/* blocking.h: the elastic pool of threads for calls that block. See blocking.c. */
#ifndef RM_BLOCKING_H
#define RM_BLOCKING_H

#include "park.h"

/* A call on its way. Made by the caller, freed by `done`, which runs on the proc after the work is
 * finished, also when the goroutine that asked has been cancelled and gone. */
typedef struct rm_job {
    rm_post post;                 /* link in the queue, then in the proc's inbox */
    void (*work)(struct rm_job *); /* on a pool thread, without the owner lock; set to NULL, with
                                      `done` called all the same, if the pool ended before its turn
                                      came */
    void (*done)(rm_p *p, struct rm_job *); /* on the proc's loop */
    rm_p *p;
} rm_job;

int rm_pool_init(rm_rt *rt, unsigned max_threads);
unsigned rm_pool_max(rm_rt *rt);
void rm_pool_set_max(rm_rt *rt, unsigned n);
/* Stop: threads end after their current call; waits at most `ns` for them. -ETIMEDOUT if some
 * are left (the pool's memory then stays). In a forked child (child_of_fork) no thread is left:
 * just forget them. */
int rm_pool_fini(rm_rt *rt, int64_t ns, bool child_of_fork);
/* Queue a job (p, work and done set). Never waits. 0, or -EAGAIN when no thread can be had and
 * none exists. Owner of the proc. */
int rm_pool_submit(rm_rt *rt, rm_job *job);
/* Jobs that have not reported back. */
uint32_t rm_pool_inflight(const rm_rt *rt);
void rm_pool_stats(const rm_rt *rt, ramet_stats *out);

/* Run fn(arg) on the pool and park g: as ramet_blocking. A foreign thread's g just calls fn, the
 * owner lock given up. */
int rm_blocking(rm_rt *rt, rm_g *g, void *(*fn)(void *), void *arg, void **result);
/* The same with a deadline (-ETIMEDOUT, and fn goes on) and an owner for arg: after 0 it is the
 * caller's; after an error drop(arg) has been called, or will be, on the proc, when fn has ended
 * or will never begin. */
int rm_blocking_until(rm_rt *rt, rm_g *g, void *(*fn)(void *), void *arg, void **result, int64_t deadline,
                      void (*drop)(void *arg));

/* How long an idle thread stays, ns: RM_POOL_TTL_NS; tests shorten it. */
extern int64_t rm_pool_ttl;

#endif
