/* scope.c: ramet.timeout, move_on_after, cancel_scope and shield: blocks of code in the tree of rm_scope.
 *
 * A scope stands in the Python object, which is kept alive from __enter__ to __exit__. Whether the Cancelled that
 * leaves a block was the block's own is seen from two things: the scope was cancelled and nothing outside it is in
 * force, and the exception is not the one of a Goroutine.cancel(), which is marked as such and always goes on. */
#include "core.h"

#include "netpoll.h"
#include "scope.h"

typedef struct py_scope {
    PyObject_HEAD rm_scope s;
    core_state *st;
    struct py_scope *parent; /* a Group's members'; NULL: whatever is the innermost of its goroutine */
    uint64_t id;             /* of the goroutine it is entered on */
    int64_t ahead;           /* ns from enter to the deadline; RM_FOREVER: none */
    int64_t deadline;        /* set before enter */
    PyObject *weakrefs;
    uint8_t kind;
    bool entered, left, caught, cancel_first;
} py_scope;

enum { SCOPE_TIMEOUT, SCOPE_MOVE_ON, SCOPE_CANCEL, SCOPE_SHIELD };

static py_scope *scope_new(core_state *st, int kind, int64_t ahead) {
    py_scope *self;
    if (rm_likely(st->nfree_scopes)) {
        self = (py_scope *)st->free_scopes[--st->nfree_scopes];
        memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
        Py_INCREF(st->scope_type);
        _Py_NewReference((PyObject *)self);
    } else if (!(self = (py_scope *)st->scope_type->tp_alloc(st->scope_type, 0))) {
        return NULL;
    }
    self->st = st;
    self->kind = (uint8_t)kind;
    self->ahead = ahead;
    self->deadline = RM_FOREVER;
    return self;
}

/* One is made for every block, so a few dead ones are kept. It is not entered: that holds a reference. */
static void scope_dealloc(py_scope *self) {
    PyTypeObject *type = Py_TYPE(self);
    core_state *st = self->st;
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    Py_XDECREF(self->parent);
    CORE_OWNED;
    if (rm_likely(st->nfree_scopes < 8 && type == st->scope_type)) /* not any more once the module is cleared */
        st->free_scopes[st->nfree_scopes++] = (PyObject *)self;
    else type->tp_free(self);
    Py_DECREF(type);
}

void scope_clear(core_state *st) {
    while (st->nfree_scopes) PyObject_Free(st->free_scopes[--st->nfree_scopes]);
}

void scope_unwind(rm_g *g) {
    while (g->scope) {
        py_scope *self = rm_container_of(g->scope, py_scope, s);
        rm_scope_leave(&self->s);
        self->entered = false;
        self->left = true;
        Py_DECREF(self);
    }
}

static const char *const names[] = {"timeout()", "move_on_after()", "cancel_scope()", "shield()"};

static PyObject *scope_enter(py_scope *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    core_state *st = self->st;
    rm_g *g = core_enter_goroutine(st, names[self->kind]);
    if (rm_unlikely(!g)) return NULL;
    if (rm_unlikely(self->entered || self->left)) {
        PyErr_Format(PyExc_RuntimeError, "a scope is entered once: make a new %s", names[self->kind]);
        return NULL;
    }
    rm_scope *parent = NULL;
    if (self->parent) {
        if (!self->parent->entered) {
            PyErr_SetString(PyExc_RuntimeError, "the scope this one belongs to is not entered");
            return NULL;
        }
        parent = &self->parent->s;
    }
    int64_t deadline = self->deadline;
    if (self->ahead != RM_FOREVER) deadline = self->ahead <= 0 ? 1 : rm_after(self->ahead);
    if (rm_scope_enter(&self->s, g, parent, deadline, self->kind == SCOPE_SHIELD)) return PyErr_NoMemory();
    self->id = g->id;
    self->entered = true;
    if (self->cancel_first) rm_scope_cancel(&self->s);
    return Py_NewRef((PyObject *)Py_NewRef(self)); /* one for the tree, one for `as` */
}

