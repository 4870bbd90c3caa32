/* sync_lock.c: ramet.sync's Mutex, RLock and RWMutex over waitq.c.
 *
 * A lock that is free is taken without a runtime: programs that only define locks start nothing. Mutex has no owner
 * (Go's, and threading.Lock's); RLock's is the goroutine, or the OS thread where it is none of ours. */
#include "sync.h"

#define TIMEOUT_MAX_SECONDS 9223372036.0 /* threading.TIMEOUT_MAX */

core_state *sync_no_args(PyTypeObject *type, PyObject *args, PyObject *kwargs, const char *name) {
    bool given = PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs));
    if (!given || type->tp_init != PyBaseObject_Type.tp_init) return core_of_type(type);
    PyErr_Format(PyExc_TypeError, "%s takes no arguments", name);
    return NULL;
}

static int no_args(const char *fn, Py_ssize_t nargs) {
    if (rm_likely(!nargs)) return 0;
    PyErr_Format(PyExc_TypeError, "%s takes no arguments", fn);
    return -1;
}

int sync_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline) {
    static const char *const names[] = {"blocking", "timeout"};
    PyObject *a[2];
    *deadline = RM_FOREVER;
    if (core_args("acquire", args, nargs, kwnames, names, 0, 2, a)) return -1;
    int blocking = a[0] ? PyObject_IsTrue(a[0]) : 1;
    if (blocking < 0) return -1;
    double timeout = -1;
    if (a[1] && a[1] != Py_None) { /* Semaphore's default */
        timeout = PyFloat_AsDouble(a[1]);
        if (timeout == -1 && PyErr_Occurred()) return -1;
    }
    if (!blocking) {
        *deadline = RAMET_POLL;
        if (timeout == -1) return 0;
        PyErr_SetString(PyExc_ValueError, "acquire: a timeout is for a blocking call");
        return -1;
    }
    if (timeout == -1) return 0;
    if (!(timeout >= 0)) {
        PyErr_SetString(PyExc_ValueError, "acquire: timeout must not be negative, but for -1: no limit");
        return -1;
    }
    if (timeout > TIMEOUT_MAX_SECONDS) {
        PyErr_SetString(PyExc_OverflowError, "acquire: timeout is too large");
        return -1;
    }
    *deadline = timeout == 0 ? RAMET_POLL : rm_after((int64_t)(timeout * 1e9));
    return 0;
}

PyObject *sync_acquired(core_state *st, rm_g *g, int e) {
    if (rm_likely(e == 0)) Py_RETURN_TRUE;
    if (e == -ETIMEDOUT || e == -EAGAIN) Py_RETURN_FALSE;
    return core_raise(st, g, e);
}

void sync_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_ClearWeakRefs(self);
    type->tp_free(self);
    Py_DECREF(type);
}

_Static_assert(offsetof(py_mutex, m) == sizeof(PyObject) && offsetof(py_rlock, m) == sizeof(PyObject), "sync_object");

/* ------------------------------------------------------------------ Mutex ---- */

static PyObject *mutex_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = sync_no_args(type, args, kwargs, "Mutex");
    if (!st) return NULL;
    SYNC_NEW(st, type, py_mutex);
    return (PyObject *)self;
}

static rm_noinline int mutex_take(core_state *st, rm_mutex *m, int64_t deadline, rm_g **g) {
    /* nobody can be waited for, and nothing is pending, where there is no runtime */
    if (deadline == RAMET_POLL && !sync_peek(st)) return sync_take_free(st, m) ? 0 : -EAGAIN;
    if (!(*g = core_enter(st))) return 1;
    return rm_mutex_lock(m, *g, deadline);
}

static rm_noinline PyObject *mutex_lock_slow(py_mutex *self, int64_t deadline) {
    rm_g *g = NULL;
    int e = mutex_take(self->st, &self->m, deadline, &g);
    return e == 1 ? NULL : sync_done(self->st, g, e == -EAGAIN ? -ETIMEDOUT : e);
}

