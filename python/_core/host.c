/* host.c: the runtime's life inside an interpreter: first use, idling, signals, deadlock, exit.
 *
 * First use in the main thread makes that thread the proc, its stack being goroutine 1. First use elsewhere
 * starts a thread of ours that hosts the proc (the worker may end at any time), and every other thread, main
 * too, then takes part as a foreign one. In a subinterpreter it is always so: whoever runs code in it does that with a
 * thread state that lasts as long as the code, on whatever thread.
 *
 * The GIL is the owner lock (owned.h): given up around every idle poll and while a foreign thread blocks. Python code
 * never runs on the idle stack: signal handlers get a goroutine (signal_entry), whose exception is raised in main.
 *
 * At exit: every goroutine is cancelled and has 2 seconds to unwind; what is left is reported and dropped; then
 * all our threads are stopped, so that none touches an interpreter that is going away. A subinterpreter cannot be
 * ended while a thread has a state of it: there even a call of blocking() is waited for. */
#include "core.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "arena.h"
#include "cpython_state.h"
#include "yellow.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"

/* ------------------------------------------------------------------ idling ---- */

static void idle_enter(rm_rt *rt) {
    (void)rt;
    rm_owned_drop();
    PyEval_SaveThread();
}
static void idle_leave(rm_rt *rt) {
    PyEval_RestoreThread(((core_state *)rt->embedder)->tstate);
    rm_owned_take();
}
static void *block_enter(rm_rt *rt) {
    (void)rt;
    return PyEval_SaveThread();
}
static void block_leave(rm_rt *rt, void *token) {
    (void)rt;
    PyEval_RestoreThread(token);
}

/* ------------------------------------------------------------------ signals ---- */

static bool signals_tripped(void) {
#if PY_VERSION_HEX >= 0x030d0000
    return __atomic_load_n(&_PyRuntime.signals.is_tripped, __ATOMIC_RELAXED);
#elif PY_VERSION_HEX >= 0x030c0000
    return _Py_atomic_load_relaxed(&_PyRuntime.signals.is_tripped);
#else
    return _Py_atomic_load_relaxed(&_PyRuntime.ceval.signals_pending);
#endif
}

/* In the main thread, between two steps of its Python code. `module` is ours to drop: the interpreter may be going away. */
static int raise_pending(void *module) {
    core_state *st = core_of(module);
    PyObject *exc = st->main_exc;
    st->main_exc = NULL;
    Py_DECREF((PyObject *)module);
    if (!exc) return 0; /* a wait of main's has raised it */
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return -1;
}

/* In the main thread, which is not the proc's. */
static void raise_soon(core_state *st, PyObject *exc) {
    Py_XSETREF(st->main_exc, exc);
    if (st->stopping) return; /* the program ends already */
    if (Py_AddPendingCall(raise_pending, Py_NewRef(st->module))) Py_DECREF(st->module); /* one that raises is pending */
}

void core_raise_in_main(core_state *st, PyObject *exc) {
    if (!st->hosted) {
        Py_XSETREF(st->main_exc, exc);
        rm_g_cancel_now(st->rt->main_g, RM_CANCEL_RAISE);
        return;
    }
    raise_soon(st, exc);
    if (st->stopping) return;
    rm_g *main = st->main_m ? st->main_m->g : NULL;
    if (!main || main->state != RM_WAITING || !rm_claim(main)) return;
    main->wake_code = -EINTR;
    rm_ready(main);
}

/* What a goroutine of our own does before its first Python code, and after its last. */
static core_state *system_begins(rm_g *g) {
    core_state *st = g->p->rt->embedder;
    rm_pystate_begin(&g->embed.py, st->tstate);
    rm_owned_drop();
    return st;
}

static void system_ends(core_state *st, rm_g *g) {
    rm_pystate_end(&g->embed.py, st->tstate);
    rm_owned_take();
}

static void signal_entry(void *arg) {
    rm_g *g = arg;
    core_state *st = system_begins(g);
#if PY_VERSION_HEX < 0x030c0000
    /* PyErr_CheckSignals leaves signals_pending as it is; if no Python code runs either, we would be here for ever */
    int e = Py_MakePendingCalls();
#else
    int e = PyErr_CheckSignals();
#endif
    if (e < 0) {
        PyObject *exc = core_take_exception();
        CORE_OWNED;
        core_raise_in_main(st, exc);
    }
    system_ends(st, g);
}

