/* net_py.h: addresses between the socket module's form and the system's. See net_sockaddr.c. */
#ifndef RAMET_NET_PY_H
#define RAMET_NET_PY_H

#include "core.h"

#include <netinet/in.h>
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

/* As socket.getsockname() gives it; new reference. */
PyObject *net_address(const net_sockaddr *a);
/* (numeric host, port[, flowinfo, scope_id]), or a path. -1 with TypeError or ValueError. */
int net_sockaddr_of(int family, PyObject *address, net_sockaddr *out);
/* A socket that listens: the core's rm_conn_listen_sa, and SO_REUSEPORT. backlog 0: the system's limit. Or -errno. */
int net_listen_on(const net_sockaddr *a, int backlog, bool reuse_port, bool v6only);

#endif
