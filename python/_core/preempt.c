/* preempt.c: goroutines that compute are switched away from; no_preempt().
 *
 * Where rt->slice is set, sysmon calls preempt_ask when the same goroutine has been computing for that long. A real-time
 * signal that nobody uses is then marked as tripped in Python's table, without being sent; the main thread's eval loop
 * calls our handler, `preempt`, at its next look, and the handler lets the others run. Nothing is paid between two slices.
 *
 * Where it may be. C code, too, asks Python to handle signals, while it holds what belongs to the OS thread. So a switch
 * happens only where the innermost Python frame stands at an instruction that calls no C code: at the head of
 * a function or the end of a loop's body. Anywhere else the signal is tripped again (NOT_HERE).
 *
 * And not at all for now (NOT_NOW; sysmon asks again in a slice) in no_preempt(); in a finalizer or while deallocation is
 * being put off; under an import, some of whose locks know OS threads only; in a method of a raw stream that is written in
 * Python, since io.Buffered* calls it with a lock that knows OS threads only; in a handler of os.register_at_fork, since
 * others hold such locks from before the fork until after it; while a greenlet runs that is not its thread's own.
 *
 * And not before some slices have passed (NOT_YET) in a collection, which is one for all, or while somebody has the lock of
 * all imports. Whose it is cannot be seen: it may be a goroutine's or a thread's that waits, in a finalizer, for
 * what the others do, and that would be for ever. Nor while it is seen to hold a lock that knows OS threads only (IN_LOCK,
 * locks.c), lest another goroutine block the thread for it. But who computes for long in a lock must not keep all the
 * others waiting.
 *
 * And where somebody blocks the thread for such a lock, a wait like any other (AWAITS_LOCK): the holder may be another
 * goroutine. There the signal is really sent, as no eval loop looks.
 *
 * Of the signal itself: it is the highest one that has the system's default action and no handler. Should somebody else
 * send it, it has that action still. Whoever installs a handler of his own for it ends preemption, which sysmon sees
 * by the system's table; the handler is never called for our sake. */
#include "core.h"

#include <opcode.h>
#include <pthread.h>
#include <signal.h>

#include "cpython_state.h"

/* ------------------------------------------------------------------ asking ---- */

/* Of the signal that is really sent, by us, to who blocks the thread for a lock. */
static uint32_t on_its_way, arrived; /* atomic */

static void on_real_signal(int number) {
    if (rm_xchg(&on_its_way, 0)) {
        rm_store_rel(&arrived, 1);
        return;
    }
    signal(number, SIG_DFL);
    raise(number);
}

static bool is_ours(int number) {
    struct sigaction now;
    return number && !sigaction(number, NULL, &now) && now.sa_handler == on_real_signal;
}

int preempt_installed(const core_state *st) { return is_ours(st->preempt_signal) ? st->preempt_signal : 0; }

static void trip(core_state *st) {
    PyErr_SetInterruptEx(st->preempt_signal);
#if PY_VERSION_HEX < 0x030d0000
    /* these decide on the calling thread whether the main one need look */
    _Py_atomic_store_relaxed(&st->interp->ceval.eval_breaker, 1);
#endif
}

/* Tripping writes to signal.set_wakeup_fd's: seldom again to one that does not come to it. */
#define ASK_AGAIN 16

#define LOOK_NS (RAMET_SECOND / 100)

/* The thread has not used the CPU for a slice. If it waits for a lock, our handler is called there and then: that wait
 * is interrupted by any signal, to let Python's handlers run, and goes on. We have the GIL, or hold the thread, so it is there,
 * or waits for that: no other system call is interrupted. */
static void interrupt_held(core_state *st, rm_rt *rt, uint64_t switches) {
    PyThreadState *ts = st->tstate;
    struct _PyInterpreterFrame *f = RM_PY_CURRENT_FRAME(ts);
    if (st->closed || rm_load(&rt->p.switches) != switches || rm_load(&rt->p.idle) || !is_ours(st->preempt_signal))
        return;
    if (!f || RM_PY_SHIM(f) || _PyFrame_IsIncomplete(f) || !locks_awaited(st, f)) return;
    rm_store(&st->preempt_for, switches);
    rm_store_rel(&st->preempt_asked, 1);
    trip(st);
    rm_store_rel(&on_its_way, 1);
    if (pthread_kill((pthread_t)ts->thread_id, st->preempt_signal)) rm_store(&on_its_way, 0);
}

