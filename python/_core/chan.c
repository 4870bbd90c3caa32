/* chan.c: ramet.Chan over rm_chan: a channel of PyObject pointers.
 *
 * A value's reference moves with it: sender -> buffer or receiver. send_exception wraps the exception in a
 * bomb, a private type that no user can hold, which every receive unwraps. */
#include "core.h"

typedef struct py_bomb {
    PyObject_HEAD PyObject *exc;
} py_bomb;

PyObject *chan_unwrap(core_state *st, PyObject *v) {
    if (rm_likely(Py_TYPE(v) != st->bomb_type)) return v;
    PyObject *exc = ((py_bomb *)v)->exc;
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(v);
    return NULL;
}

py_chan *chan_new(core_state *st, Py_ssize_t capacity) {
    py_chan *self = (py_chan *)st->chan_type->tp_alloc(st->chan_type, 0);
    if (!self) return NULL;
    void *buf = NULL;
    if (capacity && !(buf = PyMem_Malloc((size_t)capacity * sizeof(PyObject *)))) {
        rm_chan_init(&self->c, NULL, sizeof(PyObject *), 0, NULL);
        Py_DECREF(self);
        return (py_chan *)PyErr_NoMemory();
    }
    rm_chan_init(&self->c, st->rt, sizeof(PyObject *), (uint32_t)capacity, buf);
    self->st = st;
    return self;
}

/* Chan(capacity=0, *, name=None), makechan(size=0, label=None) */
static py_chan *make(core_state *st, const char *fn, PyObject *capacity, const char *cap_name, PyObject *name,
                     const char *name_name) {
    Py_ssize_t n = 0;
    if (capacity) {
        if (!PyIndex_Check(capacity)) {
            PyErr_Format(PyExc_TypeError, "%s: %s must be an int, not %.100s", fn, cap_name,
                         Py_TYPE(capacity)->tp_name);
            return NULL;
        }
        n = PyNumber_AsSsize_t(capacity, NULL); /* clipped: it is out of range then */
        if (n == -1 && PyErr_Occurred()) return NULL;
        if (n < 0 || n > INT32_MAX) {
            PyErr_Format(PyExc_ValueError, "%s: %s must be between 0 and %d, not %R", fn, cap_name, INT32_MAX,
                         capacity);
            return NULL;
        }
    }
    if (name == Py_None) name = NULL;
    if (name && !PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "%s: %s must be a str or None, not %.100s", fn, name_name,
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    py_chan *self = chan_new(st, n);
    if (self) self->name = Py_XNewRef(name);
    return self;
}

static PyObject *chan_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"capacity", "name", NULL};
    PyObject *capacity = NULL, *name = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:Chan", names, &capacity, &name)) return NULL;
    core_state *st = PyType_GetModuleState(type);
    return (PyObject *)make(st, "Chan", capacity, "capacity", name, "name");
}

static PyObject *core_makechan(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"size", "label"};
    PyObject *a[2];
    if (core_args("makechan", args, nargs, kwnames, names, 0, 2, a)) return NULL;
    return (PyObject *)make(core_of(module), "makechan", a[0], "size", a[1], "label");
}

static int chan_traverse(py_chan *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    for (uint32_t i = 0; i < self->c.n; i++) Py_VISIT(*(PyObject **)rm_chan_slot(&self->c, i, sizeof(PyObject *)));
    return 0;
}

static int chan_clear(py_chan *self) {
    rm_chan *c = &self->c;
    Py_CLEAR(self->owner);
    while (c->n) { /* take it out before it is dropped: that may run code which looks at the channel */
        PyObject *v = *(PyObject **)rm_chan_slot(c, 0, sizeof(PyObject *));
        if (++c->head == c->cap) c->head = 0;
        c->n--;
        Py_DECREF(v);
    }
    return 0;
}

static void chan_dealloc(py_chan *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, chan_dealloc); /* channels in channels in channels */
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    chan_clear(self);
    rm_assert(!self->c.recvq.first && !self->c.sendq.first);
    PyMem_Free(self->c.buf);
    Py_XDECREF(self->name);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END;
}

static PyObject *chan_repr(py_chan *self) {
    const rm_chan *c = &self->c;
    return PyUnicode_FromFormat("<ramet.Chan%s%V %u/%u%s at %p>", self->name ? " " : "", self->name, "", c->n, c->cap,
                                c->closed ? " closed" : "", self);
}

/* ------------------------------------------------------------------ operations ---- */

