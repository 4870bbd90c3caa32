/* switch_hook.h: what a switch does for Python: the goroutine's part of the thread state moves out and in.
 *
 * Included by src/park.c, which alone calls these, on the goroutine's own stack: OUT just before it is left, IN right
 * after it was come back to. A goroutine that begins or ends calls rm_pystate_begin and rm_pystate_end instead.
 * The loop has no state of its own: no Python code runs, and no object is dropped, on its stack. */
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
/* In a greenlet that is not its thread's own: the stack of such a one is copied away and back. */
#define RM_HOOK_STUCK(g) rm_pystate_in_greenlet(&(g)->embed.py, (g)->p->embed_tstate)
#define RM_HOOK_IN(g) rm_pystate_load(&(g)->embed.py, (g)->p->embed_tstate)

#endif