static PyObject *scope_exit(py_scope *self, PyObject *const *args, Py_ssize_t nargs) {
    core_state *st = self->st;
    if (rm_unlikely(nargs != 3)) return PyErr_Format(PyExc_TypeError, "__exit__ takes 3 arguments");
    rm_m *m = rm_tls;
    rm_g *g = m && m->rt == st->rt && m->p ? m->p->cur : NULL;
    if (rm_unlikely(!self->entered || self->s.g != g || g->scope != &self->s)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s left out of order: scopes are left by the goroutine that entered them, the innermost first",
                     names[self->kind]);
        return NULL;
    }
    self->entered = false;
    self->left = true;
    bool own = rm_scope_leave(&self->s);
    PyObject *exc = args[1];
    bool swallow = false;
    if (rm_unlikely(own && exc != Py_None && PyErr_GivenExceptionMatches(args[0], st->Cancelled) &&
                    !(g->scope && g->scope->in_force))) {
        PyObject *direct = PyObject_GetAttr(exc, st->str_direct);
        if (direct) Py_DECREF(direct);
        else PyErr_Clear();
        swallow = !direct;
    }
    self->caught = swallow;
    Py_DECREF(self); /* the tree's; the caller has one */
    if (rm_likely(!swallow)) Py_RETURN_FALSE;
    if (self->kind != SCOPE_TIMEOUT || !self->s.expired) Py_RETURN_TRUE;
    PyErr_SetString(PyExc_TimeoutError, "timed out");
    return NULL;
}

PyDoc_STRVAR(scope_cancel_doc,
             "cancel($self)\n--\n\nCancel the block: Cancelled at every cancellation point in it. Never "
             "parks. Any thread.");
static PyObject *scope_cancel(py_scope *self, PyObject *u) {
    (void)u;
    if (!self->entered) {
        if (!self->left) self->cancel_first = true;
        Py_RETURN_NONE;
    }
    if (!core_enter(self->st)) return NULL;
    rm_scope_cancel(&self->s);
    Py_RETURN_NONE;
}

static PyObject *get_cancelled(py_scope *self, void *u) {
    (void)u;
    return PyBool_FromLong(self->caught);
}

static PyObject *get_cancel_called(py_scope *self, void *u) {
    (void)u;
    return PyBool_FromLong(self->cancel_first || self->s.cancelled);
}

static PyObject *get_deadline(py_scope *self, void *u) {
    (void)u;
    int64_t d = self->entered || self->left ? self->s.deadline : self->deadline;
    if (d == RM_FOREVER) Py_RETURN_NONE;
    return PyFloat_FromDouble((double)d / 1e9);
}

static int set_deadline(py_scope *self, PyObject *v, void *u) {
    (void)u;
    int64_t ns = RM_FOREVER;
    if (!v) {
        PyErr_SetString(PyExc_TypeError, "deadline cannot be deleted: None is no deadline");
        return -1;
    }
    if (v != Py_None && core_duration(v, "deadline", &ns)) return -1;
    if (self->kind == SCOPE_SHIELD) {
        PyErr_SetString(PyExc_ValueError, "shield() has no deadline");
        return -1;
    }
    if (ns < 1) ns = 1; /* long past */
    if (!self->entered) {
        self->ahead = RM_FOREVER;
        self->deadline = ns;
        return 0;
    }
    if (!core_enter(self->st)) return -1;
    if (rm_scope_set_deadline(&self->s, ns)) {
        PyErr_NoMemory();
        return -1;
    }
    rm_p *p = self->s.g->p;
    if (rm_load(&p->idle)) rm_netpoll_wake(p); /* the proc is another thread's, and sleeps */
    return 0;
}

static PyObject *scope_repr(py_scope *self) {
    return PyUnicode_FromFormat(
        "<ramet.%s %s at %p>", names[self->kind],
        self->entered ? (self->s.cancelled ? "cancelled" : "entered") : (self->left ? "left" : "new"), self);
}

