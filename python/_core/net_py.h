/* net_py.h: what the files of ramet.net's types share. */
#ifndef RAMET_NET_PY_H
#define RAMET_NET_PY_H

#include "core.h"

#include <netinet/in.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "net.h"

typedef struct net_sockaddr {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    };
} net_sockaddr;

/* What was read from the system but not yet from the connection: p[start..end). Touched only by who has the read turn. */
typedef struct net_buf {
    char *p;
    size_t start, end, cap;
    size_t room; /* how much to ask for at least: more, the more there was */
} net_buf;

typedef struct net_tls net_tls;

typedef struct py_conn { /* Conn, Listener and PacketConn */
    PyObject_HEAD rm_conn *c;
    core_state *st;
    PyObject *weakrefs;
    net_buf in;
    net_tls *tls;               /* or NULL */
    PyObject *accept_tls;       /* of a listener: the ssl.SSLContext of what it accepts; or NULL */
    bool greedy;                /* the last read filled at least half of what it asked for */
    bool datagram;
    uint8_t remote_len;         /* of `remote`; 0: to be asked for */
    struct sockaddr_in6 remote; /* of an accepted connection: it may be gone by the time it is asked for */
} py_conn;

/* net_tls.c. 0, or -1 with an exception that names fn and arg. */
int net_tls_context(core_state *st, const char *fn, const char *arg, PyObject *context);
/* TLS from now on. 0, or -1 with an exception. */
int net_tls_wrap(py_conn *self, PyObject *context, bool server_side, PyObject *server_hostname);
int net_tls_traverse(net_tls *t, visitproc visit, void *arg);
void net_tls_free(net_tls *t); /* may be NULL */
PyObject *net_tls_object(const py_conn *self); /* the ssl.SSLObject, or None; new reference */
/* Without a turn: have the handshake done. 0 or an error. */
ssize_t net_tls_ready(py_conn *self, rm_g *g, int64_t deadline);
ssize_t net_tls_read(py_conn *self, rm_g *g, void *buf, size_t n, int64_t deadline);       /* as net_pull */
ssize_t net_tls_write(py_conn *self, rm_g *g, struct iovec *v, size_t n, int64_t deadline); /* as net_push */
/* In the read turn: have all that has come buffered as plain bytes. */
void net_tls_drain(py_conn *self);
/* Without a turn. 0 or an error. */
ssize_t net_tls_close_write(py_conn *self, rm_g *g);
/* Before the descriptor is closed. Never parks, leaves the exception that is set. */
void net_tls_close(py_conn *self);
PyObject *net_handshake(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_start_tls(py_conn *self, PyObject *args, PyObject *kwargs);
extern const char net_handshake_doc[], net_start_tls_doc[];

/* net.c */
#define NET_SCRATCH_BYTES 65536
void net_settle_slow(rm_conn *c, rm_rt *rt);
rm_inline void net_settle(py_conn *self) {
    rm_conn *c = self->c;
    rm_rt *rt = self->st->rt;
    if (rm_unlikely(c->rt != rt || c->pid != rt->pid)) net_settle_slow(c, rt);
}
rm_inline rm_g *net_enter(core_state *st, const char *what) {
    rm_m *m = rm_tls;
    if (rm_likely(m && m->rt == st->entry && m->p)) return m->p->cur;
    return core_enter_goroutine_slow(st, what);
}
/* Instead of an error number: a Python exception is set. */
enum { NET_RAISED = -0x10000 };
PyObject *net_conn_new(PyTypeObject *type, core_state *st, rm_conn *c); /* c stolen */
/* Set the exception for an error number; return NULL. */
PyObject *net_fail(core_state *st, rm_g *g, int e);
PyObject *net_conn_fail(py_conn *self, rm_g *g, int e, const char *what);
PyObject *net_raise_closed(py_conn *self, const char *what);
/* A required argument and timeout. */
rm_inline int net_one_and_timeout(const char *fn, const char *name, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames, PyObject **v, int64_t *deadline) {
    *deadline = RM_FOREVER;
    if (rm_likely(nargs == 1 && !kwnames)) {
        *v = args[0];
        return 0;
    }
    const char *const names[] = {name, "timeout"};
    PyObject *a[2];
    if (core_args(fn, args, nargs, kwnames, names, 1, 2, a)) return -1;
    *v = a[0];
    return a[1] ? core_deadline(a[1], "timeout", deadline) : 0;
}

/* An argument n, clipped. -1 with an exception. */
int net_count(const char *fn, PyObject *o, Py_ssize_t *n);
/* recv() of no bytes waits on some sockets and not on others: what a read of none does instead. 0 or -errno. */
int net_read_nothing(py_conn *self, rm_g *g);

/* Begin a read or a write: the handshake, if it is still to come, and the turn. 0 or an error. */
rm_inline ssize_t net_begin(py_conn *self, rm_g *g, int dir, int64_t deadline) {
    ssize_t e;
    if (rm_unlikely(self->tls != NULL) && (e = net_tls_ready(self, g, deadline))) return e;
    return rm_conn_begin(self->c, g, dir, deadline);
}
/* In the read turn: as rm_conn_read_more. */
rm_inline ssize_t net_pull(py_conn *self, rm_g *g, void *buf, size_t n, int64_t deadline) {
    return rm_unlikely(self->tls != NULL) ? net_tls_read(self, g, buf, n, deadline)
                                          : rm_conn_read_more(self->c, g, buf, n, deadline);
}

/* net_open.c */
PyObject *net_accept(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_accept_next(py_conn *self);
PyObject *net_connect(PyObject *module, PyObject *args);
PyObject *net_listen(PyObject *module, PyObject *args);
PyObject *net_listen_packet(PyObject *module, PyObject *args);
extern const char net_accept_doc[], net_connect_doc[], net_listen_doc[], net_listen_packet_doc[];

/* net_buffer.c; all but the methods with the read turn */
rm_inline size_t net_buffered(const py_conn *self) { return self->in.end - self->in.start; }
/* At most n bytes of what is buffered; NULL with an exception, and they stay. */
PyObject *net_buffer_take(py_conn *self, size_t n);
/* Space behind what is buffered, for at least `room` bytes; NULL: no memory. */
char *net_buffer_room(py_conn *self, size_t room);
size_t net_buffer_copy(py_conn *self, char *to, size_t n);
PyObject *net_read_exactly(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_read_until(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_readline(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_next_line(py_conn *self);
extern const char net_read_exactly_doc[], net_read_until_doc[], net_readline_doc[];

/* net_send.c. In the write turn: all of v[n], which is used up; 0 or an error. */
ssize_t net_push(py_conn *self, rm_g *g, struct iovec *v, size_t n, int64_t deadline);
typedef struct net_vector {
    struct iovec *v;
    size_t n;
    bool socket;
} net_vector;
ssize_t net_write_vector(int fd, void *vector); /* rm_conn_op: 0 when all is written */
PyObject *net_writev(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_sendfile(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_splice(py_conn *self, PyObject *const *args, Py_ssize_t nargs);
extern const char net_writev_doc[], net_sendfile_doc[], net_splice_doc[];

/* net_fds.c */
PyObject *net_send_fds(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_recv_fds(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_from_fd(PyObject *module, PyObject *arg);
extern const char net_send_fds_doc[], net_recv_fds_doc[], net_from_fd_doc[];

/* net_packet.c */
PyObject *net_read_from(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *net_write_to(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
int net_bind_packet(const net_sockaddr *a, bool v6only); /* a socket, or -errno */
extern const char net_read_from_doc[], net_write_to_doc[];

/* net_sockaddr.c. As socket.getsockname() gives it; new reference. */
PyObject *net_address(const net_sockaddr *a);
/* (numeric host, port[, flowinfo, scope_id]), or a path. -1 with TypeError or ValueError. */
int net_sockaddr_of(int family, PyObject *address, net_sockaddr *out);
/* A socket that listens: the core's rm_conn_listen_sa, and SO_REUSEPORT. backlog 0: the system's limit. Or -errno. */
int net_listen_on(const net_sockaddr *a, int backlog, bool reuse_port, bool v6only);

#endif
