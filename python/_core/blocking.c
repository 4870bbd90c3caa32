/* blocking.c: ramet.blocking: a Python call on a pool thread; only the calling goroutine waits.
 *
 * A call is a job on the heap, because its goroutine may be cancelled and gone before it ends. The GIL
 * orders who frees what: the goroutine, when it resumes, either finds the outcome and takes it, or marks the
 * job abandoned, and the pool thread then drops the outcome. The C memory is freed by whichever comes last: the goroutine, or
 * `done`, on the loop, where no Python object may be dropped (that could run code on the idle stack). */
#include "core.h"

#include <unistd.h>

typedef struct py_job {
    rm_job job;
    core_state *st;
    rm_g *g;                    /* who waits; NULL once it has given up. Under the GIL */
    PyObject *fn, *args, *kwargs;
    PyObject *result, *exc;
    bool finished, abandoned;
    bool left; /* `done` has been, and leaves the job to its goroutine, which is giving up just now */
} py_job;

/* A pool thread keeps one thread state for as long as it lives. */
static __thread PyThreadState *own_tstate;

/* Not in a destructor of the thread's data: those come when CPython's own key has been cleared already, and then
 * PyGILState_Ensure in a finalizer would make another thread state and wait for the GIL that we hold. */
void blocking_thread_ends(rm_rt *rt) {
    (void)rt;
    PyThreadState *ts = own_tstate;
    if (!ts) return;
    own_tstate = NULL;
    PyEval_RestoreThread(ts);
    PyThreadState_Clear(ts);
    PyThreadState_DeleteCurrent();
}

static void deliver(py_job *j, PyObject *r, PyObject *exc) {
    CORE_OWNED;
    if (j->abandoned) {
        Py_CLEAR(r);
        Py_CLEAR(exc);
    }
    j->result = r;
    j->exc = exc;
    j->finished = true;
}

static void work(rm_job *job) {
    py_job *j = rm_container_of(job, py_job, job);
#if PY_VERSION_HEX < 0x030d0000
    /* The last thread of a forked child has returned; before 3.13 CPython does not survive a thread that comes after it. */
    if (!own_tstate && !PyInterpreterState_ThreadHead(j->st->interp)) return;
#endif
    if (!own_tstate && !(own_tstate = PyThreadState_New(j->st->interp)))
        Py_FatalError("ramet: no memory for the thread state of a pool thread");
    PyEval_RestoreThread(own_tstate);
    PyObject *r = PyObject_Call(j->fn, j->args, j->kwargs), *exc = NULL;
    if (!r) exc = core_take_exception();
    Py_CLEAR(j->fn);
    Py_CLEAR(j->args);
    Py_CLEAR(j->kwargs);
    deliver(j, r, exc);
    PyEval_SaveThread();
    rm_rt *rt = job->p->rt;
    /* the child of a fork in the call: nobody waits for it */
    if (rm_unlikely(j->st->forked) && rt->pid != (int)getpid()) {
        blocking_thread_ends(rt);
        pthread_exit(NULL);
    }
}

static void done(rm_p *p, rm_job *job) {
    py_job *j = rm_container_of(job, py_job, job);
    rm_g *g = j->g;
    if (!g) {
        free(j);
    } else if (rm_claim(g)) {
        rm_ready_front(p, g);
    } else {
        j->left = true;
    }
}

PyDoc_STRVAR(blocking_doc, "blocking(fn, /, *args, **kwargs)\n--\n\nRun a blocking call on a pool thread; only the "
                           "calling goroutine waits. Returns what it returns, raises what it raises.\n\n"
                           "May park. Cancelled: the call goes on to its end, and its outcome is dropped.");
