/* cpython_315.h: the fields of 3.15's thread state that belong to a goroutine. See cpython_state.h.
 *
 * As in 3.14, and the frames of a thread end in one that stands in the thread state itself: every goroutine's do.
 *
 * An enabled JIT is refused: the trace that it records, in the thread, would go on in another goroutine. So its fields are
 * not moved, though where lazy_imports is depends on whether CPython has them: that is asked at run time.
 *
 * lazy_imports is the set of placeholders that the goroutine resolves, made when it is needed. CPython looks there for
 * circles and raises ImportCycleError for one: shared, it would do so for whoever needs what another one imports. An
 * empty one is dropped at a switch, or all of the goroutine's that follow would move the RARE fields. */
#include "internal/pycore_ceval.h"
#include "internal/pycore_interpframe.h"
#include "internal/pycore_pythonrun.h"
#include "internal/pycore_tstate.h"

#ifdef Py_GIL_DISABLED /* what the collector must see of this C stack */
#define RM_PY_STACK_REFS(X) X(VAL, struct _PyCStackRef *, stack_refs, RM_PY_IMPL(ts)->c_stack_refs)
#define RM_PY_LAZY_REF(X) /* nobody needs it: goroutines do not run there */
#else
#define RM_PY_STACK_REFS(X)
extern __attribute__((visibility("hidden"))) ptrdiff_t rm_pystate_lazy; /* where in a thread state */
#define RM_PY_LAZY(ts) (*(PyObject **)((char *)(ts) + rm_pystate_lazy))
#define RM_PY_LAZY_REF(X) X(REF, PyObject *, lazy, RM_PY_LAZY(ts))
#endif

#define RM_PY_HOT(X)                                                                                                   \
    X(struct _PyInterpreterFrame *, current_frame, ts->current_frame)                                                  \
    X(_PyStackChunk *, chunk, ts->datastack_chunk)                                                                     \
    X(PyObject **, chunk_top, ts->datastack_top)                                                                       \
    X(PyObject **, chunk_limit, ts->datastack_limit)                                                                   \
    X(_PyErr_StackItem *, exc_info, ts->exc_info)                                                                      \
    X(PyObject *, dict, ts->dict)                                                                                      \
    X(uintptr_t, c_stack_top, RM_PY_IMPL(ts)->c_stack_top)                                                             \
    X(uintptr_t, c_stack_soft, RM_PY_IMPL(ts)->c_stack_soft_limit)                                                     \
    X(uintptr_t, c_stack_hard, RM_PY_IMPL(ts)->c_stack_hard_limit)

#define RM_PY_RARE(X)                                                                                                  \
    X(VAL, PyObject *, trash_later, ts->delete_later)                                                                  \
    X(VAL, int, tracing, ts->tracing)                                                                                  \
    X(VAL, int, headroom, ts->recursion_headroom)                                                                      \
    X(VAL, int, origin_depth, ts->coroutine_origin_tracking_depth)                                                     \
    X(REF, PyObject *, agen_first, ts->async_gen_firstiter)                                                            \
    X(REF, PyObject *, agen_final, ts->async_gen_finalizer)                                                            \
    X(REF, PyObject *, local_key, ts->threading_local_key)                                                             \
    X(REF, PyObject *, local_sentinel, ts->threading_local_sentinel)                                                   \
    X(REF, PyObject *, running_loop, RM_PY_IMPL(ts)->asyncio_running_loop)                                             \
    X(REF, PyObject *, running_task, RM_PY_IMPL(ts)->asyncio_running_task)                                             \
    RM_PY_LAZY_REF(X)                                                                                                  \
    RM_PY_STACK_REFS(X)

#define RM_PY_WHAT(ts) ((ts)->what_event)
#define RM_PY_LIMIT(ts) ((ts)->py_recursion_limit)
#define RM_PY_REMAINING(ts) ((ts)->py_recursion_remaining)
#define RM_PY_LOADED(ts) ((void)0)
#define RM_PY_HAS_IMPL 1
#define RM_PY_STACK_LIMITS 1
#define RM_PY_TRASH_CHAIN 1
#define RM_PY_NO_JIT 1
/* A frame whose code has not been prepared for what is traced now must not go on: raising there, 3.15 reads what is
 * not there. CPython prepares the code of all running threads' frames when tracing begins, and has a number for that. */
#define RM_PY_TRACED(ts) ((ts)->eval_breaker & ~(uintptr_t)_PY_EVAL_EVENTS_MASK)
#define RM_PY_CURRENT_FRAME(ts) ((ts)->current_frame)
#define RM_PY_BASE_FRAME(ts) ((ts)->base_frame)
#define RM_PY_NO_EXCEPTION(ts) (!(ts)->current_exception)

#define RM_PY_SHIM(f) ((f)->owner >= FRAME_OWNED_BY_INTERPRETER)
#define RM_PY_CODE(f) _PyFrame_GetCode(f)
#define RM_PY_VALUE(ref) (PyStackRef_IsNullOrInt(ref) ? NULL : PyStackRef_AsPyObjectBorrow(ref))
#define RM_PY_TRASH(ts) ((ts)->delete_later != NULL)

/* What of a frame is a reference that it owns: a slot may have only borrowed it. */
#define RM_PY_FUNC(f) RM_PY_SLOT((f)->f_funcobj)
#define RM_PY_SLOT(ref)                                                                                                \
    (PyStackRef_IsNullOrInt(ref) || !PyStackRef_RefcountOnObject(ref) ? NULL : PyStackRef_AsPyObjectBorrow(ref))
