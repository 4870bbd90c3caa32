/* goroutine.c: go, Goroutine, current, gosched, sleep: goroutines that run Python functions.
 *
 * On the top page of its stack, below the control block, a goroutine has its argument vector and the first
 * chunk of its Python data stack; above 1 KiB of frames Python adds chunks of its own.
 *
 * The handle (Goroutine) and the goroutine know each other by borrowed pointers: the handle may die first (then
 * a new one is made for whoever asks: current(), excepthook), and it outlives the goroutine with the outcome.
 * A handle that must survive, because it has a name or a channel to close, is owned by the goroutine. One that nobody
 * refers to may be there still: since 3.14 CPython puts off every deallocation while the C stack is nearly used up. */
#include "core.h"

#include "cpython_state.h"
#ifdef Py_GIL_DISABLED
#include "internal/pycore_object.h"
#endif

#define CHUNK_BYTES 1024

/* ------------------------------------------------------------------ the handle ---- */

static py_goroutine *handle_new(core_state *st) {
    py_goroutine *self = PyObject_GC_New(py_goroutine, st->goroutine_type);
    if (!self) return NULL;
    self->st = st;
    self->g = NULL;
    self->id = 0;
    self->outcome = self->name = self->done_chan = self->weakrefs = NULL;
    self->born = (rm_pyplace){NULL, 0};
    self->status = GO_ALIVE;
    self->collected = self->finalized = false;
#ifdef Py_GIL_DISABLED
    _PyObject_SetMaybeWeakref((PyObject *)self); /* its goroutine's pointer is one: handle_of */
#endif
    return self;
}

static void handle_bind(py_goroutine *self, rm_g *g) {
    self->g = g;
    self->id = g->id;
    g->embed.handle = (PyObject *)self;
    PyObject_GC_Track(self);
}

rm_inline bool try_incref(py_goroutine *self) {
#ifdef Py_GIL_DISABLED
    return _Py_TryIncref((PyObject *)self);
#else
    return Py_REFCNT(self) > 0 && (Py_INCREF(self), true);
#endif
}

/* New reference; NULL: there is none. */
rm_inline py_goroutine *handle_of(rm_g *g) {
    py_goroutine *self = (py_goroutine *)g->embed.handle;
    if (rm_likely(!self || try_incref(self))) return self;
    self->g = NULL; /* it waits to be deallocated, or another thread is at that */
    g->embed.handle = NULL;
    return NULL;
}

py_goroutine *goroutine_handle(core_state *st, rm_g *g) {
    py_goroutine *self = handle_of(g);
    if (self) return self;
    self = handle_new(st);
    if (self) handle_bind(self, g);
    return self;
}

/* The goroutine shall keep its handle. */
static void keep_handle(py_goroutine *self) {
    rm_g *g = self->g;
    if (!g || g->embed.pyflags & (PYF_OWNS_HANDLE | PYF_ENDS)) return;
    rm_fetch_or(&g->embed.pyflags, PYF_OWNS_HANDLE);
    Py_INCREF(self);
}

static int goroutine_traverse(py_goroutine *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->outcome);
    Py_VISIT(self->done_chan);
    return 0;
}

static int goroutine_clear(py_goroutine *self) {
    Py_CLEAR(self->outcome);
    Py_CLEAR(self->done_chan);
    return 0;
}

/* An exception that nobody has asked for is reported when the last handle goes. */
static void goroutine_finalize(py_goroutine *self) {
    self->finalized = true;
    if (self->status != GO_RAISED || self->collected || !self->outcome) return;
    self->collected = true;
    PyObject *saved = core_take_exception();
    core_call_excepthook(self->st, (PyObject *)self, self->outcome);
    core_put_exception(saved);
}

static void handle_unbind(py_goroutine *self) {
    CORE_OWNED;
    if (self->g && self->g->embed.handle == (PyObject *)self) self->g->embed.handle = NULL;
}

static void goroutine_free(py_goroutine *self) {
    PyTypeObject *type = Py_TYPE(self);
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    goroutine_clear(self);
    Py_XDECREF(self->name);
    Py_XDECREF(self->born.code);
    type->tp_free(self);
    Py_DECREF(type);
}

