/* net.c: ramet.net.Conn and ramet.net.Listener over rm_conn. What makes them: net_open.c; addresses:
 * net_sockaddr.c; the read buffer: net_buffer.c; writev
 * and sendfile: net_send.c; TLS: net_tls.c.
 *
 * A read goes into a scratch buffer of the module's, whatever was asked for, and is copied from there: bytes of
 * just the right size, none of them held while the goroutine waits. That is sound although rm_conn_read may
 * park: it fills the buffer by the system call it returns from, and between the two nothing else runs. A reader whose last
 * read filled at least half of what it asked for gets its next one straight into a bytes object instead.
 *
 * The system calls do not block, and the GIL is kept around them. What is written or read into is held by a
 * reference or a buffer export while the goroutine waits.
 *
 * An rm_conn refers to the runtime it was used with last. When that has ended, or was left behind in a
 * fork, `settle` gives the descriptor to the one there is. */
#include "net_py.h"

#include <unistd.h>

#define GREEDY_MAX (1 << 20) /* bytes set aside for one read at most */
#define GREEDY_MIN 4096
#define RECORD_MAX 16384 /* of TLS */

static bool is_packet(const py_conn *self) { return Py_TYPE((PyObject *)self) == self->st->packet_type; }

static const char *kind(const py_conn *self) {
    return is_packet(self) ? "packet connection" : self->c->listener ? "listener" : "connection";
}

/* ------------------------------------------------------------------ life ---- */

/* Forget who waited in another life: in a runtime that has ended, or in the parent of a fork. rt may be NULL. */
rm_noinline void net_settle_slow(rm_conn *c, rm_rt *rt) {
    if (c->rt != rt && c->pd) {
        if (!c->pd->rt) rm_pd_close(c->pd); /* a record without a runtime */
        c->pd = NULL; /* else one of the parent's poller, which is not to be touched: forgotten */
    }
    pid_t pid = rt ? rt->pid : getpid();
    if (c->pid != pid) {
        free(c->path);
        c->path = NULL;
    }
    c->rt = rt;
    c->pid = pid;
    c->drained = false;
    c->busy[0] = c->busy[1] = false;
    c->turn[0] = c->turn[1] = (rm_waitq){NULL, NULL};
}

PyObject *net_conn_new(PyTypeObject *type, core_state *st, rm_conn *c) {
    py_conn *self = (py_conn *)type->tp_alloc(type, 0);
    if (!self) {
        rm_conn_unref(c);
        return NULL;
    }
    self->c = c;
    self->st = st;
    return (PyObject *)self;
}

static void close_now(py_conn *self) {
    rm_conn *c = self->c;
    if (c->fd < 0) return;
    Py_CLEAR(self->accept_tls);
    if (self->st->entry) net_settle(self);
    else if (c->rt) net_settle_slow(c, NULL);
    if (!c->rt && c->path) { /* rm_conn_close asks the runtime */
        unlink(c->path);
        free(c->path);
        c->path = NULL;
    }
    rm_conn_close(c);
}

static void conn_finalize(py_conn *self) {
    if (!self->c || self->c->fd < 0) return;
    PyObject *saved = core_take_exception();
    if (PyErr_ResourceWarning((PyObject *)self, 1, "unclosed %R", self) &&
        PyErr_ExceptionMatches(PyExc_Warning)) /* a warning made an error */
        PyErr_WriteUnraisable((PyObject *)self);
    close_now(self);
    core_put_exception(saved);
}

static int conn_traverse(py_conn *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->accept_tls);
    return self->tls ? net_tls_traverse(self->tls, visit, arg) : 0;
}

static int conn_clear(py_conn *self) {
    net_tls *t = self->tls;
    Py_CLEAR(self->accept_tls);
    self->tls = NULL;
    net_tls_free(t);
    return 0;
}

static void conn_dealloc(py_conn *self) {
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) return;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    core_clear_weakrefs((PyObject *)self, &self->weakrefs);
    CORE_OWNED;
    if (self->c) rm_conn_unref(self->c);
    free(self->in.p);
    conn_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------------ errors ---- */

