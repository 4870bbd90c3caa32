/* net.h: connections and listeners. See net.c, and net_addr.c for what starts from a text.
 *
 * All functions: on the proc (or under the owner lock); those that take a g may park. */
#ifndef RM_NET_H
#define RM_NET_H

#include <sys/socket.h>

#include "netpoll.h"

/* A socket (or pipe) of ours: non-blocking, closed by us. */
typedef struct rm_conn {
    int fd;              /* -1 once closed */
    uint32_t refs;
    rm_rt *rt;           /* where it was used last; it may have ended since */
    rm_pd *pd;           /* NULL until somebody had to wait */
    int64_t deadline[2]; /* sticky, by direction */
    bool busy[2];        /* somebody has his turn in this direction: writes do not mix */
    bool listener, socket;
    bool tcp;            /* a short read or write proves that the socket is empty or full */
    bool drained;        /* the last read was such a one */
    int pid;             /* of rt when busy and turn were valid: a fork leaves nobody waiting */
    rm_waitq turn[2];    /* who waits for his turn */
    char *path;          /* a listener's file, to be unlinked; or NULL */
} rm_conn;

/* Take over fd: made non-blocking, closed with the last reference. 0, -ENOMEM, -EBADF: it stays
 * the caller's. */
int rm_conn_from_fd(rm_rt *rt, int fd, bool listener, rm_conn **out);
/* A new socket (type: SOCK_STREAM ...), connected to or listening on sa. */
int rm_conn_connect(rm_rt *rt, rm_g *g, const struct sockaddr *sa, socklen_t len, int type, int64_t deadline,
                    rm_conn **out);
int rm_conn_listen_sa(rm_rt *rt, const struct sockaddr *sa, socklen_t len, int type, int backlog, bool v6only,
                      rm_conn **out);
/* The backlog of a listener when none is given: what the system allows. */
int rm_net_backlog(void);

void rm_conn_ref(rm_conn *c);
void rm_conn_unref(rm_conn *c); /* the last one closes */
/* Close; whoever waits gets -ECONNABORTED, whoever comes later -EBADF. The reference stays. 0,
 * -EBADF. */
int rm_conn_close(rm_conn *c);
/* The same, but the descriptor is the caller's from now on: it, or -EBADF. */
int rm_conn_detach(rm_conn *c);

/* Connect a socket that rm_conn_from_fd made. With RAMET_POLL: -EINPROGRESS, and a later call
 * has the outcome. */
int rm_conn_connect_to(rm_conn *c, rm_g *g, const struct sockaddr *sa, socklen_t len, int64_t deadline);
/* A connection, or its descriptor, non-blocking; sa and len (may be NULL) as accept(2). */
int rm_conn_accept(rm_conn *l, rm_g *g, int64_t deadline, rm_conn **out);
int rm_conn_accept_fd(rm_conn *l, rm_g *g, int64_t deadline, struct sockaddr *sa, socklen_t *len);
/* Bytes read, 0 at the end; n. *written (may be NULL) is set also when a write fails part way. */
ssize_t rm_conn_read(rm_conn *c, rm_g *g, void *buf, size_t n, int64_t deadline);
ssize_t rm_conn_write(rm_conn *c, rm_g *g, const void *buf, size_t n, int64_t deadline, size_t *written);
/* For who reads several times in one turn: begin (an error: no turn), read_more as read, end. */
int rm_conn_begin(rm_conn *c, rm_g *g, int dir, int64_t deadline);
ssize_t rm_conn_read_more(rm_conn *c, rm_g *g, void *buf, size_t n, int64_t deadline);
void rm_conn_end(rm_conn *c, int dir);
/* Any other call of a direction: op(fd, arg) until it does not return -EAGAIN. Its turn is held
 * meanwhile. */
typedef ssize_t (*rm_conn_op)(int fd, void *arg);
ssize_t rm_conn_io(rm_conn *c, rm_g *g, int dir, rm_conn_op op, void *arg, int64_t deadline);
ssize_t rm_conn_io_more(rm_conn *c, rm_g *g, int dir, rm_conn_op op, void *arg, int64_t deadline); /* in a turn */

int rm_conn_shutdown(rm_conn *c, int how); /* SHUT_RD, SHUT_WR, SHUT_RDWR */
/* Sticky deadline of a direction (RM_NP_READ or RM_NP_WRITE): one that has passed makes every
 * call fail with -ETIMEDOUT, also if it could proceed, until it is set anew; RM_FOREVER clears. */
void rm_conn_set_deadline(rm_conn *c, int dir, int64_t when);
int rm_conn_local(const rm_conn *c, struct sockaddr *sa, socklen_t *len);
int rm_conn_remote(const rm_conn *c, struct sockaddr *sa, socklen_t *len);

/* net_addr.c: as ramet_dial and ramet_listen. */
int rm_net_dial(rm_rt *rt, rm_g *g, const char *network, const char *address, int64_t deadline, rm_conn **out);
int rm_net_listen(rm_rt *rt, rm_g *g, const char *network, const char *address, int backlog, rm_conn **out);

#if RM_DEBUG
extern struct rm_net_counts {
    uint64_t reads, writes, waits; /* system calls tried, waits of either direction */
} rm_net_counts;
#endif

#endif
