/* owned.c: see owned.h. */
#include "core.h"

#ifdef Py_GIL_DISABLED

#include "internal/pycore_parking_lot.h"

PyMutex rm_owner_mutex;

/* Resumed one after the other as those above them end. */
void rm_owned_suspend_below(PyThreadState *ts, PyCriticalSection *c) {
    uintptr_t top = ts->critical_section;
    ts->critical_section = c->_cs_prev;
    _PyCriticalSection_SuspendAll(ts);
    c->_cs_prev = ts->critical_section;
    ts->critical_section = top;
}

/* ------------------------------------------------------------------ forks ---- */

static bool owned_by(PyThreadState *ts) {
    for (uintptr_t c = ts ? ts->critical_section : 0; c;) {
        PyCriticalSection *section = (PyCriticalSection *)(c & ~(uintptr_t)_Py_CRITICAL_SECTION_MASK);
        if (_PyCriticalSection_IsActive(c) && section->_cs_mutex == &rm_owner_mutex) return true;
        c = section->_cs_prev;
    }
    return false;
}

/* In the child. The world stood still when it was made, but the lock may have been handed to a thread that was waiting
 * for it: that one is not there any more. */
static void forked(void) {
    if (!owned_by(PyThreadState_GetUnchecked())) rm_owner_mutex = (PyMutex){0};
}

void rm_owned_init(void) {
    static bool done;
    if (!done) pthread_atfork(NULL, NULL, forked); /* os.register_at_fork's handlers may use us already */
    done = true;
}

/* ------------------------------------------------------------------ trampolines ---- */

/* A table of functions a signature, each of which calls its target with the lock held. C has no closures: that many
 * are made by the preprocessor, and given out one by one as the module is made. */
typedef void (*function)(void);
typedef struct shape {
    const function *trampolines;
    function *targets;
    int size, n;
} shape;

#define TEN(m, d) m(d##0) m(d##1) m(d##2) m(d##3) m(d##4) m(d##5) m(d##6) m(d##7) m(d##8) m(d##9)
#define FORTY(m, a, b, c, d) TEN(m, a) TEN(m, b) TEN(m, c) TEN(m, d)
#define FEW(m) FORTY(m, , 1, 2, 3)
#define MANY(m) FEW(m) FORTY(m, 4, 5, 6, 7) FORTY(m, 8, 9, 10, 11) FORTY(m, 12, 13, 14, 15)

#define TARGET(name, i, ret, params) ((ret(*) params)name##_targets[i])
#define SHAPE(name, number)                                                                                            \
    static function name##_targets[0 number(COUNT_)];                                                                  \
    number(name##_trampoline) static const function name##_trampolines[] = {number(name##_entry)};                     \
    static shape name = {name##_trampolines, name##_targets, 0 number(COUNT_), 0}
#define COUNT_(i) +1

#define unary_trampoline(i)                                                                                            \
    static PyObject *unary_##i(PyObject *a) {                                                                          \
        CORE_OWNED;                                                                                                    \
        return TARGET(unary, i, PyObject *, (PyObject *))(a);                                                          \
    }
#define unary_entry(i) (function) unary_##i,
SHAPE(unary, FEW);

#define binary_trampoline(i)                                                                                           \
    static PyObject *binary_##i(PyObject *a, PyObject *b) {                                                            \
        CORE_OWNED;                                                                                                    \
        return TARGET(binary, i, PyObject *, (PyObject *, PyObject *))(a, b);                                          \
    }
#define binary_entry(i) (function) binary_##i,
SHAPE(binary, MANY);

#define ternary_trampoline(i)                                                                                          \
    static PyObject *ternary_##i(PyObject *a, PyObject *b, PyObject *c) {                                              \
        CORE_OWNED;                                                                                                    \
        return TARGET(ternary, i, PyObject *, (PyObject *, PyObject *, PyObject *))(a, b, c);                          \
    }
#define ternary_entry(i) (function) ternary_##i,
SHAPE(ternary, FEW);

