/* cpython_state.h: the part of a CPython thread state that belongs to a goroutine, moved at every switch.
 *
 * One version's fields are listed in cpython_3NN.h, in two groups. HOT ones are saved when a goroutine leaves
 * and loaded when it comes back, always. RARE ones are nearly always all zero: they are saved, and zeroed in the
 * thread state, only if one of them is set (one `or` of all), and loaded only into a goroutine that had some. So
 * between out and in the RARE fields of the thread state are zero, and nothing is ever shared by two goroutines.
 * REF fields are references that the goroutine owns and drops at its end; VAL ones are not. Recursion is kept as the
 * depth used, because sys.setrecursionlimit() changes what remains of the running one only.
 *
 * Among the fields are ts->dict and the key of threading.local: thread-local values of the standard library, of
 * decimal, of repr's recursion check, are goroutine-local without patching. Main keeps the thread's own.
 *
 * Invariants at a switch: no exception is set; the two goroutines are not the same. A goroutine's
 * rm_pystate holds its own bottom of the exception stack, of the C frames (3.11, 3.12) and, in memory that
 * go() provides, the first chunk of its Python data stack: it is never freed by CPython, because its first slot is
 * skipped, as in a root chunk.
 *
 * Everything here needs the GIL (owned.h) and the proc's own thread state. */
#ifndef RM_CPYTHON_STATE_H
#define RM_CPYTHON_STATE_H

#include <Python.h>

#ifndef Py_BUILD_CORE
#error "ramet needs CPython's internal headers: compile with -DPy_BUILD_CORE"
#endif
#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_pystate.h"

#include "base/base.h"
#include "owned.h"

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
#elif PY_VERSION_HEX < 0x03100000
#include "cpython_315.h"
#else
#error "ramet does not know this CPython version: its thread state must be listed in a cpython_3NN.h first"
#endif

#ifndef RM_PY_BASE_FRAME
#define RM_PY_BASE_FRAME(ts) NULL /* where the chain of frames ends */
#endif

#ifdef RM_PY_HAS_IMPL
/* Fields behind the public thread state. That one has grown within a minor version (3.13, 3.14: one more field
 * at its end), so they are found from the size the running interpreter says it has. */
extern __attribute__((visibility("hidden"))) ptrdiff_t rm_pystate_shift;
#define RM_PY_IMPL(ts) ((_PyThreadStateImpl *)((char *)(ts) + rm_pystate_shift))
#endif

typedef struct rm_pystate {
#define X(type, name, place) type name;
    RM_PY_HOT(X)
#undef X
    PyObject *context;
    _PyStackChunk *root; /* where its Python data stack begins; NULL: unknown */
#ifdef RM_PY_TRACED
    uintptr_t traced; /* what was traced when its frames were last prepared for it */
#endif
#ifdef Py_GIL_DISABLED
    uintptr_t sections; /* critical sections it is in, the owner's on top */
#endif
    int depth;   /* Python recursion used */
    int counter; /* what the yellow zone has taken from the recursion counter */
    _PyErr_StackItem exc_base;
#ifdef RM_PY_CFRAME
    _PyCFrame base;
#endif
#define X(kind, type, name, place) type name;
    RM_PY_RARE(X)
#undef X
    int what;    /* the event being traced; only while tracing */
    bool rare;   /* some of the RARE fields are set */
} rm_pystate;

/* Out of line: RARE fields are set. */
void rm_pystate_save_rare(rm_pystate *s, PyThreadState *ts);
void rm_pystate_load_rare(rm_pystate *s, PyThreadState *ts);
#ifdef RM_PY_TRACED
/* Out of line: something else is traced now. */
void rm_pystate_load_traced(PyThreadState *ts);
#endif

rm_inline void rm_pystate_save(rm_pystate *s, PyThreadState *ts) {
    rm_assert(RM_PY_NO_EXCEPTION(ts));
    rm_assert(!s->rare);
#ifdef Py_GIL_DISABLED
    s->sections = rm_owned_out(ts);
#endif
#define X(type, name, place) s->name = place;
    RM_PY_HOT(X)
#undef X
    s->context = ts->context;
    s->depth = RM_PY_LIMIT(ts) - RM_PY_REMAINING(ts);
#ifdef RM_PY_TRACED
    s->traced = RM_PY_TRACED(ts);
#endif
    uintptr_t any = 0;
#define X(kind, type, name, place) any |= (uintptr_t)(place);
    RM_PY_RARE(X)
#undef X
    if (rm_unlikely(any != 0)) rm_pystate_save_rare(s, ts);
}

rm_inline void rm_pystate_load(rm_pystate *s, PyThreadState *ts) {
    rm_assert(RM_PY_NO_EXCEPTION(ts));
#define X(type, name, place) place = s->name;
    RM_PY_HOT(X)
#undef X
    if (ts->context != s->context) {
        ts->context = s->context;
        ts->context_ver++; /* what a ContextVar has cached is of the other context */
    }
    RM_PY_REMAINING(ts) = RM_PY_LIMIT(ts) - s->depth;
#ifdef Py_GIL_DISABLED
    ts->critical_section = s->sections;
#endif
    if (rm_unlikely(s->rare)) rm_pystate_load_rare(s, ts);
#ifdef RM_PY_TRACED
    if (rm_unlikely(s->traced != RM_PY_TRACED(ts))) rm_pystate_load_traced(ts);
#endif
    RM_PY_LOADED(ts);
}

/* Whether a greenlet runs that is not the goroutine's own: those have a data stack of their own. */
bool rm_pystate_other_root(const rm_pystate *s, const _PyStackChunk *chunk);
rm_inline bool rm_pystate_in_greenlet(const rm_pystate *s, PyThreadState *ts) {
    _PyStackChunk *chunk = ts->datastack_chunk;
    return chunk != s->root && chunk && rm_pystate_other_root(s, chunk);
}

/* main's, which is on the thread's own stack. */
void rm_pystate_adopt(rm_pystate *s, PyThreadState *ts);

/* Once an interpreter, before anything else here: does the running CPython have the thread state we know? Else -1
 * with an ImportError. */
int rm_pystate_setup(PyThreadState *ts);

/* A goroutine that has not begun: chunk is chunk_bytes of its memory; its stack spans lo to hi; context is
 * stolen (NULL: an empty one, made when needed). */
void rm_pystate_init(rm_pystate *s, PyThreadState *ts, void *chunk, size_t chunk_bytes, char *lo, char *hi,
                     PyObject *context);
/* On its stack: before its first Python code, and after its last. Objects are dropped by end, which may
 * run code of theirs, and that code may park. */
void rm_pystate_begin(rm_pystate *s, PyThreadState *ts);
void rm_pystate_end(rm_pystate *s, PyThreadState *ts);

/* [(filename, lineno, name), ...] of a goroutine, innermost first; runs no Python code before the frames have been
 * read. Empty for one that has not begun, and for a foreign thread. NULL with an exception. */
struct rm_g;
PyObject *rm_pystate_frames(struct rm_g *g);

typedef struct rm_pyplace { /* in Python code; code NULL: none */
    PyCodeObject *code;
    int lasti; /* bytes */
} rm_pyplace;

/* Where the innermost frame of what runs now stands. New reference. */
rm_pyplace rm_pystate_place(PyThreadState *ts);
/* As (filename, lineno, name), or None. */
PyObject *rm_pyplace_tuple(rm_pyplace place);

#endif
