/* net_open.c: how connections and listeners come to be: accept, connect, listen. Names and addresses are net.py's and
 * _dial.py's business. */
#include "net_py.h"

#include <unistd.h>

/* ------------------------------------------------------------------ accepting ---- */

static int accept_one(py_conn *self, rm_g *g, int64_t deadline, PyObject **out) {
    net_sockaddr a;
    rm_conn *c;
    a.len = sizeof a.storage;
    net_settle(self);
    int fd = rm_conn_accept_fd(self->c, g, deadline, &a.sa, &a.len);
    if (fd < 0) return fd;
    int e = rm_conn_from_fd(self->st->rt, fd, false, &c);
    if (e) {
        close(fd);
        return e;
    }
    *out = net_conn_new(self->st->conn_type, self->st, c);
    if (*out && self->accept_tls && net_tls_wrap((py_conn *)*out, self->accept_tls, true, Py_None)) {
        PyObject *exc = core_take_exception();
        rm_conn_close(c);
        Py_CLEAR(*out);
        core_put_exception(exc);
    }
    if (*out && a.len <= sizeof(struct sockaddr_in6) && (a.sa.sa_family == AF_INET || a.sa.sa_family == AF_INET6)) {
        py_conn *conn = (py_conn *)*out;
        memcpy(&conn->remote, &a.storage, a.len);
        conn->remote_len = (uint8_t)a.len;
    }
    return 0;
}

const char net_accept_doc[] =
    "accept($self, timeout=None)\n--\n\nThe next connection, a Conn.\n\n"
    "May park. Goroutines and the main thread. TimeoutError after `timeout` seconds; ErrClosed if the "
    "listener is closed\n"
    "meanwhile, ValueError if it was before; Cancelled, and nothing is accepted; OSError (EMFILE ...).";
PyObject *net_accept(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"timeout"};
    int64_t deadline = RM_FOREVER;
    PyObject *timeout = NULL, *conn = NULL;
    if (nargs || kwnames) {
        if (core_args("accept", args, nargs, kwnames, names, 0, 1, &timeout)) return NULL;
        if (timeout && core_deadline(timeout, "timeout", &deadline)) return NULL;
    }
    rm_g *g = net_enter(self->st, "Listener.accept()");
    if (!g) return NULL;
    int e = accept_one(self, g, deadline, &conn);
    return e ? net_conn_fail(self, g, e, "accept") : conn;
}

PyObject *net_accept_next(py_conn *self) {
    PyObject *conn = NULL;
    rm_g *g = net_enter(self->st, "Listener.accept()");
    if (!g) return NULL;
    int e = accept_one(self, g, RM_FOREVER, &conn);
    if (e && self->c->fd < 0 && (e == -EBADF || e == -ECONNABORTED)) return NULL; /* the end of the iteration */
    return e ? net_conn_fail(self, g, e, "accept") : conn;
}

/* ------------------------------------------------------------------ making them ---- */

/* A dialled port of this machine was ephemeral, free, and chosen as our own: the two ends met in one socket. */
static bool met_itself(const rm_conn *c) {
    net_sockaddr a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.len = b.len = sizeof a.storage;
    if (rm_conn_local(c, &a.sa, &a.len) || rm_conn_remote(c, &b.sa, &b.len)) return false;
    return a.len == b.len && !memcmp(&a.sa, &b.sa, a.len);
}

const char net_connect_doc[] = "_connect(family, type, address, timeout, /)\n--\n\nA Conn to a numeric address of the "
                               "socket module's form. May park.";
PyObject *net_connect(PyObject *module, PyObject *args) {
    core_state *st = core_of(module);
    int family, type;
    PyObject *address, *timeout;
    net_sockaddr a;
    int64_t deadline;
    rm_conn *c;
    if (!PyArg_ParseTuple(args, "iiOO:_connect", &family, &type, &address, &timeout)) return NULL;
    if (core_deadline(timeout, "timeout", &deadline) || net_sockaddr_of(family, address, &a)) return NULL;
    rm_g *g = net_enter(st, "net.dial()");
    if (!g) return NULL;
    int e = rm_check_cancel(g);
    for (int again = 0; !e; again++) {
        e = rm_conn_connect(st->rt, g, &a.sa, a.len, type, deadline, &c);
        if (e || family == AF_UNIX || type != SOCK_STREAM || again == 2 || !met_itself(c)) break;
        rm_conn_unref(c);
    }
    if (e) return net_fail(st, g, e);
    PyObject *conn = net_conn_new(st->conn_type, st, c);
    if (conn) ((py_conn *)conn)->datagram = type == SOCK_DGRAM;
    return conn;
}

const char net_listen_doc[] =
    "_listen(family, address, backlog, reuse_port, v6only, tls, /)\n--\n\nA Listener; backlog 0: the "
    "system's limit. Never parks.";
PyObject *net_listen(PyObject *module, PyObject *args) {
    core_state *st = core_of(module);
    int family, backlog, reuse_port, v6only;
    PyObject *address, *tls;
    net_sockaddr a;
    rm_conn *c;
    if (!PyArg_ParseTuple(args, "iOippO:_listen", &family, &address, &backlog, &reuse_port, &v6only, &tls)) return NULL;
    if (tls != Py_None && net_tls_context(st, "listen", "tls", tls)) return NULL;
    if (net_sockaddr_of(family, address, &a)) return NULL;
    rm_g *g = net_enter(st, "net.listen()");
    if (!g) return NULL;
    int fd = net_listen_on(&a, backlog, reuse_port, v6only);
    if (fd < 0) return net_fail(st, g, fd);
    int e = rm_conn_from_fd(st->rt, fd, true, &c);
    if (e) {
        close(fd);
        return net_fail(st, g, e);
    }
    if (family == AF_UNIX && a.un.sun_path[0]) c->path = strdup(a.un.sun_path); /* unlinked by close */
    PyObject *listener = net_conn_new(st->listener_type, st, c);
    if (listener && tls != Py_None) ((py_conn *)listener)->accept_tls = Py_NewRef(tls);
    return listener;
}

const char net_listen_packet_doc[] = "_listen_packet(family, address, v6only, /)\n--\n\nA PacketConn. Never parks.";
PyObject *net_listen_packet(PyObject *module, PyObject *args) {
    core_state *st = core_of(module);
    int family, v6only;
    PyObject *address;
    net_sockaddr a;
    rm_conn *c;
    if (!PyArg_ParseTuple(args, "iOp:_listen_packet", &family, &address, &v6only)) return NULL;
    if (net_sockaddr_of(family, address, &a)) return NULL;
    rm_g *g = net_enter(st, "net.listen_packet()");
    if (!g) return NULL;
    int fd = net_bind_packet(&a, v6only);
    if (fd < 0) return net_fail(st, g, fd);
    int e = rm_conn_from_fd(st->rt, fd, false, &c);
    if (e) {
        close(fd);
        return net_fail(st, g, e);
    }
    if (family == AF_UNIX && a.un.sun_path[0]) c->path = strdup(a.un.sun_path); /* unlinked by close */
    return net_conn_new(st->packet_type, st, c);
}
