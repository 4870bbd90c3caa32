/* yellow.h: stack exhaustion as RecursionError on 3.11-3.13. See yellow.c. */
#ifndef RAMET_YELLOW_H
#define RAMET_YELLOW_H

#include <Python.h>

#include "g.h"

/* Bytes of guard, the red page aside, for stacks of this size. */
size_t rm_yellow_bytes(size_t stack_size);
/* From the SIGSEGV handler: open (more of) the guard of g's stack. Whether it was that. Async-signal-safe. */
bool rm_yellow_overflow(rm_rt *rt, rm_g *g, void *addr);
/* At g's next switch or end: close it again. */
void rm_yellow_close(rm_g *g, PyThreadState *ts);
/* On sysmon's thread, every tick: a goroutine that does not switch shall close it, too. */
void rm_yellow_watch(rm_rt *rt);

#endif
