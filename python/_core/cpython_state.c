/* cpython_state.c: see cpython_state.h. */
#include "cpython_state.h"

#ifdef RM_PY_HAS_IMPL
#include "internal/pycore_runtime.h"
#endif
#ifdef RM_PY_TRACED
#include "internal/pycore_code.h"
#endif

#include "park.h"
#include "yellow.h"

/* ------------------------------------------------------------------ setup ---- */

#ifdef RM_PY_HAS_IMPL
ptrdiff_t rm_pystate_shift;
#endif

#ifdef RM_PY_NO_JIT
static int jit_says(const char *method) {
    PyObject *jit = PySys_GetObject("_jit"); /* borrowed */
    PyObject *answer = jit ? PyObject_CallMethod(jit, method, NULL) : Py_NewRef(Py_False);
    int yes = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return yes;
}

static int refuse_jit(void) {
    int yes = jit_says("is_enabled");
    if (yes > 0)
        PyErr_SetString(PyExc_ImportError,
                        "ramet does not run with CPython's JIT enabled, which keeps in the thread what "
                        "belongs to one goroutine: set PYTHON_JIT=0");
    return yes ? -1 : 0;
}
#else
static int refuse_jit(void) { return 0; }
#endif

#ifdef RM_PY_LAZY
ptrdiff_t rm_pystate_lazy;

/* With a JIT, on or off, a pointer to its tracer stands in front. */
static int find_lazy(void) {
    int with_jit = jit_says("is_available");
    if (with_jit < 0) return -1;
    ptrdiff_t at = rm_pystate_shift + (ptrdiff_t)offsetof(_PyThreadStateImpl, lazy_imports);
#ifndef _Py_TIER2
    if (with_jit) at += (ptrdiff_t)sizeof(void *);
#endif
    if (rm_pystate_lazy != at) rm_pystate_lazy = at; /* other interpreters may be reading it */
    return 0;
}

/* Nothing of anybody's runs when it is dropped. */
static void drop_empty_lazy(PyThreadState *ts) {
    PySetObject *set = (PySetObject *)RM_PY_LAZY(ts);
    if (set && !PySet_GET_SIZE(set) && Py_REFCNT(set) == 1 && !set->weakreflist) Py_CLEAR(RM_PY_LAZY(ts));
}
#else
static int find_lazy(void) { return 0; }
static void drop_empty_lazy(PyThreadState *ts) { (void)ts; }
#endif

int rm_pystate_setup(PyThreadState *ts) {
    (void)ts;
    bool known = true;
#ifdef RM_PY_HAS_IMPL
    ptrdiff_t shift = (ptrdiff_t)_PyRuntime.debug_offsets.thread_state.size - (ptrdiff_t)sizeof(PyThreadState);
    known = shift % (ptrdiff_t)sizeof(void *) == 0 && shift >= -64 && shift <= 256;
    if (known && rm_pystate_shift != shift) rm_pystate_shift = shift; /* other interpreters may be reading it */
#ifdef RM_PY_STACK_LIMITS
    if (known) { /* whether these are what we think can be seen */
        _PyThreadStateImpl *impl = RM_PY_IMPL(ts);
        known = impl->c_stack_hard_limit < impl->c_stack_soft_limit && impl->c_stack_soft_limit < impl->c_stack_top;
#ifdef RM_PY_NO_JIT
        known = known && ts->base_frame == &impl->base_frame;
#endif
    }
#endif
#endif
    if (known) return refuse_jit() || find_lazy() ? -1 : 0;
    PyErr_Format(
        PyExc_ImportError,
        "ramet._core was built for CPython %s and does not know the thread state of this one (%s): build it again",
        PY_VERSION, Py_GetVersion());
    return -1;
}

/* ------------------------------------------------------------------ moving ---- */

rm_noinline void rm_pystate_save_rare(rm_pystate *s, PyThreadState *ts) {
    drop_empty_lazy(ts);
#define X(kind, type, name, place)                                                                                     \
    s->name = place;                                                                                                   \
    place = 0;
    RM_PY_RARE(X)
#undef X
    s->what = RM_PY_WHAT(ts);
    if (s->tracing) RM_PY_WHAT(ts) = -1;
    s->rare = true;
}

