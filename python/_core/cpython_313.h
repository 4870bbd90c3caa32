/* cpython_313.h: the fields of 3.13's thread state that belong to a goroutine. See cpython_state.h.
 *
 * The C limit goes by the stack's size: 3.13's trashcan nests up to it, at some 150 bytes a level. */
#include "internal/pycore_tstate.h"

#define RM_PY_IMPL(ts) ((_PyThreadStateImpl *)(ts))
#define RM_PY_FIELDS(X)                                                                                                \
    X(struct _PyInterpreterFrame *, current_frame, current_frame)                                                      \
    X(int, what_event, what_event)                                                                                     \
    X(int, c_remaining, c_recursion_remaining)                                                                         \
    X(PyObject *, delete_later, delete_later)                                                                          \
    X(PyObject *, local_key, threading_local_key)                                                                      \
    X(PyObject *, local_sentinel, threading_local_sentinel)

#define RM_PY_IMPL_FIELDS(X) X(PyObject *, running_loop, asyncio_running_loop)

#define RM_PY_LIMIT(ts) ((ts)->py_recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->py_recursion_remaining)
#define RM_PY_COUNTER(ts) ((ts)->c_recursion_remaining)
#define RM_PY_C_LIMIT(bytes) ((int)((bytes) / 160))
#define RM_PY_LOADED(ts) ((void)0)
#define RM_PY_LOCAL_KEY 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->current_exception)
