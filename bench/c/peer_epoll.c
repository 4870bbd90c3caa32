/* peer_epoll.c: the floor of the echo rows: one thread, level-triggered epoll, one read and one
 * write a request, nothing else. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { EVENTS = 512 };

static char buffer[CHUNK];

/* Write all of it; the rare full socket buffer is waited out on the spot (the load generator has
 * one message outstanding, so it is always reading). */
static bool write_all(int fd, const char *p, ssize_t n) {
    while (n > 0) {
        ssize_t w = write(fd, p, (size_t)n);
        if (w < 0 && errno == EAGAIN) continue;
        if (w <= 0) return false;
        p += w, n -= w;
    }
    return true;
}

static void echo(const options *o) {
    (void)o;
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof a;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
    struct epoll_event events[EVENTS], e = {.events = EPOLLIN, .data.fd = listener};
    if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&a, &len) || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e)) {
        skip(strerror(errno));
        return;
    }
    printf("{\"port\": %d}\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    e.data.fd = fd;
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            ssize_t got = read(fd, buffer, sizeof buffer);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0 || !write_all(fd, buffer, got)) close(fd);
        }
    }
}

static void version(const options *o) {
    (void)o;
    struct utsname u;
    uname(&u);
    printf("{\"version\": \"Linux %s\"}\n", u.release);
}

static const row rows[] = {{"echo", echo}, {"version", version}, {NULL, NULL}};

int main(int argc, char **argv) {
    options o = parse_options(argc, argv);
    const row *r = find_row(rows, argc, argv);
    if (r) r->run(&o);
    else skip("has no such thing");
    return 0;
}