rm_noinline void rm_pystate_load_rare(rm_pystate *s, PyThreadState *ts) {
#define X(kind, type, name, place) place = s->name;
    RM_PY_RARE(X)
#undef X
    if (s->tracing) RM_PY_WHAT(ts) = s->what;
    s->rare = false;
}

#ifdef RM_PY_TRACED
rm_noinline void rm_pystate_load_traced(PyThreadState *ts) {
    for (struct _PyInterpreterFrame *f = RM_PY_CURRENT_FRAME(ts); f; f = f->previous)
        if (!RM_PY_SHIM(f) && _Py_Instrument(RM_PY_CODE(f), ts->interp)) PyErr_Clear(); /* no memory */
}
#endif

#ifdef RM_PY_TSID
/* Interpreters with a GIL of their own count here too. */
static uint64_t next_tsid = UINT64_C(1) << 62;
#endif

void rm_pystate_init(rm_pystate *s, PyThreadState *ts, void *chunk, size_t chunk_bytes, char *lo, char *hi,
                     PyObject *context) {
    rm_assert((uintptr_t)chunk % 16 == 0);
    memset(s, 0, sizeof *s);
    _PyStackChunk *c = chunk;
    c->previous = NULL;
    c->size = chunk_bytes;
    c->top = 0;
    s->chunk = s->root = c;
    s->chunk_top = &c->data[1]; /* never &data[0]: popping a frame there frees the chunk */
    s->chunk_limit = (PyObject **)((char *)c + chunk_bytes);
    s->exc_info = &s->exc_base;
    s->context = context;
#ifdef RM_PY_CFRAME
    s->base.previous = &ts->root_cframe;
    s->cframe = &s->base;
#else
    s->current_frame = RM_PY_BASE_FRAME(ts);
#endif
#ifdef RM_PY_TSID
    s->tsid = __atomic_fetch_add(&next_tsid, 1, __ATOMIC_RELAXED);
#endif
#ifdef RM_PY_C_LIMIT
    s->c_remaining = RM_PY_C_LIMIT((size_t)(hi - lo));
#endif
#ifdef RM_PY_STACK_LIMITS
    s->c_stack_top = (uintptr_t)hi;
    s->c_stack_hard = (uintptr_t)lo + _PyOS_STACK_MARGIN_BYTES;
    s->c_stack_soft = s->c_stack_hard + _PyOS_STACK_MARGIN_BYTES;
#endif
    (void)ts, (void)lo, (void)hi;
}

static const _PyStackChunk *root_of(const _PyStackChunk *chunk) {
    while (chunk && chunk->previous) chunk = chunk->previous;
    return chunk;
}

rm_noinline bool rm_pystate_other_root(const rm_pystate *s, const _PyStackChunk *chunk) {
    return s->root && root_of(chunk) != s->root;
}

void rm_pystate_adopt(rm_pystate *s, PyThreadState *ts) { s->root = (_PyStackChunk *)root_of(ts->datastack_chunk); }

void rm_pystate_begin(rm_pystate *s, PyThreadState *ts) { rm_pystate_load(s, ts); }

/* Drop what the goroutine owns in the thread state; whether there was anything. */
static bool drop_all(rm_pystate *s, PyThreadState *ts) {
    bool any = false;
#define CLEAR(place)                                                                                                   \
    if (place) {                                                                                                       \
        any = true;                                                                                                    \
        Py_CLEAR(place);                                                                                               \
    }
#define DROP_VAL(place)
#define DROP_REF(place) CLEAR(place)
#define X(kind, type, name, place) DROP_##kind(place)
    RM_PY_RARE(X)
#undef X
    CLEAR(ts->dict)
    CLEAR(s->exc_base.exc_value) /* 3.11 leaves a None here */
    if (ts->context) {
        any = true;
        ts->context_ver++;
        Py_CLEAR(ts->context);
    }
#ifdef RM_PY_TRASH_CHAIN /* 3.13 and later may leave some to the next dealloc of this thread, which is now */
    if (ts->delete_later) {
        any = true;
        _PyTrash_thread_destroy_chain(ts);
    }
#endif
#undef CLEAR
    return any;
}

