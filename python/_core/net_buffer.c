/* net_buffer.c: reading a Conn by length, separator and line, through a buffer of the connection.
 *
 * The buffer holds what the system gave beyond what was asked for, and what an operation that failed had gathered: a
 * timeout, a cancellation and a limit lose nothing. Every read of a Conn, plain ones too, looks into it before it asks
 * the system, and does both in one read turn of rm_conn: a plain reader that waits while another is in the middle of a
 * line gets what comes after the line, wherever that is by then. So nobody else touches the buffer while a read into it is
 * parked, which is why the system reads into it directly: what cannot be stored is not read.
 *
 * A search goes on where the last one of its operation stopped. */
#include "net_py.h"

#define ROOM_MIN 4096
#define ROOM_MAX 65536
#define LIMIT_DEFAULT 65536

static void drop(net_buf *b, size_t n) {
    b->start += n;
    if (b->start < b->end) return;
    b->start = b->end = 0;
    if (b->cap <= ROOM_MAX) return;
    free(b->p);
    b->p = NULL;
    b->cap = 0;
}

bool net_has_buffered(core_state *st, PyObject *o) {
    if (Py_TYPE(o) != st->conn_type) return false;
    py_conn *self = (py_conn *)o;
    if (self->tls && !self->c->busy[RM_NP_READ]) net_tls_drain(self);
    return net_buffered(self) > 0;
}

PyObject *net_buffer_take(py_conn *self, size_t n) {
    if (n > net_buffered(self)) n = net_buffered(self);
    PyObject *r = PyBytes_FromStringAndSize(self->in.p + self->in.start, (Py_ssize_t)n);
    if (r && n) drop(&self->in, n);
    return r;
}

size_t net_buffer_copy(py_conn *self, char *to, size_t n) {
    if (n > net_buffered(self)) n = net_buffered(self);
    memcpy(to, self->in.p + self->in.start, n);
    drop(&self->in, n);
    return n;
}

