/* timer.c: ramet.time's Timer and Ticker, with Go's (>= 1.23) stop and reset.
 *
 * A timer fires on the loop's stack, where no Python code may run and nothing is dropped that could run some: it puts
 * a float into its channel's one slot, if that is free, or starts its goroutine, for which everything was made ready
 * when it was armed. Timer and channel keep each other alive, so that either may be held (after() gives out
 * the channel only); the collector finds the pair. */
#include "core.h"

typedef struct py_timer {
    PyObject_HEAD rm_timer t;
    py_chan *c;        /* or NULL: it calls fn */
    PyObject *fn, *args, *kwnames, *context; /* args: a tuple, the values of kwnames at its end */
    rm_pyplace born;
    core_state *st;
    PyObject *weakrefs;
    uint32_t owed;     /* goroutines that have been started to call fn, and a reference each */
    bool ticks, kept;  /* kept: armed with fn, it holds itself */
    bool copied;       /* in a forked child it goes on, too */
    bool held_up;      /* and is to, once there is a runtime */
} py_timer;

static void fire_chan(rm_timer *t) {
    py_timer *self = rm_container_of(t, py_timer, t);
    if (self->c->c.n) return; /* a slow receiver loses ticks */
    PyObject *now = PyFloat_FromDouble(core_wall_time());
    if (!now) {
        PyErr_Clear();
        return;
    }
    if (rm_chan_send_word(&self->c->c, self->st->rt->p.g0, (uintptr_t)now, RAMET_POLL)) Py_DECREF(now);
}

static void fire_fn(rm_timer *t) {
    py_timer *self = rm_container_of(t, py_timer, t);
    if (goroutine_spawn(self->st, (PyObject *)self, Py_XNewRef(self->context), self->born)) {
        /* no stack to be had: in a while, then */
        rm_timer_start(&self->st->rt->p.timers, t, rm_now(), rm_after(RAMET_MILLISECOND), 0);
        return;
    }
    self->kept = false;
    self->owed++; /* the reference is the goroutine's now */
}

/* What the goroutine calls. */
static PyObject *timer_call(py_timer *self, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    if (!self->owed) return PyErr_Format(PyExc_TypeError, "a Timer is not callable");
    self->owed--;
    Py_ssize_t n = PyTuple_GET_SIZE(self->args) - (self->kwnames ? PyTuple_GET_SIZE(self->kwnames) : 0);
    PyObject *fn = Py_NewRef(self->fn), *values = Py_NewRef(self->args), *names = Py_XNewRef(self->kwnames);
    Py_DECREF(self); /* the caller has one more */
    PyObject *r;
    CORE_CALL_OUT(r = PyObject_Vectorcall(fn, &PyTuple_GET_ITEM(values, 0), (size_t)n, names));
    Py_DECREF(fn);
    Py_DECREF(values);
    Py_XDECREF(names);
    return r;
}

static PyObject *not_after_shutdown(core_state *st) {
    PyErr_SetString(PyExc_RuntimeError, "ramet has been shut down");
    (void)st;
    return NULL;
}

static int arm(py_timer *self, int64_t ns) {
    core_state *st = self->st;
    if (!core_enter_main_too(st, "a timer")) return -1;
    rm_p *p = &st->rt->p;
    if (rm_timer_start(&p->timers, &self->t, rm_load(&p->now), rm_after(ns < 0 ? 0 : ns), self->ticks ? ns : 0)) {
        PyErr_NoMemory();
        return -1;
    }
    self->held_up = false;
    if (rm_load(&p->idle)) rm_netpoll_wake(p); /* the proc is another thread's, and sleeps */
    if (self->fn && !self->kept) {
        self->kept = true;
        Py_INCREF(self);
    }
    return 0;
}

/* No value of before is received after this. Whether something was stopped. */
static bool disarm(py_timer *self) {
    core_state *st = self->st;
    bool was = self->held_up || (st->rt && rm_timer_stop(&st->rt->p.timers, &self->t));
    self->held_up = false;
    if (self->c && self->c->c.n) {
        uintptr_t v;
        rm_g *woken;
        if (rm_chan_take(&self->c->c, &v, sizeof v, &woken)) Py_DECREF((PyObject *)v);
        was = true;
    }
    return was;
}

static void let_go(py_timer *self) {
    if (!self->kept) return;
    self->kept = false;
    Py_DECREF(self);
}

/* ------------------------------------------------------------------ forks ---- */

/* Time passes in a forked child, too: channels and deadlines of the parent's get it there. What calls a function is the
 * parent's affair: it would be called in both. */
void timers_fork(core_state *st, rm_rt *rt) {
    const rm_heap *h = &rt->p.timers.heap;
    st->timers = PyList_New(0);
    for (uint32_t i = 0; i < h->n && st->timers; i++) {
        rm_timer *t = rm_container_of(h->nodes[h->slots[i].id], rm_timer, node);
        if (t->fn != fire_chan && t->fn != fire_fn) continue;
        py_timer *self = rm_container_of(t, py_timer, t);
        if (!self->copied || !Py_REFCNT(self)) continue; /* it is being dropped */
        if (PyList_Append(st->timers, (PyObject *)self)) break;
        self->held_up = true;
    }
    rm_timers_forget(&rt->p.timers);
}