static PyObject *core_blocking(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    core_state *st = core_of(module);
    if (nargs < 1) return PyErr_Format(PyExc_TypeError, "blocking: a function is needed");
    if (!PyCallable_Check(args[0]))
        return PyErr_Format(PyExc_TypeError, "blocking: fn must be callable, not %.100s", Py_TYPE(args[0])->tp_name);
    rm_g *g = core_enter_main_too(st, "blocking()");
    if (!g) return NULL;
    if (!g->p) {
        PyObject *r;
        CORE_CALL_OUT(r = PyObject_Vectorcall(args[0], args + 1, (size_t)(nargs - 1), kwnames));
        return r;
    }
    int e = rm_check_cancel(g);
    if (e) return core_raise(st, g, e);
    py_job *j = rm_calloc(1, sizeof *j);
    if (!j) return PyErr_NoMemory();
    j->st = st;
    j->args = PyTuple_New(nargs - 1);
    if (!j->args) goto fail;
    for (Py_ssize_t i = 1; i < nargs; i++) PyTuple_SET_ITEM(j->args, i - 1, Py_NewRef(args[i]));
    if (kwnames) {
        j->kwargs = PyDict_New();
        if (!j->kwargs) goto fail;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++)
            if (PyDict_SetItem(j->kwargs, PyTuple_GET_ITEM(kwnames, i), args[nargs + i])) goto fail;
    }
    j->fn = Py_NewRef(args[0]);
    j->g = g;
    j->job.work = work;
    j->job.done = done;
    j->job.p = g->p;
    rm_wait_open(g);
    e = rm_pool_submit(st->rt, &j->job);
    if (e) {
        g->wake = RM_WAKE_NONE;
        PyErr_Format(PyExc_RuntimeError, "blocking: no pool thread can be started (%s)", strerror(-e));
        goto fail;
    }
    e = rm_park(g, RM_R_SYSCALL, NULL, RM_FOREVER, NULL, NULL);
    if (e) { /* given up: `done` frees the job, now or later */
        PyObject *r = j->finished ? j->result : NULL, *exc = j->finished ? j->exc : NULL;
        j->abandoned = true;
        j->g = NULL;
        if (j->left) free(j);
        Py_XDECREF(r);
        Py_XDECREF(exc);
        return core_raise(st, g, e);
    }
    PyObject *r = j->result, *exc = j->exc;
    free(j);
    if (rm_likely(r != NULL)) return r;
    if (!exc) return PyErr_Format(PyExc_RuntimeError, "blocking: the pool of threads has ended");
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return NULL;
fail:
    Py_XDECREF(j->fn);
    Py_XDECREF(j->args);
    Py_XDECREF(j->kwargs);
    free(j);
    return NULL;
}

PyDoc_STRVAR(set_max_threads_doc, "set_max_threads(n, /)\n--\n\nAllow at most n pool threads (1 to 10,000); those "
                                  "above it end after their call. Never parks.");
static PyObject *core_set_max_threads(PyObject *module, PyObject *arg) {
    core_state *st = core_of(module);
    if (!PyLong_Check(arg))
        return PyErr_Format(PyExc_TypeError, "set_max_threads: n must be an int, not %.100s", Py_TYPE(arg)->tp_name);
    int overflow;
    long n = PyLong_AsLongAndOverflow(arg, &overflow);
    if (n == -1 && PyErr_Occurred()) return NULL;
    if (overflow || n < 1 || n > 10000)
        return PyErr_Format(PyExc_ValueError, "set_max_threads: n must be between 1 and 10000, not %R", arg);
    if (!core_enter_goroutine(st, "set_max_threads()")) return NULL;
    rm_pool_set_max(st->rt, (unsigned)n);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"blocking", (PyCFunction)(void (*)(void))core_blocking, METH_FASTCALL | METH_KEYWORDS, blocking_doc},
    {"set_max_threads", core_set_max_threads, METH_O, set_max_threads_doc},
    {NULL, NULL, 0, NULL},
};

int blocking_init(PyObject *module, core_state *st) {
    (void)st;
    return core_functions(module, functions);
}
