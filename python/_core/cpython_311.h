/* cpython_311.h: the fields of 3.11's thread state that belong to a goroutine. See cpython_state.h. */
#define RM_PY_FIELDS(X)                                                                                                \
    X(_PyCFrame *, cframe, cframe)                                                                                     \
    X(uint64_t, id, id)                                                                                                \
    X(int, tracing_what, tracing_what)                                                                                 \
    X(int, trash_nesting, trash_delete_nesting)

/* asyncio remembers its running loop, and contextvars a value, by the thread state's id. */
#define RM_PY_OWN_ID 1
#define RM_PY_LIMIT(ts) ((ts)->recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->recursion_remaining)
#define RM_PY_COUNTER RM_PY_REMAINING /* what the yellow zone sets to 0 */

/* Tracing may have been switched on or off since it was saved. And the limit may have been set far below the depth:
 * then an error, where 3.11 would give up ("cannot recover"). */
#define RM_PY_LOADED(ts)                                                                                               \
    do {                                                                                                               \
        (ts)->cframe->use_tracing = ((ts)->c_tracefunc || (ts)->c_profilefunc) && !(ts)->tracing ? 255 : 0;            \
        if (rm_unlikely((ts)->recursion_remaining < 0)) (ts)->recursion_remaining = 0;                                 \
    } while (0)
#define RM_PY_CFRAME 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->cframe->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->curexc_type)
