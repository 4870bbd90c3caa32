/* cpython_314.h: the fields of 3.14's thread state that belong to a goroutine. See cpython_state.h.
 *
 * 3.14 checks the stack pointer itself: with the limits of the goroutine's own stack in place, whatever
 * CPython counts becomes a RecursionError. */
#include "internal/pycore_interpframe.h"
#include "internal/pycore_pythonrun.h"
#include "internal/pycore_tstate.h"

#define RM_PY_IMPL(ts) ((_PyThreadStateImpl *)(ts))
#define RM_PY_FIELDS(X)                                                                                                \
    X(struct _PyInterpreterFrame *, current_frame, current_frame)                                                      \
    X(int, what_event, what_event)                                                                                     \
    X(PyObject *, delete_later, delete_later)                                                                          \
    X(PyObject *, local_key, threading_local_key)                                                                      \
    X(PyObject *, local_sentinel, threading_local_sentinel)                                                            \
    X(PyObject *, executor, current_executor)

#define RM_PY_IMPL_FIELDS(X)                                                                                           \
    X(uintptr_t, c_stack_top, c_stack_top)                                                                             \
    X(uintptr_t, c_stack_soft, c_stack_soft_limit)                                                                     \
    X(uintptr_t, c_stack_hard, c_stack_hard_limit)                                                                     \
    X(PyObject *, running_loop, asyncio_running_loop)                                                                  \
    X(PyObject *, running_task, asyncio_running_task)

#define RM_PY_LIMIT(ts) ((ts)->py_recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->py_recursion_remaining)
#define RM_PY_LOADED(ts) ((void)0)
#define RM_PY_LOCAL_KEY 1
#define RM_PY_STACK_LIMITS 1
#define RM_PY_CURRENT_FRAME(ts) ((ts)->current_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->current_exception)
