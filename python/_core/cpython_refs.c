/* cpython_refs.c: see cpython_refs.h. */
#include "cpython_refs.h"

#include "park.h"
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_genobject.h"
#endif

typedef struct _PyInterpreterFrame frame;

static void visit(rm_pyrefs *r, PyObject *o) {
    if (o) r->visit(o, r->arg);
}

static bool complete(frame *f) { return !RM_PY_SHIM(f) && !_PyFrame_IsIncomplete(f); }

static frame *frame_of(PyObject *generator) {
#if PY_VERSION_HEX >= 0x030e0000
    return &((PyGenObject *)generator)->gi_iframe;
#else
    return (frame *)((PyGenObject *)generator)->gi_iframe;
#endif
}

static void visit_slots(rm_pyrefs *r, frame *f, int from, int to) {
    for (int i = from; i < to; i++) visit(r, RM_PY_SLOT(f->localsplus[i]));
}

/* ------------------------------------------------------------------ the evaluation stack ---- */

#if PY_VERSION_HEX < 0x030e0000

static rm_pydepth depth_of(rm_pyrefs *r, frame *f) {
    int lasti = _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT);
    const void *instruction = (char *)_PyCode_CODE(RM_PY_CODE(f)) + lasti;
    size_t i = (uintptr_t)instruction / sizeof(_Py_CODEUNIT) % (sizeof r->cache / sizeof *r->cache);
    if (r->cache[i].instruction != instruction) {
        r->cache[i].depth = rm_pydepth_at(RM_PY_CODE(f), lasti);
        r->cache[i].instruction = instruction;
    }
    return r->cache[i].depth;
}

static PyObject **base_of(frame *f) { return f->localsplus + RM_PY_CODE(f)->co_nlocalsplus; }

/* The tuple that CALL_FUNCTION_EX has made of the arguments, if it has; only the eval loop knows it. Anybody may call
 * with any array of them, but hardly with one behind a tuple's head. */
static PyObject *tuple_around(PyObject *const *args, Py_ssize_t n) {
    PyObject *t = (PyObject *)rm_container_of(args, PyTupleObject, ob_item);
    return PyTuple_CheckExact(t) && PyTuple_GET_SIZE(t) == n ? t : NULL;
}

/* `with lock:` has bound methods __enter__ and __exit__ in hand while it calls the former; 3.11 has the latter on the
 * stack. Only of types whose methods cannot be replaced. */
static PyObject *entered(rm_pyrefs *r, const rm_g *g, PyObject *top) {
#if PY_VERSION_HEX < 0x030c0000
    top = PyCFunction_CheckExact(top) ? PyCFunction_GET_SELF(top) : NULL;
#endif
    return top && r->waits_for(r->arg, g, top) && Py_TYPE(top)->tp_flags & Py_TPFLAGS_IMMUTABLETYPE ? top : NULL;
}

/* Whether what g waits for is an operand of the instruction. */
static bool under_way(rm_pyrefs *r, const rm_g *g, frame *f, rm_pydepth d) {
    if (d.op == RM_PYOP_WITH) return entered(r, g, base_of(f)[d.below]) != NULL;
    if (d.op != RM_PYOP_CALL && d.op != RM_PYOP_ITERATE) return false;
    for (PyObject **p = base_of(f) + d.below; p < base_of(f) + d.all; p++)
        if (*p && r->waits_for(r->arg, g, *p)) return true;
    return false;
}

/* Of the innermost frame, which calls C code: not always its instruction's. That may have failed, and a value that is
 * dropped have a destructor in C that waits; then what was above the value is gone and must not be looked at. So the
 * arguments that g waits with have to be these very slots. */
static void visit_calling(rm_pyrefs *r, const rm_g *g, frame *f) {
    Py_ssize_t n;
    PyObject *const *args = r->args(g, &n);
    int locals = RM_PY_CODE(f)->co_nlocalsplus;
    rm_pydepth d = depth_of(r, f);
    PyObject **from = base_of(f) + d.below;
    if (!args) {
        if (under_way(r, g, f, d)) visit_slots(r, f, locals, locals + d.below);
    } else if (d.op == RM_PYOP_CALL && args == from + 2) {
        visit_slots(r, f, locals, locals + d.all);
    } else if (d.op == RM_PYOP_CALL_TUPLE && d.all - d.below == 3 && n >= 0 && r->fn &&
               (from[0] == r->fn || from[1] == r->fn)) {
        PyObject *tuple = tuple_around(args, n);
        visit(r, tuple);
        if (tuple) visit_slots(r, f, locals, locals + d.below);
    }
}

