/* sync_cond.c: ramet.sync.Cond, which is threading.Condition's API too, over any lock.
 *
 * Of our own locks it knows how they are unlocked; of others what threading.Condition asks of them: acquire and
 * release, and _is_owned, _release_save and _acquire_restore where they have them. */
#include "sync.h"

_Static_assert(offsetof(py_cond, c) == sizeof(PyObject), "sync_object");

static PyObject *cond_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"l", "lock", NULL}; /* Go's name and the standard library's */
    PyObject *lock = NULL, *lock2 = NULL;
    core_state *st = core_of_type(type);
    if (!st || !PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:Cond", names, &lock, &lock2)) return NULL;
    if (lock2 && lock) {
        PyErr_SetString(PyExc_TypeError, "Cond takes one lock");
        return NULL;
    }
    if (lock2) lock = lock2;
    if (!lock || lock == Py_None) lock = PyObject_CallNoArgs((PyObject *)st->rlock_type);
    else Py_INCREF(lock);
    if (!lock) return NULL;
    if (Py_TYPE(lock) != st->mutex_type && Py_TYPE(lock) != st->rlock_type) {
        for (int i = 0; i < 2; i++) {
            const char *name = i ? "release" : "acquire";
            PyObject *m = PyObject_GetAttrString(lock, name);
            if (!m) {
                PyErr_Clear();
                PyErr_Format(PyExc_TypeError, "Cond: the lock needs acquire() and release(), which %.100s has not",
                             Py_TYPE(lock)->tp_name);
                Py_DECREF(lock);
                return NULL;
            }
            Py_DECREF(m);
        }
    }
    py_cond *self = (py_cond *)type->tp_alloc(type, 0);
    if (!self) {
        Py_DECREF(lock);
        return NULL;
    }
    self->lock = lock;
    self->st = st;
    return (PyObject *)self;
}

static int cond_traverse(py_cond *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->lock);
    return 0;
}

static int cond_clear(py_cond *self) {
    Py_CLEAR(self->lock);
    return 0;
}

static void cond_dealloc(py_cond *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, cond_dealloc); /* any lock will do, also a Cond */
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    cond_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END;
}

/* ------------------------------------------------------------------ its lock ---- */

/* lock.name(arg), or NULL without an exception and *has false if it has no such method. */
static PyObject *optional(PyObject *lock, const char *name, PyObject *arg, bool *has) {
    PyObject *m = PyObject_GetAttrString(lock, name), *r;
    *has = m != NULL;
    if (!m) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
        else *has = true;
        return NULL;
    }
    r = arg ? PyObject_CallOneArg(m, arg) : PyObject_CallNoArgs(m);
    Py_DECREF(m);
    return r;
}

/* 1, 0, -1 with an exception. As threading.Condition: a lock that cannot say is owned if it is locked. */
static int owned(py_cond *self) {
    PyObject *lock = self->lock;
    core_state *st = self->st;
    if (Py_TYPE(lock) == st->mutex_type) return ((py_mutex *)lock)->m.held;
    bool has;
    PyObject *r = optional(lock, "_is_owned", NULL, &has);
    if (!has) {
        r = PyObject_CallMethod(lock, "acquire", "i", 0);
        if (!r) return -1;
        int got = PyObject_IsTrue(r);
        Py_DECREF(r);
        if (got <= 0) return got < 0 ? -1 : 1;
        r = PyObject_CallMethod(lock, "release", NULL);
        Py_XDECREF(r);
        return r ? 0 : -1;
    }
    if (!r) return -1;
    int is = PyObject_IsTrue(r);
    Py_DECREF(r);
    return is;
}

static int need_owned(py_cond *self, const char *what) {
    int is = owned(self);
    if (is == 0) PyErr_Format(PyExc_RuntimeError, "cannot %s on un-acquired lock", what);
    return is == 1 ? 0 : -1;
}

/* What restore() wants; NULL with an exception. */
static PyObject *release_save(py_cond *self) {
    PyObject *lock = self->lock;
    if (Py_TYPE(lock) == self->st->mutex_type) {
        rm_mutex_unlock(&((py_mutex *)lock)->m);
        return Py_NewRef(Py_None);
    }
    bool has;
    PyObject *state = optional(lock, "_release_save", NULL, &has);
    if (has) return state;
    PyObject *r = PyObject_CallMethod(lock, "release", NULL);
    Py_XDECREF(r);
    return r ? Py_NewRef(Py_None) : NULL;
}