PyObject *net_raise_closed(py_conn *self, const char *what) {
    PyErr_Format(PyExc_ValueError, "%s on closed %s", what, kind(self));
    return NULL;
}

/* Those of the core are the core's to raise; -EPIPE and the like are the system's. */
rm_noinline PyObject *net_fail(core_state *st, rm_g *g, int e) {
    switch (e) {
    case -ECANCELED:
    case -EINTR:
    case -ETIMEDOUT:
    case -EDEADLK:
    case -ENOMEM:
        return core_raise(st, g, e);
    default:
        errno = -e;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
}

rm_noinline PyObject *net_conn_fail(py_conn *self, rm_g *g, int e, const char *what) {
    bool closed = self->c->fd < 0;
    if (e == NET_RAISED) return NULL;
    if (closed && e == -EBADF) return net_raise_closed(self, what);
    if (closed && e == -ECONNABORTED) return core_raise(self->st, g, e);
    return net_fail(self->st, g, e);
}

/* ------------------------------------------------------------------ reading and writing ---- */

rm_noinline int net_count(const char *fn, PyObject *o, Py_ssize_t *n) {
    if (!PyIndex_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s: n must be an int, not %.100s", fn, Py_TYPE(o)->tp_name);
        return -1;
    }
    *n = PyNumber_AsSsize_t(o, NULL); /* clipped */
    if (*n == -1 && PyErr_Occurred()) return -1;
    if (*n < 0) {
        PyErr_Format(PyExc_ValueError, "%s: n must not be negative: %S", fn, o);
        return -1;
    }
    return 0;
}

int net_read_nothing(py_conn *self, rm_g *g) {
    int e = rm_check_cancel(g);
    return e ? e : self->c->fd < 0 ? -EBADF : 0;
}

/* Straight into an object of its own, in a turn. */
static rm_noinline PyObject *read_greedy(py_conn *self, rm_g *g, Py_ssize_t n, int64_t deadline, ssize_t *e) {
    PyObject *b = PyBytes_FromStringAndSize(NULL, n);
    if (!b) return NULL;
    ssize_t got = net_pull(self, g, PyBytes_AS_STRING(b), (size_t)n, deadline);
    if (got < 0) {
        *e = got;
        Py_DECREF(b);
        return NULL;
    }
    self->greedy = got >= n / 2;
    if (got < n) _PyBytes_Resize(&b, got); /* b: NULL with an exception if that fails */
    return b;
}

PyDoc_STRVAR(
    read_doc,
    "read($self, n, timeout=None)\n--\n\nAt least one byte and at most n, as soon as there are any; b'' at the end of "
    "the stream.\n\n"
    "May park. Goroutines and the main thread. TimeoutError after `timeout` seconds or at the connection's read\n"
    "deadline; ErrClosed if it is closed meanwhile, ValueError if it was before; Cancelled, and nothing is read;\n"
    "ConnectionResetError and what else the system says.");
static PyObject *conn_read(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *arg;
    int64_t deadline;
    if (rm_unlikely(net_one_and_timeout("read", "n", args, nargs, kwnames, &arg, &deadline))) return NULL;
    Py_ssize_t n = PyLong_CheckExact(arg) ? PyLong_AsSsize_t(arg) : -1;
    if (rm_unlikely(n < 0)) {
        PyErr_Clear();
        if (net_count("read", arg, &n)) return NULL;
    }
    core_state *st = self->st;
    rm_g *g = net_enter(st, "Conn.read()");
    if (rm_unlikely(!g)) return NULL;
    net_settle(self);
    if (rm_unlikely(n == 0)) {
        int e = net_read_nothing(self, g);
        return e ? net_conn_fail(self, g, e, "read") : PyBytes_FromStringAndSize(NULL, 0);
    }
    PyObject *b = NULL;
    ssize_t got = net_begin(self, g, RM_NP_READ, deadline);
    if (rm_unlikely(got)) return net_conn_fail(self, g, (int)got, "read");
    if (rm_unlikely(net_buffered(self) != 0)) {
        b = net_buffer_take(self, (size_t)n);
    } else if (rm_unlikely(self->tls != NULL)) { /* a record at a time */
        b = read_greedy(self, g, n < RECORD_MAX ? n : RECORD_MAX, deadline, &got);
    } else if (self->greedy && n >= GREEDY_MIN) {
        b = read_greedy(self, g, n < GREEDY_MAX ? n : GREEDY_MAX, deadline, &got);
    } else {
        if (n > NET_SCRATCH_BYTES) n = NET_SCRATCH_BYTES;
        got = rm_conn_read_more(self->c, g, st->net_scratch, (size_t)n, deadline);
        if (rm_likely(got >= 0)) {
            self->greedy = got >= GREEDY_MIN / 2 && got >= n / 2;
            b = PyBytes_FromStringAndSize(st->net_scratch, got);
        }
    }
    rm_conn_end(self->c, RM_NP_READ);
    return rm_unlikely(got < 0) ? net_conn_fail(self, g, (int)got, "read") : b;
}

static ssize_t read_into(py_conn *self, rm_g *g, char *to, size_t n, int64_t deadline) {
    ssize_t got = net_begin(self, g, RM_NP_READ, deadline);
    if (got) return got;
    got = net_buffered(self) ? (ssize_t)net_buffer_copy(self, to, n) : net_pull(self, g, to, n, deadline);
    rm_conn_end(self->c, RM_NP_READ);
    return got;
}

PyDoc_STRVAR(readinto_doc, "readinto($self, buf, timeout=None)\n--\n\nRead at most len(buf) bytes into a writable "
                           "buffer: how many; 0 at the end of the stream.\n\n"
                           "May park. Goroutines and the main thread. Errors as read().");
static PyObject *conn_readinto(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *buf;
    int64_t deadline;
    Py_buffer view;
    if (net_one_and_timeout("readinto", "buf", args, nargs, kwnames, &buf, &deadline)) return NULL;
    if (PyObject_GetBuffer(buf, &view, PyBUF_WRITABLE)) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "readinto: buf must be a writable, contiguous bytes-like object, not %.100s",
                     Py_TYPE(buf)->tp_name);
        return NULL;
    }
    rm_g *g = net_enter(self->st, "Conn.readinto()");
    ssize_t got = 0;
    if (g) {
        net_settle(self);
        got = view.len ? read_into(self, g, view.buf, (size_t)view.len, deadline) : net_read_nothing(self, g);
    }
    PyBuffer_Release(&view);
    if (!g) return NULL;
    return got < 0 ? net_conn_fail(self, g, (int)got, "readinto") : PyLong_FromSsize_t(got);
}