static void goroutine_dealloc(py_goroutine *self) {
    if (rm_unlikely(self->status == GO_RAISED && !self->collected) &&
        PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    handle_unbind(self);
    if (rm_likely(!core_nests(self->outcome))) {
        goroutine_free(self);
        return;
    }
    Py_TRASHCAN_BEGIN(self, goroutine_dealloc); /* goroutines that returned goroutines that returned goroutines */
    goroutine_free(self);
    Py_TRASHCAN_END;
}

static PyObject *get_name(py_goroutine *self, void *u) {
    (void)u;
    if (self->name) return Py_NewRef(self->name);
    if (self->id == 1) return PyUnicode_FromString("main");
    return PyUnicode_FromFormat("goroutine-%llu", (unsigned long long)self->id);
}

static int set_name(py_goroutine *self, PyObject *v, void *u) {
    (void)u;
    if (!v || !PyUnicode_Check(v)) {
        PyErr_Format(PyExc_TypeError, "Goroutine.name must be a str, not %.100s", v ? Py_TYPE(v)->tp_name : "deleted");
        return -1;
    }
    const char *utf8 = PyUnicode_AsUTF8(v);
    if (!utf8) return -1;
    Py_XSETREF(self->name, Py_NewRef(v));
    if (self->g) snprintf(self->g->name, sizeof self->g->name, "%s", utf8); /* for the message of a crash */
    keep_handle(self);
    return 0;
}

static PyObject *get_id(py_goroutine *self, void *u) {
    (void)u;
    return PyLong_FromUnsignedLongLong(self->id);
}

static PyObject *get_state(py_goroutine *self, void *u) {
    (void)u;
    return PyUnicode_FromString(self->g ? rm_g_state(self->g) : "done");
}

static PyObject *goroutine_repr(py_goroutine *self) {
    PyObject *name = get_name(self, NULL);
    if (!name) return NULL;
    PyObject *r = PyUnicode_FromFormat("<ramet.Goroutine %llu %R %s>", (unsigned long long)self->id, name,
                                       self->g ? rm_g_state(self->g) : "done");
    Py_DECREF(name);
    return r;
}

/* ------------------------------------------------------------------ its end ---- */

/* Record how g ended (result stolen; NULL: the exception that is set), and tell who is to know. The status. */
static int finish(core_state *st, rm_g *g, PyObject *result) {
    py_goroutine *handle = handle_of(g); /* it may die of its own while we are at it */
    int status = GO_RETURNED;
    if (rm_unlikely(!result)) {
        result = core_take_exception();
        if (PyErr_GivenExceptionMatches(result, st->Cancelled)) {
            status = GO_CANCELLED;
        } else {
            status = GO_RAISED;
            if (!st->sub && (PyErr_GivenExceptionMatches(result, PyExc_KeyboardInterrupt) ||
                             PyErr_GivenExceptionMatches(result, PyExc_SystemExit))) {
                if (handle) handle->collected = true;
                core_raise_in_main(st, Py_NewRef(result));
            } else if (g->embed.pyflags & PYF_COLLECTED) {
                if (handle) handle->collected = true;
            } else if (!handle || handle->finalized || g == st->rt->main_g) {
                /* nobody can ask, nor will a finalizer; nor in a forked child, where nobody is left who would */
                py_goroutine *h = goroutine_handle(st, g);
                if (h) h->collected = true;
                core_call_excepthook(st, (PyObject *)h, result);
                Py_XDECREF(h);
            }
        }
    }
    py_goroutine *h = handle_of(g);
    if (h) { /* `handle`, or one that was made meanwhile */
        h->outcome = result;
        h->status = (uint8_t)status;
        h->g = NULL;
        if (status == GO_RAISED) { /* for the report, should nobody ask */
            h->born = g->embed.born;
            g->embed.born.code = NULL;
        }
        g->embed.handle = NULL;
        if (h->done_chan) rm_chan_close(&((py_chan *)h->done_chan)->c);
        if (g->embed.pyflags & PYF_OWNS_HANDLE) Py_DECREF(h);
        Py_DECREF(h);
    } else {
        Py_DECREF(result);
    }
    Py_XDECREF(handle);
    return status;
}

/* One that was made while what the goroutine held was dropped, by code that ran then, or by another thread: its end is
 * told, too, and the outcome that nobody kept is None. Drops no reference: nothing can run any more. */
static void finish_late(rm_g *g) {
    py_goroutine *h = (py_goroutine *)g->embed.handle;
    if (rm_likely(!h)) return;
    h->outcome = Py_NewRef(Py_None);
    h->status = GO_RETURNED;
    h->g = NULL;
    g->embed.handle = NULL;
}

int goroutine_lost(core_state *st, rm_g *g, PyObject *to_close) {
    py_goroutine *h = handle_of(g);
    if (!h) return 0;
    PyObject *text = PyUnicode_FromString("it was left behind in the parent of a fork");
    PyObject *exc = text ? PyObject_CallOneArg(st->Cancelled, text) : NULL;
    Py_XDECREF(text);
    if (!exc || (h->done_chan && PyList_Append(to_close, h->done_chan))) {
        Py_XDECREF(exc);
        Py_DECREF(h);
        return -1;
    }
    h->outcome = exc;
    h->status = GO_CANCELLED;
    h->g = NULL;
    g->embed.handle = NULL;
    Py_DECREF(h); /* a reference that g has had to it goes with g's others */
    return 0;
}

void goroutine_main_ends(rm_g *g) {
    py_goroutine *h = handle_of(g);
    if (!h) return;
    h->outcome = Py_NewRef(Py_None);
    h->status = GO_RETURNED;
    h->g = NULL;
    g->embed.handle = NULL;
    if (g->embed.pyflags & PYF_OWNS_HANDLE) Py_DECREF(h);
    Py_DECREF(h);
}

static rm_noinline void call_at_end(rm_g *g) {
    PyObject *then = g->embed.at_end, *r;
    CORE_CALL_OUT(r = PyObject_CallNoArgs(then));
    if (!r) PyErr_WriteUnraisable(then);
    Py_XDECREF(r);
    g->embed.at_end = NULL;
    Py_DECREF(then);
}

/* It has returned: the result, or NULL with an exception. The status. */
rm_inline int go_ends(core_state *st, rm_g *g, PyObject *result) {
    CORE_OWNED;
    rm_assert(!result == !!PyErr_Occurred());
    g->embed.pyflags |= PYF_ENDS;
    int status = finish(st, g, result);
    if (rm_unlikely(g->scope != NULL)) scope_unwind(g);
    if (rm_unlikely(g->embed.at_end != NULL)) call_at_end(g);
    Py_ssize_t n = g->embed.nargs + (g->embed.kwnames ? PyTuple_GET_SIZE(g->embed.kwnames) : 0);
    for (Py_ssize_t i = 0; i < n; i++) Py_DECREF(g->embed.args[i]);
    Py_DECREF(g->embed.fn);
    Py_XDECREF(g->embed.kwnames);
    Py_XDECREF(g->embed.born.code);
    Py_CLEAR(g->embed.pending);
    if (rm_unlikely(st->run_waits) && rm_rt_count(st->rt) <= 2 && rm_claim(st->rt->main_g)) {
        st->rt->main_g->wake_code = 0;
        rm_ready_tail(g->p, st->rt->main_g);
    }
    return status;
}

static PyObject *never_begins(core_state *st, rm_g *g) {
    CORE_OWNED;
    g->cancel &= (uint8_t)~RM_CANCEL_ONCE;
    g->flags |= RM_GF_DIRECT;
    return core_raise(st, g, -ECANCELED);
}

static void go_entry(void *arg) {
    rm_g *g = arg;
    core_state *st = g->p->rt->embedder;
    PyObject *result;
    bool begins = !(g->cancel & RM_CANCEL_ONCE);
    if (rm_likely(begins)) g->flags |= RM_GF_BEGUN;
    rm_pystate_begin(&g->embed.py, st->tstate);
    rm_owned_drop();
    if (rm_unlikely(!begins)) result = never_begins(st, g);
    else
        result = PyObject_Vectorcall(g->embed.fn, g->embed.args,
                                     (size_t)g->embed.nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, g->embed.kwnames);
    int status = go_ends(st, g, result);
    rm_pystate_end(&g->embed.py, st->tstate);
    if (rm_unlikely(g == st->rt->main_g)) fork_exit(st, g, status == GO_RAISED);
    rm_owned_take();
    finish_late(g);
}

/* ------------------------------------------------------------------ go ---- */

#define ARGS_MAX 8192

/* Everything but a handle: makes no object. `context` and `born` are stolen. NULL, no exception: no stack to be had. */
static rm_g *spawn(core_state *st, PyObject *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   PyObject *context, rm_pyplace born, PyObject *then) {
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    /* one slot more in front: callees may use it (PY_VECTORCALL_ARGUMENTS_OFFSET) */
    size_t vector = ((size_t)(n + 1) * sizeof(PyObject *) + 15) & ~(size_t)15;
    rm_g *g = n < ARGS_MAX ? rm_g_alloc(st->rt, CHUNK_BYTES + vector) : NULL;
    if (rm_unlikely(!g)) {
        Py_XDECREF(context);
        Py_XDECREF(born.code);
        return NULL;
    }
    char *low = (char *)g->sp; /* the chunk, then the vector, then the control block */
    PyObject **v = (PyObject **)((char *)g - vector) + 1;
    for (Py_ssize_t i = 0; i < n; i++) v[i] = Py_NewRef(args[i]);
    g->embed.fn = Py_NewRef(fn);
    g->embed.args = v;
    g->embed.nargs = nargs;
    g->embed.kwnames = Py_XNewRef(kwnames);
    g->embed.handle = NULL;
    g->embed.pyflags = 0;
    rm_store(&g->embed.yellow, 0); /* sysmon may be looking at who had the stack before */
    g->embed.pending = NULL;
    g->embed.at_end = Py_XNewRef(then);
    g->embed.born = born;
    rm_pystate_init(&g->embed.py, st->tstate, low, CHUNK_BYTES, g->lo, low, context);
    rm_g_queue(st->rt, g, go_entry, g);
    return g;
}

PyDoc_STRVAR(go_doc,
             "go(fn, /, *args, **kwargs)\n--\n\nStart fn(*args, **kwargs) in a new goroutine, behind those that are "
             "runnable, and return its Goroutine.\n\n"
             "Never parks. Any thread. Goroutines begin in the order of their go. Also a decorator for a function\n"
             "without arguments. MemoryError when no stack can be had.");
rm_inline PyObject *start(core_state *st, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject *then) {
    if (rm_unlikely(nargs < 1)) return PyErr_Format(PyExc_TypeError, "go: a function is needed");
    if (rm_unlikely(!PyCallable_Check(args[0])))
        return PyErr_Format(PyExc_TypeError, "go: fn must be callable, not %.100s", Py_TYPE(args[0])->tp_name);
    if (rm_unlikely(!core_enter(st))) return NULL;
    PyThreadState *ts = PyThreadState_Get();
    PyObject *context = NULL;
    if (ts->context && !(context = PyContext_CopyCurrent())) return NULL;
    py_goroutine *handle = handle_new(st);
    if (rm_unlikely(!handle)) {
        Py_XDECREF(context);
        return NULL;
    }
    rm_g *g = spawn(st, args[0], args + 1, nargs - 1, kwnames, context, rm_pystate_place(ts), then);
    if (rm_unlikely(!g)) {
        PyObject_GC_Track(handle);
        Py_DECREF(handle);
        if (nargs > ARGS_MAX / 2) return PyErr_Format(PyExc_ValueError, "go: too many arguments (%zd)", nargs);
        return PyErr_NoMemory();
    }
    handle_bind(handle, g);
    return (PyObject *)handle;
}

static PyObject *core_go(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    return start(core_of(module), args, nargs, kwnames, NULL);
}

PyDoc_STRVAR(go_then_doc, "_go_then(then, fn, /, *args, **kwargs)\n--\n\nAs go(fn, ...), and then() is called at its "
                          "end, also where it never begins.");
static PyObject *core_go_then(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    if (nargs < 2) return PyErr_Format(PyExc_TypeError, "_go_then: two functions are needed");
    return start(core_of(module), args + 1, nargs - 1, kwnames, args[0]);
}

int goroutine_spawn(core_state *st, PyObject *fn, PyObject *context, rm_pyplace born) {
    Py_XINCREF(born.code);
    return spawn(st, fn, NULL, 0, NULL, context, born, NULL) ? 0 : -1;
}

PyDoc_STRVAR(collected_doc, "_collected()\n--\n\nIf the running goroutine fails, that has been taken care of.");
static PyObject *core_collected(PyObject *module, PyObject *u) {
    (void)u;
    rm_g *g = core_enter_goroutine(core_of(module), "_collected()");
    if (!g) return NULL;
    g->embed.pyflags |= PYF_COLLECTED;
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ methods ---- */

/* Wait for the end. -1 with an exception. */
static int wait_done(py_goroutine *self, int64_t deadline) {
    if (!self->g) return 0;
    core_state *st = self->st;
    rm_g *g = core_enter(st);
    if (!g) return -1;
    int e = rm_g_join(g, st->rt, self->g, self->id, deadline);
    if (e == 0) {
        rm_assert(!self->g);
        return 0;
    }
    if (e == -EDEADLK && self->g == g) PyErr_SetString(st->DeadlockError, "a goroutine cannot join itself");
    else core_raise(st, g, e);
    return -1;
}

static PyObject *cancelled_exception(py_goroutine *self) {
    PyObject *args = PyObject_GetAttrString(self->outcome, "args");
    if (!args) return NULL;
    PyObject *exc = PyObject_Call(self->st->GoroutineCancelled, args, NULL);
    Py_DECREF(args);
    if (exc) PyException_SetCause(exc, Py_NewRef(self->outcome));
    return exc;
}

static PyObject *outcome(py_goroutine *self) {
    self->collected = true;
    if (self->status == GO_RETURNED) return Py_NewRef(self->outcome);
    PyObject *exc = self->status == GO_CANCELLED ? cancelled_exception(self) : Py_NewRef(self->outcome);
    if (!exc) return NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return NULL;
}

PyDoc_STRVAR(join_doc, "join($self, timeout=None)\n--\n\nWait for the end: the result, or what the function raised is "
                       "raised (GoroutineCancelled if it was cancelled).\n\n"
                       "May park. Any thread. TimeoutError, Cancelled; DeadlockError for the caller itself.");
static PyObject *goroutine_join(py_goroutine *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (core_timeout_arg("join", args, nargs, kwnames, &deadline) || wait_done(self, deadline)) return NULL;
    return outcome(self);
}

PyDoc_STRVAR(exception_doc, "exception($self, timeout=None)\n--\n\nWait for the end: the exception that ended it, "
                            "returned, or None.\n\nOtherwise as join().");
static PyObject *goroutine_exception(py_goroutine *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (core_timeout_arg("exception", args, nargs, kwnames, &deadline) || wait_done(self, deadline)) return NULL;
    self->collected = true;
    if (self->status == GO_RETURNED) Py_RETURN_NONE;
    return self->status == GO_CANCELLED ? cancelled_exception(self) : Py_NewRef(self->outcome);
}

PyDoc_STRVAR(done_doc, "done($self)\n--\n\nWhether it has ended. Never parks.");
static PyObject *goroutine_done(py_goroutine *self, PyObject *u) {
    (void)u;
    return PyBool_FromLong(!self->g);
}

PyDoc_STRVAR(cancelled_doc, "cancelled($self)\n--\n\nWhether it has ended by being cancelled. Never parks.");
static PyObject *goroutine_cancelled(py_goroutine *self, PyObject *u) {
    (void)u;
    return PyBool_FromLong(self->status == GO_CANCELLED);
}

PyDoc_STRVAR(cancel_doc, "cancel($self, msg=None)\n--\n\nRaise Cancelled in it once, at its current or next "
                         "cancellation point; one that has not begun never begins.\n\n"
                         "Returns whether it was still alive. Never parks. Any thread.");
static PyObject *goroutine_cancel(py_goroutine *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"msg"};
    PyObject *msg = NULL;
    if (core_args("cancel", args, nargs, kwnames, names, 0, 1, &msg)) return NULL;
    core_state *st = self->st;
    if (!self->g) Py_RETURN_FALSE;
    if (!core_enter(st)) return NULL;
    rm_g *g = self->g;
    if (msg == Py_None) msg = NULL;
    Py_XSETREF(g->embed.pending, Py_XNewRef(msg));
    rm_g_cancel(st->rt, g, self->id);
    Py_RETURN_TRUE;
}

py_chan *goroutine_done_chan(py_goroutine *self) {
    if (!self->done_chan) {
        if (!core_enter(self->st)) return NULL;
        py_chan *c = chan_new(self->st, 0);
        if (!c) return NULL;
        self->done_chan = (PyObject *)c;
        if (self->g && !(self->g->embed.pyflags & PYF_ENDS)) keep_handle(self);
        else rm_chan_close(&c->c);
    }
    return (py_chan *)self->done_chan;
}

PyDoc_STRVAR(if_done_doc, "if_done($self)\n--\n\nThe select case that is ready once it has ended; its value is this "
                          "Goroutine, and its failure is not collected by it.");
static PyObject *goroutine_if_done(py_goroutine *self, PyObject *u) {
    (void)u;
    return case_new(self->st, CASE_DONE, (PyObject *)self, NULL, -1);
}

PyDoc_STRVAR(frames_doc, "_frames($self)\n--\n\n[(filename, lineno, name), ...], innermost first.");
static PyObject *goroutine_frames(py_goroutine *self, PyObject *u) {
    (void)u;
    return self->g ? rm_pystate_frames(self->g) : PyList_New(0);
}

static PyObject *goroutine_raised(py_goroutine *self, PyObject *u) {
    (void)u;
    return PyBool_FromLong(self->status == GO_RAISED);
}

PyDoc_STRVAR(born_doc, "_born($self)\n--\n\nWhere go() was called: (filename, lineno, name), or None where it is "
                       "not known any more.");
static PyObject *goroutine_born(py_goroutine *self, PyObject *u) {
    (void)u;
    return rm_pyplace_tuple(self->g ? self->g->embed.born : self->born);
}

PyDoc_STRVAR(stack_doc, "stack($self)\n--\n\nIts Python stack, a list of traceback.FrameSummary, outermost first; "
                        "empty when done. Never parks.");
static PyObject *goroutine_stack(py_goroutine *self, PyObject *u) {
    (void)u;
    PyObject *frames = goroutine_frames(self, NULL), *tb = frames ? PyImport_ImportModule("traceback") : NULL;
    PyObject *list = tb ? PyList_New(0) : NULL, *cls = list ? PyObject_GetAttrString(tb, "FrameSummary") : NULL;
    for (Py_ssize_t i = cls ? PyList_GET_SIZE(frames) : 0; i-- > 0;) {
        PyObject *fs = PyObject_CallObject(cls, PyList_GET_ITEM(frames, i));
        if (!fs || PyList_Append(list, fs)) {
            Py_XDECREF(fs);
            Py_CLEAR(list);
            break;
        }
        Py_DECREF(fs);
    }
    if (!cls) Py_CLEAR(list);
    Py_XDECREF(cls);
    Py_XDECREF(tb);
    Py_XDECREF(frames);
    return list;
}

static PyMethodDef goroutine_methods[] = {
    {"join", (PyCFunction)(void (*)(void))goroutine_join, METH_FASTCALL | METH_KEYWORDS, join_doc},
    {"result", (PyCFunction)(void (*)(void))goroutine_join, METH_FASTCALL | METH_KEYWORDS,
     "result($self, timeout=None)\n--\n\nAs join(), in the words of futures. May park. Any thread."},
    {"exception", (PyCFunction)(void (*)(void))goroutine_exception, METH_FASTCALL | METH_KEYWORDS, exception_doc},
    {"done", (PyCFunction)goroutine_done, METH_NOARGS, done_doc},
    {"cancel", (PyCFunction)(void (*)(void))goroutine_cancel, METH_FASTCALL | METH_KEYWORDS, cancel_doc},
    {"cancelled", (PyCFunction)goroutine_cancelled, METH_NOARGS, cancelled_doc},
    {"if_done", (PyCFunction)goroutine_if_done, METH_NOARGS, if_done_doc},
    {"stack", (PyCFunction)goroutine_stack, METH_NOARGS, stack_doc},
    {"_raised", (PyCFunction)goroutine_raised, METH_NOARGS,
     "_raised($self)\n--\n\nWhether it failed. Collects nothing."},
    {"_born", (PyCFunction)goroutine_born, METH_NOARGS, born_doc},
    {"_frames", (PyCFunction)goroutine_frames, METH_NOARGS, frames_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Goroutine[int] for annotations."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef goroutine_getset[] = {
    {"name", (getter)get_name, (setter)set_name, "Its name; settable.", NULL},
    {"id", (getter)get_id, NULL, "Its number, never used again; main is 1.", NULL},
    {"state", (getter)get_state, NULL, "\"runnable\", \"running\", what it waits for, or \"done\".", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef goroutine_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_goroutine, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot goroutine_slots[] = {
    {Py_tp_doc, "A goroutine, as go() returns it."},
    {Py_tp_traverse, goroutine_traverse},
    {Py_tp_clear, goroutine_clear},
    {Py_tp_finalize, goroutine_finalize},
    {Py_tp_dealloc, goroutine_dealloc},
    {Py_tp_repr, goroutine_repr},
    {Py_tp_methods, goroutine_methods},
    {Py_tp_getset, goroutine_getset},
    {Py_tp_members, goroutine_members},
    {0, NULL},
};
static PyType_Spec goroutine_spec = {"ramet.Goroutine", sizeof(py_goroutine), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                                         Py_TPFLAGS_IMMUTABLETYPE,
                                     goroutine_slots};

/* ------------------------------------------------------------------ functions ---- */

PyDoc_STRVAR(gosched_doc,
             "gosched()\n--\n\nLet the other runnable goroutines run first. May park: a cancellation point.");
static PyObject *core_gosched(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)args; /* fast-call without arguments: interpreters specialise the call */
    if (rm_unlikely(nargs)) return PyErr_Format(PyExc_TypeError, "gosched takes no arguments");
    core_state *st = core_of(module);
    rm_g *g = core_enter_main_too(st, "gosched()");
    if (rm_unlikely(!g)) return NULL;
    int e = rm_yield(g);
    if (rm_likely(e == 0)) Py_RETURN_NONE;
    return core_raise(st, g, e);
}

PyDoc_STRVAR(sleep_doc, "sleep(d, /)\n--\n\nSleep d seconds; zero or less yields. May park. Cancelled.\n\n"
                        "Never too short; too long by at most 1/128 of d and 1 ms when many are woken together.");
static PyObject *core_sleep(PyObject *module, PyObject *d) {
    core_state *st = core_of(module);
    int64_t ns;
    if (core_duration(d, "d", &ns)) return NULL;
    rm_g *g = core_enter_main_too(st, "sleep()");
    if (!g) return NULL;
    int e = rm_sleep(g, ns);
    if (rm_likely(e == 0)) Py_RETURN_NONE;
    return core_raise(st, g, e);
}

PyDoc_STRVAR(current_doc,
             "current()\n--\n\nThe goroutine that is running. RuntimeError in an OS thread that is none. Never parks.");
static PyObject *core_current(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    rm_g *g = core_enter_goroutine(st, "current()");
    return g ? (PyObject *)goroutine_handle(st, g) : NULL;
}

static PyMethodDef functions[] = {
    {"go", (PyCFunction)(void (*)(void))core_go, METH_FASTCALL | METH_KEYWORDS, go_doc},
    {"gosched", (PyCFunction)(void (*)(void))core_gosched, METH_FASTCALL, gosched_doc},
    {"_go_then", (PyCFunction)(void (*)(void))core_go_then, METH_FASTCALL | METH_KEYWORDS, go_then_doc},
    {"_collected", core_collected, METH_NOARGS, collected_doc},
    {"sleep", core_sleep, METH_O, sleep_doc},
    {"current", core_current, METH_NOARGS, current_doc},
    {NULL, NULL, 0, NULL},
};

int goroutine_init(PyObject *module, core_state *st) {
    st->goroutine_type = (PyTypeObject *)core_type(module, &goroutine_spec, NULL);
    if (!st->goroutine_type || PyModule_AddType(module, st->goroutine_type)) return -1;
    return core_functions(module, functions);
}
