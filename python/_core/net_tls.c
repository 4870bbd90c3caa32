/* net_tls.c: TLS on a Conn: the interpreter's own ssl object between two memory BIOs.
 *
 * The ssl object never waits: it turns bytes into bytes, and what waits is this file, as every connection does. So a
 * reader and a writer may use it in turn, and a timeout or a cancellation leaves it whole: the next call goes on.
 *
 * Turns. What arrives as ciphertext is read, and fed into `in`, by who has the read turn; what leaves is taken from
 * `out`, and sent, by who has the write turn, in the order in which it was made. Reading, too, makes ciphertext now
 * and then (an answer to a key update): the reader sends it if the write turn is free; else its holder does, who sends
 * until there is no more. A handshake has both turns, the read turn first; nobody waits for the read turn while he
 * has the write turn. User code that ssl calls (SNI) runs only in there.
 *
 * The methods are those of `SSLObject._sslobj`, not SSLObject's own, because they are handed memory of the caller's,
 * which no Python code is to see. */
#include "net_py.h"

#include <unistd.h>

#define RECORD_MAX 16384
#define SEND_CHUNK 65536

struct net_tls {
    PyObject *object;   /* ssl.SSLObject */
    PyObject *ssl;      /* its _sslobj */
    PyObject *in, *out; /* ssl.MemoryBIO */
    PyObject *read, *write, *feed, *take; /* of ssl and the two */
    PyObject *unsent;   /* bytes taken from out; or NULL */
    Py_ssize_t sent;    /* of them */
    bool greeted;       /* the handshake is done */
    bool failed;        /* and will never be */
    bool dry;           /* in holds nothing that could be read */
    bool bye;           /* we have said that nothing follows */
};

enum { SSL_CONTEXT, SSL_BIO, SSL_ERROR, SSL_WANT_READ, SSL_ZERO_RETURN, SSL_EOF, SSL_NAMES };
_Static_assert(SSL_NAMES <= sizeof((core_state *)0)->ssl / sizeof(PyObject *), "core_state.ssl");

/* ------------------------------------------------------------------ life ---- */

static int load_ssl(core_state *st) {
    static const char *const names[SSL_NAMES] = {"SSLContext",       "MemoryBIO",          "SSLError",
                                                 "SSLWantReadError", "SSLZeroReturnError", "SSLEOFError"};
    if (st->ssl[SSL_NAMES - 1]) return 0;
    PyObject *ssl = PyImport_ImportModule("ssl");
    if (!ssl) return -1;
    int e = st->str_pending || (st->str_pending = PyUnicode_InternFromString("pending")) ? 0 : -1;
    for (int i = 0; !e && i < SSL_NAMES; i++)
        if (!st->ssl[i] && !(st->ssl[i] = PyObject_GetAttrString(ssl, names[i]))) e = -1;
    Py_DECREF(ssl);
    return e;
}

int net_tls_context(core_state *st, const char *fn, const char *arg, PyObject *context) {
    if (load_ssl(st)) return -1;
    int is = PyObject_IsInstance(context, st->ssl[SSL_CONTEXT]);
    if (!is)
        PyErr_Format(PyExc_TypeError, "%s: %s must be an ssl.SSLContext, not %.100s", fn, arg,
                     Py_TYPE(context)->tp_name);
    return is > 0 ? 0 : -1;
}