char *net_buffer_room(py_conn *self, size_t room) {
    net_buf *b = &self->in;
    size_t have = b->end - b->start;
    if (b->start && b->cap - b->end < room) {
        memmove(b->p, b->p + b->start, have);
        b->start = 0;
        b->end = have;
    }
    if (b->cap - b->end < room) {
        size_t cap = have + room;
        if (have && cap < b->cap + b->cap / 2) cap = b->cap + b->cap / 2;
        char *p = realloc(b->p, cap);
        if (!p) return NULL;
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->end;
}

/* Read more into the buffer, with space for `want` bytes if that is not much more than has come yet: what a peer
 * announces is believed as it arrives. As net_pull. */
static ssize_t fill(py_conn *self, rm_g *g, size_t want, int64_t deadline) {
    net_buf *b = &self->in;
    size_t have = b->end - b->start, most = have > ROOM_MAX ? have : ROOM_MAX;
    size_t room = b->room ? b->room : ROOM_MIN;
    if (want > most) want = most;
    if (room < want) room = want;
    if (!net_buffer_room(self, room)) return -ENOMEM;
    /* who always finds data never parks */
    int e;
    if (rm_unlikely(g->p && rm_load(&g->p->attention)) && (e = rm_yield(g))) return e;
    size_t asked = b->cap - b->end;
    ssize_t got = net_pull(self, g, b->p + b->end, asked, deadline);
    if (got <= 0) return got;
    b->end += (size_t)got;
    if ((size_t)got == asked) b->room = room < ROOM_MAX ? room * 2 : ROOM_MAX;
    return got;
}

static PyObject *raise_incomplete(core_state *st, PyObject *partial, PyObject *text) { /* both stolen, may be NULL */
    PyObject *exc = partial && text ? PyObject_CallOneArg(st->IncompleteRead, text) : NULL;
    if (exc && !PyObject_SetAttrString(exc, "partial", partial)) PyErr_SetObject(st->IncompleteRead, exc);
    Py_XDECREF(exc);
    Py_XDECREF(partial);
    Py_XDECREF(text);
    return NULL;
}

static PyObject *raise_datagram(const char *what) {
    PyObject *text = PyUnicode_FromFormat("%s: datagrams are no stream", what), *args = NULL;
    if (text && (args = Py_BuildValue("iO", EOPNOTSUPP, text))) PyErr_SetObject(PyExc_OSError, args);
    Py_XDECREF(args);
    Py_XDECREF(text);
    return NULL;
}

/* ------------------------------------------------------------------ by length ---- */

const char net_read_exactly_doc[] =
    "read_exactly($self, n, timeout=None)\n--\n\nExactly n bytes. IncompleteRead if the stream ends before: its "
    "`partial` "
    "has what there was.\n\n"
    "May park. Goroutines and the main thread. A call that times out or is cancelled loses nothing: the next read\n"
    "gets what had come. Other errors as read().";
PyObject *net_read_exactly(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *arg, *out = NULL;
    int64_t deadline;
    Py_ssize_t n;
    if (net_one_and_timeout("read_exactly", "n", args, nargs, kwnames, &arg, &deadline)) return NULL;
    if (net_count("read_exactly", arg, &n)) return NULL;
    if (self->datagram) return raise_datagram("read_exactly");
    rm_g *g = net_enter(self->st, "Conn.read_exactly()");
    if (!g) return NULL;
    net_settle(self);
    if (n == 0) {
        int e = net_read_nothing(self, g);
        return e ? net_conn_fail(self, g, e, "read_exactly") : PyBytes_FromStringAndSize(NULL, 0);
    }
    size_t want = (size_t)n;
    ssize_t got = net_begin(self, g, RM_NP_READ, deadline);
    if (got) return net_conn_fail(self, g, (int)got, "read_exactly");
    got = 1;
    while (net_buffered(self) < want && (got = fill(self, g, want - net_buffered(self), deadline)) > 0) continue;
    if (got >= 0) out = net_buffer_take(self, want);
    rm_conn_end(self->c, RM_NP_READ);
    if (got < 0) return net_conn_fail(self, g, (int)got, "read_exactly");
    if (got > 0 || !out) return out;
    return raise_incomplete(
        self->st, out,
        PyUnicode_FromFormat("read_exactly: the stream ended after %zd of %zd bytes", PyBytes_GET_SIZE(out), n));
}

/* ------------------------------------------------------------------ by separator ---- */

/* sep: of m bytes. A line may be ended by the end of the stream. */
static PyObject *read_sep(py_conn *self, const char *what, const char *where, const char *sep, size_t m, size_t limit,
                          bool line, int64_t deadline) {
    if (self->datagram) return raise_datagram(what);
    rm_g *g = net_enter(self->st, where);
    if (!g) return NULL;
    net_settle(self);
    ssize_t got = net_begin(self, g, RM_NP_READ, deadline);
    if (got) return net_conn_fail(self, g, (int)got, what);
    PyObject *out = NULL;
    size_t searched = 0; /* from the start: no separator begins in there */
    enum { FOUND, ENDED, EXCEEDED, FAILED } how;
    for (;;) {
        size_t have = net_buffered(self), look = have < limit ? have : limit;
        const char *from = self->in.p + self->in.start, *at = NULL;
        if (look >= searched + m)
            at = m == 1 ? memchr(from + searched, sep[0], look - searched)
                        : memmem(from + searched, look - searched, sep, m);
        how = FOUND;
        if (at) {
            out = net_buffer_take(self, (size_t)(at - from) + m);
            break;
        }
        if (look >= m) searched = look - m + 1;
        how = EXCEEDED;
        if (have >= limit + line) break; /* a last line may be just as long */
        got = fill(self, g, 1, deadline);
        how = FAILED;
        if (got < 0) break;
        how = ENDED;
        if (got > 0) continue;
        out = net_buffer_take(self, have);
        break;
    }
    rm_conn_end(self->c, RM_NP_READ);
    if (how == FOUND || (how == ENDED && (line || !out))) return out;
    if (how == FAILED) return net_conn_fail(self, g, (int)got, what);
    PyObject *shown = PyBytes_FromStringAndSize(sep, (Py_ssize_t)(m < 64 ? m : 64));
    if (how == EXCEEDED) {
        if (shown) PyErr_Format(self->st->LimitExceeded, "%s: no %R within the limit of %zu bytes", what, shown, limit);
        Py_XDECREF(shown);
        return NULL;
    }
    PyObject *text = shown ? PyUnicode_FromFormat("%s: the stream ended after %zd bytes without %R", what,
                                                  PyBytes_GET_SIZE(out), shown)
                           : NULL;
    Py_XDECREF(shown);
    return raise_incomplete(self->st, out, text);
}

/* -1 with an exception. */
static int limit_of(const char *fn, PyObject *o, size_t *limit) {
    *limit = LIMIT_DEFAULT;
    if (!o) return 0;
    if (!PyIndex_Check(o)) {
        PyErr_Format(PyExc_TypeError, "%s: limit must be an int, not %.100s", fn, Py_TYPE(o)->tp_name);
        return -1;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(o, NULL); /* clipped */
    if (n == -1 && PyErr_Occurred()) return -1;
    if (n < 1) {
        PyErr_Format(PyExc_ValueError, "%s: limit must be at least 1, not %S", fn, o);
        return -1;
    }
    *limit = (size_t)n;
    return 0;
}

const char net_read_until_doc[] =
    "read_until($self, sep, limit=65536, timeout=None)\n--\n\nUp to and with the next sep, a bytes-like object.\n\n"
    "May park. Goroutines and the main thread. LimitExceeded if there is none within `limit` bytes: they can still be\n"
    "read. IncompleteRead if the stream ends before: its `partial` has what there was. A call that times out or is\n"
    "cancelled loses nothing: the next read gets what had come. Other errors as read().";
PyObject *net_read_until(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"sep", "limit", "timeout"};
    PyObject *a[3], *out = NULL;
    int64_t deadline = RM_FOREVER;
    size_t limit;
    Py_buffer sep;
    if (core_args("read_until", args, nargs, kwnames, names, 1, 3, a)) return NULL;
    if (limit_of("read_until", a[1], &limit) || (a[2] && core_deadline(a[2], "timeout", &deadline))) return NULL;
    if (PyObject_GetBuffer(a[0], &sep, PyBUF_SIMPLE)) {
        PyErr_Clear();
        return PyErr_Format(PyExc_TypeError, "read_until: sep must be a contiguous bytes-like object, not %.100s",
                            Py_TYPE(a[0])->tp_name);
    }
    if (sep.len == 0) PyErr_SetString(PyExc_ValueError, "read_until: sep must not be empty");
    else if ((size_t)sep.len > limit)
        PyErr_Format(PyExc_ValueError, "read_until: sep (%zd bytes) does not fit into limit (%zu)", sep.len, limit);
    else out = read_sep(self, "read_until", "Conn.read_until()", sep.buf, (size_t)sep.len, limit, false, deadline);
    PyBuffer_Release(&sep);
    return out;
}

const char net_readline_doc[] =
    "readline($self, limit=65536, timeout=None)\n--\n\nThe next line, with its b'\\n'; at the end of the stream what "
    "is "
    "left, then b''.\n\n"
    "May park. Goroutines and the main thread. LimitExceeded if a line is longer than `limit` bytes: they can still "
    "be\n"
    "read. A call that times out or is cancelled loses nothing: the next read gets what had come. Other errors as "
    "read().";
PyObject *net_readline(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"limit", "timeout"};
    PyObject *a[2] = {NULL, NULL};
    int64_t deadline = RM_FOREVER;
    size_t limit;
    if ((nargs || kwnames) && core_args("readline", args, nargs, kwnames, names, 0, 2, a)) return NULL;
    if (limit_of("readline", a[0], &limit) || (a[1] && core_deadline(a[1], "timeout", &deadline))) return NULL;
    return read_sep(self, "readline", "Conn.readline()", "\n", 1, limit, true, deadline);
}

PyObject *net_next_line(py_conn *self) {
    PyObject *line = read_sep(self, "readline", "Conn.readline()", "\n", 1, LIMIT_DEFAULT, true, RM_FOREVER);
    if (!line || PyBytes_GET_SIZE(line)) return line;
    Py_DECREF(line);
    return NULL;
}
