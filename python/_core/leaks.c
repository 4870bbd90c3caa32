/* leaks.c: goroutines that wait for what nobody can reach any more: found, unwound, reported.
 *
 * The rule is the collector's, with parked goroutines as objects: a goroutine is reachable if what it waits for is, or
 * its handle, or the goroutine that it joins. All objects that can be reached from the parked ones are taken, and of
 * each how many references to it are not from these. What has such a one is reachable, and all that can be reached
 * from it. The goroutines that are not are leaked.
 *
 * An error can only be made in one direction: a reference that is not found makes its object reachable. So what is not
 * known exactly is left out: waits with a deadline, in a scope or for a descriptor, what C code holds. And
 * modules, their variables, and types are always reachable, so that nobody looks at what hangs on them.
 *
 * Why not tp_traverse and finalizers, so that the collector does all this? It would finalize what the frames hold, with
 * them: a file that `finally` wants to write to would be closed by then.
 *
 * Every full collection is followed by a look. A leaked goroutine is cancelled, and reports itself when the Cancelled is
 * raised in it: no Python code runs while we look, and none in the middle of a collection. */
#include "core.h"

#include "cpython_refs.h"
#include "sync.h"

/* ------------------------------------------------------------------ the graph ---- */

typedef struct node { /* an object, or a goroutine */
    const void *key;
    Py_ssize_t refs; /* that have not been found */
    uint32_t waits;  /* 1-based: the first of who waits for it; 0: nobody */
    bool is_g;
    bool reachable;
    bool closed;     /* not to be looked into */
} node;

typedef struct waiting {
    uint32_t g, next;
} waiting;

typedef struct graph {
    core_state *st;
    node *nodes;
    uint32_t *table; /* 1-based, by hash of the key */
    waiting *waits;
    uint32_t *todo;  /* reachable, to be looked into */
    uint32_t n, mask, nwaits, waits_cap, ntodo;
    bool failed;     /* out of memory */
    rm_pyrefs refs;
} graph;

#define NONE UINT32_MAX

static uint32_t slot_of(const graph *gr, const void *key) {
    uint64_t h = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t i = (uint32_t)(h >> 32) & gr->mask;
    while (gr->table[i] && gr->nodes[gr->table[i] - 1].key != key) i = (i + 1) & gr->mask;
    return i;
}

static uint32_t find(const graph *gr, const void *key) { return gr->table[slot_of(gr, key)] - 1; /* NONE */ }

/* Room for twice as many. */
static bool grow(graph *gr) {
    uint32_t size = gr->table ? 2 * (gr->mask + 1) : 1024;
    uint32_t *table = size ? PyMem_RawCalloc(size, sizeof *table) : NULL;
    node *nodes = table ? PyMem_RawRealloc(gr->nodes, size / 2 * sizeof *nodes) : NULL;
    if (nodes) gr->nodes = nodes;
    if (!nodes) {
        PyMem_RawFree(table);
        gr->failed = true;
        return false;
    }
    PyMem_RawFree(gr->table);
    gr->table = table;
    gr->mask = size - 1;
    for (uint32_t i = 0; i < gr->n; i++) table[slot_of(gr, nodes[i].key)] = i + 1;
    return true;
}

/* The node of key, made if need be; NONE: out of memory. */
static uint32_t make(graph *gr, const void *key, Py_ssize_t refs) {
    uint32_t *slot = &gr->table[slot_of(gr, key)];
    if (*slot) return *slot - 1;
    if (gr->n == (gr->mask + 1) / 2) {
        if (!grow(gr)) return NONE;
        slot = &gr->table[slot_of(gr, key)];
    }
    gr->nodes[gr->n] = (node){.key = key, .refs = refs};
    *slot = ++gr->n;
    return gr->n - 1;
}

static bool immortal(PyObject *o) {
#if PY_VERSION_HEX >= 0x030c0000
    return _Py_IsImmortal(o);
#else
    (void)o;
    return false;
#endif
}

static uint32_t make_object(graph *gr, PyObject *o) { return make(gr, o, Py_REFCNT(o)); }

/* Objects that may refer to others. The collector does not track a tuple or dict in which it has found none that it
 * tracks; there may be a lock. */
static bool has_references(PyObject *o) {
    return PyObject_IS_GC(o) && (PyObject_GC_IsTracked(o) || PyTuple_CheckExact(o) || PyDict_CheckExact(o));
}

