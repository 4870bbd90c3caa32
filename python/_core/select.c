/* select.c: ramet.select, its cases and what it returns.
 *
 * Everything becomes a case of rm_select: a goroutine's end is a receive from a channel that is closed then; a
 * descriptor is a receive from a channel of one token that the poller's watch fills. */
#include "core.h"

/* ------------------------------------------------------------------ cases ---- */

PyObject *case_new(core_state *st, int kind, PyObject *source, PyObject *value, int fd) {
    py_case *self = PyObject_GC_New(py_case, st->case_type);
    if (!self) return NULL;
    self->kind = (uint8_t)kind;
    self->fd = fd;
    self->source = Py_XNewRef(source);
    self->value = Py_XNewRef(value);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int case_traverse(py_case *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->source);
    Py_VISIT(self->value);
    return 0;
}

static int case_clear(py_case *self) {
    Py_CLEAR(self->source);
    Py_CLEAR(self->value);
    return 0;
}

static void case_free(py_case *self) {
    PyTypeObject *type = Py_TYPE(self);
    case_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static void case_dealloc(py_case *self) {
    PyObject_GC_UnTrack(self);
    if (rm_likely(!core_nests(self->value))) {
        case_free(self);
        return;
    }
    Py_TRASHCAN_BEGIN(self, case_dealloc); /* cases that send cases that send cases */
    case_free(self);
    Py_TRASHCAN_END;
}

static bool same_case(const py_case *a, const py_case *b) {
    if (a == b) return true;
    if (a->kind != b->kind || a->kind == CASE_DEFAULT) return false;
    if (a->kind == CASE_READABLE || a->kind == CASE_WRITABLE) return a->fd == b->fd;
    return a->source == b->source;
}

static PyObject *case_richcompare(PyObject *a, PyObject *b, int op) {
    if ((op != Py_EQ && op != Py_NE) || Py_TYPE(a) != Py_TYPE(b)) Py_RETURN_NOTIMPLEMENTED;
    return PyBool_FromLong(same_case((py_case *)a, (py_case *)b) == (op == Py_EQ));
}

static Py_hash_t case_hash(py_case *self) {
    uintptr_t x = self->fd >= 0 ? (uintptr_t)self->fd : (uintptr_t)self->source >> 4;
    Py_hash_t h = (Py_hash_t)(x * 31 + self->kind);
    return h == -1 ? -2 : h;
}

static PyObject *case_repr(py_case *self) {
    switch (self->kind) {
    case CASE_RECV:
        return PyUnicode_FromFormat("%R.if_recv()", self->source);
    case CASE_SEND:
        return PyUnicode_FromFormat("%R.if_send(%R)", self->source, self->value ? self->value : Py_None);
    case CASE_DONE:
        return PyUnicode_FromFormat("%R.if_done()", self->source);
    case CASE_SET:
        return PyUnicode_FromFormat("%R.if_set()", self->source);
    case CASE_READABLE:
        return PyUnicode_FromFormat("ramet.readable(%d)", self->fd);
    case CASE_WRITABLE:
        return PyUnicode_FromFormat("ramet.writable(%d)", self->fd);
    default:
        return PyUnicode_FromString("ramet.default");
    }
}

static PyType_Slot case_slots[] = {
    {Py_tp_doc, "A case of select(); made by if_recv, if_send, if_done, readable, writable."},
    {Py_tp_traverse, case_traverse},
    {Py_tp_clear, case_clear},
    {Py_tp_dealloc, case_dealloc},
    {Py_tp_richcompare, case_richcompare},
    {Py_tp_hash, case_hash},
    {Py_tp_repr, case_repr},
    {0, NULL},
};
static PyType_Spec case_spec = {
    "ramet.Case", sizeof(py_case), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, case_slots};

/* ------------------------------------------------------------------ selections ---- */

typedef struct py_selection {
    PyObject_HEAD core_state *st;
    PyObject *given; /* the argument that ran: a Case, or a bare Chan */
    PyObject *value;
    Py_ssize_t index;
    bool ok;
} py_selection;

static int selection_traverse(py_selection *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->given);
    Py_VISIT(self->value);
    return 0;
}