void rm_pystate_end(rm_pystate *s, PyThreadState *ts) {
    rm_g *g = rm_container_of(s, rm_g, embed.py);
    rm_assert(RM_PY_NO_EXCEPTION(ts));
    /* what is dropped may run code that makes new ones: threads leak them then, and so do we, some time */
    for (int i = 0; i < 8 && drop_all(s, ts); i++);
    if (rm_unlikely(g->embed.pyflags & PYF_YELLOW)) rm_yellow_close(g, ts);
#define LEAVE_VAL(place) place = 0;
#define LEAVE_REF(place)
#define X(kind, type, name, place) LEAVE_##kind(place)
    RM_PY_RARE(X) /* zero in the thread state for whoever comes next */
#undef X
    rm_assert(!ts->datastack_chunk->previous && ts->datastack_top == &ts->datastack_chunk->data[1]);
    rm_assert(ts->exc_info == &s->exc_base && RM_PY_CURRENT_FRAME(ts) == RM_PY_BASE_FRAME(ts));
    /* until the next goroutine loads its own, in the idle loop maybe, others may look at this thread */
    ts->exc_info = &ts->exc_state;
#ifdef RM_PY_CFRAME
    ts->cframe = &ts->root_cframe;
#endif
}

/* ------------------------------------------------------------------ frames ---- */

static bool shown(struct _PyInterpreterFrame *f) { return !RM_PY_SHIM(f) && !_PyFrame_IsIncomplete(f); }

static rm_pyplace place_of(struct _PyInterpreterFrame *f) {
    return (rm_pyplace){(PyCodeObject *)Py_NewRef(RM_PY_CODE(f)),
                        _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT)};
}

rm_pyplace rm_pystate_place(PyThreadState *ts) {
    for (struct _PyInterpreterFrame *f = RM_PY_CURRENT_FRAME(ts); f; f = f->previous)
        if (shown(f)) return place_of(f);
    return (rm_pyplace){NULL, 0};
}

PyObject *rm_pyplace_tuple(rm_pyplace place) {
    PyCodeObject *code = place.code;
    if (!code) Py_RETURN_NONE;
    int line = PyCode_Addr2Line(code, place.lasti);
    return Py_BuildValue("(OiO)", code->co_filename, line < 0 ? code->co_firstlineno : line, code->co_name);
}

typedef struct stack_of {
    rm_g *g;
    uint64_t id;
    rm_pyplace *places;
    Py_ssize_t n; /* -1: no memory */
} stack_of;

static void read_stack(void *arg) {
    stack_of *s = arg;
    rm_g *g = s->g;
    if (g->id != s->id) return; /* it has ended */
    PyThreadState *ts = g->p->embed_tstate;
    struct _PyInterpreterFrame *top, *f;
    if (g->state == RM_RUNNING) top = RM_PY_CURRENT_FRAME(ts);
    else top = RM_PY_CURRENT_FRAME(&g->embed.py);
    Py_ssize_t n = 0;
    for (f = top; f; f = f->previous) n += shown(f);
    s->n = -1;
    if (!(s->places = PyMem_RawMalloc((size_t)(n + 1) * sizeof *s->places))) return;
    s->n = 0;
    for (f = top; f; f = f->previous)
        if (shown(f)) s->places[s->n++] = place_of(f);
}

/* Making objects may run the collector, and that a finalizer, and that the very goroutine we look at: so all that
 * is needed is taken from the frames first. Frames that run in another thread stand still only with the world. */
PyObject *rm_pystate_frames(struct rm_g *g) {
    if (!g->p || g->fresh) return PyList_New(0);
    stack_of s = {g, g->id, NULL, 0};
    if (g->state != RM_RUNNING || PyThreadState_Get() == g->p->embed_tstate) read_stack(&s);
    else if (!rm_world_stopped(g->p->rt->embedder, read_stack, &s)) return NULL;
    PyObject *list = s.n < 0 ? PyErr_NoMemory() : PyList_New(s.n);
    for (Py_ssize_t i = 0; list && i < s.n; i++) {
        PyObject *t = rm_pyplace_tuple(s.places[i]);
        if (t) PyList_SET_ITEM(list, i, t);
        else Py_CLEAR(list);
    }
    for (Py_ssize_t i = 0; i < s.n; i++) Py_DECREF(s.places[i].code);
    PyMem_RawFree(s.places);
    return list;
}
