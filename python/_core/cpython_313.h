/* cpython_313.h: the fields of 3.13's thread state that belong to a goroutine. See cpython_state.h.
 *
 * The C limit goes by the stack's size: 3.13's trashcan nests up to it, at some 150 bytes a level. threading.local
 * goes by a key of the thread's, asyncio's running loop is a field. */
#include "internal/pycore_tstate.h"

#define RM_PY_HOT(X)                                                                                                   \
    X(struct _PyInterpreterFrame *, current_frame, ts->current_frame)                                                  \
    X(_PyStackChunk *, chunk, ts->datastack_chunk)                                                                     \
    X(PyObject **, chunk_top, ts->datastack_top)                                                                       \
    X(PyObject **, chunk_limit, ts->datastack_limit)                                                                   \
    X(_PyErr_StackItem *, exc_info, ts->exc_info)                                                                      \
    X(PyObject *, dict, ts->dict)                                                                                      \
    X(int, c_remaining, ts->c_recursion_remaining)

#define RM_PY_RARE(X)                                                                                                  \
    X(VAL, PyObject *, trash_later, ts->delete_later)                                                                  \
    X(VAL, PyObject *, executor, ts->previous_executor)                                                                \
    X(VAL, int, tracing, ts->tracing)                                                                                  \
    X(VAL, int, headroom, ts->recursion_headroom)                                                                      \
    X(VAL, int, origin_depth, ts->coroutine_origin_tracking_depth)                                                     \
    X(REF, PyObject *, agen_first, ts->async_gen_firstiter)                                                            \
    X(REF, PyObject *, agen_final, ts->async_gen_finalizer)                                                            \
    X(REF, PyObject *, local_key, ts->threading_local_key)                                                             \
    X(REF, PyObject *, local_sentinel, ts->threading_local_sentinel)                                                   \
    X(REF, PyObject *, running_loop, RM_PY_IMPL(ts)->asyncio_running_loop)

#define RM_PY_WHAT(ts) ((ts)->what_event)
#define RM_PY_LIMIT(ts) ((ts)->py_recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->py_recursion_remaining)
#define RM_PY_COUNTER(ts) ((ts)->c_recursion_remaining)
#define RM_PY_COUNTER_LEFT (Py_TRASHCAN_HEADROOM + 1) /* with less, emptying the trashcan would go on for ever */
#define RM_PY_C_LIMIT(bytes) ((int)((bytes) / 160) < Py_C_RECURSION_LIMIT ? (int)((bytes) / 160) : Py_C_RECURSION_LIMIT)
#define RM_PY_LOADED(ts) ((void)0)
#define RM_PY_HAS_IMPL 1
#define RM_PY_TRASH_CHAIN 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->current_exception)

#define RM_PY_SHIM(f) ((f)->owner == FRAME_OWNED_BY_CSTACK)
#define RM_PY_CODE(f) _PyFrame_GetCode(f)
#define RM_PY_VALUE(ref) (ref)
#define RM_PY_TRASH(ts) ((ts)->delete_later != NULL)

/* What of a frame is a reference. */
#define RM_PY_FUNC(f) ((f)->f_funcobj)
#define RM_PY_SLOT(ref) (ref)
