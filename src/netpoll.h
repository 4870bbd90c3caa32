/* netpoll.h: waiting for descriptors. See netpoll.c.
 *
 * All functions are for the proc (or under the owner lock), but rm_netpoll_wake and
 * rm_netpoll_woken. The platform behind it is six functions: netpoll_os.h, netpoll_epoll.c. */
#ifndef RM_NETPOLL_H
#define RM_NETPOLL_H

#include "park.h"

enum { RM_NP_READ = 0, RM_NP_WRITE = 1 };

/* A descriptor whose closing we control. Type-stable: the memory is never given back, because
 * the kernel may still deliver an event for it; `seq` tells such events apart. */
typedef struct rm_pd {
    int fd;
    uint16_t seq;
    bool closing;
    bool ready[2];      /* an edge came since the flag was last cleared */
    bool hup;           /* the peer has ended or failed, or sent urgent data: a short read proves
                           nothing any more */
    bool watched;       /* an rm_watch waits for the same descriptor */
    uint32_t users;     /* goroutines in rm_pd_wait: the record is not reused before they leave */
    rm_waitq waiters[2];
    int64_t deadline[2];
    rm_rt *rt;          /* NULL once its runtime has ended */
    rm_list link;       /* in the runtime's list, or (next only) in the free list */
} __attribute__((aligned(16))) rm_pd; /* the poller's tags use the low bits */

/* What else a watch may ask for, beside RAMET_READABLE and RAMET_WRITABLE: urgent data
 * (POLLPRI). */
#define RM_FD_PRIORITY 4

int rm_netpoll_init(rm_rt *rt);
/* In a forked child (child_of_fork): close the inherited poller, never delete through it, and
 * forget who waited; rm_netpoll_init then registers what was registered anew, with rt->p.netpoll
 * as fini left it. */
void rm_netpoll_fini(rm_rt *rt, bool child_of_fork);

/* Register fd, edge-triggered, both directions. 0, -ENOMEM, -EMFILE ...; -EPERM: a file, always
 * ready. */
int rm_pd_open(rm_rt *rt, int fd, rm_pd **out);
/* Deregister and wake the waiters with -ECONNABORTED; the fd is the caller's to close after
 * this. Then the record may be reused as soon as no waiter is left. */
void rm_pd_close(rm_pd *pd);
/* Wait for an edge (or hup, close, deadline of pd, deadline). The caller has tried the system
 * call and got EAGAIN after clearing ready[dir]. 0: try again; -ECONNABORTED closed; -ETIMEDOUT;
 * -ECANCELED; -EDEADLK. */
int rm_pd_wait(rm_pd *pd, rm_g *g, int dir, int64_t deadline);
/* Sticky deadline of a direction; waiters look at it anew. */
void rm_pd_set_deadline(rm_pd *pd, int dir, int64_t when);

/* Wait for a descriptor that is not ours: polled first, then watched once. The ready events
 * (RAMET_READABLE | RAMET_WRITABLE), or -EBADF, -ETIMEDOUT, -EAGAIN, -ECANCELED, -EDEADLK,
 * -ENOMEM. */
int rm_fd_wait(rm_rt *rt, rm_g *g, int fd, int events, int64_t deadline);

/* Watch such a descriptor without parking: fn(watch, events) is called once, on the loop or by
 * who closes the descriptor under it (events: -EBADF); the watch is then disarmed. fn must not
 * park. For select. */
typedef struct rm_watch {
    int fd, events;
    bool armed;
    rm_list link;
    void (*fn)(struct rm_watch *w, int events);
} rm_watch;
/* 0, or > 0: the events that are ready already, or -errno. */
int rm_watch_start(rm_rt *rt, rm_watch *w);
void rm_watch_stop(rm_rt *rt, rm_watch *w);

/* The owner of fd is about to close it: whoever watches it gets -EBADF. For an embedder that
 * sees closes. */
void rm_fd_closing(rm_rt *rt, int fd);

/* Harvest events. timeout: 0 none, RM_FOREVER, else ns; it may return early. Returns events
 * handled, or -EINTR. Loop only. With timeout != 0 the owner lock is given up around the system
 * call (hooks.idle_enter / idle_leave), and hooks.signals, if there is one, is asked before. */
int rm_netpoll(rm_p *p, int64_t timeout);
/* Wake a proc that sleeps in rm_netpoll. Any thread. */
void rm_netpoll_wake(rm_p *p);
/* Whether the spin before a sleep is to end, because rm_netpoll_wake was called. Any thread. */
bool rm_netpoll_woken(const rm_p *p);
/* Goroutines that wait for a descriptor (a deadlock is impossible while there are), registered
 * fds. */
uint32_t rm_netpoll_waiters(const rm_p *p);
uint32_t rm_netpoll_fds(const rm_p *p);
/* Its own: what it polls, and what wakes it (-1: there is none). */
void rm_netpoll_own_fds(const rm_p *p, int *poller, int *waker);

#endif