static PyObject **objects(net_tls *t, size_t i) {
    PyObject **const all[] = {&t->object, &t->ssl,  &t->in,   &t->out,   &t->read,
                              &t->write,  &t->feed, &t->take, &t->unsent};
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

int net_tls_traverse(net_tls *t, visitproc visit, void *arg) {
    for (size_t i = 0; objects(t, i); i++) Py_VISIT(*objects(t, i));
    return 0;
}

void net_tls_free(net_tls *t) {
    if (!t) return;
    for (size_t i = 0; objects(t, i); i++) Py_CLEAR(*objects(t, i));
    PyMem_Free(t);
}

PyObject *net_tls_object(const py_conn *self) { return Py_NewRef(self->tls ? self->tls->object : Py_None); }

int net_tls_wrap(py_conn *self, PyObject *context, bool server_side, PyObject *server_hostname) {
    core_state *st = self->st;
    if (!server_side && server_hostname == Py_None) { /* SSLObject would then check no name at all */
        PyObject *check = PyObject_GetAttrString(context, "check_hostname");
        int needed = check ? PyObject_IsTrue(check) : -1;
        Py_XDECREF(check);
        if (needed > 0) PyErr_SetString(PyExc_ValueError, "TLS: the context's check_hostname needs a server_hostname");
        if (needed) return -1;
    }
    net_tls *t = PyMem_Calloc(1, sizeof *t);
    if (!t) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *wrap = PyObject_GetAttrString(context, "wrap_bio");
    PyObject *kwnames = Py_BuildValue("(ss)", "server_side", "server_hostname");
    t->in = PyObject_CallNoArgs(st->ssl[SSL_BIO]);
    t->out = PyObject_CallNoArgs(st->ssl[SSL_BIO]);
    t->dry = true;
    if (wrap && kwnames && t->in && t->out) {
        PyObject *args[] = {t->in, t->out, server_side ? Py_True : Py_False, server_hostname};
        t->object = PyObject_Vectorcall(wrap, args, 2, kwnames);
    }
    Py_XDECREF(wrap);
    Py_XDECREF(kwnames);
    if (t->object && (t->ssl = PyObject_GetAttrString(t->object, "_sslobj")) &&
        (t->read = PyObject_GetAttrString(t->ssl, "read")) && (t->write = PyObject_GetAttrString(t->ssl, "write")) &&
        (t->feed = PyObject_GetAttrString(t->in, "write")) && (t->take = PyObject_GetAttrString(t->out, "read"))) {
        self->tls = t;
        return 0;
    }
    net_tls_free(t);
    return -1;
}

/* ------------------------------------------------------------------ ciphertext ---- */

/* method(view of buf): an int; -1 with an exception. */
static Py_ssize_t call_with_view(PyObject *method, const void *buf, size_t n) {
    PyObject *view = PyMemoryView_FromMemory((char *)buf, (Py_ssize_t)n, PyBUF_READ);
    PyObject *r = view ? PyObject_CallOneArg(method, view) : NULL;
    Py_XDECREF(view);
    if (!r) return -1;
    Py_ssize_t done = PyLong_AsSsize_t(r);
    Py_DECREF(r);
    return done;
}

/* -1 with an exception. */
static Py_ssize_t pending(core_state *st, PyObject *bio) {
    PyObject *r = PyObject_GetAttr(bio, st->str_pending);
    Py_ssize_t n = r ? PyLong_AsSsize_t(r) : -1;
    Py_XDECREF(r);
    return n;
}

/* In the write turn: send what has been made. 0 or an error. */
static ssize_t flush(py_conn *self, rm_g *g, int64_t deadline) {
    net_tls *t = self->tls;
    for (;;) {
        if (!t->unsent) {
            PyObject *b = PyObject_CallNoArgs(t->take);
            if (!b) return NET_RAISED;
            if (!PyBytes_GET_SIZE(b)) {
                Py_DECREF(b);
                return 0;
            }
            t->unsent = b;
            t->sent = 0;
        }
        Py_ssize_t left = PyBytes_GET_SIZE(t->unsent) - t->sent;
        struct iovec v = {PyBytes_AS_STRING(t->unsent) + t->sent, (size_t)left};
        net_vector a = {&v, 1, self->c->socket};
        ssize_t e = rm_conn_io_more(self->c, g, RM_NP_WRITE, net_write_vector, &a, deadline);
        if (e) {
            t->sent += left - (Py_ssize_t)v.iov_len;
            return e;
        }
        Py_CLEAR(t->unsent);
    }
}

/* By a reader. 0 or an error. */
static ssize_t flush_if_free(py_conn *self, rm_g *g, int64_t deadline) {
    if (self->c->busy[RM_NP_WRITE]) return 0;
    if (!self->tls->unsent) {
        Py_ssize_t n = pending(self->st, self->tls->out);
        if (n <= 0) return n ? NET_RAISED : 0;
    }
    ssize_t e = rm_conn_begin(self->c, g, RM_NP_WRITE, deadline);
    if (e) return e;
    e = flush(self, g, deadline);
    rm_conn_end(self->c, RM_NP_WRITE);
    return e;
}

/* In the read turn: wait for ciphertext. 0 or an error. */
static ssize_t feed(py_conn *self, rm_g *g, int64_t deadline) {
    net_tls *t = self->tls;
    char *scratch = self->st->net_scratch; /* as in net.c: nothing runs between the system call and our copy */
    ssize_t got = rm_conn_read_more(self->c, g, scratch, NET_SCRATCH_BYTES, deadline);
    if (got < 0) return got;
    t->dry = false;
    if (got) return call_with_view(t->feed, scratch, (size_t)got) < 0 ? NET_RAISED : 0;
    PyObject *r = PyObject_CallMethod(t->in, "write_eof", NULL);
    Py_XDECREF(r);
    return r ? 0 : NET_RAISED;
}

/* What an exception of ssl's means: -EAGAIN (more ciphertext is needed), 0 (the end), NET_RAISED (it is set). An end
 * that was not announced is one too, as it is in the ssl module: too many peers end so. */
static ssize_t outcome(py_conn *self) {
    PyObject *const *ssl = self->st->ssl;
    if (PyErr_ExceptionMatches(ssl[SSL_WANT_READ])) {
        PyErr_Clear();
        return -EAGAIN;
    }
    bool end = PyErr_ExceptionMatches(ssl[SSL_ZERO_RETURN]) || PyErr_ExceptionMatches(ssl[SSL_EOF]);
    if (!end || !self->tls->greeted) return NET_RAISED;
    PyErr_Clear();
    return 0;
}

/* ------------------------------------------------------------------ the handshake ---- */

/* In both turns. 0 or an error. */
static ssize_t shake(py_conn *self, rm_g *g, int64_t deadline) {
    net_tls *t = self->tls;
    while (!t->greeted) {
        if (t->failed) {
            PyErr_SetString(self->st->ssl[SSL_ERROR], "the TLS handshake of this connection has failed before");
            return NET_RAISED;
        }
        PyObject *r = PyObject_CallMethod(t->ssl, "do_handshake", NULL);
        ssize_t e = r ? 0 : outcome(self);
        Py_XDECREF(r);
        if (e == NET_RAISED) {
            t->failed = PyErr_ExceptionMatches(self->st->ssl[SSL_ERROR]); /* else it came out of a signal handler */
            PyObject *exc = core_take_exception();
            if (flush(self, g, RAMET_POLL) == NET_RAISED)
                PyErr_Clear(); /* tell the peer why, if it can be had cheaply */
            core_put_exception(exc);
            return e;
        }
        t->greeted = e == 0;
        t->dry = e == -EAGAIN;
        if ((e = flush(self, g, deadline))) return e;
        if (!t->greeted && (e = feed(self, g, deadline))) return e;
    }
    return 0;
}

ssize_t net_tls_ready(py_conn *self, rm_g *g, int64_t deadline) {
    if (self->tls->greeted) return 0;
    ssize_t e = rm_conn_begin(self->c, g, RM_NP_READ, deadline);
    if (e) return e;
    if (!(e = rm_conn_begin(self->c, g, RM_NP_WRITE, deadline))) {
        e = shake(self, g, deadline);
        rm_conn_end(self->c, RM_NP_WRITE);
    }
    rm_conn_end(self->c, RM_NP_READ);
    return e;
}

const char net_handshake_doc[] =
    "handshake($self, timeout=None)\n--\n\nDo the TLS handshake now if it has not been done: else the first read or "
    "write does it. On a connection without\n"
    "TLS, nothing.\n\n"
    "May park. Goroutines and the main thread. ssl.SSLError, and the connection is of no use any more; other errors "
    "as read().";
PyObject *net_handshake(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int64_t deadline;
    if (core_timeout_arg("handshake", args, nargs, kwnames, &deadline)) return NULL;
    rm_g *g = net_enter(self->st, "Conn.handshake()");
    if (!g) return NULL;
    net_settle(self);
    ssize_t e = self->tls && !self->tls->greeted ? net_tls_ready(self, g, deadline) : net_read_nothing(self, g);
    if (e) return net_conn_fail(self, g, (int)e, "handshake");
    Py_RETURN_NONE;
}

/* In both turns: what had been read ahead was ciphertext. */
static ssize_t start(py_conn *self, rm_g *g, PyObject *context, bool server_side, PyObject *hostname,
                     int64_t deadline) {
    if (self->tls) {
        PyErr_SetString(PyExc_ValueError, "start_tls: the connection has TLS already");
        return NET_RAISED;
    }
    if (net_tls_wrap(self, context, server_side, hostname)) return NET_RAISED;
    size_t n = net_buffered(self);
    if (n) {
        if (call_with_view(self->tls->feed, self->in.p + self->in.start, n) < 0) return NET_RAISED;
        self->in.start = self->in.end = 0;
        self->tls->dry = false;
    }
    return shake(self, g, deadline);
}

const char net_start_tls_doc[] =
    "start_tls($self, context, *, server_side=False, server_hostname=None, timeout=None)\n--\n\nBegin TLS on this "
    "connection, here and now, as `context`, an ssl.SSLContext, says; server_hostname is the name\n"
    "the peer has to prove, and is asked for by SNI.\n\n"
    "What the peer sent before and was not read yet is taken for a part of its handshake. May park. Goroutines and "
    "the\n"
    "main thread. ssl.SSLError (SSLCertVerificationError ...), and the connection is of no use any more; ValueError "
    "if\n"
    "it has TLS already or a server_hostname is missing; other errors as read().";
PyObject *net_start_tls(py_conn *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"context", "server_side", "server_hostname", "timeout", NULL};
    PyObject *context, *hostname = Py_None, *timeout = Py_None;
    int server_side = 0;
    int64_t deadline;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$pOO:start_tls", names, &context, &server_side, &hostname,
                                     &timeout))
        return NULL;
    if (net_tls_context(self->st, "start_tls", "context", context)) return NULL;
    if (hostname != Py_None && !PyUnicode_Check(hostname))
        return PyErr_Format(PyExc_TypeError, "start_tls: server_hostname must be a str or None, not %.100s",
                            Py_TYPE(hostname)->tp_name);
    if (core_deadline(timeout, "timeout", &deadline)) return NULL;
    if (self->datagram) {
        PyErr_SetString(PyExc_ValueError, "start_tls: TLS needs a stream, and this connection sends datagrams");
        return NULL;
    }
    rm_g *g = net_enter(self->st, "Conn.start_tls()");
    if (!g) return NULL;
    net_settle(self);
    ssize_t e = rm_conn_begin(self->c, g, RM_NP_READ, deadline);
    if (!e) {
        if (!(e = rm_conn_begin(self->c, g, RM_NP_WRITE, deadline))) {
            e = start(self, g, context, server_side, hostname, deadline);
            rm_conn_end(self->c, RM_NP_WRITE);
        }
        rm_conn_end(self->c, RM_NP_READ);
    }
    if (e) return net_conn_fail(self, g, (int)e, "start_tls");
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ reading ---- */