static void interrupt(core_state *st, rm_rt *rt, uint64_t switches) {
    int64_t now = rm_now();
    if (now - st->preempt_looked < LOOK_NS || rm_rt_count(rt) < 2 || rm_load(&on_its_way)) return;
    st->preempt_looked = now;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyThreadState *ts = st->tstate;
    if (rm_thread_hold(ts)) {
        interrupt_held(st, rt, switches);
        rm_thread_let_go(ts);
    }
    PyGILState_Release(gil);
}

void preempt_ask(rm_rt *rt, uint64_t switches, bool oncpu) {
    core_state *st = rt->embedder;
    if (!oncpu) {
        interrupt(st, rt, switches);
        return;
    }
    if (rm_load(&st->preempt_asked) && rm_load(&st->preempt_for) == switches && ++st->preempt_again % ASK_AGAIN) return;
    if (!is_ours(st->preempt_signal)) return;
    rm_store(&st->preempt_for, switches);
    rm_store_rel(&st->preempt_asked, 1);
    trip(st);
}

/* ------------------------------------------------------------------ whether ---- */

enum may { NOT_HERE, NOT_NOW, NOT_YET, IN_LOCK, NOW, AWAITS_LOCK };

/* Where the loop goes on. A jump back may be without the handler that the places around it have; it jumps to one of these. */
static int jumps_to(const unsigned char *code, int n, int at) {
    int arg = code[2 * at + 1], next = at + 1;
    for (int k = 1; k <= 3 && at >= k && code[2 * (at - k)] == EXTENDED_ARG; k++)
        arg |= code[2 * (at - k) + 1] << (8 * k);
    while (next < n && code[2 * next] == CACHE) next++;
    return next - arg;
}

/* At the head of a function, or where a loop goes back: no C function is being called. Then *place is where the
 * handlers of what is around it are found. */
static bool at_rest(struct _PyInterpreterFrame *f, int *place) {
    PyObject *bytes = PyCode_GetCode(RM_PY_CODE(f)); /* without what the interpreter has made of them; it keeps them */
    if (!bytes) {
        PyErr_Clear();
        return false;
    }
    const unsigned char *code = (const unsigned char *)PyBytes_AS_STRING(bytes);
    int n = (int)PyBytes_GET_SIZE(bytes) / 2, at = _PyInterpreterFrame_LASTI(f);
    int op = at >= 0 && at < n ? code[2 * at] : -1;
    *place = op == JUMP_BACKWARD ? jumps_to(code, n, at) : at;
    Py_DECREF(bytes);
    switch (op) {
    case RESUME:
    case JUMP_BACKWARD:
#ifdef POP_JUMP_BACKWARD_IF_TRUE /* 3.11: how a `while` loop goes back */
    case POP_JUMP_BACKWARD_IF_TRUE:
    case POP_JUMP_BACKWARD_IF_FALSE:
    case POP_JUMP_BACKWARD_IF_NONE:
    case POP_JUMP_BACKWARD_IF_NOT_NONE:
#endif
        return true;
    default:
        return false;
    }
}

static bool is_text(PyObject *s, const char *text, Py_ssize_t n) {
    return PyUnicode_GET_LENGTH(s) == n && PyUnicode_CompareWithASCIIString(s, text) == 0;
}
#define IS_TEXT(s, text) is_text(s, text, sizeof text - 1)

/* Of a list that never shrinks. New reference. */
static PyObject *item(PyObject *list, Py_ssize_t i) {
#ifdef Py_GIL_DISABLED
    return PyList_GetItemRef(list, i); /* another thread may be adding one */
#else
    return Py_NewRef(PyList_GET_ITEM(list, i));
#endif
}

/* A handler of os.register_at_fork. From the first of them to the last, locks that know OS threads only are held. */
static bool is_fork_handler(const PyInterpreterState *interp, PyCodeObject *code) {
    PyObject *lists[] = {interp->before_forkers, interp->after_forkers_parent, interp->after_forkers_child};
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
        for (Py_ssize_t i = 0; lists[l] && i < PyList_GET_SIZE(lists[l]); i++) {
            PyObject *of = item(lists[l], i), *fn = PyMethod_Check(of) ? PyMethod_GET_FUNCTION(of) : of;
            bool is = PyFunction_Check(fn) && PyFunction_GET_CODE(fn) == (PyObject *)code;
            Py_DECREF(of);
            if (is) return true;
        }
    return false;
}