#define SYSTEM_CHUNK 1024

/* A goroutine of our own that runs Python code. */
static bool start_system(core_state *st, void (*entry)(void *)) {
    rm_g *g = rm_g_alloc(st->rt, SYSTEM_CHUNK);
    if (!g) return false;
    g->flags |= RM_GF_SYSTEM;
    memset(&g->embed, 0, sizeof g->embed);
    rm_pystate_init(&g->embed.py, st->tstate, g->sp, SYSTEM_CHUNK, g->lo, g->sp, NULL);
    rm_g_queue(st->rt, g, entry, g);
    return true;
}

/* On the idle stack. In a hosted runtime Python's handlers run in the main thread without us. */
static bool on_signals(rm_rt *rt) {
    core_state *st = rt->embedder;
    return !st->hosted && signals_tripped() && start_system(st, signal_entry);
}

static int on_block_signals(rm_rt *rt) {
    if (PyErr_CheckSignals() >= 0) return 0;
    raise_soon(rt->embedder, core_take_exception()); /* by the wait, unless it ends well just now */
    return -EINTR;
}

/* ------------------------------------------------------------------ deadlock ---- */

#define DOUBT_NS (10 * RAMET_SECOND)

/* A Python handler other than the default of SIGINT: it may send or cancel. */
static bool user_signal_handler(core_state *st) {
    PyObject *name = PyUnicode_FromString("signal"), *signal = name ? PyImport_GetModule(name) : NULL;
    bool found = false;
    Py_XDECREF(name);
    if (!signal) { /* nobody has imported it, so nobody has installed any */
        PyErr_Clear();
        return false;
    }
    PyObject *dflt = PyObject_GetAttrString(signal, "default_int_handler");
    for (int i = 1; dflt && i < NSIG && !found; i++) {
        PyObject *h = PyObject_CallMethod(signal, "getsignal", "i", i);
        if (!h) {
            PyErr_Clear();
            continue;
        }
        found = PyCallable_Check(h) && h != dflt && h != st->preempt_handler && !PyLong_Check(h);
        Py_DECREF(h);
    }
    Py_XDECREF(dflt);
    Py_DECREF(signal);
    PyErr_Clear();
    return found;
}

static int count_threads(PyInterpreterState *interp) {
    int n = 0;
#ifdef Py_GIL_DISABLED
    /* Others end meanwhile. As CPython takes this lock: whoever waits for it stays attached, because a stopped world goes on
     * only by it. */
    PyMutex *list = &_PyRuntime.interpreters.mutex;
    for (uint8_t free = _Py_UNLOCKED; !_Py_atomic_compare_exchange_uint8(&list->_bits, &free, _Py_LOCKED);
         free = _Py_UNLOCKED)
        sched_yield();
    for (PyThreadState *ts = interp->threads.head; ts; ts = ts->next) n++;
    PyMutex_Unlock(list);
#else
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts; ts = PyThreadState_Next(ts)) n++;
#endif
    return n;
}

static bool other_threads(core_state *st) {
    ramet_stats stats;
    rm_pool_stats(st->rt, &stats);
    return count_threads(st->interp) > 1 + (int)stats.pool_threads + (int)rm_load(&st->rt->foreign_blocked);
}

static bool newer_wait(rm_g *g, void *arg) {
    int64_t *newest = arg;
    if (g->since > *newest) *newest = g->since;
    return true;
}

/* Decided on a goroutine, because looking at handlers is Python code. */
static void decide_deadlock(core_state *st) {
    CORE_OWNED;
    rm_g *main = st->rt->main_g;
    if (!other_threads(st) && !user_signal_handler(st)) {
        if (main->state == RM_WAITING && rm_claim(main)) {
            main->wake_code = -EDEADLK;
            rm_ready_tail(&st->rt->p, main);
            st->doubt_asked = st->doubt_since = 0;
        }
        st->doubt_asked = 0; /* no doubt: the next one is decided at once, too */
    } else {
        int64_t now = rm_now(), newest = INT64_MIN;
        rm_rt_each(st->rt, newer_wait, &newest);
        if (!st->doubt_since || newest > st->doubt_since) st->doubt_since = now; /* somebody has run meanwhile */
        if (now - st->doubt_since > DOUBT_NS) {
            st->doubt_settled = true;
            st->doubt_switches = 0;
            PyObject *r =
                st->doubt_reported ? Py_NewRef(Py_None) : PyObject_CallMethod(st->module, "_report_doubt", NULL);
            st->doubt_reported = true; /* once a process */
            if (!r) PyErr_WriteUnraisable(NULL);
            Py_XDECREF(r);
        }
    }
}

