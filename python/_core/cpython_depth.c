/* cpython_depth.c: how much of its evaluation stack a frame uses that is in a call of C. 3.11-3.13 only.
 *
 * There only the eval loop knows, but the compiler has seen to it that it depends on the place in the code alone: so
 * all ways through the code are followed once, with the effect of every instruction, as the compiler did. Where
 * two of them disagree, or an effect is not known, the depth is not known.
 *
 * 3.14 notes the top of the stack in the frame before every call. */
#include "cpython_refs.h"

#if PY_VERSION_HEX < 0x030e0000
#include <opcode.h>

#include "cpython_handlers.h"

typedef struct flow {
    const uint8_t *code; /* pairs of opcode and argument */
    int n;               /* of them */
    int *depth;          /* before each; -1: not known */
    int *todo, ntodo;
    bool failed;
} flow;

static void reached(flow *f, int i, int depth) {
    if (i < 0 || i >= f->n || depth < 0 || (f->depth[i] >= 0 && f->depth[i] != depth)) {
        f->failed = true;
    } else if (f->depth[i] < 0) {
        f->depth[i] = depth;
        f->todo[f->ntodo++] = i;
    }
}

static int opcode_at(const flow *f, int i) { return f->code[2 * i]; }

static int argument_at(const flow *f, int i) {
    int arg = f->code[2 * i + 1];
    for (int k = 1; k <= 3 && i >= k && opcode_at(f, i - k) == EXTENDED_ARG; k++)
        arg |= f->code[2 * (i - k) + 1] << (8 * k);
    return arg;
}

/* 1: may jump forward, -1: backward; 0: does not jump. */
static int direction(int op) {
    switch (op) {
    case JUMP_FORWARD:
    case FOR_ITER:
    case SEND:
#ifdef POP_JUMP_FORWARD_IF_TRUE
    case POP_JUMP_FORWARD_IF_TRUE:
    case POP_JUMP_FORWARD_IF_FALSE:
    case POP_JUMP_FORWARD_IF_NONE:
    case POP_JUMP_FORWARD_IF_NOT_NONE:
    case JUMP_IF_TRUE_OR_POP:
    case JUMP_IF_FALSE_OR_POP:
#else
    case POP_JUMP_IF_TRUE:
    case POP_JUMP_IF_FALSE:
    case POP_JUMP_IF_NONE:
    case POP_JUMP_IF_NOT_NONE:
#endif
        return 1;
#ifdef POP_JUMP_BACKWARD_IF_TRUE
    case POP_JUMP_BACKWARD_IF_TRUE:
    case POP_JUMP_BACKWARD_IF_FALSE:
    case POP_JUMP_BACKWARD_IF_NONE:
    case POP_JUMP_BACKWARD_IF_NOT_NONE:
#endif
    case JUMP_BACKWARD:
    case JUMP_BACKWARD_NO_INTERRUPT:
        return -1;
    default:
        return 0;
    }
}

static bool goes_on(int op) {
    switch (op) {
    case JUMP_FORWARD:
    case JUMP_BACKWARD:
    case JUMP_BACKWARD_NO_INTERRUPT:
    case RETURN_VALUE:
#ifdef RETURN_CONST
    case RETURN_CONST:
    case INTERPRETER_EXIT:
#endif
    case RAISE_VARARGS:
    case RERAISE:
        return false;
    default:
        return true;
    }
}

static int after(flow *f, int depth, int op, int arg, bool jump) {
    int effect;
    if (op == EXTENDED_ARG) effect = 0;
    else if (op == RETURN_GENERATOR) effect = 1; /* what is sent first */
#ifdef PRECALL
    else if (op == PRECALL) effect = 0; /* the effects of the two parts of a call are right in their sum only */
    else if (op == CALL) effect = -1 - arg;
#endif
    else effect = PyCompile_OpcodeStackEffectWithJump(op, arg, jump);
    if (effect == PY_INVALID_STACK_EFFECT) f->failed = true;
    return f->failed ? -1 : depth + effect;
}

static void follow(flow *f, int i) {
    int op = opcode_at(f, i), arg = argument_at(f, i), next = i + 1, jumps = direction(op);
    if (op != EXTENDED_ARG)
        while (next < f->n && opcode_at(f, next) == CACHE) next++;
    if (jumps) reached(f, next + jumps * arg, after(f, f->depth[i], op, arg, true));
    if (goes_on(op)) reached(f, next, after(f, f->depth[i], op, arg, false));
}

static void follow_all(flow *f, PyCodeObject *code) {
    rm_pyhandlers table = rm_pyhandlers_of(code);
    rm_pyhandler h;
    reached(f, 0, 0);
    while (rm_pyhandlers_next(&table, &h)) reached(f, h.handler, h.depth + h.lasti + 1);
    while (f->ntodo && !f->failed) follow(f, f->todo[--f->ntodo]);
}

static rm_pydepth operands(int op, int arg, int depth) {
    switch (op) {
#ifdef PRECALL
    case PRECALL:
#endif
    case CALL:
        return (rm_pydepth){RM_PYOP_CALL, depth - arg - 2, depth};
#ifdef CALL_KW
    case CALL_KW:
        return (rm_pydepth){RM_PYOP_CALL_NAMES, depth - arg - 3, depth};
#endif
    case CALL_FUNCTION_EX:
        return (rm_pydepth){RM_PYOP_CALL_TUPLE, depth - 3 - (arg & 1), depth};
    case FOR_ITER:
        return (rm_pydepth){RM_PYOP_ITERATE, depth - 1, depth};
    case BEFORE_WITH:
        return (rm_pydepth){RM_PYOP_WITH, depth - 1, depth};
    default:
        return (rm_pydepth){RM_PYOP_UNKNOWN, 0, 0};
    }
}

rm_pydepth rm_pydepth_at(PyCodeObject *code, int lasti) {
    rm_pydepth d = {RM_PYOP_UNKNOWN, 0, 0};
    PyObject *bytes = PyCode_GetCode(code);
    flow f = {0};
    int at = lasti / 2;
    if (bytes) {
        f.code = (const uint8_t *)PyBytes_AS_STRING(bytes);
        f.n = (int)(PyBytes_GET_SIZE(bytes) / 2);
        f.depth = PyMem_RawMalloc((size_t)f.n * 2 * sizeof *f.depth + 1);
    } else {
        PyErr_Clear();
    }
    if (f.depth) {
        f.todo = f.depth + f.n;
        for (int i = 0; i < f.n; i++) f.depth[i] = -1;
        follow_all(&f, code);
        if (!f.failed && at >= 0 && at < f.n && f.depth[at] >= 0 && f.depth[at] <= code->co_stacksize)
            d = operands(opcode_at(&f, at), argument_at(&f, at), f.depth[at]);
        if (d.below < 0) d = (rm_pydepth){RM_PYOP_UNKNOWN, 0, 0};
    }
    PyMem_RawFree(f.depth);
    Py_XDECREF(bytes);
    return d;
}

#endif
