/* cpython_state.c: see cpython_state.h. */
#include "cpython_state.h"

#include "park.h"
#include "yellow.h"

void rm_pystate_init(rm_pystate *s, PyThreadState *ts, void *chunk, size_t chunk_bytes, char *lo, char *hi,
                     PyObject *context) {
    memset(s, 0, sizeof *s);
    _PyStackChunk *c = chunk;
    c->previous = NULL;
    c->size = chunk_bytes;
    c->top = 0;
    s->chunk = c;
#ifdef RM_PY_OWN_ID
    static uint64_t ids;
    s->id = ++ids | (uint64_t)1 << 63;
#endif
    s->chunk_top = &c->data[1]; /* never &data[0]: popping a frame there frees the chunk */
    s->chunk_limit = (PyObject **)((char *)c + chunk_bytes);
    s->exc_info = &s->exc_base;
    s->context = context;
#ifdef RM_PY_CFRAME
    s->base.previous = &ts->root_cframe;
    s->cframe = &s->base;
#endif
#if PY_VERSION_HEX < 0x030c0000
    s->tracing_what = -1;
#else
    s->what_event = -1;
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

void rm_pystate_begin(rm_pystate *s, PyThreadState *ts) { rm_pystate_load(s, ts); }

/* What is dropped may run code that makes some of it anew: as often as that happens, within reason. */
static bool drop(PyThreadState *ts) {
    bool any = ts->dict || ts->context;
    Py_CLEAR(ts->dict);
#ifdef RM_PY_LOCAL_KEY /* threading.local drops a thread's values with these */
    any |= ts->threading_local_key || ts->threading_local_sentinel;
    Py_CLEAR(ts->threading_local_key);
    Py_CLEAR(ts->threading_local_sentinel);
#endif
#ifdef RM_PY_IMPL_FIELDS
    Py_CLEAR(RM_PY_IMPL(ts)->asyncio_running_loop);
#if PY_VERSION_HEX >= 0x030e0000
    Py_CLEAR(RM_PY_IMPL(ts)->asyncio_running_task);
#endif
#endif
    Py_CLEAR(ts->context);
    ts->context_ver++;
#ifdef RM_PY_LOCAL_KEY
    if (ts->delete_later) { /* put off because the stack was nearly full */
        _PyTrash_thread_destroy_chain(ts);
        any = true;
    }
#endif
    return any;
}

void rm_pystate_end(rm_pystate *s, PyThreadState *ts) {
    rm_g *g = rm_g_self();
    Py_CLEAR(s->exc_base.exc_value); /* 3.11 leaves a None here */
    for (int i = 0; drop(ts) && i < 8; i++)
        ;
    Py_CLEAR(s->exc_base.exc_value);
    if (g->embed.pyflags & PYF_YELLOW) rm_yellow_close(g, ts);
    rm_assert(!ts->datastack_chunk->previous);
    rm_assert(ts->exc_info == &s->exc_base);
}

static bool skip(struct _PyInterpreterFrame *f) {
#if PY_VERSION_HEX >= 0x030e0000
    if (f->owner >= FRAME_OWNED_BY_INTERPRETER) return true;
#elif PY_VERSION_HEX >= 0x030c0000
    if (f->owner == FRAME_OWNED_BY_CSTACK) return true;
#endif
    return _PyFrame_IsIncomplete(f);
}

PyObject *rm_pystate_frames(struct rm_g *g) {
    PyThreadState *ts = g->p->embed_tstate;
    PyObject *list = PyList_New(0);
    struct _PyInterpreterFrame *f;
    if (!list || g->fresh) return list;
    if (g->state == RM_RUNNING)
        f = RM_PY_CURRENT_FRAME(ts);
    else
        f = RM_PY_CURRENT_FRAME(&g->embed.py);
    for (; f; f = f->previous) {
        if (skip(f)) continue;
#if PY_VERSION_HEX >= 0x030d0000
        PyCodeObject *code = _PyFrame_GetCode(f);
#else
        PyCodeObject *code = f->f_code;
#endif
        int line = PyCode_Addr2Line(code, _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT));
        PyObject *t = Py_BuildValue("(OiO)", code->co_filename, line, code->co_name);
        if (!t || PyList_Append(list, t)) {
            Py_XDECREF(t);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(t);
    }
    return list;
}
