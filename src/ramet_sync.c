/* ramet_sync.c: mutexes and their kin of the C face: finds the caller's goroutine and calls down. */
#include "face.h"
#include "waitq.h"

#define FITS(mine, theirs)                                                                                             \
    _Static_assert(sizeof(mine) <= sizeof(theirs) && _Alignof(mine) <= _Alignof(theirs), #theirs " is too small")
FITS(rm_mutex, ramet_mutex);
FITS(rm_rwmutex, ramet_rwmutex);
FITS(rm_cond, ramet_cond);
FITS(rm_sem, ramet_sem);
FITS(rm_event, ramet_event);
FITS(rm_waitgroup, ramet_waitgroup);
typedef struct once {
    rm_mutex m;
    bool done;
} once;
FITS(once, ramet_once);

/* call: an expression in g, the caller */
#define WITH_CALLER(call)                                                                                              \
    do {                                                                                                               \
        rm_g *g = rm_face_enter();                                                                                     \
        if (rm_unlikely(!g)) return -EPERM;                                                                            \
        int e = (call);                                                                                                \
        rm_face_leave(g);                                                                                              \
        return e;                                                                                                      \
    } while (0)

int ramet_mutex_lock(ramet_mutex *m, int64_t deadline) { WITH_CALLER(rm_mutex_lock((rm_mutex *)m, g, deadline)); }
int ramet_mutex_unlock(ramet_mutex *m) { WITH_CALLER(rm_mutex_unlock((rm_mutex *)m)); }

int ramet_rwmutex_lock(ramet_rwmutex *m, int64_t deadline) {
    WITH_CALLER(rm_rwmutex_lock((rm_rwmutex *)m, g, deadline));
}
int ramet_rwmutex_rlock(ramet_rwmutex *m, int64_t deadline) {
    WITH_CALLER(rm_rwmutex_rlock((rm_rwmutex *)m, g, deadline));
}
int ramet_rwmutex_unlock(ramet_rwmutex *m) { WITH_CALLER(rm_rwmutex_unlock((rm_rwmutex *)m)); }
int ramet_rwmutex_runlock(ramet_rwmutex *m) { WITH_CALLER(rm_rwmutex_runlock((rm_rwmutex *)m)); }

static int cond_wait(rm_cond *c, rm_mutex *m, rm_g *g, int64_t deadline) {
    int e = rm_check_cancel(g);
    if (e) return e;
    rm_cond_waiter w;
    rm_cond_add(c, &w, g);
    if ((e = rm_mutex_unlock(m))) {
        rm_cond_drop(c, &w);
        return e;
    }
    e = rm_cond_wait(c, &w, deadline);
    int locked = rm_mutex_relock(m, g);
    return e ? e : locked;
}
int ramet_cond_wait(ramet_cond *c, ramet_mutex *m, int64_t deadline) {
    WITH_CALLER(cond_wait((rm_cond *)c, (rm_mutex *)m, g, deadline));
}
int ramet_cond_signal(ramet_cond *c) { WITH_CALLER((int)rm_cond_notify((rm_cond *)c, 1)); }
static int broadcast(rm_cond *c) {
    uint32_t n = rm_cond_notify(c, UINT32_MAX);
    return n > INT32_MAX ? INT32_MAX : (int)n;
}
int ramet_cond_broadcast(ramet_cond *c) { WITH_CALLER(broadcast((rm_cond *)c)); }

int ramet_sem_acquire(ramet_sem *s, int64_t deadline) { WITH_CALLER(rm_sem_acquire((rm_sem *)s, g, deadline)); }
int ramet_sem_release(ramet_sem *s, uint32_t n) { WITH_CALLER(rm_sem_release((rm_sem *)s, n)); }

int ramet_event_wait(ramet_event *v, int64_t deadline) { WITH_CALLER(rm_event_wait((rm_event *)v, g, deadline)); }
int ramet_event_set(ramet_event *v) { WITH_CALLER((rm_event_set((rm_event *)v), 0)); }
int ramet_event_clear(ramet_event *v) { WITH_CALLER((rm_event_clear((rm_event *)v), 0)); }

int ramet_waitgroup_add(ramet_waitgroup *w, int64_t n) { WITH_CALLER(rm_waitgroup_add((rm_waitgroup *)w, n)); }
int ramet_waitgroup_wait(ramet_waitgroup *w, int64_t deadline) {
    WITH_CALLER(rm_waitgroup_wait((rm_waitgroup *)w, g, deadline));
}

static int once_begin(once *o, rm_g *g) {
    int e = rm_mutex_lock(&o->m, g, RM_FOREVER);
    if (e) return e;
    if (!o->done) return 1;
    rm_mutex_unlock(&o->m);
    return 0;
}
static int once_end(once *o) {
    rm_store_rel(&o->done, true);
    return rm_mutex_unlock(&o->m);
}
static int once_enter(once *o) { WITH_CALLER(once_begin(o, g)); }
static int once_leave(once *o) { WITH_CALLER(((void)g, once_end(o))); }

int ramet_once_do(ramet_once *opaque, void (*fn)(void *arg), void *arg) {
    once *o = (once *)opaque;
    if (!fn) return -EINVAL;
    if (rm_load_acq(&o->done)) return 0;
    int e = once_enter(o);
    if (e <= 0) return e;
    fn(arg); /* may park: nothing of the runtime's is held but the mutex */
    return once_leave(o);
}
