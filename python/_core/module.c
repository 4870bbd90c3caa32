/* module.c: ramet._core: its state, its exceptions, and the helpers of core.h. */
#include "core.h"

#include <unistd.h>

/* ------------------------------------------------------------------ who calls ---- */

rm_g *core_enter_slow(core_state *st) {
    if (rm_unlikely(!st->entry) && fork_renew(st)) return NULL;
    if (!st->rt && host_start(st)) return NULL;
    rm_m *m = rm_m_of(st->rt);
    if (!m) m = rm_m_attach(st->rt);
    if (!m) {
        PyErr_NoMemory();
        return NULL;
    }
    if (st->hosted && !m->p && !st->main_m && host_in_main_thread(st)) {
        m->kept = true; /* in an embedder that thread may end */
        st->main_m = m;
    }
    return m->p ? m->p->cur : m->g;
}

rm_g *core_enter_goroutine_slow(core_state *st, const char *what) {
    rm_g *g = core_enter(st);
    if (!g || g->p) return g;
    PyErr_Format(PyExc_RuntimeError,
                 st->sub ? "%s works in a goroutine, and this thread is none: in a subinterpreter goroutines run in a "
                           "thread of ramet's own (use run(), or start a goroutine with go() and join it)"
                         : "%s works in a goroutine or in the main thread, not in another OS thread: what it needs "
                           "belongs to the proc (start a goroutine with go() and join it)",
                 what);
    return NULL;
}

rm_g *core_enter_main_too(core_state *st, const char *what) {
    rm_g *g = core_enter(st);
    return !g || g->p || st->sub || host_in_main_thread(st) ? g : core_enter_goroutine_slow(st, what);
}

/* ------------------------------------------------------------------ errors ---- */

PyObject *core_take_exception(void) {
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *t, *v, *tb;
    PyErr_Fetch(&t, &v, &tb);
    PyErr_NormalizeException(&t, &v, &tb);
    if (tb) PyException_SetTraceback(v, tb);
    Py_XDECREF(t);
    Py_XDECREF(tb);
    return v;
#endif
}

