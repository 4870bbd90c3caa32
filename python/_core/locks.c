/* locks.c: what a goroutine's frames show of the locks that know OS threads only: does it hold one, does it wait for one.
 *
 * Nobody notes who holds a threading.Lock. But who is in `with lock:` has the lock's __exit__ on the evaluation stack of
 * a frame, and how much of that stack is in use is told by the exception table: if the instruction fails, the handler
 * finds what was there before the block's body, whatever the instruction is doing. So nothing need be
 * known of the instruction, the generator or the version. A place without a handler is in no block.
 *
 * A lock is what has acquire, release, __enter__ and __exit__, or, threading.Condition, notify and the latter: those of
 * _thread and threading, multiprocessing's, anybody's; not ours. A frame in one of these methods is taken to be in the
 * block already, or still: some are written in Python. And so is one in a `try` of code that names acquire and release, the
 * other way to hold a lock; what it is called on cannot be seen.
 *
 * Who waits for a lock of _thread's stands in a call of its acquire or __enter__. */
#include "core.h"

#include <opcode.h>

#include "cpython_handlers.h"
#include "cpython_refs.h"

enum { ACQUIRE, RELEASE, ENTER, EXIT, NOTIFY };

int locks_setup(core_state *st) {
    static const char *const names[] = {"acquire", "release", "__enter__", "__exit__", "notify"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!st->lock_names[i] && !(st->lock_names[i] = PyUnicode_InternFromString(names[i]))) return -1;
    PyObject *thread = st->lock_type ? NULL : PyImport_ImportModule("_thread");
    if (thread) st->lock_type = PyObject_GetAttrString(thread, "LockType");
    Py_XDECREF(thread);
    if (st->lock_type && !PyType_Check(st->lock_type)) /* somebody has patched it */
        Py_SETREF(st->lock_type, Py_NewRef(Py_TYPE(st->lock_type)));
    return st->lock_type ? 0 : -1;
}

int locks_traverse(core_state *st, visitproc visit, void *arg) {
    for (size_t i = 0; i < sizeof st->lock_names / sizeof *st->lock_names; i++) Py_VISIT(st->lock_names[i]);
    Py_VISIT(st->lock_type);
    return 0;
}

void locks_clear(core_state *st) {
    for (size_t i = 0; i < sizeof st->lock_names / sizeof *st->lock_names; i++) Py_CLEAR(st->lock_names[i]);
    Py_CLEAR(st->lock_type);
}

/* ------------------------------------------------------------------ held ---- */

/* How much of the evaluation stack whoever handles an exception finds; -1: nobody handles it. */
static int kept(PyCodeObject *code, int place) {
    rm_pyhandlers table = rm_pyhandlers_of(code);
    rm_pyhandler h;
    while (rm_pyhandlers_next(&table, &h) && h.start <= place)
        if (place < h.start + h.n) return h.depth;
    return -1;
}

static bool has(core_state *st, PyTypeObject *type, int name) {
    return _PyType_Lookup(type, st->lock_names[name]) != NULL;
}

static bool is_lock(core_state *st, PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (!has(st, type, EXIT) || !has(st, type, ENTER)) return false;
    if (!(has(st, type, ACQUIRE) && has(st, type, RELEASE)) && !has(st, type, NOTIFY)) return false;
    return strncmp(type->tp_name, "ramet.", strlen("ramet.")) != 0;
}

static bool is_lock_method(core_state *st, PyCodeObject *code) {
    for (int i = ACQUIRE; i <= EXIT; i++)
        if (code->co_name == st->lock_names[i]) return true;
    return false;
}

static bool names(PyCodeObject *code, PyObject *name) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_names); i++)
        if (PyTuple_GET_ITEM(code->co_names, i) == name) return true;
    return false;
}

/* Whose __exit__ stands there, if it is one; NULL: nobody's. */
static PyObject *whose_exit(core_state *st, struct _PyInterpreterFrame *f, int at) {
    int slot = RM_PY_CODE(f)->co_nlocalsplus + at;
    PyObject *o = RM_PY_VALUE(f->localsplus[slot]);
    if (!o) return NULL;
#if PY_VERSION_HEX < 0x030e0000
    (void)st;
    return PyCFunction_CheckExact(o) ? PyCFunction_GET_SELF(o) : PyMethod_Check(o) ? PyMethod_GET_SELF(o) : NULL;
#else /* the function, and what it is to be called with */
    PyObject *exit = at > 0 ? RM_PY_VALUE(f->localsplus[slot - 1]) : NULL;
    return exit && exit == _PyType_Lookup(Py_TYPE(o), st->lock_names[EXIT]) ? o : NULL;
#endif
}

