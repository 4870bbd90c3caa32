/* greenlets.c: a greenlet runs in the goroutine that has started it, or not at all.
 *
 * The greenlet package keeps one list of stacks a thread, and copies what lies between two of its marks away and back. The
 * marks of greenlets that different goroutines have started lie on different stacks: to switch between those copies, or
 * overwrites, whatever is between them, the stacks of others among it. It asks nobody before it does. So we stand in front
 * of all that begins a switch in its type and its C API: switch(), throw(), a change of the parent, and the end of a
 * suspended greenlet that nobody refers to any more, which greenlet runs once more.
 *
 * Who has started a greenlet is kept by its address, and only of goroutines with stacks of their own: what has no entry was
 * started by main, or by a thread, where greenlet itself refuses others. A greenlet that ends goes on in its parent, so
 * all its parents must be the same goroutine's, and those that have not been started are by then. An entry may
 * outlive its greenlet; whoever starts another one at that address replaces it.
 *
 * A suspended greenlet whose last reference is dropped elsewhere is never freed. */
#include "core.h"

typedef PyObject *(*switch_fn)(PyObject *g, PyObject *args, PyObject *kwargs);
typedef PyObject *(*throw_fn)(PyObject *g, PyObject *type, PyObject *value, PyObject *traceback);
typedef int (*set_parent_fn)(PyObject *g, PyObject *parent);

/* Its C API, a table in a capsule, by the numbers of its header. */
enum {
    API_TYPE = 0,
    API_ERROR = 1,
    API_CURRENT = 4,
    API_THROW = 5,
    API_SWITCH = 6,
    API_SET_PARENT = 7,
    API_MAIN = 8,
    API_STARTED = 9,
    API_ACTIVE = 10,
    API_PARENT = 11
};
static void **api;
#define IS(what, g) (((int (*)(PyObject *))api[API_##what])(g) > 0)

/* What we stand in front of. */
static PyCFunctionWithKeywords green_switch;
static PyCFunction green_throw;
static setter green_set_parent;
static destructor green_dealloc;
static switch_fn api_switch;
static throw_fn api_throw;
static set_parent_fn api_set_parent;

static PyObject *starters; /* {address: number of the goroutine} */

/* ------------------------------------------------------------------ whose it is ---- */

/* 0: main, or a thread. */
static uint64_t caller(void) {
    rm_m *m = rm_m_self();
    return m && m->p && m->p->cur && !(m->p->cur->flags & RM_GF_MAIN) ? m->p->cur->id : 0;
}

/* Who has started g. -1 with an exception. */
static int starter_of(PyObject *g, uint64_t *id) {
    PyObject *key = PyLong_FromVoidPtr(g), *found = NULL;
    int e = key ? 0 : -1;
#if PY_VERSION_HEX >= 0x030d0000
    if (key && PyDict_GetItemRef(starters, key, &found) < 0) e = -1;
#else
    found = key ? Py_XNewRef(PyDict_GetItemWithError(starters, key)) : NULL;
    if (!found && PyErr_Occurred()) e = -1;
#endif
    *id = found ? PyLong_AsUnsignedLongLong(found) : 0;
    Py_XDECREF(found);
    Py_XDECREF(key);
    return e;
}

static int set_starter(PyObject *g, uint64_t id) {
    PyObject *key = PyLong_FromVoidPtr(g), *value = key && id ? PyLong_FromUnsignedLongLong(id) : NULL;
    int e = -1;
    if (value) e = PyDict_SetItem(starters, key, value);
    else if (key && !id) e = PyDict_Contains(starters, key) > 0 ? PyDict_DelItem(starters, key) : 0;
    Py_XDECREF(value);
    Py_XDECREF(key);
    return e;
}

static int refuse(uint64_t me, uint64_t starter) {
    char of[40] = "main, or by a thread,", in[40] = "main or a thread";
    if (starter) snprintf(of, sizeof of, "goroutine %llu", (unsigned long long)starter);
    if (me) snprintf(in, sizeof in, "goroutine %llu", (unsigned long long)me);
    PyErr_Format(api[API_ERROR],
                 "ramet: a greenlet (or one of its parents) that was started by %s cannot run in %s: "
                 "it uses the stack of the goroutine that has started it",
                 of, in);
    return -1;
}

/* From g (stolen) to its parent; NULL: it has none. */
static PyObject *step(PyObject *g) {
    PyObject *parent = ((PyObject * (*)(PyObject *)) api[API_PARENT])(g);
    Py_DECREF(g);
    return parent;
}

/* Whether g and all those that may run after it may run here, those that are not started as ours from now on. 0, or -1
 * with an exception. */
static int admit(PyObject *g) {
    uint64_t me = caller(), starter;
    if (!me && !PyDict_GET_SIZE(starters)) return 0;
    int e = 0;
    Py_INCREF(g);
    while (g && !e && !IS(MAIN, g)) {
        if (!IS(STARTED, g)) {
            e = set_starter(g, me);
        } else if (IS(ACTIVE, g)) {
            e = starter_of(g, &starter);
            if (!e && starter != me) e = refuse(me, starter);
        }
        g = step(g);
    }
    Py_XDECREF(g);
    return e;
}

static PyObject *root_of(PyObject *g) {
    while (g && !IS(MAIN, g)) g = step(g);
    return g;
}

static bool of_other_thread(PyObject *g) {
    PyObject *theirs = root_of(Py_NewRef(g)), *ours = root_of(((PyObject * (*)(void)) api[API_CURRENT])());
    bool other = theirs && theirs != ours;
    Py_XDECREF(theirs);
    Py_XDECREF(ours);
    return other;
}