/* -1 with an exception (the lock may be locked all the same) */
static int acquire_restore(py_cond *self, rm_g *g, PyObject *state) {
    PyObject *lock = self->lock;
    if (Py_TYPE(lock) == self->st->mutex_type) {
        int e = rm_mutex_relock(&((py_mutex *)lock)->m, g);
        if (e) core_raise(self->st, g, e);
        return e ? -1 : 0;
    }
    bool has;
    PyObject *r = optional(lock, "_acquire_restore", state, &has);
    if (!has) r = PyObject_CallMethod(lock, "acquire", NULL);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

/* ------------------------------------------------------------------ waiting ---- */

int sync_cond_wait(py_cond *self, rm_g *g, int64_t deadline) {
    core_state *st = self->st;
    int e = rm_check_cancel(g);
    if (e) {
        core_raise(st, g, e);
        return -1;
    }
    rm_cond_waiter w;
    rm_cond_add(&self->c, &w, g);
    PyObject *state = release_save(self);
    if (!state) {
        rm_cond_drop(&self->c, &w);
        return -1;
    }
    e = rm_cond_wait(&self->c, &w, deadline);
    PyObject *exc = NULL;
    if (e && e != -ETIMEDOUT && e != -EAGAIN) {
        core_raise(st, g, e);
        exc = core_take_exception(); /* nothing may be set while the lock is waited for */
    }
    int r = acquire_restore(self, g, state);
    if (rm_unlikely(r && e == 0)) rm_cond_notify(&self->c, 1);
    Py_DECREF(state);
    if (exc) {
        if (r) PyErr_Clear();
        core_put_exception(exc);
        return -1;
    }
    return r ? -1 : e == 0;
}

static int wait_args(const char *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int required,
                     PyObject **first, int64_t *deadline) {
    static const char *const names[] = {"predicate", "timeout"};
    PyObject *a[2] = {NULL, NULL};
    *deadline = RM_FOREVER;
    if (core_args(fn, args, nargs, kwnames, names + !required, required, 1 + required, a)) return -1;
    if (required) *first = a[0];
    return a[required] ? core_deadline(a[required], "timeout", deadline) : 0;
}

PyDoc_STRVAR(cond_wait_doc,
             "wait($self, timeout=None)\n--\n\nGive up the lock, wait for a notification, take the lock "
             "again: True, or False\nonce the time is up.\n\n"
             "May park. Any thread. RuntimeError if the lock is not held; Cancelled, with the lock held.");
static PyObject *cond_wait(py_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (wait_args("wait", args, nargs, kwnames, 0, NULL, &deadline) || need_owned(self, "wait")) return NULL;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    int r = sync_cond_wait(self, g, deadline);
    return r < 0 ? NULL : PyBool_FromLong(r);
}

PyDoc_STRVAR(cond_wait_for_doc, "wait_for($self, predicate, timeout=None)\n--\n\nWait until predicate() is true: its "
                                "last value. May park. Any thread. Cancelled.");
static PyObject *cond_wait_for(py_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    PyObject *predicate;
    if (wait_args("wait_for", args, nargs, kwnames, 1, &predicate, &deadline)) return NULL;
    for (bool late = false;;) {
        PyObject *v = PyObject_CallNoArgs(predicate);
        int is = v ? PyObject_IsTrue(v) : -1;
        if (is < 0) {
            Py_XDECREF(v);
            return NULL;
        }
        if (is || late) return v;
        Py_DECREF(v);
        if (need_owned(self, "wait")) return NULL;
        rm_g *g = core_enter(self->st);
        int r = g ? sync_cond_wait(self, g, deadline) : -1;
        if (r < 0) return NULL;
        late = !r;
    }
}

PyDoc_STRVAR(cond_notify_doc, "notify($self, n=1)\n--\n\nWake up to n waiters. RuntimeError if the lock is not held. "
                              "Never parks. Any thread.");
static PyObject *cond_notify(py_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"n"};
    PyObject *o = NULL;
    if (core_args("notify", args, nargs, kwnames, names, 0, 1, &o) || need_owned(self, "notify")) return NULL;
    Py_ssize_t n = o ? PyNumber_AsSsize_t(o, NULL) : 1;
    if (n == -1 && PyErr_Occurred()) return NULL;
    if (n > 0) rm_cond_notify(&self->c, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(cond_notify_all_doc, "notify_all($self)\n--\n\nWake all waiters. RuntimeError if the lock is not held. "
                                  "Never parks. Any thread.");
static PyObject *cond_notify_all(py_cond *self, PyObject *u) {
    (void)u;
    if (need_owned(self, "notify")) return NULL;
    rm_cond_notify(&self->c, UINT32_MAX);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(cond_signal_doc,
             "signal($self)\n--\n\nWake one waiter; the lock need not be held. Never parks. Any thread.");
static PyObject *cond_signal(py_cond *self, PyObject *u) {
    (void)u;
    rm_cond_notify(&self->c, 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(cond_broadcast_doc,
             "broadcast($self)\n--\n\nWake all waiters; the lock need not be held. Never parks. Any "
             "thread.");
static PyObject *cond_broadcast(py_cond *self, PyObject *u) {
    (void)u;
    rm_cond_notify(&self->c, UINT32_MAX);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ the lock's own methods ---- */

static PyObject *of_lock(py_cond *self, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *m = PyObject_GetAttrString(self->lock, name);
    PyObject *r = m ? PyObject_Vectorcall(m, args, (size_t)nargs, kwnames) : NULL;
    Py_XDECREF(m);
    return r;
}
static PyObject *cond_acquire(py_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return of_lock(self, "acquire", args, nargs, kwnames);
}
static PyObject *cond_release(py_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return of_lock(self, "release", args, nargs, kwnames);
}
static PyObject *cond_enter(py_cond *self, PyObject *u) {
    (void)u;
    return of_lock(self, "__enter__", NULL, 0, NULL);
}
static PyObject *cond_exit(py_cond *self, PyObject *const *args, Py_ssize_t nargs) {
    return of_lock(self, "__exit__", args, nargs, NULL);
}
static PyObject *cond_is_owned(py_cond *self, PyObject *u) {
    (void)u;
    int is = owned(self);
    return is < 0 ? NULL : PyBool_FromLong(is);
}
static PyObject *cond_locked(py_cond *self, PyObject *u) {
    (void)u;
    return of_lock(self, "locked", NULL, 0, NULL);
}
static PyObject *cond_reinit(py_cond *self, PyObject *u) {
    (void)u;
    memset(&self->c, 0, sizeof self->c);
    return of_lock(self, "_at_fork_reinit", NULL, 0, NULL);
}
static PyObject *cond_repr(py_cond *self) {
    Py_ssize_t n = 0;
    for (rm_sudog *s = self->c.q.first; s; s = s->next) n++;
    return PyUnicode_FromFormat("<ramet.sync.Cond(%R, %zd)>", self->lock, n);
}

static PyMethodDef cond_methods[] = {
    FAST("wait", cond_wait, FASTCALL_KW, cond_wait_doc),
    FAST("wait_for", cond_wait_for, FASTCALL_KW, cond_wait_for_doc),
    FAST("notify", cond_notify, FASTCALL_KW, cond_notify_doc),
    {"notify_all", (PyCFunction)cond_notify_all, METH_NOARGS, cond_notify_all_doc},
    {"signal", (PyCFunction)cond_signal, METH_NOARGS, cond_signal_doc},
    {"broadcast", (PyCFunction)cond_broadcast, METH_NOARGS, cond_broadcast_doc},
    FAST("acquire", cond_acquire, FASTCALL_KW,
         "acquire($self, blocking=True, timeout=-1)\n--\n\nAcquire its lock. May park. Any thread. Cancelled."),
    FAST("release", cond_release, FASTCALL_KW, "release($self)\n--\n\nRelease its lock. Never parks."),
    {"locked", (PyCFunction)cond_locked, METH_NOARGS, "Whether its lock is locked."},
    {"__enter__", (PyCFunction)cond_enter, METH_NOARGS,
     "__enter__($self)\n--\n\nAcquire its lock. May park. Any thread. Cancelled."},
    FAST("__exit__", cond_exit, METH_FASTCALL, "__exit__($self, *exc)\n--\n\nRelease its lock. Never parks."),
    {"_is_owned", (PyCFunction)cond_is_owned, METH_NOARGS, NULL},
    {"_at_fork_reinit", (PyCFunction)cond_reinit, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef cond_members[] = {
    {"l", T_OBJECT, offsetof(py_cond, lock), READONLY, "Its lock."},
    {"_lock", T_OBJECT, offsetof(py_cond, lock), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_cond, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot cond_slots[] = {
    {Py_tp_doc,
     "Cond(l=None)\n--\n\nA condition variable over l (default: an RLock): Go's Cond, and threading.Condition's "
     "API.\nBetween goroutines and OS threads."},
    {Py_tp_new, cond_new},
    {Py_tp_traverse, cond_traverse},
    {Py_tp_clear, cond_clear},
    {Py_tp_dealloc, cond_dealloc},
    {Py_tp_repr, cond_repr},
    {Py_tp_methods, cond_methods},
    {Py_tp_members, cond_members},
    {0, NULL},
};
static PyType_Spec cond_spec = {
    "ramet.sync.Cond", sizeof(py_cond), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE, cond_slots};

int sync_cond_init(PyObject *module, core_state *st) {
    st->cond_type = (PyTypeObject *)core_type(module, &cond_spec, NULL);
    return !st->cond_type || PyModule_AddType(module, st->cond_type) ? -1 : 0;
}
