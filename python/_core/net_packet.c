/* net_packet.c: datagrams: what PacketConn does beside what all connections do. One system call is one datagram: nothing
 * is buffered, and nothing is done in part. */
#include "net_py.h"

#include <unistd.h>

#define PACKET_MAX (1 << 20) /* bytes set aside for one datagram at most */

typedef struct packet {
    void *buf;
    size_t n;
    net_sockaddr *peer;
} packet;

static ssize_t receive(int fd, void *arg) {
    packet *a = arg;
    a->peer->len = sizeof a->peer->storage;
    ssize_t got = recvfrom(fd, a->buf, a->n, 0, &a->peer->sa, &a->peer->len);
    return got < 0 ? -errno : got;
}

static ssize_t send_one(int fd, void *arg) {
    packet *a = arg;
    ssize_t put = sendto(fd, a->buf, a->n, MSG_NOSIGNAL, &a->peer->sa, a->peer->len);
    return put < 0 ? -errno : put;
}

const char net_read_from_doc[] = "read_from($self, n, timeout=None)\n--\n\nThe next datagram: (data, addr). What it "
                                 "has beyond n bytes is lost; addr is None if "
                                 "the sender has none.\n\n"
                                 "May park. Goroutines and the main thread. TimeoutError after `timeout` seconds or at "
                                 "the read deadline; ErrClosed\n"
                                 "if it is closed meanwhile, ValueError if it was before; Cancelled, and nothing is "
                                 "read; what else the system says.";
PyObject *net_read_from(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *arg;
    int64_t deadline;
    Py_ssize_t n;
    net_sockaddr peer;
    if (net_one_and_timeout("read_from", "n", args, nargs, kwnames, &arg, &deadline)) return NULL;
    if (net_count("read_from", arg, &n)) return NULL;
    if (n > PACKET_MAX) n = PACKET_MAX;
    rm_g *g = net_enter(self->st, "PacketConn.read_from()");
    if (!g) return NULL;
    net_settle(self);
    /* what is usual goes through the scratch buffer, as in net.c */
    bool small = n <= NET_SCRATCH_BYTES;
    PyObject *data = small ? NULL : PyBytes_FromStringAndSize(NULL, n);
    if (!small && !data) return NULL;
    packet a = {small ? self->st->net_scratch : PyBytes_AS_STRING(data), (size_t)n, &peer};
    memset(&peer, 0, sizeof peer);
    ssize_t got = rm_conn_io(self->c, g, RM_NP_READ, receive, &a, deadline);
    if (got < 0) {
        Py_XDECREF(data);
        return net_conn_fail(self, g, (int)got, "read_from");
    }
    if (small) data = PyBytes_FromStringAndSize(a.buf, got);
    else if (got < n) _PyBytes_Resize(&data, got);
    if (!data) return NULL;
    PyObject *addr = peer.len ? net_address(&peer) : Py_NewRef(Py_None);
    PyObject *out = addr ? PyTuple_Pack(2, data, addr) : NULL;
    Py_XDECREF(addr);
    Py_DECREF(data);
    return out;
}

static int family_of(py_conn *self) {
    int family = 0;
    socklen_t len = sizeof family;
    return getsockopt(self->c->fd, SOL_SOCKET, SO_DOMAIN, &family, &len) ? -errno : family;
}

const char net_write_to_doc[] =
    "write_to($self, data, addr, timeout=None)\n--\n\nSend data, a bytes-like object, as one datagram to addr, which "
    "is as "
    "read_from() gives it (no name is looked up):\n"
    "its length in bytes.\n\n"
    "May park. Goroutines and the main thread. TimeoutError after `timeout` seconds or at the write deadline; "
    "ErrClosed\n"
    "if it is closed meanwhile, ValueError if it was before; Cancelled, and nothing is sent; OSError (EMSGSIZE ...).";
PyObject *net_write_to(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"data", "addr", "timeout"};
    PyObject *a[3];
    int64_t deadline = RM_FOREVER;
    net_sockaddr peer;
    Py_buffer view;
    if (core_args("write_to", args, nargs, kwnames, names, 2, 3, a)) return NULL;
    if (a[2] && core_deadline(a[2], "timeout", &deadline)) return NULL;
    if (self->c->fd < 0) return net_raise_closed(self, "write_to");
    int family = family_of(self);
    if (family < 0) return net_fail(self->st, NULL, family);
    if (net_sockaddr_of(family, a[1], &peer)) return NULL;
    if (PyObject_GetBuffer(a[0], &view, PyBUF_SIMPLE)) {
        PyErr_Clear();
        return PyErr_Format(PyExc_TypeError, "write_to: data must be a contiguous bytes-like object, not %.100s",
                            Py_TYPE(a[0])->tp_name);
    }
    rm_g *g = net_enter(self->st, "PacketConn.write_to()");
    ssize_t put = 0;
    if (g) {
        packet p = {view.buf, (size_t)view.len, &peer};
        net_settle(self);
        put = rm_conn_io(self->c, g, RM_NP_WRITE, send_one, &p, deadline);
    }
    PyBuffer_Release(&view);
    if (!g) return NULL;
    return put < 0 ? net_conn_fail(self, g, (int)put, "write_to") : PyLong_FromSsize_t(put);
}

int net_bind_packet(const net_sockaddr *a, bool v6only) {
    int fd = socket(a->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), only = v6only;
    if (fd < 0) return -errno;
    if ((a->sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only)) ||
        bind(fd, &a->sa, a->len)) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}
