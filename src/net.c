/* net.c: connections and listeners: the system calls, tried first and waited for on EAGAIN.
 *
 * Reading without a needless call. A TCP read that returned less than was asked for has emptied the
 * socket: what comes later is an edge. So the next read does not try but waits for the edge at
 * once, unless one has come (ready) or the peer has ended, failed or sent urgent data (hup: a read
 * stops short at its mark). A server that reads requests so makes one read and one write a request.
 * Only TCP: a read of a Unix socket also stops short where descriptors were passed. A write is
 * alike: if TCP took less than all, it is full. The descriptor enters the poller at the first wait,
 * which reports what is ready already as an edge: nothing is lost by having come late, and a
 * connection that never waits is never registered.
 *
 * Turns. One goroutine at a time reads, one writes; the others queue, first in first out, and the
 * turn is handed over, so that the bytes of two writes do not mix and one edge that stands for
 * several connections serves all who accept.
 *
 * Closing. The poller forgets the descriptor, all waiters are woken, and only then it is closed;
 * they find fd < 0 and touch nothing but the rm_conn, which their reference keeps. After a wait
 * everything is looked at anew. */
#include "net.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#if RM_DEBUG
struct rm_net_counts rm_net_counts;
#define NET_COUNT(what) (rm_net_counts.what++)
#else
#define NET_COUNT(what) ((void)0)
#endif

/* ------------------------------------------------------------------ life ---- */

static int conn_new(rm_rt *rt, int fd, bool listener, bool socket, bool tcp, rm_conn **out) {
    rm_conn *c = rm_calloc(1, sizeof *c);
    if (!c) return -ENOMEM;
    c->fd = fd;
    c->refs = 1;
    c->rt = rt;
    c->pid = rt->pid;
    c->deadline[0] = c->deadline[1] = RM_FOREVER;
    c->listener = listener;
    c->socket = socket;
    c->tcp = tcp;
    *out = c;
    return 0;
}

static int conn_option(int fd, int level, int name) {
    int v = 0;
    socklen_t len = sizeof v;
    return getsockopt(fd, level, name, &v, &len) ? -errno : v;
}

int rm_conn_from_fd(rm_rt *rt, int fd, bool listener, rm_conn **out) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK)) return -errno;
    int protocol = conn_option(fd, SOL_SOCKET, SO_PROTOCOL);
    return conn_new(rt, fd, listener, protocol >= 0, protocol == IPPROTO_TCP, out);
}

void rm_conn_ref(rm_conn *c) { c->refs++; }

void rm_conn_unref(rm_conn *c) {
    if (--c->refs) return;
    if (c->fd >= 0) rm_conn_close(c);
    free(c);
}

static void conn_turn_abort(rm_conn *c, int dir) {
    rm_sudog *s;
    while ((s = rm_waitq_claim(&c->turn[dir]))) {
        s->g->wake_code = -ECONNABORTED;
        rm_ready_tail(s->g->p, s->g);
    }
}

int rm_conn_detach(rm_conn *c) {
    int fd = c->fd;
    if (fd < 0) return -EBADF;
    c->fd = -1;
    if (c->pd) rm_pd_close(c->pd); /* its waiters hold it until they have left */
    c->pd = NULL;
    conn_turn_abort(c, RM_NP_READ);
    conn_turn_abort(c, RM_NP_WRITE);
    return fd;
}

int rm_conn_close(rm_conn *c) {
    int fd = rm_conn_detach(c);
    if (fd < 0) return fd;
    if (c->path && c->pid == (int)getpid()) unlink(c->path); /* a forked child's is the parent's */
    free(c->path);
    c->path = NULL;
    close(fd); /* Linux closes whatever it returns */
    return 0;
}

/* ------------------------------------------------------------------ turns and waits ---- */

static int conn_turn_wait(rm_conn *c, rm_g *g, int dir, int64_t deadline) {
    if (deadline == RAMET_POLL) return -EAGAIN;
    rm_sudog s = {0};
    rm_reason reason = dir == RM_NP_READ ? RM_R_IO_READ : RM_R_IO_WRITE;
    return rm_wait_in(&c->turn[dir], &s, false, g, reason, c, deadline, NULL); /* 0: the turn was handed to us */
}