static void deadlock_entry(void *arg) {
    rm_g *g = arg;
    core_state *st = system_begins(g);
    decide_deadlock(st);
    system_ends(st, g);
}

static int64_t on_deadlock(rm_rt *rt) {
    core_state *st = rt->embedder;
    if (st->hosted) return RM_FOREVER;
    if (st->doubt_settled) { /* not again before somebody has run */
        uint64_t switches = rm_load(&rt->p.switches);
        if (!st->doubt_switches) st->doubt_switches = switches;
        if (switches == st->doubt_switches) return RM_FOREVER;
        st->doubt_settled = false;
        st->doubt_since = st->doubt_asked = 0;
    }
    int64_t now = rm_now();
    if (st->doubt_asked && now - st->doubt_asked < RAMET_SECOND / 2) return RAMET_SECOND; /* asked just now, in doubt */
    st->doubt_asked = now;
    return start_system(st, deadlock_entry) ? 0 : RAMET_SECOND;
}

/* ------------------------------------------------------------------ main outside ---- */

static bool anyone_waits(rm_rt *rt) { return rm_rt_count(rt) > 1; }

void host_report_blocked(core_state *st, rm_g *g, int64_t ns, bool outside) {
    if (st->blocked_reported) return;
    st->blocked_reported = true;
    PyObject *frames = rm_pystate_frames(g); /* sys._current_frames() would make those of other interpreters, too */
    PyObject *who = outside ? Py_NewRef(Py_None) : (PyObject *)goroutine_handle(st, g);
    PyObject *r =
        frames && who ? PyObject_CallMethod(st->module, "_report_blocked", "dOO", (double)ns / 1e9, who, frames) : NULL;
    if (!r) PyErr_WriteUnraisable(NULL);
    Py_XDECREF(r);
    Py_XDECREF(frames);
    Py_XDECREF(who);
}

static void report_outside(core_state *st, rm_rt *rt, rm_g *g, int64_t ns) {
    CORE_OWNED;
    if (!st->closed && g == rt->p.cur && !rt->p.idle) host_report_blocked(st, g, ns, g == rt->main_g);
}

/* On sysmon's thread: main has been away from ramet for a second, and not burning CPU; or, with preemption, another
 * goroutine, perhaps in a lock that a preempted one holds. Say so once. */
#define OUTSIDE_NS RAMET_SECOND
static void main_outside(core_state *st, rm_rt *rt, int64_t ns, bool oncpu) {
    if (oncpu || ns < OUTSIDE_NS || st->blocked_reported || st->hosted || !anyone_waits(rt)) return;
    rm_g *g = rm_load(&rt->p.cur);
    if (g != rt->main_g && (!rm_load(&rt->slice) || g->flags & RM_GF_SYSTEM)) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    report_outside(st, rt, g, ns);
    PyGILState_Release(gil);
}

static int64_t on_hog(rm_rt *rt, uint64_t switches, int64_t ns, bool oncpu) {
    core_state *st = rt->embedder;
    main_outside(st, rt, ns, oncpu);
    int64_t next = debug_hog(st, rt, switches, ns, oncpu);
    return ns < OUTSIDE_NS && (next <= ns || next > OUTSIDE_NS) ? OUTSIDE_NS : next;
}

static void on_tick(rm_rt *rt) { rm_yellow_watch(rt); }

static bool on_overflow(rm_rt *rt, rm_g *g, void *addr) { return rm_yellow_overflow(rt, g, addr); }

const rm_hooks host_hooks = {
    .idle_enter = idle_enter,
    .idle_leave = idle_leave,
    .block_enter = block_enter,
    .block_leave = block_leave,
    .signals = on_signals,
    .block_signals = on_block_signals,
    .deadlock = on_deadlock,
    .overflow = on_overflow,
    .hog = on_hog,
    .tick = on_tick,
    .preempt = preempt_ask,
    .pool_thread_ends = blocking_thread_ends,
    .proc_thread_ends = fork_proc_ends,
};

