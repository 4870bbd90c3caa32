/* net_check.h: what the tests of connections share. */
#ifndef NET_CHECK_H
#define NET_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "net.h"

#define MS RAMET_MILLISECOND
#define SOON ramet_deadline(5 * RAMET_SECOND)

__attribute__((unused)) static ramet_conn *listen_on(const char *network, const char *address) {
    ramet_conn *l;
    CHECK_EQ(ramet_listen(network, address, 0, &l), 0);
    return l;
}

__attribute__((unused)) static const char *address_of(ramet_conn *l) { /* of a TCP listener; good until the next call */
    static char text[64];
    struct sockaddr_in6 sa;
    socklen_t len = sizeof sa;
    CHECK_EQ(getsockname(ramet_conn_fd(l), (struct sockaddr *)&sa, &len), 0);
    if (sa.sin6_family == AF_INET)
        snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(((struct sockaddr_in *)&sa)->sin_port));
    else snprintf(text, sizeof text, "[::1]:%d", ntohs(sa.sin6_port));
    return text;
}

#endif
