/* cpython_311.h: the fields of 3.11's thread state that belong to a goroutine. See cpython_state.h.
 *
 * The current frame hangs on a _PyCFrame of the running eval loop's, on the goroutine's C stack.
 *
 * A goroutine has a thread state number of its own: _asyncio caches the running loop, borrowed from ts->dict, under that
 * number, and would hand it to the next goroutine, or use it when its dict is gone. */
#define RM_PY_HOT(X)                                                                                                   \
    X(_PyCFrame *, cframe, ts->cframe)                                                                                 \
    X(_PyStackChunk *, chunk, ts->datastack_chunk)                                                                     \
    X(PyObject **, chunk_top, ts->datastack_top)                                                                       \
    X(PyObject **, chunk_limit, ts->datastack_limit)                                                                   \
    X(_PyErr_StackItem *, exc_info, ts->exc_info)                                                                      \
    X(PyObject *, dict, ts->dict)                                                                                      \
    X(uint64_t, tsid, ts->id)

#define RM_PY_RARE(X)                                                                                                  \
    X(VAL, PyObject *, trash_later, ts->trash_delete_later)                                                            \
    X(VAL, int, trash_nesting, ts->trash_delete_nesting)                                                               \
    X(VAL, int, tracing, ts->tracing)                                                                                  \
    X(VAL, int, headroom, ts->recursion_headroom)                                                                      \
    X(VAL, int, origin_depth, ts->coroutine_origin_tracking_depth)                                                     \
    X(REF, PyObject *, agen_first, ts->async_gen_firstiter)                                                            \
    X(REF, PyObject *, agen_final, ts->async_gen_finalizer)

#define RM_PY_WHAT(ts) ((ts)->tracing_what)
#define RM_PY_LIMIT(ts) ((ts)->recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->recursion_remaining)
#define RM_PY_COUNTER RM_PY_REMAINING /* what the yellow zone sets to 0 */
#define RM_PY_COUNTER_LEFT 0

/* Tracing may have been switched on or off since it was saved. And the limit may have been set far below the depth:
 * then an error, where 3.11 would give up ("cannot recover"). While 3.11 makes a RecursionError (headroom), it may
 * itself have counted to 50 below zero, and counts back. */
#define RM_PY_LOADED(ts)                                                                                               \
    do {                                                                                                               \
        (ts)->cframe->use_tracing = ((ts)->c_tracefunc || (ts)->c_profilefunc) && !(ts)->tracing ? 255 : 0;            \
        if (rm_unlikely((ts)->recursion_remaining < ((ts)->recursion_headroom ? -50 : 0)))                             \
            (ts)->recursion_remaining = 0;                                                                             \
    } while (0)
#define RM_PY_CFRAME 1
#define RM_PY_TSID 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->cframe->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->curexc_type)

#define RM_PY_SHIM(f) false
#define RM_PY_CODE(f) ((f)->f_code)
#define RM_PY_VALUE(ref) (ref)
#define RM_PY_TRASH(ts) ((ts)->trash_delete_nesting)

/* What of a frame is a reference. */
#define RM_PY_FUNC(f) ((PyObject *)(f)->f_func)
#define RM_PY_SLOT(ref) (ref)