/* One required argument `v` (or none) and timeout. */
static int timed(const char *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int required, PyObject **v,
                 int64_t *deadline) {
    static const char *const names[] = {"v", "timeout"};
    *deadline = RM_FOREVER;
    PyObject *a[2] = {NULL, NULL};
    if (core_args(fn, args, nargs, kwnames, names + !required, required, 1 + required, a)) return -1;
    if (required) *v = a[0];
    PyObject *timeout = a[required];
    return timeout ? core_deadline(timeout, "timeout", deadline) : 0;
}

/* The second half of a send (v is stolen) or receive (v NULL). One function, called last by both: see chan.h. */
static rm_noinline PyObject *wait(py_chan *self, rm_g *g, PyObject *v, int64_t deadline, PyObject *const *args) {
    uintptr_t word = (uintptr_t)v;
    g->embed.waits_with = args;
    int e = rm_chan_wait(&self->c, g, &word, v != NULL, deadline);
    if (rm_unlikely(e)) {
        Py_XDECREF(v);
        return core_raise(self->st, g, e);
    }
    if (!v) return chan_unwrap(self->st, (PyObject *)word);
    Py_RETURN_NONE;
}

static rm_noinline PyObject *unsent(py_chan *self, rm_g *g, PyObject *v, int e) {
    Py_DECREF(v);
    return core_raise(self->st, g, e);
}

rm_inline PyObject *send(py_chan *self, PyObject *v, int64_t deadline, PyObject *const *args) {
    rm_g *g = core_enter(self->st);
    if (rm_unlikely(!g)) return NULL;
    Py_INCREF(v);
    uintptr_t word = (uintptr_t)v;
    int e = rm_chan_try_send(&self->c, g, &word, sizeof word, deadline);
    if (e == -EAGAIN) return wait(self, g, v, deadline, args);
    if (rm_unlikely(e)) return unsent(self, g, v, e);
    Py_RETURN_NONE;
}

static rm_noinline PyObject *send_timed(py_chan *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *v;
    int64_t deadline;
    return timed("send", args, nargs, kwnames, 1, &v, &deadline) ? NULL : send(self, v, deadline, args);
}

PyDoc_STRVAR(
    send_doc,
    "send($self, v, timeout=None)\n--\n\nSend v: to the longest waiting receiver, else into the buffer, else wait.\n\n"
    "May park. Any thread. ChanClosed if the channel is closed or is closed while waiting;\n"
    "TimeoutError after `timeout` seconds; Cancelled, and nothing is sent.");
static PyObject *chan_send(py_chan *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    if (rm_likely(nargs == 1 && !kwnames)) return send(self, args[0], RM_FOREVER, args);
    return send_timed(self, args, nargs, kwnames);
}

rm_inline PyObject *recv(py_chan *self, int64_t deadline, PyObject *const *args) {
    core_state *st = self->st;
    rm_g *g = core_enter(st);
    if (rm_unlikely(!g)) return NULL;
    uintptr_t word;
    int e = rm_chan_try_recv(&self->c, g, &word, sizeof word, deadline);
    if (rm_likely(e == 0)) return chan_unwrap(st, (PyObject *)word);
    if (rm_likely(e == -EAGAIN)) return wait(self, g, NULL, deadline, args);
    return core_raise(st, g, e);
}

static rm_noinline PyObject *recv_timed(py_chan *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    return timed("recv", args, nargs, kwnames, 0, NULL, &deadline) ? NULL : recv(self, deadline, args);
}

PyDoc_STRVAR(recv_doc,
             "recv($self, timeout=None)\n--\n\nReceive a value; of a closed channel what is left in its buffer.\n\n"
             "May park. Any thread. ChanClosed once it is closed and drained; TimeoutError; Cancelled, and\n"
             "nothing is received.");
static PyObject *chan_recv(py_chan *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    if (rm_likely(nargs == 0 && !kwnames)) return recv(self, RM_FOREVER, args);
    return recv_timed(self, args, nargs, kwnames);
}

static PyObject *pair(PyObject *v, bool ok) { /* v stolen */
    if (!v) return NULL;
    PyObject *t = PyTuple_New(2);
    if (!t) {
        Py_DECREF(v);
        return NULL;
    }
    PyTuple_SET_ITEM(t, 0, v);
    PyTuple_SET_ITEM(t, 1, Py_NewRef(ok ? Py_True : Py_False));
    return t;
}

