/* locks.c: what a goroutine's frames show of the locks that it holds and that know OS threads only.
 *
 * Nobody notes who holds a threading.Lock. But who is in `with lock:` has the lock's __exit__ on the evaluation stack of
 * a frame, and how much of that stack is in use is told by the exception table: if the instruction fails, the handler
 * finds what was there before the block's body, whatever the instruction is doing. So nothing need be
 * known of the instruction, the generator or the version. A place without a handler is in no block.
 *
 * A lock is what has acquire, release, __enter__ and __exit__, or, threading.Condition, notify and the latter: those of
 * _thread and threading, multiprocessing's, anybody's; not ours. A frame in one of these methods is taken to be in the
 * block already, or still: some are written in Python. And so is one in a `try` of code that names acquire and release, the
 * other way to hold a lock; what it is called on cannot be seen. */
#include "core.h"

#include "cpython_handlers.h"
#include "cpython_refs.h"

enum { ACQUIRE, RELEASE, ENTER, EXIT, NOTIFY };

int locks_setup(core_state *st) {
    static const char *const names[] = {"acquire", "release", "__enter__", "__exit__", "notify"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!st->lock_names[i] && !(st->lock_names[i] = PyUnicode_InternFromString(names[i]))) return -1;
    return 0;
}

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