void core_put_exception(PyObject *exc) {
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exc);
#else
    if (exc) PyErr_Restore(Py_NewRef(Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
    else PyErr_Clear();
#endif
}

static PyObject *raise_deadlock(core_state *st, rm_g *g) {
    PyObject *main = debug_as_waiting(st, g); /* g is running again, but the report is of its wait */
    PyObject *text = main ? PyObject_CallMethod(st->module, "_deadlock_text", "(O)", main) : NULL;
    Py_XDECREF(main);
    if (!text) return NULL;
    PyErr_SetObject(st->DeadlockError, text);
    Py_DECREF(text);
    return NULL;
}

PyObject *core_raise(core_state *st, rm_g *g, int code) {
    switch (code) {
    case -ECANCELED: {
        bool direct = g->p && g->flags & RM_GF_DIRECT; /* cancel(): no scope may take it for its own */
        PyObject *msg = direct ? g->embed.pending : NULL;
        if (msg) g->embed.pending = NULL;
        if (g->p && g->embed.pyflags & PYF_LEAKED) {
            leaks_report(st, g);
            if (!msg) msg = PyUnicode_FromString("nobody can wake it any more");
        }
        PyObject *exc = msg ? PyObject_CallOneArg(st->Cancelled, msg) : PyObject_CallNoArgs(st->Cancelled);
        Py_XDECREF(msg);
        if (exc && direct && PyObject_SetAttr(exc, st->str_direct, Py_True)) Py_CLEAR(exc);
        if (exc) PyErr_SetObject(st->Cancelled, exc);
        Py_XDECREF(exc);
        return NULL;
    }
    case -EINTR: {
        PyObject *exc = st->main_exc;
        st->main_exc = NULL;
        if (!exc) {
            PyErr_SetNone(PyExc_KeyboardInterrupt);
            return NULL;
        }
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
        return NULL;
    }
    case -EPIPE:
        PyErr_SetString(st->ChanClosed, "the channel is closed");
        return NULL;
    case -EAGAIN:
        PyErr_SetString(st->WouldBlock, "nothing can be done without waiting");
        return NULL;
    case -ETIMEDOUT:
        PyErr_SetString(PyExc_TimeoutError, "timed out");
        return NULL;
    case -EDEADLK:
        return raise_deadlock(st, g);
    case -ENOMEM:
        return PyErr_NoMemory();
    case -RM_ESTUCK:
        PyErr_SetString(
            PyExc_RuntimeError,
            "ramet: a goroutine cannot wait, or let others run, in a greenlet that is not its thread's own: "
            "wait in the root greenlet, or use goroutines instead of greenlets");
        return NULL;
    case -ECONNABORTED:
        PyErr_SetString(st->ErrClosed, "closed while waiting");
        return NULL;
    default:
        errno = -code;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
}

int core_duration(PyObject *seconds, const char *arg, int64_t *ns) {
    double d;
    if (PyFloat_CheckExact(seconds)) {
        d = PyFloat_AS_DOUBLE(seconds);
    } else if (PyLong_CheckExact(seconds)) {
        int over;
        long long s = PyLong_AsLongLongAndOverflow(seconds, &over);
        if (over) *ns = over < 0 ? -1 : RM_FOREVER;
        else *ns = s > 9200000000 ? RM_FOREVER : s < -9200000000 ? INT64_MIN : s * 1000000000;
        return 0;
    } else if (PyLong_Check(seconds) || PyFloat_Check(seconds)) {
        d = PyFloat_AsDouble(seconds);
        if (d == -1.0 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
            PyErr_Clear(); /* an int beyond a float: for ever, or long ago */
            PyObject *zero = PyLong_FromLong(0);
            int neg = zero ? PyObject_RichCompareBool(seconds, zero, Py_LT) : -1;
            Py_XDECREF(zero);
            if (neg < 0) return -1;
            *ns = neg ? -1 : RM_FOREVER;
            return 0;
        }
    } else {
        PyErr_Format(PyExc_TypeError, "%s must be seconds (int or float), not %.100s", arg, Py_TYPE(seconds)->tp_name);
        return -1;
    }
    if (d != d) {
        PyErr_Format(PyExc_ValueError, "%s must be seconds, not NaN", arg);
        return -1;
    }
    d *= 1e9;
    *ns = d >= 9.2e18 ? RM_FOREVER : d <= -9.2e18 ? INT64_MIN : (int64_t)d;
    if (*ns == 0 && d > 0) *ns = 1;
    return 0;
}

int core_deadline(PyObject *timeout, const char *arg, int64_t *deadline) {
    int64_t ns;
    *deadline = RM_FOREVER;
    if (timeout == Py_None) return 0;
    if (!PyLong_Check(timeout) && !PyFloat_Check(timeout)) {
        PyErr_Format(PyExc_TypeError, "%s must be seconds (int or float) or None, not %.100s", arg,
                     Py_TYPE(timeout)->tp_name);
        return -1;
    }
    if (core_duration(timeout, arg, &ns)) return -1;
    *deadline = rm_after(ns);
    return 0;
}

int core_args(const char *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, const char *const *names,
              int required, int n, PyObject **out) {
    for (int i = 0; i < n; i++) out[i] = i < nargs ? args[i] : NULL;
    if (nargs > n) {
        PyErr_Format(PyExc_TypeError, "%s takes at most %d argument%s (%zd given)", fn, n, n == 1 ? "" : "s", nargs);
        return -1;
    }
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        int i = 0;
        while (i < n && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) i++;
        if (i == n) {
            PyErr_Format(PyExc_TypeError, "%s got an unexpected keyword argument %R", fn, name);
            return -1;
        }
        if (out[i]) {
            PyErr_Format(PyExc_TypeError, "%s got two values for argument '%s'", fn, names[i]);
            return -1;
        }
        out[i] = args[nargs + k];
    }
    for (int i = 0; i < required; i++)
        if (!out[i]) {
            PyErr_Format(PyExc_TypeError, "%s: argument '%s' is missing", fn, names[i]);
            return -1;
        }
    return 0;
}

double core_wall_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int core_timeout_arg(const char *fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline) {
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    *deadline = RM_FOREVER;
    if (rm_likely(!nargs && !kwnames)) return 0;
    if (core_args(fn, args, nargs, kwnames, names, 0, 1, &timeout)) return -1;
    return timeout ? core_deadline(timeout, "timeout", deadline) : 0;
}

void core_call_excepthook(core_state *st, PyObject *goroutine, PyObject *exc) {
    PyObject *ramet = PyImport_GetModule(st->str_ramet);
    PyObject *hook = ramet ? PyObject_GetAttr(ramet, st->str_excepthook) : NULL;
    /* the interpreter is ending and ramet is gone: the exception itself is what there is to tell */
    if (!ramet && !PyErr_Occurred()) PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    PyObject *r = hook ? PyObject_CallFunctionObjArgs(hook, goroutine ? goroutine : Py_None, exc, NULL) : NULL;
    if (!r) PyErr_WriteUnraisable(hook ? hook : goroutine);
    Py_XDECREF(r);
    Py_XDECREF(hook);
    Py_XDECREF(ramet);
}

/* ------------------------------------------------------------------ functions ---- */

PyDoc_STRVAR(num_goroutines_doc,
             "num_goroutines()\n--\n\nHow many goroutines are alive, main included. Never parks. Any thread.");
static PyObject *core_num_goroutines(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    /* main counts, also where it is a foreign thread */
    return PyLong_FromUnsignedLongLong(st->rt ? rm_rt_count(st->rt) + st->hosted : 1);
}

PyDoc_STRVAR(stats_doc, "stats()\n--\n\nCounters of the runtime, a dict: goroutines started switches polls stacks "
                        "free_stacks timers pool_threads\n"
                        "pool_idle pool_queued fds. Never parks. Any thread.");
static PyObject *core_stats(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    rm_rt *rt = st->rt;
    ramet_stats s = {.goroutines = 1, .started = 1};
    if (rt) {
        rm_pool_stats(rt, &s);
        s.goroutines = rm_rt_count(rt) + st->hosted;
        s.started = rt->next_id;
        s.switches = rt->p.switches;
        s.polls = rt->p.polls;
        s.stacks = rt->stacks.carved;
        s.free_stacks = rt->stacks.magazine_n + rt->stacks.depot_n + rt->stacks.cold_n;
        s.timers = rt->p.timers.heap.n;
        s.fds = rm_netpoll_fds(&rt->p);
    }
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsKsKsK}", "goroutines", s.goroutines, "started", s.started, "switches",
                         s.switches, "polls", s.polls, "stacks", s.stacks, "free_stacks", s.free_stacks, "timers",
                         s.timers, "pool_threads", s.pool_threads, "pool_idle", s.pool_idle, "pool_queued",
                         s.pool_queued, "fds", s.fds);
}