/* New reference, or NULL. */
static PyObject *self_of(struct _PyInterpreterFrame *f) {
    PyObject *self = RM_PY_CODE(f)->co_argcount > 0 ? RM_PY_VALUE(f->localsplus[0]) : NULL;
    return self && PyCell_Check(self) ? PyCell_Get(self) : Py_XNewRef(self); /* other threads may change a cell */
}

/* Whether below this frame something is held that knows OS threads only, or all are kept waiting for. */
static bool holds(core_state *st, struct _PyInterpreterFrame *f, PyObject *self) {
    PyCodeObject *code = RM_PY_CODE(f);
    if (IS_TEXT(code->co_filename, "<frozen importlib._bootstrap>") || IS_TEXT(code->co_name, "__del__")) return true;
    return is_fork_handler(st->interp, code) || (self && PyObject_TypeCheck(self, (PyTypeObject *)st->raw_io));
}

/* imp.acquire_lock, of whatever thread. */
static bool import_locked(core_state *st) {
    PyObject *r = PyObject_CallNoArgs(st->import_locked);
    bool locked = r != Py_False;
    Py_XDECREF(r);
    PyErr_Clear();
    return locked;
}

static enum may may(core_state *st, rm_g *g, PyThreadState *ts, bool interrupted) {
    if (g->flags & RM_GF_SYSTEM) return NOT_NOW;
    struct _PyInterpreterFrame *const top = RM_PY_CURRENT_FRAME(ts), *f = top;
    int place;
    if (!RM_PY_NO_EXCEPTION(ts) || !f || RM_PY_SHIM(f) || _PyFrame_IsIncomplete(f)) return NOT_HERE;
    bool awaits = interrupted && locks_awaited(st, f);
    if (g->embed.pyflags >= PYF_NO_PREEMPT && !awaits) return NOT_NOW;
    if (!at_rest(f, &place) && !awaits) return NOT_HERE;
    if (RM_PY_TRASH(ts) || rm_pystate_in_greenlet(&g->embed.py, ts)) return NOT_NOW;
    bool in_lock = false;
    for (; f; f = f->previous) {
        if (RM_PY_SHIM(f) || _PyFrame_IsIncomplete(f)) continue;
        PyObject *self = self_of(f);
        bool not_now = holds(st, f, self);
        in_lock = in_lock || locks_held(st, f, f == top ? place : _PyInterpreterFrame_LASTI(f), self);
        Py_XDECREF(self);
        if (not_now) return NOT_NOW;
    }
    if (awaits) return AWAITS_LOCK;
    return in_lock ? IN_LOCK : ts->interp->gc.collecting || import_locked(st) ? NOT_YET : NOW;
}

static void ask_again(core_state *st) {
    rm_store(&st->preempt_asked, 1);
    trip(st);
}

#define PUT_OFF 5 /* slices, */
#define PUT_OFF_IN_LOCK (RAMET_SECOND / 1000 * 50) /* and in a lock at least so long */
#define LOOKING (RAMET_SECOND / 1000000 * 150) /* for so long in a slice; */
#define A_LOOK 1000 /* ns, and what it takes to walk the frames */

/* Most locks are held for a moment, by who takes them again in another: so they are looked at closely, not once a
 * slice, when nearly always they would be found held. Not for ever: a look costs as much as some calls, or some
 * thousand under deep recursion. This one began at `began`. */
static bool put_off(core_state *st, const rm_p *p, bool in_lock, int64_t began) {
    if (st->preempt_put_off_for != p->switches) {
        st->preempt_put_off_for = p->switches;
        st->preempt_put_off_since = rm_now();
        st->preempt_put_off = 0;
        st->preempt_looking = 0;
    }
    if (in_lock && (st->preempt_looking += rm_now() - began + A_LOOK) < LOOKING) {
        ask_again(st);
        return true;
    }
    st->preempt_looking = 0;
    return ++st->preempt_put_off <= PUT_OFF || (in_lock && rm_now() - st->preempt_put_off_since < PUT_OFF_IN_LOCK);
}

/* It blocks the thread for a lock, and lets the others run, until sysmon sees it block again. If that is soon it is taken
 * to be the same wait, of which somebody is told after a second. */
#define SOON (RAMET_SECOND / 4)
static void await_lock(core_state *st, rm_g *g) {
    int64_t now = rm_now(), apart = now - st->lock_back;
    bool same = st->lock_waiter == g->id && apart < SOON;
    if (!same && (st->lock_waiter == g->id || apart >= SOON)) {
        st->lock_waiter = g->id;
        st->lock_since = st->lock_back = now;
    }
    if (same && now - st->lock_since > RAMET_SECOND) host_report_blocked(st, g, now - st->lock_since, false);
    rm_preempt(g);
    if (st->lock_waiter == g->id) st->lock_back = rm_now();
}