/* Decrypt what there is: bytes, 0 (the end), -EAGAIN or NET_RAISED. */
static ssize_t decrypt(py_conn *self, void *buf, size_t n) {
    net_tls *t = self->tls;
    PyObject *view = PyMemoryView_FromMemory(buf, (Py_ssize_t)n, PyBUF_WRITE), *size = PyLong_FromSize_t(n), *r = NULL;
    if (view && size) r = PyObject_CallFunctionObjArgs(t->read, size, view, NULL);
    Py_XDECREF(view);
    Py_XDECREF(size);
    if (!view || !size) return NET_RAISED;
    if (!r) {
        ssize_t e = outcome(self);
        if (e == -EAGAIN) t->dry = true;
        return e;
    }
    Py_ssize_t got = PyLong_AsSsize_t(r);
    Py_DECREF(r);
    if (got > 0 && (size_t)got < n) { /* the record is exhausted; who asks anyway pays for an exception */
        Py_ssize_t more = pending(self->st, t->in);
        if (more < 0) return NET_RAISED;
        t->dry = more == 0;
    }
    return got;
}

ssize_t net_tls_read(py_conn *self, rm_g *g, void *buf, size_t n, int64_t deadline) {
    net_tls *t = self->tls;
    for (;;) {
        ssize_t e = t->dry ? -EAGAIN : decrypt(self, buf, n);
        if (e != -EAGAIN) return e;
        if ((e = flush_if_free(self, g, deadline)) || (e = feed(self, g, deadline))) return e;
    }
}

