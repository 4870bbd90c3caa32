/* netpoll_int.h: what netpoll.c and netpoll_user.c share. Private to the poller; netpoll.c tells
 * the whole. */
#ifndef RM_NETPOLL_INT_H
#define RM_NETPOLL_INT_H

#include "netpoll.h"
#include "netpoll_os.h"

typedef struct rm_np_user { /* a descriptor number that somebody watches; kept until the end */
    int fd;
    uint16_t seq;
    bool added;      /* it is in the poller under our tag, as far as we know */
    rm_list watches; /* those armed */
    rm_list link;    /* in rm_netpoll.users while there are any */
} rm_np_user;

typedef struct rm_np_slot {
    rm_pd *pd;
    rm_np_user *user;
} rm_np_slot;

struct rm_netpoll {
    rm_np_os os;
    uint32_t wake;    /* atomic: NP_WAKE_* */
    uint32_t waiting; /* goroutines in rm_pd_wait, armed watches */
    uint32_t fds;     /* rm_pds */
    rm_np_slot *slots; /* by descriptor number */
    uint32_t nslots;
    rm_list pds, users;
    uint64_t checked; /* p->switches when the users' descriptors were looked at last */
    int64_t check_at; /* not before this again */
    rm_np_event events[RM_POLL_EVENTS];
};

/* The slot of fd, made if need be; NULL when out of memory. Moves all slots. */
rm_np_slot *rm_np_slot_make(struct rm_netpoll *np, int fd);

rm_inline rm_np_user *rm_np_user_of(const struct rm_netpoll *np, int fd) {
    return (uint32_t)fd < np->nslots ? np->slots[fd].user : NULL;
}

/* netpoll_user.c */

/* Call the watches of u that `what` (RM_NP_*), or a negative error, is for. */
void rm_np_user_fire(struct rm_netpoll *np, rm_np_user *u, int error, unsigned what);
/* The poller reported `what` for u's registration, which is used up by that. */
void rm_np_user_event(struct rm_netpoll *np, rm_np_user *u, unsigned what);
/* Look for watched descriptors that are no more, and tell their watches. True if there were any. */
bool rm_np_users_check(struct rm_netpoll *np);

#endif