static rm_noinline ssize_t write_slow(py_conn *self, rm_g *g, const Py_buffer *view, int64_t deadline) {
    struct iovec v = {view->buf, (size_t)view->len};
    ssize_t e = net_begin(self, g, RM_NP_WRITE, deadline);
    if (e) return e;
    e = net_push(self, g, &v, 1, deadline);
    rm_conn_end(self->c, RM_NP_WRITE);
    return e ? e : view->len;
}

PyDoc_STRVAR(
    write_doc,
    "write($self, b, timeout=None)\n--\n\nWrite all of b, a bytes-like object: its length in bytes.\n\n"
    "May park. Goroutines and the main thread. Writes of several goroutines do not mix. TimeoutError after `timeout`\n"
    "seconds or at the connection's write deadline; ErrClosed if it is closed meanwhile, ValueError if it was before;\n"
    "Cancelled; BrokenPipeError, ConnectionResetError and what else the system says. A write that fails after it had\n"
    "to wait may have written a part.");
static PyObject *conn_write(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *b;
    int64_t deadline;
    if (rm_unlikely(net_one_and_timeout("write", "b", args, nargs, kwnames, &b, &deadline))) return NULL;
    Py_buffer view;
    bool plain = PyBytes_CheckExact(b);
    if (rm_likely(plain)) {
        Py_INCREF(b);
        view.buf = PyBytes_AS_STRING(b);
        view.len = PyBytes_GET_SIZE(b);
    } else if (PyObject_GetBuffer(b, &view, PyBUF_SIMPLE)) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "write: b must be a contiguous bytes-like object, not %.100s",
                     Py_TYPE(b)->tp_name);
        return NULL;
    }
    rm_g *g = net_enter(self->st, "Conn.write()");
    ssize_t put = 0;
    if (rm_likely(g != NULL)) {
        net_settle(self);
        /* TLS may begin while we wait for our turn */
        if (rm_unlikely(self->tls || self->c->busy[RM_NP_WRITE])) put = write_slow(self, g, &view, deadline);
        else put = rm_conn_write(self->c, g, view.buf, (size_t)view.len, deadline, NULL);
    }
    if (plain) Py_DECREF(b);
    else PyBuffer_Release(&view);
    if (rm_unlikely(!g)) return NULL;
    return rm_unlikely(put < 0) ? net_conn_fail(self, g, (int)put, "write") : PyLong_FromSsize_t(put);
}