/* ------------------------------------------------------------------ in front ---- */

static PyObject *our_switch(PyObject *g, PyObject *args, PyObject *kwargs) {
    return admit(g) ? NULL : green_switch(g, args, kwargs);
}

static PyObject *our_throw(PyObject *g, PyObject *args) { return admit(g) ? NULL : green_throw(g, args); }

static bool is_greenlet(PyObject *o) { return o && PyObject_TypeCheck(o, (PyTypeObject *)api[API_TYPE]); }

/* Of one that runs, or is suspended; the others are looked at when they start. */
static bool refuses_parent(PyObject *g, PyObject *parent) {
    return is_greenlet(g) && is_greenlet(parent) && IS(ACTIVE, g) && admit(parent);
}

static int our_set_parent(PyObject *g, PyObject *parent, void *closure) {
    return refuses_parent(g, parent) ? -1 : green_set_parent(g, parent, closure);
}

static PyObject *our_api_switch(PyObject *g, PyObject *args, PyObject *kwargs) {
    return is_greenlet(g) && admit(g) ? NULL : api_switch(g, args, kwargs);
}

static PyObject *our_api_throw(PyObject *g, PyObject *type, PyObject *value, PyObject *traceback) {
    return is_greenlet(g) && admit(g) ? NULL : api_throw(g, type, value, traceback);
}

static int our_api_set_parent(PyObject *g, PyObject *parent) {
    return refuses_parent(g, parent) ? -1 : api_set_parent(g, parent);
}

static void our_dealloc(PyObject *g) {
    uint64_t me = caller(), starter = me;
    bool ours = true;
    if ((me || PyDict_GET_SIZE(starters)) && !IS(MAIN, g)) {
        PyObject *exc = core_take_exception();
        bool active = IS(STARTED, g) && IS(ACTIVE, g);
        Py_SET_REFCNT(g, 1); /* what asks for its parents takes references */
        if (!active) set_starter(g, 0);
        else ours = starter_of(g, &starter) == 0 && (starter == me || (!starter && of_other_thread(g)));
        PyErr_Clear(); /* no memory */
        if (ours) Py_SET_REFCNT(g, 0);
        core_put_exception(exc);
    }
    if (ours) {
        green_dealloc(g);
        return;
    }
    if (PyType_HasFeature(Py_TYPE(g), Py_TPFLAGS_HEAPTYPE)) Py_INCREF(Py_TYPE(g)); /* whose dealloc drops that */
}

/* ------------------------------------------------------------------ setup ---- */

static PyObject *descriptor(PyObject *type, const char *name, PyTypeObject *of) {
    PyObject *d = PyObject_GetAttrString(type, name); /* the type has another reference */
    Py_XDECREF(d);
    if (!d || Py_TYPE(d) == of) return d;
    PyErr_Format(PyExc_TypeError, "ramet: greenlet.%s is not what it was", name);
    return NULL;
}

static PyMethodDef *method(PyObject *type, const char *name, int flags) {
    PyObject *d = descriptor(type, name, &PyMethodDescr_Type);
    PyMethodDef *m = d ? ((PyMethodDescrObject *)d)->d_method : NULL;
    if (!m || m->ml_flags == flags) return m;
    PyErr_Format(PyExc_TypeError, "ramet: greenlet.%s is not what it was", name);
    return NULL;
}

PyDoc_STRVAR(guard_doc, "_guard_greenlets(api, /)\n--\n\ngreenlet has been imported: stand in front of its switches.");
static PyObject *core_guard_greenlets(PyObject *module, PyObject *capsule) {
    (void)module;
    if (api) Py_RETURN_NONE;
    void **table = PyCapsule_GetPointer(capsule, "greenlet._C_API");
    if (!table) return NULL;
    PyObject *type = table[API_TYPE];
    PyMethodDef *sw = method(type, "switch", METH_VARARGS | METH_KEYWORDS);
    PyMethodDef *th = sw ? method(type, "throw", METH_VARARGS) : NULL;
    PyObject *parent = th ? descriptor(type, "parent", &PyGetSetDescr_Type) : NULL;
    if (!parent || !(starters = PyDict_New())) return NULL;
    api = table;
    green_switch = (PyCFunctionWithKeywords)(void (*)(void))sw->ml_meth;
    green_throw = th->ml_meth;
    PyGetSetDef *attribute = ((PyGetSetDescrObject *)parent)->d_getset;
    green_set_parent = attribute->set;
    green_dealloc = ((PyTypeObject *)type)->tp_dealloc;
    api_switch = (switch_fn)table[API_SWITCH];
    api_throw = (throw_fn)table[API_THROW];
    api_set_parent = (set_parent_fn)table[API_SET_PARENT];
    sw->ml_meth = (PyCFunction)(void (*)(void))our_switch;
    th->ml_meth = our_throw;
    attribute->set = our_set_parent;
    ((PyTypeObject *)type)->tp_dealloc = our_dealloc;
    table[API_SWITCH] = (void *)our_api_switch;
    table[API_THROW] = (void *)our_api_throw;
    table[API_SET_PARENT] = (void *)our_api_set_parent;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_guard_greenlets", core_guard_greenlets, METH_O, guard_doc},
    {NULL, NULL, 0, NULL},
};

int greenlets_init(PyObject *module) { return core_functions(module, functions); }