/* ------------------------------------------------------------------ the REPL ---- */

static core_state *repl_state; /* of the main interpreter */
static int (*old_input_hook)(void);

/* The prompt notices Ctrl-C only if its own select or read is interrupted, and this one has interrupted our poll
 * instead: send it once more, when the prompt waits again. */
static int64_t interrupted_at; /* when we asked for that; 0: not under way */

static timer_t interrupter;
static bool have_interrupter;

static void interrupt_after(int64_t ns) { /* 0: not at all */
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGINT};
    if (!have_interrupter && (!ns || timer_create(CLOCK_MONOTONIC, &ev, &interrupter))) return;
    have_interrupter = true;
    struct itimerspec when = {.it_value.tv_nsec = ns};
    timer_settime(interrupter, 0, &when, NULL);
    interrupted_at = ns ? rm_now() : 0;
}

static void run_until_key(core_state *st) {
    CORE_OWNED;
    rm_g *g = st->rt->main_g;
    int e = rm_fd_wait(st->rt, g, 0, RAMET_READABLE, RM_FOREVER);
    if (e != -EINTR) return;
    core_raise(st, g, e);
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) interrupt_after(50 * RAMET_MILLISECOND);
    else PyErr_WriteUnraisable(NULL);
    PyErr_Clear();
}

/* Called while the prompt waits for a key, with or without the GIL: run goroutines until there is one. */
static int input_hook(void) {
    core_state *st = repl_state;
    if (old_input_hook) old_input_hook();
    if (!st || !st->rt || st->closed || st->hosted || st->rt->p.cur != st->rt->main_g) return 0;
    if (signals_tripped()) { /* the prompt was interrupted, and looks after the hook; unless it was not waiting then */
        if (interrupted_at && rm_now() - interrupted_at > RAMET_SECOND) interrupt_after(50 * RAMET_MILLISECOND);
        return 0;
    }
    if (interrupted_at) interrupt_after(0);
    bool held = PyGILState_Check();
    if (!held) PyEval_RestoreThread(st->tstate);
    if (rm_rt_count(st->rt) > 1) run_until_key(st);
    if (!held) PyEval_SaveThread();
    return 0;
}

int host_prompt_installed(const core_state *st) {
    int what = have_interrupter ? HOST_INTERRUPTER : 0;
    if (!st->rt || repl_state != st) return what;
    return what | (PyOS_InputHook == input_hook ? HOST_INPUT_HOOK : PyOS_InputHook ? HOST_INPUT_HOOK_BEHIND : 0);
}

/* ------------------------------------------------------------------ exit ---- */

static bool cancel_one(rm_g *g, void *main) {
    if (g != main) rm_g_end(g);
    return true;
}

/* Let the goroutines unwind; whether all have. On a goroutine of the proc. */
static bool unwind(core_state *st, rm_g *g) {
    int64_t until = rm_after(RM_GRACE_NS);
    uint8_t shields = g->shields;
    g->cancel = 0;
    g->shields = 1;
    uint64_t least = g->flags & RM_GF_SYSTEM ? 0 : 1; /* a host is not counted */
    rm_rt_each(st->rt, cancel_one, g);
    while (rm_rt_count(st->rt) > least && rm_now() < until) {
        /* what was started since, to tidy up, has half of the time before it is cancelled, too */
        if (rm_now() > until - RM_GRACE_NS / 2) rm_rt_each(st->rt, cancel_one, g);
        for (int i = 0; i < 16 && rm_rt_count(st->rt) > least; i++) rm_yield(g);
        if (rm_rt_count(st->rt) > least) rm_sleep(g, RAMET_MILLISECOND);
    }
    g->shields = shields;
    return rm_rt_count(st->rt) <= least;
}

/* On the proc: end everything. Of what cannot be ended, and of what a forked child has lost, the memory stays: it may
 * be referred to, and in the child of a goroutine's fork we stand on it. */
