/* net_send.c: Conn.writev() and Conn.sendfile(). Each holds the write turn until it is done, so that the writes of others
 * do not get in between. */
#include "net_py.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_CHUNK (1 << 20) /* between two of them the others may run */
#define COPY_CHUNK 65536

ssize_t net_write_vector(int fd, void *arg) {
    net_vector *a = arg;
    while (a->n) {
        size_t n = a->n < IOV_MAX ? a->n : IOV_MAX;
        struct msghdr m = {.msg_iov = a->v, .msg_iovlen = n};
        ssize_t put = a->socket ? sendmsg(fd, &m, MSG_NOSIGNAL) : writev(fd, a->v, (int)n);
        if (put < 0) return -errno;
        size_t left = (size_t)put;
        for (; a->n && left >= a->v->iov_len; a->v++, a->n--) left -= a->v->iov_len;
        if (!a->n) break;
        a->v->iov_base = (char *)a->v->iov_base + left;
        a->v->iov_len -= left;
    }
    return 0;
}

ssize_t net_push(py_conn *self, rm_g *g, struct iovec *v, size_t n, int64_t deadline) {
    if (rm_unlikely(self->tls != NULL)) return net_tls_write(self, g, v, n, deadline);
    net_vector a = {v, n, self->c->socket};
    return rm_conn_io_more(self->c, g, RM_NP_WRITE, net_write_vector, &a, deadline);
}

const char net_writev_doc[] = "writev($self, bufs, timeout=None)\n--\n\nWrite all of bufs, an iterable of bytes-like "
                              "objects, in as few system calls as "
                              "will do: their length in bytes.\n\n"
                              "May park. Goroutines and the main thread. Errors as write().";
PyObject *net_writev(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *bufs, *out = NULL;
    int64_t deadline;
    if (net_one_and_timeout("writev", "bufs", args, nargs, kwnames, &bufs, &deadline)) return NULL;
    if (!Py_TYPE(bufs)->tp_iter && !PySequence_Check(bufs))
        return PyErr_Format(PyExc_TypeError, "writev: bufs must be an iterable of bytes-like objects, not %.100s",
                            Py_TYPE(bufs)->tp_name);
    PyObject *all = PySequence_Tuple(bufs);
    if (!all) return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(all), got = 0, total = 0;
    size_t parts = 0;
    Py_buffer *views = PyMem_New(Py_buffer, n ? n : 1);
    struct iovec *v = PyMem_New(struct iovec, n ? n : 1);
    if (!views || !v) {
        PyErr_NoMemory();
        goto done;
    }
    for (; got < n; got++) {
        PyObject *o = PyTuple_GET_ITEM(all, got);
        if (PyObject_GetBuffer(o, &views[got], PyBUF_SIMPLE)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "writev: bufs[%zd] must be a contiguous bytes-like object, not %.100s", got,
                         Py_TYPE(o)->tp_name);
            goto done;
        }
        if (!views[got].len) continue;
        v[parts++] = (struct iovec){views[got].buf, (size_t)views[got].len};
        total += views[got].len;
    }
    rm_g *g = net_enter(self->st, "Conn.writev()");
    if (!g) goto done;
    net_settle(self);
    ssize_t e = net_begin(self, g, RM_NP_WRITE, deadline);
    if (!e) {
        e = net_push(self, g, v, parts, deadline);
        rm_conn_end(self->c, RM_NP_WRITE);
    }
    out = e < 0 ? net_conn_fail(self, g, (int)e, "writev") : PyLong_FromSsize_t(total);
done:
    while (got > 0) PyBuffer_Release(&views[--got]);
    PyMem_Free(views);
    PyMem_Free(v);
    Py_DECREF(all);
    return out;
}

/* ------------------------------------------------------------------ files ---- */

typedef struct file_part {
    int in;
    off_t offset;
    size_t n;
} file_part;

static ssize_t send_part(int fd, void *arg) {
    file_part *a = arg;
    ssize_t put = sendfile(fd, a->in, &a->offset, a->n);
    return put < 0 ? -errno : put;
}

/* A descriptor of our own of a regular file, whatever becomes of f meanwhile; -1 (no exception): there is none. */
static int regular_file(PyObject *f) {
    struct stat s;
    int fd = PyObject_AsFileDescriptor(f);
    if (fd < 0) PyErr_Clear();
    return fd < 0 || fstat(fd, &s) || !S_ISREG(s.st_mode) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* In the turn. 0 or -errno; *sent counts. */
static ssize_t send_by_system(py_conn *self, rm_g *g, int in, off_t offset, Py_ssize_t count, int64_t deadline,
                              Py_ssize_t *sent) {
    for (;;) {
        size_t left = (size_t)(count - *sent);
        file_part a = {in, offset + *sent, left < FILE_CHUNK ? left : FILE_CHUNK};
        if (!left) return 0;
        ssize_t e = rm_conn_io_more(self->c, g, RM_NP_WRITE, send_part, &a, deadline);
        if (e <= 0) return e;
        *sent += e;
        if (g->p && rm_load(&g->p->attention) && (e = rm_yield(g))) return e;
    }
}

/* The same by reading and writing. */
static ssize_t send_by_copy(py_conn *self, rm_g *g, PyObject *f, PyObject *offset, Py_ssize_t count, int64_t deadline,
                            Py_ssize_t *sent) {
    PyObject *r = PyObject_CallMethod(f, "seek", "O", offset ? offset : Py_False);
    if (!r) {
        int off = offset ? PyObject_IsTrue(offset) : 0; /* what cannot seek is sent from where it is */
        if (off || !(PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_AttributeError)))
            return NET_RAISED;
        PyErr_Clear();
    }
    Py_XDECREF(r);
    while (*sent < count) {
        Py_ssize_t left = count - *sent;
        Py_buffer view;
        PyObject *b = PyObject_CallMethod(f, "read", "n", left < COPY_CHUNK ? left : COPY_CHUNK);
        if (!b) return NET_RAISED;
        if (PyObject_GetBuffer(b, &view, PyBUF_SIMPLE)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "sendfile: f.read() must return bytes, not %.100s", Py_TYPE(b)->tp_name);
            Py_DECREF(b);
            return NET_RAISED;
        }
        struct iovec v = {view.buf, (size_t)view.len};
        Py_ssize_t n = view.len;
        ssize_t e = n ? net_push(self, g, &v, 1, deadline) : 0;
        PyBuffer_Release(&view);
        Py_DECREF(b);
        if (e || !n) return e;
        *sent += n;
    }
    return 0;
}

