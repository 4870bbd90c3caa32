/* dump.h: what every goroutine is doing, for people. Reads everything; nothing of the core calls it but the
 * default deadlock report. */
#ifndef RM_DUMP_H
#define RM_DUMP_H

#include "park.h"

void rm_dump(rm_rt *rt, FILE *out);
/* "running", "runnable", "chan receive", ... "done". */
const char *rm_g_state(const rm_g *g);

#endif