/* ------------------------------------------------------------------ who waits for what ---- */

static bool may_leak(const rm_g *g) {
    if (g->state != RM_WAITING || g->fresh || g->wake != RM_WAKE_OPEN) return false;
    if (g->flags & (RM_GF_MAIN | RM_GF_SYSTEM | RM_GF_FOREIGN) || g->scope || g->cancel || g->cancel_held) return false;
    if (g->embed.pyflags & PYF_ENDS) return false;
    return g->reason == RM_R_CHAN_RECV || g->reason == RM_R_CHAN_SEND || g->reason == RM_R_SELECT ||
           g->reason == RM_R_JOIN || (g->reason >= RM_R_MUTEX && g->reason <= RM_R_QUEUE_JOIN);
}

/* Of an object: what it waits for; NULL: a goroutine, or several channels. */
static PyObject *waited_for(const rm_g *g) {
    if (g->reason == RM_R_CHAN_RECV || g->reason == RM_R_CHAN_SEND)
        return (PyObject *)rm_container_of((rm_chan *)(uintptr_t)g->wait_obj, py_chan, c);
    return g->reason == RM_R_JOIN || g->reason == RM_R_SELECT ? NULL : sync_object(g->wait_obj);
}

/* Node g goes on once node `on` does something. */
static void add_wait(graph *gr, uint32_t g, uint32_t on) {
    if (on != NONE && gr->nwaits == gr->waits_cap) {
        uint32_t cap = gr->waits_cap ? 2 * gr->waits_cap : 1024;
        waiting *w = PyMem_RawRealloc(gr->waits, cap * sizeof *w);
        if (w) gr->waits = w, gr->waits_cap = cap;
        else on = NONE;
    }
    if (on == NONE) {
        gr->failed = true;
        return;
    }
    gr->waits[gr->nwaits] = (waiting){g, gr->nodes[on].waits};
    gr->nodes[on].waits = ++gr->nwaits;
}

static void waits_for_object(graph *gr, uint32_t g, PyObject *o) {
    /* a timer fills its channel without a reference to it */
    if (chan_check(gr->st, o) && ((py_chan *)o)->owner) gr->nodes[g].reachable = true;
    else add_wait(gr, g, make_object(gr, o));
}

static void add_waits(graph *gr, uint32_t i) {
    const rm_g *g = gr->nodes[i].key;
    if (g->embed.handle) add_wait(gr, i, make_object(gr, g->embed.handle));
    if (g->reason == RM_R_JOIN) {
        uint32_t joined = find(gr, g->wait_obj);
        if (joined == NONE) gr->nodes[i].reachable = true;
        else add_wait(gr, i, joined);
    } else if (g->reason == RM_R_SELECT) {
        const py_select *s = g->embed.select;
        bool others = s->nfds || s->nsets;
        if (others) gr->nodes[i].reachable = true;
        for (Py_ssize_t k = 0; k < s->n && !others; k++)
            if (s->cases[k].chan) waits_for_object(gr, i, (PyObject *)rm_container_of(s->cases[k].chan, py_chan, c));
    } else {
        waits_for_object(gr, i, waited_for(g));
    }
}

/* ------------------------------------------------------------------ references ---- */

static int match(PyObject *o, void *arg) {
    graph *gr = arg;
    uint32_t i = find(gr, o);
    if (i != NONE) gr->nodes[i].refs--;
    return 0;
}

static int account(PyObject *o, void *arg) {
    graph *gr = arg;
    if (gr->failed || immortal(o)) return 0;
    if (has_references(o)) make_object(gr, o);
    return match(o, arg);
}

static void reach_node(graph *gr, uint32_t i) {
    if (i == NONE || gr->nodes[i].reachable) return;
    gr->nodes[i].reachable = true;
    gr->todo[gr->ntodo++] = i;
}

static int reach(PyObject *o, void *arg) {
    reach_node(arg, find(arg, o));
    return 0;
}

static bool waits_for(void *arg, const rm_g *g, const void *o) {
    graph *gr = arg;
    PyObject *of = waited_for(g);
    if (g->reason == RM_R_JOIN) of = ((const rm_g *)g->wait_obj)->embed.handle;
    if (!of || o == of) return of != NULL;
    uint32_t i = find(gr, o); /* o may be gone, unless it is known */
    return i != NONE && !gr->nodes[i].is_g && PyCFunction_CheckExact((PyObject *)(uintptr_t)o) &&
           PyCFunction_GET_SELF((PyObject *)(uintptr_t)o) == of;
}