void net_tls_drain(py_conn *self) {
    char *p;
    while (!self->tls->dry && (p = net_buffer_room(self, RECORD_MAX))) {
        ssize_t got = decrypt(self, p, RECORD_MAX);
        if (got == NET_RAISED) PyErr_Clear(); /* who reads will meet it again */
        if (got <= 0) return;
        self->in.end += (size_t)got;
    }
}

/* ------------------------------------------------------------------ writing ---- */

/* Several small pieces become one record. */
static size_t gather(char *to, const struct iovec *v, size_t n) {
    size_t have = 0;
    for (; n && have < RECORD_MAX; v++, n--) {
        size_t part = v->iov_len < RECORD_MAX - have ? v->iov_len : RECORD_MAX - have;
        memcpy(to + have, v->iov_base, part);
        have += part;
    }
    return have;
}

ssize_t net_tls_write(py_conn *self, rm_g *g, struct iovec *v, size_t n, int64_t deadline) {
    for (;;) {
        for (; n && !v->iov_len; v++, n--) continue;
        if (!n) return 0;
        if (self->tls->bye) return -EPIPE;
        const char *from = v->iov_base;
        size_t size = v->iov_len < SEND_CHUNK ? v->iov_len : SEND_CHUNK;
        if (n > 1 && size < RECORD_MAX) size = gather(self->st->net_scratch, v, n), from = self->st->net_scratch;
        Py_ssize_t put = call_with_view(self->tls->write, from, size);
        if (put < 0) {
            ssize_t e = outcome(self);
            if (e == -EAGAIN)
                PyErr_SetString(self->st->ssl[SSL_ERROR], "the peer asks for a renegotiation: TLS 1.3 has "
                                                          "none, and here it is not supported");
            return e == -EAGAIN ? NET_RAISED : e ? e : -EPIPE;
        }
        for (size_t left = (size_t)put; left;) {
            size_t part = left < v->iov_len ? left : v->iov_len;
            v->iov_base = (char *)v->iov_base + part;
            v->iov_len -= part;
            left -= part;
            if (!v->iov_len) v++, n--;
        }
        ssize_t e = flush(self, g, deadline);
        if (!e && g->p && rm_load(&g->p->attention)) e = rm_yield(g);
        if (e) return e;
    }
}

