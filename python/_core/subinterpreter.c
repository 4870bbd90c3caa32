/* subinterpreter.c: which subinterpreters are refused, and how the runtimes of the others end with the process.
 *
 * An interpreter that is destroyed ends its runtime in its own exit handlers (host_shutdown). One that is left to the end of
 * the process is destroyed by CPython, which before 3.14 borrows for it any thread state it finds, also one that
 * is in use: a fatal error. So the first of them has the main interpreter register an exit handler, end_left, which ends
 * the runtimes that are left before that.
 *
 * `running` lists the runtimes; whoever takes one off the list ends it, and the other waits for that. Nothing is done for
 * forks: a subinterpreter cannot fork, and beside one CPython's own fork ends the child with a crash (3.12 to 3.15). */
#include "core.h"

#include "arena.h"
#include "internal/pycore_interp.h"

static pthread_mutex_t mutex =
    PTHREAD_MUTEX_INITIALIZER; /* of all that follows, and of `next` and `ending` of a state */
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static core_state *running;
static bool registered;

/* Those that share the main one's GIL gain nothing by a runtime of their own, and share with it what CPython has one of
 * a GIL (PyGILState, in 3.11 the allocator): refused rather than half supported. */
int sub_init(core_state *st) {
    st->sub = st->interp != PyInterpreterState_Main();
    if (!st->sub) return 0;
#if PY_VERSION_HEX >= 0x030c0000
    if (st->interp->ceval.own_gil) return 0;
    PyErr_SetString(
        PyExc_ImportError,
        "ramet does not run in a subinterpreter that shares the GIL of the main one: make one with a GIL of "
        "its own (concurrent.interpreters.create(), or PyInterpreterConfig_OWN_GIL in C)");
#else
    PyErr_SetString(PyExc_ImportError,
                    "ramet does not run in a subinterpreter of CPython 3.11, which shares the GIL of "
                    "the main one: use CPython 3.12 or newer, and interpreters with a GIL of their "
                    "own, or processes");
#endif
    return -1;
}

/* ------------------------------------------------------------------ the end of the process ---- */

static void stop_posted(rm_p *p, rm_post *post) {
    (void)post;
    host_stop(p->rt->embedder);
}

/* In the main interpreter. Ctrl-C ends the wait for one that does not end. */
static PyObject *end_left(PyObject *self, PyObject *u) {
    (void)self, (void)u;
    for (core_state *st;;) {
        pthread_mutex_lock(&mutex);
        if ((st = running)) {
            running = st->next;
            st->ending = true;
        }
        pthread_mutex_unlock(&mutex);
        if (!st) Py_RETURN_NONE;
        st->stop_post.fn = stop_posted;
        rm_post_to(&st->rt->p, &st->stop_post);
        for (int e = ETIMEDOUT; e == ETIMEDOUT;) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec++;
            Py_BEGIN_ALLOW_THREADS e = pthread_timedjoin_np(st->host_thread, NULL, &until);
            Py_END_ALLOW_THREADS if (e == ETIMEDOUT && PyErr_CheckSignals()) return NULL;
        }
        rm_arena_uninstall();
        pthread_mutex_lock(&mutex);
        st->ending = false;
        pthread_cond_broadcast(&ended);
        pthread_mutex_unlock(&mutex);
    }
}

static PyMethodDef end_left_def = {"end_left", end_left, METH_NOARGS,
                                   "End the runtimes of interpreters that are left."};

/* A pending call: in the main thread, with the main interpreter's GIL. */
static int register_end(void *u) {
    (void)u;
    if (registered) return 0;
    registered = true;
    PyObject *atexit = PyImport_ImportModule("atexit"), *fn = PyCFunction_New(&end_left_def, NULL);
    PyObject *r = atexit && fn ? PyObject_CallMethod(atexit, "register", "O", fn) : NULL;
    Py_XDECREF(fn);
    Py_XDECREF(atexit);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

void sub_started(core_state *st) {
    pthread_mutex_lock(&mutex);
    st->next = running;
    running = st;
    pthread_mutex_unlock(&mutex);
    Py_AddPendingCall(register_end, NULL);
}

bool sub_take(core_state *st) {
    bool mine = false;
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&mutex);
    for (core_state **at = &running; *at; at = &(*at)->next)
        if (*at == st) {
            *at = st->next;
            mine = true;
            break;
        }
    while (st->ending) pthread_cond_wait(&ended, &mutex);
    pthread_mutex_unlock(&mutex);
    Py_END_ALLOW_THREADS return mine;
}
