/* face.h: how a function of the C face finds its caller. */
#ifndef RM_FACE_H
#define RM_FACE_H

#include "owner.h"
#include "rt.h"

/* For a thread that has no proc: a foreign one's G, entered, or NULL where no runtime is running. */
rm_g *rm_face_enter_slow(void);

/* The caller's goroutine, or what stands for its OS thread, entered; NULL if no runtime is running. */
rm_inline rm_g *rm_face_enter(void) {
    rm_m *m = rm_tls;
    if (rm_likely(m && m->p)) return m->p->cur;
    return rm_face_enter_slow();
}

rm_inline void rm_face_leave(rm_g *g) {
    if (rm_unlikely(!g->p)) {
        rm_rt *rt = rm_tls->rt;
        if (rt->owner) rm_owner_drop(rt);
    }
}

#endif