static PyObject *const *args_of(const rm_g *g, Py_ssize_t *n) {
    *n = g->reason == RM_R_SELECT ? g->embed.select->n : -1;
    return *n >= 0 || g->reason == RM_R_CHAN_RECV || g->reason == RM_R_CHAN_SEND ? g->embed.waits_with : NULL;
}

static void visit_g(graph *gr, const rm_g *g, visitproc visit) {
    const rm_embed_g *e = &g->embed;
    PyObject *const one[] = {e->fn, e->kwnames, e->pending, e->at_end, e->pyflags & PYF_OWNS_HANDLE ? e->handle : NULL};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (one[i]) visit(one[i], gr);
    Py_ssize_t n = e->nargs + (e->kwnames ? PyTuple_GET_SIZE(e->kwnames) : 0);
    for (Py_ssize_t i = 0; i < n; i++) visit(e->args[i], gr);
    const py_select *s = g->reason == RM_R_SELECT ? e->select : NULL;
    for (Py_ssize_t i = 0; s && i < s->n; i++) /* what it would send */
        if (s->cases[i].chan && s->cases[i].dir == RAMET_SEND) visit((PyObject *)s->words[i], gr);
    gr->refs.visit = visit;
    rm_pyrefs_visit(&gr->refs, g);
}

static void reach_g(graph *gr, const rm_g *g) {
    visit_g(gr, g, reach);
    gr->refs.match = reach;
    rm_pyrefs_match(&gr->refs, g);
}

/* What they send belongs to who waits to send it; but a sender can be reached just if the channel can. */
static void visit_senders(graph *gr, py_chan *c, visitproc visit) {
    for (rm_sudog *s = c->c.sendq.first; s; s = s->next) {
        uint32_t i = s->g->reason == RM_R_CHAN_SEND ? find(gr, s->g) : NONE;
        if (i != NONE && !gr->nodes[i].closed) visit(*(PyObject **)s->elem, gr);
    }
}

static void close_node(graph *gr, PyObject *o) {
    uint32_t i = o ? make_object(gr, o) : NONE;
    if (i != NONE) gr->nodes[i].closed = true;
}

static void account_object(graph *gr, uint32_t i) {
    PyObject *o = (PyObject *)(uintptr_t)gr->nodes[i].key;
    if (gr->nodes[i].closed || !has_references(o)) return;
    if (PyType_Check(o) || PyModule_Check(o)) {
        gr->nodes[i].closed = true;
        return;
    }
    if (PyFrame_Check(o)) return; /* frames may show references that they do not own, and so may generators */
    if (rm_pyrefs_is_generator(o)) {
        gr->refs.visit = account;
        rm_pyrefs_visit_generator(&gr->refs, o);
        return;
    }
    if (PyFunction_Check(o)) {
        close_node(gr, PyFunction_GET_GLOBALS(o));
        close_node(gr, ((PyFunctionObject *)o)->func_builtins);
    }
    Py_TYPE(o)->tp_traverse(o, account, gr);
    if (chan_check(gr->st, o)) visit_senders(gr, (py_chan *)o, account);
}

static void reach_object(graph *gr, const node *n) {
    PyObject *o = (PyObject *)(uintptr_t)n->key;
    if (n->closed || !has_references(o)) return;
    Py_TYPE(o)->tp_traverse(o, reach, gr);
    gr->refs.visit = reach;
    if (PyWeakref_Check(o)) reach(((PyWeakReference *)o)->wr_object, gr);
    else if (PyFrame_Check(o) || rm_pyrefs_is_generator(o)) rm_pyrefs_visit_locals(&gr->refs, o);
    else if (chan_check(gr->st, o)) visit_senders(gr, (py_chan *)o, reach);
}

/* ------------------------------------------------------------------ all of it ---- */

static bool add_g(rm_g *g, void *arg) {
    graph *gr = arg;
    if (!may_leak(g) || find(gr, g) != NONE) return true;
    uint32_t i = make(gr, g, 0);
    if (i != NONE) gr->nodes[i].is_g = true;
    return !gr->failed;
}

