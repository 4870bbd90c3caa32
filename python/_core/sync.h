/* sync.h: what the files of ramet.sync's types share. */
#ifndef RAMET_SYNC_H
#define RAMET_SYNC_H

#include "core.h"
#include "waitq.h"

/* The calling goroutine for something that can be done at once, for which no runtime is started: NULL if there is nobody
 * whom a cancellation could concern. */
rm_inline rm_g *sync_peek(core_state *st) {
    rm_m *m = rm_tls;
    return rm_likely(m && m->rt == st->entry && m->p) ? m->p->cur : NULL;
}

/* Take the lock, if it is free and nothing is pending. */
rm_inline bool sync_take_free(core_state *st, rm_mutex *m) {
    rm_g *g = sync_peek(st);
    if (rm_unlikely(m->held || (g && g->cancel))) return false;
    m->held = true;
    return true;
}

/* None, or the exception for e. */
rm_inline PyObject *sync_done(core_state *st, rm_g *g, int e) {
    if (rm_likely(e == 0)) Py_RETURN_NONE;
    return core_raise(st, g, e);
}

/* (blocking=True, timeout=-1) of the standard locks -> a deadline. -1 with an exception. */
int sync_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline);
/* What acquire() says: True, False when the time is up, or an exception. */
PyObject *sync_acquired(core_state *st, rm_g *g, int e);

/* What Cond and the queues know from inside. */
typedef struct py_mutex {
    PyObject_HEAD rm_mutex m;
    core_state *st;
    PyObject *weakrefs;
} py_mutex;

typedef struct py_rlock {
    PyObject_HEAD rm_mutex m;
    /* who may lock it again, `count` times so far: a goroutine and its id; or NULL and an OS thread, of who runs on the
     * stack of one. In the child of a fork the thread still is who it was, whatever stands for it in a runtime. */
    rm_g *owner;
    uint64_t owner_id;
    unsigned long count;
    core_state *st;
    PyObject *weakrefs;
} py_rlock;

typedef struct py_cond {
    PyObject_HEAD rm_cond c;
    PyObject *lock;
    core_state *st;
    PyObject *weakrefs;
} py_cond;

/* For the constructor of a type without arguments: the state, or NULL with an exception. As object's: arguments are
 * for the __init__ of a subclass that has one. */
core_state *sync_no_args(PyTypeObject *type, PyObject *args, PyObject *kwargs, const char *name);
/* 1: notified; 0: the time is up; -1 with an exception. Its lock is held, and is again in every case. */
int sync_cond_wait(py_cond *cond, rm_g *g, int64_t deadline);

/* Of types that hold nothing but their part of the core. */
void sync_dealloc(PyObject *self);

/* Lines of a method table. */
#define FAST(name, fn, flags, doc) {name, (PyCFunction)(void (*)(void))fn, flags, doc}
#define FASTCALL_KW (METH_FASTCALL | METH_KEYWORDS)

#define SYNC_NEW(st, type, T)                                                                                          \
    T *self = (T *)(type)->tp_alloc(type, 0);                                                                          \
    if (!self) return NULL;                                                                                            \
    self->st = st

int sync_cond_init(PyObject *module, core_state *st);
int sync_queue_init(PyObject *module, core_state *st);
int sync_more_init(PyObject *module, core_state *st);

#endif