static PyObject *recv_ok(py_chan *self, int64_t deadline, PyObject *const *args) {
    core_state *st = self->st;
    rm_g *g = core_enter(st);
    if (!g) return NULL;
    uintptr_t word;
    g->embed.waits_with = args;
    int e = rm_chan_recv_word(&self->c, g, &word, deadline);
    if (e == 0) return pair(chan_unwrap(st, (PyObject *)word), true);
    if (e == -EPIPE) return pair(Py_NewRef(Py_None), false);
    return core_raise(st, g, e);
}

PyDoc_STRVAR(
    recv_ok_doc,
    "recv_ok($self, timeout=None)\n--\n\nReceive as (value, True), or (None, False) once closed and drained.\n\n"
    "May park. Any thread. TimeoutError; Cancelled.");
static PyObject *chan_recv_ok(py_chan *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (timed("recv_ok", args, nargs, kwnames, 0, NULL, &deadline)) return NULL;
    return recv_ok(self, deadline, args);
}

PyDoc_STRVAR(try_send_doc, "try_send($self, v, /)\n--\n\nSend v if that can be done at once: whether it was. "
                           "ChanClosed if closed. Never parks.");
static PyObject *chan_try_send(py_chan *self, PyObject *v) {
    core_state *st = self->st;
    rm_g *g = core_enter(st);
    if (!g) return NULL;
    Py_INCREF(v);
    int e = rm_chan_send_word(&self->c, g, (uintptr_t)v, RAMET_POLL);
    if (e == 0) Py_RETURN_TRUE;
    Py_DECREF(v);
    if (e == -EAGAIN) Py_RETURN_FALSE;
    return core_raise(st, g, e);
}

PyDoc_STRVAR(try_recv_doc, "try_recv($self)\n--\n\n(value, True), or (None, False) if closed and drained; WouldBlock "
                           "if there is nothing. Never parks.");
static PyObject *chan_try_recv(py_chan *self, PyObject *unused) {
    (void)unused;
    return recv_ok(self, RAMET_POLL, NULL);
}

PyDoc_STRVAR(close_doc, "close($self)\n--\n\nClose: senders get ChanClosed, receivers drain the buffer first. "
                        "ChanClosed if it is closed already. Never parks.");
static PyObject *chan_close(py_chan *self, PyObject *unused) {
    (void)unused;
    core_state *st = self->st;
    rm_g *g = core_enter(st);
    if (!g) return NULL;
    int e = rm_chan_close(&self->c);
    if (e == 0) Py_RETURN_NONE;
    return core_raise(st, g, e);
}

PyDoc_STRVAR(
    send_exception_doc,
    "send_exception($self, exc, /)\n--\n\nSend an exception: it is raised in the receiver. Otherwise as send().");
static PyObject *chan_send_exception(py_chan *self, PyObject *exc) {
    core_state *st = self->st;
    if (PyExceptionClass_Check(exc)) {
        exc = PyObject_CallNoArgs(exc);
        if (!exc) return NULL;
    } else {
        Py_INCREF(exc);
    }
    if (!PyExceptionInstance_Check(exc)) {
        PyErr_Format(PyExc_TypeError, "send_exception: exc must be an exception, not %.100s", Py_TYPE(exc)->tp_name);
        Py_DECREF(exc);
        return NULL;
    }
    py_bomb *bomb = PyObject_GC_New(py_bomb, st->bomb_type);
    if (!bomb) {
        Py_DECREF(exc);
        return NULL;
    }
    bomb->exc = exc;
    PyObject_GC_Track(bomb);
    PyObject *r = send(self, (PyObject *)bomb, RM_FOREVER, NULL);
    Py_DECREF(bomb);
    return r;
}

PyDoc_STRVAR(if_recv_doc, "if_recv($self)\n--\n\nThe select case that receives from this channel.");
static PyObject *chan_if_recv(py_chan *self, PyObject *unused) {
    (void)unused;
    return case_new(self->st, CASE_RECV, (PyObject *)self, NULL, -1);
}

PyDoc_STRVAR(if_send_doc, "if_send($self, v, /)\n--\n\nThe select case that sends v to this channel.");
static PyObject *chan_if_send(py_chan *self, PyObject *v) {
    return case_new(self->st, CASE_SEND, (PyObject *)self, v, -1);
}

static PyObject *chan_next(py_chan *self) {
    core_state *st = self->st;
    rm_g *g = core_enter(st);
    if (!g) return NULL;
    uintptr_t word;
    g->embed.waits_with = NULL;
    int e = rm_chan_recv_word(&self->c, g, &word, RM_FOREVER);
    if (rm_likely(e == 0)) return chan_unwrap(st, (PyObject *)word);
    if (e == -EPIPE) return NULL; /* the end of the iteration */
    return core_raise(st, g, e);
}