static void stop(core_state *st, rm_g *g) {
    rm_rt *rt = st->rt;
    bool clean = unwind(st, g);
    rm_store(&rt->slice, 0);
    if (!clean) {
        PyObject *r = PyObject_CallMethod(st->module, "_report_left", NULL);
        if (!r) PyErr_WriteUnraisable(NULL);
        Py_XDECREF(r);
    }
    st->closed = true;
    bool free_it = clean && !st->forked;
    if (free_it) goroutine_main_ends(rt->main_g);
    if (free_it || st->hosted) st->rt = st->entry = NULL; /* a host ends, and leaves nobody who would run anything */
    Py_BEGIN_ALLOW_THREADS if (st->sub) { rm_pool_fini(rt, RM_FOREVER, false); }
    if (free_it) rm_rt_free(rt);
    else {
        rt->closing = true;
        rm_sysmon_stop(rt, false);
        rm_pool_fini(rt, RM_GRACE_NS, false);
    }
    Py_END_ALLOW_THREADS
}

/* ------------------------------------------------------------------ start ---- */

typedef struct hosting { /* handed to the thread that hosts the proc */
    core_state *st;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int state; /* 0: starting, 1: runs, < 0: failed */
} hosting;

static int make_rt(core_state *st, bool hosted) {
    size_t stack_size = st->stack_size ? st->stack_size : 512u << 10;
    rm_rt_config config = {
        .stack_size = stack_size,
        .guard = RM_RED_BYTES + rm_yellow_bytes(stack_size),
        .max_threads = st->max_threads,
        .seed = st->seed,
        .hooks = host_hooks,
        .embedder = st,
        .hosted = hosted,
    };
    int e = rm_rt_new(&config, &st->rt);
    if (e) return e;
    st->entry = st->rt;
    st->tstate = PyThreadState_Get();
    st->hosted = hosted;
    st->rt->p.embed_tstate = st->tstate;
    rm_pystate_adopt(&st->rt->main_g->embed.py, st->tstate);
    return 0;
}

static int make_hosted(core_state *st) {
    CORE_OWNED;
    return make_rt(st, true);
}

/* The host's own goroutine sleeps until it is told to stop. */
static void host_until_stopped(core_state *st) {
    CORE_OWNED;
    rm_g *g = st->rt->main_g;
    while (!st->stopping) { /* it may be so before we come here: who started us has not waited for us to park */
        rm_wait_open(g);
        rm_park(g, RM_R_SYSTEM, NULL, RM_FOREVER, NULL, NULL);
    }
    stop(st, g);
}

static void *host_main(void *arg) {
    hosting *h = arg;
    core_state *st = h->st;
    PyThreadState *ts = PyThreadState_New(st->interp);
    int e = -ENOMEM;
    pthread_setname_np(pthread_self(), "ramet-host");
    if (ts) {
        PyEval_RestoreThread(ts);
        e = make_hosted(st);
        PyEval_SaveThread();
    }
    pthread_mutex_lock(&h->mutex);
    h->state = e ? e : 1;
    pthread_cond_signal(&h->cond);
    pthread_mutex_unlock(&h->mutex);
    if (!ts) return NULL;
    PyEval_RestoreThread(ts);
    if (!e) host_until_stopped(st);
    PyThreadState_Clear(ts);
    PyThreadState_DeleteCurrent();
    return NULL;
}

/* A fault that is blocked kills at once, without a look at the handlers: neither a RecursionError nor a name. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static int start_hosted(core_state *st) {
    hosting h = {st, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    sigset_t all, old;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    Py_BEGIN_ALLOW_THREADS pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&st->host_thread, NULL, host_main, &h)) h.state = -EAGAIN;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_mutex_lock(&h.mutex);
    while (h.state == 0) pthread_cond_wait(&h.cond, &h.mutex);
    pthread_mutex_unlock(&h.mutex);
    Py_END_ALLOW_THREADS return h.state < 0 ? h.state : 0;
}

static bool in_greenlet(void) {
    PyObject *name = PyUnicode_InternFromString("greenlet"), *greenlet = name ? PyImport_GetModule(name) : NULL;
    PyObject *current = greenlet ? PyObject_CallMethod(greenlet, "getcurrent", NULL) : NULL;
    PyObject *parent = current ? PyObject_GetAttrString(current, "parent") : NULL;
    bool inside = parent && parent != Py_None;
    Py_XDECREF(parent);
    Py_XDECREF(current);
    Py_XDECREF(greenlet);
    Py_XDECREF(name);
    PyErr_Clear();
    return inside;
}

bool host_in_main_thread(core_state *st) {
    return st->interp == PyInterpreterState_Main() && PyThread_get_thread_ident() == _PyRuntime.main_thread;
}

int host_start(core_state *st) {
    if (st->closed || (st->sub && st->interp->finalizing)) {
        PyErr_SetString(PyExc_RuntimeError, "ramet: the interpreter is shutting down");
        return -1;
    }
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030e0000
    /* its collector counts references in the frames of running threads only: what parked goroutines use would be freed */
    PyErr_SetString(
        PyExc_RuntimeError,
        "ramet: goroutines do not run on free-threaded CPython 3.14 and later yet; use a build with the GIL");
    return -1;