int timers_resume(core_state *st) {
    PyObject *list = st->timers;
    if (rm_likely(!list)) return 0;
    st->timers = NULL;
    rm_p *p = &st->rt->p;
    int e = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && !e; i++) {
        py_timer *self = (py_timer *)PyList_GET_ITEM(list, i);
        if (!self->held_up) continue; /* stopped meanwhile */
        self->held_up = false;
        e = rm_timer_start(&p->timers, &self->t, rm_load(&p->now), self->t.when, self->t.period);
    }
    if (rm_load(&p->idle)) rm_netpoll_wake(p);
    Py_DECREF(list);
    if (e) PyErr_NoMemory();
    return e;
}

/* ------------------------------------------------------------------ the objects ---- */

static int timer_traverse(py_timer *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->c);
    Py_VISIT(self->fn);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    return 0;
}

static int timer_clear(py_timer *self) {
    disarm(self);
    Py_CLEAR(self->c);
    return 0;
}

static void timer_dealloc(py_timer *self) {
    CORE_OWNED;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    timer_clear(self);
    Py_XDECREF(self->fn);
    Py_XDECREF(self->args);
    Py_XDECREF(self->kwnames);
    Py_XDECREF(self->context);
    Py_XDECREF(self->born.code);
    type->tp_free(self);
    Py_DECREF(type);
}

static py_timer *timer_make(core_state *st, PyTypeObject *type, bool ticks) {
    py_timer *self = (py_timer *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->st = st;
    self->ticks = ticks;
    self->copied = true;
    rm_timer_init(&self->t, fire_chan);
    if (!(self->c = chan_new(st, 1))) {
        Py_DECREF(self);
        return NULL;
    }
    self->c->owner = Py_NewRef((PyObject *)self);
    return self;
}

static py_timer *timer_start(core_state *st, PyTypeObject *type, PyObject *d, bool ticks) {
    int64_t ns;
    if (core_duration(d, "d", &ns)) return NULL;
    if (ticks && ns <= 0) {
        PyErr_Format(PyExc_ValueError, "a ticker's period must be positive, not %R", d);
        return NULL;
    }
    if (st->closed) return (py_timer *)not_after_shutdown(st);
    py_timer *self = timer_make(st, type, ticks);
    if (self && arm(self, ns)) Py_CLEAR(self);
    return self;
}

static PyObject *one_duration(PyTypeObject *type, PyObject *args, PyObject *kwargs, bool ticks) {
    static char *names[] = {"d", NULL};
    PyObject *d;
    core_state *st = core_of_type(type);
    if (!st || !PyArg_ParseTupleAndKeywords(args, kwargs, ticks ? "O:Ticker" : "O:Timer", names, &d)) return NULL;
    return (PyObject *)timer_start(st, type, d, ticks);
}
static PyObject *timer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return one_duration(type, args, kwargs, false);
}
static PyObject *ticker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return one_duration(type, args, kwargs, true);
}

static PyObject *timer_stop(py_timer *self, PyObject *u) {
    (void)u;
    bool was = disarm(self);
    let_go(self); /* the caller has a reference */
    if (self->ticks) Py_RETURN_NONE;
    return PyBool_FromLong(was);
}

static PyObject *timer_reset(py_timer *self, PyObject *d) {
    int64_t ns;
    if (core_duration(d, "d", &ns)) return NULL;
    if (self->ticks && ns <= 0) return PyErr_Format(PyExc_ValueError, "a ticker's period must be positive, not %R", d);
    if (self->st->closed) return not_after_shutdown(self->st);
    bool was = disarm(self);
    if (arm(self, ns)) return NULL;
    if (self->ticks) Py_RETURN_NONE;
    return PyBool_FromLong(was);
}

static PyObject *timer_repr(py_timer *self) {
    return PyUnicode_FromFormat("<ramet.time.%s %s at %p>", self->ticks ? "Ticker" : "Timer",
                                rm_timer_pending(&self->t) || self->held_up ? "pending" : "stopped", self);
}

