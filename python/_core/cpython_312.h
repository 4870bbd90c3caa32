/* cpython_312.h: the fields of 3.12's thread state that belong to a goroutine. See cpython_state.h.
 *
 * As in 3.11 (cframe, number), and C recursion has a counter of its own. */
#define RM_PY_HOT(X)                                                                                                   \
    X(_PyCFrame *, cframe, ts->cframe)                                                                                 \
    X(_PyStackChunk *, chunk, ts->datastack_chunk)                                                                     \
    X(PyObject **, chunk_top, ts->datastack_top)                                                                       \
    X(PyObject **, chunk_limit, ts->datastack_limit)                                                                   \
    X(_PyErr_StackItem *, exc_info, ts->exc_info)                                                                      \
    X(PyObject *, dict, ts->dict)                                                                                      \
    X(uint64_t, tsid, ts->id)                                                                                          \
    X(int, c_remaining, ts->c_recursion_remaining)

#define RM_PY_RARE(X)                                                                                                  \
    X(VAL, PyObject *, trash_later, ts->trash.delete_later)                                                            \
    X(VAL, int, trash_nesting, ts->trash.delete_nesting)                                                               \
    X(VAL, int, tracing, ts->tracing)                                                                                  \
    X(VAL, int, headroom, ts->recursion_headroom)                                                                      \
    X(VAL, int, origin_depth, ts->coroutine_origin_tracking_depth)                                                     \
    X(REF, PyObject *, agen_first, ts->async_gen_firstiter)                                                            \
    X(REF, PyObject *, agen_final, ts->async_gen_finalizer)

#define RM_PY_WHAT(ts) ((ts)->what_event)
#define RM_PY_LIMIT(ts) ((ts)->py_recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->py_recursion_remaining)
#define RM_PY_COUNTER(ts) ((ts)->c_recursion_remaining)
#define RM_PY_COUNTER_LEFT 0
#define RM_PY_C_LIMIT(bytes) ((bytes) / 300 < C_RECURSION_LIMIT ? (int)((bytes) / 300) : C_RECURSION_LIMIT)
#define RM_PY_LOADED(ts) ((void)0)
#define RM_PY_CFRAME 1
#define RM_PY_TSID 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->cframe->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->current_exception)

#define RM_PY_SHIM(f) ((f)->owner == FRAME_OWNED_BY_CSTACK)
#define RM_PY_CODE(f) ((f)->f_code)
#define RM_PY_VALUE(ref) (ref)
#define RM_PY_TRASH(ts) ((ts)->trash.delete_nesting)

/* What of a frame is a reference. */
#define RM_PY_FUNC(f) ((f)->f_funcobj)
#define RM_PY_SLOT(ref) (ref)