/* End the turn, give up the reference. */
static void conn_end(rm_conn *c, int dir) {
    rm_sudog *s = rm_waitq_claim(&c->turn[dir]);
    if (rm_unlikely(s != NULL)) rm_ready_tail(s->g->p, s->g); /* busy stays: it is his now */
    else c->busy[dir] = false;
    rm_conn_unref(c);
}

/* A connection outlives the runtime it was used in, and a fork: nobody who waited there is left. */
static rm_noinline void conn_adopt(rm_conn *c, rm_rt *rt) {
    if (c->pd && (c->rt != rt || !c->pd->rt)) {
        if (!c->pd->rt) rm_pd_close(c->pd);
        c->pd = NULL; /* if it is in another poller, which is not to be touched, it is forgotten */
    }
    if (c->pid != rt->pid) {
        free(c->path);
        c->path = NULL;
    }
    c->rt = rt;
    c->pid = rt->pid;
    c->drained = false;
    c->busy[0] = c->busy[1] = false;
    c->turn[0] = c->turn[1] = (rm_waitq){NULL, NULL};
}

/* Begin a call: a reference and the turn. */
static int conn_begin(rm_conn *c, rm_g *g, int dir, int64_t deadline) {
    int e = rm_check_cancel(g);
    if (e) return e;
    if (rm_unlikely(c->fd < 0)) return -EBADF;
    c->refs++;
    /* who always finds data never parks: let the loop look at the rest */
    if (rm_unlikely(g->p && rm_load(&g->p->attention)) && (e = rm_yield(g))) goto fail;
    rm_rt *rt = rm_likely(g->p != NULL) ? g->p->rt : rm_m_self()->rt;
    if (rm_unlikely(c->rt != rt || c->pid != rt->pid || (c->pd && !c->pd->rt))) conn_adopt(c, rt);
    if (rm_unlikely(c->busy[dir]) && (e = conn_turn_wait(c, g, dir, deadline))) goto fail;
    c->busy[dir] = true;
    e = -ECONNABORTED;
    if (rm_unlikely(c->fd < 0)) goto fail_turn;
    e = -ETIMEDOUT;
    if (rm_unlikely(c->deadline[dir] != RM_FOREVER) && c->deadline[dir] <= rm_now()) goto fail_turn;
    return 0;
fail:
    rm_conn_unref(c);
    return e;
fail_turn:
    conn_end(c, dir);
    return e;
}

static int conn_wait(rm_conn *c, rm_g *g, int dir, int64_t deadline) {
    if (deadline == RAMET_POLL) return -EAGAIN;
    if (rm_unlikely(!c->pd)) {
        int e = rm_pd_open(c->rt, c->fd, &c->pd);
        if (e) return e;
        c->pd->deadline[0] = c->deadline[0];
        c->pd->deadline[1] = c->deadline[1];
    }
    NET_COUNT(waits);
    return rm_pd_wait(c->pd, g, dir, deadline);
}

rm_inline void conn_clear_ready(rm_conn *c, int dir) {
    if (rm_likely(c->pd != NULL)) c->pd->ready[dir] = false;
}

void rm_conn_set_deadline(rm_conn *c, int dir, int64_t when) {
    c->deadline[dir] = when;
    if (c->pd) rm_pd_set_deadline(c->pd, dir, when);
}

/* ------------------------------------------------------------------ reading and writing ---- */

int rm_conn_begin(rm_conn *c, rm_g *g, int dir, int64_t deadline) { return conn_begin(c, g, dir, deadline); }
void rm_conn_end(rm_conn *c, int dir) { conn_end(c, dir); }

ssize_t rm_conn_read_more(rm_conn *c, rm_g *g, void *buf, size_t n, int64_t deadline) {
    ssize_t r = 0;
    if (rm_unlikely(c->fd < 0)) return -ECONNABORTED;
    bool known_empty = c->drained && deadline != RAMET_POLL;
    if (known_empty && c->pd && (c->pd->ready[RM_NP_READ] || c->pd->hup)) known_empty = false;
    for (bool last = false; n;) { /* a read of nothing would wait for something */
        if (!known_empty) {
            conn_clear_ready(c, RM_NP_READ);
            NET_COUNT(reads);
            ssize_t got = c->socket ? recv(c->fd, buf, n, 0) : read(c->fd, buf, n);
            if (got >= 0) {
                c->drained = c->tcp && got > 0 && (size_t)got < n;
                r = got;
                break;
            }
            int e = errno;
            if (e == EINTR) continue;
            if (e != EAGAIN) {
                c->drained = false;
                r = -e;
                break;
            }
        }
        if (last) break; /* r is the wait's */
        r = conn_wait(c, g, RM_NP_READ, deadline);
        if (r == -ETIMEDOUT && known_empty && c->fd >= 0)
            last = true; /* the edge may not have been harvested yet: one try is owed */
        else if (r) break;
        known_empty = false;
    }
    return r;
}