static PyObject *shut(py_conn *self, int how, const char *where, const char *what) {
    rm_g *g = net_enter(self->st, where);
    if (!g) return NULL;
    net_settle(self);
    int e = self->tls && how == SHUT_WR ? (int)net_tls_close_write(self, g) : rm_conn_shutdown(self->c, how);
    if (e) return net_conn_fail(self, g, e, what);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    close_read_doc,
    "close_read($self)\n--\n\nNothing more is read from the system: whoever waits for it, or reads what had come "
    "to its end, gets the end of\n"
    "the stream.\n\nNever parks. Goroutines and the main thread. ValueError if closed; OSError (ENOTCONN ...).");
static PyObject *conn_close_read(py_conn *self, PyObject *unused) {
    (void)unused;
    return shut(self, SHUT_RD, "Conn.close_read()", "close_read");
}

PyDoc_STRVAR(
    close_write_doc,
    "close_write($self)\n--\n\nWrite no more: the peer reads what was written, then the end of the stream. Reading "
    "goes on.\n\n"
    "Never parks, but with TLS, which tells the peer so. Goroutines and the main thread. ValueError if closed; "
    "OSError\n"
    "(ENOTCONN ...).");
static PyObject *conn_close_write(py_conn *self, PyObject *unused) {
    (void)unused;
    return shut(self, SHUT_WR, "Conn.close_write()", "close_write");
}

/* ------------------------------------------------------------------ deadlines ---- */

static PyObject *set_deadlines(py_conn *self, PyObject *t, const char *what, bool read, bool write) {
    int64_t when = RM_FOREVER;
    if (t != Py_None) {
        if (!PyLong_Check(t) && !PyFloat_Check(t)) {
            PyErr_Format(PyExc_TypeError, "%s: t must be a time of monotonic() (int or float) or None, not %.100s",
                         what, Py_TYPE(t)->tp_name);
            return NULL;
        }
        if (core_duration(t, "t", &when)) return NULL;
    }
    if (!net_enter(self->st, what)) return NULL;
    net_settle(self);
    if (self->c->fd < 0) return net_raise_closed(self, what);
    if (read) rm_conn_set_deadline(self->c, RM_NP_READ, when);
    if (write) rm_conn_set_deadline(self->c, RM_NP_WRITE, when);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_deadline_doc,
             "set_deadline($self, t, /)\n--\n\nFrom the time t of monotonic() on, reads and writes raise TimeoutError, "
             "also those that wait now, until\n"
             "it is set anew; None clears it. Never parks. Goroutines and the main thread. ValueError if closed.");
static PyObject *conn_set_deadline(py_conn *self, PyObject *t) {
    return set_deadlines(self, t, "set_deadline", true, true);
}

PyDoc_STRVAR(set_read_deadline_doc, "set_read_deadline($self, t, /)\n--\n\nset_deadline() for reads alone.");
static PyObject *conn_set_read_deadline(py_conn *self, PyObject *t) {
    return set_deadlines(self, t, "set_read_deadline", true, false);
}

PyDoc_STRVAR(set_write_deadline_doc, "set_write_deadline($self, t, /)\n--\n\nset_deadline() for writes alone.");
static PyObject *conn_set_write_deadline(py_conn *self, PyObject *t) {
    return set_deadlines(self, t, "set_write_deadline", false, true);
}

/* ------------------------------------------------------------------ what both have ---- */

PyDoc_STRVAR(close_doc, "close($self)\n--\n\nClose. Whoever waits on it gets ErrClosed, whoever uses it later "
                        "ValueError; a second close does nothing.\n\n"
                        "Never parks. Goroutines and the main thread.");