typedef struct splice_part {
    int pipe;
    bool from_pipe;
    size_t n;
} splice_part;

static ssize_t splice_op(int fd, void *arg) {
    splice_part *a = arg;
    ssize_t n = splice(a->from_pipe ? a->pipe : fd, NULL, a->from_pipe ? fd : a->pipe, NULL, a->n,
                       SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    return n < 0 ? -errno : n;
}

const char net_splice_doc[] =
    "_splice($self, pipe, n, into, /)\n--\n\nMove at most n bytes into an empty pipe, or what is in it to the "
    "connection: how many; 0 at the end. May park.";
PyObject *net_splice(py_conn *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3) return PyErr_Format(PyExc_TypeError, "_splice takes 3 arguments (%zd given)", nargs);
    int pipe = (int)PyLong_AsLong(args[0]), into = PyObject_IsTrue(args[2]);
    Py_ssize_t n = PyLong_AsSsize_t(args[1]);
    if (PyErr_Occurred()) return NULL;
    rm_g *g = net_enter(self->st, "copy()");
    if (!g) return NULL;
    net_settle(self);
    splice_part a = {pipe, !into, n > 0 ? (size_t)n : 0};
    ssize_t moved =
        self->tls ? -EINVAL : rm_conn_io(self->c, g, into ? RM_NP_READ : RM_NP_WRITE, splice_op, &a, RM_FOREVER);
    return moved < 0 ? net_conn_fail(self, g, (int)moved, "copy") : PyLong_FromSsize_t(moved);
}

static int file_args(PyObject *f, PyObject *offset, PyObject *count, Py_ssize_t *from, Py_ssize_t *n) {
    PyObject *const given[] = {offset, count == Py_None ? NULL : count};
    Py_ssize_t *const to[] = {from, n};
    static const char *const names[] = {"offset", "count"};
    for (int i = 0; i < 2; i++) {
        if (!given[i]) continue;
        if (!PyIndex_Check(given[i])) {
            PyErr_Format(PyExc_TypeError, "sendfile: %s must be an int, not %.100s", names[i],
                         Py_TYPE(given[i])->tp_name);
            return -1;
        }
        *to[i] = PyNumber_AsSsize_t(given[i], NULL); /* clipped */
        if (*to[i] == -1 && PyErr_Occurred()) return -1;
        if (*to[i] < 0) {
            PyErr_Format(PyExc_ValueError, "sendfile: %s must not be negative: %S", names[i], given[i]);
            return -1;
        }
    }
    if (*n > PY_SSIZE_T_MAX - *from) *n = PY_SSIZE_T_MAX - *from;
    PyObject *mode = PyObject_GetAttrString(f, "mode");
    bool text = mode && PyUnicode_Check(mode) && PyUnicode_FindChar(mode, 'b', 0, PyUnicode_GET_LENGTH(mode), 1) == -1;
    Py_XDECREF(mode);
    PyErr_Clear();
    if (!text) return 0;
    PyErr_SetString(PyExc_ValueError, "sendfile: f must be open in binary mode");
    return -1;
}

const char net_sendfile_doc[] =
    "sendfile($self, f, offset=0, count=None, timeout=None)\n--\n\nSend the file f, open in binary mode, from offset "
    "on, "
    "count bytes of it or all there are: how many were sent.\n\n"
    "By sendfile(2) if f is a file of the system's, else by reading and writing; f's position afterwards is not\n"
    "defined. May park. Goroutines and the main thread. Errors as write(); what reading f raises.";
PyObject *net_sendfile(py_conn *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    static const char *const names[] = {"f", "offset", "count", "timeout"};
    PyObject *a[4];
    int64_t deadline = RM_FOREVER;
    Py_ssize_t offset = 0, count = PY_SSIZE_T_MAX, sent = 0;
    if (core_args("sendfile", args, nargs, kwnames, names, 1, 4, a)) return NULL;
    if (file_args(a[0], a[1], a[2], &offset, &count) || (a[3] && core_deadline(a[3], "timeout", &deadline)))
        return NULL;
    rm_g *g = net_enter(self->st, "Conn.sendfile()");
    if (!g) return NULL;
    net_settle(self);
    int in = regular_file(a[0]);
    ssize_t e = net_begin(self, g, RM_NP_WRITE, deadline);
    if (!e) {
        e = in < 0 || self->tls ? -EINVAL : send_by_system(self, g, in, offset, count, deadline, &sent);
        if (!sent && (e == -EINVAL || e == -ENOSYS || e == -EOPNOTSUPP))
            e = send_by_copy(self, g, a[0], a[1], count, deadline, &sent);
        rm_conn_end(self->c, RM_NP_WRITE);
    }
    if (in >= 0) close(in);
    return e ? net_conn_fail(self, g, (int)e, "sendfile") : PyLong_FromSsize_t(sent);
}