ssize_t rm_conn_read(rm_conn *c, rm_g *g, void *buf, size_t n, int64_t deadline) {
    ssize_t r = conn_begin(c, g, RM_NP_READ, deadline);
    if (r) return r;
    r = rm_conn_read_more(c, g, buf, n, deadline);
    conn_end(c, RM_NP_READ);
    return r;
}

ssize_t rm_conn_write(rm_conn *c, rm_g *g, const void *buf, size_t n, int64_t deadline, size_t *written) {
    size_t done = 0;
    ssize_t r = conn_begin(c, g, RM_NP_WRITE, deadline);
    if (rm_unlikely(r)) {
        if (written) *written = 0;
        return r;
    }
    const char *from = buf;
    while (done < n) {
        conn_clear_ready(c, RM_NP_WRITE);
        NET_COUNT(writes);
        ssize_t put =
            c->socket ? send(c->fd, from + done, n - done, MSG_NOSIGNAL) : write(c->fd, from + done, n - done);
        if (put >= 0) {
            done += (size_t)put;
            if (done == n) break;
            if (!c->tcp) continue;
        } else if (errno == EINTR) {
            continue;
        } else if (errno != EAGAIN) {
            r = -errno;
            break;
        }
        if ((r = conn_wait(c, g, RM_NP_WRITE, deadline))) break;
    }
    conn_end(c, RM_NP_WRITE);
    if (written) *written = done;
    return r ? r : (ssize_t)n;
}

ssize_t rm_conn_io_more(rm_conn *c, rm_g *g, int dir, rm_conn_op op, void *arg, int64_t deadline) {
    ssize_t r;
    if (rm_unlikely(c->fd < 0)) return -ECONNABORTED;
    for (;;) {
        conn_clear_ready(c, dir);
        if (dir == RM_NP_READ) c->drained = false; /* we do not know what it leaves behind */
        r = op(c->fd, arg);
        if (r == -EINTR) continue;
        if (r != -EAGAIN || (r = conn_wait(c, g, dir, deadline))) return r;
    }
}

ssize_t rm_conn_io(rm_conn *c, rm_g *g, int dir, rm_conn_op op, void *arg, int64_t deadline) {
    ssize_t r = conn_begin(c, g, dir, deadline);
    if (r) return r;
    r = rm_conn_io_more(c, g, dir, op, arg, deadline);
    conn_end(c, dir);
    return r;
}

int rm_conn_shutdown(rm_conn *c, int how) {
    if (c->fd < 0) return -EBADF;
    return shutdown(c->fd, how) ? -errno : 0;
}

int rm_conn_local(const rm_conn *c, struct sockaddr *sa, socklen_t *len) {
    return c->fd < 0 ? -EBADF : getsockname(c->fd, sa, len) ? -errno : 0;
}

int rm_conn_remote(const rm_conn *c, struct sockaddr *sa, socklen_t *len) {
    return c->fd < 0 ? -EBADF : getpeername(c->fd, sa, len) ? -errno : 0;
}

/* ------------------------------------------------------------------ accepting ---- */

typedef struct conn_accept_arg {
    struct sockaddr *sa;
    socklen_t *len;
} conn_accept_arg;