#define fast_trampoline(i)                                                                                             \
    static PyObject *fast_##i(PyObject *a, PyObject *const *args, Py_ssize_t n) {                                      \
        CORE_OWNED;                                                                                                    \
        return TARGET(fast, i, PyObject *, (PyObject *, PyObject *const *, Py_ssize_t))(a, args, n);                   \
    }
#define fast_entry(i) (function) fast_##i,
SHAPE(fast, FEW);

#define keywords_trampoline(i)                                                                                         \
    static PyObject *keywords_##i(PyObject *a, PyObject *const *args, Py_ssize_t n, PyObject *names) {                 \
        CORE_OWNED;                                                                                                    \
        return TARGET(keywords, i, PyObject *, (PyObject *, PyObject *const *, Py_ssize_t, PyObject *))(a, args, n,    \
                                                                                                        names);        \
    }
#define keywords_entry(i) (function) keywords_##i,
SHAPE(keywords, MANY);

#define compare_trampoline(i)                                                                                          \
    static PyObject *compare_##i(PyObject *a, PyObject *b, int op) {                                                   \
        CORE_OWNED;                                                                                                    \
        return TARGET(compare, i, PyObject *, (PyObject *, PyObject *, int))(a, b, op);                                \
    }
#define compare_entry(i) (function) compare_##i,
SHAPE(compare, FEW);

#define set_trampoline(i)                                                                                              \
    static int set_##i(PyObject *a, PyObject *b, void *c) {                                                            \
        CORE_OWNED;                                                                                                    \
        return TARGET(set, i, int, (PyObject *, PyObject *, void *))(a, b, c);                                         \
    }
#define set_entry(i) (function) set_##i,
SHAPE(set, FEW);

#define clear_trampoline(i)                                                                                            \
    static int clear_##i(PyObject *a) {                                                                                \
        CORE_OWNED;                                                                                                    \
        return TARGET(clear, i, int, (PyObject *))(a);                                                                 \
    }
#define clear_entry(i) (function) clear_##i,
SHAPE(clear, FEW);

#define length_trampoline(i)                                                                                           \
    static Py_ssize_t length_##i(PyObject *a) {                                                                        \
        CORE_OWNED;                                                                                                    \
        return TARGET(length, i, Py_ssize_t, (PyObject *))(a);                                                         \
    }
#define length_entry(i) (function) length_##i,
SHAPE(length, FEW);

#define finalize_trampoline(i)                                                                                         \
    static void finalize_##i(PyObject *a) {                                                                            \
        CORE_OWNED;                                                                                                    \
        TARGET(finalize, i, void, (PyObject *))(a);                                                                    \
    }
#define finalize_entry(i) (function) finalize_##i,
SHAPE(finalize, FEW);

/* What calls f; itself if it is a trampoline, as a table's second time (another interpreter). NULL with an exception. */
static function in_front_of(function f, shape *s) {
    for (int i = 0; i < s->n; i++)
        if (s->targets[i] == f || s->trampolines[i] == f) return s->trampolines[i];
    if (s->n == s->size) {
        PyErr_SetString(PyExc_SystemError, "owned.c: too few trampolines of a kind");
        return NULL;
    }
    s->targets[s->n] = f;
    return s->trampolines[s->n++];
}

static shape *shape_of_method(int flags) {
    switch (flags & (METH_VARARGS | METH_FASTCALL | METH_KEYWORDS)) {
    case METH_FASTCALL:
        return &fast;
    case METH_FASTCALL | METH_KEYWORDS:
        return &keywords;
    case METH_VARARGS | METH_KEYWORDS:
        return &ternary;
    default:
        return &binary;
    }
}

static int own_methods(PyMethodDef *m) {
    for (; m->ml_name; m++) {
        function f = in_front_of((function)m->ml_meth, shape_of_method(m->ml_flags));
        if (!f) return -1;
        m->ml_meth = (PyCFunction)f;
    }
    return 0;
}

static int own_attributes(PyGetSetDef *a) {
    for (; a->name; a++) {
        function get = a->get ? in_front_of((function)a->get, &binary) : NULL;
        function put = a->set ? in_front_of((function)a->set, &set) : NULL;
        if ((a->get && !get) || (a->set && !put)) return -1;
        a->get = (getter)get;
        a->set = (setter)put;
    }
    return 0;
}

