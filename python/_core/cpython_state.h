/* cpython_state.h: the part of a CPython thread state that belongs to a goroutine, moved at every switch.
 *
 * One version's fields are listed in cpython_3NN.h. They are moved, never shared: all are saved when a
 * goroutine leaves and all are loaded when it comes back. Recursion is kept as the depth used, because
 * sys.setrecursionlimit() changes what remains of the running one only.
 *
 * Invariants at a switch: no exception is set; the two goroutines are not the same. A goroutine's
 * rm_pystate holds its own bottom of the exception stack, of the C frames (3.11, 3.12) and, in memory that
 * go() provides, the first chunk of its Python data stack: it is never freed by CPython, because its first slot is
 * skipped, as in a root chunk.
 *
 * Everything here needs the GIL and the proc's own thread state. */
#ifndef RM_CPYTHON_STATE_H
#define RM_CPYTHON_STATE_H

#include <Python.h>

#ifndef Py_BUILD_CORE
#error "ramet needs CPython's internal headers: compile with -DPy_BUILD_CORE"
#endif
#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_pystate.h"
#ifdef Py_GIL_DISABLED
#include "internal/pycore_critical_section.h"
#endif

#include "base/base.h"

#if PY_VERSION_HEX < 0x030b0000
#error "ramet needs CPython 3.11 or newer"
#elif PY_VERSION_HEX < 0x030c0000
#include "cpython_311.h"
#elif PY_VERSION_HEX < 0x030d0000
#include "cpython_312.h"
#elif PY_VERSION_HEX < 0x030e0000
#include "cpython_313.h"
#elif PY_VERSION_HEX < 0x030f0000
#include "cpython_314.h"
#else
#error "ramet does not know this CPython version: its thread state must be listed in a cpython_3NN.h first"
#endif

typedef struct rm_pystate {
#define X(type, name, field) type name;
    RM_PY_FIELDS(X)
#ifdef RM_PY_IMPL_FIELDS
    RM_PY_IMPL_FIELDS(X)
#endif
#undef X
    _PyStackChunk *chunk;
    PyObject **chunk_top, **chunk_limit;
    _PyErr_StackItem *exc_info;
    PyObject *context, *dict;
    int depth; /* Python recursion used */
    int headroom, tracing;
#ifdef Py_GIL_DISABLED
    uintptr_t critical; /* its critical sections, all suspended: those of a parked goroutine hold no lock */
#endif
    int counter; /* what the yellow zone has taken from the C recursion counter */
    _PyErr_StackItem exc_base;
#ifdef RM_PY_CFRAME
    _PyCFrame base;
#endif
} rm_pystate;

rm_inline void rm_pystate_save(rm_pystate *s, PyThreadState *ts) {
    rm_assert(RM_PY_NO_EXCEPTION(ts));
#define X(type, name, field) s->name = ts->field;
    RM_PY_FIELDS(X)
#undef X
#ifdef RM_PY_IMPL_FIELDS
#define X(type, name, field) s->name = RM_PY_IMPL(ts)->field;
    RM_PY_IMPL_FIELDS(X)
#undef X
#endif
    s->chunk = ts->datastack_chunk;
    s->chunk_top = ts->datastack_top;
    s->chunk_limit = ts->datastack_limit;
    s->exc_info = ts->exc_info;
    s->context = ts->context;
    s->dict = ts->dict;
    s->depth = RM_PY_LIMIT(ts) - RM_PY_REMAINING(ts);
    s->headroom = ts->recursion_headroom;
    s->tracing = ts->tracing;
#ifdef Py_GIL_DISABLED
    if (ts->critical_section) _PyCriticalSection_SuspendAll(ts);
    s->critical = ts->critical_section;
    ts->critical_section = 0; /* else the idle loop would resume them when it takes the GIL back */
#endif
}

rm_inline void rm_pystate_load(const rm_pystate *s, PyThreadState *ts) {
#define X(type, name, field) ts->field = s->name;
    RM_PY_FIELDS(X)
#undef X
#ifdef RM_PY_IMPL_FIELDS
#define X(type, name, field) RM_PY_IMPL(ts)->field = s->name;
    RM_PY_IMPL_FIELDS(X)
#undef X
#endif
    ts->datastack_chunk = s->chunk;
    ts->datastack_top = s->chunk_top;
    ts->datastack_limit = s->chunk_limit;
    ts->exc_info = s->exc_info;
    if (ts->context != s->context) {
        ts->context = s->context;
        ts->context_ver++;
    }
    ts->dict = s->dict;
    RM_PY_REMAINING(ts) = RM_PY_LIMIT(ts) - s->depth;
    ts->recursion_headroom = s->headroom;
    ts->tracing = s->tracing;
#ifdef Py_GIL_DISABLED
    ts->critical_section = s->critical;
    if (ts->critical_section) _PyCriticalSection_Resume(ts);
#endif
    RM_PY_LOADED(ts);
}

/* A goroutine that has not begun: chunk is chunk_bytes of its memory; its stack spans lo to hi; context is
 * stolen (NULL: an empty one, made when needed). */
void rm_pystate_init(rm_pystate *s, PyThreadState *ts, void *chunk, size_t chunk_bytes, char *lo, char *hi,
                     PyObject *context);
/* On its stack: before its first Python code, and after its last. Objects are dropped by end, which may
 * run code of theirs, but that must not raise. */
void rm_pystate_begin(rm_pystate *s, PyThreadState *ts);
void rm_pystate_end(rm_pystate *s, PyThreadState *ts);

/* [(filename, lineno, name), ...] of a goroutine, innermost first; runs no Python code. NULL with an exception. */
struct rm_g;
PyObject *rm_pystate_frames(struct rm_g *g);

#endif
