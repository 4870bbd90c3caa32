/* loop.h: find work, poll, idle, notice a deadlock. See loop.c. */
#ifndef RM_LOOP_H
#define RM_LOOP_H

#include "park.h"

/* The body of g0. Never returns. */
void rm_loop(void *p);

#endif