/* Not traverse, which is called with the world stopped; not dealloc, by which the trashcan knows the type. */
static shape *shape_of_slot(int slot) {
    switch (slot) {
    case Py_tp_repr:
    case Py_tp_iternext:
        return &unary;
    case Py_tp_new:
    case Py_tp_call:
        return &ternary;
    case Py_tp_init:
        return &set;
    case Py_tp_richcompare:
        return &compare;
    case Py_tp_clear:
        return &clear;
    case Py_sq_length:
        return &length;
    case Py_tp_finalize:
        return &finalize;
    default:
        return NULL;
    }
}

PyObject *core_type(PyObject *module, PyType_Spec *spec, PyObject *bases) {
    for (PyType_Slot *s = spec->slots; s->slot; s++) {
        shape *kind = shape_of_slot(s->slot);
        if (kind) {
            function f = in_front_of((function)s->pfunc, kind);
            if (!f) return NULL;
            s->pfunc = (void *)f;
        } else if (s->slot == Py_tp_methods) {
            if (own_methods(s->pfunc)) return NULL;
        } else if (s->slot == Py_tp_getset) {
            if (own_attributes(s->pfunc)) return NULL;
        }
    }
    return PyType_FromModuleAndSpec(module, spec, bases);
}

int core_functions(PyObject *module, PyMethodDef *functions) {
    return own_methods(functions) ? -1 : PyModule_AddFunctions(module, functions);
}

/* ------------------------------------------------------------------ a stopped thread, a stopped world ---- */

/* What stopping the world does with each thread that is detached. A stop that begins meanwhile tries again until it is let go. */
bool rm_thread_hold(PyThreadState *ts) {
    int detached = _Py_THREAD_DETACHED;
    return _Py_atomic_compare_exchange_int(&ts->state, &detached, _Py_THREAD_SUSPENDED);
}

void rm_thread_let_go(PyThreadState *ts) {
    _Py_atomic_store_int(&ts->state, _Py_THREAD_DETACHED);
    _PyParkingLot_UnparkAll(&ts->state);
}

/* gc.get_referrers stops the world and calls tp_traverse of every object: of ours, too. So may a collection of another
 * thread's do, which keeps its notes where the counts are. */
typedef struct py_stopper {
    PyObject_HEAD void (*fn)(void *arg); /* NULL: it has been called */
    void *arg;
    unsigned long thread;
} py_stopper;

static int stopper_traverse(py_stopper *self, visitproc visit, void *arg) {
    void (*fn)(void *) = self->fn;
    if (fn && PyThread_get_thread_ident() == self->thread) {
        self->fn = NULL;
        fn(self->arg);
    }
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void stopper_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot stopper_slots[] = {{Py_tp_traverse, stopper_traverse}, {Py_tp_dealloc, stopper_dealloc}, {0, NULL}};
static PyType_Spec stopper_spec = {"ramet._core._Stopper", sizeof(py_stopper), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                   stopper_slots};

bool rm_world_stopped(core_state *st, void (*fn)(void *arg), void *arg) {
    PyObject *gc = PyImport_ImportModule("gc"), *r = NULL;
    if (gc && !st->stopper_type) st->stopper_type = (PyTypeObject *)PyType_FromSpec(&stopper_spec);
    py_stopper *self = gc && st->stopper_type ? PyObject_GC_New(py_stopper, st->stopper_type) : NULL;
    bool called = false;
    if (self) {
        self->arg = arg;
        self->fn = fn;
        self->thread = PyThread_get_thread_ident();
        PyObject_GC_Track(self);
        r = PyObject_CallMethod(gc, "get_referrers", "O", self);
        called = r && !self->fn;
        self->fn = NULL;
        Py_DECREF(self);
        if (r && !called) PyErr_SetString(PyExc_SystemError, "ramet: the collector did not look at all objects");
    }
    Py_XDECREF(r);
    Py_XDECREF(gc);
    return called;
}

#else

bool rm_world_stopped(core_state *st, void (*fn)(void *arg), void *arg) {
    (void)st;
    fn(arg);
    return true;
}

#endif