static int selection_clear(py_selection *self) {
    Py_CLEAR(self->given);
    Py_CLEAR(self->value);
    return 0;
}

/* One is made for every select(), so a few dead ones are kept. */
static void selection_free(py_selection *self) {
    PyTypeObject *type = Py_TYPE(self);
    core_state *st = self->st;
    selection_clear(self);
    CORE_OWNED;
    if (rm_likely(st->nfree_selections < 8 && type == st->selection_type)) /* not any more once the module is cleared */
        st->free_selections[st->nfree_selections++] = (PyObject *)self;
    else type->tp_free(self);
    Py_DECREF(type);
}

static void selection_dealloc(py_selection *self) {
    PyObject_GC_UnTrack(self);
    if (rm_likely(!core_nests(self->value))) {
        selection_free(self);
        return;
    }
    Py_TRASHCAN_BEGIN(self, selection_dealloc); /* what was received may be a Selection */
    selection_free(self);
    Py_TRASHCAN_END;
}

void select_clear(core_state *st) {
    while (st->nfree_selections) PyObject_GC_Del(st->free_selections[--st->nfree_selections]);
}

/* The case that ran, as a Case. New reference. */
static PyObject *selection_case(py_selection *self, void *u) {
    (void)u;
    if (Py_TYPE(self->given) == self->st->case_type) return Py_NewRef(self->given);
    PyObject *made = case_new(self->st, CASE_RECV, self->given, NULL, -1);
    if (made) Py_SETREF(self->given, Py_NewRef(made));
    return made;
}

static PyObject *selection_chan(py_selection *self, void *u) {
    (void)u;
    if (Py_TYPE(self->given) != self->st->case_type) return Py_NewRef(self->given);
    py_case *k = (py_case *)self->given;
    return Py_NewRef(k->kind == CASE_RECV || k->kind == CASE_SEND ? k->source : Py_None);
}

