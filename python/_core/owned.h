/* owned.h: the owner lock: on free-threaded CPython what the GIL is to this extension elsewhere.
 *
 * What is said to need the GIL needs the owner lock there: a critical section of CPython's on one mutex of ours. Like the GIL it is
 * given up by whoever detaches (blocks, waits for another lock of CPython's, lets the world be stopped) and taken back after
 * that, so it makes no deadlock with the locks of others; unlike the GIL it is not held by who runs code that is not ours.
 *
 * Every function that Python calls holds it: core_type and core_functions put a trampoline in front of each. By hand
 * (CORE_OWNED) hold it those deallocators that touch what others see, and code on threads of ours. It is let go
 * around calls of what may compute for long (CORE_CALL_OUT), so that other threads need not wait for that.
 *
 * A switch needs it, and hands it over: the goroutine that is left has a section around its wait, and so has the one that is come
 * back to. The sections below that one (of a dict whose key's __eq__ waits) are suspended meanwhile. A goroutine that
 * begins lets the lock go (rm_owned_drop), one that ends takes it (rm_owned_take), and so does the loop around its polls.
 *
 * Where there is a GIL, all of this is nothing. */
#ifndef RAMET_OWNED_H
#define RAMET_OWNED_H

#include <Python.h>

#include "base/base.h"

#ifdef Py_GIL_DISABLED

#include "internal/pycore_critical_section.h"

extern __attribute__((visibility("hidden"))) PyMutex rm_owner_mutex;

typedef struct rm_owned {
    PyCriticalSection section;
    bool inside; /* of another one, on top: this is none */
} rm_owned;

rm_inline bool rm_owned_on_top(PyThreadState *ts) {
    uintptr_t top = ts->critical_section;
    return _PyCriticalSection_IsActive(top) &&
           ((PyCriticalSection *)(top & ~(uintptr_t)_Py_CRITICAL_SECTION_MASK))->_cs_mutex == &rm_owner_mutex;
}

/* As CPython's, whose inline functions get at the thread state in a way that extensions cannot. */
rm_inline void rm_owned_begin(PyThreadState *ts, PyCriticalSection *c) {
    uint8_t unlocked = _Py_UNLOCKED;
    if (rm_likely(_Py_atomic_compare_exchange_uint8(&rm_owner_mutex._bits, &unlocked, _Py_LOCKED))) {
        c->_cs_mutex = &rm_owner_mutex;
        c->_cs_prev = ts->critical_section;
        ts->critical_section = (uintptr_t)c;
        return;
    }
#if PY_VERSION_HEX >= 0x030f0000
    _PyCriticalSection_BeginSlow(ts, c, &rm_owner_mutex);
#else
    _PyCriticalSection_BeginSlow(c, &rm_owner_mutex);
#endif
}

rm_inline void rm_owned_end(PyThreadState *ts, PyCriticalSection *c) {
    PyMutex_Unlock(&rm_owner_mutex);
    ts->critical_section = c->_cs_prev;
    if (c->_cs_prev & _Py_CRITICAL_SECTION_INACTIVE) _PyCriticalSection_Resume(ts);
}

rm_inline void rm_owned_enter(rm_owned *o) {
    PyThreadState *ts = PyThreadState_GetUnchecked();
    o->inside = rm_owned_on_top(ts);
    if (!o->inside) rm_owned_begin(ts, &o->section);
}

rm_inline void rm_owned_leave(rm_owned *o) {
    if (!o->inside) rm_owned_end(PyThreadState_GetUnchecked(), &o->section);
}

/* From here to the end of the block. */
#define CORE_OWNED                                                                                                     \
    rm_owned owned_ __attribute__((cleanup(rm_owned_leave)));                                                          \
    rm_owned_enter(&owned_)

/* statement, without the lock. */
#define CORE_CALL_OUT(statement)                                                                                       \
    do {                                                                                                               \
        PyCriticalSection *out_ = rm_owned_let_go();                                                                   \
        statement;                                                                                                     \
        if (out_) rm_owned_begin(PyThreadState_GetUnchecked(), out_);                                                  \
    } while (0)

rm_inline PyCriticalSection *rm_owned_let_go(void) {
    PyThreadState *ts = PyThreadState_GetUnchecked();
    if (!rm_owned_on_top(ts)) return NULL;
    PyCriticalSection *c = (PyCriticalSection *)(ts->critical_section & ~(uintptr_t)_Py_CRITICAL_SECTION_MASK);
    rm_owned_end(ts, c);
    return c;
}

/* Without a section: on the loop, and where a goroutine begins and ends. */
rm_inline void rm_owned_take(void) { PyMutex_Lock(&rm_owner_mutex); }
rm_inline void rm_owned_drop(void) { PyMutex_Unlock(&rm_owner_mutex); }

void rm_owned_suspend_below(PyThreadState *ts, PyCriticalSection *c);

/* Before a switch: the sections of who is left; the lock stays locked. */
rm_inline uintptr_t rm_owned_out(PyThreadState *ts) {
    rm_assert(rm_owned_on_top(ts));
    uintptr_t top = ts->critical_section;
    PyCriticalSection *c = (PyCriticalSection *)(top & ~(uintptr_t)_Py_CRITICAL_SECTION_MASK);
    if (rm_unlikely(_PyCriticalSection_IsActive(c->_cs_prev))) rm_owned_suspend_below(ts, c);
    ts->critical_section = 0;
    return top;
}

/* For the children of forks. */
void rm_owned_init(void);

/* A thread that is detached (blocks) stays so, and its frames as they are, until it is let go. False: it runs. In between nothing that
 * may wait for it. */
bool rm_thread_hold(PyThreadState *ts);
void rm_thread_let_go(PyThreadState *ts);

/* As PyType_FromModuleAndSpec and PyModule_AddFunctions. */
PyObject *core_type(PyObject *module, PyType_Spec *spec, PyObject *bases);
int core_functions(PyObject *module, PyMethodDef *functions);

#else

#define CORE_OWNED ((void)0)
#define CORE_CALL_OUT(statement)                                                                                       \
    do {                                                                                                               \
        statement;                                                                                                     \
    } while (0)
rm_inline bool rm_thread_hold(PyThreadState *ts) { /* by the GIL, which the caller has */
    (void)ts;
    return true;
}
rm_inline void rm_thread_let_go(PyThreadState *ts) { (void)ts; }
rm_inline void rm_owned_take(void) {}
rm_inline void rm_owned_drop(void) {}
rm_inline void rm_owned_init(void) {}
#define core_type PyType_FromModuleAndSpec
#define core_functions PyModule_AddFunctions

#endif

/* Call fn(arg) while no other thread runs Python code, which on free-threaded CPython takes a walk over the heap. It
 * makes no objects and calls no Python. Whether it was called; false with an exception. */
struct core_state;
bool rm_world_stopped(struct core_state *st, void (*fn)(void *arg), void *arg);

#endif