PyDoc_STRVAR(mutex_lock_doc, "lock($self, timeout=None)\n--\n\nLock it, waiting while it is locked.\n\n"
                             "May park. Any thread. TimeoutError after `timeout` seconds; Cancelled.");
static PyObject *mutex_lock(py_mutex *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(nargs || kwnames) && core_timeout_arg("lock", args, nargs, kwnames, &deadline)) return NULL;
    if (rm_likely(sync_take_free(self->st, &self->m))) Py_RETURN_NONE;
    return mutex_lock_slow(self, deadline);
}

static PyObject *unlock(core_state *st, rm_mutex *m) {
    if (rm_unlikely(m->q.first && !st->entry) && fork_renew(st)) return NULL; /* nobody of the parent's is to get it */
    if (rm_likely(rm_mutex_unlock(m) == 0)) Py_RETURN_NONE;
    PyErr_SetString(st->PanicError, "unlock of an unlocked lock");
    return NULL;
}

PyDoc_STRVAR(mutex_unlock_doc, "unlock($self)\n--\n\nUnlock it; anybody may. PanicError (a RuntimeError) if it is not "
                               "locked. Never parks. Any thread.");
static PyObject *mutex_unlock(py_mutex *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args;
    if (rm_unlikely(no_args("unlock", nargs))) return NULL;
    return unlock(self->st, &self->m);
}

PyDoc_STRVAR(mutex_try_lock_doc, "try_lock($self)\n--\n\nLock it if that can be done at once: whether it was. Never "
                                 "parks. Any thread.");
static PyObject *mutex_try_lock(py_mutex *self, PyObject *u) {
    (void)u;
    rm_g *g = NULL;
    int e = mutex_take(self->st, &self->m, RAMET_POLL, &g);
    return e == 1 ? NULL : sync_acquired(self->st, g, e);
}

PyDoc_STRVAR(mutex_acquire_doc, "acquire($self, blocking=True, timeout=-1)\n--\n\nAs threading.Lock's. May park. Any "
                                "thread. Cancelled.");
static PyObject *mutex_acquire(py_mutex *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(nargs || kwnames) && sync_acquire_args(args, nargs, kwnames, &deadline)) return NULL;
    if (rm_likely(sync_take_free(self->st, &self->m))) Py_RETURN_TRUE;
    rm_g *g = NULL;
    int e = mutex_take(self->st, &self->m, deadline, &g);
    return e == 1 ? NULL : sync_acquired(self->st, g, e);
}

static PyObject *mutex_enter(py_mutex *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args;
    if (rm_unlikely(no_args("__enter__", nargs))) return NULL;
    if (rm_unlikely(!sync_take_free(self->st, &self->m))) {
        PyObject *r = mutex_lock_slow(self, RM_FOREVER);
        if (!r) return NULL;
        Py_DECREF(r);
    }
    Py_RETURN_TRUE;
}

static PyObject *mutex_exit(py_mutex *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return unlock(self->st, &self->m);
}

static PyObject *mutex_locked(py_mutex *self, PyObject *u) {
    (void)u;
    return PyBool_FromLong(self->m.held);
}

static PyObject *mutex_reinit(py_mutex *self, PyObject *u) { /* in a forked child: as new */
    (void)u;
    memset(&self->m, 0, sizeof self->m);
    Py_RETURN_NONE;
}

static PyObject *mutex_repr(py_mutex *self) {
    return PyUnicode_FromFormat("<%s ramet.sync.Mutex object at %p>", self->m.held ? "locked" : "unlocked", self);
}

PyDoc_STRVAR(locked_doc, "locked($self)\n--\n\nWhether it is locked. Never parks.");
PyDoc_STRVAR(reinit_doc, "_at_fork_reinit($self)\n--\n\nAs new: for the child of a fork.");

