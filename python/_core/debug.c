/* debug.c: what dumps, reports and ramet.debug need of the core: which goroutines there are and what they wait for, what is
 * installed, and who keeps the proc.
 *
 * debug_hooks is derived from what is there now: handlers and hooks are asked for where that can be done, threads and
 * descriptors are those of the runtime. */
#include "core.h"

#include <signal.h>

#include "arena.h"
#include "cpython_state.h"
#include "overflow.h"

/* ------------------------------------------------------------------ who waits for what ---- */

typedef struct collect {
    core_state *st;
    PyObject *list;
} collect;

static bool collect_one(rm_g *g, void *arg) {
    collect *c = arg;
    PyObject *h = (PyObject *)goroutine_handle(c->st, g);
    bool ok = h && PyList_Append(c->list, h) == 0;
    Py_XDECREF(h);
    return ok;
}

PyDoc_STRVAR(goroutines_doc, "_goroutines()\n--\n\nAll that are alive, main first.");
static PyObject *debug_goroutines(PyObject *module, PyObject *u) {
    (void)u;
    collect c = {core_of(module), PyList_New(0)};
    if (!c.list || !c.st->rt) return c.list;
    rm_rt_each(c.st->rt, collect_one, &c);
    if (PyErr_Occurred()) Py_CLEAR(c.list);
    return c.list;
}

PyDoc_STRVAR(wait_info_doc, "_wait_info(g, /)\n--\n\n(state, object or None, seconds waited or None, creator's id).");
static PyObject *debug_wait_info(PyObject *module, PyObject *o) {
    core_state *st = core_of(module);
    if (Py_TYPE(o) != st->goroutine_type) return PyErr_Format(PyExc_TypeError, "g must be a Goroutine");
    rm_g *g = ((py_goroutine *)o)->g;
    if (!g) return Py_BuildValue("sOOi", "done", Py_None, Py_None, 0);
    PyObject *obj = NULL, *age = NULL;
    if (g->state == RM_WAITING) {
        age = PyFloat_FromDouble((double)(rm_now() - g->since) / 1e9);
        if (!age) return NULL;
        if (g->reason == RM_R_CHAN_RECV || g->reason == RM_R_CHAN_SEND)
            obj = Py_NewRef((PyObject *)rm_container_of(g->wait_obj, py_chan, c));
        else if (g->reason >= RM_R_MUTEX && g->reason <= RM_R_QUEUE_JOIN) obj = Py_NewRef(sync_object(g->wait_obj));
        else if (g->reason == RM_R_JOIN) obj = (PyObject *)goroutine_handle(st, (rm_g *)g->wait_obj);
        if (PyErr_Occurred()) {
            Py_DECREF(age);
            return NULL;
        }
    }
    return Py_BuildValue("sNNK", rm_g_state(g), obj ? obj : Py_NewRef(Py_None), age ? age : Py_NewRef(Py_None),
                         (unsigned long long)g->creator);
}

PyObject *debug_as_waiting(core_state *st, rm_g *g) {
    PyObject *h = (PyObject *)goroutine_handle(st, g);
    if (!h) return NULL;
    g->state = RM_WAITING; /* no Python code runs meanwhile, and what the wait left behind is still there */
    PyObject *info = debug_wait_info(st->module, h), *frames = info ? rm_pystate_frames(g) : NULL;
    g->state = RM_RUNNING;
    if (!frames) {
        Py_XDECREF(info);
        Py_DECREF(h);
        return NULL;
    }
    return Py_BuildValue("(NNN)", h, info, frames);
}

/* ------------------------------------------------------------------ what is installed ---- */

static int add(PyObject *list, const char *name, const char *what, const char *where) {
    PyObject *t = Py_BuildValue("(sss)", name, what, where);
    int e = t ? PyList_Append(list, t) : -1;
    Py_XDECREF(t);
    return e;
}

static int add_fault(PyObject *list, int sig, const char *name) {
    int how = rm_overflow_installed(sig);
    if (!how) return 0;
    return add(list, name, "deals with an overflow of a goroutine's stack; other faults go to the handler before it",
               how == 1 ? "sigaction" : "sigaction, behind a handler that was installed later");
}

static int add_process(const core_state *st, PyObject *list) {
    if (add_fault(list, SIGSEGV, "SIGSEGV handler") || add_fault(list, SIGBUS, "SIGBUS handler")) return -1;
    char number[32];
    int preempt = preempt_installed(st);
    snprintf(number, sizeof number, "signal.signal, signal %d", preempt);
    if (preempt && add(list, "preemption handler", "switches away from a goroutine that has had its slice", number))
        return -1;
    int arena = rm_arena_installed(), prompt = host_prompt_installed(st);
    if (arena && add(list, "arena allocator", "keeps 16 KiB chunks of Python's data stack",
                     arena == 1 ? "PyObject_SetArenaAllocator" : "PyObject_SetArenaAllocator, below a later one"))
        return -1;
    if (prompt & (HOST_INPUT_HOOK | HOST_INPUT_HOOK_BEHIND) &&
        add(list, "input hook", "runs goroutines while the prompt waits for a key",
            prompt & HOST_INPUT_HOOK ? "PyOS_InputHook" : "PyOS_InputHook, behind one that was installed later"))
        return -1;
    return prompt & HOST_INTERRUPTER ? add(list, "prompt timer", "sends SIGINT once more to the prompt", "timer_create")
                                     : 0;
}