static bool frame_holds(core_state *st, struct _PyInterpreterFrame *f, int place, int managers);

/* @contextlib.contextmanager: the block is in a generator, which is suspended. */
static bool manager_holds(core_state *st, PyObject *o, int managers) {
    if (managers == 0 || strcmp(Py_TYPE(o)->tp_name, "_GeneratorContextManager") != 0) return false;
    PyObject *name = PyUnicode_InternFromString("gen"), *gen = name ? PyObject_GenericGetAttr(o, name) : NULL;
    bool holds = false;
    if (gen && PyGen_CheckExact(gen)) {
        struct _PyInterpreterFrame *f = rm_pyrefs_suspended(gen);
        holds = f && frame_holds(st, f, _PyInterpreterFrame_LASTI(f), managers - 1);
    }
    Py_XDECREF(gen);
    Py_XDECREF(name);
    PyErr_Clear();
    return holds;
}

static bool frame_holds(core_state *st, struct _PyInterpreterFrame *f, int place, int managers) {
    PyCodeObject *code = RM_PY_CODE(f);
    int n = kept(code, place);
    for (int i = n; i-- > 0;) {
        PyObject *o = whose_exit(st, f, i);
        if (o && (is_lock(st, o) || manager_holds(st, o, managers))) return true;
    }
    return n >= 0 && names(code, st->lock_names[ACQUIRE]) && names(code, st->lock_names[RELEASE]);
}

#define MANAGERS 4 /* in one another */

bool locks_held(core_state *st, struct _PyInterpreterFrame *f, int place, PyObject *self) {
    if (self && is_lock_method(st, RM_PY_CODE(f)) && (is_lock(st, self) || manager_holds(st, self, MANAGERS)))
        return true;
    return frame_holds(st, f, place, MANAGERS);
}

/* ------------------------------------------------------------------ waited for ---- */

/* A method of the type, not bound to a lock: that is only compared, as the call may be over, and what was called be gone. */
static bool takes(core_state *st, PyObject *method) {
    PyTypeObject *type = (PyTypeObject *)st->lock_type;
    return method && (method == _PyType_Lookup(type, st->lock_names[ACQUIRE]) ||
                      method == _PyType_Lookup(type, st->lock_names[ENTER]));
}

#if PY_VERSION_HEX < 0x030e0000

bool locks_awaited(core_state *st, struct _PyInterpreterFrame *f) {
    PyCodeObject *code = RM_PY_CODE(f);
    rm_pydepth d = rm_pydepth_at(code, _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT));
    if (d.op == RM_PYOP_UNKNOWN) return false;
    PyObject *o = f->localsplus[code->co_nlocalsplus + d.below];
    if (d.op != RM_PYOP_WITH) return takes(st, o);
#if PY_VERSION_HEX < 0x030c0000
    o = o && PyCFunction_CheckExact(o) ? PyCFunction_GET_SELF(o) : NULL; /* __exit__ */
#endif
    return o && Py_IS_TYPE(o, (PyTypeObject *)st->lock_type);
}

#else

bool locks_awaited(core_state *st, struct _PyInterpreterFrame *f) {
    PyCodeObject *code = RM_PY_CODE(f);
    int lasti = _PyInterpreterFrame_LASTI(f);
    PyObject *bytes = lasti >= 0 && f->stackpointer ? PyCode_GetCode(code) : NULL;
    if (!bytes) {
        PyErr_Clear();
        return false;
    }
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(bytes) + 2 * lasti;
    int operands = at[0] == CALL ? at[1] + 2 : at[0] == CALL_KW ? at[1] + 3 : 0;
    int slot = (int)(f->stackpointer - f->localsplus) - operands;
    Py_DECREF(bytes);
    return operands && slot >= code->co_nlocalsplus && takes(st, RM_PY_VALUE(f->localsplus[slot]));
}

#endif
