/* sync_more.c: ramet.sync's Semaphore, BoundedSemaphore, Event, WaitGroup and AtomicLong. */
#include "sync.h"

/* ------------------------------------------------------------------ Semaphore ---- */

typedef struct py_sem {
    PyObject_HEAD rm_sem s;
    int64_t most; /* BoundedSemaphore's; -1: none */
    core_state *st;
    PyObject *weakrefs;
} py_sem;

_Static_assert(offsetof(py_sem, s) == sizeof(PyObject), "sync_object");

static PyObject *sem_make(PyTypeObject *type, PyObject *args, PyObject *kwargs, bool bounded) {
    static char *names[] = {"value", NULL};
    PyObject *value = NULL;
    core_state *st = core_of_type(type);
    if (!st ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, bounded ? "|O:BoundedSemaphore" : "|O:Semaphore", names, &value))
        return NULL;
    int64_t n = 1;
    if (value) {
        if (!PyIndex_Check(value))
            return PyErr_Format(PyExc_TypeError, "Semaphore: value must be an int, not %.100s",
                                Py_TYPE(value)->tp_name);
        n = PyNumber_AsSsize_t(value, PyExc_OverflowError);
        if (n == -1 && PyErr_Occurred()) return NULL;
    }
    if (n < 0) return PyErr_Format(PyExc_ValueError, "Semaphore: value must be >= 0, not %lld", (long long)n);
    SYNC_NEW(st, type, py_sem);
    self->s.n = n;
    self->most = bounded ? n : -1;
    return (PyObject *)self;
}
static PyObject *sem_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return sem_make(type, args, kwargs, false);
}
static PyObject *bounded_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return sem_make(type, args, kwargs, true);
}

PyDoc_STRVAR(sem_acquire_doc, "acquire($self, blocking=True, timeout=None)\n--\n\nTake one, waiting while there is "
                              "none: True, or False once the time is up.\n\n"
                              "May park. Any thread. Cancelled. As threading.Semaphore's.");
