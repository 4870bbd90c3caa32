/* embed.h: the embedder's part of a goroutine's control block (RM_EMBED_HEADER of the core). */
#ifndef RAMET_EMBED_H
#define RAMET_EMBED_H

#include <Python.h>

#include "cpython_state.h"

typedef struct rm_embed_g {
    rm_pystate py;
    PyObject *handle;  /* borrowed (owned with PYF_OWNS_HANDLE): the Goroutine, while there is one */
    PyObject *fn;      /* what to call, with the vector of arguments on the goroutine's own top page */
    PyObject **args;
    Py_ssize_t nargs;
    PyObject *kwnames;
    rm_pyplace born;   /* where go() was called */
    PyObject *at_end;  /* to be called then, or NULL */
    PyObject *pending; /* what cancel() was given as its message */
    const struct py_select *select; /* while it waits in one */
    PyObject *const *waits_with; /* for a channel or in a select: with what arguments, if it was called with any */
    uint32_t pyflags;  /* PYF_* */
    uint32_t yellow;   /* atomic: bytes of the guard that are open */
} rm_embed_g;

/* What a goroutine's Python code touches first: its innermost frame. */
#define RM_EMBED_PREFETCH(g)                                                                                           \
    do {                                                                                                               \
        const char *top_ = (const char *)(g)->embed.py.chunk_top;                                                      \
        __builtin_prefetch(top_ - 64);                                                                                 \
        __builtin_prefetch(top_ - 128);                                                                                \
    } while (0)

enum { PYF_YELLOW = 1 }; /* the guard is open: see yellow.c */

_Static_assert(sizeof(rm_embed_g) < 320, "a parked goroutine must fit on one page");

#endif