PyDoc_STRVAR(preempt_doc, "_preempt(signum, frame, /)\n--\n\nA signal's handler: the goroutine has had its slice.");
static PyObject *preempt(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    core_state *st = core_of(module);
    rm_rt *rt = st->rt;
    if (!rm_xchg(&st->preempt_asked, 0) || !rt || st->closed || !rm_load(&rt->slice)) Py_RETURN_NONE;
    rm_m *m = rm_m_of(rt);
    rm_p *p = m ? m->p : NULL;
    if (!p || rm_load(&st->preempt_for) != p->switches) Py_RETURN_NONE; /* another one was meant */
    rm_g *g = p->cur;
    int64_t began = rm_now();
    enum may may_it = may(st, g, st->tstate, rm_xchg(&arrived, 0));
    if (may_it == NOT_HERE) ask_again(st);
    if ((may_it == NOT_YET || may_it == IN_LOCK) && !put_off(st, p, may_it == IN_LOCK, began)) may_it = NOW;
    if (may_it == NOW) rm_preempt(g);
    else if (may_it == AWAITS_LOCK) await_lock(st, g);
    else Py_RETURN_NONE;
    /* main, and it may be long before it waits */
    if (g->cancel & RM_CANCEL_RAISE) return core_raise(st, g, rm_g_cancelled(g));
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ installing ---- */

static bool has_default(PyObject *signal_module, int number) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) || now.sa_handler != SIG_DFL) return false;
    PyObject *h = PyObject_CallMethod(signal_module, "getsignal", "i", number);
    bool found = h && PyLong_Check(h) && PyLong_AsLong(h) == 0; /* SIG_DFL */
    Py_XDECREF(h);
    PyErr_Clear();
    return found;
}

static int install(core_state *st) {
    if (is_ours(st->preempt_signal)) return 0; /* by a runtime before this one, in the parent of a fork */
    PyObject *signal_module = PyImport_ImportModule("_signal");
    if (!signal_module) return -1;
    int number = SIGRTMAX < NSIG ? SIGRTMAX : NSIG - 1;
    while (number >= SIGRTMIN && !has_default(signal_module, number)) number--;
    PyObject *r = NULL;
    if (number < SIGRTMIN)
        PyErr_SetString(PyExc_RuntimeError, "ramet: goroutines are not preempted: every real-time signal is in use");
    else r = PyObject_CallMethod(signal_module, "signal", "iO", number, st->preempt_handler);
    Py_DECREF(signal_module);
    if (!r) return -1;
    Py_DECREF(r);
    struct sigaction ours = {.sa_handler = on_real_signal, .sa_flags = SA_ONSTACK};
    sigaction(number, &ours, NULL);
    st->preempt_signal = number;
    return 0;
}

int preempt_start(core_state *st) {
    PyObject *io = st->raw_io ? NULL : PyImport_ImportModule("_io");
    if (io) st->raw_io = PyObject_GetAttrString(io, "_RawIOBase");
    Py_XDECREF(io);
    PyObject *imp = st->import_locked ? NULL : PyImport_ImportModule("_imp");
    if (imp) st->import_locked = PyObject_GetAttrString(imp, "lock_held");
    Py_XDECREF(imp);
    if (!st->preempt_handler) st->preempt_handler = PyObject_GetAttrString(st->module, "_preempt");
    if (!st->raw_io || !st->import_locked || !st->preempt_handler || locks_setup(st) || install(st)) return -1;
    rm_store(&on_its_way, 0); /* in a child, it was on its way to the parent */
    rm_store(&st->rt->slice, st->slice);
    return 0;
}

PyDoc_STRVAR(preempt_signal_doc, "_preempt_signal()\n--\n\nThe signal that is used to preempt goroutines, or 0.");
static PyObject *preempt_signal(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    if (st->slice && !core_enter(st)) return NULL; /* it is chosen at first use */
    return PyLong_FromLong(st->preempt_signal);
}

PyDoc_STRVAR(import_ident_doc, "_import_ident()\n--\n\nWho calls: an OS thread's ident (main's, too), or a negative "
                               "number that is this goroutine's.");
static PyObject *import_ident(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    rm_m *m = st->rt ? rm_m_of(st->rt) : NULL;
    uint64_t id = m && m->p ? m->p->cur->id : 1;
    return id > 1 ? PyLong_FromLongLong(-(long long)id) : PyLong_FromUnsignedLong(PyThread_get_thread_ident());
}