PyDoc_STRVAR(
    configure_doc,
    "_configure(stack_size, max_threads, seed, slice, /)\n--\n\nSet options; False if the runtime runs already.\n\n"
    "0 is none given; for slice, nanoseconds, it is no preemption, and -1 none given.");
static PyObject *core_configure(PyObject *module, PyObject *args) {
    core_state *st = core_of(module);
    unsigned long long stack_size, max_threads, seed;
    long long slice;
    if (!PyArg_ParseTuple(args, "KKKL", &stack_size, &max_threads, &seed, &slice)) return NULL;
    if (slice > 0 && st->sub) {
        PyErr_SetString(PyExc_RuntimeError,
                        "configure: preempt: goroutines are preempted in the main interpreter only");
        return NULL;
    }
    if (st->rt) Py_RETURN_FALSE;
    if (stack_size) st->stack_size = stack_size;
    if (max_threads) st->max_threads = (unsigned)max_threads;
    if (seed) st->seed = seed;
    if (slice >= 0) st->slice = slice;
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(in_run_doc, "_in_run(body, /)\n--\n\nCall body(number of the newest goroutine) as run(), or body(None) in "
                         "a foreign thread. RuntimeError in a\n"
                         "goroutine or another run(). In C, so that no signal comes between the mark and the call.");
static PyObject *core_in_run(PyObject *module, PyObject *body) {
    core_state *st = core_of(module);
    rm_g *g = core_enter(st);
    if (!g) return NULL;
    PyObject *r;
    if (!g->p) {
        CORE_CALL_OUT(r = PyObject_CallOneArg(body, Py_None));
        return r;
    }
    if (g != st->rt->main_g) {
        PyErr_SetString(PyExc_RuntimeError, "run() inside a goroutine: it is for the main thread; use go() and join()");
        return NULL;
    }
    if (st->in_run) {
        PyErr_SetString(PyExc_RuntimeError, "run() inside another run() of this thread; use go() and join()");
        return NULL;
    }
    PyObject *newest = PyLong_FromUnsignedLongLong(st->rt->next_id);
    if (!newest) return NULL;
    st->in_run = true;
    CORE_CALL_OUT(r = PyObject_CallOneArg(body, newest));
    st->in_run = false;
    Py_DECREF(newest);
    return r;
}

PyDoc_STRVAR(wait_all_doc, "_wait_all()\n--\n\nPark main until it is the only goroutine left.");
static PyObject *core_wait_all(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    rm_g *g = core_enter_goroutine(st, "run()");
    if (!g) return NULL;
    while (rm_rt_count(st->rt) > 1) {
        int e = rm_check_cancel(g);
        if (!e) {
            st->run_waits = true;
            rm_wait_open(g);
            e = rm_park(g, RM_R_RUN, NULL, RM_FOREVER, NULL, NULL);
            st->run_waits = false;
        }
        if (e) return core_raise(st, g, e);
    }
    Py_RETURN_NONE;
}

typedef struct since {
    rm_g *self;
    uint64_t id;
} since;

static bool cancel_since(rm_g *g, void *arg) {
    since *s = arg;
    if (g != s->self && g->id > s->id) rm_g_end(g);
    return true;
}

static bool alive_since(rm_g *g, void *arg) {
    since *s = arg;
    if (g == s->self || g->id <= s->id) return true;
    s->self = NULL; /* found */
    return false;
}

PyDoc_STRVAR(cancel_since_doc, "_cancel_since(id, /)\n--\n\nCancel the goroutines started after number id and wait at "
                               "most 2 seconds for them; whether all have ended.");
static PyObject *core_cancel_since(PyObject *module, PyObject *arg) {
    core_state *st = core_of(module);
    rm_g *g = core_enter_goroutine(st, "run()");
    if (!g) return NULL;
    uint64_t id = PyLong_AsUnsignedLongLong(arg);
    if (id == (uint64_t)-1 && PyErr_Occurred()) return NULL;
    int64_t until = rm_after(RM_GRACE_NS);
    for (bool first = true;; first = false) {
        since find = {g, id}, all = {g, id};
        rm_rt_each(st->rt, alive_since, &find);
        if (find.self) Py_RETURN_TRUE;
        if (rm_now() > until) Py_RETURN_FALSE;
        /* what is started meanwhile, to tidy up, has half of the time */
        if (first || rm_now() > until - RM_GRACE_NS / 2) rm_rt_each(st->rt, cancel_since, &all);
        int e = 0;
        for (int i = 0; i < 4 && !e; i++) e = rm_yield(g);
        if (!e) e = rm_sleep(g, RAMET_MILLISECOND / 10);
        if (e) return core_raise(st, g, e);
    }
}

static PyObject *core_shutdown(PyObject *module, PyObject *u) {
    (void)u;
    return host_shutdown(core_of(module));
}

static PyObject *core_on_proc(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    rm_m *m = st->entry && !st->closed ? rm_m_of(st->entry) : NULL;
    return PyBool_FromLong(m && m->p);
}

/* getpid() without a system call. */
static PyObject *core_pid(PyObject *module, PyObject *u) {
    (void)u;
    const rm_rt *rt = core_of(module)->entry;
    return PyLong_FromLong(rt ? rt->pid : (int)getpid());
}

static PyObject *core_watch_forks(PyObject *module, PyObject *handler) {
    if (fork_handler(core_of(module), 1, handler)) return NULL; /* after _after_fork */
    Py_RETURN_NONE;
}

static PyObject *core_before_fork(PyObject *module, PyObject *u) {
    (void)u;
    fork_begins(core_of(module));
    Py_RETURN_NONE;
}

static PyObject *core_after_fork_in_parent(PyObject *module, PyObject *u) {
    (void)u;
    fork_over(core_of(module), false);
    Py_RETURN_NONE;
}

static PyObject *core_after_fork(PyObject *module, PyObject *u) {
    (void)u;
    return fork_in_child(core_of(module));
}

static PyMethodDef functions[] = {
    {"num_goroutines", core_num_goroutines, METH_NOARGS, num_goroutines_doc},
    {"stats", core_stats, METH_NOARGS, stats_doc},
    {"_configure", core_configure, METH_VARARGS, configure_doc},
    {"_in_run", core_in_run, METH_O, in_run_doc},
    {"_wait_all", core_wait_all, METH_NOARGS, wait_all_doc},
    {"_cancel_since", core_cancel_since, METH_O, cancel_since_doc},
    {"_shutdown", core_shutdown, METH_NOARGS, NULL},
    {"_on_proc", core_on_proc, METH_NOARGS, NULL},
    {"_pid", core_pid, METH_NOARGS, NULL},
    {"_watch_forks", core_watch_forks, METH_O, NULL},
    {"_before_fork", core_before_fork, METH_NOARGS, NULL},
    {"_after_fork_in_parent", core_after_fork_in_parent, METH_NOARGS, NULL},
    {"_after_fork", core_after_fork, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* ------------------------------------------------------------------ the module ---- */

static PyObject *new_exc_with(PyObject *module, const char *name, const char *doc, PyObject *bases, PyObject *dict) {
    char full[64];
    snprintf(full, sizeof full, "ramet.%s", name);
    PyObject *exc = PyErr_NewExceptionWithDoc(full, doc, bases, dict);
    if (exc && PyModule_AddObjectRef(module, name, exc)) Py_CLEAR(exc);
    return exc;
}

static PyObject *new_exc(PyObject *module, const char *name, const char *doc, PyObject *bases) {
    return new_exc_with(module, name, doc, bases, NULL);
}

static int add_exceptions(PyObject *m, core_state *st) {
    if (!(st->RametError = new_exc(m, "RametError", "The base of ramet's own exceptions.", PyExc_Exception))) return -1;
    if (!(st->ChannelError = new_exc(m, "ChannelError", "Something about a channel.", st->RametError))) return -1;
    if (!(st->ChanClosed = new_exc(m, "ChanClosed", "The channel is closed.", st->ChannelError))) return -1;
    if (!(st->WouldBlock = new_exc(m, "WouldBlock", "It cannot be done without waiting.", st->ChannelError))) return -1;
    PyObject *two = PyTuple_Pack(2, st->RametError, PyExc_RuntimeError);
    st->PanicError = two ? new_exc(m, "PanicError", "Misuse, where Go would panic.", two) : NULL;
    Py_XDECREF(two);
    if (!st->PanicError) return -1;
    if (!(st->DeadlockError = new_exc(m, "DeadlockError", "Main waits for what nothing can bring.", st->RametError)))
        return -1;
    if (!(st->GoroutineCancelled =
              new_exc(m, "GoroutineCancelled", "The goroutine joined was cancelled.", st->RametError)))
        return -1;
    if (!(st->Cancelled =
              new_exc(m, "Cancelled", "Raised in a goroutine that is cancelled. A BaseException: let it pass.",
                      PyExc_BaseException)))
        return -1;
    if (!(st->ErrClosed = new_exc(m, "ErrClosed", "Closed while waited for.", PyExc_OSError))) return -1;
    PyObject *dict = Py_BuildValue("{s:y}", "partial", "");
    st->IncompleteRead =
        dict ? new_exc_with(m, "IncompleteRead",
                            "The stream ended inside of what was to be read. `partial`: what there was of it.",
                            PyExc_EOFError, dict)
             : NULL;
    Py_XDECREF(dict);
    if (!st->IncompleteRead) return -1;
    if (!(st->LimitExceeded = new_exc(m, "LimitExceeded", "More than the limit without an end. Nothing was consumed.",
                                      PyExc_ValueError)))
        return -1;
    return 0;
}

static int core_exec(PyObject *module) {
    core_state *st = core_of(module);
    CORE_OWNED;
    rm_owned_init();
    memset(st, 0, sizeof *st);
    st->module = module;
    st->interp = PyInterpreterState_Get();
    if (sub_init(st) || rm_pystate_setup(PyThreadState_Get())) return -1;
    if (PyModule_AddObjectRef(module, "_subinterpreter", st->sub ? Py_True : Py_False)) return -1;
    if (!(st->str_excepthook = PyUnicode_InternFromString("excepthook"))) return -1;
    if (!(st->str_ramet = PyUnicode_InternFromString("ramet"))) return -1;
    if (add_exceptions(module, st) || core_functions(module, functions)) return -1;
    if (chan_init(module, st) || goroutine_init(module, st) || select_init(module, st)) return -1;
    if (blocking_init(module, st) || net_init(module, st)) return -1;
    if (scope_init(module, st) || timer_init(module, st) || sync_init(module, st)) return -1;
    if (debug_init(module, st) || leaks_init(module, st) || preempt_init(module, st)) return -1;
    if (greenlets_init(module)) return -1;
    return 0;
}

static int core_traverse(PyObject *module, visitproc visit, void *arg) {
    core_state *st = core_of(module);
    Py_VISIT(st->goroutine_type);
    Py_VISIT(st->chan_type);
    Py_VISIT(st->case_type);
    Py_VISIT(st->selection_type);
    Py_VISIT(st->bomb_type);
    Py_VISIT(st->conn_type);
    Py_VISIT(st->listener_type);
    Py_VISIT(st->packet_type);
    Py_VISIT(st->stopper_type);
    PyTypeObject *const more[] = {st->mutex_type,    st->rlock_type,   st->cond_type,   st->event_type,
                                  st->scope_type,    st->timer_type,   st->ticker_type, st->queue_type[0],
                                  st->queue_type[1], st->queue_type[2]};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) Py_VISIT(more[i]);
    for (size_t i = 0; i < CORE_QUEUE_NAMES; i++) Py_VISIT(st->queue[i]);
    Py_VISIT(st->default_case);
    Py_VISIT(st->main_exc);
    Py_VISIT(st->timers);
    return preempt_traverse(st, visit, arg);
}

static int core_clear(PyObject *module) {
    core_state *st = core_of(module);
    select_clear(st);
    scope_clear(st);
    preempt_clear(st);
    Py_CLEAR(st->goroutine_type);
    Py_CLEAR(st->chan_type);
    Py_CLEAR(st->case_type);
    Py_CLEAR(st->selection_type);
    Py_CLEAR(st->bomb_type);
    Py_CLEAR(st->conn_type);
    Py_CLEAR(st->listener_type);
    Py_CLEAR(st->packet_type);
    Py_CLEAR(st->stopper_type);
    PyTypeObject **const more[] = {&st->mutex_type,    &st->rlock_type,   &st->cond_type,   &st->event_type,
                                   &st->scope_type,    &st->timer_type,   &st->ticker_type, &st->queue_type[0],
                                   &st->queue_type[1], &st->queue_type[2]};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) Py_CLEAR(*more[i]);
    for (size_t i = 0; i < CORE_QUEUE_NAMES; i++) Py_CLEAR(st->queue[i]);
    Py_CLEAR(st->default_case);
    Py_CLEAR(st->main_exc);
    Py_CLEAR(st->timers);
    PyObject **excs[] = {&st->RametError, &st->ChannelError,   &st->ChanClosed,         &st->WouldBlock,
                         &st->PanicError, &st->DeadlockError,  &st->GoroutineCancelled, &st->Cancelled,
                         &st->ErrClosed,  &st->IncompleteRead, &st->LimitExceeded,      &st->str_excepthook,
                         &st->str_ramet,  &st->str_direct,     &st->str_pending};
    for (size_t i = 0; i < sizeof excs / sizeof *excs; i++) Py_CLEAR(*excs[i]);
    for (size_t i = 0; i < sizeof st->ssl / sizeof *st->ssl; i++) Py_CLEAR(st->ssl[i]);
    return 0;
}

static void core_free(void *module) {
    core_clear(module);
    fork_unwatch(core_of(module));
    free(core_of(module)->net_scratch);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, core_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef def = {
    PyModuleDef_HEAD_INIT,        .m_name = "ramet._core", .m_doc = "The C part of ramet. Use the package.",
    .m_size = sizeof(core_state), .m_slots = slots,        .m_traverse = core_traverse,
    .m_clear = core_clear,        .m_free = core_free,
};

core_state *core_of_type(PyTypeObject *type) {
    PyObject *module = PyType_GetModuleByDef(type, &def);
    return module ? core_of(module) : NULL;
}

/* A file that was given a plain name is found by every CPython. Before anything that goes by the layout of an object: not
 * even a reference may be dropped. */
static bool built_for_this(void) {
    PyObject *flags = PySys_GetObject("abiflags"); /* borrowed */
    bool threaded = flags && PyUnicode_FindChar(flags, 't', 0, PyUnicode_GetLength(flags), 1) >= 0;
#ifdef Py_GIL_DISABLED
    const bool for_threaded = true;
#else
    const bool for_threaded = false;
#endif
#ifdef Py_DEBUG
    const bool for_debug = true;
#else
    const bool for_debug = false;
#endif
    bool debug = flags && PyUnicode_FindChar(flags, 'd', 0, PyUnicode_GetLength(flags), 1) >= 0;
    if (Py_Version >> 16 == PY_VERSION_HEX >> 16 && threaded == for_threaded && debug == for_debug) return true;
    PyErr_Format(PyExc_ImportError, "ramet._core was built for CPython %s%s%s, and this is %s%s: build it again",
                 PY_VERSION, for_threaded ? " free-threaded" : "", for_debug ? " (debug build)" : "", Py_GetVersion(),
                 debug ? " (debug build)" : "");
    return false;
}

PyMODINIT_FUNC PyInit__core(void) { return built_for_this() ? PyModuleDef_Init(&def) : NULL; }
