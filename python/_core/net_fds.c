/* net_fds.c: Conn.send_fds() and Conn.recv_fds(), which pass descriptors over Unix connections, and from_fd(), which makes
 * of one that has arrived what it is.
 *
 * Descriptors travel with the first byte that is sent with them; a read that the system answers stops before the next
 * byte that brings some. What a Conn has buffered was read without asking for descriptors: the system has closed what came
 * with it, so it is given out with none. */
#include "net_py.h"

#include <fcntl.h>
#include <unistd.h>

#define FDS_MAX 253 /* in one message: the kernel's SCM_MAX_FD */
#define DATA_MAX (1 << 20) /* bytes set aside for one read at most */

typedef struct fd_list {
    int n, v[FDS_MAX];
} fd_list;

typedef struct fd_message {
    char *p;
    size_t n;
    int flags;
    size_t room; /* of `control` that is used */
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
} fd_message;

static void close_all(fd_list *l) {
    while (l->n) close(l->v[--l->n]);
}

static PyObject *raise_os(int e, PyObject *text) { /* text stolen, may be NULL */
    PyObject *args = text ? Py_BuildValue("iN", e, text) : NULL;
    if (args) PyErr_SetObject(PyExc_OSError, args);
    Py_XDECREF(args);
    return NULL;
}

static int option_of(int fd, int name) {
    int v = 0;
    socklen_t len = sizeof v;
    return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -errno : v;
}

static PyObject *raise_tls(const char *fn) {
    return raise_os(EOPNOTSUPP, PyUnicode_FromFormat("%s: a connection with TLS passes no descriptors", fn));
}

/* What both begin with. */
static rm_g *enter(py_conn *self, const char *where, const char *fn) {
    rm_g *g = net_enter(self->st, where);
    if (!g) return NULL;
    net_settle(self);
    if (self->c->fd < 0) return (rm_g *)net_raise_closed(self, fn);
    if (option_of(self->c->fd, SO_DOMAIN) == AF_UNIX) return g;
    return (rm_g *)raise_os(EOPNOTSUPP, PyUnicode_FromFormat("%s: only unix connections pass descriptors", fn));
}

/* ------------------------------------------------------------------ sending ---- */

static int raise_bad(int i, int fd) {
    int e = errno;
    raise_os(e, PyUnicode_FromFormat("send_fds: fds[%d], which is %d: %s", i, fd, strerror(e)));
    return -1;
}

/* Descriptors of our own of those that l has, whatever becomes of the caller's while we wait. All are looked at before:
 * one that is closed may have the number that a duplicate gets. -1 with an exception. */
static int duplicate(fd_list *l) {
    int n = l->n;
    for (int i = 0; i < n; i++)
        if (fcntl(l->v[i], F_GETFD) < 0) return raise_bad(i, l->v[i]);
    for (l->n = 0; l->n < n; l->n++) {
        int fd = fcntl(l->v[l->n], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            raise_bad(l->n, l->v[l->n]);
            close_all(l);
            return -1;
        }
        l->v[l->n] = fd;
    }
    return 0;
}

static int duplicates_of(PyObject *fds, fd_list *out) {
    out->n = 0;
    if (!Py_TYPE(fds)->tp_iter && !PySequence_Check(fds)) {
        PyErr_Format(PyExc_TypeError, "send_fds: fds must be an iterable of descriptors, not %.100s",
                     Py_TYPE(fds)->tp_name);
        return -1;
    }
    PyObject *all = PySequence_Tuple(fds);
    if (!all) return -1;
    Py_ssize_t n = PyTuple_GET_SIZE(all);
    if (n > FDS_MAX)
        PyErr_Format(PyExc_ValueError, "send_fds: %zd descriptors, but one message carries at most %d", n, FDS_MAX);
    while (n <= FDS_MAX && out->n < n) {
        int fd = PyObject_AsFileDescriptor(PyTuple_GET_ITEM(all, out->n));
        if (fd < 0) break;
        out->v[out->n++] = fd;
    }
    int e = out->n == n ? duplicate(out) : -1;
    Py_DECREF(all);
    return e;
}

/* rm_conn_op: 0 when all is sent. */
static ssize_t send_message(int fd, void *arg) {
    fd_message *a = arg;
    do {
        struct iovec v = {a->p, a->n};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
        if (a->room) {
            m.msg_control = a->control;
            m.msg_controllen = a->room;
        }
        ssize_t put = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (put < 0) return -errno;
        a->room = 0;
        a->p += put;
        a->n -= (size_t)put;
    } while (a->n);
    return 0;
}

/* 0 or an error. */
static ssize_t send_all(py_conn *self, rm_g *g, Py_buffer *data, const fd_list *fds, int64_t deadline) {
    fd_message a = {.p = data->buf, .n = (size_t)data->len};
    if (fds->n) {
        struct cmsghdr *c = (struct cmsghdr *)a.control;
        a.room = CMSG_SPACE((size_t)fds->n * sizeof(int));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)fds->n * sizeof(int));
        memcpy(CMSG_DATA(c), fds->v, (size_t)fds->n * sizeof(int));
    }
    ssize_t e = rm_conn_begin(self->c, g, RM_NP_WRITE, deadline);
    if (e) return e;
    if (!self->tls) e = rm_conn_io_more(self->c, g, RM_NP_WRITE, send_message, &a, deadline);
    else if (!raise_tls("send_fds")) e = NET_RAISED;
    rm_conn_end(self->c, RM_NP_WRITE);
    return e;
}

