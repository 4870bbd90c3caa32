/* fork.c: a forked child has a runtime of its own.
 *
 * The goroutine that forks is the child's only one, and its main; the others are dropped where they stand, in pieces: what
 * they refer to stays, and their handles say that they were left behind. Where another thread forks, the proc's thread is
 * not in the child: the runtime is left as it is, and the next use makes one.
 *
 * Our handler is the first of those of os.register_at_fork in the child: the others may use all that there is. Before it
 * CPython runs finalizers only, of what the threads had that are not in the child. For these the system tells us
 * (pthread_atfork), where hardly anything is allowed: core_enter then finds no runtime to enter (st->entry), and the
 * first who comes to wait or to start a goroutine renews it. */
#include "core.h"

#include <pthread.h>
#include <unistd.h>

#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"

static core_state *watched; /* of the main interpreter, the only one that can fork */

static void in_child(void) {
    if (!watched || !watched->entry) return;
    rm_forked(watched->rt);
    watched->entry = NULL;
}

static void watch_once(void) { pthread_atfork(NULL, NULL, in_child); }

int fork_handler(core_state *st, Py_ssize_t at, PyObject *handler) {
    PyObject **list = &st->interp->after_forkers_child;
    return *list || (*list = PyList_New(0)) ? PyList_Insert(*list, at, handler) : -1;
}

int fork_watch(core_state *st) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (watched == st) return 0;
    PyObject *handler = PyObject_GetAttrString(st->module, "_after_fork");
    int e = handler ? fork_handler(st, 0, handler) : -1;
    Py_XDECREF(handler);
    if (e) return -1;
    watched = st;
    pthread_once(&once, watch_once);
    return 0;
}

void fork_unwatch(core_state *st) {
    if (watched == st) watched = NULL;
}

/* From before a fork until here, in parent and child: no collections. */
void fork_begins(core_state *st) {
    if (!st->forking++) st->collects = PyGC_Disable();
}

void fork_over(core_state *st, bool in_child) {
    if (!st->forking) return;
    st->forking = in_child ? 0 : st->forking - 1;
    if (!st->forking && st->collects) PyGC_Enable();
}

typedef struct losing {
    core_state *st;
    rm_g *self;
    PyObject *to_close;
} losing;

static bool lose(rm_g *g, void *arg) {
    losing *l = arg;
    return g == l->self || goroutine_lost(l->st, g, l->to_close) == 0;
}

int fork_renew(core_state *st) {
    rm_rt *rt = st->rt;
    if (!rt || st->entry) return 0;
    /* of a goroutine that was parked in a finalizer, and is lost: there would be no collections any more, and no
     * preemption. If it is of the one that forked, a collection within this one does no harm. */
    st->interp->gc.collecting = 0;
    st->main_m = NULL;
    st->in_run = st->run_waits = false;
    st->forked = true;
    rm_m *m = rm_m_of(rt);
    losing l = {st, m && m->p ? rt->p.cur : NULL, PyList_New(0)};
    if (!l.to_close) return -1;
    rm_rt_each(rt, lose, &l);
    timers_fork(st, rt);
    if (l.self) {
        int e = rm_rt_forked(rt);
        if (e) {
            Py_DECREF(l.to_close);
            PyErr_Format(PyExc_RuntimeError, "ramet: no fresh runtime after fork: %s", strerror(-e));
            return -1;
        }
        st->entry = rt;
        if (!st->forking) rm_sysmon_start(rt); /* forked without Python's handlers, or the handler has failed */
    } else {
        rm_rt_abandon(rt);
        if (m) rm_m_exit(m);
        st->rt = NULL;
        st->tstate = NULL;
        st->hosted = false;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(l.to_close); i++)
        rm_chan_close(&((py_chan *)PyList_GET_ITEM(l.to_close, i))->c);
    Py_DECREF(l.to_close);
    if (st->rt) timers_resume(st);
    int e = PyErr_Occurred() ? -1 : 0;
    Py_CLEAR(st->main_exc); /* there is a runtime, or none: what it holds may use it */
    return e;
}

PyObject *fork_in_child(core_state *st) {
    st->starting = false;
    if (st->entry && st->rt->pid != (int)getpid()) { /* of a second import: it is not the one watched */
        rm_forked(st->rt);
        st->entry = NULL;
    }
    int e = fork_renew(st);
    fork_over(st, true);
    if (st->entry && !st->rt->sysmon) rm_sysmon_start(st->rt);
    if (e) return NULL;
    Py_RETURN_NONE;
}

/* Main's thread returns, as one does that has forked, in the child. The process ends as it does without ramet: once all its
 * threads have returned, with status 0. Those of ours are not to keep it, but for calls of blocking() that have begun. */
void fork_proc_ends(rm_rt *rt) {
    if (rt->closing || ((core_state *)rt->embedder)->hosted) return;
    rt->closing = true;
    rm_sysmon_stop(rt, false);
    rm_pool_fini(rt, 0, false);
}

_Noreturn void fork_exit(core_state *st, rm_g *g, int exit_code) {
    rm_store(&st->rt->slice, 0);
    /* finalization frees the thread's data stack: give it the thread's own back, which main's goroutine left behind
     * in the parent, on the C stack where we are */
    rm_pystate_load(&st->rt->p.m->fg.embed.py, st->tstate);
#ifdef Py_GIL_DISABLED
    st->tstate->critical_section = 0; /* those are main's, which is not there: what it has locked is nobody's */
#endif
#ifdef RM_PY_STACK_LIMITS
    RM_PY_IMPL(st->tstate)->c_stack_top = g->embed.py.c_stack_top;
    RM_PY_IMPL(st->tstate)->c_stack_soft_limit = g->embed.py.c_stack_soft;
    RM_PY_IMPL(st->tstate)->c_stack_hard_limit = g->embed.py.c_stack_hard;
#else
    (void)g;
#endif
#if PY_VERSION_HEX >= 0x030d0000
    _PyRuntime.main_tstate = st->tstate;
#endif
    if (st->main_exc) { /* what was to be raised in main */
        PyObject *exc = st->main_exc;
        st->main_exc = NULL;
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
        PyErr_Print(); /* SystemExit exits here */
    }
    Py_Exit(exit_code);
}