/* Of such a one all references count as foreign. */
static void add_timed(rm_g *g, void *arg) {
    graph *gr = arg;
    uint32_t i = make(gr, g, 0);
    if (i != NONE) gr->nodes[i].is_g = gr->nodes[i].reachable = gr->nodes[i].closed = true;
}

/* A weak reference from outside, or from what is reachable, is a way to it. */
static bool weakly_reachable(const graph *gr, PyObject *o) {
    Py_ssize_t at = Py_TYPE(o)->tp_weaklistoffset;
    PyWeakReference *r = at ? *(PyWeakReference **)((char *)o + at) : NULL;
    for (; r; r = r->wr_next)
        if (find(gr, r) == NONE) return true;
    return false;
}

static void look(void *arg) {
    graph *gr = arg;
    rm_rt *rt = gr->st->rt;
#if PY_VERSION_HEX < 0x030c0000
    if (Py_Version < 0x030b0200) return; /* it shows frames whose variables are being dropped already */
#endif
    if (!grow(gr)) return;
    rm_park_deadlines(&rt->p, add_timed, gr);
    rm_rt_each(rt, add_g, gr);
    uint32_t ngs = gr->n;
    for (uint32_t i = 0; i < ngs && !gr->failed; i++)
        if (!gr->nodes[i].closed) add_waits(gr, i);
    for (uint32_t i = 0; i < gr->n && !gr->failed; i++) {
        if (!gr->nodes[i].is_g) account_object(gr, i);
        else if (!gr->nodes[i].closed) visit_g(gr, gr->nodes[i].key, account);
    }
    gr->refs.match = match;
    for (uint32_t i = 0; i < ngs; i++)
        if (!gr->nodes[i].closed) rm_pyrefs_match(&gr->refs, gr->nodes[i].key);
    if (gr->failed || !(gr->todo = PyMem_RawMalloc((gr->n + 1) * sizeof *gr->todo))) {
        gr->failed = true;
        return;
    }
    for (uint32_t i = 0; i < gr->n; i++) {
        node *n = &gr->nodes[i];
        PyObject *o = (PyObject *)(uintptr_t)n->key;
        bool reachable = n->reachable || n->closed || (!n->is_g && (n->refs || weakly_reachable(gr, o)));
        n->reachable = false;
        if (reachable) reach_node(gr, i);
    }
    while (gr->ntodo) {
        const node *n = &gr->nodes[gr->todo[--gr->ntodo]];
        for (uint32_t w = n->waits; w; w = gr->waits[w - 1].next) reach_node(gr, gr->waits[w - 1].g);
        if (!n->is_g) reach_object(gr, n);
        else if (!n->closed) reach_g(gr, n->key);
    }
}

typedef struct found {
    rm_g *g;
    uint64_t id;
} found;

/* The leaked goroutines, an array to be freed; n: how many, or -1: out of memory. */
static found *find_leaked(core_state *st, Py_ssize_t *n) {
    graph *gr = PyMem_RawCalloc(1, sizeof *gr);
    found *list = NULL;
    *n = -1;
    if (!gr) return NULL;
    gr->st = st;
    gr->refs.arg = gr;
    gr->refs.waits_for = waits_for;
    gr->refs.args = args_of;
    gr->refs.fn = PyDict_GetItemString(PyModule_GetDict(st->module), "select"); /* borrowed */
    if (!rm_world_stopped(st, look, gr)) {
        PyErr_Clear();
        gr->failed = true;
    }
    if (!gr->failed && (list = PyMem_RawMalloc((gr->n + 1) * sizeof *list))) {
        *n = 0;
        for (uint32_t i = 0; i < gr->n && gr->nodes[i].is_g; i++) {
            rm_g *g = (rm_g *)(uintptr_t)gr->nodes[i].key;
            if (!gr->nodes[i].reachable) list[(*n)++] = (found){g, g->id};
        }
    }
    PyMem_RawFree(gr->nodes);
    PyMem_RawFree(gr->table);
    PyMem_RawFree(gr->waits);
    PyMem_RawFree(gr->todo);
    PyMem_RawFree(gr);
    return list;
}

/* ------------------------------------------------------------------ after a collection ---- */

#define CHEAP_NS (50 * RAMET_MILLISECOND)
#define SHARE 20 /* a look that was not cheap is followed by so many times its time without one */

