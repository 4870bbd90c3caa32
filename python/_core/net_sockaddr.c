/* net_sockaddr.c: addresses between the socket module's form and the system's; sockets that listen. */
#include "net_py.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <unistd.h>

PyObject *net_address(const net_sockaddr *a) {
    char text[INET6_ADDRSTRLEN];
    switch (a->sa.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->in.sin_addr, text, sizeof text);
        return Py_BuildValue("si", text, (int)ntohs(a->in.sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &a->in6.sin6_addr, text, sizeof text);
        return Py_BuildValue("siII", text, (int)ntohs(a->in6.sin6_port), (unsigned)ntohl(a->in6.sin6_flowinfo),
                             (unsigned)a->in6.sin6_scope_id);
    case AF_UNIX: {
        size_t head = offsetof(struct sockaddr_un, sun_path), n = a->len > head ? a->len - head : 0;
        if (n && !a->un.sun_path[0]) return PyBytes_FromStringAndSize(a->un.sun_path, (Py_ssize_t)n); /* abstract */
        return PyUnicode_DecodeFSDefaultAndSize(a->un.sun_path, (Py_ssize_t)strnlen(a->un.sun_path, n));
    }
    default:
        return Py_BuildValue("iy#", (int)a->sa.sa_family, (const char *)&a->sa, (Py_ssize_t)a->len);
    }
}

static int parse_unix(PyObject *address, net_sockaddr *out) {
    PyObject *path;
    if (PyUnicode_Check(address)) {
        path = PyUnicode_EncodeFSDefault(address);
        if (!path) return -1;
    } else if (PyBytes_Check(address)) {
        path = Py_NewRef(address);
    } else {
        PyErr_Format(PyExc_TypeError, "a unix address is a path (str or bytes), not %.100s", Py_TYPE(address)->tp_name);
        return -1;
    }
    const char *s = PyBytes_AS_STRING(path);
    size_t n = (size_t)PyBytes_GET_SIZE(path);
    const char *wrong = NULL;
    if (n == 0) wrong = "a unix address is a path: it must not be empty";
    else if (s[0] && memchr(s, 0, n)) wrong = "a unix address is a path: it must not hold a NUL";
    else if (n > sizeof out->un.sun_path - (s[0] != 0)) /* an abstract name does not end with a NUL */
        wrong = "the path of a unix address must be shorter than 108 bytes";
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
    } else {
        out->un.sun_family = AF_UNIX;
        memcpy(out->un.sun_path, s, n);
        out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (s[0] != 0));
    }
    Py_DECREF(path);
    return wrong ? -1 : 0;
}

/* The interface that a zone names, or whose number it is: whether there is one of that number, the system says later. */
static int parse_zone(const char *host, const char *zone, unsigned *scope) {
    unsigned index = if_nametoindex(zone), given = *scope;
    int e = errno;
    if (!index && *zone >= '0' && *zone <= '9') {
        char *end;
        unsigned long n = strtoul(zone, &end, 10);
        if (!*end && n <= UINT32_MAX) index = (unsigned)n;
    }
    if (!index) {
        PyObject *text = PyUnicode_FromFormat("'%s' names no network interface: %s", host, strerror(e));
        PyObject *args = text ? Py_BuildValue("iO", e, text) : NULL;
        if (args) PyErr_SetObject(PyExc_OSError, args);
        Py_XDECREF(args);
        Py_XDECREF(text);
        return -1;
    }
    *scope = index;
    if (!given || given == index) return 0;
    PyErr_Format(PyExc_ValueError, "the zone of '%s' is interface %u, its scope_id %u", host, index, given);
    return -1;
}

int net_sockaddr_of(int family, PyObject *address, net_sockaddr *out) {
    memset(out, 0, sizeof *out);
    if (family == AF_UNIX) return parse_unix(address, out);
    if (family != AF_INET && family != AF_INET6) {
        PyErr_Format(PyExc_ValueError, "address family %d is none of AF_INET, AF_INET6 and AF_UNIX", family);
        return -1;
    }
    const char *host;
    int port;
    unsigned flow = 0, scope = 0;
    if (!PyTuple_Check(address)) {
        PyErr_Format(PyExc_TypeError, "an address is a tuple (host, port), not %.100s", Py_TYPE(address)->tp_name);
        return -1;
    }
    if (!PyArg_ParseTuple(address,
                          family == AF_INET6 ? "si|II;an address is (host, port[, flowinfo, scope_id])"
                                             : "si;an address is (host, port)",
                          &host, &port, &flow, &scope))
        return -1;
    if (port < 0 || port > 65535) {
        PyErr_Format(PyExc_ValueError, "a port is between 0 and 65535, not %d", port);
        return -1;
    }
    int ok;
    if (family == AF_INET) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons((uint16_t)port);
        out->len = sizeof out->in;
        ok = inet_pton(AF_INET, host, &out->in.sin_addr);
    } else {
        char bare[INET6_ADDRSTRLEN];
        const char *zone = strchr(host, '%');
        if (zone && (size_t)(zone - host) < sizeof bare) {
            memcpy(bare, host, (size_t)(zone - host));
            bare[zone - host] = 0;
        } else {
            zone = NULL;
        }
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons((uint16_t)port);
        out->in6.sin6_flowinfo = htonl(flow);
        out->len = sizeof out->in6;
        ok = inet_pton(AF_INET6, zone ? bare : host, &out->in6.sin6_addr);
        if (ok == 1 && zone && parse_zone(host, zone + 1, &scope)) return -1;
        out->in6.sin6_scope_id = scope;
    }
    if (ok == 1) return 0;
    PyErr_Format(PyExc_ValueError, "'%s' is no numeric address", host);
    return -1;
}

int net_listen_on(const net_sockaddr *a, int backlog, bool reuse_port, bool v6only) {
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, only = v6only;
    if (fd < 0) return -errno;
    bool inet = a->sa.sa_family != AF_UNIX;
    if (inet) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* what it accepts inherits it */
    if ((inet && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)) ||
        (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one)) ||
        (a->sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only)) ||
        bind(fd, &a->sa, a->len) || listen(fd, backlog > 0 ? backlog : rm_net_backlog())) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}
