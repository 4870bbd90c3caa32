/* owner.c: the owner lock: what Python's GIL is to the extension, for the C library in serialised mode.
 *
 * The proc holds it while it runs goroutines. A foreign thread that wants a turn counts itself in
 * `want` and asks for the proc's attention; the loop then offers: it lets go and takes the lock back after
 * at least one turn. So a foreign call waits for one switch of the proc, and the proc is not starved:
 * `turn` counts the turns taken. */
#include "owner.h"

#include <pthread.h>

typedef struct rm_owner {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    bool held, proc_waits;
    uint32_t want; /* atomic for reading */
    uint64_t turn;
} rm_owner;

int rm_owner_new(rm_rt *rt) {
    rm_owner *o = rm_calloc(1, sizeof *o);
    if (!o) return -ENOMEM;
    pthread_mutex_init(&o->mutex, NULL);
    pthread_cond_init(&o->freed, NULL);
    o->held = true;
    rt->owner = (struct rm_owner *)o;
    return 0;
}

void rm_owner_free(rm_rt *rt) {
    rm_owner *o = (rm_owner *)rt->owner;
    if (!o) return;
    pthread_mutex_destroy(&o->mutex);
    pthread_cond_destroy(&o->freed);
    free(o);
    rt->owner = NULL;
}

void rm_owner_idle_enter(rm_rt *rt) {
    rm_owner *o = (rm_owner *)rt->owner;
    pthread_mutex_lock(&o->mutex);
    o->held = false;
    if (o->want) pthread_cond_broadcast(&o->freed);
    pthread_mutex_unlock(&o->mutex);
}

void rm_owner_idle_leave(rm_rt *rt) {
    rm_owner *o = (rm_owner *)rt->owner;
    pthread_mutex_lock(&o->mutex);
    o->proc_waits = true;
    while (o->held) pthread_cond_wait(&o->freed, &o->mutex);
    o->proc_waits = false;
    o->held = true;
    pthread_mutex_unlock(&o->mutex);
}

void rm_owner_offer(rm_rt *rt) {
    rm_owner *o = (rm_owner *)rt->owner;
    if (!rm_load(&o->want)) return;
    pthread_mutex_lock(&o->mutex);
    uint64_t turn = o->turn;
    o->held = false;
    o->proc_waits = false;
    pthread_cond_broadcast(&o->freed);
    while (o->held || (o->turn == turn && o->want)) pthread_cond_wait(&o->freed, &o->mutex);
    o->held = true;
    pthread_mutex_unlock(&o->mutex);
}

void rm_owner_take(rm_rt *rt) {
    rm_owner *o = (rm_owner *)rt->owner;
    pthread_mutex_lock(&o->mutex);
    rm_store(&o->want, o->want + 1);
    rm_attend(&rt->p);
    while (o->held || o->proc_waits) {
        rm_attend(&rt->p); /* it may have been looked at before we counted */
        pthread_cond_wait(&o->freed, &o->mutex);
    }
    rm_store(&o->want, o->want - 1);
    o->turn++;
    o->held = true;
    pthread_mutex_unlock(&o->mutex);
}

void rm_owner_drop(rm_rt *rt) {
    rm_owner *o = (rm_owner *)rt->owner;
    pthread_mutex_lock(&o->mutex);
    o->held = false;
    pthread_cond_broadcast(&o->freed);
    pthread_mutex_unlock(&o->mutex);
}