static PyMethodDef mutex_methods[] = {
    FAST("lock", mutex_lock, FASTCALL_KW, mutex_lock_doc),
    FAST("unlock", mutex_unlock, METH_FASTCALL, mutex_unlock_doc),
    {"try_lock", (PyCFunction)mutex_try_lock, METH_NOARGS, mutex_try_lock_doc},
    FAST("acquire", mutex_acquire, FASTCALL_KW, mutex_acquire_doc),
    FAST("release", mutex_unlock, METH_FASTCALL, "release($self)\n--\n\nAs unlock(). Never parks. Any thread."),
    {"locked", (PyCFunction)mutex_locked, METH_NOARGS, locked_doc},
    FAST("__enter__", mutex_enter, METH_FASTCALL,
         "__enter__($self)\n--\n\nLock it: True. May park. Any thread. Cancelled."),
    FAST("__exit__", mutex_exit, METH_FASTCALL, "__exit__($self, *exc)\n--\n\nUnlock it. Never parks."),
    {"_at_fork_reinit", (PyCFunction)mutex_reinit, METH_NOARGS, reinit_doc},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef mutex_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_mutex, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot mutex_slots[] = {
    {Py_tp_doc, "Mutex()\n--\n\nA lock: Go's Mutex, and threading.Lock's API. Between goroutines and OS threads.\n\n"
                "Waiters queue in order; a running goroutine may take a free one before them for at most 1 ms."},
    {Py_tp_new, mutex_new},
    {Py_tp_dealloc, sync_dealloc},
    {Py_tp_repr, mutex_repr},
    {Py_tp_methods, mutex_methods},
    {Py_tp_members, mutex_members},
    {0, NULL},
};
static PyType_Spec mutex_spec = {"ramet.sync.Mutex", sizeof(py_mutex), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                 mutex_slots};

/* ------------------------------------------------------------------ RLock ---- */

static PyObject *rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = sync_no_args(type, args, kwargs, "RLock");
    if (!st) return NULL;
    SYNC_NEW(st, type, py_rlock);
    return (PyObject *)self;
}

static bool on_its_thread(const rm_g *g) { return g->flags & (RM_GF_MAIN | RM_GF_FOREIGN); }

static bool rlock_mine(const py_rlock *self, rm_g *g) {
    if (!self->count) return false; /* it is free, or handed over to one who has not run yet */
    if (on_its_thread(g)) return !self->owner && self->owner_id == PyThread_get_thread_ident();
    return self->owner == g && self->owner_id == g->id;
}

static void rlock_own(py_rlock *self, rm_g *g, unsigned long count) {
    self->owner = on_its_thread(g) ? NULL : g;
    self->owner_id = self->owner ? g->id : PyThread_get_thread_ident();
    self->count = count;
}

/* 1: with an exception */
static int rlock_take(py_rlock *self, int64_t deadline, rm_g **me) {
    rm_g *g = *me = core_enter(self->st);
    if (rm_unlikely(!g)) return 1;
    if (rlock_mine(self, g)) {
        if (self->count == ULONG_MAX) {
            PyErr_SetString(PyExc_OverflowError, "RLock: locked too often");
            return 1;
        }
        self->count++;
        return 0;
    }
    int e = rm_mutex_lock(&self->m, g, deadline);
    if (e == 0) rlock_own(self, g, 1);
    return e;
}