const char net_send_fds_doc[] =
    "send_fds($self, data, fds, timeout=None)\n--\n\nWrite all of data, a bytes-like object, and pass with its first "
    "byte the descriptors fds, an iterable of ints\n"
    "or of what has a fileno(), at most 253: the length of data in bytes.\n\n"
    "The peer gets descriptors of its own of the same open files, which share their flags and positions: ours stay\n"
    "open, to be closed by us. Unix connections only (else OSError); data must not be empty, but in a datagram. May\n"
    "park. Goroutines and the main thread. Other errors as write().";
PyObject *net_send_fds(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"data", "fds", "timeout"};
    PyObject *a[3], *out = NULL;
    int64_t deadline = RM_FOREVER;
    Py_buffer view;
    fd_list fds;
    if (core_args("send_fds", args, nargs, kwnames, names, 2, 3, a)) return NULL;
    if (a[2] && core_deadline(a[2], "timeout", &deadline)) return NULL;
    if (PyObject_GetBuffer(a[0], &view, PyBUF_SIMPLE)) {
        PyErr_Clear();
        return PyErr_Format(PyExc_TypeError, "send_fds: data must be a contiguous bytes-like object, not %.100s",
                            Py_TYPE(a[0])->tp_name);
    }
    if (!duplicates_of(a[1], &fds)) {
        rm_g *g = enter(self, "Conn.send_fds()", "send_fds");
        if (g && !view.len && fds.n && !self->datagram) {
            PyErr_SetString(PyExc_ValueError, "send_fds: data must not be empty: descriptors go with a byte of it");
        } else if (g) {
            ssize_t e = send_all(self, g, &view, &fds, deadline);
            out = e < 0 ? net_conn_fail(self, g, (int)e, "send_fds") : PyLong_FromSsize_t(view.len);
        }
        close_all(&fds);
    }
    PyBuffer_Release(&view);
    return out;
}

/* ------------------------------------------------------------------ receiving ---- */

static ssize_t receive_message(int fd, void *arg) {
    fd_message *a = arg;
    struct iovec v = {a->p, a->n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = a->control, .msg_controllen = a->room};
    ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    if (got < 0) return -errno;
    a->flags = m.msg_flags;
    a->room = m.msg_controllen;
    return got;
}

static void received(fd_message *a, fd_list *out) {
    struct msghdr m = {.msg_control = a->control, .msg_controllen = a->room};
    out->n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        out->n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(out->v, CMSG_DATA(c), (size_t)out->n * sizeof(int));
    }
}

/* The next read gets them. In the turn, nothing buffered. */
static void put_back(py_conn *self, PyObject *data, size_t n) {
    net_buf *b = &self->in;
    if (b->cap < n) {
        char *p = realloc(b->p, n);
        if (!p) return;
        b->p = p;
        b->cap = n;
    }
    memcpy(b->p, PyBytes_AS_STRING(data), n);
    b->start = 0;
    b->end = n;
}

/* In the turn: the bytes, or NULL with *e or an exception. */
static PyObject *receive(py_conn *self, rm_g *g, Py_ssize_t n, int most, int64_t deadline, fd_list *fds, ssize_t *e) {
    fds->n = 0;
    if (self->tls) return raise_tls("recv_fds");
    if (net_buffered(self)) return net_buffer_take(self, (size_t)n);
    if (n > DATA_MAX) n = DATA_MAX;
    PyObject *data = PyBytes_FromStringAndSize(NULL, n);
    if (!data) return NULL;
    /* just so much room: with CMSG_SPACE's padding there would be some for one more */
    fd_message a = {.p = PyBytes_AS_STRING(data), .n = (size_t)n, .room = CMSG_LEN((size_t)most * sizeof(int))};
    ssize_t got = rm_conn_io_more(self->c, g, RM_NP_READ, receive_message, &a, deadline);
    if (got < 0) {
        *e = got;
        Py_CLEAR(data);
        return NULL;
    }
    received(&a, fds);
    if (!(a.flags & MSG_CTRUNC)) {
        if (got < n) _PyBytes_Resize(&data, got); /* NULL with an exception if that fails */
        return data;
    }
    bool full = fds->n < most;
    if (!self->datagram) put_back(self, data, (size_t)got);
    Py_DECREF(data);
    return full ? raise_os(EMFILE, PyUnicode_FromString("recv_fds: no room for all descriptors that came: those that "
                                                        "did are closed"))
                : raise_os(EMSGSIZE, PyUnicode_FromFormat("recv_fds: more than maxfds=%d descriptors came: all are "
                                                          "closed",
                                                          most));
}

