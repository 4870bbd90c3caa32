/* ramet_net.c: the sockets of the C face: finds the caller's goroutine and calls down. A
 * ramet_conn is an rm_conn. */
#include "net.h"

/* The caller's goroutine; NULL in a foreign thread or outside a runtime. */
rm_inline rm_g *self(void) {
    rm_g *g = rm_g_self();
    return g && !(g->flags & RM_GF_FOREIGN) ? g : NULL;
}

static ramet_conn *to_public(rm_conn *c) { return (ramet_conn *)c; }
static rm_conn *conn(ramet_conn *c) { return (rm_conn *)c; }

int ramet_dial(const char *network, const char *address, int64_t deadline, ramet_conn **out) {
    rm_g *g = self();
    rm_conn *c;
    if (!g) return -EPERM;
    int e = rm_net_dial(g->p->rt, g, network, address, deadline, &c);
    if (!e) *out = to_public(c);
    return e;
}

int ramet_listen(const char *network, const char *address, int backlog, ramet_conn **out) {
    rm_g *g = self();
    rm_conn *c;
    if (!g) return -EPERM;
    int e = rm_net_listen(g->p->rt, g, network, address, backlog, &c);
    if (!e) *out = to_public(c);
    return e;
}

int ramet_accept(ramet_conn *listener, int64_t deadline, ramet_conn **out) {
    rm_g *g = self();
    rm_conn *c;
    if (!g) return -EPERM;
    int e = rm_conn_accept(conn(listener), g, deadline, &c);
    if (!e) *out = to_public(c);
    return e;
}

ssize_t ramet_read(ramet_conn *c, void *buf, size_t n, int64_t deadline) {
    rm_g *g = self();
    return g ? rm_conn_read(conn(c), g, buf, n, deadline) : -EPERM;
}

ssize_t ramet_write(ramet_conn *c, const void *buf, size_t n, int64_t deadline) {
    rm_g *g = self();
    return g ? rm_conn_write(conn(c), g, buf, n, deadline, NULL) : -EPERM;
}

int ramet_set_read_deadline(ramet_conn *c, int64_t deadline) {
    if (!self()) return -EPERM;
    if (conn(c)->fd < 0) return -EBADF;
    rm_conn_set_deadline(conn(c), RM_NP_READ, deadline);
    return 0;
}

int ramet_set_write_deadline(ramet_conn *c, int64_t deadline) {
    if (!self()) return -EPERM;
    if (conn(c)->fd < 0) return -EBADF;
    rm_conn_set_deadline(conn(c), RM_NP_WRITE, deadline);
    return 0;
}

int ramet_set_deadline(ramet_conn *c, int64_t deadline) {
    int e = ramet_set_read_deadline(c, deadline);
    return e ? e : ramet_set_write_deadline(c, deadline);
}

int ramet_close(ramet_conn *c) {
    if (!self()) return -EPERM;
    int e = rm_conn_close(conn(c));
    rm_conn_unref(conn(c));
    return e;
}

int ramet_conn_fd(const ramet_conn *c) { return ((const rm_conn *)c)->fd; }

int ramet_fd_wait(int fd, int events, int64_t deadline) {
    rm_g *g = self();
    if (!g) return -EPERM;
    if (!events || events & ~(RAMET_READABLE | RAMET_WRITABLE)) return -EINVAL;
    return rm_fd_wait(g->p->rt, g, fd, events, deadline);
}
