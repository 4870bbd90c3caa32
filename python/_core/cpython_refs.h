/* cpython_refs.h: the references that a parked goroutine owns in its thread state and its frames.
 *
 * None that it does not own is told; what cannot be known exactly is left out: what C functions on its stack hold, and,
 * before 3.14, operands of instructions under way. Nothing here runs Python code or changes anything. */
#ifndef RM_CPYTHON_REFS_H
#define RM_CPYTHON_REFS_H

#include "cpython_state.h"

struct rm_g;

/* Of a place in the code: what kind of instruction is under way there, how many values are on the evaluation stack
 * below its operands, and how many with them. */
typedef struct rm_pydepth {
    enum { RM_PYOP_UNKNOWN, RM_PYOP_CALL, RM_PYOP_CALL_NAMES, RM_PYOP_CALL_TUPLE, RM_PYOP_ITERATE, RM_PYOP_WITH } op;
    int below, all;
} rm_pydepth;

/* 3.11-3.13. lasti: bytes. */
rm_pydepth rm_pydepth_at(PyCodeObject *code, int lasti);

typedef struct rm_pyrefs {
    visitproc visit; /* called for what is owned */
    visitproc match; /* called for what is owned if it is an object that is known, and may be gone if it is not */
    void *arg;
    /* Whether o, which may be gone, is what g waits for, or its method. */
    bool (*waits_for)(void *arg, const struct rm_g *g, const void *o);
    /* The arguments of the call that g waits in, or NULL: not known. How many, if it is a call of fn, or -1. */
    PyObject *const *(*args)(const struct rm_g *g, Py_ssize_t *n);
    PyObject *fn;
    struct {
        const void *instruction;
        rm_pydepth depth;
    } cache[64]; /* zero at first; good while no code object is made or freed */
} rm_pyrefs;

void rm_pyrefs_visit(rm_pyrefs *r, const struct rm_g *g);
/* Operands of the instruction that g waits in, once all objects are known. */
void rm_pyrefs_match(rm_pyrefs *r, const struct rm_g *g);
/* Of a generator, coroutine or asynchronous generator; of its frame only while it is suspended. */
void rm_pyrefs_visit_generator(rm_pyrefs *r, PyObject *o);
rm_inline bool rm_pyrefs_is_generator(PyObject *o) {
    return PyGen_CheckExact(o) || PyCoro_CheckExact(o) || PyAsyncGen_CheckExact(o);
}
/* Its frame; NULL while it is not suspended. */
struct _PyInterpreterFrame *rm_pyrefs_suspended(PyObject *generator);
/* Local variables that a frame object or a generator lets others see, running or not. Not to count references. */
void rm_pyrefs_visit_locals(rm_pyrefs *r, PyObject *frame_or_generator);

#endif
