/* cpython_handlers.h: the exception table of a code object.
 *
 * Entries in the order of the code, each for some instructions, the innermost handler only: so at most one for
 * each. */
#ifndef RM_CPYTHON_HANDLERS_H
#define RM_CPYTHON_HANDLERS_H

#include <Python.h>

#include "base/base.h"

typedef struct rm_pyhandler {
    int start, n; /* the instructions that it is for; all places are counted in code units */
    int handler;
    int depth;    /* what it keeps of the evaluation stack */
    bool lasti;   /* on which it finds the place of the failure, too, below the exception */
} rm_pyhandler;

typedef struct rm_pyhandlers { /* to go through a table */
    const uint8_t *at, *end;
} rm_pyhandlers;

rm_inline rm_pyhandlers rm_pyhandlers_of(PyCodeObject *code) {
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(code->co_exceptiontable);
    return (rm_pyhandlers){at, at + PyBytes_GET_SIZE(code->co_exceptiontable)};
}

/* Big-endian, six bits a byte, bit 6: more to come. */
rm_inline int rm_pyhandlers_number(rm_pyhandlers *t) {
    int v = 0;
    while (t->at < t->end) {
        uint8_t b = *t->at++;
        v = v << 6 | (b & 63);
        if (!(b & 64)) break;
    }
    return v;
}

rm_inline bool rm_pyhandlers_next(rm_pyhandlers *t, rm_pyhandler *h) {
    if (t->at >= t->end) return false;
    h->start = rm_pyhandlers_number(t);
    h->n = rm_pyhandlers_number(t);
    h->handler = rm_pyhandlers_number(t);
    int depth = rm_pyhandlers_number(t);
    h->depth = depth >> 1;
    h->lasti = depth & 1;
    return true;
}

#endif