static void visit_stack(rm_pyrefs *r, const rm_g *g, frame *f, frame *inner) {
    if (f->stacktop >= 0) { /* it has called Python code: the eval loop has noted it */
        visit_slots(r, f, RM_PY_CODE(f)->co_nlocalsplus, f->stacktop);
    } else if (!inner) {
        visit_calling(r, g, f);
    } else if (inner->owner == FRAME_OWNED_BY_GENERATOR) { /* it is an operand: a loop goes on in there */
        rm_pydepth d = depth_of(r, f);
        PyObject *running = (PyObject *)_PyFrame_GetGenerator(inner);
        for (PyObject **p = base_of(f) + d.below; p < base_of(f) + d.all; p++)
            if (*p == running) visit(r, running);
    }
}

void rm_pyrefs_match(rm_pyrefs *r, const struct rm_g *g) {
    Py_ssize_t n;
    frame *f = RM_PY_CURRENT_FRAME(&g->embed.py);
    while (f && RM_PY_SHIM(f)) f = f->previous;
    if (!f || !complete(f) || f->stacktop >= 0 || r->args(g, &n)) return;
    rm_pydepth d = depth_of(r, f);
    if (!under_way(r, g, f, d)) return;
    if (d.op == RM_PYOP_WITH) {
        PyObject *lock = entered(r, g, base_of(f)[d.below]);
        for (int held = 2; held--;) r->match(lock, r->arg);
    } else {
        for (PyObject **p = base_of(f) + d.below; p < base_of(f) + d.all; p++)
            if (*p) r->match(*p, r->arg);
    }
}

static int known_top(frame *f) { return f->stacktop; }

#else

static int known_top(frame *f) { return f->stackpointer ? (int)(f->stackpointer - f->localsplus) : 0; }

static void visit_stack(rm_pyrefs *r, const rm_g *g, frame *f, frame *inner) {
    (void)g, (void)inner;
    visit_slots(r, f, RM_PY_CODE(f)->co_nlocalsplus, known_top(f));
}

void rm_pyrefs_match(rm_pyrefs *r, const struct rm_g *g) { (void)r, (void)g; }

#endif

/* ------------------------------------------------------------------ frames ---- */

static void visit_fields(rm_pyrefs *r, frame *f) {
    visit(r, (PyObject *)f->frame_obj);
    visit(r, f->f_locals);
    visit(r, RM_PY_FUNC(f));
}

void rm_pyrefs_visit(rm_pyrefs *r, const struct rm_g *g) {
    const rm_pystate *s = &g->embed.py;
    visit(r, s->context);
    visit(r, s->dict);
    visit(r, s->exc_base.exc_value);
#define VISIT_VAL(name)
#define VISIT_REF(name) visit(r, s->name);
#define X(kind, type, name, place) VISIT_##kind(name)
    if (s->rare) {
        RM_PY_RARE(X)
    }
#undef X
    frame *inner = NULL;
    for (frame *f = RM_PY_CURRENT_FRAME(s); f; f = f->previous) {
        if (!complete(f)) continue;
        visit_fields(r, f);
        visit_slots(r, f, 0, RM_PY_CODE(f)->co_nlocalsplus);
        visit_stack(r, g, f, inner);
        inner = f;
    }
}

static void visit_suspended(rm_pyrefs *r, frame *f) {
    visit_fields(r, f);
    visit_slots(r, f, 0, known_top(f));
}

frame *rm_pyrefs_suspended(PyObject *generator) {
    int state = ((PyGenObject *)generator)->gi_frame_state;
    return state < FRAME_CLEARED && state != FRAME_EXECUTING ? frame_of(generator) : NULL;
}

void rm_pyrefs_visit_generator(rm_pyrefs *r, PyObject *o) {
    frame *f = rm_pyrefs_suspended(o);
    visit(r, ((PyGenObject *)o)->gi_exc_state.exc_value);
    if (f) visit_suspended(r, f);
}

void rm_pyrefs_visit_locals(rm_pyrefs *r, PyObject *o) {
    frame *f;
    if (PyFrame_Check(o)) f = ((PyFrameObject *)o)->f_frame;
    else if (((PyGenObject *)o)->gi_frame_state < FRAME_CLEARED) f = frame_of(o);
    else return;
    if (!complete(f)) return;
    visit_fields(r, f);
    visit_slots(r, f, 0, RM_PY_CODE(f)->co_nlocalsplus);
}
