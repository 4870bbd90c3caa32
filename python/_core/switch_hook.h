/* switch_hook.h: what a switch does for Python. Included by src/park.c. */
#ifndef RAMET_SWITCH_HOOK_H
#define RAMET_SWITCH_HOOK_H

#include "embed.h"
#include "yellow.h"

#define RM_HOOK_OUT(g)                                                                                                 \
    do {                                                                                                               \
        PyThreadState *ts_ = (g)->p->embed_tstate;                                                                     \
        if (rm_unlikely((g)->embed.pyflags & PYF_YELLOW)) rm_yellow_close((g), ts_);                                   \
        rm_pystate_save(&(g)->embed.py, ts_);                                                                          \
    } while (0)
#define RM_HOOK_IN(g) rm_pystate_load(&(g)->embed.py, (g)->p->embed_tstate)

#endif