static PyObject *sem_acquire(py_sem *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(nargs || kwnames) && sync_acquire_args(args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g = core_enter(self->st);
    if (rm_unlikely(!g)) return NULL;
    return sync_acquired(self->st, g, rm_sem_acquire(&self->s, g, deadline));
}

PyDoc_STRVAR(sem_release_doc, "release($self, n=1)\n--\n\nGive n back, to those who have waited longest. Never parks. "
                              "Any thread.");
static PyObject *sem_release(py_sem *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"n"};
    Py_ssize_t n = 1;
    if (rm_unlikely(nargs || kwnames)) {
        PyObject *o = NULL;
        if (core_args("release", args, nargs, kwnames, names, 0, 1, &o)) return NULL;
        if (o && (n = PyNumber_AsSsize_t(o, NULL)) == -1 && PyErr_Occurred()) return NULL;
    }
    if (n < 1 || n > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "release: n must be between 1 and %u", UINT32_MAX);
        return NULL;
    }
    if (self->most >= 0 && self->s.n + n > self->most) {
        PyErr_SetString(PyExc_ValueError, "Semaphore released too many times");
        return NULL;
    }
    if (!core_enter(self->st)) return NULL;
    if (rm_sem_release(&self->s, (uint32_t)n)) {
        PyErr_SetString(PyExc_OverflowError, "release: the counter is full");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *sem_enter(py_sem *self, PyObject *u) {
    (void)u;
    return sem_acquire(self, NULL, 0, NULL);
}
static PyObject *sem_exit(py_sem *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return sem_release(self, NULL, 0, NULL);
}
static PyObject *sem_value(py_sem *self, void *u) {
    (void)u;
    return PyLong_FromLongLong(self->s.n);
}
static PyObject *sem_repr(py_sem *self) {
    if (self->most < 0) return PyUnicode_FromFormat("<sync.Semaphore at %p: value=%lld>", self, (long long)self->s.n);
    return PyUnicode_FromFormat("<sync.BoundedSemaphore at %p: value=%lld/%lld>", self, (long long)self->s.n,
                                (long long)self->most);
}

static PyMethodDef sem_methods[] = {
    FAST("acquire", sem_acquire, FASTCALL_KW, sem_acquire_doc),
    FAST("release", sem_release, FASTCALL_KW, sem_release_doc),
    {"__enter__", (PyCFunction)sem_enter, METH_NOARGS,
     "__enter__($self)\n--\n\nacquire(): True. May park. Any thread. Cancelled."},
    FAST("__exit__", sem_exit, METH_FASTCALL, "__exit__($self, *exc)\n--\n\nrelease(). Never parks."),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef sem_getset[] = {
    {"_value", (getter)sem_value, NULL, "How many are there.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef sem_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_sem, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
#define SEM_SLOTS(doc, new)                                                                                            \
    {                                                                                                                  \
        {Py_tp_doc, doc},                                                                                              \
        {Py_tp_new, new},                                                                                              \
        {Py_tp_dealloc, sync_dealloc},                                                                                 \
        {Py_tp_repr, sem_repr},                                                                                        \
        {Py_tp_methods, sem_methods},                                                                                  \
        {Py_tp_members, sem_members},                                                                                  \
        {Py_tp_getset, sem_getset},                                                                                    \
        {0, NULL},                                                                                                     \
    }
static PyType_Slot sem_slots[] = SEM_SLOTS("Semaphore(value=1)\n--\n\nthreading.Semaphore's API, in order; between "
                                           "goroutines and OS threads.",
                                           sem_new);
static PyType_Slot bounded_slots[] =
    SEM_SLOTS("BoundedSemaphore(value=1)\n--\n\nA Semaphore that is never released more "
              "often than acquired: ValueError.",
              bounded_new);
#define OPEN_TYPE (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE)
static PyType_Spec sem_spec = {"ramet.sync.Semaphore", sizeof(py_sem), 0, OPEN_TYPE, sem_slots};
static PyType_Spec bounded_spec = {"ramet.sync.BoundedSemaphore", sizeof(py_sem), 0, OPEN_TYPE, bounded_slots};

/* ------------------------------------------------------------------ Event ---- */

typedef struct py_event {
    PyObject_HEAD rm_event v;
    py_chan *chan; /* closed when it is set, for select; made by the first that needs it, dropped by clear() */
    core_state *st;
    PyObject *weakrefs;
} py_event;

_Static_assert(offsetof(py_event, v) == sizeof(PyObject), "sync_object");

static PyObject *event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = sync_no_args(type, args, kwargs, "Event");
    if (!st) return NULL;
    SYNC_NEW(st, type, py_event);
    return (PyObject *)self;
}

static void event_dealloc(py_event *self) {
    Py_CLEAR(self->chan);
    sync_dealloc((PyObject *)self);
}

py_chan *event_chan(PyObject *o) {
    py_event *self = (py_event *)o;
    if (!self->chan) {
        self->chan = chan_new(self->st, 0);
        if (self->chan && self->v.set) rm_chan_close(&self->chan->c);
    }
    return self->chan;
}

static PyObject *event_set(py_event *self, PyObject *u) {
    (void)u;
    if (self->v.set) Py_RETURN_NONE;
    if ((self->v.q.first || self->chan) && !core_enter(self->st)) return NULL;
    rm_event_set(&self->v);
    if (self->chan) rm_chan_close(&self->chan->c);
    Py_RETURN_NONE;
}

static PyObject *event_clear(py_event *self, PyObject *u) {
    (void)u;
    if (!self->v.set) Py_RETURN_NONE;
    rm_event_clear(&self->v);
    Py_CLEAR(self->chan);
    Py_RETURN_NONE;
}

static PyObject *event_is_set(py_event *self, PyObject *u) {
    (void)u;
    return PyBool_FromLong(self->v.set);
}

PyDoc_STRVAR(event_wait_doc, "wait($self, timeout=None)\n--\n\nWait until it is set: True, or False once the time is "
                             "up. May park. Any thread. Cancelled.");
static PyObject *event_wait(py_event *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (core_timeout_arg("wait", args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    return sync_acquired(self->st, g, rm_event_wait(&self->v, g, deadline));
}

static PyObject *event_if_set(py_event *self, PyObject *u) {
    (void)u;
    return case_new(self->st, CASE_SET, (PyObject *)self, NULL, -1);
}

static PyObject *event_reinit(py_event *self, PyObject *u) {
    (void)u;
    bool set = self->v.set;
    memset(&self->v, 0, sizeof self->v);
    self->v.set = set;
    Py_RETURN_NONE;
}

static PyObject *event_repr(py_event *self) {
    return PyUnicode_FromFormat("<sync.Event at %p: %s>", self, self->v.set ? "set" : "unset");
}

static PyMethodDef event_methods[] = {
    {"set", (PyCFunction)event_set, METH_NOARGS,
     "set($self)\n--\n\nSet it: all who wait go on. Never parks. Any thread."},
    {"clear", (PyCFunction)event_clear, METH_NOARGS, "clear($self)\n--\n\nUnset it. Never parks. Any thread."},
    {"is_set", (PyCFunction)event_is_set, METH_NOARGS,
     "is_set($self)\n--\n\nWhether it is set. Never parks. Any thread."},
    FAST("wait", event_wait, FASTCALL_KW, event_wait_doc),
    {"if_set", (PyCFunction)event_if_set, METH_NOARGS,
     "if_set($self)\n--\n\nThe select case that is ready while it is set; its value is this Event."},
    {"_at_fork_reinit", (PyCFunction)event_reinit, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef event_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_event, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot event_slots[] = {
    {Py_tp_doc, "Event()\n--\n\nthreading.Event's API, between goroutines and OS threads, and in select."},
    {Py_tp_new, event_new},
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {0, NULL},
};
static PyType_Spec event_spec = {"ramet.sync.Event", sizeof(py_event), 0, OPEN_TYPE, event_slots};

/* ------------------------------------------------------------------ WaitGroup ---- */

typedef struct py_waitgroup {
    PyObject_HEAD rm_waitgroup w;
    core_state *st;
    PyObject *weakrefs;
} py_waitgroup;

_Static_assert(offsetof(py_waitgroup, w) == sizeof(PyObject), "sync_object");

static PyObject *waitgroup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = sync_no_args(type, args, kwargs, "WaitGroup");
    if (!st) return NULL;
    SYNC_NEW(st, type, py_waitgroup);
    return (PyObject *)self;
}

static PyObject *waitgroup_change(py_waitgroup *self, int64_t n) {
    if (self->w.q.first && !core_enter(self->st)) return NULL;
    if (rm_likely(rm_waitgroup_add(&self->w, n) == 0)) Py_RETURN_NONE;
    PyErr_SetString(self->st->PanicError, n < 0 ? "negative WaitGroup counter" : "WaitGroup counter too large");
    return NULL;
}

static PyObject *waitgroup_add(py_waitgroup *self, PyObject *delta) {
    if (!PyIndex_Check(delta))
        return PyErr_Format(PyExc_TypeError, "add: delta must be an int, not %.100s", Py_TYPE(delta)->tp_name);
    Py_ssize_t n = PyNumber_AsSsize_t(delta, PyExc_OverflowError);
    if (n == -1 && PyErr_Occurred()) return NULL;
    return waitgroup_change(self, n);
}

static PyObject *waitgroup_done(py_waitgroup *self, PyObject *u) {
    (void)u;
    return waitgroup_change(self, -1);
}

PyDoc_STRVAR(waitgroup_wait_doc,
             "wait($self, timeout=None)\n--\n\nWait until the counter is zero. May park. Any thread. "
             "TimeoutError; Cancelled.");
static PyObject *waitgroup_wait(py_waitgroup *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (core_timeout_arg("wait", args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    int e = rm_waitgroup_wait(&self->w, g, deadline);
    return sync_done(self->st, g, e == -EAGAIN ? -ETIMEDOUT : e);
}

static PyObject *waitgroup_repr(py_waitgroup *self) {
    return PyUnicode_FromFormat("<sync.WaitGroup at %p: %lld>", self, (long long)self->w.n);
}

static PyMethodDef waitgroup_methods[] = {
    {"add", (PyCFunction)waitgroup_add, METH_O,
     "add($self, delta, /)\n--\n\nAdd delta, which may be negative; at zero all who wait go on.\n\n"
     "PanicError if the counter would be negative. Never parks. Any thread."},
    {"done", (PyCFunction)waitgroup_done, METH_NOARGS, "done($self)\n--\n\nadd(-1)."},
    FAST("wait", waitgroup_wait, FASTCALL_KW, waitgroup_wait_doc),
    {NULL, NULL, 0, NULL},
};
static PyMemberDef waitgroup_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_waitgroup, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot waitgroup_slots[] = {
    {Py_tp_doc, "What counts how many are not done yet."},
    {Py_tp_new, waitgroup_new},
    {Py_tp_dealloc, sync_dealloc},
    {Py_tp_repr, waitgroup_repr},
    {Py_tp_methods, waitgroup_methods},
    {Py_tp_members, waitgroup_members},
    {0, NULL},
};
static PyType_Spec waitgroup_spec = {"ramet._core.WaitGroup", sizeof(py_waitgroup), 0, OPEN_TYPE, waitgroup_slots};

/* ------------------------------------------------------------------ AtomicLong ---- */

typedef struct py_long64 {
    PyObject_HEAD int64_t v; /* atomic */
    PyObject *weakrefs;
} py_long64;

static int int64_of(PyObject *o, int64_t *v) {
    if (!PyIndex_Check(o)) {
        PyErr_Format(PyExc_TypeError, "AtomicLong: an int is needed, not %.100s", Py_TYPE(o)->tp_name);
        return -1;
    }
    PyObject *n = PyNumber_Index(o);
    if (!n) return -1;
    *v = PyLong_AsLongLong(n);
    Py_DECREF(n);
    return *v == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *long_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"value", NULL};
    PyObject *o = NULL;
    int64_t v = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:AtomicLong", names, &o) || (o && int64_of(o, &v))) return NULL;
    py_long64 *self = (py_long64 *)type->tp_alloc(type, 0);
    if (self) self->v = v;
    return (PyObject *)self;
}

/* As Go's: past the ends it wraps. */
static PyObject *add(py_long64 *self, int64_t by) {
    uint64_t old = __atomic_fetch_add((uint64_t *)&self->v, (uint64_t)by, __ATOMIC_SEQ_CST);
    return PyLong_FromLongLong((int64_t)(old + (uint64_t)by));
}

static PyObject *long_add(py_long64 *self, PyObject *o) {
    int64_t v;
    return int64_of(o, &v) ? NULL : add(self, v);
}
static PyObject *long_sub(py_long64 *self, PyObject *o) {
    int64_t v;
    return int64_of(o, &v) ? NULL : add(self, (int64_t)(0 - (uint64_t)v));
}
static PyObject *long_get(py_long64 *self, PyObject *u) {
    (void)u;
    return PyLong_FromLongLong(rm_load_seq(&self->v));
}
static PyObject *long_swap(py_long64 *self, PyObject *o) {
    int64_t v;
    return int64_of(o, &v) ? NULL : PyLong_FromLongLong(rm_xchg(&self->v, v));
}
static PyObject *long_set(py_long64 *self, PyObject *o) {
    int64_t v;
    if (int64_of(o, &v)) return NULL;
    rm_store_seq(&self->v, v);
    Py_RETURN_NONE;
}
static PyObject *long_cas(py_long64 *self, PyObject *const *args, Py_ssize_t nargs) {
    int64_t old, new;
    if (nargs != 2) return PyErr_Format(PyExc_TypeError, "compare_and_swap takes (old, new)");
    if (int64_of(args[0], &old) || int64_of(args[1], &new)) return NULL;
    return PyBool_FromLong(rm_cas(&self->v, old, new));
}
static PyObject *long_value(py_long64 *self, void *u) { return long_get(self, u); }
static int long_set_value(py_long64 *self, PyObject *o, void *u) {
    (void)u;
    if (!o) {
        PyErr_SetString(PyExc_TypeError, "AtomicLong.value cannot be deleted");
        return -1;
    }
    PyObject *r = long_set(self, o);
    Py_XDECREF(r);
    return r ? 0 : -1;
}
static PyObject *long_repr(py_long64 *self) {
    return PyUnicode_FromFormat("AtomicLong(%lld)", (long long)rm_load_seq(&self->v));
}

static PyMethodDef long_methods[] = {
    {"add", (PyCFunction)long_add, METH_O, "add($self, delta, /)\n--\n\nAdd delta: the new value."},
    {"sub", (PyCFunction)long_sub, METH_O, "sub($self, delta, /)\n--\n\nSubtract delta: the new value."},
    {"set", (PyCFunction)long_set, METH_O, "set($self, value, /)\n--\n\nStore value."},
    {"get", (PyCFunction)long_get, METH_NOARGS, "get($self)\n--\n\nThe value."},
    {"swap", (PyCFunction)long_swap, METH_O, "swap($self, value, /)\n--\n\nStore value: the old one."},
    FAST("compare_and_swap", long_cas, METH_FASTCALL,
         "compare_and_swap($self, old, new, /)\n--\n\nStore new if the value is old: whether it was."),
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef long_getset[] = {
    {"value", (getter)long_value, (setter)long_set_value, "The value.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef long_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_long64, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot long_slots[] = {
    {Py_tp_doc,
     "AtomicLong(value=0)\n--\n\nA 64-bit integer changed atomically; past its ends it wraps, as Go's. Never "
     "parks. Any thread."},
    {Py_tp_new, long_new},
    {Py_tp_dealloc, sync_dealloc},
    {Py_tp_repr, long_repr},
    {Py_tp_methods, long_methods},
    {Py_tp_getset, long_getset},
    {Py_tp_members, long_members},
    {0, NULL},
};
static PyType_Spec long_spec = {"ramet.sync.atomic.AtomicLong", sizeof(py_long64), 0, OPEN_TYPE, long_slots};

int sync_more_init(PyObject *module, core_state *st) {
    PyType_Spec *specs[] = {&sem_spec, &bounded_spec, &waitgroup_spec, &long_spec};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        PyTypeObject *t = (PyTypeObject *)core_type(module, specs[i], NULL);
        int e = !t || PyModule_AddType(module, t);
        Py_XDECREF(t);
        if (e) return -1;
    }
    st->event_type = (PyTypeObject *)core_type(module, &event_spec, NULL);
    return !st->event_type || PyModule_AddType(module, st->event_type) ? -1 : 0;
}