static int add_fd(PyObject *list, const char *name, const char *what, int fd) {
    char where[32];
    snprintf(where, sizeof where, "fd %d", fd);
    return fd < 0 ? 0 : add(list, name, what, where);
}

static int add_runtime(const core_state *st, PyObject *list) {
    rm_rt *rt = st->rt;
    ramet_stats stats = {0};
    int poller, waker;
    rm_pool_stats(rt, &stats);
    rm_netpoll_own_fds(&rt->p, &poller, &waker);
    if (rt->alternate &&
        add(list, "alternate signal stack", "what the fault handlers run on", "sigaltstack of the proc's thread"))
        return -1;
    if (st->hosted && add(list, "host thread", "runs the goroutines", "thread ramet-host")) return -1;
    if (rt->sysmon && add(list, "watching thread", "keeps time and watches the proc", "thread ramet-sysmon")) return -1;
    for (uint64_t i = 0; i < stats.pool_threads; i++)
        if (add(list, "pool thread", "makes calls that block", "thread ramet-pool")) return -1;
    return add_fd(list, "poller", "waits for descriptors", poller) ||
                   add_fd(list, "waker", "wakes the proc in its poll", waker)
               ? -1
               : 0;
}

PyDoc_STRVAR(hooks_doc, "_hooks()\n--\n\n[(name, what, where), ...] of what the core has installed.");
static PyObject *debug_hooks(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    PyObject *list = PyList_New(0);
    if (!list || (!add_process(st, list) && (!st->rt || !add_runtime(st, list)))) return list;
    Py_DECREF(list);
    return NULL;
}

/* ------------------------------------------------------------------ who keeps the proc ---- */

/* With the GIL, and a thread state of sysmon's own: only g's thread could switch, and it needs the GIL for that. All
 * that is wanted of g is taken before anything is made that could run other code. */
static void report(core_state *st, rm_g *g, int64_t ns, bool oncpu) {
    unsigned long long id = g->id;
    py_goroutine *handle = (py_goroutine *)g->embed.handle;
    PyObject *name = handle ? Py_XNewRef(handle->name) : NULL;
    PyObject *frames = rm_pystate_frames(g);
    PyObject *r = frames ? PyObject_CallMethod(st->module, "_report_hog", "KOdOO", id, name ? name : Py_None,
                                               (double)ns / 1e9, oncpu ? Py_True : Py_False, frames)
                         : NULL;
    if (!r) PyErr_WriteUnraisable(NULL);
    Py_XDECREF(r);
    Py_XDECREF(frames);
    Py_XDECREF(name);
}

static bool finalizing(void) {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

static void report_if_still(core_state *st, rm_rt *rt, uint64_t switches, int64_t ns, bool oncpu) {
    CORE_OWNED;
    rm_g *g = rt->p.cur; /* the one that was seen, if there has been no switch */
    if (st->closed || rt->p.switches != switches || rm_load(&rt->p.idle) || g == rt->p.g0 || g->flags & RM_GF_SYSTEM ||
        !rm_load(&st->hog_ns))
        return;
    st->hog_told = switches + 1;
    report(st, g, ns, oncpu);
}

int64_t debug_hog(core_state *st, rm_rt *rt, uint64_t switches, int64_t ns, bool oncpu) {
    int64_t threshold = rm_load(&st->hog_ns), asked = rm_now();
    if (!threshold || st->hog_told == switches + 1) return 0;
    if (ns < threshold) return threshold;
    if (st->closed || finalizing() || (!st->hosted && rm_rt_count(rt) <= 1)) return 0; /* main alone is no hog */
    PyThreadState *ts = PyThreadState_New(st->interp);
    if (!ts) return 0;
    PyEval_RestoreThread(ts);
    report_if_still(st, rt, switches, ns + (rm_now() - asked), oncpu);
    PyThreadState_Clear(ts);
    PyThreadState_DeleteCurrent();
    return 0;
}

PyDoc_STRVAR(threshold_doc, "_blocked_threshold(seconds, /)\n--\n\nReport who keeps the proc for so long; 0: nobody.");
static PyObject *debug_threshold(PyObject *module, PyObject *seconds) {
    int64_t ns;
    if (core_duration(seconds, "seconds", &ns)) return NULL;
#ifdef Py_GIL_DISABLED
    /* An interpreter's second thread stops the world when it is made, so a call that keeps the GIL would make sysmon's
     * report wait, and find the caller gone. */
    PyThreadState *ts = PyThreadState_New(core_of(module)->interp);
    if (!ts) return PyErr_NoMemory();
    PyThreadState_Clear(ts);
    PyThreadState_Delete(ts);
#endif
    rm_store(&core_of(module)->hog_ns, ns > 0 ? ns : 0);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_goroutines", debug_goroutines, METH_NOARGS, goroutines_doc},
    {"_wait_info", debug_wait_info, METH_O, wait_info_doc},
    {"_hooks", debug_hooks, METH_NOARGS, hooks_doc},
    {"_blocked_threshold", debug_threshold, METH_O, threshold_doc},
    {NULL, NULL, 0, NULL},
};

int debug_init(PyObject *module, core_state *st) {
    (void)st;
    return core_functions(module, functions);
}