/* ------------------------------------------------------------------ no_preempt ---- */

typedef struct py_no_preempt {
    PyObject_HEAD core_state *st;
    rm_g *g; /* whom it keeps from being preempted; NULL in an OS thread that is none */
    uint64_t id; /* of g, whose memory may be another's by the time the block is left */
    bool entered;
} py_no_preempt;

static PyObject *no_preempt_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core_state *st = core_of_type(type);
    if (!st) return NULL;
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs)))
        return PyErr_Format(PyExc_TypeError, "no_preempt() takes no arguments");
    py_no_preempt *self = (py_no_preempt *)type->tp_alloc(type, 0);
    if (self) self->st = st;
    return (PyObject *)self;
}

static void no_preempt_leave(py_no_preempt *self) {
    rm_g *g = self->g;
    self->g = NULL;
    self->entered = false;
    if (g && self->st->rt && g->id == self->id) rm_fetch_sub(&g->embed.pyflags, PYF_NO_PREEMPT);
}

static void no_preempt_dealloc(py_no_preempt *self) {
    CORE_OWNED;
    PyTypeObject *type = Py_TYPE(self);
    no_preempt_leave(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *no_preempt_enter(py_no_preempt *self, PyObject *u) {
    (void)u;
    rm_g *g = core_enter(self->st);
    if (!g) return NULL;
    if (self->entered) {
        PyErr_SetString(PyExc_RuntimeError, "a no_preempt() block is entered already: make a new no_preempt()");
        return NULL;
    }
    if (g->p) {
        if (g->embed.pyflags >= UINT32_MAX - PYF_NO_PREEMPT) {
            PyErr_SetString(PyExc_RuntimeError, "too many no_preempt() blocks in one another");
            return NULL;
        }
        g->embed.pyflags += PYF_NO_PREEMPT;
        self->g = g;
        self->id = g->id;
    }
    self->entered = true;
    return Py_NewRef(self);
}

static PyObject *no_preempt_exit(py_no_preempt *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    no_preempt_leave(self);
    Py_RETURN_FALSE;
}

static PyMethodDef no_preempt_methods[] = {
    {"__enter__", (PyCFunction)no_preempt_enter, METH_NOARGS,
     "__enter__($self)\n--\n\nBegin the block. Never parks. Any thread."},
    {"__exit__", (PyCFunction)(void (*)(void))no_preempt_exit, METH_FASTCALL,
     "__exit__($self, kind, exc, traceback, /)\n--\n\nEnd the block. Never parks. Any thread."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot no_preempt_slots[] = {
    {Py_tp_doc, "no_preempt()\n--\n\nA block in which the goroutine is not preempted: with no_preempt(): ...\n\n"
                "It may still park, and the others run meanwhile. Such blocks nest. Without preemption, and in an OS\n"
                "thread that is no goroutine, it does nothing. Never parks. Any thread."},
    {Py_tp_new, no_preempt_new},
    {Py_tp_dealloc, no_preempt_dealloc},
    {Py_tp_methods, no_preempt_methods},
    {0, NULL},
};
static PyType_Spec no_preempt_spec = {"ramet.no_preempt", sizeof(py_no_preempt), 0,
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, no_preempt_slots};

static PyMethodDef functions[] = {
    {"_preempt", (PyCFunction)(void (*)(void))preempt, METH_FASTCALL, preempt_doc},
    {"_preempt_signal", preempt_signal, METH_NOARGS, preempt_signal_doc},
    {"_import_ident", import_ident, METH_NOARGS, import_ident_doc},
    {NULL, NULL, 0, NULL},
};

int preempt_traverse(core_state *st, visitproc visit, void *arg) {
    Py_VISIT(st->preempt_handler);
    Py_VISIT(st->import_locked);
    Py_VISIT(st->raw_io);
    Py_VISIT(st->no_preempt_type);
    return locks_traverse(st, visit, arg);
}

void preempt_clear(core_state *st) {
    Py_CLEAR(st->preempt_handler);
    Py_CLEAR(st->import_locked);
    Py_CLEAR(st->raw_io);
    Py_CLEAR(st->no_preempt_type);
    locks_clear(st);
}

int preempt_init(PyObject *module, core_state *st) {
    st->no_preempt_type = (PyTypeObject *)core_type(module, &no_preempt_spec, NULL);
    if (!st->no_preempt_type || PyModule_AddType(module, st->no_preempt_type)) return -1;
    return core_functions(module, functions);
}