static PyObject *conn_close(py_conn *self, PyObject *unused) {
    (void)unused;
    if (self->c->fd < 0) Py_RETURN_NONE;
    /* when there is no runtime, nobody can be waiting */
    if (self->st->rt && !net_enter(self->st, self->c->listener ? "Listener.close()" : "Conn.close()")) return NULL;
    if (self->tls && self->st->rt) net_tls_close(self);
    close_now(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fileno_doc, "fileno($self)\n--\n\nThe descriptor, which stays ours: non-blocking, closed by close(). "
                         "ValueError if closed. Any thread.");
static PyObject *conn_fileno(py_conn *self, PyObject *unused) {
    (void)unused;
    return self->c->fd < 0 ? net_raise_closed(self, "fileno") : PyLong_FromLong(self->c->fd);
}

static PyObject *conn_enter(py_conn *self, PyObject *unused) {
    (void)unused;
    return self->c->fd < 0 ? net_raise_closed(self, "with") : Py_NewRef(self);
}

static PyObject *conn_exit(py_conn *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)args, (void)nargs;
    return conn_close(self, NULL);
}

static PyObject *address_of(py_conn *self, int (*get)(const rm_conn *, struct sockaddr *, socklen_t *),
                            const char *what) {
    net_sockaddr a;
    memset(&a, 0, sizeof a);
    a.len = sizeof a.storage;
    if (self->c->fd < 0) return net_raise_closed(self, what);
    int e = get(self->c, &a.sa, &a.len);
    return e ? net_fail(self->st, NULL, e) : net_address(&a);
}

static PyObject *get_local(py_conn *self, void *what) { return address_of(self, rm_conn_local, what); }

static PyObject *get_remote(py_conn *self, void *what) {
    if (self->c->fd < 0 || !self->remote_len) return address_of(self, rm_conn_remote, what);
    net_sockaddr a;
    memcpy(&a.storage, &self->remote, self->remote_len);
    a.len = self->remote_len;
    return net_address(&a);
}

static PyObject *conn_repr(py_conn *self) {
    bool packet = is_packet(self);
    const char *name = packet ? "ramet.net.PacketConn" : self->c->listener ? "ramet.net.Listener" : "ramet.net.Conn";
    if (self->c->fd < 0) return PyUnicode_FromFormat("<%s closed at %p>", name, self);
    PyObject *local = get_local(self, ""), *r = NULL;
    if (!local) PyErr_Clear();
    if (self->c->listener || packet) {
        r = PyUnicode_FromFormat("<%s fd=%d addr=%R>", name, self->c->fd, local ? local : Py_None);
    } else {
        PyObject *remote = get_remote(self, "");
        if (!remote) PyErr_Clear();
        r = PyUnicode_FromFormat("<%s fd=%d local=%R remote=%R>", name, self->c->fd, local ? local : Py_None,
                                 remote ? remote : Py_None);
        Py_XDECREF(remote);
    }
    Py_XDECREF(local);
    return r;
}

/* ------------------------------------------------------------------ the types ---- */

#define FAST(f) ((PyCFunction)(void (*)(void))(f))
#define COMMON_METHODS                                                                                                 \
    {"close", (PyCFunction)conn_close, METH_NOARGS, close_doc},                                                        \
        {"fileno", (PyCFunction)conn_fileno, METH_NOARGS, fileno_doc},                                                 \
        {"__enter__", (PyCFunction)conn_enter, METH_NOARGS, "__enter__($self)\n--\n\nItself. Never parks."},           \
        {"__exit__", FAST(conn_exit), METH_FASTCALL, "__exit__($self, *exc)\n--\n\nclose(). Never parks."}

static PyObject *conn_buffered(py_conn *self, PyObject *u) {
    (void)u;
    return PyLong_FromSize_t(net_buffered(self));
}

