/* cpython_312.h: the fields of 3.12's thread state that belong to a goroutine. See cpython_state.h. */
#define RM_PY_FIELDS(X)                                                                                                \
    X(_PyCFrame *, cframe, cframe)                                                                                     \
    X(uint64_t, id, id)                                                                                                \
    X(int, what_event, what_event)                                                                                     \
    X(int, trash_nesting, trash.delete_nesting)                                                                        \
    X(int, c_remaining, c_recursion_remaining)

/* asyncio remembers its running loop, and contextvars a value, by the thread state's id. */
#define RM_PY_OWN_ID 1
#define RM_PY_LIMIT(ts) ((ts)->py_recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->py_recursion_remaining)
#define RM_PY_COUNTER(ts) ((ts)->c_recursion_remaining)
#define RM_PY_C_LIMIT(bytes) ((bytes) / 300 < C_RECURSION_LIMIT ? (int)((bytes) / 300) : C_RECURSION_LIMIT)
#define RM_PY_LOADED(ts) ((void)0)
#define RM_PY_CFRAME 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->cframe->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->current_exception)