static int64_t cpu_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * RAMET_SECOND + t.tv_nsec;
}

static void unwind_leaked(core_state *st) {
    if (st->leaks_next && rm_now() < st->leaks_next) return;
    int64_t begin = cpu_time();
    Py_ssize_t n;
    found *list = find_leaked(st, &n);
    for (Py_ssize_t i = 0; i < n; i++) {
        rm_fetch_or(&list[i].g->embed.pyflags, PYF_LEAKED);
        rm_g_cancel(st->rt, list[i].g, list[i].id);
    }
    PyMem_RawFree(list);
    int64_t took = cpu_time() - begin;
    st->leaks_next = took < CHEAP_NS ? 0 : rm_after(SHARE * took);
}

#ifdef Py_GIL_DISABLED
#define FULL 0 /* they all are */
#else
#define FULL 2
#endif

PyDoc_STRVAR(after_doc, "_leaks_after(phase, info, /)\n--\n\nCalled by the collector (gc.callbacks).");
static PyObject *leaks_after(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    core_state *st = core_of(module);
    if (nargs != 2 || !PyUnicode_Check(args[0]) || !PyDict_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "_leaks_after: a phase and a dict are needed");
    if (!st->rt || st->closed || st->forking || st->leaks_off || rm_rt_count(st->rt) <= 1) Py_RETURN_NONE;
    PyObject *generation = PyDict_GetItemString(args[1], "generation"); /* borrowed */
    int over;
    if (PyUnicode_CompareWithASCIIString(args[0], "stop") == 0 && generation && PyLong_CheckExact(generation) &&
        PyLong_AsLongAndOverflow(generation, &over) >= FULL)
        unwind_leaked(st);
    Py_RETURN_NONE;
}

void leaks_report(core_state *st, rm_g *g) {
    bool told = g->embed.pyflags & PYF_LEAK_TOLD;
    g->embed.pyflags = (g->embed.pyflags & ~(uint32_t)PYF_LEAKED) | PYF_LEAK_TOLD;
    if (told) return;
    PyObject *who = debug_as_waiting(st, g);
    PyObject *r = who ? PyObject_CallMethod(st->module, "_report_leak", "(O)", who) : NULL;
    if (!r) PyErr_WriteUnraisable(who ? PyTuple_GET_ITEM(who, 0) : NULL);
    Py_XDECREF(r);
    Py_XDECREF(who);
}

/* What is garbage may refer to anything, and counts as reachable until it has been collected. */
static int collect(core_state *st) {
    PyObject *gc = PyImport_ImportModule("gc");
    st->leaks_off++;
    PyObject *r = gc ? PyObject_CallMethod(gc, "collect", NULL) : NULL;
    st->leaks_off--;
    Py_XDECREF(gc);
    Py_XDECREF(r);
    return r ? 0 : -1;
}

PyDoc_STRVAR(leaks_doc, "_leaks()\n--\n\nThe leaked goroutines, after a full collection.");
static PyObject *core_leaks(PyObject *module, PyObject *u) {
    (void)u;
    core_state *st = core_of(module);
    if (!st->rt || rm_rt_count(st->rt) <= 1) return PyList_New(0);
    if (collect(st)) return NULL;
    if (!st->rt) return PyList_New(0); /* finalizers may do anything */
    Py_ssize_t n;
    found *leaked = find_leaked(st, &n);
    PyObject *list = n < 0 ? PyErr_NoMemory() : PyList_New(0);
    for (Py_ssize_t i = 0; list && i < n; i++) { /* making a handle may run any code */
        if (leaked[i].g->id != leaked[i].id) continue;
        PyObject *h = (PyObject *)goroutine_handle(st, leaked[i].g);
        if (!h || PyList_Append(list, h)) Py_CLEAR(list);
        Py_XDECREF(h);
    }
    PyMem_RawFree(leaked);
    return list;
}

static PyMethodDef functions[] = {
    {"_leaks", core_leaks, METH_NOARGS, leaks_doc},
    {"_leaks_after", (PyCFunction)(void (*)(void))leaks_after, METH_FASTCALL, after_doc},
    {NULL, NULL, 0, NULL},
};

int leaks_init(PyObject *module, core_state *st) {
    (void)st;
    return core_functions(module, functions);
}
