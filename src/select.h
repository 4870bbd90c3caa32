/* select.h: wait for several channels at once. See select.c. */
#ifndef RM_SELECT_H
#define RM_SELECT_H

#include "chan.h"

typedef struct rm_case {
    rm_chan *chan; /* NULL: never ready */
    void *elem;
    ramet_dir dir;
    bool ok;
} rm_case;

/* As ramet_select. */
int rm_select(rm_g *g, rm_case *cases, int n, int64_t deadline);

#endif