static PyObject *selection_richcompare(PyObject *a, PyObject *b, int op) {
    py_selection *self = (py_selection *)a;
    if ((op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
    if (a == b) return PyBool_FromLong(op == Py_EQ);
    if (Py_TYPE(b) != self->st->case_type && !chan_check(self->st, b)) Py_RETURN_NOTIMPLEMENTED;
    bool same;
    if (self->given == b) {
        same = true;
    } else {
        py_case x = {.kind = CASE_RECV, .fd = -1, .source = self->given},
                y = {.kind = CASE_RECV, .fd = -1, .source = b};
        const py_case *p = Py_TYPE(self->given) == self->st->case_type ? (py_case *)self->given : &x;
        const py_case *q = Py_TYPE(b) == self->st->case_type ? (py_case *)b : &y;
        same = same_case(p, q);
    }
    return PyBool_FromLong(same == (op == Py_EQ));
}

static PyObject *selection_repr(py_selection *self) {
    return PyUnicode_FromFormat("<Selection index=%zd case=%R value=%R ok=%s>", self->index, self->given, self->value,
                                self->ok ? "True" : "False");
}

static PyGetSetDef selection_getset[] = {
    {"case", (getter)selection_case, NULL, "The case that ran.", NULL},
    {"chan", (getter)selection_chan, NULL, "Its channel, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef selection_members[] = {
    {"index", T_PYSSIZET, offsetof(py_selection, index), READONLY, "Its place among the arguments."},
    {"value", T_OBJECT, offsetof(py_selection, value), READONLY, "What was received; None for a send."},
    {"ok", T_BOOL, offsetof(py_selection, ok), READONLY, "False for a receive from a closed channel."},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot selection_slots[] = {
    {Py_tp_doc, "What select() returns; equals the case that ran."},
    {Py_tp_traverse, selection_traverse},
    {Py_tp_clear, selection_clear},
    {Py_tp_dealloc, selection_dealloc},
    {Py_tp_richcompare, selection_richcompare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_repr, selection_repr},
    {Py_tp_getset, selection_getset},
    {Py_tp_members, selection_members},
    {0, NULL},
};
static PyType_Spec selection_spec = {"ramet.Selection", sizeof(py_selection), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                                         Py_TPFLAGS_IMMUTABLETYPE,
                                     selection_slots};

static PyObject *selection_new(core_state *st, PyObject *given, Py_ssize_t index, PyObject *value, bool ok) {
    py_selection *s;
    if (rm_likely(st->nfree_selections)) {
        s = (py_selection *)st->free_selections[--st->nfree_selections];
        Py_INCREF(st->selection_type);
        _Py_NewReference((PyObject *)s);
    } else {
        s = PyObject_GC_New(py_selection, st->selection_type);
    }
    if (!s) {
        Py_DECREF(value);
        return NULL;
    }
    s->st = st;
    s->given = Py_NewRef(given);
    s->value = value;
    s->index = index;
    s->ok = ok;
    PyObject_GC_Track(s);
    return (PyObject *)s;
}

/* ------------------------------------------------------------------ select ---- */

#define FEW 8

typedef struct fd_case { /* a descriptor's watch, and the channel that it fills */
    rm_watch w;
    rm_chan c;
    uintptr_t slot;
    rm_rt *rt;
} fd_case;

static void fd_ready(rm_watch *w, int events) {
    fd_case *f = rm_container_of(w, fd_case, w);
    rm_chan_send_word(&f->c, f->rt->p.g0, (uintptr_t)events, RAMET_POLL);
}

/* Turn argument i into a case. -1 with an exception. */
static int add_case(py_select *s, Py_ssize_t i, PyObject *arg) {
    core_state *st = s->st;
    rm_case *k = &s->cases[i];
    *k = (rm_case){NULL, &s->words[i], RAMET_RECV, false};
    s->words[i] = 0;
    if (Py_TYPE(arg) == st->case_type) {
        py_case *c = (py_case *)arg;
        switch (c->kind) {
        case CASE_RECV:
            k->chan = &((py_chan *)c->source)->c;
            return 0;
        case CASE_SEND:
            k->chan = &((py_chan *)c->source)->c;
            k->dir = RAMET_SEND;
            s->words[i] = (uintptr_t)c->value;
            return 0;
        case CASE_DONE: {
            py_chan *done = goroutine_done_chan((py_goroutine *)c->source);
            if (!done) return -1;
            k->chan = &done->c;
            return 0;
        }
        case CASE_SET: {
            py_chan *set = event_chan(c->source);
            if (!set) return -1;
            Py_INCREF(set); /* clear() drops it, and what later cases allocate may run any code */
            s->nsets++;
            k->chan = &set->c;
            return 0;
        }
        case CASE_DEFAULT:
            if (s->default_at >= 0) {
                PyErr_SetString(PyExc_ValueError, "select: default is given twice");
                return -1;
            }
            s->default_at = i;
            return 0;
        default:
            s->nfds++;
            return 0;
        }
    }
    if (chan_check(st, arg)) {
        k->chan = &((py_chan *)arg)->c;
        return 0;
    }
    if (arg == Py_None) return 0;
    PyErr_Format(PyExc_TypeError, "select: argument %zd must be a case, a Chan, default or None, not %.100s", i + 1,
                 Py_TYPE(arg)->tp_name);
    return -1;
}

static void stop_watches(py_select *s, int n) {
    for (int i = 0; i < n; i++)
        if (s->fds[i].w.armed) rm_watch_stop(s->st->rt, &s->fds[i].w);
}

static int start_watches(py_select *s, PyObject *const *args) {
    rm_rt *rt = s->st->rt;
    if (!s->g->p) {
        PyErr_SetString(PyExc_RuntimeError, "select: readable() and writable() cases need a goroutine or the main "
                                            "thread, not another OS thread: the poller belongs to the proc");
        return -1;
    }
    s->fds = PyMem_Calloc((size_t)s->nfds, sizeof *s->fds);
    if (!s->fds) {
        PyErr_NoMemory();
        return -1;
    }
    int f = 0;
    for (Py_ssize_t i = 0; i < s->n; i++) {
        py_case *c = (py_case *)args[i];
        if (Py_TYPE(args[i]) != s->st->case_type || (c->kind != CASE_READABLE && c->kind != CASE_WRITABLE)) continue;
        fd_case *fc = &s->fds[f];
        rm_chan_init(&fc->c, rt, sizeof(uintptr_t), 1, &fc->slot);
        fc->rt = rt;
        fc->w.fd = c->fd;
        fc->w.events = c->kind == CASE_READABLE ? RAMET_READABLE : RAMET_WRITABLE;
        fc->w.fn = fd_ready;
        s->cases[i].chan = &fc->c;
        if (c->kind == CASE_READABLE && net_has_buffered(s->st, c->source)) { /* the kernel does not know of it */
            fd_ready(&fc->w, RAMET_READABLE);
            f++;
            continue;
        }
        int e = rm_watch_start(rt, &fc->w);
        if (e < 0) {
            stop_watches(s, f);
            core_raise(s->st, s->g, e);
            return -1;
        }
        if (e > 0) fd_ready(&fc->w, e);
        f++;
    }
    return 0;
}

static PyObject *finish(py_select *s, PyObject *const *args, int i) {
    core_state *st = s->st;
    PyObject *arg = args[i];
    rm_case *k = &s->cases[i];
    if (Py_TYPE(arg) == st->case_type) {
        py_case *c = (py_case *)arg;
        if (c->kind == CASE_SEND) return selection_new(st, arg, i, Py_NewRef(Py_None), true);
        if (c->kind == CASE_DONE) return selection_new(st, arg, i, Py_NewRef(c->source), true);
        if (c->kind != CASE_RECV) return selection_new(st, arg, i, Py_NewRef(c->source), true);
    }
    if (!k->ok) return selection_new(st, arg, i, Py_NewRef(Py_None), false);
    PyObject *v = chan_unwrap(st, (PyObject *)s->words[i]);
    return v ? selection_new(st, arg, i, v, true) : NULL;
}

static rm_noinline void drop_sets(py_select *s, PyObject *const *args) {
    for (Py_ssize_t i = 0; s->nsets; i++) {
        if (Py_TYPE(args[i]) != s->st->case_type || ((py_case *)args[i])->kind != CASE_SET) continue;
        Py_DECREF(rm_container_of(s->cases[i].chan, py_chan, c));
        s->nsets--;
    }
}

static PyObject *run_select(py_select *s, PyObject *const *args, int64_t deadline) {
    for (Py_ssize_t i = 0; i < s->n; i++)
        if (add_case(s, i, args[i])) return NULL;
    if (rm_unlikely(s->nfds) && start_watches(s, args)) return NULL;
    if (s->default_at >= 0) deadline = RAMET_POLL;
    for (Py_ssize_t i = 0; i < s->n; i++) /* what is sent is the receiver's from the moment it is taken */
        if (s->cases[i].dir == RAMET_SEND) Py_INCREF((PyObject *)s->words[i]);
    s->g->embed.select = s;
    s->g->embed.waits_with = s->args;
    int got = rm_select(s->g, s->cases, (int)s->n, deadline);
    for (Py_ssize_t i = 0; i < s->n; i++)
        if (s->cases[i].dir == RAMET_SEND && i != got) Py_DECREF((PyObject *)s->words[i]);
    if (rm_unlikely(s->nfds)) stop_watches(s, s->nfds);
    if (got >= 0) return finish(s, args, got);
    if (got == -EAGAIN && s->default_at >= 0)
        return selection_new(s->st, args[s->default_at], s->default_at, Py_NewRef(Py_None), true);
    return core_raise(s->st, s->g, got);
}

static rm_noinline PyObject *select_many(py_select *s, PyObject *const *args, int64_t deadline) {
    char *mem = PyMem_Malloc((size_t)s->n * (sizeof *s->cases + sizeof *s->words));
    if (!mem) return PyErr_NoMemory();
    s->cases = (rm_case *)mem;
    s->words = (uintptr_t *)(s->cases + s->n);
    PyObject *r = run_select(s, args, deadline);
    if (rm_unlikely(s->nsets)) drop_sets(s, args);
    PyMem_Free(mem);
    return r;
}

PyDoc_STRVAR(
    select_doc,
    "select(*cases, timeout=None)\n--\n\n"
    "Wait until a case can run, run exactly one, uniformly at random among the ready, and return a Selection.\n\n"
    "A case is chan.if_recv(), chan.if_send(v), a bare channel (if_recv), goroutine.if_done(), readable(fd),\n"
    "writable(fd), None (never ready), or default, which makes it non-blocking. No case at all blocks\n"
    "for ever. May park. Any thread (but for descriptors). ChanClosed if the case chosen is a send on a\n"
    "closed channel; TimeoutError; Cancelled.");
static PyObject *core_select(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    core_state *st = core_of(module);
    int64_t deadline = RM_FOREVER;
    if (rm_unlikely(kwnames != NULL)) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, 0);
        if (PyTuple_GET_SIZE(kwnames) != 1 || PyUnicode_CompareWithASCIIString(name, "timeout") != 0)
            return PyErr_Format(PyExc_TypeError, "select: unexpected keyword argument %R (only timeout is known)",
                                name);
        if (core_deadline(args[nargs], "timeout", &deadline)) return NULL;
    }
    if (nargs > RAMET_SELECT_MAX) return PyErr_Format(PyExc_ValueError, "select: at most %d cases", RAMET_SELECT_MAX);
    py_select s = {.st = st, .args = args, .n = nargs, .default_at = -1};
    s.g = core_enter(st);
    if (!s.g) return NULL;
    PyObject *r;
    if (nargs <= FEW) { /* no more of the stack than is needed: many park here */
        s.cases = __builtin_alloca((size_t)nargs * sizeof *s.cases);
        s.words = __builtin_alloca((size_t)nargs * sizeof *s.words);
        r = run_select(&s, args, deadline);
        if (rm_unlikely(s.nsets)) drop_sets(&s, args);
    } else {
        r = select_many(&s, args, deadline);
    }
    PyMem_Free(s.fds);
    return r;
}

static PyObject *fd_case_of(PyObject *module, PyObject *fd, int kind) {
    int n = PyObject_AsFileDescriptor(fd);
    if (n < 0) return NULL;
    return case_new(core_of(module), kind, fd, NULL, n);
}

PyDoc_STRVAR(
    readable_doc,
    "readable(fd, /)\n--\n\nThe select case that is ready when fd (an int or an object with fileno()) can be read.");
static PyObject *core_readable(PyObject *module, PyObject *fd) { return fd_case_of(module, fd, CASE_READABLE); }
PyDoc_STRVAR(
    writable_doc,
    "writable(fd, /)\n--\n\nThe select case that is ready when fd (an int or an object with fileno()) can be written.");
static PyObject *core_writable(PyObject *module, PyObject *fd) { return fd_case_of(module, fd, CASE_WRITABLE); }

static PyMethodDef functions[] = {
    {"select", (PyCFunction)(void (*)(void))core_select, METH_FASTCALL | METH_KEYWORDS, select_doc},
    {"readable", core_readable, METH_O, readable_doc},
    {"writable", core_writable, METH_O, writable_doc},
    {NULL, NULL, 0, NULL},
};

int select_init(PyObject *module, core_state *st) {
    st->case_type = (PyTypeObject *)core_type(module, &case_spec, NULL);
    st->selection_type = (PyTypeObject *)core_type(module, &selection_spec, NULL);
    if (!st->case_type || !st->selection_type) return -1;
    if (PyModule_AddType(module, st->case_type) || PyModule_AddType(module, st->selection_type)) return -1;
    st->default_case = case_new(st, CASE_DEFAULT, NULL, NULL, -1);
    if (!st->default_case || PyModule_AddObjectRef(module, "default", st->default_case)) return -1;
    return core_functions(module, functions);
}