static PyMethodDef conn_methods[] = {
    {"_buffered", (PyCFunction)conn_buffered, METH_NOARGS,
     "_buffered($self)\n--\n\nHow many bytes have been read from the system that the next reads get first."},
    {"read", FAST(conn_read), METH_FASTCALL | METH_KEYWORDS, read_doc},
    {"readinto", FAST(conn_readinto), METH_FASTCALL | METH_KEYWORDS, readinto_doc},
    {"read_exactly", FAST(net_read_exactly), METH_FASTCALL | METH_KEYWORDS, net_read_exactly_doc},
    {"read_until", FAST(net_read_until), METH_FASTCALL | METH_KEYWORDS, net_read_until_doc},
    {"readline", FAST(net_readline), METH_FASTCALL | METH_KEYWORDS, net_readline_doc},
    {"write", FAST(conn_write), METH_FASTCALL | METH_KEYWORDS, write_doc},
    {"writev", FAST(net_writev), METH_FASTCALL | METH_KEYWORDS, net_writev_doc},
    {"sendfile", FAST(net_sendfile), METH_FASTCALL | METH_KEYWORDS, net_sendfile_doc},
    {"_splice", FAST(net_splice), METH_FASTCALL, net_splice_doc},
    {"handshake", FAST(net_handshake), METH_FASTCALL | METH_KEYWORDS, net_handshake_doc},
    {"start_tls", FAST(net_start_tls), METH_VARARGS | METH_KEYWORDS, net_start_tls_doc},
    {"send_fds", FAST(net_send_fds), METH_FASTCALL | METH_KEYWORDS, net_send_fds_doc},
    {"recv_fds", FAST(net_recv_fds), METH_FASTCALL | METH_KEYWORDS, net_recv_fds_doc},
    {"close_read", (PyCFunction)conn_close_read, METH_NOARGS, close_read_doc},
    {"close_write", (PyCFunction)conn_close_write, METH_NOARGS, close_write_doc},
    {"set_deadline", (PyCFunction)conn_set_deadline, METH_O, set_deadline_doc},
    {"set_read_deadline", (PyCFunction)conn_set_read_deadline, METH_O, set_read_deadline_doc},
    {"set_write_deadline", (PyCFunction)conn_set_write_deadline, METH_O, set_write_deadline_doc},
    COMMON_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyObject *get_tls(py_conn *self, void *unused) {
    (void)unused;
    return net_tls_object(self);
}

static PyGetSetDef conn_getset[] = {
    {"tls", (getter)get_tls, NULL,
     "The ssl.SSLObject, for version(), cipher(), getpeercert(), selected_alpn_protocol() and the like; None without "
     "TLS.",
     NULL},
    {"local_addr", (getter)get_local, NULL, "Our address, as the socket module gives it. ValueError if closed.",
     "local_addr"},
    {"remote_addr", (getter)get_remote, NULL,
     "The peer's address, as the socket module gives it. ValueError if closed.", "remote_addr"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_conn, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(conn_doc, "A connection, made by dial() and Listener.accept(). Several goroutines may use it at once; "
                       "closing it wakes them.\n\n"
                       "Iteration is by line, as readline(). A context manager that closes it. Dropped while open, it "
                       "is closed with a ResourceWarning.");
static PyType_Slot conn_slots[] = {
    {Py_tp_traverse, conn_traverse}, {Py_tp_clear, conn_clear},       {Py_tp_doc, (void *)conn_doc},
    {Py_tp_finalize, conn_finalize}, {Py_tp_dealloc, conn_dealloc},   {Py_tp_repr, conn_repr},
    {Py_tp_methods, conn_methods},   {Py_tp_getset, conn_getset},     {Py_tp_members, members},
    {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, net_next_line}, {0, NULL},
};
static PyType_Spec conn_spec = {
    "ramet.net.Conn", sizeof(py_conn), 0,
    Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, conn_slots};

static PyMethodDef listener_methods[] = {
    {"accept", FAST(net_accept), METH_FASTCALL | METH_KEYWORDS, net_accept_doc},
    COMMON_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef listener_getset[] = {
    {"addr", (getter)get_local, NULL, "Where it listens, as the socket module gives it. ValueError if closed.", "addr"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(listener_doc,
             "What listen() returns. Iteration accepts until it is closed. An OSError in it (EMFILE ...) does not end "
             "the listener:\nwho catches it may iterate anew, after a pause that lets descriptors come back.\n\n"
             "A context manager that closes it. Dropped while open, it is closed with a ResourceWarning.");
static PyType_Slot listener_slots[] = {
    {Py_tp_traverse, conn_traverse}, {Py_tp_clear, conn_clear},         {Py_tp_doc, (void *)listener_doc},
    {Py_tp_finalize, conn_finalize}, {Py_tp_dealloc, conn_dealloc},     {Py_tp_repr, conn_repr},
    {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, net_accept_next}, {Py_tp_methods, listener_methods},
    {Py_tp_getset, listener_getset}, {Py_tp_members, members},          {0, NULL},
};
static PyType_Spec listener_spec = {"ramet.net.Listener", sizeof(py_conn), 0,
                                    Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                                        Py_TPFLAGS_IMMUTABLETYPE,
                                    listener_slots};

static PyMethodDef packet_methods[] = {
    {"read_from", FAST(net_read_from), METH_FASTCALL | METH_KEYWORDS, net_read_from_doc},
    {"write_to", FAST(net_write_to), METH_FASTCALL | METH_KEYWORDS, net_write_to_doc},
    {"set_deadline", (PyCFunction)conn_set_deadline, METH_O, set_deadline_doc},
    {"set_read_deadline", (PyCFunction)conn_set_read_deadline, METH_O, set_read_deadline_doc},
    {"set_write_deadline", (PyCFunction)conn_set_write_deadline, METH_O, set_write_deadline_doc},
    COMMON_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef packet_getset[] = {
    {"addr", (getter)get_local, NULL, "Our address, as the socket module gives it. ValueError if closed.", "addr"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    packet_doc,
    "Datagrams from and to anybody, made by listen_packet(). Several goroutines may use it at once; closing it "
    "wakes them.\n\n"
    "A context manager that closes it. Dropped while open, it is closed with a ResourceWarning.");
static PyType_Slot packet_slots[] = {
    {Py_tp_traverse, conn_traverse}, {Py_tp_clear, conn_clear},
    {Py_tp_doc, (void *)packet_doc}, {Py_tp_finalize, conn_finalize},
    {Py_tp_dealloc, conn_dealloc},   {Py_tp_repr, conn_repr},
    {Py_tp_methods, packet_methods}, {Py_tp_getset, packet_getset},
    {Py_tp_members, members},        {0, NULL},
};
static PyType_Spec packet_spec = {"ramet.net.PacketConn", sizeof(py_conn), 0,
                                  Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                                      Py_TPFLAGS_IMMUTABLETYPE,
                                  packet_slots};

static PyMethodDef functions[] = {
    {"_connect", net_connect, METH_VARARGS, net_connect_doc},
    {"_listen", net_listen, METH_VARARGS, net_listen_doc},
    {"_listen_packet", net_listen_packet, METH_VARARGS, net_listen_packet_doc},
    {"_from_fd", net_from_fd, METH_O, net_from_fd_doc},
    {NULL, NULL, 0, NULL},
};

int net_init(PyObject *module, core_state *st) {
    if (!(st->net_scratch = malloc(NET_SCRATCH_BYTES))) { /* module.c frees it */
        PyErr_NoMemory();
        return -1;
    }
    if (!(st->conn_type = (PyTypeObject *)core_type(module, &conn_spec, NULL))) return -1;
    if (!(st->listener_type = (PyTypeObject *)core_type(module, &listener_spec, NULL))) return -1;
    if (!(st->packet_type = (PyTypeObject *)core_type(module, &packet_spec, NULL))) return -1;
    if (PyModule_AddType(module, st->packet_type)) return -1;
    if (PyModule_AddType(module, st->conn_type) || PyModule_AddType(module, st->listener_type)) return -1;
    PyObject *home = PyUnicode_FromString("ramet.net"); /* where the exceptions are to be found */
    PyObject *const excs[] = {st->ErrClosed, st->IncompleteRead, st->LimitExceeded};
    int e = home ? 0 : -1;
    for (size_t i = 0; !e && i < sizeof excs / sizeof *excs; i++)
        e = PyObject_SetAttrString(excs[i], "__module__", home);
    Py_XDECREF(home);
    return e ? e : core_functions(module, functions);
}
