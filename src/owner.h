/* owner.h: the owner lock of a serialised runtime that has no embedder. See owner.c. */
#ifndef RM_OWNER_H
#define RM_OWNER_H

#include "park.h"

int rm_owner_new(rm_rt *rt);
void rm_owner_free(rm_rt *rt);
/* The proc: around its blocking poll, and between goroutines to let those in who ask. */
void rm_owner_idle_enter(rm_rt *rt);
void rm_owner_idle_leave(rm_rt *rt);
void rm_owner_offer(rm_rt *rt);
/* A foreign thread: around a call, and the other way round while it blocks. */
void rm_owner_take(rm_rt *rt);
void rm_owner_drop(rm_rt *rt);

#endif