#endif
    /* by another thread, which gave up the GIL to wait for the host; bounded, as it may be lost in a fork */
    for (int64_t until = rm_after(10 * RAMET_SECOND); st->starting && rm_now() < until;) {
        Py_BEGIN_ALLOW_THREADS usleep(100);
        Py_END_ALLOW_THREADS
    }
    if (st->rt) return 0;
    st->starting = true; /* from before the first call that may let another thread in here */
    if (in_greenlet()) { /* main's goroutine would be taken for another greenlet from then on */
        st->starting = false;
        PyErr_SetString(PyExc_RuntimeError, "ramet: first used in a greenlet that is not its thread's own: use it, for "
                                            "instance by ramet.gosched(), before greenlets are switched to");
        return -1;
    }
    if (!st->sub && fork_watch(st)) {
        st->starting = false;
        return -1;
    }
    rm_arena_install();
    int e = host_in_main_thread(st) ? make_rt(st, false) : start_hosted(st);
    st->starting = false;
    if (e) {
        PyErr_Format(PyExc_RuntimeError, "ramet: the runtime cannot start: %s", strerror(-e));
        return -1;
    }
    if (st->slice && !st->hosted && host_in_main_thread(st) && preempt_start(st)) PyErr_WriteUnraisable(NULL);
    rm_sysmon_start(st->rt);
    if (timers_resume(st)) return -1;
    if (st->sub) sub_started(st);
    if (st->interp == PyInterpreterState_Main() && !repl_state) {
        repl_state = st;
        old_input_hook = PyOS_InputHook;
        PyOS_InputHook = input_hook;
    }
    PyObject *r = PyObject_CallMethod(st->module, "_first_use", NULL); /* atexit, fork handlers */
    Py_XDECREF(r);
    return r ? 0 : -1;
}

void host_stop(core_state *st) {
    rm_g *g = st->rt->main_g;
    st->stopping = true;
    if (!rm_claim(g)) return;
    g->wake_code = 0;
    rm_ready_tail(&st->rt->p, g);
}

PyObject *host_shutdown(core_state *st) {
    if (st->sub && !sub_take(st)) Py_RETURN_NONE;
    if (!st->entry && fork_renew(st)) return NULL; /* forked without Python's handlers */
    rm_rt *rt = st->rt;
    if (!rt || st->closed || st->stopping) Py_RETURN_NONE;
    st->leaks_off++;
    if (repl_state == st) {
        if (PyOS_InputHook == input_hook) PyOS_InputHook = old_input_hook;
        repl_state = NULL;
        interrupt_after(0);
    }
    if (st->hosted) {
        rm_m *m = rm_m_of(rt);
        host_stop(st);
        if (st->main_m && st->main_m != m) rm_m_let_go(st->main_m);
        st->main_m = NULL;
        Py_BEGIN_ALLOW_THREADS pthread_join(st->host_thread, NULL);
        Py_END_ALLOW_THREADS if (m && !m->p) { /* one thread may end many interpreters */
            rm_m_exit(m);
            free(m);
        }
        rm_arena_uninstall();
        Py_RETURN_NONE;
    }
    rm_g *g = rm_m_of(rt) ? rt->p.cur : NULL;
    if (g != rt->main_g) Py_RETURN_NONE; /* exit from a goroutine of a forked child, or from another thread */
    stop(st, g);
    rm_arena_uninstall();
    Py_RETURN_NONE;
}