static ssize_t conn_accept_op(int fd, void *arg) {
    conn_accept_arg *a = arg;
    for (;;) {
        int s = accept4(fd, a->sa, a->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (s >= 0) return s;
        /* the client has gone again: not the listener's error */
        if (errno != ECONNABORTED && errno != EPROTO) return -errno;
    }
}

int rm_conn_accept_fd(rm_conn *l, rm_g *g, int64_t deadline, struct sockaddr *sa, socklen_t *len) {
    conn_accept_arg a = {sa, len};
    return (int)rm_conn_io(l, g, RM_NP_READ, conn_accept_op, &a, deadline);
}

int rm_conn_accept(rm_conn *l, rm_g *g, int64_t deadline, rm_conn **out) {
    if (!l->listener) return -EINVAL;
    rm_rt *rt = l->rt;
    bool tcp = l->tcp; /* TCP_NODELAY too is the listener's */
    int fd = rm_conn_accept_fd(l, g, deadline, NULL, NULL);
    if (fd < 0) return fd;
    int e = conn_new(rt, fd, false, true, tcp, out);
    if (e) close(fd);
    return e;
}

int rm_net_backlog(void) {
    static int known; /* atomic */
    int n = rm_load(&known);
    if (n) return n;
    FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
    if (!f || fscanf(f, "%d", &n) != 1 || n <= 0) n = SOMAXCONN;
    if (f) fclose(f);
    rm_store(&known, n);
    return n;
}

static int conn_socket(const struct sockaddr *sa, int type, bool *tcp) {
    if (rm_inject_fault("socket")) return -EMFILE;
    int fd = socket(sa->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    *tcp = type == SOCK_STREAM && (sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
    if (*tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int rm_conn_listen_sa(rm_rt *rt, const struct sockaddr *sa, socklen_t len, int type, int backlog, bool v6only,
                      rm_conn **out) {
    bool tcp;
    int fd = conn_socket(sa, type, &tcp), one = 1, only = v6only, e;
    if (fd < 0) return fd;
    if (sa->sa_family != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (sa->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only)) e = -errno;
    else if (bind(fd, sa, len) || listen(fd, backlog > 0 ? backlog : rm_net_backlog())) e = -errno;
    else e = conn_new(rt, fd, true, true, tcp, out);
    if (e) close(fd);
    return e;
}

/* ------------------------------------------------------------------ connecting ---- */

int rm_conn_connect_to(rm_conn *c, rm_g *g, const struct sockaddr *sa, socklen_t len, int64_t deadline) {
    int e = conn_begin(c, g, RM_NP_WRITE, deadline);
    if (e) return e;
    bool begun = false;
    for (int64_t pause = RAMET_MILLISECOND;;) {
        conn_clear_ready(c, RM_NP_WRITE);
        e = connect(c->fd, sa, len) ? -errno : 0;
        c->drained = false;
        if (e == -EINPROGRESS && c->pd) /* what a socket not yet connected had reported; later it is the peer's doing */
            c->pd->hup = c->pd->ready[RM_NP_READ] = false;
        if (e == -EINPROGRESS || e == -EALREADY || e == -EINTR) {
            /* after the edge connect tells how it went: Linux answers the second call with the
             * outcome */
            begun = true;
            if (deadline == RAMET_POLL || (e = conn_wait(c, g, RM_NP_WRITE, deadline))) break;
        } else if (e == -EAGAIN && sa->sa_family == AF_UNIX && deadline != RAMET_POLL) {
            /* a Unix listener's queue is full, and nothing tells when it is not */
            int64_t until = c->deadline[RM_NP_WRITE];
            if (deadline < until) until = deadline;
            int64_t left = until == RM_FOREVER ? RM_FOREVER : until - rm_now();
            e = left <= 0 ? -ETIMEDOUT : rm_sleep(g, pause < left ? pause : left);
            if (!e && c->fd < 0) e = -ECONNABORTED;
            if (e) break;
            if (pause < 50 * RAMET_MILLISECOND) pause *= 2;
        } else {
            break;
        }
    }
    if (e == -EISCONN && begun) e = 0;
    conn_end(c, RM_NP_WRITE);
    return e;
}

int rm_conn_connect(rm_rt *rt, rm_g *g, const struct sockaddr *sa, socklen_t len, int type, int64_t deadline,
                    rm_conn **out) {
    bool tcp;
    rm_conn *c;
    int fd = conn_socket(sa, type, &tcp);
    if (fd < 0) return fd;
    int e = conn_new(rt, fd, false, true, tcp, &c);
    if (e) {
        close(fd);
        return e;
    }
    if ((e = rm_conn_connect_to(c, g, sa, len, deadline))) rm_conn_unref(c);
    else *out = c;
    return e;
}
