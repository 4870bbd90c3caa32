/* yellow.c: the yellow zone: RecursionError instead of a crash on CPython 3.11-3.13.
 *
 * Those versions count recursion in C levels and know nothing of the size of a goroutine's stack. So the guard
 * below a stack is a yellow zone above a red page. A fault in the zone opens the topmost part of it and sets the
 * counter to nothing left (on 3.13 first to what makes its trashcan put deallocations off, where an error would go
 * nowhere): the interrupted C code goes on there, and the next check of CPython's raises
 * RecursionError. What was taken from the counter is given back, and the zone closed, by a pending call as soon as
 * Python code runs above it again (on 3.11, where only the main thread runs such calls, at the latest at the
 * goroutine's next switch or its end; sysmon looks, too).
 *
 * Until then the zone is opened part by part, the counter taken to nothing each time: a second recursion with
 * fatter frames than the first finds another part. A fault in the red page, or with all of it open, is fatal
 * (overflow.c).
 *
 * 3.14 compares the stack pointer with limits that cpython_314.h sets at every switch; there is then nothing to do
 * but to say that a fault is fatal. */
#include "yellow.h"

#include "core.h"

#ifdef RM_PY_COUNTER

#include "internal/pycore_ceval.h"
#include "internal/pycore_runtime.h"

#define PART (8u << 10)
#define MOST (64u << 10)

size_t rm_yellow_bytes(size_t stack_size) { return stack_size / 4 < MOST ? stack_size / 4 : MOST; }

/* Nothing is left but `left`. If the fault was in the middle of a decrement, between its load and its store, this is
 * lost: the pending call, and the next part's fault, find nearly as much left as had been taken, and do it again. */
static void take_counter(rm_g *g, PyThreadState *ts, int left) {
    int more = RM_PY_COUNTER(ts) - left, *taken = &g->embed.py.counter;
    if (more <= 0) return;
    *taken = more > *taken / 2 ? more : *taken + more;
    RM_PY_COUNTER(ts) = left;
}

static int close_pending(void *state);

/* Have close_pending called by the eval loop. From any thread, and from the SIGSEGV handler: if the lock of the
 * pending calls is held just now, or of the list of interpreters (as in a free-threaded build where a collection
 * begins), perhaps by the code that was interrupted, then not; sysmon will ask. */
static void ask(core_state *st) {
    PyInterpreterState *interp = st->interp;
    if (rm_xchg(&st->yellow_asked, true)) return;
    bool queued = false;
#if PY_VERSION_HEX >= 0x030d0000
    if (!PyMutex_IsLocked(&interp->ceval.pending.mutex) && !PyMutex_IsLocked(&_PyRuntime.interpreters.mutex))
        queued = _PyEval_AddPendingCall(interp, close_pending, st, 0) == _Py_ADD_PENDING_SUCCESS;
#else
    PyThread_type_lock lock = interp->ceval.pending.lock;
    if (PyThread_acquire_lock(lock, NOWAIT_LOCK)) {
        PyThread_release_lock(lock);
#if PY_VERSION_HEX >= 0x030c0000
        queued = _PyEval_AddPendingCall(interp, close_pending, st, 0) == 0;
#else
        queued = _PyEval_AddPendingCall(interp, close_pending, st) == 0;
        /* 3.11 decides on the calling thread whether the main one need look */
        _Py_atomic_store_relaxed(&interp->ceval.eval_breaker, 1);
#endif
    }
#endif
    if (!queued) rm_store(&st->yellow_asked, false);
}

/* In a subinterpreter also in a thread that is not the proc's: then sysmon will ask once more. */
static int close_pending(void *state) {
    core_state *st = state;
    rm_store(&st->yellow_asked, false);
    rm_m *m = st->rt ? rm_m_of(st->rt) : NULL;
    rm_g *g = m && m->p ? m->p->cur : NULL;
    if (!g || !(g->embed.pyflags & PYF_YELLOW)) return 0;
    PyThreadState *ts = m->p->embed_tstate;
    rm_yellow_close(g, ts);
    if (g->embed.pyflags & PYF_YELLOW) { /* it still stands there */
        take_counter(g, ts, RM_PY_COUNTER_LEFT);
        ask(st);
    }
    return 0;
}

bool rm_yellow_overflow(rm_rt *rt, rm_g *g, void *addr) {
    size_t most = rt->stacks.guard - RM_RED_BYTES, below = (size_t)(g->lo - (char *)addr);
    if (below > most || below <= g->embed.yellow) return false;
    size_t open = below + PART < most ? below + PART : most;
    if (rm_stack_open_guard(&rt->stacks, g, open)) return false;
    PyThreadState *ts = g->p->embed_tstate;
    rm_store(&g->embed.yellow, (uint32_t)open);
    /* the first time leave what makes a trashcan put things off, if it is deallocation that has come so deep */
    int left = g->embed.pyflags & PYF_YELLOW ? 0 : RM_PY_COUNTER_LEFT;
    rm_fetch_or(&g->embed.pyflags, PYF_YELLOW);
    if (g != g->p->cur) return true; /* just being switched from: its counter is saved, and it goes no deeper */
    take_counter(g, ts, left);
    ask(rt->embedder);
    return true;
}

void rm_yellow_close(rm_g *g, PyThreadState *ts) {
    /* not while the goroutine still stands in the zone, or so near that this would open it again: later then */
    char here;
    if (&here < g->lo + 4096) return;
    RM_PY_COUNTER(ts) += g->embed.py.counter;
    g->embed.py.counter = 0;
    rm_store(&g->embed.yellow, 0);
    rm_fetch_and(&g->embed.pyflags, ~(uint32_t)PYF_YELLOW);
    rm_stack_close_guard(&g->p->rt->stacks, g);
}

void rm_yellow_watch(rm_rt *rt) {
    rm_g *g = rm_load(&rt->p.cur);
    if (rm_load(&g->embed.yellow)) ask(rt->embedder);
}

#else

/* Never opened, only against big frames: CPython's own margins are above it. */
size_t rm_yellow_bytes(size_t stack_size) {
    size_t bytes = stack_size / 8, margin = _PyOS_STACK_MARGIN_BYTES;
    return bytes < margin ? 0 : bytes - margin < (64u << 10) ? bytes - margin : 64u << 10;
}

bool rm_yellow_overflow(rm_rt *rt, rm_g *g, void *addr) {
    (void)rt, (void)g, (void)addr;
    return false;
}

void rm_yellow_close(rm_g *g, PyThreadState *ts) { (void)g, (void)ts; }

void rm_yellow_watch(rm_rt *rt) { (void)rt; }

#endif