static PyObject *rlock_acquire(py_rlock *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(nargs || kwnames) && sync_acquire_args(args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g;
    int e = rlock_take(self, deadline, &g);
    return e == 1 ? NULL : sync_acquired(self->st, g, e);
}

static PyObject *rlock_lock(py_rlock *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(nargs || kwnames) && core_timeout_arg("lock", args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g;
    int e = rlock_take(self, deadline, &g);
    return e == 1 ? NULL : sync_done(self->st, g, e == -EAGAIN ? -ETIMEDOUT : e);
}

static PyObject *rlock_try_lock(py_rlock *self, PyObject *u) {
    (void)u;
    rm_g *g;
    int e = rlock_take(self, RAMET_POLL, &g);
    return e == 1 ? NULL : sync_acquired(self->st, g, e);
}

static PyObject *not_mine(core_state *st) {
    PyErr_SetString(st->PanicError, "cannot release a lock that the caller has not acquired");
    return NULL;
}

static PyObject *rlock_release(py_rlock *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    rm_g *g = core_enter(self->st);
    if (rm_unlikely(!g)) return NULL;
    if (rm_unlikely(!rlock_mine(self, g))) return not_mine(self->st);
    if (--self->count == 0) rm_mutex_unlock(&self->m);
    Py_RETURN_NONE;
}

static PyObject *rlock_enter(py_rlock *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    rm_g *g;
    int e = rlock_take(self, RM_FOREVER, &g);
    return e == 1 ? NULL : sync_acquired(self->st, g, e);
}

static PyObject *rlock_locked(py_rlock *self, PyObject *u) {
    (void)u;
    return PyBool_FromLong(self->m.held);
}

static PyObject *rlock_is_owned(py_rlock *self, PyObject *u) {
    (void)u;
    if (!self->m.held) Py_RETURN_FALSE;
    rm_g *g = core_enter(self->st);
    return g ? PyBool_FromLong(rlock_mine(self, g)) : NULL;
}

static PyObject *rlock_recursion_count(py_rlock *self, PyObject *u) {
    (void)u;
    if (!self->m.held) return PyLong_FromLong(0);
    rm_g *g = core_enter(self->st);
    return g ? PyLong_FromUnsignedLong(rlock_mine(self, g) ? self->count : 0) : NULL;
}

static PyObject *rlock_release_save(py_rlock *self, PyObject *u) {
    (void)u;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    if (!rlock_mine(self, g)) return not_mine(self->st);
    unsigned long count = self->count;
    self->count = 0;
    rm_mutex_unlock(&self->m);
    return PyLong_FromUnsignedLong(count);
}

static PyObject *rlock_acquire_restore(py_rlock *self, PyObject *state) {
    unsigned long count = PyLong_AsUnsignedLong(state);
    if (PyErr_Occurred()) return NULL;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    int e = rm_mutex_relock(&self->m, g);
    if (e != -EDEADLK) rlock_own(self, g, count);
    return sync_done(self->st, g, e);
}

static PyObject *rlock_reinit(py_rlock *self, PyObject *u) {
    (void)u;
    memset(&self->m, 0, sizeof self->m);
    self->count = 0;
    Py_RETURN_NONE;
}

static PyObject *rlock_repr(py_rlock *self) {
    return PyUnicode_FromFormat("<%s ramet.sync.RLock object owner=%llu count=%lu at %p>",
                                self->m.held ? "locked" : "unlocked",
                                self->m.held ? (unsigned long long)self->owner_id : 0ULL, self->count, self);
}

PyDoc_STRVAR(rlock_acquire_doc,
             "acquire($self, blocking=True, timeout=-1)\n--\n\nAs threading.RLock's: the goroutine (or OS thread) that "
             "has it may\nhave it again. May park. Any thread. Cancelled.");
PyDoc_STRVAR(rlock_release_doc,
             "release($self)\n--\n\nOne of its acquires is undone. RuntimeError if the caller has it "
             "not. Never parks.");
static PyMethodDef rlock_methods[] = {
    FAST("acquire", rlock_acquire, FASTCALL_KW, rlock_acquire_doc),
    FAST("release", rlock_release, METH_FASTCALL, rlock_release_doc),
    FAST("lock", rlock_lock, FASTCALL_KW, mutex_lock_doc),
    FAST("unlock", rlock_release, METH_FASTCALL, "unlock($self)\n--\n\nAs release(). Never parks."),
    {"try_lock", (PyCFunction)rlock_try_lock, METH_NOARGS, mutex_try_lock_doc},
    {"locked", (PyCFunction)rlock_locked, METH_NOARGS, locked_doc},
    FAST("__enter__", rlock_enter, METH_FASTCALL,
         "__enter__($self)\n--\n\nacquire(): True. May park. Any thread. Cancelled."),
    FAST("__exit__", rlock_release, METH_FASTCALL, "__exit__($self, *exc)\n--\n\nrelease(). Never parks."),
    {"_is_owned", (PyCFunction)rlock_is_owned, METH_NOARGS, NULL},
    {"_recursion_count", (PyCFunction)rlock_recursion_count, METH_NOARGS, NULL},
    {"_release_save", (PyCFunction)rlock_release_save, METH_NOARGS, NULL},
    {"_acquire_restore", (PyCFunction)rlock_acquire_restore, METH_O, NULL},
    {"_at_fork_reinit", (PyCFunction)rlock_reinit, METH_NOARGS, reinit_doc},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef rlock_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_rlock, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, "RLock()\n--\n\nA lock that whoever has it may have again: threading.RLock's API, by goroutine."},
    {Py_tp_new, rlock_new},
    {Py_tp_dealloc, sync_dealloc},
    {Py_tp_repr, rlock_repr},
    {Py_tp_methods, rlock_methods},
    {Py_tp_members, rlock_members},
    {0, NULL},
};
static PyType_Spec rlock_spec = {"ramet.sync.RLock", sizeof(py_rlock), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_BASETYPE, rlock_slots};

/* ------------------------------------------------------------------ RWMutex ---- */

typedef struct py_rwmutex {
    PyObject_HEAD rm_rwmutex m;
    core_state *st;
    PyObject *weakrefs;
} py_rwmutex;

_Static_assert(offsetof(py_rwmutex, m) == sizeof(PyObject), "sync_object");

static PyObject *rwmutex_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = sync_no_args(type, args, kwargs, "RWMutex");
    if (!st) return NULL;
    SYNC_NEW(st, type, py_rwmutex);
    return (PyObject *)self;
}