static PyMethodDef timer_methods[] = {
    {"stop", (PyCFunction)timer_stop, METH_NOARGS,
     "stop($self)\n--\n\nIt will not fire, and no value of before is received any more: whether that stopped it. Never "
     "parks."},
    {"reset", (PyCFunction)timer_reset, METH_O,
     "reset($self, d, /)\n--\n\nFire d seconds from now, and not as it was set before: whether it was pending. Never "
     "parks."},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef ticker_methods[] = {
    {"stop", (PyCFunction)timer_stop, METH_NOARGS,
     "stop($self)\n--\n\nNo more ticks, and none of before is received any more; c is not closed. Never parks."},
    {"reset", (PyCFunction)timer_reset, METH_O,
     "reset($self, d, /)\n--\n\nTick every d seconds from now. Never parks."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef timer_members[] = {
    {"c", T_OBJECT, offsetof(py_timer, c), READONLY,
     "The channel on which the time is delivered (None: it calls a function)."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_timer, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
#define CALLED {Py_tp_call, timer_call}
#define END {0, NULL}
#define TIMER_SLOTS(doc, new, methods, last)                                                                           \
    {                                                                                                                  \
        {Py_tp_doc, doc},                                                                                              \
        {Py_tp_new, new},                                                                                              \
        {Py_tp_traverse, timer_traverse},                                                                              \
        {Py_tp_clear, timer_clear},                                                                                    \
        {Py_tp_dealloc, timer_dealloc},                                                                                \
        {Py_tp_repr, timer_repr},                                                                                      \
        {Py_tp_methods, methods},                                                                                      \
        {Py_tp_members, timer_members},                                                                                \
        last,                                                                                                          \
        END,                                                                                                           \
    }
static PyType_Slot timer_slots[] =
    TIMER_SLOTS("Timer(d)\n--\n\nDelivers the time on its channel c, once, d seconds from "
                "now.",
                timer_new, timer_methods, CALLED);
static PyType_Slot ticker_slots[] = TIMER_SLOTS("Ticker(d)\n--\n\nDelivers the time on its channel c every d seconds; "
                                                "drops ticks for a slow receiver.",
                                                ticker_new, ticker_methods, END);
#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE)
static PyType_Spec timer_spec = {"ramet.time.Timer", sizeof(py_timer), 0, FLAGS, timer_slots};
static PyType_Spec ticker_spec = {"ramet.time.Ticker", sizeof(py_timer), 0, FLAGS, ticker_slots};

/* ------------------------------------------------------------------ functions ---- */

static PyObject *chan_of(py_timer *t) {
    if (!t) return NULL;
    PyObject *c = Py_NewRef((PyObject *)t->c);
    Py_DECREF(t);
    return c;
}

static PyObject *core_after(PyObject *module, PyObject *d) {
    core_state *st = core_of(module);
    return chan_of(timer_start(st, st->timer_type, d, false));
}

static PyObject *core_tick(PyObject *module, PyObject *d) {
    core_state *st = core_of(module);
    return chan_of(timer_start(st, st->ticker_type, d, true));
}

PyDoc_STRVAR(after_func_doc,
             "after_func(d, fn, /, *args, **kwargs)\n--\n\nCall fn(*args, **kwargs) in a goroutine of its "
             "own d seconds from now: a Timer, whose stop()\ncalls it off. Never parks.");
static PyObject *core_after_func(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    core_state *st = core_of(module);
    int64_t ns;
    if (nargs < 2) return PyErr_Format(PyExc_TypeError, "after_func needs a duration and a function");
    if (core_duration(args[0], "d", &ns)) return NULL;
    if (!PyCallable_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "after_func: fn must be callable, not %.100s", Py_TYPE(args[1])->tp_name);
    if (st->closed) return not_after_shutdown(st);
    py_timer *self = (py_timer *)st->timer_type->tp_alloc(st->timer_type, 0);
    if (!self) return NULL;
    self->st = st;
    rm_timer_init(&self->t, fire_fn);
    Py_ssize_t n = nargs - 2 + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyThreadState *ts = PyThreadState_Get();
    self->args = PyTuple_New(n);
    if (!self->args || (ts->context && !(self->context = PyContext_CopyCurrent()))) {
        Py_DECREF(self);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) PyTuple_SET_ITEM(self->args, i, Py_NewRef(args[2 + i]));
    self->fn = Py_NewRef(args[1]);
    self->kwnames = Py_XNewRef(kwnames);
    self->born = rm_pystate_place(ts);
    if (arm(self, ns)) Py_CLEAR(self);
    return (PyObject *)self;
}

PyDoc_STRVAR(deadline_doc, "_deadline(d, fn, /)\n--\n\nAs after_func(d, fn), in a forked child, too.");
static PyObject *core_at_deadline(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timer = core_after_func(module, args, nargs, NULL);
    if (timer) ((py_timer *)timer)->copied = true;
    return timer;
}

static PyMethodDef functions[] = {
    {"_deadline", (PyCFunction)(void (*)(void))core_at_deadline, METH_FASTCALL, deadline_doc},
    {"after", core_after, METH_O,
     "after(d, /)\n--\n\nA channel on which the time is delivered d seconds from now. Never parks."},
    {"tick", core_tick, METH_O,
     "tick(d, /)\n--\n\nA channel on which the time is delivered every d seconds, as long as it is held. Never parks."},
    {"after_func", (PyCFunction)(void (*)(void))core_after_func, METH_FASTCALL | METH_KEYWORDS, after_func_doc},
    {NULL, NULL, 0, NULL},
};

int timer_init(PyObject *module, core_state *st) {
    st->timer_type = (PyTypeObject *)core_type(module, &timer_spec, NULL);
    st->ticker_type = (PyTypeObject *)core_type(module, &ticker_spec, NULL);
    if (!st->timer_type || !st->ticker_type) return -1;
    if (PyModule_AddType(module, st->timer_type) || PyModule_AddType(module, st->ticker_type)) return -1;
    return core_functions(module, functions);
}