static Py_ssize_t chan_len(py_chan *self) { return (Py_ssize_t)self->c.n; }
static int chan_bool(py_chan *self) {
    (void)self;
    return 1;
}
static PyObject *get_capacity(py_chan *self, void *u) {
    (void)u;
    return PyLong_FromUnsignedLong(self->c.cap);
}
static PyObject *get_closed(py_chan *self, void *u) {
    (void)u;
    return PyBool_FromLong(self->c.closed);
}
static PyObject *get_name(py_chan *self, void *u) {
    (void)u;
    return Py_NewRef(self->name ? self->name : Py_None);
}

static PyMethodDef chan_methods[] = {
    {"send", (PyCFunction)(void (*)(void))chan_send, METH_FASTCALL | METH_KEYWORDS, send_doc},
    {"recv", (PyCFunction)(void (*)(void))chan_recv, METH_FASTCALL | METH_KEYWORDS, recv_doc},
    {"recv_ok", (PyCFunction)(void (*)(void))chan_recv_ok, METH_FASTCALL | METH_KEYWORDS, recv_ok_doc},
    {"try_send", (PyCFunction)chan_try_send, METH_O, try_send_doc},
    {"try_recv", (PyCFunction)chan_try_recv, METH_NOARGS, try_recv_doc},
    {"close", (PyCFunction)chan_close, METH_NOARGS, close_doc},
    {"send_exception", (PyCFunction)chan_send_exception, METH_O, send_exception_doc},
    {"if_recv", (PyCFunction)chan_if_recv, METH_NOARGS, if_recv_doc},
    {"if_send", (PyCFunction)chan_if_send, METH_O, if_send_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Chan[int] for annotations."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef chan_getset[] = {
    {"capacity", (getter)get_capacity, NULL, "How many values the buffer holds.", NULL},
    {"closed", (getter)get_closed, NULL, "Whether close() was called.", NULL},
    {"name", (getter)get_name, NULL, "The name given, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef chan_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_chan, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(chan_doc,
             "Chan(capacity=0, *, name=None)\n--\n\nA channel, as Go's: with capacity 0 sender and receiver meet, else "
             "values wait in a buffer.\n\n"
             "`for v in chan` receives until the channel is closed and drained; len(chan) counts the values in the\n"
             "buffer; a channel is always true. May be used by goroutines and OS threads alike.");
static PyType_Slot chan_slots[] = {
    {Py_tp_doc, (void *)chan_doc},   {Py_tp_new, chan_tp_new},
    {Py_tp_traverse, chan_traverse}, {Py_tp_clear, chan_clear},
    {Py_tp_dealloc, chan_dealloc},   {Py_tp_repr, chan_repr},
    {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, chan_next},
    {Py_tp_methods, chan_methods},   {Py_tp_getset, chan_getset},
    {Py_tp_members, chan_members},   {Py_sq_length, chan_len},
    {Py_nb_bool, chan_bool},         {0, NULL},
};
static PyType_Spec chan_spec = {"ramet.Chan", sizeof(py_chan), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, chan_slots};

static int bomb_traverse(py_bomb *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->exc);
    return 0;
}
static int bomb_clear(py_bomb *self) {
    Py_CLEAR(self->exc);
    return 0;
}
static void bomb_dealloc(py_bomb *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    bomb_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}
static PyType_Slot bomb_slots[] = {
    {Py_tp_traverse, bomb_traverse}, {Py_tp_clear, bomb_clear}, {Py_tp_dealloc, bomb_dealloc}, {0, NULL}};
static PyType_Spec bomb_spec = {
    "ramet._core._Bomb", sizeof(py_bomb), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, bomb_slots};

PyDoc_STRVAR(
    makechan_doc,
    "makechan(size=0, label=None)\n--\n\nChan(size, name=label), in offset's spelling. Never parks. Any thread.");
static PyMethodDef functions[] = {
    {"makechan", (PyCFunction)(void (*)(void))core_makechan, METH_FASTCALL | METH_KEYWORDS, makechan_doc},
    {NULL, NULL, 0, NULL},
};

int chan_init(PyObject *module, core_state *st) {
    st->chan_type = (PyTypeObject *)core_type(module, &chan_spec, NULL);
    st->bomb_type = (PyTypeObject *)core_type(module, &bomb_spec, NULL);
    if (!st->chan_type || !st->bomb_type || PyModule_AddType(module, st->chan_type)) return -1;
    return core_functions(module, functions);
}
