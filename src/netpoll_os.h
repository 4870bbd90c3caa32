/* netpoll_os.h: what a platform must supply to netpoll.c: six functions. Private to the poller.
 *
 * All but rm_np_wake are for the proc (or under the owner lock); rm_np_wait runs without the
 * owner lock, and the others may be called meanwhile. Implementations: netpoll_epoll.c. */
#ifndef RM_NETPOLL_OS_H
#define RM_NETPOLL_OS_H

#include <signal.h>

#include "base/base.h"

enum { /* what happened, or what to wait for */
       RM_NP_IN = 1,
       RM_NP_OUT = 2,
       RM_NP_PRI = 4,
       RM_NP_HUP = 8,  /* the peer will write no more */
       RM_NP_ERR = 16, /* an error, or the end of both directions: whatever is tried returns at once */
    /* how to register */
       RM_NP_EDGE = 32,  /* everything, edge-triggered, until deleted; else: the events given, once */
       RM_NP_AGAIN = 64, /* change the registration that there is */
};

typedef struct rm_np_event {
    uint64_t tag; /* of the registration; RM_NP_WOKEN for rm_np_wake */
    uint32_t what;
} rm_np_event;

#define RM_NP_WOKEN UINT64_C(0)

typedef struct rm_np_os {
    int poller, waker; /* epoll and eventfd */
} rm_np_os;

/* 0 or -errno; on failure nothing stays open. */
int rm_np_open(rm_np_os *os);
void rm_np_close(rm_np_os *os);
/* -EEXIST without RM_NP_AGAIN: there is one; -ENOENT with it: there is none; -EPERM: a file,
 * always ready. If fd is ready already the event is due at once. */
int rm_np_add(rm_np_os *os, int fd, unsigned how, uint64_t tag);
void rm_np_del(rm_np_os *os, int fd);
/* Wait at most `timeout` ns (0: not at all, RM_FOREVER) for up to n (<= RM_POLL_EVENTS) events,
 * with the signal mask `mask` meanwhile unless it is NULL. How many, or -EINTR. */
int rm_np_wait(rm_np_os *os, rm_np_event *events, int n, int64_t timeout, const sigset_t *mask);
/* Make the current or next rm_np_wait return RM_NP_WOKEN. Any thread; async-signal-safe. */
void rm_np_wake(rm_np_os *os);

#endif