typedef int (*rw_lock_fn)(rm_rwmutex *, rm_g *, int64_t);

static PyObject *rw_take(py_rwmutex *self, rw_lock_fn fn, const char *name, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames) {
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(nargs || kwnames) && core_timeout_arg(name, args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    int e = fn(&self->m, g, deadline);
    return sync_done(self->st, g, e == -EAGAIN ? -ETIMEDOUT : e);
}

static PyObject *rw_give(py_rwmutex *self, int e, const char *what) {
    if (rm_likely(e == 0)) Py_RETURN_NONE;
    return PyErr_Format(self->st->PanicError, "%s of an RWMutex that is not locked so", what);
}

static PyObject *rwmutex_lock(py_rwmutex *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return rw_take(self, rm_rwmutex_lock, "lock", args, nargs, kwnames);
}
static PyObject *rwmutex_rlock(py_rwmutex *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return rw_take(self, rm_rwmutex_rlock, "rlock", args, nargs, kwnames);
}
static PyObject *rwmutex_unlock(py_rwmutex *self, PyObject *u) {
    (void)u;
    if (rm_unlikely(!self->st->entry) && fork_renew(self->st)) return NULL; /* as in Mutex's */
    return rw_give(self, rm_rwmutex_unlock(&self->m), "unlock");
}
static PyObject *rwmutex_runlock(py_rwmutex *self, PyObject *u) {
    (void)u;
    if (rm_unlikely(!self->st->entry) && fork_renew(self->st)) return NULL;
    return rw_give(self, rm_rwmutex_runlock(&self->m), "runlock");
}
static PyObject *rw_try(py_rwmutex *self, rw_lock_fn fn) {
    rm_g *g = core_enter(self->st);
    return g ? sync_acquired(self->st, g, fn(&self->m, g, RAMET_POLL)) : NULL;
}
static PyObject *rwmutex_try_lock(py_rwmutex *self, PyObject *u) {
    (void)u;
    return rw_try(self, rm_rwmutex_lock);
}
static PyObject *rwmutex_try_rlock(py_rwmutex *self, PyObject *u) {
    (void)u;
    return rw_try(self, rm_rwmutex_rlock);
}

static PyObject *rwmutex_enter(py_rwmutex *self, PyObject *u) {
    (void)u;
    PyObject *r = rw_take(self, rm_rwmutex_lock, "lock", NULL, 0, NULL);
    if (!r) return NULL;
    Py_DECREF(r);
    return Py_NewRef((PyObject *)self);
}
static PyObject *rwmutex_exit(py_rwmutex *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return rwmutex_unlock(self, NULL);
}

static PyObject *rwmutex_repr(py_rwmutex *self) {
    return PyUnicode_FromFormat("<ramet.sync.RWMutex %s, %u readers, at %p>", self->m.writer ? "locked" : "unlocked",
                                self->m.readers, self);
}

PyDoc_STRVAR(rw_lock_doc, "lock($self, timeout=None)\n--\n\nLock it for writing: alone.\n\nMay park. Any thread. "
                          "TimeoutError; Cancelled. A writer that waits keeps later readers out.");
PyDoc_STRVAR(rw_rlock_doc,
             "rlock($self, timeout=None)\n--\n\nLock it for reading: with other readers.\n\nMay park. Any "
             "thread. TimeoutError; Cancelled.");
PyDoc_STRVAR(rw_unlock_doc, "unlock($self)\n--\n\nUndo a lock(). PanicError if there was none. Never parks.");
PyDoc_STRVAR(rw_runlock_doc, "runlock($self)\n--\n\nUndo an rlock(). PanicError if there was none. Never parks.");
PyDoc_STRVAR(rw_try_lock_doc,
             "try_lock($self)\n--\n\nlock() if that can be done at once: whether it was. Never parks.");
PyDoc_STRVAR(rw_try_rlock_doc,
             "try_rlock($self)\n--\n\nrlock() if that can be done at once: whether it was. Never parks.");

static PyMethodDef rwmutex_methods[] = {
    FAST("lock", rwmutex_lock, FASTCALL_KW, rw_lock_doc),
    FAST("rlock", rwmutex_rlock, FASTCALL_KW, rw_rlock_doc),
    {"unlock", (PyCFunction)rwmutex_unlock, METH_NOARGS, rw_unlock_doc},
    {"runlock", (PyCFunction)rwmutex_runlock, METH_NOARGS, rw_runlock_doc},
    {"try_lock", (PyCFunction)rwmutex_try_lock, METH_NOARGS, rw_try_lock_doc},
    {"try_rlock", (PyCFunction)rwmutex_try_rlock, METH_NOARGS, rw_try_rlock_doc},
    {"__enter__", (PyCFunction)rwmutex_enter, METH_NOARGS,
     "__enter__($self)\n--\n\nlock(): this RWMutex. May park. Any thread. Cancelled."},
    FAST("__exit__", rwmutex_exit, METH_FASTCALL, "__exit__($self, *exc)\n--\n\nunlock(). Never parks."),
    {NULL, NULL, 0, NULL},
};
static PyMemberDef rwmutex_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_rwmutex, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot rwmutex_slots[] = {
    {Py_tp_doc, "RWMutex()\n--\n\nMany readers or one writer, in order: Go's RWMutex. `with` locks for writing."},
    {Py_tp_new, rwmutex_new},
    {Py_tp_dealloc, sync_dealloc},
    {Py_tp_repr, rwmutex_repr},
    {Py_tp_methods, rwmutex_methods},
    {Py_tp_members, rwmutex_members},
    {0, NULL},
};
static PyType_Spec rwmutex_spec = {"ramet.sync.RWMutex", sizeof(py_rwmutex), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_BASETYPE, rwmutex_slots};

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *t = (PyTypeObject *)core_type(module, spec, NULL);
    if (t && PyModule_AddType(module, t)) Py_CLEAR(t);
    return t;
}

int sync_init(PyObject *module, core_state *st) {
    st->mutex_type = add_type(module, &mutex_spec);
    st->rlock_type = add_type(module, &rlock_spec);
    PyTypeObject *rw = add_type(module, &rwmutex_spec);
    Py_XDECREF(rw);
    if (!st->mutex_type || !st->rlock_type || !rw) return -1;
    if (sync_cond_init(module, st) || sync_more_init(module, st) || sync_queue_init(module, st)) return -1;
    return 0;
}