/* Have it made that nothing follows. */
static void say_bye(net_tls *t) {
    PyObject *r = PyObject_CallMethod(t->ssl, "shutdown", NULL);
    if (!r) PyErr_Clear(); /* it would have us wait for the peer's */
    Py_XDECREF(r);
    t->bye = true;
}

/* shutdown() tries to read the peer's answer, and drops data that it finds instead: so there must be none. Who reads
 * and is parked has seen that there is none. */
ssize_t net_tls_close_write(py_conn *self, rm_g *g) {
    net_tls *t = self->tls;
    ssize_t e = net_tls_ready(self, g, RM_FOREVER);
    if (e || (e = rm_conn_begin(self->c, g, RM_NP_WRITE, RM_FOREVER))) return e;
    while (!t->dry) {
        e = rm_conn_begin(self->c, g, RM_NP_READ, RAMET_POLL);
        if (e == -EAGAIN && !(e = rm_yield(g))) continue; /* he is about to wait, or done */
        if (e) break;
        net_tls_drain(self);
        rm_conn_end(self->c, RM_NP_READ);
        break;
    }
    if (!e) {
        if (!t->bye) say_bye(t);
        e = flush(self, g, RM_FOREVER);
    }
    rm_conn_end(self->c, RM_NP_WRITE);
    return e;
}

/* Never parks: what the socket does not take at once is not sent. A forked child must not end its parent's session. */
void net_tls_close(py_conn *self) {
    net_tls *t = self->tls;
    rm_conn *c = self->c;
    if (!t->greeted || t->bye || t->unsent || c->busy[RM_NP_WRITE] || c->pid != (int)getpid()) return;
    PyObject *saved = core_take_exception();
    say_bye(t);
    PyObject *b = PyObject_CallNoArgs(t->take);
    if (b && c->fd >= 0)
        (void)!send(c->fd, PyBytes_AS_STRING(b), (size_t)PyBytes_GET_SIZE(b), MSG_DONTWAIT | MSG_NOSIGNAL);
    Py_XDECREF(b);
    core_put_exception(saved);
}