static PyObject *as_result(PyObject *data, const fd_list *fds) {
    PyObject *list = PyList_New(fds->n);
    for (int i = 0; list && i < fds->n; i++) {
        PyObject *fd = PyLong_FromLong(fds->v[i]);
        if (fd) PyList_SET_ITEM(list, i, fd);
        else Py_CLEAR(list);
    }
    PyObject *out = list ? PyTuple_Pack(2, data, list) : NULL;
    Py_XDECREF(list);
    return out;
}

/* -1 with an exception. */
static int maxfds_of(PyObject *o, int *most) {
    if (!PyIndex_Check(o)) {
        PyErr_Format(PyExc_TypeError, "recv_fds: maxfds must be an int, not %.100s", Py_TYPE(o)->tp_name);
        return -1;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(o, NULL); /* clipped */
    if (n == -1 && PyErr_Occurred()) return -1;
    if (n < 0) {
        PyErr_Format(PyExc_ValueError, "recv_fds: maxfds must not be negative: %S", o);
        return -1;
    }
    *most = n < FDS_MAX ? (int)n : FDS_MAX;
    return 0;
}

const char net_recv_fds_doc[] =
    "recv_fds($self, n, maxfds, timeout=None)\n--\n\n(data, fds): as read(n), and the descriptors that came with those "
    "bytes, a list of at most maxfds, most often\n"
    "empty. They are the caller's, to be closed or given to from_fd(), and not inherited.\n\n"
    "What the connection has buffered comes first, without descriptors: every other way of reading drops those that\n"
    "come with its bytes, so both sides must know where some are to come. If there are more than maxfds, or than the\n"
    "process can have (EMFILE), all are closed and OSError is raised; the bytes of a stream can still be read. Unix\n"
    "connections only (else OSError). May park. Goroutines and the main thread. Other errors as read().";
PyObject *net_recv_fds(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"n", "maxfds", "timeout"};
    PyObject *a[3], *out = NULL;
    int64_t deadline = RM_FOREVER;
    Py_ssize_t n;
    int most;
    fd_list fds;
    if (core_args("recv_fds", args, nargs, kwnames, names, 2, 3, a)) return NULL;
    if (a[2] && core_deadline(a[2], "timeout", &deadline)) return NULL;
    if (net_count("recv_fds", a[0], &n) || maxfds_of(a[1], &most)) return NULL;
    rm_g *g = enter(self, "Conn.recv_fds()", "recv_fds");
    if (!g) return NULL;
    ssize_t e = n ? rm_conn_begin(self->c, g, RM_NP_READ, deadline) : net_read_nothing(self, g);
    if (e) return net_conn_fail(self, g, (int)e, "recv_fds");
    if (!n) return Py_BuildValue("y[]", "");
    PyObject *data = receive(self, g, n, most, deadline, &fds, &e);
    rm_conn_end(self->c, RM_NP_READ);
    if (e) return net_conn_fail(self, g, (int)e, "recv_fds");
    if (data) out = as_result(data, &fds);
    Py_XDECREF(data);
    if (!out) close_all(&fds);
    return out;
}

/* ------------------------------------------------------------------ taking over ---- */

const char net_from_fd_doc[] = "_from_fd(fd, /)\n--\n\nThe Conn, Listener or PacketConn that a descriptor is. Never "
                               "parks.";
PyObject *net_from_fd(PyObject *module, PyObject *arg) {
    core_state *st = core_of(module);
    if (!PyLong_Check(arg))
        return PyErr_Format(PyExc_TypeError, "from_fd: fd must be an int, not %.100s", Py_TYPE(arg)->tp_name);
    int overflow, fd;
    long given = PyLong_AsLongAndOverflow(arg, &overflow);
    if (overflow || given < 0 || given > INT_MAX)
        return PyErr_Format(PyExc_ValueError, "from_fd: %S is no descriptor", arg);
    fd = (int)given;
    rm_g *g = net_enter(st, "net.from_fd()");
    if (!g) return NULL;
    int type = option_of(fd, SO_TYPE);
    if (type < 0) return raise_os(-type, PyUnicode_FromFormat("from_fd: %d: %s", fd, strerror(-type)));
    if (type != SOCK_STREAM && type != SOCK_DGRAM)
        return PyErr_Format(PyExc_ValueError, "from_fd: %d is neither a stream nor a datagram socket", fd);
    net_sockaddr peer = {.len = sizeof peer.storage};
    bool listens = option_of(fd, SO_ACCEPTCONN) > 0;
    bool packets = type == SOCK_DGRAM && getpeername(fd, &peer.sa, &peer.len);
    rm_conn *c;
    int e = fcntl(fd, F_SETFD, FD_CLOEXEC) ? -errno : rm_conn_from_fd(st->rt, fd, listens, &c);
    if (e) return net_fail(st, g, e);
    PyObject *conn = net_conn_new(listens ? st->listener_type : packets ? st->packet_type : st->conn_type, st, c);
    if (conn) ((py_conn *)conn)->datagram = type == SOCK_DGRAM && !packets;
    return conn;
}