#define FAST(name, fn, flags, doc) {name, (PyCFunction)(void (*)(void))fn, flags, doc}
static PyMethodDef scope_methods[] = {
    FAST("__enter__", scope_enter, METH_FASTCALL,
         "__enter__($self)\n--\n\nBegin the block: this Scope. Never parks. Goroutines and the main thread."),
    FAST("__exit__", scope_exit, METH_FASTCALL,
         "__exit__($self, kind, exc, traceback, /)\n--\n\nEnd the block, and its own cancellation. Never parks."),
    {"cancel", (PyCFunction)scope_cancel, METH_NOARGS, scope_cancel_doc},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef scope_getset[] = {
    {"cancelled", (getter)get_cancelled, NULL, "Whether it caught its own cancellation.", NULL},
    {"cancel_called", (getter)get_cancel_called, NULL, "Whether it has been cancelled, or has expired.", NULL},
    {"deadline", (getter)get_deadline, (setter)set_deadline, "On the clock of monotonic(), or None. Settable.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef scope_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_scope, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot scope_slots[] = {
    {Py_tp_doc, "A block that can be cancelled; made by timeout, move_on_after, cancel_scope, shield."},
    {Py_tp_dealloc, scope_dealloc},
    {Py_tp_repr, scope_repr},
    {Py_tp_methods, scope_methods},
    {Py_tp_getset, scope_getset},
    {Py_tp_members, scope_members},
    {0, NULL},
};
static PyType_Spec scope_spec = {"ramet.Scope", sizeof(py_scope), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                                 scope_slots};

/* ------------------------------------------------------------------ functions ---- */

static PyObject *make_timed(PyObject *module, PyObject *seconds, int kind) {
    int64_t ns = RM_FOREVER;
    if (seconds != Py_None && core_duration(seconds, "s", &ns)) return NULL;
    return (PyObject *)scope_new(core_of(module), kind, ns);
}

PyDoc_STRVAR(timeout_doc,
             "timeout(s, /)\n--\n\nA block that has s seconds (None: for ever): with timeout(5) as scope: ...\n\n"
             "Once they have passed, Cancelled is raised at every cancellation point in it, and "
             "TimeoutError leaves it.");
static PyObject *core_timeout(PyObject *module, PyObject *s) { return make_timed(module, s, SCOPE_TIMEOUT); }

PyDoc_STRVAR(move_on_after_doc,
             "move_on_after(s, /)\n--\n\nAs timeout(), but the block is just left once the time is up: "
             "scope.cancelled tells.");
static PyObject *core_move_on_after(PyObject *module, PyObject *s) { return make_timed(module, s, SCOPE_MOVE_ON); }

PyDoc_STRVAR(cancel_scope_doc, "cancel_scope()\n--\n\nA block that scope.cancel() ends.");
static PyObject *core_cancel_scope(PyObject *module, PyObject *u) {
    (void)u;
    return (PyObject *)scope_new(core_of(module), SCOPE_CANCEL, RM_FOREVER);
}

PyDoc_STRVAR(shield_doc,
             "shield()\n--\n\nA block that nothing outside it cancels: Goroutine.cancel() and outer scopes wait "
             "until it is left.");
static PyObject *core_shield(PyObject *module, PyObject *u) {
    (void)u;
    return (PyObject *)scope_new(core_of(module), SCOPE_SHIELD, RM_FOREVER);
}

PyDoc_STRVAR(child_scope_doc, "_child_scope(parent, /)\n--\n\nA cancel scope below parent, to be entered by another "
                              "goroutine.");
static PyObject *core_child_scope(PyObject *module, PyObject *parent) {
    core_state *st = core_of(module);
    if (Py_TYPE(parent) != st->scope_type) return PyErr_Format(PyExc_TypeError, "a Scope is needed");
    py_scope *self = scope_new(st, SCOPE_CANCEL, RM_FOREVER);
    if (self) self->parent = (py_scope *)Py_NewRef(parent);
    return (PyObject *)self;
}

static PyMethodDef functions[] = {
    {"timeout", core_timeout, METH_O, timeout_doc},
    {"move_on_after", core_move_on_after, METH_O, move_on_after_doc},
    {"cancel_scope", core_cancel_scope, METH_NOARGS, cancel_scope_doc},
    {"shield", core_shield, METH_NOARGS, shield_doc},
    {"_child_scope", core_child_scope, METH_O, child_scope_doc},
    {NULL, NULL, 0, NULL},
};

int scope_init(PyObject *module, core_state *st) {
    st->scope_type = (PyTypeObject *)core_type(module, &scope_spec, NULL);
    if (!st->scope_type || PyModule_AddType(module, st->scope_type)) return -1;
    if (!(st->str_direct = PyUnicode_InternFromString("_direct"))) return -1;
    return core_functions(module, functions);
}
